package estimate

import (
	"math"
	"time"

	"qstack/physical"
	"qstack/qnet"
)

// Type says what becomes of a pair.
type Type uint8

// The types, in the order of those of package link.
const (
	Keep    Type = iota // both halves stay in qubits
	Measure             // both ends measure at once
	Prepare             // the end Creator measures when it hears the herald, the other keeps its half
)

// Usage is what a request does with the pairs of a link.
type Usage struct {
	Type Type
	// Creator is the side, 0 or 1, that measures its half of a Prepare request.
	Creator int
	// Store says that kept halves are moved into storage qubits, which were
	// initialised before, once the herald is known. Both ends of a Keep request
	// move theirs; of a Prepare request the end that keeps its half.
	Store bool
	// Pairs is how many pairs are kept until the last of them is there, if the
	// request is Consecutive.
	Pairs       uint64
	Consecutive bool
	// Testing is the share of the successes, from 0 to below 1, that are test rounds,
	// which the pairs of a Consecutive request wait for.
	Testing float64
	// Lanes attempt at the same time; 0 stands for 1. For a Consecutive request there
	// are never more of them than pairs are missing.
	Lanes int
	// Patterns say in which cycles a lane of either side attempts; First is of no
	// account. A storage qubit is initialised at the begin of every block of attempts of
	// its side; if there are no blocks, once, so long Before the first attempt.
	Patterns [2]physical.Pattern
	Before   [2]time.Duration

	fresh bool // storage qubits are initialised just before the herald where that is worse
}

// name says in an error what the request does.
func (u *Usage) name() string {
	switch {
	case u.Type == Measure:
		return "measured"
	case u.Type == Prepare && u.Store:
		return "prepared and stored"
	case u.Type == Prepare:
		return "prepared"
	case u.Consecutive && u.Store:
		return "stored until all are there"
	case u.Consecutive:
		return "kept until all are there"
	case u.Store:
		return "stored"
	}
	return "kept"
}

// pairs returns how many pairs wait for each other.
func (u *Usage) pairs() uint64 {
	if u.Consecutive && u.Type == Keep {
		return max(1, u.Pairs)
	}
	return 1
}

func (u *Usage) lanes() int { return max(1, u.Lanes) }

// others returns how many lanes attempt besides that of a pair.
func (u *Usage) others() float64 { return float64(u.lanes() - 1) }

// stores reports whether the half of a side is moved.
func (u *Usage) stores(side int) bool {
	return u.Store && (u.Type == Keep || u.Type == Prepare && side != u.Creator)
}

// block returns the cycles from the begin of one block of attempts to that of the
// next and the attempts in it; without pauses the block is one attempt.
func block(p physical.Pattern) (cycles, attempts float64) {
	s := max(1, p.Stride)
	if p.Every == 0 {
		return float64(s), 1
	}
	up := func(n uint64) float64 { return math.Ceil(float64(n) / float64(s)) }
	return up(p.Every+p.Pause) * float64(s), up(p.Every)
}

// stretch returns by how much the pauses of a pattern make attempts rarer.
func stretch(p physical.Pattern) float64 {
	cycles, attempts := block(p)
	return cycles / attempts / float64(max(1, p.Stride))
}

// cycles returns the mean number of cycles from one attempt of a lane to the next: in
// those that both ends have. Blocks of different length meet by chance.
func (u *Usage) cycles() float64 {
	a, b := u.Patterns[0], u.Patterns[1]
	n := stretch(a)
	if b != a {
		n *= stretch(b)
	}
	return n * float64(max(1, a.Stride, b.Stride))
}

