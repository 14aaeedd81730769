package remote_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/remote"
	"qstack/physical/state"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

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

// All calls of one turn travel in one message, and so do all results of one
// instant.
func TestCoalescing(t *testing.T) {
	r := newRig(t, clean(), far, alice)
	r.attached()
	qs := []physical.Qubit{r.alloc(alice), r.alloc(alice), r.alloc(alice)}
	r.must(alice, physical.Op{Kind: physical.OpArm, Link: 1})
	c, n := r.clients[alice], r.watchMessages()
	answers := 0
	for _, q := range qs {
		c.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}, func(physical.Result) { answers++ })
	}
	r.loop.After(0, func() { // an event of the same instant, but another turn in real time
		c.Do(physical.Op{Kind: physical.OpArm, Link: 1, Lane: 1}, func(physical.Result) { answers++ })
	})
	r.run(5 * time.Millisecond)
	// The gates end after 5 µs, the lane is ready after 10 µs.
	if got := fmt.Sprint(answers, n); got != "4 map[82:2 83:2]" {
		t.Errorf("answers and messages by type: %v", got)
	}
	clear(n)
	for _, a := range r.fab.Ledger() {
		c.Do(physical.Op{Kind: physical.OpFree, A: a.Qubit}, nil)
	}
	r.run(5 * time.Millisecond)
	if got := fmt.Sprint(n); got != "map[82:1 83:1]" {
		t.Errorf("messages to free all: %v", got)
	}
	// More than one message holds: 2,500 operations are three messages.
	clear(n)
	for range 2500 {
		c.Do(physical.Op{Kind: physical.OpFree}, nil)
	}
	r.run(5 * time.Millisecond)
	if got := fmt.Sprint(n); got != "map[82:3 83:3]" {
		t.Errorf("messages of 2,500 operations: %v", got)
	}
	r.rest()
}

// Results on one qubit come in the order of the calls, however the network
// dawdles, and with results ahead of their instant.
func TestOrder(t *testing.T) {
	for _, early := range []time.Duration{0, 2 * time.Millisecond} {
		cfg := clean()
		cfg.EarlyResults = early
		r := newRig(t, cfg, control.LinkConfig{Delay: time.Millisecond, Jitter: 5 * time.Millisecond}, alice)
		r.attached()
		qs := []physical.Qubit{r.alloc(alice), r.alloc(alice)}
		rng := rand.New(rand.NewPCG(1, 2))
		var last [2]int
		n := 0
		for i := range 400 {
			r.run(time.Duration(rng.IntN(100_000)))
			k := rng.IntN(2)
			op := physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: qs[k]}
			switch rng.IntN(4) {
			case 0:
				op.Kind = physical.OpMeasure
			case 1:
				op.Kind, op.Basis = physical.OpMeasure, qnet.Basis{Theta: math.NaN()} // an error
			}
			if i >= 390 { // the end: freed, and used again
				op = physical.Op{Kind: physical.OpFree, A: qs[k]}
			}
			r.clients[alice].Do(op, func(physical.Result) {
				if last[k] > i {
					t.Errorf("call %d on qubit %d was answered after call %d", i, k, last[k])
				}
				last[k] = i
				n++
			})
		}
		r.until("400 answers", func() bool { return n == 400 })
		r.rest()
	}
}

