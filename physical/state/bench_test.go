package state_test

import (
	"math"
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

// sqrtSwap is the square root of the exchange of two qubits.
var sqrtSwap = [16]complex128{0: 1, 5: 0.5 + 0.5i, 6: 0.5 - 0.5i, 9: 0.5 - 0.5i, 10: 0.5 + 0.5i, 15: 1}

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
	{"Distil", func(tb testing.TB, w *state.World, rng *rand.Rand) { distil(tb, w, rng) }},
	{"Channels", func(tb testing.TB, w *state.World, rng *rand.Rand) { channels(tb, w, rng) }},
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

// distil is a step of DEJMPS, by gates.
func distil(tb testing.TB, w *state.World, rng *rand.Rand) {
	var err error
	try := func(e error) {
		if e != nil {
			err = e
		}
	}
	w.Pair(0, 1, 0, dephasing, dephasing, ions)
	w.Pair(2, 3, 0, dephasing, dephasing, ions)
	for q := range state.ID(4) {
		try(w.Gate1(q, 0, physical.GateRX, math.Pi/2*float64(1-2*int(q&1))))
	}
	for q := range state.ID(2) {
		try(w.Gate2(q, 2+q, 0, physical.GateCNOT, 0.005))
		_, e := w.MeasureNoisy(2+q, 0, qnet.BasisZ, uneven.ReadoutA, rng)
		try(e)
	}
	for q := range state.ID(4) {
		w.Free(q, 0)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// channels goes through what a pair can meet.
func channels(tb testing.TB, w *state.World, rng *rand.Rand) {
	w.Entangle(0, 1, 0, relaxing, dephasing, &[16]complex128{5: 0.5, 6: 0.5i, 9: -0.5i, 10: 0.5})
	_, err := w.BellFidelity(1000, 0, 1, qnet.PsiPlus)
	for _, e := range []error{
		w.Depolarise(0, 1000, 0.1), w.Pauli(1, 1000, 0.1, 0.1, 0), w.DampAmplitude(0, 1000, 0.2), w.Depolarise2(0, 1, 1000, 0.1),
		w.Unitary1(0, 1000, [4]complex128{1, 0, 0, 1i}), w.Unitary2(0, 1, 1000, &sqrtSwap),
	} {
		if e != nil {
			err = e
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
	w.Free(0, 1000)
	w.Free(1, 1000)
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

var (
	swapNoise = state.Imperfection{
		Gate1: state.Noise{Depolarise: 0.001}, Gate2: state.Noise{Depolarise: 0.005, Dephase: 0.001},
		ReadoutA: state.Readout{Flip0: 0.002, Flip1: 0.002}, ReadoutB: state.Readout{Flip0: 0.002, Flip1: 0.002},
	}
	uneven = state.Imperfection{Gate2: state.Noise{Depolarise: 0.005}, ReadoutA: state.Readout{Flip0: 0.001, Flip1: 0.003}, ReadoutB: state.Readout{Flip0: 0.004}}
)

// chain prepares the pairs 0–1, 2–3, and so on.
func chain(w *state.World, links int, d state.Decay) {
	for l := range state.ID(links) {
		w.Pair(2*l, 2*l+1, 0, d, d, ions)
	}
}

func swapChain(b *testing.B, w *state.World, links int, m *state.Imperfection, rng *rand.Rand) {
	for l := range state.ID(links - 1) {
		if _, err := w.BellMeasure(2*l+1, 2*l+2, qnet.Time(1000*(l+1)), m, rng); err != nil {
			b.Fatal(err)
		}
	}
}

// The swaps alone, of pairs that were prepared beforehand and have decayed since.
func BenchmarkSwap(b *testing.B) {
	const links = 1000
	for _, bench := range []struct {
		name  string
		decay state.Decay
		noise *state.Imperfection
	}{{"BellDiagonal", dephasing, &swapNoise}, {"UnevenReadout", dephasing, &uneven}, {"Relaxing", relaxing, &swapNoise}} {
		b.Run(bench.name, func(b *testing.B) {
			var w state.World
			rng := qnet.NewRand(12, "swap")
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				chain(&w, links, bench.decay)
				b.StartTimer()
				swapChain(b, &w, links, bench.noise, rng)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(links-1), "ns/swap")
		})
	}
}

// A chain of a thousand links, prepared, swapped end to end and looked at.
func BenchmarkChain1000(b *testing.B) {
	var w state.World
	rng := qnet.NewRand(13, "chain")
	b.ReportAllocs()
	for b.Loop() {
		chain(&w, 1000, dephasing)
		swapChain(b, &w, 1000, &swapNoise, rng)
		if _, err := w.BellFidelity(1e6, 0, 1999, qnet.PhiPlus); err != nil {
			b.Fatal(err)
		}
	}
}

// Both halves of a pair decay until their next touch.
func BenchmarkDecay(b *testing.B) {
	for _, bench := range []struct {
		name  string
		decay state.Decay
	}{{"BellDiagonal", state.Decay{T2: 1, Depolarise: 0.1}}, {"Stretched", state.Decay{T2: 1, Stretch: 1.5}}, {"Relaxing", relaxing}} {
		b.Run(bench.name, func(b *testing.B) {
			var w state.World
			w.Pair(0, 1, 0, bench.decay, bench.decay, ions)
			b.ReportAllocs()
			var t qnet.Time
			for b.Loop() {
				t++
				if w.Dephase(0, t, 0) != nil || w.Dephase(1, t, 0) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkDistil(b *testing.B) {
	for b.Loop() {
		state.DEJMPS(ions, ions, &swapNoise, &swapNoise)
	}
}

// A GHZ state of a thousand qubits that outgrows the density matrix, prepared and
// measured.
func BenchmarkGHZ1000(b *testing.B) {
	rng := qnet.NewRand(14, "ghz")
	for b.Loop() {
		w := state.World{Rand: rng}
		ghz(b, &w, 1000)
		for q := range state.ID(1000) {
			if _, err := w.Measure(q, 0, qnet.BasisZ, rng); err != nil {
				b.Fatal(err)
			}
		}
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
		{"Unitary2", func(w *state.World, i state.ID) error {
			return w.Unitary2(i%10, (i+3)%10, 0, &sqrtSwap)
		}},
		{"Kraus2", func(w *state.World, i state.ID) error {
			return w.Kraus2(i%10, (i+3)%10, 0, [16]complex128{0: 0.6, 5: 0.6, 10: 0.6, 15: 0.6}, [16]complex128{2: 0.8, 7: 0.8, 8: 0.8, 13: 0.8})
		}},
		{"DampAmplitude", func(w *state.World, i state.ID) error {
			return w.DampAmplitude(i%10, 0, 0.001)
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
