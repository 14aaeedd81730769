package workload

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/node"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
	"qstack/qnet/event"
)

// nvWorkload asks an NV link for pairs of every type that is kept in part.
const nvWorkload = `
[workload]
load = 0.8
horizon = "12000 s"
tomography = 0.5
[[workload.type]]
name = "RSP"
type = "prepare"
min_fidelity = "highest"
share = 2
[[workload.type]]
name = "NL"
type = "keep"
store = true
min_fidelity = "highest"
share = 2
[[workload.type]]
name = "CK"
type = "keep"
min_fidelity = "highest"
`

// TestTomographyAgreesWithTheOracle: what devices of asymmetric read-out measure, and
// what the oracle sees of other pairs, is one fidelity, and that which was granted.
// 5.5 standard errors of each difference, ten differences: false alarm below 4e-7.
func TestTomographyAgreesWithTheOracle(t *testing.T) {
	const far = 5.5
	head, _, _ := strings.Cut(strings.ReplaceAll(presetWorkload, "PRESET", "nv-lab"), "[workload]")
	// Read-out and initialisation far worse than they are, so that what is not
	// corrected for shows; no relaxation of heralds' labels.
	head = strings.Replace(head, `hardware.nv = { preset = "nv-lab" }`, `hardware.nv = { preset = "nv-lab", set = { readout_error_0 = 0.15, readout_error_1 = 0.03 } }`, 1)
	r := run(t, parse(t, head+nvWorkload), Options{})
	if len(r.Errors) > 0 || r.Unmatched > 2 {
		t.Errorf("%d unmatched, errors %v", r.Unmatched, r.Errors)
	}
	for _, typ := range r.Types {
		f := typ.Both
		least := f.Pairs / 3
		if typ.Type == "prepare" {
			least /= 3 // of which the peer has the right basis
		}
		if f.Outcomes.F.N < least || f.Oracle.N < f.Pairs/3 || f.Oracle.N+f.Outcomes.F.N+f.Unread > f.Pairs+2 {
			t.Errorf("%s: %d pairs, %d shown to the oracle, %d measured, %d not read", typ.Name, f.Pairs, f.Oracle.N, f.Outcomes.F.N, f.Unread)
		}
		if want := float64(f.Pairs) / 2; math.Abs(float64(f.Oracle.N)-want) > far*math.Sqrt(want/2)+2 {
			t.Errorf("%s: the oracle saw %d of %d pairs", typ.Name, f.Oracle.N, f.Pairs)
		}
		if d, se := f.Outcomes.F.Mean-f.Oracle.Mean, math.Hypot(f.Outcomes.F.StdErr, f.Oracle.StdErr); math.Abs(d) > far*se || se > 0.06 {
			t.Errorf("%s: %g ± %g from outcomes, %g ± %g from the oracle", typ.Name, f.Outcomes.F.Mean, f.Outcomes.F.StdErr, f.Oracle.Mean, f.Oracle.StdErr)
		}
		// The estimator counts all that the emulated hardware does.
		if d := f.Oracle.Mean - typ.MinFidelity; math.Abs(d) > far*f.Oracle.StdErr+2e-4 {
			t.Errorf("%s: the oracle sees %g ± %g, %g was granted", typ.Name, f.Oracle.Mean, f.Oracle.StdErr, typ.MinFidelity)
		}
	}
	rsp := r.Types[0].Both
	if want := (2*rsp.Oracle.Mean + 1) / 3; rsp.Prepared.N != rsp.Oracle.N || math.Abs(rsp.Prepared.Mean-want) > far*math.Hypot(rsp.Prepared.StdErr, rsp.Oracle.StdErr*2/3) {
		t.Errorf("prepared states of fidelity %+v, want %g", rsp.Prepared, want)
	}
}

