// Package event is the stack's notion of time and order: one event loop runs
// every protocol of a node (in real time) or of a whole network (in virtual
// time), one event after the other.
//
// Protocol code sees the Scheduler only, so it can neither block nor read a
// clock. Application code is ordinary blocking Go in both worlds: it runs in
// goroutines started with Loop.Go and waits through a Waiter. In virtual time at
// most one such goroutine runs at once; the loop hands it a baton, takes it back
// when it waits, and moves the clock only when all of them wait.
//
// NewVirtual makes the loop whose clock jumps from event to event, NewReal the
// one on the monotonic clock. Blocking calls are built from a Waiter or, more
// simply, with Call; deadlines in the loop's own time are made by WithTimeout and
// WithDeadline.
package event

import (
	"context"
	"time"

	"qstack/qnet"
)

// Scheduler is what a protocol needs of its loop. Its methods may be called on
// the loop only, that is from a function that the loop itself runs (or, in
// virtual time, from the application goroutine that holds the baton).
type Scheduler interface {
	// Now returns the instant of the event being run.
	Now() qnet.Time
	// At runs f at t, or as soon as possible when t has passed. Events at one
	// instant run in the order in which they were scheduled. At qnet.Never
	// schedules nothing.
	At(t qnet.Time, f func()) Timer
	// After runs f after d. A negative d counts as 0.
	After(d time.Duration, f func()) Timer
}

// Loop is an event loop and the applications on it: a Virtual or a Real, perhaps
// embedded in something else.
type Loop interface {
	Scheduler

	// Post runs f on the loop as soon as possible. It may be called from any
	// goroutine, never blocks, and keeps the order of calls of one caller. After
	// the loop has closed f is dropped and Post reports false.
	Post(f func()) bool
	// Go starts f as an application goroutine. It may be called from any
	// goroutine; after the loop has closed it does nothing. name says in
	// diagnostics what it is, together with where Go was called: the nearest caller
	// that is not itself a function called Go.
	Go(name string, f func())
	// NewWaiter returns a place for one application goroutine to wait at.
	NewWaiter() Waiter
	// Virtual reports whether the loop's clock is virtual.
	Virtual() bool

	// withDeadline returns a child of ctx that is done for the given cause at t in
	// the loop's time.
	withDeadline(ctx context.Context, t qnet.Time, cause error) (context.Context, context.CancelFunc)
	sleep(ctx context.Context, d time.Duration) error
}

// Waiter parks one application goroutine until it is woken.
type Waiter interface {
	// Wait blocks until Wake is called, or was called since the last Wait, or
	// until ctx is done; then it returns the cause of ctx. Where both hold, the
	// wake counts. When the loop closes Wait returns qnet.ErrClosed. In virtual
	// time ctx must carry no wall-clock deadline (use WithTimeout), and Wait may be
	// called only from a goroutine started with Loop.Go: anything else is an error
	// that says so.
	Wait(ctx context.Context) error
	// Wake releases the waiting goroutine. In virtual time it may be called where
	// the methods of Scheduler may, in the real world from any goroutine. It never
	// blocks.
	Wake()
}
