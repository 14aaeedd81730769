package remote_test

import (
	"fmt"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/remote"
	"qstack/physical/state"
	"qstack/physical/state/densetest"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/qnettest"
	"qstack/qnet/wire"
)

const (
	world   qnet.NodeID = 0xfab
	alice   qnet.NodeID = 0xa11ce
	bob     qnet.NodeID = 0xb0b
	charlie qnet.NodeID = 0xc4a
	mallory qnet.NodeID = 0xbad // in no scenario
)

var names = map[qnet.NodeID]string{world: "world.fabric", alice: "alice", bob: "bob", charlie: "charlie", mallory: "mallory"}

func us(n int) time.Duration { return time.Duration(n) * time.Microsecond }

// chain returns a configuration of alice - bob - charlie with links 1 and 2, two
// lanes per link end, three storage qubits a node, attempts every microsecond,
// the durations 10 (initialise), 5, 100 (gates) and 300 µs (read-out), and
// imperfections of every kind.
func chain(seed uint64) fabric.Config {
	c := fabric.Config{Seed: seed}
	for _, n := range []struct {
		id    qnet.NodeID
		lanes map[physical.LinkID]int
	}{{alice, map[physical.LinkID]int{1: 2}}, {bob, map[physical.LinkID]int{1: 2, 2: 2}}, {charlie, map[physical.LinkID]int{2: 2}}} {
		c.Nodes = append(c.Nodes, fabric.NodeConfig{
			ID: n.id, Name: names[n.id],
			Spec: physical.Spec{
				Storage: 3, Lanes: n.lanes, T1: 2, T2: 1, Depolarise: 0.5,
				Init: us(10), Gate1: us(5), Gate2: us(100), Readout: us(300),
				Noise: physical.Noise{Gate2Depolarising: 0.01, QubitNoise: physical.QubitNoise{ReadoutError: physical.SymmetricReadout(0.02)}},
			},
			Communication: state.Decay{T1: 1e-2, T2: 5e-3},
			Storage:       state.Decay{T2: 2e-2, Depolarise: 10},
			Noise:         physical.Noise{Gate2Depolarising: 0.01, QubitNoise: physical.QubitNoise{ReadoutError: physical.SymmetricReadout(0.02)}},
		})
	}
	model := herald.DoubleClick{EtaA: 0.3, EtaB: 0.6, Visibility: 0.8, DarkCount: 0.03, PeriodNS: 1000}
	c.Links = []fabric.LinkConfig{
		{ID: 1, A: alice, B: bob, LanesA: 2, LanesB: 2, Model: model},
		{ID: 2, A: bob, B: charlie, LanesA: 2, LanesB: 2, Model: model, Length: 2e3},
	}
	return c
}

var (
	atOnce = control.LinkConfig{}
	far    = control.LinkConfig{Delay: 700 * time.Microsecond}
)

// clean returns the chain without decay and noise, with ideal links.
func clean() fabric.Config {
	c := chain(1)
	for i := range c.Nodes {
		n := &c.Nodes[i]
		n.Communication, n.Storage, n.Noise = state.Decay{}, state.Decay{}, physical.Noise{}
	}
	for i := range c.Links {
		c.Links[i].Model = herald.Ideal{Probability: 0.5, Fidelity: 1, PeriodNS: 1000}
	}
	return c
}

// instant is clean with hardware that takes no time.
func instant() fabric.Config {
	c := clean()
	for i := range c.Nodes {
		s := &c.Nodes[i].Spec
		s.Init, s.Gate1, s.Gate2, s.Readout = 0, 0, 0, 0
	}
	return c
}

// rig is a fabric behind its server and clients for it, in virtual time.
type rig struct {
	t       testing.TB
	loop    *event.Virtual
	net     *control.Network
	cfg     fabric.Config
	ep      *control.Mem // the fabric's
	fab     *fabric.Fabric
	server  *remote.Server
	clients map[qnet.NodeID]*remote.Client
	changes map[qnet.NodeID][]error // what OnChange told
	freed   map[qnet.NodeID][]string
}

// newRig returns a rig with a fabric and the given nodes, all not yet attached.
func newRig(t testing.TB, cfg fabric.Config, link control.LinkConfig, nodes ...qnet.NodeID) *rig {
	t.Helper()
	r := &rig{
		t: t, loop: event.NewVirtual(), cfg: cfg,
		clients: make(map[qnet.NodeID]*remote.Client),
		changes: make(map[qnet.NodeID][]error),
		freed:   make(map[qnet.NodeID][]string),
	}
	r.net = control.NewNetwork(control.Config{Loop: r.loop, Seed: 3, Names: names, Detect: 100 * time.Millisecond})
	for _, n := range []qnet.NodeID{alice, bob, charlie, mallory} {
		if err := r.net.Connect(n, world, link); err != nil {
			t.Fatal(err)
		}
	}
	r.start(cfg)
	for _, n := range nodes {
		r.client(n)
	}
	return r
}

