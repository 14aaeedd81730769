// Package tableau holds pure stabiliser states of thousands of qubits, packed
// into words of bits: Clifford gates, measurements of products of Pauli
// operators, and, drawn at random by the caller, Pauli noise.
//
// The state is U|0…0⟩, and what is kept is the inverse tableau of C. Gidney,
// Quantum 5, 497 (2021), arXiv:2103.02202: for every qubit q the Pauli operators
// U†·X_q·U and U†·Z_q·U. A gate changes the rows of the qubits that it acts on
// alone, and an outcome that is determined is read from one row, without the row
// sums of S. Aaronson and D. Gottesman, Phys. Rev. A 70, 052328 (2004); only a
// random outcome and a removal go through the whole tableau. With n qubits a gate
// or a determined outcome touches a few times n/64 words (H, Pauli gates and Swap
// none but indices and phases), a random outcome or a removal n²/16 at most.
// Memory is n²/2 bytes, and 2.25 times that at most when qubits are added one by
// one.
//
// A mixed state is represented by drawing one of the pure states that it is a
// mixture of (AddBloch, AddPair with a drawn label, FromDensity), and a Pauli
// channel by drawing what it does: all that is measured afterwards is equal in
// distribution with the density matrix.
//
// Qubits are numbered from 0. The methods do not check their arguments: a qubit
// that does not exist is an index out of range, and where several qubits are
// named they must differ unless said otherwise. All randomness comes from the
// generator that is passed, and a determined outcome takes nothing from it.
package tableau

import (
	"math/bits"
	"slices"
)

// Pauli is a Pauli operator by its two bits xz, like qnet.BellLabel: applied to
// the second half of a Φ+ pair, it leaves the label of the same bits.
type Pauli uint8

// The Pauli operators.
const (
	I Pauli = 0b00
	Z Pauli = 0b01
	X Pauli = 0b10
	Y Pauli = 0b11
)

// Factor is a Pauli operator on one qubit, part of a product.
type Factor struct {
	Qubit int
	Pauli Pauli
}

// On returns p as it acts on qubit q.
func (p Pauli) On(q int) Factor { return Factor{q, p} }

// Tableau is a pure stabiliser state. The zero value has no qubits and is ready
// to use. A Tableau is not safe for concurrent use, and must not be copied: Join
// an empty one with it instead.
type Tableau struct {
	qubits []images // by qubit
	words  []uint64 // of row r from 2·r·stride on: stride words of x, stride of z
	phase  []uint8  // of row r, modulo 4
	stride int

	// A qubit that is added takes a column and two rows, which are used again
	// when one has been removed. A column that is free is 0 in all rows in use.
	columns     int // taken so far, and half the number of rows taken
	freeColumns []int32
	freeRows    []images

	scratch []uint64 // a row
	place   []int32  // of Join
}

// images are the rows that hold U†XU and U†ZU of a qubit.
type images struct{ x, z int32 }

// operator is the Pauli operator i^phase·Π X^x·Π Z^z. All X are left of all Z, so
// that gates which map X to X and Z to Z leave the phase alone.
type operator struct {
	x, z  []uint64
	phase uint8 // modulo 4
}

// mul multiplies a by b from the right.
func (a *operator) mul(b operator) {
	ax := a.x
	az, bx, bz := a.z[:len(ax)], b.x[:len(ax)], b.z[:len(ax)]
	var swaps uint64
	for i := range ax {
		swaps ^= az[i] & bx[i]
		ax[i] ^= bx[i]
		az[i] ^= bz[i]
	}
	a.phase += b.phase + 2*parity(swaps)
}

// parity returns whether an odd number of bits is set.
func parity(w uint64) uint8 { return uint8(bits.OnesCount64(w) & 1) }

// first returns the lowest bit that is set, and whether there is one.
func first(words []uint64) (bit int, ok bool) {
	for i, w := range words {
		if w != 0 {
			return i<<6 + bits.TrailingZeros64(w), true
		}
	}
	return 0, false
}

