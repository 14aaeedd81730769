package workload

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"qstack/node/scenario"
)

// TestLinkIsAQueue: a link that measures single pairs in cycles of 10.12 us,
// each attempt with a probability of 8.15e-5, is M/M/1 but for the time in which
// requests are agreed on and answered: latencies are 1/(μ−λ), within 6.5 standard
// errors of 30 runs (Student's t, two-sided 4e-7) and 5 ms for what is agreed.
func TestLinkIsAQueue(t *testing.T) {
	text := strings.ReplaceAll(presetWorkload, "PRESET", "nv-ql2020")
	text = strings.Replace(text, "load = 0.1", "load = 0.7", 1)
	text = strings.Replace(text, "[workload]", "[link]\nscheduler = \"fcfs\"\n[workload]", 1)
	s := parse(t, text)
	s.Workload.Horizon, s.Workload.Warmup = 1000*time.Second, 20*time.Second
	rs, err := RunSeeds(context.Background(), s, 30, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mu := rs[0].Types[0].Saturation
	if math.Abs(mu-8.05) > 0.005 {
		t.Errorf("saturation %g pairs per second, want 8.05", mu)
	}
	sum := Summarise(rs)
	for _, x := range []struct {
		figure      string
		want, extra float64
	}{{FigureLatency, 1 / (mu - 0.7*mu), 0.005}, {FigureThroughput, 0.7 * mu, 0}} {
		r, ok := sum.Row("MD", OriginBoth, x.figure)
		if !ok || r.StdErr > 0.03*x.want || math.Abs(r.Mean-x.want) > sure*r.StdErr+x.extra {
			t.Errorf("%s is %g ± %g, want %g", x.figure, r.Mean, r.StdErr, x.want)
		}
	}
	if sum.Errors != nil {
		t.Error(sum.Errors)
	}
}

// BenchmarkRun: how many emulated seconds of a link measuring at a load of 0.7 pass
// in one by the wall clock.
func BenchmarkRun(b *testing.B) {
	text := strings.ReplaceAll(presetWorkload, "PRESET", "nv-ql2020")
	s := parse(b, strings.Replace(text, "load = 0.1", "load = 0.7", 1))
	s.Workload.Horizon, s.Workload.Types[0].PairsMax = 1000*time.Second, 3
	benchmark(b, s)
}

// campaign is QL2020 asked for measured pairs, as the simulations of Dahlberg et
// al., SIGCOMM (2019), ask.
const campaign = `version = 1
network.name = "campaign"
hardware.nv = { preset = "nv-ql2020" }
heralding.nv = { preset = "nv-ql2020", alphas = [0.05, 0.1, 0.3] }
nodes = [{ name = "alice", hardware = "nv" }, { name = "bob", hardware = "nv" }]
links = [{ nodes = ["alice", "bob"], heralding = "nv" }]
link = { scheduler = "fcfs", queue_limit = 16384, compat = { estimator = "heralding-only" } }
[workload]
load = 0.7
horizon = "1000 s"
[[workload.type]]
name = "MD"
type = "measure"
min_fidelity = 0.8
pairs = PAIRS
`

// BenchmarkQL2020MD: the same with the settings of the campaign of Dahlberg et al.,
// for requests of its three sizes.
func BenchmarkQL2020MD(b *testing.B) {
	for _, pairs := range []string{"1..1", "1..3", "1..255"} {
		b.Run(pairs, func(b *testing.B) {
			benchmark(b, parse(b, strings.Replace(campaign, "PAIRS", `"`+pairs+`"`, 1)))
		})
	}
}

func benchmark(b *testing.B, s *scenario.Scenario) {
	b.ReportAllocs()
	emulated, requests, events := 0.0, 0.0, 0.0
	for b.Loop() {
		r, err := Run(context.Background(), s, Options{})
		if err != nil {
			b.Fatal(err)
		}
		emulated += r.SimulatedS
		requests += float64(r.All.Both.Requests)
		events += float64(r.Events)
	}
	b.ReportMetric(emulated/b.Elapsed().Seconds(), "emulated-s/s")
	b.ReportMetric(requests/emulated, "requests/emulated-s")
	b.ReportMetric(events/requests, "events/request")
}
