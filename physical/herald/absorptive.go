package herald

import (
	"math"

	"qstack/qnet"
)

// PhotonMemory is a memory that absorbs a photon and gives it back later, such as
// an atomic frequency comb or a warm vapour, with the detectors behind it.
type PhotonMemory struct {
	// Write is the probability that a photon that the source emits for this memory
	// is stored, collection and coupling included, in [0,1].
	Write float64
	// Read is the probability that a photon still stored at the time of read-out
	// makes a detector click, everything on the way and the detector included, in
	// [0,1].
	Read float64
	// StorageNS is the time from write to read-out in nanoseconds, at least 0.
	StorageNS float64
	// LifetimeNS is the time in nanoseconds after which 1/e of the stored photons
	// are left, above 0; 0 means that none are lost.
	LifetimeNS float64
	// Gaussian decay is exp(−(t/LifetimeNS)²), as that of a static distribution
	// of frequencies or by ballistic motion; else it is exp(−t/LifetimeNS).
	Gaussian bool
	// Noise is the probability that a given one of the detectors behind the memory
	// clicks in a read-out without a stored photon: by photons of the control
	// fields, background and dark counts, in [0,1).
	Noise float64
}

// Efficiency returns the probability that a photon that the source emits for
// this memory makes a detector click at read-out.
func (m PhotonMemory) Efficiency() float64 {
	kept := 1.0
	if m.LifetimeNS > 0 {
		x := m.StorageNS / m.LifetimeNS
		if m.Gaussian {
			x *= x
		}
		kept = math.Exp(-x)
	}
	return m.Write * m.Read * kept
}

// WithSNR returns the memory with the noise that gives a signal-to-noise ratio,
// the clicks of one photon per read-out that the source emits for this memory
// over the clicks of none, counted at two detectors together. It must be above 0
// and large enough that Noise is below 1; +Inf means no noise.
func (m PhotonMemory) WithSNR(snr float64) PhotonMemory {
	m.Noise = m.Efficiency() / (2 * snr)
	return m
}

func (m PhotonMemory) validate(what string, heraldNS float64) error {
	switch {
	case !(m.Write >= 0 && m.Write <= 1):
		return invalid(what+": write efficiency", m.Write, "from 0 to 1")
	case !(m.Read >= 0 && m.Read <= 1):
		return invalid(what+": read-out efficiency", m.Read, "from 0 to 1")
	case !(m.StorageNS >= 0 && m.StorageNS <= maxPeriodNS):
		return invalid(what+": storage time in nanoseconds", m.StorageNS, "from 0 to 3.6e12, an hour")
	case m.StorageNS < heraldNS:
		return qnet.Errorf(qnet.ErrInvalid, "%s: storage time in nanoseconds is %g, want at least %g, when the herald arrives", what, m.StorageNS, heraldNS)
	case !(m.LifetimeNS >= 0):
		return invalid(what+": lifetime in nanoseconds", m.LifetimeNS, "above 0, or 0 for no loss")
	case !(m.Noise >= 0 && m.Noise < 1):
		return invalid(what+": noise probability of a read-out", m.Noise, "from 0 to below 1")
	}
	return nil
}

// PairStatistics is how many pairs a source emits in an attempt.
type PairStatistics uint8

const (
	// SinglePair emits one pair or none, as a quantum dot does.
	SinglePair PairStatistics = iota
	// SqueezedPairs is a two-mode squeezed vacuum in every mode, as parametric
	// down-conversion into single modes and the write pulse of an atomic ensemble
	// have it: n pairs have probability Nⁿ/(1+N)ⁿ⁺¹ for a mean of N. Photons that
	// are to interfere must come from single modes, so Poisson numbers, which are
	// those of many modes, have no place here.
	SqueezedPairs
)

// AbsorptiveEnd is one end of a link with absorptive memories: a source of
// photon pairs, one photon of which goes into the end's memory while its partner
// travels to the middle.
type AbsorptiveEnd struct {
	// Pairs is the probability that the source emits its pair in an attempt, in
	// [0,1], or for SqueezedPairs the mean number of pairs in an attempt, at least
	// 0 and at most 1.
	Pairs float64
	// Eta is the probability that the partner makes a detector in the middle
	// click, everything on its way included, in [0,1].
	Eta float64
	// Memory of this end.
	Memory PhotonMemory
}

