package link_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// served is one call of Scheduler.Served.
type served struct {
	id    link.RequestID
	place uint64
	pairs uint64
}

// spy is a scheduler that tells what it is told.
type spy struct {
	link.Scheduler
	served   []served
	admitted []link.RequestID
	compared int
}

func (s *spy) Admit(e *link.Entry, cycle uint64) {
	s.admitted = append(s.admitted, e.ID)
	s.Scheduler.Admit(e, cycle)
}

func (s *spy) Served(e *link.Entry, pairs uint64) {
	s.served = append(s.served, served{e.ID, e.Place, pairs})
	s.Scheduler.Served(e, pairs)
}

func (s *spy) Before(a, b *link.Entry) bool {
	s.compared++
	return s.Scheduler.Before(a, b)
}

// spies returns a source of spies for both ends, side 0 first, and the spies.
func spies(of func() link.Scheduler) (func() link.Scheduler, *[]*spy) {
	list := new([]*spy)
	return func() link.Scheduler {
		s := &spy{Scheduler: of()}
		*list = append(*list, s)
		return s
	}, list
}

// stream asks for kept pairs for ever.
func (u *user) stream(r link.Request) link.RequestID {
	r.Deadline, r.Limit = qnet.Never, 1<<40
	return u.create(r)
}

// end ends requests at one end and waits until nothing is left.
func (s *service) end(ids ...link.RequestID) {
	s.t.Helper()
	for _, id := range ids {
		s.users[id&1].cancel(id)
	}
	s.run(2 * time.Second)
	s.rest()
}

// A larger priority is strictly first: from its schedule cycle and the time that
// a GEN takes on, no attempt is made for a smaller one that had begun until it is
// complete, whichever end asks for either.
func TestPriorityPreempts(t *testing.T) {
	for _, lanes := range []int{1, 3} {
		t.Run(fmt.Sprint(lanes, " lanes"), func(t *testing.T) {
			t.Parallel()
			const pairs = 12
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 31, probability: 0.002, length: 2000, lanes: lanes}})
			var low [2]link.RequestID
			low[0] = s.users[0].stream(link.Request{Priority: 1})
			low[1] = s.users[1].stream(link.Request{Priority: 2})
			s.run(20 * time.Millisecond)
			for i := range 40 {
				u := s.users[i%2]
				asked := s.loop.Now()
				high := u.create(link.Request{Pairs: pairs, Priority: 3 + uint8(i%5), Deadline: qnet.Never, Limit: pairs})
				s.done(time.Minute, high)
				// ADD and ADD_ACK cross the link, then a GEN goes half of it.
				from := asked.Add(5*s.half + 2*time.Microsecond)
				till := s.users[0].requests[high].pairs
				last := till[pairs-1].Created
				if lanes > 1 { // one lane each for the last few: the others go on with the next
					last = till[pairs-lanes].Created
				}
				for _, p := range s.users[0].order {
					if p.Request != high && p.Created > from && p.Created < last {
						t.Errorf("pair of %d at %v, while %d was served from %v to %v", p.Request, p.Created, high, from, last)
					}
				}
				s.users[0].order = s.users[0].order[:0]
				s.run(time.Duration(s.rng.Uint64N(uint64(5 * time.Millisecond))))
			}
			// Of the others, that of priority 2 got all.
			if n := len(s.users[0].requests[low[0]].pairs); n > 3*lanes {
				t.Errorf("%d pairs of priority 1 beside priority 2", n)
			}
			if n := len(s.users[0].requests[low[1]].pairs); n < 20 {
				t.Errorf("%d pairs of priority 2", n)
			}
			s.end(low[0], low[1])
		})
	}
}

