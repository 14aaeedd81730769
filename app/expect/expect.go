// Package expect predicts what two nodes of a network measure on the
// entanglement between them: fidelity, CHSH, teleportation and rate. It is what
// measurements of the emulated network are judged by, so it shares no code with
// it: everything here is computed from the scenario by formulas.
//
// # States
//
// All noise of a scenario without relaxation (T1) is a mixture of Pauli errors,
// so every pair stays Bell-diagonal and is told by its three correlators, here
// those of |Φ+⟩ when there is no error: (⟨XX⟩, −⟨YY⟩, ⟨ZZ⟩), of which the four
// weights are the Hadamard transform. Errors multiply them: a swap multiplies
// both pairs' correlators, a phase flip of probability e those of X and Y by
// 1−2e, depolarising with q all three by 1−q, and a wrong read-out bit, of
// probability r, those that the bit decides by 1−2r.
//
// # Time
//
// A pair is emitted in an attempt cycle and heralded one fibre delay later at
// both ends. A measuring end starts then: rotation (none for Z), read-out. A
// node in between starts its Bell measurement (two-qubit gate, one-qubit gate,
// read-out) as soon as it holds two halves, the oldest first. Operations act at
// their end. A freed qubit is initialised and attempts again in the cycle after
// that in which both ends are ready. A keeping end holds its half until TRACK
// has come from the other end, by way of every swap. Messages take the time of
// light in the fibre, and software takes none.
//
// For one link, and for two that are alike in timing, the distribution of the
// waiting times is known and the expectation is a closed form. For all else an
// event model with memory occupancy (see events.go) draws the waiting times, not
// the outcomes, and its standard error is part of the result.
package expect

import (
	"math"

	"qstack/node/scenario"
)

// Value is a computed number and the standard error of the computation, 0 for
// a closed form.
type Value struct {
	Mean, StdErr float64
}

// Options tune the event model; closed forms ignore them.
type Options struct {
	Seed  uint64 // of its random stream
	Pairs int    // that it simulates; 0 stands for 50,000
}

// defaultPairs is the default of Options.Pairs.
const defaultPairs = 50_000

// State is one of the six cardinal states of a qubit.
type State int

// The cardinal states, by the Pauli basis and the outcome there.
const (
	Z0 State = iota
	Z1
	X0
	X1
	Y0
	Y1
	States // how many there are
)

// Expectation is what to expect of the pairs between two nodes, the first of
// them the head end of the circuit. Read-out errors are included everywhere.
type Expectation struct {
	Path       []string // the nodes, ends included
	ClosedForm bool
	Lanes      int // of the link with the fewest: so many pairs may come at once

	// XX, YY and ZZ are the means of the product of both ends' bits (as ±1) when
	// both measure in that basis and the bits are corrected to Φ+; YY with its
	// sign turned, so that all are 1 without noise.
	XX, YY, ZZ Value
	// Fidelity to Φ+ as estimated from equally many of each:
	// (1+XX+YY+ZZ)/4.
	Fidelity Value
	// CHSH is S when the head end measures Z or X and corrects, and the tail end
	// (Z±X)/√2.
	CHSH Value
	// Teleport is the probability that the tail end reads the right bit of each
	// cardinal state that the head end prepared in storage, asked a pair for, and
	// teleported.
	Teleport [States]Value
	// Interval is the mean time between pairs in seconds, when both ends measure
	// and ask for pairs without a break; IntervalSD is its standard deviation,
	// such that N pairs take N·Interval ± √N·IntervalSD.
	Interval   Value
	IntervalSD float64

	correlators [3]Value // for CHSH: of XX and ZZ as its settings take them
}

// Compute returns what to expect of pairs between from (the head end) and to.
// The error carries qnet.ErrUnknown for a node that there is not, ErrNoRoute
// when no links join them, ErrInvalid when they are one, and ErrUnsupported for
// hardware with relaxation (T1), for which there is no Bell-diagonal
// calculation, or for cut-offs so short that hardly a pair comes through.
func Compute(s *scenario.Scenario, from, to string, o Options) (*Expectation, error) {
	nodes, links, err := route(s, from, to)
	if err != nil {
		return nil, err
	}
	c, err := newChain(s, nodes, links)
	if err != nil {
		return nil, err
	}
	w, closed := c.closedForm()
	if !closed {
		if w, err = c.simulate(o); err != nil {
			return nil, err
		}
	}
	e := &Expectation{ClosedForm: closed, Lanes: math.MaxInt, Interval: w.interval, IntervalSD: w.intervalSD}
	for i := range c.links {
		e.Lanes = min(e.Lanes, c.links[i].lanes)
	}
	for _, n := range nodes {
		e.Path = append(e.Path, s.Nodes[n].Name)
	}
	e.measured(c, w)
	e.teleported(c, w)
	return e, nil
}

// measured fills in what measured pairs show.
func (e *Expectation) measured(c *chain, w waits) {
	head, tail := c.head(), c.tail()
	state := c.pair()
	bits := (1 - 2*head.readoutError) * (1 - 2*tail.readoutError)
	e.XX = w.measureXY.scale(state[x] * bits)
	e.YY = w.measureXY.scale(state[y] * bits)
	e.ZZ = w.measureZ.scale(state[z] * bits)
	e.Fidelity = sum(0.25, 0.25, e.XX, e.YY, e.ZZ)

	// The tail's setting is halfway between X and Z. Its rotation lasts while the
	// ZZ part waits, which matters to a depolarising memory.
	zz := e.ZZ.scale(math.Exp(-tail.gate1 * tail.decayZ()))
	e.correlators = [3]Value{x: e.XX, z: zz}
	e.CHSH = sum(0, math.Sqrt2, e.XX, zz)
}

