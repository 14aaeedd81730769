package local

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/wire"
	"qstack/transport"
)

// Bounds of a server.
const (
	maxConns  = 4096             // connections at one time; more are closed at once
	helloTime = 5 * time.Second  // for the first message of a connection
	maxOut    = 16 << 20         // bytes that wait for a program that does not read; then it is cut off
	maxBatch  = 256              // messages of one connection on the loop at a time
	drainTime = time.Second      // for the sockets' connections after the session's has ended
	writeTime = 10 * time.Second // for the last messages of a connection that is ended
)

// Config configures the daemon's side.
type Config struct {
	// Path is where the socket is made. Its folder is made if it is not there.
	Path  string
	Layer *transport.Layer
	Loop  event.Loop
	// Dilation is the number of real seconds for each second of the network; 0
	// stands for 1.
	Dilation float64
	// Log is told who comes and goes; nil stands for nobody.
	Log *slog.Logger
}

// Server is the daemon's side of the local socket.
type Server struct {
	cfg Config
	lis *net.UnixListener
	reg *wire.Registry
	wg  sync.WaitGroup

	mu       sync.Mutex // guards the rest
	closed   bool
	conns    map[*conn]struct{}
	sessions map[uint64]*session
}

// session is an open session.
type session struct {
	*transport.Session
	token    transport.Token
	channels sync.WaitGroup // connections of its sockets
}

// Serve makes the socket and serves programs until Close. It fails with
// qnet.ErrInUse when another daemon listens there.
func Serve(cfg Config) (*Server, error) {
	if cfg.Dilation == 0 {
		cfg.Dilation = 1
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	reg, err := wire.NewRegistry(transport.Messages())
	if err != nil {
		return nil, err
	}
	if err := Prepare(cfg.Path); err != nil {
		return nil, err
	}
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: cfg.Path, Net: "unix"})
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrUnavail, "local socket: %v", err)
	}
	if err := os.Chmod(cfg.Path, 0o600); err != nil {
		lis.Close()
		return nil, qnet.Errorf(qnet.ErrUnavail, "local socket: %v", err)
	}
	s := &Server{cfg: cfg, lis: lis, reg: reg, conns: make(map[*conn]struct{}), sessions: make(map[uint64]*session)}
	s.wg.Go(s.accept)
	return s, nil
}

// Close stops to listen, removes the socket, ends all connections, and with
// them the sessions, and waits until all is done.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	err := s.lis.Close() // it removes the socket
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// accept takes connections.
func (s *Server) accept() {
	for {
		nc, err := s.lis.AcceptUnix()
		if err != nil {
			s.mu.Lock()
			closed := s.closed
			s.mu.Unlock()
			if closed || errors.Is(err, net.ErrClosed) {
				return
			}
			s.cfg.Log.Warn("local socket", "err", err)
			time.Sleep(10 * time.Millisecond) // out of descriptors, most likely
			continue
		}
		if err := checkPeer(nc); err != nil {
			s.cfg.Log.Warn("program refused", "err", err)
			nc.Close()
			continue
		}
		c := newConn(nc)
		s.mu.Lock()
		if s.closed || len(s.conns) >= maxConns {
			s.mu.Unlock()
			nc.Close()
			continue
		}
		s.conns[c] = struct{}{}
		s.wg.Go(c.write)
		s.wg.Go(func() { s.serve(c) })
		s.mu.Unlock()
	}
}

// serve handles one connection to its end.
func (s *Server) serve(c *conn) {
	defer func() {
		c.finish()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	r := &reader{src: c.UnixConn, reg: s.reg}
	_ = c.SetReadDeadline(time.Now().Add(helloTime))
	batch, err := r.next(nil, 1)
	if err != nil {
		s.cfg.Log.Debug("connection without hello", "err", err)
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	hello, ok := batch[0].(*transport.Hello)
	switch {
	case !ok:
		c.Message(&transport.Welcome{Code: qnet.ErrProtocol, Text: "the first message must be Hello"})
	case hello.Version != transport.Version:
		c.Message(&transport.Welcome{Code: qnet.ErrUnsupported, Text: "the daemon speaks another version; update one of both"})
	case hello.Session == 0:
		s.serveSession(c, r, hello)
	default:
		s.serveChannel(c, r, hello)
	}
}

// call runs f on the loop and waits for it with w. It reports false when the
// loop has closed.
func (s *Server) call(w event.Waiter, f func()) bool {
	return s.cfg.Loop.Post(func() { f(); w.Wake() }) && w.Wait(context.Background()) == nil
}

// welcome is the answer to a good Hello. It is called on the loop.
func (s *Server) welcome(id uint64) *transport.Welcome {
	return &transport.Welcome{Session: id, Node: s.cfg.Layer.Name(), Now: max(s.cfg.Layer.Now(), 0), Dilation: s.cfg.Dilation}
}

func refusal(err error) *transport.Welcome {
	return &transport.Welcome{Code: qnet.CodeOf(err), Text: err.Error()}
}

// serveSession opens a session and serves it.
func (s *Server) serveSession(c *conn, r *reader, hello *transport.Hello) {
	token := make(transport.Token, transport.TokenSize)
	rand.Read(token)
	ses := &session{token: token}
	w := s.cfg.Loop.NewWaiter()
	ok := s.call(w, func() {
		var err error
		if ses.Session, err = s.cfg.Layer.Open(hello.Program, c); err != nil {
			c.Message(refusal(err))
			return
		}
		m := s.welcome(ses.ID())
		m.Token = token
		s.mu.Lock()
		s.sessions[ses.ID()] = ses
		s.mu.Unlock()
		c.Message(m)
	})
	if !ok || ses.Session == nil {
		return
	}
	log := s.cfg.Log.With("program", hello.Program, "session", ses.ID())
	log.Info("session opened")
	err := s.pump(c, r, w, ses.Do)
	s.mu.Lock()
	delete(s.sessions, ses.ID())
	s.mu.Unlock()
	s.drain(ses)
	s.call(w, ses.End)
	log.Info("session ended", "why", reason(err))
}

// drain waits until the sockets' connections of a session have ended too. If the
// program has exited they end at once, but what it wrote before is still in
// them. A program that holds them longer loses them.
func (s *Server) drain(ses *session) {
	late := time.AfterFunc(drainTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			if c.session == ses {
				c.Close()
			}
		}
	})
	defer late.Stop()
	ses.channels.Wait()
}

