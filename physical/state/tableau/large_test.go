package tableau_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"qstack/physical/state/tableau"
	"qstack/qnet"
)

// chp is the simulator of Aaronson and Gottesman, Phys. Rev. A 70, 052328 (2004),
// one bool per bit: rows 0 … n−1 are destabilisers, n … 2n−1 stabilisers, and the
// last is scratch.
type chp struct {
	n    int
	x, z [][]bool
	r    []bool
}

func newCHP(n int) *chp {
	c := &chp{n: n, r: make([]bool, 2*n+1)}
	for i := range 2*n + 1 {
		c.x = append(c.x, make([]bool, n))
		c.z = append(c.z, make([]bool, n))
		if i < n {
			c.x[i][i] = true
		} else if i < 2*n {
			c.z[i][i-n] = true
		}
	}
	return c
}

func (c *chp) h(a int) {
	for i := range c.r {
		c.r[i] = c.r[i] != (c.x[i][a] && c.z[i][a])
		c.x[i][a], c.z[i][a] = c.z[i][a], c.x[i][a]
	}
}

func (c *chp) s(a int) {
	for i := range c.r {
		c.r[i] = c.r[i] != (c.x[i][a] && c.z[i][a])
		c.z[i][a] = c.z[i][a] != c.x[i][a]
	}
}

func (c *chp) cnot(a, b int) {
	for i := range c.r {
		c.r[i] = c.r[i] != (c.x[i][a] && c.z[i][b] && c.x[i][b] == c.z[i][a])
		c.x[i][b] = c.x[i][b] != c.x[i][a]
		c.z[i][a] = c.z[i][a] != c.z[i][b]
	}
}

// rowsum multiplies row h by row i.
func (c *chp) rowsum(h, i int) {
	num := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	sum := 2*num(c.r[h]) + 2*num(c.r[i])
	for j := range c.n {
		x1, z1, x2, z2 := c.x[i][j], c.z[i][j], num(c.x[h][j]), num(c.z[h][j])
		switch {
		case x1 && z1:
			sum += z2 - x2
		case x1:
			sum += z2 * (2*x2 - 1)
		case z1:
			sum += x2 * (1 - 2*z2)
		}
		c.x[h][j] = c.x[h][j] != x1
		c.z[h][j] = c.z[h][j] != z1
	}
	c.r[h] = (sum%4+4)%4 == 2
}

// measure measures Z and returns whether the outcome is determined, and it; one
// that is not determined will be bit.
func (c *chp) measure(a int, bit bool) (determined, outcome bool) {
	n := c.n
	p := slices.IndexFunc(c.x[n:2*n], func(row []bool) bool { return row[a] })
	if p < 0 {
		clear(c.x[2*n])
		clear(c.z[2*n])
		c.r[2*n] = false
		for i := range n {
			if c.x[i][a] {
				c.rowsum(2*n, i+n)
			}
		}
		return true, c.r[2*n]
	}
	p += n
	for i := range 2 * n {
		if i != p && c.x[i][a] {
			c.rowsum(i, p)
		}
	}
	copy(c.x[p-n], c.x[p])
	copy(c.z[p-n], c.z[p])
	c.r[p-n] = c.r[p]
	clear(c.x[p])
	clear(c.z[p])
	c.z[p][a] = true
	c.r[p] = bit
	return false, bit
}