func (e AbsorptiveEnd) validate(what string, heraldNS float64) error {
	switch {
	case !(e.Pairs >= 0 && e.Pairs <= 1):
		return invalid(what+": pairs per attempt", e.Pairs, "from 0 to 1")
	case !(e.Eta >= 0 && e.Eta <= 1):
		return invalid(what+": detection efficiency in the middle", e.Eta, "from 0 to 1")
	}
	return e.Memory.validate(what, heraldNS)
}

// Absorptive is the two-photon link between absorptive memories: each end emits
// pairs that are entangled in an early and a late bin (or in polarisation), stores
// one photon and sends the other to a balanced beam splitter mid-way; as in
// DoubleClick, exactly one of two threshold detectors must click in the early and
// one in the late bin, the same detector twice announces Ψ+ and different ones Ψ−.
// Both memories are read out after their storage time, and analysed as by
// PairSource, with a random bit for a double click.
//
// A success is a herald in the middle and a click behind both memories: the
// pairs are selected after the fact, by the measurement that uses them up. This
// is how such links were measured (X. Liu et al., Nature 594, 41, 2021,
// arXiv:2101.04945), and why the model is Immediate.
//
// With SinglePair sources the state is exact in all bases. With SqueezedPairs all
// orders are in the success probability, which no basis changes, and in the
// correlations along X, Y and Z, which define the state. Validate refuses what
// makes the correlation in any other pair of bases deviate from that of the state
// by more than 0.1 % of the largest.
//
// The photons are counted by their generating function: let X be the matrix, over
// the modes of the memories, that takes off what a set of detectors sees, and Y
// that of their partners; squeezed vacua of λ=N/(1+N) leave all of the set silent
// with probability det(1−λ)/det(1−λXY), the sum over all numbers of photons.
// Clicks follow by inclusion and exclusion.
type Absorptive struct {
	Source PairStatistics
	A, B   AbsorptiveEnd
	// VisibilityA and VisibilityB are those of the entanglement between memory
	// and partner at this end, in [0,1]: with probability 1−VisibilityA the qubit
	// in the memory of end A is depolarised.
	VisibilityA, VisibilityB float64
	// Visibility is the squared overlap of the partners' wave packets at the beam
	// splitter, in [0,1].
	Visibility float64
	// DarkCount is the probability that a detector in the middle clicks without a
	// photon in one bin, in [0,1).
	DarkCount float64
	// HeraldNS is the time in nanoseconds from the emission until the herald is
	// back at the ends, at least 0: the memories must store as long.
	HeraldNS float64
	// PeriodNS is the time from one attempt to the next in nanoseconds, above 0.
	PeriodNS float64
}

// Validate implements Model.
func (m Absorptive) Validate() error {
	const what = "absorptive link"
	switch {
	case m.Source > SqueezedPairs:
		return qnet.Errorf(qnet.ErrInvalid, "%s: source is %d, want 0 (single pair) or 1 (squeezed pairs)", what, m.Source)
	case !(m.VisibilityA >= 0 && m.VisibilityA <= 1):
		return invalid(what+": visibility of the source of end A", m.VisibilityA, "from 0 to 1")
	case !(m.VisibilityB >= 0 && m.VisibilityB <= 1):
		return invalid(what+": visibility of the source of end B", m.VisibilityB, "from 0 to 1")
	}
	if err := validMiddle(what, m.A, m.B, m.Visibility, m.DarkCount, m.HeraldNS, m.PeriodNS); err != nil {
		return err
	}
	if !(m.SuccessProbability() > 0) {
		return qnet.Errorf(qnet.ErrInvalid, "%s: sources of %g and %g pairs never give a herald and a click behind both memories: emission, efficiencies or noise must be above 0", what, m.A.Pairs, m.B.Pairs)
	}
	if m.Source == SqueezedPairs {
		s := m.squeezed()
		if share := s.success() / s.herald(); share < leastShare {
			return qnet.Errorf(qnet.ErrInvalid, "%s: share of heralds with a click behind both memories is %.2g, want at least %g, below which rounding shows: the memories' efficiencies or noise must be higher", what, share, leastShare)
		}
		if d := s.deviation(); d > linear {
			return qnet.Errorf(qnet.ErrInvalid, "%s: pairs per attempt are %g and %g: correlations deviate by %.2g %% from those of a state of two qubits, because of attempts with several pairs, want at most 0.1 %%; pump less", what, m.A.Pairs, m.B.Pairs, 100*d)
		}
	}
	return nil
}

