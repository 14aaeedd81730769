// Package herald models heralded entanglement generation over one link: how
// likely an attempt succeeds, how long it takes, and which state a herald
// announces, all in closed form. A Sampler skips the failed attempts.
//
// The package knows neither qubits nor protocols: the fabric turns a herald
// into a pair, the link's station decides when attempts are made.
//
// The double-click model is that of S. D. Barrett and P. Kok, Phys. Rev. A 71,
// 060310(R) (2005), with imperfect detectors as in G. Avis et al., npj Quantum
// Information 9, 100 (2023), arXiv:2207.10579.
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

// DoubleClick is the two-photon protocol of Barrett and Kok. In an attempt each
// end emits one photon, early or late and entangled with its qubit,
// (|0⟩|early⟩+|1⟩|late⟩)/√2; a balanced beam splitter mid-way mixes both arms, and
// the attempt succeeds when exactly one of the two detectors clicks in the
// early and exactly one in the late bin. The same detector twice announces Ψ+,
// different detectors Ψ−. Photons that encode the qubit in polarisation obey the
// same algebra with one emission and four detectors.
type DoubleClick struct {
	// EtaA and EtaB are the probabilities that the photon emitted at this end is
	// detected, everything on its way included, in [0,1].
	EtaA, EtaB float64
	// Visibility is the squared overlap |⟨φA|φB⟩|² of the two photons' wave
	// packets, in [0,1]. It enters the fidelity linearly: F=(1+V)/2 without dark
	// counts.
	Visibility float64
	// DarkCount is the probability that a detector clicks without a photon in
	// one bin, in [0,1). A dark count in a detector that also sees a photon goes
	// unnoticed.
	DarkCount float64
	// NumberResolving detectors tell two photons from one and reject them;
	// others (threshold detectors) see one click.
	NumberResolving bool
	// PeriodNS is the time from one attempt to the next in nanoseconds, above 0.
	PeriodNS float64
}

// FitDoubleClick returns the double-click link, symmetric and without dark
// counts, that has the given success probability p (above 0, at most 1/2) and
// fidelity (1/2 to 1): η=√(2p) and V=2F−1.
func FitDoubleClick(p, fidelity, periodNS float64) (DoubleClick, error) {
	switch {
	case !(p > 0 && p <= 0.5):
		return DoubleClick{}, invalid("double-click link: success probability", p, "above 0 and at most 0.5, the limit of linear optics")
	case !(fidelity >= 0.5 && fidelity <= 1):
		return DoubleClick{}, invalid("double-click link: fidelity", fidelity, "from 0.5 (distinguishable photons) to 1")
	}
	eta := math.Sqrt(2 * p)
	m := DoubleClick{EtaA: eta, EtaB: eta, Visibility: 2*fidelity - 1, PeriodNS: periodNS}
	return m, m.Validate()
}

// Validate implements Model.
func (m DoubleClick) Validate() error {
	for _, v := range [...]struct {
		name  string
		value float64
	}{
		{"detection efficiency of end A", m.EtaA},
		{"detection efficiency of end B", m.EtaB},
		{"visibility", m.Visibility},
	} {
		if !(v.value >= 0 && v.value <= 1) {
			return invalid("double-click link: "+v.name, v.value, "from 0 to 1")
		}
	}
	if !(m.DarkCount >= 0 && m.DarkCount < 1) {
		return invalid("double-click link: dark count probability", m.DarkCount, "from 0 to below 1")
	}
	if err := validPeriod("double-click link", m.PeriodNS); err != nil {
		return err
	}
	if !(m.SuccessProbability() > 0) {
		return qnet.Errorf(qnet.ErrInvalid, "double-click link: detection efficiencies %g and %g without dark counts never herald: both must be above 0", m.EtaA, m.EtaB)
	}
	return nil
}

// terms returns twice the probability of a success with
//
//	a: both photons, one in each bin
//	b: one photon and one dark count, or no photon and two dark counts, while
//	   the qubits are in the odd subspace {01,10}
//	e: anything while they are in the even subspace {00,11}
//
// A lost photon betrays its bin to the environment and a bunched pair its own,
// so only a keeps coherence.
func (m DoubleClick) terms() (a, b, e float64) {
	pd, q := m.DarkCount, 1-m.DarkCount
	both := m.EtaA * m.EtaB
	one := m.EtaA + m.EtaB - 2*both
	none := (1 - m.EtaA) * (1 - m.EtaB)
	a = both * q * q
	b = one*2*pd*q*q + none*4*pd*pd*q*q
	e = b // a lost photon leaves its qubit in either subspace alike
	if !m.NumberResolving {
		e += pd * q * q * both * (1 + m.Visibility) // bunched in one detector
	}
	return a, b, e
}

// SuccessProbability implements Model.
func (m DoubleClick) SuccessProbability() float64 {
	a, b, e := m.terms()
	return (a + b + e) / 2
}

// Period implements Model.
func (m DoubleClick) Period() float64 { return m.PeriodNS }

// Heralds implements Model: Ψ+ and Ψ− with equal probability. Photons that can be
// told apart turn one into the other; the even subspace holds no coherence, so
// it is half Φ+ and half Φ−.
func (m DoubleClick) Heralds() []Herald {
	a, b, e := m.terms()
	sum := a + b + e
	good := (a*(1+m.Visibility) + b) / (2 * sum)
	bad := (a*(1-m.Visibility) + b) / (2 * sum)
	even := e / (2 * sum)
	return []Herald{
		{Label: qnet.PsiPlus, P: 0.5, State: BellDiagonal([4]float64{qnet.PhiPlus: even, qnet.PhiMinus: even, qnet.PsiPlus: good, qnet.PsiMinus: bad})},
		{Label: qnet.PsiMinus, P: 0.5, State: BellDiagonal([4]float64{qnet.PhiPlus: even, qnet.PhiMinus: even, qnet.PsiPlus: bad, qnet.PsiMinus: good})},
	}
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
	const unit = 0x1p-64
	x := rng.Uint64()
	var e float64 // exponential variate -log(1-u), u=(x+1/2)/2^64
	if x>>63 == 0 {
		e = -math.Log1p(-(float64(x) + 0.5) * unit)
	} else {
		e = -math.Log((float64(^x) + 0.5) * unit)
	}
	n := math.Floor(e * s.scale) // failed attempts
	if n >= math.MaxUint64 {
		return math.MaxUint64
	}
	return uint64(n) + 1
}

// Herald draws the kind of a success and returns its index in Heralds.
func (s *Sampler) Herald(rng *rand.Rand) int { return s.kind.Draw(rng) }

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
