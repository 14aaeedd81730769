package fabric_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/physical/state/densetest"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// sure returns a perfect link that always succeeds, every microsecond, and
// announces a label.
func sure(l qnet.BellLabel) herald.Model {
	return herald.Ideal{Probability: 1, Fidelity: 1, Label: l, PeriodNS: 1000}
}

// late is a sink for outcomes that were heralded late.
func (c *column) late(o physical.Outcomes, _ error) {
	c.cycle = append(c.cycle, o.Cycle...)
	c.basis = append(c.basis, o.Basis...)
	c.bit = append(c.bit, o.Bit...)
}

func at(us uint64) uint64 { return physical.CycleBase + us }

func TestScheduleConfig(t *testing.T) {
	source := herald.PairSource{MeanPairs: 0.01, EtaA: 0.1, EtaB: 0.1, Visibility: 1, PeriodNS: 1000}
	for _, c := range []struct {
		model herald.Model
		sched herald.Schedule
		want  string
	}{
		{nil, nil, "fabric: link 1: no heralding model, nor a schedule of models: want one of the two"},
		{sure(0), herald.Always(sure(0)), "fabric: link 1: a heralding model and a schedule of models: want one of the two"},
		{nil, herald.Schedule{}, "fabric: link 1: schedule: none of its 0 segments has a model"},
		{nil, herald.Schedule{{From: 5, Model: sure(0)}, {From: 5}}, "fabric: link 1: schedule: segment 1 begins at 5ns, want after segment 0"},
		{nil, herald.Schedule{{Model: sure(0)}, {From: 5, Model: source}}, "fabric: link 1: schedule: segment 1: its pairs can not be kept and those of the rest of the link can"},
	} {
		cfg := chain(1, 0)
		cfg.Links[0].Model, cfg.Links[0].Schedule = c.model, c.sched
		wantErr(t, cfg.Validate(), qnet.ErrInvalid, c.want)
	}
}

func TestReplace(t *testing.T) {
	cfg := chain(3, 0)
	cfg.Links[0].Model, cfg.Links[0].Schedule = nil, herald.Schedule{{From: us(30), Model: sure(qnet.PsiPlus)}, {From: us(60)}}
	cfg.Links[0].Length = 4e3 // 9.673 µs to the station
	l := newLab(t, cfg)
	k := l.Link(1)
	var changed []uint64
	k.OnChange(func(first uint64) { changed = append(changed, first) })
	rng := qnet.NewRand(1, "station")
	next := func(from, want uint64) {
		t.Helper()
		if c, ok := k.Next(rng, 0, from, physical.Pattern{}); c != want || ok != (want != 0) {
			t.Errorf("next success in cycle %d (%v), want %d", c, ok, want)
		}
	}
	herald1 := func(lane uint32, cycle uint64, want qnet.BellLabel, succeeds bool) {
		t.Helper()
		if label, ok := k.Herald([2]uint32{lane, lane}, 0, cycle); ok != succeeds || ok && label != want {
			t.Errorf("herald in cycle %d: %v, %v", cycle, label, ok)
		}
	}
	bad := func(s herald.Schedule, want string) {
		t.Helper()
		wantErr(t, k.Replace(s), qnet.ErrInvalid, "link 1: schedule: "+want)
	}
	for lane := range uint32(3) {
		l.arm(1, lane)
	}
	next(at(0), at(30))
	next(at(60), 0)
	l.until(us(70))
	herald1(0, at(29), 0, false) // no contact yet
	herald1(0, at(60), 0, false) // no longer
	bad(nil, "no segments")
	bad(herald.Schedule{{From: us(100)}, {From: us(90)}}, "segment 1 begins at 90µs, want after segment 0")
	bad(herald.Always(herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 10}), "segment 0: attempt period in nanoseconds is 10, want 1000")
	bad(herald.Always(herald.PairSource{MeanPairs: 0.01, EtaA: 0.1, EtaB: 0.1, Visibility: 1, PeriodNS: 1000}), "segment 0: its pairs can not be kept")
	if changed != nil {
		t.Errorf("told of changes that were refused: %v", changed)
	}
	next(at(60), 0)

	// Since the epoch stands for now; what was emitted before is as it was.
	must := func(s herald.Schedule) {
		t.Helper()
		if err := k.Replace(s); err != nil {
			t.Fatal(err)
		}
	}
	must(herald.Schedule{{Model: sure(qnet.PhiPlus)}, {From: us(69), Model: sure(qnet.PhiMinus)}, {From: us(90), Model: sure(qnet.PsiMinus)}, {From: us(95)}})
	next(at(0), at(30))
	next(at(60), at(70))
	next(at(95), 0)
	l.until(us(85))
	herald1(0, at(69), 0, false)
	herald1(0, at(84), qnet.PhiMinus, true)
	must(herald.Schedule{{From: us(200), Model: sure(qnet.PhiPlus)}}) // until then as planned
	must(herald.Schedule{{}})                                         // lost
	herald1(1, at(84), qnet.PhiMinus, true)                           // its light is under way
	next(at(85), 0)
	must(herald.Schedule{{From: us(95), Model: sure(qnet.PsiPlus)}})
	l.until(us(100))
	herald1(2, at(90), 0, false)
	herald1(2, at(95), qnet.PsiPlus, true)
	if want := [...]uint64{at(70), at(200), at(85), at(95)}; len(changed) != 4 || [4]uint64(changed) != want {
		t.Errorf("changes from cycles %v, want %v", changed, want)
	}
}

