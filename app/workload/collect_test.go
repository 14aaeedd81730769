package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"qstack/link"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/event"
)

// server is a link that serves one request after the other in the order in which
// they were made, each pair in an exponential time: as simple as can be, so that
// what is known of queues holds exactly.
type server struct {
	loop  *event.Virtual
	rng   *rand.Rand
	mean  float64 // nanoseconds per pair
	sides [2]*side
	queue []served
	next  link.RequestID
	seq   uint64
	wrong float64 // probability that a pair of bits is wrong
	done  func()
	freed map[physical.Qubit]int // times that a qubit was freed
	ended func(s served)
	ms    [1]link.Measured
	sheet *physical.Spec
}

type served struct {
	id    link.RequestID
	side  int
	left  uint64
	typ   link.Type
	began qnet.Time
}

type serverEnd struct {
	s    *server
	side int
}

func (e serverEnd) Create(_ physical.LinkID, r link.Request) (link.RequestID, error) {
	s := e.s
	if r.Priority == 7 {
		return 0, qnet.ErrBusy
	}
	s.next++
	x := served{id: s.next<<1 | link.RequestID(e.side), side: e.side, left: r.Pairs, typ: r.Type, began: s.loop.Now()}
	s.queue = append(s.queue, x)
	if len(s.queue) == 1 {
		s.start()
	}
	return x.id, nil
}

func (s *server) start() {
	s.loop.After(time.Duration(qnet.Exponential(s.rng)*s.mean), s.done)
}

// pair hands a pair to both ends.
func (s *server) pair() {
	x := &s.queue[0]
	s.seq++
	x.left--
	if x.typ == link.Measure {
		basis, bit := uint8(s.rng.IntN(3)), uint8(s.rng.IntN(2))
		other := bit
		if bad := s.rng.Float64() < s.wrong; bad != (basis == 1) { // Φ+ has equal bits but in Y
			other ^= 1
		}
		for i, b := range [2]uint8{bit, other} {
			s.ms[0] = link.Measured{Seq: s.seq, Label: qnet.PhiPlus, Basis: basis, Bit: b}
			s.sides[i].Measured(1, x.id, s.ms[:])
		}
	} else {
		for i := range s.sides {
			s.sides[i].Pair(link.Pair{Link: 1, Request: x.id, Seq: s.seq, Label: qnet.PhiPlus, Qubit: physical.Qubit{Fabric: 1, Index: uint32(i), Generation: uint32(s.seq)}})
		}
	}
	if x.left == 0 {
		y := *x
		s.queue = s.queue[:copy(s.queue, s.queue[1:])]
		for _, end := range s.sides {
			end.Ended(1, y.id, nil)
		}
		if s.ended != nil {
			s.ended(y)
		}
	}
	if len(s.queue) > 0 {
		s.start()
	}
}

func (s *server) free(side int, q physical.Qubit) {
	if s.freed != nil {
		s.freed[q]++
	}
	if int(q.Index) != side {
		s.sides[0].c.fail("%v freed at %d", q, side)
	}
}

func (s *server) fidelity(a, b physical.Qubit, _ qnet.BellLabel) (float64, error) {
	if a.Index+b.Index != 1 || a.Generation != b.Generation || s.freed[a] > 0 || s.freed[b] > 0 {
		return 0, qnet.ErrBadQubit
	}
	return 0.5 + 0.25*float64(a.Generation%2), nil
}

// End makes a request end with its next pair, or at once if it is not its turn.
func (e serverEnd) End(_ physical.LinkID, id link.RequestID, _ qnet.Code) {
	s := e.s
	for i := range s.queue {
		if s.queue[i].id != id {
			continue
		}
		if i == 0 {
			s.queue[0].left = 1
		} else {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
		}
		return
	}
}

func (s *server) bloch(physical.Qubit) (r [3]float64, err error) { return r, qnet.ErrBadQubit }

// measure finds the same bit at both ends, but in Y.
func (s *server) measure(side int, q physical.Qubit, _ bool, b qnet.Basis, done func(uint8, error)) {
	s.free(side, q)
	bit := uint8(q.Generation >> 1 & 1)
	if b == qnet.BasisY && side == 1 {
		bit ^= 1
	}
	s.loop.After(0, func() { done(bit, nil) })
}

