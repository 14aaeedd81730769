package preset

import (
	_ "embed" // table.md
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"qstack/qnet"
)

// Verdict is what a comparison came to.
type Verdict string

// The verdicts, from bad to weak.
const (
	Fail Verdict = "fail" // a prediction, or a fit, is off
	Pass Verdict = "pass" // a prediction holds
	// What is fitted agrees because it was made to, and what is informative is not
	// judged: see Role.
	IsFitted      Verdict = "fitted"
	IsInformative Verdict = "informative"
)

// Row compares a published number with the model's.
type Row struct {
	Preset      string  `json:"preset"`
	Quantity    string  `json:"quantity"`
	Published   float64 `json:"published"`
	Uncertainty float64 `json:"uncertainty,omitempty"`
	Emulated    float64 `json:"emulated"`
	Source      string  `json:"source"` // citation
	Tag         Tag     `json:"tag"`
	Role        Role    `json:"role"`
	Tolerance   string  `json:"tolerance,omitempty"`
	Verdict     Verdict `json:"verdict"`
	Note        string  `json:"note,omitempty"`
}

// FitRow is a fit that was done again.
type FitRow struct {
	Preset    string  `json:"preset"` // whose parameter it is
	Parameter string  `json:"parameter"`
	Unit      string  `json:"unit,omitempty"`
	Stored    float64 `json:"stored"`   // in base units
	Refitted  float64 `json:"refitted"` // by bisection
	To        string  `json:"to"`       // the preset that has the published number
	Quantity  string  `json:"quantity"`
	Verdict   Verdict `json:"verdict"` // IsFitted or Fail
}

// Report is the comparison of one preset with what was published.
type Report struct {
	Preset  string   `json:"preset"`
	Title   string   `json:"title"`
	Verdict Verdict  `json:"verdict"` // of the whole: the first of the verdicts that any row has
	Rows    []Row    `json:"rows"`
	Fits    []FitRow `json:"fits"`
	Derived *Results `json:"derived,omitempty"` // nil when there is no link
}

// fitTolerance is how far a stored parameter may be from a fit done again,
// relative.
const fitTolerance = 1e-4

// defaultFactor is the tolerance of a fitted row that says none.
const defaultFactor = 1.001

// Check compares a preset with what was published of it. The error says that a
// fit can not be done.
func (l *Library) Check(p *Preset) (*Report, error) {
	report := &Report{Preset: p.Name, Title: p.Title, Verdict: IsInformative, Rows: []Row{}, Fits: []FitRow{}}
	seen := make(map[Verdict]bool)
	for _, f := range p.Fits {
		x, err := l.refit(p, f)
		if err != nil {
			return nil, err
		}
		v := p.Values.get(f.Parameter)
		row := FitRow{Preset: p.Name, Parameter: f.Parameter, Unit: v.Param.Unit(), Stored: v.Number, Refitted: x, To: f.Preset, Quantity: f.Quantity.Name, Verdict: IsFitted}
		if !(math.Abs(x-v.Number) <= fitTolerance*math.Abs(x)) {
			row.Verdict = Fail
		}
		seen[row.Verdict] = true
		report.Fits = append(report.Fits, row)
	}
	if p.Model != nil {
		results, err := p.Results()
		if err != nil {
			return nil, err
		}
		report.Derived = &results
		for i := range p.Published {
			row := p.compare(&p.Published[i], &results)
			if row.Role == Predicted {
				why, err := l.known(p, &p.Published[i], &results)
				if err != nil {
					return nil, err
				}
				if why != "" {
					row.Verdict, row.Note = Fail, "not predicted: "+why
				}
			}
			seen[row.Verdict] = true
			report.Rows = append(report.Rows, row)
		}
	}
	for _, v := range []Verdict{Fail, Pass, IsFitted} {
		if seen[v] {
			report.Verdict = v
			break
		}
	}
	return report, nil
}

// inputs has the parameters of a link that are quantities by themselves.
var inputs = map[string][]string{
	"attempt_s":           {"attempt_time", "attempt_rate", "local_time"},
	"success_probability": {"probability"},
	"fidelity":            {"fidelity"},
	"fidelity_delivered":  {"fidelity"},
	"rate_hz":             {"probability"},
}

