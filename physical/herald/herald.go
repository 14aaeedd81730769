// Package herald models heralded entanglement generation over one link: how
// likely an attempt succeeds, how long it takes, and which state a herald
// announces, all in closed form. A Sampler skips the failed attempts.
//
// The package knows neither qubits nor protocols: the fabric turns a herald
// into a pair, the link's station decides when attempts are made.
//
// Each model names its source.
package herald

import (
	"math"
	"math/rand/v2"

	"qstack/qnet"
)

// Model is a way to herald entanglement between the two ends of a link.
// Attempts are independent of each other.
type Model interface {
	// Validate returns nil, or an error of code qnet.ErrInvalid that names the
	// impossible parameter, its value and its range.
	Validate() error
	// SuccessProbability returns the probability that one attempt is heralded as
	// a success, in (0,1].
	SuccessProbability() float64
	// Period returns the time from one attempt to the next in nanoseconds.
	Period() float64
	// Heralds returns the kinds of success. Their probabilities add up to 1.
	Heralds() []Herald
}

// Herald is one kind of success.
type Herald struct {
	// Label is what the station announces.
	Label qnet.BellLabel
	// P is the probability of this kind, given success.
	P float64
	// State is the state that is left, right after the emission.
	State State
}

// Fidelity returns the fidelity of the heralded state to the announced one.
func (h *Herald) Fidelity() float64 { return h.State.Weights()[h.Label] }

// Fidelity returns the fidelity of a heralded pair to its announced Bell state,
// averaged over the kinds of success of m.
func Fidelity(m Model) float64 {
	var f float64
	for _, h := range m.Heralds() {
		f += h.P * h.Fidelity()
	}
	return f
}

// Ideal is a link of chosen success probability whose heralds announce one
// Bell state: perfect, or a Werner state.
type Ideal struct {
	Probability float64        // of success in one attempt, in (0,1]
	Fidelity    float64        // of the Werner state, from 1/4 (nothing) to 1 (perfect)
	Label       qnet.BellLabel // announced, Φ+ unless set
	PeriodNS    float64        // nanoseconds from one attempt to the next, above 0
}

// Validate implements Model.
func (m Ideal) Validate() error {
	switch {
	case !(m.Probability > 0 && m.Probability <= 1):
		return invalid("ideal link: success probability", m.Probability, "above 0 and at most 1")
	case !(m.Fidelity >= 0.25 && m.Fidelity <= 1):
		return invalid("ideal link: fidelity", m.Fidelity, "from 0.25 (maximally mixed) to 1")
	case !m.Label.Valid():
		return qnet.Errorf(qnet.ErrInvalid, "ideal link: label is %d, want one of the four Bell labels 0 to 3", uint8(m.Label))
	}
	return validPeriod("ideal link", m.PeriodNS)
}

// SuccessProbability implements Model.
func (m Ideal) SuccessProbability() float64 { return m.Probability }

// Period implements Model.
func (m Ideal) Period() float64 { return m.PeriodNS }

// Heralds implements Model.
func (m Ideal) Heralds() []Herald {
	var w [4]float64
	for i := range w {
		w[i] = (1 - m.Fidelity) / 3
	}
	w[m.Label] = m.Fidelity
	return []Herald{{Label: m.Label, P: 1, State: BellDiagonal(w)}}
}

// Sampler draws what a model leaves to chance. It is immutable, so it may be
// used with any number of random streams.
type Sampler struct {
	scale   float64 // -1/log(1-p): attempts per unit of an exponential variate
	heralds []Herald
	kind    qnet.Choice // of heralds
}

// NewSampler returns the sampler of m, or the error of m.Validate.
func NewSampler(m Model) (*Sampler, error) {
	if m == nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "no heralding model is given")
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	s := &Sampler{scale: -1 / math.Log1p(-m.SuccessProbability()), heralds: m.Heralds()}
	var upTo []float64
	var sum float64
	for _, h := range s.heralds[:len(s.heralds)-1] {
		sum += h.P
		upTo = append(upTo, sum)
	}
	s.kind = qnet.NewChoice(upTo...)
	return s, nil
}

// Attempts returns the number of attempts up to and including the next success,
// at least 1, distributed geometrically: P(n)=(1−p)^(n−1)·p. A number that does
// not fit is returned as the largest that does.
//
// It inverts the distribution at one of 2⁶⁴ equidistant points, evaluated to
// full precision at both ends, so that neither long nor short runs are coarse
// however small p is.
func (s *Sampler) Attempts(rng *rand.Rand) uint64 {
	failed := qnet.Exponential(rng) * s.scale
	if failed >= math.MaxUint64 {
		return math.MaxUint64
	}
	return uint64(failed) + 1
}

// Herald draws the kind of a success and returns its index in Heralds.
func (s *Sampler) Herald(rng *rand.Rand) int { return s.kind.Draw(rng) }

// Kind returns the choice among Heralds that Herald draws. The caller must not
// change it.
func (s *Sampler) Kind() qnet.Choice { return s.kind }

// Heralds returns the kinds of success of the model. The caller must not
// change them.
func (s *Sampler) Heralds() []Herald { return s.heralds }

func validPeriod(what string, ns float64) error {
	if !(ns > 0 && ns <= maxPeriodNS) {
		return invalid(what+": attempt period in nanoseconds", ns, "above 0 and at most 3.6e12, an hour")
	}
	return nil
}

// maxPeriodNS keeps instants of cycles well inside the range of qnet.Time.
const maxPeriodNS = 3600e9

func invalid(what string, value float64, want string) error {
	return qnet.Errorf(qnet.ErrInvalid, "%s is %g, want %s", what, value, want)
}
