package qsocket

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/wire"
	"qstack/qsocket/local"
	"qstack/transport"
)

// Node is a program's session on its node. When it is closed, or the program
// ends, its qubits are freed, its sockets closed and their peers told.
type Node struct {
	be backend

	mu      sync.Mutex // guards the rest
	calls   map[uint64]*call
	lastRef uint64
	conns   map[uint64]*Conn
	lastID  uint64
	err     error // why the session has ended
	closed  bool  // by the program
}

// call is a request of the session that waits for its reply.
type call struct {
	w     event.Waiter
	reply *transport.Reply
	late  func(*transport.Reply) // takes a reply that nobody waits for
}

// Options say where to find the daemon. The zero value is right for most.
type Options struct {
	// Network is the name of the network; empty stands for that in the
	// environment variable QNET_NETWORK or, without one, for the only network that
	// has such a node here.
	Network string
	// Path is the path of the daemon's socket, in place of the usual one.
	Path string
	// Program is a name for the program in diagnostics; empty stands for that of
	// its executable.
	Program string
}

// Open opens a session with the daemon of the node called name on this machine,
// whose socket is $XDG_RUNTIME_DIR/qnet/NETWORK/NAME.sock, or the same in the
// folder qnet-UID of the temporary folder. At most one Options is used.
//
// It fails with qnet.ErrUnknown when there is no such socket, qnet.ErrUnavail
// when no daemon listens on it, and qnet.ErrAuth when this user may not use it.
func Open(ctx context.Context, name string, options ...Options) (*Node, error) {
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	if o.Program == "" {
		o.Program = filepath.Base(os.Args[0])
	}
	if o.Path == "" {
		path, err := local.Find(o.Network, name)
		if err != nil {
			return nil, err
		}
		o.Path = path
	}
	n := newNode()
	// The sink may hear before Dial returns, but not of anything that was asked.
	c, err := local.Dial(ctx, o.Path, o.Program, (*sessionSink)(n))
	if err != nil {
		return nil, err
	}
	if c.Node() != name {
		c.Close()
		return nil, qnet.Errorf(qnet.ErrInvalid, "the daemon on %s is that of %s, not of %s", o.Path, c.Node(), name)
	}
	n.be = newRemote(c)
	return n, nil
}

// Attach opens a session on a node in this process, for a program called
// program. In virtual time it must be called where the methods of
// event.Scheduler may be, in real time from any goroutine but the loop's.
func Attach(ctx context.Context, loop event.Loop, layer *transport.Layer, program string) (*Node, error) {
	n := newNode()
	a, err := attach(ctx, loop, layer, program, (*sessionSink)(n))
	if err != nil {
		return nil, err
	}
	n.be = a
	return n, nil
}

func newNode() *Node {
	return &Node{calls: make(map[uint64]*call), conns: make(map[uint64]*Conn)}
}

// Name returns the name of the node.
func (n *Node) Name() string { return n.be.Node() }

// Now returns the current time of the network: wall-clock time in real time
// (which runs slower where the network's does), and in virtual time the time
// since the start of the network after 1 January 1970.
func (n *Node) Now() time.Time { return n.be.Clock(n.be.Now()) }

// Time returns an instant of the network as Now would.
func (n *Node) Time(t qnet.Time) time.Time { return n.be.Clock(t) }

// WithTimeout is context.WithTimeout in the time of the network. Its contexts are
// the only ones with a deadline that work in virtual time.
func (n *Node) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return n.be.WithTimeout(ctx, d)
}

// Close ends the session. What is left of it is freed, and those who wait in its
// methods get net.ErrClosed.
func (n *Node) Close() error {
	n.fail(qnet.Errorf(qnet.ErrClosed, "the session on %s was closed", n.Name()))
	n.mu.Lock()
	closed := n.closed
	n.closed = true
	n.mu.Unlock()
	if !closed {
		n.be.Close()
	}
	return nil
}

// fail ends the session at this side.
func (n *Node) fail(err error) {
	n.mu.Lock()
	if n.err != nil {
		n.mu.Unlock()
		return
	}
	n.err = err
	calls, conns := n.calls, n.conns
	n.calls, n.conns = nil, nil
	n.mu.Unlock()
	for _, ref := range slices.Sorted(maps.Keys(calls)) { // a fixed order, for virtual time
		calls[ref].w.Wake()
	}
	for _, id := range slices.Sorted(maps.Keys(conns)) {
		conns[id].fail(err)
	}
}

