package prepare_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical/prepare"
)

// What decoys tell holds for every link and every choice of intensities, and is
// all there is to know when both are weak.
func TestBoundSingleHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	useful := 0
	for range 5000 {
		s := station{math.Pow(10, -4*rng.Float64()), math.Pow(10, -2-6*rng.Float64()), 0.3 * rng.Float64()}
		d := prepare.DecoyBB84{Receiver: receiver(s)}
		for i := range 2 + rng.IntN(4) {
			mean := rng.Float64()
			if i > 0 && rng.IntN(3) == 0 {
				mean = 0
			}
			d.Intensities = append(d.Intensities, prepare.Intensity{Mean: mean})
		}
		p := s.exact(1)
		y1, e1 := p[right]+p[wrong], p[wrong]/(p[right]+p[wrong])
		got := prepare.BoundSingle(d.Observations())
		if got.Gain > y1*(1+1e-9) || got.Error < e1*(1-1e-7) {
			t.Fatalf("%+v: bounds %+v, but a photon has gain %g and error rate %g", d, got, y1, e1)
		}
		if got.Gain > 0 {
			useful++
		}
	}
	if useful < 1000 {
		t.Errorf("%d of 5000 bounds tell anything", useful)
	}
	d := prepare.DecoyBB84{
		Receiver:    prepare.Receiver{Transmission: 1e-3, Dark: 1e-7, Misalignment: 0.02},
		Intensities: []prepare.Intensity{{Mean: 0.5}, {Mean: 1e-4}, {Mean: 0}},
	}
	one := d.Photons(1)
	got := prepare.BoundSingle(d.Observations())
	near(t, "gain by weak decoys", got.Gain, one.Gain, 1e-4)
	near(t, "error rate by weak decoys", got.Error, one.Error, 1e-3)
	near(t, "key rate by weak decoys", d.KeyRate(1.16), d.SignalKeyRate(0.5, 1.16), 1e-3)
	if d.KeyRate(1.16) > d.SignalKeyRate(0.5, 1.16) {
		t.Error("few decoys give more key than infinitely many")
	}
}

// Without a pair of decoys below the signal nothing is known, and there is no key.
func TestBoundSingleNeedsDecoys(t *testing.T) {
	for _, list := range [][]prepare.Intensity{
		{{Mean: 0.5}},
		{{Mean: 0.5}, {Mean: 0.1}},
		{{Mean: 0.5}, {Mean: 0.4}, {Mean: 0.2}},
		{{Mean: 0.5}, {Mean: 0.1}, {Mean: 0.1}},
	} {
		d := prepare.DecoyBB84{Receiver: prepare.Receiver{Transmission: 0.1}, Intensities: list}
		if got := prepare.BoundSingle(d.Observations()); got.Gain != 0 || got.Error != 0.5 || d.KeyRate(1) != 0 {
			t.Errorf("%v: bounds %+v, key rate %g", list, got, d.KeyRate(1))
		}
	}
	if k := (prepare.DecoyBB84{}).KeyRate(1); k != 0 {
		t.Errorf("no pulses give a key of %g", k)
	}
	if got := prepare.BoundSingle(nil); got.Gain != 0 || got.Error != 0.5 {
		t.Errorf("no observation gives %+v", got)
	}
}

// The bounds of vacuum and weak decoy as they are written in Ma et al. (2005).
func TestVacuumAndWeak(t *testing.T) {
	const mu, nu = 0.48, 0.05
	d := prepare.DecoyBB84{
		Receiver:    prepare.Receiver{Transmission: 2e-3, Dark: 8.5e-7, Misalignment: 0.033},
		Intensities: []prepare.Intensity{{Mean: mu}, {Mean: nu}, {Mean: 0}},
	}
	s, w, v := d.Coherent(mu), d.Coherent(nu), d.Coherent(0)
	y1 := mu / (mu*nu - nu*nu) * (w.Gain*math.Exp(nu) - s.Gain*math.Exp(mu)*nu*nu/(mu*mu) - (mu*mu-nu*nu)/(mu*mu)*v.Gain)
	e1 := (w.Error*w.Gain*math.Exp(nu) - v.Gain/2) / (y1 * nu)
	got := prepare.BoundSingle(d.Observations())
	near(t, "gain", got.Gain, y1, 1e-12)
	near(t, "error rate", got.Error, e1, 1e-12)
}

// The experiment of C. Gobby, Z. L. Yuan and A. J. Shields, Appl. Phys. Lett. 84,
// 3762 (2004), as Ma et al. (2005) take it: 0.21 dB/km, receiver 4.5 %, background
// 1.7e-6, misalignment 3.3 %, f=1.22. They find the best signal 0.48, from
// exp(−μ)(1−μ) = f·h(e)/(1−h(e)), and a key with infinitely many decoys up to
// 142 km. For f=1 the best signal is 0.54.
func TestPublishedDecoyDistance(t *testing.T) {
	at := func(km float64) prepare.Receiver {
		return prepare.Receiver{Transmission: 0.045 * math.Pow(10, -0.021*km), Dark: 0.85e-6, Misalignment: 0.033}
	}
	const f = 1.22
	if mu := at(50).BestSignal(f); math.Abs(mu-0.48) > 0.005 {
		t.Errorf("the best signal is %g, want 0.48", mu)
	}
	if mu := at(50).BestSignal(1); math.Abs(mu-0.54) > 0.005 {
		t.Errorf("the best signal with f=1 is %g, want 0.54", mu)
	}
	km := 100.0
	for at(km).SignalKeyRate(0.48, f) > 0 {
		km += 0.1
	}
	if math.Abs(km-142) > 0.6 {
		t.Errorf("the key ends at %.1f km, want 142", km)
	}
}

// No signal is better than the best, on links of any loss.
func TestBestSignal(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 100 {
		r := prepare.Receiver{Transmission: math.Pow(10, -5*rng.Float64()), Dark: 1e-7 * rng.Float64(), Misalignment: 0.05 * rng.Float64()}
		f := 1 + 0.2*rng.Float64()
		best := r.SignalKeyRate(r.BestSignal(f), f)
		for range 100 {
			if mu := 1e-4 + rng.Float64(); r.SignalKeyRate(mu, f) > best*(1+1e-9) {
				t.Fatalf("%+v: signal %g gives %g, the best %g gives %g", r, mu, r.SignalKeyRate(mu, f), r.BestSignal(f), best)
			}
		}
	}
}
