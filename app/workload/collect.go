package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"qstack/link"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
)

// Bounds of what is remembered.
const (
	maxErrors = 10
	maxHalves = 1 << 20 // pairs that one end alone has
)

// layer is what is used of a link layer.
type layer interface {
	Create(link physical.LinkID, r link.Request) (link.RequestID, error)
}

// hardware is what is used of the emulated world.
type hardware interface {
	// free gives a half back.
	free(side int, q physical.Qubit)
	// fidelity returns that of a pair to a Bell state, as the oracle sees it now.
	fidelity(a, b physical.Qubit, l qnet.BellLabel) (float64, error)
}

// cell is what is known of the requests of one type from one end, or of several
// together.
type cell struct {
	requests, asked, completed, open uint64
	failed                           map[qnet.Code]uint64

	pairs           uint64
	in              uint64 // pairs in the window that is open
	windows         batches
	latency, scaled distribution

	oracle     moments
	same, flip [3]uint64 // pairs that both ends measured in X, Y, Z; of them those whose bits are wrong
}

// kind is the cells of one type: from A, from B and from either.
type kind struct {
	cells [3]cell
	rate  rate
}

const both = 2 // in kind.cells

// record is a request that is not over.
type record struct {
	typ     int32
	side    int8
	counted bool // made after the warm-up
	pairs   uint32
	created qnet.Time
	last    qnet.Time // latest pair at the end that created it
	next    *record   // while it is free
}

// half is a pair of which one end has its half.
type half struct {
	id       link.RequestID
	qubit    physical.Qubit // that is to be shown to the oracle
	typ      int32          // −1 if the request is unknown
	origin   int8
	side     int8 // that has it
	measured bool
	label    qnet.BellLabel
	basis    uint8
	bit      uint8
}

// collector makes requests at both ends of a link and keeps account of them.
type collector struct {
	loop    event.Scheduler
	link    physical.LinkID
	layers  [2]layer
	hw      hardware
	demands []*demand
	hold    time.Duration
	samples float64
	rng     *rand.Rand // which pairs the oracle sees

	records map[link.RequestID]*record
	free    *record
	halves  map[uint64]half

	start, end qnet.Time // of the time that counts
	window     time.Duration
	closes     qnet.Time // when the window that is open does
	kinds      []kind    // by type; the last one for all
	queue      level
	open       int
	expired    [2]uint64
	errors     []string
}

func newCollector(w *scenario.Workload, loop event.Scheduler, k physical.LinkID, demands []*demand, hw hardware, rng *rand.Rand) *collector {
	c := &collector{loop: loop, link: k, hw: hw, demands: demands, hold: w.Hold, samples: w.FidelitySamples, rng: rng,
		records: make(map[link.RequestID]*record), halves: make(map[uint64]half),
		start: qnet.Time(w.Warmup), end: qnet.Time(w.Horizon), window: w.ReportEvery, kinds: make([]kind, len(demands)+1)}
	c.closes = c.start.Add(c.window)
	windows := int((w.Horizon - w.Warmup + w.ReportEvery - 1) / w.ReportEvery)
	for i := range c.kinds {
		c.kinds[i].rate = newRate(windows)
	}
	c.queue = newLevel(c.start, c.end)
	return c
}

// fail notes what ought not to happen.
func (c *collector) fail(format string, args ...any) {
	if len(c.errors) < maxErrors {
		c.errors = append(c.errors, fmt.Sprintf("at %v: ", c.loop.Now())+fmt.Sprintf(format, args...))
	}
}

// each does something to the cells that a request of a type from an end counts in.
func (c *collector) each(typ, side int, f func(*cell)) {
	k, all := &c.kinds[typ], &c.kinds[len(c.kinds)-1]
	f(&k.cells[side])
	f(&k.cells[both])
	f(&all.cells[side])
	f(&all.cells[both])
}

// begin makes requests at the instants of a source.
func (c *collector) begin(typ, side int, s *source) {
	var fire func()
	arm := func() {
		if t := s.next(); t < c.end {
			c.loop.At(t, fire)
		}
	}
	fire = func() {
		c.create(typ, side, c.demands[typ].law.draw(s.rng))
		arm()
	}
	arm()
}

