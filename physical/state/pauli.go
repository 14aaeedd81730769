package state

import (
	"math/rand/v2"
	"slices"
)

// A density matrix is held by its Pauli coefficients r_P = tr(ρ·P), that is
// ρ = Σ_P r_P·P / 2ⁿ: 4ⁿ real numbers, of which that of the identity is 1. A
// factor of P takes two bits of the index, I, X, Y, Z = 0, 1, 2, 3, position 0
// the most significant. Hermiticity and trace hold by construction; a channel of
// one qubit is a real 4×4 matrix, one of two qubits 16×16, CNOT and CZ are
// exchanges with signs, partial traces and measurements are sums over one digit.
// One qubit is its Bloch vector.

// keep is the largest buffer, in coefficients, that outlives its use: that of six
// qubits, 32 KiB.
const keep = 1 << 12

// stride returns the distance of coefficients that differ by one in the digit of
// position pos.
func (c *cluster) stride(pos int) int { return 1 << (2 * (len(c.ids) - 1 - pos)) }

// insert returns the k-th index whose digit at stride s is 0.
func insert(k, s int) int { return k&^(s-1)<<2 | k&(s-1) }

// resize makes r have n coefficients, of which those that were there stay.
func (c *cluster) resize(n int) {
	if n > cap(c.r) {
		r := make([]float64, n, max(n, 16))
		copy(r, c.r)
		c.r = r
	}
	c.r = c.r[:n]
}

// single makes the state that of one qubit with Bloch vector v.
func (c *cluster) single(v vector) {
	c.kind, c.t = general, nil
	c.resize(4)
	c.r[0], c.r[1], c.r[2], c.r[3] = 1, v[0], v[1], v[2]
}

// settle gives n coefficients, at the head of r, the memory that fits them, and
// tells a Bell-diagonal pair by its zeros.
func (c *cluster) settle(n int) {
	c.r = c.r[:n]
	if cap(c.r) > keep {
		c.r = slices.Clone(c.r)
	}
	if n != 16 {
		return
	}
	for i, x := range c.r[1:15] {
		if x != 0 && i != 0b0101-1 && i != 0b1010-1 {
			return
		}
	}
	c.kind = bell
	c.v, c.xy, c.z = vector{c.r[0b0101], -c.r[0b1010], c.r[0b1111]}, 0, 0
}

// multiply makes the state its product with one whose coefficients are b.
func (c *cluster) multiply(b []float64) {
	n := len(c.r)
	c.resize(n * len(b))
	for i := n - 1; i >= 0; i-- { // never writes what is still to be read
		x := c.r[i]
		out := c.r[i*len(b) : (i+1)*len(b)]
		for j, y := range b {
			out[j] = x * y
		}
	}
}

// scale multiplies the coefficients that have X, Y or Z at pos by those of v.
func (c *cluster) scale(pos int, v *vector) {
	s := c.stride(pos)
	for i := s; i < len(c.r); i += 4 * s {
		for k, f := range v {
			if f == 1 {
				continue
			}
			row := c.r[i+k*s : i+k*s+s]
			for j := range row {
				row[j] *= f
			}
		}
	}
}

// decay applies ch to the qubit at pos.
func (c *cluster) decay(pos int, ch *channel) {
	s := c.stride(pos)
	for i := 0; i < len(c.r); i += 4 * s {
		one, x, y, z := c.r[i:i+s], c.r[i+s:i+2*s], c.r[i+2*s:i+3*s], c.r[i+3*s:i+4*s]
		for j := range one {
			x[j] *= ch.xy
			y[j] *= ch.xy
			z[j] = z[j]*ch.z + ch.shift*one[j]
		}
	}
}