// When a node's process dies, its qubits are traced out, their partners are left
// mixed, and nothing remains; likewise when it closes the device, when the
// connection is cut and when its stream breaks. Without the death of either
// process the node attaches again, to a clean device.
func TestDisconnect(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  qnet.Code // of what is pending; 0 if nobody is there to be told
		back  bool
		sever func(*rig)
	}{
		{"process dies", 0, false, func(r *rig) { r.net.Remove(bob) }},
		{"closed", qnet.ErrUnavail, false, func(r *rig) { r.clients[bob].Close() }},
		{"connection cut", qnet.ErrUnavail, true, func(r *rig) {
			_ = r.net.Break(bob, world)
			r.loop.After(200*time.Millisecond, func() { _ = r.net.Restore(bob, world) })
		}},
		{"stream breaks", qnet.ErrUnavail, true, func(r *rig) {
			r.net.SetFilter(func(_, to qnet.NodeID, _ control.Class, typ wire.Type, _ []byte) control.Verdict {
				r.net.SetFilter(nil)
				return control.Verdict{Action: control.Break}
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, clean(), far, alice, bob, charlie)
			r.attached()
			qa, qb := r.pair(1, 0)
			b2, qc := r.pair(2, 0)
			own := r.alloc(bob)
			r.arm(1, 1)
			dev := r.clients[bob]
			var sinkErrs, errs []error
			bulk := 0
			dev.ArmBulk(2, 1, physical.BasisSource{}, func(o physical.Outcomes, err error) { sinkErrs = append(sinkErrs, err) },
				func(res physical.Result) {
					if res.Err != nil {
						t.Error(res.Err)
					}
					bulk++
				})
			r.run(5 * time.Millisecond)
			failed := func(res physical.Result) {
				errs = append(errs, res.Err)
				dev.Do(physical.Op{Kind: physical.OpFree, A: own}, func(res physical.Result) { errs = append(errs, res.Err) })
			}
			c.sever(r)
			if dev.Attached() {
				for _, op := range []physical.Op{
					{Kind: physical.OpGate, Gate: physical.GateCNOT, A: own, B: qb},
					{Kind: physical.OpBSM, A: qb, B: b2},
					{Kind: physical.OpAlloc},
				} {
					dev.Do(op, failed)
				}
			}
			r.run(500 * time.Millisecond)
			for _, a := range r.fab.Ledger() {
				if a.Node == bob {
					t.Errorf("left over: %v", a)
				}
			}
			r.mixed(qa)
			r.mixed(qc)
			if c.code == 0 {
				if r.server.Attached(bob) {
					t.Error("a dead process is attached")
				}
				delete(r.clients, bob)
				r.client(bob) // its successor
				r.attached()
				r.arm(2, 1)
				r.rest()
				return
			}
			if bulk != 1 || len(sinkErrs) != 1 {
				t.Errorf("%d lanes measured directly, and their sinks heard %v, want one error", bulk, sinkErrs)
			} else {
				wantErr(t, sinkErrs[0], c.code, "node bob has no quantum hardware: fabric world.fabric: ")
			}
			for _, err := range errs {
				wantErr(t, err, c.code, "node bob has no quantum hardware: fabric world.fabric: ")
			}
			if !c.back {
				wantErr(t, r.do(bob, physical.Op{Kind: physical.OpAlloc}).Err, qnet.ErrUnavail, "the device was closed")
				r.rest()
				return
			}
			if len(errs) != 6 {
				t.Errorf("%d errors, want one for each of 3 operations and 3 asked for while it was lost", len(errs))
			}
			if !dev.Attached() {
				t.Fatal("not attached again")
			}
			if ch := r.changes[bob]; len(ch) != 3 || ch[0] != nil || ch[2] != nil {
				t.Errorf("changes %v, want that it was lost and is back", ch)
			} else {
				wantErr(t, ch[1], c.code, "world.fabric")
			}
			if got := fmt.Sprint(r.freed[bob]); got != "[1/0 1/1 2/0 2/1 1/0 1/1 2/0 2/1]" {
				t.Errorf("free lanes: %v", got)
			}
			wantErr(t, r.do(bob, physical.Op{Kind: physical.OpFree, A: own}).Err, qnet.ErrBadQubit, "was freed")
			r.must(alice, physical.Op{Kind: physical.OpFree, A: qa})
			r.run(5 * time.Millisecond)
			qa, _ = r.pair(1, 0)
			r.must(alice, physical.Op{Kind: physical.OpFree, A: qa})
			r.rest()
		})
	}
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
		{"read-out error is 0 here, 0.02 there", func(s *physical.Spec) { s.Noise.ReadoutError = 0 }},
	} {
		r := newRig(t, clean(), far)
		s := r.spec(alice)
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

// tape is a stream handler that remembers.
type tape struct {
	types  []wire.Type
	closed bool
	err    error
}

func (h *tape) Message(_ control.Stream, b []byte) {
	typ, _, _ := wire.Peek(b)
	h.types = append(h.types, typ)
}

func (h *tape) Closed(_ control.Stream, err error) { h.closed, h.err = true, err }

// junk is a message with any type and any body.
type junk struct {
	typ  wire.Type
	body []byte
}

func (m *junk) Type() wire.Type { return m.typ }
func (m *junk) Fields(c *wire.Codec) {
	for i := range m.body {
		v := uint64(m.body[i] & 63)
		c.Uvarint("byte", &v, "")
	}
}

// open opens a stream to the fabric by hand.
func (r *rig) open(node qnet.NodeID, first wire.Message) (control.Stream, *tape) {
	r.t.Helper()
	h := new(tape)
	ep := r.net.Endpoint(node, nil)
	r.run(5 * time.Millisecond)
	s, err := ep.Open(world, first, h)
	if err != nil {
		r.t.Fatal(err)
	}
	r.run(5 * time.Millisecond)
	return s, h
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		node  qnet.NodeID
		first wire.Message
		code  qnet.Code
	}{
		{"unknown node", mallory, &remote.Attach{Version: 1}, qnet.ErrAuth},
		{"another version", alice, &remote.Attach{Version: 2}, qnet.ErrUnsupported},
		{"not Attach", alice, &remote.Ops{}, qnet.ErrProtocol},
		{"malformed", alice, &junk{0x50, []byte{1, 2}}, qnet.ErrProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, clean(), far)
			_, h := r.open(c.node, c.first)
			if !h.closed || len(h.types) > 0 {
				t.Fatalf("not refused: %+v", h)
			}
			wantErr(t, h.err, c.code)
			r.rest()
		})
	}
	t.Run("as a client sees it", func(t *testing.T) {
		r := newRig(t, clean(), far, mallory)
		r.run(10 * time.Second)
		if ch := r.changes[mallory]; len(ch) != 1 {
			t.Errorf("changes %v, want one error", ch)
		} else {
			wantErr(t, ch[0], qnet.ErrUnavail, "fabric world.fabric: it has no node mallory: start both with the same scenario")
		}
		r.rest()
	})
	t.Run("no clock for strangers", func(t *testing.T) {
		r := newRig(t, clean(), far)
		n := r.watchMessages()
		ep := r.net.Endpoint(mallory, nil)
		if err := ep.Datagram(world, &remote.ClockRequest{Sequence: 1}); err != nil {
			t.Fatal(err)
		}
		r.run(5 * time.Millisecond)
		if got := fmt.Sprint(n); got != "map[85:1]" {
			t.Errorf("messages %v", got)
		}
	})
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
	s, err := ep.Open(world, &remote.Attach{Version: 1}, h)
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

