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
)

var _ = []herald.Model{herald.Absorptive{}, herald.AbsorptiveSingleClick{}}

func (l absorptiveLab) end(i int) herald.AbsorptiveEnd {
	return herald.AbsorptiveEnd{Pairs: l.pairs[i], Eta: l.eta[i], Memory: herald.PhotonMemory{Write: 1, Read: l.memory[i], Noise: l.noise[i]}}
}

func (l absorptiveLab) model() herald.Absorptive {
	m := herald.Absorptive{A: l.end(0), B: l.end(1), VisibilityA: l.visibilities[0], VisibilityB: l.visibilities[1],
		Visibility: l.visibility, DarkCount: l.dark, PeriodNS: 1}
	if l.squeezed {
		m.Source = herald.SqueezedPairs
	}
	return m
}

func (l absorptiveLab) singleClick(coherence float64) herald.AbsorptiveSingleClick {
	return herald.AbsorptiveSingleClick{A: l.end(0), B: l.end(1), Visibility: l.visibility, Coherence: coherence, DarkCount: l.dark, PeriodNS: 1}
}

func randomAbsorptiveLab(rng *rand.Rand, squeezed bool, pairs float64) absorptiveLab {
	l := absorptiveLab{visibility: rng.Float64(), dark: 0.3 * sourceSmall(rng), squeezed: squeezed}
	for i := range 2 {
		l.pairs[i], l.eta[i], l.memory[i] = pairs*(1-rng.Float64()), 1-rng.Float64(), 1-rng.Float64()
		l.visibilities[i], l.noise[i] = rng.Float64(), 0.3*sourceSmall(rng)
	}
	return l
}

// absorptiveTables returns the probabilities of the heralds Ψ+ and Ψ− with each
// outcome, as the model has them.
func absorptiveTables(t *testing.T, m herald.Model, b sourceBasis) (tables [2][4]float64) {
	t.Helper()
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	for k, label := range [2]qnet.BellLabel{qnet.PsiPlus, qnet.PsiMinus} {
		h := find(t, m, label)
		tables[k] = sourceOutcomes(h.State, b)
		for o := range tables[k] {
			tables[k][o] *= h.P * m.SuccessProbability()
		}
	}
	return tables
}

// With sources of single pairs, the sum over everything that the photons may do has
// the model's heralds and outcomes, in all bases.
func TestAbsorptiveSinglePairIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 1))
	for i := range 60 {
		l := randomAbsorptiveLab(rng, false, 1)
		b := sourceRandomBasis(rng)
		if i < 3 {
			b = sourcePauli[i]
		}
		got, want := absorptiveTables(t, l.model(), b), l.exact(b, 0)
		for k := range got {
			sourceClose(t, fmt.Sprintf("%+v in %v, kind %d", l, b, k), got[k][:], want[k][:], 1e-14)
		}
	}
}

// Attempts made photon by photon, at strong parameters. Each comparison raises a
// false alarm with probability 3e-7; there are 12.
func TestAbsorptiveAttempts(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 2))
	for _, l := range []absorptiveLab{
		{pairs: [2]float64{0.9, 0.7}, eta: [2]float64{0.8, 0.9}, visibilities: [2]float64{0.95, 0.9}, memory: [2]float64{0.6, 0.8}, noise: [2]float64{0.02, 0.05}, visibility: 0.9, dark: 0.01},
		{pairs: [2]float64{0.5, 1}, eta: [2]float64{0.5, 0.3}, visibilities: [2]float64{1, 0.8}, memory: [2]float64{0.3, 1}, noise: [2]float64{0.2, 0.1}, visibility: 0.6, dark: 0.2},
	} {
		m := l.model()
		middle := newLab(photonic{visibility: l.visibility, dark: l.dark}, rng)
		for range 2 {
			b := sourceRandomBasis(rng)
			tables, p := absorptiveTables(t, m, b), m.SuccessProbability()
			var outcomes [4]float64 // B's bit of Ψ− is the kind here: kind and A xor B
			for k := range tables {
				for o, w := range tables[k] {
					outcomes[2*k+(o>>1^o&1)] += w / p
				}
			}
			sourceAttempts(t, fmt.Sprintf("%+v in %v", l, b), p, outcomes, func() (int, bool) {
				k, o, ok := l.attempt(rng, middle, b)
				return 2*k + (o>>1 ^ o&1), ok
			})
		}
	}
}

