package link

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// Bounds of a station.
const (
	maxCounts      = 4096    // requests whose pairs are counted
	fewLimits      = 256     // of requests, besides twice those that windows are for: then the others are forgotten
	maxUnacked     = 64      // bulk frames that one end has not acknowledged, besides those of ten round trips
	maxTravelling  = 4096    // the latter at most
	maxWideUnacked = 8       // the same of wide ones
	widePairs      = 1 << 14 // left of a request: it gets wide frames
	maxPause       = time.Second
	bulkInterval   = 2 * time.Millisecond
	fewPairs       = 32 // of a request that are left: they do not wait for a frame to fill
	maxFrameBytes  = 1000
	maxVain        = 1024
	maxBurst       = 16               // frames announced in one event
	maxAhead       = 10 * time.Second // of a window's first cycle
	// adviceLasts is how long one piece of advice lasts, with 16 delays: as an end that
	// is advised follows it, at least.
	adviceLasts = 40 * time.Millisecond
	// never is the cycle of a success that does not come: the last that has an
	// instant, which no window reaches.
	never = physical.CycleBase + math.MaxInt64
)

// Heralder is what a station needs of the emulated world: whether the qubits at
// both ends are armed, and the success of an attempt on them.
type Heralder interface {
	// Lanes returns the number of lanes of one side.
	Lanes(side int) int
	// Next samples the cycle of the first success among the attempts that a pattern
	// has from the given cycle on, at an operating point; ok is false when there will
	// be none unless the link changes.
	Next(rng *rand.Rand, point int, from uint64, p physical.Pattern) (cycle uint64, ok bool)
	// OnChange makes f be called when the link has changed: a success sampled for
	// the given cycle or a later one is to be sampled anew.
	OnChange(f func(first uint64))
	// Continuous reports whether a lane that measures is ready for the next cycle
	// after any success.
	Continuous() bool
	// Interrupted reports whether operations of a node interrupt its attempts: then
	// successes of before can not be heralded any more.
	Interrupted() bool
	// Armed returns the instant from which a lane of one side is ready.
	Armed(side int, lane uint32) (from qnet.Time, ok bool)
	// OnArm makes f be called when a lane of one side was armed.
	OnArm(f func(side int, lane uint32))
	// OnInterrupt makes f be called before attempts of a lane of one side are
	// interrupted until an instant: what has succeeded by now can still be heralded.
	OnInterrupt(f func(side int, lane uint32, until qnet.Time))
	// Begin tells that a lane of either side attempts in the cycles of a pattern from
	// first until last, its next success, in place of what it attempted before.
	Begin(lanes [2]uint32, point int, p physical.Pattern, first, last uint64)
	// Until tells that they go on until cycle last instead.
	Until(lanes [2]uint32, last uint64)
	// End tells that they attempt no more from the given cycle on.
	End(lanes [2]uint32, cycle uint64)
	// Herald makes one attempt succeed: the armed qubits of both lanes become a
	// pair, emitted in the given cycle, and attempt no more, or nothing happens.
	Herald(lanes [2]uint32, point int, cycle uint64) (qnet.BellLabel, bool)
	// HeraldBulk does so for attempts in the given cycles on qubits that are
	// measured at once, fills in the labels and returns how many it did.
	HeraldBulk(lanes [2]uint32, point int, cycles []uint64, labels []qnet.BellLabel) int
}

// StationConfig describes the heralding station of one link.
type StationConfig struct {
	Link   physical.LinkID
	Name   string // of the link, for diagnostics
	Seed   uint64
	Ends   [2]qnet.NodeID // by side
	Cycles physical.Cycles
	// Delay is the travel time of light from either end.
	Delay time.Duration
	// AttemptLoss is the probability that either end's share of one attempt's
	// messages is lost, as in the simulations of Dahlberg et al., where each attempt
	// has messages of its own; 0 for none.
	AttemptLoss float64
	// NoRepeat makes the station announce a success once: an end that did not hear
	// of it is told that it is void.
	NoRepeat bool
	// OnFault is as in Config.
	OnFault func(Fault)
}

