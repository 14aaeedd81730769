package sweep_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"qstack/app/sweep"
	"qstack/app/workload"
	"qstack/node/scenario"
	"qstack/qnet"
)

// A sweep of two rows at which all figures are known: run i of n has the figure
// times 1 − e or 1 + e, so that the mean is the figure and the standard error is
// e·figure/√(n−1).
const judged = `version = 1
[sweep]
base = "base.toml"
reference = "reference.toml"
[sweep.axis.load]
"0.5" = { workload.load = 0.5 }
"0.75" = { workload.load = 0.75 }
[[sweep.grid]]
name = "g"
axes = ["load"]
seeds = 5
set.workload.type.K = false
`

// outcome is what the runs of a row give.
type outcome struct {
	throughput, scaled, e float64
	evenness              float64 // A over B
	fidelity              float64 // of the oracle; none if 0
	outcomes              float64 // fidelity from outcomes; none if 0
	minimum               float64 // fidelity asked for; none if 0
	errors                []string
}

func (o outcome) runner() sweep.Runner {
	n := 0
	return func(_ context.Context, s *scenario.Scenario, seed uint64) (*workload.Result, error) {
		f := 1.0
		switch n % 5 {
		case 0, 1:
			f = 1 - o.e
		case 2, 3:
			f = 1 + o.e
		}
		n++
		average := func(x float64) workload.Average { return workload.Average{Mean: x, N: 100} }
		estimate := func(x float64) workload.Estimate { return workload.Estimate{Mean: x, N: 100} }
		oracle := math.Nextafter(o.fidelity, float64(n%2)) // exact, but for rounding
		figures := func(share float64) workload.Figures {
			out := workload.Figures{Requests: 100, Throughput: average(o.throughput * f * share), Oracle: estimate(oracle)}
			out.Outcomes.F = estimate(o.outcomes * f)
			if o.outcomes == 0 {
				out.Outcomes.F.N = 0
			}
			if o.fidelity == 0 {
				out.Oracle.N = 0
			}
			out.Scaled.Average = average(o.scaled * f)
			return out
		}
		// The difference of the ends changes its sign from run to run, if it is even.
		a := 0.5 + 0.01*(f-1)
		if o.evenness != 0 {
			a += o.evenness
		}
		t := workload.TypeResult{Name: "M", MinFidelity: o.minimum, Both: figures(1), A: figures(a), B: figures(1 - a)}
		t.B.Oracle.Mean *= 1 + 1e-15 // which is rounding
		all := t
		all.Name = "all"
		return &workload.Result{Version: workload.Version, Scenario: s.Name, Seed: seed, SimulatedS: s.Workload.Horizon.Seconds(),
			Frames: map[string]uint64{"Add": 10, "Reply": 20}, Types: []workload.TypeResult{t}, All: all, Errors: o.errors}, nil
	}
}

// judge runs the sweep with known figures, and compares with a reference.
func judge(t *testing.T, reference string, rows ...outcome) *sweep.Report {
	t.Helper()
	return judgeRuns(t, 5, reference, rows...)
}

