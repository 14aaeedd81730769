package link_test

import (
	"cmp"
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/qnettest"
	"qstack/qnet/wire"
)

// serviceConfig is a world whose ends may differ.
type serviceConfig struct {
	worldConfig
	specs                  [2]physical.Spec // instead of spec, if either is not zero
	stride                 [2]uint64
	communication, storage state.Decay
	noise                  physical.Noise
	queue                  int
	// drop says whether a frame is lost, besides what hazards do; it sees all that
	// are sent.
	drop func(from, to qnet.NodeID, m wire.Message) bool
}

// service is a world with what its users were told.
type service struct {
	*world
	users [2]*user
}

// user is the layer above one end; it takes part in everything, in the bases
// that were proposed, unless it refuses.
type user struct {
	*end
	offers  map[link.RequestID]link.Offer
	endedAt map[link.RequestID]qnet.Time
	order   []link.Pair // all that were kept, as they came
	pairAt  []qnet.Time // when they came

	measuredAt []qnet.Time // when each measured pair came
}

func newService(t *testing.T, cfg serviceConfig) *service {
	t.Helper()
	cfg.fidelity = cmp.Or(cfg.fidelity, 1)
	cfg.period = cmp.Or(cfg.period, 1000)
	cfg.lanes = max(cfg.lanes, 1)
	loop := event.NewVirtual()
	t.Cleanup(func() { loop.Close() })
	w := &world{t: t, cfg: cfg.worldConfig, loop: loop, cycles: physical.Cycles{Period: cfg.period}, rng: rand.New(rand.NewPCG(cfg.seed, 2))}
	s := &service{world: w}
	fc := fabric.Config{Seed: cfg.seed}
	for side := range 2 {
		sp := &cfg.specs[side]
		if sp.Storage == 0 && sp.Init == 0 {
			*sp = cfg.spec
		}
		sp.Lanes = map[physical.LinkID]int{theLink: cfg.lanes}
		id := alice + qnet.NodeID(side)
		fc.Nodes = append(fc.Nodes, fabric.NodeConfig{ID: id, Name: names[id], Spec: *sp, Communication: cfg.communication, Storage: cfg.storage, Noise: cfg.noise})
	}
	fc.Links = []fabric.LinkConfig{{ID: theLink, A: alice, B: bob, LanesA: cfg.lanes, LanesB: cfg.lanes, Length: cfg.length,
		DephasingA: cfg.dephasing, DephasingB: cfg.dephasing,
		Model: herald.Ideal{Probability: cfg.probability, Fidelity: cfg.fidelity, PeriodNS: cfg.period}}}
	var err error
	if w.fabric, err = fabric.New(fc, loop, nil); err != nil {
		t.Fatal(err)
	}
	w.half = w.fabric.Link(theLink).HalfDelay()
	w.net = control.NewNetwork(control.Config{Loop: loop, Seed: cfg.seed, Names: map[qnet.NodeID]string{alice: "alice", bob: "bob", station: "station"}})
	endpoint := func(id qnet.NodeID) control.Endpoint {
		return &gate{w.net.Endpoint(id, nil), cfg.drop}
	}
	w.station = link.NewStation(link.StationConfig{Link: theLink, Name: "alice-bob", Seed: cfg.seed, Ends: [2]qnet.NodeID{alice, bob}, Cycles: w.cycles, Delay: w.half},
		w.fabric.Link(theLink), endpoint(station), loop, nil)
	point := link.Point{Probability: cfg.probability, Fidelity: cfg.fidelity}
	if f := cfg.told; f != 0 {
		point.Heralds = herald.Ideal{Probability: 1, Fidelity: f, PeriodNS: 1}.Heralds()
	}
	for side := range w.ends {
		id := alice + qnet.NodeID(side)
		e := &end{w: w, side: side, dev: w.fabric.Device(id), requests: make(map[link.RequestID]*client), held: make(map[uint64]link.Pair)}
		e.layer = link.New(link.Config{Name: names[id], Seed: cfg.seed, Ends: []link.EndConfig{{
			ID: theLink, Name: "alice-bob", Side: side, Peer: bob - qnet.NodeID(side), PeerName: names[bob-qnet.NodeID(side)], Station: station,
			Lanes: cfg.lanes, Cycles: w.cycles, Delay: w.half, Points: []link.Point{point}, TestRounds: cfg.testing,
			Stride: cfg.stride[side], PeerSpec: w.fabric.Device(bob - qnet.NodeID(side)).Spec(), Queue: cfg.queue, Scheduler: cfg.scheduler}}},
			e.dev, endpoint(id), loop, nil)
		u := &user{end: e, offers: make(map[link.RequestID]link.Offer), endedAt: make(map[link.RequestID]qnet.Time)}
		e.layer.Handle(u)
		w.ends[side], s.users[side] = e, u
	}
	h := cfg.hazards
	h.Delay = w.half
	for _, err := range []error{w.net.Connect(alice, station, h), w.net.Connect(bob, station, h)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h.Delay = 2 * w.half
	if err := w.net.Connect(alice, bob, h); err != nil {
		t.Fatal(err)
	}
	w.run(0)
	return s
}

// gate loses frames at their sender.
type gate struct {
	control.Endpoint
	drop func(from, to qnet.NodeID, m wire.Message) bool
}

func (g *gate) Datagram(to qnet.NodeID, m wire.Message) error {
	if g.drop != nil && g.drop(g.ID(), to, m) {
		return nil
	}
	return g.Endpoint.Datagram(to, m)
}

func (u *user) Requested(_ physical.LinkID, o link.Offer) (uint64, error) {
	if u.refuse != nil {
		return 0, u.refuse
	}
	if u.requests[o.ID] != nil {
		u.w.t.Errorf("side %d: request %d is offered twice", u.side, o.ID)
	}
	u.offers[o.ID] = o
	u.requests[o.ID] = &client{limit: 1 << 40}
	return 1 << 40, nil
}

func (u *user) Pair(p link.Pair) {
	u.order = append(u.order, p)
	u.pairAt = append(u.pairAt, u.w.loop.Now())
	u.end.Pair(p)
}

func (u *user) Measured(l physical.LinkID, id link.RequestID, ms []link.Measured) {
	for range ms {
		u.measuredAt = append(u.measuredAt, u.w.loop.Now())
	}
	u.end.Measured(l, id, ms)
}

func (u *user) Expired(l physical.LinkID, id link.RequestID, seq uint64, had bool) {
	if c := u.requests[id]; c != nil && had {
		before := len(c.measured)
		c.measured = slices.DeleteFunc(c.measured, func(m link.Measured) bool { return m.Seq == seq })
		if len(c.measured) < before {
			return
		}
	}
	u.end.Expired(l, id, seq, had)
}

func (u *user) Ended(l physical.LinkID, id link.RequestID, err error) {
	u.endedAt[id] = u.w.loop.Now()
	if u.requests[id] == nil {
		u.w.t.Errorf("side %d: request %d ended, which it has not heard of", u.side, id)
		return
	}
	u.end.Ended(l, id, err)
}

// done runs until all requests have ended at both ends, then checks that nothing
// is left.
func (s *service) done(d time.Duration, ids ...link.RequestID) {
	s.t.Helper()
	s.runUntil(d, func() bool {
		return !slices.ContainsFunc(ids, func(id link.RequestID) bool { return !s.ended(id) })
	})
}

// cancel ends a request as one end's user does.
func (u *user) cancel(id link.RequestID) {
	c := u.requests[id]
	c.ended = true
	u.layer.End(theLink, id, qnet.ErrCancelled)
}

// keepHeld makes an end hold what it gets.
func keepHeld(*end, link.Pair) {}

// wantCode fails the test unless a request has ended with a code at an end.
func (u *user) wantCode(id link.RequestID, code qnet.Code) {
	u.w.t.Helper()
	c := u.requests[id]
	if c == nil || !c.ended || qnet.CodeOf(c.err) != code {
		u.w.t.Errorf("side %d: request %d is %+v, want ended with %v", u.side, id, c, code)
	}
}

// A stored pair sits in a storage qubit at both ends, and its lane is free: with
// one lane several are there at once, and two qubits that only a communication
// qubit can reach can not interact. Its fidelity is what the gates and the time in
// either kind of qubit leave: all of them are phase flips here, which commute with
// the two CNOTs of a move up to their being the flip of either of the two qubits.
func TestStore(t *testing.T) {
	const n = 4
	const gate2 = 30 * time.Microsecond
	for _, c := range []struct {
		name                   string
		communication, storage state.Decay
		dephasing              float64 // of each qubit by a gate
		indirect               bool
	}{
		{name: "perfect"},
		{name: "perfect, indirect", indirect: true},
		{name: "gates", dephasing: 0.01},
		{name: "all", dephasing: 0.008, communication: state.Decay{T2: 1e-3}, storage: state.Decay{T2: 4e-3}, indirect: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const heralded = 0.93
			spec := physical.Spec{Storage: n, Init: 2 * time.Microsecond, Gate2: gate2, Coupling: physical.CouplingStar,
				Memory: &physical.Memory{Init: 5 * time.Microsecond, Indirect: c.indirect}}
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 3, probability: 0.02, fidelity: heralded, length: 3000, spec: spec},
				communication: c.communication, storage: c.storage, noise: physical.Noise{Gate2Dephasing: c.dephasing}})
			s.users[0].onPair, s.users[1].onPair = keepHeld, keepHeld
			id := s.users[0].create(link.Request{Pairs: n, Store: true, Deadline: qnet.Never, Limit: n})
			s.done(time.Minute, id)
			if open := s.users[0].layer.Status()[0]; open.Held != 0 {
				t.Errorf("%d lanes are in use", open.Held)
			}
			a, b := s.users[0].requests[id].pairs, s.users[1].requests[id].pairs
			if len(a) != n || len(b) != n {
				t.Fatalf("%d and %d pairs are there, want %d", len(a), len(b), n)
			}
			now := s.loop.Now()
			for i := range a {
				if a[i].Seq != b[i].Seq {
					t.Fatalf("pair %d at one end, %d at the other", a[i].Seq, b[i].Seq)
				}
				got, err := s.fabric.Oracle().BellFidelity(now, a[i].Qubit, b[i].Qubit, a[i].Label)
				if err != nil {
					t.Fatal(err)
				}
				// Both ends hear of it a half delay after the photons are there.
				moved := a[i].Created.Add(2*s.half + 2*gate2)
				coherence := 1.0 // that one end leaves
				leave := func(d state.Decay, t time.Duration) {
					if d.T2 > 0 {
						coherence *= math.Exp(-t.Seconds() / d.T2)
					}
				}
				leave(c.communication, moved.Sub(a[i].Created))
				leave(c.storage, now.Sub(moved)+gate2) // half of the move both share the state
				coherence *= math.Pow(1-2*c.dephasing, 3)
				other := (1 - heralded) / 3 // weight of each other Bell state
				want := (heralded+other)/2 + (heralded-other)/2*coherence*coherence
				if math.Abs(got-want) > 1e-9 {
					t.Errorf("pair %d has fidelity %.12f, want %.12f", i, got, want)
				}
			}
			refused := false
			s.users[0].dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: a[0].Qubit, B: a[1].Qubit}, func(r physical.Result) {
				refused = qnet.CodeOf(r.Err) == qnet.ErrUnsupported
			})
			s.run(time.Millisecond)
			if !refused {
				t.Error("two kept halves interact: they are not both in storage qubits")
			}
			for _, p := range a {
				s.users[0].free(p.Seq)
				s.users[1].free(p.Seq)
			}
			s.run(time.Second)
			s.rest()
		})
	}
}

