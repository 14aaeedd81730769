package tableau

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sort"

	"qstack/qnet"
)

// AddPair appends two qubits in the Bell state l.
func (t *Tableau) AddPair(l qnet.BellLabel) {
	a := t.Len()
	t.Add(2)
	t.H(a)
	t.CNOT(a, a+1)
	t.Apply(a+1, Pauli(l))
}

// AddBloch appends a qubit whose Bloch vector is (x, y, z), drawn from a mixture
// of eigenstates of X, Y and Z: the octahedron |x|+|y|+|z| ≤ 1. For a vector
// outside, which no such mixture has, AddBloch returns false and changes nothing.
// A sum above 1 by less than 1e-12 is taken for rounding.
func (t *Tableau) AddBloch(rng *rand.Rand, x, y, z float64) bool {
	ax, ay := math.Abs(x), math.Abs(y)
	sum := ax + ay + math.Abs(z)
	if !(sum <= 1+1e-12) {
		return false
	}
	// X with probability |x| and the sign of x, Y likewise, and Z of either sign
	// for the rest.
	q := t.Len()
	t.Add(1)
	total := max(1, sum)
	switch u := rng.Float64() * total; {
	case u < ax:
		t.H(q)
		if x < 0 {
			t.Apply(q, Z)
		}
	case u < ax+ay:
		t.H(q)
		t.S(q)
		if y < 0 {
			t.Apply(q, Z)
		}
	case u-ax-ay >= (total-ax-ay+z)/2:
		t.Apply(q, X)
	}
	return true
}

// Mixture is a mixed state that is diagonal in a basis of stabiliser states. It
// does not change; AddMixture draws from it.
type Mixture struct {
	// State k of the basis is the base, with flips[c] applied for every bit c
	// that is set in k. upTo is the probability of all states up to k.
	base  Tableau
	flips []element
	upTo  []float64
}

// tolerance is what FromDensity takes for rounding errors, in trace distance and
// in probability.
const tolerance = 1e-9

// FromDensity recognises a density matrix, row-major and with the first qubit
// most significant, that is a mixture of the joint eigenstates of some maximal
// set of commuting Pauli operators: Bell-diagonal pairs, GHZ and graph states
// under Pauli noise, qubits on an axis of the Bloch sphere, and products of them.
// Their trace distance is at most 1e-9.
//
// Another state, or one of more than MaxDense qubits, is an error with code
// qnet.ErrTooLarge, the one for states that no engine can hold. A matrix that is
// no density matrix is an error with code qnet.ErrInvalid.
func FromDensity(rho []complex128) (*Mixture, error) {
	n := (bits.Len(uint(len(rho))) - 1) / 2
	if n < 1 || len(rho) != 1<<(2*n) {
		return nil, qnet.Errorf(qnet.ErrInvalid, "tableau: density matrix has %d elements, want 4ⁿ for n qubits", len(rho))
	}
	if n > MaxDense {
		return nil, qnet.Errorf(qnet.ErrTooLarge, "tableau: density matrix of %d qubits: %d at most can be turned into a tableau", n, MaxDense)
	}
	values, err := expectations(rho, n)
	if err != nil {
		return nil, err
	}
	m := &Mixture{}
	m.base.Add(n)
	for _, g := range commuting(values, n) {
		op := m.base.image(g.factors(n))
		if pivot, random := first(op.x); random {
			m.base.collapse(op, pivot, 0)
		}
	}

	// Column c of the base stands for an operator that has the value +1 in the
	// base, and one that changes its sign and no other's.
	signs := make([]element, n)
	m.flips = make([]element, n)
	for q, r := range m.base.qubits {
		bit := 1 << (n - 1 - q)
		x, z := m.base.row(r.x), m.base.row(r.z)
		for c := range n {
			// P has an X at q if it anticommutes with Z_q, and a Z if with X_q.
			if z.x[0]>>c&1 != 0 {
				signs[c].x |= bit
			}
			if x.x[0]>>c&1 != 0 {
				signs[c].z |= bit
			}
			if z.z[0]>>c&1 != 0 {
				m.flips[c].x |= bit
			}
			if x.z[0]>>c&1 != 0 {
				m.flips[c].z |= bit
			}
		}
	}
	for c := range signs {
		g := &signs[c]
		y := bits.OnesCount(uint(g.x & g.z))
		g.value = uint8(1 - m.base.Expectation(g.factors(n)...) - y)
	}

	// The probabilities are the Walsh-Hadamard transform of the expectation
	// values of all products of these operators. What is left of the state, a
	// sum of Pauli operators with coefficients v/2ⁿ, has a trace norm of at most
	// the root of Σv².
	p := make([]float64, 1<<n)
	var e element
	for k := range p {
		if k > 0 {
			e = e.times(signs[bits.TrailingZeros(uint(k))])
		}
		at := e.x<<n | e.z
		p[k^k>>1] = values[at] * e.sign() // at the Gray code of k
		values[at] = 0
	}
	transform(p)
	var left, negative, sum float64
	for _, v := range values {
		left += v * v
	}
	for k := range p {
		p[k] /= float64(len(p))
		negative += max(0, -p[k])
		p[k] = max(0, p[k])
		sum += p[k]
	}
	if !(math.Sqrt(left)/2 <= tolerance) {
		return nil, qnet.Errorf(qnet.ErrTooLarge, "tableau: the state of %d qubits is not diagonal in any basis of stabiliser states, such as non-Clifford gates and relaxation leave it", n)
	}
	if !(negative <= tolerance) {
		return nil, qnet.Errorf(qnet.ErrInvalid, "tableau: density matrix of %d qubits has negative eigenvalues, %g in sum", n, -negative)
	}
	m.upTo = p
	var below float64
	for k := range p {
		below += p[k] / sum
		p[k] = below
	}
	for k := len(p) - 1; k >= 0 && p[k] == below; k-- {
		p[k] = 1
	}
	return m, nil
}

