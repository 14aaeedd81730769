package interop

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"qstack/node"
	"qstack/qnet"
	"qstack/qsocket"
)

// The doctor finds what keeps pairs from coming: each of the causes is provoked.
func TestDoctor(t *testing.T) {
	n := ions3(t)
	n.start()
	ctx := testContext(t)
	alice, charlie := n.open("alice"), n.open("charlie")

	// Nobody asks.
	n.doctor("alice", "charlie", "no program has a socket between alice and charlie")
	n.doctor("alice", "nobody", "nobody", "no daemon of that name")
	n.doctor("alice", node.FabricName, node.FabricName+": it is no node", "name two of the nodes: alice, bob, charlie")

	// Nobody accepts.
	l, err := charlie.Listen(ctx, ":7")
	if err != nil {
		t.Fatal(err)
	}
	head, err := alice.Dial(ctx, "charlie:7", qsocket.Contract{})
	if err != nil {
		t.Fatal(err)
	}
	n.doctor("alice", "charlie", "charlie:", "queued", "accept")
	tail, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}

	// A request that its program has withdrawn is forgotten at the other end too,
	// when the news has come.
	waitForgotten := func() {
		t.Helper()
		eventually(t, "the requests are forgotten", func() bool {
			for _, name := range []string{"alice", "charlie"} {
				for _, s := range n.status(name).Sockets {
					if len(s.Here)+len(s.There) > 0 {
						return false
					}
				}
			}
			return true
		})
	}

	// One side has not posted, this one or that.
	for _, c := range []struct {
		asks, other string
		conn, peer  *qsocket.Conn
	}{{"alice", "charlie", head, tail}, {"charlie", "alice", tail, head}} {
		cctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			_, err := c.conn.Measure(cctx, 3, qsocket.FixedBasis(qsocket.Z))
			done <- err
		}()
		for _, from := range []string{"alice", "charlie"} { // whoever asks the doctor
			to := "charlie"
			if from == to {
				to = "alice"
			}
			n.doctor(from, to, c.other+":", "the program at "+c.other+" has not asked for 3 pairs (measure)", "make the program at "+c.other+" ask")
		}
		asks, other := n.status(c.asks), n.status(c.other)
		if len(asks.Sockets) != 1 || len(asks.Sockets[0].Here) != 1 || asks.Sockets[0].Here[0].Matched || len(asks.Sockets[0].There) != 0 {
			t.Errorf("status of %s, which asks: %+v", c.asks, asks.Sockets)
		}
		if len(other.Sockets) != 1 || len(other.Sockets[0].Here) != 0 || len(other.Sockets[0].There) != 1 || other.Sockets[0].There[0].Pairs != 3 {
			t.Errorf("status of %s, which is asked: %+v", c.other, other.Sockets)
		}
		cancel()
		if err := <-done; err == nil {
			t.Error("a request was met that the other side did not make")
		}
		waitForgotten()
	}

	// Both ask, for different things.
	cctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 2)
	go func() {
		_, err := head.Measure(cctx, 3, qsocket.FixedBasis(qsocket.Z))
		done <- err
	}()
	go func() {
		_, err := tail.ReceiveQubit(cctx)
		done <- err
	}()
	n.doctor("alice", "charlie", "different things", "3 pairs (measure) at alice", "at charlie")
	cancel()
	for range 2 {
		if err := <-done; err == nil {
			t.Error("requests for different things were met")
		}
	}
	waitForgotten()

	// While pairs come, no memory is said to be full, though each is again and again.
	stopped := make(chan struct{})
	cctx, cancel = context.WithCancel(ctx)
	go func() {
		defer close(stopped)
		for cctx.Err() == nil {
			if headErr, tailErr := measure(cctx, head, tail, 700); cctx.Err() == nil && (headErr != nil || tailErr != nil) {
				t.Error(headErr, tailErr)
				return
			}
		}
	}()
	noShortage := func(when string) {
		t.Helper()
		for _, p := range n.diagnose("alice", "charlie") {
			if strings.Contains(p.What, "memory full") || strings.Contains(p.What, "takes no pairs") {
				t.Errorf("%s: %+v", when, p)
			}
		}
	}
	began := n.status("alice").Pairs
	eventually(t, "pairs come", func() bool { return n.status("alice").Pairs > began })
	for range 15 {
		noShortage("pairs come")
	}
	cancel()
	<-stopped
	waitForgotten()

	// A memory is full: the one communication qubit at each end holds a pair.
	both := func(ctx context.Context, n int) (a, b []*qsocket.Pair, errA, errB error) {
		got := make(chan struct{})
		go func() {
			b, errB = tail.Keep(ctx, n)
			close(got)
		}()
		a, errA = head.Keep(ctx, n)
		<-got
		return a, b, errA, errB
	}
	a, b, errA, errB := both(ctx, 1)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	noShortage("nobody asks for more than it holds")
	cctx, cancel = context.WithCancel(ctx)
	go func() {
		a, b, errA, errB := both(cctx, 1)
		for _, p := range append(a, b...) {
			p.Qubit.Free()
		}
		done <- errA
		done <- errB
	}()
	p := n.doctor("alice", "charlie", "memory full: all 1 communication qubits of link")
	if p.Where != "alice" && p.Where != "charlie" {
		t.Errorf("the full memory is said to be at %s", p.Where)
	}
	// Once one of them lets go, the other is to blame.
	a[0].Qubit.Free()
	n.doctor("alice", "charlie", "charlie: memory full: all 1 communication qubits of link bob-charlie are in use")
	b[0].Qubit.Free()
	for range 2 { // now the second pair comes
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	cancel()

	// So it is in the way of pairs that are measured at once, as neighbours do.
	bob := n.open("bob")
	if head, tail, errA = pair(ctx, alice, bob, 8); errA != nil {
		t.Fatal(errA)
	}
	if a, b, errA, errB = both(ctx, 1); errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	go func() {
		errA, errB := measure(ctx, head, tail, 5)
		done <- errA
		done <- errB
	}()
	n.doctor("alice", "bob", "memory full: all 1 communication qubits of link alice-bob are in use; programs at", "hold 1")
	a[0].Qubit.Free()
	b[0].Qubit.Free()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}

	// A daemon does not answer.
	n.running["bob"].signal(syscall.SIGSTOP)
	p = n.doctor("alice", "charlie", "bob", "does not answer")
	n.running["bob"].signal(syscall.SIGCONT)
	n.waitReady()

	// A daemon is dead: the links to it are down, and it is named first.
	n.kill("bob")
	n.doctor("alice", "charlie", "bob: the daemon does not answer", "start it again")
	n.doctor("alice", "charlie", "alice: link alice-bob is down: bob is not answering")
	n.doctor("alice", "charlie", "charlie: link bob-charlie is down: bob is not answering")
	table := qnoded(t, n.dir, "status")
	for _, text := range []string{"waits for bob", "link alice-bob is down: bob is not answering", "no answer"} {
		if !strings.Contains(table, text) {
			t.Errorf("the table does not say %q:\n%s", text, table)
		}
	}
	n.start("bob")

	// The hardware is gone.
	n.kill(node.FabricName)
	n.doctor("alice", "charlie", "alice: its quantum hardware is gone", "start the fabric")
	n.start(node.FabricName)
	n.stop()
}

