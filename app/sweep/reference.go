package sweep

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"qstack/app/workload"
	"qstack/qnet"
	"qstack/qnet/toml"
)

// Reference is what the results of a sweep are compared with. Its file has figures
// of rows and statements about rows. Of standard errors that are not known, see
// workload.Row, none are allowed for:
//
//	version = 1
//	title = "what the numbers are"
//	least_runs = 30                # of a row that is judged, by itself or in a ratio; 1 unless given
//	least_time = "6000 s"          # simulated after warm-up, of each of its runs; 0 unless given
//	error = 0.02                   # relative standard error of numbers without one; 0 unless given
//
//	[tolerance]                    # by figure; one without is not judged
//	throughput_hz = { relative = 0.05 }
//	scaled_latency_s = { relative = 0.1, sigmas = 5 } # the larger of the two
//
//	[[row]]
//	row = "steady/QL2020/MD 1-3/0.7"
//	note = "where the numbers are from"
//	judge = false                  # true unless given
//	error = 0                      # in place of the above, and so least_runs, least_time, tolerance
//	want.MD.throughput_hz = 5.63   # type of request ("all" for all), figure
//	want.MD.scaled_latency_s = [0.45, 0.01] # with its standard error
//	want.MD.fidelity_oracle = { from = 0.76, to = 0.81 } # a range, which is not judged
//
//	[[ratio]]                      # of one row to another
//	name = "WFQ serves NL sooner"
//	row = "many/Uniform/HigherWFQ/4000 s"
//	to = "many/Uniform/FCFS/4000 s"
//	type = "NL"
//	figure = "scaled_latency_s"
//	max = 0.25                     # and min
//	sigmas = 0                     # standard errors that it may be beyond that; 0 unless given
//
//	[[even]]                       # A − B of the origins of requests, over all runs of the rows
//	name = "both ends are served alike"
//	rows = "steady/.*"             # a regular expression for the whole name
//	type = "all"
//	figures = ["throughput_hz"]
//	sigmas = 5
//
//	[[above]]                      # one figure of a row and type is not below another
//	name = "contracts are kept"
//	rows = "contract/.*"
//	figures = ["fidelity_oracle"]
//	to = "min_fidelity"
//	sigmas = 5
//	widest = 0.1                   # that these may allow of a figure that passes; any unless given
//
//	[[spread]]                     # largest relative difference of A and B, not judged
//	name = "load 0.7"
//	rows = "single/.*/both"
//	want = { throughput_hz = 0.067 }
type Reference struct {
	File, Title string
	Wants       []Want
	Ratios      []Ratio
	Evens       []Even
	Aboves      []Above
	Spreads     []Spread
}

// Tolerance is the larger of a part of the reference and of a number of standard
// errors, those of both sides combined.
type Tolerance struct{ Relative, Sigmas float64 }

// Want is one figure of one row.
type Want struct {
	Row, Note, Type, Figure string
	Value, StdErr           float64
	From, To                float64 // in place of Value, a range
	IsRange                 bool
	Judge                   bool // it has a tolerance
	Tolerance               Tolerance
	LeastRuns               int
	LeastTime               float64 // seconds
}

// Ratio bounds the ratio of a figure of one row to that of another.
type Ratio struct {
	Name, Row, To, Type, Figure string
	Min, Max                    float64
	Sigmas                      float64
	Judge                       bool
	LeastRuns                   int // of each row
}

// Even says that what the two ends ask for is served alike, in each row, which must have
// a standard error where there is a difference, and in the mean.
type Even struct {
	Name    string
	Rows    *regexp.Regexp
	Type    string
	Figures []string
	Sigmas  float64
}

// Above says that figures are not below another. Of each type one at least must be
// certain enough to say so.
type Above struct {
	Name    string
	Rows    *regexp.Regexp
	Figures []string
	To      string
	Sigmas  float64
	Widest  float64 // what Sigmas may allow of a figure that passes
}

// Spread has the largest relative differences of the ends over some rows.
type Spread struct {
	Name string
	Rows *regexp.Regexp
	Want []FigureValue
}

// FigureValue is a figure and a number.
type FigureValue struct {
	Figure string
	Value  float64
}

// LoadReference reads a reference of rows with these names.
func LoadReference(src Source, file string, names []string) (*Reference, error) {
	data, err := src.Read(file)
	if err != nil {
		return nil, err
	}
	doc, err := toml.Parse(file, data)
	if err != nil {
		return nil, err
	}
	r := &Reference{File: file}
	p := referee{doc: doc, names: names}
	p.read(doc.Root(), r)
	return r, doc.Err()
}

