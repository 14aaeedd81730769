package qnet

import (
	"fmt"
	"math"
)

// Basis is a projective measurement of one qubit along an axis of the Bloch
// sphere: n = (sinθ cosφ, sinθ sinφ, cosθ). Outcome 0 is the +1 eigenstate of
// n·σ, outcome 1 the −1 eigenstate. Theta and Phi are in radians and must be
// finite.
type Basis struct {
	Theta, Phi float64
}

// The Pauli bases.
var (
	BasisX = Basis{Theta: math.Pi / 2}
	BasisY = Basis{Theta: math.Pi / 2, Phi: math.Pi / 2}
	BasisZ = Basis{}
)

// BasisXZ returns the axis at angle theta from Z in the XZ plane, as used in CHSH tests.
func BasisXZ(theta float64) Basis { return Basis{Theta: theta} }

// Axis returns the unit vector n of the basis.
func (b Basis) Axis() (x, y, z float64) {
	switch b { // exact for the Pauli bases, whatever cos(π/2) rounds to
	case BasisX:
		return 1, 0, 0
	case BasisY:
		return 0, 1, 0
	case BasisZ:
		return 0, 0, 1
	}
	st, ct := math.Sincos(b.Theta)
	sp, cp := math.Sincos(b.Phi)
	return st * cp, st * sp, ct
}

// Valid reports whether both angles are finite.
func (b Basis) Valid() bool {
	return !math.IsNaN(b.Theta) && !math.IsInf(b.Theta, 0) && !math.IsNaN(b.Phi) && !math.IsInf(b.Phi, 0)
}

// String names the basis.
func (b Basis) String() string {
	switch b {
	case BasisX:
		return "X"
	case BasisY:
		return "Y"
	case BasisZ:
		return "Z"
	}
	return fmt.Sprintf("(θ=%.6g,φ=%.6g)", b.Theta, b.Phi)
}