// TestTomographyUnderLoss: heralds that come late, after frames were lost, are counted
// by the outcomes for what they are. 5.5 standard errors of two differences.
func TestTomographyUnderLoss(t *testing.T) {
	head, _, _ := strings.Cut(strings.ReplaceAll(presetWorkload, "PRESET", "nv-lab"), "[workload]")
	r := run(t, parse(t, head+`[workload]
load = 0.8
horizon = "8000 s"
loss = 0.05
tomography = 0.5
[[workload.type]]
name = "RSP"
type = "prepare"
[[workload.type]]
name = "NL"
type = "keep"
store = true
deadline = "5 s"
`), Options{})
	if len(r.Errors) > 0 {
		t.Error(r.Errors)
	}
	for _, typ := range r.Types {
		o, f := typ.Both.Outcomes.F, typ.Both.Oracle
		if d, se := o.Mean-f.Mean, math.Hypot(o.StdErr, f.StdErr); math.Abs(d) > 5.5*se || se > 0.08 || o.N < 500 {
			t.Errorf("%s: %+v from outcomes, %+v from the oracle", typ.Name, o, f)
		}
		if s := typ.Both.Prepared; typ.Type == "prepare" && !(s.Mean > 0.7 && s.StdErr < 0.01) {
			t.Errorf("prepared states: %+v", s)
		}
	}
}

// TestPreparedStates: of Werner pairs of fidelity F the halves have (2F+1)/3,
// whatever the basis, exactly, and the figure that goes with the minimum is F.
func TestPreparedStates(t *testing.T) {
	for _, bases := range []string{`"XYZ"`, `"XZ"`, `[["40 deg", "70 deg"], ["130 deg", "-20 deg"]]`} {
		for _, fidelity := range []string{"0.9", "0.25", "1"} {
			text := strings.Replace(idealLink(t)+"[workload]\nload = 0.5\nhorizon = \"30 s\"\n[[workload.type]]\nname = \"RSP\"\ntype = \"prepare\"\nbases = "+bases+"\n",
				"fidelity = 0.9", "fidelity = "+fidelity, 1)
			r := run(t, parse(t, text), Options{})
			want := map[string]float64{"0.9": 0.9, "0.25": 0.25, "1": 1}[fidelity]
			f := r.Types[0].Both
			if f.Prepared.N < 1000 || f.Prepared.N != f.Pairs || math.Abs(f.Prepared.Mean-(2*want+1)/3) > 1e-9 {
				t.Errorf("%s, %s: %+v of %d pairs", bases, fidelity, f.Prepared, f.Pairs)
			}
			if all := bases == `"XYZ"`; (f.Oracle.N > 0) != all || all && math.Abs(f.Oracle.Mean-want) > 1e-9 {
				t.Errorf("%s, %s: fidelity %+v", bases, fidelity, f.Oracle)
			}
			if len(r.Errors) > 0 || r.Unmatched > 1 {
				t.Error(r.Errors)
			}
		}
	}
}

// TestPreparedWhenHandedUp: the fidelity of a prepared half is that when the peer was
// handed it, not when the creator's read-out is over, and with it what the estimator
// grants: exactly, since dephasing leaves no chance.
func TestPreparedWhenHandedUp(t *testing.T) {
	text := strings.Replace(idealLink(t), "hardware.none = {}", `hardware.none = { t2 = "4 ms", readout = "1 ms", readout_error = 0.02 }`, 1)
	text = strings.Replace(text, "fidelity = 0.9", "fidelity = 1", 1) + "[workload]\nload = 0.1\ntomography = 0.5\n" +
		"[[workload.type]]\nname = \"RSP\"\ntype = \"prepare\"\nmin_fidelity = \"highest\"\n"
	r := run(t, parse(t, text), Options{Horizon: 6000 * time.Second})
	f := r.Types[0].Both
	// e^(−1/4) is left of X and Y at the creator, whose bits are wrong in 0.02. What
	// the peer's half loses until then, and when it is measured, is not part of it.
	left := math.Exp(-0.25)
	want := (1 + 0.96*(1+2*left)) / 4
	if math.Abs(r.Types[0].MinFidelity-want) > 1e-4 {
		t.Errorf("%g was granted, want %g", r.Types[0].MinFidelity, want)
	}
	// The oracle sees what the bit says, so that a wrong one makes all of it wrong.
	if se := math.Sqrt(3*0.25/(float64(f.Oracle.N)/3)) / 2; f.Oracle.N < 3000 || math.Abs(f.Oracle.Mean-want) > 5.5*se {
		t.Errorf("the oracle sees %+v, want %g ± %g", f.Oracle, want, se)
	}
	// A corrected outcome has a variance of 1/c² at most.
	if se := math.Sqrt(3/(float64(f.Outcomes.F.N)/3)) / (0.96 * left * left) / 4; f.Outcomes.F.N < 9000 || math.Abs(f.Outcomes.F.Mean-want) > 5.5*se {
		t.Errorf("outcomes: %+v, want %g ± %g", f.Outcomes, want, se)
	}
	// Without errors of the read-out there is no chance at all.
	r = run(t, parse(t, strings.Replace(strings.Replace(text, ", readout_error = 0.02", "", 1), "tomography = 0.5\n", "", 1)), Options{Horizon: 100 * time.Second})
	if f := r.Types[0]; f.Both.Oracle.N < 100 || math.Abs(f.Both.Oracle.Mean-f.MinFidelity) > 1e-9 {
		t.Errorf("the oracle sees %+v, %g was granted", f.Both.Oracle, f.MinFidelity)
	}
}

