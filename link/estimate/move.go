package estimate

import "qstack/physical"

// A move puts the state of a qubit into another that was initialised, by CNOT(from,
// to) and CNOT(to, from); the first qubit is then freed. If the second was not |0⟩
// but had the Bloch vector (0,0,z), the state is flipped with probability (1−z)/2.
//
// A gate takes effect at its end, until which both qubits decay. Attempts of other
// lanes may meanwhile dephase the second qubit: before the first gate it has no
// coherence, between the gates f is left of it.
//
// The move is a channel of one qubit, linear in z and in f.
type move struct {
	corner [2][2]channel // for z and f of 0 and 1
}

// newMove works a move out, with the noise of two-qubit gates of a data sheet.
func newMove(s *physical.Spec, from, to *qubit) (m move) {
	first, second := from.over(s.Gate2), to.over(s.Gate2)
	for z := range 2 {
		for f := range 2 {
			dephased := channel{{1}, {0, float64(f)}, {0, 0, float64(f)}, {0, 0, 0, 1}}
			for p := range 4 { // the Pauli matrix that goes in
				var w state
				w[4*p] = 1
				w[4*p+3] = float64(z)
				w = w.through(&first, &second)
				w.cnot(false)
				w.gateNoise(&s.Noise)
				w = w.through(&identity, &dephased)
				w = w.through(&first, &second)
				w.cnot(true)
				w.gateNoise(&s.Noise)
				for j := range 4 {
					m.corner[z][f][j][p] = w[j] // the first qubit is gone
				}
			}
		}
	}
	return m
}

// channel returns the move for the given z and f.
func (m *move) channel(z, f float64) (c channel) {
	w := [2][2]float64{{(1 - z) * (1 - f), (1 - z) * f}, {z * (1 - f), z * f}}
	for i := range c {
		for j := range c[i] {
			c[i][j] = w[0][0]*m.corner[0][0][i][j] + w[0][1]*m.corner[0][1][i][j] + w[1][0]*m.corner[1][0][i][j] + w[1][1]*m.corner[1][1][i][j]
		}
	}
	return c
}

// slope returns the derivative of the channel by z.
func (m *move) slope(f float64) (c channel) {
	one, zero := m.channel(1, f), m.channel(0, f)
	for i := range c {
		for j := range c[i] {
			c[i][j] = one[i][j] - zero[i][j]
		}
	}
	return c
}

// cnot applies the gate, with the first qubit as control, or else the second. It
// takes X of the control to X⊗X and Z of the target to Z⊗Z.
func (s *state) cnot(reversed bool) {
	var out state
	for p := range 4 {
		for q := range 4 {
			from := 4*p + q
			c, t := p, q
			if reversed {
				c, t = q, p
			}
			// Bits of a Pauli matrix: X, Z; Y has both.
			cx, cz, tx, tz := bits[c][0], bits[c][1], bits[t][0], bits[t][1]
			sign := 1.0
			if cx&tz&(tx^cz^1) == 1 { // XZ → −YY and YY → −XZ
				sign = -1
			}
			c, t = pauli[cx][cz^tz], pauli[tx^cx][tz]
			if reversed {
				c, t = t, c
			}
			out[4*c+t] = sign * s[from]
		}
	}
	*s = out
}

var (
	bits  = [4][2]int{{0, 0}, {1, 0}, {1, 1}, {0, 1}}
	pauli = [2][2]int{{0, 3}, {1, 2}}
)

// gateNoise applies the noise after a gate of two qubits.
func (s *state) gateNoise(n *physical.Noise) {
	keep, phase := 1-n.Gate2Depolarising, 1-2*n.Gate2Dephasing
	for i := 1; i < 16; i++ {
		s[i] *= keep
		if bits[i>>2][0] == 1 {
			s[i] *= phase
		}
		if bits[i&3][0] == 1 {
			s[i] *= phase
		}
	}
}