// What a node sends against the rules ends its stream, frees its qubits, and
// touches nobody else.
func TestBrokenNode(t *testing.T) {
	many := func(first uint64, q physical.Qubit) wire.Message {
		m := &remote.Ops{First: first}
		for range 1024 {
			m.Ops = append(m.Ops, remote.Op{Op: physical.Op{Kind: physical.OpMeasure, A: q}})
		}
		return m
	}
	for _, c := range []struct {
		name string
		code qnet.Code
		send func(s control.Stream, q physical.Qubit)
	}{
		{"wrong type", qnet.ErrProtocol, func(s control.Stream, _ physical.Qubit) { s.Send(&remote.Results{}) }},
		{"unknown type", qnet.ErrProtocol, func(s control.Stream, _ physical.Qubit) { s.Send(&junk{0x5f, nil}) }},
		{"attached twice", qnet.ErrProtocol, func(s control.Stream, _ physical.Qubit) { s.Send(&remote.Attach{Version: 1}) }},
		{"malformed", qnet.ErrProtocol, func(s control.Stream, _ physical.Qubit) { s.Send(&junk{0x52, []byte{1, 1, 4}}) }},
		{"numbers used again", qnet.ErrProtocol, func(s control.Stream, _ physical.Qubit) { s.Send(&remote.Ops{First: 1}) }},
		{"65,537 operations", qnet.ErrBusy, func(s control.Stream, q physical.Qubit) {
			for i := range uint64(64) {
				s.Send(many(2+1024*i, q))
			}
			s.Send(&remote.Ops{First: 2 + 65536, Ops: []remote.Op{{Op: physical.Op{Kind: physical.OpAlloc}}}})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, clean(), far, bob)
			s, h := r.open(alice, &remote.Attach{Version: 1})
			r.attached()
			s.Send(&remote.Ops{First: 1, Ops: []remote.Op{{Op: physical.Op{Kind: physical.OpAlloc}}}})
			r.run(5 * time.Millisecond)
			if n := len(r.fab.Ledger()); n != 1 {
				t.Fatalf("%d qubits in use", n)
			}
			q := r.fab.Ledger()[0].Qubit
			qb := r.alloc(bob)
			c.send(s, q)
			r.run(50 * time.Millisecond)
			if !h.closed {
				t.Fatalf("the stream is open; it heard %v", h.types)
			}
			wantErr(t, h.err, c.code)
			if l := r.fab.Ledger(); len(l) != 1 || l[0].Qubit != qb {
				t.Errorf("in use: %v, want bob's qubit", l)
			}
			r.must(bob, physical.Op{Kind: physical.OpMeasure, A: qb})
			r.run(30 * time.Second) // the instants of what was pending
			r.rest()
		})
	}
	t.Run("65,536 operations", func(t *testing.T) {
		r := newRig(t, clean(), far)
		s, h := r.open(alice, &remote.Attach{Version: 1})
		s.Send(&remote.Ops{First: 1, Ops: []remote.Op{{Op: physical.Op{Kind: physical.OpAlloc}}}})
		r.run(5 * time.Millisecond)
		q := r.fab.Ledger()[0].Qubit
		for i := range uint64(64) {
			s.Send(many(2+1024*i, q))
		}
		r.run(30 * time.Second)
		if h.closed {
			t.Fatalf("the stream was closed: %v", h.err)
		}
		s.Close(qnet.OK)
		r.rest()
	})
}

