package herald_test

import (
	"math"
	"testing"

	"qstack/physical/herald"
	"qstack/qnet"
)

// nvLink returns a nitrogen-vacancy link of Dahlberg et al. (SIGCOMM 2019) with
// bright-state population alpha at both ends: LAB, 2 m long without conversion,
// or QL2020, 25 km long with cavities and conversion.
func nvLink(name string, alpha float64) herald.SingleClick {
	const (
		detector = 0.8
		darkRate = 20    // Hz
		window   = 25e-9 // s
	)
	// Worked back from a measured 3.5e-4 in all over 1 m of fibre at 5 dB/km.
	collection := 3.5e-4 / (0.03 * 0.8) * math.Pow(10, 0.005)
	fibre := func(dBPerKM, km float64) float64 { return math.Pow(10, -dBPerKM*km/10) }
	m := herald.SingleClick{
		// Not by Expm1: the published figures have the rounding of 1-exp in them,
		// 1.4e-12 of the fidelity.
		AlphaA: alpha, AlphaB: alpha, Visibility: 0.9, DarkCount: 1 - math.Exp(-window*darkRate), PeriodNS: 10120,
	}
	switch name {
	case "LAB":
		m.EtaA = 0.03 * collection * fibre(5, 1e-3) * detector
		m.EtaB = m.EtaA
	case "QL2020":
		m.EtaA = 0.46 * collection * 0.3 * fibre(0.5, 10) * detector
		m.EtaB = 0.46 * collection * 0.3 * fibre(0.5, 15) * detector
	}
	return m
}

func nvEstimate(name string, alpha float64) herald.HeraldingOnly {
	return herald.HeraldingOnly{SingleClick: nvLink(name, alpha)}
}

// nearFigure checks a figure that was printed with the last digit worth unit.
func nearFigure(t *testing.T, what string, got, want, unit float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 0.51*unit) {
		t.Errorf("%s is %.15g, want %.15g to %g", what, got, want, unit)
	}
}

// What the simulation code of Dahlberg et al. computes of its two links.
func TestHeraldingOnlyFigures(t *testing.T) {
	f := func(name string, alpha float64) float64 { return herald.Fidelity(nvEstimate(name, alpha)) }
	p := func(name string, alpha float64) float64 { return nvEstimate(name, alpha).SuccessProbability() }

	if got, want := f("LAB", 0.1), 0.86714237235347; math.Abs(got/want-1) > 1e-12 {
		t.Errorf("LAB: F(0.1) is %.16g, want %.16g", got, want)
	}
	nearFigure(t, "LAB: detection efficiency", nvLink("LAB", 0).EtaA, 3.5365e-4, 1e-8)
	nearFigure(t, "QL2020: detection efficiency of A", nvLink("QL2020", 0).EtaA, 5.1502e-4, 1e-8)
	nearFigure(t, "QL2020: detection efficiency of B", nvLink("QL2020", 0).EtaB, 2.8962e-4, 1e-8)
	nearFigure(t, "LAB: F(0.05)", f("LAB", 0.05), 0.9027, 1e-4)
	nearFigure(t, "LAB: F(0.3)", f("LAB", 0.3), 0.68080, 1e-5)
	nearFigure(t, "LAB: p(0.1)", p("LAB", 0.1), 7.17277e-5, 1e-10)
	nearFigure(t, "QL2020: F(0.05)", f("QL2020", 0.05), 0.8879, 1e-4)
	nearFigure(t, "QL2020: F(0.1)", f("QL2020", 0.1), 0.8515, 1e-4)
	nearFigure(t, "QL2020: F(0.3)", f("QL2020", 0.3), 0.6677, 1e-4)
	nearFigure(t, "QL2020: p(0.1)", p("QL2020", 0.1), 8.146238e-5, 1e-11)
	if got, want := p("QL2020", 0.1)/4, 2.03655949941536e-05; math.Abs(got/want-1) > 1e-12 {
		t.Errorf("QL2020: p(0.1)/4 is %.16g, want %.16g", got, want)
	}
}

// The largest bright-state population of a few whose fidelity is high enough.
func TestHeraldingOnlyChoice(t *testing.T) {
	largest := func(name string, fmin float64, alphas []float64) (at int) {
		at = -1
		for i, a := range alphas {
			if a > 0 && herald.Fidelity(nvEstimate(name, a)) >= fmin {
				at = i
			}
		}
		return at
	}
	for _, c := range []struct {
		fmin float64
		want int
	}{{0.9, -1}, {0.8, 0}, {0.7, 0}, {0.6, 1}} {
		if got := largest("LAB", c.fmin, []float64{0.1, 0.3}); got != c.want {
			t.Errorf("LAB: fidelity %g takes choice %d of 0.1 and 0.3, want %d", c.fmin, got, c.want)
		}
	}
	grid := make([]float64, 100)
	for i := range grid {
		grid[i] = 0.5 * float64(i) / 99
	}
	for _, c := range []struct {
		fmin float64
		i    int
		p    float64
	}{
		{0.60, 73, 2.976395e-4}, {0.65, 63, 2.570063e-4}, {0.70, 52, 2.123090e-4},
		{0.75, 42, 1.716742e-4}, {0.80, 31, 1.269751e-4}, {0.85, 20, 8.227512e-5},
	} {
		if i := largest("QL2020", c.fmin, grid); i != c.i {
			t.Errorf("QL2020: fidelity %g takes choice %d, want %d", c.fmin, i, c.i)
		}
		nearFigure(t, "QL2020: p", nvEstimate("QL2020", grid[c.i]).SuccessProbability(), c.p, math.Pow(10, math.Floor(math.Log10(c.p))-6))
	}
}

