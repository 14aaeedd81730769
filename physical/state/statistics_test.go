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
