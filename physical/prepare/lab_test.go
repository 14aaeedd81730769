package prepare_test

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
)

// The reference: light and detectors, written from the physics. Nothing here
// uses the package under test.

// station is a BB84 receiver and the way to it.
type station struct {
	eta, dark, misalignment float64
}

// outcome is what a pulse ends in.
type outcome int

const (
	nothing outcome = iota
	right
	wrong
)

// poisson counts events at unit rate within mean.
func poisson(rng *rand.Rand, mean float64) int {
	n, t := 0, rng.ExpFloat64()
	for t < mean {
		n++
		t += rng.ExpFloat64()
	}
	return n
}

// receive sends n photons through the station in the polarisation of bit 0 of one
// basis and measures in the same or the other: the angle between polarisation and
// analyser is θ or π/4+θ, and each photon passes to detector 0 with probability
// cos².
func (s station) receive(rng *rand.Rand, n int, same bool) outcome {
	theta := math.Asin(math.Sqrt(s.misalignment))
	if rng.IntN(2) == 0 {
		theta = -theta
	}
	if !same {
		theta += math.Pi / 4
	}
	var click [2]bool
	for d := range click {
		click[d] = rng.Float64() < s.dark
	}
	for range n {
		if rng.Float64() < s.eta {
			if rng.Float64() < math.Pow(math.Cos(theta), 2) {
				click[0] = true
			} else {
				click[1] = true
			}
		}
	}
	switch {
	case !click[0] && !click[1]:
		return nothing
	case click[0] && click[1]:
		if rng.IntN(2) == 0 {
			return wrong
		}
		return right
	case click[1]:
		return wrong
	}
	return right
}

// exact sums over all fates of n photons and of the dark counts: it returns the
// probabilities of the right bit and of the wrong one.
func (s station) exact(n int) (p [3]float64) {
	var walk func(left int, weight float64, a, b bool)
	walk = func(left int, weight float64, a, b bool) {
		if weight == 0 {
			return
		}
		if left > 0 {
			walk(left-1, weight*(1-s.eta), a, b)
			walk(left-1, weight*s.eta*(1-s.misalignment), true, b)
			walk(left-1, weight*s.eta*s.misalignment, a, true)
			return
		}
		for dark := range 4 {
			w := weight
			c := [2]bool{a, b}
			for d := range c {
				if dark>>d&1 == 1 {
					w *= s.dark
					c[d] = true
				} else {
					w *= 1 - s.dark
				}
			}
			switch c {
			case [2]bool{false, false}:
				p[nothing] += w
			case [2]bool{true, false}:
				p[right] += w
			case [2]bool{false, true}:
				p[wrong] += w
			default:
				p[right] += w / 2
				p[wrong] += w / 2
			}
		}
	}
	walk(n, 1, false, false)
	return p
}

// midpoint is the mid-point of a twin-field link with both arms: two detectors
// that see two polarisations each. The light of B is turned by an angle against
// that of A.
type midpoint struct {
	etaA, etaB, dark, overlap float64
}

// modes of the mid-point: detector c and d in two polarisations, and what each
// arm loses.
const (
	cH = iota
	cV
	dH
	dV
	lostA
	lostB
	modes
)

// creators returns what the creation operators of both ends become.
func (m midpoint) creators() (a, b [modes]float64) {
	a[cH], a[dH], a[lostA] = math.Sqrt(m.etaA/2), math.Sqrt(m.etaA/2), math.Sqrt(1-m.etaA)
	h, v := m.overlap, math.Sqrt(1-m.overlap*m.overlap)
	x := math.Sqrt(m.etaB / 2)
	b[cH], b[dH], b[cV], b[dV], b[lostB] = x*h, -x*h, x*v, -x*v, math.Sqrt(1-m.etaB)
	return a, b
}

// photons returns the probability that only detector c clicks when the ends send
// nA and nB photons: the product of creation operators as a polynomial, squared.
func (m midpoint) photons(nA, nB int) float64 {
	a, b := m.creators()
	state := map[[modes]int]float64{{}: 1}
	times := func(op [modes]float64) {
		next := make(map[[modes]int]float64)
		for k, x := range state {
			for mode, y := range op {
				if y != 0 {
					k2 := k
					k2[mode]++
					next[k2] += x * y
				}
			}
		}
		state = next
	}
	norm := 1.0
	for i := range nA {
		times(a)
		norm *= float64(i + 1)
	}
	for i := range nB {
		times(b)
		norm *= float64(i + 1)
	}
	var none, c float64 // no photon in d: none in c either, or some
	for k, x := range state {
		p := x * x / norm
		for _, n := range k {
			for i := range n {
				p *= float64(i + 1)
			}
		}
		switch {
		case k[dH]+k[dV] > 0:
		case k[cH]+k[cV] > 0:
			c += p
		default:
			none += p
		}
	}
	return (1 - m.dark) * (c + m.dark*none)
}

// intensities returns the light at c and d for two amplitudes.
func (m midpoint) intensities(alpha, beta complex128) (c, d float64) {
	a, b := m.creators()
	for mode := range modes {
		x := cmplx.Abs(alpha*complex(a[mode], 0) + beta*complex(b[mode], 0))
		switch mode {
		case cH, cV:
			c += x * x
		case dH, dV:
			d += x * x
		}
	}
	return c, d
}

// round sends two coherent states and tells which of c and d clicked alone: 0, 1,
// or -1.
func (m midpoint) round(rng *rand.Rand, alpha, beta complex128) int {
	c, d := m.intensities(alpha, beta)
	clickC := poisson(rng, c) > 0 || rng.Float64() < m.dark
	clickD := poisson(rng, d) > 0 || rng.Float64() < m.dark
	switch {
	case clickC && !clickD:
		return 0
	case clickD && !clickC:
		return 1
	}
	return -1
}

// onlyC returns ⟨α′,β′|E|α,β⟩ for real amplitudes, where E is the effect that only
// c clicks: (1−d)·(:exp(−n_d): − (1−d):exp(−n_c−n_d):).
func (m midpoint) onlyC(a1, b1, a, b float64) float64 {
	opA, opB := m.creators()
	var c, d float64 // α′*α summed over the modes
	for mode := range lostA {
		x := (a1*opA[mode] + b1*opB[mode]) * (a*opA[mode] + b*opB[mode])
		if mode == cH || mode == cV {
			c += x
		} else {
			d += x
		}
	}
	inner := math.Exp(-(a1-a)*(a1-a)/2 - (b1-b)*(b1-b)/2)
	return (1 - m.dark) * inner * (math.Exp(-d) - (1-m.dark)*math.Exp(-c-d))
}
