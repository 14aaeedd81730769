package prepare_test

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"qstack/physical/prepare"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// must returns what a call returned, for a test that cannot go on after an error.
func must[T any](x T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

var lab = prepare.DecoyBB84{
	Receiver:    prepare.Receiver{Transmission: 0.3, Dark: 0.01, Misalignment: 0.05},
	Bases:       prepare.Bases{SenderZ: 0.7, ReceiverZ: 0.6},
	Intensities: []prepare.Intensity{{Mean: 0.6, Probability: 0.5}, {Mean: 0.2, Probability: 0.3}, {Mean: 0, Probability: 0.2}},
}

// Detections that are drawn are those of pulses that are sent, photon by photon:
// the gaps between them, the intensities, bases and bits of both ends. False
// alarms below 1e-6; the seed is fixed.
func TestDetectEqualsPulses(t *testing.T) {
	const detections = 60_000
	const bins = 40
	kindOf := func(intensity, sb, sbit, rb, rbit uint8) int {
		return int(intensity)<<4 | int(sb)<<3 | int(sbit)<<2 | int(rb)<<1 | int(rbit)
	}
	var kinds, drawn [48]int
	var gaps, skipped [bins]int

	rng := rand.New(rand.NewPCG(1, 1))
	st := station{lab.Transmission, lab.Dark, lab.Misalignment}
	draw := func(p float64) uint8 { // Z is 0
		if rng.Float64() < p {
			return 0
		}
		return 1
	}
	for n, gap := 0, 0; n < detections; {
		u := rng.Float64()
		intensity := uint8(0)
		for u >= lab.Intensities[intensity].Probability {
			u -= lab.Intensities[intensity].Probability
			intensity++
		}
		sb, rb, bit := draw(lab.SenderZ), draw(lab.ReceiverZ), uint8(rng.IntN(2))
		o := st.receive(rng, poisson(rng, lab.Intensities[intensity].Mean), sb == rb)
		if o == nothing {
			gap++
			continue
		}
		seen := bit
		if o == wrong {
			seen = 1 - bit
		}
		kinds[kindOf(intensity, sb, bit, rb, seen)]++
		gaps[min(gap, bins-1)]++
		n, gap = n+1, 0
	}

	s := must(lab.Sampler())(t)
	d := prepare.NewDetections(1000)
	var from uint64
	last := ^uint64(0) // pulse −1
	for range detections / 1000 {
		n, next := s.Detect(rng, from, math.MaxUint64, d)
		if n != 1000 || next != d.Pulse[999]+1 {
			t.Fatalf("%d detections, up to pulse %d, the last in %d", n, next, d.Pulse[999])
		}
		for i, p := range d.Pulse {
			skipped[min(p-last-1, bins-1)]++
			last = p
			drawn[kindOf(d.Intensity[i], d.SenderBasis[i], d.SenderBit[i], d.ReceiverBasis[i], d.ReceiverBit[i])]++
		}
		from = next
	}
	qnettest.SameDistribution(t, "kinds", kinds[:], drawn[:])
	qnettest.SameDistribution(t, "gaps", gaps[:], skipped[:])

	// Both are what the closed forms say.
	var p [48]float64
	var total float64
	for i, x := range lab.Intensities {
		r := lab.Coherent(x.Mean)
		total += x.Probability * r.Gain
		for k := range 16 {
			sb, sbit, rb, rbit := k>>3, k>>2&1, k>>1&1, k&1
			w := x.Probability * r.Gain / 2 * []float64{lab.SenderZ, 1 - lab.SenderZ}[sb] * []float64{lab.ReceiverZ, 1 - lab.ReceiverZ}[rb]
			switch {
			case sb != rb:
				w /= 2
			case sbit == rbit:
				w *= 1 - r.Error
			default:
				w *= r.Error
			}
			p[i<<4|k] = w
		}
	}
	for k := range p {
		p[k] /= total
	}
	var gap [bins]float64
	for i := range gap {
		gap[i] = total * math.Pow(1-total, float64(i))
	}
	gap[bins-1] = math.Pow(1-total, bins-1)
	qnettest.Fit(t, "kinds sent", kinds[:], p[:])
	qnettest.Fit(t, "kinds drawn", drawn[:], p[:])
	qnettest.Fit(t, "gaps sent", gaps[:], gap[:])
	qnettest.Fit(t, "gaps drawn", skipped[:], gap[:])
}

// The same for announced rounds of a twin-field link.
func TestAnnouncementsEqualRounds(t *testing.T) {
	const announced = 60_000
	m := midpoint{0.4, 0.3, 0.01, 0.95}
	const offset, noise = 0.2, 0.3
	tf := twinField(m)
	tf.PhaseOffset, tf.PhaseNoise = offset, noise
	a := prepare.TwinFieldSender{Key: prepare.Intensity{Mean: 0.5, Probability: 0.6}, Tests: []prepare.Intensity{{Mean: 1, Probability: 0.4}}}
	b := prepare.TwinFieldSender{Key: prepare.Intensity{Mean: 0.7, Probability: 0.5}, Tests: []prepare.Intensity{{Mean: 0.8, Probability: 0.3}, {Mean: 0, Probability: 0.2}}}

	rng := rand.New(rand.NewPCG(2, 2))
	send := func(s prepare.TwinFieldSender) (intensity uint8, bit uint8, alpha complex128) {
		u, bit := rng.Float64(), uint8(rng.IntN(2))
		if u < s.Key.Probability {
			return 0, bit, complex(math.Sqrt(s.Key.Mean)*(1-2*float64(bit)), 0)
		}
		u -= s.Key.Probability
		k := 0
		for u >= s.Tests[k].Probability {
			u -= s.Tests[k].Probability
			k++
		}
		return uint8(k + 1), bit, cmplx.Rect(math.Sqrt(s.Tests[k].Mean), 2*math.Pi*rng.Float64())
	}
	kindOf := func(ia, ba, ib, bb, detector uint8) int { return int((ia*3+ib)*8 + ba*4 + bb*2 + detector) }
	var kinds, drawn [48]int
	var gaps, skipped [30]int
	for n, gap := 0, 0; n < announced; {
		ia, ba, alpha := send(a)
		ib, bb, beta := send(b)
		k := m.round(rng, alpha, beta*cmplx.Rect(1, offset+noise*rng.NormFloat64()))
		if k < 0 {
			gap++
			continue
		}
		kinds[kindOf(ia, ba, ib, bb, uint8(k))]++
		gaps[min(gap, 29)]++
		n, gap = n+1, 0
	}
	s := must(tf.Sampler(a, b))(t)
	d := prepare.NewAnnouncements(announced)
	if n, _ := s.Detect(rng, 0, math.MaxUint64, d); n != announced {
		t.Fatalf("%d announcements", n)
	}
	last := ^uint64(0)
	for i, p := range d.Pulse {
		skipped[min(p-last-1, 29)]++
		last = p
		drawn[kindOf(d.IntensityA[i], d.BitA[i], d.IntensityB[i], d.BitB[i], d.Detector[i])]++
	}
	qnettest.SameDistribution(t, "kinds", kinds[:], drawn[:])
	qnettest.SameDistribution(t, "gaps", gaps[:], skipped[:])

	// Counts of a choice of intensities have the gains and errors of the closed
	// forms.
	const rounds = 1 << 40
	counts := make([]prepare.Count, s.Counts())
	if err := s.Count(rng, rounds, counts); err != nil {
		t.Fatal(err)
	}
	within := func(what string, got uint64, n, p float64) {
		t.Helper()
		if se := math.Sqrt(n * p * (1 - p)); math.Abs(float64(got)-n*p) > 5*se {
			t.Errorf("%s: %d, want %.0f ± %.0f", what, got, n*p, se)
		}
	}
	c := counts[s.Index(0, 0)]
	right, wrong := tf.Coherent(0.5, 0.7)
	within("rounds for the key", c.Sent, rounds, 0.3)
	within("detected", c.Detected, float64(c.Sent), right+wrong)
	within("errors", c.Errors, float64(c.Sent), wrong)
	c = counts[s.Index(1, 2)]
	either := tf.RandomPhase(1, 0)
	within("rounds of tests", c.Sent, rounds, 0.4*0.2)
	within("detected in tests", c.Detected, float64(c.Sent), 2*either)
	within("errors in tests", c.Errors, float64(c.Sent), either)
}

// Counts of a few pulses have the multinomial distribution, summed exactly: how
// many were sent with an intensity in Z and measured in Z, were detected, and
// wrong. False alarms below 1e-6; the seed is fixed.
func TestCountIsMultinomial(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	const pulses = 4
	d := lab
	d.Transmission = 0.8
	s := must(d.Sampler())(t)
	r := d.Coherent(d.Intensities[0].Mean)
	sent := d.Intensities[0].Probability * d.SenderZ * d.ReceiverZ
	p := [4]float64{1 - sent, sent * (1 - r.Gain), sent * r.Gain * (1 - r.Error), sent * r.Gain * r.Error}
	at := func(sent, detected, errors int) int { return (sent*(pulses+1)+detected)*(pulses+1) + errors }
	want := make([]float64, at(pulses, pulses, pulses)+1)
	for k := range 1 << (2 * pulses) { // each pulse has one of four fates
		w, n := 1.0, [4]int{}
		for i := range pulses {
			fate := k >> (2 * i) & 3
			w *= p[fate]
			n[fate]++
		}
		want[at(pulses-n[0], n[2]+n[3], n[3])] += w
	}
	got := make([]int, len(want))
	counts := make([]prepare.Count, s.Counts())
	for range 100_000 {
		clear(counts)
		if err := s.Count(rng, pulses, counts); err != nil {
			t.Fatal(err)
		}
		c := counts[prepare.BB84Index(0, prepare.Z, prepare.Z)]
		got[at(int(c.Sent), int(c.Detected), int(c.Errors))]++
		var all uint64
		for _, c := range counts {
			all += c.Sent
		}
		if all != pulses {
			t.Fatalf("%d pulses were sent, want %d", all, pulses)
		}
	}
	qnettest.Fit(t, "counts", got, want)
}

// Counts of blocks and counts of detections are one distribution: here the
// detections and errors of the signal in matching bases. The means agree with the
// closed forms within 5 standard errors (6e-7).
func TestCountAgreesWithDetect(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	s := must(lab.Sampler())(t)
	const blocks, pulses, bins = 20_000, 200, 80
	var counted, detected, wrong, wrongDetected [bins]int
	counts := make([]prepare.Count, s.Counts())
	d := prepare.NewDetections(pulses)
	for range blocks {
		clear(counts)
		if err := s.Count(rng, pulses, counts); err != nil {
			t.Fatal(err)
		}
		c := counts[prepare.BB84Index(0, prepare.Z, prepare.Z)]
		counted[min(c.Detected, bins-1)]++
		wrong[min(c.Errors, bins-1)]++
		n, next := s.Detect(rng, 0, pulses, d)
		if next != pulses {
			t.Fatalf("looked at %d pulses", next)
		}
		var k, e int
		for i := range n {
			if d.Pulse[i] >= pulses {
				t.Fatalf("detection in pulse %d", d.Pulse[i])
			}
			if d.Intensity[i] == 0 && d.SenderBasis[i] == prepare.Z && d.ReceiverBasis[i] == prepare.Z {
				k++
				if d.SenderBit[i] != d.ReceiverBit[i] {
					e++
				}
			}
		}
		detected[min(k, bins-1)]++
		wrongDetected[min(e, bins-1)]++
	}
	qnettest.SameDistribution(t, "detected", counted[:], detected[:])
	qnettest.SameDistribution(t, "errors", wrong[:], wrongDetected[:])
}

// A long experiment at high loss, observed, tells what the closed forms tell: a
// key rate from drawn counts close to that of infinitely many pulses.
func TestKeyFromCounts(t *testing.T) {
	d := prepare.DecoyBB84{
		Receiver:    prepare.Receiver{Transmission: 1e-4, Dark: 1e-9, Misalignment: 0.01},
		Bases:       prepare.Bases{SenderZ: 0.9, ReceiverZ: 0.9},
		Intensities: []prepare.Intensity{{Mean: 0.5, Probability: 0.7}, {Mean: 0.1, Probability: 0.2}, {Mean: 0, Probability: 0.1}},
	}
	s := must(d.Sampler())(t)
	counts := make([]prepare.Count, s.Counts())
	if err := s.Count(rand.New(rand.NewPCG(5, 5)), 1e15, counts); err != nil {
		t.Fatal(err)
	}
	var list []prepare.Observation
	for i, x := range d.Intensities {
		c := counts[prepare.BB84Index(i, prepare.Z, prepare.Z)]
		list = append(list, prepare.Observation{Mean: x.Mean, Response: prepare.Response{
			Gain: float64(c.Detected) / float64(c.Sent), Error: float64(c.Errors) / float64(c.Detected)}})
	}
	got, want := prepare.BoundSingle(list), prepare.BoundSingle(d.Observations())
	near(t, "gain of single photons", got.Gain, want.Gain, 1e-3)
	near(t, "error rate of single photons", got.Error, want.Error, 1e-2)
}

func TestDetectLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	never := must(prepare.SinglePhoton{Bases: lab.Bases, One: 1}.Sampler())(t)
	always := must(prepare.SinglePhoton{Bases: lab.Bases, Receiver: prepare.Receiver{Transmission: 1}, One: 1}.Sampler())(t)
	d := prepare.NewDetections(10)
	for _, c := range []struct {
		s        *prepare.BB84Sampler
		from, to uint64
		n        int
		next     uint64
	}{
		{never, 0, math.MaxUint64, 0, math.MaxUint64},
		{always, 5, 100, 10, 15},
		{always, 95, 100, 5, 100},
		{always, 100, 100, 0, 100},
		{always, math.MaxUint64 - 3, math.MaxUint64, 3, math.MaxUint64},
	} {
		if n, next := c.s.Detect(rng, c.from, c.to, d); n != c.n || next != c.next {
			t.Errorf("from %d to %d: %d detections up to %d, want %d up to %d", c.from, c.to, n, next, c.n, c.next)
		}
	}
	d.ReceiverBit = d.ReceiverBit[:3]
	if n, next := always.Detect(rng, 0, 100, d); n != 3 || next != 3 {
		t.Errorf("a short column gives %d detections up to %d", n, next)
	}
	counts := make([]prepare.Count, 4)
	if err := always.Count(rng, math.MaxUint64, counts); err != nil { // in several parts
		t.Fatal(err)
	}
	var sent, detected uint64
	for _, c := range counts {
		sent += c.Sent
		detected += c.Detected
	}
	if sent != math.MaxUint64 || detected != sent {
		t.Errorf("%d sent, %d detected, want all", sent, detected)
	}
	qnettest.WantErr(t, always.Count(rng, 1, counts[:3]), qnet.ErrInvalid, "3 counts: want 4")
}

