package state

import (
	"math"
	"math/cmplx"

	"qstack/physical"
)

// unitary is a matrix of one qubit, row-major.
type unitary [4]complex128

const rsqrt2 = 1 / math.Sqrt2

// unitaryOf returns the matrix of a gate of one qubit; ok is false for any
// other gate.
func unitaryOf(g physical.Gate, angle float64) (u unitary, ok bool) {
	switch g {
	case physical.GateX:
		return unitary{0, 1, 1, 0}, true
	case physical.GateY:
		return unitary{0, -1i, 1i, 0}, true
	case physical.GateZ:
		return unitary{1, 0, 0, -1}, true
	case physical.GateH:
		return unitary{rsqrt2, rsqrt2, rsqrt2, -rsqrt2}, true
	case physical.GateS:
		return unitary{1, 0, 0, 1i}, true
	case physical.GateSdg:
		return unitary{1, 0, 0, -1i}, true
	case physical.GateT:
		return unitary{1, 0, 0, complex(rsqrt2, rsqrt2)}, true
	case physical.GateTdg:
		return unitary{1, 0, 0, complex(rsqrt2, -rsqrt2)}, true
	}
	sin, cos := math.Sincos(angle / 2)
	c, s := complex(cos, 0), complex(sin, 0)
	switch g {
	case physical.GateRX:
		return unitary{c, -1i * s, -1i * s, c}, true
	case physical.GateRY:
		return unitary{c, -s, s, c}, true
	case physical.GateRZ:
		return unitary{complex(cos, -sin), 0, 0, complex(cos, sin)}, true
	}
	return unitary{}, false
}

// conjugate returns u·m·u† of a 2×2 block m, row-major.
func (u *unitary) conjugate(m00, m01, m10, m11 complex128) (n00, n01, n10, n11 complex128) {
	// k = u·m
	k00 := u[0]*m00 + u[1]*m10
	k01 := u[0]*m01 + u[1]*m11
	k10 := u[2]*m00 + u[3]*m10
	k11 := u[2]*m01 + u[3]*m11
	c0, c1, c2, c3 := cmplx.Conj(u[0]), cmplx.Conj(u[1]), cmplx.Conj(u[2]), cmplx.Conj(u[3])
	return k00*c0 + k01*c1, k00*c2 + k01*c3, k10*c0 + k11*c1, k10*c2 + k11*c3
}
