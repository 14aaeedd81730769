package emulate

import (
	"math"
	"testing"
)

// Tails against sums of the whole distribution, for few trials, and against the
// Poisson distribution for very many.
func TestPlausible(t *testing.T) {
	for _, c := range []struct {
		n uint64
		p float64
	}{{30, 0.3}, {200, 0.5}, {50, 0.95}, {500, 0.01}} {
		term := make([]float64, c.n+1)
		for k := range term {
			a, _ := math.Lgamma(float64(c.n) + 1)
			b, _ := math.Lgamma(float64(k) + 1)
			d, _ := math.Lgamma(float64(c.n) - float64(k) + 1)
			term[k] = math.Exp(a - b - d + float64(k)*math.Log(c.p) + (float64(c.n)-float64(k))*math.Log1p(-c.p))
		}
		for k := range term {
			var few, many float64
			for i, x := range term {
				if i <= k {
					few += x
				}
				if i >= k {
					many += x
				}
			}
			const alarm = 2.87e-7
			if near := math.Abs(min(few, many)/alarm-1) < 1e-6; !near && plausible(uint64(k), c.n, c.p) != (min(few, many) >= alarm) {
				t.Errorf("%d of %d at %g: plausible says %v, the tails are %g and %g", k, c.n, c.p, !(min(few, many) >= alarm), few, many)
			}
		}
	}
	// Poisson with mean 10: at most 0 has 4.5e-5; at least 29 has 6.6e-7 and at
	// least 30 has 2.1e-7.
	for k, want := range map[uint64]bool{0: true, 10: true, 29: true, 30: false} {
		if got := plausible(k, 1e15, 1e-14); got != want {
			t.Errorf("%d events where 10 are expected: %v, want %v", k, got, want)
		}
	}
	if !plausible(1_004_997, 1e9, 1e-3) || plausible(1_004_998, 1e9, 1e-3) {
		t.Error("many events: the limit is not five standard errors")
	}
	if !plausible(0, 10, 0) || plausible(1, 10, 0) {
		t.Error("an impossible event is taken for chance, or none for none")
	}
}
