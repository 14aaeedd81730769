package state

import (
	"qstack/physical/state/tableau"
	"qstack/qnet"
)

// MaxQubits is the largest number of qubits of a density matrix, and thereby of an
// entangled cluster on which everything can be done.
const MaxQubits = 10

// kind is the way in which the state of a cluster is held.
type kind uint8

const (
	bell       kind = iota // a Bell-diagonal pair, by v, xy and z
	general                // up to MaxQubits qubits, by r
	stabiliser             // any number of qubits, by t
)

// cluster is a set of qubits with a joint state of their own: the state of the
// world is the product of the clusters' states.
type cluster struct {
	kind  kind
	ids   []ID      // the qubits, by position
	v     vector    // bell: spectrum
	xy, z float64   // bell: exponents of the decay that v has still to go through
	r     []float64 // general: Pauli coefficients, see pauli.go
	t     *tableau.Tableau

	mixture *tableau.Mixture // of r, see World.prepare
	pair    [2]ID            // memory of ids, while that is enough
}

// newCluster returns a cluster without qubits. It is for the caller to say what
// its state is.
func (w *World) newCluster() *cluster {
	if n := len(w.free) - 1; n >= 0 {
		c := w.free[n]
		w.free = w.free[:n]
		return c
	}
	c := new(cluster)
	c.ids = c.pair[:0]
	return c
}

// release takes back a cluster that has lost its last qubit.
func (w *World) release(c *cluster) {
	if cap(c.r) > keep {
		c.r = nil
	}
	if cap(c.ids) > MaxQubits+2 {
		c.ids = c.pair[:]
	}
	c.t, c.mixture = nil, nil
	c.ids = c.ids[:0]
	w.free = append(w.free, c)
}

// add appends a new qubit to the cluster.
func (w *World) add(c *cluster, q ID, t qnet.Time, r *rates) {
	s := &w.qubits[q]
	s.cluster, s.pos, s.last, s.born, s.rates = c, len(c.ids), t, t, *r
	c.ids = append(c.ids, q)
	w.count++
}

// reserve makes room for q in the table of qubits.
func (w *World) reserve(q ID) {
	if n := int(q) + 1; n > len(w.qubits) {
		grown := make([]qubit, n, n+n/2)
		copy(grown, w.qubits)
		w.qubits = grown
	}
}

// detach removes the qubit, which is no part of the state any more, from the ids
// of its cluster, and releases the cluster if it was the last.
func (w *World) detach(s *qubit) {
	c := s.cluster
	s.cluster = nil
	last := len(c.ids) - 1
	if last == 0 {
		w.release(c)
		return
	}
	for i := s.pos; i < last; i++ {
		c.ids[i] = c.ids[i+1]
		w.qubits[c.ids[i]].pos = i
	}
	c.ids = c.ids[:last]
}

// adopt moves the qubits of cluster b, but not their state, to the end of a.
func (w *World) adopt(a, b *cluster) {
	for _, q := range b.ids {
		s := &w.qubits[q]
		s.cluster, s.pos = a, len(a.ids)
		a.ids = append(a.ids, q)
	}
	w.release(b)
}

// merge leaves the qubits of a and b together in a.
func (w *World) merge(a, b *cluster) {
	a.generalise()
	if a == b {
		return
	}
	b.generalise()
	a.multiply(b.r)
	w.adopt(a, b)
}

// generalise makes the cluster, which must not be large, one of Pauli
// coefficients.
func (c *cluster) generalise() {
	switch c.kind {
	case bell:
		c.spread()
	case stabiliser:
		c.condense()
	}
}
