package link

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/wire"
)

// The distributed queue. Both ends hold the same requests in the same order: side
// 0 gives each its place, whoever created it, and what the scheduler decides by.
// ADD and ADD_ACK carry both.

// maxAdding is the number of ADDs that wait for their answers at most.
const maxAdding = 64

func (e *end) sortedRequests() []RequestID { return slices.Sorted(maps.Keys(e.requests)) }

// room returns nil if one more request of a side can be held. A quarter of the
// queue is kept for each side.
func (e *end) room(side int) error {
	other := 1 - side
	reserved := max(0, e.cfg.Queue/4-e.count[other])
	if e.count[0]+e.count[1] >= e.cfg.Queue || e.count[side] >= e.cfg.Queue-reserved {
		return qnet.Errorf(qnet.ErrBusy, "link %s: %d requests are waiting already; try again later", e.cfg.Name, e.count[0]+e.count[1])
	}
	return nil
}

func (e *end) create(r Request) (RequestID, error) {
	if err := e.down(); err != nil {
		return 0, err
	}
	if err := e.check(&r); err != nil {
		return 0, err
	}
	if err := e.room(e.cfg.Side); err != nil {
		return 0, err
	}
	q := e.newRequest(&r)
	var err error
	if err = e.choose(q); err != nil {
		return 0, err
	}
	if r.Type == Prepare {
		if q.draw, err = r.Bases.Choice(); err != nil {
			return 0, qnet.Errorf(qnet.ErrInvalid, "link %s: %v", e.cfg.Name, err)
		}
	}
	if q.testing = e.cfg.TestRounds; q.testing > 0 {
		for i := 0; i < saltSize; i += 8 {
			binary.BigEndian.PutUint64(q.salt[i:], e.rng.Uint64())
		}
	}
	e.weigh(q)
	if r.Deadline != qnet.Never {
		q.Deadline = e.cfg.Cycles.From(r.Deadline.Add(e.l.ahead()))
		q.deadline = e.instant(q.Deadline)
	}
	e.nextID++
	e.hold(q)
	if e.adding >= maxAdding {
		e.backlog = append(e.backlog, q)
	} else {
		e.propose(q)
	}
	return q.ID, nil
}

// newRequest returns a request of this end, under the next identity.
func (e *end) newRequest(r *Request) *request {
	return e.request(request{
		Entry: Entry{ID: RequestID(e.nextID<<1 | uint64(e.cfg.Side)), Priority: r.Priority, Atomic: r.Atomic || r.Consecutive, Pairs: r.Pairs, Purpose: r.Purpose, Tag: r.Tag},
		typ:   r.Type, consecutive: r.Consecutive, store: r.Store, minF: r.MinFidelity, deadline: qnet.Never,
		limit: r.Limit, paced: math.MaxUint64, rate: r.Rate, bases: r.Bases, peerBases: r.PeerBases,
	})
}

