package link

import (
	"cmp"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
)

// succeeded takes the pair that a window brought.
func (l *lane) succeeded(m *Reply) {
	e := l.e
	if !l.group.keep || m.Cycle < l.first || m.Cycle >= l.end || !l.pattern.Has(m.Cycle) {
		e.fault(fromStation, unexpected, "REPLY for a cycle in which this end made no attempt")
		return
	}
	e.resume(m.Cycle)
	fresh := e.heard.add(span{m.Seq, m.Seq + 1})
	if l.forgotten { // as has the peer
		l.release()
		e.serve()
		return
	}
	q := e.requests[m.ID]
	if !fresh {
		l.release()
		e.twice(q, "REPLY with a pair that was announced before")
		e.serve()
		return
	}
	created := e.cfg.Cycles.Instant(m.Cycle)
	e.estimator.hear(e.l.dev.Now().Sub(created) - 2*e.cfg.Delay)
	void := m.Lost || q == nil || q.full() || q.group() != l.group || e.stale(q, m.Label, created)
	if void || e.interrupts(q, m.Seq) {
		e.missed(q, 1)
		l.release()
		e.expire(m.Seq, m.ID, false)
		e.serve()
		return
	}
	if e.isVoid(m.Seq) {
		e.missed(q, 1)
		e.lack(q, 1)
		l.release()
		e.serve()
		return
	}
	l.timer.Stop()
	e.l.pool.leave(l)
	l.backBy = e.l.loop.Now().Add(minRefresh + 4*e.cfg.Delay)
	l.timer = e.l.loop.At(l.backBy, l.onTimer)
	if test, basis := q.tests(m.Seq); test {
		e.skip(q)
		l.test(q, Pair{Seq: m.Seq, Label: m.Label}, basis)
		e.serve()
		return
	}
	e.trace("pair").Uint("request", uint64(m.ID)).Uint("seq", m.Seq).Uint("cycle", m.Cycle).Str("label", m.Label.String()).End()
	mark := digestOf(m.Seq, m.Cycle, m.Label)
	e.remember(taken{span: span{m.Seq, m.Seq + 1}, id: q.ID, together: q.consecutive, mark: mark})
	q.digest ^= mark
	e.took(q, 1)
	p := Pair{Link: e.cfg.ID, Request: q.ID, Seq: m.Seq, Label: m.Label, Qubit: l.qubit, Created: created}
	l.state = laneHeld
	switch {
	case l.group.store:
		l.move(q, p)
	case q.typ == Prepare && int(q.ID&1) == e.cfg.Side:
		l.measure(q, p)
	default:
		e.handUp(q, p)
	}
	e.serve()
}

// missed moves a request, which may be over, on as the pairs do at the other end that
// took them: the order in which both ends serve requests is to be the same.
func (e *end) missed(q *request, pairs uint64) {
	if q != nil {
		e.served(q, pairs)
	}
}

// served moves a request on in the order of service.
func (e *end) served(q *request, pairs uint64) {
	q.counted += pairs
	e.sched.Served(&q.Entry, pairs)
	e.ready.fix(q)
}

// interrupts reports whether a pair of a request would come between those of an
// atomic one: before its last, or, being one of these that is heard of late, before a pair
// of another that was taken.
func (e *end) interrupts(q *request, seq uint64) bool {
	if q.Atomic && e.overtaken(q.ID, seq) {
		return true
	}
	return e.atomic != nil && e.atomic != q && e.atomic.got > 0
}

// resume sets the cycle from which patterns of attempts count after a success:
// that at which both ends can have moved their halves and initialised their
// qubits anew, whenever they hear of the success.
func (e *end) resume(cycle uint64) {
	ready := max(moveTime(e.spec(0)), moveTime(e.spec(1)))
	at := e.cfg.Cycles.Instant(cycle).Add(2*e.cfg.Delay + ready)
	e.anchor = max(e.anchor, e.cfg.Cycles.From(at+1))
}

// moveTime returns how long a device takes to move a half into a storage qubit
// and to initialise both qubits anew.
func moveTime(s *physical.Spec) time.Duration {
	return 2*s.Gate2 + s.Init + storageInit(s)
}

// move moves the half into the storage qubit.
func (l *lane) move(q *request, p Pair) {
	l.state, l.pair, l.void = laneMoving, p, false
	q.pending++
	window := l.window
	l.e.swap(l.qubit, l.storage, func(err error) {
		if l.window == window && l.state == laneMoving {
			l.moved(err)
		}
	})
}

