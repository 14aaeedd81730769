package state_test

import (
	"fmt"
	"math"
	"testing"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/physical/state/densetest"
	"qstack/qnet"
)

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
							density(t, &w, 0, x, y), densetest.Bell(l.Swap(r, o)))
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