// row returns row r.
func (t *Tableau) row(r int32) operator {
	used := (t.columns + 63) >> 6
	x := int(r) * 2 * t.stride
	z := x + t.stride
	return operator{t.words[x : x+used], t.words[z : z+used], t.phase[r]}
}

// mul multiplies row a by row b and i^phase.
func (t *Tableau) mul(a, b int32, phase uint8) {
	op := t.row(a)
	op.mul(t.row(b))
	t.phase[a] = op.phase + phase
}

// Len returns the number of qubits.
func (t *Tableau) Len() int { return len(t.qubits) }

// Reset removes all qubits. The memory is kept for new ones.
func (t *Tableau) Reset() {
	t.qubits = t.qubits[:0]
	t.columns = 0
	t.freeColumns = t.freeColumns[:0]
	t.freeRows = t.freeRows[:0]
}

// Add appends k qubits, each in |0⟩.
func (t *Tableau) Add(k int) {
	t.reserve(k)
	for range k {
		q, c := t.take()
		t.words[int(q.x)*2*t.stride+c>>6] |= 1 << (c & 63)
		t.words[(int(q.z)*2+1)*t.stride+c>>6] |= 1 << (c & 63)
	}
}

// Join appends the qubits of b, which may be t itself and is left as it is: the
// joint state is the product of both. It takes time in proportion to b; join the
// smaller one to the larger one.
func (t *Tableau) Join(b *Tableau) {
	n, from := b.Len(), t.Len()
	t.reserve(n)
	t.place = slices.Grow(t.place[:0], b.columns)[:b.columns]
	clear(t.place)
	for _, c := range b.freeColumns {
		t.place[c] = -1
	}
	for i, c := range t.place {
		if c == 0 {
			_, column := t.take()
			t.place[i] = int32(column)
		}
	}
	for i, q := range b.qubits[:n] {
		to := t.qubits[from+i]
		t.copyRow(to.x, b.row(q.x))
		t.copyRow(to.z, b.row(q.z))
	}
}

// copyRow sets row r, which is clear, to op with its columns placed anew.
func (t *Tableau) copyRow(r int32, op operator) {
	to := t.row(r)
	scatter(to.x, op.x, t.place)
	scatter(to.z, op.z, t.place)
	t.phase[r] = op.phase
}

// scatter sets bit place[i] of dst for every bit i of src.
func scatter(dst, src []uint64, place []int32) {
	for i, w := range src {
		for ; w != 0; w &= w - 1 {
			c := place[i<<6+bits.TrailingZeros64(w)]
			dst[c>>6] |= 1 << (c & 63)
		}
	}
}

// reserve makes room for k more qubits.
func (t *Tableau) reserve(k int) {
	need := (len(t.qubits) + k + 63) >> 6
	if need <= t.stride {
		return
	}
	stride := max(need, t.stride+t.stride/2)
	words := make([]uint64, 256*stride*stride) // 2·64·stride rows of 2·stride
	for r := range 2 * t.columns {
		op := t.row(int32(r))
		copy(words[2*r*stride:], op.x)
		copy(words[(2*r+1)*stride:], op.z)
	}
	phase := make([]uint8, 128*stride)
	copy(phase, t.phase[:2*t.columns])
	t.words, t.phase, t.stride = words, phase, stride
	t.scratch = make([]uint64, 2*stride)
}

// take appends a qubit whose rows are clear, and returns them and its column.
// There must be room.
func (t *Tableau) take() (q images, column int) {
	if n := len(t.freeRows) - 1; n >= 0 {
		q, t.freeRows = t.freeRows[n], t.freeRows[:n]
		column, t.freeColumns = int(t.freeColumns[n]), t.freeColumns[:n]
	} else {
		column = t.columns
		q = images{int32(2 * column), int32(2*column + 1)}
		t.columns++
	}
	for _, r := range [...]int32{q.x, q.z} {
		clear(t.words[int(r)*2*t.stride:][:2*t.stride])
		t.phase[r] = 0
	}
	t.qubits = append(t.qubits, q)
	return q, column
}
