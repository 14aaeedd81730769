package fabric

import (
	"math"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

// Attempts on a link dephase what the node stores: each flips the phase of every
// storage qubit of an end with the probability that this end has at the operating
// point of the attempt, so that N attempts leave (1−2p)^N of its coherence. An end
// counts its attempts at each point, a storage qubit remembers the counts of its
// last touch, and what was attempted since acts on it before it is touched again;
// a phase flip commutes with the decay meanwhile. An attempt counts from the
// instant that its photons are at the station, and so for the qubits that are
// stored at that instant: |0⟩, as a qubit is prepared, does not feel those of
// before.

// flips counts the attempts of an end at an operating point.
type flips struct {
	end      *end
	keep     float64 // logarithm of the coherence that an attempt leaves to storage qubits
	attempts uint64  // those that have acted on them, without those of active lanes
	active   []*slot // lanes that attempt
}

// Begin makes a lane of either side attempt at an operating point, in the cycles
// of a pattern from first until last, which is to be the next that succeeds, in
// place of what it attempted before.
func (l *Link) Begin(lanes [2]uint32, point int, p physical.Pattern, first, last uint64) {
	if l.point(point) == nil {
		return
	}
	for side := range l.ends {
		e := &l.ends[side]
		if e.flips == nil {
			continue
		}
		s := l.armed(side, lanes[side])
		if s == nil {
			continue
		}
		f := &e.flips[point]
		switch {
		case s.flips == f:
			f.attempts += s.before(s.last + 1)
		case s.flips != nil:
			s.stop(s.last + 1)
		}
		if f.keep == 0 {
			continue
		}
		if s.flips == nil {
			s.flips = f
			f.active = append(f.active, s)
		}
		s.pattern, s.first, s.last = p, first, last
	}
}

// Until makes a lane of either side, which attempts, go on until cycle last, its
// next success, instead of the one that it was told.
func (l *Link) Until(lanes [2]uint32, last uint64) {
	for side := range l.ends {
		if s := l.armed(side, lanes[side]); s != nil {
			s.last = last // of no account when it does not attempt
		}
	}
}

// End makes a lane of either side attempt no more from the given cycle on.
func (l *Link) End(lanes [2]uint32, cycle uint64) {
	for side := range l.ends {
		if e := &l.ends[side]; int64(lanes[side]) < int64(len(e.slots)) {
			e.slots[lanes[side]].stop(cycle)
		}
	}
}

// stop ends the attempts of a lane before the given cycle.
func (s *slot) stop(cycle uint64) {
	f := s.flips
	if f == nil {
		return
	}
	f.attempts += s.before(cycle)
	s.flips = nil
	for i, o := range f.active {
		if o == s {
			last := len(f.active) - 1
			f.active[i] = f.active[last]
			f.active = f.active[:last]
			return
		}
	}
}

// pause has the lane make no attempts that would emit from one instant to
// another.
func (s *slot) pause(from, to qnet.Time) {
	s.ready = max(s.ready, to)
	if s.flips == nil {
		return
	}
	cycles := &s.end.link.cycles
	s.flips.attempts += s.before(cycles.From(from))
	s.first = max(s.first, cycles.From(to))
}

// before returns the number of attempts before the given cycle.
func (s *slot) before(cycle uint64) uint64 {
	cycle = min(cycle, s.last+1)
	switch {
	case cycle <= s.first:
		return 0
	case s.pattern.IsZero():
		return cycle - s.first
	}
	return s.pattern.Index(cycle) - s.pattern.Index(s.first)
}

// made returns the number of attempts until t.
func (f *flips) made(t qnet.Time) uint64 {
	n := f.attempts
	if len(f.active) > 0 {
		l := f.end.link
		next := l.cycles.From(t.Add(-l.half) + 1)
		for _, s := range f.active {
			n += s.before(next)
		}
	}
	return n
}

// coherence returns the logarithm of what attempts until t have left of the
// coherence that the storage qubit had at its last touch.
func (s *slot) coherence(t qnet.Time) (log float64) {
	for i, mark := range s.marks {
		f := s.dev.dephasing[i]
		// Attempts that were expected and then withdrawn may have counted.
		if n := int64(f.made(t) - mark); n > 0 {
			log += float64(n) * f.keep
		}
	}
	return log
}

// mark forgets the attempts until t.
func (s *slot) mark(t qnet.Time) {
	for i, mark := range s.marks {
		s.marks[i] = max(mark, s.dev.dephasing[i].made(t))
	}
}

// settle makes the attempts until t act on the qubit, which is about to be
// touched, and initialises it anew before that if it was to be.
func (f *Fabric) settle(s *slot, t qnet.Time) {
	if s.refresh != nil {
		f.reinitialise(s, t)
	}
	log := s.coherence(t)
	if log == 0 {
		return
	}
	s.mark(t)
	// The qubit exists and the probability is one: this does not fail.
	_ = f.world.Dephase(state.ID(s.index), t, -math.Expm1(log)/2)
}

// dephased makes the attempts until t act on a density matrix of the given
// qubits, the first the most significant.
func (f *Fabric) dephased(t qnet.Time, ids []state.ID, rho []complex128) {
	n := 1 << len(ids)
	for k, id := range ids {
		log := f.slots[id].coherence(t)
		if log == 0 {
			continue
		}
		c, bit := complex(math.Exp(log), 0), n>>1>>k
		for i := range rho {
			if (i/n^i%n)&bit != 0 {
				rho[i] *= c
			}
		}
	}
}

// pending reports whether attempts have to act on one of the qubits.
func (f *Fabric) pending(t qnet.Time, ids []state.ID) bool {
	for _, id := range ids {
		if f.slots[id].coherence(t) != 0 {
			return true
		}
	}
	return false
}