// Requests that wait are served in the scheduler's order, the same at both ends:
// by their places (FCFS) or deadlines (EDF, those without one last, equal ones by
// place). One lane, which a held pair blocks until all are there.
func TestOrderOfService(t *testing.T) {
	for _, c := range []struct {
		name  string
		sched func() link.Scheduler
	}{
		{"FCFS", func() link.Scheduler { return link.FCFS{} }},
		{"EDF", func() link.Scheduler { return link.EDF{} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sched, list := spies(c.sched)
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 32, probability: 0.01, length: 2000, scheduler: sched}})
			s.users[0].onPair, s.users[1].onPair = keepHeld, keepHeld
			first := s.users[0].keep(1)
			s.done(time.Second, first)
			for _, u := range s.users {
				u.onPair = nil
			}
			deadlines := make(map[link.RequestID]qnet.Time)
			const n = 80
			for i := range n {
				r := link.Request{Pairs: 1 + s.rng.Uint64N(3), Priority: uint8(s.rng.IntN(8)), Deadline: qnet.Never, Limit: 3}
				if i%5 > 0 {
					r.Deadline = s.loop.Now().Add(10*time.Second + time.Duration(s.rng.IntN(20))*100*time.Millisecond)
				}
				deadlines[s.users[s.rng.IntN(2)].create(r)] = r.Deadline
				if i%3 == 0 {
					s.run(time.Duration(s.rng.Uint64N(uint64(30 * time.Microsecond))))
				}
			}
			s.run(100 * time.Millisecond)
			for _, u := range s.users {
				for seq := range u.held {
					u.free(seq)
				}
			}
			var ids []link.RequestID
			for id := range deadlines {
				ids = append(ids, id)
			}
			s.done(time.Minute, ids...)
			a, b := (*list)[0], (*list)[1]
			if !slices.Equal(a.served, b.served) {
				t.Errorf("served\n%v at one end,\n%v at the other", a.served, b.served)
			}
			want := slices.Clone(a.served[1:])
			slices.SortStableFunc(want, func(x, y served) int {
				if c.name == "EDF" && deadlines[x.id] != deadlines[y.id] {
					return cmp.Compare(deadlines[x.id], deadlines[y.id])
				}
				return cmp.Compare(x.place, y.place)
			})
			if !slices.Equal(a.served[1:], want) {
				t.Errorf("served\n%v, want\n%v", a.served[1:], want)
			}
			if len(want) < n || len(b.admitted) > 0 || len(a.admitted) != n+1 {
				t.Errorf("%d served, %d and %d admitted", len(want), len(a.admitted), len(b.admitted))
			}
			s.run(time.Second)
			s.rest()
		})
	}
}

// Weighted fair queueing: what is always wanted shares the link by its weights,
// whatever the number of pairs of a request. The scheduler leaves nothing to
// chance, so that the share is exact but for the requests in service.
func TestWeightedShares(t *testing.T) {
	const waiting = 8
	run := func(t *testing.T, seed uint64, weights []float64, pairs [2]uint64, d time.Duration) (shares [2]int) {
		s := newService(t, serviceConfig{worldConfig: worldConfig{seed: seed, probability: 0.05, length: 100,
			scheduler: func() link.Scheduler { return &link.Weighted{Weights: weights} }}})
		class := make(map[link.RequestID]int)
		s.users[0].onPair = func(e *end, p link.Pair) {
			shares[class[p.Request]]++
			e.free(p.Seq)
		}
		for i := range 2 * waiting {
			u, k := s.users[i%2], i/waiting
			r := link.Request{Pairs: pairs[k], Priority: uint8(k), Deadline: qnet.Never, Limit: 1 << 40}
			var again func()
			again = func() {
				id := u.create(r)
				class[id] = k
				u.requests[id].onEnd = func() { s.loop.After(0, again) }
			}
			again()
		}
		s.run(5 * time.Millisecond) // until all are there
		shares = [2]int{}
		s.run(d)
		return shares
	}
	for _, c := range []struct {
		name    string
		weights []float64
		pairs   [2]uint64
	}{
		{"single pairs", []float64{1, 10}, [2]uint64{1, 1}},
		{"many and few pairs", []float64{1, 10}, [2]uint64{9, 2}},
		{"few and many pairs", []float64{1, 10}, [2]uint64{1, 30}},
		{"streams", []float64{1, 10}, [2]uint64{0, 0}},
		{"the other way round", []float64{10, 1}, [2]uint64{3, 3}},
		{"equal", []float64{5, 5}, [2]uint64{3, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := run(t, 33, c.weights, c.pairs, 100*time.Millisecond)
			total := float64(n[0] + n[1])
			want := total * c.weights[0] / (c.weights[0] + c.weights[1])
			// A share of chance would have a deviation of √(n·w(1−w)); the scheduler's
			// own is a request each.
			if off := math.Abs(float64(n[0]) - want); total < 2000 || off > 2*float64(max(c.pairs[0], c.pairs[1], 1))+10 {
				t.Errorf("%v pairs, want %.0f of the first", n, want)
			}
			t.Logf("%v pairs", n)
		})
	}
	t.Run("total", func(t *testing.T) {
		t.Parallel()
		// The weights take nothing from the total, which counts successes of
		// independent attempts: 5 standard deviations of the difference, 6e-7.
		a, b := run(t, 34, []float64{1, 10}, [2]uint64{1, 1}, 60*time.Millisecond), run(t, 35, []float64{1, 1}, [2]uint64{1, 1}, 60*time.Millisecond)
		x, y := float64(a[0]+a[1]), float64(b[0]+b[1])
		if math.Abs(x-y) > 5*math.Sqrt(x+y) {
			t.Errorf("%v and %v pairs in all with different weights", x, y)
		}
	})
}

