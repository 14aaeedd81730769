package estimate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/qnet"
)

// Interface is what a link layer asks of an estimator.
type Interface interface {
	// Estimate returns what a usage gets at an operating point, by its number.
	Estimate(point int, u Usage) (Estimate, error)
	// Choose returns the point to serve a usage at: of those that grant the
	// minimum fidelity the one that makes most pairs. It fails with
	// qnet.ErrFidelity, and the best that can be reached in the text, when none
	// does, and as Estimate does. A minimum of 0 asks for none.
	Choose(minimum float64, u Usage) (point int, e Estimate, err error)
	// At returns the fidelity of a pair of a usage to its announced label when some
	// time has passed since its emission, and so many attempts have dephased it where it
	// is stored.
	At(point int, l qnet.BellLabel, u Usage, age time.Duration, attempts float64) float64
	// Attempts returns how many attempts all lanes make for a Consecutive usage from the
	// emission of a pair to that of the next, in the mean, if so many pairs were
	// missing and that took a time.
	Attempts(point int, u Usage, missing uint64, t time.Duration) float64
	// Late returns the fidelity that Estimate has, of a pair with an announced label
	// that the ends, side 0 and 1, hear of so much later than they could.
	Late(point int, l qnet.BellLabel, u Usage, late [2]time.Duration) float64
	// Learn takes a test round of a usage.
	Learn(point int, u Usage, r Round)
}

// Point is an operating point of a link's heralding.
type Point struct {
	Name        string          // such as "alpha=0.1"; empty for the only one
	Probability float64         // of success of an attempt, in (0,1]
	Fidelity    float64         // of a pair as heralded, by the model of HeraldingOnly
	Heralds     []herald.Herald // kinds of success
}

// Estimate is what a usage gets.
type Estimate struct {
	// Fidelity is the best guess: that of the data sheet, or, where test rounds
	// contradict it, the measured one.
	Fidelity float64
	// Granted is what a request may ask for: Fidelity, or, where test rounds
	// contradict the data sheet, Lower.
	Granted float64
	// Model is what follows from the data sheet.
	Model float64
	// Measured is what follows from test rounds; the truth is not below Lower, nor
	// above Upper, each with the Confidence. What rounds do not show is taken to be as
	// the data sheet has it. Without any Measured is NaN, and the bounds are 0 and 1.
	Measured, Lower, Upper float64
	// Confidence is that of the bounds, each on its own.
	Confidence float64
	// Rounds is the number of test rounds, those of long ago counted less.
	Rounds float64
	// Contradicted says that Upper is below Model.
	Contradicted bool
	// Errors are the probabilities of outcomes that contradict the label, in X, Y and
	// Z, by the data sheet, of Measure requests; else 0.
	Errors [3]float64
	// Rate is the number of pairs per second while attempts for the usage go on.
	Rate float64
	// Age is the time from the emission of a pair to the instant that Fidelity holds
	// for; of Measure requests, to the end of the slowest measurement.
	Age time.Duration
	// Wait is the mean time for which the first pair of a Consecutive request waits for
	// the last, by which the instant that Fidelity holds for is later.
	Wait time.Duration
}

// Config says what an estimator knows of a link.
type Config struct {
	Link   physical.LinkID
	Name   string // for errors, as in "alice-bob"
	Points []Point
	Specs  [2]*physical.Spec // data sheets of side 0 and 1
	Half   time.Duration     // travel time of light between either end and the station
	Period float64           // from one cycle to the next in ns
	// Pipelined says that attempts to measure do not wait for their heralds: a qubit
	// is measured as soon as it has emitted.
	Pipelined bool
	// Immediate says that light is measured as it arrives, and in no memory.
	Immediate bool
	// Confidence is that of bounds from test rounds, each on its own, from ½ to
	// below 1; 0 stands for 1−10⁻⁶. A bound is taken anew with every round, so that
	// what is looked at for long is wrong more often.
	Confidence float64
	// Memory is the number of test rounds after which one counts 1/e, at least 1; 0
	// stands for 10,000.
	Memory float64
}