// apply1 applies a map of one qubit to that at pos.
func (c *cluster) apply1(pos int, m *transfer) {
	s := c.stride(pos)
	for i := 0; i < len(c.r); i += 4 * s {
		one, x, y, z := c.r[i:i+s], c.r[i+s:i+2*s], c.r[i+2*s:i+3*s], c.r[i+3*s:i+4*s]
		for j := range one {
			r0, r1, r2, r3 := one[j], x[j], y[j], z[j]
			one[j] = m[0][0]*r0 + m[0][1]*r1 + m[0][2]*r2 + m[0][3]*r3
			x[j] = m[1][0]*r0 + m[1][1]*r1 + m[1][2]*r2 + m[1][3]*r3
			y[j] = m[2][0]*r0 + m[2][1]*r1 + m[2][2]*r2 + m[2][3]*r3
			z[j] = m[3][0]*r0 + m[3][1]*r1 + m[3][2]*r2 + m[3][3]*r3
		}
	}
}

// apply2 applies a map of two qubits to those at a and b.
func (c *cluster) apply2(a, b int, m *transfer2) {
	sa, sb := c.stride(a), c.stride(b)
	lo, hi := min(sa, sb), max(sa, sb)
	var offset [16]int
	for k := range offset {
		offset[k] = k>>2*sa + k&3*sb
	}
	var in [16]float64
	for k := range len(c.r) / 16 {
		r := c.r[insert(insert(k, lo), hi):]
		for i, o := range offset {
			in[i] = r[o]
		}
		for i, o := range offset {
			row := &m[i]
			r[o] = (row[0]*in[0] + row[1]*in[1] + row[2]*in[2] + row[3]*in[3]) +
				(row[4]*in[4] + row[5]*in[5] + row[6]*in[6] + row[7]*in[7]) +
				(row[8]*in[8] + row[9]*in[9] + row[10]*in[10] + row[11]*in[11]) +
				(row[12]*in[12] + row[13]*in[13] + row[14]*in[14] + row[15]*in[15])
		}
	}
}

// exchange is a pair of Paulis of two qubits that a gate exchanges, with a sign.
type exchange struct {
	p, q int // two digits each
	sign float64
}

// What CNOT (control first) and CZ do to Paulis by conjugation; those that are
// missing stay.
var (
	cnot = [...]exchange{
		{0b0010, 0b1110, 1},  // IY ↔ ZY
		{0b0011, 0b1111, 1},  // IZ ↔ ZZ
		{0b0100, 0b0101, 1},  // XI ↔ XX
		{0b0110, 0b1011, 1},  // XY ↔ YZ
		{0b0111, 0b1010, -1}, // XZ ↔ −YY
		{0b1000, 0b1001, 1},  // YI ↔ YX
	}
	cz = [...]exchange{
		{0b0100, 0b0111, 1},  // XI ↔ XZ
		{0b0001, 0b1101, 1},  // IX ↔ ZX
		{0b1000, 0b1011, 1},  // YI ↔ YZ
		{0b0010, 0b1110, 1},  // IY ↔ ZY
		{0b0101, 0b1010, 1},  // XX ↔ YY
		{0b0110, 0b1001, -1}, // XY ↔ −YX
	}
)

// exchange applies a gate to the qubits at a and b.
func (c *cluster) exchange(a, b int, gate *[6]exchange) {
	sa, sb := c.stride(a), c.stride(b)
	lo, hi := min(sa, sb), max(sa, sb)
	for _, e := range gate {
		p, q := e.p>>2*sa+e.p&3*sb, e.q>>2*sa+e.q&3*sb
		for i := 0; i < len(c.r); i += 4 * hi {
			for j := i; j < i+hi; j += 4 * lo {
				u, v := c.r[j+p:j+p+lo], c.r[j+q:j+q+lo]
				for k, x := range u {
					u[k], v[k] = e.sign*v[k], e.sign*x
				}
			}
		}
	}
}

// depolarise2 applies ρ → (1−q)ρ + q·I/4⊗tr(ρ) to the qubits at a and b.
func (c *cluster) depolarise2(a, b int, q float64) {
	sa, sb := c.stride(a), c.stride(b)
	lo, hi := min(sa, sb), max(sa, sb)
	for i := range 4 {
		for j := range 4 {
			if i|j == 0 {
				continue
			}
			for k := i * hi; k < len(c.r); k += 4 * hi {
				for l := k + j*lo; l < k+hi; l += 4 * lo {
					row := c.r[l : l+lo]
					for m := range row {
						row[m] *= 1 - q
					}
				}
			}
		}
	}
}

