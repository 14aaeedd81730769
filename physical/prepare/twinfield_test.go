package prepare_test

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"qstack/physical/prepare"
	"qstack/qnet/qnettest"
)

func randomMidpoint(rng *rand.Rand) midpoint {
	m := midpoint{rng.Float64(), rng.Float64(), 0.5 * rng.Float64(), rng.Float64()}
	switch rng.IntN(10) { // the ends of the ranges too
	case 0:
		m.etaA = float64(rng.IntN(2))
	case 1:
		m.etaA, m.etaB = 1, 1
	case 2:
		m.dark = 0
	case 3:
		m.overlap = 1
	}
	return m
}

func twinField(m midpoint) prepare.TwinField {
	return prepare.TwinField{EtaA: m.etaA, EtaB: m.etaB, Dark: m.dark, Misalignment: (1 - m.overlap) / 2}
}

// The response to given numbers of photons is that of the modes they end in.
func TestTwinFieldPhotonsAreExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		m := randomMidpoint(rng)
		for nA := range 5 {
			for nB := range 5 - nA {
				if got, want := twinField(m).Photons(nA, nB), m.photons(nA, nB); math.Abs(got-want) > 1e-13 {
					t.Fatalf("%+v: %d and %d photons: %.16g, want %.16g", m, nA, nB, got, want)
				}
			}
		}
	}
	m := midpoint{0.3, 0.6, 0.01, 0.9}
	for _, n := range [][2]int{{6, 6}, {9, 2}, {0, 12}} {
		near(t, "many photons", twinField(m).Photons(n[0], n[1]), m.photons(n[0], n[1]), 1e-11)
	}
}

// Coherent light of random phase is a Poisson number of photons from either end.
func TestTwinFieldRandomPhaseIsPoisson(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		tf := twinField(randomMidpoint(rng))
		meanA, meanB := 3*rng.Float64(), 3*rng.Float64()
		var want float64
		pA := math.Exp(-meanA)
		for nA := range 40 {
			pB := math.Exp(-meanB)
			for nB := range 40 {
				want += pA * pB * tf.Photons(nA, nB)
				pB *= meanB / float64(nB+1)
			}
			pA *= meanA / float64(nA+1)
		}
		if got := tf.RandomPhase(meanA, meanB); math.Abs(got-want) > 1e-13 {
			t.Fatalf("%+v: means %g and %g: %.16g, want %.16g", tf, meanA, meanB, got, want)
		}
	}
}

// For a phase with an offset and noise it is the average over the phase, by the
// trapezium rule, which is exact for analytic functions that die away.
func TestTwinFieldPhaseNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		m := randomMidpoint(rng)
		tf := twinField(m)
		tf.PhaseOffset = math.Pi * (2*rng.Float64() - 1)
		tf.PhaseNoise = 2 * rng.Float64()
		if rng.IntN(4) == 0 {
			tf.PhaseNoise = 0
		}
		meanA, meanB := math.Pow(10, 3*rng.Float64()-2), math.Pow(10, 3*rng.Float64()-2)
		var want [2]float64
		const steps = 4000
		var sum float64
		for i := -steps; i <= steps; i++ {
			x := 9 * float64(i) / steps
			w := math.Exp(-x * x / 2)
			sum += w
			for k, sign := range []float64{1, -1} {
				beta := cmplx.Rect(sign*math.Sqrt(meanB), tf.PhaseOffset+x*tf.PhaseNoise)
				c, d := m.intensities(complex(math.Sqrt(meanA), 0), beta)
				want[k] += w * (1 - m.dark) * math.Exp(-d) * (1 - (1-m.dark)*math.Exp(-c))
			}
		}
		right, wrong := tf.Coherent(meanA, meanB)
		if math.Abs(right-want[0]/sum) > 1e-11 || math.Abs(wrong-want[1]/sum) > 1e-11 {
			t.Fatalf("%+v: means %g and %g: %.14g and %.14g, want %.14g and %.14g", tf, meanA, meanB, right, wrong, want[0]/sum, want[1]/sum)
		}
	}
}

// Round by round: two coherent states with locked, noisy or random phases meet,
// photons are counted, dark counts added. False alarms below 1e-6; the seed is
// fixed.
func TestTwinFieldByRounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	const rounds = 150_000
	for i, c := range []struct {
		m             midpoint
		offset, noise float64
		meanA, meanB  float64
	}{
		{midpoint{0.5, 0.3, 0.01, 0.98}, 0, 0, 0.4, 0.6},
		{midpoint{0.2, 0.2, 0.03, 0.9}, 0.3, 0.4, 2, 2},
		{midpoint{0.9, 0.7, 0.001, 1}, -0.5, 0.1, 1, 0.1},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var locked, random [3]int
			for range rounds {
				alpha, beta := math.Sqrt(c.meanA), math.Sqrt(c.meanB)
				phase := c.offset + c.noise*rng.NormFloat64()
				flip := rng.IntN(2)
				k := c.m.round(rng, complex(alpha, 0), cmplx.Rect(beta, phase+math.Pi*float64(flip)))
				if k >= 0 {
					k ^= flip
				}
				locked[k+1]++
				random[1+c.m.round(rng, cmplx.Rect(alpha, 2*math.Pi*rng.Float64()), cmplx.Rect(beta, 2*math.Pi*rng.Float64()))]++
			}
			tf := twinField(c.m)
			tf.PhaseOffset, tf.PhaseNoise = c.offset, c.noise
			right, wrong := tf.Coherent(c.meanA, c.meanB)
			either := tf.RandomPhase(c.meanA, c.meanB)
			qnettest.Fit(t, "locked", locked[:], []float64{1 - right - wrong, right, wrong})
			qnettest.Fit(t, "random", random[:], []float64{1 - 2*either, either, either})
		})
	}
}

