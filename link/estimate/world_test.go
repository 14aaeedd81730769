package estimate_test

import (
	"cmp"
	"maps"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/link/estimate"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
	"qstack/qnet/event"
)

const (
	alice qnet.NodeID = 0xa11ce
	bob   qnet.NodeID = 0xb0b
	link              = physical.LinkID(1)
)

// always is a model of which every attempt succeeds, in one way.
type always struct {
	herald.Herald
	period float64
}

func (m always) Validate() error             { return nil }
func (m always) SuccessProbability() float64 { return 1 }
func (m always) Period() float64             { return m.period }
func (m always) Heralds() []herald.Herald {
	h := m.Herald
	h.P = 1
	return []herald.Herald{h}
}

// hardware is a link and its ends.
type hardware struct {
	specs     [2]physical.Spec
	heralds   []herald.Herald
	p         float64 // success probability
	period    float64
	length    float64
	pipelined bool
	lanes     int
	before    [2]time.Duration // of the first attempt: storage is initialised
}

// estimator returns the estimator of the hardware, with one operating point.
func (h *hardware) estimator(t testing.TB, half time.Duration) *estimate.Estimator {
	t.Helper()
	e, err := estimate.New(estimate.Config{
		Link: link, Name: "alice-bob", Half: half, Period: h.period, Pipelined: h.pipelined,
		Points: []estimate.Point{{Name: "only", Probability: h.p, Heralds: h.heralds}},
		Specs:  [2]*physical.Spec{&h.specs[0], &h.specs[1]},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// world is emulated hardware.
type world struct {
	*fabric.Fabric
	t    testing.TB
	loop *event.Virtual
}

// world returns emulated hardware with the given model, or one that always
// succeeds with one kind of herald, that does what the data sheets say.
func (h *hardware) world(t testing.TB, m herald.Model, seed uint64) *world {
	t.Helper()
	c := fabric.Config{Seed: seed}
	lanes := max(1, h.lanes)
	for i, id := range []qnet.NodeID{alice, bob} {
		s := h.specs[i]
		s.Lanes = map[physical.LinkID]int{link: lanes}
		decay := state.Decay{T1: s.T1, T2: s.T2, Depolarise: s.Depolarise}
		storage := decay
		if m := s.Memory; m != nil {
			storage = state.Decay{T1: m.T1, T2: m.T2, Depolarise: m.Depolarise}
		}
		c.Nodes = append(c.Nodes, fabric.NodeConfig{ID: id, Name: id.String(), Spec: s, Communication: decay, Storage: storage, Noise: s.Noise})
	}
	c.Links = []fabric.LinkConfig{{ID: link, A: alice, B: bob, LanesA: lanes, LanesB: lanes, Model: m, Length: h.length, Pipelined: h.pipelined,
		DephasingA: h.specs[0].AttemptDephasing[link], DephasingB: h.specs[1].AttemptDephasing[link]}}
	loop := event.NewVirtual()
	f, err := fabric.New(c, loop, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &world{f, t, loop}
}

// start begins an operation that must succeed; the result is there when the loop
// has come to its end.
func (w *world) start(node qnet.NodeID, op physical.Op) *physical.Result {
	r := new(physical.Result)
	w.Device(node).Do(op, func(x physical.Result) {
		if *r = x; x.Err != nil {
			w.t.Fatal(x.Err)
		}
	})
	return r
}

func (w *world) until(t qnet.Time) {
	w.t.Helper()
	if err := w.loop.RunUntil(t); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) fidelity(at qnet.Time, q [2]physical.Qubit, l qnet.BellLabel) float64 {
	w.t.Helper()
	w.until(at)
	f, err := w.Oracle().BellFidelity(at, q[0], q[1], l)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

var nodes = [2]qnet.NodeID{alice, bob}

// pair heralds a pair on lane 0 in the n-th attempt, from 0, of a block that begins
// when storage qubits have been initialised, if they are asked for, so long before. It
// returns the emission instant, when the herald has become known.
func (w *world) pair(h *hardware, n uint64, store bool) (emitted qnet.Time, q, storage [2]physical.Qubit) {
	w.t.Helper()
	k := w.Link(link)
	begin := k.CycleInstant(k.CycleAt(qnet.Time(100 * time.Millisecond)))
	var armed, alloced [2]*physical.Result
	for i, node := range nodes {
		s := &h.specs[i]
		init := s.Init
		if s.Memory != nil {
			init = s.Memory.Init
		}
		if store {
			w.loop.At(begin.Add(-init-h.before[i]), func() { alloced[i] = w.start(node, physical.Op{Kind: physical.OpAlloc}) })
		}
		before := s.Init
		w.loop.At(begin.Add(-before), func() { armed[i] = w.start(node, physical.Op{Kind: physical.OpArm, Link: link}) })
	}
	w.until(begin)
	cycle := k.CycleAt(begin) + n
	emitted = k.CycleInstant(cycle)
	w.until(emitted.Add(k.HalfDelay()))
	if _, ok := k.Herald([2]uint32{}, 0, cycle); !ok {
		w.t.Fatalf("no herald in attempt %d", n)
	}
	w.until(emitted.Add(2 * k.HalfDelay()))
	for i := range nodes {
		q[i] = armed[i].Qubit
		if store {
			storage[i] = alloced[i].Qubit
		}
	}
	return emitted, q, storage
}

// move moves both halves into storage qubits and returns when the later one is
// there.
func (w *world) move(q, storage [2]physical.Qubit) (at qnet.Time) {
	w.t.Helper()
	var last [2]*physical.Result
	for i, node := range nodes {
		w.start(node, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: q[i], B: storage[i]})
		last[i] = w.start(node, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: storage[i], B: q[i]})
		w.start(node, physical.Op{Kind: physical.OpFree, A: q[i]})
	}
	now := w.loop.Now()
	w.until(now.Add(2*max(w.Device(alice).Spec().Gate2, w.Device(bob).Spec().Gate2) + 1))
	return max(last[0].At, last[1].At)
}

// randomState returns a density matrix of random rank: near a Bell state in half of
// the cases.
func randomState(rng *rand.Rand) (s herald.State) {
	rank := 1 + rng.IntN(4)
	for range rank {
		var v [4]complex128
		for i := range v {
			v[i] = complex(rng.NormFloat64(), rng.NormFloat64())
		}
		for i := range s {
			s[i] += v[i/4] * cmplx.Conj(v[i%4])
		}
	}
	trace := real(s[0] + s[5] + s[10] + s[15])
	var weights [4]float64
	weights[rng.IntN(4)] = 1
	bell := herald.BellDiagonal(weights)
	mix := complex(float64(rng.IntN(2))*0.8, 0)
	for i := range s {
		s[i] = mix*bell[i] + (1-mix)*s[i]/complex(trace, 0)
	}
	return s
}

// randomHeralds returns kinds of success, some with the same label.
func randomHeralds(rng *rand.Rand) (hs []herald.Herald) {
	sum := 0.0
	for range 1 + rng.IntN(4) {
		h := herald.Herald{Label: qnet.BellLabel(rng.IntN(4)), P: 0.1 + rng.Float64(), State: randomState(rng)}
		sum += h.P
		hs = append(hs, h)
	}
	for i := range hs {
		hs[i].P /= sum
	}
	return hs
}

// some returns x, or 0 in a third of the cases.
func some(rng *rand.Rand, x float64) float64 {
	if rng.IntN(3) == 0 {
		return 0
	}
	return x * rng.Float64()
}

func times(rng *rand.Rand, n int) time.Duration {
	return time.Duration(rng.IntN(n+1)) * time.Microsecond
}

func randomNoise(rng *rand.Rand) physical.QubitNoise {
	return physical.QubitNoise{InitDepolarising: some(rng, 0.5), Gate1Depolarising: some(rng, 0.5),
		ReadoutError: physical.ReadoutError{some(rng, 0.3), some(rng, 0.3)}}
}

func randomDecay(rng *rand.Rand) (t1, t2, depolarise float64) {
	t1, t2 = some(rng, 5e-3), some(rng, 5e-3)
	if t1 > 0 {
		t2 = min(t2, 2*t1)
	}
	return t1, t2, some(rng, 300)
}

// randomSpec returns a data sheet with all durations in whole microseconds.
func randomSpec(rng *rand.Rand) (s physical.Spec) {
	s = physical.Spec{Storage: 2, Init: times(rng, 20), Gate1: times(rng, 20), Gate2: times(rng, 300), Readout: times(rng, 100)}
	s.T1, s.T2, s.Depolarise = randomDecay(rng)
	s.Noise = physical.Noise{Gate2Depolarising: some(rng, 0.3), Gate2Dephasing: some(rng, 0.2), QubitNoise: randomNoise(rng)}
	if rng.IntN(2) == 0 {
		s.Memory = &physical.Memory{Init: times(rng, 50), Gate1: times(rng, 20), Readout: times(rng, 100)}
		s.Memory.T1, s.Memory.T2, s.Memory.Depolarise = randomDecay(rng)
		s.Noise.Memory = randomNoise(rng)
	}
	return s
}

func randomHardware(rng *rand.Rand) *hardware {
	return &hardware{specs: [2]physical.Spec{randomSpec(rng), randomSpec(rng)}, heralds: randomHeralds(rng),
		p: 0.05 + 0.9*rng.Float64(), period: 1000, length: float64(rng.IntN(40)) * 1000}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.12g, want %.12g within %g", what, got, want, tolerance)
	}
}

// A pair of one label is at any age what the emulated world has, and the estimate is
// the mean over the kinds of success.
func TestKeptAgainstWorld(t *testing.T) {
	for i := range 2000 {
		rng := qnet.NewRand(uint64(i), "kept")
		h := randomHardware(rng)
		half := h.world(t, always{h.heralds[0], h.period}, 1).Link(link).HalfDelay()
		e := h.estimator(t, half)
		age := 2*half + times(rng, 1000)
		var mean, weight [4]float64
		var atHerald float64
		for _, k := range h.heralds {
			w := h.world(t, always{k, h.period}, 1)
			emitted, q, _ := w.pair(h, 0, false)
			atHerald += k.P * w.fidelity(emitted.Add(2*half), q, k.Label)
			mean[k.Label] += k.P * w.fidelity(emitted.Add(age), q, k.Label)
			weight[k.Label] += k.P
		}
		est, err := e.Estimate(0, estimate.Usage{})
		if err != nil {
			t.Fatal(err)
		}
		near(t, "fidelity", est.Fidelity, atHerald, 1e-9)
		if est.Age != 2*half || est.Model != est.Fidelity || est.Granted != est.Fidelity {
			t.Errorf("estimate is %+v", est)
		}
		for l := range qnet.BellLabel(4) {
			if weight[l] > 0 {
				near(t, "fidelity of a label at an age", e.At(0, l, estimate.Usage{}, age, 0), mean[l]/weight[l], 1e-9)
			}
		}
		if t.Failed() {
			t.Fatalf("case %d: %+v", i, h)
		}
	}
}

// Stored pairs, of which the storage qubit was initialised at the begin of a block of
// attempts, averaged over the attempts that can bring the pair.
func TestStoredAgainstWorld(t *testing.T) {
	for i := range 600 {
		rng := qnet.NewRand(uint64(i), "stored")
		h := randomHardware(rng)
		pattern := physical.Pattern{Stride: uint64(1 + rng.IntN(3)), Every: uint64(1 + rng.IntN(8)), Pause: uint64(rng.IntN(5))}
		u := estimate.Usage{Store: true, Patterns: [2]physical.Pattern{pattern, pattern}}
		half := h.world(t, always{h.heralds[0], h.period}, 1).Link(link).HalfDelay()
		est, err := h.estimator(t, half).Estimate(0, u)
		if err != nil {
			t.Fatal(err)
		}
		later := times(rng, 500)
		var mean, aged, total float64
		var ready time.Duration
		for n := uint64(0); n < pattern.Every; n += pattern.Stride {
			p := math.Pow(1-h.p, float64(n/pattern.Stride))
			total += p
			for _, k := range h.heralds {
				w := h.world(t, always{k, h.period}, 1)
				emitted, q, storage := w.pair(h, n, true)
				at := w.move(q, storage)
				mean += p * k.P * w.fidelity(at, storage, k.Label)
				aged += p * k.P * w.fidelity(at.Add(later), storage, k.Label)
				ready = at.Sub(emitted)
			}
		}
		near(t, "fidelity", est.Fidelity, mean/total, 1e-9)
		if est.Age != ready {
			t.Errorf("age is %v, want %v", est.Age, ready)
		}
		e := h.estimator(t, half)
		sum := 0.0
		for _, k := range h.heralds {
			sum += k.P * e.At(0, k.Label, u, ready+later, 0)
		}
		near(t, "mean fidelity later", sum, aged/total, 1e-9)
		if t.Failed() {
			t.Fatalf("case %d: %+v %+v", i, h, u)
		}
	}
}

// Storage qubits that were initialised once, some time before the first attempt, or at
// one end before each attempt.
func TestStorageOfEitherAge(t *testing.T) {
	for i := range 150 {
		rng := qnet.NewRand(uint64(i), "age")
		h := randomHardware(rng)
		h.p = 0.5 + 0.4*rng.Float64()
		for side := range h.specs {
			h.before[side] = times(rng, 2000)
			if m := h.specs[side].Memory; m != nil {
				m.Indirect = false // which matters for test rounds only
			}
		}
		u := estimate.Usage{Store: true, Before: h.before}
		fresh := rng.IntN(3) // none, if it is 2
		if fresh < 2 {
			u.Patterns[fresh].Every = 1
		}
		half := h.world(t, always{h.heralds[0], h.period}, 1).Link(link).HalfDelay()
		est, err := h.estimator(t, half).Estimate(0, u)
		if err != nil {
			t.Fatal(err)
		}
		mean := 0.0
		for n, p := 0, h.p; p > 1e-12; n, p = n+1, p*(1-h.p) {
			if fresh < 2 {
				h.before[fresh] = -time.Duration(float64(n) * h.period)
			}
			for _, k := range h.heralds {
				w := h.world(t, always{k, h.period}, 1)
				_, q, storage := w.pair(h, uint64(n), true)
				mean += p * k.P * w.fidelity(w.move(q, storage), storage, k.Label)
			}
		}
		near(t, "fidelity", est.Fidelity, mean, 1e-9)
		if t.Failed() {
			t.Fatalf("case %d: %+v %+v", i, h, u)
		}
	}
}

// What is granted of stored pairs holds also if storage qubits are initialised anew
// before each attempt, where that is worse; else it is what is expected.
func TestGrantedIfInterrupted(t *testing.T) {
	worse := 0
	for i := range 1000 {
		rng := qnet.NewRand(uint64(i), "interrupted")
		h := randomHardware(rng)
		h.specs[1] = h.specs[0]
		e := h.estimator(t, 0)
		u := estimate.Usage{Store: true, Type: [...]estimate.Type{estimate.Keep, estimate.Prepare}[rng.IntN(2)]}
		est, err := e.Estimate(0, u)
		if err != nil {
			t.Fatal(err)
		}
		u.Patterns = twice(physical.Pattern{Every: 1})
		anew, err := e.Estimate(0, u)
		if err != nil {
			t.Fatal(err)
		}
		// All that relaxation does a qubit in its initial state.
		s := &h.specs[0]
		t1, q, depolarise := s.T1, s.Noise.InitDepolarising, s.Depolarise
		if m := s.Memory; m != nil {
			t1, q, depolarise = m.T1, s.Noise.Memory.InitDepolarising, m.Depolarise
		}
		relax := 0.0
		if t1 > 0 {
			relax = 1 / t1
		}
		want := est.Fidelity
		if relax > 0 && 1-q < relax/(relax+depolarise) { // where z comes to rest
			if want = min(est.Fidelity, anew.Fidelity); want < est.Fidelity-1e-6 {
				worse++
			}
		}
		near(t, "granted", est.Granted, want, 1e-12)
	}
	if worse < 50 {
		t.Errorf("in %d cases it makes a difference", worse)
	}
}

// Pairs of two lanes that are heralded at one instant are moved one after the other on
// serial hardware. Their mean is no less than what is expected, and no more but for
// what is of second order in the time that a move takes.
func TestLanesOfSerialHardware(t *testing.T) {
	for i := range 200 {
		rng := qnet.NewRand(uint64(i), "serial")
		h := randomHardware(rng)
		h.heralds = h.heralds[:1]
		h.heralds[0].P, h.p, h.lanes, h.length = 1, 1, 2, 0
		weights := [4]float64{0.02, 0.02, 0.02, 0.02}
		weights[h.heralds[0].Label] = 0.94
		h.heralds[0].State = herald.BellDiagonal(weights)
		decay := func() float64 { return 2e-3 * (1 + rng.Float64()) }
		for side := range h.specs {
			s := &h.specs[side]
			*s = physical.Spec{Storage: 2, Serial: i%2 == 0 || side == 0, Gate2: times(rng, 40), T1: 2 * decay(), T2: decay(), Depolarise: 100 * rng.Float64(),
				Noise: physical.Noise{Gate2Depolarising: 0.03 * rng.Float64()}}
			if rng.IntN(2) == 0 {
				s.Memory = &physical.Memory{T1: 2 * decay(), T2: decay()}
				s.Noise.Memory.InitDepolarising = 0.1 * rng.Float64()
			}
		}
		est, err := h.estimator(t, 0).Estimate(0, estimate.Usage{Store: true, Lanes: 2})
		if err != nil {
			t.Fatal(err)
		}
		w := h.world(t, always{h.heralds[0], h.period}, 1)
		k := w.Link(link)
		begin := k.CycleInstant(k.CycleAt(qnet.Time(time.Millisecond)))
		w.until(begin)
		var q, storage [2][2]*physical.Result // by lane and side
		for lane := range q {
			for side, node := range nodes {
				storage[lane][side] = w.start(node, physical.Op{Kind: physical.OpAlloc})
				q[lane][side] = w.start(node, physical.Op{Kind: physical.OpArm, Link: link, Lane: uint32(lane)})
			}
		}
		w.until(begin)
		for lane := range uint32(2) {
			if _, ok := k.Herald([2]uint32{lane, lane}, 0, k.CycleAt(begin)); !ok {
				t.Fatal("no herald")
			}
		}
		sum := 0.0
		var stored [2][2]physical.Qubit
		var in [2]qnet.Time // when the second half of a pair is in its place
		for lane := range q {
			for side, node := range nodes {
				a, b := q[lane][side].Qubit, storage[lane][side].Qubit
				w.start(node, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: a, B: b})
				w.start(node, physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: b, B: a})
				stored[lane][side] = b
				in[lane] = max(in[lane], begin.Add(2*h.specs[side].Gate2))
				if h.specs[side].Serial {
					in[lane] = max(in[lane], begin.Add(time.Duration(2*(lane+1))*h.specs[side].Gate2))
				}
			}
		}
		for lane := range q {
			sum += w.fidelity(in[lane], stored[lane], h.heralds[0].Label)
		}
		// Of the rates of both halves, in a wait of two gates or none; instants are rounded.
		second := math.Pow(4/2e-3*float64(2*max(h.specs[0].Gate2, h.specs[1].Gate2))*1e-9, 2) / 2
		if got := sum / 2; got < est.Fidelity-1e-7 || got > est.Fidelity+second+1e-7 {
			t.Errorf("case %d: fidelity is %.9f in the mean, want %.9f, and %.9f more at most", i, got, est.Fidelity, second)
		}
	}
}

