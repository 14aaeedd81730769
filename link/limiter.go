package link

import "qstack/qnet"

// limiter bounds the frames that one sender makes this one handle: so many at
// once, and so many per nanosecond in the long run.
type limiter struct {
	rate, burst float64
	spent       float64
	at          qnet.Time
}

// allow reports whether one more frame is within bounds.
func (l *limiter) allow(now qnet.Time) bool {
	l.spent = max(0, l.spent-float64(now-l.at)*l.rate)
	l.at = now
	if l.spent >= l.burst {
		return false
	}
	l.spent++
	return true
}

// Frames of one sender that are handled in the long run: a few for each attempt
// that all its lanes can make, and a floor for links whose attempts are rare; and
// at once, in frames.
const (
	framesPerAttempt = 8
	framesPerNS      = 1e-5
	frameBurst       = 1 << 14
)

// newLimiter returns the limiter of the frames about a number of lanes.
func newLimiter(lanes int, period float64) limiter {
	return limiter{rate: framesPerNS + framesPerAttempt*float64(lanes)/period, burst: frameBurst}
}