// Estimator is the honest estimator: it counts heralding, storage, moves, gates,
// read-out and waiting, and learns from test rounds.
type Estimator struct {
	cfg    Config
	doubt  float64 // −log of 1−Confidence
	ends   [2]endOf
	points []pointOf
	rows   []row // memory of evidence
}

// endOf is what holds of one end.
type endOf struct {
	communication, storage qubit
	in, out                move    // into storage and back
	indirect               bool    // storage is read out by moving it back
	keep                   float64 // log of the coherence that an attempt leaves to storage
}

// pointOf is an operating point.
type pointOf struct {
	Point
	kinds    []kind // by label
	learners [3]Learner
}

// kind is all heralds of one label.
type kind struct {
	label qnet.BellLabel
	p     float64
	state state
}

// New returns an estimator, or an error of code qnet.ErrInvalid.
func New(cfg Config) (*Estimator, error) {
	invalid := func(format string, args ...any) (*Estimator, error) {
		return nil, qnet.Errorf(qnet.ErrInvalid, "link %s: estimator: "+format, append([]any{cfg.Name}, args...)...)
	}
	if cfg.Confidence == 0 {
		cfg.Confidence = 1 - 1e-6
	}
	if cfg.Memory == 0 {
		cfg.Memory = 10_000
	}
	switch {
	case len(cfg.Points) == 0:
		return invalid("no operating points, want one at least")
	case cfg.Specs[0] == nil || cfg.Specs[1] == nil:
		return invalid("no data sheet of an end")
	case !(cfg.Period > 0 && cfg.Period <= math.MaxFloat64):
		return invalid("period is %g ns, want above 0", cfg.Period)
	case cfg.Half < 0:
		return invalid("delay to the station is %v, want at least 0", cfg.Half)
	case !(cfg.Confidence >= 0.5 && cfg.Confidence < 1):
		return invalid("confidence is %g, want from 0.5 to below 1", cfg.Confidence)
	case !(cfg.Memory >= 1 && cfg.Memory <= 1e12):
		return invalid("memory is %g test rounds, want from 1 to 1e12", cfg.Memory)
	}
	e := &Estimator{cfg: cfg, doubt: -math.Log1p(-cfg.Confidence)}
	for side, s := range cfg.Specs {
		d := &e.ends[side]
		d.communication, d.storage = kinds(s)
		d.in = newMove(s, &d.communication, &d.storage)
		d.out = newMove(s, &d.storage, &d.communication)
		d.indirect = s.Memory != nil && s.Memory.Indirect
		p := s.AttemptDephasing[cfg.Link]
		if !(p >= 0 && p < 0.5) {
			return invalid("an attempt dephases storage at end %s with probability %g, want from 0 to below 0.5", sideName(side), p)
		}
		d.keep = math.Log1p(-2 * p)
	}
	for i, pt := range cfg.Points {
		if !(pt.Probability > 0 && pt.Probability <= 1) || len(pt.Heralds) == 0 {
			return invalid("operating point %d: success probability is %g with %d kinds of success, want above 0 and at most 1, and one kind at least", i, pt.Probability, len(pt.Heralds))
		}
		p := pointOf{Point: pt}
		for k := range p.learners {
			p.learners[k] = Learner{Memory: cfg.Memory}
		}
		for l := range qnet.BellLabel(4) {
			k := kind{label: l}
			for j := range pt.Heralds {
				if h := &pt.Heralds[j]; h.Label == l && h.P > 0 {
					for n, x := range fromHerald(&h.State) {
						k.state[n] += h.P * x
					}
					k.p += h.P
				}
			}
			if k.p == 0 {
				continue
			}
			for n := range k.state {
				k.state[n] /= k.p
			}
			p.kinds = append(p.kinds, k)
		}
		e.points = append(e.points, p)
	}
	return e, nil
}

