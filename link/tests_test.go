package link_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
)

// Of hardware that is what its data sheet says, requests get all their pairs, test
// rounds besides. Of hardware that is worse the ends find out, end what they can not
// keep to, and refuse what asks for more than they have seen, with what that is.
// Bounds hold with 1−10⁻⁶ each, and some hundreds are taken: a false alarm has a
// probability below 1e-3 over all seeds, and these are fixed.
func TestTestRounds(t *testing.T) {
	for _, typ := range []link.Type{link.Keep, link.Measure} {
		for _, truth := range []float64{0.9, 0.7} {
			w := newWorld(t, worldConfig{seed: 31, probability: 0.05, fidelity: truth, told: 0.9, testing: 0.2, length: 200})
			src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}}
			w.ends[0].bases, w.ends[1].bases = src, src
			r := link.Request{Type: typ, Pairs: 30_000, Limit: 1 << 40, MinFidelity: 0.88, Deadline: qnet.Never, Bases: src, PeerBases: src}
			id := w.ends[0].create(r)
			w.runUntil(time.Minute, func() bool { return w.ended(id) })
			c, o := w.ends[0].requests[id], w.ends[1].requests[id]
			w.run(time.Second)
			w.rest()
			s := w.ends[0].layer.Status()[0]
			if truth == 0.9 {
				if c.err != nil || o.err != nil || len(c.pairs)+len(c.measured) != 30_000 || len(o.pairs)+len(o.measured) != 30_000 {
					t.Errorf("%v: ended with %v and %v, %d and %d pairs", typ, c.err, o.err, len(c.pairs)+len(c.measured), len(o.pairs)+len(o.measured))
				}
				// A fifth of all pairs: 7,500 ± 97; 5 standard errors.
				if n := float64(s.Tested); n < 7500-485 || n > 7500+485 {
					t.Errorf("%v: %g test rounds for 30,000 pairs, want 7500", typ, n)
				}
				continue
			}
			if !errors.Is(c.err, qnet.ErrFidelity) || !errors.Is(o.err, qnet.ErrFidelity) {
				t.Errorf("%v: ended with %v and %v", typ, c.err, o.err)
			}
			if n := len(c.pairs) + len(c.measured); n > 10_000 {
				t.Errorf("%v: it took %d pairs to find out", typ, n)
			}
			q, err := w.ends[0].layer.Best(theLink, r)
			if err != nil || q.Lower > 0.7 || q.Upper < 0.7 || q.Granted > 0.7 || q.Granted < 0.3 {
				t.Errorf("%v: %+v, %v", typ, q, err)
			}
			if _, err := w.ends[0].layer.Create(theLink, r); !errors.Is(err, qnet.ErrFidelity) || !strings.Contains(err.Error(), "the best is") {
				t.Errorf("%v: a request is answered with %v", typ, err)
			}
		}
	}
}