// validate returns an error unless the link can serve the usage, whatever the
// fidelity.
func (e *Estimator) validate(u *Usage) error {
	if u.Type > Prepare || u.Creator < 0 || u.Creator > 1 {
		return qnet.Errorf(qnet.ErrInvalid, "link %s: there are no requests of type %d for side %d", e.cfg.Name, u.Type, u.Creator)
	}
	if !(u.Testing >= 0 && u.Testing < 1) {
		return qnet.Errorf(qnet.ErrInvalid, "link %s: share of test rounds is %g, want from 0 to below 1", e.cfg.Name, u.Testing)
	}
	if u.Type != Measure && e.cfg.Immediate {
		return qnet.Errorf(qnet.ErrUnsupported, "link %s: light is measured as it arrives, so there is no pair to keep: ask for pairs to be measured", e.cfg.Name)
	}
	for side := range e.ends {
		storage := e.cfg.Specs[side].Storage
		n := u.pairs()
		switch {
		case u.stores(side) && storage == 0:
			return qnet.Errorf(qnet.ErrUnsupported, "link %s: pairs are to be stored, and end %s has no storage qubits", e.cfg.Name, sideName(side))
		case u.stores(side) && n > uint64(storage):
			return qnet.Errorf(qnet.ErrUnsupported, "link %s: %d pairs are to be stored at a time, and end %s has %d storage qubits", e.cfg.Name, n, sideName(side), storage)
		case u.Type == Keep && !u.Store && n > uint64(u.lanes()):
			return qnet.Errorf(qnet.ErrUnsupported, "link %s: %d pairs are to be kept at a time, and there are %d lanes: ask for them to be stored, if there is storage", e.cfg.Name, n, u.lanes())
		}
	}
	return nil
}

func sideName(side int) string { return string("AB"[side&1]) }

// plan is what happens to a pair of a usage until it is handed up: a channel on
// either half, and if both are stored a part besides, since the storage qubits of
// both ends are as old as each other: the covariance of their z, times a channel on
// either half that is the derivative by z.
type plan struct {
	ready      time.Duration // from emission until the later of the ends has its half
	halves     [2]channel    // of either half until then
	tilts      [2]channel
	covariance float64
	kinds      [2]*qubit     // in which a half is then
	attempt    float64       // mean time from one attempt of a lane to the next, ns
	dead       time.Duration // after a pair in which its lane makes no attempts
}

// then adds a channel on a half.
func (p *plan) then(side int, c *channel) {
	p.halves[side] = p.halves[side].then(c)
	if p.covariance != 0 {
		p.tilts[side] = p.tilts[side].then(c)
	}
}

// apply returns the state that becomes of a pair.
func (p *plan) apply(s *state) state {
	out := s.through(&p.halves[0], &p.halves[1])
	if p.covariance != 0 {
		for i, x := range s.through(&p.tilts[0], &p.tilts[1]) {
			out[i] += p.covariance * x
		}
	}
	return out
}

// plan returns what happens to a kept pair that was made with the given probability
// per attempt, and that either end hears of so much later than it could. The half that
// is measured in a Prepare request waits for the herald.
func (e *Estimator) plan(u *Usage, probability float64, late [2]time.Duration) (p plan) {
	p.attempt = u.cycles() * e.cfg.Period
	heralded := 2 * e.cfg.Half
	for side := range e.ends {
		late[side] += e.queued(side, u, probability)
		p.halves[side] = e.ends[side].communication.over(heralded + late[side])
		p.kinds[side] = &e.ends[side].communication
	}
	p.ready = heralded
	if !u.stores(0) && !u.stores(1) && late == [2]time.Duration{} {
		return p
	}
	a, b := &e.ends[0].storage, &e.ends[1].storage
	old := [2]float64{math.Exp(-a.longitudinal * float64(late[0])), math.Exp(-b.longitudinal * float64(late[1]))}
	if u.stores(0) && u.stores(1) && a.longitudinal > 0 && b.longitudinal > 0 && u.Patterns[0] == u.Patterns[1] && !u.renewed(a) && !u.renewed(b) {
		before := 1.0
		if u.Patterns[0].Every == 0 {
			before = math.Exp(-a.longitudinal*float64(u.Before[0]) - b.longitudinal*float64(u.Before[1]))
		}
		p.covariance = old[0] * old[1] * a.offset() * b.offset() * (before*e.aging(a.longitudinal+b.longitudinal, 0, u, probability) -
			e.aged(0, u, probability)*e.aged(1, u, probability))
	}
	var placed [2]time.Duration // when a half is in its place, after the herald
	for side := range e.ends {
		if u.Type != Prepare || side != u.Creator {
			placed[side] = late[side]
		}
		if !u.stores(side) {
			continue
		}
		d, s := &e.ends[side], e.cfg.Specs[side]
		placed[side] += 2 * s.Gate2
		f := 1.0
		if !s.Serial { // else there are no attempts meanwhile
			f = e.disturbed(side, u, s.Gate2, p.attempt)
		}
		z := d.storage.rest + old[side]*d.storage.offset()*e.aged(side, u, probability)
		m := d.in.channel(z, f)
		if p.covariance != 0 {
			slope := d.in.slope(f)
			p.tilts[side] = p.halves[side].then(&slope)
		}
		p.halves[side] = p.halves[side].then(&m)
		p.kinds[side] = &d.storage
		p.dead = max(p.dead, heralded+2*s.Gate2+s.Init+d.storage.init)
	}
	// Both ends wait for as many. The later of them is so by a convex function of the number.
	var none, all time.Duration
	for side, at := range placed {
		if u.Type == Prepare && side == u.Creator {
			continue // it is measured at once
		}
		at -= e.queued(side, u, probability)
		none = max(none, at)
		all = max(all, at+time.Duration(u.others())*e.busy(side, u))
	}
	last := max(placed[0], placed[1], none+time.Duration(float64(all-none)*min(probability, 1)/2))
	p.ready += last
	for side := range p.halves {
		if u.Type == Prepare && side == u.Creator {
			continue // it is measured at once
		}
		t := last - placed[side]
		rest := p.kinds[side].over(t)
		if u.stores(side) {
			f := e.disturbed(side, u, t, p.attempt)
			rest[1][1] *= f
			rest[2][2] *= f
		}
		p.then(side, &rest)
	}
	return p
}

