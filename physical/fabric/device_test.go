package fabric_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

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

// Beyond the density matrices a cluster is a stabiliser state, of any number of
// qubits: all of a GHZ state read the same, and one bit as often as the other
// (all 40 alike: 2e-12).
func TestLargeCluster(t *testing.T) {
	const n = 40
	ones := 0
	for seed := range uint64(40) {
		c := chain(1, n)
		c.Seed = seed + 1
		l := newLab(t, c)
		var qs []physical.Qubit
		for range n {
			qs = append(qs, l.alloc(alice))
		}
		l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: qs[0]})
		for i := 1; i < n; i++ {
			l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: qs[i-1], B: qs[i]})
		}
		wantErr(t, l.do(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateT, A: qs[3]}).Err, qnet.ErrTooLarge, "node alice: gate T: ")
		first := l.must(alice, physical.Op{Kind: physical.OpMeasure, A: qs[0], Free: true}).Bit
		ones += int(first)
		for _, q := range qs[1:] {
			if b := l.must(alice, physical.Op{Kind: physical.OpMeasure, A: q, Free: true}).Bit; b != first {
				t.Fatalf("seed %d: a qubit reads %d, the first %d", seed, b, first)
			}
		}
		l.empty()
	}
	if ones == 0 || ones == 40 {
		t.Errorf("%d of 40 read 1", ones)
	}
}

// The engines' limit is an error that leaves the qubits usable.
func TestTooLarge(t *testing.T) {
	n := state.MaxQubits + 1
	l := newLab(t, chain(1, n+2))
	var qs []physical.Qubit
	for range n + 2 {
		qs = append(qs, l.alloc(alice))
	}
	l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: qs[0]})
	for i := 1; i < n-1; i++ {
		l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: qs[0], B: qs[i]})
	}
	l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateT, A: qs[0]}) // no stabiliser state
	l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: qs[n-1]})
	for _, q := range qs[n:] { // the measurement takes two away
		l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: qs[n-1], B: q})
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
