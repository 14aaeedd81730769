package state

import (
	"math"

	"qstack/qnet"
)

// Decay says how a qubit loses its state while nothing touches it. Its
// contributions act together as one Markovian process: waiting for t and then
// for u is the same as waiting for t+u. The zero value is a perfect memory.
type Decay struct {
	// T1, in seconds, is the time constant of relaxation to |0⟩ (amplitude
	// damping); 0 stands for none.
	T1 float64
	// T2, in seconds, is the time constant of coherences, that of relaxation
	// included, so T2 ≤ 2·T1; 0 stands for no dephasing beyond that of
	// relaxation. Without relaxation it is a phase flip of probability
	// (1−e^{−t/T2})/2.
	T2 float64
	// Depolarise is the rate r, in 1/s, of ρ → e^{−rt}ρ + (1−e^{−rt})·I/2⊗tr(ρ).
	Depolarise float64
}

// Validate returns an error with code qnet.ErrInvalid when d is no physical
// process: a negative or undefined number, or T2 above 2·T1.
func (d Decay) Validate() error {
	for _, v := range [...]struct {
		name  string
		value float64
	}{{"T1", d.T1}, {"T2", d.T2}, {"Depolarise", d.Depolarise}} {
		if !(v.value >= 0) || math.IsInf(v.value, 1) {
			return qnet.Errorf(qnet.ErrInvalid, "decay: %s = %g: want a finite number of at least 0", v.name, v.value)
		}
	}
	if d.T1 > 0 && d.T2 > 2*d.T1*(1+1e-12) {
		return qnet.Errorf(qnet.ErrInvalid, "decay: T2 = %g s is above 2·T1 = %g s, which no process does: lower T2 or raise T1", d.T2, 2*d.T1)
	}
	return nil
}

// rates is Decay as used: the Bloch vector follows d(x,y)/dt = −transverse·(x,y)
// and dz/dt = −longitudinal·(z−rest), in 1/ns.
type rates struct {
	transverse, longitudinal, rest float64
}

// rates converts d. Numbers that are not positive count as none, and a T2 above
// 2·T1 as 2·T1.
func (d Decay) rates() rates {
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
	r := rates{
		transverse:   max(dephase, relax/2) + depolarise,
		longitudinal: relax + depolarise,
	}
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

// over returns what the decay does in dt nanoseconds.
func (r rates) over(dt qnet.Time) channel {
	ch := channel{xy: 1, z: 1}
	if r.transverse != 0 {
		ch.xy = math.Exp(-r.transverse * float64(dt))
	}
	if r.longitudinal != 0 {
		loss := -math.Expm1(-r.longitudinal * float64(dt))
		ch.z = 1 - loss
		ch.shift = r.rest * loss
	}
	return ch
}
