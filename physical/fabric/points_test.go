package fabric_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/event"
)

// dephasing of the points of a link, by side.
var dephasing = [][2]float64{{0.01, 0.03}, {0, 0.02}, {0.005, 0}, {0, 0}}

// points returns a chain whose first link has a point for each of the above.
func points(storage int) fabric.Config {
	c := chain(1, storage)
	k := &c.Links[0]
	k.Model, k.Length = nil, 2e3
	for i, p := range dephasing {
		k.Points = append(k.Points, fabric.Point{
			Model:      herald.Ideal{Probability: 1, Fidelity: 1 - float64(i)/10, Label: qnet.BellLabel(i), PeriodNS: 1000},
			DephasingA: p[0], DephasingB: p[1]})
	}
	return c
}

// Attempts dephase what is stored as often as the pattern has them, and as much
// as their operating point does: against attempts counted one by one.
func TestAttemptsByPatternAndPoint(t *testing.T) {
	rng := rand.New(rand.NewPCG(20, 20))
	for range 150 {
		l := newLab(t, points(1))
		k := l.Link(1)
		a, b := k.Ends()
		nodes := [2]qnet.NodeID{a, b}
		var stored [2]physical.Qubit
		coherence := [2]float64{0.5, 0.5}
		for side, node := range nodes {
			stored[side] = l.alloc(node)
			l.must(node, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: stored[side]})
		}
		l.arm(1, 0)
		lanes := [2]uint32{}
		next := k.CycleAt(l.loop.Now()) + 1
		for range 1 + rng.IntN(6) {
			p := physical.Pattern{First: next - rng.Uint64N(40), Stride: rng.Uint64N(6), Every: rng.Uint64N(30), Pause: rng.Uint64N(12)}
			if rng.IntN(3) == 0 {
				p = physical.Pattern{}
			}
			point, length := rng.IntN(len(dephasing)), 1+rng.Uint64N(80)
			first := next + rng.Uint64N(5)
			last := first + length
			k.Begin(lanes, point, p, first, last)
			if rng.IntN(3) == 0 {
				last += rng.Uint64N(20)
				k.Until(lanes, last)
			}
			stop := last + 1
			if rng.IntN(2) == 0 {
				stop = first + rng.Uint64N(length)
			}
			for c := next; c <= last+3; c++ {
				if c == stop && stop <= last {
					k.End(lanes, c) // its light is not at the station yet
				}
				if c >= first && c < stop && p.Has(c) {
					for side := range coherence {
						coherence[side] *= 1 - 2*dephasing[point][side]
					}
				}
				if rng.IntN(8) > 0 {
					continue
				}
				l.until(k.CycleInstant(c).Add(k.HalfDelay()))
				for side, q := range stored {
					if rng.IntN(10) == 0 {
						l.Device(nodes[side]).Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}, nil)
					}
					rho, err := l.Oracle().Density(l.loop.Now(), q)
					if err != nil {
						t.Fatal(err)
					}
					if math.Abs(real(rho[1])-coherence[side]) > 1e-12 {
						t.Fatalf("side %d, %+v at point %d, from %d to %d, now %d: coherence %v, want %v", side, p, point, first, stop, c, rho[1], coherence[side])
					}
				}
				l.until(k.CycleInstant(c).Add(k.HalfDelay()))
			}
			next = last + 4
		}
		for _, node := range nodes {
			l.Disconnect(node)
		}
		l.empty()
	}
}

// A pair is in the state of the operating point that it was heralded at, however
// it is made.
func TestHeraldAtPoint(t *testing.T) {
	l := newLab(t, points(0))
	k := l.Link(1)
	if k.Points() != len(dephasing) {
		t.Fatalf("%d points", k.Points())
	}
	for i := range dephasing {
		qa, qb := l.arm(1, 0)
		cycle := k.CycleAt(l.loop.Now())
		l.until(k.CycleInstant(cycle).Add(k.HalfDelay()))
		for _, none := range []int{-1, len(dephasing), math.MinInt, math.MaxInt} {
			if _, ok := k.Next(qnet.NewRand(1, "test"), none, cycle, physical.Pattern{}); ok {
				t.Errorf("a success at point %d", none)
			}
			k.Begin([2]uint32{}, none, physical.Pattern{}, cycle, cycle)
			if _, ok := k.Herald([2]uint32{}, none, cycle); ok {
				t.Errorf("a herald at point %d", none)
			}
		}
		label, ok := k.Herald([2]uint32{}, i, cycle)
		if f, err := l.Oracle().BellFidelity(l.loop.Now(), qa, qb, label); !ok || err != nil || label != qnet.BellLabel(i) || math.Abs(f-1+float64(i)/10) > 1e-12 {
			t.Errorf("point %d: %v, %v, fidelity %v, %v", i, label, ok, f, err)
		}
		l.free(alice, qa)
		l.free(bob, qb)
	}
	var bits [2][]uint8
	var qs [2]physical.Qubit
	for i, n := range []qnet.NodeID{alice, bob} {
		l.Device(n).ArmBulk(1, 0, physical.BasisSource{}, func(o physical.Outcomes, _ error) { bits[i] = append(bits[i], o.Bit...) },
			func(r physical.Result) { qs[i] = r.Qubit })
	}
	l.drain()
	labels := make([]qnet.BellLabel, 1)
	for _, i := range []int{0, 1, -1, 2, 4, 3, 0} { // eras of several points at a time
		cycle := k.CycleAt(l.loop.Now()) + 1000
		l.until(k.CycleInstant(cycle).Add(k.HalfDelay()))
		want := 1
		if i < 0 || i >= len(dephasing) {
			want = 0
		}
		if n := k.HeraldBulk([2]uint32{}, i, []uint64{cycle}, labels); n != want || n == 1 && labels[0] != qnet.BellLabel(i) {
			t.Errorf("point %d: %d pairs, label %v", i, n, labels[0])
		}
	}
	l.drain()
	if len(bits[0]) != 5 || len(bits[1]) != 5 {
		t.Errorf("%d and %d outcomes, want 5", len(bits[0]), len(bits[1]))
	}
	l.free(alice, qs[0])
	l.free(bob, qs[1])
	l.empty()
}

