package oracle

import (
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/qnet"
	"qstack/qnet/wire"
)

// Version is the version of the protocol.
const Version = 1

// The numbers of the messages.
const (
	typeObserve   wire.Type = 0x90
	typeObserving wire.Type = 0x91
	typeQuestion  wire.Type = 0x92
	typeAnswer    wire.Type = 0x93
)

// Limits of what one message holds.
const (
	// MaxQubits is the largest number of qubits whose density matrix is told.
	MaxQubits = 5
	maxRows   = 4096
	maxValues = 2 << (2 * MaxQubits)
	maxText   = 256
)

// Messages returns one message of each type of this package.
func Messages() []wire.Message {
	return []wire.Message{new(Observe), new(Observing), new(Question), new(Answer)}
}

// Observe opens the stream of the observer.
type Observe struct {
	Version uint64
}

// Type implements wire.Message.
func (*Observe) Type() wire.Type { return typeObserve }

// Doc implements wire.Documented.
func (*Observe) Doc() string {
	return "Observer to fabric, first on a stream. The fabric answers Observing, or closes the stream: with code not authorised for anybody but its observer, not supported for a version that it does not speak."
}

// Fields implements wire.Message.
func (m *Observe) Fields(c *wire.Codec) {
	c.Uvarint("version", &m.Version, "of the protocol, 1")
}

// Observing answers Observe.
type Observing struct {
	Fabric uint32
	Now    qnet.Time
}

// Type implements wire.Message.
func (*Observing) Type() wire.Type { return typeObserving }

// Doc implements wire.Documented.
func (*Observing) Doc() string { return "Fabric to observer: questions are welcome." }

// Fields implements wire.Message.
func (m *Observing) Fields(c *wire.Codec) {
	wire.Uint(c, "fabric", &m.Fabric, 0, "number of the fabric, drawn anew at each of its starts")
	c.Time("now", &m.Now, "instant at which this was sent, in fabric time")
}

// Kind says what is asked.
type Kind uint8

// The kinds of questions.
const (
	AskLedger Kind = iota + 1
	AskFidelity
	AskDensity
	kinds // one past the last
)

// Place is a qubit of the fabric of the stream.
type Place struct {
	Index, Generation uint32
}

// Question asks for something about the state of the world.
type Question struct {
	Number uint64
	Kind   Kind
	Label  qnet.BellLabel
	Qubits []Place
}

// Type implements wire.Message.
func (*Question) Type() wire.Type { return typeQuestion }

// Doc implements wire.Documented.
func (*Question) Doc() string {
	return "Observer to fabric: asks for what is allocated, the fidelity of two qubits to a Bell state, or the density matrix of a few. What makes no sense is answered by an error."
}

// Fields implements wire.Message.
func (m *Question) Fields(c *wire.Codec) {
	c.Uvarint("number", &m.Number, "of the question")
	wire.Uint(c, "kind", &m.Kind, uint64(kinds), "1 ledger, 2 fidelity, 3 density matrix")
	wire.Uint(c, "label", &m.Label, 4, "fidelity: the Bell state, two bits xz")
	wire.List(c, "qubits", &m.Qubits, MaxQubits, func(c *wire.Codec, p *Place) {
		wire.Uint(c, "index", &p.Index, 0, "place of the qubit in the fabric")
		wire.Uint(c, "generation", &p.Generation, 0, "generation of the place")
	}, "the qubits, the first most significant; none for the ledger")
}

// Row is one allocated qubit.
type Row struct {
	Node              qnet.NodeID
	Index, Generation uint32
	Use               fabric.Use
	Link              physical.LinkID
	Lane              uint32
	Since             qnet.Time
	Cluster           uint32
}

// Answer answers a Question.
type Answer struct {
	Number uint64
	At     qnet.Time
	More   bool
	Code   qnet.Code
	Text   string
	Values []float64
	Rows   []Row
}

// Type implements wire.Message.
func (*Answer) Type() wire.Type { return typeAnswer }

// Doc implements wire.Documented.
func (*Answer) Doc() string {
	return "Fabric to observer: what is so at an instant that is not before the latest operation on these qubits. A long ledger takes several answers."
}

// Fields implements wire.Message.
func (m *Answer) Fields(c *wire.Codec) {
	c.Uvarint("number", &m.Number, "that of the question")
	c.Time("at", &m.At, "the instant, in fabric time")
	c.Bool("more", &m.More, "another answer to the same question follows")
	wire.Uint(c, "code", &m.Code, 0, "0, or why there is no answer")
	c.String("text", &m.Text, maxText, "the same for people")
	wire.List(c, "values", &m.Values, maxValues, func(c *wire.Codec, v *float64) {
		c.Float("value", v, "a number")
	}, "the fidelity; or the density matrix by rows, of each element the real and the imaginary part")
	wire.List(c, "rows", &m.Rows, maxRows, func(c *wire.Codec, r *Row) {
		wire.Fixed64(c, "node", &r.Node, "who holds the qubit")
		wire.Uint(c, "index", &r.Index, 0, "place of the qubit in the fabric")
		wire.Uint(c, "generation", &r.Generation, 0, "generation of the place")
		wire.Uint(c, "use", &r.Use, 4, "0 storage, 1 communication, 2 armed, 3 measuring directly")
		wire.Uint(c, "link", &r.Link, 0, "number of the link, 0 for storage")
		wire.Uint(c, "lane", &r.Lane, 0, "communication qubit of this end")
		c.Time("since", &r.Since, "when it was taken, in fabric time")
		wire.Uint(c, "cluster", &r.Cluster, 0, "0 without a state, else 1 + the least place of the qubits that share one")
	}, "ledger: the qubits that are not free")
}
