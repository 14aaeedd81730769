package state

import (
	"math"
	"math/rand/v2"

	"qstack/qnet"
)

// vector has a component for each of the Pauli operators X, Y and Z.
type vector [3]float64

// multiply multiplies v by u component by component.
func (v *vector) multiply(u *vector) {
	v[0] *= u[0]
	v[1] *= u[1]
	v[2] *= u[2]
}

// A Bell-diagonal pair is held by the spectrum of its weights w: with χ as in the
// table below, v[k] = Σ_l χ_k(l)·w[l], so w[l] = (1 + Σ_k χ_k(l)·v[k])/4 and the
// state is ρ = (I + Σ_k g_k·v[k]·σ_k⊗σ_k)/4, g = (1,−1,1). Labels of pairs and
// outcomes compose by XOR, which turns every convolution of weights into a
// product of spectra.

// chi has the characters of the group of Bell labels: chi[l][k] is +1 or −1 as
// X⊗X, −Y⊗Y or Z⊗Z has on the Bell state l, for k = 0, 1, 2.
var chi = [4]vector{
	qnet.PhiPlus:  {1, 1, 1},
	qnet.PhiMinus: {-1, -1, 1},
	qnet.PsiPlus:  {1, -1, -1},
	qnet.PsiMinus: {-1, 1, -1},
}

// spectrum returns the spectrum of weights.
func spectrum(w *[4]float64) vector {
	a, b := w[qnet.PhiPlus]-w[qnet.PsiMinus], w[qnet.PhiMinus]-w[qnet.PsiPlus]
	c, d := w[qnet.PhiPlus]+w[qnet.PsiMinus], w[qnet.PhiMinus]+w[qnet.PsiPlus]
	return vector{a - b, c - d, a + b}
}

// weight returns the weight of label l in a spectrum.
func (v *vector) weight(l qnet.BellLabel) float64 {
	x := &chi[l&3]
	return (1 + x[0]*v[0] + x[1]*v[1] + x[2]*v[2]) / 4
}

// weights returns the weights of all labels.
func (v *vector) weights() (w [4]float64) {
	for l := range w {
		w[l] = v.weight(qnet.BellLabel(l))
	}
	return w
}

// draw draws a label with the given probabilities, which add up to 1.
func draw(p *[4]float64, rng *rand.Rand) qnet.BellLabel {
	x := rng.Float64()
	best := qnet.PhiPlus
	for l := range qnet.BellLabel(4) {
		if x -= p[l]; x < 0 {
			return l
		}
		if p[l] > p[best] {
			best = l
		}
	}
	return best // rounding left a little over
}

// fade applies the decay that a Bell-diagonal pair has gathered. It is kept as
// exponents, which add up over touches, halves and swaps, and exponentiated once,
// when the state matters.
func (c *cluster) fade() {
	if c.xy != 0 {
		f := math.Exp(-c.xy)
		c.v[0] *= f
		c.v[1] *= f
	}
	if c.z != 0 {
		c.v[2] *= math.Exp(-c.z)
	}
	c.xy, c.z = 0, 0
}

// spread turns a Bell-diagonal pair to Pauli coefficients.
func (c *cluster) spread() {
	c.fade()
	c.kind = general
	c.resize(16)
	clear(c.r)
	c.r[0], c.r[0b0101], c.r[0b1010], c.r[0b1111] = 1, c.v[0], -c.v[1], c.v[2]
}

// measureBell measures one half of a Bell-diagonal pair along n and leaves the
// other half alone in the state.
func (c *cluster) measureBell(n vector, rng *rand.Rand) (bit uint8) {
	c.fade()
	bit = uint8(rng.Uint64() >> 63)
	s := float64(1 - 2*int(bit))
	c.single(vector{s * c.v[0] * n[0], -s * c.v[1] * n[1], s * c.v[2] * n[2]})
	return bit
}

// teleport leaves the state of the single qubit of d, after a Bell measurement
// with the outcome e, to one half of a Bell-diagonal pair.
func (c *cluster) teleport(d *cluster, e *effect) {
	c.fade()
	v := d.bloch(0)
	for k := range v {
		v[k] *= c.v[k] * e[k+1] / e[0]
	}
	c.single(v)
}
