package state

import (
	"math"
	"math/rand/v2"
	"slices"

	"qstack/physical"
	"qstack/physical/state/tableau"
	"qstack/qnet"
)

// A cluster of more than MaxQubits qubits is a pure stabiliser state, drawn from
// the mixture that its parts were when they were joined. Pauli noise on it is
// drawn too. So the state is one of those that the density matrix is a mixture
// of, and all that is measured is equal in distribution.

// factors has the tableau's names of I, X, Y and Z.
var factors = [4]tableau.Pauli{tableau.I, tableau.X, tableau.Y, tableau.Z}

// tooLarge is the error of what a large cluster can not do.
func tooLarge(name string, q ID, n int) error {
	return qnet.Errorf(qnet.ErrTooLarge, "state: %s on qubit %d, one of %d that are entangled: beyond %d only Clifford gates, Pauli noise and measurements of X, Y, Z and Bell states can be done: measure or free some of them first",
		name, q, n, MaxQubits)
}

// large reports whether the cluster can be nothing but a tableau.
func (c *cluster) large() bool { return len(c.ids) > MaxQubits }

// prepare makes ready the cluster of s, one of its qubits, to join a tableau at t,
// or returns an error. No state is changed.
func (w *World) prepare(name string, q ID, s *qubit, t qnet.Time) error {
	c := s.cluster
	if c.kind == stabiliser {
		return nil
	}
	for _, id := range c.ids {
		if w.qubits[id].rest != 0 {
			return qnet.Errorf(qnet.ErrTooLarge, "state: %s: more than %d entangled qubits must be stabiliser states, which qubit %d can not be since it relaxes (T1): measure or free some first", name, MaxQubits, id)
		}
	}
	ok := true
	switch {
	case c.kind == bell:
	case len(c.ids) == 1:
		v := c.bloch(0) // decay does not leave the octahedron
		ok = math.Abs(v[0])+math.Abs(v[1])+math.Abs(v[2]) <= 1+1e-12
	default:
		now := w.snapshot(c, t, []ID{q})
		var err error
		c.mixture, err = tableau.FromDensity(matrix(now.r, len(c.ids)))
		ok = err == nil
	}
	if !ok {
		return qnet.Errorf(qnet.ErrTooLarge, "state: %s: more than %d entangled qubits must be stabiliser states, but that of qubit %d, with %d others, is no mixture of the states of one stabiliser basis: measure or free some first", name, MaxQubits, q, len(c.ids)-1)
	}
	return nil
}

// enlarge makes the cluster, which is prepared and whose qubit has been touched
// since, a tableau.
func (c *cluster) enlarge(rng *rand.Rand) {
	if c.kind == stabiliser {
		return
	}
	t := new(tableau.Tableau)
	switch {
	case c.kind == bell:
		c.fade()
		w := c.v.weights()
		t.AddPair(draw(&w, rng))
	case len(c.ids) == 1:
		v := c.bloch(0)
		t.AddBloch(rng, v[0], v[1], v[2])
	default:
		t.AddMixture(rng, c.mixture)
	}
	c.kind, c.t, c.mixture = stabiliser, t, nil
}

// mergeLarge leaves the qubits of two clusters, which are prepared, together in a
// tableau, the larger one.
func (w *World) mergeLarge(a, b *cluster) {
	a.enlarge(w.Rand)
	b.enlarge(w.Rand)
	if len(a.ids) < len(b.ids) {
		a, b = b, a
	}
	a.t.Join(b.t)
	w.adopt(a, b)
}

// condense turns a tableau of at most MaxQubits qubits to Pauli coefficients.
func (c *cluster) condense() {
	n := len(c.ids)
	rho, _ := c.t.Density(upTo(n)...) // of qubits that exist
	c.kind, c.t = general, nil
	c.resize(len(rho))
	coefficients(c.r, rho)
}

// upTo returns 0, …, n−1.
func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// noise draws what a Pauli channel does that scales the Bloch vector of the qubit
// at pos by v.
func (c *cluster) noise(pos int, v *vector, rng *rand.Rand) {
	p := [4]float64{
		tableau.I: (1 + v[0] + v[1] + v[2]) / 4,
		tableau.X: (1 + v[0] - v[1] - v[2]) / 4,
		tableau.Y: (1 - v[0] + v[1] - v[2]) / 4,
		tableau.Z: (1 - v[0] - v[1] + v[2]) / 4,
	}
	for k, x := range p {
		if x == 1 {
			c.t.Apply(pos, tableau.Pauli(k))
			return
		}
	}
	c.t.Apply(pos, tableau.Pauli(draw(&p, rng)))
}

