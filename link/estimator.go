package link

import (
	"math"
	"time"

	"qstack/link/estimate"
	"qstack/physical"
	"qstack/qnet"
)

// estimator is what an end expects of the pairs of its requests, with the answers
// that it has given.
type estimator struct {
	estimate.Interface
	honest *estimate.Estimator // nil if it is of heralding alone
	chosen map[question]answer
	aged   map[moment]float64
	faded  qnet.Time
	lateness
}

// question is what an answer depends on.
type question struct {
	usage   estimate.Usage
	minimum float64
	point   int // −1: to be chosen
}

type answer struct {
	point    int
	estimate estimate.Estimate
	err      error
}

// moment is a pair of a usage at an age.
type moment struct {
	usage estimate.Usage
	point int
	label qnet.BellLabel
	age   time.Duration
}

// maxAnswers bounds the answers that are kept.
const maxAnswers = 256

// fadeEvery is how often test rounds are made to count a little less, so that an
// operating point that is given up for what they said is tried again one day.
const fadeEvery = time.Minute

// newEstimator returns the estimator of an end: that of heralding alone if it is
// asked for, or if nothing more is known of the pairs.
func newEstimator(cfg *EndConfig, own *physical.Spec) (x estimator, err error) {
	points := make([]estimate.Point, len(cfg.Points))
	known := !cfg.Compat.HeraldingOnly
	for i, p := range cfg.Points {
		points[i] = estimate.Point(p)
		known = known && len(p.Heralds) > 0
	}
	x.forget()
	x.accounts = make(map[question]float64)
	if known {
		specs := [2]*physical.Spec{own, own}
		if cfg.PeerSpec != nil {
			specs[1-cfg.Side] = cfg.PeerSpec
		}
		x.honest, err = estimate.New(estimate.Config{Link: cfg.ID, Name: cfg.Name, Points: points, Specs: specs, Half: cfg.Delay,
			Period: cfg.Cycles.Period, Pipelined: cfg.Pipelined, Immediate: cfg.Immediate})
		if err == nil {
			x.Interface = x.honest
			return x, nil
		}
		x.honest = nil
	}
	x.Interface = &estimate.HeraldingOnly{Name: cfg.Name, Points: points, Period: cfg.Cycles.Period}
	return x, err
}

// forget drops the answers.
func (x *estimator) forget() {
	x.chosen, x.aged = make(map[question]answer), make(map[moment]float64)
}

// ask answers a question.
func (x *estimator) ask(q question, now qnet.Time) answer {
	if x.honest != nil && now.Sub(x.faded) >= fadeEvery {
		if x.faded > 0 {
			x.honest.Fade(math.Exp(-float64(now.Sub(x.faded)) / float64(time.Hour)))
			x.forget()
		}
		x.faded = now
	}
	a, ok := x.chosen[q]
	if ok {
		return a
	}
	if q.point < 0 {
		a.point, a.estimate, a.err = x.Choose(q.minimum, q.usage)
	} else {
		a.point = q.point
		a.estimate, a.err = x.Estimate(q.point, q.usage)
	}
	if len(x.chosen) >= maxAnswers {
		x.forget()
	}
	x.chosen[q] = a
	return a
}

// at returns the fidelity of a pair at an age.
func (x *estimator) at(m moment) float64 {
	f, ok := x.aged[m]
	if !ok {
		if f = x.At(m.point, m.label, m.usage, m.age, 0); len(x.aged) >= maxAnswers {
			x.forget()
		}
		x.aged[m] = f
	}
	return f
}

// usage returns what a request does with its pairs.
func (e *end) usage(q *request) estimate.Usage {
	u := estimate.Usage{Type: estimate.Type(q.typ), Creator: int(q.ID & 1), Store: q.store, Lanes: e.cfg.Lanes, Patterns: e.patterns(q.group())}
	if q.typ != Prepare {
		u.Creator = 0
	}
	if q.store {
		u.Before = e.before(&u)
	}
	if q.consecutive {
		u.Consecutive, u.Pairs, u.Testing = true, q.Pairs, q.testing
		if int(q.ID&1) == e.cfg.Side {
			u.Testing = e.cfg.TestRounds // also if it is not made yet
		}
	}
	return u
}

// patterns returns the cycles in which either side attempts for a group.
func (e *end) patterns(g group) (p [2]physical.Pattern) {
	for side := range p {
		p[side] = e.cfg.pattern(g, e.spec(side))
	}
	return p
}

