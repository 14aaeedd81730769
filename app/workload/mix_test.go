package workload

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// All types together have the fidelity that their types have, pair by pair, unless
// these are all of one kind: then it is that of the pairs that were looked at.
func TestFidelityOfAll(t *testing.T) {
	of := func(pairs uint64, oracle, outcomes Estimate) Figures {
		return Figures{Pairs: pairs, Oracle: oracle, Outcomes: Outcomes{F: outcomes}}
	}
	no := Estimate{}
	types := func(kinds ...string) []TypeResult {
		ts := []TypeResult{
			{Name: "K", A: of(10, Estimate{0.5, 0.01, 3}, Estimate{0.1, 0.1, 9}), B: of(30, Estimate{0.7, 0.02, 5}, no)}, // the oracle goes before outcomes
			{Name: "M", A: of(40, no, Estimate{0.9, 0.03, 7}), B: of(0, no, no)},
			{Name: "N", A: of(1000, no, no), B: of(1000, no, no)}, // measured in one basis: no fidelity
		}
		for i := range ts {
			ts[i].Type = kinds[i]
			ts[i].Both = of(ts[i].A.Pairs+ts[i].B.Pairs, ts[i].A.Oracle, ts[i].A.Outcomes.F)
		}
		return ts
	}
	before := of(2080, Estimate{0.6, 0.01, 8}, Estimate{0.9, 0.03, 7})
	before.Prepared = Estimate{0.5, 0.1, 1}
	before.CHSH = Estimate{2.4, 0.1, 1}
	all := TypeResult{Both: before, A: before, B: before}
	all.mix(types("keep", "keep", "keep"))
	if all.Both.Fidelity != (Average{}) || all.A.Oracle != before.Oracle || all.B.Outcomes != before.Outcomes {
		t.Errorf("of one kind: %+v", all)
	}
	all.mix(types("keep", "measure", "measure"))
	for _, x := range []struct {
		name  string
		got   *Figures
		mean  float64
		pairs uint64
	}{
		{"A", &all.A, (10*0.5 + 40*0.9) / 50, 50},
		{"B", &all.B, 0.7, 30},
		{"both", &all.Both, (40*0.5 + 40*0.9) / 80, 80},
	} {
		f := x.got.Fidelity
		if math.Abs(f.Mean-x.mean) > 1e-15 || f.N != x.pairs {
			t.Errorf("%s: %+v, want %g of %d", x.name, f, x.mean, x.pairs)
		}
		if x.got.Oracle != no || x.got.Prepared != no || x.got.Outcomes != (Outcomes{}) || x.got.CHSH != before.CHSH || x.got.Pairs != 2080 {
			t.Errorf("%s: %+v", x.name, x.got)
		}
	}
	// Where no type has a fidelity, all together have none.
	all = TypeResult{Both: before}
	none := types("keep", "measure", "prepare")[2:]
	all.mix(append(none, TypeResult{Name: "P", Type: "measure"}))
	if all.Both.Fidelity != (Average{}) || all.Both.Oracle != no {
		t.Errorf("of none: %+v", all.Both)
	}
}

// Runs of mixed types have it, from the collector to the table.
func TestFidelityOfMixedRuns(t *testing.T) {
	rs := results(t)
	for _, r := range rs {
		keep, measure := &r.Types[0].Both, &r.Types[1].Both
		want := (float64(keep.Pairs)*keep.Oracle.Mean + float64(measure.Pairs)*measure.Outcomes.F.Mean) / float64(keep.Pairs+measure.Pairs)
		if f := r.All.Both.Fidelity; math.Abs(f.Mean-want) > 1e-12 || f.N == 0 || r.All.Both.Oracle.N+r.All.Both.Outcomes.F.N > 0 {
			t.Errorf("seed %d: %+v, want %g", r.Seed, r.All.Both, want)
		}
		if r.Types[0].Both.Fidelity.N+r.Types[1].Both.Fidelity.N > 0 {
			t.Errorf("seed %d: a single type has the figure of all", r.Seed)
		}
	}
	s := Summarise(rs)
	all, ok := s.Row(AllTypes, OriginBoth, FigureFidelity)
	keep, _ := s.Row("NL", OriginBoth, FigureOracle)
	measure, _ := s.Row("MD", OriginBoth, FigureOutcomes)
	if _, has := s.Row(AllTypes, OriginBoth, FigureOracle); !ok || has || all.Mean < keep.Mean || all.Mean > measure.Mean {
		t.Errorf("%+v of %+v and %+v", all, keep, measure)
	}
	a, _ := s.Row(AllTypes, OriginA, FigureFidelity)
	b, _ := s.Row(AllTypes, OriginB, FigureFidelity)
	if d, ok := s.Row(AllTypes, OriginDifference, FigureFidelity); !ok || math.Abs(d.Mean-(a.Mean-b.Mean)) > 1e-12 {
		t.Errorf("difference %+v of %+v and %+v", d, a, b)
	}
}

// TypeFigures has the names of all figures that a type of request may have.
func TestTypeFigures(t *testing.T) {
	f := Figures{Failed: map[string]uint64{"queue full": 1}, Unread: 1}
	r := Result{Types: []TypeResult{{Name: "M", MinFidelity: 0.5, Both: f}}, All: TypeResult{Name: AllTypes}}
	var there []string
	for _, f := range r.figures() {
		if f.origin == OriginBoth && f.typ == "M" && !strings.HasPrefix(f.name, FigureFailed+".") {
			there = append(there, f.name)
		}
	}
	names := TypeFigures()
	slices.Sort(there)
	slices.Sort(names)
	if !slices.Equal(there, names) {
		t.Errorf("there are %q, named are %q", there, names)
	}
}