// seen is the GEN of either end that was sent last, from which pairs came.
type seen struct{ gens [2]link.Gen }

func (s *seen) drop(from, _ qnet.NodeID, m wire.Message) bool {
	if g, ok := m.(*link.Gen); ok && len(g.Candidates) > 0 {
		s.gens[from-alice] = *g
	}
	return false
}

// paused is hardware of the kind that has pauses, at one end.
type paused struct {
	stride       uint64
	every, pause uint64 // cycles
	init, gate2  time.Duration
}

func (p paused) spec() physical.Spec {
	return physical.Spec{Storage: 1, Init: p.init, Gate2: p.gate2,
		Memory: &physical.Memory{Init: time.Duration(p.pause) * time.Microsecond, T2: float64(p.every) * 1e-6, Indirect: true}}
}

// attempts makes attempts one by one: in cycles from the given one on that are
// multiples of both strides, and in which neither end pauses. Both ends count their
// blocks, of whole strides, from the first multiple of their stride.
func (p paused) has(start, cycle uint64) bool {
	if cycle%p.stride != 0 {
		return false
	}
	up := func(n uint64) uint64 { return (n + p.stride - 1) / p.stride * p.stride }
	start = up(start)
	return cycle >= start && (cycle-start)%up(p.every+p.pause) < p.every
}

