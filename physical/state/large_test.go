package state_test

import (
	"errors"
	"math"
	"testing"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// quads is how many sets of four qubits are in the cluster of a largeWorld, and
// spare how many of them are left to keep it large while the others are measured.
const quads, spare = 16, 3

// largeWorld returns a function that makes worlds of one cluster of many pairs in
// Φ+: qubits 4k and 4k+1, and 4k+2 and 4k+3, for each k. Of these, 4k+1 and 4k+2
// have the memory d.
func largeWorld(t *testing.T, seed string, d state.Decay) func() *state.World {
	rng := qnet.NewRand(40, seed)
	return func() *state.World {
		w := &state.World{Rand: rng}
		for k := range state.ID(quads) {
			for _, q := range []state.ID{4 * k, 4*k + 2} {
				da, db := perfect, d
				if q%4 == 2 {
					da, db = d, perfect
				}
				w.Pair(q, q+1, 0, da, db, pure(qnet.PhiPlus))
				check(t, w.Enlarge(q, 0))
				if q > 0 { // two gates that undo each other join them
					check(t, w.Gate2(q-2, q, 0, physical.GateCZ, 0))
					check(t, w.Gate2(q-2, q, 0, physical.GateCZ, 0))
				}
			}
		}
		return w
	}
}

// wantLarge fails the test unless q is in a tableau of more than MaxQubits.
func wantLarge(t *testing.T, w *state.World, q state.ID) {
	t.Helper()
	if n, k := len(w.Entangled(q)), w.Kind(q); n <= state.MaxQubits || k != "tableau" {
		t.Fatalf("%d qubits are held as a %s, want a tableau of more than %d", n, k, state.MaxQubits)
	}
}

// single returns the probabilities of the labels of a pair that was in Φ+, half
// of which has had X, Y or Z with the given probabilities.
func single(px, py, pz float64) [4]float64 {
	return [4]float64{qnet.PhiPlus: 1 - px - py - pz, qnet.PsiPlus: px, qnet.PsiMinus: py, qnet.PhiMinus: pz}
}

// each returns the joint probabilities of two labels that are independent.
func each(a, b [4]float64) []float64 {
	p := make([]float64, 16)
	for i := range p {
		p[i] = a[i>>2] * b[i&3]
	}
	return p
}

// together returns the probabilities of the labels of two pairs, a half of each
// of which is depolarised with probability q together: of the 16 products of
// Paulis, each makes other labels.
func together(q float64) []float64 {
	p := make([]float64, 16)
	for i := range p {
		p[i] = q / 16
	}
	p[0] += 1 - q
	return p
}

// Each kind of noise, alone, does what it says to halves of two pairs in a large
// cluster: the labels of the two, measured ideally, tell which Paulis it was.
// False alarm 3e-7 each.
func TestLargeChannels(t *testing.T) {
	const n = 120
	// noisy applies a gate that depolarises, and undoes the gate.
	noisy := func(g physical.Gate, depol float64) func(w *state.World, a, b state.ID) error {
		return func(w *state.World, a, b state.ID) error {
			return errors.Join(w.Gate2(a, b, second, g, depol), w.Gate2(a, b, second, g, 0))
		}
	}
	nothing := func(*state.World, state.ID, state.ID) error { return nil }
	none := single(0, 0, 0)
	flip := (1 - math.Exp(-1/0.8)) / 2                    // dephasing for 1 s
	slow := (1 - math.Exp(-math.Pow(1/1.3, 2.5))) / 2     // with a stretch
	mix := -math.Expm1(-1.4)                              // depolarising
	keepXY, keepZ := math.Exp(-1/0.8-1.4), math.Exp(-1.4) // both
	bothXY, bothZ := (1-keepZ)/4, (1+keepZ-2*keepXY)/4    // X and Y each, Z
	for _, c := range []struct {
		name   string
		memory state.Decay
		act    func(w *state.World, a, b state.ID) error
		p      []float64
	}{
		{"no noise", perfect, noisy(physical.GateCNOT, 0), together(0)},
		{"gate of two qubits", perfect, noisy(physical.GateCNOT, 0.8), together(0.8)},
		{"gate of two qubits, at most", perfect, noisy(physical.GateCNOT, 1), together(1)},
		{"CZ", perfect, noisy(physical.GateCZ, 0.7), together(0.7)},
		{"depolarising of two", perfect, func(w *state.World, a, b state.ID) error { return w.Depolarise2(a, b, second, 0.9) }, together(0.9)},
		{"depolarising of two, at most", perfect, func(w *state.World, a, b state.ID) error { return w.Depolarise2(b, a, second, 1) }, together(1)},
		{"depolarising of the first", perfect, func(w *state.World, a, _ state.ID) error { return w.Depolarise(a, second, 0.8) }, each(single(0.2, 0.2, 0.2), none)},
		{"depolarising of the second", perfect, func(w *state.World, _, b state.ID) error { return w.Depolarise(b, second, 1) }, each(none, single(0.25, 0.25, 0.25))},
		{"dephasing", perfect, func(w *state.World, a, b state.ID) error {
			return errors.Join(w.Dephase(a, second, 0.3), w.Dephase(b, second, 0.8))
		}, each(single(0, 0, 0.3), single(0, 0, 0.8))},
		{"Pauli", perfect, func(w *state.World, a, b state.ID) error {
			return errors.Join(w.Pauli(a, second, 0.1, 0.2, 0.4), w.Pauli(b, second, 0.5, 0.3, 0))
		}, each(single(0.1, 0.2, 0.4), single(0.5, 0.3, 0))},
		{"T2", state.Decay{T2: 0.8}, nothing, each(single(0, 0, flip), single(0, 0, flip))},
		{"T2 with a stretch", state.Decay{T2: 1.3, Stretch: 2.5}, nothing, each(single(0, 0, slow), single(0, 0, slow))},
		{"depolarising memory", state.Decay{Depolarise: 1.4}, nothing, each(single(mix/4, mix/4, mix/4), single(mix/4, mix/4, mix/4))},
		{"T2 and depolarising", state.Decay{T2: 0.8, Depolarise: 1.4}, nothing, each(single(bothXY, bothXY, bothZ), single(bothXY, bothXY, bothZ))},
	} {
		world := largeWorld(t, c.name, c.memory)
		counts := make([]int, 16)
		for range n {
			w := world()
			for k := range state.ID(quads - spare) {
				wantLarge(t, w, 4*k+1)
				check(t, c.act(w, 4*k+1, 4*k+2))
				first, err := w.BSM(4*k, 4*k+1, second, 0, 0, w.Rand)
				check(t, err)
				other, err := w.BSM(4*k+2, 4*k+3, second, 0, 0, w.Rand)
				check(t, err)
				counts[first<<2|other]++
			}
		}
		qnettest.Fit(t, c.name, counts, c.p)
	}
}

// reported returns the joint probabilities of the true outcome, any as probable as
// the others, and the one that is reported. f has the probabilities of a phase
// bit that reads 1 where it is 0 and where it is 1, g those of the parity bit.
func reported(f, g [2]float64) []float64 {
	p := make([]float64, 16)
	read := func(one [2]float64, truth, bit int) float64 {
		if bit == 1 {
			return one[truth]
		}
		return 1 - one[truth]
	}
	for i := range p {
		p[i] = read(f, i>>2&1, i&1) * read(g, i>>3, i>>1&1) / 4
	}
	return p
}

// Each imperfection of a Bell measurement, alone, does what it says when it joins
// two pairs in a large cluster: the label of the pair that is left, measured
// ideally, is the outcome that is true. False alarm 3e-7 each.
func TestLargeBellMeasurement(t *testing.T) {
	const n = 120
	right := [2]float64{0, 1}
	flipped := func(p float64) [2]float64 { return [2]float64{p, 1 - p} }
	for _, c := range []struct {
		name string
		m    state.Imperfection
		p    []float64
	}{
		{"nothing", state.Imperfection{}, reported(right, right)},
		// Half of what depolarises a qubit flips its bit.
		{"gate of one qubit depolarises", state.Imperfection{Gate1: state.Noise{Depolarise: 0.6}}, reported(flipped(0.3), right)},
		{"gate of one qubit depolarises, at most", state.Imperfection{Gate1: state.Noise{Depolarise: 1}}, reported(flipped(0.5), right)},
		// Right before the read-out, a phase does not count.
		{"gate of one qubit dephases", state.Imperfection{Gate1: state.Noise{Dephase: 0.9}}, reported(right, right)},
		{"gate of two qubits depolarises, at most", state.Imperfection{Gate2: state.Noise{Depolarise: 1}}, reported(flipped(0.5), flipped(0.5))},
		// H turns the phase of a to a bit.
		{"gate of two qubits dephases", state.Imperfection{Gate2: state.Noise{Dephase: 0.7}}, reported(flipped(0.7), right)},
		{"read-out of a, of 0", state.Imperfection{ReadoutA: state.Readout{Flip0: 0.4}}, reported([2]float64{0.4, 1}, right)},
		{"read-out of a, of 1", state.Imperfection{ReadoutA: state.Readout{Flip1: 0.4}}, reported([2]float64{0, 0.6}, right)},
		{"read-out of b, of 0", state.Imperfection{ReadoutB: state.Readout{Flip0: 0.4}}, reported(right, [2]float64{0.4, 1})},
		{"read-out of b, of 1", state.Imperfection{ReadoutB: state.Readout{Flip1: 0.4}}, reported(right, [2]float64{0, 0.6})},
		{"gate of two qubits depolarises", state.Imperfection{Gate2: state.Noise{Depolarise: 0.8}}, func() []float64 {
			p := make([]float64, 16)
			for i := range p {
				p[i] = 0.8 / 16
				if i>>2 == i&3 {
					p[i] += 0.2 / 4
				}
			}
			return p
		}()},
	} {
		world := largeWorld(t, c.name, perfect)
		counts := make([]int, 16)
		for range n {
			w := world()
			for k := range state.ID(quads - spare) {
				wantLarge(t, w, 4*k+1)
				o, err := w.BellMeasure(4*k+1, 4*k+2, 0, &c.m, w.Rand)
				check(t, err)
				truth, err := w.BSM(4*k, 4*k+3, 0, 0, 0, w.Rand)
				check(t, err)
				counts[truth<<2|o]++
			}
		}
		qnettest.Fit(t, c.name, counts, c.p)
	}
}

// The read-out of one qubit of a large cluster errs as it says: the other half of
// its pair, measured ideally, has the bit that is true, but for Y, in which the
// halves of Φ+ differ. False alarm 3e-7 each.
func TestLargeReadout(t *testing.T) {
	const n = 50
	for _, r := range []state.Readout{{Flip0: 0.4}, {Flip1: 0.4}, {Flip0: 0.1, Flip1: 0.7}} {
		for _, b := range []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ} {
			world := largeWorld(t, b.String(), perfect)
			counts := make([]int, 4)
			for range n {
				w := world()
				for q := state.ID(0); q < 4*(quads-spare); q += 2 {
					wantLarge(t, w, q)
					bit, err := w.MeasureNoisy(q, 0, b, r, w.Rand)
					check(t, err)
					truth, err := w.Measure(q+1, 0, b, w.Rand)
					check(t, err)
					if b == qnet.BasisY {
						truth ^= 1
					}
					counts[truth<<1|bit]++
				}
			}
			qnettest.Fit(t, b.String(), counts, []float64{(1 - r.Flip0) / 2, r.Flip0 / 2, r.Flip1 / 2, (1 - r.Flip1) / 2})
		}
	}
}
