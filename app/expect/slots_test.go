package expect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"qstack/qnet"
)

// slotModel is the event model once more, slot by slot and attempt by attempt,
// with TRACK and EXPIRE as messages that travel. All durations are in slots; an
// attempt in a slot comes after everything else that happens then.
type slotModel struct {
	p                           []float64
	lanes                       int
	delay                       int // of each link
	init, bsm, measure, cutoffs int
	keep                        bool
	rng                         *rand.Rand

	now      int
	ready    [][2][]int // by link and end: from when on unused qubits are ready
	flying   []*slotPair
	waiting  []*slotHalf // at inner nodes, oldest first
	swapping []*slotSwap
	reading  []*slotHalf
	messages []*slotMessage
	whole    [][]*slotPair // completed chains
}

type slotPair struct {
	link, emitted int
	half          [2]*slotHalf
}

type slotHalf struct {
	pair    *slotPair
	side    int
	arrived int
	partner *slotHalf // swapped with
	at      int       // swapped or dropped at
	dropped bool
}

type slotSwap struct {
	a, b *slotHalf
	end  int
}

// slotMessage is TRACK or EXPIRE. origin is the end's half that it is about.
type slotMessage struct {
	arrive int
	at     *slotHalf // the half of the link pair at the node it is bound for
	origin *slotHalf
	expire bool
}

func (m *slotModel) node(h *slotHalf) int { return h.pair.link + h.side }

func (m *slotModel) isEnd(h *slotHalf) bool { n := m.node(h); return n == 0 || n == len(m.p) }

func (m *slotModel) free(h *slotHalf) {
	r := &m.ready[h.pair.link][h.side]
	*r = append(*r, m.now+m.init)
}

func (m *slotModel) reset() {
	m.now = 0
	m.flying, m.waiting, m.swapping, m.reading, m.messages = nil, nil, nil, nil, nil
	m.ready = make([][2][]int, len(m.p))
	for i := range m.ready {
		for side := range 2 {
			for range m.lanes {
				m.ready[i][side] = append(m.ready[i][side], m.init)
			}
		}
	}
}

// take removes and returns the elements of list that f accepts.
func take[T any](list *[]T, f func(T) bool) (taken []T) {
	var rest []T
	for _, v := range *list {
		if f(v) {
			taken = append(taken, v)
		} else {
			rest = append(rest, v)
		}
	}
	*list = rest
	return taken
}

// chainOf returns the link pairs that swaps have joined with that of h, in order.
func chainOf(h *slotHalf) []*slotPair {
	first := h.pair.half[0]
	for first.partner != nil {
		first = first.partner.pair.half[0]
	}
	chain := []*slotPair{first.pair}
	for h := first.pair.half[1]; h.partner != nil; h = h.partner.pair.half[1] {
		chain = append(chain, h.partner.pair)
	}
	return chain
}

func (m *slotModel) step() {
	m.now++
	for _, p := range take(&m.flying, func(p *slotPair) bool { return p.emitted+m.delay == m.now }) {
		for _, h := range p.half {
			h.arrived = m.now
			if !m.isEnd(h) {
				m.waiting = append(m.waiting, h)
				continue
			}
			if !m.keep {
				m.reading = append(m.reading, h)
				continue
			}
			m.messages = append(m.messages, &slotMessage{arrive: m.now + m.delay, at: p.half[1-h.side], origin: h})
		}
		m.pair()
	}
	for _, s := range take(&m.swapping, func(s *slotSwap) bool { return s.end == m.now }) {
		s.a.partner, s.b.partner = s.b, s.a
		s.a.at, s.b.at = m.now, m.now
		m.free(s.a)
		m.free(s.b)
		if whole := chainOf(s.a); m.isEnd(whole[0].half[0]) && m.isEnd(whole[len(whole)-1].half[1]) {
			m.whole = append(m.whole, whole)
		}
	}
	for _, h := range take(&m.reading, func(h *slotHalf) bool { return h.arrived+m.measure == m.now }) {
		m.free(h)
	}
	for _, h := range take(&m.waiting, func(h *slotHalf) bool { return m.cutoffs > 0 && h.arrived+m.cutoffs == m.now }) {
		h.dropped, h.at = true, m.now
		m.free(h)
	}
	for _, msg := range take(&m.messages, func(msg *slotMessage) bool {
		if msg.arrive > m.now {
			return false
		}
		return msg.expire || m.isEnd(msg.at) || msg.at.partner != nil || msg.at.dropped
	}) {
		switch {
		case msg.expire:
			m.free(msg.origin)
		case m.isEnd(msg.at):
			m.free(msg.at) // TRACK of the other end has come
		case msg.at.dropped:
			back := m.delay * (1 + abs(msg.at.pair.link-msg.origin.pair.link))
			m.messages = append(m.messages, &slotMessage{arrive: m.now + back, origin: msg.origin, expire: true})
		default:
			h := msg.at.partner
			m.messages = append(m.messages, &slotMessage{arrive: m.now + m.delay, at: h.pair.half[1-h.side], origin: msg.origin})
		}
	}
	for i, p := range m.p {
		ready := func(t int) bool { return t < m.now }
		a, b := take(&m.ready[i][0], ready), take(&m.ready[i][1], ready)
		for len(a) > 0 && len(b) > 0 {
			if m.rng.Float64() < p {
				pair := &slotPair{link: i, emitted: m.now}
				pair.half = [2]*slotHalf{{pair: pair, side: 0}, {pair: pair, side: 1}}
				m.flying = append(m.flying, pair)
			} else {
				m.ready[i][0] = append(m.ready[i][0], a[0])
				m.ready[i][1] = append(m.ready[i][1], b[0])
			}
			a, b = a[1:], b[1:]
		}
		m.ready[i][0] = append(m.ready[i][0], a...)
		m.ready[i][1] = append(m.ready[i][1], b...)
	}
}

