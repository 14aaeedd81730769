package link

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// Bounds of one end of a link.
const (
	maxRequests = 4096 // requests that one end of a link holds, unless it is told otherwise
	maxExpiring = 4096 // pairs whose expiry the peer has not confirmed
	maxTries    = 10   // sends of Add
	// referenceTries is the same in the simulations of Dahlberg et al.
	referenceTries = 3
	maxRefused     = 1024 // requests of the peer of which is remembered why they were refused
	seqBase        = 1<<32 - 64
)

// Config configures the link layer of one node.
type Config struct {
	Name string // of the node, for diagnostics
	Ends []EndConfig
	// Seed is that of the bases that this node draws itself, see Prepare.
	Seed uint64
	// OnFault hears of frames that were not taken, seldom enough for a log; nil for
	// nobody.
	OnFault func(Fault)
}

// Layer is the link layer of one node: an end of each of its links.
type Layer struct {
	cfg     Config
	dev     physical.Device
	ep      control.Endpoint
	loop    event.Scheduler
	tr      *trace.Tracer
	handler Handler
	ends    []*end // by LinkID
	pool    pool
	codec   wire.Codec
	in      struct { // the frame being handled
		add       Add
		addAck    AddAck
		end       End
		endAck    EndAck
		expire    LinkExpire
		expireAck LinkExpireAck
		reply     Reply
		bulkReply BulkReply
		mismatch  Mismatch
		memory    Memory
		outcomes  Outcomes
		limit     Limit
		limitAck  LimitAck
	}
}

// New returns the link layer of a node. The handler must be set with Handle
// before the loop runs.
func New(cfg Config, dev physical.Device, ep control.Endpoint, loop event.Scheduler, tr *trace.Tracer) *Layer {
	l := &Layer{cfg: cfg, dev: dev, ep: ep, loop: loop, tr: tr}
	for _, c := range cfg.Ends {
		l.ends = append(l.ends, newEnd(l, c))
	}
	slices.SortFunc(l.ends, func(a, b *end) int { return cmp.Compare(a.cfg.ID, b.cfg.ID) })
	l.pool.init(l)
	ep.Handle(wire.ServiceLink, (*receiver)(l))
	dev.Watch(func(link physical.LinkID, i uint32) {
		if e := l.end(link); e != nil && int(i) < len(e.lanes) {
			e.lanes[i].freed()
			l.pool.offer(e)
		}
	})
	return l
}

// Handle sets the layer above.
func (l *Layer) Handle(h Handler) { l.handler = h }

// ahead returns how far the clock of the fabric, which counts cycles and stamps
// pairs, is ahead of the loop's.
func (l *Layer) ahead() time.Duration { return l.dev.Now().Sub(l.loop.Now()) }

func (l *Layer) end(id physical.LinkID) *end {
	i, ok := slices.BinarySearchFunc(l.ends, id, func(e *end, id physical.LinkID) int { return cmp.Compare(e.cfg.ID, id) })
	if !ok {
		return nil
	}
	return l.ends[i]
}

// Create makes a request. Its identity is valid at both ends from then on; what
// becomes of it is told to the handler.
//
// It fails with qnet.ErrUnknown for a link that the node is not on, ErrUnavail
// for one that is down, ErrFidelity when the hardware can not reach the minimum
// fidelity (the text tells what it can), ErrUnsupported and ErrNoMemory for what
// else it can not do, ErrTimeout for a deadline that has passed, ErrInvalid for a
// request that makes no sense and ErrBusy when too many are held.
func (l *Layer) Create(link physical.LinkID, r Request) (RequestID, error) {
	e := l.end(link)
	if e == nil {
		return 0, qnet.Errorf(qnet.ErrUnknown, "%s is on no link %d", l.cfg.Name, link)
	}
	return e.create(r)
}

// SetLimit sets the number of pairs of a request, counted from its start, that
// this end takes. A limit below the number of pairs taken already stops the
// request without ending it. Measured pairs that the station has announced by then
// still come.
func (l *Layer) SetLimit(link physical.LinkID, id RequestID, limit uint64) {
	if e := l.end(link); e != nil {
		e.setLimit(id, limit)
	}
}

