package network

import (
	"qstack/qnet"
	"qstack/qnet/wire"
)

// Limits of what a peer can send.
const (
	maxPath = 256 // nodes of a circuit
	maxText = 256 // bytes of an explanation
)

// Messages returns one of each message type of the layer.
func Messages() []wire.Message {
	return []wire.Message{new(Setup), new(SetupOK), new(Teardown), new(Forward), new(Complete), new(Track), new(CircuitExpire)}
}

// Setup asks the next node of a path to join a circuit. It opens the hop's
// stream.
type Setup struct {
	Circuit  CircuitID
	Tag      uint64
	Path     []qnet.NodeID
	Label    uint64
	Deadline qnet.Time
}

func (*Setup) Type() wire.Type { return 0x20 }
func (*Setup) Doc() string {
	return "Opens the stream of one hop and asks the next node of the path to join the circuit."
}

// Fields visits the fields.
func (m *Setup) Fields(c *wire.Codec) {
	wire.Fixed64(c, "head", &m.Circuit.Head, "head end of the circuit")
	c.Uvarint("number", &m.Circuit.Number, "number of the circuit at its head end")
	c.Uvarint("tag", &m.Tag, "tells the tail end what the circuit is for")
	wire.List(c, "path", &m.Path, maxPath, func(c *wire.Codec, id *qnet.NodeID) {
		wire.Fixed64(c, "node", id, "identity of a node")
	}, "the nodes from head to tail")
	c.Uvarint("label", &m.Label, "purpose of the circuit's requests on the link of this hop")
	c.Time("deadline", &m.Deadline, "when the head end gives up")
}

// SetupOK says that the circuit is set up from here to the tail.
type SetupOK struct{}

func (*SetupOK) Type() wire.Type { return 0x21 }
func (*SetupOK) Doc() string     { return "The circuit is set up from here to the tail end." }

// Fields visits the fields.
func (m *SetupOK) Fields(*wire.Codec) {}

// Teardown ends a circuit, or refuses it.
type Teardown struct {
	Code qnet.Code
	Text string
}

func (*Teardown) Type() wire.Type { return 0x22 }
func (*Teardown) Doc() string {
	return "Refuses or ends the circuit; the last message on its streams."
}

// Fields visits the fields.
func (m *Teardown) Fields(c *wire.Codec) {
	wire.Uint(c, "code", &m.Code, 0, "why")
	c.String("text", &m.Text, maxText, "the same for people, naming the node to blame")
}

// Forward announces a request for pairs.
type Forward struct {
	Request uint64
	Pairs   uint64
}

func (*Forward) Type() wire.Type { return 0x23 }
func (*Forward) Doc() string     { return "Head to tail: a request for pairs begins." }

// Fields visits the fields.
func (m *Forward) Fields(c *wire.Codec) {
	c.Uvarint("request", &m.Request, "number of the request in the circuit")
	c.Uvarint("pairs", &m.Pairs, "number of pairs")
}

// Complete ends a request.
type Complete struct {
	Request uint64
}

func (*Complete) Type() wire.Type { return 0x24 }
func (*Complete) Doc() string     { return "Head to tail: a request has its pairs, or was cancelled." }

// Fields visits the fields.
func (m *Complete) Fields(c *wire.Codec) {
	c.Uvarint("request", &m.Request, "as in Forward")
}

// Track travels from each end to the other along the chain of swaps that its
// link pair became part of, and collects their outcomes.
type Track struct {
	Origin  uint64
	Link    uint64
	Request uint64
	Label   qnet.BellLabel
	Created qnet.Time
	Dephase uint64
	Depol   uint64
}

func (*Track) Type() wire.Type { return 0x25 }
func (*Track) Doc() string {
	return "From each end to the other, along the swaps that the sender's link pair was joined by."
}

// Fields visits the fields.
func (m *Track) Fields(c *wire.Codec) {
	c.Uvarint("origin", &m.Origin, "sequence number of the link pair at the sending end")
	c.Uvarint("link", &m.Link, "sequence number of the link pair on the link being crossed")
	c.Uvarint("request", &m.Request, "request that the sending end took its half for")
	wire.Uint(c, "label", &m.Label, 4, "Bell state so far, two bits xz")
	c.Time("created", &m.Created, "emission instant of the sender's link pair")
	c.Uvarint("dephasing", &m.Dephase, "storage time over T2, summed over the halves swapped so far, in 1e-9")
	c.Uvarint("depolarising", &m.Depol, "the same for depolarising memories and T1")
}

// CircuitExpire answers a Track that met a discarded pair.
type CircuitExpire struct {
	Origin uint64
	Link   uint64
}

func (*CircuitExpire) Type() wire.Type { return 0x26 }
func (*CircuitExpire) Doc() string {
	return "Back to the sender of a Track whose chain is broken: its half is worth nothing."
}

// Fields visits the fields.
func (m *CircuitExpire) Fields(c *wire.Codec) {
	c.Uvarint("origin", &m.Origin, "as in Track")
	c.Uvarint("link", &m.Link, "sequence number of the link pair on the link being crossed; 0 when not known any more")
}
