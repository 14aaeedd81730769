package link

import (
	"slices"

	"qstack/qnet/event"
	"qstack/qnet/wire"
)

// batch is all matches that measure for one request. The pairs of the request are
// the first that any of them brings.
type batch struct {
	s       *Station
	id      RequestID
	count   *count
	matches []*match
	timer   event.Timer
	onTimer func() // method value, made once
}

// column is what a match has drawn and not announced.
type column struct {
	first  uint64 // the cycle from which the steps count
	cycles []uint64
	size   int // of the frame, about
}

func (c *column) full() bool { return len(c.cycles) >= maxFrame || c.size >= maxFrameBytes }

// newBatch returns a batch, used again if possible.
func (s *Station) newBatch(id RequestID, c *count) *batch {
	var b *batch
	if n := len(s.batches); n > 0 {
		b, s.batches = s.batches[n-1], s.batches[:n-1]
	} else {
		b = &batch{s: s}
		b.onTimer = b.draw
	}
	b.id, b.count = id, c
	return b
}

// add makes m measure for the request from now on.
func (b *batch) add(m *match) {
	b.matches = append(b.matches, m)
	b.schedule()
}

// remove is the end of a match, and with the last of them that of the batch.
func (b *batch) remove(m *match) {
	b.matches = slices.DeleteFunc(b.matches, func(o *match) bool { return o == m })
	b.schedule()
	if len(b.matches) == 0 {
		b.count.batch = nil
		b.s.batches = append(b.s.batches, b)
	}
}

// stalled reports whether an end is slow to acknowledge. Attempts go on, but what
// they bring now is nobody's; the acknowledgement starts the match again.
func (m *match) stalled() bool {
	return m.w[0].frames.unacked() >= m.s.unacked || m.w[1].frames.unacked() >= m.s.unacked
}

// resume goes on with a match that was stalled.
func (b *batch) resume(m *match) {
	if from := b.s.current(); m.cycle < from { // what it brought meanwhile is over
		m.draw(from)
		b.s.her.Until(m.lanes(), m.cycle)
	}
	b.schedule()
}

// schedule sets the timer of the next success that is to be announced.
func (b *batch) schedule() {
	b.timer.Stop()
	if m, _ := b.next(); m != nil {
		b.timer = b.s.loop.At(max(b.s.heraldAt(m.cycle), b.count.frameAt), b.onTimer)
	}
}

// next returns the match whose success is the next, nil if there is none, and the
// cycle of the next success of another.
func (b *batch) next() (first *match, other uint64) {
	other = never
	for _, m := range b.matches {
		switch {
		case m.cycle >= other || m.cycle >= m.end() || m.stalled():
		case first == nil:
			first = m
		case m.cycle < first.cycle:
			first, other = m, first.cycle
		default:
			other = m.cycle
		}
	}
	return first, other
}

// draw draws the successes that are due, in the order of their cycles, makes both
// ends measure them, and announces them.
func (b *batch) draw() {
	s := b.s
	now := s.loop.Now()
	left := s.limit(b.id) - b.count.pairs
	sent := 0
	for left > 0 && sent < maxBurst {
		m, other := b.next()
		if m == nil || s.heraldAt(m.cycle) > now {
			break
		}
		// While all can not bring more than are wanted, each may go ahead.
		other = max(other, m.cycle+left/uint64(len(b.matches))-1)
		for left > 0 && m.cycle <= other && m.cycle < m.end() && !m.column.full() && s.heraldAt(m.cycle) <= now {
			m.advance()
			left--
		}
		if m.column.full() {
			left += m.announce(false)
			sent++
		}
	}
	b.count.frameAt = now
	if sent < maxBurst && left >= fewPairs { // else there is more, or no more than a frame for each would cost
		b.count.frameAt = now.Add(bulkInterval)
	}
	done := left == 0
	s.several = append(s.several[:0], b.matches...) // some may end
	for _, m := range s.several {
		if len(m.column.cycles) > 0 {
			m.announce(done)
		}
	}
	s.review() // ends what the limit ends
	b.schedule()
}

// advance adds the next success to the column and draws the one after.
func (m *match) advance() {
	c := &m.column
	if len(c.cycles) == 0 {
		c.first = m.cycle
	}
	c.cycles = append(c.cycles, m.cycle)
	before := m.cycle
	m.tally(before + 1)
	dead := uint64(1)
	if !m.s.her.Continuous() {
		dead = max(dead, m.w[0].dead, m.w[1].dead)
	}
	m.attempt(before + dead)
	c.size += wire.UvarintLen(m.cycle-before) + 1
}

// announce makes both ends measure the pairs of the column and tells them. It
// ends the match if these are the last, or if a node took its qubit back: then it
// returns the number of pairs that did not come about.
func (m *match) announce(last bool) (missed uint64) {
	b := m.batch
	s := b.s
	cycles := m.column.cycles
	m.column.cycles, m.column.size = cycles[:0], 0
	labels := &s.labels
	n := s.her.HeraldBulk(m.lanes(), m.w[0].point, cycles, labels[:len(cycles)])
	missed = uint64(len(cycles) - n)
	b.count.pairs += uint64(n)
	last = last || missed > 0
	seq := s.nextSeq
	s.nextSeq += uint64(n)
	s.trace("bulk").Uint("request", uint64(m.id)).Uint("seq", seq).Uint("pairs", uint64(n)).Bool("done", last).End()
	for _, w := range m.w {
		f := s.frame(w, m.id)
		f.Seq, f.Cycle, f.Done = seq, m.column.first, last
		f.columns(cycles[:n], labels[:n])
		s.push(w, f)
	}
	if last {
		s.her.End(m.lanes(), s.current())
		m.tally(s.current())
		for _, w := range m.w {
			w.match, w.done = nil, true
		}
		b.count.pending--
		s.over(m)
	}
	return missed
}