// SetBases sets this end's bases for a Measure request of the peer. Bases that
// can not be drawn from end the request with qnet.ErrInvalid.
func (l *Layer) SetBases(link physical.LinkID, id RequestID, b physical.BasisSource) {
	if e := l.end(link); e != nil {
		if r := e.requests[id]; r != nil && r.typ == Measure {
			if _, err := b.Choice(); err != nil {
				e.abort(r, qnet.Errorf(qnet.ErrInvalid, "link %s: %v", e.cfg.Name, err))
				return
			}
			r.bases = b
		}
	}
}

// End ends a request at both ends. The handler hears no more of it, save pairs
// that expire.
func (l *Layer) End(link physical.LinkID, id RequestID, code qnet.Code) {
	if code == qnet.OK {
		code = qnet.ErrCancelled // an END without a code says that all pairs are there
	}
	if e := l.end(link); e != nil {
		e.endRequest(id, code, "")
	}
}

// Listen says for which purposes this end takes part in requests of the peer. Those
// of others are refused with qnet.ErrNoListener. Before it is called, and after it
// was called with nil, the handler alone decides.
func (l *Layer) Listen(link physical.LinkID, purposes []uint64) {
	e := l.end(link)
	if e == nil {
		return
	}
	e.listens = nil
	if purposes != nil {
		e.listens = make(map[uint64]bool)
		for _, p := range purposes {
			e.listens[p] = true
		}
	}
}

// Contended reports whether requests other than id want pairs of the link.
func (l *Layer) Contended(link physical.LinkID, id RequestID) bool {
	e := l.end(link)
	if e == nil {
		return false
	}
	q := e.requests[id]
	others := e.ready.len()
	if q != nil && q.in != nowhere {
		others--
	}
	return others > 0
}

// Full returns qnet.ErrNoMemory while a qubit in use stands in the way of every
// attempt on a link, nil otherwise.
func (l *Layer) Full(link physical.LinkID) error {
	e := l.end(link)
	if e == nil {
		return nil
	}
	return e.full()
}

// Config returns the configuration of a link's end.
func (l *Layer) Config(link physical.LinkID) (EndConfig, bool) {
	if e := l.end(link); e != nil {
		return e.cfg, true
	}
	return EndConfig{}, false
}

// Status is a picture of one end of a link, for operators.
type Status struct {
	Link     physical.LinkID
	Name     string
	Peer     string
	Down     error
	Requests int
	Wanted   uint64 // pairs that this end would take now
	Lanes    int
	Open     int // lanes that attempt
	Held     int // lanes whose qubit holds a pair, or is being prepared
	Pairs    uint64
	Expired  uint64
	Tested   uint64 // pairs that were test rounds
	Frames   Frames
	Quality  []Quality // of pairs that are kept, by operating point
}

// Frames counts the frames of one end, or of a station.
type Frames struct {
	Sent, Received [16]uint64 // by the last digit of the message type
	Malformed      uint64     // frames that were not understood
	Unexpected     uint64     // frames that nothing had asked for, or that no honest sender sends
	Limited        uint64     // frames dropped because their sender sends too many
	Mismatches     uint64     // times that the ends attempted for different requests
}

// Status returns a picture of every link of the node.
func (l *Layer) Status() []Status {
	var out []Status
	for _, e := range l.ends {
		s := Status{Link: e.cfg.ID, Name: e.cfg.Name, Peer: e.cfg.PeerName, Down: e.down(),
			Requests: len(e.requests), Wanted: e.ready.wanted(), Lanes: len(e.lanes), Pairs: e.pairs, Expired: e.expired, Tested: e.tested, Frames: e.frames, Quality: e.qualities()}
		for i := range e.lanes {
			switch e.lanes[i].state {
			case laneOpen:
				s.Open++
			case laneArming, laneClosing, laneHeld, laneMoving:
				s.Held++
			}
		}
		out = append(out, s)
	}
	return out
}

// Idle reports whether nothing is left of any request or pair: the ledger that
// tests end with.
func (l *Layer) Idle() error {
	for _, e := range l.ends {
		if n := len(e.requests); n > 0 {
			return fmt.Errorf("link %s at %s: %d requests left", e.cfg.Name, l.cfg.Name, n)
		}
		if n := len(e.expiring); n > 0 {
			return fmt.Errorf("link %s at %s: %d expiries left", e.cfg.Name, l.cfg.Name, n)
		}
		for i := range e.lanes {
			if s := e.lanes[i].state; s != laneIdle {
				return fmt.Errorf("link %s at %s: lane %d is %v", e.cfg.Name, l.cfg.Name, i, s)
			}
		}
	}
	return nil
}

