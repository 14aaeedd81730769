package prepare

import "math"

// Receiver is the receiver of a BB84 link together with everything on the way
// from the sender: a beam splitter for polarisation (or its likes for time bins
// and phases) with a threshold detector at either exit, in front of which the
// basis is chosen. When both detectors click, the bit is drawn by a fair coin.
type Receiver struct {
	// Transmission is the probability that a photon that leaves the sender is
	// detected: fibre, optics and detector, in [0,1].
	Transmission float64
	// Dark is the probability that a detector clicks without a photon in the time
	// of one pulse, from 0 to 0.5.
	Dark float64
	// Misalignment is the probability that a photon goes to the wrong detector in
	// the right basis, from 0 to 0.5: the polarisation of the whole pulse is
	// rotated by an angle ±θ with sin²θ of this size, to either side alike.
	Misalignment float64
}

// Validate returns nil, or an error of code qnet.ErrInvalid that names the
// impossible parameter, its value and its range.
func (r Receiver) Validate() error {
	return validate("BB84 receiver",
		parameter{"transmission", r.Transmission, 0, 1},
		parameter{"dark probability", r.Dark, 0, maxDark},
		parameter{"misalignment", r.Misalignment, 0, 0.5})
}

// Response is how a receiver responds to a kind of pulse in the sender's basis.
// In the other basis the gain is the same and the bit is random, since the
// rotation is to either side alike.
type Response struct {
	Gain  float64 // probability of a detection
	Error float64 // probability that the bit of a detection is wrong; 1/2 when the gain is 0
}

// response returns the response to a pulse for which the right detector clicks
// with probability right, the wrong one with probability wrong, and any of them
// with probability gain. An error is a click of the wrong detector alone, or one
// of two clicks in a coin toss: wrong−both/2, where both=right+wrong−gain.
func response(right, wrong, gain float64) Response {
	if gain == 0 {
		return Response{Error: 0.5}
	}
	return Response{Gain: gain, Error: min(max((gain+wrong-right)/(2*gain), 0), 1)}
}

// Photons returns the response to a pulse of exactly n photons, n ≥ 0: the yield
// Yn=1−(1−η)ⁿ(1−d)² and the error rate en, where each photon is detected, rightly
// or wrongly, on its own.
func (r Receiver) Photons(n int) Response {
	return response(
		r.click(float64(n)*math.Log1p(-r.Transmission*(1-r.Misalignment)), n),
		r.click(float64(n)*math.Log1p(-r.Transmission*r.Misalignment), n),
		-math.Expm1(2*math.Log1p(-r.Dark)+r.silence(n)))
}

// click returns the probability that a detector clicks which without dark counts
// stays silent with probability exp(silence).
func (r Receiver) click(silence float64, n int) float64 {
	if n == 0 {
		return r.Dark // 0·log(0) is 0
	}
	return -math.Expm1(math.Log1p(-r.Dark) + silence)
}

// silence returns the logarithm of the probability that none of n photons is
// detected.
func (r Receiver) silence(n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(n) * math.Log1p(-r.Transmission)
}

// Coherent returns the response to a pulse of coherent light of random phase
// with mean photons on average as it leaves the sender. Both detectors see
// independent Poisson numbers of photons:
//
//	Q = 1 − (1−d)²·exp(−ημ)
//	w = 1 − (1−d)·exp(−ημe), the probability that the wrong detector clicks
//	r = 1 − (1−d)·exp(−ημ(1−e)), that the right one does
//	E·Q = w·(1−r/2)
//
// This is the average of Photons over a Poisson distribution. The usual
// Q=Y0+1−exp(−ημ), E·Q=Y0/2+e(1−exp(−ημ)) of Ma et al. (2005) is its limit for few
// dark counts and few photons.
func (r Receiver) Coherent(mean float64) Response {
	s, dark := r.Transmission*mean, math.Log1p(-r.Dark)
	wrong := -math.Expm1(dark - s*r.Misalignment)
	right := -math.Expm1(dark - s*(1-r.Misalignment))
	gain := -math.Expm1(2*dark - s)
	if gain == 0 {
		return Response{Error: 0.5}
	}
	return Response{Gain: gain, Error: wrong * (1 - right/2) / gain}
}
