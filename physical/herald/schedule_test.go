package herald_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

const epoch = physical.CycleBase

// step is a segment of the reference: a success probability (0 out of contact)
// from an instant in nanoseconds on.
type step struct {
	from int64
	p    float64
}

// at returns the number of the step, and the success probability, of the
// attempt that is emitted at n·period: −1 and 0 before all steps.
func at(steps []step, n int, period float64) (int, float64) {
	k, p := -1, 0.0
	for i, s := range steps {
		if int64(math.Round(float64(n)*period)) >= s.from {
			k, p = i, s.p
		}
	}
	return k, p
}

func schedule(steps []step, period float64) (s herald.Schedule) {
	for _, x := range steps {
		seg := herald.Segment{From: qnet.Time(x.from)}
		if x.p > 0 {
			seg.Model = herald.Ideal{Probability: x.p, Fidelity: 1, PeriodNS: period}
		}
		s = append(s, seg)
	}
	return s
}

func timeline(t testing.TB, s herald.Schedule) *herald.Timeline {
	t.Helper()
	l, err := herald.NewTimeline(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What is drawn has the distribution of making the attempts one by one, over
// borders on a cycle and between two, gaps out of contact, segments without a
// cycle, sure success, and from any cycle. False alarms below 1e-6 each.
func TestTimelineEqualsAttempts(t *testing.T) {
	const draws, cycles = 100_000, 120
	for _, c := range []struct {
		name   string
		period float64
		steps  []step
	}{
		{"constant", 10, []step{{0, 0.07}}},
		{"borders on cycles", 10, []step{{0, 0.02}, {100, 0.1}, {110, 0.01}, {500, 0.2}}},
		{"borders just after cycles", 10, []step{{1, 0.05}, {101, 0.1}, {111, 0.01}, {501, 0.2}}},
		{"period of no whole number", 7.3, []step{{0, 0.02}, {73, 0.1}, {74, 0.01}, {400, 0.03}}},
		{"several segments between two cycles", 10, []step{{0, 0.02}, {101, 0.5}, {102, 0.9}, {103, 0.05}}},
		{"out of contact", 10, []step{{200, 0.03}, {300, 0}, {600, 0.05}, {700, 0}}},
		{"sure", 10, []step{{0, 0.01}, {400, 1}, {410, 0.3}}},
	} {
		for _, start := range []int{0, 10, 35} {
			t.Run(fmt.Sprintf("%s/%d", c.name, start), func(t *testing.T) {
				l := timeline(t, schedule(c.steps, c.period))
				rng := rand.New(rand.NewPCG(1, uint64(start)))
				ref := rand.New(rand.NewPCG(2, uint64(start)))
				// The last case stands for all later cycles, and for none.
				looped, drawn := make([]int, cycles+1), make([]int, cycles+1)
				want, none := make([]float64, cycles+1), 1.0
				var p [cycles]float64
				for n := start; n < cycles; n++ {
					_, p[n] = at(c.steps, n, c.period)
					want[n] = none * p[n]
					none *= 1 - p[n]
				}
				want[cycles] = none
				for range draws {
					n := start
					for n < cycles && ref.Float64() >= p[n] {
						n++
					}
					looped[n]++

					cycle, ok := l.Next(rng, epoch+uint64(start), physical.Pattern{})
					switch {
					case !ok && c.steps[len(c.steps)-1].p > 0:
						t.Fatal("no success for ever, on a link that is in contact")
					case !ok || cycle >= epoch+cycles:
						drawn[cycles]++
						continue
					}
					drawn[cycle-epoch]++
					k, _ := at(c.steps, int(cycle-epoch), c.period)
					if got := l.Segment(cycle); got != k {
						t.Fatalf("cycle %d is of segment %d, want %d", cycle-epoch, got, k)
					}
				}
				qnettest.Fit(t, "attempts made", looped, want)
				qnettest.Fit(t, "attempts skipped", drawn, want)
			})
		}
	}
}

// Every cycle belongs to the segment of its emission instant.
func TestTimelineSegments(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		period := 0.5 + 20*rng.Float64()
		if rng.IntN(2) == 0 {
			period = float64(1 + rng.IntN(20))
		}
		var steps []step
		from := int64(rng.IntN(50))
		for range 1 + rng.IntN(12) {
			steps = append(steps, step{from, float64(rng.IntN(2)) / 4})
			from += int64(1 + rng.IntN(60))
		}
		steps[rng.IntN(len(steps))].p = 0.5
		l := timeline(t, schedule(steps, period))
		if l.Segments() != len(steps) || l.Cycles().Period != period {
			t.Fatalf("%d segments of period %g, want %d of %g", l.Segments(), l.Cycles().Period, len(steps), period)
		}
		for n := range 300 {
			k, p := at(steps, n, period)
			if got := l.Segment(epoch + uint64(n)); got != k {
				t.Fatalf("%v, period %g: cycle %d is of segment %d, want %d", steps, period, n, got, k)
			}
			if k >= 0 && (l.Sampler(k) != nil) != (p > 0) {
				t.Fatalf("%v: segment %d has sampler %v", steps, k, l.Sampler(k))
			}
		}
	}
}

// A constant link draws what its sampler does, bit for bit.
func TestTimelineConstant(t *testing.T) {
	for _, p := range []float64{1, 0.999, 0.3, 1e-3, 1e-9, 1e-15} {
		m := herald.Ideal{Probability: p, Fidelity: 1, PeriodNS: 1}
		s, err := herald.NewSampler(m)
		if err != nil {
			t.Fatal(err)
		}
		l := timeline(t, herald.Always(m))
		a, b := rand.New(rand.NewPCG(4, 4)), rand.New(rand.NewPCG(4, 4))
		from := uint64(epoch)
		for range 1000 {
			want := from + s.Attempts(a) - 1
			got, ok := l.Next(b, from, physical.Pattern{})
			if !ok || got != want {
				t.Fatalf("p=%g from %d: cycle %d, %v, want %d", p, from, got, ok, want)
			}
			from = got + 1
		}
	}
}

// However likely a success was before, the last bit of a cycle far down a
// segment of tiny probability is a fair coin, and so is the half of the
// exponential distribution that it lies in. False alarms below 1e-6.
func TestTimelinePrecision(t *testing.T) {
	const n = 50_000
	for _, p := range []float64{1e-9, 1e-13, 1e-15} {
		// The first segment fails with probability exp(−2).
		l := timeline(t, schedule([]step{{0, 0.02}, {99, p}}, 1))
		rng := rand.New(rand.NewPCG(5, 5))
		var parity, half [2]int
		for range n {
			c := uint64(0)
			for c < epoch+99 {
				var ok bool
				if c, ok = l.Next(rng, epoch, physical.Pattern{}); !ok {
					t.Fatal("never")
				}
			}
			parity[c%2]++
			half[int(2*-math.Expm1(float64(c-epoch-98)*math.Log1p(-p)))]++
		}
		qnettest.Fit(t, fmt.Sprintf("p=%g: parity", p), parity[:], []float64{0.5, 0.5})
		qnettest.Fit(t, fmt.Sprintf("p=%g: halves", p), half[:], []float64{0.5, 0.5})
	}
}

func TestTimelineNever(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	// Out of contact for good, at once or after a segment without a success.
	l := timeline(t, schedule([]step{{0, 1e-300}, {1000, 1}, {1001, 0}}, 1))
	if c, ok := l.Next(rng, 0, physical.Pattern{}); !ok || c != epoch+1000 {
		t.Errorf("cycle %d, %v, want %d", c, ok, uint64(epoch+1000))
	}
	for _, from := range []uint64{epoch + 1001, epoch + 1e15, math.MaxUint64} {
		if c, ok := l.Next(rng, from, physical.Pattern{}); ok {
			t.Errorf("from cycle %d: success in cycle %d, want none", from, c)
		}
	}
	// Beyond the last cycle that has an instant.
	tiny := timeline(t, herald.Always(herald.Ideal{Probability: 1e-300, Fidelity: 1, PeriodNS: 1}))
	sure := timeline(t, herald.Always(herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1}))
	const last = epoch + math.MaxInt64
	for range 1000 {
		if c, ok := tiny.Next(rng, epoch, physical.Pattern{}); ok {
			t.Fatalf("p=1e-300: success in cycle %d, want none", c)
		}
	}
	if c, ok := sure.Next(rng, last, physical.Pattern{}); !ok || c != last {
		t.Errorf("cycle %d, %v, want the last, %d", c, ok, uint64(last))
	}
	if c, ok := sure.Next(rng, last+1, physical.Pattern{}); ok {
		t.Errorf("success in cycle %d, which has no instant", c)
	}
}

