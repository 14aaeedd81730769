package estimate

import (
	"math"

	"qstack/qnet"
)

// Round is a test round: both ends measured their halves in one basis.
type Round struct {
	Basis int            // 0, 1 and 2 for X, Y and Z
	Label qnet.BellLabel // that was announced
	A, B  uint8          // outcomes
}

// Test rounds of usages of different classes are of pairs with different histories,
// and are counted apart: those that are measured as in a Measure request, those that
// are measured when the herald is known, and those that are measured when they have
// been stored.
const (
	classMeasured = iota
	classKept
	classStored
)

func class(u *Usage) int {
	switch {
	case u.Type == Measure:
		return classMeasured
	case u.Type == Keep && u.Store:
		return classStored
	}
	return classKept
}

// Learner counts test rounds of one kind of pairs, those of long ago less.
type Learner struct {
	// Memory is the number of rounds after which a round counts 1/e, at least 1.
	Memory float64
	bases  [3]count
}

// count is what is known of one basis: the sums of the weights of its rounds, of
// their squares, and of the weights of those that were in error.
type count struct{ weight, square, errors float64 }

// known reports whether there are rounds. Those that have almost faded are as good
// as none.
func (c *count) known() bool { return c.weight > 1e-3 }

// Add takes a round. One of no basis or label that there is does not count.
func (l *Learner) Add(r Round) {
	if r.Basis < 0 || r.Basis > 2 || !r.Label.Valid() {
		return
	}
	f := math.Exp(-1 / max(1, l.Memory))
	for b := range l.bases {
		c := &l.bases[b]
		c.weight *= f
		c.square *= f * f
		c.errors *= f
	}
	c := &l.bases[r.Basis]
	c.weight++
	c.square++
	if (r.A^r.B)&1 == 1 == (signs[r.Label][r.Basis] > 0) {
		c.errors++
	}
}

// Fade makes the rounds so far count as so many fewer, by a factor from 0 to 1.
func (l *Learner) Fade(factor float64) {
	factor = fraction(factor)
	for b := range l.bases {
		c := &l.bases[b]
		c.weight *= factor
		c.square *= factor
		c.errors *= factor
	}
}

// Rounds returns the number of rounds in a basis, by their weights.
func (l *Learner) Rounds(basis int) float64 { return l.bases[basis].weight }

func (l *Learner) total() (n float64) {
	for b := range l.bases {
		n += l.bases[b].weight
	}
	return n
}

// ErrorRate returns the share of the rounds in a basis that were in error; NaN when
// there are none.
func (l *Learner) ErrorRate(basis int) float64 {
	return l.bases[basis].errors / l.bases[basis].weight
}

// Fidelity returns what the rounds show of the state of which they are outcomes,
// errors of read-out included: F = 1−(Qx+Qy+Qz)/2, and bounds, each of which is wrong
// with a probability of at most exp(−doubt). With a basis of which there are no
// rounds, the fidelity is NaN and the bounds are 0 and 1.
func (l *Learner) Fidelity(doubt float64) (f, lower, upper float64) {
	s := l.sum([3]float64{0.5, 0.5, 0.5})
	if s.missing {
		return math.NaN(), 0, 1
	}
	high, low := s.bounds(doubt)
	return 1 - s.value, max(0, 1-high), min(1, 1-low)
}

// sum is a weighted sum of the error rates in the three bases, Σ a·Q, as the rounds
// show it.
type sum struct {
	value   float64
	total   float64 // Σ a: the largest that it can be
	scale   float64 // the variance is at most scale·value·(1−value/total)
	step    float64 // most that one round adds
	missing bool    // no rounds of a basis
}

// sum returns Σ a·Q. A basis without rounds is left out.
func (l *Learner) sum(a [3]float64) (s sum) {
	for b, x := range a {
		c := &l.bases[b]
		if !c.known() {
			s.missing = true
			continue
		}
		s.value += x * c.errors / c.weight
		s.total += x
		s.scale = max(s.scale, x*c.square/(c.weight*c.weight))
		s.step = max(s.step, x/c.weight)
	}
	s.value = min(s.value, s.total)
	return s
}

// bounds returns an upper and a lower bound on the true sum, each of which is wrong
// with a probability of at most exp(−doubt), when rounds are independent of each
// other and every basis has one error rate.
//
// It is the inequality of G. Bennett, J. Am. Stat. Assoc. 57, 33 (1962): independent
// variables that are at most c above their means, of joint variance V, exceed their
// joint mean by t with a probability of at most exp(−V/c²·h(ct/V)), where
// h(u) = (1+u)·log(1+u) − u. Here a variable is the weight a·w/Σw of a round, if it
// is in error, or minus this; c is the largest weight. V = Σ a²·(Σw²/(Σw)²)·Q(1−Q) is
// bounded for each value of the sum that is considered, since Q(1−Q) is concave. A
// value is beyond the bound if what was seen, or more, would have come with less
// than that probability.
func (s *sum) bounds(doubt float64) (upper, lower float64) {
	// find returns the value next to what was seen that is beyond.
	find := func(end float64) float64 {
		if !s.beyond(end, doubt) {
			return end
		}
		in, out := s.value, end
		for range 40 {
			if mid := (in + out) / 2; s.beyond(mid, doubt) {
				out = mid
			} else {
				in = mid
			}
		}
		return out
	}
	return find(s.total), find(0)
}

