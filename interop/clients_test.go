package interop

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"qstack/node"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/oracle"
	"qstack/physical/state"
	"qstack/qnet"
)

// Three nodes do what they like on one fabric over QUIC, at the same time and
// without waiting for results, with decay and noise of every kind, while both
// links make pairs. At the end of each sequence the observer is told a state that
// the textbook allows, given the stamps and outcomes that the nodes were told, and
// a ledger of what they hold. Outcomes come as often as the textbook has it.
func TestConcurrentClients(t *testing.T) {
	const networks, sequences = 16, 40
	all := make([]*clients, networks)
	t.Run("network", func(t *testing.T) {
		for i := range all {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				c := newClients(t, uint64(i))
				all[i] = c
				for range sequences {
					c.sequence()
				}
				c.end()
			})
		}
	})
	sum := tally{evidence: make(map[string]*evidence)}
	for _, c := range all {
		if c == nil {
			t.FailNow()
		}
		sum.add(&c.tally)
	}
	t.Logf("%d sequences of %d operations, %d pairs; %d refused", sum.sequences, sum.ops, sum.pairs, sum.refused)
	t.Logf("%d states compared, %d of entangled nodes, %d of hidden outcomes", sum.states, sum.entangled, sum.hidden)
	for _, what := range []string{"measurement", "Bell measurement, z", "Bell measurement, x", "which state"} {
		e := sum.evidence[what]
		if e == nil || e.n < 100 {
			t.Errorf("%s: %+v: too few", what, e)
			continue
		}
		e.check(t, what)
	}
	if sum.sequences != networks*sequences || sum.ops < 8_000 || sum.pairs < 300 || sum.refused < 10 || sum.states < 300 || sum.entangled < 50 || sum.hidden < 50 {
		t.Error("the test is too weak")
	}
}

// tally is what happened.
type tally struct {
	sequences, ops, pairs, refused int
	states, entangled, hidden      int // compared; of several nodes; with several candidates
	evidence                       map[string]*evidence
}

func (t *tally) add(o *tally) {
	t.sequences += o.sequences
	t.ops += o.ops
	t.pairs += o.pairs
	t.refused += o.refused
	t.states += o.states
	t.entangled += o.entangled
	t.hidden += o.hidden
	for what, e := range o.evidence {
		t.of(what).join(e)
	}
}

func (t *tally) of(what string) *evidence {
	if t.evidence[what] == nil {
		t.evidence[what] = new(evidence)
	}
	return t.evidence[what]
}

// alternatives are what bits might do instead of having the odds o to be 1: be 1
// too often or too rarely, be too certain or too random, or depend on the bit
// before, of which last is 1 if it came against the odds and −1 if not.
var alternatives = []struct {
	what string
	odds func(o, last float64) float64
}{
	{"1 too often", func(o, _ float64) float64 { return o * 1.3 }},
	{"0 too often", func(o, _ float64) float64 { return o / 1.3 }},
	{"a little too certain", func(o, _ float64) float64 { return math.Pow(o, 1.5) }},
	{"too certain", func(o, _ float64) float64 { return o * o * o }},
	{"a little too random", func(o, _ float64) float64 { return math.Pow(o, 0.7) }},
	{"too random", func(o, _ float64) float64 { return math.Pow(o, 0.3) }},
	{"like the one before", func(o, last float64) float64 { return o * math.Pow(1.3, last) }},
	{"unlike the one before", func(o, last float64) float64 { return o / math.Pow(1.3, last) }},
}

// evidence is what bits say for each alternative: the logarithm of its likelihood
// over that of the probabilities which the bits are said to have, each given all
// that was before.
type evidence struct {
	n    int
	last float64
	logs [8]float64
}

func (e *evidence) add(p float64, bit uint8) {
	e.n++
	if p < impossible || p > 1-impossible {
		return // certain, and it came
	}
	chance := func(p float64) float64 {
		if bit == 0 {
			return 1 - p
		}
		return p
	}
	for i, a := range alternatives {
		o := a.odds(p/(1-p), e.last)
		e.logs[i] += math.Log(chance(o/(1+o)) / chance(p))
	}
	e.last = math.Copysign(1, float64(bit)-p)
}

func (e *evidence) join(o *evidence) {
	e.n += o.n
	for i, x := range o.logs {
		e.logs[i] += x
	}
}

// check fails the test when an alternative is 10⁸ times as likely. That happens by
// chance with a probability of at most 1e-8 for each of the 32 checks made here,
// however probabilities depend on the past: the ratio has the expectation 1.
func (e *evidence) check(t *testing.T, what string) {
	t.Helper()
	for i, a := range alternatives {
		if !(e.logs[i] < math.Log(1e8)) {
			t.Errorf("%s: that %d bits are %s is e^%.1f times as likely", what, e.n, a.what, e.logs[i])
		}
	}
	t.Logf("%s: %d bits, evidence %.1f", what, e.n, e.logs)
}

