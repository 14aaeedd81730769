package fabric_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
	"qstack/qnet/event"
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
	label, ok := k.Herald([2]uint32{lane, lane}, cycle)
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

func wantErr(t testing.TB, err error, code qnet.Code, text string) {
	t.Helper()
	if !errors.Is(err, code) || !strings.Contains(err.Error(), text) {
		t.Errorf("error is %v (code %v), want %q with code %v", err, qnet.CodeOf(err), text, code)
	}
}

func us(n int64) qnet.Time { return qnet.Time(n * 1000) }

// Every operation takes effect at max(arrival, busy) plus its duration, by the
// durations that the hardware has, and results come at their instants. With
// early results the stamps are the same and the results come earlier.
func TestTiming(t *testing.T) {
	type step struct {
		op   physical.Op // A and B are indices into the qubits so far
		want qnet.Time
	}
	q := func(i uint32) physical.Qubit { return physical.Qubit{Index: i} }
	script := []step{
		{physical.Op{Kind: physical.OpAlloc}, us(10)},                                            // qubit 0
		{physical.Op{Kind: physical.OpAlloc}, us(10)},                                            // qubit 1
		{physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: q(0)}, us(15)},              // after its initialisation
		{physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: q(0), B: q(1)}, us(115)}, // when both are there
		{physical.Op{Kind: physical.OpGate, Gate: physical.GateRX, Angle: 1, A: q(1)}, us(120)},
		{physical.Op{Kind: physical.OpMeasure, Basis: qnet.BasisX, A: q(0)}, us(420)},
		{physical.Op{Kind: physical.OpMeasure, Basis: qnet.BasisZ, A: q(1)}, us(420)},
		{physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q(0)}, us(425)},
		{physical.Op{Kind: physical.OpGate, Gate: physical.GateCZ, A: q(1), B: q(0)}, us(525)},
		{physical.Op{Kind: physical.OpBSM, A: q(0), B: q(1)}, us(930)},
	}
	for _, early := range []time.Duration{0, 200 * time.Microsecond, 2 * time.Millisecond} {
		t.Run(early.String(), func(t *testing.T) {
			c := chain(1, 2)
			c.EarlyResults = early
			l := newLab(t, c)
			l.until(us(7)) // not at the epoch
			d := l.Device(alice)
			// The handles are known beforehand only to this test.
			var qs []physical.Qubit
			for i, s := range script {
				if s.op.Kind != physical.OpAlloc {
					continue
				}
				d.Do(s.op, func(r physical.Result) {
					qs = append(qs, r.Qubit)
					if r.At != us(7)+s.want {
						t.Errorf("step %d took effect at %v, want %v", i, r.At, us(7)+s.want)
					}
				})
			}
			for len(qs) < 2 && l.loop.Step() {
			}
			n := 0
			for i, s := range script {
				if s.op.Kind == physical.OpAlloc {
					continue
				}
				op := s.op
				op.A = qs[op.A.Index]
				op.B = qs[op.B.Index]
				asked := l.loop.Now()
				d.Do(op, func(r physical.Result) {
					n++
					want := us(7) + s.want
					if r.Err != nil || r.At != want {
						t.Errorf("step %d took effect at %v (%v), want %v", i, r.At, r.Err, want)
					}
					if now := max(asked, want.Add(-early)); l.loop.Now() != now {
						t.Errorf("step %d was answered at %v, want %v", i, l.loop.Now(), now)
					}
				})
			}
			l.drain()
			if n != len(script)-2 {
				t.Errorf("%d results, want %d", n, len(script)-2)
			}
			l.empty()
		})
	}
}