// teleported fills in the probabilities of teleportation.
func (e *Expectation) teleported(c *chain, w waits) {
	state := c.pair().times(c.head().bellMeasurement())
	bit := 1 - 2*c.tail().readoutError
	for s := Z0; s < States; s++ {
		axis, wait := z, w.teleportZ
		switch s {
		case X0, X1:
			axis, wait = x, w.teleportXY
		case Y0, Y1:
			axis, wait = y, w.teleportXY
		}
		e.Teleport[s] = sum(0.5, 0.5, wait.scale(state[axis]*bit))
	}
}

// scale returns v·k.
func (v Value) scale(k float64) Value { return Value{v.Mean * k, v.StdErr * math.Abs(k)} }

// sum returns a+k·Σvs. The errors of vs are taken to be fully correlated, as
// those of decays by the same waiting times nearly are.
func sum(a, k float64, vs ...Value) Value {
	r := Value{Mean: a}
	for _, v := range vs {
		r.Mean += k * v.Mean
		r.StdErr += math.Abs(k) * v.StdErr
	}
	return r
}

// TeleportMean returns the probability that a teleported state is read
// correctly, averaged over the cardinal states: the mean fidelity, read-out
// error included.
func (e *Expectation) TeleportMean() Value { return sum(0, 1./float64(States), e.Teleport[:]...) }

// Rate returns the expected pairs per second.
func (e *Expectation) Rate() Value {
	r := 1 / e.Interval.Mean
	return Value{r, e.Interval.StdErr * r * r}
}

// FidelityStdErr returns the standard error of the fidelity estimated from so
// many pairs, a third of them in each basis; that of the expectation is added.
func (e *Expectation) FidelityStdErr(pairs int) float64 {
	var v float64
	for _, c := range []Value{e.XX, e.YY, e.ZZ} {
		v += 1 - c.Mean*c.Mean
	}
	return e.Fidelity.added(v / 16 * 3 / float64(pairs))
}

// CHSHStdErr returns the standard error of S estimated from so many pairs, a
// quarter of them in each combination of settings; that of the expectation is
// added.
func (e *Expectation) CHSHStdErr(pairs int) float64 {
	var v float64
	for _, c := range []Value{e.correlators[x], e.correlators[z]} {
		v += 2 * (1 - c.Mean*c.Mean/2) // two settings with correlator ±c/√2
	}
	return e.CHSH.added(v * 4 / float64(pairs))
}

// TeleportStdErr returns the standard error of the mean over all cardinal
// states, each teleported perState times; that of the expectation is added.
func (e *Expectation) TeleportStdErr(perState int) float64 {
	var v float64
	for _, p := range e.Teleport {
		v += p.Mean * (1 - p.Mean)
	}
	const n = float64(States)
	return e.TeleportMean().added(v / (n * n * float64(perState)))
}

// RateStdErr returns the standard error of the rate measured over so many
// pairs; that of the expectation is added.
func (e *Expectation) RateStdErr(pairs int) float64 {
	r := e.Rate()
	sd := e.IntervalSD * r.Mean * r.Mean
	return r.added(sd * sd / float64(pairs))
}

// added returns the standard error of a measurement of the given variance and
// of v together.
func (v Value) added(variance float64) float64 {
	return math.Sqrt(max(0, variance) + v.StdErr*v.StdErr)
}

// Within5SE reports whether a measured value is within five standard errors of
// the expected one. It forgives rounding, so that an exact value may be met
// exactly.
func Within5SE(measured, expected, stderr float64) bool {
	return math.Abs(measured-expected) <= 5*stderr+1e-9*max(1, math.Abs(expected))
}

// TeleportPlausible reports whether so many right bits, out of perState
// teleportations of each cardinal state, may be chance: whether as few, and as
// many, have a probability of at least half of 1e-6. The tails are exact. Where
// the expectation has a standard error, its probabilities are first moved by
// five of them towards the observation.
func (e *Expectation) TeleportPlausible(right, perState int) bool {
	const alarm = 1e-6
	shifted := func(by float64) []float64 {
		p := make([]float64, 0, int(States)*perState)
		for _, v := range e.Teleport {
			q := min(1, max(0, v.Mean+by*v.StdErr))
			for range perState {
				p = append(p, q)
			}
		}
		return p
	}
	few, _ := Tails(shifted(-5), right)
	_, many := Tails(shifted(5), right)
	return few >= alarm/2 && many >= alarm/2
}

// Tails returns the probabilities of at most k and of at least k successes
// among independent trials with the success probabilities p. It takes time
// quadratic in their number.
func Tails(p []float64, k int) (atMost, atLeast float64) {
	dist := make([]float64, 1, len(p)+1) // of the number of successes so far
	dist[0] = 1
	for _, q := range p {
		dist = append(dist, 0)
		for i := len(dist) - 1; i > 0; i-- {
			dist[i] = dist[i]*(1-q) + dist[i-1]*q
		}
		dist[0] *= 1 - q
	}
	for i, d := range dist {
		if i <= k {
			atMost += d
		}
		if i >= k {
			atLeast += d
		}
	}
	return atMost, atLeast
}
