package link_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// loseIf loses the frames that f says.
func (w *world) loseIf(f func(from, to qnet.NodeID, t wire.Type) bool) {
	w.net.SetFilter(func(from, to qnet.NodeID, _ control.Class, t wire.Type, _ []byte) control.Verdict {
		if f(from, to, t) {
			return control.Verdict{Action: control.Drop}
		}
		return control.Verdict{}
	})
}

// all reports whether requests have ended at both ends.
func (w *world) all(ids []link.RequestID) func() bool {
	return func() bool { return !slices.ContainsFunc(ids, func(id link.RequestID) bool { return !w.ended(id) }) }
}

// order returns the requests in the order in which an end has had pairs of them.
func (e *end) order(ids []link.RequestID) (out []link.RequestID) {
	var pairs []link.Pair
	for _, id := range ids {
		pairs = append(pairs, e.requests[id].pairs...)
	}
	slices.SortFunc(pairs, func(a, b link.Pair) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, p := range pairs {
		out = append(out, p.Request)
	}
	return out
}

// A hundred requests, and the peer does not answer: all end with that error, and
// the queues are empty (comm_timeout, unresponsive_dqp, unresponsive_egp). It is
// the same with three tries, as in the simulations of Dahlberg et al.
func TestNobodyAnswers(t *testing.T) {
	for _, compat := range []bool{false, true} {
		w := newWorld(t, worldConfig{seed: 41, probability: 0.01, length: 1000, compat: link.Compat{ReferenceRetries: compat}})
		w.loseIf(func(from, to qnet.NodeID, _ wire.Type) bool { return from == alice && to == bob })
		var ids []link.RequestID
		for range 100 {
			ids = append(ids, w.ends[0].keep(1))
		}
		w.run(30 * time.Second)
		for _, id := range ids {
			if c := w.ends[0].requests[id]; !c.ended || qnet.CodeOf(c.err) != qnet.ErrNoAnswer {
				t.Fatalf("compat %v: request %d: %+v", compat, id, *c)
			}
		}
		if tries := w.net.Datagrams((*link.Add)(nil).Type()).Sent; tries != uint64(100*map[bool]int{false: 10, true: 3}[compat]) {
			t.Errorf("compat %v: %d ADDs for 100 requests", compat, tries)
		}
		w.net.SetFilter(nil) // the ENDs arrive
		w.run(5 * time.Second)
		w.rest()
		id := w.ends[0].keep(1)
		w.runUntil(time.Second, func() bool { return w.ended(id) })
	}
}

// The station does not answer: requests end by their deadline at both ends, in one
// cycle (unresponsive_mhp, request_timeout).
func TestStationDoesNotAnswer(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 42, probability: 0.01, length: 1000, lanes: 2})
	w.loseIf(func(from, _ qnet.NodeID, _ wire.Type) bool { return from == station })
	w.ends[0].bases, w.ends[1].bases = pauli, pauli
	var ids []link.RequestID
	var at [2][]qnet.Time
	for typ := link.Keep; typ <= link.Prepare; typ++ {
		id := w.ends[0].create(link.Request{Type: typ, Pairs: 3, Limit: 3, Bases: pauli, Deadline: w.loop.Now().Add(time.Duration(typ+1) * 50 * time.Millisecond)})
		ids = append(ids, id)
		w.run(time.Millisecond)
		for side, e := range w.ends {
			e.requests[id].onEnd = func() { at[side] = append(at[side], w.loop.Now()) }
		}
	}
	w.run(time.Second)
	if !w.all(ids)() || !slices.Equal(at[0], at[1]) {
		t.Errorf("ended at %v and %v", at[0], at[1])
	}
	for _, id := range ids {
		for side, e := range w.ends {
			if err := e.requests[id].err; qnet.CodeOf(err) != qnet.ErrTimeout {
				t.Errorf("side %d: %v", side, err)
			}
		}
	}
	w.net.SetFilter(nil)
	w.run(5 * time.Second)
	w.rest()
}

