package transport

import (
	"qstack/network"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/wire"
)

// The numbers of the messages between end points.
const (
	typeConnect      wire.Type = 0x30
	typeConnectReply wire.Type = 0x31
	typeOpen         wire.Type = 0x32
	typePost         wire.Type = 0x33
	typeMatch        wire.Type = 0x34
	typeFail         wire.Type = 0x35
	typeWithdraw     wire.Type = 0x36
	typeWithdrawn    wire.Type = 0x37
	typeCorrection   wire.Type = 0x38
	typeReceived     wire.Type = 0x39
	typeLost         wire.Type = 0x3a
	typeData         wire.Type = 0x3b
	typeCredit       wire.Type = 0x3c
	typeEndData      wire.Type = 0x3d
	typeReset        wire.Type = 0x3e
)

// Limits of fields.
const (
	maxText = 1024 // bytes of an explanation
	maxName = 255  // bytes of the name of a node or program
	maxCode = 0x100

	// MaxData is the largest number of bytes in one Data message.
	MaxData = 16 << 10
	// Window is the number of bytes that an end may send beyond those for which
	// it has been given credit.
	Window = 256 << 10
	// MaxPairs is the largest number of pairs of one request to measure.
	MaxPairs = 1_000_000
	// MaxKeep is the largest number of pairs of one request to keep.
	MaxKeep = 1024
)

// Kind says what a request does with its pairs.
type Kind uint8

// The kinds.
const (
	KindKeep    Kind = iota // keep the halves
	KindMeasure             // measure each half at once
	KindSend                // teleport one qubit to the other end
	KindReceive             // receive one qubit that the other end teleports
	kindEnd
)

// String names the kind as in diagnostics.
func (k Kind) String() string {
	switch k {
	case KindKeep:
		return "keep"
	case KindMeasure:
		return "measure"
	case KindSend:
		return "send"
	case KindReceive:
		return "receive"
	}
	return "unknown kind"
}

// Connect opens an end-to-end stream.
type Connect struct {
	Port        uint16
	MinFidelity float64
	State       qnet.BellLabel
	Program     string
}

// Type implements wire.Message.
func (*Connect) Type() wire.Type { return typeConnect }

// Doc implements wire.Documented.
func (*Connect) Doc() string { return "Head to tail, opens the stream of a socket." }

// Fields implements wire.Message.
func (m *Connect) Fields(c *wire.Codec) {
	wire.Uint(c, "port", &m.Port, 0, "port that a program listens on")
	c.Float("min_fidelity", &m.MinFidelity, "fidelity that the head asks of the circuit")
	if m.MinFidelity < 0 || m.MinFidelity > 1 {
		c.Fail("min_fidelity", wire.ErrRange)
	}
	wire.Uint(c, "state", &m.State, 4, "Bell state that pairs are corrected to, two bits xz")
	c.String("program", &m.Program, maxName, "name of the dialling program, for diagnostics")
}

// ConnectReply answers Connect.
type ConnectReply struct {
	Code qnet.Code
	Text string
	Tag  uint64
}

// Type implements wire.Message.
func (*ConnectReply) Type() wire.Type { return typeConnectReply }

// Doc implements wire.Documented.
func (*ConnectReply) Doc() string {
	return "Tail to head, answers Connect; the stream ends unless code is 0."
}

// Fields implements wire.Message.
func (m *ConnectReply) Fields(c *wire.Codec) {
	codeText(c, &m.Code, &m.Text)
	c.Uvarint("tag", &m.Tag, "what the circuit's set-up must carry to belong to this socket")
}

// Open tells that the circuit is up.
type Open struct{}

// Type implements wire.Message.
func (*Open) Type() wire.Type { return typeOpen }

// Doc implements wire.Documented.
func (*Open) Doc() string { return "Head to tail: the circuit is up and the socket open." }

// Fields implements wire.Message.
func (*Open) Fields(*wire.Codec) {}

// Post tells a request to the other end.
type Post struct {
	Seq   uint64
	Kind  Kind
	Pairs uint64
	Pauli bool
}

// Type implements wire.Message.
func (*Post) Type() wire.Type { return typePost }

// Doc implements wire.Documented.
func (*Post) Doc() string {
	return "Either end: a program asks for pairs, or to send or receive a qubit."
}

