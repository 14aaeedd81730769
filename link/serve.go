package link

import (
	"math"
	"slices"

	"qstack/qnet"
)

// group is what attempts can serve together: all requests that keep pairs of one
// operating point, stored or not, or one request that measures.
type group struct {
	keep  bool
	store bool
	point int
	q     *request // that measures; nil if keep
}

func (q *request) group() group {
	if q.keeps() {
		return group{keep: true, store: q.store, point: q.point}
	}
	return group{point: q.point, q: q}
}

// service is a group that is to be served by a number of lanes.
type service struct {
	group
	lanes, used int
	room        int // lanes at most
	width       int // of what is worked out of candidates and others
	least       int // candidates without which lanes would have none
	candidates  []Candidate
	others      []RequestID
}

// serve gives the lanes to the requests whose turn it is, and renews the offers
// that no longer say what they want.
func (e *end) serve() {
	if e.serving {
		e.again = true
		return
	}
	e.serving = true
	for e.again = true; e.again; {
		e.again = false
		e.assign()
	}
	e.serving = false
	e.advertise()
}

// toServe returns the requests that lanes serve, of how many lanes, and how many of these
// may store.
func (e *end) toServe() (list []*request, total, stored int) {
	had := 0
	for i := range e.lanes {
		if l := &e.lanes[i]; l.serves() {
			total++
			if l.takes() {
				had++
			}
		}
	}
	if e.wasDown {
		total = 0 // nothing is served
	}
	few := false
	if spare := e.l.pool.spare(); spare < total-had {
		total, few = had+spare, true
	}
	e.l.pool.want(e, e.ready.len() > 0, few && e.wantsLanes(total+1))
	list, stored = e.turns(total), e.mayStore()
	if stored < total { // others can use the lanes
		e.inLanes = e.apart(e.order(e.inLanes[:0], total, stored))
		list = e.inLanes
	}
	return list, total, stored
}

// wantsLanes reports whether requests whose turn it is want so many lanes.
func (e *end) wantsLanes(n int) bool {
	wants := uint64(0)
	for _, q := range e.turns(n) {
		wants = saturate(wants, q.wants())
	}
	return wants >= uint64(n)
}

// working reports whether a lane attempts, or is about to.
func (e *end) working() bool {
	for i := range e.lanes {
		if e.lanes[i].works() {
			return true
		}
	}
	return false
}

func (e *end) assign() {
	e.fresh = false
	if e.ready.len() == 0 && !e.working() {
		e.l.pool.want(e, false, false)
		return
	}
	e.slot()
	e.share(e.toServe())
	// Lanes that serve what they should go on; the others make room, and so do those that
	// others wait for only since an atomic request, which is served no more, was.
	for i := range e.lanes {
		l := &e.lanes[i]
		if !l.works() {
			continue
		}
		if s := e.serviceOf(l.group); s != nil && s.used < s.lanes && !l.bars {
			s.used++
		} else {
			l.close()
		}
	}
	// Idle lanes go first to what has none.
	for _, most := range [...]int{1, len(e.lanes)} {
		for i := range e.services {
			for s := &e.services[i]; s.used < min(s.lanes, most); s.used++ {
				l := e.idleLane()
				if l == nil {
					break
				}
				l.begin(s.group)
			}
		}
	}
	for i := range e.lanes {
		if l := &e.lanes[i]; l.state == laneOpen && l.version != e.version {
			if candidates, others := e.offer(l.group, l.width); slices.EqualFunc(candidates, l.offered, Candidate.same) {
				l.version = e.version
			} else {
				l.announce(candidates, others)
			}
		}
	}
}

// barring is what decides which requests may be served: the slot, by its end, 0 for
// one that does not end, and what stands in their way.
type barring struct {
	slot  uint64
	lacks shortage
}

