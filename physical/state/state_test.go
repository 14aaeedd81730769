package state_test

import (
	"flag"
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

const tolerance = 1e-10

const second = qnet.Time(1e9)

var perfect = state.Decay{}

// tb is the part of testing.TB that rapid.T has too.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

func check(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

func density(t tb, w *state.World, at qnet.Time, qs ...state.ID) matrix {
	t.Helper()
	flat, err := w.Density(at, qs...)
	check(t, err)
	n := 1 << len(qs)
	if len(flat) != n*n {
		t.Fatalf("density matrix of %d qubits has %d elements", len(qs), len(flat))
	}
	m := make(matrix, n)
	for i := range m {
		m[i] = flat[i*n : (i+1)*n]
	}
	return m
}

func wantDensity(t tb, what string, got, want matrix) {
	t.Helper()
	wantWithin(t, tolerance, what, got, want)
}

func wantWithin(t tb, tolerance float64, what string, got, want matrix) {
	t.Helper()
	for i := range want {
		for j := range want[i] {
			if d := cmplx.Abs(got[i][j] - want[i][j]); !(d < tolerance) {
				t.Fatalf("%s: element %d,%d is %.12g, want %.12g (off by %.1g)\ngot  %.4f\nwant %.4f", what, i, j, got[i][j], want[i][j], d, got, want)
			}
		}
	}
}

// wantState checks that m is a density matrix: Hermitian, trace 1, positive.
func wantState(t tb, m matrix) {
	t.Helper()
	if d := cmplx.Abs(m.trace() - 1); !(d < tolerance) {
		t.Fatalf("trace is off by %g", d)
	}
	for i := range m {
		for j := range m {
			if d := cmplx.Abs(m[i][j] - cmplx.Conj(m[j][i])); !(d < tolerance) {
				t.Fatalf("not Hermitian at %d,%d by %g", i, j, d)
			}
		}
	}
	// m + ε has a Cholesky decomposition if no eigenvalue is below −ε.
	l := zeros(len(m), len(m))
	for i := range m {
		for j := range i + 1 {
			x := m[i][j]
			if i == j {
				x += 1e-9
			}
			for k := range j {
				x -= l[i][k] * cmplx.Conj(l[j][k])
			}
			if i != j {
				l[i][j] = x / l[j][j]
				continue
			}
			if real(x) <= 0 {
				t.Fatalf("not positive: pivot %d is %g\n%.4f", i, x, m)
			}
			l[i][i] = complex(math.Sqrt(real(x)), 0)
		}
	}
}

func wantClose(t tb, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) < tolerance) {
		t.Fatalf("%s is %.12g, want %.12g", what, got, want)
	}
}

var decays = []state.Decay{
	{},
	{T2: 0.7},
	{Depolarise: 1.1},
	{T2: 2, Depolarise: 0.3},
	{T1: 1.5},
	{T1: 1, T2: 1.2},
	{T1: 2, T2: 4, Depolarise: 0.8},
}

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
func (c *circuit) qubit(what string) state.ID   { return c.ref.ids[c.choose(what, len(c.ref.ids))] }
func (c *circuit) decay(what string) state.Decay {
	return decays[c.choose(what, len(decays))]
}

// unused returns the lowest ID that no qubit has, from the given one on.
func (c *circuit) unused(from state.ID) state.ID {
	for c.ref.index(from) >= 0 {
		from++
	}
	return from
}

// two returns two different qubits.
func (c *circuit) two() (a, b state.ID) {
	i := c.choose("first", len(c.ref.ids))
	j := c.choose("second", len(c.ref.ids)-1)
	if j >= i {
		j++
	}
	return c.ref.ids[i], c.ref.ids[j]
}

func (c *circuit) basis() qnet.Basis {
	if k := c.choose("basis", 4); k < 3 {
		return []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}[k]
	}
	return qnet.Basis{Theta: c.angle("theta"), Phi: c.angle("phi")}
}

