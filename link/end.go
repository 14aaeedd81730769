package link

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// requestState is where a request stands.
//
//	    create          ADD_ACK(0)           END_ACK, or END of the peer
//	---------> adding ------------> active         +----> (gone)
//	             | |                  | end        |
//	             | | not answered     v            |
//	             | +-------------> ending ---------+
//	             | ADD_ACK(code)
//	             +---> (gone)
//
// At the peer a request is active from the ADD on. A complete request is gone at
// once, at each end by itself, and the loss of the link is the end of all.
type requestState uint8

const (
	reqAdding requestState = iota
	reqActive
	reqEnding
)

// request is one request at one end.
type request struct {
	id        RequestID
	typ       Type
	state     requestState
	pairs     uint64 // 0: until ended
	purpose   uint64
	tag       uint64
	minF      float64
	deadline  qnet.Time
	lastCycle uint64 // the same as both ends count it; 0 for none
	limit     uint64 // pairs that this end takes in all
	got       uint64 // pairs handed up and not void
	void      uint64 // pairs of this request that one end did not get
	bases     physical.BasisSource
	endCode   qnet.Code
	endText   string
	tries     int
	retry     event.Timer
	expiry    event.Timer
}

// ceiling returns the number of pairs that this end takes in all.
func (r *request) ceiling() uint64 {
	if r.pairs > 0 {
		return min(r.limit, r.pairs)
	}
	return r.limit
}

// wants returns how many more pairs this end takes now.
func (r *request) wants() uint64 {
	if r.state != reqActive || r.ceiling() <= r.got {
		return 0
	}
	return r.ceiling() - r.got
}

// end is one end of one link.
type end struct {
	l        *Layer
	cfg      EndConfig
	nextID   uint64
	requests map[RequestID]*request
	order    []*request // active ones, by id
	first    int        // in order, the next to be served; the same at both ends
	over     []RequestID
	nOver    int
	lanes    []lane
	expiring []*expiring
	voided   []uint64 // the latest pairs that the peer voided, oldest first
	recent   []taken
	nRecent  int
	wasDown  bool
	version  uint64    // of what open lanes should offer
	keepTurn bool      // a kept request goes first when lanes are short
	turnAt   qnet.Time // since when
	pairs    uint64
	expired  uint64
	gen      Gen // scratch
	measured []Measured
}

// taken remembers which request a pair was handed up for.
type taken struct {
	seq uint64
	id  RequestID
}

func newEnd(l *Layer, cfg EndConfig) *end {
	e := &end{l: l, cfg: cfg, nextID: seqBase, requests: make(map[RequestID]*request), lanes: make([]lane, cfg.Lanes),
		recent: make([]taken, max(256, 64*cfg.Lanes))}
	for i := range e.lanes {
		e.lanes[i].init(e, uint32(i))
	}
	e.wasDown = e.down() != nil
	return e
}

func (e *end) trace(name string) trace.Event {
	return e.l.tr.Event(e.l.dev.Now(), "link", name).Str("link", e.cfg.Name)
}

func (e *end) down() error {
	if !e.l.ep.Up(e.cfg.Peer) {
		return qnet.Errorf(qnet.ErrUnavail, "link %s is down: %s is not answering", e.cfg.Name, e.cfg.PeerName)
	}
	if !e.l.ep.Up(e.cfg.Station) {
		return qnet.Errorf(qnet.ErrUnavail, "link %s is down: its station in the fabric is not answering", e.cfg.Name)
	}
	return nil
}

func (e *end) peerUp() {
	if e.wasDown && e.down() == nil {
		e.wasDown = false
		e.trace("up").End()
		e.l.handler.LinkChange(e.cfg.ID, nil)
	}
}

