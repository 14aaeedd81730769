package prepare

import (
	"math"

	"qstack/physical/optics"
)

// Bases are the choices of basis in BB84: the probabilities that the sender and
// the receiver take Z and not X, each in [0,1].
type Bases struct {
	SenderZ, ReceiverZ float64
}

func (b Bases) validate(what string) error {
	return validate(what,
		parameter{"sender's probability of Z", b.SenderZ, 0, 1},
		parameter{"receiver's probability of Z", b.ReceiverZ, 0, 1})
}

// SinglePhoton is BB84 with a source of single photons, which now and then emits
// none or two.
type SinglePhoton struct {
	Receiver
	Bases
	One, Two float64 // probabilities that a pulse has one photon and two; none otherwise
}

// NewSinglePhoton returns the source that emits with the given probability, in
// (0,1], one photon or two, and whose second-order correlation at zero delay is
// g2. Not every g2 is possible: 2·emission·g2 is at most 1.
func NewSinglePhoton(emission, g2 float64, r Receiver, b Bases) (SinglePhoton, error) {
	switch {
	case !(emission > 0 && emission <= 1):
		return SinglePhoton{}, invalid("single-photon link: probability of emission", emission, "above 0 and at most 1")
	case !(g2 >= 0 && 2*emission*g2 <= 1):
		return SinglePhoton{}, invalid("single-photon link: g2", g2, "from 0 to half of one over the probability of emission")
	}
	// g2=2·two/(emission+two)²
	x := g2 * emission
	two := x * emission / (1 - x + math.Sqrt(1-2*x))
	s := SinglePhoton{Receiver: r, Bases: b, One: emission - two, Two: two}
	return s, s.Validate()
}

// Validate returns nil, or an error of code qnet.ErrInvalid that names the
// impossible parameter, its value and its range.
func (s SinglePhoton) Validate() error {
	const what = "single-photon link"
	if err := s.Receiver.Validate(); err != nil {
		return err
	}
	if err := s.Bases.validate(what); err != nil {
		return err
	}
	if err := validate(what, parameter{"probability of one photon", s.One, 0, 1}, parameter{"probability of two photons", s.Two, 0, 1}); err != nil {
		return err
	}
	if s.One+s.Two > 1+1e-12 {
		return invalid(what+": probability of one photon or two", s.One+s.Two, "at most 1")
	}
	return nil
}

// G2 returns the second-order correlation ⟨n(n−1)⟩/⟨n⟩² of the source at zero
// delay, 0 if it never emits.
func (s SinglePhoton) G2() float64 {
	mean := s.One + 2*s.Two
	if mean == 0 {
		return 0
	}
	return 2 * s.Two / (mean * mean)
}

// Response returns the response to a pulse of the source.
func (s SinglePhoton) Response() Response {
	var gain, wrong float64
	for n, p := range [...]float64{max(0, 1-s.One-s.Two), s.One, s.Two} {
		y := s.Photons(n)
		gain += p * y.Gain
		wrong += p * y.Gain * y.Error
	}
	if gain == 0 {
		return Response{Error: 0.5}
	}
	return Response{Gain: gain, Error: wrong / gain}
}

// KeyRate returns the secret bits per pulse for which sender and receiver took
// the same basis, 0 when there are none. All that the pulses of two photons can
// contribute is given to the adversary:
//
//	Q·(A·(1−h(E/A)) − f·h(E)), A=1−Two/Q
//
// D. Gottesman, H.-K. Lo, N. Lütkenhaus and J. Preskill, Quantum Information and
// Computation 4, 325 (2004).
func (s SinglePhoton) KeyRate(f float64) float64 {
	r := s.Response()
	a := 1 - s.Two/r.Gain
	if !(a > 0) {
		return 0
	}
	return max(0, r.Gain*(a*(1-optics.Entropy(min(r.Error/a, 0.5)))-f*optics.Entropy(r.Error)))
}

// Sampler returns the sampler of the link, whose only intensity is number 0, or
// the error of Validate.
func (s SinglePhoton) Sampler() (*BB84Sampler, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return newBB84Sampler(s.Bases, []float64{1}, []Response{s.Response()}), nil
}