// response is what a usage makes of the pairs of a point: the mean over labels of
// the correlators in X, Y and Z, with the sign that the label gives them, and by how
// much each changes with that of the heralded pair.
type response struct {
	correlators, slope [3]float64
	plan               plan
	wait               time.Duration // of the first pair for the last
}

// paulis are the bases X, Y and Z.
var paulis = [3]qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}

// direct returns what becomes of a pair of which both halves are measured at once, or
// when the herald is known, until they are read out, and how they are.
func (e *Estimator) direct(bases [2]qnet.Basis, await bool) (p plan, halves [2]reading) {
	for side, b := range bases {
		q := &e.ends[side].communication
		age := q.measure(b)
		switch {
		case e.cfg.Immediate:
			age = 0
		case await:
			age += 2 * e.cfg.Half
		}
		p.ready = max(p.ready, age)
		p.halves[side] = q.over(age)
		halves[side] = q.read(b)
	}
	return p, halves
}

// measured returns the response of Measure requests.
func (e *Estimator) measured(kinds []kind) (r response) {
	for i, b := range paulis {
		p, halves := e.direct([2]qnet.Basis{b, b}, !e.cfg.Pipelined)
		r.plan.ready = max(r.plan.ready, p.ready)
		r.set(i, kinds, &p, &halves)
	}
	return r
}

// set fills in the correlator of a Pauli basis, and how it changes with that of the
// heralded pair.
func (r *response) set(i int, kinds []kind, p *plan, halves *[2]reading) {
	u := unit(i)
	r.correlators[i], _ = read(kinds, u, p, halves)
	r.slope[i] = gain(u, p, halves)[i]
}

// prepared returns the response of Prepare requests: the creator measures when it
// hears the herald, the other half is as the plan has it, and rests for a time.
func (e *Estimator) prepared(kinds []kind, probability float64, u *Usage, late [2]time.Duration, rest time.Duration) (r response) {
	r.plan = e.plan(u, probability, late)
	c := u.Creator
	later := r.plan.kinds[1-c].over(rest)
	r.plan.then(1-c, &later)
	q := &e.ends[c].communication
	queued := e.queued(c, u, probability)
	for i, b := range paulis {
		p := r.plan
		p.halves[c] = q.over(2*e.cfg.Half + late[c] + queued + q.measure(b))
		halves := [2]reading{{axis: unit(i), contrast: 1}, {axis: unit(i), contrast: 1}}
		halves[c] = q.read(b)
		r.set(i, kinds, &p, &halves)
	}
	return r
}

// kept returns the response of Keep requests.
func (e *Estimator) kept(kinds []kind, probability float64, u *Usage) (r response) {
	r.plan = e.plan(u, probability, [2]time.Duration{})
	for b := range 3 {
		r.slope[b] = r.plan.halves[0][b+1][b+1] * r.plan.halves[1][b+1][b+1]
	}
	w := e.waits(u, &r.plan, probability)
	r.wait = w.first()
	a, b := r.plan.kinds[0], r.plan.kinds[1]
	var keep float64
	if u.Store {
		keep = e.ends[0].keep + e.ends[1].keep
	}
	flat := w.mean(a.transverse+b.transverse, keep)
	zA, zB, zAB := w.mean(a.longitudinal, 0), w.mean(b.longitudinal, 0), w.mean(a.longitudinal+b.longitudinal, 0)
	for b := range 2 {
		r.slope[b] *= flat
	}
	r.slope[2] *= zAB
	for i := range kinds {
		k := &kinds[i]
		s := r.plan.apply(&k.state)
		s[xx] *= flat
		s[yy] *= flat
		// The mean of (eA·z + restA·(1−eA))·(eB·z' + restB·(1−eB)).
		s[zz] = zAB*s[zz] + b.rest*(zA-zAB)*s[zi] + a.rest*(zB-zAB)*s[iz] + a.rest*b.rest*(1-zA-zB+zAB)
		for j, c := range s.correlators(k.label) {
			r.correlators[j] += k.p * c
		}
	}
	return r
}

