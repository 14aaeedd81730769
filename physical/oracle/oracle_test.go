package oracle_test

import (
	"errors"
	"math/cmplx"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/oracle"
	"qstack/physical/remote"
	"qstack/physical/state"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
)

const (
	world    qnet.NodeID = 0xfab
	observer qnet.NodeID = 0x0b5
	alice    qnet.NodeID = 0xa11ce
	bob      qnet.NodeID = 0xb0b
)

// rig is a fabric of alice - bob, its servers, and the observer.
type rig struct {
	t      testing.TB
	loop   *event.Virtual
	net    *control.Network
	fab    *fabric.Fabric
	client *oracle.Client
	delay  time.Duration
}

func newRig(t testing.TB, storage int) *rig {
	r := &rig{t: t, loop: event.NewVirtual(), delay: time.Millisecond}
	r.net = control.NewNetwork(control.Config{Loop: r.loop, Seed: 1, Detect: 100 * time.Millisecond})
	for _, n := range []qnet.NodeID{observer, alice, bob} {
		if err := r.net.Connect(n, world, control.LinkConfig{Delay: r.delay}); err != nil {
			t.Fatal(err)
		}
	}
	r.start(7, storage)
	r.client = oracle.NewClient(world, "world.fabric", r.net.Endpoint(observer, nil), r.loop)
	return r
}

