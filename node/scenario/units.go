package scenario

import (
	"math"
	"time"
)

// maxDuration is the longest duration of a scenario.
const maxDuration = 24 * time.Hour

// duration converts seconds, rounded to a nanosecond.
func duration(seconds float64) (d time.Duration, problem string) {
	switch ns := math.Round(seconds * 1e9); {
	case seconds < 0:
		return 0, "must not be negative"
	case seconds > maxDuration.Seconds():
		return 0, "must be at most 24 h"
	case ns == 0 && seconds > 0:
		return 0, "must be at least 1 ns, the resolution of time, or 0"
	default:
		return time.Duration(ns), ""
	}
}
