package workload

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"qstack/link"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// draws is what a generator made: how many requests for each number of pairs, and
// how often so many cycles passed from one to the next, long waits in the last bin.
type draws struct{ pairs, gaps []int }

// byCycle draws requests as their law is stated, cycle by cycle: k uniform, then a
// request with the probability q/k.
func byCycle(rng *rand.Rand, low, high int, q float64, requests, bins int) draws {
	d := draws{make([]int, high+1), make([]int, bins)}
	gap := 0
	for range requests {
		for {
			gap++
			k := low + rng.IntN(high-low+1)
			if rng.Float64() < q/float64(k) {
				d.pairs[k]++
				d.gaps[min(gap, bins-1)]++
				gap = 0
				break
			}
		}
	}
	return d
}

// drawn draws as runs do.
func drawn(t *testing.T, rng *rand.Rand, low, high int, q float64, requests, bins int, poisson bool) draws {
	t.Helper()
	law := newPairsLaw(low, high)
	cycles := physical.Cycles{Period: 1000}
	s, err := newSource(rng, cycles, 0, q*law.inverse, poisson)
	if err != nil {
		t.Fatal(err)
	}
	d := draws{make([]int, high+1), make([]int, bins)}
	last := uint64(physical.CycleBase - 1)
	for range requests {
		at := s.next()
		cycle := cycles.From(at)
		if !poisson && cycles.Instant(cycle) != at {
			t.Fatalf("a request at %v, which is no cycle", at)
		}
		d.gaps[min(int(cycle-last), bins-1)]++
		last = cycle
		d.pairs[law.draw(rng)]++
	}
	return d
}

// TestRequestsAreThoseDrawnByCycle: chi-square of qnettest, false alarm 2.9e-7
// each.
func TestRequestsAreThoseDrawnByCycle(t *testing.T) {
	for _, x := range []struct {
		low, high int
		q         float64
	}{{1, 1, 0.3}, {2, 2, 1}, {1, 3, 0.05}, {2, 10, 0.5}, {1, 255, 1}} {
		rng := rand.New(rand.NewPCG(1, uint64(x.high)))
		const n, bins = 50_000, 200
		want := byCycle(rng, x.low, x.high, x.q, n, bins)
		got := drawn(t, rng, x.low, x.high, x.q, n, bins, false)
		qnettest.SameDistribution(t, "cycles between requests", got.gaps, want.gaps)
		if x.low == x.high {
			if got.pairs[x.low] != n {
				t.Errorf("%d of %d requests have %d pairs", got.pairs[x.low], n, x.low)
			}
			continue
		}
		qnettest.SameDistribution(t, "pairs", got.pairs, want.pairs)
		// And by the closed form: P(k) in proportion to 1/k.
		p := make([]float64, x.high+1)
		sum := 0.0
		for k := x.low; k <= x.high; k++ {
			sum += 1 / float64(k)
		}
		for k := x.low; k <= x.high; k++ {
			p[k] = 1 / float64(k) / sum
		}
		qnettest.Fit(t, "pairs", got.pairs, p)
	}
}

// TestPoisson: requests that come at any time are Poisson's: of their numbers in
// stretches of one cycle each.
func TestPoisson(t *testing.T) {
	cycles := physical.Cycles{Period: 1000}
	s, err := newSource(rand.New(rand.NewPCG(3, 4)), cycles, 0, 2.5, true) // more than one a cycle
	if err != nil {
		t.Fatal(err)
	}
	const n = 100_000
	counts := make([]int, 16)
	at := s.next()
	for i := range n {
		k := 0
		for at < qnet.Time(i+1)*1000 {
			k++
			at = s.next()
		}
		counts[min(k, len(counts)-1)]++
	}
	p := make([]float64, len(counts))
	left, term := 1.0, math.Exp(-2.5)
	for k := range p[:len(p)-1] {
		p[k] = term
		left -= term
		term *= 2.5 / float64(k+1)
	}
	p[len(p)-1] = left
	qnettest.Fit(t, "requests in a stretch", counts, p)
}

func TestSourceEdges(t *testing.T) {
	cycles := physical.Cycles{Period: 10.5}
	rng := rand.New(rand.NewPCG(1, 1))
	if _, err := newSource(rng, cycles, 0, 1.01, false); !errors.Is(err, qnet.ErrInvalid) || !strings.Contains(err.Error(), "poisson") {
		t.Errorf("more than one request a cycle: %v", err)
	}
	s, err := newSource(rng, cycles, 1000, 1, false) // one in every cycle
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if at, want := s.next(), cycles.Instant(cycles.From(1000)+uint64(i)); at != want {
			t.Errorf("request %d at %v, want %v", i, at, want)
		}
	}
	for _, poisson := range []bool{false, true} {
		if s, err = newSource(rng, cycles, 0, 1e-300, poisson); err != nil || s.next() != qnet.Never {
			t.Errorf("hardly any requests: not never, %v", err)
		}
	}
}

