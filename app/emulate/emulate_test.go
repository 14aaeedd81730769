package emulate_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"qstack/app/emulate"
	"qstack/physical/preset"
	"qstack/qnet"
)

func load(t *testing.T, name string, set ...string) *preset.Preset {
	t.Helper()
	l, err := preset.Open()
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Load(name)
	if err == nil && len(set) > 0 {
		p, err = p.With(set...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func run(t *testing.T, p *preset.Preset, o emulate.Options) *emulate.Report {
	t.Helper()
	r, err := emulate.Run(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every preset whose link heralds pairs delivers what its model says: the rate,
// the fidelity, each correlation, how often each Bell state is announced, all
// within five standard errors. A false alarm in any of some 300 comparisons has
// probability below 2e-4 for one seed; the seed is fixed.
func TestPresetsAgree(t *testing.T) {
	l, err := preset.Open()
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, p := range l.Presets() {
		t.Run(p.Name, func(t *testing.T) {
			if k, err := p.Link(); err != nil || k.Model == nil {
				if _, err := emulate.Run(t.Context(), p, emulate.Options{Pairs: 1000}); !errors.Is(err, qnet.ErrUnsupported) {
					t.Errorf("no heralded pairs: error %v, want %v", err, qnet.ErrUnsupported)
				}
				return
			}
			ran++
			r := run(t, p, emulate.Options{Pairs: 20_000, Kept: 100, Seed: 3})
			if !r.Agrees {
				var b strings.Builder
				if err := r.WriteTable(&b); err != nil {
					t.Fatal(err)
				}
				t.Error(b.String())
			}
		})
	}
	if ran < 20 {
		t.Errorf("%d presets were run", ran)
	}
}

// Numbers that are not the emulation's: the golden figures of LAB. With five
// standard errors of so many pairs, 0.004, phase noise or double excitation that
// were left out (each 0.03 and more) would show.
func TestLab(t *testing.T) {
	r := run(t, load(t, "nv-lab"), emulate.Options{Pairs: 1_000_000, Seed: 4})
	if f := r.Fidelity; math.Abs(f.Measured-0.8197) > 5*f.StdErr+0.004 || f.StdErr > 0.0012 {
		t.Errorf("fidelity %+v, want 0.8197 less what the read-out's 3.7 µs cost (0.003)", f)
	}
	if r.Oracle == nil || math.Abs(r.Oracle.Measured-0.8197) > 1e-4 {
		t.Errorf("the oracle says %+v, want 0.8197", r.Oracle)
	}
	// 1/(10.12 µs / 7.173e-5) = 7.088/s
	if math.Abs(r.Rate.Measured-7.088) > 5*r.Rate.StdErr+0.001 {
		t.Errorf("rate %+v, want 7.088/s", r.Rate)
	}
}

// QL2020 does not wait for its heralds: what is measured is what was emitted,
// while a pair that is kept has waited for 145 µs of 1 ms. The error rates of the
// read-out bits are those of the published set of parameters: 0.177, 0.177 and
// 0.156 in X, Y and Z before 3.7 µs of read-out.
func TestPipelined(t *testing.T) {
	r := run(t, load(t, "nv-ql2020"), emulate.Options{Pairs: 300_000, Seed: 4})
	if !r.Agrees || math.Abs(r.Raw.Measured-0.7450) > 5*r.Raw.StdErr+0.004 || r.Raw.StdErr > 0.002 {
		t.Errorf("as read %+v, want 0.7450 less what the read-out's 3.7 µs cost (0.003)", r.Raw)
	}
	if r.Oracle == nil || math.Abs(r.Oracle.Measured-0.6966) > 1e-4 {
		t.Errorf("the oracle says %+v of kept pairs, want 0.6966", r.Oracle)
	}
	if math.Abs(r.Rate.Measured-8.0496) > 5*r.Rate.StdErr+0.001 {
		t.Errorf("rate %+v, want 8.0496/s: nothing waits", r.Rate)
	}
}

// A link that is not as its model says is told apart. The read-out of the data
// sheet is what the outcomes are corrected by.
func TestDisagreement(t *testing.T) {
	p := load(t, "ion-2020")
	same := run(t, p, emulate.Options{Pairs: 10_000, Seed: 5})
	worse := run(t, load(t, "ion-2020", "visibility=0.8"), emulate.Options{Pairs: 10_000, Seed: 5})
	if d := same.Fidelity.Measured - worse.Fidelity.Measured; math.Abs(d-0.04) > 5*math.Hypot(same.Fidelity.StdErr, worse.Fidelity.StdErr) {
		t.Errorf("a visibility lower by 0.08 costs %v, want 0.04", d)
	}
	noisy := run(t, load(t, "ion-2020", "readout_error_0=0.1", "readout_error_1=0.02"), emulate.Options{Pairs: 30_000, Seed: 5})
	if !noisy.Agrees || noisy.Raw.Measured > 0.85 || math.Abs(noisy.Fidelity.Measured-0.94) > 5*noisy.Fidelity.StdErr {
		t.Errorf("with a bad read-out: raw %+v, corrected %+v, want 0.94 (agrees: %v)", noisy.Raw, noisy.Fidelity, noisy.Agrees)
	}
}

// The same seed gives the same report, another one another.
func TestSeed(t *testing.T) {
	text := func(seed uint64) string {
		r := run(t, load(t, "nv-2018-hf"), emulate.Options{Pairs: 1000, Seed: seed})
		r.WallS, r.Seed = 0, 0
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b := text(1), text(1); a != b {
		t.Errorf("the same seed gave\n%s\n%s", a, b)
	}
	if text(1) == text(2) {
		t.Error("two seeds gave the same")
	}
}

// What can not be run is refused, and a run can be ended.
func TestRefused(t *testing.T) {
	p := load(t, "ion-2020")
	if _, err := emulate.Run(t.Context(), p, emulate.Options{Pairs: 10}); !errors.Is(err, qnet.ErrInvalid) {
		t.Errorf("10 pairs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := emulate.Run(ctx, p, emulate.Options{Pairs: 1000}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Links on which light is prepared and measured give the gains and error rates of
// their models, whatever the number of events.
func TestPulses(t *testing.T) {
	for _, name := range []string{"decoy-reference", "tf-reference"} {
		for _, n := range []int{100, 10_000, 10_000_000} {
			r, err := emulate.RunPulses(load(t, name), n, 6)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Agrees {
				t.Errorf("%s: %+v", name, r)
			}
			if d := r.Rate.Measured * r.Seconds; math.Abs(d-float64(n)) > 6*math.Sqrt(float64(n)) {
				t.Errorf("%s: %g detections, asked for %d", name, d, n)
			}
		}
	}
	if _, err := emulate.RunPulses(load(t, "ion-2020"), 1000, 1); !errors.Is(err, qnet.ErrUnsupported) {
		t.Errorf("a link that makes pairs: %v", err)
	}
}
