package fabric_test

import (
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
)

// rig drives two links by the operations of a protocol's hot path, each callback
// prepared once.
type rig struct {
	*lab
	lanes            [2]uint32
	alice, bob, char physical.Device
	qa, qb, qb2, qc  physical.Qubit

	gotA, gotB, gotB2, gotC, done func(physical.Result)
}

func newRig(t testing.TB) *rig {
	c := chain(1, 0)
	for i := range c.Nodes {
		n := &c.Nodes[i]
		n.Communication = state.Decay{T2: 1}
		n.Noise = physical.Noise{Gate2Depolarising: 0.005, ReadoutError: 0.002}
	}
	for i := range c.Links {
		m, err := herald.FitDoubleClick(2.18e-4, 0.94, 1200)
		if err != nil {
			t.Fatal(err)
		}
		c.Links[i].Model = m
		c.Links[i].Length = 2
	}
	r := &rig{lab: newLab(t, c)}
	r.alice, r.bob, r.char = r.Device(alice), r.Device(bob), r.Device(charlie)
	r.gotA = func(x physical.Result) { r.qa = x.Qubit }
	r.gotB = func(x physical.Result) { r.qb = x.Qubit }
	r.gotB2 = func(x physical.Result) { r.qb2 = x.Qubit }
	r.gotC = func(x physical.Result) { r.qc = x.Qubit }
	r.done = func(x physical.Result) {
		if x.Err != nil {
			t.Error(x.Err)
		}
	}
	return r
}

// swap makes a pair on both links, swaps at bob and measures both ends.
func (r *rig) swap() {
	r.alice.Do(physical.Op{Kind: physical.OpArm, Link: 1}, r.gotA)
	r.bob.Do(physical.Op{Kind: physical.OpArm, Link: 1}, r.gotB)
	r.bob.Do(physical.Op{Kind: physical.OpArm, Link: 2}, r.gotB2)
	r.char.Do(physical.Op{Kind: physical.OpArm, Link: 2}, r.gotC)
	r.drain()
	for link := physical.LinkID(1); link <= 2; link++ {
		k := r.Link(link)
		from, _ := k.Armed(0, 0)
		c := k.CycleAt(from)
		_ = r.loop.RunUntil(k.CycleInstant(c).Add(k.HalfDelay()))
		if _, ok := k.Herald(r.lanes, c); !ok {
			r.t.Fatal("no herald")
		}
	}
	r.bob.Do(physical.Op{Kind: physical.OpBSM, A: r.qb, B: r.qb2}, r.done)
	r.alice.Do(physical.Op{Kind: physical.OpMeasure, A: r.qa, Basis: qnet.BasisX, Free: true}, r.done)
	r.char.Do(physical.Op{Kind: physical.OpMeasure, A: r.qc, Basis: qnet.BasisX, Free: true}, r.done)
	r.drain()
}

// The hot path allocates nothing.
func TestHotPathDoesNotAllocate(t *testing.T) {
	r := newRig(t)
	for range 10 {
		r.swap()
	}
	if n := testing.AllocsPerRun(1000, r.swap); n != 0 {
		t.Errorf("%v allocations for two pairs and a swap, want none", n)
	}
	r.empty()

	b := newBulkRig(t)
	for range 10 {
		b.batch()
	}
	if n := testing.AllocsPerRun(1000, b.batch); n != 0 {
		t.Errorf("%v allocations for a batch, want none", n)
	}
}

// BenchmarkSwap makes two pairs one by one, swaps and measures both ends: nine
// operations and two heralds.
func BenchmarkSwap(b *testing.B) {
	r := newRig(b)
	b.ReportAllocs()
	for b.Loop() {
		r.swap()
	}
}

// bulkRig measures pairs directly.
type bulkRig struct {
	*lab
	k      *fabric.Link
	next   uint64
	cycles []uint64
	labels []qnet.BellLabel
	pairs  int
}

func newBulkRig(t testing.TB) *bulkRig {
	c := chain(1, 0)
	for i := range c.Nodes {
		s := &c.Nodes[i].Spec
		s.Init, s.Gate1, s.Gate2, s.Readout = 0, 0, 0, 0
		c.Nodes[i].Communication = state.Decay{T2: 1}
		c.Nodes[i].Noise.ReadoutError = 0.002
	}
	c.Links[0].Model = herald.DoubleClick{EtaA: 0.5, EtaB: 0.5, Visibility: 0.9, PeriodNS: 1000}
	r := &bulkRig{lab: newLab(t, c), cycles: make([]uint64, 500), labels: make([]qnet.BellLabel, 500)}
	r.k = r.Link(1)
	src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}}
	sink := func(o physical.Outcomes, _ error) { r.pairs += len(o.Cycle) }
	r.Device(alice).ArmBulk(1, 0, src, sink, nil)
	r.Device(bob).ArmBulk(1, 0, src, sink, nil)
	r.drain()
	r.next = r.k.CycleAt(r.loop.Now().Add(time.Microsecond))
	return r
}

func (r *bulkRig) batch() {
	for i := range r.cycles {
		r.cycles[i] = r.next
		r.next++
	}
	if err := r.loop.RunUntil(r.k.CycleInstant(r.next)); err != nil {
		r.t.Fatal(err)
	}
	if n := r.k.HeraldBulk([2]uint32{}, r.cycles, r.labels); n != len(r.cycles) {
		r.t.Fatalf("%d pairs of %d", n, len(r.cycles))
	}
}

// BenchmarkBulk measures pairs directly in batches of 500, with two bases at
// each end.
func BenchmarkBulk(b *testing.B) {
	r := newBulkRig(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		r.batch()
		n += len(r.cycles)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pairs/s")
}
