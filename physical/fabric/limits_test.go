package fabric_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/state/densetest"
	"qstack/qnet"
)

// shared returns the chain with one communication qubit a node, whatever its
// links.
func shared(lanes, storage int) fabric.Config {
	c := chain(lanes, storage)
	for i := range c.Nodes {
		c.Nodes[i].Spec.Communication = 1
	}
	return c
}

// A communication qubit that lanes share is one lane's at a time, for whatever
// it is used, and all lanes are told when it is free.
func TestSharedQubit(t *testing.T) {
	l := newLab(t, shared(2, 1))
	var freed []string
	l.Device(bob).Watch(func(link physical.LinkID, lane uint32) { freed = append(freed, fmt.Sprint(link, " ", lane)) })
	heard := func(want string) {
		t.Helper()
		l.drain()
		if got := fmt.Sprint(freed); got != want {
			t.Errorf("bob heard %v, want %v", got, want)
		}
		freed = nil
	}
	arm := func(link physical.LinkID, lane uint32) physical.Result {
		return l.do(bob, physical.Op{Kind: physical.OpArm, Link: link, Lane: lane})
	}
	q := arm(1, 1).Qubit
	wantErr(t, arm(1, 1).Err, qnet.ErrNoMemory, "node bob: the communication qubit of link 1 lane 1 (of 2) is in use")
	for link := physical.LinkID(1); link <= 2; link++ {
		wantErr(t, arm(link, 0).Err, qnet.ErrNoMemory, "node bob: link ", " lane 0 has no communication qubit: all 1 are in use by link 1 lane 1: free or measure one first")
	}
	wantErr(t, l.do(bob, physical.Op{Kind: physical.OpPrepare, Link: 2}).Err, qnet.ErrNoMemory, "are in use by link 1 lane 1")
	if n := l.Ledger(); len(n) != 1 || n[0].Qubit != q || n[0].Link != 1 || n[0].Lane != 1 || n[0].Use != fabric.UseArmed {
		t.Errorf("ledger %v", n)
	}
	l.free(bob, q)
	heard("[2 0 2 1 1 0 1 1]") // the lanes after it first

	// The qubit is one: what one lane asked of it delays the other.
	l.alloc(bob)
	_, qb, _, _ := l.pair(1, 0)
	wantErr(t, arm(2, 1).Err, qnet.ErrNoMemory, "in use by link 1 lane 0")
	start := l.loop.Now()
	l.Device(bob).Do(physical.Op{Kind: physical.OpMeasure, A: qb, Free: true}, nil)
	l.drain()
	r := arm(2, 1)
	if want := start + us(310); r.At != want {
		t.Errorf("armed at %v, want %v", r.At, want)
	}
	freed = nil
	// Nobody is told of what was taken again at once.
	l.Device(bob).Do(physical.Op{Kind: physical.OpFree, A: r.Qubit}, nil)
	l.Device(bob).Do(physical.Op{Kind: physical.OpArm, Link: 1}, func(x physical.Result) { r = x })
	heard("[]")
	// With early results, the qubit is still busy when its measurement is known.
	c := shared(1, 0)
	c.EarlyResults = time.Millisecond
	e := newLab(t, c)
	q = e.must(bob, physical.Op{Kind: physical.OpPrepare, Link: 1}).Qubit
	e.must(bob, physical.Op{Kind: physical.OpMeasure, A: q, Free: true})
	if r := e.must(bob, physical.Op{Kind: physical.OpArm, Link: 2}); r.At != us(320) {
		t.Errorf("armed at %v, want 320 µs", r.At)
	}

	// A process that dies gives the qubit back, and what it had queued is not done.
	for range 3 {
		l.Device(bob).Do(physical.Op{Kind: physical.OpArm, Link: 2}, nil)
	}
	l.Disconnect(bob)
	now := l.loop.Now()
	if r := l.must(bob, physical.Op{Kind: physical.OpArm, Link: 2}); r.At != now.Add(10*time.Microsecond) {
		t.Errorf("armed at %v, want %v", r.At, now.Add(10*time.Microsecond))
	}
	for _, n := range []qnet.NodeID{alice, bob} {
		l.Disconnect(n)
	}
	l.drain()
	l.empty()
}

