package control_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

const (
	alice   qnet.NodeID = 1
	bob     qnet.NodeID = 2
	charlie qnet.NodeID = 3
)

var names = map[qnet.NodeID]string{alice: "alice", bob: "bob", charlie: "charlie"}

// note is a message of any type.
type note struct {
	typ wire.Type
	N   uint64
	Pad []byte
}

func (m *note) Type() wire.Type { return m.typ }

func (m *note) Fields(c *wire.Codec) {
	c.Uvarint("n", &m.N, "")
	c.Bytes("pad", &m.Pad, wire.MaxMessage, "")
}

// Message number k of a conversation (see script) has type typ0+k.
const typ0 wire.Type = 0x30

func parse(t testing.TB, b []byte) note {
	t.Helper()
	typ, _, err := wire.Peek(b)
	m := note{typ: typ}
	if err == nil {
		err = wire.Parse(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// world is a network on a virtual loop with a checking host for each endpoint.
type world struct {
	t     testing.TB
	loop  *event.Virtual
	net   *control.Network
	hosts map[qnet.NodeID]*host
	log   []string // of everything that hosts hear
}

func newWorld(t testing.TB, cfg control.Config) *world {
	w := &world{t: t, loop: event.NewVirtual(), hosts: make(map[qnet.NodeID]*host)}
	cfg.Loop = w.loop
	if cfg.Names == nil {
		cfg.Names = names
	}
	w.net = control.NewNetwork(cfg)
	return w
}

// start makes an endpoint with a handler.
func (w *world) start(id qnet.NodeID, tr *trace.Tracer) *host {
	h := &host{w: w, id: id, Mem: w.net.Endpoint(id, tr), up: make(map[qnet.NodeID]bool)}
	h.Handle(wire.ServiceTransport, h)
	w.hosts[id] = h
	return h
}

func (w *world) connect(a, b qnet.NodeID, link control.LinkConfig) {
	w.t.Helper()
	if err := w.net.Connect(a, b, link); err != nil {
		w.t.Fatal(err)
	}
}

// rest runs until nothing is left and checks the ledger of messages.
func (w *world) rest() {
	w.t.Helper()
	if err := w.loop.Drain(); err != nil {
		w.t.Fatal(err)
	}
	if n := w.net.InFlight(); n != 0 {
		w.t.Errorf("%d messages in flight at rest", n)
	}
}

func (w *world) logf(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%d ", w.loop.Now())+fmt.Sprintf(format, args...))
}

// host is a handler that checks what every handler is promised.
type host struct {
	*control.Mem
	w         *world
	id        qnet.NodeID
	dead      bool
	up        map[qnet.NodeID]bool
	datagrams []note
	at        []qnet.Time // of each datagram
	ends      []*end
	accept    func(e *end, first note) bool // nil: accept all
	onMessage func(e *end, m note)
	onDown    func()
}

// end is one end of a stream.
type end struct {
	host   *host
	s      control.Stream
	msgs   []note
	shut   bool // by this end
	closed int
	err    error
}

func (h *host) alive(what string) {
	if h.dead {
		h.w.t.Errorf("%s hears %s after it died", names[h.id], what)
	}
}

func (h *host) PeerUp(peer qnet.NodeID) {
	h.alive("PeerUp")
	h.w.logf("%s: %s is up", names[h.id], names[peer])
	if h.up[peer] || !h.Up(peer) {
		h.w.t.Errorf("%s: PeerUp(%s) twice, or Up disagrees", names[h.id], names[peer])
	}
	h.up[peer] = true
}

func (h *host) PeerDown(peer qnet.NodeID, err error) {
	h.alive("PeerDown")
	h.w.logf("%s: %s is down", names[h.id], names[peer])
	if !h.up[peer] || h.Up(peer) {
		h.w.t.Errorf("%s: PeerDown(%s) twice, or Up disagrees", names[h.id], names[peer])
	}
	if !errors.Is(err, qnet.ErrUnavail) || !strings.Contains(err.Error(), names[peer]) {
		h.w.t.Errorf("%s: PeerDown(%s) with error %v", names[h.id], names[peer], err)
	}
	h.up[peer] = false
	if h.onDown != nil {
		h.onDown()
	}
}

func (h *host) Datagram(from qnet.NodeID, b []byte) {
	h.alive("a datagram")
	h.w.logf("%s: datagram from %s: %x", names[h.id], names[from], b)
	h.datagrams = append(h.datagrams, parse(h.w.t, b))
	h.at = append(h.at, h.w.loop.Now())
}

func (h *host) Accept(s control.Stream, first []byte) control.StreamHandler {
	h.alive("a stream")
	h.w.logf("%s: stream from %s: %x", names[h.id], names[s.Peer()], first)
	m := parse(h.w.t, first)
	e := &end{host: h, s: s, msgs: []note{m}}
	if h.accept != nil && !h.accept(e, m) {
		return nil
	}
	h.ends = append(h.ends, e)
	return e
}

func (h *host) open(to qnet.NodeID, first note) *end {
	h.w.t.Helper()
	e := &end{host: h}
	s, err := h.Open(to, &first, e)
	if err != nil {
		h.w.t.Fatal(err)
	}
	e.s = s
	h.ends = append(h.ends, e)
	return e
}

func (h *host) send(to qnet.NodeID, m note) {
	h.w.t.Helper()
	if err := h.Mem.Datagram(to, &m); err != nil {
		h.w.t.Fatal(err)
	}
}

func (e *end) shutdown(code qnet.Code) {
	e.shut = true
	e.s.Close(code)
}

func (e *end) over() bool { return e.shut || e.closed > 0 || e.host.dead }

func (e *end) Message(s control.Stream, b []byte) {
	e.host.w.logf("%s: message from %s: %x", names[e.host.id], names[s.Peer()], b)
	if e.over() || s != e.s {
		e.host.w.t.Errorf("%s: message on a stream that is over, or on another", names[e.host.id])
	}
	m := parse(e.host.w.t, b)
	e.msgs = append(e.msgs, m)
	if e.host.onMessage != nil {
		e.host.onMessage(e, m)
	}
}

func (e *end) Closed(s control.Stream, err error) {
	e.host.w.logf("%s: stream with %s closed: %v", names[e.host.id], names[s.Peer()], err)
	if e.over() || s != e.s {
		e.host.w.t.Errorf("%s: a stream that is over ends again, or another", names[e.host.id])
	}
	if err != nil && !strings.Contains(err.Error(), names[s.Peer()]) {
		e.host.w.t.Errorf("%s: error %v does not name the peer %s", names[e.host.id], err, names[s.Peer()])
	}
	e.closed++
	e.err = err
}

func pairOf(t testing.TB, link control.LinkConfig, cfg control.Config) (w *world, a, b *host) {
	w = newWorld(t, cfg)
	w.connect(alice, bob, link)
	a, b = w.start(alice, nil), w.start(bob, nil)
	if err := w.loop.RunFor(0); err != nil {
		t.Fatal(err)
	}
	if !a.up[bob] || !b.up[alice] {
		t.Fatal("connected endpoints were not told that they are up")
	}
	return w, a, b
}

func (h *host) closedTotal() (n int) {
	for _, e := range h.ends {
		n += e.closed
	}
	return n
}
