package fabric_test

import (
	"math/cmplx"
	"math/rand/v2"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/state"
	"qstack/qnet"
)

// spins is a chain whose storage qubits lose what they were initialised to, and
// are initialised in 10 µs.
func spins() fabric.Config {
	c := chain(1, 2)
	for i := range c.Nodes {
		n := &c.Nodes[i]
		n.Storage = state.Decay{T1: 2e-3, T2: 1e-3}
		n.Spec.Memory = &physical.Memory{Init: 10 * time.Microsecond, Gate1: 7 * time.Microsecond}
		n.Noise.Memory.InitDepolarising = 0.3
	}
	c.Links[0].DephasingA = 0.004
	return c
}

// A qubit that is initialised anew in pauses is, whenever it is used, what it
// would be had it been freed and allocated in each of them, if the pause ends
// before the use begins.
func TestRefreshIsInitialisation(t *testing.T) {
	rng := rand.New(rand.NewPCG(30, 30))
	for round := range 200 {
		cfg := spins()
		cfg.Nodes[0].Spec.Serial = round%2 == 1
		lazy, eager := newLab(t, cfg), newLab(t, cfg)
		labs := []*lab{lazy, eager}
		var spin, electron [2]physical.Qubit
		for i, l := range labs {
			spin[i] = l.alloc(alice)
			electron[i] = l.must(alice, physical.Op{Kind: physical.OpPrepare, Link: 1}).Qubit
			l.must(alice, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: electron[i]})
		}
		k := lazy.Link(1)
		p := physical.Pattern{First: physical.CycleBase + rng.Uint64N(100), Stride: rng.Uint64N(7), Every: 1 + rng.Uint64N(90), Pause: 11 + rng.Uint64N(40)}
		begin := lazy.loop.Now().Add(time.Duration(rng.IntN(60_000)))
		use := begin.Add(time.Duration(rng.IntN(1_500_000)))
		lazy.until(begin)
		if r := lazy.must(alice, physical.Op{Kind: physical.OpRefresh, A: spin[0], Link: 1, Pattern: &p}); r.At != begin {
			t.Fatalf("took effect at %v, want %v", r.At, begin)
		}
		// On a serial device the use begins when a gate elsewhere is done.
		starts := use
		if cfg.Nodes[0].Spec.Serial {
			starts = use.Add(5 * time.Microsecond)
		}
		// Attempts resume in the cycle that has one, when the one before has none.
		for c := k.CycleAt(begin); k.CycleInstant(c) <= starts; c++ {
			if !p.Has(c) || c <= p.First+p.Every {
				continue
			}
			resumes := true
			for b := c - p.Pause; b < c; b++ { // longer than any stride
				resumes = resumes && !p.Has(b)
			}
			if at := k.CycleInstant(c); resumes && at > begin {
				eager.until(max(eager.loop.Now(), at.Add(-10*time.Microsecond)))
				eager.Device(alice).Do(physical.Op{Kind: physical.OpFree, A: spin[1]}, nil)
				r := eager.must(alice, physical.Op{Kind: physical.OpAlloc})
				if r.At != at {
					t.Fatalf("initialised at %v, want %v", r.At, at)
				}
				spin[1] = r.Qubit
			}
		}
		density := func(at qnet.Time) {
			t.Helper()
			var rho [2][]complex128
			for i, l := range labs {
				var err error
				if rho[i], err = l.Oracle().Density(at, spin[i], electron[i]); err != nil {
					t.Fatal(err)
				}
			}
			for i := range rho[0] {
				if cmplx.Abs(rho[0][i]-rho[1][i]) > 1e-12 {
					t.Fatalf("round %d, %+v, used at %v: element %d of the state is %v, want %v", round, p, use, i, rho[0][i], rho[1][i])
				}
			}
		}
		at := qnet.Time(0)
		for _, l := range labs {
			if l.loop.Now() > use { // attempts resume while a serial device has the use wait: start later
				use = l.loop.Now()
				lazy.until(use)
			}
		}
		for i, l := range labs {
			l.until(use)
			if cfg.Nodes[0].Spec.Serial {
				l.Device(alice).Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: electron[i]}, nil)
			}
			l.Device(alice).Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: electron[i], B: spin[i]}, func(r physical.Result) {
				if at = r.At; r.Err != nil {
					t.Error(r.Err)
				}
			})
			l.drain()
		}
		density(at)
		for _, l := range labs { // and so it is left alone, longer than any block
			l.until(at.Add(time.Millisecond))
		}
		density(at.Add(time.Millisecond))
		for _, l := range labs {
			l.Disconnect(alice)
			l.empty()
		}
	}
}

// bloch returns the polarisation of a qubit.
func (l *lab) bloch(t qnet.Time, q physical.Qubit) float64 {
	l.t.Helper()
	rho, err := l.Oracle().Density(t, q)
	if err != nil {
		l.t.Fatal(err)
	}
	return real(rho[0] - rho[3])
}

