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
	End(link physical.LinkID, id link.RequestID, code qnet.Code)
}

// hardware is what is used of the emulated world.
type hardware interface {
	// free gives a half back.
	free(side int, q physical.Qubit)
	// fidelity returns that of a pair to a Bell state, as the oracle sees it now.
	fidelity(a, b physical.Qubit, l qnet.BellLabel) (float64, error)
	// bloch returns the Bloch vector of a half, as the oracle sees it now.
	bloch(q physical.Qubit) ([3]float64, error)
	// measure reads out a half in a basis, through a communication qubit if it is
	// stored where it can not be read, and gives it back.
	measure(side int, q physical.Qubit, stored bool, b qnet.Basis, done func(bit uint8, err error))
	// spec returns the data sheet of an end.
	spec(side int) *physical.Spec
}

// cell is what is known of the requests of one type from one end, or of several
// together.
type cell struct {
	requests, asked, completed, open uint64
	failed                           map[qnet.Code]uint64

	pairs           int64
	in              int64 // pairs in the window that is open, less those void of before
	latency, scaled distribution

	oracle     moments    // of kept pairs
	prepared   [3]moments // fidelity of halves to the states prepared in X, Y, Z
	states     moments    // the same in any basis
	same, flip [3]uint64  // pairs that both ends measured in X, Y, Z; of them those whose bits are wrong
	parity     [3]moments // of kept or prepared pairs that the devices measured: 1 in the mean of perfect ones
	unread     uint64     // halves that could not be measured for it
	chsh       [4]moments // correlators of a CHSH test, with signs that make all 1/√2 for perfect pairs
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
	counted bool   // made after the warm-up
	pairs   uint32 // 0 of a stream
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
	shown    bool // to the oracle
	label    qnet.BellLabel
	basis    uint8
	bit      uint8
	at       qnet.Time // when it was handed up
}

// collector makes requests at both ends of a link and keeps account of them.
type collector struct {
	loop       event.Scheduler
	link       physical.LinkID
	layers     [2]layer
	hw         hardware
	demands    []*demand
	hold       time.Duration
	samples    float64
	tomography float64
	seen       *rand.Rand // which pairs the oracle sees
	read       *rand.Rand // which pairs the devices measure, and in which basis
	ends       *rand.Rand // when requests are told to end

	records  map[link.RequestID]*record
	free     *record
	halves   map[uint64]half
	readings map[uint64]*reading

	start, end qnet.Time // of the time that counts
	window     time.Duration
	closes     qnet.Time // when the window that is open does
	kinds      []kind    // by type; the last one for all
	queue      level
	open       int
	expired    [2]uint64
	errors     []string
}

func newCollector(w *scenario.Workload, loop event.Scheduler, k physical.LinkID, demands []*demand, hw hardware, seed uint64) *collector {
	c := &collector{loop: loop, link: k, hw: hw, demands: demands, hold: w.Hold, samples: w.FidelitySamples, tomography: w.Tomography,
		seen: qnet.NewRand(seed, "workload/oracle"), read: qnet.NewRand(seed, "workload/tomography"), ends: qnet.NewRand(seed, "workload/ends"),
		records: make(map[link.RequestID]*record), halves: make(map[uint64]half), readings: make(map[uint64]*reading),
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
	if d.Lasts > 0 {
		c.endAfter(d.Lasts, side, id, qnet.OK)
	}
	if d.Cancel > 0 && c.ends.Float64() < d.Cancel {
		c.endAfter(d.CancelAfter, side, id, qnet.ErrCancelled)
	}
}

// endAfter ends a request after an exponential time of a mean, unless it is over by
// then: with qnet.OK it has done all it was to do.
func (c *collector) endAfter(mean time.Duration, side int, id link.RequestID, code qnet.Code) {
	after := min(qnet.Exponential(c.ends)*float64(mean), math.MaxInt64/2)
	c.loop.After(time.Duration(after), func() {
		x := c.records[id]
		if x == nil {
			return
		}
		c.layers[side].End(c.link, id, qnet.ErrCancelled)
		c.over(id, x)
		switch k := &c.kinds[x.typ].cells[side]; {
		case !x.counted:
		case code == qnet.OK:
			k.completed++
		default:
			k.fail(code)
		}
	})
}

// over forgets a request.
func (c *collector) over(id link.RequestID, x *record) {
	delete(c.records, id)
	c.queued(c.loop.Now(), -1)
	x.next, c.free = c.free, x
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
		c.count(x, n)
	}
	return x.typ, x.side
}

