package fabric_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/physical/state/densetest"
	"qstack/qnet"
)

// Three nodes with limits and noise of every kind do what they like, at the same
// time and without waiting for results, while both links attempt, succeed and are
// withdrawn. What is left is what the textbook says, given the outcomes, with
// each attempt flipping phases one by one; operations keep to the limits; and
// nothing is left over.
func TestConcurrentClients(t *testing.T) {
	const chunks, each = 14, 75
	for chunk := range chunks {
		t.Run(fmt.Sprint(chunk), func(t *testing.T) {
			t.Parallel()
			var sum tally
			for i := range each {
				newClients(t, uint64(chunk*each+i), &sum).run()
			}
			t.Logf("%+v", sum)
			if sum.ops < 8*each || sum.pairs < each/3 || sum.flips < each/4 || sum.refused < each || sum.withdrawn == 0 {
				t.Errorf("%+v in %d sequences: the test is too weak", sum, each)
			}
		})
	}
}

// tally counts what happened.
type tally struct{ ops, pairs, flips, refused, withdrawn int }

// step is something that happened to the state.
type step struct {
	at    qnet.Time
	first bool // before what else happens at that instant
	do    func()
}

// attempting is a lane of one side of a link that attempts.
type attempting struct {
	link, side  int
	first, last uint64
	until       qnet.Time // when the lane was released
	withdrawn   qnet.Time // when the station withdrew what it had not seen
}

// span is the time that an operation takes.
type span struct{ from, to qnet.Time }

// clients are three nodes and two stations.
type clients struct {
	*lab
	rng   *rand.Rand
	cfg   fabric.Config
	sum   *tally
	steps []step

	held     [3][]physical.Qubit       // by node: what has a state, or is going to
	armed    [2][2]physical.Qubit      // by link and side
	window   [2][2]*attempting         // by link and side
	windows  []*attempting             // all there were
	lane     map[physical.Qubit][2]int // link and side of what was armed and is no pair
	home     map[physical.Qubit]int    // node
	storage  map[physical.Qubit]bool   // is a storage qubit
	serial   [3][]span                 // by node: what its operations took
	used     map[physical.Qubit][]span // by qubit
	ref      *densetest.World[physical.Qubit]
	last     map[physical.Qubit]qnet.Time // until which the reference has decayed
	measures bool                         // read-out errors are certain or none
	early    bool
}

var chainNodes = [3]qnet.NodeID{alice, bob, charlie}

func newClients(t *testing.T, seed uint64, sum *tally) *clients {
	rng := rand.New(rand.NewPCG(seed, 4711))
	maybe := func(v float64) float64 { return v * float64(rng.IntN(2)) }
	chance := func(n int) bool { return rng.IntN(n) == 0 }
	c := &clients{rng: rng, sum: sum, lane: map[physical.Qubit][2]int{}, home: map[physical.Qubit]int{}, storage: map[physical.Qubit]bool{}, used: map[physical.Qubit][]span{},
		ref: densetest.New[physical.Qubit](), last: map[physical.Qubit]qnet.Time{}, measures: chance(2), early: chance(4)}
	cfg := chain(1, 2)
	cfg.Seed = seed
	if c.early {
		cfg.EarlyResults = 400 * time.Microsecond
	}
	decay := func() state.Decay {
		d := state.Decay{T1: maybe(0.01 + 0.02*rng.Float64()), T2: maybe(0.005 + 0.01*rng.Float64())}
		if d.T1 == 0 {
			d.Depolarise = maybe(50 * rng.Float64())
		}
		if d.T2 > 0 && chance(3) {
			d.Stretch = 0.5 + 2*rng.Float64()
		}
		return d
	}
	noise := func() (n physical.QubitNoise) {
		n.InitDepolarising, n.Gate1Depolarising = maybe(0.3*rng.Float64()), maybe(0.3*rng.Float64())
		if c.measures {
			n.ReadoutError = physical.SymmetricReadout(float64(rng.IntN(2)))
		} else {
			n.ReadoutError = physical.ReadoutError{maybe(0.3 * rng.Float64()), maybe(0.3 * rng.Float64())}
		}
		return n
	}
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		n.Communication, n.Storage = decay(), decay()
		n.Noise = physical.Noise{Gate2Depolarising: maybe(0.3), Gate2Dephasing: maybe(0.2), QubitNoise: noise(), Memory: noise()}
		s := &n.Spec
		s.Communication = rng.IntN(2)
		s.Serial = chance(2)
		s.Coupling = physical.Coupling(rng.IntN(int(physical.CouplingEnd)))
		if chance(2) {
			s.Memory = &physical.Memory{Init: 25 * time.Microsecond, Gate1: 15 * time.Microsecond, Readout: 150 * time.Microsecond, Indirect: chance(2)}
		}
	}
	for i := range cfg.Links {
		k := &cfg.Links[i]
		k.Model = herald.DoubleClick{EtaA: 0.3, EtaB: 0.5, Visibility: 0.8, DarkCount: 0.05, PeriodNS: 7_777.7}
		k.Length = 10e3 * float64(rng.IntN(2))
		if !c.early { // what is known early can not know of attempts that are not
			k.DephasingA, k.DephasingB = maybe(0.2), maybe(0.4*rng.Float64())
		}
	}
	c.cfg, c.lab = cfg, newLab(t, cfg)
	return c
}