// disturbed returns what the attempts of the other lanes leave of a coherence in
// storage in a time.
func (e *Estimator) disturbed(side int, u *Usage, t time.Duration, attempt float64) float64 {
	d, others := &e.ends[side], u.others()
	if d.keep == 0 || others == 0 {
		return 1
	}
	return math.Exp(d.keep * others * float64(t) / attempt)
}

// offset returns how far z of the Bloch vector of a qubit is above rest when it has
// been initialised.
func (q *qubit) offset() float64 { return 1 - q.noise.InitDepolarising - q.rest }

// busy returns for how long a serial device works on the half of a side, when its herald
// has come, while those of other lanes wait.
func (e *Estimator) busy(side int, u *Usage) time.Duration {
	s, q := e.cfg.Specs[side], &e.ends[side].communication
	switch {
	case !s.Serial:
	case u.stores(side):
		return 2 * s.Gate2
	case u.Type == Prepare && side == u.Creator:
		return max(q.measure(qnet.BasisX), q.measure(qnet.BasisZ))
	}
	return 0
}

// queued returns for how long a half waits for those of other lanes on serial hardware,
// in the mean. Heralds come at one instant if attempts of one cycle succeed; the
// device works on one after the other, and attempts wait meanwhile.
func (e *Estimator) queued(side int, u *Usage, p float64) time.Duration {
	return time.Duration(float64(e.busy(side, u)) * u.others() * min(p, 1) / 2)
}

// renewed reports whether a storage qubit is taken to be as new where age would do it
// good: what ends attempts, and begins them again, makes it so.
func (u *Usage) renewed(q *qubit) bool { return u.fresh && q.offset() < 0 }

// aged returns what is left of the offset of the storage qubit of a side when the
// herald of a pair comes, in the mean.
func (e *Estimator) aged(side int, u *Usage, p float64) float64 {
	q := &e.ends[side].storage
	if u.renewed(q) {
		return math.Exp(-q.longitudinal * 2 * float64(e.cfg.Half))
	}
	mean := e.aging(q.longitudinal, side, u, p)
	if u.Patterns[side].Every == 0 {
		mean *= math.Exp(-q.longitudinal * float64(u.Before[side]))
	}
	return mean
}

// aging returns the mean of exp(−rate·t), rate in 1/ns, where t is the time from the
// begin of a block of attempts, or the first attempt if there are no blocks, until the
// herald of a pair comes. The n-th attempt of the block, from 0, brings the pair with a
// probability proportional to (1−p)ⁿ.
func (e *Estimator) aging(rate float64, side int, u *Usage, p float64) float64 {
	if rate == 0 {
		return 1
	}
	mean := math.Exp(-rate * 2 * float64(e.cfg.Half))
	if p >= 1 {
		return mean
	}
	// p/(1−x·y)·(1−(x·y)ⁿ)/(1−xⁿ), where x = 1−p and y is the factor of an attempt.
	own := u.Patterns[side]
	step := rate * float64(max(1, own.Stride)) * e.cfg.Period
	if other := u.Patterns[1-side]; other != own {
		step *= stretch(other)
	}
	fails := math.Log1p(-p)
	mean *= p / -math.Expm1(fails-step)
	if own.Every > 0 {
		_, n := block(own)
		mean *= math.Expm1(n*(fails-step)) / math.Expm1(n*fails)
	}
	return mean
}

