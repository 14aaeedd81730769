package network

import (
	"maps"
	"slices"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
)

// endRequest is a request at one end of a circuit.
type endRequest struct {
	Request
	hops      int
	assigned  uint64 // pairs delivered or in flight
	delivered uint64
	linkID    link.RequestID // of a request that the link serves by itself
	basis     qnet.Choice    // of Bases
}

// byLink reports whether the link itself measures the pairs: on a circuit of
// one link, when both ends measure.
func (r *endRequest) byLink() bool { return r.hops == 1 && r.Measure && r.PeerMeasures }

// transit is an end node's half of a link pair that is not confirmed.
//
//	              measured          TRACK of the same request
//	link pair ------------> held --------------------------> confirmed --> delivered
//	              |                                  | corrected
//	              +--> void  (CircuitExpire, other request, cancelled)
type transit struct {
	req       *endRequest
	seq       uint64
	qubit     physical.Qubit
	label     qnet.BellLabel
	created   qnet.Time
	basis     uint8
	bit       uint8
	done      bool      // measured, or kept
	doneAt    qnet.Time // measured
	confirmed bool
	void      bool
	track     Track
}

// Request asks for pairs. It fails with qnet.ErrClosed when the circuit is gone,
// ErrInUse when the ID is, ErrInvalid for a request that makes no sense and
// ErrBusy when too many are open.
func (c *Circuit) Request(r Request) error {
	switch {
	case c.state != circuitUp || !c.isEnd():
		return qnet.Errorf(qnet.ErrClosed, "the circuit is gone")
	case r.Pairs == 0:
		return qnet.Errorf(qnet.ErrInvalid, "a request needs one pair at least")
	case c.find(r.ID) != nil:
		return qnet.Errorf(qnet.ErrInUse, "request %d is open already", r.ID)
	case len(c.requests) >= maxRequests:
		return qnet.Errorf(qnet.ErrBusy, "%d requests are open on the circuit", maxRequests)
	}
	q := &endRequest{Request: r, hops: c.Hops()}
	if r.Measure {
		basis, err := r.Bases.Choice()
		if err != nil {
			return err
		}
		q.basis = basis
	}
	c.requests = append(c.requests, q)
	c.trace("request").Uint("request", r.ID).Uint("pairs", r.Pairs).Bool("measure", r.Measure).End()
	if q.byLink() {
		if !c.IsHead() {
			c.matchBulk()
			return nil
		}
		id, err := c.l.links.Create(c.down.link.ID, link.Request{Type: link.Measure, Pairs: r.Pairs, Purpose: c.down.label,
			Tag: r.ID, Deadline: qnet.Never, Limit: r.Pairs, Bases: r.Bases})
		if err != nil {
			c.requests = slices.Delete(c.requests, len(c.requests)-1, len(c.requests))
			return err
		}
		q.linkID = id
		c.l.byReq[request{c.down.link.ID, id}] = c.down
		return nil
	}
	if c.IsHead() {
		c.down.send(&Forward{Request: r.ID, Pairs: r.Pairs})
	}
	c.updateLimits()
	return nil
}

// Cancel ends a request at this end: what is in flight for it is freed, and
// nothing more is delivered. The other end must be told by the caller, and
// cancels too.
func (c *Circuit) Cancel(id uint64) {
	if r := c.find(id); r != nil && c.state == circuitUp {
		c.trace("cancel").Uint("request", id).End()
		c.voidTransit(r, true)
		c.finish(r)
	}
}

