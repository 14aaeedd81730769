package link_test

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/qnettest"
	"qstack/qnet/wire"
)

// blocked returns a world in which both ends hold the only qubit they have, so that
// nothing is served until unblock.
func blocked(t *testing.T, cfg serviceConfig) *service {
	t.Helper()
	s := newService(t, cfg)
	s.users[0].onPair, s.users[1].onPair = keepHeld, keepHeld
	s.done(time.Minute, s.users[0].create(link.Request{Pairs: 1, Purpose: 2, Deadline: qnet.Never, Limit: 1}))
	s.users[0].onPair, s.users[1].onPair = nil, nil
	return s
}

func (s *service) unblock() {
	for _, u := range s.users {
		for seq := range u.held {
			u.free(seq)
		}
	}
}

// Neither end ever holds more requests than the limit, and each can place a quarter
// of them whatever the other does: what is too much is refused, here or by the
// peer. Those that were accepted are served.
func TestQueueLimit(t *testing.T) {
	const limit = 40
	full := func(u *user) (ids []link.RequestID) {
		t.Helper()
		for {
			id, err := u.layer.Create(theLink, link.Request{Pairs: 1, Deadline: qnet.Never, Limit: 1})
			if err != nil {
				qnettest.WantErr(t, err, qnet.ErrBusy)
				return ids
			}
			u.requests[id] = &client{limit: 1}
			if ids = append(ids, id); len(ids) > limit {
				t.Fatalf("%d requests are held, the limit is %d", len(ids), limit)
			}
		}
	}
	held := func(s *service) {
		t.Helper()
		for side, u := range s.users {
			if n := u.layer.Status()[0].Requests; n > limit {
				t.Errorf("side %d holds %d requests, the limit is %d", side, n, limit)
			}
		}
	}
	cfg := serviceConfig{worldConfig: worldConfig{seed: 51, probability: 0.05, length: 1000}, queue: limit}
	for first := range 2 {
		s := blocked(t, cfg)
		a := full(s.users[first])
		s.run(100 * time.Millisecond)
		b := full(s.users[1-first])
		s.run(100 * time.Millisecond)
		held(s)
		if len(a) != limit*3/4 || len(b) != limit/4 {
			t.Errorf("%d and %d are held, want %d and %d", len(a), len(b), limit*3/4, limit/4)
		}
		s.unblock()
		s.done(time.Minute, append(a, b...)...)
		for _, id := range append(a, b...) {
			s.users[0].wantCode(id, qnet.OK)
		}
		s.run(time.Second)
		s.rest()
	}
	s := blocked(t, cfg)
	a, b := full(s.users[0]), full(s.users[1]) // at once: neither knows of the other's
	for range 100 {
		s.run(time.Millisecond)
		held(s)
	}
	s.unblock()
	for side, ids := range [][]link.RequestID{a, b} {
		u, served, refused := s.users[side], 0, 0
		s.runUntil(time.Minute, func() bool {
			return !slices.ContainsFunc(ids, func(id link.RequestID) bool { return !u.requests[id].ended })
		})
		for _, id := range ids {
			switch err := u.requests[id].err; qnet.CodeOf(err) {
			case qnet.OK:
				served++
			case qnet.ErrBusy:
				refused++
			default:
				t.Errorf("request ended with %v", err)
			}
		}
		if served < limit/4 || refused == 0 {
			t.Errorf("side %d: %d served and %d refused", side, served, refused)
		}
	}
	s.run(time.Second)
	s.rest()
}

// A request that waits takes at most 2 KiB at each end, as does its ADD, sent or
// not; what the test itself keeps is in it.
func TestMemoryOfQueuedRequests(t *testing.T) {
	const n = 20_000
	s := blocked(t, serviceConfig{worldConfig: worldConfig{seed: 52, probability: 0.05, length: 1000}, queue: n + n/2})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range n / 2 {
		for _, u := range s.users {
			u.keep(1)
		}
	}
	unsent := float64(heap()-before) / n
	s.run(20 * time.Second)
	for side, u := range s.users {
		if got := u.layer.Status()[0].Requests; got != n {
			t.Fatalf("side %d holds %d requests, want %d", side, got, n)
		}
	}
	agreed := float64(heap()-before) / (2 * n)
	if unsent > 2048 || agreed > 2048 {
		t.Errorf("%.0f bytes for a request that is not sent, %.0f at each end for one that is; want at most 2048", unsent, agreed)
	}
	t.Logf("%.0f bytes for a request that is not sent, %.0f at each end for one that is", unsent, agreed)
	runtime.KeepAlive(s)
}

