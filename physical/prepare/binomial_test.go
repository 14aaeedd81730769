package prepare_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical/prepare"
	"qstack/qnet/qnettest"
)

// Counts have the binomial distribution: probabilities from the ratios of
// neighbours, outward from the mode, in 40 bins of about equal weight. False
// alarms below 1e-6; the seed is fixed.
func TestBinomial(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		n uint64
		p float64
	}{
		{1, 0.3}, {10, 0.5}, {40, 0.1}, {1e6, 3e-6}, {1e15, 8e-15}, {30, 0.4}, {100, 0.1001}, {200, 0.9},
		{1000, 0.5}, {1e6, 2e-5}, {1e12, 1e-9}, {1e15, 1e-9}, {1e9, 0.3}, {1 << 53, 1e-13}, {1 << 53, 1e-9},
	} {
		n, mean := float64(c.n), float64(c.n)*c.p
		width := math.Ceil(9*math.Sqrt(mean*(1-c.p)) + 60)
		lo, hi := max(0, math.Floor(mean)-width), min(n, math.Ceil(mean)+width)
		w := make([]float64, int(hi-lo)+1)
		mode := int(math.Floor(mean) - lo)
		w[mode] = 1
		sum := 1.0
		for i := mode + 1; i < len(w); i++ {
			k := lo + float64(i)
			w[i] = w[i-1] * (n - k + 1) / k * c.p / (1 - c.p)
			sum += w[i]
		}
		for i := mode - 1; i >= 0; i-- {
			k := lo + float64(i)
			w[i] = w[i+1] * (k + 1) / (n - k) * (1 - c.p) / c.p
			sum += w[i]
		}
		bin := make([]int, len(w))
		var p []float64
		at := 0.0
		for i, x := range w {
			if at >= float64(len(p))/40*sum {
				p = append(p, 0)
			}
			p[len(p)-1] += x / sum
			bin[i] = len(p) - 1
			at += x
		}
		counts := make([]int, len(p))
		for range 200_000 {
			k := float64(prepare.Binomial(rng, c.n, c.p))
			if k < lo || k > hi {
				t.Fatalf("n=%d p=%g: drew %g, %g from the mean", c.n, c.p, k, k-mean)
			}
			counts[bin[int(k-lo)]]++
		}
		qnettest.Fit(t, "binomial", counts, p)
	}
}

// Rejection compares logarithms of probabilities: they are those of the factors,
// one by one.
func TestLogBinomial(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 3000 {
		n := 1 + rng.IntN(300)
		k := rng.IntN(n + 1)
		p := 0.5 * rng.Float64()
		want := float64(n-k)*math.Log(1-p) + float64(k)*math.Log(p)
		for i := range k {
			want += math.Log(float64(n-i) / float64(k-i))
		}
		if got := prepare.LogBinomial(float64(n), p, float64(k)); math.Abs(got-want) > 1e-11*(1+math.Abs(want)) {
			t.Fatalf("n=%d k=%d p=%g: %.15g, want %.15g", n, k, p, got, want)
		}
	}
}

// Of very many trials the count is as good as normal, in mean, variance and the
// last bit, which a coarse draw would not have. 5 standard errors (6e-7).
func TestBinomialLarge(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	const n, draws = 1 << 53, 100_000
	for _, p := range []float64{1e-4, 0.5, 0.7} {
		mean, variance := n*p, n*p*(1-p)
		var z, z2 float64
		var odd int
		for range draws {
			k := prepare.Binomial(rng, n, p)
			x := (float64(k) - mean) / math.Sqrt(variance)
			z += x
			z2 += x * x
			odd += int(k & 1)
		}
		if math.Abs(z) > 5*math.Sqrt(draws) || math.Abs(z2-draws) > 5*math.Sqrt(2*draws) {
			t.Errorf("p=%g: mean is off by %g and variance by %g standard errors", p, z/math.Sqrt(draws), (z2-draws)/math.Sqrt(2*draws))
		}
		if math.Abs(float64(odd)-draws/2) > 5*math.Sqrt(draws)/2 {
			t.Errorf("p=%g: %d of %d are odd", p, odd, draws)
		}
	}
}

func TestBinomialLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, c := range []struct {
		n    uint64
		p    float64
		want uint64
	}{{0, 0.5, 0}, {7, 0, 0}, {7, 1, 7}, {1 << 53, 1, 1 << 53}, {1 << 53, 0, 0}, {5, -1e-18, 0}, {5, 1 + 1e-15, 5}, {1000, 1e-300, 0}} {
		if k := prepare.Binomial(rng, c.n, c.p); k != c.want {
			t.Errorf("n=%d p=%g: drew %d, want %d", c.n, c.p, k, c.want)
		}
	}
}