// count counts pairs of a request at the end that made it, or takes void ones back.
func (c *collector) count(x *record, n int) {
	if now := c.loop.Now(); now >= c.start {
		c.roll(now)
		c.kinds[x.typ].cells[x.side].in += int64(n)
	}
}

// roll closes the windows that are over by now.
func (c *collector) roll(now qnet.Time) {
	for now >= c.closes && c.closes <= c.end {
		c.close()
		c.closes = c.closes.Add(c.window)
	}
}

// close ends the window that is open.
func (c *collector) close() {
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
	if c.tomography > 0 && c.reads(s.i, typ, origin, &p) {
		return
	}
	h := half{id: p.Request, typ: typ, origin: origin, side: int8(s.i), label: p.Label, at: c.loop.Now()}
	o, second := c.other(p.Seq, &h)
	if h.shown {
		h.qubit = p.Qubit
	}
	c.pair(p.Seq, h)
	switch {
	case c.hold > 0:
		q := p.Qubit
		c.loop.After(c.hold, func() { c.hw.free(s.i, q) })
	case !h.shown:
		c.hw.free(s.i, p.Qubit)
	case second: // the oracle has seen it
		c.hw.free(s.i, p.Qubit)
		if !o.qubit.IsZero() {
			c.hw.free(1-s.i, o.qubit)
		}
	}
}

// Measured implements link.Handler.
func (s *side) Measured(_ physical.LinkID, id link.RequestID, ms []link.Measured) {
	c := s.c
	typ, origin := c.got(s.i, id, len(ms))
	kept := typ < 0 || c.demands[typ].Type != scenario.MeasurePairs // at the other end
	for i := range ms {
		m := &ms[i]
		h := half{id: id, typ: typ, origin: origin, side: int8(s.i), measured: true, label: m.Label, basis: m.Basis, bit: m.Bit}
		if !kept {
			c.pair(m.Seq, h)
			continue
		}
		if r := c.readings[m.Seq]; r != nil {
			c.sift(r, m.Seq, &h)
			continue
		}
		o, _ := c.other(m.Seq, &h)
		c.pair(m.Seq, h)
		if !o.qubit.IsZero() && c.hold == 0 {
			c.hw.free(int(o.side), o.qubit)
		}
	}
}

// other returns the other end's half of a pair, if that was first. It decides whether
// the oracle sees it, or else this half does.
func (c *collector) other(seq uint64, h *half) (o half, second bool) {
	if o, second = c.halves[seq]; second && o.side != h.side {
		h.shown = o.shown
		return o, true
	}
	h.shown = c.look(h.typ)
	return half{}, false
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
	if o.typ < 0 { // its request was over at one end before
		o.typ, o.origin = h.typ, h.origin
	}
	measured, kept := &o, &h
	if h.measured {
		measured, kept = kept, measured
	}
	if o.measured != h.measured && (!c.prepares(o.typ) || measured.side != o.origin) {
		c.fail("pair %d was kept at end %c and measured at the other", seq, 'A'+rune(kept.side))
		return
	}
	if o.id != h.id || o.label != h.label {
		c.fail("the ends disagree about pair %d: %v of request %d, and %v of request %d", seq, o.label, o.id, h.label, h.id)
		return
	}
	if o.typ < 0 || c.loop.Now() < c.start {
		return
	}
	k := &c.kinds[o.typ].cells[o.origin]
	switch {
	case o.measured && h.measured:
		creator, peer := &o, &h
		if h.side == o.origin {
			creator, peer = peer, creator
		}
		c.outcomes(k, c.demands[o.typ], creator, peer)
	case o.measured != h.measured:
		c.prepared(k, seq, c.demands[o.typ], measured, kept)
	case h.shown:
		f, err := c.hw.fidelity(o.qubit, h.qubit, h.label)
		if err == nil {
			k.oracle.add(f)
		} else if c.hold == 0 { // otherwise one end may have let go before the other had it
			c.fail("the oracle does not see pair %d: %v", seq, err)
		}
	}
}

