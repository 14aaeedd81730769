package transport

import (
	"cmp"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// Config configures the transport layer of one node. A limit of 0 stands for
// its default; what exceeds a limit is refused with qnet.ErrBusy, unless the
// comment says otherwise.
type Config struct {
	Name string // of the node
	// Resolve returns the identity of the node called name; ok is false if there
	// is none.
	Resolve func(name string) (id qnet.NodeID, ok bool)
	// NameOf returns the name of a node, for texts.
	NameOf func(id qnet.NodeID) string

	Sessions  int // open sessions (256)
	Channels  int // channels of a session (1024)
	Listeners int // ports of a session (64)
	Backlog   int // sockets of a port that wait to be accepted, at most and by default (32)
	Posts     int // requests of one end of a socket (1024; more from the peer is a protocol error)
	InFlight  int // matched requests of a socket that wait for pairs (256; others wait to be matched)
	Qubits    int // qubits of a session (4096; more is qnet.ErrNoMemory)

	// ConnectTimeout bounds the opening of a socket (30 s).
	ConnectTimeout time.Duration
	// CorrectionTimeout bounds the wait for what the other end does at once:
	// the correction of a qubit, and its receipt (5 s). It is a fault of the peer
	// to exceed it, and ends the socket.
	CorrectionTimeout time.Duration
}

func (c *Config) setDefaults() {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.Sessions, 256)
	def(&c.Channels, 1024)
	def(&c.Listeners, 64)
	def(&c.Backlog, 32)
	def(&c.Posts, 1024)
	def(&c.InFlight, 256)
	def(&c.Qubits, 4096)
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = 30 * time.Second
	}
	if c.CorrectionTimeout <= 0 {
		c.CorrectionTimeout = 5 * time.Second
	}
}

// Sequence numbers of requests and circuits' requests start near 2³², so that
// narrow arithmetic shows.
const seqBase = 1<<32 - 64

// Ports that Listen hands out when asked for any.
const (
	firstFreePort = 49152
	lastFreePort  = 65535
)

// Layer is the transport layer of one node.
type Layer struct {
	cfg  Config
	net  Network
	ctl  control.Endpoint
	dev  physical.Device
	loop event.Scheduler
	tr   *trace.Tracer

	sessions    []*Session // in order of opening
	ports       map[uint16]*listener
	invited     map[uint64]*socket // tail ends without their circuit, by tag
	lastSession uint64
	lastSocket  uint64
	lastPort    uint16
}

// New returns the transport layer of a node. It serves its part of the control
// plane and the incoming circuits from then on.
func New(cfg Config, n Network, ctl control.Endpoint, dev physical.Device, loop event.Scheduler, tr *trace.Tracer) *Layer {
	cfg.setDefaults()
	l := &Layer{
		cfg: cfg, net: n, ctl: ctl, dev: dev, loop: loop, tr: tr,
		ports:    make(map[uint16]*listener),
		invited:  make(map[uint64]*socket),
		lastPort: lastFreePort,
	}
	ctl.Handle(wire.ServiceTransport, (*acceptor)(l))
	n.HandleIncoming(l.incoming)
	return l
}

// Name returns the name of the node.
func (l *Layer) Name() string { return l.cfg.Name }

// Now returns the current instant of the network's time, which stamps pairs.
func (l *Layer) Now() qnet.Time { return l.dev.Now() }

// Close ends all sessions. Their programs are told, by Closed, that the node
// shuts down.
func (l *Layer) Close() {
	for len(l.sessions) > 0 {
		s := l.sessions[len(l.sessions)-1]
		s.sink.Message(&Closed{Code: qnet.ErrUnavail, Text: l.cfg.Name + " shuts down"})
		s.End()
	}
}

// Stats counts what the layer holds. At rest, all is 0 but the sessions of
// programs that run.
type Stats struct {
	Sessions, Listeners, Sockets int
	Requests                     int // of programs, unanswered
	Told                         int // of peers, unmatched
	Qubits                       int // of programs, and halves under way to them
}

// Stats returns the current counts.
func (l *Layer) Stats() Stats {
	st := Stats{Sessions: len(l.sessions), Listeners: len(l.ports)}
	for _, s := range l.sessions {
		st.Qubits += len(s.qubits)
		for _, k := range s.sockets {
			st.Sockets++
			st.Requests += len(k.posts)
			for _, r := range k.told {
				st.Told += len(r)
			}
			for _, p := range k.postsInOrder() {
				st.Qubits += len(p.kept)
				if !p.half.IsZero() {
					st.Qubits++
				}
			}
		}
	}
	return st
}

// SocketInfo describes one socket for status reports.
type SocketInfo struct {
	Session uint64
	Program string // that the socket belongs to
	Peer    string // node at the other end
	Port    uint16
	Head    bool // this end dialled
	State   string
	Circuit CircuitID // zero until it is known
	Here    []RequestInfo
	There   []RequestInfo // that the peer has told and nothing matches
}

// RequestInfo describes one request for status reports.
type RequestInfo struct {
	Seq     uint64
	Kind    Kind
	Pairs   uint64
	Got     uint64 // pairs delivered so far
	Matched bool
}

