package state_test

import (
	"flag"
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/physical/state/densetest"
	"qstack/qnet"
)

var gates = []physical.Gate{physical.GateX, physical.GateY, physical.GateZ, physical.GateH, physical.GateS, physical.GateSdg,
	physical.GateT, physical.GateTdg, physical.GateRX, physical.GateRY, physical.GateRZ}

// circuit runs random operations on a world and on the reference.
type circuit struct {
	t      tb
	choose func(what string, n int) int // 0 … n−1
	limit  int                          // of qubits
	rng    *rand.Rand
	w      state.World
	ref    *reference
	now    qnet.Time
	err    float64 // bound of the rounding errors, which grow by unlikely outcomes
	// drawn, if not nil, is told of outcomes that could be drawn: their
	// probability given all before, and whether they happened.
	drawn func(kind string, p float64, happened bool)
}

func (c *circuit) fraction(what string) float64 { return float64(c.choose(what, 101)) / 100 }
func (c *circuit) angle(what string) float64    { return (c.fraction(what) - 0.5) * 4 * math.Pi }
func (c *circuit) qubit(what string) state.ID   { return c.ref.Qubits[c.choose(what, len(c.ref.Qubits))] }

func (c *circuit) decay(what string) state.Decay {
	return decays[c.choose(what, len(decays))]
}

// unused returns the lowest ID that no qubit has, from the given one on.
func (c *circuit) unused(from state.ID) state.ID {
	for slices.Contains(c.ref.Qubits, from) {
		from++
	}
	return from
}

// two returns two different qubits.
func (c *circuit) two() (a, b state.ID) {
	i := c.choose("first", len(c.ref.Qubits))
	j := c.choose("second", len(c.ref.Qubits)-1)
	if j >= i {
		j++
	}
	return c.ref.Qubits[i], c.ref.Qubits[j]
}

func (c *circuit) basis() qnet.Basis {
	if k := c.choose("basis", 4); k < 3 {
		return []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}[k]
	}
	return qnet.Basis{Theta: c.angle("theta"), Phi: c.angle("phi")}
}

func (c *circuit) step() {
	c.err += 1e-12
	n := len(c.ref.Qubits)
	switch op := c.choose("op", 24); {
	case op < 2:
		dt := qnet.Time(c.fraction("seconds") * float64(second))
		c.now += dt
		c.ref.Wait(dt.Seconds())
	case op < 3 && n < c.limit:
		q := c.unused(0)
		d := c.decay("decay")
		c.w.Zero(q, c.now, d)
		c.ref.Zero(q, densetest.Decay(d))
	case op < 6 && n+2 <= c.limit:
		a := c.unused(0)
		b := c.unused(a + 1)
		da, db := c.decay("decay a"), c.decay("decay b")
		var weights [4]float64
		var sum float64
		for l := range weights {
			weights[l] = c.fraction("weight") + 0.001
			sum += weights[l]
		}
		for l := range weights {
			weights[l] /= sum
		}
		c.w.Pair(a, b, c.now, da, db, weights)
		c.ref.Pair(a, b, densetest.Decay(da), densetest.Decay(db), weights)
	case op < 9 && n > 0:
		q := c.qubit("qubit")
		g := gates[c.choose("gate", len(gates))]
		theta := c.angle("angle")
		check(c.t, c.w.Gate1(q, c.now, g, theta))
		c.ref.Gate1(q, g, theta)
	case op < 11 && n > 1:
		a, b := c.two()
		g := []physical.Gate{physical.GateCNOT, physical.GateCZ}[c.choose("gate", 2)]
		depol := c.fraction("depolarising") * float64(c.choose("noisy", 2))
		check(c.t, c.w.Gate2(a, b, c.now, g, depol))
		c.ref.Gate2(a, b, g, depol)
	case op < 13 && n > 0:
		q := c.qubit("qubit")
		b := c.basis()
		bit, err := c.w.Measure(q, c.now, b, c.rng)
		check(c.t, err)
		if c.drawn != nil {
			c.drawn("measurement", c.ref.Clone().Measure(q, b, 1), bit == 1)
		}
		c.possible(c.ref.Measure(q, b, bit))
	case op < 15 && n > 1:
		a, b := c.two()
		depol, readout := c.fraction("depolarising"), c.fraction("read-out error")
		if c.choose("noisy", 2) == 0 {
			depol, readout = 0, 0
		}
		o, err := c.w.BSM(a, b, c.now, depol, readout, c.rng)
		check(c.t, err)
		if !o.Valid() {
			c.t.Fatalf("Bell measurement gave %v", o)
		}
		if c.drawn != nil {
			l := qnet.BellLabel(c.choose("label", 4))
			c.drawn(l.String(), c.ref.Clone().BSM(a, b, depol, readout, l), o == l)
		}
		c.possible(c.ref.BSM(a, b, depol, readout, o))
	case op < 17 && n > 0:
		c.noise()
	case op < 19 && n > 0:
		c.channel()
	case op < 20 && n+2 <= c.limit:
		a := c.unused(0)
		b := c.unused(a + 1)
		da, db := c.decay("decay a"), c.decay("decay b")
		v := c.isometry(16, 1) // its halves: two qubits, and what they are entangled with
		var rho [16]complex128
		for i := range rho {
			for k := range 4 {
				rho[i] += v[i/4*4+k][0] * cmplx.Conj(v[i%4*4+k][0])
			}
		}
		c.w.Entangle(a, b, c.now, da, db, &rho)
		c.ref.Entangle(a, b, densetest.Decay(da), densetest.Decay(db), densetest.Square(rho[:]))
	case op < 21 && n > 0:
		q, b, r := c.qubit("qubit"), c.basis(), c.readout()
		bit, err := c.w.MeasureNoisy(q, c.now, b, r, c.rng)
		check(c.t, err)
		if c.drawn != nil {
			c.drawn("read-out", c.ref.Clone().Read(q, b, densetest.Errors{r.Flip0, r.Flip1}, 1), bit == 1)
		}
		c.possible(c.ref.Read(q, b, densetest.Errors{r.Flip0, r.Flip1}, int(bit)))
	case op < 23 && n > 1:
		a, b := c.two()
		m := c.imperfection()
		o, err := c.w.BellMeasure(a, b, c.now, &m, c.rng)
		check(c.t, err)
		if c.drawn != nil {
			l := qnet.BellLabel(c.choose("label", 4))
			c.drawn(l.String(), bellMeasure(c.ref.Clone(), a, b, &m, l), o == l)
		}
		c.possible(bellMeasure(c.ref, a, b, &m, o))
	case n > 0:
		q := c.qubit("qubit")
		c.w.Free(q, c.now)
		c.ref.Free(q)
	}
	if c.w.Count() != len(c.ref.Qubits) {
		c.t.Fatalf("%d qubits, want %d", c.w.Count(), len(c.ref.Qubits))
	}
}