// leastShare of heralds keeps the rounding of differences below 1e-4 of a success.
const leastShare = 1e-11

// validMiddle checks what the links with memories have in common.
func validMiddle(what string, a, b AbsorptiveEnd, visibility, dark, heraldNS, periodNS float64) error {
	if !(heraldNS >= 0 && heraldNS <= maxPeriodNS) {
		return invalid(what+": time until the herald in nanoseconds", heraldNS, "from 0 to 3.6e12, an hour")
	}
	if err := a.validate(what+": end A", heraldNS); err != nil {
		return err
	}
	if err := b.validate(what+": end B", heraldNS); err != nil {
		return err
	}
	if !(visibility >= 0 && visibility <= 1) {
		return invalid(what+": visibility in the middle", visibility, "from 0 to 1")
	}
	if !(dark >= 0 && dark < 1) {
		return invalid(what+": dark count probability", dark, "from 0 to below 1")
	}
	return validPeriod(what, periodNS)
}

// Period implements Model.
func (m Absorptive) Period() float64 { return m.PeriodNS }

// Immediate implements Immediate: the read-out is part of the attempt.
func (m Absorptive) Immediate() bool { return true }

// SuccessProbability implements Model.
func (m Absorptive) SuccessProbability() float64 {
	if m.Source == SqueezedPairs {
		return 4 * m.squeezed().success()
	}
	p, _, _ := m.single()
	return p
}

// Heralds implements Model: Ψ+ and Ψ− with equal probability.
func (m Absorptive) Heralds() []Herald {
	var xx, zz float64 // of Ψ+
	if m.Source == SqueezedPairs {
		xx, zz = m.squeezed().correlations()
	} else {
		_, xx, zz = m.single()
	}
	return []Herald{
		{Label: qnet.PsiPlus, P: 0.5, State: BellDiagonal(bellWeights(xx, xx, zz))},
		{Label: qnet.PsiMinus, P: 0.5, State: BellDiagonal(bellWeights(-xx, -xx, zz))},
	}
}

// bellWeights returns the weights of the Bell-diagonal state of these
// correlations along X, Y and Z.
func bellWeights(xx, yy, zz float64) (w [4]float64) {
	w[qnet.PhiPlus] = (1 + xx - yy + zz) / 4
	w[qnet.PhiMinus] = (1 - xx + yy + zz) / 4
	w[qnet.PsiPlus] = (1 + xx + yy - zz) / 4
	w[qnet.PsiMinus] = (1 - xx - yy - zz) / 4
	for l := range w {
		w[l] = max(w[l], 0) // but for rounding
	}
	return w
}

// single returns the success probability with sources of single pairs and the
// correlations of Ψ+ along X (and Y) and along Z.
//
// It is the sum over the partners that are detected: both herald by one in each
// bin (which leaves the coherence V) or, bunched, with a dark count in the other
// bin; one with one dark count; none with two. A memory whose partner is not
// detected holds a random qubit, or nothing.
func (m Absorptive) single() (p, xx, zz float64) {
	pd, q := m.DarkCount, 1-m.DarkCount
	seenA, unseenA, goodA := m.A.clicks()
	seenB, unseenB, goodB := m.B.clicks()
	odd := q * q / 2
	even := pd * q * q * (1 + m.Visibility) / 2
	p = seenA*seenB*(odd+even) + (seenA*unseenB+unseenA*seenB)*2*pd*q*q + unseenA*unseenB*4*pd*pd*q*q
	good := goodA * goodB * m.VisibilityA * m.VisibilityB / p
	return p, good * odd * m.Visibility, good * (even - odd)
}

