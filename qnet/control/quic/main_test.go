package quic

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/control/controltest"
	"qstack/qnet/event"
	"qstack/qnet/pki"
	"qstack/qnet/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit bounds every wait in these tests.
const limit = 20 * time.Second

// node is an endpoint with a loop of its own, and a record of what it heard.
type node struct {
	*Endpoint
	t    *testing.T
	name string
	loop *event.Real
	conf Config
	log  *logBuffer

	mu      sync.Mutex
	changed chan struct{}
	heard
}

// heard is what handlers were told, in order.
type heard struct {
	ups, downs []qnet.NodeID
	errs       []error // of downs
	datagrams  [][]byte
	at         []qnet.Time // of datagrams
	accepted   []*recorder
	events     []string
}

// recorder is the handler of one stream.
type recorder struct {
	n      *node
	stream control.Stream
	msgs   []uint64
	at     []qnet.Time
	closed int
	err    error
}

// logBuffer collects the log.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const service0 = wire.ServiceTransport

// message is what the tests send.
type message struct {
	typ wire.Type
	N   uint64
	Pad []byte
}

const typeTest = wire.Type(service0)<<4 | 0xf

func (m *message) Type() wire.Type {
	if m.typ != 0 {
		return m.typ
	}
	return typeTest
}

func (m *message) Fields(c *wire.Codec) {
	c.Uvarint("n", &m.N, "")
	c.Bytes("pad", &m.Pad, wire.MaxMessage, "")
}

func newAuthority(t testing.TB) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA("lab", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t testing.TB, ca *pki.CA, name string) *pki.Credential {
	t.Helper()
	c, err := ca.Issue(name, pki.RoleNode)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func idOf(name string) qnet.NodeID { return qnet.NewNodeID("lab", name) }

// newNode makes an endpoint that is not started yet. It ends with the test.
func newNode(t *testing.T, ca *pki.CA, name string, conf Config) *node {
	t.Helper()
	if conf.Credential == nil {
		conf.Credential = issue(t, ca, name)
	}
	n := &node{t: t, name: name, log: new(logBuffer), changed: make(chan struct{})}
	n.loop = event.NewReal(event.RealConfig{})
	conf.Loop = n.loop
	if conf.Logger == nil {
		conf.Logger = slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if conf.Dead == 0 {
		conf.Dead = 10 * time.Second // so that a machine with much to do is not a death
	}
	n.conf = conf
	e, err := New(conf)
	if err != nil {
		n.loop.Close()
		t.Fatal(err)
	}
	n.Endpoint = e
	e.Handle(service0, n)
	t.Cleanup(func() {
		n.Close()
		n.loop.Close()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, n.log)
		}
	})
	return n
}

// kill ends the endpoint without a word to anybody, as the death of the process
// does.
func (n *node) kill() {
	n.socket.Close()
	n.Close()
	n.loop.Close()
}

// do runs f on the loop and waits for it.
func (n *node) do(f func()) {
	n.t.Helper()
	done := make(chan struct{})
	if !n.loop.Post(func() { defer close(done); f() }) {
		n.t.Fatalf("the loop of %s is closed", n.name)
	}
	<-done
}

func (n *node) note(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// wait waits until cond holds, which is asked with the record locked.
func (n *node) wait(what string, cond func() bool) {
	n.t.Helper()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for {
		ok, changed := n.ask(cond)
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			n.t.Fatalf("%s waited %v for: %s", n.name, limit, what)
		}
	}
}

func (n *node) ask(cond func() bool) (bool, chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return cond(), n.changed
}

func (n *node) waitUp(peer *node, times int) {
	n.t.Helper()
	n.wait(fmt.Sprintf("%s to be up %d times", peer.name, times), func() bool { return count(n.ups, peer.ID()) >= times })
}

func (n *node) waitDown(peer *node, times int) error {
	n.t.Helper()
	n.wait(fmt.Sprintf("%s to be down %d times", peer.name, times), func() bool { return count(n.downs, peer.ID()) >= times })
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := len(n.downs) - 1; ; i-- {
		if n.downs[i] == peer.ID() {
			return n.errs[i]
		}
	}
}

