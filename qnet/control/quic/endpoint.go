package quic

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/pki"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// ALPN is the application protocol of every connection, with its version.
const ALPN = "qnet/1"

// Limits. Each bounds what a peer can make this process hold.
const (
	minDatagram   = 48                    // bytes of a QUIC datagram, see Pad
	maxDatagram   = wire.MaxDatagram + 20 // bytes of a QUIC datagram, with stamps
	maxSendQueue  = 256                   // datagrams that wait to be sent on a connection
	maxInbox      = 1024                  // datagrams that wait for the loop, for each connection
	maxHeld       = 4096                  // datagrams held for the fibre's delay, for each connection
	maxWaiting    = 64                    // datagrams that wait for a connection, for each peer
	maxStreams    = 1024                  // streams that a peer may have open on a connection
	maxUnsent     = control.MaxUnsent
	maxBatches    = 4                     // batches of a stream that wait for the loop
	maxConns      = 4                     // connections to one peer
	maxInbound    = 1024                  // inbound connections, handshaking or not
	streamWindow  = 1 << 20               // bytes of a stream in flight
	connWindow    = 16 << 20              // bytes of all streams of a connection in flight
	readSize      = 8 << 10               // bytes of a buffer for reading
	minDelay      = 50 * time.Microsecond // shortest fibre delay that is kept
	minBackoff    = 50 * time.Millisecond
	maxBackoff    = time.Second
	rejectsLogged = 10 // refused handshakes that are logged in a second
)

// Config says who an endpoint is and whom it talks to. Credential and Loop are
// required; zero values elsewhere mean the defaults.
type Config struct {
	Credential *pki.Credential // whose identity is the endpoint's own
	Loop       event.Loop      // a loop in real time; all handlers are called on it
	Listen     string          // UDP address; default "127.0.0.1:0"
	Peers      []Peer          // more can be added by SetPeer
	// AcceptNodes lets any node of the realm connect. Otherwise only the peers in
	// Peers may.
	AcceptNodes bool
	Logger      *slog.Logger  // default: no log
	Tracer      *trace.Tracer // of the node; nil traces nothing

	Hello       time.Duration // interval of hellos; default 250 ms
	Dead        time.Duration // silence after which a connection is dead; default 1 s
	DialTimeout time.Duration // for one attempt, and for a stream to wait for a connection; default 1 s
	Idle        time.Duration // unused time after which a connection on demand is dropped; default 30 s

	// ResetKey is the key of stateless resets, by which a peer learns at once that
	// this endpoint has restarted. It has to be the same after the restart; the
	// default is derived from the credential.
	ResetKey *[32]byte
	// Offset returns what is to be added to the loop's time to obtain the time of
	// the network, for send stamps. It is called on the loop. Default: nothing.
	Offset func() time.Duration
}

// Peer is somebody to talk to.
type Peer struct {
	Name      string        // the name in its certificate
	ID        qnet.NodeID   // default: the id of Name in the endpoint's realm
	Addr      string        // host:port over UDP; "" if only the peer can dial
	Delay     time.Duration // of the fibre, one way; below 50 µs counts as none
	Neighbour bool          // keep a connection at all times; the lower id dials, so it needs Addr
}

// Stats counts what an endpoint did since it was made.
type Stats struct {
	DatagramsSent     uint64 // QUIC datagrams, each with several messages perhaps
	DatagramsReceived uint64
	MessagesSent      uint64 // in datagrams
	SendDropped       uint64 // messages to a datagram queue that was full, or to nobody
	ReceiveDropped    uint64 // datagrams to an inbox that was full
}

type counters struct {
	sent, received, messages, sendDropped, receiveDropped atomic.Uint64
}

