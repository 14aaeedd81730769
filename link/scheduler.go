package link

import (
	"encoding/binary"
	"math"
	"slices"
)

// Entry is what a scheduler knows of a request.
type Entry struct {
	ID           RequestID
	Place        uint64 // order of arrival, on which both ends agree
	Priority     uint8
	Atomic       bool
	Pairs        uint64 // 0: until ended
	Deadline     uint64 // the attempt cycle at which both ends give up; 0 for none
	Purpose, Tag uint64
	// Class is the number of those requests that may be served in the same cycles, and
	// lack the same: 0 or above, and there are few. It is set before Admit.
	Class int
	// PairCycles is the estimated number of attempt cycles that one pair takes.
	PairCycles float64
	// Quantum is the number of cycles that are worth a change to another request; 0
	// where it costs nothing.
	Quantum float64
	// Claim is the number of cycles by which a request can be behind others of its class,
	// and its class behind others, at most: by more neither chance nor the steps in which
	// pairs come leave one that could be served, but slots and shortages do. 0: no bound.
	Claim float64
	// Turn is the scheduler's own: set by Admit, told to the other end, moved on by
	// Served.
	Turn float64

	owed  float64 // cycles that Turn has yet to move on by
	begun bool    // Fair: an atomic request was served
}

// Scheduler decides which request is served first. Both ends of a link have one
// of the same kind, and what it decides by is the same at both.
type Scheduler interface {
	// Admit sets the Turn of a request that joins the queue in a cycle. It is called
	// at side 0 alone, in order of Place.
	Admit(e *Entry, cycle uint64)
	// Served tells that pairs of a request were made.
	Served(e *Entry, pairs uint64)
	// Wanted tells that pairs of a request are wanted from now on, or are no more.
	Wanted(e *Entry, is bool)
	// Resume tells that a request is about to be wanted again that was not for a while.
	Resume(e *Entry)
	// Left tells that a request is out of the queue, of which so many pairs were to come.
	Left(e *Entry, pairs uint64)
	// Shift returns by how much the turns of the class of e are later beside those of
	// other classes, at least so much from now on. The ends tell each other.
	Shift(e *Entry, least float64) float64
	// Before reports whether a is served before b. It is a strict order.
	Before(a, b *Entry) bool
	// Class returns the number, from 0 on, of the class of a request: those of one
	// class may be served in the same cycles. The number does not change while the
	// request is there, and there are few.
	Class(e *Entry) int
	// Slot returns which requests may be served in a cycle, nil for all, and the
	// first cycle after it in which that changes, 0 for never. What may tells of a
	// request holds for all of its class.
	Slot(cycle uint64) (may func(*Entry) bool, next uint64)
}

// FCFS serves first what came first.
type FCFS struct{}

// Admit implements Scheduler.
func (FCFS) Admit(*Entry, uint64) {}

// Served implements Scheduler.
func (FCFS) Served(*Entry, uint64) {}

// Wanted implements Scheduler.
func (FCFS) Wanted(*Entry, bool) {}

// Resume implements Scheduler.
func (FCFS) Resume(*Entry) {}

// Left implements Scheduler.
func (FCFS) Left(*Entry, uint64) {}

// Shift implements Scheduler.
func (FCFS) Shift(*Entry, float64) float64 { return 0 }

// Before implements Scheduler.
func (FCFS) Before(a, b *Entry) bool { return a.Place < b.Place }

// Class implements Scheduler.
func (FCFS) Class(*Entry) int { return 0 }

// Slot implements Scheduler.
func (FCFS) Slot(uint64) (func(*Entry) bool, uint64) { return nil, 0 }

// EDF serves first what is due first (earliest deadline), and among equals what
// came first.
type EDF struct{ FCFS }

// Before implements Scheduler.
func (EDF) Before(a, b *Entry) bool {
	// No deadline, 0, is the latest: it wraps to the largest.
	if x, y := a.Deadline-1, b.Deadline-1; x != y {
		return x < y
	}
	return a.Place < b.Place
}