// Every ADD and every ADD_ACK is lost once, of either end and both: all requests
// are served, in one order at both ends (lost_add_master, lost_add_slave,
// resend_acks).
func TestEachAddIsLostOnce(t *testing.T) {
	for _, creators := range [][]int{{0}, {1}, {0, 1}} {
		w := newWorld(t, worldConfig{seed: 43, probability: 0.02, length: 1000, scheduler: func() link.Scheduler { return link.FCFS{} }})
		for _, e := range w.ends {
			e.grant = 0
		}
		add, ack := (*link.Add)(nil).Type(), (*link.AddAck)(nil).Type()
		seen := map[string]int{}
		w.net.SetFilter(func(from, _ qnet.NodeID, _ control.Class, t wire.Type, b []byte) control.Verdict {
			if t != add && t != ack {
				return control.Verdict{}
			}
			var id link.RequestID
			if t == add {
				var m link.Add
				_ = wire.Parse(b, &m)
				id = m.ID
			} else {
				var m link.AddAck
				_ = wire.Parse(b, &m)
				id = m.ID
			}
			if seen[fmt.Sprint(from, t, id)]++; seen[fmt.Sprint(from, t, id)] == 1 {
				return control.Verdict{Action: control.Drop}
			}
			return control.Verdict{}
		})
		var ids []link.RequestID
		for range 10 {
			for _, side := range creators {
				ids = append(ids, w.ends[side].keep(1))
			}
		}
		w.runUntil(time.Minute, w.all(ids))
		a, b := w.ends[0].order(ids), w.ends[1].order(ids)
		if len(a) != len(ids) || !slices.Equal(a, b) {
			t.Errorf("by %v: served %v at one end, %v at the other", creators, a, b)
		}
		w.run(5 * time.Second)
		w.rest()
	}
}

// More than a thousand requests of both ends cross, and a frame is lost now and
// then: all are served, as the same at both ends. Identities, places, windows,
// pairs and cycles pass 2³² meanwhile (lossy_comms_wraparound, rollover_mhp_cycle).
func TestManyAdds(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 44, probability: 0.5, length: 100, lanes: 4, hazards: control.LinkConfig{Loss: 0.01, Reorder: 0.05, ReorderBy: time.Millisecond}})
	var ids []link.RequestID
	for range 600 {
		for _, e := range w.ends {
			ids = append(ids, e.keep(1))
		}
		w.run(200 * time.Microsecond)
	}
	w.runUntil(5*time.Minute, w.all(ids))
	a, b := w.ends[0].order(ids), w.ends[1].order(ids)
	if len(a) != len(ids) || !slices.Equal(a, b) {
		t.Errorf("%d and %d of %d requests have a pair", len(a), len(b), len(ids))
	}
	last := w.ends[0].requests[ids[len(ids)-1]].pairs[0]
	if ids[0]>>1 >= 1<<32 || ids[len(ids)-1]>>1 < 1<<32 || last.Seq < 1<<32 || w.cycles.From(last.Created) < 1<<32 {
		t.Errorf("2³² was not passed: requests %d to %d, pair %+v", ids[0], ids[len(ids)-1], last)
	}
	w.run(10 * time.Second)
	w.rest()
}

// Both ends ask for more than the queue holds, again and again, over a bad
// channel: what is refused is refused to its creator, what is accepted is served at
// both ends (full_queue, excessive_full_queue, random_add_remove).
func TestFullQueues(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		w := newWorld(t, worldConfig{seed: seed, probability: 0.05, length: 1000, queue: 16, hazards: bad})
		var ids []link.RequestID
		busy := 0
		for range 100 {
			for _, e := range w.ends {
				for range 12 {
					id, err := e.layer.Create(theLink, link.Request{Pairs: 1, Limit: 1, Deadline: qnet.Never})
					if err != nil {
						if busy++; qnet.CodeOf(err) != qnet.ErrBusy {
							t.Fatal(err)
						}
						break
					}
					e.requests[id] = &client{limit: 1}
					ids = append(ids, id)
				}
			}
			w.run(time.Duration(w.rng.Uint64N(uint64(20 * time.Millisecond))))
			for _, e := range w.ends {
				if n := e.layer.Status()[0].Requests; n > 16 {
					t.Fatalf("%d requests are held", n)
				}
			}
		}
		done := func() bool {
			for _, e := range w.ends {
				for _, c := range e.requests {
					if !c.ended {
						return false
					}
				}
			}
			return true
		}
		w.runUntil(5*time.Minute, done)
		served, refused := 0, 0
		for _, id := range ids {
			a, b := w.ends[id&1].requests[id], w.ends[1-id&1].requests[id]
			switch {
			case a.err == nil:
				served++
				if b == nil || b.err != nil || len(a.pairs) != 1 || len(b.pairs) != 1 || a.pairs[0].Seq != b.pairs[0].Seq {
					t.Errorf("request %d is served at its creator, %+v; at the peer %+v", id, a, b)
				}
			case qnet.CodeOf(a.err) == qnet.ErrBusy && b == nil:
				refused++
			case qnet.CodeOf(a.err) == qnet.ErrNoAnswer && (b == nil || b.err != nil): // six tries were lost
			default:
				t.Errorf("request %d ended with %v", id, a.err)
			}
		}
		if served < 50 || busy == 0 {
			t.Errorf("%d served, %d refused by the peer, %d at once: the test tests little", served, refused, busy)
		}
		w.run(20 * time.Second)
		w.rest()
	}
}