// slot sees to it that only those requests are served that may be now, and sets
// the timer of the next slot. An atomic request that may not be served, and has no pair
// yet, no longer keeps others waiting: the peer may have announced another one, and
// these two may never be served in one slot.
func (e *end) slot() {
	b := barring{e.barring.slot, e.memory.peer}
	b.lacks.storage = b.lacks.storage || e.mayStore() == 0
	if b.slot != 0 {
		e.inSlot, b.slot = e.sched.Slot(e.cfg.Cycles.From(e.l.dev.Now()))
		e.slotTimer.Stop()
		if b.slot != 0 && e.ready.len() > 0 {
			// Several cycles may have one instant.
			e.slotTimer = e.l.loop.At(max(e.instant(b.slot), e.l.loop.Now().Add(1)), func() {
				for i := range e.lanes {
					e.lanes[i].offered = e.lanes[i].offered[:0] // its window has ended
				}
				e.version++
				e.serve()
			})
		}
	}
	if b != e.barring {
		e.barring = b
		e.ready.filter(e.inSlot, b.lacks)
	}
	if q := e.atomic; q != nil && q.got == 0 && !q.servable() {
		e.atomic = nil
	}
}

// turns returns the requests, up to n, whose turn it is. The list is worked out
// once for all that is asked at one time, see fresh.
func (e *end) turns(n int) []*request {
	if n > e.known || !e.fresh {
		e.known, e.fresh = n, true
		e.inTurn = e.apart(e.order(e.inTurn[:0], n, all))
	}
	return e.inTurn[:min(n, len(e.inTurn))]
}

// order appends them to a list, leaving out those that are stored but for the first so
// many.
func (e *end) order(list []*request, n, stored int) []*request {
	if q := e.atomic; q != nil {
		if !q.servable() {
			return list
		}
		return append(list, q)
	}
	first := e.ready.first(n, stored)
	if slices.ContainsFunc(first, func(q *request) bool { return q.Atomic }) {
		first = e.ready.first(n+maxCandidates, stored) // others take their places
	}
	list = append(list, first...)
	if e.steered != 0 && e.l.loop.Now() < e.steeredTo {
		if q := e.requests[e.steered]; q != nil && q.servable() {
			if i := slices.Index(list, q); i >= 0 {
				list = slices.Delete(list, i, i+1)
			}
			list = slices.Insert(list, 0, q)
		}
	}
	list = withoutAtomic(list)
	return list[:min(n, len(list))]
}

// apart leaves out of a list what has to wait until it is sure that an atomic request
// has not begun for which a lane has attempted: each end hears of all pairs of such a
// window before it attempts for others, so that these come after all of its pairs or
// before any.
func (e *end) apart(list []*request) []*request {
	for i := range e.lanes {
		l := &e.lanes[i]
		if l.atomic == 0 || l.state != laneOpen && l.state != laneClosing || len(list) == 0 {
			continue
		}
		if q := e.requests[l.atomic]; q == nil || q.state != reqActive {
			continue
		}
		if list[0].group() != l.group {
			return list[:0]
		}
		n := len(list)
		list = slices.DeleteFunc(list, func(q *request) bool { return q.group() != l.group })
		l.bars = l.bars || len(list) < n
	}
	return list
}

// meets reports whether this end would attempt for a request if the other end did:
// also for one that an atomic one keeps waiting of which no end has a pair. If it
// has, then only if both are in the same case, should several have begun at once.
func (e *end) meets(q *request) bool {
	return e.atomic == nil || e.atomic.got == 0 || q.Atomic && q.got > 0
}

// withoutAtomic leaves atomic requests out of a list, which are served alone: when they have
// become the first. Until then lanes that those before them leave serve those behind.
func withoutAtomic(list []*request) []*request {
	if len(list) > 0 && list[0].Atomic {
		return list[:1]
	}
	return slices.DeleteFunc(list, func(q *request) bool { return q.Atomic })
}

