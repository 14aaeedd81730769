package transport

import (
	"fmt"
	"maps"
	"slices"

	"qstack/network"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/wire"
)

// socketState is the state of one end of a socket; see the drawing in the
// package comment.
type socketState uint8

const (
	fresh      socketState = iota
	connecting             // head: Connect was sent
	joining                // head: the circuit is being set up
	invited                // tail: waits for the circuit and Open
	queued                 // tail: waits to be accepted
	open
	closed
)

// String names the state.
func (s socketState) String() string {
	return [...]string{"fresh", "connecting", "joining", "invited", "queued", "open", "closed"}[s]
}

// class is a set of requests that match each other.
type class uint8

const (
	classPairs    class = iota // keep and measure
	classForward               // sent by the head
	classBackward              // sent by the tail
	classes
)

func classOf(k Kind, byHead bool) class {
	switch {
	case k == KindKeep || k == KindMeasure:
		return classPairs
	case (k == KindSend) == byHead:
		return classForward
	}
	return classBackward
}

// socket is one end of a socket.
type socket struct {
	l        *Layer
	id       uint64
	session  *Session
	ch       *Channel  // nil at the tail until it is accepted, and once the program has gone
	lis      *listener // tail, until it is accepted
	head     bool
	state    socketState
	peer     qnet.NodeID
	peerName string
	port     uint16
	dial     Dial           // head
	asked    qnet.BellLabel // of the pairs
	info     *Opened        // answers Dial or Accept
	tag      uint64
	stream   control.Stream
	circuit  Circuit
	deadline qnet.Time      // of the opening
	timer    event.Timer    // for it
	held     []wire.Message // for the program, until it accepts

	nextSeq     uint64 // of this end's requests
	nextTold    uint64 // of the peer's
	nextRequest uint64 // of the circuit; the head counts
	posts       map[uint64]*post
	byRef       map[uint64]*post
	byPeer      map[uint64]*post // matched, by the peer's request
	byRequest   map[uint64]*post // by the circuit's request, while that is under way
	waiting     [classes][]*post
	told        [classes][]Post // the peer's that are not matched
	withdrawn   map[uint64]bool // that the peer has not yet confirmed

	sendWindow, recvWindow uint64
	sentEnd, gotEnd        bool
	ended                  error // why the socket has closed
}

func newSocket(l *Layer, peer qnet.NodeID, port uint16) *socket {
	l.lastSocket++
	return &socket{
		l: l, id: l.lastSocket, peer: peer, peerName: l.cfg.NameOf(peer), port: port,
		nextSeq: seqBase, nextTold: seqBase, nextRequest: seqBase,
		posts: make(map[uint64]*post), byRef: make(map[uint64]*post),
		byPeer: make(map[uint64]*post), byRequest: make(map[uint64]*post),
		withdrawn:  make(map[uint64]bool),
		sendWindow: Window, recvWindow: Window,
	}
}

// become is the one place where a socket changes state.
func (k *socket) become(s socketState) {
	k.state = s
	k.l.tr.Event(k.l.Now(), "transport", "socket").Uint("socket", k.id).Str("peer", k.peerName).Uint("port", uint64(k.port)).Str("state", s.String()).End()
}

// dial makes the channel c the head of a socket.
func (l *Layer) dial(c *Channel, m *Dial) {
	fail := func(code qnet.Code, format string, args ...any) {
		c.opened(qnet.Errorf(code, "dial %s:%d: "+format, append([]any{m.Node, m.Port}, args...)...))
	}
	peer, ok := l.cfg.Resolve(m.Node)
	switch {
	case !ok:
		fail(qnet.ErrUnknown, "no node of the network is called %q; check the name", m.Node)
		return
	case peer == l.ctl.ID():
		fail(qnet.ErrInvalid, "that is this node; a socket joins two nodes")
		return
	case m.MinFidelity < 0 || m.MinFidelity > 1:
		fail(qnet.ErrInvalid, "the minimum fidelity %g is not between 0 and 1", m.MinFidelity)
		return
	case m.MinRate < 0:
		fail(qnet.ErrInvalid, "the minimum rate %g is negative", m.MinRate)
		return
	}
	k := newSocket(l, peer, m.Port)
	k.head, k.ch, k.dial, k.asked = true, c, *m, m.State
	st, err := l.ctl.Open(peer, &Connect{Port: m.Port, MinFidelity: m.MinFidelity, State: m.State, Program: c.session.name}, (*streamEnd)(k))
	if err != nil {
		fail(qnet.CodeOf(err), "%v", err)
		return
	}
	k.stream = st
	c.socket = k
	c.session.add(k)
	k.become(connecting)
	k.deadline = l.loop.Now().Add(l.cfg.ConnectTimeout)
	k.timer = l.loop.At(k.deadline, func() { k.fail(k.dialTimeout()) })
}

