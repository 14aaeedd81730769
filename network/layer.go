package network

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// Bounds of one node.
const (
	maxCircuits = 4096 // circuits through a node
	maxRequests = 1024 // requests of one circuit
	maxRecords  = 4096 // swap and discard records, and parked TRACKs, of one hop
	numberBase  = 1<<32 - 64
	setupGrace  = time.Second
)

// LinkLayer is what the network layer needs of the link layer.
type LinkLayer interface {
	Create(k physical.LinkID, r link.Request) (link.RequestID, error)
	SetLimit(k physical.LinkID, id link.RequestID, limit uint64)
	SetBases(k physical.LinkID, id link.RequestID, b physical.BasisSource)
	End(k physical.LinkID, id link.RequestID, code qnet.Code)
	Contended(k physical.LinkID, id link.RequestID) bool
	Full(k physical.LinkID) error
}

// Config configures the network layer of one node.
type Config struct {
	Self     qnet.NodeID
	Topology Topology
	Seed     uint64 // of the node's private choices of basis
	// CutOff is how long a half may wait here for its partner; 0 for ever.
	CutOff time.Duration
}

// Layer is the network layer of one node.
type Layer struct {
	cfg      Config
	name     string
	graph    *graph
	links    LinkLayer
	ep       control.Endpoint
	dev      physical.Device
	loop     event.Scheduler
	tr       *trace.Tracer
	rng      *rand.Rand
	incoming func(c *Circuit, tag uint64) (CircuitHandler, error)

	circuits map[CircuitID]*Circuit
	byLabel  map[label]*hop   // where the peer's requests belong
	byReq    map[request]*hop // where pairs belong
	number   uint64
	labels   uint64
	pairs    uint64 // delivered
	swaps    uint64
	track    Track // scratch
}

// label is the purpose of a circuit's requests on a link, numbered by the node
// upstream.
type label struct {
	link physical.LinkID
	n    uint64
}

type request struct {
	link physical.LinkID
	id   link.RequestID
}

// New returns the network layer of a node. Its LinkHandler must be made the
// handler of the link layer.
func New(cfg Config, links LinkLayer, ep control.Endpoint, dev physical.Device, loop event.Scheduler, tr *trace.Tracer) *Layer {
	l := &Layer{
		cfg: cfg, graph: newGraph(&cfg.Topology), links: links, ep: ep, dev: dev, loop: loop, tr: tr,
		circuits: make(map[CircuitID]*Circuit), byLabel: make(map[label]*hop), byReq: make(map[request]*hop),
		number: numberBase, labels: numberBase,
	}
	l.name = l.graph.name(cfg.Self)
	l.rng = qnet.NewRand(cfg.Seed, "network/"+l.name)
	ep.Handle(wire.ServiceNetwork, (*acceptor)(l))
	return l
}

// HandleIncoming sets the function that decides about circuits whose tail end is
// here: it returns the handler of the circuit, or why it is refused. tag is what
// the head end gave to Setup.
func (l *Layer) HandleIncoming(f func(c *Circuit, tag uint64) (CircuitHandler, error)) {
	l.incoming = f
}

// Setup sets up a circuit to dst along a shortest path and calls done with it,
// or with the reason that it is not to be had. h receives what happens on the
// circuit afterwards.
//
// The reason is qnet.ErrNoRoute when there is no path, ErrFidelity when the path
// can not reach minFidelity (the text gives the best), ErrTimeout at the
// deadline, ErrUnavail when a node or link on the path is down, and whatever the
// tail end refuses with.
func (l *Layer) Setup(dst qnet.NodeID, tag uint64, minFidelity float64, deadline qnet.Time, h CircuitHandler, done func(*Circuit, error)) {
	c, err := l.newHead(dst, minFidelity)
	if err != nil {
		l.loop.After(0, func() { done(nil, err) })
		return
	}
	c.handler, c.setupDone = h, done
	c.setupBy(deadline)
	c.connect(c.down, &Setup{Circuit: c.id, Tag: tag, Path: c.path, Label: c.down.label, Deadline: deadline.Add(l.ahead())})
}

// ahead returns how far the clock of the fabric, which stamps pairs and
// messages, is ahead of the loop's.
func (l *Layer) ahead() time.Duration { return l.dev.Now().Sub(l.loop.Now()) }

// setupBy ends a circuit that is not set up by a deadline.
func (c *Circuit) setupBy(deadline qnet.Time) {
	c.setupTimer = c.l.loop.At(deadline, func() {
		c.fail(qnet.Errorf(qnet.ErrTimeout, "no circuit from %s to %s by the deadline", c.l.graph.name(c.path[0]), c.l.graph.name(c.path[len(c.path)-1])))
	})
}