// queued makes a world with so many requests queued, all with a pair to come after
// any other, and returns it with a function that has one more pair made.
func queued(t *testing.T, n int, scheduler func() link.Scheduler) *service {
	s := blocked(t, serviceConfig{worldConfig: worldConfig{seed: 53, probability: 0.05, length: 100, scheduler: scheduler}, queue: 2 * max(n, 4)})
	for i := range n {
		s.users[i%2].create(link.Request{Pairs: 1 << 30, Deadline: qnet.Never, Limit: 1 << 40, Purpose: 1})
	}
	s.run(20 * time.Second)
	for _, u := range s.users {
		if got := u.layer.Status()[0].Requests; got != n {
			t.Fatalf("%d requests are held, want %d", got, n)
		}
	}
	s.unblock()
	s.run(10 * time.Millisecond)
	return s
}

// A pair costs as much with 10,000 requests in the queue as with 100, of which a
// GEN names as many: in frames, in comparisons of requests but for the depth of a
// heap, and in allocations.
func TestQueueLengthCostsNothing(t *testing.T) {
	cost := func(n int) (frames, compared, mallocs float64) {
		sched, list := spies(func() link.Scheduler { return new(link.Fair) })
		s := queued(t, n, sched)
		e := s.users[0]
		count := func() (frames, compared, mallocs, pairs uint64) {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			st := e.layer.Status()[0]
			for _, k := range st.Frames.Sent {
				frames += k
			}
			return frames, uint64((*list)[0].compared), m.Mallocs, st.Pairs
		}
		f0, c0, m0, p0 := count()
		s.run(30 * time.Millisecond)
		f1, c1, m1, p1 := count()
		pairs := float64(p1 - p0)
		if pairs < 1000 {
			t.Errorf("%v pairs with %d queued", pairs, n)
		}
		t.Logf("%d queued: %.2f frames, %.0f comparisons, %.0f allocations a pair", n, float64(f1-f0)/pairs, float64(c1-c0)/pairs, float64(m1-m0)/pairs)
		return float64(f1-f0) / pairs, float64(c1-c0) / pairs, float64(m1-m0) / pairs
	}
	frames, compared, mallocs := cost(100)
	f, c, m := cost(10_000)
	if math.Abs(f-frames) > 0.1*frames || c > 2*compared || m > 1.5*mallocs+5 {
		t.Errorf("%.2f frames, %.0f comparisons and %.0f allocations a pair with 10,000 queued; %.2f, %.0f and %.0f with 100", f, c, m, frames, compared, mallocs)
	}
}

// Requests that may not be served now do not slow down the others, nor the ends,
// also when they may again, and again not: a pair is as many comparisons with 10,000
// that wait for their slot as with 100, but for the depth of a heap, while slots of
// some pairs alternate.
func TestQueuedForAnotherSlot(t *testing.T) {
	const length, pairs = 500, 1000 // of a slot in cycles of 1 µs; of the request
	cost := func(n int) float64 {
		sched, list := spies(func() link.Scheduler {
			return &link.Slots{Scheduler: new(link.Fair), Period: 2 * length, Table: []link.Slot{
				{Begin: 0, End: length, Purposes: []uint64{1}}, {Begin: length, End: 2 * length, Purposes: []uint64{2}}}}
		})
		s := queued(t, n, sched)
		e := s.users[0]
		id := e.create(link.Request{Pairs: pairs, Purpose: 2, Deadline: qnet.Never, Limit: pairs})
		status := func() (pairs uint64) { return e.layer.Status()[0].Pairs }
		before, had, from := (*list)[0].compared, status(), s.loop.Now()
		s.done(time.Minute, id)
		all := float64(status() - had)
		changes := float64(s.loop.Now().Sub(from)) / float64(length*time.Microsecond)
		c := float64((*list)[0].compared-before) / all
		t.Logf("%d queued: %.0f pairs, of which %d in the other slot, %.0f changes of the slot, %.1f comparisons a pair", n, all, pairs, changes, c)
		if changes < 40 || all < 1.5*pairs {
			t.Errorf("%.0f pairs and %.0f changes of the slot with %d queued", all, changes, n)
		}
		return c
	}
	few, many := cost(100), cost(10_000)
	if many > few+math.Log2(10_000/100) {
		t.Errorf("%.1f comparisons a pair with 10,000 that wait for another slot, %.1f with 100", many, few)
	}
}

