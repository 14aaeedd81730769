package network

import (
	"errors"
	"math"
	"slices"
	"time"

	"qstack/link"
	"qstack/physical"
)

// swapPair joins a new half with the oldest that waits on the other side, or
// makes it wait. It waits for no message.
func (c *Circuit) swapPair(h *hop, p link.Pair) {
	if !c.wanted() {
		c.free(p.Qubit)
		h.discard(p.Seq)
		c.updateLimits()
		return
	}
	w := &half{seq: p.Seq, label: p.Label, qubit: p.Qubit, created: p.Created}
	o := h.other()
	if len(o.waiting) == 0 {
		h.waiting = append(h.waiting, w)
		c.armCutOff(h, w)
		return
	}
	v := o.waiting[0]
	o.waiting = slices.Delete(o.waiting, 0, 1)
	v.timer.Stop()
	if h == c.down {
		w, v = v, w
	}
	c.l.dev.Do(physical.Op{Kind: physical.OpBSM, A: w.qubit, B: v.qubit}, func(r physical.Result) { c.swapDone(w, v, r) })
}

// armCutOff limits the wait of a half: to the node's cut-off, or, where there is
// none, for as long as no other circuit wants the memory that it occupies, and
// to the circuit's patience.
//
// A half that nothing comes for is not idle only. Where REPLYs have overtaken each
// other, two chains may have been joined crosswise, each of which waits for a
// pair at the end that the other has reached, and neither end takes more.
func (c *Circuit) armCutOff(h *hop, w *half) {
	if d := c.l.cfg.CutOff; d > 0 {
		w.timer = c.l.loop.At(w.created.Add(d-c.l.ahead()), func() { c.cutOff(h, w) })
		return
	}
	grace := max(10*time.Millisecond, 4*max(c.up.link.PairTime, c.down.link.PairTime))
	w.timer = c.l.loop.After(grace, func() {
		if c.l.links.Contended(h.link.ID, h.request) || c.l.dev.Now().Sub(w.created) > c.patience {
			c.cutOff(h, w)
		} else {
			c.armCutOff(h, w)
		}
	})
}

// cutOff discards a half that has waited too long. Nobody is told until a TRACK
// asks.
func (c *Circuit) cutOff(h *hop, w *half) {
	i := slices.Index(h.waiting, w)
	if i < 0 {
		return
	}
	h.waiting = slices.Delete(h.waiting, i, i+1)
	c.trace("cut off").Uint("link", uint64(h.link.ID)).Uint("seq", w.seq).End()
	c.free(w.qubit)
	h.discard(w.seq)
}

// swapDone records the outcome of a Bell-state measurement, for the TRACK of
// each direction.
func (c *Circuit) swapDone(u, d *half, r physical.Result) {
	if r.Err != nil { // then it has not freed them
		c.free(u.qubit)
		c.free(d.qubit)
	}
	if c.state != circuitUp || c.up.isSettled(u.seq) {
		return
	}
	if r.Err != nil {
		c.trace("swap failed").Str("err", r.Err.Error()).End()
		c.up.discard(u.seq)
		c.down.discard(d.seq)
		return
	}
	c.l.swaps++
	c.trace("swap").Uint("up", u.seq).Uint("down", d.seq).Str("outcome", r.Label.String()).End()
	spec := c.l.dev.Spec()
	dp1, dl1 := exponents(spec, r.At.Sub(u.created))
	dp2, dl2 := exponents(spec, r.At.Sub(d.created))
	c.up.record(u.seq, swapRecord{other: d.seq, label: r.Label ^ d.label, dephase: dp1 + dp2, depol: dl1 + dl2})
	c.down.record(d.seq, swapRecord{other: u.seq, label: r.Label ^ u.label, dephase: dp1 + dp2, depol: dl1 + dl2})
	if t, ok := c.up.parked.take(u.seq); ok {
		_ = c.relayTrack(c.up, t)
	}
	if t, ok := c.down.parked.take(d.seq); ok {
		_ = c.relayTrack(c.down, t)
	}
}

func (h *hop) record(seq uint64, r swapRecord) { h.swapped.put(seq, r) }

var errTooManyTracks = errors.New("too many TRACKs wait for pairs")

// relayTrack takes a TRACK on from one side to the other, parks it until its
// pair has been swapped, or answers that the pair was discarded.
func (c *Circuit) relayTrack(h *hop, t Track) error {
	r, ok := h.swapped.take(t.Link)
	if !ok {
		if h.gone(t.Link) {
			h.expireTrack(t)
			return nil
		}
		if h.parked.len() >= maxRecords {
			return errTooManyTracks
		}
		h.parked.put(t.Link, t)
		return nil
	}
	t.Link = r.other
	t.Label ^= r.label
	t.Dephase = addExponent(t.Dephase, r.dephase)
	t.Depol = addExponent(t.Depol, r.depol)
	h.other().sendTrack(t)
	return nil
}

// sendTrack sends a TRACK without making it escape.
func (h *hop) sendTrack(t Track) {
	m := &h.c.l.track
	*m = t
	h.send(m)
}

// addExponent adds to an exponent in units of 1e-9, as TRACK carries it.
func addExponent(sum uint64, e float64) uint64 {
	const most = 1e12 // e^-1000 is as good as nothing
	return uint64(math.Min(float64(sum)+math.Round(e*1e9), most))
}

// relayExpire takes a CircuitExpire back along the swaps that its TRACK came,
// and removes the records that no TRACK will ask for.
func (c *Circuit) relayExpire(h *hop, m *CircuitExpire) {
	next := CircuitExpire{Origin: m.Origin}
	if r, ok := h.swapped.take(m.Link); ok {
		next.Link = r.other
	}
	h.other().send(&next)
}

// completed takes the end of a request on towards the tail. With no request
// left, nothing that waits here is of use.
func (c *Circuit) completed(m *Complete) {
	i := slices.Index(c.active, m.Request)
	if i < 0 {
		return
	}
	c.active = slices.Delete(c.active, i, i+1)
	if !c.wanted() {
		c.up.settle()
		c.down.settle()
	}
	c.down.send(m)
	c.updateLimits()
}
