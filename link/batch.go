package link

import (
	"slices"
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/wire"
)

// batch is all matches that measure for one request. The pairs of the request are
// the first that any of them brings.
//
// If many pairs are left the ends are told of them in wide frames, on streams, and ever
// more seldom, so that a request of a million pairs is less than a hundred frames of one lane.
type batch struct {
	s       *Station
	id      RequestID
	count   *count
	matches []*match
	drawn   uint64 // pairs that are drawn and not announced
	wide    bool
	since   qnet.Time // began
	brought uint64    // pairs since then
	tellAt  qnet.Time // no wide frame before
	timer   event.Timer
	onTimer func() // method value, made once
}

// column is what a match has drawn and not announced.
type column struct {
	first  uint64 // the cycle from which the steps count
	cycles []uint64
	size   int // of the frame, about
}

func (m *match) full() bool {
	c := &m.column
	if m.batch.wide {
		return len(c.cycles) >= maxWide
	}
	return len(c.cycles) >= maxFrame || c.size >= maxFrameBytes
}

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
	b.drawn, b.brought = 0, 0
	b.since, b.tellAt = s.loop.Now(), s.loop.Now()
	b.wide = b.left() >= widePairs && !s.her.Interrupted()
	return b
}

// left returns the pairs of the request that are still to be drawn.
func (b *batch) left() uint64 {
	limit, had := b.s.limit(b.id), b.count.pairs+b.drawn
	return max(limit, had) - had
}

// pause returns how long the batch waits with the next wide frames: a quarter of the
// time that it has taken so far, but no longer than until half of what is left, or nearly
// a frame for each match, has come at the rate so far, nor than half of what a window
// still lasts, which ends with the deadline.
func (b *batch) pause(left uint64) time.Duration {
	now := b.s.loop.Now()
	t := now.Sub(b.since)
	most := min(maxPause, t/4)
	for _, m := range b.matches {
		most = min(most, max(0, b.s.heraldAt(m.end()).Sub(now))/2)
	}
	coming := float64(min(left/2, maxWide/8*7*uint64(len(b.matches))))
	if b.brought > 0 {
		most = time.Duration(min(float64(most), float64(t)*coming/float64(b.brought)))
	}
	// Else more would be under way than may be, by the time that answers take.
	for _, m := range b.matches {
		for _, w := range m.w {
			if l := w.frames.list; len(l) >= maxWideUnacked/2 {
				most = max(most, now.Sub(l[0].Sent)/2)
			}
		}
	}
	return max(most, bulkInterval, b.s.cfg.Delay)
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
	most := m.s.most(m.w[0])
	return m.w[0].frames.unacked() >= most || m.w[1].frames.unacked() >= most
}

// resume goes on with a match that was stalled.
func (b *batch) resume(m *match) {
	if from := b.s.current(); m.cycle < from { // what it brought meanwhile is over
		m.draw(from)
		b.s.her.Until(m.lanes(), m.cycle)
	}
	// Else each acknowledgement would let one pair go.
	b.count.frameAt = max(b.count.frameAt, b.s.loop.Now().Add(bulkInterval))
	b.schedule()
}

// schedule sets the timer of the next success that is to be announced.
func (b *batch) schedule() {
	b.timer.Stop()
	at := qnet.Never
	if m, _ := b.next(); m != nil {
		at = b.s.heraldAt(m.cycle)
	}
	if b.drawn > 0 {
		at = min(at, b.tellAt)
	}
	if at != qnet.Never {
		b.timer = b.s.loop.At(max(at, b.count.frameAt), b.onTimer)
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
	left := b.left()
	sent := 0
	for left > 0 && sent < maxBurst {
		m, other := b.next()
		if m == nil || s.heraldAt(m.cycle) > now {
			break
		}
		// While all can not bring more than are wanted, each may go ahead.
		other = max(other, m.cycle+left/uint64(len(b.matches))-1)
		for left > 0 && m.cycle <= other && m.cycle < m.end() && !m.full() && s.heraldAt(m.cycle) <= now {
			m.advance()
			left--
		}
		if m.full() {
			left += m.announce(false)
			sent++
		}
	}
	b.count.frameAt = now
	if sent < maxBurst && left >= fewPairs { // else there is more, or no more than a frame for each would cost
		b.count.frameAt = now.Add(bulkInterval)
	}
	if !b.wide || left == 0 || now >= b.tellAt {
		b.tell(left == 0)
		if b.wide {
			b.tellAt = now.Add(b.pause(left))
		}
	}
	s.review() // ends what the limit ends
	b.schedule()
}

// tell announces what is drawn; last tells that no more is wanted.
func (b *batch) tell(last bool) {
	s := b.s
	s.several = append(s.several[:0], b.matches...) // some may end
	for _, m := range s.several {
		if len(m.column.cycles) > 0 {
			m.announce(last)
		}
	}
}

// advance adds the next success to the column and draws the one after.
func (m *match) advance() {
	c := &m.column
	if len(c.cycles) == 0 {
		c.first = m.cycle
	}
	c.cycles = append(c.cycles, m.cycle)
	m.batch.drawn++
	before := m.cycle
	m.tally(before + 1)
	dead := uint64(1)
	if !m.s.her.Continuous() {
		dead = max(dead, m.w[0].dead, m.w[1].dead)
	}
	m.attempt(before + dead)
	c.size += wire.UvarintLen(m.cycle-before) + 1
}

// settle announces what a match has brought until now, and reports whether it goes on.
func (m *match) settle() bool {
	now := m.s.loop.Now()
	left := m.batch.left()
	for {
		for left > 0 && m.cycle < m.end() && m.s.heraldAt(m.cycle) <= now && !m.full() && !m.stalled() {
			m.advance()
			left--
		}
		full := m.full()
		if len(m.column.cycles) > 0 && m.announce(false) > 0 {
			return false
		}
		if !full {
			return true
		}
	}
}

// announce makes both ends measure the pairs of the column and tells them. It
// ends the match if these are the last, or if a node took its qubit back: then it
// returns the number of pairs that did not come about.
func (m *match) announce(last bool) (missed uint64) {
	b := m.batch
	s := b.s
	cycles := m.column.cycles
	m.column.cycles, m.column.size = cycles[:0], 0
	s.labels = slices.Grow(s.labels[:0], len(cycles))
	labels := s.labels[:len(cycles)]
	n := s.her.HeraldBulk(m.lanes(), m.w[0].point, cycles, labels)
	missed = uint64(len(cycles) - n)
	b.drawn -= uint64(len(cycles))
	b.brought += uint64(n)
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
		s.loose = true
		s.over(m)
	}
	return missed
}
