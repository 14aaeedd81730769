// Package state holds the quantum states of an emulated world: it applies
// preparation, gates, measurements and memory decay to qubits, exactly.
//
// The world is a product of clusters of entangled qubits. Each cluster is held
// by the cheapest engine that represents it without approximation, and promoted
// when an operation outgrows it: one qubit by its Bloch vector; a Bell-diagonal
// pair by its four weights, which is exact for dephasing, depolarising, Pauli
// gates, measurement and entanglement swapping; everything else, relaxation (T1)
// of an entangled qubit included, by a density matrix of up to MaxQubits qubits.
// Measured qubits leave their cluster. What fits no engine is an error.
//
// Decoherence is lazy: a qubit carries the instant of its last touch, and an
// operation at t first decays the qubits that it acts on for the time since.
//
// What is not here: who may touch a qubit, how long an operation takes and which
// noise comes with it are the affair of the fabric, which calls this package
// with the instant of each effect. The package knows no random numbers but those
// it is given, and does no I/O.
//
// The algebra of Bell-diagonal states and their swapping is that of Bennett,
// DiVincenzo, Smolin and Wootters, Phys. Rev. A 54, 3824 (1996), and of Dür,
// Briegel, Cirac and Zoller, Phys. Rev. A 59, 169 (1999); the decay processes are
// those of Nielsen and Chuang, section 8.3.
package state

import (
	"math"
	"math/rand/v2"
	"slices"

	"qstack/physical"
	"qstack/qnet"
)

// ID names a qubit of a World. The caller chooses it; memory grows with the
// largest ID used, so IDs should be small and used again.
type ID uint32

// World is the joint state of many qubits. The zero value has no qubits and is
// ready to use. A World is not safe for concurrent use.
//
// Instants never decrease for one qubit: an operation before the last touch of
// a qubit is an error. Operations that return an error have changed nothing.
// Errors carry qnet.ErrBadQubit (a qubit does not exist), qnet.ErrTooLarge (the
// joint state would be beyond MaxQubits) or qnet.ErrInvalid (another argument is
// wrong).
type World struct {
	qubits  []qubit // by ID
	count   int
	free    []*cluster   // to use again
	scratch []complex128 // of merge
}

// qubit is the place of an ID.
type qubit struct {
	cluster *cluster // nil: no such qubit
	pos     int      // in cluster.ids
	last    qnet.Time
	rates   rates
}

// Zero prepares qubit q in |0⟩ at t, in a cluster of its own; from then on it
// decays by d (see Decay.Validate). A qubit that bore the same ID is freed.
func (w *World) Zero(q ID, t qnet.Time, d Decay) {
	w.Free(q, t)
	c := w.newCluster(bloch{}, vector{0, 0, 1})
	w.add(c, q, t, d.rates())
}

// Pair prepares the qubits a and b, which must differ, in the Bell-diagonal
// state that has label l with probability weights[l], at t; from then on a
// decays by da and b by db. The weights must not be negative and add up to 1.
// Qubits that bore the same IDs are freed. If a and b are equal there is no such
// qubit afterwards.
func (w *World) Pair(a, b ID, t qnet.Time, da, db Decay, weights [4]float64) {
	w.Free(a, t)
	w.Free(b, t)
	if a == b {
		return
	}
	c := w.newCluster(bell{}, spectrum(weights))
	w.add(c, a, t, da.rates())
	if da == db {
		w.add(c, b, t, w.qubits[a].rates)
	} else {
		w.add(c, b, t, db.rates())
	}
}

// Entangle prepares the qubits a and b, which must differ, in the state whose
// density matrix is rho, row-major over |00⟩, |01⟩, |10⟩ and |11⟩ with a first,
// at t; it is Pair for states that are not Bell-diagonal.
func (w *World) Entangle(a, b ID, t qnet.Time, da, db Decay, rho *[16]complex128) {
	w.Pair(a, b, t, da, db, [4]float64{1})
	if a == b {
		return
	}
	c := w.qubits[a].cluster
	c.engine.promote(c)
	copy(c.rho, rho[:])
}

// Gate1 applies a gate of one qubit to q at t. angle, in radians, counts for
// the rotations only.
func (w *World) Gate1(q ID, t qnet.Time, g physical.Gate, angle float64) error {
	s, err := w.at(q, t)
	if err != nil {
		return err
	}
	if math.IsNaN(angle) || math.IsInf(angle, 0) {
		return qnet.Errorf(qnet.ErrInvalid, "state: gate %v on qubit %d: angle %g is not finite", g, q, angle)
	}
	u, ok := unitaryOf(g, angle)
	if !ok {
		return qnet.Errorf(qnet.ErrInvalid, "state: gate %v on qubit %d is no gate of one qubit", g, q)
	}
	w.touch(s, t)
	c := s.cluster
	if !c.engine.gate(c, s.pos, g, u) {
		c.engine.promote(c)
		c.engine.gate(c, s.pos, g, u)
	}
	return nil
}