// sourceTail bounds the probability of more than k pairs in modes of mean n.
func sourceTail(modes, k int, n float64) (tail float64) {
	x := n / (1 + n)
	p := math.Pow(1-x, float64(modes))
	for i := range 200 {
		if i > k {
			tail += p
		}
		p *= x * float64(modes+i) / float64(i+1)
	}
	return tail
}

// With squeezed sources, the sum over Fock states lacks only what needs more pairs
// than it has: in the Pauli bases, that is where the model is.
func TestAbsorptiveSqueezedFock(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 3))
	for i, c := range []struct {
		pairs  float64
		most   int
		impure bool
	}{{0.002, 4, false}, {0.03, 4, false}, {0.001, 3, true}, {0.02, 3, true}} {
		l := randomAbsorptiveLab(rng, true, c.pairs)
		if !c.impure {
			l.visibilities = [2]float64{1, 1}
		}
		tail := sourceTail(4, c.most, c.pairs/2)
		for _, b := range sourcePauli {
			if c.impure && b != sourcePauli[i%3] {
				continue
			}
			got, want := absorptiveTables(t, l.model(), b), l.exact(b, c.most)
			for k := range got {
				for o := range got[k] {
					if d := got[k][o] - want[k][o]; d < -1e-14 || d > tail+1e-14 {
						t.Errorf("%+v in %v, kind %d outcome %d: got %.12g, want %.12g and up to %.3g more", l, b, k, o, got[k][o], want[k][o], tail)
					}
				}
			}
		}
	}
}

// With as many pairs as there may be, the generating function of the photons gives
// the model's outcomes in the Pauli bases, and the correlations of any other
// within 0.1 % of the largest; beyond, the model is refused.
func TestAbsorptiveSqueezedIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 4))
	refused, largest := 0, 0.0
	for range 100 {
		l := randomAbsorptiveLab(rng, true, 1)
		l.visibilities = [2]float64{1, 1}
		m := l.model()
		if err := m.Validate(); err != nil {
			if !strings.Contains(err.Error(), "pump less") {
				t.Fatal(err)
			}
			refused++
			continue
		}
		var correlation float64
		for i := range 8 {
			b := sourceRandomBasis(rng)
			if i < 3 {
				b = sourcePauli[i]
			}
			got, want := absorptiveTables(t, m, b), l.gaussian(b)
			for k := range got {
				what := fmt.Sprintf("%+v in %v, kind %d", l, b, k)
				if i < 3 {
					sourceClose(t, what, got[k][:], want[k][:], 1e-14)
					correlation = max(correlation, math.Abs(want[k][0]+want[k][3]-want[k][1]-want[k][2]))
					continue
				}
				sourceClose(t, what, got[k][:], want[k][:], 1e-14+1e-3*correlation/4)
				for o := range got[k] {
					largest = max(largest, 4*math.Abs(got[k][o]-want[k][o])/correlation)
				}
			}
		}
	}
	if refused == 0 || refused == 100 || largest < 2e-4 {
		t.Errorf("%d of 100 refused, largest deviation %g: the limit was not tried", refused, largest)
	}
}

// Where one end has nothing but dark counts and noise there is no correlation, and
// no rounding that looks like one.
func TestAbsorptiveUncorrelated(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 8))
	for i := range 300 {
		l := randomAbsorptiveLab(rng, true, 0.5)
		l.dark, l.noise = 0.01, [2]float64{0.01, 0.01}
		switch i % 3 {
		case 0:
			l.eta[i/3%2] = 0
		case 1:
			l.pairs[i/3%2] = 0
		case 2:
			l.memory[i/3%2] = 0
		}
		m := l.model()
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		if f := herald.Fidelity(m); math.Abs(f-0.25) > 1e-12 {
			t.Errorf("%+v: fidelity %g, want 0.25", l, f)
		}
	}
}