// Two links that want one qubit take turns, each asking once when it is told.
func TestSharedQubitTakesTurns(t *testing.T) {
	l := newLab(t, shared(1, 0))
	dev := l.Device(bob)
	asked, got := 0, [3]int{}
	arm := func(link physical.LinkID) {
		asked++
		dev.Do(physical.Op{Kind: physical.OpArm, Link: link}, func(r physical.Result) {
			if r.Err != nil {
				wantErr(t, r.Err, qnet.ErrNoMemory, "in use by link ")
				return
			}
			got[link]++
			l.loop.After(50*time.Microsecond, func() { dev.Do(physical.Op{Kind: physical.OpFree, A: r.Qubit}, nil) })
		})
	}
	dev.Watch(func(link physical.LinkID, _ uint32) { arm(link) })
	arm(1)
	arm(2)
	l.until(us(6000)) // 10 + 50 µs a turn
	if got[1] < 49 || got[1] > 51 || got[1]-got[2] > 1 || got[2] > got[1] || asked > got[1]+got[2]+2 {
		t.Errorf("armed %d and %d times, asked %d times", got[1], got[2], asked)
	}
	l.Disconnect(bob)
	l.empty()
}

// Storage qubits have durations of their own.
func TestMemoryTiming(t *testing.T) {
	c := chain(1, 2)
	c.Nodes[0].Spec.Memory = &physical.Memory{Init: 310 * time.Microsecond, Gate1: 20 * time.Microsecond, Readout: 40 * time.Microsecond}
	l := newLab(t, c)
	at := func(op physical.Op, want int64) physical.Qubit {
		t.Helper()
		start := l.loop.Now()
		r := l.must(alice, op)
		if r.At != start+us(want) {
			t.Errorf("%+v took %v, want %v", op, r.At-start, us(want))
		}
		return r.Qubit
	}
	m := at(physical.Op{Kind: physical.OpAlloc}, 310)
	q := at(physical.Op{Kind: physical.OpPrepare, Link: 1}, 10)
	at(physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: m}, 20)
	at(physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: q}, 5)
	at(physical.Op{Kind: physical.OpGate, Gate: physical.GateCZ, A: q, B: m}, 100)
	at(physical.Op{Kind: physical.OpMeasure, A: m}, 40)
	at(physical.Op{Kind: physical.OpMeasure, A: m, Basis: qnet.BasisX}, 60)
	at(physical.Op{Kind: physical.OpMeasure, A: q, Basis: qnet.BasisX}, 305)
	at(physical.Op{Kind: physical.OpBSM, A: m, B: q}, 100+20+300) // the slower read-out
	l.empty()
}

