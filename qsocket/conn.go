package qsocket

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/wire"
	"qstack/transport"
)

// Conn is one end of a socket between two programs. Its Read, Write and
// deadlines are those of a net.Conn and concern the bytes that it carries beside
// the entanglement; the other methods take a context.
//
// When the peer closes the socket, Read returns what was written before and
// then io.EOF; requests fail with qnet.ErrPeerClosed. When the peer, its node or
// a node between dies, everything fails with an error that names it.
type Conn struct {
	n  *Node
	id uint64

	mu      sync.Mutex // guards the rest
	ch      channel
	opened  *transport.Opened
	opening event.Waiter // for opened
	asks    map[uint64]*ask
	lastRef uint64
	err     error // why nothing can be asked any more
	closed  bool  // by the program

	in     [][]byte // received and not read
	inEnd  error    // what follows: io.EOF or a failure
	owed   uint64   // bytes read for which no credit was given
	window uint64   // bytes that may be written
	outEnd error    // why nothing can be written
	busy   bool     // somebody writes

	readers, writers crowd
	rd, wd           deadline
}

var _ net.Conn = (*Conn)(nil)

// ask is a request under way.
type ask struct {
	w        event.Waiter
	kept     []transport.KeptPair
	outcomes *Outcomes
	done     *transport.Done
}

// Message implements transport.Sink.
func (c *Conn) Message(m wire.Message) {
	c.mu.Lock()
	unwanted := c.hear(m)
	c.mu.Unlock()
	for _, q := range unwanted {
		c.n.be.Do(&transport.FreeQubit{Qubit: q})
	}
}

// hear takes what the node says. It returns qubits that come when nobody waits
// for them any more.
func (c *Conn) hear(m wire.Message) (unwanted []uint64) {
	switch m := m.(type) {
	case *transport.Opened:
		if c.opened == nil {
			c.opened = m
			c.opening.Wake()
		}
	case *transport.Kept:
		if a := c.asks[m.Ref]; a != nil {
			a.kept = m.Pairs
		} else { // the program has closed
			for _, p := range m.Pairs {
				unwanted = append(unwanted, p.Qubit)
			}
		}
	case *transport.Outcomes:
		if a := c.asks[m.Ref]; a != nil && a.outcomes != nil {
			a.outcomes.add(m)
		}
	case *transport.Done:
		if a := c.asks[m.Ref]; a != nil {
			delete(c.asks, m.Ref)
			a.done = m
			a.w.Wake()
		} else if m.Qubit != 0 {
			unwanted = append(unwanted, m.Qubit)
		}
	case *transport.Data:
		c.in = append(c.in, m.Bytes)
		c.readers.wake()
	case *transport.EndData:
		c.end(io.EOF)
	case *transport.Credit:
		c.window += m.Bytes
		c.writers.wake()
	case *transport.Closed:
		if m.Code == qnet.OK && c.opened != nil {
			c.end(io.EOF)
			c.stop(qnet.Errorf(qnet.ErrPeerClosed, "%s closed the socket", c.opened.Peer))
		} else {
			err := &qnet.Error{Code: m.Code, Text: m.Text}
			c.end(err)
			c.stop(err)
		}
	}
	return unwanted
}

// end says what follows the bytes that have been received.
func (c *Conn) end(err error) {
	if c.inEnd == nil {
		c.inEnd = err
	}
	c.readers.wake()
}

// stop fails what has been asked, and what will be.
func (c *Conn) stop(err error) {
	if c.err == nil {
		c.err = err
	}
	if c.outEnd == nil {
		c.outEnd = err
	}
	c.writers.wake()
	c.opening.Wake()
	for _, ref := range slices.Sorted(maps.Keys(c.asks)) { // a fixed order, for virtual time
		c.asks[ref].w.Wake()
	}
}

// fail ends the socket at this side.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = nil
	c.inEnd, c.outEnd, c.err = err, err, err
	c.end(err)
	c.stop(err)
}

// Close closes the socket. What was written is still delivered; requests under
// way fail, and qubits under way are lost.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.rd.stop()
	c.wd.stop()
	ch := c.ch
	c.mu.Unlock()
	c.fail(qnet.Errorf(qnet.ErrClosed, "the socket was closed"))
	c.n.forget(c)
	if ch != nil {
		ch.Close()
	}
	return nil
}