// Types whose pairs take different times share the time, not the pairs: a pair to
// keep takes so many cycles more as its attempts are apart. And a strict class is
// served before either.
func TestWeightedTypes(t *testing.T) {
	t.Parallel()
	const stride, p = 8, 0.02
	s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 36, probability: p, length: 20,
		scheduler: func() link.Scheduler { return &link.Weighted{Weights: []float64{1, 10}} }}, stride: [2]uint64{stride, stride}})
	k := s.users[0].stream(link.Request{Priority: 0})
	m := s.users[1].stream(link.Request{Type: link.Measure, Pairs: 1 << 40, Priority: 1})
	s.run(50 * time.Millisecond)
	s.users[0].order = nil
	before := len(s.users[0].requests[m].measured)
	s.run(10 * time.Second)
	kept, measured := float64(len(s.users[0].order)), float64(len(s.users[0].requests[m].measured)-before)
	// Cycles by the estimate, which is what is shared; measured pairs come in batches
	// of 2 ms, each of about 40: within the deviation of 1/√batches.
	ratio := measured / (kept * stride)
	if kept < 1000 || math.Abs(ratio-10) > 0.5 {
		t.Errorf("%v measured and %v kept pairs: their times are as %.2f to 1, want 10", measured, kept, ratio)
	}
	t.Logf("%v measured, %v kept", measured, kept)
	s.users[0].order = nil
	asked := s.loop.Now()
	strict := s.users[0].create(link.Request{Pairs: 200, Priority: 2, Deadline: qnet.Never, Limit: 200})
	s.done(time.Minute, strict)
	last := s.users[0].requests[strict].pairs[199].Created
	for _, x := range s.users[0].order {
		if x.Request == k && x.Created > asked.Add(5*s.half+3*time.Millisecond) && x.Created < last {
			t.Errorf("kept pair at %v, while a strict request was served until %v", x.Created, last)
		}
	}
	s.end(k, m)
}

// Only what a slot is for is served in its cycles, even when frames are lost, and
// the slots are used.
func TestSlots(t *testing.T) {
	const scale, p = 200, 0.002
	const period = 2500 * scale
	table := []link.Slot{
		{Begin: 100 * scale, End: 900 * scale, Purposes: []uint64{1}},
		{Begin: 900 * scale, End: 1000 * scale, Purposes: []uint64{}},
		{Begin: 1200 * scale, End: 2000 * scale, Purposes: []uint64{2, 3}},
		{Begin: 2000 * scale, End: 2400 * scale},
	}
	for _, c := range []struct {
		name    string
		hazards control.LinkConfig
		measure bool
	}{
		{name: "keep"},
		{name: "measure", measure: true},
		{name: "keep, frames lost", hazards: control.LinkConfig{Loss: 0.1}},
		{name: "measure, frames lost", hazards: control.LinkConfig{Loss: 0.1}, measure: true},
		{name: "keep, frames late", hazards: control.LinkConfig{Jitter: 50 * time.Microsecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 37, probability: p, length: 500, hazards: c.hazards,
				scheduler: func() link.Scheduler {
					return &link.Slots{Scheduler: new(link.Fair), Period: period, Table: table}
				}}})
			purposes := make(map[link.RequestID]uint64)
			var ids []link.RequestID
			for i, purpose := range []uint64{1, 2, 3, 9} {
				r := link.Request{Purpose: purpose}
				if c.measure && purpose < 3 {
					r.Type, r.Pairs = link.Measure, 1<<40
				}
				id := s.users[i%2].stream(r)
				purposes[id] = purpose
				ids = append(ids, id)
			}
			const rounds = 20
			s.run(rounds * period * time.Microsecond)
			used := make(map[int]int)
			check := func(id link.RequestID, created qnet.Time) {
				at := s.cycles.From(created) % period
				for i, slot := range table {
					if at >= slot.Begin && at < slot.End && (slot.Purposes == nil || slices.Contains(slot.Purposes, purposes[id])) {
						used[i]++
						return
					}
				}
				t.Errorf("pair of purpose %d in cycle %d of the table", purposes[id], at)
			}
			for _, p := range s.users[0].order {
				check(p.Request, p.Created)
			}
			for _, id := range ids {
				for _, m := range s.users[0].requests[id].measured {
					check(id, m.Created)
				}
			}
			t.Logf("pairs by slot %v", used)
			least := 0.85
			if c.hazards != (control.LinkConfig{}) {
				least = 0.02 // a lost GEN or REPLY costs 20 ms, 40 times what a pair takes
			}
			for i, slot := range table {
				// After each success the herald's round trip, 5 cycles.
				want := rounds * float64(slot.End-slot.Begin) / (1/p + 6)
				if i != 1 && float64(used[i]) < least*want {
					t.Errorf("%d pairs in slot %d, %.0f are possible", used[i], i, want)
				}
			}
			s.end(ids...)
		})
	}
}