// Circuits beyond a word of qubits, with tableaus that are joined, grow, shrink
// and use their columns again, agree with the reference.
func TestLargeCircuits(t *testing.T) {
	rng := qnet.NewRand(5, "large")
	shrunk := 0
	for _, n := range []int{63, 64, 65, 100, 130, 300} {
		ref := newCHP(n)
		// The qubits by number in the reference, in two tableaus.
		var tabs [2]tableau.Tableau
		var names [2][]int
		gates := func(k, count int) {
			tab, name := &tabs[k], names[k]
			for range count {
				a, b := rng.IntN(len(name)), rng.IntN(len(name))
				switch op := rng.IntN(4); {
				case op == 0:
					tab.H(a)
					ref.h(name[a])
				case op == 1:
					tab.S(a)
					ref.s(name[a])
				case a != b && op == 2:
					tab.CNOT(a, b)
					ref.cnot(name[a], name[b])
				case a != b:
					tab.CZ(a, b)
					ref.h(name[b])
					ref.cnot(name[a], name[b])
					ref.h(name[b])
				}
			}
		}
		var determined, random int
		measure := func(k, a int) {
			tab, q := &tabs[k], names[k][a]
			// In the basis of X, Y or Z; the reference goes there and back.
			p := tableau.Pauli(1 + rng.IntN(3))
			if p == tableau.Y {
				ref.s(q)
				ref.s(q)
				ref.s(q)
			}
			if p != tableau.Z {
				ref.h(q)
			}
			e := tab.Expectation(p.On(a))
			bit := tab.Measure(rng, p.On(a))
			was, want := ref.measure(q, bit == 1)
			if was != (e != 0) || want != (bit == 1) || e == 1-2*int(1-bit) {
				t.Fatalf("%d qubits, qubit %d: expectation %d, outcome %d, want %t (determined: %t)", n, q, e, bit, want, was)
			}
			if was {
				determined++
			} else {
				random++
			}
			if p != tableau.Z {
				ref.h(q)
			}
			if p == tableau.Y {
				ref.s(q)
			}
		}
		for q := range n {
			k := rng.IntN(2)
			tabs[k].Add(1)
			names[k] = append(names[k], q)
		}
		gates(0, 2*n)
		gates(1, 2*n)
		for range n / 4 {
			k := rng.IntN(2)
			a := rng.IntN(len(names[k]))
			measure(k, a)
			if rng.IntN(2) == 0 {
				if !tabs[k].Remove(a) {
					t.Fatalf("%d qubits: one that was measured is not removed", n)
				}
				names[k] = slices.Delete(names[k], a, a+1)
			}
		}
		tabs[0].Join(&tabs[1])
		names[0] = append(names[0], names[1]...)
		gates(0, n)
		if err := tabs[0].Check(); err != nil {
			t.Fatal(err)
		}
		for len(names[0]) > 0 {
			a := rng.IntN(len(names[0]))
			measure(0, a)
			columns := tabs[0].Columns()
			if !tabs[0].Remove(a) {
				t.Fatalf("%d qubits: one that was measured is not removed", n)
			}
			names[0] = slices.Delete(names[0], a, a+1)
			if len(names[0]) > 0 && tabs[0].Columns() < columns {
				shrunk++
			}
			if len(names[0])%32 == 31 {
				if err := tabs[0].Check(); err != nil {
					t.Fatal(err)
				}
				gates(0, 64)
			}
		}
		t.Logf("%d qubits: %d outcomes determined, %d random", n, determined, random)
		if determined < n/10 || random < n/2 {
			t.Errorf("%d qubits: %d outcomes determined, %d random: the test tests little", n, determined, random)
		}
	}
	if shrunk == 0 {
		t.Error("no tableau has shrunk")
	}
}

// ghz makes (|0…0⟩+|1…1⟩)/√2 of n qubits.
func ghz(t *tableau.Tableau, n int) {
	t.Reset()
	t.Add(n)
	t.H(0)
	for q := range n - 1 {
		t.CNOT(q, q+1)
	}
}

func TestGHZ(t *testing.T) {
	const n = 1000
	rng := qnet.NewRand(6, "ghz")
	var tab tableau.Tableau
	all := func(p func(q int) tableau.Pauli) []tableau.Factor {
		factors := make([]tableau.Factor, n)
		for q := range factors {
			factors[q] = p(q).On(q)
		}
		return factors
	}
	for range 4 {
		ghz(&tab, n)
		// X…X has the value 1, and with Y in place of X at k qubits i^k if that is real.
		for _, k := range []int{0, 2, 4, 10, 1, 3} {
			got := tab.Expectation(all(func(q int) tableau.Pauli {
				if q*7%n < k {
					return tableau.Y
				}
				return tableau.X
			})...)
			if want := []int{1, 0, -1, 0}[k%4]; got != want {
				t.Errorf("%d Y and the rest X: expectation %d, want %d", k, got, want)
			}
		}
		a, b := rng.IntN(n/2), n/2+rng.IntN(n/2)
		if got := tab.Expectation(tableau.Z.On(a), tableau.Z.On(b)); got != 1 {
			t.Errorf("ZZ of %d and %d is %d, want 1", a, b, got)
		}
		if got := tab.Expectation(tableau.Z.On(a)); got != 0 {
			t.Errorf("Z of %d is %d, want 0", a, got)
		}

		var odd uint8
		for q := range n {
			odd ^= tab.Measure(rng, tableau.X.On(q))
		}
		if odd != 0 {
			t.Error("an odd number of qubits gave 1 in X")
		}

		// Half of the qubits traced out, the others are equal in Z.
		ghz(&tab, n)
		for range n / 2 {
			tab.Discard(rng, rng.IntN(tab.Len()))
		}
		bit := tab.Measure(rng, tableau.Z.On(0))
		for q := range tab.Len() {
			if got := tab.Measure(rng, tableau.Z.On(q)); got != bit {
				t.Fatalf("qubit %d gave %d after %d", q, got, bit)
			}
		}
	}
}

