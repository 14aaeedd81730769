package fabric

import (
	"math"
	"math/rand/v2"
	"time"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
)

// Link is what the station of a link can do: see which lanes are armed, and
// herald. A lane is a communication qubit of one end, counted from 0; sides are 0
// for the end A of the configuration and 1 for B. When an attempt succeeds is
// the station's to sample, with a random stream of its own; which kind of
// success it is and what state is left is nature's.
type Link struct {
	f        *Fabric
	cfg      LinkConfig
	points   []point
	cycles   physical.Cycles
	rng      *rand.Rand
	half     time.Duration
	ends     [2]end // A, B
	onArm    func(side int, lane uint32)
	onPause  func(side int, lane uint32, until qnet.Time)
	onChange func(first uint64)
}

// point is an operating point of a link.
type point struct {
	line  *herald.Timeline
	eras  [maxEras]*era
	nEras uint // ever made
}

// point returns an operating point, nil if there is no such.
func (l *Link) point(i int) *point {
	if uint(i) >= uint(len(l.points)) {
		return nil
	}
	return &l.points[i]
}

// end is one end of a link.
type end struct {
	link  *Link
	side  int
	dev   *device
	slots []slot  // by lane
	flips []flips // by operating point; nil where attempts dephase nothing
}

// ID returns the link's id.
func (l *Link) ID() physical.LinkID { return l.cfg.ID }

// Ends returns the nodes at the two ends.
func (l *Link) Ends() (a, b qnet.NodeID) { return l.cfg.A, l.cfg.B }

// Lanes returns how many communication qubits the end A (0) or B (1) has for the
// link. The station can herald a pair on any lane of one and any of the other.
func (l *Link) Lanes(side int) int { return len(l.ends[side].slots) }

// Points returns the number of operating points, which are counted from 0. At one
// that does not exist nothing is attempted and nothing heralded.
func (l *Link) Points() int { return len(l.points) }

// Next samples, from the station's own stream, the cycle of the first success
// among the attempts of a pattern at an operating point, from the given cycle on.
// ok is false when there will be none, unless the link changes.
func (l *Link) Next(rng *rand.Rand, point int, from uint64, p physical.Pattern) (cycle uint64, ok bool) {
	at := l.point(point)
	if at == nil {
		return 0, false
	}
	return at.line.Next(rng, from, p)
}

// Immediate reports whether the pairs of the link are measured as they arrive
// (see herald.Immediate). Then its lanes can be armed for measuring directly
// only, and a lane is ready for the next cycle at once.
func (l *Link) Immediate() bool { return l.points[0].line.Immediate() }

// Continuous reports whether a lane that measures directly is ready for the next
// cycle after any that succeeded: where light is measured as it arrives, and where attempts are
// pipelined.
func (l *Link) Continuous() bool { return l.Immediate() || l.cfg.Pipelined }

// Interrupted reports whether operations of a node interrupt the attempts of its lanes,
// so that successes of before can not be heralded any more.
func (l *Link) Interrupted() bool {
	return l.ends[0].dev.cfg.Spec.Serial || l.ends[1].dev.cfg.Spec.Serial
}

// Replace changes the link, for each operating point from the first segment of its
// future on, or from now on if that is later: its channels are assigned anew, say,
// or it is lost for a while. What was emitted before stays as it is; the station is
// told to sample anew what is emitted after. It fails with qnet.ErrInvalid, and
// changes nothing, unless there is a future for every point, and when one is empty
// or not valid, or has another attempt period than the link, or models that are
// Immediate on a link whose are not, or the reverse. It may be without any model.
func (l *Link) Replace(futures ...herald.Schedule) error {
	if len(futures) != len(l.points) {
		return qnet.Errorf(qnet.ErrInvalid, "link %d: %d schedules for its %d operating points: want one for each", l.cfg.ID, len(futures), len(l.points))
	}
	now, first := l.f.loop.Now(), uint64(math.MaxUint64)
	for i, future := range futures[1:] { // the first is checked when it is put to use, before any other
		if err := l.points[i+1].line.Check(future); err != nil {
			return qnet.Errorf(qnet.CodeOf(err), "link %d: operating point %d: %v", l.cfg.ID, i+1, err)
		}
	}
	for i := range futures {
		c, err := l.points[i].line.Amend(now, futures[i])
		if err != nil {
			return qnet.Errorf(qnet.CodeOf(err), "link %d: %v", l.cfg.ID, err)
		}
		first = min(first, c)
	}
	if tr := l.f.tr; tr != nil {
		tr.Event(l.f.loop.Now(), "fabric", "replace").Uint("link", uint64(l.cfg.ID)).Uint("cycle", first).End()
	}
	if l.onChange != nil {
		l.onChange(first)
	}
	return nil
}

// Period returns the time from one cycle to the next in nanoseconds.
func (l *Link) Period() float64 { return l.cycles.Period }

// CycleInstant returns the emission instant of a cycle.
func (l *Link) CycleInstant(c uint64) qnet.Time { return l.cycles.Instant(c) }

