package preset

import (
	"math"
	"strconv"
	"time"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/state"
)

// deviceParams is the table of everything a [device] may say. Numbers of storage
// qubits that are not given are those of communication qubits.
var deviceParams = []Param{
	{Name: "communication", Kind: Count, Max: 65536, Default: none, Meaning: "communication qubits that all links share; one of its own for every lane unless given"},
	{Name: "storage", Kind: Count, Max: 65536, Meaning: "storage qubits"},
	{Name: "coupling", Kind: Choice, Choices: []string{"all", "star"}, Meaning: "which pairs interact: all, or a communication with a storage qubit"},
	{Name: "serial", Kind: Truth, Max: 1, Meaning: "the device does one operation at a time"},
	{Name: "indirect", Kind: Truth, Max: 1, Meaning: "storage qubits are reached through a communication qubit only"},

	{Name: "t1", Kind: Time, Above: true, Max: 1e12, Default: none, Meaning: "relaxation of communication qubits; none unless given"},
	{Name: "t2", Kind: Time, Above: true, Max: 1e12, Default: none, Meaning: "coherence of communication qubits; none beyond relaxation unless given"},
	{Name: "stretch", Above: true, Max: 10, Default: 1, Meaning: "n in exp(−(t/t2)ⁿ), the decay of the coherence of communication qubits"},
	{Name: "init_time", Kind: Time, Max: 3600, Meaning: "to initialise a communication qubit"},
	{Name: "init_depolarising", Max: 1, Meaning: "q in (1−q)|0⟩⟨0| + q·I/2"},
	{Name: "gate1_time", Kind: Time, Max: 3600, Meaning: "of a gate of one qubit"},
	{Name: "gate1_depolarising", Max: 1, Meaning: "q in ρ → (1−q)ρ + q·I/2"},
	{Name: "gate2_time", Kind: Time, Max: 3600, Meaning: "of a gate of two qubits"},
	{Name: "gate2_depolarising", Max: 1, Meaning: "q in ρ → (1−q)ρ + q·I/4"},
	{Name: "gate2_dephasing", Max: 0.5, Meaning: "probability of a phase flip of either qubit after a gate of two"},
	{Name: "readout_time", Kind: Time, Max: 3600, Meaning: "to read a communication qubit out"},
	{Name: "readout_error_0", Max: 1, Meaning: "probability that 0 is read as 1"},
	{Name: "readout_error_1", Max: 1, Meaning: "probability that 1 is read as 0"},

	{Name: "storage_t1", Kind: Time, Above: true, Max: 1e12, Default: none, Meaning: "relaxation of storage qubits"},
	{Name: "storage_t2", Kind: Time, Above: true, Max: 1e12, Default: none, Meaning: "coherence of storage qubits"},
	{Name: "storage_stretch", Above: true, Max: 10, Default: none, Meaning: "n in exp(−(t/t2)ⁿ), the decay of the coherence of storage qubits"},
	{Name: "storage_init_time", Kind: Time, Max: 3600, Default: none, Meaning: "to initialise a storage qubit"},
	{Name: "storage_init_depolarising", Max: 1, Default: none, Meaning: "q in (1−q)|0⟩⟨0| + q·I/2"},
	{Name: "storage_gate1_time", Kind: Time, Max: 3600, Default: none, Meaning: "of a gate of a storage qubit alone"},
	{Name: "storage_gate1_depolarising", Max: 1, Default: none, Meaning: "q in ρ → (1−q)ρ + q·I/2"},

	{Name: "attempts_1e", Above: true, Max: 1e12, Default: none, Meaning: "attempts after which a storage qubit has 1/e of its coherence; unlimited unless given"},
	{Name: "coupling_rate", Kind: Frequency, Max: 1e9, Default: none, Meaning: "Δω/2π between an electron spin and the nuclear spin that stores, instead of attempts_1e"},
	{Name: "reset_std", Kind: Time, Max: 1, Default: none, Meaning: "by which the time of the electron's reset varies, with coupling_rate"},
}

// Device is a device as its parameters give it.
type Device struct {
	// Spec is what protocols are told. It has no lanes: they belong to a network.
	Spec physical.Spec
	// Communication and Storage say how the states of the qubits decay.
	Communication, Storage state.Decay
	// DephasingA and DephasingB are the probabilities that one attempt flips the
	// phase of a storage qubit at either end of the preset's own link; see Dephasing.
	DephasingA, DephasingB herald.AttemptDephasing
}

