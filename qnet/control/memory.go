package control

import (
	"time"

	"qstack/qnet"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// Mem is an Endpoint of a Network.
type Mem struct {
	net      *Network
	id       qnet.NodeID
	tr       *trace.Tracer
	handlers []Handler // by service, nil where there is none
	peers    map[qnet.NodeID]hop
	removed  bool
}

var _ Endpoint = (*Mem)(nil)

// hop is a connection as seen from one side.
type hop struct {
	c    *conn
	side int
}

// ID implements Endpoint.
func (m *Mem) ID() qnet.NodeID { return m.id }

// Handle implements Endpoint.
func (m *Mem) Handle(s wire.Service, h Handler) {
	for int(s) >= len(m.handlers) {
		m.handlers = append(m.handlers, nil)
	}
	m.handlers[s] = h
}

// Up implements Endpoint.
func (m *Mem) Up(peer qnet.NodeID) bool {
	h, ok := m.peers[peer]
	return ok && !m.removed && h.c.told[h.side]
}

// Datagram implements Endpoint.
func (m *Mem) Datagram(to qnet.NodeID, msg wire.Message) error {
	h, err := m.hop(to)
	if err != nil {
		return err
	}
	c, n := h.c, m.net
	r := n.record(c, h.side)
	r.kind, r.typ = datagram, msg.Type()
	r.b = n.codec.Append(r.b, msg)
	if size := len(r.b); size > wire.MaxDatagram {
		n.release(r)
		return qnet.Errorf(qnet.ErrInvalid, "datagram of type 0x%x to %s has %d bytes: want at most %d", uint16(msg.Type()), n.name(to), size, wire.MaxDatagram)
	}
	m.traceMessage("send", to, r)
	n.count(r.typ).Sent++
	var v Verdict
	if n.filter != nil {
		v = n.filter(m.id, to, ClassDatagram, r.typ, r.b)
	}
	if !c.up || v.Action == Drop || c.chance(h.side, c.cfg.Loss) {
		m.traceMessage("lose", to, r)
		n.count(r.typ).Lost++
		n.release(r)
		return nil
	}
	again := v.Action == Duplicate || c.chance(h.side, c.cfg.Duplicate)
	n.launch(r, c.datagramDelay(h.side)+v.Delay)
	if again {
		twin := n.record(c, h.side)
		twin.kind, twin.typ, twin.twin = datagram, r.typ, true
		twin.b = append(twin.b, r.b...)
		n.launch(twin, c.datagramDelay(h.side)+v.Delay)
	}
	return nil
}

// Open implements Endpoint.
func (m *Mem) Open(to qnet.NodeID, first wire.Message, sh StreamHandler) (Stream, error) {
	h, err := m.hop(to)
	if err != nil {
		return nil, err
	}
	c, n := h.c, m.net
	n.opened++
	s := &stream{c: c, epoch: c.epoch, number: n.opened}
	for side := range s.half {
		s.half[side].s = s
		s.half[side].side = side
	}
	own := &s.half[h.side]
	own.state, own.h = open, sh
	s.link()
	if !c.up && !c.detecting {
		// Known to be down: the stream fails at once, but not within this call.
		n.loop.At(n.loop.Now(), func() { s.fail(qnet.ErrUnavail, "not connected") })
		return own, nil
	}
	own.send(first, opening)
	return own, nil
}

// hop returns the connection to a peer.
func (m *Mem) hop(to qnet.NodeID) (hop, error) {
	if m.removed {
		return hop{}, qnet.Errorf(qnet.ErrClosed, "the control endpoint of %s was removed", m.net.name(m.id))
	}
	h, ok := m.peers[to]
	if !ok {
		if _, err := m.net.conn(m.id, to); err != nil {
			return hop{}, err
		}
		h = m.peers[to]
	}
	return h, nil
}

func (m *Mem) handler(s wire.Service) Handler {
	if int(s) < len(m.handlers) {
		return m.handlers[s]
	}
	return nil
}

func (m *Mem) peerUp(peer qnet.NodeID) {
	m.event("peer-up").Str("peer", m.peerName(peer)).End()
	for _, h := range m.handlers {
		if h != nil && !m.removed {
			h.PeerUp(peer)
		}
	}
}

func (m *Mem) peerDown(peer qnet.NodeID, err error) {
	m.event("peer-down").Str("peer", m.peerName(peer)).Err(err).End()
	for _, h := range m.handlers {
		if h != nil && !m.removed {
			h.PeerDown(peer, err)
		}
	}
}

// event starts a line of the trace.
func (m *Mem) event(name string) trace.Event {
	if m.tr == nil {
		return trace.Event{}
	}
	return m.tr.Event(m.net.loop.Now(), "control", name)
}

// peerName returns the name of a peer for the trace.
func (m *Mem) peerName(id qnet.NodeID) string {
	if m.tr == nil {
		return ""
	}
	return m.net.name(id)
}

func (m *Mem) traceMessage(event string, peer qnet.NodeID, r *record) {
	if m.tr == nil {
		return
	}
	e := m.event(event).Str("peer", m.net.name(peer))
	if r.s != nil {
		e = e.Uint("stream", r.s.number)
	}
	e = e.Uint("type", uint64(r.typ)).Int("bytes", int64(len(r.b)))
	if event == "send" {
		e = Contents(e, r.typ, r.b)
	}
	e.End()
}

// stream is a stream with both its ends.
type stream struct {
	c          *conn
	epoch      uint64 // of c, when it was opened
	number     uint64 // in the trace
	half       [2]half
	linked     bool
	prev, next *stream
}

// state is that of one end of a stream.
//
//	idle --Accept--> open --Close, or told the end--> closed
//
// The opener's end begins in open; one that refuses goes from idle to closed.
type state uint8

const (
	idle state = iota
	open
	closed
)

// half is one end of a stream, the Stream of its endpoint.
type half struct {
	s      *stream
	side   int
	state  state
	h      StreamHandler
	last   qnet.Time // arrival of what was sent last
	unsent int       // bytes in flight from this end
}

var _ Stream = (*half)(nil)

// Peer implements Stream.
func (h *half) Peer() qnet.NodeID { return h.s.c.ids[1-h.side] }

// Send implements Stream.
func (h *half) Send(msg wire.Message) {
	if h.state == open {
		h.send(msg, message)
	}
}

func (h *half) send(msg wire.Message, kind kind) {
	c := h.s.c
	n, m, peer := c.net, c.ends[h.side], h.Peer()
	r := n.record(c, h.side)
	r.kind, r.s, r.typ = kind, h.s, msg.Type()
	r.b = n.codec.Append(r.b, msg)
	m.traceMessage("send", peer, r)
	if !c.up || h.s.epoch != c.epoch {
		m.traceMessage("lose", peer, r)
		n.release(r)
		return
	}
	if size := len(r.b); size > wire.MaxMessage || h.unsent+size > MaxUnsent {
		n.release(r)
		// Not within this call, but before anything else arrives from here.
		n.loop.At(n.loop.Now(), func() {
			if size > wire.MaxMessage {
				h.s.fail(qnet.ErrInvalid, "a message is longer than %d bytes", wire.MaxMessage)
			} else {
				h.s.fail(qnet.ErrBusy, "more than %d bytes are unsent", MaxUnsent)
			}
		})
		return
	}
	var v Verdict
	if n.filter != nil {
		v = n.filter(m.id, peer, ClassStream, r.typ, r.b)
	}
	r.verdict = v.Action
	h.unsent += len(r.b)
	h.launch(r, v.Delay)
}

// launch sends r after everything that was sent before it.
func (h *half) launch(r *record, extra time.Duration) {
	c := h.s.c
	now := c.net.loop.Now()
	h.last = max(h.last, now.Add(c.cfg.Delay+c.upTo(h.side, c.cfg.Jitter)+extra))
	c.net.launch(r, h.last.Sub(now))
}

// Close implements Stream.
func (h *half) Close(code qnet.Code) {
	if h.state != open {
		return
	}
	h.state, h.h = closed, nil
	c := h.s.c
	n, m := c.net, c.ends[h.side]
	m.event("close").Str("peer", m.peerName(h.Peer())).Uint("stream", h.s.number).Uint("code", uint64(code)).End()
	if !c.up || h.s.epoch != c.epoch {
		return // the other end finds out in the same way as about the rest
	}
	r := n.record(c, h.side)
	r.kind, r.s, r.code = closing, h.s, code
	h.launch(r, 0)
}

// end tells this end that the stream is over.
func (h *half) end(err error) {
	if h.state != open {
		h.state = closed
		return
	}
	sh := h.h
	h.state, h.h = closed, nil
	m := h.s.c.ends[h.side]
	m.event("closed").Str("peer", m.peerName(h.Peer())).Uint("stream", h.s.number).Err(err).End()
	sh.Closed(h, err)
}

// fail ends the stream at both ends, by an error that names the other one.
func (s *stream) fail(code qnet.Code, format string, args ...any) {
	s.unlink()
	for side := range s.half {
		h := &s.half[side]
		h.end(qnet.Errorf(code, "peer %s: stream broken: "+format, append([]any{s.c.net.name(h.Peer())}, args...)...))
	}
}

func (s *stream) link() {
	c := s.c
	s.prev, c.last = c.last, s
	if s.prev == nil {
		c.first = s
	} else {
		s.prev.next = s
	}
	s.linked = true
	c.net.streams++
}

func (s *stream) unlink() {
	if !s.linked {
		return
	}
	c := s.c
	if s.prev == nil {
		c.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		c.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next, s.linked = nil, nil, false
	c.net.streams--
}

// kind says what a record carries.
type kind uint8

const (
	datagram kind = iota
	opening       // first message of a stream
	message       // a later one
	closing       // the end of a stream
)

// record is one message in flight. Records are used again, with their buffers.
type record struct {
	c       *conn
	epoch   uint64 // of c, when it was sent
	to      int    // side
	kind    kind
	twin    bool   // the second copy of a datagram
	verdict Action // Break and BreakAfter only
	typ     wire.Type
	code    qnet.Code // closing
	s       *stream   // nil for datagrams
	b       []byte
	arrive  func() // arrived, bound to the record once
	next    *record
}

// maxKept is the capacity of the largest buffer that a record keeps.
const maxKept = 1 << 16

// record returns an empty record of what side sends.
func (n *Network) record(c *conn, side int) *record {
	r := n.free
	if r == nil {
		r = new(record)
		r.arrive = r.arrived
	} else {
		n.free = r.next
	}
	r.c, r.epoch, r.to = c, c.epoch, 1-side
	return r
}

// release gives a record back.
func (n *Network) release(r *record) {
	b := r.b[:0]
	if cap(b) > maxKept {
		b = nil
	}
	*r = record{b: b, arrive: r.arrive, next: n.free}
	n.free = r
}

func (n *Network) launch(r *record, d time.Duration) {
	n.inFlight++
	n.loop.After(d, r.arrive)
}

// arrived is the event of r's arrival.
func (r *record) arrived() {
	c := r.c
	n, m := c.net, c.ends[r.to]
	n.inFlight--
	if r.s != nil {
		r.s.half[1-r.to].unsent -= len(r.b)
	}
	switch from := c.ids[1-r.to]; {
	case r.epoch != c.epoch: // the connection went down: see tellDown
		if r.kind == datagram && !r.twin {
			n.count(r.typ).Lost++
		}
	case r.kind == datagram:
		m.traceMessage("deliver", from, r)
		if h := m.handler(r.typ.Service()); h != nil {
			h.Datagram(from, r.b)
		}
	default:
		r.s.arrived(r, m)
	}
	n.release(r)
}

// arrived hands r, which belongs to the stream, to its end at m.
func (s *stream) arrived(r *record, m *Mem) {
	h := &s.half[r.to]
	if r.verdict == Break {
		s.fail(qnet.ErrUnavail, "reset")
		return
	}
	switch r.kind {
	case opening:
		m.traceMessage("deliver", h.Peer(), r)
		h.state = open
		var sh StreamHandler
		if acceptor := m.handler(r.typ.Service()); acceptor != nil {
			sh = acceptor.Accept(h, r.b)
		}
		if sh == nil {
			h.Close(qnet.ErrProtocol)
		} else if h.state == open {
			h.h = sh
		}
	case message:
		if h.state == open {
			m.traceMessage("deliver", h.Peer(), r)
			h.h.Message(h, r.b)
		}
	case closing:
		var err error
		if r.code != qnet.OK {
			err = qnet.Errorf(r.code, "peer %s closed the stream: %v", s.c.net.name(h.Peer()), r.code)
		}
		s.unlink() // it is over at both ends
		h.end(err)
	}
	if r.verdict == BreakAfter {
		s.fail(qnet.ErrUnavail, "reset")
	}
}
