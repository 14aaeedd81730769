package state

import (
	"math"
	"math/cmplx"

	"qstack/physical"
	"qstack/qnet"
)

// transfer is a linear map of one qubit as it acts on Pauli coefficients:
// r'[j] = Σ_k m[j][k]·r[k], j and k counting I, X, Y and Z.
type transfer [4][4]float64

// transfer2 is a map of two qubits; the digit of the first counts four.
type transfer2 [16][16]float64

const rsqrt2 = 1 / math.Sqrt2

// signs has the diagonals of the Pauli gates.
var signs = [...]vector{
	physical.GateX: {1, -1, -1},
	physical.GateY: {-1, 1, -1},
	physical.GateZ: {-1, -1, 1},
}

// gateOf returns the map of a gate of one qubit; ok is false for any other gate.
func gateOf(g physical.Gate, angle float64) (m transfer, ok bool) {
	const x, y, z = 1, 2, 3
	switch g {
	case physical.GateX, physical.GateY, physical.GateZ:
		v := &signs[g]
		return transfer{{1}, {0, v[0]}, {0, 0, v[1]}, {0, 0, 0, v[2]}}, true
	case physical.GateH:
		return transfer{{1}, {z: 1}, {y: -1}, {x: 1}}, true
	case physical.GateS:
		return rotation(z, 0, 1), true
	case physical.GateSdg:
		return rotation(z, 0, -1), true
	case physical.GateT:
		return rotation(z, rsqrt2, rsqrt2), true
	case physical.GateTdg:
		return rotation(z, rsqrt2, -rsqrt2), true
	}
	sin, cos := math.Sincos(angle)
	// A multiple of π/2, as near as a float64 comes to it, is one: its rotation
	// is a permutation of the axes.
	const ulp = 1e-15
	switch {
	case math.Abs(sin) < ulp*max(1, math.Abs(angle)):
		sin, cos = 0, math.Copysign(1, cos)
	case math.Abs(cos) < ulp*max(1, math.Abs(angle)):
		sin, cos = math.Copysign(1, sin), 0
	}
	switch g {
	case physical.GateRX:
		return rotation(x, cos, sin), true
	case physical.GateRY:
		return rotation(y, cos, sin), true
	case physical.GateRZ:
		return rotation(z, cos, sin), true
	}
	return transfer{}, false
}

// rotation returns the rotation of the Bloch sphere about an axis.
func rotation(axis int, cos, sin float64) (m transfer) {
	a, b := axis%3+1, (axis+1)%3+1 // the axes that follow in cyclic order
	m[0][0], m[axis][axis] = 1, 1
	m[a][a], m[a][b] = cos, -sin
	m[b][a], m[b][b] = sin, cos
	return m
}

// diagonal returns the diagonal of a unital map that has nothing else.
func (m *transfer) diagonal() (v vector, ok bool) {
	if m[0] != [4]float64{1} {
		return v, false
	}
	for j := 1; j < 4; j++ {
		for k, x := range m[j] {
			if j != k && x != 0 {
				return v, false
			}
		}
		v[j-1] = m[j][j]
	}
	return v, true
}

// pauliRow returns the one element of row i of a Pauli matrix: its column and its
// value.
func pauliRow(p, i int) (j int, x complex128) {
	switch p {
	case 1:
		return i ^ 1, 1
	case 2:
		return i ^ 1, complex(0, float64(2*i-1))
	case 3:
		return i, complex(float64(1-2*i), 0)
	}
	return i, 1
}

// pauliRow2 is pauliRow for two qubits.
func pauliRow2(p, i int) (j int, x complex128) {
	j1, x1 := pauliRow(p>>2, i>>1)
	j2, x2 := pauliRow(p&3, i&1)
	return j1<<1 | j2, x1 * x2
}

// add adds the map ρ → K·ρ·K†.
func (m *transfer) add(k *[4]complex128) {
	for q := range 4 {
		var b [4]complex128 // K·σ_q·K†
		for i := range 2 {
			for s := range 2 {
				t, x := pauliRow(q, s)
				for j := range 2 {
					b[i*2+j] += k[i*2+s] * x * cmplx.Conj(k[j*2+t])
				}
			}
		}
		for p := range 4 {
			for i := range 2 {
				j, x := pauliRow(p, i)
				m[p][q] += real(x*b[j*2+i]) / 2
			}
		}
	}
}

// add adds the map ρ → K·ρ·K†.
func (m *transfer2) add(k *[16]complex128) {
	var conj [16]complex128
	for i, x := range k {
		conj[i] = cmplx.Conj(x)
	}
	for q := range 16 {
		var b [16]complex128 // K·Q·K†
		for s := range 4 {
			t, x := pauliRow2(q, s)
			for i := range 4 {
				f := x * k[i*4+s]
				for j := range 4 {
					b[i*4+j] += f * conj[j*4+t]
				}
			}
		}
		for p := range 16 {
			for i := range 4 {
				j, x := pauliRow2(p, i)
				m[p][q] += real(x*b[j*4+i]) / 4
			}
		}
	}
}

// clean clears what rounding left of zeros, so that a Clifford gate given by its
// matrix is recognised as one, and gives the identity its exact row.
func clean(row []float64, first bool) {
	for i, x := range row {
		if n := math.Round(x); math.Abs(x-n) < 1e-15 {
			row[i] = n
		}
		if first {
			row[i] = 0
		}
	}
	if first {
		row[0] = 1
	}
}

// complete returns an error unless Σ K†K = I for the operators ks of the given
// dimension, within 1e-9.
func complete[M [4]complex128 | [16]complex128](what string, dim int, ks ...M) error {
	at := func(k *M, i, j int) complex128 {
		switch k := any(k).(type) {
		case *[4]complex128:
			return k[i*dim+j]
		case *[16]complex128:
			return k[i*dim+j]
		}
		return 0
	}
	for i := range dim {
		for j := range dim {
			var sum complex128
			for n := range ks {
				for s := range dim {
					sum += cmplx.Conj(at(&ks[n], s, i)) * at(&ks[n], s, j)
				}
			}
			want := complex128(0)
			if i == j {
				want = 1
			}
			if !(cmplx.Abs(sum-want) <= 1e-9) {
				return qnet.Errorf(qnet.ErrInvalid, "state: %s: element %d,%d of Σ K†K is %.12g, want %g within 1e-9", what, i, j, sum, want)
			}
		}
	}
	return nil
}