// Results on one qubit come in the order of the calls, errors included, and an
// operation that frees its qubit makes the later ones errors.
func TestOrder(t *testing.T) {
	for _, early := range []time.Duration{0, 2 * time.Millisecond} {
		c := chain(1, 1)
		c.EarlyResults = early
		l := newLab(t, c)
		q := l.alloc(alice)
		d := l.Device(alice)
		var order []int
		for i, op := range []physical.Op{
			{Kind: physical.OpGate, Gate: physical.GateX, A: q},
			{Kind: physical.OpGate, Gate: physical.GateCNOT, A: q, B: q}, // an error
			{Kind: physical.OpMeasure, A: q, Free: true},
			{Kind: physical.OpGate, Gate: physical.GateX, A: q}, // too late
			{Kind: physical.OpFree, A: q},
		} {
			d.Do(op, func(r physical.Result) {
				order = append(order, i)
				switch i {
				case 0:
					if r.Err != nil {
						t.Error(r.Err)
					}
				case 1:
					wantErr(t, r.Err, qnet.ErrInvalid, "with itself: two different qubits are needed")
				case 2:
					if r.Err != nil || r.Bit != 1 {
						t.Errorf("measured %d (%v), want 1", r.Bit, r.Err)
					}
				default:
					wantErr(t, r.Err, qnet.ErrBadQubit, "was freed by an earlier operation")
				}
			})
		}
		l.drain()
		if fmt.Sprint(order) != "[0 1 2 3 4]" {
			t.Errorf("results came in the order %v", order)
		}
		l.empty()
	}
}

// A free of an idle qubit makes room at once; one of a busy qubit waits.
func TestFree(t *testing.T) {
	l := newLab(t, chain(1, 1))
	d := l.Device(alice)
	q := l.alloc(alice)
	var r, s physical.Result
	d.Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
	d.Do(physical.Op{Kind: physical.OpAlloc}, func(x physical.Result) { r = x })
	l.drain()
	if r.Err != nil || r.At != us(20) {
		t.Fatalf("allocation after a free: %+v, want it at 20 µs", r)
	}
	d.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: r.Qubit}, nil)
	d.Do(physical.Op{Kind: physical.OpFree, A: r.Qubit}, func(x physical.Result) { s = x })
	d.Do(physical.Op{Kind: physical.OpAlloc}, func(x physical.Result) { r = x })
	l.drain()
	if s.Err != nil || s.At != us(25) {
		t.Errorf("free after a gate: %+v, want it at 25 µs", s)
	}
	wantErr(t, r.Err, qnet.ErrNoMemory, "node alice: all 1 storage qubits are in use: free or measure one first")
	l.empty()
}

func TestOwnership(t *testing.T) {
	l := newLab(t, chain(1, 2))
	q := l.alloc(alice)
	ops := func(q physical.Qubit) []physical.Op {
		return []physical.Op{
			{Kind: physical.OpFree, A: q},
			{Kind: physical.OpGate, Gate: physical.GateX, A: q},
			{Kind: physical.OpMeasure, A: q},
			{Kind: physical.OpBSM, A: q, B: q},
		}
	}
	all := func(node qnet.NodeID, q physical.Qubit, code qnet.Code, text string) {
		t.Helper()
		for _, op := range ops(q) {
			wantErr(t, l.do(node, op).Err, code, text)
		}
	}
	all(bob, q, qnet.ErrBadQubit, "is not held by this node")
	all(alice, physical.Qubit{}, qnet.ErrBadQubit, "no qubit is given")
	wild := q
	wild.Index = math.MaxUint32
	all(alice, wild, qnet.ErrBadQubit, "is not held by this node")
	old := q
	old.Fabric++
	all(alice, old, qnet.ErrRestarted, "is not of this fabric: it restarted, and the qubits of before are gone")
	wantErr(t, l.do(bob, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: l.alloc(bob), B: q}).Err, qnet.ErrBadQubit, "node bob: gate CNOT: "+q.String()+" is not held by this node")

	l.free(alice, q)
	all(alice, q, qnet.ErrBadQubit, q.String()+" was freed: its handle is no longer valid")
	again := l.alloc(alice)
	if again.Index != q.Index || again.Generation == q.Generation {
		t.Fatalf("allocated %v after %v was freed, want the same place in a new generation", again, q)
	}
	all(alice, q, qnet.ErrBadQubit, "was freed: its handle is no longer valid")

	armed, _ := l.arm(1, 0)
	for _, op := range ops(armed)[1:] {
		wantErr(t, l.do(alice, op).Err, qnet.ErrBadQubit, "is armed for link 1 lane 0: free it, or await the herald")
	}
	if _, err := l.Oracle().Density(l.loop.Now(), armed); !errors.Is(err, qnet.ErrBadQubit) {
		t.Errorf("oracle on an armed qubit: %v", err)
	}
	if _, err := l.Oracle().BellFidelity(l.loop.Now(), again, q, qnet.PhiPlus); !errors.Is(err, qnet.ErrBadQubit) {
		t.Errorf("oracle on a freed qubit: %v", err)
	}
}

