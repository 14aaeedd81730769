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
	maxRequests = 4096 // requests that one end of a link holds
	maxExpiring = 4096 // pairs whose expiry the peer has not confirmed
	maxTries    = 6    // sends of Add
	maxOver     = 1024 // requests of the peer remembered when they are over
	seqBase     = 1<<32 - 64
)

// Config configures the link layer of one node.
type Config struct {
	Name string // of the node, for diagnostics
	Ends []EndConfig
	// Retry is the first interval after which an unanswered message is sent
	// again; it doubles with each try, up to 64 times. 0 stands for 20 ms and two
	// round trips.
	Retry time.Duration
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
	reply   Reply  // scratch
}

// New returns the link layer of a node. The handler must be set with Handle
// before the loop runs.
func New(cfg Config, dev physical.Device, ep control.Endpoint, loop event.Scheduler, tr *trace.Tracer) *Layer {
	l := &Layer{cfg: cfg, dev: dev, ep: ep, loop: loop, tr: tr}
	for _, c := range cfg.Ends {
		l.ends = append(l.ends, newEnd(l, c))
	}
	slices.SortFunc(l.ends, func(a, b *end) int { return cmp.Compare(a.cfg.ID, b.cfg.ID) })
	ep.Handle(wire.ServiceLink, (*receiver)(l))
	dev.Watch(func(link physical.LinkID, i uint32) {
		if e := l.end(link); e != nil && int(i) < len(e.lanes) {
			e.lanes[i].freed()
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
// fidelity, ErrInvalid for a request that makes no sense and ErrBusy when too
// many are held.
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

// SetBases sets this end's bases for a Measure request of the peer.
func (l *Layer) SetBases(link physical.LinkID, id RequestID, b physical.BasisSource) {
	if e := l.end(link); e != nil {
		if r := e.requests[id]; r != nil {
			r.bases = b
		}
	}
}

// End ends a request at both ends. The handler hears no more of it, save pairs
// that expire.
func (l *Layer) End(link physical.LinkID, id RequestID, code qnet.Code) {
	if e := l.end(link); e != nil {
		e.endRequest(id, code, "")
	}
}

// Contended reports whether requests other than id want pairs of the link.
func (l *Layer) Contended(link physical.LinkID, id RequestID) bool {
	e := l.end(link)
	if e == nil {
		return false
	}
	for _, r := range e.order {
		if r.id != id && r.wants() > 0 {
			return true
		}
	}
	return false
}

// Full returns qnet.ErrNoMemory while a qubit in use stands in the way of every
// attempt on a link, nil otherwise.
func (l *Layer) Full(link physical.LinkID) error {
	e := l.end(link)
	if e == nil {
		return nil
	}
	for i := range e.lanes {
		if e.lanes[i].state != laneHeld {
			return nil
		}
	}
	if len(e.lanes) == 1 {
		return qnet.Errorf(qnet.ErrNoMemory, "the communication qubit of %s for link %s is in use; free it", l.cfg.Name, e.cfg.Name)
	}
	return qnet.Errorf(qnet.ErrNoMemory, "all %d communication qubits of %s for link %s are in use; free some", len(e.lanes), l.cfg.Name, e.cfg.Name)
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
}

// Status returns a picture of every link of the node.
func (l *Layer) Status() []Status {
	var out []Status
	for _, e := range l.ends {
		s := Status{Link: e.cfg.ID, Name: e.cfg.Name, Peer: e.cfg.PeerName, Down: e.down(),
			Requests: len(e.order), Wanted: e.wanted(), Lanes: len(e.lanes), Pairs: e.pairs, Expired: e.expired}
		for i := range e.lanes {
			switch e.lanes[i].state {
			case laneOpen:
				s.Open++
			case laneArming, laneClosing, laneHeld:
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

func (r *receiver) Accept(control.Stream, []byte) control.StreamHandler { return nil }

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
	t, _, err := wire.Peek(b)
	if err != nil {
		return
	}
	l := (*Layer)(r)
	switch t {
	case (*Add)(nil).Type():
		var m Add
		if wire.Parse(b, &m) == nil {
			if e := l.peerEnd(m.Link, from); e != nil {
				e.onAdd(&m)
			}
		}
	case (*AddAck)(nil).Type():
		var m AddAck
		if wire.Parse(b, &m) == nil {
			if e := l.peerEnd(m.Link, from); e != nil {
				e.onAddAck(&m)
			}
		}
	case (*End)(nil).Type():
		var m End
		if wire.Parse(b, &m) == nil {
			if e := l.peerEnd(m.Link, from); e != nil {
				e.onEnd(&m)
			}
		}
	case (*EndAck)(nil).Type():
		var m EndAck
		if wire.Parse(b, &m) == nil {
			if e := l.peerEnd(m.Link, from); e != nil {
				e.onEndAck(&m)
			}
		}
	case (*LinkExpire)(nil).Type():
		var m LinkExpire
		if wire.Parse(b, &m) == nil {
			if e := l.peerEnd(m.Link, from); e != nil {
				e.onExpire(&m)
			}
		}
	case (*LinkExpireAck)(nil).Type():
		var m LinkExpireAck
		if wire.Parse(b, &m) == nil {
			if e := l.peerEnd(m.Link, from); e != nil {
				e.onExpireAck(&m)
			}
		}
	case (*Reply)(nil).Type():
		m := &l.reply
		if wire.Parse(b, m) == nil {
			if e := l.stationEnd(m.Link, from); e != nil {
				e.onReply(m)
			}
		}
	case (*BulkReply)(nil).Type():
		var m BulkReply
		if wire.Parse(b, &m) == nil {
			if e := l.stationEnd(m.Link, from); e != nil {
				e.onBulkReply(&m)
			}
		}
	}
}

func (l *Layer) peerEnd(link physical.LinkID, from qnet.NodeID) *end {
	if e := l.end(link); e != nil && e.cfg.Peer == from {
		return e
	}
	return nil
}

func (l *Layer) stationEnd(link physical.LinkID, from qnet.NodeID) *end {
	if e := l.end(link); e != nil && e.cfg.Station == from {
		return e
	}
	return nil
}
