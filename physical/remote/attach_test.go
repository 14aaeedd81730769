package remote_test

import (
	"fmt"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/remote"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

func TestAttach(t *testing.T) {
	r := newRig(t, clean(), far, alice, bob)
	c := r.clients[alice]
	var early error
	c.Do(physical.Op{Kind: physical.OpAlloc}, func(res physical.Result) { early = res.Err })
	r.attached()
	wantErr(t, early, qnet.ErrUnavail, "node alice has no quantum hardware: fabric world.fabric: there has been no connection yet")
	if now, want := r.loop.Now(), qnet.Time(2*far.Delay); now != want {
		t.Errorf("attached at %v, want %v: a round trip", now, want)
	}
	if !r.server.Attached(alice) || r.server.Attached(charlie) {
		t.Error("the server says otherwise")
	}
	if ch := r.changes[alice]; len(ch) != 1 || ch[0] != nil {
		t.Errorf("changes %v, want that it is there", ch)
	}
	if got := fmt.Sprint(r.freed[alice], r.freed[bob]); got != "[1/0 1/1] [1/0 1/1 2/0 2/1]" {
		t.Errorf("free lanes told on attachment: %v", got)
	}
	if c.Spec().Storage != 3 || c.Now() != r.loop.Now() || c.Offset() != 0 {
		t.Errorf("spec %+v, now %v, offset %v", c.Spec(), c.Now(), c.Offset())
	}
	q := r.alloc(alice)
	if q.Fabric != r.fab.ID() {
		t.Errorf("%v is not of fabric %08x", q, r.fab.ID())
	}
	r.rest()
}

// After a restart of the fabric every handle of before is an error, whatever
// lies in its place now, and the node starts afresh.
func TestFabricRestart(t *testing.T) {
	for _, quick := range []bool{false, true} {
		cfg := clean()
		cfg.ID = 7
		r := newRig(t, cfg, far, alice, bob)
		r.attached()
		old := r.alloc(alice)
		old2 := r.alloc(alice)
		var pending error
		r.clients[alice].Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: old, B: old2}, func(res physical.Result) { pending = res.Err })
		r.run(1)
		cfg.ID = 8
		if quick {
			r.start(cfg) // before anybody has noticed
		} else {
			r.net.Remove(world)
			r.run(200 * time.Millisecond)
			wantErr(t, pending, qnet.ErrUnavail, "world.fabric")
			wantErr(t, r.do(alice, physical.Op{Kind: physical.OpAlloc}).Err, qnet.ErrUnavail, "world.fabric")
			if r.clients[alice].Attached() {
				t.Error("attached to a dead fabric")
			}
			r.start(cfg)
		}
		r.run(5 * time.Millisecond)
		r.attached()
		wantErr(t, pending, qnet.ErrUnavail, "world.fabric")
		if ch := r.changes[alice]; len(ch) != 3 || ch[0] != nil || ch[1] == nil || ch[2] != nil {
			t.Errorf("changes %v, want that it was lost and is back", ch)
		}
		if got := fmt.Sprint(r.freed[alice]); got != "[1/0 1/1 1/0 1/1]" {
			t.Errorf("free lanes: %v", got)
		}
		q := r.alloc(alice)
		if q.Index != old.Index || q.Generation != old.Generation || q.Fabric != 8 {
			t.Errorf("%v, want the place of %v", q, old)
		}
		for _, op := range []physical.Op{
			{Kind: physical.OpFree, A: old},
			{Kind: physical.OpMeasure, A: old},
			{Kind: physical.OpGate, Gate: physical.GateCZ, A: q, B: old},
			{Kind: physical.OpBSM, A: old, B: q},
		} {
			wantErr(t, r.do(alice, op).Err, qnet.ErrRestarted, "node alice: ", old.String(), "restarted")
		}
		r.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q, B: old}) // B does not matter
		r.rest()
	}
}

