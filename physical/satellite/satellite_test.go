package satellite_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/satellite"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

var _ = []satellite.Path{satellite.Downlink{}, satellite.Table{}, satellite.OnBoard{}}

// downlink has a Micius-like beam: 500 km, 810 nm. What is not the height and the
// wavelength is chosen.
func downlink() satellite.Downlink {
	return satellite.Downlink{
		Pass:         satellite.Pass{Altitude: 500e3, MaxElevation: 70, Culmination: 400},
		MinElevation: 20, Wavelength: 810e-9, Waist: 0.06, Divergence: 5e-6, Jitter: 1e-6,
		Aperture: 1.2, Zenith: 0.8, Loss: 10,
	}
}

// Range, elevation and contact are those of vectors.
func TestPassGeometry(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		p := satellite.Pass{Altitude: math.Exp(math.Log(200e3) + rng.Float64()*math.Log(150)), MaxElevation: 1 + 89*rng.Float64(), Culmination: 1000 * rng.Float64()}
		o := orbitOf(p.Altitude, p.MaxElevation)
		for range 20 {
			at := 4000 * (rng.Float64() - 0.5)
			d, el := o.at(at)
			if got := p.Range(p.Culmination + at); math.Abs(got/d-1) > 1e-9 {
				t.Fatalf("%+v: range %g at %g s, want %g", p, got, at, d)
			}
			if got := p.Elevation(p.Culmination + at); math.Abs(got-el) > 1e-6 {
				t.Fatalf("%+v: elevation %g at %g s, want %g", p, got, at, el)
			}
		}
		least := p.MaxElevation * rng.Float64()
		from, to := p.Above(least)
		if math.Abs(from+to-2*p.Culmination) > 1e-6 || from > to {
			t.Fatalf("%+v: above %g° from %g to %g, want symmetry", p, least, from, to)
		}
		for _, at := range []float64{from, to} {
			if _, el := o.at(at - p.Culmination); math.Abs(el-least) > 1e-4 {
				t.Fatalf("%+v: elevation is %g at %g s, the border of contact, want %g", p, el, at, least)
			}
		}
		if got, want := float64(p.Delay(from)), p.Range(from)/299_792_458*1e9; math.Abs(got-want) > 0.501 {
			t.Fatalf("%+v: delay %g ns, want %g", p, got, want)
		}
	}
}

// Closed forms of a pass through zenith: the range is the height, the contact
// takes twice the central angle over the angular speed; at the horizon the range
// is that of a tangent.
func TestZenithPass(t *testing.T) {
	for _, h := range []float64{200e3, 500e3, 1200e3, 35786e3} {
		p := satellite.Pass{Altitude: h, MaxElevation: 90, Culmination: 50}
		if d := p.Range(50); math.Abs(d/h-1) > 1e-12 {
			t.Errorf("range at zenith is %g, want the height %g", d, h)
		}
		if el := p.Elevation(50); math.Abs(el-90) > 1e-9 {
			t.Errorf("elevation at culmination is %g, want 90", el)
		}
		for _, el := range []float64{0, 10, 30, 60} {
			sin, cos := math.Sincos(el * math.Pi / 180)
			angle := math.Acos(radius*cos/(radius+h)) - el*math.Pi/180
			want := 2 * angle * math.Sqrt(math.Pow(radius+h, 3)/gravity)
			from, to := p.Above(el)
			if math.Abs((to-from)/want-1) > 1e-9 {
				t.Errorf("height %g: contact above %g° takes %g s, want %g", h, el, to-from, want)
			}
			slant := math.Sqrt(radius*radius*sin*sin+h*h+2*radius*h) - radius*sin
			if d := p.Range(to); math.Abs(d/slant-1) > 1e-9 {
				t.Errorf("height %g: range at %g° is %g, want %g", h, el, d, slant)
			}
		}
	}
}

