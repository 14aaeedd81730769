package herald_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

var _ = []herald.Model{herald.SingleClick{}, herald.HeraldingOnly{}, herald.Multiplexed{}}

// singleClick returns the model of the link of a reference.
func singleClick(l clickLink) herald.SingleClick {
	return herald.SingleClick{
		AlphaA: l.alpha[0], AlphaB: l.alpha[1], EtaA: l.eta[0], EtaB: l.eta[1],
		Visibility: l.visibility, DarkCount: l.dark, PhaseStdA: l.phaseStd[0], PhaseStdB: l.phaseStd[1],
		DoubleExcitationA: l.double[0], DoubleExcitationB: l.double[1], ExtraDephasing: l.dephasing,
		NumberResolving: l.numberResolving, PeriodNS: 1,
	}
}

// randomClickLink draws parameters of all sizes, the ends of their ranges
// included.
func randomClickLink(rng *rand.Rand) clickLink {
	unit := func() float64 {
		switch rng.IntN(8) {
		case 0:
			return 0
		case 1:
			return 1
		case 2:
			return math.Pow(10, -8*rng.Float64())
		}
		return rng.Float64()
	}
	std := func() float64 {
		if rng.IntN(4) == 0 {
			return 0
		}
		return 0.05 + 3*rng.Float64()
	}
	return clickLink{
		alpha: [2]float64{unit(), unit()}, eta: [2]float64{unit(), unit()},
		visibility: unit(), dark: 0.9 * unit(), phaseStd: [2]float64{std(), std()},
		double: [2]float64{unit(), unit()}, dephasing: unit(), numberResolving: rng.IntN(2) == 0,
	}
}

// Every element of both heralded states, and how likely they are, are those of
// the photons.
func TestSingleClickIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 1))
	checked := 0
	for range 3000 {
		r := randomClickLink(rng)
		m := singleClick(r)
		rho := r.exact()
		var p float64
		for k := range rho {
			for i := range 4 {
				p += real(rho[k][i][i])
			}
		}
		if got := m.SuccessProbability(); math.Abs(got-p) > 1e-14 || got > 1 {
			t.Fatalf("%+v: success probability %g, want %g", r, got, p)
		}
		if p < 1e-14 { // the reference is nothing but rounding
			continue
		}
		if err := m.Validate(); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		checked++
		for k, label := range [2]qnet.BellLabel{qnet.PsiPlus, qnet.PsiMinus} {
			h := find(t, m, label)
			if h.P != 0.5 {
				t.Fatalf("%+v: %v has probability %g, want 1/2", r, label, h.P)
			}
			for i := range 4 {
				for j := range 4 {
					got := complex(h.P*m.SuccessProbability(), 0) * h.State[4*i+j]
					if d := got - rho[k][i][j]; math.Hypot(real(d), imag(d)) > 1e-13 {
						t.Fatalf("%+v: %v: p·ρ[%d,%d] is %g, want %g", r, label, i, j, got, rho[k][i][j])
					}
				}
			}
		}
	}
	if checked < 2000 {
		t.Errorf("only %d links herald: the test tests little", checked)
	}
}

// Also for links of real sizes, where 1e-13 would be coarse, each element is
// right to 1e-9 of the success probability.
func TestSingleClickIsExactForSmallEfficiencies(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 2))
	small := func() float64 { return math.Pow(10, -1-5*rng.Float64()) }
	for range 1000 {
		r := randomClickLink(rng)
		r.alpha = [2]float64{0.5 * rng.Float64(), 0.5 * rng.Float64()}
		r.eta = [2]float64{small(), small()}
		r.dark = 1e-2 * small()
		m := singleClick(r)
		rho := r.exact()
		var p float64
		for i := range 4 {
			p += 2 * real(rho[0][i][i])
		}
		if got := m.SuccessProbability(); math.Abs(got/p-1) > 1e-9 {
			t.Fatalf("%+v: success probability %g, want %g", r, got, p)
		}
		h := find(t, m, qnet.PsiPlus)
		for i := range 4 {
			for j := range 4 {
				if d := h.State[4*i+j] - 2*rho[0][i][j]/complex(p, 0); math.Hypot(real(d), imag(d)) > 1e-9 {
					t.Fatalf("%+v: ρ[%d,%d] is %g, want %g", r, i, j, h.State[4*i+j], 2*rho[0][i][j]/complex(p, 0))
				}
			}
		}
	}
}

