package transport

import (
	"qstack/qnet"
	"qstack/qnet/wire"
)

// Version is the version of the messages between a program and its node.
const Version = 1

// The numbers of the messages between a program and its node. Those below 0x70
// belong to the session, the others to one channel of it. Data, Credit and
// EndData serve channels too.
const (
	typeHello        wire.Type = 0x60
	typeWelcome      wire.Type = 0x61
	typeReply        wire.Type = 0x62
	typeListen       wire.Type = 0x63
	typeUnlisten     wire.Type = 0x64
	typeAlloc        wire.Type = 0x65
	typeOperate      wire.Type = 0x66
	typeMeasureQubit wire.Type = 0x67
	typeFreeQubit    wire.Type = 0x68
	typeFlush        wire.Type = 0x69

	typeDial     wire.Type = 0x70
	typeAccept   wire.Type = 0x71
	typeOpened   wire.Type = 0x72
	typeAsk      wire.Type = 0x73
	typeCancel   wire.Type = 0x74
	typeKept     wire.Type = 0x75
	typeOutcomes wire.Type = 0x76
	typeDone     wire.Type = 0x77
	typeClosed   wire.Type = 0x78
)

// TokenSize is the number of bytes of a session's token.
const TokenSize = 16

// Token proves that a connection belongs to a session. It formats as nothing,
// so that it does not reach a log.
type Token []byte

// String implements fmt.Stringer.
func (Token) String() string { return "[token]" }

// GoString implements fmt.GoStringer.
func (Token) GoString() string { return "[token]" }

// Hello is the first message on each connection of a program to its node.
type Hello struct {
	Version uint64
	Program string
	Session uint64
	Token   Token
}

// Type implements wire.Message.
func (*Hello) Type() wire.Type { return typeHello }

// Doc implements wire.Documented.
func (*Hello) Doc() string {
	return "Program to node, first on each connection: opens a session, or joins one with a connection for one socket."
}

// Fields implements wire.Message.
func (m *Hello) Fields(c *wire.Codec) {
	c.Uvarint("version", &m.Version, "of these messages, 1")
	c.String("program", &m.Program, maxName, "name of the program, for diagnostics")
	c.Uvarint("session", &m.Session, "session to join, 0 for a new one")
	c.Bytes("token", (*[]byte)(&m.Token), TokenSize, "of the session to join, empty for a new one")
}

// Welcome answers Hello.
type Welcome struct {
	Code     qnet.Code
	Text     string
	Session  uint64
	Token    Token
	Node     string
	Now      qnet.Time
	Dilation float64
}

// Type implements wire.Message.
func (*Welcome) Type() wire.Type { return typeWelcome }

// Doc implements wire.Documented.
func (*Welcome) Doc() string { return "Node to program, answers Hello." }

// Fields implements wire.Message.
func (m *Welcome) Fields(c *wire.Codec) {
	codeText(c, &m.Code, &m.Text)
	c.Uvarint("session", &m.Session, "number of the session")
	c.Bytes("token", (*[]byte)(&m.Token), TokenSize, "secret of the session, to a new one only")
	c.String("node", &m.Node, maxName, "name of the node")
	c.Time("now", &m.Now, "current instant of the network")
	c.Float("dilation", &m.Dilation, "real seconds for each second of the network")
	if m.Dilation < 0 {
		c.Fail("dilation", wire.ErrRange)
	}
}

// Reply answers a request of the session.
type Reply struct {
	Ref   uint64
	Code  qnet.Code
	Text  string
	Value uint64
	At    qnet.Time
}

// Type implements wire.Message.
func (*Reply) Type() wire.Type { return typeReply }

// Doc implements wire.Documented.
func (*Reply) Doc() string { return "Node to program, answers a request of the session." }

// Fields implements wire.Message.
func (m *Reply) Fields(c *wire.Codec) {
	c.Uvarint("ref", &m.Ref, "of the request")
	codeText(c, &m.Code, &m.Text)
	c.Uvarint("value", &m.Value, "Listen: the port; Alloc: the qubit; MeasureQubit: the bit")
	c.Time("at", &m.At, "instant of the result")
}

