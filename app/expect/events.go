package expect

import (
	"math"
	"math/rand/v2"

	"qstack/qnet"
)

// The event model: who holds which qubit when. It draws the number of attempts
// to each success and follows the halves of the pairs from then on; instants are
// in nanoseconds.
//
// A link attempts with as many lanes as there are ready qubits at both ends. An
// inner node swaps the oldest halves that it has of both links at once, and
// drops a half that has waited for its cut-off. A measuring end's qubit is free
// when it is read out, a keeping end's when TRACK or EXPIRE has come.

// fate is what became of one half of a link pair.
type fate uint8

const (
	held    fate = iota // stored, or being measured
	swapped             // by an inner node
	dropped             // by an inner node's cut-off
)

// half is one half of a link pair.
type half struct {
	fate    fate
	waiting bool // for the other link's
	at      int64
	next    *pair // that a swap joined it with
}

// pair is a link pair: side 0 is its half at the node nearer to the head.
type pair struct {
	link    int
	emitted int64
	half    [2]half
}

// kind orders the events of one instant: what comes in time counts.
type kind uint8

const (
	heralded kind = iota // a pair has come
	swapDone             // the Bell measurement of a and b is over
	released             // a keeping end is free again
	expired              // the cut-off of a half of a has passed
)

// event is something that happens at an instant.
type event struct {
	at   int64
	kind kind
	seq  uint64 // keeps the order of events alike
	side int
	a, b *pair
}

// before is the order of events.
func (e *event) before(f *event) bool {
	if e.at != f.at {
		return e.at < f.at
	}
	if e.kind != f.kind {
		return e.kind < f.kind
	}
	return e.seq < f.seq
}

// modelNode is a node as the event model sees it.
type modelNode struct {
	init, bsm, measure, cutoff int64
	waiting                    [2][]*pair // inner node: by the side of the link, 0 towards the head
}

// modelLink is a link as the event model sees it.
type modelLink struct {
	period  float64
	delay   int64
	scale   float64    // attempts per unit of an exponential variate
	waiting [2][]int64 // when the qubits at each end that no lane uses are ready
}

// model is the state of the event model.
type model struct {
	nodes []modelNode
	links []modelLink
	lanes []int
	rng   *rand.Rand
	keep  [2]bool // head and tail keep their halves

	now    int64
	seq    uint64
	events []event // a heap
	done   func(head, tail *pair)
}

// newModel returns the model of c. done is called for each end-to-end pair with
// the link pairs at its ends, when its last swap is over.
func newModel(c *chain, rng *rand.Rand, keepHead, keepTail bool, done func(head, tail *pair)) *model {
	m := &model{
		nodes: make([]modelNode, len(c.nodes)), links: make([]modelLink, len(c.links)), lanes: make([]int, len(c.links)),
		rng: rng, keep: [2]bool{keepHead, keepTail}, done: done,
	}
	ns := func(seconds float64) int64 { return int64(math.Round(seconds * 1e9)) }
	for i := range c.nodes {
		n := &c.nodes[i]
		m.nodes[i] = modelNode{init: ns(n.init), bsm: ns(n.bsm), measure: ns(n.measureTime()), cutoff: ns(n.cutoff)}
	}
	for i := range c.links {
		l := &c.links[i]
		m.links[i] = modelLink{period: l.period * 1e9, delay: ns(l.delay), scale: -1 / math.Log1p(-l.probability)}
		m.lanes[i] = l.lanes
	}
	return m
}

// start empties the network and makes all qubits ready from now on, given
// their initialisation.
func (m *model) start(now int64) {
	m.now = now
	m.events = m.events[:0]
	for i := range m.nodes {
		m.nodes[i].waiting = [2][]*pair{}
	}
	for i := range m.links {
		m.links[i].waiting = [2][]int64{}
		for side := range 2 {
			for range m.lanes[i] {
				m.free(i, side, now)
			}
		}
	}
}

// step runs the next event.
func (m *model) step() {
	e := m.pop()
	m.now = e.at
	switch e.kind {
	case heralded:
		m.arrived(e.a, 0)
		m.arrived(e.a, 1)
		if len(m.links) == 1 {
			m.check(e.a)
		}
	case swapDone:
		m.swapDone(e.a, e.b)
	case released:
		m.free(e.a.link, e.side, m.now)
	case expired:
		m.expire(e.a, e.side)
	}
}

