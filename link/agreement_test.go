package link_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// bad is a classical channel that does everything it may.
var bad = control.LinkConfig{Jitter: 40 * time.Microsecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.2, ReorderBy: 3 * time.Millisecond}

// Whatever happens to messages, and while both ends raise and lower their limits,
// withdraw, cancel and let requests time out: no end takes more than its limit
// (see end.Pair); pairs that neither end voids are the same at both ends, with
// the same label and for the same request; and nothing is left.
func TestBothEndsAgree(t *testing.T) {
	for seed := uint64(1); seed <= 12; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldConfig{seed: seed, probability: 0.02, lanes: 1 + int(seed%5), length: 1000,
				spec: physical.Spec{Init: 5 * time.Microsecond}, hazards: bad})
			pairs := 0
			for _, e := range w.ends {
				e.grant = 5
				e.onPair = func(e *end, p link.Pair) {
					pairs++
					w.loop.After(time.Duration(w.rng.Uint64N(uint64(2*time.Millisecond))), func() { e.free(p.Seq) })
				}
			}
			var ids []link.RequestID
			for range 400 {
				e := w.ends[w.rng.IntN(2)]
				switch w.rng.IntN(10) {
				case 0, 1:
					r := link.Request{Pairs: w.rng.Uint64N(20), Deadline: qnet.Never, Limit: w.rng.Uint64N(20)}
					if r.Pairs == 0 || w.rng.IntN(3) == 0 {
						r.Deadline = w.loop.Now().Add(time.Duration(w.rng.Uint64N(uint64(time.Second))))
					}
					ids = append(ids, e.create(r))
				case 2:
					if len(ids) > 0 && w.rng.IntN(4) == 0 {
						id := ids[w.rng.IntN(len(ids))]
						if c := e.requests[id]; c != nil && !c.ended {
							c.ended = true
							e.layer.End(theLink, id, qnet.ErrCancelled)
						}
					}
				default:
					if len(ids) > 0 {
						id := ids[w.rng.IntN(len(ids))]
						if c := e.requests[id]; c != nil && !c.ended {
							c.limit = uint64(len(c.pairs)) + w.rng.Uint64N(10) // what is there already stays
							e.layer.SetLimit(theLink, id, c.limit)
						}
					}
				}
				w.run(time.Duration(w.rng.Uint64N(uint64(5 * time.Millisecond))))
			}
			// What is left completes when nothing limits it any more.
			for _, e := range w.ends {
				e.grant = 0
			}
			w.run(5 * time.Second)
			for _, id := range ids {
				for _, e := range w.ends {
					if c := e.requests[id]; c != nil && !c.ended {
						c.limit = 1 << 40
						e.layer.SetLimit(theLink, id, c.limit)
					}
				}
			}
			w.runUntil(2*time.Minute, func() bool {
				for _, e := range w.ends {
					for _, c := range e.requests {
						if !c.ended {
							return false
						}
					}
				}
				return true
			})
			w.run(10 * time.Second)
			w.rest()
			var lists [2][]string
			for side, e := range w.ends {
				for id, c := range e.requests {
					for _, p := range c.pairs {
						lists[side] = append(lists[side], fmt.Sprintf("%d of %d: %v, created %v", p.Seq, id, p.Label, p.Created))
					}
				}
				slices.Sort(lists[side])
			}
			if !slices.Equal(lists[0], lists[1]) {
				t.Errorf("the ends have different pairs:\n%v\n%v", onlyIn(lists[0], lists[1]), onlyIn(lists[1], lists[0]))
			}
			if len(lists[0]) < 100 {
				t.Errorf("%d pairs: the test tests little", len(lists[0]))
			}
			t.Logf("%d pairs, %d handed up at one end or both", len(lists[0]), pairs)
		})
	}
}

func onlyIn(a, b []string) (out []string) {
	for _, s := range a {
		if _, ok := slices.BinarySearch(b, s); !ok {
			out = append(out, s)
		}
	}
	return out
}

