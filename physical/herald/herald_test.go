package herald_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

var _ = []herald.Model{herald.Ideal{}, herald.DoubleClick{}}

// The published and derived figures of double-click links. LAB and QL2020 are
// the two nitrogen-vacancy links of Dahlberg et al. (SIGCOMM 2019), with the
// formulas worked out by hand.
func TestDoubleClickFigures(t *testing.T) {
	for _, c := range []struct {
		name string
		m    herald.DoubleClick
		p, f float64
		tolP float64
	}{
		{"LAB", herald.DoubleClick{EtaA: 3.5365e-4, EtaB: 3.5365e-4, Visibility: 0.9, DarkCount: 5e-7}, 6.32e-8, 0.942, 0.005e-8},
		{"QL2020", herald.DoubleClick{EtaA: 5.1502e-4, EtaB: 2.8962e-4, Visibility: 0.9, DarkCount: 5e-7}, 7.54e-8, 0.943, 0.005e-8},
		{"perfect", herald.DoubleClick{EtaA: 1, EtaB: 1, Visibility: 1}, 0.5, 1, 1e-15},
		{"distinguishable", herald.DoubleClick{EtaA: 0.2, EtaB: 0.4}, 0.04, 0.5, 1e-15},
		{"dark counts only", herald.DoubleClick{DarkCount: 0.5}, 0.25, 0.25, 1e-15},
	} {
		if p := c.m.SuccessProbability(); math.Abs(p-c.p) > c.tolP {
			t.Errorf("%s: success probability %g, want %g", c.name, p, c.p)
		}
		if f := herald.Fidelity(c.m); math.Abs(f-c.f) > 0.0005 {
			t.Errorf("%s: fidelity %g, want %g", c.name, f, c.f)
		}
	}
}

// The closed form as it is usually written, evaluated here term by term.
func TestDoubleClickClosedForm(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		m := herald.DoubleClick{EtaA: rng.Float64(), EtaB: rng.Float64(), Visibility: rng.Float64(), DarkCount: 0.9 * rng.Float64(), NumberResolving: rng.IntN(2) == 0}
		a, b, v, pd, q, h := m.EtaA, m.EtaB, m.Visibility, m.DarkCount, 1-m.DarkCount, 1.0
		if m.NumberResolving {
			h = 0
		}
		A := a * b * q * q
		B := (a + b - 2*a*b) * 2 * pd * q * q
		C := (1 - a) * (1 - b) * 4 * pd * pd * q * q
		E := 2 * pd * q * (h*a*b*(1+v)*q/2 + (a+b-2*a*b)*q + (1-a)*(1-b)*2*pd*q)
		p := (A + B + C + E) / 2
		f := (A*(1+v)/2 + (B+C)/2) / (2 * p)
		if got := m.SuccessProbability(); math.Abs(got-p) > 1e-14 {
			t.Errorf("%+v: success probability %g, want %g", m, got, p)
		}
		if got := herald.Fidelity(m); math.Abs(got-f) > 1e-14 {
			t.Errorf("%+v: fidelity %g, want %g", m, got, f)
		}
	}
}

// labels are the heralds of the reference: different detectors, same detector.
var labels = [2]qnet.BellLabel{qnet.PsiMinus, qnet.PsiPlus}

// bell has the four Bell states as real amplitudes of 00, 01, 10, 11.
var bell = [4][4]float64{
	qnet.PhiPlus:  {math.Sqrt2 / 2, 0, 0, math.Sqrt2 / 2},
	qnet.PhiMinus: {math.Sqrt2 / 2, 0, 0, -math.Sqrt2 / 2},
	qnet.PsiPlus:  {0, math.Sqrt2 / 2, math.Sqrt2 / 2, 0},
	qnet.PsiMinus: {0, math.Sqrt2 / 2, -math.Sqrt2 / 2, 0},
}

// Every element of the heralded states, not only their fidelity, is that of the
// photons, with detectors of either kind.
func TestDoubleClickStateIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range 2000 {
		r := photonic{etaA: rng.Float64(), etaB: rng.Float64(), visibility: rng.Float64(), dark: 0.5 * rng.Float64(), numberResolving: i%2 == 0}
		m := model(r)
		var p float64
		rho := r.exact()
		for k, label := range labels {
			var trace float64
			for i := range 4 {
				trace += rho[k][i][i]
			}
			p += trace
			h := find(t, m, label)
			if got := h.P * m.SuccessProbability(); math.Abs(got-trace) > 1e-14 {
				t.Fatalf("%+v: %v has probability %g, want %g", r, label, got, trace)
			}
			for i := range 4 {
				for j := range 4 {
					got, want := h.State[4*i+j], rho[k][i][j]/trace
					if math.Abs(real(got)-want) > 1e-13 || imag(got) != 0 {
						t.Fatalf("%+v: %v: ρ[%d,%d] is %g, want %g", r, label, i, j, got, want)
					}
				}
			}
		}
		if got := m.SuccessProbability(); math.Abs(got-p) > 1e-14 {
			t.Fatalf("%+v: success probability %g, want %g", r, got, p)
		}
	}
}