// Peer returns the name of the node at the other end.
func (c *Conn) Peer() string { return c.opened.Peer }

// Circuit returns the name of the circuit, the same at both ends.
func (c *Conn) Circuit() transport.CircuitID { return c.opened.Circuit }

// Hops returns the number of links between the two nodes.
func (c *Conn) Hops() int { return int(c.opened.Hops) }

// State returns the Bell state that was asked for when the socket was dialled.
func (c *Conn) State() BellLabel { return c.opened.State }

// Estimate is what a socket is expected to deliver.
type Estimate struct {
	Fidelity float64 // of a kept pair at delivery, to its Bell state
	Rate     float64 // pairs per second
}

// Estimate returns what the network expects of the circuit, from its
// specification: what was delivered may differ.
func (c *Conn) Estimate() Estimate { return Estimate{c.opened.Fidelity, c.opened.Rate} }

// await waits until ready, which is called with the lock held, or until the
// socket has failed. When ctx is done it withdraws the request ref, which then
// gets its answer all the same: by that both ends know what has become of it.
func (c *Conn) await(ctx context.Context, w event.Waiter, ref uint64, ready func() bool) error {
	withdrawn := false
	for {
		c.mu.Lock()
		if ready() {
			c.mu.Unlock()
			return nil
		}
		if c.err != nil {
			defer c.mu.Unlock()
			return c.err
		}
		c.mu.Unlock()
		err := w.Wait(ctx)
		if err == nil {
			continue
		}
		if withdrawn {
			err := qnet.Errorf(qnet.ErrUnavail, "%s does not answer", c.n.Name())
			c.fail(err)
			return err
		}
		withdrawn = true
		code := qnet.ErrCancelled
		if ctx.Err() != nil && qnet.CodeOf(ctxError(ctx)) == qnet.ErrTimeout {
			code = qnet.ErrTimeout
		}
		c.ch.Do(&transport.Cancel{Ref: ref, Code: code})
		if ctx.Err() == nil { // the loop has ended, or does not let this goroutine wait
			return waitError(ctx, err)
		}
		var cancel context.CancelFunc
		ctx, cancel = c.n.be.WithTimeout(context.Background(), grace)
		defer cancel()
	}
}

// do makes a request and waits for its end. On failure it returns nil if nothing
// was asked, and otherwise a request which is done unless nobody knows how it
// ended.
func (c *Conn) do(ctx context.Context, m *transport.Ask, outcomes *Outcomes) (*ask, error) {
	if ctx.Err() != nil {
		return nil, ctxError(ctx)
	}
	a := &ask{w: c.n.be.NewWaiter(), outcomes: outcomes}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	c.lastRef++
	m.Ref = c.lastRef
	c.asks[m.Ref] = a
	c.mu.Unlock()
	c.ch.Do(m)
	err := c.await(ctx, a.w, m.Ref, func() bool { return a.done != nil })
	switch {
	case err != nil:
		c.mu.Lock()
		delete(c.asks, m.Ref)
		c.mu.Unlock()
		return a, err
	case a.done.Code == qnet.ErrQubitLost:
		return a, &LostError{Seq: a.done.Seq, Text: a.done.Text}
	case a.done.Code != qnet.OK:
		return a, withdrawn(ctx, a.done.Code, a.done.Text)
	}
	return a, nil
}

// LostError says that a qubit was lost while it was sent. The other end gets it
// too, with the same number. It is qnet.ErrQubitLost to errors.Is.
type LostError struct {
	Seq  uint64 // number of the qubit on the socket, in the direction in which it was sent
	Text string
}

// Error implements error.
func (e *LostError) Error() string { return e.Text }

// Unwrap returns qnet.ErrQubitLost.
func (e *LostError) Unwrap() error { return qnet.ErrQubitLost }