// Fields implements wire.Message.
func (m *Post) Fields(c *wire.Codec) {
	c.Uvarint("seq", &m.Seq, "number of the request, the sender's next")
	wire.Uint(c, "kind", &m.Kind, uint64(kindEnd), "0 keep, 1 measure, 2 send, 3 receive")
	wire.Uint(c, "pairs", &m.Pairs, MaxPairs+1, "number of pairs, 1 or more")
	if m.Pairs == 0 || m.Kind >= KindSend && m.Pairs != 1 {
		c.Fail("pairs", wire.ErrRange)
	}
	c.Bool("pauli", &m.Pauli, "the sender measures, in Pauli bases only")
}

// Match tells the tail that two requests are one.
type Match struct {
	ID         uint64
	Head, Tail uint64
	Corrector  network.Corrector
}

// Type implements wire.Message.
func (*Match) Type() wire.Type { return typeMatch }

// Doc implements wire.Documented.
func (*Match) Doc() string {
	return "Head to tail: a request of each end are matched; both ask the circuit for pairs."
}

// Fields implements wire.Message.
func (m *Match) Fields(c *wire.Codec) {
	c.Uvarint("id", &m.ID, "number of the request on the circuit")
	c.Uvarint("head", &m.Head, "the head's request")
	c.Uvarint("tail", &m.Tail, "the tail's request")
	wire.Uint(c, "corrector", &m.Corrector, uint64(network.CorrectorTail)+1, "who corrects pairs to the Bell state of the socket: 0 nobody, 1 head, 2 tail")
}

// Fail ends two requests that can not be served.
type Fail struct {
	Head, Tail uint64
	Code       qnet.Code
	Text       string
}

// Type implements wire.Message.
func (*Fail) Type() wire.Type { return typeFail }

// Doc implements wire.Documented.
func (*Fail) Doc() string {
	return "Head to tail: a request of each end, which came together, have failed."
}

// Fields implements wire.Message.
func (m *Fail) Fields(c *wire.Codec) {
	c.Uvarint("head", &m.Head, "the head's request")
	c.Uvarint("tail", &m.Tail, "the tail's request")
	codeText(c, &m.Code, &m.Text)
}

// Withdraw takes back a request of its sender.
type Withdraw struct {
	Seq  uint64
	Code qnet.Code
	Text string
}

// Type implements wire.Message.
func (*Withdraw) Type() wire.Type { return typeWithdraw }

// Doc implements wire.Documented.
func (*Withdraw) Doc() string {
	return "Either end: a request of the sender is void, matched or not. The answer is Withdrawn, or the Correction of a qubit that was under way."
}

// Fields implements wire.Message.
func (m *Withdraw) Fields(c *wire.Codec) {
	c.Uvarint("seq", &m.Seq, "the sender's request")
	codeText(c, &m.Code, &m.Text)
}

// Withdrawn answers Withdraw.
type Withdrawn struct {
	Seq uint64
}

// Type implements wire.Message.
func (*Withdrawn) Type() wire.Type { return typeWithdrawn }

// Doc implements wire.Documented.
func (*Withdrawn) Doc() string { return "Answers Withdraw: the request is forgotten." }

// Fields implements wire.Message.
func (m *Withdrawn) Fields(c *wire.Codec) {
	c.Uvarint("seq", &m.Seq, "the receiver's request")
}

// Correction completes a teleportation.
type Correction struct {
	Seq   uint64
	Pair  uint64
	Label qnet.BellLabel
}

// Type implements wire.Message.
func (*Correction) Type() wire.Type { return typeCorrection }

// Doc implements wire.Documented.
func (*Correction) Doc() string {
	return "Sender of a qubit to its receiver: the two bits of the Bell-state measurement XOR the label of the pair, once for each qubit."
}

// Fields implements wire.Message.
func (m *Correction) Fields(c *wire.Codec) {
	c.Uvarint("seq", &m.Seq, "number of the qubit: the sender's request")
	c.Uvarint("pair", &m.Pair, "sequence number of the consumed pair on the circuit")
	wire.Uint(c, "label", &m.Label, 4, "xz: apply X if x, then Z if z")
}

// Received tells the sender of a qubit what became of it.
type Received struct {
	Seq  uint64
	Code qnet.Code
	Text string
}

// Type implements wire.Message.
func (*Received) Type() wire.Type { return typeReceived }

// Doc implements wire.Documented.
func (*Received) Doc() string {
	return "Receiver of a qubit to its sender: the correction was applied (code 0), or the qubit was lost."
}

// Fields implements wire.Message.
func (m *Received) Fields(c *wire.Codec) {
	c.Uvarint("seq", &m.Seq, "number of the qubit: the receiver's request")
	codeText(c, &m.Code, &m.Text)
}

// Lost tells that a qubit was lost at its sender.
type Lost struct {
	Seq  uint64
	Text string
}

