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

// ready holds the requests that want pairs, in the order of a scheduler, by class and
// flow: those of one class may all be served now, or none of them, so that a slot or a
// shortage concerns a few classes, and a pair that is made the order of a few flows,
// however many requests wait.
type ready struct {
	sched   Scheduler
	may     func(*Entry) bool // which the slot serves; nil: all
	lacks   shortage
	classes []*class   // by number; nil where no request came yet
	serving []*flow    // those that have requests that may be served now
	merged  []*request // the first of all
	most    int        // of those that are stored
	stored  int        // those that are
	count   int
}

// class is those of which all may be served at one time, or none.
type class struct {
	like  Entry   // one of them, on behalf of all
	store bool    // they are stored
	open  bool    // they may be served now
	flows []*flow // by number; nil where no request came yet
}

func (c *class) len() (n int) {
	for _, f := range c.flows {
		if f != nil {
			n += f.len()
		}
	}
	return n
}

// all is the bound of no bound.
const all = math.MaxInt

// servable reports whether a request wants pairs and may be served now.
func (r *request) servable() bool { return r.in != nowhere && r.flow.class.open }

// any returns a request drawn at random of those that may be served now, nil if there
// is none.
func (h *ready) any(rng *rand.Rand) *request {
	n := 0
	for _, f := range h.serving {
		n += f.len()
	}
	if n == 0 {
		return nil
	}
	i := rng.IntN(n)
	for _, f := range h.serving {
		for _, list := range [...][]*request{f.head, f.rest} {
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
		for _, f := range c.flows {
			if f == nil {
				continue
			}
			for _, list := range [...][]*request{f.head, f.rest} {
				for _, q := range list {
					n = saturate(n, q.wants())
				}
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
		if c.open = h.allows(c); !c.open {
			continue
		}
		for _, f := range c.flows {
			if f != nil && f.len() > 0 {
				h.serving = append(h.serving, f)
			}
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

// kind returns that of a request.
func (h *ready) kind(q *request) Kind {
	k := h.sched.Kind(&q.Entry)
	k.Class *= 2
	if q.store {
		k.Class++
	}
	return k
}

// flowOf returns the flow that a request belongs to.
func (h *ready) flowOf(q *request) *flow {
	h.classes = upTo(h.classes, q.Class)
	c := h.classes[q.Class]
	if c == nil {
		c = &class{like: q.Entry, store: q.store}
		c.open = h.allows(c)
		h.classes[q.Class] = c
	}
	c.flows = upTo(c.flows, q.Flow)
	if c.flows[q.Flow] == nil {
		c.flows[q.Flow] = &flow{class: c, sched: h.sched}
	}
	return c.flows[q.Flow]
}

// upTo makes a list as long as an index needs.
func upTo[T any](list []*T, i int) []*T {
	for i >= len(list) {
		list = append(list, nil)
	}
	return list
}

// add takes up a request.
func (h *ready) add(q *request) {
	if q.flow == nil {
		q.flow = h.flowOf(q)
	}
	if q.flow.class.open && q.flow.len() == 0 {
		h.serving = append(h.serving, q.flow)
	}
	q.flow.add(q)
	h.sched.Wanted(&q.Entry, true)
	h.count++
	h.changed()
}

// remove leaves a request out that is there.
func (h *ready) remove(q *request) {
	q.flow.remove(q)
	h.sched.Wanted(&q.Entry, false)
	h.count--
	h.changed()
	if q.flow.class.open && q.flow.len() == 0 {
		i := slices.Index(h.serving, q.flow)
		h.serving = slices.Delete(h.serving, i, i+1)
	}
}

// fix puts a request where it belongs, if it is there, after its place in the order
// has changed.
func (h *ready) fix(q *request) {
	if q.in != nowhere {
		q.flow.remove(q)
		q.flow.add(q)
	}
	h.changed() // its flow or class may be later beside others
}

// first returns up to n requests that may be served, in the order of service, leaving
// out those that are stored but for the first so many. The slice is valid until the
// next change or call, and not to be changed.
func (h *ready) first(n, stored int) []*request {
	switch {
	case len(h.serving) == 0:
		return nil
	case len(h.serving) > 1:
	case h.serving[0].class.store:
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
		for _, f := range h.serving {
			f.merged, f.ahead = 0, 0
		}
	}
	for len(h.merged) < n {
		var from *flow
		var q *request
		for _, f := range h.serving {
			if f.class.store && h.stored >= stored {
				continue
			}
			if next := f.next(); next != nil && (from == nil || f.before(next, q)) {
				from, q = f, next
			}
		}
		if from == nil {
			break
		}
		from.merge(q)
		if from.class.store {
			h.stored++
		}
		h.merged = append(h.merged, q)
	}
	return h.merged[:min(n, len(h.merged))]
}