// dialTimeout says what an opening waits for.
func (k *socket) dialTimeout() error {
	if k.state == connecting {
		return qnet.Errorf(qnet.ErrTimeout, "dial %s:%d timed out: %s has not answered", k.peerName, k.port, k.peerName)
	}
	return qnet.Errorf(qnet.ErrTimeout, "dial %s:%d timed out: %s has answered, but the circuit is not up", k.peerName, k.port, k.peerName)
}

// connectReply is the answer of the tail.
func (k *socket) connectReply(m *ConnectReply) error {
	if !k.head || k.state != connecting {
		return unexpected(m)
	}
	if m.Code != qnet.OK {
		return k.reset(&Reset{Code: m.Code, Text: m.Text})
	}
	k.become(joining)
	k.l.net.Setup(k.peer, m.Tag, k.dial.MinFidelity, k.deadline, (*circuitEnd)(k), k.joined)
	return nil
}

// joined is the result of the circuit's set-up.
func (k *socket) joined(c Circuit, err error) {
	if k.state == closed {
		if c != nil {
			c.Close(qnet.ErrCancelled)
		}
		return
	}
	if err != nil {
		k.fail(qnet.Errorf(qnet.CodeOf(err), "dial %s:%d: %v", k.peerName, k.port, err))
		return
	}
	k.join(c)
	if rate := k.info.Rate; rate < k.dial.MinRate {
		k.fail(qnet.Errorf(qnet.ErrUnsupported, "dial %s:%d: the path gives about %.3g pairs/s, %.3g were asked; ask for less", k.peerName, k.port, rate, k.dial.MinRate))
		return
	}
	k.timer.Stop()
	k.become(open)
	k.stream.Send(&Open{})
	k.say(k.info)
}

// opened is the head's word that the circuit is up.
func (k *socket) opened(m *Open) error {
	if k.head || k.state != invited || k.info == nil {
		return unexpected(m)
	}
	if k.circuit != nil { // otherwise the head has closed already, and the timer waits for its word
		k.timer.Stop()
	}
	k.lis.invited--
	k.become(queued)
	k.lis.offer(k)
	return nil
}

// attach gives a queued socket to the channel that accepts it.
func (k *socket) attach(c *Channel) {
	c.accepting = nil
	c.socket = k
	k.ch = c
	if k.state == queued {
		k.become(open)
	}
	c.say(k.info)
	for _, m := range k.held {
		c.say(m)
	}
	k.held = nil
}

// join gives the socket its circuit.
func (k *socket) join(c Circuit) {
	est := c.Estimate()
	k.circuit = c
	k.info = &Opened{
		Peer: k.peerName, PeerID: k.peer, Port: k.port, Circuit: c.ID(),
		Hops: uint64(c.Hops()), Fidelity: est.Fidelity, Rate: est.Rate, State: k.asked,
	}
}

// say tells the program something, now or when it accepts.
func (k *socket) say(m wire.Message) {
	if k.ch != nil {
		k.ch.say(m)
	} else if k.lis != nil {
		k.hold(m)
	}
}

// hold keeps m until the program accepts. What the peer can make it hold is
// bounded by the window; small pieces are joined.
func (k *socket) hold(m wire.Message) {
	if d, ok := m.(*Data); ok && len(k.held) > 0 {
		if last, ok := k.held[len(k.held)-1].(*Data); ok && len(last.Bytes)+len(d.Bytes) <= MaxData {
			last.Bytes = append(last.Bytes, d.Bytes...)
			return
		}
	}
	k.held = append(k.held, m)
}

// finish closes the socket at the wish of the program.
func (k *socket) finish() {
	k.leave(qnet.OK)
	k.end(qnet.Errorf(qnet.ErrClosed, "the socket to %s:%d was closed", k.peerName, k.port))
	k.stream.Close(qnet.OK)
}

// leave closes the circuit, if it is there.
func (k *socket) leave(code qnet.Code) {
	if k.circuit != nil {
		k.circuit.Close(code)
		k.circuit = nil
	}
}

// finished follows the peer, which has closed the socket.
func (k *socket) finished() {
	err := qnet.Errorf(qnet.ErrPeerClosed, "%s closed the socket", k.peerName)
	if k.state != open && k.state != queued {
		k.down(err)
		return
	}
	k.leave(qnet.OK)
	k.end(err)
	k.say(&Closed{})
}