// judgeRuns does so with so many runs of each row.
func judgeRuns(t *testing.T, runs int, reference string, rows ...outcome) *sweep.Report {
	t.Helper()
	s, err := sweep.Load(source(map[string]string{"d/base.toml": base, "d/sweep.toml": judged, "d/reference.toml": "version = 1\n" + reference}), "d")
	if err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, s, sweep.Options{Verify: true, Seeds: runs})
	store := open(t, t.TempDir(), "r.jsonl")
	defer store.Close()
	runners := make(map[float64]sweep.Runner)
	for i, load := range []float64{0.5, 0.75} {
		runners[load] = rows[i%len(rows)].runner()
	}
	parts, err := p.Run(t.Context(), store, sweep.RunOptions{Parallel: 1, Run: func(ctx context.Context, s *scenario.Scenario, seed uint64) (*workload.Result, error) {
		return runners[s.Workload.Load](ctx, s, seed)
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := sweep.NewReport(p, store, parts)
	r.Verify(s.Reference)
	return r
}

// want is a reference for one figure of the first row.
func want(tolerance, value string) string {
	return tolerance + "\n[[row]]\nrow = \"g/0.5\"\nwant.M.throughput_hz = " + value + "\n"
}

const relative = "tolerance.throughput_hz = { relative = 0.05 }"

// What is not judged does not pass.
func TestVerifyNothing(t *testing.T) {
	o := outcome{throughput: 10, scaled: 2, e: 0.02, fidelity: 0.8}
	r := judge(t, "", o)
	if r.Verdict != sweep.IsInformative {
		t.Errorf("%s: %+v", r.Verdict, r.Checks)
	}
}

// A row passes if it is within its tolerance and there is enough of it.
func TestVerifyRows(t *testing.T) {
	o := outcome{throughput: 10, scaled: 2, e: 0.02, fidelity: 0.8}
	stderr := 10 * 0.02 / math.Sqrt(5) // of five runs: √(4·0.2²/4/5)
	for _, tt := range []struct {
		reference string
		verdict   sweep.Verdict
		allowed   float64
	}{
		{want(relative, "10.5"), sweep.Pass, 0.525},
		{want(relative, "10.6"), sweep.Fail, 0.53},
		{want(relative, "9.55"), sweep.Pass, 0.4775},
		{want(relative, "9.5"), sweep.Fail, 0.475},
		// The larger of the two, with the errors of both combined.
		{want("tolerance.throughput_hz = { relative = 0.01, sigmas = 5 }", "10.4"), sweep.Pass, 5 * stderr},
		{want("tolerance.throughput_hz = { relative = 0.01, sigmas = 5 }", "10.5"), sweep.Fail, 5 * stderr},
		{want("tolerance.throughput_hz = { relative = 0.01, sigmas = 5 }", "[10.5, 0.1]"), sweep.Pass, 5 * math.Hypot(stderr, 0.1)},
		{want("tolerance.throughput_hz = { relative = 0.01, sigmas = 5 }\nerror = 0.01", "10.5"), sweep.Pass, 5 * math.Hypot(stderr, 0.105)},
		// Too few runs, or too short ones.
		{want(relative+"\nleast_runs = 5", "10"), sweep.Pass, 0.5},
		{want(relative+"\nleast_runs = 6", "10"), sweep.Fail, 0.5},
		{want(relative+"\nleast_time = \"10 s\"", "10"), sweep.Pass, 0.5},
		{want(relative+"\nleast_time = \"11 s\"", "10"), sweep.Fail, 0.5},
		// Not judged.
		{want("", "99"), sweep.IsInformative, 0},
		{want(relative, "99\njudge = false"), sweep.IsInformative, 0},
		{want(relative, "{ from = 1, to = 2 }"), sweep.IsInformative, 0},
		// A tolerance of the row itself.
		{want(relative, "10.5\ntolerance.throughput_hz = { relative = 0.02 }"), sweep.Fail, 0.21},
	} {
		r := judge(t, tt.reference, o)
		if len(r.Checks) != 1 {
			t.Fatalf("%s: %+v", tt.reference, r.Checks)
		}
		c := r.Checks[0]
		if c.Verdict != tt.verdict || math.Abs(c.Allowed-tt.allowed) > 1e-9 || math.Abs(c.Ours-10) > 1e-9 || math.Abs(c.StdErr-stderr) > 1e-9 || c.Runs != 5 {
			t.Errorf("%s: %+v, want %s, allowed %g", tt.reference, c, tt.verdict, tt.allowed)
		}
		if (r.Verdict == sweep.Fail) != (tt.verdict == sweep.Fail) {
			t.Errorf("%s: verdict %s", tt.reference, r.Verdict)
		}
	}
	// A figure that is not there fails if it is judged.
	missing := "tolerance.latency_s = { relative = 0.1 }\n[[row]]\nrow = \"g/0.5\"\nwant.N.latency_s = 1\nwant.M.qber_x = 1\n"
	r := judge(t, missing, o)
	if len(r.Checks) != 2 || r.Checks[0].Verdict != sweep.Fail || !r.Checks[0].Missing || r.Checks[1].Verdict != sweep.IsInformative || r.Verdict != sweep.Fail {
		t.Errorf("%+v", r.Checks)
	}
}

// Statements about rows hold or not.
func TestVerifyStatements(t *testing.T) {
	a, b := outcome{throughput: 10, scaled: 2, e: 0.02, fidelity: 0.8}, outcome{throughput: 9, scaled: 8, e: 0.04, fidelity: 0.7}
	ratio := func(bounds string) string {
		return "[[ratio]]\nname = \"x\"\nrow = \"g/0.75\"\nto = \"g/0.5\"\ntype = \"M\"\nfigure = \"throughput_hz\"\n" + bounds
	}
	even := "[[even]]\nname = \"fair\"\nrows = \"g/.*\"\nfigures = [\"throughput_hz\"]\n"
	uneven, tilted := a, a
	slightly := a
	slightly.evenness = 4 * 0.02 * 0.01 / math.Sqrt(5) // four standard errors of a row
	uneven.evenness = 0.01
	tilted.evenness = -0.01
	above := func(limit string) string {
		return "[[above]]\nname = \"kept\"\nrows = \"g/0.5\"\nfigures = [\"fidelity_oracle\"]\nto = \"" + limit + "\"\n"
	}
	broken := a
	broken.errors = []string{"the ends disagree"}
	for _, tt := range []struct {
		name, reference string
		rows            []outcome
		verdict         sweep.Verdict
		ours            float64
	}{
		{"ratio, at most", ratio("max = 0.95"), []outcome{a, b}, sweep.Pass, 0.9},
		{"ratio, at most", ratio("max = 0.85"), []outcome{a, b}, sweep.Fail, 0.9},
		{"ratio, at least", ratio("min = 0.85"), []outcome{a, b}, sweep.Pass, 0.9},
		{"ratio, at least", ratio("min = 0.95"), []outcome{a, b}, sweep.Fail, 0.9},
		{"ratio, both", ratio("min = 0.85\nmax = 0.95"), []outcome{a, b}, sweep.Pass, 0.9},
		// 0.9·√((0.04² + 0.02²)/5) = 0.018 a standard error
		{"ratio, near", ratio("min = 0.95\nsigmas = 3"), []outcome{a, b}, sweep.Pass, 0.9},
		{"ratio, too far", ratio("min = 0.95\nsigmas = 2.7"), []outcome{a, b}, sweep.Fail, 0.9},
		{"ratio, of too few runs", "least_runs = 6\n" + ratio("max = 0.95"), []outcome{a, b}, sweep.Fail, 0.9},
		{"ratio, of enough", "least_runs = 5\n" + ratio("max = 0.95"), []outcome{a, b}, sweep.Pass, 0.9},
		{"ratio, not judged", ratio("min = 0.95\njudge = false"), []outcome{a, b}, sweep.IsInformative, 0.9},
		{"even", even, []outcome{a, a}, sweep.Pass, 0},
		{"even but for rounding", strings.Replace(even, "throughput_hz", "fidelity", 1), []outcome{a, a}, sweep.Pass, 0},
		{"uneven", even, []outcome{uneven, uneven}, sweep.Fail, 0.04},
		{"uneven over all rows, not beyond doubt in any", even, []outcome{slightly, slightly}, sweep.Fail, 0.0014},
		{"even enough", strings.Replace(even, "[[even]]", "[[even]]\nsigmas = 7", 1), []outcome{slightly, slightly}, sweep.Pass, 0.0014},
		{"uneven rows that make up for each other", even, []outcome{uneven, tilted}, sweep.Fail, 0},
		{"above", above("fidelity_oracle"), []outcome{a}, sweep.Pass, 0.8},
		{"below", above("throughput_hz"), []outcome{a}, sweep.Fail, 0.8},
		{"no figure to be above", above("min_fidelity"), []outcome{a}, sweep.Fail, 0},
		{"spread", "[[spread]]\nname = \"s\"\nrows = \"g/0.5\"\nwant = { throughput_hz = 0.1 }\n", []outcome{uneven}, sweep.IsInformative, 1 - (0.49-0.0002)/(0.51+0.0002)},
		{"errors", "", []outcome{broken}, sweep.Fail, 5},
	} {
		r := judge(t, tt.reference, tt.rows...)
		if len(r.Checks) == 0 {
			t.Errorf("%s: no check", tt.name)
			continue
		}
		if c := r.Checks[0]; c.Verdict != tt.verdict || math.Abs(c.Ours-tt.ours) > 1e-3 {
			t.Errorf("%s: %+v, want %g, %s", tt.name, c, tt.ours, tt.verdict)
		}
	}
}

// A promise is kept if all fidelities that a type has say so, and one of them at
// least can tell.
func TestVerifyContracts(t *testing.T) {
	contract := "[[above]]\nname = \"kept\"\nrows = \"g/0.5\"\nfigures = [\"fidelity_oracle\", \"fidelity_outcomes\"]\nto = \"min_fidelity\"\nwidest = 0.1\n"
	for _, tt := range []struct {
		name     string
		row      outcome
		verdicts []sweep.Verdict // of the figures that there are
		want     sweep.Verdict
	}{
		// √5·e·outcomes is five standard errors of five runs.
		{"both", outcome{fidelity: 0.8, outcomes: 0.79, e: 0.01, minimum: 0.8}, []sweep.Verdict{sweep.Pass, sweep.Pass}, sweep.Pass},
		{"oracle alone", outcome{fidelity: 0.8, minimum: 0.8}, []sweep.Verdict{sweep.Pass}, sweep.Pass},
		{"oracle below", outcome{fidelity: 0.8 - 1e-6, minimum: 0.8}, []sweep.Verdict{sweep.Fail}, sweep.Fail},
		{"outcomes alone", outcome{outcomes: 0.79, e: 0.01, minimum: 0.8}, []sweep.Verdict{sweep.Pass}, sweep.Pass},
		{"outcomes below", outcome{outcomes: 0.77, e: 0.01, minimum: 0.8}, []sweep.Verdict{sweep.Fail}, sweep.Fail},
		{"one of two below", outcome{fidelity: 0.8, outcomes: 0.7, e: 0.01, minimum: 0.8}, []sweep.Verdict{sweep.Pass, sweep.Fail}, sweep.Fail},
		{"outcomes that tell nothing", outcome{outcomes: 0.5, e: 0.3, minimum: 0.8}, []sweep.Verdict{sweep.IsInformative, sweep.Fail}, sweep.Fail},
		{"uncertain, but below beyond doubt", outcome{outcomes: 0.4, e: 0.3, minimum: 0.8}, []sweep.Verdict{sweep.Fail}, sweep.Fail},
		{"an oracle beside one", outcome{fidelity: 0.8, outcomes: 0.4, e: 0.3, minimum: 0.8}, []sweep.Verdict{sweep.Pass, sweep.Fail}, sweep.Fail},
		{"an oracle beside outcomes that tell nothing", outcome{fidelity: 0.8, outcomes: 0.5, e: 0.3, minimum: 0.8}, []sweep.Verdict{sweep.Pass, sweep.IsInformative}, sweep.Pass},
		{"no fidelity", outcome{minimum: 0.8}, []sweep.Verdict{sweep.Fail}, sweep.Fail},
		{"no promise", outcome{fidelity: 0.8}, []sweep.Verdict{sweep.Fail}, sweep.Fail},
	} {
		tt.row.throughput, tt.row.scaled = 10, 2
		r := judge(t, contract, tt.row)
		var got []sweep.Verdict
		for _, c := range r.Checks {
			got = append(got, c.Verdict)
			if tt.row.minimum > 0 && math.Abs(c.Want-tt.row.minimum) > 1e-12 {
				t.Errorf("%s: wants %g", tt.name, c.Want)
			}
		}
		if !slices.Equal(got, tt.verdicts) || r.Verdict != tt.want {
			t.Errorf("%s: %s, %+v", tt.name, r.Verdict, r.Checks)
		}
	}
}

// Figures that are the same in all runs but for rounding have no error.
func TestNoSpread(t *testing.T) {
	r := judge(t, "[[above]]\nname = \"kept\"\nrows = \"g/0.5\"\nfigures = [\"fidelity_oracle\"]\nto = \"min_fidelity\"\n",
		outcome{throughput: 10, scaled: 2, e: 0.02, fidelity: 0.403111137290, minimum: 0.4031})
	var text, table, page bytes.Buffer
	if err := errors.Join(r.WriteTable(&text), r.WriteCSV(&table), r.WriteMarkdown(&page, "x")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "0.4031") || regexp.MustCompile(`e-\d`).MatchString(text.String()) {
		t.Errorf("got\n%s", text.String())
	}
	if !regexp.MustCompile(`(?m)^g,g/0.5,M,both,fidelity_oracle,0\.40311113\d*,0,`).MatchString(table.String()) {
		t.Errorf("got\n%s", table.String())
	}
	if want := "| kept: g/0.5 | M | fidelity_oracle | 0.4031 | ≥ 0.4031 | - | 5 | pass | - |\n"; !strings.Contains(page.String(), want) {
		t.Errorf("no %q in\n%s", want, page.String())
	}
}

// Fewer than five runs have no standard error: nothing is allowed for one, and what needs
// one fails. Nothing shows one.
func TestVerifyWithoutErrors(t *testing.T) {
	o := outcome{throughput: 10, scaled: 2, e: 0.02, fidelity: 0.8} // 0.98 of it in the first two runs
	const sigmas = "tolerance.throughput_hz = { sigmas = 1e6 }"
	const both = "tolerance.throughput_hz = { relative = 0.05, sigmas = 1e6 }"
	ratio := "[[ratio]]\nname = \"x\"\nrow = \"g/0.75\"\nto = \"g/0.5\"\ntype = \"M\"\nfigure = \"throughput_hz\"\nsigmas = 1e6\nmin = "
	even := "[[even]]\nname = \"fair\"\nrows = \"g/0.5\"\nfigures = [\"%s\"]\n"
	above := "[[above]]\nname = \"kept\"\nrows = \"g/0.5\"\nfigures = [\"throughput_hz\"]\nto = \"min_fidelity\"\n"
	o.minimum = 0.7
	low := o
	low.throughput = 0.6
	for _, tt := range []struct {
		name, reference string
		row             outcome
		verdict         sweep.Verdict
		noted           bool // that there is no error
	}{
		{"within the tolerance", want(both, "10"), o, sweep.Pass, true},
		{"exactly", want(sigmas, "9.8"), o, sweep.Pass, true},
		{"beyond", want(both, "11"), o, sweep.Fail, true},
		{"beyond, but for an error", want(sigmas, "9.9"), o, sweep.Fail, true},
		{"beyond, but for the error of the reference", want(sigmas, "[9.9, 0.1]"), o, sweep.Fail, true},
		{"no error is asked for", want(relative, "10"), o, sweep.Pass, false},
		{"ratio", ratio + "0.99", o, sweep.Pass, true},
		{"ratio below", ratio + "1.01", o, sweep.Fail, true},
		{"even", fmt.Sprintf(even, "throughput_hz"), o, sweep.Fail, true},
		{"even beyond doubt", fmt.Sprintf(even, "fidelity"), o, sweep.Pass, true},
		{"above", above, o, sweep.Pass, true},
		{"not above", above, low, sweep.Fail, true},
		{"above, but uncertain", above + "widest = 0.1\n", o, sweep.IsInformative, true},
	} {
		for _, runs := range []int{2, 4} {
			if tt.name == "exactly" && runs == 4 { // whose mean is another
				continue
			}
			r := judgeRuns(t, runs, tt.reference, tt.row)
			if c := r.Checks[0]; c.Verdict != tt.verdict || c.Runs < runs || strings.Contains(c.Note, "no standard error") != tt.noted {
				t.Errorf("%s, %d runs: %+v, want %s", tt.name, runs, c, tt.verdict)
			}
			if tt.verdict != sweep.Pass && r.Verdict != sweep.Fail { // where nothing is certain too
				t.Errorf("%s, %d runs: verdict %s", tt.name, runs, r.Verdict)
			}
		}
	}
	r := judgeRuns(t, 4, want(both, "10"), o)
	var text, table, page bytes.Buffer
	if err := errors.Join(r.WriteTable(&text), r.WriteCSV(&table), r.WriteMarkdown(&page, "x")); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), "10 ±") || strings.Contains(page.String(), "10 ±") || strings.Contains(text.String()+page.String(), "NaN") {
		t.Errorf("got\n%s\n%s", text.String(), page.String())
	}
	if !strings.Contains(table.String(), "g,g/0.5,M,both,throughput_hz,10,,,,4\n") || !strings.Contains(table.String(), "g,g/0.5,M,both,fidelity_oracle,0.8,0,0.8,0.8,4\n") {
		t.Errorf("got\n%s", table.String())
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, null := range []string{`"figure":"throughput_hz","mean":10,"n":4,"stderr":null,"low":null,"high":null}`, `"verdict":"pass","note":"no standard error: 4 runs, want at least 5","stderr":null,"want_stderr":0}`} {
		if !strings.Contains(string(b), null) {
			t.Errorf("no %s in\n%s", null, b)
		}
	}
}

// What went wrong in a run is told without a reference too.
func TestErrorsWithoutReference(t *testing.T) {
	p := mustPlan(t, mustLoad(t, grids), sweep.Options{Only: regexp.MustCompile("^all/keep/low$")})
	store := open(t, t.TempDir(), "r.jsonl")
	defer store.Close()
	broken := outcome{throughput: 10, scaled: 2, fidelity: 0.8, errors: []string{"the ends disagree"}}
	if _, err := p.Run(t.Context(), store, sweep.RunOptions{Run: broken.runner(), Parallel: 1}); err != nil {
		t.Fatal(err)
	}
	r := sweep.NewReport(p, store, nil)
	var text bytes.Buffer
	if err := r.WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	if r.Verdict != sweep.Fail || len(r.Checks) != 1 || !strings.Contains(text.String(), "the ends disagree") {
		t.Errorf("%+v\n%s", r.Checks, text.String())
	}
}

// A row that lacks runs fails, one that was not asked for does not count.
func TestVerifyIncomplete(t *testing.T) {
	s, err := sweep.Load(source(map[string]string{"d/base.toml": base, "d/sweep.toml": judged, "d/reference.toml": "version = 1\n" + want(relative, "10")}), "d")
	if err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, s, sweep.Options{Verify: true})
	store := open(t, t.TempDir(), "r.jsonl")
	defer store.Close()
	r := sweep.NewReport(p, store, nil)
	r.Verify(s.Reference)
	if len(r.Checks) != 3 || r.Verdict != sweep.Fail { // the row, and two without runs
		t.Errorf("%+v", r.Checks)
	}
}