// All points of a link are replaced, or none.
func TestReplacePoints(t *testing.T) {
	l := newLab(t, points(0))
	k := l.Link(1)
	rng := qnet.NewRand(1, "test")
	model := herald.Always(herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1000})
	none := herald.Schedule{{}}
	var changed []uint64
	k.OnChange(func(first uint64) { changed = append(changed, first) })
	open := func(want ...bool) {
		t.Helper()
		for i, w := range want {
			if _, ok := k.Next(rng, i, physical.CycleBase+50, physical.Pattern{}); ok != w {
				t.Errorf("point %d: a success is %v", i, ok)
			}
		}
	}
	wantErr(t, k.Replace(none), qnet.ErrInvalid, "link 1: 1 schedules for its 4 operating points: want one for each")
	wantErr(t, k.Replace(none, none, nil, none), qnet.ErrInvalid, "link 1: operating point 2: schedule: no segments")
	wantErr(t, k.Replace(nil, none, none, none), qnet.ErrInvalid, "link 1: schedule: no segments")
	wantErr(t, k.Replace(none, none, none, herald.Always(herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1001})), qnet.ErrInvalid, "link 1: operating point 3: schedule: segment 0: attempt period")
	open(true, true, true, true)
	if changed != nil {
		t.Errorf("changed from %v on", changed)
	}
	later := herald.Schedule{{From: us(20), Model: model[0].Model}, {From: us(30)}}
	if err := k.Replace(model, later, herald.Schedule{{From: us(10)}}, later); err != nil {
		t.Fatal(err)
	}
	open(true, false, false, false)
	if fmt.Sprint(changed) != fmt.Sprint([]uint64{physical.CycleBase}) {
		t.Errorf("changed from %v on, want from the epoch", changed)
	}
}

func TestPointErrors(t *testing.T) {
	ideal := func(period float64) herald.Model {
		return herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: period}
	}
	immediate := herald.PairSource{MeanPairs: 0.01, EtaA: 1, EtaB: 1, Visibility: 1, PeriodNS: 1000}
	for _, c := range []struct {
		points []fabric.Point
		want   string
	}{
		{[]fabric.Point{}, "0 operating points: want from 1 to 100"},
		{make([]fabric.Point, 101), "101 operating points: want from 1 to 100"},
		{[]fabric.Point{{Model: ideal(1000)}, {}}, "operating point 1: no heralding model, nor a schedule of models"},
		{[]fabric.Point{{Model: ideal(1000), Schedule: herald.Always(ideal(1000))}}, "operating point 0: a heralding model and a schedule of models"},
		{[]fabric.Point{{Model: ideal(1000)}, {Model: ideal(1001)}}, "operating point 1: attempt period in nanoseconds is 1001, want 1000 as in the whole link"},
		{[]fabric.Point{{Model: ideal(1000)}, {Model: ideal(1000), DephasingB: 0.5}}, "operating point 1: an attempt flips the phase of a storage qubit with probability 0.5: want at least 0 and below 0.5"},
		{[]fabric.Point{{Model: ideal(1000)}, {Model: immediate}}, "operating point 1: pairs can be kept at some points, and at others not"},
	} {
		cfg := chain(1, 1)
		cfg.Links[0].Model, cfg.Links[0].Points = nil, c.points
		_, err := fabric.New(cfg, event.NewVirtual(), nil)
		wantErr(t, err, qnet.ErrInvalid, "fabric: link 1: "+c.want)
		cfg.Links[0].DephasingA = 0.1
		_, err = fabric.New(cfg, event.NewVirtual(), nil)
		wantErr(t, err, qnet.ErrInvalid, "fabric: link 1: operating points, and a model, schedule or dephasing beside them: want these in the points")
	}
}
