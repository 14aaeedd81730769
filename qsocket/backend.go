package qsocket

import (
	"context"
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/wire"
	"qstack/qsocket/local"
	"qstack/transport"
)

// backend is a session on a node, wherever that is.
type backend interface {
	// Do sends a message of the session. It may be called by a sink.
	Do(m wire.Message)
	// Channel makes a channel for one socket.
	Channel(ctx context.Context, sink transport.Sink) (channel, error)
	// Close ends the session. The sinks hear nothing more.
	Close()

	Node() string
	Now() qnet.Time
	// Clock returns the wall-clock time of an instant.
	Clock(t qnet.Time) time.Time
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// AfterFunc calls f after d, unless stop is called before.
	AfterFunc(d time.Duration, f func()) (stop func())
	NewWaiter() event.Waiter
}

// channel is the program's hold on one socket.
type channel interface {
	Do(m wire.Message)
	Close()
}

// attached is a session on a node in this process.
type attached struct {
	loop    event.Loop
	session *transport.Session
	node    string
	epoch   time.Time // wall-clock time of instant 0
	sink    transport.Sink
}

// attach opens a session. In real time it may be called from any goroutine, in
// virtual time where the methods of event.Scheduler may.
func attach(ctx context.Context, loop event.Loop, layer *transport.Layer, program string, sink transport.Sink) (*attached, error) {
	a := &attached{loop: loop, node: layer.Name(), sink: sink}
	var err error
	open := func() { a.session, err = layer.Open(program, sink) }
	if loop.Virtual() {
		a.epoch = time.Unix(0, 0).UTC()
		open()
		return a, err
	}
	a.epoch = time.Now().Add(-time.Duration(loop.Now()))
	_, callErr := event.CallOrDiscard(ctx, loop, func(done func(struct{})) {
		open()
		done(struct{}{})
	}, func(struct{}) {
		if a.session != nil {
			a.session.End()
		}
	})
	if callErr != nil {
		return nil, callErr
	}
	return a, err
}

func (a *attached) Do(m wire.Message) {
	ok := a.loop.Post(func() {
		if err := a.session.Do(m); err != nil {
			a.session.End()
			a.sink.Message(faulty(err))
		}
	})
	if !ok {
		a.sink.Message(stopped())
	}
}

// stopped is what a program hears when the loop has ended.
func stopped() *transport.Closed {
	return &transport.Closed{Code: qnet.ErrUnavail, Text: "the network has shut down"}
}

// faulty ends a session or channel that did not keep to the protocol.
func faulty(err error) *transport.Closed {
	return &transport.Closed{Code: qnet.ErrProtocol, Text: err.Error()}
}

func (a *attached) Channel(ctx context.Context, sink transport.Sink) (channel, error) {
	type result struct {
		ch  *transport.Channel
		err error
	}
	r, err := event.CallOrDiscard(ctx, a.loop, func(done func(result)) {
		ch, err := a.session.Channel(sink)
		done(result{ch, err})
	}, func(r result) {
		if r.ch != nil {
			r.ch.Close()
		}
	})
	if err == nil {
		err = r.err
	}
	if err != nil {
		return nil, err
	}
	return &attachedChannel{a, r.ch, sink}, nil
}

// Close waits for the end, so that an application of a virtual network leaves
// nothing behind when it returns. Where it may not wait, the session ends later.
func (a *attached) Close() {
	_, _ = event.Call(context.Background(), a.loop, func(done func(struct{})) {
		a.session.End()
		done(struct{}{})
	})
}

func (a *attached) Node() string                { return a.node }
func (a *attached) Now() qnet.Time              { return a.loop.Now() }
func (a *attached) Clock(t qnet.Time) time.Time { return a.epoch.Add(time.Duration(t)) }
func (a *attached) NewWaiter() event.Waiter     { return a.loop.NewWaiter() }

func (a *attached) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return event.WithTimeout(ctx, a.loop, d)
}

func (a *attached) AfterFunc(d time.Duration, f func()) (stop func()) {
	var t event.Timer
	a.loop.Post(func() { t = a.loop.After(d, f) })
	return func() { a.loop.Post(func() { t.Stop() }) }
}

// attachedChannel is a channel of an attached session.
type attachedChannel struct {
	a    *attached
	ch   *transport.Channel
	sink transport.Sink
}

func (c *attachedChannel) Do(m wire.Message) {
	ok := c.a.loop.Post(func() {
		if err := c.ch.Do(m); err != nil {
			c.ch.Close()
			c.sink.Message(faulty(err))
		}
	})
	if !ok {
		c.sink.Message(stopped())
	}
}

func (c *attachedChannel) Close() { c.a.loop.Post(c.ch.Close) }

// remote is a session on a daemon.
type remote struct {
	*local.Client
	epoch time.Time
}

func newRemote(c *local.Client) *remote {
	return &remote{Client: c, epoch: time.Now().Add(-time.Duration(c.Now()))}
}

func (r *remote) Channel(ctx context.Context, sink transport.Sink) (channel, error) {
	ch, err := r.Client.Channel(ctx, sink)
	if err != nil {
		return nil, err
	}
	return ch, nil
}

func (r *remote) Clock(t qnet.Time) time.Time { return r.epoch.Add(time.Duration(t)) }
func (r *remote) NewWaiter() event.Waiter     { return make(waiter, 1) }

func (r *remote) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, r.Real(d), qnet.Errorf(qnet.ErrTimeout, "timed out after %v", d))
}

func (r *remote) AfterFunc(d time.Duration, f func()) (stop func()) {
	t := time.AfterFunc(r.Real(d), f)
	return func() { t.Stop() }
}

// waiter is an event.Waiter without a loop.
type waiter chan struct{}

func (w waiter) Wait(ctx context.Context) error {
	select {
	case <-w:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w waiter) Wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}
