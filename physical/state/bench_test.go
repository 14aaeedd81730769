package state_test

import (
	"math/rand/v2"
	"testing"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

var (
	dephasing = state.Decay{T2: 1}
	relaxing  = state.Decay{T1: 10, T2: 1}
	ions      = [4]float64{0.94, 0.03, 0.02, 0.01}
)

// The cycles of use that a network repeats for ever. Each ends with an empty world.
var cycles = []struct {
	name string
	run  func(tb testing.TB, w *state.World, rng *rand.Rand)
}{
	{"PairMeasureMeasure", func(tb testing.TB, w *state.World, rng *rand.Rand) { pairMeasureMeasure(tb, w, rng, dephasing) }},
	{"PairPairSwap", func(tb testing.TB, w *state.World, rng *rand.Rand) { pairPairSwap(tb, w, rng, dephasing) }},
	{"Teleport", func(tb testing.TB, w *state.World, rng *rand.Rand) {
		teleport(tb, w, rng, dephasing)
		if err := w.Gate1(2, 2000, physical.GateX, 0); err != nil {
			tb.Fatal(err)
		}
		w.Free(2, 2000)
	}},
	{"TeleportRelaxing", func(tb testing.TB, w *state.World, rng *rand.Rand) {
		teleport(tb, w, rng, relaxing)
		w.Free(2, 2000)
	}},
	{"PairPairSwapRelaxing", func(tb testing.TB, w *state.World, rng *rand.Rand) { pairPairSwap(tb, w, rng, relaxing) }},
	{"PairRelaxingMeasureMeasure", func(tb testing.TB, w *state.World, rng *rand.Rand) { pairMeasureMeasure(tb, w, rng, relaxing) }},
}

func pairMeasureMeasure(tb testing.TB, w *state.World, rng *rand.Rand, d state.Decay) {
	w.Pair(0, 1, 0, d, d, ions)
	for q := range state.ID(2) {
		if _, err := w.Measure(q, 1000*qnet.Time(q+1), qnet.BasisX, rng); err != nil {
			tb.Fatal(err)
		}
	}
	w.Free(0, 2000)
	w.Free(1, 2000)
}

func pairPairSwap(tb testing.TB, w *state.World, rng *rand.Rand, d state.Decay) {
	w.Pair(0, 1, 0, d, d, ions)
	w.Pair(2, 3, 500, d, d, ions)
	if _, err := w.BSM(1, 2, 1000, 0.005, 0.002, rng); err != nil {
		tb.Fatal(err)
	}
	w.Free(0, 2000)
	w.Free(3, 2000)
}

// teleport leaves the qubit 2.
func teleport(tb testing.TB, w *state.World, rng *rand.Rand, d state.Decay) {
	w.Zero(0, 0, d)
	w.Pair(1, 2, 0, d, d, ions)
	if _, err := w.BSM(0, 1, 1000, 0.005, 0.002, rng); err != nil {
		tb.Fatal(err)
	}
}

// In steady state the hot paths do not allocate.
func TestAllocations(t *testing.T) {
	for _, cycle := range cycles {
		t.Run(cycle.name, func(t *testing.T) {
			var w state.World
			rng := qnet.NewRand(10, cycle.name)
			if n := testing.AllocsPerRun(1000, func() { cycle.run(t, &w, rng) }); n != 0 {
				t.Errorf("%v allocations per cycle", n)
			}
			if w.Count() != 0 {
				t.Errorf("%d qubits left", w.Count())
			}
		})
	}
}

func BenchmarkCycle(b *testing.B) {
	for _, cycle := range cycles {
		b.Run(cycle.name, func(b *testing.B) {
			var w state.World
			rng := qnet.NewRand(11, cycle.name)
			b.ReportAllocs()
			for b.Loop() {
				cycle.run(b, &w, rng)
			}
		})
	}
}

// A cycle is one Pair and one swap with noise that joins it to a chain, which
// starts anew, with one more Pair, every eight links.
func BenchmarkSwap(b *testing.B) {
	var w state.World
	rng := qnet.NewRand(12, "swap")
	b.ReportAllocs()
	end, a, c := state.ID(1), state.ID(2), state.ID(3)
	t := qnet.Time(0)
	for n := 0; b.Loop(); n++ {
		if n%8 == 0 {
			w.Pair(0, end, t, dephasing, dephasing, ions)
		}
		w.Pair(a, c, t, dephasing, dephasing, ions)
		t += 1000
		if _, err := w.BSM(end, a, t, 0.005, 0.002, rng); err != nil {
			b.Fatal(err)
		}
		end, c = c, end
	}
}

func BenchmarkBellFidelity(b *testing.B) {
	var w state.World
	w.Pair(0, 1, 0, dephasing, dephasing, ions)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.BellFidelity(1000, 0, 1, qnet.PhiPlus); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDense10(b *testing.B) {
	for _, bench := range []struct {
		name string
		run  func(w *state.World, i state.ID) error
	}{
		{"CNOT", func(w *state.World, i state.ID) error {
			return w.Gate2(i%10, (i+1)%10, 0, physical.GateCNOT, 0)
		}},
		{"CZ", func(w *state.World, i state.ID) error {
			return w.Gate2(i%10, (i+1)%10, 0, physical.GateCZ, 0)
		}},
		{"CNOTDepolarising", func(w *state.World, i state.ID) error {
			return w.Gate2(i%10, (i+1)%10, 0, physical.GateCNOT, 0.005)
		}},
		{"RY", func(w *state.World, i state.ID) error {
			return w.Gate1(i%10, 0, physical.GateRY, 0.3)
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var w state.World
			ghz(b, &w, state.MaxQubits)
			var i state.ID
			for b.Loop() {
				if err := bench.run(&w, i); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
