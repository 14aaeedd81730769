package prepare

import (
	"math"

	"qstack/physical/optics"
)

// TwinField is a link of two senders and a mid-point that nobody needs to trust.
// Each end sends a weak pulse of coherent light in every round; the mid-point
// mixes both on a balanced beam splitter and announces which detector clicked,
// when exactly one did. In rounds for the key an end sends +√μ or −√μ for its bit,
// and equal signs click in one detector, different ones in the other; in test
// rounds the phase is random. One photon from either end suffices for a click, so
// that the rate falls with the root of the channel's transmission.
//
// The protocol is that of M. Curty, K. Azuma and H.-K. Lo, npj Quantum
// Information 5, 64 (2019).
type TwinField struct {
	// EtaA and EtaB are the probabilities that a photon sent by this end is
	// detected: fibre, optics and detector, in [0,1].
	EtaA, EtaB float64
	// Dark is the probability that a detector clicks without a photon in one
	// round, from 0 to 0.5.
	Dark float64
	// Misalignment is the fraction of the light of two equal pulses in phase that
	// goes to the wrong detector, from 0 to 0.5: the modes of both pulses, such as
	// their polarisations, have the overlap ⟨a|b⟩=1−2·Misalignment.
	Misalignment float64
	// PhaseOffset is the mean phase between both arms in radians, from −π to π, and
	// PhaseNoise its standard deviation, from 0 to 100, from round to round
	// (Gaussian, not wrapped).
	PhaseOffset, PhaseNoise float64
}

// Validate returns nil, or an error of code qnet.ErrInvalid that names the
// impossible parameter, its value and its range.
func (t TwinField) Validate() error {
	return validate("twin-field link",
		parameter{"detection efficiency of end A", t.EtaA, 0, 1},
		parameter{"detection efficiency of end B", t.EtaB, 0, 1},
		parameter{"dark probability", t.Dark, 0, maxDark},
		parameter{"misalignment", t.Misalignment, 0, 0.5},
		parameter{"phase offset in radians", t.PhaseOffset, -math.Pi, math.Pi},
		parameter{"phase noise in radians", t.PhaseNoise, 0, 100})
}

// overlap returns ⟨a|b⟩.
func (t TwinField) overlap() float64 { return 1 - 2*t.Misalignment }

// Coherent returns the probability that only the right detector clicks, and that
// only the wrong one does, for two coherent pulses of the given means in a round
// for the key. With the mean numbers of photons S=ηA·μA+ηB·μB in all and
// z=⟨a|b⟩·√(ηA·μA·ηB·μB), it is for the right one, the average being over the phase,
//
//	(1−d)·(⟨exp(−S/2+z·cosφ)⟩ − (1−d)·exp(−S))
//
// and with −z for the wrong one.
func (t TwinField) Coherent(meanA, meanB float64) (right, wrong float64) {
	return t.only(meanA, meanB, 1, t.PhaseNoise), t.only(meanA, meanB, -1, t.PhaseNoise)
}

// RandomPhase returns the probability that only a certain one of the two
// detectors clicks, the same for both, for pulses of the given means when the
// phase of either is random: the average over Poisson numbers of Photons.
func (t TwinField) RandomPhase(meanA, meanB float64) float64 {
	return t.only(meanA, meanB, 1, math.Inf(1))
}

func (t TwinField) only(meanA, meanB, sign, noise float64) float64 {
	a, b := t.EtaA*meanA, t.EtaB*meanB
	z := sign * t.overlap() * math.Sqrt(a*b)
	half := (a + b) / 2
	// The difference of nearly equal numbers, to full precision.
	var light float64 // exp(half+z·cosφ)−1
	if noise == 0 {
		light = math.Expm1(half + z*math.Cos(t.PhaseOffset))
	} else {
		light = math.Exp(half)*meanExpCos(z, t.PhaseOffset, noise) + math.Expm1(half)
	}
	return (1 - t.Dark) * math.Exp(-2*half) * max(0, light+t.Dark)
}

// meanExpCos returns the mean of exp(z·cosφ)−1 over a normal φ:
// I0(z)−1+2·Σ In(z)·cos(n·offset)·exp(−n²·noise²/2).
func meanExpCos(z, offset, noise float64) float64 {
	h := math.Abs(z) / 2
	// In is the sum over k of h^(2k+n)/(k!·(k+n)!), all terms positive.
	bessel := func(n int, first float64, from int) (sum float64) {
		term := first
		for k := from; term > sum*1e-17; k++ {
			sum += term
			term *= h * h / (float64(k+1) * float64(k+1+n))
		}
		return sum
	}
	mean := bessel(0, h*h, 1) // without k=0
	lead := 1.0               // hⁿ/n!
	for n := 1; n < 1000; n++ {
		lead *= h / float64(n)
		w := math.Exp(-float64(n) * float64(n) * noise * noise / 2)
		if lead*w <= 1e-18*math.Abs(mean) && float64(n) > 2*h {
			break
		}
		x := 2 * w * math.Cos(float64(n)*offset) * bessel(n, lead, 0)
		if z < 0 && n%2 == 1 {
			x = -x
		}
		mean += x
	}
	return mean
}