func (s *server) spec(int) *physical.Spec { return s.sheet }

// newServer returns a workload on a server that makes so many pairs per second, of
// types whose shares of the load are over its full rate.
func newServer(t testing.TB, w *scenario.Workload, rate float64, seed uint64) (*server, *collector) {
	t.Helper()
	s := &server{loop: event.NewVirtual(), rng: qnet.NewRand(seed, "server"), mean: 1e9 / rate, freed: make(map[physical.Qubit]int), sheet: &physical.Spec{}}
	s.done = s.pair
	const period = 1e4
	p := rate * period * 1e-9
	var ends [2]link.EndConfig
	for i := range ends {
		ends[i] = link.EndConfig{Cycles: physical.Cycles{Period: period}, Points: []link.Point{{Probability: p, Fidelity: 1, Heralds: []herald.Herald{}}}}
	}
	shares := 0.0
	for i := range w.Types {
		shares += w.Types[i].Share
	}
	var demands []*demand
	for i := range w.Types {
		d, err := newDemand(&w.Types[i], w.Load, shares, &ends, &[2]*physical.Spec{{}, {}}, []expecter{points(ends[0].Points)})
		if err != nil {
			t.Fatal(err)
		}
		demands = append(demands, d)
	}
	c := newCollector(w, s.loop, 1, demands, s, seed)
	for i := range s.sides {
		s.sides[i] = &side{c, i}
		c.layers[i] = serverEnd{s, i}
	}
	for i, d := range demands {
		for end, origin := range [2]float64{w.OriginA, 1 - w.OriginA} {
			if origin == 0 {
				continue
			}
			src, err := newSource(qnet.NewRand(seed, fmt.Sprintf("%d%d", i, end)), ends[0].Cycles, 0, d.perCycle(origin), w.Poisson)
			if err != nil {
				t.Fatal(err)
			}
			c.begin(i, end, src)
		}
	}
	return s, c
}

// run runs to the horizon and returns the result.
func (s *server) run(t testing.TB, c *collector) *Result {
	t.Helper()
	if err := s.loop.RunUntil(c.end - 1); err != nil {
		t.Fatal(err)
	}
	r := &Result{Version: Version, Scenario: "server"}
	c.finish(r, 1e4)
	return r
}

func measured(load float64, horizon time.Duration) *scenario.Workload {
	return &scenario.Workload{Load: load, Horizon: horizon, Seeds: 1, OriginA: 0.5, ReportEvery: time.Second, FidelitySamples: 1,
		Types: []scenario.WorkloadType{{Name: "MD", Type: scenario.MeasurePairs, Share: 1, PairsMin: 1, PairsMax: 1}}}
}

// sure is Student's t for 29 degrees of freedom and a probability below 1e-6 to be
// beyond, on either side.
const sure = 6.5

// TestQueue: single pairs on an exponential server are M/M/1: the mean latency is
// 1/(μ−λ), the mean number of requests λ/(μ−λ), and latencies are exponential. Of
// 30 runs, each mean within 6.5 standard errors between the runs.
func TestQueue(t *testing.T) {
	const rate = 8.05
	for _, load := range []float64{0.3, 0.7} {
		var rs []*Result
		for seed := range uint64(30) {
			w := measured(load, 4000*time.Second)
			w.Warmup = 100 * time.Second
			s, c := newServer(t, w, rate, seed)
			rs = append(rs, s.run(t, c))
		}
		s := Summarise(rs)
		mean := 1 / (rate * (1 - load))
		for _, x := range []struct {
			typ, origin, figure string
			want                float64
		}{
			{"MD", OriginBoth, FigureLatency, mean}, {"MD", OriginA, FigureScaled, mean}, {"all", OriginB, FigureLatency, mean},
			{"MD", OriginBoth, FigureThroughput, load * rate}, {"MD", OriginA, FigureThroughput, load * rate / 2},
			{"all", OriginBoth, FigureRequests, load * rate * 3900},
			{"MD", OriginBoth, FigureScaledP50, mean * math.Ln2}, {"MD", OriginBoth, FigureScaledP99, mean * math.Log(100)},
			{"", "", FigureQueue, load / (1 - load)},
			{"MD", OriginDifference, FigureLatency, 0}, {"MD", OriginDifference, FigureThroughput, 0},
			{"MD", OriginBoth, FigureOutcomes, 1}, {"MD", OriginBoth, FigureOffered, load * rate},
		} {
			r, ok := s.Row(x.typ, x.origin, x.figure)
			// Percentiles are good to a tenth of a bin as such.
			if bias := 0.002 * x.want; !ok || math.Abs(r.Mean-x.want) > sure*r.StdErr+bias {
				t.Errorf("load %g: %s %s %s is %g ± %g, want %g", load, x.typ, x.origin, x.figure, r.Mean, r.StdErr, x.want)
			}
		}
	}
}

