package control_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/trace"
)

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