// Mistakes in a reference are errors.
func TestReferenceErrors(t *testing.T) {
	for text, wanted := range map[string]string{
		want("", "1"):                            "",
		"[[row]]\nrow = \"g/1\"\nwant.M.x = 1\n": `d/reference.toml:3:7: row[0].row: "g/1": the sweep has no such row`,
		"[[row]]\nrow = \"g/0.5\"\n":             "row[0].want: missing: want figures",
		want("", "[1]"):                          "want.M.throughput_hz: want a number and its standard error, as in [0.45, 0.01]",
		want("", "[1, -1]"):                      "want a number and its standard error",
		want("", `"1"`):                          "want a number without quotes",
		want("", "{ from = 1 }"):                 "throughput_hz.to: missing",
		want("error = -1", "1"):                  "error: -1: must not be negative",
		want("tolerance.x = {}", "1"):            "tolerance.x.relative: missing: want relative, sigmas or both",
		"[[ratio]]\nname = \"x\"\nrow = \"g/0.5\"\nto = \"g/0.5\"\nfigure = \"f\"\n":             "ratio[0].max: missing",
		"[[even]]\nname = \"x\"\nrows = \"(\"\nfigures = [\"f\"]\n":                              "even[0].rows: \"(\": missing closing )",
		"[[even]]\nname = \"x\"\nrows = \"g\"\nfigures = [\"f\"]\n":                              "even[0].rows: \"g\": the sweep has no such row",
		"[[even]]\nname = \"x\"\nrows = \"g/.*\"\nfigures = [3]\n":                               "even[0].figures: want figures",
		"[[spread]]\nname = \"x\"\nrows = \"g/.*\"\n":                                            "spread[0].want: missing",
		"[[above]]\nrows = \"g/.*\"\nfigures = [\"f\"]\nto = \"x\"\n":                            "above[0].name: missing",
		strings.Replace(want("", "1"), "throughput_hz", "thruput_hz", 1):                         `d/reference.toml:5:21: row[0].want.M.thruput_hz: 1: "thruput_hz" is no figure of a type of request: there are throughput_hz, latency_s, `,
		strings.Replace(want("", "{ from = 1, to = 2 }"), "throughput_hz", "fidelity_orakel", 1): `want.M.fidelity_orakel: "fidelity_orakel" is no figure of a type of request: there are throughput_hz, `,
		strings.Replace(want("", "1"), "throughput_hz", `"failed.queue full"`, 1):                "",
		strings.Replace(want("", "1"), "throughput_hz", "fidelity", 1):                           "",
		strings.Replace(want("", "1"), "throughput_hz", `"failed.queue ful"`, 1):                 `"failed.queue ful" is no figure of a type of request: `,
		strings.Replace(want("", "1"), "throughput_hz", `"frames.Gen"`, 1):                       `"frames.Gen" is no figure of a type of request: there are throughput_hz, `,
		strings.Replace(want("", "1"), "throughput_hz", "fidelity_learnt", 1):                    `"fidelity_learnt" is no figure of a type of request: `, // of an end
		strings.Replace(want("", "1"), "throughput_hz", "queue_mean", 1):                         `"queue_mean" is no figure of a type of request: `,      // of the link
		want("tolerance.thruput_hz = { sigmas = 5 }", "1"):                                       `d/reference.toml:2:24: tolerance.thruput_hz: "thruput_hz" is no figure of a type of request: `,
		"[tolerance]\nlatency = { sigmas = 5 }\n":                                                `tolerance.latency: "latency" is no figure of a type of request: `,
		"[[ratio]]\nname = \"x\"\nrow = \"g/0.5\"\nto = \"g/0.5\"\nfigure = \"f\"\nmax = 1\n":    `ratio[0].figure: "f": "f" is no figure of a type of request: `,
		"[[even]]\nname = \"x\"\nrows = \"g/.*\"\nfigures = [\"latency_s\", \"f\"]\n":            `even[0].figures[1]: "f": "f" is no figure of a type of request: `,
		"[[above]]\nname = \"x\"\nrows = \"g/.*\"\nfigures = [\"latency_s\"]\nto = \"least\"\n":  `above[0].to: "least": "least" is no figure of a type of request: `,
		"[[spread]]\nname = \"x\"\nrows = \"g/.*\"\nwant = { thruput_hz = 0.1 }\n":               `spread[0].want.thruput_hz: 0.1: "thruput_hz" is no figure of a type of request: `,
		"version = 2\n": "version", // twice, or another
		"rows = 3\n":    "rows: unknown key",
	} {
		_, err := sweep.Load(source(map[string]string{"d/base.toml": base, "d/sweep.toml": judged, "d/reference.toml": "version = 1\n" + text}), "d")
		switch {
		case wanted == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case wanted != "" && (err == nil || !strings.Contains(err.Error(), wanted) || !errors.Is(err, qnet.ErrInvalid)):
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, wanted)
		}
	}
}