// Attempts for pairs to be stored are made in strides and with pauses in which the
// storage qubit is initialised anew, whatever they are at either end; a success
// comes in such cycles only, and after as many of them as independent attempts
// take: chi-square against attempts made one by one, and of their number against
// the geometric distribution. False alarms below 1e-6 each.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		name string
		p    float64
		ends [2]paused
	}{
		{"equal", 0.03, [2]paused{{15, 345, 31, 2000, 10_000}, {15, 345, 31, 2000, 10_000}}},
		{"different", 0.1, [2]paused{{3, 50, 10, 1000, 2000}, {2, 35, 7, 500, 9000}}},
		{"pauses of one only", 0.2, [2]paused{{1, 9, 6, 1000, 2000}, {4, 1 << 30, 3, 500, 500}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const n = 8000
			const length = 2000
			var frames seen
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 17, probability: c.p, length: length},
				specs: [2]physical.Spec{c.ends[0].spec(), c.ends[1].spec()}, stride: [2]uint64{c.ends[0].stride, c.ends[1].stride}, drop: frames.drop})
			number := make([]int, 200)
			s.users[0].onPair = func(e *end, p link.Pair) {
				e.free(p.Seq)
				cycle := s.cycles.From(p.Created)
				for side, g := range frames.gens {
					if cycle < g.First || !g.Pattern.Has(cycle) {
						t.Errorf("pair in cycle %d, in which side %d does not attempt: %+v", cycle, side, g)
					}
				}
				k := uint64(0)
				for at := max(frames.gens[0].First, frames.gens[1].First); at < cycle; at++ {
					if frames.gens[0].Pattern.Has(at) && frames.gens[1].Pattern.Has(at) {
						k++
					}
				}
				bin(number, k)
			}
			id := s.users[0].create(link.Request{Pairs: n, Store: true, Deadline: qnet.Never, Limit: n})
			s.done(time.Hour, id)
			geometric := make([]float64, len(number))
			left := 1.0
			for k := range geometric[:len(geometric)-1] {
				geometric[k] = left * c.p
				left *= 1 - c.p
			}
			geometric[len(geometric)-1] = left
			qnettest.Fit(t, "failed attempts before a success", number, geometric)

			got := gaps(s.world, s.users[0].requests[id].pairs)
			ready := 0.0 // ns from the emission until both ends can attempt
			for _, e := range c.ends {
				ready = max(ready, float64(2*s.half+2*e.gate2+e.init)+float64(e.pause)*1000)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			most := uint64(30/c.p) * c.ends[0].stride * c.ends[1].stride
			a, b := make([]int, most), make([]int, most)
			last := uint64(1) << 33
			for i := range got {
				bin(a, got[i])
				start := last + uint64(ready/1000) + 1
				cycle := start
				for ; !c.ends[0].has(start, cycle) || !c.ends[1].has(start, cycle) || rng.Float64() >= c.p; cycle++ {
				}
				bin(b, cycle-last)
				last = cycle
			}
			qnettest.SameDistribution(t, "cycles between stored pairs", a, b)
			s.run(time.Second)
			s.rest()
		})
	}
}

