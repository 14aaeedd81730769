package workload

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

// TestStudent: against the tables that every textbook has.
func TestStudent(t *testing.T) {
	for n, want := range map[int]float64{1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 9: 2.262, 10: 2.228, 15: 2.131, 20: 2.086,
		29: 2.045, 30: 2.042, 40: 2.021, 60: 2.000, 120: 1.980, 1000: 1.962, 1_000_000: 1.960} {
		if got := student95(n); math.Abs(got-want) > 0.0005 {
			t.Errorf("%d degrees of freedom: %.4f, want %.3f", n, got, want)
		}
	}
	if a, b := student95(200), student95(201); !(a > b) || a-b > 1e-4 {
		t.Errorf("%v at 200, %v at 201", a, b)
	}
}

func TestSummarise(t *testing.T) {
	unknown := math.NaN()
	figures := func(requests uint64, throughput, latency float64) Figures {
		return Figures{Requests: requests, Completed: requests, Throughput: Average{throughput, 1}, Scaled: Distribution{Average: Average{latency, requests}}, CHSH: Estimate{latency, 0.2, requests}}
	}
	var rs []*Result
	for i, x := range []float64{1, 2, 6} {
		r := &Result{Version: Version, Scenario: "s", Seed: uint64(7 + i), SimulatedS: 90, WarmupS: 10, WallS: 2, Frames: map[string]uint64{"Add": uint64(x)},
			Types: []TypeResult{{Name: "MD", Offered: 5, Both: figures(10, 2*x, x), A: figures(5, x, x+1), B: figures(5, x, x)}}}
		r.All = r.Types[0]
		r.All.Name = "all"
		r.Queue.Mean = x
		if i == 1 {
			r.Types[0].Both.Failed = map[string]uint64{"timed out": 3}
		}
		if i == 2 {
			r.Types[0].A.CHSH = Estimate{}
			r.Errors = []string{"bad"}
		}
		rs = append(rs, r)
	}
	s := Summarise(rs)
	if s.Scenario != "s" || !reflect.DeepEqual(s.Seeds, []uint64{7, 8, 9}) || s.SimulatedS != 300 || s.WallS != 6 || len(s.Errors) != 1 {
		t.Errorf("got %+v", s)
	}
	for _, want := range []Row{
		// The spread of three runs tells little. Of pairs they know their errors, 0.2.
		{Type: "MD", Origin: OriginBoth, Figure: FigureCHSH, Mean: 3, StdErr: 0.2 / math.Sqrt(3), Low: 3 - 1.96*0.2/math.Sqrt(3), High: 3 + 1.96*0.2/math.Sqrt(3), N: 3, Within: true},
		// A run without the figure does not count; one without failures counts as 0.
		{Type: "MD", Origin: OriginA, Figure: FigureCHSH, Mean: 2.5, StdErr: 0.2 / math.Sqrt2, Low: 2.5 - 1.96*0.2/math.Sqrt2, High: 2.5 + 1.96*0.2/math.Sqrt2, N: 2, Within: true},
		{Type: "MD", Origin: OriginBoth, Figure: FigureFailed + ".timed out", Mean: 1, StdErr: unknown, Low: unknown, High: unknown, N: 3},
		// Of what queues do, and of counts, they do not.
		{Type: "MD", Origin: OriginBoth, Figure: FigureThroughput, Mean: 6, StdErr: unknown, Low: unknown, High: unknown, N: 3},
		{Type: "MD", Origin: OriginBoth, Figure: FigureScaled, Mean: 3, StdErr: unknown, Low: unknown, High: unknown, N: 3},
		{Type: "MD", Origin: OriginDifference, Figure: FigureScaled, Mean: 1, StdErr: unknown, Low: unknown, High: unknown, N: 3},
		{Type: "", Origin: "", Figure: FigureQueue, Mean: 3, StdErr: unknown, Low: unknown, High: unknown, N: 3},
		{Type: "", Origin: "", Figure: "frames.Add", Mean: 3, StdErr: unknown, Low: unknown, High: unknown, N: 3},
		// What the scenario says is exact.
		{Type: "MD", Origin: OriginBoth, Figure: FigureOffered, Mean: 5, Low: 5, High: 5, N: 3},
	} {
		got, ok := s.Row(want.Type, want.Origin, want.Figure)
		if !ok || got.N != want.N || got.Within != want.Within || !near(got.Mean, want.Mean) || !equal(got.StdErr, want.StdErr) || !equal(got.Low, want.Low) || !equal(got.High, want.High) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	// The spread of five runs is taken for what it is: variance 4.3, t of four 2.776.
	five, _ := Summarise(append(append([]*Result{}, rs...), rs[:2]...)).Row("MD", OriginBoth, FigureScaled)
	if se := math.Sqrt(4.3 / 5); five.N != 5 || five.Within || !near(five.Mean, 2.4) || !near(five.StdErr, se) || !near(five.High, 2.4+2.7764*se) {
		t.Errorf("five runs: %+v", five)
	}
	// Of fidelities each run knows the error: 0.02 in each of nine is 0.02/3 of the mean,
	// though these happen to be alike.
	var alike []*Result
	for i := range 9 {
		r := &Result{Scenario: "s", Seed: uint64(i), Types: []TypeResult{{Name: "MD", Both: Figures{Requests: 1, Outcomes: Outcomes{F: Estimate{0.8 + 1e-4*float64(i%2), 0.02, 500}}}}}}
		r.All = r.Types[0]
		r.All.Name = AllTypes
		alike = append(alike, r)
	}
	if nine, _ := Summarise(alike).Row("MD", OriginBoth, FigureOutcomes); nine.N != 9 || !nine.Within || !near(nine.StdErr, 0.02/3) {
		t.Errorf("fidelity of nine runs: %+v", nine)
	}
	if _, ok := s.Row("MD", OriginBoth, FigureOracle); ok {
		t.Error("a figure that no run has is there")
	}
	// One run has the standard error that it found itself.
	one, _ := Summarise(rs[:1]).Row("MD", OriginBoth, FigureCHSH)
	if one.N != 1 || one.Mean != 1 || one.StdErr != 0.2 || !near(one.High, 1+z95*0.2) {
		t.Errorf("one run: %+v", one)
	}
	// Few pairs may be alike by chance, which says nothing of their error.
	for n, want := range map[uint64]float64{fewPairs - 1: unknown, fewPairs: 0} {
		r := &Result{Types: []TypeResult{{Name: "MD", Both: Figures{Oracle: Estimate{0.9, 0, n}}}}, All: TypeResult{Name: AllTypes}}
		if row, ok := Summarise([]*Result{r}).Row("MD", OriginBoth, FigureOracle); !ok || !equal(row.StdErr, want) || row.Within {
			t.Errorf("fidelity of %d pairs that are alike: %+v", n, row)
		}
	}
	// As JSON and back a summary is the same, with null for what is not known.
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var read Summary
	if err := json.Unmarshal(text, &read); err != nil || len(read.Rows) != len(s.Rows) {
		t.Fatalf("%v: %s", err, text)
	}
	for i, got := range read.Rows {
		if want := s.Rows[i]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	if !strings.Contains(string(text), `"mean":6,"n":3,"stderr":null,"low":null,"high":null}`) {
		t.Errorf("got %s", text)
	}
	// So is a result.
	b, err := json.Marshal(rs[1])
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(&back, rs[1]) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, &back, rs[1])
	}
}

