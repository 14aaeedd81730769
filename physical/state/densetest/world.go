package densetest

import (
	"slices"

	"qstack/physical"
	"qstack/qnet"
)

// World is the joint state of qubits that are named by values of type Q, as one
// matrix.
type World[Q comparable] struct {
	Qubits []Q // the first is the most significant bit of a row
	decay  []Decay
	age    []float64 // in seconds
	rho    Matrix
}

// New returns a world without qubits.
func New[Q comparable]() *World[Q] { return &World[Q]{rho: Matrix{{1}}} }

// Clone returns a copy.
func (w *World[Q]) Clone() *World[Q] {
	return &World[Q]{Qubits: slices.Clone(w.Qubits), decay: slices.Clone(w.decay), age: slices.Clone(w.age), rho: w.rho}
}

// lift returns the operator with the given factors at their qubits, and the
// identity elsewhere.
func (w *World[Q]) lift(factors map[Q]Matrix) Matrix {
	m := Matrix{{1}}
	for _, q := range w.Qubits {
		if f, ok := factors[q]; ok {
			m = m.Kron(f)
		} else {
			m = m.Kron(mI)
		}
	}
	return m
}

func (w *World[Q]) add(rho Matrix, d []Decay, qs ...Q) {
	w.rho = w.rho.Kron(rho)
	w.Qubits = append(w.Qubits, qs...)
	w.decay = append(w.decay, d...)
	w.age = append(w.age, make([]float64, len(qs))...)
}

// Zero adds a qubit in the state |0⟩.
func (w *World[Q]) Zero(q Q, d Decay) { w.add(Unit(0, 0), []Decay{d}, q) }

// Pair adds a pair in the mixture of the Bell states with the given weights.
func (w *World[Q]) Pair(a, b Q, da, db Decay, weights [4]float64) {
	rho := Zeros(4, 4)
	for l, x := range weights {
		rho = rho.Plus(complex(x, 0), Bell(qnet.BellLabel(l)))
	}
	w.add(rho, []Decay{da, db}, a, b)
}

// Entangle adds a pair in the state rho.
func (w *World[Q]) Entangle(a, b Q, da, db Decay, rho Matrix) { w.add(rho, []Decay{da, db}, a, b) }

// Wait lets dt seconds pass for all qubits.
func (w *World[Q]) Wait(dt float64) {
	for i, q := range w.Qubits {
		w.Decay(q, w.decay[i], dt)
	}
}

// Decay lets a qubit decay for dt seconds.
func (w *World[Q]) Decay(q Q, d Decay, dt float64) {
	age := &w.age[slices.Index(w.Qubits, q)]
	since := *age
	*age += dt
	if dt == 0 || d == (Decay{}) {
		return
	}
	m := d.superoperator(since, dt)
	sum := Zeros(len(w.rho), len(w.rho))
	for to := range 4 {
		for from := range 4 {
			if f := m[to][from]; f != 0 {
				l := w.lift(map[Q]Matrix{q: Unit(to/2, from/2)})
				k := w.lift(map[Q]Matrix{q: Unit(to%2, from%2)})
				sum = sum.Plus(f, w.rho.sandwich(l, k))
			}
		}
	}
	w.rho = sum
}

// Gate1 applies a gate of one qubit.
func (w *World[Q]) Gate1(q Q, g physical.Gate, theta float64) {
	u := w.lift(map[Q]Matrix{q: gate(g, theta)})
	w.rho = w.rho.sandwich(u, u)
}

