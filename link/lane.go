package link

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
)

// laneState is where a lane stands.
//
//	        wanted         armed               REPLY
//	idle ----------> arming -------> open ----------------> held
//	 ^                 |               | not wanted          ^ |
//	 |                 | not wanted    v        REPLY        | |
//	 |                 |            closing -----------------+ |
//	 |                 v                        (any answer)   |
//	 +---------------------------------------------------------+
//	                      qubit freed
//
// A lane for a measured request stays open through its successes.
//
// A lane that closes keeps its qubit until the station has answered: only then is
// it sure whether the window brought a pair, and a qubit that is armed anew can
// not be taken for the one before.
type laneState uint8

const (
	laneIdle    laneState = iota // the qubit is free
	laneArming                   // the device initialises the qubit
	laneOpen                     // attempts go on
	laneClosing                  // the station is told to stop
	laneHeld                     // the qubit is in use, by us or by the layers above
)

func (s laneState) String() string {
	return [...]string{"idle", "arming", "open", "closing", "held"}[s]
}

// A window is announced for a while and extended when a third of it has gone,
// so that one lost GEN costs no more than that third.
const (
	minRefresh = 20 * time.Millisecond
	maxRefresh = 100 * time.Millisecond
	windowBase = 1<<32 - 16
)

// lane drives one communication qubit.
type lane struct {
	e        *end
	index    uint32
	state    laneState
	typ      Type // of the requests that the qubit was armed for
	unwanted bool // arming: give the qubit back when it is ready
	qubit    physical.Qubit
	window   uint64
	first    uint64 // first cycle of the window
	end      uint64 // first cycle after what was announced
	refresh  time.Duration
	version  uint64 // of the offer that was announced
	tries    int    // closing: GENs sent
	timer    event.Timer
	bulk     bulk

	onArmed func(physical.Result) // method values, made once
	onTimer func()
}

func (l *lane) init(e *end, index uint32) {
	*l = lane{e: e, index: index, window: windowBase}
	l.onArmed, l.onTimer = l.armed, l.timeout
}

// attempts reports whether the lane attempts, or is about to, for requests of a
// type.
func (l *lane) attempts(t Type) bool {
	return l.typ == t && (l.state == laneOpen || l.state == laneArming && !l.unwanted)
}

// serve opens as many lanes as the requests want, and renews the offers that no
// longer say what they want.
func (e *end) serve() {
	if e.wasDown {
		return
	}
	if e.keepTurn && e.measureWaits() && e.l.loop.Now().Sub(e.turnAt) >= e.firstRefresh() {
		e.setTurn(Measure)
	}
	if e.keepTurn {
		e.serveKeep()
		e.serveMeasure(1)
	} else {
		e.serveMeasure(1)
		e.serveKeep()
	}
	for n := 2; e.serveMeasure(n); n++ { // what is left
	}
	if e.idleLane() == nil {
		e.reclaim()
	}
	for i := range e.lanes {
		if l := &e.lanes[i]; l.state == laneOpen && l.version != e.version {
			l.announce()
		}
	}
}

// setTurn says which type of request goes first when lanes are short.
func (e *end) setTurn(t Type) {
	if keep := t == Keep; keep != e.keepTurn {
		e.keepTurn, e.turnAt = keep, e.l.loop.Now()
	}
}

// serveMeasure gives each request to be measured its n-th lane, as far as there
// are lanes. It reports whether it gave any.
func (e *end) serveMeasure(n int) (gave bool) {
	for i := range e.order {
		if q := e.turn(i); q.typ == Measure && q.wants() >= uint64(n) && e.bulkLanes(q) < n {
			l := e.idleLane()
			if l == nil {
				break
			}
			l.armBulk(q)
			gave = true
		}
	}
	return gave
}

// reclaim closes lanes of requests to be measured that have several, as many as
// are short elsewhere.
func (e *end) reclaim() {
	short := int64(min(e.wanted(), maxLanes)) - int64(e.keeping())
	for _, q := range e.order {
		if q.typ == Measure && q.wants() > 0 && e.bulkLanes(q) == 0 {
			short++
		}
	}
	for i := range e.lanes {
		if e.lanes[i].state == laneClosing {
			short--
		}
	}
	for i := len(e.lanes) - 1; i >= 0 && short > 0; i-- {
		if l := &e.lanes[i]; l.state == laneOpen && l.bulk.q != nil && e.bulkLanes(l.bulk.q) > 1 {
			l.close()
			short--
		}
	}
}

func (e *end) serveKeep() {
	for n, want := e.keeping(), e.wanted(); n < want; n++ {
		l := e.idleLane()
		if l == nil {
			return
		}
		l.arm()
	}
}

// keeping returns the number of lanes that attempt, or are about to, for kept
// requests.
func (e *end) keeping() (n uint64) {
	for i := range e.lanes {
		if e.lanes[i].attempts(Keep) {
			n++
		}
	}
	return n
}