// A kept pair is entangled as announced: its fidelity to the named Bell state is
// that of the heralding model.
func TestKeptPairsAreEntangled(t *testing.T) {
	const fidelity = 0.91
	w := newWorld(t, worldConfig{seed: 9, probability: 0.05, fidelity: fidelity, lanes: 4, length: 2000, hazards: bad})
	oracle := w.fabric.Oracle()
	checked := 0
	for side, e := range w.ends {
		other := w.ends[1-side]
		e.onPair = func(_ *end, p link.Pair) {
			o, ok := other.held[p.Seq]
			if !ok {
				return
			}
			if o.Label != p.Label || o.Request != p.Request || o.Created != p.Created {
				t.Errorf("%+v at one end, %+v at the other", p, o)
			}
			f, err := oracle.BellFidelity(w.loop.Now(), p.Qubit, o.Qubit, p.Label)
			if err != nil {
				t.Error(err)
			} else if math.Abs(f-fidelity) > 1e-12 {
				t.Errorf("pair %d has fidelity %v, want %v", p.Seq, f, fidelity)
			}
			checked++
			w.ends[0].free(p.Seq)
			w.ends[1].free(p.Seq)
		}
	}
	id := w.ends[0].keep(500)
	w.runUntil(time.Minute, func() bool { return w.ended(id) })
	w.run(5 * time.Second)
	w.rest()
	if checked != 500 {
		t.Errorf("%d pairs were there at both ends, want 500", checked)
	}
}

// Requests take turns, whichever end made them, however many lanes there are and
// however many requests a GEN can name: while all are open, none is more than a
// few pairs ahead of another.
func TestTurns(t *testing.T) {
	for _, c := range []struct{ lanes, each, pairs int }{{1, 3, 60}, {1, 1, 100}, {8, 5, 60}, {2, 200, 6}} {
		t.Run(fmt.Sprintf("%d lanes, %d requests", c.lanes, 2*c.each), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldConfig{seed: 21, probability: 0.2, lanes: c.lanes, length: 1000})
			var ids []link.RequestID
			for range c.each {
				for _, e := range w.ends {
					ids = append(ids, e.keep(uint64(c.pairs)))
				}
			}
			apart := 0
			w.ends[0].onPair = func(e *end, p link.Pair) {
				e.free(p.Seq)
				least, most := math.MaxInt, 0
				for _, id := range ids {
					c := e.requests[id]
					if c == nil { // not all are known yet
						return
					}
					n := len(c.pairs)
					least, most = min(least, n), max(most, n)
				}
				apart = max(apart, most-least)
			}
			w.runUntil(time.Minute, func() bool {
				for _, id := range ids {
					if !w.ended(id) {
						return false
					}
				}
				return true
			})
			if most := 2 + c.lanes; apart > most {
				t.Errorf("one request was %d pairs ahead of another, want at most %d", apart, most)
			}
			w.run(time.Second)
			w.rest()
		})
	}
}

// One request after the other, each for one pair: they are served in the order
// in which they were made.
func TestFIFO(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 22, probability: 0.05, length: 100})
	var ids, served []link.RequestID
	for range 50 {
		for _, e := range w.ends {
			ids = append(ids, e.keep(1))
		}
		w.run(20 * time.Microsecond)
	}
	var pairs []link.Pair
	w.runUntil(time.Minute, func() bool { return w.ended(ids[len(ids)-1]) })
	for _, id := range ids {
		pairs = append(pairs, w.ends[1].requests[id].pairs...)
	}
	slices.SortFunc(pairs, func(a, b link.Pair) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, p := range pairs {
		served = append(served, p.Request)
	}
	if !slices.Equal(served, ids) {
		t.Errorf("served\n%v, asked\n%v", served, ids)
	}
}