func (e *end) peerDown(error) {
	err := e.down()
	if err == nil { // it came back before we were told
		err = qnet.Errorf(qnet.ErrRestarted, "link %s was interrupted", e.cfg.Name)
	}
	e.wasDown = true
	e.trace("down").Str("err", err.Error()).End()
	peer := e.l.ep.Up(e.cfg.Peer)
	if !peer {
		for _, x := range e.expiring {
			x.timer.Stop()
		}
		e.expiring = nil
	}
	for _, id := range slices.Sorted(maps.Keys(e.requests)) {
		r := e.requests[id]
		if r == nil {
			continue
		}
		ending := r.state == reqEnding
		if peer {
			e.endRequest(id, qnet.CodeOf(err), err.Error()) // it may not know
		} else {
			e.drop(r)
		}
		if !ending {
			e.l.handler.Ended(e.cfg.ID, id, err)
		}
	}
	if !peer {
		e.over, e.nOver = e.over[:0], 0 // a peer that comes back may count anew
	}
	if !e.l.ep.Up(e.cfg.Station) {
		e.voided = nil
		clear(e.recent) // and so may a station
		for i := range e.lanes {
			if l := &e.lanes[i]; l.state == laneClosing {
				l.release()
			}
		}
	}
	e.l.handler.LinkChange(e.cfg.ID, err)
	if e.down() == nil {
		e.peerUp()
	}
}

func (e *end) retryAfter(tries int) time.Duration {
	d := e.l.cfg.Retry
	if d == 0 {
		d = 20*time.Millisecond + 8*e.cfg.Delay // two round trips between the ends
	}
	return d << min(tries, 6)
}

func (e *end) send(to qnet.NodeID, m wire.Message) {
	// The only errors are an unknown peer, which the configuration rules out,
	// and an oversized message, which the limits do.
	_ = e.l.ep.Datagram(to, m)
}

func (e *end) create(r Request) (RequestID, error) {
	if err := e.down(); err != nil {
		return 0, err
	}
	now := e.l.loop.Now()
	switch {
	case r.Type >= typeEnd:
		return 0, qnet.Errorf(qnet.ErrInvalid, "link %s: request type %d is unknown", e.cfg.Name, r.Type)
	case math.IsNaN(r.MinFidelity) || r.MinFidelity < 0 || r.MinFidelity > 1:
		return 0, qnet.Errorf(qnet.ErrInvalid, "link %s: minimum fidelity %v is not between 0 and 1", e.cfg.Name, r.MinFidelity)
	case r.MinFidelity > e.best():
		return 0, qnet.Errorf(qnet.ErrFidelity, "link %s: fidelity %.4f asked, the hardware reaches %.4f; ask for less", e.cfg.Name, r.MinFidelity, e.best())
	case r.Deadline <= now:
		return 0, qnet.Errorf(qnet.ErrTimeout, "link %s: the deadline has passed already", e.cfg.Name)
	case len(e.requests) >= maxRequests:
		return 0, qnet.Errorf(qnet.ErrBusy, "link %s: %d requests are waiting already; try again later", e.cfg.Name, maxRequests)
	}
	if r.Type == Measure {
		if r.Pairs == 0 {
			return 0, qnet.Errorf(qnet.ErrInvalid, "link %s: a measure request needs a number of pairs", e.cfg.Name)
		}
	}
	q := &request{
		id: RequestID(e.nextID<<1 | uint64(e.cfg.Side)), typ: r.Type, pairs: r.Pairs, purpose: r.Purpose, tag: r.Tag,
		minF: r.MinFidelity, deadline: qnet.Never, limit: r.Limit, bases: r.Bases,
	}
	if r.Deadline != qnet.Never {
		q.lastCycle = e.cfg.Cycles.From(r.Deadline.Add(e.l.ahead()))
		q.deadline = e.instant(q.lastCycle)
	}
	e.nextID++
	e.requests[q.id] = q
	e.armExpiry(q)
	e.sendAdd(q)
	return q.id, nil
}

func (e *end) armExpiry(q *request) {
	if q.deadline != qnet.Never {
		q.expiry = e.l.loop.At(q.deadline, func() { e.timeout(q) })
	}
}