// known says why the model can not but give a quantity of p as it does, "" when
// it could be otherwise: it is an input, it follows from numbers that nobody
// published, or a parameter was fitted to it, here or in a preset that gives the
// same.
func (l *Library) known(p *Preset, w *Published, r *Results) (string, error) {
	q := w.Quantity
	for _, name := range inputs[q.Name] {
		if v := p.Values.get(name); v != nil && find(p.Model.Params, name) != nil {
			return name + " is an input", nil
		}
	}
	same := func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(a) }
	for _, f := range p.Fits {
		target := r
		if f.Preset != p.Name {
			t, err := l.Load(f.Preset)
			if err != nil {
				return "", err
			}
			other, err := t.Results()
			if err != nil {
				return "", err
			}
			target = &other
		}
		related := f.Quantity == q
		switch q.Name {
		case "rate_hz":
			related = related || f.Quantity.Name == "success_probability" && same(r.AttemptS, target.AttemptS)
		case "success_probability":
			related = related || f.Quantity.Name == "rate_hz" && same(r.AttemptS, target.AttemptS)
		case "fidelity", "fidelity_delivered":
			related = related || f.Quantity.Name == "fidelity" || f.Quantity.Name == "fidelity_delivered"
		}
		if related && same(q.of(r), q.of(target)) {
			return f.Parameter + " was fitted to " + f.Quantity.Name + " of " + f.Preset, nil
		}
	}
	return p.chosen(w, r)
}

// chosen names a parameter that was chosen and decides a published number: one
// that, changed by a tenth (a count: doubled), moves the model by more than half of
// what the comparison tolerates.
func (p *Preset) chosen(w *Published, r *Results) (string, error) {
	now := w.Quantity.of(r)
	tolerance := w.Absolute
	if tolerance == 0 {
		tolerance = math.Abs(w.Value) * (w.Factor - 1)
	}
	for _, v := range p.Values {
		if v.Source != SourceChosen || v.Number == 0 || v.Param.Kind == Choice || v.Param.Kind == Truth {
			continue
		}
		to := 0.9 * v.Number
		if v.Param.Kind == Count {
			to = 2 * v.Number
		}
		other, err := p.at(v.Param, to).Results()
		if err != nil {
			continue // it can not be otherwise
		}
		if math.Abs(w.Quantity.of(&other)-now) > tolerance/2 {
			return v.Param.Name + " is chosen, and decides it", nil
		}
	}
	return "", nil
}

// compare judges one published number.
func (p *Preset) compare(w *Published, r *Results) Row {
	row := Row{
		Preset: p.Name, Quantity: w.Quantity.Name, Published: w.Value, Uncertainty: w.Uncertainty,
		Emulated: w.Quantity.of(r), Tag: w.Tag, Role: w.Role, Note: w.Note, Verdict: IsInformative,
	}
	if s, ok := p.Source(w.Source); ok {
		row.Source = s.Cite
	}
	within := false
	switch {
	case w.Absolute > 0:
		row.Tolerance = "± " + strconv.FormatFloat(w.Absolute, 'g', 4, 64)
		within = math.Abs(row.Emulated-w.Value) <= w.Absolute
	case w.Factor > 0 || w.Role == Fitted:
		factor := w.Factor
		if factor == 0 {
			factor = defaultFactor
		}
		row.Tolerance = "×/÷ " + strconv.FormatFloat(factor, 'g', 4, 64)
		within = row.Emulated <= w.Value*factor && row.Emulated >= w.Value/factor
	}
	switch {
	case w.Role == Informative:
	case !within:
		row.Verdict = Fail
	case w.Role == Predicted:
		row.Verdict = Pass
	default:
		row.Verdict = IsFitted
	}
	return row
}

// refit returns the value of the fitted parameter that gives the published
// number, all others as they are.
func (l *Library) refit(p *Preset, f Fit) (float64, error) {
	target := p
	if f.Preset != p.Name {
		var err error
		if target, err = l.Load(f.Preset); err != nil {
			return 0, qnet.Errorf(qnet.CodeOf(err), "%s: fit of %s: %v", p.File, f.Parameter, err)
		}
	}
	fail := func(format string, args ...any) (float64, error) {
		return 0, qnet.Errorf(qnet.ErrInvalid, "%s: fit of %s to %s of %s: %s", p.File, f.Parameter, f.Quantity.Name, target.Name, fmt.Sprintf(format, args...))
	}
	w := target.published(f.Quantity)
	if w == nil {
		return fail("it has no published number of that quantity")
	}
	param, err := target.param(f.Parameter)
	if err != nil {
		return fail("%v", err)
	}
	// excess is by how much the model is above the published number.
	excess := func(x float64) (float64, error) {
		r, err := target.at(param, x).Results()
		return f.Quantity.of(&r) - w.Value, err
	}
	low, high := f.Low, f.High
	at, err := excess(low)
	if err != nil {
		return fail("%v", err)
	}
	end, err := excess(high)
	if err != nil {
		return fail("%v", err)
	}
	if !(at*end <= 0) { // or one is no number
		return fail("between low = %g and high = %g it goes from %g to %g, never %g", low, high, at+w.Value, end+w.Value, w.Value)
	}
	const steps = 200 // beyond the precision of a number
	for range steps {
		mid := low + (high-low)/2
		e, err := excess(mid)
		if err != nil {
			return fail("%v", err)
		}
		if (e < 0) == (at < 0) {
			low = mid
		} else {
			high = mid
		}
	}
	return low + (high-low)/2, nil
}

