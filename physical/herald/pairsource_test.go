package herald_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

var _ = []herald.Model{herald.PairSource{}, herald.MemorySource{}}

func (l pairLab) model() herald.PairSource {
	return herald.PairSource{MeanPairs: l.pairs, Split: l.split, EtaA: l.etaA, EtaB: l.etaB, Visibility: l.visibility,
		Label: l.label, DarkA: l.darkA, DarkB: l.darkB, PeriodNS: 1}
}

// sourceSmall draws from several orders of magnitude up to 1, and sometimes 0 or 1.
func sourceSmall(rng *rand.Rand) float64 {
	switch rng.IntN(8) {
	case 0:
		return 0
	case 1:
		return 1
	}
	return math.Pow(10, -4*rng.Float64())
}

func randomPairLab(rng *rand.Rand) pairLab {
	l := pairLab{
		split: 1 - sourceSmall(rng), etaA: sourceSmall(rng), etaB: sourceSmall(rng), visibility: sourceSmall(rng),
		darkA: 0.5 * sourceSmall(rng), darkB: 0.5 * sourceSmall(rng), label: qnet.BellLabel(rng.IntN(4)),
	}
	most := 5.0
	if y := (1 - l.split) * l.etaA * l.etaB * l.visibility / 4; y > 0 {
		most = min(most, 0.0774/y)
	}
	l.pairs = most * (1 - rng.Float64())
	return l
}

// sourceClose fails unless two tables of probabilities agree.
func sourceClose(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= tolerance) {
			t.Fatalf("%s: got %v, want %v within %g", what, got, want, tolerance)
		}
	}
}

func sourceSum(p [4]float64) float64 { return p[0] + p[1] + p[2] + p[3] }

// The sum over all photons and dark counts has the success probability of the
// model in every basis, its outcomes in the Pauli bases, and its correlations
// within 0.1 % in every other.
func TestPairSourceIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	for range 300 {
		l := randomPairLab(rng)
		m := l.model()
		if l.etaA == 0 && l.darkA == 0 || l.etaB == 0 && l.darkB == 0 {
			continue // never heralds
		}
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		p, h := m.SuccessProbability(), m.Heralds()[0]
		if h.Label != l.label || h.P != 1 {
			t.Fatalf("%+v: herald %+v", m, h)
		}
		bases := slices.Clone(sourcePauli[:])
		bases = append(bases, sourceBasis{thetaB: math.Pi / 2}) // Z at A, X at B
		for range 6 {
			bases = append(bases, sourceRandomBasis(rng))
		}
		for i, b := range bases {
			want := l.exact(b)
			if sum := sourceSum(want); math.Abs(p-sum) > 1e-13 || math.Abs(p-sum) > 1e-9*sum {
				t.Fatalf("%+v in %v: success probability %g, want %g", m, b, p, sum)
			}
			for o := range want {
				want[o] /= p
			}
			got := sourceOutcomes(h.State, b)
			tolerance := 1e-12
			if p < 1e-3 {
				tolerance *= 1e-3 / p // rounding of the reference, which does not avoid cancellation
			}
			if i >= 4 {
				e := 4*want[0] - 1
				tolerance += 1e-3 * math.Abs(e) / 4
			}
			sourceClose(t, fmt.Sprintf("%+v in %v", m, b), got[:], want[:], tolerance)
		}
	}
}

// The limit that Validate sets is where the deviation reaches 0.1 %, not earlier.
func TestPairSourceLimit(t *testing.T) {
	for _, l := range []pairLab{
		{etaA: 1, etaB: 1, visibility: 1},
		{etaA: 0.5, etaB: 0.25, visibility: 0.9, split: 0.2, darkA: 0.1},
	} {
		most := 4 * 0.07748 / ((1 - l.split) * l.etaA * l.etaB * l.visibility)
		l.pairs = most * 1.0001
		err := l.model().Validate()
		if want := fmt.Sprintf("want at most %.4g with", most); !errors.Is(err, qnet.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", l, err, want)
		}
		l.pairs = most * 0.9999
		m := l.model()
		if err := m.Validate(); err != nil {
			t.Error(err)
		}
		// Nearly orthogonal axes deviate most.
		b := sourceBasis{thetaB: math.Pi/2 - 0.01}
		table, p := l.exact(b), m.SuccessProbability()
		got := sourceOutcomes(m.Heralds()[0].State, b)
		if d := (4*got[0]-1)/(4*table[0]/p-1) - 1; math.Abs(d-1e-3) > 2e-6 {
			t.Errorf("%+v: correlation deviates by %g, want 0.001", l, d)
		}
	}
}

