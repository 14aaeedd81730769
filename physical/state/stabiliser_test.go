package state_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/physical/state/densetest"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// script is a sequence of Clifford gates and noise on four qubits, then a joint
// measurement, as closures for a world and for the reference.
type script struct {
	prepare, act []func(w *state.World)
	ref          *reference
	bases        [4]qnet.Basis
}

// newScript draws a circuit on two pairs, which includes decay. first is what
// comes before the promotion.
func newScript(t *testing.T, rng *rand.Rand) *script {
	s := &script{ref: densetest.New[state.ID]()}
	cliffords := []physical.Gate{physical.GateX, physical.GateY, physical.GateZ, physical.GateH, physical.GateS, physical.GateSdg}
	memories := []state.Decay{{}, {T2: 0.8}, {Depolarise: 0.6}, {T2: 1.5, Depolarise: 0.2}, {T2: 0.9, Stretch: 2}}
	var now qnet.Time
	add := func(list *[]func(w *state.World), f func(w *state.World)) { *list = append(*list, f) }
	for p := range state.ID(2) {
		d, e, weights := memories[rng.IntN(5)], memories[rng.IntN(5)], randomWeights(rng)
		add(&s.prepare, func(w *state.World) { w.Pair(2*p, 2*p+1, 0, d, e, weights) })
		s.ref.Pair(2*p, 2*p+1, densetest.Decay(d), densetest.Decay(e), weights)
	}
	act := func(list *[]func(w *state.World)) {
		a := state.ID(rng.IntN(4))
		b := (a + 1 + state.ID(rng.IntN(3))) % 4
		p, at := rng.Float64(), now
		switch rng.IntN(8) {
		case 0, 1:
			g := cliffords[rng.IntN(len(cliffords))]
			add(list, func(w *state.World) { check(t, w.Gate1(a, at, g, 0)) })
			s.ref.Gate1(a, g, 0)
		case 2:
			g := []physical.Gate{physical.GateRX, physical.GateRY, physical.GateRZ}[rng.IntN(3)]
			angle := float64(rng.IntN(9)-4) * math.Pi / 2
			add(list, func(w *state.World) { check(t, w.Gate1(a, at, g, angle)) })
			s.ref.Gate1(a, g, angle)
		case 3, 4:
			g := []physical.Gate{physical.GateCNOT, physical.GateCZ}[rng.IntN(2)]
			p *= 0.2
			add(list, func(w *state.World) { check(t, w.Gate2(a, b, at, g, p)) })
			s.ref.Gate2(a, b, g, p)
		case 5:
			dt := qnet.Time(0.3 * p * float64(second))
			now += dt
			s.ref.Wait(dt.Seconds())
		case 6:
			px, py, pz := 0.2*p, 0.1*p, 0.3*p
			add(list, func(w *state.World) { check(t, w.Pauli(a, at, px, py, pz)) })
			s.ref.Pauli(a, px, py, pz)
		case 7:
			p *= 0.3
			add(list, func(w *state.World) { check(t, w.Depolarise2(a, b, at, p)) })
			s.ref.Depolarise(p, a, b)
		}
	}
	for range 3 {
		act(&s.prepare)
	}
	at := now
	for q := range state.ID(4) {
		add(&s.act, func(w *state.World) {
			if w.Kind(q) != "tableau" {
				check(t, w.Enlarge(q, at))
			}
		})
	}
	for range 12 {
		act(&s.act)
	}
	for q := range s.bases {
		s.bases[q] = []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}[rng.IntN(3)]
	}
	end := now
	add(&s.act, func(w *state.World) { // all decay until the end
		for q := range state.ID(4) {
			check(t, w.Gate1(q, end, physical.GateX, 0))
			check(t, w.Gate1(q, end, physical.GateX, 0))
		}
	})
	return s
}

// probabilities returns those of all joint outcomes of the bases.
func (s *script) probabilities() []float64 {
	p := make([]float64, 16)
	rho := s.ref.Density(0, 1, 2, 3)
	for k := range p {
		m := matrix{{1}}
		for q, b := range s.bases {
			m = m.Kron(densetest.Projector(b, uint8(k>>(3-q)&1)))
		}
		p[k] = max(0, real(rho.Mul(m).Trace()))
	}
	return p
}

