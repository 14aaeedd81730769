package tableau

import (
	"math/bits"
	"math/rand/v2"
	"slices"

	"qstack/qnet"
)

// Measure measures the product of the factors, on different qubits each, and
// returns 0 for the eigenvalue +1 or 1 for −1. Other observables that commute
// with it keep their values: measuring XX and then ZZ of two qubits is a
// measurement in the Bell basis.
func (t *Tableau) Measure(rng *rand.Rand, factors ...Factor) uint8 {
	op := t.image(factors)
	pivot, random := first(op.x)
	if !random {
		return op.phase >> 1 & 1
	}
	bit := uint8(rng.Uint64() >> 63)
	t.collapse(op, pivot, bit)
	return bit
}

// Expectation returns the expectation value of the product of the factors, on
// different qubits each: +1 or −1 when the outcome of measuring it is
// determined, 0 when both outcomes are equally likely.
func (t *Tableau) Expectation(factors ...Factor) int {
	op := t.image(factors)
	if _, random := first(op.x); random {
		return 0
	}
	return 1 - int(op.phase&2)
}

// BellFidelity returns the fidelity ⟨l|ρ|l⟩ of the qubits a and b, which must
// differ, to the Bell state l: 0, 1/4, 1/2 or 1.
func (t *Tableau) BellFidelity(a, b int, l qnet.BellLabel) float64 {
	xx := t.Expectation(X.On(a), X.On(b))
	yy := t.Expectation(Y.On(a), Y.On(b))
	zz := t.Expectation(Z.On(a), Z.On(b))
	if l.Z() {
		xx, yy = -xx, -yy
	}
	if l.X() {
		yy, zz = -yy, -zz
	}
	return float64(1+xx-yy+zz) / 4
}

// Remove removes q, which must be in a state of its own that is not entangled
// with the others, as it is after a measurement. Qubits above q are renumbered,
// one less each; their state stays. Remove returns false, and changes nothing,
// if q is entangled.
func (t *Tableau) Remove(q int) bool {
	for _, p := range [...]Pauli{Z, X, Y} {
		op := t.image([]Factor{p.On(q)})
		if _, random := first(op.x); !random {
			t.remove(q, op)
			return true
		}
	}
	return false
}

// Discard traces q out: it is measured, the outcome is forgotten, and it is
// removed as in Remove. The others are left in one of the pure states that their
// mixed state is a mixture of.
func (t *Tableau) Discard(rng *rand.Rand, q int) {
	t.Measure(rng, Z.On(q))
	t.remove(q, t.image([]Factor{Z.On(q)}))
}

// image returns U†PU of a product P of factors. It lives in the tableau or its
// scratch memory.
func (t *Tableau) image(factors []Factor) operator {
	if len(factors) == 1 {
		switch q := t.qubits[factors[0].Qubit]; factors[0].Pauli {
		case X:
			return t.row(q.x)
		case Z:
			return t.row(q.z)
		}
	}
	clear(t.scratch)
	used := (t.columns + 63) >> 6
	op := operator{x: t.scratch[:used], z: t.scratch[t.stride:][:used]}
	for _, f := range factors {
		q := t.qubits[f.Qubit]
		if f.Pauli&X != 0 {
			op.mul(t.row(q.x))
		}
		if f.Pauli&Z != 0 {
			op.mul(t.row(q.z))
		}
		if f.Pauli == Y { // iXZ
			op.phase++
		}
	}
	return op
}

// collapse projects the state to the outcome bit of the measurement whose image
// is op, with an X at the pivot.
//
// Gates that leave |0…0⟩ alone may be put before U. CNOTs from the pivot to all
// other X of op clear those; if Y is left at the pivot, S† turns it into X. What
// is measured is now ±X on the pivot, times Z elsewhere that act on |0⟩: the
// outcome leaves U·H, with an X before H for the wrong sign.
func (t *Tableau) collapse(op operator, pivot int, bit uint8) {
	fan := t.scratch[:len(op.x)] // the targets
	z := t.scratch[t.stride:][:len(op.x)]
	copy(fan, op.x)
	copy(z, op.z)
	word, shift := pivot>>6, pivot&63
	fan[word] &^= 1 << shift

	var odd uint64
	for i, f := range fan {
		odd ^= z[i] & f
	}
	fan, lo := span(fan)
	hi := lo + len(fan)
	y := uint8(z[word]>>shift&1) ^ parity(odd)
	flip := (op.phase+3*y)>>1&1 ^ bit

	for _, q := range t.qubits {
		for _, r := range [...]int32{q.x, q.z} {
			row := t.row(r)
			rx := row.x[lo:hi][:len(fan)]
			rz := row.z[lo:hi][:len(fan)]
			px := uint8(row.x[word] >> shift & 1)
			var odd uint64
			if px != 0 {
				for i, f := range fan {
					odd ^= rz[i] & f
					rx[i] ^= f
				}
			} else {
				for i, f := range fan {
					odd ^= rz[i] & f
				}
			}
			pz := uint8(row.z[word]>>shift&1) ^ parity(odd)
			phase := row.phase
			if px&y != 0 { // S†: X becomes −iXZ
				phase += 3
				pz ^= 1
			}
			phase += 2 * (px & pz) // H: XZ becomes ZX
			px, pz = pz, px
			phase += 2 * (flip & pz)
			row.x[word] = row.x[word]&^(1<<shift) | uint64(px)<<shift
			row.z[word] = row.z[word]&^(1<<shift) | uint64(pz)<<shift
			t.phase[r] = phase
		}
	}
}

// remove removes q, which is in an eigenstate of the operator whose image is op:
// a product of Z.
//
// CNOTs put before U, from all others of these Z to one of them, the pivot, turn
// op into that Z alone. The rows of other qubits commute with op, so that they
// have no X at the pivot, and a Z there acts on |0⟩: the pivot's column goes. The
// last Z is the pivot, since rows of qubits that came earlier tend to lack it.
func (t *Tableau) remove(q int, op operator) {
	z, lo := span(op.z)
	last := bits.Len64(z[len(z)-1]) - 1
	word, mask := lo+len(z)-1, uint64(1)<<last
	gone := t.qubits[q]
	t.qubits = slices.Delete(t.qubits, q, q+1)
	for _, k := range t.qubits {
		for _, r := range [...]int32{k.x, k.z} {
			at := int(r)*2*t.stride + word
			if x := t.words[at]; x&mask != 0 {
				t.words[at] = x &^ mask
			}
			at += t.stride
			if t.words[at]&mask != 0 {
				row := t.words[at+1-len(z):][:len(z)]
				for i, w := range z {
					row[i] ^= w
				}
			}
		}
	}
	t.freeRows = append(t.freeRows, gone)
	t.freeColumns = append(t.freeColumns, int32(word<<6+last))
	t.shrink()
}

// span returns the part of the words from the first to the last that is not 0,
// and where it begins.
func span(words []uint64) (part []uint64, lo int) {
	hi := 0
	for i, w := range words {
		if w != 0 {
			if hi == 0 {
				lo = i
			}
			hi = i + 1
		}
	}
	return words[lo:hi], lo
}

// shrink gives memory back when most of it is unused.
func (t *Tableau) shrink() {
	if t.Len() == 0 {
		t.Reset()
		return
	}
	if t.columns < 256 || t.columns < 4*t.Len() {
		return
	}
	var small Tableau
	small.Join(t)
	*t = small
}
