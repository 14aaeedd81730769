package link_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// sixty keeps sixty requests open, of either end, for a time, and fails when for a
// second none of them ends. It returns how many did, and their measured pairs.
func (w *world) sixty(d time.Duration, next func() link.Request) (done, pairs int) {
	w.t.Helper()
	var open []link.RequestID
	last := w.loop.Now()
	for end := last.Add(d); w.loop.Now() < end; {
		for len(open) < 60 {
			r := next()
			open = append(open, w.ends[w.rng.IntN(2)].create(r))
		}
		w.run(5 * time.Millisecond)
		open = slices.DeleteFunc(open, func(id link.RequestID) bool {
			ended := w.ended(id)
			if ended {
				done, pairs, last = done+1, pairs+len(w.ends[0].requests[id].measured), w.loop.Now()
			}
			return ended
		})
		if idle := w.loop.Now().Sub(last); idle > time.Second {
			w.t.Fatalf("%+v: none of 60 requests has ended for %v, after %d", w.cfg, idle, done)
		}
	}
	return done, pairs
}

// Sixty requests to measure are open at a time, on several lanes: whose turn it is
// comes to differ between the ends, since columns come to them at different times. No
// more than a second goes by in which none ends, where one takes milliseconds; and
// no less than nine tenths of the pairs come that attempts without a break bring, whose
// number is Poisson's: 5 standard errors, a false alarm in 3e6.
func TestTurnsThatDifferHeal(t *testing.T) {
	for _, c := range []struct {
		lanes   int
		hazards control.LinkConfig
	}{{2, control.LinkConfig{Jitter: 100 * time.Microsecond}}, {4, control.LinkConfig{Jitter: 100 * time.Microsecond}}, {4, control.LinkConfig{Loss: 1e-3}}} {
		for seed := uint64(1); seed <= 3; seed++ {
			w := newWorld(t, worldConfig{seed: seed, probability: 0.05, period: 50_000, lanes: c.lanes, length: 5000,
				spec: physical.Spec{Init: 5 * time.Microsecond, Gate1: time.Microsecond, Readout: 10 * time.Microsecond}, hazards: c.hazards})
			w.ends[0].bases, w.ends[1].bases = pauli, pauli
			done, pairs := w.sixty(15*time.Second, func() link.Request {
				n := 1 + w.rng.Uint64N(50)
				return link.Request{Type: link.Measure, Pairs: n, Limit: n, Deadline: qnet.Never, Bases: pauli, PeerBases: pauli}
			})
			most := 15e9 / 50_000 * 0.05 * float64(c.lanes)
			t.Logf("%d lanes, seed %d: %d requests, %.3f of all pairs", c.lanes, seed, done, float64(pairs)/most)
			if least := 0.9*most - 5*math.Sqrt(0.9*most); float64(pairs) < least {
				t.Errorf("%d lanes, %+v, seed %d: %d pairs, want at least %.0f", c.lanes, c.hazards, seed, pairs, least)
			}
		}
	}
}

// backwards serves last what came first.
type backwards struct{ link.FCFS }

func (backwards) Before(a, b *link.Entry) bool { return a.Place > b.Place }

// The ends have opposite orders, and so many requests that none that comes first at
// one is among the first at the other: they are served all the same.
func TestOppositeOrdersHeal(t *testing.T) {
	side := 0
	w := newWorld(t, worldConfig{seed: 4, probability: 0.1, length: 1000, scheduler: func() link.Scheduler {
		if side++; side == 1 {
			return link.FCFS{}
		}
		return backwards{}
	}})
	w.ends[0].bases, w.ends[1].bases = pauli, pauli
	var ids []link.RequestID
	for range 400 {
		ids = append(ids, w.ends[0].create(link.Request{Type: link.Measure, Pairs: 1, Limit: 1, Deadline: qnet.Never, Bases: pauli, PeerBases: pauli}))
	}
	w.runUntil(5*time.Minute, w.all(ids))
	w.run(10 * time.Second)
	w.rest()
}

// A request to keep that comes behind a large one to measure gets a lane and is
// served; the other lanes go on as they are.
func TestLanesAreNotTakenFromEachOther(t *testing.T) {
	for _, lanes := range []int{2, 3, 4, 8} {
		for _, length := range []float64{20, 20_000} {
			w := newWorld(t, worldConfig{seed: 5, probability: 0.05, lanes: lanes, length: length, scheduler: func() link.Scheduler { return link.FCFS{} }})
			w.ends[0].bases, w.ends[1].bases = pauli, pauli
			big := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 1 << 30, Limit: 1 << 30, Deadline: qnet.Never, Bases: pauli, PeerBases: pauli})
			w.run(20 * time.Millisecond)
			gens := func() uint64 { return w.net.Datagrams((*link.Gen)(nil).Type()).Sent }
			before := gens()
			id := w.ends[0].keep(1)
			w.runUntil(20*time.Millisecond, func() bool { return w.ended(id) })
			w.run(10 * time.Millisecond)
			if n := gens() - before; n > 40 {
				t.Errorf("%d lanes, %g m: %d GENs to serve one request", lanes, length, n)
			}
			w.ends[0].layer.End(theLink, big, qnet.ErrCancelled)
		}
	}
}