// act is a fabric that does as it likes with the streams that it accepts.
type act struct {
	streams int
	do      func(s control.Stream)
}

func (*act) Datagram(qnet.NodeID, []byte) {}
func (*act) PeerUp(qnet.NodeID)           {}
func (*act) PeerDown(qnet.NodeID, error)  {}
func (a *act) Accept(s control.Stream, _ []byte) control.StreamHandler {
	a.streams++
	a.do(s)
	return new(tape)
}

// A fabric that breaks the rules, or is silent, is left and tried again, less
// and less often; the error says what it did.
func TestBrokenFabric(t *testing.T) {
	for _, c := range []struct {
		name, text string
		do         func(r *rig, s control.Stream)
	}{
		{"silent", "no answer to Attach within 2s", func(*rig, control.Stream) {}},
		{"closes", "it closed the stream", func(_ *rig, s control.Stream) { s.Close(qnet.OK) }},
		{"older", "it does not speak version 1 of the protocol: run the same release on both sides", func(_ *rig, s control.Stream) { s.Close(qnet.ErrUnsupported) }},
		{"malformed", "field fabric", func(_ *rig, s control.Stream) { s.Send(&junk{0x51, nil}) }},
		{"hasty", "it sent a message of type 0x53, which has no place here", func(_ *rig, s control.Stream) { s.Send(&remote.Results{}) }},
		{"repeats itself", "it sent a message of type 0x51, which has no place here", func(r *rig, s control.Stream) {
			s.Send(r.welcome())
			s.Send(r.welcome())
		}},
		{"unknown type", "type 0x5f", func(r *rig, s control.Stream) {
			s.Send(r.welcome())
			s.Send(&junk{0x5f, nil})
		}},
		{"invents results", "it answered operation 5, which nobody asked for", func(r *rig, s control.Stream) {
			s.Send(r.welcome())
			s.Send(&remote.Results{Results: []remote.Result{{Number: 5}}})
		}},
		{"malformed results", "field results", func(r *rig, s control.Stream) {
			s.Send(r.welcome())
			s.Send(&junk{0x53, []byte{1}})
		}},
		{"malformed outcomes", "field bits", func(r *rig, s control.Stream) {
			s.Send(r.welcome())
			s.Send(&remote.Outcomes{Cycles: []uint64{1}, Bits: []byte{99}})
		}},
		{"malformed lanes", "field after", func(r *rig, s control.Stream) {
			s.Send(r.welcome())
			s.Send(&remote.Results{Freed: []remote.Freed{{After: 1}}})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, clean(), far)
			f := &act{do: func(s control.Stream) { c.do(r, s) }}
			r.net.Endpoint(world, nil).Handle(wire.ServiceFabric, f)
			dev := r.client(alice)
			r.run(20 * time.Second)
			var errs []error
			for _, err := range r.changes[alice] {
				if err != nil {
					errs = append(errs, err)
				}
			}
			if len(errs) == 0 {
				t.Fatalf("no error was told; changes %v", r.changes[alice])
			}
			for _, err := range errs {
				wantErr(t, err, qnet.ErrUnavail, "node alice has no quantum hardware: fabric world.fabric: ", c.text)
			}
			if f.streams < 5 || f.streams > 20 {
				t.Errorf("%d attempts in 20 s", f.streams)
			}
			dev.Close()
			r.rest()
		})
	}
}