// referee reads a reference.
type referee struct {
	doc   *toml.Document
	names []string // of the rows there are
}

// defaults are what a row may change.
type defaults struct {
	err       float64
	runs      int
	time      float64
	tolerance map[string]Tolerance
}

func (p *referee) read(root *toml.Table, r *Reference) {
	if root.Integer("version", version, version, version); !root.Has("version") {
		p.doc.Missing("", "version", "a reference starts with version = %d", version)
	}
	r.Title = root.Text("title", "")
	d := p.defaults(root, defaults{runs: 1, tolerance: make(map[string]Tolerance)})
	for _, t := range root.Array("row") {
		r.Wants = append(r.Wants, p.wants(t, d)...)
	}
	for _, t := range root.Array("ratio") {
		x := Ratio{Name: p.name(t), Row: p.row(t, "row"), To: p.row(t, "to"), Type: t.Text("type", "all"), Figure: p.figure(t)}
		x.Min, x.Max = t.Number("min", math.Inf(-1)), t.Number("max", math.Inf(1))
		x.Sigmas, x.Judge = p.positive(t, "sigmas", 0), p.truth(t, "judge")
		x.LeastRuns = d.runs
		if !t.Has("min") && !t.Has("max") {
			p.doc.Missing(t.Path(), "max", "want min, max or both")
		}
		t.Done()
		r.Ratios = append(r.Ratios, x)
	}
	for _, t := range root.Array("even") {
		r.Evens = append(r.Evens, Even{Name: p.name(t), Rows: p.rows(t), Type: t.Text("type", "all"), Figures: p.figures(t), Sigmas: p.positive(t, "sigmas", 5)})
		t.Done()
	}
	for _, t := range root.Array("above") {
		x := Above{Name: p.name(t), Rows: p.rows(t), Figures: p.figures(t), To: t.Required("to", "want a figure"),
			Sigmas: p.positive(t, "sigmas", 5), Widest: p.positive(t, "widest", math.Inf(1))}
		if x.To != "" {
			p.known(t.Key("to"), x.To)
		}
		r.Aboves = append(r.Aboves, x)
		t.Done()
	}
	for _, t := range root.Array("spread") {
		x := Spread{Name: p.name(t), Rows: p.rows(t)}
		if want := t.Sub("want"); want != nil {
			for _, figure := range want.InOrder() {
				p.known(want.Key(figure), figure)
				x.Want = append(x.Want, FigureValue{figure, want.Number(figure, 0)})
			}
		} else if !t.Has("want") {
			p.doc.Missing(t.Path(), "want", "want figures and numbers, as in want = { throughput_hz = 0.067 }")
		}
		t.Done()
		r.Spreads = append(r.Spreads, x)
	}
	root.Done()
}

// defaults reads what t changes of d.
func (p *referee) defaults(t *toml.Table, d defaults) defaults {
	d.err = p.positive(t, "error", d.err)
	d.runs = int(t.Integer("least_runs", int64(d.runs), 1, MaxSeeds))
	if v, ok := t.Quantity("least_time", &toml.Times); ok {
		d.time = v
	}
	if sub := t.Sub("tolerance"); sub != nil {
		changed := make(map[string]Tolerance)
		for figure, tol := range d.tolerance {
			changed[figure] = tol
		}
		names, tables := sub.Sections()
		for i, t := range tables {
			if t == nil {
				continue
			}
			p.known(sub.Key(names[i]), names[i])
			changed[names[i]] = Tolerance{p.positive(t, "relative", 0), p.positive(t, "sigmas", 0)}
			if !t.Has("relative") && !t.Has("sigmas") {
				p.doc.Missing(t.Path(), "relative", "want relative, sigmas or both")
			}
			t.Done()
		}
		d.tolerance = changed
	}
	return d
}

// wants reads the figures of a row.
func (p *referee) wants(t *toml.Table, d defaults) (out []Want) {
	row, note, judge := p.row(t, "row"), t.Text("note", ""), p.truth(t, "judge")
	d = p.defaults(t, d)
	want := t.Sub("want")
	if want == nil && !t.Has("want") {
		p.doc.Missing(t.Path(), "want", "want figures and numbers, as in want.MD.throughput_hz = 5.63")
	}
	t.Done()
	if want == nil {
		return nil
	}
	for _, typ := range want.InOrder() {
		figures := want.Sub(typ)
		if figures == nil {
			continue
		}
		for _, figure := range figures.InOrder() {
			w := Want{Row: row, Note: note, Type: typ, Figure: figure, LeastRuns: d.runs, LeastTime: d.time}
			p.known(figures.Key(figure), figure)
			tol, ok := d.tolerance[figure]
			w.Judge, w.Tolerance = judge && ok, tol
			p.value(figures, figure, &w, d.err)
			out = append(out, w)
		}
	}
	return out
}

