package event_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
)

// wantTimeout checks a cause against every sentinel that it must answer to.
func wantTimeout(t testing.TB, err error, text string) {
	t.Helper()
	for _, target := range []error{qnet.ErrTimeout, os.ErrDeadlineExceeded, context.DeadlineExceeded} {
		if !errors.Is(err, target) {
			t.Errorf("%v is not %v", err, target)
		}
	}
	if err == nil || err.Error() != text {
		t.Errorf("error is %v, want %s", err, text)
	}
}

type key struct{}

func TestVirtualDeadline(t *testing.T) {
	v := newVirtual(t)
	outer := context.WithValue(background, key{}, "value")
	v.Go("app", func() {
		w := v.NewWaiter()
		must(t, event.Sleep(outer, v, 10))

		ctx, cancel := event.WithTimeout(outer, v, 5)
		if _, ok := ctx.Deadline(); ok || ctx.Err() != nil || context.Cause(ctx) != nil || ctx.Value(key{}) != "value" {
			t.Errorf("a new context: %v, %v", ctx.Err(), context.Cause(ctx))
		}
		wantTimeout(t, w.Wait(ctx), "timed out after 5ns")
		if v.Now() != 15 || ctx.Err() != context.DeadlineExceeded {
			t.Errorf("at %d: %v", v.Now(), ctx.Err())
		}
		wantTimeout(t, context.Cause(ctx), "timed out after 5ns")
		wantTimeout(t, w.Wait(ctx), "timed out after 5ns") // at once
		cancel()
		if ctx.Err() != context.DeadlineExceeded {
			t.Errorf("cancelled afterwards: %v", ctx.Err())
		}

		// Contexts derived from it, ours and others', follow.
		ctx, cancel = event.WithDeadline(outer, v, 20)
		child, cancelChild := context.WithCancel(context.WithValue(ctx, key{}, 1))
		grandchild, cancelGrandchild := event.WithTimeout(child, v, time.Hour)
		sibling, cancelSibling := event.WithDeadline(ctx, v, qnet.Never)
		v.Go("sibling", func() {
			wantTimeout(t, v.NewWaiter().Wait(sibling), "the deadline at 20ns has passed")
		})
		wantTimeout(t, w.Wait(grandchild), "the deadline at 20ns has passed")
		if v.Now() != 20 || sibling.Err() != context.DeadlineExceeded || context.Cause(child) != context.Cause(ctx) {
			t.Errorf("at %d: %v, %v, %v", v.Now(), ctx.Err(), child.Err(), grandchild.Err())
		}
		for _, f := range []func(){cancel, cancelChild, cancelGrandchild, cancelSibling} {
			f()
		}

		// Cancelled before its time, it is gone.
		ctx, cancel = event.WithTimeout(outer, v, 5)
		cancel()
		cancel()
		if err := w.Wait(ctx); err != context.Canceled || ctx.Err() != context.Canceled || v.Now() != 20 {
			t.Errorf("cancelled: %v at %d", err, v.Now())
		}

		// Passed already.
		ctx, cancel = event.WithTimeout(outer, v, -5)
		defer cancel()
		wantTimeout(t, w.Wait(ctx), "timed out after -5ns")
		if v.Now() != 20 || ctx.Err() != context.DeadlineExceeded {
			t.Errorf("at %d: %v", v.Now(), ctx.Err())
		}
	})
	must(t, v.Run())
	if v.Pending() != 0 {
		t.Errorf("%d timers are left", v.Pending())
	}
}

// TestVirtualCancellation has applications wait with contexts of each kind
// below one that another application or an event cancels, one at a time and all
// together: they must resume at that instant, in the order in which they began to
// wait.
func TestVirtualCancellation(t *testing.T) {
	type make func(v *event.Virtual) (context.Context, context.CancelFunc)
	var tidy []context.CancelFunc
	keep := func(ctx context.Context, cancel context.CancelFunc) context.Context {
		tidy = append(tidy, cancel)
		return ctx
	}
	defer func() {
		for _, cancel := range tidy {
			cancel()
		}
	}()
	loop := func(v *event.Virtual, parent context.Context) context.Context {
		return keep(event.WithTimeout(parent, v, time.Hour))
	}
	below := []func(v *event.Virtual, root context.Context) context.Context{
		func(v *event.Virtual, root context.Context) context.Context { return root },
		func(v *event.Virtual, root context.Context) context.Context { return context.WithValue(root, key{}, 1) },
		func(v *event.Virtual, root context.Context) context.Context { return keep(context.WithCancel(root)) },
		func(v *event.Virtual, root context.Context) context.Context { return loop(v, root) },
		func(v *event.Virtual, root context.Context) context.Context {
			return loop(v, keep(context.WithCancel(root)))
		},
		func(v *event.Virtual, root context.Context) context.Context { return loop(v, loop(v, root)) },
		func(v *event.Virtual, root context.Context) context.Context {
			return loop(v, context.WithValue(loop(v, keep(context.WithCancel(root))), key{}, 1))
		},
	}
	for name, root := range map[string]make{
		"std": func(v *event.Virtual) (context.Context, context.CancelFunc) {
			return context.WithCancel(background)
		},
		"loop": func(v *event.Virtual) (context.Context, context.CancelFunc) {
			return event.WithTimeout(background, v, time.Hour)
		},
		"std of loop": func(v *event.Virtual) (context.Context, context.CancelFunc) {
			return context.WithCancel(loop(v, background))
		},
		"loop of std": func(v *event.Virtual) (context.Context, context.CancelFunc) {
			return event.WithTimeout(t.Context(), v, time.Hour)
		},
	} {
		check := func(t *testing.T, byEvent bool, kinds ...int) {
			v := newVirtual(t)
			root, cancel := root(v)
			var got, want []string
			for i, kind := range kinds {
				ctx := below[kind](v, root)
				v.Go("waiter", func() {
					must(t, event.Sleep(background, v, time.Duration(len(kinds)-i)))
					if err := v.NewWaiter().Wait(ctx); err != context.Canceled {
						t.Errorf("cause is %v", err)
					}
					got = append(got, fmt.Sprintf("%d: %d", v.Now(), kind))
				})
				want = append([]string{fmt.Sprintf("50: %d", kind)}, want...)
			}
			if byEvent {
				v.At(50, cancel)
			} else {
				v.Go("canceller", func() {
					must(t, event.Sleep(background, v, 50))
					cancel()
					got = append(got, "cancelled")
				})
				want = append([]string{"cancelled"}, want...)
			}
			must(t, v.RunUntil(100))
			if !slices.Equal(got, want) {
				t.Errorf("by an event: %v: order is %q, want %q", byEvent, got, want)
			}
		}
		t.Run(name, func(t *testing.T) {
			for _, byEvent := range []bool{false, true} {
				for kind := range below {
					check(t, byEvent, kind)
				}
				check(t, byEvent, 0, 1, 2, 3, 4, 5, 6)
				check(t, byEvent, 6, 5, 4, 3, 2, 1, 0)
			}
		})
	}
}