// Station is the heralding station in the middle of a link. It holds the window
// of each lane, matches a lane of one end with a lane of the other that serves
// the same request, samples the first success of the two and announces it to
// both ends.
//
// A window goes through
//
//	    GEN           other end's GEN, both armed           success
//	----------> open --------------------------> matched -----------> done
//	                <--------------------------
//	                   request no longer wanted
//
// and a closing GEN or the death of its node ends it anywhere; one that measures
// is done when its match is. A window that is done is remembered, with its REPLY,
// until the lane's next window: a GEN that extends or closes it shows that the
// REPLY was lost.
type Station struct {
	cfg     StationConfig
	her     Heralder
	ep      control.Endpoint
	loop    event.Scheduler
	tr      *trace.Tracer
	rng     *rand.Rand
	sides   [2]stationSide
	faults  [3]faults // of the ends, and of others
	nextSeq uint64
	counts  map[RequestID]*count
	stamp   uint64 // of the latest use of a count
	unacked int    // bulk frames that one end may leave without acknowledgement
	codec   wire.Codec
	gen     Gen // scratch
	ack     BulkAck
	spare   []*BulkReply // frames that were acknowledged
	matches []*match     // that are over, to be used again
	batches []*batch     // the same
	several []*match     // scratch, as the next
	labels  []qnet.BellLabel
	frames  Frames
	tried   uint64 // attempts of both ends together, so far
	loose   bool   // matches have become possible that were not, of windows of which nothing is new

	advice    RequestID // for which the ends are to attempt, 0 for none
	advisedTo qnet.Time // until when no other is given
}

// Frames returns what the station has sent and received.
func (s *Station) Frames() Frames { return s.frames }

// Attempts returns the number of attempts that both ends have made together, those
// under way not included.
func (s *Station) Attempts() uint64 { return s.tried }

type stationSide struct {
	lanes  []*window               // by lane; nil where there was never a window
	open   []*window               // unmatched, oldest first
	limits map[RequestID]Candidate // as told last
	most   int                     // limits to hold before those that matter no more are forgotten
	frames limiter
	trip   roundTrip
}

// prune forgets the limits of requests that no window is for.
func (sd *stationSide) prune() {
	wanted := make(map[RequestID]bool)
	for _, w := range sd.lanes {
		if w != nil && !w.done {
			for _, id := range w.ids {
				wanted[id] = true
			}
		}
	}
	maps.DeleteFunc(sd.limits, func(id RequestID, _ Candidate) bool { return !wanted[id] })
	sd.most = fewLimits + 2*len(sd.limits)
}

// count is the number of pairs that a request has had.
type count struct {
	pairs   uint64
	pending uint64    // matches that may bring one more, or in bulk the rest
	used    uint64    // stamp
	batch   *batch    // of a request to be measured, while it is matched
	frameAt qnet.Time // no bulk frame before
}

// window is what the station knows of one lane.
type window struct {
	side       int
	lane       uint32
	number     uint64
	first, end uint64
	dead       uint64
	bulk       bool
	pattern    physical.Pattern
	point      int
	ids        []RequestID // candidates, first choice first
	others     []RequestID // that other attempts could serve
	advised    RequestID   // of a Mismatch, since the last GEN
	match      *match
	done       bool
	reply      Reply          // what came of it; Seq is 0 before, and for nothing
	frames     frames         // of a bulk window
	wide       bool           // they are wide
	stream     control.Stream // on which they go; nil before the first, or when it is lost
}

// match is a lane of each end that attempt together.
type match struct {
	s      *Station
	w      [2]*window
	id     RequestID
	count  *count
	first  uint64 // cycle from which it has attempted since the last success
	cycle  uint64 // of the next success, or never
	unsure bool   // that is none, but there is none before
	timer  event.Timer
	due    bool   // the timer is set
	fire   func() // succeed as a method value, made once
	batch  *batch // nil unless the pairs are measured
	column column
}

