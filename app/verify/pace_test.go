package verify

import (
	"math"
	"slices"
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qsocket"
)

// The wall-clock time of a request is shared among its pairs, in proportion to
// their emulated intervals; between requests nothing is counted.
func TestPace(t *testing.T) {
	var at []qnet.Time
	for i := range chunk {
		at = append(at, qnet.Time(i*1000))
	}
	at = append(at, 5e9+3000, 5e9, 5e9+1000, 5e9+1000) // lanes in turn
	var p pace
	p.add(&measured{Outcomes: qsocket.Outcomes{At: at}, wall: []time.Duration{chunk * 4 * time.Microsecond, 8 * time.Microsecond}})
	if len(p.emulated) != chunk+2 || len(p.wall) != chunk+2 || p.requests != 2 {
		t.Fatalf("%d and %d intervals of %d requests", len(p.emulated), len(p.wall), p.requests)
	}
	for i := range chunk - 1 {
		if p.emulated[i] != time.Microsecond || p.wall[i] != 4*time.Microsecond {
			t.Fatalf("interval %d is %v, %v by the wall clock", i, p.emulated[i], p.wall[i])
		}
	}
	if got, want := p.emulated[chunk-1:], (intervals{1000, 0, 2000}); !slices.Equal(got, want) {
		t.Errorf("intervals of the second request %v, want %v", got, want)
	}
	if got, want := p.wall[chunk-1:], (intervals{2000, 0, 4000}); !slices.Equal(got, want) {
		t.Errorf("wall-clock intervals of the second request %v, want %v", got, want)
	}
	if got, want := p.wall.rate(), 0.25e6; math.Abs(got/want-1) > 1e-4 {
		t.Errorf("%v pairs/s by the wall clock, want about %v", got, want)
	}
	if l := p.emulated.latency(); l.P50 != 1e-3 || l.P99 != 1e-3 {
		t.Errorf("latency %+v ms", l)
	}
}
