package qnet

import (
	"math"
	"time"
)

// Time is an instant of emulated time: nanoseconds since the epoch of the
// network (the start of its fabric). Its range is ±292 years.
type Time int64

// Never is later than every instant.
const Never Time = math.MaxInt64

// Add returns t+d, saturating at Never.
func (t Time) Add(d time.Duration) Time {
	if d > 0 && t > Never-Time(d) {
		return Never
	}
	return t + Time(d)
}

// Sub returns t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Seconds returns the instant in seconds since the epoch.
func (t Time) Seconds() float64 { return float64(t) * 1e-9 }

// String formats the instant as a duration since the epoch.
func (t Time) String() string {
	if t == Never {
		return "never"
	}
	return time.Duration(t).String()
}

// FibreSpeed is the speed of light in fibre in metres per second that links
// use unless a scenario says otherwise (refractive index 1.45).
const FibreSpeed = 206_753_000.0

// FibreDelay returns the propagation delay over length metres of fibre at
// speed metres per second.
func FibreDelay(length, speed float64) time.Duration {
	return time.Duration(math.Round(length / speed * 1e9))
}
