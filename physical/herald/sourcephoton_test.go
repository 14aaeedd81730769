package herald_test

// The photon-by-photon references of sources in the middle and of absorptive
// memories. They are written from the physics (Born's rule, loss, interference of
// partly distinguishable photons in Fock space, threshold detectors) and use
// nothing of package herald.

import (
	"math"
	"math/cmplx"
	"math/rand/v2"

	"qstack/qnet"
)

// sourceBasis is a measurement of both ends; the first three are X, Y and Z at
// both.
type sourceBasis struct{ thetaA, phiA, thetaB, phiB float64 }

var sourcePauli = [3]sourceBasis{{math.Pi / 2, 0, math.Pi / 2, 0}, {math.Pi / 2, math.Pi / 2, math.Pi / 2, math.Pi / 2}, {}}

func sourceRandomBasis(rng *rand.Rand) sourceBasis {
	return sourceBasis{math.Acos(2*rng.Float64() - 1), 2 * math.Pi * rng.Float64(), math.Acos(2*rng.Float64() - 1), 2 * math.Pi * rng.Float64()}
}

// sourceEigen is the state whose outcome is bit, along an axis.
func sourceEigen(theta, phi float64, bit int) [2]complex128 {
	s, c := math.Sincos(theta / 2)
	if bit == 0 {
		return [2]complex128{complex(c, 0), cmplx.Rect(s, phi)}
	}
	return [2]complex128{complex(s, 0), -cmplx.Rect(c, phi)}
}

// sourceBorn returns the probabilities of the outcomes 00, 01, 10 and 11 of a pure
// state.
func sourceBorn(psi [4]complex128, b sourceBasis) (p [4]float64) {
	for o := range 4 {
		u, v := sourceEigen(b.thetaA, b.phiA, o/2), sourceEigen(b.thetaB, b.phiB, o%2)
		var amplitude complex128
		for i := range 4 {
			amplitude += cmplx.Conj(u[i/2]*v[i%2]) * psi[i]
		}
		p[o] = real(amplitude * cmplx.Conj(amplitude))
	}
	return p
}

// sourceOutcomes is sourceBorn for a density matrix.
func sourceOutcomes(rho [16]complex128, b sourceBasis) (p [4]float64) {
	for o := range 4 {
		u, v := sourceEigen(b.thetaA, b.phiA, o/2), sourceEigen(b.thetaB, b.phiB, o%2)
		var sum complex128
		for i := range 4 {
			for j := range 4 {
				sum += cmplx.Conj(u[i/2]*v[i%2]) * rho[4*i+j] * u[j/2] * v[j%2]
			}
		}
		p[o] = real(sum)
	}
	return p
}

// sourceWerner returns the outcomes of a Werner state of visibility v.
func sourceWerner(l qnet.BellLabel, v float64, b sourceBasis) (p [4]float64) {
	h := complex(math.Sqrt2/2, 0)
	p = sourceBorn(map[qnet.BellLabel][4]complex128{
		qnet.PhiPlus: {h, 0, 0, h}, qnet.PhiMinus: {h, 0, 0, -h}, qnet.PsiPlus: {0, h, h, 0}, qnet.PsiMinus: {0, h, -h, 0},
	}[l], b)
	for o := range p {
		p[o] = v*p[o] + (1-v)/4
	}
	return p
}

func sourcePoisson(mean float64, k int) float64 {
	l, _ := math.Lgamma(float64(k + 1))
	return math.Exp(float64(k)*math.Log(mean) - mean - l)
}

// sourceDraw draws an index of probability p, which add up to 1.
func sourceDraw(rng *rand.Rand, p []float64) int {
	u := rng.Float64()
	for i, x := range p {
		if u -= x; u < 0 {
			return i
		}
	}
	return len(p) - 1
}

// sourceDrawPoisson draws a Poisson number by arrivals in a unit of time.
func sourceDrawPoisson(rng *rand.Rand, mean float64) (n int) {
	for t := rng.ExpFloat64(); t < mean; t += rng.ExpFloat64() {
		n++
	}
	return n
}

