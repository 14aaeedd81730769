package herald_test

// The attempt-by-attempt reference of the single-click protocol, written from
// the physics in Fock space: emission, loss into an environment, interference of
// partly distinguishable photons, detectors, and noise on the emitters. It uses
// nothing of package herald.

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
)

// clickLink is one link and its detectors; index 0 is end A.
type clickLink struct {
	alpha, eta       [2]float64
	visibility, dark float64
	phaseStd, double [2]float64
	dephasing        float64
	numberResolving  bool
}

// A mode is behind the beam splitter, towards detector 0 or 1 in internal
// mode 0 or 1, or in the environment of an arm.
const (
	clickEnvironment = 4
	clickModes       = 6
)

// clickTerm is an occupation of the modes, with its amplitudes while the
// emitters are in 00, 01, 10, 11.
type clickTerm struct {
	n   [clickModes]int
	amp [4]complex128
}

func (t clickTerm) p() (p float64) {
	for _, a := range t.amp {
		p += real(a)*real(a) + imag(a)*imag(a)
	}
	return p
}

// photon returns the amplitudes over the modes of a photon emitted at an end,
// its arm longer by phase. Photon A defines internal mode 0; photon B overlaps
// with it by √V. Arm B is the one whose reflection changes sign.
func (l clickLink) photon(end int, phase float64) (u [clickModes]complex128) {
	internal, sign := [2]float64{1, 0}, [2]float64{1, 1}
	if end == 1 {
		internal = [2]float64{math.Sqrt(l.visibility), math.Sqrt(1 - l.visibility)}
		sign[1] = -1
	}
	for d := range 2 {
		for k := range 2 {
			u[2*d+k] = cmplx.Rect(math.Sqrt(l.eta[end]/2)*sign[d]*internal[k], phase)
		}
	}
	u[clickEnvironment+end] = complex(math.Sqrt(1-l.eta[end]), 0)
	return u
}

// emit returns the state after both ends have emitted.
func (l clickLink) emit(phase [2]float64) []clickTerm {
	var vacuum clickTerm
	for q := range vacuum.amp {
		a := 1.0
		for end, bright := range [2]bool{q&2 != 0, q&1 != 0} {
			a *= math.Sqrt(pick(bright, l.alpha[end], 1-l.alpha[end]))
		}
		vacuum.amp[q] = complex(a, 0)
	}
	psi := []clickTerm{vacuum}
	for end := range 2 {
		var next []clickTerm
		add := func(n [clickModes]int, q int, a complex128) {
			if a == 0 {
				return
			}
			for i := range next {
				if next[i].n == n {
					next[i].amp[q] += a
					return
				}
			}
			t := clickTerm{n: n}
			t.amp[q] = a
			next = append(next, t)
		}
		u := l.photon(end, phase[end])
		for _, t := range psi {
			for q, a := range t.amp {
				if q>>(1-end)&1 == 0 {
					add(t.n, q, a)
					continue
				}
				for m, x := range u { // a†|n⟩ = √(n+1)|n+1⟩
					n := t.n
					n[m]++
					add(n, q, a*x*complex(math.Sqrt(float64(n[m])), 0))
				}
			}
		}
		psi = next
	}
	return psi
}

// detect returns the detector that heralds, or -1.
func (l clickLink) detect(n [clickModes]int, dark [2]bool) int {
	clicks, which := 0, -1
	for d := range 2 {
		photons := n[2*d] + n[2*d+1]
		if l.numberResolving && photons > 1 {
			return -1
		}
		if photons > 0 || dark[d] {
			clicks++
			which = d
		}
	}
	if clicks != 1 {
		return -1
	}
	return which
}

// clickMeanCosine returns the mean cosine of the phase of an arm, by the rule of
// rectangles, which converges exponentially on a circle.
func clickMeanCosine(std float64) float64 {
	if std == 0 {
		return 1
	}
	const points = 2048
	var sum, norm float64
	for i := range points {
		c := math.Cos(2 * math.Pi * float64(i) / points)
		w := math.Exp((c - 1) / (std * std))
		sum += w * c
		norm += w
	}
	return sum / norm
}

