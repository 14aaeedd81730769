// Package densetest is a slow reference for states of qubits: one density matrix
// of the whole world, operators written out as Kronecker products over all
// qubits, memory decay as the exponential of its Lindblad generator. It is
// written from the formulas and shares nothing with the engines.
package densetest

import (
	"math"
	"math/cmplx"

	"qstack/physical"
	"qstack/qnet"
)

// Matrix is a matrix by rows.
type Matrix [][]complex128

// Zeros returns a matrix of zeros.
func Zeros(rows, cols int) Matrix {
	m := make(Matrix, rows)
	for i := range m {
		m[i] = make([]complex128, cols)
	}
	return m
}

// Square returns the square matrix with the given elements, row by row.
func Square(flat []complex128) Matrix {
	n := int(math.Sqrt(float64(len(flat))))
	m := make(Matrix, n)
	for i := range m {
		m[i] = flat[i*n : (i+1)*n]
	}
	return m
}

// Mul returns a·b.
func (a Matrix) Mul(b Matrix) Matrix {
	c := Zeros(len(a), len(b[0]))
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

func (a Matrix) dagger() Matrix {
	c := Zeros(len(a[0]), len(a))
	for i := range a {
		for j, x := range a[i] {
			c[j][i] = cmplx.Conj(x)
		}
	}
	return c
}

// Plus returns a + f·b.
func (a Matrix) Plus(f complex128, b Matrix) Matrix {
	c := Zeros(len(a), len(a[0]))
	for i := range a {
		for j := range a[i] {
			c[i][j] = a[i][j] + f*b[i][j]
		}
	}
	return c
}

// Times returns f·a.
func (a Matrix) Times(f complex128) Matrix { return Zeros(len(a), len(a[0])).Plus(f, a) }

// Kron returns a⊗b.
func (a Matrix) Kron(b Matrix) Matrix {
	c := Zeros(len(a)*len(b), len(a[0])*len(b[0]))
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

// Trace returns the sum of the diagonal.
func (a Matrix) Trace() (t complex128) {
	for i := range a {
		t += a[i][i]
	}
	return t
}

// sandwich returns l·a·r†.
func (a Matrix) sandwich(l, r Matrix) Matrix { return r.Mul(l.Mul(a).dagger()).dagger() }

// exp returns e^a by scaling to a norm of at most ¼, a Taylor series, which leaves
// out less than 1e-17 of it then, and squaring. It is e^a − 1 that is squared, so
// that the small elements of a are not lost beside the large ones.
func (a Matrix) exp() Matrix {
	var norm float64 // the largest sum of a row
	for _, row := range a {
		var sum float64
		for _, x := range row {
			sum += cmplx.Abs(x)
		}
		norm = max(norm, sum)
	}
	squarings := 0
	for ; norm > 0.25; norm /= 2 {
		squarings++
	}
	small := a.Times(complex(math.Ldexp(1, -squarings), 0))
	rest, term := small, small
	for k := 2; k <= 12; k++ {
		term = term.Mul(small).Times(complex(1/float64(k), 0))
		rest = rest.Plus(1, term)
	}
	for range squarings {
		rest = rest.Times(2).Plus(1, rest.Mul(rest))
	}
	for i := range rest {
		rest[i][i]++
	}
	return rest
}

var (
	mI = Matrix{{1, 0}, {0, 1}}
	mX = Matrix{{0, 1}, {1, 0}}
	mY = Matrix{{0, -1i}, {1i, 0}}
	mZ = Matrix{{1, 0}, {0, -1}}
	mH = mX.Plus(1, mZ).Times(complex(1/math.Sqrt2, 0))

	paulis = []Matrix{mI, mX, mY, mZ}
	ket    = []Matrix{{{1}, {0}}, {{0}, {1}}}
)

// Mixed is the state of a qubit of which nothing is known, I/2.
var Mixed = mI.Times(0.5)

// Unit returns |a⟩⟨b|.
func Unit(a, b int) Matrix { return ket[a].Mul(ket[b].dagger()) }

// rotation returns exp(−iθP/2) = cos(θ/2) − i sin(θ/2) P.
func rotation(p Matrix, theta float64) Matrix {
	return mI.Times(complex(math.Cos(theta/2), 0)).Plus(complex(0, -math.Sin(theta/2)), p)
}

// phase returns diag(1, e^{iφ}).
func phase(phi float64) Matrix { return Unit(0, 0).Plus(cmplx.Exp(complex(0, phi)), Unit(1, 1)) }

func gate(g physical.Gate, theta float64) Matrix {
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

// Bell returns the density matrix of (I⊗XˣZᶻ)|Φ+⟩.
func Bell(l qnet.BellLabel) Matrix {
	v := ket[0].Kron(ket[0]).Plus(1, ket[1].Kron(ket[1])).Times(complex(1/math.Sqrt2, 0))
	if l.Z() {
		v = mI.Kron(mZ).Mul(v)
	}
	if l.X() {
		v = mI.Kron(mX).Mul(v)
	}
	return v.Mul(v.dagger())
}

// Projector returns the projector of an outcome of a measurement.
func Projector(b qnet.Basis, bit uint8) Matrix {
	x, y, z := math.Sin(b.Theta)*math.Cos(b.Phi), math.Sin(b.Theta)*math.Sin(b.Phi), math.Cos(b.Theta)
	n := mX.Times(complex(x, 0)).Plus(complex(y, 0), mY).Plus(complex(z, 0), mZ)
	return mI.Plus(complex(1-2*float64(bit), 0), n).Times(0.5)
}

// Decay is how one qubit decays: time constants of relaxation and of coherences,
// in seconds (0: none), a rate of depolarising, in 1/s, and the exponent of
// stretched dephasing (0: 1).
type Decay struct{ T1, T2, Depolarise, Stretch float64 }

// superoperator returns what d does in dt seconds to a qubit of the given age:
// element [2a+b][2c+d] is the weight of |c⟩⟨d| in |a⟩⟨b|. The generator is
// γ₁·D[|0⟩⟨1|] + (γφ/2)·D[Z] + r·(tr(ρ)·I/2 − ρ), with D[L]ρ = LρL† − {L†L,ρ}/2,
// γ₁ = 1/T1 and γφ = 1/T2 − 1/(2·T1). Stretched, γφ = n·tⁿ⁻¹/T2ⁿ at the age t,
// of which the mean over dt counts, since the terms commute.
func (d Decay) superoperator(age, dt float64) Matrix {
	var gamma1, gammaPhi float64
	if d.T1 > 0 {
		gamma1 = 1 / d.T1
	}
	if n := d.Stretch; d.T2 > 0 && n != 0 && n != 1 {
		gammaPhi = (math.Pow((age+dt)/d.T2, n) - math.Pow(age/d.T2, n)) / dt
	} else if d.T2 > 0 {
		gammaPhi = max(0, 1/d.T2-gamma1/2)
	}
	gen := Zeros(4, 4)
	for a := range 2 {
		for b := range 2 {
			rho := Unit(a, b)
			out := Zeros(2, 2)
			for _, l := range []struct {
				rate float64
				op   Matrix
			}{{gamma1, Unit(0, 1)}, {gammaPhi / 2, mZ}} {
				n := l.op.dagger().Mul(l.op)
				out = out.Plus(complex(l.rate, 0), rho.sandwich(l.op, l.op).Plus(-0.5, n.Mul(rho).Plus(1, rho.Mul(n))))
			}
			out = out.Plus(complex(d.Depolarise, 0), mI.Times(rho.Trace()/2).Plus(-1, rho))
			for i := range 2 {
				for j := range 2 {
					gen[2*i+j][2*a+b] = out[i][j] * complex(dt, 0)
				}
			}
		}
	}
	return gen.exp()
}

// CheckState fails the test unless a is a density matrix: Hermitian, of trace 1
// and positive, within the tolerance.
func (a Matrix) CheckState(t TB, tolerance float64) {
	t.Helper()
	if d := cmplx.Abs(a.Trace() - 1); !(d < tolerance) {
		t.Fatalf("trace is off by %g", d)
	}
	for i := range a {
		for j := range a {
			if d := cmplx.Abs(a[i][j] - cmplx.Conj(a[j][i])); !(d < tolerance) {
				t.Fatalf("not Hermitian at %d,%d by %g", i, j, d)
			}
		}
	}
	// a + ε has a Cholesky decomposition if no eigenvalue is below −ε.
	l := Zeros(len(a), len(a))
	for i := range a {
		for j := range i + 1 {
			x := a[i][j]
			if i == j {
				x += complex(10*tolerance, 0)
			}
			for k := range j {
				x -= l[i][k] * cmplx.Conj(l[j][k])
			}
			if i != j {
				l[i][j] = x / l[j][j]
				continue
			}
			if !(real(x) > 0) {
				t.Fatalf("not positive: pivot %d is %g\n%.4f", i, x, a)
			}
			l[i][i] = complex(math.Sqrt(real(x)), 0)
		}
	}
}

// TB is the part of testing.TB that rapid.T has too.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Compare fails the test unless all elements agree within the tolerance.
func Compare(t TB, tolerance float64, what string, got, want Matrix) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
	}
	for i := range want {
		for j := range want[i] {
			if d := cmplx.Abs(got[i][j] - want[i][j]); !(d < tolerance) {
				t.Fatalf("%s: element %d,%d is %.12g, want %.12g (off by %.1g)\ngot  %.4f\nwant %.4f", what, i, j, got[i][j], want[i][j], d, got, want)
			}
		}
	}
}
