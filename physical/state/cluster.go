package state

import (
	"math/rand/v2"

	"qstack/physical"
	"qstack/qnet"
)

// MaxQubits is the largest number of qubits in one entangled cluster.
const MaxQubits = 10

// cluster is a set of qubits with a joint state of their own: the state of the
// world is the product of the clusters' states. Its engine says how the state
// is held.
type cluster struct {
	engine engine
	ids    []ID         // the qubits, by position
	v      vector       // bloch: Bloch vector; bell: spectrum
	rho    []complex128 // dense: density matrix, row-major, position 0 most significant
}

// vector has a component for each of the Pauli operators X, Y and Z.
type vector [3]float64

// engine is a way to hold the joint state of a cluster. Methods that return
// false have changed nothing: the result is beyond the engine, and the caller
// promotes the cluster to dense, where everything succeeds.
//
// measure and trace remove the qubit at pos from the state (never from ids) and
// leave the others in an engine that fits them; nothing is left of a cluster of
// one.
type engine interface {
	// decay applies ch to the qubit at pos.
	decay(c *cluster, pos int, ch channel) bool
	// gate applies gate g, whose matrix is u, to the qubit at pos.
	gate(c *cluster, pos int, g physical.Gate, u unitary) bool
	// measure measures the qubit at pos along the axis n.
	measure(c *cluster, pos int, n vector, rng *rand.Rand) uint8
	// trace traces the qubit at pos out.
	trace(c *cluster, pos int)
	// promote turns the cluster to the dense engine.
	promote(c *cluster)
}

// resize returns a slice of length n, in the memory of s if that suffices. Its
// content is undefined.
func resize(s []complex128, n int) []complex128 {
	if cap(s) < n {
		return make([]complex128, n)
	}
	return s[:n]
}

// bloch holds one qubit by its Bloch vector v: ρ = (I + v·σ)/2.
type bloch struct{}

func (bloch) decay(c *cluster, _ int, ch channel) bool {
	c.v[0] *= ch.xy
	c.v[1] *= ch.xy
	c.v[2] = c.v[2]*ch.z + ch.shift
	return true
}

func (bloch) gate(c *cluster, _ int, _ physical.Gate, u unitary) bool {
	c.v = blochVector(u.conjugate(c.v.matrix()))
	return true
}

func (bloch) measure(c *cluster, _ int, n vector, rng *rand.Rand) uint8 {
	if 2*rng.Float64() < 1+n[0]*c.v[0]+n[1]*c.v[1]+n[2]*c.v[2] {
		return 0
	}
	return 1
}

func (bloch) trace(*cluster, int) {}

func (bloch) promote(c *cluster) {
	c.engine = dense{}
	c.rho = resize(c.rho, 4)
	c.rho[0], c.rho[1], c.rho[2], c.rho[3] = c.v.matrix()
}

// matrix returns the density matrix of a Bloch vector.
func (v *vector) matrix() (m00, m01, m10, m11 complex128) {
	return complex((1+v[2])/2, 0), complex(v[0]/2, -v[1]/2), complex(v[0]/2, v[1]/2), complex((1-v[2])/2, 0)
}

// blochVector returns the Bloch vector of a density matrix.
func blochVector(m00, m01, m10, m11 complex128) vector {
	return vector{real(m01 + m10), imag(m10 - m01), real(m00 - m11)}
}

// bell holds a Bell-diagonal pair by the spectrum of its weights w: with χ as in
// the table below, v[k] = Σ_l χ_k(l)·w[l], so w[l] = (1 + Σ_k χ_k(l)·v[k])/4 and
// the state is ρ = (I + Σ_k g_k·v[k]·σ_k⊗σ_k)/4, g = (1,−1,1). Labels of pairs
// and outcomes compose by XOR, which turns every convolution of weights into a
// product of spectra.
type bell struct{}

// chi has the characters of the group of Bell labels: chi[l][k] is +1 or −1 as
// X⊗X, −Y⊗Y or Z⊗Z has on the Bell state l, for k = 0, 1, 2.
var chi = [4]vector{
	qnet.PhiPlus:  {1, 1, 1},
	qnet.PhiMinus: {-1, -1, 1},
	qnet.PsiPlus:  {1, -1, -1},
	qnet.PsiMinus: {-1, 1, -1},
}

// spectrum returns the spectrum of weights.
func spectrum(w [4]float64) (v vector) {
	for l, x := range w {
		for k := range v {
			v[k] += chi[l][k] * x
		}
	}
	return v
}

// weight returns the weight of label l in a spectrum.
func (v *vector) weight(l qnet.BellLabel) float64 {
	x := &chi[l&3]
	return (1 + x[0]*v[0] + x[1]*v[1] + x[2]*v[2]) / 4
}

// sample draws a label from the distribution whose spectrum v is.
func (v *vector) sample(rng *rand.Rand) qnet.BellLabel {
	x := rng.Float64()
	for l := qnet.PhiPlus; l < qnet.PsiMinus; l++ {
		if x -= v.weight(l); x < 0 {
			return l
		}
	}
	return qnet.PsiMinus
}

func (bell) decay(c *cluster, _ int, ch channel) bool {
	if ch.shift != 0 {
		return false
	}
	c.v[0] *= ch.xy
	c.v[1] *= ch.xy
	c.v[2] *= ch.z
	return true
}

func (bell) gate(c *cluster, _ int, g physical.Gate, _ unitary) bool {
	var l qnet.BellLabel // what the gate XORs to the label
	switch g {
	case physical.GateX:
		l = qnet.PsiPlus
	case physical.GateY:
		l = qnet.PsiMinus
	case physical.GateZ:
		l = qnet.PhiMinus
	default:
		return false
	}
	for k := range c.v {
		c.v[k] *= chi[l][k]
	}
	return true
}

func (bell) measure(c *cluster, _ int, n vector, rng *rand.Rand) uint8 {
	bit := uint8(rng.Uint64() >> 63)
	if bit == 1 {
		n = vector{-n[0], -n[1], -n[2]}
	}
	c.engine = bloch{}
	c.v = vector{c.v[0] * n[0], -c.v[1] * n[1], c.v[2] * n[2]}
	return bit
}

func (bell) trace(c *cluster, _ int) {
	c.engine = bloch{}
	c.v = vector{}
}

func (bell) promote(c *cluster) {
	c.engine = dense{}
	c.rho = resize(c.rho, 16)
	clear(c.rho)
	same, differ := complex((1+c.v[2])/4, 0), complex((1-c.v[2])/4, 0)
	phi, psi := complex((c.v[0]+c.v[1])/4, 0), complex((c.v[0]-c.v[1])/4, 0)
	c.rho[0b00_00], c.rho[0b00_11] = same, phi
	c.rho[0b11_00], c.rho[0b11_11] = phi, same
	c.rho[0b01_01], c.rho[0b01_10] = differ, psi
	c.rho[0b10_01], c.rho[0b10_10] = psi, differ
}
