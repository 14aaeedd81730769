package estimate

import (
	"math"
	"time"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/qnet"
)

// state is a state of two qubits by its Pauli coefficients: element 4i+j is
// tr(ρ·σi⊗σj), where i and j count I, X, Y and Z. Element 0 is 1.
type state [16]float64

// channel is a map of one qubit on Pauli coefficients: r'[i] = Σ_j m[i][j]·r[j].
type channel [4][4]float64

// Indices of Pauli coefficients of two qubits.
const (
	iz = 3
	xx = 5
	yy = 10
	zi = 12
	zz = 15
)

var identity = channel{{1}, {0, 1}, {0, 0, 1}, {0, 0, 0, 1}}

// fromHerald returns the Pauli coefficients of a density matrix. A Pauli matrix has
// one element in a row: ±1 or ±i.
func fromHerald(h *herald.State) (s state) {
	// row returns where the element of σp in row i is, and what.
	row := func(p, i int) (col int, x complex128) {
		sign := complex(float64(1-2*i), 0)
		switch p {
		case 1:
			return 1 - i, 1
		case 2:
			return 1 - i, -1i * sign
		case 3:
			return i, sign
		}
		return i, 1
	}
	for p := range 4 {
		for q := range 4 {
			// tr(ρ·σ) = Σ ρ[k][i]·σ[i][k]
			for i := range 4 {
				ka, x := row(p, i>>1)
				kb, y := row(q, i&1)
				s[4*p+q] += real(h[4*(2*ka+kb)+i] * x * y)
			}
		}
	}
	return s
}

// signs has, by label, the correlators ⟨XX⟩, ⟨YY⟩ and ⟨ZZ⟩ of the Bell state.
var signs = [4][3]float64{
	qnet.PhiPlus:  {1, -1, 1},
	qnet.PhiMinus: {-1, 1, 1},
	qnet.PsiPlus:  {1, 1, -1},
	qnet.PsiMinus: {-1, -1, -1},
}

// correlators returns ⟨XX⟩, ⟨YY⟩ and ⟨ZZ⟩, each with the sign that makes it 1 for
// the Bell state of the label.
func (s *state) correlators(l qnet.BellLabel) [3]float64 {
	g := &signs[l&3]
	return [3]float64{g[0] * s[xx], g[1] * s[yy], g[2] * s[zz]}
}

// fidelity returns that of correlators as the method correlators gives them.
func fidelity(c [3]float64) float64 { return (1 + c[0] + c[1] + c[2]) / 4 }

// through returns the state after a channel on either qubit.
func (s *state) through(a, b *channel) (out state) {
	var half state
	for i := range 4 {
		for k, x := range a[i] {
			if x != 0 {
				for j := range 4 {
					half[4*i+j] += x * s[4*k+j]
				}
			}
		}
	}
	for j := range 4 {
		for k, x := range b[j] {
			if x != 0 {
				for i := range 4 {
					out[4*i+j] += x * half[4*i+k]
				}
			}
		}
	}
	return out
}

// then returns the channel m followed by n.
func (m *channel) then(n *channel) (out channel) {
	for i := range 4 {
		for k, x := range n[i] {
			if x != 0 {
				for j := range 4 {
					out[i][j] += x * m[k][j]
				}
			}
		}
	}
	return out
}

// rates say how a qubit decays, in 1/ns: x and y of its Bloch vector as
// e^(−transverse·t), and what z is above rest as e^(−longitudinal·t).
type rates struct{ transverse, longitudinal, rest float64 }

// newRates converts what a data sheet says: relaxation to |0⟩, the time of
// coherences, relaxation included, and a rate of depolarising.
func newRates(t1, t2, depolarise float64) (r rates) {
	var relax, dephase float64
	if t1 > 0 {
		relax = 1e-9 / t1
	}
	if t2 > 0 {
		dephase = 1e-9 / t2
	}
	depolarise = max(0, depolarise) * 1e-9
	r.transverse = max(dephase, relax/2) + depolarise
	r.longitudinal = relax + depolarise
	if relax > 0 {
		r.rest = relax / r.longitudinal
	}
	return r
}

// over returns the decay in a time.
func (r *rates) over(t time.Duration) channel {
	if t <= 0 || r.transverse == 0 { // without it there is no decay at all
		return identity
	}
	xy := math.Exp(-r.transverse * float64(t))
	loss := -math.Expm1(-r.longitudinal * float64(t))
	return channel{{1}, {0, xy}, {0, 0, xy}, {r.rest * loss, 0, 0, 1 - loss}}
}

// qubit is a kind of qubit of a data sheet.
type qubit struct {
	rates
	init, gate1, readout time.Duration
	noise                physical.QubitNoise
}

// kinds returns the communication and the storage qubits of a data sheet.
func kinds(s *physical.Spec) (communication, storage qubit) {
	communication = qubit{newRates(s.T1, s.T2, s.Depolarise), s.Init, s.Gate1, s.Readout, s.Noise.QubitNoise}
	if m := s.Memory; m != nil {
		return communication, qubit{newRates(m.T1, m.T2, m.Depolarise), m.Init, m.Gate1, m.Readout, s.Noise.Memory}
	}
	return communication, communication
}

// measure returns how long a measurement in a basis takes.
func (q *qubit) measure(b qnet.Basis) time.Duration {
	if b == qnet.BasisZ {
		return q.readout
	}
	return q.gate1 + q.readout
}

// reading is how a half is read out: the mean of (−1)^bit is bias + contrast·r·axis,
// where r is its Bloch vector.
type reading struct {
	axis           [3]float64
	bias, contrast float64
}

// read returns a read-out in a basis.
func (q *qubit) read(b qnet.Basis) (r reading) {
	e := q.noise.ReadoutError
	r.bias, r.contrast = e[1]-e[0], 1-e[0]-e[1]
	if b != qnet.BasisZ {
		r.contrast *= 1 - q.noise.Gate1Depolarising
	}
	r.axis[0], r.axis[1], r.axis[2] = b.Axis()
	return r
}
