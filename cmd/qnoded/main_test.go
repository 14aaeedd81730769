package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"qstack/app/verify"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"qnoded": main})
}

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script")

// The command line, as a person uses it: testdata/script has a story a file.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"exitcode": exitCode},
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_RUNTIME_DIR", e.WorkDir)
			ions, err := os.ReadFile("../../scenarios/ions3.toml")
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "ions3.toml"), ions, 0o600)
		},
	})
}

// exitCode is the script command "exitcode N program args": it runs the program
// and checks its exit code.
func exitCode(ts *testscript.TestScript, neg bool, a []string) {
	if neg || len(a) < 2 {
		ts.Fatalf("usage: exitcode N program args")
	}
	err := ts.Exec(a[1], a[2:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got := strconv.Itoa(code); got != a[0] {
		ts.Fatalf("exit code %s, want %s", got, a[0])
	}
}

// sim runs the sim command in this process and returns its report.
func sim(t *testing.T, arguments ...string) *verify.Report {
	t.Helper()
	var out, errs strings.Builder
	code := run(t.Context(), append([]string{"sim", "--json"}, arguments...), strings.NewReader(""), &out, &errs)
	r := new(verify.Report)
	if err := json.Unmarshal([]byte(out.String()), r); err != nil {
		t.Fatalf("exit code %d, output %q, errors %q: %v", code, out.String(), errs.String(), err)
	}
	if (code == 0) != (r.Verdict == "pass") {
		t.Errorf("exit code %d with verdict %s", code, r.Verdict)
	}
	return r
}

// On 10⁵ pairs, what ions3 delivers is within five standard errors (below 1e-6
// each) of what its hardware should give, by a calculation that shares no code.
func TestIons3IsAccurate(t *testing.T) {
	if testing.Short() {
		t.Skip("long under the race detector, and one goroutine at a time")
	}
	r := sim(t, "../../scenarios/ions3.toml", "--pairs", "100000", "--seed", "7")
	if r.Verdict != "pass" || r.Pairs != 100_000 {
		t.Errorf("%+v", r)
	}
}

// So are chains of 3, 4 and 5 nodes of random hardware.
func TestRandomChainsAreAccurate(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		nodes := 3 + int(seed)%3
		t.Run(fmt.Sprintf("%d nodes, seed %d", nodes, seed), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "chain.toml")
			if err := os.WriteFile(file, []byte(randomChain(seed, nodes)), 0o600); err != nil {
				t.Fatal(err)
			}
			if r := sim(t, file, "--pairs", "3000", "--teleports", "20"); r.Verdict != "pass" {
				t.Errorf("%+v\n%s", r, randomChain(seed, nodes))
			}
		})
	}
}

// randomChain returns a scenario of nodes in a row, whose hardware and links are
// all different.
func randomChain(seed uint64, nodes int) string {
	rng := rand.New(rand.NewPCG(seed, 2026))
	between := func(a, b float64) float64 { return a + (b-a)*rng.Float64() }
	var b strings.Builder
	fmt.Fprintf(&b, "version = 1\n[network]\nname = \"chain\"\nseed = %d\n", 100+seed)
	for i := range nodes {
		fmt.Fprintf(&b, "[hardware.h%d]\nt2 = \"%.3f s\"\ninit = \"%.0f us\"\ngate1 = \"%.1f us\"\ngate2 = \"%.0f us\"\ngate2_depolarising = %.4f\nreadout = \"%.0f us\"\nreadout_error = %.4f\n",
			i, between(0.2, 2), between(1, 20), between(1, 10), between(20, 200), between(0, 0.02), between(50, 400), between(0, 0.01))
		fmt.Fprintf(&b, "[[nodes]]\nname = \"n%d\"\nhardware = \"h%d\"\nstorage = 1\n", i, i)
	}
	for i := range nodes - 1 {
		fmt.Fprintf(&b, "[[links]]\nnodes = [\"n%d\", \"n%d\"]\nlength = \"%.1f m\"\nlanes = 1\n", i, i+1, between(1, 20))
		fmt.Fprintf(&b, "heralding = { model = \"ideal\", attempt_rate = \"%.0f kHz\", probability = %.5f, fidelity = %.4f }\n",
			between(300, 900), between(2e-4, 2e-3), between(0.93, 0.999))
	}
	return b.String()
}