// Sockets describes all sockets, in order of session and socket.
func (l *Layer) Sockets() []SocketInfo {
	var out []SocketInfo
	for _, s := range l.sessions {
		for _, k := range s.sockets {
			i := SocketInfo{Session: s.id, Program: s.name, Peer: k.peerName, Port: k.port, Head: k.head, State: k.state.String()}
			if k.info != nil {
				i.Circuit = k.info.Circuit
			}
			for _, p := range k.postsInOrder() {
				i.Here = append(i.Here, RequestInfo{Seq: p.seq, Kind: p.kind, Pairs: p.pairs, Got: p.got, Matched: p.state != waiting})
			}
			for _, c := range k.told {
				for _, r := range c {
					i.There = append(i.There, RequestInfo{Seq: r.Seq, Kind: r.Kind, Pairs: r.Pairs})
				}
			}
			slices.SortFunc(i.There, func(a, b RequestInfo) int { return cmp.Compare(a.Seq, b.Seq) })
			out = append(out, i)
		}
	}
	return out
}

// listener is a port that a program listens on.
type listener struct {
	session *Session
	port    uint16
	backlog int
	invited int        // sockets that are not yet open
	queue   []*socket  // open, in order
	waiting []*Channel // Accepts, in order
}

// offer gives k to the program, now or when it accepts.
func (li *listener) offer(k *socket) {
	li.queue = append(li.queue, k)
	if len(li.waiting) > 0 {
		c := li.waiting[0]
		li.waiting = slices.Delete(li.waiting, 0, 1)
		li.give(c)
	}
}

// give hands the first socket of the queue to the channel c.
func (li *listener) give(c *Channel) {
	k := li.queue[0]
	li.queue = slices.Delete(li.queue, 0, 1)
	k.lis = nil
	k.attach(c)
}

// close refuses all that waits.
func (li *listener) close() {
	delete(li.session.l.ports, li.port)
	waiting := li.waiting
	li.waiting = nil
	for _, c := range waiting {
		c.accepting = nil
		c.opened(qnet.Errorf(qnet.ErrClosed, "accept on port %d of %s: the listener was closed", li.port, li.session.l.cfg.Name))
	}
	err := li.session.l.noListener(li.port)
	for _, k := range slices.Clone(li.session.sockets) {
		if k.lis == li {
			k.fail(err)
		}
	}
}

func (l *Layer) noListener(port uint16) error {
	return qnet.Errorf(qnet.ErrNoListener, "no program listens on %s:%d; start one there, or check the port", l.cfg.Name, port)
}

// acceptor receives from the control plane.
type acceptor Layer

// Datagram implements control.Handler; this service has no datagrams.
func (a *acceptor) Datagram(qnet.NodeID, []byte) {}

// PeerUp implements control.Handler.
func (a *acceptor) PeerUp(qnet.NodeID) {}

// PeerDown implements control.Handler; the streams have said it already.
func (a *acceptor) PeerDown(qnet.NodeID, error) {}

// Accept implements control.Handler: a peer dials.
func (a *acceptor) Accept(st control.Stream, first []byte) control.StreamHandler {
	l := (*Layer)(a)
	var m Connect
	if err := wire.Parse(first, &m); err != nil {
		l.tr.Event(l.Now(), "transport", "refuse").Str("peer", l.cfg.NameOf(st.Peer())).Str("why", err.Error()).End()
		return nil
	}
	li := l.ports[m.Port]
	var err error
	switch {
	case li == nil:
		err = l.noListener(m.Port)
	case li.invited+len(li.queue) >= li.backlog:
		err = qnet.Errorf(qnet.ErrBusy, "%s:%d has %d sockets waiting to be accepted, which is its limit; try again later", l.cfg.Name, m.Port, li.backlog)
	}
	k := newSocket(l, st.Peer(), m.Port)
	if err != nil {
		l.tr.Event(l.Now(), "transport", "refuse").Str("peer", k.peerName).Uint("port", uint64(m.Port)).Str("why", err.Error()).End()
		st.Send(&ConnectReply{Code: qnet.CodeOf(err), Text: wire.Clip(err.Error(), maxText)})
		st.Close(qnet.OK)
		return refused{}
	}
	k.tag = k.id
	k.asked = m.State
	k.stream = st
	k.lis = li
	li.invited++
	l.invited[k.tag] = k
	li.session.add(k)
	k.become(invited)
	k.timer = l.loop.After(l.cfg.ConnectTimeout, func() {
		k.fail(qnet.Errorf(qnet.ErrTimeout, "%s did not open the socket to %s:%d within %v", k.peerName, l.cfg.Name, k.port, l.cfg.ConnectTimeout))
	})
	st.Send(&ConnectReply{Tag: k.tag})
	return (*streamEnd)(k)
}

// refused is the handler of a stream that was closed at once.
type refused struct{}

func (refused) Message(control.Stream, []byte) {}
func (refused) Closed(control.Stream, error)   {}

// incoming gives a circuit to the socket that invited it.
func (l *Layer) incoming(c Circuit, tag uint64) (CircuitHandler, error) {
	k := l.invited[tag]
	if k == nil || k.peer != c.Peer() {
		return nil, qnet.Errorf(qnet.ErrUnknown, "no socket of %s waits for a circuit of %s", l.cfg.Name, l.cfg.NameOf(c.Peer()))
	}
	delete(l.invited, tag)
	k.join(c)
	return (*circuitEnd)(k), nil
}