// swap swaps a half with a qubit in |0⟩, which takes two gates, and tells whether one
// of them failed.
func (e *end) swap(half, to physical.Qubit, done func(error)) {
	left, failed := 2, error(nil)
	made := func(r physical.Result) {
		failed = cmp.Or(failed, r.Err)
		if left--; left == 0 {
			done(failed)
		}
	}
	e.l.dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: half, B: to}, made)
	e.l.dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: to, B: half}, made)
}

// moved hands the stored half up, unless the move failed, and gives the communication
// qubit back.
func (l *lane) moved(err error) {
	e, p := l.e, l.pair
	p.Qubit = l.storage
	l.storage, l.pair = physical.Qubit{}, Pair{}
	l.release()
	if l.forgotten { // as has the peer; another request may have the identity
		e.free(p.Qubit)
		e.serve()
		return
	}
	q := e.requests[p.Request]
	if q != nil {
		q.pending--
	}
	switch {
	case l.void || err != nil || q == nil || q.state != reqActive:
		e.free(p.Qubit)
		if !l.void {
			e.giveBack(p.Seq)
			e.expire(p.Seq, p.Request, false)
		}
	default:
		e.handUp(q, p)
	}
	e.serve()
}

func (e *end) free(q physical.Qubit) {
	e.l.dev.Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
}

// measure measures this end's half of a pair that is prepared for the peer.
func (l *lane) measure(q *request, p Pair) {
	e := l.e
	basis := uint8(q.draw.Draw(e.rng))
	q.pending++
	q.measuring = append(q.measuring, p.Seq)
	goodness := q.goodness - e.cost(q, p.Label, e.behind(p.Created, 2*e.cfg.Delay))
	e.l.dev.Do(physical.Op{Kind: physical.OpMeasure, A: p.Qubit, Basis: q.bases.Basis(basis), Free: true}, func(r physical.Result) {
		q.pending--
		if r.Err != nil {
			e.free(p.Qubit)
		}
		i := slices.Index(q.measuring, p.Seq)
		if i < 0 {
			return // it is void, or the request is over
		}
		q.measuring = slices.Delete(q.measuring, i, i+1)
		if r.Err != nil {
			e.giveBack(p.Seq)
			e.expire(p.Seq, q.ID, false)
			return
		}
		e.measured = append(e.measured[:0], Measured{Seq: p.Seq, Label: p.Label, Basis: basis, Bit: r.Bit, Created: p.Created, Goodness: goodness})
		e.l.handler.Measured(e.cfg.ID, q.ID, e.measured)
		e.complete(q)
	})
}

// handUp hands a pair to the layer above, or keeps it until all are there that
// are to be alive together. If they have come together so late that they are not what
// was asked for all are void, and the request gets a set anew.
func (e *end) handUp(q *request, p Pair) {
	if !q.consecutive {
		e.give(q, p)
		e.complete(q)
		return
	}
	q.together = append(q.together, p)
	if uint64(len(q.together)) < q.Pairs {
		return
	}
	if !e.enough(q, q.together) {
		id, list := q.ID, q.together
		q.together = nil
		for _, p := range list {
			e.free(p.Qubit)
			e.giveBack(p.Seq)
			e.expire(p.Seq, id, false)
		}
		return
	}
	for len(q.together) > 0 { // unless the layer above ends the request meanwhile
		p := q.together[0]
		q.together = q.together[1:]
		e.give(q, p)
	}
	e.complete(q)
}

// give hands one pair up with the estimate of its fidelity.
func (e *end) give(q *request, p Pair) {
	p.GoodAt = e.l.dev.Now()
	p.Goodness = e.aged(q, p.Label, max(0, p.GoodAt.Sub(p.Created)))
	e.l.handler.Pair(p)
}

// giveUp voids the pairs of a request that is over which were not handed up.
func (e *end) giveUp(q *request) {
	void := q.measuring
	for _, p := range q.together {
		e.free(p.Qubit)
		void = append(void, p.Seq)
	}
	q.together, q.measuring = nil, nil
	for _, seq := range void {
		e.unname(seq)
		e.voidRange(seq, seq+1)
		e.l.handler.Expired(e.cfg.ID, q.ID, seq, false)
	}
}

