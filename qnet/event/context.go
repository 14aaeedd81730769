package event

import (
	"context"
	"time"

	"qstack/qnet"
)

// WithTimeout returns a child of ctx that is done after d in the time of l, for
// a cause that is qnet.ErrTimeout, os.ErrDeadlineExceeded and
// context.DeadlineExceeded to errors.Is. Like context.WithTimeout it wants the
// cancel function called when the work is done.
//
// In virtual time call it where the methods of Scheduler may be called; the
// cancel function may be called anywhere. The context then has no wall-clock
// deadline, so its Deadline method reports that of ctx. When it is done, an
// application that waits with it, or with any context derived from it,
// resumes at that very instant, in a defined order: see Virtual. The same goes
// for contexts that the standard library derives and cancels.
func WithTimeout(ctx context.Context, l Loop, d time.Duration) (context.Context, context.CancelFunc) {
	return l.withDeadline(ctx, l.Now().Add(d), qnet.Errorf(qnet.ErrTimeout, "timed out after %v", d))
}

// WithDeadline is like WithTimeout, with the instant of the deadline. The child
// has none if t is qnet.Never.
func WithDeadline(ctx context.Context, l Loop, t qnet.Time) (context.Context, context.CancelFunc) {
	return l.withDeadline(ctx, t, qnet.Errorf(qnet.ErrTimeout, "the deadline at %v has passed", t))
}

// Sleep blocks an application for d in the time of l, or until ctx is done: then
// it returns the cause of ctx.
func Sleep(ctx context.Context, l Loop, d time.Duration) error { return l.sleep(ctx, d) }

// deadline is a context with a deadline in virtual time.
type deadline struct {
	context.Context // made by context.WithCancelCause from parent
	parent          context.Context
	cancel          context.CancelCauseFunc
	cause           error // if it is the deadline that ended it
	v               *Virtual
	up              *deadline // the nearest ancestor of the same loop
	timer           Timer
	waiting         int // parked applications to look at when it is done
}

// deadlineKey is the key of the nearest deadline in a context.
type deadlineKey struct{ v *Virtual }

func (v *Virtual) withDeadline(parent context.Context, t qnet.Time, cause error) (context.Context, context.CancelFunc) {
	d := &deadline{parent: parent, cause: cause, v: v}
	d.up, _ = parent.Value(deadlineKey{v}).(*deadline)
	d.Context, d.cancel = context.WithCancelCause(parent)
	if t <= v.now {
		d.cancel(cause)
	} else {
		d.timer = v.At(t, func() {
			d.cancel(cause)
			v.recheck = v.recheck || d.waiting > 0
		})
	}
	return d, d.stop
}

// stop is the cancel function.
func (d *deadline) stop() {
	d.cancel(nil)
	d.v.mu.Lock()
	defer d.v.mu.Unlock()
	if !d.v.closed {
		d.v.cancelled = append(d.v.cancelled, d)
		d.v.posted.Store(true)
	}
}

// Err returns context.DeadlineExceeded after a deadline of the loop has passed,
// where the embedded context knows only that it was cancelled.
func (d *deadline) Err() error {
	err := d.Context.Err()
	if err == nil {
		return nil
	}
	cause := context.Cause(d.Context)
	for ; d != nil; d = d.up {
		if cause == d.cause {
			return context.DeadlineExceeded
		}
	}
	return err
}

// Value returns the deadline itself for the key of its loop.
func (d *deadline) Value(key any) any {
	if key == (deadlineKey{d.v}) {
		return d
	}
	return d.Context.Value(key)
}
