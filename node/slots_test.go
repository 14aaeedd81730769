package node_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"qstack/app/expect"
	"qstack/network"
	"qstack/node"
	"qstack/node/scenario"
)

// Two links in common slots, on the ground of the closed form: one qubit at each
// link end, nothing but attempts takes time, both links go on in the next slot, a
// half waits so many slots for its partner at the node between and still swaps in
// the last of them, and a waiting pair depolarises at the rate 1/T. The mean
// number of slots per pair and the mean decay must be within 2 % of it.
//
// The time of one pair has a standard deviation below its mean, so that of the
// mean of 60,000 is below 0.41 %: 2 % are 4.9 standard deviations, one false
// alarm in a million rows. That of the decay is smaller still.
func TestTwoLinksInSlots(t *testing.T) {
	if testing.Short() {
		t.Skip("480,000 pairs on one goroutine")
	}
	const pairs = 60_000
	const slot = time.Microsecond
	const fidelity = 0.95
	for _, c := range []struct {
		p        float64
		lifetime float64 // T in slots
		cutoffs  []int   // −1 for none
	}{
		{0.01, 1000, []int{-1, 188, 100, 50}},
		{0.1, 100, []int{-1, 18, 10, 5}},
	} {
		for _, m := range c.cutoffs {
			t.Run(fmt.Sprintf("p=%g,cutoff=%d", c.p, m), func(t *testing.T) {
				t.Parallel()
				s := perfect(3, 1)
				for i := range s.Nodes {
					// Both halves of the waiting pair depolarise, each at half the rate.
					s.Nodes[i].Hardware = scenario.Hardware{Name: "still", Depolarising: 2 * c.lifetime * slot.Seconds()}
				}
				for i := range s.Links {
					s.Links[i].Length = 0
					s.Links[i].Heralding = scenario.Heralding{Model: scenario.Ideal, AttemptRate: 1e9 / float64(slot), Probability: c.p, Fidelity: fidelity}
				}
				if m >= 0 {
					s.Nodes[1].Cutoff = time.Duration(m)*slot + slot/2
				}
				w := newWorld(t, s, node.Options{})
				r := w.connect("n0", "n2")
				r.hold = 1 // until the other end has its half, at the same instant
				var decay float64
				oracle := w.net.Fabric.Oracle()
				r.both = func(a, b network.Delivery) {
					f, err := oracle.BellFidelity(w.loop.Now(), a.Qubit, b.Qubit, a.Label)
					if err != nil {
						t.Fatal(err)
					}
					decay += werner(f)
				}
				start := w.loop.Now()
				r.keep(1, pairs)
				if !w.runUntil(time.Hour, func() bool { return r.isDone(1) }) {
					t.Fatal(w.state())
				}
				last := r.ends[0].pairs[pairs-1]
				slots := float64(last.At.Sub(start)) / float64(slot) / pairs
				decay /= pairs * werner(fidelity) * werner(fidelity)
				wantSlots, wantDecay := expect.TwoLinkSlots(c.p, m), expect.TwoLinkDecay(c.p, c.lifetime, m)
				t.Logf("slots %.2f, want %.2f; decay %.4f, want %.4f; F = %.4f", slots, wantSlots, decay, wantDecay, (1+3*decay*werner(fidelity)*werner(fidelity))/4)
				if math.Abs(slots/wantSlots-1) > 0.02 {
					t.Errorf("%.2f slots per pair, want %.2f", slots, wantSlots)
				}
				if math.Abs(decay/wantDecay-1) > 0.02 {
					t.Errorf("mean decay %.4f, want %.4f", decay, wantDecay)
				}
				r.checkSame(1, pairs)
				w.rest()
			})
		}
	}
}

// werner returns the Werner parameter of a fidelity.
func werner(f float64) float64 { return (4*f - 1) / 3 }
