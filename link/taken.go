package link

import (
	"slices"
	"sort"

	"qstack/qnet"
)

// What an end remembers of the pairs that it has had: which it has heard of, for which
// request each was taken, and which the peer has voided. Numbers of measured pairs come in
// runs.

// span is pairs with consecutive numbers, of which end is the first after them.
type span struct{ first, end uint64 }

func (s span) has(seq uint64) bool { return s.first <= seq && seq < s.end }

// taken remembers for which request pairs were taken, and whether they were to be
// alive together.
type taken struct {
	span
	id       RequestID
	together bool
	mark     uint64    // what each has added to the digest; 0 if it will not be given back
	at       qnet.Time // when the last of them was
}

// Runs of pairs are remembered until they are so old that the peer has long heard of
// them, or there are too many; the latest in any case.
const (
	fewTaken   = 256
	maxTaken   = 1 << 16
	takenTries = 256 // intervals after which what was not answered is sent again
)

// remember notes for which request pairs were taken.
func (e *end) remember(n taken) {
	r := &e.recent
	n.at = e.l.loop.Now()
	i := e.runsTo(n.first)
	if i > r.head {
		if t := &r.items[i-1]; t.id == n.id && t.end == n.first && t.mark == n.mark {
			t.end, t.at = n.end, n.at
			return
		}
	}
	r.items = slices.Insert(r.items, i, n)
	for r.len() > maxTaken || r.len() > fewTaken && r.front().at < n.at.Add(-takenTries*e.retryAfter(0)) {
		r.pop()
	}
}

// runsTo returns the index of the first run that begins after a pair. Runs are in the
// order of their pairs.
func (e *end) runsTo(seq uint64) int {
	r := &e.recent
	n := len(r.items)
	if r.len() == 0 || r.items[n-1].first <= seq {
		return n
	}
	return r.head + sort.Search(r.len(), func(i int) bool { return r.items[r.head+i].first > seq })
}

// takenIn returns the run of a pair that was taken, nil if it was not.
func (e *end) takenIn(seq uint64) *taken {
	if i := e.runsTo(seq); i > e.recent.head && e.recent.items[i-1].has(seq) {
		return &e.recent.items[i-1]
	}
	return nil
}

// overtaken reports whether a pair of another request was taken that was heralded after
// one.
func (e *end) overtaken(id RequestID, seq uint64) bool {
	return slices.ContainsFunc(e.recent.items[e.runsTo(seq):], func(t taken) bool { return t.id != id && t.first < t.end })
}

// takenFor returns the pairs that were taken for a request.
func (e *end) takenFor(id RequestID) (spans []span) {
	for _, t := range e.recent.items[e.recent.head:] {
		if t.id == id && t.first < t.end {
			spans = append(spans, t.span)
		}
	}
	return spans
}

// unname forgets for which request a pair was taken, and returns it, with identity
// 0 if it never was taken.
func (e *end) unname(seq uint64) taken {
	t := e.takenIn(seq)
	if t == nil {
		return taken{}
	}
	was, rest := *t, *t
	rest.first = seq + 1
	if t.end = seq; rest.first < rest.end {
		e.recent.items = slices.Insert(e.recent.items, e.runsTo(seq), rest)
	}
	return was
}

// maxVoided bounds the runs of void pairs that are remembered.
const maxVoided = 256

// isVoid reports whether the peer has voided a pair, or no pair has its number.
func (e *end) isVoid(seq uint64) bool {
	return seq < seqBase || seq < e.voidedTo && slices.ContainsFunc(e.voided, func(s span) bool { return s.has(seq) })
}

// areVoid reports whether the peer has voided pairs, one after the other.
func (e *end) areVoid(s span) bool {
	return slices.ContainsFunc(e.voided, func(v span) bool { return v.first <= s.first && s.end <= v.end })
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

// maxHeard bounds the runs of pairs that are remembered as heard of: so many more than
// gaps that columns of other lanes are to fill that only a false station has them.
const maxHeard = 1 << 16

// heardOf is the pairs that the station has announced: runs in their order, with gaps
// between them.
type heardOf struct{ queue[span] }

// add notes pairs, and reports whether none of them was heard of before. When there are
// too many runs the first gap counts as heard of.
func (h *heardOf) add(s span) bool {
	n := len(h.items)
	i := n // the first run that is not before them
	if h.len() > 0 && h.items[n-1].end >= s.first {
		i = h.head + sort.Search(h.len(), func(i int) bool { return h.items[h.head+i].end >= s.first })
	}
	fresh, j := true, i
	for ; j < n && h.items[j].first <= s.end; j++ {
		run := h.items[j]
		fresh = fresh && (run.end == s.first || run.first == s.end)
		s = span{min(s.first, run.first), max(s.end, run.end)}
	}
	h.items = slices.Replace(h.items, i, j, s)
	if h.len() > maxHeard {
		first := h.front().first
		h.pop()
		h.front().first = first
	}
	return fresh
}
