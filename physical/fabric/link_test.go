package fabric_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/state/densetest"
	"qstack/qnet"
)

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
	if _, ok := k.Herald([2]uint32{1, 1}, 0, k.CycleAt(0)); ok {
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
		if _, ok := k.Herald(c.lanes, 0, c.cycle); ok {
			t.Errorf("herald on lanes %v in cycle %d, which are not armed then, or has not come", c.lanes, c.cycle)
		}
	}
	if n := k.HeraldBulk([2]uint32{1, 0}, 0, []uint64{at(61)}, make([]qnet.BellLabel, 1)); n != 0 {
		t.Error("measured directly what is armed for a pair")
	}
	if label, ok := k.Herald([2]uint32{1, 0}, 0, at(60)); !ok || label != qnet.PhiPlus {
		t.Fatalf("herald: %v, %v", label, ok)
	}
	if _, ok := k.Herald([2]uint32{1, 0}, 0, at(61)); ok {
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
			densetest.Compare(t, 1e-10, q.String(), densetest.Square(rho), densetest.Mixed)
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
