package prepare_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical/prepare"
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

func randomStation(rng *rand.Rand) station {
	s := station{rng.Float64(), 0.5 * rng.Float64(), 0.5 * rng.Float64()}
	switch rng.IntN(10) { // the ends of the ranges too
	case 0:
		s.eta = float64(rng.IntN(2))
	case 1:
		s.dark = 0
	case 2:
		s.misalignment = 0
	}
	return s
}

func receiver(s station) prepare.Receiver {
	return prepare.Receiver{Transmission: s.eta, Dark: s.dark, Misalignment: s.misalignment}
}

// The response to n photons is the sum over all that can happen to them, and
// the response to coherent light the average of those.
func TestReceiverIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		s := randomStation(rng)
		r := receiver(s)
		mean := 0.5 * rng.Float64()
		var gain, errors float64
		weight := math.Exp(-mean)
		for n := range 8 {
			p := s.exact(n)
			y := r.Photons(n)
			if math.Abs(y.Gain-p[right]-p[wrong]) > 1e-12 || math.Abs(y.Gain*y.Error-p[wrong]) > 1e-12 {
				t.Fatalf("%+v: %d photons have gain %.16g and error %.16g, want %.16g and %.16g", s, n, y.Gain, y.Gain*y.Error, p[right]+p[wrong], p[wrong])
			}
			gain += weight * (p[right] + p[wrong])
			errors += weight * p[wrong]
			weight *= mean / float64(n+1)
		}
		c := r.Coherent(mean)
		tail := 2*weight + 1e-12 // 8 photons and more
		if math.Abs(c.Gain-gain) > tail || math.Abs(c.Gain*c.Error-errors) > tail {
			t.Fatalf("%+v: mean %g has gain %.16g and error %.16g, want %.16g and %.16g", s, mean, c.Gain, c.Gain*c.Error, gain, errors)
		}
		if c.Error < 0 || c.Error > 0.5+1e-15 {
			t.Fatalf("%+v: mean %g has error rate %g", s, mean, c.Error)
		}
	}
}

// Photon by photon: Poisson numbers, loss, polarisation, dark counts, coin. In
// the other basis the gain is the same and the bit random. False alarms below
// 1e-6; the seed is fixed.
func TestReceiverByPhotons(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	const pulses = 100_000
	for _, s := range []station{{0.3, 0.02, 0.05}, {0.9, 0.001, 0.2}, {0.02, 0.01, 0.01}} {
		for _, mean := range []float64{0, 0.5, 3} {
			var same, other [3]int
			for range pulses {
				same[s.receive(rng, poisson(rng, mean), true)]++
				other[s.receive(rng, poisson(rng, mean), false)]++
			}
			c := receiver(s).Coherent(mean)
			qnettest.Fit(t, "same basis", same[:], []float64{1 - c.Gain, c.Gain * (1 - c.Error), c.Gain * c.Error})
			qnettest.Fit(t, "other basis", other[:], []float64{1 - c.Gain, c.Gain / 2, c.Gain / 2})
		}
	}
}

// The usual approximations, Q=Y0+1−exp(−s) and E·Q=Y0/2+e·(1−exp(−s)) with s=ημ,
// agree where links are long. Where they are short, a click of the right detector
// hides some of the wrong one: expanding both in s, the error is s²/12 less, of
// itself, to first order in e.
func TestUsualApproximation(t *testing.T) {
	usual := func(s, dark, e float64) (gain, error float64) {
		click := -math.Expm1(-s)
		gain = 2*dark + click
		return gain, (dark + e*click) / gain
	}
	for _, loss := range []float64{1e-1, 1e-2, 1e-4, 1e-6} {
		r := prepare.Receiver{Transmission: loss, Dark: 1e-9, Misalignment: 0.01}
		c := r.Coherent(0.5)
		gain, e := usual(loss*0.5, 1e-9, 0.01)
		near(t, "gain", gain, c.Gain, 1e-8)
		near(t, "error", e, c.Error, 0.5*loss*0.5*loss*0.5/12*2.2+1e-7)
	}
	for _, s := range []float64{0.02, 0.05, 0.1} {
		c := prepare.Receiver{Transmission: s, Misalignment: 1e-6}.Coherent(1)
		_, e := usual(s, 0, 1e-6)
		near(t, "difference of the errors", c.Error/e-1, s*s/12, s)
	}
	// At a gain of 40 % it is beyond 2 %.
	c := prepare.Receiver{Transmission: 1, Misalignment: 0.01}.Coherent(0.5)
	if _, e := usual(0.5, 0, 0.01); math.Abs(c.Error/e-1) < 0.019 {
		t.Errorf("error is %g, usual %g", c.Error, e)
	}
}