// A link whose model is replaced at run time has, with what was drawn for later
// drawn anew, the distribution of one that had both models from the start; what
// was said of the past stays. False alarms below 1e-6.
func TestTimelineReplace(t *testing.T) {
	const draws, cycles, change = 50_000, 100, 40
	before := []step{{0, 0.01}, {300, 0.03}, {600, 0.2}}
	after := []step{{change * 10, 0.04}, {550, 0}, {700, 0.1}}
	all := append(append([]step{}, before[:2]...), after...)
	whole := timeline(t, schedule(all, 10))
	rng := rand.New(rand.NewPCG(7, 7))
	drawn, want, none := make([]int, cycles+1), make([]float64, cycles+1), 1.0
	for n := range cycles {
		_, p := at(all, n, 10)
		want[n] = none * p
		none *= 1 - p
	}
	want[cycles] = none
	for range draws {
		l := timeline(t, schedule(before, 10))
		c, _ := l.Next(rng, epoch, physical.Pattern{})
		past := l.Sampler(0)
		if err := l.Replace(schedule(after, 10)); err != nil {
			t.Fatal(err)
		}
		if c >= epoch+change {
			c, _ = l.Next(rng, epoch+change, physical.Pattern{})
		}
		drawn[min(c-epoch, cycles)]++
		if l.Sampler(0) != past || l.Segments() != len(all) {
			t.Fatalf("%d segments, want %d and the first as it was", l.Segments(), len(all))
		}
		if n := uint64(rng.IntN(200)); l.Segment(epoch+n) != whole.Segment(epoch+n) {
			t.Fatalf("cycle %d is of segment %d, want %d", n, l.Segment(epoch+n), whole.Segment(epoch+n))
		}
	}
	qnettest.Fit(t, "success of a replaced model", drawn, want)

	// Out of contact from an instant on, before the first segment too; and back.
	l := timeline(t, schedule(before, 10))
	for _, from := range []int64{500, 0} {
		if err := l.Replace(schedule([]step{{from, 0}}, 10)); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if c, ok := l.Next(rng, epoch, physical.Pattern{}); ok && c >= epoch+uint64(from/10) {
				t.Fatalf("success in cycle %d, out of contact from %d on", c-epoch, from/10)
			}
		}
	}
	if err := l.Replace(schedule([]step{{0, 1}}, 10)); err != nil {
		t.Fatal(err)
	}
	if c, ok := l.Next(rng, 0, physical.Pattern{}); !ok || c != epoch {
		t.Errorf("cycle %d, %v, want the epoch's", c, ok)
	}
}

