package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"qstack/node"
	"qstack/node/daemon"
	"qstack/node/scenario"
	"qstack/qnet/pki"
	"qstack/qsocket"
	"qstack/scenarios"
)

// patience is how long tests wait for what should come at once, on a machine
// that has other things to do.
const patience = 15 * time.Second

// eventually waits until f holds, for patience at most. It asks again and again:
// f is about other processes, which announce nothing, but answer when asked.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// testContext bounds everything that a test does through sockets.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// place makes a folder in which processes keep all their files. Its path is
// short, as unix sockets want, and nothing of theirs runs when the test is over.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "qi-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Those whose launcher a failed test has killed are about to end, in patience
		// at most. They are nobody's children here, so there is nothing to wait on.
		for deadline := time.Now().Add(patience); t.Failed() && time.Now().Before(deadline) && len(processesIn(t, dir)) > 0; {
			time.Sleep(10 * time.Millisecond)
		}
		for _, pid := range processesIn(t, dir) {
			t.Errorf("process %d is left", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// environment makes a process keep its files and sockets in dir.
func environment(dir string) []string {
	keep := func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains([]string{"TMPDIR", "XDG_RUNTIME_DIR", "QNET_NETWORK"}, name)
	}
	var env []string
	for _, v := range os.Environ() {
		if keep(v) {
			env = append(env, v)
		}
	}
	return append(env, "TMPDIR="+dir, "XDG_RUNTIME_DIR="+dir)
}

// processesIn returns the processes whose environment is that of dir.
func processesIn(t *testing.T, dir string) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(files) == 0 {
		t.Fatalf("these tests need /proc: %v", err)
	}
	var pids []int
	for _, f := range files {
		env, err := os.ReadFile(f)
		if err != nil { // of another user, or gone
			continue
		}
		var pid int
		if slices.Contains(strings.Split(string(env), "\x00"), "TMPDIR="+dir) {
			if _, err := fmt.Sscanf(f, "/proc/%d/", &pid); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// leftIn returns everything below dir, if it is there, that is not a folder.
func leftIn(t *testing.T, dir string) []string {
	t.Helper()
	var left []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left = append(left, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return left
}

// process is a running program.
type process struct {
	name string
	cmd  *exec.Cmd
	out  log // standard output
	err  log
	done chan struct{}
}

// log is what a process has said so far.
type log struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // closed by the next Write; nil when nobody waits
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return l.buf.Write(b)
}

// wait waits until text has been said, for patience at most.
func (l *log) wait(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		l.mu.Lock()
		said := strings.Contains(l.buf.String(), text)
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		if said {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("waited in vain for %q to be said", text)
		}
	}
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start runs a program that keeps its files in dir.
func start(t *testing.T, dir, bin string, args ...string) *process {
	t.Helper()
	// What the programs are made of, beside what this package imports, decides
	// whether an earlier result of the tests still holds: "go test" takes note of
	// the files that tests look at.
	for _, source := range []string{"../cmd/qnoded", "../examples/teleport", "../app/verify", "../app/expect"} {
		if _, err := os.ReadDir(source); err != nil {
			t.Fatal(err)
		}
	}
	p := &process{name: filepath.Base(bin) + " " + strings.Join(args, " "), cmd: exec.Command(bin, args...), done: make(chan struct{})}
	p.cmd.Env = environment(dir)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState says it
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
		if text := p.err.String(); t.Failed() && text != "" {
			lines := strings.SplitAfter(text, "\n")
			t.Logf("%s said last:\n%s", p.name, strings.Join(lines[max(0, len(lines)-20):], ""))
		}
	})
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// signal sends a signal to a process, unless it has ended.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// wait waits for the end of a process and returns its exit code.
func (p *process) wait(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		t.Fatalf("%s has not ended within %v", p.name, within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// qnoded runs a command to its end and returns its standard output.
func qnoded(t *testing.T, dir string, args ...string) string {
	t.Helper()
	p := start(t, dir, qnodedBin, args...)
	if code := p.wait(t, patience); code != 0 {
		t.Fatalf("%s: exit code %d: %s", p.name, code, p.err.String())
	}
	return p.out.String()
}

// testNetwork is a network of processes, each started from a configuration file
// of its own by "qnoded run", so that each can be killed and started again.
type testNetwork struct {
	t        *testing.T
	dir      string
	scenario *scenario.Scenario
	configs  map[string]*daemon.Config
	ca       *pki.CA
	running  map[string]*process
}

// starting is held while a launcher chooses ports, until its processes have bound
// them, so that no two launchers choose the same.
var starting sync.Mutex

// newNetwork writes the files of a network. Nothing runs yet.
func newNetwork(t *testing.T, source []byte) *testNetwork {
	t.Helper()
	s, err := scenario.Parse("scenario.toml", source)
	if err != nil {
		t.Fatal(err)
	}
	n := &testNetwork{t: t, dir: place(t), scenario: s, configs: make(map[string]*daemon.Config), running: make(map[string]*process)}
	n.write("scenario.toml", source)
	n.ca = newCA(t, s.Realm)
	addresses := freeAddresses(t, daemon.Names(s))
	base := daemon.Config{Version: 1, Scenario: "scenario.toml", Addresses: addresses}
	c := base
	c.Role = daemon.RoleFabric
	names := []string{node.FabricName}
	for i := range s.Links {
		names = append(names, node.StationName(&s.Links[i]))
	}
	n.configure(node.FabricName, c, n.ca, names...)
	for i := range s.Nodes {
		c := base
		c.Role, c.Name = daemon.RoleNode, s.Nodes[i].Name
		n.configure(c.Name, c, n.ca, c.Name)
	}
	return n
}

func newCA(t *testing.T, realm string) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA(realm, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// ions3 is the network of the demo.
func ions3(t *testing.T) *testNetwork {
	t.Helper()
	source, err := scenarios.Files.ReadFile("ions3.toml")
	if err != nil {
		t.Fatal(err)
	}
	return newNetwork(t, source)
}

func (n *testNetwork) write(name string, data []byte) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), data, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// with returns a copy of a map with one more value, or another.
func with(m map[string]string, key, value string) map[string]string {
	c := maps.Clone(m)
	c[key] = value
	return c
}

// holdPorts holds starting until n files match pattern.
func holdPorts(t *testing.T, pattern string, n int) (wait func()) {
	starting.Lock()
	return func() {
		t.Helper()
		defer starting.Unlock()
		eventually(t, fmt.Sprintf("%d files %s", n, pattern), func() bool {
			found, err := filepath.Glob(pattern)
			return err == nil && len(found) == n
		})
	}
}

// configure writes the configuration and the credentials of a process.
func (n *testNetwork) configure(process string, c daemon.Config, ca *pki.CA, identities ...string) {
	n.t.Helper()
	c.Credentials = "credentials-" + process
	dir := filepath.Join(n.dir, c.Credentials)
	if err := os.RemoveAll(dir); err != nil {
		n.t.Fatal(err)
	}
	for _, name := range identities {
		cred, err := ca.Issue(name, daemon.RoleOf(n.scenario, name))
		if err == nil {
			err = cred.Save(dir)
		}
		if err != nil {
			n.t.Fatal(err)
		}
	}
	n.configs[process] = &c
	n.rewrite(process)
}

// rewrite writes the configuration of a process after a change.
func (n *testNetwork) rewrite(process string) {
	n.t.Helper()
	data, err := toml.Marshal(n.configs[process])
	if err != nil {
		n.t.Fatal(err)
	}
	n.write(process+".toml", data)
}

// freeAddresses finds a UDP address that nobody uses for each name.
func freeAddresses(t *testing.T, names []string) map[string]string {
	t.Helper()
	m := make(map[string]string)
	for _, name := range names {
		m[name] = loopback(freePorts(t, 1))
	}
	return m
}

// freePorts finds n UDP ports in a row that nobody uses, and that nobody will
// meanwhile: they are below those of the launcher and of the system. It returns
// the first.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for {
		first := 15001 + int(nextPort.Add(int32(n))) - n
		if first+n > 20000 {
			t.Fatal("no free UDP ports")
		}
		free := 0
		for ; free < n; free++ {
			c, err := net.ListenPacket("udp", loopback(first+free))
			if err != nil {
				break
			}
			c.Close()
		}
		if free == n {
			return first
		}
	}
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// nextPort says where to look for a port: no two networks get the same.
var nextPort atomic.Int32

// start runs processes, all of them by default, and waits until those that run
// see each other.
func (n *testNetwork) start(names ...string) {
	n.t.Helper()
	if len(names) == 0 {
		for name := range n.configs {
			names = append(names, name)
		}
	}
	for _, name := range names {
		n.spawn(name)
	}
	n.waitReady()
}

// spawn runs a process and waits for nothing.
func (n *testNetwork) spawn(name string) {
	n.t.Helper()
	n.running[name] = start(n.t, n.dir, qnodedBin, "run", filepath.Join(n.dir, name+".toml"))
}

// waitReady waits until the processes that run see each other.
func (n *testNetwork) waitReady() {
	n.t.Helper()
	owner := func(name string) string { // of an identity
		if strings.HasSuffix(name, ".station") {
			return node.FabricName
		}
		return name
	}
	eventually(n.t, "the processes see each other", func() bool {
		for name := range n.running {
			st, err := n.ask(name)
			if err != nil || st.Fabric != "" {
				return false
			}
			for _, p := range st.Peers {
				if n.running[owner(p.Name)] != nil && !p.Up {
					return false
				}
			}
		}
		return true
	})
}

// kill ends a process as kill -9 does.
func (n *testNetwork) kill(name string) {
	n.t.Helper()
	p := n.running[name]
	p.signal(syscall.SIGKILL)
	p.wait(n.t, patience)
	delete(n.running, name)
}

// runtime is the folder of the sockets.
func (n *testNetwork) runtime() string { return filepath.Join(n.dir, "qnet", n.scenario.Name) }

func (n *testNetwork) ask(name string) (*daemon.Status, error) {
	return daemon.FetchStatus(n.t.Context(), daemon.ControlPath(n.runtime(), name))
}

// status asks a process that should answer.
func (n *testNetwork) status(name string) *daemon.Status {
	n.t.Helper()
	st, err := n.ask(name)
	if err != nil {
		n.t.Fatal(err)
	}
	return st
}

// waitLog waits until a process has said something.
func (n *testNetwork) waitLog(name, text string) {
	n.t.Helper()
	n.running[name].err.wait(n.t, text)
}

// waitNoQubits waits until no qubit of the network is in use.
func (n *testNetwork) waitNoQubits() {
	n.t.Helper()
	eventually(n.t, "no qubit is left", func() bool { return len(n.status(node.FabricName).Qubits) == 0 })
}

// diagnose runs qnoded doctor.
func (n *testNetwork) diagnose(from, to string) (problems []daemon.Problem) {
	n.t.Helper()
	out := qnoded(n.t, n.dir, "doctor", "--from", from, "--to", to, "--json")
	if err := json.Unmarshal([]byte(out), &problems); err != nil {
		n.t.Fatalf("%v in %q", err, out)
	}
	return problems
}

// doctor runs qnoded doctor until it says something that has all of texts in one
// problem, which it returns, for patience at most: what is wrong takes a while to
// be noticed, and the doctor only knows what processes have noticed.
func (n *testNetwork) doctor(from, to string, texts ...string) (found daemon.Problem) {
	n.t.Helper()
	var last []daemon.Problem
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		last = n.diagnose(from, to)
		for _, p := range last {
			all := fmt.Sprintf("%s: %s: %s", p.Where, p.What, p.Do)
			if !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(all, s) }) {
				return p
			}
		}
	}
	n.t.Fatalf("no problem with %q among %+v", texts, last)
	return found
}

