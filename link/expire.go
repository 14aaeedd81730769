package link

import (
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
)

// expiring is one range of pairs that the peer is being told to void.
type expiring struct {
	first, end uint64
	tries      int
	timer      event.Timer
}

// expire voids a pair of which this end has no use; had tells whether it was handed
// up.
func (e *end) expire(seq uint64, id RequestID, had bool) { e.lose(id, span{seq, seq + 1}, had) }

// expireRequest ends a request of which a pair is void, in compatibility with the
// reference.
func (e *end) expireRequest(q *request) {
	if q != nil && e.cfg.Compat.ExpireRequests && q.state != reqEnding {
		e.abort(q, qnet.Errorf(qnet.ErrExpired, "link %s: one end did not hear of a pair", e.cfg.Name))
	}
}

// lose does so for several. Of measured pairs this end has heard too late: their
// request is over, or they are not repeated.
func (e *end) lose(id RequestID, s span, had bool) {
	q := e.requests[id]
	e.lack(q, s.end-s.first)
	e.voidRange(s.first, s.end)
	for seq := s.first; seq < s.end; seq++ {
		e.l.handler.Expired(e.cfg.ID, id, seq, had)
	}
	e.expireRequest(q)
}

// lack counts pairs in place of which a request, unless it is over, gets others.
func (e *end) lack(q *request, n uint64) {
	if q != nil {
		q.void += n
		e.version++
	}
}

// voidRange tells the peer that pairs are void.
func (e *end) voidRange(first, end uint64) {
	e.expired += end - first
	e.trace("expire").Uint("seq", first).Uint("end", end).End()
	if !e.wasDown && len(e.expiring) < maxExpiring { // otherwise the peer's half meets its fate in the layer above
		x := &expiring{first: first, end: end}
		e.expiring = append(e.expiring, x)
		e.sendExpire(x)
	}
}

func (e *end) sendExpire(x *expiring) {
	e.send(e.cfg.Peer, &LinkExpire{Link: e.cfg.ID, First: x.first, End: x.end})
	x.timer = e.l.loop.After(e.retryAfter(x.tries), func() { e.sendExpire(x) })
	x.tries++
}

func (e *end) removeExpiring(first, end uint64) {
	i := slices.IndexFunc(e.expiring, func(x *expiring) bool { return x.first == first && x.end == end })
	if i >= 0 {
		e.expiring[i].timer.Stop()
		e.expiring = slices.Delete(e.expiring, i, i+1)
	}
}

// voidPerFrame is the number of pairs that are voided at the cost of a frame.
const voidPerFrame = 32

func (e *end) onExpire(m *LinkExpire) {
	if m.First < seqBase || m.End > e.seqLimit() {
		e.fault(fromPeer, unexpected, "LINK_EXPIRE of pairs that there can not have been")
		return
	}
	if !e.areVoid(span{m.First, m.End}) { // a copy costs no more than other frames
		e.limits[0].spent += float64(m.End-m.First) / voidPerFrame
	}
	e.send(e.cfg.Peer, &LinkExpireAck{Link: e.cfg.ID, First: m.First, End: m.End})
	for seq := m.First; seq < m.End; seq++ {
		if e.isVoid(seq) {
			continue
		}
		e.noteVoid(seq)
		e.expired++
		e.trace("expired").Uint("seq", seq).End()
		id, had := e.untake(seq)
		if had {
			e.l.handler.Expired(e.cfg.ID, id, seq, true)
		}
		e.expireRequest(e.requests[id])
	}
	e.serve()
}

// seqLimit returns a number that no pair has reached: there is less than one for each
// cycle and lane, by a clock that may be late.
func (e *end) seqLimit() uint64 {
	const late = 100 * time.Millisecond
	return seqBase + (e.cfg.Cycles.From(e.l.dev.Now().Add(late))-physical.CycleBase+1)*uint64(e.cfg.Lanes)
}

func (e *end) onExpireAck(m *LinkExpireAck) { e.removeExpiring(m.First, m.End) }
