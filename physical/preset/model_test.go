package preset_test

import (
	"fmt"
	"math"
	"testing"

	"qstack/physical/herald"
	"qstack/physical/optics"
	"qstack/physical/prepare"
	"qstack/physical/satellite"
)

// Every parameter of every model arrives where it belongs: models as they are
// made of presets, with a value of its own for each parameter and arm.
func TestModels(t *testing.T) {
	eta := func(dB float64) float64 { return math.Pow(10, -dB/10) }
	const round = 2 * 15e3 / 2.1e8 * 1e9 // of the herald over the longer arm, in ns
	arms := []string{
		"length_a=10 km", "length_b=15 km", "fibre_speed=210000 km/s", "efficiency_a=0.9", "efficiency_b=0.8", "collection_a=0.7", "collection_b=0.6",
		"conversion_a=0.5", "conversion_b=0.4", "insertion_loss_a=1 dB", "insertion_loss_b=2 dB", "attenuation_a=0.2 dB/km", "attenuation_b=0.3 dB/km", "detector_a=0.85", "detector_b=0.75",
	}
	a, b := 0.9*0.7*0.5*0.85*eta(1+2), 0.8*0.6*0.4*0.75*eta(2+4.5)
	with := func(more ...string) []string { return append(append([]string(nil), arms...), more...) }
	end := func(pairs, eta, write, read, store, life, noise float64) herald.AbsorptiveEnd {
		return herald.AbsorptiveEnd{Pairs: pairs, Eta: eta, Memory: herald.PhotonMemory{Write: write, Read: read, StorageNS: store, LifetimeNS: life, Noise: noise, Gaussian: true}}
	}
	continuous, err := herald.ContinuousSource{
		PairsPerSecond: 2e6, WindowNS: 0.4, JitterNS: 0.05, EtaA: a, EtaB: b, Visibility: 0.97, DarkRateA: 300, DarkRateB: 400, DeadTimeNSA: 20, DeadTimeNSB: 30,
	}.PairSource()
	if err != nil {
		t.Fatal(err)
	}
	single := herald.SingleClick{
		AlphaA: 0.1, AlphaB: 0.2, EtaA: a * 0.3 * -math.Expm1(-25.0/12), EtaB: b * 0.4 * -math.Expm1(-25.0/6), Visibility: 0.91, DarkCount: -math.Expm1(-40 * 25e-9),
		PhaseStdA: 0.1, PhaseStdB: math.Pi / 18, DoubleExcitationA: 0.03, DoubleExcitationB: 0.04, ExtraDephasing: 0.05, NumberResolving: true, PeriodNS: 7000 + round,
	}
	clicks := []string{"zero_phonon_a=0.3", "zero_phonon_b=0.4", "emission_lifetime_a=12 ns", "emission_lifetime_b=6 ns", "window=25 ns", "dark_rate=40 Hz", "visibility=0.91", "number_resolving=true", "local_time=7 us"}
	ones := append([]string{"alpha_a=0.1", "alpha_b=0.2", "phase_std_a=100 mrad", "phase_std_b=10 deg", "double_excitation_a=0.03", "double_excitation_b=0.04", "extra_dephasing=0.05"}, clicks...)
	for _, c := range []struct {
		preset string
		set    []string
		want   herald.Model
	}{
		{"ideal", []string{"probability=0.2", "fidelity=0.8", "attempt_rate=3 kHz"}, herald.Ideal{Probability: 0.2, Fidelity: 0.8, PeriodNS: 1e9 / 3e3}},
		{"ideal", []string{"probability=0.2", "fidelity=0.8", "attempt_time=3 us", "modes=5"}, herald.Multiplexed{Model: herald.Ideal{Probability: 0.2, Fidelity: 0.8, PeriodNS: 3e3}, Modes: 5}},
		{"nv-2018-hf", with(ones...), single},
		{"nv-2018-hf", with(append(ones, "estimator=heralding-only")...), herald.HeraldingOnly{SingleClick: single}},
		{"ion-2020", with(clicks...), herald.DoubleClick{EtaA: single.EtaA, EtaB: single.EtaB, Visibility: 0.91, DarkCount: single.DarkCount, NumberResolving: true, PeriodNS: single.PeriodNS}},
		{"spdc-metro-bristol", with("pair_rate=2 MHz", "visibility=0.97", "window=0.4 ns", "jitter=0.05 ns", "dark_rate_a=300 Hz", "dark_rate_b=400 Hz", "dead_time_a=20 ns", "dead_time_b=30 ns"), continuous},
		{"memory-reference", with("pairs=0.07", "visibility=0.96", "write_a=0.3", "write_b=0.2", "false_load_a=0.001", "false_load_b=0.002", "local_time=7 us"),
			herald.MemorySource{MeanPairs: 0.07, EtaA: a * 0.3, EtaB: b * 0.2, Visibility: 0.96, FalseA: 0.001, FalseB: 0.002, PeriodNS: 7000 + round}},
		{"qd-orca-2024", with("pairs_a=0.1", "pairs_b=0.2", "pair_visibility_a=0.9", "pair_visibility_b=0.8", "write_a=0.3", "write_b=0.4", "read_a=0.5", "read_b=0.6", "storage_time_a=200 us", "storage_time_b=300 us",
			"memory_lifetime_a=1 ms", "memory_lifetime_b=2 ms", "noise_a=0.001", "noise_b=0.002", "gaussian=true", "visibility=0.7", "dark_count=1e-5", "local_time=7 us"),
			herald.Absorptive{A: end(0.1, a, 0.3, 0.5, 2e5, 1e6, 0.001), B: end(0.2, b, 0.4, 0.6, 3e5, 2e6, 0.002), VisibilityA: 0.9, VisibilityB: 0.8, Visibility: 0.7, DarkCount: 1e-5, HeraldNS: round, PeriodNS: 7000 + round}},
	} {
		l, err := load(t, c.preset, c.set...).Link()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := print(l.Model), print(c.want); got != want {
			t.Errorf("%s with %v:\ngot  %s\nwant %s", c.preset, c.set, got, want)
		}
	}
}

