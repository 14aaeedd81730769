package quic

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"qstack/qnet"
	"qstack/qnet/pki"
	"qstack/qnet/wire"
)

// conn is one QUIC connection to an authenticated peer. Its goroutines are
//
//	receive        takes datagrams and hellos
//	watch          says hello, notices death, reports the end to the loop
//	acceptStreams  takes the peer's streams, from join on
//	send           sends datagrams, while there are any
//
// and one for each stream that reads, one that writes while there is something.
// All of them end with the connection.
type conn struct {
	e       *Endpoint
	quic    *quicgo.Conn
	peer    qnet.NodeID
	name    string // of the peer
	dialled bool   // by this side

	heard atomic.Int64 // reading of the endpoint's clock when the peer was heard of last
	used  atomic.Int64 // same, when there was a stream or a datagram last

	cause atomic.Pointer[error] // why this side closed it

	out   outbox
	inMu  sync.Mutex
	inbox [][]byte // datagrams for the loop

	// Used on the loop only.
	p       *peer
	joined  bool
	dead    bool
	streams map[*stream]struct{}
	opened  uint64 // number of streams so far
	held    int    // datagrams that wait for the fibre's delay
}

// newConn starts the goroutines of a new connection. It is called in any
// goroutine.
func (e *Endpoint) newConn(q *quicgo.Conn, peer qnet.NodeID, name string, dialled bool) {
	c := &conn{e: e, quic: q, peer: peer, name: name, dialled: dialled, streams: make(map[*stream]struct{})}
	c.heard.Store(int64(e.clock()))
	c.used.Store(int64(e.clock()))
	e.mu.Lock()
	closing := e.closing.Load()
	if !closing {
		e.live[c] = struct{}{}
		e.wg.Go(c.receive)
		e.wg.Go(c.watch)
	}
	e.mu.Unlock()
	if closing {
		q.CloseWithError(quicgo.ApplicationErrorCode(qnet.ErrUnavail), "shutting down")
	}
}

// accept takes inbound connections until the endpoint closes.
func (e *Endpoint) accept() {
	for {
		q, err := e.listener.Accept(e.ctx)
		if err != nil {
			return
		}
		if in, ok := q.Context().Value(inboundKey{}).(*atomic.Bool); ok {
			in.Store(true)
		}
		who, err := pki.ParseIdentity(q.ConnectionState().TLS.PeerCertificates[0])
		if err != nil { // it was verified in the handshake
			q.CloseWithError(quicgo.ApplicationErrorCode(qnet.ErrAuth), err.Error())
			continue
		}
		e.newConn(q, who.ID, who.Name, false)
	}
}

// allow decides in the handshake whether an authenticated identity may connect.
func (e *Endpoint) allow(who pki.Identity) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case who.ID == e.self.ID:
		return qnet.Errorf(qnet.ErrAuth, "control: somebody connects with the identity of this endpoint, %v", who)
	case e.known[who.ID], e.conf.AcceptNodes && who.Role == pki.RoleNode:
		return nil
	}
	return qnet.Errorf(qnet.ErrAuth, "control: %v is not a peer of %s", who, e.self.Name)
}

// inboundKey is the context key of a flag that says that the handshake of an
// inbound connection is complete.
type inboundKey struct{}

// admit decides whether to begin a handshake, and logs its failure later.
func (e *Endpoint) admit(ctx context.Context, info *quicgo.ClientInfo) (context.Context, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.inbound >= maxInbound || e.closing.Load() {
		return nil, qnet.ErrBusy
	}
	e.inbound++
	complete := new(atomic.Bool)
	ctx = context.WithValue(ctx, inboundKey{}, complete)
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		e.inbound--
		if e.closing.Load() {
			e.mu.Unlock()
			return
		}
		e.wg.Add(1)
		e.mu.Unlock()
		defer e.wg.Done()
		if !complete.Load() {
			e.refused(info.RemoteAddr, context.Cause(ctx))
		}
	})
	return ctx, nil
}