// Markdown writes the table "published against emulated" of reports.
func Markdown(w io.Writer, reports []*Report) error {
	var b strings.Builder
	b.WriteString("| preset | quantity | published | trust | emulated | role | tolerance | verdict |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|\n")
	for _, r := range reports {
		for _, row := range r.Rows {
			published := number(row.Published)
			if row.Uncertainty > 0 {
				published += " ± " + number(row.Uncertainty)
			}
			tolerance := row.Tolerance
			if tolerance == "" {
				tolerance = "–"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", row.Preset, row.Quantity, published, row.Tag, number(row.Emulated), row.Role, tolerance, row.Verdict)
		}
	}
	b.WriteString("\nWhere nothing was published:\n\n| preset | rate_hz | fidelity | fidelity_delivered |\n|---|---|---|---|\n")
	for _, r := range reports {
		if d := r.Derived; d != nil && len(r.Rows) == 0 {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.Preset, number(d.RateHz), orDash(d.Fidelity), orDash(d.FidelityDelivered))
		}
	}
	b.WriteString("\nWhat was fitted:\n\n| preset | parameter | value | to |\n|---|---|---|---|\n")
	for _, r := range reports {
		for _, f := range r.Fits {
			value := number(f.Stored)
			if f.Unit != "" {
				value += " " + f.Unit
			}
			if f.Verdict == Fail {
				value += " (should be " + number(f.Refitted) + ")"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s of %s |\n", f.Preset, f.Parameter, value, f.Quantity, f.To)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// number formats a number for people.
func number(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }

// orDash formats a number that is 0 when it does not apply.
func orDash(x float64) string {
	if x == 0 {
		return "–"
	}
	return number(x)
}

// Table is what Markdown writes for the embedded presets, as this version was
// released with it.
//
//go:embed table.md
var Table string

// Claim is a prediction that a document makes of a preset.
type Claim struct{ Preset, Quantity string }

// Claims returns the rows that the tables of a markdown document, such as those
// of Markdown, list as predicted: the columns preset, quantity and role are found
// by their headings, and tables that lack one are not looked at.
func Claims(document string) []Claim {
	var claims []Claim
	var columns map[string]int
	for line := range strings.Lines(document) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`*")
		}
		if len(cells) < 3 {
			columns = nil
			continue
		}
		if columns == nil {
			columns = make(map[string]int)
			for i, c := range cells {
				columns[c] = i
			}
			continue
		}
		cell := func(name string) string {
			if i, ok := columns[name]; ok && i < len(cells) {
				return cells[i]
			}
			return ""
		}
		if cell("role") == string(Predicted) && cell("preset") != "" && cell("quantity") != "" {
			claims = append(claims, Claim{cell("preset"), cell("quantity")})
		}
	}
	return claims
}

// Unmet returns the claims that no row of reports meets, as sentences: every one
// of them must be predicted. all says that the reports are of all presets there
// are; else claims about others are not looked at.
func Unmet(claims []Claim, reports []*Report, all bool) []string {
	checked := make(map[string]bool)
	roles := make(map[Claim]Role)
	for _, r := range reports {
		checked[r.Preset] = true
		for _, row := range r.Rows {
			roles[Claim{row.Preset, row.Quantity}] = row.Role
		}
	}
	var unmet []string
	for _, c := range claims {
		switch role, ok := roles[c]; {
		case !checked[c.Preset] && !all:
		case !ok:
			unmet = append(unmet, fmt.Sprintf("%s: %s is listed as predicted, but there is no such published number", c.Preset, c.Quantity))
		case role != Predicted:
			unmet = append(unmet, fmt.Sprintf("%s: %s is listed as predicted, but is %s", c.Preset, c.Quantity, role))
		}
	}
	return unmet
}
