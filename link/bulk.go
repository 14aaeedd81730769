package link

import (
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
)

// bulk is the part of a lane that serves a Measure request: it joins the
// station's columns (which cycles succeeded, and how) with the device's (what
// this end measured in them).
type bulk struct {
	q        *request  // nil if it is over: what is still announced is void then
	id       RequestID // its identity; 0 if the window is not for measuring
	next     uint64    // pairs of the window that the station has announced
	seq      uint64    // no smaller number comes
	done     bool      // it will announce no more
	heralds  queue[announced]
	outcomes queue[outcome]
}

type announced struct {
	seq, cycle uint64
	label      qnet.BellLabel
}

type outcome struct {
	cycle      uint64
	basis, bit uint8
}

// maxHeralds bounds the pairs of a lane that are announced and not measured yet: so
// many more than a station announces ahead that only a false one reaches it.
const maxHeralds = 1 << 18

func (b *bulk) reset() {
	b.q, b.id, b.next, b.seq, b.done = nil, 0, 0, 0, false
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
	} else if q.head > 64 && q.head > len(q.items)/2 {
		q.items = q.items[:copy(q.items, q.items[q.head:])]
		q.head = 0
	}
}

func (q *queue[T]) clear() { q.items, q.head = q.items[:0], 0 }

func (l *lane) armBulk(q *request) {
	l.bulk.q, l.bulk.id = q, q.ID
	l.e.l.dev.ArmBulk(l.e.cfg.ID, l.index, q.bases, l.onOutcomes, l.onArmed)
}

// measured takes the device's columns. Of a qubit that was freed none come.
func (l *lane) measured(o physical.Outcomes, err error) {
	if l.bulk.q == nil {
		return
	}
	if err != nil {
		l.e.abort(l.bulk.q, err)
		return
	}
	for i, c := range o.Cycle {
		l.bulk.outcomes.push(outcome{cycle: c, basis: o.Basis[i], bit: o.Bit[i]})
	}
	l.join()
}

func (e *end) onBulkReply(m *BulkReply) { e.announced(m, nil) }

// acknowledge tells the station what has arrived, by the way that it came.
func (e *end) acknowledge(via control.Stream) {
	if via == nil {
		e.send(e.cfg.Station, &e.bulkAck)
		return
	}
	e.frames.Sent[e.bulkAck.Type()&0xf]++
	via.Send(&e.bulkAck)
}

// announced takes pairs that the station announces, on a stream unless via is nil.
func (e *end) announced(m *BulkReply, via control.Stream) {
	if int(m.Lane) >= len(e.lanes) || m.Window > e.lanes[m.Lane].window || m.Seq < seqBase || m.Seq+uint64(len(m.Steps)) > e.seqLimit() {
		e.fault(fromStation, unexpected, "BULK_REPLY for a window that was never open, or with pairs that there can not be")
		return
	}
	l := &e.lanes[m.Lane]
	ack := &e.bulkAck
	*ack = BulkAck{Link: e.cfg.ID, Lane: m.Lane, Window: m.Window, Sent: m.Sent}
	if l.state != laneOpen && l.state != laneClosing || m.Window != l.window || l.bulk.id == 0 || m.ID != l.bulk.id && m.ID != 0 {
		ack.Next = m.after() // of a window that is over
		e.acknowledge(via)
		return
	}
	b := &l.bulk
	next := m.after()
	fresh := m.Index == b.next && !b.done
	if fresh && via != nil && b.heralds.len() >= maxHeralds {
		via.Close(qnet.ErrBusy) // the device is behind: it comes again on another
		return
	}
	if fresh && b.heralds.len() >= maxHeralds {
		e.fault(fromStation, unexpected, "BULK_REPLY whose pairs run far ahead")
		return
	}
	seq := m.Seq
	if fresh {
		b.next, b.done = next, m.Done
		if s := (span{seq, seq + uint64(len(m.Steps))}); s.first < s.end && (seq < b.seq || !e.heard.add(s)) {
			e.twice(b.q, "BULK_REPLY with pairs that were announced before, or count back")
			seq = 0 // void, without a word
		} else {
			b.seq = s.end
		}
	}
	ack.Next = b.next
	e.acknowledge(via)
	if fresh && (m.Lost || b.q == nil) {
		l.lose(seq, len(m.Steps))
	} else if fresh {
		cycle := m.Cycle
		for i, step := range m.Steps {
			cycle += step
			label := qnet.BellLabel(m.Labels[i/4] >> (2 * (i % 4)) & 3)
			b.heralds.push(announced{seq: seq + uint64(i), cycle: cycle, label: label})
		}
		if m.Done && via == nil && len(m.Steps) > 0 { // the last pair has not waited for others
			e.herald.took(e.l.dev.Now().Sub(e.cfg.Cycles.Instant(cycle)))
		}
	}
	switch {
	case b.q != nil:
		l.join()
	case b.done:
		l.release()
		e.serve()
	}
}

