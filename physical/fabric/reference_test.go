package fabric_test

// A density matrix of a handful of qubits, straight from the textbook, that the
// fabric is compared with. It uses nothing of the state engines: everything is
// held in one matrix, and every qubit is aged at every step.

import (
	"math"
	"math/cmplx"
)

type matrix [][]complex128

func newMatrix(n int) matrix {
	m := make(matrix, n)
	for i := range m {
		m[i] = make([]complex128, n)
	}
	return m
}

func (a matrix) times(b matrix) matrix {
	m := newMatrix(len(a))
	for i := range m {
		for j := range m {
			for k := range m {
				m[i][j] += a[i][k] * b[k][j]
			}
		}
	}
	return m
}

func (a matrix) dagger() matrix {
	m := newMatrix(len(a))
	for i := range m {
		for j := range m {
			m[i][j] = cmplx.Conj(a[j][i])
		}
	}
	return m
}

func (a matrix) tensor(b matrix) matrix {
	m := newMatrix(len(a) * len(b))
	for i := range m {
		for j := range m {
			m[i][j] = a[i/len(b)][j/len(b)] * b[i%len(b)][j%len(b)]
		}
	}
	return m
}

func (a matrix) scaled(x complex128) matrix {
	m := newMatrix(len(a))
	for i := range m {
		for j := range m {
			m[i][j] = x * a[i][j]
		}
	}
	return m
}

func (a matrix) plus(b matrix) matrix {
	m := newMatrix(len(a))
	for i := range m {
		for j := range m {
			m[i][j] = a[i][j] + b[i][j]
		}
	}
	return m
}

func (a matrix) trace() (t float64) {
	for i := range a {
		t += real(a[i][i])
	}
	return t
}

var (
	one    = matrix{{1, 0}, {0, 1}}
	pauliX = matrix{{0, 1}, {1, 0}}
	pauliY = matrix{{0, -1i}, {1i, 0}}
	pauliZ = matrix{{1, 0}, {0, -1}}
)

// along returns n·σ for the axis at polar angle theta and azimuth phi.
func along(theta, phi float64) matrix {
	return pauliX.scaled(complex(math.Sin(theta)*math.Cos(phi), 0)).
		plus(pauliY.scaled(complex(math.Sin(theta)*math.Sin(phi), 0))).
		plus(pauliZ.scaled(complex(math.Cos(theta), 0)))
}

// projector returns the projector on the outcome bit of a measurement of n·σ.
func projector(theta, phi float64, bit int) matrix {
	return one.plus(along(theta, phi).scaled(complex(1-2*float64(bit), 0))).scaled(0.5)
}

// exponential returns exp(−iθσ/2).
func exponential(sigma matrix, theta float64) matrix {
	return one.scaled(complex(math.Cos(theta/2), 0)).plus(sigma.scaled(complex(0, -math.Sin(theta/2))))
}

// bellState returns the density matrix of the Bell state (I⊗XˣZᶻ)|Φ+⟩.
func bellState(x, z int) matrix {
	v := []complex128{1, 0, 0, 1}
	u := one
	if z == 1 {
		u = pauliZ.times(u)
	}
	if x == 1 {
		u = pauliX.times(u)
	}
	u = one.tensor(u)
	m := newMatrix(4)
	w := make([]complex128, 4)
	for i := range w {
		for j := range v {
			w[i] += u[i][j] * v[j]
		}
	}
	for i := range m {
		for j := range m {
			m[i][j] = w[i] * cmplx.Conj(w[j]) / 2
		}
	}
	return m
}

// aging is how one qubit decays: time constants in seconds (0: none) and a rate.
type aging struct{ t1, t2, depolarise float64 }

// dense is the joint state of the named qubits, the first most significant.
type dense struct {
	names []int
	ages  []aging
	rho   matrix
}

func newDense() *dense { return &dense{rho: matrix{{1}}} }

func (d *dense) add(rho matrix, a aging, names ...int) {
	d.rho = d.rho.tensor(rho)
	d.names = append(d.names, names...)
	for range names {
		d.ages = append(d.ages, a)
	}
}

func (d *dense) position(name int) int {
	for i, n := range d.names {
		if n == name {
			return i
		}
	}
	return -1
}

// on returns the operator that acts as m on the named qubits and not at all on
// the others.
func (d *dense) on(m matrix, names ...int) matrix {
	n := len(d.names)
	full := newMatrix(1 << n)
	shift := make([]int, len(names))
	mask := 0
	for i, name := range names {
		shift[i] = n - 1 - d.position(name)
		mask |= 1 << shift[i]
	}
	pick := func(index int) (sub int) {
		for _, s := range shift {
			sub = sub<<1 | index>>s&1
		}
		return sub
	}
	for i := range full {
		for j := range full {
			if i&^mask == j&^mask {
				full[i][j] = m[pick(i)][pick(j)]
			}
		}
	}
	return full
}