// welcome returns what a fabric answers to alice.
func (r *rig) welcome() *remote.Attached {
	s := r.spec(alice)
	return &remote.Attached{Fabric: 3, Sheet: remote.Sheet{
		Storage: uint64(s.Storage), Lanes: []remote.LinkLanes{{Link: 1, Lanes: 2}}, Init: s.Init, Gate1: s.Gate1, Gate2: s.Gate2, Readout: s.Readout,
		T1: s.T1, T2: s.T2, Depolarise: s.Depolarise, Noise: s.Noise,
	}}
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

// With 65,536 operations without an answer the next is refused; the others are
// executed.
func TestClientIsBounded(t *testing.T) {
	r := newRig(t, clean(), far, alice)
	r.attached()
	q := r.alloc(alice)
	c := r.clients[alice]
	ok, busy := 0, 0
	for range 65536 + 3 {
		c.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}, func(res physical.Result) {
			if res.Err == nil {
				ok++
				return
			}
			wantErr(t, res.Err, qnet.ErrBusy, "node alice: 65536 operations have no answer yet: await results before asking for more")
			busy++
		})
	}
	var sunk error
	c.ArmBulk(1, 0, physical.BasisSource{}, func(physical.Outcomes, error) {}, func(res physical.Result) { sunk = res.Err })
	r.run(time.Second)
	if ok != 65536 || busy != 3 || c.Pending() != 0 {
		t.Errorf("%d done, %d refused, %d pending", ok, busy, c.Pending())
	}
	wantErr(t, sunk, qnet.ErrBusy, "await results")
	r.rest()
}

