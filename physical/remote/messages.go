package remote

import (
	"math"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/wire"
)

// Version is the version of the protocol.
const Version = 3

// The numbers of the messages.
const (
	typeAttach       wire.Type = 0x50
	typeAttached     wire.Type = 0x51
	typeOps          wire.Type = 0x52
	typeResults      wire.Type = 0x53
	typeOutcomes     wire.Type = 0x54
	typeClockRequest wire.Type = 0x55
	typeClockReply   wire.Type = 0x56
)

// Limits of what one message holds. With all fields at their longest, no message
// exceeds wire.MaxMessage, and no Outcomes 64 KiB.
const (
	maxOps      = 1024
	maxResults  = 1024
	maxOutcomes = 4096
	maxLinks    = 1 << 14
	maxText     = 256 // bytes of an explanation
	padding     = 48  // bytes that make any datagram long enough
)

// Messages returns one message of each type of this package.
func Messages() []wire.Message {
	return []wire.Message{new(Attach), new(Attached), new(Ops), new(Results), new(Outcomes), new(ClockRequest), new(ClockReply)}
}

// Attach opens the stream of a node.
type Attach struct {
	Version uint64
}

// Type implements wire.Message.
func (*Attach) Type() wire.Type { return typeAttach }

// Doc implements wire.Documented.
func (*Attach) Doc() string {
	return "Node to fabric, first on a stream: this is the device of the authenticated node from now on. Whoever was attached as that node before is disconnected. The fabric answers Attached, or closes the stream: with code not authorised for a node that it does not have, not supported for a version that it does not speak."
}

// Fields implements wire.Message.
func (m *Attach) Fields(c *wire.Codec) {
	c.Uvarint("version", &m.Version, "of the protocol, 3")
}

// Attached answers Attach.
type Attached struct {
	Fabric uint32
	Now    qnet.Time
	Sheet
}

// Sheet is the data sheet of a node's hardware, physical.Spec.
type Sheet struct {
	Storage                     uint64
	Lanes                       []LinkLanes // in ascending order of link
	Communication               uint64
	Init, Gate1, Gate2, Readout time.Duration
	T1, T2, Depolarise          float64
	Noise                       physical.Noise
	Memory                      []physical.Memory // none or one
	Coupling                    physical.Coupling
	Serial                      bool
}

// LinkLanes is what a node has for a link.
type LinkLanes struct {
	Link      physical.LinkID
	Lanes     uint64
	Dephasing float64 // of a storage qubit by an attempt
}

// Type implements wire.Message.
func (*Attached) Type() wire.Type { return typeAttached }

// Doc implements wire.Documented.
func (*Attached) Doc() string {
	return "Fabric to node: operations are welcome. The node checks that the data sheet is the one that it knows; it leaves if not, as the two then have different scenarios."
}

// Fields implements wire.Message.
func (m *Attached) Fields(c *wire.Codec) {
	wire.Uint(c, "fabric", &m.Fabric, 0, "number of the fabric, drawn anew at each of its starts")
	c.Time("now", &m.Now, "instant at which this was sent, in fabric time")
	c.Uvarint("storage", &m.Storage, "storage qubits")
	wire.List(c, "lanes", &m.Lanes, maxLinks, func(c *wire.Codec, l *LinkLanes) {
		wire.Uint(c, "link", &l.Link, 0, "number of the link")
		c.Uvarint("lanes", &l.Lanes, "lanes, each for a communication qubit")
		c.Float("dephasing", &l.Dephasing, "probability that an attempt flips the phase of a storage qubit")
	}, "links of the node, in ascending order")
	c.Uvarint("communication", &m.Communication, "communication qubits that all lanes share; 0 if each has its own")
	durationField(c, "init", &m.Init, "ns to initialise a qubit")
	durationField(c, "gate1", &m.Gate1, "ns of a gate of one qubit")
	durationField(c, "gate2", &m.Gate2, "ns of a gate of two qubits")
	durationField(c, "readout", &m.Readout, "ns to read a qubit out")
	c.Float("t1", &m.T1, "seconds, 0 for none")
	c.Float("t2", &m.T2, "seconds, 0 for none")
	c.Float("depolarise", &m.Depolarise, "rate at which a stored qubit depolarises, 1/s")
	c.Float("gate2_depolarising", &m.Noise.Gate2Depolarising, "depolarising of a gate of two qubits, as characterised")
	c.Float("gate2_dephasing", &m.Noise.Gate2Dephasing, "phase flips of each qubit by a gate of two, as characterised")
	noiseFields(c, "", &m.Noise.QubitNoise)
	wire.List(c, "memory", &m.Memory, 1, func(c *wire.Codec, s *physical.Memory) {
		durationField(c, "init", &s.Init, "ns to initialise a storage qubit")
		durationField(c, "gate1", &s.Gate1, "ns of a gate of a storage qubit alone")
		durationField(c, "readout", &s.Readout, "ns to read a storage qubit out")
		c.Float("t1", &s.T1, "seconds, 0 for none")
		c.Float("t2", &s.T2, "seconds, 0 for none")
		c.Float("depolarise", &s.Depolarise, "rate at which a storage qubit depolarises, 1/s")
		c.Bool("indirect", &s.Indirect, "a storage qubit is initialised and read out through a communication qubit")
	}, "how storage qubits differ from communication qubits; none if they do not")
	noiseFields(c, "memory.", &m.Noise.Memory)
	wire.Uint(c, "coupling", &m.Coupling, uint64(physical.CouplingEnd), "which qubits interact: 0 any two, 1 a communication qubit and a storage qubit")
	c.Bool("serial", &m.Serial, "one operation at a time")
}