// Attempts made photon by photon: their number and outcomes, in random bases. Each
// comparison raises a false alarm with probability 3e-7; there are 24.
func TestPairSourceAttempts(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 2))
	for _, l := range []pairLab{
		{pairs: 0.38, etaA: 0.9, etaB: 0.9, visibility: 0.98, darkA: 0.05, darkB: 0.02, label: qnet.PsiMinus},
		{pairs: 1.2, split: 0.3, etaA: 0.7, etaB: 0.4, visibility: 1, darkA: 0.1, darkB: 0.2},
		{pairs: 5, etaA: 0.3, etaB: 0.2, visibility: 0.9, label: qnet.PsiPlus},
	} {
		m := l.model()
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		h := m.Heralds()[0]
		for range 4 {
			b := sourceRandomBasis(rng)
			sourceAttempts(t, fmt.Sprintf("%+v in %v", l, b), m.SuccessProbability(), sourceOutcomes(h.State, b),
				func() (int, bool) { return l.attempt(rng, b) })
		}
	}
}

// sourceAttempts compares the numbers of attempts and the outcomes of 10,000
// successes with success probability p and outcomes of the given probabilities.
func sourceAttempts(t *testing.T, what string, p float64, outcomes [4]float64, attempt func() (int, bool)) {
	t.Helper()
	const bins = 30
	var number [bins]int
	var table [4]int
	for range 10_000 {
		n := 0
		o, ok := attempt()
		for !ok {
			n++
			o, ok = attempt()
		}
		number[min(n, bins-1)]++
		table[o]++
	}
	var want [bins]float64
	for n := range want {
		want[n] = p * math.Pow(1-p, float64(n))
	}
	want[bins-1] = math.Pow(1-p, bins-1)
	qnettest.Fit(t, what+": attempts", number[:], want[:])
	qnettest.Fit(t, what+": outcomes", table[:], outcomes[:])
}

func (l memoryLab) model() herald.MemorySource {
	return herald.MemorySource{MeanPairs: l.pairs, EtaA: l.etaA, EtaB: l.etaB, Visibility: l.visibility,
		Label: l.label, FalseA: l.falseA, FalseB: l.falseB, PeriodNS: 1}
}

// The sum over where the photons of all pairs went gives success and state.
func TestMemorySourceIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 3))
	for range 150 {
		l := memoryLab{pairs: 3 * (1 - rng.Float64()), etaA: sourceSmall(rng), etaB: sourceSmall(rng), visibility: sourceSmall(rng),
			falseA: 0.9 * sourceSmall(rng), falseB: 0.9 * sourceSmall(rng), label: qnet.BellLabel(rng.IntN(4))}
		if l.etaA == 0 && l.falseA == 0 || l.etaB == 0 && l.falseB == 0 {
			continue // never heralds
		}
		m := l.model()
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		want, same := l.exact()
		p := m.SuccessProbability()
		if math.Abs(p-want) > 1e-12*want {
			t.Fatalf("%+v: success probability %g, want %g", m, p, want)
		}
		for range 3 {
			b := sourceRandomBasis(rng)
			got, outcomes := sourceOutcomes(m.Heralds()[0].State, b), sourceWerner(l.label, l.visibility*same/want, b)
			sourceClose(t, fmt.Sprintf("%+v in %v", m, b), got[:], outcomes[:], 1e-12)
		}
	}
}

// Attempts made photon by photon, at strong parameters. Each comparison raises a
// false alarm with probability 3e-7; there are 24.
func TestMemorySourceAttempts(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 4))
	for _, l := range []memoryLab{
		{pairs: 0.3, etaA: 0.9, etaB: 0.8, visibility: 0.95, falseA: 0.05, falseB: 0.1, label: qnet.PsiPlus},
		{pairs: 2, etaA: 0.5, etaB: 0.7, visibility: 1, falseA: 0.3},
		{pairs: 20, etaA: 0.1, etaB: 0.05, visibility: 1, falseA: 0.01, label: qnet.PhiMinus},
	} {
		m := l.model()
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		h := m.Heralds()[0]
		for range 4 {
			b := sourceRandomBasis(rng)
			sourceAttempts(t, fmt.Sprintf("%+v in %v", l, b), m.SuccessProbability(), sourceOutcomes(h.State, b),
				func() (int, bool) { return l.attempt(rng, b) })
		}
	}
}

