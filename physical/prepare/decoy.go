package prepare

import (
	"math"

	"qstack/physical/optics"
	"qstack/qnet"
)

// Intensity is one of the intensities of a sender's pulses.
type Intensity struct {
	Mean        float64 // photons on average as they leave the sender, from 0 (vacuum) to 100
	Probability float64 // that a pulse has this intensity
}

// MaxIntensities is the largest number of intensities of a sender.
const MaxIntensities = 16

func validateIntensities(what string, list []Intensity) error {
	if len(list) == 0 || len(list) > MaxIntensities {
		return qnet.Errorf(qnet.ErrInvalid, "%s: there are %d intensities, want from 1 to %d", what, len(list), MaxIntensities)
	}
	sum := 0.0
	for i, x := range list {
		if !(x.Mean >= 0 && x.Mean <= maxMean) {
			return qnet.Errorf(qnet.ErrInvalid, "%s: mean of intensity %d is %g, want from 0 to %d", what, i, x.Mean, maxMean)
		}
		if !(x.Probability >= 0 && x.Probability <= 1) {
			return qnet.Errorf(qnet.ErrInvalid, "%s: probability of intensity %d is %g, want from 0 to 1", what, i, x.Probability)
		}
		sum += x.Probability
	}
	if math.Abs(sum-1) > 1e-9 {
		return invalid(what+": sum of the probabilities of the intensities", sum, "1")
	}
	return nil
}

// DecoyBB84 is BB84 with pulses of coherent light whose phase is random, so that
// the number of photons has a Poisson distribution and nothing else is known of
// it. Pulses of other intensities, the decoys, tell how single photons fare.
type DecoyBB84 struct {
	Receiver
	Bases
	Intensities []Intensity // the signal first, then the decoys
}

// Validate returns nil, or an error of code qnet.ErrInvalid that names the
// impossible parameter, its value and its range.
func (d DecoyBB84) Validate() error {
	const what = "decoy BB84 link"
	if err := d.Receiver.Validate(); err != nil {
		return err
	}
	if err := d.Bases.validate(what); err != nil {
		return err
	}
	return validateIntensities(what, d.Intensities)
}

// Observation is what sender and receiver learn of the pulses of one intensity.
type Observation struct {
	Mean float64 // photons on average as they leave the sender
	Response
}

// Observations returns what infinitely many pulses would show, in the order of
// the intensities.
func (d DecoyBB84) Observations() []Observation {
	var list []Observation
	for _, x := range d.Intensities {
		list = append(list, Observation{x.Mean, d.Coherent(x.Mean)})
	}
	return list
}

// BoundSingle returns what observations tell of pulses of one photon: a lower
// bound on their gain and an upper one on their error rate, from the signal,
// which is first, and each pair of decoys of means ν1 > ν2 ≥ 0 with ν1+ν2 below the
// mean of the signal. Without such a pair it is gain 0 and error rate 1/2.
//
// X. Ma, B. Qi, Y. Zhao and H.-K. Lo, Phys. Rev. A 72, 012326 (2005); ν2=0 is
// their case of vacuum and weak decoy.
func BoundSingle(list []Observation) Response {
	bound := Response{Gain: 0, Error: 0.5}
	if len(list) == 0 {
		return bound
	}
	signal := list[0]
	mu := signal.Mean
	for _, weak := range list[1:] {
		for _, weaker := range list[1:] {
			n1, n2 := weak.Mean, weaker.Mean
			if !(n1 > n2 && n1+n2 < mu) {
				continue
			}
			q1, q2 := weak.Gain*math.Exp(n1), weaker.Gain*math.Exp(n2)
			y0 := max(0, (n1*q2-n2*q1)/(n1-n2))
			y1 := mu / ((n1 - n2) * (mu - n1 - n2)) * (q1 - q2 - (n1-n2)*(n1+n2)/(mu*mu)*(signal.Gain*math.Exp(mu)-y0))
			if !(y1 > 0) {
				continue
			}
			bound.Gain = max(bound.Gain, min(y1, 1))
			e1 := (weak.Error*q1 - weaker.Error*q2) / ((n1 - n2) * y1)
			bound.Error = min(bound.Error, max(e1, 0))
		}
	}
	return bound
}

// KeyRate returns the secret bits per pulse of the signal's intensity for which
// sender and receiver took the same basis, 0 when there are none, with what the
// decoys tell:
//
//	μ·exp(−μ)·Y1·(1−h(e1)) − Q·f·h(E)
//
// after D. Gottesman, H.-K. Lo, N. Lütkenhaus and J. Preskill, Quantum Information
// and Computation 4, 325 (2004). A pair of decoys is needed.
func (d DecoyBB84) KeyRate(f float64) float64 {
	list := d.Observations()
	if len(list) == 0 {
		return 0
	}
	return max(0, decoyKey(list[0], BoundSingle(list), f))
}

// SignalKeyRate is the key rate for a signal of the given mean when infinitely
// many decoys tell exactly how single photons fare.
func (r Receiver) SignalKeyRate(mean, f float64) float64 {
	return max(0, decoyKey(Observation{mean, r.Coherent(mean)}, r.Photons(1), f))
}

// BestSignal returns the mean of the signal, from 1e-4 to 2, that has the largest
// SignalKeyRate.
func (r Receiver) BestSignal(f float64) float64 {
	one := r.Photons(1)
	return peak(func(mean float64) float64 {
		return decoyKey(Observation{mean, r.Coherent(mean)}, one, f)
	}, 1e-4, 2)
}

// decoyKey returns the key rate, below 0 where there is no key.
func decoyKey(signal Observation, one Response, f float64) float64 {
	return signal.Mean*math.Exp(-signal.Mean)*one.Gain*(1-optics.Entropy(min(one.Error, 0.5))) - signal.Gain*f*optics.Entropy(signal.Error)
}

// Sampler returns the sampler of the link, or the error of Validate.
func (d DecoyBB84) Sampler() (*BB84Sampler, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	var p []float64
	var responses []Response
	for _, x := range d.Intensities {
		p = append(p, x.Probability)
		responses = append(responses, d.Coherent(x.Mean))
	}
	return newBB84Sampler(d.Bases, p, responses), nil
}