// sourceBits adds the outcome of a set of clicks, two bits per end (A, outcomes 0
// and 1, then B), with probability p, to the table of those accepted. An end with
// two clicks takes a random bit.
func sourceBits(clicks int, p float64, table *[4]float64) {
	a, b := clicks&3, clicks>>2
	if a == 0 || b == 0 {
		return
	}
	share := func(clicks, bit int) float64 {
		switch clicks {
		case 3:
			return 0.5
		case 1 << bit:
			return 1
		}
		return 0
	}
	for o := range 4 {
		table[o] += p * share(a, o/2) * share(b, o%2)
	}
}

// sourceDrawBits is sourceBits, drawn.
func sourceDrawBits(rng *rand.Rand, clicks int) (outcome int, ok bool) {
	var table [4]float64
	sourceBits(clicks, 1, &table)
	if table == ([4]float64{}) {
		return 0, false
	}
	return sourceDraw(rng, table[:]), true
}

// sourceNoise lets each of n detectors click without a photon.
func sourceNoise(p []float64, noise []float64) []float64 {
	for d, x := range noise {
		next := make([]float64, len(p))
		for clicks, w := range p {
			next[clicks] += w * (1 - x)
			next[clicks|1<<d] += w * x
		}
		p = next
	}
	return p
}

// pairLab is a source between two ends that measure.
type pairLab struct {
	pairs, split, etaA, etaB, visibility, darkA, darkB float64
	label                                              qnet.BellLabel
}

// pair returns the distributions of the clicks that a pair makes in a window, and
// that a photon at A or at B does whose partner falls into another window.
func (l pairLab) pair(b sourceBasis) (both, onlyA, onlyB [16]float64) {
	for o, w := range sourceWerner(l.label, l.visibility, b) {
		a, b := 1<<(o/2), 4<<(o%2)
		both[a|b] += w * l.etaA * l.etaB
		both[a] += w * l.etaA * (1 - l.etaB)
		both[b] += w * (1 - l.etaA) * l.etaB
		both[0] += w * (1 - l.etaA) * (1 - l.etaB)
	}
	for bit := range 2 {
		onlyA[1<<bit] += l.etaA / 2
		onlyB[4<<bit] += l.etaB / 2
	}
	onlyA[0] = 1 - l.etaA
	onlyB[0] = 1 - l.etaB
	return both, onlyA, onlyB
}

// exact sums over the numbers of pairs, all photons and dark counts.
func (l pairLab) exact(b sourceBasis) (table [4]float64) {
	both, onlyA, onlyB := l.pair(b)
	state := []float64{15: 0}
	state[0] = 1
	for _, kind := range []struct {
		mean   float64
		clicks [16]float64
	}{{l.pairs * (1 - l.split), both}, {l.pairs * l.split, onlyA}, {l.pairs * l.split, onlyB}} {
		sum := make([]float64, 16)
		for n := 0; n < 40+int(6*kind.mean); n++ {
			w := 1.0
			if kind.mean > 0 {
				w = sourcePoisson(kind.mean, n)
			} else if n > 0 {
				break
			}
			next := make([]float64, 16)
			for i, x := range state {
				sum[i] += w * x
				for j, y := range kind.clicks {
					next[i|j] += x * y
				}
			}
			state = next
		}
		state = sum
	}
	for clicks, p := range sourceNoise(state, []float64{l.darkA, l.darkA, l.darkB, l.darkB}) {
		sourceBits(clicks, p, &table)
	}
	return table
}

// attempt makes one attempt.
func (l pairLab) attempt(rng *rand.Rand, b sourceBasis) (outcome int, ok bool) {
	clicks := 0
	p := sourceWerner(l.label, l.visibility, b)
	for range sourceDrawPoisson(rng, l.pairs) {
		o := sourceDraw(rng, p[:])
		if rng.Float64() < l.etaA {
			clicks |= 1 << (o / 2)
		}
		if rng.Float64() >= l.split && rng.Float64() < l.etaB {
			clicks |= 4 << (o % 2)
		}
	}
	for range sourceDrawPoisson(rng, l.pairs*l.split) { // partners of photons in other windows
		if rng.Float64() < l.etaB {
			clicks |= 4 << rng.IntN(2)
		}
	}
	for d, dark := range [4]float64{l.darkA, l.darkA, l.darkB, l.darkB} {
		if rng.Float64() < dark {
			clicks |= 1 << d
		}
	}
	return sourceDrawBits(rng, clicks)
}

// memoryLab is a source between two memories. The outcome of an attempt is that
// of measuring what they keep.
type memoryLab struct {
	pairs, etaA, etaB, visibility, falseA, falseB float64
	label                                         qnet.BellLabel
}

