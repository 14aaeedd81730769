package workload

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"qstack/app/plot"
)

// section is a part of the table, one of scenario.FigureGroups.
type section struct {
	group, title string
	rows         []line
}

// line is a figure in a section.
type line struct{ label, figure string }

// sections are those with a line for each type, in the order of the table.
var sections = []section{
	{"requests", "requests of a run", []line{{"", FigureRequests}, {"completed", FigureCompleted}, {"failed", FigureFailed}, {"open at the end", FigureOpen}}},
	{"throughput", "throughput, pairs/s", []line{{"", FigureThroughput}, {"offered", FigureOffered}}},
	{"latency", "latency, s", []line{{"", FigureLatency}}},
	{"scaled-latency", "latency over pairs, s", []line{{"", FigureScaled}, {"half below", FigureScaledP50}, {"90 % below", FigureScaledP90}, {"99 % below", FigureScaledP99}}},
	{"fidelity", "fidelity", []line{{"asked for", FigureMinimum}, {"in the mean", FigureFidelity}, {"oracle", FigureOracle}, {"from outcomes", FigureOutcomes}, {"wrong in X", FigureQBERX}, {"wrong in Y", FigureQBERY}, {"wrong in Z", FigureQBERZ},
		{"prepared states, oracle", FigurePrepared}, {"S of CHSH", FigureCHSH}, {"halves not read", FigureUnread},
		{"by test rounds", FigureLearnt}, {"at least", FigureLearntLower}, {"at most", FigureLearntUpper}, {"test rounds", FigureRounds}}},
}

// fair is what the origins are compared in.
var fair = []line{{"throughput, pairs/s", FigureThroughput}, {"completed", FigureCompleted}, {"latency, s", FigureLatency},
	{"latency over pairs, s", FigureScaled}, {"fidelity, oracle", FigureOracle}, {"fidelity, from outcomes", FigureOutcomes}, {"fidelity", FigureFidelity}}

// WriteTable prints the groups of figures that are named, all if there are none:
// means over the runs with half their 95 % confidence intervals, of all requests
// and of those from either end. Of fewer than FewRuns only those have intervals whose
// errors the runs know themselves.
func (s *Summary) WriteTable(w io.Writer, groups []string) error {
	wants := func(group string) bool { return len(groups) == 0 || slices.Contains(groups, group) }
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 3, ' ', 0), s: s}
	fmt.Fprintf(t.w, "%s: %s, %s s emulated\n", s.Scenario, seeds(s.Seeds), short(s.SimulatedS))
	fmt.Fprintln(t.w, intervals(len(s.Seeds), (wants("fidelity") || wants("fairness")) && slices.ContainsFunc(s.Rows, Row.knows)))
	types := s.types()
	for _, section := range sections {
		if !wants(section.group) {
			continue
		}
		t.head(section.title, "all requests", "from A", "from B")
		for _, name := range types {
			for _, l := range section.rows {
				t.row(strings.TrimRight(name+" "+l.label, " "), name, l.figure, OriginBoth, OriginA, OriginB)
			}
		}
	}
	if wants("fairness") {
		t.head("from A less from B", "difference")
		for _, name := range types {
			for _, l := range fair {
				t.row(name+" "+l.label, name, l.figure, OriginDifference)
			}
		}
	}
	if wants("queue") {
		t.head("requests under way", "")
		t.row("mean", "", FigureQueue, "")
		t.row("most", "", FigureQueueMax, "")
	}
	if wants("errors") {
		t.head("failures of a run", "all requests", "from A", "from B")
		for _, name := range types {
			for _, r := range s.Rows {
				if code, ok := strings.CutPrefix(r.Figure, FigureFailed+"."); ok && r.Type == name && r.Origin == OriginBoth {
					t.row(name+" "+code, name, r.Figure, OriginBoth, OriginA, OriginB)
				}
			}
		}
		t.row("pairs expired", "", FigureExpired, "", OriginA, OriginB)
	}
	if wants("frames") {
		t.head("frames of a run", "")
		for _, prefix := range []line{{"", FigureFrames}, {" lost", FigureLost}} {
			for _, r := range s.Rows {
				if name, ok := strings.CutPrefix(r.Figure, prefix.figure+"."); ok && (r.Mean > 0 || prefix.label == "" && slices.Contains(mainFrames, name)) {
					t.row(name+prefix.label, "", r.Figure, "")
				}
			}
		}
		t.row("attempts", "", FigureAttempts, "")
		t.row("attempts heard of from one end", "", FigureNoMessageOther, "")
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	for _, e := range s.Errors {
		if _, err := fmt.Fprintln(w, "error:", e); err != nil {
			return err
		}
	}
	return nil
}

