package control_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

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

// A datagram arrives exactly Delay after it was sent, and never within the call.
func TestDelay(t *testing.T) {
	for _, delay := range []time.Duration{0, 1, 10 * time.Microsecond, time.Hour} {
		w, a, b := pairOf(t, control.LinkConfig{Delay: delay}, control.Config{})
		if err := w.loop.RunFor(5); err != nil {
			t.Fatal(err)
		}
		a.send(bob, note{typ: typ0, N: 7})
		e := a.open(bob, note{typ: typ0})
		if len(b.datagrams) != 0 || len(b.ends) != 0 {
			t.Fatal("delivered within the call that sent it")
		}
		if w.net.InFlight() != 2 {
			t.Errorf("%d messages in flight, want 2", w.net.InFlight())
		}
		w.rest()
		if len(b.at) != 1 || b.at[0] != qnet.Time(5).Add(delay) || len(b.ends) != 1 {
			t.Errorf("delay %v: arrived at %v", delay, b.at)
		}
		e.shutdown(qnet.OK)
		w.rest()
		if w.net.Streams() != 0 {
			t.Errorf("%d streams at rest", w.net.Streams())
		}
	}
}

// What arrives at one instant, over any connection and in either class, arrives
// in the order in which it was sent.
func TestOrderAtOneInstant(t *testing.T) {
	w := newWorld(t, control.Config{})
	w.connect(alice, charlie, control.LinkConfig{Delay: 5})
	w.connect(bob, charlie, control.LinkConfig{Delay: 3})
	a, b := w.start(alice, nil), w.start(bob, nil)
	w.start(charlie, nil)
	w.rest()
	sa, sb := a.open(charlie, note{typ: typ0}), b.open(charlie, note{typ: typ0})
	w.rest()
	w.log = nil
	// All of this arrives at t+5.
	a.send(charlie, note{typ: typ0, N: 1})
	sa.s.Send(&note{typ: typ0, N: 2})
	a.send(charlie, note{typ: typ0, N: 3})
	w.loop.After(2, func() {
		sb.s.Send(&note{typ: typ0, N: 4})
		b.send(charlie, note{typ: typ0, N: 5})
	})
	w.rest()
	var got []string
	for _, line := range w.log {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+f[2]+" "+f[len(f)-1])
	}
	at := fmt.Sprint(int64(w.loop.Now()))
	want := []string{"datagram 30020100", "message 30020200", "datagram 30020300", "message 30020400", "datagram 30020500"}
	for i := range want {
		want[i] = at + " " + want[i]
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// within reports whether count is within 6 standard deviations of that of a
// binomial distribution: a false alarm has probability 2e-9.
func within(count, n int, p float64) bool {
	return math.Abs(float64(count)-float64(n)*p) <= 6*math.Sqrt(float64(n)*p*(1-p))
}

// Loss and duplication are independent with the given probabilities; the seeds
// are fixed.
func TestLossAndDuplication(t *testing.T) {
	const n = 100_000
	link := control.LinkConfig{Delay: 10, Loss: 0.1, Duplicate: 0.03}
	w, a, b := pairOf(t, link, control.Config{Seed: 3})
	for i := range uint64(n) {
		a.send(bob, note{typ: typ0, N: i})
		b.send(alice, note{typ: typ0, N: i})
	}
	w.rest()
	lostAt := make(map[qnet.NodeID][]bool)
	for _, h := range []*host{a, b} {
		copies := make([]int, n)
		for _, m := range h.datagrams {
			copies[m.N]++
		}
		lost, twice, pairs := 0, 0, 0
		for i, c := range copies {
			lostAt[h.id] = append(lostAt[h.id], c == 0)
			switch c {
			case 0:
				lost++
				if i > 0 && copies[i-1] == 0 {
					pairs++
				}
			case 2:
				twice++
			case 1:
			default:
				t.Fatalf("%d copies of one datagram", c)
			}
		}
		if !within(lost, n, link.Loss) || !within(twice, n-lost, link.Duplicate) || !within(pairs, n-1, link.Loss*link.Loss) {
			t.Errorf("at %s: %d lost, %d after another, %d of the rest twice", names[h.id], lost, pairs, twice)
		}
	}
	both := 0
	for i := range n {
		if lostAt[alice][i] && lostAt[bob][i] {
			both++
		}
	}
	if !within(both, n, link.Loss*link.Loss) {
		t.Errorf("%d lost in both directions: the directions are not independent", both)
	}
}

// Jitter is uniform over [0, Jitter]; a reordered datagram is late by a uniform
// time up to ReorderBy.
func TestJitterAndReordering(t *testing.T) {
	const n = 50_000
	const delay, jitter, late = 1000, 400, 100_000
	w, a, b := pairOf(t, control.LinkConfig{Delay: delay, Jitter: jitter, Reorder: 0.2, ReorderBy: late}, control.Config{Seed: 4})
	start := w.loop.Now()
	for i := range uint64(n) {
		a.send(bob, note{typ: typ0, N: i})
	}
	w.rest()
	var onTime, under int
	var sum float64
	for _, at := range b.at {
		d := at.Sub(start)
		if d < delay || d > delay+jitter+late {
			t.Fatalf("a datagram took %d", d)
		}
		if d <= delay+jitter {
			onTime++
			if d < delay+jitter/2 {
				under++
			}
		} else {
			sum += float64(d)
		}
	}
	// A reordered one is among the others by chance: its lateness and jitter sum to
	// at most jitter with probability (jitter/2)/late, to first order.
	pOn := 0.8 + 0.2*jitter/2/late
	if len(b.at) != n || !within(onTime, n, pOn) {
		t.Errorf("%d of %d arrived, %d not reordered, want %.0f", len(b.at), n, onTime, n*pOn)
	}
	if !within(under, onTime, 0.5) {
		t.Errorf("%d of %d had less than half of the jitter", under, onTime)
	}
	// Mean of the rest: delay + jitter/2 + late/2, with the standard deviation
	// late/√12 of one; those counted as on time shift it by at most the jitter.
	late0 := n - onTime
	mean, want := sum/float64(late0), float64(delay+jitter/2)+late/2
	if math.Abs(mean-want) > 6*late/math.Sqrt(12*float64(late0))+jitter {
		t.Errorf("reordered datagrams took %.0f on average, want %.0f", mean, want)
	}
	if slices.IsSortedFunc(b.datagrams, func(x, y note) int { return int(x.N) - int(y.N) }) {
		t.Error("nothing was reordered")
	}
}

// Streams deliver everything once and in order whatever happens to datagrams.
func TestStreamsHaveNoHazards(t *testing.T) {
	const n = 2000
	w, a, b := pairOf(t, control.LinkConfig{Delay: 100, Jitter: 1000, Loss: 0.9, Duplicate: 0.9, Reorder: 0.9}, control.Config{Seed: 5})
	e := a.open(bob, note{typ: typ0})
	for i := range uint64(n) {
		w.loop.After(time.Duration(i*10), func() { e.s.Send(&note{typ: typ0, N: i + 1}) })
	}
	w.loop.After(n*10, func() { e.shutdown(qnet.OK) })
	w.rest()
	got := b.ends[0]
	if len(got.msgs) != n+1 || got.closed != 1 || got.err != nil || w.net.Streams() != 0 {
		t.Fatalf("%d messages, %d ends, %v", len(got.msgs), got.closed, got.err)
	}
	for i, m := range got.msgs {
		if m.N != uint64(i) {
			t.Fatalf("message %d is number %d", i, m.N)
		}
	}
}

// script has alice open a stream to bob and both answer each message by the next
// one, 2k+2 in all; the end that gets the last one closes the stream.
func script(w *world, k int) {
	a, b := w.hosts[alice], w.hosts[bob]
	answer := func(e *end, m note) {
		if m.N < uint64(2*k+1) {
			e.s.Send(&note{typ: typ0 + wire.Type(m.N+1), N: m.N + 1})
		} else {
			e.shutdown(qnet.OK)
		}
	}
	a.onMessage, b.onMessage = answer, answer
	b.accept = func(e *end, m note) bool { answer(e, m); return true }
	a.open(bob, note{typ: typ0})
}

// A conversation of six messages, its stream broken in the place of each of them
// or after it: both ends get an error, and both have seen a prefix.
func TestBreakAtEachMessage(t *testing.T) {
	for _, action := range []control.Action{control.Break, control.BreakAfter} {
		for k := range 6 {
			hit := 0
			w, a, b := pairOf(t, control.LinkConfig{Delay: 50}, control.Config{
				Filter: func(from, to qnet.NodeID, class control.Class, typ wire.Type, msg []byte) control.Verdict {
					if class == control.ClassStream && typ == typ0+wire.Type(k) {
						hit++
						return control.Verdict{Action: action}
					}
					return control.Verdict{}
				},
			})
			script(w, 2)
			w.rest()
			seen := k // messages 0 to k-1 arrived
			if action == control.BreakAfter {
				seen++
			}
			msgs := len(a.ends[0].msgs)
			if len(b.ends) > 0 {
				msgs += len(b.ends[0].msgs)
			}
			if hit != 1 || msgs != seen || w.net.Streams() != 0 {
				t.Errorf("%v at message %d: hit %d times, %d messages seen, %d streams left", action, k, hit, msgs, w.net.Streams())
			}
			// The end that gets the last message closes the stream and hears no more.
			for _, h := range []*host{a, b} {
				for _, e := range h.ends {
					if !e.shut && (e.closed != 1 || !errors.Is(e.err, qnet.ErrUnavail)) {
						t.Errorf("%v at message %d: %s: ended %d times by %v", action, k, names[h.id], e.closed, e.err)
					}
				}
			}
			if !a.up[bob] || !b.up[alice] {
				t.Error("a broken stream took the connection down")
			}
		}
	}
}

// The same conversation beside datagrams, with the connection cut, or an end
// killed, before each event in turn.
func TestInterruptionAtEachEvent(t *testing.T) {
	const detect = 300 * time.Millisecond
	for _, kill := range []qnet.NodeID{0, alice, bob} {
		for step := 0; ; step++ {
			w, a, b := pairOf(t, control.LinkConfig{Delay: time.Millisecond}, control.Config{Detect: detect})
			script(w, 2)
			a.send(bob, note{typ: typ0})
			b.send(alice, note{typ: typ0})
			done := false
			for range step {
				done = !w.loop.Step()
			}
			if done {
				if step < 8 {
					t.Fatalf("the conversation had only %d events", step)
				}
				break
			}
			at := w.loop.Now()
			if kill != 0 {
				w.hosts[kill].dead = true
				w.net.Remove(kill)
			} else if err := w.net.Break(alice, bob); err != nil {
				t.Fatal(err)
			}
			heard := len(a.datagrams) + len(b.datagrams) + len(a.ends[0].msgs)
			for _, h := range []*host{a, b} {
				h.onDown = func() {
					if got := w.loop.Now().Sub(at); got != detect {
						t.Errorf("%s was told after %v", names[h.id], got)
					}
					for _, e := range h.ends {
						if !e.over() {
							t.Errorf("%s was told that the peer is down before its streams ended", names[h.id])
						}
					}
				}
			}
			w.rest()
			if got := len(a.datagrams) + len(b.datagrams) + len(a.ends[0].msgs); got != heard {
				t.Errorf("step %d: something arrived after the connection was cut", step)
			}
			for _, h := range []*host{a, b} {
				if h.dead {
					continue
				}
				for p := range h.up {
					if h.up[p] {
						t.Errorf("step %d: %s was not told that %s is down", step, names[h.id], names[p])
					}
				}
				for _, e := range h.ends {
					if !e.over() {
						t.Errorf("step %d: %s: a stream goes on", step, names[h.id])
					}
				}
			}
			if w.net.Streams() != 0 {
				t.Errorf("step %d: %d streams are left", step, w.net.Streams())
			}
			// It works again afterwards.
			if kill != 0 {
				w.start(kill, nil)
			} else if err := w.net.Restore(alice, bob); err != nil {
				t.Fatal(err)
			}
			w.rest()
			a, b = w.hosts[alice], w.hosts[bob]
			if !a.up[bob] || !b.up[alice] {
				t.Fatalf("step %d: not up again", step)
			}
			script(w, 2)
			w.rest()
			if n := len(b.ends[len(b.ends)-1].msgs); n != 3 || w.net.Streams() != 0 {
				t.Errorf("step %d: %d messages in the second conversation", step, n)
			}
		}
	}
}

// An interruption that is over before it was noticed is told at once: streams
// end, then PeerDown, then PeerUp.
func TestShortInterruption(t *testing.T) {
	w, a, b := pairOf(t, control.LinkConfig{Delay: 10}, control.Config{})
	a.open(bob, note{typ: typ0})
	w.rest()
	w.log = nil
	if err := w.net.Break(alice, bob); err != nil {
		t.Fatal(err)
	}
	if err := w.loop.RunFor(time.Millisecond); err != nil {
		t.Fatal(err)
	}
	during := a.open(bob, note{typ: typ0, N: 1})
	if err := w.net.Restore(alice, bob); err != nil {
		t.Fatal(err)
	}
	after := a.open(bob, note{typ: typ0, N: 2})
	at := w.loop.Now()
	w.rest()
	want := []string{
		"alice: stream with bob closed: peer bob: stream broken: connection lost",
		"bob: stream with alice closed: peer alice: stream broken: connection lost",
		"alice: stream with bob closed: peer bob: stream broken: connection lost",
		"alice: bob is down", "bob: alice is down", "alice: bob is up", "bob: alice is up",
	}
	for i := range want {
		want[i] = fmt.Sprintf("%d ", at) + want[i]
	}
	want = append(want, fmt.Sprintf("%d bob: stream from alice: 30020200", at.Add(10)))
	if !slices.Equal(w.log, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(w.log, "\n"), strings.Join(want, "\n"))
	}
	if during.closed != 1 || after.closed != 0 || len(b.ends) != 2 {
		t.Error("wrong streams ended")
	}
	// Two interruptions within one instant are one to the ends, and late.
	var told qnet.Time
	a.onDown = func() { told = w.loop.Now() }
	w.log = nil
	for _, f := range []func(a, b qnet.NodeID) error{w.net.Break, w.net.Restore, w.net.Break} {
		if err := f(alice, bob); err != nil {
			t.Fatal(err)
		}
	}
	at = w.loop.Now()
	w.rest()
	if told != at.Add(time.Second) || w.loop.Now() != told || a.up[bob] || after.closed != 1 || w.net.Streams() != 0 {
		t.Errorf("at %v:\n%s", w.loop.Now(), strings.Join(w.log, "\n"))
	}
}

