package scenario_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"qstack/node/scenario"
	"qstack/physical/herald"
)

const published = `version = 1
[network]
name = "nv"
[hardware.nv]
preset = "nv-lab"
set = { readout_error_0 = 0.02, t2 = "2 ms" }
[heralding.nv]
preset = "nv-lab"
set = { alpha = 0.2 }
[[nodes]]
name = "alice"
hardware = "nv"
[[nodes]]
name = "bob"
hardware = "nv"
storage = 1
cutoff = "1000 attempts"
[[links]]
nodes = ["alice", "bob"]
heralding = "nv"
`

// Hardware and heralding come from presets, with other values where the scenario
// has them.
func TestPreset(t *testing.T) {
	s, err := scenario.Parse("nv.toml", []byte(published))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	k := s.Links[0]
	if k.Length != 2 || k.Heralding.Model != "single-click" || math.Abs(k.Heralding.Period()-10_120) > 1e-9 {
		t.Errorf("link %+v, period %v", k, k.Heralding.Period())
	}
	d := s.Nodes[0].Hardware.Preset.Device()
	if d.Spec.Noise.ReadoutError != [2]float64{0.02, 0.005} || d.Communication.T2 != 2e-3 {
		t.Errorf("device %+v", d)
	}
	if a, b := s.Nodes[0].Storage, s.Nodes[1].Storage; a != d.Spec.Storage || b != 1 {
		t.Errorf("%d and %d storage qubits, want the preset's %d and 1", a, b, d.Spec.Storage)
	}
	if c := s.Cutoff(1); c != 10_120*time.Microsecond || s.Cutoff(0) != 0 {
		t.Errorf("cut-off %v and %v, want 1000 attempts of 10.12 µs and none", c, s.Cutoff(0))
	}
	// A longer link dims its photons: by 5 dB/km on each arm.
	longer, err := scenario.Parse("nv.toml", []byte(strings.Replace(published, "[[links]]", "[[links]]\nlength = \"1 km\"", 1)))
	if err != nil {
		t.Fatal(err)
	}
	near, err := k.Heralding.Preset.Link()
	if err != nil {
		t.Fatal(err)
	}
	far, err := longer.Links[0].Heralding.Preset.Link()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := far.EfficiencyA/near.EfficiencyA, math.Pow(10, -0.5*0.499); longer.Links[0].Length != 1000 || math.Abs(got/want-1) > 1e-12 {
		t.Errorf("length %v, arm dimmed to %v, want 1000 m and %v", longer.Links[0].Length, got, want)
	}
	// Readings of faults reach presets too.
	f, err := scenario.ParseFault("readout=0.1")
	if err != nil {
		t.Fatal(err)
	}
	worse, err := f.Apply(s)
	if err != nil || worse.Nodes[0].Hardware.Preset.Device().Spec.Noise.ReadoutError != [2]float64{0.1, 0.1} ||
		s.Nodes[0].Hardware.Preset.Device().Spec.Noise.ReadoutError == [2]float64{0.1, 0.1} {
		t.Errorf("the fault was not applied to a copy: %v", err)
	}
}