// CycleAt returns the first cycle that emits at t or later.
func (l *Link) CycleAt(t qnet.Time) uint64 { return l.cycles.From(t) }

// HalfDelay returns the time that photons and messages take between either end
// and the station. What is emitted in cycle c is heralded half a delay later,
// and known at the ends a whole one later.
func (l *Link) HalfDelay() time.Duration { return l.half }

// OnArm makes f be called on the loop whenever a lane of one side was armed.
func (l *Link) OnArm(f func(side int, lane uint32)) { l.onArm = f }

// OnInterrupt makes f be called before an operation of a node interrupts the attempts
// of a lane of one side until an instant: what has succeeded by now can still be heralded.
func (l *Link) OnInterrupt(f func(side int, lane uint32, until qnet.Time)) { l.onPause = f }

// OnChange makes f be called whenever the link is replaced: a success that was
// sampled for the given cycle or a later one is void and has to be sampled anew,
// from no cycle before.
func (l *Link) OnChange(f func(first uint64)) { l.onChange = f }

// Armed returns the instant from which a lane of one side is initialised: a
// cycle that emits at it or later may be heralded. ok is false when the lane is
// not armed. After HeraldBulk the instant is that at which the qubit has been
// measured and initialised anew.
func (l *Link) Armed(side int, lane uint32) (from qnet.Time, ok bool) {
	s := l.armed(side, lane)
	if s == nil {
		return 0, false
	}
	return s.ready, true
}

// armed returns the slot of a lane if it is armed, else nil.
func (l *Link) armed(side int, lane uint32) *slot {
	e := &l.ends[side]
	if int64(lane) >= int64(len(e.slots)) || !e.slots[lane].isArmed() {
		return nil
	}
	return &e.slots[lane]
}

// era is what the station announces, and what is left, in the cycles of one
// segment of the link's timeline.
type era struct {
	sampler *herald.Sampler
	states  []heralded // by kind of herald
	decayed []decayed  // see bulk.go
	tables  [maxTables]table
	nTables uint // ever made
}

// maxEras bounds the eras of a point that are at hand.
const maxEras = 4

// era returns what holds in a cycle, nil when nothing succeeds in it, and the
// last cycle up to which it does. The eras used last are kept.
func (p *point) era(cycle uint64) (e *era, last uint64) {
	s, last := p.line.Span(cycle)
	if s == nil {
		return nil, last
	}
	for _, e := range p.eras {
		if e != nil && e.sampler == s {
			return e, last
		}
	}
	e = &era{sampler: s, states: heralds(s)}
	p.eras[p.nEras%maxEras] = e
	p.nEras++
	return e, last
}

// entangle prepares the state of a kind of herald.
func (h *heralded) entangle(w *state.World, a, b state.ID, t qnet.Time, da, db state.Decay) {
	if h.diagonal {
		w.Pair(a, b, t, da, db, h.weights)
	} else {
		w.Entangle(a, b, t, da, db, (*[16]complex128)(h.rho))
	}
}

// heralded is the state of a kind of herald, as the engines want it.
type heralded struct {
	rho      *herald.State
	diagonal bool
	weights  [4]float64
}

// heralds returns the states of the heralds of a model.
func heralds(s *herald.Sampler) []heralded {
	list := make([]heralded, len(s.Heralds()))
	for i := range list {
		rho := &s.Heralds()[i].State
		list[i] = heralded{rho, rho.IsBellDiagonal(), rho.Weights()}
	}
	return list
}

// Herald makes the armed qubits of a lane of either side a pair, emitted in the
// given cycle at an operating point, and returns what the station announces. From
// then on the qubits are their holders', who do not know it yet; they decohere from
// the emission on. ok is false, and nothing has happened, when a lane is not armed,
// was not yet at that cycle, or is armed for measuring directly, or when the cycle
// is still to come or can not succeed.
func (l *Link) Herald(lanes [2]uint32, point int, cycle uint64) (label qnet.BellLabel, ok bool) {
	at := l.point(point)
	if at == nil {
		return 0, false
	}
	a, b := l.armed(0, lanes[0]), l.armed(1, lanes[1])
	t := l.cycles.Instant(cycle)
	if a == nil || b == nil || a.status != statusArmed || b.status != statusArmed || t < a.ready || t < b.ready || t > l.f.loop.Now() {
		return 0, false
	}
	e, _ := at.era(cycle)
	if e == nil {
		return 0, false
	}
	k := e.sampler.Herald(l.rng)
	h := &e.sampler.Heralds()[k]
	e.states[k].entangle(&l.f.world, state.ID(a.index), state.ID(b.index), t, a.kind.decay, b.kind.decay)
	a.status, b.status = statusHeld, statusHeld
	l.End(lanes, cycle+1)
	if tr := l.f.tr; tr != nil {
		tr.Event(l.f.loop.Now(), "fabric", "herald").Uint("link", uint64(l.cfg.ID)).Uint("a", uint64(a.index)).Uint("b", uint64(b.index)).
			Uint("cycle", cycle).Str("label", h.Label.String()).Int("at", int64(t)).End()
	}
	return h.Label, true
}