func (c *circuit) step() {
	c.err += 1e-12
	n := len(c.ref.ids)
	switch op := c.choose("op", 16); {
	case op < 2:
		dt := qnet.Time(c.fraction("seconds") * float64(second))
		c.now += dt
		c.ref.wait(dt.Seconds())
	case op < 3 && n < c.limit:
		q := c.unused(0)
		d := c.decay("decay")
		c.w.Zero(q, c.now, d)
		c.ref.add(unit(0, 0), []state.Decay{d}, q)
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
		c.ref.pair(a, b, da, db, weights)
	case op < 9 && n > 0:
		q := c.qubit("qubit")
		g := gates[c.choose("gate", len(gates))]
		theta := c.angle("angle")
		check(c.t, c.w.Gate1(q, c.now, g, theta))
		c.ref.gate1(q, g, theta)
	case op < 11 && n > 1:
		a, b := c.two()
		g := []physical.Gate{physical.GateCNOT, physical.GateCZ}[c.choose("gate", 2)]
		depol := c.fraction("depolarising") * float64(c.choose("noisy", 2))
		check(c.t, c.w.Gate2(a, b, c.now, g, depol))
		c.ref.gate2(a, b, g, depol)
	case op < 13 && n > 0:
		q := c.qubit("qubit")
		b := c.basis()
		bit, err := c.w.Measure(q, c.now, b, c.rng)
		check(c.t, err)
		if c.drawn != nil {
			c.drawn("measurement", c.ref.probability(q, b, 1), bit == 1)
		}
		c.possible(c.ref.measure(q, b, bit))
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
			c.drawn(l.String(), c.ref.clone().bsm(a, b, depol, readout, l), o == l)
		}
		c.possible(c.ref.bsm(a, b, depol, readout, o))
	case n > 0:
		q := c.qubit("qubit")
		c.w.Free(q, c.now)
		c.ref.free(q)
	}
	if c.w.Count() != len(c.ref.ids) {
		c.t.Fatalf("%d qubits, want %d", c.w.Count(), len(c.ref.ids))
	}
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
	qs := slices.Clone(c.ref.ids)
	if len(qs) == 0 {
		return
	}
	for i := range qs {
		j := i + c.choose("order", len(qs)-i)
		qs[i], qs[j] = qs[j], qs[i]
	}
	got := density(c.t, &c.w, c.now, qs...)
	wantState(c.t, got)
	wantWithin(c.t, c.err, fmt.Sprint("qubits ", qs), got, c.ref.density(qs...))
	wantWithin(c.t, c.err, fmt.Sprint("qubit ", qs[0]), density(c.t, &c.w, c.now, qs[0]), c.ref.density(qs[0]))
	if len(qs) > 1 {
		l := qnet.BellLabel(c.choose("label", 4))
		f, err := c.w.BellFidelity(c.now, qs[0], qs[1], l)
		check(c.t, err)
		want := real(bellState(l).mul(c.ref.density(qs[0], qs[1])).trace())
		if !(math.Abs(f-want) < c.err) {
			c.t.Fatalf("fidelity of qubits %d and %d to %v is %.12g, want %.12g", qs[0], qs[1], l, f, want)
		}
	}
}

// finish frees everything.
func (c *circuit) finish() {
	for _, q := range c.ref.ids {
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
			limit:  4,
			rng:    qnet.NewRand(rapid.Uint64().Draw(rt, "seed"), "circuit"),
			ref:    newReference(),
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
		ref:    newReference(),
	}
}