// TestAccount: every request and pair is accounted for, as the server itself
// knows.
func TestAccount(t *testing.T) {
	w := &scenario.Workload{Load: 0.8, Horizon: 2000 * time.Second, Warmup: 200 * time.Second, Seeds: 1, OriginA: 0.75,
		ReportEvery: 1500 * time.Millisecond, FidelitySamples: 0.5, Types: []scenario.WorkloadType{
			{Name: "CK", Type: scenario.KeepPairs, Share: 1, PairsMin: 1, PairsMax: 3},
			{Name: "MD", Type: scenario.MeasurePairs, Share: 2, PairsMin: 2, PairsMax: 2},
			{Name: "no", Type: scenario.MeasurePairs, Share: 1, PairsMin: 1, PairsMax: 1, Priority: 7},
		}}
	s, c := newServer(t, w, 20, 1)
	s.wrong = 0.1
	var ended, pairs [2]uint64
	var latency float64
	s.ended = func(x served) {
		if x.began < c.start {
			return
		}
		i := 0
		if x.typ == link.Measure {
			i = 1
		}
		ended[i]++
		latency += s.loop.Now().Sub(x.began).Seconds()
	}
	done := s.done
	s.done = func() {
		if s.loop.Now() >= c.start {
			if s.queue[0].typ == link.Measure {
				pairs[1]++
			} else {
				pairs[0]++
			}
		}
		done()
	}
	r := s.run(t, c)
	for i, k := range r.Types[:2] {
		if k.Both.Completed != ended[i] || k.Both.Pairs != pairs[i] || k.A.Completed+k.B.Completed != ended[i] || k.A.Pairs+k.B.Pairs != pairs[i] {
			t.Errorf("%s: %d completed, %d pairs; the server says %d, %d", k.Name, k.Both.Completed, k.Both.Pairs, ended[i], pairs[i])
		}
		if k.Both.Requests != k.Both.Completed+k.Both.Open {
			t.Errorf("%s: %d requests, %d completed, %d open", k.Name, k.Both.Requests, k.Both.Completed, k.Both.Open)
		}
		if a := float64(k.A.Requests) / float64(k.Both.Requests); math.Abs(a-0.75) > 5*math.Sqrt(0.75*0.25/float64(k.Both.Requests)) {
			t.Errorf("%s: %g of the requests come from A", k.Name, a)
		}
	}
	all := r.All.Both
	if all.Completed != ended[0]+ended[1] || all.Latency.N != all.Completed || math.Abs(all.Latency.Mean-latency/float64(all.Completed)) > 1e-9 {
		t.Errorf("all: %d completed, latency %g; the server says %d, %g", all.Completed, all.Latency.Mean, ended[0]+ended[1], latency/float64(all.Completed))
	}
	if no := r.Types[2].Both; no.Requests == 0 || !reflect.DeepEqual(no.Failed, map[string]uint64{"queue full": no.Requests}) || all.Failed["queue full"] != no.Requests {
		t.Errorf("refused: %+v", no)
	}
	// Rates over time and in all agree with the number of pairs.
	if got := r.All.Rate.Mean * 1800; math.Abs(got-float64(all.Pairs)) > 1e-6 || math.Abs(all.Throughput.Mean*1800-float64(all.Pairs)) > 1e-6 || all.Throughput.N != 1 {
		t.Errorf("rate %+v for %d pairs", all.Throughput, all.Pairs)
	}
	// A tenth of the bits is wrong, in each basis; 5 standard errors of what is
	// expected.
	for b, q := range []Estimate{r.Types[1].Both.Outcomes.X, r.Types[1].Both.Outcomes.Y, r.Types[1].Both.Outcomes.Z} {
		if se := math.Sqrt(0.09 / float64(q.N)); math.Abs(q.Mean-0.1) > 5*se || math.Abs(q.StdErr/se-1) > 0.2 {
			t.Errorf("basis %d: %+v", b, q)
		}
	}
	if o := r.Types[1].Both.Outcomes; math.Abs(o.F.Mean-0.85) > 5*math.Sqrt(0.09/float64(o.X.N)*3)/2 {
		t.Errorf("fidelity %+v", o.F)
	}
	// The oracle sees half of the kept pairs, of fidelity 1/2 and 3/4; all are freed
	// once at each end.
	ck := r.Types[0].Both
	if n := float64(ck.Pairs); math.Abs(float64(ck.Oracle.N)-n/2) > 5*math.Sqrt(n/4) || math.Abs(ck.Oracle.Mean-0.625) > 5*0.125/math.Sqrt(n/2) {
		t.Errorf("oracle: %+v of %d pairs", ck.Oracle, ck.Pairs)
	}
	for q, n := range s.freed {
		if n != 1 {
			t.Errorf("%v freed %d times", q, n)
		}
	}
	if uint64(len(s.freed)) < 2*ck.Pairs || len(r.Errors) > 0 || r.Unmatched != 0 {
		t.Errorf("%d qubits freed of %d pairs; errors %v; %d unmatched", len(s.freed), ck.Pairs, r.Errors, r.Unmatched)
	}
}