// A preset file stands beside the scenario.
func TestPresetFile(t *testing.T) {
	dir := t.TempDir()
	own := `name = "mine"
title = "nv-lab with a better read-out"
extends = "nv-lab"
[device]
readout_error_0 = { value = 0.01, source = "chosen" }
`
	if err := os.WriteFile(filepath.Join(dir, "mine.toml"), []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(published, `preset = "nv-lab"
set = { readout_error_0 = 0.02, t2 = "2 ms" }`, `preset = "mine.toml"`, 1)
	s, err := scenario.Parse(filepath.Join(dir, "nv.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if e := s.Nodes[0].Hardware.Preset.Device().Spec.Noise.ReadoutError[0]; e != 0.01 {
		t.Errorf("read-out error %v, want 0.01", e)
	}
	if len(s.Files) != 1 || s.Files[0].Path != "mine.toml" || string(s.Files[0].Data) != own {
		t.Errorf("the scenario needs the files %v, want mine.toml", s.Files)
	}
}

func TestPresetErrors(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{`preset = "nv-lab"
set = { alpha`, `preset = "nv-lap"
set = { alpha`, `nv.toml:8:10: heralding.nv.preset: "nv-lap": no preset is called "nv-lap"; near it are nv-lab`},
		{"alpha = 0.2", "alpha = 1.2", `nv.toml:9:7: heralding.nv.set: presets/nv-lab.toml: alpha=1.2: want from 0 to 1`},
		{"alpha = 0.2", "alfa = 0.2", `nv.toml:9:7: heralding.nv.set: presets/nv-lab.toml: no parameter is called "alfa"; near it are alpha`},
		{"set = { alpha = 0.2 }", "alpha = 0.2", `nv.toml:9:1: heralding.nv.alpha: unknown key; the keys here are preset, set, alphas`},
		{"set = { alpha = 0.2 }", "alphas = [0.1, 0.3, 0.2]", `nv.toml:9:21: heralding.nv.alphas[2]: 0.2: must be above the one before it, 0.3`},
		{"set = { alpha = 0.2 }", "alphas = [0.1, 0.1]", `nv.toml:9:16: heralding.nv.alphas[1]: 0.1: must be above the one before it, 0.1`},
		{"set = { alpha = 0.2 }", "alphas = [0, 0.1]", `nv.toml:9:11: heralding.nv.alphas[0]: 0: must be above 0 and at most 0.5`},
		{"set = { alpha = 0.2 }", "alphas = [0.1, 0.6]", `nv.toml:9:16: heralding.nv.alphas[1]: 0.6: must be above 0 and at most 0.5`},
		{"set = { alpha = 0.2 }", "alphas = [nan]", `nv.toml:9:11: heralding.nv.alphas[0]: nan: must be above 0 and at most 0.5`},
		{"set = { alpha = 0.2 }", `alphas = [0.1, "0.2"]`, `nv.toml:9:16: heralding.nv.alphas[1]: "0.2": want a bright-state population, not a string`},
		{"set = { alpha = 0.2 }", "alphas = 0.2", `nv.toml:9:10: heralding.nv.alphas: 0.2: want a list of bright-state populations, as in [0.05, 0.1, 0.3]`},
		{"set = { alpha = 0.2 }", "alphas = []", `nv.toml:9:1: heralding.nv.alphas: 0 bright-state populations: must be from 1 to 100`},
		{"set = { alpha = 0.2 }", "alphas = [" + strings.Repeat("0.1, ", 101) + "]", `nv.toml:9:1: heralding.nv.alphas: 101 bright-state populations: must be from 1 to 100`},
		{"set = { alpha = 0.2 }", "set = { alpha_b = 0.2 }\nalphas = [0.1]", `nv.toml:10:1: heralding.nv.alphas: set gives alpha too: want one of the two`},
		{`preset = "nv-lab"
set = { alpha = 0.2 }`, "preset = \"nv-bk-2015\"\nalphas = [0.1]", `nv.toml:9:1: heralding.nv.alphas: a model double-click has no bright-state population: want the preset of a single-click link`},
		{`preset = "nv-lab"
set = { readout_error_0 = 0.02, t2 = "2 ms" }`, "preset = \"nv-lab\"\nalphas = [0.1]", `nv.toml:6:1: hardware.nv.alphas: unknown key`},

		{`preset = "nv-lab"
set = { alpha = 0.2 }`, `preset = "decoy-reference"`, `nv.toml:8:10: heralding.nv.preset: "decoy-reference": decoy-reference prepares light and measures it, but makes no pairs`},
		{`preset = "nv-lab"
set = { alpha = 0.2 }`, `preset = "nv-nuclear"`, `nv.toml:8:10: heralding.nv.preset: "nv-nuclear": nv-nuclear describes a device, but no link`},
		{`preset = "nv-lab"
set = { alpha = 0.2 }`, `preset = "not-there.toml"`, `nv.toml:8:10: heralding.nv.preset: "not-there.toml": not-there.toml: can not be read: no such file or directory`},
	} {
		text := strings.Replace(published, tt.old, tt.new, 1)
		if text == published {
			t.Fatalf("%q is not in the scenario", tt.old)
		}
		_, err := scenario.Parse("nv.toml", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
}

// Operating points stand in a section or in a link, and hold at whatever length the
// link has; the preset is that of the one with the highest fidelity.
func TestAlphas(t *testing.T) {
	section := strings.Replace(published, "set = { alpha = 0.2 }", "alphas = [0.001, 0.05, 0.1, 0.5]", 1)
	inline := strings.Replace(published, `heralding = "nv"`, `heralding = { preset = "nv-lab", alphas = [0.001, 0.05, 0.1, 0.5] }`, 1)
	for _, text := range []string{section, inline, strings.Replace(section, "[[links]]", "[[links]]\nlength = \"1 km\"", 1)} {
		s, err := scenario.Parse("nv.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
		h := s.Links[0].Heralding
		points, err := h.Points()
		if err != nil {
			t.Fatal(err)
		}
		best, most := 0, 0.0
		for i, alpha := range []float64{0.001, 0.05, 0.1, 0.5} {
			l, err := points[i].Preset.Link()
			if err != nil {
				t.Fatal(err)
			}
			m := l.Model.(herald.SingleClick)
			if h.Alphas[i] != alpha || m.AlphaA != alpha || m.AlphaB != alpha || 2*l.LengthA != s.Links[0].Length || points[i].Name != fmt.Sprint("alpha=", alpha) {
				t.Errorf("point %d is %s of %+v", i, points[i].Name, m)
			}
			if f := herald.Fidelity(m); f > most {
				best, most = i, f
			}
		}
		l, err := h.Preset.Link()
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Model.(herald.SingleClick).AlphaA; got != h.Alphas[best] || best == 0 {
			t.Errorf("the best point has α = %v, want %v, at which dark counts and light are least", got, h.Alphas[best])
		}
	}
}
