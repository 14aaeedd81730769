package network

import (
	"math"
	"time"

	"qstack/physical"
	"qstack/qnet"
)

// bell is a Bell-diagonal state: weights by label, Φ+ first.
type bell [4]float64

// then returns the state after swapping a pair in state b with one in state c,
// each turned to Φ+: the labels add, so the weights convolve over XOR.
func (b bell) then(c bell) bell {
	var out bell
	for i, p := range b {
		for j, q := range c {
			out[i^j] += p * q
		}
	}
	return out
}

// depolarised mixes in the maximally mixed state with weight q.
func (b bell) depolarised(q float64) bell {
	for i := range b {
		b[i] = (1-q)*b[i] + q/4
	}
	return b
}

// flipped applies the error label l with probability p.
func (b bell) flipped(l qnet.BellLabel, p float64) bell {
	var out bell
	for i := range b {
		out[i] = (1-p)*b[i] + p*b[qnet.BellLabel(i)^l]
	}
	return out
}

// stored returns the state after storage that amounts to the exponents dephase
// (sum of time over T2) and depol (sum of time over the depolarising time).
func (b bell) stored(dephase, depol float64) bell {
	return b.flipped(qnet.PhiMinus, (1-math.Exp(-dephase))/2).depolarised(1 - math.Exp(-depol))
}

// measuredBSM returns the state after the errors of a node's Bell-state
// measurement: two gates and two read-outs, each of which may flip one bit of
// the outcome.
func (b bell) measuredBSM(n physical.Noise) bell {
	return b.depolarised(n.Gate2Depolarising).
		flipped(qnet.PhiMinus, n.Gate2Dephasing).
		flipped(qnet.PhiMinus, n.Gate1Depolarising/2).
		flipped(qnet.PhiMinus, n.ReadoutError.Mean()).
		flipped(qnet.PsiPlus, n.ReadoutError.Mean())
}

// exponents returns what storing a qubit for d in a node's memory amounts to.
// Amplitude damping beyond its share in T2 counts as depolarising.
func exponents(s *physical.Spec, d time.Duration) (dephase, depol float64) {
	t := d.Seconds()
	if t < 0 {
		return 0, 0
	}
	if s.T2 > 0 {
		dephase = t / s.T2
	}
	if s.T1 > 0 {
		depol = t / (2 * s.T1)
	}
	return dephase, depol + t*s.Depolarise
}

// swapped returns the state of a fresh end-to-end pair of a path, without
// storage.
func (g *graph) swapped(path []qnet.NodeID) bell {
	b := bell{1}
	for i := 1; i < len(path); i++ {
		b = b.then(g.link(path[i-1], path[i]).Weights)
		if i < len(path)-1 {
			b = b.measuredBSM(g.node[path[i]].Spec.Noise)
		}
	}
	return b
}

// patience returns how long a half waits for a partner at most when its node has
// no cut-off: so long that one that still comes is as good as impossible.
func (g *graph) patience(path []qnet.NodeID) time.Duration {
	const many = 50 // e^-50 of all waiting times are longer
	var slowest, delay time.Duration
	for i := 1; i < len(path); i++ {
		k := g.link(path[i-1], path[i])
		slowest = max(slowest, k.PairTime)
		delay += k.Delay
	}
	return max(200*time.Millisecond, many*(slowest+2*delay))
}

// estimate returns what a path is expected to deliver to ends that keep their
// halves: each node between waits for the slower of its links, exponentially
// distributed, and the ends wait for all of it.
func (g *graph) estimate(path []qnet.NodeID) Estimate {
	b := g.swapped(path)
	var slowest, wait, busy time.Duration
	for i := 1; i < len(path); i++ {
		k := g.link(path[i-1], path[i])
		slowest = max(slowest, k.PairTime)
		if i == len(path)-1 {
			break
		}
		next := g.link(path[i], path[i+1])
		s := g.node[path[i]].Spec
		busy = max(busy, s.BSMTime()+s.Init)
		t, u := k.PairTime.Seconds(), next.PairTime.Seconds()
		d := time.Duration((t*t + u*u) / (t + u) * 1e9) // E|T−U|
		wait += d + s.BSMTime()
		dp, dl := exponents(s, d+2*s.BSMTime())
		b = b.stored(dp, dl)
	}
	for _, id := range []qnet.NodeID{path[0], path[len(path)-1]} {
		dp, dl := exponents(g.node[id].Spec, wait)
		b = b.stored(dp, dl)
	}
	// The mean of the largest of n exponential times is the n-th harmonic number;
	// then the slowest node swaps and starts again.
	cycle := busy.Seconds()
	for i := 1; i < len(path); i++ {
		cycle += slowest.Seconds() / float64(i)
	}
	return Estimate{Fidelity: b[0], Rate: 1 / cycle}
}
