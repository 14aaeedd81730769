package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/node"
	"qstack/node/qtest"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/wire"
	"qstack/qsocket"
	"qstack/transport"
)

const (
	patience = time.Second     // of a program in one call
	answer   = 5 * time.Second // within which the other end must answer about a qubit under way
)

// theatre is a chain of three nodes with perfect hardware and two programs at its
// ends, at n0 the head and at n2 the tail of a socket.
type theatre struct {
	t    *testing.T
	n    *qtest.Network
	head *flaky // hardware of n0

	leave time.Duration // how long the tail waits for its last qubit, then it ends its session
}

func newTheatre(t *testing.T) *theatre {
	t.Helper()
	s := perfect(3, 2)
	for i := range s.Nodes {
		s.Nodes[i].Storage = 2
	}
	n := qtest.New(t, s, node.Options{})
	if err := n.Kill("n0"); err != nil {
		t.Fatal(err)
	}
	id := n.Stacks[0].ID
	h := &theatre{t: t, n: n, leave: 100 * time.Microsecond, head: &flaky{Device: n.Fabric.Device(id), loop: n.Clock}}
	n.Stacks[0] = node.NewStack(n.Plan, 0, h.head, n.Control.Endpoint(id, nil), n.Clock, nil)
	return h
}

// flaky is hardware whose Bell-state measurements fail when it is told so.
type flaky struct {
	physical.Device
	loop event.Scheduler
	fail bool
}

func (d *flaky) Do(op physical.Op, done func(physical.Result)) {
	if op.Kind == physical.OpBSM && d.fail {
		d.loop.After(0, func() { done(physical.Result{Err: qnet.Errorf(qnet.ErrUnavail, "the laser is off")}) })
		return
	}
	d.Device.Do(op, done)
}

// talk is what two programs have of one socket, the head first.
type talk struct {
	*theatre
	calm   bool // nothing is disturbed: every call ends as it must
	late   bool // the network may be so slow that an end breaks off
	halves [2]map[qsocket.PairName]half
	wrote  [2]int
	qubits [2]struct{ sent, lost, received int } // by the sender's and the receiver's own account
	lost   [2][]uint64                           // numbers of lost qubits
	last   error                                 // of the head's last call
}

// half is one end's part of a pair.
type half struct {
	label qsocket.BellLabel
	basis qsocket.Basis
	bit   uint8
}

// talk runs both programs over one socket, until both have returned.
func (h *theatre) talk(port int, calm, late bool) *talk {
	h.t.Helper()
	k := &talk{theatre: h, calm: calm, late: late}
	for i := range k.halves {
		k.halves[i] = make(map[qsocket.PairName]half)
	}
	h.n.Go("n2", func(ctx context.Context, q *qsocket.Node) error {
		p := &party{talk: k, side: 1, q: q}
		l, err := q.Listen(ctx, fmt.Sprint(":", port))
		if err != nil {
			return err
		}
		defer l.Close()
		h.n.Go("n0", func(ctx context.Context, q *qsocket.Node) error {
			p := &party{talk: k, side: 0, q: q}
			p.within(patience, 0, "Dial", func(ctx context.Context) (err error) {
				p.c, err = q.Dial(ctx, fmt.Sprint("n2:", port), qsocket.Contract{})
				return err
			}, qnet.OK)
			p.act()
			return nil
		})
		p.within(3*patience, 0, "Accept", func(ctx context.Context) (err error) {
			p.c, err = l.Accept(ctx)
			return err
		}, qnet.OK)
		p.act()
		return nil
	})
	h.n.Run()
	k.check()
	return k
}

// party is one program of a talk.
type party struct {
	*talk
	side int
	q    *qsocket.Node
	c    *qsocket.Conn
}

