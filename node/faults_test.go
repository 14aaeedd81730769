package node_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"qstack/link"
	"qstack/network"
	"qstack/node"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// mixed makes three circuits over a chain of three nodes with two qubits at each
// link end: one that keeps and measures over both links, one over the first link
// that is measured by the link, and one whose requests are cancelled midway, again
// and again. It checks that all that is not cancelled completes, with the same
// pairs at both ends and perfect correlations, and that nothing is left.
func mixed(t *testing.T, w *world, rng *rand.Rand) {
	t.Helper()
	long, short, fickle := w.connect("n0", "n2"), w.connect("n0", "n1"), w.connect("n2", "n0")
	checked := long.checkKept(20 * time.Millisecond)
	long.keep(1, 8)
	long.measure(2, 15)
	short.measure(1, 60)
	for id := range uint64(10) {
		fickle.keep(id, 5)
		w.run(time.Duration(rng.Uint64N(uint64(8 * time.Millisecond))))
		order := rng.Perm(2)
		for _, i := range order {
			fickle.ends[i].circuit.Cancel(id)
			w.run(time.Duration(rng.Uint64N(uint64(2 * time.Millisecond))))
		}
	}
	fickle.measure(100, 10)
	if !w.runUntil(time.Minute, func() bool {
		return long.isDone(1) && long.isDone(2) && short.isDone(1) && fickle.isDone(100)
	}) {
		t.Fatalf("not done: %v %v\n%s", long.ends[0].counts, short.ends[0].counts, w.state())
	}
	w.run(100 * time.Millisecond)
	long.checkSame(1, 8)
	long.checkSame(2, 15)
	short.checkSame(1, 60)
	fickle.checkSame(100, 10)
	for _, r := range w.runs {
		r.checkPerfect()
	}
	if *checked == 0 {
		t.Error("the oracle saw no pair")
	}
	w.rest()
}

// Datagrams of each type are lost, repeated and delayed, one type at a time: the
// first few, or the first and one in four of the others.
func TestDatagramFaults(t *testing.T) {
	faults := []struct {
		name string
		v    control.Verdict
	}{
		{"lost", control.Verdict{Action: control.Drop}},
		{"twice", control.Verdict{Action: control.Duplicate}},
		{"late", control.Verdict{Delay: 7 * time.Millisecond}},
		{"twice and late", control.Verdict{Action: control.Duplicate, Delay: 3 * time.Millisecond}},
	}
	for _, m := range link.Messages() {
		expires, differ := wire.Name(m) == "LinkExpire" || wire.Name(m) == "LinkExpireAck", wire.Name(m) == "Mismatch"
		for _, f := range faults {
			for _, first := range []int{1, 4, 0} {
				name := fmt.Sprintf("%s %s, first %d", wire.Name(m), f.name, first)
				if first == 0 {
					name = fmt.Sprintf("%s %s, one in four", wire.Name(m), f.name)
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					hits := 0
					for try := uint64(0); hits < max(first, 1) && try < 16; try++ { // what is rare takes several runs
						s := perfect(3, 2)
						if wire.Name(m) == "Outcomes" {
							s.LinkSettings.TestRounds = 0.2
						}
						w := newWorld(t, s, node.Options{})
						rng := rand.New(rand.NewPCG(uint64(m.Type()), uint64(first)+100*try))
						sent, replies, others := 0, 0, 0
						w.net.Control.SetFilter(func(_, _ qnet.NodeID, c control.Class, typ wire.Type, _ []byte) (v control.Verdict) {
							if typ == m.Type() {
								sent++
							}
							switch {
							case typ == m.Type() && (hits < first || first == 0 && (sent == 1 || rng.IntN(4) == 0)):
								hits++
								return f.v
							case typ == (*link.Reply)(nil).Type() && expires && replies < 300 && rng.IntN(3) != 0:
								replies++
								v.Action = control.Drop // else there is nothing to expire
							case c == control.ClassDatagram && differ && others < 300 && rng.IntN(4) == 0:
								others++
								v.Action = control.Drop // else the ends attempt for the same
							}
							return v
						})
						mixed(t, w, rand.New(rand.NewPCG(1, 1)))
					}
					if hits < max(first, 1) {
						t.Errorf("%d were hit: the test tests nothing", hits)
					}
				})
			}
		}
	}
}

