package tableau_test

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"qstack/physical/state/tableau"
	"qstack/qnet"
)

const tolerance = 1e-9

// circuit runs operations on a tableau and on the reference.
type circuit struct {
	t      testing.TB
	choose func(n int) int // 0 … n−1
	limit  int             // of qubits
	rng    *rand.Rand
	tab    tableau.Tableau
	ref    vector

	random, ones int // outcomes that were not determined
	removed      int
}

func newCircuit(t testing.TB, limit int, rng *rand.Rand) *circuit {
	return &circuit{t: t, choose: rng.IntN, limit: limit, rng: rng, ref: vector{1}}
}

// two returns two different qubits.
func (c *circuit) two() (a, b int) {
	a, b = c.choose(c.tab.Len()), c.choose(c.tab.Len()-1)
	if b >= a {
		b++
	}
	return a, b
}

// product returns a Pauli operator on some of the qubits.
func (c *circuit) product() []tableau.Factor {
	var factors []tableau.Factor
	for q := range c.tab.Len() {
		if k := c.choose(6); k < 4 {
			factors = append(factors, tableau.Pauli(k).On(q))
		}
	}
	return factors
}

// step runs an operation.
func (c *circuit) step() {
	n := c.tab.Len()
	op := c.choose(20)
	switch {
	case n == 0 || op == 0:
		k := 1 + c.choose(2)
		if n+k > c.limit {
			return
		}
		c.tab.Add(k)
		zero := make(vector, 1<<k)
		zero[0] = 1
		c.ref = c.ref.kron(zero)
	case op == 1 && n+2 <= c.limit:
		l := qnet.BellLabel(c.choose(4))
		c.tab.AddPair(l)
		c.ref = c.ref.kron(bell(l))
	case op == 2:
		c.join()
	case op < 5:
		q := c.choose(n)
		c.tab.H(q)
		c.ref = c.ref.apply(mH, q)
	case op < 7:
		q := c.choose(n)
		if c.choose(2) == 0 {
			c.tab.S(q)
			c.ref = c.ref.apply(mS, q)
		} else {
			c.tab.Sdg(q)
			c.ref = c.ref.apply(mSd, q)
		}
	case op == 7:
		q, p := c.choose(n), tableau.Pauli(c.choose(4))
		c.tab.Apply(q, p)
		c.ref = c.ref.apply(paulis[p], q)
	case op == 8:
		q, p, k := c.choose(n), tableau.Pauli(1+c.choose(3)), c.choose(16)-8
		c.tab.Rotate(q, p, k)
		c.ref = c.ref.apply(rotation(paulis[p], float64(k)*math.Pi/2), q)
	case op < 11 && n > 1:
		a, b := c.two()
		c.tab.CNOT(a, b)
		c.ref = c.ref.apply(mCNOT, a, b)
	case op < 13 && n > 1:
		a, b := c.two()
		c.tab.CZ(a, b)
		c.ref = c.ref.apply(mCZ, a, b)
	case op == 13 && n > 1:
		a, b := c.two()
		c.tab.Swap(a, b)
		c.ref = c.ref.apply(mCNOT, a, b).apply(mCNOT, b, a).apply(mCNOT, a, b)
	case op < 16:
		c.measure([]tableau.Factor{tableau.Pauli(1 + c.choose(3)).On(c.choose(n))})
	case op == 16:
		c.measure(c.product())
	case op == 17:
		c.remove(c.choose(n))
	case op == 18:
		c.discard(c.choose(n))
	case op == 19 && n > 1:
		a, b := c.two()
		for l := range qnet.BellLabel(4) {
			overlap := 0.0
			psi, rho := bell(l), c.ref.density(a, b)
			for i := range psi {
				for j := range psi {
					overlap += real(cmplx.Conj(psi[i]) * rho[4*i+j] * psi[j])
				}
			}
			if got := c.tab.BellFidelity(a, b, l); math.Abs(got-overlap) > tolerance {
				c.t.Fatalf("fidelity of %d and %d to %v is %g, want %g", a, b, l, got, overlap)
			}
		}
	}
}

// bell returns (I⊗XˣZᶻ)(|00⟩+|11⟩)/√2.
func bell(l qnet.BellLabel) vector {
	v := vector{complex(math.Sqrt2/2, 0), 0, 0, complex(math.Sqrt2/2, 0)}
	if l.Z() {
		v = v.apply(mZ, 1)
	}
	if l.X() {
		v = v.apply(mX, 1)
	}
	return v
}

func (c *circuit) measure(factors []tableau.Factor) {
	e := c.tab.Expectation(factors...)
	if want := c.ref.expectation(factors); math.Abs(float64(e)-want) > tolerance {
		c.t.Fatalf("expectation of %v is %d, want %g", factors, e, want)
	}
	bit := c.tab.Measure(c.rng, factors...)
	if e == 0 {
		c.random++
		c.ones += int(bit)
	}
	after, p := c.ref.project(factors, bit)
	if want := 1 / (2 - math.Abs(float64(e))); math.Abs(p-want) > tolerance {
		c.t.Fatalf("outcome %d of %v came, which has the probability %g, want %g", bit, factors, p, want)
	}
	c.ref = after
	if again := c.tab.Measure(c.rng, factors...); again != bit {
		c.t.Fatalf("measuring %v gave %d and then %d", factors, bit, again)
	}
}

