package remote_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/physical"
	"qstack/qnet"
)

// Outcomes of a great many pairs come in parts, complete and in order; freeing
// the lane silences it at once.
func TestBulk(t *testing.T) {
	r := newRig(t, instant(), far, alice, bob)
	r.attached()
	n := r.watchMessages()
	const pairs = 10_000
	type column struct {
		cycles []uint64
		bits   []uint8
		parts  int
	}
	var cols [2]column
	var lost [2]int
	var qs [2]physical.Qubit
	for i, node := range []qnet.NodeID{alice, bob} {
		src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}, Weights: []float64{0, 1}}
		r.clients[node].ArmBulk(1, 0, src, func(o physical.Outcomes, err error) {
			if err != nil {
				lost[i]++
				return
			}
			if len(o.Cycle) != len(o.Basis) || len(o.Cycle) != len(o.Bit) {
				t.Fatalf("columns of %d, %d, %d", len(o.Cycle), len(o.Basis), len(o.Bit))
			}
			if slices.ContainsFunc(o.Basis, func(b uint8) bool { return b != 1 }) {
				t.Error("a basis of weight 0 was drawn")
			}
			c := &cols[i]
			c.cycles = append(c.cycles, o.Cycle...)
			c.bits = append(c.bits, o.Bit...)
			c.parts++
		}, func(res physical.Result) {
			if res.Err != nil {
				t.Fatal(res.Err)
			}
			qs[i] = res.Qubit
		})
	}
	r.run(5 * time.Millisecond)
	k := r.fab.Link(1)
	cycles, labels := make([]uint64, pairs), make([]qnet.BellLabel, pairs)
	for i := range cycles {
		cycles[i] = k.CycleAt(r.loop.Now()) + uint64(i)
	}
	r.run(pairs * time.Microsecond)
	if got := k.HeraldBulk([2]uint32{}, 0, cycles, labels); got != pairs {
		t.Fatalf("%d pairs", got)
	}
	r.run(5 * time.Millisecond)
	for i := range cols {
		if !slices.Equal(cols[i].cycles, cycles) || cols[i].parts != 3 {
			t.Errorf("end %d got %d pairs in %d parts", i, len(cols[i].cycles), cols[i].parts)
		}
	}
	if n[0x54] != 6 {
		t.Errorf("%d messages of outcomes, want 3 for each end", n[0x54])
	}
	for i, l := range labels { // Z outcomes agree for Φ, differ for Ψ
		if cols[0].bits[i]^cols[1].bits[i] != uint8(l)>>1 {
			t.Fatalf("pair %d, %v, was measured %d and %d", i, l, cols[0].bits[i], cols[1].bits[i])
		}
	}

	// Freed while outcomes are on their way to it.
	more := []uint64{k.CycleAt(r.loop.Now()) - 1}
	if k.HeraldBulk([2]uint32{}, 0, more, labels) != 1 {
		t.Fatal("no herald")
	}
	r.clients[alice].Do(physical.Op{Kind: physical.OpFree, A: qs[0]}, nil)
	r.run(5 * time.Millisecond)
	if len(cols[0].cycles) != pairs || len(cols[1].cycles) != pairs+1 {
		t.Errorf("%d and %d outcomes, want %d and one more", len(cols[0].cycles), len(cols[1].cycles), pairs)
	}
	for _, c := range []struct {
		text string
		src  physical.BasisSource
		sink func(physical.Outcomes, error)
	}{
		{"node alice: measuring directly on link 1 lane 0: 17 bases", physical.BasisSource{Bases: make([]qnet.Basis, 17)}, func(physical.Outcomes, error) {}},
		{"nobody takes the outcomes", physical.BasisSource{}, nil},
	} {
		var err error
		r.clients[alice].ArmBulk(1, 0, c.src, c.sink, func(res physical.Result) { err = res.Err })
		r.run(5 * time.Millisecond)
		wantErr(t, err, qnet.ErrInvalid, c.text)
	}
	r.rest()
	if lost != [2]int{0, 1} {
		t.Errorf("the sinks heard %v errors, want one for the lane that was armed to the end", lost)
	}
}

// Outcomes never come before the lane's own arming is known, not even when all
// happens at one instant.
func TestBulkAtOnce(t *testing.T) {
	r := newRig(t, instant(), far, alice, bob)
	r.attached()
	k := r.fab.Link(1)
	k.OnArm(func(int, uint32) {
		k.HeraldBulk([2]uint32{}, 0, []uint64{k.CycleAt(r.loop.Now())}, make([]qnet.BellLabel, 1))
	})
	heard := make(map[qnet.NodeID][]string)
	for _, n := range []qnet.NodeID{alice, bob} {
		tell := func(what string, at qnet.Time) { heard[n] = append(heard[n], fmt.Sprint(what, " ", at)) }
		r.clients[n].ArmBulk(1, 0, physical.BasisSource{}, func(o physical.Outcomes, err error) {
			if err == nil {
				tell("outcomes", o.At)
			}
		}, func(res physical.Result) { tell("armed", res.At) })
	}
	r.run(5 * time.Millisecond)
	for n, h := range heard {
		if got := strings.Join(h, ", "); got != "armed 2.1ms, outcomes 2.1ms" {
			t.Errorf("%s heard %s", names[n], got)
		}
	}
	r.rest()
}