// mainFrames are shown also where none was sent.
var mainFrames = []string{"Add", "AddAck", "Gen", "Reply", "LinkExpire"}

// knows reports whether the figure has an interval from within the runs.
func (r Row) knows() bool { return r.Within && r.StdErr > 0 }

// intervals says what is behind ±; some may be from within the runs.
func intervals(runs int, within bool) string {
	switch {
	case runs < FewRuns && within:
		return fmt.Sprintf("±: half of 95 %% intervals, of oracle, outcomes and S from the errors within the runs; others have one from %d runs on", FewRuns)
	case runs < FewRuns:
		return fmt.Sprintf("without intervals, which are from the spread of %d runs and more", FewRuns)
	case within:
		return fmt.Sprintf("±: half of 95 %% intervals, from the spread of the %d runs (Student's t); of oracle, outcomes and S from the errors within the runs", runs)
	}
	return fmt.Sprintf("±: half of 95 %% intervals, from the spread of the %d runs (Student's t)", runs)
}

// WritePace prints how long the runs took by the wall clock.
func WritePace(w io.Writer, s *Summary, wall float64) error {
	_, err := fmt.Fprintf(w, "\n%s s emulated in %.3g s: %.3g times as fast\n", short(s.SimulatedS), wall, s.SimulatedS/wall)
	return err
}

// types returns the names of the types, in order; all is the last, and left out
// where there is one type only.
func (s *Summary) types() (names []string) {
	for _, r := range s.Rows {
		if r.Type != "" && r.Type != AllTypes && !slices.Contains(names, r.Type) {
			names = append(names, r.Type)
		}
	}
	if len(names) > 1 {
		names = append(names, AllTypes)
	}
	return names
}

// seeds says how many runs there are.
func seeds(s []uint64) string {
	switch n := len(s); {
	case n == 1:
		return fmt.Sprintf("seed %d", s[0])
	case n > 1:
		return fmt.Sprintf("%d runs, seeds %d to %d", n, slices.Min(s), slices.Max(s))
	}
	return "no runs"
}

type table struct {
	w       *tabwriter.Writer
	s       *Summary
	heading string // of the rows to come; empty once it is printed
}

func (t *table) head(columns ...string) {
	t.heading = strings.TrimRight(strings.Join(columns, "\t"), "\t")
}

// row prints a figure, unless there is none, and before the first one the heading.
func (t *table) row(label, typ, figure string, origins ...string) {
	cells := []string{label}
	some := false
	for _, origin := range origins {
		r, ok := t.s.Row(typ, origin, figure)
		switch {
		case !ok:
			cells = append(cells, "-")
			continue
		case r.StdErr > 0:
			cells = append(cells, uncertain(r.Mean, r.High-r.Mean))
		default:
			cells = append(cells, short(r.Mean))
		}
		some = true
	}
	if some {
		if t.heading != "" {
			fmt.Fprintf(t.w, "\n%s\n", t.heading)
			t.heading = ""
		}
		fmt.Fprintln(t.w, strings.Join(cells, "\t"))
	}
}

// uncertain writes a value with its error, of which two digits count.
func uncertain(v, e float64) string {
	decimals := 1 - int(math.Floor(math.Log10(e)))
	if decimals > 9 {
		return strconv.FormatFloat(v, 'g', 9, 64) + " ± " + strconv.FormatFloat(e, 'g', 2, 64)
	}
	decimals = max(0, decimals)
	return strconv.FormatFloat(v, 'f', decimals, 64) + " ± " + strconv.FormatFloat(e, 'f', decimals, 64)
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// WriteCSV writes the rows as comma-separated values with a header.
func (s *Summary) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.Write([]string{"scenario", "type", "origin", "figure", "mean", "stderr", "low", "high", "n"}) // errors stick
	for _, r := range s.Rows {
		c.Write([]string{s.Scenario, r.Type, r.Origin, r.Figure, full(r.Mean), known(r.StdErr), known(r.Low), known(r.High), strconv.Itoa(r.N)})
	}
	c.Flush()
	return c.Error()
}