// With many pairs, all of them caught, both memories keep the same one with
// probability E[1/N | N>0], here by its series; the sum does not lose digits up to
// the largest number of pairs that is allowed.
func TestMemorySourceManyPairs(t *testing.T) {
	for _, mean := range []float64{1e-9, 0.1, 1, 10, 100} {
		m := herald.MemorySource{MeanPairs: mean, EtaA: 1, EtaB: 1, Visibility: 1, PeriodNS: 1}
		var want float64
		for n := 1; n < 400; n++ {
			want += sourcePoisson(mean, n) / float64(n)
		}
		want /= -math.Expm1(-mean)
		if got := (4*herald.Fidelity(m) - 1) / 3; math.Abs(got-want) > 1e-12*want {
			t.Errorf("mean %g: same pair %.15g, want %.15g", mean, got, want)
		}
	}
}

// Thousands of links drawn at random have a state and probabilities, or are
// refused.
func TestSourcesInvariants(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 5))
	valid := 0
	for range 5000 {
		l := randomPairLab(rng)
		l.pairs *= 1.1 // some are beyond the limit
		models := []herald.Model{l.model(), herald.MemorySource{MeanPairs: l.pairs, EtaA: l.etaA, EtaB: l.etaB, Visibility: l.visibility,
			Label: l.label, FalseA: l.darkA, FalseB: l.darkB, PeriodNS: 1}}
		for _, m := range models {
			if m.Validate() == nil {
				valid++
				sourceInvariants(t, m)
			}
		}
	}
	if valid < 5000 {
		t.Errorf("only %d were valid", valid)
	}
}

// sourceInvariants checks the probabilities of m, and that every state has trace 1,
// is hermitian and, by the two blocks that it consists of, positive.
func sourceInvariants(t *testing.T, m herald.Model) {
	t.Helper()
	p, sum := m.SuccessProbability(), 0.0
	if !(p > 0 && p <= 1) {
		t.Errorf("%+v: success probability %g", m, p)
	}
	for _, h := range m.Heralds() {
		sum += h.P
		var trace complex128
		for i := range 4 {
			trace += h.State[5*i]
			if real(h.State[5*i]) < 0 {
				t.Errorf("%+v: population %d is %g", m, i, h.State[5*i])
			}
			for j := range 4 {
				x, y := h.State[4*i+j], h.State[4*j+i]
				if real(x) != real(y) || imag(x) != -imag(y) {
					t.Errorf("%+v: not hermitian", m)
				}
				if i != j && i+j != 3 && x != 0 {
					t.Errorf("%+v: element %d, %d is %g", m, i, j, x)
				}
			}
			if d := real(h.State[5*i]*h.State[5*(3-i)]) - real(h.State[4*i+3-i]*h.State[4*(3-i)+i]); d < -1e-15 {
				t.Errorf("%+v: block of %d is not positive: %g", m, i, d)
			}
		}
		if math.Abs(real(trace)-1) > 1e-14 || imag(trace) != 0 {
			t.Errorf("%+v: trace %g", m, trace)
		}
	}
	if math.Abs(sum-1) > 1e-15 {
		t.Errorf("%+v: kinds add up to %g", m, sum)
	}
}

// Small rates give the formulas in common use, with an error of the order of
// clicks per window.
func TestContinuousSourceFigures(t *testing.T) {
	for _, rate := range []float64{1e3, 1e5, 1e6} {
		const tau, jitter = 1e-9, 0.2e-9
		c := herald.ContinuousSource{PairsPerSecond: rate, WindowNS: tau * 1e9, JitterNS: jitter * 1e9, EtaA: 0.2, EtaB: 0.1, Visibility: 0.97,
			DarkRateA: 500, DarkRateB: 1000}
		m, err := c.PairSource()
		if err != nil {
			t.Fatal(err)
		}
		inside := math.Erf(tau / (2 * math.Sqrt2 * jitter))
		sA, sB := rate*0.2+2*500, rate*0.1+2*1000
		coincidences, accidentals := rate*0.2*0.1*inside, sA*sB*tau
		order := (sA + sB) * tau
		if got, want := m.SuccessProbability()/tau, coincidences+accidentals; math.Abs(got/want-1) > order {
			t.Errorf("rate %g: %g coincidences per second, want %g within %g", rate, got, want, order)
		}
		got, want := (4*herald.Fidelity(m)-1)/3, 0.97*coincidences/(coincidences+accidentals)
		if math.Abs(got/want-1) > order {
			t.Errorf("rate %g: visibility %g, want %g within %g", rate, got, want, order)
		}
	}
}