func (c *clients) run() {
	for range 18 {
		c.until(c.loop.Now().Add(time.Duration(c.rng.IntN(150)) * time.Microsecond))
		if c.rng.IntN(3) == 0 {
			c.station(c.rng.IntN(2))
		}
		for range 1 + c.rng.IntN(2) {
			c.client(c.rng.IntN(3))
		}
		c.check()
	}
	c.drain()
	end := c.loop.Now().Add(time.Duration(c.rng.IntN(300)) * time.Microsecond)
	if c.early {
		end = end.Add(time.Millisecond)
	}
	c.replay(end)
	for i, qs := range c.held {
		for _, q := range qs {
			c.free(chainNodes[i], q)
		}
	}
	for link := range c.armed {
		for side, q := range c.armed[link] {
			if !q.IsZero() {
				c.free(chainNodes[link+side], q)
			}
		}
	}
	c.empty()
}

// live returns how many qubits there are, or may be soon.
func (c *clients) live() (n int) {
	for _, qs := range c.held {
		n += len(qs)
	}
	for link := range c.armed {
		for _, q := range c.armed[link] {
			if !q.IsZero() {
				n++
			}
		}
	}
	return n
}

// client has a node ask for something.
func (c *clients) client(node int) {
	if c.rng.IntN(3) == 0 && c.live() < 4 {
		link := max(0, min(1, node-c.rng.IntN(2)))
		switch c.rng.IntN(5) {
		case 0:
			c.do(node, physical.Op{Kind: physical.OpPrepare, Link: physical.LinkID(link + 1)})
		case 1, 2:
			c.do(node, physical.Op{Kind: physical.OpAlloc})
		default:
			for side := range 2 {
				c.do(link+side, physical.Op{Kind: physical.OpArm, Link: physical.LinkID(link + 1)})
			}
		}
		return
	}
	if c.rng.IntN(12) == 0 {
		for link := range c.armed {
			if side := node - link; side == 0 || side == 1 {
				if q := c.armed[link][side]; !q.IsZero() {
					c.armed[link][side] = physical.Qubit{}
					c.do(node, physical.Op{Kind: physical.OpFree, A: q})
					return
				}
			}
		}
	}
	qs := c.held[node]
	if len(qs) == 0 {
		return
	}
	op := physical.Op{A: qs[c.rng.IntN(len(qs))], B: qs[c.rng.IntN(len(qs))]}
	switch kind := c.rng.IntN(9); {
	case kind < 3:
		op.Kind, op.Gate, op.Angle, op.B = physical.OpGate, physical.Gate(1+c.rng.IntN(int(physical.GateCNOT)-1)), 7*c.rng.Float64(), physical.Qubit{}
	case kind < 5 && op.A != op.B:
		op.Kind, op.Gate = physical.OpGate, physical.GateCNOT+physical.Gate(c.rng.IntN(2))
	case kind < 6 && op.A != op.B:
		op.Kind = physical.OpBSM
	case kind < 8 && c.measures:
		op.Kind, op.Free, op.B = physical.OpMeasure, c.rng.IntN(2) == 0, physical.Qubit{}
		op.Basis = []qnet.Basis{qnet.BasisZ, qnet.BasisX, {Theta: 3 * c.rng.Float64(), Phi: 6 * c.rng.Float64()}}[c.rng.IntN(3)]
	case kind == 8 && c.rng.IntN(2) == 0:
		op.Kind, op.B = physical.OpFree, physical.Qubit{}
	default:
		return
	}
	c.do(node, op)
}

