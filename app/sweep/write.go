package sweep

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"qstack/app/workload"
)

// section is a part of a report: a heading, perhaps some text, and a table.
type section struct {
	title, text string
	head        []string
	rows        [][]string
}

// columns are the figures of the table of a grid.
var columns = []struct{ head, figure string }{
	{"throughput 1/s", workload.FigureThroughput},
	{"scaled latency s", workload.FigureScaled},
	{"latency s", workload.FigureLatency},
	{"fidelity", Fidelity},
	{"requests", workload.FigureRequests},
	{"failed", workload.FigureFailed},
}

// gridSections returns the figures of all rows as tables.
func (r *Report) gridSections() []section {
	var out []section
	for _, g := range r.grids {
		s := section{title: g.Name, text: g.Title, head: []string{"row", "runs", "type"}}
		for _, c := range columns {
			s.head = append(s.head, c.head)
		}
		frames := section{title: g.Name + ": frames", text: "Messages sent, in the mean of a run.", head: []string{"row"}}
		names := r.frames(g)
		frames.head = append(frames.head, names...)
		for i := range r.Rows {
			row := &r.Rows[i]
			if row.Grid != g.Name {
				continue
			}
			runs := strconv.Itoa(row.Runs)
			if row.Runs < row.Of {
				runs += " of " + strconv.Itoa(row.Of)
			}
			if row.Summary == nil {
				s.rows = append(s.rows, append([]string{row.Row, runs, "-"}, slices.Repeat([]string{"-"}, len(columns))...))
				continue
			}
			kinds := types(row.Summary)
			if len(kinds) != 1 {
				kinds = append(kinds, typeAll)
			}
			for _, typ := range kinds {
				line := []string{row.Row, runs, typ}
				for _, c := range columns {
					f, ok := figure(row.Summary, typ, originBoth, c.figure)
					line = append(line, withError(f.Mean, f.StdErr, ok))
				}
				s.rows = append(s.rows, line)
			}
			line := []string{row.Row}
			for _, name := range names {
				f, ok := row.Summary.Row("", "", workload.FigureFrames+"."+name)
				if !ok {
					f.Mean = 0
				}
				line = append(line, strconv.FormatFloat(math.Round(f.Mean*10)/10, 'f', -1, 64))
			}
			frames.rows = append(frames.rows, line)
		}
		if len(s.rows) > 0 {
			out = append(out, s)
		}
		if len(frames.rows) > 0 && len(names) > 0 {
			out = append(out, frames)
		}
	}
	return out
}

