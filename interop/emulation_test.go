package interop

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"qstack/node"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/oracle"
	"qstack/physical/remote"
	"qstack/qnet"
	"qstack/qnet/control/quic"
	"qstack/qnet/event"
	"qstack/qnet/pki"
)

// realm is that of emulations.
const realm = "emulation"

// nodeID returns the identity of a node of an emulation.
func nodeID(t testing.TB, name string) qnet.NodeID {
	t.Helper()
	id, err := pki.NewIdentity(realm, pki.RoleNode, name)
	if err != nil {
		t.Fatal(err)
	}
	return id.ID
}

// emulation is a fabric behind QUIC on loopback, its nodes and its observer. Each
// has a loop, a socket and a key of its own, as in processes of their own.
type emulation struct {
	t        testing.TB
	cfg      fabric.Config
	ca       *pki.CA
	host     *party
	world    *fabric.Fabric   // used on the host's loop
	lost     chan qnet.NodeID // those whose qubits the fabric has traced out
	nodes    []*remoteNode    // as in cfg
	observer *party
	oracle   *oracle.Client // used on the observer's loop
}

// party is a loop and an endpoint.
type party struct {
	*event.Real
	name string
	end  *quic.Endpoint
}

// remoteNode is a node and its device.
type remoteNode struct {
	*party
	t       testing.TB
	device  *remote.Client // used on the loop
	changes chan error     // what the device told of itself
	relay   *relay         // what lies between it and the fabric, if not nil
}