// quarters returns how often a rotation by a right angle about Z, then about X,
// then about Z again makes the map m. ok is false for one that is no Clifford
// gate.
func (m *transfer) quarters() (n [3]int, ok bool) {
	if m[0] != [4]float64{1} {
		return n, false
	}
	for i := range 64 {
		n = [3]int{i & 3, i >> 2 & 3, i >> 4}
		if n[1] == 0 && n[2] != 0 {
			continue
		}
		product := true
	columns:
		for k := 1; k < 4; k++ {
			v := vector{}
			v[k-1] = 1
			for step, axis := range [...]int{2, 0, 2} {
				a, b := (axis+1)%3, (axis+2)%3
				for range n[step] {
					v[a], v[b] = -v[b], v[a]
				}
			}
			for j, x := range v {
				if m[j+1][k] != x {
					product = false
					break columns
				}
			}
		}
		if product && m[1][0] == 0 && m[2][0] == 0 && m[3][0] == 0 {
			return n, true
		}
	}
	return n, false
}

// rotate applies a Clifford gate to the qubit at pos of a tableau.
func (c *cluster) rotate(pos int, quarters [3]int) {
	for step, axis := range [...]tableau.Pauli{tableau.Z, tableau.X, tableau.Z} {
		c.t.Rotate(pos, axis, quarters[step])
	}
}

// axis returns the Pauli operator along n, and whether n is its negative. ok is
// false when there is none.
func (n *vector) axis() (p tableau.Pauli, negative, ok bool) {
	for k, x := range n {
		if math.Abs(x) > 1-1e-15 {
			return factors[k+1], x < 0, true
		}
	}
	return 0, false, false
}

// gateLarge applies a gate of two qubits, and depolarises them with probability
// depol.
func (c *cluster) gateLarge(a, b int, g physical.Gate, depol float64, rng *rand.Rand) {
	if g == physical.GateCNOT {
		c.t.CNOT(a, b)
	} else {
		c.t.CZ(a, b)
	}
	c.depolariseLarge(a, b, depol, rng)
}

// depolariseLarge applies any product of Paulis to a and b with probability q.
func (c *cluster) depolariseLarge(a, b int, q float64, rng *rand.Rand) {
	if q > 0 && rng.Float64() < q {
		k := rng.Uint64() >> 60
		c.t.Apply(a, tableau.Pauli(k>>2))
		c.t.Apply(b, tableau.Pauli(k&3))
	}
}

// bellLarge measures the qubits at a and b in the Bell basis and removes both
// from the state.
func (c *cluster) bellLarge(a, b int, m *Imperfection, rng *rand.Rand) qnet.BellLabel {
	c.gateLarge(a, b, physical.GateCNOT, m.Gate2.Depolarise, rng)
	c.t.H(a)
	z, x := c.t.Measure(rng, tableau.Z.On(a)), c.t.Measure(rng, tableau.Z.On(b))
	c.t.Remove(max(a, b))
	c.t.Remove(min(a, b))
	// A phase flip before H, and half of what depolarises after it, flip a.
	for _, p := range [...]float64{m.Gate2.Dephase, m.Gate1.Depolarise / 2} {
		if p > 0 && rng.Float64() < p {
			z ^= 1
		}
	}
	z, x = m.ReadoutA.report(z, rng), m.ReadoutB.report(x, rng)
	return qnet.BellLabel(x<<1 | z)
}

// report returns what is read where there is bit.
func (r *Readout) report(bit uint8, rng *rand.Rand) uint8 {
	p := r.Flip0
	if bit == 1 {
		p = r.Flip1
	}
	if p > 0 && rng.Float64() < p {
		bit ^= 1
	}
	return bit
}

// seen returns the state of those qubits of a tableau that are among qs, as last
// touched, as a cluster of its own.
func (c *cluster) seen(qs []ID) *cluster {
	part := &cluster{kind: general}
	var at []int
	for pos, q := range c.ids {
		if slices.Contains(qs, q) {
			part.ids = append(part.ids, q)
			at = append(at, pos)
		}
	}
	rho, _ := c.t.Density(at...) // qs are MaxQubits at most
	part.r = make([]float64, len(rho))
	coefficients(part.r, rho)
	return part
}