// Heralded states are density matrices: of trace 1, hermitian, positive (the
// only block is of 01 and 10).
func TestSingleClickInvariants(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 3))
	for range 5000 {
		m := singleClick(randomClickLink(rng))
		for _, m := range []herald.Model{m, herald.HeraldingOnly{SingleClick: m}} {
			p := m.SuccessProbability()
			if !(p >= 0 && p <= 1) {
				t.Fatalf("%+v: success probability %g", m, p)
			}
			if m.Validate() != nil {
				continue
			}
			for _, h := range m.Heralds() {
				s := h.State
				var trace float64
				for i := range 4 {
					trace += real(s[5*i])
					for j := range 4 {
						if s[4*i+j] != complex(real(s[4*j+i]), -imag(s[4*j+i])) {
							t.Fatalf("%+v: %v is not hermitian: %v", m, h.Label, s)
						}
					}
				}
				c := real(s[4*1+2])
				if math.Abs(trace-1) > 1e-15 || real(s[0]) < 0 || real(s[15]) < 0 || c*c > real(s[5])*real(s[10])*(1+1e-12) {
					t.Fatalf("%+v: %v is not a state: %v", m, h.Label, s)
				}
			}
		}
	}
}

// In the usual limits the exact form is the usual one.
func TestSingleClickLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 4))
	for range 200 {
		alpha, v, eta := 0.01+0.98*rng.Float64(), rng.Float64(), 1e-7*rng.Float64()
		m := herald.SingleClick{AlphaA: alpha, AlphaB: alpha, EtaA: eta, EtaB: eta, Visibility: v}
		if p := m.SuccessProbability(); math.Abs(p/(2*alpha*eta)-1) > 1e-6 {
			t.Errorf("α=%g V=%g: success probability %g, want 2αη=%g", alpha, v, p, 2*alpha*eta)
		}
		if f, want := herald.Fidelity(m), (1-alpha)*(1+math.Sqrt(v))/2; math.Abs(f-want) > 1e-6 {
			t.Errorf("α=%g V=%g: fidelity %g, want (1−α)(1+√V)/2=%g", alpha, v, f, want)
		}
	}
	full := herald.SingleClick{AlphaA: 0.3, AlphaB: 0.3, EtaA: 1, EtaB: 1, Visibility: 1}
	for _, c := range []struct {
		name string
		m    func() herald.SingleClick
		p, f float64
	}{
		{"perfect but for both bright", func() herald.SingleClick { return full }, 0.51, 0.42 / 0.51},
		{"number-resolving, nothing lost", func() herald.SingleClick { m := full; m.NumberResolving = true; return m }, 0.42, 1},
		{"distinguishable", func() herald.SingleClick { m := full; m.NumberResolving, m.Visibility = true, 0; return m }, 0.42, 0.5},
		{"phase lost", func() herald.SingleClick { m := full; m.NumberResolving, m.PhaseStdB = true, 1e200; return m }, 0.42, 0.5},
		{"always excited twice", func() herald.SingleClick { m := full; m.NumberResolving, m.DoubleExcitationA = true, 1; return m }, 0.42, 0.5},
		{"half of the coherence", func() herald.SingleClick { m := full; m.NumberResolving, m.ExtraDephasing = true, 0.5; return m }, 0.42, 0.75},
		{"dark counts only", func() herald.SingleClick {
			return herald.SingleClick{AlphaA: 0.5, AlphaB: 0.5, Visibility: 1, DarkCount: 0.5}
		}, 0.5, 0.25},
		{"one end only", func() herald.SingleClick { m := full; m.EtaB, m.AlphaB = 0, 0; return m }, 0.3, 0.5},
	} {
		m := c.m()
		if p := m.SuccessProbability(); math.Abs(p-c.p) > 1e-15 {
			t.Errorf("%s: success probability %g, want %g", c.name, p, c.p)
		}
		if f := herald.Fidelity(m); math.Abs(f-c.f) > 1e-15 {
			t.Errorf("%s: fidelity %g, want %g", c.name, f, c.f)
		}
	}
}

