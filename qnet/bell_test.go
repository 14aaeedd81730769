package qnet_test

import (
	"fmt"
	"math"
	"math/cmplx"
	"testing"

	"qstack/qnet"
)

// state is a state vector of qubits; qubit 0 is the most significant bit of the
// index. What follows is quantum mechanics from the definitions, and shares
// nothing with the package.
type state []complex128

// operator is a 2×2 matrix.
type operator [2][2]complex128

var (
	pauliX = operator{{0, 1}, {1, 0}}
	pauliY = operator{{0, -1i}, {1i, 0}}
	pauliZ = operator{{1, 0}, {0, -1}}
)

// apply returns op on one qubit of s, of n.
func (s state) apply(op operator, qubit, n int) state {
	out := make(state, len(s))
	bit := 1 << (n - 1 - qubit)
	for i := range s {
		row := 0
		if i&bit != 0 {
			row = 1
		}
		out[i] = op[row][0]*s[i&^bit] + op[row][1]*s[i|bit]
	}
	return out
}

// tensor returns s⊗t.
func (s state) tensor(t state) state {
	var out state
	for _, x := range s {
		for _, y := range t {
			out = append(out, x*y)
		}
	}
	return out
}

// dot returns ⟨s|t⟩.
func (s state) dot(t state) complex128 {
	var sum complex128
	for i := range s {
		sum += cmplx.Conj(s[i]) * t[i]
	}
	return sum
}

// bell returns (I⊗XˣZᶻ)|Φ+⟩ for the label with bits xz.
func bell(label int) state {
	s := state{math.Sqrt2 / 2, 0, 0, math.Sqrt2 / 2}
	if label&1 != 0 {
		s = s.apply(pauliZ, 1, 2)
	}
	if label&2 != 0 {
		s = s.apply(pauliX, 1, 2)
	}
	return s
}

// project returns (⟨b| on the qubits first and first+1) s, for s of n qubits.
func (s state) project(b state, first, n int) state {
	shift := n - 2 - first
	out := make(state, len(s)/4)
	for i := range s {
		high, mid, low := i>>(shift+2), i>>shift&3, i&(1<<shift-1)
		out[high<<shift|low] += cmplx.Conj(b[mid]) * s[i]
	}
	return out
}

var labels = []qnet.BellLabel{qnet.PhiPlus, qnet.PhiMinus, qnet.PsiPlus, qnet.PsiMinus}

const tolerance = 1e-12

func TestBellStates(t *testing.T) {
	h := complex(math.Sqrt2/2, 0)
	for i, c := range []struct {
		label qnet.BellLabel
		name  string
		state state
	}{
		{qnet.PhiPlus, "Φ+", state{h, 0, 0, h}},
		{qnet.PhiMinus, "Φ−", state{h, 0, 0, -h}},
		{qnet.PsiPlus, "Ψ+", state{0, h, h, 0}},
		{qnet.PsiMinus, "Ψ−", state{0, h, -h, 0}},
	} {
		if int(c.label) != i || c.label.String() != c.name || !c.label.Valid() {
			t.Errorf("label %d is %d %v", i, c.label, c.label)
		}
		if f := cmplx.Abs(bell(i).dot(c.state)); math.Abs(f-1) > tolerance {
			t.Errorf("%v is not the state that its definition gives: overlap %v", c.label, f)
		}
		if c.label.X() != (i&2 != 0) || c.label.Z() != (i&1 != 0) {
			t.Errorf("%v has components x=%v z=%v", c.label, c.label.X(), c.label.Z())
		}
	}
	if l := qnet.BellLabel(4); l.Valid() || l.String() != "BellLabel(4)" {
		t.Errorf("%v is valid", l)
	}
}

// TestSwap measures the two inner qubits of two pairs: all 64 cases.
func TestSwap(t *testing.T) {
	for _, left := range labels {
		for _, right := range labels {
			pairs := bell(int(left)).tensor(bell(int(right)))
			for _, outcome := range labels {
				rest := pairs.project(bell(int(outcome)), 1, 4)
				if p := real(rest.dot(rest)); math.Abs(p-0.25) > tolerance {
					t.Errorf("%v %v: outcome %v has probability %v, want 1/4", left, right, outcome, p)
				}
				got := left.Swap(right, outcome)
				for _, l := range labels {
					want := 0.0
					if l == got {
						want = 0.25
					}
					a := bell(int(l)).dot(rest)
					if p := real(a * cmplx.Conj(a)); math.Abs(p-want) > tolerance {
						t.Errorf("%v.Swap(%v, %v) = %v, but the pair is %v with weight %v", left, right, outcome, got, l, 4*p)
					}
				}
			}
		}
	}
}