func (c *circuit) readout() state.Readout {
	return state.Readout{Flip0: c.fraction("P(1|0)"), Flip1: c.fraction("P(0|1)")}
}

func (c *circuit) imperfection() (m state.Imperfection) {
	for _, n := range []*state.Noise{&m.Gate1, &m.Gate2} {
		if c.choose("noisy gate", 2) == 1 {
			*n = state.Noise{Depolarise: c.fraction("depolarising"), Dephase: c.fraction("dephasing")}
		}
	}
	for _, r := range []*state.Readout{&m.ReadoutA, &m.ReadoutB} {
		if c.choose("noisy read-out", 2) == 1 {
			*r = c.readout()
		}
	}
	return m
}

func bellMeasure(ref *reference, a, b state.ID, m *state.Imperfection, o qnet.BellLabel) float64 {
	return ref.BellMeasure(a, b, densetest.Noise(m.Gate1), densetest.Noise(m.Gate2),
		densetest.Errors{m.ReadoutA.Flip0, m.ReadoutA.Flip1}, densetest.Errors{m.ReadoutB.Flip0, m.ReadoutB.Flip1}, o)
}

// noise applies noise that has a name.
func (c *circuit) noise() {
	q, p := c.qubit("qubit"), c.fraction("probability")
	switch c.choose("noise", 5) {
	case 0:
		check(c.t, c.w.Depolarise(q, c.now, p))
		c.ref.Depolarise(p, q)
	case 1:
		check(c.t, c.w.Dephase(q, c.now, p))
		c.ref.Pauli(q, 0, 0, p)
	case 2:
		py := (1 - p) * c.fraction("of the rest")
		pz := (1 - p - py) * c.fraction("of the rest")
		check(c.t, c.w.Pauli(q, c.now, p, py, pz))
		c.ref.Pauli(q, p, py, pz)
	case 3:
		check(c.t, c.w.DampAmplitude(q, c.now, p))
		c.ref.Kraus([]matrix{{{1, 0}, {0, complex(math.Sqrt(1-p), 0)}}, {{0, complex(math.Sqrt(p), 0)}, {0, 0}}}, q)
	case 4:
		if len(c.ref.Qubits) > 1 {
			a, b := c.two()
			check(c.t, c.w.Depolarise2(a, b, c.now, p))
			c.ref.Depolarise(p, a, b)
		}
	}
}

