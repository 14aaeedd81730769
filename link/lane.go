package link

import (
	"errors"
	"fmt"
	"math"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
)

// laneState is where a lane stands.
//
//	        wanted         armed            REPLY
//	idle ----------> arming -------> open --------+
//	 ^                 |               | closed   |
//	 |                 | qubit busy    v          v
//	 +---------------------------------- held <---+
//	            qubit freed
//
// A bulk lane goes from arming to bulk instead of open, and stays there through
// its successes.
type laneState uint8

const (
	laneIdle   laneState = iota // the qubit is free
	laneArming                  // the device initialises the qubit
	laneOpen                    // attempts go on, for kept requests
	laneBulk                    // attempts go on, for a measured request
	laneHeld                    // the qubit is in use, by us or by the layers above
)

func (s laneState) String() string {
	return [...]string{"idle", "arming", "open", "bulk", "held"}[s]
}

// A window is announced for a while and extended when a third of it has gone,
// so that one lost GEN costs no more than that third.
const (
	minRefresh = 20 * time.Millisecond
	maxRefresh = time.Second
	windowBase = 1<<32 - 16
)

// lane drives one communication qubit.
type lane struct {
	e         *end
	index     uint32
	state     laneState
	unwanted  bool // arming: give the qubit back when it is ready
	qubit     physical.Qubit
	window    uint64
	first     uint64 // first cycle of the window
	end       uint64 // first cycle after what was announced
	refresh   time.Duration
	version   uint64 // of the offer that was announced
	delivered uint64 // window whose pair was handed up last
	withdrawn uint64 // window that was closed last
	timer     event.Timer
	bulk      bulk

	onArmed   func(physical.Result) // method values, made once
	onRefresh func()
}

func (l *lane) init(e *end, index uint32) {
	*l = lane{e: e, index: index, window: windowBase}
	l.onArmed, l.onRefresh = l.armed, l.refreshed
}

// serve opens as many lanes as the requests want, and renews the offers that no
// longer say what they want.
func (e *end) serve() {
	if e.wasDown {
		return
	}
	if e.keepTurn {
		e.serveKeep()
		e.serveMeasure()
	} else {
		e.serveMeasure()
		e.serveKeep()
	}
	for i := range e.lanes {
		if l := &e.lanes[i]; (l.state == laneOpen || l.state == laneBulk) && l.version != e.version {
			l.announce()
		}
	}
}

