package link_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
)

// worldConfig describes one link in the emulated world.
type worldConfig struct {
	seed        uint64
	probability float64
	fidelity    float64         // 1 unless given
	period      float64         // 1000 ns unless given
	lanes       int             // 1 unless given
	length      float64         // metres
	schedule    herald.Schedule // nil: ideal, of the probability and fidelity
	spec        physical.Spec
	dephasing   float64 // of a storage qubit by an attempt
	hazards     control.LinkConfig
	told        float64 // fidelity that the data sheet tells, if not 0
	testing     float64 // share of test rounds
	scheduler   func() link.Scheduler
	device      func(physical.Device) physical.Device // wraps that of each end, if given
	heralder    func(link.Heralder) link.Heralder     // wraps that of the station, if given
	points      []float64                             // fidelities of several operating points, if given; pairs of the worse come sooner
	queue       int                                   // requests held; 0 for the default
	compat      link.Compat
	noRepeat    bool // the station announces once
	onFault     func(link.Fault)
}

// world is two nodes with a link between them, over the fabric, in virtual time.
type world struct {
	t       *testing.T
	cfg     worldConfig
	loop    *event.Virtual
	net     *control.Network
	fabric  *fabric.Fabric
	station *link.Station
	ends    [2]*end
	half    time.Duration
	cycles  physical.Cycles
	rng     *rand.Rand // of the test's own choices
}

