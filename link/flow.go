package link

import "slices"

// flow holds the ready requests of one flow and class. The first of them are kept in
// order, since they are looked at all the time, and those behind them as a heap.
type flow struct {
	class  *class
	sched  Scheduler
	head   []*request // in order
	rest   []*request // a heap; none comes before one of head
	merged int        // how many of the head ready has merged with others
	ahead  float64    // cycles that these take, if they are served in order of arrival
}

// maxHead is the number of requests that are kept in order unless more are asked
// for: those that a Gen names, and some.
const maxHead = maxCandidates + maxCandidates/2

func (f *flow) len() int { return len(f.head) + len(f.rest) }

func (f *flow) before(a, b *request) bool { return f.sched.Before(&a.Entry, &b.Entry) }

// add takes up a request.
func (f *flow) add(q *request) {
	if len(f.rest) > 0 && f.before(f.rest[0], q) {
		f.push(q)
		return
	}
	i, _ := slices.BinarySearchFunc(f.head, q, func(o, q *request) int {
		if f.before(o, q) {
			return -1
		}
		return 1
	})
	q.in = inHead
	f.head = slices.Insert(f.head, i, q)
	if last := len(f.head) - 1; last == maxHead {
		f.push(f.head[last])
		f.head[last] = nil
		f.head = f.head[:last]
	}
}

// remove leaves a request out that is there.
func (f *flow) remove(q *request) {
	switch q.in {
	case inHead:
		i := slices.Index(f.head, q)
		f.head = slices.Delete(f.head, i, i+1)
	case inRest:
		i, last := q.index, len(f.rest)-1
		f.swap(i, last)
		f.rest[last] = nil
		if f.rest = f.rest[:last]; i < last {
			f.sink(i)
		}
	}
	q.in = nowhere
}

// first returns up to n requests in order.
func (f *flow) first(n int) []*request {
	for len(f.head) < n && len(f.rest) > 0 {
		q := f.rest[0]
		f.remove(q)
		q.in = inHead
		f.head = append(f.head, q)
	}
	return f.head[:min(n, len(f.head))]
}

// next returns the first request that is not merged, nil if there is none.
func (f *flow) next() *request {
	list := f.first(f.merged + 1)
	if len(list) == f.merged {
		return nil
	}
	q := list[f.merged]
	q.Ahead = f.ahead
	return q
}

// merge takes that request as merged.
func (f *flow) merge(q *request) {
	f.merged++
	if q.Flow > 0 {
		f.ahead += float64(q.wants()) * q.PairCycles
	}
}

// push adds a request to the heap.
func (f *flow) push(q *request) {
	q.in, q.index = inRest, len(f.rest)
	f.rest = append(f.rest, q)
	f.up(q.index)
}

func (f *flow) less(i, j int) bool { return f.before(f.rest[i], f.rest[j]) }

func (f *flow) swap(i, j int) {
	f.rest[i], f.rest[j] = f.rest[j], f.rest[i]
	f.rest[i].index, f.rest[j].index = i, j
}

func (f *flow) up(i int) {
	for i > 0 && f.less(i, (i-1)/2) {
		f.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

// sink puts the request at i, which was the last of the heap, where it belongs:
// at the bottom, most likely, so that it is compared on the way up alone.
func (f *flow) sink(i int) {
	for j := 2*i + 1; j < len(f.rest); j = 2*i + 1 {
		if j+1 < len(f.rest) && f.less(j+1, j) {
			j++
		}
		f.swap(i, j)
		i = j
	}
	f.up(i)
}