func BenchmarkQueued(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := queued(new(testing.T), n, nil)
			b.ReportAllocs()
			for b.Loop() {
				for want := len(s.users[0].order) + 100; len(s.users[0].order) < want; {
					s.run(100 * time.Microsecond)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(100*b.N), "ns/pair")
		})
	}
}

// isA reports whether a message is of a type.
func isA[M wire.Message](m wire.Message) bool {
	_, ok := m.(M)
	return ok
}

// Both ends give a request up at the same instant, also when its ADD or the
// ADD_ACK was lost at first.
func TestDeadlineIsTheSameAtBothEnds(t *testing.T) {
	for lost := range 3 {
		for side := range 2 {
			for _, ack := range []bool{false, true} {
				left := lost
				s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 54, probability: 1e-6, length: 4000, period: 1234.5},
					drop: func(_, _ qnet.NodeID, m wire.Message) bool {
						if left > 0 && (!ack && isA[*link.Add](m) || ack && isA[*link.AddAck](m)) {
							left--
							return true
						}
						return false
					}})
				s.run(333 * time.Microsecond)
				asked := s.loop.Now().Add(333_333_333 * time.Nanosecond)
				id := s.users[side].create(link.Request{Pairs: 1000, Deadline: asked, Limit: 1000})
				s.done(time.Second, id)
				a, b := s.users[0].endedAt[id], s.users[1].endedAt[id]
				if a != b || a < asked || a.Sub(asked) > 1235*time.Nanosecond {
					t.Errorf("given up at %v and %v, deadline %v", a, b, asked)
				}
				s.users[0].wantCode(id, qnet.ErrTimeout)
				s.users[1].wantCode(id, qnet.ErrTimeout)
				s.run(20 * time.Second)
				s.rest()
			}
		}
	}
}

// What is wrong with a deadline is told by its own code.
func TestDeadlineCodes(t *testing.T) {
	t.Run("sooner than an answer", func(t *testing.T) {
		s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 55, probability: 0.1, length: 100_000}})
		_, err := s.users[0].layer.Create(theLink, link.Request{Pairs: 1, Deadline: s.loop.Now().Add(4*s.half - 1), Limit: 1})
		qnettest.WantErr(t, err, qnet.ErrUnsupported)
		_, err = s.users[0].layer.Create(theLink, link.Request{Pairs: 1, Deadline: s.loop.Now(), Limit: 1})
		qnettest.WantErr(t, err, qnet.ErrTimeout)
		id := s.users[0].create(link.Request{Pairs: 1, Deadline: s.loop.Now().Add(4*s.half + 3*time.Millisecond), Limit: 1})
		s.run(time.Second)
		s.users[0].wantCode(id, qnet.OK)
	})
	t.Run("no answer", func(t *testing.T) {
		s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 55, probability: 0.1, length: 1000},
			drop: func(from, _ qnet.NodeID, m wire.Message) bool { return from == bob }})
		id := s.users[0].create(link.Request{Pairs: 1, Deadline: qnet.Never, Limit: 1})
		s.run(time.Minute)
		s.users[0].wantCode(id, qnet.ErrNoAnswer)
	})
	for side := range 2 {
		for _, store := range []bool{false, true} {
			t.Run(fmt.Sprintf("no memory at side %d, store=%v", side, store), func(t *testing.T) {
				s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 55, probability: 0.1, length: 1000, spec: physical.Spec{Storage: 1}}})
				s.users[side].onPair = keepHeld
				first := s.users[0].create(link.Request{Pairs: 1, Store: store, Deadline: qnet.Never, Limit: 1})
				s.done(time.Second, first)
				id := s.users[0].create(link.Request{Pairs: 1, Store: store, Deadline: s.loop.Now().Add(400 * time.Millisecond), Limit: 1})
				s.done(time.Second, id)
				s.users[0].wantCode(id, qnet.ErrNoMemory)
				s.users[1].wantCode(id, qnet.ErrNoMemory)
				s.unblock()
				s.run(time.Second)
				s.rest()
			})
		}
	}
}