// check returns what is wrong with a request, whatever the state of the link.
func (e *end) check(r *Request) error {
	bad := func(format string, args ...any) error {
		return qnet.Errorf(qnet.ErrInvalid, "link "+e.cfg.Name+": "+format, args...)
	}
	switch {
	case r.Type >= typeEnd:
		return bad("request type %d is unknown", r.Type)
	case math.IsNaN(r.MinFidelity) || r.MinFidelity < 0 || r.MinFidelity > 1:
		return bad("minimum fidelity %v is not between 0 and 1", r.MinFidelity)
	case r.Priority > MaxPriority:
		return bad("priority %d is not between 0 and %d", r.Priority, MaxPriority)
	case max(r.Pairs, r.Purpose, r.Tag) > wire.MaxUvarint:
		return bad("pairs, purpose and tag are at most 2^62-1")
	case r.Consecutive && r.Pairs == 0:
		return bad("a request whose pairs are to be alive together needs a number of pairs")
	case (r.Consecutive || r.Store) && r.Type != Keep:
		return bad("only pairs that both ends keep can be stored, or be alive together")
	case !(r.Rate >= 0 && r.Rate <= maxRate):
		return bad("rate %v is not between 0 and 1e12 pairs per second", r.Rate)
	case r.Deadline <= e.l.loop.Now():
		return qnet.Errorf(qnet.ErrTimeout, "link %s: the deadline has passed already", e.cfg.Name)
	}
	for _, b := range [...]physical.BasisSource{r.Bases, r.PeerBases} {
		if err := b.Validate(); err != nil {
			return bad("%v", err)
		}
	}
	if r.Deadline != qnet.Never && r.Deadline.Sub(e.l.loop.Now()) < 4*e.cfg.Delay {
		return qnet.Errorf(qnet.ErrUnsupported, "link %s: the deadline is sooner than an answer of %s, which takes %v", e.cfg.Name, e.cfg.PeerName, 4*e.cfg.Delay)
	}
	if least := e.leastTime(r); r.Deadline != qnet.Never && r.Deadline.Sub(e.l.loop.Now()) < least {
		return qnet.Errorf(qnet.ErrUnsupported, "link %s: the attempts for %d pairs alone take %v, the deadline is sooner", e.cfg.Name, r.Pairs, least)
	}
	return e.capacity(r.Store, r.Consecutive, r.Pairs)
}

// leastTime returns how long the attempts for a request take if all succeed.
func (e *end) leastTime(r *Request) time.Duration {
	cycles := float64(r.Pairs) / float64(max(1, e.cfg.Lanes))
	if r.Type != Measure {
		cycles *= float64(e.stride())
	}
	return time.Duration(min(cycles*e.cfg.Cycles.Period, 1e18))
}

// capacity returns nil if the hardware of both ends has what a request needs.
func (e *end) capacity(store, consecutive bool, pairs uint64) error {
	for i, side := range [...]int{e.cfg.Side, 1 - e.cfg.Side} {
		s := e.spec(side)
		name := [...]string{e.l.cfg.Name, e.cfg.PeerName}[i]
		if store && s.Storage == 0 {
			return qnet.Errorf(qnet.ErrUnsupported, "link %s: %s has no storage qubit to keep a pair in", e.cfg.Name, name)
		}
		if !consecutive {
			continue
		}
		have := e.cfg.Lanes
		if store {
			have = s.Storage
		} else if s.Communication > 0 {
			have = min(have, s.Communication)
		}
		if pairs > uint64(have) {
			return qnet.Errorf(qnet.ErrNoMemory, "link %s: %d pairs are to be alive together, %s has %d qubits for them", e.cfg.Name, pairs, name, have)
		}
	}
	return nil
}

// hold takes a request into the books.
func (e *end) hold(q *request) {
	e.requests[q.ID] = q
	e.count[q.ID&1]++
	if q.deadline != qnet.Never {
		if q.onExpiry == nil {
			q.onExpiry = func() { e.timeout(q) }
		}
		q.expiry = e.l.loop.At(q.deadline, q.onExpiry)
	}
}

// propose sends the ADD of an own request for the first time.
func (e *end) propose(q *request) {
	q.state = reqAdding
	q.terms.limit = told(q.takes())
	e.adding++
	now := e.l.loop.Now().Add(e.l.ahead())
	q.schedule = e.cfg.Cycles.From(now.Add(4 * e.cfg.Delay))
	if e.cfg.Side == 0 {
		e.admit(q)
	}
	e.sendAdd(q)
}

// admit gives a request its place in the queue: side 0 only.
func (e *end) admit(q *request) {
	e.place++
	q.Place = e.place
	e.sched.Admit(&q.Entry, q.schedule)
	q.startTurn = q.Turn
}

// answered ends the wait for an ADD_ACK.
func (e *end) answered(q *request) {
	q.retry.Stop()
	e.adding--
	for len(e.backlog) > 0 && e.adding < maxAdding {
		next := e.backlog[0]
		e.backlog = e.backlog[1:]
		e.propose(next)
	}
}