// clicks returns the probabilities of a click behind the memory and that the
// partner is detected, or is not; and of the first with a bit that is that of the
// stored photon (or else is random).
func (e AbsorptiveEnd) clicks() (seen, unseen, good float64) {
	eff, n := e.Memory.Efficiency(), e.Memory.Noise
	noise := n * (2 - n)          // of either detector
	signal := eff + (1-eff)*noise // click with a photon emitted for the memory
	arrived := e.Pairs * e.Eta    // the partner is detected
	lost := e.Pairs * (1 - e.Eta) // it is emitted and is not
	unseen = lost*signal + (1-e.Pairs)*noise
	return arrived * signal, unseen, arrived * eff * (1 - n)
}

// squeezed is an Absorptive link of SqueezedPairs, seen through one of the two
// patterns of clicks in the middle that announce Ψ+ (all four are equally likely).
type squeezed struct {
	ends       [2]squeezedEnd
	cross      float64 // what a detector in the middle sees of the ends' interference
	apart      float64 // 1 less the squared overlap of the partners
	visibility float64 // of both sources' entanglement together
	dark       float64
}

type squeezedEnd struct {
	lambda float64 // N/(1+N) of a mode
	eta    float64
	memory float64 // efficiency
	quiet  float64 // probability that a detector behind the memory has no noise
}

func (m Absorptive) squeezed() *squeezed {
	return &squeezed{
		ends:       [2]squeezedEnd{m.A.squeezed(2), m.B.squeezed(2)},
		cross:      math.Sqrt(m.Visibility*m.A.Eta*m.B.Eta) / 2,
		apart:      1 - m.Visibility,
		visibility: m.VisibilityA * m.VisibilityB,
		dark:       m.DarkCount,
	}
}

// squeezed returns the end with its pairs spread over a number of modes.
func (e AbsorptiveEnd) squeezed(modes float64) squeezedEnd {
	n := e.Pairs / modes
	return squeezedEnd{lambda: n / (1 + n), eta: e.Eta, memory: e.Memory.Efficiency(), quiet: 1 - e.Memory.Noise}
}

// silence is what an end contributes while detectors behind its memory are
// silent: a probability, and a matrix over the bins {early, late} of what its
// partners may still do in the middle.
type silence struct {
	p           float64
	early, late float64
	cross       complex128 // early, late
}

// after returns λx/(1−λ(1−η)x), and the probability (1−λ)/(1−λ(1−η)x) that a mode
// is not seen in the middle nor, by a detector that misses x, behind the memory.
func (e *squeezedEnd) after(x float64) (k, p float64) {
	d := 1 - e.lambda*(1-e.eta)*x
	return e.lambda * x / d, (1 - e.lambda) / d
}

// one returns the silence of the detector for the outcome of the axis a.
func (e *squeezedEnd) one(a [3]float64) silence {
	k, p := e.after(1)
	km, pm := e.after(1 - e.memory)
	mean, half := (k+km)/2, (km-k)/2
	return silence{
		p:     p * pm * e.quiet,
		early: mean + half*a[2],
		late:  mean - half*a[2],
		cross: complex(half*a[0], -half*a[1]),
	}
}

// both returns the silence of both detectors.
func (e *squeezedEnd) both() silence {
	k, p := e.after(1 - e.memory)
	return silence{p: p * p * e.quiet * e.quiet, early: k, late: k}
}

// free returns what an end contributes whatever its detectors do.
func (e *squeezedEnd) free() silence {
	k, p := e.after(1)
	return silence{p: p * p, early: k, late: k}
}

// click returns the c by which a mode, in which the ends contribute a and b, has
// 1/(1−c) times the probability of silence in the middle if a detector may click.
func (s *squeezed) click(a, b float64) float64 {
	a *= s.ends[0].eta / 2
	b *= s.ends[1].eta / 2
	return a + b - a*b*s.apart
}