func TestBadOperations(t *testing.T) {
	l := newLab(t, chain(2, 2))
	q := l.alloc(alice)
	for _, c := range []struct {
		op   physical.Op
		code qnet.Code
		text string
	}{
		{physical.Op{}, qnet.ErrInvalid, "node alice: there is no operation of kind 0"},
		{physical.Op{Kind: physical.OpGate, A: q}, qnet.ErrInvalid, "node alice: there is no gate ?"},
		{physical.Op{Kind: physical.OpGate, Gate: physical.GateEnd, A: q}, qnet.ErrInvalid, "node alice: there is no gate Gate(14)"},
		{physical.Op{Kind: physical.OpGate, Gate: physical.GateRX, Angle: math.NaN(), A: q}, qnet.ErrInvalid, "node alice: gate RX: angle NaN is not finite"},
		{physical.Op{Kind: physical.OpMeasure, Basis: qnet.Basis{Theta: math.Inf(1)}, A: q}, qnet.ErrInvalid, "has an angle that is not finite"},
		{physical.Op{Kind: physical.OpArm, Link: 2}, qnet.ErrInvalid, "node alice has no end of link 2"},
		{physical.Op{Kind: physical.OpArm, Link: 1, Lane: 2}, qnet.ErrInvalid, "node alice: link 1 has no lane 2 here: its lanes are 0 to 1"},
	} {
		wantErr(t, l.do(alice, c.op).Err, c.code, c.text)
	}
	l.arm(1, 1)
	wantErr(t, l.do(alice, physical.Op{Kind: physical.OpArm, Link: 1, Lane: 1}).Err, qnet.ErrNoMemory, "node alice: the communication qubit of link 1 lane 1 (of 2) is in use: free or measure it first")
	l = newLab(t, chain(1, 0))
	wantErr(t, l.do(bob, physical.Op{Kind: physical.OpAlloc}).Err, qnet.ErrNoMemory, "node bob has no storage qubits")
	if l.Device(0xdead) != nil || l.Link(7) != nil {
		t.Error("a device or link that nobody configured")
	}
}

// The engines' limit is an error that leaves the qubits usable.
func TestTooLarge(t *testing.T) {
	n := state.MaxQubits + 1
	l := newLab(t, chain(1, n))
	var qs []physical.Qubit
	for range n {
		qs = append(qs, l.alloc(alice))
	}
	l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: qs[0]})
	for i := 1; i < n-1; i++ {
		l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: qs[0], B: qs[i]})
	}
	wantErr(t, l.do(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: qs[0], B: qs[n-1]}).Err, qnet.ErrTooLarge, "node alice: gate CNOT: ")
	wantErr(t, l.do(alice, physical.Op{Kind: physical.OpBSM, A: qs[0], B: qs[n-1]}).Err, qnet.ErrTooLarge, "node alice: bsm: ")
	for _, q := range qs {
		l.must(alice, physical.Op{Kind: physical.OpMeasure, A: q, Free: true})
	}
	l.empty()
}

func TestPendingIsBounded(t *testing.T) {
	c := chain(1, 1)
	c.MaxPending = 3
	l := newLab(t, c)
	q := l.alloc(alice)
	errs := 0
	for range 5 {
		l.Device(alice).Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}, func(r physical.Result) {
			if r.Err != nil {
				errs++
				wantErr(t, r.Err, qnet.ErrBusy, "operations are waiting already: await results before asking for more")
			}
		})
	}
	// What was taken can always be given back.
	l.Device(alice).Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
	l.drain()
	if errs != 2 {
		t.Errorf("%d operations were refused, want 2", errs)
	}
	l.free(alice, l.alloc(alice))
	l.empty()
}