// Listen asks for a port.
type Listen struct {
	Ref     uint64
	Port    uint16
	Backlog uint64
}

// Type implements wire.Message.
func (*Listen) Type() wire.Type { return typeListen }

// Doc implements wire.Documented.
func (*Listen) Doc() string { return "Program to node: listen on a port. The answer is Reply." }

// Fields implements wire.Message.
func (m *Listen) Fields(c *wire.Codec) {
	refField(c, &m.Ref)
	wire.Uint(c, "port", &m.Port, 0, "port, 0 for any free one")
	c.Uvarint("backlog", &m.Backlog, "sockets that may wait to be accepted, 0 for the node's default")
}

// Unlisten gives a port back.
type Unlisten struct {
	Ref  uint64
	Port uint16
}

// Type implements wire.Message.
func (*Unlisten) Type() wire.Type { return typeUnlisten }

// Doc implements wire.Documented.
func (*Unlisten) Doc() string { return "Program to node: listen no longer. The answer is Reply." }

// Fields implements wire.Message.
func (m *Unlisten) Fields(c *wire.Codec) {
	refField(c, &m.Ref)
	wire.Uint(c, "port", &m.Port, 0, "the port")
}

// Alloc asks for a qubit.
type Alloc struct {
	Ref uint64
}

// Type implements wire.Message.
func (*Alloc) Type() wire.Type { return typeAlloc }

// Doc implements wire.Documented.
func (*Alloc) Doc() string {
	return "Program to node: a fresh storage qubit in |0⟩. The answer is Reply."
}

// Fields implements wire.Message.
func (m *Alloc) Fields(c *wire.Codec) { refField(c, &m.Ref) }

// Operate applies a gate. There is no answer: the first error of a qubit's gates
// is in the answer to the next request for a result of that qubit.
type Operate struct {
	Gate  Gate
	A, B  uint64
	Angle float64
}

// Type implements wire.Message.
func (*Operate) Type() wire.Type { return typeOperate }

// Doc implements wire.Documented.
func (*Operate) Doc() string {
	return "Program to node: apply a gate. An error is in the answer to the next request for a result of the qubit."
}

// Fields implements wire.Message.
func (m *Operate) Fields(c *wire.Codec) {
	wire.Uint(c, "gate", &m.Gate, uint64(GateCZ)+1, "1 X, 2 Y, 3 Z, 4 H, 5 S, 6 S†, 7 T, 8 T†, 9 RX, 10 RY, 11 RZ, 12 CNOT, 13 CZ")
	if m.Gate == 0 {
		c.Fail("gate", wire.ErrRange)
	}
	c.Uvarint("a", &m.A, "qubit, or control")
	c.Uvarint("b", &m.B, "target of a gate of two qubits, 0 otherwise")
	c.Float("angle", &m.Angle, "of a rotation, in radians, 0 otherwise")
}

// MeasureQubit measures a qubit and gives it back.
type MeasureQubit struct {
	Ref   uint64
	Qubit uint64
	Basis qnet.Basis
}

// Type implements wire.Message.
func (*MeasureQubit) Type() wire.Type { return typeMeasureQubit }

// Doc implements wire.Documented.
func (*MeasureQubit) Doc() string {
	return "Program to node: measure a qubit, which is given back. The answer is Reply."
}

// Fields implements wire.Message.
func (m *MeasureQubit) Fields(c *wire.Codec) {
	refField(c, &m.Ref)
	c.Uvarint("qubit", &m.Qubit, "the qubit")
	c.Basis("basis", &m.Basis, "axis of the measurement, in radians")
}

// FreeQubit gives a qubit back. There is no answer.
type FreeQubit struct {
	Qubit uint64
}

// Type implements wire.Message.
func (*FreeQubit) Type() wire.Type { return typeFreeQubit }