// What waits for a half is initialised anew in the pauses: however long it takes
// until a pair comes, the storage qubit is no older than since the last of them.
// It depolarises, and the stored half shows what it had become when the move
// began: of |0⟩ shrunk to z the two CNOTs make a bit flip of probability (1−z)/2,
// which at each end leaves X correlations as they are and z of those of Y and Z.
func TestStorageIsKeptFresh(t *testing.T) {
	const rate = 1000.0 // 1/s
	hw := paused{stride: 1, every: 200, pause: 50, init: 1000, gate2: 0}
	var frames seen
	s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 18, probability: 1e-4, length: 200, spec: hw.spec()},
		storage: state.Decay{Depolarise: rate}, stride: [2]uint64{1, 1}, drop: frames.drop})
	s.users[0].onPair, s.users[1].onPair = keepHeld, keepHeld
	for range 20 {
		id := s.users[0].create(link.Request{Pairs: 1, Store: true, Deadline: qnet.Never, Limit: 1})
		s.runUntil(time.Minute, func() bool { return s.ended(id) })
		p, o := s.users[0].requests[id].pairs[0], s.users[1].requests[id].pairs[0]
		now := s.users[0].pairAt[len(s.users[0].pairAt)-1]
		heard := p.Created.Add(2 * s.half)
		if now != heard {
			t.Fatalf("pair of %v is handed up at %v", heard, now)
		}
		// The last pause before the move ended here, and then the qubit was in |0⟩.
		fresh, ok := frames.gens[0].Pattern.Resumed(s.cycles.From(heard+1) - 1)
		if !ok {
			continue
		}
		age := heard.Sub(s.cycles.Instant(fresh)).Seconds()
		z := math.Exp(-rate * age)
		later := s.loop.Now()
		w := math.Exp(-2 * rate * later.Sub(heard).Seconds())
		want := (1 + w*(1+2*z*z)) / 4
		if got, err := s.fabric.Oracle().BellFidelity(later, p.Qubit, o.Qubit, p.Label); err != nil || math.Abs(got-want) > 1e-3*want {
			// The old age of a qubit that is never initialised anew makes z 0.
			t.Errorf("fidelity %v after %v, %v: want %v", got, later.Sub(heard), err, want)
		}
		s.users[0].free(p.Seq)
		s.users[1].free(p.Seq)
		s.run(10 * time.Millisecond)
	}
	s.rest()
}

