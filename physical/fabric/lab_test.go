package fabric_test

import (
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/qnettest"
)

const (
	alice   qnet.NodeID = 0xa11ce
	bob     qnet.NodeID = 0xb0b
	charlie qnet.NodeID = 0xc4a
)

// chain returns a configuration of alice - bob - charlie with links 1 and 2,
// lanes communication qubits per link end and storage storage qubits a node,
// ideal links with attempts every microsecond, no fibre, perfect memories, and
// the durations 10 (init), 5, 100 (gates) and 300 µs (read-out).
func chain(lanes, storage int) fabric.Config {
	c := fabric.Config{Seed: 1}
	for _, n := range []struct {
		id    qnet.NodeID
		name  string
		links []physical.LinkID
	}{{alice, "alice", []physical.LinkID{1}}, {bob, "bob", []physical.LinkID{1, 2}}, {charlie, "charlie", []physical.LinkID{2}}} {
		spec := physical.Spec{
			Storage: storage, Lanes: map[physical.LinkID]int{},
			Init: 10 * time.Microsecond, Gate1: 5 * time.Microsecond, Gate2: 100 * time.Microsecond, Readout: 300 * time.Microsecond,
		}
		for _, l := range n.links {
			spec.Lanes[l] = lanes
		}
		c.Nodes = append(c.Nodes, fabric.NodeConfig{ID: n.id, Name: n.name, Spec: spec})
	}
	model := herald.Ideal{Probability: 0.5, Fidelity: 1, PeriodNS: 1000}
	c.Links = []fabric.LinkConfig{
		{ID: 1, A: alice, B: bob, LanesA: lanes, LanesB: lanes, Model: model},
		{ID: 2, A: bob, B: charlie, LanesA: lanes, LanesB: lanes, Model: model},
	}
	return c
}

// lab is a fabric and its loop.
type lab struct {
	*fabric.Fabric
	t    testing.TB
	loop *event.Virtual
}

func newLab(t testing.TB, c fabric.Config) *lab {
	t.Helper()
	loop := event.NewVirtual()
	f, err := fabric.New(c, loop, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &lab{f, t, loop}
}

// do executes an operation and lets time pass until its result is there.
func (l *lab) do(node qnet.NodeID, op physical.Op) physical.Result {
	l.t.Helper()
	var r physical.Result
	got := false
	l.Device(node).Do(op, func(x physical.Result) { r, got = x, true })
	if got {
		l.t.Fatal("the callback came before the call returned")
	}
	for !got && l.loop.Step() {
	}
	if !got {
		l.t.Fatalf("no result of %+v", op)
	}
	return r
}

// must is do for an operation that must succeed.
func (l *lab) must(node qnet.NodeID, op physical.Op) physical.Result {
	l.t.Helper()
	r := l.do(node, op)
	if r.Err != nil {
		l.t.Fatal(r.Err)
	}
	return r
}

func (l *lab) alloc(node qnet.NodeID) physical.Qubit {
	l.t.Helper()
	return l.must(node, physical.Op{Kind: physical.OpAlloc}).Qubit
}

func (l *lab) free(node qnet.NodeID, q physical.Qubit) {
	l.t.Helper()
	l.must(node, physical.Op{Kind: physical.OpFree, A: q})
}

// arm arms a lane at both ends of a link and waits until it is ready.
func (l *lab) arm(link physical.LinkID, lane uint32) (qa, qb physical.Qubit) {
	l.t.Helper()
	a, b := l.Link(link).Ends()
	qa = l.must(a, physical.Op{Kind: physical.OpArm, Link: link, Lane: lane}).Qubit
	qb = l.must(b, physical.Op{Kind: physical.OpArm, Link: link, Lane: lane}).Qubit
	return qa, qb
}

// herald heralds the armed lane in the next cycle.
func (l *lab) herald(link physical.LinkID, lane uint32) (cycle uint64, label qnet.BellLabel) {
	l.t.Helper()
	k := l.Link(link)
	fromA, okA := k.Armed(0, lane)
	fromB, okB := k.Armed(1, lane)
	if !okA || !okB {
		l.t.Fatal("not armed")
	}
	cycle = k.CycleAt(max(fromA, fromB, l.loop.Now()))
	l.until(k.CycleInstant(cycle).Add(k.HalfDelay()))
	label, ok := k.Herald([2]uint32{lane, lane}, 0, cycle)
	if !ok {
		l.t.Fatalf("no herald in cycle %d", cycle)
	}
	return cycle, label
}

// pair makes a pair on a lane.
func (l *lab) pair(link physical.LinkID, lane uint32) (qa, qb physical.Qubit, cycle uint64, label qnet.BellLabel) {
	l.t.Helper()
	qa, qb = l.arm(link, lane)
	cycle, label = l.herald(link, lane)
	return qa, qb, cycle, label
}

// until lets time pass.
func (l *lab) until(t qnet.Time) {
	l.t.Helper()
	if err := l.loop.RunUntil(t); err != nil {
		l.t.Fatal(err)
	}
}

// drain runs the loop until nothing is left to happen.
func (l *lab) drain() {
	for l.loop.Step() {
	}
}

// empty fails the test when a qubit is not free.
func (l *lab) empty() {
	l.t.Helper()
	for _, a := range l.Ledger() {
		l.t.Errorf("left over: %v", a)
	}
	if n := l.Oracle().Count(); n != 0 {
		l.t.Errorf("%d qubits still have a state", n)
	}
}

var wantErr = qnettest.WantErr

func us(n int64) qnet.Time { return qnet.Time(n * 1000) }