// lose voids announced pairs, from seq on, which this end does not have. Those that
// the peer has voided already only count.
func (l *lane) lose(seq uint64, n int) {
	if l.forgotten { // as has the peer
		return
	}
	e, id := l.e, l.bulk.id
	q := e.requests[id]
	e.missed(q, uint64(n))
	s := span{seq, seq}
	for end := seq + uint64(n); seq < end; seq++ {
		void := e.isVoid(seq)
		if !void {
			if s.end = seq + 1; s.end-s.first < maxFrame {
				continue
			}
		} else {
			e.lack(q, 1)
		}
		if s.first < s.end {
			e.lose(id, s, false)
		}
		s = span{seq + 1, seq + 1}
	}
	if s.first < s.end {
		e.lose(id, s, false)
	}
}

// abandon closes a lane that measures for a request that is over: what is
// announced and not handed up is void, and so is what is still announced.
func (l *lane) abandon() {
	b := &l.bulk
	b.q = nil
	for b.heralds.len() > 0 {
		first, n := b.heralds.front().seq, 0
		for ; b.heralds.len() > 0 && n < maxFrame && b.heralds.front().seq == first+uint64(n); n++ {
			b.heralds.pop()
		}
		l.lose(first, n)
	}
	b.outcomes.clear()
	if b.done {
		l.release()
		return
	}
	l.close()
}

// join hands up the pairs of which both columns are there, but no more than the
// request asked for: those beyond are void, as all that is announced of a request
// that is over. It can not leave any other out that the other end has.
func (l *lane) join() {
	e, b, q := l.e, &l.bulk, l.bulk.q
	if !b.done && (b.heralds.len() == 0 || b.outcomes.len() == 0) {
		return
	}
	out := e.measured[:0]
	items := e.outcomes.Items[:0]
	for b.heralds.len() > 0 && b.outcomes.len() > 0 && (q.Pairs == 0 || q.got+uint64(len(out)) < q.Pairs) {
		h, o := b.heralds.front(), b.outcomes.front()
		if o.cycle > h.cycle {
			e.abort(q, qnet.Errorf(qnet.ErrInternal, "link %s: the device did not measure the pair of cycle %d", e.cfg.Name, h.cycle))
			return
		}
		b.outcomes.pop()
		if o.cycle < h.cycle {
			continue // nobody heralded it
		}
		b.heralds.pop()
		if e.isVoid(h.seq) {
			e.missed(q, 1)
			e.lack(q, 1)
			continue
		}
		if test, _ := q.tests(h.seq); test {
			e.skip(q)
			e.saw(q, h.seq, h.label, q.bases.Basis(o.basis), o.bit)
			if items = append(items, Outcome{Seq: h.seq, Basis: o.basis, Bit: o.bit}); len(items) == maxOutcomes {
				e.tellOutcomes(q.ID, q.axes(), items)
				items = items[:0]
			}
			continue
		}
		mark := digestOf(h.seq, h.cycle, h.label)
		q.digest ^= mark
		if !e.voidable(q) {
			mark = 0 // it is not given back
		}
		e.remember(taken{span: span{h.seq, h.seq + 1}, id: q.ID, mark: mark})
		out = append(out, Measured{Seq: h.seq, Label: h.label, Basis: o.basis, Bit: o.bit, Created: e.cfg.Cycles.Instant(h.cycle), Goodness: q.goodness})
	}
	e.measured = out
	if len(items) > 0 {
		e.tellOutcomes(q.ID, q.axes(), items)
	}
	if len(out) > 0 {
		e.took(q, uint64(len(out)))
	}
	complete := q.Pairs > 0 && q.got >= q.Pairs
	over := b.done && b.heralds.len() == 0
	if over {
		l.release()
	} else if complete {
		l.abandon()
	}
	if len(out) > 0 {
		e.trace("measured").Uint("request", uint64(q.ID)).Uint("pairs", uint64(len(out))).End()
		e.l.handler.Measured(e.cfg.ID, q.ID, out)
	}
	if complete {
		e.complete(q)
	} else {
		e.serve()
	}
}