// clients are three nodes in a chain.
type clients struct {
	*emulation
	tally
	t       *testing.T
	rng     *rand.Rand
	ref     *reference
	nodes   []*client
	heralds []*step      // on the fabric's loop
	live    atomic.Int32 // qubits that are taken
}

// maxLive bounds the qubits of the network: the observer is told of no more.
const maxLive = oracle.MaxQubits

func newClients(t *testing.T, seed uint64) *clients {
	c := &clients{t: t, rng: rand.New(rand.NewPCG(seed, 4711)), tally: tally{evidence: make(map[string]*evidence)}}
	c.emulation = newEmulation(t, randomChain(t, seed, c.rng))
	c.ref = newReference(&c.cfg, func(what string, p float64, bit uint8) { c.of(what).add(p, bit) })
	for i, n := range c.emulation.nodes {
		c.nodes = append(c.nodes, newClient(n, i, &c.cfg, rand.New(rand.NewPCG(seed, uint64(i))), &c.live))
	}
	c.stations(rand.New(rand.NewPCG(seed, 5)), func(s *step) {
		c.heralds = append(c.heralds, s)
		for side, q := range s.pair {
			n := c.nodes[s.link-1+side] // link i is between i-1 and i
			n.Post(func() { n.paired(q) })
		}
	})
	c.start()
	return c
}

// randomChain returns the configuration of alice - bob - charlie.
func randomChain(t *testing.T, seed uint64, rng *rand.Rand) fabric.Config {
	maybe := func(v float64) float64 { return v * float64(rng.IntN(2)) }
	span := func(most int) time.Duration { return time.Duration(rng.IntN(most)) * time.Microsecond }
	decay := func() (d state.Decay) {
		switch rng.IntN(4) {
		case 0:
			d.T1 = 0.02 + 0.2*rng.Float64()
			d.T2 = maybe(d.T1 * (0.5 + 1.5*rng.Float64()))
		case 1:
			d.T2 = 0.02 + 0.2*rng.Float64()
			d.Depolarise = maybe(10 * rng.Float64())
		case 2:
			d = state.Decay{T1: maybe(0.1), T2: 0.2, Stretch: 0.5 + 0.8*rng.Float64()}
		}
		return d
	}
	noise := func() physical.QubitNoise {
		return physical.QubitNoise{
			InitDepolarising: maybe(0.3 * rng.Float64()), Gate1Depolarising: maybe(0.1 * rng.Float64()),
			ReadoutError: physical.ReadoutError{maybe(0.4 * rng.Float64()), maybe(0.4 * rng.Float64())},
		}
	}
	c := fabric.Config{Seed: seed, ID: uint32(1 + seed)}
	if rng.IntN(4) > 0 {
		c.EarlyResults = node.EarlyResults
	}
	lanes := []map[physical.LinkID]int{{1: 1}, {1: 1, 2: 1}, {2: 1}}
	for i, name := range []string{"alice", "bob", "charlie"} {
		n := fabric.NodeConfig{
			ID: nodeID(t, name), Name: name,
			Spec:          physical.Spec{Storage: 2, Lanes: lanes[i], Init: span(20), Gate1: span(10), Gate2: span(200), Readout: span(300)},
			Communication: decay(), Storage: decay(),
			Noise: physical.Noise{Gate2Depolarising: maybe(0.1), Gate2Dephasing: maybe(0.05), QubitNoise: noise(), Memory: noise()},
		}
		if rng.IntN(2) == 0 {
			n.Spec.Memory = &physical.Memory{Init: span(50), Gate1: span(50), Readout: span(500)}
		}
		c.Nodes = append(c.Nodes, n)
	}
	for i := range 2 {
		c.Links = append(c.Links, fabric.LinkConfig{ID: physical.LinkID(i + 1), A: c.Nodes[i].ID, B: c.Nodes[i+1].ID, LanesA: 1, LanesB: 1,
			Model: herald.DoubleClick{EtaA: 0.3, EtaB: 0.5, Visibility: 0.9, DarkCount: 0.01, PeriodNS: 7_777.7}, Length: maybe(2e3)})
	}
	return c
}

// sequence has each node ask for some operations, and compares what is left.
func (c *clients) sequence() {
	c.t.Helper()
	c.run(func(n *client, done func()) { n.begin(16+n.rng.IntN(16), done) })
	c.sequences++
	c.compare()
}