// prepares reports whether a type, which may be unknown, is of prepared pairs.
func (c *collector) prepares(typ int32) bool {
	return typ >= 0 && c.demands[typ].Type == scenario.PreparePairs
}

// outcomes counts the outcomes of a pair that both ends measured.
func (c *collector) outcomes(k *cell, d *demand, creator, peer *half) {
	parity := creator.bit ^ peer.bit
	if d.chsh && creator.basis < 2 && peer.basis < 2 {
		axis := d.axes[0][creator.basis]
		bad := wrong(creator.label, axis, parity)
		if creator.basis == 1 && peer.basis == 1 { // X, and the axis on the other side of Z
			bad = !bad
		}
		k.chsh[2*creator.basis+peer.basis].add(sign(bad))
		return
	}
	if int(creator.basis) >= len(d.axes[0]) || int(peer.basis) >= len(d.axes[1]) {
		return
	}
	if a, b := d.axes[0][creator.basis], d.axes[1][peer.basis]; a == b && int(a) < len(k.same) {
		k.same[a]++
		if wrong(creator.label, a, parity) {
			k.flip[a]++
		}
	}
}

// sign returns −1 for what is wrong, and else 1.
func sign(wrong bool) float64 {
	if wrong {
		return -1
	}
	return 1
}

// wrong reports whether two bits, of which the exclusive or is given, contradict
// a Bell state measured in X, Y or Z at both ends.
func wrong(l qnet.BellLabel, basis, parity uint8) bool {
	flip, _ := l.Flips(paulis.Bases[basis])
	return flip != (parity != 0) != (paulis.Bases[basis] == qnet.BasisY) // Y⊗Y has −1 on Φ+
}

// Expired implements link.Handler.
func (s *side) Expired(_ physical.LinkID, id link.RequestID, seq uint64, had bool) {
	c := s.c
	if x := c.records[id]; had && x != nil && int(x.side) == s.i {
		c.count(x, -1)
	}
	if c.loop.Now() >= c.start {
		c.expired[s.i]++
	}
	delete(c.readings, seq) // what its qubits show is of no account
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
	c.over(id, x)
	if x.counted {
		if err != nil {
			c.kinds[x.typ].cells[x.side].fail(qnet.CodeOf(err))
		} else {
			c.complete(x)
		}
	}
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
	if c.end > c.closes.Add(-c.window) { // one that is cut short
		c.close()
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
	t.Name, t.Offered = AllTypes, r.All.Offered
	t.mix(r.Types)
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
	k.states.merge(&o.states)
	k.unread += o.unread
	for b := range k.same {
		k.same[b] += o.same[b]
		k.flip[b] += o.flip[b]
		k.prepared[b].merge(&o.prepared[b])
		k.parity[b].merge(&o.parity[b])
	}
	for i := range k.chsh {
		k.chsh[i].merge(&o.chsh[i])
	}
}

func (k *kind) result(window time.Duration, seconds float64) TypeResult {
	return TypeResult{A: k.cells[0].figures(seconds), B: k.cells[1].figures(seconds), Both: k.cells[both].figures(seconds),
		Rate: k.rate.result(window.Seconds(), seconds)}
}

func (k *cell) figures(seconds float64) Figures {
	f := Figures{Requests: k.requests, Asked: k.asked, Completed: k.completed, Open: k.open, Pairs: uint64(max(0, k.pairs)),
		Throughput: Average{Mean: float64(k.pairs) / seconds, N: 1}, Latency: k.latency.result(), Scaled: k.scaled.result(),
		Oracle: k.oracle.estimate(), Prepared: k.states.estimate(), Outcomes: outcomes(k.same, k.flip), CHSH: chsh(&k.chsh), Unread: k.unread}
	if k.oracle.n == 0 {
		f.Oracle = ofStates(&k.prepared)
	}
	if f.Outcomes == (Outcomes{}) {
		f.Outcomes = ofParities(&k.parity)
	}
	for code, n := range k.failed {
		if f.Failed == nil {
			f.Failed = make(map[string]uint64)
		}
		f.Failed[code.Error()] += n
	}
	return f
}