// What an end says of its memory is lost, with a probability that falls from 1:
// the link goes on all the same (egp_comm_loss).
func TestMemoryFramesAreLost(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 45, probability: 0.05, length: 1000, spec: physical.Spec{Storage: 2}})
	for p := 1.0; p > -0.05; p -= 0.1 {
		w.loseIf(func(_, _ qnet.NodeID, t wire.Type) bool {
			return t == (*link.Memory)(nil).Type() && w.rng.Float64() < p
		})
		for _, e := range w.ends {
			e.onPair = func(e *end, p link.Pair) { w.loop.After(30*time.Millisecond, func() { e.free(p.Seq) }) }
		}
		id := w.ends[w.rng.IntN(2)].create(link.Request{Pairs: 6, Limit: 6, Deadline: qnet.Never, Store: true})
		w.runUntil(5*time.Second, func() bool { return w.ended(id) })
	}
	if c := w.net.Datagrams((*link.Memory)(nil).Type()); c.Sent == 0 || c.Lost == 0 {
		t.Errorf("%+v", c)
	}
	w.net.SetFilter(nil)
	w.run(5 * time.Second)
	w.rest()
}

// At high load up to a tenth of all frames of the link is lost, in every direction.
// Requests of each type are complete, or fail, by their deadline; both ends have the
// same pairs; and nothing leaks.
func TestLossAtHighLoad(t *testing.T) {
	for _, loss := range []float64{1e-4, 1e-3, 1e-2, 0.05, 0.1} {
		for typ := link.Keep; typ <= link.Prepare; typ++ {
			t.Run(fmt.Sprint(typ, " ", loss), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, worldConfig{seed: 46, probability: 0.01, length: 2000, lanes: 2, hazards: control.LinkConfig{Loss: loss}, scheduler: func() link.Scheduler { return link.FCFS{} },
					spec: physical.Spec{Init: 2 * time.Microsecond, Readout: 3 * time.Microsecond}})
				w.ends[0].bases, w.ends[1].bases = pauli, pauli
				var ids []link.RequestID
				ended := [2]map[link.RequestID]qnet.Time{{}, {}}
				deadlines := make(map[link.RequestID]qnet.Time)
				n := uint64(map[link.Type]int{link.Keep: 10, link.Measure: 60, link.Prepare: 10}[typ])
				for i := range 300 {
					e := w.ends[i%2]
					r := link.Request{Type: typ, Pairs: n, Limit: n, Bases: pauli, Deadline: w.loop.Now().Add(100*time.Millisecond + time.Duration(w.rng.Uint64N(uint64(2*time.Second))))}
					id := e.create(r)
					ids, deadlines[id] = append(ids, id), r.Deadline
					w.run(2 * time.Millisecond)
					for side, e := range w.ends {
						if c := e.requests[id]; c != nil {
							c.onEnd = func() { ended[side][id] = w.loop.Now() }
						}
					}
				}
				w.run(5 * time.Second)
				complete, void := 0, uint64(0)
				for _, id := range ids {
					var names [2][]string
					var errs [2]error
					for side, e := range w.ends {
						c := e.requests[id]
						if c == nil {
							continue // it never heard of it
						}
						if !c.ended || ended[side][id] > deadlines[id].Add(time.Microsecond) {
							t.Errorf("side %d: request %d, due %v, ended=%v at %v", side, id, deadlines[id], c.ended, ended[side][id])
						}
						errs[side] = c.err
						for _, p := range c.pairs {
							names[side] = append(names[side], fmt.Sprint(p.Seq, p.Label, p.Created))
						}
						for _, p := range c.measured {
							names[side] = append(names[side], fmt.Sprint(p.Seq, p.Label, p.Created))
						}
						slices.Sort(names[side])
					}
					if w.ends[0].requests[id] != nil && w.ends[1].requests[id] != nil && errs[0] == nil && errs[1] == nil {
						complete++
					}
					if !slices.Equal(names[0], names[1]) {
						t.Errorf("request %d: alone at side 0 %v, at side 1 %v", id, onlyIn(names[0], names[1]), onlyIn(names[1], names[0]))
					}
				}
				for _, e := range w.ends {
					void += e.layer.Status()[0].Expired
				}
				if complete < 20 || complete < 270 && loss < 0.005 && typ == link.Measure {
					t.Errorf("%d of %d requests are complete", complete, len(ids))
				}
				w.run(30 * time.Second)
				w.rest()
				t.Logf("%d of %d requests complete, %d pairs void", complete, len(ids), void)
			})
		}
	}
}