// A frame goes over many segments, and another lane's over the same again; each
// pair is announced and correlated as its cycle has it. What can not succeed ends
// the frame.
func TestBulkOverSegments(t *testing.T) {
	const segments, each = 600, 7
	cfg := chain(2, 0)
	for i := range cfg.Nodes {
		s := &cfg.Nodes[i].Spec
		s.Init, s.Gate1, s.Gate2, s.Readout = 0, 0, 0, 0
	}
	label := func(c uint64) qnet.BellLabel { return qnet.BellLabel(((c - at(1)) / each * 5) % 7 & 3) }
	var sched herald.Schedule
	for i := range uint64(segments) {
		sched = append(sched, herald.Segment{From: us(1 + int64(i)*each), Model: sure(label(at(1 + i*each)))})
	}
	cfg.Links[0].Model, cfg.Links[0].Schedule = nil, append(sched, herald.Segment{From: us(1 + segments*each)})
	l := newLab(t, cfg)
	src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}}
	var columns [2][2]column
	for side, node := range []qnet.NodeID{alice, bob} {
		for lane := range uint32(2) {
			l.Device(node).ArmBulk(1, lane, src, columns[side][lane].late, nil)
		}
	}
	l.drain()
	l.until(us(2 * segments * each))
	n := segments * each
	cycles, labels := make([]uint64, n+1), make([]qnet.BellLabel, n+1)
	for i := range cycles {
		cycles[i] = at(uint64(1 + i))
	}
	for lane := range uint32(2) {
		if got := l.Link(1).HeraldBulk([2]uint32{lane, lane}, 0, cycles, labels); got != n {
			t.Fatalf("lane %d: %d pairs, want %d", lane, got, n)
		}
		if from, _ := l.Link(1).Armed(0, lane); from != l.Link(1).CycleInstant(cycles[n-1]) {
			t.Errorf("lane %d is ready at %v", lane, from)
		}
		if got := l.Link(1).HeraldBulk([2]uint32{lane, lane}, 0, cycles[n:], labels[n:]); got != 0 {
			t.Errorf("lane %d: %d pairs out of contact", lane, got)
		}
		l.drain()
		a, b := &columns[0][lane], &columns[1][lane]
		if len(a.cycle) != n || len(b.cycle) != n {
			t.Fatalf("lane %d: %d and %d outcomes, want %d", lane, len(a.cycle), len(b.cycle), n)
		}
		for i, c := range a.cycle {
			if c != cycles[i] || b.cycle[i] != c || labels[i] != label(c) {
				t.Fatalf("cycles %d and %d with label %v, want cycle %d with %v", c, b.cycle[i], labels[i], cycles[i], label(c))
			}
			flips := [...]bool{label(c).Z(), label(c).X()}[a.basis[i]]
			if a.basis[i] == b.basis[i] && (a.bit[i] != b.bit[i]) != flips {
				t.Fatalf("cycle %d, %v: bits %d and %d in basis %v", c, label(c), a.bit[i], b.bit[i], src.Bases[a.basis[i]])
			}
		}
	}
}

// immediate is hardware of which memories decay at once, on a link that needs none.
func immediate() (cfg fabric.Config, m herald.Model, src physical.BasisSource) {
	cfg = chain(1, 0)
	m = herald.Multiplexed{Model: herald.PairSource{MeanPairs: 0.02, EtaA: 0.5, EtaB: 0.5, Visibility: 0.95, Label: qnet.PsiMinus, DarkA: 1e-3, DarkB: 1e-3, PeriodNS: 1000}, Modes: 3}
	cfg.Links[0].Model = m
	cfg.Links[0].Length = 50e3
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		n.Communication = state.Decay{T1: 1e-5, T2: 1e-6}
		n.Noise.QubitNoise = physical.QubitNoise{Gate1Depolarising: 0.1, ReadoutError: physical.ReadoutError{0.02, 0.08}}
		n.Spec.Communication = 1
	}
	return cfg, m, physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}}
}