// newEmulation makes an emulation, nothing of which is connected.
func newEmulation(t testing.TB, cfg fabric.Config) *emulation {
	t.Helper()
	ca, err := pki.NewCA(realm, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	e := &emulation{t: t, cfg: cfg, ca: ca, lost: make(chan qnet.NodeID, 64)}
	e.open("")
	for i := range cfg.Nodes {
		e.nodes = append(e.nodes, e.node(i, ""))
	}
	e.observer = e.party(node.ObserverName, pki.RoleOracle, "")
	e.introduce(e.observer, quic.Peer{Name: node.FabricName, Addr: e.host.addr()})
	e.oracle = oracle.NewClient(e.host.end.ID(), node.FabricName, e.observer.end, e.observer)
	return e
}

// party makes somebody with a new key. It is closed with the test.
func (e *emulation) party(name string, role pki.Role, listen string) *party {
	e.t.Helper()
	cred, err := e.ca.Issue(name, role)
	if err != nil {
		e.t.Fatal(err)
	}
	loop := event.NewReal(event.RealConfig{})
	end, err := quic.New(quic.Config{Credential: cred, Loop: loop, Listen: listen})
	if err != nil {
		e.t.Fatal(errors.Join(err, loop.Close()))
	}
	p := &party{loop, name, end}
	e.t.Cleanup(func() { e.die(p) })
	return p
}

func (p *party) addr() string { return p.end.Addr().String() }

// die ends a party, as the end of its process does. It may be dead already.
func (e *emulation) die(p *party) {
	e.t.Helper()
	if err := errors.Join(p.end.Close(), p.Close()); err != nil {
		e.t.Error(err)
	}
}

// introduce lets p know a peer.
func (e *emulation) introduce(p *party, peer quic.Peer) {
	e.t.Helper()
	if err := p.end.SetPeer(peer); err != nil {
		e.t.Fatal(err)
	}
}

// open makes a fabric, with the servers for its nodes and its observer.
func (e *emulation) open(listen string) {
	e.t.Helper()
	e.host = e.party(node.FabricName, pki.RoleFabric, listen)
	e.introduce(e.host, quic.Peer{Name: node.ObserverName})
	observer, err := pki.NewIdentity(realm, pki.RoleOracle, node.ObserverName)
	if err != nil {
		e.t.Fatal(err)
	}
	err = ask(e.t, e.host.Real, func(done func(error)) {
		w, err := fabric.New(e.cfg, e.host, nil)
		if err == nil {
			e.world = w
			remote.NewServer(watched{w, e.lost}, e.host.end, e.host, nil)
			oracle.NewServer(w, observer.ID, e.host.end, e.host, nil)
		}
		done(err)
	})
	if err != nil {
		e.t.Fatal(err)
	}
}

// watched is a fabric that tells whom it has disconnected.
type watched struct {
	*fabric.Fabric
	lost chan<- qnet.NodeID
}

func (w watched) Disconnect(n qnet.NodeID) {
	w.Fabric.Disconnect(n)
	w.lost <- n
}

// node makes the process of node i.
func (e *emulation) node(i int, listen string) *remoteNode {
	e.t.Helper()
	c := &e.cfg.Nodes[i]
	n := &remoteNode{party: e.party(c.Name, pki.RoleNode, listen), t: e.t, changes: make(chan error, 64)}
	n.device = remote.NewClient(remote.Config{Name: c.Name, Fabric: e.host.end.ID(), FabricName: node.FabricName, Spec: &c.Spec}, n.end, n, nil)
	n.device.OnChange(func(err error) { n.changes <- err })
	return n
}

// start connects all and waits until the nodes are attached.
func (e *emulation) start() {
	e.t.Helper()
	for _, n := range e.nodes {
		e.showFabric(n)
		e.showNode(n)
	}
	e.host.end.Start()
	e.observer.end.Start()
	for _, n := range e.nodes {
		n.end.Start()
	}
	for _, n := range e.nodes {
		n.attached()
	}
}

// showFabric tells a node of the fabric.
func (e *emulation) showFabric(n *remoteNode) {
	e.t.Helper()
	addr := e.host.addr()
	if n.relay != nil {
		_, addr = n.relay.addrs()
	}
	e.introduce(n.party, quic.Peer{Name: node.FabricName, Addr: addr, Neighbour: true})
}

// showNode tells the fabric of a node.
func (e *emulation) showNode(n *remoteNode) {
	e.t.Helper()
	addr := n.addr()
	if n.relay != nil {
		addr, _ = n.relay.addrs()
	}
	e.introduce(e.host, quic.Peer{Name: n.name, Addr: addr, Neighbour: true})
}

// restart ends the fabric's process and starts another in its place.
func (e *emulation) restart() {
	e.t.Helper()
	e.die(e.host)
	e.cfg.ID++
	e.open(e.host.addr())
	for _, n := range e.nodes {
		e.showNode(n)
	}
	e.host.end.Start()
}

// replace starts another process of node i in place of one that died.
func (e *emulation) replace(i int) *remoteNode {
	e.t.Helper()
	e.nodes[i] = e.node(i, e.nodes[i].addr())
	e.showFabric(e.nodes[i])
	e.nodes[i].end.Start()
	return e.nodes[i]
}

// change returns what the device tells next of itself.
func (n *remoteNode) change() error {
	n.t.Helper()
	return await(n.t, n.changes, "news of "+n.name+"'s device")
}

// attached waits until the device is usable.
func (n *remoteNode) attached() {
	n.t.Helper()
	for n.change() != nil {
	}
}

// do executes an operation and waits for the result.
func (n *remoteNode) do(op physical.Op) physical.Result {
	n.t.Helper()
	return ask(n.t, n.Real, func(done func(physical.Result)) { n.device.Do(op, done) })
}

// must is do for an operation that must succeed.
func (n *remoteNode) must(op physical.Op) physical.Result {
	n.t.Helper()
	r := n.do(op)
	if r.Err != nil {
		n.t.Fatal(r.Err)
	}
	return r
}

// ledger returns what the observer is told.
func (e *emulation) ledger() []oracle.Allocation {
	e.t.Helper()
	return ask(e.t, e.observer.Real, func(done func([]oracle.Allocation)) {
		e.oracle.Ledger(func(_ qnet.Time, list []oracle.Allocation, err error) {
			if err != nil {
				e.t.Error(err)
			}
			done(list)
		})
	})
}

// seen is a joint state as the observer is told it.
type seen struct {
	at  qnet.Time
	rho []complex128
	err error
}

// density returns the joint state of some qubits.
func (e *emulation) density(qs ...physical.Qubit) seen {
	e.t.Helper()
	return ask(e.t, e.observer.Real, func(done func(seen)) {
		e.oracle.Density(qs, func(at qnet.Time, rho []complex128, err error) { done(seen{at, rho, err}) })
	})
}

// stations makes the station of each link herald a pair soon after both ends are
// armed. told is called on the fabric's loop.
func (e *emulation) stations(rng *rand.Rand, told func(*step)) {
	e.t.Helper()
	ask(e.t, e.host.Real, func(done func(bool)) {
		for _, l := range e.cfg.Links {
			s := &station{link: e.world.Link(l.ID), world: e.world, loop: e.host, rng: rng, told: told}
			s.link.OnArm(func(int, uint32) { s.look() })
		}
		done(true)
	})
}

// station is that of a link with one lane.
type station struct {
	link  *fabric.Link
	world *fabric.Fabric
	loop  event.Scheduler
	rng   *rand.Rand
	told  func(*step)
	busy  bool
}

// look arranges for a herald if both ends are armed.
func (s *station) look() {
	k := s.link
	a, okA := k.Armed(0, 0)
	b, okB := k.Armed(1, 0)
	if !okA || !okB || s.busy {
		return
	}
	s.busy = true
	cycle := k.CycleAt(max(a, b, s.loop.Now())) + s.rng.Uint64N(8)
	s.loop.At(k.CycleInstant(cycle).Add(k.HalfDelay()), func() {
		s.busy = false
		a, b := k.Ends()
		pair := [2]physical.Qubit{s.armed(a), s.armed(b)}
		label, ok := k.Herald([2]uint32{}, 0, cycle)
		if !ok { // freed, and perhaps armed anew
			s.look()
			return
		}
		s.told(&step{at: k.CycleInstant(cycle), link: int(k.ID()), pair: pair, label: label})
	})
}

// armed returns the qubit that is armed at one end.
func (s *station) armed(n qnet.NodeID) physical.Qubit {
	for _, a := range s.world.Ledger() {
		if a.Link == s.link.ID() && a.Node == n && a.Use == fabric.UseArmed {
			return a.Qubit
		}
	}
	return physical.Qubit{}
}

// ask runs f on a loop and waits until it, or what it leads to, has called done.
func ask[T any](t testing.TB, loop event.Loop, f func(done func(T))) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	x, err := event.Call(ctx, loop, f)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return x
}

