package fabric_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/physical/state/densetest"
	"qstack/qnet"
)

// A pair decoheres from its emission, however late it is heralded or looked at.
func TestDecoherenceStartsAtEmission(t *testing.T) {
	c := chain(1, 0)
	const t2a, t2b = 1e-3, 3e-3
	c.Nodes[0].Communication = state.Decay{T2: t2a}
	c.Nodes[1].Communication = state.Decay{T2: t2b}
	c.Links[0].Length = 100e3
	l := newLab(t, c)
	half := l.Link(1).HalfDelay()
	if half != 241834*time.Nanosecond { // 50 km at 206753 km/s
		t.Errorf("half delay is %v", half)
	}
	l.until(us(333))
	qa, qb, cycle, _ := l.pair(1, 0)
	emitted := l.Link(1).CycleInstant(cycle)
	if l.loop.Now() != emitted.Add(half) {
		t.Fatalf("heralded at %v, emitted at %v", l.loop.Now(), emitted)
	}
	for _, at := range []qnet.Time{emitted, l.loop.Now(), l.loop.Now().Add(time.Millisecond)} {
		s := at.Sub(emitted).Seconds()
		want := (1 + math.Exp(-s/t2a-s/t2b)) / 2
		if f, err := l.Oracle().BellFidelity(at, qa, qb, qnet.PhiPlus); err != nil || math.Abs(f-want) > 1e-12 {
			t.Errorf("after %g s the fidelity is %v (%v), want %v", s, f, err, want)
		}
	}
	if _, err := l.Oracle().BellFidelity(emitted-1, qa, qb, qnet.PhiPlus); !errors.Is(err, qnet.ErrInvalid) {
		t.Errorf("fidelity before the emission: %v", err)
	}
}

// The read-out error of the fabric is the true one, not the advertised.
func TestReadoutError(t *testing.T) {
	const n, e = 20_000, 0.05
	c := chain(1, 1)
	c.Nodes[0].Noise.ReadoutError = physical.SymmetricReadout(e)
	c.Nodes[0].Spec.Noise.ReadoutError = physical.SymmetricReadout(0.3)
	l := newLab(t, c)
	wrong := 0.0
	for range n {
		wrong += float64(l.must(alice, physical.Op{Kind: physical.OpMeasure, A: l.alloc(alice), Free: true}).Bit)
	}
	// False alarm 6e-7: 5 standard errors.
	if se := math.Sqrt(e * (1 - e) / n); math.Abs(wrong/n-e) > 5*se {
		t.Errorf("%.4f of the read-outs were wrong, want %g ± %.4f", wrong/n, e, se)
	}
	// A wrong read-out does not change what is left: the same bit again, later.
	agree := 0.0
	for range n / 10 {
		q := l.alloc(alice)
		l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: q})
		a := l.must(alice, physical.Op{Kind: physical.OpMeasure, A: q}).Bit
		b := l.must(alice, physical.Op{Kind: physical.OpMeasure, A: q, Free: true}).Bit
		if a == b {
			agree++
		}
	}
	want := (1-e)*(1-e) + e*e
	if se := math.Sqrt(want * (1 - want) / (n / 10)); math.Abs(agree/(n/10)-want) > 5*se {
		t.Errorf("two read-outs of one qubit agree with probability %.3f, want %.3f ± %.3f", agree/(n/10), want, se)
	}
}

// Random sequences of every operation, on qubits of three nodes that decay in
// their own ways, leave the state that the textbook says, given the outcomes.
// With early results it is the same.
func TestRandomSequences(t *testing.T) {
	for _, early := range []time.Duration{0, 300 * time.Microsecond, 2 * time.Millisecond} {
		for seed := range uint64(12) {
			t.Run(fmt.Sprintf("early=%v/%d", early, seed), func(t *testing.T) { randomSequence(t, seed, early) })
		}
	}
}