// run has all nodes do something at the same time, waits for them, and lets the
// reference follow.
func (c *clients) run(f func(n *client, done func())) {
	c.t.Helper()
	idle := make(chan bool, len(c.nodes))
	for _, n := range c.nodes {
		n.Post(func() { f(n, func() { idle <- true }) })
	}
	for range c.nodes {
		await(c.t, idle, "the end of a sequence")
	}
	steps := ask(c.t, c.host.Real, func(done func([]*step)) { done(take(&c.heralds)) })
	c.pairs += len(steps)
	for _, n := range c.nodes {
		steps = append(steps, ask(c.t, n.Real, func(done func([]*step)) { done(take(&n.steps)) })...)
	}
	for _, s := range steps {
		switch {
		case s.link != 0:
		case s.res.Err == nil:
			c.ops++
		case taking(s.op.Kind) && qnet.CodeOf(s.res.Err) == qnet.ErrNoMemory:
			c.refused++
			s.op = physical.Op{}
		default:
			c.t.Fatalf("%s: %+v: %v", c.nodes[s.node].name, s.op, s.res.Err)
		}
	}
	if err := c.ref.replay(steps); err != nil {
		c.t.Fatal(err)
	}
}

// take takes a list away.
func take[T any](list *[]T) []T {
	taken := *list
	*list = nil
	return taken
}

// taking reports whether the operation takes a qubit.
func taking(k physical.OpKind) bool {
	return k == physical.OpAlloc || k == physical.OpPrepare || k == physical.OpArm
}

// compare asks the observer.
func (c *clients) compare() {
	c.t.Helper()
	type holding struct {
		node  qnet.NodeID
		qubit physical.Qubit
	}
	order := func(a, b holding) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.qubit.Index, b.qubit.Index), cmp.Compare(a.qubit.Generation, b.qubit.Generation))
	}
	var got, want []holding
	of := make(map[uint32]qnet.NodeID) // who has a share in a cluster
	entangled := false
	for _, a := range c.ledger() {
		got = append(got, holding{a.Node, a.Qubit})
		if a.Cluster != 0 {
			entangled = entangled || of[a.Cluster] != 0 && of[a.Cluster] != a.Node
			of[a.Cluster] = a.Node
		}
	}
	for i, n := range c.nodes {
		for _, q := range ask(c.t, n.Real, func(done func([]physical.Qubit)) { done(slices.Concat(n.held, n.armed)) }) {
			want = append(want, holding{c.cfg.Nodes[i].ID, q})
		}
	}
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		c.t.Fatalf("the ledger has %v, want %v", got, want)
	}

	qs := c.ref.qubits()
	if len(qs) == 0 {
		return
	}
	c.rng.Shuffle(len(qs), func(i, j int) { qs[i], qs[j] = qs[j], qs[i] })
	if len(c.ref.worlds) > 1 {
		c.hidden++
	}
	if err := c.ref.compare(1e-9, qs, c.density(qs...)); err != nil {
		c.t.Fatal(err)
	}
	c.states++
	if entangled {
		c.entangled++
	}
}

// end frees everything.
func (c *clients) end() {
	c.t.Helper()
	c.run(func(n *client, done func()) { n.freeAll(done) })
	if n := len(c.ref.qubits()); n != 0 {
		c.t.Errorf("%d qubits have a state in the end", n)
	}
	c.compare()
	if n := c.live.Load(); n != 0 {
		c.t.Errorf("%d qubits are taken in the end", n)
	}
}

// client is what runs on the loop of a node.
type client struct {
	*remoteNode
	index int
	links []physical.LinkID
	rng   *rand.Rand
	live  *atomic.Int32 // of the network

	held     []physical.Qubit         // they have a state
	armed    []physical.Qubit         // they await a herald
	heralded map[physical.Qubit]bool  // before the result of arming was there
	free     map[physical.LinkID]bool // lanes
	unsure   bool                     // read-outs can be wrong
	measures int                      // that may still be made in a sequence, if so

	left, pending, most int // operations to be asked for, without a result, and how many of these until the next
	done                func()
	steps               []*step // in the order of the calls
}

func newClient(n *remoteNode, index int, cfg *fabric.Config, rng *rand.Rand, live *atomic.Int32) *client {
	c := &client{remoteNode: n, index: index, rng: rng, live: live, heralded: make(map[physical.Qubit]bool), free: make(map[physical.LinkID]bool)}
	n.device.Watch(func(link physical.LinkID, _ uint32) { c.free[link] = true })
	noise := &cfg.Nodes[index].Noise
	c.unsure = noise.ReadoutError != physical.ReadoutError{} || noise.Memory.ReadoutError != physical.ReadoutError{}
	for _, l := range cfg.Links {
		if id := cfg.Nodes[index].ID; l.A == id || l.B == id {
			c.links = append(c.links, l.ID)
		}
	}
	return c
}

// begin asks for some operations and calls done when all results are there.
func (c *client) begin(ops int, done func()) {
	c.left, c.done, c.measures = ops, done, 2
	c.proceed()
}

