package link

import (
	"errors"
	"fmt"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
)

// laneState is where a lane stands.
//
//	        in turn         armed               REPLY             to be stored
//	idle ----------> arming -------> open ----------------> held --------------> moving
//	 ^                 |               | not in turn         ^ |                   |
//	 |                 | not in turn   v        REPLY        | |                   |
//	 |                 |            closing -----------------+ |                   |
//	 |                 v                        (any answer)   |                   |
//	 +---------------------------------------------------------+-------------------+
//	                      qubit freed
//
// A lane for a measured request stays open through its successes. One whose pair
// is to be stored initialises the storage qubit before its own, as part of arming.
//
// A lane that closes keeps its qubit until the station has answered: only then is
// it sure whether the window brought a pair, and a qubit that is armed anew can
// not be taken for the one before.
type laneState uint8

const (
	laneIdle    laneState = iota // the qubit is free
	laneArming                   // the device initialises the qubits
	laneOpen                     // attempts go on
	laneClosing                  // the station is told to stop
	laneHeld                     // the qubit is in use, by us or by the layers above
	laneMoving                   // the half is moved into the storage qubit
)

func (s laneState) String() string {
	return [...]string{"idle", "arming", "open", "closing", "held", "moving"}[s]
}

// A window is announced for a while and extended when a third of it has gone,
// so that one lost GEN costs no more than that third.
const (
	minRefresh = time.Millisecond // and a round trip between the ends; less where answers come sooner
	maxRefresh = 100 * time.Millisecond
	windowBase = 1<<32 - 16
)

// lane drives one communication qubit.
type lane struct {
	e        *end
	index    uint32
	state    laneState
	group    group     // of requests that the qubit was armed for
	unwanted bool      // arming: give the qubits back when they are ready
	freeing  bool      // held: the qubit is being given back, and will be free unless others take it
	backBy   qnet.Time // held: until when it counts as if it were free
	// forgotten: what the window brings is of requests of a peer that is gone, whose
	// identities another may use again.
	forgotten bool
	qubit     physical.Qubit
	storage   physical.Qubit // where the half is to go
	since     qnet.Time      // when it began
	attempts  bool           // since then, with a communication qubit that lanes share
	window    uint64
	first     uint64 // first cycle of the window
	end       uint64 // first cycle after what was announced
	pattern   physical.Pattern
	refresh   time.Duration
	asked     qnet.Time // when it was announced since the peer had more pairs
	version   uint64    // of the offer that was announced
	offered   []Candidate
	atomic    RequestID // the latest atomic request that was announced, 0 for none
	bars      bool      // others wait until what the window has brought for that is known
	width     int       // requests that are offered at most
	tries     int       // closing: GENs sent
	timer     event.Timer
	bulk      bulk
	pair      Pair // that is being moved or measured; Seq is 0 when there is none
	void      bool // it was voided meanwhile

	onAlloc    func(physical.Result) // method values, made once
	onFreed    func(physical.Result)
	onArmed    func(physical.Result)
	onOutcomes func(physical.Outcomes, error)
	onTimer    func()
}

func (l *lane) init(e *end, index uint32) {
	*l = lane{e: e, index: index, window: windowBase}
	l.onAlloc, l.onFreed, l.onArmed, l.onOutcomes, l.onTimer = l.allocated, l.given, l.armed, l.measured, l.timeout
}

// works reports whether the lane attempts, or is about to.
func (l *lane) works() bool { return l.state == laneOpen || l.state == laneArming && !l.unwanted }

// takes reports whether the lane has a communication qubit, or is about to take one.
func (l *lane) takes() bool {
	return l.state != laneIdle && (l.state != laneHeld || !l.qubit.IsZero())
}

// serves reports whether the lane attempts or will soon: one that has just brought a pair
// is free again in a moment, most likely. If it did not count, a lane of another request would
// be closed for that moment, and armed anew, with each pair; and where one end has not heard
// of it, the lanes of the two would serve different requests.
func (l *lane) serves() bool {
	return l.state != laneHeld || l.freeing || l.e.l.loop.Now() < l.backBy
}