func (e *end) timeout(q *request) {
	e.trace("timeout").Uint("request", uint64(q.id)).End()
	ending := q.state == reqEnding
	e.drop(q)
	if !ending {
		e.l.handler.Ended(e.cfg.ID, q.id, qnet.Errorf(qnet.ErrTimeout, "link %s: request not complete by its deadline", e.cfg.Name))
	}
}

// instant returns when a cycle is, by the clock of the loop.
func (e *end) instant(cycle uint64) qnet.Time {
	return e.cfg.Cycles.Instant(cycle).Add(-e.l.ahead())
}

func (e *end) sendAdd(q *request) {
	if q.tries >= maxTries {
		e.abort(q, qnet.Errorf(qnet.ErrTimeout, "link %s: %s did not answer a request", e.cfg.Name, e.cfg.PeerName))
		return
	}
	e.send(e.cfg.Peer, &Add{Link: e.cfg.ID, ID: q.id, Kind: q.typ, Pairs: q.pairs, Purpose: q.purpose, Tag: q.tag,
		MinFidelity: q.minF, Deadline: q.lastCycle})
	q.retry = e.l.loop.After(e.retryAfter(q.tries), func() { e.sendAdd(q) })
	q.tries++
}

func (e *end) onAdd(m *Add) {
	if int(m.ID&1) == e.cfg.Side {
		return // our own identities are not the peer's to give
	}
	ack := AddAck{Link: e.cfg.ID, ID: m.ID}
	if q := e.requests[m.ID]; q != nil {
		if q.state == reqEnding {
			ack.Code = qnet.ErrCancelled
		}
		e.send(e.cfg.Peer, &ack)
		return
	}
	if slices.Contains(e.over, m.ID) {
		e.send(e.cfg.Peer, &ack) // a late copy
		return
	}
	deadline := qnet.Never
	if m.Deadline != 0 {
		deadline = e.instant(m.Deadline)
	}
	var limit uint64
	var err error
	switch {
	case e.wasDown:
		err = qnet.ErrUnavail
	case len(e.requests) >= maxRequests:
		err = qnet.ErrBusy
	case m.MinFidelity > e.best():
		err = qnet.ErrFidelity
	case deadline <= e.l.loop.Now():
		err = qnet.ErrTimeout
	default:
		limit, err = e.l.handler.Requested(e.cfg.ID, Offer{ID: m.ID, Type: m.Kind, Pairs: m.Pairs, Purpose: m.Purpose, Tag: m.Tag,
			MinFidelity: m.MinFidelity, Deadline: deadline})
	}
	if err != nil {
		ack.Code = qnet.CodeOf(err)
		e.trace("refuse").Uint("request", uint64(m.ID)).Str("err", err.Error()).End()
		e.send(e.cfg.Peer, &ack)
		return
	}
	q := &request{id: m.ID, typ: m.Kind, pairs: m.Pairs, purpose: m.Purpose, tag: m.Tag, minF: m.MinFidelity, deadline: deadline, limit: limit}
	e.requests[q.id] = q
	e.armExpiry(q)
	e.send(e.cfg.Peer, &ack)
	e.activate(q)
}

func (e *end) onAddAck(m *AddAck) {
	q := e.requests[m.ID]
	if q == nil || int(m.ID&1) != e.cfg.Side || q.state != reqAdding {
		return
	}
	q.retry.Stop()
	q.tries = 0
	if m.Code != qnet.OK {
		e.drop(q)
		e.l.handler.Ended(e.cfg.ID, q.id, qnet.Errorf(m.Code, "link %s: %s refused a request: %v", e.cfg.Name, e.cfg.PeerName, m.Code))
		return
	}
	e.activate(q)
}

func (e *end) activate(q *request) {
	q.state = reqActive
	e.version++
	e.trace("active").Uint("request", uint64(q.id)).Str("type", q.typ.String()).Uint("pairs", q.pairs).End()
	i, _ := e.position(q.id)
	e.order = slices.Insert(e.order, i, q)
	if i < e.first {
		e.first++
	}
	e.serve()
}

// position returns where in order a request is, or would be.
func (e *end) position(id RequestID) (int, bool) {
	return slices.BinarySearchFunc(e.order, id, func(q *request, id RequestID) int { return cmp.Compare(q.id, id) })
}

