package scenario_test

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"qstack/node/scenario"
	"qstack/qnet"
	"qstack/scenarios"
)

// valid is a scenario that uses every key; the lines are numbered by the tests
// of errors below.
const valid = `version = 1

[network]
name = "demo"
realm = "lab.example"
seed = 7
dilation = 2.5
fibre_speed = "200000 km/s"

[hardware.ion]
t1 = "10 s"
t2 = "1500 ms"
init = "10 us"
gate1 = "5 µs"
gate2 = "0.1 ms"
readout = "300 us"
gate2_depolarising = 0.005
readout_error = 0.002

[hardware.toy]
memory = "depolarising"
memory_time = "1 min"

[heralding.photons]
model = "double-click"
attempt_rate = "833 kHz"
efficiency = 0.02
visibility = 0.9
dark_counts = 5e-7
number_resolving = true

[[nodes]]
name = "alice"
hardware = "ion"
storage = 3

[[nodes]]
name = "bob"
hardware = "toy"
cutoff = "20 ms"

[[links]]
nodes = ["alice", "bob"]
name = "first"
length = "0.1 km"
lanes = 4
heralding = "photons"

[[nodes]]
name = "charlie"
hardware = "ion"

[[links]]
nodes = ["charlie", "bob"]
length = "2 m"
heralding = { model = "ideal", attempt_rate = "1 MHz", probability = 1, fidelity = 0.25 }
`