// Keep asks for n pairs and keeps this end's halves. It returns when all are
// there. The other end must ask for n pairs too, to keep or to measure. The pairs
// are all in the socket's Bell state, up to noise, and the caller must free their
// qubits.
//
// It fails with qnet.ErrMismatch when the other end asks for another number,
// and qnet.ErrTimeout, which says what it waited for; no qubits are held then.
func (c *Conn) Keep(ctx context.Context, n int) ([]*Pair, error) {
	a, err := c.do(ctx, &transport.Ask{Kind: transport.KindKeep, Pairs: uint64(max(n, 0))}, nil)
	if err != nil {
		return nil, err
	}
	pairs := make([]*Pair, len(a.kept))
	for i, k := range a.kept {
		pairs[i] = &Pair{
			Name:  PairName{Circuit: c.opened.Circuit, Seq: k.Seq},
			Label: k.Label, Fidelity: k.Fidelity,
			Created: c.n.Time(k.Created), At: c.n.Time(k.At),
			Qubit: &Qubit{n: c.n, id: k.Qubit},
		}
	}
	return pairs, nil
}

// Measure asks for n pairs, at most transport.MaxPairs, and measures this end's
// halves at once, each in a basis drawn from b by this node, which tells nobody.
// The other end must ask for n pairs too, to keep or to measure.
//
// Where an end keeps its half, or has only X, Y and Z to measure in, the bits
// are as if measured on the socket's Bell state; otherwise Outcomes.Label says
// which Bell state each was. On failure it returns the outcomes so far, if any; the other end may have
// more or fewer.
func (c *Conn) Measure(ctx context.Context, n int, b Bases) (*Outcomes, error) {
	o := &Outcomes{Circuit: c.opened.Circuit, asked: min(max(n, 0), maxRoom)}
	_, err := c.do(ctx, &transport.Ask{Kind: transport.KindMeasure, Pairs: uint64(max(n, 0)), Bases: b}, o)
	return o, err
}

// SendQubit teleports q to the other end, which must ask to receive a qubit: the
// first sent is the first received. It returns when the other end has it. Many
// may be under way at once.
//
// It fails with a *LostError when the qubit is lost. After any other failure, such
// as a time-out or an error of its gates, q is still the caller's, unless this end
// has closed the socket or lost its node meanwhile. To free q does no harm in any
// case.
func (c *Conn) SendQubit(ctx context.Context, q *Qubit) error {
	if err := q.take(c.n, "sent to "+c.opened.Peer); err != nil {
		return err
	}
	if err := q.settle(ctx); err != nil {
		q.giveBack()
		return err
	}
	a, err := c.do(ctx, &transport.Ask{Kind: transport.KindSend, Pairs: 1, Qubit: q.id}, nil)
	var lost *LostError
	switch {
	case err == nil, errors.As(err, &lost):
	case a != nil && a.done == nil: // nobody knows how far it got
		c.n.be.Do(&transport.FreeQubit{Qubit: q.id})
	default:
		q.giveBack()
	}
	return err
}

// ReceiveQubit waits for a qubit that the other end sends. The caller must free
// it. It fails with a *LostError when a qubit was sent and is lost.
func (c *Conn) ReceiveQubit(ctx context.Context) (*Qubit, error) {
	a, err := c.do(ctx, &transport.Ask{Kind: transport.KindReceive, Pairs: 1}, nil)
	if err != nil {
		return nil, err
	}
	return &Qubit{n: c.n, id: a.done.Qubit}, nil
}

// crowd is the goroutines that wait for one thing. They wait with a lock, which
// guards the crowd too.
type crowd struct {
	waiting []event.Waiter
}

// wait releases the lock until wake is called.
func (w *crowd) wait(n *Node, mu *sync.Mutex) error {
	x := n.be.NewWaiter()
	w.waiting = append(w.waiting, x)
	mu.Unlock()
	err := x.Wait(context.Background())
	mu.Lock()
	w.waiting = slices.DeleteFunc(w.waiting, func(o event.Waiter) bool { return o == x })
	return err
}

func (w *crowd) wake() {
	for _, x := range w.waiting {
		x.Wake()
	}
}

// deadline is a time after which one direction does not wait. It is guarded by
// the lock of its Conn.
type deadline struct {
	passed bool
	clear  func() // stops the timer; nil if there is none
	set    uint64 // counts, to tell an old timer
}