func (c *Circuit) find(id uint64) *endRequest {
	i := slices.IndexFunc(c.requests, func(r *endRequest) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return c.requests[i]
}

// finish closes a request that is complete or cancelled.
func (c *Circuit) finish(r *endRequest) {
	c.requests = slices.DeleteFunc(c.requests, func(q *endRequest) bool { return q == r })
	if r.byLink() {
		if r.linkID != 0 && r.delivered < r.Pairs {
			c.endBulk(c.hops()[0], r.linkID)
		}
		return
	}
	if c.IsHead() {
		c.down.send(&Complete{Request: r.ID})
	}
	if !c.wanted() {
		c.hops()[0].settle() // no pair received so far is anybody's
	}
	c.updateLimits()
}

// voidTransit frees what is in flight for a request; answer makes the peer's
// TRACKs be answered.
func (c *Circuit) voidTransit(r *endRequest, answer bool) {
	for _, seq := range slices.Sorted(maps.Keys(c.transit)) {
		t := c.transit[seq]
		if t.req != r {
			continue
		}
		c.void(t)
		if answer && !t.confirmed {
			c.hops()[0].discard(seq)
		}
	}
}

// void frees this end's half of a pair that comes to nothing.
func (c *Circuit) void(t *transit) {
	t.void = true
	t.req.assigned--
	delete(c.transit, t.seq)
	if !t.req.Measure { // a measurement frees its qubit itself
		c.free(t.qubit)
	}
}

// endPair takes a link pair at an end node, gives it to the oldest request that
// wants one, and sends its TRACK.
func (c *Circuit) endPair(h *hop, p link.Pair) {
	var r *endRequest
	for _, q := range c.requests {
		if !q.byLink() && q.assigned < q.Pairs {
			r = q
			break
		}
	}
	if r == nil {
		c.free(p.Qubit)
		h.discard(p.Seq)
		c.updateLimits()
		return
	}
	r.assigned++
	t := &transit{req: r, seq: p.Seq, qubit: p.Qubit, label: p.Label, created: p.Created}
	c.transit[p.Seq] = t
	if r.Measure {
		t.basis = uint8(r.basis.Draw(c.l.rng)) // by this node's private stream
		op := physical.Op{Kind: physical.OpMeasure, A: p.Qubit, Basis: r.Bases.Basis(t.basis), Free: true}
		c.l.dev.Do(op, func(res physical.Result) { c.measuredHalf(t, res) })
	} else {
		t.done = true
	}
	h.sendTrack(Track{Origin: p.Seq, Link: p.Seq, Request: r.ID, Label: p.Label, Created: p.Created})
	if track, ok := h.parked.take(p.Seq); ok {
		_ = c.endTrack(h, track)
	}
}

func (c *Circuit) measuredHalf(t *transit, r physical.Result) {
	if r.Err != nil {
		c.free(t.qubit) // the measurement has not
	}
	if t.void || c.state != circuitUp {
		return
	}
	if r.Err != nil { // and the other end may have delivered the pair by now
		c.fail(qnet.Errorf(qnet.CodeOf(r.Err), "circuit lost at %s: %v", c.l.name, r.Err))
		return
	}
	t.bit, t.done, t.doneAt = r.Bit, true, r.At
	if t.confirmed {
		c.deliver(t)
	}
}

// endTrack takes the other end's TRACK.
func (c *Circuit) endTrack(h *hop, m Track) error {
	t := c.transit[m.Link]
	if t == nil {
		if h.gone(m.Link) {
			h.expireTrack(m)
			return nil
		}
		if h.parked.len() >= maxRecords {
			return errTooManyTracks
		}
		h.parked.put(m.Link, m) // its REPLY is on the way
		return nil
	}
	if t.confirmed {
		return errUnexpected
	}
	if t.req.ID != m.Request {
		// The ends took the pair for different requests. The other end sees the
		// same by our TRACK.
		c.trace("mismatch").Uint("seq", t.seq).Uint("ours", t.req.ID).Uint("theirs", m.Request).End()
		c.void(t)
		c.updateLimits()
		return nil
	}
	t.confirmed, t.track = true, m
	if t.done {
		c.deliver(t)
	}
	return nil
}

// endExpire takes the news that a TRACK of ours met a discarded pair.
func (c *Circuit) endExpire(m *CircuitExpire) {
	if t := c.transit[m.Origin]; t != nil && !t.confirmed {
		c.void(t)
		c.updateLimits()
	}
}

// corrects reports whether this end turns the pairs of r into the state asked
// for.
func (c *Circuit) corrects(r *endRequest) bool {
	return r.Corrector == CorrectorHead && c.IsHead() || r.Corrector == CorrectorTail && !c.IsHead()
}

// deliver hands up a confirmed pair, after this end's correction.
func (c *Circuit) deliver(t *transit) {
	if c.corrects(t.req) {
		off := t.track.Label ^ t.req.State
		if t.req.Measure {
			if flip, ok := off.Flips(t.req.Bases.Basis(t.basis)); ok && flip {
				t.bit ^= 1
			}
		} else if off != 0 {
			c.correct(t, off)
			return
		}
	}
	c.handUp(t)
}

// correct applies XˣZᶻ to this end's half: on either half of a Bell state it
// changes the label by xz, up to a global sign.
func (c *Circuit) correct(t *transit, off qnet.BellLabel) {
	done := func(r physical.Result) {
		switch {
		case t.void || c.state != circuitUp:
		case r.Err != nil:
			c.trace("correction failed").Str("err", r.Err.Error()).End()
			c.fail(qnet.Errorf(qnet.CodeOf(r.Err), "circuit lost at %s: %v", c.l.name, r.Err))
		default:
			c.handUp(t)
		}
	}
	if off.X() {
		var f func(physical.Result)
		if !off.Z() {
			f = done
		}
		c.l.dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: t.qubit}, f)
	}
	if off.Z() {
		c.l.dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateZ, A: t.qubit}, done)
	}
}

