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

// column collects the outcomes of one end.
type column struct {
	cycle      []uint64
	basis, bit []uint8
	at         []qnet.Time // of each batch
}

func (c *column) sink(l *lab) func(physical.Outcomes, error) {
	return func(o physical.Outcomes, err error) {
		l.t.Helper()
		if err != nil {
			l.t.Error(err)
		}
		if len(o.Basis) != len(o.Cycle) || len(o.Bit) != len(o.Cycle) || len(o.Cycle) == 0 {
			l.t.Errorf("columns of %d, %d and %d", len(o.Cycle), len(o.Basis), len(o.Bit))
		}
		if l.loop.Now() != o.At {
			l.t.Errorf("outcomes of %v came at %v", o.At, l.loop.Now())
		}
		c.cycle = append(c.cycle, o.Cycle...)
		c.basis = append(c.basis, o.Basis...)
		c.bit = append(c.bit, o.Bit...)
		c.at = append(c.at, o.At)
	}
}

// armBulk arms lane 0 at both ends of a link for measuring directly.
func (l *lab) armBulk(link physical.LinkID, srcA, srcB physical.BasisSource) (qa, qb physical.Qubit, a, b *column) {
	l.t.Helper()
	nodeA, nodeB := l.Link(link).Ends()
	a, b = new(column), new(column)
	l.Device(nodeA).ArmBulk(link, 0, srcA, a.sink(l), func(r physical.Result) { qa = r.Qubit })
	l.Device(nodeB).ArmBulk(link, 0, srcB, b.sink(l), func(r physical.Result) { qb = r.Qubit })
	l.drain()
	if qa.IsZero() || qb.IsZero() {
		l.t.Fatal("not armed")
	}
	return qa, qb, a, b
}

// bulk heralds n pairs on lane 0 as fast as the hardware can and returns
// the cycles and labels.
func (l *lab) bulk(link physical.LinkID, n int) (cycles []uint64, labels []qnet.BellLabel) {
	l.t.Helper()
	k := l.Link(link)
	cycles, labels = make([]uint64, n), make([]qnet.BellLabel, n)
	for i := range n {
		fromA, _ := k.Armed(0, 0)
		fromB, _ := k.Armed(1, 0)
		cycles[i] = k.CycleAt(max(fromA, fromB))
		l.until(k.CycleInstant(cycles[i]).Add(k.HalfDelay()))
		if k.HeraldBulk([2]uint32{}, 0, cycles[i:i+1], labels[i:i+1]) != 1 {
			l.t.Fatalf("no herald in cycle %d", cycles[i])
		}
	}
	l.drain()
	return cycles, labels
}

// hardware is a link with everything that can go wrong, and bases of all kinds.
func hardware() (c fabric.Config, srcA, srcB physical.BasisSource) {
	c = chain(1, 0)
	c.Links[0].Model = herald.DoubleClick{EtaA: 0.3, EtaB: 0.6, Visibility: 0.8, DarkCount: 0.03, PeriodNS: 1234.5}
	c.Links[0].Length = 50e3
	c.Nodes[0].Communication = state.Decay{T1: 5e-3, T2: 3e-3}
	c.Nodes[1].Communication = state.Decay{T2: 4e-3, Depolarise: 100, Stretch: 1.5}
	c.Nodes[0].Noise.QubitNoise = physical.QubitNoise{Gate1Depolarising: 0.4, ReadoutError: physical.ReadoutError{0.15, 0.03}}
	c.Nodes[1].Noise.QubitNoise = physical.QubitNoise{Gate1Depolarising: 0.3, ReadoutError: physical.ReadoutError{0.01, 0.1}}
	c.Nodes[1].Spec.Readout = 100 * time.Microsecond
	srcA = physical.BasisSource{Bases: []qnet.Basis{qnet.BasisZ, qnet.BasisX, {Theta: 0.7, Phi: 0.3}}, Weights: []float64{1, 2, 1}}
	srcB = physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ, {Theta: 2, Phi: 4}}}
	return c, srcA, srcB
}

// kind indexes what can happen to one pair: label, both bases, both bits.
func kind(label qnet.BellLabel, ka, kb, a, b uint8) int {
	return (((int(label)*3+int(ka))*4+int(kb))*2+int(a))*2 + int(b)
}

const kinds = 4 * 3 * 4 * 4