// A request that is ended without a code is cancelled: the peer does not take that
// for the word that all pairs are there.
func TestEndWithoutACode(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 6, probability: 0.01, length: 1000})
	id := w.ends[0].keep(0)
	w.run(10 * time.Millisecond)
	w.ends[0].layer.End(theLink, id, qnet.OK)
	w.ends[0].requests[id].ended = true
	w.run(time.Second)
	if c := w.ends[1].requests[id]; !c.ended || qnet.CodeOf(c.err) != qnet.ErrCancelled {
		t.Errorf("at the peer: %+v", c)
	}
	w.rest()
}

// What no frame can carry is refused to who asks for it.
func TestFieldsOutOfRange(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 7, probability: 0.01, length: 1000})
	for _, r := range []link.Request{{Pairs: wire.MaxUvarint + 1}, {Pairs: 1, Purpose: 1 << 63}, {Pairs: 1, Tag: wire.MaxUvarint + 1}} {
		r.Deadline, r.Limit = qnet.Never, 1
		if _, err := w.ends[0].layer.Create(theLink, r); qnet.CodeOf(err) != qnet.ErrInvalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, period := range []float64{1, 1000} { // a deadline at the end of time
		w := newWorld(t, worldConfig{seed: 7, probability: 0.5, length: 20, period: period})
		for _, at := range []qnet.Time{5e18, qnet.Never - 1} {
			id := w.ends[0].create(link.Request{Pairs: 1, Limit: 1, Deadline: at})
			w.runUntil(time.Second, func() bool { return w.ended(id) })
			if err := w.ends[0].requests[id].err; err != nil {
				t.Errorf("deadline %v, period %g: %v", at, period, err)
			}
		}
	}
}

// Numbers from the future are not taken, and counted.
func TestNumbersFromTheFuture(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 8, probability: 0.01, length: 1000})
	a := w.ends[0]
	from := w.lie(bob)
	unexpected := func() uint64 { return a.layer.Status()[0].Frames.Unexpected }
	before := unexpected()
	far := uint64(seqBase) + 1<<40
	frames := []wire.Message{&link.LinkExpire{Link: theLink, First: far, End: far + 400}, &link.LinkExpire{Link: theLink, First: 0, End: 1},
		&link.Memory{Link: theLink, Number: 1 << 60, Lanes: true}}
	for _, m := range frames {
		from.tell(t, alice, m)
	}
	w.run(time.Second)
	if n := unexpected() - before; n != uint64(len(frames)) || a.layer.Status()[0].Expired != 0 {
		t.Errorf("%d of %d frames are counted, %d pairs void", n, len(frames), a.layer.Status()[0].Expired)
	}
	station := w.lie(station)
	malformed := a.layer.Status()[0].Frames.Malformed
	station.tell(t, alice, &link.BulkReply{Link: theLink, Window: 1, Index: wire.MaxUvarint, Steps: []uint64{1}, Labels: []byte{0}})
	w.run(time.Second)
	if n := a.layer.Status()[0].Frames.Malformed - malformed; n != 1 {
		t.Errorf("%d malformed frames, want 1", n)
	}
}

// A request whose pairs are to be alive together is ended from within the first of
// them: no other is handed up, and nothing is left of those.
func TestEndFromWithinAPair(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 9, probability: 0.05, length: 1000, lanes: 3})
	n := 0
	w.ends[0].onPair = func(e *end, p link.Pair) {
		n++
		e.layer.End(theLink, p.Request, qnet.ErrCancelled)
		e.requests[p.Request].ended = true
		e.free(p.Seq)
	}
	id := w.ends[0].create(link.Request{Pairs: 3, Limit: 3, Deadline: qnet.Never, Consecutive: true})
	w.run(time.Second)
	if n != 1 {
		t.Errorf("%d pairs were handed up, want the one from which the request was ended", n)
	}
	if c := w.ends[1].requests[id]; !c.ended || qnet.CodeOf(c.err) != qnet.ErrCancelled {
		t.Errorf("at the peer: %+v", c)
	}
	w.rest()
}