// clock is a virtual time, the Turn of what was served last. Each class has its own, which
// stands still while the class may not be served, or by fewer lanes than others: so the
// requests of a class are always served as they are to be beside each other.
type clock struct {
	now     float64 // the latest of all classes
	classes []classClock
}

type classClock struct {
	wanted int                      // requests that are
	front  float64                  // Turn of what was served last
	shift  float64                  // to be added to turns of the class beside those of others
	atomic float64                  // Fair: Turn of the atomic request that was over last
	finish [MaxPriority + 1]float64 // Weighted: by priority, of what has joined
}

// class returns the clock of a class.
func (c *clock) class(n int) *classClock {
	for n >= len(c.classes) {
		c.classes = append(c.classes, classClock{})
	}
	return &c.classes[n]
}

// serve moves the clocks on to a turn that is served. A class that is behind others by
// more than a claim goes on from there.
func (c *clock) serve(t *classClock, turn, claim float64) {
	t.front = max(t.front, turn)
	c.now = max(c.now, t.front+t.shift)
	if claim > 0 {
		t.shift = max(t.shift, c.now-t.front-claim)
	}
}

// rested returns the time of a class, which goes on from that of the others if nothing
// of it was wanted: it has no claim to what it did not take.
func (c *clock) rested(t *classClock) float64 {
	if t.wanted == 0 {
		t.front = max(t.front, c.now-t.shift)
	}
	return t.front
}

// want counts the requests that are wanted.
func (c *clock) want(t *classClock, is bool) {
	if c.rested(t); is {
		t.wanted++
	} else {
		t.wanted--
	}
}

// before reports whether a is before b by this clock, and whether they are at one time.
func (c *clock) before(a, b *Entry) (before, same bool) {
	x, y := a.Turn, b.Turn
	if a.Class != b.Class {
		x += c.class(a.Class).shift
		y += c.class(b.Class).shift
	}
	return x < y, x == y
}

// Fair serves the larger priority before the smaller, and lets the requests of
// one priority share the link: each has had as much time of it as any other since
// it came (start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996). A Fair
// belongs to one end of one link.
type Fair struct {
	clocks [MaxPriority + 1]clock // by priority
}

func (f *Fair) clock(e *Entry) (*clock, *classClock) {
	c := &f.clocks[min(e.Priority, MaxPriority)]
	return c, c.class(e.Class)
}

// Admit implements Scheduler.
func (f *Fair) Admit(e *Entry, _ uint64) {
	c, t := f.clock(e)
	if e.Turn = c.rested(t); e.Atomic {
		e.Turn = max(e.Turn, t.atomic)
	}
}

// Served implements Scheduler.
func (f *Fair) Served(e *Entry, pairs uint64) {
	c, t := f.clock(e)
	if !e.begun {
		c.serve(t, e.Turn, e.Claim)
	}
	e.begun = e.Atomic
	if e.Claim > 0 {
		e.Turn = max(e.Turn, t.front-e.Claim)
	}
	turn := float64(pairs)*e.PairCycles + e.owed
	if e.owed = 0; e.Quantum > 0 { // in whole ones, so that it does not matter in what parts pairs come
		e.owed = math.Mod(turn, e.Quantum)
	}
	e.Turn += turn - e.owed
}

// Wanted implements Scheduler.
func (f *Fair) Wanted(e *Entry, is bool) {
	c, t := f.clock(e)
	c.want(t, is)
}

// Resume implements Scheduler: what was not wanted has no claim to what it did
// not take, but for a quantum, the unit in which turns are counted.
func (f *Fair) Resume(e *Entry) {
	c, t := f.clock(e)
	e.Turn = max(e.Turn, c.rested(t)-e.Quantum)
}