// What the hardware can not do is refused, and says so.
func TestCoupling(t *testing.T) {
	c := chain(2, 2)
	for i := range c.Nodes[:2] {
		c.Nodes[i].Spec.Coupling = physical.CouplingStar
	}
	c.Nodes[1].Spec.Memory = &physical.Memory{Init: 310 * time.Microsecond, Indirect: true}
	l := newLab(t, c)
	qubits := func(node qnet.NodeID) (m, n, q, r physical.Qubit) {
		m, n = l.alloc(node), l.alloc(node)
		q = l.must(node, physical.Op{Kind: physical.OpPrepare, Link: 1}).Qubit
		return m, n, q, l.must(node, physical.Op{Kind: physical.OpPrepare, Link: 1, Lane: 1}).Qubit
	}
	m, n, q, r := qubits(alice)
	cz := func(a, b physical.Qubit) physical.Op {
		return physical.Op{Kind: physical.OpGate, Gate: physical.GateCZ, A: a, B: b}
	}
	bsm := func(a, b physical.Qubit) physical.Op { return physical.Op{Kind: physical.OpBSM, A: a, B: b} }
	const only = ": this hardware couples a communication qubit and a storage qubit only"
	wantErr(t, l.do(alice, cz(m, n)).Err, qnet.ErrUnsupported, fmt.Sprintf("node alice: gate CZ: %v and %v are storage qubits both%s", m, n, only))
	wantErr(t, l.do(alice, cz(q, r)).Err, qnet.ErrUnsupported, fmt.Sprintf("node alice: gate CZ: %v and %v are communication qubits both%s", q, r, only))
	wantErr(t, l.do(alice, bsm(m, n)).Err, qnet.ErrUnsupported, "node alice: bsm: ", only)
	for _, op := range []physical.Op{cz(m, q), cz(q, n), {Kind: physical.OpMeasure, A: n, Free: true}, bsm(m, q), {Kind: physical.OpFree, A: r}} {
		l.must(alice, op)
	}

	m, _, q, _ = qubits(bob)
	for _, free := range []bool{false, true} {
		wantErr(t, l.do(bob, physical.Op{Kind: physical.OpMeasure, A: m, Free: free}).Err, qnet.ErrUnsupported,
			fmt.Sprintf("node bob: measure: %v is a storage qubit, which is read out through a communication qubit: swap it into one first", m))
	}
	l.must(bob, cz(q, m))
	start := l.loop.Now()
	// CNOT, H on the storage qubit, read-out of q, and with q: initialise, CNOT, read-out.
	if x := l.must(bob, bsm(m, q)); x.At != start+us(100+300+10+100+300) {
		t.Errorf("took %v", x.At-start)
	}
	// A storage qubit is initialised through a communication qubit that is free.
	busy := l.must(bob, physical.Op{Kind: physical.OpPrepare, Link: 1}).Qubit
	for lane := range uint32(2) {
		l.must(bob, physical.Op{Kind: physical.OpArm, Link: 2, Lane: lane})
	}
	wantErr(t, l.do(bob, physical.Op{Kind: physical.OpAlloc}).Err, qnet.ErrNoMemory, "node bob: a storage qubit is initialised through a communication qubit, and all of them are in use: free one first")
	l.free(bob, busy)
	start = l.loop.Now()
	l.Device(bob).Do(physical.Op{Kind: physical.OpAlloc}, nil)
	if x := l.must(bob, physical.Op{Kind: physical.OpArm, Link: 1}); x.At != start+us(320) { // after the storage qubit
		t.Errorf("armed after %v, want 320 µs", x.At-start)
	}
	c.Nodes[1].Spec.Coupling = physical.CouplingAll
	l = newLab(t, c)
	m, n = l.alloc(bob), l.alloc(bob)
	wantErr(t, l.do(bob, bsm(m, n)).Err, qnet.ErrUnsupported, "are storage qubits both, which are read out through a communication qubit: swap one into a communication qubit first")
}

// A serial device does one thing at a time, and its lanes do not attempt
// meanwhile.
func TestSerial(t *testing.T) {
	c := chain(1, 2)
	c.Nodes[1].Spec.Serial = true
	l := newLab(t, c)
	k := l.Link(1)
	var m, n physical.Result
	dev := l.Device(bob)
	dev.Do(physical.Op{Kind: physical.OpAlloc}, func(r physical.Result) { m = r })
	dev.Do(physical.Op{Kind: physical.OpAlloc}, func(r physical.Result) { n = r })
	l.arm(1, 0)
	if m.At != us(10) || n.At != us(20) {
		t.Errorf("allocated at %v and %v, want 10 and 20 µs", m.At, n.At)
	}
	if from, ok := k.Armed(1, 0); !ok || from != us(30) { // after both
		t.Errorf("armed from %v (%v)", from, ok)
	}
	l.until(us(100))
	dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: m.Qubit}, nil)
	r := l.must(bob, physical.Op{Kind: physical.OpMeasure, A: n.Qubit})
	if r.At != us(405) {
		t.Errorf("measured at %v, want 405 µs", r.At)
	}
	if from, ok := k.Armed(1, 0); !ok || from != us(405) {
		t.Errorf("armed from %v (%v), want 405 µs", from, ok)
	}
	for _, at := range []int64{99, 100, 200, 404} {
		if _, ok := k.Herald([2]uint32{}, 0, k.CycleAt(us(at))); ok {
			t.Errorf("heralded a pair emitted at %d µs, while the device did something else", at)
		}
	}
	// So does what is asked for while a lane is being armed.
	q := l.must(bob, physical.Op{Kind: physical.OpPrepare, Link: 2}).Qubit
	l.free(bob, q)
	dev.Do(physical.Op{Kind: physical.OpArm, Link: 2}, nil)
	dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: m.Qubit}, nil)
	l.drain()
	for _, a := range l.Ledger() {
		if a.Link == 2 {
			q = a.Qubit
		}
	}
	for _, link := range []physical.LinkID{1, 2} {
		side := 2 - int(link)
		if from, ok := l.Link(link).Armed(side, 0); !ok || from != us(430) {
			t.Errorf("link %d is armed from %v (%v), want 430 µs", link, from, ok)
		}
	}
	l.free(bob, q)
	// Giving a qubit back takes no time, whatever the device does.
	dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: m.Qubit}, nil)
	dev.Do(physical.Op{Kind: physical.OpFree, A: n.Qubit}, func(r physical.Result) { n = r })
	l.until(us(430) + 1)
	if n.Err != nil || n.At != us(430) {
		t.Errorf("freed at %v (%v)", n.At, n.Err)
	}
	l.until(us(435))
	if _, ok := k.Herald([2]uint32{}, 0, k.CycleAt(us(435))); !ok {
		t.Error("no pair after the pause")
	}
	// The queue of a process that dies is forgotten.
	for range 5 {
		dev.Do(physical.Op{Kind: physical.OpMeasure, A: m.Qubit}, nil)
	}
	l.Disconnect(bob)
	if r := l.must(bob, physical.Op{Kind: physical.OpAlloc}); r.At != us(445) {
		t.Errorf("allocated at %v, want 445 µs", r.At)
	}
	for _, n := range []qnet.NodeID{alice, bob} {
		l.Disconnect(n)
	}
	l.empty()
}

