package herald

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
)

// Segment is a model that holds from an instant until the next segment's.
type Segment struct {
	// From is the instant, at the epoch or later, from which on what is emitted has
	// this model.
	From qnet.Time
	// Model is nil while no attempt can succeed, as out of contact.
	Model Model
}

// Schedule is a model that changes with time, by steps: segments in ascending
// order of time. Nothing succeeds before the first; the last one holds for
// ever. Out of contact too, a link has the attempt period of its models. All of
// its models are Immediate, or none is.
type Schedule []Segment

// Always returns the schedule of a link that has one model from the epoch on.
func Always(m Model) Schedule { return Schedule{{Model: m}} }

// Validate returns nil, or an error of code qnet.ErrInvalid that names the
// segment that is wrong, counted from 0.
func (s Schedule) Validate() error {
	m := s.first()
	if m == nil {
		return qnet.Errorf(qnet.ErrInvalid, "schedule: none of its %d segments has a model, want one at least", len(s))
	}
	return s.validate(m.Period(), IsImmediate(m))
}

// Period returns the attempt period of the link in nanoseconds, that of the
// first model; 0 when there is none.
func (s Schedule) Period() float64 {
	if m := s.first(); m != nil {
		return m.Period()
	}
	return 0
}

// Immediate reports whether the models of the schedule are (see IsImmediate).
func (s Schedule) Immediate() bool {
	m := s.first()
	return m != nil && IsImmediate(m)
}

// first returns the first model, nil when there is none.
func (s Schedule) first() Model {
	for _, seg := range s {
		if seg.Model != nil {
			return seg.Model
		}
	}
	return nil
}

// validate checks s for a link whose attempt period is known, and whether its
// models are immediate.
func (s Schedule) validate(period float64, immediate bool) error {
	for i, seg := range s {
		if seg.Model == nil {
			continue
		}
		if err := seg.Model.Validate(); err != nil {
			return qnet.Errorf(qnet.CodeOf(err), "schedule: segment %d: %v", i, err)
		}
		if p := seg.Model.Period(); p != period {
			return qnet.Errorf(qnet.ErrInvalid, "schedule: segment %d: attempt period in nanoseconds is %g, want %g as in the whole link", i, p, period)
		}
		if IsImmediate(seg.Model) != immediate {
			here, rest := "can not", "can"
			if immediate {
				here, rest = rest, here
			}
			return qnet.Errorf(qnet.ErrInvalid, "schedule: segment %d: its pairs %s be kept and those of the rest of the link %s: want the same in the whole link", i, here, rest)
		}
	}
	for i, seg := range s {
		if !(seg.From >= 0 && float64(seg.From) <= maxCycles*period) {
			return qnet.Errorf(qnet.ErrInvalid, "schedule: segment %d begins at %v, want from 0 (the epoch) to 2⁶² attempt periods", i, seg.From)
		}
		if i > 0 && seg.From <= s[i-1].From {
			return qnet.Errorf(qnet.ErrInvalid, "schedule: segment %d begins at %v, want after segment %d, which does at %v", i, seg.From, i-1, s[i-1].From)
		}
	}
	return nil
}

const (
	maxCycles = 1 << 62                            // from the epoch to a segment
	lastCycle = physical.CycleBase + math.MaxInt64 // that has an instant
)

// Timeline samples a link of which the model changes with time. Each of the
// link's attempt cycles (see physical.Cycles) belongs to the segment of its
// emission instant.
type Timeline struct {
	cycles    physical.Cycles
	immediate bool
	spans     []span // by segment
}

// span is a segment in cycles.
type span struct {
	first   uint64   // cycle; the last one is before the next span's first
	sampler *Sampler // nil out of contact
}

// NewTimeline returns the timeline of s, or the error of s.Validate.
func NewTimeline(s Schedule) (*Timeline, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	t := &Timeline{cycles: physical.Cycles{Period: s.Period()}, immediate: IsImmediate(s.first())}
	return t, t.Replace(s)
}

// Cycles returns the attempt clock of the link.
func (t *Timeline) Cycles() physical.Cycles { return t.cycles }

// Immediate reports whether the pairs of the link can only be measured, not
// kept.
func (t *Timeline) Immediate() bool { return t.immediate }

// Next draws the cycle of the first success among the attempts of a pattern in
// cycles from the given one on. ok is false when there is none while cycles have
// numbers, which is certain once the link is out of contact for good.
//
// Attempts are independent, so each segment that the search enters begins with a
// draw of its own: the cycle is as exact as Sampler.Attempts in each of them,
// whatever came before. The time it takes grows with the number of segments
// that pass without success.
func (t *Timeline) Next(rng *rand.Rand, from uint64, p physical.Pattern) (cycle uint64, ok bool) {
	i := len(t.spans) - 1
	if from < t.spans[i].first { // never so on a constant link
		if i = t.Segment(from); i < 0 {
			i, from = 0, t.spans[0].first
		}
	}
	for ; i < len(t.spans); i++ {
		end := uint64(lastCycle)
		if i+1 < len(t.spans) {
			end = t.spans[i+1].first - 1
		}
		if s := t.spans[i].sampler; s != nil && from <= end {
			if p.IsZero() {
				if n := s.Attempts(rng) - 1; n <= end-from {
					return from + n, true
				}
			} else if cycle, ok = s.next(rng, p, from, end); ok {
				return cycle, true
			}
		}
		from = end + 1
	}
	return 0, false
}