// Requests for purposes that nobody listens to are refused; nil lets the layer above
// decide again.
func TestListenToPurposes(t *testing.T) {
	s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 56, probability: 0.1, length: 1000}})
	ask := func(purpose uint64) link.RequestID {
		id := s.users[0].create(link.Request{Pairs: 1, Purpose: purpose, Deadline: qnet.Never, Limit: 1})
		s.run(100 * time.Millisecond)
		return id
	}
	for _, c := range []struct {
		listen  []uint64
		purpose uint64
		want    qnet.Code
	}{{[]uint64{4, 5}, 5, qnet.OK}, {[]uint64{4, 5}, 6, qnet.ErrNoListener}, {[]uint64{}, 4, qnet.ErrNoListener}, {nil, 6, qnet.OK}} {
		s.users[1].layer.Listen(theLink, c.listen)
		id := ask(c.purpose)
		s.users[0].wantCode(id, c.want)
		if _, offered := s.users[1].offers[id]; offered != (c.want == qnet.OK) {
			t.Errorf("purpose %d among %v: offered %v", c.purpose, c.listen, offered)
		}
	}
	// Its own requests are no affair of what an end listens to.
	s.users[0].layer.Listen(theLink, []uint64{})
	s.users[0].wantCode(ask(9), qnet.OK)
	s.run(time.Second)
	s.rest()
}

// asked is an end that does something to requests while it is asked for them.
type asked struct {
	*end
	do    func(id link.RequestID)
	limit uint64 // that it returns, with err
	err   error
	calls map[link.RequestID]int
}

func (a *asked) Requested(_ physical.LinkID, o link.Offer) (uint64, error) {
	a.calls[o.ID]++
	a.requests[o.ID] = &client{limit: 1 << 40}
	a.do(o.ID)
	return a.limit, a.err
}

// While the layer above is asked for a request it can set its bases and its limit, and end
// it: then, or if it refuses in the end, nothing is left of the request, however often it is
// asked for. ADDs are lost, doubled and late.
func TestCallsWhileAsked(t *testing.T) {
	x := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX}}
	for side := range 2 {
		w := newWorld(t, worldConfig{seed: 58, probability: 0.05, length: 200, queue: 8, hazards: control.LinkConfig{Loss: 0.1, Duplicate: 0.2, Jitter: 40 * time.Microsecond}})
		a := &asked{end: w.ends[1-side], limit: 1 << 40, calls: make(map[link.RequestID]int)}
		a.layer.Handle(a)
		creator := w.ends[side]
		ask := func(do func(id link.RequestID)) (mine, other *client) {
			t.Helper()
			a.do = do
			id := creator.create(link.Request{Type: link.Measure, Pairs: 20, Limit: 1 << 40, Deadline: w.loop.Now().Add(time.Second), Bases: x})
			w.run(1500 * time.Millisecond)
			mine, other = creator.requests[id], a.requests[id]
			if !mine.ended || a.calls[id] != 1 {
				t.Fatalf("side %d: ended %v, asked %d times", side, mine.ended, a.calls[id])
			}
			return mine, other
		}
		setBases := func(id link.RequestID) { a.layer.SetBases(theLink, id, x) }
		setLimit := func(n uint64) func(link.RequestID) {
			return func(id link.RequestID) { a.layer.SetLimit(theLink, id, n) }
		}
		end := func(id link.RequestID) { a.layer.End(theLink, id, qnet.ErrFidelity) }

		mine, other := ask(setBases)
		if mine.err != nil || len(mine.measured) != 20 || len(other.measured) != 20 {
			t.Fatalf("side %d: bases are set: %v, %d and %d pairs", side, mine.err, len(mine.measured), len(other.measured))
		}
		for i, m := range other.measured {
			if flip, _ := m.Label.Flips(qnet.BasisX); flip != (m.Bit != mine.measured[i].Bit) {
				t.Errorf("side %d: bases are set: pair %d was not measured in X at both ends", side, m.Seq)
			}
		}
		for _, n := range []uint64{0, 5} {
			for _, a.limit = range []uint64{0, 1 << 40} {
				if mine, other = ask(setLimit(n)); qnet.CodeOf(mine.err) != qnet.ErrTimeout || uint64(len(other.measured)) != n {
					t.Errorf("side %d: limit %d is set and %d returned: %v, %d pairs", side, n, a.limit, mine.err, len(other.measured))
				}
			}
		}
		for range 10 { // more than are held
			if mine, other = ask(end); qnet.CodeOf(mine.err) != qnet.ErrFidelity || other.ended {
				t.Errorf("side %d: ended by itself: %v, told of the end %v", side, mine.err, other.ended)
			}
			mine, other = ask(func(id link.RequestID) { a.layer.SetBases(theLink, id, physical.BasisSource{Weights: []float64{-1}}) })
			if qnet.CodeOf(mine.err) != qnet.ErrInvalid || qnet.CodeOf(other.err) != qnet.ErrInvalid {
				t.Errorf("side %d: bases that there are not: %v, %v", side, mine.err, other.err)
			}
			a.err = qnet.ErrNoListener
			for _, do := range []func(link.RequestID){setBases, setLimit(5), end} {
				if mine, other = ask(do); qnet.CodeOf(mine.err) != qnet.ErrNoListener || other.ended {
					t.Errorf("side %d: refused: %v, told of the end %v", side, mine.err, other.ended)
				}
			}
			a.err = nil
		}
		if mine, _ = ask(setBases); mine.err != nil {
			t.Errorf("side %d: in the end: %v", side, mine.err)
		}
		w.run(10 * time.Second)
		w.rest()
	}
}

