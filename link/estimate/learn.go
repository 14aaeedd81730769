package estimate

import (
	"math"

	"qstack/qnet"
)

// Round is a test round: both ends measured their halves.
type Round struct {
	Bases [2]qnet.Basis  // of side 0 and 1
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
	Memory   float64
	settings []setting
}

// maxSettings bounds the settings of a learner: those of two ends of 16 bases each,
// with 4 labels. The one of least weight goes for another.
const maxSettings = 1024

// setting is the rounds that show the same: those of one basis at either end, and of
// labels with one u.
type setting struct {
	bases [2]qnet.Basis
	u     [3]float64 // what they show, see sense
	count
}

// count is what is known of a setting: the sums of the weights of its rounds, of
// their squares, and of the weights of those that were in error.
type count struct{ weight, square, errors float64 }

// known reports whether there are rounds. Those that have almost faded are as good
// as none.
func (c *count) known() bool { return c.weight > 1e-3 }

func (c *count) fade(f float64) {
	c.weight *= f
	c.square *= f * f
	c.errors *= f
}

// Add takes a round, unless it tells nothing.
func (l *Learner) Add(r Round) {
	if !r.Tells() {
		return
	}
	u, flipped := r.sense()
	f := math.Exp(-1 / max(1, l.Memory))
	for i := range l.settings {
		l.settings[i].fade(f)
	}
	s := l.setting(r.Bases, u)
	s.weight++
	s.square++
	if (r.A^r.B)&1 == 1 != flipped {
		s.errors++
	}
}

// Tells reports whether outcomes of the round say anything of a pair. They do not if
// they are of no basis or label that there is, nor if both axes have next to nothing in
// common with the same one of X, Y and Z, as X and Z do not.
func (r *Round) Tells() bool {
	if !r.Bases[0].Valid() || !r.Bases[1].Valid() || !r.Label.Valid() {
		return false
	}
	u, _ := r.sense()
	return dot(&u, &u) >= 1e-4 // chosen: below, one round in X tells more than 10,000 of them
}

// sense returns what a round shows.
func (r *Round) sense() (u [3]float64, flipped bool) {
	var axes [2][3]float64
	for side, b := range r.Bases {
		a := &axes[side]
		a[0], a[1], a[2] = b.Axis()
	}
	return sense(&axes[0], &axes[1], r.Label)
}

// setting returns a setting, which is new if there is none.
func (l *Learner) setting(bases [2]qnet.Basis, u [3]float64) *setting {
	least := 0
	for i := range l.settings {
		s := &l.settings[i]
		if s.bases == bases && s.u == u {
			return s
		}
		if s.weight < l.settings[least].weight {
			least = i
		}
	}
	if len(l.settings) < maxSettings {
		least = len(l.settings)
		l.settings = append(l.settings, setting{})
	}
	s := &l.settings[least]
	*s = setting{bases: bases, u: u}
	return s
}

// Fade makes the rounds so far count as so many fewer, by a factor from 0 to 1.
func (l *Learner) Fade(factor float64) {
	factor = fraction(factor)
	for i := range l.settings {
		c := &l.settings[i].count
		c.weight *= factor
		c.square *= factor
		c.errors *= factor
	}
}

// pauli returns what is known of rounds in one basis: 0, 1 and 2 for X, Y and Z.
func (l *Learner) pauli(basis int) (c count) {
	for i := range l.settings {
		if s := &l.settings[i]; s.bases == [2]qnet.Basis{paulis[basis], paulis[basis]} {
			c = s.count
		}
	}
	return c
}

// Rounds returns the number of rounds of which both bases are the same one, 0, 1 and
// 2 for X, Y and Z, by their weights.
func (l *Learner) Rounds(basis int) float64 { return l.pauli(basis).weight }

// ErrorRate returns the share of those rounds that were in error; NaN when there are
// none.
func (l *Learner) ErrorRate(basis int) float64 {
	c := l.pauli(basis)
	return c.errors / c.weight
}

func (l *Learner) total() (n float64) {
	for i := range l.settings {
		n += l.settings[i].weight
	}
	return n
}

// Fidelity returns what the rounds show of the state of which they are outcomes,
// errors of read-out included: F = 1−(Qx+Qy+Qz)/2, and bounds, each of which is wrong
// with a probability of at most exp(−doubt). If they do not show all of the three
// error rates, the fidelity is NaN and the bounds are 0 and 1.
func (l *Learner) Fidelity(doubt float64) (f, lower, upper float64) {
	var rows []row
	for i := range l.settings {
		if s := &l.settings[i]; s.known() {
			rows = append(rows, row{count: &s.count, gain: s.u})
		}
	}
	// By (1+Σc)/4, where c are the correlators.
	s, _ := combine(rows, [3]float64{0.5, 0.5, 0.5})
	if s.missing {
		return math.NaN(), 0, 1
	}
	high, low := s.bounds(doubt)
	// Of outcomes without a correlation it is ¼.
	top := 0.25 + s.total/2
	return top - s.value, max(0, top-high), min(1, top-low)
}

// row is a setting as the model has it.
type row struct {
	*count
	gain     [3]float64 // how the mean product of the outcomes changes with each correlator
	expected float64    // error rate
}

// sum is a weighted sum of the error rates of settings, Σ a·Q, as the rounds show it.
type sum struct {
	value   float64
	total   float64 // Σ a: the largest that it can be
	scale   float64 // the variance is at most scale·value·(1−value/total)
	spread  float64 // and at most (spread−(total−2·value)²/rounds)/4
	rounds  float64 // of equal weights, that would show as much
	step    float64 // most that one round adds
	missing bool    // the settings do not show all that was wanted
}

