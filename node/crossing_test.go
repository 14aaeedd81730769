package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"qstack/node"
)

// Two circuits in opposite directions over the same links with one qubit at each
// end, all of whose requests keep: each may hold what the other waits for.
func TestOppositeCircuits(t *testing.T) {
	for nodes := 3; nodes <= 5; nodes++ {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, perfect(nodes, 1), node.Options{})
			tail := fmt.Sprint("n", nodes-1)
			a, b := w.connect("n0", tail), w.connect(tail, "n0")
			checked := []*int{a.checkKept(3 * time.Millisecond), b.checkKept(3 * time.Millisecond)}
			a.keep(1, 20)
			b.keep(1, 20)
			a.measure(2, 20)
			b.measure(2, 20)
			if !w.runUntil(time.Minute, func() bool { return a.isDone(1) && b.isDone(1) && a.isDone(2) && b.isDone(2) }) {
				t.Fatal(w.state())
			}
			for i, r := range []*run{a, b} {
				r.checkSame(1, 20)
				r.checkSame(2, 20)
				r.checkPerfect()
				if *checked[i] == 0 {
					t.Error("the oracle saw no pair")
				}
			}
			w.rest()
		})
	}
}

// Four circuits cross in a network of two rows of nodes, with one qubit at each
// link end: memories fill with halves of different circuits, none of which can be
// swapped, unless some are discarded. All requests complete.
//
//	a0       b0
//	   \    /
//	    ma-mb
//	   /    \
//	a1       b1
func TestCrossingCircuits(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			s := perfect(6, 1)
			s.Seed = seed
			s.Links = nil
			for i, name := range []string{"a0", "a1", "ma", "mb", "b0", "b1"} {
				s.Nodes[i].Name = name
			}
			for _, ends := range [][2]int{{0, 2}, {1, 2}, {2, 3}, {4, 3}, {3, 5}} {
				s.Links = append(s.Links, join(s, ends[0], ends[1], 1))
			}
			w := newWorld(t, s, node.Options{})
			runs := []*run{w.connect("a0", "b0"), w.connect("a1", "b1"), w.connect("b1", "a0"), w.connect("b0", "a1")}
			for _, r := range runs {
				r.hold = time.Millisecond
				r.keep(1, 12)
				r.measure(2, 12)
			}
			if !w.runUntil(2*time.Minute, func() bool {
				for _, r := range runs {
					if !r.isDone(1) || !r.isDone(2) {
						return false
					}
				}
				return true
			}) {
				t.Fatal(w.state())
			}
			t.Logf("done at %v", w.loop.Now())
			for _, r := range runs {
				r.checkSame(1, 12)
				r.checkSame(2, 12)
				r.checkPerfect()
			}
			w.rest()
		})
	}
}

// The node between dies in the middle of its work, and comes back after a while or
// before anybody has noticed: both ends are told, by its name, within the time
// that it takes to detect a dead peer; everything is freed; and a new circuit
// works.
func TestKillAndRestart(t *testing.T) {
	const detect = time.Second // of control.Config
	for _, away := range []time.Duration{0, 300 * time.Millisecond, 3 * time.Second} {
		for at := range 8 {
			t.Run(fmt.Sprintf("away %v, moment %d", away, at), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, perfect(4, 2), node.Options{})
				long, short := w.connect("n0", "n3"), w.connect("n1", "n2")
				long.keep(1, 1000)
				short.measure(1, 100_000)
				w.run(10*time.Millisecond + time.Duration(at)*371*time.Microsecond)
				long.measure(2, 1000)
				w.run(10 * time.Millisecond)
				kill(t, w, "n2")
				died := w.loop.Now()
				if away > 0 {
					w.run(away)
				}
				restart(t, w, "n2")
				w.runUntil(2*detect, func() bool { return long.isDown() && short.ends[0].down != nil })
				if took := w.loop.Now().Sub(died); took > max(away, detect)+50*time.Millisecond {
					t.Errorf("the ends were told after %v", took)
				}
				for _, e := range []*end{&long.ends[0], &long.ends[1], &short.ends[0]} {
					if e.down == nil || !lost(e.down) || !strings.Contains(e.down.Error(), "n2") {
						t.Errorf("%s was told: %v", e.name, e.down)
					}
				}
				w.run(node.Settle)
				if err := w.net.Idle(); err != nil {
					t.Errorf("after the loss: %v\n%s", err, w.state())
				}
				again, other := w.connect("n0", "n3"), w.connect("n2", "n1")
				checked := again.checkKept(5 * time.Millisecond)
				again.keep(1, 10)
				again.measure(2, 20)
				other.measure(1, 200)
				if !w.runUntil(20*time.Second, func() bool { return again.isDone(1) && again.isDone(2) && other.isDone(1) }) {
					t.Errorf("the new circuits do not work\n%s", w.state())
				}
				again.checkSame(1, 10)
				again.checkSame(2, 20)
				other.checkSame(1, 200)
				again.checkPerfect()
				other.checkPerfect()
				if *checked == 0 {
					t.Error("the oracle saw no pair")
				}
				w.rest()
			})
		}
	}
}