// begin makes an idle lane attempt for a group.
func (l *lane) begin(g group) {
	l.group, l.state, l.unwanted, l.forgotten = g, laneArming, false, false
	l.since = l.e.l.loop.Now()
	l.window++
	l.atomic, l.bars, l.backBy = 0, false, 0
	l.bulk.reset()
	l.pair = Pair{}
	l.e.l.pool.take(l)
	switch {
	case g.q != nil:
		l.armBulk(g.q)
	case g.store:
		l.e.storage.spare, l.e.storage.trial = max(0, l.e.storage.spare-1), false
		l.e.l.dev.Do(physical.Op{Kind: physical.OpAlloc}, l.onAlloc)
	default:
		l.arm()
	}
}

func (l *lane) arm() {
	l.e.l.dev.Do(physical.Op{Kind: physical.OpArm, Link: l.e.cfg.ID, Lane: l.index}, l.onArmed)
}

// allocated is the device's answer about the storage qubit.
func (l *lane) allocated(r physical.Result) {
	switch {
	case errors.Is(r.Err, qnet.ErrNoMemory):
		l.e.noStorage()
		l.rest()
		return
	case r.Err != nil:
		l.armFailed(r.Err)
		return
	}
	l.storage = r.Qubit
	if l.unwanted {
		l.freeStorage()
		l.e.storage.spare++
		l.rest()
		return
	}
	l.arm()
}

// rest leaves the lane, and a qubit that it could have taken, to others.
func (l *lane) rest() {
	l.e.l.pool.leave(l)
	l.state = laneIdle
	l.e.l.pool.offer(l.e)
}

func (l *lane) freeStorage() {
	if !l.storage.IsZero() {
		l.e.l.dev.Do(physical.Op{Kind: physical.OpFree, A: l.storage}, nil)
		l.storage = physical.Qubit{}
	}
}

// armed is the device's answer to arm and armBulk.
func (l *lane) armed(r physical.Result) {
	if r.Err != nil {
		l.armFailed(r.Err)
		return
	}
	l.qubit = r.Qubit
	if l.unwanted {
		l.release()
		return
	}
	e := l.e
	l.state = laneOpen
	l.first = e.cfg.Cycles.From(r.At + 1) // a qubit of which all takes no time is used once a cycle
	l.end = l.first
	l.pattern = e.pattern(l.group)
	if l.pattern.Every != 0 {
		e.l.dev.Do(physical.Op{Kind: physical.OpRefresh, A: l.storage, Link: e.cfg.ID, Pattern: &l.pattern}, nil)
	}
	l.refresh, l.width = e.l.pool.refresh(e, e.firstRefresh(l.group)), fewCandidates
	l.offered = l.offered[:0]
	l.version = e.version - 1
	e.serve()
}

func (l *lane) armFailed(err error) {
	l.bulk.reset()
	l.freeStorage()
	l.e.l.pool.leave(l)
	l.state, l.qubit = laneHeld, physical.Qubit{}
	l.e.trace("arm failed").Uint("lane", uint64(l.index)).Str("err", err.Error()).End()
	if errors.Is(err, qnet.ErrNoMemory) {
		return // it is somebody else's; we are told when it is free
	}
	if l.group.keep && errors.Is(err, qnet.ErrUnsupported) {
		// The link can not keep pairs, now or later.
		l.e.refuseKeep(err)
		l.state = laneIdle
		l.e.l.pool.offer(l.e)
		return
	}
	// The device is lost or refuses. Try again after a while: a device that is gone for
	// good takes the link down.
	l.timer.Stop()
	l.timer = l.e.l.loop.After(100*time.Millisecond, func() {
		l.freed()
		l.e.l.pool.offer(l.e)
	})
}