// receiver is the layer as control.Handler, kept off its public method set.
type receiver Layer

// Accept takes the stream of a station that has many pairs to announce.
func (r *receiver) Accept(s control.Stream, first []byte) control.StreamHandler {
	if c := (*columns)(r); c.take(s, first) {
		return c
	}
	return nil
}

func (r *receiver) PeerUp(peer qnet.NodeID) {
	for _, e := range r.ends {
		if peer == e.cfg.Peer || peer == e.cfg.Station {
			e.peerUp()
		}
	}
}

func (r *receiver) PeerDown(peer qnet.NodeID, err error) {
	for _, e := range r.ends {
		if peer == e.cfg.Peer || peer == e.cfg.Station {
			e.peerDown(err)
		}
	}
}

// Datagram dispatches one frame. A frame that is malformed, of an unknown link
// or not from that link's peer or station is dropped: datagrams are not
// answered for.
func (r *receiver) Datagram(from qnet.NodeID, b []byte) {
	l := (*Layer)(r)
	t, _, err := wire.Peek(b)
	if err != nil {
		l.malformed(from, err)
		return
	}
	switch t {
	case (*Add)(nil).Type():
		take(l, fromPeer, from, b, &l.in.add, (*end).onAdd)
	case (*AddAck)(nil).Type():
		take(l, fromPeer, from, b, &l.in.addAck, (*end).onAddAck)
	case (*End)(nil).Type():
		take(l, fromPeer, from, b, &l.in.end, (*end).onEnd)
	case (*EndAck)(nil).Type():
		take(l, fromPeer, from, b, &l.in.endAck, (*end).onEndAck)
	case (*LinkExpire)(nil).Type():
		take(l, fromPeer, from, b, &l.in.expire, (*end).onExpire)
	case (*LinkExpireAck)(nil).Type():
		take(l, fromPeer, from, b, &l.in.expireAck, (*end).onExpireAck)
	case (*Reply)(nil).Type():
		take(l, fromStation, from, b, &l.in.reply, (*end).onReply)
	case (*BulkReply)(nil).Type():
		take(l, fromStation, from, b, &l.in.bulkReply, (*end).onBulkReply)
	case (*Mismatch)(nil).Type():
		take(l, fromStation, from, b, &l.in.mismatch, (*end).onMismatch)
	case (*Outcomes)(nil).Type():
		take(l, fromPeer, from, b, &l.in.outcomes, (*end).onOutcomes)
	case (*Memory)(nil).Type():
		take(l, fromPeer, from, b, &l.in.memory, (*end).onMemory)
	case (*Limit)(nil).Type():
		take(l, fromPeer, from, b, &l.in.limit, (*end).onLimit)
	case (*LimitAck)(nil).Type():
		take(l, fromPeer, from, b, &l.in.limitAck, (*end).onLimitAck)
	default:
		l.malformed(from, qnet.Errorf(qnet.ErrProtocol, "type 0x%x is none of a link", uint16(t)))
	}
}

// frame is a message of one link.
type frame interface {
	wire.Message
	link() physical.LinkID
}

// take handles a message to the end of a link from the sender that sends such.
func take[M frame](l *Layer, sender int, from qnet.NodeID, b []byte, m M, handle func(*end, M)) bool {
	if err := l.codec.Parse(b, m); err != nil {
		l.malformed(from, err)
		return false
	}
	e := l.end(m.link())
	switch {
	case e == nil: // of a link of others
		return false
	case from != [...]qnet.NodeID{e.cfg.Peer, e.cfg.Station}[sender]:
		e.fault(fromOthers, unexpected, "frame of a node that does not send such")
		return false
	case !e.received(sender, m):
		return false
	}
	handle(e, m)
	return true
}

// received counts a frame of the peer (0) or the station (1), and reports whether
// it is to be handled.
func (e *end) received(sender int, m frame) bool {
	if !e.limits[sender].allow(e.l.loop.Now()) {
		e.fault(sender, limited, "too many frames")
		return false
	}
	e.frames.Received[m.Type()&0xf]++
	return true
}

// malformed counts a frame that is not understood.
func (l *Layer) malformed(from qnet.NodeID, err error) {
	for _, e := range l.ends {
		switch from {
		case e.cfg.Peer:
			e.fault(fromPeer, malformed, err.Error())
		case e.cfg.Station:
			e.fault(fromStation, malformed, err.Error())
		}
	}
}