// A metropolitan network of Bristol (Joshi et al., Science Advances 6, eaba0959,
// 2020, has such detectors): nanowire detectors of efficiency 0.7 to 0.9, 60 to 80
// ps of jitter, 1 kHz of dark counts, a window of 130 ps. The rate of pairs, the
// losses and the dead time are chosen.
func TestContinuousSourceBristol(t *testing.T) {
	m, err := herald.ContinuousSource{PairsPerSecond: 1e6, WindowNS: 0.130, JitterNS: 0.070 / 2.355 * math.Sqrt2, EtaA: 0.8 * 0.1, EtaB: 0.8 * 0.1,
		Visibility: 0.98, DarkRateA: 1000, DarkRateB: 1000, DeadTimeNSA: 30, DeadTimeNSB: 30}.PairSource()
	if err != nil {
		t.Fatal(err)
	}
	// By hand: the window is ±1.546 standard deviations: 87.8 % of the pairs. A
	// detector has 41,000 counts per second, so it is live for 99.877 %, which
	// leaves 6,400·0.878·0.99754=5,605 coincidences; accidentals are
	// (82,000·0.99877)²·130 ps = 0.872 per second.
	if rate := m.SuccessProbability() * 1e9 / m.PeriodNS; math.Abs(rate-5606) > 10 {
		t.Errorf("%g coincidences per second, want 5606", rate)
	}
	if v, want := (4*herald.Fidelity(m)-1)/3, 0.98*(1-0.872/5606); math.Abs(v-want) > 5e-5 {
		t.Errorf("visibility %g, want %g", v, want)
	}
	if !herald.IsImmediate(m) {
		t.Error("its pairs can be kept")
	}
}

// A second of time-stamps, photon by photon: creation, jitter, loss, background and
// dead time, then coincidences of clicks at most half a window apart. The counts
// of the four outcomes are within 5 standard errors, a false alarm of 6e-7 each.
func TestContinuousSourceTimeTags(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 6))
	c := herald.ContinuousSource{PairsPerSecond: 5e4, WindowNS: 0.05, JitterNS: 0.03, EtaA: 0.4, EtaB: 0.3, Visibility: 0.9, Label: qnet.PhiPlus,
		DarkRateA: 3e6, DarkRateB: 4e6, DeadTimeNSA: 80, DeadTimeNSB: 50}
	m, err := c.PairSource()
	if err != nil {
		t.Fatal(err)
	}
	const second = 1e9
	b := sourceBasis{thetaA: 0.4, phiA: 0.3, thetaB: 0.9, phiB: 2}
	outcomes := sourceWerner(c.Label, c.Visibility, b)
	var tags [4][]float64 // of A's and B's detectors
	for at := 0.0; at < second; at += rng.ExpFloat64() * second / c.PairsPerSecond {
		o := sourceDraw(rng, outcomes[:])
		if rng.Float64() < c.EtaA {
			tags[o/2] = append(tags[o/2], at+rng.NormFloat64()*c.JitterNS/math.Sqrt2)
		}
		if rng.Float64() < c.EtaB {
			tags[2+o%2] = append(tags[2+o%2], at+rng.NormFloat64()*c.JitterNS/math.Sqrt2)
		}
	}
	for d := range tags {
		photons := tags[d]
		slices.Sort(photons)
		rate, dead := c.DarkRateA, c.DeadTimeNSA
		if d >= 2 {
			rate, dead = c.DarkRateB, c.DeadTimeNSB
		}
		var clicks []float64
		last := math.Inf(-1)
		click := func(at float64) {
			if at-last > dead {
				clicks = append(clicks, at)
				last = at
			}
		}
		for at := rng.ExpFloat64() * second / rate; at < second; at += rng.ExpFloat64() * second / rate {
			for len(photons) > 0 && photons[0] < at {
				click(photons[0])
				photons = photons[1:]
			}
			click(at)
		}
		tags[d] = clicks
	}
	want := sourceOutcomes(m.Heralds()[0].State, b)
	for o := range want {
		want[o] *= m.SuccessProbability() * second / m.PeriodNS
		got := 0
		later := tags[2+o%2]
		for _, at := range tags[o/2] {
			for len(later) > 0 && later[0] < at-c.WindowNS/2 {
				later = later[1:]
			}
			for i := 0; i < len(later) && later[i] <= at+c.WindowNS/2; i++ {
				got++
			}
		}
		if math.Abs(float64(got)-want[o]) > 5*math.Sqrt(want[o]) {
			t.Errorf("outcome %d: %d coincidences, want %.0f ± %.0f", o, got, want[o], math.Sqrt(want[o]))
		}
	}
}