// allowed reports whether the hardware can do it.
func (c *clients) allowed(node int, op physical.Op) bool {
	s := &c.cfg.Nodes[node].Spec
	indirect := s.Memory != nil && s.Memory.Indirect
	switch {
	case op.Kind == physical.OpMeasure:
		return !indirect || !c.storage[op.A]
	case op.Kind == physical.OpBSM && indirect && c.storage[op.A] && c.storage[op.B]:
		return false
	case op.Kind == physical.OpBSM || op.Kind == physical.OpGate && op.Gate.Qubits() == 2:
		return s.Coupling != physical.CouplingStar || c.storage[op.A] != c.storage[op.B]
	}
	return true
}

// noise returns the noise of a qubit.
func (c *clients) noise(node int, storage bool) physical.QubitNoise {
	if n := &c.cfg.Nodes[node]; storage && n.Spec.Memory != nil {
		return n.Noise.Memory
	}
	return c.cfg.Nodes[node].Noise.QubitNoise
}

// duration returns how long the hardware takes.
func (c *clients) duration(node int, op physical.Op) time.Duration {
	s := &c.cfg.Nodes[node].Spec
	times := func(storage bool) (init, gate, readout time.Duration) {
		if storage && s.Memory != nil {
			return s.Memory.Init, s.Memory.Gate1, s.Memory.Readout
		}
		return s.Init, s.Gate1, s.Readout
	}
	initialise, gate, readout := times(op.Kind == physical.OpAlloc || c.storage[op.A])
	switch op.Kind {
	case physical.OpAlloc, physical.OpArm, physical.OpPrepare:
		return initialise
	case physical.OpGate:
		if op.Gate.Qubits() == 2 {
			return s.Gate2
		}
		return gate
	case physical.OpMeasure:
		if op.Basis == qnet.BasisZ {
			return readout
		}
		return gate + readout
	case physical.OpBSM:
		_, _, other := times(c.storage[op.B])
		if s.Memory != nil && s.Memory.Indirect && c.storage[op.A] != c.storage[op.B] {
			return s.Gate2 + gate + s.Readout + s.Init + s.Gate2 + s.Readout // one read-out after the other
		}
		return s.Gate2 + gate + max(readout, other)
	}
	return 0
}