// The report says the same for people and for programs.
func TestReport(t *testing.T) {
	r := judge(t, want(relative, "11"), outcome{throughput: 10, scaled: 2, e: 0.02, fidelity: 0.8}, outcome{throughput: 12, scaled: 4, e: 0.02, fidelity: 0.8})
	write := func(f func(io.Writer) error) string {
		t.Helper()
		var b bytes.Buffer
		if err := f(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	text := write(r.WriteTable)
	for _, line := range []string{"row runs type throughput 1/s scaled latency s latency s fidelity requests failed", "g/0.5 5 M 10.000 ± 0.089 2.000 ± 0.018 - 0.8 100 0",
		"row Add Reply", "g/0.75 10 20", "g/0.5 M throughput_hz 10.000 ± 0.089 11 ± 0.55 5 fail -", "verdict: fail", "sweep: 10 runs, 0.0 simulated hours"} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	page := write(func(w io.Writer) error { return r.WriteMarkdown(w, "qnoded sim sweep x") })
	for _, line := range []string{"# D\n", "`qnoded sim sweep x`", "| g/0.5 | M | throughput_hz | 10.000 ± 0.089 | 11 | ± 0.55 | 5 | fail | - |\n", "| --- | --- | --- |\n", "- verdict: fail\n"} {
		if !strings.Contains(page, line) {
			t.Errorf("no %q in\n%s", line, page)
		}
	}
	lines, err := csv.NewReader(strings.NewReader(write(r.WriteCSV))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, l := range lines {
		if l[1] == "g/0.75" && l[2] == "M" && l[3] == "both" && l[4] == "throughput_hz" && l[9] == "5" {
			var x float64
			if _, err := fmt.Sscan(l[5], &x); err != nil || math.Abs(x-12) > 1e-9 {
				t.Errorf("%v", l)
			}
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d lines for one figure", found)
	}
	dir := t.TempDir()
	if err := r.WriteSVG(dir); err != nil {
		t.Fatal(err)
	}
	for file, lines := range map[string]int{"g-throughput.svg": 2, "g-latency.svg": 1} { // ours and the reference
		svg, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(svg), "<path"); n != lines {
			t.Errorf("%s: %d curves, want %d", file, n, lines)
		}
	}
	var back sweep.Report
	data, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(data, &back)
	}
	if err != nil || back.Verdict != sweep.Fail || len(back.Rows) != 2 || back.Rows[0].Values["load"] != "0.5" || back.Rows[0].Summary == nil {
		t.Errorf("%+v, %v", back, err)
	}
	// Without an axis of numbers there is nothing to draw.
	p := mustPlan(t, mustLoad(t, grids), sweep.Options{})
	store := open(t, t.TempDir(), "r.jsonl")
	defer store.Close()
	if err := sweep.NewReport(p, store, nil).WriteSVG(t.TempDir()); !errors.Is(err, qnet.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	if err := p.Drawable(); !errors.Is(err, qnet.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