// The noise of each operation on one qubit, by kind, as frequencies of outcomes.
func TestQubitNoise(t *testing.T) {
	const n = 20_000
	c := chain(1, 1)
	c.Nodes[0].Spec.Memory = &physical.Memory{}
	c.Nodes[0].Noise = physical.Noise{
		QubitNoise: physical.QubitNoise{InitDepolarising: 0.1, Gate1Depolarising: 0.3, ReadoutError: physical.ReadoutError{0.07, 0.005}},
		Memory:     physical.QubitNoise{InitDepolarising: 0.05, Gate1Depolarising: 0.2, ReadoutError: physical.ReadoutError{0.02, 0.3}},
	}
	l := newLab(t, c)
	for _, memory := range []bool{false, true} {
		noise, prepare := c.Nodes[0].Noise.QubitNoise, physical.Op{Kind: physical.OpPrepare, Link: 1}
		if memory {
			noise, prepare = c.Nodes[0].Noise.Memory, physical.Op{Kind: physical.OpAlloc}
		}
		for _, flip := range []bool{false, true} {
			for _, basis := range []qnet.Basis{qnet.BasisZ, qnet.BasisX, {Theta: 0.8}} {
				w := densetest.New[int]()
				w.Zero(0, densetest.Decay{})
				w.Depolarise(noise.InitDepolarising, 0)
				if flip {
					w.Gate1(0, physical.GateX, 0)
					w.Depolarise(noise.Gate1Depolarising, 0)
				}
				if basis != qnet.BasisZ {
					w.Depolarise(noise.Gate1Depolarising, 0)
				}
				want := w.Read(0, basis, densetest.Errors(noise.ReadoutError), 1)
				ones := 0.0
				for range n {
					q := l.must(alice, prepare).Qubit
					if flip {
						l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q})
					}
					ones += float64(l.must(alice, physical.Op{Kind: physical.OpMeasure, A: q, Basis: basis, Free: true}).Bit)
				}
				// False alarm 6e-7 each: 5 standard errors.
				if se := math.Sqrt(want * (1 - want) / n); math.Abs(ones/n-want) > 5*se {
					t.Errorf("memory %v, flipped %v, basis %v: 1 with frequency %.4f, want %.4f ± %.4f", memory, flip, basis, ones/n, want, se)
				}
			}
		}
	}
	l.empty()
}

