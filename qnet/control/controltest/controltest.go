// Package controltest checks that an implementation of control.Endpoint keeps
// the promises of that interface. It serves the one in memory and those over
// sockets.
package controltest

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// Patience is how long the tests wait for what must happen, by the wall clock
// or, where Pair.Advance is set, in the loop's time.
const Patience = 10 * time.Second

// Pair is two endpoints that are being connected, and what the tests need of
// the world around them.
type Pair struct {
	A, B Side
	// Unknown is an identity that can not be addressed from A.
	Unknown qnet.NodeID
	// Kill ends B without a word to A, as the death of its process does.
	Kill func()
	// Advance lets d pass on both loops. It is nil where time passes by itself.
	Advance func(d time.Duration)
}

// Side is one of the two endpoints.
type Side struct {
	Endpoint control.Endpoint
	Name     string // of the node, as errors give it
	// Do runs f on the endpoint's loop and returns when it has run.
	Do func(f func())
}

// Factory makes a pair for one test, and ends it by t.Cleanup. It calls setup
// with the two endpoints before their loops run.
type Factory func(t *testing.T, setup func(a, b control.Endpoint)) *Pair

// Run runs all tests, each on a pair of its own.
func Run(t *testing.T, factory Factory) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"PeerUp", testPeerUp},
		{"Datagram", testDatagram},
		{"DatagramSize", testDatagramSize},
		{"UnknownPeer", testUnknownPeer},
		{"StreamOrder", testStreamOrder},
		{"MessageSize", testMessageSize},
		{"Close", testClose},
		{"CloseInAccept", testCloseInAccept},
		{"Refuse", testRefuse},
		{"PeerDown", testPeerDown},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &world{t: t, changed: make(chan struct{})}
			w.a, w.b = &side{w: w, label: "A"}, &side{w: w, label: "B"}
			w.Pair = factory(t, func(a, b control.Endpoint) {
				a.Handle(service, w.a)
				b.Handle(service, w.b)
			})
			w.a.Side, w.b.Side = w.A, w.B
			w.wait("both ends up", func() bool { return w.a.ups > 0 && w.b.ups > 0 })
			test.run(t, w)
		})
	}
}

// The messages belong to a service that both ends handle, but for one type that
// belongs to another.
const service = wire.ServiceTransport

const (
	typePlain  = wire.Type(service)<<4 | 0xa
	typeRefuse = wire.Type(service)<<4 | 0xb // Accept returns nil
	typeClose  = wire.Type(service)<<4 | 0xc // Accept answers, closes with ErrBusy and returns a handler
	typeNobody = wire.Type(wire.ServiceNetwork)<<4 | 0xa
)

type message struct {
	typ wire.Type
	N   uint64
	Pad []byte
}

func (m *message) Type() wire.Type { return m.typ }
func (m *message) Fields(c *wire.Codec) {
	c.Uvarint("n", &m.N, "")
	c.Bytes("pad", &m.Pad, wire.MaxMessage, "")
}

// padded returns a message whose encoding has size bytes.
func padded(t *testing.T, n uint64, size int) *message {
	t.Helper()
	m := &message{typ: typePlain, N: n}
	for range 2 { // lengths grow as the padding does
		m.Pad = make([]byte, len(m.Pad)+size-len(wire.Append(nil, m)))
	}
	if got := len(wire.Append(nil, m)); got != size {
		t.Fatalf("a message of %d bytes came out with %d", size, got)
	}
	return m
}

// world is the state of one test. mu guards what the handlers record; changed is
// closed, and replaced, when that changes.
type world struct {
	t *testing.T
	*Pair
	a, b *side

	mu      sync.Mutex
	changed chan struct{}
}

// side is the handler of one endpoint, and what it has heard.
type side struct {
	Side
	w         *world
	label     string
	ups       int
	downs     []error
	datagrams []message
	accepted  []*end
}

// end is the handler of one end of a stream, and what it has heard.
type end struct {
	side   *side
	stream control.Stream
	msgs   []message // with the first, at the end that accepted
	closed []error
	down   bool // PeerDown was heard before Closed
}