// start starts a fabric process, in place of the one there was.
func (r *rig) start(cfg fabric.Config) {
	r.t.Helper()
	f, err := fabric.New(cfg, r.loop, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.fab, r.ep = f, r.net.Endpoint(world, nil)
	r.server = remote.NewServer(f, r.ep, r.loop, nil)
}

// spec returns a copy of the data sheet of a node.
func (r *rig) spec(node qnet.NodeID) *physical.Spec {
	for i := range r.cfg.Nodes {
		if n := &r.cfg.Nodes[i]; n.ID == node {
			s := n.Spec
			return &s
		}
	}
	return &physical.Spec{}
}

// client starts the process of a node.
func (r *rig) client(node qnet.NodeID) *remote.Client {
	return r.clientOn(node, remote.Config{SameClock: true}, r.loop)
}

// clientOn starts the process of a node on a loop of its own.
func (r *rig) clientOn(node qnet.NodeID, cfg remote.Config, loop event.Scheduler) *remote.Client {
	cfg.Name, cfg.Fabric, cfg.FabricName = names[node], world, names[world]
	if cfg.Spec == nil {
		cfg.Spec = r.spec(node)
	}
	c := remote.NewClient(cfg, r.net.Endpoint(node, nil), loop, nil)
	c.OnChange(func(err error) { r.changes[node] = append(r.changes[node], err) })
	c.Watch(func(link physical.LinkID, lane uint32) {
		r.freed[node] = append(r.freed[node], fmt.Sprintf("%d/%d", link, lane))
	})
	r.clients[node] = c
	return c
}

// run lets time pass.
func (r *rig) run(d time.Duration) {
	r.t.Helper()
	if err := r.loop.RunFor(d); err != nil {
		r.t.Fatal(err)
	}
}

// until lets time pass until cond holds, for a second at most.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	end := r.loop.Now().Add(time.Second)
	for !cond() {
		if r.loop.Now() >= end || !r.loop.Step() {
			r.t.Fatalf("%s: not within a second", what)
		}
	}
}

// attached waits until all clients are.
func (r *rig) attached() {
	r.t.Helper()
	r.until("attach", func() bool {
		for _, c := range r.clients {
			if !c.Attached() {
				return false
			}
		}
		return true
	})
}

// do executes an operation of a node and waits for the result.
func (r *rig) do(node qnet.NodeID, op physical.Op) physical.Result {
	r.t.Helper()
	var res physical.Result
	n := 0
	r.clients[node].Do(op, func(x physical.Result) { res = x; n++ })
	if n > 0 {
		r.t.Fatal("the callback came before the call returned")
	}
	r.until("result", func() bool { return n > 0 })
	return res
}

// must is do for an operation that must succeed.
func (r *rig) must(node qnet.NodeID, op physical.Op) physical.Result {
	r.t.Helper()
	res := r.do(node, op)
	if res.Err != nil {
		r.t.Fatal(res.Err)
	}
	return res
}

func (r *rig) alloc(node qnet.NodeID) physical.Qubit {
	r.t.Helper()
	return r.must(node, physical.Op{Kind: physical.OpAlloc}).Qubit
}

// arm arms a lane at both ends of a link.
func (r *rig) arm(link physical.LinkID, lane uint32) (qa, qb physical.Qubit) {
	r.t.Helper()
	a, b := r.fab.Link(link).Ends()
	op := physical.Op{Kind: physical.OpArm, Link: link, Lane: lane}
	return r.must(a, op).Qubit, r.must(b, op).Qubit
}

// pair makes a pair on a lane of a link.
func (r *rig) pair(link physical.LinkID, lane uint32) (qa, qb physical.Qubit) {
	r.t.Helper()
	qa, qb = r.arm(link, lane)
	r.run(us(20))
	k := r.fab.Link(link)
	if _, ok := k.Herald([2]uint32{lane, lane}, 0, k.CycleAt(r.loop.Now())-1); !ok {
		r.t.Fatal("no herald")
	}
	return qa, qb
}

// rest closes all clients and fails the test unless nothing is left then.
func (r *rig) rest() {
	r.t.Helper()
	for _, n := range []qnet.NodeID{alice, bob, charlie, mallory} {
		if c := r.clients[n]; c != nil {
			c.Close()
			if c.Pending() != 0 {
				r.t.Errorf("%d operations of %s have no answer", c.Pending(), names[n])
			}
		}
	}
	r.run(time.Second)
	for _, a := range r.fab.Ledger() {
		r.t.Errorf("left over: %v", a)
	}
	if n := r.fab.Oracle().Count(); n != 0 {
		r.t.Errorf("%d qubits still have a state", n)
	}
	if n := r.net.Streams(); n != 0 {
		r.t.Errorf("%d streams are open", n)
	}
	if n := r.net.InFlight(); n != 0 {
		r.t.Errorf("%d messages are in flight", n)
	}
	if n := r.loop.Pending(); n != 0 {
		r.t.Errorf("%d timers are set", n)
	}
}

// watchMessages counts the messages that the network is given, by type.
func (r *rig) watchMessages() map[wire.Type]int {
	n := make(map[wire.Type]int)
	r.net.SetFilter(func(_, _ qnet.NodeID, _ control.Class, typ wire.Type, b []byte) control.Verdict {
		n[typ]++
		if typ == (*remote.Outcomes)(nil).Type() && len(b) >= 64<<10 {
			r.t.Errorf("a message of outcomes has %d bytes", len(b))
		}
		return control.Verdict{}
	})
	return n
}

var wantErr = qnettest.WantErr

// mixed fails the test unless the state of the qubit is I/2.
func (r *rig) mixed(q physical.Qubit) {
	r.t.Helper()
	rho, err := r.fab.Oracle().Density(r.loop.Now(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	densetest.Compare(r.t, 1e-10, q.String(), densetest.Square(rho), densetest.Mixed)
}
