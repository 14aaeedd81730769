package preset_test

import (
	"errors"
	"strings"
	"testing"

	"qstack/physical/preset"
	"qstack/qnet"
	"qstack/qnet/toml"
)

const valid = `name = "mine"
title = "a link of mine"

[sources.smith2020]
cite = "A. Smith, Journal of Examples 1, 2 (2020)"
tag = "secondary"

[link]
model = "double-click"
length = { value = "2 km", source = "smith2020" }
efficiency = { value = 0.01, source = "fitted" }
visibility = { value = 0.9, source = "smith2020", tag = "recalled", note = "from memory" }
attempt_rate = { value = "10 kHz", source = "chosen" }

[device]
t1 = { value = "1 s", source = "chosen" }
t2 = { value = "1 ms", source = "derived", note = "half of 2 ms" }
coupling = "star"
serial = { value = true, source = "chosen" }

[[published]]
quantity = "success_probability"
value = 5e-5
source = "smith2020"
role = "fitted"

[[published]]
quantity = "fidelity"
value = 0.94
source = "smith2020"
role = "predicted"
absolute = 0.03

[[fit]]
parameter = "efficiency"
quantity = "success_probability"
low = 1e-6
`

func TestParse(t *testing.T) {
	l := open(t)
	p, err := l.Parse("f.toml", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if p.Model.Name != "double-click" || len(p.Values) != 8 || len(p.Published) != 2 || len(p.Fits) != 1 || p.Fits[0].Preset != "mine" || p.BestTag() != preset.Secondary {
		t.Errorf("%+v", p)
	}
	r, err := l.Check(p)
	if err != nil || r.Verdict != preset.Pass || r.Rows[1].Verdict != preset.Pass || r.Fits[0].Verdict != preset.IsFitted {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestErrors: what is wrong is said with file, line, column, key, value and what
// is allowed. Each case changes one place of the valid file.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{`name = "mine"`, `name = "Mine"`, `f.toml:1:8: name: "Mine": must be 1 to 64 of a-z, 0-9 and '-', and not start with '-'`},
		{`name = "mine"`, ``, `f.toml:1:1: name: missing: want a name, as in name = "nv-lab"`},
		{`title = "a link of mine"`, ``, `f.toml:1:1: title: missing: want what it is, in a line`},
		{`title = "a link of mine"`, "title = \"x\"\nextends = \"nv-2017\"", `f.toml:3:11: extends: "nv-2017": no preset is called "nv-2017"; near it are nv-2021, nv-2022`},
		{`title = "a link of mine"`, "title = \"x\"\ncolour = 3", `f.toml:3:1: colour: unknown key; the keys here are name, title, extends, sources, link, device, published, fit`},
		{`cite = "A. Smith, Journal of Examples 1, 2 (2020)"`, ``, `f.toml:4:10: sources.smith2020.cite: missing: want the publication: authors, journal, year`},
		{`tag = "secondary"`, `tag = "good"`, `f.toml:6:7: sources.smith2020.tag: "good": unknown tag: want one of primary, secondary, recalled, derived`},
		{`tag = "secondary"`, ``, `f.toml:4:10: sources.smith2020.tag: missing: want one of primary, secondary, recalled, derived`},
		{`[sources.smith2020]`, "[sources.chosen]\ncite = \"x\"\ntag = \"primary\"\n[sources.smith2020]", `f.toml:4:10: sources.chosen: no publication can be called that: give it another key`},
		{`model = "double-click"`, `model = "triple-click"`, `f.toml:9:9: link.model: "triple-click": unknown model: want one of ideal, single-click, double-click, pair-source, satellite, memory-source, absorptive, decoy-bb84, twin-field`},
		{`model = "double-click"`, ``, `f.toml:8:2: link.model: missing: want one of ideal, single-click,`},
		{`length = { value = "2 km"`, `lenght = { value = "2 km"`, `f.toml:10:10: link.lenght: the model double-click has no parameter of this name; near it are length`},
		{`length = { value = "2 km"`, `alpha = { value = 0.1`, `f.toml:10:9: link.alpha: the model double-click has no parameter of this name; there are `},
		{`value = "2 km"`, `value = "-2 km"`, `f.toml:10:20: link.length.value: "-2 km": want from 0 to 1e+08 m`},
		{`value = "2 km"`, `value = "2 us"`, `f.toml:10:20: link.length.value: "2 us": unknown unit "us": want a number and one of mm, cm, m, km, as in "2 m"`},
		{`value = "2 km"`, `value = 2`, `f.toml:10:20: link.length.value: 2: want a length in quotes, with its unit, as in "2 m"`},
		{`value = "2 km", source = "smith2020"`, `source = "smith2020"`, `f.toml:10:10: link.length.value: missing: want from 0 to 1e+08 m`},
		{`value = "2 km", source = "smith2020"`, `value = "2 km"`, `f.toml:10:10: link.length.source: missing: want the key of a section [sources.KEY], or chosen, fitted or derived`},
		{`value = "2 km", source = "smith2020"`, `value = "2 km", source = "smith"`, `f.toml:10:37: link.length.source: "smith": no section [sources.smith]; there are smith2020, and the words chosen, fitted and derived`},
		{`value = "2 km", source = "smith2020"`, `value = "2 km", source = "chosen", tag = "primary"`, `f.toml:10:53: link.length.tag: "primary": a number that is chosen has no publication to trust`},
		{`value = "2 km", source = "smith2020"`, `value = "2 km", source = "fitted"`, `f.toml:10:37: link.length.source: "fitted": no [[fit]] says which published number it was fitted to`},
		{`value = "2 km", source = "smith2020"`, `value = "2 km", source = "smith2020", from = 3`, `f.toml:10:50: link.length.from: unknown key; the keys here are value, source, tag, note`},
		{`{ value = 0.01, source = "fitted" }`, `0.01`, `f.toml:11:14: link.efficiency: 0.01: want a value and its source, as in { value = …, source = "chosen" }`},
		{`value = 0.01`, `value = 1.01`, `f.toml:11:24: link.efficiency.value: 1.01: want from 0 to 1`},
		{`value = 0.01`, `value = nan`, `f.toml:11:24: link.efficiency.value: nan: want from 0 to 1`},
		{`value = 0.01`, `value = "0.01"`, `f.toml:11:24: link.efficiency.value: "0.01": want from 0 to 1, without quotes`},
		{`value = 0.01`, `value = true`, `f.toml:11:24: link.efficiency.value: true: want from 0 to 1, not a truth value`},
		{`efficiency = { value = 0.01, source = "fitted" }`, ``, `f.toml:35:13: fit[0].parameter: "efficiency": its value must say source = "fitted"`},
		{"link]\nmodel = \"double-click\"", "link]\nmodel = \"pair-source\"", `link.attempt_rate: the model pair-source has no parameter of this name; there are pair_rate,`},
		{`attempt_rate = {`, `attempt_time = { value = "1 ms", source = "chosen" }` + "\nattempt_rate = {", `f.toml:14:16: link.attempt_rate: want one of attempt_time, attempt_rate and local_time, not several`},
		{`attempt_rate = { value = "10 kHz", source = "chosen" }`, ``, `f.toml:8:2: link.attempt_time: missing: want one of attempt_time, attempt_rate and local_time`},
		{`"10 kHz"`, `"1 MHz"`, `f.toml:13:16: link.attempt_rate: the herald of an attempt is back after 9.673 us, but the next attempt is due after 1 us: shorten the link, wait longer, or say await_herald = false`},
		{`attempt_rate = {`, "dark_count = { value = 1e-7, source = \"chosen\" }\ndark_rate = { value = \"1 Hz\", source = \"chosen\" }\nattempt_rate = {", `f.toml:13:14: link.dark_count: want dark_rate or dark_count, not both`},
		{`attempt_rate = {`, "dark_rate = { value = \"1 Hz\", source = \"chosen\" }\nattempt_rate = {", `f.toml:8:2: link.window: missing: dark_rate and emission_lifetime count within it`},
		{`"1 ms", source = "derived", note = "half of 2 ms"`, `"3 s", source = "derived", note = "x"`, `f.toml:17:6: device.t2: want at most 2·t1, here 2 s: relaxation alone costs that much coherence`},
		{`"1 ms", source = "derived", note = "half of 2 ms"`, `"1 ms", source = "derived"`, `f.toml:17:6: device.t2.note: missing: a derived number says how it was worked out`},
		{`coupling = "star"`, `coupling = "ring"`, `f.toml:18:12: device.coupling: "ring": want "all" or "star"`},
		{`coupling = "star"`, `coupling = 3`, `f.toml:18:12: device.coupling: 3: want "all" or "star"`},
		{`value = true`, `value = 1`, `f.toml:19:20: device.serial.value: 1: want true or false`},
		{`coupling = "star"`, `storage_t2 = { value = "1 s", source = "chosen" }`, `f.toml:18:14: device.storage_t2: there are no storage qubits: give storage too`},
		{`coupling = "star"`, `coupling_rate = { value = "1 kHz", source = "chosen" }`, `f.toml:15:2: device.reset_std: coupling_rate and reset_std go together: give both, or attempts_1e`},
		{`quantity = "fidelity"`, `quantity = "beauty"`, `f.toml:28:12: published[1].quantity: "beauty": unknown quantity: want one of attempt_s, success_probability, rate_hz, fidelity, fidelity_delivered, qber, key_rate_hz, memory_s`},
		{`quantity = "fidelity"`, `quantity = "success_probability"`, `f.toml:28:12: published[1].quantity: "success_probability": is published twice: keep one`},
		{`value = 0.94`, `value = -0.94`, `f.toml:29:9: published[1].value: -0.94: must be above 0`},
		{`role = "predicted"`, `role = "guessed"`, `f.toml:31:8: published[1].role: "guessed": unknown role: want one of predicted, fitted, informative`},
		{`role = "predicted"`, "role = \"predicted\"\ntag = \"recalled\"", `f.toml:31:8: published[1].role: "predicted": nothing is gated on a number that is recalled: say role = "informative"`},
		{`absolute = 0.03`, ``, `f.toml:27:3: published[1].factor: missing: a prediction wants its tolerance: factor = 1.3, or absolute = 0.03`},
		{`absolute = 0.03`, `factor = 0.9`, `f.toml:32:10: published[1].factor: 0.9: must be above 1: the emulated number may be so many times the published, or that part of it`},
		{`absolute = 0.03`, "absolute = 0.03\nfactor = 2", `f.toml:32:12: published[1].absolute: 0.03: want factor or absolute, not both`},
		{`role = "fitted"`, "role = \"predicted\"\nfactor = 2", `f.toml:25:8: published[0].role: "predicted": a parameter is fitted to it: say role = "fitted"`},
		{"value = 0.94\nsource = \"smith2020\"", "value = 0.94\nsource = \"chosen\"", `f.toml:30:10: published[1].source: "chosen": a published number needs a publication`},
		{`parameter = "efficiency"`, `parameter = "luck"`, `f.toml:35:13: fit[0].parameter: "luck": f.toml: no parameter is called "luck"`},
		{`parameter = "efficiency"`, `parameter = "number_resolving"`, `f.toml:35:13: fit[0].parameter: "number_resolving": can not be fitted: it is no continuous number`},
		{`parameter = "efficiency"`, `parameter = "visibility"`, `f.toml:35:13: fit[0].parameter: "visibility": its value must say source = "fitted"`},
		{`low = 1e-6`, `low = 2`, `f.toml:37:7: fit[0].low: 2: want from 0 to 1`},
		{`low = 1e-6`, "low = 0.5\nhigh = 0.4", `f.toml:38:8: fit[0].high: 0.4: must be above low`},
	} {
		if strings.Count(valid, tt.old) < 1 {
			t.Fatalf("%q is not in the valid file", tt.old)
		}
		_, err := open(t).Parse("f.toml", []byte(strings.Replace(valid, tt.old, tt.new, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.new, err, tt.want)
		}
		var e *toml.Error
		if !errors.Is(err, qnet.ErrInvalid) || !errors.As(err, &e) || e.File != "f.toml" {
			t.Errorf("%q: the error is neither ErrInvalid nor a *toml.Error of the file", tt.new)
		}
	}
}

// A fit that can not be done says so.
func TestFitErrors(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{`low = 1e-6`, `low = 0.5`, `f.toml: fit of efficiency to success_probability of mine: between low = 0.5 and high = 1 it goes from 0.125 to 0.5, never 5e-05`},
		{`low = 1e-6`, `preset = "ideal"`, `f.toml: fit of efficiency to success_probability of ideal: it has no published number of that quantity`},
		{`low = 1e-6`, `preset = "idea"`, `f.toml: fit of efficiency: no preset is called "idea"; near it are ideal`},
	} {
		l := open(t)
		p, err := l.Parse("f.toml", []byte(strings.Replace(valid, tt.old, tt.new, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Check(p); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.new, err, tt.want)
		}
	}
}

// FuzzParse: no input makes Parse panic, and what it accepts can be described.
func FuzzParse(f *testing.F) {
	l := open(f)
	f.Add([]byte(valid))
	f.Add([]byte(""))
	f.Add([]byte("name = \"a\"\ntitle = \"a\"\nextends = \"nv-lab\"\n[link]\nmodel = \"ideal\"\n"))
	f.Add([]byte("name = \"a\"\ntitle = \"a\"\nlink = 3\ndevice = [1]\nsources.x.y = {}\n"))
	f.Add([]byte("name = \"a\"\ntitle = \"a\"\n[[fit]]\n[[published]]\n[[published.x]]\n"))
	f.Add([]byte("name = \"a\"\ntitle = \"a\"\n[device]\nt1 = { value = { value = 1 }, source = [] }\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), ".toml") { // it could extend any file
			return
		}
		p, err := l.Parse("fuzz.toml", data)
		if err != nil {
			if !errors.Is(err, qnet.ErrInvalid) {
				t.Errorf("error %v does not carry ErrInvalid", err)
			}
			return
		}
		if _, err := p.Describe(); err != nil {
			t.Errorf("accepted, but: %v", err)
		}
	})
}