// Device returns the device that p describes, a perfect one if it describes
// none.
func (p *Preset) Device() *Device {
	g := given{deviceParams, p.Values}
	d := &Device{Spec: physical.Spec{
		Storage: int(g.number("storage")),
		Init:    duration(g.number("init_time")), Gate1: duration(g.number("gate1_time")),
		Gate2: duration(g.number("gate2_time")), Readout: duration(g.number("readout_time")),
		T1: g.orZero("t1"), T2: g.orZero("t2"),
		Communication: int(g.orZero("communication")),
		Serial:        g.truth("serial"),
	}}
	s := &d.Spec
	if g.text("coupling") == "star" {
		s.Coupling = physical.CouplingStar
	}
	s.Noise.Gate2Depolarising = g.number("gate2_depolarising")
	s.Noise.Gate2Dephasing = g.number("gate2_dephasing")
	s.Noise.QubitNoise = physical.QubitNoise{
		InitDepolarising:  g.number("init_depolarising"),
		Gate1Depolarising: g.number("gate1_depolarising"),
		ReadoutError:      physical.ReadoutError{g.number("readout_error_0"), g.number("readout_error_1")},
	}
	d.Communication = state.Decay{T1: s.T1, T2: s.T2, Stretch: g.number("stretch")}
	d.Storage = d.Communication
	if g.differs() {
		m := &physical.Memory{
			Init:    duration(g.or("storage_init_time", "init_time")),
			Gate1:   duration(g.or("storage_gate1_time", "gate1_time")),
			Readout: s.Readout, T1: s.T1, T2: s.T2,
			Indirect: g.truth("indirect"),
		}
		if g.has("storage_t1") || g.has("storage_t2") {
			m.T1, m.T2 = g.orZero("storage_t1"), g.orZero("storage_t2")
		}
		s.Memory = m
		d.Storage = state.Decay{T1: m.T1, T2: m.T2, Stretch: g.or("storage_stretch", "stretch")}
		s.Noise.Memory = physical.QubitNoise{
			InitDepolarising:  g.or("storage_init_depolarising", "init_depolarising"),
			Gate1Depolarising: g.or("storage_gate1_depolarising", "gate1_depolarising"),
			ReadoutError:      s.Noise.ReadoutError,
		}
	}
	d.DephasingA, d.DephasingB = p.Dephasing(p)
	return d
}

// Dephasing returns the probabilities that one attempt on a link flips the phase
// of a storage qubit of the device p at its end A or B.
func (p *Preset) Dephasing(link *Preset) (a, b herald.AttemptDephasing) {
	g := given{deviceParams, p.Values}
	switch {
	case g.has("attempts_1e"):
		// n is above 0, which is all that is asked of it.
		a, _ = herald.FitAttemptDephasing(g.number("attempts_1e"))
		return a, a
	case g.has("coupling_rate"):
		spin := herald.NuclearSpin{CouplingHz: g.number("coupling_rate"), ResetNS: g.number("reset_std") * 1e9}
		if link.Model == nil || link.Model.Operating != "alpha" {
			const alpha = 0.5 // the emitter ends in either state
			return spin.Dephasing(alpha), spin.Dephasing(alpha)
		}
		l := given{link.Model.Params, link.Values}
		return spin.Dephasing(l.arm("alpha", "a")), spin.Dephasing(l.arm("alpha", "b"))
	}
	return 0, 0
}

// storageParams make storage qubits differ from communication qubits.
var storageParams = []string{"storage_t1", "storage_t2", "storage_stretch", "storage_init_time", "storage_init_depolarising", "storage_gate1_time", "storage_gate1_depolarising", "indirect"}

func (g given) differs() bool {
	for _, name := range storageParams {
		if g.has(name) {
			return true
		}
	}
	return false
}

// or returns a value, or that of another name.
func (g given) or(name, other string) float64 {
	if g.has(name) {
		return g.number(name)
	}
	return g.number(other)
}

// orZero returns a value, 0 when there is none.
func (g given) orZero(name string) float64 {
	if g.has(name) {
		return g.number(name)
	}
	return 0
}

// validateDevice returns the key of what is wrong with the device, and what.
func (p *Preset) validateDevice() (key, problem string) {
	g := given{deviceParams, p.Values}
	for _, kind := range []string{"", "storage_"} {
		stretch := g.or(kind+"stretch", "stretch")
		if t1, t2 := g.number(kind+"t1"), g.number(kind+"t2"); stretch == 1 && t1 > 0 && t2 > 2*t1*(1+1e-12) {
			return "device." + kind + "t2", "want at most 2·t1, here " + seconds(2*t1) + ": relaxation alone costs that much coherence"
		}
	}
	switch {
	case g.has("attempts_1e") && g.has("coupling_rate"):
		return "device.coupling_rate", "want attempts_1e, or coupling_rate and reset_std, not both"
	case g.has("coupling_rate") != g.has("reset_std"):
		return "device.reset_std", "coupling_rate and reset_std go together: give both, or attempts_1e"
	case g.has("coupling_rate") && (p.Model == nil || p.Model.Operating != "alpha"):
		return "device.coupling_rate", "what an attempt does depends on the bright-state population, which only the model single-click has: give attempts_1e"
	}
	if g.number("storage") == 0 {
		for _, name := range storageParams {
			if g.has(name) {
				return "device." + name, "there are no storage qubits: give storage too"
			}
		}
	}
	return "", ""
}

// duration converts seconds, rounded to a nanosecond.
func duration(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

// seconds formats a time for people.
func seconds(s float64) string {
	for _, u := range []struct {
		scale float64
		name  string
	}{{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}} {
		if s >= u.scale {
			return strconv.FormatFloat(s/u.scale, 'g', 4, 64) + " " + u.name
		}
	}
	return strconv.FormatFloat(s*1e9, 'g', 4, 64) + " ns"
}