// response returns what a usage makes of pairs of the given kinds.
func (e *Estimator) response(kinds []kind, probability float64, u *Usage) response {
	switch u.Type {
	case Measure:
		r := e.measured(kinds)
		r.plan.attempt = u.cycles() * e.cfg.Period
		return r
	case Prepare:
		return e.prepared(kinds, probability, u, [2]time.Duration{}, 0)
	}
	return e.kept(kinds, probability, u)
}

// Estimate implements Interface. It fails with qnet.ErrInvalid for a point or a
// usage that there is not, and with qnet.ErrUnsupported for one that the hardware
// can not serve.
func (e *Estimator) Estimate(point int, u Usage) (Estimate, error) {
	if err := e.validate(&u); err != nil {
		return Estimate{}, err
	}
	if point < 0 || point >= len(e.points) {
		return Estimate{}, qnet.Errorf(qnet.ErrInvalid, "link %s: there is no operating point %d: there are %d", e.cfg.Name, point, len(e.points))
	}
	return e.estimate(point, &u), nil
}

func (e *Estimator) estimate(point int, u *Usage) Estimate {
	p := &e.points[point]
	r := e.response(p.kinds, p.Probability, u)
	est := Estimate{Model: fidelity(r.correlators), Age: r.plan.ready, Wait: r.wait, Rate: r.plan.rate(u, p.Probability)}
	if u.Type == Measure {
		for b, c := range r.correlators {
			est.Errors[b] = (1 - c) / 2
		}
	}
	e.judge(p, u, &r, &est)
	if v := *u; u.stores(0) || u.stores(1) {
		v.fresh = true
		r = e.response(p.kinds, p.Probability, &v)
		est.Granted = min(est.Granted, fidelity(r.correlators))
	}
	return est
}

// Choose implements Interface. For a minimum of 0 the points that grant more than ½
// are taken, since a pair that is no better can be had without the link; if there is
// none, the point that grants most.
func (e *Estimator) Choose(minimum float64, u Usage) (point int, est Estimate, err error) {
	if err := e.validate(&u); err != nil {
		return 0, Estimate{}, err
	}
	if !(minimum >= 0 && minimum <= 1) {
		return 0, Estimate{}, qnet.Errorf(qnet.ErrInvalid, "link %s: minimum fidelity is %g, want from 0 to 1", e.cfg.Name, minimum)
	}
	chosen, best := -1, 0
	var bestEst Estimate
	for i := range e.points {
		x := e.estimate(i, &u)
		if i == 0 || x.Granted > bestEst.Granted {
			best, bestEst = i, x
		}
		if x.Granted < minimum || minimum == 0 && x.Granted <= 0.5 {
			continue
		}
		if chosen < 0 || x.Rate > est.Rate || x.Rate == est.Rate && x.Granted > est.Granted {
			chosen, est = i, x
		}
	}
	switch {
	case chosen >= 0:
		return chosen, est, nil
	case minimum == 0:
		return best, bestEst, nil
	}
	why := ""
	if bestEst.Contradicted {
		why = fmt.Sprintf(" (by %.0f test rounds, against %.4f by the data sheet)", bestEst.Rounds, bestEst.Model)
	}
	return best, bestEst, refusal(e.cfg.Name, minimum, u.name(), bestEst.Granted, e.points[best].Name, why)
}

func refusal(link string, minimum float64, usage string, best float64, point, why string) error {
	if point != "" {
		point = " at " + point
	}
	// Rounded down: who asks for it gets it.
	return qnet.Errorf(qnet.ErrFidelity, "link %s: fidelity %g is beyond reach of %s pairs: the best is %.4f%s%s", link, minimum, usage, math.Floor(best*1e4)/1e4, point, why)
}