func randomSequence(t *testing.T, seed uint64, early time.Duration) {
	rng := rand.New(rand.NewPCG(seed, 77))
	c := chain(1, 2)
	c.Seed = seed
	c.EarlyResults = early
	maybe := func(v float64) float64 { return v * float64(rng.IntN(2)) }
	for i := range c.Nodes {
		n := &c.Nodes[i]
		decay := func() state.Decay {
			// Relaxation or depolarising; package state combines them.
			d := state.Decay{T1: maybe(0.01 + 0.02*rng.Float64()), T2: maybe(0.005 + 0.01*rng.Float64())}
			if d.T1 == 0 {
				d.Depolarise = maybe(50 * rng.Float64())
			}
			return d
		}
		n.Storage = decay()
		n.Communication = decay()
		n.Noise.Gate2Depolarising = maybe(0.2)
	}
	var weights [2][4]float64
	for i := range c.Links {
		c.Links[i].Length = 20e3
		m := herald.DoubleClick{EtaA: 0.3, EtaB: 0.5, Visibility: 0.8, DarkCount: 0.05, PeriodNS: 777.7}
		c.Links[i].Model = m
		weights[i] = m.Heralds()[0].State.Weights() // of Ψ+
	}
	// Read-out errors are for Bell measurements only: the other measurements
	// here are of perfect read-out, so that the outcome says what is left.
	bsmErr := maybe(0.1)
	measures := bsmErr == 0
	for i := range c.Nodes {
		c.Nodes[i].Noise.ReadoutError = physical.SymmetricReadout(bsmErr)
	}
	l := newLab(t, c)

	type qubit struct {
		node int
		link physical.LinkID // 0: storage
		q    physical.Qubit
	}
	var qs []qubit
	ref := densetest.New[physical.Qubit]()
	var now qnet.Time // of the reference
	age := func(to qnet.Time) {
		ref.Wait(to.Sub(now).Seconds())
		now = to
	}
	nodes := []qnet.NodeID{alice, bob, charlie}
	check := func() {
		t.Helper()
		if len(qs) == 0 {
			return
		}
		handles := make([]physical.Qubit, len(qs))
		for i, q := range qs {
			handles[i] = q.q
		}
		got, err := l.Oracle().Density(now, handles...)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(handles, ref.Qubits) {
			t.Fatalf("the test lost track: %v, %v", ref.Qubits, handles)
		}
		densetest.Compare(t, 1e-10, "ρ", densetest.Square(got), ref.Density(handles...))
	}
	drop := func(gone qubit) {
		qs = slices.DeleteFunc(qs, func(q qubit) bool { return q == gone })
	}
	count := func(f func(qubit) bool) (n int) {
		for _, q := range qs {
			if f(q) {
				n++
			}
		}
		return n
	}
	pick := func() qubit { return qs[rng.IntN(len(qs))] }
	op := func(q qubit, o physical.Op) physical.Result {
		t.Helper()
		o.A = q.q
		r := l.must(nodes[q.node], o)
		age(r.At)
		return r
	}
	for range 60 {
		// Each step starts when all earlier ones are over: the reference ages all
		// qubits in one go.
		l.until(max(now, l.loop.Now()).Add(time.Duration(rng.IntN(200)) * time.Microsecond))
		if len(qs) < 4 && rng.IntN(2) == 0 {
			if rng.IntN(2) == 0 {
				node := rng.IntN(3)
				if count(func(q qubit) bool { return q.node == node && q.link == 0 }) == 2 {
					continue
				}
				r := l.must(nodes[node], physical.Op{Kind: physical.OpAlloc})
				age(r.At)
				ref.Zero(r.Qubit, densetest.Decay(c.Nodes[node].Storage))
				qs = append(qs, qubit{node, 0, r.Qubit})
			} else {
				link := rng.IntN(2)
				if count(func(q qubit) bool { return int(q.link) == link+1 }) > 0 {
					continue
				}
				qa, qb, cycle, label := l.pair(physical.LinkID(link+1), 0)
				k := l.Link(physical.LinkID(link + 1))
				age(k.CycleInstant(cycle))
				var w [4]float64
				for i := range w { // of Ψ− by symmetry: Z on one side
					w[i^int(label^qnet.PsiPlus)] = weights[link][i]
				}
				ref.Pair(qa, qb, densetest.Decay(c.Nodes[link].Communication), densetest.Decay(c.Nodes[link+1].Communication), w)
				qs = append(qs, qubit{link, k.ID(), qa}, qubit{link + 1, k.ID(), qb})
				age(l.loop.Now())
			}
			check()
			continue
		}
		if len(qs) == 0 {
			continue
		}
		q := pick()
		switch kind := rng.IntN(10); {
		case kind < 4:
			g := physical.Gate(1 + rng.IntN(int(physical.GateCNOT)-1))
			angle := 7 * rng.Float64()
			op(q, physical.Op{Kind: physical.OpGate, Gate: g, Angle: angle})
			ref.Gate1(q.q, g, angle)
		case kind < 7: // two qubits of one node
			p := pick()
			if p.node != q.node || p == q {
				continue
			}
			if kind < 6 {
				g := physical.GateCNOT
				if rng.IntN(2) == 0 {
					g = physical.GateCZ
				}
				op(q, physical.Op{Kind: physical.OpGate, Gate: g, B: p.q})
				ref.Gate2(q.q, p.q, g, c.Nodes[q.node].Noise.Gate2Depolarising)
			} else {
				r := op(q, physical.Op{Kind: physical.OpBSM, B: p.q})
				if pr := ref.BSM(q.q, p.q, c.Nodes[q.node].Noise.Gate2Depolarising, bsmErr, r.Label); pr < 1e-9 {
					t.Fatalf("outcome %v has probability %g", r.Label, pr)
				}
				drop(q)
				drop(p)
			}
		case kind < 9:
			if !measures {
				continue
			}
			b := qnet.Basis{Theta: 3 * rng.Float64(), Phi: 6 * rng.Float64()}
			gone := rng.IntN(2) == 0
			r := op(q, physical.Op{Kind: physical.OpMeasure, Basis: b, Free: gone})
			if pr := ref.Measure(q.q, b, r.Bit); pr < 1e-9 {
				t.Fatalf("outcome %d has probability %g", r.Bit, pr)
			}
			if gone {
				ref.Free(q.q)
				drop(q)
			}
		default:
			op(q, physical.Op{Kind: physical.OpFree})
			ref.Free(q.q)
			drop(q)
		}
		check()
	}
	for _, q := range qs {
		l.free(nodes[q.node], q.q)
	}
	l.empty()
}