// Skipping failed attempts has the distribution of making them: the number of
// attempts, and detector and outcome when the qubits are measured along one of
// the nine pairs of axes, which is tomography of both heralded states, single
// qubits included. Each comparison is by chi-square, of false alarm below 1e-6;
// the seed is fixed.
func TestSingleClickSkippingEqualsAttempts(t *testing.T) {
	const pairs = 60_000
	for i, r := range []clickLink{
		{alpha: [2]float64{0.3, 0.5}, eta: [2]float64{0.7, 0.4}, visibility: 0.8, dark: 0.02, phaseStd: [2]float64{0.3, 0.8}, double: [2]float64{0.1, 0.3}, dephasing: 0.05},
		{alpha: [2]float64{0.6, 0.2}, eta: [2]float64{0.9, 0.9}, visibility: 0.95, dark: 0.1, phaseStd: [2]float64{0.2, 0}, numberResolving: true},
		{alpha: [2]float64{0.4, 0.4}, eta: [2]float64{0.8, 0.8}, visibility: 1, double: [2]float64{0, 0.2}},
	} {
		t.Run(fmt.Sprintf("%+v", r), func(t *testing.T) {
			l := newClickLab(r, rand.New(rand.NewPCG(uint64(i), 11)))
			m := singleClick(r)
			s, err := herald.NewSampler(m)
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(uint64(i), 12))

			const bins = 30
			var looped, skipped [bins]int
			var kinds [2]int
			outcomes := make([]int, 2*9*4)
			for range pairs {
				n, which := 1, -1
				var qubits [4]complex128
				for which, qubits = l.attempt(); which < 0; which, qubits = l.attempt() {
					n++
				}
				looped[min(n, bins)-1]++

				axes := l.rng.IntN(9)
				var rho [4][4]complex128
				for x := range 4 {
					for y := range 4 {
						rho[x][y] = qubits[x] * complex(real(qubits[y]), -imag(qubits[y]))
					}
				}
				u, o := l.rng.Float64(), 0
				for p := clickOutcomes(rho, axes/3, axes%3); o < 3; o++ {
					if u -= p[o]; u < 0 {
						break
					}
				}
				outcomes[(which*9+axes)*4+o]++

				skipped[min(s.Attempts(rng), bins)-1]++
				kinds[s.Herald(rng)]++
			}
			p := m.SuccessProbability()
			var want [bins]float64
			for n := range want {
				want[n] = p * math.Pow(1-p, float64(n))
			}
			want[bins-1] = math.Pow(1-p, bins-1)
			qnettest.Fit(t, "attempts made", looped[:], want[:])
			qnettest.Fit(t, "attempts skipped", skipped[:], want[:])
			qnettest.Fit(t, "heralds drawn", kinds[:], []float64{0.5, 0.5})

			expected := make([]float64, len(outcomes))
			for k, label := range [2]qnet.BellLabel{qnet.PsiPlus, qnet.PsiMinus} {
				h := find(t, m, label)
				var rho [4][4]complex128
				for x := range 16 {
					rho[x/4][x%4] = h.State[x]
				}
				for axes := range 9 {
					for o, q := range clickOutcomes(rho, axes/3, axes%3) {
						expected[(k*9+axes)*4+o] = h.P * q / 9
					}
				}
			}
			qnettest.Fit(t, "detectors and outcomes", outcomes, expected)
		})
	}
}