// Left implements Scheduler: the next ones come after what it has taken, as its next
// pairs would. An atomic one took its pairs before it was its turn for them, which is for
// the next atomic ones alone to make up for.
func (f *Fair) Left(e *Entry, _ uint64) {
	c, t := f.clock(e)
	if e.Atomic {
		t.atomic = max(t.atomic, e.Turn+e.owed)
		return
	}
	c.serve(t, e.Turn+e.owed, 0)
}

// Shift implements Scheduler.
func (f *Fair) Shift(e *Entry, least float64) float64 {
	_, t := f.clock(e)
	t.shift = max(t.shift, least)
	return t.shift
}

// Before implements Scheduler.
func (f *Fair) Before(a, b *Entry) bool {
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	c, _ := f.clock(a)
	if before, same := c.before(a, b); !same {
		return before
	}
	return a.Place < b.Place
}

// Class implements Scheduler.
func (f *Fair) Class(*Entry) int { return 0 }

// Slot implements Scheduler.
func (f *Fair) Slot(uint64) (func(*Entry) bool, uint64) { return nil, 0 }

// Weighted serves priorities strictly or by weighted fair queueing (Demers,
// Keshav and Shenker, SIGCOMM 1989, with the virtual time of start-time fair
// queueing, Goyal, Vin and Cheng, SIGCOMM 1996): strict ones first, the larger
// before the smaller, then the others, each flow in proportion to the weight of its
// priority. The requests of one priority and class are a flow, served in the order in
// which they came; each that has no end is a flow of its own.
//
// The zero value serves all priorities strictly. A Weighted belongs to one end of
// one link.
type Weighted struct {
	// Weights are those of the priorities from 0 on; 0, as that of those beyond,
	// stands for a priority that is served strictly.
	Weights []float64
	// Reference counts virtual time as the simulations of Dahlberg et al. did: a
	// pair moves its request on by its cycles without regard to the weight, and
	// what joins an idle queue is not put behind what was served meanwhile.
	Reference bool

	clocks [MaxPriority + 2]clock // by priority; the last is that of all weighted ones
}

// clock returns the virtual time that a request lives in, and its share.
func (w *Weighted) clock(e *Entry) (c *clock, t *classClock, share float64) {
	share, strict := w.weight(e.Priority)
	c = &w.clocks[MaxPriority+1]
	if strict {
		c = &w.clocks[min(e.Priority, MaxPriority)]
	}
	class := e.Class
	if w.Reference {
		class = 0
	}
	return c, c.class(class), share
}

// weight returns the share of a priority, and whether it is served strictly.
func (w *Weighted) weight(priority uint8) (share float64, strict bool) {
	sum := 0.0
	for _, x := range w.Weights {
		sum += x
	}
	if int(priority) >= len(w.Weights) || w.Weights[priority] == 0 {
		return 1, true
	}
	return w.Weights[priority] / sum, false
}

// Admit implements Scheduler.
func (w *Weighted) Admit(e *Entry, cycle uint64) {
	c, t, share := w.clock(e)
	priority := min(e.Priority, MaxPriority)
	turns := max(1, float64(e.Pairs)) * e.PairCycles / share
	start := c.rested(t)
	switch {
	case w.Reference:
		start = max(float64(cycle), t.finish[priority])
		t.finish[priority] += turns
	case e.Pairs > 0:
		start = max(start, t.finish[priority])
		t.finish[priority] = start + turns
	}
	e.Turn = start + e.PairCycles/share
	if e.Atomic {
		e.Turn = start + turns
	}
}

// Served implements Scheduler.
func (w *Weighted) Served(e *Entry, pairs uint64) {
	c, t, share := w.clock(e)
	if w.Reference {
		if !e.Atomic || e.Pairs == 0 {
			e.Turn += float64(pairs) * e.PairCycles
		}
		return
	}
	claim, turns := e.Claim/share, e.PairCycles/share
	if e.Atomic {
		turns *= max(1, float64(e.Pairs))
	}
	c.serve(t, e.Turn-turns, claim)
	if e.Atomic && e.Pairs > 0 {
		return
	}
	if claim > 0 {
		e.Turn = max(e.Turn, t.front-claim)
	}
	e.Turn += float64(pairs) * e.PairCycles / share
}

