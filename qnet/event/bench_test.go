package event_test

import (
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
)

// BenchmarkTimers keeps 100,000 events pending: each one that runs schedules its
// successor after a random delay, and one in ten of all that are scheduled is
// cancelled before it runs. An operation is one event run.
func BenchmarkTimers(b *testing.B) {
	const pending = 100_000
	v := newVirtual(b)
	rng := qnet.NewRand(1, "timers")
	delays := make([]time.Duration, 1<<16) // drawn beforehand, so as not to measure the generator
	for i := range delays {
		delays[i] = time.Duration(rng.ExpFloat64() * 1e6)
	}
	var (
		n       int
		end     bool
		run     func()
		victims [pending / 10]event.Timer
	)
	schedule := func() event.Timer {
		n++
		return v.After(delays[n%len(delays)], run)
	}
	run = func() {
		if end || !b.Loop() {
			end = true
			schedule()
			return
		}
		schedule()
		if n%10 == 8 {
			victims[n/10%len(victims)].Stop()
			n++
			victims[n/10%len(victims)] = v.After(time.Hour, run)
		}
	}
	for i := range victims {
		victims[i] = v.After(time.Hour, run)
	}
	for range pending - len(victims) {
		schedule()
	}
	b.ReportAllocs()
	for !end {
		if err := v.RunFor(10 * time.Microsecond); err != nil { // some thousand events
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if v.Pending() != pending {
		b.Errorf("%d events pending, want %d: cancelled timers accumulate", v.Pending(), pending)
	}
}

// BenchmarkBaton has an application wait for a timer: two events, one hand-over
// to the application and one back.
func BenchmarkBaton(b *testing.B) {
	v := newVirtual(b)
	v.Go("app", func() {
		w := v.NewWaiter()
		b.ReportAllocs()
		for b.Loop() {
			v.After(1, w.Wake)
			if err := w.Wait(background); err != nil {
				b.Error(err)
				return
			}
		}
	})
	if err := v.Run(); err != nil {
		b.Error(err)
	}
}

// BenchmarkSleep has one application sleep while 1,000 others wait, each with a
// deadline of its own and all of them with one context of the standard library.
func BenchmarkSleep(b *testing.B) {
	v := newVirtual(b)
	end := false
	for range 1000 {
		v.Go("waiter", func() {
			ctx, cancel := event.WithTimeout(b.Context(), v, 1<<62)
			defer cancel()
			v.NewWaiter().Wait(ctx)
		})
	}
	v.Go("app", func() {
		b.ReportAllocs()
		for b.Loop() {
			if err := event.Sleep(background, v, 1); err != nil {
				b.Error(err)
				return
			}
		}
		end = true
	})
	for !end {
		if err := v.RunFor(1000); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPost posts a function to a real loop and waits until it has run.
func BenchmarkPost(b *testing.B) {
	r := newReal(b, event.RealConfig{})
	w := r.NewWaiter()
	wake := w.Wake
	b.ReportAllocs()
	for b.Loop() {
		r.Post(wake)
		if err := w.Wait(background); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCall is a whole call from an application to a real loop and back.
func BenchmarkCall(b *testing.B) {
	r := newReal(b, event.RealConfig{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Call(background, r, func(done func(int)) { done(1) }); err != nil {
			b.Fatal(err)
		}
	}
}
