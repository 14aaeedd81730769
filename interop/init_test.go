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

	"qstack/node/daemon"
)

// An operator makes the files of a network, copies each process's folder to its
// host, and runs it there: the processes find each other and deliver pairs.
func TestInitAndRun(t *testing.T) {
	dir := place(t)
	source, err := filepath.Abs("../scenarios/ions3.toml")
	if err != nil {
		t.Fatal(err)
	}
	net := filepath.Join(dir, "net")
	var made struct {
		Network, CA string
		Processes   []struct{ Name, Dir, Config string }
	}
	out := qnoded(t, dir, "init", source, "--dir", net, "--port-base", fmt.Sprint(freePorts(t, 6)), "--json")
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if made.Network != "ions3" || len(made.Processes) != 4 {
		t.Fatalf("init says %s", out)
	}
	var running []*process
	for _, p := range made.Processes {
		host := filepath.Join(dir, "host-of-"+p.Name)
		if err := os.Rename(p.Dir, host); err != nil {
			t.Fatal(err)
		}
		running = append(running, start(t, dir, qnodedBin, "run", filepath.Join(host, filepath.Base(p.Config))))
	}
	// Nobody needs what is left, the authority, for the network to run.
	if err := os.RemoveAll(net); err != nil {
		t.Fatal(err)
	}

	runtime := filepath.Join(dir, "qnet", "ions3")
	eventually(t, "the processes see each other", func() bool {
		for _, p := range made.Processes {
			if st, err := daemon.FetchStatus(t.Context(), daemon.ControlPath(runtime, p.Name)); err != nil || !st.Ready {
				return false
			}
		}
		return true
	})
	table := qnoded(t, dir, "status", "--network", "ions3")
	ready := 0
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 3 && f[3] == "ready" && slices.ContainsFunc(made.Processes, func(p struct{ Name, Dir, Config string }) bool { return p.Name == f[0] }) {
			ready++
		}
	}
	if ready != 4 {
		t.Errorf("not everybody is ready:\n%s", table)
	}
	tp := start(t, dir, teleportBin, "--from", "alice", "--to", "charlie")
	if code := tp.wait(t, patience); code != 0 {
		t.Errorf("teleport: exit code %d: %s", code, tp.err.String())
	}
	for _, p := range running {
		p.signal(syscall.SIGTERM)
	}
	for _, p := range running {
		if code := p.wait(t, patience); code != 0 {
			t.Errorf("%s: exit code %d", p.name, code)
		}
	}
}