// refused logs an inbound handshake that failed, a few times in a second.
func (e *Endpoint) refused(addr net.Addr, cause error) {
	e.mu.Lock()
	if now := time.Now(); now.Sub(e.reject) >= time.Second {
		e.reject, e.rejects = now, 0
	}
	e.rejects++
	quiet := e.rejects > rejectsLogged
	e.mu.Unlock()
	if quiet {
		return
	}
	e.log.Warn("connection refused", "addr", addr.String(), "err", e.explain("the peer", addr.String(), cause))
}

// explain says in words of ours why a connection failed or never came to be.
func (e *Endpoint) explain(name, addr string, err error) error {
	if own, ok := errors.AsType[*qnet.Error](err); ok {
		return own
	}
	if app, ok := errors.AsType[*quicgo.ApplicationError](err); ok && app.Remote {
		code := qnet.Code(app.ErrorCode)
		if code == qnet.OK || uint64(code) != uint64(app.ErrorCode) {
			code = qnet.ErrUnavail
		}
		return qnet.Errorf(code, "%s closed the connection: %s", name, app.ErrorMessage)
	}
	if te, ok := errors.AsType[*quicgo.TransportError](err); ok && te.ErrorCode.IsCryptoError() {
		alert := tls.AlertError(te.ErrorCode - 0x100)
		switch {
		case alert == noApplicationProtocol:
			return qnet.Errorf(qnet.ErrUnsupported, "%s at %s does not speak %s", name, addr, ALPN)
		case te.Remote:
			return qnet.Errorf(qnet.ErrAuth, "%s at %s refused the certificate of %s (%v): its log says why; do both come from one authority?", name, addr, e.self.Name, alert)
		}
		return qnet.Errorf(qnet.ErrAuth, "%s at %s was refused: %v", name, addr, err)
	}
	if _, ok := errors.AsType[*quicgo.StatelessResetError](err); ok {
		return qnet.Errorf(qnet.ErrRestarted, "%s restarted", name)
	}
	if nerr, ok := errors.AsType[net.Error](err); ok && nerr.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return qnet.Errorf(qnet.ErrUnavail, "%s is not answering (at %s)", name, addr)
	}
	return qnet.Errorf(qnet.ErrUnavail, "%s at %s is not reachable: %v", name, addr, err)
}

// noApplicationProtocol is a TLS alert (RFC 7301).
const noApplicationProtocol tls.AlertError = 120

// fail closes the connection for a reason, which watch reports to the loop. It
// does not block.
func (c *conn) fail(code qnet.Code, err error) {
	if c.cause.CompareAndSwap(nil, &err) {
		text := ""
		if err != nil {
			text = err.Error()
		}
		c.e.spawn(func() { c.quic.CloseWithError(quicgo.ApplicationErrorCode(code), text) })
	}
}

// malformed closes the connection because of what came on it.
func (c *conn) malformed(where string, err error) {
	c.e.log.Warn("malformed input", "peer", c.name, "where", where, "err", err)
	c.fail(qnet.ErrProtocol, qnet.Errorf(qnet.ErrProtocol, "%s sent malformed input: %s: %v", c.name, where, err))
}

// reject is malformed for the loop: what came before has been delivered, and
// nothing is any more.
func (c *conn) reject(where string, err error) {
	c.malformed(where, err)
	c.e.lost(c, c.ended())
}

// ended returns why the connection ended, nil if it was dropped as idle.
func (c *conn) ended() error {
	if err := c.cause.Load(); err != nil {
		return *err
	}
	err := context.Cause(c.quic.Context())
	if app, ok := errors.AsType[*quicgo.ApplicationError](err); ok && app.Remote && app.ErrorCode == 0 {
		return nil
	}
	return c.e.explain(c.name, c.quic.RemoteAddr().String(), err)
}

