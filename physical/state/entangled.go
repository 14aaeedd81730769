package state

import (
	"slices"

	"qstack/qnet"
)

// Entangled returns the qubits that share a joint state with q, q included, in
// ascending order: measured and swapped ones are gone from it. It returns nil
// when there is no q.
func (w *World) Entangled(q ID) []ID {
	if !w.Has(q) {
		return nil
	}
	ids := slices.Clone(w.qubits[q].cluster.ids)
	slices.Sort(ids)
	return ids
}

// Touched returns the instant of the latest operation on any of the qubits.
// Those that do not exist do not count.
func (w *World) Touched(qs ...ID) (t qnet.Time) {
	for _, q := range qs {
		if w.Has(q) {
			t = max(t, w.qubits[q].last)
		}
	}
	return t
}