// do has a node ask for an operation, and notes what it did when it is known.
func (c *clients) do(node int, op physical.Op) {
	c.t.Helper()
	allowed := c.allowed(node, op)
	if gone := op.Kind == physical.OpFree || op.Kind == physical.OpBSM || op.Free; gone && allowed {
		c.held[node] = slices.DeleteFunc(c.held[node], func(q physical.Qubit) bool { return q == op.A || q == op.B && op.Kind == physical.OpBSM })
	}
	c.Device(chainNodes[node]).Do(op, func(r physical.Result) {
		switch {
		case r.Err == nil && allowed:
			c.sum.ops++
		case !allowed && qnet.CodeOf(r.Err) == qnet.ErrUnsupported,
			op.Kind != physical.OpFree && op.A.IsZero() && qnet.CodeOf(r.Err) == qnet.ErrNoMemory:
			c.sum.refused++
			return
		default:
			c.t.Fatalf("%+v: error %v, allowed %v", op, r.Err, allowed)
		}
		took := span{r.At.Add(-c.duration(node, op)), r.At}
		if op.Kind != physical.OpFree {
			c.serial[node] = append(c.serial[node], took)
			for _, q := range []physical.Qubit{op.A, op.B, r.Qubit} {
				if !q.IsZero() {
					c.used[q] = append(c.used[q], took)
				}
			}
		}
		switch op.Kind {
		case physical.OpArm:
			link := int(op.Link - 1)
			c.armed[link][node-link] = r.Qubit
			c.lane[r.Qubit] = [2]int{link, node - link}
		case physical.OpAlloc, physical.OpPrepare:
			c.held[node] = append(c.held[node], r.Qubit)
			c.home[r.Qubit], c.storage[r.Qubit] = node, op.Kind == physical.OpAlloc
		case physical.OpFree:
			c.released(op.A, r.At)
		}
		c.steps = append(c.steps, step{at: r.At, do: func() { c.effect(node, op, r) }})
	})
}

// released ends what a lane attempts that its node takes back.
func (c *clients) released(q physical.Qubit, at qnet.Time) {
	if l, ok := c.lane[q]; ok {
		if w := c.window[l[0]][l[1]]; w != nil {
			w.until = at
			c.window[l[0]][l[1]] = nil
		}
	}
}

// station has both ends of a link attempt, until a success or until it is
// withdrawn.
func (c *clients) station(link int) {
	k := c.Link(physical.LinkID(link + 1))
	fromA, okA := k.Armed(0, 0)
	fromB, okB := k.Armed(1, 0)
	if !okA || !okB || c.window[link] != [2]*attempting{} {
		return
	}
	lanes := [2]uint32{}
	first := k.CycleAt(max(fromA, fromB, c.loop.Now().Add(-k.HalfDelay())))
	last := first + c.rng.Uint64N(16)
	k.Begin(lanes, 0, physical.Pattern{}, first, last)
	mine := [2]*attempting{}
	for side := range mine {
		mine[side] = &attempting{link, side, first, last, qnet.Never, qnet.Never}
		c.windows = append(c.windows, mine[side])
	}
	c.window[link] = mine
	current := func() bool {
		return c.window[link] != [2]*attempting{} && (c.window[link][0] == mine[0] || c.window[link][1] == mine[1])
	}
	withdraw := func(cycle uint64) {
		k.End(lanes, cycle)
		for side, w := range mine {
			if c.window[link][side] == w {
				c.window[link][side] = nil
			}
			w.withdrawn = c.loop.Now()
		}
		c.sum.withdrawn++
	}
	if c.rng.IntN(4) == 0 && last > first {
		cycle := first + 1 + c.rng.Uint64N(last-first)
		c.loop.At(k.CycleInstant(cycle).Add(k.HalfDelay()-1), func() {
			if current() {
				withdraw(cycle)
			}
		})
		return
	}
	c.loop.At(k.CycleInstant(last).Add(k.HalfDelay()), func() {
		if !current() {
			return
		}
		qa, qb := c.armed[link][0], c.armed[link][1]
		label, ok := k.Herald(lanes, 0, last)
		if !ok {
			withdraw(last + 1)
			return
		}
		c.sum.pairs++
		c.window[link] = [2]*attempting{}
		c.armed[link] = [2]physical.Qubit{}
		for side, q := range []physical.Qubit{qa, qb} {
			delete(c.lane, q)
			c.home[q] = link + side
			c.held[link+side] = append(c.held[link+side], q)
		}
		c.steps = append(c.steps, step{at: k.CycleInstant(last), do: func() {
			var rho densetest.Matrix
			for _, h := range c.cfg.Links[link].Model.Heralds() {
				if h.Label == label {
					rho = densetest.Square(h.State[:])
				}
			}
			c.ref.Entangle(qa, qb, densetest.Decay(c.cfg.Nodes[link].Communication), densetest.Decay(c.cfg.Nodes[link+1].Communication), rho)
			c.last[qa], c.last[qb] = k.CycleInstant(last), k.CycleInstant(last)
		}})
	})
}