// The two references of squeezed sources agree.
func TestAbsorptiveReferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 5))
	l := randomAbsorptiveLab(rng, true, 0.004)
	l.visibilities = [2]float64{1, 1}
	b := sourceRandomBasis(rng)
	got, want := l.gaussian(b), l.exact(b, 4)
	for k := range got {
		sourceClose(t, fmt.Sprintf("%+v in %v", l, b), got[k][:], want[k][:], 1e-14+sourceTail(4, 4, 0.002))
	}
}

// Weak squeezed sources are sources of single pairs, up to relative corrections of
// the order of the pairs. Small probabilities do not lose digits.
func TestAbsorptiveWeakSources(t *testing.T) {
	for _, eta := range []float64{1, 1e-3, 1e-6} {
		for _, memory := range []float64{1, 0.01} {
			const pairs = 1e-5
			l := absorptiveLab{pairs: [2]float64{pairs, pairs}, eta: [2]float64{eta, eta / 2}, visibilities: [2]float64{0.98, 0.9},
				memory: [2]float64{memory, memory}, visibility: 0.9}
			single := l.model()
			l.squeezed = true
			squeezed := l.model()
			if err := squeezed.Validate(); err != nil {
				t.Fatal(err)
			}
			if got, want := squeezed.SuccessProbability(), single.SuccessProbability(); math.Abs(got/want-1) > 10*pairs {
				t.Errorf("η=%g: success probability %g, want %g", eta, got, want)
			}
			if got, want := herald.Fidelity(squeezed), herald.Fidelity(single); math.Abs(got-want) > 10*pairs {
				t.Errorf("η=%g: fidelity %g, want %g", eta, got, want)
			}
		}
	}
	// By hand, with a memory that holds nothing back: both partners detected, half
	// the time in different bins.
	l := absorptiveLab{pairs: [2]float64{0.5, 0.4}, eta: [2]float64{0.3, 0.2}, visibilities: [2]float64{1, 0.9}, memory: [2]float64{0.5, 0.25}, visibility: 0.8}
	m := l.model()
	if got, want := m.SuccessProbability(), 0.5*0.5*0.4*0.3*0.2*0.5*0.25; math.Abs(got-want) > 1e-16 {
		t.Errorf("success probability %g, want %g", got, want)
	}
	if got, want := herald.Fidelity(m), (1+0.9*(2*0.8+1))/4; math.Abs(got-want) > 1e-14 {
		t.Errorf("fidelity %g, want %g", got, want)
	}
}

// The sum over Fock states of the one-photon protocol: populations and, read from
// the interference of the read-outs, coherence.
func TestAbsorptiveSingleClickIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 6))
	for i := range 15 {
		pairs := []float64{0.001, 0.02, 0.1}[i%3]
		l := randomAbsorptiveLab(rng, true, pairs)
		m := l.singleClick(0.9)
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		const most = 5
		tail := sourceTail(2, most, pairs)
		populations, coherence := l.single(most)
		h := m.Heralds()[0]
		if h.Label != qnet.PsiPlus || h.P != 0.5 {
			t.Fatalf("herald %+v", h)
		}
		p := m.SuccessProbability() / 2
		for o, want := range populations {
			if got := p * real(h.State[5*o]); got < want-1e-14 || got > want+tail+1e-14 {
				t.Errorf("%+v: population %d is %.12g, want %.12g and up to %.3g more", l, o, got, want, tail)
			}
		}
		if got := p * real(h.State[6]); math.Abs(got-0.9*coherence) > tail+1e-14 {
			t.Errorf("%+v: coherence %.12g, want %.12g", l, got, 0.9*coherence)
		}
		if got := m.Heralds()[1].State[9]; got != -h.State[6] {
			t.Errorf("%+v: coherence of Ψ− is %g", l, got)
		}
	}
	// By hand: weak sources and perfect memories share one excitation, but for the
	// overlap √V of the partners' amplitudes and the phase.
	l := absorptiveLab{pairs: [2]float64{1e-7, 1e-7}, eta: [2]float64{0.1, 0.1}, memory: [2]float64{1, 1}, visibility: 0.81}
	m := l.singleClick(0.8)
	if f, share := m.OnePhotonFidelity(); math.Abs(f-(1+0.9*0.8)/2) > 1e-6 || math.Abs(share-1) > 1e-6 {
		t.Errorf("fidelity %g in a share of %g, want 0.86 in all", f, share)
	}
	if p := m.SuccessProbability(); math.Abs(p/2e-8-1) > 1e-6 {
		t.Errorf("success probability %g, want 2e-8", p)
	}
}

