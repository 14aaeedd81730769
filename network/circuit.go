package network

import (
	"errors"
	"fmt"
	"math"
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

// circuitState is where a circuit stands at one node.
//
//	          Setup sent          SetupOK
//	head:    ------------> setup --------> up
//	between: Setup --> setup --SetupOK--> up        each of them
//	tail:    Setup ----------------------> up       --Teardown, Close,
//	                                                  broken stream--> closed
type circuitState uint8

const (
	circuitSetup circuitState = iota
	circuitUp
	circuitClosed
)

// unlimited is the limit of a link request that takes whatever comes.
const unlimited = math.MaxUint64 >> 3

// Circuit is a virtual circuit at one of its nodes. Programs of the transport
// layer hold those of end nodes.
type Circuit struct {
	l        *Layer
	id       CircuitID
	path     []qnet.NodeID
	pos      int
	up, down *hop // towards the head end and the tail end; nil at the ends
	state    circuitState
	est      Estimate
	fresh    bell // state of a pair that was never stored
	patience time.Duration

	// At the ends.
	handler    CircuitHandler
	setupDone  func(*Circuit, error)
	setupTimer event.Timer
	lastWords  event.Timer   // see linkEnded
	requests   []*endRequest // open ones, oldest first
	transit    map[uint64]*transit
	bulk       []bulkOffer // measure requests of the peer, to be matched with ours

	// Between.
	active []uint64 // requests that the head end has open
}

// bulkOffer is a link request that the head end made for its request number
// tag.
type bulkOffer struct {
	id  link.RequestID
	tag uint64
}

// hop is a circuit on one of its links, seen from one node.
type hop struct {
	c       *Circuit
	link    *Link
	peer    qnet.NodeID
	label   uint64
	stream  control.Stream
	request link.RequestID
	open    bool   // request is valid
	got     uint64 // link pairs received, less those that the link voided
	limit   uint64
	last    uint64 // largest number of a link pair heard of

	waiting   []*half // between: halves without a partner, oldest first
	swapped   records[swapRecord]
	discarded records[struct{}]
	parked    records[Track]
	settled   uint64 // nothing is kept of link pairs up to this one: none has a half here
}

// half is a qubit that waits for a partner.
type half struct {
	seq     uint64
	label   qnet.BellLabel
	qubit   physical.Qubit
	created qnet.Time
	timer   event.Timer
}

// swapRecord says where the chain of a link pair goes on: one for each
// direction.
type swapRecord struct {
	other   uint64         // the link pair on the other side
	label   qnet.BellLabel // outcome and the other pair's label
	dephase float64
	depol   float64
}

func (l *Layer) newCircuit(id CircuitID, path []qnet.NodeID, pos int) *Circuit {
	c := &Circuit{l: l, id: id, path: path, pos: pos, transit: make(map[uint64]*transit)}
	c.fresh = l.graph.swapped(path)
	c.patience = l.graph.patience(path)
	if pos > 0 {
		c.up = &hop{c: c, peer: path[pos-1], link: l.graph.link(path[pos-1], path[pos])}
	}
	if pos < len(path)-1 {
		c.down = &hop{c: c, peer: path[pos+1], link: l.graph.link(path[pos], path[pos+1]), label: l.labels}
		l.labels++
	}
	l.circuits[id] = c
	return c
}

// ID returns the circuit's identity.
func (c *Circuit) ID() CircuitID { return c.id }

// Peer returns the node at the other end.
func (c *Circuit) Peer() qnet.NodeID {
	if c.IsHead() {
		return c.path[len(c.path)-1]
	}
	return c.path[0]
}

// IsHead reports whether this is the head end.
func (c *Circuit) IsHead() bool { return c.pos == 0 }

// Hops returns the number of links of the circuit.
func (c *Circuit) Hops() int { return len(c.path) - 1 }

// Lanes returns the number of pairs that both ends of the circuit can keep at a
// time: the communication qubits that they have for its first and last link.
func (c *Circuit) Lanes() int {
	n := len(c.path)
	g := c.l.graph
	return min(g.link(c.path[0], c.path[1]).Lanes, g.link(c.path[n-2], c.path[n-1]).Lanes)
}

// Full returns qnet.ErrNoMemory while no pair can come because the qubits of this
// end are in use, nil otherwise.
func (c *Circuit) Full() error { return c.l.links.Full(c.hops()[0].link.ID) }

// Estimate returns what the circuit is expected to deliver.
func (c *Circuit) Estimate() Estimate { return c.est }

// Path returns the names of the circuit's nodes, head end first.
func (c *Circuit) Path() []string {
	var names []string
	for _, id := range c.path {
		names = append(names, c.l.graph.name(id))
	}
	return names
}

func (c *Circuit) isEnd() bool { return c.up == nil || c.down == nil }

func (c *Circuit) hops() []*hop {
	switch {
	case c.up == nil:
		return []*hop{c.down}
	case c.down == nil:
		return []*hop{c.up}
	}
	return []*hop{c.up, c.down}
}

func (h *hop) other() *hop {
	if h == h.c.up {
		return h.c.down
	}
	return h.c.up
}

func (c *Circuit) trace(name string) trace.Event {
	return c.l.tr.Event(c.l.dev.Now(), "network", name).Uint("circuit", c.id.Number)
}

func (c *Circuit) connect(h *hop, m *Setup) {
	s, err := c.l.ep.Open(h.peer, m, h)
	if err != nil {
		c.l.loop.After(0, func() { c.fail(err) })
		return
	}
	h.stream = s
}

// Message takes a message of the circuit from one of its streams.
func (h *hop) Message(s control.Stream, b []byte) {
	if h.c.state == circuitClosed {
		return
	}
	if err := h.message(b); err != nil {
		c := h.c
		c.fail(qnet.Errorf(qnet.ErrProtocol, "%s sent %s what it should not: %v", c.l.graph.name(h.peer), c.l.name, err))
	}
}

var errUnexpected = errors.New("unexpected message")

func (h *hop) message(b []byte) error {
	c := h.c
	t, _, err := wire.Peek(b)
	if err != nil {
		return err
	}
	switch t {
	case (*Track)(nil).Type():
		m := &c.l.track
		if err := wire.Parse(b, m); err != nil {
			return err
		}
		if c.isEnd() {
			return c.endTrack(h, *m)
		}
		return c.relayTrack(h, *m)
	case (*CircuitExpire)(nil).Type():
		var m CircuitExpire
		if err := wire.Parse(b, &m); err != nil {
			return err
		}
		if c.isEnd() {
			c.endExpire(&m)
		} else {
			c.relayExpire(h, &m)
		}
	case (*SetupOK)(nil).Type():
		if h != c.down || c.state != circuitSetup {
			return errUnexpected
		}
		c.established()
	case (*Teardown)(nil).Type():
		var m Teardown
		if err := wire.Parse(b, &m); err != nil {
			return err
		}
		h.stream.Close(qnet.OK)
		h.stream = nil
		if m.Code == qnet.OK {
			m.Code = qnet.ErrPeerClosed
		}
		c.fail(qnet.Errorf(m.Code, "%s", m.Text))
	case (*Forward)(nil).Type():
		var m Forward
		if err := wire.Parse(b, &m); err != nil {
			return err
		}
		if h != c.up || len(c.active) >= maxRequests {
			return errUnexpected
		}
		if c.down != nil {
			c.active = append(c.active, m.Request)
			c.down.send(&m)
			c.updateLimits()
		}
	case (*Complete)(nil).Type():
		var m Complete
		if err := wire.Parse(b, &m); err != nil {
			return err
		}
		if h != c.up {
			return errUnexpected
		}
		if c.down != nil {
			c.completed(&m)
		}
	default:
		return fmt.Errorf("message type 0x%x: %w", uint16(t), errUnexpected)
	}
	return nil
}

// Closed takes the end of one of the circuit's streams.
func (h *hop) Closed(_ control.Stream, err error) {
	h.stream = nil
	if h.c.state == circuitClosed {
		return
	}
	if err == nil {
		err = qnet.Errorf(qnet.ErrPeerClosed, "%s left the circuit", h.c.l.graph.name(h.peer))
	}
	h.c.fail(qnet.Errorf(qnet.CodeOf(err), "circuit lost at %s: %v", h.c.l.name, err))
}

func (h *hop) send(m wire.Message) {
	if h.stream != nil {
		h.stream.Send(m)
	}
}

// established is the arrival of SetupOK: the node downstream knows the circuit,
// so pairs can be asked for under its label.
func (c *Circuit) established() {
	c.state = circuitUp
	c.setupTimer.Stop()
	c.trace("up").End()
	if err := c.createStream(c.down); err != nil {
		c.fail(err)
		return
	}
	if c.up != nil {
		c.up.send(&SetupOK{})
		return
	}
	done := c.setupDone
	c.setupDone = nil
	done(c, nil)
}

// createStream asks the link downstream for kept pairs until the circuit ends.
func (c *Circuit) createStream(h *hop) error {
	h.limit = c.wantedLimit(h)
	id, err := c.l.links.Create(h.link.ID, link.Request{Type: link.Keep, Purpose: h.label, Deadline: qnet.Never, Limit: h.limit})
	if err != nil {
		return err
	}
	c.adopt(h, id)
	return nil
}

func (c *Circuit) adopt(h *hop, id link.RequestID) {
	h.request, h.open = id, true
	c.l.byReq[request{h.link.ID, id}] = h
}

// requested decides about a request of the upstream node.
func (c *Circuit) requested(o link.Offer) (uint64, error) {
	h := c.up
	if o.Type == link.Measure {
		if o.Pairs == 0 {
			return 0, qnet.Errorf(qnet.ErrProtocol, "a measure request of a circuit has a number of pairs")
		}
		if c.down != nil || c.Hops() != 1 || len(c.bulk) >= maxRequests {
			return 0, qnet.Errorf(qnet.ErrUnsupported, "only a circuit of one link is measured by its link")
		}
		c.bulk = append(c.bulk, bulkOffer{o.ID, o.Tag})
		c.l.byReq[request{h.link.ID, o.ID}] = h
		c.l.loop.After(0, c.matchBulk)
		return 0, nil
	}
	if h.open || o.Type != link.Keep || o.Pairs != 0 {
		return 0, qnet.Errorf(qnet.ErrProtocol, "a circuit has one stream of pairs on each link")
	}
	c.adopt(h, o.ID)
	h.limit = c.wantedLimit(h)
	return h.limit, nil
}

// wantedLimit returns how many link pairs this node takes in all on one side.
func (c *Circuit) wantedLimit(h *hop) uint64 {
	if !c.isEnd() {
		if !c.wanted() {
			return h.got
		}
		return unlimited
	}
	n := h.got
	for _, r := range c.requests {
		if !r.byLink() {
			n += r.Pairs - r.assigned
		}
	}
	return n
}

// wanted reports whether pairs of the circuit are wanted at this node.
func (c *Circuit) wanted() bool {
	return len(c.active) > 0 || slices.ContainsFunc(c.requests, func(r *endRequest) bool { return !r.byLink() })
}

func (c *Circuit) updateLimits() {
	for _, h := range c.hops() {
		if n := c.wantedLimit(h); h.open && n != h.limit {
			h.limit = n
			c.l.links.SetLimit(h.link.ID, h.request, n)
		}
	}
}

// linkEnded tells that a link request of the circuit is over.
func (c *Circuit) linkEnded(h *hop, id link.RequestID, err error) {
	if h.open && id == h.request {
		h.open = false
		if err == nil {
			err = qnet.Errorf(qnet.ErrPeerClosed, "%s stopped the pairs of link %d", c.l.graph.name(h.peer), h.link.ID)
		}
	} else {
		c.bulk = slices.DeleteFunc(c.bulk, func(o bulkOffer) bool { return o.id == id })
		if r := c.bulkRequest(id); r != nil {
			r.linkID = 0
		} else if err == nil {
			return
		}
	}
	if err == nil || errors.Is(err, qnet.ErrCancelled) {
		return
	}
	err = qnet.Errorf(qnet.CodeOf(err), "circuit lost at %s: %v", c.l.name, err)
	if !errors.Is(err, qnet.ErrUnknown) {
		c.fail(err)
		return
	}
	// The neighbour knows the circuit no more: it has ended it, and its TEARDOWN,
	// which says why, is on the way.
	c.lastWords.Stop()
	c.lastWords = c.l.loop.After(lastWordsTime, func() { c.fail(err) })
}

// lastWordsTime is how long a node waits for the TEARDOWN of a neighbour that
// knows a circuit no more.
const lastWordsTime = 2 * time.Second

// Close tears the circuit down hop by hop. The handler hears nothing more.
func (c *Circuit) Close(code qnet.Code) {
	if c.state == circuitClosed {
		return
	}
	text := fmt.Sprintf("%s closed the circuit", c.l.name)
	if code != qnet.OK {
		text += ": " + code.Error()
	}
	c.handler = nil
	c.end(&Teardown{Code: code, Text: text})
}

// fail ends the circuit for a reason and tells both sides and the handler.
func (c *Circuit) fail(err error) {
	if c.state == circuitClosed {
		return
	}
	c.trace("down").Str("err", err.Error()).End()
	handler, done := c.handler, c.setupDone
	c.end(&Teardown{Code: qnet.CodeOf(err), Text: wire.Clip(err.Error(), maxText)})
	switch {
	case done != nil:
		done(nil, err)
	case handler != nil:
		handler.Down(c, err)
	}
}

func (c *Circuit) end(m *Teardown) {
	c.remove()
	for _, h := range c.hops() {
		if h.stream != nil {
			h.stream.Send(m)
			h.stream.Close(qnet.OK)
			h.stream = nil
		}
	}
}

// remove frees everything that belongs to the circuit at this node.
func (c *Circuit) remove() {
	c.state = circuitClosed
	c.setupTimer.Stop()
	c.lastWords.Stop()
	c.setupDone = nil
	l := c.l
	delete(l.circuits, c.id)
	for _, h := range c.hops() {
		if h == c.up {
			delete(l.byLabel, label{h.link.ID, h.label})
		}
		if h.open {
			h.open = false
			delete(l.byReq, request{h.link.ID, h.request})
			l.links.End(h.link.ID, h.request, qnet.ErrCancelled)
		}
		h.settle()
		h.parked.drain(nil)
	}
	h := c.hops()[0]
	for _, o := range c.bulk {
		c.endBulk(h, o.id)
	}
	c.bulk = nil
	for _, r := range c.requests {
		if r.linkID != 0 {
			c.endBulk(h, r.linkID)
		}
	}
	for _, r := range c.requests {
		c.voidTransit(r, false)
	}
	c.requests = nil
}

func (c *Circuit) endBulk(h *hop, id link.RequestID) {
	delete(c.l.byReq, request{h.link.ID, id})
	c.l.links.End(h.link.ID, id, qnet.ErrCancelled)
}

// settle ends what is under way on one side: it frees the halves that wait,
// forgets the records of all pairs heard of so far, and answers the TRACKs that
// came for them. Only the chains that a TRACK has passed in one direction stay
// open for the other: an end may have confirmed them.
func (h *hop) settle() {
	for _, w := range h.waiting {
		w.timer.Stop()
		h.c.free(w.qubit)
	}
	h.waiting = nil
	h.settled = h.last
	h.swapped.drain(func(seq uint64, r swapRecord) {
		if _, ok := h.other().swapped.take(r.other); !ok {
			h.swapped.put(seq, r)
		}
	})
	h.discarded.drain(nil)
	h.parked.drain(func(seq uint64, t Track) {
		if h.isSettled(seq) {
			h.expireTrack(t)
		} else {
			h.parked.put(seq, t) // its REPLY is on the way
		}
	})
}

// isSettled reports whether settle has dealt with a link pair.
func (h *hop) isSettled(seq uint64) bool { return seq <= h.settled }

// gone reports, once, whether a link pair has no half here and will not have
// one.
func (h *hop) gone(seq uint64) bool {
	_, ok := h.discarded.take(seq)
	return ok || h.isSettled(seq)
}

// expireTrack answers a TRACK whose chain is broken here.
func (h *hop) expireTrack(t Track) {
	h.c.trace("expire").Uint("origin", t.Origin).Uint("link", t.Link).End()
	h.send(&CircuitExpire{Origin: t.Origin, Link: t.Link})
}

func (c *Circuit) free(q physical.Qubit) {
	c.l.dev.Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
}

// linkPair takes a pair from the link on one side.
func (c *Circuit) linkPair(h *hop, p link.Pair) {
	h.got++
	h.last = max(h.last, p.Seq)
	switch {
	case h.isSettled(p.Seq): // its REPLY was long under way
		c.free(p.Qubit)
		c.updateLimits()
	case c.isEnd():
		c.endPair(h, p)
	default:
		c.swapPair(h, p)
	}
}

// discard records that a link pair has no half here, or none any more.
func (h *hop) discard(seq uint64) {
	h.last = max(h.last, seq)
	switch t, ok := h.parked.take(seq); {
	case ok:
		h.expireTrack(t)
	case !h.c.wanted():
		h.settle()
	case !h.isSettled(seq):
		h.discarded.put(seq, struct{}{})
	}
}

// linkExpired voids a link pair that one end of the link does not have: this one
// or, if it had its half, the other.
func (c *Circuit) linkExpired(h *hop, seq uint64, had bool) {
	switch {
	case !had:
		h.discard(seq) // the other end may have sent a TRACK
	case c.isEnd():
		h.got--
		if t := c.transit[seq]; t != nil {
			c.void(t)
		}
	default:
		h.got--
		if i := slices.IndexFunc(h.waiting, func(w *half) bool { return w.seq == seq }); i >= 0 {
			w := h.waiting[i]
			h.waiting = slices.Delete(h.waiting, i, i+1)
			w.timer.Stop()
			c.free(w.qubit)
		} // else it was swapped: the TRACK that follows will find out
	}
	c.updateLimits()
}