// Intervals of what each run knows the error of are from within up to 99 runs, as the
// table says; others have one from five runs on.
func TestSpreadRuns(t *testing.T) {
	summary := func(runs int) *Summary {
		var rs []*Result
		for i := range runs {
			e := Estimate{0.8 + 1e-3*float64(i%2), 0.02, 500}
			f := Figures{Requests: 1, Throughput: Average{e.Mean, 1}, Oracle: e, Prepared: e, CHSH: e, Outcomes: Outcomes{F: e, X: e, Y: e, Z: e}}
			r := &Result{Scenario: "s", Seed: uint64(i), Types: []TypeResult{{Name: "MD", Both: f, A: f, B: f}}, All: TypeResult{Name: AllTypes, Both: Figures{Fidelity: Average{e.Mean, e.N}}}}
			rs = append(rs, r)
		}
		return Summarise(rs)
	}
	const note = "of oracle, outcomes and S from the errors within the runs"
	for _, x := range []struct {
		runs   int
		within bool // of pairs
		spread bool // that tells the errors of others
	}{{1, true, false}, {4, true, false}, {5, true, true}, {99, true, true}, {100, false, true}} {
		s := summary(x.runs)
		for _, of := range []struct {
			typ           string
			within, known bool
			names         []string
		}{
			{"MD", x.within, true, []string{FigureOracle, FigurePrepared, FigureOutcomes, FigureQBERX, FigureQBERY, FigureQBERZ, FigureCHSH}},
			{"MD", false, x.spread, []string{FigureThroughput}},
			{AllTypes, false, x.spread, []string{FigureFidelity}}, // how many pairs of each type there are differs too
		} {
			for _, name := range of.names {
				row, ok := s.Row(of.typ, OriginBoth, name)
				if se := 0.02 / math.Sqrt(float64(x.runs)); !ok || row.Within != of.within || (math.Abs(row.StdErr-se) < 1e-12) != of.within || math.IsNaN(row.StdErr) == of.known || math.IsNaN(row.High) == of.known {
					t.Errorf("%s of %d runs: %+v", name, x.runs, row)
				}
			}
		}
		for group, has := range map[string]bool{"fidelity": true, "fairness": x.within, "throughput": x.spread} { // intervals
			var b strings.Builder
			if err := s.WriteTable(&b, []string{group}); err != nil {
				t.Fatal(err)
			}
			_, figures, _ := strings.Cut(b.String(), "\n\n")
			if strings.Contains(b.String(), note) != (x.within && group != "throughput") || strings.Contains(figures, "±") != has {
				t.Errorf("%s of %d runs:\n%s", group, x.runs, b.String())
			}
		}
	}
}