func (c *circuit) remove(q int) {
	rest, purity := c.ref.remove(q)
	before := c.tab.Len()
	ok := c.tab.Remove(q)
	if want := purity > 1-tolerance; ok != want {
		c.t.Fatalf("removal of qubit %d, whose purity is %g: %t", q, purity, ok)
	}
	if ok {
		c.removed++
		c.ref = rest
		before--
	}
	if c.tab.Len() != before {
		c.t.Fatalf("%d qubits, want %d", c.tab.Len(), before)
	}
}

// discard traces q out. The others must be in a state that one of the outcomes of
// a measurement leaves.
func (c *circuit) discard(q int) {
	c.tab.Discard(c.rng, q)
	got := []complex128{1}
	all := make([]int, c.tab.Len())
	for i := range all {
		all[i] = i
	}
	if len(all) > 0 {
		var err error
		if got, err = c.tab.Density(all...); err != nil {
			c.t.Fatal(err)
		}
	}
	for bit := range uint8(2) {
		after, p := c.ref.project([]tableau.Factor{tableau.Z.On(q)}, bit)
		if p < tolerance {
			continue
		}
		rest, _ := after.remove(q)
		if difference(got, rest.density(all...)) < tolerance {
			c.ref = rest
			return
		}
	}
	c.t.Fatalf("after qubit %d was discarded, the others are in a state that no outcome leaves", q)
}

// join appends a small tableau with a past of its own.
func (c *circuit) join() {
	if c.tab.Len()+2 > c.limit {
		return
	}
	b := &circuit{t: c.t, choose: c.choose, limit: 2, rng: c.rng, ref: vector{1}}
	for range c.choose(8) {
		b.step()
	}
	c.tab.Join(&b.tab)
	c.ref = c.ref.kron(b.ref)
	b.compare()
}

// mismatch compares the expectation values of all Pauli operators.
func mismatch(tab *tableau.Tableau, ref vector) string {
	n := tab.Len()
	if len(ref) != 1<<n {
		return fmt.Sprintf("%d qubits, want %d", n, ref.len())
	}
	factors := make([]tableau.Factor, n)
	for k := range 1 << (2 * n) {
		for q := range factors {
			factors[q] = tableau.Pauli(k >> (2 * q) & 3).On(q)
		}
		got, want := tab.Expectation(factors...), ref.expectation(factors)
		if math.Abs(float64(got)-want) > tolerance {
			return fmt.Sprintf("expectation of %v is %d, want %g", factors, got, want)
		}
	}
	return ""
}

// compare compares everything.
func (c *circuit) compare() {
	c.t.Helper()
	if err := c.tab.Check(); err != nil {
		c.t.Fatal(err)
	}
	if c.tab.Len() <= 3 {
		if m := mismatch(&c.tab, c.ref); m != "" {
			c.t.Fatal(m)
		}
	}
	n := c.tab.Len()
	if n == 0 {
		return
	}
	order := make([]int, n) // a permutation, or the beginning of one
	for i := range order {
		j := c.choose(i + 1)
		order[i], order[j] = order[j], i
	}
	order = order[:1+c.choose(n)]
	got, err := c.tab.Density(order...)
	if err != nil {
		c.t.Fatal(err)
	}
	wantDensity(c.t, fmt.Sprintf("qubits %v of %d", order, n), got, c.ref.density(order...))
}

func wantDensity(t testing.TB, what string, got, want []complex128) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	if d := difference(got, want); !(d < tolerance) {
		t.Fatalf("%s: an element is off by %g\ngot  %.4f\nwant %.4f", what, d, got, want)
	}
}

// difference returns the largest difference of two elements.
func difference(a, b []complex128) (d float64) {
	for i := range a {
		d = max(d, cmplx.Abs(a[i]-b[i]))
	}
	return d
}

// Random circuits agree with the reference in everything that can be observed,
// and outcomes that are not determined are fair.
func TestRandomCircuits(t *testing.T) {
	rng := qnet.NewRand(1, "circuits")
	var random, ones, removed int
	for range 5000 {
		c := newCircuit(t, 1+rng.IntN(6), rng)
		for range 40 {
			c.step()
		}
		c.compare()
		random += c.random
		ones += c.ones
		removed += c.removed
	}
	t.Logf("%d random outcomes, %d of them 1; %d qubits removed", random, ones, removed)
	if random < 5000 || removed < 1000 {
		t.Errorf("%d random outcomes and %d removals: the test tests little", random, removed)
	}
	// 5 standard deviations: 5.7e-7
	if d := math.Abs(float64(ones) - float64(random)/2); d > 5*math.Sqrt(float64(random))/2 {
		t.Errorf("%d of %d random outcomes are 1", ones, random)
	}
}

// Circuits of a few qubits, observed after every step.
func TestEveryStep(t *testing.T) {
	rng := qnet.NewRand(2, "steps")
	for range 300 {
		c := newCircuit(t, 3, rng)
		for range 40 {
			c.step()
			c.compare()
		}
	}
}

// A byte chooses among the operations and their arguments.
func FuzzCircuit(f *testing.F) {
	f.Add([]byte{0, 1, 3, 0, 9, 0, 0, 14, 2, 0, 17, 0})
	f.Add([]byte("any text is a circuit, and a longer one leaves fewer cases out"))
	rng := qnet.NewRand(3, "fuzz")
	for range 20 {
		program := make([]byte, 200)
		for i := range program {
			program[i] = byte(rng.Uint32())
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 1000 {
			return
		}
		c := newCircuit(t, 6, qnet.NewRand(4, "outcomes"))
		c.choose = func(n int) int {
			if len(program) == 0 {
				return 0
			}
			b := program[0]
			program = program[1:]
			return int(b) % n
		}
		for len(program) > 0 {
			c.step()
		}
		c.compare()
	})
}
