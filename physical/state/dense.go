package state

import (
	"math/bits"
	"math/rand/v2"
	"slices"

	"qstack/physical"
	"qstack/qnet"
)

// dense holds a cluster by its density matrix: any gate and any channel, 16·4^n
// bytes for n qubits.
type dense struct{}

// keep is the largest buffer, in matrix elements, that outlives its use: that of
// six qubits, 64 KiB.
const keep = 1 << 12

// mask returns the bit of position pos in a row or column index.
func (c *cluster) mask(pos int) int { return 1 << (len(c.ids) - 1 - pos) }

// dim returns the dimension of the cluster's state space.
func (c *cluster) dim() int { return 1 << len(c.ids) }

// widen returns the k-th index whose bit m (a power of two) is clear.
func widen(k, m int) int { return k&^(m-1)<<1 | k&(m-1) }

// scale returns x·z.
func scale(x float64, z complex128) complex128 { return complex(x*real(z), x*imag(z)) }

func (dense) decay(c *cluster, pos int, ch channel) bool {
	n, m := c.dim(), c.mask(pos)
	stay0, stay1 := (1+ch.z+ch.shift)/2, (1+ch.z-ch.shift)/2
	rise, fall := (1-ch.z-ch.shift)/2, (1-ch.z+ch.shift)/2
	for k := range n / 2 {
		i := widen(k, m)
		row0, row1 := c.rho[i*n:(i+1)*n], c.rho[(i|m)*n:(i|m+1)*n]
		for l := range n / 2 {
			j := widen(l, m)
			m00, m11 := row0[j], row1[j|m]
			row0[j] = scale(stay0, m00) + scale(fall, m11)
			row1[j|m] = scale(rise, m00) + scale(stay1, m11)
			row0[j|m] = scale(ch.xy, row0[j|m])
			row1[j] = scale(ch.xy, row1[j])
		}
	}
	return true
}

func (dense) gate(c *cluster, pos int, _ physical.Gate, u unitary) bool {
	n, m := c.dim(), c.mask(pos)
	for k := range n / 2 {
		i := widen(k, m)
		row0, row1 := c.rho[i*n:(i+1)*n], c.rho[(i|m)*n:(i|m+1)*n]
		for l := range n / 2 {
			j := widen(l, m)
			row0[j], row0[j|m], row1[j], row1[j|m] = u.conjugate(row0[j], row0[j|m], row1[j], row1[j|m])
		}
	}
	return true
}

// cnot applies CNOT with the given positions.
func (c *cluster) cnot(control, target int) {
	n, ctl, tgt := c.dim(), c.mask(control), c.mask(target)
	for i := range n {
		if i&ctl != 0 && i&tgt == 0 {
			row, other := c.rho[i*n:(i+1)*n], c.rho[(i|tgt)*n:(i|tgt+1)*n]
			for j, x := range row {
				row[j], other[j] = other[j], x
			}
		}
	}
	lo, hi := min(ctl, tgt), max(ctl, tgt)
	for i := range n {
		row := c.rho[i*n : (i+1)*n]
		for k := range n / 4 {
			j := widen(widen(k, lo), hi) | ctl
			row[j], row[j|tgt] = row[j|tgt], row[j]
		}
	}
}

// cz applies CZ to the two positions.
func (c *cluster) cz(a, b int) {
	n, both := c.dim(), c.mask(a)|c.mask(b)
	for i := range n {
		row := c.rho[i*n : (i+1)*n]
		for j := range row {
			if (i&both == both) != (j&both == both) {
				row[j] = -row[j]
			}
		}
	}
}

// depolarise applies ρ → (1−q)ρ + q·I/4⊗tr(ρ) to the two positions.
func (c *cluster) depolarise(a, b int, q float64) {
	n, ma, mb := c.dim(), c.mask(a), c.mask(b)
	lo, hi := min(ma, mb), max(ma, mb)
	offset := [4]int{0, mb, ma, ma | mb}
	for k := range n / 4 {
		i := widen(widen(k, lo), hi)
		for l := range n / 4 {
			j := widen(widen(l, lo), hi)
			var trace complex128
			for s, row := range offset {
				for t, col := range offset {
					x := &c.rho[(i|row)*n+j|col]
					if s == t {
						trace += *x
					}
					*x = scale(1-q, *x)
				}
			}
			trace = scale(q/4, trace)
			for _, o := range offset {
				c.rho[(i|o)*n+j|o] += trace
			}
		}
	}
}

func (dense) measure(c *cluster, pos int, axis vector, rng *rand.Rand) uint8 {
	// reduced state of the qubit
	n, m := c.dim(), c.mask(pos)
	var m00, m01, m10, m11 complex128
	for k := range n / 2 {
		i := widen(k, m)
		m00 += c.rho[i*n+i]
		m01 += c.rho[i*n+i|m]
		m10 += c.rho[(i|m)*n+i]
		m11 += c.rho[(i|m)*n+i|m]
	}
	r := blochVector(m00, m01, m10, m11)
	trace := real(m00 + m11)
	d := axis[0]*r[0] + axis[1]*r[1] + axis[2]*r[2]
	bit, p := uint8(0), (trace+d)/2
	if rng.Float64()*trace >= p {
		bit, p = 1, (trace-d)/2
		axis = vector{-axis[0], -axis[1], -axis[2]}
	}
	// Π = (I + axis·σ)/2, over the outcome's probability
	f := 1 / (2 * p)
	off := complex(f*axis[0], f*axis[1]) // ⟨1|Π|0⟩
	c.contract(pos, f*(1+axis[2]), f*(1-axis[2]), off)
	return bit
}