// Doc implements wire.Documented.
func (*FreeQubit) Doc() string { return "Program to node: the qubit is no longer needed." }

// Fields implements wire.Message.
func (m *FreeQubit) Fields(c *wire.Codec) { c.Uvarint("qubit", &m.Qubit, "the qubit") }

// Flush asks for the outcome of all gates of a qubit so far.
type Flush struct {
	Ref   uint64
	Qubit uint64
}

// Type implements wire.Message.
func (*Flush) Type() wire.Type { return typeFlush }

// Doc implements wire.Documented.
func (*Flush) Doc() string {
	return "Program to node: answer when all gates on the qubit so far are done. The answer is Reply."
}

// Fields implements wire.Message.
func (m *Flush) Fields(c *wire.Codec) {
	refField(c, &m.Ref)
	c.Uvarint("qubit", &m.Qubit, "the qubit")
}

// Dial makes a channel the head end of a socket.
type Dial struct {
	Node        string
	Port        uint16
	MinFidelity float64
	MinRate     float64
	State       qnet.BellLabel
}

// Type implements wire.Message.
func (*Dial) Type() wire.Type { return typeDial }

// Doc implements wire.Documented.
func (*Dial) Doc() string {
	return "Program to node: open a socket to a port of a node. The answer is Opened."
}

// Fields implements wire.Message.
func (m *Dial) Fields(c *wire.Codec) {
	c.String("node", &m.Node, maxName, "name of the node")
	wire.Uint(c, "port", &m.Port, 0, "the port")
	c.Float("min_fidelity", &m.MinFidelity, "fidelity asked of the circuit, 0 to 1")
	c.Float("min_rate", &m.MinRate, "pairs per second asked of the circuit")
	wire.Uint(c, "state", &m.State, 4, "Bell state that pairs are corrected to, two bits xz")
}

// Accept makes a channel the tail end of the next socket on a port.
type Accept struct {
	Port uint16
}

// Type implements wire.Message.
func (*Accept) Type() wire.Type { return typeAccept }

// Doc implements wire.Documented.
func (*Accept) Doc() string {
	return "Program to node: take the next socket that was dialled to a port. The answer is Opened."
}

// Fields implements wire.Message.
func (m *Accept) Fields(c *wire.Codec) {
	wire.Uint(c, "port", &m.Port, 0, "a port that the session listens on")
}

// Opened answers Dial and Accept.
type Opened struct {
	Code     qnet.Code
	Text     string
	Peer     string
	PeerID   qnet.NodeID
	Port     uint16
	Circuit  CircuitID
	Hops     uint64
	Fidelity float64
	Rate     float64
	State    qnet.BellLabel
}

// Type implements wire.Message.
func (*Opened) Type() wire.Type { return typeOpened }

// Doc implements wire.Documented.
func (*Opened) Doc() string {
	return "Node to program: the channel is an open socket, unless code is not 0."
}

// Fields implements wire.Message.
func (m *Opened) Fields(c *wire.Codec) {
	codeText(c, &m.Code, &m.Text)
	c.String("peer", &m.Peer, maxName, "name of the node at the other end")
	wire.Fixed64(c, "peer_id", &m.PeerID, "its identity")
	wire.Uint(c, "port", &m.Port, 0, "the port that was dialled")
	circuitFields(c, &m.Circuit)
	c.Uvarint("hops", &m.Hops, "links of the circuit")
	c.Float("fidelity", &m.Fidelity, "expected fidelity of a pair")
	c.Float("rate", &m.Rate, "expected pairs per second")
	wire.Uint(c, "state", &m.State, 4, "Bell state that pairs are corrected to, two bits xz")
}

// Bases is a private choice of measurement bases: for each pair one of Bases,
// with probabilities in proportion to Weights, all equal when there are none.
type Bases struct {
	Bases   []qnet.Basis // 1 to 16
	Weights []float64    // none, or as many as Bases: 0 or more, some above 0
}

