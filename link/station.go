package link

import (
	"fmt"
	"maps"
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
	maxCounts     = 4096 // requests whose pairs are counted
	maxUnacked    = 64   // bulk frames that one end has not acknowledged
	bulkInterval  = 2 * time.Millisecond
	maxFrameBytes = 1000
)

// Heralder is what a station needs of the emulated world: whether the qubits at
// both ends are armed, and the success of an attempt on them.
type Heralder interface {
	// Attempts samples the number of attempts up to and including the first
	// success.
	Attempts(rng *rand.Rand) uint64
	// Armed returns the instant from which a lane of one side is ready.
	Armed(side int, lane uint32) (from qnet.Time, ok bool)
	// OnArm makes f be called when a lane of one side was armed.
	OnArm(f func(side int, lane uint32))
	// Herald makes one attempt succeed: the armed qubits of both lanes become a
	// pair, emitted in the given cycle, or nothing happens.
	Herald(lanes [2]uint32, cycle uint64) (qnet.BellLabel, bool)
	// HeraldBulk does so for attempts in the given cycles on qubits that are
	// measured at once, fills in the labels and returns how many it did.
	HeraldBulk(lanes [2]uint32, cycles []uint64, labels []qnet.BellLabel) int
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
// and a closing GEN or the death of its node ends it anywhere. A window that is
// done is remembered, with its REPLY, until the lane's next window: a GEN that
// extends it shows that the REPLY was lost.
type Station struct {
	cfg     StationConfig
	her     Heralder
	ep      control.Endpoint
	loop    event.Scheduler
	tr      *trace.Tracer
	rng     *rand.Rand
	sides   [2]stationSide
	nextSeq uint64
	counts  map[RequestID]*count
	stamp   uint64 // of the latest use of a count
}

type stationSide struct {
	lanes  []*window // by lane; nil where there was never a window
	open   []*window // unmatched, oldest first
	limits map[RequestID]uint64
}

// count is the number of pairs that a request has had.
type count struct {
	pairs   uint64
	pending uint64 // matches that may bring one more, or in bulk the rest
	used    uint64 // stamp
}

// window is what the station knows of one lane.
type window struct {
	side       int
	lane       uint32
	number     uint64
	first, end uint64
	dead       uint64
	bulk       bool
	ids        []RequestID // candidates, first choice first
	match      *match
	done       bool
	reply      Reply  // of a window that is done
	frames     frames // of a bulk window
}

// match is a lane of each end that attempt together.
type match struct {
	s       *Station
	w       [2]*window
	id      RequestID
	count   *count
	cycle   uint64 // of the next success
	timer   event.Timer
	due     bool // the timer is set
	bulk    bool
	frameAt qnet.Time // bulk: no frame before
	fire    func()
}

// NewStation returns the station of a link.
func NewStation(cfg StationConfig, her Heralder, ep control.Endpoint, loop event.Scheduler, tr *trace.Tracer) *Station {
	s := &Station{cfg: cfg, her: her, ep: ep, loop: loop, tr: tr,
		rng: qnet.NewRand(cfg.Seed, "station/"+cfg.Name), nextSeq: seqBase, counts: make(map[RequestID]*count)}
	for i := range s.sides {
		s.sides[i].limits = make(map[RequestID]uint64)
	}
	ep.Handle(wire.ServiceLink, (*stationReceiver)(s))
	her.OnArm(s.armed)
	return s
}

// Idle reports whether no lane attempts and nothing waits for an
// acknowledgement.
func (s *Station) Idle() error {
	for i := range s.sides {
		for _, w := range s.sides[i].lanes {
			if w == nil {
				continue
			}
			if !w.done {
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
				s.closeWindow(w)
				side.lanes[lane] = nil
			}
		}
		clear(side.limits)
		s.matchOpen()
	}
}

func (r *stationReceiver) Datagram(from qnet.NodeID, b []byte) {
	s := (*Station)(r)
	side := slices.Index(s.cfg.Ends[:], from)
	t, _, err := wire.Peek(b)
	if side < 0 || err != nil {
		return
	}
	switch t {
	case (*Gen)(nil).Type():
		var m Gen
		if wire.Parse(b, &m) == nil && m.Link == s.cfg.Link {
			s.onGen(side, &m)
		}
	case (*BulkAck)(nil).Type():
		var m BulkAck
		if wire.Parse(b, &m) == nil && m.Link == s.cfg.Link {
			s.onBulkAck(side, &m)
		}
	}
}

func (s *Station) trace(name string) trace.Event {
	return s.tr.Event(s.loop.Now(), "station", name).Str("link", s.cfg.Name)
}

// window returns the lane's window if it has the number, making room for a new
// one. It returns nil for a number that is over.
func (s *Station) window(side int, m *Gen) *window {
	sd := &s.sides[side]
	for int(m.Lane) >= len(sd.lanes) { // the codec bounds the lane
		sd.lanes = append(sd.lanes, nil)
	}
	w := sd.lanes[m.Lane]
	switch {
	case w == nil:
		w = &window{side: side, lane: m.Lane}
		sd.lanes[m.Lane] = w
	case m.Window == w.number:
		return w
	case m.Window < w.number:
		return nil
	default:
		s.closeWindow(w)
	}
	ids := w.ids[:0]
	*w = window{side: side, lane: m.Lane, number: m.Window, first: m.First, bulk: m.Bulk, ids: ids}
	sd.open = append(sd.open, w)
	return w
}

func (s *Station) onGen(side int, m *Gen) {
	if m.Count > 1<<60 || m.First > 1<<60 {
		return
	}
	w := s.window(side, m)
	if w == nil || w.bulk != m.Bulk {
		return
	}
	if w.done {
		if w.bulk {
			if len(m.Candidates) == 0 {
				w.frames.reset()
			}
			return // the frames repeat themselves
		}
		if w.reply.Seq != 0 {
			s.send(side, &w.reply) // it was lost
		}
		return
	}
	if len(m.Candidates) == 0 {
		s.closeWindow(w)
		s.matchOpen()
		return
	}
	w.end, w.dead = m.First+m.Count, m.Dead
	w.ids = w.ids[:0]
	sd := &s.sides[side]
	for _, c := range m.Candidates {
		w.ids = append(w.ids, c.ID)
		if _, ok := sd.limits[c.ID]; !ok && len(sd.limits) >= maxCounts {
			clear(sd.limits) // every GEN brings the limits that matter back
		}
		sd.limits[c.ID] = c.Limit
	}
	s.review()
	s.matchOpen()
}

// review undoes the matches whose request is no longer wanted, and arranges for
// the next success of the others.
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
		if !m.bulk && !m.due {
			s.schedule(m)
		}
	}
}

