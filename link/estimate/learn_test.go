package estimate_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"qstack/link/estimate"
	"qstack/physical"
	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// both returns the bases of a round in one of X, Y and Z.
func both(basis int) [2]qnet.Basis { return [2]qnet.Basis{paulis[basis], paulis[basis]} }

// add gives a learner a round of Φ+, in error or not.
func add(l *estimate.Learner, basis int, wrong bool) {
	r := estimate.Round{Bases: both(basis), Label: qnet.PhiPlus}
	if wrong != (basis == 1) { // in Y the bits of Φ+ differ
		r.B = 1
	}
	l.Add(r)
}

// A bound is wrong no more often than it says: exactly, over all outcomes of a few
// rounds in each basis.
func TestBoundsExactly(t *testing.T) {
	n := [3]int{30, 20, 14}
	binomial := func(n, k int, q float64) float64 {
		p := 1.0
		for i := range k {
			p *= float64(n-i) / float64(i+1) * q
		}
		return p * math.Pow(1-q, float64(n-k))
	}
	rng := qnet.NewRand(1, "bounds")
	var rates [][3]float64
	for range 300 {
		// Small ones too, where few errors are to be expected.
		q := [3]float64{math.Pow(rng.Float64(), 3), math.Pow(rng.Float64(), 3), math.Pow(rng.Float64(), 3)}
		if q[0]+q[1]+q[2] < 2 { // as those of any state
			rates = append(rates, q)
		}
	}
	for _, doubt := range []float64{math.Log(4), math.Log(20), math.Log(100)} {
		type result struct {
			k            [3]int
			lower, upper float64
		}
		var all []result
		informed := false
		for x := range n[0] + 1 {
			for y := range n[1] + 1 {
				for z := range n[2] + 1 {
					k := [3]int{x, y, z}
					l := estimate.Learner{Memory: 1e12}
					for b := range 3 {
						for i := range n[b] {
							add(&l, b, i < k[b])
						}
					}
					f, lower, upper := l.Fidelity(doubt)
					want := 1 - (float64(x)/float64(n[0])+float64(y)/float64(n[1])+float64(z)/float64(n[2]))/2
					if math.Abs(f-want) > 1e-9 || !(lower <= max(0, f)+1e-9 && upper >= f-1e-9) {
						t.Fatalf("%v errors of %v: fidelity %g from %g to %g, want %g", k, n, f, lower, upper, want)
					}
					informed = informed || lower > 0.3
					all = append(all, result{k, lower, upper})
				}
			}
		}
		if !informed {
			t.Errorf("doubt %g: no outcome tells anything", doubt)
		}
		worst := 0.0
		for _, q := range rates {
			f := 1 - (q[0]+q[1]+q[2])/2
			var below, above float64
			var of [3][]float64 // probabilities by basis and number of errors
			for b := range of {
				for k := range n[b] + 1 {
					of[b] = append(of[b], binomial(n[b], k, q[b]))
				}
			}
			for i := range all {
				r := &all[i]
				p := of[0][r.k[0]] * of[1][r.k[1]] * of[2][r.k[2]]
				if r.lower > f+1e-12 {
					below += p
				}
				if r.upper < f-1e-12 {
					above += p
				}
			}
			worst = max(worst, below, above)
			if limit := math.Exp(-doubt); below > limit || above > limit {
				t.Errorf("error rates %v: bounds are wrong with probabilities %g and %g, want at most %g", q, below, above, limit)
			}
		}
		t.Logf("wrong with probability %.3g at most, %.3g allowed", worst, math.Exp(-doubt))
	}
}

