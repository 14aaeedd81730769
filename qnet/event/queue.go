package event

import "qstack/qnet"

// Timer is an event that has been scheduled. The zero Timer has no event.
type Timer struct {
	q    *queue
	seq  uint64
	slot int32
}

// Stop cancels the event and reports whether it did: false means that the event
// has begun, has been stopped before, or never was. A stopped event is removed
// at once and costs nothing afterwards. Stop may be called where the methods of
// Scheduler may.
func (t Timer) Stop() bool {
	return t.q != nil && t.q.remove(t.slot, t.seq)
}

// queue holds the events to come in order of (time, sequence). It is a 4-ary
// heap of instants beside a table of slots, which hold the rest of each event
// and where in the heap it is. An event keeps its slot until it leaves the
// queue, then the slot is used again; the sequence number, which is not, tells a
// Timer whether the slot still holds its own event.
//
// What a step of the heap touches is kept small and together, for with many
// events it is the memory that takes the time.
type queue struct {
	heap  []entry
	slots []slot
	pos   []int32 // by slot: index into the heap
	free  []int32 // free slots
	seq   uint64  // of the last event; the first has 1
}

type entry struct {
	at   qnet.Time
	slot int32
}

type slot struct {
	seq uint64 // 0 if the slot is free
	f   func()
}

// push adds the event f at t.
func (q *queue) push(t qnet.Time, f func()) Timer {
	var s int32
	if n := len(q.free); n > 0 {
		s = q.free[n-1]
		q.free = q.free[:n-1]
	} else {
		s = int32(len(q.pos))
		q.pos = append(q.pos, 0)
		q.slots = append(q.slots, slot{})
	}
	q.seq++
	q.slots[s] = slot{q.seq, f}
	e := entry{at: t, slot: s}
	q.heap = append(q.heap, e)
	q.up(len(q.heap)-1, e)
	return Timer{q: q, seq: q.seq, slot: s}
}

// next returns the instant of the first event, and false if there is none.
func (q *queue) next() (qnet.Time, bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// pop removes the first event, of which there must be one.
func (q *queue) pop() (qnet.Time, func()) {
	e := q.heap[0]
	f := q.slots[e.slot].f
	q.delete(0)
	return e.at, f
}

// remove removes the event that was given slot and seq, and reports whether it
// was still there.
func (q *queue) remove(slot int32, seq uint64) bool {
	if q.slots[slot].seq != seq {
		return false
	}
	q.delete(int(q.pos[slot]))
	return true
}

// clear removes all events.
func (q *queue) clear() {
	for len(q.heap) > 0 {
		q.delete(len(q.heap) - 1)
	}
}

// delete takes the entry at pos out of the heap and frees its slot.
func (q *queue) delete(pos int) {
	s := q.heap[pos].slot
	q.slots[s] = slot{}
	q.free = append(q.free, s)

	n := len(q.heap) - 1
	last := q.heap[n]
	q.heap = q.heap[:n]
	if pos == n {
		return
	}
	if pos > 0 && q.less(last, q.heap[(pos-1)/4]) == 1 {
		q.up(pos, last)
	} else {
		q.down(pos, last)
	}
}

// up puts e at pos or, while it comes before its parent, higher.
func (q *queue) up(pos int, e entry) {
	for pos > 0 {
		parent := (pos - 1) / 4
		if q.less(e, q.heap[parent]) == 0 {
			break
		}
		q.set(pos, q.heap[parent])
		pos = parent
	}
	q.set(pos, e)
}

// down puts e at pos or, while one of its children comes before it, lower.
func (q *queue) down(pos int, e entry) {
	h := q.heap
	for {
		first := 4*pos + 1 // of the children
		if first >= len(h) {
			break
		}
		least := first
		if first+4 <= len(h) {
			c := h[first : first+4 : first+4] // the least of either half, then of both
			a := q.less(c[1], c[0])
			b := 2 + q.less(c[3], c[2])
			least += a + (b-a)*q.less(c[b&3], c[a&3])
		} else {
			for i := first + 1; i < len(h); i++ {
				least += (i - least) * q.less(h[i], h[least])
			}
		}
		if q.less(h[least], e) == 0 {
			break
		}
		q.set(pos, h[least])
		pos = least
	}
	q.set(pos, e)
}

func (q *queue) set(pos int, e entry) {
	q.heap[pos] = e
	q.pos[e.slot] = int32(pos)
}

// less returns 1 if a comes before b, otherwise 0. Its callers calculate with
// that instead of branching: with random instants every second branch would be
// mispredicted.
func (q *queue) less(a, b entry) int {
	before := a.at < b.at
	if a.at == b.at {
		before = q.slots[a.slot].seq < q.slots[b.slot].seq
	}
	if before {
		return 1
	}
	return 0
}