// create makes one request.
func (c *collector) create(typ, side, pairs int) {
	now := c.loop.Now()
	d := c.demands[typ]
	counted := now >= c.start
	r := d.request
	r.Pairs, r.Deadline = uint64(pairs), d.deadline(now)
	id, err := c.layers[side].Create(c.link, r)
	if counted {
		k := &c.kinds[typ].cells[side]
		k.requests++
		k.asked += uint64(pairs)
		if err != nil {
			k.fail(qnet.CodeOf(err))
		}
	}
	if err != nil {
		return
	}
	x := c.free
	if x == nil {
		x = new(record)
	} else {
		c.free = x.next
	}
	*x = record{typ: int32(typ), side: int8(side), counted: counted, pairs: uint32(pairs), created: now, last: now}
	c.records[id] = x
	c.queued(now, 1)
}

func (k *cell) fail(code qnet.Code) {
	if k.failed == nil {
		k.failed = make(map[qnet.Code]uint64)
	}
	k.failed[code]++
}

func (c *collector) queued(now qnet.Time, change int) {
	c.open += change
	c.queue.set(now, float64(c.open))
}

// got counts n pairs that an end was handed. It returns the type of their request
// and where it comes from, −1 for one that is unknown or over.
func (c *collector) got(side int, id link.RequestID, n int) (typ int32, origin int8) {
	x := c.records[id]
	if x == nil {
		return -1, 0
	}
	now := c.loop.Now()
	if int(x.side) == side {
		x.last = now
	}
	if side == 0 && now >= c.start {
		c.roll(now)
		c.kinds[x.typ].cells[x.side].in += uint64(n)
	}
	return x.typ, x.side
}

// roll closes the windows that are over by now.
func (c *collector) roll(now qnet.Time) {
	for now >= c.closes && c.closes <= c.end {
		c.close(c.window, true)
		c.closes = c.closes.Add(c.window)
	}
}

// close ends the window that is open, of the given length; one that is cut short
// is not whole.
func (c *collector) close(length time.Duration, whole bool) {
	seconds := length.Seconds()
	all := &c.kinds[len(c.kinds)-1]
	for i := range c.kinds[:len(c.kinds)-1] {
		k := &c.kinds[i]
		for side := range both {
			n := k.cells[side].in
			k.cells[both].in += n
			all.cells[side].in += n
			all.cells[both].in += n
		}
	}
	for i := range c.kinds {
		k := &c.kinds[i]
		k.rate.add(k.cells[both].in)
		for j := range k.cells {
			x := &k.cells[j]
			x.pairs += x.in
			if whole {
				x.windows.add(float64(x.in) / seconds)
			}
			x.in = 0
		}
	}
}

// side is one end as the layer above its link layer.
type side struct {
	c *collector
	i int
}

// Requested implements link.Handler: each end takes part in all that the other
// asks for.
func (s *side) Requested(physical.LinkID, link.Offer) (uint64, error) { return math.MaxUint64, nil }

// Pair implements link.Handler.
func (s *side) Pair(p link.Pair) {
	c := s.c
	typ, origin := c.got(s.i, p.Request, 1)
	h := half{id: p.Request, typ: typ, origin: origin, side: int8(s.i), label: p.Label}
	// The end that has it first decides whether the oracle sees it.
	o, second := c.halves[p.Seq]
	if second = second && o.side != h.side; second && !o.qubit.IsZero() || !second && c.sampled(typ) {
		h.qubit = p.Qubit
	}
	c.pair(p.Seq, h)
	switch {
	case c.hold > 0:
		c.loop.After(c.hold, func() { c.hw.free(s.i, p.Qubit) })
	case h.qubit.IsZero():
		c.hw.free(s.i, p.Qubit)
	case second: // the oracle has seen it
		c.hw.free(s.i, p.Qubit)
		c.hw.free(1-s.i, o.qubit)
	}
}

// sampled draws whether the oracle is to see a pair.
func (c *collector) sampled(typ int32) bool {
	return typ >= 0 && c.demands[typ].Type == scenario.KeepPairs && c.samples > 0 && (c.samples >= 1 || c.rng.Float64() < c.samples)
}

