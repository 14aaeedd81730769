package network_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/network"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/wire"
)

// sim is a chain of nodes whose network layers stand on nothing: every message,
// every half of a link pair and every result of a measurement arrives when the
// test says so. It knows the truth about who is entangled with whom.
type sim struct {
	t     testing.TB
	nodes []*simNode
	links []*simLink
	rng   *rand.Rand // outcomes and labels
	count uint32     // qubits
	made  qnet.Time  // of the latest link pair

	streams   []*simStream // by opener
	cancelled map[uint64]bool
	log       []string // what happened, for failures
}

// simNode is one node with everything that its layer sees.
type simNode struct {
	s        *sim
	i        int
	id       qnet.NodeID
	loop     *event.Virtual
	layer    *network.Layer
	handler  control.Handler
	inbox    [2][]func()          // what comes from the node before and from the one after
	busy     []*simOp             // operations that have not ended
	qubits   map[uint32]*simQubit // held here
	got      map[network.PairName]delivered
	circuit  *network.Circuit
	done     []uint64
	downErr  error
	keep     bool
	measured []*simQubit
}

// simQubit is one half of something; partner is the other, nil when it is gone.
type simQubit struct {
	node    *simNode
	q       physical.Qubit
	link    *simLink
	made    qnet.Time // of its link pair
	partner *simQubit
	label   qnet.BellLabel // of the pair
}

type simOp struct {
	op   physical.Op
	done func(physical.Result)
}

// simLink is the link between nodes k and k+1.
type simLink struct {
	s     *sim
	k     int
	lanes int
	id    physical.LinkID
	seq   uint64
	next  uint64 // request
	open  bool
	req   link.RequestID
	limit [2]uint64 // by end
	got   [2]uint64
	pairs []*simPair
}

// simPair is a link pair of which at least one end has not heard.
type simPair struct {
	l      *simLink
	seq    uint64
	label  qnet.BellLabel
	made   qnet.Time
	qubits [2]*simQubit
	heard  [2]bool // the end has its REPLY, or has withdrawn
	void   [2]bool // the end has withdrawn
	told   [2]bool // of the other's withdrawal
}

type delivered struct {
	d network.Delivery
	q *simQubit
}

const cutOff = time.Second

func newSim(t testing.TB, n int, seed uint64) *sim {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 9)), cancelled: make(map[uint64]bool)}
	var top network.Topology
	for i := range n {
		spec := &physical.Spec{}
		top.Nodes = append(top.Nodes, network.Node{ID: qnet.NodeID(i + 1), Name: fmt.Sprintf("n%d", i), Spec: spec})
		if i > 0 {
			l := &simLink{s: s, k: i - 1, lanes: 1, id: physical.LinkID(i), seq: 1 << 32}
			s.links = append(s.links, l)
			top.Links = append(top.Links, network.Link{ID: l.id, A: qnet.NodeID(i), B: qnet.NodeID(i + 1), Weights: [4]float64{1}, PairTime: time.Millisecond, Lanes: 1})
		}
	}
	for i := range n {
		nd := &simNode{s: s, i: i, id: qnet.NodeID(i + 1), loop: event.NewVirtual(), qubits: make(map[uint32]*simQubit),
			got: make(map[network.PairName]delivered), keep: true}
		s.nodes = append(s.nodes, nd)
		nd.layer = network.New(network.Config{Self: nd.id, Topology: top, Seed: 1, CutOff: cutOff}, (*simLinks)(nd), (*simEndpoint)(nd), (*simDevice)(nd), nd.loop, nil)
	}
	return s
}

func (s *sim) close() {
	for _, n := range s.nodes {
		n.loop.Close()
	}
}

func (s *sim) logf(format string, args ...any) { s.log = append(s.log, fmt.Sprintf(format, args...)) }

func (s *sim) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\nafter:\n\t%s", fmt.Sprintf(format, args...), strings.Join(s.log, "\n\t"))
}

func (s *sim) head() *simNode { return s.nodes[0] }
func (s *sim) tail() *simNode { return s.nodes[len(s.nodes)-1] }