// NewStation returns the station of a link.
func NewStation(cfg StationConfig, her Heralder, ep control.Endpoint, loop event.Scheduler, tr *trace.Tracer) *Station {
	s := &Station{cfg: cfg, her: her, ep: ep, loop: loop, tr: tr,
		rng: qnet.NewRand(cfg.Seed, "station/"+cfg.Name), counts: make(map[RequestID]*count),
		unacked: maxUnacked + min(int(20*cfg.Delay/bulkInterval), maxTravelling)}
	for i := range s.sides {
		n := her.Lanes(i)
		s.sides[i] = stationSide{lanes: make([]*window, n), limits: make(map[RequestID]Candidate), most: fewLimits, frames: newLimiter(n, cfg.Cycles.Period)}
	}
	// A station that takes the place of another goes on where that can not have come:
	// it had less than a pair for each cycle and lane.
	s.nextSeq = seqBase + (cfg.Cycles.From(loop.Now())-physical.CycleBase)*uint64(her.Lanes(0))
	for i, from := range [...]string{"side 0", "side 1", "others"} {
		s.faults[i].from = from
	}
	ep.Handle(wire.ServiceLink, (*stationReceiver)(s))
	her.OnArm(s.armed)
	her.OnInterrupt(s.interrupted)
	her.OnChange(s.changed)
	return s
}

// Idle reports whether no lane attempts and nothing waits for an
// acknowledgement. A window that nobody extends or closes is over with its last cycle.
func (s *Station) Idle() error {
	for i := range s.sides {
		for _, w := range s.sides[i].lanes {
			if w == nil {
				continue
			}
			if !w.done && (w.match != nil || w.end > s.current()) {
				return fmt.Errorf("station %s: lane %d of side %d attempts", s.cfg.Name, w.lane, i)
			}
			if n := w.frames.unacked(); n > 0 {
				return fmt.Errorf("station %s: %d frames of lane %d of side %d are not acknowledged", s.cfg.Name, n, w.lane, i)
			}
		}
	}
	return nil
}

type stationReceiver Station

func (r *stationReceiver) Accept(control.Stream, []byte) control.StreamHandler { return nil }
func (r *stationReceiver) PeerUp(qnet.NodeID)                                  {}

func (r *stationReceiver) PeerDown(peer qnet.NodeID, _ error) {
	s := (*Station)(r)
	for i, id := range s.cfg.Ends {
		if id != peer {
			continue
		}
		side := &s.sides[i]
		for lane, w := range side.lanes {
			if w != nil {
				s.forget(w)
				side.lanes[lane] = nil
			}
		}
		// That is the end of all requests, and the node may number anew.
		clear(s.sides[0].limits)
		clear(s.sides[1].limits)
		clear(s.counts)
		s.advice = 0
		s.loose = true
	}
}

func (r *stationReceiver) Datagram(from qnet.NodeID, b []byte) {
	s := (*Station)(r)
	side := slices.Index(s.cfg.Ends[:], from)
	if side < 0 {
		s.fault(len(s.sides), unexpected, "frame of a node that is not at the link")
		return
	}
	sd := &s.sides[side]
	if !sd.frames.allow(s.loop.Now()) {
		s.fault(side, limited, "too many frames")
		return
	}
	t, _, err := wire.Peek(b)
	if err == nil {
		switch t {
		case (*Gen)(nil).Type():
			m := &s.gen
			if err = s.codec.Parse(b, m); err == nil && m.Link == s.cfg.Link {
				s.frames.Received[t&0xf]++
				s.onGen(side, m)
			}
		case (*BulkAck)(nil).Type():
			m := &s.ack
			if err = s.codec.Parse(b, m); err == nil && m.Link == s.cfg.Link {
				s.frames.Received[t&0xf]++
				s.onBulkAck(side, m)
			}
		default:
			s.fault(side, unexpected, "frame that is not for a station")
		}
	}
	if err != nil {
		s.fault(side, malformed, err.Error())
	}
}

func (s *Station) trace(name string) trace.Event {
	return s.tr.Event(s.loop.Now(), "station", name).Str("link", s.cfg.Name)
}

// window returns the lane's window if it has the number, making room for a new
// one. It returns nil for a number that is over.
func (s *Station) window(side int, m *Gen) *window {
	sd := &s.sides[side]
	w := sd.lanes[m.Lane]
	switch {
	case w == nil:
		w = &window{side: side, lane: m.Lane}
		w.frames.onTimer = func() { s.repeat(w) }
		sd.lanes[m.Lane] = w
	case m.Window == w.number:
		return w
	case m.Window < w.number:
		return nil
	default:
		s.forget(w)
	}
	*w = window{side: side, lane: m.Lane, number: m.Window, first: m.First, bulk: m.Bulk, ids: w.ids[:0], others: w.others[:0],
		frames: frames{list: w.frames.list, onTimer: w.frames.onTimer}, reply: Reply{Link: m.Link, Lane: m.Lane, Window: m.Window}}
	sd.open = append(sd.open, w)
	return w
}