// Nothing is lost to rounding where next to nothing is detected.
func TestReceiverPrecision(t *testing.T) {
	r := prepare.Receiver{Transmission: 1e-14, Dark: 1e-17, Misalignment: 0.01}
	c := r.Coherent(0.5)
	near(t, "gain", c.Gain, 5e-15+2e-17, 1e-13)
	near(t, "errors", c.Gain*c.Error, 5e-17+1e-17, 1e-13)
	one := r.Photons(1)
	near(t, "gain of one", one.Gain, 1e-14+2e-17, 1e-13)
	near(t, "errors of one", one.Gain*one.Error, 1e-16+1e-17, 1e-12)
	near(t, "gain of none", r.Photons(0).Gain, 2e-17, 1e-13)
	near(t, "error of none", r.Photons(0).Error, 0.5, 1e-15)
	if c := (prepare.Receiver{Transmission: 1}).Coherent(0); c.Gain != 0 || c.Error != 0.5 {
		t.Errorf("vacuum without dark counts has gain %g and error rate %g", c.Gain, c.Error)
	}
}

// A source of given emission probability and g2 has them.
func TestSinglePhotonSource(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 1000 {
		emission := 0.01 + 0.99*rng.Float64()
		g2 := rng.Float64() / (2 * emission)
		s, err := prepare.NewSinglePhoton(emission, g2, prepare.Receiver{}, prepare.Bases{})
		if err != nil {
			t.Fatal(err)
		}
		near(t, "emission", s.One+s.Two, emission, 1e-14)
		mean := s.One + 2*s.Two
		near(t, "g2", 2*s.Two/(mean*mean), g2, 1e-9)
		near(t, "G2", s.G2(), g2, 1e-9)
		if s.One < -1e-15 || s.Two < 0 {
			t.Fatalf("emission %g, g2 %g: %+v", emission, g2, s)
		}
	}
}

func TestSinglePhotonResponse(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 1000 {
		lab := randomStation(rng)
		two := rng.Float64()
		one := (1 - two) * rng.Float64()
		s := prepare.SinglePhoton{Receiver: receiver(lab), One: one, Two: two}
		var want [3]float64
		for n, p := range []float64{1 - one - two, one, two} {
			for k, x := range lab.exact(n) {
				want[k] += p * x
			}
		}
		r := s.Response()
		if math.Abs(r.Gain-want[right]-want[wrong]) > 1e-14 || math.Abs(r.Gain*r.Error-want[wrong]) > 1e-14 {
			t.Fatalf("%+v: response is %+v, want right and wrong %v", s, r, want)
		}
	}
}

