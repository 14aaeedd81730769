package state

import (
	"math"

	"qstack/qnet"
)

// Decay says how a qubit loses its state while nothing touches it. Its
// contributions act together: waiting for t and then for u is the same as waiting
// for t+u. The zero value is a perfect memory.
type Decay struct {
	// T1, in seconds, is the time constant of relaxation to |0⟩ (amplitude
	// damping); 0 stands for none.
	T1 float64
	// T2, in seconds, is the time constant of coherences, that of relaxation
	// included, so T2 ≤ 2·T1; 0 stands for no dephasing beyond that of
	// relaxation. Without relaxation it is a phase flip of probability
	// (1−e^{−t/T2})/2. With Stretch it is another quantity, see there.
	T2 float64
	// Depolarise is the rate r, in 1/s, of ρ → e^{−rt}ρ + (1−e^{−rt})·I/2⊗tr(ρ).
	Depolarise float64
	// Stretch is the exponent n of stretched dephasing, above 0 and at most 10; 0
	// stands for 1. Unless it is 1, dephasing multiplies coherences by
	// exp(−((t−t0)/T2)ⁿ) beside what relaxation does to them, where t0 is the
	// instant at which the qubit was prepared (Zero, Pair or Entangle), and T2 is
	// not bounded by T1. From one touch to the next the factor is the quotient.
	//
	// This is the law of slow noise, averaged, for a qubit that dephases freely;
	// it is not Markovian. The clock starts at preparation and at nothing else:
	// a gate, a measurement, or a state that is teleported into the qubit finds
	// it at the age that it has. No refocusing pulse is modelled.
	Stretch float64
}

// Validate returns an error with code qnet.ErrInvalid when d is no physical
// process: a negative or undefined number, a Stretch above 10, or T2 above 2·T1
// without Stretch.
func (d Decay) Validate() error {
	for _, v := range [...]struct {
		name  string
		value float64
	}{{"T1", d.T1}, {"T2", d.T2}, {"Depolarise", d.Depolarise}, {"Stretch", d.Stretch}} {
		if !(v.value >= 0) || math.IsInf(v.value, 1) {
			return qnet.Errorf(qnet.ErrInvalid, "decay: %s = %g: want a finite number of at least 0", v.name, v.value)
		}
	}
	if d.Stretch > 10 {
		return qnet.Errorf(qnet.ErrInvalid, "decay: Stretch = %g: want an exponent above 0 and at most 10, or 0 for 1", d.Stretch)
	}
	if !d.stretched() && d.T1 > 0 && d.T2 > 2*d.T1*(1+1e-12) {
		return qnet.Errorf(qnet.ErrInvalid, "decay: T2 = %g s is above 2·T1 = %g s, which no process does: lower T2 or raise T1", d.T2, 2*d.T1)
	}
	return nil
}

// stretched reports whether the dephasing is not exponential.
func (d *Decay) stretched() bool { return d.Stretch > 0 && d.Stretch != 1 && d.T2 > 0 }

// rates is Decay as used: the Bloch vector follows d(x,y)/dt = −transverse·(x,y)
// and dz/dt = −longitudinal·(z−rest), in 1/ns, and x and y are multiplied by
// exp(−(dephase·age)^stretch) besides, if stretch is not 0.
type rates struct {
	transverse, longitudinal, rest float64
	dephase, stretch               float64
}

// rates converts d. Numbers that are not positive count as none, and a T2 above
// 2·T1 as 2·T1.
func (d *Decay) rates() (r rates) {
	var relax, dephase, depolarise float64
	if d.T1 > 0 {
		relax = 1e-9 / d.T1
	}
	if d.T2 > 0 {
		dephase = 1e-9 / d.T2
	}
	if d.Depolarise > 0 {
		depolarise = 1e-9 * d.Depolarise
	}
	if d.stretched() {
		r.dephase, r.stretch = dephase, d.Stretch
		dephase = 0
	}
	r.transverse = max(dephase, relax/2) + depolarise
	r.longitudinal = relax + depolarise
	if relax > 0 {
		r.rest = relax / r.longitudinal
	}
	return r
}

// channel is an axially symmetric map of a qubit's Bloch vector:
// (x,y) → xy·(x,y), z → z·z + shift. It is unital when shift is 0.
type channel struct {
	xy, z, shift float64
}

// exponents returns x and z such that the qubit's decay from its last touch to t
// multiplies (x,y) by e^−x, and z, or what it is above rest, by e^−z.
func (s *qubit) exponents(t qnet.Time) (xy, z float64) {
	dt := float64(t - s.last)
	xy, z = s.transverse*dt, s.longitudinal*dt
	if s.stretch != 0 {
		xy += math.Pow(s.dephase*float64(t-s.born), s.stretch) - math.Pow(s.dephase*float64(s.last-s.born), s.stretch)
	}
	return xy, z
}

// over returns the qubit's decay from its last touch to t.
func (s *qubit) over(t qnet.Time) channel {
	xy, z := s.exponents(t)
	ch := channel{xy: 1, z: 1}
	if xy != 0 {
		ch.xy = math.Exp(-xy)
	}
	if z != 0 {
		loss := -math.Expm1(-z)
		ch.z = 1 - loss
		ch.shift = s.rest * loss
	}
	return ch
}