// together checks that all pairs of a request came at once at an end, and are n.
func (u *user) together(id link.RequestID, n int) {
	u.w.t.Helper()
	var at []qnet.Time
	for i, p := range u.order {
		if p.Request == id {
			at = append(at, u.pairAt[i])
		}
	}
	if len(at) != n || slices.Min(at) != slices.Max(at) {
		u.w.t.Errorf("side %d: pairs came at %v, want %d at one instant", u.side, at, n)
	}
}

// The pairs of a consecutive request come all at once, and all of them are
// entangled then: from the moment that the later end has them their fidelity is
// the heralded one.
func TestConsecutive(t *testing.T) {
	for _, store := range []bool{false, true} {
		t.Run(fmt.Sprintf("store=%v", store), func(t *testing.T) {
			t.Parallel()
			const n = 3
			cfg := serviceConfig{worldConfig: worldConfig{seed: 5, probability: 0.02, fidelity: 0.9, length: 500, lanes: n}}
			if store {
				cfg.lanes, cfg.spec = 1, physical.Spec{Storage: n, Gate2: 40 * time.Microsecond, Init: time.Microsecond}
			}
			s := newService(t, cfg)
			s.users[0].onPair, s.users[1].onPair = keepHeld, keepHeld
			for range 50 {
				id := s.users[s.rng.IntN(2)].create(link.Request{Pairs: n, Store: store, Consecutive: true, Deadline: qnet.Never, Limit: n})
				s.done(time.Minute, id)
				for side, u := range s.users {
					u.together(id, n)
					if len(u.held) != n {
						t.Errorf("side %d holds %d pairs", side, len(u.held))
					}
				}
				for seq, p := range s.users[0].held {
					f, err := s.fabric.Oracle().BellFidelity(s.loop.Now(), p.Qubit, s.users[1].held[seq].Qubit, p.Label)
					if err != nil || math.Abs(f-0.9) > 1e-9 {
						t.Errorf("fidelity %v, %v", f, err)
					}
					s.users[0].free(seq)
					s.users[1].free(seq)
				}
			}
			s.run(time.Second)
			s.rest()
		})
	}
}