// noiseFields visits the noise of a kind of qubit.
func noiseFields(c *wire.Codec, prefix string, n *physical.QubitNoise) {
	c.Float(prefix+"init_depolarising", &n.InitDepolarising, "depolarising of a qubit that was initialised, as characterised")
	c.Float(prefix+"gate1_depolarising", &n.Gate1Depolarising, "depolarising of a gate of one qubit, as characterised")
	c.Float(prefix+"readout_error0", &n.ReadoutError[0], "probability that 0 is read as 1, as characterised")
	c.Float(prefix+"readout_error1", &n.ReadoutError[1], "probability that 1 is read as 0, as characterised")
}

func durationField(c *wire.Codec, name string, d *time.Duration, doc string) {
	u := uint64(max(*d, 0))
	c.Uvarint(name, &u, doc)
	*d = time.Duration(u)
}

// Ops asks for operations.
type Ops struct {
	First uint64
	Ops   []Op
}

// Op is one operation. The fabric of its handles is that of the attachment and
// does not travel; a handle of generation 0 is no qubit.
type Op struct {
	physical.Op
	// Bases and Weights are the source of a lane that is armed for measuring
	// directly; without bases it is armed for pairs.
	Bases   []qnet.Basis
	Weights []float64
}

// Type implements wire.Message.
func (*Ops) Type() wire.Type { return typeOps }

// Doc implements wire.Documented.
func (*Ops) Doc() string {
	return "Node to fabric: operations, to be executed in this order. The fields of one that its kind does not need are left out; kind 0, which does nothing and is refused, has them all. An operation that makes no sense is answered by an error; more than 65,536 without an answer close the stream."
}

// Fields implements wire.Message.
func (m *Ops) Fields(c *wire.Codec) {
	c.Uvarint("first", &m.First, "number of the first operation, above all that were used on the stream; the others follow")
	wire.List(c, "ops", &m.Ops, maxOps, opFields, "the operations")
}

func opFields(c *wire.Codec, o *Op) {
	wire.Uint(c, "kind", &o.Kind, 0, "1 allocate, 2 arm, 3 free, 4 gate, 5 measure, 6 Bell measurement, 7 prepare, 8 refresh")
	all := o.Kind == 0
	if all || o.Kind == physical.OpArm || o.Kind == physical.OpPrepare || o.Kind == physical.OpRefresh {
		wire.Uint(c, "link", &o.Link, 0, "arm, prepare and refresh: number of the link")
	}
	if all || o.Kind == physical.OpArm || o.Kind == physical.OpPrepare {
		wire.Uint(c, "lane", &o.Lane, 0, "arm and prepare: communication qubit of this end")
	}
	if all || o.Kind == physical.OpArm {
		wire.List(c, "bases", &o.Bases, physical.MaxBases, func(c *wire.Codec, b *qnet.Basis) {
			c.Basis("basis", b, "one of the bases")
		}, "arm: bases in which to measure directly; none to make pairs")
		wire.List(c, "weights", &o.Weights, physical.MaxBases, func(c *wire.Codec, w *float64) {
			c.Float("weight", w, "relative probability of a basis")
		}, "arm: one for each basis, or none if all are alike")
	}
	if all || o.Kind == physical.OpGate {
		wire.Uint(c, "gate", &o.Gate, 0, "gate: 1 X, 2 Y, 3 Z, 4 H, 5 S, 6 S†, 7 T, 8 T†, 9 RX, 10 RY, 11 RZ, 12 CNOT, 13 CZ")
	}
	if all || usesA(&o.Op) {
		qubitFields(c, "a.index", "a.generation", &o.A)
	}
	if all || usesB(&o.Op) {
		qubitFields(c, "b.index", "b.generation", &o.B)
	}
	if all || o.Kind == physical.OpGate && o.Gate >= physical.GateRX && o.Gate <= physical.GateRZ {
		angleField(c, "angle", &o.Angle, "rotations: the angle in radians")
	}
	if all || o.Kind == physical.OpMeasure {
		angleField(c, "theta", &o.Basis.Theta, "measure: θ of the basis in radians")
		angleField(c, "phi", &o.Basis.Phi, "measure: φ of the basis in radians")
		c.Bool("free", &o.Free, "measure: the qubit is free afterwards")
	}
	if all || o.Kind == physical.OpRefresh {
		patternFields(c, &o.Pattern)
	}
}