// MaxBases is the largest number of bases to choose from.
const MaxBases = 16

func (b *Bases) pauli() bool {
	for _, x := range b.Bases {
		if x != qnet.BasisX && x != qnet.BasisY && x != qnet.BasisZ {
			return false
		}
	}
	return true
}

// Ask is a request of a program on an open socket.
type Ask struct {
	Ref   uint64
	Kind  Kind
	Pairs uint64
	Bases Bases
	Qubit uint64
}

// Type implements wire.Message.
func (*Ask) Type() wire.Type { return typeAsk }

// Doc implements wire.Documented.
func (*Ask) Doc() string {
	return "Program to node: a request on the socket. The answers are Kept or Outcomes, where there are any, and Done."
}

// Fields implements wire.Message.
func (m *Ask) Fields(c *wire.Codec) {
	refField(c, &m.Ref)
	wire.Uint(c, "kind", &m.Kind, uint64(kindEnd), "0 keep, 1 measure, 2 send, 3 receive")
	c.Uvarint("pairs", &m.Pairs, "number of pairs; 1 to send or receive a qubit")
	wire.List(c, "bases", &m.Bases.Bases, MaxBases, func(c *wire.Codec, b *qnet.Basis) {
		c.Basis("basis", b, "axis, in radians")
	}, "to measure in")
	wire.List(c, "weights", &m.Bases.Weights, MaxBases, func(c *wire.Codec, w *float64) {
		c.Float("weight", w, "relative probability")
	}, "of the bases, empty if all are equal")
	c.Uvarint("qubit", &m.Qubit, "to send, 0 otherwise")
}

// Cancel withdraws a request of a channel.
type Cancel struct {
	Ref  uint64
	Code qnet.Code
}

// Type implements wire.Message.
func (*Cancel) Type() wire.Type { return typeCancel }

// Doc implements wire.Documented.
func (*Cancel) Doc() string {
	return "Program to node: withdraw a request, or the Dial or Accept of the channel. It still gets its one answer."
}

// Fields implements wire.Message.
func (m *Cancel) Fields(c *wire.Codec) {
	c.Uvarint("ref", &m.Ref, "the request, 0 for Dial and Accept")
	wire.Uint(c, "code", &m.Code, maxCode, "what to fail it with: cancelled or timed out")
}

// KeptPair is one pair whose half was kept.
type KeptPair struct {
	Seq         uint64
	Label       qnet.BellLabel
	Qubit       uint64
	Created, At qnet.Time
	Fidelity    float64
}

// Kept delivers all pairs of a request to keep.
type Kept struct {
	Ref   uint64
	Pairs []KeptPair
}

// Type implements wire.Message.
func (*Kept) Type() wire.Type { return typeKept }

// Doc implements wire.Documented.
func (*Kept) Doc() string { return "Node to program: the pairs of a request to keep." }

// Fields implements wire.Message.
func (m *Kept) Fields(c *wire.Codec) {
	refField(c, &m.Ref)
	wire.List(c, "pairs", &m.Pairs, MaxKeep, func(c *wire.Codec, p *KeptPair) {
		c.Uvarint("seq", &p.Seq, "number of the pair on the circuit")
		wire.Uint(c, "label", &p.Label, 4, "Bell state xz")
		c.Uvarint("qubit", &p.Qubit, "the program's half")
		c.Time("created", &p.Created, "instant of emission")
		c.Time("at", &p.At, "instant of delivery")
		c.Float("fidelity", &p.Fidelity, "estimate at delivery")
	}, "the pairs")
}

// MaxOutcomes is the largest number of outcomes in one message.
const MaxOutcomes = 1024

// Outcomes delivers results of a request to measure, as columns of equal
// length.
type Outcomes struct {
	Ref     uint64
	Seq     []uint64    // numbers of the pairs on the circuit
	Results []Result    // basis, bit and label of each
	At      []qnet.Time // instants of delivery
}

// Result is the result of one measured pair, packed.
type Result uint8

