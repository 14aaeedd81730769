package event

import (
	"context"
	"sync/atomic"
)

// Call runs start on l and blocks the calling application until start, or an
// event that it leads to, has called done, whose argument it returns; or until
// ctx is done: then it returns the cause of ctx, and start may or may not have
// run. done is to be called on the loop; calls after the first are ignored.
//
// A result that comes after the caller has left is dropped. If it owns something,
// such as a qubit, use CallOrDiscard.
func Call[T any](ctx context.Context, l Loop, start func(done func(T))) (T, error) {
	return CallOrDiscard(ctx, l, start, func(T) {})
}

// CallOrDiscard is Call with a function that takes, on the loop, a result that
// came too late for the caller: either Call returns it or discard gets it.
func CallOrDiscard[T any](ctx context.Context, l Loop, start func(done func(T)), discard func(T)) (T, error) {
	const (
		waiting int32 = iota
		answered
		abandoned
	)
	var (
		zero, result T
		state        atomic.Int32
		called       bool // used on the loop only
		w            = l.NewWaiter()
	)
	if ctx.Err() != nil {
		return zero, context.Cause(ctx)
	}
	done := func(x T) {
		if called {
			return
		}
		called = true
		result = x
		if !state.CompareAndSwap(waiting, answered) {
			discard(x)
			return
		}
		w.Wake()
	}
	posted := l.Post(func() {
		if state.Load() == waiting {
			start(done)
		}
	})
	if !posted {
		return zero, errClosed
	}
	err := w.Wait(ctx)
	if err != nil && state.CompareAndSwap(waiting, abandoned) {
		return zero, err
	}
	return result, nil
}
