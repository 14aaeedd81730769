// Package control is how the classical half of the stack talks: an Endpoint
// carries messages between this node and its peers in two classes, datagrams
// (may be lost, duplicated, reordered) and ordered reliable streams.
//
// The package holds the interface and its in-memory form, which serves the
// virtual world, one-process networks and tests. Package control/quic is the
// same over QUIC between processes. Everything here happens on the node's event
// loop; a handler must not keep a message's bytes after it returns.
package control

import (
	"qstack/qnet"
	"qstack/qnet/wire"
)

// Endpoint is the control plane of one node or station.
type Endpoint interface {
	// ID returns the identity that the endpoint is authenticated as.
	ID() qnet.NodeID
	// Handle makes h receive everything of one service. It is called once for
	// each service, before the loop runs.
	Handle(s wire.Service, h Handler)
	// Datagram sends m to a peer, unreliably; m is encoded before it returns. The
	// error says that the peer is unknown (qnet.ErrUnknown) or that the message
	// exceeds wire.MaxDatagram (qnet.ErrInvalid); a message that is lost is not an
	// error.
	Datagram(to qnet.NodeID, m wire.Message) error
	// Open opens an ordered stream to a peer and sends first on it, whose type
	// tells the other side which service it is for. What happens to the stream
	// later, such as failure to reach the peer, is told to h. It fails with
	// qnet.ErrUnknown when nobody by that identity can be addressed.
	Open(to qnet.NodeID, first wire.Message, h StreamHandler) (Stream, error)
	// Up reports whether the peer is known to be alive.
	Up(peer qnet.NodeID) bool
}

// MaxUnsent is the number of bytes that a stream may have sent and not delivered
// in one direction; more loses the stream with qnet.ErrBusy.
const MaxUnsent = 8 << 20

// Handler receives what peers start.
type Handler interface {
	// Datagram is called for each datagram of the service. b is one whole message,
	// valid during the call only.
	Datagram(from qnet.NodeID, b []byte)
	// Accept is called when a peer opened a stream with the message first. It
	// returns the handler for what follows, or nil to refuse the stream, which
	// the peer sees as closed with qnet.ErrProtocol.
	Accept(s Stream, first []byte) StreamHandler
	// PeerUp and PeerDown tell that a peer became reachable, or is dead; err says
	// why. Streams to a dead peer are closed first, each with an error.
	PeerUp(peer qnet.NodeID)
	PeerDown(peer qnet.NodeID, err error)
}

// Stream is one ordered, reliable, bidirectional stream of messages.
type Stream interface {
	// Peer returns the identity at the other end.
	Peer() qnet.NodeID
	// Send sends m; m is encoded before it returns. It never blocks: protocols
	// bound what they have in flight. A peer that does not read in the face of
	// more than MaxUnsent loses the stream, as does a message longer than
	// wire.MaxMessage. After the stream has closed, messages are dropped in
	// silence; the handler has been told.
	Send(m wire.Message)
	// Close ends the stream in both directions. What was sent before is still
	// delivered; the peer then sees Closed with err nil for code qnet.OK, and an
	// error carrying the code otherwise. The stream's own handler hears nothing
	// more.
	Close(code qnet.Code)
}

// StreamHandler receives what comes on one stream.
type StreamHandler interface {
	// Message is called for each message after the first, in order. b is one
	// whole message, valid during the call only.
	Message(s Stream, b []byte)
	// Closed is called once, when the peer closed the stream (nil), or when it
	// broke or the peer died (an error that names the peer).
	Closed(s Stream, err error)
}
