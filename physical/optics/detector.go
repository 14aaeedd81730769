package optics

import "math"

// Detector is a single-photon detector.
type Detector struct {
	Efficiency      float64 // probability that a photon is detected, in [0,1]
	DarkRate        float64 // clicks without a photon per second, from 0 to 1e12
	DeadTime        float64 // seconds after a click in which it is blind, from 0 to 1
	Jitter          float64 // standard deviation of the instant of a click in seconds, from 0 to 1
	NumberResolving bool    // tells two photons from one; a threshold detector does not
}

// Validate returns nil, or an error of code qnet.ErrInvalid that names the
// impossible parameter, its value and its range.
func (d Detector) Validate() error {
	switch {
	case !(d.Efficiency >= 0 && d.Efficiency <= 1):
		return invalid("detector: efficiency", d.Efficiency, "from 0 to 1")
	case !(d.DarkRate >= 0 && d.DarkRate <= 1e12):
		return invalid("detector: dark counts per second", d.DarkRate, "from 0 to 1e12")
	case !(d.DeadTime >= 0 && d.DeadTime <= 1):
		return invalid("detector: dead time in seconds", d.DeadTime, "from 0 to 1")
	case !(d.Jitter >= 0 && d.Jitter <= 1):
		return invalid("detector: jitter in seconds", d.Jitter, "from 0 to 1")
	}
	return nil
}

// DarkProbability returns the probability of at least one dark count within
// window seconds: 1−exp(−rate·window).
func (d Detector) DarkProbability(window float64) float64 {
	return -math.Expm1(-d.DarkRate * window)
}

// Live returns the fraction of time in which the detector is not blind, if a
// detector without dead time would click rate times per second at random
// instants: 1/(1+rate·dead time). Clicks within the dead time do not prolong it
// (non-paralysable). The detector clicks rate·Live(rate) times per second.
func (d Detector) Live(rate float64) float64 { return 1 / (1 + rate*d.DeadTime) }

// Decayed returns the fraction of an exponentially decaying photon of the given
// lifetime that lies within a window that begins with it: 1−exp(−window/τ). A
// lifetime of 0 is a photon at an instant.
func Decayed(window, lifetime float64) float64 {
	if lifetime == 0 {
		return 1
	}
	return -math.Expm1(-window / lifetime)
}

// WithinJitter returns the fraction of clicks that fall into a window centred
// on their mean instant, for Gaussian jitter of standard deviation sigma:
// erf(window/(√8·σ)). The difference of two instants, as in a coincidence, has
// the jitter √(σ1²+σ2²). Without jitter all clicks do.
func WithinJitter(window, sigma float64) float64 {
	if sigma == 0 {
		return 1
	}
	return math.Erf(window / (2 * math.Sqrt2 * sigma))
}