// Attempts of other lanes dephase what is being stored.
func TestStoredBesideAttempts(t *testing.T) {
	for i := range 300 {
		rng := qnet.NewRand(uint64(i), "beside")
		h := randomHardware(rng)
		h.heralds = h.heralds[:1]
		h.heralds[0].P = 1
		h.p, h.lanes = 1, 2
		for side := range h.specs {
			s := &h.specs[side]
			s.AttemptDephasing = map[physical.LinkID]float64{link: some(rng, 0.02)}
			if s.Serial = i%3 == 0; s.Serial {
				// No other lane succeeds, for which the move would wait. Nothing takes time
				// but the gates, which attempts pause for, so that none is made until the
				// end, which is not at that of a cycle.
				h.length, s.Init, s.Gate2 = 0, 0, 100_300
				if s.Memory != nil {
					s.Memory.Init = 0
				}
			}
		}
		u := estimate.Usage{Store: true, Lanes: 2, Patterns: twice(physical.Pattern{Every: 1})}
		if i%3 == 0 {
			h.p = 1e-9
		}
		w := h.world(t, always{h.heralds[0], h.period}, 1)
		k := w.Link(link)
		for _, node := range nodes {
			w.start(node, physical.Op{Kind: physical.OpArm, Link: link, Lane: 1})
		}
		w.until(qnet.Time(time.Millisecond))
		k.Begin([2]uint32{1, 1}, 0, physical.Pattern{}, k.CycleAt(w.loop.Now()), 1<<62)
		est, err := h.estimator(t, k.HalfDelay()).Estimate(0, u)
		if err != nil {
			t.Fatal(err)
		}
		_, q, storage := w.pair(h, 0, true)
		at := w.move(q, storage)
		near(t, "fidelity", est.Fidelity, w.fidelity(at, storage, h.heralds[0].Label), 1e-9)
		if t.Failed() {
			t.Fatalf("case %d: %+v", i, h)
		}
	}
}