// TestHold: kept pairs are freed when their time has come.
func TestHold(t *testing.T) {
	w := measured(0.5, 100*time.Second)
	w.Types[0].Type, w.Hold = scenario.KeepPairs, 3*time.Second
	s, c := newServer(t, w, 10, 1)
	r := s.run(t, c)
	pairs := s.seq
	if n := uint64(len(s.freed)); n >= 2*pairs || n < 2*pairs-2*60 {
		t.Errorf("%d freed of %d pairs when the last have 3 s to go", n, pairs)
	}
	if r.All.Both.Oracle.N != r.All.Both.Pairs {
		t.Errorf("the oracle saw %d of %d", r.All.Both.Oracle.N, r.All.Both.Pairs)
	}
}

// TestDisagreement: what must not happen is told, and leaves no qubit behind.
func TestDisagreement(t *testing.T) {
	s, c := newServer(t, measured(0.001, time.Second), 10, 1)
	s.next = 100
	a, b := s.sides[0], s.sides[1]
	qubit := func(side, n uint32) physical.Qubit { return physical.Qubit{Fabric: 1, Index: side, Generation: n} }
	c.demands[0].Type = scenario.KeepPairs
	c.create(0, 0, 9)
	id := s.queue[0].id
	a.Measured(1, id, []link.Measured{{Seq: 1, Label: qnet.PsiPlus}})
	b.Measured(1, id, []link.Measured{{Seq: 1, Label: qnet.PsiMinus}})
	a.Measured(1, id, []link.Measured{{Seq: 2}})
	a.Measured(1, id, []link.Measured{{Seq: 2}})
	a.Pair(link.Pair{Request: id, Seq: 3, Qubit: qubit(0, 3)})
	b.Measured(1, id, []link.Measured{{Seq: 3}})
	b.Pair(link.Pair{Request: id, Seq: 4, Qubit: qubit(1, 4)})
	a.Pair(link.Pair{Request: id + 2, Seq: 4, Qubit: qubit(0, 4)})
	a.Pair(link.Pair{Request: id, Seq: 5, Qubit: qubit(0, 5)})
	a.Expired(1, id, 5, true)
	b.Expired(1, id, 6, false)
	b.Pair(link.Pair{Request: 77, Seq: 7, Qubit: qubit(1, 7)}) // of a request that nobody knows
	want := []string{
		"the ends disagree about pair 1: Ψ+ of request 202, and Ψ− of request 202",
		"end A was handed pair 2 twice",
		"pair 3 was kept at end A and measured at the other",
		"the ends disagree about pair 4: Φ+ of request 202, and Φ+ of request 204",
	}
	if len(c.errors) != len(want) {
		t.Fatalf("got %q", c.errors)
	}
	for i := range want {
		if got := c.errors[i]; got != fmt.Sprintf("at %v: ", s.loop.Now())+want[i] {
			t.Errorf("got %q, want %q", got, want[i])
		}
	}
	for _, q := range []physical.Qubit{qubit(0, 3), qubit(1, 4), qubit(0, 4), qubit(0, 5), qubit(1, 7)} {
		if s.freed[q] != 1 {
			t.Errorf("%v freed %d times", q, s.freed[q])
		}
	}
	if c.expired != [2]uint64{1, 1} {
		t.Errorf("expired %v", c.expired)
	}
	b.Ended(1, id, nil) // which counts at A only
	if len(c.records) != 1 {
		t.Error("the end that did not make the request has ended it")
	}
	a.Ended(1, id, qnet.ErrTimeout)
	if r := s.run(t, c); r.All.A.Failed["timed out"] != 1 || r.All.A.Completed != 0 || r.All.Both.Latency.N != 0 {
		t.Errorf("got %+v", r.All.A)
	}
	for range 20 {
		c.fail("more")
	}
	if len(c.errors) != maxErrors {
		t.Errorf("%d errors are kept", len(c.errors))
	}
}