func (e *end) timeout(q *request) {
	e.trace("timeout").Uint("request", uint64(q.ID)).End()
	if q.state == reqComplete {
		e.finish(q)
		return
	}
	ending := q.state == reqEnding
	err := qnet.Errorf(qnet.ErrTimeout, "link %s: request not complete by its deadline", e.cfg.Name)
	if lacking := e.lacking(q); lacking != nil && q.got == 0 {
		err = qnet.Errorf(qnet.ErrNoMemory, "link %s: no pair by the deadline: %v", e.cfg.Name, lacking)
	}
	e.drop(q)
	if !ending {
		e.l.handler.Ended(e.cfg.ID, q.ID, err)
	}
}

func (e *end) sendAdd(q *request) {
	tries := maxTries
	if e.cfg.Compat.ReferenceRetries {
		tries = referenceTries
	}
	if q.tries >= tries {
		e.abort(q, qnet.Errorf(qnet.ErrNoAnswer, "link %s: %s did not answer a request", e.cfg.Name, e.cfg.PeerName))
		return
	}
	m := &e.add
	*m = Add{Link: e.cfg.ID, ID: q.ID, Kind: q.typ, Pairs: q.Pairs, Purpose: q.Purpose, Tag: q.Tag,
		MinFidelity: q.minF, Deadline: q.Deadline, Schedule: q.schedule, Point: uint32(q.point), Priority: q.Priority,
		Atomic: q.Atomic, Consecutive: q.consecutive, Store: q.store, Place: q.Place, Turn: q.startTurn, Bases: m.Bases[:0], Rate: q.rate, Limit: q.terms.limit}
	if q.testing > 0 {
		m.Testing, m.Salt = q.testing, q.salt[:]
	}
	for i, b := range q.peerBases.Bases {
		w := WeightedBasis{Basis: b}
		if q.peerBases.Weights != nil {
			w.Weight = q.peerBases.Weights[i]
		}
		m.Bases = append(m.Bases, w)
	}
	e.send(e.cfg.Peer, m)
	after := e.retryAfter(q.tries)
	if e.cfg.Compat.ReferenceRetries {
		after = max(12*e.cfg.Delay, time.Duration(e.cfg.Cycles.Period))
	}
	e.retryIn(q, after)
	q.tries++
}

// basesOf returns the bases that an ADD proposes, in the memory of those of the ADD
// before if they are the same.
func (e *end) basesOf(m *Add) physical.BasisSource {
	if !m.proposes(e.proposed) {
		e.proposed = m.proposed()
	}
	return e.proposed
}

// proposes reports whether an ADD proposes the given bases.
func (m *Add) proposes(src physical.BasisSource) bool {
	if len(m.Bases) != len(src.Bases) {
		return false
	}
	for i, b := range m.Bases {
		if b.Basis != src.Bases[i] || b.Weight != 0 && src.Weights == nil || src.Weights != nil && b.Weight != src.Weights[i] {
			return false
		}
	}
	return true
}

// proposed returns the bases that an ADD proposes.
func (m *Add) proposed() (src physical.BasisSource) {
	if len(m.Bases) == 0 {
		return src
	}
	src.Bases = make([]qnet.Basis, len(m.Bases))
	for i, b := range m.Bases {
		src.Bases[i] = b.Basis
		if b.Weight != 0 && src.Weights == nil {
			src.Weights = make([]float64, len(m.Bases))
		}
		if src.Weights != nil {
			src.Weights[i] = b.Weight
		}
	}
	return src
}