// patternFields visits a pattern. None travels as one that is all 0.
func patternFields(c *wire.Codec, pattern **physical.Pattern) {
	var p physical.Pattern
	if *pattern != nil {
		p = **pattern
	}
	c.Uvarint("pattern.first", &p.First, "refresh: first cycle of the pattern of attempts, rounded up to a multiple of the stride")
	c.Uvarint("pattern.stride", &p.Stride, "refresh: attempts are made in its multiples; 0 stands for 1")
	c.Uvarint("pattern.every", &p.Every, "refresh: cycles of a block of attempts; 0 if there are no pauses")
	c.Uvarint("pattern.pause", &p.Pause, "refresh: cycles at least from a block to the next, which begins in a multiple of the stride")
	if c.Decoding() {
		if *pattern = nil; !p.IsZero() {
			*pattern = &p
		}
	}
}

// usesA reports whether operand A matters.
func usesA(op *physical.Op) bool {
	return op.Kind >= physical.OpFree && op.Kind <= physical.OpBSM || op.Kind == physical.OpRefresh
}

// usesB reports whether operand B matters.
func usesB(op *physical.Op) bool {
	return op.Kind == physical.OpBSM || op.Kind == physical.OpGate && op.Gate.Qubits() == 2
}

func qubitFields(c *wire.Codec, index, generation string, q *physical.Qubit) {
	wire.Uint(c, index, &q.Index, 0, "place of the qubit in the fabric")
	wire.Uint(c, generation, &q.Generation, 0, "generation of the place, 0 for no qubit")
}

// angleField visits any number, finite or not: whether it makes sense is for the
// fabric to say, in an answer that keeps its place in the order.
func angleField(c *wire.Codec, name string, v *float64, doc string) {
	bits := math.Float64bits(*v)
	wire.Fixed64(c, name, &bits, doc+", an IEEE 754 binary64 number")
	*v = math.Float64frombits(bits)
}

// Results answers operations, and tells of lanes that have become free.
type Results struct {
	Results []Result
	Freed   []Freed
}

// Result answers one operation.
type Result struct {
	Number     uint64
	At         qnet.Time
	Code       qnet.Code
	Text       string
	Index      uint32
	Generation uint32
	Value      uint8
}

// Freed tells of a communication qubit that has become free, whoever freed it.
type Freed struct {
	After uint64 // results of the message that come before it
	Link  physical.LinkID
	Lane  uint32
}

// Type implements wire.Message.
func (*Results) Type() wire.Type { return typeResults }

// Doc implements wire.Documented.
func (*Results) Doc() string {
	return "Fabric to node: what became known in one turn: results of operations, and communication qubits that have become free, whoever freed them. Numbers and instants are differences to the result before (at first to 0) in zigzag form: 0, −1, 1, −2, ... as 0, 1, 2, 3, ..."
}