// faint is the share of what the settings show best in what they show least, below
// which that counts as not shown at all, lest what little there is of it widen the
// bounds on all: over thirty times, since they go with the square root. Chosen.
const faint = 1e-3

// combine returns the sum of error rates that goes down by Σ want·c when correlators
// go up by 2c, and the sum that the model has.
//
// A setting k of weight n_k has an error rate that goes down by Σ g_k·c. With the
// factors a_k = n_k·g_k·G⁺·want, where G = Σ n_k·g_k·g_kᵀ and G⁺ its inverse, the sum
// Σ a_k·g_k is what was wanted, and of all such factors these give the least Σ a_k²/n_k,
// to which the variance goes. What settings do not show, the eigenvectors of G of
// eigenvalue 0, is left out of G⁺ and so of the sum. With settings of Pauli bases
// alone, a is want. Where it is negative the right outcomes count in place of the
// errors.
func combine(rows []row, want [3]float64) (s sum, expected float64) {
	var g [3][3]float64
	for i := range rows {
		r := &rows[i]
		for x := range g {
			for y := range g {
				g[x][y] += r.weight * r.gain[x] * r.gain[y]
			}
		}
	}
	values, vectors := eigen(g)
	limit := max(1e-3, faint*max(values[0], values[1], values[2]))
	var along [3]float64
	for k := range vectors {
		w := dot(&want, &vectors[k])
		if values[k] <= limit {
			s.missing = s.missing || math.Abs(w) > 1e-9
			continue
		}
		for x := range along {
			along[x] += w / values[k] * vectors[k][x]
		}
	}
	for i := range rows {
		r := &rows[i]
		a, q, m := r.weight*dot(&along, &r.gain), r.errors/r.weight, r.expected
		if a < 0 {
			a, q, m = -a, 1-q, 1-m
		}
		if a == 0 {
			continue
		}
		one := r.square / (r.weight * r.weight) // 1 by the number of rounds, if they weigh the same
		s.value += a * q
		expected += a * m
		s.total += a
		s.scale = max(s.scale, a*one)
		s.spread += a * a * one
		s.rounds += 1 / one
		s.step = max(s.step, a/r.weight)
	}
	s.value = min(s.value, s.total)
	return s, expected
}

// bounds returns an upper and a lower bound on the true sum, each of which is wrong
// with a probability of at most exp(−doubt), when rounds are independent of each
// other and every setting has one error rate.
//
// It is the inequality of G. Bennett, J. Am. Stat. Assoc. 57, 33 (1962): independent
// variables that are at most c above their means, of joint variance V, exceed their
// joint mean by t with a probability of at most exp(−V/c²·h(ct/V)), where
// h(u) = (1+u)·log(1+u) − u. Here a variable is the weight a·w/Σw of a round, if it
// is in error, or minus this; c is the largest weight. V = Σ b·Q(1−Q), where
// b = a²·Σw²/(Σw)², is bounded for each value of the sum S = Σ a·Q that is considered:
// it is at most max(b/a)·S·(1−S/Σa), since Q(1−Q) is concave, and, since
// (Σ a(1−2Q))² is at most Σ a²/b · Σ b(1−2Q)², at most (Σb − (Σa−2S)²/(Σ a²/b))/4. Where
// b/a is the same for all settings both are the same. A value is beyond the bound if
// what was seen, or more, would have come with less than that probability.
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
	away := s.total - 2*value
	v := min(s.scale*value*(1-value/s.total), (s.spread-away*away/s.rounds)/4)
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
// pairs that are kept is the model and, by setting, the difference from the error rate
// that the model has for the rounds themselves, without what the read-out and the
// decay during it make of a difference: a change of the error rate by δ is one of
// the correlator by −2δ, which is divided by the contrast of both read-outs, and so
// on. Errors of read-out that are on the data sheet are so corrected, biased ones
// too; those that are not are taken for errors of the pair. What is not looked at is
// taken to be as in the model: correlators that no setting shows, those of unlike
// Pauli matrices, such as ⟨XY⟩, and the Bloch vectors of either half on its own. Those
// of unlike ones matter only where an axis is none of Pauli's; the Bloch vectors only
// where read-out is biased or qubits relax, and then as the product of both.
func (e *Estimator) evidence(p *pointOf, u *Usage, r *response) (s sum, expected float64) {
	l := &p.learners[class(u)]
	if l.total() == 0 {
		return sum{}, 0
	}
	t := e.tests(p.Probability, u)
	slope := t.slope()
	var want [3]float64
	for b := range want {
		if slope[b] > 1e-3 { // else nothing is learnt
			want[b] = r.slope[b] / slope[b] / 2
		}
	}
	// The correlators that settings show are those of Pauli bases, noise included.
	e.rows = e.rows[:0]
	for i := range l.settings {
		k := &l.settings[i]
		if !k.known() {
			continue
		}
		plan, halves := t.round(k.bases)
		mean, ok := read(p.kinds, k.u, &plan, &halves)
		if !ok {
			continue // the model has no such label
		}
		g := gain(k.u, &plan, &halves)
		for b := range g {
			if slope[b] > 1e-3 {
				g[b] /= slope[b]
			} else {
				g[b] = 0
			}
		}
		e.rows = append(e.rows, row{&k.count, g, (1 - mean) / 2})
	}
	return combine(e.rows, want)
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

// Learn implements Interface: both halves of a pair of the usage were measured, in any
// bases that do not depend on what the pair is. Those of a Measure request are
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