// Measured implements link.Handler.
func (s *side) Measured(_ physical.LinkID, id link.RequestID, ms []link.Measured) {
	c := s.c
	typ, origin := c.got(s.i, id, len(ms))
	for i := range ms {
		m := &ms[i]
		c.pair(m.Seq, half{id: id, typ: typ, origin: origin, side: int8(s.i), measured: true, label: m.Label, basis: m.Basis, bit: m.Bit})
	}
}

// pair takes note of one end's half, and of the pair if it is the second.
func (c *collector) pair(seq uint64, h half) {
	o, ok := c.halves[seq]
	if !ok {
		if len(c.halves) >= maxHalves {
			c.fail("one end alone has %d pairs", len(c.halves))
			clear(c.halves)
		}
		c.halves[seq] = h
		return
	}
	if o.side == h.side {
		c.fail("end %c was handed pair %d twice", 'A'+rune(h.side), seq)
		return
	}
	delete(c.halves, seq)
	if h.measured && !o.qubit.IsZero() {
		c.hw.free(int(o.side), o.qubit)
		c.fail("pair %d was kept at end %c and measured at the other", seq, 'A'+rune(o.side))
		return
	}
	if o.id != h.id || o.label != h.label {
		c.fail("the ends disagree about pair %d: %v of request %d, and %v of request %d", seq, o.label, o.id, h.label, h.id)
		return
	}
	if o.typ < 0 { // its request was over at one end before
		o.typ, o.origin = h.typ, h.origin
	}
	if o.typ < 0 || c.loop.Now() < c.start {
		return
	}
	k := &c.kinds[o.typ].cells[o.origin]
	switch {
	case o.measured && h.measured:
		if o.basis == h.basis && int(h.basis) < len(k.same) {
			k.same[h.basis]++
			if wrong(h.label, h.basis, o.bit^h.bit) {
				k.flip[h.basis]++
			}
		}
	case !o.measured && !h.measured && !h.qubit.IsZero():
		f, err := c.hw.fidelity(o.qubit, h.qubit, h.label)
		if err == nil {
			k.oracle.add(f)
		} else if c.hold == 0 { // otherwise one end may have let go before the other had it
			c.fail("the oracle does not see pair %d: %v", seq, err)
		}
	}
}

// wrong reports whether two bits, of which the exclusive or is given, contradict
// a Bell state measured in X, Y or Z at both ends.
func wrong(l qnet.BellLabel, basis, parity uint8) bool {
	flip, _ := l.Flips(paulis.Bases[basis])
	return flip != (parity != 0) != (paulis.Bases[basis] == qnet.BasisY) // Y⊗Y has −1 on Φ+
}

// Expired implements link.Handler.
func (s *side) Expired(_ physical.LinkID, _ link.RequestID, seq uint64, had bool) {
	c := s.c
	if c.loop.Now() >= c.start {
		c.expired[s.i]++
	}
	if h, ok := c.halves[seq]; ok {
		delete(c.halves, seq)
		if !h.qubit.IsZero() {
			c.hw.free(int(h.side), h.qubit)
		}
	}
}

// Ended implements link.Handler.
func (s *side) Ended(_ physical.LinkID, id link.RequestID, err error) {
	c := s.c
	x := c.records[id]
	if x == nil || int(x.side) != s.i {
		return // it counts where it was made
	}
	delete(c.records, id)
	now := c.loop.Now()
	c.queued(now, -1)
	if x.counted {
		if err != nil {
			c.kinds[x.typ].cells[x.side].fail(qnet.CodeOf(err))
		} else {
			c.complete(x)
		}
	}
	x.next, c.free = c.free, x
}

// complete counts a request that has all its pairs.
func (c *collector) complete(x *record) {
	c.kinds[x.typ].cells[x.side].completed++
	latency := x.last.Sub(x.created)
	scaled := latency / time.Duration(x.pairs)
	bin, scaledBin := binOf(latency), binOf(scaled)
	c.each(int(x.typ), int(x.side), func(k *cell) {
		k.latency.add(latency, bin)
		k.scaled.add(scaled, scaledBin)
	})
}