// within makes a call that has so much time and must return by then, or at most
// grace later. When nothing is disturbed it must end with one of the codes.
func (p *party) within(d, grace time.Duration, what string, call func(ctx context.Context) error, codes ...qnet.Code) {
	p.t.Helper()
	if p.calm {
		grace = min(grace, time.Millisecond)
	}
	ctx, cancel := p.q.WithTimeout(context.Background(), d)
	defer cancel()
	start := p.n.Clock.Now()
	err := call(ctx)
	if took := p.n.Clock.Now().Sub(start); took > d+grace {
		p.t.Errorf("side %d: %s took %v, it had %v: %v", p.side, what, took, d, err)
	}
	if p.side == 0 {
		p.last = err
	}
	switch code := qnet.CodeOf(err); {
	case p.calm && !slices.Contains(codes, code):
		p.t.Errorf("side %d: %s: %v, want one of %v", p.side, what, err, codes)
	case p.calm, err == nil, lost(err), slices.Contains(codes, code):
	case code == qnet.ErrCancelled, code == qnet.ErrMismatch, code == qnet.ErrQubitLost:
	case p.late && (code == qnet.ErrProtocol || code == qnet.ErrNoListener):
	default:
		p.t.Errorf("side %d: %s: %v", p.side, what, err)
	}
}

// act does on the socket all that programs can do: what succeeds, and what must
// fail.
func (p *party) act() {
	if p.c == nil {
		return
	}
	defer p.c.Close()
	p.keep(2, qnet.OK)
	p.together(p.bytes, func() { p.measure(20, patience, qnet.OK) })
	for range 3 {
		p.qubit(0, patience, qnet.OK)
		p.qubit(1, patience, qnet.OK)
	}
	p.keep(1+p.side, qnet.ErrMismatch)
	if p.side == 0 {
		p.measure(5, 50*time.Millisecond, qnet.ErrTimeout) // the tail does not measure
		p.measure(100_000, 30*time.Millisecond, qnet.ErrTimeout)
	} else {
		p.qubit(0, 60*time.Millisecond, qnet.ErrTimeout) // the head does not send
		p.measure(100_000, patience, qnet.ErrCancelled)
	}
	for i := range 8 { // the receiver gives up before and after the pair is there
		if p.side == 0 {
			p.qubit(0, patience, qnet.OK, qnet.ErrCancelled)
		} else {
			p.qubit(0, time.Duration(i+1)*500*time.Microsecond, qnet.OK, qnet.ErrTimeout)
		}
	}
	if p.side == 0 {
		p.head.fail = true
	}
	p.qubit(0, patience, qnet.ErrQubitLost)
	if p.side == 0 {
		p.head.fail = false
	}
	p.keep(2, qnet.OK)
	if p.side == 0 { // the tail's session ends meanwhile
		p.qubit(0, patience, qnet.OK, qnet.ErrPeerClosed, qnet.ErrQubitLost)
		return
	}
	p.together(func() {
		p.within(p.leave, 0, "wait", func(ctx context.Context) error { return p.n.Clock.NewWaiter().Wait(ctx) }, qnet.ErrTimeout)
		p.q.Close()
	}, func() { p.qubit(0, patience, qnet.OK, qnet.ErrClosed) })
}

// together runs a and b at the same time.
func (p *party) together(a, b func()) {
	done := p.n.Clock.NewWaiter()
	p.n.Clock.Go("a part of a program", func() {
		defer done.Wake()
		a()
	})
	b()
	if err := done.Wait(context.Background()); err != nil {
		p.t.Error(err)
	}
}

var bases = []qsocket.Basis{qsocket.X, qsocket.Y, qsocket.Z}

// keep keeps pairs and measures the halves, alike at both ends.
func (p *party) keep(n int, code qnet.Code) {
	p.t.Helper()
	p.within(patience, 0, fmt.Sprintf("Keep of %d", n), func(ctx context.Context) error {
		pairs, err := p.c.Keep(ctx, n)
		for _, x := range pairs {
			basis := bases[x.Name.Seq%3]
			bit, err := x.Qubit.Measure(ctx, basis)
			if err != nil {
				return err
			}
			p.note(x.Name, half{x.Label, basis, bit})
		}
		return err
	}, code)
}

func (p *party) measure(n int, d time.Duration, code qnet.Code) {
	p.t.Helper()
	p.within(d, 0, fmt.Sprintf("Measure of %d", n), func(ctx context.Context) error {
		o, err := p.c.Measure(ctx, n, qsocket.RandomBasis(bases...))
		for i := range o.Len() {
			p.note(o.Name(i), half{o.Label[i], bases[o.Basis[i]], o.Bit[i]})
		}
		return err
	}, code)
}

func (p *party) note(name qsocket.PairName, h half) {
	if _, ok := p.halves[p.side][name]; ok {
		p.t.Errorf("side %d has pair %v twice", p.side, name)
	}
	p.halves[p.side][name] = h
}