// TestReadingHalves: the mean outcome of a measured half is what its state was when it
// was handed up, through the line that corrects for it: on random hardware, with the
// states of the oracle. The state that a move leaves is compared exactly; outcomes
// within 6 standard errors, 36 of them: false alarm 7e-8.
func TestReadingHalves(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 15))
	some := func(most float64) float64 { return most * rng.Float64() }
	us := func() time.Duration { return time.Duration(1+rng.IntN(40)) * time.Microsecond }
	noise := func() physical.QubitNoise {
		return physical.QubitNoise{InitDepolarising: some(0.3), Gate1Depolarising: some(0.3), ReadoutError: physical.ReadoutError{some(0.3), some(0.3)}}
	}
	for trial := range 12 {
		s := &physical.Spec{Storage: 1, Lanes: map[physical.LinkID]int{node.LinkID(0): 2}, Communication: 2, Init: us(), Gate1: us(), Gate2: us(), Readout: us(),
			T1: 1e-4 + some(1e-3), T2: 5e-5 + some(1e-4), Depolarise: some(1000), Coupling: physical.CouplingStar, Serial: trial%2 == 0,
			Noise: physical.Noise{Gate2Depolarising: some(0.2), Gate2Dephasing: some(0.2), QubitNoise: noise(), Memory: noise()}}
		s.Memory = &physical.Memory{Init: us(), Gate1: us(), Readout: us(), T1: 1e-4 + some(1e-3), T2: 5e-5 + some(1e-4), Depolarise: some(1000), Indirect: trial%3 != 2}
		stored := trial%4 != 3
		w, dev := alone(t, s)
		do := func(op physical.Op) (r physical.Result) {
			dev.Do(op, func(x physical.Result) { r = x })
			if err := w.loop.RunFor(time.Millisecond / 4); err != nil || r.Err != nil {
				t.Fatal(err, r.Err)
			}
			return r
		}
		half := func() physical.Qubit {
			var q physical.Qubit
			if stored {
				q = do(physical.Op{Kind: physical.OpAlloc}).Qubit
			} else {
				q = do(physical.Op{Kind: physical.OpPrepare, Link: node.LinkID(0)}).Qubit
			}
			dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateRX, A: q, Angle: 1}, nil)
			dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateRZ, A: q, Angle: 0.5}, nil)
			if err := w.loop.RunFor(2*s.Gate1 + 2*s.Memory.Gate1); err != nil {
				t.Fatal(err)
			}
			return q
		}
		if stored && s.Memory.Indirect {
			q := half()
			r, err := w.bloch(q)
			if err != nil {
				t.Fatal(err)
			}
			began := w.loop.Now()
			var got [3]float64
			w.prepare(0, 0, func(x physical.Result) {
				dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: q, B: x.Qubit}, nil)
				dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: x.Qubit, B: q}, func(physical.Result) {
					if took := w.loop.Now().Sub(began); took != s.Init+2*s.Gate2 {
						t.Errorf("the move took %v", took)
					}
					got, err = w.bloch(x.Qubit)
					w.free(0, x.Qubit)
				})
			})
			if e := w.loop.RunFor(time.Millisecond); e != nil || err != nil {
				t.Fatal(e, err)
			}
			w.free(0, q)
			for axis := range 3 {
				from := sheetOf(s, true)
				l := from.decay(axis, s.Init).then(moved(s, axis))
				if want := l.bias + l.contrast*r[axis]; math.Abs(got[axis]-want) > 1e-9 {
					t.Errorf("trial %d: %c is moved to %.12g, want %.12g", trial, 'X'+rune(axis), got[axis], want)
				}
			}
		}
		for axis, basis := range paulis.Bases {
			const shots = 3000
			var m moments
			l := outcome(s, stored, axis)
			r := 0.0
			for range shots {
				q := half()
				before, err := w.bloch(q)
				if err != nil {
					t.Fatal(err)
				}
				r = before[axis]
				w.measure(0, q, stored, basis, func(bit uint8, err error) {
					if err != nil {
						t.Fatal(err)
					}
					m.add(l.before(sign(bit == 1)))
				})
				if err := w.loop.RunFor(time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
			mean := l.bias + l.contrast*r
			if se := math.Sqrt((1-mean*mean)/shots) / math.Abs(l.contrast); m.n != shots || math.Abs(m.mean-r) > 6*se {
				t.Errorf("trial %d, %v: %d outcomes say %.4f ± %.4f, want %.4f", trial, basis, m.n, m.mean, se, r)
			}
		}
		if n := w.oracle.Count(); n != 0 {
			t.Errorf("trial %d: %d qubits are left", trial, n)
		}
		w.loop.Close()
	}
}