// free gives back a qubit of a link's end at an instant not before now; it is
// initialised at once and used for the next attempts.
func (m *model) free(link, side int, at int64) {
	l := &m.links[link]
	ready := at + m.nodes[link+side].init
	other := l.waiting[1-side]
	if len(other) == 0 {
		l.waiting[side] = append(l.waiting[side], ready)
		return
	}
	ready = max(ready, other[0])
	l.waiting[1-side] = other[1:]
	m.attempt(link, ready)
}

// attempt draws the first success of two qubits that are ready then.
func (m *model) attempt(link int, ready int64) {
	const latest = 1 << 61
	l := &m.links[link]
	cycle := cycleAfter(ready, l.period) + math.Floor(m.rng.ExpFloat64()*l.scale)
	emitted := int64(latest)
	if t := math.Round(cycle * l.period); t < latest {
		emitted = int64(t)
	}
	m.push(event{at: emitted + l.delay, kind: heralded, a: &pair{link: link, emitted: emitted}})
}

// arrived takes in the half of a new pair at one end of its link.
func (m *model) arrived(p *pair, side int) {
	at := p.link + side
	n := &m.nodes[at]
	if at == 0 || at == len(m.nodes)-1 {
		if !m.keep[side] {
			m.free(p.link, side, m.now+n.measure)
		}
		return
	}
	// At the node, the link of side 1 is the one towards the head.
	here := 1 - side
	partners := n.waiting[1-here]
	if len(partners) == 0 {
		p.half[side].waiting = true
		n.waiting[here] = append(n.waiting[here], p)
		if n.cutoff > 0 {
			m.push(event{at: m.now + n.cutoff, kind: expired, a: p, side: side})
		}
		return
	}
	partner := partners[0]
	n.waiting[1-here] = partners[1:]
	partner.half[1-side].waiting = false
	a, b := p, partner // a towards the head
	if here == 1 {
		a, b = partner, p
	}
	m.push(event{at: m.now + n.bsm, kind: swapDone, a: a, b: b})
}

// swapDone joins a and b, at the node between them.
func (m *model) swapDone(a, b *pair) {
	a.half[1] = half{fate: swapped, at: m.now, next: b}
	b.half[0] = half{fate: swapped, at: m.now, next: a}
	m.free(a.link, 1, m.now)
	m.free(b.link, 0, m.now)
	m.check(a)
}

// expire drops a half that still waits.
func (m *model) expire(p *pair, side int) {
	h := &p.half[side]
	if !h.waiting {
		return
	}
	n := &m.nodes[p.link+side]
	n.waiting[1-side] = n.waiting[1-side][1:] // the oldest
	*h = half{fate: dropped, at: m.now}
	m.free(p.link, side, m.now)
	m.check(p)
}

// check looks at what p is part of: a whole chain is delivered, and a chain
// that ends where a half was dropped sets the keeping end at its other end free.
func (m *model) check(p *pair) {
	last := len(m.links) - 1
	head, tail := p, p
	for head.half[0].fate == swapped {
		head = head.half[0].next
	}
	for tail.half[1].fate == swapped {
		tail = tail.half[1].next
	}
	whole := head.link == 0 && tail.link == last
	if whole {
		m.done(head, tail)
	}
	if m.keep[0] && head.link == 0 && (whole || tail.half[1].fate == dropped) {
		m.push(event{at: m.word(head, tail, 0), kind: released, a: head, side: 0})
	}
	if m.keep[1] && tail.link == last && (whole || head.half[0].fate == dropped) {
		m.push(event{at: m.word(tail, head, 1), kind: released, a: tail, side: 1})
	}
}

// word returns when the end at side of a chain, whose own link pair is near,
// knows what became of it: by the other end's TRACK when far is the pair there,
// otherwise by the EXPIRE that answers its own.
func (m *model) word(near, far *pair, side int) int64 {
	if h := far.half[1-side]; h.fate == dropped {
		at := m.travel(near, far, 1-side)
		at = max(at, h.at)
		for p := far; ; p = p.half[side].next {
			at += m.links[p.link].delay
			if p == near {
				return at
			}
		}
	}
	return m.travel(far, near, side)
}

// travel returns when a message that leaves the end of pair from with its
// herald, and each node in between when the swap there is done, is at the far
// side of pair to.
func (m *model) travel(from, to *pair, towards int) int64 {
	at := from.emitted + m.links[from.link].delay
	for p := from; ; p = p.half[towards].next {
		at += m.links[p.link].delay
		if p == to {
			return at
		}
		at = max(at, p.half[towards].at)
	}
}

