package fabric

import (
	"fmt"
	"strings"

	"qstack/physical"
	"qstack/qnet"
)

// unit is a communication qubit that the lanes of a node share.
type unit struct {
	slot *slot     // of the lane that has it; nil: free
	busy qnet.Time // when it is done with what it was asked for before
}

// idle returns the free unit that can be used first, or nil.
func (d *device) idle() (best *unit) {
	for i := range d.units {
		if u := &d.units[i]; u.slot == nil && (best == nil || u.busy < best.busy) {
			best = u
		}
	}
	return best
}

// claim gives a lane a free unit.
func (s *slot) claim(u *unit) {
	u.slot, s.unit = s, u
	s.busy = u.busy
}

// disclaim gives the lane's unit back.
func (s *slot) disclaim() {
	s.unit.slot, s.unit.busy = nil, s.busy
	s.unit = nil
}

// users names the lanes that have the units.
func (d *device) users() string {
	var b strings.Builder
	for i := range d.units {
		if s := d.units[i].slot; s != nil {
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "link %d lane %d", s.end.link.cfg.ID, s.lane)
		}
	}
	return b.String()
}

// tell lets the node know that the qubit of a lane has become free: all lanes
// that could take it if it is shared, in turn, those after the lane that had it
// first.
func (d *device) tell(s *slot, generation uint32) {
	if len(d.units) > 0 {
		lanes := d.slots[len(d.storage):]
		first := int(s.index-lanes[0].index) + 1
		for i := range lanes {
			if d.watch == nil || d.idle() == nil {
				return
			}
			if l := &lanes[(first+i)%len(lanes)]; l.status == statusFree {
				d.watch(l.end.link.cfg.ID, l.lane)
			}
		}
		return
	}
	if s.status == statusFree && s.generation == generation && d.watch != nil {
		d.watch(s.end.link.cfg.ID, s.lane)
	}
}

// initialiser returns the instant from which a free communication qubit can
// initialise a storage qubit. Setting it occupies the qubit.
func (d *device) initialiser() (busy *qnet.Time, err error) {
	if len(d.units) > 0 {
		if u := d.idle(); u != nil {
			return &u.busy, nil
		}
	} else {
		for i := range d.slots[len(d.storage):] {
			s := &d.slots[len(d.storage)+i]
			if s.status == statusFree && (busy == nil || s.busy < *busy) {
				busy = &s.busy
			}
		}
		if busy != nil {
			return busy, nil
		}
	}
	return nil, qnet.Errorf(qnet.ErrNoMemory, "node %s: a storage qubit is initialised through a communication qubit, and all of them are in use: free one first", d.cfg.Name)
}

// couple returns an error unless the hardware can let two different qubits
// interact.
func (d *device) couple(op *physical.Op, a, b *slot) error {
	if d.cfg.Spec.Coupling == physical.CouplingStar && (a.end == nil) == (b.end == nil) {
		return qnet.Errorf(qnet.ErrUnsupported, "node %s: %s: %v and %v are %s qubits both: this hardware couples a communication qubit and a storage qubit only", d.cfg.Name, opName(op), op.A, op.B, a.kind.name)
	}
	if op.Kind == physical.OpBSM && a.kind.indirect && b.kind.indirect {
		return qnet.Errorf(qnet.ErrUnsupported, "node %s: %s: %v and %v are storage qubits both, which are read out through a communication qubit: swap one into a communication qubit first", d.cfg.Name, opName(op), op.A, op.B)
	}
	return nil
}