// Answers come to take much longer than before: a few frames are repeated until the
// station has learnt it, and all the pairs come, in requests whose columns are
// datagrams.
func TestAnswersThatGetLater(t *testing.T) {
	run := func(later time.Duration) (frames uint64, took time.Duration) {
		w := newWorld(t, worldConfig{seed: 1, probability: 0.05, length: 2000, scheduler: func() link.Scheduler { return link.FCFS{} }})
		w.net.SetFilter(func(_, _ qnet.NodeID, c control.Class, _ wire.Type, _ []byte) control.Verdict {
			if w.loop.Now() >= qnet.Time(500*time.Millisecond) {
				return control.Verdict{Delay: later}
			}
			return control.Verdict{}
		})
		var ids []link.RequestID
		for range 10 {
			ids = append(ids, w.ends[0].create(link.Request{Type: link.Measure, Pairs: 10_000, Deadline: qnet.Never, Limit: 1 << 40}))
		}
		w.runUntil(time.Minute, w.all(ids))
		return w.net.Datagrams((*link.BulkReply)(nil).Type()).Sent, time.Duration(w.loop.Now())
	}
	few, _ := run(0)
	for _, later := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 15 * time.Millisecond, 50 * time.Millisecond} {
		frames, took := run(later)
		t.Logf("%v later: %d frames instead of %d, in %v", later, frames, few, took)
		if frames > few*3/2 {
			t.Errorf("%v later: %d frames, %d when they are not", later, frames, few)
		}
	}
}

// Requests of all kinds, atomic ones among them, and frames that software makes late by
// milliseconds each: what the station advises lasts until the lanes have followed, so
// that no more than a second goes by in which none of sixty ends.
func TestAdviceLastsLongEnough(t *testing.T) {
	for _, late := range []time.Duration{2 * time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond} {
		w := newWorld(t, worldConfig{seed: 1, probability: 0.05, period: 50_000, lanes: 3, length: 1000,
			spec: physical.Spec{Init: 5 * time.Microsecond, Gate1: time.Microsecond, Readout: 10 * time.Microsecond}})
		w.net.SetFilter(func(_, _ qnet.NodeID, _ control.Class, _ wire.Type, _ []byte) control.Verdict {
			return control.Verdict{Delay: late}
		})
		w.ends[0].bases, w.ends[1].bases = pauli, pauli
		done, _ := w.sixty(30*time.Second, func() link.Request {
			r := link.Request{Type: link.Measure, Pairs: 1 + w.rng.Uint64N(50), Limit: 1 << 40, Deadline: qnet.Never, Priority: uint8(w.rng.IntN(3)), Atomic: w.rng.IntN(20) == 0}
			if w.rng.IntN(4) == 0 {
				r.Type, r.Pairs = link.Keep, 1+r.Pairs%5
			}
			return r
		})
		t.Logf("%v late: %d requests", late, done)
	}
}

// The identities of an end that restarts begin anew. What the other end remembers of
// pairs is of requests of before: a pair that is void does not take pairs of these back.
func TestIdentitiesBeginAnew(t *testing.T) {
	for _, old := range []link.Request{{Pairs: 2, Consecutive: true}, {Pairs: 3}} {
		w := newWorld(t, worldConfig{seed: 44, probability: 0.02, lanes: 2, length: 1000})
		old.Limit, old.Deadline = 1<<40, qnet.Never
		id := w.ends[0].create(old)
		w.runUntil(time.Second, func() bool { return w.ended(id) })
		w.restart(0)
		w.run(time.Second)
		replies := 0
		w.net.SetFilter(func(from, to qnet.NodeID, _ control.Class, t wire.Type, _ []byte) control.Verdict {
			if from != station || to != alice || t != (*link.Reply)(nil).Type() {
				return control.Verdict{}
			}
			if replies++; replies != 2 {
				return control.Verdict{}
			}
			return control.Verdict{Action: control.Drop}
		})
		again := w.ends[0].create(link.Request{Pairs: 2, Consecutive: true, Limit: 1 << 40, Deadline: qnet.Never})
		if again != id {
			t.Fatalf("request %d after %d: the test needs the same identity", again, id)
		}
		for replies < 2 {
			w.run(10 * time.Microsecond)
		}
		// The second pair is void when it is told again.
		w.ends[0].layer.SetLimit(theLink, again, 1)
		w.run(500 * time.Millisecond)
		w.net.SetFilter(nil)
		w.ends[0].layer.SetLimit(theLink, again, 1<<40)
		w.runUntil(time.Minute, func() bool { return w.ended(again) })
		w.run(time.Second)
		for side, e := range w.ends {
			if c := e.requests[again]; c.err != nil || len(c.pairs) != 2 {
				t.Errorf("side %d: %d pairs, %v", side, len(c.pairs), c.err)
			}
		}
		w.rest()
	}
}