// exact returns the probability of success, and that the memories keep photons of
// the same pair, by the number of pairs and how many of them went where.
func (l memoryLab) exact() (p, same float64) {
	most := 25 + int(6*l.pairs)
	var term [4][]float64 // xᵏ/k!
	for i, x := range [4]float64{l.etaA * l.etaB, l.etaA * (1 - l.etaB), (1 - l.etaA) * l.etaB, (1 - l.etaA) * (1 - l.etaB)} {
		term[i] = append(term[i], 1)
		for k := 1; k < most; k++ {
			term[i] = append(term[i], term[i][k-1]*x/float64(k))
		}
	}
	for n := range most {
		w := sourcePoisson(l.pairs, n)
		for k := 1; k <= n; k++ {
			w *= float64(k)
		}
		for j := range n + 1 {
			for a := range n - j + 1 {
				for b := range n - j - a + 1 {
					w := w * term[0][j] * term[1][a] * term[2][b] * term[3][n-j-a-b]
					for f := range 4 {
						wf := w * pick(f&1 != 0, l.falseA, 1-l.falseA) * pick(f&2 != 0, l.falseB, 1-l.falseB)
						atA, atB := j+a+f&1, j+b+f>>1
						if atA > 0 && atB > 0 {
							p += wf
							same += wf * float64(j) / float64(atA*atB)
						}
					}
				}
			}
		}
	}
	return p, same
}

func (l memoryLab) attempt(rng *rand.Rand, b sourceBasis) (outcome int, ok bool) {
	var bits [2][]int
	p := sourceWerner(l.label, l.visibility, b)
	for range sourceDrawPoisson(rng, l.pairs) {
		o := sourceDraw(rng, p[:])
		if rng.Float64() < l.etaA {
			bits[0] = append(bits[0], o/2)
		}
		if rng.Float64() < l.etaB {
			bits[1] = append(bits[1], o%2)
		}
	}
	if rng.Float64() < l.falseA {
		bits[0] = append(bits[0], rng.IntN(2))
	}
	if rng.Float64() < l.falseB {
		bits[1] = append(bits[1], rng.IntN(2))
	}
	if len(bits[0]) == 0 || len(bits[1]) == 0 {
		return 0, false
	}
	return 2*bits[0][rng.IntN(len(bits[0]))] + bits[1][rng.IntN(len(bits[1]))], true
}

// sourceFockTerm is a product of photon numbers in the modes of the memories and of
// their partners, with an amplitude. Modes are (end, bin), or (end) alone.
type sourceFockTerm struct {
	memory, partner [4]int
	amplitude       float64
}

// sourceFockModes is room for the output modes of an interferometer.
const sourceFockModes = 24

type sourceFockState map[[sourceFockModes]uint8]complex128

// sourceFockForm is a creation operator after the interferometer: amplitudes of modes.
type sourceFockForm map[int]complex128

// create applies a creation operator. Amplitudes are those of products of
// creation operators, not of normalised states.
func (s sourceFockState) create(f sourceFockForm) sourceFockState {
	next := make(sourceFockState)
	for occupied, x := range s {
		for mode, y := range f {
			o := occupied
			o[mode]++
			next[o] += x * y
		}
	}
	return next
}

// sourceFockEvolve sends the terms, in superposition, through the interferometer that takes
// the memories' and the partners' modes to the given forms, and returns the
// probability of every set of photon numbers.
func sourceFockEvolve(terms []sourceFockTerm, memory, partner []sourceFockForm) map[[sourceFockModes]uint8]float64 {
	sum := make(sourceFockState)
	for _, t := range terms {
		s := sourceFockState{{}: complex(t.amplitude, 0)}
		norm := 1.0
		for m := range memory {
			for n := range t.memory[m] {
				s = s.create(memory[m])
				norm *= float64(n + 1)
			}
			for n := range t.partner[m] {
				s = s.create(partner[m])
				norm *= float64(n + 1)
			}
		}
		for o, x := range s {
			sum[o] += x / complex(math.Sqrt(norm), 0)
		}
	}
	p := make(map[[sourceFockModes]uint8]float64, len(sum))
	for o, x := range sum {
		w := real(x * cmplx.Conj(x))
		for _, n := range o {
			for k := 2; k <= int(n); k++ {
				w *= float64(k)
			}
		}
		p[o] = w
	}
	return p
}