// The key is that of the formula, from the reference's gains.
func TestSinglePhotonKeyFormula(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	h := func(p float64) float64 { return -p*math.Log2(p) - (1-p)*math.Log2(1-p) }
	keys := 0
	for range 1000 {
		lab := station{math.Pow(10, -2*rng.Float64()), 1e-4 * rng.Float64(), 0.1 * rng.Float64()}
		one, two, f := 0.5+0.4*rng.Float64(), 0.02*rng.Float64(), 1+0.2*rng.Float64()
		var q, eq float64
		for n, p := range []float64{1 - one - two, one, two} {
			x := lab.exact(n)
			q += p * (x[right] + x[wrong])
			eq += p * x[wrong]
		}
		want := 0.0
		if single := q - two; single > 0 && eq/single < 0.5 {
			want = max(0, single*(1-h(eq/single))-q*f*h(eq/q))
		}
		got := prepare.SinglePhoton{Receiver: receiver(lab), One: one, Two: two}.KeyRate(f)
		if math.Abs(got-want) > 1e-12 {
			t.Fatalf("%+v, %g, %g, f=%g: key rate %g, want %g", lab, one, two, f, got, want)
		}
		if got > 0 {
			keys++
		}
	}
	if keys < 300 || keys > 900 {
		t.Errorf("%d of 1000 links have a key", keys)
	}
}

// A perfect source without dark counts has the key of BB84, η·(1−2h(e)), positive
// below 11.0 %; two photons cost it where the loss exceeds what they bring.
func TestSinglePhotonKey(t *testing.T) {
	s := prepare.SinglePhoton{Receiver: prepare.Receiver{Transmission: 0.1}, One: 1}
	near(t, "key rate", s.KeyRate(1), 0.1, 1e-14)
	s.Misalignment = 0.1100278
	if k := s.KeyRate(1); !(k > 0 && k < 1e-6) {
		t.Errorf("key rate just below 11.00279 %% is %g", k)
	}
	s.Misalignment = 0.1100280
	if k := s.KeyRate(1); k != 0 {
		t.Errorf("key rate just above 11.00279 %% is %g", k)
	}
	for _, c := range []struct {
		eta float64
		key bool
	}{{1e-2, true}, {1.01e-3, true}, {0.9e-3, false}} {
		s := prepare.SinglePhoton{Receiver: prepare.Receiver{Transmission: c.eta}, One: 0.5, Two: 0.5e-3}
		if got := s.KeyRate(1) > 0; got != c.key {
			t.Errorf("transmission %g: key %v, want %v", c.eta, got, c.key)
		}
	}
}

