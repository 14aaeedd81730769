package prepare_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical/optics"
	"qstack/physical/prepare"
)

// trial is the repeater slot by slot, written from the physics: photons are
// emitted, lost and stored, memories err, wait and are flipped in phase, are
// emptied at the cut-off, and swapped.
type trial struct {
	slots, pairs, errorsZ, errorsX float64
	slots2                         float64 // sum of the squares of the slots of a pair
}

func simulate(rng *rand.Rand, r prepare.Repeater, pairs int) (s trial) {
	type memory struct {
		full, junk, flipped bool
		age                 uint64
	}
	flip := 0.0 // probability of a phase flip in a slot
	if r.T2 > 0 {
		flip = (1 - math.Exp(-r.Slot/r.T2)) / 2
	}
	eta := [2]float64{r.EtaA, r.EtaB}
	var m [2]memory
	since := 0.0
	for int(s.pairs) < pairs {
		since++
		for i := range m {
			switch {
			case m[i].full:
				m[i].age++
				if rng.Float64() < flip {
					m[i].flipped = !m[i].flipped
				}
			case rng.Float64() < r.Efficiency && rng.Float64() < eta[i]: // emitted and stored, and through the channel
				m[i] = memory{full: true}
			case rng.Float64() < r.Dark:
				m[i] = memory{full: true, junk: true}
			}
		}
		if m[0].full && m[1].full {
			if rng.Float64() < r.Swap {
				s.pairs++
				s.slots += since
				s.slots2 += since * since
				since = 0
				wrongZ, wrongX := rng.Float64() < r.Error, rng.Float64() < r.Error
				if m[0].flipped != m[1].flipped {
					wrongX = !wrongX
				}
				if m[0].junk || m[1].junk {
					wrongZ, wrongX = rng.IntN(2) == 0, rng.IntN(2) == 0
				}
				if wrongZ {
					s.errorsZ++
				}
				if wrongX {
					s.errorsX++
				}
			}
			m = [2]memory{}
		}
		for i := range m {
			if r.Cutoff > 0 && m[i].full && m[i].age >= r.Cutoff {
				m[i] = memory{}
			}
		}
	}
	return s
}

// Time and errors of the closed form are those of the slots. 5 standard errors
// each (6e-7); the seed is fixed.
func TestRepeaterBySlots(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const pairs = 40_000
	for i, r := range []prepare.Repeater{
		{EtaA: 0.1, EtaB: 0.1, Efficiency: 0.9, Swap: 1, Slot: 1, T2: 30},
		{EtaA: 0.3, EtaB: 0.05, Efficiency: 0.8, Dark: 0.01, Swap: 0.5, Error: 0.02, Slot: 1, T2: 20},
		{EtaA: 0.1, EtaB: 0.2, Efficiency: 1, Swap: 0.5, Error: 0.01, Slot: 1, T2: 10, Cutoff: 4},
		{EtaA: 0.2, EtaB: 0.1, Efficiency: 0.5, Dark: 0.02, Swap: 1, Slot: 1, Cutoff: 1, T2: 5},
		{EtaA: 1, EtaB: 0.3, Efficiency: 1, Swap: 1, Slot: 1, T2: 5, Cutoff: 7},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			s := simulate(rng, r, pairs)
			want := r.SlotsPerPair()
			mean := s.slots / pairs
			se := math.Sqrt((s.slots2/pairs - mean*mean) / pairs)
			if math.Abs(mean-want) > 5*se {
				t.Errorf("%.4f slots per pair, want %.4f ± %.4f", mean, want, se)
			}
			z, x := r.Errors()
			for _, c := range []struct {
				name      string
				got, want float64
			}{{"Z", s.errorsZ / pairs, z}, {"X", s.errorsX / pairs, x}} {
				if se := math.Sqrt(c.want * (1 - c.want) / pairs); math.Abs(c.got-c.want) > 5*se {
					t.Errorf("error rate in %s %.5f, want %.5f ± %.5f", c.name, c.got, c.want, se)
				}
			}
		})
	}
}