// watch says hello until the connection ends, and ends it when the peer is dead.
func (c *conn) watch() {
	defer func() {
		c.e.mu.Lock()
		delete(c.e.live, c)
		c.e.mu.Unlock()
		c.e.post(func() { c.e.lost(c, c.ended()) })
	}()
	conf := &c.e.conf
	hello := time.NewTimer(nextHello(time.Now(), conf.Hello))
	defer hello.Stop()
	death := time.NewTimer(conf.Dead)
	defer death.Stop()
	due := c.e.clock() + conf.Dead // when death rings
	m := Hello{Incarnation: c.e.incarnation}
	var b [32]byte
	say := func() {
		c.out.add(c, wire.Append(b[:0], &m), 0, false)
		m.Sequence++
	}
	say()
	for {
		select {
		case <-c.quic.Context().Done():
			return
		case <-hello.C:
			say()
			hello.Reset(nextHello(time.Now(), conf.Hello))
			if c.dialled && c.unused() > conf.Idle {
				c.e.post(func() { c.e.idle(c) })
			}
		case <-death.C:
			now := c.e.clock()
			left := patience(now, time.Duration(c.heard.Load()), due, conf.Dead, conf.Hello)
			if left <= 0 {
				c.fail(qnet.ErrUnavail, qnet.Errorf(qnet.ErrUnavail, "%s is not answering (no hello for %v)", c.name, conf.Dead))
				left = conf.Dead
			}
			due = now + left
			death.Reset(left)
		}
	}
}

// nextHello returns for how long to wait for the next hello after one at now:
// about an interval. All connections, of all processes, say hello at the same
// moments of the wall clock, its multiples of interval: so a process with several
// connections wakes once for all of them, not once for each.
func nextHello(now time.Time, interval time.Duration) time.Duration {
	d := interval - time.Duration(now.UnixNano())%interval
	if d < interval/8 { // the timer was early, or the connection has just come up
		d += interval
	}
	return d
}

// patience returns for how long more a peer may be silent that was heard of last
// at heard, when the timer that was to ring at due has rung at now; 0 or less
// says that it is dead. A timer that rings late by more than half a hello says
// that this process was not running: what has come meanwhile waits to be read,
// and the peer is given one hello more.
func patience(now, heard, due, dead, hello time.Duration) time.Duration {
	left := heard + dead - now
	if left <= 0 && now-due > hello/2 {
		return hello
	}
	return left
}

// hear notes that something came.
func (c *conn) hear() { c.heard.Store(int64(c.e.clock())) }

// use notes that the connection is of use.
func (c *conn) use() { c.used.Store(int64(c.e.clock())) }

// unused returns how long the connection has been of no use.
func (c *conn) unused() time.Duration { return c.e.clock() - time.Duration(c.used.Load()) }

// join puts a connection to use: its first hello has come. From here on in this
// file, functions run on the loop unless they say otherwise.
func (e *Endpoint) join(c *conn, incarnation uint64) {
	if c.joined || c.dead || c.cause.Load() != nil || c.quic.Context().Err() != nil {
		return
	}
	p := e.peers[c.peer]
	if p == nil {
		p = &peer{e: e, id: c.peer, conf: Peer{ID: c.peer, Name: c.name}}
		e.peers[c.peer] = p
	}
	c.p = p
	p.join(c, incarnation)
}

// lost takes note of the end of a connection.
func (e *Endpoint) lost(c *conn, err error) {
	p := c.p
	if p == nil { // it never joined
		if p = e.peers[c.peer]; p == nil || !c.dialled {
			c.dead = true
			return
		}
		if err == nil {
			err = qnet.Errorf(qnet.ErrUnavail, "%s closed the connection", c.name)
		}
	}
	p.lost(c, err)
}

// idle drops a connection that this side dialled and that is not needed.
func (e *Endpoint) idle(c *conn) {
	if c.dead || !c.joined || c.p.conf.Neighbour || len(c.streams) > 0 || c.unused() <= e.conf.Idle {
		return
	}
	e.log.Debug("idle connection dropped", "peer", c.name)
	c.fail(qnet.OK, nil)
	c.p.lost(c, nil)
}