// Type implements wire.Message.
func (*Lost) Type() wire.Type { return typeLost }

// Doc implements wire.Documented.
func (*Lost) Doc() string {
	return "Sender of a qubit to its receiver: the Bell-state measurement failed, there will be no Correction."
}

// Fields implements wire.Message.
func (m *Lost) Fields(c *wire.Codec) {
	c.Uvarint("seq", &m.Seq, "number of the qubit: the sender's request")
	c.String("text", &m.Text, maxText, "what happened")
}

// Data carries bytes of the classical side, between end points and between a
// program and its node.
type Data struct {
	Bytes []byte
}

// Type implements wire.Message.
func (*Data) Type() wire.Type { return typeData }

// Doc implements wire.Documented.
func (*Data) Doc() string {
	return "Bytes of the classical side of a socket, within the window that the receiver gave."
}

// Fields implements wire.Message.
func (m *Data) Fields(c *wire.Codec) {
	c.Bytes("bytes", &m.Bytes, MaxData, "the next bytes")
	if len(m.Bytes) == 0 {
		c.Fail("bytes", wire.ErrRange)
	}
}

// Credit lets the other end send more bytes.
type Credit struct {
	Bytes uint64
}

// Type implements wire.Message.
func (*Credit) Type() wire.Type { return typeCredit }

// Doc implements wire.Documented.
func (*Credit) Doc() string { return "The program has read; as many bytes more may be sent." }

// Fields implements wire.Message.
func (m *Credit) Fields(c *wire.Codec) {
	wire.Uint(c, "bytes", &m.Bytes, Window+1, "additional bytes, 1 or more")
	if m.Bytes == 0 {
		c.Fail("bytes", wire.ErrRange)
	}
}

// EndData ends one direction of the classical side.
type EndData struct{}

// Type implements wire.Message.
func (*EndData) Type() wire.Type { return typeEndData }

// Doc implements wire.Documented.
func (*EndData) Doc() string { return "No more bytes follow in this direction." }

// Fields implements wire.Message.
func (*EndData) Fields(*wire.Codec) {}

// Reset says why the stream is about to be closed.
type Reset struct {
	Code qnet.Code
	Text string
}

// Type implements wire.Message.
func (*Reset) Type() wire.Type { return typeReset }

// Doc implements wire.Documented.
func (*Reset) Doc() string {
	return "Either end, before it closes the stream with an error: what happened."
}

// Fields implements wire.Message.
func (m *Reset) Fields(c *wire.Codec) { codeText(c, &m.Code, &m.Text) }

func codeText(c *wire.Codec, code *qnet.Code, text *string) {
	wire.Uint(c, "code", code, maxCode, "0, or why it failed")
	c.String("text", text, maxText, "the same in words, with what to do")
}

// PairName names an end-to-end pair alike at both ends.
type PairName = network.PairName

// CircuitID names a circuit.
type CircuitID = network.CircuitID

func circuitFields(c *wire.Codec, id *CircuitID) {
	wire.Fixed64(c, "circuit_head", &id.Head, "node at the head end of the circuit")
	c.Uvarint("circuit", &id.Number, "number of the circuit at its head end")
}

// Gate is a unitary of one or two qubits.
type Gate = physical.Gate

// The gates that programs may ask for.
const (
	GateX    = physical.GateX
	GateY    = physical.GateY
	GateZ    = physical.GateZ
	GateH    = physical.GateH
	GateS    = physical.GateS
	GateSdg  = physical.GateSdg
	GateT    = physical.GateT
	GateTdg  = physical.GateTdg
	GateRX   = physical.GateRX
	GateRY   = physical.GateRY
	GateRZ   = physical.GateRZ
	GateCNOT = physical.GateCNOT
	GateCZ   = physical.GateCZ
)

// Messages returns one message of each type of this package, those between end
// points and those between a program and its node.
func Messages() []wire.Message {
	return []wire.Message{
		&Connect{}, &ConnectReply{}, &Open{}, &Post{}, &Match{}, &Fail{}, &Withdraw{}, &Withdrawn{},
		&Correction{}, &Received{}, &Lost{}, &Data{}, &Credit{}, &EndData{}, &Reset{},
		&Hello{}, &Welcome{}, &Reply{}, &Listen{}, &Unlisten{}, &Alloc{}, &Operate{}, &MeasureQubit{}, &FreeQubit{}, &Flush{},
		&Dial{}, &Accept{}, &Opened{}, &Ask{}, &Cancel{}, &Kept{}, &Outcomes{}, &Done{}, &Closed{},
	}
}