func TestSamplersDoNotAllocate(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	s := must(lab.Sampler())(t)
	end := prepare.TwinFieldSender{Key: prepare.Intensity{Mean: 0.5, Probability: 1}}
	tf := must(prepare.TwinField{EtaA: 0.1, EtaB: 0.1}.Sampler(end, end))(t)
	d, a := prepare.NewDetections(100), prepare.NewAnnouncements(100)
	counts := make([]prepare.Count, s.Counts())
	for what, f := range map[string]func(){
		"Detect":            func() { s.Detect(rng, 0, math.MaxUint64, d) },
		"Detect twin-field": func() { tf.Detect(rng, 0, math.MaxUint64, a) },
		"Count":             func() { _ = s.Count(rng, 1e12, counts) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %g times", what, n)
		}
	}
}

func BenchmarkDetect(b *testing.B) {
	for _, eta := range []float64{0.1, 1e-6} {
		b.Run(fmt.Sprintf("transmission=%g", eta), func(b *testing.B) {
			d := lab
			d.Transmission = eta
			s := must(d.Sampler())(b)
			rng := rand.New(rand.NewPCG(1, 1))
			const n = 1000
			columns := prepare.NewDetections(n)
			b.ReportAllocs()
			for b.Loop() {
				s.Detect(rng, 0, math.MaxUint64, columns)
			}
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "detections/s")
		})
	}
}