// share works out how many lanes serve what, those that come before others in any case
// first, as many as these keep busy: one for each request in turn, as far as they go, then
// more for those that want more, in rounds; others that are later by far get what is left.
// No more than so many store, and no more are of a group than its windows can name requests
// for.
func (e *end) share(list []*request, total, stored int) {
	e.services = e.services[:0]
	left := total
	give := func(q *request) {
		s := e.serviceOf(q.group())
		if s == nil {
			s = e.newService(q.group())
			s.room = room(s.group, list)
		}
		switch {
		case q.store && stored == 0, s.lanes == s.room:
			return
		case q.store:
			stored--
		}
		s.lanes++
		q.lanes++
		left--
	}
	// more gives lanes to some requests in rounds, until so many are left.
	more := func(among []*request, least int) {
		had := 0
		for most, before := 1, -1; left > least && (left != before || most <= had+1); most++ {
			before = left
			for _, q := range among {
				had = max(had, q.lanes)
				if left > least && q.lanes < most && q.wants() > uint64(q.lanes) {
					give(q)
				}
			}
		}
	}
	busy, near := 0, e.near[:0]
	for n := 0; n < len(list); {
		first := n
		if list[0].ID == e.steered && n == 0 && len(list) > 1 {
			first = 1 // of whatever priority the first is, in which the ends are to meet, it is served beside
		}
		for ; n < len(list) && (n <= first || list[n].Tier == list[first].Tier); n++ {
			q := list[n]
			if q.lanes = 0; n <= first || e.sched.Within(&q.Entry, &list[first].Entry, e.quantum()) {
				near = append(near, q)
				busy = min(busy+e.busy(q, total), total)
			}
		}
		more(near, total-busy)
	}
	e.near = near
	more(near, 0)
	more(list, 0)
}

// room returns how many lanes can attempt for a group: its windows name so many requests,
// and those on the way are for no more pairs than these want.
func room(g group, list []*request) int {
	if !g.keep {
		return math.MaxInt
	}
	n, wants := 0, uint64(0)
	for _, q := range list {
		if n < maxCandidates && q.group() == g {
			n++
			wants = saturate(wants, q.wants())
		}
	}
	return int(min(wants, math.MaxInt))
}

// busy returns how many lanes, of so many, a request keeps busy for longer than it costs to
// arm them for it: one at least.
func (e *end) busy(q *request, most int) int {
	n := float64(q.wants()) * min(1, q.PairCycles/e.quantum())
	return int(max(1, min(n, float64(most))))
}

func (e *end) serviceOf(g group) *service {
	for i := range e.services {
		if e.services[i].group == g {
			return &e.services[i]
		}
	}
	return nil
}

// newService adds a group to the services, in memory that was used before.
func (e *end) newService(g group) *service {
	n := len(e.services)
	if n == cap(e.services) {
		e.services = append(e.services, service{})
	}
	e.services = e.services[:n+1]
	s := &e.services[n]
	*s = service{group: g, candidates: s.candidates[:0], others: s.others[:0]}
	return s
}

// idleLane returns a lane that can be armed, nil if there is none. Those that share their
// qubits take turns.
func (e *end) idleLane() (idle *lane) {
	spare := e.l.pool.spare()
	if spare == 0 {
		return nil
	}
	for i := range e.lanes {
		if l := &e.lanes[i]; l.state == laneIdle && (idle == nil || l.window < idle.window) {
			if idle = l; spare == all {
				break
			}
		}
	}
	return idle
}

// offer returns what a lane of a group tells the station: requests that it serves,
// at most so many, and others.
func (e *end) offer(g group, width int) ([]Candidate, []RequestID) {
	s := e.serviceOf(g)
	if s == nil { // not in turn, but about to be asked
		s = e.newService(g)
	}
	if s.width >= width {
		return s.candidates[:min(max(width, s.least), len(s.candidates))], s.others
	}
	s.width = width
	s.candidates, s.others = s.candidates[:0], s.others[:0]
	if g.q != nil {
		s.candidates = append(s.candidates, g.q.candidate())
	}
	if g.keep {
		list := e.turns(width)
		if !slices.ContainsFunc(list, func(q *request) bool { return q.group() == g }) {
			list, _, _ = e.toServe() // that have lanes though they are not among the first
		}
		s.least = e.least(g, list)
		if s.least > width {
			list = e.turns(s.least)
		}
		for _, q := range list {
			if q.group() == g && len(s.candidates) < max(width, s.least) {
				s.candidates = append(s.candidates, q.candidate())
			}
		}
	}
	others := min(fewOthers+maxCandidates-len(s.candidates), width)
	for _, q := range e.ready.first(fewCandidates+others, all) {
		e.beside(s, q, others)
	}
	if width == maxCandidates { // in vain so far: perhaps it is none of those that come first here
		s.others = s.others[:0]
		for range min(2*others, e.ready.len()) {
			if q := e.ready.any(e.lots); q != nil {
				e.beside(s, q, others)
			}
		}
	}
	return s.candidates, s.others
}