// The loss grows from culmination on, and with each of its causes.
func TestDownlinkMonotonic(t *testing.T) {
	d := downlink()
	_, to := d.Contact()
	last := d.Transmission(d.Culmination)
	for at := d.Culmination + 1; at <= to; at++ {
		eta := d.Transmission(at)
		if !(eta > 0 && eta < last) {
			t.Fatalf("transmission %g at %g s, want below %g", eta, at, last)
		}
		if mirror := d.Transmission(2*d.Culmination - at); math.Abs(mirror/eta-1) > 1e-9 {
			t.Fatalf("transmission %g before culmination and %g after", mirror, eta)
		}
		last = eta
	}
	best := d.Transmission(450)
	for _, change := range []func(d *satellite.Downlink){
		func(d *satellite.Downlink) { d.Altitude *= 1.1 },
		func(d *satellite.Downlink) { d.MaxElevation -= 10 },
		func(d *satellite.Downlink) { d.Divergence *= 1.1 },
		func(d *satellite.Downlink) { d.Jitter *= 1.1 },
		func(d *satellite.Downlink) { d.Aperture /= 1.1 },
		func(d *satellite.Downlink) { d.Zenith -= 0.01 },
		func(d *satellite.Downlink) { d.Loss += 0.1 },
		func(d *satellite.Downlink) { d.Waist *= 1.1 },
	} {
		worse := downlink()
		change(&worse)
		if eta := worse.Transmission(450); !(eta < best) {
			t.Errorf("%+v: transmission %g, want below %g", worse, eta, best)
		}
	}
}

// Far away a small telescope behind a diffraction-limited beam obeys Friis:
// gain of the transmitter 8/θ², of the receiver (πD/λ)², loss (λ/(4πd))². A huge
// one takes all light.
func TestDownlinkLimits(t *testing.T) {
	d := satellite.Downlink{
		Pass:         satellite.Pass{Altitude: 35786e3, MaxElevation: 90},
		MinElevation: 30, Wavelength: 1550e-9, Waist: 0.02, Aperture: 0.5, Zenith: 1,
	}
	d.Divergence = d.Wavelength / (math.Pi * d.Waist)
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []float64{0, 1000, 3000} {
		far := d.Range(at)
		friis := 8 / (d.Divergence * d.Divergence) * math.Pow(math.Pi*d.Aperture/d.Wavelength, 2) * math.Pow(d.Wavelength/(4*math.Pi*far), 2)
		if eta := d.Transmission(at); math.Abs(eta/friis-1) > 1e-5 {
			t.Errorf("transmission over %g m is %g, want %g by Friis", far, eta, friis)
		}
	}
	d.Altitude, d.Aperture, d.Loss = 100e3, 100, 3
	if eta, want := d.Transmission(0), math.Pow(10, -0.3); math.Abs(eta-want) > 1e-12 {
		t.Errorf("transmission into a huge telescope is %g, want that of the fixed loss, %g", eta, want)
	}
}

// The beam with pointing jitter catches what photons do that are followed one by
// one. False alarms below 6e-7 each (5 standard errors).
func TestDownlinkPhotons(t *testing.T) {
	const photons = 400_000
	rng := rand.New(rand.NewPCG(2, 2))
	for _, c := range []struct{ waist, divergence, jitter, aperture float64 }{
		{0.06, 5e-6, 0, 1.2},
		{0.06, 5e-6, 1e-6, 1.2},
		{0.06, 5e-6, 5e-6, 3},
		{2, 5e-6, 3e-6, 5},
	} {
		d := downlink()
		d.Waist, d.Divergence, d.Jitter, d.Aperture, d.Zenith, d.Loss = c.waist, c.divergence, c.jitter, c.aperture, 1, 0
		want := d.Transmission(430)
		o := orbitOf(d.Altitude, d.MaxElevation)
		distance, _ := o.at(30)
		got := float64(captured(rng, photons, distance, c.waist, c.divergence, c.jitter, c.aperture)) / photons
		if se := math.Sqrt(want * (1 - want) / photons); math.Abs(got-want) > 5*se {
			t.Errorf("%+v: %g of the photons, want %g ± %g", c, got, want, se)
		}
	}
}

// The air mass is 1/sin(el) high up, and near that of straight rays through an
// isothermal atmosphere further down.
func TestDownlinkAir(t *testing.T) {
	clear, hazy := downlink(), downlink()
	clear.MaxElevation, hazy.MaxElevation = 90, 90
	clear.Zenith = 1
	for _, el := range []float64{90, 75, 60, 45, 30, 20, 10, 5} {
		_, at := clear.Above(el)
		mass := math.Log(hazy.Transmission(at)/clear.Transmission(at)) / math.Log(hazy.Zenith)
		want, within := air(el), 0.01
		if el >= 60 {
			want, within = 1/math.Sin(el*math.Pi/180), 1e-3
		}
		if math.Abs(mass/want-1) > within {
			t.Errorf("air mass at %g° is %g, want %g within %g", el, mass, want, within)
		}
	}
}

func TestTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 500 {
		var p satellite.Table
		at := rng.Float64() * 100
		for range 2 + rng.IntN(8) {
			p.Points = append(p.Points, satellite.Point{At: at, Loss: 60 * rng.Float64()})
			at += 0.1 + 30*rng.Float64()
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		from, to := p.Contact()
		if from != p.Points[0].At || to != p.Points[len(p.Points)-1].At {
			t.Fatalf("contact from %g to %g", from, to)
		}
		for i, x := range p.Points {
			if got, want := p.Transmission(x.At), math.Pow(10, -x.Loss/10); math.Abs(got/want-1) > 1e-12 {
				t.Fatalf("%v: transmission at point %d is %g, want %g", p, i, got, want)
			}
			if i == 0 {
				continue
			}
			f := rng.Float64()
			got := p.Transmission(p.Points[i-1].At + f*(x.At-p.Points[i-1].At))
			want := math.Pow(10, -((1-f)*p.Points[i-1].Loss+f*x.Loss)/10)
			if math.Abs(got/want-1) > 1e-9 {
				t.Fatalf("%v: transmission %g between points, want %g", p, got, want)
			}
		}
	}
}

// passes are the two down-links of the test below, with other culminations and
// elevations, and the reference of each.
func passes() (a, b satellite.Downlink, oa, ob orbit) {
	a, b = downlink(), downlink()
	b.Culmination, b.MaxElevation, b.Aperture = 430, 55, 1.8
	return a, b, orbitOf(a.Altitude, a.MaxElevation), orbitOf(b.Altitude, b.MaxElevation)
}

// light is the transmission of a down-link by the reference; the air mass and the
// capture of the beam have tests of their own.
func light(d satellite.Downlink, o orbit, t float64) float64 {
	distance, el := o.at(t - d.Culmination)
	w2 := d.Waist*d.Waist + distance*distance*(d.Divergence*d.Divergence+4*d.Jitter*d.Jitter)
	c := math.Sin(el * math.Pi / 180)
	mass := (1.002432*c*c + 0.148386*c + 0.0096467) / (c*c*c + 0.149864*c*c + 0.0102963*c + 0.000303978)
	return (1 - math.Exp(-d.Aperture*d.Aperture/(2*w2))) * math.Pow(d.Zenith, mass) * math.Pow(10, -d.Loss/10)
}