// Outcomes of a great many pairs come in parts, complete and in order; freeing
// the lane silences it at once.
func TestBulk(t *testing.T) {
	cfg := clean()
	for i := range cfg.Nodes { // hardware that takes no time
		s := &cfg.Nodes[i].Spec
		s.Init, s.Gate1, s.Gate2, s.Readout = 0, 0, 0, 0
	}
	r := newRig(t, cfg, far, alice, bob)
	r.attached()
	n := r.watchMessages()
	const pairs = 10_000
	type column struct {
		cycles []uint64
		bits   []uint8
		parts  int
	}
	var cols [2]column
	var lost [2]int
	var qs [2]physical.Qubit
	for i, node := range []qnet.NodeID{alice, bob} {
		src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}, Weights: []float64{0, 1}}
		r.clients[node].ArmBulk(1, 0, src, func(o physical.Outcomes, err error) {
			if err != nil {
				lost[i]++
				return
			}
			if len(o.Cycle) != len(o.Basis) || len(o.Cycle) != len(o.Bit) {
				t.Fatalf("columns of %d, %d, %d", len(o.Cycle), len(o.Basis), len(o.Bit))
			}
			if slices.ContainsFunc(o.Basis, func(b uint8) bool { return b != 1 }) {
				t.Error("a basis of weight 0 was drawn")
			}
			c := &cols[i]
			c.cycles = append(c.cycles, o.Cycle...)
			c.bits = append(c.bits, o.Bit...)
			c.parts++
		}, func(res physical.Result) {
			if res.Err != nil {
				t.Fatal(res.Err)
			}
			qs[i] = res.Qubit
		})
	}
	r.run(5 * time.Millisecond)
	k := r.fab.Link(1)
	cycles, labels := make([]uint64, pairs), make([]qnet.BellLabel, pairs)
	for i := range cycles {
		cycles[i] = k.CycleAt(r.loop.Now()) + uint64(i)
	}
	r.run(pairs * time.Microsecond)
	if got := k.HeraldBulk([2]uint32{}, cycles, labels); got != pairs {
		t.Fatalf("%d pairs", got)
	}
	r.run(5 * time.Millisecond)
	for i := range cols {
		if !slices.Equal(cols[i].cycles, cycles) || cols[i].parts != 3 {
			t.Errorf("end %d got %d pairs in %d parts", i, len(cols[i].cycles), cols[i].parts)
		}
	}
	if n[0x54] != 6 {
		t.Errorf("%d messages of outcomes, want 3 for each end", n[0x54])
	}
	for i, l := range labels { // Z outcomes agree for Φ, differ for Ψ
		if cols[0].bits[i]^cols[1].bits[i] != uint8(l)>>1 {
			t.Fatalf("pair %d, %v, was measured %d and %d", i, l, cols[0].bits[i], cols[1].bits[i])
		}
	}

	// Freed while outcomes are on their way to it.
	more := []uint64{k.CycleAt(r.loop.Now()) - 1}
	if k.HeraldBulk([2]uint32{}, more, labels) != 1 {
		t.Fatal("no herald")
	}
	r.clients[alice].Do(physical.Op{Kind: physical.OpFree, A: qs[0]}, nil)
	r.run(5 * time.Millisecond)
	if len(cols[0].cycles) != pairs || len(cols[1].cycles) != pairs+1 {
		t.Errorf("%d and %d outcomes, want %d and one more", len(cols[0].cycles), len(cols[1].cycles), pairs)
	}
	for _, c := range []struct {
		text string
		src  physical.BasisSource
		sink func(physical.Outcomes, error)
	}{
		{"node alice: measuring directly on link 1 lane 0: 17 measurement bases", physical.BasisSource{Bases: make([]qnet.Basis, 17)}, func(physical.Outcomes, error) {}},
		{"nobody takes the outcomes", physical.BasisSource{}, nil},
	} {
		var err error
		r.clients[alice].ArmBulk(1, 0, c.src, c.sink, func(res physical.Result) { err = res.Err })
		r.run(5 * time.Millisecond)
		wantErr(t, err, qnet.ErrInvalid, c.text)
	}
	r.rest()
	if lost != [2]int{0, 1} {
		t.Errorf("the sinks heard %v errors, want one for the lane that was armed to the end", lost)
	}
}

// Outcomes never come before the lane's own arming is known, not even when all
// happens at one instant.
func TestBulkAtOnce(t *testing.T) {
	cfg := clean()
	for i := range cfg.Nodes {
		s := &cfg.Nodes[i].Spec
		s.Init, s.Gate1, s.Gate2, s.Readout = 0, 0, 0, 0
	}
	r := newRig(t, cfg, far, alice, bob)
	r.attached()
	k := r.fab.Link(1)
	k.OnArm(func(int, uint32) {
		k.HeraldBulk([2]uint32{}, []uint64{k.CycleAt(r.loop.Now())}, make([]qnet.BellLabel, 1))
	})
	heard := make(map[qnet.NodeID][]string)
	for _, n := range []qnet.NodeID{alice, bob} {
		tell := func(what string, at qnet.Time) { heard[n] = append(heard[n], fmt.Sprint(what, " ", at)) }
		r.clients[n].ArmBulk(1, 0, physical.BasisSource{}, func(o physical.Outcomes, err error) {
			if err == nil {
				tell("outcomes", o.At)
			}
		}, func(res physical.Result) { tell("armed", res.At) })
	}
	r.run(5 * time.Millisecond)
	for n, h := range heard {
		if got := strings.Join(h, ", "); got != "armed 2.1ms, outcomes 2.1ms" {
			t.Errorf("%s heard %s", names[n], got)
		}
	}
	r.rest()
}