// The highest fidelity that the estimator believes in, and where.
func TestHeraldingOnlyMaximum(t *testing.T) {
	for _, c := range []struct {
		name     string
		f, alpha float64
	}{{"LAB", 0.9063, 0.036}, {"QL2020", 0.8926, 0.034}} {
		var best, at float64
		for i := 1; i <= 5000; i++ {
			a := float64(i) * 1e-4
			if f := herald.Fidelity(nvEstimate(c.name, a)); f > best {
				best, at = f, a
			}
		}
		nearFigure(t, c.name+": highest fidelity", best, c.f, 1e-4)
		nearFigure(t, c.name+": its bright-state population", at, c.alpha, 1e-3)
	}
}

// What the links do, of which the estimator takes a dark count for a photon, and
// what the estimator's success probability is worth.
func TestSingleClickAgainstHeraldingOnly(t *testing.T) {
	for _, c := range []struct {
		name string
		f    float64
	}{{"LAB", 0.865953}, {"QL2020", 0.850382}} {
		m := nvLink(c.name, 0.1)
		e := herald.HeraldingOnly{SingleClick: m}
		nearFigure(t, c.name+": F(0.1)", herald.Fidelity(m), c.f, 1e-6)
		if r := m.SuccessProbability() / e.SuccessProbability(); math.Abs(r-1) > 1e-6 {
			t.Errorf("%s: success probability is 1%+g of the estimate", c.name, r-1)
		}
		excess := herald.Fidelity(e) - herald.Fidelity(m)
		if c.name == "LAB" {
			if want := 0.9 * math.Sqrt(0.9) * m.DarkCount / m.EtaA; math.Abs(excess/want-1) > 0.02 {
				t.Errorf("%s: the estimate of the fidelity is %g too high, want %g", c.name, excess, want)
			}
		}
		t.Logf("%s: p %.8g, estimated %.8g; F %.8g, estimated %.8g", c.name, m.SuccessProbability(), e.SuccessProbability(), herald.Fidelity(m), herald.Fidelity(e))

		// Imperfections that the estimator leaves out do not change it.
		noisy := m
		noisy.PhaseStdA, noisy.DoubleExcitationB, noisy.ExtraDephasing, noisy.NumberResolving = 1, 0.5, 0.5, true
		if n := (herald.HeraldingOnly{SingleClick: noisy}); n.SuccessProbability() != e.SuccessProbability() || herald.Fidelity(n) != herald.Fidelity(e) {
			t.Errorf("%s: the estimate depends on what it leaves out", c.name)
		}
	}
}

// The weights of the estimator as they are usually written, evaluated here term
// by term, over both announced states.
func TestHeraldingOnlyClosedForm(t *testing.T) {
	for i := range 1000 {
		rng := qnet.NewRand(uint64(i), "heralding only")
		m := herald.HeraldingOnly{SingleClick: herald.SingleClick{
			AlphaA: rng.Float64(), AlphaB: rng.Float64(), EtaA: rng.Float64(), EtaB: rng.Float64(),
			Visibility: rng.Float64(), DarkCount: rng.Float64(), PeriodNS: 1,
		}}
		a, b, x, y := m.AlphaA, m.AlphaB, m.EtaA, m.EtaB
		q := math.Pow(1-m.DarkCount, 2)
		d := 1 - q
		uu := a * b * (q*(x*(1-y)+y*(1-x)+x*y) + d*(1-x)*(1-y))
		ud := a * (1 - b) * (q*x + d*(1-x))
		du := b * (1 - a) * (q*y + d*(1-y))
		dd := (1 - a) * (1 - b) * d
		p := uu + ud + du + dd
		if got := m.SuccessProbability(); math.Abs(got-p) > 1e-14 {
			t.Fatalf("%+v: success probability %g, want %g", m, got, p)
		}
		off := math.Sqrt(m.Visibility * ud * du)
		if got, want := herald.Fidelity(m), ((ud+du)/2+off)/p; math.Abs(got-want) > 1e-14 {
			t.Fatalf("%+v: fidelity %g, want %g", m, got, want)
		}
		for _, label := range []qnet.BellLabel{qnet.PsiPlus, qnet.PsiMinus} {
			h := find(t, m, label)
			c := off
			if label == qnet.PsiMinus {
				c = -off
			}
			want := [16]float64{0: dd, 5: du, 10: ud, 15: uu, 6: c, 9: c}
			for k := range want {
				if d := real(h.State[k]) - want[k]/p; math.Abs(d) > 1e-14 || imag(h.State[k]) != 0 {
					t.Fatalf("%+v: %v: element %d is %g, want %g", m, label, k, h.State[k], want[k]/p)
				}
			}
		}
	}
}