// A node that starts late, or again, is announced to its peers.
func TestLateStart(t *testing.T) {
	w := newWorld(t, control.Config{})
	w.connect(alice, bob, control.LinkConfig{Delay: 10})
	a := w.start(alice, nil)
	w.rest()
	if a.Up(bob) {
		t.Error("bob is up before he exists")
	}
	a.send(bob, note{typ: typ0}) // lost
	e := a.open(bob, note{typ: typ0})
	e.s.Send(&note{typ: typ0})
	w.rest()
	if e.closed != 1 || !errors.Is(e.err, qnet.ErrUnavail) || w.net.Streams() != 0 {
		t.Errorf("a stream to a node that is not there: ended %d times by %v", e.closed, e.err)
	}
	b := w.start(bob, nil)
	w.rest()
	if !a.up[bob] || !b.up[alice] {
		t.Error("not told that the other is up")
	}
	b.dead = true
	again := w.start(bob, nil) // replaces the first
	w.rest()
	if !a.up[bob] || !again.up[alice] || !a.Up(bob) {
		t.Error("not up after a restart")
	}
	if err := b.Mem.Datagram(alice, &note{typ: typ0}); !errors.Is(err, qnet.ErrClosed) {
		t.Errorf("the endpoint of before: %v", err)
	}
	if b.Up(alice) {
		t.Error("the endpoint of before believes that its peer is up")
	}
}