// What is measured on stabiliser states, drawn at any moment, follows the
// density matrix.
func TestPromotionToTableau(t *testing.T) {
	const n = 1500
	rng := qnet.NewRand(30, "promotion")
	for i := range 32 {
		s := newScript(t, rng)
		p := s.probabilities()
		counts := make([]int, 16)
		bell := make([]int, 4)
		for range n {
			w := state.World{Rand: rng}
			for _, f := range s.prepare {
				f(&w)
			}
			for _, f := range s.act {
				f(&w)
			}
			last := w.Touched(0, 1, 2, 3)
			if i%4 == 3 {
				o, err := w.BellMeasure(1, 2, last, &noisyBell, rng)
				check(t, err)
				bell[o]++
				continue
			}
			k := 0
			for q, b := range s.bases {
				bit, err := w.Measure(state.ID(q), last, b, rng)
				check(t, err)
				k = k<<1 | int(bit)
			}
			counts[k]++
		}
		if i%4 == 3 {
			var q []float64
			for o := range qnet.BellLabel(4) {
				q = append(q, bellMeasure(s.ref.Clone(), 1, 2, &noisyBell, o))
			}
			qnettest.Fit(t, fmt.Sprint("Bell measurement of circuit ", i), bell, q)
			continue
		}
		qnettest.Fit(t, fmt.Sprint("circuit ", i), counts, p)
	}
}

// Of pure stabiliser states nothing is drawn, so that worlds with small tableaus
// among the other clusters agree with the reference, step by step.
func TestSmallTableaus(t *testing.T) {
	kinds := map[string]int{}
	for seed := range uint64(600) {
		c := seeded(t, 5000+seed, 4)
		c.w.Rand = c.rng
		for range 30 {
			c.err += 1e-12
			n := len(c.ref.Qubits)
			switch op := c.choose("op", 16); {
			case op < 2 && n < c.limit:
				q := c.unused(0)
				c.w.Zero(q, 0, perfect)
				c.ref.Zero(q, still)
			case op < 4 && n+2 <= c.limit:
				a := c.unused(0)
				b := c.unused(a + 1)
				weights := pure(qnet.BellLabel(c.choose("label", 4)))
				c.w.Pair(a, b, 0, perfect, perfect, weights)
				c.ref.Pair(a, b, still, still, weights)
			case op < 7 && n > 0: // X to S†, and T seldom
				q, g := c.qubit("qubit"), gates[c.choose("gate", 6)]
				if c.choose("T", 12) == 0 {
					g = physical.GateT
				}
				check(t, c.w.Gate1(q, 0, g, 0))
				c.ref.Gate1(q, g, 0)
			case op < 9 && n > 1:
				a, b := c.two()
				check(t, c.w.Gate2(a, b, 0, physical.GateCNOT, 0))
				c.ref.Gate2(a, b, physical.GateCNOT, 0)
			case op < 10 && n > 0:
				q, b := c.qubit("qubit"), c.basis()
				bit, err := c.w.Measure(q, 0, b, c.rng)
				check(t, err)
				c.possible(c.ref.Measure(q, b, bit))
			case op < 12 && n > 1:
				a, b := c.two()
				o, err := c.w.BSM(a, b, 0, 0, 0, c.rng)
				check(t, err)
				c.possible(c.ref.BSM(a, b, 0, 0, o))
			case op < 13 && n > 1:
				a, b := c.two()
				check(t, c.w.Unitary2(a, b, 0, &sqrtSwap))
				c.ref.Kraus([]matrix{densetest.Square(sqrtSwap[:])}, a, b)
			case n > 0:
				q := c.qubit("qubit")
				if c.w.Enlarge(q, 0) == nil {
					kinds[c.w.Kind(q)]++
				}
			}
			c.compare()
		}
		c.finish()
	}
	if kinds["tableau"] < 2000 {
		t.Errorf("only %v promotions", kinds)
	}
}

var noisyBell = state.Imperfection{
	Gate1: state.Noise{Depolarise: 0.2, Dephase: 0.3}, Gate2: state.Noise{Depolarise: 0.15, Dephase: 0.1},
	ReadoutA: state.Readout{Flip0: 0.05, Flip1: 0.2}, ReadoutB: state.Readout{Flip0: 0.15, Flip1: 0.02},
}