// turn returns the request that is served after i others.
func (e *end) turn(i int) *request {
	if i += e.first; i >= len(e.order) {
		i -= len(e.order)
	}
	return e.order[i]
}

func (e *end) setLimit(id RequestID, limit uint64) {
	q := e.requests[id]
	if q == nil || q.limit == limit {
		return
	}
	before := q.wants()
	q.limit = limit
	if q.state != reqActive {
		return
	}
	if after := q.wants(); after < before || before == 0 {
		e.version++ // open lanes offer too much, or not this request
	}
	e.trim()
	e.serve()
}

// endRequest ends a request of ours or of the peer's, without telling the layer
// above. text, if not empty, tells the peer more than code.
func (e *end) endRequest(id RequestID, code qnet.Code, text string) {
	q := e.requests[id]
	if q == nil || q.state == reqEnding {
		return
	}
	e.deactivate(q)
	q.retry.Stop()
	q.state, q.tries, q.endCode, q.endText = reqEnding, 0, code, wire.Clip(text, maxText)
	e.sendEnd(q)
}

// abort ends a request at both ends and tells the layer above why.
func (e *end) abort(q *request, err error) {
	e.endRequest(q.id, qnet.CodeOf(err), err.Error())
	e.l.handler.Ended(e.cfg.ID, q.id, err)
}

// refuseKeep ends all requests to keep pairs.
func (e *end) refuseKeep(err error) {
	for _, q := range slices.Clone(e.order) {
		if q.typ == Keep && q.state == reqActive && e.requests[q.id] == q {
			e.abort(q, err)
		}
	}
}

func (e *end) sendEnd(q *request) {
	e.send(e.cfg.Peer, &End{Link: e.cfg.ID, ID: q.id, Code: q.endCode, Text: q.endText})
	q.retry = e.l.loop.After(e.retryAfter(q.tries), func() { e.sendEnd(q) })
	q.tries++
}

func (e *end) onEnd(m *End) {
	e.send(e.cfg.Peer, &EndAck{Link: e.cfg.ID, ID: m.ID})
	q := e.requests[m.ID]
	if q == nil {
		e.isOver(m.ID) // its ADD may be on the way
		return
	}
	ending := q.state == reqEnding
	e.drop(q)
	if !ending {
		why := m.Text
		if why == "" {
			why = m.Code.Error()
		}
		e.l.handler.Ended(e.cfg.ID, m.ID, qnet.Errorf(m.Code, "link %s: %s ended the request: %s", e.cfg.Name, e.cfg.PeerName, why))
	}
}

func (e *end) onEndAck(m *EndAck) {
	if q := e.requests[m.ID]; q != nil && q.state == reqEnding {
		e.drop(q)
	}
}

// deactivate takes a request out of service.
func (e *end) deactivate(q *request) {
	if i, ok := e.position(q.id); ok {
		e.order = slices.Delete(e.order, i, i+1)
		if i < e.first {
			e.first--
		}
		if e.first == len(e.order) {
			e.first = 0
		}
		e.version++
	}
	for i := range e.lanes {
		if l := &e.lanes[i]; l.bulk.q == q {
			l.abandon()
		}
	}
	e.trim()
	e.serve()
}

// drop forgets a request.
func (e *end) drop(q *request) {
	q.retry.Stop()
	q.expiry.Stop()
	if e.requests[q.id] == q {
		delete(e.requests, q.id)
		e.isOver(q.id)
		e.trace("drop").Uint("request", uint64(q.id)).Uint("got", q.got).End()
	}
	e.deactivate(q)
}

// isOver remembers that a request of the peer is over, lest a late copy of its
// ADD bring it back.
func (e *end) isOver(id RequestID) {
	if int(id&1) == e.cfg.Side {
		return
	}
	if len(e.over) < maxOver {
		e.over = append(e.over, id)
		return
	}
	e.over[e.nOver%maxOver] = id
	e.nOver++
}

