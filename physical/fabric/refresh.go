package fabric

import (
	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

// A storage qubit that waits, initialised, for what is to be moved into it is
// initialised anew in the pauses of the attempts, for hours perhaps, and nobody
// looks. So nothing happens at those instants: when an operation on the qubit
// begins, the last of them until then is worked out, and the state follows from
// it. Attempts meanwhile are of no account, since a phase flip does nothing to an
// initialised qubit.

// refresh says how a storage qubit is initialised anew.
type refresh struct {
	on      bool
	link    *Link
	pattern physical.Pattern
	from    qnet.Time // when it was initialised last, or since when it is so anew
	until   qnet.Time // when the operation begins that uses the qubit; Never before it is known
}

// refreshable returns the slot of the operand if it can be initialised anew.
func (d *device) refreshable(op *physical.Op) (*slot, error) {
	s, err := d.usable(op, op.A)
	if err != nil {
		return s, err
	}
	switch {
	case s.end != nil:
		err = qnet.Errorf(qnet.ErrUnsupported, "node %s: %s: %v is a communication qubit: only storage qubits are initialised anew in pauses", d.cfg.Name, opName(op), op.A)
	case !s.unused:
		err = qnet.Errorf(qnet.ErrInvalid, "node %s: %s: %v has been used since it was allocated: its state would be lost", d.cfg.Name, opName(op), op.A)
	case d.ends[op.Link] == nil:
		err = qnet.Errorf(qnet.ErrInvalid, "node %s has no end of link %d", d.cfg.Name, op.Link)
	}
	return s, err
}

// refreshAfter has the qubit initialised anew, from t on, in the pauses of a
// pattern of attempts on a link.
func (s *slot) refreshAfter(t qnet.Time, l *Link, p *physical.Pattern) {
	s.dev.f.reinitialise(s, t) // as it was to be until now
	if s.refresh == nil {
		s.refresh = new(refresh)
	}
	*s.refresh = refresh{on: p != nil, link: l, from: t, until: qnet.Never}
	if p != nil {
		s.refresh.pattern = *p
	}
}

// use tells that an operation on the qubit begins at t.
func (s *slot) use(t qnet.Time) {
	s.unused = false
	if r := s.refresh; r != nil {
		r.until = min(r.until, t)
	}
}

// reinitialise brings a qubit that is initialised anew in pauses to the state
// that it has at t, which must not be after an operation on it that is still to be
// asked for.
func (f *Fabric) reinitialise(s *slot, t qnet.Time) {
	r := s.refresh
	if r == nil || !r.on {
		return
	}
	if t >= r.until {
		t, r.on = r.until, false
	}
	cycles := &r.link.cycles
	cycle, ok := r.pattern.Resumed(cycles.From(t+1) - 1)
	if !ok {
		return
	}
	at := cycles.Instant(cycle)
	if at <= r.from {
		return
	}
	r.from = at
	_ = f.initialise(s, at) // the qubit exists: this does not fail
}

// initialise sets a qubit to |0⟩, as well as its hardware can.
func (f *Fabric) initialise(s *slot, t qnet.Time) (err error) {
	id := state.ID(s.index)
	f.world.Zero(id, t, s.kind.decay)
	if q := s.kind.noise.InitDepolarising; q > 0 {
		err = f.world.Depolarise(id, t, q)
	}
	return err
}