func (l *Layer) newHead(dst qnet.NodeID, minFidelity float64) (*Circuit, error) {
	name := l.graph.name(dst)
	if dst == l.cfg.Self {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%s is this node itself", name)
	}
	if l.graph.node[dst] == nil {
		return nil, qnet.Errorf(qnet.ErrUnknown, "there is no node %s in the network", name)
	}
	path := l.graph.path(l.cfg.Self, dst)
	if path == nil || len(path) > maxPath {
		if p := l.graph.search(l.cfg.Self, dst, func(*Node) bool { return true }); p != nil {
			for _, id := range p[1 : len(p)-1] {
				if n := l.graph.node[id]; n != nil && unable(n.Spec) != "" {
					return nil, qnet.Errorf(qnet.ErrNoRoute, "no path from %s to %s swaps all the way: %s can not, since %s", l.name, name, n.Name, unable(n.Spec))
				}
			}
		}
		return nil, qnet.Errorf(qnet.ErrNoRoute, "no path of links leads from %s to %s", l.name, name)
	}
	if len(l.circuits) >= maxCircuits {
		return nil, qnet.Errorf(qnet.ErrBusy, "%s holds %d circuits already; try again later", l.name, maxCircuits)
	}
	est := l.graph.estimate(path)
	if minFidelity > est.Fidelity {
		return nil, qnet.Errorf(qnet.ErrFidelity, "fidelity %.4f to %s asked, the path %s reaches %.4f; ask for less",
			minFidelity, name, l.pathText(path), est.Fidelity)
	}
	c := l.newCircuit(CircuitID{Head: l.cfg.Self, Number: l.number}, path, 0)
	l.number++
	c.est = est
	return c, nil
}

func (l *Layer) pathText(path []qnet.NodeID) string {
	s := ""
	for i, id := range path {
		if i > 0 {
			s += " - "
		}
		s += l.graph.name(id)
	}
	return s
}

// Path returns the names of the nodes that a circuit to dst would pass.
func (l *Layer) Path(dst qnet.NodeID) []string {
	var names []string
	for _, id := range l.graph.path(l.cfg.Self, dst) {
		names = append(names, l.graph.name(id))
	}
	return names
}

// Idle reports whether nothing is left of any circuit: the ledger that tests end
// with.
func (l *Layer) Idle() error {
	if n := len(l.circuits); n > 0 {
		return fmt.Errorf("network at %s: %d circuits left", l.name, n)
	}
	if n := len(l.byLabel) + len(l.byReq); n > 0 {
		return fmt.Errorf("network at %s: %d link requests left", l.name, n)
	}
	return nil
}

// Quiet reports whether no circuit has a pair or record in flight, and so
// nothing but the circuits themselves is left.
func (l *Layer) Quiet() error {
	for _, c := range l.sorted() {
		if n := len(c.transit); n > 0 {
			return fmt.Errorf("circuit %s at %s: %d pairs in flight", c.id, l.name, n)
		}
		for _, h := range c.hops() {
			if n := len(h.waiting) + h.swapped.len() + h.discarded.len() + h.parked.len(); n > 0 {
				return fmt.Errorf("circuit %s at %s: %d halves wait, %d swap records, %d discard records, %d parked TRACKs",
					c.id, l.name, len(h.waiting), h.swapped.len(), h.discarded.len(), h.parked.len())
			}
		}
	}
	return nil
}

func (l *Layer) sorted() []*Circuit {
	return slices.SortedFunc(maps.Values(l.circuits), func(a, b *Circuit) int {
		return cmp.Or(cmp.Compare(a.id.Head, b.id.Head), cmp.Compare(a.id.Number, b.id.Number))
	})
}

// Status is a picture of one circuit at one node, for operators.
type Status struct {
	ID       CircuitID
	Head     string
	Tail     string
	Up       bool
	Requests int
	Pairs    uint64 // link pairs received
	Waiting  int    // halves that wait here
	Parked   int    // TRACKs that wait here
}

// Status returns a picture of every circuit through the node.
func (l *Layer) Status() []Status {
	var out []Status
	for _, c := range l.sorted() {
		s := Status{ID: c.id, Head: l.graph.name(c.path[0]), Tail: l.graph.name(c.path[len(c.path)-1]),
			Up: c.state == circuitUp, Requests: len(c.requests) + len(c.active)}
		for _, h := range c.hops() {
			s.Pairs += h.got
			s.Waiting += len(h.waiting)
			s.Parked += h.parked.len()
		}
		out = append(out, s)
	}
	return out
}

// Counters are totals since the start of the node.
type Counters struct {
	Delivered uint64 // end-to-end pairs, at this end
	Swapped   uint64
}

// Counters returns the totals.
func (l *Layer) Counters() Counters { return Counters{Delivered: l.pairs, Swapped: l.swaps} }

// acceptor is the layer as control.Handler.
type acceptor Layer

func (a *acceptor) Datagram(qnet.NodeID, []byte) {}
func (a *acceptor) PeerUp(qnet.NodeID)           {}

// PeerDown does nothing: the streams of the circuits have been closed first.
func (a *acceptor) PeerDown(qnet.NodeID, error) {}