func TestAbsorptiveInvariants(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 7))
	valid := 0
	for i := range 6000 {
		l := randomAbsorptiveLab(rng, i%3 != 0, 1)
		for j := range 2 {
			l.eta[j] *= sourceSmall(rng)
			l.memory[j] *= sourceSmall(rng)
			if l.squeezed {
				l.pairs[j] *= sourceSmall(rng)
			}
		}
		var m herald.Model = l.model()
		switch {
		case i%3 == 2:
			m = l.singleClick(rng.Float64())
		case i%3 == 1 && i%10 != 1: // its validation is slow
			continue
		}
		if m.Validate() != nil {
			continue
		}
		valid++
		sourceInvariants(t, m)
		if !herald.IsImmediate(m) {
			t.Errorf("%+v: its pairs can be kept", m)
		}
	}
	if valid < 3000 {
		t.Errorf("only %d were valid", valid)
	}
}

func TestPhotonMemory(t *testing.T) {
	m := herald.PhotonMemory{Write: 0.5, Read: 0.4, StorageNS: 2, LifetimeNS: 1}
	if got, want := m.Efficiency(), 0.2*math.Exp(-2); math.Abs(got-want) > 1e-16 {
		t.Errorf("efficiency %g, want %g", got, want)
	}
	m.Gaussian = true
	if got, want := m.Efficiency(), 0.2*math.Exp(-4); math.Abs(got-want) > 1e-16 {
		t.Errorf("efficiency %g, want %g", got, want)
	}
	m.LifetimeNS = 0
	if got := m.Efficiency(); got != 0.2 {
		t.Errorf("efficiency %g without decay, want 0.2", got)
	}
	// The memory for photons of a quantum dot that is quoted with an efficiency of
	// 0.129 and a signal-to-noise ratio of 18.2.
	m = herald.PhotonMemory{Write: 1, Read: 0.129}.WithSNR(18.2)
	if got := m.Efficiency() / (2 * m.Noise); math.Abs(got-18.2) > 1e-12 {
		t.Errorf("signal-to-noise ratio %g, want 18.2", got)
	}
	if m = m.WithSNR(math.Inf(1)); m.Noise != 0 {
		t.Errorf("noise %g, want none", m.Noise)
	}
}

