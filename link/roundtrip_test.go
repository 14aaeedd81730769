package link

import (
	"testing"
	"time"
)

// The time that is waited for an answer, by hand after RFC 6298: at first half of a
// round trip is its deviation, 4 of which are added; then each moves the deviation by
// a quarter and the mean by an eighth.
func TestRoundTrip(t *testing.T) {
	const most = 20 * time.Millisecond
	var r roundTrip
	if got := r.wait(0, most); got != most {
		t.Errorf("before any answer: %v, want %v", got, most)
	}
	for _, c := range []struct{ took, mean, wait time.Duration }{
		{800 * time.Microsecond, 800 * time.Microsecond, 2400 * time.Microsecond},  // deviation 400
		{1600 * time.Microsecond, 900 * time.Microsecond, 2900 * time.Microsecond}, // 500
		{100 * time.Microsecond, 800 * time.Microsecond, 3100 * time.Microsecond},  // 575
	} {
		r.took(c.took)
		if got := r.wait(0, most); r.mean != c.mean || got != c.wait {
			t.Errorf("after %v: mean %v, wait %v, want %v and %v", c.took, r.mean, got, c.mean, c.wait)
		}
	}
	for range 200 { // the same each time: what is left is the granularity
		r.took(500 * time.Microsecond)
	}
	if got := r.wait(0, most); got < 600*time.Microsecond || got > 601*time.Microsecond {
		t.Errorf("after many of 500µs: %v, want 600µs", got)
	}
	for _, c := range []struct {
		again int
		want  time.Duration
	}{{1, 1200 * time.Microsecond}, {3, 4800 * time.Microsecond}, {12, 64 * most}, {1000, 64 * most}} {
		if got := r.wait(c.again, most); got < c.want || got > c.want+c.want/500 {
			t.Errorf("after %d times: %v, want %v", c.again, got, c.want)
		}
	}
	for range 200 {
		r.took(time.Hour)
	}
	if got := r.wait(0, most); got != most {
		t.Errorf("after an hour: %v, want no more than %v", got, most)
	}
}