// Endpoint is a control.Endpoint over QUIC. The methods of control.Endpoint are
// for the loop, the others may be called from any goroutine.
type Endpoint struct {
	conf        Config
	self        pki.Identity
	loop        event.Loop
	log         *slog.Logger
	incarnation uint64
	began       time.Time // origin of wall-clock readings

	socket    net.PacketConn
	transport *quicgo.Transport
	listener  *quicgo.Listener
	quicConf  *quicgo.Config

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup // all goroutines of the endpoint
	buffers sync.Pool      // of *[readSize]byte
	closing atomic.Bool
	done    chan struct{} // closed when Close is complete
	stats   counters

	mu      sync.Mutex // guards what follows
	known   map[qnet.NodeID]bool
	live    map[*conn]struct{}
	inbound int
	rejects int       // refused handshakes since reject
	reject  time.Time // less than a second ago, or the next begins another second

	// Used on the loop only.
	started  bool
	handlers []service
	peers    map[qnet.NodeID]*peer
	random   *rand.Rand // for back-off
	scratch  []byte
	streams  uint64 // ever, to number them in the trace
}

type service struct {
	number  wire.Service
	handler control.Handler
}

// New makes an endpoint and binds its socket, so that Addr is known. It talks to
// nobody before Start. It fails with qnet.ErrInvalid for a bad configuration,
// otherwise with the error of the socket.
func New(c Config) (*Endpoint, error) {
	if c.Credential == nil || c.Loop == nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "control: an endpoint needs a credential and a loop")
	}
	self := c.Credential.Identity()
	if c.Loop.Virtual() {
		return nil, qnet.Errorf(qnet.ErrInvalid, "control: %s: QUIC needs a loop in real time", self.Name)
	}
	for _, d := range []*time.Duration{&c.Hello, &c.Dead, &c.DialTimeout, &c.Idle} {
		if *d < 0 {
			return nil, qnet.Errorf(qnet.ErrInvalid, "control: %s: negative time %v", self.Name, *d)
		}
	}
	c.Hello = orDefault(c.Hello, 250*time.Millisecond)
	c.Dead = orDefault(c.Dead, time.Second)
	c.DialTimeout = orDefault(c.DialTimeout, time.Second)
	c.Idle = orDefault(c.Idle, 30*time.Second)
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Offset == nil {
		c.Offset = func() time.Duration { return 0 }
	}
	if c.ResetKey == nil {
		key := c.Credential.Secret("stateless reset")
		c.ResetKey = &key
	}

	e := &Endpoint{
		conf:  c,
		self:  self,
		loop:  c.Loop,
		log:   c.Logger.With("self", self.Name),
		began: time.Now(),
		done:  make(chan struct{}),
		known: make(map[qnet.NodeID]bool),
		live:  make(map[*conn]struct{}),
		peers: make(map[qnet.NodeID]*peer),
	}
	e.buffers.New = func() any { return new([readSize]byte) }
	e.ctx, e.cancel = context.WithCancel(context.Background())
	var seed [24]byte
	crand.Read(seed[:])
	e.incarnation = binary.BigEndian.Uint64(seed[:]) & wire.MaxUvarint
	e.random = rand.New(rand.NewPCG(binary.BigEndian.Uint64(seed[8:]), binary.BigEndian.Uint64(seed[16:])))
	for _, p := range c.Peers {
		p, err := e.complete(p)
		if err != nil {
			return nil, err
		}
		e.known[p.ID] = true
		e.peers[p.ID] = &peer{e: e, id: p.ID, conf: p, configured: true}
	}
	e.quicConf = &quicgo.Config{
		HandshakeIdleTimeout: c.DialTimeout,
		// Hellos find out earlier; this is for a connection that nobody watches.
		MaxIdleTimeout:                 max(4*c.Dead, 5*time.Second),
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     connWindow,
		MaxIncomingStreams:             maxStreams,
		MaxIncomingUniStreams:          -1,
		EnableDatagrams:                true,
	}
	socket, err := net.ListenPacket("udp", c.Listen)
	if err != nil {
		return nil, err
	}
	e.socket = socket
	e.transport = &quicgo.Transport{
		Conn:              socket,
		StatelessResetKey: (*quicgo.StatelessResetKey)(c.ResetKey),
		ConnContext:       e.admit,
	}
	e.listener, err = e.transport.Listen(c.Credential.ServerTLS(ALPN, e.allow), e.quicConf)
	if err != nil {
		socket.Close()
		return nil, qnet.Errorf(qnet.ErrInternal, "control: %s: %v", self.Name, err)
	}
	return e, nil
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// complete fills in the id and checks what can be checked.
func (e *Endpoint) complete(p Peer) (Peer, error) {
	if p.Name == "" && p.ID == 0 {
		return p, qnet.Errorf(qnet.ErrInvalid, "control: %s: a peer has neither name nor id", e.self.Name)
	}
	if p.ID == 0 {
		p.ID = qnet.NewNodeID(e.self.Realm, p.Name)
	}
	if p.Name == "" {
		p.Name = p.ID.String()
	}
	if p.ID == e.self.ID {
		return p, qnet.Errorf(qnet.ErrInvalid, "control: %s can not be its own peer", p.Name)
	}
	if p.Addr != "" {
		if _, _, err := splitAddr(p.Addr); err != nil {
			return p, qnet.Errorf(qnet.ErrInvalid, "control: peer %s: %v", p.Name, err)
		}
	}
	if p.Delay < 0 {
		return p, qnet.Errorf(qnet.ErrInvalid, "control: peer %s: negative delay %v", p.Name, p.Delay)
	}
	return p, nil
}

