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
	// Kind is set before Admit.
	Kind
	// PairCycles is the estimated number of attempt cycles that one pair takes.
	PairCycles float64
	// Quantum is the number of cycles that are worth a change to another request; 0
	// where it costs nothing.
	Quantum float64
	// Claim is the number of cycles by which a request can be behind others of its class,
	// and its class behind others, at most: by more neither chance nor the steps in which
	// pairs come leave one that could be served, but slots and shortages do. 0: no bound.
	Claim float64
	// Ahead is the number of cycles that those of its flow take that come before it, and
	// are asked of Before beside it.
	Ahead float64
	// Turn is the scheduler's own: set by Admit, told to the other end, moved on by
	// Served.
	Turn float64

	owed  float64 // cycles that Turn has yet to move on by
	begun bool    // an atomic request was served
}

// Kind is what does not change of where a request is in the order of service. Numbers
// are from 0 on, and there are few.
type Kind struct {
	Class int // those of one may be served in the same cycles, and lack the same
	Flow  int // those of one, but for 0, are served in the order of Place
	Tier  int // the larger is served before the smaller wherever their turns are
}

// Scheduler decides which request is served first. Both ends of a link have one
// of the same kind, and what it decides by is the same at both.
type Scheduler interface {
	// Admit sets the Turn of a request that joins the queue in a cycle. It is called
	// at side 0 alone, in order of Place.
	Admit(e *Entry, cycle uint64)
	// Served tells that pairs of a request were made.
	Served(e *Entry, pairs uint64)
	// Move moves the Turn of a request on as pairs do, and nothing else.
	Move(e *Entry, pairs uint64)
	// Settle tells that the ends differ in the order: Turn is to tell the other end when e
	// is served.
	Settle(e *Entry)
	// Wanted tells that pairs of a request are wanted from now on, or are no more.
	Wanted(e *Entry, is bool)
	// Resume tells that a request is about to be wanted again that was not for a while.
	Resume(e *Entry)
	// Left tells that a request is out of the queue.
	Left(e *Entry)
	// Shift returns by how much the turns of the class of e are later beside those of
	// other classes, at least so much from now on. The ends tell each other.
	Shift(e *Entry, least float64) float64
	// Before reports whether a is served before b. It is a strict order of the first of all
	// flows and classes, and of the requests of one flow and class, where it changes for
	// a request alone that is served or resumed.
	Before(a, b *Entry) bool
	// Within reports whether e is served beside first, of its tier, on other lanes: it is
	// not later by more than so many cycles of service of first.
	Within(e, first *Entry, cycles float64) bool
	// Kind returns the kind of a request.
	Kind(e *Entry) Kind
	// Slot returns which requests may be served in a cycle, nil for all, and the
	// first cycle after it in which that changes, 0 for never. What may tells of a
	// request holds for all of its class.
	Slot(cycle uint64) (may func(*Entry) bool, next uint64)
}

// plain has no turns, and one kind of requests.
type plain struct{}

// Admit implements Scheduler.
func (plain) Admit(*Entry, uint64) {}

// Served implements Scheduler.
func (plain) Served(*Entry, uint64) {}

// Move implements Scheduler.
func (plain) Move(*Entry, uint64) {}

// Settle implements Scheduler.
func (plain) Settle(*Entry) {}

// Wanted implements Scheduler.
func (plain) Wanted(*Entry, bool) {}

// Resume implements Scheduler.
func (plain) Resume(*Entry) {}

// Left implements Scheduler.
func (plain) Left(*Entry) {}

// Shift implements Scheduler.
func (plain) Shift(*Entry, float64) float64 { return 0 }

// Within implements Scheduler.
func (plain) Within(_, _ *Entry, _ float64) bool { return true }

// Kind implements Scheduler.
func (plain) Kind(*Entry) Kind { return Kind{} }

// Slot implements Scheduler.
func (plain) Slot(uint64) (func(*Entry) bool, uint64) { return nil, 0 }

// FCFS serves first what came first.
type FCFS struct{ plain }

// Before implements Scheduler.
func (FCFS) Before(a, b *Entry) bool { return a.Place < b.Place }

// EDF serves first what is due first (earliest deadline), and among equals what
// came first.
type EDF struct{ plain }

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
	finish [MaxPriority + 1]float64 // Weighted: by priority, of what was served of its flow
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

// before reports whether a at turn x is before b at y by this clock, and whether they are
// at one time.
func (c *clock) before(a, b *Entry, x, y float64) (before, same bool) {
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
	plain
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
	f.Move(e, pairs)
}