// The ratio of Bessel functions against the sum of its power series in 200 bits,
// and, where that is long, against the first terms for large arguments.
func TestPhaseCoherence(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 5))
	xs := []float64{1e-300, 1e-20, 1e-3, 29.999, 30, 30.001, 100, 5e3}
	for range 300 {
		xs = append(xs, math.Pow(10, -3+5*rng.Float64()))
	}
	for _, x := range xs {
		std := 1 / math.Sqrt(x)
		f := func(v float64) *big.Float { return new(big.Float).SetPrec(200).SetFloat64(v) }
		arg := new(big.Float).Quo(f(1), new(big.Float).Mul(f(std), f(std)))
		h := new(big.Float).Quo(new(big.Float).Mul(arg, arg), f(4))
		i0, i1, term := f(1), f(1), f(1) // i1 times 2/arg
		for k := 1.0; k < 1.5*x+100; k++ {
			term.Quo(term.Mul(term, h), f(k*k))
			i0.Add(i0, term)
			i1.Add(i1, new(big.Float).Quo(term, f(k+1)))
		}
		ratio := new(big.Float).Quo(i1.Mul(i1, arg), i0.Mul(i0, f(2)))
		want, _ := ratio.Float64()
		if got := herald.PhaseCoherence(std); math.Abs(got/want-1) > 1e-14 {
			t.Errorf("std %g: %.17g, want %.17g", std, got, want)
		}
	}
	for _, std := range []float64{1e-3, 1e-6, 1e-9, 1e-100, 1e-200, 5e-324, 0} {
		y := std * std
		if got, want := herald.PhaseCoherence(std), 1-y/2-y*y/8; math.Abs(got-want) > 2e-16 {
			t.Errorf("std %g: %.17g, want %.17g", std, got, want)
		}
	}
	for _, std := range []float64{1e4, 1e100, 1e150} {
		if got, want := herald.PhaseCoherence(std), 0.5/std/std; math.Abs(got/want-1) > 1e-8 {
			t.Errorf("std %g: %g, want %g", std, got, want)
		}
	}
	if got := herald.PhaseCoherence(math.MaxFloat64); got != 0 {
		t.Errorf("a phase that is uniform leaves coherence %g", got)
	}
	// 15° over both arms.
	arm := herald.PhaseCoherence(15 / math.Sqrt2 * math.Pi / 180)
	if got := arm * arm; math.Abs(got-0.9657) > 5e-5 {
		t.Errorf("15°: %g, want 0.9657", got)
	}
	// What the reference takes for it.
	for range 1000 {
		std := 0.05 + 3*rng.Float64()
		if got, want := herald.PhaseCoherence(std), clickMeanCosine(std); math.Abs(got-want) > 1e-14 {
			t.Errorf("std %g: %g, want %g", std, got, want)
		}
	}
}

// What the two links of Dahlberg et al. deliver at α=0.1, with phase noise (15°
// over both arms) and double excitation (4 % per end): a pair as it is emitted,
// after a wait in electron spins (T1 2.68 ms, T2 1.00 ms) until the answer of the
// station is back at the farther end, and as its ends see it that measure it at
// once with read-out errors of 5 % of |0⟩ and 0.5 % of |1⟩. The last is
// 1−(Qx+Qy+Qz)/2 of the error rates. Noise is worked out by hand.
func TestSingleClickRealised(t *testing.T) {
	for _, c := range []struct {
		name                     string
		wait                     float64 // ms
		emitted, kept, qx, qz, f float64
	}{
		{"LAB", 0, 0.8197, 0.8197, 0.1644, 0.1565, 0.7574},
		{"QL2020", 0.1451, 0.8059, 0.6966, 0.1773, 0.1555, 0.7450},
	} {
		m := nvLink(c.name, 0.1)
		m.PhaseStdA = 15 / math.Sqrt2 * math.Pi / 180
		m.PhaseStdB = m.PhaseStdA
		m.DoubleExcitationA, m.DoubleExcitationB = 0.04, 0.04
		rho := find(t, m, qnet.PsiPlus).State
		nearFigure(t, c.name+": fidelity at emission", herald.Fidelity(m), c.emitted, 1e-4)

		stays, coherent := math.Exp(-c.wait/2.68), math.Exp(-2*c.wait/1.00)
		odd := stays*real(rho[5]+rho[10]) + 2*stays*(1-stays)*real(rho[15])
		nearFigure(t, c.name+": fidelity after the wait", odd/2+coherent*real(rho[6]), c.kept, 1e-4)

		const e0, e1 = 0.05, 0.005
		both, one, none := e0*(1-e0)*2, e0*(1-e1)+e1*(1-e0), e1*(1-e1)*2 // one bit flips, of 00, 01 and 11
		qz := real(rho[0])*(1-both) + real(rho[5]+rho[10])*one + real(rho[15])*(1-none)
		equal := 0.5 + real(rho[6]) // of the outcomes in X, and in Y
		qx := equal*(both+none)/2 + (1-equal)*(1-one)
		nearFigure(t, c.name+": Qx", qx, c.qx, 1e-4)
		nearFigure(t, c.name+": Qz", qz, c.qz, 1e-4)
		nearFigure(t, c.name+": fidelity from error rates", 1-qx-qz/2, c.f, 1e-4)
	}
}