// The waiting times of two memories as they are usually written, and the limits of
// the cut-off.
func TestRepeaterClosedForms(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 1000 {
		p, q := math.Pow(10, -9*rng.Float64()), math.Pow(10, -9*rng.Float64())
		r := prepare.Repeater{EtaA: p, EtaB: q, Efficiency: 1, Swap: 0.5, Slot: 1, T2: math.Pow(10, 10*rng.Float64())}
		near(t, "slots per pair", r.SlotsPerPair(), 2*(1/p+1/q-1/(p+q-p*q)), 1e-12)
		long := r
		long.Cutoff = 1 << 62
		near(t, "slots with a long cut-off", long.SlotsPerPair(), r.SlotsPerPair(), 1e-12)
		_, x := r.Errors()
		_, xl := long.Errors()
		near(t, "error with a long cut-off", xl, x, 1e-9)
		// A cut-off trades rate for quality.
		short := r
		short.Cutoff = 1 + rng.Uint64N(1000)
		if _, xs := short.Errors(); xs > x*(1+1e-9) || short.SlotsPerPair() < r.SlotsPerPair()*(1-1e-9) {
			t.Fatalf("%+v: cut-off: error %g and %g, slots %g and %g", short, xs, x, short.SlotsPerPair(), r.SlotsPerPair())
		}
	}
	// A memory that keeps its state loses nothing by waiting; photons that always
	// arrive do not wait.
	for _, r := range []prepare.Repeater{
		{EtaA: 1e-3, EtaB: 1e-3, Efficiency: 1, Swap: 1, Slot: 1},
		{EtaA: 1, EtaB: 1, Efficiency: 1, Swap: 1, Slot: 1, T2: 1e-3, Cutoff: 1},
	} {
		if z, x := r.Errors(); z != 0 || math.Abs(x) > 1e-16 {
			t.Errorf("%+v: errors %g and %g, want 0", r, z, x)
		}
	}
}

// With perfect memories of low efficiency ε the rate is (2/3)·ε·√η·Swap, so the
// repeaterless bound η/ln2 is crossed at √η=(2/3)·ε·Swap·ln2. With perfect ones
// it is crossed where 1/(2/p−1/(2p−p²)) is −log2(1−p²), at p=0.41 and little loss,
// so the sum is done.
func TestCrossingWhereTheFormulaSays(t *testing.T) {
	for _, efficiency := range []float64{1e-2, 1e-3} {
		r := prepare.Repeater{Efficiency: efficiency, Swap: 0.5, Slot: 1}
		dB, ok := prepare.Crossing(func(eta float64) float64 { return r.At(eta).KeyRate(1) })
		want := -20 * math.Log10(2.0/3*efficiency*0.5*math.Ln2)
		if !ok || math.Abs(dB-want) > 0.05 {
			t.Errorf("efficiency %g: crosses at %g dB, want %g", efficiency, dB, want)
		}
	}
	perfect := prepare.Repeater{Efficiency: 1, Swap: 1, Slot: 1}
	dB, ok := prepare.Crossing(func(eta float64) float64 { return perfect.At(eta).KeyRate(1) })
	p := math.Pow(10, -dB/20)
	if !ok || math.Abs(1/(2/p-1/(2*p-p*p))+math.Log2(1-p*p)) > 1e-9 {
		t.Errorf("perfect repeater crosses at %g dB, p=%g", dB, p)
	}
	// A memory that forgets at once never does.
	forgets := prepare.Repeater{Efficiency: 0.5, Swap: 0.5, Slot: 1, T2: 0.1}
	if dB, ok := prepare.Crossing(func(eta float64) float64 { return forgets.At(eta).KeyRate(1) }); ok {
		t.Errorf("a memory without memory crosses at %g dB", dB)
	}
}

// keyRate returns the key rate of a simulation and its standard error, by the
// derivatives of the formula.
func (s trial) keyRate(f float64) (rate, se float64) {
	z, x := s.errorsZ/s.pairs, s.errorsX/s.pairs
	mean := s.slots / s.pairs
	fraction := 1 - optics.Entropy(x) - f*optics.Entropy(z)
	slope := func(e float64) float64 { return math.Log2((1 - e) / e) }
	v := math.Pow(slope(x), 2)*x*(1-x)/s.pairs + f*f*math.Pow(slope(z), 2)*z*(1-z)/s.pairs
	relative := (s.slots2/s.pairs - mean*mean) / s.pairs / (mean * mean)
	return fraction / mean, math.Sqrt(v/(mean*mean) + relative*fraction*fraction/(mean*mean))
}

// A simulated repeater is below the repeaterless bound at 1.5 dB less than where
// the closed form crosses it, above it at 1.5 dB more, by 5 standard errors each,
// and within 5 of it where it crosses.
func TestCrossingBySlots(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	const f, pairs = 1.16, 60_000
	r := prepare.Repeater{Efficiency: 0.6, Dark: 1e-5, Swap: 1, Error: 0.01, Slot: 1e-6, T2: 1e-3}
	dB, ok := prepare.Crossing(func(eta float64) float64 { return r.At(eta).KeyRate(f) })
	if !ok {
		t.Fatal("the closed form never crosses the bound")
	}
	for _, side := range []float64{-1.5, 0, 1.5} {
		eta := optics.Transmission(dB + side)
		rate, se := simulate(rng, r.At(eta), pairs).keyRate(f)
		off := (rate - optics.Repeaterless(eta)) / se
		t.Logf("%.3f dB: %.6g ± %.2g bits per slot, bound %.6g, %+.1f standard errors", dB+side, rate, se, optics.Repeaterless(eta), off)
		switch {
		case side < 0 && off > -5, side > 0 && off < 5, side == 0 && math.Abs(off) > 5:
			t.Errorf("%.3f dB: %g standard errors above the bound", dB+side, off)
		}
	}
}
