package herald_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/qnet/qnettest"
)

// attempted returns, cycle by cycle from the epoch on, whether a pattern has an
// attempt, as the words of physical.Pattern say.
func attempted(p physical.Pattern, cycles int) []bool {
	has := make([]bool, cycles)
	stride, begin, begun := max(p.Stride, 1), uint64(0), false
	c := p.First
	if p.Every == 0 {
		c = max(c, epoch) // those before are of no account
	}
	for ; c < epoch+uint64(cycles); c++ {
		if c%stride != 0 {
			continue
		}
		if !begun || p.Every > 0 && c >= begin+p.Every+p.Pause {
			begin, begun = c, true
		}
		if c >= epoch {
			has[c-epoch] = p.Every == 0 || c < begin+p.Every
		}
	}
	return has
}

// What is drawn among the attempts of a pattern has the distribution of making
// them one by one, across the borders of segments. False alarms below 1e-6 each.
func TestPatternEqualsAttempts(t *testing.T) {
	const draws, cycles = 25_000, 150
	segments := map[string][]step{
		"constant":   {{0, 0.07}},
		"borders":    {{0, 0.05}, {101, 0.3}, {210, 0.01}, {260, 0}, {500, 0.15}},
		"contact":    {{200, 0.1}, {300, 0}, {600, 0.2}, {1300, 0}},
		"sure, once": {{0, 0.05}, {600, 1}, {680, 0.1}},
	}
	for i, p := range []physical.Pattern{
		{Stride: 1},
		{Stride: 3},
		{First: epoch + 20, Stride: 7},
		{First: epoch - 5, Every: 10, Pause: 4},
		{First: epoch - 100, Stride: 5, Every: 23, Pause: 11},
		{First: epoch + 31, Stride: 4, Every: 1, Pause: 1},
	} {
		for name, steps := range segments {
			for _, start := range []int{0, 33} {
				t.Run(fmt.Sprintf("%s/%d/%d", name, i, start), func(t *testing.T) {
					l := timeline(t, schedule(steps, 10))
					rng := rand.New(rand.NewPCG(10, uint64(start)))
					ref := rand.New(rand.NewPCG(11, uint64(start)))
					has := attempted(p, cycles)
					looped, drawn := make([]int, cycles+1), make([]int, cycles+1)
					want, none := make([]float64, cycles+1), 1.0
					var success [cycles]float64
					for n := start; n < cycles; n++ {
						if has[n] {
							_, success[n] = at(steps, n, 10)
						}
						want[n] = none * success[n]
						none *= 1 - success[n]
					}
					want[cycles] = none // later, or never
					for range draws {
						n := start
						for n < cycles && ref.Float64() >= success[n] {
							n++
						}
						looped[n]++
						cycle, ok := l.Next(rng, epoch+uint64(start), p)
						if !ok && steps[len(steps)-1].p > 0 {
							t.Fatal("no success for ever, on a link that is in contact")
						}
						if !ok || cycle >= epoch+cycles {
							drawn[cycles]++
						} else {
							drawn[cycle-epoch]++
						}
					}
					qnettest.Fit(t, "attempts made", looped, want)
					qnettest.Fit(t, "attempts skipped", drawn, want)
				})
			}
		}
	}
}

// Where every attempt succeeds, the success is the first attempt there is.
func TestPatternSure(t *testing.T) {
	const cycles = 400
	rng := rand.New(rand.NewPCG(12, 12))
	l := timeline(t, schedule([]step{{0, 1}, {1000, 0}, {1500, 1}}, 10)) // not in cycles 100 to 149
	for range 3000 {
		p := physical.Pattern{First: epoch - 60 + rng.Uint64N(200), Stride: rng.Uint64N(9), Every: rng.Uint64N(50), Pause: rng.Uint64N(30)}
		has := attempted(p, cycles)
		from := rng.IntN(200)
		want := from
		for !has[want] || want >= 100 && want < 150 {
			want++
		}
		if c, ok := l.Next(rng, epoch+uint64(from), p); !ok || c != epoch+uint64(want) {
			t.Fatalf("%+v from cycle %d: %d, %v, want %d", p, from, c-epoch, ok, want)
		}
	}
	for _, p := range []physical.Pattern{
		{First: math.MaxUint64}, {Stride: math.MaxUint64}, {Stride: 1 << 63, Every: 1, Pause: math.MaxUint64},
		{First: epoch, Every: 1, Pause: math.MaxUint64}, {First: 1, Every: math.MaxUint64, Pause: math.MaxUint64},
	} {
		first, sure := l.Next(rng, 0, p) // whatever it is, it is of the pattern
		if sure && !p.Has(first) {
			t.Errorf("%+v: cycle %d is not in the pattern", p, first)
		}
		if c, ok := l.Next(rng, math.MaxUint64, p); ok {
			t.Errorf("%+v: success in cycle %d, which has no instant", p, c)
		}
	}
}

// The estimator of heralding alone is known of what it is for, modes included.
func TestOnlyHeralding(t *testing.T) {
	m := herald.SingleClick{AlphaA: 0.1, AlphaB: 0.1, EtaA: 0.001, EtaB: 0.001, Visibility: 0.9, DarkCount: 1e-6, PhaseStdA: 0.2, PeriodNS: 1000}
	only := herald.HeraldingOnly{SingleClick: m}
	if got := herald.OnlyHeralding(m); got != herald.Model(only) {
		t.Errorf("%+v", got)
	}
	if got := herald.OnlyHeralding(herald.Multiplexed{Model: m, Modes: 3}); got != herald.Model(herald.Multiplexed{Model: only, Modes: 3}) {
		t.Errorf("%+v", got)
	}
	ideal := herald.Ideal{Probability: 0.5, Fidelity: 1, PeriodNS: 1}
	if got := herald.OnlyHeralding(ideal); got != herald.Model(ideal) {
		t.Errorf("%+v", got)
	}
}

func BenchmarkTimelinePattern(b *testing.B) {
	l := timeline(b, herald.Always(herald.Ideal{Probability: 2.18e-4, Fidelity: 1, PeriodNS: 1}))
	rng := rand.New(rand.NewPCG(1, 1))
	p := physical.Pattern{Stride: 15, Every: 345, Pause: 31}
	b.ReportAllocs()
	for b.Loop() {
		l.Next(rng, epoch, p)
	}
}