func count(ids []qnet.NodeID, id qnet.NodeID) (n int) {
	for _, x := range ids {
		if x == id {
			n++
		}
	}
	return n
}

// open opens a stream that records what comes.
func (n *node) open(peer qnet.NodeID, first wire.Message) *recorder {
	n.t.Helper()
	r := &recorder{n: n}
	var err error
	n.do(func() { r.stream, err = n.Open(peer, first, r) })
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

func (n *node) PeerUp(peer qnet.NodeID) {
	n.note(func() { n.ups = append(n.ups, peer); n.events = append(n.events, "up "+peer.String()) })
}

func (n *node) PeerDown(peer qnet.NodeID, err error) {
	n.note(func() {
		n.downs, n.errs = append(n.downs, peer), append(n.errs, err)
		n.events = append(n.events, "down "+peer.String())
	})
}

func (n *node) Datagram(_ qnet.NodeID, b []byte) {
	n.note(func() {
		n.datagrams = append(n.datagrams, append([]byte(nil), b...))
		n.at = append(n.at, n.loop.Now())
	})
}

func (n *node) Accept(s control.Stream, first []byte) control.StreamHandler {
	r := &recorder{n: n, stream: s}
	n.note(func() {
		n.accepted = append(n.accepted, r)
		r.add(first)
	})
	return r
}

// add records a message; the record is locked.
func (r *recorder) add(b []byte) {
	var m message
	if err := wire.Parse(b, &m); err != nil {
		r.n.t.Errorf("%s: %v", r.n.name, err)
	}
	r.msgs, r.at = append(r.msgs, m.N), append(r.at, r.n.loop.Now())
}

func (r *recorder) Message(_ control.Stream, b []byte) { r.n.note(func() { r.add(b) }) }

func (r *recorder) Closed(_ control.Stream, err error) {
	r.n.note(func() { r.closed++; r.err = err; r.n.events = append(r.n.events, "closed") })
}

// send sends a datagram.
func (n *node) send(to qnet.NodeID, m wire.Message) {
	n.t.Helper()
	n.do(func() {
		if err := n.Endpoint.Datagram(to, m); err != nil {
			n.t.Error(err)
		}
	})
}

// link makes neighbours of two nodes that are not started yet.
func link(t *testing.T, a, b *node, delay time.Duration) {
	t.Helper()
	for _, err := range []error{
		a.SetPeer(Peer{Name: b.name, Addr: b.Addr().String(), Neighbour: true, Delay: delay}),
		b.SetPeer(Peer{Name: a.name, Addr: a.Addr().String(), Neighbour: true, Delay: delay}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// pair makes two neighbours that are up.
func pair(t *testing.T, conf Config, delay time.Duration) (a, b *node) {
	t.Helper()
	ca := newAuthority(t)
	a, b = newNode(t, ca, "alice", conf), newNode(t, ca, "bob", conf)
	link(t, a, b, delay)
	a.Start()
	b.Start()
	a.waitUp(b, 1)
	b.waitUp(a, 1)
	return a, b
}

func TestConformance(t *testing.T) {
	controltest.Run(t, func(t *testing.T, setup func(a, b control.Endpoint)) *controltest.Pair {
		ca, conf := newAuthority(t), Config{}
		if strings.HasSuffix(t.Name(), "PeerDown") {
			conf.Dead = 500 * time.Millisecond
		}
		a, b := newNode(t, ca, "alice", conf), newNode(t, ca, "bob", conf)
		a.handlers, b.handlers = nil, nil
		link(t, a, b, 0)
		setup(a.Endpoint, b.Endpoint)
		a.Start()
		b.Start()
		return &controltest.Pair{
			A:       controltest.Side{Endpoint: a.Endpoint, Name: "alice", Do: a.do},
			B:       controltest.Side{Endpoint: b.Endpoint, Name: "bob", Do: b.do},
			Unknown: idOf("nobody"),
			Kill:    b.kill,
		}
	})
}
