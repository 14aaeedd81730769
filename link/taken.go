package link

import "slices"

// What an end remembers of the pairs that it has had: for which request each was
// taken, and which the peer has voided. Numbers of measured pairs come in runs.

// span is pairs with consecutive numbers, of which end is the first after them.
type span struct{ first, end uint64 }

func (s span) has(seq uint64) bool { return s.first <= seq && seq < s.end }

// taken remembers for which request pairs were taken, and whether they were to be
// alive together.
type taken struct {
	span
	id       RequestID
	together bool
}

// isTaken reports whether a pair was taken.
func (e *end) isTaken(seq uint64) bool {
	return seq < e.takenTo && slices.ContainsFunc(e.recent, func(t taken) bool { return t.has(seq) })
}

// remember notes for which request pairs were taken.
func (e *end) remember(n taken) {
	e.takenTo = max(e.takenTo, n.end)
	if e.nRecent > 0 {
		if t := &e.recent[(e.nRecent-1)%len(e.recent)]; t.id == n.id && t.end == n.first {
			t.end = n.end
			return
		}
	}
	e.recent[e.nRecent%len(e.recent)] = n
	e.nRecent++
}

// takenFor returns the pairs that were taken for a request.
func (e *end) takenFor(id RequestID) (spans []span) {
	for _, t := range e.recent {
		if t.id == id && t.first < t.end {
			spans = append(spans, t.span)
		}
	}
	return spans
}

// unname forgets for which request a pair was taken, and returns it, with identity
// 0 if it never was taken.
func (e *end) unname(seq uint64) taken {
	i := slices.IndexFunc(e.recent, func(t taken) bool { return t.has(seq) })
	if i < 0 {
		return taken{}
	}
	t := &e.recent[i]
	was, rest := *t, *t
	rest.first = seq + 1
	if t.end = seq; t.first == seq {
		*t = rest
	} else if rest.first < rest.end {
		e.remember(rest)
	}
	return was
}

// maxVoided bounds the runs of void pairs that are remembered.
const maxVoided = 256

// isVoid reports whether the peer has voided a pair.
func (e *end) isVoid(seq uint64) bool {
	return seq < e.voidedTo && slices.ContainsFunc(e.voided, func(s span) bool { return s.has(seq) })
}

// noteVoid remembers that the peer has voided a pair.
func (e *end) noteVoid(seq uint64) {
	e.voidedTo = max(e.voidedTo, seq+1)
	if n := len(e.voided); n > 0 && e.voided[n-1].end == seq {
		e.voided[n-1].end++
		return
	}
	if len(e.voided) >= maxVoided {
		e.voided = slices.Delete(e.voided, 0, 1)
	}
	e.voided = append(e.voided, span{seq, seq + 1})
}