// beyond reports whether a value of the sum would bring what was seen, or what is
// farther from it, with a probability below exp(−doubt).
func (s *sum) beyond(value, doubt float64) bool {
	v := s.scale * value * (1 - value/s.total)
	t := math.Abs(value - s.value)
	if v <= 0 {
		return t > 0
	}
	u := s.step * t / v
	return v/(s.step*s.step)*((1+u)*math.Log1p(u)-u) > doubt
}

// evidence returns what test rounds say of a response of a usage: a sum of error
// rates, and what the model has for that sum. The fidelity is off that of the model
// by what the sum is short of it.
//
// Rounds show error rates Q with the noise of the read-out in them. What they say of
// pairs that are kept is the model and, by basis, the difference from the error rate
// that the model has for the rounds themselves, without what the read-out and the
// decay during it make of a difference: a change of the error rate by δ is one of
// the correlator by −2δ, which is divided by the contrast of both read-outs, and so
// on. Errors of read-out that are on the data sheet are so corrected, biased ones
// too; those that are not are taken for errors of the pair. What is not looked at, the
// Bloch vectors of either half on its own and bases of which there are no rounds, is
// taken to be as in the model; the former matters only where read-out is biased or
// qubits relax, and then as the product of both.
func (e *Estimator) evidence(p *pointOf, u *Usage, r *response) (s sum, expected float64) {
	l := &p.learners[class(u)]
	if l.total() == 0 {
		return sum{}, 0
	}
	t := e.test(p.kinds, p.Probability, u)
	var a [3]float64
	for b := range a {
		if t.slope[b] > 1e-3 { // else nothing is learnt
			a[b] = r.slope[b] / t.slope[b] / 2
		}
		if l.bases[b].known() {
			expected += a[b] * (1 - t.correlators[b]) / 2
		}
	}
	return l.sum(a), expected
}

// contradicts reports whether the rounds show that the sum is above what the model
// has.
func (s *sum) contradicts(expected, doubt float64) bool {
	const rounding = 1e-9
	return s.total > 0 && s.value > expected && s.beyond(min(expected+rounding, s.value), doubt)
}

// believed returns the fidelity of a response: by the data sheet, or by test rounds
// of the point if they contradict it.
func (e *Estimator) believed(p *pointOf, u *Usage, r *response) float64 {
	model := fidelity(r.correlators)
	if s, expected := e.evidence(p, u, r); s.contradicts(expected, e.doubt) {
		return fraction(model + expected - s.value)
	}
	return model
}

// judge fills in what test rounds say of an estimate whose Model is known.
func (e *Estimator) judge(p *pointOf, u *Usage, r *response, est *Estimate) {
	est.Fidelity, est.Granted = est.Model, est.Model
	est.Measured, est.Upper, est.Confidence = math.NaN(), 1, e.cfg.Confidence
	est.Rounds = p.learners[class(u)].total()
	s, expected := e.evidence(p, u, r)
	if s.total == 0 {
		return
	}
	high, low := s.bounds(e.doubt)
	est.Measured = fraction(est.Model + expected - s.value)
	est.Upper = fraction(est.Model + expected - low)
	est.Lower = fraction(est.Model + expected - high)
	if s.contradicts(expected, e.doubt) {
		est.Contradicted = true
		est.Fidelity, est.Granted = est.Measured, est.Lower
	}
}

func fraction(x float64) float64 { return min(1, max(0, x)) }

// Learn implements Interface: both halves of a pair of the usage were measured, in
// one basis and with the same choice at both ends. Those of a Measure request are
// measured as all of it are; of others, as soon as the herald is known, and if they
// are stored by both ends, when they are in storage: in place, or if it is Indirect,
// through the communication qubit, initialised anew, into which they are moved.
func (e *Estimator) Learn(point int, u Usage, r Round) {
	if point >= 0 && point < len(e.points) && e.validate(&u) == nil {
		e.points[point].learners[class(&u)].Add(r)
	}
}

// Fade makes the test rounds so far count as so many fewer, by a factor from 0 to 1. A point
// that is no longer used brings no more rounds by which it would be forgotten that
// it was worse than its data sheet; fading it now and then gives it another chance.
func (e *Estimator) Fade(factor float64) {
	for i := range e.points {
		for k := range e.points[i].learners {
			e.points[i].learners[k].Fade(factor)
		}
	}
}