// Fields implements wire.Message.
func (m *Results) Fields(c *wire.Codec) {
	var number uint64
	var at qnet.Time
	wire.List(c, "results", &m.Results, maxResults, func(c *wire.Codec, r *Result) {
		deltaField(c, "number", &r.Number, &number, "number of the operation, as a difference")
		deltaField(c, "at", &r.At, &at, "when it took effect, ns of fabric time, as a difference")
		wire.Uint(c, "code", &r.Code, 0, "0, or why it failed")
		c.String("text", &r.Text, maxText, "the same for people")
		wire.Uint(c, "index", &r.Index, 0, "allocate, arm and prepare: place of the qubit in the fabric")
		wire.Uint(c, "generation", &r.Generation, 0, "allocate, arm and prepare: generation of the place; otherwise 0")
		wire.Uint(c, "value", &r.Value, 4, "measure: the bit; Bell measurement: the label, two bits xz")
	}, "in the order in which they became known")
	var last uint64
	wire.List(c, "freed", &m.Freed, maxResults, func(c *wire.Codec, f *Freed) {
		c.Uvarint("after", &f.After, "how many of the results became known before it")
		wire.Uint(c, "link", &f.Link, 0, "number of the link")
		wire.Uint(c, "lane", &f.Lane, 0, "communication qubit of this end")
		if f.After < last || f.After > uint64(len(m.Results)) {
			c.Fail("after", wire.ErrRange)
		}
		last = f.After
	}, "qubits that are free, in the order in which that became known")
}

// deltaField visits v as its difference to last, which becomes v.
func deltaField[T ~uint64 | ~int64](c *wire.Codec, name string, v, last *T, doc string) {
	d := int64(*v - *last)
	z := uint64(d<<1) ^ uint64(d>>63)
	c.Uvarint(name, &z, doc)
	if c.Decoding() {
		*v = *last + T(int64(z>>1)^-int64(z&1))
	}
	*last = *v
}

// Outcomes carries outcomes of a lane that measures directly, as columns of
// equal length.
type Outcomes struct {
	Number uint64
	At     qnet.Time
	Cycles []uint64
	Bits   []byte // 2·basis + bit
}

// Type implements wire.Message.
func (*Outcomes) Type() wire.Type { return typeOutcomes }

// Doc implements wire.Documented.
func (*Outcomes) Doc() string {
	return "Fabric to node: outcomes of pairs that were measured directly, in ascending order of cycle, as columns."
}

// Fields implements wire.Message.
func (m *Outcomes) Fields(c *wire.Codec) {
	c.Uvarint("number", &m.Number, "number of the operation that armed the lane")
	c.Time("at", &m.At, "when the last of them was ready, in fabric time")
	var last uint64
	wire.List(c, "cycles", &m.Cycles, maxOutcomes, func(c *wire.Codec, v *uint64) {
		step := *v - last
		c.Uvarint("step", &step, "cycles since the pair before, at first since 0")
		last += step
		*v = last
	}, "attempt cycles of the pairs")
	c.Bytes("bits", &m.Bits, maxOutcomes, "for each pair 2·(number of the basis in the source) + bit")
	if !c.Decoding() {
		return
	}
	if len(m.Bits) != len(m.Cycles) {
		c.Fail("bits", wire.ErrRange)
	}
	for _, b := range m.Bits {
		if b >= 2*physical.MaxBases {
			c.Fail("bits", wire.ErrRange)
		}
	}
}

// ClockRequest asks for the time.
type ClockRequest struct {
	Sequence uint64
	Padding  []byte
}

// Type implements wire.Message.
func (*ClockRequest) Type() wire.Type { return typeClockRequest }

// Doc implements wire.Documented.
func (*ClockRequest) Doc() string {
	return "Node to fabric, in a datagram: asks for fabric time. Sent several times in a row after Attached and about every second from then on."
}

// Fields implements wire.Message.
func (m *ClockRequest) Fields(c *wire.Codec) {
	c.Uvarint("sequence", &m.Sequence, "never used before by the node")
	paddingField(c, &m.Padding)
}

// ClockReply answers ClockRequest.
type ClockReply struct {
	Sequence uint64
	At       qnet.Time
	Padding  []byte
}

// Type implements wire.Message.
func (*ClockReply) Type() wire.Type { return typeClockReply }

// Doc implements wire.Documented.
func (*ClockReply) Doc() string {
	return "Fabric to node, in a datagram: answers ClockRequest at once."
}

// Fields implements wire.Message.
func (m *ClockReply) Fields(c *wire.Codec) {
	c.Uvarint("sequence", &m.Sequence, "that of the request")
	c.Time("at", &m.At, "instant of the reply, in fabric time")
	paddingField(c, &m.Padding)
}

func paddingField(c *wire.Codec, p *[]byte) {
	c.Bytes("padding", p, 2*padding, "any value, ignored; makes the datagram long enough")
}
