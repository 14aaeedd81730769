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
		{"unknown node", mallory, &remote.Attach{Version: remote.Version}, qnet.ErrAuth},
		{"another version", alice, &remote.Attach{Version: remote.Version + 1}, qnet.ErrUnsupported},
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
		{"attached twice", qnet.ErrProtocol, func(s control.Stream, _ physical.Qubit) { s.Send(&remote.Attach{Version: remote.Version}) }},
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
			s, h := r.open(alice, &remote.Attach{Version: remote.Version})
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
		s, h := r.open(alice, &remote.Attach{Version: remote.Version})
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
		{"older", fmt.Sprintf("it does not speak version %d of the protocol: run the same release on both sides", remote.Version), func(_ *rig, s control.Stream) { s.Close(qnet.ErrUnsupported) }},
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