// Gate2 applies CNOT or CZ, and then depolarises both qubits, with probability
// depol.
func (w *World[Q]) Gate2(a, b Q, g physical.Gate, depol float64) {
	p := mX
	if g == physical.GateCZ {
		p = mZ
	}
	u := w.lift(map[Q]Matrix{a: Unit(0, 0)}).Plus(1, w.lift(map[Q]Matrix{a: Unit(1, 1), b: p}))
	w.rho = w.rho.sandwich(u, u)
	if depol == 0 {
		return
	}
	sum := w.rho.Times(complex(1-depol, 0))
	for _, p := range paulis {
		for _, q := range paulis {
			u := w.lift(map[Q]Matrix{a: p, b: q})
			sum = sum.Plus(complex(depol/16, 0), w.rho.sandwich(u, u))
		}
	}
	w.rho = sum
}

// Measure projects q to the outcome and returns its probability.
func (w *World[Q]) Measure(q Q, b qnet.Basis, bit uint8) float64 {
	p := w.lift(map[Q]Matrix{q: Projector(b, bit)})
	return w.condition(w.rho.sandwich(p, p))
}

func (w *World[Q]) condition(rho Matrix) float64 {
	p := real(rho.Trace())
	w.rho = rho.Times(complex(1/p, 0))
	return p
}

// BSM performs the circuit of a Bell measurement, with every combination of
// read-out errors, up to the outcome; it frees both qubits and returns the
// outcome's probability.
func (w *World[Q]) BSM(a, b Q, depol, readoutErr float64, o qnet.BellLabel) float64 {
	w.Gate2(a, b, physical.GateCNOT, depol)
	w.Gate1(a, physical.GateH, 0)
	sum := Zeros(len(w.rho), len(w.rho))
	for za := range 2 {
		for xb := range 2 {
			f := Readout(readoutErr, (za == 1) == o.Z()) * Readout(readoutErr, (xb == 1) == o.X())
			p := w.lift(map[Q]Matrix{a: Unit(za, za), b: Unit(xb, xb)})
			sum = sum.Plus(complex(f, 0), w.rho.sandwich(p, p))
		}
	}
	p := w.condition(sum)
	w.Free(a)
	w.Free(b)
	return p
}

// Readout returns the probability of a read-out that is correct, or not.
func Readout(readoutErr float64, correct bool) float64 {
	if correct {
		return 1 - readoutErr
	}
	return readoutErr
}

// Noise is that of a gate: depolarising with one probability on all its qubits
// together, and then a phase flip with another on each.
type Noise struct{ Depolarise, Dephase float64 }

// Errors are the probabilities that a read-out is wrong where there is 0, and
// where there is 1.
type Errors [2]float64

// given returns the probability of reading bit where there is truth.
func (e Errors) given(truth, bit int) float64 {
	if truth != bit {
		return e[truth]
	}
	return 1 - e[truth]
}

// BellMeasure is BSM with the noise of each gate and each read-out.
func (w *World[Q]) BellMeasure(a, b Q, gate1, gate2 Noise, ra, rb Errors, o qnet.BellLabel) float64 {
	w.Gate2(a, b, physical.GateCNOT, 0)
	w.Noise(gate2, a, b)
	w.Gate1(a, physical.GateH, 0)
	w.Noise(gate1, a)
	z, x := int(o&1), int(o>>1)
	p := w.Read(a, qnet.BasisZ, ra, z) * w.Read(b, qnet.BasisZ, rb, x)
	w.Free(a)
	w.Free(b)
	return p
}

// Noise applies the noise of a gate of one or two qubits.
func (w *World[Q]) Noise(n Noise, qs ...Q) {
	w.Depolarise(n.Depolarise, qs...)
	for _, q := range qs {
		w.Pauli(q, 0, 0, n.Dephase)
	}
}

// Read measures q with a read-out that errs, given what it reports, of which it
// returns the probability. q stays.
func (w *World[Q]) Read(q Q, b qnet.Basis, e Errors, bit int) float64 {
	sum := Zeros(len(w.rho), len(w.rho))
	for truth := range 2 {
		p := w.lift(map[Q]Matrix{q: Projector(b, uint8(truth))})
		sum = sum.Plus(complex(e.given(truth, bit), 0), w.rho.sandwich(p, p))
	}
	return w.condition(sum)
}