// expected returns the probability of each kind, from the density matrix.
func expected(c fabric.Config, srcA, srcB physical.BasisSource) (p [kinds]float64) {
	probability := func(s physical.BasisSource, i int) float64 {
		if s.Weights == nil {
			return 1 / float64(len(s.Bases))
		}
		var sum float64
		for _, w := range s.Weights {
			sum += w
		}
		return s.Weights[i] / sum
	}
	light := c.Links[0].Length / 206_753_000
	for _, h := range c.Links[0].Model.Heralds() {
		for i, ba := range srcA.Bases {
			for j, bb := range srcB.Bases {
				w := densetest.New[int]()
				w.Pair(0, 1, densetest.Decay{}, densetest.Decay{}, h.State.Weights())
				for end, basis := range []qnet.Basis{ba, bb} {
					n := c.Nodes[end]
					t := light + n.Spec.Readout.Seconds()
					if basis != qnet.BasisZ {
						t += n.Spec.Gate1.Seconds()
					}
					w.Decay(end, densetest.Decay(n.Communication), t)
					if basis != qnet.BasisZ {
						w.Depolarise(n.Noise.Gate1Depolarising, end)
					}
				}
				for a := range uint8(2) {
					for b := range uint8(2) {
						pair := densetest.Projector(ba, a).Kron(densetest.Projector(bb, b))
						q := real(pair.Mul(w.Density(0, 1)).Trace()) * h.P * probability(srcA, i) * probability(srcB, j)
						for ra := range uint8(2) {
							for rb := range uint8(2) {
								p[kind(h.Label, uint8(i), uint8(j), ra, rb)] += q *
									densetest.Readout(c.Nodes[0].Noise.ReadoutError[a], ra == a) * densetest.Readout(c.Nodes[1].Noise.ReadoutError[b], rb == b)
							}
						}
					}
				}
			}
		}
	}
	return p
}

// Measuring directly has the distribution of making pairs one by one and
// measuring each when its herald has come; both have that of the textbook.
// False alarms below 1e-6 each.
func TestBulkEqualsPairs(t *testing.T) {
	c, srcA, srcB := hardware()
	want := expected(c, srcA, srcB)
	var sum float64
	for _, p := range want {
		sum += p
	}
	if math.Abs(sum-1) > 1e-12 {
		t.Fatalf("probabilities add up to %v", sum)
	}

	t.Run("bulk", func(t *testing.T) {
		l := newLab(t, c)
		qa, qb, a, b := l.armBulk(1, srcA, srcB)
		cycles, labels := l.bulk(1, 100_000)
		if !slices.Equal(a.cycle, cycles) || !slices.Equal(b.cycle, cycles) {
			t.Fatal("the columns are not those of the heralded cycles")
		}
		var got [kinds]int
		for i := range cycles {
			got[kind(labels[i], a.basis[i], b.basis[i], a.bit[i], b.bit[i])]++
		}
		qnettest.Fit(t, "measured directly", got[:], want[:])
		l.free(alice, qa)
		l.free(bob, qb)
		l.empty()
	})
	t.Run("pairs", func(t *testing.T) {
		const n = 30_000
		l := newLab(t, c)
		rng := qnet.NewRand(5, "bases")
		var got [kinds]int
		for range n {
			qa, qb, cycle, label := l.pair(1, 0)
			l.until(l.Link(1).CycleInstant(cycle).Add(2 * l.Link(1).HalfDelay()))
			ka := [4]uint8{0, 1, 1, 2}[rng.IntN(4)]
			kb := uint8(rng.IntN(4))
			var a, b uint8
			l.Device(alice).Do(physical.Op{Kind: physical.OpMeasure, A: qa, Basis: srcA.Bases[ka], Free: true}, func(r physical.Result) { a = r.Bit })
			l.Device(bob).Do(physical.Op{Kind: physical.OpMeasure, A: qb, Basis: srcB.Bases[kb], Free: true}, func(r physical.Result) { b = r.Bit })
			l.drain()
			got[kind(label, ka, kb, a, b)]++
		}
		qnettest.Fit(t, "pair by pair", got[:], want[:])
		l.empty()
	})
}