// Once the first pair of an atomic request is made nothing else gets one until it
// is complete, whatever comes meanwhile, also when frames are lost.
func TestAtomic(t *testing.T) {
	for _, c := range []struct {
		name    string
		lanes   int
		hazards control.LinkConfig
		measure bool
	}{
		{"one lane", 1, control.LinkConfig{}, false},
		{"four lanes", 4, control.LinkConfig{}, false},
		{"measured", 2, control.LinkConfig{}, true},
		{"one lane, frames lost", 1, bad, false},
		{"four lanes, frames lost", 4, control.LinkConfig{Loss: 0.1}, false},
	} {
		for seed := range uint64(10) {
			t.Run(fmt.Sprintf("%s, seed %d", c.name, seed), func(t *testing.T) {
				t.Parallel()
				const pairs = 15
				s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 38 + seed, probability: 0.01, length: 500, lanes: c.lanes, hazards: c.hazards}})
				atomic := make(map[link.RequestID]bool)
				var ids []link.RequestID
				for i := range 120 {
					r := link.Request{Pairs: 1 + s.rng.Uint64N(10), Priority: uint8(s.rng.IntN(8)), Deadline: qnet.Never, Limit: 1 << 40}
					if i%4 == 0 {
						r.Atomic, r.Pairs = true, pairs
						if c.measure {
							r.Type = link.Measure
						}
					}
					id := s.users[s.rng.IntN(2)].create(r)
					atomic[id] = r.Atomic
					ids = append(ids, id)
					s.run(time.Duration(s.rng.Uint64N(uint64(time.Millisecond))))
				}
				s.done(time.Minute, ids...)
				s.run(10 * time.Second)
				s.rest()
				type pair struct {
					seq uint64
					id  link.RequestID
				}
				var list []pair
				for _, id := range ids {
					for _, p := range s.users[0].requests[id].pairs { // those that did not expire
						list = append(list, pair{p.Seq, id})
					}
					for _, m := range s.users[0].requests[id].measured {
						list = append(list, pair{m.Seq, id})
					}
				}
				slices.SortFunc(list, func(a, b pair) int { return cmp.Compare(a.seq, b.seq) })
				for i := 0; i < len(list); i++ {
					id := list[i].id
					if !atomic[id] {
						continue
					}
					for k := range pairs {
						if got := list[i+k]; got.id != id {
							t.Fatalf("pair %d of atomic request %d is followed by one of %d", k, id, got.id)
						}
					}
					i += pairs - 1
				}
			})
		}
	}
}