// Pairs that are measured as they arrive can not be kept. They feel the
// imperfection of the device, but none of its memory, and keep no lane from the
// next cycle. False alarm below 1e-6.
func TestImmediate(t *testing.T) {
	cfg, m, src := immediate()
	l := newLab(t, cfg)
	k := l.Link(1)
	if !k.Immediate() || l.Link(2).Immediate() {
		t.Error("which link is immediate?")
	}
	r := l.do(alice, physical.Op{Kind: physical.OpArm, Link: 1})
	wantErr(t, r.Err, qnet.ErrUnsupported, "node alice: the light of link 1 is measured as it arrives, so there is no pair to keep: ask for pairs to be measured")
	l.empty()
	l.free(bob, l.must(bob, physical.Op{Kind: physical.OpArm, Link: 2}).Qubit) // has what was refused no qubit?
	l.free(bob, l.must(bob, physical.Op{Kind: physical.OpPrepare, Link: 1}).Qubit)
	qa, qb, a, b := l.armBulk(1, src, src)
	const n = 200_000
	first := k.CycleAt(l.loop.Now())
	cycles, labels := make([]uint64, n), make([]qnet.BellLabel, n)
	for i := range cycles {
		cycles[i] = first + uint64(i)
	}
	l.until(k.CycleInstant(cycles[n-1]))
	if got := k.HeraldBulk([2]uint32{}, 0, cycles, labels); got != n {
		t.Fatalf("%d pairs of %d", got, n)
	}
	l.drain()
	h := m.Heralds()[0]
	got, want := make([]int, 16), make([]float64, 16)
	for i := range cycles {
		if labels[i] != h.Label {
			t.Fatalf("label %v", labels[i])
		}
		got[a.basis[i]<<3|b.basis[i]<<2|a.bit[i]<<1|b.bit[i]]++
	}
	for i := range want {
		w := densetest.New[int]()
		w.Entangle(0, 1, densetest.Decay{}, densetest.Decay{}, densetest.Square(h.State[:]))
		bases := [2]qnet.Basis{src.Bases[i>>3], src.Bases[i>>2&1]}
		for end, basis := range bases {
			if basis != qnet.BasisZ {
				w.Depolarise(cfg.Nodes[end].Noise.Gate1Depolarising, end)
			}
		}
		for x := range uint8(2) {
			for y := range uint8(2) {
				p := real(densetest.Projector(bases[0], x).Kron(densetest.Projector(bases[1], y)).Mul(w.Density(0, 1)).Trace())
				want[i] += p / 4 * densetest.Readout(cfg.Nodes[0].Noise.ReadoutError[x], uint8(i>>1&1) == x) * densetest.Readout(cfg.Nodes[1].Noise.ReadoutError[y], uint8(i&1) == y)
			}
		}
	}
	qnettest.Fit(t, "outcomes", got, want)
	// They are there when the herald has come and the slower basis is read.
	if late := a.at[0].Sub(k.CycleInstant(cycles[n-1])); late != 2*k.HalfDelay()+305*time.Microsecond {
		t.Errorf("outcomes come %v after the last pair", late)
	}
	l.free(alice, qa)
	l.free(bob, qb)
	l.empty()
}

// Cycles are usable exactly when their rounded instants leave the qubit its time,
// whatever the period and however late: against the rule, cycle by cycle.
func TestBulkReadiness(t *testing.T) {
	rng := qnet.NewRand(7, "test")
	for range 300 {
		period := math.Exp(rng.Float64()*16 - 2)
		again := time.Duration(rng.Uint64N(uint64(math.Exp(rng.Float64() * 14))))
		begin := qnet.Time(math.Exp(rng.Float64() * 42))
		cfg := chain(1, 0)
		for i := range cfg.Nodes {
			s := &cfg.Nodes[i].Spec
			s.Init, s.Gate1, s.Gate2, s.Readout = 0, 0, 0, again
		}
		cfg.Links[0].Model = herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: period}
		l := newLab(t, cfg)
		l.until(begin)
		var c column
		l.Device(alice).ArmBulk(1, 0, physical.BasisSource{}, c.late, nil)
		l.Device(bob).ArmBulk(1, 0, physical.BasisSource{}, c.late, nil)
		l.drain()
		k := l.Link(1)
		cycles := []uint64{k.CycleAt(l.loop.Now())}
		dead := uint64(float64(again) / period)
		for range 30 {
			cycles = append(cycles, cycles[len(cycles)-1]+max(1, dead+rng.Uint64N(4))-min(dead, rng.Uint64N(2)))
		}
		l.until(k.CycleInstant(cycles[rng.IntN(len(cycles))]))
		want := 0
		ready := qnet.Time(0)
		for i, c := range cycles {
			at := k.CycleInstant(c)
			if at > l.loop.Now() || at+1 < ready || i > 0 && c <= cycles[i-1] {
				break
			}
			ready = at.Add(again)
			want++
		}
		if got := k.HeraldBulk([2]uint32{}, 0, cycles, make([]qnet.BellLabel, len(cycles))); got != want {
			t.Fatalf("period %g, busy %v, from %v: %d pairs, want %d", period, again, begin, got, want)
		}
		l.drain()
	}
}