func (e *end) onAdd(m *Add) {
	if int(m.ID&1) == e.cfg.Side || e.cfg.Side == 1 && m.Place == 0 {
		e.fault(fromPeer, unexpected, "ADD with an identity or a place that is not the sender's to give")
		return
	}
	ack := &e.addAck
	*ack = AddAck{Link: e.cfg.ID, ID: m.ID}
	if q := e.requests[m.ID]; q != nil {
		if q.state == reqEnding {
			ack.Code = qnet.ErrCancelled
		} else {
			ack.Limit = q.terms.limit
			if e.cfg.Side == 0 {
				ack.Place, ack.Turn = q.Place, q.startTurn
			}
		}
		e.send(e.cfg.Peer, ack)
		return
	}
	if e.seen.has(uint64(m.ID >> 1)) { // a late copy
		ack.Code = qnet.ErrCancelled
		if r := e.refused.find(func(r *refused) bool { return r.id == m.ID }); r != nil {
			ack.Code, ack.Best = r.code, r.best
		}
		e.send(e.cfg.Peer, ack)
		return
	}
	e.seen.add(uint64(m.ID >> 1))
	turn := min(m.Turn, maxTurn)
	q := e.request(request{
		Entry: Entry{ID: m.ID, Priority: m.Priority, Atomic: m.Atomic || m.Consecutive, Pairs: m.Pairs, Deadline: m.Deadline, Purpose: m.Purpose, Tag: m.Tag,
			Turn: turn},
		typ: m.Kind, consecutive: m.Consecutive, store: m.Store, point: int(m.Point), minF: m.MinFidelity,
		deadline: qnet.Never, schedule: m.Schedule, rate: m.Rate, paced: math.MaxUint64, peerLimit: m.Limit, startTurn: turn, bases: e.basesOf(m),
		testing: m.Testing,
	})
	copy(q.salt[:], m.Salt)
	if m.Deadline != 0 {
		q.deadline = e.instant(m.Deadline)
	}
	if err := e.consider(q); err != nil {
		ack.Code = qnet.CodeOf(err)
		if ack.Code == qnet.ErrFidelity {
			ack.Best = e.reach(q)
		}
		e.trace("refuse").Uint("request", uint64(m.ID)).Str("err", err.Error()).End()
		e.refused.add(refused{id: m.ID, code: ack.Code, best: ack.Best}, maxRefused) // a copy of the ADD may come
		e.send(e.cfg.Peer, ack)
		return
	}
	e.weigh(q)
	q.terms.limit = told(q.takes())
	ack.Limit = q.terms.limit
	if e.cfg.Side == 0 {
		e.admit(q)
		ack.Place, ack.Turn = q.Place, q.startTurn
	} else {
		q.Place = m.Place
	}
	e.send(e.cfg.Peer, ack)
	e.await(q)
}

// consider returns why a request of the peer is refused, or nil if it is held, and sets
// what this end takes of it.
func (e *end) consider(q *request) error {
	if e.wasDown {
		return qnet.ErrUnavail
	}
	if err := e.room(1 - e.cfg.Side); err != nil {
		return err
	}
	if q.deadline <= e.l.loop.Now() {
		return qnet.ErrTimeout
	}
	if (q.store || q.consecutive) && q.typ != Keep || q.consecutive && q.Pairs == 0 {
		return qnet.ErrInvalid
	}
	if err := q.bases.Validate(); err != nil {
		return err
	}
	if err := e.capacity(q.store, q.consecutive, q.Pairs); err != nil {
		return err
	}
	if err := e.verify(q); err != nil {
		return err
	}
	if e.listens != nil && !e.listens[q.Purpose] {
		return qnet.Errorf(qnet.ErrNoListener, "nothing here takes part in requests of purpose %d", q.Purpose)
	}
	e.hold(q) // the handler may set its bases or its limit, or end it
	limit, err := e.l.handler.Requested(e.cfg.ID, Offer{ID: q.ID, Type: q.typ, Pairs: q.Pairs, Purpose: q.Purpose, Tag: q.Tag,
		MinFidelity: q.minF, Deadline: q.deadline, Priority: q.Priority, Atomic: q.Atomic, Consecutive: q.consecutive, Store: q.store, Bases: q.bases})
	switch {
	case err != nil:
		e.drop(q)
	case q.state == reqEnding:
		err = q.endCode
	case !q.limited:
		q.limit = limit
	}
	return err
}

// made reports whether this end has made a request, and counts the frame about it
// if not.
func (e *end) made(id RequestID) bool {
	n := uint64(id >> 1)
	ok := int(id&1) == e.cfg.Side && n >= seqBase && n < e.nextID
	if !ok {
		e.fault(fromPeer, unexpected, "answer to a request that was never made")
	}
	return ok
}