func (e *end) idleLane() *lane {
	for i := range e.lanes {
		if e.lanes[i].state == laneIdle {
			return &e.lanes[i]
		}
	}
	return nil
}

// bulkLanes returns the number of lanes that measure, or are about to, for a
// request.
func (e *end) bulkLanes(q *request) (n int) {
	for i := range e.lanes {
		if l := &e.lanes[i]; l.bulk.q == q && l.state != laneClosing {
			n++
		}
	}
	return n
}

// trim closes lanes that no request wants any more.
func (e *end) trim() {
	n, want := e.keeping(), e.wanted()
	for i := len(e.lanes) - 1; i >= 0 && n > want; i-- {
		if l := &e.lanes[i]; l.attempts(Keep) {
			l.close()
			n--
		}
	}
}

func (l *lane) arm() {
	l.state, l.typ, l.unwanted = laneArming, Keep, false
	l.window++
	l.e.l.dev.Do(physical.Op{Kind: physical.OpArm, Link: l.e.cfg.ID, Lane: l.index}, l.onArmed)
}

// armed is the device's answer to arm and armBulk.
func (l *lane) armed(r physical.Result) {
	if r.Err != nil {
		l.armFailed(r.Err)
		return
	}
	l.qubit = r.Qubit
	if l.unwanted || l.typ == Keep && l.e.keeping() > l.e.wanted() {
		l.release()
		return
	}
	l.state = laneOpen
	l.first = l.e.cfg.Cycles.From(r.At + 1) // a qubit of which all takes no time is used once a cycle
	l.end = l.first
	l.refresh = l.e.firstRefresh()
	l.announce()
}

func (l *lane) armFailed(err error) {
	l.bulk.q = nil
	l.state = laneHeld
	l.e.trace("arm failed").Uint("lane", uint64(l.index)).Str("err", err.Error()).End()
	if errors.Is(err, qnet.ErrNoMemory) {
		return // it is somebody else's; we are told when it is free
	}
	if l.typ == Keep && errors.Is(err, qnet.ErrUnsupported) {
		// The link can not keep pairs, now or later.
		l.e.refuseKeep(err)
		l.state = laneIdle
		l.e.serve()
		return
	}
	// The device is lost or refuses. Try again after a while: a device that is
	// gone for good takes the link down.
	l.timer.Stop()
	l.timer = l.e.l.loop.After(100*time.Millisecond, l.freed)
}

// freed is told by the device when the lane's qubit has become free.
func (l *lane) freed() {
	if l.state == laneHeld {
		l.timer.Stop()
		l.state = laneIdle
		l.qubit = physical.Qubit{}
		l.e.serve()
	}
}