// TestWrong: against the states themselves: two bits measured in one basis agree
// or not as the Bell states say.
func TestWrong(t *testing.T) {
	// Signs of X⊗X, Y⊗Y, Z⊗Z, from the stabilisers.
	signs := map[qnet.BellLabel][3]int{qnet.PhiPlus: {1, -1, 1}, qnet.PhiMinus: {-1, 1, 1}, qnet.PsiPlus: {1, 1, -1}, qnet.PsiMinus: {-1, -1, -1}}
	for l, sign := range signs {
		for b, s := range sign {
			if wrong(l, uint8(b), 0) != (s < 0) || wrong(l, uint8(b), 1) != (s > 0) {
				t.Errorf("%v in basis %d", l, b)
			}
		}
	}
}

// TestAllocations: in the long run neither requests nor pairs allocate, or the
// memory of a run would grow. The server itself does not.
func TestAllocations(t *testing.T) {
	for _, typ := range []scenario.RequestType{scenario.MeasurePairs, scenario.KeepPairs} {
		w := measured(0.7, time.Hour)
		w.Types[0].Type, w.Types[0].PairsMax, w.FidelitySamples = typ, 3, 0.1
		s, c := newServer(t, w, 1000, 1)
		s.freed = nil
		if err := s.loop.RunUntil(qnet.Time(100 * time.Second)); err != nil { // room for the longest queue
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(5, func() {
			if err := s.loop.RunFor(10 * time.Second); err != nil {
				t.Fatal(err)
			}
		}); n > 20 { // of some 4,000 requests and 7,000 pairs
			t.Errorf("%v: %.0f allocations", typ, n)
		}
		if len(c.errors) > 0 {
			t.Error(c.errors)
		}
	}
}

// BenchmarkRequest: all but the link, for a request of 1.6 pairs in the mean.
func BenchmarkRequest(b *testing.B) {
	w := measured(0.7, 1000*time.Hour)
	w.Types[0].PairsMax = 3
	s, c := newServer(b, w, 1000, 1)
	b.ReportAllocs()
	requests := func() uint64 { return c.kinds[0].cells[0].requests + c.kinds[0].cells[1].requests }
	for b.Loop() {
		for before := requests(); requests() == before; {
			s.loop.Step()
		}
	}
}
