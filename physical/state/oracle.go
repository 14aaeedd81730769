package state

import (
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
	joint := cluster{rho: []complex128{1}}
	for _, q := range qs {
		if slices.Contains(joint.ids, q) {
			continue
		}
		part := w.reduced(w.qubits[q].cluster, t, qs)
		rho := make([]complex128, len(joint.rho)*len(part.rho))
		kron(rho, joint.rho, part.rho)
		joint.rho, joint.ids = rho, append(joint.ids, part.ids...)
	}
	return joint.permuted(qs), nil
}

// BellFidelity returns the fidelity ⟨l|ρ|l⟩ of the qubits a and b at t to the
// Bell state l, without changing anything. Errors are as in Density.
func (w *World) BellFidelity(t qnet.Time, a, b ID, l qnet.BellLabel) (float64, error) {
	if !l.Valid() {
		return 0, qnet.Errorf(qnet.ErrInvalid, "state: fidelity to %v: there are four Bell labels, 0 to 3", l)
	}
	if w.Has(a) && w.Has(b) && a != b {
		sa, sb := &w.qubits[a], &w.qubits[b]
		if c := sa.cluster; c == sb.cluster && c.engine == (bell{}) && t >= sa.last && t >= sb.last {
			pair := cluster{v: c.v}
			if (bell{}).decay(&pair, 0, sa.rates.over(t-sa.last)) && (bell{}).decay(&pair, 1, sb.rates.over(t-sb.last)) {
				return pair.v.weight(l), nil
			}
		}
	}
	rho, err := w.Density(t, a, b)
	if err != nil {
		return 0, err
	}
	return bellWeight(rho, l), nil
}

// reduced returns a dense copy of cluster c at t, with the qubits that are not
// among qs traced out.
func (w *World) reduced(c *cluster, t qnet.Time, qs []ID) *cluster {
	r := &cluster{engine: c.engine, ids: slices.Clone(c.ids), v: c.v, rho: slices.Clone(c.rho)}
	r.engine.promote(r)
	for pos := len(r.ids) - 1; pos >= 0; pos-- {
		if s := &w.qubits[r.ids[pos]]; slices.Contains(qs, r.ids[pos]) {
			dense{}.decay(r, pos, s.rates.over(t-s.last))
		} else {
			dense{}.trace(r, pos)
			r.ids = slices.Delete(r.ids, pos, pos+1)
		}
	}
	return r
}

// permuted returns the density matrix of the cluster with its qubits in the
// order of qs.
func (c *cluster) permuted(qs []ID) []complex128 {
	n := c.dim()
	index := make([]int, n) // of the new order, in the old
	for pos, q := range qs {
		m := c.mask(slices.Index(c.ids, q))
		bit := 1 << (len(qs) - 1 - pos)
		for i := range index {
			if i&bit != 0 {
				index[i] |= m
			}
		}
	}
	rho := make([]complex128, n*n)
	for i := range n {
		for j := range n {
			rho[i*n+j] = c.rho[index[i]*n+index[j]]
		}
	}
	return rho
}
