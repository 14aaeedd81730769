package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"qstack/app/sweep"
	"qstack/app/workload"
	"qstack/node/scenario"
	"qstack/qnet"
)

const base = `version = 1
[network]
name = "demo"
[hardware.h]
[heralding.h]
model = "ideal"
attempt_rate = "1 MHz"
probability = 0.01
fidelity = 1
[[nodes]]
name = "a"
hardware = "h"
[[nodes]]
name = "b"
hardware = "h"
[[links]]
nodes = ["a", "b"]
length = "2 m"
heralding = "h"
[workload]
load = 0.5
horizon = "10 s"
seeds = 2
[[workload.type]]
name = "K"
type = "keep"
[[workload.type]]
name = "M"
type = "measure"
`

const grids = `version = 1
[sweep]
title = "two grids"
base = "base.toml"
[sweep.axis.load]
low = { workload.load = 0.25 }
high = { workload.load = 0.75 }
over = { workload.load = 1.5 }
[sweep.axis.kind]
keep = { workload.type.M = false }
measure = { workload.type = { K = false, M = { pairs = 7 } } }
[[sweep.grid]]
name = "all"
axes = ["kind", "load"]
[[sweep.grid]]
name = "some"
axes = ["load = over, low"]
set = { workload.horizon = "20 s", link.queue_limit = 9 }
seeds = 3
verify = true
`

// source is a source of files by name.
func source(files map[string]string) sweep.FS {
	m := make(fstest.MapFS)
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return sweep.FS{FS: m}
}

func load(t *testing.T, text string) (*sweep.Sweep, error) {
	t.Helper()
	return sweep.Load(source(map[string]string{"d/base.toml": base, "d/sweep.toml": text}), "d")
}