// TestCyclesPerAttempt: the figures that the campaign normalises its loads by,
// from the data sheets of the presets: 1.090 and 16.35.
func TestCyclesPerAttempt(t *testing.T) {
	for _, x := range []struct {
		preset string
		typ    scenario.RequestType
		store  bool
		stride uint64
		want   float64
	}{
		{"nv-lab", scenario.MeasurePairs, false, 1, 1},
		{"nv-lab", scenario.KeepPairs, false, 1, 1},
		{"nv-lab", scenario.KeepPairs, true, 0, 376. / 345},
		{"nv-ql2020", scenario.MeasurePairs, false, 15, 1},
		{"nv-ql2020", scenario.KeepPairs, false, 15, 15},
		{"nv-ql2020", scenario.KeepPairs, true, 15, 15 * 376. / 345},
		{"nv-ql2020", scenario.PreparePairs, true, 15, 15 * 376. / 345},
	} {
		s := parse(t, strings.ReplaceAll(presetWorkload, "PRESET", x.preset))
		w, err := newWorld(s, &Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := cyclesPerAttempt(x.typ, x.store, w.specs[0], w.ends[0].Cycles.Period, x.stride)
		if math.Abs(got-x.want) > 1e-9 {
			t.Errorf("%+v: got %.6f", x, got)
		}
		w.loop.Close()
	}
	if got := 15 * 376. / 345; math.Abs(got-16.35) > 0.005 || math.Abs(376./345-1.090) > 0.0005 {
		t.Errorf("%g is not the published one", got)
	}
	// Storage that keeps for ever is never initialised again.
	spec := &physical.Spec{Memory: &physical.Memory{Init: 1000, Indirect: true}}
	if got := cyclesPerAttempt(scenario.KeepPairs, true, spec, 10, 2); got != 2 {
		t.Errorf("storage without decay: %g", got)
	}
}

// points is what is expected of a link of which nothing but the fidelities of its
// operating points is known.
type points []link.Point

func (ps points) Expect(_ physical.LinkID, r link.Request) (best link.Quality, err error) {
	best.Point = -1
	for i, p := range ps {
		if p.Fidelity >= r.MinFidelity && (best.Point < 0 || p.Probability > ps[best.Point].Probability) {
			best.Point, best.Granted = i, p.Fidelity
		}
	}
	if best.Point < 0 {
		err = qnet.Errorf(qnet.ErrFidelity, "out of reach")
	}
	return best, err
}

func (ps points) Best(physical.LinkID, link.Request) (best link.Quality, _ error) {
	for i, p := range ps {
		if p.Fidelity > best.Granted {
			best.Point, best.Granted = i, p.Fidelity
		}
	}
	return best, nil
}

// TestDemand: the whole of the load is asked for, whatever the pairs per request.
func TestDemand(t *testing.T) {
	ends := [2]link.EndConfig{}
	spec := &physical.Spec{}
	for i := range ends {
		ends[i] = link.EndConfig{Name: "alice-bob", Cycles: physical.Cycles{Period: 1e4}, Points: []link.Point{{Probability: 0.01, Fidelity: 0.9}}, Stride: 5}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		low := 1 + rng.IntN(20)
		typ := &scenario.WorkloadType{Name: "x", Type: scenario.RequestType(rng.IntN(2)), Share: 1 + rng.Float64(), PairsMin: low, PairsMax: low + rng.IntN(30), Highest: true}
		load, shares := rng.Float64(), typ.Share+rng.Float64()
		d, err := newDemand(typ, load, shares, &ends, &[2]*physical.Spec{spec, spec}, []expecter{points(ends[0].Points)})
		if err != nil {
			t.Fatal(err)
		}
		// Requests per cycle, times the mean of their pairs, from the law as stated.
		requests, pairs := 0.0, 0.0
		for k := typ.PairsMin; k <= typ.PairsMax; k++ {
			e := 1.0
			if typ.Type == scenario.KeepPairs {
				e = 5
			}
			p := load * typ.Share / shares * 0.25 * 0.01 / (e * float64(k)) / float64(typ.PairsMax-typ.PairsMin+1)
			requests += p
			pairs += p * float64(k)
		}
		if got := d.perCycle(0.25); math.Abs(got/requests-1) > 1e-9 {
			t.Errorf("%+v: %g requests per cycle, want %g", typ, got, requests)
		}
		if got, want := d.offered(1e4)*0.25, pairs/1e-5; math.Abs(got/want-1) > 1e-9 {
			t.Errorf("%+v: %g pairs per second, want %g", typ, got, want)
		}
		if d.request.MinFidelity != 0.9 {
			t.Errorf("the highest fidelity is %g", d.request.MinFidelity)
		}
	}
	_, err := newDemand(&scenario.WorkloadType{Name: "x", PairsMin: 1, PairsMax: 1, Share: 1, MinFidelity: 0.95}, 1, 1, &ends, &[2]*physical.Spec{spec, spec}, []expecter{points(ends[0].Points)})
	if want := "requests of type x: out of reach"; !errors.Is(err, qnet.ErrFidelity) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

const presetWorkload = `version = 1
network.name = "preset"
hardware.nv = { preset = "PRESET" }
heralding.nv = { preset = "PRESET" }
nodes = [{ name = "alice", hardware = "nv" }, { name = "bob", hardware = "nv" }]
links = [{ nodes = ["alice", "bob"], heralding = "nv" }]
[workload]
load = 0.1
horizon = "100 s"
[[workload.type]]
name = "MD"
type = "measure"
`

func parse(t testing.TB, text string) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("test.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
