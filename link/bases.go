package link

import (
	"math"

	"qstack/physical"
	"qstack/qnet"
)

// The choices of bases that the Internet draft of the link layer
// (draft-dahlberg-ll-quantum-03) names, for either end of a request: one basis,
// given by a rotation, or one drawn anew for each pair from a set.

// Fixed returns the basis that measures Z after the Euler rotation by x1 about X,
// y about Y and x2 about X, in radians, in this order: the draft's ROTX1, ROTY and
// ROTX2, which it counts in units of 2π/256.
func Fixed(x1, y, x2 float64) physical.BasisSource {
	// What is measured is U†ZU with U = RX(x2)·RY(y)·RX(x1): the axis Z turned back.
	ax, ay, az := 0.0, 0.0, 1.0
	turnX := func(t float64) {
		s, c := math.Sincos(-t)
		ay, az = c*ay-s*az, s*ay+c*az
	}
	turnX(x2)
	s, c := math.Sincos(-y)
	ax, az = c*ax+s*az, c*az-s*ax
	turnX(x1)
	return physical.BasisSource{Bases: []qnet.Basis{{Theta: math.Acos(max(-1, min(1, az))), Phi: math.Atan2(ay, ax)}}}
}

// RandomXZ draws X with probability x and Z otherwise.
func RandomXZ(x float64) physical.BasisSource {
	return physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}, Weights: []float64{x, 1 - x}}
}

// RandomXYZ draws X with probability x, Y with probability y and Z otherwise. A
// request for which x+y is above 1 is refused.
func RandomXYZ(x, y float64) physical.BasisSource {
	return physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}, Weights: []float64{x, y, 1 - x - y}}
}

// RandomCHSH draws Z rotated by π/4 about Y with probability p, and by −π/4
// otherwise.
func RandomCHSH(p float64) physical.BasisSource {
	return physical.BasisSource{Bases: []qnet.Basis{qnet.BasisXZ(math.Pi / 4), qnet.BasisXZ(-math.Pi / 4)}, Weights: []float64{p, 1 - p}}
}
