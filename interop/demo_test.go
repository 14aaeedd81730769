package interop

import (
	"encoding/json"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"qstack/node"
	"qstack/node/daemon"
)

// demo is a demo in a folder of its own.
type demo struct {
	*process
	dir string
}

// startDemo starts a demo and waits until its four processes have started.
func startDemo(t *testing.T, args ...string) *demo {
	t.Helper()
	dir := place(t)
	ready := holdPorts(t, filepath.Join(dir, "qnet-demo-*", "run", "*.ctl"), 4) // they come after the ports
	d := &demo{start(t, dir, qnodedBin, append([]string{"demo", "--json"}, args...)...), dir}
	ready()
	return d
}

// status asks a process of the demo, which may be just about to listen.
func (d *demo) status(t *testing.T, name string) (st *daemon.Status) {
	t.Helper()
	eventually(t, name+" answers", func() bool {
		found, err := filepath.Glob(filepath.Join(d.dir, "qnet-demo-*", "run", name+".ctl"))
		if err == nil && len(found) == 1 {
			st, err = daemon.FetchStatus(t.Context(), found[0])
		}
		return st != nil && err == nil
	})
	return st
}

// waitTraffic waits until the demo is in the middle of its work.
func (d *demo) waitTraffic(t *testing.T) {
	t.Helper()
	eventually(t, "pairs are delivered", func() bool { return d.status(t, "alice").Pairs >= 20 })
}

// checkGone checks that a demo that has ended has left nothing: no process, no
// socket, no file, no folder.
func (d *demo) checkGone(t *testing.T) {
	t.Helper()
	if pids := processesIn(t, d.dir); len(pids) > 0 {
		t.Errorf("processes %v are left", pids)
	}
	if left, _ := filepath.Glob(filepath.Join(d.dir, "*")); len(left) > 0 {
		t.Errorf("%v is left, with %v", left, leftIn(t, d.dir))
	}
}

// report is the object of --json, as it is promised: no more, no less.
type report struct {
	Processes []struct {
		Role, Name, ID string
		PID            int
	}
	Pairs              int
	Fidelity, Teleport struct{ Mean, StdErr, Low, High, Expected float64 }
	CHSH               struct{ S, StdErr, Expected float64 }
	Rate               struct{ Measured, Expected float64 } `json:"rate_hz"`
	Latency            struct{ P50, P99 float64 }           `json:"latency_ms"`
	WallS              float64                              `json:"wall_s"`
	Verdict            string
	Failed             []string
}

// fields are the names in the object of --json.
var fields = map[string][]string{
	"":           {"chsh", "failed", "fidelity", "latency_ms", "pairs", "processes", "rate_hz", "teleport", "verdict", "wall_s"},
	"chsh":       {"expected", "s", "stderr"},
	"fidelity":   {"expected", "high", "low", "mean", "stderr"},
	"teleport":   {"expected", "high", "low", "mean", "stderr"},
	"rate_hz":    {"expected", "measured"},
	"latency_ms": {"p50", "p99"},
	"processes":  {"id", "name", "pid", "role"},
}

// parseReport decodes the object and checks that it has just the promised
// fields.
func parseReport(t *testing.T, out string) *report {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(out), &object); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	check := func(name string, object map[string]any) {
		if got := slices.Sorted(maps.Keys(object)); !slices.Equal(got, fields[name]) {
			t.Errorf("fields of %q are %v, promised are %v", name, got, fields[name])
		}
	}
	check("", object)
	for name, v := range object {
		switch v := v.(type) {
		case map[string]any:
			check(name, v)
		case []any:
			for _, e := range v {
				if e, ok := e.(map[string]any); ok {
					check(name, e)
				}
			}
		}
	}
	r := new(report)
	if err := json.Unmarshal([]byte(out), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// The demo is the first thing that anybody runs: it measures what the hardware
// of the scenario should give, over processes that are really distinct, within a
// minute, and cleans up after itself.
func TestDemo(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	d.waitTraffic(t)
	pids := make(map[string]int)
	for _, name := range []string{node.FabricName, "alice", "bob", "charlie"} {
		pids[name] = d.status(t, name).PID
	}
	if code := d.wait(t, time.Minute); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, d.out.String(), d.err.String())
	}
	d.checkGone(t)
	r := parseReport(t, d.out.String())

	if r.Verdict != "pass" || r.Failed == nil || len(r.Failed) != 0 {
		t.Errorf("verdict %q, failed %v", r.Verdict, r.Failed)
	}
	ids, seen := make(map[string]bool), make(map[int]bool)
	for _, p := range r.Processes {
		role := daemon.RoleNode
		if p.Name == node.FabricName {
			role = daemon.RoleFabric
		}
		if p.Role != role || len(p.ID) != 16 || p.PID != pids[p.Name] {
			t.Errorf("process %+v: want role %s, an id of 16 digits, pid %d", p, role, pids[p.Name])
		}
		ids[p.ID], seen[p.PID] = true, true
	}
	if len(r.Processes) != 4 || len(ids) != 4 || len(seen) != 4 || seen[d.pid()] {
		t.Errorf("processes %+v, of demo %d, are not four distinct ones beside it", r.Processes, d.pid())
	}
	// An independent calculation gives these expectations.
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"fidelity", r.Fidelity.Expected, 0.874}, {"S", r.CHSH.Expected, 2.46}} {
		if math.Abs(c.got-c.want) > 0.005 {
			t.Errorf("expected %s is %.4f, not about %v", c.name, c.got, c.want)
		}
	}
	if r.Pairs != 1200 || r.WallS <= 0 || r.WallS > 60 {
		t.Errorf("%d pairs in %.1f s", r.Pairs, r.WallS)
	}
	if r.Fidelity.StdErr <= 0 || r.CHSH.StdErr <= 0 || r.Teleport.StdErr <= 0 {
		t.Errorf("standard errors %v, %v, %v", r.Fidelity.StdErr, r.CHSH.StdErr, r.Teleport.StdErr)
	}
	if math.Abs(r.Fidelity.Mean-r.Fidelity.Expected) > 5*r.Fidelity.StdErr || math.Abs(r.CHSH.S-r.CHSH.Expected) > 5*r.CHSH.StdErr || r.CHSH.S <= 2 {
		t.Errorf("passed with fidelity %+v, CHSH %+v", r.Fidelity, r.CHSH)
	}
	for _, i := range []struct{ Mean, StdErr, Low, High, Expected float64 }{r.Fidelity, r.Teleport} {
		if !(0.5 < i.Low && i.Low < i.Mean && i.Mean < i.High && i.High <= 1) {
			t.Errorf("interval %+v", i)
		}
	}
	// Software takes time, so pairs come no faster than the hardware gives them:
	// 0.1 of the rate is 5 standard errors of its mean over 3,200 pairs.
	if r.Rate.Measured <= 0 || r.Rate.Measured > 1.1*r.Rate.Expected || r.Latency.P50 <= 0 || r.Latency.P99 < r.Latency.P50 {
		t.Errorf("rate %+v, latency %+v", r.Rate, r.Latency)
	}
}

