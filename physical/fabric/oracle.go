package fabric

import (
	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
)

// Oracle sees the exact state of the world, which nobody inside it can. It is
// for tests, reports and dashboards: no layer may use it, and it is never
// reached through a node's credentials. Looking changes nothing. That a qubit is
// initialised anew (see physical.OpRefresh) is an operation on it, and none of
// those after the current instant is foreseen.
type Oracle struct{ f *Fabric }

// Oracle returns the fabric's oracle.
func (f *Fabric) Oracle() *Oracle { return &Oracle{f} }

// BellFidelity returns the fidelity of the qubits a and b at t, which must not be
// before the last operation on either, to the Bell state l. It fails with
// qnet.ErrBadQubit when a handle is not of a qubit that has a state (a freed or
// an armed one has none), and with qnet.ErrInvalid for other bad arguments.
func (o *Oracle) BellFidelity(t qnet.Time, a, b physical.Qubit, l qnet.BellLabel) (float64, error) {
	ids, err := o.ids(t, a, b)
	if err != nil {
		return 0, err
	}
	if !o.f.pending(t, ids) {
		return o.f.world.BellFidelity(t, ids[0], ids[1], l)
	}
	rho, err := o.f.world.Density(t, ids...)
	if err != nil {
		return 0, err
	}
	o.f.dephased(t, ids, rho)
	if !l.Valid() {
		return 0, qnet.Errorf(qnet.ErrInvalid, "oracle: fidelity to %v: there are four Bell labels, 0 to 3", l)
	}
	return (*herald.State)(rho).Weights()[l], nil
}

// Density returns the joint density matrix of the qubits at t, row-major, the
// first qubit most significant. Errors are as in BellFidelity, and
// qnet.ErrTooLarge for more than state.MaxQubits qubits.
func (o *Oracle) Density(t qnet.Time, qs ...physical.Qubit) ([]complex128, error) {
	ids, err := o.ids(t, qs...)
	if err != nil {
		return nil, err
	}
	rho, err := o.f.world.Density(t, ids...)
	if err == nil {
		o.f.dephased(t, ids, rho)
	}
	return rho, err
}

// Entangled returns the qubits that share a joint state with q, q included, in
// the order of their places, or nil when q has no state.
func (o *Oracle) Entangled(q physical.Qubit) []physical.Qubit {
	ids, err := o.ids(0, q)
	if err != nil {
		return nil
	}
	var qs []physical.Qubit
	for _, id := range o.f.world.Entangled(ids[0]) {
		qs = append(qs, o.f.slots[id].handle())
	}
	return qs
}

// Now returns the current instant or, if that is later, that of the latest
// operation on any of the qubits, which results that come early can be.
func (o *Oracle) Now(qs ...physical.Qubit) qnet.Time {
	t := o.f.loop.Now()
	for _, q := range qs {
		if ids, err := o.ids(0, q); err == nil {
			t = max(t, o.f.world.Touched(ids...))
		}
	}
	return t
}

// Count returns the number of qubits that have a state.
func (o *Oracle) Count() int { return o.f.world.Count() }

// ids returns the places of qubits that are to be seen at t.
func (o *Oracle) ids(t qnet.Time, qs ...physical.Qubit) ([]state.ID, error) {
	ids := make([]state.ID, 0, len(qs))
	for _, q := range qs {
		f := o.f
		if q.Fabric != f.id || int64(q.Index) >= int64(len(f.slots)) || f.slots[q.Index].generation != q.Generation || !f.world.Has(state.ID(q.Index)) {
			return nil, qnet.Errorf(qnet.ErrBadQubit, "oracle: %v has no state: it was freed, or is armed, or never existed", q)
		}
		s := &f.slots[q.Index]
		f.reinitialise(s, min(t, max(f.loop.Now(), s.busy)))
		ids = append(ids, state.ID(q.Index))
	}
	return ids, nil
}