// TestVirtualWatched: what each event costs grows with the number of contexts
// of others that applications wait with, not with that of the loop's own.
func TestVirtualWatched(t *testing.T) {
	v := newVirtual(t)
	outer, cancelOuter := event.WithTimeout(t.Context(), v, time.Hour)
	defer cancelOuter()
	for range 100 {
		v.Go("app", func() {
			ctx, cancel := event.WithTimeout(outer, v, time.Hour)
			defer cancel()
			ctx, cancel = event.WithTimeout(ctx, v, time.Minute)
			defer cancel()
			wantTimeout(t, v.NewWaiter().Wait(ctx), "timed out after 1m0s")
			ctx, cancel = event.WithTimeout(background, v, time.Minute)
			defer cancel()
			wantTimeout(t, v.NewWaiter().Wait(ctx), "timed out after 1m0s")
		})
	}
	must(t, v.RunFor(time.Second))
	if n := v.Watched(); n != 1 {
		t.Errorf("%d contexts are watched, want that of the test only", n)
	}
	must(t, v.RunFor(time.Minute))
	if n := v.Watched(); n != 0 {
		t.Errorf("%d contexts are watched, want none", n)
	}
	must(t, v.Run())
}

// TestVirtualCancelOutside is for the race detector: a cancel function may be
// called on any goroutine.
func TestVirtualCancelOutside(t *testing.T) {
	v := newVirtual(t)
	ctx, cancel := event.WithTimeout(background, v, qnet.Never.Sub(0)-1)
	v.Go("waiter", func() {
		if err := v.NewWaiter().Wait(ctx); err != context.Canceled {
			t.Error(err)
		}
	})
	v.Go("app", func() {
		for ctx.Err() == nil {
			must(t, event.Sleep(background, v, 1))
		}
	})
	for range 3 {
		go cancel()
	}
	must(t, v.Run())
}

func TestVirtualSleep(t *testing.T) {
	v := newVirtual(t)
	v.Go("app", func() {
		must(t, event.Sleep(background, v, time.Hour))
		must(t, event.Sleep(background, v, -time.Hour))
		if v.Now() != qnet.Time(time.Hour) {
			t.Errorf("slept until %v", v.Now())
		}
		ctx, cancel := event.WithTimeout(background, v, time.Minute)
		defer cancel()
		wantTimeout(t, event.Sleep(ctx, v, time.Hour), "timed out after 1m0s")
		if v.Now() != qnet.Time(time.Hour+time.Minute) {
			t.Errorf("slept until %v", v.Now())
		}
	})
	must(t, v.Run())
	if v.Pending() != 0 {
		t.Errorf("%d timers are left", v.Pending())
	}
}

func TestVirtualCall(t *testing.T) {
	v := newVirtual(t)
	v.Go("app", func() {
		got, err := event.Call(background, v, func(done func(int)) {
			v.After(5, func() { done(1); done(2) })
			v.After(7, func() { done(3) })
		})
		if got != 1 || err != nil || v.Now() != 5 {
			t.Errorf("Call = %v, %v at %v", got, err, v.Now())
		}
		got, err = event.Call(background, v, func(done func(int)) { done(4) })
		if got != 4 || err != nil {
			t.Errorf("Call = %v, %v", got, err)
		}

		ctx, cancel := event.WithTimeout(background, v, 10)
		defer cancel()
		var discarded []int
		got, err = event.CallOrDiscard(ctx, v, func(done func(int)) {
			v.After(11, func() { done(5); done(6) })
		}, func(x int) { discarded = append(discarded, x) })
		if got != 0 || v.Now() != 15 {
			t.Errorf("Call = %v at %v", got, v.Now())
		}
		wantTimeout(t, err, "timed out after 10ns")
		must(t, event.Sleep(background, v, 10))
		if !slices.Equal(discarded, []int{5}) {
			t.Errorf("discarded %v, want the result that came too late", discarded)
		}
		_, err = event.Call(ctx, v, func(func(int)) { t.Error("started after the deadline") })
		wantTimeout(t, err, "timed out after 10ns")

		// A result that comes at the instant of the deadline is not lost.
		ctx, cancel = event.WithTimeout(background, v, 10)
		defer cancel()
		got, err = event.Call(ctx, v, func(done func(int)) { v.After(10, func() { done(7) }) })
		if got != 7 || err != nil {
			t.Errorf("Call = %v, %v", got, err)
		}
	})
	must(t, v.Run())
}