// The pairs of a consecutive request have the minimum fidelity in the mean when the
// second end has them all, also if frames are lost and test rounds are made. Five
// standard errors: a false alarm has a probability below 1e-6.
func TestConsecutiveFidelity(t *testing.T) {
	for _, c := range []struct {
		store         bool
		lanes, pairs  int
		testing, loss float64
	}{
		{false, 2, 2, 0, 0.05}, {false, 3, 2, 0.3, 0}, {true, 1, 3, 0.1, 0.02}, {true, 3, 3, 0, 0},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			t.Parallel()
			decay := state.Decay{T1: 0.2, T2: 0.05}
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 61, probability: 0.05, fidelity: 0.93, period: 50_000, length: 5000, lanes: c.lanes,
				testing: c.testing, told: 0.93, hazards: control.LinkConfig{Loss: c.loss},
				spec: physical.Spec{Storage: 3, T1: decay.T1, T2: decay.T2, Init: 5 * time.Microsecond, Gate1: time.Microsecond, Gate2: 20 * time.Microsecond, Readout: 10 * time.Microsecond}},
				communication: decay, storage: decay})
			r := link.Request{Pairs: uint64(c.pairs), Store: c.store, Consecutive: true, Deadline: qnet.Never, Limit: uint64(c.pairs)}
			best, err := s.users[0].layer.Best(theLink, r)
			if err != nil {
				t.Fatal(err)
			}
			r.MinFidelity = best.Granted
			fidelity := map[uint64]float64{} // of pairs when the second end had them
			for side, u := range s.users {
				u.onPair = func(_ *end, p link.Pair) {
					q, ok := s.users[1-side].held[p.Seq]
					if !ok {
						return
					}
					f, err := s.fabric.Oracle().BellFidelity(s.loop.Now(), p.Qubit, q.Qubit, p.Label)
					if err != nil {
						t.Error(err)
					}
					fidelity[p.Seq] = f
				}
			}
			const n = 2500
			var sum, squares float64
			for range n {
				id := s.users[0].create(r)
				s.done(time.Minute, id)
				mean := 0.0
				for _, p := range s.users[0].requests[id].pairs {
					mean += fidelity[p.Seq] / float64(c.pairs)
					s.users[0].free(p.Seq)
					s.users[1].free(p.Seq)
				}
				sum += mean
				squares += mean * mean
			}
			mean := sum / n
			if se := math.Sqrt((squares/n - mean*mean) / n); mean < best.Granted-5*se {
				t.Errorf("mean fidelity is %.5f with a standard error of %.5f, want %.5f", mean, se, best.Granted)
			}
			t.Logf("mean fidelity %.5f, granted %.5f", mean, best.Granted)
		})
	}
}

// With messages lost and requests that run out of time in the middle: all pairs
// or none, and nothing is left.
func TestConsecutiveOverABadChannel(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			const n = 3
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: seed, probability: 0.005, length: 500, hazards: bad,
				spec: physical.Spec{Storage: 2 * n, Gate2: 100 * time.Microsecond, Init: time.Microsecond}}})
			var ids []link.RequestID
			for i := range 60 {
				r := link.Request{Pairs: n, Store: true, Consecutive: true, Deadline: qnet.Never, Limit: n}
				if i%2 == 0 {
					r.Deadline = s.loop.Now().Add(10*time.Millisecond + time.Duration(s.rng.Uint64N(uint64(60*time.Millisecond))))
				}
				ids = append(ids, s.users[s.rng.IntN(2)].create(r))
				s.run(time.Duration(s.rng.Uint64N(uint64(20 * time.Millisecond))))
			}
			s.runUntil(time.Minute, func() bool {
				for _, u := range s.users {
					for _, c := range u.requests {
						if !c.ended {
							return false
						}
					}
				}
				return true
			})
			s.run(20 * time.Second)
			s.rest()
			complete := 0
			for _, id := range ids {
				for side, u := range s.users {
					c := u.requests[id]
					if c == nil || c.err != nil {
						continue
					}
					complete++
					handed := 0
					for _, p := range u.order {
						if p.Request == id {
							handed++
						}
					}
					if handed != n {
						t.Errorf("side %d: %d pairs of a complete request were handed up", side, handed)
					}
					u.together(id, n)
				}
			}
			if complete < 50 {
				t.Errorf("%d of %d are complete", complete, 2*len(ids))
			}
		})
	}
}

// Two requests that each need all the qubits there are do not take half of them
// each and wait for ever.
func TestConsecutiveRequestsDoNotStarveEachOther(t *testing.T) {
	for _, store := range []bool{false, true} {
		cfg := serviceConfig{worldConfig: worldConfig{seed: 6, probability: 0.02, length: 500, lanes: 2}}
		if store {
			cfg.lanes, cfg.spec = 1, physical.Spec{Storage: 2}
		}
		s := newService(t, cfg)
		var ids []link.RequestID
		for i := range 6 {
			ids = append(ids, s.users[i%2].create(link.Request{Pairs: 2, Store: store, Consecutive: true, Deadline: qnet.Never, Limit: 2}))
		}
		s.done(10*time.Second, ids...)
		for _, id := range ids {
			s.users[0].together(id, 2)
			s.users[1].together(id, 2)
		}
		s.run(time.Second)
		s.rest()
	}
}