func model(r photonic) herald.DoubleClick {
	return herald.DoubleClick{EtaA: r.etaA, EtaB: r.etaB, Visibility: r.visibility, DarkCount: r.dark, NumberResolving: r.numberResolving, PeriodNS: 1}
}

func find(t *testing.T, m herald.Model, l qnet.BellLabel) *herald.Herald {
	t.Helper()
	for _, h := range m.Heralds() {
		if h.Label == l {
			return &h
		}
	}
	t.Fatalf("no herald %v", l)
	panic("unreachable")
}

// Skipping failed attempts has the distribution of making them: the number of
// attempts, the label and the correlations of the pair. Each comparison raises a
// false alarm with probability below 1e-6 (chi-square) or 6e-7 (5 standard
// errors); the seed is fixed.
func TestSkippingEqualsAttempts(t *testing.T) {
	const pairs = 60_000
	for i, r := range []photonic{
		{etaA: 0.5, etaB: 0.3, visibility: 0.7, dark: 0.05},
		{etaA: 0.6, etaB: 0.6, visibility: 0.9, dark: 0.1, numberResolving: true},
		{etaA: 0.4, etaB: 0.8, visibility: 0.3},
	} {
		t.Run(fmt.Sprintf("%+v", r), func(t *testing.T) {
			l := newLab(r, rand.New(rand.NewPCG(uint64(i), 3)))
			m := model(r)
			s, err := herald.NewSampler(m)
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(uint64(i), 4))

			const bins = 40
			var looped, skipped [bins]int
			var loopedKind, skippedKind [2]int
			var corr, num [2][3]float64
			for range pairs {
				n, success, same, qubits := 0, false, false, [4]float64{}
				for !success {
					n++
					success, same, qubits = l.attempt()
				}
				looped[min(n, bins)-1]++
				k := int(pick(same, 1, 0))
				loopedKind[k]++

				axis := l.rng.IntN(3) // both qubits measured along it
				e := pick(l.rng.Float64() < (1+correlation(qubits, axis))/2, 1, -1)
				corr[k][axis] += e
				num[k][axis]++

				skipped[min(s.Attempts(rng), bins)-1]++
				if s.Heralds()[s.Herald(rng)].Label == labels[1] {
					skippedKind[1]++
				} else {
					skippedKind[0]++
				}
			}
			p := m.SuccessProbability()
			var want [bins]float64
			for n := range want {
				want[n] = p * math.Pow(1-p, float64(n))
			}
			want[bins-1] = math.Pow(1-p, bins-1)
			qnettest.Fit(t, "attempts made", looped[:], want[:])
			qnettest.Fit(t, "attempts skipped", skipped[:], want[:])
			half := []float64{0.5, 0.5}
			qnettest.Fit(t, "heralds of attempts made", loopedKind[:], half)
			qnettest.Fit(t, "heralds drawn", skippedKind[:], half)
			for k, label := range labels {
				w := find(t, m, label).State.Weights()
				for axis := range 3 {
					var e float64
					for x := range bell {
						e += w[x] * correlation(bell[x], axis)
					}
					got := corr[k][axis] / num[k][axis]
					if se := math.Sqrt((1 - e*e) / num[k][axis]); math.Abs(got-e) > 5*se {
						t.Errorf("%v: correlation along axis %d is %.4f, want %.4f ± %.4f", label, axis, got, e, se)
					}
				}
			}
		})
	}
}