// Any sequence of what can happen keeps the promises that hosts check, and
// leaves only streams that both ends have open.
func TestRandomOperations(t *testing.T) {
	ids := []qnet.NodeID{alice, bob, charlie}
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, control.Config{Seed: seed, Detect: 200, Route: func(a, b qnet.NodeID) (time.Duration, bool) { return 30, true }})
		link := control.LinkConfig{Delay: 20, Jitter: 30, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, ReorderBy: 100}
		w.connect(alice, bob, link)
		w.connect(bob, charlie, link)
		for _, id := range ids {
			w.start(id, nil)
		}
		pick := func() (qnet.NodeID, qnet.NodeID) {
			i := rng.IntN(3)
			return ids[i], ids[(i+1+rng.IntN(2))%3]
		}
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		behave := func(e *end, m note) {
			switch rng.IntN(8) {
			case 0:
				e.shutdown(qnet.ErrBusy)
			case 1, 2:
				e.s.Send(&note{typ: typ0, N: m.N + 1})
			case 3:
				a, b := pick()
				check(w.net.Break(a, b))
			}
		}
		op := func() {
			a, b := pick()
			h := w.hosts[a]
			h.onMessage = behave
			h.accept = func(e *end, m note) bool { behave(e, m); return rng.IntN(6) > 0 }
			switch rng.IntN(12) {
			case 0:
				h.dead = true
				w.start(a, nil)
			case 1:
				h.dead = true
				w.net.Remove(a)
			case 2:
				check(w.net.Break(a, b))
			case 3, 4:
				check(w.net.Restore(a, b))
			case 5:
				if !h.dead {
					h.send(b, note{typ: typ0, N: 1})
				}
			case 6, 7:
				if !h.dead {
					e := h.open(b, note{typ: typ0})
					if rng.IntN(4) == 0 {
						e.shutdown(qnet.OK)
					}
				}
			default:
				if len(h.ends) > 0 {
					e := h.ends[rng.IntN(len(h.ends))]
					if rng.IntN(5) == 0 && !e.over() {
						e.shutdown(qnet.ErrCancelled)
					} else {
						e.s.Send(&note{typ: typ0, N: 5})
					}
				}
			}
		}
		for range 200 {
			w.loop.At(qnet.Time(rng.IntN(5000)), op)
		}
		w.rest()
		open := 0
		for _, id := range ids {
			if h := w.hosts[id]; !h.dead {
				for _, e := range h.ends {
					if !e.over() {
						open++
					}
				}
			}
		}
		if open != 2*w.net.Streams() {
			t.Fatalf("seed %d: %d ends are open and %d streams", seed, open, w.net.Streams())
		}
		// With everybody gone nothing is left.
		for _, id := range ids {
			w.hosts[id].dead = true
			w.net.Remove(id)
		}
		w.rest()
		if w.net.Streams() != 0 {
			t.Fatalf("seed %d: %d streams are left", seed, w.net.Streams())
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// One seed gives one history, trace and all; another gives another.
func TestReproducible(t *testing.T) {
	run := func(seed uint64) (string, string) {
		var out bytes.Buffer
		tw := trace.NewWriter(&out)
		w := newWorld(t, control.Config{Seed: seed})
		w.connect(alice, bob, control.LinkConfig{Delay: 100, Jitter: 50, Loss: 0.2, Duplicate: 0.2, Reorder: 0.2, ReorderBy: 1000})
		a, b := w.start(alice, trace.New(tw, "alice")), w.start(bob, trace.New(tw, "bob"))
		w.rest()
		script(w, 3)
		for i := range uint64(200) {
			a.send(bob, note{typ: typ0, N: i})
			b.send(alice, note{typ: typ0, N: i})
		}
		w.rest()
		w.net.Remove(bob)
		b.dead = true
		w.rest()
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		return strings.Join(w.log, "\n"), out.String()
	}
	log1, trace1 := run(1)
	log2, trace2 := run(1)
	log3, trace3 := run(2)
	if log1 != log2 || trace1 != trace2 {
		t.Error("one seed, two histories")
	}
	if log1 == log3 || trace1 == trace3 {
		t.Error("two seeds, one history")
	}
	recs, err := trace.Read(strings.NewReader(trace1))
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for _, r := range recs {
		if r.Layer != "control" || r.Fields["peer"] == nil {
			t.Fatalf("record %+v", r)
		}
		count[r.Event]++
	}
	// 8 stream messages, of which the last makes its receiver close, and 400
	// datagrams.
	if count["send"] != 408 || count["close"] != 1 || count["closed"] != 1 || count["peer-up"] != 2 || count["peer-down"] != 1 ||
		count["deliver"] != strings.Count(log1, "datagram from")+8 || count["lose"] == 0 {
		t.Errorf("events in the trace: %v", count)
	}
}

// remover is a handler that ends its own endpoint when a peer goes down.
type remover struct {
	sink
	remove func()
}

func (r *remover) PeerDown(qnet.NodeID, error) { r.remove() }

// An endpoint that is removed by one of its handlers tells the others nothing.
func TestRemovedByHandler(t *testing.T) {
	w := newWorld(t, control.Config{})
	w.connect(alice, bob, control.LinkConfig{})
	w.connect(alice, charlie, control.LinkConfig{})
	a := w.start(alice, nil)
	w.start(bob, nil)
	c := w.start(charlie, nil)
	a.Handle(wire.ServiceNetwork, &remover{remove: func() { a.dead = true; w.net.Remove(alice) }}) // comes before a's own
	w.rest()
	if !a.up[bob] || !a.up[charlie] {
		t.Fatal("not up")
	}
	w.hosts[bob].dead = true
	w.net.Remove(bob)
	w.rest()
	if !a.dead || c.up[alice] || !a.up[bob] {
		t.Errorf("removed: %v; charlie believes that alice is up: %v", a.dead, c.up[alice])
	}
}

// What a filter decides happens, and it sees what is sent.
func TestFilter(t *testing.T) {
	var verdict control.Verdict
	var seen []string
	w, a, b := pairOf(t, control.LinkConfig{Delay: 10}, control.Config{
		Filter: func(from, to qnet.NodeID, class control.Class, typ wire.Type, msg []byte) control.Verdict {
			seen = append(seen, fmt.Sprintf("%s %s %v 0x%x %x", names[from], names[to], class, uint16(typ), msg))
			return verdict
		},
	})
	for _, c := range []struct {
		verdict control.Verdict
		copies  int
		after   time.Duration
	}{
		{control.Verdict{}, 1, 10},
		{control.Verdict{Delay: 5}, 1, 15},
		{control.Verdict{Action: control.Drop}, 0, 0},
		{control.Verdict{Action: control.Duplicate}, 2, 10},
		{control.Verdict{Action: control.Break}, 1, 10},
	} {
		verdict = c.verdict
		b.datagrams, b.at = nil, nil
		start := w.loop.Now()
		a.send(bob, note{typ: 0x33, N: 4})
		w.rest()
		if len(b.datagrams) != c.copies {
			t.Errorf("%+v: %d copies arrived", c.verdict, len(b.datagrams))
		}
		for _, at := range b.at {
			if at.Sub(start) != c.after {
				t.Errorf("%+v: arrived after %v", c.verdict, at.Sub(start))
			}
		}
	}
	// A delayed message holds up those after it on its stream, and only there.
	verdict = control.Verdict{Delay: 100}
	start := w.loop.Now()
	e := a.open(bob, note{typ: typ0})
	verdict = control.Verdict{Action: control.Drop} // without effect on a stream
	e.s.Send(&note{typ: typ0, N: 1})
	verdict = control.Verdict{}
	b.at = nil
	a.send(bob, note{typ: typ0})
	w.rest()
	if w.loop.Now().Sub(start) != 110 || len(b.ends[0].msgs) != 2 || b.at[0].Sub(start) != 10 {
		t.Errorf("stream at %v, datagram at %v, %d messages", w.loop.Now().Sub(start), b.at[0].Sub(start), len(b.ends[0].msgs))
	}
	if len(seen) != 8 || seen[0] != "alice bob datagram 0x33 33020400" || seen[5] != "alice bob stream 0x30 30020000" {
		t.Errorf("the filter saw %q", seen)
	}
	// Bytes that a filter changes arrive changed; without a filter nothing is.
	w.net.SetFilter(func(_, _ qnet.NodeID, _ control.Class, _ wire.Type, msg []byte) control.Verdict {
		msg[2] = 9
		return control.Verdict{}
	})
	b.datagrams = nil
	a.send(bob, note{typ: typ0, N: 4})
	w.net.SetFilter(nil)
	a.send(bob, note{typ: typ0, N: 4})
	w.rest()
	if b.datagrams[0].N != 9 || b.datagrams[1].N != 4 {
		t.Errorf("arrived: %v", b.datagrams)
	}
}

// More than MaxUnsent bytes in flight lose the stream, at both ends and in one
// direction only.
func TestUnsentWindow(t *testing.T) {
	w, a, b := pairOf(t, control.LinkConfig{Delay: time.Second}, control.Config{})
	const size = 1 << 19
	pad := make([]byte, size-10)
	e := a.open(bob, note{typ: typ0})
	w.rest()
	fill := func(e *end, n int) {
		for range n {
			e.s.Send(&note{typ: typ0, Pad: pad})
		}
	}
	// A window that is almost full, again and again, and in both directions.
	for range 3 {
		fill(e, control.MaxUnsent/size)
		fill(b.ends[0], control.MaxUnsent/size)
		w.rest()
	}
	if e.closed != 0 || b.ends[0].closed != 0 || len(e.msgs) != 48 || len(b.ends[0].msgs) != 49 {
		t.Fatalf("%d and %d messages, ended %d and %d times", len(e.msgs), len(b.ends[0].msgs), e.closed, b.ends[0].closed)
	}
	fill(e, control.MaxUnsent/size+1)
	if e.closed != 0 {
		t.Error("ended within the call")
	}
	e.s.Send(&note{typ: typ0, N: 77}) // must not arrive, as something before it did not
	w.rest()
	for _, m := range b.ends[0].msgs {
		if m.N == 77 {
			t.Error("a message arrived after a gap")
		}
	}
	for _, end := range []*end{e, b.ends[0]} {
		if end.closed != 1 || !errors.Is(end.err, qnet.ErrBusy) || len(end.msgs) > 49 {
			t.Errorf("%s: %d messages, ended %d times by %v", names[end.host.id], len(end.msgs), end.closed, end.err)
		}
	}
	if w.net.Streams() != 0 {
		t.Errorf("%d streams left", w.net.Streams())
	}
}

// End-to-end connections come into being on first use.
func TestRoute(t *testing.T) {
	asked := 0
	w := newWorld(t, control.Config{Route: func(a, b qnet.NodeID) (time.Duration, bool) {
		asked++
		return 70, a+b == alice+charlie
	}})
	w.connect(alice, bob, control.LinkConfig{Delay: 10})
	a, _, c := w.start(alice, nil), w.start(bob, nil), w.start(charlie, nil)
	w.rest()
	if a.up[charlie] || a.Up(charlie) {
		t.Error("connected before use")
	}
	start := w.loop.Now()
	a.send(charlie, note{typ: typ0})
	e := a.open(charlie, note{typ: typ0})
	w.rest()
	if len(c.at) != 1 || c.at[0].Sub(start) != 70 || len(c.ends) != 1 || !a.up[charlie] || !c.up[alice] || asked != 1 {
		t.Errorf("datagrams at %v, %d streams, asked %d times", c.at, len(c.ends), asked)
	}
	c.dead = true
	w.net.Remove(charlie)
	w.rest()
	if e.closed != 1 || a.up[charlie] {
		t.Error("the death of an end-to-end peer was not told")
	}
	b := w.hosts[bob]
	for name, err := range map[string]error{
		"datagram": b.Mem.Datagram(charlie, &note{typ: typ0}),
		"self":     b.Mem.Datagram(bob, &note{typ: typ0}),
		"break":    w.net.Break(bob, charlie),
		"restore":  w.net.Restore(bob, charlie),
	} {
		if !errors.Is(err, qnet.ErrUnknown) || !strings.Contains(err.Error(), "bob") {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

func TestConnectRefuses(t *testing.T) {
	w := newWorld(t, control.Config{})
	for _, c := range []struct {
		a, b qnet.NodeID
		link control.LinkConfig
		text string
	}{
		{alice, alice, control.LinkConfig{}, "connect alice to alice: want two different nodes"},
		{0, bob, control.LinkConfig{}, "connect 0000000000000000 to bob: want two different nodes"},
		{alice, bob, control.LinkConfig{Loss: 1.5}, "connect alice to bob: Loss is 1.5: want a probability from 0 to 1"},
		{alice, bob, control.LinkConfig{Duplicate: -1}, "connect alice to bob: Duplicate is -1: want a probability from 0 to 1"},
		{alice, bob, control.LinkConfig{Reorder: math.NaN()}, "connect alice to bob: Reorder is NaN: want a probability from 0 to 1"},
		{alice, bob, control.LinkConfig{Delay: -1}, "connect alice to bob: Delay is -1ns: want 0 or more"},
		{alice, bob, control.LinkConfig{Jitter: -1}, "connect alice to bob: Jitter is -1ns: want 0 or more"},
		{alice, bob, control.LinkConfig{ReorderBy: -1}, "connect alice to bob: ReorderBy is -1ns: want 0 or more"},
	} {
		if err := w.net.Connect(c.a, c.b, c.link); !errors.Is(err, qnet.ErrInvalid) || err.Error() != c.text {
			t.Errorf("got %v, want %s", err, c.text)
		}
	}
}

// Connect again changes the delay of what is sent from then on; a stream keeps
// its order all the same.
func TestConnectAgain(t *testing.T) {
	w, a, b := pairOf(t, control.LinkConfig{Delay: 100}, control.Config{})
	e := a.open(bob, note{typ: typ0})
	a.send(bob, note{typ: typ0, N: 1})
	w.connect(alice, bob, control.LinkConfig{Delay: 10})
	a.send(bob, note{typ: typ0, N: 2})
	e.s.Send(&note{typ: typ0, N: 3})
	start := w.loop.Now()
	w.rest()
	if b.datagrams[0].N != 2 || b.at[0].Sub(start) != 10 || b.datagrams[1].N != 1 || len(b.ends[0].msgs) != 2 || w.loop.Now().Sub(start) != 100 {
		t.Errorf("datagrams %v at %v", b.datagrams, b.at)
	}
	if a.closedTotal()+b.closedTotal() != 0 {
		t.Error("a stream ended")
	}
}

func (h *host) closedTotal() (n int) {
	for _, e := range h.ends {
		n += e.closed
	}
	return n
}

// sink is a handler that costs nothing.
type sink struct{ n int }

func (s *sink) Datagram(qnet.NodeID, []byte)                        { s.n++ }
func (s *sink) Accept(control.Stream, []byte) control.StreamHandler { return s }
func (s *sink) PeerUp(qnet.NodeID)                                  {}
func (s *sink) PeerDown(qnet.NodeID, error)                         {}
func (s *sink) Message(control.Stream, []byte)                      { s.n++ }
func (s *sink) Closed(control.Stream, error)                        {}

func sinkPair(t testing.TB, link control.LinkConfig) (*event.Virtual, *control.Mem, *sink) {
	loop := event.NewVirtual()
	net := control.NewNetwork(control.Config{Loop: loop, Seed: 1})
	if err := net.Connect(alice, bob, link); err != nil {
		t.Fatal(err)
	}
	a, b := net.Endpoint(alice, nil), net.Endpoint(bob, nil)
	s := new(sink)
	b.Handle(wire.ServiceTransport, s)
	a.Handle(wire.ServiceTransport, new(sink))
	return loop, a, s
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("counts allocations")
	}
	loop, a, s := sinkPair(t, control.LinkConfig{Delay: 100, Jitter: 10, Duplicate: 0.5, Loss: 0.1, Reorder: 0.1})
	m := &note{typ: typ0, N: 1 << 40, Pad: make([]byte, 30)}
	stream, err := a.Open(bob, m, new(sink))
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		for range 10 {
			if err := a.Datagram(bob, m); err != nil {
				t.Fatal(err)
			}
			stream.Send(m)
		}
		if err := loop.Drain(); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		send() // fills the pools
	}
	if n := testing.AllocsPerRun(500, send); n > 0.1 { // a collection may empty the codecs' pool
		t.Errorf("%v allocations for 20 messages", n)
	}
	if s.n == 0 {
		t.Error("nothing arrived")
	}
}

// One datagram from the call that sends it to its handler, with encoding, on an
// otherwise empty loop and with a thousand others in flight.
func BenchmarkDatagram(b *testing.B) {
	for _, pending := range []int{0, 1000} {
		b.Run(fmt.Sprintf("inflight=%d", pending), func(b *testing.B) {
			loop, a, s := sinkPair(b, control.LinkConfig{Delay: 10 * time.Microsecond})
			m := &note{typ: typ0, N: 1 << 40, Pad: make([]byte, 16)}
			for range pending {
				if err := a.Datagram(bob, m); err != nil {
					b.Fatal(err)
				}
			}
			loop.Step() // tells that the peers are up
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Datagram(bob, m); err != nil {
					b.Fatal(err)
				}
				loop.Step()
			}
			if s.n == 0 {
				b.Fatal("nothing arrived")
			}
		})
	}
}

func BenchmarkStreamMessage(b *testing.B) {
	loop, a, s := sinkPair(b, control.LinkConfig{Delay: 10 * time.Microsecond})
	m := &note{typ: typ0, N: 1 << 40, Pad: make([]byte, 16)}
	stream, err := a.Open(bob, m, new(sink))
	if err != nil {
		b.Fatal(err)
	}
	if err := loop.Drain(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		stream.Send(m)
		loop.Step()
	}
	if s.n == 0 {
		b.Fatal("nothing arrived")
	}
}
