package sweep_test

import (
	"errors"
	"strings"
	"testing"

	"qstack/app/sweep"
	"qstack/qnet"
)

// Two axes of a grid, or one and the grid itself, must not set the same key: one of
// them would say what is not run.
func TestShadows(t *testing.T) {
	const head = "version = 1\n[sweep]\nbase = \"base.toml\"\n"
	axes := func(a, b string) string {
		return head + "[sweep.axis.a]\none = {}\ntwo = " + a + "\n[sweep.axis.b]\nthree = " + b + "\nfour = {}\n"
	}
	const grid = "[[sweep.grid]]\nname = \"g\"\n"
	for _, x := range []struct{ name, text, want string }{
		{"axes", axes(`{ workload.load = 0.25 }`, `{ workload.load = 0.5 }`),
			`d/sweep.toml:8:27: sweep.axis.b.three.workload.load: 0.5: grid sweep has workload.load from axis a too, at sweep.axis.a.two.workload.load, and one would hide the other: leave one of both out`},
		{"the same value", axes(`{ workload.load = 0.5 }`, `{ workload.load = 0.5 }`), `grid sweep has workload.load from axis a too`},
		{"axis over grid", axes(`{}`, `{ workload.horizon = "4 s" }`) + grid + `set.workload.horizon = "3 s"`,
			`d/sweep.toml:8:30: sweep.axis.b.three.workload.horizon: "4 s": grid g has workload.horizon from the grid itself too, at sweep.grid[0].set.workload.horizon, and one would hide the other`},
		{"axis over seeds of the grid", axes(`{}`, `{ workload.seeds = 7 }`) + grid + `seeds = 3`,
			`sweep.axis.b.three.workload.seeds: 7: grid g has workload.seeds from the grid itself too, at sweep.grid[0].seeds, and`},
		{"axes of a grid", axes(`{ workload.load = 0.25 }`, `{ workload.load = 0.5 }`) + grid + `axes = ["b", "a"]`,
			`d/sweep.toml:6:25: sweep.axis.a.two.workload.load: 0.25: grid g has workload.load from axis b too, at sweep.axis.b.three.workload.load`},
		{"elements by name", axes(`{ workload.type.M = { pairs = 2, share = 3 } }`, `{ workload.type = { M = { pairs = 3 } } }`), `grid sweep has workload.type.M.pairs from axis a too`},
		{"a value over a table", axes(`{ workload.type.M.share = 2 }`, `{ workload.type = [] }`), `grid sweep has workload.type.M.share from axis a too`},
		{"a table over a value", axes(`{ network = 1 }`, `{ network.seed = 2 }`), `grid sweep has network from axis a too, at sweep.axis.a.two.network`},
		{"an element taken away twice", axes(`{ workload.type.M = false }`, `{ workload.type.M = false }`), `grid sweep has workload.type.M from axis a too`},

		{"grids with one of both each", axes(`{ workload.load = 0.25 }`, `{ workload.load = 0.5 }`) + grid + "axes = [\"a\"]\n" + grid[:strings.LastIndex(grid, `"g"`)] + "\"h\"\naxes = [\"b\"]", ""},
		{"alternatives that are not taken", axes(`{ workload.load = 0.25 }`, `{ workload.load = 0.5 }`) + grid + `axes = ["a = one", "b"]`, ""},
		{"other keys of a table", axes(`{ workload.type.M.pairs = 2 }`, `{ workload.type.M.share = 3 }`), ""},
		{"an element changed, then taken away", axes(`{ workload.type.M.pairs = 2 }`, `{ workload.type.M = false }`), ""},
		{"an element changed of another array", axes(`{ workload.type = [{ name = "M", type = "keep" }] }`, `{ workload.type.M.pairs = 2 }`), ""},
		{"nothing", axes(`{ workload = {} }`, `{ workload.load = 0.5 }`), ""},
	} {
		_, err := load(t, x.text)
		switch {
		case x.want == "" && err != nil:
			t.Errorf("%s: %v", x.name, err)
		case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want) || !errors.Is(err, qnet.ErrInvalid)):
			t.Errorf("%s:\ngot  %v\nwant %s", x.name, err, x.want)
		}
	}
	// What is allowed has in each row what both say.
	s := mustLoad(t, axes(`{ workload.type.M.pairs = 2 }`, `{ workload.type.M = false }`))
	for _, r := range mustPlan(t, s, sweep.Options{}).Rows {
		types := r.Scenario.Workload.Types
		if taken := r.Values[1] == "three"; len(types) != 2-boolInt(taken) || !taken && types[1].PairsMin != 1+boolInt(r.Values[0] == "two") {
			t.Errorf("%s: %+v", r.Name, types)
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