func (c *Circuit) handUp(t *transit) {
	r := t.req
	delete(c.transit, t.seq)
	now := c.l.dev.Now()
	d := Delivery{Request: r.ID, Name: PairName{Circuit: c.id, Seq: t.seq}, Label: t.track.Label, Qubit: t.qubit,
		Basis: t.basis, Bit: t.bit, Created: t.created, At: now}
	if !c.IsHead() {
		d.Name.Seq = t.track.Origin
	}
	if r.Corrector != CorrectorNobody {
		d.Label = r.State
	}
	if r.Measure {
		d.Qubit = physical.Qubit{}
	}
	d.Fidelity = c.fidelity(t, now)
	c.trace("pair").Uint("request", r.ID).Uint("seq", d.Name.Seq).Str("label", t.track.Label.String()).End()
	c.count(r, d)
}

// count delivers and completes the request with its last pair.
func (c *Circuit) count(r *endRequest, d Delivery) {
	r.delivered++
	c.l.pairs++
	last := r.delivered == r.Pairs
	if last {
		c.finish(r)
	}
	handler := c.handler
	if handler == nil {
		return
	}
	handler.Pair(c, d)
	if last && c.state == circuitUp {
		handler.RequestDone(c, r.ID)
	}
}

// fidelity estimates the fidelity of a pair at its delivery from the links as
// characterised, the swaps, and how long each half was stored.
func (c *Circuit) fidelity(t *transit, now qnet.Time) float64 {
	own, peer := now.Sub(t.created), now.Sub(t.track.Created)
	if t.req.Measure {
		own = t.doneAt.Sub(t.created)
	}
	ps := c.l.graph.node[c.Peer()].Spec
	if t.req.PeerMeasures {
		peer = min(peer, ps.Gate1+ps.Readout)
	}
	dp1, dl1 := exponents(c.l.dev.Spec(), own)
	dp2, dl2 := exponents(ps, peer)
	return c.fresh.stored(dp1+dp2+float64(t.track.Dephase)*1e-9, dl1+dl2+float64(t.track.Depol)*1e-9)[0]
}

// matchBulk joins the link's measure requests with ours.
func (c *Circuit) matchBulk() {
	if c.state != circuitUp {
		return
	}
	for _, r := range c.requests {
		if !r.byLink() || r.linkID != 0 {
			continue
		}
		i := slices.IndexFunc(c.bulk, func(o bulkOffer) bool { return o.tag == r.ID })
		if i < 0 {
			continue
		}
		r.linkID = c.bulk[i].id
		c.bulk = slices.Delete(c.bulk, i, i+1)
		c.l.links.SetBases(c.up.link.ID, r.linkID, r.Bases)
		c.l.links.SetLimit(c.up.link.ID, r.linkID, r.Pairs)
	}
}

func (c *Circuit) bulkRequest(id link.RequestID) *endRequest {
	for _, r := range c.requests {
		if r.linkID == id {
			return r
		}
	}
	return nil
}

// measured takes the pairs that the link measured at both ends.
func (c *Circuit) measured(id link.RequestID, ms []link.Measured) {
	r := c.bulkRequest(id)
	if r == nil {
		return
	}
	spec := c.l.dev.Spec()
	trip := c.hops()[0].link.Delay
	dp, dl := exponents(spec, 2*time.Duration(c.hops()[0].link.Delay)+spec.Gate1+spec.Readout)
	fidelity := c.fresh.stored(2*dp, 2*dl)[0]
	flips := c.corrects(r)
	r.assigned += uint64(len(ms))
	for i := range ms {
		m := &ms[i]
		d := Delivery{Request: r.ID, Name: PairName{Circuit: c.id, Seq: m.Seq}, Label: m.Label, Basis: m.Basis, Bit: m.Bit,
			Created: m.Created, At: m.Created.Add(trip + spec.MeasureTime(r.Bases.Basis(m.Basis))), Fidelity: fidelity}
		if flips {
			if flip, ok := (m.Label ^ r.State).Flips(r.Bases.Basis(m.Basis)); ok && flip {
				d.Bit ^= 1
			}
		}
		if r.Corrector != CorrectorNobody {
			d.Label = r.State
		}
		c.count(r, d)
		if c.state != circuitUp {
			return
		}
	}
}