// wait is for how long a pair waits for the last of its request, and how many
// attempts are made meanwhile.
type wait struct {
	time.Duration
	attempts int
}

// waiting is what the waits of a request's pairs follow from.
type waiting struct {
	p, testing   float64
	pairs, lanes int
	period       time.Duration
	dead, tested time.Duration // after a pair, and a test round, in which nothing is gained
}

// waits returns the probabilities of all waits but those below 1e-13: summed over the
// pairs of a request, of which one follows the other.
func (x *waiting) waits() map[wait]float64 {
	const least = 1e-13
	sum, left := map[wait]float64{{}: 1}, map[wait]float64{{}: 1}
	for missing := 1; missing < x.pairs; missing++ {
		lanes := min(x.lanes, missing)
		others := min(x.lanes-1, missing) // attempt while one makes ready
		idle := func(w wait, t time.Duration) wait { return wait{w.Duration + t, w.attempts + others*int(t/x.period)} }
		// The time from one pair to the next, by the number of test rounds between.
		step := map[wait]float64{}
		begin := map[wait]float64{idle(wait{}, x.dead): 1}
		for len(begin) > 0 {
			again := map[wait]float64{}
			for w, p := range begin {
				for p > least {
					w.Duration += x.period
					w.attempts += lanes
					fail := math.Pow(1-x.p, float64(lanes))
					step[w] += p * (1 - fail) * (1 - x.testing)
					if q := p * (1 - fail) * x.testing; q > least {
						again[idle(w, x.tested)] += q
					}
					p *= fail
				}
			}
			begin = again
		}
		next := map[wait]float64{}
		for a, p := range left {
			for b, q := range step {
				if p*q > least {
					next[wait{a.Duration + b.Duration, a.attempts + b.attempts}] += p * q
				}
			}
		}
		for w, p := range next {
			sum[w] += p
		}
		left = next
	}
	return sum
}