func TestScheduleValidate(t *testing.T) {
	ideal := func(period float64) herald.Model {
		return herald.Ideal{Probability: 0.5, Fidelity: 1, PeriodNS: period}
	}
	l := timeline(t, herald.Always(ideal(10)))
	for _, c := range []struct {
		s    herald.Schedule
		want string
	}{
		{nil, "schedule: none of its 0 segments has a model, want one at least"},
		{herald.Schedule{{}, {From: 1}}, "schedule: none of its 2 segments has a model, want one at least"},
		{herald.Schedule{{From: -1, Model: ideal(10)}}, "schedule: segment 0 begins at -1ns, want from 0 (the epoch)"},
		{herald.Schedule{{Model: ideal(1e-9)}, {From: qnet.Never}}, "schedule: segment 1 begins at never, want from 0 (the epoch) to 2⁶² attempt periods"},
		{herald.Schedule{{From: 5, Model: ideal(10)}, {From: 5}}, "schedule: segment 1 begins at 5ns, want after segment 0, which does at 5ns"},
		{herald.Schedule{{From: 5, Model: ideal(10)}, {From: 4}}, "schedule: segment 1 begins at 4ns, want after segment 0, which does at 5ns"},
		{herald.Schedule{{}, {From: 1, Model: ideal(10)}, {From: 2, Model: ideal(11)}}, "schedule: segment 2: attempt period in nanoseconds is 11, want 10 as in the whole link"},
		{herald.Schedule{{Model: ideal(10)}, {From: 1, Model: herald.Ideal{Probability: 2, Fidelity: 1, PeriodNS: 10}}}, "schedule: segment 1: ideal link: success probability is 2"},
		{herald.Schedule{{Model: ideal(0)}}, "schedule: segment 0: ideal link: attempt period in nanoseconds is 0"},
		{herald.Schedule{{}, {From: 1, Model: ideal(math.NaN())}}, "schedule: segment 1: ideal link: attempt period in nanoseconds is NaN"},
	} {
		qnettest.WantErr(t, c.s.Validate(), qnet.ErrInvalid, c.want)
		if _, err := herald.NewTimeline(c.s); err == nil {
			t.Errorf("timeline of an invalid schedule %v", c.s)
		}
	}
	qnettest.WantErr(t, l.Replace(nil), qnet.ErrInvalid, "schedule: no segments, want one at least")
	qnettest.WantErr(t, l.Replace(herald.Always(ideal(11))), qnet.ErrInvalid, "schedule: segment 0: attempt period in nanoseconds is 11, want 10 as in the whole link")
	if c, ok := l.Next(rand.New(rand.NewPCG(8, 8)), epoch, physical.Pattern{}); !ok || l.Segments() != 1 {
		t.Errorf("a refused replacement left %d segments, success in cycle %d, %v", l.Segments(), c, ok)
	}
}

