package expect

import "math"

// waits is what the waiting times come to.
type waits struct {
	measureXY, measureZ   Value // mean decay of a measured pair's correlators
	teleportXY, teleportZ Value // mean decay of a teleported state
	interval              Value // mean seconds between measured pairs
	intervalSD            float64
}

// closedForm returns the waits of one link, or of two that share their attempt
// cycles and are always ready again together; ok is false for other chains.
func (c *chain) closedForm() (w waits, ok bool) {
	if len(c.links) == 1 { // no node between, and so no cut-off
		return c.oneLink(), true
	}
	for i := range c.nodes {
		if c.nodes[i].cutoff > 0 {
			return waits{}, false
		}
	}
	if len(c.links) == 2 {
		return c.twoLinks()
	}
	return waits{}, false
}

// oneLink returns the waits of a single link. Its lanes are independent.
func (c *chain) oneLink() waits {
	l, head, tail := &c.links[0], c.head(), c.tail()
	p := l.probability
	t := times{emitted: []float64{0}, asked: -max(head.init, tail.init) - l.period/2}

	var w waits
	w.fixed(c, &t)
	// The data qubit waits for every further attempt of any lane.
	success := -math.Expm1(float64(l.lanes) * math.Log1p(-p))
	wait := func(rate float64) float64 { return success / notYet(rate*l.period, success) }
	w.teleportXY.Mean *= wait(head.decayXY())
	w.teleportZ.Mean *= wait(head.decayZ())

	busy := l.delay + max(head.measureTime()+head.init, tail.measureTime()+tail.init)
	lanes := float64(l.lanes)
	w.interval.Mean = l.period * (1/p - 1 + cyclesAfter(busy, l.period)) / lanes
	w.intervalSD = l.period * math.Sqrt(1-p) / p / lanes
	return w
}

// twoLinks returns the waits of two links with one lane each, equal cycles and
// equal length, the middle of which is the last to be ready again.
func (c *chain) twoLinks() (w waits, ok bool) {
	l1, l2 := &c.links[0], &c.links[1]
	head, middle, tail := c.head(), &c.nodes[1], c.tail()
	switch {
	case l1.lanes != 1 || l2.lanes != 1 || l1.period != l2.period || l1.delay != l2.delay,
		head.init != middle.init || tail.init != middle.init,
		head.measureTime() > middle.bsm || tail.measureTime() > middle.bsm,
		middle.bsm < l1.delay: // else TRACK could come later than the swap
		return waits{}, false
	}
	p1, p2 := l1.probability, l2.probability
	either := p1 + p2 - p1*p2
	period := l1.period

	// All times are those of two pairs in the first cycle, plus the wait.
	ready := l1.delay + middle.bsm
	t := times{emitted: []float64{0, 0}, swapped: []float64{ready}, asked: -middle.init - period/2}
	w.fixed(c, &t)

	// wait returns E[e^−(both·M + first·Δ₁ + second·Δ₂)]: M is when both pairs are
	// there, Δ₁ how long the first link's pair waited for the second link's, Δ₂
	// the other way round. In each cycle before, both links fail.
	wait := func(both, first, second float64) float64 {
		// Σ_{j≥1} (1−p)ʲ·e^{−rate·j·period}
		late := func(rate, p float64) float64 {
			return (1 - p) * math.Exp(-rate*period) / notYet(rate*period, p)
		}
		return p1 * p2 * (1 + late(both+first, p2) + late(both+second, p1)) / notYet(both*period, either)
	}
	measure := func(m float64) float64 { return wait(0, m, m) }
	w.measureXY.Mean *= measure(middle.decayXY())
	w.measureZ.Mean *= measure(middle.decayZ())
	teleport := func(h, m, t float64) float64 { return wait(h, m+h, m+t) }
	w.teleportXY.Mean *= teleport(head.decayXY(), middle.decayXY(), tail.decayXY())
	w.teleportZ.Mean *= teleport(head.decayZ(), middle.decayZ(), tail.decayZ())

	// The later of both successes is the max-th cycle.
	once := func(p float64) float64 { return 1 / p }              // Σ P(cycle ≥ k)
	twice := func(p float64) float64 { return (2 - p) / (p * p) } // Σ (2k−1)·P(cycle ≥ k)
	mean := once(p1) + once(p2) - once(either)
	square := twice(p1) + twice(p2) - twice(either)
	w.interval.Mean = period * (mean - 1 + cyclesAfter(ready+middle.init, period))
	w.intervalSD = period * math.Sqrt(square-mean*mean)
	return w, true
}

// notYet returns 1 − (1−p)·e^−x without cancellation.
func notYet(x, p float64) float64 { return -math.Expm1(-x) + p*math.Exp(-x) }

// fixed sets the decays to those of a pair with the times t.
func (w *waits) fixed(c *chain, t *times) {
	m, tele := c.measured(t), c.teleported(t)
	xy, z := c.corrections()
	w.measureXY.Mean, w.measureZ.Mean = math.Exp(-m.xy), math.Exp(-m.z)
	w.teleportXY.Mean, w.teleportZ.Mean = xy*math.Exp(-tele.xy), z*math.Exp(-tele.z)
}

// cyclesAfter returns how many cycles after a success the next attempt is made
// when the qubits are busy for so many seconds.
func cyclesAfter(busy, period float64) float64 {
	return cycleAfter(int64(math.Round(busy*1e9)), period*1e9)
}

// cycleAfter returns the first cycle that emits after an instant, when qubits
// have become ready; both in nanoseconds. Emissions are rounded to one.
func cycleAfter(ready int64, period float64) float64 {
	cycle := math.Floor(float64(ready)/period) + 1
	for math.Round(cycle*period) <= float64(ready) {
		cycle++
	}
	return cycle
}

// TwoLinkSlots returns the mean number of attempt slots per end-to-end pair
// over two links that share their slots: one qubit at each link end, success
// probability p of each link in each slot, and no time but that of attempts. A
// link pair waits cutoff slots for the other, in the last of which it still
// swaps, and is dropped then; a negative cutoff stands for none. Both links go
// on in the next slot.
func TwoLinkSlots(p float64, cutoff int) float64 {
	q := 1 - p
	late := lateSwap(p, cutoff)
	return (1 + 2*q*late) / (p*p + 2*p*q*late)
}

// TwoLinkDecay returns the mean of e^(−k/lifetime) over the pairs of
// TwoLinkSlots, where k is the number of slots that a link pair waited.
func TwoLinkDecay(p, lifetime float64, cutoff int) float64 {
	q := 1 - p
	a := math.Exp(-1 / lifetime)
	kept := 1.
	if cutoff >= 0 {
		kept = 1 - math.Pow(q*a, float64(cutoff))
	}
	return (p*p + 2*p*p*q*a*kept/(1-q*a)) / (p*p + 2*p*q*lateSwap(p, cutoff))
}

// lateSwap returns the probability that a waiting pair's partner comes in time.
func lateSwap(p float64, cutoff int) float64 {
	if cutoff < 0 {
		return 1
	}
	return 1 - math.Pow(1-p, float64(cutoff))
}