// open opens a session of a program.
func (n *testNetwork) open(name string) *qsocket.Node {
	n.t.Helper()
	node, err := qsocket.Open(testContext(n.t), name, qsocket.Options{Path: daemon.ProgramPath(n.runtime(), name), Program: "test"})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { node.Close() })
	return node
}

// pair connects two programs on the given port.
func pair(ctx context.Context, from, to *qsocket.Node, port int) (head, tail *qsocket.Conn, err error) {
	l, err := to.Listen(ctx, fmt.Sprintf(":%d", port))
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	head, err = from.Dial(ctx, l.Addr().String(), qsocket.Contract{})
	if err != nil {
		return nil, nil, err
	}
	tail, err = l.Accept(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, head.Close())
	}
	return head, tail, nil
}

// measure takes pairs at both ends of a socket and returns how each of them
// ended.
func measure(ctx context.Context, head, tail *qsocket.Conn, pairs int) (headErr, tailErr error) {
	var both sync.WaitGroup
	ask := func(c *qsocket.Conn, err *error) {
		both.Go(func() {
			o, e := c.Measure(ctx, pairs, qsocket.FixedBasis(qsocket.Z))
			if e == nil && o.Len() != pairs {
				e = fmt.Errorf("%d pairs came, not %d", o.Len(), pairs)
			}
			*err = e
		})
	}
	ask(head, &headErr)
	ask(tail, &tailErr)
	both.Wait()
	return headErr, tailErr
}