// qubit sends a qubit, or receives it, which lies between X, Y and Z on the Bloch
// sphere so that any wrong correction shows.
func (p *party) qubit(from int, d time.Duration, codes ...qnet.Code) {
	p.t.Helper()
	theta := math.Acos(1 / math.Sqrt(3))
	count := &p.qubits[from]
	lose := func(err error) {
		if e, ok := errors.AsType[*qsocket.LostError](err); ok {
			p.lost[p.side] = append(p.lost[p.side], e.Seq)
		}
	}
	if p.side == from {
		p.within(d, answer, "SendQubit", func(ctx context.Context) error {
			q, err := p.q.Qubit(ctx)
			if err != nil {
				return err
			}
			defer q.Free()
			q.RY(theta)
			q.RZ(math.Pi / 4)
			err = p.c.SendQubit(ctx, q)
			lose(err)
			switch {
			case err == nil:
				count.sent++
			case errors.Is(err, qnet.ErrQubitLost):
				count.lost++
			}
			return err
		}, codes...)
		return
	}
	p.within(d, answer, "ReceiveQubit", func(ctx context.Context) error {
		q, err := p.c.ReceiveQubit(ctx)
		if err != nil {
			lose(err)
			return err
		}
		count.received++
		q.RZ(-math.Pi / 4)
		q.RY(-theta)
		bit, err := q.Measure(context.Background(), qsocket.Z)
		if bit != 0 {
			p.t.Errorf("side %d: the qubit that came is not the one that was sent", p.side)
		}
		return err
	}, codes...)
}

// bytes exchanges more bytes than the window holds, and few back. The end is not
// seen before all has come that was written.
func (p *party) bytes() {
	const long, short = 3 * transport.Window, 1000
	text := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i % 251)
		}
		return b
	}
	write := func(n int) {
		p.within(patience, 0, "Write", func(context.Context) (err error) {
			if err = p.c.SetWriteDeadline(p.q.Now().Add(patience)); err == nil {
				p.wrote[p.side], err = p.c.Write(text(n))
			}
			return errors.Join(err, p.c.CloseWrite())
		}, qnet.OK)
	}
	read := func(n int) {
		p.within(patience, 0, "Read", func(context.Context) error {
			if err := p.c.SetReadDeadline(p.q.Now().Add(patience)); err != nil {
				return err
			}
			b, err := io.ReadAll(p.c)
			if string(b) != string(text(n)[:min(len(b), n)]) {
				p.t.Errorf("side %d: other bytes than were written", p.side)
			}
			if err == nil && len(b) != p.wrote[1-p.side] {
				p.t.Errorf("side %d: the end after %d bytes, %d were written", p.side, len(b), p.wrote[1-p.side])
			}
			return err
		}, qnet.OK)
	}
	if p.side == 0 {
		write(long)
		read(short)
	} else {
		read(long)
		write(short)
	}
}

// common returns how many pairs both ends know.
func (k *talk) common() (n int) {
	for name := range k.halves[0] {
		if _, ok := k.halves[1][name]; ok {
			n++
		}
	}
	return n
}

// check checks that the ends agree on all that both know.
func (k *talk) check() {
	k.t.Helper()
	for name, a := range k.halves[0] {
		b, ok := k.halves[1][name]
		if !ok {
			continue
		}
		if a.label != qnet.PhiPlus || b.label != qnet.PhiPlus {
			k.t.Errorf("pair %v is %v here, %v there", name, a.label, b.label)
		}
		if a.basis == b.basis && (a.bit != b.bit) != (a.basis == qsocket.Y) {
			k.t.Errorf("pair %v: bits %d and %d in %v", name, a.bit, b.bit, a.basis)
		}
	}
	for i, q := range k.qubits {
		// The last that is sent comes to a program that has gone.
		if q.received > q.sent+q.lost || q.sent > q.received {
			k.t.Errorf("side %d sent %d qubits and lost %d, the other received %d", i, q.sent, q.lost, q.received)
		}
	}
	if !k.calm {
		return
	}
	if n := k.common(); n < 25 {
		k.t.Errorf("%d pairs are known at both ends", n)
	}
	if len(k.lost[0]) == 0 || len(k.lost[1]) != 1 || k.lost[0][0] != k.lost[1][0] {
		k.t.Errorf("lost qubits: %d and %d", k.lost[0], k.lost[1])
	}
	if q := k.qubits; q[1].sent != 3 || q[0].sent < 4 {
		k.t.Errorf("qubits: %+v", q)
	}
}