// limit returns how many pairs both ends take of a request.
func (s *Station) limit(id RequestID) uint64 {
	return min(s.sides[0].limits[id], s.sides[1].limits[id])
}

func (s *Station) armed(side int, lane uint32) {
	if sd := &s.sides[side]; int(lane) < len(sd.lanes) && sd.lanes[lane] != nil {
		s.matchOpen()
	}
}

// matchOpen matches open windows, those of side 0 in the order in which they
// came, each with the oldest of side 1 that it has a request in common with.
func (s *Station) matchOpen() {
	for i := 0; i < len(s.sides[0].open); {
		if !s.matchOne(s.sides[0].open[i]) {
			i++
		}
	}
}

func (s *Station) matchOne(a *window) bool {
	fromA, ok := s.her.Armed(0, a.lane)
	if !ok {
		return false
	}
	for _, b := range s.sides[1].open {
		if a.bulk != b.bulk {
			continue
		}
		fromB, ok := s.her.Armed(1, b.lane)
		if !ok {
			continue
		}
		for _, id := range a.ids {
			if !slices.Contains(b.ids, id) {
				continue
			}
			c := s.countOf(id)
			if c.pairs+c.pending >= s.limit(id) || a.bulk && c.pending > 0 {
				continue
			}
			s.join(a, b, id, c, max(fromA, fromB))
			return true
		}
	}
	return false
}

func (s *Station) countOf(id RequestID) *count {
	s.stamp++
	c := s.counts[id]
	if c == nil {
		if len(s.counts) >= maxCounts {
			s.evictCount()
		}
		c = new(count)
		s.counts[id] = c
	}
	c.used = s.stamp
	return c
}

// evictCount forgets the request that was used longest ago and has no match.
func (s *Station) evictCount() {
	oldest, stamp := RequestID(0), s.stamp+1
	for _, id := range slices.Sorted(maps.Keys(s.counts)) {
		if c := s.counts[id]; c.pending == 0 && c.used < stamp {
			oldest, stamp = id, c.used
		}
	}
	delete(s.counts, oldest)
}

func (s *Station) join(a, b *window, id RequestID, c *count, armed qnet.Time) {
	m := &match{s: s, w: [2]*window{a, b}, id: id, count: c, bulk: a.bulk}
	m.count.pending++
	m.fire = m.succeed
	if m.bulk {
		m.fire = m.produce
	}
	for i, w := range m.w {
		w.match = m
		sd := &s.sides[i]
		sd.open = slices.Delete(sd.open, slices.Index(sd.open, w), slices.Index(sd.open, w)+1)
	}
	start := max(a.first, b.first, s.cfg.Cycles.From(armed))
	m.cycle = start + s.her.Attempts(s.rng) - 1
	s.schedule(m)
}

// schedule sets the timer of the next success if the windows reach that far.
func (s *Station) schedule(m *match) {
	m.timer.Stop()
	at := s.cfg.Cycles.Instant(m.cycle).Add(s.cfg.Delay)
	if m.bulk {
		m.timer = s.loop.At(max(at, m.frameAt), m.fire)
	} else if m.cycle < min(m.w[0].end, m.w[1].end) {
		m.timer = s.loop.At(at, m.fire)
		m.due = true
	}
}

// unmatch takes a match apart; its windows wait for another. Attempts have no
// memory, so the next match starts with the current cycle.
func (s *Station) unmatch(m *match) {
	m.timer.Stop()
	now := s.cfg.Cycles.From(s.loop.Now().Add(-s.cfg.Delay))
	for i, w := range m.w {
		w.match = nil
		w.first = max(w.first, now)
		if m.bulk {
			s.finish(w, m.id)
		} else {
			s.sides[i].open = append(s.sides[i].open, w)
		}
	}
	m.count.pending--
}

// closeWindow ends a window for good; its partner waits for another, or, in
// bulk, is told that no more comes.
func (s *Station) closeWindow(w *window) {
	if m := w.match; m != nil {
		s.unmatch(m)
	}
	if !w.done {
		sd := &s.sides[w.side]
		if i := slices.Index(sd.open, w); i >= 0 {
			sd.open = slices.Delete(sd.open, i, i+1)
		}
	}
	w.done = true
	w.frames.reset()
}

func (s *Station) send(side int, m wire.Message) {
	_ = s.ep.Datagram(s.cfg.Ends[side], m) // see end.send
}

// succeed is the success of a match.
func (m *match) succeed() {
	s := m.s
	lanes := [2]uint32{m.w[0].lane, m.w[1].lane}
	label, ok := s.her.Herald(lanes, m.cycle)
	if !ok { // a node took its qubit back; its GEN is on the way
		s.unmatch(m)
		return
	}
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
	if m.count.pairs+m.count.pending >= s.limit(m.id) {
		s.review()
	}
	s.matchOpen()
}
