package link_test

import (
	"math"
	"runtime"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
)

// taker takes part in all requests and keeps nothing.
type taker struct{ completed int }

func (*taker) Requested(physical.LinkID, link.Offer) (uint64, error)     { return math.MaxUint64, nil }
func (*taker) Pair(link.Pair)                                            {}
func (*taker) Measured(physical.LinkID, link.RequestID, []link.Measured) {}
func (*taker) Expired(physical.LinkID, link.RequestID, uint64, bool)     {}
func (*taker) LinkChange(physical.LinkID, error)                         {}
func (h *taker) Ended(_ physical.LinkID, _ link.RequestID, err error) {
	if err == nil {
		h.completed++
	}
}

// A request to measure costs next to no memory once some have gone before: that by
// which the station tells a late frame from a new one, a count, and what maps grow by.
func TestRequestsAreUsedAgain(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 71, probability: 0.05, length: 1000})
	var takers [2]taker
	for side, e := range w.ends {
		e.layer.Handle(&takers[side])
	}
	xz := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}}
	ask := func(n int) {
		for i := range n {
			if _, err := w.ends[i%2].layer.Create(theLink, link.Request{Type: link.Measure, Pairs: 2, Deadline: w.loop.Now().Add(time.Hour),
				Limit: 2, Bases: xz, PeerBases: xz}); err != nil {
				t.Fatal(err)
			}
			if i%10 == 9 {
				w.run(10 * time.Millisecond)
			}
		}
	}
	const n = 5000
	ask(2 * n) // of the last seconds is remembered what was taken
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ask(n)
	runtime.ReadMemStats(&after)
	w.run(time.Second)
	for side, h := range takers {
		if h.completed != 3*n {
			t.Errorf("%d requests completed at side %d, want %d", h.completed, side, 3*n)
		}
	}
	mallocs, bytes := float64(after.Mallocs-before.Mallocs)/n, float64(after.TotalAlloc-before.TotalAlloc)/n
	if mallocs > 2 || bytes > 400 {
		t.Errorf("%.2f allocations and %.0f bytes a request", mallocs, bytes)
	}
	t.Logf("%.2f allocations and %.0f bytes a request", mallocs, bytes)
	w.rest()
}