func TestTimelineAllocates(t *testing.T) {
	steps := make([]step, 600)
	for i := range steps {
		steps[i] = step{int64(i) * 1e9, 1e-10}
	}
	l := timeline(t, schedule(steps, 1))
	rng := rand.New(rand.NewPCG(9, 9))
	if n := testing.AllocsPerRun(1000, func() {
		if c, ok := l.Next(rng, epoch, physical.Pattern{}); !ok || l.Sampler(l.Segment(c)) == nil {
			t.Fatal("no success")
		}
	}); n != 0 {
		t.Errorf("%g allocations in a draw, want none", n)
	}
}

func BenchmarkTimelineConstant(b *testing.B) {
	l := timeline(b, herald.Always(herald.Ideal{Probability: 2.18e-4, Fidelity: 1, PeriodNS: 1}))
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		l.Next(rng, epoch, physical.Pattern{})
	}
}

// A pass of 600 segments, about one success in each.
func BenchmarkTimelinePass(b *testing.B) {
	steps := make([]step, 600)
	for i := range steps {
		steps[i] = step{int64(i) * 1e9, 1e-9}
	}
	l := timeline(b, schedule(steps, 1))
	rng := rand.New(rand.NewPCG(1, 1))
	cycle := uint64(epoch)
	b.ReportAllocs()
	for b.Loop() {
		var ok bool
		if cycle, ok = l.Next(rng, cycle+1, physical.Pattern{}); !ok || cycle > epoch+600e9 {
			cycle = epoch
		}
	}
}