// Move implements Scheduler.
func (*Fair) Move(e *Entry, pairs uint64) {
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
func (f *Fair) Left(e *Entry) {
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
	if a.Tier != b.Tier {
		return a.Tier > b.Tier
	}
	c, _ := f.clock(a)
	if before, same := c.before(a, b, a.Turn, b.Turn); !same {
		return before
	}
	return a.Place < b.Place
}

// Kind implements Scheduler.
func (*Fair) Kind(e *Entry) Kind { return Kind{Tier: int(e.Priority)} }

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
	// request has its turn when it joins, for good, after all that joined before; a
	// pair moves it on by its cycles without regard to the weight, and what joins an
	// idle queue is not put behind what was served meanwhile.
	Reference bool

	plain
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

// Kind implements Scheduler.
func (w *Weighted) Kind(e *Entry) (k Kind) {
	if _, strict := w.weight(e.Priority); strict {
		k.Tier = 1 + int(e.Priority)
	}
	if e.Pairs > 0 && !w.Reference {
		k.Flow = 1 + int(e.Priority)
	}
	return k
}

// flow returns where a flow is, and what was served of it; nil if the request is one of
// its own, by its Turn.
func (t *classClock) flow(e *Entry) *float64 {
	if e.Flow == 0 {
		return nil
	}
	return &t.finish[min(e.Priority, MaxPriority)]
}

// start returns the time from which a request is to be served, were it the first of its
// flow: those before it have had theirs.
func (t *classClock) start(e *Entry) float64 {
	if f := t.flow(e); f != nil {
		return max(e.Turn, *f)
	}
	return e.Turn
}

// Admit implements Scheduler.
func (w *Weighted) Admit(e *Entry, cycle uint64) {
	c, t, share := w.clock(e)
	if e.Turn = c.rested(t); !w.Reference {
		return
	}
	f := &t.finish[min(e.Priority, MaxPriority)] // of what has joined
	start, turns := max(float64(cycle), *f), max(1, float64(e.Pairs))*e.PairCycles/share
	*f += turns
	e.Turn = start + e.PairCycles/share
	if e.Atomic {
		e.Turn = start + turns
	}
}

// Served implements Scheduler.
func (w *Weighted) Served(e *Entry, pairs uint64) {
	if w.Reference {
		w.Move(e, pairs)
		return
	}
	c, t, share := w.clock(e)
	start, claim := t.start(e), e.Claim/share
	if !e.begun {
		c.serve(t, start, claim)
	}
	e.begun = e.Atomic
	if claim > 0 {
		start = max(start, t.front-claim)
	}
	if f := t.flow(e); f != nil {
		*f = start + float64(pairs)*e.PairCycles/share
		return
	}
	e.Turn = start
	w.Move(e, pairs)
}

// Move implements Scheduler.
func (w *Weighted) Move(e *Entry, pairs uint64) {
	if !w.Reference {
		share, _ := w.weight(e.Priority)
		e.Turn += float64(pairs) * e.PairCycles / share
	} else if !e.Atomic || e.Pairs == 0 {
		e.Turn += float64(pairs) * e.PairCycles
	}
}

// Settle implements Scheduler.
func (w *Weighted) Settle(e *Entry) {
	_, t, _ := w.clock(e)
	e.Turn = t.start(e)
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

// Shift implements Scheduler.
func (w *Weighted) Shift(e *Entry, least float64) float64 {
	_, t, _ := w.clock(e)
	t.shift = max(t.shift, least)
	return t.shift
}

// finish returns the time at which a pair of a request is to be there, or all of one that
// is atomic: by this they are served.
func (w *Weighted) finish(t *classClock, e *Entry, share float64) float64 {
	if w.Reference {
		return e.Turn
	}
	turns := e.PairCycles
	if e.Atomic {
		turns *= max(1, float64(e.Pairs))
	}
	return t.start(e) + (e.Ahead+turns)/share
}

// Within implements Scheduler.
func (w *Weighted) Within(e, first *Entry, cycles float64) bool {
	if w.Reference {
		return true
	}
	c, t, share := w.clock(first)
	_, u, other := w.clock(e)
	before, _ := c.before(first, e, w.finish(t, first, share)+cycles/share, w.finish(u, e, other))
	return !before
}

// Before implements Scheduler.
func (w *Weighted) Before(a, b *Entry) bool {
	switch {
	case a.Tier != b.Tier:
		return a.Tier > b.Tier
	case a.Flow > 0 && a.Flow == b.Flow && a.Class == b.Class:
		return a.Place < b.Place
	}
	c, t, share := w.clock(a)
	_, u, other := w.clock(b)
	if before, same := c.before(a, b, w.finish(t, a, share), w.finish(u, b, other)); !same {
		return before
	}
	return a.Place < b.Place
}

// Slots serves requests in time slots that the network has agreed on, as a
// controller of the network would hand out: a table that repeats for ever.
// Within a slot the order is that of Scheduler. A Slots belongs to one end of one
// link.
type Slots struct {
	Scheduler        // of the requests of a slot
	Period    uint64 // cycles after which the table repeats, above 0
	Table     []Slot // in order of Begin; not to be changed

	classes map[string]int // by the slots of the table that serve them
	slots   []byte         // scratch of Kind
}

// Slot is a part of the table of Slots.
type Slot struct {
	Begin, End uint64 // cycles of the period, End not included
	// Purposes and Priorities are those of the requests that may be served; nil for
	// all.
	Purposes   []uint64
	Priorities []uint8
}

// Kind implements Scheduler: of one class is what the same slots of the table serve.
func (s *Slots) Kind(e *Entry) Kind {
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
	k := s.Scheduler.Kind(e)
	k.Class = n
	return k
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