// check checks that no node uses more communication qubits than it has.
func (c *clients) check() {
	for i := range c.cfg.Nodes {
		n, used := &c.cfg.Nodes[i], 0
		for _, a := range c.Ledger() {
			if a.Node == n.ID && a.Link != 0 {
				used++
			}
		}
		if most := n.Spec.Communication; most > 0 && used > most {
			c.t.Fatalf("%s uses %d of %d communication qubits", n.Name, used, most)
		}
	}
}

// age lets a qubit of the reference decay until t.
func (c *clients) age(q physical.Qubit, t qnet.Time) {
	n := &c.cfg.Nodes[c.home[q]]
	d := n.Communication
	if c.storage[q] {
		d = n.Storage
	}
	c.ref.Decay(q, densetest.Decay(d), t.Sub(c.last[q]).Seconds())
	c.last[q] = t
}

// effect applies an operation to the reference.
func (c *clients) effect(node int, op physical.Op, r physical.Result) {
	n := &c.cfg.Nodes[node]
	for _, q := range []physical.Qubit{op.A, op.B} {
		if _, ok := c.last[q]; ok && op.Kind != physical.OpFree {
			c.age(q, r.At)
		}
	}
	noise := c.noise(node, c.storage[op.A])
	switch op.Kind {
	case physical.OpAlloc, physical.OpPrepare:
		d := n.Communication
		if op.Kind == physical.OpAlloc {
			d = n.Storage
		}
		c.ref.Zero(r.Qubit, densetest.Decay(d))
		c.ref.Depolarise(c.noise(node, op.Kind == physical.OpAlloc).InitDepolarising, r.Qubit)
		c.last[r.Qubit] = r.At
	case physical.OpFree:
		if _, ok := c.last[op.A]; ok {
			c.gone(op.A)
		}
	case physical.OpGate:
		if op.Gate.Qubits() == 1 {
			c.ref.Gate1(op.A, op.Gate, op.Angle)
			c.ref.Depolarise(noise.Gate1Depolarising, op.A)
			return
		}
		c.ref.Gate2(op.A, op.B, op.Gate, n.Noise.Gate2Depolarising)
		c.ref.Pauli(op.A, 0, 0, n.Noise.Gate2Dephasing)
		c.ref.Pauli(op.B, 0, 0, n.Noise.Gate2Dephasing)
	case physical.OpMeasure:
		if op.Basis != qnet.BasisZ {
			c.ref.Depolarise(noise.Gate1Depolarising, op.A)
		}
		truth := r.Bit
		if noise.ReadoutError[0] == 1 {
			truth ^= 1
		}
		if p := c.ref.Measure(op.A, op.Basis, truth); p < 1e-9 {
			c.t.Fatalf("outcome %d has probability %g", r.Bit, p)
		}
		if op.Free {
			c.gone(op.A)
		}
	case physical.OpBSM:
		c.ref.Gate2(op.A, op.B, physical.GateCNOT, n.Noise.Gate2Depolarising)
		c.ref.Pauli(op.A, 0, 0, n.Noise.Gate2Dephasing)
		c.ref.Pauli(op.B, 0, 0, n.Noise.Gate2Dephasing)
		c.ref.Gate1(op.A, physical.GateH, 0)
		c.ref.Depolarise(noise.Gate1Depolarising, op.A)
		p := c.read(node, op.A, r.Label.Z()) * c.read(node, op.B, r.Label.X())
		if p < 1e-9 {
			c.t.Fatalf("outcome %v has probability %g", r.Label, p)
		}
		c.gone(op.A)
		c.gone(op.B)
	}
}