// pass gives the turn to the request after q.
func (e *end) pass(q *request) {
	if i, ok := e.position(q.id); ok {
		e.first = (i + 1) % len(e.order)
	}
}

// took counts pairs handed up, completes a request and gives the turn to the
// next.
func (e *end) took(q *request, n uint64) (complete bool) {
	q.got += n
	e.pairs += n
	e.pass(q)
	return q.pairs > 0 && q.got >= q.pairs
}

// untake takes a pair back that the peer voided, so that its request gets
// another; a request that is complete already can not, and ends at the peer. It
// returns the request, 0 if the pair was never handed up.
func (e *end) untake(seq uint64) RequestID {
	for i := range e.recent {
		if t := &e.recent[i]; t.seq == seq && t.id != 0 {
			if q := e.requests[t.id]; q != nil {
				q.got--
				q.void++
				e.version++
			} else {
				q = &request{id: t.id, state: reqEnding, endCode: qnet.ErrCancelled}
				e.requests[t.id] = q
				e.sendEnd(q)
			}
			id := t.id
			*t = taken{}
			return id
		}
	}
	return 0
}

// complete finishes a request that has all its pairs.
func (e *end) complete(q *request) {
	if e.requests[q.id] != q {
		return
	}
	e.drop(q)
	e.l.handler.Ended(e.cfg.ID, q.id, nil)
}

// wanted returns the number of pairs that the kept requests want now.
func (e *end) wanted() uint64 {
	var n uint64
	for _, q := range e.order {
		if q.typ == Keep {
			n = saturate(n, q.wants())
		}
	}
	return n
}

// best returns the highest fidelity of an operating point.
func (e *end) best() (f float64) {
	for i := range e.cfg.Points {
		f = max(f, e.cfg.Points[i].Fidelity)
	}
	return f
}

func saturate(a, b uint64) uint64 {
	if a+b < a {
		return math.MaxUint64
	}
	return a + b
}

// expiring is one range of pairs that the peer is being told to void.
type expiring struct {
	first, end uint64
	tries      int
	timer      event.Timer
}

// expire voids a pair of which this end has no use.
func (e *end) expire(seq uint64, id RequestID) {
	if q := e.requests[id]; q != nil {
		q.void++
		e.version++
	}
	e.expired++
	e.trace("expire").Uint("seq", seq).End()
	if !e.wasDown && len(e.expiring) < maxExpiring { // otherwise the peer's half meets its fate in the layer above
		x := &expiring{first: seq, end: seq + 1}
		e.expiring = append(e.expiring, x)
		e.sendExpire(x)
	}
	e.l.handler.Expired(e.cfg.ID, id, seq, false)
}

func (e *end) sendExpire(x *expiring) {
	e.send(e.cfg.Peer, &LinkExpire{Link: e.cfg.ID, First: x.first, End: x.end})
	x.timer = e.l.loop.After(e.retryAfter(x.tries), func() { e.sendExpire(x) })
	x.tries++
}

func (e *end) removeExpiring(first, end uint64) {
	i := slices.IndexFunc(e.expiring, func(x *expiring) bool { return x.first == first && x.end == end })
	if i >= 0 {
		e.expiring[i].timer.Stop()
		e.expiring = slices.Delete(e.expiring, i, i+1)
	}
}

func (e *end) onExpire(m *LinkExpire) {
	e.send(e.cfg.Peer, &LinkExpireAck{Link: e.cfg.ID, First: m.First, End: m.End})
	for seq := m.First; seq < m.End; seq++ {
		if slices.Contains(e.voided, seq) {
			continue
		}
		if len(e.voided) >= 256 {
			e.voided = slices.Delete(e.voided, 0, 1)
		}
		e.voided = append(e.voided, seq)
		e.expired++
		e.trace("expired").Uint("seq", seq).End()
		if id := e.untake(seq); id != 0 {
			e.l.handler.Expired(e.cfg.ID, id, seq, true)
		}
	}
	e.serve()
}

func (e *end) onExpireAck(m *LinkExpireAck) { e.removeExpiring(m.First, m.End) }