// sourceFockSqueezed returns the squeezed vacua of the given mean numbers of pairs, up
// to a total number of pairs.
func sourceFockSqueezed(means []float64, most int) (terms []sourceFockTerm) {
	var add func(t sourceFockTerm, mode, left int)
	add = func(t sourceFockTerm, mode, left int) {
		if mode == len(means) {
			terms = append(terms, t)
			return
		}
		n := means[mode]
		for k := range left + 1 {
			u := t
			u.memory[mode], u.partner[mode] = k, k
			u.amplitude *= math.Sqrt(math.Pow(n/(1+n), float64(k)) / (1 + n))
			add(u, mode+1, left-k)
		}
	}
	add(sourceFockTerm{amplitude: 1}, 0, most)
	return terms
}

// absorptiveLab is a link of absorptive memories.
type absorptiveLab struct {
	pairs, eta, visibilities, memory, noise [2]float64 // by end
	visibility, dark                        float64
	squeezed                                bool
}

// middle returns what becomes of a partner's photon: detectors are the modes
// bin·4+port·2+internal, lost photons the modes 8 to 11.
func (l absorptiveLab) middle(end, bin int) sourceFockForm {
	f := sourceFockForm{8 + 2*end + bin: complex(math.Sqrt(1-l.eta[end]), 0)}
	for port := range 2 {
		x := math.Sqrt(l.eta[end] / 2)
		if end == 1 && port == 1 {
			x = -x
		}
		if end == 0 {
			f[bin*4+port*2] = complex(x, 0)
			continue
		}
		f[bin*4+port*2] = complex(x*math.Sqrt(l.visibility), 0)
		f[bin*4+port*2+1] = complex(x*math.Sqrt(1-l.visibility), 0)
	}
	return f
}

// sourceFockPauli applied to one bin of a qubit gives another bin and a factor.
func sourceFockPauli(k, bin int) (int, complex128) {
	switch {
	case k == 1:
		return 1 - bin, 1
	case k == 2 && bin == 0:
		return 1, 1i
	case k == 2:
		return 0, -1i
	case k == 3 && bin == 1:
		return 1, -1
	}
	return bin, 1
}

// analyser returns what becomes of a photon in a memory that has suffered a Pauli
// error: detectors are the modes 12+2·end+outcome, lost photons 16 to 19.
func (l absorptiveLab) analyser(end, bin, pauli int, b sourceBasis) sourceFockForm {
	theta, phi := b.thetaA, b.phiA
	if end == 1 {
		theta, phi = b.thetaB, b.phiB
	}
	bin, factor := sourceFockPauli(pauli, bin)
	f := sourceFockForm{16 + 2*end + bin: complex(math.Sqrt(1-l.memory[end]), 0)}
	for bit := range 2 {
		f[12+2*end+bit] = factor * cmplx.Conj(sourceEigen(theta, phi, bit)[bin]) * complex(math.Sqrt(l.memory[end]), 0)
	}
	return f
}

// inputs returns the pure states that the sources emit, as a mixture.
func (l absorptiveLab) inputs(most int) [][]sourceFockTerm {
	if l.squeezed {
		return [][]sourceFockTerm{sourceFockSqueezed([]float64{l.pairs[0] / 2, l.pairs[0] / 2, l.pairs[1] / 2, l.pairs[1] / 2}, most)}
	}
	var mixture [][]sourceFockTerm
	for emit := range 4 {
		terms := []sourceFockTerm{{amplitude: 1}}
		for end := range 2 {
			var next []sourceFockTerm
			for _, t := range terms {
				if emit>>end&1 == 0 {
					t.amplitude *= math.Sqrt(1 - l.pairs[end])
					next = append(next, t)
					continue
				}
				for bin := range 2 {
					u := t
					u.memory[2*end+bin], u.partner[2*end+bin] = 1, 1
					u.amplitude *= math.Sqrt(l.pairs[end] / 2)
					next = append(next, u)
				}
			}
			terms = next
		}
		mixture = append(mixture, terms)
	}
	return mixture
}

