package link_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// refLane is one lane of the reference: both its qubits attempt in every cycle
// that begins after they are ready, and a success makes them busy.
type refLane struct {
	ready float64 // ns
}

// reference makes attempts one by one, lane by lane, until there are n
// successes, and returns their cycles in order. After a success in a cycle the
// lane is busy for so long, from the emission. This is what the layer under test
// must look like; it shares no code with it.
func reference(rng *rand.Rand, n, lanes int, p, period, busy float64) (cycles []uint64) {
	ls := make([]refLane, lanes)
	for c := uint64(0); len(cycles) < n; c++ {
		now := float64(c) * period
		for i := range ls {
			if now > ls[i].ready || c == 0 {
				if rng.Float64() < p {
					cycles = append(cycles, c)
					ls[i].ready = now + busy
				}
			}
		}
	}
	return cycles
}

// The waiting times of kept pairs are those of attempts made one by one, whatever
// the dead time after a success: chi-square of the times between successes.
func TestWaitingTimes(t *testing.T) {
	for _, c := range []struct {
		p      float64
		length float64
		init   time.Duration
		period float64
	}{
		{p: 1, period: 1000},
		{p: 0.5, period: 1000},
		{p: 0.05, period: 1000},
		{p: 0.05, period: 1000, length: 200, init: 3700 * time.Nanosecond},
		{p: 0.2, period: 1200.48, length: 2, init: 10 * time.Microsecond},
		{p: 0.01, period: 333.3, length: 2000},
	} {
		t.Run(fmt.Sprintf("p=%g,length=%g,init=%v", c.p, c.length, c.init), func(t *testing.T) {
			t.Parallel()
			const n = 20_000
			w := newWorld(t, worldConfig{seed: 11, probability: c.p, period: c.period, length: c.length, spec: physical.Spec{Init: c.init}})
			id := w.ends[0].keep(n)
			w.runUntil(time.Hour, func() bool { return w.ended(id) })
			got := gaps(w, w.ends[0].requests[id].pairs)
			// A success frees the qubits when its REPLY has come, and they are
			// initialised.
			busy := float64(2*w.half + c.init)
			ref := reference(rand.New(rand.NewPCG(5, 5)), n, 1, c.p, c.period, busy)
			most := uint64(busy/c.period) + uint64(12/c.p) + 2
			a, b := make([]int, most), make([]int, most)
			for i := 1; i < n; i++ {
				bin(a, got[i-1])
				bin(b, ref[i]-ref[i-1])
			}
			if c.p == 1 {
				if !slices.Equal(a, b) {
					t.Errorf("got gaps %v, want %v", a, b)
				}
				return
			}
			qnettest.SameDistribution(t, "cycles between pairs", a, b)
			w.run(time.Second)
			w.rest()
		})
	}
}

// gaps returns the cycles between pairs.
func gaps(w *world, pairs []link.Pair) []uint64 {
	var g []uint64
	for i := 1; i < len(pairs); i++ {
		g = append(g, w.cycles.From(pairs[i].Created)-w.cycles.From(pairs[i-1].Created))
	}
	return g
}