// A pair of a request of before, of which an end hears only when a restarted peer has
// given its identity to another, is none of the other.
func TestPairOfARequestOfBefore(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 45, probability: 0.02, length: 1000})
	w.net.SetFilter(func(from, to qnet.NodeID, _ control.Class, t wire.Type, _ []byte) control.Verdict {
		if from != station || to != bob || t != (*link.Reply)(nil).Type() {
			return control.Verdict{}
		}
		return control.Verdict{Action: control.Drop}
	})
	id := w.ends[0].keep(5)
	w.run(100 * time.Millisecond)
	if n := len(w.ends[0].requests[id].pairs); n != 1 {
		t.Fatalf("%d pairs, want 1, of which bob has not heard", n)
	}
	w.restart(0)
	since := w.loop.Now()
	again := w.ends[0].keep(5)
	if again != id {
		t.Fatalf("request %d after %d: the test needs the same identity", again, id)
	}
	w.run(10 * time.Millisecond)
	w.net.SetFilter(nil)
	w.runUntil(time.Minute, func() bool { return w.ended(again) })
	for side, e := range w.ends {
		for _, p := range e.requests[again].pairs {
			if p.Created < since {
				t.Errorf("side %d: pair %d is of %v, its request of %v", side, p.Seq, p.Created, since)
			}
		}
	}
	w.run(time.Second)
	w.rest()
}

// The same of a half that is on its way into storage when the peer restarts.
func TestMoveOfARequestOfBefore(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 1, probability: 0.02, length: 1000, spec: physical.Spec{Storage: 8, Init: 5 * time.Microsecond, Gate2: 2 * time.Second}})
	r := link.Request{Pairs: 3, Store: true, Limit: 1 << 40, Deadline: qnet.Never}
	heard := false
	w.net.SetFilter(func(from, to qnet.NodeID, _ control.Class, t wire.Type, _ []byte) control.Verdict {
		heard = heard || from == station && to == bob && t == (*link.Reply)(nil).Type()
		return control.Verdict{}
	})
	id := w.ends[0].create(r)
	for !heard {
		w.run(time.Microsecond)
	}
	w.run(10 * time.Microsecond)
	w.restart(0)
	since := w.loop.Now()
	if again := w.ends[0].create(r); again != id {
		t.Fatalf("request %d after %d: the test needs the same identity", again, id)
	}
	w.runUntil(time.Minute, func() bool { return w.ended(id) })
	for side, e := range w.ends {
		c := e.requests[id]
		for _, p := range c.pairs {
			if p.Created < since {
				t.Errorf("side %d: pair %d is of %v, its request of %v", side, p.Seq, p.Created, since)
			}
		}
		if len(c.pairs) != 3 {
			t.Errorf("side %d: %d pairs, want 3", side, len(c.pairs))
		}
	}
	w.run(time.Second)
	w.rest()
}

// An end that alone has lost the station counts the pattern of its attempts anew, where
// storage has to be initialised all the time: that the ends never attempt at the same
// time is found out.
func TestPatternsOutOfStep(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(t, worldConfig{seed: seed, probability: 0.05, length: 1000, spec: physical.Spec{Storage: 2, Init: 2 * time.Microsecond, Gate2: 5 * time.Microsecond,
			Memory: &physical.Memory{Init: 310 * time.Microsecond, T2: 100e-6, Indirect: true}}})
		stored := func() bool {
			id := w.ends[0].create(link.Request{Pairs: 1, Store: true, Limit: 1, Deadline: w.loop.Now().Add(5 * time.Second)})
			w.runUntil(6*time.Second, func() bool { return w.ended(id) })
			return w.ends[0].requests[id].err == nil && w.ends[1].requests[id].err == nil
		}
		for range 5 {
			if !stored() {
				t.Fatal("no pair")
			}
		}
		w.run(time.Duration(w.rng.IntN(1000)) * time.Microsecond)
		w.net.Break(bob, station)
		w.run(2 * time.Second)
		w.net.Restore(bob, station)
		w.run(time.Second)
		if !stored() {
			t.Errorf("seed %d: no pair after one end had lost the station", seed)
		}
		w.run(time.Second)
		w.rest()
	}
}

// The pairs that are under way when a stream ends, thousands of them, are void at both ends,
// which tell each other so at once; then nothing is left, and no frame was one too many.
func TestEndOfFastStream(t *testing.T) {
	for _, c := range []struct {
		lanes  int
		p      float64
		length float64
	}{{4, 0.2, 2000}, {16, 1, 200}} {
		w := newWorld(t, worldConfig{seed: 27, probability: c.p, lanes: c.lanes, length: c.length})
		id := w.stream(0)
		w.run(400 * time.Millisecond)
		w.ends[0].layer.End(theLink, id, qnet.ErrCancelled)
		w.run(5 * time.Second)
		w.rest()
		for side, e := range w.ends {
			if n := e.layer.Status()[0].Frames.Limited; n > 0 {
				t.Errorf("%d lanes, side %d: %d frames of an honest peer were not taken", c.lanes, side, n)
			}
		}
	}
}