// Both types of request from both ends share one qubit at each end: all are
// served, and the measured pairs of both ends agree, over a bad channel.
func TestBothTypes(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			cfg := worldConfig{seed: seed, probability: 0.001, length: 200, lanes: 1 + int(seed%3), spec: physical.Spec{Init: time.Microsecond, Readout: 5 * time.Microsecond}}
			if seed%2 == 0 {
				cfg.hazards = bad
			}
			w := newWorld(t, cfg)
			src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}}
			var kept, measured []link.RequestID
			for _, e := range w.ends {
				e.bases = src
			}
			for i := range 6 {
				e := w.ends[w.rng.IntN(2)]
				if i%2 == 0 {
					kept = append(kept, e.keep(10))
				} else {
					measured = append(measured, e.create(link.Request{Type: link.Measure, Pairs: 300, Deadline: qnet.Never, Limit: 300, Bases: src}))
				}
				w.run(time.Duration(w.rng.Uint64N(uint64(50 * time.Millisecond))))
			}
			w.runUntil(time.Minute, func() bool {
				return !slices.ContainsFunc(append(kept, measured...), func(id link.RequestID) bool { return !w.ended(id) })
			})
			t.Logf("done at %v", w.loop.Now())
			for _, id := range measured {
				checkMeasured(t, w, id, 300)
			}
			w.run(10 * time.Second)
			w.rest()
		})
	}
}

// Requests of both types that come to nothing for long: the ends must meet at one
// type again and again, else neither is ever served.
func TestBothTypesMeet(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 5, probability: 1e-4, length: 20})
	src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisZ}}
	w.ends[0].bases, w.ends[1].bases = src, src
	// Each end has heard of its own first.
	k := w.ends[0].keep(5)
	m := w.ends[1].create(link.Request{Type: link.Measure, Pairs: 20, Deadline: qnet.Never, Limit: 20, Bases: src})
	w.runUntil(10*time.Second, func() bool { return w.ended(k) && w.ended(m) })
	w.run(time.Second)
	w.rest()
}

// Several measured requests share one qubit at each end, and the ends are ready for
// them in different orders: they meet at one after the other.
func TestSeveralMeasured(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldConfig{seed: seed, probability: 0.01, length: 20})
			src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}}
			var ids []link.RequestID
			for i := range 8 {
				e, o := w.ends[i%2], w.ends[1-i%2]
				o.bases, o.late = src, 3*time.Millisecond
				ids = append(ids, e.create(link.Request{Type: link.Measure, Pairs: 100, Deadline: qnet.Never, Limit: 100, Bases: src}))
			}
			w.runUntil(10*time.Second, func() bool {
				return !slices.ContainsFunc(ids, func(id link.RequestID) bool { return !w.ended(id) })
			})
			for _, id := range ids {
				checkMeasured(t, w, id, 100)
			}
			w.run(time.Second)
			w.rest()
		})
	}
}

// Kept requests do not wait for the end of a long measured one.
func TestMeasureGivesWay(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 6, probability: 0.01, length: 20})
	src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisZ}}
	w.ends[0].bases, w.ends[1].bases = src, src
	m := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 1 << 40, Deadline: qnet.Never, Limit: 1 << 40, Bases: src})
	w.run(time.Second)
	k := w.ends[1].keep(10)
	w.runUntil(2*time.Second, func() bool { return w.ended(k) })
	w.ends[1].layer.End(theLink, m, qnet.ErrCancelled)
	w.run(2 * time.Second)
	w.rest()
}

// A long measured request has all lanes, but only until others want some: kept
// pairs and another measured request begin within a few round trips.
func TestMeasureSharesLanes(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 7, probability: 0.05, length: 20, lanes: 8})
	src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisZ}}
	w.ends[0].bases, w.ends[1].bases = src, src
	long := link.Request{Type: link.Measure, Pairs: 1 << 40, Deadline: qnet.Never, Limit: 1 << 40, Bases: src}
	m := w.ends[0].create(long)
	w.run(100 * time.Millisecond)
	if n := w.ends[0].layer.Status()[0].Open; n != 8 {
		t.Errorf("%d of 8 lanes measure for the only request", n)
	}
	k := w.ends[1].keep(4)
	o := w.ends[1].create(link.Request{Type: link.Measure, Pairs: 10, Deadline: qnet.Never, Limit: 10, Bases: src})
	w.runUntil(10*time.Millisecond, func() bool { return w.ended(k) && w.ended(o) })
	w.ends[1].layer.End(theLink, m, qnet.ErrCancelled)
	w.run(2 * time.Second)
	w.rest()
}