func (w *world) record(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// look runs f while the handlers record nothing.
func (w *world) look(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// wait waits until cond, which is called as by look, holds.
func (w *world) wait(what string, cond func() bool) {
	w.t.Helper()
	const step = time.Millisecond
	timeout, left := time.After(Patience), Patience
	for {
		w.mu.Lock()
		ok, changed := cond(), w.changed
		w.mu.Unlock()
		switch {
		case ok:
			return
		case w.Advance == nil:
			select {
			case <-changed:
			case <-timeout:
				w.t.Fatalf("waited %v for: %s", Patience, what)
			}
		case left > 0:
			left -= step
			w.Advance(step)
		default:
			w.t.Fatalf("waited %v for: %s", Patience, what)
		}
	}
}

func (s *side) parse(b []byte) message {
	var m message
	typ, _, err := wire.Peek(b)
	if err == nil {
		m.typ = typ
		err = wire.Parse(b, &m)
	}
	if err != nil {
		s.w.t.Errorf("%s got what is not a message: %v", s.label, err)
	}
	return m
}

func (s *side) PeerUp(qnet.NodeID) { s.w.record(func() { s.ups++ }) }

func (s *side) PeerDown(_ qnet.NodeID, err error) {
	s.w.record(func() { s.downs = append(s.downs, err) })
}

func (s *side) Datagram(_ qnet.NodeID, b []byte) {
	m := s.parse(b)
	s.w.record(func() { s.datagrams = append(s.datagrams, m) })
}

func (s *side) Accept(stream control.Stream, first []byte) control.StreamHandler {
	m := s.parse(first)
	if m.typ == typeRefuse {
		return nil
	}
	if m.typ == typeClose {
		stream.Send(&message{typ: typePlain, N: 99})
		stream.Close(qnet.ErrBusy)
	}
	e := &end{side: s, stream: stream, msgs: []message{m}}
	s.w.record(func() { s.accepted = append(s.accepted, e) })
	return e
}

func (e *end) Message(_ control.Stream, b []byte) {
	m := e.side.parse(b)
	e.side.w.record(func() { e.msgs = append(e.msgs, m) })
}

func (e *end) Closed(_ control.Stream, err error) {
	e.side.w.record(func() {
		e.closed = append(e.closed, err)
		e.down = len(e.side.downs) > 0
	})
}

// open opens a stream from A to B.
func (w *world) open(first *message) *end {
	w.t.Helper()
	e := &end{side: w.a}
	var err error
	w.A.Do(func() { e.stream, err = w.A.Endpoint.Open(w.B.Endpoint.ID(), first, e) })
	if err != nil {
		w.t.Fatalf("Open: %v", err)
	}
	return e
}

// connected opens a stream from A to B and returns both its ends.
func (w *world) connected() (a, b *end) {
	w.t.Helper()
	n := 0
	w.look(func() { n = len(w.b.accepted) })
	a = w.open(&message{typ: typePlain})
	w.wait("a stream at "+w.B.Name, func() bool { return len(w.b.accepted) > n })
	w.look(func() { b = w.b.accepted[n] })
	return a, b
}

// settle makes a stream go there and back: time enough for what must not happen
// to happen.
func (w *world) settle() {
	w.t.Helper()
	e := w.open(&message{typ: typeRefuse})
	w.wait("the end of a stream", func() bool { return len(e.closed) > 0 })
}

// names reports whether err has the code and names the node.
func names(err error, code qnet.Code, node string) bool {
	return errors.Is(err, code) && strings.Contains(err.Error(), node)
}

func testPeerUp(t *testing.T, w *world) {
	w.settle()
	w.A.Do(func() {
		if !w.A.Endpoint.Up(w.B.Endpoint.ID()) || w.A.Endpoint.Up(w.Unknown) {
			t.Errorf("%s is wrong about who is up", w.A.Name)
		}
	})
	w.B.Do(func() {
		if !w.B.Endpoint.Up(w.A.Endpoint.ID()) {
			t.Errorf("%s is wrong about who is up", w.B.Name)
		}
	})
	w.look(func() {
		for _, s := range []*side{w.a, w.b} {
			if s.ups != 1 || len(s.downs) != 0 {
				t.Errorf("%s: PeerUp was called %d times, PeerDown %d times", s.Name, s.ups, len(s.downs))
			}
		}
	})
}

// Some of a hundred datagrams arrive, in both directions.
func testDatagram(t *testing.T, w *world) {
	const count = 100
	send := func(from, to Side) {
		from.Do(func() {
			for n := range uint64(count) {
				if err := from.Endpoint.Datagram(to.Endpoint.ID(), &message{typ: typePlain, N: n}); err != nil {
					t.Errorf("Datagram: %v", err)
				}
			}
		})
	}
	send(w.A, w.B)
	send(w.B, w.A)
	w.wait("datagrams at both ends", func() bool { return len(w.a.datagrams) > 0 && len(w.b.datagrams) > 0 })
	w.settle()
	w.look(func() {
		for _, s := range []*side{w.a, w.b} {
			for _, m := range s.datagrams {
				if m.typ != typePlain || m.N >= count || len(m.Pad) > 0 {
					t.Errorf("%s got a datagram that nobody sent: %+v", s.Name, m)
				}
			}
		}
	})
}

// A datagram may have wire.MaxDatagram bytes, and no more.
func testDatagramSize(t *testing.T, w *world) {
	largest := padded(t, 1, wire.MaxDatagram)
	beyond := padded(t, 2, wire.MaxDatagram+1)
	w.A.Do(func() {
		err := w.A.Endpoint.Datagram(w.B.Endpoint.ID(), beyond)
		if !errors.Is(err, qnet.ErrInvalid) || !strings.Contains(err.Error(), strconv.Itoa(wire.MaxDatagram)) {
			t.Errorf("a datagram too large: got error %v, want one that gives the limit", err)
		}
		for range 100 { // some arrive
			if err := w.A.Endpoint.Datagram(w.B.Endpoint.ID(), largest); err != nil {
				t.Errorf("the largest datagram: %v", err)
			}
		}
	})
	w.wait("the largest datagram", func() bool { return len(w.b.datagrams) > 0 })
	w.look(func() {
		for _, m := range w.b.datagrams {
			if m.N != 1 || len(m.Pad) != len(largest.Pad) {
				t.Errorf("datagram %d arrived with %d bytes of padding", m.N, len(m.Pad))
			}
		}
	})
}

func testUnknownPeer(t *testing.T, w *world) {
	w.A.Do(func() {
		if err := w.A.Endpoint.Datagram(w.Unknown, &message{typ: typePlain}); !errors.Is(err, qnet.ErrUnknown) {
			t.Errorf("Datagram to nobody: %v", err)
		}
		if s, err := w.A.Endpoint.Open(w.Unknown, &message{typ: typePlain}, &end{side: w.a}); !errors.Is(err, qnet.ErrUnknown) || s != nil {
			t.Errorf("Open to nobody: %v, %v", s, err)
		}
	})
}

// Messages of many lengths arrive whole and in order, in both directions.
func testStreamOrder(t *testing.T, w *world) {
	const count = 500
	length := func(n uint64) int { return int(n*7919) % 3000 }
	a, b := w.connected()
	for _, e := range []*end{a, b} {
		e.side.Do(func() {
			for n := range uint64(count) {
				e.stream.Send(&message{typ: typePlain, N: n, Pad: make([]byte, length(n))})
			}
		})
	}
	w.wait("all messages", func() bool { return len(a.msgs) >= count && len(b.msgs) >= count+1 })
	w.settle()
	w.look(func() {
		if len(a.msgs) != count || len(b.msgs) != count+1 {
			t.Errorf("%d and %d messages arrived, want %d", len(a.msgs), len(b.msgs)-1, count)
		}
		for _, msgs := range [][]message{a.msgs, b.msgs[1:]} {
			for i, m := range msgs {
				if n := uint64(i); m.N != n || len(m.Pad) != length(n) {
					t.Fatalf("message %d has number %d and %d bytes, want %d", i, m.N, len(m.Pad), length(n))
				}
			}
		}
	})
	if p := a.stream.Peer(); p != w.B.Endpoint.ID() {
		t.Errorf("the opener's peer is %v", p)
	}
	if p := b.stream.Peer(); p != w.A.Endpoint.ID() {
		t.Errorf("the acceptor's peer is %v", p)
	}
}

// A message may have wire.MaxMessage bytes; one more ends the stream.
func testMessageSize(t *testing.T, w *world) {
	a, b := w.connected()
	largest, beyond := padded(t, 1, wire.MaxMessage), padded(t, 2, wire.MaxMessage+1)
	w.A.Do(func() { a.stream.Send(largest) })
	w.wait("the largest message", func() bool { return len(b.msgs) > 1 })
	w.A.Do(func() { a.stream.Send(beyond) })
	w.wait("the end of the stream at both ends", func() bool { return len(a.closed) > 0 && len(b.closed) > 0 })
	w.look(func() {
		if len(b.msgs) != 2 || b.msgs[1].N != 1 || len(b.msgs[1].Pad) != len(largest.Pad) {
			t.Errorf("%d messages arrived", len(b.msgs))
		}
		if a.closed[0] == nil || b.closed[0] == nil {
			t.Errorf("a message too large ended the stream by %v and %v, want errors", a.closed[0], b.closed[0])
		}
	})
}

// What was sent before Close arrives, then its code; the end that closed hears
// nothing more.
func testClose(t *testing.T, w *world) {
	for _, code := range []qnet.Code{qnet.OK, qnet.ErrNoListener, qnet.ErrTimeout} {
		const count = 20
		a, b := w.connected()
		w.A.Do(func() {
			for n := range uint64(count) {
				a.stream.Send(&message{typ: typePlain, N: n})
			}
			a.stream.Close(code)
			a.stream.Send(&message{typ: typePlain}) // dropped
			a.stream.Close(qnet.ErrInternal)        // without effect
		})
		w.B.Do(func() { b.stream.Send(&message{typ: typePlain}) }) // in the face of Close, or after it
		w.wait("the end of the stream", func() bool { return len(b.closed) > 0 })
		w.B.Do(func() {
			b.stream.Send(&message{typ: typePlain}) // dropped
			b.stream.Close(qnet.OK)                 // without effect
		})
		w.settle()
		w.look(func() {
			if len(b.msgs) != count+1 || len(b.closed) != 1 {
				t.Errorf("code %v: %d messages arrived, want %d; Closed was called %d times", code, len(b.msgs)-1, count, len(b.closed))
			}
			if err := b.closed[0]; code == qnet.OK && err != nil || code != qnet.OK && !names(err, code, w.A.Name) {
				t.Errorf("code %v: Closed was called with error %v", code, err)
			}
			if len(a.msgs) != 0 || len(a.closed) != 0 {
				t.Errorf("code %v: the end that closed got %d messages and %d ends", code, len(a.msgs), len(a.closed))
			}
		})
	}
}

// An acceptor may answer and close at once.
func testCloseInAccept(t *testing.T, w *world) {
	a := w.open(&message{typ: typeClose})
	w.wait("the end of the stream", func() bool { return len(a.closed) > 0 })
	w.settle()
	w.look(func() {
		if len(a.msgs) != 1 || a.msgs[0].N != 99 || len(a.closed) != 1 || !names(a.closed[0], qnet.ErrBusy, w.B.Name) {
			t.Errorf("got messages %+v, ends %v", a.msgs, a.closed)
		}
		if b := w.b.accepted[0]; len(b.msgs) != 1 || len(b.closed) != 0 {
			t.Errorf("the end that closed got messages %+v, ends %v", b.msgs, b.closed)
		}
	})
}

// A stream that the service refuses, or that is for no service, ends with
// qnet.ErrProtocol, and others go on.
func testRefuse(t *testing.T, w *world) {
	a, b := w.connected()
	for _, typ := range []wire.Type{typeRefuse, typeNobody} {
		e := w.open(&message{typ: typ})
		w.A.Do(func() { e.stream.Send(&message{typ: typePlain}) })
		w.wait("the refusal", func() bool { return len(e.closed) > 0 })
		w.settle()
		w.look(func() {
			if len(e.msgs) != 0 || len(e.closed) != 1 || !names(e.closed[0], qnet.ErrProtocol, w.B.Name) {
				t.Errorf("type 0x%x: got messages %v, ends %v", uint16(typ), e.msgs, e.closed)
			}
		})
	}
	w.A.Do(func() { a.stream.Send(&message{typ: typePlain, N: 3}) })
	w.wait("a message on the first stream", func() bool { return len(b.msgs) > 1 })
}

// When the peer dies its streams end first, each by an error that names it, then
// PeerDown is called.
func testPeerDown(t *testing.T, w *world) {
	var ends []*end
	for range 3 {
		a, _ := w.connected()
		ends = append(ends, a)
	}
	w.Kill()
	w.wait("PeerDown", func() bool { return len(w.a.downs) > 0 })
	w.A.Do(func() {
		if w.A.Endpoint.Up(w.B.Endpoint.ID()) {
			t.Error("the dead peer is up")
		}
		if err := w.A.Endpoint.Datagram(w.B.Endpoint.ID(), &message{typ: typePlain}); err != nil {
			t.Errorf("a datagram to a dead peer: %v, want no error", err)
		}
		for _, e := range ends {
			e.stream.Send(&message{typ: typePlain}) // dropped
			e.stream.Close(qnet.OK)                 // without effect
		}
	})
	late := w.open(&message{typ: typePlain})
	w.wait("the end of a stream to the dead peer", func() bool { return len(late.closed) > 0 })
	w.look(func() {
		if len(w.a.downs) != 1 || !names(w.a.downs[0], qnet.ErrUnavail, w.B.Name) {
			t.Errorf("PeerDown was called with %v", w.a.downs)
		}
		for i, e := range append(ends, late) {
			if len(e.closed) != 1 || !names(e.closed[0], qnet.ErrUnavail, w.B.Name) {
				t.Errorf("stream %d ended by %v", i, e.closed)
			}
			if e.down != (e == late) {
				t.Errorf("stream %d ended in the wrong order with PeerDown", i)
			}
		}
	})
}
