package remote_test

import (
	"testing"
	"time"

	"qstack/physical"
	"qstack/qnet"
)

// BenchmarkOps measures operations per second with 256 in flight, through the
// codec and the network in memory, against the fabric's own device.
func BenchmarkOps(b *testing.B) {
	const inFlight = 256
	run := func(b *testing.B, r *rig, dev physical.Device, q physical.Qubit) {
		got := 0
		done := func(res physical.Result) {
			if res.Err != nil {
				b.Fatal(res.Err)
			}
			got++
		}
		op := physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}
		n := 0
		b.ReportAllocs()
		for b.Loop() {
			n++
			dev.Do(op, done)
			for n-got >= inFlight {
				r.loop.Step()
			}
		}
		for got < n {
			r.loop.Step()
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ops/s")
	}
	b.Run("remote", func(b *testing.B) {
		r := newRig(b, clean(), atOnce, alice)
		r.attached()
		run(b, r, r.clients[alice], r.alloc(alice))
	})
	b.Run("remote, a turn each 64", func(b *testing.B) {
		r := newRig(b, clean(), atOnce, alice)
		r.attached()
		q, c := r.alloc(alice), r.clients[alice]
		op := physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}
		got, n := 0, 0
		done := func(physical.Result) { got++ }
		b.ReportAllocs()
		for b.Loop() {
			if n++; n%64 != 0 {
				c.Do(op, done)
				continue
			}
			for c.Do(op, done); got < n; {
				r.loop.Step()
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ops/s")
	})
	b.Run("in process", func(b *testing.B) {
		r := newRig(b, clean(), atOnce, alice)
		r.attached()
		run(b, r, r.fab.Device(alice), r.alloc(alice))
	})
}

// BenchmarkRoundTrip measures one operation at a time.
func BenchmarkRoundTrip(b *testing.B) {
	r := newRig(b, clean(), atOnce, alice)
	r.attached()
	q, c, got := r.alloc(alice), r.clients[alice], false
	op := physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}
	done := func(physical.Result) { got = true }
	b.ReportAllocs()
	for b.Loop() {
		got = false
		c.Do(op, done)
		for !got {
			r.loop.Step()
		}
	}
}

// BenchmarkOutcomes measures pairs measured directly per second, heard at both
// ends, 500 to a batch.
func BenchmarkOutcomes(b *testing.B) {
	r := newRig(b, instant(), atOnce, alice, bob)
	r.attached()
	heard := 0
	for _, n := range []qnet.NodeID{alice, bob} {
		r.clients[n].ArmBulk(1, 0, physical.BasisSource{}, func(o physical.Outcomes, _ error) { heard += len(o.Cycle) }, nil)
	}
	r.run(time.Millisecond)
	const batch = 500
	k := r.fab.Link(1)
	cycles, labels := make([]uint64, batch), make([]qnet.BellLabel, batch)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		first := k.CycleAt(r.loop.Now())
		for i := range cycles {
			cycles[i] = first + uint64(i)
		}
		r.run(batch * time.Microsecond)
		n += k.HeraldBulk([2]uint32{}, 0, cycles, labels)
		r.run(time.Microsecond)
	}
	if heard != 2*n || n == 0 {
		b.Fatalf("%d outcomes of %d pairs", heard, n)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pairs/s")
}