// sortedStreams returns the open streams in the order in which they were opened.
func (c *conn) sortedStreams() []*stream {
	ss := make([]*stream, 0, len(c.streams))
	for s := range c.streams {
		ss = append(ss, s)
	}
	slices.SortFunc(ss, func(a, b *stream) int { return cmp.Compare(a.seq, b.seq) })
	return ss
}

// add registers a stream.
func (c *conn) add(s *stream) {
	c.opened++
	s.seq = c.opened
	c.streams[s] = struct{}{}
	c.use()
}

// remove forgets a stream that has closed.
func (c *conn) remove(s *stream) {
	delete(c.streams, s)
	c.use()
}

// open starts a stream of this side.
func (c *conn) open(s *stream) {
	q, err := c.quic.OpenStream()
	if err != nil {
		if _, ok := errors.AsType[*quicgo.StreamLimitReachedError](err); ok {
			err = qnet.Errorf(qnet.ErrBusy, "%s has %d streams of %s open, and takes no more", c.name, maxStreams, c.e.self.Name)
		} else {
			err = c.e.explain(c.name, c.quic.RemoteAddr().String(), err)
		}
		c.e.post(func() { s.fail(err) })
		return
	}
	c.add(s)
	s.bind(c, q)
}

// acceptStreams takes the peer's streams. It runs in its own goroutine.
func (c *conn) acceptStreams() {
	for {
		q, err := c.quic.AcceptStream(c.e.ctx)
		if err != nil {
			return
		}
		if !c.e.post(func() {
			if !c.dead {
				s := newStream(c.p, nil)
				s.incoming = true
				c.add(s)
				s.bind(c, q)
			}
		}) {
			return
		}
	}
}

// sendDatagram queues the encoded message b.
func (c *conn) sendDatagram(b []byte) {
	c.use()
	c.e.stats.messages.Add(1)
	if c.p.conf.Delay >= minDelay {
		c.out.add(c, b, c.e.networkTime(), true)
	} else {
		c.out.add(c, b, 0, false)
	}
}

// receive takes datagrams off the connection until it ends. It runs in its own
// goroutine.
func (c *conn) receive() {
	met := false
	for {
		b, err := c.quic.ReceiveDatagram(c.e.ctx)
		if err != nil {
			return
		}
		c.hear()
		hello, work, err := scan(b)
		if err != nil {
			c.malformed("datagram", err)
			return
		}
		if hello != nil && !met {
			met = true
			c.e.post(func() { c.e.join(c, hello.Incarnation) })
		}
		if !work {
			continue
		}
		c.e.stats.received.Add(1)
		c.use()
		c.inMu.Lock()
		first := len(c.inbox) == 0
		full := len(c.inbox) >= maxInbox
		if !full {
			c.inbox = append(c.inbox, b)
		}
		c.inMu.Unlock()
		if full {
			c.e.stats.receiveDropped.Add(1)
		} else if first {
			c.e.post(c.drain)
		}
	}
}

// scan checks the framing of a datagram. It returns the hello in it, if there is
// one, and whether there is anything for the loop.
func scan(b []byte) (hello *Hello, work bool, err error) {
	for len(b) > 0 {
		t, n, err := wire.Peek(b)
		if err != nil {
			return nil, false, err
		}
		switch t {
		case typeHello:
			hello = new(Hello)
			err = wire.Parse(b[:n], hello)
		case typeStamp:
			err = wire.Parse(b[:n], new(Stamp))
		case typePad:
		case typeEnd:
			err = fmt.Errorf("%w: End in a datagram", wire.ErrType)
		default:
			work = true
		}
		if err != nil {
			return nil, false, err
		}
		b = b[n:]
	}
	return hello, work, nil
}

// drain delivers the datagrams that have come. Those that overtook the first
// hello wait for it.
func (c *conn) drain() {
	if !c.joined {
		return
	}
	c.inMu.Lock()
	batch := c.inbox
	c.inbox = nil
	c.inMu.Unlock()
	for _, b := range batch {
		c.deliver(b)
	}
}