// alone returns the emulated hardware of a node that has the given data sheet.
func alone(t *testing.T, s *physical.Spec) (*world, physical.Device) {
	t.Helper()
	w := &world{loop: event.NewVirtual(), specs: [2]*physical.Spec{s, s}}
	c := fabric.Config{Seed: 1, Links: []fabric.LinkConfig{{ID: node.LinkID(0), A: 1, B: 2, LanesA: 2, LanesB: 2, Length: 1,
		Model: herald.Ideal{Probability: 0.5, Fidelity: 1, PeriodNS: 1e5}}}}
	for id := range qnet.NodeID(2) {
		c.Nodes = append(c.Nodes, fabric.NodeConfig{ID: id + 1, Name: id.String(), Spec: *s, Noise: s.Noise,
			Communication: state.Decay{T1: s.T1, T2: s.T2, Depolarise: s.Depolarise}, Storage: state.Decay{T1: s.Memory.T1, T2: s.Memory.T2, Depolarise: s.Memory.Depolarise}})
	}
	f, err := fabric.New(c, w.loop, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.fabric, w.oracle = f, f.Oracle()
	for i := range w.devices {
		w.devices[i] = f.Device(qnet.NodeID(i + 1))
		w.ends[i] = link.EndConfig{Lanes: 2}
	}
	return w, w.devices[0]
}

// TestReadingsOfDisagreement: pairs that are measured are held to agree as well, and
// void ones do not count.
func TestReadingsOfDisagreement(t *testing.T) {
	w := measured(0.001, 10*time.Second)
	w.Types[0].Type, w.Tomography = scenario.KeepPairs, 1
	s, c := newServer(t, w, 10, 1)
	a, b := s.sides[0], s.sides[1]
	c.create(0, 0, 9)
	id := s.queue[0].id
	s.queue[0].left = math.MaxUint64 // which is served by hand
	pair := func(e *side, seq uint64, id link.RequestID, l qnet.BellLabel) {
		e.Pair(link.Pair{Link: 1, Request: id, Seq: seq, Label: l, Qubit: physical.Qubit{Fabric: 1, Index: uint32(e.i), Generation: uint32(seq)}})
	}
	pair(a, 1001, id, qnet.PhiPlus) // good
	pair(b, 1001, id, qnet.PhiPlus)
	pair(a, 1002, id, qnet.PhiPlus)
	pair(a, 1002, id, qnet.PhiPlus)
	pair(a, 1003, id, qnet.PhiPlus)
	pair(b, 1003, id, qnet.PsiMinus)
	pair(b, 1004, id, qnet.PhiPlus)
	b.Expired(1, id, 1004, true)
	pair(a, 1004, id, qnet.PhiPlus) // whose other half never comes again
	if err := s.loop.RunFor(0); err != nil {
		t.Fatal(err)
	}
	want := []string{"end A was handed pair 1002 twice", "the ends disagree about pair 1003: Φ+ of request 2, and Ψ− of request 2"}
	if len(c.errors) != len(want) || !strings.HasSuffix(c.errors[0], want[0]) || !strings.HasSuffix(c.errors[1], want[1]) {
		t.Errorf("got %q", c.errors)
	}
	n := uint64(0)
	for i := range c.kinds[0].cells[0].parity {
		m := c.kinds[0].cells[0].parity[i]
		if n += m.n; m.n > 0 && m.mean != 1 {
			t.Errorf("parity %+v", m)
		}
	}
	if n != 1 || len(c.readings) != 2 { // 1002 and 1004 wait for their other halves
		t.Errorf("%d pairs measured, %d under way", n, len(c.readings))
	}
}

// TestReadingPrepared: whichever end is first, a third of the prepared pairs has the
// peer measure in the creator's basis, and only those count.
func TestReadingPrepared(t *testing.T) {
	w := measured(0.001, 1000*time.Second)
	w.Types[0].Type, w.Tomography = scenario.PreparePairs, 1
	s, c := newServer(t, w, 10, 1)
	c.create(0, 0, 9)
	id := s.queue[0].id
	s.queue[0].left = math.MaxUint64 // which is served by hand
	const n = 9000
	pair := func(side int, seq uint64, l qnet.BellLabel) {
		s.sides[side].Pair(link.Pair{Link: 1, Request: id, Seq: seq, Label: l, Qubit: physical.Qubit{Fabric: 1, Index: uint32(side), Generation: uint32(seq)}})
	}
	outcome := func(side int, seq uint64, l qnet.BellLabel) {
		s.sides[side].Measured(1, id, []link.Measured{{Seq: seq, Label: l, Basis: uint8(seq % 3), Bit: uint8(seq >> 1 & 1)}})
	}
	for seq := uint64(1000); seq < 1000+n; seq++ {
		if seq%2 == 0 {
			outcome(0, seq, qnet.PhiPlus)
			pair(1, seq, qnet.PhiPlus)
		} else {
			pair(1, seq, qnet.PhiPlus)
			outcome(0, seq, qnet.PhiPlus)
		}
		if err := s.loop.RunFor(0); err != nil {
			t.Fatal(err)
		}
	}
	for b, m := range c.kinds[0].cells[0].parity {
		if want := n / 9.; m.mean != 1 || math.Abs(float64(m.n)-want) > 6*math.Sqrt(want) {
			t.Errorf("basis %d: %+v of %g", b, m, want)
		}
	}
	if len(c.errors) > 0 || len(c.readings) > 0 || len(c.halves) > 0 {
		t.Errorf("%v; %d readings, %d halves are left", c.errors, len(c.readings), len(c.halves))
	}
	pair(1, 1, qnet.PhiPlus)
	outcome(0, 1, qnet.PsiPlus)
	pair(1, 2, qnet.PhiPlus)
	pair(0, 2, qnet.PhiPlus)
	pair(1, 3, qnet.PhiPlus)
	outcome(1, 3, qnet.PhiPlus)
	if len(c.errors) != 3 || len(c.readings) > 0 {
		t.Errorf("got %q", c.errors)
	}
	for q, times := range s.freed {
		if times != 1 {
			t.Errorf("%v freed %d times", q, times)
		}
	}
}
