package state

import (
	"math"
	"math/rand/v2"

	"qstack/qnet"
)

// Noise is what an imperfect gate does to its qubits after the gate itself. The
// zero value is no noise.
type Noise struct {
	// Depolarise is the probability q of ρ → (1−q)ρ + q·I/2ⁿ⊗tr(ρ) on all n
	// qubits of the gate together.
	Depolarise float64
	// Dephase is the probability of a phase flip, on each qubit independently.
	Dephase float64
}

func (n *Noise) validate(name string) error {
	if err := probability(name, "depolarising", n.Depolarise); err != nil {
		return err
	}
	return probability(name, "dephasing", n.Dephase)
}

// Readout is how often the read-out of a qubit is wrong. The zero value never
// errs.
type Readout struct {
	Flip0 float64 // P(1|0): probability of reading 1 where there is 0
	Flip1 float64 // P(0|1): probability of reading 0 where there is 1
}

// Validate returns an error with code qnet.ErrInvalid unless both are
// probabilities.
func (r Readout) Validate() error {
	if err := probability("read-out", "error P(1|0)", r.Flip0); err != nil {
		return err
	}
	return probability("read-out", "error P(0|1)", r.Flip1)
}

// Imperfection is the noise of the steps of an operation on two qubits a and b
// that is made of gates and read-outs: a Bell measurement (World.BellMeasure) or
// one node's part in a step of distillation (DEJMPS, BBPSSW). The zero value is
// perfect.
type Imperfection struct {
	Gate1    Noise   // of each gate of one qubit
	Gate2    Noise   // of CNOT(a,b)
	ReadoutA Readout // of a
	ReadoutB Readout // of b
}

// Validate returns an error with code qnet.ErrInvalid unless all are
// probabilities.
func (m *Imperfection) Validate() error {
	for _, p := range [...]float64{m.Gate1.Depolarise, m.Gate1.Dephase, m.Gate2.Depolarise, m.Gate2.Dephase,
		m.ReadoutA.Flip0, m.ReadoutA.Flip1, m.ReadoutB.Flip0, m.ReadoutB.Flip1} {
		if !(p >= 0 && p <= 1) {
			return m.invalid()
		}
	}
	return nil
}

// invalid returns the error of the first number that is no probability.
func (m *Imperfection) invalid() error {
	if err := m.Gate1.validate("gate of one qubit"); err != nil {
		return err
	}
	if err := m.Gate2.validate("gate of two qubits"); err != nil {
		return err
	}
	if err := m.ReadoutA.Validate(); err != nil {
		return err
	}
	return m.ReadoutB.Validate()
}

// probability returns an error unless p is in [0,1].
func probability(name, what string, p float64) error {
	if p >= 0 && p <= 1 {
		return nil
	}
	return improbable(name, what, p)
}

func improbable(name, what string, p float64) error {
	return qnet.Errorf(qnet.ErrInvalid, "state: %s: %s probability %g is not between 0 and 1", name, what, p)
}

// flaws is Imperfection as a Bell measurement shows it. Going back from the
// read-outs, Z of a is X⊗X before the circuit, Z of b is Z⊗Z, and their product
// −Y⊗Y. The noise of the gates multiplies them: phase those that have the Z of a,
// parity that which has not. A read-out with the outcome s = ±1 is the operator
// (1 + s·(P(0|1)−P(1|0)))/2 · I + s·(1−P(1|0)−P(0|1))/2 · Z.
type flaws struct {
	phase, parity     float64
	biasA, sharpnessA float64
	biasB, sharpnessB float64
}

func (m *Imperfection) flaws() flaws {
	keep := 1 - m.Gate2.Depolarise
	return flaws{
		parity:     keep,
		phase:      keep * (1 - 2*m.Gate2.Dephase) * (1 - m.Gate1.Depolarise),
		biasA:      m.ReadoutA.Flip1 - m.ReadoutA.Flip0,
		sharpnessA: 1 - m.ReadoutA.Flip0 - m.ReadoutA.Flip1,
		biasB:      m.ReadoutB.Flip1 - m.ReadoutB.Flip0,
		sharpnessB: 1 - m.ReadoutB.Flip0 - m.ReadoutB.Flip1,
	}
}

// drawMixed draws an outcome for a qubit and half of a Bell-diagonal pair, of
// which either bit is 0 with probability ½ before the read-out.
func (f *flaws) drawMixed(rng *rand.Rand) (o qnet.BellLabel) {
	if f.biasA == 0 && f.biasB == 0 {
		return qnet.BellLabel(rng.Uint64() >> 62)
	}
	if 2*rng.Float64() >= 1+f.biasA {
		o |= qnet.PhiMinus
	}
	if 2*rng.Float64() >= 1+f.biasB {
		o |= qnet.PsiPlus
	}
	return o
}

// effect returns the operator of an outcome.
func (f *flaws) effect(o qnet.BellLabel) effect {
	sa, sb := float64(1-2*int(o&1)), float64(1-int(o&2))
	a0, a1 := 1+sa*f.biasA, sa*f.sharpnessA
	b0, b1 := 1+sb*f.biasB, sb*f.sharpnessB
	return effect{a0 * b0, f.phase * a1 * b0, f.phase * a1 * b1, f.parity * a0 * b1}
}

// draw draws an outcome for a state with the given moments.
func (f *flaws) draw(moments *effect, rng *rand.Rand) qnet.BellLabel {
	var p [4]float64
	for o := range p {
		e := f.effect(qnet.BellLabel(o))
		p[o] = e.probability(moments)
	}
	return draw(&p, rng)
}

