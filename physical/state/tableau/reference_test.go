package tableau_test

import (
	"math"
	"math/bits"
	"math/cmplx"

	"qstack/physical/state/tableau"
)

// vector is a state of qubits by its amplitudes, the first qubit most
// significant.
type vector []complex128

// gate is a unitary of one or two qubits by rows.
type gate [][]complex128

var (
	one = gate{{1, 0}, {0, 1}}
	mX  = gate{{0, 1}, {1, 0}}
	mY  = gate{{0, -1i}, {1i, 0}}
	mZ  = gate{{1, 0}, {0, -1}}
	mH  = gate{{complex(math.Sqrt2/2, 0), complex(math.Sqrt2/2, 0)}, {complex(math.Sqrt2/2, 0), -complex(math.Sqrt2/2, 0)}}
	mS  = gate{{1, 0}, {0, 1i}}
	mSd = gate{{1, 0}, {0, -1i}}
	mT  = gate{{1, 0}, {0, cmplx.Exp(1i * math.Pi / 4)}}

	mCNOT = gate{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 0, 1}, {0, 0, 1, 0}}
	mCZ   = gate{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, -1}}

	paulis = map[tableau.Pauli]gate{tableau.I: one, tableau.X: mX, tableau.Y: mY, tableau.Z: mZ}
)

// rotation returns exp(−iθP/2).
func rotation(p gate, theta float64) gate {
	g := gate{{0, 0}, {0, 0}}
	for i := range g {
		for j := range g[i] {
			g[i][j] = complex(math.Cos(theta/2), 0)*one[i][j] - complex(0, math.Sin(theta/2))*p[i][j]
		}
	}
	return g
}

// len returns the number of qubits.
func (v vector) len() int { return bits.Len(uint(len(v))) - 1 }

func (v vector) kron(w vector) vector {
	out := make(vector, 0, len(v)*len(w))
	for _, a := range v {
		for _, b := range w {
			out = append(out, a*b)
		}
	}
	return out
}

// bit returns the value of qubit q in the index i.
func (v vector) bit(i, q int) int { return i >> (v.len() - 1 - q) & 1 }

// with returns i with qubit q set to b.
func (v vector) with(i, q, b int) int {
	m := 1 << (v.len() - 1 - q)
	return i&^m | b*m
}

// apply returns g·v with g at the given qubits.
func (v vector) apply(g gate, qs ...int) vector {
	out := make(vector, len(v))
	for i, a := range v {
		col := 0
		for _, q := range qs {
			col = col<<1 | v.bit(i, q)
		}
		for row := range g {
			j := i
			for k, q := range qs {
				j = v.with(j, q, row>>(len(qs)-1-k)&1)
			}
			out[j] += g[row][col] * a
		}
	}
	return out
}

func (v vector) product(factors []tableau.Factor) vector {
	for _, f := range factors {
		v = v.apply(paulis[f.Pauli], f.Qubit)
	}
	return v
}

func (v vector) dot(w vector) (sum complex128) {
	for i := range v {
		sum += cmplx.Conj(v[i]) * w[i]
	}
	return sum
}

func (v vector) expectation(factors []tableau.Factor) float64 { return real(v.dot(v.product(factors))) }

// project returns the state after the outcome, and the outcome's probability.
func (v vector) project(factors []tableau.Factor, bit uint8) (vector, float64) {
	out := v.product(factors)
	for i := range out {
		out[i] = (v[i] + complex(1-2*float64(bit), 0)*out[i]) / 2
	}
	p := real(out.dot(out))
	for i := range out {
		out[i] /= complex(math.Sqrt(p), 0)
	}
	return out, p
}

// density returns the reduced density matrix of the given qubits.
func (v vector) density(qs ...int) []complex128 {
	dim := 1 << len(qs)
	rho := make([]complex128, dim*dim)
	for i, a := range v {
		row := 0
		for _, q := range qs {
			row = row<<1 | v.bit(i, q)
		}
		for col := range dim {
			j := i
			for k, q := range qs {
				j = v.with(j, q, col>>(len(qs)-1-k)&1)
			}
			rho[row*dim+col] += a * cmplx.Conj(v[j])
		}
	}
	return rho
}

// remove returns the state without q, and the purity of q, which must be 1.
func (v vector) remove(q int) (vector, float64) {
	rho := v.density(q)
	var purity float64
	for _, x := range rho {
		purity += real(x)*real(x) + imag(x)*imag(x)
	}
	k := 0
	if real(rho[3]) > real(rho[0]) {
		k = 1
	}
	norm := complex(math.Sqrt(real(rho[3*k])), 0)
	out := make(vector, len(v)/2)
	low := v.len() - 1 - q
	for i, a := range v {
		j := i>>(low+1)<<low | i&(1<<low-1)
		out[j] += cmplx.Conj(rho[2*v.bit(i, q)+k]/norm) * a
	}
	return out, purity
}