// freed is told by the device when the lane's qubit has become free, or one that it
// shares with others.
func (l *lane) freed() {
	l.freeing = false
	if l.state != laneHeld {
		return
	}
	l.timer.Stop()
	l.part()
	l.state = laneIdle
	if l.group.store {
		l.e.storage.spare++ // unless its pair is still in use
	}
}

// part takes the communication qubit from a lane that is held.
func (l *lane) part() {
	l.e.l.pool.leave(l)
	l.qubit = physical.Qubit{}
}

// release gives the qubits back.
func (l *lane) release() {
	l.state = laneHeld
	l.bulk.reset()
	l.timer.Stop()
	l.freeStorage()
	l.freeing = true
	l.e.l.dev.Do(physical.Op{Kind: physical.OpFree, A: l.qubit}, l.onFreed)
}

// given is the device's answer that the qubit was given back, of which it tells in this
// instant unless somebody else has it already.
func (l *lane) given(physical.Result) {
	if l.freeing {
		l.timer.Stop()
		l.timer = l.e.l.loop.After(0, l.onTimer)
	}
}

// close ends the lane's window, if it has one.
func (l *lane) close() {
	switch l.state {
	case laneArming:
		l.unwanted = true
		l.bulk.reset()
	case laneOpen:
		l.state, l.tries = laneClosing, 0
		l.sendClose()
	}
}

// sendClose tells the station that the window is over, until it answers.
func (l *lane) sendClose() {
	e := l.e
	if !e.l.ep.Up(e.cfg.Station) {
		l.release() // it forgets the window as well
		return
	}
	g := &e.gen
	*g = Gen{Link: e.cfg.ID, Lane: l.index, Window: l.window, First: l.first, Bulk: !l.group.keep, Candidates: g.Candidates[:0], Others: g.Others[:0]}
	e.send(e.cfg.Station, g)
	l.timer.Stop()
	l.timer = e.l.loop.After(e.retryAfter(l.tries), l.onTimer)
	l.tries++
}

// closed is the station's answer that it has ended the window. What it has
// announced in bulk before is still on the way.
func (l *lane) closed() {
	if l.bulk.id != 0 {
		l.timer.Stop()
		return
	}
	l.release()
	l.e.serve()
}

// announce sends a GEN that covers the time to the next refresh three times. Each
// reaches further than the one before, which tells the station which is newer, but for
// those just before a slot or the deadline ends.
func (l *lane) announce(candidates []Candidate, others []RequestID) {
	e := l.e
	if len(candidates) == 0 {
		l.close()
		return
	}
	g := &e.gen
	*g = Gen{Link: e.cfg.ID, Lane: l.index, Window: l.window, First: l.first, Pattern: l.pattern, Point: uint32(l.group.point),
		Candidates: append(g.Candidates[:0], candidates...), Others: append(g.Others[:0], others...)}
	if q := l.group.q; q != nil {
		g.Bulk = true
		g.Dead = e.deadCycles(q)
	}
	if q := e.requests[candidates[0].ID]; q != nil && q.Atomic {
		e.atomic, l.atomic = q, q.ID
	}
	l.offered = append(l.offered[:0], candidates...)
	now := e.l.dev.Now()
	l.end = max(l.end+1, e.cfg.Cycles.From(max(now, e.cfg.Cycles.Instant(l.first)).Add(3*l.refresh)))
	if q := l.group.q; q != nil && q.Deadline > l.first {
		l.end = min(l.end, q.Deadline)
	}
	if next := e.barring.slot; next > l.first {
		l.end = min(l.end, next) // no frame has to arrive to end it with the slot
	}
	g.Count = l.end - l.first
	l.version = e.version
	e.send(e.cfg.Station, g)
	l.timer.Stop()
	l.timer = e.l.loop.After(l.refresh, l.onTimer)
}

// pairTime returns the mean time between heralds of one lane for a group.
func (e *end) pairTime(g group) time.Duration {
	n := e.cfg.Cycles.Period / e.cfg.Points[g.point].Probability
	if g.keep {
		n *= float64(e.stride())
	}
	return time.Duration(min(n, float64(time.Hour)))
}