// await takes the next value of a channel.
func await[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case x := <-c:
		return x
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}

// relay is a cable between two sockets that can be cut.
type relay struct {
	ends   [2]*net.UDPConn
	beyond [2]*net.UDPAddr // whose datagrams ends[i] takes, and who gets what the other took
	cut    atomic.Bool
}

// newRelay lays a cable from a to b.
func newRelay(t testing.TB, a, b net.Addr) *relay {
	t.Helper()
	r := &relay{beyond: [2]*net.UDPAddr{a.(*net.UDPAddr), b.(*net.UDPAddr)}}
	for i := range r.ends {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		r.ends[i] = c
	}
	var wg sync.WaitGroup
	for i := range r.ends {
		wg.Go(func() { r.carry(i) })
	}
	t.Cleanup(func() {
		for _, c := range r.ends {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
	})
	return r
}

// carry takes datagrams from one side to the other until the socket is closed.
func (r *relay) carry(from int) {
	b := make([]byte, 1<<16)
	for {
		n, _, err := r.ends[from].ReadFromUDP(b)
		if err != nil {
			return
		}
		if !r.cut.Load() {
			_, _ = r.ends[1-from].WriteToUDP(b[:n], r.beyond[1-from]) // as good as lost
		}
	}
}

// addrs returns where b finds a, and where a finds b.
func (r *relay) addrs() (a, b string) {
	return r.ends[1].LocalAddr().String(), r.ends[0].LocalAddr().String()
}