func (e *end) onAddAck(m *AddAck) {
	if !e.made(m.ID) {
		return
	}
	q := e.requests[m.ID]
	if q == nil || q.state != reqAdding || e.cfg.Side == 1 && m.Code == qnet.OK && m.Place == 0 {
		return // a copy, or of a request that is over
	}
	q.state = reqAgreed
	q.tries = 0
	e.answered(q)
	if m.Code != qnet.OK {
		e.drop(q)
		e.l.handler.Ended(e.cfg.ID, q.ID, e.refusal(q, m))
		return
	}
	if e.cfg.Side == 1 {
		q.startTurn = min(m.Turn, maxTurn)
		q.Place, q.Turn = m.Place, q.startTurn
	}
	if q.terms.heard == 0 {
		q.peerLimit = m.Limit
	}
	e.tellLimit(q)
	e.await(q)
}

func (e *end) refusal(q *request, m *AddAck) error {
	if m.Code == qnet.ErrFidelity && m.Best > 0 {
		return qnet.Errorf(m.Code, "link %s: %s refused a request: fidelity %.4f asked, its hardware reaches %.4f", e.cfg.Name, e.cfg.PeerName, q.minF, m.Best)
	}
	return qnet.Errorf(m.Code, "link %s: %s refused a request: %v", e.cfg.Name, e.cfg.PeerName, m.Code)
}

// await makes a request active when its schedule cycle has come.
func (e *end) await(q *request) {
	q.state = reqAgreed
	// No end schedules far ahead.
	if at := e.instant(q.schedule); at > e.l.loop.Now() && at.Sub(e.l.loop.Now()) <= maxAhead {
		e.retryIn(q, at.Sub(e.l.loop.Now()))
		return
	}
	e.activate(q)
}

func (e *end) activate(q *request) {
	q.state = reqActive
	e.trace("active").Uint("request", uint64(q.ID)).Str("type", q.typ.String()).Uint("pairs", q.Pairs).End()
	e.pace(q)
	e.review(q)
	e.serve()
}

// review puts a request where it belongs after what it wants may have changed.
func (e *end) review(q *request) {
	switch wanted := q.wants() > 0; {
	case wanted && q.in == nowhere:
		// At first it has the turn that it was admitted with, and one of bounded rate is
		// not wanted now and then at both ends: these turns are the same at both.
		if q.got > 0 && q.rate == 0 {
			e.sched.Resume(&q.Entry)
		}
		e.ready.add(q)
		e.version++
	case !wanted && q.in != nowhere:
		e.ready.remove(q)
		e.version++
	}
}

// pace lets a request of bounded rate take the pairs that are due.
func (e *end) pace(q *request) {
	if q.rate == 0 || q.state != reqActive {
		return
	}
	due := min(max(0, e.l.loop.Now().Sub(e.instant(q.schedule)).Seconds())*q.rate, wire.MaxUvarint)
	q.paced = uint64(due) + 1
	e.version++
	next := max(time.Millisecond, time.Duration(min((math.Floor(due)+1-due)/q.rate*1e9, float64(time.Hour))))
	q.retry.Stop()
	e.retryIn(q, next)
}

// retryIn sets the timer of what comes next of a request in its state.
func (e *end) retryIn(q *request, d time.Duration) {
	if q.onRetry == nil {
		q.onRetry = func() { e.due(q) }
	}
	q.retry = e.l.loop.After(d, q.onRetry)
}

func (e *end) due(q *request) {
	switch q.state {
	case reqAdding:
		e.sendAdd(q)
	case reqAgreed:
		e.activate(q)
	case reqActive:
		e.pace(q)
		e.review(q)
		e.serve()
	case reqComplete, reqEnding:
		e.sendEnd(q)
	}
}

func (e *end) setLimit(id RequestID, limit uint64) {
	q := e.requests[id]
	if q == nil {
		return
	}
	q.limited = true
	if q.limit == limit {
		return
	}
	before := q.wants()
	q.limit = limit
	e.rewant(q, before)
	e.tellLimit(q)
}