// Everything at once, one datagram in a hundred, and in ten.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			p := []float64{0.01, 0.1}[seed%2]
			s := perfect(3, 1+int(seed%3))
			s.Seed = seed + 1
			if seed%4 < 2 {
				s.Nodes[1].Cutoff = 3 * time.Millisecond
			}
			w := newWorld(t, s, node.Options{Hazards: control.LinkConfig{Loss: p, Duplicate: p, Reorder: p, ReorderBy: 5 * time.Millisecond, Jitter: 50 * time.Microsecond}})
			sent := 0
			w.net.Control.SetFilter(func(_, _ qnet.NodeID, c control.Class, _ wire.Type, _ []byte) (v control.Verdict) {
				if c == control.ClassDatagram {
					sent++
				}
				return v
			})
			mixed(t, w, rand.New(rand.NewPCG(seed, 2)))
			if p*float64(sent) < 5 {
				t.Errorf("%d datagrams are too few", sent)
			}
		})
	}
}

// Streams are slow: messages of each type in turn, and all at random.
func TestStreamDelays(t *testing.T) {
	types := []wire.Type{0}
	for _, m := range network.Messages() {
		types = append(types, m.Type())
	}
	for _, typ := range types {
		t.Run(typeName(typ), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, perfect(3, 2), node.Options{})
			rng := rand.New(rand.NewPCG(uint64(typ), 5))
			hits := 0
			w.net.Control.SetFilter(func(_, _ qnet.NodeID, c control.Class, m wire.Type, _ []byte) (v control.Verdict) {
				if m == typ || typ == 0 && c == control.ClassStream {
					hits++
					v.Delay = time.Duration(rng.Uint64N(uint64(4 * time.Millisecond)))
				}
				return v
			})
			mixed(t, w, rand.New(rand.NewPCG(3, 3)))
			if hits == 0 {
				t.Error("none was late: the test tests nothing")
			}
		})
	}
}

// A stream breaks in the place of a message, or right after it, for each type in
// turn and several of its occurrences: the request completes, or both ends are told
// that the circuit is lost, within the time that it takes to detect a dead peer.
// Nothing is left, no pair is wrong, and a new circuit works.
func TestStreamBreaks(t *testing.T) {
	for _, m := range network.Messages() {
		for _, action := range []control.Action{control.Break, control.BreakAfter} {
			for nth := range 6 {
				t.Run(fmt.Sprintf("%s %d, action %d", wire.Name(m), nth, action), func(t *testing.T) {
					t.Parallel()
					s := perfect(4, 1)
					s.Nodes[1].Cutoff, s.Nodes[2].Cutoff = 2*time.Millisecond, 3*time.Millisecond // for CircuitExpire
					w := newWorld(t, s, node.Options{})
					seen, broken := 0, false
					w.net.Control.SetFilter(func(_, _ qnet.NodeID, c control.Class, typ wire.Type, _ []byte) (v control.Verdict) {
						if typ == m.Type() && !broken {
							if seen == nth {
								broken = true
								v.Action = action
							}
							seen++
						}
						return v
					})
					r := w.setup("n0", "n3")
					w.run(100 * time.Millisecond)
					if r.ends[0].circuit != nil && r.ends[0].down == nil && r.ends[1].down == nil {
						r.checkKept(5 * time.Millisecond)
						r.keep(1, 3)
						r.measure(2, 5)
						w.runUntil(5*time.Second, func() bool { return r.isDown() || r.isDone(1) && r.isDone(2) })
						if r.ends[0].down == nil {
							r.ends[0].circuit.Cancel(77)
							r.keep(3, 40)
							r.ends[0].circuit.Cancel(3)
							r.ends[1].circuit.Cancel(3)
							w.run(100 * time.Millisecond)
						}
					}
					if r.ends[0].down == nil && r.ends[0].circuit != nil {
						r.ends[0].circuit.Close(qnet.OK) // Teardown
						w.run(100 * time.Millisecond)
					}
					if !broken && nth == 0 {
						t.Fatal("none is sent: the test tests nothing")
					}
					if !broken {
						t.Skip("a healthy circuit sends fewer; the first, which must be sent, is tested")
					}
					if r.ends[0].circuit == nil {
						if r.err == nil || !lost(r.err) {
							t.Errorf("set-up: %v", r.err)
						}
						if r.ends[1].circuit != nil && r.ends[1].down == nil {
							t.Error("the tail end has a circuit that the head has not")
						}
					} else if r.ends[1].down == nil {
						t.Errorf("the tail end was not told; head: %v", r.ends[0].down)
					}
					for _, e := range r.ends {
						if e.down != nil && !lost(e.down) {
							t.Errorf("%s: %v", e.name, e.down)
						}
					}
					r.checkPerfect()
					again := w.connect("n0", "n3")
					again.measure(1, 5)
					if !w.runUntil(10*time.Second, func() bool { return again.isDone(1) }) {
						t.Errorf("the new circuit does not work\n%s", w.state())
					}
					again.checkSame(1, 5)
					again.checkPerfect()
					w.rest()
				})
			}
		}
	}
}
