package qnet

import "fmt"

// BellLabel names one of the four Bell states by two bits xz: the state is
// (I⊗XˣZᶻ)|Φ+⟩. Labels form the Klein four-group under XOR, which is what makes
// swapping and teleportation arithmetic on two bits (see Swap and Correction).
type BellLabel uint8

// The four Bell states.
const (
	PhiPlus  BellLabel = 0b00 // (|00⟩+|11⟩)/√2
	PhiMinus BellLabel = 0b01 // (|00⟩−|11⟩)/√2
	PsiPlus  BellLabel = 0b10 // (|01⟩+|10⟩)/√2
	PsiMinus BellLabel = 0b11 // (|01⟩−|10⟩)/√2, up to a global sign
)

// Valid reports whether l is one of the four labels.
func (l BellLabel) Valid() bool { return l < 4 }

// X reports the bit-flip component of the label.
func (l BellLabel) X() bool { return l&0b10 != 0 }

// Z reports the phase-flip component of the label.
func (l BellLabel) Z() bool { return l&0b01 != 0 }

// Swap returns the label of the pair that is left when a Bell-state measurement
// with the given outcome joins a pair l and a pair right.
func (l BellLabel) Swap(right, outcome BellLabel) BellLabel { return l ^ right ^ outcome }

// Correction returns the Pauli XˣZᶻ (apply X first) that the receiver of a
// qubit teleported over a pair l must apply when the sender's Bell-state
// measurement gave outcome.
func (l BellLabel) Correction(outcome BellLabel) BellLabel { return l ^ outcome }

// Flips reports whether a bit measured on one half of a pair l must be inverted
// to obtain the bit that the other half of |Φ+⟩ would have given, when both
// halves are measured in the Pauli basis b. ok is false when b is not a Pauli
// basis: then no inversion of the bit does it.
//
// For Φ+ the bits agree in X and Z and disagree in Y, which is not a flip.
func (l BellLabel) Flips(b Basis) (flip, ok bool) {
	switch b {
	case BasisZ:
		return l.X(), true
	case BasisX:
		return l.Z(), true
	case BasisY:
		return l.X() != l.Z(), true
	}
	return false, false
}

// String returns the usual name of the state.
func (l BellLabel) String() string {
	switch l {
	case PhiPlus:
		return "Φ+"
	case PhiMinus:
		return "Φ−"
	case PsiPlus:
		return "Ψ+"
	case PsiMinus:
		return "Ψ−"
	}
	return fmt.Sprintf("BellLabel(%d)", uint8(l))
}