// AddMixture appends the qubits of m, in a state that is drawn from it.
func (t *Tableau) AddMixture(rng *rand.Rand, m *Mixture) {
	u := rng.Float64()
	t.addState(m, sort.Search(len(m.upTo), func(k int) bool { return m.upTo[k] > u }))
}

// addState appends the qubits of m in state k.
func (t *Tableau) addState(m *Mixture, k int) {
	var flips element
	for ; k != 0; k &= k - 1 {
		f := &m.flips[bits.TrailingZeros(uint(k))]
		flips.x ^= f.x
		flips.z ^= f.z
	}
	from, n := t.Len(), m.base.Len()
	t.Join(&m.base)
	for q := range n {
		t.Apply(from+q, flips.at(q, n))
	}
}

// at returns the Pauli operator that e has at qubit q of n.
func (e element) at(q, n int) Pauli {
	shift := n - 1 - q
	return Pauli(e.x>>shift&1<<1 | e.z>>shift&1)
}

// factors returns the Pauli operator of n qubits that e is up to a phase.
func (e element) factors(n int) []Factor {
	factors := make([]Factor, n)
	for q := range factors {
		factors[q] = e.at(q, n).On(q)
	}
	return factors
}

// expectations returns the expectation value of every Pauli operator, at the
// index whose high half has the X of an element and whose low half has the Z.
func expectations(rho []complex128, n int) ([]float64, error) {
	dim := 1 << n
	values := make([]float64, dim*dim)
	re, im := make([]float64, dim), make([]float64, dim)
	var imaginary float64
	for x := range dim {
		for j := range dim { // tr(ρ·X^x·Z^z) = Σ_j (−1)^(z·j)·ρ[j][j⊕x]
			v := rho[j*dim+j^x]
			re[j], im[j] = real(v), imag(v)
		}
		transform(re)
		transform(im)
		for z := range dim {
			a, b := re[z], im[z]
			switch bits.OnesCount(uint(x&z)) & 3 { // times i^y
			case 1:
				a, b = -b, a
			case 2:
				a, b = -a, -b
			case 3:
				a, b = b, -a
			}
			values[x<<n|z] = a
			imaginary += b * b
		}
	}
	if d := math.Sqrt(imaginary) / 2; !(d <= tolerance) {
		return nil, qnet.Errorf(qnet.ErrInvalid, "tableau: density matrix of %d qubits is not Hermitian, by %g", n, d)
	}
	if d := math.Abs(values[0] - 1); !(d <= tolerance) {
		return nil, qnet.Errorf(qnet.ErrInvalid, "tableau: density matrix of %d qubits has the trace %g, want 1", n, values[0])
	}
	values[0] = 1
	return values, nil
}

// transform replaces v[j] by Σ_k (−1)^(j·k)·v[k], j·k being the number of bits
// that are set in both: the fast Walsh-Hadamard transform.
func transform(v []float64) {
	for h := 1; h < len(v); h *= 2 {
		for i := 0; i < len(v); i += 2 * h {
			lo, hi := v[i:i+h], v[i+h:][:h]
			for j, a := range lo {
				lo[j], hi[j] = a+hi[j], a-hi[j]
			}
		}
	}
}

// commuting returns independent Pauli operators that commute, n at most, with
// expectation values that are not 0: the large ones first.
func commuting(values []float64, n int) []element {
	var set []element
	var basis []int // of the span of their indices, echelon form
	for least := 1e-2; least > 1e-14; least /= 10 {
	next:
		for at, v := range values {
			if math.Abs(v) <= least {
				continue
			}
			e := element{x: at >> n, z: at & (1<<n - 1)}
			for _, g := range set {
				if bits.OnesCount(uint(g.x&e.z))&1 != bits.OnesCount(uint(g.z&e.x))&1 {
					continue next
				}
			}
			for _, b := range basis {
				at = min(at, at^b)
			}
			if at == 0 {
				continue
			}
			basis = append(basis, at)
			set = append(set, e)
			if len(set) == n {
				return set
			}
		}
	}
	return set
}
