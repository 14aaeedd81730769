package interop

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// lossyChain returns the configuration of alice - bob - charlie, each with one
// storage qubit that decays as their halves of pairs do.
func lossyChain(t *testing.T) fabric.Config {
	c := fabric.Config{Seed: 7, ID: 7}
	lanes := []map[physical.LinkID]int{{1: 1}, {1: 1, 2: 1}, {2: 1}}
	for i, name := range []string{"alice", "bob", "charlie"} {
		d := state.Decay{T1: 2, T2: 1 + float64(i)}
		c.Nodes = append(c.Nodes, fabric.NodeConfig{ID: nodeID(t, name), Name: name, Communication: d, Storage: d,
			Spec: physical.Spec{Storage: 1, Lanes: lanes[i], Init: 10 * time.Microsecond, Gate1: 5 * time.Microsecond, Gate2: 100 * time.Microsecond, Readout: time.Hour}})
	}
	for i := range 2 {
		c.Links = append(c.Links, fabric.LinkConfig{ID: physical.LinkID(i + 1), A: c.Nodes[i].ID, B: c.Nodes[i+1].ID, LanesA: 1, LanesB: 1,
			Model: herald.DoubleClick{EtaA: 0.3, EtaB: 0.5, Visibility: 0.9, DarkCount: 0.01, PeriodNS: 7_777.7}})
	}
	return c
}

// lab is an emulation of that chain, where one thing happens after the other, and
// what the textbook says of it.
type lab struct {
	*emulation
	t                   *testing.T
	alice, bob, charlie *remoteNode
	ref                 *reference
	heralds             chan *step
}

func newLab(t *testing.T) *lab {
	l := &lab{emulation: newEmulation(t, lossyChain(t)), t: t, heralds: make(chan *step, 8)}
	l.alice, l.bob, l.charlie = l.nodes[0], l.nodes[1], l.nodes[2]
	l.ref = newReference(&l.cfg, func(string, float64, uint8) {})
	l.stations(rand.New(rand.NewPCG(7, 7)), func(s *step) { l.heralds <- s })
	return l
}

// happen has a node do something, and the reference follow.
func (l *lab) happen(n *remoteNode, op physical.Op) physical.Qubit {
	l.t.Helper()
	r := n.must(op)
	l.follow(&step{at: r.At, node: slices.Index(l.nodes, n), op: op, res: r})
	return r.Qubit
}

func (l *lab) follow(s *step) {
	l.t.Helper()
	if err := l.ref.replay([]*step{s}); err != nil {
		l.t.Fatal(err)
	}
}

// pair makes a pair on a link.
func (l *lab) pair(link physical.LinkID) (a, b physical.Qubit) {
	l.t.Helper()
	for _, n := range l.nodes[link-1 : link+1] {
		n.must(physical.Op{Kind: physical.OpArm, Link: link})
	}
	s := await(l.t, l.heralds, "a herald")
	l.follow(s)
	return s.pair[0], s.pair[1]
}

// check compares the whole state, and the ledger, with the textbook's.
func (l *lab) check(qs ...physical.Qubit) {
	l.t.Helper()
	if err := l.ref.compare(1e-9, qs, l.density(qs...)); err != nil {
		l.t.Error(err)
	}
	var held []physical.Qubit
	for _, a := range l.ledger() {
		held = append(held, a.Qubit)
		if !slices.Contains(qs, a.Qubit) {
			l.t.Errorf("left over: %+v", a)
		}
	}
	if len(held) != len(qs) || len(l.ref.qubits()) != len(qs) {
		l.t.Errorf("%d qubits are held, want %v", len(held), qs)
	}
}

// refused fails the test unless each way to use q is an error of that kind, and
// own, a qubit of the node, stays.
func (l *lab) refused(n *remoteNode, own, q physical.Qubit, code qnet.Code, why string) {
	l.t.Helper()
	for _, op := range []physical.Op{
		{Kind: physical.OpGate, Gate: physical.GateX, A: q},
		{Kind: physical.OpGate, Gate: physical.GateCNOT, A: own, B: q},
		{Kind: physical.OpGate, Gate: physical.GateCZ, A: q, B: own},
		{Kind: physical.OpMeasure, A: q},
		{Kind: physical.OpMeasure, A: q, Basis: qnet.BasisX, Free: true},
		{Kind: physical.OpBSM, A: own, B: q},
		{Kind: physical.OpBSM, A: q, B: own},
		{Kind: physical.OpFree, A: q},
	} {
		qnettest.WantErr(l.t, n.do(op).Err, code, "node "+n.name+": ", q.String(), why)
	}
}

// A handle is of use to the node that holds the qubit, while it does. Whoever else
// tries is told why, and nothing happens to the qubit, nor to the one that has
// taken its place.
func TestHandles(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	q := l.happen(l.alice, physical.Op{Kind: physical.OpAlloc})
	l.happen(l.alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateRY, Angle: 1, A: q})
	a, b := l.pair(1)
	own := l.happen(l.bob, physical.Op{Kind: physical.OpAlloc})
	l.refused(l.bob, own, q, qnet.ErrBadQubit, "is not held by this node")
	l.refused(l.bob, own, a, qnet.ErrBadQubit, "is not held by this node")
	l.refused(l.alice, q, b, qnet.ErrBadQubit, "is not held by this node")
	l.check(a, own, b, q)

	l.happen(l.alice, physical.Op{Kind: physical.OpFree, A: q})
	l.refused(l.alice, a, q, qnet.ErrBadQubit, "was freed")
	next := l.happen(l.alice, physical.Op{Kind: physical.OpAlloc})
	if next.Index != q.Index || next == q {
		t.Fatalf("%v follows %v: want the same place and another handle", next, q)
	}
	l.refused(l.alice, next, q, qnet.ErrBadQubit, "was freed")
	l.refused(l.bob, own, q, qnet.ErrBadQubit, "is not held by this node")
	l.check(a, own, b, next)
}