func (e *end) serveMeasure() {
	for _, q := range e.order {
		if q.typ == Measure && q.wants() > 0 && !e.hasBulkLane(q) {
			if l := e.idleLane(); l != nil {
				l.armBulk(q)
			}
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
		l := &e.lanes[i]
		if l.state == laneOpen || l.state == laneArming && l.bulk.q == nil && !l.unwanted {
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

func (e *end) hasBulkLane(q *request) bool {
	for i := range e.lanes {
		if e.lanes[i].bulk.q == q {
			return true
		}
	}
	return false
}

// trim closes lanes that no request wants any more.
func (e *end) trim() {
	n, want := e.keeping(), e.wanted()
	for i := len(e.lanes) - 1; i >= 0 && n > want; i-- {
		l := &e.lanes[i]
		if l.state == laneOpen || l.state == laneArming && l.bulk.q == nil && !l.unwanted {
			l.close()
			n--
		}
	}
}

func (l *lane) arm() {
	l.state, l.unwanted = laneArming, false
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
	if l.unwanted || l.bulk.q == nil && l.e.keeping() > l.e.wanted() {
		l.release()
		return
	}
	l.state = laneOpen
	if l.bulk.q != nil {
		l.state = laneBulk
	}
	l.first = l.e.cfg.Cycles.From(r.At)
	l.end = l.first
	l.refresh = max(minRefresh, 2*l.e.cfg.PairTime())
	l.announce()
}

func (l *lane) armFailed(err error) {
	l.bulk.q = nil
	l.e.trace("arm failed").Uint("lane", uint64(l.index)).Str("err", err.Error()).End()
	if errors.Is(err, qnet.ErrNoMemory) {
		l.state = laneHeld // somebody else's; we are told when it is free
		return
	}
	// The device is lost or refuses. Try again after a while: a device that is
	// gone for good takes the link down.
	l.state = laneHeld
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
	case laneOpen, laneBulk:
		l.withdrawn = l.window
		g := &l.e.gen
		*g = Gen{Link: l.e.cfg.ID, Lane: l.index, Window: l.window, First: l.first, Bulk: l.state == laneBulk, Candidates: g.Candidates[:0]}
		l.e.send(l.e.cfg.Station, g)
		l.release()
	}
}

// forget ends the lane's window when there is nobody to tell.
func (l *lane) forget() {
	switch l.state {
	case laneArming:
		l.unwanted = true
		l.bulk.reset()
	case laneOpen, laneBulk:
		l.release()
	}
	l.delivered, l.withdrawn = 0, 0
}

// announce sends a GEN that covers the time to the next refresh three times.
func (l *lane) announce() {
	e := l.e
	g := &e.gen
	*g = Gen{Link: e.cfg.ID, Lane: l.index, Window: l.window, First: l.first, Candidates: g.Candidates[:0]}
	if q := l.bulk.q; q != nil {
		g.Bulk = true
		g.Dead = e.deadCycles(q)
		g.Candidates = append(g.Candidates, Candidate{ID: q.id, Limit: q.ceiling() + q.void})
	} else {
		for _, q := range e.order {
			if q.typ == Keep && q.wants() > 0 && len(g.Candidates) < maxCandidates {
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
	l.end = max(l.end, e.cfg.Cycles.From(max(now, e.cfg.Cycles.Instant(l.first)).Add(3*l.refresh)))
	g.Count = l.end - l.first
	l.version = e.version
	e.send(e.cfg.Station, g)
	l.timer.Stop()
	l.timer = e.l.loop.After(l.refresh, l.onRefresh)
}

// refreshed extends the window, less and less often while nothing comes of it,
// or makes room when the lane is wanted for the other kind of request.
func (l *lane) refreshed() {
	e := l.e
	if l.state == laneOpen && e.idleLane() == nil && e.measureWaits() {
		e.keepTurn = false
		l.close()
		return
	}
	if l.state == laneBulk && l.bulk.next == 0 && e.idleLane() == nil && e.wanted() > e.keeping() {
		e.keepTurn = true
		l.close()
		return
	}
	l.refresh = min(2*l.refresh, max(maxRefresh, 2*e.cfg.PairTime()))
	l.announce()
}

func (e *end) measureWaits() bool {
	for _, q := range e.order {
		if q.typ == Measure && q.wants() > 0 && !e.hasBulkLane(q) {
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
	switch {
	case l.state == laneOpen && m.Window == l.window:
		l.succeeded(m)
	case m.Window == l.withdrawn:
		e.expire(m.Seq, m.ID)
		e.serve()
	}
}

// succeeded takes the pair that a window brought.
func (l *lane) succeeded(m *Reply) {
	e := l.e
	if m.Cycle < l.first || m.Cycle >= l.end {
		return // not a cycle in which this end attempted
	}
	q := e.requests[m.ID]
	if q == nil || q.typ != Keep || q.wants() == 0 {
		l.withdrawn = l.window
		l.release()
		e.expire(m.Seq, m.ID)
		e.serve()
		return
	}
	l.delivered = l.window
	if e.isVoided(m.Seq) {
		q.void++
		e.version++
		l.release()
		e.serve()
		return
	}
	l.timer.Stop()
	l.state = laneHeld
	created := e.cfg.Cycles.Instant(m.Cycle)
	e.trace("pair").Uint("request", uint64(m.ID)).Uint("seq", m.Seq).Uint("cycle", m.Cycle).Str("label", m.Label.String()).End()
	complete := e.took(q, 1)
	e.recent[e.nRecent%len(e.recent)] = taken{seq: m.Seq, id: q.id}
	e.nRecent++
	e.l.handler.Pair(Pair{Link: e.cfg.ID, Request: q.id, Seq: m.Seq, Label: m.Label, Qubit: l.qubit, Created: created})
	if complete {
		e.complete(q)
	}
}

func (e *end) isVoided(seq uint64) bool {
	for _, v := range e.voided {
		if v == seq {
			return true
		}
	}
	return false
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
	return max(1, uint64(math.Ceil(float64(t)/e.cfg.Cycles.Period)))
}

// String names the lane in diagnostics.
func (l *lane) String() string { return fmt.Sprintf("%s lane %d", l.e.cfg.Name, l.index) }
