package control_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

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

// Every datagram counts once as sent, by its type, and once as lost if no copy of
// it arrives, for whatever reason. Streams do not count.
func TestDatagramCounts(t *testing.T) {
	var action control.Action
	w, a, b := pairOf(t, control.LinkConfig{Delay: 10}, control.Config{
		Filter: func(qnet.NodeID, qnet.NodeID, control.Class, wire.Type, []byte) control.Verdict {
			return control.Verdict{Action: action}
		},
	})
	check := func(what string, typ wire.Type, sent, lost uint64) {
		t.Helper()
		if got, want := w.net.Datagrams(typ), (control.Count{Sent: sent, Lost: lost}); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	check("nothing sent", 0x33, 0, 0)
	a.send(bob, note{typ: 0x33})
	b.send(alice, note{typ: 0x33})
	a.send(bob, note{typ: 0x31})
	a.open(bob, note{typ: 0x32})
	w.rest()
	check("delivered", 0x33, 2, 0)
	check("another type", 0x31, 1, 0)
	check("stream", 0x32, 0, 0)
	check("never heard of", 0xffff, 0, 0)
	action = control.Duplicate
	a.send(bob, note{typ: 0x33})
	w.rest()
	check("duplicated", 0x33, 3, 0)
	action = control.Drop
	a.send(bob, note{typ: 0x33})
	w.rest()
	check("dropped", 0x33, 4, 1)
	action = control.Duplicate
	a.send(bob, note{typ: 0x33}) // lost on the way, with its copy
	if err := w.net.Break(alice, bob); err != nil {
		t.Fatal(err)
	}
	w.rest()
	check("under way", 0x33, 5, 2)
	a.send(bob, note{typ: 0x33})
	check("not connected", 0x33, 6, 3)
	if err := w.net.Restore(alice, bob); err != nil {
		t.Fatal(err)
	}
	action = control.Deliver
	w.connect(alice, bob, control.LinkConfig{Loss: 1})
	a.send(bob, note{typ: 0x33})
	w.rest()
	check("hazard", 0x33, 7, 4)
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
