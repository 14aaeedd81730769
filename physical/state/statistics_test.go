package state_test

import (
	"fmt"
	"math"
	"testing"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/physical/state/densetest"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

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
			ref := densetest.New[state.ID]()
			ref.Pair(0, 1, still, still, weights)
			p := make([]float64, 4)
			for k := range p {
				p[k] = real(ref.Density(0, 1).Mul(densetest.Projector(m, uint8(k>>1)).Kron(densetest.Projector(b, uint8(k&1)))).Trace())
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
				qnettest.Fit(t, fmt.Sprintf("%v %v promoted %t", m, b, promote), counts, p)
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
				r.Pair(0, 1, still, still, weights)
			}
		},
		"two single qubits": func(w *state.World, r *reference) {
			for q, theta := range []float64{0.6, 1.4} {
				w.Zero(state.ID(q), 0, perfect)
				check(t, w.Gate1(state.ID(q), 0, physical.GateRY, theta))
				check(t, w.Gate1(state.ID(q), 0, physical.GateRZ, theta/2))
				if r != nil {
					r.Zero(state.ID(q), still)
					r.Gate1(state.ID(q), physical.GateRY, theta)
					r.Gate1(state.ID(q), physical.GateRZ, theta/2)
				}
			}
		},
		"single qubit and half of a pair": func(w *state.World, r *reference) {
			w.Zero(0, 0, perfect)
			w.Pair(1, 2, 0, perfect, perfect, weights)
			if r != nil {
				r.Zero(0, still)
				r.Pair(1, 2, still, still, weights)
			}
		},
		"halves of two pairs": func(w *state.World, r *reference) {
			w.Pair(0, 2, 0, perfect, perfect, weights)
			w.Pair(1, 3, 0, perfect, perfect, weights)
			if r != nil {
				r.Pair(0, 2, still, still, weights)
				r.Pair(1, 3, still, still, weights)
			}
		},
	}
	for name, prepare := range cases {
		for _, noise := range [][2]float64{{0, 0}, {0.2, 0.1}} {
			for _, promote := range []bool{false, true} {
				ref := densetest.New[state.ID]()
				prepare(new(state.World), ref)
				p := make([]float64, 4)
				for o := range p {
					p[o] = ref.Clone().BSM(0, 1, noise[0], noise[1], qnet.BellLabel(o))
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
				qnettest.Fit(t, fmt.Sprintf("%s, noise %v, promoted %t", name, noise, promote), counts, p)
			}
		}
	}
}

