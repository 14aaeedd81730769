package event_test

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
)

// newReal returns a loop that is closed at the end of the test, by when all its
// applications must have come to an end.
func newReal(t testing.TB, c event.RealConfig) *event.Real {
	r := event.NewReal(c)
	t.Cleanup(func() {
		must(t, r.Close())
		r.Wait()
	})
	return r
}

// onLoop runs f on the loop and waits until done has been called.
func onLoop(r *event.Real, f func(done func())) {
	c := make(chan struct{})
	r.Post(func() { f(func() { close(c) }) })
	<-c
}

func TestRealPostOrder(t *testing.T) {
	r := newReal(t, event.RealConfig{})
	const posters, each = 4, 10_000
	var next [posters]int // used on the loop only
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				ok := r.Post(func() {
					if next[p] != i {
						t.Errorf("post %d of %d came as number %d", i, p, next[p])
					}
					next[p]++
				})
				if !ok {
					t.Error("refused")
				}
			}
		})
	}
	wg.Wait()
	onLoop(r, func(done func()) {
		for p, n := range next {
			if n != each {
				t.Errorf("%d of %d posts of %d ran", n, each, p)
			}
		}
		done()
	})
	if n := r.Backlog(); n != 0 {
		t.Errorf("backlog %d at rest", n)
	}
}

func TestRealTimers(t *testing.T) {
	r := newReal(t, event.RealConfig{Start: 1000 * qnet.Time(time.Second)})
	var got []int
	onLoop(r, func(done func()) {
		now := r.Now()
		at := func(i int, d time.Duration) event.Timer {
			return r.At(now.Add(d), func() {
				if r.Now() < now.Add(d) {
					t.Errorf("event at %v ran at %v", now.Add(d), r.Now())
				}
				got = append(got, i)
			})
		}
		at(3, 3*time.Millisecond)
		at(1, time.Millisecond)
		stopped := at(99, 2*time.Millisecond)
		at(4, 3*time.Millisecond)
		at(2, 2*time.Millisecond)
		at(0, -time.Hour)
		r.At(qnet.Never, func() { t.Error("never came") })
		r.After(math.MaxInt64-time.Duration(now)-1, func() { t.Error("the end of time came") })
		at(5, 4*time.Millisecond)
		r.After(5*time.Millisecond, done)
		if !stopped.Stop() || stopped.Stop() {
			t.Error("Stop of a pending event")
		}
	})
	if want := []int{0, 1, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("order is %v, want %v", got, want)
	}
}

func TestRealClock(t *testing.T) {
	const start = qnet.Time(time.Hour)
	for _, k := range []float64{0, 1, 1e-3, 2.5, 1000, -1, math.NaN(), math.Inf(1)} {
		before := time.Now()
		r := newReal(t, event.RealConfig{Dilation: k, Start: start})
		after := time.Now()
		var now qnet.Time
		onLoop(r, func(done func()) {
			now = r.Now()
			for began := time.Now(); time.Since(began) < time.Millisecond; {
			}
			if r.Now() != now {
				t.Error("the clock moved during an event")
			}
			done()
		})
		if now < start {
			t.Errorf("dilation %v: the first event is at %v, before the start", k, now)
		}
		for r.Now() == now { // the loop may not have left the event yet
			runtime.Gosched()
		}
		time.Sleep(time.Millisecond)
		if !(k > 0) || math.IsInf(k, 0) {
			k = 1
		}
		least := float64(time.Since(after)) / k
		now = r.Now() // from outside
		most := float64(time.Since(before)) / k
		if d := float64(now.Sub(start)); d < math.Floor(least) || d > most {
			t.Errorf("dilation %v: the clock is at %v, should be within [%v, %v]", k, d, least, most)
		}
	}
}

// TestRealDilation passes an hour in a few milliseconds.
func TestRealDilation(t *testing.T) {
	r := newReal(t, event.RealConfig{Dilation: 1e-6})
	must(t, event.Sleep(background, r, time.Hour))
	if now := r.Now(); now < qnet.Time(time.Hour) {
		t.Errorf("an hour later it is %v", now)
	}
	ctx, cancel := event.WithTimeout(background, r, time.Hour)
	defer cancel()
	wantTimeout(t, event.Sleep(ctx, r, 1000*time.Hour), "timed out after 1h0m0s")
	ctx, cancel = event.WithDeadline(background, r, 1)
	defer cancel()
	wantTimeout(t, r.NewWaiter().Wait(ctx), "the deadline at 1ns has passed")
	ctx, cancel = event.WithDeadline(background, r, qnet.Never)
	cancel()
	if err := r.NewWaiter().Wait(ctx); err != context.Canceled {
		t.Error(err)
	}
}