// value reads a number, a number with its standard error, or a range.
func (p *referee) value(t *toml.Table, figure string, w *Want, relative float64) {
	switch v := t.Get(figure).(type) {
	case []any:
		value, ok := number(v, 0)
		stderr, ok2 := number(v, 1)
		if len(v) != 2 || !ok || !ok2 || stderr < 0 {
			p.doc.Problem(t.Key(figure), "want a number and its standard error, as in [0.45, 0.01]")
		}
		w.Value, w.StdErr = value, stderr
	case map[string]any:
		sub := t.Sub(figure)
		w.From, w.To = sub.RequiredNumber("from", "want the least"), sub.RequiredNumber("to", "want the largest")
		sub.Done()
		w.IsRange, w.Judge = true, false
	default:
		w.Value = t.Number(figure, 0)
		w.StdErr = relative * math.Abs(w.Value)
	}
}

// number returns the number at a position of a list.
func number(list []any, i int) (float64, bool) {
	if i >= len(list) {
		return 0, false
	}
	switch v := list[i].(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	}
	return 0, false
}

func (p *referee) name(t *toml.Table) string {
	return t.Required("name", `want what is stated, as in name = "both ends are served alike"`)
}

func (p *referee) row(t *toml.Table, key string) string {
	name := t.Required(key, `want the name of a row, as in "single/keep/low"`)
	if name != "" && !slices.Contains(p.names, name) {
		p.doc.Problem(t.Key(key), "the sweep has no such row")
	}
	return name
}

func (p *referee) figure(t *toml.Table) string {
	name := t.Required("figure", `want a figure, as in figure = "throughput_hz"`)
	if name != "" {
		p.known(t.Key("figure"), name)
	}
	return name
}

// known reports a name that is none of a figure of a type of request, such as that of
// a figure of the link.
func (p *referee) known(key, name string) {
	all := workload.TypeFigures()
	if slices.Contains(all, name) {
		return
	}
	if code, ok := strings.CutPrefix(name, workload.FigureFailed+"."); ok && isCode(code) {
		return
	}
	p.doc.Problem(key, "%q is no figure of a type of request: there are %s, and %s.CODE, as in %q",
		toml.Shorten(name), listed(all), workload.FigureFailed, workload.FigureFailed+"."+qnet.ErrBusy.Error())
}

// isCode reports whether a text is that of a code of failures.
func isCode(text string) bool {
	for c := qnet.OK + 1; c < 1<<8; c++ {
		if c.Error() == text {
			return true
		}
	}
	return false
}

func (p *referee) truth(t *toml.Table, key string) bool {
	if !t.Has(key) {
		t.Get(key)
		return true
	}
	return t.Truth(key)
}

func (p *referee) positive(t *toml.Table, key string, def float64) float64 {
	v := t.Number(key, def)
	if v < 0 {
		p.doc.Problem(t.Key(key), "must not be negative")
	}
	return v
}

func (p *referee) rows(t *toml.Table) *regexp.Regexp {
	re, err := regexp.Compile("^(?:" + t.Required("rows", `want a regular expression for the names of rows, as in rows = "single/.*"`) + ")$")
	if err != nil {
		p.doc.Problem(t.Key("rows"), "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return regexp.MustCompile("^$")
	}
	if t.Has("rows") && !slices.ContainsFunc(p.names, re.MatchString) {
		p.doc.Problem(t.Key("rows"), "the sweep has no such row")
	}
	return re
}

func (p *referee) figures(t *toml.Table) []string {
	list, ok := t.Get("figures").([]any)
	var out []string
	for i, v := range list {
		if text, isText := v.(string); isText {
			p.known(toml.Element(t.Key("figures"), i), text)
			out = append(out, text)
		}
	}
	if !ok || len(out) == 0 || len(out) < len(list) {
		p.doc.Problem(t.Key("figures"), `want figures, as in figures = ["throughput_hz"]`)
	}
	return slices.Clip(out)
}