// TestLostLastReply: the end that did not hear of the last pair asks for it as soon as
// the other says that it has all, however rare pairs are, and so gets it while it is fresh.
func TestLostLastReply(t *testing.T) {
	for side := range 2 {
		w := newWorld(t, worldConfig{seed: 3, probability: 1e-8, period: 1e5, length: 2000}) // a pair in 3 hours
		lost := false
		w.loseIf(func(from, to qnet.NodeID, typ wire.Type) bool {
			if from == station && to == alice+qnet.NodeID(side) && typ == (*link.Reply)(nil).Type() && !lost {
				lost = true
				return true
			}
			return false
		})
		id := w.ends[0].keep(1)
		for end := w.loop.Now().Add(100 * time.Hour); !lost && w.loop.Now() < end; {
			w.run(10 * time.Second)
		}
		w.run(time.Second)
		if !lost || !w.ended(id) || w.ends[0].requests[id].err != nil || w.ends[1].requests[id].err != nil {
			t.Errorf("side %d: not complete at both ends within 11 seconds", side)
		}
		w.rest()
	}
}

// TestLostWordOfMemory: a frame that is lost of those that tell of a shortage, less and
// less often, lets the other end attempt in vain for no longer than until the next, and
// neither does one that tells of its end keep it waiting.
func TestLostWordOfMemory(t *testing.T) {
	for lose := range 7 { // none, or one of the first six
		w := newWorld(t, worldConfig{seed: 3, probability: 0.1, length: 2000})
		sent := 0
		w.loseIf(func(from, to qnet.NodeID, typ wire.Type) bool {
			if typ != (*link.Memory)(nil).Type() || from != alice {
				return false
			}
			sent++
			return sent == lose
		})
		w.ends[0].onPair = keepHeld
		w.ends[0].keep(1)
		w.run(10 * time.Millisecond)
		id := w.ends[1].keep(1)
		w.run(100 * time.Millisecond)
		open := 0
		for range 5000 {
			w.run(time.Millisecond)
			if w.ends[1].layer.Status()[0].Open > 0 {
				open++
			}
		}
		if open > 100 || sent > 25 {
			t.Errorf("frame %d is lost: attempts in vain for %d of 5000 ms, with %d frames", lose, open, sent)
		}
		lose = sent + 1 // the word that it is over
		w.ends[0].onPair = nil
		for seq := range w.ends[0].held {
			w.ends[0].free(seq)
		}
		w.run(100 * time.Millisecond)
		if !w.ended(id) {
			t.Errorf("not served 100 ms after the end of a shortage")
		}
	}
}

// One GEN in twenty is lost, of single pairs that come each 100 µs and are measured: each
// costs no more than twice the time of a pair.
func TestLostGenOfFrequentPairs(t *testing.T) {
	run := func(loss int) (pairs int) {
		w := newWorld(t, worldConfig{seed: 47, probability: 0.01, length: 1000})
		w.ends[0].bases, w.ends[1].bases = pauli, pauli
		w.net.SetFilter(func(_, _ qnet.NodeID, _ control.Class, t wire.Type, _ []byte) control.Verdict {
			if t != (*link.Gen)(nil).Type() || loss == 0 || w.rng.IntN(loss) > 0 {
				return control.Verdict{}
			}
			return control.Verdict{Action: control.Drop}
		})
		var start func()
		start = func() {
			id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 1, Limit: 1, Deadline: qnet.Never, Bases: pauli})
			w.ends[0].requests[id].onEnd = func() { pairs++; w.loop.After(0, start) }
		}
		for range 10 {
			start()
		}
		w.run(2 * time.Second)
		return pairs
	}
	all, some := float64(run(0)), float64(run(20))
	t.Logf("%.0f pairs, %.0f with loss", all, some)
	// Of each pair two GENs: 2/20 times twice the time of a pair. A mean of so many has a
	// standard error of less than a hundredth.
	if want := all / (1 + 4./20); some < want*(1-0.05) {
		t.Errorf("%.0f pairs of %.0f, want %.0f", some, all, want)
	}
}