func (d *deadline) stop() {
	if d.clear != nil {
		d.clear()
		d.clear = nil
	}
	d.set++
}

// setDeadline sets a deadline whose passing wakes w.
func (c *Conn) setDeadline(d *deadline, w *crowd, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return qnet.Errorf(qnet.ErrClosed, "the socket was closed")
	}
	d.stop()
	left := t.Sub(c.n.Now())
	d.passed = !t.IsZero() && left <= 0
	if d.passed {
		w.wake()
	} else if !t.IsZero() {
		set := d.set
		d.clear = c.n.be.AfterFunc(left, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if d.set == set {
				d.passed = true
				w.wake()
			}
		})
	}
	return nil
}

func (c *Conn) timeout(what string) error {
	return qnet.Errorf(qnet.ErrTimeout, "%s %s: the deadline has passed", what, c.RemoteAddr())
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	n, credit, err := c.read(p)
	c.mu.Unlock()
	if credit > 0 {
		c.ch.Do(&transport.Credit{Bytes: credit})
	}
	return n, err
}

// read reads, and returns the credit that is to be given to the peer.
func (c *Conn) read(p []byte) (n int, credit uint64, err error) {
	for {
		switch {
		case c.closed:
			return 0, 0, c.inEnd
		case c.rd.passed:
			return 0, 0, c.timeout("read from")
		case len(c.in) > 0:
			for len(c.in) > 0 && n < len(p) {
				k := copy(p[n:], c.in[0])
				n += k
				if c.in[0] = c.in[0][k:]; len(c.in[0]) == 0 {
					c.in = c.in[1:]
				}
			}
			c.owed += uint64(n)
			// Small credits cost more than they give; while less than a part of the
			// window is owed the peer can still write.
			if c.owed >= transport.Window/4 && c.inEnd == nil {
				credit, c.owed = c.owed, 0
			}
			return n, credit, nil
		case c.inEnd != nil:
			return 0, 0, c.inEnd
		}
		if err := c.readers.wait(c.n, &c.mu); err != nil {
			return 0, 0, err
		}
	}
}

// Write implements net.Conn. Bytes of one call are not mixed with those of
// others.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.acquire(); err != nil {
		return 0, err
	}
	defer c.release()
	n := 0
	for n < len(p) {
		k, err := c.room(len(p) - n)
		if err != nil {
			return n, err
		}
		c.ch.Do(&transport.Data{Bytes: slices.Clone(p[n : n+k])})
		n += k
	}
	return n, nil
}

// acquire waits until nobody else writes.
func (c *Conn) acquire() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.busy && c.outEnd == nil && !c.wd.passed {
		if err := c.writers.wait(c.n, &c.mu); err != nil {
			return err
		}
	}
	switch {
	case c.outEnd != nil:
		return c.outEnd
	case c.wd.passed:
		return c.timeout("write to")
	}
	c.busy = true
	return nil
}

func (c *Conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	c.writers.wake()
}

// room waits until bytes can be written and returns how many, at most want.
func (c *Conn) room(want int) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.outEnd != nil:
			return 0, c.outEnd
		case c.wd.passed:
			return 0, c.timeout("write to")
		case c.window > 0:
			k := min(uint64(want), c.window, transport.MaxData)
			c.window -= k
			return int(k), nil
		}
		if err := c.writers.wait(c.n, &c.mu); err != nil {
			return 0, err
		}
	}
}

// CloseWrite ends what this end writes: the peer's Read returns io.EOF after it.
func (c *Conn) CloseWrite() error {
	if err := c.acquire(); err != nil {
		return err
	}
	defer c.release()
	c.mu.Lock()
	c.outEnd = qnet.Errorf(qnet.ErrClosed, "writing to %s was ended", c.RemoteAddr())
	c.mu.Unlock()
	c.ch.Do(&transport.EndData{})
	return nil
}

// LocalAddr implements net.Conn. Both ends go by the port that was dialled.
func (c *Conn) LocalAddr() net.Addr { return Addr{c.n.Name(), c.opened.Port} }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return Addr{c.opened.Peer, c.opened.Port} }

// SetDeadline implements net.Conn. Deadlines are in the time of Node.Now.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.rd, &c.readers, t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.wd, &c.writers, t) }
