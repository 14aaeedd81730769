package herald_test

// The attempt-by-attempt reference of the double-click protocol. It is written
// from the physics (emission, loss, interference of partly distinguishable
// photons, detectors) and uses nothing of package herald.

import (
	"math"
	"math/rand/v2"
)

// photonic is one link and its detectors.
type photonic struct {
	etaA, etaB, visibility, dark float64
	numberResolving              bool
}

// A mode is (bin, output port, internal mode): photon A occupies internal mode
// 0, photon B has overlap √V with it.
const modes = 8

func mode(bin, port, internal int) int { return bin*4 + port*2 + internal }

// arm returns the amplitudes over the output modes of one photon that enters
// the beam splitter in the given bin from end A (0) or B (1).
func (r photonic) arm(end, bin int) (out [modes]float64) {
	sign := [2]float64{1, 1}
	internal := [2]float64{1, 0}
	if end == 1 {
		sign[1] = -1
		internal = [2]float64{math.Sqrt(r.visibility), math.Sqrt(1 - r.visibility)}
	}
	for port := range 2 {
		for k := range 2 {
			out[mode(bin, port, k)] = sign[port] * internal[k] / math.Sqrt2
		}
	}
	return out
}

// branch is one thing that the photons may do: the probability that they do,
// how many photons reach each detector in each bin, and the state of the two
// qubits (amplitudes of 00, 01, 10, 11) that is left.
type branch struct {
	p      float64
	counts [2][2]int // bin, port
	qubits [4]float64
}

// branches returns everything that can happen once it is known which photons
// are lost. A lost photon takes the knowledge of its bin with it: its qubit is
// projected on that bin.
func (r photonic) branches(lostA, lostB bool) []branch {
	var list []branch
	add := func(v [4]float64, at ...int) {
		b := branch{qubits: v}
		for _, a := range v {
			b.p += a * a
		}
		if b.p == 0 {
			return
		}
		for i := range b.qubits {
			b.qubits[i] /= math.Sqrt(b.p)
		}
		for _, m := range at {
			b.counts[m/4][m/2%2]++
		}
		list = append(list, b)
	}
	basis := func(qa, qb int, amplitude float64) (v [4]float64) {
		v[2*qa+qb] = amplitude
		return v
	}
	switch {
	case lostA && lostB:
		for q := range 4 {
			add(basis(q/2, q%2, 0.5))
		}
	case lostA || lostB:
		for bin := range 2 { // of the lost photon
			for m := range modes {
				var v [4]float64
				for q := range 2 { // the other qubit
					if lostA {
						v[2*bin+q] = 0.5 * r.arm(1, q)[m]
					} else {
						v[2*q+bin] = 0.5 * r.arm(0, q)[m]
					}
				}
				add(v, m)
			}
		}
	default:
		for m := range modes {
			for n := m; n < modes; n++ {
				var v [4]float64
				for q := range 4 {
					a, b := r.arm(0, q/2), r.arm(1, q%2)
					if m == n { // (c†)²|vacuum⟩ = √2|2⟩
						v[q] = 0.5 * math.Sqrt2 * a[m] * b[m]
					} else {
						v[q] = 0.5 * (a[m]*b[n] + a[n]*b[m])
					}
				}
				add(v, m, n)
			}
		}
	}
	return list
}

// detect says whether the clicks of photons and dark counts herald a success,
// and whether it was the same detector twice.
func (r photonic) detect(counts [2][2]int, dark [2][2]bool) (success, same bool) {
	var port [2]int
	for bin := range 2 {
		clicks := 0
		for p := range 2 {
			if r.numberResolving && counts[bin][p] > 1 {
				return false, false
			}
			if counts[bin][p] > 0 || dark[bin][p] {
				clicks++
				port[bin] = p
			}
		}
		if clicks != 1 {
			return false, false
		}
	}
	return true, port[0] == port[1]
}

// exact sums over everything that can happen and returns the unnormalised
// density matrices of the heralds "different detectors" and "same detector".
func (r photonic) exact() (rho [2][4][4]float64) {
	for lost := range 4 {
		lostA, lostB := lost&2 != 0, lost&1 != 0
		pLost := pick(lostA, 1-r.etaA, r.etaA) * pick(lostB, 1-r.etaB, r.etaB)
		for _, b := range r.branches(lostA, lostB) {
			for d := range 16 {
				dark := [2][2]bool{{d&1 != 0, d&2 != 0}, {d&4 != 0, d&8 != 0}}
				p := pLost * b.p
				for i := range 4 {
					p *= pick(d>>i&1 != 0, r.dark, 1-r.dark)
				}
				success, same := r.detect(b.counts, dark)
				if !success {
					continue
				}
				k := int(pick(same, 1, 0))
				for i := range 4 {
					for j := range 4 {
						rho[k][i][j] += p * b.qubits[i] * b.qubits[j]
					}
				}
			}
		}
	}
	return rho
}

func pick(c bool, yes, no float64) float64 {
	if c {
		return yes
	}
	return no
}

// lab runs attempts one by one.
type lab struct {
	photonic
	list [4][]branch
	rng  *rand.Rand
}

func newLab(r photonic, rng *rand.Rand) *lab {
	l := &lab{photonic: r, rng: rng}
	for lost := range l.list {
		l.list[lost] = r.branches(lost&2 != 0, lost&1 != 0)
	}
	return l
}

// attempt makes one attempt.
func (l *lab) attempt() (success, same bool, qubits [4]float64) {
	lost := 0
	if l.rng.Float64() >= l.etaA {
		lost |= 2
	}
	if l.rng.Float64() >= l.etaB {
		lost |= 1
	}
	u := l.rng.Float64()
	b := l.list[lost][len(l.list[lost])-1]
	for _, c := range l.list[lost] {
		if u -= c.p; u < 0 {
			b = c
			break
		}
	}
	var dark [2][2]bool
	for bin := range 2 {
		for port := range 2 {
			dark[bin][port] = l.rng.Float64() < l.dark
		}
	}
	success, same = l.detect(b.counts, dark)
	return success, same, b.qubits
}

// correlation returns ⟨σ⊗σ⟩ of a real two-qubit state for σ=X, Y, Z.
func correlation(v [4]float64, axis int) float64 {
	switch axis {
	case 0:
		return 2 * (v[0]*v[3] + v[1]*v[2])
	case 1:
		return 2 * (v[1]*v[2] - v[0]*v[3])
	}
	return v[0]*v[0] - v[1]*v[1] - v[2]*v[2] + v[3]*v[3]
}
