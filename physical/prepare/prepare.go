// Package prepare models links on which light is prepared and measured and no
// entanglement is kept: BB84 with single photons or with decoy pulses, twin-field
// links by way of a mid-point that nobody needs to trust, and a mid-point with
// two memories. It gives their gains, error rates and asymptotic secret key
// rates in closed form, and samplers that skip the pulses of which nothing was
// detected.
//
// A gain is the probability that a pulse is detected, an error rate the
// probability that the bit of a detection is wrong. Detectors are threshold
// detectors throughout. Key rates hold for infinitely many pulses; f is the
// efficiency of error correction: f·h(E) bits are disclosed per bit of error
// rate E, f=1 being Shannon's limit.
package prepare

import (
	"math"

	"qstack/physical/optics"
	"qstack/qnet"
)

func invalid(what string, value float64, want string) error {
	return qnet.Errorf(qnet.ErrInvalid, "%s is %g, want %s", what, value, want)
}

// parameter is a field with its range.
type parameter struct {
	name     string
	value    float64
	from, to float64
}

// validate returns an error that names the first parameter out of its range.
func validate(what string, list ...parameter) error {
	for _, p := range list {
		if !(p.value >= p.from && p.value <= p.to) {
			return qnet.Errorf(qnet.ErrInvalid, "%s: %s is %g, want from %g to %g", what, p.name, p.value, p.from, p.to)
		}
	}
	return nil
}

// maxDark is the largest dark probability of a detector, far above any.
const maxDark = 0.5

// maxMean is the largest mean number of photons of a pulse.
const maxMean = 100

// peak returns where in [lo,hi], above 0, f is largest: the best of points at
// equal ratios, refined by golden section between its neighbours.
func peak(f func(float64) float64, lo, hi float64) float64 {
	const points = 60
	ratio := math.Pow(hi/lo, 1.0/(points-1))
	best, value := lo, math.Inf(-1)
	for i := range points {
		x := lo * math.Pow(ratio, float64(i))
		if v := f(x); v > value {
			best, value = x, v
		}
	}
	a, b := max(lo, best/ratio), min(hi, best*ratio)
	const golden = 0.6180339887498949
	x, y := b-golden*(b-a), a+golden*(b-a)
	fx, fy := f(x), f(y)
	for range 40 { // the interval shrinks by 4e-9
		if fx > fy {
			b, y, fy = y, x, fx
			x = b - golden*(b-a)
			fx = f(x)
		} else {
			a, x, fx = x, y, fy
			y = a + golden*(b-a)
			fy = f(y)
		}
	}
	return (a + b) / 2
}

// MaxLoss is the largest loss, in decibels, that Crossing looks at.
const MaxLoss = 300

// Crossing returns the least loss of a channel, in decibels, at which rate, in
// secret bits per use of a channel of transmission eta, exceeds the repeaterless
// bound of that channel. It looks at steps of 0.25 dB up to MaxLoss and then
// halves the step; ok tells whether there is any such loss.
func Crossing(rate func(eta float64) float64) (dB float64, ok bool) {
	exceeds := func(dB float64) bool {
		eta := optics.Transmission(dB)
		return rate(eta) > optics.Repeaterless(eta)
	}
	const step = 0.25
	for i := 1; i <= MaxLoss/step; i++ {
		hi := float64(i) * step
		if !exceeds(hi) {
			continue
		}
		lo := hi - step
		for hi-lo > 1e-9 {
			if mid := (lo + hi) / 2; exceeds(mid) {
				hi = mid
			} else {
				lo = mid
			}
		}
		return hi, true
	}
	return 0, false
}