func TestRealWaiter(t *testing.T) {
	r := newReal(t, event.RealConfig{})
	w := r.NewWaiter()
	w.Wake()
	w.Wake()
	ctx, cancel := context.WithCancel(background)
	cancel()
	for range 100 { // a wake counts more than ctx, not now and then but always
		w.Wake()
		must(t, w.Wait(ctx))
	}
	if err := w.Wait(ctx); err != context.Canceled {
		t.Error(err)
	}

	// Two applications pass a ball through the loop.
	w2 := r.NewWaiter()
	r.Go("ping", func() {
		for range 1000 {
			r.Post(w2.Wake)
			must(t, w.Wait(background))
		}
	})
	r.Go("pong", func() {
		for range 1000 {
			must(t, w2.Wait(background))
			w.Wake()
		}
	})
	r.Wait()
}

func TestRealCall(t *testing.T) {
	r := newReal(t, event.RealConfig{})
	got, err := event.Call(background, r, func(done func(string)) {
		r.After(time.Millisecond, func() { done("first"); done("second") })
	})
	if got != "first" || err != nil {
		t.Errorf("Call = %q, %v", got, err)
	}

	// Each result reaches the caller or is discarded, whoever wins the race.
	var started, kept, discarded int
	for range 1000 {
		ctx, cancel := context.WithCancel(background)
		go cancel()
		x, err := event.CallOrDiscard(ctx, r, func(done func(int)) {
			started++
			done(1)
		}, func(x int) { discarded += x })
		if kept += x; (err == nil) != (x == 1) {
			t.Errorf("Call = %d, %v", x, err)
		}
	}
	onLoop(r, func(done func()) {
		if started != kept+discarded {
			t.Errorf("of %d results %d were returned and %d discarded", started, kept, discarded)
		}
		done()
	})
}

func TestRealClose(t *testing.T) {
	r := event.NewReal(event.RealConfig{})
	w := r.NewWaiter()
	r.Go("app", func() {
		wantCode(t, w.Wait(background), qnet.ErrClosed)
		_, err := event.Call(background, r, func(func(int)) { t.Error("ran") })
		wantCode(t, err, qnet.ErrClosed)
	})
	entered, leave := make(chan struct{}), make(chan struct{})
	r.Post(func() { close(entered); <-leave })
	<-entered
	r.Post(func() { t.Error("ran after Close") })
	closed := make(chan struct{})
	go func() {
		must(t, r.Close())
		close(closed)
	}()
	for r.Post(func() {}) {
		runtime.Gosched()
	}
	select {
	case <-closed:
		t.Error("Close did not wait for the event")
	default:
	}
	close(leave)
	<-closed
	r.Wait()
	must(t, r.Close())
	r.Go("late", func() { t.Error("ran after Close") })
	r.Wait()
}

// TestRealEventExits has an event end the loop's goroutine, as
// testing.T.FailNow does: nobody may hang for it.
func TestRealEventExits(t *testing.T) {
	r := newReal(t, event.RealConfig{})
	r.Post(func() { runtime.Goexit() })
	wantCode(t, r.NewWaiter().Wait(background), qnet.ErrClosed)
	if r.Post(func() {}) {
		t.Error("the dead loop takes events")
	}
}

// TestRealConcurrency is for the race detector: posts, timers, sleeps, calls and
// cancellation from many goroutines at once.
func TestRealConcurrency(t *testing.T) {
	r := newReal(t, event.RealConfig{Dilation: 0.1})
	n := 0 // used on the loop only
	const apps, each = 8, 100
	for range apps {
		r.Go("app", func() {
			for range each {
				ctx, cancel := event.WithTimeout(background, r, time.Hour)
				_, err := event.Call(ctx, r, func(done func(struct{})) {
					timer := r.After(time.Hour, func() { t.Error("an hour has passed") })
					r.After(time.Microsecond, func() {
						n++
						timer.Stop()
						done(struct{}{})
					})
				})
				must(t, err)
				cancel()
				r.Now()
				r.Backlog()
			}
		})
	}
	r.Wait()
	onLoop(r, func(done func()) {
		if n != apps*each {
			t.Errorf("counted %d, want %d", n, apps*each)
		}
		done()
	})
}