// What is seen of the qubit is its state since the last pause, and looking, asking
// again and attempts change nothing of it; asking without pauses, or with another
// pattern, leaves it as it was.
func TestRefreshSeen(t *testing.T) {
	cfg := spins()
	cfg.Nodes[0].Storage = state.Decay{Depolarise: 1000}
	l := newLab(t, cfg)
	decayed := newLab(t, cfg) // polarisation by age
	fresh := decayed.alloc(alice)
	born := decayed.loop.Now()
	k := l.Link(1)
	q, other := l.alloc(alice), l.alloc(alice)
	p := physical.Pattern{Every: 80, Pause: 20} // of every 100 µs, counted from cycle 0
	refresh := func(q physical.Qubit, p *physical.Pattern) {
		t.Helper()
		l.must(alice, physical.Op{Kind: physical.OpRefresh, A: q, Link: 1, Pattern: p})
	}
	age := func(q physical.Qubit, at, since qnet.Time) {
		t.Helper()
		want := decayed.bloch(born.Add(at.Sub(since)), fresh)
		if got := l.bloch(at, q); got-want > 1e-12 || want-got > 1e-12 {
			t.Errorf("at %v the polarisation is %v, want %v, as since %v", at, got, want, since)
		}
	}
	refresh(q, &p)
	refresh(other, &p)
	l.must(bob, physical.Op{Kind: physical.OpArm, Link: 1})
	l.must(alice, physical.Op{Kind: physical.OpArm, Link: 1})
	k.Begin([2]uint32{}, 0, p, k.CycleAt(l.loop.Now()), k.CycleAt(us(100_000)))
	const offset = (100 - physical.CycleBase%100) % 100
	resumed := func(n int64) qnet.Time { return us(offset + 100*n) }
	for n := range int64(5) {
		l.until(resumed(n+1) - 1)
		if n > 0 {
			age(q, l.loop.Now(), resumed(n))
		}
		l.until(resumed(n + 1))
		age(q, l.loop.Now(), resumed(n+1))
		l.until(resumed(n+1) + 40_000)
		age(q, l.loop.Now(), resumed(n+1))
		age(other, l.loop.Now(), resumed(n+1))
	}
	l.until(resumed(36_000) + 30_000) // much later
	age(other, l.loop.Now(), resumed(36_000))
	refresh(q, &p)
	age(q, l.loop.Now(), resumed(36_000))
	l.until(resumed(36_001) + 50_000)
	refresh(q, nil) // no more
	l.until(resumed(36_005))
	age(q, l.loop.Now(), resumed(36_001))
	refresh(q, &p) // as attempts resume: from the next time on
	age(q, l.loop.Now(), resumed(36_001))
	next := physical.Pattern{Every: 40, Pause: 10}
	refresh(other, &next)
	l.until(resumed(36_005) + 77_000)
	age(other, l.loop.Now(), resumed(36_005)+50_000)
	age(q, l.loop.Now(), resumed(36_001))
	// What is used before a pause ends is not initialised in that, nor afterwards.
	l.until(resumed(36_010) + 45_000)
	l.Device(alice).Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateZ, A: other}, nil) // takes 7 µs
	for _, later := range []qnet.Time{49_000, 51_000, 53_000, 149_000} {
		l.until(resumed(36_010) + later)
		age(other, l.loop.Now(), resumed(36_010))
	}
	l.Disconnect(alice)
	l.Disconnect(bob)
	// A qubit that takes the place is not initialised anew.
	q = l.alloc(alice)
	at := l.loop.Now()
	l.until(at.Add(time.Millisecond))
	age(q, l.loop.Now(), at)
	l.free(alice, q)
	l.empty()
}

func TestRefreshErrors(t *testing.T) {
	l := newLab(t, spins())
	p := &physical.Pattern{Every: 80, Pause: 20}
	q := l.alloc(alice)
	refresh := func(q physical.Qubit, link physical.LinkID) error {
		t.Helper()
		return l.do(alice, physical.Op{Kind: physical.OpRefresh, A: q, Link: link, Pattern: p}).Err
	}
	wantErr(t, refresh(q, 2), qnet.ErrInvalid, "node alice has no end of link 2")
	wantErr(t, refresh(physical.Qubit{}, 1), qnet.ErrBadQubit, "node alice: refresh: no qubit is given")
	electron := l.must(alice, physical.Op{Kind: physical.OpPrepare, Link: 1}).Qubit
	wantErr(t, refresh(electron, 1), qnet.ErrUnsupported, "is a communication qubit: only storage qubits are initialised anew in pauses")
	l.free(alice, electron)
	armed := l.must(alice, physical.Op{Kind: physical.OpArm, Link: 1}).Qubit
	wantErr(t, refresh(armed, 1), qnet.ErrBadQubit, "is armed for link 1 lane 0")
	l.free(alice, armed)
	if err := refresh(q, 1); err != nil {
		t.Error(err)
	}
	l.Device(alice).Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: q}, nil)
	wantErr(t, refresh(q, 1), qnet.ErrInvalid, "has been used since it was allocated: its state would be lost")
	l.drain()
	wantErr(t, refresh(q, 1), qnet.ErrInvalid, "has been used since it was allocated: its state would be lost")
	l.free(alice, q)
	wantErr(t, refresh(q, 1), qnet.ErrBadQubit, "was freed")
	l.empty()
}

// A second request for a qubit, and its use, allocate nothing.
func TestRefreshDoesNotAllocate(t *testing.T) {
	l := newLab(t, spins())
	d := l.Device(alice)
	p := &physical.Pattern{Every: 80, Pause: 20}
	var q physical.Qubit
	got := func(r physical.Result) { q = r.Qubit }
	if n := testing.AllocsPerRun(500, func() {
		d.Do(physical.Op{Kind: physical.OpAlloc}, got)
		l.drain()
		d.Do(physical.Op{Kind: physical.OpRefresh, A: q, Link: 1, Pattern: p}, nil)
		_ = l.loop.RunUntil(l.loop.Now().Add(time.Millisecond))
		d.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}, nil)
		d.Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
		l.drain()
	}); n != 0 {
		t.Errorf("%g allocations, want none", n)
	}
	l.empty()
}
