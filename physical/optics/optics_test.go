package optics_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"qstack/physical/optics"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// near fails the test unless got is want within a relative tolerance.
func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*math.Abs(want)) {
		t.Errorf("%s is %.17g, want %.17g", what, got, want)
	}
}

func TestTransmission(t *testing.T) {
	for _, c := range []struct{ dB, eta float64 }{{0, 1}, {10, 0.1}, {20, 0.01}, {140, 1e-14}, {-10, 10}, {3.0102999566398120, 0.5}} {
		near(t, "transmission", optics.Transmission(c.dB), c.eta, 1e-14)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		a, b := 150*rng.Float64(), 150*rng.Float64()
		near(t, "loss of a transmission", optics.Loss(optics.Transmission(a)), a, 1e-12)
		near(t, "transmission of two in a row", optics.Transmission(a+b), optics.Transmission(a)*optics.Transmission(b), 1e-13)
	}
}

func TestFibre(t *testing.T) {
	f := optics.Fibre{Length: 50e3, Attenuation: 0.2, Insertion: 3}
	near(t, "loss", f.Loss(), 13, 1e-15)
	near(t, "transmission", f.Transmission(), 0.050118723362727229, 1e-14) // 10^-1.3
	near(t, "delay at the usual speed", f.Delay(), 50e3/qnet.FibreSpeed, 1e-15)
	f.Speed = 2e8
	near(t, "delay", f.Delay(), 250e-6, 1e-15)
	if z := (optics.Fibre{}); z.Transmission() != 1 || z.Delay() != 0 || z.Validate() != nil {
		t.Errorf("no fibre has transmission %g, delay %g, error %v", z.Transmission(), z.Delay(), z.Validate())
	}
}

// Dark counts come at exponential intervals and dead time follows each click
// that is seen: a detector that is simulated click by click. A click that is
// seen hides a Poisson number of others, of mean and variance x=rate·dead time,
// so the number seen of n is a renewal process of variance n·x/(1+x)³. The bound
// is 5 standard errors (false alarm 6e-7), the seed is fixed.
func TestDeadTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	const clicks = 400_000
	for _, rateDead := range []float64{0.01, 0.5, 3} {
		d := optics.Detector{DeadTime: 1e-6}
		rate := rateDead / d.DeadTime
		now, blind, seen := 0.0, 0.0, 0
		for range clicks {
			now += rng.ExpFloat64() / rate
			if now >= blind {
				seen++
				blind = now + d.DeadTime
			}
		}
		live := d.Live(rate)
		if se := math.Sqrt(clicks * rateDead * live * live * live); math.Abs(float64(seen)-clicks*live) > 5*se {
			t.Errorf("rate·dead time %g: %d of %d clicks were seen, want %.0f ± %.0f", rateDead, seen, clicks, clicks*live, se)
		}
	}
	if live := (optics.Detector{}).Live(1e9); live != 1 {
		t.Errorf("without dead time the detector is live for %g of the time", live)
	}
}

func TestDarkProbability(t *testing.T) {
	d := optics.Detector{DarkRate: 100}
	near(t, "dark probability in 1 ns", d.DarkProbability(1e-9), 1e-7-1e-14/2+1e-21/6, 1e-15) // the series
	near(t, "dark probability in 10 ms", d.DarkProbability(1e-2), 1-1/math.E, 1e-15)
	near(t, "dark probability in 1e-16 s", d.DarkProbability(1e-16), 1e-14, 1e-13)
}

// The fractions within a window are the integrals of the densities, by Simpson's
// rule.
func TestWindows(t *testing.T) {
	simpson := func(f func(float64) float64, a, b float64) float64 {
		const n = 2000
		h := (b - a) / n
		sum := f(a) + f(b)
		for i := 1; i < n; i++ {
			sum += f(a+float64(i)*h) * float64(2+2*(i&1))
		}
		return sum * h / 3
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		w, s := 5*rng.Float64(), 0.2+2*rng.Float64()
		near(t, "fraction decayed", optics.Decayed(w, s), simpson(func(t float64) float64 { return math.Exp(-t/s) / s }, 0, w), 1e-9)
		near(t, "fraction within jitter", optics.WithinJitter(w, s), simpson(func(t float64) float64 {
			return math.Exp(-t*t/(2*s*s)) / (s * math.Sqrt(2*math.Pi))
		}, -w/2, w/2), 1e-9)
	}
	near(t, "fraction within two sigma", optics.WithinJitter(4, 1), 0.954499736103642, 1e-13)
	for _, f := range []func(w, s float64) float64{optics.Decayed, optics.WithinJitter} {
		if f(0, 1) != 0 || f(math.Inf(1), 1) != 1 || f(1, 0) != 1 {
			t.Errorf("limits of a window are %g, %g and %g, want 0, 1 and 1", f(0, 1), f(math.Inf(1), 1), f(1, 0))
		}
	}
}

