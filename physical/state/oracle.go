package state

import (
	"math"
	"math/bits"
	"slices"

	"qstack/qnet"
)

// Density returns the joint density matrix of the given qubits as it is at t,
// row-major, 2ⁿ×2ⁿ, the first qubit most significant. It looks without
// touching: nothing is changed, not even by rounding. It is for oracles and
// tests, and allocates.
//
// Errors are those of World; asking for no qubit or for one twice is
// qnet.ErrInvalid.
func (w *World) Density(t qnet.Time, qs ...ID) ([]complex128, error) {
	if len(qs) == 0 {
		return nil, qnet.Errorf(qnet.ErrInvalid, "state: density matrix of no qubit: name at least one")
	}
	if len(qs) > MaxQubits {
		return nil, qnet.Errorf(qnet.ErrTooLarge, "state: density matrix of %d qubits: ask for %d at most", len(qs), MaxQubits)
	}
	for i, q := range qs {
		if _, err := w.at(q, t); err != nil {
			return nil, err
		}
		if slices.Contains(qs[:i], q) {
			return nil, qnet.Errorf(qnet.ErrInvalid, "state: density matrix: qubit %d is named twice", q)
		}
	}
	return matrix(w.joint(t, qs), len(qs)), nil
}

// Fidelity returns ⟨ψ|ρ|ψ⟩ for the joint state ρ of the given qubits at t and the
// pure state psi, of 2ⁿ amplitudes, the first qubit most significant. Nothing is
// changed. A psi that has another length, or is not of norm 1 within 1e-9, is
// qnet.ErrInvalid; other errors are as in Density.
func (w *World) Fidelity(t qnet.Time, psi []complex128, qs ...ID) (float64, error) {
	rho, err := w.Density(t, qs...)
	if err != nil {
		return 0, err
	}
	if len(psi) != 1<<len(qs) {
		return 0, qnet.Errorf(qnet.ErrInvalid, "state: fidelity of %d qubits to a state of %d amplitudes: want %d", len(qs), len(psi), 1<<len(qs))
	}
	var f, norm float64
	for i, x := range psi {
		var sum complex128
		for j, y := range psi {
			sum += rho[i*len(psi)+j] * y
		}
		f += real(sum)*real(x) + imag(sum)*imag(x)
		norm += real(x)*real(x) + imag(x)*imag(x)
	}
	if !(math.Abs(norm-1) <= 1e-9) {
		return 0, qnet.Errorf(qnet.ErrInvalid, "state: fidelity to a state of squared norm %.12g, want 1 within 1e-9", norm)
	}
	return f, nil
}

// BellFidelity returns the fidelity ⟨l|ρ|l⟩ of the qubits a and b at t to the
// Bell state l, without changing anything. Errors are as in Density.
func (w *World) BellFidelity(t qnet.Time, a, b ID, l qnet.BellLabel) (float64, error) {
	if !l.Valid() {
		return 0, qnet.Errorf(qnet.ErrInvalid, "state: fidelity to %v: there are four Bell labels, 0 to 3", l)
	}
	sa, sb, err := w.both("fidelity", a, b, t)
	if err != nil {
		return 0, err
	}
	if ca, cb := sa.cluster, sb.cluster; ca == cb && ca.kind == bell && sa.rest == 0 && sb.rest == 0 {
		xa, za := sa.exponents(t)
		xb, zb := sb.exponents(t)
		pair := cluster{v: ca.v, xy: ca.xy + xa + xb, z: ca.z + za + zb}
		pair.fade()
		return pair.v.weight(l), nil
	}
	r := w.marginal(sa, sb)
	two := cluster{kind: general, ids: []ID{a, b}, r: r[:]}
	for pos, s := range [...]*qubit{sa, sb} {
		ch := s.over(t)
		two.decay(pos, &ch)
	}
	v := vector{r[0b0101], -r[0b1010], r[0b1111]}
	return v.weight(l), nil
}

// marginal returns the Pauli coefficients of two qubits as last touched.
func (w *World) marginal(sa, sb *qubit) (r [16]float64) {
	a, b := sa.cluster, sb.cluster
	switch {
	case a != b:
		u, v := a.alone(sa.pos), b.alone(sb.pos)
		for i := range r {
			r[i] = u[i>>2] * v[i&3]
		}
	case a.kind == bell:
		c := cluster{v: a.v, xy: a.xy, z: a.z}
		c.fade()
		r = [16]float64{0: 1, 0b0101: c.v[0], 0b1010: -c.v[1], 0b1111: c.v[2]}
	case a.kind == stabiliser:
		for k := range r {
			r[k] = float64(a.t.Expectation(factors[k>>2].On(sa.pos), factors[k&3].On(sb.pos)))
		}
	default:
		i, j := a.stride(sa.pos), a.stride(sb.pos)
		for k := range r {
			r[k] = a.r[k>>2*i+k&3*j]
		}
	}
	return r
}