// sessionSink is the node as the sink of its session.
type sessionSink Node

// Message implements transport.Sink.
func (s *sessionSink) Message(m wire.Message) {
	n := (*Node)(s)
	switch m := m.(type) {
	case *transport.Reply:
		n.mu.Lock()
		c := n.calls[m.Ref]
		if c == nil {
			n.mu.Unlock()
			return
		}
		delete(n.calls, m.Ref)
		if c.late == nil {
			c.reply = m
			c.w.Wake()
		}
		late := c.late
		n.mu.Unlock()
		if late != nil {
			late(m)
		}
	case *transport.Closed:
		n.fail(&qnet.Error{Code: m.Code, Text: m.Text})
	}
}

// call makes a request, which is given its number, and waits for the reply. A
// reply that comes after ctx is done goes to late.
func (n *Node) call(ctx context.Context, request func(ref uint64) wire.Message, late func(*transport.Reply)) (*transport.Reply, error) {
	c := &call{w: n.be.NewWaiter()}
	n.mu.Lock()
	if n.err != nil {
		defer n.mu.Unlock()
		return nil, n.err
	}
	n.lastRef++
	ref := n.lastRef
	n.calls[ref] = c
	n.mu.Unlock()
	n.be.Do(request(ref))
	for {
		err := c.w.Wait(ctx)
		n.mu.Lock()
		switch {
		case c.reply != nil:
			n.mu.Unlock()
			if c.reply.Code != qnet.OK {
				return nil, &qnet.Error{Code: c.reply.Code, Text: c.reply.Text}
			}
			return c.reply, nil
		case n.err != nil:
			defer n.mu.Unlock()
			return nil, n.err
		case err != nil:
			if late == nil {
				late = func(*transport.Reply) {}
			}
			c.late = late
			n.mu.Unlock()
			return nil, waitError(ctx, err)
		}
		n.mu.Unlock()
	}
}

// ctxError returns the cause of a context that is done, with a code.
func ctxError(ctx context.Context) error { return waitError(ctx, context.Cause(ctx)) }

// waitError gives an error of a Waiter a code: what a context was done for, or a
// fault of the program that the loop has found.
func waitError(ctx context.Context, err error) error {
	code := qnet.CodeOf(err)
	if code == qnet.ErrInternal && ctx.Err() != nil { // a cause of the program's own
		code = qnet.CodeOf(ctx.Err())
	}
	return &ctxErr{qnet.Error{Code: code, Text: err.Error()}, err}
}

// withdrawn returns the answer to a request as an error, with the cause of ctx
// if that is why it failed.
func withdrawn(ctx context.Context, code qnet.Code, text string) error {
	err := qnet.Error{Code: code, Text: text}
	if ctx.Err() != nil && (code == qnet.ErrTimeout || code == qnet.ErrCancelled) {
		return &ctxErr{err, context.Cause(ctx)}
	}
	return &err
}

// ctxErr is an error with the cause of a context for errors.Is.
type ctxErr struct {
	err   qnet.Error
	cause error
}

func (e *ctxErr) Error() string   { return e.err.Error() }
func (e *ctxErr) Unwrap() []error { return []error{e.err.Code, e.cause} }
func (e *ctxErr) Timeout() bool   { return e.err.Timeout() }
func (e *ctxErr) Temporary() bool { return e.err.Temporary() }

// Contract is what a socket asks of the network.
type Contract struct {
	// MinFidelity is the least expected fidelity of a kept pair at delivery, from
	// 0 (any) to 1. What the path can not reach is refused with qnet.ErrFidelity.
	MinFidelity float64
	// MinRate is the least expected rate in pairs per second, 0 for any. What the
	// path does not give is refused with qnet.ErrUnsupported.
	MinRate float64
	// State is the Bell state of the pairs that both ends keep or measure; the
	// zero value is Φ+. An end turns those that come as another into it.
	State BellLabel
}

// Addr is the address of a port of a node.
type Addr struct {
	Node string
	Port uint16
}

// Network returns "qnet".
func (Addr) Network() string { return "qnet" }

// String returns the address as in "charlie:7".
func (a Addr) String() string { return fmt.Sprintf("%s:%d", a.Node, a.Port) }

// ParseAddr parses an address such as "charlie:7".
func ParseAddr(s string) (Addr, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return Addr{}, qnet.Errorf(qnet.ErrInvalid, "address %q: want a node and a port, as in charlie:7", s)
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil {
		return Addr{}, qnet.Errorf(qnet.ErrInvalid, "address %q: the port must be a number from 0 to 65535", s)
	}
	return Addr{Node: s[:i], Port: uint16(port)}, nil
}