// before returns for how long the storage qubits of both sides have been initialised
// when attempts begin. A lane initialises its storage qubit first and then that which
// attempts, and waits until the other end is ready: this when both ends begin at once,
// or when a pair before has been moved, or measured, by both, whichever takes longer.
func (e *end) before(u *estimate.Usage) (longest [2]time.Duration) {
	step := float64(e.stride()) * e.cfg.Cycles.Period
	for _, after := range [...]bool{false, true} {
		var ready time.Duration
		var fresh [2]time.Duration
		for side := range fresh {
			s := e.spec(side)
			stores := u.Type != estimate.Prepare || side != u.Creator
			var t time.Duration
			if after && stores {
				t = 2*e.cfg.Delay + 2*s.Gate2
			} else if after {
				t = 2*e.cfg.Delay + s.Gate1 + s.Readout
			}
			var others time.Duration // the lanes of a serial device are initialised in turn
			if s.Serial {
				others = time.Duration(e.cfg.Lanes - 1)
			}
			if stores {
				fresh[side] = t + storageInit(s)
				t = fresh[side] + others*storageInit(s)
			}
			ready = max(ready, t+(1+others)*s.Init)
		}
		first := (float64(ready) + step/2) // in the mean
		if after {
			first = math.Ceil(float64(ready+1)/step) * step
		}
		for side := range fresh {
			longest[side] = max(longest[side], time.Duration(first)-fresh[side])
		}
	}
	return longest
}

// choose sets the operating point of a request of this end, and what its pairs are
// expected to be like. It fails with qnet.ErrFidelity, and the best that can be
// reached in the text, if that is not enough.
func (e *end) choose(q *request) error {
	a := e.estimator.ask(question{usage: e.usage(q), minimum: q.minF, point: -1}, e.l.loop.Now())
	if a.err != nil {
		return a.err
	}
	q.point, q.goodness, q.age = a.point, a.estimate.Fidelity, a.estimate.Age
	return nil
}

// verify does the same for a request of the peer, which has chosen the point.
func (e *end) verify(q *request) error {
	if q.point >= len(e.cfg.Points) {
		return qnet.ErrInvalid
	}
	a := e.estimator.ask(question{usage: e.usage(q), point: q.point}, e.l.loop.Now())
	if a.err != nil {
		return a.err
	}
	if a.estimate.Granted < q.minF {
		return qnet.ErrFidelity
	}
	q.goodness, q.age = a.estimate.Fidelity, a.estimate.Age
	return nil
}

// reach returns the highest fidelity that the hardware reaches for a request.
func (e *end) reach(q *request) (f float64) {
	u := e.usage(q)
	for i := range e.cfg.Points {
		if a := e.estimator.ask(question{usage: u, point: i}, e.l.loop.Now()); a.err == nil {
			f = max(f, a.estimate.Granted)
		}
	}
	return f
}

// single returns the usage of a request as if its pairs did not wait for each other.
func (e *end) single(q *request) estimate.Usage {
	u := e.usage(q)
	u.Consecutive, u.Pairs, u.Testing = false, 0, 0
	return u
}

// aged returns the fidelity that a kept pair is expected to have at an age.
func (e *end) aged(q *request, l qnet.BellLabel, age time.Duration) float64 {
	return e.estimator.at(moment{usage: e.single(q), point: q.point, label: l, age: age})
}

// Quality is what an end expects of pairs at one operating point.
type Quality struct {
	Point int // its number in EndConfig.Points
	Name  string
	estimate.Estimate
}

// Expect returns what the pairs of a request would be like, at the operating point
// that it would be served at. It fails with qnet.ErrFidelity when the hardware does
// not reach the minimum fidelity, with ErrUnsupported when it can not do what is
// asked, and with ErrUnknown for a link that the node is not on.
func (l *Layer) Expect(link physical.LinkID, r Request) (Quality, error) {
	e := l.end(link)
	if e == nil {
		return Quality{}, qnet.Errorf(qnet.ErrUnknown, "%s is on no link %d", l.cfg.Name, link)
	}
	a := e.estimator.ask(question{usage: e.usage(e.newRequest(&r)), minimum: r.MinFidelity, point: -1}, l.loop.Now())
	return Quality{a.point, e.cfg.Points[a.point].Name, a.estimate}, a.err
}

// Best returns the same for the operating point that grants the highest fidelity,
// whatever the request asks for.
func (l *Layer) Best(link physical.LinkID, r Request) (best Quality, err error) {
	e := l.end(link)
	if e == nil {
		return Quality{}, qnet.Errorf(qnet.ErrUnknown, "%s is on no link %d", l.cfg.Name, link)
	}
	u := e.usage(e.newRequest(&r))
	best.Point = -1
	for i, p := range e.cfg.Points {
		a := e.estimator.ask(question{usage: u, point: i}, l.loop.Now())
		if a.err != nil {
			err = a.err
		} else if best.Point < 0 || a.estimate.Granted > best.Granted {
			best = Quality{i, p.Name, a.estimate}
		}
	}
	if best.Point >= 0 {
		err = nil
	}
	return best, err
}

// qualities returns what the end expects of each operating point.
func (e *end) qualities() []Quality {
	var out []Quality
	for i, p := range e.cfg.Points {
		u := estimate.Usage{Type: estimate.Keep, Lanes: e.cfg.Lanes, Patterns: e.patterns(group{keep: true})}
		if e.cfg.Immediate {
			u = estimate.Usage{Type: estimate.Measure, Lanes: e.cfg.Lanes}
		}
		if est, err := e.estimator.Estimate(i, u); err == nil {
			out = append(out, Quality{i, p.Name, est})
		}
	}
	return out
}