func TestValidate(t *testing.T) {
	nan := math.NaN()
	good := prepare.Bases{SenderZ: 0.5, ReceiverZ: 0.5}
	pick := func(_ any, err error) error { return err }
	decoy := func(list ...prepare.Intensity) error {
		return prepare.DecoyBB84{Bases: good, Intensities: list}.Validate()
	}
	twin := prepare.TwinField{EtaA: 0.1, EtaB: 0.1}
	end := prepare.TwinFieldSender{Key: prepare.Intensity{Mean: 0.1, Probability: 1}}
	rep := prepare.Repeater{EtaA: 0.1, EtaB: 0.1, Efficiency: 1, Swap: 1, Slot: 1e-6}
	with := func(f func(r *prepare.Repeater)) error {
		r := rep
		f(&r)
		return r.Validate()
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{prepare.Receiver{Transmission: 1.5}.Validate(), "BB84 receiver: transmission is 1.5, want from 0 to 1"},
		{prepare.Receiver{Dark: nan}.Validate(), "BB84 receiver: dark probability is NaN, want from 0 to 0.5"},
		{prepare.Receiver{Misalignment: 0.6}.Validate(), "BB84 receiver: misalignment is 0.6, want from 0 to 0.5"},
		{prepare.SinglePhoton{Bases: prepare.Bases{SenderZ: -1}}.Validate(), "single-photon link: sender's probability of Z is -1, want from 0 to 1"},
		{prepare.SinglePhoton{One: 2}.Validate(), "single-photon link: probability of one photon is 2, want from 0 to 1"},
		{prepare.SinglePhoton{One: 0.7, Two: 0.5}.Validate(), "single-photon link: probability of one photon or two is 1.2, want at most 1"},
		{prepare.SinglePhoton{Receiver: prepare.Receiver{Transmission: -1}}.Validate(), "transmission is -1"},
		{pick(prepare.NewSinglePhoton(0, 0, prepare.Receiver{}, good)), "probability of emission is 0, want above 0 and at most 1"},
		{pick(prepare.NewSinglePhoton(1, 0.6, prepare.Receiver{}, good)), "g2 is 0.6, want from 0 to half"},
		{pick(prepare.SinglePhoton{One: 2}.Sampler()), "probability of one photon is 2"},
		{decoy(), "decoy BB84 link: there are 0 intensities, want from 1 to 16"},
		{decoy(prepare.Intensity{Mean: -1, Probability: 1}), "decoy BB84 link: mean of intensity 0 is -1, want from 0 to 100"},
		{decoy(prepare.Intensity{Probability: 1}, prepare.Intensity{Probability: nan}), "probability of intensity 1 is NaN, want from 0 to 1"},
		{decoy(prepare.Intensity{Probability: 0.7}), "sum of the probabilities of the intensities is 0.7, want 1"},
		{prepare.DecoyBB84{Bases: prepare.Bases{ReceiverZ: 3}}.Validate(), "decoy BB84 link: receiver's probability of Z is 3"},
		{pick(prepare.DecoyBB84{}.Sampler()), "there are 0 intensities"},
		{prepare.TwinField{EtaA: -1}.Validate(), "twin-field link: detection efficiency of end A is -1, want from 0 to 1"},
		{prepare.TwinField{EtaB: 2}.Validate(), "twin-field link: detection efficiency of end B is 2, want from 0 to 1"},
		{prepare.TwinField{Dark: 1}.Validate(), "twin-field link: dark probability is 1, want from 0 to 0.5"},
		{prepare.TwinField{Misalignment: 1}.Validate(), "twin-field link: misalignment is 1, want from 0 to 0.5"},
		{prepare.TwinField{PhaseOffset: 4}.Validate(), "twin-field link: phase offset in radians is 4, want from -3.141592653589793 to 3.141592653589793"},
		{prepare.TwinField{PhaseNoise: nan}.Validate(), "twin-field link: phase noise in radians is NaN, want from 0 to 100"},
		{pick(prepare.TwinField{EtaA: 2}.Sampler(end, end)), "detection efficiency of end A is 2"},
		{pick(twin.Sampler(prepare.TwinFieldSender{}, end)), "twin-field link, end A: sum of the probabilities of the intensities is 0, want 1"},
		{pick(twin.Sampler(end, prepare.TwinFieldSender{Key: prepare.Intensity{Mean: 101}})), "twin-field link, end B: mean of intensity 0 is 101, want from 0 to 100"},
		{with(func(r *prepare.Repeater) { r.EtaA = 2 }), "repeater: transmission of half A is 2, want from 0 to 1"},
		{with(func(r *prepare.Repeater) { r.Efficiency = nan }), "repeater: efficiency is NaN, want from 0 to 1"},
		{with(func(r *prepare.Repeater) { r.Swap = 2 }), "repeater: probability of a successful swap is 2, want from 0 to 1"},
		{with(func(r *prepare.Repeater) { r.Error = 0.7 }), "repeater: error rate is 0.7, want from 0 to 0.5"},
		{with(func(r *prepare.Repeater) { r.Slot = -1 }), "repeater: slot in seconds is -1, want from 0 to 3600"},
		{with(func(r *prepare.Repeater) { r.T2 = -1 }), "repeater: T2 in seconds is -1, want from 0 to 1e+12"},
		{with(func(r *prepare.Repeater) { r.EtaB = 0 }), "repeater: probability that a slot loads a memory is 0, want above 0 for both ends"},
	} {
		qnettest.WantErr(t, c.err, qnet.ErrInvalid, c.want)
	}
	if err := rep.Validate(); err != nil {
		t.Error(err)
	}
	if err := twin.Validate(); err != nil {
		t.Error(err)
	}
	if err := decoy(prepare.Intensity{Mean: 0.5, Probability: 0.9}, prepare.Intensity{Probability: 0.1}); err != nil {
		t.Error(err)
	}
}
