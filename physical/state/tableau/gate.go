package tableau

// A gate G turns U into G·U, so that the row of a Pauli operator P becomes that
// of G†·P·G, a product of rows.

// Apply applies a Pauli operator to q.
func (t *Tableau) Apply(q int, p Pauli) {
	r := t.qubits[q]
	t.phase[r.x] += uint8(p) << 1 & 2 // Z turns X into −X
	t.phase[r.z] += uint8(p) & 2      // X turns Z into −Z
}

// H applies the Hadamard gate to q.
func (t *Tableau) H(q int) {
	r := &t.qubits[q]
	r.x, r.z = r.z, r.x
}

// S applies diag(1, i) to q.
func (t *Tableau) S(q int) {
	r := t.qubits[q]
	t.mul(r.x, r.z, 3) // X becomes −Y = −iXZ
}

// Sdg applies diag(1, −i), the inverse of S, to q.
func (t *Tableau) Sdg(q int) {
	r := t.qubits[q]
	t.mul(r.x, r.z, 1) // X becomes Y = iXZ
}

// Rotate rotates q about the axis of p by the given number of right angles, of
// either sign: exp(−i·(π/4)·quarters·P), up to a global phase.
func (t *Tableau) Rotate(q int, p Pauli, quarters int) {
	switch quarters & 3 {
	case 1:
		t.quarter(q, p)
	case 2:
		t.Apply(q, p)
	case 3:
		t.quarter(q, p)
		t.Apply(q, p)
	}
}

// quarter rotates q about the axis of p by a right angle.
func (t *Tableau) quarter(q int, p Pauli) {
	switch p {
	case X:
		t.H(q)
		t.S(q)
		t.H(q)
	case Y:
		t.H(q)
		t.Apply(q, X)
	case Z:
		t.S(q)
	}
}

// CNOT applies the controlled X gate. Control and target must differ.
func (t *Tableau) CNOT(control, target int) {
	c, g := t.qubits[control], t.qubits[target]
	t.mul(c.x, g.x, 0)
	t.mul(g.z, c.z, 0)
}

// CZ applies the controlled Z gate to a and b, which must differ.
func (t *Tableau) CZ(a, b int) {
	ra, rb := t.qubits[a], t.qubits[b]
	t.mul(ra.x, rb.z, 0)
	t.mul(rb.x, ra.z, 0)
}

// Swap exchanges the states of a and b.
func (t *Tableau) Swap(a, b int) {
	t.qubits[a], t.qubits[b] = t.qubits[b], t.qubits[a]
}