// Arming, heralding and freeing as the station and the node see it.
func TestArm(t *testing.T) {
	l := newLab(t, chain(2, 0))
	k := l.Link(1)
	var armed []string
	k.OnArm(func(side int, lane uint32) {
		from, ok := k.Armed(side, lane)
		armed = append(armed, fmt.Sprint(side, lane, from, ok))
	})
	var freed []string
	l.Device(alice).Watch(func(link physical.LinkID, lane uint32) { freed = append(freed, fmt.Sprint(link, lane, l.loop.Now())) })

	arm := physical.Op{Kind: physical.OpArm, Link: 1, Lane: 1}
	l.Device(alice).Do(arm, func(physical.Result) {})
	if _, ok := k.Armed(0, 1); ok {
		t.Error("armed before it is initialised")
	}
	if _, ok := k.Herald([2]uint32{1, 1}, k.CycleAt(0)); ok {
		t.Error("herald before initialisation")
	}
	l.drain()
	if fmt.Sprint(armed) != "[0 1 10µs true]" {
		t.Errorf("station heard %v", armed)
	}
	l.until(us(50))
	qb := l.must(bob, physical.Op{Kind: physical.OpArm, Link: 1}).Qubit // lane 0 of bob for lane 1 of alice
	if len(armed) != 2 || armed[1] != "1 0 60µs true" {
		t.Errorf("station heard %v", armed)
	}
	at := func(us int64) uint64 { return physical.CycleBase + uint64(us) } // the period is 1 µs
	if c := k.CycleAt(us(60)); c != at(60) {
		t.Errorf("first cycle is %d, want %d", c, at(60))
	}
	l.until(us(70))
	for _, c := range []struct {
		lanes [2]uint32
		cycle uint64
	}{{[2]uint32{1, 0}, at(59)}, {[2]uint32{1, 0}, 0}, {[2]uint32{0, 0}, at(61)}, {[2]uint32{1, 1}, at(61)}, {[2]uint32{9, 9}, at(61)}, {[2]uint32{1, 0}, at(71)}} {
		if _, ok := k.Herald(c.lanes, c.cycle); ok {
			t.Errorf("herald on lanes %v in cycle %d, which are not armed then, or has not come", c.lanes, c.cycle)
		}
	}
	if n := k.HeraldBulk([2]uint32{1, 0}, []uint64{at(61)}, make([]qnet.BellLabel, 1)); n != 0 {
		t.Error("measured directly what is armed for a pair")
	}
	if label, ok := k.Herald([2]uint32{1, 0}, at(60)); !ok || label != qnet.PhiPlus {
		t.Fatalf("herald: %v, %v", label, ok)
	}
	if _, ok := k.Herald([2]uint32{1, 0}, at(61)); ok {
		t.Error("heralded twice")
	}
	var qa physical.Qubit
	for _, a := range l.Ledger() {
		if a.Node == alice {
			qa = a.Qubit
		}
	}
	if f, err := l.Oracle().BellFidelity(l.loop.Now(), qa, qb, qnet.PhiPlus); err != nil || math.Abs(f-1) > 1e-12 {
		t.Errorf("fidelity %v (%v), want 1", f, err)
	}

	// Freed, the lane can be armed again, and the node is told.
	l.free(alice, qa)
	l.must(bob, physical.Op{Kind: physical.OpMeasure, A: qb, Free: true})
	if fmt.Sprint(freed) != "[1 1 70µs]" {
		t.Errorf("node heard %v", freed)
	}
	q := l.must(alice, arm).Qubit
	l.free(alice, q) // while armed
	if _, ok := k.Armed(0, 1); ok {
		t.Error("armed after it was freed")
	}
	l.Device(alice).Do(arm, nil)
	l.drain()
	// Nobody is told of a lane that was taken at once again.
	q = l.Ledger()[0].Qubit
	n := len(freed)
	l.Device(alice).Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
	l.Device(alice).Do(arm, func(r physical.Result) { q = r.Qubit })
	l.drain()
	if len(freed) != n {
		t.Errorf("node heard %v of a lane in use", freed[n:])
	}
	l.free(alice, q)
	l.drain()
	l.empty()
}

