package physical

import (
	"math"

	"qstack/qnet"
)

// CycleBase is the number of the attempt cycle whose emission instant is the
// epoch of the network, on every link. It lies just below 2³², so that
// arithmetic on cycles that is too narrow shows at once.
const CycleBase = 1<<32 - 4096

// Cycles is the attempt clock of a link: cycle n emits at (n−CycleBase)·Period.
type Cycles struct {
	Period float64 // nanoseconds, above 0
}

// Instant returns the emission instant of cycle n, rounded to a nanosecond, and
// qnet.Never for one beyond the range of time.
func (c Cycles) Instant(n uint64) qnet.Time {
	t := math.Round(float64(int64(n-CycleBase)) * c.Period)
	if t >= math.MaxInt64 {
		return qnet.Never
	}
	return qnet.Time(t)
}

// From returns the first cycle that emits at t or later: of a time so late that it
// is not told from its end, the last cycle that has an instant.
func (c Cycles) From(t qnet.Time) uint64 {
	if float64(t)/c.Period >= math.MaxInt64>>2 || t > math.MaxInt64>>1 {
		return CycleBase + math.MaxInt64>>2
	}
	n := uint64(int64(math.Ceil(float64(t)/c.Period))) + CycleBase
	for c.Instant(n) < t {
		n++
	}
	for n > CycleBase && c.Instant(n-1) >= t {
		n--
	}
	return n
}