// Where attempts are made while heralds are under way a measured qubit has aged by
// its read-out alone, and the next cycle can succeed.
func TestPipelined(t *testing.T) {
	c := chain(1, 0)
	for i := range c.Nodes {
		c.Nodes[i].Communication = state.Decay{T2: 1e-6} // gone when the herald is back
		c.Nodes[i].Spec.Init, c.Nodes[i].Spec.Readout, c.Nodes[i].Spec.Gate1 = 0, 0, 0
	}
	k := &c.Links[0]
	k.Model, k.Length, k.Pipelined = herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1000}, 20e3, true
	l := newLab(t, c)
	var bits [2][]uint8
	var at [2]qnet.Time
	for i, n := range []qnet.NodeID{alice, bob} {
		l.Device(n).ArmBulk(1, 0, physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX}}, func(o physical.Outcomes, err error) {
			if err != nil {
				t.Error(err)
			}
			bits[i], at[i] = append(bits[i], o.Bit...), o.At
		}, nil)
	}
	l.drain()
	link := l.Link(1)
	first := link.CycleAt(l.loop.Now())
	cycles, labels := make([]uint64, 200), make([]qnet.BellLabel, 200)
	for i := range cycles {
		cycles[i] = first + uint64(i)
	}
	if err := l.loop.RunUntil(link.CycleInstant(cycles[199])); err != nil {
		t.Fatal(err)
	}
	if n := link.HeraldBulk([2]uint32{}, 0, cycles, labels); n != 200 {
		t.Fatalf("%d cycles in a row succeeded, want 200", n)
	}
	l.drain()
	if len(bits[0]) != 200 || !slices.Equal(bits[0], bits[1]) {
		t.Errorf("outcomes in X differ: the pairs have decayed\n%v\n%v", bits[0], bits[1])
	}
	if want := link.CycleInstant(cycles[199]).Add(2 * link.HalfDelay()); at[0] != want || at[1] != want {
		t.Errorf("known at %v and %v, want when the herald is back, at %v", at[0], at[1], want)
	}
}

// A pair that is kept there, of attempts far enough apart, has decohered since its
// emission like any other.
func TestPipelinedKeeps(t *testing.T) {
	const t2 = 200e-6
	c := chain(1, 0)
	for i := range c.Nodes {
		c.Nodes[i].Communication = state.Decay{T2: t2}
	}
	k := &c.Links[0]
	k.Model, k.Length, k.Pipelined = herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1000}, 20e3, true
	l := newLab(t, c)
	qa, qb := l.arm(1, 0)
	link := l.Link(1)
	from, _ := link.Armed(0, 0)
	p := physical.Pattern{Stride: 107} // 10 µs and a round trip of 97 µs
	cycle, ok := link.Next(qnet.NewRand(1, "test"), 0, link.CycleAt(from), p)
	if want, _ := p.At(p.Index(link.CycleAt(from))); !ok || cycle != want {
		t.Fatalf("first success in cycle %d, %v, want %d", cycle, ok, want)
	}
	link.Begin([2]uint32{}, 0, p, cycle, cycle)
	l.until(link.CycleInstant(cycle).Add(link.HalfDelay()))
	label, ok := link.Herald([2]uint32{}, 0, cycle)
	if !ok {
		t.Fatal("no herald")
	}
	l.until(link.CycleInstant(cycle).Add(2 * link.HalfDelay()))
	f, err := l.Oracle().BellFidelity(l.loop.Now(), qa, qb, label)
	age := 2 * link.HalfDelay().Seconds()
	if want := (1 + math.Exp(-2*age/t2)) / 2; err != nil || math.Abs(f-want) > 1e-12 {
		t.Errorf("fidelity %v, %v, want %v after %v s in two memories", f, err, want, age)
	}
	l.free(alice, qa)
	l.free(bob, qb)
	l.empty()
}