// A schedule of steps of a second has, within 0.1 %, the coincidences and errors
// of the usual formula integrated over the pass.
func TestSourceSchedule(t *testing.T) {
	a, b, oa, ob := passes()
	s := satellite.Source{
		A: a, B: b,
		Pairs: herald.ContinuousSource{
			PairsPerSecond: 5.9e6, WindowNS: 2.5, EtaA: 0.5, EtaB: 0.4,
			Visibility: (4*0.907 - 1) / 3, DarkRateA: 100, DarkRateB: 150, // 5.9e6 and 0.907: Yin et al. (2017)
		},
		BackgroundA: 500, BackgroundB: 300,
		Step: 1,
	}
	sched, err := s.Schedule()
	if err != nil {
		t.Fatal(err)
	}
	fromA, toA := a.Contact()
	fromB, toB := b.Contact()
	from, to := max(fromA, fromB), min(toA, toB)
	last := len(sched) - 1
	if got := sched[0].From.Seconds(); math.Abs(got-from) > 1e-8 {
		t.Errorf("contact begins at %g, want %g", got, from)
	}
	if got := sched[last].From.Seconds(); math.Abs(got-to) > 1e-8 || sched[last].Model != nil {
		t.Errorf("contact ends at %g with model %v, want %g and none", got, sched[last].Model, to)
	}
	if last != int(math.Ceil(to-from)) {
		t.Errorf("%d steps of a second in %g s", last, to-from)
	}

	var coincidences, wrong float64
	for i, seg := range sched[:last] {
		windows := sched[i+1].From.Sub(seg.From).Seconds() * 1e9 / 2.5
		n := windows * seg.Model.SuccessProbability()
		w := seg.Model.Heralds()[0].State.Weights()
		coincidences += n
		wrong += n * (w[qnet.PsiPlus] + w[qnet.PsiMinus])
	}
	var wantCoincidences, wantWrong float64
	const fine = 20_000
	for i := range fine {
		at := from + (float64(i)+0.5)/fine*(to-from)
		etaA, etaB := 0.5*light(a, oa, at), 0.4*light(b, ob, at)
		c := 5.9e6 * etaA * etaB
		acc := (5.9e6*etaA + 2*600) * (5.9e6*etaB + 2*450) * 2.5e-9
		wantCoincidences += (c + acc) * (to - from) / fine
		wantWrong += (c*(1-(4*0.907-1)/3) + acc) / 2 * (to - from) / fine
	}
	if math.Abs(coincidences/wantCoincidences-1) > 1e-3 {
		t.Errorf("%g coincidences per pass, want %g", coincidences, wantCoincidences)
	}
	if math.Abs(wrong/wantWrong-1) > 1e-3 {
		t.Errorf("%g errors per pass, want %g", wrong, wantWrong)
	}
	t.Logf("%.4f coincidences per pass (integral %.4f), %.4f errors (%.4f)", coincidences, wantCoincidences, wrong, wantWrong)

	// One photon measured on board.
	s.B, s.Pairs.EtaB, s.BackgroundB = satellite.OnBoard{}, 0.6, 0
	qnettest.WantErr(t, s.Validate(), qnet.ErrInvalid, "down-links at ", "clicks per window")
	s.Pairs.PairsPerSecond, s.Pairs.WindowNS = 1e6, 0.5
	if sched, err = s.Schedule(); err != nil {
		t.Fatal(err)
	}
	if got, end := sched[0].From.Seconds(), sched[len(sched)-1].From.Seconds(); math.Abs(got-fromA) > 1e-8 || math.Abs(end-toA) > 1e-8 {
		t.Errorf("contact with one station from %g to %g, want %g to %g", got, end, fromA, toA)
	}
	if m := sched[0].Model.(herald.PairSource); m.EtaB != 0.6 {
		t.Errorf("efficiency on board is %g, want 0.6", m.EtaB)
	}
}