// pattern returns the probability of the pattern with both ends as given.
//
// Relative to silence in the middle, a bin that may click has probability
// 1/(1−early), and both bins 1/((1−early)(1−late)−joint); differences are
// taken before they can cancel.
func (s *squeezed) pattern(a, b silence) float64 {
	early, late := s.click(a.early, b.early), s.click(a.late, b.late)
	caa, cbb, cab := s.ends[0].eta/2, s.ends[1].eta/2, s.cross

	// 1−R, over (A,early), (B,early) and then the late ones.
	m := [4][4]complex128{
		{complex(1-a.early*caa, 0), complex(-a.early*cab, 0), -a.cross * complex(caa, 0), -a.cross * complex(cab, 0)},
		{complex(-b.early*cab, 0), complex(1-b.early*cbb, 0), -b.cross * complex(cab, 0), -b.cross * complex(cbb, 0)},
	}
	ac, bc := complex(real(a.cross), -imag(a.cross)), complex(real(b.cross), -imag(b.cross))
	m[2] = [4]complex128{-ac * complex(caa, 0), -ac * complex(cab, 0), complex(1-a.late*caa, 0), complex(-a.late*cab, 0)}
	m[3] = [4]complex128{-bc * complex(cab, 0), -bc * complex(cbb, 0), complex(-b.late*cab, 0), complex(1-b.late*cbb, 0)}
	minor := func(r, i, j int) complex128 { return m[r][i]*m[r+1][j] - m[r][j]*m[r+1][i] }
	// Its determinant by the minors of the first and last two rows, less the first
	// term, (1−early)(1−late).
	joint := real(minor(0, 0, 2)*minor(2, 1, 3) - minor(0, 0, 3)*minor(2, 1, 2) - minor(0, 1, 2)*minor(2, 0, 3) +
		minor(0, 1, 3)*minor(2, 0, 2) - minor(0, 2, 3)*minor(2, 0, 1))

	alone := (1 - early) * (1 - late)
	early /= 1 - early
	late /= 1 - late
	q := 1 - s.dark
	return a.p * b.p * q * q * (joint/(alone*(alone-joint)) + (early+s.dark)*(late+s.dark))
}

// herald returns the probability of the pattern, whatever the memories give.
func (s *squeezed) herald() float64 { return s.pattern(s.ends[0].free(), s.ends[1].free()) }

// success returns the probability of the pattern with a click behind both
// memories.
func (s *squeezed) success() float64 {
	a, b := &s.ends[0], &s.ends[1]
	return s.pattern(a.free(), b.free()) - s.pattern(a.both(), b.free()) - s.pattern(a.free(), b.both()) + s.pattern(a.both(), b.both())
}

// correlation returns the mean product of the outcomes ±1 along the axes a and b,
// of unit length, over the successes, times their probability, for sources of
// visibility 1: an end's outcome is 1 if its detector of outcome 1 is silent, less
// 1 if that of outcome 0 is.
func (s *squeezed) correlation(a, b [3]float64) (sum float64) {
	for _, i := range [...]float64{1, -1} {
		for _, j := range [...]float64{1, -1} {
			sum += i * j * s.pattern(
				s.ends[0].one([3]float64{i * a[0], i * a[1], i * a[2]}),
				s.ends[1].one([3]float64{j * b[0], j * b[1], j * b[2]}))
		}
	}
	return sum
}

// correlations returns those of Ψ+ along X (and Y) and along Z.
func (s *squeezed) correlations() (xx, zz float64) {
	scale := s.visibility / s.success()
	return scale * s.correlation(axisX, axisX), scale * s.correlation(axisZ, axisZ)
}

var axisX, axisZ = [3]float64{1, 0, 0}, [3]float64{0, 0, 1}

// deviation returns the largest difference, over a grid of bases, between the
// correlation of the photons and that of the state, relative to the largest.
func (s *squeezed) deviation() (d float64) {
	xx, zz := s.correlation(axisX, axisX), s.correlation(axisZ, axisZ)
	const steps = 12 // of half a turn
	for i := range steps {
		for j := range steps {
			for k := range steps / 2 {
				sa, ca := math.Sincos(math.Pi * float64(i) / steps)
				sb, cb := math.Sincos(math.Pi * float64(j) / steps)
				sp, cp := math.Sincos(math.Pi * float64(k) / (steps / 2))
				got := s.correlation([3]float64{sa, 0, ca}, [3]float64{sb * cp, sb * sp, cb})
				d = max(d, math.Abs(got-(sa*sb*cp*xx+ca*cb*zz)))
			}
		}
	}
	if d -= 1e-15 * s.herald(); d <= 0 { // rounding
		return 0
	}
	return d / max(math.Abs(xx), math.Abs(zz))
}