// Pairs that wait in storage for others while one to three lanes attempt, and test
// rounds are made: the sum over all waiting times.
func TestConsecutiveStoredAgainstWorld(t *testing.T) {
	for i := range 40 {
		rng := qnet.NewRand(uint64(i), "consecutive")
		h := randomHardware(rng)
		h.heralds = h.heralds[:1]
		h.heralds[0].P, h.p = 1, 0.5+0.4*rng.Float64()
		pairs := 2 + rng.IntN(2)
		if h.lanes = 1 + rng.IntN(3); h.lanes > 1 {
			h.length = 0 // pauses are to be whole numbers of attempts
		}
		for side := range h.specs {
			h.specs[side].Storage = 3
			if h.lanes > 1 {
				h.specs[side].Storage = 4
			}
			h.specs[side].AttemptDephasing = map[physical.LinkID]float64{link: some(rng, 0.005)}
			if m := h.specs[side].Memory; m != nil {
				m.T1, m.T2, m.Depolarise = 0, 10*m.T2, 0
				m.Indirect = rng.IntN(2) == 0
			} else { // how old a storage qubit was when it was moved into makes no difference
				h.specs[side].T1, h.specs[side].Depolarise = 0, 0
			}
		}
		x := waiting{p: h.p, testing: some(rng, 0.2), pairs: pairs, lanes: h.lanes, period: time.Duration(h.period)}
		u := estimate.Usage{Store: true, Consecutive: true, Pairs: uint64(pairs), Lanes: h.lanes, Testing: x.testing}
		half := h.world(t, always{h.heralds[0], h.period}, 1).Link(link).HalfDelay()
		est, err := h.estimator(t, half).Estimate(0, u)
		if err != nil {
			t.Fatal(err)
		}
		for side := range h.specs {
			s := &h.specs[side]
			init, readout := s.Init, s.Gate1+s.Readout
			indirect := time.Duration(0)
			if m := s.Memory; m != nil {
				if init = m.Init; m.Indirect {
					indirect = s.Init + 2*s.Gate2
				} else {
					readout = m.Gate1 + m.Readout
				}
			}
			dead := 2*half + 2*s.Gate2 + s.Init + init
			x.dead = max(x.dead, dead)
			if dead += indirect + readout; pairs == s.Storage {
				dead += readout + time.Millisecond // until a storage qubit is asked for again
			}
			x.tested = max(x.tested, dead)
		}
		for side := range h.specs {
			if m := h.specs[side].Memory; m != nil {
				m.Indirect = false // which matters for test rounds only
			}
		}
		// waited returns the fidelity of a pair that has waited for some time, with so
		// many attempts of its lane meanwhile: when they were made makes no difference.
		// The other lanes attempt all the time.
		waited := func(wait time.Duration, attempts uint64) float64 {
			w := h.world(t, always{h.heralds[0], h.period}, 1)
			for lane := uint32(1); int(lane) < h.lanes; lane++ {
				for _, node := range nodes {
					w.start(node, physical.Op{Kind: physical.OpArm, Link: link, Lane: lane})
				}
			}
			w.until(qnet.Time(time.Millisecond))
			k := w.Link(link)
			for lane := uint32(1); int(lane) < h.lanes; lane++ {
				k.Begin([2]uint32{lane, lane}, 0, physical.Pattern{}, k.CycleAt(w.loop.Now()), 1<<62)
			}
			_, q, storage := w.pair(h, 0, true)
			end := w.move(q, storage).Add(wait)
			if attempts > 0 {
				for _, node := range nodes {
					w.start(node, physical.Op{Kind: physical.OpArm, Link: link})
				}
				w.until(end)
				first := k.CycleAt(end.Add(-k.HalfDelay())) - attempts
				k.Begin([2]uint32{}, 0, physical.Pattern{}, first, first+attempts-1)
			}
			return w.fidelity(end, storage, h.heralds[0].Label)
		}
		// When a pair is there its lane attempts on.
		for _, n := range []uint64{100, 300} {
			wait := time.Duration(float64(n) * h.period)
			near(t, "fidelity at an age", h.estimator(t, half).At(0, h.heralds[0].Label, u, est.Age+wait, float64(n*uint64(h.lanes))), waited(wait, n), 1e-9)
		}
		// Every attempt multiplies the coherence by the same.
		kept := (1 - 2*h.specs[0].AttemptDephasing[link]) * (1 - 2*h.specs[1].AttemptDephasing[link])
		type ends struct{ none, coherent float64 }
		known := map[time.Duration]ends{}
		var sum, mean, longest float64
		for w, p := range x.waits() {
			f, ok := known[w.Duration]
			if !ok {
				if f.none = waited(w.Duration, 0); kept < 1 {
					f.coherent = (f.none - waited(w.Duration, 1)) / (1 - kept)
				}
				f.none -= f.coherent
				known[w.Duration] = f
			}
			meanwhile := (h.lanes - 1) * int(w.Duration/x.period)
			sum += p * (f.none + f.coherent*math.Pow(kept, float64(w.attempts-meanwhile)))
			mean += p * float64(w.Duration)
			longest = max(longest, float64(w.Duration))
		}
		near(t, "mean fidelity", est.Fidelity, sum/float64(pairs), 1e-9)
		if pairs == 2 { // the second does not wait
			near(t, "wait", float64(est.Wait), mean, 1+1e-9*longest)
		}
		if t.Failed() {
			t.Fatalf("case %d: %+v, %+v", i, x, h)
		}
	}
}