// flow delivers all messages until there are none.
func (s *sim) flow() {
	for {
		quiet := true
		for _, n := range s.nodes {
			n.settle()
			for from := range n.inbox {
				for n.deliver(from) {
					quiet = false
				}
			}
		}
		if quiet {
			return
		}
	}
}

// settle runs what the node does of itself now.
func (n *simNode) settle() {
	if err := n.loop.RunFor(0); err != nil {
		n.s.t.Fatal(err)
	}
}

// deliver delivers the oldest message from the node before (0) or after (1).
func (n *simNode) deliver(from int) bool {
	if len(n.inbox[from]) == 0 {
		return false
	}
	f := n.inbox[from][0]
	n.inbox[from] = n.inbox[from][1:]
	f()
	n.settle()
	return true
}

// connect sets a circuit up from the first node to the last.
func (s *sim) connect() {
	h, t := s.head(), s.tail()
	t.layer.HandleIncoming(func(c *network.Circuit, tag uint64) (network.CircuitHandler, error) {
		t.circuit = c
		return t, nil
	})
	h.layer.Setup(t.id, 5, 0, qnet.Never, h, func(c *network.Circuit, err error) {
		if err != nil {
			s.t.Fatal(err)
		}
		h.circuit = c
	})
	s.flow()
	if h.circuit == nil || t.circuit == nil {
		s.t.Fatal("no circuit")
	}
}

// request asks for pairs at both ends.
func (s *sim) request(id, pairs uint64) {
	s.ask(s.head(), id, pairs)
	s.ask(s.tail(), id, pairs)
}

// ask asks for pairs at one end.
func (s *sim) ask(n *simNode, id, pairs uint64) {
	if err := n.circuit.Request(network.Request{ID: id, Pairs: pairs, Measure: !n.keep, PeerMeasures: !n.keep}); err != nil {
		s.t.Fatal(err)
	}
}

// The links.

type simLinks simNode

func (x *simLinks) end(k physical.LinkID) (*simLink, int) {
	l := x.s.links[k-1]
	return l, x.i - l.k
}

func (x *simLinks) Create(k physical.LinkID, r link.Request) (link.RequestID, error) {
	l, side := x.end(k)
	l.next++
	id := link.RequestID(l.next<<1 | uint64(side))
	l.req, l.open, l.got = id, true, [2]uint64{}
	l.limit[side] = r.Limit
	peer := x.s.nodes[l.k+1-side]
	x.s.nodes[x.i].post(peer, func() {
		limit, err := peer.layer.LinkHandler().Requested(k, link.Offer{ID: id, Type: r.Type, Pairs: r.Pairs, Purpose: r.Purpose, Tag: r.Tag})
		if err != nil {
			if l.req == id {
				l.open = false
			}
			peer.post((*simNode)(x), func() { x.layer.LinkHandler().Ended(k, id, err) })
			return
		}
		l.limit[1-side] = limit
	})
	return id, nil
}

// post puts something into the inbox of a neighbour.
func (n *simNode) post(to *simNode, f func()) {
	from := 0
	if n.i > to.i {
		from = 1
	}
	to.inbox[from] = append(to.inbox[from], f)
}

func (x *simLinks) SetLimit(k physical.LinkID, id link.RequestID, limit uint64) {
	if l, side := x.end(k); l.open && l.req == id {
		l.limit[side] = limit
	}
}

func (x *simLinks) SetBases(physical.LinkID, link.RequestID, physical.BasisSource) {}
func (x *simLinks) Contended(physical.LinkID, link.RequestID) bool                 { return false }
func (x *simLinks) Full(physical.LinkID) error                                     { return nil }

func (x *simLinks) End(k physical.LinkID, id link.RequestID, code qnet.Code) {
	l, side := x.end(k)
	if !l.open || l.req != id {
		return
	}
	l.open = false
	peer := x.s.nodes[l.k+1-side]
	x.s.nodes[x.i].post(peer, func() {
		peer.layer.LinkHandler().Ended(k, id, qnet.Errorf(code, "ended by %s", (*simNode)(x).name()))
	})
}

func (n *simNode) name() string { return fmt.Sprintf("n%d", n.i) }