// At implements Interface. Of kept pairs it is exact for those that have come to
// their place; an age before that counts as that instant. Of Prepare requests it is
// the half that is kept that ages, and of Measure requests nothing does.
func (e *Estimator) At(point int, l qnet.BellLabel, u Usage, age time.Duration, attempts float64) float64 {
	if point < 0 || point >= len(e.points) || e.validate(&u) != nil {
		return 0.25
	}
	p := &e.points[point]
	only, known := p.only(l)
	if !known {
		return 0.25 // nothing is known of what is never announced
	}
	var r response
	switch u.Type {
	case Measure:
		r = e.measured(only[:])
		return e.believed(p, &u, &r)
	case Prepare:
		ready := e.plan(&u, p.Probability, [2]time.Duration{}).ready
		r = e.prepared(only[:], p.Probability, &u, [2]time.Duration{}, max(0, age-ready))
		return e.believed(p, &u, &r)
	}
	r.plan = e.plan(&u, p.Probability, [2]time.Duration{})
	rest := max(0, age-r.plan.ready)
	coherence := 1.0
	if u.Store {
		coherence = math.Exp((e.ends[0].keep + e.ends[1].keep) * attempts)
	}
	for side := range r.plan.halves {
		later := r.plan.kinds[side].over(rest)
		r.plan.then(side, &later)
	}
	r.one(&only[0])
	for b := range 2 {
		r.correlators[b] *= coherence
		r.slope[b] *= coherence
	}
	return e.believed(p, &u, &r)
}

// Attempts implements Interface. It counts as Estimate does.
func (e *Estimator) Attempts(point int, u Usage, missing uint64, t time.Duration) float64 {
	if point < 0 || point >= len(e.points) || e.validate(&u) != nil || missing == 0 {
		return 0
	}
	probability := e.points[point].Probability
	plan := e.plan(&u, probability, [2]time.Duration{})
	w := e.waits(&u, &plan, probability)
	return w.attempts(missing, max(0, float64(t)))
}

// Late implements Interface. Times below 0 count as 0. A kept half that is heard of
// late waits in its communication qubit, and the other one in its place; what is
// measured is measured later. Of a Consecutive request the pair is alone. Of Measure
// requests it makes no difference.
func (e *Estimator) Late(point int, l qnet.BellLabel, u Usage, late [2]time.Duration) float64 {
	if point < 0 || point >= len(e.points) || e.validate(&u) != nil {
		return 0.25
	}
	p := &e.points[point]
	only, known := p.only(l)
	if !known {
		return 0.25
	}
	for side := range late {
		late[side] = max(0, late[side])
	}
	u.Consecutive, u.Pairs, u.Testing = false, 0, 0
	var r response
	switch u.Type {
	case Measure:
		r = e.measured(only[:])
	case Prepare:
		r = e.prepared(only[:], p.Probability, &u, late, 0)
	default:
		r.plan = e.plan(&u, p.Probability, late)
		r.one(&only[0])
	}
	return e.believed(p, &u, &r)
}

// only returns the kind of a label, as if there were no other.
func (p *pointOf) only(l qnet.BellLabel) (k [1]kind, ok bool) {
	i := slices.IndexFunc(p.kinds, func(k kind) bool { return k.label == l })
	if i < 0 {
		return k, false
	}
	return [1]kind{{l, 1, p.kinds[i].state}}, true
}

// one fills in the correlators of one kept pair after its plan, and how they change
// with those of the heralded pair.
func (r *response) one(k *kind) {
	s := r.plan.apply(&k.state)
	r.correlators = s.correlators(k.label)
	for b := range 3 {
		r.slope[b] = r.plan.halves[0][b+1][b+1] * r.plan.halves[1][b+1][b+1]
	}
}