// transportTypes returns the types of messages between end points.
func transportTypes() (types []wire.Message) {
	for _, m := range transport.Messages() {
		if m.Type()>>4 == wire.Type(wire.ServiceTransport) {
			types = append(types, m)
		}
	}
	return types
}

// The stream between two programs breaks in the place of a message or right after
// it, or is slow, for each type in turn and several of its occurrences: no pair or
// qubit is wrong, no call outlasts its deadline, nothing is left, and a new socket
// does all that it should.
func TestProgramFaults(t *testing.T) {
	sent := make(map[wire.Type]int) // in a talk that nothing disturbs
	h := newTheatre(t)
	h.n.Control.SetFilter(func(_, _ qnet.NodeID, c control.Class, typ wire.Type, _ []byte) control.Verdict {
		if c == control.ClassStream {
			sent[typ]++
		}
		return control.Verdict{}
	})
	h.talk(7, true, false)
	for _, m := range transportTypes() {
		n := sent[m.Type()]
		t.Logf("%s: %d", wire.Name(m), n)
		if n == 0 {
			t.Errorf("no %s is sent: the test tests nothing", wire.Name(m))
			continue
		}
		for nth := 0; nth < n; nth += max(1, n/8) {
			for _, f := range []struct {
				name string
				v    control.Verdict
			}{
				{"broken before", control.Verdict{Action: control.Break}},
				{"broken after", control.Verdict{Action: control.BreakAfter}},
				{"2 s late", control.Verdict{Delay: 2 * time.Second}},
				{"20 s late", control.Verdict{Delay: 20 * time.Second}},
			} {
				t.Run(fmt.Sprintf("%s %d %s", wire.Name(m), nth, f.name), func(t *testing.T) {
					t.Parallel()
					seen := 0
					disturbed(t, f.v.Delay > answer, func(typ wire.Type) (v control.Verdict) {
						if typ == m.Type() {
							if seen == nth {
								v = f.v
							}
							seen++
						}
						return v
					})
					if seen <= nth {
						t.Error("that many are not sent: the test tests nothing")
					}
				})
			}
		}
		t.Run(wire.Name(m)+" all slow", func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(m.Type()), 7))
			hits := 0
			k := disturbed(t, false, func(typ wire.Type) (v control.Verdict) {
				if typ == m.Type() {
					hits++
					v.Delay = time.Duration(rng.Uint64N(uint64(4 * time.Millisecond)))
				}
				return v
			})
			if hits == 0 || k.common() < 25 {
				t.Errorf("%d messages were late, %d pairs are known at both ends", hits, k.common())
			}
		})
	}
}

// disturbed runs a talk whose messages between end points meet the faults, and
// then another that nothing disturbs.
func disturbed(t *testing.T, late bool, fault func(wire.Type) control.Verdict) *talk {
	t.Helper()
	h := newTheatre(t)
	h.n.Control.SetFilter(func(_, _ qnet.NodeID, c control.Class, typ wire.Type, _ []byte) control.Verdict {
		if c != control.ClassStream {
			return control.Verdict{}
		}
		return fault(typ)
	})
	k := h.talk(7, false, late)
	h.n.Control.SetFilter(nil)
	if err := h.n.Clock.RunFor(20*time.Second + node.Settle); err != nil {
		t.Fatal(err)
	}
	if err := h.n.Idle(); err != nil {
		t.Errorf("after the fault: %v", err)
	}
	h.talk(8, true, false)
	return k
}

// The session of a program ends before, while and after a qubit comes to it: the
// other end is told that the socket is closed, or the qubit lost, and nothing is
// left at either.
func TestProgramEnds(t *testing.T) {
	told := make(map[qnet.Code]int)
	for i := range 60 {
		h := newTheatre(t)
		h.leave = time.Duration(i+1) * 67 * time.Microsecond
		told[qnet.CodeOf(h.talk(7, true, false).last)]++
	}
	t.Log(told)
	for _, code := range []qnet.Code{qnet.OK, qnet.ErrPeerClosed, qnet.ErrQubitLost} {
		if told[code] == 0 {
			t.Errorf("the head was told %v, never %v", told, code)
		}
	}
}
