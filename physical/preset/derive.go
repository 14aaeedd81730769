package preset

import (
	"math"

	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
)

// Results are what follows from the parameters of a preset. Those that do not
// apply are 0.
type Results struct {
	AttemptS           float64 `json:"attempt_s"`           // from one attempt to the next
	SuccessProbability float64 `json:"success_probability"` // of an attempt
	RateHz             float64 `json:"rate_hz"`             // successes per second while attempts are made all the time
	// Of heralded pairs.
	Fidelity          float64 `json:"fidelity,omitempty"`           // to the announced state, right after emission
	FidelityDelivered float64 `json:"fidelity_delivered,omitempty"` // when both ends know of it
	// Of pulses that are prepared and measured.
	ErrorRate float64 `json:"qber,omitempty"`
	KeyRateHz float64 `json:"key_rate_hz,omitempty"` // secret bits per second
	// Of a link that changes with time; what is above holds at its best instant.
	ContactS float64 `json:"contact_s,omitempty"` // for which it is open
	Pairs    float64 `json:"pairs,omitempty"`     // that it is expected to give meanwhile

	EfficiencyA float64 `json:"efficiency_a,omitempty"`
	EfficiencyB float64 `json:"efficiency_b,omitempty"`
	HeraldS     float64 `json:"herald_s"` // from an attempt until both ends know
	// MemoryS is the time in which a qubit that waits for another pair loses a
	// factor e of its coherence, and MemoryToRate the number of pairs that come
	// meanwhile. 0 where nothing limits it.
	MemoryS      float64 `json:"memory_s,omitempty"`
	MemoryToRate float64 `json:"memory_to_rate,omitempty"`
}

// Quantity is one of the results.
type Quantity struct {
	Name    string
	Meaning string
	of      func(*Results) float64
}

// Quantities returns what can be compared with a published number.
func Quantities() []*Quantity { return quantities }

var quantities = []*Quantity{
	{"attempt_s", "time from one attempt to the next", func(r *Results) float64 { return r.AttemptS }},
	{"success_probability", "of an attempt", func(r *Results) float64 { return r.SuccessProbability }},
	{"rate_hz", "pairs per second", func(r *Results) float64 { return r.RateHz }},
	{"fidelity", "of a pair right after emission", func(r *Results) float64 { return r.Fidelity }},
	{"fidelity_delivered", "of a pair when both ends know of it", func(r *Results) float64 { return r.FidelityDelivered }},
	{"qber", "error rate of bits that are prepared and measured", func(r *Results) float64 { return r.ErrorRate }},
	{"key_rate_hz", "secret bits per second", func(r *Results) float64 { return r.KeyRateHz }},
	{"memory_s", "in which a stored qubit loses a factor e of its coherence", func(r *Results) float64 { return r.MemoryS }},
}

func quantityNames() []string {
	names := make([]string, len(quantities))
	for i, q := range quantities {
		names[i] = q.Name
	}
	return names
}

func quantityNamed(name string) *Quantity {
	for _, q := range quantities {
		if q.Name == name {
			return q
		}
	}
	return nil
}

// Results works out what follows from p. The error, of code
// qnet.ErrUnsupported, says that p describes no link.
func (p *Preset) Results() (Results, error) {
	l, err := p.Link()
	if err != nil {
		return Results{}, err
	}
	return p.results(l)
}

// results works out what follows from p, whose link is l.
func (p *Preset) results(l *Link) (r Results, err error) {
	r = Results{AttemptS: l.period() / 1e9, HeraldS: l.Herald, EfficiencyA: l.EfficiencyA, EfficiencyB: l.EfficiencyB}
	if k := l.Prepared; k != nil {
		r.SuccessProbability, r.RateHz = k.Gain, k.Gain/r.AttemptS
		r.ErrorRate, r.KeyRateHz = k.ErrorRate, k.KeyRate/r.AttemptS
		return r, nil
	}
	r.SuccessProbability = l.Model.SuccessProbability()
	r.RateHz = r.SuccessProbability / r.AttemptS
	r.ContactS, r.Pairs = l.contact()
	d := p.Device()
	if r.Fidelity, r.FidelityDelivered, err = delivered(l, d.Communication); err != nil {
		return Results{}, err
	}
	if r.MemoryS = memory(d, r.AttemptS); r.MemoryS > 0 {
		r.MemoryToRate = r.MemoryS * r.RateHz
	}
	return r, nil
}

// delivered returns the fidelity of a heralded pair right after emission, and
// when both ends know of it: both qubits, which decay alike, have waited for the
// herald meanwhile.
func delivered(l *Link, d state.Decay) (emitted, known float64, err error) {
	wait := qnet.Time(math.Round(l.Herald * 1e9))
	if herald.IsImmediate(l.Model) { // light that is measured as it arrives is in no memory
		wait = 0
	}
	for _, h := range l.Model.Heralds() {
		emitted += h.P * h.Fidelity()
		var w state.World
		rho := [16]complex128(h.State)
		if h.State.IsBellDiagonal() {
			w.Pair(0, 1, 0, d, d, h.State.Weights())
		} else {
			w.Entangle(0, 1, 0, d, d, &rho)
		}
		f, err := w.BellFidelity(wait, 0, 1, h.Label)
		if err != nil {
			return 0, 0, err
		}
		known += h.P * f
	}
	return emitted, known, nil
}

// memory returns the time in seconds in which a qubit that waits while attempts
// go on loses a factor e of its coherence: the one that stores, if there is one,
// at the end where attempts disturb it more. It is 0 where nothing limits it.
func memory(d *Device, attempt float64) float64 {
	m := d.Storage
	relax, disturb := 0.0, 0.0 // 1/s
	if m.T1 > 0 {
		relax = 1 / (2 * m.T1)
	}
	if dephasing := max(d.DephasingA, d.DephasingB); dephasing > 0 {
		disturb = 1 / (dephasing.Lifetime() * attempt)
	}
	switch {
	case m.T2 == 0 && relax+disturb == 0:
		return 0
	case m.T2 == 0:
		return 1 / (relax + disturb)
	case m.Stretch == 0 || m.Stretch == 1: // T2 has the relaxation in it
		return 1 / (1/m.T2 + disturb)
	}
	// The exponents (t/T2)ⁿ + t·(relax + disturb) add up to 1.
	low, high := 0.0, m.T2
	for range 100 {
		t := (low + high) / 2
		if math.Pow(t/m.T2, m.Stretch)+t*(relax+disturb) < 1 {
			low = t
		} else {
			high = t
		}
	}
	return high
}