func BenchmarkAnnounce(b *testing.B) {
	end := prepare.TwinFieldSender{Key: prepare.Intensity{Mean: 0.05, Probability: 0.8}, Tests: []prepare.Intensity{{Mean: 0.1, Probability: 0.1}, {Mean: 0, Probability: 0.1}}}
	s := must(prepare.TwinField{EtaA: 1e-4, EtaB: 1e-4, Dark: 1e-9, Misalignment: 0.01}.Sampler(end, end))(b)
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 1000
	columns := prepare.NewAnnouncements(n)
	b.ReportAllocs()
	for b.Loop() {
		s.Detect(rng, 0, math.MaxUint64, columns)
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "announcements/s")
}

func BenchmarkCount(b *testing.B) {
	for _, pulses := range []uint64{1e6, 1e12} {
		b.Run(fmt.Sprintf("pulses=%g", float64(pulses)), func(b *testing.B) {
			d := lab
			d.Transmission, d.Dark = 1e-3, 1e-7
			s := must(d.Sampler())(b)
			rng := rand.New(rand.NewPCG(1, 1))
			counts := make([]prepare.Count, s.Counts())
			b.ReportAllocs()
			for b.Loop() {
				_ = s.Count(rng, pulses, counts)
			}
		})
	}
}

func BenchmarkTwinFieldKeyRate(b *testing.B) {
	t := prepare.TwinField{EtaA: 1e-4, EtaB: 1e-4, Dark: 1e-9, Misalignment: 0.01}
	b.ReportAllocs()
	for b.Loop() {
		t.KeyRate(0.02, 0.02, 1.16)
	}
}