// channel applies a random unitary or channel.
func (c *circuit) channel() {
	kraus := 1 + c.choose("operators", 2)
	if c.choose("qubits", 2) == 0 || len(c.ref.Qubits) < 2 {
		q := c.qubit("qubit")
		v := c.isometry(2*kraus, 2)
		var ks [][4]complex128
		var ref []matrix
		for i := range kraus {
			k := v[2*i : 2*i+2]
			ref = append(ref, k)
			ks = append(ks, [4]complex128(slices.Concat(k...)))
		}
		if kraus == 1 {
			check(c.t, c.w.Unitary1(q, c.now, ks[0]))
		} else {
			check(c.t, c.w.Kraus1(q, c.now, ks...))
		}
		c.ref.Kraus(ref, q)
		return
	}
	a, b := c.two()
	v := c.isometry(4*kraus, 4)
	var ks [][16]complex128
	var ref []matrix
	for i := range kraus {
		k := v[4*i : 4*i+4]
		ref = append(ref, k)
		ks = append(ks, [16]complex128(slices.Concat(k...)))
	}
	if kraus == 1 {
		check(c.t, c.w.Unitary2(a, b, c.now, &ks[0]))
	} else {
		check(c.t, c.w.Kraus2(a, b, c.now, ks...))
	}
	c.ref.Kraus(ref, a, b)
}

// isometry returns a random matrix with orthonormal columns.
func (c *circuit) isometry(rows, cols int) matrix {
	rng := qnet.NewRand(uint64(c.choose("isometry", 1<<16)), "isometry")
	m := densetest.Zeros(rows, cols)
	for j := range cols {
		for i := range rows {
			m[i][j] = complex(rng.NormFloat64(), rng.NormFloat64())
		}
		for range 2 { // Gram and Schmidt, twice for precision
			for k := range j {
				var overlap complex128
				for i := range rows {
					overlap += cmplx.Conj(m[i][k]) * m[i][j]
				}
				for i := range rows {
					m[i][j] -= overlap * m[i][k]
				}
			}
			var norm float64
			for i := range rows {
				norm += real(m[i][j])*real(m[i][j]) + imag(m[i][j])*imag(m[i][j])
			}
			for i := range rows {
				m[i][j] /= complex(math.Sqrt(norm), 0)
			}
		}
	}
	return m
}

// possible checks the probability of an outcome that came up, which all that
// follows is divided by.
func (c *circuit) possible(p float64) {
	if p < 1e-12 {
		c.t.Fatalf("an outcome of probability %g came up", p)
	}
	c.err /= p
}

// compare compares the joint state of all qubits, in a random order, and of one.
func (c *circuit) compare() {
	qs := slices.Clone(c.ref.Qubits)
	if len(qs) == 0 {
		return
	}
	for i := range qs {
		j := i + c.choose("order", len(qs)-i)
		qs[i], qs[j] = qs[j], qs[i]
	}
	got := density(c.t, &c.w, c.now, qs...)
	wantState(c.t, got)
	densetest.Compare(c.t, c.err, fmt.Sprint("qubits ", qs), got, c.ref.Density(qs...))
	densetest.Compare(c.t, c.err, fmt.Sprint("qubit ", qs[0]), density(c.t, &c.w, c.now, qs[0]), c.ref.Density(qs[0]))
	if len(qs) > 1 {
		l := qnet.BellLabel(c.choose("label", 4))
		f, err := c.w.BellFidelity(c.now, qs[0], qs[1], l)
		check(c.t, err)
		want := real(densetest.Bell(l).Mul(c.ref.Density(qs[0], qs[1])).Trace())
		if !(math.Abs(f-want) < c.err) {
			c.t.Fatalf("fidelity of qubits %d and %d to %v is %.12g, want %.12g", qs[0], qs[1], l, f, want)
		}
		var psi []complex128
		for _, row := range c.isometry(4, 1) {
			psi = append(psi, row[0])
		}
		f, err = c.w.Fidelity(c.now, psi, qs[:2]...)
		check(c.t, err)
		if want := c.ref.Fidelity(psi, qs[:2]...); !(math.Abs(f-want) < c.err) {
			c.t.Fatalf("fidelity of qubits %d and %d to %v is %.12g, want %.12g", qs[0], qs[1], psi, f, want)
		}
	}
}

// finish frees everything.
func (c *circuit) finish() {
	for _, q := range c.ref.Qubits {
		c.w.Free(q, c.now)
		if c.w.Has(q) {
			c.t.Fatalf("qubit %d exists after Free", q)
		}
	}
	if c.w.Count() != 0 {
		c.t.Fatalf("%d qubits left after all were freed", c.w.Count())
	}
}