// Many lanes attempt independently: chi-square of the number of successes in
// each cycle, and of the cycles between successes of one lane after the other
// when there is a dead time.
func TestManyLanes(t *testing.T) {
	const n = 50_000
	const lanes, p = 64, 0.02
	t.Run("each cycle", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, worldConfig{seed: 3, probability: p, lanes: lanes})
		id := w.ends[1].keep(n)
		w.runUntil(time.Hour, func() bool { return w.ended(id) })
		var cycles []uint64
		for _, p := range w.ends[0].requests[id].pairs {
			cycles = append(cycles, w.cycles.From(p.Created))
		}
		ref := reference(rand.New(rand.NewPCG(6, 6)), n, lanes, p, 1000, 0)
		qnettest.SameDistribution(t, "pairs in a cycle", perCycle(cycles), perCycle(ref))
		w.run(time.Second)
		w.rest()
	})
	t.Run("dead time", func(t *testing.T) {
		t.Parallel()
		const init = 20_500 * time.Nanosecond
		w := newWorld(t, worldConfig{seed: 4, probability: p, lanes: lanes, spec: physical.Spec{Init: init}})
		id := w.ends[0].keep(n)
		w.runUntil(time.Hour, func() bool { return w.ended(id) })
		pairs := w.ends[0].requests[id].pairs
		// In equilibrium; cycles far enough apart to be as good as independent.
		got := spaced(w.cycles.From(pairs[0].Created), func(i int) (uint64, bool) {
			if i >= len(pairs) {
				return 0, false
			}
			return w.cycles.From(pairs[i].Created), true
		})
		ref := reference(rand.New(rand.NewPCG(7, 7)), 10*n, lanes, p, 1000, float64(init))
		want := spaced(0, func(i int) (uint64, bool) {
			if i >= len(ref) {
				return 0, false
			}
			return ref[i], true
		})
		qnettest.SameDistribution(t, "pairs in every 200th cycle", got, want)
	})
}

// perCycle returns how many cycles have so many successes.
func perCycle(cycles []uint64) []int {
	h := make([]int, 64)
	for i := 0; i < len(cycles); {
		j := i
		for j < len(cycles) && cycles[j] == cycles[i] {
			j++
		}
		if j == len(cycles) {
			break // the request may have ended before the cycle did
		}
		h[j-i]++
		if i > 0 {
			h[0] += int(cycles[i] - cycles[i-1] - 1)
		}
		i = j
	}
	return h
}

// spaced returns how many of every 200th cycle have so many successes.
func spaced(first uint64, cycle func(int) (uint64, bool)) []int {
	h := make([]int, 16)
	i := 0
	for at := first + 1000; ; at += 200 {
		k := uint64(0)
		for {
			c, ok := cycle(i)
			if !ok {
				return h
			}
			if c > at {
				break
			}
			if c == at {
				k++
			}
			i++
		}
		bin(h, k)
	}
}

// Measuring directly, the dead time after each success is the herald's round
// trip, the measurement and the initialisation: chi-square as for kept pairs.
func TestBulkWaitingTimes(t *testing.T) {
	for _, c := range []struct {
		p      float64
		length float64
		spec   physical.Spec
	}{
		{p: 0.1},
		{p: 0.05, length: 500, spec: physical.Spec{Init: 1300 * time.Nanosecond, Gate1: 250 * time.Nanosecond, Readout: 4 * time.Microsecond}},
	} {
		t.Run(fmt.Sprintf("p=%g", c.p), func(t *testing.T) {
			t.Parallel()
			const n = 30_000
			w := newWorld(t, worldConfig{seed: 12, probability: c.p, length: c.length, spec: c.spec})
			src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}}
			w.ends[1].bases = src
			id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: n, Deadline: qnet.Never, Limit: n, Bases: src})
			w.runUntil(time.Hour, func() bool { return w.ended(id) })
			got := checkMeasured(t, w, id, n)
			busy := float64(2*w.half + c.spec.Init + c.spec.Gate1 + c.spec.Readout)
			ref := reference(rand.New(rand.NewPCG(8, 8)), n, 1, c.p, 1000, busy)
			a, b := make([]int, 400), make([]int, 400)
			for i := 1; i < n; i++ {
				bin(a, w.cycles.From(got[i].Created)-w.cycles.From(got[i-1].Created))
				bin(b, ref[i]-ref[i-1])
			}
			qnettest.SameDistribution(t, "cycles between measured pairs", a, b)
			w.run(time.Second)
			w.rest()
		})
	}
}