// The link that is down is named also when all processes are well, and only the
// way to a station is lost.
func TestDoctorFindsLink(t *testing.T) {
	n := ions3(t)
	const station = "alice-bob.station"
	nowhere := freeAddresses(t, []string{"a", "b"})
	n.configs["alice"].Addresses = with(n.configs["alice"].Addresses, station, nowhere["a"])
	n.rewrite("alice")
	// Whoever has the lower identity dials: alice, or the station in the fabric's
	// process. The fabric itself is dialled by alice.
	n.configs[node.FabricName].Addresses = with(n.configs[node.FabricName].Addresses, "alice", nowhere["b"])
	n.rewrite(node.FabricName)
	if id := func(name string) qnet.NodeID { return qnet.NewNodeID(n.scenario.Realm, name) }; id("alice") > id(node.FabricName) {
		t.Fatal("the fabric would dial alice: choose another realm")
	}
	for name := range n.configs {
		n.spawn(name)
	}
	eventually(t, "all but one connection are up", func() bool {
		for name, down := range map[string]int{"alice": 1, "bob": 0, "charlie": 0, node.FabricName: 0} {
			st, err := n.ask(name)
			if err != nil {
				return false
			}
			for _, p := range st.Peers {
				if !p.Up {
					down--
				}
			}
			if down != 0 {
				return false
			}
		}
		return true
	})
	n.doctor("alice", "charlie", "alice: link alice-bob is down: its station", "is not answering")
	ctx := testContext(t)
	if _, err := n.open("alice").Dial(ctx, "charlie:7", qsocket.Contract{}); err == nil {
		t.Error("a circuit over a link that is down")
	}
	// The other link is well, and takes no part in this.
	for _, p := range n.diagnose("bob", "charlie") {
		if !strings.Contains(p.What, "no program has a socket") {
			t.Errorf("between bob and charlie: %+v", p)
		}
	}
	n.waitTraffic("bob", "charlie")
	n.stop()
}
