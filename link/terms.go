package link

import (
	"math"
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
)

// Both ends know how many pairs of a request either takes: one that an end does not
// take now is not in its turn at the other, which would attempt in vain. With that they
// tell each other where it is in their orders of service, so that these are the same
// again if they have become different.

// termsInterval is the least time from a LIMIT that is not answered to one with another
// limit (chosen).
const termsInterval = time.Millisecond

// terms is what the ends of a request have told each other.
type terms struct {
	limit   uint64 // that the peer was told last
	number  uint64 // of that word
	waits   bool   // for its answer
	at      qnet.Time
	heard   uint64 // number of the latest word of the peer
	tries   int
	timer   event.Timer
	onTimer func() // made once
}

// told returns a limit as the peer is told of it: no bound does not fit a varint.
func told(limit uint64) uint64 { return min(limit, math.MaxInt64>>2) }

// tellLimit tells the peer how many pairs this end takes, if that is not what it has
// heard, once it holds the request.
func (e *end) tellLimit(q *request) {
	t := &q.terms
	if q.state != reqAgreed && q.state != reqActive && q.state != reqComplete || told(q.takes()) == t.limit {
		return
	}
	if soon := t.at.Add(termsInterval); t.waits && e.l.loop.Now() < soon {
		e.tellAt(q, soon)
		return
	}
	e.sendTerms(q)
}

// compare tells the peer the turn of a request, to hear that of the peer.
func (e *end) compare(q *request) {
	if !q.terms.waits {
		e.sched.Settle(&q.Entry)
		e.sendTerms(q)
	}
}

// sendTerms tells the peer the terms of a request, again if they are as before and it has
// not answered.
func (e *end) sendTerms(q *request) {
	t := &q.terms
	if limit := told(q.takes()); !t.waits || limit != t.limit {
		t.number++
		t.limit, t.waits, t.tries = limit, true, 0
	}
	t.at = e.l.loop.Now()
	e.send(e.cfg.Peer, &Limit{Link: e.cfg.ID, ID: q.ID, Number: t.number, Limit: t.limit, Turn: q.Turn, Shift: e.sched.Shift(&q.Entry, 0), Had: q.counted})
	e.tellAt(q, t.at.Add(e.answers.wait(t.tries, e.retryAfter(0))))
	t.tries++
}

func (e *end) tellAt(q *request, at qnet.Time) {
	t := &q.terms
	if t.onTimer == nil {
		t.onTimer = func() { e.sendTerms(q) }
	}
	t.timer.Stop()
	t.timer = e.l.loop.At(at, t.onTimer)
}

func (e *end) onLimit(m *Limit) {
	if int(m.ID&1) == e.cfg.Side && !e.made(m.ID) {
		return
	}
	ack := LimitAck{Link: e.cfg.ID, ID: m.ID, Number: m.Number}
	q := e.requests[m.ID]
	if q == nil || q.state == reqWaiting || q.state == reqEnding {
		e.send(e.cfg.Peer, &ack)
		return
	}
	if m.Number > q.terms.heard {
		q.terms.heard = m.Number
		before := q.wants()
		q.peerLimit = m.Limit
		e.agree(q, m.Turn, m.Shift, m.Had)
		e.rewant(q, before)
	}
	ack.Turn, ack.Shift, ack.Had = q.Turn, e.sched.Shift(&q.Entry, 0), q.counted
	e.send(e.cfg.Peer, &ack)
}

func (e *end) onLimitAck(m *LimitAck) {
	if int(m.ID&1) == e.cfg.Side && !e.made(m.ID) {
		return
	}
	q := e.requests[m.ID]
	if q == nil || !q.terms.waits || m.Number != q.terms.number {
		return
	}
	t := &q.terms
	if t.tries == 1 {
		e.answers.took(e.l.loop.Now().Sub(t.at))
	}
	t.timer.Stop()
	t.waits = false
	e.agree(q, m.Turn, m.Shift, m.Had)
	e.tellLimit(q)
	e.serve()
}

// maxTurn is the largest turn that is taken from a peer: beyond it turns would not be
// exact, and all later requests have such.
const maxTurn = 1 << 52

// agree takes the later of both ends' turns, and that of what is added to those of the
// class. The turn of the peer counts so many pairs: if it has heard of more than this end,
// this end's turn is later as soon as it hears of them.
func (e *end) agree(q *request, turn, shift float64, had uint64) {
	if q.state != reqActive || max(turn, shift) > maxTurn {
		return
	}
	if before := e.sched.Shift(&q.Entry, 0); e.sched.Shift(&q.Entry, shift) > before {
		e.ready.changed()
		e.version++
	}
	if had > q.counted {
		return
	}
	x := q.Entry
	x.Turn, x.owed = turn, 0
	e.sched.Move(&x, q.counted-had)
	if x.Turn > q.Turn {
		q.Turn = x.Turn
		e.ready.fix(q)
		e.version++
	}
}

// rewant follows a change of how many pairs of a request are wanted.
func (e *end) rewant(q *request, before uint64) {
	if q.state != reqActive {
		return
	}
	if q.wants() < before {
		e.version++ // open lanes offer too much
	}
	e.review(q)
	e.serve()
}
