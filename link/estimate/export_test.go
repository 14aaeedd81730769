package estimate

import "qstack/qnet"

// Expected returns what the model has for a test round of a usage: the mean of the
// product of the outcomes' signs, flipped where outcomes that differ are right, and
// how it changes with each correlator of the heralded pair.
func (e *Estimator) Expected(point int, u Usage, bases [2]qnet.Basis, l qnet.BellLabel) (mean float64, slope [3]float64, flipped, ok bool) {
	p := &e.points[point]
	t := e.tests(p.Probability, &u)
	r := Round{Bases: bases, Label: l}
	v, flipped := r.sense()
	plan, halves := t.round(bases)
	mean, ok = read(p.kinds, v, &plan, &halves)
	return mean, gain(v, &plan, &halves), flipped, ok
}

var Eigen = eigen

const MaxSettings = maxSettings

// Settings returns how many settings of test rounds of a usage are counted.
func (e *Estimator) Settings(point int, u Usage) int {
	return len(e.points[point].learners[class(&u)].settings)
}