// An atomic request has begun with its first pairs also while no end has heard of these,
// since the frame that tells of them is lost again and again: no end attempts for another
// meanwhile, whatever lanes become free, or takes a pair of another before the last of it.
func TestAtomicRequestBeginsUnheard(t *testing.T) {
	for _, typ := range []link.Type{link.Measure, link.Keep, link.Prepare} {
		for _, atomic := range []bool{true, false} {
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 41, probability: 0.01, length: 500, lanes: 2}})
			for _, u := range s.users {
				u.onPair = keepHeld
			}
			first := s.users[0].keep(1)
			s.done(time.Second, first) // there is one lane left
			lost := 0
			s.net.SetFilter(func(_, _ qnet.NodeID, _ control.Class, _ wire.Type, b []byte) control.Verdict {
				var m link.BulkReply
				if wire.Parse(b, &m) != nil || len(m.Steps) == 0 {
					return control.Verdict{}
				}
				lost++
				return control.Verdict{Action: control.Drop}
			})
			a := s.users[0].create(link.Request{Type: link.Measure, Pairs: 20, Atomic: true, Deadline: qnet.Never, Limit: 10})
			s.run(20 * time.Millisecond)
			if lost == 0 {
				t.Fatal("no pair of the atomic request")
			}
			b := s.users[1].create(link.Request{Type: typ, Pairs: 5, Atomic: atomic, Deadline: qnet.Never, Limit: 5})
			for _, u := range s.users {
				u.onPair = nil
				for seq := range u.held {
					u.free(seq)
				}
			}
			s.run(100 * time.Millisecond)
			s.net.SetFilter(nil)
			s.run(100 * time.Millisecond)
			s.users[0].layer.SetLimit(theLink, a, 20)
			s.done(5*time.Second, a, b)
			s.run(time.Second)
			s.rest()
			for side, u := range s.users {
				one, two := u.requests[a], u.requests[b]
				last, other := one.measured[len(one.measured)-1].Seq, uint64(math.MaxUint64)
				for _, p := range two.pairs {
					other = min(other, p.Seq)
				}
				for _, m := range two.measured {
					other = min(other, m.Seq)
				}
				if other < last {
					t.Errorf("%v, atomic %v, side %d: pair %d comes before the last of the atomic request, %d", typ, atomic, side, other, last)
				}
			}
		}
	}
}

// Each end has begun another atomic request, or one has begun one that at the
// other comes after another: they agree on one, and both complete.
func TestAtomicRequestsMeet(t *testing.T) {
	for creator := range 2 {
		for blocked := range 2 {
			for _, second := range []bool{false, true} {
				s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 39, probability: 0.01, length: 500}})
				// The qubit of one end is in use, so that it begins nothing.
				busy := s.users[blocked]
				busy.onPair = keepHeld
				first := s.users[0].keep(1)
				s.done(time.Second, first)
				a := s.users[creator].create(link.Request{Pairs: 5, Atomic: true, Deadline: qnet.Never, Limit: 5})
				s.run(time.Millisecond)
				b := s.users[1-creator].create(link.Request{Pairs: 5, Atomic: second, Priority: 7, Deadline: qnet.Never, Limit: 5})
				s.run(time.Millisecond)
				busy.onPair = nil
				for seq := range busy.held {
					busy.free(seq)
				}
				s.done(5*time.Second, a, b)
				s.run(time.Second)
				s.rest()
			}
		}
	}
}

// A request of bounded rate has no more than rate·t+1 pairs at any time, and on a
// link that is fast nearly as many. A measured pair counts when it is handed up.
func TestRate(t *testing.T) {
	for _, c := range []struct {
		rate float64
		typ  link.Type
	}{{300, link.Keep}, {20_000, link.Keep}, {300, link.Measure}, {20_000, link.Measure}, {0.5, link.Keep}} {
		t.Run(fmt.Sprintf("%v at %g/s", c.typ, c.rate), func(t *testing.T) {
			t.Parallel()
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 40, probability: 0.3, length: 200, lanes: 2}})
			asked := s.loop.Now()
			r := link.Request{Type: c.typ, Rate: c.rate}
			id := s.users[1].stream(r)
			d := time.Duration(math.Max(1, 20/c.rate) * float64(time.Second))
			s.run(d)
			var created []qnet.Time
			for _, p := range s.users[0].order {
				created = append(created, p.Created)
			}
			created = append(created, s.users[0].measuredAt...)
			slices.Sort(created)
			for i, at := range created {
				if most := c.rate*at.Sub(asked).Seconds() + 1; float64(i+1) > most+1e-9 {
					t.Fatalf("%d pairs after %v, want at most %.3f", i+1, at.Sub(asked), most)
				}
			}
			if least := 0.95*c.rate*d.Seconds() - 1; float64(len(created)) < least {
				t.Errorf("%d pairs in %v, want at least %.0f", len(created), d, least)
			}
			s.end(id)
		})
	}
}
