package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"qstack/node/daemon"
	"qstack/node/scenario"
	"qstack/qnet/pki"
)

// Times that the launcher waits.
const (
	readyWithin  = 20 * time.Second // for all processes to see each other
	stopWithin   = 5 * time.Second  // for a process to stop by itself
	noticeWithin = time.Second      // for the end of a process to be noticed
	validity     = 24 * time.Hour   // of the certificates of a throw-away authority
)

// launchConfig says how to run a network of processes.
type launchConfig struct {
	scenario *scenario.Scenario
	source   []byte // of the scenario
	dir      string // holds everything that is to disappear with the network
	runtime  string // folder of the sockets; "" for one within dir
	faults   []string
	trace    *os.File // for the trace of all processes, closed with the network; nil for none
	log      io.Writer
	logLevel slog.Level
	binary   string // of qnoded; "" for this very program
}

// network is a scenario that runs as one process for the fabric and one for
// each node.
type network struct {
	scenario  *scenario.Scenario
	dir       string
	runtime   string
	trace     *os.File
	processes []*process
	failed    chan error // the first process that ends unasked
	stop      sync.Once
	stopErr   error // of close
}

// process is one of them.
type process struct {
	name   string // of the node, or the fabric
	config string // file
	cmd    *exec.Cmd
	alive  io.Closer // its standard input: it stops when this closes
	done   chan struct{}
	err    error // once done is closed: its failure while it stopped, as it was asked to
	output *tail
	asked  atomic.Bool // to stop
}

// launch starts the network and waits until all of its processes see each
// other. Whatever happens, close must be called on what it returns.
func launch(ctx context.Context, c launchConfig) (*network, error) {
	n := &network{scenario: c.scenario, dir: c.dir, runtime: c.runtime, trace: c.trace, failed: make(chan error, 1)}
	variable := "TMPDIR" // that decides where the sockets are
	if n.runtime == "" {
		n.runtime = filepath.Join(c.dir, "run")
	} else if os.Getenv("XDG_RUNTIME_DIR") != "" {
		variable = "XDG_RUNTIME_DIR"
	}
	// The processes take relative paths as relative to their configuration.
	for _, path := range []*string{&n.dir, &n.runtime} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return n, err
		}
		*path = abs
	}
	for _, name := range processNames(c.scenario) {
		if err := daemon.CheckSocket(daemon.ProgramPath(n.runtime, name)); err != nil {
			return n, fmt.Errorf("%w: set %s to a shorter folder", err, variable)
		}
	}
	if err := n.prepare(c); err != nil {
		return n, err
	}
	for _, p := range n.processes {
		if err := n.start(p, &c); err != nil {
			return n, err
		}
	}
	return n, n.waitReady(ctx)
}

// prepare writes the files that the processes start from.
func (n *network) prepare(c launchConfig) error {
	ca, err := pki.NewCA(c.scenario.Realm, validity)
	if err != nil {
		return badConfig(err)
	}
	addresses, err := freeAddresses(daemon.Names(c.scenario))
	if err != nil {
		return err
	}
	base := daemon.Config{Runtime: n.runtime, Addresses: addresses, Faults: c.faults}
	if c.trace != nil {
		base.Trace = traceFile
	}
	if err := writeProcesses(n.dir, c.scenario, c.source, ca, base); err != nil {
		return err
	}
	for _, name := range processNames(c.scenario) {
		n.processes = append(n.processes, &process{name: name, config: filepath.Join(n.dir, name, configFile)})
	}
	return nil
}

// traceOf returns the trace file of one process.
func (n *network) traceOf(name string) string { return filepath.Join(n.dir, name, traceFile) }

// Ports of UDP for the processes: below those that systems hand out by
// themselves, so that nobody gets one of them before its process has it.
const firstPort, ports = 20000, 12000

// freeAddresses finds a UDP port on loopback for each name.
func freeAddresses(names []string) (map[string]string, error) {
	addresses := make(map[string]string, len(names))
	at := rand.IntN(ports)
	for _, name := range names {
		var c net.PacketConn
		err := errors.New("there is none")
		for tries := 0; err != nil; tries++ {
			if tries == ports {
				return nil, fmt.Errorf("a free UDP port from %d to %d: %w", firstPort, firstPort+ports-1, err)
			}
			c, err = net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", firstPort+at))
			at = (at + 1) % ports
		}
		defer c.Close() // all are held until all are found
		addresses[name] = c.LocalAddr().String()
	}
	return addresses, nil
}