// Pairs that wait in communication qubits, of which each takes a lane, and lanes that
// are left over make no attempts.
func TestConsecutiveKeptAgainstWorld(t *testing.T) {
	for i := range 60 {
		rng := qnet.NewRand(uint64(i), "consecutive kept")
		h := randomHardware(rng)
		h.heralds = h.heralds[:1]
		h.heralds[0].P, h.p = 1, 0.5+0.4*rng.Float64()
		w := h.world(t, always{h.heralds[0], h.period}, 1)
		half := w.Link(link).HalfDelay()
		x := waiting{p: h.p, testing: some(rng, 0.2), pairs: 2 + rng.IntN(2), period: time.Duration(h.period)}
		x.lanes = x.pairs + rng.IntN(3)
		for _, s := range h.specs {
			x.tested = max(x.tested, 2*half+s.Gate1+s.Readout+s.Init)
		}
		est, err := h.estimator(t, half).Estimate(0, estimate.Usage{Consecutive: true, Pairs: uint64(x.pairs), Lanes: x.lanes, Testing: x.testing})
		if err != nil {
			t.Fatal(err)
		}
		emitted, q, _ := w.pair(h, 0, false)
		sum, waits := 0.0, x.waits()
		for _, k := range slices.SortedFunc(maps.Keys(waits), func(a, b wait) int { return cmp.Compare(a.Duration, b.Duration) }) {
			sum += waits[k] * w.fidelity(emitted.Add(2*half+k.Duration), q, h.heralds[0].Label)
		}
		near(t, "mean fidelity", est.Fidelity, sum/float64(x.pairs), 1e-9)
		if t.Failed() {
			t.Fatalf("case %d: %+v, %+v", i, x, h)
		}
	}
}