// Photons returns the probability that only a certain one of the two detectors
// clicks, the same for both, when the ends send exactly nA and nB photons, each
// ≥ 0. With x=η/2 of each end and V=⟨a|b⟩² it is
//
//	(1−d)·(P − (1−d)·(1−ηA)^nA·(1−ηB)^nB)
//	P = Σ C(nA,k)·C(nB,k)·(xA·xB·V)^k·(1−xA)^(nA−k)·(1−xB)^(nB−k)
//
// where P is the probability that the other detector sees no photon: the mean of
// the normally ordered exponential of minus its photon number.
func (t TwinField) Photons(nA, nB int) float64 {
	xA, xB := t.EtaA/2, t.EtaB/2
	term := math.Exp(float64(nA)*math.Log1p(-xA) + float64(nB)*math.Log1p(-xB))
	// u is the logarithm of ((1−ηA)/(1−xA))^nA·((1−ηB)/(1−xB))^nB.
	u := 0.0
	if nA > 0 {
		u += float64(nA) * math.Log1p(-xA/(1-xA))
	}
	if nB > 0 {
		u += float64(nB) * math.Log1p(-xB/(1-xB))
	}
	sum := term * (t.Dark*math.Exp(u) - math.Expm1(u))
	o := t.overlap()
	r := xA * xB * o * o / ((1 - xA) * (1 - xB))
	for k := range min(nA, nB) {
		term *= float64(nA-k) * float64(nB-k) / (float64(k+1) * float64(k+1)) * r
		sum += term
	}
	return (1 - t.Dark) * sum
}

// PhaseError returns the bound on the phase error rate of the key, or 1/2, which
// leaves no key, when the bound is above that or a mean not in [0,100], when test
// rounds of infinitely many intensities tell Photons exactly. With the
// photon-number amplitudes cn=exp(−μ/2)·√(μⁿ/n!) it is the sum of
//
//	(Σ c(nA)·c(nB)·√Photons(nA,nB))²
//
// over even and over odd nA and nB, divided by the probability that only a certain
// detector clicks in a round for the key. The sums end where what is left, were
// it always detected, is below 1e-15, and that is added.
func (t TwinField) PhaseError(meanA, meanB float64) float64 {
	right, wrong := t.Coherent(meanA, meanB)
	if !(meanA >= 0 && meanA <= maxMean && meanB >= 0 && meanB <= maxMean && right+wrong > 0) {
		return 0.5
	}
	a, restA := amplitudes(meanA)
	b, restB := amplitudes(meanB)
	var sumA, sumB float64
	for _, c := range a {
		sumA += c
	}
	for _, c := range b {
		sumB += c
	}
	rest := restA*(sumB+restB) + sumA*restB
	var e float64
	for parity := range 2 {
		sum := rest
		for nA := parity; nA < len(a); nA += 2 {
			for nB := parity; nB < len(b); nB += 2 {
				sum += a[nA] * b[nB] * math.Sqrt(t.Photons(nA, nB))
			}
		}
		e += sum * sum
	}
	return min(0.5, 2*e/(right+wrong))
}

// amplitudes returns the photon-number amplitudes of a coherent state, and a
// bound on the sum of those left out.
func amplitudes(mean float64) (c []float64, rest float64) {
	x := math.Exp(-mean / 2)
	for n := 1; ; n++ {
		c = append(c, x)
		ratio := math.Sqrt(mean / float64(n))
		x *= ratio
		// From here on the amplitudes fall at least by this ratio.
		if ratio < 0.5 && 2*x < 1e-17 {
			return c, 2 * x
		}
	}
}

// KeyRate returns the secret bits per round in which both ends send pulses of
// these means for the key, 0 when there are none: (right+wrong)·(1−h(ephase)−f·h(E)).
func (t TwinField) KeyRate(meanA, meanB, f float64) float64 {
	return max(0, t.key(meanA, meanB, f))
}

// key returns the key rate, below 0 where there is no key.
func (t TwinField) key(meanA, meanB, f float64) float64 {
	right, wrong := t.Coherent(meanA, meanB)
	gain := right + wrong
	if gain == 0 {
		return 0
	}
	return gain * (1 - optics.Entropy(t.PhaseError(meanA, meanB)) - f*optics.Entropy(min(1, wrong/gain)))
}

// BestMeans returns the means, up to 1, that have the largest KeyRate among those
// that are equal on arrival: the end with the greater loss sends from 1e-4 to 1.
func (t TwinField) BestMeans(f float64) (meanA, meanB float64) {
	a, b := 1.0, 1.0
	if t.EtaA > 0 && t.EtaB > 0 {
		a, b = min(1, t.EtaB/t.EtaA), min(1, t.EtaA/t.EtaB)
	}
	m := peak(func(m float64) float64 { return t.key(a*m, b*m, f) }, 1e-4, 1)
	return a * m, b * m
}
