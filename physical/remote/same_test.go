package remote_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
)

// The device of a remote fabric is the fabric's own device, heard later: random
// sequences of all operations, sensible or not, by three nodes, with pairs being
// made and measured directly, give the same results, outcomes and news of free
// lanes, with the same stamps, texts of errors and order, on hardware without
// limits and with all of them. What is asked at t
// arrives a delay later, and what is known at t is heard a delay later.
func TestSameAsInProcess(t *testing.T) {
	for _, delay := range []time.Duration{0, 700 * time.Microsecond} {
		for _, early := range []time.Duration{0, 2 * time.Millisecond} {
			for seed := range uint64(8) {
				t.Run(fmt.Sprintf("delay=%v/early=%v/%d", delay, early, seed), func(t *testing.T) {
					sameAsInProcess(t, seed, delay, early)
				})
			}
		}
	}
}

// limit gives the nodes every limit that hardware has, and all noise.
func limit(c *fabric.Config) {
	a, b, z := &c.Nodes[0], &c.Nodes[1], &c.Nodes[2]
	a.Spec.Coupling = physical.CouplingStar
	a.Spec.Memory = &physical.Memory{Init: us(310), Gate1: us(20), Readout: us(40), Indirect: true}
	b.Spec.Communication = 3
	b.Spec.AttemptDephasing = map[physical.LinkID]float64{1: 0.002, 2: 0.001}
	z.Spec.Serial = true
	z.Spec.Memory = &physical.Memory{Init: us(20), Gate1: us(30), Readout: us(500), T1: 1, T2: 0.5}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		n.Noise = physical.Noise{
			Gate2Depolarising: 0.02, Gate2Dephasing: 0.01,
			QubitNoise: physical.QubitNoise{InitDepolarising: 0.05, Gate1Depolarising: 0.01, ReadoutError: physical.ReadoutError{0.07, 0.005}},
			Memory:     physical.QubitNoise{InitDepolarising: 0.02, Gate1Depolarising: 0.03, ReadoutError: physical.ReadoutError{0.01, 0.02}},
		}
		n.Spec.Noise = n.Noise
	}
	c.Links[0].DephasingA, c.Links[0].DephasingB = 0.001, 0.002
	c.Links[1].DephasingA = 0.001
}

// call is one call on a device, or of a station.
type call struct {
	at    qnet.Time
	node  qnet.NodeID
	op    physical.Op
	src   *physical.BasisSource // of ArmBulk
	freed qnet.Time             // of ArmBulk: when it was freed, if ever

	link   physical.LinkID // of a station
	lanes  [2]uint32
	cycles []uint64
	got    string
}

// journal is what one node heard, a line each.
type journal map[qnet.NodeID][]string

func (j journal) add(node qnet.NodeID, at qnet.Time, format string, args ...any) {
	j[node] = append(j[node], fmt.Sprintf("%d ", at)+fmt.Sprintf(format, args...))
}

func (j journal) result(node qnet.NodeID, at qnet.Time, i int, r physical.Result) {
	j.add(node, at, "call %d: %v %d %v %d %v %v", i, r.Qubit, r.At, r.Bit, r.Label, r.Err, qnet.CodeOf(r.Err))
}

func (j journal) outcomes(node qnet.NodeID, at qnet.Time, i int, o physical.Outcomes, err error) {
	j.add(node, at, "outcomes of call %d: %v %v %v %d %v", i, o.Cycle, o.Basis, o.Bit, o.At, err)
}

// herald makes a pair, or measures pairs directly.
func (c *call) herald(f *fabric.Fabric) string {
	k := f.Link(c.link)
	k.Begin(c.lanes, 0, physical.Pattern{}, c.cycles[0]-5, c.cycles[0])
	if label, ok := k.Herald(c.lanes, 0, c.cycles[0]); ok {
		return label.String()
	}
	labels := make([]qnet.BellLabel, len(c.cycles))
	n := k.HeraldBulk(c.lanes, 0, c.cycles, labels)
	return fmt.Sprint(labels[:n])
}

