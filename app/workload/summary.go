package workload

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
)

// Sets of requests.
const (
	AllTypes = "all"

	OriginBoth       = "both"
	OriginA          = "A"
	OriginB          = "B"
	OriginDifference = "A-B"
)

// figure is one figure of one run.
type figure struct {
	typ, origin, name string
	Estimate          // N is 0 if the run does not have it, StdErr NaN if it does not know it
	count             bool
}

// fewPairs is the number, chosen, below which pairs may be alike by chance.
const fewPairs = 30

// estimate returns the average as an estimate.
func (a Average) estimate() Estimate { return Estimate{Mean: a.Mean, StdErr: math.NaN(), N: a.N} }

// figures lists those of a run.
func (r *Result) figures() []figure {
	var fs []figure
	add := func(typ, origin, name string, e Estimate) {
		if e = e.rounded(e.Mean); e.StdErr == 0 && e.N < fewPairs {
			e.StdErr = math.NaN()
		}
		fs = append(fs, figure{typ, origin, name, e, false})
	}
	exact := func(typ, origin, name string, x float64) {
		fs = append(fs, figure{typ, origin, name, Estimate{Mean: x, N: 1}, false})
	}
	average := func(typ, origin, name string, a Average) { add(typ, origin, name, a.estimate()) }
	count := func(typ, origin, name string, n uint64) {
		fs = append(fs, figure{typ, origin, name, Average{Mean: float64(n), N: 1}.estimate(), true})
	}
	quantile := func(x float64, of *Distribution) Average { return Average{Mean: x, N: of.N} }
	for _, t := range slices.Concat(r.Types, []TypeResult{r.All}) {
		exact(t.Name, OriginBoth, FigureOffered, t.Offered)
		if t.MinFidelity > 0 {
			exact(t.Name, OriginBoth, FigureMinimum, t.MinFidelity)
		}
		for _, of := range []struct {
			origin string
			f      *Figures
		}{{OriginBoth, &t.Both}, {OriginA, &t.A}, {OriginB, &t.B}} {
			f := of.f
			count(t.Name, of.origin, FigureRequests, f.Requests)
			count(t.Name, of.origin, FigureCompleted, f.Completed)
			var failed uint64
			for _, code := range slices.Sorted(maps.Keys(f.Failed)) {
				failed += f.Failed[code]
				count(t.Name, of.origin, FigureFailed+"."+code, f.Failed[code])
			}
			count(t.Name, of.origin, FigureFailed, failed)
			count(t.Name, of.origin, FigureOpen, f.Open)
			count(t.Name, of.origin, FigurePairs, f.Pairs)
			average(t.Name, of.origin, FigureThroughput, f.Throughput)
			average(t.Name, of.origin, FigureLatency, f.Latency.Average)
			average(t.Name, of.origin, FigureScaled, f.Scaled.Average)
			average(t.Name, of.origin, FigureScaledP50, quantile(f.Scaled.P50, &f.Scaled))
			average(t.Name, of.origin, FigureScaledP90, quantile(f.Scaled.P90, &f.Scaled))
			average(t.Name, of.origin, FigureScaledP99, quantile(f.Scaled.P99, &f.Scaled))
			add(t.Name, of.origin, FigureOracle, f.Oracle)
			add(t.Name, of.origin, FigureOutcomes, f.Outcomes.F)
			add(t.Name, of.origin, FigureQBERX, f.Outcomes.X)
			add(t.Name, of.origin, FigureQBERY, f.Outcomes.Y)
			add(t.Name, of.origin, FigureQBERZ, f.Outcomes.Z)
			add(t.Name, of.origin, FigurePrepared, f.Prepared)
			add(t.Name, of.origin, FigureCHSH, f.CHSH)
			average(t.Name, of.origin, FigureFidelity, f.Fidelity)
			if f.Unread > 0 {
				count(t.Name, of.origin, FigureUnread, f.Unread)
			}
		}
		for _, l := range t.Learnt {
			for _, x := range []struct {
				name  string
				value float64
			}{{FigureLearnt, l.Measured}, {FigureLearntLower, l.Lower}, {FigureLearntUpper, l.Upper}, {FigureRounds, l.Rounds}} {
				average(t.Name, l.End, x.name, Average{Mean: x.value, N: 1})
			}
		}
		difference := func(name string, a, b Estimate) {
			e := Estimate{Mean: a.Mean - b.Mean, StdErr: math.Hypot(a.StdErr, b.StdErr), N: min(a.N, b.N)}
			add(t.Name, OriginDifference, name, e.rounded(max(math.Abs(a.Mean), math.Abs(b.Mean))))
		}
		a, b := &t.A, &t.B
		if a.Requests == 0 || b.Requests == 0 {
			continue
		}
		difference(FigureThroughput, a.Throughput.estimate(), b.Throughput.estimate())
		difference(FigureCompleted, Average{Mean: float64(a.Completed), N: 1}.estimate(), Average{Mean: float64(b.Completed), N: 1}.estimate())
		difference(FigureLatency, a.Latency.estimate(), b.Latency.estimate())
		difference(FigureScaled, a.Scaled.estimate(), b.Scaled.estimate())
		difference(FigureOracle, a.Oracle, b.Oracle)
		difference(FigureOutcomes, a.Outcomes.F, b.Outcomes.F)
		difference(FigureFidelity, a.Fidelity.estimate(), b.Fidelity.estimate())
	}
	average("", "", FigureQueue, Average{Mean: r.Queue.Mean, N: 1})
	average("", "", FigureQueueMax, Average{Mean: r.Queue.Max, N: 1})
	count("", OriginA, FigureExpired, r.Expired[0])
	count("", OriginB, FigureExpired, r.Expired[1])
	for _, name := range slices.Sorted(maps.Keys(r.Frames)) {
		count("", "", FigureFrames+"."+name, r.Frames[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Lost)) {
		count("", "", FigureLost+"."+name, r.Lost[name])
	}
	if r.Attempts > 0 {
		count("", "", FigureAttempts, r.Attempts)
	}
	if r.NoMessageOther > 0 {
		average("", "", FigureNoMessageOther, Average{Mean: r.NoMessageOther, N: 1})
	}
	return fs
}

// rounded returns an estimate of which a mean or a standard error that is nothing
// beside the scale, but for rounding, is 0.
func (e Estimate) rounded(scale float64) Estimate {
	const rounding = 1e-12
	if e.StdErr <= rounding*math.Abs(scale) {
		e.StdErr = 0
	}
	if !(e.StdErr > 0) && math.Abs(e.Mean) <= rounding*math.Abs(scale) {
		e.Mean = 0
	}
	return e
}

// Summarise puts the results of several runs of one scenario together.
func Summarise(results []*Result) *Summary {
	s := &Summary{Version: Version}
	type key struct{ typ, origin, name string }
	type column struct {
		moments
		count  bool
		within moments // squares of the standard errors within runs that have one
		exact  uint64  // runs that have none, for chance has no part in it
	}
	columns := make(map[key]*column)
	var order []key
	for _, r := range results {
		s.Scenario = r.Scenario
		s.Seeds = append(s.Seeds, r.Seed)
		s.SimulatedS += r.WarmupS + r.SimulatedS
		s.WallS += r.WallS
		for _, e := range r.Errors {
			if len(s.Errors) < maxErrors {
				s.Errors = append(s.Errors, e)
			}
		}
		for _, f := range r.figures() {
			k := key{f.typ, f.origin, f.name}
			c := columns[k]
			if c == nil {
				c = &column{count: f.count}
				columns[k] = c
				order = append(order, k)
			}
			if f.N > 0 {
				c.add(f.Mean)
				switch {
				case f.StdErr > 0:
					c.within.add(f.StdErr * f.StdErr)
				case f.StdErr == 0:
					c.exact++
				}
			}
		}
	}
	for _, k := range order {
		c := columns[k]
		for c.count && c.n < uint64(len(results)) {
			c.add(0) // of runs that have nothing to count
		}
		if c.n == 0 {
			continue
		}
		row := Row{Type: k.typ, Origin: k.origin, Figure: k.name, Mean: c.mean, StdErr: math.NaN(), N: int(c.n)}
		width := math.NaN()
		spread := c.estimate().rounded(c.mean).StdErr
		switch row.Within = c.n < manyRuns && c.within.n == c.n; {
		case row.Within:
			row.StdErr = math.Sqrt(c.within.mean / float64(c.n))
			width = z95 * row.StdErr
		case c.n >= FewRuns:
			row.StdErr = spread
			width = student95(int(c.n-1)) * row.StdErr
		case c.exact == c.n && spread == 0:
			row.StdErr, width = 0, 0
		}
		row.Low, row.High = row.Mean-width, row.Mean+width
		s.Rows = append(s.Rows, row)
	}
	return s
}

// MarshalJSON has null for what is not known.
func (r Row) MarshalJSON() ([]byte, error) {
	type plain Row
	if !math.IsNaN(r.StdErr) {
		return json.Marshal(plain(r))
	}
	return json.Marshal(struct {
		plain
		StdErr *float64 `json:"stderr"`
		Low    *float64 `json:"low"`
		High   *float64 `json:"high"`
	}{plain: plain(r)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Row) UnmarshalJSON(b []byte) error {
	type plain Row
	x := plain{StdErr: math.NaN(), Low: math.NaN(), High: math.NaN()} // which null leaves as they are
	err := json.Unmarshal(b, &x)
	*r = Row(x)
	return err
}

// Row returns a figure; ok is false when no run has it.
func (s *Summary) Row(typ, origin, name string) (row Row, ok bool) {
	for _, r := range s.Rows {
		if r.Type == typ && r.Origin == origin && r.Figure == name {
			return r, true
		}
	}
	return Row{}, false
}

// FewRuns is the number of runs, chosen, below which their spread says little about
// the error of their mean.
const FewRuns = 5

// manyRuns is the number, chosen, from which it says more than what runs know of their
// own errors: that of n runs is off by one part in √(2n). Pairs are independent, so that
// a run knows the errors of its fidelities; times in queues are not, nor is how many
// pairs there are, on which a mean over mixed types depends.
const manyRuns = 100

const z95 = 1.959963984540054

// student95 returns t for which a variate of Student's distribution with n degrees
// of freedom is from −t to t with a probability of 95 %.
func student95(n int) float64 {
	if n > 200 { // the expansion of Abramowitz and Stegun, 26.7.5, good to 1e-9
		z, v := z95, float64(n)
		return z + (z*z*z+z)/(4*v) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*v*v) + (3*math.Pow(z, 7)+19*math.Pow(z, 5)+17*z*z*z-15*z)/(384*v*v*v)
	}
	low, high := 1.9, 13.0
	for range 60 {
		if t := (low + high) / 2; studentInside(t, n) < 0.95 {
			low = t
		} else {
			high = t
		}
	}
	return (low + high) / 2
}

// studentInside returns the probability of a variate from −t to t, by Abramowitz
// and Stegun, 26.7.3 and 26.7.4.
func studentInside(t float64, n int) float64 {
	theta := math.Atan(t / math.Sqrt(float64(n)))
	sin, cos := math.Sincos(theta)
	if n%2 == 0 {
		sum, term := 0.0, 1.0
		for k := 0; k <= n-2; k += 2 {
			sum += term
			term *= cos * cos * float64(k+1) / float64(k+2)
		}
		return sin * sum
	}
	sum, term := 0.0, cos
	for k := 1; k <= n-2; k += 2 {
		sum += term
		term *= cos * cos * float64(k+1) / float64(k+2)
	}
	return 2 / math.Pi * (theta + sin*sum)
}
