package workload

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/node/scenario"
	"qstack/qnet/golden"
	"qstack/qnet/wire"
)

// results are three runs of two types on a server, which no change of the link
// layer touches.
func results(t *testing.T) (rs []*Result) {
	t.Helper()
	w := &scenario.Workload{Load: 0.7, Horizon: 300 * time.Second, Warmup: 50 * time.Second, Seeds: 3, OriginA: 0.5, ReportEvery: time.Second,
		FidelitySamples: 1, Types: []scenario.WorkloadType{
			{Name: "NL", Type: scenario.KeepPairs, Share: 2, PairsMin: 2, PairsMax: 2},
			{Name: "MD", Type: scenario.MeasurePairs, Share: 1, PairsMin: 1, PairsMax: 3},
			{Name: "no", Type: scenario.MeasurePairs, Share: 1, PairsMin: 1, PairsMax: 1, Priority: 7},
		}}
	for seed := range uint64(3) {
		s, c := newServer(t, w, 8, seed+1)
		s.wrong = 0.1
		r := s.run(t, c)
		r.Seed, r.WallS = seed+1, 0.5
		r.Frames = map[string]uint64{"Add": 100 + seed, "AddAck": 100, "Gen": 0}
		r.Lost = map[string]uint64{"Add": seed}
		if seed == 1 {
			r.Expired = [2]uint64{3, 4}
			r.Errors = []string{"at 1 s: the ends disagree"}
		}
		rs = append(rs, r)
	}
	return rs
}

func TestTable(t *testing.T) {
	rs := results(t)
	var b strings.Builder
	s := Summarise(rs)
	if err := s.WriteTable(&b, nil); err != nil {
		t.Fatal(err)
	}
	if err := WritePace(&b, s, 0.75); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n--- one run, some figures ---\n")
	if err := Summarise(rs[:1]).WriteTable(&b, []string{"throughput", "queue"}); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/table.txt", b.String())
	// Two runs do not know the errors of what queues do.
	b.Reset()
	if err := Summarise(rs[:2]).WriteTable(&b, []string{"requests", "throughput", "latency"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\nwithout intervals") || strings.Contains(b.String(), "±") {
		t.Errorf("got\n%s", b.String())
	}
	// The main frames are shown where there are none, and are frames of a link.
	names := make(map[string]bool)
	for _, m := range link.Messages() {
		names[wire.Name(m)] = true
	}
	b.Reset()
	rs[0].Frames = map[string]uint64{"Add": 0, "AddAck": 0, "Gen": 0, "Reply": 0, "LinkExpire": 0, "Memory": 0}
	if err := Summarise(rs[:1]).WriteTable(&b, []string{"frames"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range mainFrames {
		if !names[name] || !strings.Contains(b.String(), "\n"+name+" ") {
			t.Errorf("%s is missing in\n%s", name, b.String())
		}
	}
	if strings.Contains(b.String(), "Memory") {
		t.Errorf("got\n%s", b.String())
	}
	// A group without rows has no heading.
	without := Summarise(rs)
	without.Rows = slices.DeleteFunc(without.Rows, func(r Row) bool { return r.Origin == OriginDifference })
	b.Reset()
	if err := without.WriteTable(&b, nil); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "from A less") || !strings.Contains(b.String(), "\n\nrequests under way\n") {
		t.Errorf("got\n%s", b.String())
	}
	// Every group shows something of its own.
	whole := 0
	for _, group := range scenario.FigureGroups {
		var b strings.Builder
		if err := s.WriteTable(&b, []string{group}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(b.String(), "\n") - 3 // the title, what ± is and the errors
		if lines < 3 {
			t.Errorf("%s shows\n%s", group, b.String())
		}
		whole += lines
	}
	var all strings.Builder
	if err := s.WriteTable(&all, nil); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(all.String(), "\n") - 3; n != whole {
		t.Errorf("%d lines in all, %d in the groups", n, whole)
	}
}

func TestCSV(t *testing.T) {
	rs := results(t)
	s := Summarise(rs)
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := SaveCSV(dir, s, rs); err != nil {
		t.Fatal(err)
	}
	if err := SaveSVG(dir, rs); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "summary.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != len(s.Rows)+1 {
		t.Fatalf("%d rows for %d figures, %v", len(rows), len(s.Rows), err)
	}
	for _, name := range []string{"queue", "throughput", "latency"} {
		for _, ext := range []string{".csv", ".svg"} {
			if info, err := os.Stat(filepath.Join(dir, name+ext)); err != nil || info.Size() < 500 {
				t.Errorf("%s: %v", name+ext, err)
			}
		}
	}
	if err := SaveCSV(filepath.Join(dir, "queue.csv"), s, rs); err == nil {
		t.Error("a file is no directory")
	}
}

// TestPlots: curves are what the results say.
func TestPlots(t *testing.T) {
	rs := results(t)
	plots := Plots(rs)
	queue := plots["queue"].Curves[0].Points
	if len(queue) != MaxPoints+1 || queue[0].X != 50 || math.Abs(queue[len(queue)-1].X-300) > 1e-9 {
		t.Errorf("queue of %d points from %g to %g s", len(queue), queue[0].X, queue[len(queue)-1].X)
	}
	if want := (rs[0].Queue.Points[7] + rs[1].Queue.Points[7] + rs[2].Queue.Points[7]) / 3; math.Abs(queue[7].Y-want) > 1e-12 {
		t.Errorf("queue of %g, want %g", queue[7].Y, want)
	}
	latency := plots["latency"].Curves
	if len(latency) != 3 || latency[1].Name != "MD" || len(latency[2].Points) != 0 {
		t.Errorf("latencies of %d types", len(latency))
	}
	points := latency[1].Points
	for i, p := range points {
		if i > 0 && (p.X <= points[i-1].X || p.Y < points[i-1].Y) {
			t.Fatalf("latency falls at %g s", p.X)
		}
	}
	if first, last := points[0], points[len(points)-1]; first.Y != 0 || last.Y != 1 {
		t.Errorf("latencies from %v to %v", first, last)
	}
	// Half of the requests are below the median, of one run.
	one := Plots(rs[:1])["latency"].Curves[1].Points
	median := rs[0].Types[1].Both.Scaled.P50
	for i := 1; i < len(one); i++ {
		if one[i-1].X <= median && median < one[i].X && (one[i-1].Y > 0.5 || one[i].Y < 0.5) {
			t.Errorf("shares %g to %g about the median", one[i-1].Y, one[i].Y)
		}
	}
	if len(Plots(nil)) != 3 {
		t.Error("no runs have no plots")
	}
}
