package link

import "slices"

// What an end remembers of the pairs that it has had: for which request each was
// taken, and which the peer has voided. Numbers of measured pairs come in runs.

// span is pairs with consecutive numbers, of which end is the first after them.
type span struct{ first, end uint64 }

func (s span) has(seq uint64) bool { return s.first <= seq && seq < s.end }

// taken remembers for which request pairs were taken.
type taken struct {
	span
	id RequestID
}

// remember notes for which request pairs were taken.
func (e *end) remember(s span, id RequestID) {
	if e.nRecent > 0 {
		if t := &e.recent[(e.nRecent-1)%len(e.recent)]; t.id == id && t.end == s.first {
			t.end = s.end
			return
		}
	}
	e.recent[e.nRecent%len(e.recent)] = taken{s, id}
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

// unname forgets for which request a pair was taken, and returns it, 0 if it never
// was taken.
func (e *end) unname(seq uint64) RequestID {
	i := slices.IndexFunc(e.recent, func(t taken) bool { return t.has(seq) })
	if i < 0 {
		return 0
	}
	t := &e.recent[i]
	id, rest := t.id, span{seq + 1, t.end}
	if t.end = seq; t.first == seq {
		t.span, rest = rest, span{}
	}
	if rest.first < rest.end {
		e.remember(rest, id)
	}
	return id
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
