package link

import (
	"qstack/physical"
	"qstack/qnet"
)

// bulk is the part of a lane that serves a Measure request: it joins the
// station's columns (which cycles succeeded, and how) with the device's (what
// this end measured in them).
type bulk struct {
	q        *request
	next     uint64 // pairs of the window that the station has announced
	done     bool   // it will announce no more
	heralds  queue[herald]
	outcomes queue[outcome]
}

type herald struct {
	seq, cycle uint64
	label      qnet.BellLabel
}

type outcome struct {
	cycle      uint64
	basis, bit uint8
}

func (b *bulk) reset() {
	b.q, b.next, b.done = nil, 0, false
	b.heralds.clear()
	b.outcomes.clear()
}

// queue is a first-in first-out queue that re-uses its memory.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) push(v T) { q.items = append(q.items, v) }
func (q *queue[T]) len() int { return len(q.items) - q.head }
func (q *queue[T]) front() *T {
	return &q.items[q.head]
}

func (q *queue[T]) pop() {
	q.head++
	if q.head == len(q.items) {
		q.clear()
	} else if q.head > 4096 && q.head > len(q.items)/2 {
		q.items = q.items[:copy(q.items, q.items[q.head:])]
		q.head = 0
	}
}

func (q *queue[T]) clear() { q.items, q.head = q.items[:0], 0 }

func (l *lane) armBulk(q *request) {
	l.state, l.unwanted = laneArming, false
	l.window++
	l.bulk.reset()
	l.bulk.q = q
	window := l.window
	sink := func(o physical.Outcomes, err error) {
		if l.window == window && l.bulk.q == q {
			l.measured(o, err)
		}
	}
	l.e.l.dev.ArmBulk(l.e.cfg.ID, l.index, q.bases, sink, l.onArmed)
}

// measured takes the device's columns.
func (l *lane) measured(o physical.Outcomes, err error) {
	if err != nil {
		q := l.bulk.q
		l.e.drop(q)
		l.e.l.handler.Ended(l.e.cfg.ID, q.id, err)
		return
	}
	for i, c := range o.Cycle {
		l.bulk.outcomes.push(outcome{cycle: c, basis: o.Basis[i], bit: o.Bit[i]})
	}
	l.join()
}

func (e *end) onBulkReply(m *BulkReply) {
	if int(m.Lane) >= len(e.lanes) {
		return
	}
	l := &e.lanes[m.Lane]
	ack := BulkAck{Link: e.cfg.ID, Lane: m.Lane, Window: m.Window}
	if l.state != laneBulk || m.Window != l.window || l.bulk.q.id != m.ID {
		ack.Next = m.after() // of a window that is over
		e.send(e.cfg.Station, &ack)
		return
	}
	b := &l.bulk
	if m.Index == b.next && !b.done {
		cycle := m.Cycle
		for i, step := range m.Steps {
			cycle += step
			label := qnet.BellLabel(m.Labels[i/4] >> (2 * (i % 4)) & 3)
			b.heralds.push(herald{seq: m.Seq + uint64(i), cycle: cycle, label: label})
		}
		b.next = m.after()
		b.done = m.Done
	}
	ack.Next = b.next
	e.send(e.cfg.Station, &ack)
	l.join()
}

// join hands up the pairs of which both columns are there.
func (l *lane) join() {
	e, b, q := l.e, &l.bulk, l.bulk.q
	out := e.measured[:0]
	for b.heralds.len() > 0 && b.outcomes.len() > 0 && uint64(len(out)) < q.wants() {
		h, o := b.heralds.front(), b.outcomes.front()
		switch {
		case o.cycle < h.cycle: // nobody heralded it
			b.outcomes.pop()
		case o.cycle > h.cycle: // this end did not measure it
			q.void++
			e.expired++
			b.heralds.pop()
		default:
			out = append(out, Measured{Seq: h.seq, Label: h.label, Basis: o.basis, Bit: o.bit, Created: e.cfg.Cycles.Instant(h.cycle)})
			b.heralds.pop()
			b.outcomes.pop()
		}
	}
	e.measured = out
	complete := false
	if len(out) > 0 {
		complete = e.took(q, uint64(len(out)))
	}
	over := complete || b.done && b.heralds.len() == 0
	if over {
		// The last acknowledgement may have been lost: the closing GEN makes the
		// station forget the window too.
		l.close()
	}
	if len(out) > 0 {
		e.trace("measured").Uint("request", uint64(q.id)).Uint("pairs", uint64(len(out))).End()
		e.l.handler.Measured(e.cfg.ID, q.id, out)
	}
	if complete {
		e.complete(q)
	} else if over {
		e.serve()
	}
}