// For small p the number of attempts is as good as exponential: its quantiles
// are, and its last bit is a fair coin. False alarms below 1e-6.
func TestAttemptsSmallProbability(t *testing.T) {
	const n = 100_000
	for _, p := range []float64{1e-3, 1e-6, 1e-9, 1e-12, 1e-15} {
		s, err := herald.NewSampler(herald.Ideal{Probability: p, Fidelity: 1, PeriodNS: 1})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(5, 5))
		var decile [10]int
		var parity [2]int
		var want [10]float64
		for i := range want {
			want[i] = 0.1
		}
		for range n {
			k := s.Attempts(rng)
			u := -math.Expm1(float64(k) * math.Log1p(-p)) // 1-(1-p)^k
			decile[min(int(10*u), 9)]++
			parity[k%2]++
		}
		if p < 1e-4 { // else the steps of k show
			qnettest.Fit(t, fmt.Sprintf("p=%g: deciles", p), decile[:], want[:])
		}
		odd := 1 / (2 - p) // sum of the odd terms
		qnettest.Fit(t, fmt.Sprintf("p=%g: parity", p), parity[:], []float64{1 - odd, odd})
	}
}

func TestAttemptsExtremes(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	always, err := herald.NewSampler(herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1})
	if err != nil {
		t.Fatal(err)
	}
	never, err := herald.NewSampler(herald.Ideal{Probability: 1e-300, Fidelity: 1, PeriodNS: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if n := always.Attempts(rng); n != 1 {
			t.Fatalf("p=1: %d attempts, want 1", n)
		}
		if n := never.Attempts(rng); n != math.MaxUint64 {
			t.Fatalf("p=1e-300: %d attempts, want saturation", n)
		}
	}
}

// oneNumber is a random stream of one number.
type oneNumber uint64

func (n oneNumber) Uint64() uint64 { return uint64(n) }