// endRequest ends a request of ours or of the peer's, without telling the layer
// above. text, if not empty, tells the peer more than code.
func (e *end) endRequest(id RequestID, code qnet.Code, text string) {
	q := e.requests[id]
	if q == nil || q.state == reqEnding {
		return
	}
	if q.state == reqWaiting { // the peer has never heard of it, or gets the code as answer
		q.endCode = code
		e.drop(q)
		return
	}
	if q.state == reqAdding {
		e.answered(q)
	}
	q.retry.Stop()
	q.terms.timer.Stop()
	q.state, q.tries, q.endCode, q.endText = reqEnding, 0, code, wire.Clip(text, maxText)
	e.deactivate(q)
	e.sendEnd(q)
	e.serve()
}

// abort ends a request at both ends and tells the layer above why.
func (e *end) abort(q *request, err error) {
	e.endRequest(q.ID, qnet.CodeOf(err), err.Error())
	e.l.handler.Ended(e.cfg.ID, q.ID, err)
}

// refuseKeep ends all requests that keep pairs.
func (e *end) refuseKeep(err error) {
	for _, id := range e.sortedRequests() {
		if q := e.requests[id]; q != nil && q.keeps() && q.state == reqActive {
			e.abort(q, err)
		}
	}
}

func (e *end) sendEnd(q *request) {
	e.send(e.cfg.Peer, &End{Link: e.cfg.ID, ID: q.ID, Code: q.endCode, Text: q.endText, Digest: q.digest})
	e.retryIn(q, e.retryAfter(q.tries))
	q.tries++
}

func (e *end) onEnd(m *End) {
	q := e.requests[m.ID]
	if m.Code == qnet.OK && q != nil {
		q.hear(m.Digest)
		switch {
		case q.state != reqComplete:
			e.ask(q)
		case q.confirmed():
			e.finish(q) // the peer hears so from our END
		case q.differs >= maxDiffers:
			e.abort(q, e.contradict(q.ID))
		}
		return
	}
	if m.Code == qnet.OK && e.checked(m.ID, m.Digest) {
		return
	}
	e.send(e.cfg.Peer, &EndAck{Link: e.cfg.ID, ID: m.ID})
	if int(m.ID&1) == e.cfg.Side && !e.made(m.ID) {
		return
	}
	if q == nil {
		if int(m.ID&1) != e.cfg.Side {
			e.seen.add(uint64(m.ID >> 1)) // its ADD may be on the way
		}
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
	switch q := e.requests[m.ID]; {
	case q == nil:
	case q.state == reqEnding:
		e.drop(q)
	case q.state == reqComplete:
		e.finish(q)
	}
}

// deactivate takes a request out of service.
func (e *end) deactivate(q *request) {
	if q.in != nowhere {
		e.ready.remove(q)
		e.version++
	}
	if e.atomic == q {
		e.atomic = nil
	}
	if q.Place != 0 {
		e.sched.Left(&q.Entry)
	}
	e.giveUp(q)
	for i := range e.lanes {
		if l := &e.lanes[i]; l.bulk.q == q {
			l.abandon()
		}
	}
}

// drop forgets a request.
func (e *end) drop(q *request) {
	if q.state == reqAdding {
		e.answered(q)
	}
	q.retry.Stop()
	q.expiry.Stop()
	q.terms.timer.Stop()
	if e.requests[q.ID] == q {
		delete(e.requests, q.ID)
		e.count[q.ID&1]--
		if q.state == reqWaiting {
			e.backlog = slices.DeleteFunc(e.backlog, func(o *request) bool { return o == q })
		}
		e.trace("drop").Uint("request", uint64(q.ID)).Uint("got", q.got).End()
	}
	if q.state != reqEnding {
		q.state = reqEnding
		e.deactivate(q)
	}
	e.serve()
}

// refused is a request of the peer that this end refused, and how.
type refused struct {
	id   RequestID
	code qnet.Code
	best float64
}