// times returns the instants of a whole chain.
func (m *model) times(head *pair, asked int64) *times {
	t := &times{asked: float64(asked) * 1e-9}
	for p := head; p != nil; p = p.half[1].next {
		t.emitted = append(t.emitted, float64(p.emitted)*1e-9)
		if p.half[1].fate == swapped {
			t.swapped = append(t.swapped, float64(p.half[1].at)*1e-9)
		}
	}
	return t
}

// push adds an event to the heap.
func (m *model) push(e event) {
	m.seq++
	e.seq = m.seq
	m.events = append(m.events, e)
	h := m.events
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

// pop takes the next event off the heap. There always is one: some link
// attempts, or someone is busy.
func (m *model) pop() event {
	h := m.events
	e := h[0]
	last := len(h) - 1
	h[0], h[last] = h[last], event{}
	h = h[:last]
	m.events = h
	for i := 0; ; {
		next := 2*i + 1
		if next >= last {
			return e
		}
		if next+1 < last && h[next+1].before(&h[next]) {
			next++
		}
		if !h[next].before(&h[i]) {
			return e
		}
		h[i], h[next] = h[next], h[i]
		i = next
	}
}

// batches is the number of batches whose means tell the standard error of a
// series of dependent values.
const batches = 100

// series is a stationary series of values.
type series struct {
	size  int // of a batch
	n     int
	batch float64
	means []float64
}

// add appends a value.
func (s *series) add(v float64) {
	s.batch += v
	if s.n++; s.n%s.size == 0 {
		s.means = append(s.means, s.batch/float64(s.size))
		s.batch = 0
	}
}

// value returns the mean of the series and its standard error.
func (s *series) value() Value {
	n := float64(len(s.means))
	var mean, square float64
	for _, v := range s.means {
		mean += v / n
	}
	for _, v := range s.means {
		square += (v - mean) * (v - mean)
	}
	return Value{mean, math.Sqrt(square / (n - 1) / n)}
}

// eventsPerPair bounds the events per link and pair before the event model gives
// up. Without cut-offs it takes about four.
const eventsPerPair = 200

// simulate returns the waits by the event model.
func (c *chain) simulate(o Options) (waits, error) {
	if o.Pairs <= 0 {
		o.Pairs = defaultPairs
	}
	var w waits
	steps, most := 0, eventsPerPair*len(c.links)*o.Pairs
	step := func(m *model) bool {
		steps++
		m.step()
		return steps < most
	}
	tooLong := func(n int) error {
		return qnet.Errorf(qnet.ErrUnsupported,
			"no expected values: %d events of the event model gave only %d of %d pairs; the cut-offs may be too short for this path", most, n, o.Pairs)
	}
	size := (o.Pairs + batches - 1) / batches
	xy, z, interval := series{size: size}, series{size: size}, series{size: size}

	// Pairs that are measured without a break, from a network that has warmed up.
	warm := 100 * len(c.links)
	var m *model
	var last int64
	m = newModel(c, qnet.NewRand(o.Seed, "expect/measure"), false, false, func(head, _ *pair) {
		if warm > 0 {
			warm--
		} else {
			l := c.measured(m.times(head, 0))
			xy.add(math.Exp(-l.xy))
			z.add(math.Exp(-l.z))
			interval.add(float64(m.now-last) * 1e-9)
		}
		last = m.now
	})
	for m.start(0); interval.n < size*batches; {
		if !step(m) {
			return w, tooLong(interval.n)
		}
	}
	w.measureXY, w.measureZ, w.interval = xy.value(), z.value(), interval.value()
	w.intervalSD = w.interval.StdErr * math.Sqrt(float64(size*batches))

	// Pairs that are asked for one by one, at any moment, and kept.
	size = (size + 4) / 5
	xy, z = series{size: size}, series{size: size}
	var asked int64
	found := false
	m = newModel(c, qnet.NewRand(o.Seed, "expect/teleport"), true, true, func(head, _ *pair) {
		l := c.teleported(m.times(head, asked))
		xy.add(math.Exp(-l.xy))
		z.add(math.Exp(-l.z))
		found = true
	})
	for xy.n < size*batches {
		asked = m.rng.Int64N(int64(m.links[0].period) + 1)
		found = false
		for m.start(asked); !found; {
			if !step(m) {
				return w, tooLong(xy.n)
			}
		}
	}
	gatesXY, gatesZ := c.corrections()
	w.teleportXY, w.teleportZ = xy.value().scale(gatesXY), z.value().scale(gatesZ)
	return w, nil
}
