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

func newRig(t testing.TB) *rig { return newRigOf(t, chain(1, 0)) }

// limited is a chain with all limits that leave bob two communication qubits, and
// noise of every kind.
func limited() fabric.Config {
	c := chain(1, 1)
	for i := range c.Nodes {
		s := &c.Nodes[i].Spec
		s.Communication, s.Serial = 2, true
		s.Memory = &physical.Memory{Init: 310 * time.Microsecond, Gate1: 20 * time.Microsecond, Readout: 40 * time.Microsecond}
	}
	for i := range c.Links {
		c.Links[i].DephasingA, c.Links[i].DephasingB = 0.0026, 0.0026
	}
	return c
}

func newRigOf(t testing.TB, c fabric.Config) *rig {
	for i := range c.Nodes {
		n := &c.Nodes[i]
		n.Communication = state.Decay{T2: 1}
		n.Noise = physical.Noise{Gate2Depolarising: 0.005, QubitNoise: physical.QubitNoise{ReadoutError: physical.SymmetricReadout(0.002)}}
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
		fromA, _ := k.Armed(0, 0)
		fromB, _ := k.Armed(1, 0)
		c := k.CycleAt(max(fromA, fromB))
		_ = r.loop.RunUntil(k.CycleInstant(c).Add(k.HalfDelay()))
		k.Begin(r.lanes, 0, physical.Pattern{}, c, c)
		if _, ok := k.Herald(r.lanes, 0, c); !ok {
			r.t.Fatal("no herald")
		}
	}
	r.bob.Do(physical.Op{Kind: physical.OpBSM, A: r.qb, B: r.qb2}, r.done)
	r.alice.Do(physical.Op{Kind: physical.OpMeasure, A: r.qa, Basis: qnet.BasisX, Free: true}, r.done)
	r.char.Do(physical.Op{Kind: physical.OpMeasure, A: r.qc, Basis: qnet.BasisX, Free: true}, r.done)
	r.drain()
}

// store makes a pair and moves alice's half to a storage qubit and back.
func (r *rig) store() {
	r.alice.Do(physical.Op{Kind: physical.OpArm, Link: 1}, r.gotA)
	r.bob.Do(physical.Op{Kind: physical.OpArm, Link: 1}, r.gotB)
	r.alice.Do(physical.Op{Kind: physical.OpAlloc}, r.gotC)
	r.drain()
	k := r.Link(1)
	from, _ := k.Armed(0, 0)
	c := k.CycleAt(max(from, r.loop.Now()))
	k.Begin(r.lanes, 0, physical.Pattern{}, c, c+100)
	_ = r.loop.RunUntil(k.CycleInstant(c + 100).Add(k.HalfDelay()))
	if _, ok := k.Herald(r.lanes, 0, c+100); !ok {
		r.t.Fatal("no herald")
	}
	for range 2 {
		r.alice.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: r.qa, B: r.qc}, r.done)
		r.alice.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: r.qc, B: r.qa}, r.done)
		r.alice.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: r.qc}, r.done)
	}
	r.alice.Do(physical.Op{Kind: physical.OpMeasure, A: r.qa, Basis: qnet.BasisX, Free: true}, r.done)
	r.alice.Do(physical.Op{Kind: physical.OpMeasure, A: r.qc, Free: true}, r.done)
	r.bob.Do(physical.Op{Kind: physical.OpMeasure, A: r.qb, Basis: qnet.BasisX, Free: true}, r.done)
	r.drain()
}

// The hot path allocates nothing, whatever the hardware.
func TestHotPathDoesNotAllocate(t *testing.T) {
	l := newRigOf(t, limited())
	for _, c := range []struct {
		name string
		r    *rig
		run  func()
	}{{"swap", newRig(t), nil}, {"limited swap", l, nil}, {"store", l, l.store}} {
		if c.run == nil {
			c.run = c.r.swap
		}
		for range 10 {
			c.run()
		}
		if n := testing.AllocsPerRun(1000, c.run); n != 0 {
			t.Errorf("%s: %v allocations, want none", c.name, n)
		}
		c.r.empty()
	}

	b := newBulkRig(t)
	for range 10 {
		b.batch()
	}
	if n := testing.AllocsPerRun(1000, b.batch); n != 0 {
		t.Errorf("%v allocations for a batch, want none", n)
	}
}

// BenchmarkSwap makes two pairs one by one, swaps and measures both ends: seven
// operations and two heralds.
func BenchmarkSwap(b *testing.B) {
	for _, c := range []struct {
		name   string
		config fabric.Config
	}{{"unlimited", chain(1, 0)}, {"limited", limited()}} {
		b.Run(c.name, func(b *testing.B) {
			r := newRigOf(b, c.config)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				r.swap()
				n += 7
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

// BenchmarkGates has two nodes turn a pair of theirs by Pauli gates, awaiting all
// results of eight before the next.
func BenchmarkGates(b *testing.B) {
	r := newRig(b)
	r.qa, r.qb, _, _ = r.pair(1, 0)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for range 4 {
			r.alice.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: r.qa}, r.done)
			r.bob.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateZ, A: r.qb}, r.done)
		}
		r.drain()
		n += 8
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ops/s")
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
		c.Nodes[i].Noise.ReadoutError = physical.SymmetricReadout(0.002)
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
	if n := r.k.HeraldBulk([2]uint32{}, 0, r.cycles, r.labels); n != len(r.cycles) {
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