// A measured request uses all lanes, which attempt independently: chi-square of
// the number of successes in each cycle.
func TestBulkOfManyLanes(t *testing.T) {
	const n = 60_000
	const lanes, p = 64, 0.02
	w := newWorld(t, worldConfig{seed: 13, probability: p, lanes: lanes})
	src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}}
	w.ends[1].bases = src
	id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: n, Deadline: qnet.Never, Limit: n, Bases: src})
	w.runUntil(time.Hour, func() bool { return w.ended(id) })
	var cycles []uint64
	for _, m := range checkMeasured(t, w, id, n) {
		cycles = append(cycles, w.cycles.From(m.Created))
	}
	slices.Sort(cycles)
	// The last of some lanes' frames are not those of others.
	last := cycles[n-1] - uint64(4*time.Millisecond/time.Microsecond)
	end, _ := slices.BinarySearch(cycles, last)
	ref := reference(rand.New(rand.NewPCG(9, 9)), n, lanes, p, 1000, 0)
	qnettest.SameDistribution(t, "measured pairs in a cycle", perCycle(cycles[:end]), perCycle(ref))
	w.run(time.Second)
	w.rest()
}

// checkMeasured checks that both ends have the same n measured pairs, with
// perfect correlations, and returns one end's.
func checkMeasured(t *testing.T, w *world, id link.RequestID, n int) []link.Measured {
	t.Helper()
	a, b := w.ends[0].requests[id].measured, w.ends[1].requests[id].measured
	if len(a) != n || len(b) != n {
		t.Fatalf("%d and %d pairs, want %d", len(a), len(b), n)
	}
	byName := func(a, b link.Measured) int { return cmp.Compare(a.Seq, b.Seq) }
	slices.SortFunc(a, byName) // each lane is in order, but not one lane with another
	slices.SortFunc(b, byName)
	same, agree := 0, 0
	for i := range a {
		x, y := a[i], b[i]
		if x.Seq != y.Seq || x.Label != y.Label || x.Created != y.Created {
			t.Fatalf("pair %d: %+v at one end, %+v at the other", i, x, y)
		}
		if i > 0 && x.Seq == a[i-1].Seq {
			t.Fatalf("pair %d came twice", x.Seq)
		}
		if x.Basis == y.Basis {
			same++
			if x.Bit == y.Bit {
				agree++
			}
		}
	}
	// Bases are drawn by each end for itself: half of them agree, within 5 standard
	// deviations. Φ+ gives equal bits in X and Z.
	if d := float64(same) - float64(n)/2; d*d > 25*float64(n)/4 {
		t.Errorf("the bases of %d of %d pairs are equal", same, n)
	}
	if agree != same {
		t.Errorf("bits of %d pairs differ in one basis", same-agree)
	}
	return a
}

// A request for few measured pairs lasts no longer than its attempts, and a cycle to
// begin with: where each attempt succeeds, n pairs take n cycles and one for each
// request.
func TestFewMeasuredPairs(t *testing.T) {
	for _, each := range []uint64{1, 2, 3, 10, 50} {
		w := newWorld(t, worldConfig{seed: 41, probability: 1, period: 1e5, length: 20, scheduler: func() link.Scheduler { return link.FCFS{} }})
		var ids []link.RequestID
		const pairs = 600
		for range pairs / each {
			ids = append(ids, w.ends[0].create(link.Request{Type: link.Measure, Pairs: each, Limit: each, Deadline: qnet.Never, PeerBases: physical.BasisSource{Bases: []qnet.Basis{qnet.BasisZ}}}))
		}
		began := w.loop.Now()
		w.runUntil(10*time.Second, func() bool { return w.ended(ids[len(ids)-1]) })
		cycles := float64(w.loop.Now().Sub(began)) / w.cfg.period
		// It is looked at every 10 ms, 100 cycles.
		if most := float64(pairs+len(ids)) + 102; cycles > most {
			t.Errorf("%d pairs for requests of %d took %.0f cycles, want at most %.0f", pairs, each, cycles, most)
		}
		w.run(time.Second)
		w.rest()
	}
}