// The mean of the states that are drawn is the density matrix: its Pauli
// coefficients, of which each run contributes one of at most 1, have a standard
// error of at most 1/√n; 5.5 of them come up with probability 3.8e-8 each.
func TestMeanOfTableaus(t *testing.T) {
	const n = 1500
	rng := qnet.NewRand(31, "mean")
	for range 4 {
		s := newScript(t, rng)
		mean := densetest.Zeros(16, 16)
		for range n {
			w := state.World{Rand: rng}
			for _, f := range s.prepare {
				f(&w)
			}
			for _, f := range s.act {
				f(&w)
			}
			for i, row := range density(t, &w, w.Touched(0, 1, 2, 3), 0, 1, 2, 3) {
				for j, x := range row {
					mean[i][j] += x / n
				}
			}
		}
		// An element is a sum of 16 coefficients over 16.
		densetest.Compare(t, 5.5/math.Sqrt(n), "mean", mean, s.ref.Density(0, 1, 2, 3))
	}
}

// GHZ states of many qubits, joined by gates and by Bell measurements.
func TestLargeGHZ(t *testing.T) {
	rng := qnet.NewRand(32, "large")
	const n = 60
	for run := range 4 {
		w := state.World{Rand: rng}
		ghz(t, &w, n)
		if k := w.Kind(0); k != "tableau" || len(w.Entangled(0)) != n {
			t.Fatalf("%d qubits are held as a %s of %d", n, k, len(w.Entangled(0)))
		}
		// any two are half in Φ+ and half in Φ−
		for l := range qnet.BellLabel(4) {
			f, err := w.BellFidelity(0, 7, 50, l)
			check(t, err)
			want := 0.5
			if l.X() {
				want = 0
			}
			wantClose(t, l.String(), f, want)
		}
		zeros, ones := matrix{{1}}, matrix{{1}}
		for range 3 {
			zeros, ones = zeros.Kron(densetest.Unit(0, 0)), ones.Kron(densetest.Unit(1, 1))
		}
		wantDensity(t, "three of them", density(t, &w, 0, 1, 30, 59), zeros.Plus(1, ones).Times(0.5))
		basis := []qnet.Basis{qnet.BasisZ, qnet.BasisX}[run%2]
		parity, sum := 0, 0
		for q := range state.ID(n) {
			bit, err := w.Measure(q, 0, basis, rng)
			check(t, err)
			parity ^= int(bit)
			sum += int(bit)
		}
		if basis == qnet.BasisX && parity != 0 || basis == qnet.BasisZ && sum != 0 && sum != n {
			t.Fatalf("%d ones in the basis %v", sum, basis)
		}
	}
}

// A ring of pairs that is joined at every node by Bell measurements across large
// clusters keeps the label algebra.
func TestLargeSwaps(t *testing.T) {
	rng := qnet.NewRand(33, "swaps")
	for range 3 {
		w := state.World{Rand: rng}
		// Two clusters of 12 qubits: six pairs tied by CZ gates that are undone later.
		labels := make([]qnet.BellLabel, 12)
		for p := range state.ID(12) {
			labels[p] = qnet.BellLabel(rng.IntN(4))
			w.Pair(2*p, 2*p+1, 0, perfect, perfect, pure(labels[p]))
		}
		for range 2 {
			for p := range state.ID(12) {
				if p%6 != 5 {
					check(t, w.Gate2(2*p, 2*p+2, 0, physical.GateCZ, 0))
				}
			}
		}
		if len(w.Entangled(0)) != 12 || len(w.Entangled(23)) != 12 {
			t.Fatalf("clusters of %d and %d", len(w.Entangled(0)), len(w.Entangled(23)))
		}
		sum := labels[0]
		for p := range state.ID(11) {
			o, err := w.BSM(2*p+1, 2*p+2, 0, 0, 0, rng)
			check(t, err)
			sum = sum.Swap(labels[p+1], o)
		}
		f, err := w.BellFidelity(0, 0, 23, sum)
		check(t, err)
		wantClose(t, "fidelity", f, 1)
		if w.Count() != 2 {
			t.Fatalf("%d qubits left", w.Count())
		}
	}
}

