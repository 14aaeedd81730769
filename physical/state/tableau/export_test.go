package tableau

import (
	"fmt"
	"math/bits"
)

// Check returns an error unless the rows are a Clifford operator's: Hermitian,
// X and Z of one qubit anticommute, everything else commutes, and free columns
// are clear.
func (t *Tableau) Check() error {
	if live := t.columns - len(t.freeColumns); live != t.Len() || len(t.freeRows) != len(t.freeColumns) {
		return fmt.Errorf("%d qubits have %d columns and %d free pairs of rows of %d", t.Len(), live, len(t.freeRows), t.columns)
	}
	var rows []operator
	seen := map[int32]bool{}
	for _, q := range t.qubits {
		for _, r := range [...]int32{q.x, q.z} {
			if seen[r] || int(r) >= 2*t.columns {
				return fmt.Errorf("row %d is used twice or beyond %d columns", r, t.columns)
			}
			seen[r] = true
			rows = append(rows, t.row(r))
		}
	}
	for i, a := range rows {
		y := 0
		for k := range a.x {
			y += bits.OnesCount64(a.x[k] & a.z[k])
		}
		if (int(a.phase)+y)%2 != 0 {
			return fmt.Errorf("row %d of qubit %d is not Hermitian", i%2, i/2)
		}
		for _, c := range t.freeColumns {
			if (a.x[c>>6]|a.z[c>>6])>>(c&63)&1 != 0 {
				return fmt.Errorf("row %d of qubit %d has a free column %d", i%2, i/2, c)
			}
		}
		for j, b := range rows[:i] {
			anti := 0
			for k := range a.x {
				anti += bits.OnesCount64(a.x[k]&b.z[k]) + bits.OnesCount64(a.z[k]&b.x[k])
			}
			if want := i/2 == j/2; (anti%2 == 1) != want {
				return fmt.Errorf("row %d of qubit %d and row %d of qubit %d: anticommute %t, want %t", i%2, i/2, j%2, j/2, anti%2 == 1, want)
			}
		}
	}
	return nil
}

// Columns returns the number of columns taken.
func (t *Tableau) Columns() int { return t.columns }

// Parts calls f with every state of the mixture and its probability.
func (m *Mixture) Parts(f func(p float64, t *Tableau)) {
	below := 0.0
	for k, p := range m.upTo {
		var t Tableau
		t.addState(m, k)
		f(p-below, &t)
		below = p
	}
}