// Addr returns the address of the socket.
func (e *Endpoint) Addr() net.Addr { return e.socket.LocalAddr() }

// Identity returns who the endpoint is.
func (e *Endpoint) Identity() pki.Identity { return e.self }

// Stats returns the counters.
func (e *Endpoint) Stats() Stats {
	return Stats{
		DatagramsSent:     e.stats.sent.Load(),
		DatagramsReceived: e.stats.received.Load(),
		MessagesSent:      e.stats.messages.Load(),
		SendDropped:       e.stats.sendDropped.Load(),
		ReceiveDropped:    e.stats.receiveDropped.Load(),
	}
}

// Start lets the endpoint accept connections and dial its neighbours. Handlers
// must have been set before.
func (e *Endpoint) Start() {
	e.post(func() {
		if e.started {
			return
		}
		e.started = true
		e.spawn(e.accept)
		for _, p := range e.sortedPeers() {
			p.keep()
		}
	})
}

// SetPeer adds a peer, or changes where it is and what is known of it.
// Connections stay as they are; a new address counts from the next dialling. It
// fails with qnet.ErrInvalid.
func (e *Endpoint) SetPeer(p Peer) error {
	p, err := e.complete(p)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.known[p.ID] = true
	e.mu.Unlock()
	e.post(func() {
		if old := e.peers[p.ID]; old != nil {
			old.conf, old.configured = p, true
		} else {
			e.peers[p.ID] = &peer{e: e, id: p.ID, conf: p, configured: true}
		}
		e.peers[p.ID].keep()
	})
	return nil
}

// Close ends all connections and waits for all goroutines of the endpoint.
// Peers are told; nothing is told to handlers. It may be called more than once,
// on the loop or elsewhere, before or after the loop has been closed.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	if e.closing.Load() {
		e.mu.Unlock()
		<-e.done
		return nil
	}
	e.closing.Store(true) // from here on live does not grow
	var wg sync.WaitGroup
	for c := range e.live {
		wg.Go(func() { c.quic.CloseWithError(quicgo.ApplicationErrorCode(qnet.ErrUnavail), "shutting down") })
	}
	e.mu.Unlock()
	wg.Wait()
	e.cancel()
	err := errors.Join(e.listener.Close(), e.transport.Close(), e.socket.Close())
	e.wg.Wait()
	close(e.done)
	return err
}

// spawn runs f in a goroutine that Close waits for. After Close it does nothing.
func (e *Endpoint) spawn(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closing.Load() {
		e.wg.Go(f)
	}
}