// start starts a fabric process, in place of the one there was.
func (r *rig) start(id uint32, storage int) {
	c := fabric.Config{Seed: 5, ID: id}
	for _, n := range []qnet.NodeID{alice, bob} {
		c.Nodes = append(c.Nodes, fabric.NodeConfig{ID: n, Name: n.String(),
			Spec:          physical.Spec{Storage: storage, Lanes: map[physical.LinkID]int{1: 2}},
			Communication: state.Decay{T2: 1e-3}})
	}
	c.Links = []fabric.LinkConfig{{ID: 1, A: alice, B: bob, LanesA: 2, LanesB: 2, Model: herald.DoubleClick{EtaA: 0.5, EtaB: 0.5, Visibility: 0.8, PeriodNS: 1000}}}
	f, err := fabric.New(c, r.loop, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.fab = f
	ep := r.net.Endpoint(world, nil)
	remote.NewServer(f, ep, r.loop, nil)
	oracle.NewServer(f, observer, ep, r.loop, nil)
}

// until lets time pass until cond holds, for five seconds at most.
func (r *rig) until(cond func() bool) {
	r.t.Helper()
	for end := r.loop.Now().Add(5 * time.Second); !cond(); {
		if r.loop.Now() >= end || !r.loop.Step() {
			r.t.Fatal("not within five seconds")
		}
	}
}

func (r *rig) do(n qnet.NodeID, op physical.Op) physical.Qubit {
	r.t.Helper()
	var q physical.Qubit
	done := false
	r.fab.Device(n).Do(op, func(res physical.Result) {
		if res.Err != nil {
			r.t.Fatal(res.Err)
		}
		q, done = res.Qubit, true
	})
	r.until(func() bool { return done })
	return q
}

// pair makes a pair on lane 0 and returns its label.
func (r *rig) pair() (a, b physical.Qubit, l qnet.BellLabel) {
	r.t.Helper()
	a, b = r.do(alice, physical.Op{Kind: physical.OpArm, Link: 1}), r.do(bob, physical.Op{Kind: physical.OpArm, Link: 1})
	k := r.fab.Link(1)
	cycle := k.CycleAt(r.loop.Now())
	if err := r.loop.RunUntil(k.CycleInstant(cycle)); err != nil {
		r.t.Fatal(err)
	}
	l, ok := k.Herald([2]uint32{}, 0, cycle)
	if !ok {
		r.t.Fatal("no herald")
	}
	return a, b, l
}

func (r *rig) ledger() (list []oracle.Allocation, err error) {
	r.t.Helper()
	done := false
	r.client.Ledger(func(_ qnet.Time, l []oracle.Allocation, e error) { list, err, done = l, e, true })
	r.until(func() bool { return done })
	return list, err
}

// What the observer hears is what the fabric's own oracle says of the instant.
func TestObserve(t *testing.T) {
	r := newRig(t, 3)
	a, b, l := r.pair()
	c := r.do(alice, physical.Op{Kind: physical.OpAlloc})
	r.do(bob, physical.Op{Kind: physical.OpArm, Link: 1, Lane: 1})

	list, err := r.ledger()
	if err != nil || len(list) != 4 {
		t.Fatalf("ledger %v (%v), want 4 qubits", list, err)
	}
	own := r.fab.Ledger()
	for i, e := range list {
		w := own[i]
		if e.Node != w.Node || e.Qubit != w.Qubit || e.Use != w.Use || e.Link != w.Link || e.Lane != w.Lane || e.Since != w.Since {
			t.Errorf("row %d is %+v, want %+v", i, e, w)
		}
		if entangled := e.Qubit == a || e.Qubit == b; entangled != (e.Cluster == min(a.Index, b.Index)+1) {
			t.Errorf("%v is in cluster %d", e.Qubit, e.Cluster)
		}
	}

	answered := 0
	r.client.BellFidelity(a, b, l, func(at qnet.Time, f float64, err error) {
		want, wantErr := r.fab.Oracle().BellFidelity(at, a, b, l)
		if err != nil || wantErr != nil || f != want || f < 0.5 {
			t.Errorf("fidelity %v (%v), want %v (%v)", f, err, want, wantErr)
		}
		answered++
	})
	r.client.Density([]physical.Qubit{b, c, a}, func(at qnet.Time, rho []complex128, err error) {
		want, wantErr := r.fab.Oracle().Density(at, b, c, a)
		if err != nil || wantErr != nil || len(rho) != 64 {
			t.Fatalf("density of %d numbers (%v; %v), want 64", len(rho), err, wantErr)
		}
		var trace complex128
		for i, x := range rho {
			if x != want[i] {
				t.Errorf("element %d is %v, want %v", i, x, want[i])
			}
			if i%9 == 0 {
				trace += x
			}
		}
		if cmplx.Abs(trace-1) > 1e-12 {
			t.Errorf("trace %v", trace)
		}
		answered++
	})
	r.client.BellFidelity(a, physical.Qubit{Fabric: a.Fabric, Index: 1, Generation: 99}, l, func(_ qnet.Time, _ float64, err error) {
		if !errors.Is(err, qnet.ErrBadQubit) {
			t.Errorf("fidelity with a qubit that is none: %v", err)
		}
		answered++
	})
	r.until(func() bool { return answered == 3 })

	r.client.Close()
	r.fab.Disconnect(alice)
	r.fab.Disconnect(bob)
	if err := r.loop.RunFor(time.Second); err != nil || r.net.Streams() != 0 || r.loop.Pending() != 0 || len(r.fab.Ledger()) != 0 {
		t.Errorf("left over: %d streams, %d timers, %d qubits (%v)", r.net.Streams(), r.loop.Pending(), len(r.fab.Ledger()), err)
	}
}

// A ledger that is too long for one message comes in several.
func TestLongLedger(t *testing.T) {
	r := newRig(t, 5000)
	for range 5000 {
		r.fab.Device(alice).Do(physical.Op{Kind: physical.OpAlloc}, nil)
	}
	list, err := r.ledger()
	if err != nil || len(list) != 5000 {
		t.Fatalf("%d qubits (%v), want 5000", len(list), err)
	}
	for i, e := range r.fab.Ledger() {
		if list[i].Qubit != e.Qubit {
			t.Fatalf("row %d is %v, want %v", i, list[i].Qubit, e.Qubit)
		}
	}
}

// Nobody but the observer sees a state: not a node of the network either.
func TestOnlyTheObserver(t *testing.T) {
	r := newRig(t, 1)
	a, b, l := r.pair()
	client := oracle.NewClient(world, "world.fabric", r.net.Endpoint(alice, nil), r.loop)
	var got error
	client.BellFidelity(a, b, l, func(_ qnet.Time, f float64, err error) {
		if f != 0 {
			t.Errorf("a node learned the fidelity %v", f)
		}
		got = err
	})
	r.until(func() bool { return got != nil })
	if !errors.Is(got, qnet.ErrAuth) {
		t.Errorf("a node was told %v, want %v", got, qnet.ErrAuth)
	}
}

// Handles of before a restart are errors, whatever lies in their places now.
func TestRestart(t *testing.T) {
	r := newRig(t, 1)
	a, b, l := r.pair()
	if _, err := r.ledger(); err != nil {
		t.Fatal(err)
	}
	lost := make([]error, 0, 2)
	r.client.BellFidelity(a, b, l, func(_ qnet.Time, _ float64, err error) { lost = append(lost, err) })
	r.start(8, 1)
	r.until(func() bool { return len(lost) == 1 })
	if !errors.Is(lost[0], qnet.ErrUnavail) {
		t.Errorf("the question under way: %v, want %v", lost[0], qnet.ErrUnavail)
	}
	r.pair()
	r.client.BellFidelity(a, b, l, func(_ qnet.Time, _ float64, err error) { lost = append(lost, err) })
	r.until(func() bool { return len(lost) == 2 })
	if !errors.Is(lost[1], qnet.ErrRestarted) {
		t.Errorf("old handles: %v, want %v", lost[1], qnet.ErrRestarted)
	}
	if list, err := r.ledger(); err != nil || len(list) != 2 {
		t.Errorf("ledger after the restart: %v (%v), want 2 qubits", list, err)
	}
}

// Questions beyond the bound are refused, the others answered in their order.
func TestFlood(t *testing.T) {
	r := newRig(t, 1)
	a, b, l := r.pair()
	busy, answered := 0, 0
	for range 3 * oracle.MaxQuestions {
		r.client.BellFidelity(a, b, l, func(_ qnet.Time, _ float64, err error) {
			if errors.Is(err, qnet.ErrBusy) {
				busy++
			} else if err == nil {
				answered++
			}
		})
	}
	r.until(func() bool { return busy+answered == 3*oracle.MaxQuestions })
	if answered != oracle.MaxQuestions {
		t.Errorf("%d answers, want %d", answered, oracle.MaxQuestions)
	}
}
