package control_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

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
