package qnet_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"qstack/qnet"
)

// A choice is that of the first bound above a uniform number.
func TestChoice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		upTo := make([]float64, rng.IntN(6))
		for i := range upTo {
			upTo[i] = rng.Float64()
			if rng.IntN(4) == 0 {
				upTo[i] = float64(rng.IntN(3)) / 2 // 0 and 1 too
			}
		}
		slices.Sort(upTo)
		c := qnet.NewChoice(upTo...)
		seed := rng.Uint64()
		a, b := rand.New(rand.NewPCG(seed, 3)), rand.New(rand.NewPCG(seed, 3))
		filled := make([]uint8, 50)
		for i := range filled {
			filled[i] = 99
		}
		c.Fill(filled, rand.New(rand.NewPCG(seed, 3)))
		for _, fill := range filled {
			want := 0
			if len(upTo) > 0 {
				u := a.Float64()
				want = len(upTo)
				if i := slices.IndexFunc(upTo, func(x float64) bool { return u < x }); i >= 0 {
					want = i
				}
			}
			if got := c.Draw(b); got != want {
				t.Fatalf("%v: drew %d, want %d", upTo, got, want)
			}
			if int(fill) != want {
				t.Fatalf("%v: filled in %d, want %d", upTo, fill, want)
			}
		}
	}
	// Rounding leaves probabilities a little outside.
	if got := qnet.NewChoice(-1e-17, 1+1e-15).Draw(rng); got != 1 {
		t.Errorf("drew %d of possibilities with the probabilities 0, 1 and 0", got)
	}
}

func BenchmarkChoice(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := qnet.NewChoice(0.25, 0.5, 0.75)
	for b.Loop() {
		c.Draw(rng)
	}
}
