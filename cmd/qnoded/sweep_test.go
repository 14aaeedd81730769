package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"qstack/app/sweep"
	"qstack/app/workload"
)

const sweepFile = `version = 1
[sweep]
base = "base.toml"
reference = "reference.toml"
[sweep.axis.load]
"0.2" = { workload.load = 0.2 }
"0.4" = { workload.load = 0.4 }
[[sweep.grid]]
name = "g"
[[sweep.grid]]
name = "gate"
set.workload.horizon = "5 s"
seeds = 2
verify = true
`

const referenceFile = `version = 1
tolerance.throughput_hz = { relative = 0.5 }
[[row]]
row = "gate/0.2"
want.all.throughput_hz = 20
`

// sweepFolder writes a sweep of 2 rows of 3 runs, and 2 of 2 for verification.
func sweepFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"base.toml": workloadScenario(t), "sweep.toml": sweepFile, "reference.toml": referenceFile} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	return dir
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func runSweepCommand(t *testing.T, arguments ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr strings.Builder
	code = run(t.Context(), append([]string{"sim", "sweep"}, arguments...), strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// Nothing but what went wrong is printed beside the report, which is there once.
func TestSweep(t *testing.T) {
	dir, results := sweepFolder(t), t.TempDir()
	code, out, errs := runSweepCommand(t, dir, "--out", results, "--json")
	var r sweep.Report
	if err := json.Unmarshal([]byte(out), &r); code != 0 || errs != "" || err != nil {
		t.Fatalf("code %d, %v: %s", code, err, errs)
	}
	if len(r.Rows) != 2 || r.Rows[1].Row != "g/0.4" || r.Rows[1].Runs != 3 || len(r.Parts) != 1 || r.Parts[0].Runs != 6 || r.Parts[0].Kept != 0 || r.Verdict != "" {
		t.Errorf("got %s", out)
	}
	// With verification the other rows are run, and they alone.
	code, out, errs = runSweepCommand(t, dir, "--out", results, "--verify")
	if code != 0 || errs != "" {
		t.Fatalf("code %d: %s", code, errs)
	}
	for _, want := range []string{"sweep: 6 runs, 0.0 simulated hours; 6 were there already", "verification: 4 runs", "verdict: pass"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code, out, errs = runSweepCommand(t, dir, "--list", "--verify"); code != 0 || errs != "" || out != "g/0.2: 3 × 20 s\ng/0.4: 3 × 20 s\ngate/0.2: 2 × 5 s\ngate/0.4: 2 × 5 s\n4 rows, 10 runs, 0.0 simulated hours\n" {
		t.Errorf("code %d: %s\n%s", code, errs, out)
	}
}

// Rows that match but run with --verify only are told of.
func TestSweepOnly(t *testing.T) {
	dir := sweepFolder(t)
	for _, tt := range []struct {
		arguments []string
		code      int
		rows      []string
		errs      string
	}{
		{[]string{"--only", "0.2"}, 0, []string{"g/0.2"}, "--only: row gate/0.2 runs with --verify only\n"},
		{[]string{"--only", "^g/0.2"}, 0, []string{"g/0.2"}, ""},
		{[]string{"--only", "^gate/"}, exitUsage, nil, ": 2 rows run with --verify only, the first is gate/0.2\n"},
		{[]string{"--only", "^gate/", "--verify"}, 0, []string{"gate/0.2", "gate/0.4"}, ""},
		{[]string{"--only", "^gate/0.4", "--verify"}, exitRun, []string{"gate/0.4"}, ""}, // nothing is judged
		{[]string{"--only", "nothing"}, exitUsage, nil, ": no row is chosen; its first is g/0.2\n"},
		{nil, 0, []string{"g/0.2", "g/0.4"}, ""},
	} {
		code, out, errs := runSweepCommand(t, append(tt.arguments, dir, "--out", t.TempDir(), "--seeds", "1", "--json")...)
		var r sweep.Report
		if out != "" {
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatal(err)
			}
		}
		var rows []string
		for _, row := range r.Rows {
			rows = append(rows, row.Row)
		}
		if code != tt.code || fmt.Sprint(rows) != fmt.Sprint(tt.rows) || !strings.HasSuffix(errs, tt.errs) || (tt.errs == "") != (errs == "") {
			t.Errorf("%v: code %d, rows %v, %q", tt.arguments, code, rows, errs)
		}
	}
}

// Mistakes have the exit code of their kind, and say where they are.
func TestSweepMistakes(t *testing.T) {
	for _, tt := range []struct {
		file, old, new string
		arguments      []string
		code           int
		want           string
	}{
		{"", "", "", []string{"--only", "("}, exitUsage, "--only: error parsing regexp"},
		{"", "", "", []string{"--shard", "3/2"}, exitUsage, `--shard: "3/2": want I/N`},
		{"", "", "", []string{"--seeds", "0"}, exitUsage, "--seeds: 0 is not between 1 and"},
		{"", "", "", []string{"--parallel", "0"}, exitUsage, "--parallel: 0: want at least 1"},
		{"", "", "", []string{"--parallel", "-1"}, exitUsage, "--parallel: -1: want at least 1"},
		{"", "", "", []string{"--list", "--json"}, exitUsage, "--json: what --list prints is text"},
		{"", "", "", []string{"none.toml"}, exitConfig, "none.toml: no such file or folder"},
		{"sweep.toml", "reference = ", "# ", []string{"--verify"}, exitUsage, "--verify: "},
		{"sweep.toml", "workload.load = 0.4", "workload.load = -4", nil, exitConfig, "sweep.toml:7:27: sweep.axis.load.\"0.4\".workload.load: -4: must be above 0 and at most 1000 (row g/0.4)"},
		{"base.toml", "none = {}", `none = { preset = "no-such" }`, nil, exitConfig, "base.toml:3:28: hardware.none.preset"},
		{"base.toml", "[workload]", "[workloads]", nil, exitConfig, "base.toml:7:"},
		{"base.toml", `type = "keep"`, "type = \"keep\"\nmin_fidelity = 0.99", nil, exitRun, "g/0.2, run 1 (seed "},
		{"base.toml", `type = "keep"`, "type = \"keep\"\nmin_fidelity = 0.99", nil, exitRun, "base.toml:17:16: workload.type[1].min_fidelity: 0.99: requests of type CK: "},
		{"sweep.toml", "workload.load = 0.4", "workload.type.CK.store = true", nil, exitRun, `sweep.toml:7:36: sweep.axis.load."0.4".workload.type.CK.store: true: requests of type CK: `},
		{"reference.toml", "= 20", "= 40", []string{"--verify"}, exitRun, ""}, // what failed is in the report
	} {
		dir := sweepFolder(t)
		if tt.file != "" {
			name := filepath.Join(dir, tt.file)
			data, err := os.ReadFile(name)
			if err != nil || !strings.Contains(string(data), tt.old) {
				t.Fatalf("%q is not in %s: %v", tt.old, tt.file, err)
			}
			writeFile(t, name, strings.Replace(string(data), tt.old, tt.new, 1))
		}
		code, out, errs := runSweepCommand(t, append(tt.arguments, dir, "--out", filepath.Join(dir, "out"))...)
		if code != tt.code || !strings.Contains(errs, tt.want) || (tt.want == "") != (errs == "") || tt.want == "" && !strings.Contains(out, "verdict: fail") {
			t.Errorf("%v %s: code %d, %s%s", tt.arguments, tt.new, code, out, errs)
		}
	}
}

// A report that can not be drawn is still printed, and written to where it can be.
func TestSweepReports(t *testing.T) {
	dir := sweepFolder(t)
	file := filepath.Join(dir, "page.md")
	code, out, errs := runSweepCommand(t, dir, "--out", t.TempDir(), "--csv", filepath.Join(dir, "no", "x.csv"), "--markdown", file)
	page, err := os.ReadFile(file)
	if code != exitRun || !strings.Contains(out, "g/0.4") || !strings.HasPrefix(errs, "qnoded: --csv: ") || err != nil || !strings.Contains(string(page), "| g/0.4 |") {
		t.Errorf("code %d, %v: %s\n%s", code, err, errs, out)
	}
}

// A sweep that can not be drawn is not run first.
func TestSweepNothingToDraw(t *testing.T) {
	dir := sweepFolder(t)
	file := filepath.Join(dir, "sweep.toml")
	writeFile(t, file, strings.NewReplacer(`"0.2" = `, "low = ", `"0.4" = `, "high = ", "reference = ", "# ").Replace(sweepFile))
	results, plots := filepath.Join(dir, "results"), filepath.Join(dir, "plots")
	code, out, errs := runSweepCommand(t, file, "--out", results, "--svg", plots)
	if code != exitUsage || out != "" || !strings.HasPrefix(errs, "qnoded: --svg: no grid that is run has an axis whose alternatives are numbers") {
		t.Errorf("code %d: %s\n%s", code, errs, out)
	}
	for _, made := range []string{results, plots} {
		if _, err := os.Stat(made); !os.IsNotExist(err) {
			t.Errorf("%s: %v", made, err)
		}
	}
}

// Parts of a sweep are put together, what was torn is run again, and nothing else.
func TestSweepParts(t *testing.T) {
	dir, results := sweepFolder(t), t.TempDir()
	for i := 1; i <= 3; i++ {
		if code, out, errs := runSweepCommand(t, dir, "--out", results, "--shard", fmt.Sprintf("%d/3", i)); code != 0 || !strings.Contains(out, "sweep: 2 runs") {
			t.Fatalf("part %d: code %d: %s\n%s", i, code, errs, out)
		}
	}
	parts := func(kept int) sweep.Report {
		t.Helper()
		var r sweep.Report
		code, out, errs := runSweepCommand(t, dir, "--out", results, "--json")
		if err := json.Unmarshal([]byte(out), &r); code != 0 || errs != "" || err != nil {
			t.Fatalf("code %d, %v: %s", code, err, errs)
		}
		if r.Parts[0].Runs != 6 || r.Parts[0].Kept != kept || r.Rows[0].Runs != 3 || r.Rows[1].Runs != 3 {
			t.Errorf("%+v, want %d that were there", r.Parts, kept)
		}
		return r
	}
	whole := parts(6)
	// Killed while it wrote the second line.
	name := filepath.Join(results, "results-2-of-3.jsonl")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, string(data[:len(data)-20]))
	again := parts(5)
	for i := range whole.Rows {
		a, b := whole.Rows[i].Summary, again.Rows[i].Summary
		for k := range a.Rows {
			if fmt.Sprint(a.Rows[k]) != fmt.Sprint(b.Rows[k]) { // what is not known is NaN
				t.Errorf("%s: %+v, and %+v when run again", whole.Rows[i].Row, a.Rows[k], b.Rows[k])
			}
		}
	}
}

// What a program of other code has made does not count, whatever it calls itself.
func TestSweepOtherProgram(t *testing.T) {
	dir, results := sweepFolder(t), t.TempDir()
	s, err := sweep.Load(sweep.Disk{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Plan(sweep.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := sweep.OpenStore(results, "results.jsonl", "(devel)")
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range p.Jobs() {
		if err := store.Put(j, &workload.Result{Version: workload.Version}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, errs := runSweepCommand(t, dir, "--out", results)
	if want := results + ": 6 runs of another version of this program do not count\n"; code != 0 || errs != want || strings.Contains(out, "were there already") {
		t.Errorf("code %d: %s\n%s", code, errs, out)
	}
	code, out, _ = runSweepCommand(t, dir, "--out", results)
	if code != 0 || !strings.Contains(out, "6 were there already") {
		t.Errorf("code %d:\n%s", code, out)
	}
}

// A program is known by its commit if that has all of its code, else by its file.
func TestProgram(t *testing.T) {
	build := func(settings ...string) *debug.BuildInfo {
		info := &debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Path: "qstack", Version: "(devel)"}}
		for i := 0; i < len(settings); i += 2 {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return info
	}
	dir := t.TempDir()
	one, other := filepath.Join(dir, "one"), filepath.Join(dir, "other")
	writeFile(t, one, "some code")
	writeFile(t, other, "other code")
	name := func(info *debug.BuildInfo, file string) string {
		t.Helper()
		s, err := programOf(info, file)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	clean, dirty := build("vcs.revision", "abc", "vcs.modified", "false"), build("vcs.revision", "abc", "vcs.modified", "true")
	if got := name(clean, filepath.Join(dir, "none")); got != "go1.26 abc" || got == name(build("vcs.revision", "abd", "vcs.modified", "false"), one) {
		t.Errorf("a clean commit: %s", got)
	}
	// echo -n "some code" | sha256sum
	const hash = "sha256 85b0a65f2ebf06fc8bad4bba2417ae4f"
	for what, info := range map[string]*debug.BuildInfo{"a dirty commit": dirty, "no commit": build(), "no information": nil, "half of it": build("vcs.revision", "abc")} {
		if got := name(info, one); got != hash || got == name(info, other) {
			t.Errorf("%s: %s", what, got)
		}
	}
	if got, err := programOf(dirty, filepath.Join(dir, "none")); err == nil {
		t.Errorf("a program that is not there: %s", got)
	}
	if got, err := program(); err != nil || got == "" {
		t.Errorf("%q, %v", got, err)
	}
}