// least returns how many candidates a window of a group names at least: the first few
// that come may want fewer pairs than lanes attempt for, while others are on the way.
func (e *end) least(g group, first []*request) int {
	wants := uint64(0)
	for _, q := range first {
		if q.group() == g {
			wants = saturate(wants, q.wants())
		}
	}
	if n := 2 * len(e.lanes); wants < uint64(n) {
		return min(n, maxCandidates)
	}
	return 0
}

// beside adds a request that this end could serve to the others, at most so many. One
// that is stored may have all its lanes already.
func (e *end) beside(s *service, q *request, most int) {
	if q.store && !s.store && e.mayStore() < len(e.lanes) {
		return
	}
	if len(s.others) < most && e.meets(q) && !slices.Contains(s.others, q.ID) && !slices.ContainsFunc(s.candidates, func(c Candidate) bool { return c.ID == q.ID }) {
		s.others = append(s.others, q.ID)
	}
}

// candidate returns what the station is told of a request.
func (q *request) candidate() Candidate {
	limit := saturate(q.ceiling(), q.void)
	return Candidate{ID: q.ID, Limit: min(limit, math.MaxInt64>>2), Had: min(q.got+q.void, maxHad)} // "no limit" does not fit a varint
}

// onMismatch follows the station's advice: the other end attempts for others than
// this one, and both could serve one request.
func (e *end) onMismatch(m *Mismatch) {
	if int(m.Lane) >= len(e.lanes) || m.Window > e.lanes[m.Lane].window {
		e.fault(fromStation, unexpected, "MISMATCH for a window that was never open")
		return
	}
	l := &e.lanes[m.Lane]
	q := e.requests[m.Use]
	if m.Window != l.window || l.state != laneOpen || q == nil || q.in == nowhere {
		return // it is not so any more
	}
	e.frames.Mismatches++
	if a := e.atomic; a != nil && a != q {
		begun := q.Atomic && q.got > 0
		if a.got > 0 && !begun {
			return // it is not so any more, or a lie
		}
		if e.atomic = nil; begun {
			e.atomic = q
		}
	}
	if len(l.offered) > 0 {
		if first := e.requests[l.offered[0].ID]; first != nil && first != q && first.in != nowhere { // the orders differ
			e.compare(first)
			e.compare(q)
		}
	}
	e.steered = q.ID
	// Long enough for lanes to close, to be armed and to be announced again.
	e.steeredTo = e.l.loop.Now().Add(2 * max(e.retryAfter(0), e.firstRefresh(q.group())))
	e.version++
	e.serve()
}

// allHeld reports whether no lane has a communication qubit to attempt with.
func (e *end) allHeld() bool {
	held := e.l.pool.held()
	for i := range e.lanes {
		if s := e.lanes[i].state; s != laneHeld && (s != laneIdle || !held) {
			return false
		}
	}
	return true
}

// full returns qnet.ErrNoMemory while a qubit in use stands in the way of every
// attempt, nil otherwise.
func (e *end) full() error {
	if !e.allHeld() {
		return nil
	}
	if len(e.lanes) == 1 {
		return qnet.Errorf(qnet.ErrNoMemory, "the communication qubit of %s for link %s is in use; free it", e.l.cfg.Name, e.cfg.Name)
	}
	return qnet.Errorf(qnet.ErrNoMemory, "all %d communication qubits of %s for link %s are in use; free some", len(e.lanes), e.l.cfg.Name, e.cfg.Name)
}