// A request for more than the qubits of either end is refused at once.
func TestTooManyTogether(t *testing.T) {
	small, large := physical.Spec{Storage: 2, Init: 1}, physical.Spec{Storage: 5, Init: 1}
	shared := physical.Spec{Storage: 5, Communication: 2, Init: 1}
	for _, c := range []struct {
		name  string
		specs [2]physical.Spec
		store bool
		fits  uint64
	}{
		{"here", [2]physical.Spec{small, large}, true, 2},
		{"at the peer", [2]physical.Spec{large, small}, true, 2},
		{"lanes", [2]physical.Spec{large, large}, false, 4},
		{"shared qubits", [2]physical.Spec{large, shared}, false, 2},
	} {
		s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 1, probability: 0.1, lanes: 4}, specs: c.specs})
		r := link.Request{Pairs: c.fits + 1, Store: c.store, Consecutive: true, Deadline: qnet.Never, Limit: 10}
		_, err := s.users[0].layer.Create(theLink, r)
		qnettest.WantErr(t, err, qnet.ErrNoMemory)
		r.Pairs--
		id := s.users[0].create(r)
		s.done(time.Second, id)
		s.users[1].wantCode(id, qnet.OK)
		s.run(time.Second)
		s.rest()
	}
	s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 1, probability: 0.1}})
	_, err := s.users[0].layer.Create(theLink, link.Request{Pairs: 1, Store: true, Deadline: qnet.Never, Limit: 10})
	qnettest.WantErr(t, err, qnet.ErrUnsupported)
}

// outcome is the state of one qubit after the other half of (I⊗XˣZᶻ)|Φ+⟩ was
// measured along n with a bit: the Bloch vector is R·n', where Φ+ correlates X and Z
// and anticorrelates Y, and each Pauli of the label turns the other two axes.
func prepared(label qnet.BellLabel, b qnet.Basis, bit uint8) (x, y, z float64) {
	x, y, z = b.Axis()
	y = -y
	if label.X() {
		y, z = -y, -z
	}
	if label.Z() {
		x, y = -x, -y
	}
	if bit == 1 {
		x, y, z = -x, -y, -z
	}
	return x, y, z
}

// Remote state preparation: the creator is told basis and bit, and nothing of
// qubits; the peer gets a qubit in the state which that leaves, mixed as the pair
// was, or less pure if it decohered. The bases come with the probabilities that
// were given: chi-square.
func TestPrepareStates(t *testing.T) {
	for side := range 2 {
		t.Run(fmt.Sprint("side ", side), func(t *testing.T) {
			t.Parallel()
			const n, fidelity = 3000, 0.94
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 8, probability: 0.1, fidelity: fidelity, length: 1000, lanes: 2,
				spec: physical.Spec{Gate1: 300, Readout: 2000, Init: 1000}}})
			src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ, {Theta: 0.7, Phi: 1.9}}, Weights: []float64{1, 2, 3, 4}}
			creator, peer := s.users[side], s.users[1-side]
			var states [][]complex128
			peer.onPair = func(e *end, p link.Pair) {
				// When the creator has measured for sure.
				s.loop.After(time.Millisecond, func() {
					rho, err := s.fabric.Oracle().Density(s.loop.Now(), p.Qubit)
					if err != nil {
						t.Fatal(err)
					}
					states = append(states, rho)
					e.free(p.Seq)
				})
			}
			id := creator.create(link.Request{Type: link.Prepare, Pairs: n, Deadline: qnet.Never, Limit: n, Bases: src})
			s.done(time.Minute, id)
			s.run(time.Second)
			s.rest()
			if o := peer.offers[id]; o.Type != link.Prepare || o.Pairs != n {
				t.Errorf("offered %+v", o)
			}
			bases, bits := make([]int, 4), 0
			pairs := peer.requests[id].pairs
			ms := creator.requests[id].measured
			if len(ms) != n || len(pairs) != n || len(creator.requests[id].pairs) != 0 || len(peer.requests[id].measured) != 0 {
				t.Fatalf("%d measured and %d kept, want %d", len(ms), len(pairs), n)
			}
			slices.SortFunc(ms, func(a, b link.Measured) int { return cmp.Compare(a.Seq, b.Seq) })
			byState := make([]int, n)
			for i := range byState {
				byState[i] = i
			}
			slices.SortFunc(byState, func(i, j int) int { return cmp.Compare(pairs[i].Seq, pairs[j].Seq) })
			for i, m := range ms {
				p := pairs[byState[i]]
				if p.Seq != m.Seq || p.Label != m.Label || p.Created != m.Created {
					t.Fatalf("%+v and %+v", m, p)
				}
				bases[m.Basis]++
				bits += int(m.Bit)
				x, y, z := prepared(m.Label, src.Bases[m.Basis], m.Bit)
				w := (4*fidelity - 1) / 3
				want := []complex128{complex((1+w*z)/2, 0), complex(w*x/2, -w*y/2), complex(w*x/2, w*y/2), complex((1-w*z)/2, 0)}
				for k, v := range states[byState[i]] {
					if cmplx.Abs(v-want[k]) > 1e-9 {
						t.Fatalf("basis %d, bit %d leaves %v, want %v", m.Basis, m.Bit, states[byState[i]], want)
					}
				}
			}
			qnettest.Fit(t, "bases", bases, []float64{0.1, 0.2, 0.3, 0.4})
			qnettest.Fit(t, "bits", []int{n - bits, bits}, []float64{0.5, 0.5})
		})
	}
}

