package tableau

import (
	"math/bits"
	"slices"

	"qstack/qnet"
)

// MaxDense is the largest number of qubits of a density matrix.
const MaxDense = 10

// Density returns the joint density matrix of the given qubits, row-major, the
// first qubit most significant. It is exact: all elements are multiples of 2⁻ⁿ.
// It is for oracles and for leaving the tableau, and allocates.
//
// More than MaxDense qubits are an error with code qnet.ErrTooLarge, a qubit
// that does not exist with code qnet.ErrBadQubit, and no qubit at all or one that
// is named twice with code qnet.ErrInvalid.
func (t *Tableau) Density(qubits ...int) ([]complex128, error) {
	if len(qubits) == 0 {
		return nil, qnet.Errorf(qnet.ErrInvalid, "tableau: density matrix of no qubit: name at least one")
	}
	if len(qubits) > MaxDense {
		return nil, qnet.Errorf(qnet.ErrTooLarge, "tableau: density matrix of %d qubits: ask for %d at most", len(qubits), MaxDense)
	}
	for i, q := range qubits {
		if q < 0 || q >= t.Len() {
			return nil, qnet.Errorf(qnet.ErrBadQubit, "tableau: density matrix: there is no qubit %d among the %d", q, t.Len())
		}
		if slices.Contains(qubits[:i], q) {
			return nil, qnet.Errorf(qnet.ErrInvalid, "tableau: density matrix: qubit %d is named twice", q)
		}
	}
	dim := 1 << len(qubits)
	rho := make([]complex128, dim*dim)
	group := t.subgroup(qubits)
	var e element
	for k := range 1 << len(group) {
		if k > 0 { // the Gray code visits all products by one factor each
			e = e.times(group[bits.TrailingZeros(uint(k))])
		}
		// ρ = 2⁻ⁿ·Σ⟨P⟩·P over the group, where P is X^x·Z^z up to a phase.
		value := powers[-e.value&3] / complex(float64(dim), 0)
		for j := range dim {
			v := value
			if bits.OnesCount(uint(e.z&j))&1 != 0 {
				v = -v
			}
			rho[(j^e.x)*dim+j] += v
		}
	}
	return rho, nil
}

// powers of i.
var powers = [4]complex128{1, 1i, -1, -1i}

// element is an operator X^x·Z^z of up to MaxDense qubits, the first of them in
// the highest bit, whose expectation value is i^value.
type element struct {
	x, z  int
	value uint8 // modulo 4
}

// times returns the product of two elements that commute. Their values multiply
// since both have a pure state in an eigenspace.
func (e element) times(f element) element {
	return element{e.x ^ f.x, e.z ^ f.z, e.value + f.value + 2*parity(uint64(e.z&f.x))}
}

// sign returns the expectation value, +1 or −1, of the Pauli operator that e is up
// to a phase: i^y·X^x·Z^z, with y the number of Y.
func (e element) sign() float64 { return 1 - float64((e.value+uint8(bits.OnesCount(uint(e.x&e.z))))&2) }

// subgroup returns independent generators of the Pauli operators on the given
// qubits that are determined.
func (t *Tableau) subgroup(qubits []int) []element {
	// Gaussian elimination of the X in the images of all X and Z of the qubits.
	// The operator on the qubits is kept along; value is the phase of the image
	// over that of the operator.
	type row struct {
		element
		image operator
		pivot int
	}
	var rows []row
	var group []element
	for i, q := range qubits {
		bit := 1 << (len(qubits) - 1 - i)
		for _, f := range [...]struct {
			index int32
			element
		}{{t.qubits[q].x, element{x: bit}}, {t.qubits[q].z, element{z: bit}}} {
			image := t.row(f.index)
			r := row{f.element, operator{slices.Clone(image.x), slices.Clone(image.z), image.phase}, 0}
			for _, p := range rows {
				if r.image.x[p.pivot>>6]>>(p.pivot&63)&1 != 0 {
					r.image.mul(p.image)
					r.element = r.element.times(p.element)
				}
			}
			var random bool
			if r.pivot, random = first(r.image.x); random {
				rows = append(rows, r)
				continue
			}
			r.value += r.image.phase
			group = append(group, r.element)
		}
	}
	return group
}
