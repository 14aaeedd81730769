// Package state holds the quantum states of an emulated world: it applies
// preparation, gates, noise, measurements and memory decay to qubits, exactly.
//
// The world is a product of clusters of entangled qubits. Each cluster is held in
// the cheapest way that represents it without approximation, and promoted when an
// operation outgrows it: a Bell-diagonal pair by its four weights, which is exact
// for dephasing, depolarising, Pauli noise and gates, and entanglement swapping;
// everything else up to MaxQubits qubits, relaxation (T1) of an entangled qubit
// included, by a density matrix, which for one qubit is a Bloch vector and for two
// needs no memory of its own. Measured qubits leave their cluster, and what is left
// is held in the way that fits it. Larger clusters, if World.Rand allows them, are
// stabiliser states in a tableau, drawn from the mixture that the density matrix
// would be, so that all that is measured is equal in distribution. What does not
// fit is an error.
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
// Briegel, Cirac and Zoller, Phys. Rev. A 59, 169 (1999); the decay processes and
// channels are those of Nielsen and Chuang, section 8.3.
package state

import (
	"fmt"
	"math"
	"math/rand/v2"

	"qstack/physical"
	"qstack/physical/state/tableau"
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
// Errors carry qnet.ErrBadQubit (a qubit does not exist), qnet.ErrTooLarge (more
// than MaxQubits qubits would be entangled, and Rand is nil, or the operation is
// none of Clifford gates, Pauli noise and measurements of X, Y, Z and Bell states,
// or a qubit relaxes) or qnet.ErrInvalid (another argument is wrong).
type World struct {
	qubits  []qubit // by ID
	count   int
	free    []*cluster // to use again
	scratch []float64  // of joinBell
	decay   Decay      // the latest, as rates
	rates   rates

	// Rand lets clusters outgrow MaxQubits: they become stabiliser states, which
	// are drawn from it, and so is what memories and noise do to them. Nil, which
	// stands for no such clusters, it may be only as long as there are none.
	Rand *rand.Rand
}

// qubit is the place of an ID.
type qubit struct {
	cluster    *cluster // nil: no such qubit
	pos        int      // in cluster.ids
	last, born qnet.Time
	rates
}

// Zero prepares qubit q in |0⟩ at t, in a cluster of its own; from then on it
// decays by d (see Decay.Validate). A qubit that bore the same ID is freed.
func (w *World) Zero(q ID, t qnet.Time, d Decay) {
	w.Free(q, t)
	w.reserve(q)
	c := w.newCluster()
	c.single(vector{0, 0, 1})
	w.add(c, q, t, w.ratesOf(&d))
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
	c := w.newCluster()
	c.kind, c.v, c.xy, c.z = bell, spectrum(&weights), 0, 0
	w.reserve(max(a, b))
	w.add(c, a, t, w.ratesOf(&da))
	w.add(c, b, t, w.ratesOf(&db))
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
	c.kind = general
	c.resize(16)
	for p := range c.r {
		var x float64
		for i := range 4 {
			j, y := pauliRow2(p, i)
			x += real(y * rho[j*4+i])
		}
		c.r[p] = x
	}
	for p := range c.r { // the trace is 1 but for rounding
		if p > 0 {
			c.r[p] /= c.r[0]
		}
	}
	c.r[0] = 1
	c.settle(16)
}

// ratesOf returns d.rates(), which the last d has left at hand.
func (w *World) ratesOf(d *Decay) *rates {
	if *d != w.decay {
		w.decay, w.rates = *d, d.rates()
	}
	return &w.rates
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
	if g >= physical.GateX && g <= physical.GateZ {
		w.touch(s, t)
		w.scale(s, &signs[g])
		return nil
	}
	m, ok := gateOf(g, angle)
	if !ok {
		return qnet.Errorf(qnet.ErrInvalid, "state: gate %v on qubit %d is no gate of one qubit", g, q)
	}
	if !s.admits(&m) {
		return tooLarge(g.String(), q, len(s.cluster.ids))
	}
	w.touch(s, t)
	w.apply(s, &m)
	return nil
}

// Gate2 applies a gate of two qubits to a (the control) and b at t, followed by
// ρ → (1−depol)ρ + depol·I/4⊗tr(ρ) on the two.
func (w *World) Gate2(a, b ID, t qnet.Time, g physical.Gate, depol float64) error {
	if g != physical.GateCNOT && g != physical.GateCZ {
		return qnet.Errorf(qnet.ErrInvalid, "state: gate %v on qubits %d and %d is no gate of two qubits", g, a, b)
	}
	if err := probability(g.String(), "depolarising", depol); err != nil {
		return err
	}
	sa, sb, err := w.two(g.String(), a, b, t, MaxQubits)
	if err != nil {
		return err
	}
	c := w.join(sa, sb, t)
	i, j := sa.pos, sb.pos
	switch {
	case c.kind == stabiliser:
		c.gateLarge(i, j, g, depol, w.Rand)
		return nil
	case g == physical.GateCNOT:
		c.exchange(i, j, &cnot)
	default:
		c.exchange(i, j, &cz)
	}
	if depol > 0 {
		c.depolarise2(i, j, depol)
	}
	return nil
}

// Unitary1 applies the unitary u, row-major, to q at t. A u that is not unitary
// within 1e-9 is qnet.ErrInvalid.
func (w *World) Unitary1(q ID, t qnet.Time, u [4]complex128) error {
	return w.kraus1("unitary", q, t, u)
}

// Unitary2 applies the unitary u, row-major over |00⟩, |01⟩, |10⟩ and |11⟩ with
// a first, to a and b at t. A u that is not unitary within 1e-9 is
// qnet.ErrInvalid.
func (w *World) Unitary2(a, b ID, t qnet.Time, u *[16]complex128) error {
	return w.kraus2("unitary", a, b, t, *u)
}

// Measure measures q in the basis b at t, ideally, and returns the outcome. The
// qubit stays, in the state that the outcome names and in a cluster of its own.
func (w *World) Measure(q ID, t qnet.Time, b qnet.Basis, rng *rand.Rand) (bit uint8, err error) {
	s, err := w.measured(q, t, b)
	if err != nil {
		return 0, err
	}
	var n vector
	n[0], n[1], n[2] = b.Axis()
	c := s.cluster
	p, negative, ok := tableau.I, false, false
	if c.kind == stabiliser {
		if p, negative, ok = n.axis(); !ok && c.large() {
			return 0, tooLarge(fmt.Sprintf("measurement in the basis %v", b), q, len(c.ids))
		}
	}
	w.touch(s, t)
	switch {
	case c.kind == bell:
		bit = c.measureBell(n, rng)
	case ok:
		bit = c.t.Measure(rng, p.On(s.pos))
		c.t.Remove(s.pos)
		if negative {
			bit ^= 1
		}
	default:
		c.generalise()
		bit = c.measure(s.pos, n, rng)
	}
	if bit == 1 {
		n = vector{-n[0], -n[1], -n[2]}
	}
	if len(c.ids) > 1 {
		w.detach(s)
		c = w.newCluster()
		c.ids = append(c.ids, q)
		s.cluster, s.pos = c, 0
	}
	c.single(n)
	return bit, nil
}

// measured returns the place of q for a measurement.
func (w *World) measured(q ID, t qnet.Time, b qnet.Basis) (*qubit, error) {
	s, err := w.at(q, t)
	if err == nil && !b.Valid() {
		err = qnet.Errorf(qnet.ErrInvalid, "state: measurement of qubit %d: basis %v has an angle that is not finite", q, b)
	}
	return s, err
}

// MeasureNoisy measures q in the basis b at t by a read-out that errs, and
// returns the outcome as reported. Everything, q included, is left in the state
// that is conditioned on the report: Σ_m P(report|m)·Π_m·ρ·Π_m, normalised. So q
// stays correlated with what it was entangled with, unless r is perfect. In a
// cluster that is drawn from a mixture, the bit that is true is drawn too.
func (w *World) MeasureNoisy(q ID, t qnet.Time, b qnet.Basis, r Readout, rng *rand.Rand) (bit uint8, err error) {
	s, err := w.measured(q, t, b)
	if err != nil {
		return 0, err
	}
	if err := r.Validate(); err != nil {
		return 0, err
	}
	if r == (Readout{}) || s.cluster.kind == stabiliser {
		if bit, err = w.Measure(q, t, b, rng); err == nil {
			bit = r.report(bit, rng)
		}
		return bit, err
	}
	w.touch(s, t)
	var n vector
	n[0], n[1], n[2] = b.Axis()
	c := s.cluster
	c.generalise()
	v := c.bloch(s.pos)
	p0 := (1 + n[0]*v[0] + n[1]*v[1] + n[2]*v[2]) / 2
	report0 := p0*(1-r.Flip0) + (1-p0)*r.Flip1
	w0, w1 := 1-r.Flip0, r.Flip1
	p := report0
	if rng.Float64() >= report0 {
		bit, w0, w1, p = 1, r.Flip0, 1-r.Flip1, 1-report0
	}
	sum, diff := (w0+w1)/(2*p), (w0-w1)/(2*p)
	m := transfer{{sum, diff * n[0], diff * n[1], diff * n[2]}}
	for j, x := range n {
		m[j+1] = [4]float64{diff * x, sum * x * n[0], sum * x * n[1], sum * x * n[2]}
	}
	c.apply1(s.pos, &m)
	c.r[0] = 1
	return bit, nil
}

// BSM is BellMeasure with depolarising of the CNOT only, and read-outs whose bits
// are flipped with probability readoutErr whatever they are.
func (w *World) BSM(a, b ID, t qnet.Time, depol, readoutErr float64, rng *rand.Rand) (qnet.BellLabel, error) {
	r := Readout{Flip0: readoutErr, Flip1: readoutErr}
	m := Imperfection{Gate2: Noise{Depolarise: depol}, ReadoutA: r, ReadoutB: r}
	return w.BellMeasure(a, b, t, &m, rng)
}

// BellMeasure measures a and b in the Bell basis at t and frees both: CNOT(a,b)
// with the noise m.Gate2, H(a) with m.Gate1, and a read-out of both with
// m.ReadoutA and m.ReadoutB. The outcome's z bit is a's, its x bit b's: joining
// pairs l and r leaves a pair of label l.Swap(r, outcome).
//
// Everything else is left in the state that is conditioned on the outcome as
// reported, that is with the errors mixed in.
func (w *World) BellMeasure(a, b ID, t qnet.Time, m *Imperfection, rng *rand.Rand) (qnet.BellLabel, error) {
	const name = "Bell measurement"
	if err := m.Validate(); err != nil {
		return 0, err
	}
	sa, sb, err := w.two(name, a, b, t, MaxQubits+2)
	if err != nil {
		return 0, err
	}
	w.touch(sa, t)
	w.touch(sb, t)
	if tabular(sa.cluster, sb.cluster, MaxQubits+2) {
		c := w.join(sa, sb, t)
		o := c.bellLarge(sa.pos, sb.pos, m, rng)
		w.detach(sa)
		w.detach(sb)
		w.count -= 2
		return o, nil
	}
	f := m.flaws()
	ca, cb := sa.cluster, sb.cluster
	for _, c := range [...]*cluster{ca, cb} {
		if c.kind == stabiliser || ca == cb {
			c.generalise()
		}
	}
	var o qnet.BellLabel
	switch {
	case ca == cb:
		moments := ca.moments(sa.pos, sb.pos)
		o = f.draw(&moments, rng)
		e := f.effect(o)
		ca.contractBell(sa.pos, sb.pos, &e)
	default:
		if ca.kind == bell || cb.kind == bell { // nothing but read-outs prefers an outcome
			o = f.drawMixed(rng)
		} else {
			u, v := ca.bloch(sa.pos), cb.bloch(sb.pos)
			o = f.draw(&effect{1, u[0] * v[0], -u[1] * v[1], u[2] * v[2]}, rng)
		}
		e := f.effect(o)
		switch {
		case ca.kind == bell && cb.kind == bell:
			w.swap(sa, sb, &e)
			return o, nil
		case cb.kind == bell && len(ca.ids) == 1:
			cb.teleport(ca, &e)
		case ca.kind == bell && len(cb.ids) == 1:
			ca.teleport(cb, &e)
		default:
			ca.generalise()
			cb.generalise()
			w.scratch = ca.joinBell(sa.pos, cb, sb.pos, &e, w.scratch)
			if cap(w.scratch) > keep {
				w.scratch = nil
			}
			w.adopt(ca, cb)
		}
	}
	w.detach(sa)
	w.detach(sb)
	w.count -= 2
	return o, nil
}

// swap joins two Bell-diagonal pairs by a measurement of one half of each with
// the outcome e: spectra multiply and exponents add up.
func (w *World) swap(sa, sb *qubit, e *effect) {
	ca, cb := sa.cluster, sb.cluster
	f := 1.0
	if e[0] != 1 {
		f = 1 / e[0]
	}
	for k := range ca.v {
		ca.v[k] *= cb.v[k] * e[k+1] * f
	}
	ca.xy += cb.xy
	ca.z += cb.z
	left, right := ca.ids[1-sa.pos], cb.ids[1-sb.pos]
	ca.ids[0], ca.ids[1] = left, right
	w.qubits[left].pos = 0
	w.qubits[right].cluster, w.qubits[right].pos = ca, 1
	sa.cluster, sb.cluster = nil, nil
	w.release(cb)
	w.count -= 2
}

// Free traces q out at t: it ceases to exist, and what was entangled with it is
// left mixed. A qubit that does not exist is no error.
func (w *World) Free(q ID, t qnet.Time) {
	if !w.Has(q) {
		return
	}
	// What q's memory did until t does not show in the others.
	s := &w.qubits[q]
	switch c := s.cluster; {
	case c.kind == bell:
		c.single(vector{})
	case c.kind == stabiliser:
		c.t.Discard(w.Rand, s.pos)
	case len(c.ids) > 1:
		c.trace(s.pos)
	}
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

// both returns the places of a and b for the operation called name at t.
func (w *World) both(name string, a, b ID, t qnet.Time) (sa, sb *qubit, err error) {
	if sa, err = w.at(a, t); err != nil {
		return nil, nil, err
	}
	if sb, err = w.at(b, t); err != nil {
		return nil, nil, err
	}
	if a == b {
		return nil, nil, qnet.Errorf(qnet.ErrInvalid, "state: %s of qubit %d with itself: two different qubits are needed", name, a)
	}
	return sa, sb, nil
}

// two is both for an operation that joins the clusters. limit is how many qubits
// they can have together without being large; beyond it the operation must be one
// that a tableau does.
func (w *World) two(name string, a, b ID, t qnet.Time, limit int) (sa, sb *qubit, err error) {
	sa, sb, err = w.both(name, a, b, t)
	if err != nil || sa.cluster == sb.cluster || !tabular(sa.cluster, sb.cluster, limit) {
		return sa, sb, err
	}
	if n, m := len(sa.cluster.ids), len(sb.cluster.ids); w.Rand == nil {
		return nil, nil, qnet.Errorf(qnet.ErrTooLarge, "state: %s of qubits %d and %d joins clusters of %d and %d entangled qubits, more than the %d that can be held: measure or free some of them first",
			name, a, b, n, m, MaxQubits)
	}
	if err = w.prepare(name, a, sa, t); err != nil {
		return nil, nil, err
	}
	return sa, sb, w.prepare(name, b, sb, t)
}

// tabular reports whether what is made of both clusters is a tableau: each of
// them is one, or density matrices would be beyond limit or MaxQubits.
func tabular(a, b *cluster, limit int) bool {
	n := len(a.ids) + len(b.ids)
	if a.kind != stabiliser && b.kind != stabiliser {
		return n > limit && a != b
	}
	return a.kind == b.kind || a.large() || b.large() || n > limit
}

// join decays both qubits until t and returns the cluster that has them then.
func (w *World) join(sa, sb *qubit, t qnet.Time) *cluster {
	w.touch(sa, t)
	w.touch(sb, t)
	switch a, b := sa.cluster, sb.cluster; {
	case a != b && tabular(a, b, MaxQubits):
		w.mergeLarge(a, b)
	case a != b:
		w.merge(a, b)
	case a.kind == bell:
		a.generalise()
	}
	return sa.cluster
}

// touch decays the qubit until t.
func (w *World) touch(s *qubit, t qnet.Time) {
	if t == s.last {
		return
	}
	c := s.cluster
	if c.kind == bell && s.rest == 0 {
		xy, z := s.exponents(t)
		c.xy += xy
		c.z += z
	} else if c.kind == stabiliser {
		if ch := s.over(t); ch != (channel{xy: 1, z: 1}) {
			c.noise(s.pos, &vector{ch.xy, ch.xy, ch.z}, w.Rand)
		}
	} else if s.rates != (rates{}) {
		ch := s.over(t)
		c.generalise()
		c.decay(s.pos, &ch)
	}
	s.last = t
}

// scale multiplies the components of the qubit's Bloch vector by those of v, as
// a Pauli gate or channel does, which any cluster takes.
func (w *World) scale(s *qubit, v *vector) {
	switch c := s.cluster; c.kind {
	case bell:
		c.v.multiply(v)
	case stabiliser:
		c.noise(s.pos, v, w.Rand)
	default:
		c.scale(s.pos, v)
	}
}

// admits reports whether m can be applied to the qubit.
func (s *qubit) admits(m *transfer) bool {
	if !s.cluster.large() {
		return true
	}
	if _, ok := m.diagonal(); ok {
		return true
	}
	_, ok := m.quarters()
	return ok
}

// apply applies a map to the qubit, which admits it.
func (w *World) apply(s *qubit, m *transfer) {
	if v, ok := m.diagonal(); ok {
		w.scale(s, &v)
		return
	}
	c := s.cluster
	if c.kind == stabiliser {
		if n, ok := m.quarters(); ok {
			c.rotate(s.pos, n)
			return
		}
	}
	c.generalise()
	c.apply1(s.pos, m)
}