func newWorld(t *testing.T, cfg worldConfig) *world {
	t.Helper()
	if cfg.fidelity == 0 {
		cfg.fidelity = 1
	}
	if cfg.period == 0 {
		cfg.period = 1000
	}
	cfg.lanes = max(cfg.lanes, 1)
	loop := event.NewVirtual()
	t.Cleanup(func() { loop.Close() })
	w := &world{t: t, cfg: cfg, loop: loop, cycles: physical.Cycles{Period: cfg.period}, rng: rand.New(rand.NewPCG(cfg.seed, 2))}
	fc := fabric.Config{Seed: cfg.seed}
	for id := alice; id <= bob; id++ {
		sp := cfg.spec
		sp.Lanes = map[physical.LinkID]int{theLink: cfg.lanes}
		fc.Nodes = append(fc.Nodes, fabric.NodeConfig{ID: id, Name: names[id], Spec: sp})
	}
	fc.Links = []fabric.LinkConfig{{ID: theLink, A: alice, B: bob, LanesA: cfg.lanes, LanesB: cfg.lanes, Schedule: cfg.schedule, Length: cfg.length,
		DephasingA: cfg.dephasing, DephasingB: cfg.dephasing}}
	switch {
	case cfg.points != nil:
		for i, f := range cfg.points {
			fc.Links[0].Points = append(fc.Links[0].Points, fabric.Point{Model: herald.Ideal{Probability: cfg.chance(i), Fidelity: f, PeriodNS: cfg.period}})
		}
	case cfg.schedule == nil:
		fc.Links[0].Model = herald.Ideal{Probability: cfg.probability, Fidelity: cfg.fidelity, PeriodNS: cfg.period}
	}
	var err error
	if w.fabric, err = fabric.New(fc, loop, nil); err != nil {
		t.Fatal(err)
	}
	w.half = w.fabric.Link(theLink).HalfDelay()
	w.net = control.NewNetwork(control.Config{Loop: loop, Seed: cfg.seed, Names: map[qnet.NodeID]string{alice: "alice", bob: "bob", station: "station"}})
	w.startStation()
	for side := range w.ends {
		e := &end{w: w, side: side, requests: make(map[link.RequestID]*client), held: make(map[uint64]link.Pair)}
		e.layer, e.dev = w.start(side)
		e.layer.Handle(e)
		w.ends[side] = e
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
	return w
}

// startStation starts the link's station, anew if there was one.
func (w *world) startStation() {
	her := link.Heralder(w.fabric.Link(theLink))
	if w.cfg.heralder != nil {
		her = w.cfg.heralder(her)
	}
	w.station = link.NewStation(link.StationConfig{Link: theLink, Name: "alice-bob", Seed: w.cfg.seed, Ends: [2]qnet.NodeID{alice, bob}, Cycles: w.cycles,
		Delay: w.half, NoRepeat: w.cfg.noRepeat, OnFault: w.cfg.onFault}, her, w.net.Endpoint(station, nil), w.loop, nil)
}

// start starts the link layer of one end, anew if there was one.
func (w *world) start(side int) (*link.Layer, physical.Device) {
	id, peer := alice+qnet.NodeID(side), bob-qnet.NodeID(side)
	dev := w.fabric.Device(id)
	if w.cfg.device != nil {
		dev = w.cfg.device(dev)
	}
	points := []link.Point{{Probability: w.cfg.probability, Fidelity: w.cfg.fidelity}}
	if f := w.cfg.told; f != 0 {
		points[0].Fidelity = f
		points[0].Heralds = herald.Ideal{Probability: 1, Fidelity: f, PeriodNS: 1}.Heralds()
	}
	if w.cfg.points != nil {
		points = nil
		for i, f := range w.cfg.points {
			points = append(points, link.Point{Name: fmt.Sprint(f), Probability: w.cfg.chance(i), Fidelity: f})
		}
	}
	return link.New(link.Config{Name: names[id], OnFault: w.cfg.onFault, Ends: []link.EndConfig{{
		ID: theLink, Name: "alice-bob", Side: side, Peer: peer, PeerName: names[peer], Station: station,
		Lanes: w.cfg.lanes, Cycles: w.cycles, Delay: w.half, Points: points, Scheduler: w.cfg.scheduler,
		Queue: w.cfg.queue, TestRounds: w.cfg.testing, Compat: w.cfg.compat}}}, dev, w.net.Endpoint(id, nil), w.loop, nil), dev
}

// chance returns the success probability of the i-th of several operating points.
func (c *worldConfig) chance(i int) float64 { return c.probability / float64(i+1) }

func (w *world) run(d time.Duration) {
	w.t.Helper()
	if err := w.loop.RunFor(d); err != nil {
		w.t.Fatal(err)
	}
}

// runUntil runs until ok, for at most d.
func (w *world) runUntil(d time.Duration, ok func() bool) {
	w.t.Helper()
	for end := w.loop.Now().Add(d); !ok(); w.run(10 * time.Millisecond) {
		if w.loop.Now() >= end {
			w.t.Fatalf("not done after %v: %+v", d, []any{w.ends[0].layer.Status(), w.ends[1].layer.Status()})
		}
	}
}

// ended reports whether a request has ended at both ends.
func (w *world) ended(id link.RequestID) bool {
	for _, e := range w.ends {
		if c := e.requests[id]; c == nil || !c.ended {
			return false
		}
	}
	return true
}

// rest checks that nothing is left when all pairs have been freed.
func (w *world) rest() {
	w.t.Helper()
	for _, e := range w.ends {
		if err := e.layer.Idle(); err != nil {
			w.t.Error(err)
		}
	}
	if err := w.station.Idle(); err != nil {
		w.t.Error(err)
	}
	if l := w.fabric.Ledger(); len(l) > 0 {
		w.t.Errorf("%d qubits left, the first: %v", len(l), l[0])
	}
	if n := w.net.InFlight(); n > 0 {
		w.t.Errorf("%d messages under way", n)
	}
}

// end is one end of the link with the layer above.
type end struct {
	w        *world
	side     int
	layer    *link.Layer
	dev      physical.Device
	requests map[link.RequestID]*client
	held     map[uint64]link.Pair
	bases    physical.BasisSource
	grant    uint64                    // limit for requests of the peer; 0 for none
	onPair   func(e *end, p link.Pair) // frees the qubit at once unless given
	refuse   error
	late     time.Duration // at most, until the end is ready to measure for a request of the peer
}

// client is what one end was told of a request.
type client struct {
	limit    uint64
	pairs    []link.Pair // kept, less those that expired
	measured []link.Measured
	ended    bool
	err      error
	onEnd    func()
}

func (e *end) create(r link.Request) link.RequestID {
	e.w.t.Helper()
	id, err := e.layer.Create(theLink, r)
	if err != nil {
		e.w.t.Fatal(err)
	}
	e.requests[id] = &client{limit: r.Limit}
	return id
}

// keep asks for kept pairs.
func (e *end) keep(pairs uint64) link.RequestID {
	e.w.t.Helper()
	return e.create(link.Request{Pairs: pairs, Deadline: qnet.Never, Limit: 1 << 40})
}

// open keeps a number of requests open, each made by one end or the other. It returns how
// many pairs they have had.
func (w *world) open(n int, next func(i int) link.Request) (had func() int) {
	w.ends[0].bases, w.ends[1].bases = pauli, pauli
	var ids []link.RequestID
	i := 0
	var create func()
	create = func() {
		i++
		r := next(i)
		r.Limit, r.Deadline = 1<<40, qnet.Never
		if r.Type != link.Keep {
			r.Bases = pauli
		}
		if r.Type == link.Measure {
			r.PeerBases = pauli
		}
		e := w.ends[i%2]
		id := e.create(r)
		ids = append(ids, id)
		e.requests[id].onEnd = func() { w.loop.After(0, create) }
	}
	for range n {
		create()
	}
	return func() (n int) {
		for _, id := range ids {
			if c := w.ends[0].requests[id]; c != nil {
				n += len(c.pairs) + len(c.measured)
			}
		}
		return n
	}
}

func (e *end) Requested(_ physical.LinkID, o link.Offer) (uint64, error) {
	if e.refuse != nil {
		return 0, e.refuse
	}
	id := o.ID
	if c := e.requests[id]; c != nil {
		e.w.t.Errorf("%v is requested twice", id)
	}
	limit := e.grant
	if limit == 0 {
		limit = 1 << 40
	}
	e.requests[id] = &client{limit: limit}
	if o.Type == link.Measure {
		var late time.Duration
		if e.late > 0 {
			late = time.Duration(e.w.rng.Uint64N(uint64(e.late)))
		}
		e.w.loop.After(late, func() {
			e.layer.SetBases(theLink, id, e.bases)
			e.layer.SetLimit(theLink, id, o.Pairs)
		})
		return 0, nil
	}
	return limit, nil
}

func (e *end) Pair(p link.Pair) {
	c := e.requests[p.Request]
	if c == nil || c.ended {
		e.w.t.Errorf("side %d: pair %d of request %d, which is not open", e.side, p.Seq, p.Request)
		return
	}
	c.pairs = append(c.pairs, p)
	if n := uint64(len(c.pairs)); n > c.limit {
		e.w.t.Errorf("side %d: %d pairs, limit %d", e.side, n, c.limit)
	}
	e.held[p.Seq] = p
	if e.onPair != nil {
		e.onPair(e, p)
	} else {
		e.free(p.Seq)
	}
}

// free gives a half back, if it has not been.
func (e *end) free(seq uint64) {
	if p, ok := e.held[seq]; ok {
		delete(e.held, seq)
		e.dev.Do(physical.Op{Kind: physical.OpFree, A: p.Qubit}, nil)
	}
}

func (e *end) Measured(_ physical.LinkID, id link.RequestID, ms []link.Measured) {
	c := e.requests[id]
	if c == nil || c.ended {
		e.w.t.Errorf("side %d: measured pairs of request %d, which is not open", e.side, id)
		return
	}
	c.measured = append(c.measured, ms...)
}

func (e *end) Expired(_ physical.LinkID, id link.RequestID, seq uint64, had bool) {
	if !had {
		return
	}
	c := e.requests[id]
	for i, p := range c.pairs {
		if p.Seq == seq {
			c.pairs = append(c.pairs[:i:i], c.pairs[i+1:]...)
			e.free(seq)
			return
		}
	}
	for i, m := range c.measured {
		if m.Seq == seq {
			c.measured = append(c.measured[:i:i], c.measured[i+1:]...)
			return
		}
	}
	e.w.t.Errorf("side %d: pair %d expired, which was not handed up", e.side, seq)
}

func (e *end) Ended(_ physical.LinkID, id link.RequestID, err error) {
	c := e.requests[id]
	if c.ended {
		e.w.t.Errorf("side %d: request %d ended twice", e.side, id)
	}
	c.ended, c.err = true, err
	if c.onEnd != nil {
		c.onEnd()
	}
}

func (e *end) LinkChange(physical.LinkID, error) {}

// bin counts a value in a histogram, the last bin taking all beyond.
func bin(h []int, v uint64) { h[min(v, uint64(len(h)-1))]++ }