// On ideal links, with bases that each device draws privately, the CHSH value is
// 2√2. False alarm 6e-7: 5 standard errors.
func TestBulkCHSH(t *testing.T) {
	c := chain(1, 0)
	for i := range c.Nodes {
		s := &c.Nodes[i].Spec
		s.Init, s.Gate1, s.Gate2, s.Readout = 0, 0, 0, 0
	}
	l := newLab(t, c)
	alternatives := []qnet.Basis{qnet.BasisZ, qnet.BasisX}
	diagonals := []qnet.Basis{qnet.BasisXZ(math.Pi / 4), qnet.BasisXZ(-math.Pi / 4)}
	_, _, a, b := l.armBulk(1, physical.BasisSource{Bases: alternatives}, physical.BasisSource{Bases: diagonals})
	k := l.Link(1)
	const n = 400_000
	first := k.CycleAt(l.loop.Now())
	cycles, labels := make([]uint64, n), make([]qnet.BellLabel, n)
	for i := range cycles {
		cycles[i] = first + uint64(i) // every cycle: this hardware takes no time
	}
	l.until(k.CycleInstant(cycles[n-1]))
	if got := k.HeraldBulk([2]uint32{}, 0, cycles, labels); got != n {
		t.Fatalf("%d pairs of %d", got, n)
	}
	l.drain()
	var e, num [2][2]float64
	for i := range a.cycle {
		x, y := a.basis[i], b.basis[i]
		num[x][y]++
		e[x][y] += 1 - 2*float64(a.bit[i]^b.bit[i])
	}
	s, variance := 0.0, 0.0
	for x := range 2 {
		for y := range 2 {
			if se := math.Sqrt(n * 3.0 / 16); math.Abs(num[x][y]-n/4) > 5*se {
				t.Errorf("bases %d and %d were drawn %v times of %d", x, y, num[x][y], n)
			}
			sign := 1.0
			if x == 1 && y == 1 {
				sign = -1
			}
			s += sign * e[x][y] / num[x][y]
			variance += 0.5 / num[x][y] // 1−E², E²=1/2
		}
	}
	if se := math.Sqrt(variance); math.Abs(s-2*math.Sqrt2) > 5*se {
		t.Errorf("S = %.4f, want %.4f ± %.4f", s, 2*math.Sqrt2, se)
	}
}

// A qubit that is measured is busy until it is initialised again, and its
// outcomes come when the slowest of its measurements can have ended.
func TestBulkTiming(t *testing.T) {
	c := chain(1, 0)
	c.Links[0].Length = 20e3 // 96.734 µs to the end and back from the middle
	c.Nodes[1].Spec.Readout = 200 * time.Microsecond
	l := newLab(t, c)
	k := l.Link(1)
	qa, qb, a, b := l.armBulk(1, physical.BasisSource{}, physical.BasisSource{Bases: []qnet.Basis{qnet.BasisZ, qnet.BasisX}})
	labels := make([]qnet.BellLabel, 3)
	if n := k.HeraldBulk([2]uint32{}, 0, []uint64{k.CycleAt(l.loop.Now() + 1)}, labels); n != 0 {
		t.Error("measured in a cycle that has not come")
	}
	at := func(us uint64) uint64 { return physical.CycleBase + us }
	l.until(us(20))
	// Alice: 96.734 + 300 + 10, bob: 96.734 + 205 + 10.
	if n := k.HeraldBulk([2]uint32{}, 0, []uint64{at(20), at(426), at(500)}, labels); n != 1 {
		t.Fatalf("%d pairs before the qubit is ready again, want 1", n)
	}
	for side, want := range []qnet.Time{20_000 + 406_734, 20_000 + 311_734} {
		if from, ok := k.Armed(side, 0); !ok || from != want {
			t.Errorf("side %d is ready again at %v (%v), want %v", side, from, ok, want)
		}
	}
	l.until(us(900))
	if n := k.HeraldBulk([2]uint32{}, 0, []uint64{at(427), at(900)}, labels); n != 2 {
		t.Fatalf("%d pairs, want 2", n)
	}
	l.drain()
	check := func(name string, c *column, late qnet.Time) {
		t.Helper()
		// The sink has checked that they came at their instants.
		if want := []qnet.Time{us(20) + late, us(900) + late}; !slices.Equal(c.at, want) {
			t.Errorf("%s: outcomes at %v, want %v", name, c.at, want)
		}
	}
	check("alice", a, 396_734)
	check("bob", b, 301_734)
	l.free(alice, qa)
	if n := k.HeraldBulk([2]uint32{}, 0, []uint64{at(5000)}, labels); n != 0 {
		t.Error("measured on a lane that is not armed")
	}
	l.free(bob, qb)
	l.empty()
}