func (s *Station) onGen(side int, m *Gen) {
	// No node has more lanes than it has, opens a window far ahead or one that never
	// ends, or leaves out attempts that it measures.
	if int(m.Lane) >= len(s.sides[side].lanes) || m.Count > 1<<60 || m.First > s.cfg.Cycles.From(s.loop.Now().Add(maxAhead)) ||
		float64(m.Dead) > float64(maxAhead)/s.cfg.Cycles.Period || m.Bulk && !m.Pattern.IsZero() {
		s.fault(side, unexpected, "GEN with a window that no end can have")
		return
	}
	w := s.window(side, m)
	if w == nil || w.bulk != m.Bulk {
		return
	}
	closing := len(m.Candidates) == 0
	if closing && !w.done {
		s.stop(w)
		s.match(nil)
	}
	if w.done {
		if closing || w.reply.Seq != 0 { // otherwise the frames repeat themselves
			w.reply.Lost = s.cfg.NoRepeat
			s.send(side, &w.reply)
		}
		return
	}
	if m.First+m.Count < w.end {
		return // overtaken by a newer one
	}
	w.end, w.dead, w.pattern, w.advised = m.First+m.Count, m.Dead, m.Pattern, 0
	if point := int(m.Point); point != w.point {
		w.point = point
		if w.match != nil {
			s.unmatch(w.match)
		}
	}
	w.ids = w.ids[:0]
	w.others = append(w.others[:0], m.Others...)
	sd := &s.sides[side]
	for _, c := range m.Candidates {
		w.ids = append(w.ids, c.ID)
		s.loose = s.loose || c.Limit != sd.limits[c.ID].Limit
		sd.limits[c.ID] = c
	}
	if len(sd.limits) > sd.most {
		sd.prune()
	}
	s.review()
	s.match(w)
}

// review undoes the matches whose request is no longer wanted, gives those for kept
// pairs to the request whose turn it is now, and arranges for their next success.
func (s *Station) review() {
	for _, w := range s.sides[0].lanes {
		if w == nil || w.match == nil {
			continue
		}
		m := w.match
		if !slices.Contains(m.w[0].ids, m.id) || !slices.Contains(m.w[1].ids, m.id) || m.count.pairs >= s.limit(m.id) {
			s.unmatch(m)
			continue
		}
		if m.batch != nil {
			m.extend()
			m.batch.schedule()
			continue
		}
		if m.cycle >= s.current() { // else GENs were late, and the success was for the request of then
			s.choose(m)
		}
		if !m.due {
			s.schedule(m)
		}
	}
}

// choose makes the first choice of both ends the request of a match for kept
// pairs, whose attempts are the same for all that it can serve.
func (s *Station) choose(m *match) {
	m.count.used = s.stamp
	m.count.pending--
	if id, c := s.common(m.w[0], m.w[1]); c != nil {
		s.loose = s.loose || id != m.id
		m.id, m.count = id, c
	}
	m.count.pending++
}

// limit returns how many pairs both ends take of a request.
func (s *Station) limit(id RequestID) uint64 {
	return min(s.sides[0].limits[id].Limit, s.sides[1].limits[id].Limit)
}

func (s *Station) armed(side int, lane uint32) {
	if sd := &s.sides[side]; int(lane) < len(sd.lanes) && sd.lanes[lane] != nil {
		s.match(sd.lanes[lane])
	}
}

// interrupted announces what a lane that measures has brought until now. It attempts
// again when the interruption is over.
func (s *Station) interrupted(side int, lane uint32, until qnet.Time) {
	sd := &s.sides[side]
	if int(lane) >= len(sd.lanes) || sd.lanes[lane] == nil || sd.lanes[lane].match == nil {
		return
	}
	m := sd.lanes[lane].match
	if m.batch == nil || !m.settle() {
		return
	}
	if from := s.cfg.Cycles.From(until); m.cycle < from {
		m.draw(from)
		s.her.Until(m.lanes(), m.cycle)
	}
	s.review() // ends what the limit ends
}