// frames returns the names of the messages in the runs of a grid.
func (r *Report) frames(g *Grid) []string {
	var names []string
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Grid == g.Name && row.Summary != nil {
			for _, f := range row.Summary.Rows {
				name, ok := strings.CutPrefix(f.Figure, workload.FigureFrames+".")
				if ok && f.Type == "" && !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// kinds are the parts of a reference, with their headings.
var kinds = []struct{ kind, title, text string }{
	{"row", "compared with the reference", "Ours and the reference, with standard errors; the difference may be what is allowed."},
	{"ratio", "one row against another", "The figure of the first over that of the second."},
	{"even", "A minus B", "The relative difference of what the two ends asked for, in the mean over all runs."},
	{"spread", "largest difference of A and B", "|a−b|/max(a,b), the largest over all runs; not judged."},
	{"above", "contracts", "What was delivered beside what was promised."},
	{"errors", "what went wrong", ""},
}

// checkSections returns what is compared as tables.
func (r *Report) checkSections() []section {
	var out []section
	for _, k := range kinds {
		if k.kind == "row" && r.than != "" {
			k.text += " The reference: " + r.than + "."
		}
		s := section{title: k.title, text: k.text, head: []string{"what", "type", "figure", "ours", "reference", "allowed", "runs", "verdict", "note"}}
		for _, c := range r.Checks {
			if c.Kind != k.kind {
				continue
			}
			ours := withError(c.Ours, c.StdErr, !c.Missing)
			want := withError(c.Want, c.WantErr, true)
			switch {
			case c.Bound == "…":
				want = fmt.Sprintf("%.4g … %.4g", c.Want, c.Upper)
			case c.Bound != "=":
				want = c.Bound + " " + want
			}
			allowed := "-"
			if c.Verdict != IsInformative && c.Allowed > rounding {
				allowed = "± " + strconv.FormatFloat(c.Allowed, 'g', 3, 64)
			}
			s.rows = append(s.rows, []string{c.Name, dash(c.Type), dash(c.Figure), ours, want, allowed, strconv.Itoa(c.Runs), string(c.Verdict), dash(c.Note)})
		}
		if len(s.rows) > 0 {
			out = append(out, s)
		}
	}
	return out
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// withError formats a mean with its standard error, to two digits of that.
func withError(m, stderr float64, ok bool) string {
	switch {
	case !ok:
		return "-"
	case !(stderr > 0) || m == 0:
		return strconv.FormatFloat(m, 'g', 4, 64)
	}
	digits := max(0, 1-int(math.Floor(math.Log10(stderr))))
	return strconv.FormatFloat(m, 'f', digits, 64) + " ± " + strconv.FormatFloat(stderr, 'f', digits, 64)
}

// timing says how long a part took.
func (p *Part) timing() string {
	s := fmt.Sprintf("%s: %d runs, %.1f simulated hours", p.Name, p.Runs, p.SimulatedS/3600)
	if p.NewS > 0 && p.WallS > 0 {
		s += fmt.Sprintf("; %.1f of them now, in %.1f s: %.0f simulated seconds a second", p.NewS/3600, p.WallS, p.NewS/p.WallS)
	}
	if p.Kept > 0 {
		s += fmt.Sprintf("; %d were there already", p.Kept)
	}
	if p.WorkS > 0 {
		s += fmt.Sprintf("; %.1f s one after the other", p.WorkS)
	}
	return s
}

// heading returns the first line of the report.
func (r *Report) heading() string {
	if r.Title == "" {
		return r.Sweep
	}
	return r.Sweep + ": " + r.Title
}

// WriteTable prints the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.heading())
	for _, s := range append(r.gridSections(), r.checkSections()...) {
		fmt.Fprintln(&b, s.title)
		if s.text != "" {
			fmt.Fprintln(&b, s.text)
		}
		t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
		for _, line := range append([][]string{s.head}, s.rows...) {
			fmt.Fprintln(t, strings.Join(line, "\t"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(&b)
	}
	for i := range r.Parts {
		fmt.Fprintln(&b, r.Parts[i].timing())
	}
	if r.Verdict != "" {
		fmt.Fprintf(&b, "verdict: %s\n", r.Verdict)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMarkdown prints the report as a page of documentation. The command is what
// made it.
func (r *Report) WriteMarkdown(w io.Writer, command string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nThis page is made by `%s`.\n\n", capital(r.heading()), command)
	if about := strings.TrimSpace(r.about); about != "" {
		fmt.Fprintf(&b, "%s\n\n", about)
	}
	for i := range r.Parts {
		fmt.Fprintf(&b, "- %s\n", r.Parts[i].timing())
	}
	if r.Verdict != "" {
		fmt.Fprintf(&b, "- verdict: %s\n", r.Verdict)
	}
	escape := strings.NewReplacer("|", `\|`, "\n", " ")
	line := func(cells []string) {
		for _, c := range cells {
			fmt.Fprintf(&b, "| %s ", escape.Replace(c))
		}
		fmt.Fprintln(&b, "|")
	}
	for _, s := range append(r.checkSections(), r.gridSections()...) {
		fmt.Fprintf(&b, "\n## %s\n\n", capital(s.title))
		if s.text != "" {
			fmt.Fprintf(&b, "%s\n\n", s.text)
		}
		line(s.head)
		line(slices.Repeat([]string{"---"}, len(s.head)))
		for _, cells := range s.rows {
			line(cells)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// WriteCSV prints all figures of all rows, one a line.
func (r *Report) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	record := []string{"grid", "row", "type", "origin", "figure", "mean", "stderr", "low", "high", "runs"}
	if err := c.Write(record); err != nil {
		return err
	}
	text := func(x float64) string {
		if math.IsNaN(x) {
			return "" // an error that is not known
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Summary == nil {
			continue
		}
		for _, f := range row.Summary.Rows {
			record = []string{row.Grid, row.Row, f.Type, f.Origin, f.Figure, text(f.Mean), text(f.StdErr), text(f.Low), text(f.High), strconv.Itoa(f.N)}
			if err := c.Write(record); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}
