package herald_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// A link that is amended again and again, at random instants by random schedules,
// has in each cycle the probability that was announced last before it.
func TestTimelineAmend(t *testing.T) {
	const cycles, period = 400, 10
	rng := rand.New(rand.NewPCG(11, 11))
	for range 300 {
		random := func(from int64) (steps []step) {
			for range 1 + rng.IntN(5) {
				steps = append(steps, step{from, float64(rng.IntN(3)) / 2})
				from += 1 + rng.Int64N(900)
			}
			return steps
		}
		steps := random(0)
		steps[rng.IntN(len(steps))].p = 0.5
		l := timeline(t, schedule(steps, period))
		var want [cycles]float64
		for n := range want {
			_, want[n] = at(steps, n, period)
		}
		for now := int64(0); now < cycles*period; now += 1 + rng.Int64N(500) {
			steps := random(rng.Int64N(2 * cycles * period)) // from the past, or the future
			first, err := l.Amend(qnet.Time(now), schedule(steps, period))
			if err != nil {
				t.Fatal(err)
			}
			begins := max(now, steps[0].from)
			if at := l.Cycles().From(qnet.Time(begins)); first != at {
				t.Fatalf("at %d, from %d on: cycle %d is the first that changed, want %d", now, steps[0].from, first, at)
			}
			for n := range want {
				if int64(n*period) >= begins {
					_, want[n] = at(steps, n, period)
				}
			}
		}
		for n, p := range want {
			c := epoch + uint64(n)
			s, last := l.Span(c)
			if got, ok := l.Next(rng, c, physical.Pattern{}); (ok && got == c) && p == 0 || p == 1 && got != c || (s == nil) != (p == 0) {
				t.Fatalf("cycle %d: success in %d, sampler %v, want probability %g", n, got-epoch, s, p)
			}
			for _, other := range []uint64{c, min(last, c+50), last} {
				if o, l := l.Span(other); o != s || l != last {
					t.Fatalf("cycle %d, of the segment of %d until %d, has another", other-epoch, n, last-epoch)
				}
			}
			if k := l.Segment(c); k >= 0 && l.Sampler(k) != s || k < 0 && s != nil {
				t.Fatalf("cycle %d: the sampler of segment %d is another", n, k)
			}
			if o, _ := l.Span(last + 1); o == s && s != nil && last < epoch+math.MaxInt64 {
				t.Fatalf("the segment of cycle %d goes on after %d", n, last-epoch)
			}
		}
	}
}

// Amended once a second for a day, a link remembers the last minute.
func TestTimelineForgets(t *testing.T) {
	l := timeline(t, schedule([]step{{0, 1}}, 1e6))
	for s := int64(1); s <= 86400; s++ {
		if _, err := l.Amend(qnet.Time(s)*1e9, schedule([]step{{0, float64(s % 2)}, {s*1e9 + 1e9, 0}}, 1e6)); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.Segments(); n > 100 {
		t.Errorf("%d segments", n)
	}
	for s := uint64(86400 - 59); s <= 86400; s++ {
		if x, _ := l.Span(epoch + 1000*s); (x != nil) != (s%2 == 1) {
			t.Errorf("second %d has sampler %v", s, x)
		}
	}
}

func TestTimelineImmediate(t *testing.T) {
	kept := herald.Ideal{Probability: 0.5, Fidelity: 1, PeriodNS: 10}
	source := herald.PairSource{MeanPairs: 0.01, EtaA: 0.1, EtaB: 0.1, Visibility: 1, PeriodNS: 10}
	many := herald.Multiplexed{Model: source, Modes: 5}
	if herald.IsImmediate(herald.Multiplexed{Model: kept, Modes: 5}) || !herald.IsImmediate(many) || !herald.IsImmediate(herald.Multiplexed{Model: many, Modes: 2}) {
		t.Error("a multiplexed model is immediate, and its own is not, or the reverse")
	}
	memories, light := timeline(t, herald.Schedule{{}, {From: 5, Model: kept}}), timeline(t, herald.Schedule{{}, {From: 5, Model: source}, {From: 9, Model: many}})
	if memories.Immediate() || !light.Immediate() {
		t.Error("which timeline is immediate?")
	}
	const can, can0 = "schedule: segment 1: its pairs can be kept and those of the rest of the link can not", "schedule: segment 1: its pairs can not be kept and those of the rest of the link can"
	qnettest.WantErr(t, herald.Schedule{{Model: kept}, {From: 1, Model: many}}.Validate(), qnet.ErrInvalid, can0)
	qnettest.WantErr(t, light.Replace(herald.Schedule{{}, {From: 1, Model: kept}}), qnet.ErrInvalid, can)
	_, err := memories.Amend(0, herald.Schedule{{}, {From: 1, Model: source}})
	qnettest.WantErr(t, err, qnet.ErrInvalid, can0)
	if _, err := light.Amend(7, herald.Always(source)); err != nil {
		t.Error(err)
	}
}