func TestDataSheetMismatch(t *testing.T) {
	for _, c := range []struct {
		text   string
		change func(*physical.Spec)
	}{
		{"storage qubits 4 here, 3 there", func(s *physical.Spec) { s.Storage = 4 }},
		{"2 links here, 1 there", func(s *physical.Spec) { s.Lanes = map[physical.LinkID]int{1: 2, 2: 2} }},
		{"3 communication qubits for link 1 here, 2 for link 1 there", func(s *physical.Spec) { s.Lanes = map[physical.LinkID]int{1: 3} }},
		{"2 communication qubits for link 2 here, 2 for link 1 there", func(s *physical.Spec) { s.Lanes = map[physical.LinkID]int{2: 2} }},
		{"initialisation takes 11µs here, 10µs there", func(s *physical.Spec) { s.Init = us(11) }},
		{"a single-qubit gate takes 6µs here, 5µs there", func(s *physical.Spec) { s.Gate1 = us(6) }},
		{"a two-qubit gate takes 101µs here, 100µs there", func(s *physical.Spec) { s.Gate2 = us(101) }},
		{"a read-out takes 301µs here, 300µs there", func(s *physical.Spec) { s.Readout = us(301) }},
		{"T1 in seconds is 3 here, 2 there", func(s *physical.Spec) { s.T1 = 3 }},
		{"T2 in seconds is 0.5 here, 1 there", func(s *physical.Spec) { s.T2 = 0.5 }},
		{"the depolarising rate per second is 0.25 here, 0.5 there", func(s *physical.Spec) { s.Depolarise = 0.25 }},
		{"two-qubit gate depolarising is 0.02 here, 0.01 there", func(s *physical.Spec) { s.Noise.Gate2Depolarising = 0.02 }},
		{"read-out error is [0 0.02] here, [0.02 0.02] there", func(s *physical.Spec) { s.Noise.ReadoutError[0] = 0 }},
		{"two-qubit gate dephasing is 0.1 here, 0 there", func(s *physical.Spec) { s.Noise.Gate2Dephasing = 0.1 }},
		{"initialisation depolarising is 0.1 here, 0 there", func(s *physical.Spec) { s.Noise.InitDepolarising = 0.1 }},
		{"single-qubit gate depolarising is 0.1 here, 0 there", func(s *physical.Spec) { s.Noise.Gate1Depolarising = 0.1 }},
		{"the dephasing by an attempt on link 1 is 0.01 here, 0 there", func(s *physical.Spec) { s.AttemptDephasing = map[physical.LinkID]float64{1: 0.01} }},
		{"communication qubits that lanes share 1 here, 0 there", func(s *physical.Spec) { s.Communication = 1 }},
		{"kinds of storage qubits of their own 0 here, 1 there", func(s *physical.Spec) { s.Memory = nil }},
		{"storage initialisation takes 21µs here, 20µs there", func(s *physical.Spec) { s.Memory.Init = us(21) }},
		{"a storage gate takes 31µs here, 30µs there", func(s *physical.Spec) { s.Memory.Gate1 = us(31) }},
		{"a storage read-out takes 41µs here, 40µs there", func(s *physical.Spec) { s.Memory.Readout = us(41) }},
		{"T1 of storage in seconds is 5 here, 4 there", func(s *physical.Spec) { s.Memory.T1 = 5 }},
		{"T2 of storage in seconds is 4 here, 3 there", func(s *physical.Spec) { s.Memory.T2 = 4 }},
		{"the depolarising rate of storage per second is 1 here, 0 there", func(s *physical.Spec) { s.Memory.Depolarise = 1 }},
		{"storage through communication qubits: true here, false there", func(s *physical.Spec) { s.Memory.Indirect = true }},
		{"storage initialisation depolarising is 0.1 here, 0 there", func(s *physical.Spec) { s.Noise.Memory.InitDepolarising = 0.1 }},
		{"storage single-qubit gate depolarising is 0.1 here, 0 there", func(s *physical.Spec) { s.Noise.Memory.Gate1Depolarising = 0.1 }},
		{"storage read-out error is [0.1 0] here, [0 0] there", func(s *physical.Spec) { s.Noise.Memory.ReadoutError[0] = 0.1 }},
		{"the coupling is star here, all there", func(s *physical.Spec) { s.Coupling = physical.CouplingStar }},
		{"one operation at a time: true here, false there", func(s *physical.Spec) { s.Serial = true }},
	} {
		cfg := clean()
		cfg.Nodes[0].Spec.Memory = &physical.Memory{Init: us(20), Gate1: us(30), Readout: us(40), T1: 4, T2: 3}
		r := newRig(t, cfg, far)
		s := r.spec(alice)
		if s.Memory != nil {
			m := *s.Memory
			s.Memory = &m
		}
		c.change(s)
		dev := r.clientOn(alice, remote.Config{Spec: s}, r.loop)
		r.run(20 * time.Second)
		if dev.Attached() || r.server.Attached(alice) {
			t.Errorf("%s: attached", c.text)
		}
		want := "node alice has no quantum hardware: fabric world.fabric: its data sheet of node alice is another: " + c.text + ": start both with the same scenario"
		// It goes on trying, and tells once.
		if ch := r.changes[alice]; len(ch) != 1 || ch[0].Error() != want {
			t.Errorf("changes %v\nwant %s", ch, want)
		}
		wantErr(t, r.do(alice, physical.Op{Kind: physical.OpAlloc}).Err, qnet.ErrUnavail, want)
		r.rest()
	}
}

