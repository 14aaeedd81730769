package verify

import (
	"math"
	"slices"
	"time"

	"qstack/app/expect"
	"qstack/qnet"
	"qstack/qsocket"
)

// joint counts pairs by what both ends measured: [basis at the head][basis at
// the tail][bits differ].
type joint [3][3][2]int

// join matches both ends' outcomes by the name of the pair. Every pair must be
// there at both ends.
func join(head, tail *qsocket.Outcomes) (joint, error) {
	var j joint
	at := make(map[qsocket.PairName]int, tail.Len())
	for i := range tail.Len() {
		at[tail.Name(i)] = i
	}
	if head.Len() != tail.Len() || len(at) != tail.Len() {
		return j, qnet.Errorf(qnet.ErrInternal, "the head end has %d pairs, the tail end %d with %d names", head.Len(), tail.Len(), len(at))
	}
	for i := range head.Len() {
		k, ok := at[head.Name(i)]
		if !ok {
			return j, qnet.Errorf(qnet.ErrInternal, "pair %v is known at one end only", head.Name(i))
		}
		j[head.Basis[i]][tail.Basis[k]][head.Bit[i]^tail.Bit[k]]++
	}
	return j, nil
}

// correlator returns the mean product of the bits, as ±1.
func correlator(n [2]int) float64 { return float64(n[0]-n[1]) / float64(n[0]+n[1]) }

// fidelity estimates the fidelity to Φ+ from pairs measured in X, Y and Z, each
// at both ends.
func fidelity(x, y, z [2]int) float64 {
	return (1 + correlator(x) - correlator(y) + correlator(z)) / 4
}

// The settings of the CHSH test: the head measures in a Pauli basis and so can
// correct the Bell state on its bit.
var (
	headSettings = []qsocket.Basis{qsocket.Z, qsocket.X}
	tailSettings = []qsocket.Basis{qnet.BasisXZ(math.Pi / 4), qnet.BasisXZ(-math.Pi / 4)}
)

// chsh returns S = E(Z,+)+E(Z,−)+E(X,+)−E(X,−).
func chsh(j joint) float64 {
	return correlator(j[0][0]) + correlator(j[0][1]) + correlator(j[1][0]) - correlator(j[1][1])
}

// pace is the time from pair to pair.
type pace struct {
	requests int
	emulated intervals
	// wall is what each request took by the wall clock, software included, shared
	// among its pairs in proportion to their emulated intervals.
	wall intervals
}

// add takes what measure has returned.
func (p *pace) add(m *measured) {
	for i, wall := range m.wall {
		p.requests++
		at := m.At[i*chunk : min((i+1)*chunk, len(m.At))]
		at = slices.Sorted(slices.Values(at)) // lanes report in turn
		n := len(at)
		all := at[n-1].Sub(at[0])
		for k := 1; k < n; k++ {
			d := at[k].Sub(at[k-1])
			p.emulated = append(p.emulated, d)
			if all > 0 {
				d = time.Duration(float64(d) / float64(all) * float64(wall) * float64(n-1) / float64(n))
			} else {
				d = wall / time.Duration(n)
			}
			p.wall = append(p.wall, d)
		}
	}
}

// intervals are times between one pair and the next.
type intervals []time.Duration

func (v intervals) rate() float64 {
	var sum time.Duration
	for _, d := range v {
		sum += d
	}
	if sum == 0 {
		return 0
	}
	return float64(len(v)) / sum.Seconds()
}

// quantile returns the q-quantile, and sorts.
func (v intervals) quantile(q float64) time.Duration {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[min(len(v)-1, int(q*float64(len(v))))]
}

func (v intervals) latency() Latency {
	return Latency{P50: ms(v.quantile(0.5)), P99: ms(v.quantile(0.99))}
}

// z95 is the 97.5 % quantile of the normal distribution: ±z95 standard errors
// are a 95 % interval.
const z95 = 1.959964

// Result is everything that was measured.
type Result struct {
	Pairs         int
	Fidelity      float64
	CHSHPairs     int
	CHSH          float64
	PerState      int // teleportations of each cardinal state
	TeleportRight int // of all of them
	correlators   [3]float64
	pace          pace
	Elapsed       time.Duration // emulated
}

// Rate returns pairs per second of emulated time.
func (r *Result) Rate() float64 { return r.pace.emulated.rate() }