// Coincidences sampled from the schedule fall into the seconds of a pass, with
// right and wrong bits, as in attempts made one by one with the loss of their
// very instant. False alarms below 1e-6 each (chi-square) and 6e-7 (5 standard
// errors).
func TestPassEqualsAttempts(t *testing.T) {
	const (
		repeats = 60
		period  = 0.01 // seconds
		pairs   = 0.4
		vis     = 0.9
	)
	dark := [2]float64{0.01, 0.02}
	a, b, oa, ob := passes()
	a.Aperture, b.Aperture, a.Loss, b.Loss, a.MinElevation, b.MinElevation, a.Jitter, b.Jitter = 5, 6, 1, 2, 25, 25, 0, 0
	sched, err := satellite.Schedule(a, b, 1, func(etaA, etaB float64) (herald.Model, error) {
		return herald.PairSource{MeanPairs: pairs, EtaA: etaA, EtaB: etaB, Visibility: vis, DarkA: dark[0], DarkB: dark[1], PeriodNS: period * 1e9}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := herald.NewTimeline(sched)
	if err != nil {
		t.Fatal(err)
	}
	fromA, toA := a.Contact()
	fromB, toB := b.Contact()
	from, to := max(fromA, fromB), min(toA, toB)
	seconds := int(to) + 1
	looped, drawn := make([]int, 2*seconds), make([]int, 2*seconds)
	lab := photonLab{pairs, vis, dark, rand.New(rand.NewPCG(4, 4))}
	rng := rand.New(rand.NewPCG(5, 5))
	for range repeats {
		for n := int(math.Ceil(from / period)); float64(n)*period < to; n++ {
			at := float64(n) * period
			success, differ := lab.attempt([2]float64{light(a, oa, at), light(b, ob, at)})
			if success {
				looped[2*int(at)+bit(differ)]++
			}
		}
		for c, ok := l.Next(rng, physical.CycleBase, physical.Pattern{}); ok; c, ok = l.Next(rng, c+1, physical.Pattern{}) {
			s := l.Sampler(l.Segment(c))
			w := s.Heralds()[s.Herald(rng)].State.Weights()
			drawn[2*int(l.Cycles().Instant(c).Seconds())+bit(rng.Float64() < w[qnet.PsiPlus]+w[qnet.PsiMinus])]++
		}
	}
	qnettest.SameDistribution(t, "coincidences by second and error", looped, drawn)
	var want, variance float64
	for i, seg := range sched[:len(sched)-1] {
		p := seg.Model.SuccessProbability()
		n := sched[i+1].From.Sub(seg.From).Seconds() / period * repeats
		want, variance = want+n*p, variance+n*p*(1-p)
	}
	for i, counts := range [][]int{looped, drawn} {
		name, sum := [...]string{"made", "drawn"}[i], 0
		for _, n := range counts {
			sum += n
		}
		if math.Abs(float64(sum)-want) > 5*math.Sqrt(variance) {
			t.Errorf("%d coincidences %s, want %.0f ± %.0f", sum, name, want, math.Sqrt(variance))
		}
		t.Logf("%d coincidences %s, expected %.0f ± %.0f", sum, name, want, math.Sqrt(variance))
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Steps of one path hold the light that arrives, begin at the epoch at the
// earliest, and are refused when they are too long.
func TestSteps(t *testing.T) {
	d := downlink()
	d.Culmination = 50
	o := orbitOf(d.Altitude, d.MaxElevation)
	from, to := d.Contact()
	if from >= 0 {
		t.Fatalf("contact begins at %g, want a pass that is under way at the epoch", from)
	}
	steps, err := satellite.Steps(d, 0.9)
	if err != nil {
		t.Fatal(err)
	}
	if steps[0].From != 0 || math.Abs(steps[len(steps)-1].To.Seconds()-to) > 1e-8 {
		t.Errorf("steps from %v to %v, want from the epoch to %g s", steps[0].From, steps[len(steps)-1].To, to)
	}
	var got, want float64
	for i, s := range steps {
		if i > 0 && s.From != steps[i-1].To || s.To <= s.From || s.To.Sub(s.From).Seconds() > 0.9 {
			t.Fatalf("step %d from %v to %v", i, s.From, s.To)
		}
		got += s.Transmission * s.To.Sub(s.From).Seconds()
	}
	const fine = 50_000
	for i := range fine {
		want += light(d, o, (float64(i)+0.5)/fine*to) * to / fine
	}
	if math.Abs(got/want-1) > 1e-5 {
		t.Errorf("light of %g s, want %g", got, want)
	}
	// The refusal is neither late nor early: the error of the steps that pass is
	// at most 0.1 %, and the step that the text names passes.
	refused := false
	for step := 1.0; step < 200; step *= 1.15 {
		steps, err := satellite.Steps(d, step)
		if err != nil {
			refused = true
			qnettest.WantErr(t, err, qnet.ErrInvalid, "down-links: step in seconds is ", "want at most 0.1 %: try ")
			continue
		}
		var got float64
		for _, s := range steps {
			got += s.Transmission * s.To.Sub(s.From).Seconds()
		}
		if math.Abs(got/want-1) > 1.02e-3 {
			t.Errorf("steps of %g s are off by %g", step, got/want-1)
		}
	}
	if !refused {
		t.Error("steps of any length pass")
	}
}

// A beam whose pointing is unsteady flickers, at a small telescope, as much as
// one that is pointed at random; scintillation multiplies. False alarms below
// 6e-7 (5 standard errors, found by blocks of draws).
func TestDownlinkFading(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for _, jitter := range []float64{1e-6, 3e-6} {
		d := downlink()
		d.Jitter, d.Scintillation = jitter, 0.2
		distance, _ := orbitOf(d.Altitude, d.MaxElevation).at(20)
		w2 := d.Waist*d.Waist + math.Pow(d.Divergence*distance, 2)
		const blocks, draws = 200, 10_000
		var sum, square float64
		for range blocks {
			var m1, m2 float64
			for range draws {
				r := math.Hypot(rng.NormFloat64(), rng.NormFloat64()) * jitter * distance
				light := math.Exp(-2 * r * r / w2)
				if rng.IntN(2) == 0 { // scintillation of variance 0.2
					light *= 1 + math.Sqrt(0.2)
				} else {
					light *= 1 - math.Sqrt(0.2)
				}
				m1, m2 = m1+light/draws, m2+light*light/draws
			}
			v := m2/(m1*m1) - 1
			sum, square = sum+v/blocks, square+v*v/blocks
		}
		se := math.Sqrt((square - sum*sum) / blocks)
		if got := d.Fading(420); math.Abs(got-sum) > 5*se {
			t.Errorf("jitter %g: fading %g, want %g ± %g", jitter, got, sum, se)
		}
	}
}

// A rate that is the square of the transmission is shifted by the very fading:
// more than 0.1 % of it is refused. One that is linear in both stands any. Dead
// times are refused as far as they matter.
func TestScheduleFading(t *testing.T) {
	flat := func(fluctuation float64) satellite.Table {
		return satellite.Table{Points: []satellite.Point{{At: 0, Loss: 3}, {At: 10, Loss: 3}}, Fluctuation: fluctuation}
	}
	square := func(a, _ float64) (herald.Model, error) {
		return herald.Ideal{Probability: a * a, Fidelity: 1, PeriodNS: 1}, nil
	}
	product := func(a, b float64) (herald.Model, error) {
		return herald.Ideal{Probability: a * b, Fidelity: 1, PeriodNS: 1}, nil
	}
	if _, err := satellite.Schedule(flat(0.99e-3), flat(10), 1, square); err != nil {
		t.Error(err)
	}
	if _, err := satellite.Schedule(flat(10), flat(10), 1, product); err != nil {
		t.Error(err)
	}
	_, err := satellite.Schedule(flat(1.01e-3), flat(0), 1, square)
	qnettest.WantErr(t, err, qnet.ErrInvalid, "down-links at 0.500 s: fading of relative variance 0.00101 shifts the rate by 0.1 %, want at most 0.1 %")

	s := satellite.Source{A: flat(1), B: satellite.OnBoard{}, Pairs: herald.ContinuousSource{PairsPerSecond: 1e5, WindowNS: 1, EtaA: 0.5, EtaB: 0.5, Visibility: 1}, Step: 1}
	// A detector of an end that fades is live for 1/(1+x) of the time, so the rate
	// goes with η/(1+xη), which a variance of 1 shifts by about x.
	x := s.Pairs.PairsPerSecond * s.Pairs.EtaA * 0.501 / 2
	s.Pairs.DeadTimeNSA = 0.5e-3 / x * 1e9
	s.Pairs.DeadTimeNSB = 1000
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	s.Pairs.DeadTimeNSA *= 3
	qnettest.WantErr(t, s.Validate(), qnet.ErrInvalid, "fading of relative variance 1 shifts the rate by")
}

// Micius, at about 500 km, had two stations 1203 km apart in view at a summed
// range of 1600 km at least (Yin et al., 2017): midway between them, if it passed
// there.
func TestMiciusRange(t *testing.T) {
	_, el := orbit{500e3, 1203e3 / 2 / radius}.at(0)
	p := satellite.Pass{Altitude: 500e3, MaxElevation: el}
	if sum := 2 * p.Range(0); math.Abs(sum/1600e3-1) > 0.01 {
		t.Errorf("summed range is %.0f km, want 1600", sum/1e3)
	}
}

func TestValidate(t *testing.T) {
	with := func(change func(d *satellite.Downlink)) error {
		d := downlink()
		change(&d)
		return d.Validate()
	}
	source := func(change func(s *satellite.Source)) error {
		s := satellite.Source{A: downlink(), B: satellite.OnBoard{}, Pairs: herald.ContinuousSource{PairsPerSecond: 1e6, WindowNS: 1, EtaA: 0.5, EtaB: 0.5, Visibility: 1}, Step: 1}
		change(&s)
		return s.Validate()
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{with(func(d *satellite.Downlink) { d.Altitude = 5 }), "pass: altitude in metres is 5, want from 1e5 to 5e7"},
		{with(func(d *satellite.Downlink) { d.MaxElevation = 91 }), "pass: maximum elevation in degrees is 91, want above 0 and at most 90"},
		{with(func(d *satellite.Downlink) { d.Culmination = math.NaN() }), "pass: culmination in seconds is NaN, want from -1e9 to 1e9"},
		{with(func(d *satellite.Downlink) { d.MinElevation = 4 }), "down-link: minimum elevation in degrees is 4, want at least 5 and below the maximum elevation, 70"},
		{with(func(d *satellite.Downlink) { d.MinElevation = 70 }), "down-link: minimum elevation in degrees is 70, want at least 5 and below"},
		{with(func(d *satellite.Downlink) { d.Wavelength = 810 }), "down-link: wavelength in metres is 810, want from 1e-7 to 1e-4"},
		{with(func(d *satellite.Downlink) { d.Waist = 0 }), "down-link: waist of the beam in metres is 0"},
		{with(func(d *satellite.Downlink) { d.Divergence = 1e-6 }), "down-link: divergence in radians is 1e-06, want from 4.297e-06, the diffraction limit of a waist of 0.06 m, to 0.01"},
		{with(func(d *satellite.Downlink) { d.Jitter = 1 }), "down-link: pointing jitter in radians is 1, want from 0 to 0.01"},
		{with(func(d *satellite.Downlink) { d.Aperture = -1 }), "down-link: aperture in metres is -1"},
		{with(func(d *satellite.Downlink) { d.Zenith = 0.5 }), "down-link: transmission of the air at zenith is 0.5, want from 0.77 to 1"},
		{with(func(d *satellite.Downlink) { d.Loss = -1 }), "down-link: fixed loss in dB is -1, want from 0 to 200"},
		{satellite.Table{Points: []satellite.Point{{At: 1}}}.Validate(), "loss table: it has 1 points, want 2 at least"},
		{satellite.Table{Points: []satellite.Point{{At: 1}, {At: 2, Loss: 301}}}.Validate(), "loss table: loss of point 1 in dB is 301, want from 0 to 300"},
		{satellite.Table{Points: []satellite.Point{{At: 1}, {At: math.Inf(1)}}}.Validate(), "loss table: instant of point 1 in seconds is +Inf"},
		{satellite.Table{Points: make([]satellite.Point, 2), Fluctuation: -1}.Validate(), "loss table: fluctuation is -1, want from 0 to 10"},
		{satellite.Table{Points: []satellite.Point{{At: 1}, {At: 1}}}.Validate(), "loss table: instant of point 1 in seconds is 1, want above that of the point before, 1"},
		{source(func(s *satellite.Source) { s.Step = 0 }), "down-links: step in seconds is 0, want at least"},
		{source(func(s *satellite.Source) { s.Step = math.NaN() }), "down-links: step in seconds is NaN, want at least"},
		{source(func(s *satellite.Source) { s.Step = 1e-9 }), "down-links: step in seconds is 1e-09, want at least"},
		{source(func(s *satellite.Source) { s.Step = 200 }), "down-links: step in seconds is 200, which puts the rate over the contact off by"},
		{source(func(s *satellite.Source) { s.A = satellite.Table{Points: []satellite.Point{{At: -9}, {At: -1}}} }), "down-links: in contact from 0 s to -1 s, want a contact of a microsecond at least after the epoch"},
		{source(func(s *satellite.Source) { s.A = satellite.OnBoard{}; s.B = satellite.Downlink{} }), "pass: altitude in metres is 0"},
		{source(func(s *satellite.Source) { s.A = nil }), "satellite: a path is missing, want two"},
		{source(func(s *satellite.Source) { s.BackgroundA = -1 }), "satellite: background counts per second of a detector of end A is -1, want from 0 to 1e12"},
		{with(func(d *satellite.Downlink) { d.Scintillation = -1 }), "down-link: scintillation is -1, want from 0 to 10"},
		{source(func(s *satellite.Source) { s.Pairs.Visibility = 2 }), "visibility is 2"},
	} {
		qnettest.WantErr(t, c.err, qnet.ErrInvalid, c.want)
	}
	if err := source(func(s *satellite.Source) {}); err != nil {
		t.Error(err)
	}
}

func BenchmarkSchedule(b *testing.B) {
	a, c, _, _ := passes()
	s := satellite.Source{A: a, B: c, Pairs: herald.ContinuousSource{PairsPerSecond: 5.9e6, WindowNS: 2.5, EtaA: 0.5, EtaB: 0.4, Visibility: 0.9}, Step: 1}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Schedule(); err != nil {
			b.Fatal(err)
		}
	}
}