// TestTeleport teleports states through each pair with each outcome: 16 cases,
// each for the six cardinal states and one without symmetry.
func TestTeleport(t *testing.T) {
	h := complex(math.Sqrt2/2, 0)
	inputs := []state{{1, 0}, {0, 1}, {h, h}, {h, -h}, {h, h * 1i}, {h, -h * 1i}, {0.6, 0.48 - 0.64i}}
	for _, pair := range labels {
		for _, outcome := range labels {
			c := pair.Correction(outcome)
			for i, in := range inputs {
				out := in.tensor(bell(int(pair))).project(bell(int(outcome)), 0, 3)
				if c.X() {
					out = out.apply(pauliX, 0, 1)
				}
				if c.Z() {
					out = out.apply(pauliZ, 0, 1)
				}
				// The norm of out is the outcome's amplitude, ½.
				if f := 2 * cmplx.Abs(in.dot(out)); math.Abs(f-1) > tolerance {
					t.Errorf("%v, outcome %v: with correction %v input %d has overlap %v", pair, outcome, c, i, f)
				}
			}
		}
	}
}

// TestFlips compares the flips with the sign of the exact correlator ⟨σ⊗σ⟩
// against that of Φ+.
func TestFlips(t *testing.T) {
	for _, c := range []struct {
		basis qnet.Basis
		op    operator
		phi   float64 // correlator of Φ+
	}{
		{qnet.BasisX, pauliX, 1},
		{qnet.BasisY, pauliY, -1},
		{qnet.BasisZ, pauliZ, 1},
	} {
		for _, l := range labels {
			s := bell(int(l))
			e := real(s.dot(s.apply(c.op, 0, 2).apply(c.op, 1, 2)))
			if l == qnet.PhiPlus && math.Abs(e-c.phi) > tolerance {
				t.Errorf("%v: correlator of Φ+ is %v, want %v", c.basis, e, c.phi)
			}
			if math.Abs(math.Abs(e)-1) > tolerance {
				t.Errorf("%v %v: correlator %v is not ±1", l, c.basis, e)
			}
			flip, ok := l.Flips(c.basis)
			if want := e*c.phi < 0; flip != want || !ok {
				t.Errorf("%v.Flips(%v) = %v, %v; the correlator is %v", l, c.basis, flip, ok, e)
			}
		}
	}
	for _, b := range []qnet.Basis{qnet.BasisXZ(math.Pi / 4), {Theta: 1, Phi: 1}, {Theta: math.Pi}} {
		for _, l := range labels {
			if flip, ok := l.Flips(b); flip || ok {
				t.Errorf("%v.Flips(%v) = %v, %v", l, b, flip, ok)
			}
		}
	}
}

func TestBasisAxis(t *testing.T) {
	for _, c := range []struct {
		basis qnet.Basis
		want  [3]float64
		name  string
	}{
		{qnet.BasisX, [3]float64{1, 0, 0}, "X"},
		{qnet.BasisY, [3]float64{0, 1, 0}, "Y"},
		{qnet.BasisZ, [3]float64{0, 0, 1}, "Z"},
	} {
		x, y, z := c.basis.Axis()
		if [3]float64{x, y, z} != c.want || c.basis.String() != c.name { // exactly
			t.Errorf("axis of %v is %v %v %v", c.basis, x, y, z)
		}
	}
	// The general formula, against the expectation of n·σ in the state
	// cos(θ/2)|0⟩+e^{iφ}sin(θ/2)|1⟩, which is the outcome 0.
	b := qnet.Basis{Theta: 0.7, Phi: 2.1}
	s := state{complex(math.Cos(b.Theta/2), 0), cmplx.Rect(math.Sin(b.Theta/2), b.Phi)}
	x, y, z := b.Axis()
	for i, got := range []float64{x, y, z} {
		op := []operator{pauliX, pauliY, pauliZ}[i]
		if want := real(s.dot(s.apply(op, 0, 1))); math.Abs(got-want) > tolerance {
			t.Errorf("component %d of the axis is %v, want %v", i, got, want)
		}
	}
	if got := fmt.Sprint(b); got != "(θ=0.7,φ=2.1)" {
		t.Errorf("String = %s", got)
	}
	for _, b := range []qnet.Basis{{Theta: math.NaN()}, {Phi: math.Inf(-1)}} {
		if b.Valid() {
			t.Errorf("%v is valid", b)
		}
	}
	if !b.Valid() {
		t.Errorf("%v is not valid", b)
	}
}
