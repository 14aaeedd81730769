package link_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
)

// anyBases draws from n axes, all alike.
func anyBases(rng *rand.Rand, n int) (s physical.BasisSource) {
	for range n {
		s.Bases = append(s.Bases, qnet.Basis{Theta: math.Acos(2*rng.Float64() - 1), Phi: 2 * math.Pi * rng.Float64()})
	}
	return s
}

// A data sheet that lies is found out, and one that does not is not accused, whatever
// the bases are in which the ends measure, unless outcomes in them say nothing of the
// pairs. The confidence is that of TestTestRounds.
func TestTestRoundsInAnyBases(t *testing.T) {
	rng := qnet.NewRand(31, "bases")
	pi8 := link.Fixed(0, math.Pi/8, 0)
	for _, c := range []struct {
		name  string
		bases [2]physical.BasisSource
		most  int // pairs until it is found out; 0 if it can not be
	}{
		{"Z", [2]physical.BasisSource{}, 5000},
		{"X and Z", [2]physical.BasisSource{link.RandomXZ(0.5), link.RandomXZ(0.5)}, 5000},
		{"CHSH", [2]physical.BasisSource{link.RandomXZ(0.5), link.RandomCHSH(0.5)}, 5000},
		{"CHSH, ends exchanged", [2]physical.BasisSource{link.RandomCHSH(0.3), link.RandomXZ(0.5)}, 5000},
		{"fixed at π/8", [2]physical.BasisSource{pi8, pi8}, 5000},
		{"Z against π/8", [2]physical.BasisSource{{}, pi8}, 5000},
		{"turned about two axes", [2]physical.BasisSource{link.Fixed(0.7, 0.4, 1.1), link.Fixed(0.7, 0.4, 1.1)}, 5000},
		{"any", [2]physical.BasisSource{anyBases(rng, 4), anyBases(rng, 5)}, 20_000},
		{"any and XYZ", [2]physical.BasisSource{anyBases(rng, 4), link.RandomXYZ(0.3, 0.3)}, 20_000},
		{"as many as there can be", [2]physical.BasisSource{anyBases(rng, 16), anyBases(rng, 16)}, 20_000},
		{"X against Z", [2]physical.BasisSource{link.Fixed(0, -math.Pi/2, 0), {}}, 0},
	} {
		for _, truth := range []float64{0.9, 0.6} {
			w := newWorld(t, worldConfig{seed: 31, probability: 0.05, fidelity: truth, told: 0.9, testing: 0.2, length: 200})
			w.ends[0].bases, w.ends[1].bases = c.bases[0], c.bases[1]
			r := link.Request{Type: link.Measure, Pairs: 30_000, Limit: 1 << 40, MinFidelity: 0.88, Deadline: qnet.Never,
				Bases: c.bases[0], PeerBases: c.bases[1]}
			id := w.ends[0].create(r)
			w.runUntil(time.Minute, func() bool { return w.ended(id) })
			a, b := w.ends[0].requests[id], w.ends[1].requests[id]
			w.run(time.Second)
			w.rest()
			if truth == 0.9 || c.most == 0 {
				if a.err != nil || b.err != nil || len(a.measured) != 30_000 || len(b.measured) != 30_000 {
					t.Errorf("%s: pairs of fidelity %g are refused with %v and %v after %d and %d", c.name, truth, a.err, b.err, len(a.measured), len(b.measured))
				}
				continue
			}
			if !errors.Is(a.err, qnet.ErrFidelity) || !errors.Is(b.err, qnet.ErrFidelity) || len(a.measured) > c.most {
				t.Errorf("%s: it ended with %v and %v after %d pairs, want %d at most", c.name, a.err, b.err, len(a.measured), c.most)
			}
			t.Logf("%s: found out after %d pairs and %d test rounds: %v", c.name, len(a.measured), w.ends[0].layer.Status()[0].Tested, a.err)
			// Both ends have learnt it, but for what was under way.
			for _, e := range w.ends {
				if q, err := e.layer.Best(theLink, r); err != nil || !(q.Measured < 0.88) || q.Rounds < 60 {
					t.Errorf("%s: side %d has learnt %+v, %v", c.name, e.side, q, err)
				}
			}
		}
	}
}
