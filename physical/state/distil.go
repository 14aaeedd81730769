package state

import "qstack/qnet"

// Twirl returns the weights of the Werner state that random bilateral rotations
// leave of a pair: that of the same fidelity to Φ+ (Bennett et al., Phys. Rev.
// Lett. 76, 722, 1996).
func Twirl(w [4]float64) [4]float64 {
	rest := (w[qnet.PhiMinus] + w[qnet.PsiPlus] + w[qnet.PsiMinus]) / 3
	return [4]float64{qnet.PhiPlus: w[qnet.PhiPlus], qnet.PhiMinus: rest, qnet.PsiPlus: rest, qnet.PsiMinus: rest}
}

// BBPSSW returns what a step of the distillation of Bennett, Brassard, Popescu,
// Schumacher, Smolin and Wootters, Phys. Rev. Lett. 76, 722 (1996), makes of two
// Bell-diagonal pairs with these weights: each node applies CNOT from its half of
// the pair that is kept to its half of the other, measures the latter in Z, and
// the step succeeds if both report the same bit. success is its probability, and
// out the weights of the pair that is left then.
//
// alice and bob are the imperfections of the nodes, with a the half that is kept
// and b the one that is measured, so that Gate1 and ReadoutA do not count; they
// must be valid. With read-outs that err more often on one bit, out is the mean
// over both values of the bit. The random rotations of the original before each step are not
// included: see Twirl.
func BBPSSW(kept, measured [4]float64, alice, bob *Imperfection) (success float64, out [4]float64) {
	agree := alice.ReadoutB.agree(bob.ReadoutB)
	depolarised := 1 - (1-alice.Gate2.Depolarise)*(1-bob.Gate2.Depolarise)
	flip := (1 - (1-2*alice.Gate2.Dephase)*(1-2*bob.Gate2.Dephase)) / 2
	for l := range out {
		// The CNOTs leave labels x₁, z₁⊕z₂ and x₁⊕x₂, z₂: the outcomes agree if the
		// bits x do. If a node's qubits are depolarised, nothing is left of either
		// pair, for the other halves are mixed already.
		same, differ := depolarised/8, depolarised/8
		for z := range 2 {
			same += (1 - depolarised) * kept[l&2|z] * measured[l^z]
			differ += (1 - depolarised) * kept[l&2|z] * measured[l^z^2]
		}
		p := agree[0]*same + agree[1]*differ
		out[l] += (1 - flip) * p
		out[l^1] += flip * p
	}
	return normalise(&out), out
}

// DEJMPS returns what a step of the distillation of Deutsch, Ekert, Jozsa,
// Macchiavello, Popescu and Sanpera, Phys. Rev. Lett. 77, 2818 (1996), makes of two
// Bell-diagonal pairs: BBPSSW, before which one node rotates both of its qubits
// by RX(π/2) and the other by RX(−π/2), which exchanges Φ− and Ψ−.
func DEJMPS(kept, measured [4]float64, alice, bob *Imperfection) (success float64, out [4]float64) {
	keep := (1 - alice.Gate1.Depolarise) * (1 - bob.Gate1.Depolarise)
	phase := keep * (1 - 2*alice.Gate1.Dephase) * (1 - 2*bob.Gate1.Dephase)
	for _, w := range [...]*[4]float64{&kept, &measured} {
		w[qnet.PhiMinus], w[qnet.PsiMinus] = w[qnet.PsiMinus], w[qnet.PhiMinus]
		v := spectrum(w)
		v.multiply(&vector{phase, phase, keep})
		*w = v.weights()
	}
	return BBPSSW(kept, measured, alice, bob)
}

// agree returns the probability that two read-outs report the same bit, for
// qubits in the same state, 0 or 1 equally likely, and for different ones.
func (r Readout) agree(s Readout) [2]float64 {
	a0, a1, b0, b1 := r.Flip0, r.Flip1, s.Flip0, s.Flip1
	return [2]float64{
		((1-a0)*(1-b0) + a0*b0 + (1-a1)*(1-b1) + a1*b1) / 2,
		((1-a0)*b1 + a0*(1-b1) + (1-a1)*b0 + a1*(1-b0)) / 2,
	}
}

// normalise makes the weights add up to 1 and returns what they added up to.
func normalise(w *[4]float64) float64 {
	sum := w[0] + w[1] + w[2] + w[3]
	if sum > 0 {
		for l := range w {
			w[l] /= sum
		}
	}
	return sum
}