func TestParse(t *testing.T) {
	got, err := scenario.Parse("valid.toml", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	ion := scenario.Hardware{
		Name: "ion", T1: 10, T2: 1.5,
		Init: 10 * time.Microsecond, Gate1: 5 * time.Microsecond, Gate2: 100 * time.Microsecond, Readout: 300 * time.Microsecond,
		Gate2Depolarising: 0.005, ReadoutError: 0.002,
	}
	want := &scenario.Scenario{
		Name: "demo", Realm: "lab.example", Seed: 7, Dilation: 2.5, FibreSpeed: 2e8,
		Nodes: []scenario.Node{
			{Name: "alice", Hardware: ion, Storage: 3},
			{Name: "bob", Hardware: scenario.Hardware{Name: "toy", Depolarising: 60}, Cutoff: 20 * time.Millisecond},
			{Name: "charlie", Hardware: ion},
		},
		Links: []scenario.Link{
			{Name: "first", A: 0, B: 1, Length: 100, Lanes: 4, Heralding: scenario.Heralding{
				Name: "photons", Model: scenario.DoubleClick, AttemptRate: 833e3,
				Efficiency: 0.02, Visibility: 0.9, DarkCounts: 5e-7, NumberResolving: true}},
			{Name: "charlie-bob", A: 2, B: 1, Length: 2, Lanes: 1, Heralding: scenario.Heralding{
				Model: scenario.Ideal, AttemptRate: 1e6, Probability: 1, Fidelity: 0.25}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("Validate: %v", err)
	}
	if d := got.HalfDelay(&got.Links[0]); d != 250*time.Nanosecond {
		t.Errorf("50 m at 200,000 km/s take %v, want 250ns", d)
	}
	if p := got.Links[1].Heralding.Period(); p != 1000 {
		t.Errorf("period at 1 MHz is %g ns, want 1000", p)
	}
}

func TestDefaults(t *testing.T) {
	got, err := scenario.Parse("min.toml", []byte("version = 1\nnetwork.name = \"min\"\nhardware.none = {}\nnodes = [{name = \"a\", hardware = \"none\"}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := &scenario.Scenario{
		Name: "min", Realm: "min", Seed: 1, Dilation: 1, FibreSpeed: qnet.FibreSpeed,
		Nodes: []scenario.Node{{Name: "a", Hardware: scenario.Hardware{Name: "none"}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestErrors changes one thing of a valid scenario and wants exactly one error.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{"version = 1\n", "\n", `f.toml:1:1: version: missing: a scenario starts with version = 1`},
		{"version = 1", "version = 2", `f.toml:1:11: version: 2: this program reads version 1`},
		{"version = 1", `version = "1"`, `f.toml:1:11: version: "1": want version = 1`},
		{"seed = 7", "sede = 7", `f.toml:6:1: network.sede: unknown key; the keys here are name, realm, seed, dilation, fibre_speed`},
		{"lanes = 4", "\"la nes\" = 4", `f.toml:46:1: links[0]."la nes": unknown key; the keys here are nodes, name, lanes, heralding, length`},
		{"fidelity = 0.25", "fidelity = 0.25, efficiency = 1", `f.toml:56:90: links[1].heralding.efficiency: unknown key; the keys here are model, attempt_rate, probability, fidelity`},
		{"t2 = \"1500 ms\"", "t3 = \"1500 ms\"", `f.toml:12:1: hardware.ion.t3: unknown key; the keys here are memory, t1, t2, init, gate1, gate2, readout, gate2_depolarising, readout_error`},
		{"[network]", "[netwrok]", "f.toml:1:1: network: missing: want a table [network] with a name\nf.toml:3:2: netwrok: unknown key; the keys here are version, network, hardware, heralding, nodes, links, link, workload, report"},
		{"name = \"demo\"", "", `f.toml:3:2: network.name: missing: want a name, as in name = "demo"`},
		{"name = \"demo\"", `name = "De mo"`, `f.toml:4:8: network.name: "De mo": must be 1 to 32 of a-z, 0-9 and '-', and not start with '-'`},
		{"lab.example", ".lab", `f.toml:5:9: network.realm: ".lab": must be 1 to 64 of a-z, 0-9, '-' and '.', and not start with '-' or '.'`},
		{"seed = 7", "seed = -7", `f.toml:6:8: network.seed: -7: must be from 0 to 9223372036854775807`},
		{"seed = 7", "seed = 7.5", `f.toml:6:8: network.seed: 7.5: want an integer without quotes, not a number`},
		{"dilation = 2.5", "dilation = 0", `f.toml:7:12: network.dilation: 0: must be from 0.001 to 1e+06`},
		{"dilation = 2.5", "dilation = inf", `f.toml:7:12: network.dilation: inf: must be finite`},
		{"dilation = 2.5", "dilation = \"2\"", `f.toml:7:12: network.dilation: "2": want a number without quotes, not a string`},
		{"200000 km/s", "300000 km/s", `f.toml:8:15: network.fibre_speed: "300000 km/s": must be from 1 km/s to 299792.458 km/s, the speed of light`},

		{"t2 = \"1500 ms\"", "t2 = \"21 s\"", `f.toml:12:6: hardware.ion.t2: "21 s": must be at most 2·t1, here 20 s: relaxation alone costs that much coherence`},
		{"t1 = \"10 s\"", "t1 = \"0 s\"", `f.toml:11:6: hardware.ion.t1: "0 s": must be positive; leave it out for none`},
		{"init = \"10 us\"", "init = \"10\"", `f.toml:13:8: hardware.ion.init: "10": no unit: want a number and one of ns, us, µs, ms, s, min, h, as in "10 us"`},
		{"init = \"10 us\"", "init = \"10 m\"", `f.toml:13:8: hardware.ion.init: "10 m": unknown unit "m": want a number and one of ns, us, µs, ms, s, min, h, as in "10 us"`},
		{"init = \"10 us\"", "init = 10", `f.toml:13:8: hardware.ion.init: 10: want a time in quotes, with its unit: a number and one of ns, us, µs, ms, s, min, h, as in "10 us"`},
		{"init = \"10 us\"", "init = \"ten us\"", `f.toml:13:8: hardware.ion.init: "ten us": want a time: a number and one of ns, us, µs, ms, s, min, h, as in "10 us"`},
		{"init = \"10 us\"", "init = \"1.0.0 us\"", `f.toml:13:8: hardware.ion.init: "1.0.0 us": "1.0.0" is no number: want a number and one of ns, us, µs, ms, s, min, h, as in "10 us"`},
		{"init = \"10 us\"", "init = \"-10 us\"", `f.toml:13:8: hardware.ion.init: "-10 us": must not be negative`},
		{"init = \"10 us\"", "init = \"0.1 ns\"", `f.toml:13:8: hardware.ion.init: "0.1 ns": must be at least 1 ns, the resolution of time, or 0`},
		{"init = \"10 us\"", "init = \"25 h\"", `f.toml:13:8: hardware.ion.init: "25 h": must be at most 24 h`},
		{"gate2_depolarising = 0.005", "gate2_depolarising = 1.5", `f.toml:17:22: hardware.ion.gate2_depolarising: 1.5: must be from 0 to 1`},
		{"readout_error = 0.002", "readout_error = 0.6", `f.toml:18:17: hardware.ion.readout_error: 0.6: must be from 0 to 0.5`},
		{"readout_error = 0.002", "readout_error = \"0.2 %\"", `f.toml:18:17: hardware.ion.readout_error: "0.2 %": want a number without quotes, not a string`},
		{`memory = "depolarising"`, `memory = "magic"`, "f.toml:21:10: hardware.toy.memory: \"magic\": unknown memory: want \"dephasing\" (with t1 and t2) or \"depolarising\" (with memory_time)\nf.toml:22:1: hardware.toy.memory_time: unknown key; the keys here are memory, init, gate1, gate2, readout, gate2_depolarising, readout_error"},
		{`memory_time = "1 min"`, ``, `f.toml:20:11: hardware.toy.memory_time: missing: a depolarising memory wants its time constant, as in memory_time = "1 s"`},
		{"[hardware.toy]\nmemory = \"depolarising\"\nmemory_time", "[hardware]\ntoy", "f.toml:21:7: hardware.toy: \"1 min\": want a table, as in [hardware.toy], not a string\nf.toml:38:12: nodes[1].hardware: \"toy\": no section [hardware.toy]; there are ion"},

		{`model = "double-click"`, `model = "single-click"`, `f.toml:25:9: heralding.photons.model: "single-click": unknown model: want "ideal" or "double-click", or in its place a preset, which may have others`},
		{`model = "double-click"`, ``, `f.toml:24:12: heralding.photons.model: missing: want model = "ideal" or "double-click"`},
		{"attempt_rate = \"833 kHz\"", "attempt_rate = \"833 kilohertz\"", `f.toml:26:16: heralding.photons.attempt_rate: "833 kilohertz": unknown unit "kilohertz": want a number and one of Hz, kHz, MHz, GHz, as in "833 kHz"`},
		{"attempt_rate = \"833 kHz\"", "attempt_rate = \"-1 Hz\"", `f.toml:26:16: heralding.photons.attempt_rate: "-1 Hz": must be from 0.001 Hz to 1e+09 Hz`},
		{"attempt_rate = \"833 kHz\"", "", `f.toml:24:12: heralding.photons.attempt_rate: missing: want a rate, as in attempt_rate = "833 kHz"`},
		{"efficiency = 0.02", "efficiency = 1.02", `f.toml:27:14: heralding.photons.efficiency: 1.02: must be from 1e-06 to 1`},
		{"efficiency = 0.02", "", `f.toml:24:12: heralding.photons.efficiency: missing: want the probability that an emitted photon is detected`},
		{"visibility = 0.9", "visibility = -0.9", `f.toml:28:14: heralding.photons.visibility: -0.9: must be from 0 to 1`},
		{"dark_counts = 5e-7", "dark_counts = 1", `f.toml:29:15: heralding.photons.dark_counts: 1: must be from 0 to below 1`},
		{"number_resolving = true", "number_resolving = 1", `f.toml:30:20: heralding.photons.number_resolving: 1: want true or false, not an integer`},
		{"probability = 1", "probability = 1.1", `f.toml:56:70: links[1].heralding.probability: 1.1: must be from 1e-12 to 1`},
		{"probability = 1", "probability = 0", `f.toml:56:70: links[1].heralding.probability: 0: must be from 1e-12 to 1`},
		{"fidelity = 0.25", "fidelity = 0.2", `f.toml:56:84: links[1].heralding.fidelity: 0.2: must be from 0.25, no entanglement at all, to 1`},

		{"name = \"bob\"", "name = \"Bob\"", "f.toml:43:19: links[0].nodes[1]: \"bob\": no node has this name; there are alice, Bob, charlie\nf.toml:54:21: links[1].nodes[1]: \"bob\": no node has this name; there are alice, Bob, charlie"},
		{"name = \"charlie\"", "name = \"alice\"", "f.toml:50:8: nodes[2].name: \"alice\": nodes[0] has this name already: give each node its own\nf.toml:54:10: links[1].nodes[0]: \"charlie\": no node has this name; there are alice, bob, alice"},
		{"name = \"alice\"\n", "", "f.toml:32:3: nodes[0].name: missing: want a name, as in name = \"alice\"\nf.toml:42:10: links[0].nodes[0]: \"alice\": no node has this name; there are , bob, charlie"},
		{"[\"charlie\", \"bob\"]", "[\"bob\", \"alice\"]", `f.toml:54:1: links[1].nodes: links[0] joins bob and alice already: raise its lanes instead`},
		{"[\"charlie\", \"bob\"]", "[\"bob\", \"bob\"]", `f.toml:54:1: links[1].nodes: a link must join two nodes, not bob to itself`},
		{"[\"charlie\", \"bob\"]", "[\"bob\"]", `f.toml:54:1: links[1].nodes: want two node names, as in ["alice", "bob"]`},
		{"[\"charlie\", \"bob\"]", "[\"bob\", 3]", `f.toml:54:17: links[1].nodes[1]: 3: want the name of a node, not an integer`},
		{"name = \"first\"", "name = \"charlie-bob\"", `f.toml:53:3: links[1].name: links[0] is called "charlie-bob" already: give each link a name of its own`},
		{"hardware = \"toy\"", "hardware = \"iron\"", `f.toml:39:12: nodes[1].hardware: "iron": no section [hardware.iron]; there are ion, toy`},
		{"storage = 3", "storage = -1", `f.toml:35:11: nodes[0].storage: -1: must be from 0 to 65536`},
		{"cutoff = \"20 ms\"", "cutoff = \"0 s\"", `f.toml:40:10: nodes[1].cutoff: "0 s": must be positive; leave it out for none`},
		{"cutoff = \"20 ms\"", "cutoff = \"0 attempts\"", `f.toml:40:10: nodes[1].cutoff: "0 attempts": want a number of attempts from 1 to 4294967295, as in "1000 attempts"`},
		{"length = \"0.1 km\"", "length = \"-2 m\"", `f.toml:45:10: links[0].length: "-2 m": must not be negative`},
		{"length = \"0.1 km\"", "length = \"2 s\"", `f.toml:45:10: links[0].length: "2 s": unknown unit "s": want a number and one of mm, cm, m, km, as in "2 m"`},
		{"length = \"0.1 km\"", "length = \"1e6 km\"", `f.toml:45:10: links[0].length: "1e6 km": must be at most 100000 km`},
		{"length = \"0.1 km\"", "length = \"25 km\"", `f.toml:45:10: links[0].length: "25 km": the herald of an attempt is back after 125µs, but the next attempt is due after 1.2 us: shorten the link, or lower attempt_rate to 8000 Hz or less`},
		{"length = \"0.1 km\"", "", `f.toml:42:3: links[0].length: missing: want a length, as in length = "2 m"`},
		{"lanes = 4", "lanes = 5000", `f.toml:46:9: links[0].lanes: 5000: must be from 1 to 4096`},
		{"lanes = 4", "lanes = 0", `f.toml:46:9: links[0].lanes: 0: must be from 1 to 4096`},
		{"heralding = \"photons\"", "heralding = \"phonons\"", `f.toml:47:13: links[0].heralding: "phonons": no section [heralding.phonons]; there are photons`},
		{"heralding = \"photons\"", "", `f.toml:42:3: links[0].heralding: missing: want the name of a section [heralding.NAME], or its keys in { }`},
		{"heralding = \"photons\"", "heralding = 3", `f.toml:47:13: links[0].heralding: 3: want the name of a section [heralding.NAME], or its keys in { }, not an integer`},

		{"seed = 7", "seed = ", `f.toml:6:8: unexpected character U+000A at start of value`},
		{"seed = 7", "name = \"demo2\"", `f.toml:6:1: key name is already defined`},
	} {
		if strings.Count(valid, tt.old) < 1 {
			t.Fatalf("%q is not in the scenario", tt.old)
		}
		_, err := scenario.Parse("f.toml", []byte(strings.Replace(valid, tt.old, tt.new, 1)))
		if err == nil {
			t.Errorf("%q: no error, want %q", tt.new, tt.want)
			continue
		}
		if err.Error() != tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.new, err, tt.want)
		}
		var e *scenario.Error
		if !errors.Is(err, qnet.ErrInvalid) || !errors.As(err, &e) {
			t.Errorf("%q: the error is neither ErrInvalid nor an *Error", tt.new)
		}
	}
}

func TestDuplicateNode(t *testing.T) {
	text := strings.Replace(valid, `["charlie", "bob"]`, `["alice", "bob"]`, 1)
	text = strings.Replace(text, `name = "charlie"`, `name = "bob"`, 1)
	_, err := scenario.Parse("f.toml", []byte(text))
	want := `f.toml:50:8: nodes[2].name: "bob": nodes[1] has this name already: give each node its own`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestManyErrors: all problems are reported, in the order of the file, ten at
// most.
func TestManyErrors(t *testing.T) {
	var b strings.Builder
	b.WriteString("version = 1\nnetwork.name = \"many\"\n")
	for range 25 {
		b.WriteString("[[nodes]]\n")
	}
	_, err := scenario.Parse("", []byte(b.String()))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 11 || lines[0] != `nodes[0].name: missing: want a name, as in name = "alice"` || lines[10] != "and 40 more" {
		t.Errorf("got %d lines: %s", len(lines), err)
	}
}

func TestTooManyNodes(t *testing.T) {
	text := "version = 1\nnetwork.name = \"big\"\nhardware.none = {}\n" +
		strings.Repeat("[[nodes]]\nname = \"a\"\nhardware = \"none\"\n", scenario.MaxNodes+1)
	_, err := scenario.Parse("big.toml", []byte(text))
	if want := "big.toml:4:3: nodes: 100001 nodes: must be from 1 to 100000"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestValidate: programs that make scenarios hear of the same problems.
func TestValidate(t *testing.T) {
	s, err := scenario.Parse("", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	s.Nodes[0].Hardware.T2 = math.NaN()
	s.Nodes[1].Hardware.Readout = -1
	s.Nodes[1].Hardware.T1 = 5
	s.Nodes[2].Cutoff = -1
	s.Links[0].B = 9
	s.Links[1].Heralding.Fidelity = math.NaN()
	want := strings.Join([]string{
		"nodes[0].hardware.t2: must be from 1e-09 s to 1e+12 s; leave it out for none",
		"nodes[1].hardware.memory_time: a depolarising memory has no t1 and t2: leave out one or the others",
		"nodes[1].hardware.readout: must be from 0 to 24 h",
		"links[1].heralding.fidelity: must be from 0.25, no entanglement at all, to 1",
		"nodes[2].cutoff: must be above 0 and at most 24 h",
		"links[0].nodes: positions 0 and 9: must be from 0 to 2",
	}, "\n")
	if err := s.Validate(); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestNodeIndex(t *testing.T) {
	s, err := scenario.Parse("", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if i, err := s.NodeIndex("charlie"); i != 2 || err != nil {
		t.Errorf("charlie is at %d, %v; want 2", i, err)
	}
	_, err = s.NodeIndex("dave")
	if want := `network demo has no node "dave"; it has alice, bob, charlie`; !errors.Is(err, qnet.ErrUnknown) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.toml")
	_, err := scenario.Load(path)
	var e *scenario.Error
	if want := path + ": can not be read: no such file or directory"; !errors.As(err, &e) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := os.WriteFile(path, []byte(valid), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := scenario.Load(path); err != nil || s.Name != "demo" {
		t.Errorf("got %+v, %v", s, err)
	}
}

// TestScenarios: the files that come with the project are valid and say what
// they should.
func TestScenarios(t *testing.T) {
	names, err := fs.Glob(scenarios.Files, "*.toml")
	if err != nil || len(names) != 3 {
		t.Fatalf("%d scenarios, %v", len(names), err)
	}
	got := make(map[string]*scenario.Scenario)
	for _, name := range names {
		data, err := scenarios.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := scenario.Parse(name, data)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name+".toml" != name || s.Dilation != 1 {
			t.Errorf("%s: name %q, dilation %g", name, s.Name, s.Dilation)
		}
		got[s.Name] = s
	}

	ions, chain := got["ions3"], got["chain10"]
	if len(ions.Nodes) != 3 || len(ions.Links) != 2 || len(chain.Nodes) != 10 || len(chain.Links) != 9 {
		t.Errorf("ions3 has %d nodes and %d links, chain10 %d and %d", len(ions.Nodes), len(ions.Links), len(chain.Nodes), len(chain.Links))
	}
	l := ions.Links[0]
	if h := l.Heralding; math.Abs(h.Efficiency*h.Efficiency/2/2.18e-4-1) > 1e-5 || (1+h.Visibility)/2 != 0.94 || h.AttemptRate != 833e3 {
		t.Errorf("ions3: %+v is not what Stephenson et al. published", h)
	}
	for i, l := range chain.Links {
		if l.A != i || l.B != i+1 || !reflect.DeepEqual(l.Heralding, ions.Links[0].Heralding) || l.Length != 2 || l.Lanes != 1 {
			t.Errorf("chain10: link %d is %+v", i, l)
		}
	}
	for i, n := range chain.Nodes {
		if n.Hardware != ions.Nodes[0].Hardware || n.Cutoff != 0 || (n.Storage == 1) != (i == 0 || i == 9) {
			t.Errorf("chain10: node %d is %+v", i, n)
		}
	}
	if s := got["ideal2"]; s.Links[0].Lanes != 64 || s.Nodes[0].Storage != 64 || s.Nodes[1].Storage != 64 || s.Links[0].Heralding.Fidelity != 1 {
		t.Errorf("ideal2: %+v", s)
	}
}

func TestFault(t *testing.T) {
	s, err := scenario.Parse("", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		text string
		read func(*scenario.Scenario) []float64
		want []float64
	}{
		{"readout=0.05", func(s *scenario.Scenario) []float64 {
			return []float64{s.Nodes[0].Hardware.ReadoutError, s.Nodes[1].Hardware.ReadoutError}
		}, []float64{0.05, 0.05}},
		{"gate2=1", func(s *scenario.Scenario) []float64 { return []float64{s.Nodes[2].Hardware.Gate2Depolarising} }, []float64{1}},
		{"visibility=0", func(s *scenario.Scenario) []float64 {
			return []float64{s.Links[0].Heralding.Visibility, s.Links[1].Heralding.Visibility}
		}, []float64{0, 0}},
	} {
		f, err := scenario.ParseFault(tt.text)
		if err != nil || f.String() != tt.text {
			t.Errorf("%s: parsed as %v, %v", tt.text, f, err)
			continue
		}
		before := tt.read(s)
		c, err := f.Apply(s)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := tt.read(c); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %g, want %g", tt.text, got, tt.want)
		}
		if got := tt.read(s); !reflect.DeepEqual(got, before) {
			t.Errorf("%s changed the scenario itself", tt.text)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", tt.text, err)
		}
	}

	for text, want := range map[string]string{
		"readout":      `"readout": want readout=E, gate2=Q or visibility=V, as in readout=0.05`,
		"readout=2":    `"readout=2": readout must be a number from 0 to 0.5`,
		"gate2=no":     `"gate2=no": gate2 must be a number from 0 to 1`,
		"readout= NaN": `"readout= NaN": readout must be a number from 0 to 0.5`,
		"":             `"": want readout=E, gate2=Q or visibility=V, as in readout=0.05`,
	} {
		if _, err := scenario.ParseFault(text); !errors.Is(err, qnet.ErrInvalid) || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	if _, err := (scenario.Fault{Quantity: "luck"}).Apply(s); err == nil || err.Error() != `"luck=0": unknown quantity: want readout, gate2 or visibility` {
		t.Errorf("got %v", err)
	}
	// A fault that does not apply says what it needs, and what there is instead.
	for _, want := range []string{
		`"visibility=0.5" needs a link with model = "double-click"; those of network demo have model = "ideal"`,
		`"visibility=0.5" needs a link with model = "double-click"; network demo has no links`,
	} {
		s.Links = s.Links[1:]
		if _, err := (scenario.Fault{Quantity: "visibility", Value: 0.5}).Apply(s); !errors.Is(err, qnet.ErrInvalid) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// FuzzParse: no input makes Parse panic, and what it accepts is valid.
func FuzzParse(f *testing.F) {
	f.Add([]byte(valid))
	f.Add([]byte(workload))
	f.Add([]byte(""))
	f.Add([]byte("version = 1\n[[nodes]]\n[[nodes.x]]\n[nodes.x.y]\nz = [{a = 1}, 2]\n"))
	f.Add([]byte("version = 1\nlinks = [[{}]]\nnodes = {}\nhardware = [1]\nheralding.x = 1979-05-27\n"))
	f.Add([]byte("a.a.a.a.a.a.a.a.a.a = { b.b.b.b.b.b.b.b = [[[[[[[[[1]]]]]]]] ] }\n"))
	for _, name := range []string{"ions3.toml", "ideal2.toml"} {
		data, err := scenarios.Files.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := scenario.Parse("fuzz.toml", data)
		if err != nil {
			if !errors.Is(err, qnet.ErrInvalid) {
				t.Errorf("error %v does not carry ErrInvalid", err)
			}
			return
		}
		if err := s.Validate(); err != nil {
			t.Errorf("accepted, but invalid: %v", err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text := []byte("version = 1\nnetwork.name = \"big\"\nhardware.none = {}\nheralding.h = { model = \"ideal\", attempt_rate = \"1 MHz\", probability = 0.1, fidelity = 1 }\n")
	for i := range 10_000 {
		text = append(text, "[[nodes]]\nname = \"n"+strconv.Itoa(i)+"\"\nhardware = \"none\"\n"...)
		if i > 0 {
			text = append(text, "[[links]]\nnodes = [\"n"+strconv.Itoa(i-1)+"\", \"n"+strconv.Itoa(i)+"\"]\nlength = \"2 m\"\nheralding = \"h\"\n"...)
		}
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := scenario.Parse("big.toml", text); err != nil {
			b.Fatal(err)
		}
	}
}