// Detectors of the two ends are dead together more often than by chance, since a
// coincidence makes them so. Where the model is accepted, that adds less than 0.1 %
// to the coincidences: compared with the stationary state of two detectors in
// steps of a nanosecond.
func TestContinuousSourceDeadTogether(t *testing.T) {
	const deadA, deadB = 40, 25
	for _, c := range []struct{ common, a, b float64 }{ // per step
		{3.5e-5, 1e-4, 2e-4},
		{3.5e-5, 1e-2, 5e-3},
	} {
		rate := c.common * 2e9 // outcomes that agree are half of the pairs
		m, err := herald.ContinuousSource{PairsPerSecond: rate, WindowNS: 1e-6, EtaA: 1, EtaB: 1, Visibility: 1,
			DarkRateA: c.a * 1e9, DarkRateB: c.b * 1e9, DeadTimeNSA: deadA, DeadTimeNSB: deadB}.PairSource()
		if err != nil {
			t.Fatal(err)
		}
		var p [deadA + 1][deadB + 1]float64 // steps that A and B are still dead
		p[0][0] = 1
		q := 1 - c.common
		for range 4000 {
			var next [deadA + 1][deadB + 1]float64
			for i := range p {
				for j, x := range p[i] {
					for k, w := range [4]float64{q * (1 - c.a) * (1 - c.b), q * c.a * (1 - c.b), q * (1 - c.a) * c.b, c.common + q*c.a*c.b} {
						ni, nj := max(i-1, 0), max(j-1, 0)
						if k&1 != 0 && i == 0 {
							ni = deadA
						}
						if k&2 != 0 && j == 0 {
							nj = deadB
						}
						next[ni][nj] += x * w
					}
				}
			}
			p = next
		}
		if got, want := m.EtaA*m.EtaB, p[0][0]; math.Abs(got/want-1) > 1e-3 || got > want {
			t.Errorf("%+v: both live for %.6f of the time, want %.6f within 0.1 %%", c, got, want)
		}
	}
}