// The bound is the series η+η²/2+η³/3+… in units of ln 2, summed in 200 bits.
func TestRepeaterless(t *testing.T) {
	for _, eta := range []float64{1e-300, 1e-20, 1e-14, 1e-7, 1e-3, 0.1, 0.5} {
		sum, power, x := new(big.Float).SetPrec(200), big.NewFloat(1).SetPrec(200), big.NewFloat(eta)
		for k := 1.0; k < 200; k++ {
			power.Mul(power, x)
			sum.Add(sum, new(big.Float).Quo(power, big.NewFloat(k)))
		}
		want, _ := sum.Float64()
		near(t, "bound", optics.Repeaterless(eta), want/math.Ln2, 4e-16)
	}
	if optics.Repeaterless(0) != 0 || !math.IsInf(optics.Repeaterless(1), 1) {
		t.Errorf("bound is %g at 0 and %g at 1", optics.Repeaterless(0), optics.Repeaterless(1))
	}
}

func TestEntropy(t *testing.T) {
	for _, c := range []struct{ p, h float64 }{{0, 0}, {1, 0}, {0.5, 1}, {0.25, 2 - 0.75*math.Log2(3)}, {0.110027864438, 0.5}} {
		if got := optics.Entropy(c.p); math.Abs(got-c.h) > 1e-11 {
			t.Errorf("entropy of %g is %g, want %g", c.p, got, c.h)
		}
	}
	// For small p it is p·log2(e/p), less p²/(2·ln 2).
	for _, p := range []float64{1e-15, 1e-10, 1e-6} {
		near(t, "entropy", optics.Entropy(p), p*math.Log2(math.E/p)-p*p/(2*math.Ln2), 1e-13)
	}
	for _, p := range []float64{-1e-9, 1.1, math.NaN()} {
		if h := optics.Entropy(p); !math.IsNaN(h) {
			t.Errorf("entropy of %g is %g, want NaN", p, h)
		}
	}
}

func TestValidate(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		err  error
		want string
	}{
		{optics.Fibre{Length: -1}.Validate(), "fibre: length in metres is -1, want from 0 to 1e8"},
		{optics.Fibre{Attenuation: nan}.Validate(), "fibre: attenuation in dB/km is NaN, want from 0 to 1e4"},
		{optics.Fibre{Insertion: math.Inf(1)}.Validate(), "fibre: insertion loss in dB is +Inf, want from 0 to 1000"},
		{optics.Fibre{Speed: 3e8}.Validate(), "fibre: speed of light in m/s is 3e+08, want from 1e8 to 299792458"},
		{optics.Fibre{Speed: nan}.Validate(), "fibre: speed of light in m/s is NaN, want from 1e8"},
		{optics.Detector{Efficiency: 1.2}.Validate(), "detector: efficiency is 1.2, want from 0 to 1"},
		{optics.Detector{DarkRate: -5}.Validate(), "detector: dark counts per second is -5, want from 0 to 1e12"},
		{optics.Detector{DeadTime: 2}.Validate(), "detector: dead time in seconds is 2, want from 0 to 1"},
		{optics.Detector{Jitter: nan}.Validate(), "detector: jitter in seconds is NaN, want from 0 to 1"},
	} {
		qnettest.WantErr(t, c.err, qnet.ErrInvalid, c.want)
	}
	for _, err := range []error{
		optics.Fibre{Length: 1e8, Attenuation: 1e4, Insertion: 1000, Speed: 1e8}.Validate(),
		optics.Detector{Efficiency: 1, DarkRate: 1e12, DeadTime: 1, Jitter: 1}.Validate(),
	} {
		if err != nil {
			t.Error(err)
		}
	}
}
