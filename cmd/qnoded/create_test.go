package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pipe makes a named pipe.
func pipe(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// readLine reads one line of a pipe, and closes it.
func readLine(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	line, err := bufio.NewReader(f).ReadString('\n')
	return line, errors.Join(err, f.Close())
}

// Who writes to a pipe learns that nobody reads it any more.
func TestCreatePipe(t *testing.T) {
	name := pipe(t)
	reader := make(chan error, 1)
	go func() {
		_, err := readLine(name)
		reader <- err
	}()
	w, err := create(t.Context(), name, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := io.WriteString(w, "a line\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-reader; err != nil {
		t.Fatal(err)
	}
	if n, err := io.WriteString(w, "another\n"); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A pipe that nobody reads is waited for no longer than wanted.
func TestCreatePipeInterrupted(t *testing.T) {
	name := pipe(t)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if f, err := create(ctx, name, 0o600); f != nil || !errors.Is(err, cause) {
		t.Errorf("%v, %v", f, err)
	}
	r, err := os.Open(name) // lets go of what waits
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}

// A simulation whose trace nobody reads to the end ends, and says that it lacks some.
func TestSimTracePipe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "w.toml")
	if err := os.WriteFile(file, []byte(workloadScenario(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, args := range map[string][]string{
		"programs": {"sim", "--pairs", "1200", "--teleports", "1", "--seed", "7"},
		"workload": {"sim", file, "--seeds", "1", "--horizon", "100 s"},
	} {
		t.Run(what, func(t *testing.T) {
			name := pipe(t)
			reader := make(chan error, 1)
			go func() {
				line, err := readLine(name)
				if err == nil && !strings.HasPrefix(line, `{"t":`) {
					err = fmt.Errorf("got %q", line)
				}
				reader <- err
			}()
			ended := make(chan int, 1)
			var out, errs strings.Builder
			go func() { ended <- run(t.Context(), append(args, "--trace", name), strings.NewReader(""), &out, &errs) }()
			select {
			case code := <-ended:
				if code != exitRun || !strings.HasPrefix(errs.String(), "qnoded: the trace is not complete: write ") || !strings.Contains(errs.String(), "broken pipe") || out.String() == "" {
					t.Errorf("code %d: %s\n%s", code, errs.String(), out.String())
				}
			case <-time.After(time.Minute):
				t.Fatal("it goes on for ever")
			}
			if err := <-reader; err != nil {
				t.Error(err)
			}
		})
	}
}

// So does a network of processes, whose trace is written as it ends.
func TestMergePipe(t *testing.T) {
	from := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(from, []byte(strings.Repeat(`{"t":1,"node":"alice"}`+"\n", 20_000)), 0o600); err != nil { // more than a pipe holds
		t.Fatal(err)
	}
	name := pipe(t)
	reader := make(chan error, 1)
	go func() {
		_, err := readLine(name)
		reader <- err
	}()
	to, err := createTrace(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := mergeTraces(to, []string{from}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
	if err := <-reader; err != nil {
		t.Error(err)
	}
}
