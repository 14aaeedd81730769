package interop

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"qstack/node"
	"qstack/node/daemon"
	"qstack/qsocket"
)

// noticed is how soon programs must know of a dead process: a second of silence
// is its death, and the rest is for the news to travel.
const noticed = 1500 * time.Millisecond

// work is what two programs do with a socket until something breaks; each
// function is for one end, and returns what broke.
type work struct {
	head, tail func(ctx context.Context, n *qsocket.Node, c *qsocket.Conn) error
}

var (
	measuring = work{measureOn, measureOn}
	keeping   = work{keepOn, keepOn}
	sending   = work{sendOn, receiveOn}
)

func measureOn(ctx context.Context, _ *qsocket.Node, c *qsocket.Conn) error {
	_, err := c.Measure(ctx, 1_000_000, qsocket.FixedBasis(qsocket.Z))
	return err
}

func keepOn(ctx context.Context, _ *qsocket.Node, c *qsocket.Conn) error {
	for {
		pairs, err := c.Keep(ctx, 1)
		if err != nil {
			return err
		}
		pairs[0].Qubit.Free()
	}
}

func sendOn(ctx context.Context, n *qsocket.Node, c *qsocket.Conn) error {
	for {
		q, err := n.Qubit(ctx)
		if err != nil {
			return err
		}
		if err := c.SendQubit(ctx, q); err != nil {
			q.Free()
			return err
		}
	}
}

func receiveOn(ctx context.Context, _ *qsocket.Node, c *qsocket.Conn) error {
	for {
		q, err := c.ReceiveQubit(ctx)
		if err != nil {
			return err
		}
		q.Free()
	}
}

// busy makes two programs work. lost returns what both are told, which must come
// in time.
func (n *testNetwork) busy(from, to string, w work) (lost func() (headErr, tailErr error)) {
	n.t.Helper()
	ctx := testContext(n.t)
	a, b := n.open(from), n.open(to)
	head, tail, err := pair(ctx, a, b, 7)
	if err != nil {
		n.t.Fatal(err)
	}
	before := n.status(from).Pairs
	headDone, tailDone := make(chan error, 1), make(chan error, 1)
	go func() { headDone <- w.head(ctx, a, head) }()
	go func() { tailDone <- w.tail(ctx, b, tail) }()
	eventually(n.t, "pairs come", func() bool { return n.status(from).Pairs >= before+20 })
	return func() (headErr, tailErr error) {
		n.t.Helper()
		late := time.After(noticed)
		for range 2 {
			select {
			case headErr = <-headDone:
				headDone = nil
			case tailErr = <-tailDone:
				tailDone = nil
			case <-late:
				n.t.Fatalf("a program at %s or %s has heard nothing in %v", from, to, noticed)
			}
		}
		return headErr, tailErr
	}
}

// When the node between two programs is killed, both are told in time which one
// it is, no qubit stays, and pairs come again once it is back.
func TestKillMiddle(t *testing.T) {
	n := ions3(t)
	n.start()
	for _, c := range []struct {
		name string
		work work
	}{{"measuring", measuring}, {"keeping", keeping}, {"sending", sending}} {
		lost := n.busy("alice", "charlie", c.work)
		began := time.Now()
		n.kill("bob")
		headErr, tailErr := lost()
		t.Logf("%s: after %v: alice: %v; charlie: %v", c.name, time.Since(began).Round(time.Millisecond), headErr, tailErr)
		for _, err := range []error{headErr, tailErr} {
			if err == nil || !strings.Contains(err.Error(), "bob") {
				t.Errorf("%s: a program was told %v, which does not name bob", c.name, err)
			}
		}
		n.waitNoQubits()

		// Who dials meanwhile is told too.
		ctx := testContext(t)
		a, b := n.open("alice"), n.open("charlie")
		l, err := b.Listen(ctx, ":9")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Dial(ctx, l.Addr().String(), qsocket.Contract{}); err == nil || !strings.Contains(err.Error(), "bob") {
			t.Errorf("dialling without bob: %v", err)
		}
		l.Close()

		n.start("bob")
		n.waitTraffic("alice", "charlie")
		n.waitNoQubits()
	}
	n.stop()
}

// The same for an end: its own program loses its session, the other is told.
func TestKillEnd(t *testing.T) {
	n := ions3(t)
	n.start()
	lost := n.busy("alice", "charlie", measuring)
	began := time.Now()
	n.kill("charlie")
	headErr, tailErr := lost()
	t.Logf("after %v: alice: %v; charlie: %v", time.Since(began).Round(time.Millisecond), headErr, tailErr)
	for _, err := range []error{headErr, tailErr} {
		if err == nil || !strings.Contains(err.Error(), "charlie") {
			t.Errorf("a program was told %v, which does not name charlie", err)
		}
	}
	n.waitNoQubits()
	n.start("charlie")
	n.waitTraffic("alice", "charlie")
	n.waitNoQubits()
	n.stop()
}

