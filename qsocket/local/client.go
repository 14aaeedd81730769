package local

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"qstack/qnet"
	"qstack/qnet/wire"
	"qstack/transport"
)

// stuckTime is how long the daemon may leave a message unread before it is taken
// for dead.
const stuckTime = 10 * time.Second

// Client is the program's side of a session with a daemon. Its methods may be
// called from any goroutine.
type Client struct {
	path    string
	program string
	reg     *wire.Registry
	welcome transport.Welcome
	start   time.Time // when welcome was sent, about
	main    *link
	wg      sync.WaitGroup

	mu     sync.Mutex // guards the rest
	closed bool
	links  map[*link]struct{}
}

// Dial opens a session with the daemon whose socket has the given path, for a
// program called program. sink hears the messages of the session, on a goroutine
// of the client, the last of which is Closed, unless the program itself closes.
func Dial(ctx context.Context, path, program string, sink transport.Sink) (*Client, error) {
	reg, err := wire.NewRegistry(transport.Messages())
	if err != nil {
		return nil, err
	}
	c := &Client{path: path, program: program, reg: reg, links: make(map[*link]struct{})}
	asked := time.Now()
	c.main, err = c.connect(ctx, &transport.Hello{Version: transport.Version, Program: program}, &c.welcome, sink)
	if err != nil {
		return nil, err
	}
	c.start = asked.Add(time.Since(asked) / 2) // the daemon looked at its clock in between
	c.main.start()
	return c, nil
}

// Node returns the name of the daemon's node.
func (c *Client) Node() string { return c.welcome.Node }

// Now returns the current instant of the network.
func (c *Client) Now() qnet.Time {
	return c.welcome.Now.Add(time.Duration(float64(time.Since(c.start)) / c.dilation()))
}

// Real returns how long d of the network's time takes in real time.
func (c *Client) Real(d time.Duration) time.Duration {
	return time.Duration(float64(d) * c.dilation())
}

func (c *Client) dilation() float64 {
	if c.welcome.Dilation > 0 {
		return c.welcome.Dilation
	}
	return 1
}

// Do sends a message of the session.
func (c *Client) Do(m wire.Message) { c.main.Do(m) }

// Channel opens a connection for one socket, whose messages sink hears, on a
// goroutine of the client. The last is Closed, unless the program itself closes.
func (c *Client) Channel(ctx context.Context, sink transport.Sink) (*Channel, error) {
	var w transport.Welcome
	k, err := c.connect(ctx, &transport.Hello{Version: transport.Version, Program: c.program, Session: c.welcome.Session, Token: c.welcome.Token}, &w, sink)
	if err != nil {
		return nil, err
	}
	k.start()
	return (*Channel)(k), nil
}

// Close ends the session and waits until all goroutines of the client have
// returned.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	for k := range c.links {
		k.close()
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// Channel is the program's side of the connection of one socket.
type Channel link

// Do sends a message of the socket.
func (ch *Channel) Do(m wire.Message) { (*link)(ch).Do(m) }

// Close closes the socket and the connection.
func (ch *Channel) Close() {
	ch.Do(&transport.Closed{})
	(*link)(ch).close()
}

// link is one connection.
type link struct {
	c    *Client
	nc   *net.UnixConn
	r    *reader
	sink transport.Sink

	closed atomic.Bool // by the program

	mu  sync.Mutex // held while a message is written
	out []byte
}

// connect opens a connection and exchanges Hello and Welcome.
func (c *Client) connect(ctx context.Context, hello *transport.Hello, w *transport.Welcome, sink transport.Sink) (*link, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	switch {
	case ctx.Err() != nil:
		return nil, qnet.Errorf(qnet.CodeOf(context.Cause(ctx)), "the daemon on %s did not answer: %v", c.path, context.Cause(ctx))
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, qnet.Errorf(qnet.ErrUnavail, "no daemon listens on %s; start it with qnoded", c.path)
	case errors.Is(err, fs.ErrPermission):
		return nil, qnet.Errorf(qnet.ErrAuth, "no permission for %s; only the user of the daemon and root have it", c.path)
	case err != nil:
		return nil, qnet.Errorf(qnet.ErrUnavail, "local socket: %v", err)
	}
	nc := conn.(*net.UnixConn)
	k := &link{c: c, nc: nc, r: &reader{src: nc, reg: c.reg}, sink: sink}
	if err := k.hello(ctx, hello, w); err != nil {
		nc.Close()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		nc.Close()
		return nil, qnet.Errorf(qnet.ErrClosed, "the session was closed")
	}
	c.links[k] = struct{}{}
	return k, nil
}

func (k *link) hello(ctx context.Context, hello *transport.Hello, w *transport.Welcome) error {
	if err := checkPeer(k.nc); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = k.nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := k.nc.Write(wire.Append(nil, hello))
	if err == nil {
		var batch []wire.Message
		if batch, err = k.r.next(nil, 1); err == nil {
			m, ok := batch[0].(*transport.Welcome)
			if !ok {
				return qnet.Errorf(qnet.ErrProtocol, "what listens on %s is not a daemon", k.c.path)
			}
			if *w = *m; w.Code != qnet.OK {
				return &qnet.Error{Code: w.Code, Text: "the daemon refused: " + w.Text}
			}
		}
	}
	switch {
	case err == nil:
		if !stop() {
			return qnet.Errorf(qnet.CodeOf(context.Cause(ctx)), "the daemon on %s did not answer: %v", k.c.path, context.Cause(ctx))
		}
		return nil
	case ctx.Err() != nil:
		return qnet.Errorf(qnet.CodeOf(context.Cause(ctx)), "the daemon on %s did not answer: %v", k.c.path, context.Cause(ctx))
	}
	return qnet.Errorf(qnet.ErrUnavail, "the daemon on %s closed the connection: %v", k.c.path, err)
}

// start starts to read.
func (k *link) start() {
	k.c.wg.Go(k.read)
}

// read hands messages to the sink to the end of the connection.
func (k *link) read() {
	var batch []wire.Message
	var err error
	for err == nil {
		batch, err = k.r.next(batch, maxBatch)
		for _, m := range batch {
			k.sink.Message(m)
		}
	}
	k.nc.Close()
	k.c.mu.Lock()
	delete(k.c.links, k)
	k.c.mu.Unlock()
	if k.closed.Load() {
		return
	}
	code, text := qnet.ErrUnavail, "the daemon of "+k.c.welcome.Node+" has closed the connection"
	if qnet.CodeOf(err) == qnet.ErrProtocol {
		code, text = qnet.ErrProtocol, "bad message of the daemon: "+err.Error()
	}
	k.sink.Message(&transport.Closed{Code: code, Text: text})
}

// Do sends a message. If that fails, the reader tells.
func (k *link) Do(m wire.Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.out = wire.Append(k.out[:0], m)
	_ = k.nc.SetWriteDeadline(time.Now().Add(stuckTime))
	if _, err := k.nc.Write(k.out); err != nil {
		k.nc.Close()
	}
}

// close closes the connection.
func (k *link) close() {
	k.closed.Store(true)
	k.nc.Close()
}
