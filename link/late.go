package link

import (
	"cmp"
	"slices"
	"time"

	"qstack/qnet"
)

// lateness is how an end tells whether what has come is late, and no longer what was
// asked for.
type lateness struct {
	heard    [16]time.Duration // by how much the latest kept pairs were heard of late
	next     int
	accounts map[question]float64
}

// Of an account of sets of pairs that are to be alive together.
const (
	firstCredit = 0.1 // of fidelity (chosen)
	mostCredit  = 1   // that good sets bring for worse ones (chosen)
)

// rounding is what instants may be off (chosen).
const rounding = 10 * time.Nanosecond

// hear takes note of when a pair was heard of: so long after the first instant that it
// could be.
func (t *lateness) hear(late time.Duration) {
	t.heard[t.next] = late
	t.next = (t.next + 1) % len(t.heard)
}

// usual returns what lateness is of no account: twice what three in four of the latest
// pairs exceed (chosen). It is the time that software takes, which no estimate has, and
// none in simulated time, where only a REPLY that was lost and repeated is late.
func (t *lateness) usual() time.Duration {
	sorted := t.heard
	slices.Sort(sorted[:])
	return rounding + 2*max(0, sorted[len(sorted)/4])
}

// spend takes the fidelity of a set that is to be handed up, in the mean over its
// pairs, less the minimum, and reports whether the account of its kind allows for it:
// so that the fidelities of all sets together, however many, are never more than the
// first credit below the minimum. What chance makes better, by a short wait, is credit
// for what chance or loss makes worse.
func (t *lateness) spend(q question, worth float64) bool {
	q = t.account(q)
	credit, ok := t.accounts[q]
	if !ok {
		credit = firstCredit
	}
	if worth < 0 && credit+worth < 0 {
		return false
	}
	t.accounts[q] = min(credit+worth, mostCredit)
	return true
}

// account returns the kind of sets that shares the account of a kind: itself, or no
// kind at all, when there are so many that the latest have one together.
func (t *lateness) account(q question) question {
	if _, ok := t.accounts[q]; !ok && len(t.accounts) >= maxAnswers {
		return question{}
	}
	return q
}

// refund takes back what was spent for a set that the other end has voided.
func (t *lateness) refund(q question, worth float64) {
	q = t.account(q)
	if credit, ok := t.accounts[q]; ok {
		t.accounts[q] = min(credit-worth, mostCredit)
	}
}

// behind returns how much later it is than a time after the emission of a pair; what
// is usual is not late.
func (e *end) behind(created qnet.Time, due time.Duration) time.Duration {
	late := e.l.dev.Now().Sub(created) - due
	if late <= 0 {
		return 0
	}
	return max(0, late-e.estimator.usual())
}

// cost returns the fidelity that a pair loses when this end alone hears of it late.
func (e *end) cost(q *request, l qnet.BellLabel, late time.Duration) float64 {
	if late <= 0 {
		return 0
	}
	u := e.single(q)
	var by [2]time.Duration
	inTime := e.estimator.Late(q.point, l, u, by)
	by[e.cfg.Side] = late
	return inTime - e.estimator.Late(q.point, l, u, by)
}

// stale reports whether a pair was heard of so late that it is no longer what was
// asked for: that it has lost more than pairs in time are better than the minimum, in
// the mean over their labels.
func (e *end) stale(q *request, l qnet.BellLabel, created qnet.Time) bool {
	if q.minF == 0 || e.estimator.honest == nil {
		return false
	}
	late := e.behind(created, 2*e.cfg.Delay)
	if late == 0 {
		return false
	}
	a := e.estimator.ask(question{usage: e.single(q), point: q.point}, e.l.loop.Now())
	return a.err == nil && e.cost(q, l, late) > a.estimate.Granted-q.minF
}

// enough reports whether the pairs of a consecutive request, which have come together,
// are what was asked for. What they have lost because this end alone was late counts
// twice, since the other end, which waits for the same pairs, may lose as much of which
// this one does not know.
func (e *end) enough(q *request, list []Pair) bool {
	if q.minF == 0 || len(list) < 2 || e.estimator.honest == nil {
		return true
	}
	u := e.usage(q)
	a := e.estimator.ask(question{usage: u, point: q.point}, e.l.loop.Now())
	if a.err != nil {
		return true
	}
	sorted := slices.SortedFunc(slices.Values(list), func(a, b Pair) int { return cmp.Compare(a.Created, b.Created) })
	last := len(sorted) - 1
	late := e.behind(sorted[last].Created, a.estimate.Age)
	age, attempts, sum := a.estimate.Age, 0.0, 0.0
	for i := last; i >= 0; i-- {
		if i < last { // it has waited for software too
			d := max(0, sorted[i+1].Created.Sub(sorted[i].Created)-e.estimator.usual())
			age += d
			attempts += e.estimator.Attempts(q.point, u, uint64(last-i), d)
		}
		l := sorted[i].Label
		sum += 2*e.estimator.At(q.point, l, u, age+late, attempts) - e.estimator.At(q.point, l, u, age, attempts)
	}
	worth := sum/float64(len(list)) - q.minF
	if !e.estimator.spend(e.account(q), worth) {
		return false
	}
	q.worth = worth
	return true
}

// account returns what the account of a consecutive request is kept by.
func (e *end) account(q *request) question {
	return question{usage: e.usage(q), minimum: q.minF, point: q.point}
}