// Both ends add at once, over a channel that loses, doubles and reorders: all
// complete, and have the same places at both ends. Six ADDs in a row without an
// answer, of 0.19⁶, come to 0.009 of 200 requests: more than 3 in 3e-10 of the runs.
func TestCrossingAdds(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			sched, list := spies(func() link.Scheduler { return link.FCFS{} })
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: seed, probability: 0.2, length: 1000, lanes: 8, scheduler: sched,
				hazards: control.LinkConfig{Loss: 0.1, Duplicate: 0.1, Reorder: 0.3, ReorderBy: 5 * time.Millisecond}}})
			var ids []link.RequestID
			const n = 100
			for range n {
				for _, u := range s.users {
					ids = append(ids, u.keep(1+s.rng.Uint64N(2)))
				}
				s.run(time.Duration(s.rng.Uint64N(uint64(300 * time.Microsecond))))
			}
			s.runUntil(10*time.Minute, func() bool {
				return !slices.ContainsFunc(ids, func(id link.RequestID) bool { return !s.users[id&1].requests[id].ended })
			})
			s.run(20 * time.Second)
			var places [2]map[link.RequestID]uint64
			for side, spy := range *list {
				places[side] = make(map[link.RequestID]uint64)
				for _, x := range spy.served {
					if at, ok := places[side][x.id]; ok && at != x.place {
						t.Errorf("side %d: request %d has places %d and %d", side, x.id, at, x.place)
					}
					places[side][x.id] = x.place
				}
			}
			taken := make(map[uint64]bool)
			unanswered := 0
			for _, id := range ids {
				if creator := s.users[id&1]; qnet.CodeOf(creator.requests[id].err) == qnet.ErrNoAnswer {
					unanswered++
					continue
				}
				a, b := places[0][id], places[1][id]
				if a != b || a == 0 || taken[a] {
					t.Errorf("request %d has place %d at one end and %d at the other", id, a, b)
				}
				taken[a] = true
				s.users[0].wantCode(id, qnet.OK)
				s.users[1].wantCode(id, qnet.OK)
			}
			if unanswered > 3 {
				t.Errorf("%d requests were not answered", unanswered)
			}
			s.run(20 * time.Second)
			s.rest()
		})
	}
}

// A hundred requests to a peer that is dead, more than wait for answers at once: each
// is told so, and when the peer is known to be down nothing is left.
func TestDeadPeer(t *testing.T) {
	for side := range 2 {
		dead := bob - qnet.NodeID(side)
		most, waiting := 0, make(map[link.RequestID]bool)
		s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 57, probability: 0.1, length: 1000},
			drop: func(_, to qnet.NodeID, m wire.Message) bool {
				if a, ok := m.(*link.Add); ok {
					waiting[a.ID] = true
					most = max(most, len(waiting))
				}
				return to == dead
			}})
		u := s.users[side]
		var ids []link.RequestID
		for range 100 {
			id := u.create(link.Request{Pairs: 1, Deadline: qnet.Never, Limit: 1})
			u.requests[id].onEnd = func() { delete(waiting, id) }
			ids = append(ids, id)
		}
		s.run(time.Minute)
		for _, id := range ids {
			u.wantCode(id, qnet.ErrNoAnswer)
		}
		if most < 60 || most > 65 { // the next is sent before the one before is told
			t.Errorf("up to %d ADDs waited for answers, want 64", most)
		}
		s.net.Remove(dead)
		s.run(10 * time.Second)
		if err := u.layer.Idle(); err != nil {
			t.Error(err)
		}
	}
}