// deliver hands out the messages of a datagram that scan has accepted. Those
// that are to be held come back here later.
func (c *conn) deliver(b []byte) {
	for len(b) > 0 && !c.dead {
		t, n, _ := wire.Peek(b)
		m := b[:n]
		b = b[n:]
		switch {
		case t == typeStamp:
			var stamp Stamp
			_ = wire.Parse(m, &stamp) // scan did
			due := c.e.due(stamp.At, c.p.conf.Delay)
			if due <= c.e.loop.Now() {
				continue
			}
			if c.held >= maxHeld {
				c.e.stats.receiveDropped.Add(1)
				return
			}
			c.held++
			c.e.loop.At(due, func() {
				c.held--
				if !c.e.closing.Load() {
					c.deliver(b)
				}
			})
			return
		case c.e.handlesItself(t):
		default:
			c.p.trace("deliver", nil, t, len(m), nil)
			if h := c.e.handler(t); h != nil {
				h.Datagram(c.peer, m)
			}
		}
	}
}

// outbox is the queue of datagrams to be sent on a connection. Messages gather
// in the newest datagram as long as it waits and has room.
type outbox struct {
	mu      sync.Mutex
	queue   []*packet
	free    []*packet
	sending bool
}

type packet struct {
	b     []byte
	stamp qnet.Time // of the last message
	timed bool      // there is a stamp
}

// add queues the message m; stamp counts if timed. It may be called in any
// goroutine.
func (o *outbox) add(c *conn, m []byte, stamp qnet.Time, timed bool) {
	var head [16]byte
	o.mu.Lock()
	defer o.mu.Unlock()
	var p *packet
	if n := len(o.queue); n > 0 {
		p = o.queue[n-1]
	}
	mark := head[:0]
	if timed && (p == nil || !p.timed || p.stamp != stamp) {
		mark = wire.Append(mark, &Stamp{At: stamp})
	}
	if p == nil || !timed && p.timed || len(p.b)+len(mark)+len(m) > maxDatagram {
		if len(o.queue) >= maxSendQueue {
			c.e.stats.sendDropped.Add(1)
			return
		}
		if timed && len(mark) == 0 {
			mark = wire.Append(mark, &Stamp{At: stamp})
		}
		p = o.take()
		o.queue = append(o.queue, p)
	}
	p.b = append(append(p.b, mark...), m...)
	p.stamp, p.timed = stamp, timed
	if !o.sending {
		o.sending = true
		c.e.spawn(func() { o.send(c) })
	}
}

// take returns an empty packet.
func (o *outbox) take() *packet {
	if n := len(o.free); n > 0 {
		p := o.free[n-1]
		o.free = o.free[:n-1]
		p.b, p.timed = p.b[:0], false
		return p
	}
	return &packet{b: make([]byte, 0, maxDatagram)}
}

// send sends what is queued, then ends. It runs in its own goroutine, as QUIC
// makes the sender wait when its queue is full.
func (o *outbox) send(c *conn) {
	for {
		o.mu.Lock()
		if len(o.queue) == 0 {
			o.sending = false
			o.mu.Unlock()
			return
		}
		p := o.queue[0]
		o.queue = append(o.queue[:0], o.queue[1:]...)
		o.mu.Unlock()
		p.b = pad(p.b)
		err := c.quic.SendDatagram(p.b)
		if _, ok := errors.AsType[*quicgo.DatagramTooLargeError](err); ok {
			c.e.stats.sendDropped.Add(1)
			err = nil
		}
		c.e.stats.sent.Add(1)
		o.mu.Lock()
		if err != nil { // closed: o.sending stays true and nothing is sent any more
			o.queue = nil
			o.mu.Unlock()
			return
		}
		if len(o.free) < 8 {
			o.free = append(o.free, p)
		}
		o.mu.Unlock()
	}
}

// pad makes a datagram long enough for a stateless reset in answer.
func pad(b []byte) []byte {
	const header = 4 // of a Pad of less than 64 bytes, with the length of its field
	if n := len(b); n < minDatagram {
		b = wire.Append(b, &Pad{Zeros: make([]byte, max(minDatagram-n-header, 0))})
	}
	return b
}