// Gate2 applies a gate of two qubits to a (the control) and b at t, followed by
// ρ → (1−depol)ρ + depol·I/4⊗tr(ρ) on the two.
func (w *World) Gate2(a, b ID, t qnet.Time, g physical.Gate, depol float64) error {
	if g != physical.GateCNOT && g != physical.GateCZ {
		return qnet.Errorf(qnet.ErrInvalid, "state: gate %v on qubits %d and %d is no gate of two qubits", g, a, b)
	}
	sa, sb, err := w.two(g.String(), a, b, t)
	if err != nil {
		return err
	}
	if err := probability(g.String(), "depolarising", depol); err != nil {
		return err
	}
	w.touch(sa, t)
	w.touch(sb, t)
	w.merge(sa.cluster, sb.cluster)
	c := sa.cluster
	if g == physical.GateCNOT {
		c.cnot(sa.pos, sb.pos)
	} else {
		c.cz(sa.pos, sb.pos)
	}
	if depol > 0 {
		c.depolarise(sa.pos, sb.pos, depol)
	}
	return nil
}

// Measure measures q in the basis b at t, ideally, and returns the outcome. The
// qubit stays, in the state that the outcome names and in a cluster of its own.
func (w *World) Measure(q ID, t qnet.Time, b qnet.Basis, rng *rand.Rand) (bit uint8, err error) {
	s, err := w.at(q, t)
	if err != nil {
		return 0, err
	}
	if !b.Valid() {
		return 0, qnet.Errorf(qnet.ErrInvalid, "state: measurement of qubit %d: basis %v has an angle that is not finite", q, b)
	}
	w.touch(s, t)
	var n vector
	n[0], n[1], n[2] = b.Axis()
	c := s.cluster
	bit = c.engine.measure(c, s.pos, n, rng)
	if bit == 1 {
		n = vector{-n[0], -n[1], -n[2]}
	}
	if len(c.ids) == 1 {
		c.v = n
		return bit, nil
	}
	w.detach(s)
	c = w.newCluster(bloch{}, n)
	c.ids = append(c.ids, q)
	s.cluster, s.pos = c, 0
	return bit, nil
}

// BSM measures a and b in the Bell basis at t and frees both: CNOT(a,b),
// depolarised as in Gate2, H(a), and a read-out of both whose bits are flipped
// independently with probability readoutErr. The outcome's z bit is a's, its x
// bit b's: joining pairs l and r leaves a pair of label l.Swap(r, outcome).
//
// Everything else is left in the state that is conditioned on the outcome as
// reported, that is with the errors mixed in.
func (w *World) BSM(a, b ID, t qnet.Time, depol, readoutErr float64, rng *rand.Rand) (qnet.BellLabel, error) {
	const name = "Bell measurement"
	sa, sb, err := w.two(name, a, b, t)
	if err != nil {
		return 0, err
	}
	if err := probability(name, "depolarising", depol); err != nil {
		return 0, err
	}
	if err := probability(name, "read-out error", readoutErr); err != nil {
		return 0, err
	}
	w.touch(sa, t)
	w.touch(sb, t)

	// The outcome is that of an ideal measurement XORed with an error whose
	// distribution has this spectrum: each phase or bit flip that a component
	// depends on multiplies it by 1−2·readoutErr.
	flip := 1 - 2*readoutErr
	noise := vector{(1 - depol) * flip, (1 - depol) * flip * flip, (1 - depol) * flip}

	ca, cb := sa.cluster, sb.cluster
	var o qnet.BellLabel
	switch {
	case ca.engine == dense{} || cb.engine == dense{}:
		w.merge(ca, cb)
		ca = sa.cluster
		moments := ca.bellMoments(sa.pos, sb.pos)
		moments.multiply(&noise)
		o = moments.sample(rng)
		noise.multiply(&chi[o])
		ca.contractBell(sa.pos, sb.pos, noise)
	case ca == cb: // both halves of a pair
		noise.multiply(&ca.v)
		o = noise.sample(rng)
	case len(ca.ids) == 1 && len(cb.ids) == 1:
		noise.multiply(&ca.v)
		noise.multiply(&cb.v)
		noise[1] = -noise[1]
		o = noise.sample(rng)
	default:
		// Half of a Bell-diagonal pair at least on one side, so all outcomes are
		// equally likely. Two pairs leave a pair, and with the Bloch vector of a
		// single qubit in place of a spectrum, that of the teleported qubit.
		o = qnet.BellLabel(rng.Uint64() >> 62)
		if len(ca.ids) < len(cb.ids) {
			sa, sb, ca, cb = sb, sa, cb, ca
		}
		ca.v.multiply(&cb.v)
		ca.v.multiply(&noise)
		ca.v.multiply(&chi[o])
		if len(cb.ids) == 1 {
			ca.engine = bloch{}
		}
		w.adopt(ca, cb)
	}
	w.detach(sa)
	w.detach(sb)
	w.count -= 2
	return o, nil
}

// Free traces q out at t: it ceases to exist, and what was entangled with it is
// left mixed. A qubit that does not exist is no error.
func (w *World) Free(q ID, t qnet.Time) {
	if !w.Has(q) {
		return
	}
	// What q's memory did until t does not show in the others.
	s := &w.qubits[q]
	s.cluster.engine.trace(s.cluster, s.pos)
	w.detach(s)
	w.count--
}