func sameAsInProcess(t *testing.T, seed uint64, delay, early time.Duration) {
	rng := rand.New(rand.NewPCG(seed, 5))
	cfg := chain(seed)
	cfg.EarlyResults = early
	if seed%2 == 1 {
		limit(&cfg)
	}
	r := newRig(t, cfg, control.LinkConfig{Delay: delay}, alice, bob, charlie)
	r.attached()
	r.run(10 * time.Millisecond)
	heard, want := make(journal), make(journal)
	nodes := []qnet.NodeID{alice, bob, charlie}
	for _, n := range nodes {
		r.clients[n].Watch(func(link physical.LinkID, lane uint32) {
			heard.add(n, r.loop.Now().Add(-delay), "free: %d %d", link, lane)
		})
	}

	var calls []*call
	handles := make(map[qnet.NodeID][]physical.Qubit)
	armed := make(map[physical.Qubit]*call)
	heralds, successes, batches := 0, 0, 0
	pick := func(node qnet.NodeID) physical.Qubit {
		if rng.IntN(20) == 0 {
			node = nodes[rng.IntN(3)]
		}
		h := handles[node]
		if len(h) == 0 || rng.IntN(50) == 0 {
			return physical.Qubit{}
		}
		return h[rng.IntN(len(h))]
	}
	// gone forgets a handle that was freed, but not always.
	gone := func(node qnet.NodeID, q physical.Qubit) {
		if i := slices.Index(handles[node], q); i >= 0 && rng.IntN(8) > 0 {
			handles[node] = slices.Delete(handles[node], i, i+1)
		}
	}
	basis := func() qnet.Basis { return qnet.Basis{Theta: 3 * rng.Float64(), Phi: 6 * rng.Float64()} }
	issue := func(node qnet.NodeID) {
		c := &call{at: r.loop.Now(), node: node, freed: qnet.Never}
		op := &c.op
		if rng.IntN(25) == 0 {
			*op = []physical.Op{
				{},
				{Kind: 77, A: pick(node)},
				{Kind: physical.OpGate, Gate: 99, A: pick(node)},
				{Kind: physical.OpGate, A: pick(node)},
				{Kind: physical.OpGate, Gate: physical.GateRX, Angle: math.NaN(), A: pick(node)},
				{Kind: physical.OpMeasure, Basis: qnet.Basis{Phi: math.Inf(-1)}, A: pick(node)},
				{Kind: physical.OpArm, Link: 9},
				{Kind: physical.OpArm, Link: 1, Lane: 99},
			}[rng.IntN(8)]
		} else {
			switch rng.IntN(13) {
			case 0:
				op.Kind = physical.OpAlloc
			case 11:
				op.Kind, op.Link, op.Lane = physical.OpPrepare, physical.LinkID(1+rng.IntN(2)), uint32(rng.IntN(2))
			case 12:
				op.Kind, op.Link, op.A = physical.OpRefresh, physical.LinkID(1+rng.IntN(2)), pick(node)
				if rng.IntN(4) > 0 {
					op.Pattern = &physical.Pattern{First: rng.Uint64N(1 << 32), Stride: rng.Uint64N(20), Every: rng.Uint64N(300), Pause: rng.Uint64N(30)}
				}
			case 1, 2:
				op.Kind, op.Link, op.Lane = physical.OpArm, physical.LinkID(1+rng.IntN(2)), uint32(rng.IntN(2))
				if op.Lane == 1 {
					c.src = &physical.BasisSource{}
					for range rng.IntN(4) {
						c.src.Bases = append(c.src.Bases, basis())
					}
					for i := range c.src.Bases {
						c.src.Weights = append(c.src.Weights, float64(i+1))
					}
				}
			case 3, 4, 5:
				op.Kind, op.Gate, op.Angle = physical.OpGate, 1+physical.Gate(rng.IntN(11)), 7*rng.Float64()
				op.A = pick(node)
			case 6:
				op.Kind, op.Gate = physical.OpGate, physical.GateCNOT+physical.Gate(rng.IntN(2))
				op.A, op.B = pick(node), pick(node)
			case 7, 8:
				op.Kind, op.A, op.Basis, op.Free = physical.OpMeasure, pick(node), basis(), rng.IntN(2) == 0
			case 9:
				op.Kind, op.A, op.B = physical.OpBSM, pick(node), pick(node)
			default:
				op.Kind, op.A = physical.OpFree, pick(node)
				if a := armed[op.A]; a != nil && a.node == node {
					a.freed = min(a.freed, c.at)
				}
			}
		}
		i := len(calls)
		calls = append(calls, c)
		done := func(res physical.Result) {
			heard.result(node, r.loop.Now().Add(-delay), i, res)
			if res.Err == nil {
				successes++
				if op.Kind == physical.OpFree || op.Kind == physical.OpBSM || op.Free {
					gone(node, op.A)
					gone(node, op.B)
				}
			}
			if !res.Qubit.IsZero() {
				handles[node] = append(handles[node], res.Qubit)
				if c.src != nil {
					armed[res.Qubit] = c
				}
			}
		}
		if c.src == nil {
			r.clients[node].Do(*op, done)
			return
		}
		r.clients[node].ArmBulk(op.Link, op.Lane, *c.src, func(o physical.Outcomes, err error) {
			heard.outcomes(node, r.loop.Now().Add(-delay), i, o, err)
			batches++
		}, done)
	}
	for range 400 {
		r.run(time.Duration(1 + rng.IntN(1_500_000)))
		if rng.IntN(2) == 0 {
			node := nodes[rng.IntN(3)]
			for range 1 + rng.IntN(5) {
				issue(node)
			}
			continue
		}
		lane := uint32(rng.IntN(2))
		c := &call{at: r.loop.Now(), link: physical.LinkID(1 + rng.IntN(2)), lanes: [2]uint32{lane, lane}}
		k := r.fab.Link(c.link)
		a, okA := k.Armed(0, lane)
		b, okB := k.Armed(1, lane)
		if !okA || !okB || max(a, b) >= c.at {
			continue
		}
		for at := max(a, b); at < c.at && len(c.cycles) < 5; at = at.Add(us(500)) {
			c.cycles = append(c.cycles, k.CycleAt(at))
		}
		c.got = c.herald(r.fab)
		calls = append(calls, c)
		heralds++
	}
	r.run(time.Second)

	// The same again, with the fabric's own devices.
	loop := event.NewVirtual()
	f, err := fabric.New(cfg, loop, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		f.Device(n).Watch(func(link physical.LinkID, lane uint32) { want.add(n, loop.Now(), "free: %d %d", link, lane) })
	}
	for i, c := range calls {
		if c.node == 0 {
			loop.At(c.at, func() {
				if got := c.herald(f); got != c.got {
					t.Errorf("the station of link %d got %s, want %s", c.link, c.got, got)
				}
			})
			continue
		}
		loop.At(c.at.Add(delay), func() {
			done := func(res physical.Result) { want.result(c.node, loop.Now(), i, res) }
			if c.src == nil {
				f.Device(c.node).Do(c.op, done)
				return
			}
			f.Device(c.node).ArmBulk(c.op.Link, c.op.Lane, *c.src, func(o physical.Outcomes, err error) {
				if loop.Now().Add(delay) < c.freed { // later ones are on their way when it is freed
					want.outcomes(c.node, loop.Now(), i, o, err)
				}
			}, done)
		})
	}
	if err := loop.Drain(); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, n := range nodes {
		for i := range max(len(heard[n]), len(want[n])) {
			got, exp := "nothing", "nothing"
			if i < len(heard[n]) {
				got = heard[n][i]
			}
			if i < len(want[n]) {
				exp = want[n][i]
			}
			if got != exp {
				t.Fatalf("%s heard\n%s\nwant\n%s", names[n], got, exp)
			}
		}
		lines += len(want[n])
	}
	t.Logf("%d calls, %d by stations; %d lines, %d successes, %d batches measured directly", len(calls), heralds, lines, successes, batches)
	if successes < 100 || batches < 10 {
		t.Errorf("only %d operations succeeded and %d batches came: the test is too weak", successes, batches)
	}

	// Nothing is left when everything has been freed.
	for _, a := range r.fab.Ledger() {
		r.do(a.Node, physical.Op{Kind: physical.OpFree, A: a.Qubit})
	}
	if left := r.fab.Ledger(); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	r.rest()
}
