package scenario_test

import (
	_ "embed"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"qstack/node/scenario"
	"qstack/physical"
	"qstack/qnet"
)

// plain is a link and nothing else, which other packages test with too.
//
//go:embed testdata/link.toml
var plain string

// workload is a scenario with every key of a workload but those of TestServices; the
// lines are numbered by the tests of errors below.
var workload = plain + `[link]
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
	s, err := scenario.Parse("w.toml", []byte(plain+"[workload]\nload = 1\n[[workload.type]]\nname = \"a\"\ntype = \"measure\"\n"))
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
		{`1, 10.5`, `1e-3, 1e4`, `w.toml:9:1: link.weights: the largest must be at most 1e6 times the smallest; 0 is served before all others`},
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
		{`report_every = "2 s"`, `report_evry = "2 s"`, `w.toml:29:1: workload.report_evry: unknown key; the keys here are link, load, horizon, warmup, seeds, origin, loss, consume, arrivals, deadline, report_every, fidelity_samples, tomography, listen, type`},
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
		{`pairs = 2`, `pairs = 0`, `w.toml:35:9: workload.type[0].pairs: 0: want a number from 1 to 1000000000, or a range such as "1..3" of at most 1000000 numbers`},
		{`"1..255"`, `"3..1"`, `w.toml:45:9: workload.type[1].pairs: "3..1": want a number from 1 to 1000000000, or a range such as "1..3" of at most 1000000 numbers`},
		{`"highest"`, `"best"`, `w.toml:46:16: workload.type[1].min_fidelity: "best": want a number, or "highest"`},
		{`min_fidelity = 0.8`, `min_fidelity = 80`, `w.toml:36:16: workload.type[0].min_fidelity: 80: must be from 0 to 1`},
		{`priority = 2`, `priority = 8`, `w.toml:37:12: workload.type[0].priority: 8: must be from 0 to 7`},
		{`pairs = "1..255"`, `store = true`, `w.toml:45:9: workload.type[1].store: true: only pairs of type = "keep", which both ends keep, can be stored`},
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
	_, err := scenario.Parse("w.toml", []byte(plain+"[report]\nfigures = []\n"))
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

// services are the keys of a workload that TestWorkload does not have.
var services = plain + `[workload]
load = 1
tomography = 0.05
listen = [1, 2]
[[workload.type]]
name = "MD"
type = "measure"
pairs = "5..1000000"
bases = { creator = "XZ", creator_weights = [1, 9], peer = ["Y", ["30 deg", "-0.5 rad"]], peer_weights = [1, 0] }
purpose = 1
[[workload.type]]
name = "S"
type = "keep"
rate = "20 Hz"
lasts = "10 s"
cancel = { share = 0.1, after = "1 s" }
[[workload.type]]
name = "CHSH"
type = "measure"
pairs = 1000000000
bases = "CHSH"
[[workload.type]]
name = "RSP"
type = "prepare"
bases = "ZY"
`

func TestServices(t *testing.T) {
	s, err := scenario.Parse("w.toml", []byte(services))
	if err != nil {
		t.Fatal(err)
	}
	if s.Workload.Tomography != 0.05 || !reflect.DeepEqual(s.Workload.Listen, []uint64{1, 2}) {
		t.Errorf("got %+v", s.Workload)
	}
	source := func(weights []float64, bases ...qnet.Basis) physical.BasisSource {
		return physical.BasisSource{Bases: bases, Weights: weights}
	}
	want := []scenario.WorkloadType{
		{Name: "MD", Type: scenario.MeasurePairs, Share: 1, PairsMin: 5, PairsMax: 1_000_000, Purpose: 1,
			Bases:     source([]float64{1, 9}, qnet.BasisX, qnet.BasisZ),
			PeerBases: source([]float64{1, 0}, qnet.BasisY, qnet.Basis{Theta: 30 * (math.Pi / 180), Phi: -0.5})},
		{Name: "S", Type: scenario.KeepPairs, Share: 1, Rate: 20, Lasts: 10 * time.Second, Cancel: 0.1, CancelAfter: time.Second},
		{Name: "CHSH", Type: scenario.MeasurePairs, Share: 1, PairsMin: 1_000_000_000, PairsMax: 1_000_000_000,
			Bases: source(nil, qnet.BasisZ, qnet.BasisX), PeerBases: source(nil, qnet.BasisXZ(math.Pi/4), qnet.BasisXZ(-math.Pi/4))},
		{Name: "RSP", Type: scenario.PreparePairs, Share: 1, PairsMin: 1, PairsMax: 1, Bases: source(nil, qnet.BasisZ, qnet.BasisY)},
	}
	// Angles are the same but for rounding.
	if phi := &s.Workload.Types[0].PeerBases.Bases[1]; math.Abs(phi.Theta-want[0].PeerBases.Bases[1].Theta) < 1e-15 {
		phi.Theta = want[0].PeerBases.Bases[1].Theta
	}
	if !reflect.DeepEqual(s.Workload.Types, want) {
		t.Errorf("got  %+v\nwant %+v", s.Workload.Types, want)
	}
	// An empty list refuses all, which is not what none does.
	s, err = scenario.Parse("", []byte(strings.Replace(services, "listen = [1, 2]", "listen = []", 1)))
	if err != nil || s.Workload.Listen == nil || len(s.Workload.Listen) != 0 {
		t.Errorf("an empty list: %v", err)
	}
}

func TestServiceErrors(t *testing.T) {
	const bases = `want letters X, Y and Z, as in "XZ", or "CHSH", or an array of bases`
	for _, tt := range []struct{ old, new, want string }{
		{`tomography = 0.05`, `tomography = 2`, `9:14: workload.tomography: 2: must be from 0 to 1`},
		{`[1, 2]`, `[1, -2]`, `10:14: workload.listen[1]: -2: want a purpose, a number from 0 on`},
		{`[1, 2]`, `3`, `10:10: workload.listen: 3: want an array in [ ], not an integer`},
		{`"5..1000000"`, `"5..1000005"`, `14:9: workload.type[0].pairs: "5..1000005": want a number from 1 to 1000000000, or a range such as "1..3" of at most 1000000 numbers`},
		{`"XZ"`, `"XQ"`, `15:21: workload.type[0].bases.creator: "XQ": ` + bases},
		{`"XZ"`, `""`, `15:21: workload.type[0].bases.creator: "": ` + bases},
		{`"XZ"`, `3`, `15:21: workload.type[0].bases.creator: 3: ` + bases},
		{`"XZ"`, `"X"`, `15:9: workload.type[0].bases: creator: 2 weights for 1 bases: want one each, or none`},
		{`creator = "XZ", `, ``, `15:11: workload.type[0].bases.creator_weights: want the bases too, as in creator = "XZ"`},
		{`"30 deg"`, `"30 m"`, `15:53: workload.type[0].bases.peer[1]: want "X", "Y" or "Z", or the angles of an axis to Z and around it, as in ["45 deg", "0 deg"]`},
		{`creator_weights`, `weights`, `15:27: workload.type[0].bases.weights: unknown key; the keys here are creator, creator_weights, peer, peer_weights`},
		{`[1, 9]`, `["a", 9]`, `15:46: workload.type[0].bases.creator_weights[0]: "a": want a number, not a string`},
		{`bases = "CHSH"`, `bases = 3`, `27:9: workload.type[2].bases: 3: ` + bases},
		{`bases = "ZY"`, `bases = { peer = "Z" }`, `31:18: workload.type[3].bases.peer: "Z": the peer of type = "prepare" keeps its half`},
		{`bases = "ZY"`, `store = true`, `31:9: workload.type[3].store: true: only pairs of type = "keep", which both ends keep, can be stored`},
		{`rate = "20 Hz"`, `bases = "Z"`, `20:9: workload.type[1].bases: "Z": pairs of type = "keep" are not measured`},
		{`purpose = 1`, `purpose = -1`, `16:11: workload.type[0].purpose: -1: must be from 0 to 9223372036854775807`},
		{`rate = "20 Hz"`, `pairs = 2`, `20:9: workload.type[1].pairs: 2: a stream, which lasts = TIME makes, has no number of pairs: leave one of both out`},
		{`rate = "20 Hz"`, ``, `21:9: workload.type[1].lasts: "10 s": want the rate of a stream too, as in rate = "20 Hz": with lasts it is what the load is counted by`},
		{`rate = "20 Hz"`, `rate = "0 Hz"`, `20:8: workload.type[1].rate: "0 Hz": must be from 0.001 Hz to 1e+09 Hz`},
		{`rate = "20 Hz"`, `rate = "1e-400 Hz"`, `20:8: workload.type[1].rate: "1e-400 Hz": must be from 0.001 Hz to 1e+09 Hz`},
		{"rate = \"20 Hz\"\nlasts = \"10 s\"", "rate = \"0 Hz\"\npairs = 3", `20:8: workload.type[1].rate: "0 Hz": must be from 0.001 Hz to 1e+09 Hz`},
		{`rate = "20 Hz"`, `rate = "20 GHz"`, `20:8: workload.type[1].rate: "20 GHz": must be from 0.001 Hz to 1e+09 Hz`},
		{`lasts = "10 s"`, `lasts = "0 s"`, `21:9: workload.type[1].lasts: "0 s": must be positive`},
		{`purpose = 1`, `lasts = "1 s"`, `workload.type[0].pairs: "5..1000000": a stream`},
		{`rate = "20 Hz"`, `rate = "20 Hz"` + "\nconsecutive = true", `22:9: workload.type[1].lasts: "10 s": pairs that are alive together have a number: set pairs`},
		{`share = 0.1, `, ``, `22:10: workload.type[1].cancel.share: missing: want the share of the requests, as in share = 0.1`},
		{`, after = "1 s"`, ``, `22:10: workload.type[1].cancel: want a share above 0 and a mean time up to 24 h, as in { share = 0.1, after = "1 s" }`},
		{`share = 0.1, `, `share = 1.5, `, `22:10: workload.type[1].cancel: must be from 0 to 1`},
	} {
		if !strings.Contains(services, tt.old) {
			t.Fatalf("%q is not in the text", tt.old)
		}
		_, err := scenario.Parse("w.toml", []byte(strings.Replace(services, tt.old, tt.new, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.new, err, tt.want)
		}
		if !errors.Is(err, qnet.ErrInvalid) {
			t.Errorf("%q: the error is not ErrInvalid", tt.new)
		}
	}
}

// TestLanesThatNeverHelp: hardware whose lanes share a qubit has no use for more.
func TestLanesThatNeverHelp(t *testing.T) {
	text := `version = 1
network.name = "lanes"
hardware.nv = { preset = "nv-ql2020" }
hardware.more = { preset = "nv-ql2020", set = { communication = 4 } }
heralding.nv = { preset = "nv-ql2020" }
nodes = [{ name = "alice", hardware = "more" }, { name = "bob", hardware = "nv" }]
links = [{ nodes = ["alice", "bob"], heralding = "nv", lanes = 4 }]
`
	_, err := scenario.Parse("w.toml", []byte(text))
	want := "w.toml:7:64: links[0].lanes: 4: bob shares communication = 1 among all lanes of its links (preset nv-ql2020), so that more of them never help: lower lanes to 1, or set another communication of its hardware"
	if err == nil || err.Error() != want || !errors.Is(err, qnet.ErrInvalid) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	for _, ok := range []string{strings.Replace(text, "lanes = 4", "lanes = 1", 1), strings.Replace(text, `"bob", hardware = "nv"`, `"bob", hardware = "more"`, 1)} {
		if _, err := scenario.Parse("", []byte(ok)); err != nil {
			t.Error(err)
		}
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