// proceed asks for more when few enough have no result.
func (c *client) proceed() {
	for c.left > 0 && c.pending <= c.most {
		c.left--
		c.most = c.rng.IntN(6)
		c.random()
	}
	if c.left == 0 && c.pending == 0 && c.done != nil {
		done := c.done
		c.done = nil
		done()
	}
}

// freeAll frees what there is and calls done when that has happened.
func (c *client) freeAll(done func()) {
	c.done = done
	for _, q := range slices.Concat(c.held, c.armed) {
		c.do(physical.Op{Kind: physical.OpFree, A: q})
	}
	c.proceed()
}

// random asks for an operation that can be done, most likely.
func (c *client) random() {
	chance := c.rng.IntN
	if n := len(c.armed); n > 0 && chance(60) == 0 {
		c.do(physical.Op{Kind: physical.OpFree, A: c.armed[chance(n)]}) // a race with the station
		return
	}
	if len(c.held) == 0 || chance(4) == 0 {
		if op, ok := c.take(); ok {
			c.do(op)
			return
		}
	}
	n := len(c.held)
	if n == 0 {
		return
	}
	op := physical.Op{A: c.held[chance(n)]}
	other := c.held[chance(n)]
	for n > 1 && other == op.A {
		other = c.held[chance(n)]
	}
	switch kind := chance(11); {
	case kind < 2 && n > 1:
		op.Kind, op.Gate, op.B = physical.OpGate, physical.GateCNOT+physical.Gate(chance(2)), other
	case kind < 4 && n > 1:
		op.Kind, op.B = physical.OpBSM, other
	case kind < 6 && (!c.unsure || c.measures > 0):
		c.measures--
		op.Kind, op.Free = physical.OpMeasure, chance(2) == 0
		op.Basis = []qnet.Basis{qnet.BasisZ, qnet.BasisZ, qnet.BasisX, {Theta: 3 * c.rng.Float64(), Phi: 6 * c.rng.Float64()}}[chance(4)]
	case kind == 6 && chance(2) == 0:
		op.Kind = physical.OpFree
	default:
		op.Kind, op.Gate, op.Angle = physical.OpGate, 1+physical.Gate(chance(int(physical.GateCNOT)-1)), 7*c.rng.Float64()
	}
	c.do(op)
}

// take returns an operation that takes a qubit, unless there are too many: a free
// lane's if there is one, so that there are pairs.
func (c *client) take() (op physical.Op, ok bool) {
	chance := c.rng.IntN
	most := int32(maxLive)
	i := slices.IndexFunc(c.links, func(l physical.LinkID) bool { return c.free[l] })
	if i < 0 && chance(20) == 0 {
		i = 0 // in vain, unless the news is on its way
	}
	switch {
	case i < 0 || chance(8) == 0:
		op.Kind = physical.OpAlloc
		most -= 2
	case chance(8) == 0:
		op.Kind = physical.OpPrepare
	default:
		op.Kind = physical.OpArm
	}
	if c.live.Add(1) > most {
		c.live.Add(-1)
		return op, false
	}
	if op.Kind != physical.OpAlloc {
		op.Link = c.links[i]
		c.free[op.Link] = false
	}
	return op, true
}

// do asks for an operation.
func (c *client) do(op physical.Op) {
	s := &step{node: c.index, op: op}
	c.steps = append(c.steps, s)
	c.pending++
	freed := 0
	if op.Kind == physical.OpFree || op.Kind == physical.OpBSM || op.Free {
		gone := func(q physical.Qubit) bool { return q == op.A || q == op.B }
		c.held, c.armed = slices.DeleteFunc(c.held, gone), slices.DeleteFunc(c.armed, gone)
		if freed = 1; op.Kind == physical.OpBSM {
			freed = 2
		}
	}
	c.device.Do(op, func(r physical.Result) {
		s.res, s.at = r, r.At
		c.pending--
		c.live.Add(int32(-freed))
		switch {
		case r.Err != nil && taking(op.Kind):
			c.live.Add(-1)
		case r.Err != nil: // an error of the test
		case op.Kind == physical.OpArm && !c.heralded[r.Qubit]:
			c.armed = append(c.armed, r.Qubit)
		case taking(op.Kind):
			delete(c.heralded, r.Qubit)
			c.held = append(c.held, r.Qubit)
		}
		c.proceed()
	})
}

// paired is told that a qubit is half of a pair.
func (c *client) paired(q physical.Qubit) {
	if i := slices.Index(c.armed, q); i >= 0 {
		c.armed = slices.Delete(c.armed, i, i+1)
		c.held = append(c.held, q)
		return
	}
	c.heralded[q] = true // its arming is not known yet, or it was freed
}