// waits is how long the pairs of a request wait for the last.
type waits struct {
	pairs, lanes uint64
	probability  float64
	attempt      float64 // ns
	dead         float64 // ns
	testing      float64 // share of the successes that are test rounds
	tested       float64 // ns, after a test round in place of dead
}

// waits returns how long pairs of a usage wait, by its plan.
func (e *Estimator) waits(u *Usage, p *plan, probability float64) waits {
	return waits{pairs: u.pairs(), lanes: uint64(u.lanes()), probability: min(probability, 1),
		attempt: p.attempt, dead: float64(p.dead), testing: u.Testing, tested: float64(e.tested(u))}
}

// retry is after how long an end that found no storage qubit free asks for one
// again; it doubles that time each time.
const retry = time.Millisecond

// tested returns for how long a lane makes no attempts after a test round: until the
// half has been measured, and all is initialised again.
func (e *Estimator) tested(u *Usage) (dead time.Duration) {
	for side := range e.ends {
		d, s := &e.ends[side], e.cfg.Specs[side]
		t, q := 2*e.cfg.Half+s.Init, &d.communication
		if u.stores(side) {
			t += 2*s.Gate2 + d.storage.init
			if d.indirect {
				t += s.Init + 2*s.Gate2
			} else {
				q = &d.storage
			}
		}
		last := max(q.measure(qnet.BasisX), q.measure(qnet.BasisZ))
		t += last
		if u.stores(side) && u.pairs() >= uint64(s.Storage) {
			t += retry + last // the last qubit is the one that is measured
		}
		dead = max(dead, t)
	}
	return dead
}

// mean returns the mean over the pairs of a request, and over chance, of
// exp(−rate·t+keep·n), where t is the time in ns and n the number of attempts for
// which a pair waits for the last.
//
// From one pair to the next as many lanes attempt as pairs are missing, if there are
// so many. Each success takes a whole number of attempts, at least one, and those of
// all lanes begin when the pair before is in its place, or the test round before is
// over: what some lanes may gain by not waiting is left out, so that the wait is not
// underrated.
func (w *waits) mean(rate, keep float64) float64 {
	sum, left := 1.0, 1.0 // the last pair does not wait
	for missing := uint64(1); missing < w.pairs && left > 1e-18; missing++ {
		x := math.Exp(-rate*w.attempt + keep*float64(min(w.lanes, missing)))
		success := w.success(missing)
		attempts := success * x / (1 - (1-success)*x)
		idle := func(t float64) float64 {
			return math.Exp(-rate*t + keep*float64(min(w.lanes-1, missing))*t/w.attempt)
		}
		// Any number of test rounds, and then a pair.
		left *= idle(w.dead) * attempts * (1 - w.testing) / (1 - w.testing*attempts*idle(w.tested))
		sum += left
	}
	return sum / float64(w.pairs)
}

// success returns the probability that an attempt of all lanes that work for so many
// missing pairs brings one.
func (w *waits) success(missing uint64) float64 {
	return -math.Expm1(float64(min(w.lanes, missing)) * math.Log1p(-w.probability))
}

// attempts returns how many attempts lanes make in the mean between the emission of a
// pair, after which so many are missing, and the next one, by the time that passes.
func (w *waits) attempts(missing uint64, t float64) float64 {
	others, all := float64(min(w.lanes-1, missing)), float64(min(w.lanes, missing))
	idle := min(t, w.dead)
	// Of the rest test rounds take a part.
	trying, tested := w.attempt/w.success(missing), w.testing*w.tested
	share := trying / (trying + tested)
	return (others*idle + (t-idle)*(share*all+(1-share)*others)) / w.attempt
}

// first returns for how long the first pair waits in the mean.
func (w *waits) first() time.Duration {
	var sum float64
	again := w.testing / (1 - w.testing) // test rounds for each pair, in the mean
	for missing := uint64(1); missing < w.pairs; missing++ {
		p := w.success(missing)
		m := w.attempt / p
		sum += w.dead + m + again*(w.tested+m)
	}
	return time.Duration(min(sum, 1e18))
}

// rate returns the pairs per second of all lanes together.
func (p *plan) rate(u *Usage, probability float64) float64 {
	perPair := p.attempt/probability + float64(p.dead)
	return 1e9 * float64(u.lanes()) / perPair
}
