package link

import "slices"

// class holds ready requests of which all may be served at one time, or none. The
// first of them are kept in order, since they are looked at all the time, and those
// behind them as a heap.
type class struct {
	sched  Scheduler
	like   Entry      // of one of its requests, on behalf of all
	store  bool       // they are stored
	open   bool       // they may be served now
	head   []*request // in order
	rest   []*request // a heap; none comes before one of head
	merged int        // how many of the head ready has merged with others
}

// maxHead is the number of requests that are kept in order unless more are asked
// for: those that a Gen names, and some.
const maxHead = maxCandidates + maxCandidates/2

func (c *class) len() int { return len(c.head) + len(c.rest) }

func (c *class) before(a, b *request) bool { return c.sched.Before(&a.Entry, &b.Entry) }

// add takes up a request.
func (c *class) add(q *request) {
	if len(c.rest) > 0 && c.before(c.rest[0], q) {
		c.push(q)
		return
	}
	i, _ := slices.BinarySearchFunc(c.head, q, func(o, q *request) int {
		if c.before(o, q) {
			return -1
		}
		return 1
	})
	q.in = inHead
	c.head = slices.Insert(c.head, i, q)
	if last := len(c.head) - 1; last == maxHead {
		c.push(c.head[last])
		c.head[last] = nil
		c.head = c.head[:last]
	}
}

// remove leaves a request out that is there.
func (c *class) remove(q *request) {
	switch q.in {
	case inHead:
		i := slices.Index(c.head, q)
		c.head = slices.Delete(c.head, i, i+1)
	case inRest:
		i, last := q.index, len(c.rest)-1
		c.swap(i, last)
		c.rest[last] = nil
		if c.rest = c.rest[:last]; i < last {
			c.sink(i)
		}
	}
	q.in = nowhere
}

// first returns up to n requests in order.
func (c *class) first(n int) []*request {
	for len(c.head) < n && len(c.rest) > 0 {
		q := c.rest[0]
		c.remove(q)
		q.in = inHead
		c.head = append(c.head, q)
	}
	return c.head[:min(n, len(c.head))]
}

// push adds a request to the heap.
func (c *class) push(q *request) {
	q.in, q.index = inRest, len(c.rest)
	c.rest = append(c.rest, q)
	c.up(q.index)
}

func (c *class) less(i, j int) bool { return c.before(c.rest[i], c.rest[j]) }

func (c *class) swap(i, j int) {
	c.rest[i], c.rest[j] = c.rest[j], c.rest[i]
	c.rest[i].index, c.rest[j].index = i, j
}

func (c *class) up(i int) {
	for i > 0 && c.less(i, (i-1)/2) {
		c.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

// sink puts the request at i, which was the last of the heap, where it belongs:
// at the bottom, most likely, so that it is compared on the way up alone.
func (c *class) sink(i int) {
	for j := 2*i + 1; j < len(c.rest); j = 2*i + 1 {
		if j+1 < len(c.rest) && c.less(j+1, j) {
			j++
		}
		c.swap(i, j)
		i = j
	}
	c.up(i)
}