func TestLargerCircuits(t *testing.T) {
	for seed := range uint64(15) {
		c := seeded(t, seed, 7)
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
		c := seeded(t, 1000+seed, 4)
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
	for _, kind := range []string{"measurement", "Φ+", "Φ−", "Ψ+", "Ψ−"} {
		s := tallies[kind]
		z := s.deviation / math.Sqrt(s.variance)
		t.Logf("%s: %d outcomes, z = %.2f", kind, s.n, z)
		if math.Abs(z) > 5.5 || s.n < 400 {
			t.Errorf("%s: %d outcomes deviate by %.2f standard deviations", kind, s.n, z)
		}
	}
}

func pure(l qnet.BellLabel) (w [4]float64) {
	w[l] = 1
	return w
}

// dense makes the world hold the clusters of some qubits by density matrices,
// by a gate that does nothing to them.
func dense(t tb, w *state.World, at qnet.Time, qs ...state.ID) {
	t.Helper()
	for _, q := range qs {
		check(t, w.Gate1(q, at, physical.GateRZ, 0))
	}
}

func TestSwapAlgebra(t *testing.T) {
	rng := qnet.NewRand(1, "swap")
	for _, promote := range []string{"", "left", "right", "both"} {
		for halves := range 4 {
			seen := map[[3]qnet.BellLabel]bool{}
			for l := range qnet.BellLabel(4) {
				for r := range qnet.BellLabel(4) {
					// One of four outcomes is missing after 100 tries with
					// probability 4·(3/4)^100 = 1.3e-12.
					for range 100 {
						var w state.World
						w.Pair(0, 1, 0, perfect, perfect, pure(l))
						w.Pair(2, 3, 0, perfect, perfect, pure(r))
						if promote == "left" || promote == "both" {
							dense(t, &w, 0, 0)
						}
						if promote == "right" || promote == "both" {
							dense(t, &w, 0, 2)
						}
						x, a := state.ID(0), state.ID(1)
						b, y := state.ID(2), state.ID(3)
						if halves&1 != 0 {
							x, a = a, x
						}
						if halves&2 != 0 {
							b, y = y, b
						}
						o, err := w.BSM(a, b, 0, 0, 0, rng)
						check(t, err)
						wantDensity(t, fmt.Sprintf("swap of %v and %v with outcome %v (%s)", l, r, o, promote),
							density(t, &w, 0, x, y), bellState(l.Swap(r, o)))
						if w.Has(a) || w.Has(b) || w.Count() != 2 {
							t.Fatalf("the measured qubits were not freed: %d left", w.Count())
						}
						seen[[3]qnet.BellLabel{l, r, o}] = true
					}
				}
			}
			if len(seen) != 64 {
				t.Errorf("%d of 64 cases came up", len(seen))
			}
		}
	}
}

func TestTeleportAlgebra(t *testing.T) {
	rng := qnet.NewRand(2, "teleport")
	// the six cardinal states and one without symmetry, as rotations of |0⟩
	type rotation struct{ y, z float64 }
	inputs := []rotation{{0, 0}, {math.Pi, 0}, {math.Pi / 2, 0}, {math.Pi / 2, math.Pi}, {math.Pi / 2, math.Pi / 2}, {math.Pi / 2, -math.Pi / 2}, {1.1, 0.4}}
	ways := map[string]func(t *testing.T, w *state.World) qnet.BellLabel{
		"Bloch vector": func(t *testing.T, w *state.World) qnet.BellLabel {
			o, err := w.BSM(0, 1, 0, 0, 0, rng)
			check(t, err)
			return o
		},
		"pair first": func(t *testing.T, w *state.World) qnet.BellLabel {
			o, err := w.BSM(1, 0, 0, 0, 0, rng)
			check(t, err)
			return o
		},
		"density matrix": func(t *testing.T, w *state.World) qnet.BellLabel {
			dense(t, w, 0, 1)
			o, err := w.BSM(0, 1, 0, 0, 0, rng)
			check(t, err)
			return o
		},
		"gates": func(t *testing.T, w *state.World) qnet.BellLabel {
			check(t, w.Gate2(0, 1, 0, physical.GateCNOT, 0))
			check(t, w.Gate1(0, 0, physical.GateH, 0))
			z, err := w.Measure(0, 0, qnet.BasisZ, rng)
			check(t, err)
			x, err := w.Measure(1, 0, qnet.BasisZ, rng)
			check(t, err)
			w.Free(0, 0)
			w.Free(1, 0)
			return qnet.BellLabel(x<<1 | z)
		},
	}
	for name, measure := range ways {
		t.Run(name, func(t *testing.T) {
			seen := map[[2]qnet.BellLabel]bool{}
			for l := range qnet.BellLabel(4) {
				for _, in := range inputs {
					for range 100 { // see TestSwapAlgebra
						var w state.World
						w.Zero(0, 0, perfect)
						check(t, w.Gate1(0, 0, physical.GateRY, in.y))
						check(t, w.Gate1(0, 0, physical.GateRZ, in.z))
						want := density(t, &w, 0, 0)
						w.Pair(1, 2, 0, perfect, perfect, pure(l))
						o := measure(t, &w)
						fix := l.Correction(o)
						if fix.X() {
							check(t, w.Gate1(2, 0, physical.GateX, 0))
						}
						if fix.Z() {
							check(t, w.Gate1(2, 0, physical.GateZ, 0))
						}
						wantDensity(t, fmt.Sprintf("%v over %v with outcome %v", in, l, o), density(t, &w, 0, 2), want)
						if w.Count() != 1 {
							t.Fatalf("%d qubits left, want the teleported one", w.Count())
						}
						seen[[2]qnet.BellLabel{l, o}] = true
					}
				}
			}
			if len(seen) != 16 {
				t.Errorf("%d of 16 cases came up", len(seen))
			}
		})
	}
}

// Promotion of a pair to the density matrix changes no observable, at once or later.
func TestPromotion(t *testing.T) {
	weights := [4]float64{0.8, 0.1, 0.07, 0.03}
	for _, da := range decays {
		for _, db := range decays {
			var plain, promoted state.World
			for _, w := range []*state.World{&plain, &promoted} {
				w.Pair(5, 3, 0, da, db, weights)
			}
			dense(t, &promoted, 0, 3)
			for _, at := range []qnet.Time{0, second / 3, 2 * second} {
				wantDensity(t, fmt.Sprint(da, db, at), density(t, &promoted, at, 3, 5), density(t, &plain, at, 3, 5))
				wantDensity(t, fmt.Sprint(da, db, at), density(t, &promoted, at, 3), density(t, &plain, at, 3))
				for l := range qnet.BellLabel(4) {
					f, err := plain.BellFidelity(at, 3, 5, l)
					check(t, err)
					g, err := promoted.BellFidelity(at, 3, 5, l)
					check(t, err)
					wantClose(t, "fidelity", f, g)
				}
			}
		}
	}
}

func TestDecayClosedForms(t *testing.T) {
	const seconds = 0.35
	at := qnet.Time(seconds * 1e9)

	t.Run("dephasing", func(t *testing.T) {
		const T2 = 0.8
		flip := (1 - math.Exp(-seconds/T2)) / 2
		var w state.World
		w.Zero(0, 0, state.Decay{T2: T2})
		check(t, w.Gate1(0, 0, physical.GateH, 0))
		wantDensity(t, "|+⟩", density(t, &w, at, 0), matrix{{0.5, complex(0.5-flip, 0)}, {complex(0.5-flip, 0), 0.5}})
		// A pair keeps its phase if none or both of its halves flip.
		w.Pair(1, 2, 0, state.Decay{T2: T2}, state.Decay{T2: T2}, pure(qnet.PsiPlus))
		for l, want := range map[qnet.BellLabel]float64{qnet.PsiPlus: 1 - 2*flip*(1-flip), qnet.PsiMinus: 2 * flip * (1 - flip), qnet.PhiPlus: 0, qnet.PhiMinus: 0} {
			f, err := w.BellFidelity(at, 1, 2, l)
			check(t, err)
			wantClose(t, l.String(), f, want)
		}
	})
	t.Run("depolarising", func(t *testing.T) {
		const rate = 1.7
		keep := math.Exp(-rate * seconds)
		var w state.World
		w.Zero(0, 0, state.Decay{Depolarise: rate})
		wantDensity(t, "|0⟩", density(t, &w, at, 0), matrix{{complex((1+keep)/2, 0), 0}, {0, complex((1-keep)/2, 0)}})
		w.Pair(1, 2, 0, state.Decay{Depolarise: rate}, perfect, pure(qnet.PhiMinus))
		f, err := w.BellFidelity(at, 1, 2, qnet.PhiMinus)
		check(t, err)
		wantClose(t, "one half waits", f, qnet.WernerFidelity(keep))
		w.Pair(1, 2, 0, state.Decay{Depolarise: rate}, state.Decay{Depolarise: rate}, pure(qnet.PhiMinus))
		f, err = w.BellFidelity(at, 1, 2, qnet.PhiMinus)
		check(t, err)
		wantClose(t, "both halves wait", f, qnet.WernerFidelity(keep*keep))
	})
	t.Run("relaxation", func(t *testing.T) {
		const T1 = 0.6
		left := math.Exp(-seconds / T1)
		var w state.World
		w.Zero(0, 0, state.Decay{T1: T1})
		check(t, w.Gate1(0, 0, physical.GateX, 0))
		wantDensity(t, "|1⟩", density(t, &w, at, 0), matrix{{complex(1-left, 0), 0}, {0, complex(left, 0)}})
		w.Zero(0, 0, state.Decay{T1: T1}) // T2 is 2·T1 then
		check(t, w.Gate1(0, 0, physical.GateH, 0))
		off := complex(math.Sqrt(left)/2, 0)
		wantDensity(t, "|+⟩", density(t, &w, at, 0), matrix{{complex(1-left/2, 0), off}, {off, complex(left/2, 0)}})
		// Φ+ with both halves damped by γ: ⟨00|ρ|00⟩ = (1+γ²)/2, ⟨11|ρ|11⟩ = (1−γ)²/2,
		// coherence (1−γ)/2.
		gamma := 1 - left
		w.Pair(1, 2, 0, state.Decay{T1: T1}, state.Decay{T1: T1}, pure(qnet.PhiPlus))
		f, err := w.BellFidelity(at, 1, 2, qnet.PhiPlus)
		check(t, err)
		wantClose(t, "pair", f, ((1+gamma*gamma)/2+left*left/2)/2+left/2)
	})
}

// Waiting at once or in pieces is the same.
func TestLazyDecay(t *testing.T) {
	for _, d := range decays {
		for _, e := range decays {
			var once, pieces state.World
			for _, w := range []*state.World{&once, &pieces} {
				w.Pair(0, 1, 0, d, e, [4]float64{0.7, 0.2, 0.1, 0})
				w.Zero(2, 0, d)
				check(t, w.Gate1(2, 0, physical.GateRY, 1))
			}
			for at := second / 8; at < second; at += second / 8 {
				for q := range state.ID(3) {
					check(t, pieces.Gate1(q, at, physical.GateRZ, 0))
				}
			}
			wantDensity(t, fmt.Sprint(d, e), density(t, &pieces, second, 0, 1, 2), density(t, &once, second, 0, 1, 2))
		}
	}
}

// Looking at the state changes nothing, not even in the last place.
func TestOracleDoesNotTouch(t *testing.T) {
	run := func(look bool) matrix {
		var w state.World
		rng := qnet.NewRand(3, "oracle")
		for i := range state.ID(3) {
			w.Pair(2*i, 2*i+1, 0, decays[i], decays[3+i], [4]float64{0.7, 0.2, 0.1, 0})
		}
		for i := range qnet.Time(8) {
			at := i * second / 9
			if look {
				density(t, &w, at+second/20, 0, 5, 3)
				_, err := w.BellFidelity(at+second/20, 0, 1, qnet.PhiPlus)
				check(t, err)
			}
			check(t, w.Gate1(state.ID(i%6), at, physical.GateY, 0))
			if i == 4 {
				_, err := w.BSM(1, 2, at, 0.1, 0.1, rng)
				check(t, err)
				w.Zero(1, at, perfect)
				w.Zero(2, at, perfect)
			}
		}
		return density(t, &w, second, 0, 1, 2, 3, 4, 5)
	}
	a, b := run(false), run(true)
	for i := range a {
		if !slices.Equal(a[i], b[i]) {
			t.Fatalf("row %d differs by looking: %v and %v", i, a[i], b[i])
		}
	}
}

// A swap of Werner pairs with parameters W₁ and W₂, gate depolarising q and
// read-out fidelity η leaves fidelity (1+3W)/4 with W = W₁·W₂·(1−q)·(4η²−1)/3,
// whatever the outcome.
func TestSwapNoiseClosedForm(t *testing.T) {
	rng := qnet.NewRand(4, "swap noise")
	werner := func(l qnet.BellLabel, w float64) (weights [4]float64) {
		for k := range weights {
			weights[k] = (1 - w) / 4
		}
		weights[l] += w
		return weights
	}
	for _, w1 := range []float64{1, 0.92, 0.5} {
		for _, w2 := range []float64{1, 0.8} {
			for _, q := range []float64{0, 0.005, 0.3, 1} {
				for _, e := range []float64{0, 0.002, 0.1, 0.5} {
					for _, promote := range []bool{false, true} {
						for range 8 {
							var w state.World
							w.Pair(0, 1, 0, perfect, perfect, werner(qnet.PsiPlus, w1))
							w.Pair(2, 3, 0, perfect, perfect, werner(qnet.PhiMinus, w2))
							if promote {
								dense(t, &w, 0, 0, 3)
							}
							o, err := w.BSM(1, 2, 0, q, e, rng)
							check(t, err)
							f, err := w.BellFidelity(0, 0, 3, qnet.PsiPlus.Swap(qnet.PhiMinus, o))
							check(t, err)
							eta := 1 - e
							wantClose(t, "fidelity", f, qnet.WernerFidelity(w1*w2*(1-q)*(4*eta*eta-1)/3))
						}
					}
				}
			}
		}
	}
}

// A swap is the XOR convolution of both pairs' weights with those of the
// outcome's error: each bit wrong with probability e independently, or, with
// probability q, uniform.
func TestSwapConvolution(t *testing.T) {
	rng := qnet.NewRand(5, "convolution")
	for range 200 {
		draw := func() (w [4]float64) {
			var sum float64
			for l := range w {
				w[l] = rng.ExpFloat64()
				sum += w[l]
			}
			for l := range w {
				w[l] /= sum
			}
			return w
		}
		p, r, q, e := draw(), draw(), rng.Float64(), rng.Float64()
		noise := [4]float64{
			qnet.PhiPlus:  (1-q)*(1-e)*(1-e) + q/4,
			qnet.PhiMinus: (1-q)*e*(1-e) + q/4,
			qnet.PsiPlus:  (1-q)*e*(1-e) + q/4,
			qnet.PsiMinus: (1-q)*e*e + q/4,
		}
		var w state.World
		w.Pair(0, 1, 0, perfect, perfect, p)
		w.Pair(2, 3, 0, perfect, perfect, r)
		o, err := w.BSM(1, 3, 0, q, e, rng)
		check(t, err)
		var want [4]float64
		for i := range p {
			for j := range r {
				for k := range noise {
					want[i^j^k^int(o)] += p[i] * r[j] * noise[k]
				}
			}
		}
		for l := range want {
			f, err := w.BellFidelity(0, 2, 0, qnet.BellLabel(l))
			check(t, err)
			wantClose(t, "weight", f, want[l])
		}
	}
}

// chiSquare compares counts with probabilities. It fails with a probability of
// 1e-8; the quantiles are those of 1 and 3 degrees of freedom.
func chiSquare(t *testing.T, what string, counts []int, p []float64) {
	t.Helper()
	n := 0
	for _, c := range counts {
		n += c
	}
	var x float64
	free := -1
	for i, c := range counts {
		want := p[i] * float64(n)
		if want < 1e-9 {
			if c != 0 {
				t.Errorf("%s: case %d is impossible and came up %d times", what, i, c)
			}
			continue
		}
		free++
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	if free == 0 {
		return
	}
	limit, ok := map[int]float64{1: 32.85, 3: 40.2}[free]
	if !ok {
		t.Fatalf("%s: no quantile for %d degrees of freedom", what, free)
	}
	if x > limit {
		t.Errorf("%s: chi-square is %.1f at %d degrees of freedom: counts %v, probabilities %.4g", what, x, free, counts, p)
	}
}

// Joint outcomes on both halves of a pair follow ⟨Π_m⊗Π_n⟩, in the cheap engine
// and in the dense one.
func TestPairMeasurementStatistics(t *testing.T) {
	const n = 20000
	rng := qnet.NewRand(6, "pairs")
	weights := [4]float64{0.7, 0.15, 0.1, 0.05}
	bases := []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ, qnet.BasisXZ(math.Pi / 4), {Theta: 1.2, Phi: 2.5}}
	for i, m := range bases {
		b := bases[(i*3+1)%len(bases)]
		for _, b := range []qnet.Basis{m, b} {
			ref := newReference()
			ref.pair(0, 1, perfect, perfect, weights)
			p := make([]float64, 4)
			for k := range p {
				p[k] = real(ref.rho.mul(projector(m, uint8(k>>1)).kron(projector(b, uint8(k&1)))).trace())
			}
			for _, promote := range []bool{false, true} {
				var w state.World
				counts := make([]int, 4)
				for range n {
					w.Pair(0, 1, 0, perfect, perfect, weights)
					if promote {
						dense(t, &w, 0, 0)
					}
					x, err := w.Measure(0, 0, m, rng)
					check(t, err)
					y, err := w.Measure(1, 0, b, rng)
					check(t, err)
					counts[x<<1|y]++
				}
				chiSquare(t, fmt.Sprintf("%v %v promoted %t", m, b, promote), counts, p)
			}
		}
	}
}

// Outcomes of Bell measurements follow the circuit of the reference, for every
// combination of engines.
func TestBSMStatistics(t *testing.T) {
	const n = 20000
	weights := [4]float64{0.6, 0.25, 0.1, 0.05}
	cases := map[string]func(w *state.World, r *reference){
		"both halves of a pair": func(w *state.World, r *reference) {
			w.Pair(0, 1, 0, perfect, perfect, weights)
			if r != nil {
				r.pair(0, 1, perfect, perfect, weights)
			}
		},
		"two single qubits": func(w *state.World, r *reference) {
			for q, theta := range []float64{0.6, 1.4} {
				w.Zero(state.ID(q), 0, perfect)
				check(t, w.Gate1(state.ID(q), 0, physical.GateRY, theta))
				check(t, w.Gate1(state.ID(q), 0, physical.GateRZ, theta/2))
				if r != nil {
					r.add(unit(0, 0), []state.Decay{{}}, state.ID(q))
					r.gate1(state.ID(q), physical.GateRY, theta)
					r.gate1(state.ID(q), physical.GateRZ, theta/2)
				}
			}
		},
		"single qubit and half of a pair": func(w *state.World, r *reference) {
			w.Zero(0, 0, perfect)
			w.Pair(1, 2, 0, perfect, perfect, weights)
			if r != nil {
				r.add(unit(0, 0), []state.Decay{{}}, 0)
				r.pair(1, 2, perfect, perfect, weights)
			}
		},
		"halves of two pairs": func(w *state.World, r *reference) {
			w.Pair(0, 2, 0, perfect, perfect, weights)
			w.Pair(1, 3, 0, perfect, perfect, weights)
			if r != nil {
				r.pair(0, 2, perfect, perfect, weights)
				r.pair(1, 3, perfect, perfect, weights)
			}
		},
	}
	for name, prepare := range cases {
		for _, noise := range [][2]float64{{0, 0}, {0.2, 0.1}} {
			for _, promote := range []bool{false, true} {
				ref := newReference()
				prepare(new(state.World), ref)
				p := make([]float64, 4)
				for o := range p {
					p[o] = ref.clone().bsm(0, 1, noise[0], noise[1], qnet.BellLabel(o))
				}
				var w state.World
				rng := qnet.NewRand(7, name)
				counts := make([]int, 4)
				for range n {
					prepare(&w, nil)
					if promote {
						dense(t, &w, 0, 0, 1)
						check(t, w.Gate2(0, 1, 0, physical.GateCZ, 0))
						check(t, w.Gate2(0, 1, 0, physical.GateCZ, 0))
					}
					o, err := w.BSM(0, 1, 0, noise[0], noise[1], rng)
					check(t, err)
					counts[o]++
				}
				chiSquare(t, fmt.Sprintf("%s, noise %v, promoted %t", name, noise, promote), counts, p)
			}
		}
	}
}

// ghz prepares (|0…0⟩+|1…1⟩)/√2 on qubits 0 to n−1.
func ghz(t tb, w *state.World, n int) {
	t.Helper()
	for q := range state.ID(n) {
		w.Zero(q, 0, perfect)
	}
	check(t, w.Gate1(0, 0, physical.GateH, 0))
	for q := range state.ID(n - 1) {
		check(t, w.Gate2(q, q+1, 0, physical.GateCNOT, 0))
	}
}

func TestLargestCluster(t *testing.T) {
	rng := qnet.NewRand(8, "ghz")
	var w state.World
	ghz(t, &w, state.MaxQubits)
	all := []state.ID{9, 1, 2, 3, 4, 5, 6, 7, 8, 0}
	rho := density(t, &w, 0, all...)
	for i := range rho {
		for j, x := range rho[i] {
			want := 0.0
			if (i == 0 || i == len(rho)-1) && (j == 0 || j == len(rho)-1) {
				want = 0.5
			}
			if cmplx.Abs(x-complex(want, 0)) > tolerance {
				t.Fatalf("element %d,%d is %g, want %g", i, j, x, want)
			}
		}
	}

	w.Zero(10, 0, perfect)
	w.Pair(11, 12, 0, perfect, perfect, pure(qnet.PhiPlus))
	for _, b := range []state.ID{10, 11} {
		err := w.Gate2(9, b, second, physical.GateCNOT, 0)
		if qnet.CodeOf(err) != qnet.ErrTooLarge {
			t.Fatalf("gate beyond the largest cluster: %v", err)
		}
		_, err = w.BSM(9, b, second, 0, 0, rng)
		if qnet.CodeOf(err) != qnet.ErrTooLarge {
			t.Fatalf("Bell measurement beyond the largest cluster: %v", err)
		}
	}
	after := density(t, &w, 0, all...) // at 0, so nothing was touched
	for i := range rho {
		if !slices.Equal(rho[i], after[i]) {
			t.Fatalf("row %d changed by refused operations", i)
		}
	}

	// One measurement collapses all; the cluster shrinks, and there is room again.
	first, err := w.Measure(4, 0, qnet.BasisZ, rng)
	check(t, err)
	check(t, w.Gate2(9, 10, 0, physical.GateCNOT, 0))
	for q := range state.ID(11) {
		bit, err := w.Measure(q, 0, qnet.BasisZ, rng)
		check(t, err)
		if bit != first {
			t.Errorf("qubit %d of a GHZ state gave %d after %d", q, bit, first)
		}
		w.Free(q, 0)
	}
	w.Free(11, 0)
	w.Free(12, 0)
	if w.Count() != 0 {
		t.Errorf("%d qubits left", w.Count())
	}
}

func TestReplace(t *testing.T) {
	var w state.World
	w.Pair(0, 1, 0, perfect, perfect, pure(qnet.PhiPlus))
	w.Zero(0, 0, perfect)
	wantDensity(t, "prepared again", density(t, &w, 0, 0), unit(0, 0))
	wantDensity(t, "its former partner", density(t, &w, 0, 1), mI.times(0.5))
	w.Pair(1, 2, 0, perfect, perfect, pure(qnet.PsiMinus))
	wantDensity(t, "paired again", density(t, &w, 0, 2, 1), bellState(qnet.PsiMinus))
	if w.Count() != 3 {
		t.Errorf("%d qubits, want 3", w.Count())
	}
	w.Pair(1, 1, 0, perfect, perfect, pure(qnet.PsiMinus))
	if w.Has(1) || w.Count() != 2 {
		t.Errorf("a pair of one qubit left %d qubits", w.Count())
	}
	w.Free(77, 0)
	if w.Count() != 2 {
		t.Errorf("freeing nothing left %d qubits", w.Count())
	}
}

func TestErrors(t *testing.T) {
	rng := qnet.NewRand(9, "errors")
	nan := math.NaN()
	tests := []struct {
		name string
		do   func(w *state.World) error
		code qnet.Code
		text string
	}{
		{"no qubit", func(w *state.World) error { return w.Gate1(9, second, physical.GateX, 0) }, qnet.ErrBadQubit, "qubit 9 does not exist"},
		{"freed qubit", func(w *state.World) error { _, err := w.Measure(3, second, qnet.BasisX, rng); return err }, qnet.ErrBadQubit, "qubit 3 does not exist"},
		{"second qubit", func(w *state.World) error { _, err := w.BSM(0, 3, second, 0, 0, rng); return err }, qnet.ErrBadQubit, "qubit 3 does not exist"},
		{"past", func(w *state.World) error { return w.Gate1(0, second/2, physical.GateX, 0) }, qnet.ErrInvalid, "touched at 1s already"},
		{"past of an oracle", func(w *state.World) error { _, err := w.BellFidelity(0, 0, 1, 0); return err }, qnet.ErrInvalid, "instants must not decrease"},
		{"two for one", func(w *state.World) error { return w.Gate1(0, second, physical.GateCNOT, 0) }, qnet.ErrInvalid, "no gate of one qubit"},
		{"one for two", func(w *state.World) error { return w.Gate2(0, 1, second, physical.GateH, 0) }, qnet.ErrInvalid, "no gate of two qubits"},
		{"unknown gate", func(w *state.World) error { return w.Gate1(0, second, physical.GateEnd, 0) }, qnet.ErrInvalid, "no gate of one qubit"},
		{"angle", func(w *state.World) error { return w.Gate1(0, second, physical.GateRX, nan) }, qnet.ErrInvalid, "not finite"},
		{"basis", func(w *state.World) error { _, err := w.Measure(0, second, qnet.Basis{Theta: nan}, rng); return err }, qnet.ErrInvalid, "not finite"},
		{"with itself", func(w *state.World) error { return w.Gate2(1, 1, second, physical.GateCZ, 0) }, qnet.ErrInvalid, "two different qubits"},
		{"depolarising", func(w *state.World) error { return w.Gate2(0, 1, second, physical.GateCZ, 1.01) }, qnet.ErrInvalid, "not between 0 and 1"},
		{"read-out", func(w *state.World) error { _, err := w.BSM(0, 1, second, 0, nan, rng); return err }, qnet.ErrInvalid, "not between 0 and 1"},
		{"label", func(w *state.World) error { _, err := w.BellFidelity(second, 0, 1, 4); return err }, qnet.ErrInvalid, "four Bell labels"},
		{"twice", func(w *state.World) error { _, err := w.Density(second, 0, 1, 0); return err }, qnet.ErrInvalid, "named twice"},
		{"none", func(w *state.World) error { _, err := w.Density(second); return err }, qnet.ErrInvalid, "no qubit"},
		{"too many", func(w *state.World) error { _, err := w.Density(second, make([]state.ID, 11)...); return err }, qnet.ErrTooLarge, "10 at most"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var w state.World
			w.Pair(0, 1, second, decays[5], decays[1], [4]float64{0.6, 0.2, 0.2, 0})
			w.Zero(3, 0, perfect)
			w.Free(3, 0)
			before := density(t, &w, second, 0, 1)
			err := test.do(&w)
			if qnet.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v (code %v), want %q and %v", err, qnet.CodeOf(err), test.text, test.code)
			}
			after := density(t, &w, second, 0, 1)
			for i := range before {
				if !slices.Equal(before[i], after[i]) {
					t.Errorf("row %d changed", i)
				}
			}
		})
	}
}