func (n *network) start(p *process, c *launchConfig) error {
	binary := c.binary
	if binary == "" {
		var err error
		if binary, err = os.Executable(); err != nil {
			return err
		}
	}
	args := []string{"run", "--stop-on-eof", "--log", c.logLevel.String()}
	if p == n.processes[0] { // one of them cleans up if this process is killed
		args = append(args, "--remove-on-eof", n.dir)
	}
	p.cmd = exec.Command(binary, append(args, p.config)...)
	if os.Getenv("GOMAXPROCS") == "" { // the machine is for all of them
		p.cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", max(1, runtime.GOMAXPROCS(0)/len(n.processes))))
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to handle
	p.output = &tail{out: c.log}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	alive, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	p.alive, p.done = alive, make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	go func() {
		err := p.cmd.Wait()
		ended := fmt.Errorf("%s (pid %d) ended: %v%s", p.name, p.cmd.Process.Pid, exitText(err), p.output.text())
		if !p.asked.Load() {
			select {
			case n.failed <- ended:
			default:
			}
		} else if p.cmd.ProcessState.ExitCode() > 0 { // and not by a signal
			p.err = ended
		}
		close(p.done)
	}()
	return nil
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// waitReady waits until every process says that it sees its peers.
func (n *network) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, errors.New("the processes did not find each other in time"))
	defer cancel()
	for _, p := range n.processes {
		for {
			st, err := daemon.FetchStatus(ctx, daemon.ControlPath(n.runtime, p.name))
			if err == nil && st.PID != p.cmd.Process.Pid {
				return fmt.Errorf("network %s runs on this machine already: its %s is process %d; stop that network first, or use it", n.scenario.Name, p.name, st.PID)
			}
			if err == nil && st.Ready {
				break
			}
			select {
			case err := <-n.failed:
				return err
			case <-ctx.Done():
				return fmt.Errorf("waiting for %s: %w%s", p.name, context.Cause(ctx), p.output.text())
			case <-time.After(20 * time.Millisecond): // nothing tells but the answer; readyWithin at most
			}
		}
	}
	return nil
}

// status asks every process for its status.
func (n *network) status(ctx context.Context) ([]daemon.Status, error) {
	var all []daemon.Status
	for _, p := range n.processes {
		st, err := daemon.FetchStatus(ctx, daemon.ControlPath(n.runtime, p.name))
		if err != nil {
			return nil, err
		}
		all = append(all, *st)
	}
	return all, nil
}

// close stops all processes and removes everything. It fails when the trace could
// not be written, and says so again when called again.
func (n *network) close() error {
	n.stop.Do(func() {
		for _, p := range n.processes {
			if p.done == nil {
				continue
			}
			p.asked.Store(true)
			_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by now
		}
		late := time.After(stopWithin)
		for _, p := range n.processes {
			if p.done == nil {
				continue
			}
			select {
			case <-p.done:
			case <-late:
				slog.Warn("killing a process that does not stop", "name", p.name, "pid", p.cmd.Process.Pid)
				_ = p.cmd.Process.Kill() // it may have ended by now
				<-p.done
			}
		}
		for _, p := range n.processes {
			removeDead(daemon.ControlPath(n.runtime, p.name))
			removeDead(daemon.ProgramPath(n.runtime, p.name))
		}
		removeRuntime(n.runtime)
		if n.trace != nil {
			n.stopErr = traceError(n.writeTrace())
		}
		if err := os.RemoveAll(n.dir); err != nil {
			slog.Warn("removing the network's files", "err", err)
		}
	})
	return n.stopErr
}

// writeTrace writes the traces of all processes, which have ended, as one. A
// process that could not write its own has said so as it ended.
func (n *network) writeTrace() error {
	var traces []string
	var errs []error
	for _, p := range n.processes {
		traces = append(traces, n.traceOf(p.name))
		errs = append(errs, p.err)
	}
	return errors.Join(append(errs, mergeTraces(n.trace, traces))...)
}

// removeDead removes the socket of a process that was killed. One that somebody
// serves stays: the same network may run already, which is why this one did not
// start.
func removeDead(path string) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return
	}
	_ = os.Remove(path) // it is gone when the process stopped in good order
}

// removeRuntime removes the folder of a network's sockets and the one that it
// lies in, unless there is something in them.
func removeRuntime(dir string) {
	_ = os.Remove(dir) // fails, as it should, when others have sockets there
	_ = os.Remove(filepath.Dir(dir))
}

// tail passes a process's output on, if it is wanted, and keeps the end of it.
type tail struct {
	mu  sync.Mutex
	out io.Writer
	buf []byte
}

const tailSize = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*tailSize {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailSize:]...)
	}
	if t.out != nil {
		if _, err := t.out.Write(b); err != nil {
			t.out = nil // nobody reads it any more
		}
	}
	return len(b), nil
}

// text returns the end of the output, for an error.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := bytes.TrimSpace(t.buf)
	if len(b) == 0 {
		return ""
	}
	return "; its last words:\n" + string(b)
}