// match matches open windows, those of side 0 in the order in which they came, each
// with the oldest of side 1 that it has a request in common with: one of which something
// is new with others; or all, if room has come about for more matches of a request.
// Only a window that finds no other is advised.
func (s *Station) match(w *window) {
	switch {
	case s.loose:
		s.loose = false
		for i := 0; i < len(s.sides[0].open); {
			if !s.matchOne(s.sides[0].open[i]) {
				i++
			}
		}
		for _, a := range s.sides[0].open {
			s.advise(a)
		}
	case w == nil || w.match != nil || w.done:
	case !s.matchOne(w):
		s.advise(w)
	}
}

// matchOne matches a window with the oldest of the other side that it can be matched
// with, if there is one.
func (s *Station) matchOne(w *window) bool {
	for _, o := range s.sides[1-w.side].open {
		if a, b := sorted(w, o); s.matchTwo(a, b) {
			return true
		}
	}
	return false
}

// sorted returns two windows of different sides by side.
func sorted(v, w *window) (a, b *window) {
	if v.side != 0 {
		return w, v
	}
	return v, w
}

// matchTwo matches two windows if both are armed and they have a request in common.
func (s *Station) matchTwo(a, b *window) bool {
	if a.bulk != b.bulk || a.point != b.point {
		return false
	}
	fromA, ok := s.her.Armed(0, a.lane)
	if !ok {
		return false
	}
	fromB, ok := s.her.Armed(1, b.lane)
	if !ok {
		return false
	}
	id, c := s.common(a, b)
	if c == nil {
		return false
	}
	s.join(a, b, id, c, max(fromA, fromB))
	return true
}

// advise tells the end of a window that was not matched, and that of another, for which
// request both could attempt, if there is one. An end puts one request first, so that
// there is one piece of advice at a time, until the ends have met or one of them can not
// serve it: others would take turns with it, each with frames of all lanes, and nothing
// would limit how often.
func (s *Station) advise(w *window) {
	if _, ok := s.her.Armed(w.side, w.lane); !ok {
		return
	}
	if s.advice != 0 && s.loop.Now() < s.advisedTo && s.listed(s.advice) {
		if w.lists(s.advice) && !s.spent(s.advice, w) {
			s.tell(w, s.advice)
		}
		return
	}
	for _, o := range s.sides[1-w.side].open {
		if _, ok := s.her.Armed(o.side, o.lane); !ok {
			continue
		}
		a, b := sorted(w, o)
		for i := range len(a.ids) + len(a.others) {
			id := a.wants(i)
			if !b.lists(id) || s.spent(id, a) || s.spent(id, b) {
				continue
			}
			s.advice, s.advisedTo = id, s.loop.Now().Add(adviceLasts+16*s.cfg.Delay)
			s.tell(a, id)
			s.tell(b, id)
			return
		}
	}
}

// tell advises the end of a window to attempt for a request, once for each GEN.
func (s *Station) tell(w *window, id RequestID) {
	if w.advised == 0 && (len(w.ids) == 0 || w.ids[0] != id) {
		w.advised = id
		s.frames.Mismatches++
		s.send(w.side, &Mismatch{Link: s.cfg.Link, Lane: w.lane, Window: w.number, Use: id})
	}
}

// listed reports whether windows of both sides that wait for others list a request.
func (s *Station) listed(id RequestID) bool {
	for i := range s.sides {
		if !slices.ContainsFunc(s.sides[i].open, func(w *window) bool { return w.lists(id) }) {
			return false
		}
	}
	return true
}

// spent reports whether a request for which a window attempts has all the pairs
// that the window's end takes, as far as it has heard of them. Of one that it could
// serve beside it has not told how many it takes, but some.
func (s *Station) spent(id RequestID, w *window) bool {
	c := s.counts[id]
	return c != nil && slices.Contains(w.ids, id) && c.pairs+c.pending >= s.sides[w.side].limits[id].Limit
}

// wants returns the i-th request that the window's end could serve.
func (w *window) wants(i int) RequestID {
	if i < len(w.ids) {
		return w.ids[i]
	}
	return w.others[i-len(w.ids)]
}

// lists reports whether the window's end could serve a request.
func (w *window) lists(id RequestID) bool {
	return slices.Contains(w.ids, id) || slices.Contains(w.others, id)
}