// Wanted implements Scheduler.
func (w *Weighted) Wanted(e *Entry, is bool) {
	c, t, _ := w.clock(e)
	c.want(t, is)
}

// Resume implements Scheduler: what was not wanted has no claim to what it did
// not take.
func (w *Weighted) Resume(e *Entry) {
	if c, t, _ := w.clock(e); !w.Reference {
		e.Turn = max(e.Turn, c.rested(t))
	}
}

// Left implements Scheduler.
func (w *Weighted) Left(e *Entry, pairs uint64) {
	if _, t, share := w.clock(e); !w.Reference {
		t.finish[min(e.Priority, MaxPriority)] -= float64(pairs) * e.PairCycles / share
	}
}

// Shift implements Scheduler.
func (w *Weighted) Shift(e *Entry, least float64) float64 {
	_, t, _ := w.clock(e)
	t.shift = max(t.shift, least)
	return t.shift
}

// Before implements Scheduler.
func (w *Weighted) Before(a, b *Entry) bool {
	_, sa := w.weight(a.Priority)
	_, sb := w.weight(b.Priority)
	switch {
	case sa != sb:
		return sa
	case sa && a.Priority != b.Priority:
		return a.Priority > b.Priority
	}
	c, _, _ := w.clock(a)
	if before, same := c.before(a, b); !same {
		return before
	}
	return a.Place < b.Place
}

// Class implements Scheduler.
func (*Weighted) Class(*Entry) int { return 0 }

// Slot implements Scheduler.
func (*Weighted) Slot(uint64) (func(*Entry) bool, uint64) { return nil, 0 }

// Slots serves requests in time slots that the network has agreed on, as a
// controller of the network would hand out: a table that repeats for ever.
// Within a slot the order is that of Scheduler. A Slots belongs to one end of one
// link.
type Slots struct {
	Scheduler        // of the requests of a slot
	Period    uint64 // cycles after which the table repeats, above 0
	Table     []Slot // in order of Begin; not to be changed

	classes map[string]int // by the slots of the table that serve them
	slots   []byte         // scratch of Class
}

// Slot is a part of the table of Slots.
type Slot struct {
	Begin, End uint64 // cycles of the period, End not included
	// Purposes and Priorities are those of the requests that may be served; nil for
	// all.
	Purposes   []uint64
	Priorities []uint8
}

// Class implements Scheduler: of one class is what the same slots of the table serve.
func (s *Slots) Class(e *Entry) int {
	s.slots = s.slots[:0]
	for i := range s.Table {
		if s.Table[i].may(e) {
			s.slots = binary.AppendUvarint(s.slots, uint64(i))
		}
	}
	n, ok := s.classes[string(s.slots)]
	if !ok {
		if s.classes == nil {
			s.classes = make(map[string]int)
		}
		n = len(s.classes)
		s.classes[string(s.slots)] = n
	}
	return n
}

// Slot implements Scheduler.
func (s *Slots) Slot(cycle uint64) (may func(*Entry) bool, next uint64) {
	at := cycle % s.Period
	base := cycle - at
	for i := range s.Table {
		t := &s.Table[i]
		if at < t.Begin {
			return nobody, base + t.Begin
		}
		if at < t.End {
			return t.may, base + t.End
		}
	}
	next = base + s.Period
	if len(s.Table) > 0 && s.Table[0].Begin > 0 {
		next += s.Table[0].Begin
	}
	return nobody, next
}

func nobody(*Entry) bool { return false }

func (t *Slot) may(e *Entry) bool {
	return (t.Purposes == nil || slices.Contains(t.Purposes, e.Purpose)) && (t.Priorities == nil || slices.Contains(t.Priorities, e.Priority))
}
