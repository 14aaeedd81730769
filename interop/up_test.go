package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"qstack/node"
	"qstack/node/daemon"
)

// startUp runs "qnoded up" and waits until it says that the network of so many
// processes is up.
func startUp(t *testing.T, dir, network string, processes int, args ...string) *process {
	t.Helper()
	ready := holdPorts(t, filepath.Join(dir, "qnet", network, "*.ctl"), processes)
	p := start(t, dir, qnodedBin, append([]string{"up"}, args...)...)
	ready()
	p.out.wait(t, "go run ./cmd/qnoded status\n")
	return p
}

// stopUp ends it by Ctrl-C, after which nothing may be left.
func stopUp(t *testing.T, p *process, dir, network string) {
	t.Helper()
	p.signal(syscall.SIGINT)
	if code := p.wait(t, patience); code != 0 {
		t.Errorf("after Ctrl-C: exit code %d: %s", code, p.err.String())
	}
	if left := leftIn(t, filepath.Join(dir, "qnet", network)); len(left) > 0 {
		t.Errorf("after Ctrl-C, %v are left", left)
	}
}

// The network that the documentation tells everybody to start, and the program
// that it tells them to run.
func TestUpAndTeleport(t *testing.T) {
	dir := place(t)
	p := startUp(t, dir, "ions3", 4)
	for _, text := range []string{"network ions3 is up; Ctrl-C stops it", filepath.Join(dir, "qnet", "ions3", "alice.sock"), "--from alice --to charlie"} {
		if !strings.Contains(p.out.String(), text) {
			t.Errorf("up does not say %q:\n%s", text, p.out.String())
		}
	}

	// One shot has a chance of one in ten to be wrong, six in a row one in a
	// million: the program prints what came.
	right := 0
	for range 6 {
		tp := start(t, dir, teleportBin, "--from", "alice", "--to", "charlie", "--theta", "1.0")
		if code := tp.wait(t, patience); code != 0 {
			t.Fatalf("exit code %d: %s", code, tp.err.String())
		}
		out := tp.out.String()
		if !strings.Contains(out, "θ = 1.0000 from alice to charlie") {
			t.Fatalf("it prints %q", out)
		}
		if strings.Contains(out, "its own axis: 0 ") {
			right++
		}
	}
	if right == 0 {
		t.Error("six teleportations went wrong")
	}

	var all []daemon.Status
	if err := json.Unmarshal([]byte(qnoded(t, dir, "status", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, st := range all {
		names = append(names, st.Name)
		if !st.Ready || st.PID == 0 || st.ID == "" || st.Network != "ions3" {
			t.Errorf("status %+v", st)
		}
		switch st.Name {
		case "alice", "charlie":
			if st.Pairs != 6 || st.Storage != 1 || len(st.Links) != 1 || st.Links[0].Pairs < 6 {
				t.Errorf("after six pairs: %+v", st)
			}
		case "bob":
			if st.Swaps < 6 || len(st.Links) != 2 {
				t.Errorf("after six pairs: %+v", st)
			}
		case node.FabricName:
			if len(st.Qubits) != 0 {
				t.Errorf("%+v are in use", st.Qubits)
			}
		}
	}
	slices.Sort(names)
	if want := []string{"alice", "bob", "charlie", node.FabricName}; !slices.Equal(names, want) {
		t.Errorf("status of %v, not of %v", names, want)
	}
	table := qnoded(t, dir, "status")
	for _, text := range append(names, "alice-bob", "ready", "up") {
		if !strings.Contains(table, text) {
			t.Errorf("the table has no %q:\n%s", text, table)
		}
	}
	if out := qnoded(t, dir, "doctor", "--from", "alice", "--to", "bob"); !strings.Contains(out, "no program has a socket between alice and bob") {
		t.Errorf("the doctor says %q", out)
	}

	// The same network a second time is refused, and does the first no harm.
	again := start(t, dir, qnodedBin, "up")
	if code := again.wait(t, patience); code != 1 || !strings.Contains(again.err.String(), "network ions3 runs on this machine already") || again.out.String() != "" {
		t.Errorf("the same network again: exit code %d: %s, and it prints %q", code, again.err.String(), again.out.String())
	}
	if out := qnoded(t, dir, "status", "--json"); strings.Count(out, `"ready":true`) != 4 {
		t.Errorf("the network has suffered: %s", out)
	}

	stopUp(t, p, dir, "ions3")
	if pids, left := processesIn(t, dir), leftIn(t, dir); len(pids)+len(left) > 0 {
		t.Errorf("after Ctrl-C, processes %v and files %v are left", pids, left)
	}
	noNetwork := start(t, dir, qnodedBin, "status")
	if code := noNetwork.wait(t, patience); code != 1 || !strings.Contains(noNetwork.err.String(), "no network runs") {
		t.Errorf("status of nothing: exit code %d: %s", code, noNetwork.err.String())
	}
}

// When one of its processes dies, up ends with an error that names it, and takes
// the others along. Traces of all processes are one file then.
func TestUpLosesProcess(t *testing.T) {
	traces := filepath.Join(t.TempDir(), "trace.jsonl")
	dir := place(t)
	p := startUp(t, dir, "ions3", 4, "--trace", traces)
	st, err := daemon.FetchStatus(t.Context(), filepath.Join(dir, "qnet", "ions3", "bob.ctl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t, patience); code != 1 || !strings.Contains(p.err.String(), fmt.Sprintf("bob (pid %d) ended: signal: killed", st.PID)) {
		t.Errorf("exit code %d: %s", code, p.err.String())
	}
	if pids, left := processesIn(t, dir), leftIn(t, dir); len(pids)+len(left) > 0 {
		t.Errorf("processes %v and files %v are left", pids, left)
	}
	checkTrace(t, traces, "alice", "charlie", "alice-bob.station", node.FabricName)
}

// A trace that can not be written is an error, of a network that stops in good
// order too.
func TestUpLosesTrace(t *testing.T) {
	dir := place(t)
	p := startUp(t, dir, "ions3", 4, "--trace", "/dev/full")
	p.signal(syscall.SIGINT)
	if code := p.wait(t, patience); code != 1 || !strings.Contains(p.err.String(), "qnoded: the trace is not complete: write /dev/full: no space left on device") {
		t.Errorf("exit code %d: %s", code, p.err.String())
	}
	if left := leftIn(t, dir); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// The folder of the sockets may be given relative to where up is run.
func TestUpInRelativeFolder(t *testing.T) {
	dir := place(t)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, dir)
	if err != nil {
		t.Fatal(err)
	}
	p := startUp(t, relative, "ions3", 4)
	if path := filepath.Join(dir, "qnet", "ions3", "alice.sock"); !strings.Contains(p.out.String(), path) {
		t.Errorf("up does not say %q:\n%s", path, p.out.String())
	}
	stopUp(t, p, dir, "ions3")
	if left := leftIn(t, dir); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// When up itself is killed, its processes notice, end, and leave nothing: no
// file, no socket and no folder.
func TestUpKilled(t *testing.T) {
	dir := place(t)
	p := startUp(t, dir, "ions3", 4)
	p.signal(syscall.SIGKILL)
	p.wait(t, patience)
	eventually(t, "its processes end", func() bool { return len(processesIn(t, dir)) == 0 })
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// checkTrace checks that a trace is made of JSON objects, one a line, in order
// of time, with events of all that are named.
func checkTrace(t *testing.T, file string, names ...string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	events, last := make(map[string]int), 0.0
	for line := range strings.Lines(string(data)) {
		var e struct {
			T                  *float64
			Node, Layer, Event string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.T == nil || e.Layer == "" || e.Event == "" {
			t.Fatalf("line %q: %v", line, err)
		}
		if *e.T < last {
			t.Fatalf("line %q comes after instant %v", line, last)
		}
		last = *e.T
		events[e.Node]++
	}
	for _, name := range names {
		if events[name] == 0 {
			t.Errorf("no event of %s: %v", name, events)
		}
	}
}

// Several networks run side by side, and are told apart by their names.
func TestTwoNetworks(t *testing.T) {
	dir := place(t)
	file, err := filepath.Abs("../scenarios/ideal2.toml")
	if err != nil {
		t.Fatal(err)
	}
	ions := startUp(t, dir, "ions3", 4)
	ideal := startUp(t, dir, "ideal2", 3, file)
	st := start(t, dir, qnodedBin, "status")
	if code := st.wait(t, patience); code != 2 || !strings.Contains(st.err.String(), "several networks run here: ideal2, ions3; choose one with --network") {
		t.Errorf("exit code %d: %s", code, st.err.String())
	}
	tp := start(t, dir, teleportBin, "--to", "bob")
	if code := tp.wait(t, patience); code != 1 || !strings.Contains(tp.err.String(), "networks ideal2, ions3 have a node bob; choose one with QNET_NETWORK") {
		t.Errorf("exit code %d: %s", code, tp.err.String())
	}
	for network, processes := range map[string]int{"ions3": 4, "ideal2": 3} {
		out := qnoded(t, dir, "status", "--json", "--network", network)
		if strings.Count(out, fmt.Sprintf("%q:%q", "network", network)) != processes || strings.Count(out, `"ready":true`) != processes {
			t.Errorf("status of %s: %s", network, out)
		}
	}
	stopUp(t, ideal, dir, "ideal2")
	if out := qnoded(t, dir, "status", "--json"); strings.Count(out, `"ready":true`) != 4 {
		t.Errorf("when one network has ended, the other has suffered: %s", out)
	}
	stopUp(t, ions, dir, "ions3")
}