// alone returns the Pauli coefficients of one qubit as last touched.
func (c *cluster) alone(pos int) [4]float64 {
	r := [4]float64{1}
	switch c.kind {
	case general:
		v := c.bloch(pos)
		copy(r[1:], v[:])
	case stabiliser:
		for k := range r {
			r[k] = float64(c.t.Expectation(factors[k].On(pos)))
		}
	}
	return r
}

// joint returns the joint Pauli coefficients of the qubits at t.
func (w *World) joint(t qnet.Time, qs []ID) []float64 {
	r := make([]float64, 1<<(2*len(qs)))
	for i := range r {
		r[i] = 1
	}
	var done []ID
	for _, q := range qs {
		if slices.Contains(done, q) {
			continue
		}
		part := w.snapshot(w.qubits[q].cluster, t, qs)
		done = append(done, part.ids...)
		strides := make([]int, len(qs)) // of qs in part, 0 for others
		for k, q := range qs {
			if pos := slices.Index(part.ids, q); pos >= 0 {
				strides[k] = part.stride(pos)
			}
		}
		for i := range r {
			at := 0
			for k, stride := range strides {
				at += i >> (2 * (len(qs) - 1 - k)) & 3 * stride
			}
			r[i] *= part.r[at]
		}
	}
	return r
}

// snapshot returns a copy of c in which those of its qubits that are among qs
// have decayed until t. Of a tableau it has no others.
func (w *World) snapshot(c *cluster, t qnet.Time, qs []ID) *cluster {
	part := &cluster{kind: c.kind, ids: c.ids, v: c.v, xy: c.xy, z: c.z}
	switch c.kind {
	case bell:
		part.spread()
	case general:
		part.r = slices.Clone(c.r)
	case stabiliser:
		part = c.seen(qs)
	}
	for pos, q := range part.ids {
		if slices.Contains(qs, q) {
			ch := w.qubits[q].over(t)
			part.decay(pos, &ch)
		}
	}
	return part
}

// matrix returns the density matrix of n qubits, row-major, from their Pauli
// coefficients.
func matrix(r []float64, n int) []complex128 {
	m := make([]complex128, len(r))
	for i, x := range r {
		m[i] = complex(x/float64(int(1)<<n), 0)
	}
	// Digit by digit, from I, X, Y, Z to |0⟩⟨0|, |0⟩⟨1|, |1⟩⟨0|, |1⟩⟨1|.
	for s := 1; s < len(m); s *= 4 {
		for i := 0; i < len(m); i += 4 * s {
			one, x, y, z := m[i:i+s], m[i+s:i+2*s], m[i+2*s:i+3*s], m[i+3*s:i+4*s]
			for j, a := range one {
				b, c, d := x[j], complex(-imag(y[j]), real(y[j])), z[j]
				one[j], x[j], y[j], z[j] = a+d, b-c, b+c, a-d
			}
		}
	}
	rho := make([]complex128, len(m))
	rows, cols := halves(n)
	for i := range len(rho) {
		rho[i] = m[rows[i>>n]|cols[i&(1<<n-1)]]
	}
	return rho
}

// halves returns what rows and columns of a density matrix of n qubits add to an
// index of two bits for each qubit.
func halves(n int) (rows, cols []int) {
	rows, cols = make([]int, 1<<n), make([]int, 1<<n)
	for i := range rows {
		for k := range n {
			cols[i] |= i >> k & 1 << (2 * k)
		}
		rows[i] = 2 * cols[i]
	}
	return rows, cols
}

// coefficients sets r to the Pauli coefficients of a density matrix, row-major.
func coefficients(r []float64, rho []complex128) {
	n := bits.Len(uint(len(rho))) / 2
	m := make([]complex128, len(rho))
	rows, cols := halves(n)
	for i, x := range rho {
		m[rows[i>>n]|cols[i&(1<<n-1)]] = x
	}
	for s := 1; s < len(m); s *= 4 {
		for i := 0; i < len(m); i += 4 * s {
			for j := i; j < i+s; j++ {
				m00, m01, m10, m11 := m[j], m[j+s], m[j+2*s], m[j+3*s]
				m[j], m[j+s], m[j+2*s], m[j+3*s] = m00+m11, m01+m10, 1i*(m01-m10), m00-m11
			}
		}
	}
	for i, x := range m {
		r[i] = real(x)
	}
}