func kill(t *testing.T, w *world, name string) {
	t.Helper()
	if err := w.net.Kill(name); err != nil {
		t.Fatal(err)
	}
}

func restart(t *testing.T, w *world, name string) {
	t.Helper()
	if err := w.net.Restart(name); err != nil {
		t.Fatal(err)
	}
	i, err := w.net.Plan.Scenario.NodeIndex(name)
	if err != nil {
		t.Fatal(err)
	}
	w.listen(i)
}

// The head or tail end dies: the other end is told by its name, through the nodes
// between.
func TestKillEnd(t *testing.T) {
	for _, name := range []string{"n0", "n3"} {
		w := newWorld(t, perfect(4, 1), node.Options{})
		r := w.connect("n0", "n3")
		r.keep(1, 1000)
		w.run(20 * time.Millisecond)
		kill(t, w, name)
		w.run(1100 * time.Millisecond)
		other := &r.ends[0]
		if name == "n0" {
			other = &r.ends[1]
		}
		if other.down == nil || !lost(other.down) || !strings.Contains(other.down.Error(), name) {
			t.Errorf("%s was told: %v", other.name, other.down)
		}
		restart(t, w, name)
		w.run(node.Settle)
		if err := w.net.Idle(); err != nil {
			t.Error(err)
		}
	}
}

// A link's classical channel is cut and mended: the circuits over it end, naming
// the neighbour, others go on, and new ones work afterwards.
func TestCut(t *testing.T) {
	s := perfect(4, 1)
	s.Links = append(s.Links, join(s, 0, 3, 1))
	w := newWorld(t, s, node.Options{})
	hurt, spared := w.connect("n1", "n2"), w.connect("n0", "n3")
	hurt.keep(1, 100_000)
	spared.measure(1, 3000)
	w.run(20 * time.Millisecond)
	a, b := w.stack("n1").ID, w.stack("n2").ID
	if err := w.net.Control.Break(a, b); err != nil {
		t.Fatal(err)
	}
	w.run(1100 * time.Millisecond)
	for i, other := range []string{"n2", "n1"} {
		if e := &hurt.ends[i]; e.down == nil || !lost(e.down) || !strings.Contains(e.down.Error(), other) {
			t.Errorf("%s was told: %v", e.name, e.down)
		}
	}
	if err := w.net.Control.Restore(a, b); err != nil {
		t.Fatal(err)
	}
	again := w.connect("n1", "n2")
	again.keep(1, 10)
	if !w.runUntil(time.Minute, func() bool { return again.isDone(1) && spared.isDone(1) }) {
		t.Fatal(w.state())
	}
	again.checkSame(1, 10)
	spared.checkSame(1, 3000)
	w.rest()
}

// A station is out of touch with one of its nodes: circuits over its link end at
// both ends, whichever of them lost it, and work again when it is back.
func TestStationCut(t *testing.T) {
	for _, name := range []string{"n0", "n1"} {
		s := perfect(3, 2)
		w := newWorld(t, s, node.Options{})
		r := w.connect("n0", "n2")
		r.keep(1, 100_000)
		w.run(20 * time.Millisecond)
		station := w.net.Plan.ID(node.StationName(&s.Links[0]))
		if err := w.net.Control.Break(w.stack(name).ID, station); err != nil {
			t.Fatal(err)
		}
		w.run(1100 * time.Millisecond)
		for i := range r.ends {
			if e := &r.ends[i]; e.down == nil || !lost(e.down) || !strings.Contains(e.down.Error(), "link n0-n1") {
				t.Errorf("%s was told: %v", e.name, e.down)
			}
		}
		w.run(node.Settle)
		if err := w.net.Control.Restore(w.stack(name).ID, station); err != nil {
			t.Fatal(err)
		}
		w.run(10 * time.Millisecond)
		again := w.connect("n0", "n2")
		again.measure(1, 30)
		if !w.runUntil(time.Minute, func() bool { return again.isDone(1) }) {
			t.Fatal(w.state())
		}
		again.checkSame(1, 30)
		again.checkPerfect()
		w.rest()
	}
}