// fail closes the socket because of err, which the peer is told.
func (k *socket) fail(err error) { k.reject(err, err) }

// lose closes an open socket because of err, to which each end adds which of its
// sockets it is.
func (k *socket) lose(err error) { k.reject(err, k.named(err)) }

// reject closes the socket with one error for the peer and one for here.
func (k *socket) reject(there, here error) {
	if k.state == closed {
		return
	}
	stream, code := k.stream, qnet.CodeOf(there)
	stream.Send(&Reset{Code: code, Text: wire.Clip(there.Error(), maxText)})
	k.down(here)
	stream.Close(code)
}

// named returns err with the name of the socket.
func (k *socket) named(err error) error {
	return qnet.Errorf(qnet.CodeOf(err), "socket to %s:%d: %v", k.peerName, k.port, err)
}

// down ends the socket because of err; the peer knows, or can not be told.
func (k *socket) down(err error) {
	if k.state == closed {
		return
	}
	was := k.state
	code, text := qnet.CodeOf(err), wire.Clip(err.Error(), maxText)
	if was == queued {
		k.lis.queue = slices.DeleteFunc(k.lis.queue, func(o *socket) bool { return o == k })
	}
	k.leave(qnet.OK)
	k.end(err)
	switch was {
	case connecting, joining:
		k.say(&Opened{Code: code, Text: text})
		if k.ch != nil {
			k.ch.socket = nil
		}
	case open:
		k.say(&Closed{Code: code, Text: text})
	}
}

// end releases all that the socket holds: every request fails with err, or as a
// lost qubit.
func (k *socket) end(err error) {
	k.timer.Stop()
	if k.state == invited {
		k.lis.invited--
		delete(k.l.invited, k.tag)
	}
	k.become(closed)
	k.ended = err
	for _, p := range k.postsInOrder() {
		k.void(p, err)
	}
	for c := range k.told {
		k.told[c] = nil
	}
	clear(k.withdrawn)
	k.session.remove(k)
}

// postsInOrder returns the requests of this end, oldest first.
func (k *socket) postsInOrder() []*post {
	out := make([]*post, 0, len(k.posts))
	for _, seq := range slices.Sorted(maps.Keys(k.posts)) {
		out = append(out, k.posts[seq])
	}
	return out
}

// do carries out a message of the program.
func (k *socket) do(m wire.Message) error {
	switch m := m.(type) {
	case *Ask:
		return k.ask(m)
	case *Cancel:
		if p := k.byRef[m.Ref]; p != nil {
			k.cancel(p, m.Code)
		}
		return nil
	case *Data:
		return k.write(m)
	case *EndData:
		return k.endWrite(m)
	case *Credit:
		return k.read(m)
	}
	return qnet.Errorf(qnet.ErrProtocol, "message 0x%x does not belong on a channel", uint16(m.Type()))
}

// write sends bytes of the program.
func (k *socket) write(m *Data) error {
	if k.state != open {
		return nil // the program has yet to hear that the socket has ended
	}
	n := uint64(len(m.Bytes))
	if k.sentEnd || n == 0 || n > MaxData || n > k.sendWindow {
		return qnet.Errorf(qnet.ErrProtocol, "%d bytes of data: the window is %d bytes, one message holds at most %d, and none follows EndData", n, k.sendWindow, MaxData)
	}
	k.sendWindow -= n
	k.stream.Send(m)
	return nil
}

func (k *socket) endWrite(m *EndData) error {
	if k.state != open || k.sentEnd {
		return nil
	}
	k.sentEnd = true
	k.stream.Send(m)
	return nil
}

// read gives the peer credit for what the program has read.
func (k *socket) read(m *Credit) error {
	if m.Bytes == 0 || m.Bytes > Window-k.recvWindow {
		return qnet.Errorf(qnet.ErrProtocol, "credit for %d bytes, but %d are out", m.Bytes, Window-k.recvWindow)
	}
	k.recvWindow += m.Bytes
	if k.state == open && !k.gotEnd {
		k.stream.Send(m)
	}
	return nil
}

// data receives bytes of the peer.
func (k *socket) data(m *Data) error {
	n := uint64(len(m.Bytes))
	if n > k.recvWindow || k.gotEnd {
		return qnet.Errorf(qnet.ErrProtocol, "%d bytes of data: the window is %d bytes, and none follows EndData", n, k.recvWindow)
	}
	k.recvWindow -= n
	k.say(m)
	return nil
}

func (k *socket) endData(m *EndData) error {
	if k.gotEnd {
		return unexpected(m)
	}
	k.gotEnd = true
	k.say(m)
	return nil
}