// A node that attaches a second time ends the first attachment; the first does
// not fight back, but comes when there is a new connection.
func TestSecondAttachment(t *testing.T) {
	r := newRig(t, clean(), far, bob)
	ep := r.net.Endpoint(alice, nil)
	c := remote.NewClient(remote.Config{Name: "alice", Fabric: world, FabricName: "world.fabric", Spec: r.spec(alice), SameClock: true}, ep, r.loop, nil)
	r.clients[alice] = c
	r.attached()
	var lost error
	c.OnChange(func(err error) { lost = err })
	qa, qb := r.pair(1, 0)
	h := new(tape)
	s, err := ep.Open(world, &remote.Attach{Version: remote.Version}, h)
	if err != nil {
		t.Fatal(err)
	}
	r.run(5 * time.Second)
	if c.Attached() || h.closed || len(h.types) != 1 {
		t.Errorf("first attached: %v, second: %+v", c.Attached(), h)
	}
	wantErr(t, lost, qnet.ErrUnavail, "another process attached as node alice: stop one of the two")
	if n := len(r.fab.Ledger()); n != 1 {
		t.Errorf("%d qubits in use, want bob's", n)
	}
	r.mixed(qb)
	s.Send(&remote.Ops{First: 9, Ops: []remote.Op{{Op: physical.Op{Kind: physical.OpFree, A: qa}}, {Op: physical.Op{Kind: physical.OpAlloc}}}})
	r.run(5 * time.Millisecond)
	if n := len(r.fab.Ledger()); n != 2 || len(h.types) != 3 {
		t.Errorf("%d qubits in use, the second attachment heard %v", n, h.types)
	}
	if err := r.net.Break(alice, world); err != nil {
		t.Fatal(err)
	}
	r.run(200 * time.Millisecond)
	if err := r.net.Restore(alice, world); err != nil {
		t.Fatal(err)
	}
	r.run(5 * time.Millisecond)
	r.attached()
	r.rest()
}

// If it is known that the fabric restarted, what was pending says so.
func TestKnownRestart(t *testing.T) {
	r := newRig(t, clean(), far)
	var stream control.Stream
	r.net.Endpoint(world, nil).Handle(wire.ServiceFabric, &act{do: func(s control.Stream) {
		stream = s
		s.Send(r.welcome())
	}})
	c := r.client(alice)
	r.attached()
	var errs []error
	c.Do(physical.Op{Kind: physical.OpAlloc}, func(res physical.Result) {
		errs = append(errs, res.Err)
		c.Do(physical.Op{Kind: physical.OpAlloc}, func(res physical.Result) { errs = append(errs, res.Err) })
	})
	r.run(5 * time.Millisecond)
	stream.Close(qnet.ErrRestarted)
	r.run(5 * time.Millisecond)
	if len(errs) != 2 {
		t.Fatalf("errors %v, want of one pending operation and of one afterwards", errs)
	}
	wantErr(t, errs[0], qnet.ErrRestarted, "fabric world.fabric: ", "restarted")
	wantErr(t, errs[1], qnet.ErrUnavail, "fabric world.fabric: ", "restarted")
	r.rest()
}