// What was not ready when the qubit was freed is dropped.
func TestBulkFree(t *testing.T) {
	l := newLab(t, chain(1, 0))
	k := l.Link(1)
	qa, qb, a, b := l.armBulk(1, physical.BasisSource{}, physical.BasisSource{})
	l.until(us(50))
	if n := k.HeraldBulk([2]uint32{}, 0, []uint64{physical.CycleBase + 50}, make([]qnet.BellLabel, 1)); n != 1 {
		t.Fatal("no herald")
	}
	l.free(alice, qa)
	l.Device(alice).ArmBulk(1, 0, physical.BasisSource{}, a.sink(l), func(r physical.Result) { qa = r.Qubit })
	l.drain()
	if len(a.cycle) != 0 || len(b.cycle) != 1 {
		t.Errorf("alice got %d outcomes, bob %d, want none and 1", len(a.cycle), len(b.cycle))
	}
	l.free(alice, qa)
	l.free(bob, qb)
	l.empty()
}

// The bases of one end do not depend on anything of the other.
func TestBulkBasesArePrivate(t *testing.T) {
	three := []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}
	run := func(srcA physical.BasisSource) []uint8 {
		l := newLab(t, chain(1, 0))
		_, _, _, b := l.armBulk(1, srcA, physical.BasisSource{Bases: three, Weights: []float64{0, 1, 1e-3}})
		l.bulk(1, 5000)
		return b.basis
	}
	x := run(physical.BasisSource{})
	y := run(physical.BasisSource{Bases: three})
	if !slices.Equal(x, y) {
		t.Error("bob's bases depend on alice's")
	}
	if slices.Contains(x, 0) {
		t.Error("a basis of weight 0 was drawn")
	}
	if !slices.Contains(x, 2) {
		t.Error("a basis of weight 1/1001 was never drawn in 5000")
	}
}

func TestBulkErrors(t *testing.T) {
	l := newLab(t, chain(1, 0))
	sink := func(physical.Outcomes, error) {}
	for _, c := range []struct {
		src  physical.BasisSource
		sink func(physical.Outcomes, error)
		want string
	}{
		{physical.BasisSource{Bases: make([]qnet.Basis, 17)}, sink, "17 bases: want at most 16"},
		{physical.BasisSource{Bases: []qnet.Basis{{Phi: math.NaN()}}}, sink, "basis 0, (θ=0,φ=NaN), has an angle that is not finite"},
		{physical.BasisSource{Bases: make([]qnet.Basis, 2), Weights: []float64{1}}, sink, "1 weights for 2 bases: want one each, or none"},
		{physical.BasisSource{Weights: []float64{-1}}, sink, "weight of basis 0 is -1: want a number from 0 to 1e9"},
		{physical.BasisSource{Weights: []float64{math.Inf(1)}}, sink, "weight of basis 0 is +Inf: want a number from 0 to 1e9"},
		{physical.BasisSource{Weights: []float64{0}}, sink, "the weights of all bases are 0"},
		{physical.BasisSource{}, nil, "nobody takes the outcomes"},
	} {
		var err error
		l.Device(alice).ArmBulk(1, 0, c.src, c.sink, func(r physical.Result) { err = r.Err })
		l.drain()
		wantErr(t, err, qnet.ErrInvalid, "node alice: measuring directly on link 1 lane 0: "+c.want)
	}
	l.empty()
	l.Device(alice).ArmBulk(1, 0, physical.BasisSource{}, sink, nil)
	var err error
	l.Device(alice).ArmBulk(1, 0, physical.BasisSource{}, sink, func(r physical.Result) { err = r.Err })
	l.drain()
	wantErr(t, err, qnet.ErrNoMemory, "is in use")
	// An end armed for a pair and one for measuring directly do not go together.
	l.must(bob, physical.Op{Kind: physical.OpArm, Link: 1})
	l.until(us(100))
	k := l.Link(1)
	if _, ok := k.Herald([2]uint32{}, 0, k.CycleAt(us(50))); ok {
		t.Error("heralded a pair")
	}
	if k.HeraldBulk([2]uint32{}, 0, []uint64{k.CycleAt(us(50))}, make([]qnet.BellLabel, 1)) != 0 {
		t.Error("measured directly")
	}
}
