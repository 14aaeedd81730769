package link

import (
	"math/rand/v2"
	"slices"
)

// inReady tells where among the ready requests one is.
type inReady uint8

const (
	nowhere inReady = iota
	inHead
	inRest
	inBarred // it may not be served now
)

// ready holds the requests that want pairs: those that may be served now in the
// order of a scheduler, and the others apart, so that they cost nothing. Of the
// former the first are kept in order, since they are looked at all the time, and
// those behind them as a heap.
type ready struct {
	sched  Scheduler
	may    func(*Entry) bool // be served now; nil: all may
	head   []*request        // in order
	rest   []*request        // a heap; none comes before one of head
	barred []*request
}

// servable reports whether a request wants pairs and may be served now.
func (r *request) servable() bool { return r.in == inHead || r.in == inRest }

// maxHead is the number of requests that are kept in order unless more are asked
// for: those that a Gen names, and some.
const maxHead = maxCandidates + maxCandidates/2

// any returns a request drawn at random of those that may be served now, nil if there
// is none.
func (h *ready) any(rng *rand.Rand) *request {
	n := len(h.head) + len(h.rest)
	if n == 0 {
		return nil
	}
	if i := rng.IntN(n); i < len(h.head) {
		return h.head[i]
	} else {
		return h.rest[i-len(h.head)]
	}
}

func (h *ready) len() int { return len(h.head) + len(h.rest) + len(h.barred) }

// wanted returns how many pairs all requests want together.
func (h *ready) wanted() (n uint64) {
	for _, list := range [...][]*request{h.head, h.rest, h.barred} {
		for _, q := range list {
			n = saturate(n, q.wants())
		}
	}
	return n
}

// filter says which requests may be served from now on, nil for all.
func (h *ready) filter(may func(*Entry) bool) {
	if h.may == nil && may == nil {
		return
	}
	all := slices.Concat(h.head, h.rest, h.barred)
	clear(h.head)
	clear(h.rest)
	clear(h.barred)
	h.may, h.head, h.rest, h.barred = may, h.head[:0], h.rest[:0], h.barred[:0]
	for _, q := range all {
		h.add(q)
	}
}

func (h *ready) before(a, b *request) bool { return h.sched.Before(&a.Entry, &b.Entry) }

// add takes up a request.
func (h *ready) add(q *request) {
	switch {
	case h.may != nil && !h.may(&q.Entry):
		q.in, q.index = inBarred, len(h.barred)
		h.barred = append(h.barred, q)
	case len(h.rest) > 0 && h.before(h.rest[0], q):
		h.push(q)
	default:
		i, _ := slices.BinarySearchFunc(h.head, q, func(o, q *request) int {
			if h.before(o, q) {
				return -1
			}
			return 1
		})
		q.in = inHead
		h.head = slices.Insert(h.head, i, q)
		if last := len(h.head) - 1; last == maxHead {
			h.push(h.head[last])
			h.head[last] = nil
			h.head = h.head[:last]
		}
	}
}

// remove leaves a request out that is there.
func (h *ready) remove(q *request) {
	switch q.in {
	case inHead:
		i := slices.Index(h.head, q)
		h.head = slices.Delete(h.head, i, i+1)
	case inRest:
		i, last := q.index, len(h.rest)-1
		h.swap(i, last)
		h.rest[last] = nil
		if h.rest = h.rest[:last]; i < last {
			h.sink(i)
		}
	case inBarred:
		last := len(h.barred) - 1
		h.barred[q.index] = h.barred[last]
		h.barred[q.index].index = q.index
		h.barred[last] = nil
		h.barred = h.barred[:last]
	}
	q.in = nowhere
}

// fix puts a request where it belongs, if it is there, after its place in the order
// has changed.
func (h *ready) fix(q *request) {
	if q.servable() {
		h.remove(q)
		h.add(q)
	}
}

// first returns up to n requests that may be served, in the order of service. The
// slice is valid until the next change, and not to be changed.
func (h *ready) first(n int) []*request {
	for len(h.head) < n && len(h.rest) > 0 {
		q := h.rest[0]
		h.remove(q)
		q.in = inHead
		h.head = append(h.head, q)
	}
	return h.head[:min(n, len(h.head))]
}

// push adds a request to the heap.
func (h *ready) push(q *request) {
	q.in, q.index = inRest, len(h.rest)
	h.rest = append(h.rest, q)
	h.up(q.index)
}

func (h *ready) less(i, j int) bool { return h.before(h.rest[i], h.rest[j]) }

func (h *ready) swap(i, j int) {
	h.rest[i], h.rest[j] = h.rest[j], h.rest[i]
	h.rest[i].index, h.rest[j].index = i, j
}

func (h *ready) up(i int) {
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

// sink puts the request at i, which was the last of the heap, where it belongs:
// at the bottom, most likely, so that it is compared on the way up alone.
func (h *ready) sink(i int) {
	for c := 2*i + 1; c < len(h.rest); c = 2*i + 1 {
		if c+1 < len(h.rest) && h.less(c+1, c) {
			c++
		}
		h.swap(i, c)
		i = c
	}
	h.up(i)
}