// cluster makes the graph state of a square grid.
func cluster(t *tableau.Tableau, side int) {
	t.Reset()
	t.Add(side * side)
	for q := range side * side {
		t.H(q)
	}
	for q := range side * side {
		if q%side < side-1 {
			t.CZ(q, q+1)
		}
		if q/side < side-1 {
			t.CZ(q, q+side)
		}
	}
}

// neighbours returns those of q in the grid.
func neighbours(q, side int) (out []int) {
	if q%side > 0 {
		out = append(out, q-1)
	}
	if q%side < side-1 {
		out = append(out, q+1)
	}
	if q/side > 0 {
		out = append(out, q-side)
	}
	if q/side < side-1 {
		out = append(out, q+side)
	}
	return out
}

// A graph state has K_v = X_v·ΠZ of the neighbours = +1 for all vertices v. A
// Pauli error changes the signs of those that it anticommutes with, and when X is
// measured on the black fields and Z on the white ones, the outcomes obey them.
func TestGraphState(t *testing.T) {
	const side = 32
	rng := qnet.NewRand(7, "graph")
	var tab tableau.Tableau
	cluster(&tab, side)
	sign := make([]int, side*side)
	for v := range sign {
		sign[v] = 1
	}
	check := func() {
		t.Helper()
		for v, want := range sign {
			k := []tableau.Factor{tableau.X.On(v)}
			for _, w := range neighbours(v, side) {
				k = append(k, tableau.Z.On(w))
			}
			if got := tab.Expectation(k...); got != want {
				t.Fatalf("K of vertex %d is %d, want %d", v, got, want)
			}
		}
	}
	check()
	for range 200 {
		v := rng.IntN(side * side)
		p := tableau.Pauli(1 + rng.IntN(3))
		tab.Apply(v, p)
		if p != tableau.X { // anticommutes with the X of K_v
			sign[v] *= -1
		}
		if p != tableau.Z { // anticommutes with the Z of the neighbours' K
			for _, w := range neighbours(v, side) {
				sign[w] *= -1
			}
		}
	}
	check()

	outcome := make([]int, side*side)
	order := rng.Perm(side * side)
	for _, v := range order {
		p := tableau.Z
		if (v%side+v/side)%2 == 0 {
			p = tableau.X
		}
		outcome[v] = 1 - 2*int(tab.Measure(rng, p.On(v)))
	}
	plus := 0
	for v, want := range sign {
		plus += (1 + outcome[v]) / 2
		if (v%side+v/side)%2 != 0 {
			continue
		}
		got := outcome[v]
		for _, w := range neighbours(v, side) {
			got *= outcome[w]
		}
		if got != want {
			t.Errorf("outcomes around vertex %d multiply to %d, want %d", v, got, want)
		}
	}
	// The white ones are fair coins: 5 standard deviations of 1024.
	if plus < 512-80*2 || plus > 512+80*2 {
		t.Errorf("%d of %d outcomes are +1", plus, side*side)
	}
}