// wants reports whether both ends have a free lane and want a pair more than is
// made already.
func (l *simLink) wants() bool {
	if !l.open {
		return false
	}
	for side := range 2 {
		held := 0
		for _, q := range l.s.nodes[l.k+side].qubits {
			if q.link == l {
				held++
			}
		}
		if held >= l.lanes {
			return false
		}
		coming := uint64(0)
		for _, p := range l.pairs {
			if !p.heard[side] {
				coming++
			}
		}
		if l.got[side]+coming >= l.limit[side] {
			return false
		}
	}
	return true
}

// herald makes a pair. Neither end knows yet.
func (l *simLink) herald() *simPair {
	s := l.s
	l.seq++
	s.made = s.made.Add(time.Minute)
	p := &simPair{l: l, seq: l.seq, label: qnet.BellLabel(s.rng.IntN(4)), made: s.made}
	for side := range p.qubits {
		p.qubits[side] = s.qubit(s.nodes[l.k+side])
		p.qubits[side].link, p.qubits[side].made = l, p.made
	}
	p.qubits[0].partner, p.qubits[1].partner = p.qubits[1], p.qubits[0]
	p.qubits[0].label, p.qubits[1].label = p.label, p.label
	l.pairs = append(l.pairs, p)
	s.logf("link %d: pair %d is %v", l.id, p.n(), p.label)
	return p
}

func (p *simPair) n() uint64 { return p.seq - 1<<32 }

func (s *sim) qubit(n *simNode) *simQubit {
	s.count++
	q := &simQubit{node: n, q: physical.Qubit{Fabric: 1, Index: s.count, Generation: 1}}
	n.qubits[s.count] = q
	return q
}

// reply tells one end of the pair. An end that wants none any more withdraws.
func (p *simPair) reply(side int) {
	l := p.l
	if !l.open || l.got[side] >= l.limit[side] {
		p.withdraw(side)
		return
	}
	n := l.s.nodes[l.k+side]
	l.s.logf("%s has its half of pair %d of link %d", n.name(), p.n(), l.id)
	p.heard[side] = true
	if p.void[1-side] && p.told[side] { // the news of it came first
		n.free(p.qubits[side])
		p.settle()
		return
	}
	l.got[side]++
	p.settle()
	n.layer.LinkHandler().Pair(link.Pair{Link: l.id, Request: l.req, Seq: p.seq, Label: p.label, Qubit: p.qubits[side].q, Created: p.made})
	n.settle()
}

// withdraw lets one end do without its half: the other is to hear of it.
func (p *simPair) withdraw(side int) {
	n := p.l.s.nodes[p.l.k+side]
	p.l.s.logf("%s withdraws from pair %d of link %d", n.name(), p.n(), p.l.id)
	p.heard[side], p.void[side] = true, true
	n.free(p.qubits[side])
	p.settle()
	if p.l.open {
		n.layer.LinkHandler().Expired(p.l.id, p.l.req, p.seq, false)
	}
	n.settle()
}

// tell tells one end that the other has withdrawn.
func (p *simPair) tell(side int) {
	n := p.l.s.nodes[p.l.k+side]
	p.told[side] = true
	p.settle()
	if p.heard[side] && !p.void[side] {
		p.l.s.logf("%s hears that pair %d of link %d is void", n.name(), p.n(), p.l.id)
		p.l.got[side]--
		if p.l.open {
			n.layer.LinkHandler().Expired(p.l.id, p.l.req, p.seq, true)
		}
		n.settle()
	}
}

// settle forgets the pair when both ends know all.
func (p *simPair) settle() {
	for side := range 2 {
		if !p.heard[side] || p.void[1-side] && !p.told[side] {
			return
		}
	}
	p.l.pairs = slices.DeleteFunc(p.l.pairs, func(o *simPair) bool { return o == p })
}

// The device.

type simDevice simNode

func (d *simDevice) Spec() *physical.Spec                          { return &physical.Spec{} }
func (d *simDevice) Now() qnet.Time                                { return d.loop.Now() }
func (d *simDevice) Watch(func(link physical.LinkID, lane uint32)) {}
func (d *simDevice) ArmBulk(physical.LinkID, uint32, physical.BasisSource, func(physical.Outcomes, error), func(physical.Result)) {
	panic("not used")
}

