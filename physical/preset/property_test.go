package preset_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"qstack/physical/preset"
)

// random returns a value of a parameter as a person types it, within its range.
// Large ranges are covered on a logarithmic scale.
func random(rng *rand.Rand, p *preset.Param) string {
	switch p.Kind {
	case preset.Truth:
		return []string{"true", "false"}[rng.IntN(2)]
	case preset.Choice:
		return p.Choices[rng.IntN(len(p.Choices))]
	case preset.Count:
		return fmt.Sprint(int(p.Min) + rng.IntN(10))
	}
	x := p.Min + (p.Max-p.Min)*rng.Float64()
	if p.Max > 1 && p.Min >= 0 {
		x = math.Pow(10, -9+rng.Float64()*(math.Log10(p.Max)+9))
	}
	x = max(x, p.Min)
	return strings.TrimSpace(fmt.Sprint(x, " ", p.Unit()))
}

// Whatever is accepted of random parameters of each model is physical: a
// probability, a fidelity that waiting does not raise where waiting only
// dephases, and a rate.
func TestRandomParameters(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, m := range preset.Models() {
		accepted := 0
		base := load(t, baseOf(t, m))
		tries := 400
		if m.Name == "satellite" { // a whole pass each
			tries = 40
		}
		for range tries {
			var set []string
			for i := range m.Params {
				p := &m.Params[i]
				if p.Name == "step" || p.Name == "altitude" || p.Name == "length" || p.Name == "length_a" || p.Name == "length_b" || rng.IntN(6) > 0 {
					continue
				}
				set = append(set, p.Name+"="+random(rng, p))
			}
			if m.Name != "satellite" && rng.IntN(2) == 0 {
				set = append(set, fmt.Sprintf("length=%g km", 50*rng.Float64()))
			}
			set = append(set, fmt.Sprintf("t2=%g ms", 1e-3+10*rng.Float64()))
			p, err := base.With(set...)
			if err != nil {
				continue
			}
			accepted++
			r, err := p.Results()
			if err != nil {
				t.Fatalf("%s: %v: %v", m.Name, set, err)
			}
			in := func(x, lo, hi float64) bool { return x >= lo && x <= hi }
			if !in(r.SuccessProbability, 0, 1) || !in(r.Fidelity, 0, 1+1e-12) || !in(r.FidelityDelivered, 0, r.Fidelity+1e-9) && r.FidelityDelivered > 0.5 ||
				!in(r.ErrorRate, 0, 1) || !in(r.KeyRateHz, 0, math.MaxFloat64) || !in(r.RateHz, 0, math.MaxFloat64) || !in(r.EfficiencyA, 0, 1) || !in(r.EfficiencyB, 0, 1) || !in(r.AttemptS, 1e-13, 1e10) {
				t.Errorf("%s with %v: %+v", m.Name, set, r)
			}
		}
		if accepted < tries/20 {
			t.Errorf("%s: only %d of %d random presets are valid", m.Name, accepted, tries)
		}
	}
}

// baseOf returns the name of a preset of the model.
func baseOf(t *testing.T, m *preset.Model) string {
	t.Helper()
	for _, p := range open(t).Presets() {
		if p.Model == m {
			return p.Name
		}
	}
	t.Fatalf("no preset has the model %s", m.Name)
	panic("unreachable")
}
