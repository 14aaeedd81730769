package estimate_test

import (
	"testing"
	"time"

	"qstack/link/estimate"
	"qstack/physical/state/densetest"
	"qstack/qnet"
)

// TestLateExactly: the fidelity of a pair that the ends hear of late, each on its own,
// against density matrices: a half waits in its communication qubit until its end
// hears, and then in its place until the other half has come to its own. What is
// measured is measured late; the half that is kept does not wait for it.
func TestLateExactly(t *testing.T) {
	for i := range 120 {
		rng := qnet.NewRand(uint64(i), "late")
		h := randomHardware(rng)
		h.p = 1
		half := times(rng, 200)
		late := [2]time.Duration{times(rng, 300), times(rng, 300)}
		late[rng.IntN(2)] *= time.Duration(rng.IntN(2))
		u := estimate.Usage{Type: estimate.Type(2 * rng.IntN(2)), Store: rng.IntN(2) == 0}
		if u.Type == estimate.Prepare {
			u.Creator = rng.IntN(2)
		}
		e := h.estimator(t, half)
		labels := make(map[qnet.BellLabel]float64)
		var got, want float64
		for j := range h.heralds {
			k := &h.heralds[j]
			labels[k.Label] += k.P
			d := newDense(h, k)
			var kept [2]string
			var placed [2]time.Duration // after the herald
			for side, c := range [2]string{"0c", "1c"} {
				d.wait(c, 2*half+late[side])
				kept[side], placed[side] = c, late[side]
				if u.Store && (u.Type == estimate.Keep || side != u.Creator) {
					kept[side] = c[:1] + "s"
					d.initialised(kept[side], 2*half+late[side])
					d.move(c, kept[side])
					placed[side] += 2 * h.specs[side].Gate2
				}
			}
			if u.Type == estimate.Keep {
				for side, q := range kept {
					d.wait(q, max(placed[0], placed[1])-placed[side])
				}
				want += k.P * real(densetest.Bell(k.Label).Mul(d.Density(kept[0], kept[1])).Trace())
				continue
			}
			var sum float64
			for b, basis := range paulis {
				for bit := range 2 {
					c := dense{d.Clone(), h}
					p := c.read(kept[u.Creator], basis, bit)
					if p == 0 {
						continue
					}
					flip, _ := k.Label.Flips(basis)
					if flip != (b == 1) {
						bit = 1 - bit
					}
					sum += p * real(densetest.Projector(basis, uint8(bit)).Mul(c.Density(kept[1-u.Creator])).Trace())
				}
			}
			want += k.P * (1 - (3-sum)/2)
		}
		for l, p := range labels {
			got += p * e.Late(0, l, u, late)
		}
		near(t, "fidelity", got, want, 1e-10)
		if est, err := e.Estimate(0, u); err != nil {
			t.Fatal(err)
		} else {
			inTime, then := 0.0, 0.0
			for l, p := range labels {
				inTime += p * e.Late(0, l, u, [2]time.Duration{-1, 0})
				then += p * e.At(0, l, u, est.Age, 0)
			}
			near(t, "fidelity in time", inTime, est.Fidelity, 1e-12)
			near(t, "fidelity at the age of the estimate", then, est.Fidelity, 1e-12)
		}
		if t.Failed() {
			t.Fatalf("case %d: %+v %+v, late %v", i, h, u, late)
		}
	}
}