func TestLedger(t *testing.T) {
	l := newLab(t, chain(2, 1))
	l.until(us(5))
	l.alloc(bob)
	l.arm(1, 1)
	l.pair(2, 0)
	l.Device(charlie).ArmBulk(2, 1, physical.BasisSource{}, func(physical.Outcomes, error) {}, nil)
	want := []string{
		"alice: UseArmed link 1 lane 1 since 15µs",
		"bob: UseStorage link 0 lane 0 since 5µs",
		"bob: UseArmed link 1 lane 1 since 25µs",
		"bob: UseCommunication link 2 lane 0 since 35µs",
		"charlie: UseCommunication link 2 lane 0 since 45µs",
		"charlie: UseBulk link 2 lane 1 since 55µs",
	}
	names := [...]string{"UseStorage", "UseCommunication", "UseArmed", "UseBulk"}
	var got []string
	for _, a := range l.Ledger() {
		got = append(got, fmt.Sprintf("%s: %s link %d lane %d since %v", a.Name, names[a.Use], a.Link, a.Lane, a.Since))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("ledger:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if s := l.Ledger()[3].String(); !strings.HasPrefix(s, "bob: qubit ") || !strings.HasSuffix(s, " since 35µs: communication, link 2 lane 0") {
		t.Errorf("described as %q", s)
	}
	for _, n := range []qnet.NodeID{alice, bob, charlie, 0xdead} {
		l.Disconnect(n)
	}
	l.drain()
	l.empty()
}

// When a process dies its qubits are traced out, its partners are left mixed,
// nobody answers it, and its successor starts with a clean device.
func TestDisconnect(t *testing.T) {
	for _, early := range []time.Duration{0, 2 * time.Millisecond} {
		c := chain(2, 2)
		c.EarlyResults = early
		l := newLab(t, c)
		qa, qb, _, _ := l.pair(1, 0)
		l.arm(1, 1)
		b2, qc, _, _ := l.pair(2, 0)
		own := l.alloc(bob)
		l.until(us(100))

		dev := l.Device(bob)
		dead := func(physical.Result) { t.Error("a dead process was answered") }
		for _, op := range []physical.Op{
			{Kind: physical.OpGate, Gate: physical.GateCNOT, A: own, B: qb},
			{Kind: physical.OpBSM, A: qb, B: b2},
			{Kind: physical.OpFree, A: own},
			{Kind: physical.OpAlloc},
			{Kind: physical.OpAlloc}, // more than there are
			{Kind: physical.OpArm, Link: 2, Lane: 1},
		} {
			dev.Do(op, dead)
		}
		dev.ArmBulk(2, 1, physical.BasisSource{}, func(physical.Outcomes, error) { t.Error("a dead process got outcomes") }, dead)
		dev.Watch(func(physical.LinkID, uint32) { t.Error("a dead process was told of a lane") })
		l.Disconnect(bob)

		if _, ok := l.Link(1).Armed(1, 1); ok {
			t.Error("a dead node's lane is armed")
		}
		if _, ok := l.Link(1).Armed(0, 1); !ok {
			t.Error("the other end is not armed any more")
		}
		for _, a := range l.Ledger() {
			if a.Node == bob {
				t.Errorf("left over: %v", a)
			}
		}
		if n := len(l.Ledger()); n != 3 { // alice's pair half and armed lane, charlie's pair half
			t.Errorf("%d qubits in use, want 3", n)
		}
		l.drain()
		for _, q := range []physical.Qubit{qa, qc} {
			rho, err := l.Oracle().Density(l.loop.Now(), q)
			if err != nil {
				t.Fatal(err)
			}
			same(t, rho, matrix{{0.5, 0}, {0, 0.5}})
		}
		wantErr(t, l.do(bob, physical.Op{Kind: physical.OpFree, A: own}).Err, qnet.ErrBadQubit, "was freed")
		l.alloc(bob)
		l.free(bob, l.alloc(bob))
		qb, _ = l.pairAgain(1, 1)
		l.free(bob, qb)
	}
}

// pairAgain arms the side B of a lane, whose side A is armed already, heralds and
// returns the qubit.
func (l *lab) pairAgain(link physical.LinkID, lane uint32) (physical.Qubit, qnet.BellLabel) {
	l.t.Helper()
	_, b := l.Link(link).Ends()
	q := l.must(b, physical.Op{Kind: physical.OpArm, Link: link, Lane: lane}).Qubit
	_, label := l.herald(link, lane)
	return q, label
}

// same fails the test unless the density matrices agree.
func same(t testing.TB, got []complex128, want matrix) {
	t.Helper()
	if len(got) != len(want)*len(want) {
		t.Fatalf("density matrix has %d elements, want %d", len(got), len(want)*len(want))
	}
	for i := range want {
		for j := range want {
			d := got[i*len(want)+j] - want[i][j]
			if math.Hypot(real(d), imag(d)) > 1e-10 {
				t.Fatalf("ρ[%d][%d] is %v, want %v", i, j, got[i*len(want)+j], want[i][j])
			}
		}
	}
}

// A pair decoheres from its emission, however late it is heralded or looked at.
func TestDecoherenceStartsAtEmission(t *testing.T) {
	c := chain(1, 0)
	const t2a, t2b = 1e-3, 3e-3
	c.Nodes[0].Communication = state.Decay{T2: t2a}
	c.Nodes[1].Communication = state.Decay{T2: t2b}
	c.Links[0].Length = 100e3
	l := newLab(t, c)
	half := l.Link(1).HalfDelay()
	if half != 241834*time.Nanosecond { // 50 km at 206753 km/s
		t.Errorf("half delay is %v", half)
	}
	l.until(us(333))
	qa, qb, cycle, _ := l.pair(1, 0)
	emitted := l.Link(1).CycleInstant(cycle)
	if l.loop.Now() != emitted.Add(half) {
		t.Fatalf("heralded at %v, emitted at %v", l.loop.Now(), emitted)
	}
	for _, at := range []qnet.Time{emitted, l.loop.Now(), l.loop.Now().Add(time.Millisecond)} {
		s := at.Sub(emitted).Seconds()
		want := (1 + math.Exp(-s/t2a-s/t2b)) / 2
		if f, err := l.Oracle().BellFidelity(at, qa, qb, qnet.PhiPlus); err != nil || math.Abs(f-want) > 1e-12 {
			t.Errorf("after %g s the fidelity is %v (%v), want %v", s, f, err, want)
		}
	}
	if _, err := l.Oracle().BellFidelity(emitted-1, qa, qb, qnet.PhiPlus); !errors.Is(err, qnet.ErrInvalid) {
		t.Errorf("fidelity before the emission: %v", err)
	}
}

// The read-out error of the fabric is the true one, not the advertised.
func TestReadoutError(t *testing.T) {
	const n, e = 20_000, 0.05
	c := chain(1, 1)
	c.Nodes[0].Noise.ReadoutError = e
	c.Nodes[0].Spec.Noise.ReadoutError = 0.3
	l := newLab(t, c)
	wrong := 0.0
	for range n {
		wrong += float64(l.must(alice, physical.Op{Kind: physical.OpMeasure, A: l.alloc(alice), Free: true}).Bit)
	}
	// False alarm 6e-7: 5 standard errors.
	if se := math.Sqrt(e * (1 - e) / n); math.Abs(wrong/n-e) > 5*se {
		t.Errorf("%.4f of the read-outs were wrong, want %g ± %.4f", wrong/n, e, se)
	}
	// A wrong read-out does not change what is left: the same bit again, later.
	agree := 0.0
	for range n / 10 {
		q := l.alloc(alice)
		l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: q})
		a := l.must(alice, physical.Op{Kind: physical.OpMeasure, A: q}).Bit
		b := l.must(alice, physical.Op{Kind: physical.OpMeasure, A: q, Free: true}).Bit
		if a == b {
			agree++
		}
	}
	want := (1-e)*(1-e) + e*e
	if se := math.Sqrt(want * (1 - want) / (n / 10)); math.Abs(agree/(n/10)-want) > 5*se {
		t.Errorf("two read-outs of one qubit agree with probability %.3f, want %.3f ± %.3f", agree/(n/10), want, se)
	}
}