// release gives the qubit back.
func (l *lane) release() {
	l.state = laneHeld
	l.bulk.reset()
	l.timer.Stop()
	l.e.l.dev.Do(physical.Op{Kind: physical.OpFree, A: l.qubit}, nil)
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

// abandon closes a lane that measures for a request that is over: what is still
// announced is nobody's.
func (l *lane) abandon() {
	l.bulk.reset()
	if l.state == laneClosing {
		l.sendClose() // it waits for what is announced, not for the answer
		return
	}
	l.close()
}

// sendClose tells the station that the window is over, until it answers.
func (l *lane) sendClose() {
	e := l.e
	if !e.l.ep.Up(e.cfg.Station) {
		l.release() // it forgets the window as well
		return
	}
	g := &e.gen
	*g = Gen{Link: e.cfg.ID, Lane: l.index, Window: l.window, First: l.first, Bulk: l.typ == Measure, Candidates: g.Candidates[:0]}
	e.send(e.cfg.Station, g)
	l.timer.Stop()
	l.timer = e.l.loop.After(e.retryAfter(l.tries), l.onTimer)
	l.tries++
}

// closed is the station's answer that it has ended the window. What it has
// announced in bulk before is still on the way.
func (l *lane) closed() {
	if l.bulk.q != nil {
		l.timer.Stop()
		return
	}
	l.release()
	l.e.serve()
}

// announce sends a GEN that covers the time to the next refresh three times. Each
// reaches further than the one before, which tells the station which is newer.
func (l *lane) announce() {
	e := l.e
	g := &e.gen
	*g = Gen{Link: e.cfg.ID, Lane: l.index, Window: l.window, First: l.first, Candidates: g.Candidates[:0]}
	if q := l.bulk.q; q != nil {
		g.Bulk = true
		g.Dead = e.deadCycles(q)
		g.Candidates = append(g.Candidates, Candidate{ID: q.id, Limit: q.ceiling()})
	} else {
		for i := range e.order {
			if q := e.turn(i); q.typ == Keep && q.wants() > 0 && len(g.Candidates) < maxCandidates {
				g.Candidates = append(g.Candidates, Candidate{ID: q.id, Limit: saturate(q.ceiling(), q.void)})
			}
		}
		if len(g.Candidates) == 0 {
			l.close()
			return
		}
	}
	for i := range g.Candidates { // "no limit" does not fit a varint
		g.Candidates[i].Limit = min(g.Candidates[i].Limit, math.MaxInt64>>2)
	}
	now := e.l.dev.Now()
	l.end = max(l.end+1, e.cfg.Cycles.From(max(now, e.cfg.Cycles.Instant(l.first)).Add(3*l.refresh)))
	g.Count = l.end - l.first
	l.version = e.version
	e.send(e.cfg.Station, g)
	l.timer.Stop()
	l.timer = e.l.loop.After(l.refresh, l.onTimer)
}

// firstRefresh returns the time to the first refresh of a window.
func (e *end) firstRefresh() time.Duration { return max(minRefresh, 2*e.cfg.PairTime()) }

// timeout extends the window, less and less often while nothing comes of it, or
// makes room when the lane is wanted for something else. A window that closes is
// closed again.
//
// Both ends must come to the same type of request, and of those to be measured,
// which have a window each, to the same one: side 0 stays with its choice for
// longer, so that side 1 tries others meanwhile.
func (l *lane) timeout() {
	e := l.e
	if l.state == laneClosing {
		l.sendClose()
		return
	}
	if e.idleLane() == nil && (e.cfg.Side == 1 || l.refresh > e.firstRefresh()) && l.giveWay() {
		l.close()
		return
	}
	l.refresh = min(2*l.refresh, max(maxRefresh, 2*e.cfg.PairTime()))
	l.announce()
}

// giveWay passes the turn to what waits for the lane, if there is anything.
func (l *lane) giveWay() bool {
	e := l.e
	if l.typ == Keep {
		if !e.measureWaits() {
			return false
		}
		e.setTurn(Measure)
		return true
	}
	keep, fruitless := e.wanted() > e.keeping(), l.bulk.next == 0
	if !keep && !(fruitless && e.measureWaits()) {
		return false
	}
	if fruitless {
		e.pass(l.bulk.q)
	}
	if keep {
		e.setTurn(Keep)
	}
	return true
}

func (e *end) measureWaits() bool {
	for _, q := range e.order {
		if q.typ == Measure && q.wants() > 0 && e.bulkLanes(q) == 0 {
			return true
		}
	}
	return false
}

func (e *end) onReply(m *Reply) {
	if int(m.Lane) >= len(e.lanes) {
		return
	}
	l := &e.lanes[m.Lane]
	if m.Window != l.window || l.state != laneOpen && l.state != laneClosing {
		return
	}
	if m.Seq != 0 {
		l.succeeded(m)
	} else if l.state == laneClosing {
		l.closed()
	}
}

// succeeded takes the pair that a window brought.
func (l *lane) succeeded(m *Reply) {
	e := l.e
	if l.typ != Keep || m.Cycle < l.first || m.Cycle >= l.end {
		return // not a cycle in which this end attempted
	}
	q := e.requests[m.ID]
	if q == nil || q.typ != Keep || q.wants() == 0 {
		l.release()
		e.expire(m.Seq, m.ID)
		e.serve()
		return
	}
	if slices.Contains(e.voided, m.Seq) {
		q.void++
		e.version++
		l.release()
		e.serve()
		return
	}
	l.timer.Stop()
	closing := l.state == laneClosing
	l.state = laneHeld
	created := e.cfg.Cycles.Instant(m.Cycle)
	e.trace("pair").Uint("request", uint64(m.ID)).Uint("seq", m.Seq).Uint("cycle", m.Cycle).Str("label", m.Label.String()).End()
	complete := e.took(q, 1)
	e.recent[e.nRecent%len(e.recent)] = taken{seq: m.Seq, id: q.id}
	e.nRecent++
	e.l.handler.Pair(Pair{Link: e.cfg.ID, Request: q.id, Seq: m.Seq, Label: m.Label, Qubit: l.qubit, Created: created})
	if complete {
		e.complete(q)
	} else if closing {
		e.trim() // another lane may have been opened for the pair
	}
}

// deadCycles returns how long this end of a bulk window can not attempt after a
// success: the herald's round trip, the measurement and the initialisation.
func (e *end) deadCycles(q *request) uint64 {
	s := e.l.dev.Spec()
	t := 2*e.cfg.Delay + s.Init + s.Readout
	for _, b := range q.bases.Bases {
		if b != qnet.BasisZ {
			t += s.Gate1
			break
		}
	}
	return uint64(float64(t)/e.cfg.Cycles.Period) + 1
}

// String names the lane in diagnostics.
func (l *lane) String() string { return fmt.Sprintf("%s lane %d", l.e.cfg.Name, l.index) }