// next draws the cycle of the first success among the attempts of a pattern in
// cycles from one to another.
func (s *Sampler) next(rng *rand.Rand, p physical.Pattern, from, to uint64) (cycle uint64, ok bool) {
	made := p.Index(from)
	attempts := p.Index(to+1) - made
	if attempts == 0 {
		return 0, false
	}
	n := s.Attempts(rng) - 1
	if n >= attempts {
		return 0, false
	}
	return p.At(made + n)
}

// Segment returns the number of the segment that a cycle belongs to, −1 for a
// cycle before the first.
func (t *Timeline) Segment(cycle uint64) int { return t.begun(cycle) - 1 }

// begun returns the number of segments that begin at a cycle or before.
func (t *Timeline) begun(cycle uint64) int {
	lo, hi := 0, len(t.spans)
	for lo < hi {
		if mid := (lo + hi) / 2; t.spans[mid].first <= cycle {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Segments returns the number of segments.
func (t *Timeline) Segments() int { return len(t.spans) }

// Sampler returns the sampler of a segment: the kinds of herald of the cycles
// that belong to it. It is nil out of contact.
func (t *Timeline) Sampler(segment int) *Sampler { return t.spans[segment].sampler }

// Span returns the sampler of the segment that a cycle belongs to, nil when
// nothing succeeds in it, and the last cycle up to which this is so.
func (t *Timeline) Span(cycle uint64) (s *Sampler, last uint64) {
	i := len(t.spans) - 1
	if cycle >= t.spans[i].first {
		return t.spans[i].sampler, lastCycle
	}
	i = t.Segment(cycle)
	last = t.spans[i+1].first - 1
	if i >= 0 {
		s = t.spans[i].sampler
	}
	return s, last
}

// Replace changes the timeline from the first segment of future on: what the
// link's segments said of the time from there is void, and what they say of the
// time before stays, with their numbers. A success that was drawn for a cycle
// from there on must be drawn anew, with Next, from the first such cycle; one
// that was drawn for a cycle before stands, since attempts are independent.
// Replace does nothing and returns an error of code qnet.ErrInvalid when future
// is empty, is not valid, or has another attempt period (see Check); unlike that
// of a new timeline it may be without any model.
func (t *Timeline) Replace(future Schedule) error {
	spans, err := t.parse(future)
	if err != nil {
		return err
	}
	t.replace(spans)
	return nil
}

// Check returns nil, or the error of Replace.
func (t *Timeline) Check(future Schedule) error {
	_, err := t.parse(future)
	return err
}

// Amend is Replace at an instant of a running link: what future says of the time
// before is of no account. It returns the first cycle that has changed. Segments
// that have been over for a minute are forgotten, and the others counted anew:
// a link can be amended for ever.
func (t *Timeline) Amend(now qnet.Time, future Schedule) (first uint64, err error) {
	spans, err := t.parse(future)
	if err != nil {
		return 0, err
	}
	c := t.cycles.From(now)
	for len(spans) > 1 && spans[1].first <= c {
		spans = spans[1:]
	}
	spans[0].first = max(spans[0].first, c)
	if begun := t.begun(t.cycles.From(max(0, now.Add(-time.Minute)))); begun > 1 {
		t.spans = slices.Delete(t.spans, 0, begun-1)
	}
	t.replace(spans)
	return spans[0].first, nil
}

// parse returns the spans of a schedule for the link.
func (t *Timeline) parse(s Schedule) ([]span, error) {
	if len(s) == 0 {
		return nil, qnet.Errorf(qnet.ErrInvalid, "schedule: no segments, want one at least")
	}
	if err := s.validate(t.cycles.Period, t.immediate); err != nil {
		return nil, err
	}
	spans := make([]span, len(s))
	for i, seg := range s {
		spans[i].first = t.cycles.From(seg.From)
		if seg.Model == nil {
			continue
		}
		var err error
		if spans[i].sampler, err = NewSampler(seg.Model); err != nil {
			return nil, err
		}
	}
	return spans, nil
}

// replace puts spans in the place of all that begins where they do, or later.
func (t *Timeline) replace(spans []span) {
	if len(t.spans) > 0 {
		t.spans = t.spans[:t.begun(spans[0].first-1)]
	}
	t.spans = append(t.spans, spans...)
}