// Random sequences of every operation, on qubits of three nodes that decay in
// their own ways, leave the state that the textbook says, given the outcomes.
// With early results it is the same.
func TestRandomSequences(t *testing.T) {
	for _, early := range []time.Duration{0, 300 * time.Microsecond, 2 * time.Millisecond} {
		for seed := range uint64(12) {
			t.Run(fmt.Sprintf("early=%v/%d", early, seed), func(t *testing.T) { randomSequence(t, seed, early) })
		}
	}
}

func randomSequence(t *testing.T, seed uint64, early time.Duration) {
	rng := rand.New(rand.NewPCG(seed, 77))
	c := chain(1, 2)
	c.Seed = seed
	c.EarlyResults = early
	maybe := func(v float64) float64 { return v * float64(rng.IntN(2)) }
	var storage, comm [3]aging
	for i := range c.Nodes {
		n := &c.Nodes[i]
		decay := func() (state.Decay, aging) {
			// Not relaxation and depolarising together: these do not commute, and the
			// reference applies one after the other.
			d := state.Decay{T1: maybe(0.01 + 0.02*rng.Float64()), T2: maybe(0.005 + 0.01*rng.Float64())}
			if d.T1 == 0 {
				d.Depolarise = maybe(50 * rng.Float64())
			}
			return d, aging{d.T1, d.T2, d.Depolarise}
		}
		n.Storage, storage[i] = decay()
		n.Communication, comm[i] = decay()
		n.Noise.Gate2Depolarising = maybe(0.2)
	}
	var weights [2][4]float64
	for i := range c.Links {
		c.Links[i].Length = 20e3
		m := herald.DoubleClick{EtaA: 0.3, EtaB: 0.5, Visibility: 0.8, DarkCount: 0.05, PeriodNS: 777.7}
		c.Links[i].Model = m
		weights[i] = m.Heralds()[0].Weights // of Ψ+
	}
	// Read-out errors are for Bell measurements only: the other measurements
	// here are of perfect read-out, so that the outcome says what is left.
	bsmErr := maybe(0.1)
	measures := bsmErr == 0
	for i := range c.Nodes {
		c.Nodes[i].Noise.ReadoutError = bsmErr
	}
	l := newLab(t, c)

	ref := newDense()
	var now qnet.Time // of the reference
	age := func(to qnet.Time) {
		ref.age(to.Sub(now).Seconds())
		now = to
	}
	type qubit struct {
		name, node int
		link       physical.LinkID // 0: storage
		q          physical.Qubit
	}
	var qs []qubit
	names := 0
	nodes := []qnet.NodeID{alice, bob, charlie}
	check := func() {
		t.Helper()
		if len(qs) == 0 {
			return
		}
		handles := make([]physical.Qubit, len(qs))
		order := make([]int, len(qs))
		for i, q := range qs {
			handles[i], order[i] = q.q, q.name
		}
		got, err := l.Oracle().Density(now, handles...)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range ref.names {
			if order[i] != name {
				t.Fatalf("the test lost track: %v, %v", ref.names, order)
			}
		}
		same(t, got, ref.rho)
	}
	drop := func(name int) {
		for i, q := range qs {
			if q.name == name {
				qs = append(qs[:i:i], qs[i+1:]...)
				return
			}
		}
	}
	count := func(f func(qubit) bool) (n int) {
		for _, q := range qs {
			if f(q) {
				n++
			}
		}
		return n
	}
	pick := func() qubit { return qs[rng.IntN(len(qs))] }
	op := func(q qubit, o physical.Op) physical.Result {
		t.Helper()
		o.A = q.q
		r := l.must(nodes[q.node], o)
		age(r.At)
		return r
	}
	for range 60 {
		// Each step starts when all earlier ones are over: the reference ages all
		// qubits in one go.
		l.until(max(now, l.loop.Now()).Add(time.Duration(rng.IntN(200)) * time.Microsecond))
		if len(qs) < 4 && rng.IntN(2) == 0 {
			names++
			if rng.IntN(2) == 0 {
				node := rng.IntN(3)
				if count(func(q qubit) bool { return q.node == node && q.link == 0 }) == 2 {
					continue
				}
				r := l.must(nodes[node], physical.Op{Kind: physical.OpAlloc})
				age(r.At)
				ref.add(matrix{{1, 0}, {0, 0}}, storage[node], names)
				qs = append(qs, qubit{names, node, 0, r.Qubit})
			} else {
				link := rng.IntN(2)
				if count(func(q qubit) bool { return int(q.link) == link+1 }) > 0 {
					continue
				}
				qa, qb, cycle, label := l.pair(physical.LinkID(link+1), 0)
				k := l.Link(physical.LinkID(link + 1))
				age(k.CycleInstant(cycle))
				rho := newMatrix(4)
				for i, w := range weights[link] {
					i ^= int(label ^ qnet.PsiPlus) // of Ψ− by symmetry: Z on one side
					rho = rho.plus(bellState(i>>1, i&1).scaled(complex(w, 0)))
				}
				ref.add(rho, comm[link], names, names+1000)
				ref.ages[len(ref.ages)-1] = comm[link+1]
				qs = append(qs, qubit{names, link, k.ID(), qa}, qubit{names + 1000, link + 1, k.ID(), qb})
				age(l.loop.Now())
			}
			check()
			continue
		}
		if len(qs) == 0 {
			continue
		}
		q := pick()
		switch kind := rng.IntN(10); {
		case kind < 4:
			g := physical.Gate(1 + rng.IntN(int(physical.GateCNOT)-1))
			angle := 7 * rng.Float64()
			op(q, physical.Op{Kind: physical.OpGate, Gate: g, Angle: angle})
			ref.unitary(gateMatrix(g, angle), q.name)
		case kind < 7: // two qubits of one node
			p := pick()
			if p.node != q.node || p.name == q.name {
				continue
			}
			if kind < 6 {
				g, u := physical.GateCNOT, cnot
				if rng.IntN(2) == 0 {
					g, u = physical.GateCZ, cz
				}
				op(q, physical.Op{Kind: physical.OpGate, Gate: g, B: p.q})
				ref.unitary(u, q.name, p.name)
				ref.mix(c.Nodes[q.node].Noise.Gate2Depolarising, q.name, p.name)
			} else {
				r := op(q, physical.Op{Kind: physical.OpBSM, B: p.q})
				z, x := int(r.Label&1), int(r.Label>>1)
				if pr := ref.bsm(q.name, p.name, c.Nodes[q.node].Noise.Gate2Depolarising, bsmErr, z, x); pr < 1e-9 {
					t.Fatalf("outcome %v has probability %g", r.Label, pr)
				}
				drop(q.name)
				drop(p.name)
			}
		case kind < 9:
			if !measures {
				continue
			}
			b := qnet.Basis{Theta: 3 * rng.Float64(), Phi: 6 * rng.Float64()}
			gone := rng.IntN(2) == 0
			r := op(q, physical.Op{Kind: physical.OpMeasure, Basis: b, Free: gone})
			if pr := ref.project(projector(b.Theta, b.Phi, int(r.Bit)), q.name); pr < 1e-9 {
				t.Fatalf("outcome %d has probability %g", r.Bit, pr)
			}
			if gone {
				ref.remove(q.name)
				drop(q.name)
			}
		default:
			op(q, physical.Op{Kind: physical.OpFree})
			ref.remove(q.name)
			drop(q.name)
		}
		check()
	}
	for _, q := range qs {
		l.free(nodes[q.node], q.q)
	}
	l.empty()
}

func gateMatrix(g physical.Gate, angle float64) matrix {
	phase := func(p float64) matrix { // diag(1, e^{ip}) from a rotation, up to a global phase
		return exponential(pauliZ, p)
	}
	switch g {
	case physical.GateX:
		return pauliX
	case physical.GateY:
		return pauliY
	case physical.GateZ:
		return pauliZ
	case physical.GateH:
		return hadamard
	case physical.GateS:
		return phase(math.Pi / 2)
	case physical.GateSdg:
		return phase(-math.Pi / 2)
	case physical.GateT:
		return phase(math.Pi / 4)
	case physical.GateTdg:
		return phase(-math.Pi / 4)
	case physical.GateRX:
		return exponential(pauliX, angle)
	case physical.GateRY:
		return exponential(pauliY, angle)
	}
	return exponential(pauliZ, angle)
}
