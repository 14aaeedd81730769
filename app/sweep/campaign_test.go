package sweep_test

import (
	"math"
	"regexp"
	"strings"
	"testing"

	"qstack/app/sweep"
	"qstack/app/workload"
	"qstack/node/scenario"
	"qstack/scenarios"
)

func campaign(t *testing.T) *sweep.Sweep {
	t.Helper()
	s, err := sweep.Load(sweep.FS{FS: scenarios.Files}, "campaign")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The campaign has the scenarios and horizons that were published, counted here by
// hand.
func TestCampaignCounts(t *testing.T) {
	s := campaign(t)
	scenariosOf := make(map[string]map[string]bool) // by grid, without the pass
	runs := make(map[string]int)
	var total, passes, loss float64
	for _, g := range s.Grids {
		if g.Verify {
			continue
		}
		scenariosOf[g.Name] = make(map[string]bool)
		for _, r := range g.Rows {
			name, pass, _ := strings.Cut(r.Name, "/pass ")
			scenariosOf[g.Name][name] = true
			runs[g.Name] += r.Seeds
			seconds := float64(r.Seeds) * r.Simulated
			total += seconds
			if pass != "" {
				passes += seconds
			}
			if strings.HasPrefix(g.Name, "loss-") {
				loss += seconds
			}
		}
	}
	for name, want := range map[string]int{"single": 126, "mixed": 36, "loss": 7} {
		if n := len(scenariosOf[name]); n != want || runs[name] != 2*want {
			t.Errorf("%s: %d scenarios, %d runs; want %d, each twice", name, n, runs[name], want)
		}
	}
	for name, want := range map[string]int{"loss-single": 21, "loss-mixed": 14, "fidelity": 360, "load-a": 400, "load-b": 160, "load-c": 360} {
		if runs[name] != want {
			t.Errorf("%s: %d runs, want %d", name, runs[name], want)
		}
	}
	if want := 169.0 * (2130 + 3079); math.Abs(passes-want) > 1e-6*want {
		t.Errorf("two passes take %g s, want %g", passes, want)
	}
	if want := 35.0 * 1899; math.Abs(loss-want) > 1e-6*want {
		t.Errorf("runs with loss take %g s, want %g", loss, want)
	}
	if math.Abs(total/3600-593) > 1 {
		t.Errorf("%g simulated hours, want 593", total/3600)
	}
}

// All its scenarios are valid, and no two rows of a grid are the same.
func TestCampaignIsValid(t *testing.T) {
	s := campaign(t)
	p, err := s.Plan(sweep.Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.Reference == nil {
		t.Fatal("no reference")
	}
	seen := make(map[string]string)
	for _, r := range p.Rows {
		key := r.Grid.Name + r.Hash
		if first, ok := seen[key]; ok {
			t.Errorf("%s and %s are the same scenario", first, r.Name)
		}
		seen[key] = r.Name
		w := r.Scenario.Workload
		if w == nil || math.Abs(w.Horizon.Seconds()-r.Simulated) > 1e-9 {
			t.Errorf("%s: %+v, planned for %g s", r.Name, w, r.Simulated)
		}
		if strings.HasPrefix(r.Name, "contract") {
			compat := r.Scenario.LinkSettings.Compat
			for _, typ := range w.Types {
				unmoved, prepared := strings.HasPrefix(r.Name, "contract-unmoved/"), strings.HasPrefix(r.Name, "contract-prepare/")
				if !typ.Highest || compat.HeraldingOnly || typ.Type == scenario.KeepPairs && typ.Store == unmoved || (typ.Type == scenario.PreparePairs) != prepared {
					t.Errorf("%s: %+v, %+v", r.Name, typ, compat)
				}
			}
		}
		if judged := strings.HasPrefix(r.Name, "steady") || strings.HasPrefix(r.Name, "saturated"); judged && ((w.Horizon-w.Warmup).Seconds() < 6000 || r.Seeds < 30) {
			t.Errorf("%s: %d runs of %v after %v", r.Name, r.Seeds, w.Horizon, w.Warmup)
		}
	}
}

// published returns a run of a row in which everything is as the reference has it.
func published(s *sweep.Sweep, j sweep.Job) *workload.Result {
	average := func(x float64) workload.Average {
		return workload.Average{Mean: x * (1 + 0.002*float64(j.Number%3-1)), N: 1000}
	}
	estimate := func(x float64) workload.Estimate {
		a := average(x)
		return workload.Estimate{Mean: a.Mean, N: a.N}
	}
	figures := func(typ string) workload.Figures {
		f := workload.Figures{Requests: 1000, Completed: 1000, Throughput: average(8.05), Outcomes: workload.Outcomes{F: estimate(0.75)}}
		f.Latency.Average, f.Scaled.Average = average(1), average(1)
		for _, w := range s.Reference.Wants {
			if w.Row != j.Row.Name || w.Type != typ {
				continue
			}
			if w.IsRange {
				w.Value = w.To
			}
			switch w.Figure {
			case workload.FigureThroughput:
				f.Throughput = average(w.Value)
			case workload.FigureScaled:
				f.Scaled.Average = average(w.Value)
			case workload.FigureLatency:
				f.Latency.Average = average(w.Value)
			case workload.FigureOracle:
				f.Oracle = estimate(w.Value)
			case workload.FigureOutcomes:
				f.Outcomes.F = estimate(w.Value)
			}
		}
		return f
	}
	half := func(f workload.Figures, side float64) workload.Figures {
		f.Throughput.Mean *= 0.5 + 0.01*side*float64(j.Number%2*2-1)
		return f
	}
	r := &workload.Result{Version: workload.Version, Seed: j.Seed, WarmupS: j.Row.Scenario.Workload.Warmup.Seconds(), WallS: 0.1}
	r.SimulatedS = j.Row.Simulated - r.WarmupS
	total := 0.0
	for _, t := range j.Row.Scenario.Workload.Types {
		f := figures(t.Name)
		total += f.Throughput.Mean
		r.Types = append(r.Types, workload.TypeResult{Name: t.Name, MinFidelity: 0.74, Both: f, A: half(f, 1), B: half(f, -1)})
	}
	all := r.Types[0]
	all.Name, all.Both.Throughput.Mean = "all", total
	r.All = all
	return r
}

// The reference judges what it should, and what it says agrees with itself: runs
// that are as it has them pass, and those of which a figure is off by a tenth do not.
func TestCampaignReference(t *testing.T) {
	s := campaign(t)
	p, err := s.Plan(sweep.Options{Verify: true, Only: regexp.MustCompile(`^(saturated|steady|transient|many|lossy|kept|contract|single/.*/both/pass 1)`)})
	if err != nil {
		t.Fatal(err)
	}
	changed := map[string]string{"saturated/LAB/MD 1-3/1.5": "throughput_hz", "steady/QL2020/MD 1/0.7": "throughput_hz",
		"kept/LAB/NL 1/none": "fidelity_oracle", "contract: contract-prepare/LAB/0.7": "fidelity_outcomes"}
	for _, off := range []float64{1, 1.1} {
		store := open(t, t.TempDir(), "r.jsonl")
		for _, j := range p.Jobs() {
			r := published(s, j)
			for i := range r.Types {
				if strings.HasPrefix(j.Row.Name, "saturated/LAB/MD") || strings.HasPrefix(j.Row.Name, "steady/QL2020/MD 1/") {
					r.Types[i].Both.Throughput.Mean *= off
				}
				if j.Row.Name == "kept/LAB/NL 1/none" {
					r.Types[i].Both.Oracle.Mean /= off
				}
				if j.Row.Name == "contract-prepare/LAB/0.7" {
					r.Types[i].Both.Outcomes.F.Mean /= off
				}
			}
			if err := store.Put(j, r); err != nil {
				t.Fatal(err)
			}
		}
		r := sweep.NewReport(p, store, nil)
		r.Verify(s.Reference)
		verdicts := make(map[string]int) // by kind and verdict
		for _, c := range r.Checks {
			verdicts[c.Kind+" "+string(c.Verdict)]++
			if (c.Verdict == sweep.Fail) != (off > 1 && changed[c.Name] == c.Figure) {
				t.Errorf("off by %g: %+v", off, c)
			}
		}
		// Throughput of 6 rows in saturation, throughput and scaled latency of 8 steady
		// ones of one type, throughput of one that has no more, 2 at load 0.5, and 3 types
		// in 2 mixes; two fidelities without a move; that no request of 4 rows fails.
		failed := 0
		if off > 1 {
			failed = 3
		}
		if n, want := verdicts["row pass"]+verdicts["row fail"], 6+2*8+1+2*2+2*3*2+2+4; n != want || verdicts["row fail"] != failed {
			t.Errorf("%d figures are judged, want %d: %v", n, want, verdicts)
		}
		// 18 rows of moved pairs and measured ones, 12 of others, 6 of preparation, and 12 of
		// 3 types.
		if n, want := verdicts["above pass"]+verdicts["above fail"], 18+12+6+12*3; n != want || (verdicts["above fail"] == 1) != (off > 1) {
			t.Errorf("%d contracts are judged, want %d: %v", n, want, verdicts)
		}
		if verdicts["ratio pass"] != 3+4 || verdicts["even pass"] != 5+4 || (r.Verdict == sweep.Pass) != (off == 1) {
			t.Errorf("%s: %v", r.Verdict, verdicts)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