// print formats a model with the digits that are not rounding.
func print(m herald.Model) string { return fmt.Sprintf("%T%.11v", m, m) }

func TestDecoy(t *testing.T) {
	d := prepare.DecoyBB84{
		Receiver:    prepare.Receiver{Transmission: 0.9 * math.Pow(10, -1.5), Dark: 1e-6, Misalignment: 0.02},
		Bases:       prepare.Bases{SenderZ: 0.9, ReceiverZ: 0.9},
		Intensities: []prepare.Intensity{{Mean: 0.4, Probability: 0.8}, {Mean: 0.05, Probability: 0.15}, {Probability: 0.05}},
	}
	r := results(t, load(t, "decoy-reference", "pulse_rate=2 GHz", "signal=0.4", "decoy=0.05", "signal_share=0.8", "decoy_share=0.15", "key_basis=0.9", "dark_count=1e-6", "misalignment=0.02", "length=75 km", "correction=1.2"))
	signal := d.Coherent(0.4)
	near(t, "gain", r.SuccessProbability, signal.Gain, 1e-12)
	near(t, "error rate", r.ErrorRate, signal.Error, 1e-12)
	near(t, "key rate", r.KeyRateHz, 2e9*0.8*(0.81+0.01)*d.KeyRate(1.2), 1e-9)
}

// With the same detectors, twin-field has a key at 140 dB where decoy BB84 has
// none, and more than any link without a repeater could have.
func TestTwinField(t *testing.T) {
	tf := results(t, load(t, "tf-reference", "detector=1", "length=700 km"))
	if bound := optics.Repeaterless(1e-14) * 1e9; !(tf.KeyRateHz > bound) {
		t.Errorf("twin-field key rate %g at 140 dB, want above %g", tf.KeyRateHz, bound)
	}
	if r := results(t, load(t, "decoy-reference", "detector=1", "length=700 km")); r.KeyRateHz != 0 {
		t.Errorf("decoy BB84 key rate %g at 140 dB, want none", r.KeyRateHz)
	}
	m := prepare.TwinField{EtaA: 0.9 * 1e-3, EtaB: 0.9 * 1e-2, Dark: 1e-9, Misalignment: 0.02, PhaseOffset: 0.1, PhaseNoise: 0.2}
	r := results(t, load(t, "tf-reference", "length_a=150 km", "length_b=100 km", "dark_count=1e-9", "misalignment=0.02", "phase_offset=0.1 rad", "phase_noise=0.2 rad", "mean=0.02", "key_share=0.5", "correction=1.1"))
	right, wrong := m.Coherent(0.02, 0.02)
	near(t, "gain", r.SuccessProbability, right+wrong, 1e-9)
	near(t, "error rate", r.ErrorRate, wrong/(right+wrong), 1e-9)
	near(t, "key rate", r.KeyRateHz, 1e9*0.5*m.KeyRate(0.02, 0.02, 1.1), 1e-6)
}

func TestSatellite(t *testing.T) {
	pass := func(elevation, culmination float64) satellite.Downlink {
		return satellite.Downlink{
			Pass:         satellite.Pass{Altitude: 500e3, MaxElevation: elevation, Culmination: culmination},
			MinElevation: 15, Wavelength: 810e-9, Waist: 0.1, Divergence: 10e-6, Jitter: 1e-6, Aperture: 1.2, Zenith: 0.8, Loss: 8,
		}
	}
	s := satellite.Source{A: pass(50, 300), B: pass(70, 320), BackgroundA: 500, BackgroundB: 500, Step: 1, Pairs: herald.ContinuousSource{
		PairsPerSecond: 5.9e6, WindowNS: 2.5, EtaA: 0.5, EtaB: 0.5, Visibility: 0.876, DarkRateA: 100, DarkRateB: 100,
	}}
	schedule, err := s.Schedule()
	if err != nil {
		t.Fatal(err)
	}
	r := results(t, load(t, "spdc-sat-micius", "max_elevation_b=70 deg", "culmination_a=300 s", "culmination_b=320 s", "min_elevation=15 deg"))
	near(t, "contact", r.ContactS, schedule[len(schedule)-1].From.Sub(schedule[0].From).Seconds(), 1e-9)
	var pairs, best float64
	for i, g := range schedule[:len(schedule)-1] {
		p := g.Model.SuccessProbability()
		pairs += p / (2.5e-9) * schedule[i+1].From.Sub(g.From).Seconds()
		best = max(best, p)
	}
	near(t, "pairs", r.Pairs, pairs, 1e-9)
	near(t, "best success probability", r.SuccessProbability, best, 1e-9)
}
