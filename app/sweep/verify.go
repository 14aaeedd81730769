package sweep

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"qstack/app/workload"
)

// Verdict is that of a check.
type Verdict string

// The verdicts.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "fail"
	IsInformative Verdict = "informative" // not judged
)

// Check compares one figure with what it should be.
type Check struct {
	// Kind is row, ratio, even, above, spread or errors: which part of the reference
	// it is from; errors is none of them, but that nothing went wrong in the runs.
	Kind   string  `json:"kind"`
	Name   string  `json:"name"` // of the row, or what is stated
	Type   string  `json:"type,omitempty"`
	Figure string  `json:"figure,omitempty"`
	Ours   float64 `json:"ours"`
	StdErr float64 `json:"stderr"` // NaN, null as JSON, if it is not known
	Want   float64 `json:"want"`
	// WantErr is the standard error of Want, as StdErr; Allowed what Ours may be off,
	// nothing for errors that are not known.
	WantErr float64 `json:"want_stderr"`
	Allowed float64 `json:"allowed"`
	// Bound says how Ours is to be to Want: "=", "≥", "≤" or, for a range, "…".
	Bound   string  `json:"bound"`
	Upper   float64 `json:"upper,omitempty"` // of a range that begins at Want
	Runs    int     `json:"runs"`
	Missing bool    `json:"missing,omitempty"` // there is no such figure
	Verdict Verdict `json:"verdict"`
	Note    string  `json:"note,omitempty"`
}

// Verify compares the report with a reference. Rows that the plan leaves out are
// not compared.
func (r *Report) Verify(ref *Reference) {
	r.than = ref.Title
	for i := range ref.Wants {
		if row := r.row(ref.Wants[i].Row); row != nil {
			r.Checks = append(r.Checks, row.compare(&ref.Wants[i]))
		}
	}
	for i := range ref.Ratios {
		a, b := r.row(ref.Ratios[i].Row), r.row(ref.Ratios[i].To)
		if a != nil && b != nil {
			r.Checks = append(r.Checks, ref.Ratios[i].check(a, b))
		}
	}
	for i := range ref.Evens {
		e := &ref.Evens[i]
		rows := r.matching(e.Rows.MatchString)
		for _, f := range e.Figures {
			if len(rows) > 0 {
				r.Checks = append(r.Checks, e.check(rows, f))
			}
		}
	}
	for i := range ref.Aboves {
		for _, row := range r.matching(ref.Aboves[i].Rows.MatchString) {
			r.Checks = append(r.Checks, ref.Aboves[i].checks(row)...)
		}
	}
	for i := range ref.Spreads {
		s := &ref.Spreads[i]
		rows := r.matching(s.Rows.MatchString)
		for _, w := range s.Want {
			if len(rows) > 0 {
				r.Checks = append(r.Checks, s.check(rows, w))
			}
		}
	}
	for _, row := range r.Rows {
		if row.Runs < row.Of {
			r.Checks = append(r.Checks, Check{Kind: "errors", Name: row.Row, Bound: "=", Runs: row.Runs, Missing: true,
				Verdict: Fail, Note: fmt.Sprintf("%d of %d runs are there", row.Runs, row.Of)})
		}
	}
	r.Verdict = IsInformative // unless something is judged
	if slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Verdict == Pass }) {
		r.Verdict = Pass
	}
	if slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Verdict == Fail }) {
		r.Verdict = Fail
	}
}

// matching returns the rows with a name that matches.
func (r *Report) matching(match func(string) bool) []*RowReport {
	var out []*RowReport
	for i := range r.Rows {
		if match(r.Rows[i].Row) {
			out = append(out, &r.Rows[i])
		}
	}
	return out
}

// without marks a check for which there is no figure.
func (c Check) without(judge bool) Check {
	c.Missing, c.Verdict = true, IsInformative
	if judge {
		c.Verdict, c.Note = Fail, "no such figure"
	}
	return c
}

// judged returns the check with the verdict.
func (c Check) judged(judge, ok bool) Check {
	switch {
	case !judge:
		c.Verdict = IsInformative
	case ok:
		c.Verdict = Pass
	default:
		c.Verdict = Fail
	}
	return c
}

func fewRuns(n, least int) string { return fmt.Sprintf("%d runs, want at least %d", n, least) }