func TestSourceErrors(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	pair := func(f func(*herald.PairSource)) error {
		m := herald.PairSource{MeanPairs: 0.01, EtaA: 0.1, EtaB: 0.1, Visibility: 1, PeriodNS: 1}
		f(&m)
		return m.Validate()
	}
	memory := func(f func(*herald.MemorySource)) error {
		m := herald.MemorySource{MeanPairs: 0.01, EtaA: 0.1, EtaB: 0.1, Visibility: 1, PeriodNS: 1}
		f(&m)
		return m.Validate()
	}
	lab := func(f func(*herald.ContinuousSource)) error {
		c := herald.ContinuousSource{PairsPerSecond: 1e5, WindowNS: 1, EtaA: 0.1, EtaB: 0.1, Visibility: 1}
		f(&c)
		_, err := c.PairSource()
		return err
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{pair(func(m *herald.PairSource) { m.MeanPairs = 0 }), "pair source: mean number of pairs per window is 0, want above 0 and at most 100"},
		{pair(func(m *herald.PairSource) { m.MeanPairs = nan }), "pair source: mean number of pairs per window is NaN, want"},
		{pair(func(m *herald.PairSource) { m.Split = 1.1 }), "pair source: probability that a pair is split between windows is 1.1, want from 0 to 1"},
		{pair(func(m *herald.PairSource) { m.EtaA = 2 }), "pair source: efficiency of end A is 2, want from 0 to 1"},
		{pair(func(m *herald.PairSource) { m.EtaB = -1 }), "pair source: efficiency of end B is -1, want from 0 to 1"},
		{pair(func(m *herald.PairSource) { m.Visibility = nan }), "pair source: visibility is NaN, want from 0 to 1"},
		{pair(func(m *herald.PairSource) { m.Label = 4 }), "pair source: label is 4, want one of the four Bell labels 0 to 3"},
		{pair(func(m *herald.PairSource) { m.DarkA = 1 }), "pair source: dark count probability of end A is 1, want from 0 to below 1"},
		{pair(func(m *herald.PairSource) { m.DarkB = -0.1 }), "pair source: dark count probability of end B is -0.1, want from 0 to below 1"},
		{pair(func(m *herald.PairSource) { m.PeriodNS = 0 }), "pair source: attempt period in nanoseconds is 0, want"},
		{pair(func(m *herald.PairSource) { m.EtaA = 0 }), "pair source: detection efficiencies 0 and 0.1 with dark counts of 0 and 0 never herald"},
		{pair(func(m *herald.PairSource) { m.MeanPairs, m.EtaA, m.EtaB = 1, 1, 1 }), "pair source: mean number of pairs per window is 1, want at most 0.3099 with these efficiencies"},
		{memory(func(m *herald.MemorySource) { m.MeanPairs = 101 }), "source into memories: mean number of pairs per window is 101, want above 0 and at most 100"},
		{memory(func(m *herald.MemorySource) { m.FalseA = 1 }), "source into memories: false load probability of end A is 1, want from 0 to below 1"},
		{memory(func(m *herald.MemorySource) { m.PeriodNS = inf }), "source into memories: attempt period in nanoseconds is +Inf, want"},
		{memory(func(m *herald.MemorySource) { m.EtaB = 0 }), "source into memories: storage efficiencies 0.1 and 0 with false loads of 0 and 0 never herald"},
		{lab(func(c *herald.ContinuousSource) { c.PairsPerSecond = 0 }), "continuous pair source: pairs per second is 0, want above 0 and finite"},
		{lab(func(c *herald.ContinuousSource) { c.WindowNS = inf }), "continuous pair source: coincidence window in nanoseconds is +Inf, want above 0 and finite"},
		{lab(func(c *herald.ContinuousSource) { c.JitterNS = -1 }), "continuous pair source: jitter in nanoseconds is -1, want at least 0 and finite"},
		{lab(func(c *herald.ContinuousSource) { c.DarkRateB = nan }), "continuous pair source: dark counts per second of a detector of end B is NaN, want at least 0 and finite"},
		{lab(func(c *herald.ContinuousSource) { c.DeadTimeNSA = -1 }), "continuous pair source: dead time of a detector of end A in nanoseconds is -1, want at least 0 and finite"},
		{lab(func(c *herald.ContinuousSource) { c.EtaA = 3 }), "continuous pair source: detection efficiency of end A is 3, want from 0 to 1"},
		{lab(func(c *herald.ContinuousSource) { c.Visibility = 3 }), "pair source: visibility is 3, want from 0 to 1"},
		{lab(func(c *herald.ContinuousSource) { c.PairsPerSecond = 1e8 }), "continuous pair source: pairs per second is 1e+08: 0.02 clicks per window, plus 0 coincidences"},
		{lab(func(c *herald.ContinuousSource) {
			c.PairsPerSecond, c.WindowNS, c.DeadTimeNSA, c.DeadTimeNSB = 1e7, 1e-3, 20, 30
		}), "continuous pair source: pairs per second is 1e+07: 2e-06 clicks per window, plus 0.001 coincidences of two detectors per dead time"},
	} {
		if !errors.Is(c.err, qnet.ErrInvalid) || !strings.HasPrefix(c.err.Error(), c.want) {
			t.Errorf("error %v (code %v), want %q with code %v", c.err, qnet.CodeOf(c.err), c.want, qnet.ErrInvalid)
		}
	}
	if herald.IsImmediate(herald.Ideal{}) || herald.IsImmediate(herald.MemorySource{}) || !herald.IsImmediate(herald.PairSource{}) {
		t.Error("of these, pairs of a PairSource alone cannot be kept")
	}
}

func BenchmarkMemorySourceHeralds(b *testing.B) {
	m := herald.MemorySource{MeanPairs: 0.1, EtaA: 0.1, EtaB: 0.1, Visibility: 1, FalseA: 1e-4, PeriodNS: 1}
	b.ReportAllocs()
	for b.Loop() {
		m.Heralds()
	}
}
