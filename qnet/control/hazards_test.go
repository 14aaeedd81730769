package control_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/control"
)

// A datagram arrives exactly Delay after it was sent, and never within the call.
func TestDelay(t *testing.T) {
	for _, delay := range []time.Duration{0, 1, 10 * time.Microsecond, time.Hour} {
		w, a, b := pairOf(t, control.LinkConfig{Delay: delay}, control.Config{})
		if err := w.loop.RunFor(5); err != nil {
			t.Fatal(err)
		}
		a.send(bob, note{typ: typ0, N: 7})
		e := a.open(bob, note{typ: typ0})
		if len(b.datagrams) != 0 || len(b.ends) != 0 {
			t.Fatal("delivered within the call that sent it")
		}
		if w.net.InFlight() != 2 {
			t.Errorf("%d messages in flight, want 2", w.net.InFlight())
		}
		w.rest()
		if len(b.at) != 1 || b.at[0] != qnet.Time(5).Add(delay) || len(b.ends) != 1 {
			t.Errorf("delay %v: arrived at %v", delay, b.at)
		}
		e.shutdown(qnet.OK)
		w.rest()
		if w.net.Streams() != 0 {
			t.Errorf("%d streams at rest", w.net.Streams())
		}
	}
}

// What arrives at one instant, over any connection and in either class, arrives
// in the order in which it was sent.
func TestOrderAtOneInstant(t *testing.T) {
	w := newWorld(t, control.Config{})
	w.connect(alice, charlie, control.LinkConfig{Delay: 5})
	w.connect(bob, charlie, control.LinkConfig{Delay: 3})
	a, b := w.start(alice, nil), w.start(bob, nil)
	w.start(charlie, nil)
	w.rest()
	sa, sb := a.open(charlie, note{typ: typ0}), b.open(charlie, note{typ: typ0})
	w.rest()
	w.log = nil
	// All of this arrives at t+5.
	a.send(charlie, note{typ: typ0, N: 1})
	sa.s.Send(&note{typ: typ0, N: 2})
	a.send(charlie, note{typ: typ0, N: 3})
	w.loop.After(2, func() {
		sb.s.Send(&note{typ: typ0, N: 4})
		b.send(charlie, note{typ: typ0, N: 5})
	})
	w.rest()
	var got []string
	for _, line := range w.log {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+f[2]+" "+f[len(f)-1])
	}
	at := fmt.Sprint(int64(w.loop.Now()))
	want := []string{"datagram 30020100", "message 30020200", "datagram 30020300", "message 30020400", "datagram 30020500"}
	for i := range want {
		want[i] = at + " " + want[i]
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// within reports whether count is within 6 standard deviations of that of a
// binomial distribution: a false alarm has probability 2e-9.
func within(count, n int, p float64) bool {
	return math.Abs(float64(count)-float64(n)*p) <= 6*math.Sqrt(float64(n)*p*(1-p))
}

// Loss and duplication are independent with the given probabilities; the seeds
// are fixed.
func TestLossAndDuplication(t *testing.T) {
	const n = 100_000
	link := control.LinkConfig{Delay: 10, Loss: 0.1, Duplicate: 0.03}
	w, a, b := pairOf(t, link, control.Config{Seed: 3})
	for i := range uint64(n) {
		a.send(bob, note{typ: typ0, N: i})
		b.send(alice, note{typ: typ0, N: i})
	}
	w.rest()
	lostAt := make(map[qnet.NodeID][]bool)
	for _, h := range []*host{a, b} {
		copies := make([]int, n)
		for _, m := range h.datagrams {
			copies[m.N]++
		}
		lost, twice, pairs := 0, 0, 0
		for i, c := range copies {
			lostAt[h.id] = append(lostAt[h.id], c == 0)
			switch c {
			case 0:
				lost++
				if i > 0 && copies[i-1] == 0 {
					pairs++
				}
			case 2:
				twice++
			case 1:
			default:
				t.Fatalf("%d copies of one datagram", c)
			}
		}
		if !within(lost, n, link.Loss) || !within(twice, n-lost, link.Duplicate) || !within(pairs, n-1, link.Loss*link.Loss) {
			t.Errorf("at %s: %d lost, %d after another, %d of the rest twice", names[h.id], lost, pairs, twice)
		}
	}
	both := 0
	for i := range n {
		if lostAt[alice][i] && lostAt[bob][i] {
			both++
		}
	}
	if !within(both, n, link.Loss*link.Loss) {
		t.Errorf("%d lost in both directions: the directions are not independent", both)
	}
}

// Jitter is uniform over [0, Jitter]; a reordered datagram is late by a uniform
// time up to ReorderBy.
func TestJitterAndReordering(t *testing.T) {
	const n = 50_000
	const delay, jitter, late = 1000, 400, 100_000
	w, a, b := pairOf(t, control.LinkConfig{Delay: delay, Jitter: jitter, Reorder: 0.2, ReorderBy: late}, control.Config{Seed: 4})
	start := w.loop.Now()
	for i := range uint64(n) {
		a.send(bob, note{typ: typ0, N: i})
	}
	w.rest()
	var onTime, under int
	var sum float64
	for _, at := range b.at {
		d := at.Sub(start)
		if d < delay || d > delay+jitter+late {
			t.Fatalf("a datagram took %d", d)
		}
		if d <= delay+jitter {
			onTime++
			if d < delay+jitter/2 {
				under++
			}
		} else {
			sum += float64(d)
		}
	}
	// A reordered one is among the others by chance: its lateness and jitter sum to
	// at most jitter with probability (jitter/2)/late, to first order.
	pOn := 0.8 + 0.2*jitter/2/late
	if len(b.at) != n || !within(onTime, n, pOn) {
		t.Errorf("%d of %d arrived, %d not reordered, want %.0f", len(b.at), n, onTime, n*pOn)
	}
	if !within(under, onTime, 0.5) {
		t.Errorf("%d of %d had less than half of the jitter", under, onTime)
	}
	// Mean of the rest: delay + jitter/2 + late/2, with the standard deviation
	// late/√12 of one; those counted as on time shift it by at most the jitter.
	late0 := n - onTime
	mean, want := sum/float64(late0), float64(delay+jitter/2)+late/2
	if math.Abs(mean-want) > 6*late/math.Sqrt(12*float64(late0))+jitter {
		t.Errorf("reordered datagrams took %.0f on average, want %.0f", mean, want)
	}
	if slices.IsSortedFunc(b.datagrams, func(x, y note) int { return int(x.N) - int(y.N) }) {
		t.Error("nothing was reordered")
	}
}

// Streams deliver everything once and in order whatever happens to datagrams.
func TestStreamsHaveNoHazards(t *testing.T) {
	const n = 2000
	w, a, b := pairOf(t, control.LinkConfig{Delay: 100, Jitter: 1000, Loss: 0.9, Duplicate: 0.9, Reorder: 0.9}, control.Config{Seed: 5})
	e := a.open(bob, note{typ: typ0})
	for i := range uint64(n) {
		w.loop.After(time.Duration(i*10), func() { e.s.Send(&note{typ: typ0, N: i + 1}) })
	}
	w.loop.After(n*10, func() { e.shutdown(qnet.OK) })
	w.rest()
	got := b.ends[0]
	if len(got.msgs) != n+1 || got.closed != 1 || got.err != nil || w.net.Streams() != 0 {
		t.Fatalf("%d messages, %d ends, %v", len(got.msgs), got.closed, got.err)
	}
	for i, m := range got.msgs {
		if m.N != uint64(i) {
			t.Fatalf("message %d is number %d", i, m.N)
		}
	}
}