// allowed returns so many standard errors; nothing, with a note, of one that the runs
// are too few to know.
func (c *Check) allowed(sigmas, stderr float64) float64 {
	if !math.IsNaN(stderr) {
		return sigmas * stderr
	}
	if sigmas > 0 {
		c.Note = "no standard error: " + fewRuns(c.Runs, workload.FewRuns)
	}
	return 0
}

// MarshalJSON has null for what is not known.
func (c Check) MarshalJSON() ([]byte, error) {
	type plain Check
	known := func(x float64) *float64 {
		if math.IsNaN(x) {
			return nil
		}
		return &x
	}
	return json.Marshal(struct {
		plain
		StdErr  *float64 `json:"stderr"`
		WantErr *float64 `json:"want_stderr"`
	}{plain(c), known(c.StdErr), known(c.WantErr)})
}

// compare compares a figure of the row with that of the reference.
func (row *RowReport) compare(w *Want) Check {
	c := Check{Kind: "row", Name: row.Row, Type: w.Type, Figure: w.Figure, Want: w.Value, WantErr: w.StdErr, Bound: "=", Note: w.Note}
	if w.IsRange {
		c.Want, c.Upper, c.Bound = w.From, w.To, "…"
	}
	f, ok := figure(row.Summary, w.Type, originBoth, w.Figure)
	if !ok {
		return c.without(w.Judge)
	}
	c.Ours, c.StdErr, c.Runs = f.Mean, f.StdErr, f.N
	if !w.Judge {
		return c.judged(false, false)
	}
	c.Allowed = max(w.Tolerance.Relative*math.Abs(w.Value), c.allowed(w.Tolerance.Sigmas, math.Hypot(f.StdErr, w.StdErr)))
	switch {
	case f.N < w.LeastRuns:
		c.Note = fewRuns(f.N, w.LeastRuns)
		return c.judged(true, false)
	case row.Shortest < w.LeastTime*(1-1e-9):
		c.Note = fmt.Sprintf("runs of %g s, want at least %g s", row.Shortest, w.LeastTime)
		return c.judged(true, false)
	}
	return c.judged(true, math.Abs(c.Ours-c.Want) <= c.Allowed)
}

// check bounds the ratio of row a to row b.
func (x *Ratio) check(a, b *RowReport) Check {
	c := Check{Kind: "ratio", Name: x.Name, Type: x.Type, Figure: x.Figure}
	switch {
	case math.IsInf(x.Min, -1):
		c.Bound, c.Want = "≤", x.Max
	case math.IsInf(x.Max, 1):
		c.Bound, c.Want = "≥", x.Min
	default:
		c.Bound, c.Want, c.Upper = "…", x.Min, x.Max
	}
	f, ok := figure(a.Summary, x.Type, originBoth, x.Figure)
	g, ok2 := figure(b.Summary, x.Type, originBoth, x.Figure)
	if !ok || !ok2 || f.Mean == 0 || g.Mean == 0 {
		return c.without(x.Judge)
	}
	c.Ours, c.Runs = f.Mean/g.Mean, min(f.N, g.N)
	c.StdErr = math.Abs(c.Ours) * math.Hypot(f.StdErr/f.Mean, g.StdErr/g.Mean)
	c.Allowed = c.allowed(x.Sigmas, c.StdErr)
	if c.Runs < x.LeastRuns {
		c.Note = fewRuns(c.Runs, x.LeastRuns)
		return c.judged(x.Judge, false)
	}
	return c.judged(x.Judge, c.Ours >= x.Min-c.Allowed && c.Ours <= x.Max+c.Allowed)
}

