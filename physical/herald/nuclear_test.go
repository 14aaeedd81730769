package herald_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// The three nuclear spins of the simulation of Dahlberg et al. (SIGCOMM 2019),
// and one with a faster reset.
func TestNuclearSpinFigures(t *testing.T) {
	for _, c := range []struct {
		spin     herald.NuclearSpin
		p, unit  float64
		attempts float64 // until 1/e, the first whole number
	}{
		{herald.NuclearSpin{CouplingHz: 377e3, ResetNS: 263}, 8.8e-3, 1e-4, 57},
		{herald.NuclearSpin{CouplingHz: 62e3, ResetNS: 837}, 2.6e-3, 1e-4, 193},
		{herald.NuclearSpin{CouplingHz: 77e3, ResetNS: 640}, 2.3e-3, 1e-4, 214},
	} {
		p := c.spin.Dephasing(0.1)
		nearFigure(t, "dephasing per attempt", float64(p), c.p, c.unit)
		if got := math.Ceil(p.Lifetime()); got != c.attempts {
			t.Errorf("%+v: 1/e after %g attempts, want %g", c.spin, got, c.attempts)
		}
	}
	fast := herald.NuclearSpin{CouplingHz: 77e3, ResetNS: 163}.Dephasing(0.1)
	nearFigure(t, "dephasing per attempt", float64(fast), 1.6e-4, 1e-5)
	nearFigure(t, "attempts to 1/e", fast.Lifetime(), 3200, 100)
}

// The closed form against the physics: after each attempt the electron was
// bright, with probability α, for a time whose normal distribution is integrated
// numerically; the coherence of n attempts is summed over how many were bright.
func TestNuclearSpinIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(30, 1))
	for range 300 {
		n := herald.NuclearSpin{CouplingHz: 1e6 * rng.Float64(), ResetNS: 1000 * rng.Float64()}
		alpha, attempts := rng.Float64(), 1+rng.IntN(60)

		const steps, reach = 2000, 9.0 // of the normal distribution, in standard deviations
		var bright, norm float64
		for i := -steps; i <= steps; i++ {
			x := reach * float64(i) / steps
			w := math.Exp(-x * x / 2)
			norm += w
			bright += w * math.Cos(2*math.Pi*n.CouplingHz*x*n.ResetNS*1e-9)
		}
		bright /= norm
		var want float64
		for k := range attempts + 1 {
			lg := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
			ways := math.Exp(lg(attempts) - lg(k) - lg(attempts-k))
			want += ways * math.Pow(alpha, float64(k)) * math.Pow(1-alpha, float64(attempts-k)) * math.Pow(bright, float64(k))
		}
		p := n.Dephasing(alpha)
		if err := p.Validate(); err != nil {
			t.Fatalf("%+v: %v", n, err)
		}
		if got := p.Coherence(uint64(attempts)); math.Abs(got-want) > 1e-12 {
			t.Errorf("%+v, α=%g: coherence after %d attempts is %g, want %g", n, alpha, attempts, got, want)
		}
	}
}

func TestAttemptDephasing(t *testing.T) {
	for _, n := range []float64{0.01, 0.5, 1, 57, 1800, 5300, 1e9, 1e15} {
		p, err := herald.FitAttemptDephasing(n)
		if err != nil || p.Validate() != nil {
			t.Fatalf("%g attempts: %v, %v", n, err, p.Validate())
		}
		if got := p.Lifetime(); math.Abs(got/n-1) > 1e-12 && n >= 0.5 {
			t.Errorf("%g attempts: fit lives for %g", n, got)
		}
		if n >= 1 {
			if got := p.Coherence(uint64(n)); math.Abs(got-1/math.E) > 1e-12 {
				t.Errorf("%g attempts leave coherence %g, want 1/e", n, got)
			}
		}
	}
	none, worst := herald.AttemptDephasing(0), herald.AttemptDephasing(0.5)
	if got := none.Lifetime(); !math.IsInf(got, 1) {
		t.Errorf("no dephasing lives for %g", got)
	}
	if a, b, c := none.Coherence(1e18), worst.Coherence(0), worst.Coherence(1); a != 1 || b != 1 || c != 0 {
		t.Errorf("coherences %g, %g and %g, want 1, 1 and 0", a, b, c)
	}
	if p := (herald.NuclearSpin{CouplingHz: 1e300, ResetNS: 1e300}).Dephasing(1); p != 0.5 {
		t.Errorf("all phases, always bright: dephasing %g, want 1/2", p)
	}
	if p := (herald.NuclearSpin{CouplingHz: 1, ResetNS: 1}).Dephasing(0.5); math.Abs(float64(p)/(0.25*math.Pow(2*math.Pi*1e-9, 2)/2)-1) > 1e-12 {
		t.Errorf("small phases: dephasing %g is not αφ²/4", p)
	}
}

func TestNuclearSpinValidate(t *testing.T) {
	if err := (herald.NuclearSpin{}).Validate(); err != nil {
		t.Error(err)
	}
	qnettest.WantErr(t, herald.NuclearSpin{CouplingHz: -1}.Validate(), qnet.ErrInvalid, "nuclear spin: coupling in hertz is -1, want finite and at least 0")
	qnettest.WantErr(t, herald.NuclearSpin{ResetNS: math.NaN()}.Validate(), qnet.ErrInvalid, "nuclear spin: deviation of the reset time in nanoseconds is NaN, want finite and at least 0")
	qnettest.WantErr(t, herald.AttemptDephasing(0.6).Validate(), qnet.ErrInvalid, "stored qubit: dephasing probability per attempt is 0.6, want from 0 to 0.5")
	_, err := herald.FitAttemptDephasing(0)
	qnettest.WantErr(t, err, qnet.ErrInvalid, "stored qubit: number of attempts to 1/e of its coherence is 0, want above 0")
}