func (d *simDevice) Do(op physical.Op, done func(physical.Result)) {
	n := (*simNode)(d)
	for _, q := range []physical.Qubit{op.A, op.B} {
		if !q.IsZero() && n.qubits[q.Index] == nil {
			n.s.fatalf("%s: operation %d on %v, which it does not hold", n.name(), op.Kind, q)
		}
	}
	switch op.Kind {
	case physical.OpFree:
		n.free(n.qubits[op.A.Index])
	case physical.OpBSM, physical.OpMeasure:
		n.busy = append(n.busy, &simOp{op, done})
	default:
		n.s.fatalf("%s: unexpected operation %d", n.name(), op.Kind)
	}
}

// oldest returns the qubit of the node that was made first.
func (n *simNode) oldest() *simQubit {
	var o *simQubit
	for _, q := range n.qubits {
		if o == nil || q.made < o.made {
			o = q
		}
	}
	return o
}

// free ends a qubit; who was entangled with it no longer is.
func (n *simNode) free(q *simQubit) {
	delete(n.qubits, q.q.Index)
	if q.partner != nil {
		q.partner.partner = nil
	}
}

// finish ends the oldest operation of the node. A measured qubit leaves the node,
// and its correlations are kept in the books.
func (n *simNode) finish() bool {
	if len(n.busy) == 0 {
		return false
	}
	o := n.busy[0]
	n.busy = n.busy[1:]
	r := physical.Result{At: n.loop.Now()}
	a := n.qubits[o.op.A.Index]
	delete(n.qubits, o.op.A.Index)
	if o.op.Kind == physical.OpBSM {
		b := n.qubits[o.op.B.Index]
		delete(n.qubits, o.op.B.Index)
		r.Label = qnet.BellLabel(n.s.rng.IntN(4))
		if x, y := a.partner, b.partner; x != nil && y != nil {
			x.partner, y.partner = y, x
			x.label = a.label.Swap(b.label, r.Label)
			y.label = x.label
		} else if x != nil {
			x.partner = nil
		} else if y != nil {
			y.partner = nil
		}
		n.s.logf("%s has swapped: %v", n.name(), r.Label)
	} else {
		n.s.logf("%s has measured", n.name())
		n.measured = append(n.measured, a)
	}
	o.done(r)
	n.settle()
	return true
}

// fail ends the oldest operation of the node without an effect.
func (n *simNode) fail() {
	o := n.busy[0]
	n.busy = n.busy[1:]
	n.s.logf("%s could not do operation %d", n.name(), o.op.Kind)
	o.done(physical.Result{At: n.loop.Now(), Err: qnet.Errorf(qnet.ErrTooLarge, "it does not fit")})
	n.settle()
}

// The control plane.

type simEndpoint simNode

func (e *simEndpoint) ID() qnet.NodeID                          { return e.id }
func (e *simEndpoint) Handle(_ wire.Service, h control.Handler) { e.handler = h }
func (e *simEndpoint) Datagram(qnet.NodeID, wire.Message) error {
	panic("the network layer sends no datagrams")
}
func (e *simEndpoint) Up(qnet.NodeID) bool { return true }

func (e *simEndpoint) Open(to qnet.NodeID, first wire.Message, h control.StreamHandler) (control.Stream, error) {
	near := &simStream{n: (*simNode)(e), peer: e.s.nodes[to-1], h: h}
	far := &simStream{n: near.peer, peer: near.n}
	near.other, far.other = far, near
	e.s.streams = append(e.s.streams, near)
	b := wire.Append(nil, first)
	name := wire.Name(first)
	near.n.post(near.peer, func() {
		if far.closed {
			return
		}
		e.s.logf("%s has %s of %s", near.peer.name(), name, near.n.name())
		if far.h = near.peer.handler.Accept(far, b); far.h == nil {
			far.Close(qnet.ErrProtocol)
		}
	})
	return near, nil
}

// fail breaks a stream: both ends hear of it, and what was under way is lost.
func (x *simStream) fail() {
	x.n.s.logf("the stream of %s and %s breaks", x.n.name(), x.peer.name())
	for _, end := range []*simStream{x, x.other} {
		h := end.h
		if end.closed {
			continue
		}
		end.closed = true
		if h != nil {
			h.Closed(end, qnet.Errorf(qnet.ErrUnavail, "peer %s: stream broken", end.peer.name()))
		}
		end.n.settle()
	}
}