// Has reports whether qubit q exists.
func (w *World) Has(q ID) bool {
	return int(q) < len(w.qubits) && w.qubits[q].cluster != nil
}

// Count returns the number of qubits that exist.
func (w *World) Count() int { return w.count }

// at returns the place of q for an operation at t.
func (w *World) at(q ID, t qnet.Time) (*qubit, error) {
	if !w.Has(q) {
		return nil, qnet.Errorf(qnet.ErrBadQubit, "state: qubit %d does not exist: it was freed or never prepared", q)
	}
	s := &w.qubits[q]
	if t < s.last {
		return nil, qnet.Errorf(qnet.ErrInvalid, "state: operation on qubit %d at %v, but it was touched at %v already: instants must not decrease", q, t, s.last)
	}
	return s, nil
}

// two returns the places of a and b for the operation called name at t, which
// joins their clusters.
func (w *World) two(name string, a, b ID, t qnet.Time) (sa, sb *qubit, err error) {
	if sa, err = w.at(a, t); err != nil {
		return nil, nil, err
	}
	if sb, err = w.at(b, t); err != nil {
		return nil, nil, err
	}
	if a == b {
		return nil, nil, qnet.Errorf(qnet.ErrInvalid, "state: %s of qubit %d with itself: two different qubits are needed", name, a)
	}
	if n, m := len(sa.cluster.ids), len(sb.cluster.ids); sa.cluster != sb.cluster && n+m > MaxQubits {
		return nil, nil, qnet.Errorf(qnet.ErrTooLarge, "state: %s of qubits %d and %d joins clusters of %d and %d entangled qubits, more than the %d that can be held: measure or free some of them first",
			name, a, b, n, m, MaxQubits)
	}
	return sa, sb, nil
}

// probability returns an error unless p is in [0,1].
func probability(name, what string, p float64) error {
	if !(p >= 0 && p <= 1) {
		return qnet.Errorf(qnet.ErrInvalid, "state: %s: %s probability %g is not between 0 and 1", name, what, p)
	}
	return nil
}

// touch decays the qubit until t.
func (w *World) touch(s *qubit, t qnet.Time) {
	dt := t - s.last
	s.last = t
	if dt == 0 || s.rates == (rates{}) {
		return
	}
	ch := s.rates.over(dt)
	c := s.cluster
	if !c.engine.decay(c, s.pos, ch) {
		c.engine.promote(c)
		c.engine.decay(c, s.pos, ch)
	}
}

// multiply multiplies v by u component by component.
func (v *vector) multiply(u *vector) {
	v[0] *= u[0]
	v[1] *= u[1]
	v[2] *= u[2]
}

// newCluster returns a cluster without qubits.
func (w *World) newCluster(e engine, v vector) *cluster {
	var c *cluster
	if n := len(w.free) - 1; n >= 0 {
		c, w.free = w.free[n], w.free[:n]
	} else {
		c = &cluster{ids: make([]ID, 0, MaxQubits)}
	}
	c.engine, c.v = e, v
	return c
}

// release takes back a cluster that has lost its last qubit.
func (w *World) release(c *cluster) {
	if cap(c.rho) > keep {
		c.rho = nil
	}
	w.free = append(w.free, c)
}

// add appends a new qubit to the cluster.
func (w *World) add(c *cluster, q ID, t qnet.Time, r rates) {
	if n := int(q) + 1; n > len(w.qubits) {
		w.qubits = slices.Grow(w.qubits, n-len(w.qubits))[:n]
	}
	w.qubits[q] = qubit{cluster: c, pos: len(c.ids), last: t, rates: r}
	c.ids = append(c.ids, q)
	w.count++
}

// detach removes the qubit, which is no part of the state any more, from the ids
// of its cluster, and releases the cluster if it was the last.
func (w *World) detach(s *qubit) {
	c := s.cluster
	s.cluster = nil
	c.ids = slices.Delete(c.ids, s.pos, s.pos+1)
	for i := s.pos; i < len(c.ids); i++ {
		w.qubits[c.ids[i]].pos = i
	}
	if len(c.ids) == 0 {
		w.release(c)
	}
}

// adopt moves the qubits of cluster b, but not their state, to the end of a.
func (w *World) adopt(a, b *cluster) {
	for _, q := range b.ids {
		w.qubits[q].cluster, w.qubits[q].pos = a, len(a.ids)
		a.ids = append(a.ids, q)
	}
	b.ids = b.ids[:0]
	w.release(b)
}

// merge leaves the qubits of a and b together in a, with the dense engine.
func (w *World) merge(a, b *cluster) {
	a.engine.promote(a)
	if a == b {
		return
	}
	b.engine.promote(b)
	w.scratch = resize(w.scratch, len(a.rho)*len(b.rho))
	kron(w.scratch, a.rho, b.rho)
	a.rho, w.scratch = w.scratch, a.rho
	if cap(w.scratch) > keep {
		w.scratch = nil
	}
	w.adopt(a, b)
}