// Dial opens a socket to a program that listens on addr, such as "charlie:7". It
// returns when the circuit between the two nodes is up.
//
// It fails with qnet.ErrUnknown for a node that is not there, qnet.ErrNoListener
// when nobody listens on the port, qnet.ErrNoRoute, qnet.ErrFidelity with what
// is within reach, and qnet.ErrBusy when too many wait to be accepted.
func (n *Node) Dial(ctx context.Context, addr string, c Contract) (*Conn, error) {
	a, err := ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	if !c.State.Valid() {
		return nil, qnet.Errorf(qnet.ErrInvalid, "dial %s: %v is not one of the four Bell states", addr, c.State)
	}
	return n.openConn(ctx, &transport.Dial{Node: a.Node, Port: a.Port, MinFidelity: c.MinFidelity, MinRate: c.MinRate, State: c.State})
}

// Listen listens on a port of this node: addr is ":7", or "alice:7" with the
// node's own name; port 0 stands for any that is free. It fails with
// qnet.ErrInUse when another program has the port.
func (n *Node) Listen(ctx context.Context, addr string) (*Listener, error) {
	a, err := ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	if a.Node != "" && a.Node != n.Name() {
		return nil, qnet.Errorf(qnet.ErrInvalid, "listen on %s: this node is %s", addr, n.Name())
	}
	r, err := n.call(ctx, func(ref uint64) wire.Message { return &transport.Listen{Ref: ref, Port: a.Port} },
		func(r *transport.Reply) {
			if r.Code == qnet.OK {
				n.be.Do(&transport.Unlisten{Port: uint16(r.Value)})
			}
		})
	if err != nil {
		return nil, err
	}
	return &Listener{n: n, addr: Addr{n.Name(), uint16(r.Value)}}, nil
}

// Listener is a port that a program listens on.
type Listener struct {
	n    *Node
	addr Addr
}

// Addr returns the address of the port.
func (l *Listener) Addr() Addr { return l.addr }

// Accept waits for the next socket that is dialled to the port.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	return l.n.openConn(ctx, &transport.Accept{Port: l.addr.Port})
}

// Close gives the port back. Sockets that were not accepted are refused, and
// those who wait in Accept get net.ErrClosed.
func (l *Listener) Close() error {
	ctx, cancel := l.n.be.WithTimeout(context.Background(), grace)
	defer cancel()
	_, err := l.n.call(ctx, func(ref uint64) wire.Message { return &transport.Unlisten{Ref: ref, Port: l.addr.Port} }, nil)
	if qnet.CodeOf(err) == qnet.ErrClosed {
		return nil // it was, or the session is
	}
	return err
}

// grace is how long the node has to answer a request that was withdrawn, beyond
// what any of its answers takes; then the socket is taken for broken.
const grace = 15 * time.Second

// openConn makes a channel and opens it with m, Dial or Accept.
func (n *Node) openConn(ctx context.Context, m wire.Message) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, ctxError(ctx)
	}
	n.mu.Lock()
	if n.err != nil {
		defer n.mu.Unlock()
		return nil, n.err
	}
	n.lastID++
	c := &Conn{n: n, id: n.lastID, opening: n.be.NewWaiter(), asks: make(map[uint64]*ask), window: transport.Window}
	n.conns[c.id] = c
	n.mu.Unlock()
	ch, err := n.be.Channel(ctx, c)
	if err != nil {
		n.forget(c)
		if n.failure() != nil {
			return nil, n.failure()
		}
		return nil, waitError(ctx, err)
	}
	c.mu.Lock()
	c.ch = ch
	failed := c.err
	c.mu.Unlock()
	if failed != nil { // the session has ended in the meantime
		ch.Close()
		return nil, failed
	}
	ch.Do(m)
	if err := c.await(ctx, c.opening, 0, func() bool { return c.opened != nil }); err != nil {
		c.Close()
		return nil, err
	}
	if c.opened.Code != qnet.OK {
		c.Close()
		return nil, withdrawn(ctx, c.opened.Code, c.opened.Text)
	}
	return c, nil
}

// forget removes a socket that has been closed.
func (n *Node) forget(c *Conn) {
	n.mu.Lock()
	delete(n.conns, c.id)
	n.mu.Unlock()
}

// failure returns why the session has ended, nil while it has not.
func (n *Node) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}