// exact returns the probabilities of the heralds Ψ+ and Ψ− with each outcome, of
// at most the given number of squeezed pairs.
func (l absorptiveLab) exact(b sourceBasis, most int) (tables [2][4]float64) {
	clicks := make([]float64, 256) // middle (bin, port), then end A, end B
	for _, terms := range l.inputs(most) {
		for errs := range 16 {
			weight := 1.0
			for end := range 2 {
				v := l.visibilities[end]
				weight *= pick(errs>>(2*end)&3 == 0, v+(1-v)/4, (1-v)/4)
			}
			if weight == 0 {
				continue
			}
			var memory, partner []sourceFockForm
			for m := range 4 {
				memory = append(memory, l.analyser(m/2, m%2, errs>>(2*(m/2))&3, b))
				partner = append(partner, l.middle(m/2, m%2))
			}
			for o, p := range sourceFockEvolve(terms, memory, partner) {
				set := 0
				for m, n := range o {
					switch {
					case n == 0:
					case m < 8:
						set |= 1 << (m / 2)
					case m >= 12 && m < 16:
						set |= 16 << (m - 12)
					}
				}
				clicks[set] += weight * p
			}
		}
	}
	na, nb := l.noise[0], l.noise[1]
	for set, p := range sourceNoise(clicks, []float64{l.dark, l.dark, l.dark, l.dark, na, na, nb, nb}) {
		var port [2]int
		good := true
		for bin := range 2 {
			switch set >> (2 * bin) & 3 {
			case 1:
			case 2:
				port[bin] = 1
			default:
				good = false
			}
		}
		if good {
			sourceBits(set>>4, p, &tables[int(pick(port[0] == port[1], 0, 1))])
		}
	}
	return tables
}

// attempt makes one attempt with sources of single pairs.
func (l absorptiveLab) attempt(rng *rand.Rand, middle *lab, b sourceBasis) (herald, outcome int, ok bool) {
	var emitted [2]bool
	for end := range emitted {
		emitted[end] = rng.Float64() < l.pairs[end]
	}
	middle.etaA, middle.etaB = pick(emitted[0], l.eta[0], 0), pick(emitted[1], l.eta[1], 0)
	success, same, qubits := middle.attempt()
	if !success {
		return 0, 0, false
	}
	var psi [4]complex128
	for i, x := range qubits {
		psi[i] = complex(x, 0)
	}
	for end := range 2 {
		if rng.Float64() < l.visibilities[end] {
			continue
		}
		k := rng.IntN(4)
		var next [4]complex128
		for i, x := range psi {
			bins := [2]int{i / 2, i % 2}
			var f complex128
			bins[end], f = sourceFockPauli(k, bins[end])
			next[2*bins[0]+bins[1]] = f * x
		}
		psi = next
	}
	p := sourceBorn(psi, b)
	o := sourceDraw(rng, p[:])
	clicks := 0
	for end := range 2 {
		bit := o / 2
		if end == 1 {
			bit = o % 2
		}
		if emitted[end] && rng.Float64() < l.memory[end] {
			clicks |= 1 << (2*end + bit)
		}
		for d := range 2 {
			if rng.Float64() < l.noise[end] {
				clicks |= 1 << (2*end + d)
			}
		}
	}
	outcome, ok = sourceDrawBits(rng, clicks)
	return int(pick(same, 0, 1)), outcome, ok
}

// single returns the probabilities, for a click in port 0 alone of the one-photon
// protocol, that the memories of the two ends give no click, 01, 10, 11 (a click
// of B is the last bit), and the coherence of |01⟩ and |10⟩ with one photon left.
func (l absorptiveLab) single(most int) (p [4]float64, coherence float64) {
	terms := sourceFockSqueezed(l.pairs[:], most)
	// Memories: kept photons in the modes 12 and 13, lost ones in 14 and 15.
	var memory, partner []sourceFockForm
	for end := range 2 {
		memory = append(memory, sourceFockForm{12 + end: complex(math.Sqrt(l.memory[end]), 0), 14 + end: complex(math.Sqrt(1-l.memory[end]), 0)})
		partner = append(partner, l.middle(end, 0))
	}
	clicks := make([]float64, 16)
	for o, w := range sourceFockEvolve(terms, memory, partner) {
		set := 0
		for m, n := range o {
			switch {
			case n == 0:
			case m < 4:
				set |= 1 << (m / 2)
			case m == 12 || m == 13:
				set |= 4 << (m - 12)
			}
		}
		clicks[set] += w
	}
	clicks = sourceNoise(clicks, []float64{l.dark, l.dark, l.noise[0], l.noise[1]})
	for set := range 4 {
		p[set>>1|set&1<<1] = clicks[1|set<<2]
	}
	// The coherence is read from interference: the one kept photon, sent through a
	// balanced beam splitter, is more often in one output than in the other.
	h := complex(math.Sqrt2/2, 0)
	for end := range 2 {
		x := memory[end][12+end]
		delete(memory[end], 12+end)
		memory[end][12] = h * x
		memory[end][13] = h * x
		if end == 1 {
			memory[end][13] = -h * x
		}
	}
	for o, w := range sourceFockEvolve(terms, memory, partner) {
		if o[12]+o[13] != 1 {
			continue
		}
		dark := 0.0 // probability that port 0 alone clicks
		switch clicked := o[0]+o[1] > 0; {
		case o[2]+o[3] > 0:
		case clicked:
			dark = 1 - l.dark
		default:
			dark = l.dark * (1 - l.dark)
		}
		coherence += w * dark * (float64(o[12]) - float64(o[13])) / 2
	}
	return p, coherence * (1 - l.noise[0]) * (1 - l.noise[1])
}

