package workload

import (
	"math"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// TestHighestOfBothEnds: where the ends differ, as in the length of the arms and so
// in the half that is measured, the highest minimum is one that both grant.
func TestHighestOfBothEnds(t *testing.T) {
	text := strings.ReplaceAll(presetWorkload, "PRESET", "nv-ql2020")
	text = strings.Replace(text, `hardware.nv = { preset = "nv-ql2020" }`, "hardware.nv = { preset = \"nv-ql2020\" }\nhardware.bad = { preset = \"nv-ql2020\", set = { readout_error_0 = 0.2 } }", 1)
	text = strings.Replace(text, `"bob", hardware = "nv"`, `"bob", hardware = "bad"`, 1)
	text = strings.Replace(text, `type = "measure"`, "type = \"prepare\"\nmin_fidelity = \"highest\"", 1)
	s := parse(t, text)
	w, err := newWorld(s, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.loop.Close()
	var best [2]float64
	for i, l := range w.layers {
		q, err := l.Best(1, link.Request{Type: link.Prepare, Pairs: 1, Limit: math.MaxUint64, Bases: paulis})
		if err != nil {
			t.Fatal(err)
		}
		best[i] = q.Granted
	}
	if best[0]-best[1] < 0.01 {
		t.Fatalf("the ends grant %v: they do not differ", best)
	}
	r := run(t, s, Options{Horizon: 300 * time.Second})
	if r.Types[0].MinFidelity != best[1] || len(r.All.Both.Failed) > 0 || r.All.A.Completed == 0 || r.All.B.Completed == 0 {
		t.Errorf("asked for %g of %v: %+v", r.Types[0].MinFidelity, best, r.All.Both)
	}
	// Where one end makes all requests it alone counts.
	s.Workload.OriginA = 1
	if r := run(t, s, Options{Horizon: 100 * time.Second}); r.Types[0].MinFidelity != best[0] || len(r.All.Both.Failed) > 0 {
		t.Errorf("asked for %g of %v: %+v", r.Types[0].MinFidelity, best, r.All.Both)
	}
}

// fewer is what one end expects: one operating point only.
type fewer struct {
	points
	only int
}

func (f fewer) Expect(_ physical.LinkID, r link.Request) (q link.Quality, err error) {
	q.Point, q.Granted = f.only, f.points[f.only].Fidelity
	return q, nil
}

// TestPointOfBothEnds: the load is counted by the point of the end that has less.
func TestPointOfBothEnds(t *testing.T) {
	ps := points{{Name: "slow", Probability: 0.01, Fidelity: 0.9}, {Name: "fast", Probability: 0.1, Fidelity: 0.8}}
	ends := [2]link.EndConfig{{Points: ps}, {Points: ps}}
	typ := parse(t, ideal(t)).Workload.Types[0]
	for _, x := range [][]expecter{{fewer{ps, 0}, fewer{ps, 1}}, {fewer{ps, 1}, fewer{ps, 0}}} {
		d, err := newDemand(&typ, 1, 1, &ends, &[2]*physical.Spec{{}, {}}, x)
		if err != nil || d.point.Name != "slow" {
			t.Errorf("%v, %v", d, err)
		}
	}
}

// TestBases: measured pairs in other bases than X, Y and Z: Werner pairs of F = 0.9
// have wrong bits in 1/15 and S = 2√2·(4F−1)/3; within 6 standard errors.
func TestBases(t *testing.T) {
	const head = "[workload]\nload = 0.9\n[[workload.type]]\nname = \"MD\"\ntype = \"measure\"\npairs = 50\n"
	for _, x := range []struct {
		bases   string
		x, y, z float64 // share of the pairs that is compared in each
	}{
		{`"XZ"`, 0.25, 0, 0.25},
		{`"Y"`, 0, 1, 0},
		{`{ creator = "XZ", creator_weights = [1, 9], peer = "ZX", peer_weights = [9, 1] }`, 0.01, 0, 0.81},
		{`{ creator = "Z" }`, 0, 0, 1. / 3},
		{`{ creator = [["30 deg", "10 deg"]], peer = [["30 deg", "10 deg"]] }`, 0, 0, 0},
	} {
		r := run(t, parse(t, idealLink(t)+head+"bases = "+x.bases+"\n"), Options{Horizon: 150 * time.Second})
		f := r.Types[0].Both
		n := float64(f.Pairs)
		for i, q := range []Estimate{f.Outcomes.X, f.Outcomes.Y, f.Outcomes.Z} {
			share := []float64{x.x, x.y, x.z}[i]
			if math.Abs(float64(q.N)-share*n) > 6*math.Sqrt(share*(1-share)*n)+50 { // pairs of which one end has been told
				t.Errorf("%s: %d of %d pairs in basis %d, want %g of them", x.bases, q.N, f.Pairs, i, share)
			}
			if p := 1. / 15; q.N > 0 && math.Abs(q.Mean-p) > 6*math.Sqrt(p*(1-p)/float64(q.N)) {
				t.Errorf("%s: %+v wrong in basis %d", x.bases, q, i)
			}
		}
		if f.Outcomes.F.N > 0 || f.CHSH.N > 0 || f.Pairs < 10_000 || len(r.Errors) > 0 {
			t.Errorf("%s: %+v, %v", x.bases, f, r.Errors)
		}
	}
	r := run(t, parse(t, idealLink(t)+head+"bases = \"CHSH\"\n"), Options{Horizon: 150 * time.Second})
	f := r.Types[0].Both
	want, se := 2*math.Sqrt2*2.6/3, math.Sqrt(16*(1-0.375)/float64(f.CHSH.N)) // 1 − (S/4)² is the variance of a sign
	if f.CHSH.N < 10_000 || math.Abs(f.CHSH.Mean-want) > 6*se || math.Abs(f.CHSH.StdErr/se-1) > 0.1 || f.Outcomes.X.N > 0 {
		t.Errorf("S is %+v, want %g ± %g; %+v", f.CHSH, want, se, f.Outcomes)
	}
	// Another label has the other signs: photons herald Ψ+ and Ψ−, here perfect ones.
	text := strings.Replace(idealLink(t), `{ model = "ideal", attempt_rate = "100 kHz", probability = 0.001, fidelity = 0.9 }`,
		`{ model = "double-click", attempt_rate = "100 kHz", efficiency = 0.1, visibility = 1 }`, 1)
	f = run(t, parse(t, text+head+"bases = \"CHSH\"\n"), Options{Horizon: 60 * time.Second}).Types[0].Both
	if se := math.Sqrt(8 / float64(f.CHSH.N)); f.CHSH.N < 5000 || math.Abs(f.CHSH.Mean-2*math.Sqrt2) > 6*se {
		t.Errorf("S of photons is %+v, want %g ± %g", f.CHSH, 2*math.Sqrt2, se)
	}
}

// TestStreams: streams bring their rate for their time, and are told to end.
func TestStreams(t *testing.T) {
	r := run(t, parse(t, idealLink(t)+`[workload]
load = 0.3
[[workload.type]]
name = "S"
type = "keep"
rate = "4 Hz"
lasts = "5 s"
[[workload.type]]
name = "RSP"
type = "prepare"
rate = "20 Hz"
lasts = "1 s"
[[workload.type]]
name = "MD"
type = "measure"
rate = "20 Hz"
lasts = "1 s"
`), Options{Horizon: 4000 * time.Second})
	for i, typ := range r.Types {
		f := typ.Both
		// Half of 20 pairs per second, some 20 to a stream. In an exponential time T at
		// rate R are ⌊RT⌋+1 pairs of about x = 20 in the mean, with a variance of x² or so,
		// so that one stream is worth no more than two streams' mean squared.
		streams := 0.5 * 4000
		se := math.Sqrt(2*streams) * 21
		if pairs := float64(f.Pairs); math.Abs(pairs-streams*20.5) > 6*se+0.02*streams*20 {
			t.Errorf("%s: %g pairs of %g streams, want %g ± %g", typ.Name, pairs, streams, streams*20.5, se)
		}
		if math.Abs(float64(f.Requests)-streams) > 6*math.Sqrt(streams) || f.Completed+f.Open != f.Requests || f.Open > 30 || f.Latency.N != 0 || f.Asked != 0 {
			t.Errorf("%s: %+v", typ.Name, f)
		}
		if math.Abs(typ.Offered-10) > 1e-9 || typ.Type != "measure" && (f.Oracle.N == 0 || math.Abs(f.Oracle.Mean-0.9) > 1e-9) {
			t.Errorf("%d: %g pairs per second offered, fidelity %+v", i, typ.Offered, f.Oracle)
		}
	}
	if len(r.Errors) > 0 || r.Unmatched > 2 {
		t.Errorf("%d unmatched; %v", r.Unmatched, r.Errors)
	}
}

// TestCancels: where nothing is served, requests are cancelled in their share, after
// their time; where all are, the ends go on to agree.
func TestCancels(t *testing.T) {
	text := strings.ReplaceAll(ideal(t), "type = \"", "cancel = { share = 0.25, after = \"5 s\" }\ntype = \"")
	s := parse(t, text)
	s.LinkSettings.QueueLimit = 1 << 16
	s.Workload.Warmup = 0
	r := run(t, s, Options{Horizon: 300 * time.Second, Filter: func(_, _ qnet.NodeID, _ control.Class, typ wire.Type, _ []byte) control.Verdict {
		if typ == (*link.Gen)(nil).Type() {
			return control.Verdict{Action: control.Drop}
		}
		return control.Verdict{}
	}})
	f := r.All.Both
	// Of those of the last seconds a part is not yet: 5 of 300 s in the mean.
	n, p := float64(f.Requests), 0.25*(1-5./300)
	if got := float64(f.Failed["cancelled"]); f.Requests < 3000 || math.Abs(got-n*p) > 6*math.Sqrt(n*p*(1-p)) || f.Completed > 0 || f.Requests != f.Open+f.Failed["cancelled"] {
		t.Errorf("%g cancelled, want %g: %+v", got, n*p, f)
	}
	text = strings.Replace(strings.ReplaceAll(text, "5 s", "20 ms"), "load = 0.2", "load = 0.9", 1)
	r = run(t, parse(t, text), Options{})
	if f := r.All.Both; f.Completed < 5000 || f.Failed["cancelled"] < 1000 || f.Requests != f.Completed+f.Failed["cancelled"]+f.Open || len(f.Failed) != 1 {
		t.Errorf("got %+v", f)
	}
	if len(r.Errors) > 0 || r.Unmatched > 2 {
		t.Errorf("%d unmatched; %v", r.Unmatched, r.Errors)
	}
}

// TestPurposes: the peer refuses purposes that it does not listen to.
func TestPurposes(t *testing.T) {
	text := strings.Replace(ideal(t), "load = 0.2", "load = 0.2\nlisten = [1, 7]", 1)
	text = strings.Replace(text, `type = "keep"`, "type = \"keep\"\npurpose = 7", 1)
	r := run(t, parse(t, text), Options{Horizon: 50 * time.Second})
	md, ck := r.Types[0].Both, r.Types[1].Both
	if md.Pairs != 0 || md.Failed[qnet.ErrNoListener.Error()]+md.Open != md.Requests || md.Requests < 50 {
		t.Errorf("purpose 0: %+v", md)
	}
	if len(ck.Failed) != 0 || ck.Completed < 300 {
		t.Errorf("purpose 7: %+v", ck)
	}
}

// TestMillionPairs: of a request for a million measured pairs all come, in far fewer
// frames than pairs.
func TestMillionPairs(t *testing.T) {
	text := strings.Replace(idealLink(t), `attempt_rate = "100 kHz", probability = 0.001`, `attempt_rate = "1 MHz", probability = 0.5`, 1)
	r := run(t, parse(t, text+"[workload]\nload = 1\nhorizon = \"16 s\"\n[[workload.type]]\nname = \"MD\"\ntype = \"measure\"\npairs = 1_000_000\n"), Options{})
	f := r.All.Both
	frames := uint64(0)
	for _, n := range r.Frames {
		frames += n
	}
	if f.Completed < 2 || f.Pairs < 1_000_000*f.Completed || f.Asked != 1_000_000*f.Requests || frames*50 > f.Pairs || len(r.Errors) > 0 {
		t.Errorf("%d frames: %+v; %v", frames, f, r.Errors)
	}
	if o := f.Outcomes.F; math.Abs(o.Mean-0.9) > 0.003 {
		t.Errorf("fidelity %+v", o)
	}
}

// TestLearnt: what test rounds show is reported by end, with its bounds.
func TestLearnt(t *testing.T) {
	text := strings.Replace(ideal(t), "[workload]", "link.test_rounds = 0.2\n[workload]", 1)
	rs := []*Result{run(t, parse(t, text), Options{})}
	for _, typ := range rs[0].Types {
		if len(typ.Learnt) != 2 || typ.Learnt[0].End != OriginA || typ.Learnt[1].End != OriginB {
			t.Fatalf("%s: %+v", typ.Name, typ.Learnt)
		}
		for _, l := range typ.Learnt {
			if l.Rounds < 50 || !(l.Lower < 0.9 && 0.9 < l.Upper && l.Lower <= l.Measured && l.Measured <= l.Upper) || math.Abs(l.Model-0.9) > 1e-9 || l.Confidence != 1-1e-6 {
				t.Errorf("%s: %+v", typ.Name, l)
			}
		}
	}
	var b strings.Builder
	if err := Summarise(rs).WriteTable(&b, []string{"fidelity"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CK by test rounds", "CK at least", "CK at most", "CK test rounds"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if typ := run(t, parse(t, ideal(t)), Options{Horizon: 20 * time.Second}).Types[0]; typ.Learnt != nil {
		t.Errorf("without test rounds: %+v", typ.Learnt)
	}
}
