// Package estimate foretells the fidelity of the pairs of a link, and chooses the
// operating point that a request is served at.
//
// What becomes of a pair from its emission to the instant at which it is handed up
// is worked out from the data sheets of both ends, exactly as the emulated hardware
// does it: the state that the herald leaves, storage meanwhile, moves into storage
// qubits, waiting for other pairs, read-out. Pairs that are sacrificed (test rounds)
// tell whether the data sheet is true; where they contradict it, they are believed.
//
// # What test rounds show
//
// Measured along the axes n and m, the product of both outcomes (±1) has the mean
// Σ n_i·m_i·⟨σi⊗σi⟩ for pairs that are mixtures of Bell states, and so shows one sum of
// the three correlators that the fidelity is made of. Rounds in equal Pauli bases show
// one of the three, others a mixture, those of X and Z none. The correlators are found
// from all settings together, by weighted least squares, and what no setting shows is
// taken to be as in the data sheet: so is ⟨YY⟩ in the CHSH bases, and all but one
// sum where both ends have one basis. So are the other terms of a state that is no such
// mixture, ⟨XY⟩ and the like, which the data sheet has, in axes that show them.
//
// # What a minimum fidelity means
//
// Of pairs that are kept it is the mean fidelity to the announced Bell state at the
// instant when the second of the ends has its half. Of pairs that are measured it is
// that of the state that the outcomes show, as tomography from them would find it:
//
//	F = 1 − (Qx+Qy+Qz)/2,
//
// where Q is the probability that the outcomes in equal bases are not related as the
// label says, so that errors of read-out count. It does not depend on the bases that
// the request measures in. Of pairs of which one half is measured to prepare the
// other it is the same with one measurement: 1−Q is then the mean fidelity of the
// state that is prepared in a basis, to that which label and outcome announce.
//
// # Limits
//
// A data sheet has no exponent of stretched dephasing, nor a dephasing by attempts
// that depends on the operating point. A device that differs from its data sheet in
// this, or by a fault, is found by test rounds only.
//
// What is stored meanwhile is dephased by attempts at their mean rate: a part of an
// attempt counts as such a part, and pauses between blocks are spread over the
// attempts. Pairs that wait for others are taken to wait for lanes that start together
// after each pair in storage, or test round, as many as pairs are missing: where there
// are several that is longer than they do. Lanes that layers above hold, what time
// slots and other requests take, and frames that are lost, are not counted: they make the
// wait longer. Where relaxation does a storage qubit good that was not initialised well,
// what interrupts attempts makes it worse: what is granted holds nevertheless. Halves
// of several lanes of serial hardware wait for each other, when their heralds come at
// one instant: that counts with its mean; operations of other requests and of layers
// above are not counted. Nor is the time for which an initialised storage qubit waits
// for an end that has none free. Blocks of two ends that differ in length meet by
// chance. All else is exact.
package estimate