// News of a free lane reach the node.
func TestWatch(t *testing.T) {
	r := newRig(t, clean(), far, alice, bob)
	r.attached()
	clear(r.freed)
	qa, qb := r.pair(1, 1)
	r.must(alice, physical.Op{Kind: physical.OpMeasure, A: qa, Free: true})
	r.must(bob, physical.Op{Kind: physical.OpFree, A: qb})
	r.run(5 * time.Millisecond)
	if got := fmt.Sprint(r.freed[alice], r.freed[bob]); got != "[1/1] [1/1]" {
		t.Errorf("free lanes %v", got)
	}
	r.rest()
}

// The stream breaks at each type of message in turn, in its place and right
// after it: every operation has exactly one answer, the node is attached again
// soon, and nothing is left.
func TestBreakAtEachMessage(t *testing.T) {
	for typ := wire.Type(0x50); typ <= 0x54; typ++ {
		for _, action := range []control.Action{control.Break, control.BreakAfter} {
			t.Run(fmt.Sprintf("0x%x/%d", typ, action), func(t *testing.T) {
				r := newRig(t, clean(), far, alice, bob)
				broken := 0
				r.net.SetFilter(func(from, to qnet.NodeID, _ control.Class, m wire.Type, _ []byte) control.Verdict {
					if m == typ && broken == 0 && (from == alice || to == alice) {
						broken++
						return control.Verdict{Action: action}
					}
					return control.Verdict{}
				})
				asked, failures := 0, 0
				answers := make(map[int]int)
				sunk := 0
				do := func(node qnet.NodeID, op physical.Op, next func(physical.Qubit)) {
					i := asked
					asked++
					r.clients[node].Do(op, func(res physical.Result) {
						answers[i]++
						if res.Err != nil {
							failures++
							wantErr(t, res.Err, qnet.CodeOf(res.Err), "") // carries a code
							if c := qnet.CodeOf(res.Err); c != qnet.ErrUnavail && c != qnet.ErrBadQubit && c != qnet.ErrNoMemory {
								t.Error(res.Err)
							}
							return
						}
						if next != nil {
							next(res.Qubit)
						}
					})
				}
				for range 50 {
					r.run(4 * time.Millisecond)
					for _, node := range []qnet.NodeID{alice, bob} {
						do(node, physical.Op{Kind: physical.OpAlloc}, func(q physical.Qubit) {
							do(node, physical.Op{Kind: physical.OpMeasure, A: q}, nil)
							do(node, physical.Op{Kind: physical.OpFree, A: q}, nil)
						})
						r.clients[node].ArmBulk(1, 0, physical.BasisSource{}, func(_ physical.Outcomes, err error) {
							if err == nil {
								sunk++
							}
						}, func(res physical.Result) {
							if res.Err == nil {
								r.loop.After(3*time.Millisecond, func() { do(node, physical.Op{Kind: physical.OpFree, A: res.Qubit}, nil) })
							}
						})
					}
					r.run(2 * time.Millisecond)
					k := r.fab.Link(1)
					k.HeraldBulk([2]uint32{}, []uint64{k.CycleAt(r.loop.Now()) - 1}, make([]qnet.BellLabel, 1))
				}
				r.run(300 * time.Millisecond)
				if broken != 1 {
					t.Fatalf("no message of type 0x%x was sent", typ)
				}
				for i := range asked {
					if answers[i] != 1 {
						t.Errorf("operation %d of %d has %d answers", i, asked, answers[i])
					}
				}
				if sunk < 10 || failures > asked/2 {
					t.Errorf("%d outcomes, %d of %d operations failed", sunk, failures, asked)
				}
				if !r.clients[alice].Attached() || !r.clients[bob].Attached() {
					t.Error("not attached again")
				}
				if ch := r.changes[bob]; len(ch) != 1 {
					t.Errorf("bob was told %v", ch)
				}
				r.rest()
			})
		}
	}
}