func full(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// known is empty for an error that is not known.
func known(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return full(v)
}

// Plots returns the plots of some runs of one scenario, by name: "queue" and
// "throughput" over time, means over the runs, and "latency", the share of the
// requests whose latency over their pairs is below a time.
func Plots(results []*Result) map[string]*plot.Plot {
	title := "no runs"
	if len(results) > 0 {
		title = fmt.Sprintf("%s, %d runs", results[0].Scenario, len(results))
		if len(results) == 1 {
			title = fmt.Sprintf("%s, seed %d", results[0].Scenario, results[0].Seed)
		}
	}
	queue := &plot.Plot{Title: title, X: plot.Axis{Name: "time, s"}, Y: plot.Axis{Name: "requests under way"}}
	rate := &plot.Plot{Title: title, X: plot.Axis{Name: "time, s"}, Y: plot.Axis{Name: "pairs per second"}}
	latency := &plot.Plot{Title: title, X: plot.Axis{Name: "latency over pairs, s", Log: true}, Y: plot.Axis{Name: "share of the requests below", Min: 0, Max: 1}}
	if len(results) > 0 {
		queue.Curves = append(queue.Curves, over(results, "", func(r *Result) *Series { return &r.Queue }))
		for i := range results[0].Types {
			name := results[0].Types[i].Name
			rate.Curves = append(rate.Curves, over(results, name, func(r *Result) *Series { return &r.Types[i].Rate }))
			latency.Curves = append(latency.Curves, below(results, name, func(r *Result) *Distribution { return &r.Types[i].Both.Scaled }))
		}
	}
	return map[string]*plot.Plot{"queue": queue, "throughput": rate, "latency": latency}
}

// over returns the mean of a series of all runs; those whose intervals differ from
// the first one's are left out.
func over(results []*Result, name string, of func(*Result) *Series) plot.Curve {
	first := of(results[0])
	c := plot.Curve{Name: name, Steps: true}
	for i := range first.Points {
		var m moments
		for _, r := range results {
			if s := of(r); s.IntervalS == first.IntervalS && i < len(s.Points) {
				m.add(s.Points[i])
			}
		}
		c.Points = append(c.Points, plot.Point{X: results[0].WarmupS + float64(i)*first.IntervalS, Y: m.mean})
	}
	if n := len(c.Points); n > 0 { // the last interval has an end too
		c.Points = append(c.Points, plot.Point{X: results[0].WarmupS + results[0].SimulatedS, Y: c.Points[n-1].Y})
	}
	return c
}

// below returns the distribution function of the times of all runs together.
func below(results []*Result, name string, of func(*Result) *Distribution) plot.Curve {
	var counts [bins]uint64
	var total uint64
	for _, r := range results {
		h := &of(r).Histogram
		for i, n := range h.Counts {
			if i += h.First; i >= 0 && i < bins {
				counts[i] += n
				total += n
			}
		}
	}
	c := plot.Curve{Name: name}
	var sum uint64
	for i, n := range counts {
		if n > 0 && sum == 0 {
			c.Points = append(c.Points, plot.Point{X: BinEdge(i)})
		}
		if sum += n; sum > 0 {
			c.Points = append(c.Points, plot.Point{X: BinEdge(i + 1), Y: float64(sum) / float64(total)})
		}
		if sum == total {
			break
		}
	}
	return c
}

// SaveCSV writes summary.csv, and the plots as queue.csv, throughput.csv and
// latency.csv, into a directory, which is made if need be.
func SaveCSV(dir string, s *Summary, results []*Result) error {
	var b bytes.Buffer
	if err := s.WriteCSV(&b); err != nil {
		return err
	}
	if err := save(dir, "summary.csv", &b); err != nil {
		return err
	}
	for name, p := range Plots(results) {
		var b bytes.Buffer
		c := csv.NewWriter(&b)
		c.Write([]string{"curve", p.X.Name, p.Y.Name})
		for _, curve := range p.Curves {
			for _, q := range curve.Points {
				c.Write([]string{curve.Name, full(q.X), full(q.Y)})
			}
		}
		if c.Flush(); c.Error() != nil {
			return c.Error()
		}
		if err := save(dir, name+".csv", &b); err != nil {
			return err
		}
	}
	return nil
}

// SaveSVG draws the plots as queue.svg, throughput.svg and latency.svg in a
// directory, which is made if need be.
func SaveSVG(dir string, results []*Result) error {
	for name, p := range Plots(results) {
		var b bytes.Buffer
		if err := p.WriteSVG(&b); err != nil {
			return err
		}
		if err := save(dir, name+".svg", &b); err != nil {
			return err
		}
	}
	return nil
}

func save(dir, name string, b *bytes.Buffer) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o666)
}