// read reads a qubit of the reference out; one that can not be read out itself
// is copied to a communication qubit that was initialised again, which is read.
func (c *clients) read(node int, q physical.Qubit, bit bool) float64 {
	reported := 0
	if bit {
		reported = 1
	}
	n := &c.cfg.Nodes[node]
	if m := n.Spec.Memory; m == nil || !m.Indirect || !c.storage[q] {
		return c.ref.Read(q, qnet.BasisZ, densetest.Errors(c.noise(node, c.storage[q]).ReadoutError), reported)
	}
	copied := physical.Qubit{Index: 1 << 30, Generation: 1}
	c.ref.Zero(copied, densetest.Decay{})
	c.ref.Depolarise(n.Noise.InitDepolarising, copied)
	c.ref.Gate2(q, copied, physical.GateCNOT, n.Noise.Gate2Depolarising)
	c.ref.Pauli(copied, 0, 0, n.Noise.Gate2Dephasing)
	p := c.ref.Read(copied, qnet.BasisZ, densetest.Errors(n.Noise.ReadoutError), reported)
	c.ref.Free(copied)
	return p
}

func (c *clients) gone(q physical.Qubit) {
	c.ref.Free(q)
	delete(c.last, q)
}

// attempt flips phases of what a node stores.
func (c *clients) attempt(node int, p float64) {
	for _, q := range slices.Clone(c.ref.Qubits) {
		if p > 0 && c.storage[q] && c.home[q] == node {
			c.ref.Pauli(q, 0, 0, p)
			c.sum.flips++
		}
	}
}

// replay lets everything happen to the reference, in the order of time, and
// compares.
func (c *clients) replay(end qnet.Time) {
	c.t.Helper()
	for _, w := range c.windows {
		k := c.Link(physical.LinkID(w.link + 1))
		node := w.link + w.side
		p := []float64{c.cfg.Links[w.link].DephasingA, c.cfg.Links[w.link].DephasingB}[w.side]
		for cycle := w.first; cycle <= w.last; cycle++ {
			emitted := k.CycleInstant(cycle)
			at := min(emitted.Add(k.HalfDelay()), max(emitted, w.until))
			paused := emitted >= w.until
			if c.cfg.Nodes[node].Spec.Serial {
				for _, s := range c.serial[node] {
					paused = paused || s.from <= emitted && emitted < s.to
					if s.from > emitted {
						at = min(at, s.from)
					}
				}
			}
			if !paused && at <= min(end, w.withdrawn) {
				c.steps = append(c.steps, step{at, true, func() { c.attempt(node, p) }})
			}
		}
	}
	slices.SortStableFunc(c.steps, func(a, b step) int {
		if a.at == b.at && a.first != b.first {
			if a.first {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.at, b.at)
	})
	for _, s := range c.steps {
		s.do()
	}
	apart := func(what string, spans []span) {
		c.t.Helper()
		slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
		for i := 1; i < len(spans); i++ {
			if spans[i].from < spans[i-1].to {
				c.t.Fatalf("%s: an operation from %v to %v and one from %v to %v", what, spans[i-1].from, spans[i-1].to, spans[i].from, spans[i].to)
			}
		}
	}
	for i, spans := range c.serial {
		if c.cfg.Nodes[i].Spec.Serial {
			apart(c.cfg.Nodes[i].Name, spans)
		}
	}
	for q, spans := range c.used {
		apart(q.String(), spans)
	}
	if len(c.ref.Qubits) == 0 {
		return
	}
	qs := slices.Clone(c.ref.Qubits)
	for _, q := range qs {
		c.age(q, end)
	}
	got, err := c.Oracle().Density(end, qs...)
	if err != nil {
		c.t.Fatal(err)
	}
	densetest.Compare(c.t, 1e-10, fmt.Sprintf("ρ of seed %d", c.cfg.Seed), densetest.Square(got), c.ref.Density(qs...))
	if len(qs) > 1 {
		l := qnet.BellLabel(c.rng.IntN(4))
		f, err := c.Oracle().BellFidelity(end, qs[0], qs[1], l)
		want := real(densetest.Bell(l).Mul(c.ref.Density(qs[0], qs[1])).Trace())
		if err != nil || f < want-1e-10 || f > want+1e-10 {
			c.t.Fatalf("seed %d: fidelity to %v is %v (%v), want %v", c.cfg.Seed, l, f, err, want)
		}
	}
}
