package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qstack/app/workload"
)

// link is a link of perfect nodes, as other packages test with too.
func link(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../node/scenario/testdata/link.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// workloadScenario asks it for pairs of two types.
func workloadScenario(t *testing.T) string {
	t.Helper()
	return link(t) + smallWorkload
}

const smallWorkload = `[workload]
load = 0.2
horizon = "20 s"
seeds = 3
[[workload.type]]
name = "MD"
type = "measure"
[[workload.type]]
name = "CK"
type = "keep"
[report]
figures = ["throughput", "queue"]
`

// simFile runs the command on a scenario.
func simFile(t *testing.T, text string, arguments ...string) (code int, out, errs string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "w.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	code = run(t.Context(), append([]string{"sim", file}, arguments...), strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestSimWorkload(t *testing.T) {
	text := workloadScenario(t)
	code, out, errs := simFile(t, text)
	if code != 0 || errs != "" {
		t.Fatalf("code %d: %s", code, errs)
	}
	for _, want := range []string{"small: 3 runs, seeds 1 to 3, 60 s emulated", "throughput, pairs/s", "MD offered", "requests under way", "times as fast"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(out, "latency") {
		t.Errorf("a group is shown that was not asked for:\n%s", out)
	}

	dir := t.TempDir()
	code, out, errs = simFile(t, text, "--json", "--seeds", "1", "--seed", "7", "--horizon", "10 s", "--csv", dir, "--svg", dir, "--trace", filepath.Join(dir, "trace"))
	if code != 0 {
		t.Fatalf("code %d: %s", code, errs)
	}
	var r struct {
		Summary workload.Summary
		Runs    []workload.Result
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Runs) != 1 || r.Runs[0].Seed != 7 || r.Runs[0].SimulatedS != 10 || r.Runs[0].All.Both.Completed == 0 {
		t.Errorf("got %s", out)
	}
	row, ok := r.Summary.Row("MD", workload.OriginBoth, workload.FigureThroughput)
	if !ok || row.Mean != r.Runs[0].Types[0].Both.Throughput.Mean || row.N != 1 {
		t.Errorf("throughput %+v", row)
	}
	for _, name := range []string{"summary.csv", "queue.csv", "queue.svg", "throughput.svg", "latency.svg", "trace"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSimExample: the example shows what it is an example of.
func TestSimExample(t *testing.T) {
	var stdout, stderr strings.Builder
	code := run(t.Context(), []string{"sim", "../../examples/workload/services.toml", "--seeds", "1", "--horizon", "300 s"}, strings.NewReader(""), &stdout, &stderr)
	if code != 0 || stderr.String() != "" {
		t.Fatalf("code %d: %s", code, stderr.String())
	}
	for _, want := range []string{"keep asked for", "keep oracle", "store from outcomes", "store cancelled", "prepare prepared states, oracle", "prepare from outcomes",
		"stream completed", "key wrong in X", "bell S of CHSH", "unknown no listener", "keep by test rounds"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is missing in\n%s", want, stdout.String())
		}
	}
}

func TestSimWorkloadErrors(t *testing.T) {
	plain := link(t)
	text := workloadScenario(t)
	for _, x := range []struct {
		text      string
		arguments []string
		code      int
		want      string
	}{
		{text, []string{"--pairs", "1000", "--fault", "readout=0"}, exitUsage, "--fault, --pairs: the scenario has a [workload], which runs in place of programs"},
		{plain, []string{"--seeds", "3"}, exitUsage, "--seeds: the scenario has no [workload]"},
		{text, []string{"--seeds", "-1"}, exitUsage, "--seeds: -1 is not between 1 and 1000000"},
		{text, []string{"--seeds", "0"}, exitUsage, "--seeds: 0 is not between 1 and 1000000"},
		{text, []string{"--horizon", "3"}, exitUsage, `--horizon: "3": no unit`},
		{text, []string{"--horizon", "-3 s"}, exitUsage, `--horizon: "-3 s": must be positive`},
		{text, []string{"--trace", "x"}, exitUsage, "--trace: 3 runs can not share one file: give --seeds 1 as well"},
		{text, []string{"--trace-contents"}, exitUsage, "--trace-contents: there is no trace: give --trace FILE as well"},
		{plain, []string{"--teleports", "0", "--trace-contents"}, exitUsage, "--trace-contents: there is no trace: give --trace FILE as well"},
		{text, []string{"--csv", "/dev/null/x"}, exitUsage, "--csv: "},
		{strings.Replace(text, "load = 0.2", "load = 0", 1), nil, exitConfig, "workload.load: 0: must be above 0"},
		{strings.Replace(text, `"keep"`, "\"keep\"\nmin_fidelity = 0.95", 1), nil, exitConfig, "w.toml:17:16: workload.type[1].min_fidelity: 0.95: requests of type CK: link alice-bob: fidelity 0.95 is beyond reach of kept pairs: the best is 0.9000"},
		{strings.Replace(text, `"keep"`, "\"keep\"\nstore = true", 1), nil, exitConfig, "w.toml:17:9: workload.type[1].store: true: requests of type CK: link alice-bob: pairs are to be stored, and end A has no storage qubits"},
		{strings.Replace(text, `"keep"`, "\"keep\"\npairs = 3\nconsecutive = true", 1), nil, exitConfig, "w.toml:17:9: workload.type[1].pairs: 3: requests of type CK: link alice-bob: 3 pairs are to be kept at a time, and there are 1 lanes"},
		{strings.Replace(strings.Replace(text, "probability = 0.001", "probability = 1", 1), "load = 0.2", "load = 9", 1), nil, exitConfig, "w.toml:8:8: workload.load: 9: requests of type MD: the load makes 2.25 requests per cycle"},
	} {
		code, out, errs := simFile(t, x.text, x.arguments...)
		if code != x.code || !strings.Contains(errs, x.want) || out != "" {
			t.Errorf("%q: code %d, %s%s\nwant %d, %s", x.arguments, code, out, errs, x.code, x.want)
		}
	}
}