// What a large cluster can not do is refused, with a reason, and nothing changes;
// when it has shrunk, it can be done.
func TestLargeRefuses(t *testing.T) {
	rng := qnet.NewRand(34, "refusal")
	tilted := qnet.Basis{Theta: 0.7}
	u2 := [16]complex128{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1i}
	operations := map[string]func(w *state.World) error{
		"one of 12 that are entangled": func(w *state.World) error { return w.Gate1(3, second, physical.GateT, 0) },
		"unitary on qubit 3": func(w *state.World) error {
			return w.Unitary1(3, second, [4]complex128{1, 0, 0, complex(math.Cos(1), math.Sin(1))})
		},
		"unitary on qubit 3, one": func(w *state.World) error { return w.Unitary2(3, 4, second, &u2) },
		"amplitude damping":       func(w *state.World) error { return w.DampAmplitude(3, second, 0.1) },
		"measurement in the basis (θ=0.7": func(w *state.World) error {
			_, err := w.Measure(3, second, tilted, rng)
			return err
		},
	}
	var w state.World
	w.Rand = rng
	ghz(t, &w, 12)
	for text, do := range operations {
		before := density(t, &w, second, 0, 3, 4)
		err := do(&w)
		qnettest.WantErr(t, err, qnet.ErrTooLarge, text, "Clifford", "measure or free")
		wantDensity(t, text, density(t, &w, 0, 0, 3, 4), before) // at 0, so nothing was touched
	}
	h := complex(1/math.Sqrt2, 0)
	before := density(t, &w, second, 0, 3, 4)
	for range 2 { // a Clifford gate given by its matrix
		check(t, w.Unitary1(3, 0, [4]complex128{h, h, h, -h}))
	}
	wantDensity(t, "Hadamard gates", density(t, &w, second, 0, 3, 4), before)
	joins := map[string]func(w *state.World){
		"relaxes (T1)": func(w *state.World) { w.Zero(20, 0, state.Decay{T1: 1}) },
		"no mixture": func(w *state.World) {
			w.Zero(20, 0, perfect)
			check(t, w.Gate1(20, 0, physical.GateRY, 0.7))
			check(t, w.Gate1(20, 0, physical.GateRX, 0.7))
		},
		"with 1 others, is no mixture": func(w *state.World) {
			w.Pair(20, 21, 0, perfect, perfect, pure(qnet.PhiPlus))
			check(t, w.Gate1(20, 0, physical.GateT, 0))
		},
	}
	for text, prepare := range joins {
		prepare(&w)
		before := density(t, &w, second, 0, 20)
		qnettest.WantErr(t, w.Gate2(3, 20, second, physical.GateCNOT, 0), qnet.ErrTooLarge, text, "measure or free")
		wantDensity(t, text, density(t, &w, 0, 0, 20), before)
	}

	for q := state.ID(10); q < 12; q++ {
		_, err := w.Measure(q, second, qnet.BasisX, rng)
		check(t, err)
	}
	if n := len(w.Entangled(3)); n != 10 {
		t.Fatalf("%d qubits are entangled", n)
	}
	ref := density(t, &w, second, 3, 0)
	check(t, w.Gate1(3, second, physical.GateT, 0))
	check(t, w.Gate1(3, second, physical.GateTdg, 0))
	if k := w.Kind(3); k != "density matrix" {
		t.Fatalf("after a T gate the cluster is held as a %s", k)
	}
	wantDensity(t, "shrunk", density(t, &w, second, 3, 0), ref)
}

// The memories of a large cluster decay.
func TestLargeNoise(t *testing.T) {
	// One of two qubits of a GHZ state is depolarised with probability q: their
	// outcomes in Z differ with probability q/2.
	const n, q = 4000, 0.3
	rng := qnet.NewRand(35, "noise")
	counts := make([]int, 2)
	for range n {
		w := state.World{Rand: rng}
		for i := range state.ID(12) {
			w.Zero(i, 0, state.Decay{Depolarise: -math.Log1p(-q)})
			check(t, w.Enlarge(i, 0))
		}
		for i := range state.ID(11) {
			if i == 0 {
				check(t, w.Gate1(0, 0, physical.GateH, 0))
			}
			check(t, w.Gate2(i, i+1, 0, physical.GateCNOT, 0))
		}
		a, err := w.Measure(3, second, qnet.BasisZ, rng)
		check(t, err)
		b, err := w.Measure(9, 0, qnet.BasisZ, rng)
		check(t, err)
		counts[a^b]++
	}
	qnettest.Fit(t, "depolarised", counts, []float64{1 - q/2, q / 2})
}
