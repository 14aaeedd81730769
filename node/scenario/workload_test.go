package scenario_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"qstack/node/scenario"
	"qstack/qnet"
)

// workload is a scenario with every key of a workload; the lines are numbered by
// the tests of errors below.
const workload = `version = 1
network.name = "w"
hardware.none = {}
heralding.h = { model = "ideal", attempt_rate = "100 kHz", probability = 0.001, fidelity = 0.9 }
nodes = [{ name = "alice", hardware = "none" }, { name = "bob", hardware = "none" }]
links = [{ nodes = ["alice", "bob"], length = "2 m", heralding = "h" }]
[link]
scheduler = "wfq"
weights = [1, 10.5, 0]
queue_limit = 256
test_rounds = 0.25
[link.compat]
estimator = "heralding-only"
scheduler = "reference"
expire = "request"
retransmit = "reference"
loss = "per-attempt"
[workload]
link = "alice-bob"
load = 0.7
horizon = "2130 s"
warmup = "30 s"
seeds = 30
origin = 0.25
loss = { link = 1e-4, station = 1e-5 }
consume = "held 10 ms"
arrivals = "poisson"
deadline = "20 s"
report_every = "2 s"
fidelity_samples = 0.1
[[workload.type]]
name = "NL"
type = "keep"
share = 2
pairs = 2
min_fidelity = 0.8
priority = 2
atomic = true
store = true
consecutive = true
deadline = "10 s"
[[workload.type]]
name = "MD"
type = "measure"
pairs = "1..255"
min_fidelity = "highest"
[[workload.type]]
name = "RSP"
type = "prepare"
deadline = "none"
[report]
figures = ["latency", "queue"]
`

func TestWorkload(t *testing.T) {
	s, err := scenario.Parse("w.toml", []byte(workload))
	if err != nil {
		t.Fatal(err)
	}
	settings := scenario.LinkSettings{Scheduler: scenario.WFQ, Weights: []float64{1, 10.5, 0}, QueueLimit: 256, TestRounds: 0.25,
		Compat: scenario.Compat{HeraldingOnly: true, EqualIncrement: true, ExpireRequest: true, NoRepeat: true, LossPerAttempt: true}}
	if !reflect.DeepEqual(s.LinkSettings, settings) {
		t.Errorf("got  %+v\nwant %+v", s.LinkSettings, settings)
	}
	want := &scenario.Workload{Load: 0.7, Horizon: 2130 * time.Second, Warmup: 30 * time.Second, Seeds: 30, OriginA: 0.25,
		LossLink: 1e-4, LossStation: 1e-5, Hold: 10 * time.Millisecond, Poisson: true, Deadline: 20 * time.Second,
		ReportEvery: 2 * time.Second, FidelitySamples: 0.1, Figures: []string{"latency", "queue"},
		Types: []scenario.WorkloadType{
			{Name: "NL", Type: scenario.KeepPairs, Share: 2, PairsMin: 2, PairsMax: 2, MinFidelity: 0.8, Priority: 2,
				Atomic: true, Store: true, Consecutive: true, Deadline: 10 * time.Second},
			{Name: "MD", Type: scenario.MeasurePairs, Share: 1, PairsMin: 1, PairsMax: 255, Highest: true, Deadline: 20 * time.Second},
			{Name: "RSP", Type: scenario.PreparePairs, Share: 1, PairsMin: 1, PairsMax: 1},
		}}
	if !reflect.DeepEqual(s.Workload, want) {
		t.Errorf("got  %+v\nwant %+v", s.Workload, want)
	}
}