// A peer and a station that send whatever they like can waste a node's time, but
// neither crash it nor make it hold more than its bounds allow.
func TestHostile(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 7, probability: 0.01, lanes: 2, length: 20})
	w.net.Remove(bob)
	w.run(2 * time.Second)
	liar := w.net.Endpoint(bob, nil)
	w.run(0)
	rng := rand.New(rand.NewPCG(3, 3))
	near := func(base uint64) uint64 {
		switch rng.IntN(8) {
		case 0:
			return 0
		case 1:
			return rng.Uint64() >> 2
		}
		return base + rng.Uint64N(4)
	}
	id := func() link.RequestID { return link.RequestID(near(seqBase<<1) + rng.Uint64N(6)) }
	window := func() uint64 { return near(windowBase) }
	lane := func() uint32 { return rng.Uint32N(4) }
	w.ends[0].refuse = qnet.Errorf(qnet.ErrNoListener, "no")
	for range 20_000 {
		now := w.cycles.From(w.loop.Now())
		m := []wire.Message{
			&link.Add{Link: theLink, ID: id(), Kind: link.Type(rng.IntN(2)), Pairs: near(0), Deadline: near(now)},
			&link.AddAck{Link: theLink, ID: id(), Code: qnet.Code(rng.IntN(3))},
			&link.End{Link: theLink, ID: id(), Code: qnet.ErrCancelled},
			&link.EndAck{Link: theLink, ID: id()},
			&link.LinkExpire{Link: theLink, First: near(seqBase), End: near(seqBase) + 3},
			&link.LinkExpireAck{Link: theLink, First: near(seqBase), End: near(seqBase)},
			&link.Gen{Link: theLink, Lane: lane(), Window: window(), First: near(now), Count: near(1000), Dead: near(1), Bulk: rng.IntN(2) == 0,
				Candidates: make([]link.Candidate, rng.IntN(3))},
			&link.BulkAck{Link: theLink, Lane: lane(), Window: window(), Next: near(0)},
			&link.Reply{Link: theLink, Lane: lane(), Window: window(), ID: id(), Seq: near(seqBase), Cycle: near(now)},
			&link.BulkReply{Link: theLink, Lane: lane(), Window: window(), ID: id(), Index: near(0), Seq: near(seqBase), Cycle: near(now), Steps: []uint64{near(0)}, Labels: []byte{1}},
		}[rng.IntN(10)]
		if g, ok := m.(*link.Gen); ok {
			for i := range g.Candidates {
				g.Candidates[i] = link.Candidate{ID: id(), Limit: near(3), Had: rng.Uint64N(4)}
			}
		}
		to := alice
		if rng.IntN(2) == 0 {
			to = station
		}
		if err := liar.Datagram(to, m); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(300) == 0 {
			if _, err := w.ends[0].layer.Create(theLink, link.Request{Type: link.Type(rng.IntN(2)), Pairs: 3, Limit: 3, Deadline: w.loop.Now().Add(time.Second)}); err == nil {
				for i := range uint64(200) {
					if c := link.RequestID((seqBase + i) << 1); w.ends[0].requests[c] == nil {
						w.ends[0].requests[c] = &client{limit: 3}
						break
					}
				}
			}
		}
		w.run(time.Duration(rng.Uint64N(uint64(100 * time.Microsecond))))
	}
	w.net.Remove(bob)
	w.run(5 * time.Second)
	w.rest()
}
