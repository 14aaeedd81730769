package herald

import (
	"math"

	"qstack/qnet"
)

// State is the density matrix of a pair, row-major, over |00⟩, |01⟩, |10⟩ and
// |11⟩; the first qubit is that of end A.
type State [16]complex128

// bell has the amplitudes of the Bell states, times √2.
var bell = [4][4]float64{
	qnet.PhiPlus:  {1, 0, 0, 1},
	qnet.PhiMinus: {1, 0, 0, -1},
	qnet.PsiPlus:  {0, 1, 1, 0},
	qnet.PsiMinus: {0, 1, -1, 0},
}

// BellDiagonal returns the mixture of the Bell states with the given weights,
// indexed by label.
func BellDiagonal(weights [4]float64) (s State) {
	for l, w := range weights {
		for i, a := range bell[l] {
			for j, b := range bell[l] {
				s[4*i+j] += complex(w*a*b/2, 0)
			}
		}
	}
	return s
}

// Weights returns the fidelity of s to each Bell state, indexed by label. They
// are the whole of a Bell-diagonal state. Of any other they are the part that an
// average over the outcomes of swaps, with Pauli noise between, depends on.
func (s *State) Weights() (w [4]float64) {
	for l := range w {
		for i, a := range bell[l] {
			for j, b := range bell[l] {
				w[l] += a * b / 2 * real(s[4*i+j])
			}
		}
	}
	return w
}

// IsBellDiagonal reports whether s is a mixture of Bell states, but for
// rounding.
func (s *State) IsBellDiagonal() bool {
	d := BellDiagonal(s.Weights())
	for i, x := range s {
		if math.Abs(real(x-d[i])) > 1e-14 || math.Abs(imag(x)) > 1e-14 {
			return false
		}
	}
	return true
}
