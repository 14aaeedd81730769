package state

import "qstack/qnet"

// Enlarge makes the world hold the cluster of q, which must be a mixture of
// stabiliser states, in the way that it holds large ones.
func (w *World) Enlarge(q ID, t qnet.Time) error {
	s, err := w.at(q, t)
	if err != nil {
		return err
	}
	if err := w.prepare("test", q, s, t); err != nil {
		return err
	}
	w.touch(s, t)
	s.cluster.enlarge(w.Rand)
	return nil
}

// Kind tells how the cluster of q is held.
func (w *World) Kind(q ID) string {
	return [...]string{bell: "Bell-diagonal", general: "density matrix", stabiliser: "tableau"}[w.qubits[q].cluster.kind]
}
