package emulate

import (
	"math"
	"time"

	"qstack/physical/herald"
	"qstack/physical/preset"
	"qstack/physical/state"
	"qstack/qnet"
)

// expected is what the model says of pairs that are measured on arrival: for
// each Pauli basis the mean product of the bits, as ±1, turned so that the
// announced state has +1, before and after the errors of the read-out.
type expected struct {
	clean, read [3]float64
}

// expect works out what measuring the pairs of a model shows on a device, whose
// ends measure as soon as they have heard the herald, after the given delay, or,
// when attempts are pipelined, as soon as they have emitted.
func expect(m herald.Model, d *preset.Device, delay time.Duration, pipelined bool) (expected, error) {
	var x expected
	noise := &d.Spec.Noise
	decay := d.Communication
	switch {
	case herald.IsImmediate(m): // the photons themselves are measured
		decay = state.Decay{}
	case pipelined: // nobody waits for the herald
		delay = 0
	}
	// A bit s = ±1 is read as offset + contrast·s in the mean.
	offset, contrast := noise.ReadoutError[1]-noise.ReadoutError[0], 1-noise.ReadoutError[0]-noise.ReadoutError[1]
	for i, b := range paulis {
		rotation := 1.0
		if b != qnet.BasisZ {
			rotation -= noise.Gate1Depolarising
		}
		for _, h := range m.Heralds() {
			var w state.World
			rho := [16]complex128(h.State)
			w.Entangle(0, 1, 0, decay, decay, &rho)
			later, err := w.Density(qnet.Time(delay+d.Spec.MeasureTime(b)), 0, 1)
			if err != nil {
				return x, err
			}
			both, first, second := moments(later, i)
			both *= rotation * rotation
			s := h.P * signs[h.Label][i]
			x.clean[i] += s * both
			x.read[i] += s * (offset*offset + offset*contrast*rotation*(first+second) + contrast*contrast*both)
		}
	}
	return x, nil
}

// kept returns the fidelity of pairs of a model that have been kept, for the given
// time since their emission.
func kept(m herald.Model, d *preset.Device, age time.Duration) (f float64, err error) {
	for _, h := range m.Heralds() {
		var w state.World
		rho := [16]complex128(h.State)
		w.Entangle(0, 1, 0, d.Communication, d.Communication, &rho)
		x, err := w.BellFidelity(qnet.Time(age), 0, 1, h.Label)
		if err != nil {
			return 0, err
		}
		f += h.P * x
	}
	return f, nil
}

// moments returns the means of σ⊗σ, σ⊗1 and 1⊗σ for Pauli operator X, Y or Z.
func moments(rho []complex128, pauli int) (both, first, second float64) {
	// σ = Σ_i phase(i)·|i⟩⟨i⊕flip|
	flip := 1
	phase := func(int) complex128 { return 1 }
	switch pauli {
	case 1:
		phase = func(i int) complex128 { return complex(0, float64(2*i-1)) }
	case 2:
		flip = 0
		phase = func(i int) complex128 { return complex(float64(1-2*i), 0) }
	}
	for a := range 2 {
		for b := range 2 {
			row := 2*a + b
			both += real(phase(a) * phase(b) * rho[4*(2*(a^flip)+b^flip)+row])
			first += real(phase(a) * rho[4*(2*(a^flip)+b)+row])
			second += real(phase(b) * rho[4*(2*a+b^flip)+row])
		}
	}
	return both, first, second
}

// fidelity returns the fidelity that goes with mean products in X, Y and Z.
func fidelity(e [3]float64) float64 { return (1 + e[0] + e[1] + e[2]) / 4 }

// stderrs returns the standard errors of mean products from so many pairs in
// each basis, and that of the fidelity.
func stderrs(e [3]float64, pairs [3]float64) (each [3]float64, all float64) {
	for i := range e {
		each[i] = math.Sqrt((1 - e[i]*e[i]) / pairs[i])
		all += each[i] * each[i]
	}
	return each, math.Sqrt(all) / 4
}