// An end that is short of qubits makes the other stop attempting, so that what it
// stores is dephased no more, and has it start again, even if the frames that say so
// are lost.
func TestMemoryStopsAttempts(t *testing.T) {
	for short := range 2 {
		for _, c := range []struct {
			name  string
			store bool
			lost  float64
		}{{"lanes", false, 0}, {"storage", true, 0}, {"lanes, frames lost", false, 0.3}, {"storage, frames lost", true, 0.3}} {
			t.Run(fmt.Sprintf("%s, side %d", c.name, short), func(t *testing.T) {
				t.Parallel()
				var s *service
				storage := 4
				specs := [2]physical.Spec{{Storage: storage, Init: 1}, {Storage: storage, Init: 1}}
				if c.store {
					specs[short].Storage = 1
				} else {
					specs[short].Communication = 1
				}
				s = newService(t, serviceConfig{worldConfig: worldConfig{seed: 58, probability: 1e-4, length: 500, lanes: 2, dephasing: 1e-7}, specs: specs,
					drop: func(_, _ qnet.NodeID, m wire.Message) bool { return isA[*link.Memory](m) && s.rng.Float64() < c.lost }})
				other := s.users[1-short]
				s.users[short].onPair = keepHeld
				id := s.users[0].create(link.Request{Pairs: 3, Store: c.store, Deadline: qnet.Never, Limit: 3})
				s.runUntil(time.Minute, func() bool { return len(s.users[short].held) > 0 })
				s.run(500 * time.Millisecond) // it has been said
				q := s.stored(1 - short)
				s.run(time.Second)
				// One message that is lost 0.3^3 of the time lets attempts begin for 40 ms.
				if n := s.attempts(q); n > 2e5 || c.lost == 0 && n > 0.5 {
					t.Errorf("%.0f attempts in a second, while side %d has no qubit", n, short)
				}
				other.dev.Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
				freed := s.loop.Now()
				s.users[short].onPair = nil
				s.unblock()
				s.done(time.Second, id)
				t.Logf("done %v after a qubit was free", s.loop.Now().Sub(freed))
				s.run(time.Second)
				s.rest()
			})
		}
	}
}

// What a peer says of its memory after a restart counts, though it numbers anew.
func TestMemoryOfAPeerThatRestarts(t *testing.T) {
	s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 60, probability: 1e-6, length: 1000}})
	u := s.users[0]
	for _, number := range []uint64{1000, 1} {
		s.net.Remove(bob)
		s.run(2 * time.Second)
		peer := s.net.Endpoint(bob, nil)
		s.run(0)
		id := u.create(link.Request{Pairs: 1 << 40, Deadline: qnet.Never, Limit: 1 << 40})
		say := func(m wire.Message, open int) {
			t.Helper()
			if err := peer.Datagram(alice, m); err != nil {
				t.Fatal(err)
			}
			s.run(time.Millisecond)
			if got := u.layer.Status()[0].Open; got != open {
				t.Errorf("%d lanes attempt after %+v, want %d", got, m, open)
			}
		}
		say(&link.AddAck{Link: theLink, ID: id, Limit: 1 << 40}, 1)
		say(&link.Memory{Link: theLink, Number: number, Lanes: true}, 0)
		say(&link.Memory{Link: theLink, Number: number - 1}, 0) // overtaken
		say(&link.Memory{Link: theLink, Number: number + 1}, 1)
		u.cancel(id)
		say(&link.EndAck{Link: theLink, ID: id}, 0)
	}
	s.run(time.Second)
	if err := u.layer.Idle(); err != nil {
		t.Error(err)
	}
}