// exact sums over all that can happen, and returns the unnormalised density
// matrix that each detector heralds. An arm holds one photon at most, so its
// phase φ enters by exp(±iφ) only: two phases ±φ of the right mean cosine give the
// same average as the whole distribution.
func (l clickLink) exact() (rho [2][4][4]complex128) {
	var phi [2]float64
	for end := range 2 {
		phi[end] = math.Acos(min(1, clickMeanCosine(l.phaseStd[end])))
	}
	for s := range 4 {
		phase := [2]float64{phi[0] * pick(s&1 != 0, -1, 1), phi[1] * pick(s&2 != 0, -1, 1)}
		for _, t := range l.emit(phase) {
			for d := range 4 {
				dark := [2]bool{d&1 != 0, d&2 != 0}
				k := l.detect(t.n, dark)
				if k < 0 {
					continue
				}
				p := 0.25 * pick(dark[0], l.dark, 1-l.dark) * pick(dark[1], l.dark, 1-l.dark)
				for i := range 4 {
					for j := range 4 {
						rho[k][i][j] += complex(p, 0) * t.amp[i] * cmplx.Conj(t.amp[j])
					}
				}
			}
		}
	}
	for k := range rho {
		clickDephase(&rho[k], 2, l.double[0]/2)
		clickDephase(&rho[k], 1, l.double[1]/2)
		clickDephase(&rho[k], 1, l.dephasing/2)
	}
	return rho
}

// clickDephase applies Z to a qubit, given by its bit, with probability p.
func clickDephase(rho *[4][4]complex128, bit int, p float64) {
	for i := range rho {
		for j := range rho[i] {
			z := pick((i^j)&bit != 0, -1, 1) // ZρZ
			rho[i][j] = complex(1-p, 0)*rho[i][j] + complex(p*z, 0)*rho[i][j]
		}
	}
}

// clickLab makes attempts one by one.
type clickLab struct {
	clickLink
	terms []clickTerm // of phases 0, which do not change how likely a term is
	rng   *rand.Rand
}

func newClickLab(l clickLink, rng *rand.Rand) *clickLab {
	return &clickLab{clickLink: l, terms: l.emit([2]float64{}), rng: rng}
}

// attempt makes one attempt, and returns the detector that heralds, or -1, and
// the emitters.
func (l *clickLab) attempt() (which int, qubits [4]complex128) {
	u := l.rng.Float64()
	t := l.terms[len(l.terms)-1]
	for _, c := range l.terms {
		if u -= c.p(); u < 0 {
			t = c
			break
		}
	}
	which = l.detect(t.n, [2]bool{l.rng.Float64() < l.dark, l.rng.Float64() < l.dark})
	norm := complex(1/math.Sqrt(t.p()), 0)
	var phase [2]float64
	var z int
	for end := range 2 {
		phase[end] = l.vonMises(l.phaseStd[end])
		if l.rng.Float64() < l.double[end]/2 {
			z ^= 2 >> end
		}
	}
	if l.rng.Float64() < l.dephasing/2 {
		z ^= 1
	}
	for q := range qubits {
		// A photon of arm A carries the phase of A wherever it went; in the
		// environment a phase is of no consequence.
		turn := float64(q>>1)*phase[0] + float64(q&1)*phase[1]
		qubits[q] = norm * t.amp[q] * cmplx.Rect(1, turn)
		if q&z == 1 || q&z == 2 { // one of the flipped qubits is in |1⟩
			qubits[q] = -qubits[q]
		}
	}
	return which, qubits
}

// vonMises draws a phase of density ∝ exp(cos(φ)/std²) by rejection from the
// wrapped Cauchy distribution (D. J. Best and N. I. Fisher, Applied Statistics 28,
// 152, 1979).
func (l *clickLab) vonMises(std float64) float64 {
	if std == 0 {
		return 0
	}
	k := 1 / (std * std)
	tau := 1 + math.Sqrt(1+4*k*k)
	rho := (tau - math.Sqrt(2*tau)) / (2 * k)
	r := (1 + rho*rho) / (2 * rho)
	for {
		z := math.Cos(math.Pi * l.rng.Float64())
		f := (1 + r*z) / (r + z)
		c := k * (r - f)
		u := 1 - l.rng.Float64()
		if c*(2-c) > u || math.Log(c/u)+1-c >= 0 {
			return math.Acos(max(-1, min(1, f))) * pick(l.rng.IntN(2) == 0, 1, -1)
		}
	}
}

// clickOutcomes returns the probabilities of ++, +-, -+ and -- when the qubits of
// rho are measured along the axes a and b (X, Y, Z).
func clickOutcomes(rho [4][4]complex128, a, b int) (p [4]float64) {
	// The eigenvectors of X, Y and Z, that of +1 first.
	r := complex(math.Sqrt2/2, 0)
	vectors := [3][2][2]complex128{
		{{r, r}, {r, -r}},
		{{r, r * 1i}, {r, -r * 1i}},
		{{1, 0}, {0, 1}},
	}
	for o := range p {
		va, vb := vectors[a][o>>1], vectors[b][o&1]
		for i := range 4 {
			for j := range 4 {
				p[o] += real(cmplx.Conj(va[i>>1]*vb[i&1]) * rho[i][j] * va[j>>1] * vb[j&1])
			}
		}
	}
	return p
}
