package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"qstack/node/daemon"
)

// A verdict that failed hides no other error.
func TestUnsaid(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct {
		err  error
		want string // "" for none
	}{
		{errVerdict, ""},
		{errors.Join(errVerdict, nil), ""},
		{errors.Join(errVerdict, other), "other"},
		{errors.Join(errors.Join(errVerdict, nil), other), "other"},
		{usage("%w: %w", other, io.EOF), "other: EOF"},
	} {
		got := unsaid(c.err)
		if got == nil && c.want != "" || got != nil && got.Error() != c.want {
			t.Errorf("of %q is left %v, want %q", c.err, got, c.want)
		}
	}
}

// ask asks all processes at once: here none of them answers before all were
// asked.
func TestAskAtOnce(t *testing.T) {
	dir, err := os.MkdirTemp("", "qn-") // short: socket paths have a limit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	run := daemon.RuntimeDir("net")
	if err := os.MkdirAll(run, 0o700); err != nil {
		t.Fatal(err)
	}
	names := []string{"a", "b", "c"}
	var asked sync.WaitGroup
	asked.Add(len(names))
	for _, name := range names {
		l, err := net.Listen("unix", daemon.ControlPath(run, name))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Done()
			all := make(chan struct{})
			go func() {
				asked.Wait()
				close(all)
			}()
			select {
			case <-all:
				io.WriteString(w, `{"name":"`+name+`"}`)
			case <-r.Context().Done():
			}
		})}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
	}
	answers, order, err := ask(t.Context(), "net")
	if err != nil || !slices.Equal(order, names) {
		t.Fatalf("order %v: %v", order, err)
	}
	for _, name := range names {
		if a := answers[name]; a.Err != nil || a.Status.Name != name {
			t.Errorf("%s answers %+v", name, a)
		}
	}
}

// startScript starts a process of a network of four that is a shell script.
func startScript(t *testing.T, script string) (*network, *process) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "script")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	trace, err := create(t.Context(), filepath.Join(dir, "trace"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{dir: filepath.Join(dir, "net"), runtime: filepath.Join(dir, "run"), trace: trace, failed: make(chan error, 1)}
	p := &process{name: "alice"}
	n.processes = []*process{p, {name: "bob"}, {name: "charlie"}, {name: "dora"}}
	said, says := io.Pipe()
	if err := n.start(p, &launchConfig{binary: binary, log: says}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.close() })
	if _, err := said.Read(make([]byte, 100)); err != nil { // it runs
		t.Fatal(err)
	}
	go io.Copy(io.Discard, said)
	return n, p
}

// A process that fails to write its trace says so as it stops, and so does close.
func TestProcessLosesTrace(t *testing.T) {
	n, _ := startScript(t, "trap 'echo no room; exit 1' TERM\necho ready\nread line\n")
	for range 2 {
		err := n.close()
		if err == nil || !strings.Contains(err.Error(), "the trace is not complete: alice (pid ") || !strings.Contains(err.Error(), "no room") {
			t.Errorf("error %v", err)
		}
	}
}

// The processes share the processors, unless the user has shared them.
func TestProcessorsAreShared(t *testing.T) {
	for set, want := range map[string]string{"": strconv.Itoa(max(1, runtime.GOMAXPROCS(0)/4)), "3": "3"} {
		t.Setenv("GOMAXPROCS", set)
		_, p := startScript(t, "echo GOMAXPROCS=$GOMAXPROCS\n")
		<-p.done
		if got := p.output.text(); !strings.HasSuffix(got, "\nGOMAXPROCS="+want) {
			t.Errorf("with GOMAXPROCS=%q: %q, want %s", set, got, want)
		}
	}
}

// Paths that the environment gives relative to where the launcher runs mean the
// same to its processes.
func TestRelativeFolders(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s, doc, err := loadScenario(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // only what the processes are given counts
	for _, run := range []string{"", "r"} {
		if err := os.Mkdir("d", 0o700); err != nil {
			t.Fatal(err)
		}
		n, err := launch(ctx, launchConfig{scenario: s, source: doc.Data(), dir: "d", runtime: run, binary: "/bin/true"})
		if err == nil {
			t.Error("a network of nothing is ready")
		}
		c, err := daemon.LoadConfig(filepath.Join("d", "alice", configFile))
		if err != nil {
			t.Fatal(err)
		}
		want := filepath.Join(here, "d", "run")
		if run != "" {
			want = filepath.Join(here, run)
		}
		if c.RuntimeDir() != want {
			t.Errorf("the sockets of runtime %q are in %s, not %s", run, c.RuntimeDir(), want)
		}
		n.close()
	}
}