// Either end can end a request wherever it stands: both are told, or were never
// asked, and nothing is left of it. One who comes after it is served.
func TestCancelEverywhere(t *testing.T) {
	for _, c := range []struct {
		name string
		wait time.Duration // from the request on
		r    link.Request
		many bool // requests before it fill the window of ADDs
	}{
		{name: "waiting", many: true, r: link.Request{Pairs: 3}},
		{name: "adding", r: link.Request{Pairs: 3}, wait: 60 * time.Microsecond},
		{name: "agreed", r: link.Request{Pairs: 3}, wait: 110 * time.Microsecond},
		{name: "active", r: link.Request{Pairs: 1 << 40}, wait: 3 * time.Millisecond},
		{name: "measuring", r: link.Request{Type: link.Measure, Pairs: 1 << 40}, wait: 3 * time.Millisecond},
		{name: "preparing", r: link.Request{Type: link.Prepare, Pairs: 1 << 40}, wait: 3 * time.Millisecond},
		{name: "moving", r: link.Request{Pairs: 1 << 40, Store: true}, wait: 3 * time.Millisecond},
		{name: "consecutive", r: link.Request{Pairs: 3, Consecutive: true, Store: true}, wait: 3 * time.Millisecond},
		{name: "atomic", r: link.Request{Pairs: 1 << 40, Atomic: true}, wait: 3 * time.Millisecond},
		{name: "bounded rate", r: link.Request{Pairs: 1 << 40, Rate: 1000}, wait: 3 * time.Millisecond},
	} {
		for _, hazards := range []control.LinkConfig{{}, bad} {
			t.Run(fmt.Sprintf("%s, bad=%v", c.name, hazards == bad), func(t *testing.T) {
				t.Parallel()
				s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 59, probability: 0.002, length: 10_000, hazards: hazards,
					spec: physical.Spec{Storage: 4, Gate2: 300 * time.Microsecond, Readout: 200 * time.Microsecond, Init: time.Microsecond}}})
				for i := range 60 {
					var others []link.RequestID
					creator := s.users[i%2]
					if c.many {
						for range 64 {
							others = append(others, creator.keep(1))
						}
					}
					r := c.r
					r.Deadline, r.Limit = qnet.Never, 1<<40
					id := creator.create(r)
					// At any instant of what goes on.
					if c.wait > 0 {
						s.run(c.wait/2 + time.Duration(s.rng.Uint64N(uint64(c.wait))))
					}
					by := s.users[s.rng.IntN(2)]
					if k := by.requests[id]; k != nil && !k.ended {
						by.cancel(id)
					} else if k = creator.requests[id]; !k.ended {
						by = creator
						by.cancel(id)
					}
					for _, id := range others {
						if c := creator.requests[id]; !c.ended {
							creator.cancel(id)
						}
					}
					next := creator.keep(1)
					s.done(time.Minute, next)
					if hazards == bad {
						s.run(30 * time.Second)
					} else {
						s.run(100 * time.Millisecond)
					}
					for side, u := range s.users {
						if k := u.requests[id]; k != nil && !k.ended {
							t.Fatalf("side %d was not told of the end of %d", side, id)
						}
					}
					s.rest()
				}
			})
		}
	}
}

// With expire = "request" a void pair ends a request, once: not one that the layer above
// has ended itself, and not one that has all its pairs by others that are void.
func TestExpiredRequestEndsOnce(t *testing.T) {
	for _, compat := range []link.Compat{{ExpireRequests: true}, {ExpireRequests: true, ReferenceRetries: true}} {
		for seed := uint64(1); seed <= 40; seed++ {
			w := newWorld(t, worldConfig{seed: seed, probability: 0.2, length: 20, lanes: 1 + int(seed%2)*3, compat: compat, noRepeat: compat.ReferenceRetries,
				spec: physical.Spec{Readout: 100 * time.Microsecond, Init: 5 * time.Microsecond}, hazards: control.LinkConfig{Loss: 0.01 * float64(seed%3)}})
			var ids []link.RequestID
			for i := range 10 {
				ids = append(ids, w.ends[i%2].create(link.Request{Type: link.Measure, Pairs: 500, Limit: 1 << 40, Deadline: qnet.Never}))
			}
			w.run(time.Duration(1000+w.rng.IntN(10000)) * time.Microsecond)
			for i, id := range ids[:5] {
				if c := w.ends[i%2].requests[id]; !c.ended {
					c.ended = true
					w.ends[i%2].layer.End(theLink, id, qnet.ErrCancelled)
				}
			}
			w.run(10 * time.Second)
			for _, e := range w.ends {
				for _, id := range ids {
					if c := e.requests[id]; c != nil && c.err == nil && c.ended && len(c.measured) < 500 && !slices.Contains(ids[:5], id) {
						t.Errorf("seed %d: request %d ended well with %d pairs", seed, id, len(c.measured))
					}
				}
			}
		}
	}
}