// post runs f on the loop, unless the endpoint has been closed by then.
func (e *Endpoint) post(f func()) bool {
	return e.loop.Post(func() {
		if !e.closing.Load() {
			f()
		}
	})
}

// clock returns the wall-clock time since the endpoint was made.
func (e *Endpoint) clock() time.Duration { return time.Since(e.began) }

// ID implements control.Endpoint.
func (e *Endpoint) ID() qnet.NodeID { return e.self.ID }

// Handle implements control.Endpoint. Of the control service, h receives what is
// not the transport's own.
func (e *Endpoint) Handle(s wire.Service, h control.Handler) {
	e.handlers = append(e.handlers, service{s, h})
}

func (e *Endpoint) handler(t wire.Type) control.Handler {
	for _, s := range e.handlers {
		if s.number == t.Service() {
			return s.handler
		}
	}
	return nil
}

// Up implements control.Endpoint.
func (e *Endpoint) Up(id qnet.NodeID) bool {
	p := e.peers[id]
	return p != nil && len(p.conns) > 0
}

// Datagram implements control.Endpoint. It fails with qnet.ErrUnknown,
// qnet.ErrInvalid or qnet.ErrClosed.
func (e *Endpoint) Datagram(to qnet.NodeID, m wire.Message) error {
	p, err := e.addressed(to)
	if err != nil {
		return err
	}
	e.scratch = wire.Append(e.scratch[:0], m)
	if len(e.scratch) > wire.MaxDatagram {
		return qnet.Errorf(qnet.ErrInvalid, "control: datagram to %s: message %s has %d bytes, more than %d", p.conf.Name, wire.Name(m), len(e.scratch), wire.MaxDatagram)
	}
	p.trace("send", nil, m.Type(), len(e.scratch), e.scratch)
	p.datagram(e.scratch)
	return nil
}

// Open implements control.Endpoint. It fails with qnet.ErrUnknown,
// qnet.ErrInvalid or qnet.ErrClosed.
func (e *Endpoint) Open(to qnet.NodeID, first wire.Message, h control.StreamHandler) (control.Stream, error) {
	p, err := e.addressed(to)
	if err != nil {
		return nil, err
	}
	if e.handlesItself(first.Type()) {
		return nil, qnet.Errorf(qnet.ErrInvalid, "control: stream to %s: message %s can not be the first", p.conf.Name, wire.Name(first))
	}
	s := newStream(p, h)
	s.Send(first)
	p.open(s)
	return s, nil
}

// addressed returns the peer by that identity if it can be reached or waited for.
func (e *Endpoint) addressed(id qnet.NodeID) (*peer, error) {
	if e.closing.Load() {
		return nil, qnet.Errorf(qnet.ErrClosed, "control: the endpoint of %s is closed", e.self.Name)
	}
	p := e.peers[id]
	if p == nil || len(p.conns) == 0 && p.conf.Addr == "" && !p.conf.Neighbour {
		return nil, qnet.Errorf(qnet.ErrUnknown, "control: %s knows no peer %v, or no address of it", e.self.Name, id)
	}
	return p, nil
}

// handlesItself reports whether messages of type t are the transport's own.
func (e *Endpoint) handlesItself(t wire.Type) bool {
	return t == typeHello || t == typeStamp || t == typeEnd || t == typePad
}

// networkTime returns the present in the time of the network.
func (e *Endpoint) networkTime() qnet.Time { return max(e.loop.Now().Add(e.conf.Offset()), 0) }

// due returns the loop's instant at which a message with the given stamp is to
// be delivered that came over a fibre of the given delay.
func (e *Endpoint) due(stamp qnet.Time, delay time.Duration) qnet.Time {
	now := e.loop.Now()
	if delay < minDelay {
		return now
	}
	return min(stamp.Add(delay).Add(-e.conf.Offset()), now.Add(delay))
}
