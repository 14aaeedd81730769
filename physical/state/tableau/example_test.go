package tableau_test

import (
	"fmt"

	"qstack/physical/state/tableau"
	"qstack/qnet"
)

// Two pairs are swapped: a Bell measurement in the middle leaves its ends
// entangled, in the Bell state that its outcome tells.
func Example() {
	rng := qnet.NewRand(1, "example")
	var t tableau.Tableau
	t.AddPair(qnet.PhiPlus)  // qubits 0 and 1
	t.AddPair(qnet.PsiMinus) // qubits 2 and 3

	x := t.Measure(rng, tableau.Z.On(1), tableau.Z.On(2))
	z := t.Measure(rng, tableau.X.On(1), tableau.X.On(2))
	outcome := qnet.BellLabel(x<<1 | z)
	t.Discard(rng, 2)
	t.Discard(rng, 1)

	fmt.Println(t.Len(), "qubits, fidelity", t.BellFidelity(0, 1, qnet.PhiPlus.Swap(qnet.PsiMinus, outcome)))
	// Output: 2 qubits, fidelity 1
}