// TestExact: figures that chance has no part in have no error, and do not differ by
// what rounding makes.
func TestExact(t *testing.T) {
	for _, n := range []int{1, 3, 6} {
		var rs []*Result
		for i := range n {
			a, b := Estimate{0.9 + 1e-16*float64(i), 4e-18, 1000}, Estimate{0.9 - 1e-16, 3e-18, 1000}
			r := &Result{Scenario: "s", Seed: uint64(i), Types: []TypeResult{{Name: "CK", Both: Figures{Requests: 2, Oracle: a}, A: Figures{Requests: 1, Oracle: a}, B: Figures{Requests: 1, Oracle: b}}}}
			r.All = r.Types[0]
			r.All.Name = AllTypes
			rs = append(rs, r)
		}
		s := Summarise(rs)
		if row, _ := s.Row("CK", OriginBoth, FigureOracle); row.StdErr != 0 || !near(row.Mean, 0.9) || row.Low != row.High {
			t.Errorf("%d runs: %+v", n, row)
		}
		if row, _ := s.Row("CK", OriginDifference, FigureOracle); row.Mean != 0 || row.StdErr != 0 {
			t.Errorf("%d runs: %+v", n, row)
		}
		var b strings.Builder
		if err := s.WriteTable(&b, []string{"fidelity", "fairness"}); err != nil {
			t.Fatal(err)
		}
		if _, rest, _ := strings.Cut(b.String(), "\n\n"); strings.Contains(rest, "±") || !strings.Contains(rest, "CK oracle   0.9") {
			t.Errorf("%d runs:\n%s", n, b.String())
		}
	}
}

// equal reports whether both are unknown or near.
func equal(a, b float64) bool { return math.IsNaN(a) && math.IsNaN(b) || near(a, b) }

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-4*max(1, math.Abs(b)) }