func (k *socket) credit(m *Credit) error {
	if m.Bytes > Window-k.sendWindow {
		return qnet.Errorf(qnet.ErrProtocol, "credit for %d bytes, but %d are out", m.Bytes, Window-k.sendWindow)
	}
	k.sendWindow += m.Bytes
	k.say(m)
	return nil
}

// streamEnd is the socket as the handler of its stream.
type streamEnd socket

// Message implements control.StreamHandler.
func (e *streamEnd) Message(_ control.Stream, b []byte) {
	k := (*socket)(e)
	if k.state == closed {
		return
	}
	if err := k.receive(b); err != nil {
		k.blame(err)
	}
}

// blame closes the socket for a fault of the peer.
func (k *socket) blame(err error) {
	k.fail(qnet.Errorf(qnet.ErrProtocol, "%s got a bad message of %s: %v", k.l.cfg.Name, k.peerName, err))
}

// Closed implements control.StreamHandler.
func (e *streamEnd) Closed(_ control.Stream, err error) {
	k := (*socket)(e)
	switch {
	case k.state == closed:
	case err == nil:
		k.finished()
	default:
		k.leave(qnet.CodeOf(err))
		k.down(k.named(err))
	}
}

// receive carries out a message of the peer. An error is a fault of the peer.
func (k *socket) receive(b []byte) error {
	t, _, err := wire.Peek(b)
	if err != nil {
		return err
	}
	switch t {
	case typeConnectReply:
		return receive(b, k.connectReply)
	case typeReset:
		return receive(b, k.reset)
	}
	if k.state == invited {
		if t == typeOpen {
			return receive(b, k.opened)
		}
		return fmt.Errorf("message 0x%x before Open", uint16(t))
	}
	if k.state != open && k.state != queued {
		return fmt.Errorf("message 0x%x while the socket opens", uint16(t))
	}
	switch t {
	case typePost:
		return receive(b, k.post)
	case typeMatch:
		return receive(b, k.matched)
	case typeFail:
		return receive(b, k.failed)
	case typeWithdraw:
		return receive(b, k.withdraw)
	case typeWithdrawn:
		return receive(b, k.confirmed)
	case typeCorrection:
		return receive(b, k.correction)
	case typeReceived:
		return receive(b, k.received)
	case typeLost:
		return receive(b, k.lost)
	case typeData:
		return receive(b, k.data)
	case typeEndData:
		return receive(b, k.endData)
	case typeCredit:
		return receive(b, k.credit)
	}
	return fmt.Errorf("message 0x%x does not belong on this stream", uint16(t))
}

// receive decodes b and hands it to f.
func receive[M any, P interface {
	*M
	wire.Message
}](b []byte, f func(P) error) error {
	m := P(new(M))
	if err := wire.Parse(b, m); err != nil {
		return err
	}
	return f(m)
}

func unexpected(m wire.Message) error { return fmt.Errorf("unexpected %s", wire.Name(m)) }

// reset is the peer's reason for closing the stream.
func (k *socket) reset(m *Reset) error {
	if m.Code == qnet.OK {
		return unexpected(m)
	}
	stream := k.stream
	var err error = &qnet.Error{Code: m.Code, Text: m.Text}
	if k.state == open || k.state == queued {
		err = k.named(err)
	}
	k.down(err)
	stream.Close(m.Code)
	return nil
}

// circuitEnd is the socket as the handler of its circuit.
type circuitEnd socket

// Pair implements CircuitHandler.
func (e *circuitEnd) Pair(d network.Delivery) {
	k := (*socket)(e)
	p := k.byRequest[d.Request]
	if p == nil { // cancelled in the meantime
		if !d.Qubit.IsZero() {
			k.l.free(d.Qubit)
		}
		return
	}
	k.delivered(p, d)
}

// RequestDone implements CircuitHandler.
func (e *circuitEnd) RequestDone(id uint64) {
	k := (*socket)(e)
	if p := k.byRequest[id]; p != nil {
		delete(k.byRequest, id)
		k.allDelivered(p)
	}
	k.match()
}

// Down implements CircuitHandler. That the peer has closed the circuit means that
// it has closed the socket: why, it says on the stream, which carries data that
// must not be lost.
func (e *circuitEnd) Down(err error) {
	k := (*socket)(e)
	k.circuit = nil
	if code := qnet.CodeOf(err); (code == qnet.OK || code == qnet.ErrPeerClosed) && k.state != closed {
		k.timer.Stop()
		k.timer = k.l.loop.After(k.l.cfg.CorrectionTimeout, func() {
			k.lose(qnet.Errorf(qnet.ErrPeerClosed, "%v", err))
		})
		return
	}
	k.lose(err)
}