// setChecks sets the number of rapid's cases for one test.
func setChecks(t *testing.T, n int) {
	if testing.Short() {
		return
	}
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return // asked for on the command line
	}
	if err := f.Value.Set(fmt.Sprint(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Value.Set(f.DefValue) })
}

func TestRandomCircuits(t *testing.T) {
	setChecks(t, 2000)
	rapid.Check(t, func(rt *rapid.T) {
		c := &circuit{
			t:      rt,
			choose: func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, what) },
			limit:  rapid.IntRange(2, 4).Draw(rt, "limit"),
			rng:    qnet.NewRand(rapid.Uint64().Draw(rt, "seed"), "circuit"),
			ref:    densetest.New[state.ID](),
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			c.step()
			c.compare()
		}
		c.finish()
	})
}

// seeded returns a circuit that is drawn from a fixed seed.
func seeded(t *testing.T, seed uint64, limit int) *circuit {
	draw := qnet.NewRand(seed, "operations")
	return &circuit{
		t:      t,
		choose: func(_ string, n int) int { return draw.IntN(n) },
		limit:  limit,
		rng:    qnet.NewRand(seed, "outcomes"),
		ref:    densetest.New[state.ID](),
	}
}

func TestLargerCircuits(t *testing.T) {
	for seed := range uint64(10) {
		c := seeded(t, seed, 6)
		for range 60 {
			c.step()
		}
		c.compare()
		c.finish()
	}
}

// Each outcome is drawn with the probability that the reference gives it. The
// sum of (happened − p), over all outcomes of all circuits, is a martingale;
// over its standard deviation it is normal, and beyond ±5.5 with probability
// 3.8e-8.
func TestOutcomeProbabilities(t *testing.T) {
	type tally struct {
		n                   int
		deviation, variance float64
	}
	tallies := map[string]*tally{}
	for seed := range uint64(700) {
		c := seeded(t, 1000+seed, 3)
		c.drawn = func(kind string, p float64, happened bool) {
			s := tallies[kind]
			if s == nil {
				s = new(tally)
				tallies[kind] = s
			}
			s.n++
			s.variance += p * (1 - p)
			s.deviation -= p
			if happened {
				s.deviation++
			}
		}
		for range 40 {
			c.step()
		}
		c.finish()
	}
	for _, kind := range []string{"measurement", "read-out", "Φ+", "Φ−", "Ψ+", "Ψ−"} {
		s := tallies[kind]
		z := s.deviation / math.Sqrt(s.variance)
		t.Logf("%s: %d outcomes, z = %.2f", kind, s.n, z)
		if math.Abs(z) > 5.5 || s.n < 400 {
			t.Errorf("%s: %d outcomes deviate by %.2f standard deviations", kind, s.n, z)
		}
	}
}

// Operations on different qubits commute, of whatever cluster they are.
func TestCommutation(t *testing.T) {
	m := state.Noise{Depolarise: 0.1}
	operations := []func(w *state.World, q state.ID) error{
		func(w *state.World, q state.ID) error { return w.Gate1(q, second, physical.GateH, 0) },
		func(w *state.World, q state.ID) error { return w.Gate1(q, second, physical.GateRX, 0.4) },
		func(w *state.World, q state.ID) error { return w.Gate1(q, second, physical.GateY, 0) },
		func(w *state.World, q state.ID) error { return w.Depolarise(q, second, m.Depolarise) },
		func(w *state.World, q state.ID) error { return w.DampAmplitude(q, second, 0.3) },
		func(w *state.World, q state.ID) error { return w.Gate2(q, q+4, second, physical.GateCNOT, 0.1) },
		func(w *state.World, q state.ID) error { w.Free(q, second); w.Zero(q, second, perfect); return nil },
	}
	for _, d := range decays {
		for i, f := range operations {
			for j, g := range operations {
				var ab, ba state.World
				for _, w := range []*state.World{&ab, &ba} {
					w.Pair(0, 1, 0, d, perfect, [4]float64{0.7, 0.2, 0.1, 0})
					w.Pair(2, 4, 0, d, d, [4]float64{0.1, 0.2, 0.1, 0.6})
					w.Zero(5, 0, d)
				}
				check(t, f(&ab, 0))
				check(t, g(&ab, 1))
				check(t, g(&ba, 1))
				check(t, f(&ba, 0))
				wantDensity(t, fmt.Sprint(d, i, j), density(t, &ab, second, 0, 1, 2, 4, 5), density(t, &ba, second, 0, 1, 2, 4, 5))
			}
		}
	}
}