// The bases that are proposed reach the peer as they are, and both ends draw theirs
// with the probabilities given, independently. What both measure is correlated as
// quantum mechanics says: for a Werner state of Φ+ the bits differ with probability
// (1−W·a·Rb)/2, where Rb is b with y reversed. Chi-square over basis, basis and
// equality of the bits; false alarm below 1e-6 each.
func TestMeasureBases(t *testing.T) {
	chsh := math.Pi / 4
	for _, c := range []struct {
		name string
		a, b physical.BasisSource
	}{
		{"fixed rotation", physical.BasisSource{Bases: []qnet.Basis{{Theta: 1.1, Phi: 0.4}}}, physical.BasisSource{Bases: []qnet.Basis{{Theta: 2, Phi: -0.8}}}},
		{"X and Z", physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}, Weights: []float64{0.2, 0.8}},
			physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}, Weights: []float64{0.7, 0.3}}},
		{"X, Y and Z", physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}, Weights: []float64{25, 75, 155}},
			physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}}},
		{"CHSH", physical.BasisSource{Bases: []qnet.Basis{qnet.BasisZ, qnet.BasisX}},
			physical.BasisSource{Bases: []qnet.Basis{qnet.BasisXZ(chsh), qnet.BasisXZ(-chsh)}, Weights: []float64{0.6, 0.4}}},
		{"Z without saying so", physical.BasisSource{}, physical.BasisSource{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const n, fidelity = 40_000, 0.9
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 9, probability: 0.2, fidelity: fidelity, length: 200}})
			id := s.users[1].create(link.Request{Type: link.Measure, Pairs: n, Deadline: qnet.Never, Limit: n, Bases: c.a, PeerBases: c.b, Purpose: 7, Tag: 8})
			s.done(time.Minute, id)
			s.run(time.Second)
			s.rest()
			o := s.users[0].offers[id]
			if !slices.Equal(o.Bases.Bases, c.b.Bases) || !slices.Equal(o.Bases.Weights, c.b.Weights) || o.Purpose != 7 || o.Tag != 8 || o.Pairs != n {
				t.Errorf("offered %+v, want %+v", o, c.b)
			}
			probability := func(b physical.BasisSource, i int) float64 {
				if b.Weights == nil {
					return 1 / float64(max(1, len(b.Bases)))
				}
				sum := 0.0
				for _, w := range b.Weights {
					sum += w
				}
				return b.Weights[i] / sum
			}
			na, nb := max(1, len(c.a.Bases)), max(1, len(c.b.Bases))
			counts, want := make([]int, 2*na*nb), make([]float64, 2*na*nb)
			w := (4*fidelity - 1) / 3
			for i := range na {
				for j := range nb {
					ax, ay, az := c.a.Basis(uint8(i)).Axis()
					bx, by, bz := c.b.Basis(uint8(j)).Axis()
					correlation := w * (ax*bx - ay*by + az*bz)
					p := probability(c.a, i) * probability(c.b, j)
					want[2*(i*nb+j)] = p * (1 + correlation) / 2
					want[2*(i*nb+j)+1] = p * (1 - correlation) / 2
				}
			}
			a, b := s.users[1].requests[id].measured, s.users[0].requests[id].measured
			if len(a) != n || len(b) != n {
				t.Fatalf("%d and %d pairs, want %d", len(a), len(b), n)
			}
			for i := range a {
				if a[i].Seq != b[i].Seq || a[i].Label != qnet.PhiPlus {
					t.Fatalf("%+v and %+v", a[i], b[i])
				}
				counts[2*(int(a[i].Basis)*nb+int(b[i].Basis))+int(a[i].Bit^b[i].Bit)]++
			}
			qnettest.Fit(t, "bases and bits", counts, want)
		})
	}
}
