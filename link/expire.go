package link

import (
	"slices"

	"qstack/qnet"
	"qstack/qnet/event"
)

// lost is why a request ends of which one pair is void, in compatibility with the
// reference.
func (e *end) lost() error {
	return qnet.Errorf(qnet.ErrExpired, "link %s: one end did not hear of a pair", e.cfg.Name)
}

// expiring is one range of pairs that the peer is being told to void.
type expiring struct {
	first, end uint64
	tries      int
	timer      event.Timer
}

// expire voids a pair of which this end has no use.
func (e *end) expire(seq uint64, id RequestID) {
	q := e.requests[id]
	if q != nil {
		q.void++
		e.version++
	}
	e.voidRange(seq, seq+1)
	e.l.handler.Expired(e.cfg.ID, id, seq, false)
	if q != nil && e.cfg.Compat.ExpireRequests {
		e.abort(q, e.lost())
	}
}

// lose voids measured pairs that this end has not heard of in time.
func (e *end) lose(q *request, first, end uint64) {
	q.void += end - first
	e.version++
	e.voidRange(first, end)
	for seq := first; seq < end; seq++ {
		e.l.handler.Expired(e.cfg.ID, q.ID, seq, false)
	}
	if e.cfg.Compat.ExpireRequests {
		e.abort(q, e.lost())
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

func (e *end) onExpire(m *LinkExpire) {
	e.limits[0].spent += float64(m.End - m.First - 1) // as much as that many frames
	e.send(e.cfg.Peer, &LinkExpireAck{Link: e.cfg.ID, First: m.First, End: m.End})
	for seq := m.First; seq < m.End; seq++ {
		if slices.Contains(e.voided, seq) {
			continue
		}
		if len(e.voided) >= 256 {
			e.voided = slices.Delete(e.voided, 0, 1)
		}
		e.voided = append(e.voided, seq)
		e.expired++
		e.trace("expired").Uint("seq", seq).End()
		id, had := e.untake(seq)
		if had {
			e.l.handler.Expired(e.cfg.ID, id, seq, true)
		}
		if q := e.requests[id]; q != nil && e.cfg.Compat.ExpireRequests && q.state == reqActive {
			e.abort(q, e.lost())
		}
	}
	e.serve()
}

func (e *end) onExpireAck(m *LinkExpireAck) { e.removeExpiring(m.First, m.End) }