// When the fabric is killed every qubit is gone, and all are told. It comes back
// empty, and the daemons attach to it by themselves.
func TestKillFabric(t *testing.T) {
	n := ions3(t)
	n.start()
	lost := n.busy("alice", "charlie", measuring)
	a := n.open("alice")
	ctx := testContext(t)
	q, err := a.Qubit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	n.kill(node.FabricName)
	headErr, tailErr := lost()
	t.Logf("after %v: alice: %v; charlie: %v", time.Since(began).Round(time.Millisecond), headErr, tailErr)
	for _, err := range []error{headErr, tailErr} {
		if err == nil || !strings.Contains(err.Error(), "fabric") {
			t.Errorf("a program was told %v, not that it is the fabric", err)
		}
	}
	if took := time.Since(began); took > noticed {
		t.Errorf("the programs were told after %v", took)
	}
	eventually(t, "alice knows that her hardware is gone", func() bool { return n.status("alice").Fabric != "" })
	if _, err := a.Qubit(ctx); err == nil || !strings.Contains(err.Error(), "fabric") {
		t.Errorf("a qubit without fabric: %v", err)
	}

	n.start(node.FabricName)
	// A handle of before is an error, not somebody else's qubit.
	q2, err := a.Qubit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if bit, err := q.Measure(ctx, qsocket.Z); err == nil {
		t.Errorf("a qubit of the fabric before was measured: %d", bit)
	}
	if bit, err := q2.Measure(ctx, qsocket.Z); err != nil {
		t.Errorf("a fresh qubit: %d, %v", bit, err)
	}
	n.waitTraffic("alice", "charlie")
	n.waitNoQubits()
	n.stop()
}

// A program that is killed leaves no qubit, and its peer is told.
func TestKillProgram(t *testing.T) {
	n := ions3(t)
	n.start()
	ctx := testContext(t)
	c := n.open("charlie")
	l, err := c.Listen(ctx, ":9")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(programVariable, "hold")
	p := start(t, n.dir, self, "alice", l.Addr().String())
	conn, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := conn.Keep(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	p.out.wait(t, "holding\n")
	at := func(name string) int {
		count := 0
		for _, q := range n.status(node.FabricName).Qubits {
			if q.Node == name {
				count++
			}
		}
		return count
	}
	if at("alice") != 1 || at("charlie") != 1 {
		t.Fatalf("%+v are in use", n.status(node.FabricName).Qubits)
	}

	began := time.Now()
	p.signal(syscall.SIGKILL)
	nctx, cancel := context.WithTimeout(ctx, noticed)
	defer cancel()
	if _, err := conn.Keep(nctx, 1); err == nil || !strings.Contains(err.Error(), "alice") {
		t.Errorf("the peer of a killed program was told %v", err)
	} else {
		t.Logf("after %v: charlie: %v", time.Since(began).Round(time.Millisecond), err)
	}
	eventually(t, "alice's qubit is free", func() bool { return at("alice") == 0 })
	if st := n.status("alice"); st.Sessions != 0 || len(st.Sockets) != 0 {
		t.Errorf("the daemon still has %d sessions, sockets %+v", st.Sessions, st.Sockets)
	}
	// The other half is charlie's, until its program lets go of it.
	if at("charlie") != 1 {
		t.Error("charlie has lost its half")
	}
	pairs[0].Qubit.Free()
	n.waitNoQubits()
	n.waitTraffic("alice", "charlie")
	n.stop()
}

// A daemon whose certificate comes from another authority is refused, and the
// log of both sides says why.
func TestStranger(t *testing.T) {
	n := ions3(t)
	n.configure("bob", *n.configs["bob"], newCA(t, n.scenario.Realm), "bob")
	n.start(node.FabricName, "alice")
	n.spawn("bob")
	// bob, who dials alice, sees her certificate first, and tells her that it will
	// not do.
	n.waitLog("bob", `peer=alice`)
	n.waitLog("bob", "signed by another authority")
	n.waitLog("alice", "refused the certificate of alice")
	n.waitLog("alice", "do both come from one authority?")
	n.waitLog(node.FabricName, "certificate of \\\"bob\\\": it was signed by another authority")
	for _, p := range []struct{ at, of string }{{"alice", "bob"}, {node.FabricName, "bob"}, {"bob", "alice"}} {
		i := slices.IndexFunc(n.status(p.at).Peers, func(q daemon.Peer) bool { return q.Name == p.of })
		if i < 0 || n.status(p.at).Peers[i].Up {
			t.Errorf("at %s, peers are %+v: %s should be there, and down", p.at, n.status(p.at).Peers, p.of)
		}
	}
	if st := n.status("bob"); st.Ready || slices.ContainsFunc(st.Peers, func(p daemon.Peer) bool { return p.Up }) {
		t.Errorf("the stranger has peers: %+v", st.Peers)
	}
	n.stop()
}

// A daemon with credentials that are not its own does not start at all.
func TestWrongCredentials(t *testing.T) {
	n := ions3(t)
	n.configure("bob", *n.configs["bob"], newCA(t, "elsewhere"), "bob")
	p := start(t, n.dir, qnodedBin, "run", filepath.Join(n.dir, "bob.toml"))
	if code := p.wait(t, patience); code == 0 || !strings.Contains(p.err.String(), "realm") {
		t.Errorf("exit code %d: %s", code, p.err.String())
	}
	if left, _ := filepath.Glob(filepath.Join(n.runtime(), "*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}
