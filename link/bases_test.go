package link_test

import (
	"errors"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
)

// The probability to see 0 after the rotations, from the matrices of these, is
// that of the basis, for random states.
func TestFixedBasis(t *testing.T) {
	type matrix [2][2]complex128
	mul := func(a, b matrix) (c matrix) {
		for i := range 2 {
			for j := range 2 {
				c[i][j] = a[i][0]*b[0][j] + a[i][1]*b[1][j]
			}
		}
		return c
	}
	rx := func(t float64) matrix {
		c, s := complex(math.Cos(t/2), 0), complex(0, -math.Sin(t/2))
		return matrix{{c, s}, {s, c}}
	}
	ry := func(t float64) matrix {
		c, s := complex(math.Cos(t/2), 0), complex(math.Sin(t/2), 0)
		return matrix{{c, -s}, {s, c}}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		x1, y, x2 := 2*math.Pi*rng.Float64(), 2*math.Pi*rng.Float64(), 2*math.Pi*rng.Float64()
		theta, phi := math.Pi*rng.Float64(), 2*math.Pi*rng.Float64()
		state := [2]complex128{complex(math.Cos(theta/2), 0), cmplx.Exp(complex(0, phi)) * complex(math.Sin(theta/2), 0)}
		u := mul(rx(x2), mul(ry(y), rx(x1)))
		a := u[0][0]*state[0] + u[0][1]*state[1]
		want := real(a)*real(a) + imag(a)*imag(a)
		nx, ny, nz := link.Fixed(x1, y, x2).Bases[0].Axis()
		got := (1 + nx*math.Sin(theta)*math.Cos(phi) + ny*math.Sin(theta)*math.Sin(phi) + nz*math.Cos(theta)) / 2
		if math.Abs(got-want) > 1e-9 {
			t.Fatalf("rotation by %g, %g, %g: probability %g, want %g", x1, y, x2, got, want)
		}
	}
}

func TestRandomBases(t *testing.T) {
	for _, c := range []struct {
		src  physical.BasisSource
		want []float64 // probabilities up to each basis, the last left out
	}{
		{link.RandomXZ(0.25), []float64{0.25}},
		{link.RandomXYZ(0.25, 0.5), []float64{0.25, 0.75}},
		{link.RandomCHSH(0.5), []float64{0.5}},
		{link.RandomXZ(0), []float64{0}},
	} {
		choice, err := c.src.Choice()
		if err != nil {
			t.Fatal(err)
		}
		counts := make([]int, len(c.src.Bases))
		rng := rand.New(rand.NewPCG(2, 2))
		const n = 100_000
		for range n {
			counts[choice.Draw(rng)]++
		}
		before := 0.0
		for i, upTo := range append(c.want, 1) {
			// 5 standard errors: false alarm 6e-7 each.
			if p := upTo - before; math.Abs(float64(counts[i])-n*p) > 5*math.Sqrt(n*p*(1-p)) {
				t.Errorf("%v: basis %d %d times, want %g", c.src, i, counts[i], n*p)
			}
			before = upTo
		}
	}
	for _, src := range []physical.BasisSource{link.RandomXYZ(0.6, 0.5), link.RandomXZ(1.1), link.RandomCHSH(-0.1), link.RandomXZ(math.NaN())} {
		if _, err := src.Choice(); !errors.Is(err, qnet.ErrInvalid) {
			t.Errorf("%v: got %v, want %v", src, err, qnet.ErrInvalid)
		}
	}
}