// kraus applies ρ → Σ KρK†.
func (d *dense) kraus(ks []matrix, names ...int) {
	sum := newMatrix(len(d.rho))
	for _, k := range ks {
		f := d.on(k, names...)
		sum = sum.plus(f.times(d.rho).times(f.dagger()))
	}
	d.rho = sum
}

func (d *dense) unitary(u matrix, names ...int) { d.kraus([]matrix{u}, names...) }

// age lets all qubits decay for s seconds.
func (d *dense) age(s float64) {
	for i, a := range d.ages {
		transverse := 1.0 // of coherences, by relaxation
		if a.t1 > 0 {
			g := 1 - math.Exp(-s/a.t1)
			d.kraus([]matrix{{{1, 0}, {0, complex(math.Sqrt(1-g), 0)}}, {{0, complex(math.Sqrt(g), 0)}, {0, 0}}}, d.names[i])
			transverse = math.Sqrt(1 - g)
		}
		if a.t2 > 0 {
			p := (1 - math.Exp(-s/a.t2)/transverse) / 2
			d.kraus([]matrix{one.scaled(complex(math.Sqrt(1-p), 0)), pauliZ.scaled(complex(math.Sqrt(p), 0))}, d.names[i])
		}
		if a.depolarise > 0 {
			d.mix(1-math.Exp(-s*a.depolarise), d.names[i])
		}
	}
}

// mix applies ρ → (1−q)ρ + q·I/2ⁿ⊗tr(ρ) to the named qubits, as a mixture of all
// Pauli operators.
func (d *dense) mix(q float64, names ...int) {
	paulis := []matrix{one, pauliX, pauliY, pauliZ}
	all := []matrix{{{1}}}
	for range names {
		var next []matrix
		for _, m := range all {
			for _, p := range paulis {
				next = append(next, m.tensor(p))
			}
		}
		all = next
	}
	ks := []matrix{all[0].scaled(complex(math.Sqrt(1-q), 0))}
	for _, m := range all {
		ks = append(ks, m.scaled(complex(math.Sqrt(q/float64(len(all))), 0)))
	}
	d.kraus(ks, names...)
}

// remove traces a qubit out.
func (d *dense) remove(name int) {
	pos := d.position(name)
	low := len(d.names) - 1 - pos
	m := newMatrix(len(d.rho) / 2)
	wide := func(i, bit int) int { return i>>low<<(low+1) | bit<<low | i&(1<<low-1) }
	for i := range m {
		for j := range m {
			m[i][j] = d.rho[wide(i, 0)][wide(j, 0)] + d.rho[wide(i, 1)][wide(j, 1)]
		}
	}
	d.rho = m
	d.names = append(append([]int(nil), d.names[:pos]...), d.names[pos+1:]...)
	d.ages = append(append([]aging(nil), d.ages[:pos]...), d.ages[pos+1:]...)
}

// project leaves the state after an outcome and returns its probability.
func (d *dense) project(m matrix, names ...int) float64 {
	d.kraus([]matrix{m}, names...)
	p := d.rho.trace()
	d.rho = d.rho.scaled(complex(1/p, 0))
	return p
}

var (
	cnot     = matrix{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 0, 1}, {0, 0, 1, 0}}
	cz       = matrix{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, -1}}
	hadamard = pauliX.plus(pauliZ).scaled(complex(1/math.Sqrt2, 0))
)

// bsm measures a and b by CNOT with depolarising q, H on a, and two read-outs
// that err with probability e, given that the bits z (of a) and x (of b) were
// reported; it returns their probability.
func (d *dense) bsm(a, b int, q, e float64, z, x int) float64 {
	d.unitary(cnot, a, b)
	d.mix(q, a, b)
	d.unitary(hadamard, a)
	var ks []matrix
	for za := range 2 {
		for xb := range 2 {
			w := math.Sqrt(right(e, za == z) * right(e, xb == x))
			ks = append(ks, projector(0, 0, za).tensor(projector(0, 0, xb)).scaled(complex(w, 0)))
		}
	}
	d.kraus(ks, a, b)
	p := d.rho.trace()
	d.rho = d.rho.scaled(complex(1/p, 0))
	d.remove(a)
	d.remove(b)
	return p
}

// right returns the probability of a read-out that is correct, or not.
func right(e float64, correct bool) float64 {
	if correct {
		return 1 - e
	}
	return e
}