func TestSingleClickValidate(t *testing.T) {
	good := herald.SingleClick{AlphaA: 0.1, AlphaB: 0.1, EtaA: 0.1, EtaB: 0.1, PeriodNS: 1}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(m *herald.SingleClick)
		want   string
	}{
		{func(m *herald.SingleClick) { m.AlphaA = 1.1 }, "single-click link: bright-state population of end A is 1.1, want from 0 to 1"},
		{func(m *herald.SingleClick) { m.AlphaB = -1 }, "single-click link: bright-state population of end B is -1, want from 0 to 1"},
		{func(m *herald.SingleClick) { m.EtaA = math.NaN() }, "single-click link: detection efficiency of end A is NaN, want from 0 to 1"},
		{func(m *herald.SingleClick) { m.EtaB = 2 }, "single-click link: detection efficiency of end B is 2, want from 0 to 1"},
		{func(m *herald.SingleClick) { m.Visibility = 1.5 }, "single-click link: visibility is 1.5, want from 0 to 1"},
		{func(m *herald.SingleClick) { m.DarkCount = 1 }, "single-click link: dark count probability is 1, want from 0 to below 1"},
		{func(m *herald.SingleClick) { m.PhaseStdA = -0.1 }, "single-click link: phase deviation of arm A in radians is -0.1, want finite and at least 0"},
		{func(m *herald.SingleClick) { m.PhaseStdB = math.Inf(1) }, "single-click link: phase deviation of arm B in radians is +Inf, want finite and at least 0"},
		{func(m *herald.SingleClick) { m.DoubleExcitationA = 2 }, "single-click link: double excitation of end A is 2, want from 0 to 1"},
		{func(m *herald.SingleClick) { m.DoubleExcitationB = 2 }, "single-click link: double excitation of end B is 2, want from 0 to 1"},
		{func(m *herald.SingleClick) { m.ExtraDephasing = 2 }, "single-click link: extra dephasing is 2, want from 0 to 1"},
		{func(m *herald.SingleClick) { m.PeriodNS = 0 }, "single-click link: attempt period in nanoseconds is 0, want above 0"},
		{func(m *herald.SingleClick) { m.AlphaA, m.EtaB = 0, 0 }, "single-click link: bright-state populations 0 and 0.1 with detection efficiencies 0.1 and 0 and without dark counts never herald"},
		{func(m *herald.SingleClick) {
			*m = herald.SingleClick{AlphaA: 1, AlphaB: 1, EtaA: 1, EtaB: 1, NumberResolving: true, PeriodNS: 1}
		}, "single-click link: bright-state populations 1 and 1 with detection efficiencies 1 and 1 and without dark counts never herald"},
	} {
		m := good
		c.change(&m)
		qnettest.WantErr(t, m.Validate(), qnet.ErrInvalid, c.want)
		qnettest.WantErr(t, herald.HeraldingOnly{SingleClick: m}.Validate(), qnet.ErrInvalid, c.want)
	}
}

func BenchmarkNextHerald(b *testing.B) {
	s, err := herald.NewSampler(nvLink("LAB", 0.1))
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		s.Attempts(rng)
		s.Herald(rng)
	}
}

func TestNextHeraldDoesNotAllocate(t *testing.T) {
	s, err := herald.NewSampler(nvLink("LAB", 0.1))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	if n := testing.AllocsPerRun(1000, func() { s.Attempts(rng); s.Herald(rng) }); n != 0 {
		t.Errorf("the next herald takes %g allocations", n)
	}
}