// waitTraffic waits until pairs come between two nodes, for programs that dial
// anew, in patience at most. Only a try tells whether dialling works again.
func (n *testNetwork) waitTraffic(from, to string) {
	n.t.Helper()
	var last error
	deadline := time.Now().Add(patience)
	try := func() error {
		ctx, cancel := context.WithDeadline(n.t.Context(), deadline)
		defer cancel()
		a, b := n.open(from), n.open(to)
		defer a.Close()
		defer b.Close()
		head, tail, err := pair(ctx, a, b, 77)
		if err != nil {
			return err
		}
		return errors.Join(measure(ctx, head, tail, 20))
	}
	for last = try(); last != nil; last = try() {
		if time.Now().After(deadline) {
			n.t.Fatalf("no pairs between %s and %s: %v; the doctor says: %s", from, to, last, qnoded(n.t, n.dir, "doctor", "--from", from, "--to", to))
		}
		// Other processes find each other anew and do not say when: a try is all that
		// tells, until the deadline.
		time.Sleep(20 * time.Millisecond)
	}
}

// stop ends all processes in good order, which must leave nothing.
func (n *testNetwork) stop() {
	n.t.Helper()
	for _, p := range n.running {
		p.signal(syscall.SIGTERM)
	}
	for name, p := range n.running {
		if code := p.wait(n.t, patience); code != 0 {
			n.t.Errorf("%s ended with exit code %d", name, code)
		}
		for _, path := range []string{daemon.ControlPath(n.runtime(), name), daemon.ProgramPath(n.runtime(), name)} {
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				n.t.Errorf("%s left %s", name, path)
			}
		}
	}
	clear(n.running)
}
