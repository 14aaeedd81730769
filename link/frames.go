package link

import (
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/wire"
)

// frames are the bulk frames that one end has not acknowledged yet.
type frames struct {
	list  []*BulkReply
	next  uint64 // pairs sent
	timer event.Timer
	tries int
}

func (f *frames) unacked() int { return len(f.list) }

func (f *frames) reset() {
	f.timer.Stop()
	f.list, f.tries = nil, 0
}

// produce draws the successes of a bulk match that are due, makes both ends
// measure them, and announces them.
func (m *match) produce() {
	s := m.s
	now := s.loop.Now()
	if m.w[0].frames.unacked() >= maxUnacked || m.w[1].frames.unacked() >= maxUnacked {
		// An end is slow to acknowledge. Attempts go on, but what they bring now
		// is nobody's; the acknowledgement starts the match again.
		return
	}
	left := min(s.limit(m.id)-m.count.pairs, maxFrame)
	dead := max(1, m.w[0].dead, m.w[1].dead)
	var cycles [maxFrame]uint64
	var labels [maxFrame]qnet.BellLabel
	n, size := 0, 0
	first := m.cycle
	for uint64(n) < left && size < maxFrameBytes && s.cfg.Cycles.Instant(m.cycle).Add(s.cfg.Delay) <= now {
		cycles[n] = m.cycle
		n++
		next := m.cycle + dead + s.her.Attempts(s.rng) - 1
		size += wire.UvarintLen(next-m.cycle) + 1
		m.cycle = next
	}
	lanes := [2]uint32{m.w[0].lane, m.w[1].lane}
	got := s.her.HeraldBulk(lanes, cycles[:n], labels[:n])
	short := got < n // a node took its qubit back
	n = got
	m.count.pairs += uint64(n)
	done := short || m.count.pairs >= s.limit(m.id)
	if n > 0 || done {
		s.announce(m, first, cycles[:n], labels[:n], done)
	}
	if done {
		for _, w := range m.w {
			w.match, w.done = nil, true
		}
		m.count.pending--
		return
	}
	m.frameAt = now.Add(bulkInterval)
	if s.cfg.Cycles.Instant(m.cycle).Add(s.cfg.Delay) <= now {
		m.frameAt = now // the frame was full
	}
	s.schedule(m)
}

// announce sends the same pairs to both ends.
func (s *Station) announce(m *match, first uint64, cycles []uint64, labels []qnet.BellLabel, done bool) {
	steps := make([]uint64, len(cycles))
	packed := make([]byte, (len(labels)+3)/4)
	last := first
	for i, c := range cycles {
		steps[i] = c - last
		last = c
		packed[i/4] |= byte(labels[i]) << (2 * (i % 4))
	}
	seq := s.nextSeq
	s.nextSeq += uint64(len(cycles))
	s.trace("bulk").Uint("request", uint64(m.id)).Uint("seq", seq).Uint("pairs", uint64(len(cycles))).Bool("done", done).End()
	for _, w := range m.w {
		s.push(w, &BulkReply{Link: s.cfg.Link, Lane: w.lane, Window: w.number, ID: m.id,
			Seq: seq, Cycle: first, Steps: steps, Labels: packed, Done: done})
	}
}

// finish tells one end that its bulk window brings no more. id is 0 when it was
// never matched.
func (s *Station) finish(w *window, id RequestID) {
	w.done = true
	s.push(w, &BulkReply{Link: s.cfg.Link, Lane: w.lane, Window: w.number, ID: id, Seq: s.nextSeq, Done: true})
}

func (s *Station) push(w *window, f *BulkReply) {
	f.Index = w.frames.next
	w.frames.next = f.after()
	w.frames.list = append(w.frames.list, f)
	s.send(w.side, f)
	if len(w.frames.list) == 1 {
		w.frames.tries = 0
		s.armRepeat(w)
	}
}

func (s *Station) armRepeat(w *window) {
	w.frames.timer.Stop()
	d := (20*time.Millisecond + 4*s.cfg.Delay) << min(w.frames.tries, 6)
	w.frames.timer = s.loop.After(d, func() { s.repeat(w) })
}

// repeat sends what was not acknowledged again, all in order.
func (s *Station) repeat(w *window) {
	w.frames.tries++
	for _, f := range w.frames.list {
		s.send(w.side, f)
	}
	s.armRepeat(w)
}

func (s *Station) onBulkAck(side int, m *BulkAck) {
	sd := &s.sides[side]
	if int(m.Lane) >= len(sd.lanes) || sd.lanes[m.Lane] == nil {
		return
	}
	w := sd.lanes[m.Lane]
	if m.Window != w.number || len(w.frames.list) == 0 {
		return
	}
	n := 0
	for n < len(w.frames.list) {
		if w.frames.list[n].after() > m.Next {
			break
		}
		n++
	}
	if n == 0 {
		return
	}
	full := len(w.frames.list) >= maxUnacked
	w.frames.list = w.frames.list[n:]
	w.frames.tries = 0
	if len(w.frames.list) == 0 {
		w.frames.reset()
	} else {
		s.armRepeat(w)
	}
	if full && w.match != nil && len(w.frames.list) < maxUnacked {
		mt := w.match
		mt.cycle = max(mt.cycle, s.current()+s.her.Attempts(s.rng)-1)
		s.schedule(mt)
	}
}