// sourceMatrix is one over the modes (end, bin).
type sourceMatrix [4][4]complex128

// seen returns what each detector sees, of partners in the middle (bin·2+port) and
// behind the memories (4+2·end+outcome).
func (l absorptiveLab) seen(b sourceBasis) (seen [8]sourceMatrix) {
	for i := range 4 {
		for j := range 4 {
			pi, pj := l.middle(i/2, i%2), l.middle(j/2, j%2)
			for mode := range 8 { // two of each detector
				seen[mode/2][i][j] += pi[mode] * pj[mode]
			}
			mi, mj := l.analyser(i/2, i%2, 0, b), l.analyser(j/2, j%2, 0, b)
			for d := 4; d < 8; d++ {
				seen[d][i][j] = cmplx.Conj(mi[8+d]) * mj[8+d]
			}
		}
	}
	return seen
}

// silent returns the probability that the squeezed vacua leave a set of detectors
// silent, photons only: det(1−λ)/det(1−λXY) sums all numbers of photons; what the
// detectors see is taken off X (memories) and Y (middle).
func (l absorptiveLab) silent(set int, seen *[8]sourceMatrix) float64 {
	var x, y, m sourceMatrix
	for i := range 4 {
		x[i][i], y[i][i] = 1, 1
		for j := range 4 {
			for d := range 8 {
				switch {
				case set>>d&1 == 0:
				case d < 4:
					y[i][j] -= seen[d][i][j]
				default:
					x[i][j] -= seen[d][i][j]
				}
			}
		}
	}
	p := 1.0
	for i := range 4 {
		n := l.pairs[i/2] / 2
		p /= 1 + n
		for j := range 4 {
			for k := range 4 {
				m[i][j] -= complex(n/(1+n), 0) * x[i][k] * y[k][j]
			}
		}
		m[i][i]++
	}
	for i := range 4 { // elimination
		p /= real(m[i][i])
		for j := i + 1; j < 4; j++ {
			f := m[j][i] / m[i][i]
			for k := i; k < 4; k++ {
				m[j][k] -= f * m[i][k]
			}
		}
	}
	return p
}

// gaussian is exact for squeezed pairs of any number and sources of visibility 1,
// by inclusion and exclusion; differences lose digits if efficiencies are small.
func (l absorptiveLab) gaussian(b sourceBasis) (tables [2][4]float64) {
	noise := [8]float64{l.dark, l.dark, l.dark, l.dark, l.noise[0], l.noise[0], l.noise[1], l.noise[1]}
	seen := l.seen(b)
	var silent [256]float64
	for set := range silent {
		silent[set] = l.silent(set, &seen)
		for d, n := range noise {
			if set>>d&1 != 0 {
				silent[set] *= 1 - n
			}
		}
	}
	for d := range 8 { // from silent at least to silent exactly
		for set := range silent {
			if set>>d&1 == 0 {
				silent[set] -= silent[set|1<<d]
			}
		}
	}
	for kind := range 2 {
		for port := range 2 {
			clicks := 1<<port | 4<<(port^kind)
			for ends := range 16 {
				sourceBits(ends, silent[255^(clicks|ends<<4)], &tables[kind])
			}
		}
	}
	return tables
}