// bloch returns the Bloch vector of the qubit at pos.
func (c *cluster) bloch(pos int) vector {
	s := c.stride(pos)
	return vector{c.r[s], c.r[2*s], c.r[3*s]}
}

// measure measures the qubit at pos along n and takes it out of the state.
func (c *cluster) measure(pos int, n vector, rng *rand.Rand) (bit uint8) {
	b := c.bloch(pos)
	d := n[0]*b[0] + n[1]*b[1] + n[2]*b[2]
	if 2*rng.Float64() >= 1+d {
		bit, d = 1, -d
		n = vector{-n[0], -n[1], -n[2]}
	}
	f := 1 / (1 + d)
	c.contract(pos, f, &vector{f * n[0], f * n[1], f * n[2]})
	return bit
}

// trace traces the qubit at pos out.
func (c *cluster) trace(pos int) { c.contract(pos, 1, &vector{}) }

// contract replaces the state by tr_pos(E·ρ) with E = e0 + e·σ.
func (c *cluster) contract(pos int, e0 float64, e *vector) {
	s := c.stride(pos)
	n := len(c.r) / 4
	for k := range n { // never passes the coefficients still to be read
		r := c.r[insert(k, s):]
		c.r[k] = e0*r[0] + e[0]*r[s] + e[1]*r[2*s] + e[2]*r[3*s]
	}
	c.r[0] = 1
	c.settle(n)
}

// An effect is the operator E = (e[0]·I + e[1]·X⊗X − e[2]·Y⊗Y + e[3]·Z⊗Z)/4 of
// an outcome of a Bell measurement.
type effect [4]float64

// probability returns tr(E·ρ) for the expectation values m of the same operators.
func (e *effect) probability(m *effect) float64 {
	return (e[0]*m[0] + e[1]*m[1] + e[2]*m[2] + e[3]*m[3]) / 4
}

// moments returns the expectation values of I, X⊗X, −Y⊗Y and Z⊗Z on the qubits
// at a and b.
func (c *cluster) moments(a, b int) effect {
	s := c.stride(a) + c.stride(b)
	return effect{1, c.r[s], -c.r[2*s], c.r[3*s]}
}

// contractBell takes the qubits at a and b, of the outcome e, out of the state.
func (c *cluster) contractBell(a, b int, e *effect) {
	sa, sb := c.stride(a), c.stride(b)
	lo, hi, s := min(sa, sb), max(sa, sb), sa+sb
	n := len(c.r) / 16
	var f float64
	for k := range n { // never passes the coefficients still to be read
		r := c.r[insert(insert(k, lo), hi):]
		x := e[0]*r[0] + e[1]*r[s] - e[2]*r[2*s] + e[3]*r[3*s]
		if k == 0 {
			f = 1 / x
		}
		c.r[k] = f * x
	}
	c.r[0] = 1
	c.settle(n)
}

// joinBell takes the qubits at position i of c and j of d, of the outcome e, out
// of the product of both, and leaves the state of all others, those of d last, in
// c. scratch is used, and returned.
func (c *cluster) joinBell(i int, d *cluster, j int, e *effect, scratch []float64) []float64 {
	sc, sd := c.stride(i), d.stride(j)
	n, m := len(c.r)/4, len(d.r)/4
	if cap(scratch) < n*m {
		scratch = make([]float64, n*m)
	}
	out := scratch[:n*m]
	f := 1 / (e[0] + e[1]*c.r[sc]*d.r[sd] - e[2]*c.r[2*sc]*d.r[2*sd] + e[3]*c.r[3*sc]*d.r[3*sd])
	for k := range n {
		r := c.r[insert(k, sc):]
		x0, x1, x2, x3 := f*e[0]*r[0], f*e[1]*r[sc], -f*e[2]*r[2*sc], f*e[3]*r[3*sc]
		row := out[k*m : (k+1)*m]
		for l := range row {
			r := d.r[insert(l, sd):]
			row[l] = x0*r[0] + x1*r[sd] + x2*r[2*sd] + x3*r[3*sd]
		}
	}
	out[0] = 1
	c.resize(n * m)
	copy(c.r, out)
	c.settle(n * m)
	return scratch
}
