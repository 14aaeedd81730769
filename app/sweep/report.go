package sweep

import (
	"cmp"
	"math"
	"slices"

	"qstack/app/workload"
)

// Report is what the runs of a plan gave, and how it compares with the reference.
type Report struct {
	Sweep string      `json:"sweep"`
	Title string      `json:"title,omitempty"`
	Rows  []RowReport `json:"rows"`
	// Checks are those of the reference, if it was asked for, and the rows of which
	// something went wrong in a run.
	Checks []Check `json:"checks,omitempty"`
	// Verdict is Fail if a check fails; else, with a reference, Pass, or IsInformative
	// if nothing was judged.
	Verdict Verdict `json:"verdict,omitempty"`
	Parts   []Part  `json:"parts"`

	grids []*Grid
	about string
	than  string // title of the reference
}

// RowReport is what the runs of a row gave.
type RowReport struct {
	Row    string            `json:"row"`
	Grid   string            `json:"grid"`
	Values map[string]string `json:"values,omitempty"` // alternatives by axis
	Hash   string            `json:"hash"`
	Runs   int               `json:"runs"` // that there are
	Of     int               `json:"of"`   // that there should be
	// Shortest is the shortest time in seconds that figures of a run are of.
	Shortest float64           `json:"shortest_s"`
	Summary  *workload.Summary `json:"summary"`

	runs []*workload.Result
}

// NewReport sums up the runs of a plan that are in the store.
func NewReport(p *Plan, store *Store, parts []Part) *Report {
	r := &Report{Sweep: p.Sweep.Name, Title: p.Sweep.Title, Parts: parts, grids: p.Sweep.Grids, about: p.Sweep.About, Rows: []RowReport{}}
	for _, row := range p.Rows {
		runs := store.Row(row)
		out := RowReport{Row: row.Name, Grid: row.Grid.Name, Hash: row.Hash, Runs: len(runs), Of: row.Seeds, runs: runs}
		if len(row.Values) > 0 {
			out.Values = make(map[string]string, len(row.Values))
			for i, a := range row.Grid.Axes {
				out.Values[a.Name] = row.Values[i]
			}
		}
		if len(runs) > 0 {
			out.Summary = workload.Summarise(runs)
			steady(out.Summary)
			out.Shortest = slices.MinFunc(runs, func(a, b *workload.Result) int { return cmp.Compare(a.SimulatedS, b.SimulatedS) }).SimulatedS
		}
		r.Rows = append(r.Rows, out)
		if c, wrong := out.wrong(); wrong {
			r.Checks, r.Verdict = append(r.Checks, c), Fail
		}
	}
	return r
}

// rounding is the difference that is none: of fidelities, and relative of others.
const rounding = 1e-9

// steady takes the errors off figures that are the same in all runs but for rounding.
func steady(s *workload.Summary) {
	for i := range s.Rows {
		if r := &s.Rows[i]; r.StdErr <= rounding*math.Abs(r.Mean) {
			r.StdErr, r.Low, r.High = 0, r.Mean, r.Mean
		}
	}
}

// wrong returns a check that fails if something went wrong in a run of the row.
func (row *RowReport) wrong() (c Check, wrong bool) {
	c = Check{Kind: "errors", Name: row.Row, Bound: "=", Runs: row.Runs, Verdict: Fail}
	for _, x := range row.runs {
		c.Ours += float64(len(x.Errors))
		if c.Note == "" && len(x.Errors) > 0 {
			c.Note = x.Errors[0]
		}
	}
	return c, c.Ours > 0
}

// The origins of requests in figures.
const (
	originBoth       = "both"
	originA          = "A"
	originB          = "B"
	originDifference = "A-B"
	typeAll          = "all"
)

// Fidelity stands for whichever fidelity a type has: that of the oracle or, where
// pairs are measured, that of the outcomes; of types that are not all of one kind the
// mean over their pairs.
const Fidelity = workload.FigureFidelity

// figure returns a figure of a summary.
func figure(s *workload.Summary, typ, origin, name string) (workload.Row, bool) {
	if s == nil {
		return workload.Row{}, false
	}
	if row, ok := s.Row(typ, origin, name); ok || name != Fidelity {
		return row, ok
	}
	if row, ok := s.Row(typ, origin, workload.FigureOracle); ok {
		return row, ok
	}
	return s.Row(typ, origin, workload.FigureOutcomes)
}

// types returns the types of request that a summary has, in its order, without
// that of all.
func types(s *workload.Summary) []string {
	var out []string
	if s == nil {
		return nil
	}
	for _, r := range s.Rows {
		if r.Type != "" && r.Type != typeAll && !slices.Contains(out, r.Type) {
			out = append(out, r.Type)
		}
	}
	return out
}

// row returns the report of a row, nil if the plan has none of that name.
func (r *Report) row(name string) *RowReport {
	for i := range r.Rows {
		if r.Rows[i].Row == name {
			return &r.Rows[i]
		}
	}
	return nil
}