func TestTrace(t *testing.T) {
	var buf bytes.Buffer
	w := trace.NewWriter(&buf)
	r := newRig(t, clean(), atOnce)
	r.server = remote.NewServer(r.fab, r.ep, r.loop, trace.New(w, "world.fabric"))
	c := remote.NewClient(remote.Config{Name: "alice", Fabric: world, FabricName: "world.fabric", Spec: r.spec(alice), SameClock: true},
		r.net.Endpoint(alice, nil), r.loop, trace.New(w, "alice"))
	r.run(time.Millisecond)
	c.Close()
	_, _ = r.open(mallory, &remote.Attach{Version: 1})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"t":0,"node":"world.fabric","layer":"remote","event":"attach","peer":"00000000000a11ce"}`,
		fmt.Sprintf(`{"t":0,"node":"alice","layer":"remote","event":"attached","fabric":"world.fabric","id":%d,"offset":0}`, r.fab.ID()),
		`{"t":1000000,"node":"alice","layer":"remote","event":"detached","fabric":"world.fabric","error":"the device was closed"}`,
		`{"t":1000000,"node":"world.fabric","layer":"remote","event":"detach","peer":"00000000000a11ce"}`,
		`{"t":6000000,"node":"world.fabric","layer":"remote","event":"refuse","peer":"0000000000000bad","error":"there is no such node"}`,
	}
	if got := strings.Split(strings.TrimSpace(buf.String()), "\n"); !slices.Equal(got, want) {
		t.Errorf("trace:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A callback may close the device, whichever it is: everything is answered once,
// and nothing is left.
func TestCloseInCallback(t *testing.T) {
	for _, at := range []string{"result", "change", "lane", "loss", "sink", "outcomes"} {
		t.Run(at, func(t *testing.T) {
			r := newRig(t, clean(), far, bob)
			r.attached()
			c := r.client(alice)
			armed := false
			told := 0
			closeAt := func(where string) {
				if where == at {
					c.Close()
				}
			}
			c.OnChange(func(err error) {
				told++
				if err == nil {
					closeAt("change")
				}
			})
			c.Watch(func(physical.LinkID, uint32) { closeAt("lane") })
			r.run(5 * time.Millisecond)
			const n = 10
			var answers [n]int
			sunk := 0
			for i := range n {
				done := func(res physical.Result) {
					answers[i]++
					if res.Err == nil {
						closeAt("result")
					} else {
						closeAt("loss")
					}
				}
				if i > 0 {
					c.Do(physical.Op{Kind: physical.OpArm, Link: 9}, done)
					continue
				}
				c.ArmBulk(1, 0, physical.BasisSource{}, func(_ physical.Outcomes, err error) {
					if sunk++; err == nil {
						closeAt("outcomes")
					} else {
						closeAt("sink")
					}
				}, func(res physical.Result) { armed = res.Err == nil; done(res) })
			}
			r.run(5 * time.Millisecond)
			r.clients[bob].ArmBulk(1, 0, physical.BasisSource{}, func(physical.Outcomes, error) {}, nil)
			r.run(5 * time.Millisecond)
			k := r.fab.Link(1)
			k.HeraldBulk([2]uint32{}, []uint64{k.CycleAt(r.loop.Now()) - 1}, make([]qnet.BellLabel, 1))
			r.run(5 * time.Millisecond)
			r.net.Remove(world)
			r.run(300 * time.Millisecond)
			for i, a := range answers {
				if a != 1 {
					t.Errorf("operation %d has %d answers", i, a)
				}
			}
			want := 0 // times that the sink is called: with outcomes, and with the loss
			if armed {
				want = 1
			}
			if at == "sink" || at == "outcomes" {
				want = 2
			}
			if sunk != want {
				t.Errorf("the sink was called %d times, want %d", sunk, want)
			}
			c.Close()
			r.start(r.cfg)
			r.run(time.Second)
			if c.Attached() || told > 2 {
				t.Errorf("attached %v after Close; %d changes were told", c.Attached(), told)
			}
			r.rest()
		})
	}
}