// Accept joins a circuit that the upstream neighbour sets up.
func (a *acceptor) Accept(s control.Stream, first []byte) control.StreamHandler {
	l := (*Layer)(a)
	var m Setup
	if err := wire.Parse(first, &m); err != nil {
		return nil
	}
	h, err := l.join(s, &m)
	if err != nil {
		var e *qnet.Error
		if !errors.As(err, &e) {
			return nil
		}
		s.Send(&Teardown{Code: e.Code, Text: wire.Clip(l.name+": "+e.Text, maxText)})
		return refused{}
	}
	return h
}

// refused is the handler of a stream that only waits to be closed by the peer.
type refused struct{}

func (refused) Message(s control.Stream, _ []byte) { s.Close(qnet.ErrProtocol) }
func (refused) Closed(control.Stream, error)       {}

// join makes this node part of a circuit. A plain error is a breach of
// protocol, a *qnet.Error a refusal.
func (l *Layer) join(s control.Stream, m *Setup) (*hop, error) {
	pos := slices.Index(m.Path, l.cfg.Self)
	if pos < 1 || m.Path[0] != m.Circuit.Head || m.Path[pos-1] != s.Peer() || l.circuits[m.Circuit] != nil {
		return nil, errors.New("not a path through this node")
	}
	for i, id := range m.Path {
		if slices.Contains(m.Path[:i], id) {
			return nil, errors.New("a path with a loop")
		}
	}
	if l.graph.link(m.Path[pos-1], l.cfg.Self) == nil {
		return nil, errors.New("no link to the node before")
	}
	for i := pos + 1; i < len(m.Path); i++ {
		if l.graph.link(m.Path[i-1], m.Path[i]) == nil {
			return nil, qnet.Errorf(qnet.ErrNoRoute, "there is no link from %s to %s", l.graph.name(m.Path[i-1]), l.graph.name(m.Path[i]))
		}
	}
	if len(l.circuits) >= maxCircuits {
		return nil, qnet.Errorf(qnet.ErrBusy, "%d circuits pass here already", maxCircuits)
	}
	c := l.newCircuit(m.Circuit, slices.Clone(m.Path), pos)
	c.up.stream, c.up.label = s, m.Label
	if l.byLabel[label{c.up.link.ID, m.Label}] != nil {
		delete(l.circuits, c.id)
		return nil, errors.New("label in use")
	}
	l.byLabel[label{c.up.link.ID, m.Label}] = c.up
	if c.down != nil {
		// The head end tears down in time; this is for one that does not.
		c.setupBy(m.Deadline.Add(setupGrace - l.ahead()))
		c.connect(c.down, &Setup{Circuit: m.Circuit, Tag: m.Tag, Path: m.Path, Label: c.down.label, Deadline: m.Deadline})
		return c.up, nil
	}
	c.est = l.graph.estimate(c.path)
	c.state = circuitUp
	handler, err := l.refuseAll, error(nil)
	if l.incoming != nil {
		handler = l.incoming
	}
	c.handler, err = handler(c, m.Tag)
	if err != nil {
		c.remove()
		return nil, qnet.Errorf(qnet.CodeOf(err), "%v", err)
	}
	c.trace("joined").End()
	s.Send(&SetupOK{})
	return c.up, nil
}

func (l *Layer) refuseAll(*Circuit, uint64) (CircuitHandler, error) {
	return nil, qnet.Errorf(qnet.ErrNoListener, "no program takes circuits here")
}

// linkHandler is the layer as link.Handler, kept off its public method set.
type linkHandler Layer

// LinkHandler returns the layer as the link layer's handler.
func (l *Layer) LinkHandler() link.Handler { return (*linkHandler)(l) }

func (l *linkHandler) Requested(k physical.LinkID, o link.Offer) (uint64, error) {
	h := l.byLabel[label{k, o.Purpose}]
	if h == nil || h.c.state != circuitUp || h != h.c.up {
		return 0, qnet.Errorf(qnet.ErrUnknown, "no circuit has label %d on this link", o.Purpose)
	}
	return h.c.requested(o)
}

func (l *linkHandler) Pair(p link.Pair) {
	h := l.byReq[request{p.Link, p.Request}]
	if h == nil { // the circuit has just ended
		l.dev.Do(physical.Op{Kind: physical.OpFree, A: p.Qubit}, nil)
		return
	}
	h.c.linkPair(h, p)
}

func (l *linkHandler) Measured(k physical.LinkID, id link.RequestID, ms []link.Measured) {
	if h := l.byReq[request{k, id}]; h != nil {
		h.c.measured(id, ms)
	}
}

func (l *linkHandler) Expired(k physical.LinkID, id link.RequestID, seq uint64, had bool) {
	// Of measured pairs each end has its own outcomes, whatever becomes of them.
	if h := l.byReq[request{k, id}]; h != nil && h.request == id {
		h.c.linkExpired(h, seq, had)
	}
}

func (l *linkHandler) Ended(k physical.LinkID, id link.RequestID, err error) {
	h := l.byReq[request{k, id}]
	if h == nil {
		return
	}
	delete(l.byReq, request{k, id})
	h.c.linkEnded(h, id, err)
}

func (l *linkHandler) LinkChange(physical.LinkID, error) {}