// Attempts inverts the exponential distribution to full precision at both of its
// ends and between them, for any number that the random stream may give.
func TestAttemptsInvert(t *testing.T) {
	const p = 1e-18
	s, err := herald.NewSampler(herald.Ideal{Probability: p, Fidelity: 1, PeriodNS: 1})
	if err != nil {
		t.Fatal(err)
	}
	check := func(x uint64) {
		var e float64
		if x < 1<<63 {
			e = -math.Log1p(-(float64(x) + 0.5) * 0x1p-64)
		} else {
			e = -math.Log((float64(^x) + 0.5) * 0x1p-64)
		}
		want := e/p + 0.5 // within the range that rounds up to n
		if got := float64(s.Attempts(rand.New(oneNumber(x)))); want < math.MaxUint64 && math.Abs(got-want) > 0.5+1e-11+1e-15*want {
			t.Fatalf("random number %#x: %g attempts, want %g", x, got, want)
		} else if want >= math.MaxUint64 && got != math.MaxUint64 {
			t.Fatalf("random number %#x: %g attempts, want as many as fit", x, got)
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 100_000 {
		x := rng.Uint64() >> rng.IntN(64)
		check(x)
		check(^x)
	}
	for _, x := range []uint64{0, 1, 1<<11 - 1, 1 << 11, 1<<41 - 1, 1 << 41, 1<<63 - 1, 1 << 63} {
		check(x)
		check(^x)
	}
}

func TestHeralds(t *testing.T) {
	for _, m := range []herald.Model{
		herald.Ideal{Probability: 0.1, Fidelity: 1},
		herald.Ideal{Probability: 0.1, Fidelity: 0.7, Label: qnet.PsiMinus},
		herald.DoubleClick{EtaA: 0.1, EtaB: 0.2, Visibility: 0.9, DarkCount: 1e-3},
		herald.DoubleClick{EtaA: 0.1, EtaB: 0.2, Visibility: 0.9, DarkCount: 1e-3, NumberResolving: true},
	} {
		var sum float64
		for _, h := range m.Heralds() {
			sum += h.P
			var w float64
			for _, x := range h.State.Weights() {
				if x < 0 {
					t.Errorf("%+v: negative weight in %v", m, h)
				}
				w += x
			}
			if math.Abs(w-1) > 1e-15 {
				t.Errorf("%+v: weights of %v add up to %v", m, h.Label, w)
			}
		}
		if math.Abs(sum-1) > 1e-15 {
			t.Errorf("%+v: probabilities add up to %v", m, sum)
		}
	}
	w := herald.Ideal{Probability: 1, Fidelity: 0.7, Label: qnet.PsiMinus}.Heralds()[0].State.Weights()
	for l, x := range w {
		want := 0.1
		if l == int(qnet.PsiMinus) {
			want = 0.7
		}
		if math.Abs(x-want) > 1e-15 {
			t.Errorf("Werner state: weight of %v is %g, want %g", qnet.BellLabel(l), x, want)
		}
	}
}

// The trapped-ion link of Stephenson et al., Phys. Rev. Lett. 124, 110501
// (2020): success probability 2.18e-4, fidelity 0.940.
func TestFitDoubleClick(t *testing.T) {
	m, err := herald.FitDoubleClick(2.18e-4, 0.940, 1e9/833e3)
	if err != nil {
		t.Fatal(err)
	}
	if p := m.SuccessProbability(); math.Abs(p-2.18e-4) > 1e-18 {
		t.Errorf("success probability %g, want 2.18e-4", p)
	}
	if f := herald.Fidelity(m); math.Abs(f-0.940) > 1e-15 {
		t.Errorf("fidelity %g, want 0.940", f)
	}
	if math.Abs(m.EtaA-0.020881) > 1e-6 || m.EtaB != m.EtaA || math.Abs(m.Visibility-0.88) > 1e-12 {
		t.Errorf("fit is %+v, want η=0.020881 and V=0.88", m)
	}
}

func TestValidate(t *testing.T) {
	fit := func(p, f, period float64) error {
		_, err := herald.FitDoubleClick(p, f, period)
		return err
	}
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		err  error
		want string
	}{
		{herald.Ideal{Probability: 1.5, Fidelity: 1, PeriodNS: 1}.Validate(), "ideal link: success probability is 1.5, want above 0 and at most 1"},
		{herald.Ideal{Probability: 0, Fidelity: 1, PeriodNS: 1}.Validate(), "ideal link: success probability is 0, want above 0 and at most 1"},
		{herald.Ideal{Probability: nan, Fidelity: 1, PeriodNS: 1}.Validate(), "ideal link: success probability is NaN, want above 0"},
		{herald.Ideal{Probability: 1, Fidelity: 0.2, PeriodNS: 1}.Validate(), "ideal link: fidelity is 0.2, want from 0.25 (maximally mixed) to 1"},
		{herald.Ideal{Probability: 1, Fidelity: 1, Label: 4, PeriodNS: 1}.Validate(), "ideal link: label is 4, want one of the four Bell labels 0 to 3"},
		{herald.Ideal{Probability: 1, Fidelity: 1}.Validate(), "ideal link: attempt period in nanoseconds is 0, want above 0 and at most 3.6e12, an hour"},
		{herald.DoubleClick{EtaA: 1.1, EtaB: 1, PeriodNS: 1}.Validate(), "double-click link: detection efficiency of end A is 1.1, want from 0 to 1"},
		{herald.DoubleClick{EtaA: 1, EtaB: -1, PeriodNS: 1}.Validate(), "double-click link: detection efficiency of end B is -1, want from 0 to 1"},
		{herald.DoubleClick{EtaA: 1, EtaB: 1, Visibility: 2, PeriodNS: 1}.Validate(), "double-click link: visibility is 2, want from 0 to 1"},
		{herald.DoubleClick{EtaA: 1, EtaB: 1, DarkCount: 1, PeriodNS: 1}.Validate(), "double-click link: dark count probability is 1, want from 0 to below 1"},
		{herald.DoubleClick{EtaA: 1, EtaB: 1, PeriodNS: inf}.Validate(), "double-click link: attempt period in nanoseconds is +Inf, want"},
		{herald.DoubleClick{EtaA: 1, PeriodNS: 1}.Validate(), "double-click link: detection efficiencies 1 and 0 without dark counts never herald: both must be above 0"},
		{fit(0.6, 1, 1), "double-click link: success probability is 0.6, want above 0 and at most 0.5, the limit of linear optics"},
		{fit(0.1, 0.4, 1), "double-click link: fidelity is 0.4, want from 0.5 (distinguishable photons) to 1"},
		{fit(0.1, 0.9, -1), "double-click link: attempt period in nanoseconds is -1, want"},
	} {
		if !errors.Is(c.err, qnet.ErrInvalid) || !strings.HasPrefix(c.err.Error(), c.want) {
			t.Errorf("error %v (code %v), want %q with code %v", c.err, qnet.CodeOf(c.err), c.want, qnet.ErrInvalid)
		}
	}
	for _, m := range []herald.Model{herald.Ideal{}, nil} {
		if _, err := herald.NewSampler(m); !errors.Is(err, qnet.ErrInvalid) {
			t.Errorf("sampler of %v: %v", m, err)
		}
	}
}

func BenchmarkAttempts(b *testing.B) {
	s, err := herald.NewSampler(herald.Ideal{Probability: 2.18e-4, Fidelity: 1, PeriodNS: 1})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		s.Attempts(rng)
	}
}