// common returns the request that two windows are to serve, and its count: of
// those that both have and that have not got all their pairs, a's first choice.
// The count is nil if there is none.
func (s *Station) common(a, b *window) (RequestID, *count) {
	for _, id := range a.ids {
		if !slices.Contains(b.ids, id) {
			continue
		}
		if c := s.countOf(id); c.pairs+c.pending < s.limit(id) {
			return id, c
		}
	}
	return 0, nil
}

// countOf returns the count of a request for which both ends attempt. One that was
// forgotten goes on from what they have had.
func (s *Station) countOf(id RequestID) *count {
	s.stamp++
	c := s.counts[id]
	if c == nil {
		if len(s.counts) >= maxCounts {
			s.evictCounts()
		}
		c = &count{pairs: max(s.sides[0].limits[id].Had, s.sides[1].limits[id].Had)}
		s.counts[id] = c
	}
	c.used = s.stamp
	return c
}

// evictCounts forgets the requests that have no match and were not used for
// long.
func (s *Station) evictCounts() {
	maps.DeleteFunc(s.counts, func(_ RequestID, c *count) bool {
		return c.pending == 0 && s.stamp-c.used > maxCounts/2
	})
}

func (s *Station) join(a, b *window, id RequestID, c *count, armed qnet.Time) {
	m := s.newMatch()
	m.w, m.id, m.count = [2]*window{a, b}, id, c
	c.pending++
	if id == s.advice { // the ends have met
		s.advice = 0
	}
	for i, w := range m.w {
		w.match = m
		sd := &s.sides[i]
		sd.open = slices.Delete(sd.open, slices.Index(sd.open, w), slices.Index(sd.open, w)+1)
	}
	start := max(a.first, b.first, s.cfg.Cycles.From(armed), s.current())
	m.attempt(start)
	if !a.bulk {
		s.schedule(m)
		return
	}
	if c.batch == nil {
		c.batch = s.newBatch(id, c)
	}
	m.batch = c.batch
	a.wide, b.wide = c.batch.wide, c.batch.wide
	m.batch.add(m)
}

// newMatch returns a match, used again if possible.
func (s *Station) newMatch() *match {
	if n := len(s.matches); n > 0 {
		m := s.matches[n-1]
		s.matches = s.matches[:n-1]
		return m
	}
	m := &match{s: s}
	m.fire = m.succeed
	return m
}

// over gives a match back that its windows have left.
func (s *Station) over(m *match) {
	if m.batch != nil {
		m.batch.remove(m)
	}
	*m = match{s: s, fire: m.fire, column: column{cycles: m.column.cycles[:0]}}
	s.matches = append(s.matches, m)
}

// attempt draws the next success of a match that attempts from the given cycle
// on.
func (m *match) attempt(from uint64) {
	m.first = from
	m.draw(from)
	m.s.her.Begin(m.lanes(), m.w[0].point, m.w[0].pattern, from, m.cycle)
}

// draw draws the next success from the given cycle on: one of the attempts of
// side 0 in a cycle in which side 1 attempts too. Attempts are independent, so
// that those of which the other half is missing can be left out one by one; it
// looks no further than the windows reach, nor than a number of successes of side 0
// that come to nothing, so that no patterns keep it busy.
func (m *match) draw(from uint64) {
	s := m.s
	end := m.end()
	q := 1 - s.cfg.AttemptLoss
	vain := 0
	for m.unsure = false; ; from = m.cycle + 1 {
		var ok bool
		m.cycle, ok = s.her.Next(s.rng, m.w[0].point, from, m.w[0].pattern)
		switch {
		case !ok:
			m.cycle = never
			return
		case q < 1 && s.rng.Float64() >= q*q:
		case m.w[0].pattern == m.w[1].pattern || m.w[1].pattern.Has(m.cycle):
			return
		case m.cycle >= end || vain == maxVain:
			m.unsure = true // of no account until the windows reach further, or its time has come
			return
		default:
			vain++
		}
	}
}

// extend goes on to draw when the windows reach further.
func (m *match) extend() {
	if m.unsure && m.cycle < m.end() {
		m.draw(m.cycle + 1)
		m.s.her.Until(m.lanes(), m.cycle)
	}
}