func TestAbsorptiveErrors(t *testing.T) {
	nan := math.NaN()
	two := func(f func(*herald.Absorptive)) error {
		e := herald.AbsorptiveEnd{Pairs: 0.01, Eta: 0.1, Memory: herald.PhotonMemory{Write: 1, Read: 0.1}}
		m := herald.Absorptive{A: e, B: e, VisibilityA: 1, VisibilityB: 1, Visibility: 1, PeriodNS: 1}
		f(&m)
		return m.Validate()
	}
	one := func(f func(*herald.AbsorptiveSingleClick)) error {
		e := herald.AbsorptiveEnd{Pairs: 0.01, Eta: 0.1, Memory: herald.PhotonMemory{Write: 1, Read: 0.1}}
		m := herald.AbsorptiveSingleClick{A: e, B: e, Visibility: 1, Coherence: 1, PeriodNS: 1}
		f(&m)
		return m.Validate()
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{two(func(m *herald.Absorptive) { m.Source = 2 }), "absorptive link: source is 2, want 0 (single pair) or 1 (squeezed pairs)"},
		{two(func(m *herald.Absorptive) { m.A.Pairs = 1.5 }), "absorptive link: end A: pairs per attempt is 1.5, want from 0 to 1"},
		{two(func(m *herald.Absorptive) { m.B.Eta = nan }), "absorptive link: end B: detection efficiency in the middle is NaN, want from 0 to 1"},
		{two(func(m *herald.Absorptive) { m.B.Memory.Write = 2 }), "absorptive link: end B: write efficiency is 2, want from 0 to 1"},
		{two(func(m *herald.Absorptive) { m.B.Memory.Read = -1 }), "absorptive link: end B: read-out efficiency is -1, want from 0 to 1"},
		{two(func(m *herald.Absorptive) { m.A.Memory.Noise = 1 }), "absorptive link: end A: noise probability of a read-out is 1, want from 0 to below 1"},
		{two(func(m *herald.Absorptive) { m.A.Memory.LifetimeNS = -1 }), "absorptive link: end A: lifetime in nanoseconds is -1, want above 0, or 0 for no loss"},
		{two(func(m *herald.Absorptive) { m.A.Memory.StorageNS = -1 }), "absorptive link: end A: storage time in nanoseconds is -1, want from 0 to 3.6e12, an hour"},
		{two(func(m *herald.Absorptive) { m.HeraldNS, m.A.Memory.StorageNS = 5, 4 }), "absorptive link: end A: storage time in nanoseconds is 4, want at least 5, when the herald arrives"},
		{two(func(m *herald.Absorptive) { m.HeraldNS = -5 }), "absorptive link: time until the herald in nanoseconds is -5, want from 0 to 3.6e12, an hour"},
		{two(func(m *herald.Absorptive) { m.VisibilityA = 2 }), "absorptive link: visibility of the source of end A is 2, want from 0 to 1"},
		{two(func(m *herald.Absorptive) { m.VisibilityB = nan }), "absorptive link: visibility of the source of end B is NaN, want from 0 to 1"},
		{two(func(m *herald.Absorptive) { m.Visibility = -1 }), "absorptive link: visibility in the middle is -1, want from 0 to 1"},
		{two(func(m *herald.Absorptive) { m.DarkCount = 1 }), "absorptive link: dark count probability is 1, want from 0 to below 1"},
		{two(func(m *herald.Absorptive) { m.PeriodNS = 0 }), "absorptive link: attempt period in nanoseconds is 0, want"},
		{two(func(m *herald.Absorptive) { m.A.Pairs = 0 }), "absorptive link: sources of 0 and 0.01 pairs never give a herald and a click behind both memories"},
		{two(func(m *herald.Absorptive) { m.Source, m.A.Pairs = herald.SqueezedPairs, 0 }), "absorptive link: sources of 0 and 0.01 pairs never give a herald and a click behind both memories"},
		{two(func(m *herald.Absorptive) {
			m.Source = herald.SqueezedPairs
			m.A = herald.AbsorptiveEnd{Pairs: 1, Eta: 1, Memory: herald.PhotonMemory{Write: 1, Read: 1}}
			m.B = m.A
		}), "absorptive link: pairs per attempt are 1 and 1: correlations deviate by"},
		{two(func(m *herald.Absorptive) {
			m.Source, m.A.Memory.Read, m.B.Memory.Read = herald.SqueezedPairs, 1e-7, 1e-7
		}), "absorptive link: share of heralds with a click behind both memories is"},
		{one(func(m *herald.AbsorptiveSingleClick) { m.Coherence = 2 }), "absorptive single-click link: coherence is 2, want from 0 to 1"},
		{one(func(m *herald.AbsorptiveSingleClick) { m.B.Pairs = nan }), "absorptive single-click link: end B: pairs per attempt is NaN, want from 0 to 1"},
		{one(func(m *herald.AbsorptiveSingleClick) { m.A.Eta, m.B.Eta = 0, 0 }), "absorptive single-click link: sources of 0.01 and 0.01 pairs, seen with 0 and 0, never herald"},
	} {
		if !errors.Is(c.err, qnet.ErrInvalid) || !strings.HasPrefix(c.err.Error(), c.want) {
			t.Errorf("error %v (code %v), want %q with code %v", c.err, qnet.CodeOf(c.err), c.want, qnet.ErrInvalid)
		}
	}
}

func BenchmarkAbsorptiveSqueezedValidate(b *testing.B) {
	l := randomAbsorptiveLab(rand.New(rand.NewPCG(1, 1)), true, 0.05)
	m := l.model()
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