// With rounds that fade and random bases the bounds hold too, and are not far from
// the best there can be, those of a normal distribution.
func TestBoundsFading(t *testing.T) {
	const trials, limit = 8_000, 0.1
	rng := qnet.NewRand(1, "fading")
	for _, q := range [][3]float64{{0.2, 0.15, 0.1}, {0.02, 0.03, 0.01}, {0.4, 0.5, 0.3}, {0, 0, 0.1}} {
		f := 1 - (q[0]+q[1]+q[2])/2
		var below, above int
		for range trials {
			l := estimate.Learner{Memory: 40}
			for range 160 {
				b := rng.IntN(3)
				add(&l, b, rng.Float64() < q[b])
			}
			_, lower, upper := l.Fidelity(-math.Log(limit))
			if lower > f {
				below++
			}
			if upper < f {
				above++
			}
		}
		// 5 standard errors: a false alarm in 3.5e6.
		if most := trials*limit + 5*math.Sqrt(trials*limit*(1-limit)); float64(below) > most || float64(above) > most {
			t.Errorf("error rates %v: bounds are wrong %d and %d times of %d, want at most %.0f", q, below, above, trials, most)
		}
		t.Logf("error rates %v: wrong in %.4f and %.4f of cases, %g allowed", q, float64(below)/trials, float64(above)/trials, limit)
	}
	l := estimate.Learner{Memory: 1e12}
	const n = 3000
	for b := range 3 {
		for i := range n {
			add(&l, b, i%10 == 0)
		}
	}
	f, lower, upper := l.Fidelity(-math.Log(1e-6))
	// 4.75 standard deviations are exceeded in 1e-6; Chernoff's bound has √(2·log 1e6).
	deviation := math.Sqrt(3*0.09/n) / 2
	for _, width := range []float64{f - lower, upper - f} {
		if w := width / deviation; w < 4.75 || w > 1.15*math.Sqrt(2*math.Log(1e6)) {
			t.Errorf("a bound is %.2f standard deviations off", w)
		}
	}
	t.Logf("9,000 rounds: %.4f from %.4f to %.4f", f, lower, upper)

	// Of rounds that fade with a memory of M, those of a basis weigh Σw = M/3 in all
	// and Σw² = M/6.
	l = estimate.Learner{Memory: 9000}
	for i := range 180_000 {
		add(&l, i%3, i/3%10 == 0)
	}
	f, lower, upper = l.Fidelity(-math.Log(1e-6))
	deviation = math.Sqrt(3*0.09*1500) / 3000 / 2
	for _, width := range []float64{f - lower, upper - f} {
		if w := width / deviation; w < 4.75 || w > 1.15*math.Sqrt(2*math.Log(1e6)) {
			t.Errorf("with fading, a bound is %.2f standard deviations off", w)
		}
	}
	// A quarter of the rounds shows half as much.
	l.Fade(0.25)
	_, less, more := l.Fidelity(-math.Log(1e-6))
	near(t, "width after fading", (more-less)/(upper-lower), 2, 0.1)
}

func TestLearnerRates(t *testing.T) {
	var l estimate.Learner
	if f, lower, upper := l.Fidelity(1); !math.IsNaN(f) || lower != 0 || upper != 1 {
		t.Errorf("fidelity of nothing is %g from %g to %g", f, lower, upper)
	}
	l.Memory = 1000
	for _, r := range []estimate.Round{{Bases: [2]qnet.Basis{{Theta: math.NaN()}, {}}}, {Bases: [2]qnet.Basis{{}, {Phi: math.Inf(1)}}}, {Bases: [2]qnet.Basis{qnet.BasisX, qnet.BasisZ}}, {Label: 4}} {
		l.Add(r) // there is none of these
	}
	if l.Rounds(0)+l.Rounds(1)+l.Rounds(2) != 0 {
		t.Errorf("there are rounds: %+v", l)
	}
	// Bits that are right and wrong, for all labels, from the correlators of the states.
	for label, signs := range [4][3]int{qnet.PhiPlus: {1, -1, 1}, qnet.PhiMinus: {-1, 1, 1}, qnet.PsiPlus: {1, 1, -1}, qnet.PsiMinus: {-1, -1, -1}} {
		for b, sign := range signs {
			for bits := range uint8(4) {
				l := estimate.Learner{Memory: 1e12}
				l.Add(estimate.Round{Bases: both(b), Label: qnet.BellLabel(label), A: bits >> 1, B: bits & 1})
				want := 0.0
				if equal := bits == 0 || bits == 3; equal != (sign > 0) {
					want = 1
				}
				if got := l.ErrorRate(b); got != want {
					t.Errorf("%v, basis %d, bits %02b: error rate %g, want %g", qnet.BellLabel(label), b, bits, got, want)
				}
			}
		}
	}
	// Old rounds fade: after the memory's number of right ones, 1/e of what there was
	// is wrong.
	for range 50_000 {
		add(&l, 2, true)
	}
	near(t, "rounds", l.Rounds(2), 1000.5, 1e-2)
	for range 1000 {
		add(&l, 2, false)
	}
	near(t, "error rate", l.ErrorRate(2), math.Exp(-1), 1e-6)
	l.Fade(0.25)
	near(t, "rounds after fading", l.Rounds(2), 250.125, 1e-2)
	near(t, "error rate after fading", l.ErrorRate(2), math.Exp(-1), 1e-6)
}