// The read-outs of a Bell measurement err as they say, each for its own bit of
// the outcome, however the two qubits are held: those of two clusters, one of
// which is half of a pair, are in no Bell state more than in any other. False
// alarm 3e-7 each.
func TestBellReadoutStatistics(t *testing.T) {
	const n = 2500
	weights := [4]float64{0.6, 0.25, 0.1, 0.05}
	uniform := [4]float64{0.25, 0.25, 0.25, 0.25}
	pair := func(w *state.World, a, b state.ID) { w.Pair(a, b, 0, perfect, perfect, weights) }
	// zero prepares |0⟩, which is a Bloch vector, and plus |+⟩.
	zero := func(w *state.World, q state.ID) { w.Zero(q, 0, perfect) }
	plus := func(w *state.World, q state.ID) {
		zero(w, q)
		check(t, w.Gate1(q, 0, physical.GateH, 0))
	}
	enlarge := func(w *state.World, qs ...state.ID) {
		for _, q := range qs {
			check(t, w.Enlarge(q, 0))
		}
	}
	const bell, general, tableau = "Bell-diagonal", "density matrix", "tableau"
	readouts := []state.Imperfection{
		{ReadoutA: state.Readout{Flip0: 0.1, Flip1: 0.5}},
		{ReadoutB: state.Readout{Flip0: 0.1, Flip1: 0.5}},
		{ReadoutA: state.Readout{Flip0: 0.4}, ReadoutB: state.Readout{Flip0: 0.05, Flip1: 0.3}},
	}
	for _, c := range []struct {
		name    string
		prepare func(w *state.World) // of qubits 0 and 1, and 2 and 3 for others
		kinds   [2]string            // of qubits 0 and 1
		truth   [4]float64           // probabilities of the outcomes before the read-outs
	}{
		{"two pairs", func(w *state.World) { pair(w, 0, 2); pair(w, 1, 3) }, [2]string{bell, bell}, uniform},
		{"pair and qubit", func(w *state.World) { pair(w, 0, 2); zero(w, 1) }, [2]string{bell, general}, uniform},
		{"qubit and pair", func(w *state.World) { zero(w, 0); pair(w, 1, 2) }, [2]string{general, bell}, uniform},
		{"pair and half of another, dense", func(w *state.World) { pair(w, 0, 2); pair(w, 1, 3); dense(t, w, 0, 1) }, [2]string{bell, general}, uniform},
		{"pair, dense, and half of another", func(w *state.World) { pair(w, 0, 2); pair(w, 1, 3); dense(t, w, 0, 0) }, [2]string{general, bell}, uniform},
		{"two pairs, dense", func(w *state.World) { pair(w, 0, 2); pair(w, 1, 3); dense(t, w, 0, 0, 1) }, [2]string{general, general}, uniform},
		{"one pair", func(w *state.World) { pair(w, 0, 1) }, [2]string{bell, bell}, weights},
		{"one pair, dense", func(w *state.World) { pair(w, 0, 1); dense(t, w, 0, 0) }, [2]string{general, general}, weights},
		// |00⟩ is half Φ+ and half Φ−, |++⟩ half Φ+ and half Ψ+.
		{"two qubits in |0⟩", func(w *state.World) { zero(w, 0); zero(w, 1) }, [2]string{general, general}, [4]float64{qnet.PhiPlus: 0.5, qnet.PhiMinus: 0.5}},
		{"two qubits in |+⟩", func(w *state.World) { plus(w, 0); plus(w, 1) }, [2]string{general, general}, [4]float64{qnet.PhiPlus: 0.5, qnet.PsiPlus: 0.5}},
		{"two tableaus", func(w *state.World) { pair(w, 0, 2); pair(w, 1, 3); enlarge(w, 0, 1) }, [2]string{tableau, tableau}, uniform},
		{"one tableau", func(w *state.World) { pair(w, 0, 1); enlarge(w, 0) }, [2]string{tableau, tableau}, weights},
		{"pair and tableau", func(w *state.World) { pair(w, 0, 2); pair(w, 1, 3); enlarge(w, 1) }, [2]string{bell, tableau}, uniform},
		{"tableau and pair", func(w *state.World) { pair(w, 0, 2); pair(w, 1, 3); enlarge(w, 0) }, [2]string{tableau, bell}, uniform},
		{"tableau and qubit", func(w *state.World) { pair(w, 0, 2); zero(w, 1); enlarge(w, 0) }, [2]string{tableau, general}, uniform},
	} {
		for i, m := range readouts {
			name := fmt.Sprintf("%s, read-outs %d", c.name, i)
			p := make([]float64, 4)
			for o := range p {
				for l, x := range c.truth {
					for bit, r := range []state.Readout{m.ReadoutA, m.ReadoutB} { // bit 0 of the outcome is a's
						f := [2][2]float64{{1 - r.Flip0, r.Flip0}, {r.Flip1, 1 - r.Flip1}}
						x *= f[l>>bit&1][o>>bit&1]
					}
					p[o] += x
				}
			}
			rng := qnet.NewRand(8, name)
			w := state.World{Rand: rng}
			counts := make([]int, 4)
			for range n {
				c.prepare(&w)
				if k := [2]string{w.Kind(0), w.Kind(1)}; k != c.kinds {
					t.Fatalf("%s: held as %q, want %q", name, k, c.kinds)
				}
				o, err := w.BellMeasure(0, 1, 0, &m, rng)
				check(t, err)
				counts[o]++
			}
			qnettest.Fit(t, name, counts, p)
		}
	}
}