// Judge compares a result with the expectation. withRate makes the rate count.
func Judge(r *Result, e *expect.Expectation, withRate bool) *Report {
	rep := &Report{Pairs: r.Pairs, Processes: []Process{}}

	se := e.FidelityStdErr(r.Pairs)
	rep.Fidelity = Interval{Mean: r.Fidelity, StdErr: se, Low: max(0, r.Fidelity-z95*se), High: min(1, r.Fidelity+z95*se), Expected: &e.Fidelity.Mean}
	rep.judge("fidelity", expect.Within5SE(r.Fidelity, e.Fidelity.Mean, se))

	se = e.CHSHStdErr(r.CHSHPairs)
	rep.CHSH = CHSH{S: r.CHSH, StdErr: se, Expected: &e.CHSH.Mean, Pairs: r.CHSHPairs}
	rep.judge("chsh", expect.Within5SE(r.CHSH, e.CHSH.Mean, se) && r.CHSH > 2)

	if n := 6 * r.PerState; n > 0 {
		mean := float64(r.TeleportRight) / float64(n)
		low, high := wilson(r.TeleportRight, n)
		expected := e.TeleportMean().Mean
		rep.Teleport = Interval{Mean: mean, StdErr: e.TeleportStdErr(r.PerState), Low: low, High: high, Expected: &expected}
		rep.judge("teleport", e.TeleportPlausible(r.TeleportRight, r.PerState))
	}

	rate := e.Rate()
	rep.RateHz = Rate{Measured: r.Rate(), Expected: &rate.Mean}
	// Where a link's attempts never fail, the rate has no spread; where a request
	// begins and ends is known to one attempt of all lanes even then.
	edges := float64(r.pace.requests*e.Lanes) / float64(max(1, len(r.pace.emulated)))
	rep.rateStdErr = math.Hypot(e.RateStdErr(len(r.pace.emulated)), rate.Mean*edges)
	if withRate {
		rep.judge("rate", expect.Within5SE(r.Rate(), rate.Mean, rep.rateStdErr))
	}
	rep.rateJudged = withRate
	rep.times(r)
	rep.Verdict = "pass"
	if len(rep.Failed) > 0 {
		rep.Verdict = "fail"
	}
	return rep
}

// times fills in how long things took.
func (rep *Report) times(r *Result) {
	rep.LatencyMS = r.pace.emulated.latency()
	rep.wallRate, rep.wallLatency = r.pace.wall.rate(), r.pace.wall.latency()
	rep.EmulatedS = r.Elapsed.Seconds()
}

// Show reports a result of which nothing is expected, for the given reason:
// standard errors are those of what was measured.
func Show(r *Result, why error) *Report {
	rep := &Report{Pairs: r.Pairs, Processes: []Process{}, Verdict: "none", Unexpected: why.Error(), Failed: []string{}}
	var v float64
	for _, e := range r.correlators {
		v += 1 - e*e
	}
	se := math.Sqrt(v / 16 * 3 / float64(r.Pairs))
	rep.Fidelity = Interval{Mean: r.Fidelity, StdErr: se, Low: max(0, r.Fidelity-z95*se), High: min(1, r.Fidelity+z95*se)}
	// Four settings of a quarter of the pairs each, with correlators of S/4.
	rep.CHSH = CHSH{S: r.CHSH, StdErr: math.Sqrt(16 * max(0, 1-r.CHSH*r.CHSH/16) / float64(r.CHSHPairs)), Pairs: r.CHSHPairs}
	if n := 6 * r.PerState; n > 0 {
		mean := float64(r.TeleportRight) / float64(n)
		low, high := wilson(r.TeleportRight, n)
		rep.Teleport = Interval{Mean: mean, StdErr: math.Sqrt(mean * (1 - mean) / float64(n)), Low: low, High: high}
	}
	rep.RateHz = Rate{Measured: r.Rate()}
	rep.rateStdErr = r.Rate() / math.Sqrt(float64(max(1, len(r.pace.emulated)))) // of a Poisson process
	rep.times(r)
	return rep
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// wilson returns the Wilson score interval of 95 % for a proportion (E. B.
// Wilson, J. Am. Stat. Assoc. 22, 209, 1927).
func wilson(k, n int) (low, high float64) {
	p, m := float64(k)/float64(n), float64(n)
	centre := (p + z95*z95/(2*m)) / (1 + z95*z95/m)
	half := z95 / (1 + z95*z95/m) * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	return max(0, centre-half), min(1, centre+half)
}
