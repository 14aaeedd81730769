package state_test

import (
	"math"
	"math/cmplx"
	"slices"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

// This file is a slow reference for the states: one density matrix of the whole
// world, operators written out as Kronecker products over all qubits, memory
// decay as the exponential of its Lindblad generator. It shares with the package
// only the types of its arguments.

type matrix [][]complex128

func zeros(rows, cols int) matrix {
	m := make(matrix, rows)
	for i := range m {
		m[i] = make([]complex128, cols)
	}
	return m
}

func (a matrix) mul(b matrix) matrix {
	c := zeros(len(a), len(b[0]))
	for i := range a {
		for k, x := range a[i] {
			if x != 0 {
				for j, y := range b[k] {
					c[i][j] += x * y
				}
			}
		}
	}
	return c
}

func (a matrix) dagger() matrix {
	c := zeros(len(a[0]), len(a))
	for i := range a {
		for j, x := range a[i] {
			c[j][i] = cmplx.Conj(x)
		}
	}
	return c
}

func (a matrix) plus(f complex128, b matrix) matrix {
	c := zeros(len(a), len(a[0]))
	for i := range a {
		for j := range a[i] {
			c[i][j] = a[i][j] + f*b[i][j]
		}
	}
	return c
}

func (a matrix) times(f complex128) matrix { return zeros(len(a), len(a[0])).plus(f, a) }

func (a matrix) kron(b matrix) matrix {
	c := zeros(len(a)*len(b), len(a[0])*len(b[0]))
	for i := range a {
		for j, x := range a[i] {
			if x != 0 {
				for k := range b {
					for l, y := range b[k] {
						c[i*len(b)+k][j*len(b[0])+l] = x * y
					}
				}
			}
		}
	}
	return c
}

func (a matrix) trace() (t complex128) {
	for i := range a {
		t += a[i][i]
	}
	return t
}

// sandwich returns l·a·r†.
func (a matrix) sandwich(l, r matrix) matrix { return r.mul(l.mul(a).dagger()).dagger() }

// exp returns e^a by scaling, a Taylor series and squaring.
func (a matrix) exp() matrix {
	const squarings = 12
	one := zeros(len(a), len(a))
	for i := range one {
		one[i][i] = 1
	}
	small := a.times(1.0 / (1 << squarings))
	sum, term := one, one
	for k := 1; k < 12; k++ {
		term = term.mul(small).times(complex(1/float64(k), 0))
		sum = sum.plus(1, term)
	}
	for range squarings {
		sum = sum.mul(sum)
	}
	return sum
}

var (
	mI = matrix{{1, 0}, {0, 1}}
	mX = matrix{{0, 1}, {1, 0}}
	mY = matrix{{0, -1i}, {1i, 0}}
	mZ = matrix{{1, 0}, {0, -1}}
	mH = mX.plus(1, mZ).times(complex(1/math.Sqrt2, 0))

	paulis = []matrix{mI, mX, mY, mZ}
	ket    = []matrix{{{1}, {0}}, {{0}, {1}}}
)

// unit returns |a⟩⟨b|.
func unit(a, b int) matrix { return ket[a].mul(ket[b].dagger()) }

// rotation returns exp(−iθP/2) = cos(θ/2) − i sin(θ/2) P.
func rotation(p matrix, theta float64) matrix {
	return mI.times(complex(math.Cos(theta/2), 0)).plus(complex(0, -math.Sin(theta/2)), p)
}

// phase returns diag(1, e^{iφ}).
func phase(phi float64) matrix { return unit(0, 0).plus(cmplx.Exp(complex(0, phi)), unit(1, 1)) }

func gateMatrix(g physical.Gate, theta float64) matrix {
	switch g {
	case physical.GateX:
		return mX
	case physical.GateY:
		return mY
	case physical.GateZ:
		return mZ
	case physical.GateH:
		return mH
	case physical.GateS:
		return phase(math.Pi / 2)
	case physical.GateSdg:
		return phase(-math.Pi / 2)
	case physical.GateT:
		return phase(math.Pi / 4)
	case physical.GateTdg:
		return phase(-math.Pi / 4)
	case physical.GateRX:
		return rotation(mX, theta)
	case physical.GateRY:
		return rotation(mY, theta)
	case physical.GateRZ:
		return rotation(mZ, theta)
	}
	panic("no gate of one qubit: " + g.String())
}

// bellState returns the density matrix of (I⊗XˣZᶻ)|Φ+⟩.
func bellState(l qnet.BellLabel) matrix {
	v := ket[0].kron(ket[0]).plus(1, ket[1].kron(ket[1])).times(complex(1/math.Sqrt2, 0))
	if l.Z() {
		v = mI.kron(mZ).mul(v)
	}
	if l.X() {
		v = mI.kron(mX).mul(v)
	}
	return v.mul(v.dagger())
}

// decayMap returns the superoperator of d over dt seconds: element
// [2a+b][2c+d] is the weight of |c⟩⟨d| in |a⟩⟨b|. The generator is
// γ₁·D[|0⟩⟨1|] + (γφ/2)·D[Z] + r·(tr(ρ)·I/2 − ρ), with D[L]ρ = LρL† − {L†L,ρ}/2,
// γ₁ = 1/T1 and γφ = 1/T2 − 1/(2·T1).
func decayMap(d state.Decay, dt float64) matrix {
	var gamma1, gammaPhi float64
	if d.T1 > 0 {
		gamma1 = 1 / d.T1
	}
	if d.T2 > 0 {
		gammaPhi = max(0, 1/d.T2-gamma1/2)
	}
	gen := zeros(4, 4)
	for a := range 2 {
		for b := range 2 {
			rho := unit(a, b)
			out := zeros(2, 2)
			for _, l := range []struct {
				rate float64
				op   matrix
			}{{gamma1, unit(0, 1)}, {gammaPhi / 2, mZ}} {
				n := l.op.dagger().mul(l.op)
				out = out.plus(complex(l.rate, 0), rho.sandwich(l.op, l.op))
				out = out.plus(complex(-l.rate/2, 0), n.mul(rho).plus(1, rho.mul(n)))
			}
			out = out.plus(complex(d.Depolarise, 0), mI.times(rho.trace()/2).plus(-1, rho))
			for i := range 2 {
				for j := range 2 {
					gen[2*i+j][2*a+b] = out[i][j] * complex(dt, 0)
				}
			}
		}
	}
	return gen.exp()
}

// reference is the world as one matrix.
type reference struct {
	ids   []state.ID
	decay []state.Decay
	rho   matrix
}

func newReference() *reference { return &reference{rho: matrix{{1}}} }

func (r *reference) clone() *reference {
	return &reference{ids: slices.Clone(r.ids), decay: slices.Clone(r.decay), rho: r.rho}
}

func (r *reference) index(q state.ID) int { return slices.Index(r.ids, q) }

// lift returns the operator with the given factors at their qubits, and the
// identity elsewhere.
func (r *reference) lift(factors map[state.ID]matrix) matrix {
	m := matrix{{1}}
	for _, q := range r.ids {
		if f, ok := factors[q]; ok {
			m = m.kron(f)
		} else {
			m = m.kron(mI)
		}
	}
	return m
}

func (r *reference) add(rho matrix, d []state.Decay, qs ...state.ID) {
	r.rho = r.rho.kron(rho)
	r.ids = append(r.ids, qs...)
	r.decay = append(r.decay, d...)
}

func (r *reference) pair(a, b state.ID, da, db state.Decay, weights [4]float64) {
	rho := zeros(4, 4)
	for l, x := range weights {
		rho = rho.plus(complex(x, 0), bellState(qnet.BellLabel(l)))
	}
	r.add(rho, []state.Decay{da, db}, a, b)
}

// wait lets dt seconds pass for all qubits.
func (r *reference) wait(dt float64) {
	if dt == 0 {
		return
	}
	for i, q := range r.ids {
		if r.decay[i] == (state.Decay{}) {
			continue
		}
		m := decayMap(r.decay[i], dt)
		sum := zeros(len(r.rho), len(r.rho))
		for to := range 4 {
			for from := range 4 {
				if f := m[to][from]; f != 0 {
					l := r.lift(map[state.ID]matrix{q: unit(to/2, from/2)})
					k := r.lift(map[state.ID]matrix{q: unit(to%2, from%2)})
					sum = sum.plus(f, r.rho.sandwich(l, k))
				}
			}
		}
		r.rho = sum
	}
}

func (r *reference) gate1(q state.ID, g physical.Gate, theta float64) {
	u := r.lift(map[state.ID]matrix{q: gateMatrix(g, theta)})
	r.rho = r.rho.sandwich(u, u)
}

func (r *reference) gate2(a, b state.ID, g physical.Gate, depol float64) {
	p := mX
	if g == physical.GateCZ {
		p = mZ
	}
	u := r.lift(map[state.ID]matrix{a: unit(0, 0)}).plus(1, r.lift(map[state.ID]matrix{a: unit(1, 1), b: p}))
	r.rho = r.rho.sandwich(u, u)
	if depol == 0 {
		return
	}
	sum := r.rho.times(complex(1-depol, 0))
	for _, p := range paulis {
		for _, q := range paulis {
			u := r.lift(map[state.ID]matrix{a: p, b: q})
			sum = sum.plus(complex(depol/16, 0), r.rho.sandwich(u, u))
		}
	}
	r.rho = sum
}

// projector returns the projector of an outcome of a measurement.
func projector(b qnet.Basis, bit uint8) matrix {
	x, y, z := math.Sin(b.Theta)*math.Cos(b.Phi), math.Sin(b.Theta)*math.Sin(b.Phi), math.Cos(b.Theta)
	n := mX.times(complex(x, 0)).plus(complex(y, 0), mY).plus(complex(z, 0), mZ)
	return mI.plus(complex(1-2*float64(bit), 0), n).times(0.5)
}

// measure projects q to the outcome and returns its probability.
func (r *reference) measure(q state.ID, b qnet.Basis, bit uint8) float64 {
	p := r.lift(map[state.ID]matrix{q: projector(b, bit)})
	return r.condition(r.rho.sandwich(p, p))
}

// probability returns the probability of an outcome.
func (r *reference) probability(q state.ID, b qnet.Basis, bit uint8) float64 {
	p := r.lift(map[state.ID]matrix{q: projector(b, bit)})
	return real(r.rho.sandwich(p, p).trace())
}

func (r *reference) condition(rho matrix) float64 {
	p := real(rho.trace())
	r.rho = rho.times(complex(1/p, 0))
	return p
}

// bsm performs the circuit of a Bell measurement, with every combination of
// read-out errors, up to the outcome; it frees both qubits and returns the
// outcome's probability.
func (r *reference) bsm(a, b state.ID, depol, readoutErr float64, o qnet.BellLabel) float64 {
	r.gate2(a, b, physical.GateCNOT, depol)
	r.gate1(a, physical.GateH, 0)
	sum := zeros(len(r.rho), len(r.rho))
	for za := range 2 {
		for xb := range 2 {
			f := 1.0
			for _, wrong := range []bool{(za == 1) != o.Z(), (xb == 1) != o.X()} {
				if wrong {
					f *= readoutErr
				} else {
					f *= 1 - readoutErr
				}
			}
			p := r.lift(map[state.ID]matrix{a: unit(za, za), b: unit(xb, xb)})
			sum = sum.plus(complex(f, 0), r.rho.sandwich(p, p))
		}
	}
	p := r.condition(sum)
	r.free(a)
	r.free(b)
	return p
}

func (r *reference) free(q state.ID) {
	var sum matrix
	for k := range 2 {
		bra := r.lift(map[state.ID]matrix{q: ket[k].dagger()})
		part := r.rho.sandwich(bra, bra)
		if k == 0 {
			sum = part
		} else {
			sum = sum.plus(1, part)
		}
	}
	i := r.index(q)
	r.rho = sum
	r.ids = slices.Delete(r.ids, i, i+1)
	r.decay = slices.Delete(r.decay, i, i+1)
}

// density returns the state of some qubits in their given order.
func (r *reference) density(qs ...state.ID) matrix {
	c := r.clone()
	for _, q := range r.ids {
		if !slices.Contains(qs, q) {
			c.free(q)
		}
	}
	at := func(row int) (old int) { // the row in the order of c.ids
		for k, q := range qs {
			old |= row >> (len(qs) - 1 - k) & 1 << (len(qs) - 1 - c.index(q))
		}
		return old
	}
	m := zeros(len(c.rho), len(c.rho))
	for i := range m {
		for j := range m {
			m[i][j] = c.rho[at(i)][at(j)]
		}
	}
	return m
}
