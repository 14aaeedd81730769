package quic

import (
	"errors"
	"io"
	"sync"

	quicgo "github.com/quic-go/quic-go"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// stream is a control.Stream. One goroutine reads it; one writes it while there
// is something to write.
type stream struct {
	p      *peer
	number uint64 // in the trace of this endpoint
	c      *conn  // nil while it waits for a connection
	quic   *quicgo.Stream
	seq    uint64 // order of opening on c

	out     sendBuffer
	credits chan struct{} // one for each batch that the loop has not done with

	// Used on the loop only.
	h        control.StreamHandler
	incoming bool // opened by the peer, first message yet to come
	closed   bool // by either side; the handler hears nothing more
	stamp    qnet.Time
	stamped  bool // stamp was sent
	in       []batch
	busy     bool      // pump runs, or waits for the fibre's delay
	end      qnet.Code // of the peer's End
}

// batch is a run of whole messages, or the end of the stream.
type batch struct {
	b   []byte
	buf *[readSize]byte // to be recycled, holds b; nil if b is too long for that
	end error           // nil if more may follow; io.EOF for the end in order
}

func newStream(p *peer, h control.StreamHandler) *stream {
	p.e.streams++
	return &stream{p: p, number: p.e.streams, h: h, credits: make(chan struct{}, maxBatches)}
}

// Peer implements control.Stream.
func (s *stream) Peer() qnet.NodeID { return s.p.id }

// Send implements control.Stream. A message of more than wire.MaxMessage bytes
// ends the stream with qnet.ErrInvalid.
func (s *stream) Send(m wire.Message) {
	if s.closed {
		return
	}
	stamp, timed := s.nextStamp()
	n, unsent := s.out.append(stamp, timed, m)
	var contents []byte
	if e := s.p.e; n > 0 && e.conf.Tracer.KeepsContents() {
		e.scratch = wire.Append(e.scratch[:0], m) // out may be written by now
		contents = e.scratch
	}
	s.p.trace("send", s, m.Type(), n, contents)
	switch name := s.p.conf.Name; {
	case n > wire.MaxMessage:
		s.abort(qnet.ErrInvalid, qnet.Errorf(qnet.ErrInvalid, "control: stream to %s: message %s has %d bytes, more than %d", name, wire.Name(m), n, wire.MaxMessage))
	case unsent > maxUnsent:
		s.abort(qnet.ErrBusy, qnet.Errorf(qnet.ErrBusy, "%s does not read: more than %d bytes wait on a stream to it", name, maxUnsent))
	case s.quic != nil:
		s.write()
	}
}

// nextStamp returns the stamp to be sent before the next message, if it needs
// one that is not that of the last.
func (s *stream) nextStamp() (qnet.Time, bool) {
	if s.p.conf.Delay < minDelay {
		return 0, false
	}
	t := s.p.e.networkTime()
	if s.stamped && t == s.stamp {
		return 0, false
	}
	s.stamp, s.stamped = t, true
	return t, true
}

// Close implements control.Stream.
func (s *stream) Close(code qnet.Code) {
	if s.closed {
		return
	}
	stamp, timed := s.nextStamp()
	if code != qnet.OK {
		s.out.append(stamp, timed, &End{Code: code})
	} else if timed {
		s.out.append(stamp, timed, nil)
	}
	s.out.finish()
	s.leave()
	if s.quic != nil {
		s.quic.CancelRead(quicgo.StreamErrorCode(code))
		s.write()
	}
}

// leave makes the stream deaf and forgets what has not been delivered.
func (s *stream) leave() {
	s.closed = true
	if s.c != nil {
		s.c.remove(s)
	}
	for _, b := range s.in {
		s.release(b)
	}
	s.in = nil
}

// abort gives the stream up on this side and tells the handler, but not from
// within the call that led to it.
func (s *stream) abort(code qnet.Code, err error) {
	s.leave()
	s.out.kill()
	if s.quic != nil {
		s.quic.CancelWrite(quicgo.StreamErrorCode(code))
		s.quic.CancelRead(quicgo.StreamErrorCode(code))
	}
	s.p.e.post(func() {
		if s.h != nil {
			s.h.Closed(s, err)
		}
	})
}

// fail closes a stream whose connection is lost, or never came.
func (s *stream) fail(err error) {
	if s.closed {
		return
	}
	s.leave()
	s.out.kill()
	if s.h != nil {
		s.h.Closed(s, err)
	}
}

// bind gives the stream its QUIC stream and starts to read and write.
func (s *stream) bind(c *conn, q *quicgo.Stream) {
	s.c, s.quic = c, q
	if s.closed { // while it waited
		c.remove(s)
		q.CancelRead(0)
		if s.out.killed() {
			q.CancelWrite(0)
		}
	} else {
		c.e.spawn(s.read)
	}
	s.write()
}

// write makes sure that somebody writes what there is to write.
func (s *stream) write() {
	if s.out.start() {
		s.c.e.spawn(func() { s.out.run(s.quic) })
	}
}

// read turns what comes into batches for the loop, a bounded number at a time.
// It runs in its own goroutine.
func (s *stream) read() {
	e := s.c.e
	buf := e.buffers.Get().(*[readSize]byte)
	b := buf[:0]
	for {
		n, err := s.quic.Read(b[len(b):cap(b)])
		if n > 0 {
			s.c.hear()
		}
		b = b[:len(b)+n]
		whole, next, bad := split(b)
		if bad == nil && err == io.EOF && whole < len(b) {
			bad = wire.ErrTruncated
		}
		if bad != nil {
			s.c.malformed("stream", bad)
			return
		}
		if err != nil && err != io.EOF {
			var cancelled *quicgo.StreamError
			if !errors.As(err, &cancelled) || !cancelled.Remote {
				if buf != nil {
					e.buffers.Put(buf)
				}
				return // this side has closed it, or the connection is lost
			}
		}
		if whole > 0 || err != nil {
			full := batch{b: b[:whole], buf: buf, end: err}
			select {
			case s.credits <- struct{}{}:
			case <-s.c.quic.Context().Done():
				return
			}
			rest := b[whole:] // shorter than readSize; full is the loop's once posted
			buf = e.buffers.Get().(*[readSize]byte)
			b = append(buf[:0], rest...)
			if !e.loop.Post(func() { s.take(full) }) || err != nil {
				e.buffers.Put(buf)
				return
			}
		} else if len(b) == cap(b) {
			// A long message: its buffer grows as it comes, whatever its header says.
			long := append(make([]byte, 0, min(2*len(b), next)), b...)
			if buf != nil {
				e.buffers.Put(buf)
				buf = nil
			}
			b = long
		}
	}
}

// split returns how many bytes of b are whole messages, and the size of the one
// that is not, 0 if that is not known yet.
func split(b []byte) (whole, next int, err error) {
	for {
		t, n, err := wire.Peek(b[whole:])
		switch {
		case errors.Is(err, wire.ErrTruncated):
			return whole, n, nil
		case err != nil:
			return whole, 0, err
		case t == typeHello || t == typePad:
			return whole, 0, wire.ErrType
		}
		whole += n
	}
}

// take accepts a batch on the loop.
func (s *stream) take(b batch) {
	if s.closed || s.p.e.closing.Load() {
		s.release(b)
		return
	}
	s.in = append(s.in, b)
	if !s.busy {
		s.pump()
	}
}

// release recycles a batch and lets the reader go on.
func (s *stream) release(b batch) {
	if b.buf != nil {
		s.p.e.buffers.Put(b.buf)
	}
	<-s.credits
}

// pump delivers what has come, until it is done or must wait for the fibre.
func (s *stream) pump() {
	s.busy = true
	for len(s.in) > 0 {
		b := s.in[0]
		s.in = s.in[1:]
		for len(b.b) > 0 && !s.closed {
			t, n, _ := wire.Peek(b.b) // split has checked
			m := b.b[:n]
			b.b = b.b[n:]
			if t == typeStamp {
				due, err := s.due(m)
				if err != nil {
					s.c.reject("stream", err)
				} else if due > s.p.e.loop.Now() {
					s.in = append([]batch{b}, s.in...)
					s.p.e.loop.At(due, s.resume)
					return
				}
				continue
			}
			s.message(t, m)
		}
		s.release(b)
		if b.end != nil && !s.closed {
			s.finish(b.end)
		}
	}
	s.in = nil
	s.busy = false
}

// resume goes on after the fibre's delay.
func (s *stream) resume() {
	if !s.p.e.closing.Load() {
		s.pump()
	}
}

func (s *stream) due(m []byte) (qnet.Time, error) {
	var stamp Stamp
	if err := wire.Parse(m, &stamp); err != nil {
		return 0, err
	}
	return s.p.e.due(stamp.At, s.p.conf.Delay), nil
}

var errAfterEnd = errors.New("comes after End")

// message delivers one message.
func (s *stream) message(t wire.Type, m []byte) {
	s.p.trace("deliver", s, t, len(m), nil)
	if s.end != qnet.OK {
		s.c.reject("stream", &wire.DecodeError{Message: t, Field: "header", Err: errAfterEnd})
		return
	}
	if t == typeEnd {
		var end End
		if err := wire.Parse(m, &end); err != nil {
			s.c.reject("stream", err)
		} else if end.Code == qnet.OK {
			s.c.reject("stream", &wire.DecodeError{Message: typeEnd, Field: "code", Err: wire.ErrRange})
		}
		s.end = end.Code
		return
	}
	if !s.incoming {
		s.h.Message(s, m)
		return
	}
	s.incoming = false
	if h := s.p.e.handler(t); h != nil {
		s.h = h.Accept(s, m)
	}
	if s.h == nil {
		s.Close(qnet.ErrProtocol)
	}
}

// finish ends the stream as the peer has.
func (s *stream) finish(end error) {
	name := s.p.conf.Name
	var err error
	if cancelled, ok := errors.AsType[*quicgo.StreamError](end); ok {
		code := qnet.Code(cancelled.ErrorCode)
		if code == qnet.OK || uint64(code) != uint64(cancelled.ErrorCode) {
			code = qnet.ErrPeerClosed
		}
		err = qnet.Errorf(code, "%s gave the stream up: %v", name, code)
	} else if s.end != 0 {
		err = qnet.Errorf(s.end, "%s closed the stream: %v", name, s.end)
	}
	s.leave()
	s.out.kill()
	s.quic.CancelWrite(0) // nobody reads at the other end
	if s.h != nil {
		s.h.Closed(s, err)
	}
}

// sendBuffer holds what is to be written on a stream.
type sendBuffer struct {
	mu      sync.Mutex
	b       []byte // encoded
	spare   []byte // to be b when b is being written
	writing int    // bytes of what is being written
	running bool   // a goroutine writes
	fin     bool   // the stream ends after b
	dead    bool   // drop everything
}

// append encodes a stamp, if timed, and m, if not nil. It returns the size of m
// and how many bytes have not been written.
func (o *sendBuffer) append(stamp qnet.Time, timed bool, m wire.Message) (n, unsent int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead {
		return 0, 0
	}
	if timed {
		o.b = wire.Append(o.b, &Stamp{At: stamp})
	}
	if m != nil {
		n = len(o.b)
		o.b = wire.Append(o.b, m)
		n = len(o.b) - n
	}
	return n, len(o.b) + o.writing
}

// finish marks the end of the stream.
func (o *sendBuffer) finish() {
	o.mu.Lock()
	o.fin = true
	o.mu.Unlock()
}

// kill drops everything.
func (o *sendBuffer) kill() {
	o.mu.Lock()
	o.dead = true
	o.b, o.spare = nil, nil
	o.mu.Unlock()
}

// killed reports whether there will never be anything to write.
func (o *sendBuffer) killed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dead
}

// start reports whether a goroutine is to be started that calls run.
func (o *sendBuffer) start() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running || o.dead || len(o.b) == 0 && !o.fin {
		return false
	}
	o.running = true
	return true
}

// keepSpare is the size up to which buffers are kept for the next writing.
const keepSpare = 64 << 10

// run writes until there is nothing left. What can not be written is dropped:
// the reader or the connection has learnt why.
func (o *sendBuffer) run(q *quicgo.Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() { o.running = false }()
	for !o.dead {
		if len(o.b) == 0 {
			if o.fin {
				o.dead = true
				q.Close()
			}
			return
		}
		b := o.b
		o.b, o.spare = o.spare[:0], nil
		o.writing = len(b)
		o.mu.Unlock()
		_, err := q.Write(b)
		o.mu.Lock()
		o.writing = 0
		if err != nil {
			o.dead = true
			o.b = nil
		} else if cap(b) <= keepSpare && !o.dead {
			o.spare = b[:0]
		}
	}
}