// Joining, removing and discarding leave everything else as it is: pairs with
// known labels in a crowd that comes and goes.
func TestBystanders(t *testing.T) {
	rng := qnet.NewRand(8, "bystanders")
	type pair struct {
		a, b  int
		label qnet.BellLabel
	}
	var tab tableau.Tableau
	var pairs []pair
	gone := func(q int) { // q has been removed
		for i := range pairs {
			if pairs[i].a > q {
				pairs[i].a--
			}
			if pairs[i].b > q {
				pairs[i].b--
			}
		}
	}
	for range 20000 {
		n := tab.Len()
		switch op := rng.IntN(6); {
		case op == 0 && n < 150:
			l := qnet.BellLabel(rng.IntN(4))
			pairs = append(pairs, pair{n, n + 1, l})
			tab.AddPair(l)
		case op == 1 && n < 150:
			var b tableau.Tableau
			l := qnet.BellLabel(rng.IntN(4))
			b.Add(1)
			b.AddPair(l)
			b.H(0)
			pairs = append(pairs, pair{n + 1, n + 2, l})
			tab.Join(&b)
			if !tab.Remove(n) {
				t.Fatal("a single qubit was not removed")
			}
			gone(n)
		case op < 4 && len(pairs) > 1: // swap
			i := rng.IntN(len(pairs) - 1)
			l, r := pairs[i], pairs[i+1]
			pairs = slices.Delete(pairs, i, i+2)
			x := tab.Measure(rng, tableau.Z.On(l.b), tableau.Z.On(r.a))
			z := tab.Measure(rng, tableau.X.On(l.b), tableau.X.On(r.a))
			o := qnet.BellLabel(x<<1 | z)
			if f := tab.BellFidelity(l.b, r.a, o); f != 1 {
				t.Fatalf("after the outcome %v the fidelity is %g", o, f)
			}
			pairs = append(pairs, pair{l.a, r.b, l.label.Swap(r.label, o)})
			for _, q := range []int{max(l.b, r.a), min(l.b, r.a)} {
				tab.Discard(rng, q)
				gone(q)
			}
		case op == 4 && len(pairs) > 0:
			i := rng.IntN(len(pairs))
			p := pairs[i]
			pairs = slices.Delete(pairs, i, i+1)
			if tab.Remove(p.a) {
				t.Fatal("half of a pair was removed")
			}
			for _, q := range []int{max(p.a, p.b), min(p.a, p.b)} {
				tab.Discard(rng, q)
				gone(q)
			}
		}
		if tab.Len() != 2*len(pairs) {
			t.Fatalf("%d qubits for %d pairs", tab.Len(), len(pairs))
		}
		if len(pairs) > 0 {
			p := pairs[rng.IntN(len(pairs))]
			if f := tab.BellFidelity(p.a, p.b, p.label); f != 1 {
				t.Fatalf("fidelity %g to %v, want 1", f, p.label)
			}
		}
	}
	if err := tab.Check(); err != nil {
		t.Error(err)
	}
}

// In steady state nothing allocates.
func TestAllocations(t *testing.T) {
	var tab, pair tableau.Tableau
	pair.AddPair(qnet.PsiMinus)
	rng := qnet.NewRand(9, "allocations")
	cycle := func() { lifeOfGHZ(t, &tab, &pair, rng, 100) }
	if n := testing.AllocsPerRun(20, cycle); n != 0 {
		t.Errorf("%v allocations per cycle", n)
	}
}

// lifeOfGHZ makes a GHZ state of n qubits, with all other operations in passing,
// and takes it apart.
func lifeOfGHZ(tb testing.TB, tab, pair *tableau.Tableau, rng *rand.Rand, n int) {
	ghz(tab, n)
	tab.Join(pair)
	tab.AddBloch(rng, 0.1, 0.2, 0.3)
	tab.CZ(n, 0)
	tab.S(1)
	tab.Sdg(1)
	tab.Rotate(2, tableau.Y, 3)
	tab.Apply(3, tableau.Y)
	tab.Swap(3, 4)
	tab.Measure(rng, tableau.X.On(n), tableau.Y.On(0))
	tab.BellFidelity(0, n, qnet.PhiPlus)
	tab.Measure(rng, tableau.Y.On(5))
	if !tab.Remove(5) {
		tb.Fatal("a measured qubit was not removed")
	}
	for tab.Len() > 0 {
		tab.Discard(rng, tab.Len()/2)
	}
}
