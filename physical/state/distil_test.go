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
)

// randomWeights draws weights, or those of a pure state now and then.
func randomWeights(rng *rand.Rand) (w [4]float64) {
	if rng.IntN(8) == 0 {
		return pure(qnet.BellLabel(rng.IntN(4)))
	}
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

func randomImperfection(rng *rand.Rand) (m state.Imperfection) {
	for _, p := range []*float64{&m.Gate1.Depolarise, &m.Gate1.Dephase, &m.Gate2.Depolarise, &m.Gate2.Dephase,
		&m.ReadoutA.Flip0, &m.ReadoutA.Flip1, &m.ReadoutB.Flip0, &m.ReadoutB.Flip1} {
		if rng.IntN(2) == 0 {
			*p = 0.4 * rng.Float64()
		}
	}
	return m
}

// distilByGates is a step of distillation, of the pairs 0–1 (kept) and 2–3, by
// the gates of the world, up to the two outcomes.
func distilByGates(t *testing.T, w *state.World, rng *rand.Rand, rotate bool, nodes [2]*state.Imperfection) (bit uint8, agree bool) {
	for node, m := range nodes {
		kept, other := state.ID(node), state.ID(2+node)
		if rotate {
			angle := math.Pi / 2 * float64(1-2*node)
			for _, q := range []state.ID{kept, other} {
				check(t, w.Gate1(q, 0, physical.GateRX, angle))
				check(t, w.Depolarise(q, 0, m.Gate1.Depolarise))
				check(t, w.Dephase(q, 0, m.Gate1.Dephase))
			}
		}
		check(t, w.Gate2(kept, other, 0, physical.GateCNOT, m.Gate2.Depolarise))
		check(t, w.Dephase(kept, 0, m.Gate2.Dephase))
		check(t, w.Dephase(other, 0, m.Gate2.Dephase))
	}
	var bits [2]uint8
	for node, m := range nodes {
		q := state.ID(2 + node)
		var err error
		bits[node], err = w.MeasureNoisy(q, 0, qnet.BasisZ, m.ReadoutB, rng)
		check(t, err)
		w.Free(q, 0)
	}
	return bits[0], bits[0] == bits[1]
}

// distilByReference returns the probability that both outcomes are the same, the
// state that is left then, and that for each value of the outcomes.
func distilByReference(kept, measured [4]float64, rotate bool, nodes [2]*state.Imperfection) (success float64, rho matrix, given [2]matrix) {
	ref := densetest.New[state.ID]()
	ref.Pair(0, 1, still, still, kept)
	ref.Pair(2, 3, still, still, measured)
	for node, m := range nodes {
		a, b := state.ID(node), state.ID(2+node)
		if rotate {
			for _, q := range []state.ID{a, b} {
				ref.Gate1(q, physical.GateRX, math.Pi/2*float64(1-2*node))
				ref.Noise(densetest.Noise(m.Gate1), q)
			}
		}
		ref.Gate2(a, b, physical.GateCNOT, 0)
		ref.Noise(densetest.Noise(m.Gate2), a, b)
	}
	rho = densetest.Zeros(4, 4)
	for bit := range 2 {
		r := ref.Clone()
		p := 1.0
		for node, m := range nodes {
			if p > 1e-12 {
				p *= r.Read(state.ID(2+node), qnet.BasisZ, densetest.Errors{m.ReadoutB.Flip0, m.ReadoutB.Flip1}, bit)
			}
		}
		if p < 1e-12 { // no such outcome
			continue
		}
		success += p
		given[bit] = r.Density(0, 1)
		for i, row := range given[bit] {
			for j, x := range row {
				rho[i][j] += complex(p, 0) * x
			}
		}
	}
	return success, rho.Times(complex(1/success, 0)), given
}

// The closed forms, the gates of the world and the reference agree, for any
// weights and imperfections.
func TestDistillation(t *testing.T) {
	rng := qnet.NewRand(20, "distillation")
	for range 300 {
		kept, measured := randomWeights(rng), randomWeights(rng)
		alice, bob := randomImperfection(rng), randomImperfection(rng)
		for _, rotate := range []bool{false, true} {
			step, nodes := state.BBPSSW, [2]*state.Imperfection{&alice, &bob}
			if rotate {
				step = state.DEJMPS
			}
			success, out := step(kept, measured, &alice, &bob)
			p, rho, given := distilByReference(kept, measured, rotate, nodes)
			if p < 1e-9 { // pure pairs, perfect gates
				if success > 1e-9 {
					t.Fatalf("success has probability %g, want 0", success)
				}
				continue
			}
			wantClose(t, "success", success, p)
			want := densetest.Zeros(4, 4)
			for l, x := range out {
				for i, row := range densetest.Bell(qnet.BellLabel(l)) {
					for j, y := range row {
						want[i][j] += complex(x, 0) * y
					}
				}
			}
			wantDensity(t, "closed form", want, rho)

			// Each try succeeds with a probability of at least 1e-2 or the case is
			// skipped; 2,500 tries fail with probability 1e-11.
			for try := 0; success > 0.01; try++ {
				var w state.World
				w.Pair(0, 1, 0, perfect, perfect, kept)
				w.Pair(2, 3, 0, perfect, perfect, measured)
				if bit, agree := distilByGates(t, &w, rng, rotate, nodes); agree {
					wantDensity(t, fmt.Sprintf("by gates, rotated %t", rotate), density(t, &w, 0, 0, 1), given[bit])
					if k := w.Kind(0); k != "Bell-diagonal" {
						t.Fatalf("the pair that is left is held as a %s", k)
					}
					break
				}
				if try == 2500 {
					t.Fatalf("no success in %d tries of probability %g", try, success)
				}
			}
		}
	}
}

// The closed forms of the papers: for Werner pairs of fidelity F, g = (1−F)/3,
// F' = (F²+g²)/N, N = F²+2Fg+5g² (Bennett et al., PRL 76, 722, eq. 7), and for
// weights A, B, C, D of Φ+, Ψ−, Ψ+, Φ−, N = (A+B)²+(C+D)², A' = (A²+B²)/N, B' = 2CD/N,
// C' = (C²+D²)/N, D' = 2AB/N (Deutsch et al., PRL 77, 2818).
func TestDistillationOfPapers(t *testing.T) {
	var ideal state.Imperfection
	for _, f := range []float64{0.3, 0.5, 0.75, 0.95, 1} {
		w := state.Twirl([4]float64{qnet.PhiPlus: f, qnet.PsiPlus: 1 - f})
		g := (1 - f) / 3
		n := f*f + 2*f*g + 5*g*g
		p, out := state.BBPSSW(w, w, &ideal, &ideal)
		wantClose(t, "success", p, n)
		wantClose(t, "fidelity", out[qnet.PhiPlus], (f*f+g*g)/n)
	}
	a, b, c, d := 0.6, 0.25, 0.1, 0.05
	w := [4]float64{qnet.PhiPlus: a, qnet.PsiMinus: b, qnet.PsiPlus: c, qnet.PhiMinus: d}
	n := (a+b)*(a+b) + (c+d)*(c+d)
	p, out := state.DEJMPS(w, w, &ideal, &ideal)
	wantClose(t, "success", p, n)
	wantClose(t, "Φ+", out[qnet.PhiPlus], (a*a+b*b)/n)
	wantClose(t, "Ψ−", out[qnet.PsiMinus], 2*c*d/n)
	wantClose(t, "Ψ+", out[qnet.PsiPlus], (c*c+d*d)/n)
	wantClose(t, "Φ−", out[qnet.PhiMinus], 2*a*b/n)
}