// changed draws all successes anew that were drawn for cycles from first on,
// since the link has another model there. Attempts have no memory, so that those
// before, which fail, stay as they are.
func (s *Station) changed(first uint64) {
	for _, w := range s.sides[0].lanes {
		if w == nil || w.match == nil || w.match.cycle < first {
			continue
		}
		m := w.match
		m.draw(max(first, m.first))
		s.her.Until(m.lanes(), m.cycle)
		if m.batch != nil {
			m.batch.schedule()
		} else {
			s.schedule(m)
		}
	}
}

// end returns the first cycle that is in no window of both ends so far.
func (m *match) end() uint64 { return min(m.w[0].end, m.w[1].end) }

func (m *match) lanes() [2]uint32 { return [2]uint32{m.w[0].lane, m.w[1].lane} }

// current returns the first cycle whose photons have not passed the station.
func (s *Station) current() uint64 { return s.cfg.Cycles.From(s.loop.Now().Add(-s.cfg.Delay)) }

// heraldAt returns when the photons of a cycle are at the station.
func (s *Station) heraldAt(cycle uint64) qnet.Time {
	return s.cfg.Cycles.Instant(cycle).Add(s.cfg.Delay)
}

// schedule sets the timer of the next success of a match for kept pairs if the
// windows reach that far.
func (s *Station) schedule(m *match) {
	m.timer.Stop()
	m.extend()
	if m.due = m.cycle < m.end(); m.due {
		m.timer = s.loop.At(s.heraldAt(m.cycle), m.fire)
	}
}

// unmatch takes a match apart; its windows wait for another. Attempts have no
// memory: the next match starts with the current cycle, as each does.
func (s *Station) unmatch(m *match) {
	if m.batch != nil && !m.settle() {
		return // that has ended it
	}
	m.timer.Stop()
	s.her.End(m.lanes(), s.current())
	m.tally(s.current())
	for i, w := range m.w {
		w.match = nil
		if m.batch != nil {
			s.finish(w, m.id)
		} else {
			s.sides[i].open = append(s.sides[i].open, w)
		}
	}
	m.count.pending--
	s.loose = true
	s.over(m)
}

// tally counts the attempts before the given cycle that were not counted yet.
func (m *match) tally(cycle uint64) {
	switch p := m.w[0].pattern; {
	case cycle <= m.first:
	case p.IsZero():
		m.s.tried += cycle - m.first
	default:
		m.s.tried += p.Index(cycle) - p.Index(m.first)
	}
}

// stop ends a window; its partner waits for another, or, in bulk, is told that
// no more comes.
func (s *Station) stop(w *window) {
	if w.match != nil {
		s.unmatch(w.match)
	}
	if w.done {
		return
	}
	w.done = true
	sd := &s.sides[w.side]
	if i := slices.Index(sd.open, w); i >= 0 {
		sd.open = slices.Delete(sd.open, i, i+1)
	}
	if w.bulk {
		s.finish(w, 0)
	}
}

// forget ends a window that its node does not ask about any more.
func (s *Station) forget(w *window) {
	s.stop(w)
	w.frames.timer.Stop()
	s.recycle(w, len(w.frames.list))
	w.hangUp()
}

func (s *Station) send(side int, m wire.Message) {
	s.frames.Sent[m.Type()&0xf]++
	_ = s.ep.Datagram(s.cfg.Ends[side], m) // see end.send
}

// succeed is the success of a match.
func (m *match) succeed() {
	s := m.s
	if m.unsure { // it has not looked further
		s.schedule(m)
		return
	}
	label, ok := s.her.Herald(m.lanes(), m.w[0].point, m.cycle)
	if !ok { // a node took its qubit back; its GEN is on the way
		s.unmatch(m)
		s.match(nil)
		return
	}
	m.tally(m.cycle + 1)
	m.count.pairs++
	m.count.pending--
	seq := s.nextSeq
	s.nextSeq++
	s.trace("herald").Uint("request", uint64(m.id)).Uint("seq", seq).Uint("cycle", m.cycle).Str("label", label.String()).End()
	for i, w := range m.w {
		w.match, w.done = nil, true
		w.reply = Reply{Link: s.cfg.Link, Lane: w.lane, Window: w.number, ID: m.id, Seq: seq, Cycle: m.cycle, Label: label}
		s.send(i, &w.reply)
	}
	full := m.count.pairs+m.count.pending >= s.limit(m.id)
	s.over(m)
	if full {
		s.review()
	}
	s.match(nil)
}