type simStream struct {
	n, peer *simNode
	other   *simStream
	h       control.StreamHandler
	closed  bool
}

func (x *simStream) Peer() qnet.NodeID { return x.peer.id }

func (x *simStream) Send(m wire.Message) {
	if x.closed {
		return
	}
	b, name := wire.Append(nil, m), wire.Name(m)
	x.n.post(x.peer, func() {
		if x.other.closed || x.other.h == nil {
			return
		}
		x.n.s.logf("%s has %s of %s", x.peer.name(), name, x.n.name())
		x.other.h.Message(x.other, b)
	})
}

func (x *simStream) Close(code qnet.Code) {
	if x.closed {
		return
	}
	x.closed = true
	x.n.post(x.peer, func() {
		if x.other.closed {
			return
		}
		x.other.closed = true
		var err error
		if code != qnet.OK {
			err = code
		}
		if x.other.h != nil {
			x.other.h.Closed(x.other, err)
		}
	})
}

// The layer above, at both ends.

func (n *simNode) Pair(c *network.Circuit, d network.Delivery) {
	q := n.qubits[d.Qubit.Index]
	if !n.keep {
		i := slices.IndexFunc(n.measured, func(q *simQubit) bool { return q.made == d.Created })
		if i >= 0 {
			q = n.measured[i]
		}
	}
	if q == nil {
		n.s.fatalf("%s: pair %v with a qubit that it does not have", n.name(), d.Name)
	}
	delete(n.qubits, q.q.Index) // it is the program's now
	n.s.logf("%s delivers %d of request %d: %v", n.name(), d.Name.Seq-1<<32, d.Request, d.Label)
	if _, ok := n.got[d.Name]; ok {
		n.s.fatalf("%s: pair %v twice", n.name(), d.Name)
	}
	n.got[d.Name] = delivered{d, q}
}

func (n *simNode) RequestDone(c *network.Circuit, id uint64) { n.done = append(n.done, id) }
func (n *simNode) Down(c *network.Circuit, err error)        { n.downErr = err }

// check compares what both ends have with each other and with the truth, and
// makes sure that nothing else is left.
func (s *sim) check(pairs int) {
	s.t.Helper()
	s.agree(pairs)
	s.rest()
}

// agree compares what both ends have, of requests that were not cancelled pairs
// in all.
func (s *sim) agree(pairs int) {
	s.t.Helper()
	h, t := s.head(), s.tail()
	for _, n := range []*simNode{h, t} {
		whole := 0
		for _, d := range n.got {
			if !s.cancelled[d.d.Request] {
				whole++
			}
		}
		if whole != pairs {
			s.fatalf("%s has %d pairs, want %d", n.name(), whole, pairs)
		}
	}
	for name, a := range h.got {
		b, ok := t.got[name]
		if !ok && s.cancelled[a.d.Request] {
			continue
		}
		if !ok {
			s.fatalf("pair %v is at the head only", name)
		}
		if a.d.Label != b.d.Label || a.d.Request != b.d.Request {
			s.fatalf("pair %v: %+v at the head, %+v at the tail", name, a.d, b.d)
		}
		if a.q.partner != b.q || b.q.partner != a.q || a.q.label != a.d.Label {
			s.fatalf("pair %v is announced as %v: it is not", name, a.d.Label)
		}
	}
}

// rest makes sure that nothing is left at rest, and closes the circuit.
func (s *sim) rest() {
	s.t.Helper()
	h, t := s.head(), s.tail()
	for _, n := range s.nodes {
		if err := n.layer.Quiet(); err != nil {
			s.fatalf("%v", err)
		}
		if held := len(n.qubits); held != 0 {
			s.fatalf("%s holds %d qubits", n.name(), held)
		}
	}
	h.circuit.Close(qnet.OK)
	s.flow()
	for _, n := range s.nodes {
		if err := n.layer.Idle(); err != nil {
			s.fatalf("%v", err)
		}
		if n.downErr != nil && n != t {
			s.fatalf("%s: circuit down: %v", n.name(), n.downErr)
		}
	}
	if t.downErr == nil {
		s.fatalf("the tail has not heard that the circuit is closed")
	}
}