// Nothing is lost to rounding at 70 dB on either side.
func TestTwinFieldPrecision(t *testing.T) {
	tf := prepare.TwinField{EtaA: 1e-7, EtaB: 1e-7, Dark: 1e-11, Misalignment: 0.01}
	near(t, "dark counts", tf.Photons(0, 0), 1e-11, 1e-10)
	near(t, "one photon", tf.Photons(1, 0), 0.5e-7+1e-11, 1e-6)
	right, wrong := tf.Coherent(0.01, 0.01)
	near(t, "right", right, 2e-9*0.99+1e-11, 1e-8)
	near(t, "wrong", wrong, 2e-9*0.01+1e-11, 1e-7)
	near(t, "random phase", tf.RandomPhase(0.01, 0.01), 1e-9+1e-11, 1e-8)
	tf.PhaseNoise = 1e-5
	right, wrong = tf.Coherent(0.01, 0.01)
	near(t, "right with noise", right, 2e-9*0.99+1e-11, 1e-8)
	near(t, "wrong with noise", wrong, 2e-9*0.01+1e-11, 1e-7)
}

// The bound on the phase error as Curty, Azuma and Lo write it, summed over the
// reference's photons.
func TestPhaseErrorSum(t *testing.T) {
	for _, m := range []midpoint{{0.1, 0.1, 1e-4, 0.98}, {0.02, 0.05, 1e-6, 1}} {
		const meanA, meanB = 0.02, 0.03
		var e float64
		for parity := range 2 {
			var sum float64
			for nA := parity; nA < 9; nA += 2 {
				for nB := parity; nB < 9; nB += 2 {
					gA, _ := math.Lgamma(float64(nA + 1))
					gB, _ := math.Lgamma(float64(nB + 1))
					c := math.Exp((-meanA-meanB-gA-gB)/2) * math.Pow(meanA, float64(nA)/2) * math.Pow(meanB, float64(nB)/2)
					sum += c * math.Sqrt(m.photons(nA, nB))
				}
			}
			e += sum * sum
		}
		// p(c) in a round for the key, both signs of either end alike.
		var p float64
		for _, sign := range []float64{1, -1} {
			p += m.onlyC(math.Sqrt(meanA), sign*math.Sqrt(meanB), math.Sqrt(meanA), sign*math.Sqrt(meanB)) / 2
		}
		tf := twinField(m)
		near(t, "phase error", tf.PhaseError(meanA, meanB), e/p, 1e-6)
		right, wrong := tf.Coherent(meanA, meanB)
		near(t, "clicks of one detector", (right+wrong)/2, p, 1e-12)
	}
}

// The bound holds: the phase error itself, of an honest mid-point, is that of the
// ends' even and odd cat states, which tell clicks of both ends' equal parity.
func TestPhaseErrorIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	tight := 0
	for range 500 {
		m := midpoint{math.Pow(10, -3*rng.Float64()), math.Pow(10, -3*rng.Float64()), math.Pow(10, -2-5*rng.Float64()), 1 - 0.1*rng.Float64()}
		meanA, meanB := math.Pow(10, -3*rng.Float64()), math.Pow(10, -3*rng.Float64())
		a, b := math.Sqrt(meanA), math.Sqrt(meanB)
		var e, p float64
		for _, parity := range []float64{1, -1} {
			// |C⟩=(|α⟩±|−α⟩)/2 at either end
			for k := range 16 {
				s := [4]float64{}
				w := 1.0 / 16
				for i := range s {
					s[i] = 1
					if k>>i&1 == 1 {
						s[i] = -1
						w *= parity
					}
				}
				e += w * m.onlyC(s[0]*a, s[1]*b, s[2]*a, s[3]*b)
			}
		}
		for _, sign := range []float64{1, -1} {
			p += m.onlyC(a, sign*b, a, sign*b) / 2
		}
		got := twinField(m).PhaseError(meanA, meanB)
		if got < min(0.5, e/p*(1-1e-6)) {
			t.Fatalf("%+v: means %g and %g: bound %g, but it is %g", m, meanA, meanB, got, e/p)
		}
		if got < 0.5 && got < 3*e/p {
			tight++
		}
	}
	if tight < 100 {
		t.Errorf("%d of 500 bounds are within a factor of 3", tight)
	}
}

// No other means with equal light on arrival are better than the best.
func TestBestMeans(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for range 8 {
		tf := prepare.TwinField{EtaA: math.Pow(10, -1-4*rng.Float64()), EtaB: 1e-3, Dark: 1e-10, Misalignment: 0.02 * rng.Float64()}
		a, b := tf.BestMeans(1.16)
		near(t, "light on arrival", a*tf.EtaA, b*tf.EtaB, 1e-12)
		best := tf.KeyRate(a, b, 1.16)
		for range 20 {
			x := math.Exp(2*rng.Float64() - 1)
			if k := tf.KeyRate(a*x, b*x, 1.16); k > best*(1+1e-9) {
				t.Fatalf("%+v: means %g and %g give %g, the best %g", tf, a*x, b*x, k, best)
			}
		}
	}
	bright := prepare.TwinField{EtaA: 0.1, EtaB: 0.1}
	for _, mean := range []float64{-1, 101, math.Inf(1), math.NaN()} {
		if e := bright.PhaseError(mean, 0.1); e != 0.5 {
			t.Errorf("mean %g: phase error %g", mean, e)
		}
	}
	dark := prepare.TwinField{}
	if a, b := dark.BestMeans(1); dark.KeyRate(a, b, 1) != 0 || dark.PhaseError(a, b) != 0.5 {
		t.Error("a link that never clicks has a key")
	}
}