// NewResult packs a result: the number of the basis, below MaxBases, the bit and
// the Bell label.
func NewResult(basis, bit uint8, label qnet.BellLabel) Result {
	return Result(basis<<3 | uint8(label)<<1 | bit)
}

// Basis returns the number of the basis.
func (r Result) Basis() uint8 { return uint8(r) >> 3 }

// Bit returns the bit.
func (r Result) Bit() uint8 { return uint8(r) & 1 }

// Label returns the Bell label.
func (r Result) Label() qnet.BellLabel { return qnet.BellLabel(r >> 1 & 3) }

// Type implements wire.Message.
func (*Outcomes) Type() wire.Type { return typeOutcomes }

// Doc implements wire.Documented.
func (*Outcomes) Doc() string {
	return "Node to program: results of a request to measure, in columns; numbers and instants as differences, each in zigzag form (0, −1, 1, −2, ... as 0, 1, 2, 3, ...)."
}

// Fields implements wire.Message.
func (m *Outcomes) Fields(c *wire.Codec) {
	refField(c, &m.Ref)
	var seq uint64
	wire.List(c, "seq", &m.Seq, MaxOutcomes, func(c *wire.Codec, v *uint64) {
		delta(c, "difference", v, &seq)
	}, "numbers of the pairs on the circuit")
	wire.List(c, "results", &m.Results, MaxOutcomes, func(c *wire.Codec, r *Result) {
		wire.Uint(c, "result", r, MaxBases<<3, "8·(number of the basis) + 2·label + bit")
	}, "the results")
	var at qnet.Time
	wire.List(c, "at", &m.At, MaxOutcomes, func(c *wire.Codec, v *qnet.Time) {
		delta(c, "difference", v, &at)
	}, "instants of delivery, ns")
	if len(m.Results) != len(m.Seq) || len(m.At) != len(m.Seq) {
		c.Fail("at", wire.ErrRange)
	}
}

// delta visits v as its difference to last, which becomes v.
func delta[T ~uint64 | ~int64](c *wire.Codec, name string, v, last *T) {
	d := int64(*v - *last)
	z := uint64(d<<1) ^ uint64(d>>63)
	c.Uvarint(name, &z, "to the one before, zigzag")
	if c.Decoding() {
		*v = *last + T(int64(z>>1)^-int64(z&1))
	}
	*last = *v
}

// Done ends a request of a channel.
type Done struct {
	Ref   uint64
	Code  qnet.Code
	Text  string
	Seq   uint64
	Qubit uint64
}

// Type implements wire.Message.
func (*Done) Type() wire.Type { return typeDone }

// Doc implements wire.Documented.
func (*Done) Doc() string {
	return "Node to program: the request has ended. A qubit that could not be sent is still the program's unless the code says that it was lost."
}

// Fields implements wire.Message.
func (m *Done) Fields(c *wire.Codec) {
	refField(c, &m.Ref)
	codeText(c, &m.Code, &m.Text)
	c.Uvarint("seq", &m.Seq, "number of the qubit that was sent or received, 0 otherwise")
	c.Uvarint("qubit", &m.Qubit, "the received qubit, 0 otherwise")
}

// Closed ends a socket or a session.
type Closed struct {
	Code qnet.Code
	Text string
}

// Type implements wire.Message.
func (*Closed) Type() wire.Type { return typeClosed }

// Doc implements wire.Documented.
func (*Closed) Doc() string {
	return "Node to program: the socket has ended, by the peer (code 0) or by a failure; its requests got their Done before. On the connection of a session: that has ended, with all its sockets. Program to node, on a channel: the program closes the socket; a connection that ends without it tells the peer that the program has gone."
}

// Fields implements wire.Message.
func (m *Closed) Fields(c *wire.Codec) { codeText(c, &m.Code, &m.Text) }

func refField(c *wire.Codec, ref *uint64) {
	c.Uvarint("ref", ref, "the program's number of the request")
}
