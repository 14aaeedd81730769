package link_test

import (
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// mismatches returns how often both ends were advised, the pairs that side 0 has had, and
// the frames that were lost.
func (w *world) mismatches() (advised, pairs, lost uint64) {
	for _, e := range w.ends {
		advised += e.layer.Status()[0].Frames.Mismatches
	}
	for _, c := range w.ends[0].requests {
		pairs += uint64(len(c.pairs) + len(c.measured))
	}
	for t := (*link.Add)(nil).Type(); t <= (*link.LimitAck)(nil).Type(); t++ {
		lost += w.net.Datagrams(wire.Type(t)).Lost
	}
	return advised, pairs, lost
}

// few checks that the ends were advised no more often than they have had pairs and have
// lost frames: each of these can set the ends apart for a moment, and advice brings
// them together, or does not matter.
func (w *world) few(what string) {
	w.t.Helper()
	advised, pairs, lost := w.mismatches()
	w.t.Logf("%s: %d mismatches, %d pairs, %d frames lost", what, advised, pairs, lost)
	if advised > pairs+lost {
		w.t.Errorf("%s: %d mismatches, for %d pairs and %d lost frames", what, advised, pairs, lost)
	}
}

// Streams that measure have lanes beside streams that keep. Where frames are lost the latter
// have less, since an end that has not heard of a pair waits; the former lose nothing by
// that, and have nine tenths of what they have without loss.
func TestMeasuredBesideKept(t *testing.T) {
	keep, store, measure := link.Request{Type: link.Keep}, link.Request{Type: link.Keep, Store: true}, link.Request{Type: link.Measure}
	for _, c := range []struct {
		lanes    int
		requests []link.Request
	}{{4, []link.Request{keep, keep, measure, measure}}, {8, []link.Request{keep, measure, keep, store, keep, measure, keep, store}}} {
		whole := 0
		for _, loss := range []float64{0, 0.02, 0.1} {
			w := newWorld(t, worldConfig{seed: 1, probability: 0.005, lanes: c.lanes, length: 2000, hazards: control.LinkConfig{Loss: loss}, spec: physical.Spec{Storage: 32}})
			w.ends[0].bases, w.ends[1].bases = pauli, pauli
			var ids []link.RequestID
			for i, r := range c.requests {
				r.Limit, r.Deadline = 1<<40, qnet.Never
				if r.Type == link.Measure {
					r.Bases, r.PeerBases = pauli, pauli
				}
				ids = append(ids, w.ends[i%2].create(r))
			}
			w.run(300 * time.Millisecond)
			for _, id := range ids {
				w.allow(id, 1<<40)
			}
			w.run(500 * time.Millisecond)
			measured := func() (n int) {
				for _, id := range ids {
					n += len(w.ends[0].requests[id].measured)
				}
				return n
			}
			n := -measured()
			w.run(time.Second)
			if n += measured(); loss == 0 {
				whole = n
			} else if 10*n < 9*whole {
				t.Errorf("%d lanes, loss %g: %d measured pairs, %d without loss", c.lanes, loss, n, whole)
			}
			w.few("streams")
		}
	}
}

// Many requests of all kinds are open, on several lanes, and frames are lost. What sets
// the ends apart is mended by few frames: no advice takes turns with another.
func TestMismatchesAreFew(t *testing.T) {
	for _, scheduler := range []func() link.Scheduler{nil, func() link.Scheduler { return &link.Weighted{Weights: []float64{1, 2, 4, 8}} }} {
		w := newWorld(t, worldConfig{seed: 4, probability: 0.002, lanes: 16, length: 2000, scheduler: scheduler, hazards: control.LinkConfig{Loss: 0.05},
			spec: physical.Spec{Storage: 16, Gate2: 20 * time.Microsecond, Init: 10 * time.Microsecond}})
		w.open(300, func(i int) link.Request {
			r := link.Request{Pairs: 1 + w.rng.Uint64N(20), Store: i%3 != 0}
			if scheduler != nil {
				r.Priority = uint8(i % 4)
			}
			if i%6 == 0 {
				r.Type = link.Measure
			}
			return r
		})
		w.run(time.Second)
		w.few("requests")
	}
}

// Columns that are lost are void, as the reference had it. Both ends count these pairs in
// the order of service, whichever has lost them and whenever the other hears of it: else
// the orders would never be the same again, and nearly all attempts would be in vain.
func TestVoidColumnsCountAtBothEnds(t *testing.T) {
	var whole uint64
	for _, loss := range []float64{0, 0.01} {
		w := newWorld(t, worldConfig{seed: 4, probability: 0.005, period: 5000, lanes: 4, length: 100, hazards: control.LinkConfig{Loss: loss}, compat: link.Compat{ReferenceRetries: true}, noRepeat: true,
			spec: physical.Spec{Init: 10 * time.Microsecond, Gate1: 5 * time.Microsecond, Readout: 300 * time.Microsecond}})
		w.open(60, func(i int) link.Request {
			switch i % 3 {
			case 0:
				return link.Request{Type: link.Measure, Pairs: 1 + w.rng.Uint64N(50)}
			case 1:
				return link.Request{Type: link.Prepare, Pairs: 3}
			}
			return link.Request{Pairs: 1 + w.rng.Uint64N(5)}
		})
		w.run(5 * time.Second)
		w.few("requests")
		if _, pairs, _ := w.mismatches(); loss == 0 {
			whole = pairs
		} else if 10*pairs < 8*whole {
			t.Errorf("%d pairs, %d without loss", pairs, whole)
		}
	}
}
