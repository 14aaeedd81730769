package link

import (
	"cmp"

	"qstack/link/estimate"
	"qstack/physical"
	"qstack/qnet"
)

// Test rounds. Of the pairs of a request a random share is measured at both ends
// and handed up at neither. Which pairs, and in which basis, follows from the
// pair's number, which is known when the pair exists, and from a salt that the
// ends alone know, so that neither the station nor the hardware can make them
// better than the others. The ends tell each other what they saw.

// maxTests bounds the test rounds that wait for the outcome of one of the ends.
const maxTests = 1024

// testRound is a test round of which one outcome at least is known.
type testRound struct {
	label qnet.BellLabel
	usage estimate.Usage
	point int
	known [2]bool // by side
	bases [2]qnet.Basis
	bit   [2]uint8
}

// axes are the bases of test rounds of pairs that are not measured anyway.
var axes = [3]qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}

// tests reports whether a pair of a request is a test round, and in which of axes it
// is measured if it is kept.
func (q *request) tests(seq uint64) (bool, int) {
	if q.testing == 0 {
		return false, 0
	}
	return estimate.TestRound(q.salt, seq, q.testing)
}

// skip counts a test round: the request gets another pair in its place.
func (e *end) skip(q *request) {
	e.lack(q, 1)
	e.tested++
	e.served(q, 1)
}

// test measures a kept half as a test round; a stored one once it is in storage. After a
// swap that failed the outcome shows nothing.
func (l *lane) test(q *request, p Pair, basis int) {
	e, dev := l.e, l.e.l.dev
	var failed error
	measure := func(half physical.Qubit) {
		dev.Do(physical.Op{Kind: physical.OpMeasure, A: half, Basis: axes[basis], Free: true}, func(r physical.Result) {
			switch {
			case r.Err != nil:
				e.free(half)
			case failed == nil:
				e.saw(q, p.Seq, p.Label, axes[basis], r.Bit)
				e.tellOutcomes(q.ID, axes[basis:basis+1], append(e.outcomes.Items[:0], Outcome{Seq: p.Seq, Bit: r.Bit}))
			}
		})
	}
	if !l.group.store {
		l.state = laneHeld
		measure(l.qubit)
		return
	}
	l.state = laneMoving
	stored := l.storage
	l.storage = physical.Qubit{}
	window := l.window
	e.swap(l.qubit, stored, func(err error) {
		if l.window != window || l.state != laneMoving {
			return
		}
		failed = err
		if m := dev.Spec().Memory; m == nil || !m.Indirect {
			l.release()
			measure(stored)
			return
		}
		// It is read out through the communication qubit.
		dev.Do(physical.Op{Kind: physical.OpFree, A: l.qubit}, nil)
		dev.Do(physical.Op{Kind: physical.OpPrepare, Link: e.cfg.ID, Lane: l.index}, func(r physical.Result) {
			if r.Err != nil {
				e.free(stored)
				l.armFailed(r.Err)
				return
			}
			e.swap(stored, r.Qubit, func(err error) { failed = cmp.Or(failed, err) })
			l.state = laneHeld
			measure(r.Qubit)
			e.free(stored)
		})
	})
}

// axes returns the bases of this end in a request whose pairs are measured.
func (q *request) axes() []qnet.Basis {
	if len(q.bases.Bases) == 0 {
		return axes[2:]
	}
	return q.bases.Bases
}

// tellOutcomes tells the peer the outcomes of test rounds in the given bases. The items
// may be in the memory of those that were told before.
func (e *end) tellOutcomes(id RequestID, bases []qnet.Basis, items []Outcome) {
	m := &e.outcomes
	m.Link, m.ID, m.Items = e.cfg.ID, id, items
	m.Bases = append(m.Bases[:0], bases...)
	e.send(e.cfg.Peer, m)
}

// saw takes this end's outcome of a test round.
func (e *end) saw(q *request, seq uint64, label qnet.BellLabel, basis qnet.Basis, bit uint8) {
	t := e.round(seq)
	t.label, t.usage, t.point = label, e.usage(q), q.point
	e.learn(seq, t, e.cfg.Side, basis, bit)
}

// round returns what is known of a test round.
func (e *end) round(seq uint64) *testRound {
	t := e.rounds[seq]
	if t == nil {
		if len(e.rounds) >= maxTests {
			clear(e.rounds) // of which the other outcomes were lost
		}
		t = new(testRound)
		e.rounds[seq] = t
	}
	return t
}

func (e *end) learn(seq uint64, t *testRound, side int, basis qnet.Basis, bit uint8) {
	t.known[side], t.bases[side], t.bit[side] = true, basis, bit
	if !t.known[0] || !t.known[1] {
		return
	}
	delete(e.rounds, seq)
	r := estimate.Round{Bases: t.bases, Label: t.label, A: t.bit[0], B: t.bit[1]}
	if !r.Tells() {
		return
	}
	e.estimator.Learn(t.point, t.usage, r)
	if e.learnt++; e.learnt%64 == 0 {
		e.estimator.forget()
		e.reconsider()
	}
}

// reconsider ends the requests of this end that what test rounds have shown
// does not grant any more. Those of the peer are for the peer to end.
func (e *end) reconsider() {
	for _, id := range e.sortedRequests() {
		q := e.requests[id]
		if q == nil || q.minF == 0 || int(id&1) != e.cfg.Side || q.state != reqActive {
			continue
		}
		a := e.estimator.ask(question{usage: e.usage(q), point: q.point}, e.l.loop.Now())
		if a.err == nil && a.estimate.Granted < q.minF {
			e.abort(q, qnet.Errorf(qnet.ErrFidelity, "link %s: fidelity %.4f asked, test rounds show %.4f (between %.4f and %.4f): the hardware is not what its data sheet says",
				e.cfg.Name, q.minF, a.estimate.Measured, a.estimate.Lower, a.estimate.Upper))
		}
	}
}

func (e *end) onOutcomes(m *Outcomes) {
	q := e.requests[m.ID]
	for _, o := range m.Items {
		t := e.rounds[o.Seq]
		if t == nil && (q == nil || q.testing == 0) {
			continue // nothing that this end knows of
		}
		if t == nil {
			t = e.round(o.Seq)
		}
		e.learn(o.Seq, t, 1-e.cfg.Side, m.Bases[o.Basis], o.Bit)
	}
}
