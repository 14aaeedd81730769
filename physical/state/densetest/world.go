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
	rho    Matrix
}

// New returns a world without qubits.
func New[Q comparable]() *World[Q] { return &World[Q]{rho: Matrix{{1}}} }

// Clone returns a copy.
func (w *World[Q]) Clone() *World[Q] {
	return &World[Q]{Qubits: slices.Clone(w.Qubits), decay: slices.Clone(w.decay), rho: w.rho}
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
}

// Zero adds a qubit in the state |0⟩.
func (w *World[Q]) Zero(q Q, d Decay) { w.add(Unit(0, 0), []Decay{d}, q) }

// Pair adds a pair in the mixture of the Bell states with the given weights.
func (w *World[Q]) Pair(a, b Q, da, db Decay, weights [4]float64) {
	rho := Zeros(4, 4)
	for l, x := range weights {
		rho = rho.plus(complex(x, 0), Bell(qnet.BellLabel(l)))
	}
	w.add(rho, []Decay{da, db}, a, b)
}

// Wait lets dt seconds pass for all qubits.
func (w *World[Q]) Wait(dt float64) {
	for i, q := range w.Qubits {
		w.Decay(q, w.decay[i], dt)
	}
}

// Decay lets a qubit decay for dt seconds.
func (w *World[Q]) Decay(q Q, d Decay, dt float64) {
	if dt == 0 || d == (Decay{}) {
		return
	}
	m := d.superoperator(dt)
	sum := Zeros(len(w.rho), len(w.rho))
	for to := range 4 {
		for from := range 4 {
			if f := m[to][from]; f != 0 {
				l := w.lift(map[Q]Matrix{q: Unit(to/2, from/2)})
				k := w.lift(map[Q]Matrix{q: Unit(to%2, from%2)})
				sum = sum.plus(f, w.rho.sandwich(l, k))
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
	u := w.lift(map[Q]Matrix{a: Unit(0, 0)}).plus(1, w.lift(map[Q]Matrix{a: Unit(1, 1), b: p}))
	w.rho = w.rho.sandwich(u, u)
	if depol == 0 {
		return
	}
	sum := w.rho.Times(complex(1-depol, 0))
	for _, p := range paulis {
		for _, q := range paulis {
			u := w.lift(map[Q]Matrix{a: p, b: q})
			sum = sum.plus(complex(depol/16, 0), w.rho.sandwich(u, u))
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
			sum = sum.plus(complex(f, 0), w.rho.sandwich(p, p))
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

// Free traces a qubit out.
func (w *World[Q]) Free(q Q) {
	var sum Matrix
	for k := range 2 {
		bra := w.lift(map[Q]Matrix{q: ket[k].dagger()})
		part := w.rho.sandwich(bra, bra)
		if k == 0 {
			sum = part
		} else {
			sum = sum.plus(1, part)
		}
	}
	i := slices.Index(w.Qubits, q)
	w.rho = sum
	w.Qubits = slices.Delete(w.Qubits, i, i+1)
	w.decay = slices.Delete(w.decay, i, i+1)
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
