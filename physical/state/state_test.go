package state_test

import (
	"math"
	"math/cmplx"
	"slices"
	"strings"
	"testing"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/physical/state/densetest"
	"qstack/qnet"
)

const (
	tolerance = 1e-10
	second    = qnet.Time(1e9)
)

// Memories that do not decay, of the world and of the reference.
var (
	perfect = state.Decay{}
	still   = densetest.Decay{}
)

type (
	matrix    = densetest.Matrix
	reference = densetest.World[state.ID]
	tb        = densetest.TB
)

func check(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

func density(t tb, w *state.World, at qnet.Time, qs ...state.ID) matrix {
	t.Helper()
	flat, err := w.Density(at, qs...)
	check(t, err)
	if n := 1 << (2 * len(qs)); len(flat) != n {
		t.Fatalf("density matrix of %d qubits has %d elements, want %d", len(qs), len(flat), n)
	}
	return densetest.Square(flat)
}

func wantDensity(t tb, what string, got, want matrix) {
	t.Helper()
	densetest.Compare(t, tolerance, what, got, want)
}

// wantState checks that m is a density matrix: Hermitian, trace 1, positive.
func wantState(t tb, m matrix) {
	t.Helper()
	m.CheckState(t, tolerance)
}

func wantClose(t tb, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) < tolerance) {
		t.Fatalf("%s is %.12g, want %.12g", what, got, want)
	}
}

var decays = []state.Decay{
	{},
	{T2: 0.7},
	{Depolarise: 1.1},
	{T2: 2, Depolarise: 0.3},
	{T1: 1.5},
	{T1: 1, T2: 1.2},
	{T1: 2, T2: 4, Depolarise: 0.8},
	{T2: 0.9, Stretch: 2},
	{T1: 1.7, T2: 1.4, Depolarise: 0.2, Stretch: 1.5},
}

func pure(l qnet.BellLabel) (w [4]float64) {
	w[l] = 1
	return w
}

// dense makes the world hold the clusters of some qubits by density matrices,
// by a channel that does nothing to them.
func dense(t tb, w *state.World, at qnet.Time, qs ...state.ID) {
	t.Helper()
	for _, q := range qs {
		check(t, w.DampAmplitude(q, at, 0))
	}
}

// ghz prepares (|0…0⟩+|1…1⟩)/√2 on qubits 0 to n−1.
func ghz(t tb, w *state.World, n int) {
	t.Helper()
	for q := range state.ID(n) {
		w.Zero(q, 0, perfect)
	}
	check(t, w.Gate1(0, 0, physical.GateH, 0))
	for q := range state.ID(n - 1) {
		check(t, w.Gate2(q, q+1, 0, physical.GateCNOT, 0))
	}
}

func TestLargestCluster(t *testing.T) {
	rng := qnet.NewRand(8, "ghz")
	var w state.World
	ghz(t, &w, state.MaxQubits)
	all := []state.ID{9, 1, 2, 3, 4, 5, 6, 7, 8, 0}
	rho := density(t, &w, 0, all...)
	for i := range rho {
		for j, x := range rho[i] {
			want := 0.0
			if (i == 0 || i == len(rho)-1) && (j == 0 || j == len(rho)-1) {
				want = 0.5
			}
			if cmplx.Abs(x-complex(want, 0)) > tolerance {
				t.Fatalf("element %d,%d is %g, want %g", i, j, x, want)
			}
		}
	}

	w.Zero(10, 0, perfect)
	w.Pair(11, 12, 0, perfect, perfect, pure(qnet.PhiPlus))
	for _, b := range []state.ID{10, 11} {
		err := w.Gate2(9, b, second, physical.GateCNOT, 0)
		if qnet.CodeOf(err) != qnet.ErrTooLarge {
			t.Fatalf("gate beyond the largest cluster: %v", err)
		}
	}
	w.Pair(13, 14, 0, perfect, perfect, pure(qnet.PhiPlus))
	w.Pair(15, 16, 0, perfect, perfect, pure(qnet.PhiPlus))
	check(t, w.Gate2(14, 15, 0, physical.GateCZ, 0))
	_, err := w.BSM(9, 13, second, 0, 0, rng) // leaves 9+3
	if qnet.CodeOf(err) != qnet.ErrTooLarge {
		t.Fatalf("Bell measurement beyond the largest cluster: %v", err)
	}
	after := density(t, &w, 0, all...) // at 0, so nothing was touched
	for i := range rho {
		if !slices.Equal(rho[i], after[i]) {
			t.Fatalf("row %d changed by refused operations", i)
		}
	}

	// One measurement collapses all; the cluster shrinks, and there is room again.
	first, err := w.Measure(4, 0, qnet.BasisZ, rng)
	check(t, err)
	check(t, w.Gate2(9, 10, 0, physical.GateCNOT, 0))
	for q := range state.ID(11) {
		bit, err := w.Measure(q, 0, qnet.BasisZ, rng)
		check(t, err)
		if bit != first {
			t.Errorf("qubit %d of a GHZ state gave %d after %d", q, bit, first)
		}
		w.Free(q, 0)
	}
	for q := state.ID(11); q < 17; q++ {
		w.Free(q, 0)
	}
	if w.Count() != 0 {
		t.Errorf("%d qubits left", w.Count())
	}
}

