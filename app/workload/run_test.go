package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/node/scenario"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// idealLink is a link of perfect nodes that makes 100 pairs per second of fidelity
// 0.9, as other packages test with too.
func idealLink(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("../../node/scenario/testdata/link.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ideal asks it for pairs of two types.
func ideal(t testing.TB) string { return idealLink(t) + idealWorkload }

const idealWorkload = `[workload]
load = 0.2
horizon = "200 s"
warmup = "10 s"
[[workload.type]]
name = "MD"
type = "measure"
pairs = "1..3"
[[workload.type]]
name = "CK"
type = "keep"
share = 3
`

func run(t *testing.T, s *scenario.Scenario, o Options) *Result {
	t.Helper()
	r, err := Run(context.Background(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestLink: two link layers and a station do what is asked of them, and the
// figures are those of the model. 5 standard errors are of what is expected.
func TestLink(t *testing.T) {
	s := parse(t, ideal(t))
	r := run(t, s, Options{})
	if r.SimulatedS != 190 || r.WarmupS != 10 || len(r.Types) != 2 || len(r.Errors) > 0 || r.Unmatched > 1 {
		t.Errorf("got %+v", r)
	}
	all := r.All.Both
	if all.Requests != all.Completed+all.Open || all.Open > 20 || len(all.Failed) > 0 {
		t.Errorf("requests: %+v", all)
	}
	// 5 pairs per second to measure and 15 to keep. The variance of the pairs that
	// Poisson's requests ask for is their mean times mean(k²)/mean(k), 2 for 1 to 3.
	for i, want := range []struct{ rate, spread float64 }{{5, 2}, {15, 1}} {
		f := r.Types[i].Both
		if se := math.Sqrt(want.rate * 190 * want.spread); math.Abs(float64(f.Pairs)-want.rate*190) > 5*se || math.Abs(float64(f.Asked)-want.rate*190) > 5*se {
			t.Errorf("%s: %d pairs of %d asked for, want %g", r.Types[i].Name, f.Pairs, f.Asked, want.rate*190)
		}
		if math.Abs(r.Types[i].Offered-want.rate) > 1e-9 || math.Abs(r.Types[i].Saturation-100) > 1e-9 {
			t.Errorf("%s: %+v", r.Types[i].Name, r.Types[i])
		}
	}
	// Werner pairs of fidelity 0.9 that do not decay are wrong in 2/3 of 0.1 of the
	// bits, in any basis.
	o := r.Types[0].Both.Outcomes
	for _, q := range []Estimate{o.X, o.Y, o.Z} {
		if p := 0.2 / 3; q.N < 50 || math.Abs(q.Mean-p) > 5*math.Sqrt(p*(1-p)/float64(q.N)) {
			t.Errorf("outcomes: %+v", o)
		}
	}
	if f := r.Types[1].Both.Oracle; f.N != r.Types[1].Both.Pairs || math.Abs(f.Mean-0.9) > 1e-9 {
		t.Errorf("oracle: %+v of %d pairs", f, r.Types[1].Both.Pairs)
	}
	if f := r.Frames; f["Add"] < all.Requests || f["AddAck"] != f["Add"] || f["Gen"] == 0 || f["LinkExpire"] != 0 || r.Lost != nil {
		t.Errorf("frames: %v", f)
	}
	// The same seed gives the same result, another one another.
	again, other := run(t, s, Options{}), run(t, s, Options{Seed: 2})
	again.WallS, r.WallS = 0, 0
	if !reflect.DeepEqual(again, r) {
		t.Error("the same seed gives another result")
	}
	if other.Seed != 2 || other.All.Both.Requests == all.Requests && other.Events == r.Events {
		t.Error("another seed gives the same result")
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(&back, r) {
		t.Errorf("as JSON and back the result is another: %v", err)
	}
}

// TestWithoutAnswers: with every ADD_ACK lost nothing is delivered.
func TestWithoutAnswers(t *testing.T) {
	s := parse(t, ideal(t))
	r := run(t, s, Options{Horizon: 60 * time.Second, Filter: func(_, _ qnet.NodeID, _ control.Class, typ wire.Type, _ []byte) control.Verdict {
		if typ == (*link.AddAck)(nil).Type() {
			return control.Verdict{Action: control.Drop}
		}
		return control.Verdict{}
	}})
	if f := r.All.Both; f.Requests == 0 || f.Pairs != 0 || f.Completed != 0 || f.Throughput.Mean != 0 {
		t.Errorf("got %+v", f)
	}
	if r.Lost["AddAck"] != r.Frames["AddAck"] || r.Frames["AddAck"] == 0 {
		t.Errorf("frames %v, lost %v", r.Frames, r.Lost)
	}
}

// TestSeeds: runs in parallel are those that run alone.
func TestSeeds(t *testing.T) {
	s := parse(t, ideal(t))
	s.Workload.Horizon, s.Workload.Seeds = 20*time.Second, 5
	s.Seed = 3
	var last [2]time.Duration
	rs, err := RunSeeds(context.Background(), s, 0, 2, Options{Progress: func(done, total time.Duration) {
		if done < last[0] || total != 20*time.Second {
			t.Errorf("%v of %v after %v", done, total, last[0])
		}
		last = [2]time.Duration{done, total}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(rs) != 5 || last[0] < 20*time.Second-10 {
		t.Errorf("%d results, progress to %v", len(rs), last[0])
	}
	for i, r := range rs {
		one := run(t, s, Options{Seed: uint64(3 + i)})
		one.WallS, r.WallS = 0, 0
		if !reflect.DeepEqual(one, r) {
			t.Errorf("seed %d gives another result alone", 3+i)
		}
	}
	s.Seed = 0 // is a seed as any other
	if rs, err := RunSeeds(context.Background(), s, 2, 0, Options{}); err != nil || rs[0].Seed != 0 || rs[1].Seed != 1 {
		t.Errorf("seed 0: %v", err)
	}
}

func TestRunErrors(t *testing.T) {
	s := parse(t, ideal(t))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := RunSeeds(ctx, s, 3, 0, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := Run(ctx, s, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := RunSeeds(context.Background(), s, -1, 0, Options{}); !errors.Is(err, qnet.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	filter := func(qnet.NodeID, qnet.NodeID, control.Class, wire.Type, []byte) control.Verdict {
		return control.Verdict{}
	}
	if _, err := RunSeeds(context.Background(), s, 2, 0, Options{Filter: filter}); !errors.Is(err, qnet.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	for _, x := range []struct {
		old, new string
		code     qnet.Code
		want     string
	}{
		{`type = "keep"`, `type = "keep"` + "\nmin_fidelity = 0.95", qnet.ErrFidelity, "workload.type[1].min_fidelity: requests of type CK: link alice-bob: fidelity 0.95 is beyond reach of kept pairs: the best is 0.9000"},
		{`type = "keep"`, `type = "keep"` + "\nstore = true", qnet.ErrUnsupported, "workload.type[1].store: requests of type CK: link alice-bob: pairs are to be stored, and end A has no storage qubits"},
		{`load = 0.2`, `load = 900`, qnet.OK, ""},
		{"probability = 0.001", "probability = 1", qnet.OK, ""},
	} {
		text := strings.Replace(ideal(t), x.old, x.new, 1)
		_, err := Run(context.Background(), parse(t, text), Options{Horizon: time.Millisecond})
		if !errors.Is(err, x.code) && x.code != qnet.OK || (err == nil) != (x.code == qnet.OK) || err != nil && err.Error() != x.want {
			t.Errorf("%s: got %v, want %s", x.new, err, x.want)
		}
	}
	// More than a request per cycle.
	text := strings.Replace(strings.Replace(ideal(t), "probability = 0.001", "probability = 1", 1), "load = 0.2", "load = 9", 1)
	if _, err := Run(context.Background(), parse(t, text), Options{Horizon: time.Millisecond}); !errors.Is(err, qnet.ErrInvalid) || !strings.HasPrefix(err.Error(), "workload.load: requests of type") {
		t.Errorf("got %v", err)
	}
	// A warm-up that does not fit a shorter horizon shrinks.
	if r := run(t, s, Options{Horizon: 2 * time.Second}); math.Abs(r.WarmupS-0.1) > 1e-9 || math.Abs(r.SimulatedS-1.9) > 1e-9 {
		t.Errorf("%g s of warm-up, %g s", r.WarmupS, r.SimulatedS)
	}
	s.Workload = nil
	if _, err := RunSeeds(context.Background(), s, 1, 0, Options{}); !errors.Is(err, qnet.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// TestLoss: with one frame in a hundred lost, requests go on or end, and nothing
// that must not happen does.
func TestLoss(t *testing.T) {
	s := parse(t, strings.Replace(ideal(t), "load = 0.2", "load = 0.05\nloss = 0.01\ndeadline = \"20 s\"", 1))
	r := run(t, s, Options{})
	var failed uint64
	for _, n := range r.All.Both.Failed {
		failed += n
	}
	if f := r.All.Both; f.Requests != f.Completed+f.Open+failed || f.Completed < f.Requests/2 {
		t.Errorf("got %+v", f)
	}
	var sent, lost uint64
	for name, n := range r.Frames {
		sent += n
		lost += r.Lost[name]
	}
	if mean := 0.01 * float64(sent); math.Abs(float64(lost)-mean) > 5*math.Sqrt(mean)+1 {
		t.Errorf("%d frames of %d lost", lost, sent)
	}
	if len(r.Errors) > 0 {
		t.Error(strings.Join(r.Errors, "\n"))
	}
}

// TestLoadCountsAllLanes: a load is the part of what all lanes together can serve, so
// that half of it is served, and one and a half times of it is not. Requests are
// Poisson's: 5 standard errors of their number.
func TestLoadCountsAllLanes(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		for _, load := range []float64{0.5, 1.5} {
			text := strings.Replace(idealLink(t), `heralding = "h" }`, fmt.Sprintf(`heralding = "h", lanes = %d }`, lanes), 1)
			s := parse(t, text+fmt.Sprintf("[workload]\nload = %g\nhorizon = \"40 s\"\n[[workload.type]]\nname = \"CK\"\ntype = \"keep\"\n", load))
			r := run(t, s, Options{})
			offered := 100 * float64(lanes) * load
			if got := r.All.Offered; math.Abs(got/offered-1) > 1e-9 {
				t.Errorf("%d lanes, load %g: offered %g, want %g", lanes, load, got, offered)
			}
			want := 40 * offered
			if n := float64(r.All.Both.Requests); math.Abs(n-want) > 5*math.Sqrt(want) {
				t.Errorf("%d lanes, load %g: %g requests, want %g", lanes, load, n, want)
			}
			if n := float64(r.All.Both.Completed); load < 1 && n < 0.9*want || load > 1 && n > 0.8*want {
				t.Errorf("%d lanes, load %g: %g of %g requests are complete", lanes, load, n, want)
			}
		}
	}
}

// TestPairsAreThoseAskedFor: the pairs that count are those of the requests, whichever
// end measures first, and however many are void.
func TestPairsAreThoseAskedFor(t *testing.T) {
	const text = `version = 1
network = { name = "slow", seed = 3 }
hardware.slow = { readout = "1500 us" }
hardware.fast = { readout = "10 us" }
heralding.h = { model = "ideal", attempt_rate = "10 kHz", probability = 0.1, fidelity = 0.9 }
nodes = [{ name = "alice", hardware = "slow" }, { name = "bob", hardware = "fast" }]
links = [{ nodes = ["alice", "bob"], heralding = "h", length = "2 km" }]
[workload]
load = 0.2
horizon = "60 s"
origin = "ORIGIN"
loss = LOSS
[[workload.type]]
name = "X"
type = "TYPE"
pairs = 2
`
	for _, origin := range []string{"A", "B", "both"} {
		for _, typ := range []string{"measure", "keep"} {
			for _, loss := range []string{"0", "0.1"} {
				r := run(t, parse(t, strings.NewReplacer("ORIGIN", origin, "TYPE", typ, "LOSS", loss).Replace(text)), Options{})
				x := r.Types[0].Both
				if n, most := x.Pairs, 2*(x.Completed+x.Open); n < 2*x.Completed || n > most || x.Completed < 1000 {
					t.Errorf("%s from %s, loss %s: %d pairs of %d requests completed and %d open", typ, origin, loss, n, x.Completed, x.Open)
				}
				if got, want := x.Throughput.Mean, float64(x.Pairs)/60; math.Abs(got-want) > 1e-9*want {
					t.Errorf("%s from %s, loss %s: throughput %g, want %g", typ, origin, loss, got, want)
				}
			}
		}
	}
}