// check compares what is asked for at A and at B: the relative difference in the
// mean over all runs of all rows, and the difference of each row.
func (e *Even) check(rows []*RowReport, name string) Check {
	c := Check{Kind: "even", Name: e.Name, Type: e.Type, Figure: name, Bound: "="}
	var differences []float64
	fair, unknown := true, ""
	worst := 0.0
	for _, row := range rows {
		for _, run := range row.runs {
			a, b, ok := ends(run, e.Type, name)
			if ok && a+b != 0 {
				differences = append(differences, (a-b)/((a+b)/2))
			}
		}
		d, ok := figure(row.Summary, e.Type, originDifference, name)
		if !ok {
			continue
		}
		sigmas := 0.0
		if of, _ := figure(row.Summary, e.Type, originBoth, name); math.Abs(d.Mean) > rounding*math.Abs(of.Mean) {
			sigmas = math.Abs(d.Mean) / d.StdErr // +Inf where all runs agree that it is not even
		}
		switch {
		case math.IsNaN(sigmas):
			unknown = fmt.Sprintf("no standard error of %s: %s", row.Row, fewRuns(d.N, workload.FewRuns))
		case sigmas > worst:
			worst, c.Note = sigmas, fmt.Sprintf("largest %.1f standard errors, of %s", sigmas, row.Row)
		}
		fair = fair && sigmas <= e.Sigmas
	}
	if len(differences) < 2 {
		return c.without(true)
	}
	if unknown != "" {
		c.Note = unknown
	}
	c.Runs = len(differences)
	c.Ours, c.StdErr = mean(differences)
	c.Allowed = max(rounding, c.allowed(e.Sigmas, c.StdErr))
	return c.judged(true, fair && math.Abs(c.Ours) <= c.Allowed)
}

// mean returns the mean and its standard error; that of too few is not known.
func mean(x []float64) (m, stderr float64) {
	n := float64(len(x))
	for _, v := range x {
		m += v / n
	}
	for _, v := range x {
		stderr += (v - m) * (v - m)
	}
	if len(x) < workload.FewRuns {
		return m, math.NaN()
	}
	return m, math.Sqrt(stderr / (n - 1) / n)
}

// ends returns a figure of one run by the end that asked.
func ends(run *workload.Result, typ, name string) (a, b float64, ok bool) {
	s := workload.Summarise([]*workload.Result{run})
	x, ok := figure(s, typ, originA, name)
	y, ok2 := figure(s, typ, originB, name)
	return x.Mean, y.Mean, ok && ok2
}

// checks compares figures of each type of request with the one that they are not to
// be below. Each type must have one at least that is judged.
func (x *Above) checks(row *RowReport) []Check {
	c := Check{Kind: "above", Name: x.Name + ": " + row.Row, Bound: "≥"}
	all := types(row.Summary)
	if len(all) == 0 {
		return []Check{c.without(true)}
	}
	var out []Check
	for _, typ := range all {
		c.Type, c.Figure, c.Want, c.WantErr = typ, x.To, 0, 0
		bound, ok := figure(row.Summary, typ, originBoth, x.To)
		if !ok {
			out = append(out, c.without(true))
			continue
		}
		c.Want, c.WantErr = bound.Mean, bound.StdErr
		found := false
		for _, name := range x.Figures {
			f, ok := figure(row.Summary, typ, originBoth, name)
			if !ok {
				continue
			}
			d := c
			d.Figure, d.Ours, d.StdErr, d.Runs = name, f.Mean, f.StdErr, f.N
			stderr := math.Hypot(f.StdErr, bound.StdErr)
			d.Allowed = d.allowed(x.Sigmas, stderr) + rounding
			kept := d.Ours >= d.Want-d.Allowed
			certain := d.Allowed <= x.Widest && !math.IsNaN(stderr) || math.IsInf(x.Widest, 1)
			judge := !kept || certain // what is below fails, however uncertain
			if !judge && d.Note == "" {
				d.Note = fmt.Sprintf("too uncertain: want at most ± %g", x.Widest)
			}
			found = found || judge
			out = append(out, d.judged(judge, kept))
		}
		if !found {
			c.Figure = strings.Join(x.Figures, ", ")
			out = append(out, c.without(true))
		}
	}
	return out
}

// check returns the largest relative difference |a−b|/max(a,b) of the ends.
func (s *Spread) check(rows []*RowReport, w FigureValue) Check {
	c := Check{Kind: "spread", Name: s.Name, Type: typeAll, Figure: w.Figure, Want: w.Value, Bound: "="}
	for _, row := range rows {
		for _, run := range row.runs {
			a, b, ok := ends(run, typeAll, w.Figure)
			if m := max(a, b); ok && m > 0 {
				c.Runs++
				c.Ours = max(c.Ours, math.Abs(a-b)/m)
			}
		}
	}
	if c.Runs == 0 {
		return c.without(false)
	}
	return c.judged(false, false)
}
