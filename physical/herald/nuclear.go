package herald

import "math"

// NuclearSpin is a qubit stored in a nuclear spin beside the electron spin that
// makes the attempts. An electron in the bright state turns the nuclear spin by
// a phase that depends on when the electron is reset, which varies: each attempt
// dephases what is stored.
//
// The formula is that of A. Dahlberg et al., SIGCOMM (2019), arXiv:1903.09778,
// after N. Kalb et al., Phys. Rev. A 97, 062330 (2018), arXiv:1802.05996. It is
// exact for phases of normal distribution about 0, as decoupling leaves them,
// drawn anew in each attempt.
type NuclearSpin struct {
	// CouplingHz is Δω/2π, by which the precession of the nuclear spin differs
	// between the electron's two states, in hertz, from 0.
	CouplingHz float64
	// ResetNS is τ, the deviation of the time for which the electron stays
	// bright, in nanoseconds, from 0.
	ResetNS float64
}

// Validate returns nil, or an error of code qnet.ErrInvalid.
func (n NuclearSpin) Validate() error {
	if !(n.CouplingHz >= 0 && n.CouplingHz <= math.MaxFloat64) {
		return invalid("nuclear spin: coupling in hertz", n.CouplingHz, "finite and at least 0")
	}
	if !(n.ResetNS >= 0 && n.ResetNS <= math.MaxFloat64) {
		return invalid("nuclear spin: deviation of the reset time in nanoseconds", n.ResetNS, "finite and at least 0")
	}
	return nil
}

// Dephasing returns the effect of one attempt with bright-state population
// alpha, in [0,1]: p = (α/2)(1−exp(−(Δω·τ)²/2)).
func (n NuclearSpin) Dephasing(alpha float64) AttemptDephasing {
	phase := 2 * math.Pi * n.CouplingHz * n.ResetNS * 1e-9
	return AttemptDephasing(-alpha / 2 * math.Expm1(-phase*phase/2))
}

// AttemptDephasing is what an attempt does to a stored qubit: Z with this
// probability, in [0,1/2].
type AttemptDephasing float64

// FitAttemptDephasing returns the dephasing after n attempts of which, n above
// 0, the coherence of a stored qubit is 1/e of what it was: p = (1−exp(−1/n))/2.
func FitAttemptDephasing(n float64) (AttemptDephasing, error) {
	if !(n > 0) {
		return 0, invalid("stored qubit: number of attempts to 1/e of its coherence", n, "above 0")
	}
	return AttemptDephasing(-math.Expm1(-1/n) / 2), nil
}

// Validate returns nil, or an error of code qnet.ErrInvalid.
func (p AttemptDephasing) Validate() error {
	if !(p >= 0 && p <= 0.5) {
		return invalid("stored qubit: dephasing probability per attempt", float64(p), "from 0 to 0.5")
	}
	return nil
}

// Coherence returns what is left of the coherence of a stored qubit after n
// attempts: (1−2p)ⁿ.
func (p AttemptDephasing) Coherence(n uint64) float64 {
	if n == 0 {
		return 1
	}
	return math.Exp(float64(n) * math.Log1p(-2*float64(p)))
}

// Lifetime returns the number N(1/e) of attempts, not rounded, that leave 1/e of
// the coherence of a stored qubit; +Inf if none does. It is the inverse of
// FitAttemptDephasing.
func (p AttemptDephasing) Lifetime() float64 { return -1 / math.Log1p(-2*float64(p)) }