// pair starts the swaps that can be.
func (m *slotModel) pair() {
	for i := 0; i < len(m.waiting); i++ {
		for j := i + 1; j < len(m.waiting); j++ {
			a, b := m.waiting[i], m.waiting[j]
			if m.node(a) == m.node(b) && a.side != b.side {
				m.swapping = append(m.swapping, &slotSwap{a, b, m.now + m.bsm})
				m.waiting = append(m.waiting[:j], m.waiting[j+1:]...)
				m.waiting = append(m.waiting[:i], m.waiting[i+1:]...)
				m.pair()
				return
			}
		}
	}
}

func abs(n int) int { return max(n, -n) }

// TestEventsReference compares the event model with the one above, for chains
// with unequal links, lanes, cut-offs and either kind of ends.
func TestEventsReference(t *testing.T) {
	const pairs = 10_000
	for _, tt := range []struct {
		links, lanes, cutoff, delay int
		keep                        bool
	}{
		{3, 1, 0, 1, false}, {4, 1, 0, 2, false}, {3, 2, 0, 1, false}, {3, 1, 8, 1, false}, {4, 2, 10, 1, false},
		{2, 1, 6, 3, true}, {3, 1, 0, 7, true}, {3, 2, 0, 2, true}, {3, 1, 8, 2, true}, {4, 2, 9, 3, true},
	} {
		name := fmt.Sprintf("%d links, %d lanes, cut-off %d, delay %d, keep %t: ", tt.links, tt.lanes, tt.cutoff, tt.delay, tt.keep)
		m := &slotModel{lanes: tt.lanes, delay: tt.delay, init: 2, bsm: 4, measure: 3, cutoffs: tt.cutoff, keep: tt.keep, rng: qnet.NewRand(1, name)}
		c := &chain{}
		const slot = 1e-6
		for i := range tt.links {
			p := []float64{0.1, 0.2, 0.15, 0.3}[i]
			m.p = append(m.p, p)
			c.links = append(c.links, link{probability: p, period: slot, delay: float64(tt.delay) * slot, lanes: tt.lanes})
		}
		for i := range tt.links + 1 {
			n := node{init: 2 * slot, bsm: 4 * slot, readout: 3 * slot, dephasing: 0.01 / slot}
			if 0 < i && i < tt.links {
				n.cutoff = float64(tt.cutoff) * slot
			}
			c.nodes = append(c.nodes, n)
		}

		decay, interval := series{size: pairs / batches}, series{size: pairs / batches}
		last := 0
		m.reset()
		for warm := 100; interval.n < pairs; m.step() {
			for _, whole := range m.whole {
				if warm--; warm < 0 {
					interval.add(float64(m.now - last))
					var waited int
					for i, p := range whole {
						if i > 0 {
							waited += p.half[0].at - p.emitted
						}
						if i < len(whole)-1 {
							waited += p.half[1].at - p.emitted
						}
					}
					decay.add(math.Exp(-0.01 * float64(waited)))
				}
				last = m.now
			}
			m.whole = m.whole[:0]
		}

		gotDecay, gotInterval := series{size: pairs / batches}, series{size: pairs / batches}
		lastAt := int64(0)
		warm := 100
		var e *model
		e = newModel(c, qnet.NewRand(2, name), tt.keep, tt.keep, func(head, _ *pair) {
			if warm--; warm < 0 {
				gotInterval.add(float64(e.now-lastAt) / 1000)
				gotDecay.add(math.Exp(-c.innerLoss(e.times(head, 0)).xy))
			}
			lastAt = e.now
		})
		for e.start(0); gotInterval.n < pairs; {
			e.step()
		}
		agree(t, name+"interval", gotInterval.value(), interval.value())
		agree(t, name+"decay", gotDecay.value(), decay.value())
	}
}