// Depolarise replaces the state of some qubits by the mixture of all with
// probability p: by each product of Paulis with the same probability.
func (w *World[Q]) Depolarise(p float64, qs ...Q) {
	ops := []Matrix{{{1}}}
	for range qs {
		var next []Matrix
		for _, a := range ops {
			for _, b := range paulis {
				next = append(next, a.Kron(b))
			}
		}
		ops = next
	}
	sum := w.rho.Times(complex(1-p, 0))
	for _, op := range ops {
		u := w.embed(op, qs)
		sum = sum.Plus(complex(p/float64(len(ops)), 0), w.rho.sandwich(u, u))
	}
	w.rho = sum
}

// Pauli applies X, Y or Z with the given probabilities.
func (w *World[Q]) Pauli(q Q, px, py, pz float64) {
	sum := Zeros(len(w.rho), len(w.rho))
	for i, p := range []float64{1 - px - py - pz, px, py, pz} {
		u := w.lift(map[Q]Matrix{q: paulis[i]})
		sum = sum.Plus(complex(p, 0), w.rho.sandwich(u, u))
	}
	w.rho = sum
}

// Kraus applies the channel ρ → Σ KρK†, where each K acts on the given qubits,
// the first most significant.
func (w *World[Q]) Kraus(ks []Matrix, qs ...Q) {
	sum := Zeros(len(w.rho), len(w.rho))
	for _, k := range ks {
		m := w.embed(k, qs)
		sum = sum.Plus(1, w.rho.sandwich(m, m))
	}
	w.rho = sum
}

// embed returns the operator that is m on the qubits qs: the sum over its
// elements of the products of |a⟩⟨b| of single qubits.
func (w *World[Q]) embed(m Matrix, qs []Q) Matrix {
	n := 1 << len(w.Qubits)
	sum := Zeros(n, n)
	for i := range m {
		for j, x := range m[i] {
			if x == 0 {
				continue
			}
			units := map[Q]Matrix{}
			for k, q := range qs {
				s := len(qs) - 1 - k
				units[q] = Unit(i>>s&1, j>>s&1)
			}
			sum = sum.Plus(x, w.lift(units))
		}
	}
	return sum
}

// Fidelity returns ⟨ψ|ρ|ψ⟩ of some qubits, in their given order.
func (w *World[Q]) Fidelity(psi []complex128, qs ...Q) float64 {
	v := Zeros(len(psi), 1)
	for i, x := range psi {
		v[i][0] = x
	}
	return real(v.dagger().Mul(w.Density(qs...)).Mul(v)[0][0])
}

// Free traces a qubit out.
func (w *World[Q]) Free(q Q) {
	var sum Matrix
	for k := range 2 {
		bra := w.lift(map[Q]Matrix{q: ket[k].dagger()})
		part := w.rho.sandwich(bra, bra)
		if k == 0 {
			sum = part
		} else {
			sum = sum.Plus(1, part)
		}
	}
	i := slices.Index(w.Qubits, q)
	w.rho = sum
	w.Qubits = slices.Delete(w.Qubits, i, i+1)
	w.decay = slices.Delete(w.decay, i, i+1)
	w.age = slices.Delete(w.age, i, i+1)
}

// Density returns the state of some qubits in their given order.
func (w *World[Q]) Density(qs ...Q) Matrix {
	c := w.Clone()
	for _, q := range w.Qubits {
		if !slices.Contains(qs, q) {
			c.Free(q)
		}
	}
	at := func(row int) (old int) { // the row in the order of c.Qubits
		for k, q := range qs {
			old |= row >> (len(qs) - 1 - k) & 1 << (len(qs) - 1 - slices.Index(c.Qubits, q))
		}
		return old
	}
	m := Zeros(len(c.rho), len(c.rho))
	for i := range m {
		for j := range m {
			m[i][j] = c.rho[at(i)][at(j)]
		}
	}
	return m
}
