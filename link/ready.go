package link

import (
	"math"
	"math/rand/v2"
	"slices"
)

// inReady tells where among the ready requests one is.
type inReady uint8

const (
	nowhere inReady = iota
	inHead
	inRest
)

// ready holds the requests that want pairs, in the order of a scheduler, by class:
// those of one class may all be served now, or none of them, so that a slot or a
// shortage concerns a few classes, however many requests wait.
type ready struct {
	sched   Scheduler
	may     func(*Entry) bool // which the slot serves; nil: all
	lacks   shortage
	classes []*class   // by number; nil where no request came yet
	serving []*class   // those that have requests that may be served now
	merged  []*request // the first of all
	most    int        // of those that are stored
	stored  int        // those that are
	count   int
}

// all is the bound of no bound.
const all = math.MaxInt

// servable reports whether a request wants pairs and may be served now.
func (r *request) servable() bool { return r.in != nowhere && r.class.open }

// any returns a request drawn at random of those that may be served now, nil if there
// is none.
func (h *ready) any(rng *rand.Rand) *request {
	n := 0
	for _, c := range h.serving {
		n += c.len()
	}
	if n == 0 {
		return nil
	}
	i := rng.IntN(n)
	for _, c := range h.serving {
		for _, list := range [...][]*request{c.head, c.rest} {
			if i < len(list) {
				return list[i]
			}
			i -= len(list)
		}
	}
	return nil
}

func (h *ready) len() int { return h.count }

// stores reports whether there are requests whose pairs are stored.
func (h *ready) stores() bool {
	return slices.ContainsFunc(h.classes, func(c *class) bool { return c != nil && c.store && c.len() > 0 })
}

// wanted returns how many pairs all requests want together.
func (h *ready) wanted() (n uint64) {
	for _, c := range h.classes {
		if c == nil {
			continue
		}
		for _, list := range [...][]*request{c.head, c.rest} {
			for _, q := range list {
				n = saturate(n, q.wants())
			}
		}
	}
	return n
}

// filter says which requests may be served from now on: those that the slot serves,
// nil for all, and for which no end is short of qubits.
func (h *ready) filter(may func(*Entry) bool, lacks shortage) {
	h.may, h.lacks = may, lacks
	h.changed()
	clear(h.serving)
	h.serving = h.serving[:0]
	for _, c := range h.classes {
		if c == nil {
			continue
		}
		if c.open = h.allows(c); c.open && c.len() > 0 {
			h.serving = append(h.serving, c)
		}
	}
}

// allows reports whether requests of a class may be served now.
func (h *ready) allows(c *class) bool {
	return !h.lacks.lanes && !(h.lacks.storage && c.store) && (h.may == nil || h.may(&c.like))
}

// changed forgets what was merged.
func (h *ready) changed() {
	if len(h.merged) > 0 {
		clear(h.merged)
		h.merged = h.merged[:0]
	}
}

// number returns that of the class that a request belongs to.
func (h *ready) number(q *request) int {
	n := 2 * h.sched.Class(&q.Entry)
	if q.store {
		n++
	}
	return n
}

// classOf returns the class that a request belongs to.
func (h *ready) classOf(q *request) *class {
	n := q.Class
	for n >= len(h.classes) {
		h.classes = append(h.classes, nil)
	}
	if h.classes[n] == nil {
		c := &class{sched: h.sched, like: q.Entry, store: q.store}
		c.open = h.allows(c)
		h.classes[n] = c
	}
	return h.classes[n]
}

// add takes up a request.
func (h *ready) add(q *request) {
	if q.class == nil {
		q.class = h.classOf(q)
	}
	if q.class.open && q.class.len() == 0 {
		h.serving = append(h.serving, q.class)
	}
	q.class.add(q)
	h.sched.Wanted(&q.Entry, true)
	h.count++
	h.changed()
}

// remove leaves a request out that is there.
func (h *ready) remove(q *request) {
	q.class.remove(q)
	h.sched.Wanted(&q.Entry, false)
	h.count--
	h.changed()
	if q.class.open && q.class.len() == 0 {
		i := slices.Index(h.serving, q.class)
		h.serving = slices.Delete(h.serving, i, i+1)
	}
}

// fix puts a request where it belongs, if it is there, after its place in the order
// has changed.
func (h *ready) fix(q *request) {
	if q.in != nowhere {
		q.class.remove(q)
		q.class.add(q)
	}
	h.changed() // its class may be later beside others
}

// first returns up to n requests that may be served, in the order of service, leaving
// out those that are stored but for the first so many. The slice is valid until the
// next change or call, and not to be changed.
func (h *ready) first(n, stored int) []*request {
	switch {
	case len(h.serving) == 0:
		return nil
	case len(h.serving) > 1:
	case h.serving[0].store:
		return h.serving[0].first(min(n, stored))
	default:
		return h.serving[0].first(n)
	}
	if stored != h.most {
		h.changed()
		h.most = stored
	}
	if len(h.merged) == 0 {
		h.stored = 0
		for _, c := range h.serving {
			c.merged = 0
		}
	}
	for len(h.merged) < n {
		var from *class
		var q *request
		for _, c := range h.serving {
			if c.store && h.stored >= stored {
				continue
			}
			list := c.first(c.merged + 1)
			if len(list) > c.merged && (from == nil || c.before(list[c.merged], q)) {
				from, q = c, list[c.merged]
			}
		}
		if from == nil {
			break
		}
		from.merged++
		if from.store {
			h.stored++
		}
		h.merged = append(h.merged, q)
	}
	return h.merged[:min(n, len(h.merged))]
}