// serveChannel joins a session with a connection for one socket.
func (s *Server) serveChannel(c *conn, r *reader, hello *transport.Hello) {
	s.mu.Lock()
	ses := s.sessions[hello.Session]
	if ses != nil && subtle.ConstantTimeCompare(ses.token, hello.Token) == 1 {
		c.session = ses
		ses.channels.Add(1)
		defer ses.channels.Done()
	}
	s.mu.Unlock()
	if c.session == nil {
		s.cfg.Log.Warn("connection refused: wrong session or token", "session", hello.Session)
		c.Message(&transport.Welcome{Code: qnet.ErrAuth, Text: "no such session, or not its token"})
		return
	}
	var ch *transport.Channel
	w := s.cfg.Loop.NewWaiter()
	ok := s.call(w, func() {
		var err error
		if ch, err = ses.Channel(c); err != nil {
			c.Message(refusal(err))
			return
		}
		c.Message(s.welcome(ses.ID()))
	})
	if !ok || ch == nil {
		return
	}
	if err := s.pump(c, r, w, ch.Do); !errors.Is(err, io.EOF) {
		s.cfg.Log.Debug("socket ended", "session", ses.ID(), "why", reason(err))
	}
	s.call(w, ch.Abort)
}

func reason(err error) string {
	if errors.Is(err, io.EOF) {
		return "closed by the program"
	}
	return err.Error()
}

// pump carries the messages of a connection to the loop, a batch at a time, so
// that a program can not fill it. It returns why it ended; a program that does
// not keep to the protocol is told.
func (s *Server) pump(c *conn, r *reader, w event.Waiter, do func(wire.Message) error) error {
	var batch []wire.Message
	for {
		var err error
		if batch, err = r.next(batch, maxBatch); err == nil {
			ok := s.call(w, func() {
				for _, m := range batch {
					if err = do(m); err != nil {
						return
					}
				}
			})
			if !ok {
				return qnet.Errorf(qnet.ErrUnavail, "the node has shut down")
			}
		}
		if err == nil {
			continue
		}
		if qnet.CodeOf(err) == qnet.ErrProtocol {
			c.Message(&transport.Closed{Code: qnet.ErrProtocol, Text: "bad message of the program: " + err.Error()})
		}
		return err
	}
}

// conn is a connection with its outgoing queue.
type conn struct {
	*net.UnixConn
	session *session      // that a socket's connection belongs to; guarded by the server's lock
	more    chan struct{} // tells the writer

	mu     sync.Mutex // guards the rest
	out    []byte
	full   bool // the program did not read; out is dropped
	ending bool // the writer ends when out is sent
}

func newConn(nc *net.UnixConn) *conn {
	return &conn{UnixConn: nc, more: make(chan struct{}, 1)}
}

// Message implements transport.Sink: it queues m and never blocks.
func (c *conn) Message(m wire.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.full || c.ending:
		return
	case len(c.out) > maxOut:
		c.full = true
		c.out = nil
		c.UnixConn.Close() // which ends reader and writer
	default:
		c.out = wire.Append(c.out, m)
		c.wake()
	}
}

func (c *conn) wake() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// finish makes the writer send what is queued and close the connection.
func (c *conn) finish() {
	_ = c.SetWriteDeadline(time.Now().Add(writeTime))
	c.mu.Lock()
	c.ending = true
	c.mu.Unlock()
	c.wake()
}

// write sends what is queued, until finish. That a program does not read any
// more is no reason to close: what it has written has yet to be read here.
func (c *conn) write() {
	defer c.UnixConn.Close()
	var buf []byte
	var err error
	for range c.more {
		c.mu.Lock()
		buf, c.out = c.out, buf[:0]
		ending := c.ending
		c.mu.Unlock()
		if err == nil {
			_, err = c.Write(buf)
		}
		if ending {
			return
		}
		if cap(buf) > 1<<20 {
			buf = nil // one burst does not keep the memory
		}
	}
}