func (dense) trace(c *cluster, pos int) { c.contract(pos, 1, 1, 0) }

// contract replaces the state by tr_pos(E·ρ), where E, on the qubit at pos, has
// the diagonal e0, e1 and ⟨1|E|0⟩ = off.
func (c *cluster) contract(pos int, e0, e1 float64, off complex128) {
	n, m := c.dim(), c.mask(pos)
	conj := complex(real(off), -imag(off))
	out := 0 // never passes the elements still to be read
	for k := range n / 2 {
		i := widen(k, m)
		row0, row1 := c.rho[i*n:(i+1)*n], c.rho[(i|m)*n:(i|m+1)*n]
		for l := range n / 2 {
			j := widen(l, m)
			c.rho[out] = scale(e0, row0[j]) + scale(e1, row1[j|m]) + off*row0[j|m] + conj*row1[j]
			out++
		}
	}
	c.settle(len(c.ids) - 1)
}

// bellMoments returns the expectation values of X⊗X, −Y⊗Y and Z⊗Z on the two
// positions.
func (c *cluster) bellMoments(a, b int) vector {
	n, ma, mb := c.dim(), c.mask(a), c.mask(b)
	lo, hi := min(ma, mb), max(ma, mb)
	var same, differ, phi, psi float64
	for k := range n / 4 {
		i00 := widen(widen(k, lo), hi)
		i01, i10, i11 := i00|mb, i00|ma, i00|ma|mb
		same += real(c.rho[i00*n+i00] + c.rho[i11*n+i11])
		differ += real(c.rho[i01*n+i01] + c.rho[i10*n+i10])
		phi += real(c.rho[i00*n+i11] + c.rho[i11*n+i00])
		psi += real(c.rho[i01*n+i10] + c.rho[i10*n+i01])
	}
	t := same + differ
	return vector{(phi + psi) / t, (phi - psi) / t, (same - differ) / t}
}

// contractBell removes both positions from the state, given the outcome of a
// measurement with the operator E = (I + Σ_k g_k·e[k]·σ_k⊗σ_k)/4.
func (c *cluster) contractBell(a, b int, e vector) {
	n, ma, mb := c.dim(), c.mask(a), c.mask(b)
	lo, hi := min(ma, mb), max(ma, mb)
	same, differ := (1+e[2])/4, (1-e[2])/4
	phi, psi := (e[0]+e[1])/4, (e[0]-e[1])/4
	out := 0 // never passes the elements still to be read
	var trace float64
	for k := range n / 4 {
		i := widen(widen(k, lo), hi)
		row00, row01 := c.rho[i*n:(i+1)*n], c.rho[(i|mb)*n:(i|mb+1)*n]
		row10, row11 := c.rho[(i|ma)*n:(i|ma+1)*n], c.rho[(i|ma|mb)*n:(i|ma|mb+1)*n]
		for l := range n / 4 {
			j00 := widen(widen(l, lo), hi)
			j01, j10, j11 := j00|mb, j00|ma, j00|ma|mb
			x := scale(same, row00[j00]+row11[j11]) + scale(differ, row01[j01]+row10[j10]) +
				scale(phi, row00[j11]+row11[j00]) + scale(psi, row01[j10]+row10[j01])
			c.rho[out] = x
			out++
			if k == l {
				trace += real(x)
			}
		}
	}
	rest := c.rho[:out]
	for i, x := range rest {
		rest[i] = scale(1/trace, x)
	}
	c.settle(len(c.ids) - 2)
}

// settle gives the n qubits that are left, whose density matrix fills the head
// of rho, the engine and the memory that fit them.
func (c *cluster) settle(n int) {
	if n == 1 {
		c.engine = bloch{}
		c.v = blochVector(c.rho[0], c.rho[1], c.rho[2], c.rho[3])
	}
	c.rho = c.rho[:1<<(2*n)]
	if cap(c.rho) > keep {
		c.rho = slices.Clone(c.rho)
	}
}

func (dense) promote(*cluster) {}

// kron writes a⊗b to dst, for square matrices of the lengths of a and b.
func kron(dst, a, b []complex128) {
	na, nb := side(a), side(b)
	out := 0
	for i := range na {
		for k := range nb {
			for _, x := range a[i*na : (i+1)*na] {
				for _, y := range b[k*nb : (k+1)*nb] {
					dst[out] = x * y
					out++
				}
			}
		}
	}
}

// side returns the number of rows of a square matrix whose side is a power of two.
func side(m []complex128) int { return 1 << (bits.Len(uint(len(m))) / 2) }

// bellWeight returns the weight of the Bell state l in a density matrix of two qubits.
func bellWeight(rho []complex128, l qnet.BellLabel) float64 {
	i, j := 0b00, 0b11
	if l.X() {
		i, j = 0b01, 0b10
	}
	re := real(rho[i*4+j]+rho[j*4+i]) / 2
	if l.Z() {
		re = -re
	}
	return real(rho[i*4+i]+rho[j*4+j])/2 + re
}
