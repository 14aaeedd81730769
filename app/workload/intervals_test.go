package workload

import (
	"math"
	"testing"
	"time"

	"qstack/node/scenario"
)

// TestIntervals: of a link that makes 0.475 pairs a second, as QL2020 makes stored ones,
// 95 % intervals of figures that depend on its queue have the mean over all runs in them
// as often as they say, or there is none. The horizon is that of the campaign of Dahlberg
// et al. (2019); at a load of 0.99 the queue grows for as long as that. By Student's t of 5
// runs, of 1,000 intervals of throughput less than 900 are right with a probability below
// 1e-8. It needs means that are normal; those of times in a long queue are not, and their
// intervals are right with 88 %, as 4,000 of a simulation apart were: less than 820 of
// 1,000 are with a probability below 1e-7. With errors from within one run, by batches of
// neighbours, they were right with 23 to 64 %.
func TestIntervals(t *testing.T) {
	const runs = 1000 * FewRuns
	figures := []struct {
		name  string
		least int // of 1,000
	}{{FigureThroughput, 900}, {FigureLatency, 820}, {FigureScaled, 820}, {FigureQueue, 820}}
	judged := func(typ, origin string) bool { return typ == "MD" && origin == OriginBoth || typ == "" }
	for _, load := range []float64{0.7, 0.9, 0.99} {
		w := &scenario.Workload{Load: load, Horizon: 2130 * time.Second, Warmup: 30 * time.Second, Seeds: 1, OriginA: 0.5, ReportEvery: time.Second,
			Types: []scenario.WorkloadType{{Name: "MD", Type: scenario.MeasurePairs, Share: 1, PairsMin: 1, PairsMax: 3}}}
		rs := make([]*Result, runs)
		truth := make(map[string]*moments)
		for _, f := range figures {
			truth[f.name] = new(moments)
		}
		for i := range rs {
			s, c := newServer(t, w, 0.475, uint64(i))
			rs[i] = s.run(t, c)
			for _, f := range rs[i].figures() {
				if m := truth[f.name]; m != nil && judged(f.typ, f.origin) {
					m.add(f.Mean)
				}
			}
		}
		for _, together := range []int{1, 2, 4, FewRuns} {
			given, right := make(map[string]int), make(map[string]int)
			for i := 0; i < 1000*together; i += together {
				s := Summarise(rs[i : i+together])
				for _, r := range s.Rows {
					if m := truth[r.Figure]; m != nil && judged(r.Type, r.Origin) && r.High > r.Low {
						given[r.Figure]++
						if math.Abs(m.mean-r.Mean) <= r.High-r.Mean {
							right[r.Figure]++
						}
					}
				}
			}
			for _, f := range figures {
				if n := given[f.name]; 1000*right[f.name] < f.least*n || together == FewRuns && n < 1000 {
					t.Errorf("load %g, intervals of %d runs: %d of %d have the mean %s in them", load, together, right[f.name], n, f.name)
				}
			}
		}
	}
}
