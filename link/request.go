package link

import (
	"math"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
)

// requestState is where a request stands.
//
//	 create           window open          ADD_ACK(0)           schedule cycle
//	---------> waiting ----------> adding ------------> agreed ---------------> active
//	              |                  | |                  |                       |
//	              |                  | | not answered     | end                   | end
//	              |                  | +------------------+-----> ending <--------+
//	              | end              | ADD_ACK(code)               | END_ACK, or END of the peer
//	              +------------------+-----------------------------+---> (gone)
//
//	         all pairs             END(OK) of the peer, or END_ACK
//	active <-----------> complete ---------------------------------> (gone)
//	         one is void
//
// At the peer a request is agreed from the ADD on. One that has all its pairs at
// this end waits until the other end has them too, since that may void one that it
// hears of too late; measured pairs are announced until both ends have heard of
// them, and their request is gone at once. The loss of the link is the end of all.
type requestState uint8

const (
	reqWaiting requestState = iota
	reqAdding
	reqAgreed
	reqActive
	reqComplete
	reqEnding
)

// request is one request at one end.
type request struct {
	Entry
	typ         Type
	state       requestState
	consecutive bool
	store       bool
	index       int  // in the ready queue; -1 when it is not there
	barred      bool // it is there, but may not be served now
	point       int
	minF        float64
	goodness    float64       // estimated, of its pairs when they are handed up
	age         time.Duration // from emission until then
	startTurn   float64       // Turn when it was admitted
	deadline    qnet.Time
	schedule    uint64
	limit       uint64 // pairs that this end takes in all
	paced       uint64 // pairs that its rate allows so far
	rate        float64
	started     qnet.Time // active
	got         uint64    // pairs taken and not void
	void        uint64    // pairs of this request that one end did not get
	peerVoid    uint64    // the same at the peer when it was complete there, and one; 0: it was not
	bases       physical.BasisSource
	peerBases   physical.BasisSource
	draw        qnet.Choice    // of bases, for Prepare
	testing     float64        // share of test rounds
	salt        [saltSize]byte // which they are is drawn from
	pending     int            // pairs taken that are still to be moved or measured
	measuring   []uint64       // those of them that are measured, for Prepare
	together    []Pair         // of a consecutive request, until all are there
	endCode     qnet.Code
	endText     string
	tries       int
	retry       event.Timer // of ADD and END, the schedule cycle and the pace
	expiry      event.Timer
	onRetry     func() // end.due of this request, made once
}

// ceiling returns the number of pairs that this end takes in all.
func (r *request) ceiling() uint64 {
	n := min(r.limit, r.paced)
	if r.Pairs > 0 {
		n = min(n, r.Pairs)
	}
	return n
}

// wants returns how many more pairs this end takes now.
func (r *request) wants() uint64 {
	n := r.ceiling()
	if r.state != reqActive || n <= r.got {
		return 0
	}
	return n - r.got
}

// voidable reports whether a pair can be void after this end has taken it.
func (e *end) voidable(q *request) bool { return q.keeps() || e.cfg.Compat.ReferenceRetries }

// keeps reports whether attempts for the request leave the qubit as it is.
func (r *request) keeps() bool { return r.typ != Measure }

// ready holds the requests that want pairs: those that may be served now in the
// order of a scheduler, a heap, and the others apart, so that they cost nothing.
type ready struct {
	sched  Scheduler
	may    func(*Entry) bool // be served now; nil: all may
	list   []*request
	barred []*request
	scan   []int // scratch of first
	sorted []*request
}

func (h *ready) len() int { return len(h.list) + len(h.barred) }

// filter says which requests may be served from now on, nil for all.
func (h *ready) filter(may func(*Entry) bool) {
	if h.may == nil && may == nil {
		return
	}
	all := slices.Concat(h.list, h.barred)
	clear(h.list)
	clear(h.barred)
	h.may, h.list, h.barred = may, h.list[:0], h.barred[:0]
	for _, q := range all {
		h.add(q)
	}
}

func (h *ready) less(i, j int) bool { return h.sched.Before(&h.list[i].Entry, &h.list[j].Entry) }

func (h *ready) swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].index, h.list[j].index = i, j
}

func (h *ready) up(i int) {
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h *ready) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h.list) {
			return
		}
		if c+1 < len(h.list) && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			return
		}
		h.swap(i, c)
		i = c
	}
}

func (h *ready) add(q *request) {
	if q.barred = h.may != nil && !h.may(&q.Entry); q.barred {
		q.index = len(h.barred)
		h.barred = append(h.barred, q)
		return
	}
	q.index = len(h.list)
	h.list = append(h.list, q)
	h.up(q.index)
}

func (h *ready) remove(q *request) {
	if q.barred {
		last := len(h.barred) - 1
		h.barred[q.index] = h.barred[last]
		h.barred[q.index].index = q.index
		h.barred[last] = nil
		h.barred = h.barred[:last]
		q.index, q.barred = -1, false
		return
	}
	i, last := q.index, len(h.list)-1
	h.swap(i, last)
	h.list[last] = nil
	h.list = h.list[:last]
	q.index = -1
	if i < last {
		h.fix(i)
	}
}

func (h *ready) fix(i int) {
	h.up(i)
	h.down(i)
}

// first returns up to n requests that may be served, in the order of service. The
// slice is valid until the next call.
func (h *ready) first(n int) []*request {
	// The next in order is the first of the children of those taken so far: a heap
	// of places in the heap.
	front, out := h.scan[:0], h.sorted[:0]
	before := func(a, b int) bool { return h.less(front[a], front[b]) }
	push := func(i int) {
		front = append(front, i)
		for c := len(front) - 1; c > 0 && before(c, (c-1)/2); c = (c - 1) / 2 {
			front[c], front[(c-1)/2] = front[(c-1)/2], front[c]
		}
	}
	pop := func() int {
		i, last := front[0], len(front)-1
		front[0] = front[last]
		front = front[:last]
		for p := 0; ; {
			c := 2*p + 1
			if c >= last {
				return i
			}
			if c+1 < last && before(c+1, c) {
				c++
			}
			if !before(c, p) {
				return i
			}
			front[p], front[c] = front[c], front[p]
			p = c
		}
	}
	if len(h.list) > 0 {
		push(0)
	}
	for len(front) > 0 && len(out) < n {
		i := pop()
		for c := 2*i + 1; c <= 2*i+2 && c < len(h.list); c++ {
			push(c)
		}
		out = append(out, h.list[i])
	}
	h.scan, h.sorted = front, out
	return out
}

// saturate adds without overflow.
func saturate(a, b uint64) uint64 {
	if a+b < a {
		return math.MaxUint64
	}
	return a + b
}
