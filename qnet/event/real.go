package event

import (
	"context"
	"errors"
	"math"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"qstack/qnet"
)

// RealConfig says how a Real loop keeps time.
type RealConfig struct {
	// Dilation is the number of real seconds that one second of the loop takes: 2
	// runs the network at half speed. It must be positive and finite; anything
	// else, such as the zero value, means 1.
	Dilation float64
	// Start is the loop's instant at the moment when NewReal is called.
	Start qnet.Time
}

// Real is an event loop on the monotonic clock, with one goroutine that runs all
// events. When nothing is to be done it sleeps. Applications are goroutines like
// any other, and may use whatever they like.
//
// Timers are as fine as the operating system's, which is about a millisecond;
// events never run early. A panic of an event or an application ends the
// process.
type Real struct {
	dilation float64
	start    qnet.Time
	base     time.Time // when the clock showed start

	queue queue        // used by the loop only
	now   atomic.Int64 // instant of the event being run, asleep if none is
	apps  sync.WaitGroup
	wake  chan struct{} // ends a sleep
	quit  chan struct{} // closed by Close
	done  chan struct{} // closed at the end of the loop

	mu       sync.Mutex // guards the rest
	closed   bool
	sleeping bool
	inbox    []func()
}

// asleep stands for the instant of no event.
const asleep = math.MinInt64

// NewReal starts a loop. It must be closed.
func NewReal(c RealConfig) *Real {
	r := &Real{
		dilation: c.Dilation,
		start:    c.Start,
		base:     time.Now(),
		wake:     make(chan struct{}, 1),
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	if !(r.dilation > 0) || math.IsInf(r.dilation, 0) {
		r.dilation = 1
	}
	r.now.Store(asleep)
	go r.loop()
	return r
}

// Now returns the instant of the event being run or, if there is none, the
// present. Unlike the other methods of Scheduler it may be called from any
// goroutine.
func (r *Real) Now() qnet.Time {
	if t := r.now.Load(); t != asleep {
		return qnet.Time(t)
	}
	return r.clock()
}

// At implements Scheduler.
func (r *Real) At(t qnet.Time, f func()) Timer {
	if t == qnet.Never {
		return Timer{}
	}
	return r.queue.push(t, f)
}

// After implements Scheduler.
func (r *Real) After(d time.Duration, f func()) Timer {
	return r.At(r.Now().Add(max(d, 0)), f)
}

// Virtual returns false.
func (r *Real) Virtual() bool { return false }

// Post implements Loop. There is no limit to what may be posted: who posts must
// bound what it has under way, or drop what it can while Backlog is long.
func (r *Real) Post(f func()) bool {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return false
	}
	r.inbox = append(r.inbox, f)
	wake := r.sleeping
	r.sleeping = false
	r.mu.Unlock()
	if wake {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// Backlog returns how many posted functions the loop has not taken up yet. It
// may be called from any goroutine.
func (r *Real) Backlog() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.inbox)
}

// Go implements Loop. The name becomes the value of the label "application" in
// the process's profiles.
func (r *Real) Go(name string, f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.apps.Go(func() {
		pprof.Do(context.Background(), pprof.Labels("application", name), func(context.Context) { f() })
	})
}

// Wait blocks until all applications have returned. It must not be called by one
// of them.
func (r *Real) Wait() { r.apps.Wait() }

// Close ends the loop when the event being run is done, drops all others, and
// gives qnet.ErrClosed to applications that wait. It does not wait for these to
// return: see Wait. It may be called more than once, but never by an event, for
// which it would wait.
func (r *Real) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.quit)
	}
	r.mu.Unlock()
	<-r.done
	return nil
}

// loop is the goroutine that runs the events: all that were posted, then all
// that are due, and again.
func (r *Real) loop() {
	defer r.end() // also when an event ends the goroutine with runtime.Goexit
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	var batch []func()
	for {
		r.mu.Lock()
		batch, r.inbox = r.inbox, batch[:0]
		r.sleeping = false
		r.mu.Unlock()
		for i, f := range batch {
			if !r.run(f) {
				return
			}
			batch[i] = nil
		}
		started := r.clock() // what is due later is for the next round
		for {
			if t, ok := r.queue.next(); !ok || t > started {
				break
			}
			_, f := r.queue.pop()
			if !r.run(f) {
				return
			}
		}
		if !r.idle(alarm) {
			return
		}
	}
}

// run runs one event, unless the loop has been closed.
func (r *Real) run(f func()) bool {
	select {
	case <-r.quit:
		return false
	default:
	}
	r.now.Store(int64(r.clock()))
	f()
	return true
}

// idle waits until there may be something to do. It returns false when the loop
// has been closed.
func (r *Real) idle(alarm *time.Timer) bool {
	var due <-chan time.Time
	if t, ok := r.queue.next(); ok {
		alarm.Reset(time.Until(r.wall(t)))
		due = alarm.C
	}
	r.mu.Lock()
	r.sleeping = len(r.inbox) == 0
	sleeping := r.sleeping
	r.mu.Unlock()
	if !sleeping {
		return true
	}
	r.now.Store(asleep)
	select {
	case <-r.wake:
	case <-due:
	case <-r.quit:
		return false
	}
	return true
}

// end makes the loop deaf.
func (r *Real) end() {
	r.mu.Lock()
	r.closed = true
	r.inbox = nil
	r.mu.Unlock()
	r.now.Store(asleep)
	close(r.done)
}

// clock returns the present.
func (r *Real) clock() qnet.Time {
	d := time.Since(r.base)
	if r.dilation != 1 {
		d = time.Duration(float64(d) / r.dilation)
	}
	return r.start.Add(d)
}

// wall returns the earliest moment at which the clock is not before t.
func (r *Real) wall(t qnet.Time) time.Time {
	d := t.Sub(r.start)
	if r.dilation != 1 {
		x := math.Ceil(float64(d) * r.dilation)
		d = time.Duration(min(x, float64(maxSleep)))
	}
	return r.base.Add(d)
}

// maxSleep is far enough for any timer, and is not rounded as a float64.
const maxSleep = time.Duration(1 << 62)

// realWaiter is a place for one goroutine to wait.
type realWaiter struct {
	woken chan struct{} // holds at most one wake
	done  chan struct{} // of the loop
}

// NewWaiter implements Loop.
func (r *Real) NewWaiter() Waiter {
	return &realWaiter{woken: make(chan struct{}, 1), done: r.done}
}

// Wait implements Waiter. It may be called on any goroutine but the loop's.
func (w *realWaiter) Wait(ctx context.Context) error {
	err := errClosed
	select {
	case <-w.woken:
		return nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-w.done:
	}
	select { // the wake counts, if there is one as well
	case <-w.woken:
		return nil
	default:
		return err
	}
}

// Wake implements Waiter.
func (w *realWaiter) Wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

func (r *Real) withDeadline(ctx context.Context, t qnet.Time, cause error) (context.Context, context.CancelFunc) {
	if t == qnet.Never {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, r.wall(t), cause)
}

var errSlept = errors.New("event: slept")

func (r *Real) sleep(ctx context.Context, d time.Duration) error {
	ctx, cancel := r.withDeadline(ctx, r.Now().Add(d), errSlept)
	defer cancel()
	if err := r.NewWaiter().Wait(ctx); err != errSlept {
		return err
	}
	return nil
}