// Depolarise applies ρ → (1−p)ρ + p·I/2⊗tr(ρ) to q at t.
func (w *World) Depolarise(q ID, t qnet.Time, p float64) error {
	return w.mix("depolarising", q, t, p, vector{1 - p, 1 - p, 1 - p})
}

// Dephase applies a phase flip to q at t with probability p: what is left of
// coherences is 1−2p. For n events of probability p each, such as the attempts
// at entanglement beside a stored spin, p is (1−(1−2p)ⁿ)/2.
func (w *World) Dephase(q ID, t qnet.Time, p float64) error {
	return w.mix("phase flip", q, t, p, vector{1 - 2*p, 1 - 2*p, 1})
}

// Pauli applies X, Y or Z to q at t with the probabilities px, py and pz, whose
// sum must not exceed 1.
func (w *World) Pauli(q ID, t qnet.Time, px, py, pz float64) error {
	for i, p := range [...]float64{px, py, pz} {
		if !(p >= 0) {
			return qnet.Errorf(qnet.ErrInvalid, "state: Pauli channel: probability %g of %c is not between 0 and 1", p, "XYZ"[i])
		}
	}
	return w.mix("Pauli channel", q, t, px+py+pz, vector{1 - 2*(py+pz), 1 - 2*(px+pz), 1 - 2*(px+py)})
}

// mix scales q's Bloch vector by v at t; p is a probability to check.
func (w *World) mix(name string, q ID, t qnet.Time, p float64, v vector) error {
	s, err := w.at(q, t)
	if err != nil {
		return err
	}
	if !(p >= 0 && p <= 1) {
		return qnet.Errorf(qnet.ErrInvalid, "state: %s of qubit %d: probability %g is not between 0 and 1", name, q, p)
	}
	w.touch(s, t)
	w.scale(s, &v)
	return nil
}

// Depolarise2 applies ρ → (1−p)ρ + p·I/4⊗tr(ρ) to a and b at t.
func (w *World) Depolarise2(a, b ID, t qnet.Time, p float64) error {
	const name = "depolarising"
	if err := probability(name, name, p); err != nil {
		return err
	}
	sa, sb, err := w.two(name, a, b, t, MaxQubits)
	if err != nil {
		return err
	}
	w.touch(sa, t)
	w.touch(sb, t)
	if c := sa.cluster; c == sb.cluster && c.kind == bell {
		c.v.multiply(&vector{1 - p, 1 - p, 1 - p})
		return nil
	}
	if c := w.join(sa, sb, t); c.kind == stabiliser {
		c.depolariseLarge(sa.pos, sb.pos, p, w.Rand)
	} else {
		c.depolarise2(sa.pos, sb.pos, p)
	}
	return nil
}

// DampAmplitude relaxes q to |0⟩ at t with probability gamma: populations of |1⟩
// are multiplied by 1−gamma, coherences by √(1−gamma).
func (w *World) DampAmplitude(q ID, t qnet.Time, gamma float64) error {
	const name = "amplitude damping"
	if err := probability(name, "decay", gamma); err != nil {
		return err
	}
	s, err := w.at(q, t)
	if err != nil {
		return err
	}
	c := s.cluster
	if c.large() {
		return tooLarge(name, q, len(c.ids))
	}
	w.touch(s, t)
	c.generalise()
	c.decay(s.pos, &channel{xy: math.Sqrt(1 - gamma), z: 1 - gamma, shift: gamma})
	return nil
}

// Kraus1 applies the channel ρ → Σ K·ρ·K† to q at t, each K row-major. Operators
// with ΣK†K off I by more than 1e-9 are qnet.ErrInvalid.
func (w *World) Kraus1(q ID, t qnet.Time, ks ...[4]complex128) error {
	return w.kraus1("channel", q, t, ks...)
}

// Kraus2 applies the channel ρ → Σ K·ρ·K† to a and b at t, each K row-major over
// |00⟩, |01⟩, |10⟩ and |11⟩ with a first. Operators with ΣK†K off I by more than
// 1e-9 are qnet.ErrInvalid.
func (w *World) Kraus2(a, b ID, t qnet.Time, ks ...[16]complex128) error {
	return w.kraus2("channel", a, b, t, ks...)
}

func (w *World) kraus1(name string, q ID, t qnet.Time, ks ...[4]complex128) error {
	s, err := w.at(q, t)
	if err != nil {
		return err
	}
	if err := complete(name, 2, ks...); err != nil {
		return err
	}
	var m transfer
	for i := range ks {
		m.add(&ks[i])
	}
	for i := range m {
		clean(m[i][:], i == 0)
	}
	if !s.admits(&m) {
		return tooLarge(name, q, len(s.cluster.ids))
	}
	w.touch(s, t)
	w.apply(s, &m)
	return nil
}

func (w *World) kraus2(name string, a, b ID, t qnet.Time, ks ...[16]complex128) error {
	if err := complete(name, 4, ks...); err != nil {
		return err
	}
	sa, sb, err := w.both(name, a, b, t)
	if err != nil {
		return err
	}
	n := len(sa.cluster.ids)
	if sa.cluster != sb.cluster {
		n += len(sb.cluster.ids)
	}
	if n > MaxQubits {
		return tooLarge(name, a, n)
	}
	var m transfer2
	for i := range ks {
		m.add(&ks[i])
	}
	for i := range m {
		clean(m[i][:], i == 0)
	}
	c := w.join(sa, sb, t)
	c.generalise()
	c.apply2(sa.pos, sb.pos, &m)
	return nil
}
