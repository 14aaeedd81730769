package node_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"qstack/app/expect"
	"qstack/network"
	"qstack/node"
	"qstack/node/scenario"
)

// randomChain draws a chain of nodes: how long its links are, how often and how
// well they herald and by which model, memories, gates, read-out and cut-offs.
func randomChain(rng *rand.Rand, nodes int) *scenario.Scenario {
	between := func(lo, hi float64) float64 { return lo + (hi-lo)*rng.Float64() }
	duration := func(lo, hi time.Duration) time.Duration { return time.Duration(between(float64(lo), float64(hi))) }
	s := perfect(nodes, 1)
	s.Seed = rng.Uint64()
	memory := rng.IntN(2)
	for i := range s.Nodes {
		h := &s.Nodes[i].Hardware
		*h = scenario.Hardware{Name: "drawn", Init: duration(0, 20*time.Microsecond), Gate1: duration(0, 10*time.Microsecond),
			Gate2: duration(0, 100*time.Microsecond), Readout: duration(0, 300*time.Microsecond),
			Gate2Depolarising: between(0, 0.02), ReadoutError: between(0, 0.01)}
		if memory == 0 {
			h.T2 = between(0.1, 1)
		} else {
			h.Depolarising = between(0.2, 2)
		}
		if i > 0 && i < nodes-1 && rng.IntN(3) == 0 {
			s.Nodes[i].Cutoff = duration(10*time.Millisecond, 40*time.Millisecond)
		}
	}
	for i := range s.Links {
		l := &s.Links[i]
		l.Length = between(1, 5000)
		l.Heralding = scenario.Heralding{Model: scenario.Ideal, AttemptRate: between(5e4, 1e6), Fidelity: between(0.9, 1)}
		l.Heralding.Probability = between(100, 400) / l.Heralding.AttemptRate // pairs a second
		if rng.IntN(2) == 0 {
			l.Heralding.Model = scenario.DoubleClick
			l.Heralding.Efficiency = math.Sqrt(2 * l.Heralding.Probability)
			l.Heralding.Visibility = between(0.8, 1)
			l.Heralding.DarkCounts = between(0, 1e-5)
		}
	}
	return s
}

// Chains of three to five nodes, drawn from a seed: both ends have the same pairs,
// and the three correlators, the fidelity and the rate are those of the independent
// calculation, within 5 standard errors of both: one false alarm in 1.7 million
// for each quantity.
func TestRandomChains(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds, and with one goroutine the race detector has nothing to find")
	}
	const pairs = 9000
	for seed := range uint64(12) {
		nodes := 3 + int(seed%3)
		t.Run(fmt.Sprintf("seed %d, %d nodes", seed, nodes), func(t *testing.T) {
			t.Parallel()
			s := randomChain(rand.New(rand.NewPCG(seed, 77)), nodes)
			tail := s.Nodes[nodes-1].Name
			e, err := expect.Compute(s, "n0", tail, expect.Options{Seed: seed, Pairs: 100_000})
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, s, node.Options{})
			r := w.connect("n0", tail)
			start := w.loop.Now()
			for i := range 3 {
				bases := xyz
				bases.Weights = make([]float64, 3)
				bases.Weights[i] = 1
				r.ask(network.Request{ID: uint64(i), Pairs: pairs / 3, Measure: true, PeerMeasures: true, Bases: bases, Corrector: network.CorrectorHead})
			}
			if !w.runUntil(time.Hour, func() bool { return r.isDone(0) && r.isDone(1) && r.isDone(2) }) {
				t.Fatal(w.state())
			}
			for i := range uint64(3) {
				r.checkSame(i, pairs/3)
			}
			mean, n := r.correlators()
			mean[1] = -mean[1]
			within := func(what string, got float64, want expect.Value, stderr float64) {
				t.Helper()
				t.Logf("%s %.4f, want %.4f ± %.4f: %.1f standard errors", what, got, want.Mean, stderr, (got-want.Mean)/stderr)
				if !expect.Within5SE(got, want.Mean, stderr) {
					t.Errorf("%s %.4f, want %.4f ± %.4f", what, got, want.Mean, stderr)
				}
			}
			f := 0.25
			for i, want := range []expect.Value{e.XX, e.YY, e.ZZ} {
				within([]string{"XX", "YY", "ZZ"}[i], mean[i], want, math.Hypot(want.StdErr, math.Sqrt((1-want.Mean*want.Mean)/float64(n[i]))))
				f += mean[i] / 4
			}
			within("fidelity", f, e.Fidelity, e.FidelityStdErr(pairs))
			elapsed := r.ends[0].pairs[pairs-1].At.Sub(start)
			within("rate", pairs/elapsed.Seconds(), e.Rate(), e.RateStdErr(pairs))
			w.rest()
		})
	}
}

// A kept pair's estimate is that of its own history: on average it is the
// fidelity that the oracle sees when both ends have the pair.
func TestEstimates(t *testing.T) {
	const pairs = 2000
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			s := randomChain(rand.New(rand.NewPCG(seed, 78)), 3+int(seed%2))
			tail := s.Nodes[len(s.Nodes)-1].Name
			w := newWorld(t, s, node.Options{})
			r := w.connect("n0", tail)
			r.hold = 20 * time.Millisecond
			var seen, said float64
			n := 0
			oracle := w.net.Fabric.Oracle()
			r.both = func(a, b network.Delivery) {
				f, err := oracle.BellFidelity(w.loop.Now(), a.Qubit, b.Qubit, a.Label)
				if err != nil {
					return // one end had it for too long
				}
				n++
				seen += f
				if a.At > b.At {
					said += a.Fidelity
				} else {
					said += b.Fidelity
				}
			}
			r.keep(1, pairs)
			if !w.runUntil(time.Hour, func() bool { return r.isDone(1) }) {
				t.Fatal(w.state())
			}
			if n < pairs*9/10 {
				t.Errorf("both ends had %d of %d pairs", n, pairs)
			}
			t.Logf("oracle %.4f, estimate %.4f over %d pairs", seen/float64(n), said/float64(n), n)
			if d := (seen - said) / float64(n); math.Abs(d) > 0.005 {
				t.Errorf("fidelity %.4f on average, estimated %.4f", seen/float64(n), said/float64(n))
			}
			w.rest()
		})
	}
}
