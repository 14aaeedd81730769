package quic

import (
	"qstack/qnet"
	"qstack/qnet/wire"
)

// The messages of the transport itself. Numbers 0x41 and 0x42 of the same
// service are those of the clock exchange.
const (
	typeHello wire.Type = 0x40
	typeStamp wire.Type = 0x43
	typeEnd   wire.Type = 0x44
	typePad   wire.Type = 0x45
)

// Messages returns one message of each type of this package.
func Messages() []wire.Message {
	return []wire.Message{&Hello{}, &Stamp{}, &End{}, &Pad{}}
}

// Hello says that the sender is alive.
type Hello struct {
	Incarnation uint64 // drawn at random when the sender started, below 2⁶²
	Sequence    uint64 // counts the hellos of a connection
}

// Type implements wire.Message.
func (*Hello) Type() wire.Type { return typeHello }

// Doc describes the message.
func (*Hello) Doc() string {
	return "Sent in a datagram when a connection is there and every 250 ms from then on. A connection is used when the first hello has come, and dead when nothing has come for 1 s. Another incarnation than before says that the peer restarted and lost its state."
}

// Fields implements wire.Message.
func (m *Hello) Fields(c *wire.Codec) {
	c.Uvarint("incarnation", &m.Incarnation, "drawn at random when the sender started")
	c.Uvarint("sequence", &m.Sequence, "counts the hellos of a connection")
}

// Stamp gives the instant at which the messages after it were sent.
type Stamp struct {
	At qnet.Time
}

// Type implements wire.Message.
func (*Stamp) Type() wire.Type { return typeStamp }

// Doc describes the message.
func (*Stamp) Doc() string {
	return "On channels that have the delay of a fibre: the messages that follow in the same datagram or on the same stream, up to the next stamp, were sent at this instant. The receiver holds them until the delay has passed."
}

// Fields implements wire.Message.
func (m *Stamp) Fields(c *wire.Codec) {
	c.Time("at", &m.At, "the sender's instant, by the clock of the network")
}

// End says why a stream ends that does not end in good order.
type End struct {
	Code qnet.Code
}

// Type implements wire.Message.
func (*End) Type() wire.Type { return typeEnd }

// Doc describes the message.
func (*End) Doc() string {
	return "The last message on a stream that is closed with another code than 0. A stream that ends without it was closed in good order."
}

// Fields implements wire.Message.
func (m *End) Fields(c *wire.Codec) {
	wire.Uint(c, "code", &m.Code, 0, "why, one of the error codes")
}

// Pad fills a datagram up.
type Pad struct {
	Zeros []byte
}

// Type implements wire.Message.
func (*Pad) Type() wire.Type { return typePad }

// Doc describes the message.
func (*Pad) Doc() string {
	return "Makes a datagram 48 bytes long at least: a peer that restarted answers shorter packets by nothing, longer ones by a stateless reset (RFC 9000, section 10.3)."
}

// Fields implements wire.Message.
func (m *Pad) Fields(c *wire.Codec) {
	c.Bytes("zeros", &m.Zeros, minDatagram, "any value, ignored")
}
