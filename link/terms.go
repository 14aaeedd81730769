package link

import (
	"math"

	"qstack/qnet/event"
)

// Both ends know how many pairs of a request either takes: one that an end does not
// take now is not in its turn at the other, which would attempt in vain. With that they
// tell each other where it is in their orders of service, so that these are the same
// again if they have become different.

// terms is what the ends of a request have told each other.
type terms struct {
	limit   uint64 // that the peer was told last
	number  uint64 // of that word
	waits   bool   // for the answer
	again   bool   // there is more to say then
	heard   uint64 // number of the latest word of the peer
	tries   int
	timer   event.Timer
	onTimer func() // made once
}

// told returns a limit as the peer is told of it: no bound does not fit a varint.
func told(limit uint64) uint64 { return min(limit, math.MaxInt64>>2) }

// tellLimit tells the peer how many pairs this end takes, if that is not what it has
// heard, as soon as it holds the request.
func (e *end) tellLimit(q *request) {
	switch q.state {
	case reqAgreed, reqActive, reqComplete:
		if t := &q.terms; told(q.takes()) != t.limit {
			t.again = true
			e.tellTerms(q)
		}
	}
}

// tellTerms tells the peer the terms of a request, after the answer to what it was told
// before.
func (e *end) tellTerms(q *request) {
	t := &q.terms
	if t.waits {
		return
	}
	t.limit = told(q.takes())
	t.number++
	t.waits, t.again, t.tries = true, false, 0
	e.sendTerms(q)
}

func (e *end) sendTerms(q *request) {
	t := &q.terms
	e.send(e.cfg.Peer, &Limit{Link: e.cfg.ID, ID: q.ID, Number: t.number, Limit: t.limit, Turn: q.Turn, Had: q.counted})
	if t.onTimer == nil {
		t.onTimer = func() { e.sendTerms(q) }
	}
	t.timer = e.l.loop.After(e.retryAfter(t.tries), t.onTimer)
	t.tries++
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
		e.agree(q, m.Turn, m.Had)
		e.rewant(q, before)
	}
	ack.Turn, ack.Had = q.Turn, q.counted
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
	t.timer.Stop()
	t.waits = false
	e.agree(q, m.Turn, m.Had)
	if t.again {
		e.tellTerms(q)
	}
	e.serve()
}

// agree takes the later of both ends' turns. That of the peer counts so many pairs: if
// it has heard of more than this end, this end's turn is later as soon as it hears of them.
func (e *end) agree(q *request, turn float64, had uint64) {
	if q.state != reqActive || had > q.counted {
		return
	}
	x := q.Entry
	x.Turn, x.owed = turn, 0
	if had < q.counted {
		e.sched.Served(&x, q.counted-had)
	}
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