// firstRefresh returns the time to the first refresh of a window. Of pairs to be measured
// there may be so many that a lost GEN would cost many; those that are kept wait for
// software longer than that.
func (e *end) firstRefresh(g group) time.Duration {
	least := minRefresh + 4*e.cfg.Delay
	if !g.keep {
		least = e.herald.wait(0, least)
	}
	return max(least, 2*e.pairTime(g))
}

// timeout extends the window, less and less often while nothing comes of it. A
// window that closes is closed again, and a qubit that was given back is somebody else's.
func (l *lane) timeout() {
	e := l.e
	switch l.state {
	case laneClosing:
		l.sendClose()
		return
	case laneHeld, laneMoving: // by now others may have its share
		if l.freeing {
			l.part()
		}
		l.freeing, l.backBy = false, 0
		e.serve()
		return
	}
	switch {
	case l.astray():
		e.anchor = physical.CycleBase
		fallthrough
	case e.l.pool.overdue(l):
		l.close()
		return
	}
	l.refresh = e.l.pool.refresh(e, min(2*l.refresh, max(maxRefresh, e.firstRefresh(l.group))))
	l.width = min(2*l.width, maxCandidates) // perhaps the peer can serve none of these
	l.repeat()
}

// astray reports whether a window with pauses has been without success for so much
// longer than a pair takes (chosen) that the ends seem to count their patterns from different
// cycles, as when one of them alone has lost the station: both begin anew.
func (l *lane) astray() bool {
	p := l.pattern
	if p.Every == 0 {
		return false
	}
	pair := float64(l.e.pairTime(l.group)) * float64(p.Every+p.Pause) / float64(p.Every)
	return l.e.l.dev.Now().Sub(l.e.cfg.Cycles.Instant(l.first)) > max(time.Second, time.Duration(min(20*pair, float64(time.Hour))))
}

// repeat announces a window anew, with what the lane serves now.
func (l *lane) repeat() {
	e := l.e
	e.services, e.fresh = e.services[:0], false
	e.slot()
	l.announce(e.offer(l.group, l.width))
}

// ask announces the windows for a request anew of which the peer has all pairs: a
// REPLY may have been lost, of pairs so rare that it would be long until the next refresh.
func (e *end) ask(q *request) {
	now := e.l.loop.Now()
	for i := range e.lanes {
		if l := &e.lanes[i]; q.keeps() && l.state == laneOpen && l.group == q.group() && now >= l.asked.Add(e.retryAfter(0)) {
			l.asked = now
			l.repeat()
		}
	}
}

func (e *end) onReply(m *Reply) {
	if int(m.Lane) >= len(e.lanes) || m.Seq != 0 && (m.Seq < seqBase || m.Seq >= e.seqLimit()) {
		e.fault(fromStation, unexpected, "REPLY for a lane, or with a pair, that there can not be")
		return
	}
	l := &e.lanes[m.Lane]
	if m.Window != l.window || l.state != laneOpen && l.state != laneClosing {
		if m.Window > l.window {
			e.fault(fromStation, unexpected, "REPLY for a window that was never open")
		}
		return
	}
	if m.Seq != 0 {
		l.succeeded(m)
	} else if l.state == laneClosing {
		l.closed()
	}
}

// deadCycles returns how long this end of a bulk window can not attempt after a
// success: the herald's round trip, the measurement and the initialisation.
func (e *end) deadCycles(q *request) uint64 {
	t := e.deadTime(q, e.cfg.Side)
	for _, b := range q.bases.Bases {
		if b != qnet.BasisZ {
			t += e.l.dev.Spec().Gate1
			break
		}
	}
	return uint64(float64(t)/e.cfg.Cycles.Period) + 1
}

// String names the lane in diagnostics.
func (l *lane) String() string { return fmt.Sprintf("%s lane %d", l.e.cfg.Name, l.index) }