func TestDecayValidate(t *testing.T) {
	for _, d := range decays {
		if err := d.Validate(); err != nil {
			t.Errorf("%+v: %v", d, err)
		}
	}
	for d, text := range map[state.Decay]string{
		{T1: -1}:                 "T1 = -1",
		{T2: -1}:                 "T2 = -1",
		{Depolarise: -2}:         "Depolarise = -2",
		{T1: 1, T2: 2.1}:         "above 2·T1 = 2 s",
		{T2: math.Inf(1)}:        "T2 = +Inf",
		{Depolarise: math.NaN()}: "Depolarise = NaN",
	} {
		if err := d.Validate(); qnet.CodeOf(err) != qnet.ErrInvalid || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: got %v, want %q", d, err, text)
		}
	}
}

var (
	dephasing = state.Decay{T2: 1}
	relaxing  = state.Decay{T1: 10, T2: 1}
	ions      = [4]float64{0.94, 0.03, 0.02, 0.01}
)

// The cycles of use that a network repeats for ever. Each ends with an empty world.
var cycles = []struct {
	name string
	run  func(tb testing.TB, w *state.World, rng *rand.Rand)
}{
	{"PairMeasureMeasure", func(tb testing.TB, w *state.World, rng *rand.Rand) {
		w.Pair(0, 1, 0, dephasing, dephasing, ions)
		if _, err := w.Measure(0, 1000, qnet.BasisX, rng); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Measure(1, 2000, qnet.BasisX, rng); err != nil {
			tb.Fatal(err)
		}
		w.Free(0, 2000)
		w.Free(1, 2000)
	}},
	{"PairPairSwap", func(tb testing.TB, w *state.World, rng *rand.Rand) {
		w.Pair(0, 1, 0, dephasing, dephasing, ions)
		w.Pair(2, 3, 500, dephasing, dephasing, ions)
		if _, err := w.BSM(1, 2, 1000, 0.005, 0.002, rng); err != nil {
			tb.Fatal(err)
		}
		w.Free(0, 2000)
		w.Free(3, 2000)
	}},
	{"Teleport", func(tb testing.TB, w *state.World, rng *rand.Rand) {
		w.Zero(0, 0, dephasing)
		w.Pair(1, 2, 0, dephasing, dephasing, ions)
		if _, err := w.BSM(0, 1, 1000, 0.005, 0.002, rng); err != nil {
			tb.Fatal(err)
		}
		if err := w.Gate1(2, 2000, physical.GateX, 0); err != nil {
			tb.Fatal(err)
		}
		w.Free(2, 2000)
	}},
	{"TeleportRelaxing", func(tb testing.TB, w *state.World, rng *rand.Rand) {
		w.Zero(0, 0, relaxing)
		w.Pair(1, 2, 0, relaxing, relaxing, ions)
		if _, err := w.BSM(0, 1, 1000, 0.005, 0.002, rng); err != nil {
			tb.Fatal(err)
		}
		w.Free(2, 2000)
	}},
	{"PairPairSwapRelaxing", func(tb testing.TB, w *state.World, rng *rand.Rand) {
		w.Pair(0, 1, 0, relaxing, relaxing, ions)
		w.Pair(2, 3, 500, relaxing, relaxing, ions)
		if _, err := w.BSM(1, 2, 1000, 0.005, 0.002, rng); err != nil {
			tb.Fatal(err)
		}
		w.Free(0, 2000)
		w.Free(3, 2000)
	}},
	{"PairRelaxingMeasureMeasure", func(tb testing.TB, w *state.World, rng *rand.Rand) {
		w.Pair(0, 1, 0, relaxing, relaxing, ions)
		if _, err := w.Measure(0, 1000, qnet.BasisX, rng); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Measure(1, 2000, qnet.BasisX, rng); err != nil {
			tb.Fatal(err)
		}
		w.Free(0, 2000)
		w.Free(1, 2000)
	}},
}