// TestWorkloadDefaults: what is left out is what the package says.
func TestWorkloadDefaults(t *testing.T) {
	head, _, _ := strings.Cut(workload, "[link]")
	s, err := scenario.Parse("w.toml", []byte(head+"[workload]\nload = 1\n[[workload.type]]\nname = \"a\"\ntype = \"measure\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := &scenario.Workload{Load: 1, Horizon: 1000 * time.Second, Seeds: 1, OriginA: 0.5, ReportEvery: time.Second, FidelitySamples: 1,
		Types: []scenario.WorkloadType{{Name: "a", Type: scenario.MeasurePairs, Share: 1, PairsMin: 1, PairsMax: 1}}}
	if !reflect.DeepEqual(s.Workload, want) || !reflect.DeepEqual(s.LinkSettings, scenario.LinkSettings{}) {
		t.Errorf("got  %+v, %+v\nwant %+v", s.Workload, s.LinkSettings, want)
	}
	for text, origin := range map[string]float64{`"A"`: 1, `"B"`: 0, `"both"`: 0.5, `0`: 0, `1`: 1} {
		other := strings.Replace(workload, "origin = 0.25", "origin = "+text, 1)
		if s, err := scenario.Parse("", []byte(other)); err != nil || s.Workload.OriginA != origin {
			t.Errorf("origin %s: %v", text, err)
		}
	}
	other := strings.Replace(workload, "loss = { link = 1e-4, station = 1e-5 }", "loss = 0.125", 1)
	if s, err := scenario.Parse("", []byte(other)); err != nil || s.Workload.LossLink != 0.125 || s.Workload.LossStation != 0.125 {
		t.Errorf("loss of both: %v", err)
	}
	slots := strings.Replace(workload, "weights = [1, 10.5, 0]", `slot = "10 ms"`+"\nturns = [1, 0]", 1)
	slots = strings.Replace(strings.Replace(slots, `"wfq"`, `"slots"`, 1), `scheduler = "reference"`, `scheduler = "repaired"`, 1)
	if s, err := scenario.Parse("", []byte(slots)); err != nil || s.LinkSettings.Slot != 10*time.Millisecond || !reflect.DeepEqual(s.LinkSettings.Turns, []uint8{1, 0}) {
		t.Errorf("slots: %v", err)
	}
}

func TestWorkloadErrors(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{`"wfq"`, `"lottery"`, `w.toml:8:13: link.scheduler: "lottery": unknown: want "strict", "fcfs", "wfq", "edf" or "slots"`},
		{`"wfq"`, `"fcfs"`, "w.toml:9:1: link.weights: only scheduler = \"wfq\" has weights\nw.toml:14:13: link.compat.scheduler: \"reference\": only scheduler = \"wfq\" has increments"},
		{`weights = [1, 10.5, 0]`, ``, `w.toml:7:2: link.weights: want a weight for each priority, the lowest first, as in [1, 10, 0]`},
		{`10.5`, `-1`, `w.toml:9:15: link.weights[1]: -1: must be from 1e-6 to 1e6, or 0 for served first`},
		{`10.5`, `"1"`, `w.toml:9:15: link.weights[1]: "1": want a number, not a string`},
		{`[1, 10.5, 0]`, `1`, "w.toml:9:11: link.weights: 1: want an array in [ ], not an integer"},
		{`queue_limit = 256`, `queue_limit = 0`, `w.toml:10:15: link.queue_limit: 0: must be from 1 to 1048576`},
		{`queue_limit = 256`, `queue = 256`, `w.toml:10:1: link.queue: unknown key; the keys here are scheduler, weights, slot, turns, queue_limit, test_rounds, compat`},
		{`test_rounds = 0.25`, `test_rounds = 1`, `w.toml:11:15: link.test_rounds: 1: must be from 0 to below 1`},
		{`test_rounds = 0.25`, `slot = "1 ms"`, `w.toml:11:8: link.slot: "1 ms": scheduler = "slots", and no other, wants the length of a slot, as in slot = "10 ms"`},
		{`test_rounds = 0.25`, `turns = [9]`, `w.toml:11:10: link.turns[0]: 9: want a priority from 0 to 7`},
		{`estimator = "heralding-only"`, `estimator = "liar"`, `w.toml:13:13: link.compat.estimator: "liar": unknown: want "honest" or "heralding-only"`},
		{`expire = "request"`, `expires = "request"`, `w.toml:15:1: link.compat.expires: unknown key; the keys here are estimator, scheduler, expire, retransmit, loss`},
		{`link = "alice-bob"`, `link = "x"`, `w.toml:19:8: workload.link: "x": no link has this name; there are alice-bob`},
		{`load = 0.7`, ``, `w.toml:18:2: workload.load: missing: want what is asked for over what the hardware can serve, as in load = 0.7`},
		{`load = 0.7`, `load = 0`, `w.toml:20:8: workload.load: 0: must be above 0 and at most 1000`},
		{`horizon = "2130 s"`, `horizon = "10001 h"`, `w.toml:21:11: workload.horizon: "10001 h": must be from 0 to 10000 h`},
		{`horizon = "2130 s"`, `horizon = "30 s"`, `w.toml:22:10: workload.warmup: "30 s": must be from 0 to below the horizon, of which it is a part`},
		{`seeds = 30`, `seeds = 0`, `w.toml:23:9: workload.seeds: 0: must be from 1 to 1000000`},
		{`origin = 0.25`, `origin = "C"`, `w.toml:24:10: workload.origin: "C": want "A", "B", "both" or A's share as a number`},
		{`origin = 0.25`, `origin = 1.5`, `w.toml:24:10: workload.origin: 1.5: must be from 0 to 1`},
		{`station = 1e-5`, `station = 1`, `w.toml:25:8: workload.loss: must be from 0 to below 1`},
		{`station = 1e-5`, `satellite = 0`, `w.toml:25:23: workload.loss.satellite: unknown key; the keys here are link, station`},
		{`loss = { link = 1e-4, station = 1e-5 }`, `loss = "little"`, `w.toml:25:8: workload.loss: "little": want a probability per frame, as in loss = 1e-4 or loss = { link = 1e-4, station = 0 }, not a string`},
		{`"held 10 ms"`, `"10 ms"`, `w.toml:26:11: workload.consume: "10 ms": want "at-once", or "held" and a time, as in "held 10 ms"`},
		{`"held 10 ms"`, `"held 0 s"`, `w.toml:26:11: workload.consume: "held 0 s": want "at-once", or "held" and a time, as in "held 10 ms"`},
		{`"poisson"`, `"fractal"`, `w.toml:27:12: workload.arrivals: "fractal": unknown: want "per-cycle" or "poisson"`},
		{`deadline = "20 s"`, `deadline = "0 s"`, `w.toml:28:12: workload.deadline: "0 s": must be positive, or "none"`},
		{`report_every = "2 s"`, `report_every = "1 us"`, `w.toml:29:16: workload.report_every: "1 us": must be at least a 10 millionth of the horizon`},
		{`fidelity_samples = 0.1`, `fidelity_samples = 2`, `w.toml:30:20: workload.fidelity_samples: 2: must be from 0 to 1`},
		{`name = "NL"`, `name = "all"`, `w.toml:32:8: workload.type[0].name: "all": must be 1 to 32 of A-Z, a-z, 0-9 and '-', not start with '-', and not be "all"`},
		{`name = "MD"`, `name = "NL"`, `w.toml:43:8: workload.type[1].name: "NL": workload.type[0] has this name already: give each type its own`},
		{`type = "keep"`, `type = "lend"`, `w.toml:33:8: workload.type[0].type: "lend": unknown: want "keep", "measure" or "prepare"`},
		{`type = "keep"`, ``, `w.toml:31:12: workload.type[0].type: missing: want type = "keep", "measure" or "prepare"`},
		{`share = 2`, `share = 0`, `w.toml:34:9: workload.type[0].share: 0: must be above 0 and at most 1e6`},
		{`pairs = 2`, `pairs = 0`, `w.toml:35:9: workload.type[0].pairs: 0: want a number from 1 to 65535, or a range such as "1..3"`},
		{`"1..255"`, `"3..1"`, `w.toml:45:9: workload.type[1].pairs: "3..1": want a number from 1 to 65535, or a range such as "1..3"`},
		{`"highest"`, `"best"`, `w.toml:46:16: workload.type[1].min_fidelity: "best": want a number, or "highest"`},
		{`min_fidelity = 0.8`, `min_fidelity = 80`, `w.toml:36:16: workload.type[0].min_fidelity: 80: must be from 0 to 1`},
		{`priority = 2`, `priority = 8`, `w.toml:37:12: workload.type[0].priority: 8: must be from 0 to 7`},
		{`pairs = "1..255"`, `store = true`, `w.toml:45:9: workload.type[1].store: true: pairs that are measured at once are not stored`},
		{`pairs = "1..255"`, `consecutive = true`, `w.toml:45:15: workload.type[1].consecutive: true: only type = "keep" has pairs that are alive together`},
		{`"queue"`, `"weather"`, `w.toml:52:23: report.figures[1]: "weather": unknown: want "requests", "throughput", "latency", "scaled-latency", "fidelity", "queue", "fairness", "errors" or "frames"`},
	} {
		if !strings.Contains(workload, tt.old) {
			t.Fatalf("%q is not in the text", tt.old)
		}
		_, err := scenario.Parse("w.toml", []byte(strings.Replace(workload, tt.old, tt.new, 1)))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.new, err, tt.want)
		}
		if !errors.Is(err, qnet.ErrInvalid) {
			t.Errorf("%q: the error is not ErrInvalid", tt.new)
		}
	}
	head, _, _ := strings.Cut(workload, "[link]")
	_, err := scenario.Parse("w.toml", []byte(head+"[report]\nfigures = []\n"))
	if want := "w.toml:7:2: report: there is no [workload] to report on"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	// With several links the workload says which.
	two := strings.Replace(workload, `links = [`, `links = [{ nodes = ["bob", "carol"], length = "2 m", heralding = "h" }, `, 1)
	two = strings.Replace(two, `{ name = "bob"`, `{ name = "carol", hardware = "none" }, { name = "bob"`, 1)
	if _, err := scenario.Parse("w.toml", []byte(two)); err != nil {
		t.Error(err)
	}
	_, err = scenario.Parse("w.toml", []byte(strings.Replace(two, "link = \"alice-bob\"\n", "", 1)))
	if want := "w.toml:18:2: workload.link: missing: want the name of the link that the requests come on; there are bob-carol, alice-bob"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestOnlyWorkload: the rest of the network plays no part.
func TestOnlyWorkload(t *testing.T) {
	text := strings.Replace(workload, `links = [`, `links = [{ nodes = ["bob", "carol"], length = "2 m", heralding = "h" }, `, 1)
	text = strings.Replace(text, `{ name = "bob"`, `{ name = "carol", hardware = "none" }, { name = "bob"`, 1)
	s, err := scenario.Parse("", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.OnlyWorkload()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if len(c.Nodes) != 2 || c.Nodes[0].Name != "alice" || c.Nodes[1].Name != "bob" || len(c.Links) != 1 || c.Links[0].Name != "alice-bob" || c.Workload.Link != 0 {
		t.Errorf("got %+v", c)
	}
	if s.Workload.Link != 1 || len(s.Nodes) != 3 || s.Links[1].B != 2 {
		t.Errorf("the scenario itself has changed: %+v", s)
	}
	s.Workload = nil
	if _, err := s.OnlyWorkload(); !errors.Is(err, qnet.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}