func TestReplace(t *testing.T) {
	var w state.World
	w.Pair(0, 1, 0, perfect, perfect, pure(qnet.PhiPlus))
	w.Zero(0, 0, perfect)
	wantDensity(t, "prepared again", density(t, &w, 0, 0), densetest.Unit(0, 0))
	wantDensity(t, "its former partner", density(t, &w, 0, 1), densetest.Mixed)
	w.Pair(1, 2, 0, perfect, perfect, pure(qnet.PsiMinus))
	wantDensity(t, "paired again", density(t, &w, 0, 2, 1), densetest.Bell(qnet.PsiMinus))
	if w.Count() != 3 {
		t.Errorf("%d qubits, want 3", w.Count())
	}
	w.Pair(1, 1, 0, perfect, perfect, pure(qnet.PsiMinus))
	if w.Has(1) || w.Count() != 2 {
		t.Errorf("a pair of one qubit left %d qubits", w.Count())
	}
	w.Free(77, 0)
	if w.Count() != 2 {
		t.Errorf("freeing nothing left %d qubits", w.Count())
	}
}

func TestErrors(t *testing.T) {
	rng := qnet.NewRand(9, "errors")
	nan := math.NaN()
	tests := []struct {
		name string
		do   func(w *state.World) error
		code qnet.Code
		text string
	}{
		{"no qubit", func(w *state.World) error { return w.Gate1(9, second, physical.GateX, 0) }, qnet.ErrBadQubit, "qubit 9 does not exist"},
		{"freed qubit", func(w *state.World) error { _, err := w.Measure(3, second, qnet.BasisX, rng); return err }, qnet.ErrBadQubit, "qubit 3 does not exist"},
		{"second qubit", func(w *state.World) error { _, err := w.BSM(0, 3, second, 0, 0, rng); return err }, qnet.ErrBadQubit, "qubit 3 does not exist"},
		{"past", func(w *state.World) error { return w.Gate1(0, second/2, physical.GateX, 0) }, qnet.ErrInvalid, "touched at 1s already"},
		{"past of an oracle", func(w *state.World) error { _, err := w.BellFidelity(0, 0, 1, 0); return err }, qnet.ErrInvalid, "instants must not decrease"},
		{"two for one", func(w *state.World) error { return w.Gate1(0, second, physical.GateCNOT, 0) }, qnet.ErrInvalid, "no gate of one qubit"},
		{"one for two", func(w *state.World) error { return w.Gate2(0, 1, second, physical.GateH, 0) }, qnet.ErrInvalid, "no gate of two qubits"},
		{"unknown gate", func(w *state.World) error { return w.Gate1(0, second, physical.GateEnd, 0) }, qnet.ErrInvalid, "no gate of one qubit"},
		{"angle", func(w *state.World) error { return w.Gate1(0, second, physical.GateRX, nan) }, qnet.ErrInvalid, "not finite"},
		{"basis", func(w *state.World) error { _, err := w.Measure(0, second, qnet.Basis{Theta: nan}, rng); return err }, qnet.ErrInvalid, "not finite"},
		{"with itself", func(w *state.World) error { return w.Gate2(1, 1, second, physical.GateCZ, 0) }, qnet.ErrInvalid, "two different qubits"},
		{"depolarising", func(w *state.World) error { return w.Gate2(0, 1, second, physical.GateCZ, 1.01) }, qnet.ErrInvalid, "not between 0 and 1"},
		{"read-out", func(w *state.World) error {
			_, err := w.BSM(0, 1, second, 0, nan, rng)
			return err
		}, qnet.ErrInvalid, "not between 0 and 1"},
		{"measured read-out", func(w *state.World) error {
			_, err := w.MeasureNoisy(0, second, qnet.BasisX, state.Readout{Flip1: -0.1}, rng)
			return err
		}, qnet.ErrInvalid, "P(0|1) probability -0.1 is not between 0 and 1"},
		{"imperfection", func(w *state.World) error {
			_, err := w.BellMeasure(0, 1, second, &state.Imperfection{Gate1: state.Noise{Dephase: 2}}, rng)
			return err
		}, qnet.ErrInvalid, "gate of one qubit: dephasing probability 2"},
		{"noise", func(w *state.World) error { return w.Depolarise(0, second, nan) }, qnet.ErrInvalid, "depolarising of qubit 0: probability NaN"},
		{"phase flip", func(w *state.World) error { return w.Dephase(0, second, 1.5) }, qnet.ErrInvalid, "phase flip of qubit 0: probability 1.5"},
		{"Pauli", func(w *state.World) error { return w.Pauli(0, second, 0.5, 0.3, 0.3) }, qnet.ErrInvalid, "probability 1.1"},
		{"Pauli below", func(w *state.World) error { return w.Pauli(0, second, 0.5, -0.3, 0.3) }, qnet.ErrInvalid, "probability -0.3 of Y"},
		{"two depolarised", func(w *state.World) error { return w.Depolarise2(0, 1, second, -1) }, qnet.ErrInvalid, "not between 0 and 1"},
		{"damping", func(w *state.World) error { return w.DampAmplitude(0, second, 2) }, qnet.ErrInvalid, "not between 0 and 1"},
		{"unitary", func(w *state.World) error { return w.Unitary1(0, second, [4]complex128{1, 1, 0, 1}) }, qnet.ErrInvalid, "Σ K†K is (1+0i), want (0+0i)"},
		{"two for unitary", func(w *state.World) error { return w.Unitary2(0, 1, second, &[16]complex128{}) }, qnet.ErrInvalid, "element 0,0 of Σ K†K"},
		{"channel", func(w *state.World) error {
			return w.Kraus1(0, second, [4]complex128{1, 0, 0, 1}, [4]complex128{0, 1e-4, 0, 0})
		}, qnet.ErrInvalid, "element 1,1 of Σ K†K"},
		{"no channel", func(w *state.World) error { return w.Kraus2(0, 1, second) }, qnet.ErrInvalid, "element 0,0 of Σ K†K"},
		{"short ψ", func(w *state.World) error {
			_, err := w.Fidelity(second, []complex128{1, 0}, 0, 1)
			return err
		}, qnet.ErrInvalid, "2 amplitudes: want 4"},
		{"long ψ", func(w *state.World) error {
			_, err := w.Fidelity(second, []complex128{1, 1}, 0)
			return err
		}, qnet.ErrInvalid, "squared norm 2"},
		{"label", func(w *state.World) error { _, err := w.BellFidelity(second, 0, 1, 4); return err }, qnet.ErrInvalid, "four Bell labels"},
		{"twice", func(w *state.World) error { _, err := w.Density(second, 0, 1, 0); return err }, qnet.ErrInvalid, "named twice"},
		{"none", func(w *state.World) error { _, err := w.Density(second); return err }, qnet.ErrInvalid, "no qubit"},
		{"too many", func(w *state.World) error { _, err := w.Density(second, make([]state.ID, 11)...); return err }, qnet.ErrTooLarge, "10 at most"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var w state.World
			w.Pair(0, 1, second, decays[5], decays[1], [4]float64{0.6, 0.2, 0.2, 0})
			w.Zero(3, 0, perfect)
			w.Free(3, 0)
			before := density(t, &w, second, 0, 1)
			err := test.do(&w)
			if qnet.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v (code %v), want %q and %v", err, qnet.CodeOf(err), test.text, test.code)
			}
			after := density(t, &w, second, 0, 1)
			for i := range before {
				if !slices.Equal(before[i], after[i]) {
					t.Errorf("row %d changed", i)
				}
			}
		})
	}
}