// took counts pairs of a request.
func (e *end) took(q *request, n uint64) {
	if q.Atomic && (e.atomic == nil || e.atomic.got == 0) {
		e.atomic = q // also if it was given up for another before
	}
	if q.ID == e.steered { // the ends have met
		e.steered = 0
	}
	q.got += n
	e.pairs += n
	e.served(q, n)
	e.review(q)
}

// complete finishes a request that has all its pairs, as soon as the other end has
// them too.
func (e *end) complete(q *request) {
	if q.Pairs == 0 || q.got < q.Pairs || q.pending > 0 || e.requests[q.ID] != q || q.state != reqActive {
		return
	}
	atomic := e.atomic
	e.deactivate(q)
	q.state = reqComplete
	switch {
	case !e.voidable(q) && q.complete && !q.confirmed():
		e.abort(q, e.contradict(q.ID))
	case !e.voidable(q):
		e.settle(q)
		e.finish(q)
	case q.confirmed():
		e.send(e.cfg.Peer, &EndAck{Link: e.cfg.ID, ID: q.ID})
		e.finish(q)
	default:
		q.retry.Stop()
		e.atomic = atomic // others wait: it may get another pair
		q.tries, q.differs, q.endCode, q.endText = 0, 0, qnet.OK, ""
		e.sendEnd(q)
	}
	e.serve()
}

// maxDiffers is how often the peer says that it is complete with other pairs than this
// end has, while nothing comes that would explain it, before the request is given up.
const maxDiffers = 8

// hear takes the word of the peer that it is complete.
func (q *request) hear(digest uint64) {
	if q.differs++; q.state != reqComplete || digest != q.told || digest == q.digest {
		q.differs = 0
	}
	q.complete, q.told = true, digest
}

// confirmed reports whether the peer has said that it has all pairs of a request: the
// same ones, else one that this end has is void there.
func (q *request) confirmed() bool { return q.complete && q.told == q.digest }

// digestOf returns what one pair adds to a digest, 62 bits.
func digestOf(seq, cycle uint64, label qnet.BellLabel) uint64 {
	return mix(mix(seq<<2|uint64(label))+cycle) >> 2
}

// mix is a step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// finish is the good end of a request.
func (e *end) finish(q *request) {
	e.drop(q)
	e.l.handler.Ended(e.cfg.ID, q.ID, nil)
	e.recycle(q)
}

// giveBack forgets a pair that was taken, and returns what it was taken for.
func (e *end) giveBack(seq uint64) taken {
	t := e.unname(seq)
	if q := e.requests[t.id]; q != nil && q.state != reqEnding {
		q.got--
		q.digest ^= t.mark
		if q.state == reqComplete {
			q.retry.Stop()
			q.state = reqActive
			e.pace(q)
		}
		e.version++
		e.review(q)
	}
	return t
}

// untake takes a pair back that the peer voided, so that its request gets another
// unless it is over. It returns the request, 0 if the pair was never taken, and
// whether it was handed up.
func (e *end) untake(seq uint64) (id RequestID, had bool) {
	t := e.giveBack(seq)
	if id = t.id; id == 0 {
		return 0, false
	}
	q := e.requests[id]
	e.lack(q, 1)
	for i := range e.lanes { // not handed up yet
		if l := &e.lanes[i]; l.pair.Seq == seq {
			l.void = true
			return id, false
		}
	}
	if q != nil {
		if i := slices.Index(q.measuring, seq); i >= 0 {
			q.measuring = slices.Delete(q.measuring, i, i+1)
			return id, false
		}
		for i, p := range q.together {
			if p.Seq == seq {
				e.free(p.Qubit)
				q.together = slices.Delete(q.together, i, i+1)
				return id, false
			}
		}
	}
	if t.together {
		e.voidOthers(id)
	}
	return id, true
}

// voidOthers voids the pairs of a consecutive request that were handed up with one
// that is void: unless it is over, it gets all of them anew, alive together.
func (e *end) voidOthers(id RequestID) {
	if q := e.requests[id]; q != nil {
		e.estimator.refund(e.account(q), q.worth)
		q.worth = 0
	}
	for _, s := range e.takenFor(id) {
		for seq := s.first; seq < s.end; seq++ {
			e.giveBack(seq)
			e.expire(seq, id, true)
		}
	}
}