// An attempt dephases what is stored from the instant at which its photons are at
// the station on, at both ends, each as its configuration says, and neither a
// communication qubit nor what is stored elsewhere.
func TestAttemptsDephaseStorage(t *testing.T) {
	c := chain(1, 2)
	c.Links[0].DephasingA, c.Links[0].DephasingB = 0.01, 0.03
	c.Links[0].Length = 20e3
	l := newLab(t, c)
	k := l.Link(1)
	plus := func(node qnet.NodeID, op physical.Op) physical.Qubit {
		q := l.must(node, op).Qubit
		l.must(node, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: q})
		return q
	}
	store := physical.Op{Kind: physical.OpAlloc}
	a, b, z := plus(alice, store), plus(bob, store), plus(charlie, store)
	comm := plus(bob, physical.Op{Kind: physical.OpPrepare, Link: 2})
	l.arm(1, 0)
	l.until(us(1000))
	check := func(q physical.Qubit, p float64, n int) {
		t.Helper()
		rho, err := l.Oracle().Density(l.loop.Now(), q)
		if err != nil {
			t.Fatal(err)
		}
		want := 0.5
		for range n {
			want *= 1 - 2*p
		}
		if math.Abs(real(rho[1])-want) > 1e-12 {
			t.Errorf("coherence %v, want %v after %d attempts", rho[1], want, n)
		}
	}
	all := func(n int) {
		t.Helper()
		check(a, 0.01, n)
		check(b, 0.03, n)
		check(z, 0.03, 0)
		check(comm, 0.03, 0)
	}
	first := k.CycleAt(us(1000))
	k.Begin([2]uint32{}, 0, physical.Pattern{}, first, first+99)
	l.until(us(1000).Add(k.HalfDelay()) - 1)
	all(0)
	for n := range 5 {
		l.until(us(1000 + int64(n)).Add(k.HalfDelay()))
		all(n + 1)
		all(n + 1) // looking changes nothing
	}
	// What is prepared meanwhile, or touched, counts the later ones only.
	at := l.loop.Now().Add(15 * time.Microsecond)
	late := plus(alice, store)
	if l.loop.Now() != at {
		t.Fatalf("prepared at %v, want %v", l.loop.Now(), at)
	}
	// What found it in |0⟩ has changed nothing.
	check(late, 0.01, 0)
	all(20)
	l.must(bob, physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: b})
	all(25)
	// A success ends the attempts, and a next match goes on.
	l.until(us(1099).Add(k.HalfDelay()))
	if _, ok := k.Herald([2]uint32{}, 0, first+99); !ok {
		t.Fatal("no herald")
	}
	all(100)
	check(late, 0.01, 80)
	l.until(us(3000))
	all(100)
	// The rest is withdrawn, or freed by one end, which ends it for that end.
	for _, x := range l.Ledger() {
		if x.Link == 1 {
			l.free(x.Node, x.Qubit)
		}
	}
	qa, _ := l.arm(1, 0)
	start := l.loop.Now().Add(100 * time.Microsecond)
	l.until(start)
	first = k.CycleAt(start)
	k.Begin([2]uint32{}, 0, physical.Pattern{}, first, first+1000)
	l.until(start.Add(10*time.Microsecond) + k.CycleInstant(first) - start)
	l.free(alice, qa) // 10 were emitted
	l.until(k.CycleInstant(first + 20).Add(k.HalfDelay()))
	k.End([2]uint32{}, first+20)
	l.until(us(6000))
	check(a, 0.01, 110)
	check(b, 0.03, 120)
	for _, n := range []qnet.NodeID{alice, bob, charlie} {
		l.Disconnect(n)
	}
	l.empty()
}

// Attempts act on what a Bell-state measurement takes, too. False alarm 6e-7: 5
// standard errors.
func TestAttemptsDephaseBellMeasurement(t *testing.T) {
	const n, p, attempts = 3000, 0.03, 10
	c := chain(1, 1)
	c.Links[0].DephasingA = p
	l := newLab(t, c)
	k := l.Link(1)
	ones := [2]float64{}
	for i := range 2 * n {
		m := l.alloc(alice)
		l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: m})
		qa, qb := l.arm(1, 0)
		from, _ := k.Armed(1, 0)
		first := k.CycleAt(from)
		k.Begin([2]uint32{}, 0, physical.Pattern{}, first, first+attempts-1)
		l.until(k.CycleInstant(first + attempts))
		l.free(alice, qa)
		l.free(bob, qb)
		plus := l.must(alice, physical.Op{Kind: physical.OpPrepare, Link: 1}).Qubit
		l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: plus})
		// CNOT leaves |++⟩, and H makes |0⟩ of a |+⟩ that a phase flip of either made |−⟩.
		a, b := m, plus
		if i%2 == 1 {
			a, b = b, a
		}
		if l.must(alice, physical.Op{Kind: physical.OpBSM, A: a, B: b}).Label.Z() {
			ones[i%2]++
		}
	}
	want := (1 - math.Pow(1-2*p, attempts)) / 2
	for i, k := range ones {
		if se := math.Sqrt(want * (1 - want) / n); math.Abs(k/n-want) > 5*se {
			t.Errorf("stored as operand %d: phase flips %.4f, want %.4f ± %.4f", i, k/n, want, se)
		}
	}
	l.empty()
}