// LinkChange implements link.Handler.
func (s *side) LinkChange(_ physical.LinkID, err error) {
	if err != nil {
		s.c.fail("the link is down at end %c: %v", 'A'+rune(s.i), err)
	}
}

// finish closes the account at the horizon.
func (c *collector) finish(r *Result, period float64) {
	c.roll(c.end)
	if left := c.end.Sub(c.closes.Add(-c.window)); left > 0 {
		c.close(left, false)
	}
	for _, x := range c.records {
		if x.counted {
			c.kinds[x.typ].cells[x.side].open++
		}
	}
	last := len(c.kinds) - 1
	all := &c.kinds[last]
	for i := range last {
		k := &c.kinds[i]
		for s := range both {
			k.cells[both].join(&k.cells[s])
			all.cells[s].join(&k.cells[s])
			all.cells[both].join(&k.cells[s])
		}
	}
	seconds := c.end.Sub(c.start).Seconds()
	r.SimulatedS, r.WarmupS = seconds, c.start.Seconds()
	for i, d := range c.demands {
		t := c.kinds[i].result(c.window, seconds)
		t.Name, t.Type, t.Point = d.Name, d.Type.String(), d.point.Name
		t.MinFidelity = d.request.MinFidelity
		t.Probability, t.Cycles, t.Saturation, t.Offered = d.point.Probability, d.cycles, d.saturation(period), d.offered(period)
		r.Types = append(r.Types, t)
		r.All.Offered += t.Offered
	}
	t := all.result(c.window, seconds)
	t.Name, t.Offered = "all", r.All.Offered
	r.All = t
	r.Queue = c.queue.result()
	r.Expired = c.expired
	r.Unmatched = uint64(len(c.halves))
	r.Errors = c.errors
}

// join adds the counts of another cell; what is not a count each cell has itself.
func (k *cell) join(o *cell) {
	k.requests += o.requests
	k.asked += o.asked
	k.completed += o.completed
	k.open += o.open
	for code, n := range o.failed {
		if k.failed == nil {
			k.failed = make(map[qnet.Code]uint64)
		}
		k.failed[code] += n
	}
	k.oracle.merge(&o.oracle)
	for b := range k.same {
		k.same[b] += o.same[b]
		k.flip[b] += o.flip[b]
	}
}

func (k *kind) result(window time.Duration, seconds float64) TypeResult {
	return TypeResult{A: k.cells[0].figures(seconds), B: k.cells[1].figures(seconds), Both: k.cells[both].figures(seconds),
		Rate: k.rate.result(window.Seconds(), seconds)}
}

func (k *cell) figures(seconds float64) Figures {
	f := Figures{Requests: k.requests, Asked: k.asked, Completed: k.completed, Open: k.open, Pairs: k.pairs,
		Throughput: k.windows.estimate(), Latency: k.latency.result(), Scaled: k.scaled.result(),
		Oracle: k.oracle.estimate(), Outcomes: outcomes(k.same, k.flip)}
	f.Throughput.Mean = float64(k.pairs) / seconds // what comes in a window that is cut short counts too
	f.Throughput.N = max(1, f.Throughput.N)
	for code, n := range k.failed {
		if f.Failed == nil {
			f.Failed = make(map[string]uint64)
		}
		f.Failed[code.Error()] += n
	}
	return f
}

// outcomes returns the shares of wrong bits in X, Y and Z and the fidelity that
// goes with them.
func outcomes(same, flip [3]uint64) (o Outcomes) {
	all := true
	square := 0.0
	for b, e := range []*Estimate{&o.X, &o.Y, &o.Z} {
		n := float64(same[b])
		if e.N = same[b]; n == 0 {
			all = false
			continue
		}
		e.Mean = float64(flip[b]) / n
		// By Agresti and Coull, so that no error at all does not pass for certain.
		q := (float64(flip[b]) + 2) / (n + 4)
		e.StdErr = math.Sqrt(q * (1 - q) / (n + 4))
		square += e.StdErr * e.StdErr
	}
	if all {
		o.F = Estimate{Mean: 1 - (o.X.Mean+o.Y.Mean+o.Z.Mean)/2, StdErr: math.Sqrt(square) / 2, N: o.X.N + o.Y.N + o.Z.N}
	}
	return o
}