// Hardware that is worse than the scenario says, which only the fabric knows, is
// noticed. Read-out errors of 0.05 at bob and at both ends leave S at 1.7, whose
// standard error is 0.07: the verdict on S, at 5 of them from 2.46, is sure to
// 1e-8.
func TestDemoFindsFault(t *testing.T) {
	t.Parallel()
	trace := filepath.Join(t.TempDir(), "trace.jsonl")
	d := startDemo(t, "--fault", "readout=0.05", "--teleports", "1", "--trace", trace)
	if code := d.wait(t, time.Minute); code != 1 {
		t.Errorf("exit code %d: %s", code, d.err.String())
	}
	d.checkGone(t)
	r := parseReport(t, d.out.String())
	if r.Verdict != "fail" || !slices.Contains(r.Failed, "fidelity") || !slices.Contains(r.Failed, "chsh") {
		t.Errorf("verdict %q, failed %v", r.Verdict, r.Failed)
	}
	if math.Abs(r.Fidelity.Expected-0.874) > 0.005 {
		t.Errorf("the expectation knows of the fault: %+v", r.Fidelity)
	}
	checkTrace(t, trace, "alice", "bob", "charlie", "alice-bob.station", "bob-charlie.station", node.FabricName)
}

// A trace that can not be written is an error, beside the report.
func TestDemoLosesTrace(t *testing.T) {
	t.Parallel()
	d := startDemo(t, "--pairs", "120", "--teleports", "1", "--trace", "/dev/full")
	if code := d.wait(t, time.Minute); code != 1 || !strings.Contains(d.err.String(), "qnoded: the trace is not complete: write /dev/full: no space left on device") {
		t.Errorf("exit code %d: %s", code, d.err.String())
	}
	d.checkGone(t)
	if r := parseReport(t, d.out.String()); r.Pairs != 120 {
		t.Errorf("report %+v", r)
	}
}

// Ctrl-C ends a demo in the middle, and it leaves nothing.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		d := startDemo(t)
		d.waitTraffic(t)
		d.signal(s)
		if code := d.wait(t, patience); code != 1 {
			t.Errorf("%v: exit code %d", s, code)
		}
		d.checkGone(t)
		if text := d.err.String(); text != "qnoded: interrupted\n" || d.out.String() != "" {
			t.Errorf("%v: it says %q and prints %q", s, text, d.out.String())
		}
	}
}

// So it does at the very start, and while the processes are finding each other.
func TestDemoInterruptedAtOnce(t *testing.T) {
	t.Parallel()
	interrupt := func(d *demo) {
		t.Helper()
		d.signal(syscall.SIGINT)
		if code := d.wait(t, patience); code != 1 {
			t.Errorf("exit code %d", code)
		}
		d.checkGone(t)
		if text := d.err.String(); text != "qnoded: interrupted\n" {
			t.Errorf("it says %q", text)
		}
	}
	dir := place(t)
	begun := holdPorts(t, filepath.Join(dir, "qnet-demo-*"), 1)
	early := &demo{start(t, dir, qnodedBin, "demo"), dir}
	begun()
	interrupt(early)
	interrupt(startDemo(t))
}

// When a process of the demo dies, the demo fails at once, says which, and leaves
// nothing.
func TestDemoLosesProcess(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"bob", "alice", node.FabricName} {
		d := startDemo(t)
		d.waitTraffic(t)
		pid := d.status(t, victim).PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if code := d.wait(t, patience); code != 1 {
			t.Errorf("%s: exit code %d", victim, code)
		}
		d.checkGone(t)
		if text := d.err.String(); !strings.Contains(text, victim) || !strings.Contains(text, "killed") || d.out.String() != "" {
			t.Errorf("%s: it says %q and prints %q", victim, text, d.out.String())
		}
	}
}

// When the demo itself is killed it can do nothing any more, but its processes
// notice, end, and leave nothing either.
func TestDemoKilled(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	d.waitTraffic(t)
	d.signal(syscall.SIGKILL)
	d.wait(t, patience)
	eventually(t, "its processes end", func() bool { return len(processesIn(t, d.dir)) == 0 })
	d.checkGone(t)
}