// In steady state the hot paths do not allocate.
func TestAllocations(t *testing.T) {
	for _, cycle := range cycles {
		t.Run(cycle.name, func(t *testing.T) {
			var w state.World
			rng := qnet.NewRand(10, cycle.name)
			if n := testing.AllocsPerRun(1000, func() { cycle.run(t, &w, rng) }); n != 0 {
				t.Errorf("%v allocations per cycle", n)
			}
			if w.Count() != 0 {
				t.Errorf("%d qubits left", w.Count())
			}
		})
	}
}

func BenchmarkCycle(b *testing.B) {
	for _, cycle := range cycles {
		b.Run(cycle.name, func(b *testing.B) {
			var w state.World
			rng := qnet.NewRand(11, cycle.name)
			b.ReportAllocs()
			for b.Loop() {
				cycle.run(b, &w, rng)
			}
		})
	}
}

// A cycle is one Pair and one swap with noise that joins it to a chain, which
// starts anew, with one more Pair, every eight links.
func BenchmarkSwap(b *testing.B) {
	var w state.World
	rng := qnet.NewRand(12, "swap")
	b.ReportAllocs()
	end, a, c := state.ID(1), state.ID(2), state.ID(3)
	t := qnet.Time(0)
	for n := 0; b.Loop(); n++ {
		if n%8 == 0 {
			w.Pair(0, end, t, dephasing, dephasing, ions)
		}
		w.Pair(a, c, t, dephasing, dephasing, ions)
		t += 1000
		if _, err := w.BSM(end, a, t, 0.005, 0.002, rng); err != nil {
			b.Fatal(err)
		}
		end, c = c, end
	}
}

func BenchmarkBellFidelity(b *testing.B) {
	var w state.World
	w.Pair(0, 1, 0, dephasing, dephasing, ions)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.BellFidelity(1000, 0, 1, qnet.PhiPlus); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDense10(b *testing.B) {
	for _, bench := range []struct {
		name string
		run  func(w *state.World, i state.ID) error
	}{
		{"CNOT", func(w *state.World, i state.ID) error {
			return w.Gate2(i%10, (i+1)%10, 0, physical.GateCNOT, 0)
		}},
		{"CZ", func(w *state.World, i state.ID) error {
			return w.Gate2(i%10, (i+1)%10, 0, physical.GateCZ, 0)
		}},
		{"CNOTDepolarising", func(w *state.World, i state.ID) error {
			return w.Gate2(i%10, (i+1)%10, 0, physical.GateCNOT, 0.005)
		}},
		{"RY", func(w *state.World, i state.ID) error {
			return w.Gate1(i%10, 0, physical.GateRY, 0.3)
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var w state.World
			ghz(b, &w, state.MaxQubits)
			var i state.ID
			for b.Loop() {
				if err := bench.run(&w, i); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