func mustLoad(t *testing.T, text string) *sweep.Sweep {
	t.Helper()
	s, err := load(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mustLoadFile loads a scenario by itself.
func mustLoadFile(t *testing.T, text string) *sweep.Sweep {
	t.Helper()
	s, err := sweep.Load(source(map[string]string{"one.toml": text}), "one.toml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPlan(t *testing.T, s *sweep.Sweep, o sweep.Options) *sweep.Plan {
	t.Helper()
	p, err := s.Plan(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A grid is the product of its axes, the last the fastest, each row the base with
// the alternatives laid over it.
func TestGrids(t *testing.T) {
	s := mustLoad(t, grids)
	p := mustPlan(t, s, sweep.Options{Verify: true})
	type row struct {
		name    string
		load    float64
		types   string
		horizon float64
		limit   int
		seeds   int
	}
	want := []row{
		{"all/keep/low", 0.25, "K1", 10, 0, 2},
		{"all/keep/high", 0.75, "K1", 10, 0, 2},
		{"all/keep/over", 1.5, "K1", 10, 0, 2},
		{"all/measure/low", 0.25, "M7", 10, 0, 2},
		{"all/measure/high", 0.75, "M7", 10, 0, 2},
		{"all/measure/over", 1.5, "M7", 10, 0, 2},
		{"some/over", 1.5, "K1M1", 20, 9, 3},
		{"some/low", 0.25, "K1M1", 20, 9, 3},
	}
	var got []row
	for _, r := range p.Rows {
		w := r.Scenario.Workload
		x := row{r.Name, w.Load, "", r.Simulated, r.Scenario.LinkSettings.QueueLimit, r.Seeds}
		for _, typ := range w.Types {
			x.types += fmt.Sprintf("%s%d", typ.Name, typ.PairsMin)
		}
		if w.Horizon.Seconds() != r.Simulated {
			t.Errorf("%s: planned for %g s, takes %v", r.Name, r.Simulated, w.Horizon)
		}
		got = append(got, x)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if s.Title != "two grids" || s.Name != "d" || !s.Grids[1].Verify || s.Grids[0].Verify {
		t.Errorf("%+v", s)
	}
	// The longest are first, and each has a seed of its own.
	jobs := p.Jobs()
	seeds := make(map[uint64]bool)
	for i, j := range jobs {
		seeds[j.Seed] = true
		if i > 0 && j.Row.Simulated > jobs[i-1].Row.Simulated {
			t.Errorf("run %d is longer than that before it", i)
		}
	}
	if len(jobs) != 6*2+2*3 || len(seeds) != len(jobs) {
		t.Errorf("%d runs of %d seeds", len(jobs), len(seeds))
	}
	// What is not for verification, and what has a name.
	if n := len(mustPlan(t, s, sweep.Options{}).Rows); n != 6 {
		t.Errorf("%d rows without verification", n)
	}
	if p := mustPlan(t, s, sweep.Options{Only: regexp.MustCompile("/low$"), Verify: true, Seeds: 5}); len(p.Rows) != 3 || len(p.Jobs()) != 15 {
		t.Errorf("%d rows, %d runs", len(p.Rows), len(p.Jobs()))
	}
	if _, err := s.Plan(sweep.Options{Only: regexp.MustCompile("nothing")}); !errors.Is(err, qnet.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

// Rows of verification that match are not left out in silence.
func TestLeftOut(t *testing.T) {
	s := mustLoad(t, grids)
	for _, tt := range []struct {
		only, left string
		rows       int
		err        string // in place of a plan
	}{
		{"", "2 rows run with --verify only, the first is some/over", 6, ""},
		{"/low$", "row some/low runs with --verify only", 2, ""},
		{"^all/", "", 6, ""},
		{"^some/", "", 0, "d: 2 rows run with --verify only, the first is some/over"},
		{"^some/low", "", 0, "d: row some/low runs with --verify only"},
		{"nothing", "", 0, "d: no row is chosen; its first is all/keep/low"},
	} {
		o := sweep.Options{Only: regexp.MustCompile(tt.only)}
		p, err := s.Plan(o)
		switch {
		case tt.err != "":
			if !errors.Is(err, qnet.ErrUnknown) || err.Error() != tt.err {
				t.Errorf("%q: got %v, want %s", tt.only, err, tt.err)
			}
		case err != nil:
			t.Errorf("%q: %v", tt.only, err)
		case p.LeftOut() != tt.left || len(p.Rows) != tt.rows:
			t.Errorf("%q: %d rows, %q; want %d, %q", tt.only, len(p.Rows), p.LeftOut(), tt.rows, tt.left)
		}
		o.Verify = true
		if p, err := s.Plan(o); tt.only != "nothing" && (err != nil || p.LeftOut() != "") {
			t.Errorf("%q with verification: %v", tt.only, err)
		}
	}
}

// Rows that are alike have the same runs, which are made once, and count where they
// are not for verification.
func TestSharedRuns(t *testing.T) {
	s := mustLoad(t, grids+"[[sweep.grid]]\nname = \"again\"\naxes = [\"kind = keep\", \"load\"]\nseeds = 3\nverify = true\n")
	p := mustPlan(t, s, sweep.Options{Verify: true})
	store := open(t, t.TempDir(), "r.jsonl")
	defer store.Close()
	parts, err := p.Run(t.Context(), store, sweep.RunOptions{Run: fake})
	if err != nil {
		t.Fatal(err)
	}
	// Of the three runs of each of three rows, two are those of the first grid.
	if len(p.Jobs()) != 18+3 || parts[0].Runs != 12 || parts[1].Runs != 6+3 {
		t.Errorf("%d runs, %+v", len(p.Jobs()), parts)
	}
	for _, r := range p.Rows {
		if n := len(store.Row(r)); n != r.Seeds {
			t.Errorf("%s: %d runs of %d", r.Name, n, r.Seeds)
		}
	}
}

// A hash is that of all that a run depends on and of nothing else.
func TestHash(t *testing.T) {
	hash := func(base, sweepText string) string {
		s, err := sweep.Load(source(map[string]string{"d/base.toml": base, "d/sweep.toml": sweepText}), "d")
		if err != nil {
			t.Fatal(err)
		}
		return mustPlan(t, s, sweep.Options{}).Rows[0].Hash
	}
	first := hash(base, grids)
	for name, same := range map[string]string{
		hash(strings.Replace(base, "seeds = 2", "seeds = 9", 1), grids):                     "seeds",
		hash("# a comment\n"+base, grids):                                                   "comment",
		hash(strings.Replace(base, `name = "demo"`, "name = \"demo\"\nseed = 5", 1), grids): "seed",
		hash(base, strings.Replace(grids, "two grids", "2 grids", 1)):                       "title",
	} {
		if name != first {
			t.Errorf("%s: another hash", same)
		}
	}
	for name, other := range map[string]string{
		hash(strings.Replace(base, "0.01", "0.02", 1), grids):                         "probability",
		hash(base, strings.Replace(grids, "load = 0.25", "load = 0.26", 1)):           "load",
		hash(strings.Replace(base, `horizon = "10 s"`, `horizon = "11 s"`, 1), grids): "horizon",
	} {
		if name == first {
			t.Errorf("%s: the same hash", other)
		}
	}
}

// A scenario is a sweep of one row, a folder without sweep.toml of one for each,
// and a scenario with a table [sweep] is its own base.
func TestFiles(t *testing.T) {
	other := strings.Replace(base, `"demo"`, `"other"`, 1)
	src := source(map[string]string{"d/one.toml": base, "d/two.toml": other,
		"self.toml": base + "[sweep.axis.load]\nb = { workload.load = 0.7 }\na = { workload.load = 0.6 }\n"})
	names := func(arg string) string {
		s, err := sweep.Load(src, arg)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range mustPlan(t, s, sweep.Options{}).Rows {
			out = append(out, fmt.Sprintf("%s %s %g", r.Name, r.Scenario.Name, r.Scenario.Workload.Load))
		}
		return strings.Join(out, ", ")
	}
	for arg, want := range map[string]string{
		"d":          "one demo 0.5, two other 0.5",
		"d/two.toml": "two other 0.5",
		"self.toml":  "self/b demo 0.7, self/a demo 0.6", // in the order of the file
	} {
		if got := names(arg); got != want {
			t.Errorf("%s: got %s, want %s", arg, got, want)
		}
	}
	if _, err := sweep.Load(src, "none"); !errors.Is(err, qnet.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	a, _ := sweep.Load(src, "d/one.toml")
	b, _ := sweep.Load(src, "d/two.toml")
	if s, err := sweep.Join(a, b); err != nil || s.Name != "one+two" || len(s.Grids) != 2 {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := sweep.Join(a, a); !errors.Is(err, qnet.ErrInvalid) || !strings.HasPrefix(err.Error(), "d/one.toml: there are two grids one, the first in d/one.toml") {
		t.Errorf("one grid twice: %v", err)
	}
	// A horizon by default counts too.
	if p := mustPlan(t, mustLoadFile(t, strings.Replace(base, "horizon = \"10 s\"\n", "", 1)), sweep.Options{}); p.Jobs()[0].Row.Simulated != 1000 {
		t.Errorf("planned for %g s", p.Jobs()[0].Row.Simulated)
	}
	// Without a workload there is nothing to run.
	if p, err := mustLoadFile(t, base[:strings.Index(base, "[workload]")]).Plan(sweep.Options{}); !errors.Is(err, qnet.ErrInvalid) {
		t.Errorf("%v, %v", p, err)
	} else if want := "scenario demo has no [workload], and so nothing to run (row one)"; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	// On disk, in a folder whose name is a pattern; a base elsewhere.
	dir := filepath.Join(t.TempDir(), "[x]*")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f.toml"), []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := sweep.Load(sweep.Disk{}, dir); err != nil || len(s.Grids) != 1 {
		t.Errorf("%v, %v", s, err)
	}
	far := filepath.Join(t.TempDir(), "far.toml")
	text := strings.Replace(grids, `"base.toml"`, fmt.Sprintf("%q", filepath.Join(dir, "f.toml")), 1)
	if err := os.WriteFile(far, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := sweep.Load(sweep.Disk{}, far); err != nil || len(s.Grids) != 2 {
		t.Errorf("%v, %v", s, err)
	}
}

// Every mistake is an error that names the file and key where it was made.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{`"base.toml"`, `"no.toml"`, `d/sweep.toml:4:8: sweep.base: "no.toml": d/no.toml: can not be read: it does not come with the program`},
		{"version = 1", "", `d/sweep.toml:1:1: version: missing: a sweep starts with version = 1`},
		{"version = 1", "version = 2", `d/sweep.toml:1:11: version: 2: must be from 1 to 1`},
		{"version = 1", "version = 1\nhorizon = 3", `d/sweep.toml:2:1: horizon: unknown key; the keys here are sweep, version`},
		{`"two grids"`, `2`, `d/sweep.toml:3:9: sweep.title: 2: want a string in quotes, not an integer`},
		{`["kind", "load"]`, `["kin", "load"]`, `d/sweep.toml:14:9: sweep.grid[0].axes[0]: "kin": no axis [sweep.axis.kin]; there are load, kind`},
		{`["kind", "load"]`, `["load", "load"]`, `d/sweep.toml:14:17: sweep.grid[0].axes[1]: "load": the grid has this axis already`},
		{`["kind", "load"]`, `"load"`, `d/sweep.toml:14:8: sweep.grid[0].axes: "load": want the names of axes, as in ["kind", "load = low, high"]`},
		{`load = over, low`, `load = over, lo`, `d/sweep.toml:17:9: sweep.grid[1].axes[0]: "load = over, lo": axis load has no alternative "lo"; it has low, high, over`},
		{`load = over, low`, `load = low, low`, `d/sweep.toml:17:9: sweep.grid[1].axes[0]: "load = low, low": "low" is there twice`},
		{"seeds = 3", "seeds = 0", `d/sweep.toml:19:9: sweep.grid[1].seeds: 0: must be from 1 to 100000`},
		{`name = "some"`, `name = "all"`, `d/sweep.toml:16:8: sweep.grid[1].name: "all": there are two grids all, the first in d/sweep.toml: give each a name of its own`},
		{`name = "some"`, `name = "so/me"`, `d/sweep.toml:16:8: sweep.grid[1].name: "so/me": the name must be 1 to 40 characters without / , = and tabs`},
		{"low = {", `"a,b" = {`, `d/sweep.toml:6:9: sweep.axis.load."a,b": the name must be 1 to 40 characters without / , = and tabs`},
		{`title = "two grids"`, `title = "two grids"` + "\nreference = \"r.toml\"", `d/r.toml: can not be read: it does not come with the program`},
	} {
		if !strings.Contains(grids, tt.old) {
			t.Fatalf("%q is not in the sweep", tt.old)
		}
		_, err := load(t, strings.Replace(grids, tt.old, tt.new, 1))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, qnet.ErrInvalid) {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.new, err, tt.want)
		}
	}
	// Those of rows are found when they are read as scenarios.
	for _, tt := range []struct{ old, new, want string }{
		{"load = 0.25", "load = -1", `d/sweep.toml:6:25: sweep.axis.load.low.workload.load: -1: must be above 0 and at most 1000`},
		{"load = 0.25", "lood = 1", `d/sweep.toml:6:18: sweep.axis.load.low.workload.lood: unknown key`},
		{"load = 0.25", `load = "x"`, `d/sweep.toml:6:25: sweep.axis.load.low.workload.load: "x": want a number without quotes, not a string`},
		{"pairs = 7", "pairs = 0", `d/sweep.toml:11:56: sweep.axis.kind.measure.workload.type.M.pairs: 0: want a number from 1 to 1000000000`},
		{"workload.type.M = false", "workload.type.N = false", `d/sweep.toml:10:28: sweep.axis.kind.keep.workload.type.N: false: workload.type has no element of this name`},
		{"workload.type.M = false", "workload.type.M = 3", `d/sweep.toml:10:28: sweep.axis.kind.keep.workload.type.M: 3: want the keys to change, or false to take the element away, not an integer`},
		{"queue_limit = 9", "queue_limit = 0", `d/sweep.toml:18:55: sweep.grid[1].set.link.queue_limit: 0: must be from 1 to`},
	} {
		s, err := load(t, strings.Replace(grids, tt.old, tt.new, 1))
		if err == nil {
			_, err = s.Plan(sweep.Options{Verify: true})
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, qnet.ErrInvalid) || !strings.Contains(err.Error(), " (row ") {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.new, err, tt.want)
		}
	}
	s, err := sweep.Load(source(map[string]string{"d/base.toml": strings.Replace(base, `"10 s"`, `"0 s"`, 1), "d/sweep.toml": grids}), "d")
	if err == nil {
		_, err = s.Plan(sweep.Options{})
	}
	if want := `d/base.toml:22:11: workload.horizon: "0 s": must be above 0`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// fake is a runner whose results follow from scenario and seed.
func fake(_ context.Context, s *scenario.Scenario, seed uint64) (*workload.Result, error) {
	return &workload.Result{Version: workload.Version, Scenario: s.Name, Seed: seed,
		SimulatedS: (s.Workload.Horizon - s.Workload.Warmup).Seconds(), WarmupS: s.Workload.Warmup.Seconds(), WallS: 0.25,
		Frames: map[string]uint64{"Add": seed % 100}}, nil
}

func open(t *testing.T, dir, file string) *sweep.Store {
	t.Helper()
	s, err := sweep.OpenStore(dir, file, "test")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// results returns the seeds of all runs by row, as the store has them.
func results(p *sweep.Plan, s *sweep.Store) map[string][]uint64 {
	out := make(map[string][]uint64)
	for _, r := range p.Rows {
		for _, x := range s.Row(r) {
			out[r.Name] = append(out[r.Name], x.Seed)
		}
	}
	return out
}

func same(a, b map[string][]uint64) bool { return maps.EqualFunc(a, b, slices.Equal) }

// A sweep that is interrupted after any number of runs goes on where it was, runs
// nothing twice and ends with the same results; so does one whose last line is torn.
func TestRestart(t *testing.T) {
	s := mustLoad(t, grids)
	p := mustPlan(t, s, sweep.Options{Verify: true})
	whole := open(t, t.TempDir(), "r.jsonl")
	defer whole.Close()
	parts, err := p.Run(t.Context(), whole, sweep.RunOptions{Run: fake, Parallel: 3})
	if err != nil {
		t.Fatal(err)
	}
	want := results(p, whole)
	total := len(p.Jobs())
	if len(parts) != 2 || parts[0].Name != sweep.PartMain || parts[0].Runs != 12 || parts[0].SimulatedS != 120 || parts[0].NewS != 120 || parts[0].WorkS != 3 ||
		parts[1].Name != sweep.PartVerify || parts[1].Runs != 6 || parts[1].SimulatedS != 120 || len(want) != 8 {
		t.Errorf("%+v, %d rows", parts, len(want))
	}
	for kill := range total {
		dir := t.TempDir()
		store := open(t, dir, "r.jsonl")
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("killed")
		var ran atomic.Int64
		_, err := p.Run(ctx, store, sweep.RunOptions{Parallel: 2, Run: func(ctx context.Context, s *scenario.Scenario, seed uint64) (*workload.Result, error) {
			if ran.Add(1) > int64(kill) {
				cancel(reason)
				return nil, context.Cause(ctx)
			}
			return fake(ctx, s, seed)
		}})
		cancel(nil)
		if err != reason {
			t.Fatalf("killed after %d runs: %v", kill, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		// What was being written when the power failed.
		file := filepath.Join(dir, "r.jsonl")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "\n"); n > kill {
			t.Errorf("killed after %d runs: %d lines", kill, n)
		}
		torn := []string{"", `{"row":"all/keep/lo`, `{`}[kill%3]
		if err := os.WriteFile(file, append(data, torn...), 0o600); err != nil {
			t.Fatal(err)
		}
		store = open(t, dir, "r.jsonl")
		there := 0
		for _, seeds := range results(p, store) {
			there += len(seeds)
		}
		var again atomic.Int64
		if _, err := p.Run(t.Context(), store, sweep.RunOptions{Run: func(ctx context.Context, s *scenario.Scenario, seed uint64) (*workload.Result, error) {
			again.Add(1)
			return fake(ctx, s, seed)
		}}); err != nil {
			t.Fatal(err)
		}
		if there+int(again.Load()) != total || !same(results(p, store), want) {
			t.Errorf("killed after %d runs: %d were there, %d were run, of %d", kill, there, again.Load(), total)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		// All is there now, and whole.
		store = open(t, dir, "r.jsonl")
		if !same(results(p, store), want) {
			t.Errorf("killed after %d runs: read again, the results are others", kill)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The parts of a sweep have no run in common and together are the whole.
func TestShards(t *testing.T) {
	s := mustLoad(t, grids)
	p := mustPlan(t, s, sweep.Options{Verify: true})
	whole := open(t, t.TempDir(), "r.jsonl")
	defer whole.Close()
	if _, err := p.Run(t.Context(), whole, sweep.RunOptions{Run: fake}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 5, 18, 30} {
		dir := t.TempDir()
		runs := 0
		for i := 1; i <= n; i++ {
			part := mustPlan(t, s, sweep.Options{Verify: true, Shard: i, Shards: n})
			store := open(t, dir, fmt.Sprintf("%d.jsonl", i))
			parts, err := part.Run(t.Context(), store, sweep.RunOptions{Run: fake})
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range parts {
				if runs += x.Runs; x.Kept != 0 {
					t.Errorf("part %d of %d: %d runs were there", i, n, x.Kept)
				}
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
		store := open(t, dir, "all.jsonl")
		if runs != len(p.Jobs()) || !same(results(p, store), results(p, whole)) {
			t.Errorf("%d parts: %d runs, of %d", n, runs, len(p.Jobs()))
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []sweep.Options{{Shard: 3, Shards: 2}, {Shard: 0, Shards: 2}, {Shard: 1}, {Seeds: -1}} {
		if _, err := s.Plan(bad); !errors.Is(err, qnet.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// What is wrong in a folder of results is an error, what is of another program
// does not count, and a run that fails stops none of the others.
func TestStore(t *testing.T) {
	dir := t.TempDir()
	p := mustPlan(t, mustLoad(t, grids), sweep.Options{})
	store := open(t, dir, "r.jsonl")
	bad := errors.New("no luck")
	var once sync.Once
	_, err := p.Run(t.Context(), store, sweep.RunOptions{Parallel: 1, Run: func(ctx context.Context, s *scenario.Scenario, seed uint64) (*workload.Result, error) {
		failed := false
		once.Do(func() { failed = true })
		if failed {
			return nil, bad
		}
		return fake(ctx, s, seed)
	}})
	if !errors.Is(err, bad) || !strings.HasPrefix(err.Error(), "all/keep/low, run 1 (seed ") {
		t.Errorf("got %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := sweep.OpenStore(dir, "other.jsonl", "another")
	if err != nil || other.Others() != 11 || len(results(p, other)) != 0 {
		t.Fatalf("%v, %d", err, other.Others())
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "bad.jsonl")
	for _, line := range []string{"{\n", "{}\n", "\n", `{"hash":"x","number":1,"result":{"version":99}}` + "\n"} {
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := sweep.OpenStore(dir, "r.jsonl", "test"); !errors.Is(err, qnet.ErrInvalid) || !strings.HasPrefix(err.Error(), file+":1: ") {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := sweep.OpenStore(file, "r.jsonl", "test"); err == nil {
		t.Error("a file is no folder")
	}
}

// No input makes the reader panic.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(grids))
	f.Add([]byte("version = 1\n[sweep]\nbase = \"base.toml\"\n[sweep.axis.x]\ny = { workload.type = { K = false, M = false } }\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := sweep.Load(source(map[string]string{"d/base.toml": base, "d/sweep.toml": string(data)}), "d")
		if err != nil {
			if !errors.Is(err, qnet.ErrInvalid) {
				t.Errorf("error %v does not carry ErrInvalid", err)
			}
			return
		}
		for _, g := range s.Grids {
			for _, r := range g.Rows {
				if r.Seeds < 1 {
					t.Errorf("%s: %d seeds", r.Name, r.Seeds)
				}
			}
		}
	})
}