// After a restart of the fabric every handle of before is an error that says so,
// whatever lies in its place now, and operations that were under way have failed.
func TestFabricRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	stored := l.happen(l.alice, physical.Op{Kind: physical.OpAlloc})
	a, b := l.pair(1)
	c := l.happen(l.charlie, physical.Op{Kind: physical.OpAlloc})
	old := map[*remoteNode][]physical.Qubit{l.alice: {stored, a}, l.bob: {b}, l.charlie: {c}}
	l.check(stored, a, b, c)
	under := make(chan physical.Result, 1)
	ask(t, l.bob.Real, func(done func(bool)) {
		l.bob.device.Do(physical.Op{Kind: physical.OpMeasure, A: b}, func(r physical.Result) { under <- r })
		done(true)
	})

	l.restart()
	if err := await(t, under, "the answer to what was under way").Err; !errors.Is(err, qnet.ErrUnavail) && !errors.Is(err, qnet.ErrRestarted) {
		t.Errorf("what was under way: %v", err)
	}
	for _, n := range l.nodes {
		n.attached()
	}
	for eventually, again := time.Now().Add(patience), true; again && time.Now().Before(eventually); {
		s := l.density(a, b)
		if again = errors.Is(s.err, qnet.ErrUnavail); !again { // it is told once that the connection is lost
			qnettest.WantErr(t, s.err, qnet.ErrRestarted, "is not of this fabric: it restarted")
		}
	}
	l.ref = newReference(&l.cfg, func(string, float64, uint8) {})
	var fresh []physical.Qubit
	for _, n := range l.nodes {
		own := l.happen(n, physical.Op{Kind: physical.OpAlloc})
		fresh = append(fresh, own)
		for _, q := range old[n] {
			l.refused(n, own, q, qnet.ErrRestarted, "is not of this fabric: it restarted")
		}
	}
	if fresh[0].Index != stored.Index || fresh[0].Generation != stored.Generation || fresh[0].Fabric == stored.Fabric {
		t.Errorf("%v is in the place of %v: want the same but for the fabric", fresh[0], stored)
	}
	l.check(fresh...)
}

// When a node's process dies or its cable is cut, its qubits are traced out: what
// they were entangled with is left in the mixed state that the textbook has. The
// node, or its successor, comes back to hardware without qubits.
func TestLostNode(t *testing.T) {
	for _, cut := range []bool{false, true} {
		name := "process dies"
		if cut {
			name = "cable cut"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if cut {
				l.bob.relay = newRelay(t, l.bob.end.Addr(), l.host.end.Addr())
			}
			l.start()
			a, b1 := l.pair(1)
			b2, c := l.pair(2)
			s := l.happen(l.alice, physical.Op{Kind: physical.OpAlloc})
			for _, x := range []struct {
				n  *remoteNode
				op physical.Op
			}{
				{l.alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateRX, Angle: 0.7, A: s}},
				{l.alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: a, B: s}},
				{l.bob, physical.Op{Kind: physical.OpGate, Gate: physical.GateT, A: b1}},
				{l.bob, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: b1, B: b2}},
				{l.charlie, physical.Op{Kind: physical.OpGate, Gate: physical.GateRY, Angle: 1.1, A: c}},
			} {
				l.happen(x.n, x.op)
			}
			l.check(s, a, b1, b2, c)

			under := make(chan physical.Result, 1)
			if cut {
				l.bob.relay.cut.Store(true)
				ask(t, l.bob.Real, func(done func(bool)) {
					l.bob.device.Do(physical.Op{Kind: physical.OpFree, A: b1}, func(r physical.Result) { under <- r })
					done(true)
				})
			} else {
				l.die(l.bob.party)
			}
			if id := await(t, l.lost, "the loss of bob"); id != l.bob.end.ID() {
				t.Fatalf("the fabric lost %v, want bob", id)
			}
			l.ref.free(b1)
			l.ref.free(b2)
			l.check(a, s, c)
			l.happen(l.alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateCZ, A: s, B: a})
			l.check(c, a, s)
			if s := l.density(b1); !errors.Is(s.err, qnet.ErrBadQubit) {
				t.Errorf("a lost qubit: %v", s.err)
			}

			if cut {
				qnettest.WantErr(t, await(t, under, "the answer to what was under way").Err, qnet.ErrUnavail, "node bob has no quantum hardware: fabric world.fabric: ")
				qnettest.WantErr(t, l.bob.change(), qnet.ErrUnavail, "world.fabric")
				l.bob.relay.cut.Store(false)
			} else {
				l.bob = l.replace(1)
			}
			l.bob.attached()
			own := l.happen(l.bob, physical.Op{Kind: physical.OpAlloc})
			l.refused(l.bob, own, b1, qnet.ErrBadQubit, "was freed")
			l.happen(l.charlie, physical.Op{Kind: physical.OpFree, A: c})
			b2, c = l.pair(2)
			l.check(own, a, b2, s, c)
		})
	}
}