// twoPoints is a link of two operating points, of which the second makes more pairs, and
// a perfect device.
func twoPoints(t *testing.T, f [2]float64) *estimate.Estimator {
	t.Helper()
	var points []estimate.Point
	for i, p := range []float64{0.01, 0.02} {
		points = append(points, estimate.Point{Name: []string{"slow", "fast"}[i], Probability: p,
			Heralds: herald.Ideal{Probability: p, Fidelity: f[i], PeriodNS: 1000}.Heralds()})
	}
	var s physical.Spec
	e, err := estimate.New(estimate.Config{Link: link, Name: "alice-bob", Points: points, Specs: [2]*physical.Spec{&s, &s}, Period: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// rounds teaches a point rounds of Werner pairs.
func rounds(e *estimate.Estimator, point int, u estimate.Usage, f float64, n int, rng *rand.Rand) {
	for range n {
		basis := rng.IntN(3)
		r := estimate.Round{Bases: both(basis)}
		if q := 2 * (1 - f) / 3; (rng.Float64() < q) != (basis == 1) {
			r.B = 1
		}
		e.Learn(point, u, r)
	}
}

// A device that is worse than its data sheet is found out, and its requests get a
// better point or are refused; when it has been repaired, it is trusted again. One
// that is as it should be is not suspected: at a confidence of 1−1e-6 and some 600
// looks, a false alarm in 1,600 seeds at most, and this one is fixed.
func TestWorseThanItsDataSheet(t *testing.T) {
	for _, u := range []estimate.Usage{{}, {Type: estimate.Measure}} {
		e := twoPoints(t, [2]float64{0.95, 0.9})
		rng := qnet.NewRand(7, "worse")
		for range 300 {
			rounds(e, 1, u, 0.9, 100, rng)
			if p, est, err := e.Choose(0.88, u); p != 1 || err != nil || est.Contradicted || est.Fidelity != est.Model {
				t.Fatalf("a device that is as it should be got %d %+v %v", p, est, err)
			}
		}
		// It breaks: 0.9 becomes 0.7.
		n := 0
		for ; ; n += 100 {
			if p, _, err := e.Choose(0.88, u); err != nil {
				t.Fatal(err)
			} else if p == 0 {
				break
			}
			if n > 20_000 {
				t.Fatalf("20,000 rounds of 0.7 were not noticed")
			}
			rounds(e, 1, u, 0.7, 100, rng)
		}
		t.Logf("noticed after %d rounds", n)
		// The other one, too.
		rounds(e, 0, u, 0.8, 30_000, rng)
		rounds(e, 1, u, 0.7, 30_000, rng)
		p, est, err := e.Choose(0.88, u)
		qnettest.WantErr(t, err, qnet.ErrFidelity, "slow", "0.88", "0.95")
		if p != 0 || !est.Contradicted || math.Abs(est.Measured-0.8) > 0.02 || est.Granted != est.Lower || est.Lower > 0.8 || est.Lower < 0.77 {
			t.Errorf("estimate is %d %+v", p, est)
		}
		if p, est, err = e.Choose(est.Granted, u); p != 0 || err != nil {
			t.Errorf("what is granted is refused: %d %+v %v", p, est, err)
		}
		near(t, "fidelity of a pair", e.At(0, qnet.PhiPlus, u, 0, 0), est.Measured, 1e-12)
		// Repaired.
		rounds(e, 0, u, 0.95, 80_000, rng)
		if p, est, err = e.Choose(0.94, u); p != 0 || err != nil || est.Contradicted {
			t.Errorf("after repair: %d %+v %v", p, est, err)
		}
		// Nobody uses the fast one any more: fading gives it another chance.
		if est, _ := e.Estimate(1, u); !est.Contradicted {
			t.Errorf("forgotten by itself: %+v", est)
		}
		for range 10 {
			e.Fade(0.5)
		}
		if est, _ := e.Estimate(1, u); est.Contradicted {
			t.Errorf("not forgotten: %+v", est)
		}
	}
}

// Emulated hardware with a fault that its data sheet does not have.
func TestFaultOfEmulatedHardware(t *testing.T) {
	u := estimate.Usage{Type: estimate.Measure}
	for i := range 6 {
		rng := qnet.NewRand(uint64(i), "fault")
		h := randomHardware(rng)
		h.heralds = herald.Ideal{Probability: 1, Fidelity: 0.95, PeriodNS: 1000}.Heralds()
		for side := range h.specs {
			h.specs[side].Noise.QubitNoise = physical.QubitNoise{ReadoutError: physical.ReadoutError{0.03, 0.01}}
		}
		_, half := h.bulk(t, nil, 1, 1)
		e := h.estimator(t, half)
		model, err := e.Estimate(0, u)
		if err != nil {
			t.Fatal(err)
		}
		learn := func(r estimate.Round) { e.Learn(0, u, r) }
		h.bulk(t, learn, 100_000, 3)
		if est, _ := e.Estimate(0, u); est.Contradicted {
			t.Errorf("sound hardware is contradicted: %+v", est)
		}
		faulty := *h
		faulty.specs[0].Noise.ReadoutError = physical.ReadoutError{0.2, 0.1}
		truth, _ := faulty.estimator(t, half).Estimate(0, u)
		if model.Fidelity-truth.Fidelity < 0.05 {
			continue // there is little left to lose
		}
		faulty.bulk(t, learn, 200_000, 4)
		est, _ := e.Estimate(0, u)
		if !est.Contradicted || est.Lower > truth.Model || est.Upper < truth.Model {
			t.Errorf("faulty hardware of fidelity %.4f was taken for %+v", truth.Model, est)
		}
		if _, _, err := e.Choose(model.Fidelity, u); qnet.CodeOf(err) != qnet.ErrFidelity {
			t.Errorf("faulty hardware is trusted: %v", err)
		}
	}
}

// The share of pairs and the bases are what was asked for, both ends agree, and
// another salt makes another choice.
func TestTestRounds(t *testing.T) {
	const n = 100_000
	for _, fraction := range []float64{0, 0.001, 0.1, 0.5, 1} {
		var counts [4]int
		var both, other int
		for seq := range uint64(n) {
			seq += 1<<40 - n/2
			test, basis := estimate.TestRound([16]byte{1}, seq, fraction)
			again, same := estimate.TestRound([16]byte{1}, seq, fraction)
			if test != again || basis != same {
				t.Fatal("the ends do not agree")
			}
			another, _ := estimate.TestRound([16]byte{15: 1}, seq, fraction)
			switch {
			case !test:
				counts[3]++
			case basis < 0 || basis > 2:
				t.Fatalf("basis %d", basis)
			default:
				counts[basis]++
			}
			if another {
				other++
			}
			if test && another {
				both++
			}
		}
		if fraction == 0 || fraction == 1 {
			if want := int(fraction * n); n-counts[3] != want || other != want {
				t.Errorf("fraction %g: %d of %d", fraction, n-counts[3], n)
			}
			if fraction == 0 {
				continue
			}
		}
		// False alarms: in 3e6 by each.
		qnettest.Fit(t, "test rounds", counts[:], []float64{fraction / 3, fraction / 3, fraction / 3, 1 - fraction})
		p := fraction * fraction
		near(t, "chosen by both of two salts", float64(both), n*p, 5*math.Sqrt(n*p*(1-p))+1)
	}
	for _, fraction := range []float64{-1, math.NaN(), math.Inf(-1)} {
		if test, _ := estimate.TestRound([16]byte{}, 1, fraction); test {
			t.Errorf("fraction %g: a test", fraction)
		}
	}
}
