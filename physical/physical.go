// Package physical is the layer of quantum hardware as protocols see it: a
// Device holds the qubits of one node and executes operations on them, each of
// which takes time, can fail, and answers by a callback.
//
// The emulated world behind it is package fabric; package remote reaches a
// fabric in another process; package herald has the models of heralded
// entanglement generation and package state the quantum states. What is not
// here: nothing in this package tells the state of a qubit. That is the
// oracle's, for tests and reports (see fabric.Oracle).
package physical

import (
	"fmt"
	"time"

	"qstack/qnet"
)

// LinkID names a link of the network: the position of the link in the
// scenario, counted from 1.
type LinkID uint32

// Qubit is the handle of a qubit: the fabric that it lives in, its place there
// and the generation of that place, which grows with every allocation, so that
// the handle of a freed qubit is never somebody else's. Only the node that holds
// the qubit can use it, and handles never travel between nodes. The zero value
// is no qubit.
type Qubit struct {
	Fabric     uint32 // drawn anew at each start of a fabric, never 0
	Index      uint32
	Generation uint32
}

// IsZero reports whether q is no qubit.
func (q Qubit) IsZero() bool { return q == Qubit{} }

// String formats the handle for diagnostics.
func (q Qubit) String() string {
	return fmt.Sprintf("qubit %d.%d@%08x", q.Index, q.Generation, q.Fabric)
}

// OpKind says what an operation does.
type OpKind uint8

// The operations. Unless said otherwise, an operation takes effect at its end:
// stored states decohere until then, then the ideal operation and its noise
// act. A qubit that is still busy delays the operation.
const (
	_ OpKind = iota
	// OpAlloc takes a free storage qubit and initialises it to |0⟩.
	OpAlloc
	// OpArm takes the communication qubit of Link and Lane, or one of those that
	// the lanes share, initialises it and leaves it to the link's station, which
	// may entangle it from Result.At on. While none is free it fails with
	// qnet.ErrNoMemory.
	OpArm
	// OpFree gives qubit A back, armed or not. It takes no time.
	OpFree
	// OpGate applies a gate to A (and B, for a gate of two qubits).
	OpGate
	// OpMeasure measures A in Basis; the outcome is Result.Bit. The qubit stays,
	// in the post-measurement state, unless Free is set.
	OpMeasure
	// OpBSM measures A and B in the Bell basis by CNOT(A,B), H(A) and two
	// simultaneous read-outs, and frees both; the outcome is Result.Label.
	OpBSM
	// OpPrepare takes the communication qubit of Link and Lane as OpArm does, but
	// for the node itself: it initialises it to |0⟩.
	OpPrepare
	// OpRefresh has storage qubit A, which was allocated and not used since,
	// initialised anew whenever attempts on Link resume after a pause of Pattern,
	// until another operation begins to use it: spins lose their polarisation. It
	// takes no time. That a pause is long enough for the initialisation, and that
	// the communication qubits are idle in it, is for those to see who attempt.
	OpRefresh
)

// Gate is a unitary of one or two qubits.
type Gate uint8

// The gates. Rotations are by Op.Angle: RX(θ)=exp(−iθX/2), and so on.
const (
	_ Gate = iota
	GateX
	GateY
	GateZ
	GateH
	GateS
	GateSdg
	GateT
	GateTdg
	GateRX
	GateRY
	GateRZ
	GateCNOT // control A, target B
	GateCZ
	GateEnd // one past the last gate
)

// Qubits returns the number of qubits that g acts on.
func (g Gate) Qubits() int {
	if g == GateCNOT || g == GateCZ {
		return 2
	}
	return 1
}

// String returns the usual name of the gate.
func (g Gate) String() string {
	names := [...]string{"?", "X", "Y", "Z", "H", "S", "S†", "T", "T†", "RX", "RY", "RZ", "CNOT", "CZ"}
	if int(g) < len(names) {
		return names[g]
	}
	return fmt.Sprintf("Gate(%d)", uint8(g))
}

// Op is one operation of a device.
type Op struct {
	Kind  OpKind
	Gate  Gate       // OpGate
	Free  bool       // OpMeasure: give the qubit back afterwards
	A, B  Qubit      // operands
	Angle float64    // radians, for the rotations
	Basis qnet.Basis // OpMeasure
	Link  LinkID     // OpArm, OpPrepare, OpRefresh
	Lane  uint32     // OpArm, OpPrepare
	// Pattern is that of OpRefresh, not to be changed before the result; nil stands
	// for one without pauses, which ends what an OpRefresh before has begun.
	Pattern *Pattern
}

// Result answers an operation.
type Result struct {
	Err   error          // nil, or carries one of qnet.ErrBadQubit, ErrNoMemory, ErrBusy, ErrTooLarge, ErrUnavail, ErrUnsupported, ErrRestarted, ErrMoved, ErrInvalid
	At    qnet.Time      // when the operation took effect, in fabric time
	Qubit Qubit          // OpAlloc, OpArm, OpPrepare
	Bit   uint8          // OpMeasure
	Label qnet.BellLabel // OpBSM
}

// Device is the quantum hardware of one node. It is used on the node's loop;
// callbacks come on the loop too, never before the call returns, and for
// operations on one qubit in the order of the calls.
type Device interface {
	// Spec returns what the hardware can do.
	Spec() *Spec
	// Now returns the current instant of fabric time, as well as it is known.
	Now() qnet.Time
	// Watch makes f be called whenever the communication qubit of a lane has
	// become free, whoever freed it, and for every lane when the hardware was
	// restarted. Of lanes that share their qubits all that are free are told, the
	// one that was freed last, so that they take turns; and none any more once
	// the qubit has been taken. It is called once, before the loop runs.
	Watch(f func(link LinkID, lane uint32))
	// Do executes op and calls done with the result. done may be nil.
	Do(op Op, done func(Result))
	// ArmBulk reserves the communication qubit of a link's lane for measuring
	// directly: every pair that the link's station heralds from then on is
	// measured at once, in a basis that the device draws from src by its own
	// random stream, and the outcomes are handed to sink in batches, in order of
	// cycle, together with the instant they were ready. The result carries the
	// handle; OpFree ends it. sink is called with an error, once, when the device
	// is lost.
	ArmBulk(link LinkID, lane uint32, src BasisSource, sink func(Outcomes, error), done func(Result))
}

// BasisSource is a private choice of measurement bases. The zero value
// measures in Z.
type BasisSource struct {
	Bases []qnet.Basis // at most 16
	// Weights are the relative probabilities of the bases, all equal when nil.
	Weights []float64
}

// Outcomes are measurement outcomes of a bulk request as columns of equal
// length: pair i was heralded in Cycle[i], this end measured it in basis number
// Basis[i] of its source and saw Bit[i]. The receiver must not keep the slices.
type Outcomes struct {
	Cycle []uint64
	Basis []uint8
	Bit   []uint8
	At    qnet.Time
}

// Spec is what the hardware of a node can do and how long it takes. It holds no
// noise that a protocol could not know from its data sheet.
//
// A device has communication qubits, which its links entangle, and storage
// qubits, which only the device itself reaches.
type Spec struct {
	Storage int            // storage qubits
	Lanes   map[LinkID]int // lanes per link, each for a communication qubit
	// Communication is the number of communication qubits that all lanes share; a
	// lane takes one when it is armed, until it is freed. 0: every lane has its
	// own.
	Communication int
	// Init to Depolarise are those of the communication qubits, and of the storage
	// qubits unless they have a Memory.
	Init    time.Duration // initialise a qubit
	Gate1   time.Duration // gate of one qubit
	Gate2   time.Duration // gate of two qubits, of either kind
	Readout time.Duration // read one qubit out
	T1, T2  float64       // seconds; 0 stands for none (no such decay)
	// Depolarise is the rate, in 1/s, at which a stored qubit depolarises.
	Depolarise float64
	Noise      Noise    // as characterised
	Memory     *Memory  // how storage qubits differ; nil: not at all
	Coupling   Coupling // which pairs of qubits can interact
	// Serial says that the device does one operation at a time: operations on any
	// of its qubits queue, and attempts pause meanwhile.
	Serial bool
	// AttemptDephasing is, by link, the probability that one attempt on one of its
	// lanes flips the phase of a storage qubit, from 0 to below ½: N attempts
	// leave the fraction (1−2p)^N of a stored coherence, so that a qubit is to be
	// discarded after ln c / ln(1−2p) attempts if it must keep the fraction c.
	// Of a link with several operating points it is that of the point with the
	// highest fidelity. Links that are not in it have none.
	AttemptDephasing map[LinkID]float64
}

// Memory is what a storage qubit takes and endures.
type Memory struct {
	Init       time.Duration // initialise it
	Gate1      time.Duration // gate of it alone
	Readout    time.Duration // read it out
	T1, T2     float64       // seconds; 0 stands for none
	Depolarise float64       // 1/s
	// Indirect says that a storage qubit is reached through a communication qubit
	// only, as a nuclear spin through its electron: initialising it occupies a
	// communication qubit that is free, and it can not be read out, but swapped
	// into a communication qubit that can.
	Indirect bool
}

// Coupling says which two qubits of a device can interact, in a gate or a
// Bell-state measurement.
type Coupling uint8

// The couplings.
const (
	CouplingAll  Coupling = iota // any two
	CouplingStar                 // a communication qubit and a storage qubit
	CouplingEnd                  // one past the last coupling
)

// String names the coupling.
func (c Coupling) String() string {
	switch c {
	case CouplingAll:
		return "all"
	case CouplingStar:
		return "star"
	}
	return fmt.Sprintf("Coupling(%d)", uint8(c))
}

// Noise is the imperfection of a device's operations, all of them numbers from 0
// to 1. The zero value has none.
type Noise struct {
	// Gate2Depolarising is q in ρ → (1−q)ρ + q·I/4 after each two-qubit gate.
	Gate2Depolarising float64
	// Gate2Dephasing is the probability of a phase flip of either qubit, each on
	// its own, after each two-qubit gate.
	Gate2Dephasing float64
	// QubitNoise is that of the communication qubits, and of the storage qubits
	// unless they have a Memory in the Spec.
	QubitNoise
	Memory QubitNoise // of storage qubits that have a Memory in the Spec
}

// QubitNoise is the imperfection of operations on one qubit.
type QubitNoise struct {
	// InitDepolarising is q in (1−q)|0⟩⟨0| + q·I/2 for a qubit that was
	// initialised. It is of no account for a qubit that is armed: what attempts
	// start from is in the state that the link heralds.
	InitDepolarising float64
	// Gate1Depolarising is q in ρ → (1−q)ρ + q·I/2 after each gate of one qubit,
	// and after the rotation before a read-out in another basis than Z.
	Gate1Depolarising float64
	ReadoutError      ReadoutError
}

// ReadoutError has, by the bit that is true, the probability that the other one
// is read.
type ReadoutError [2]float64

// SymmetricReadout returns a read-out that is wrong with probability e, whatever
// is true.
func SymmetricReadout(e float64) ReadoutError { return ReadoutError{e, e} }

// Mean returns the probability of a wrong bit when both are equally likely, as in
// a Bell-state measurement that joins two pairs.
func (r ReadoutError) Mean() float64 { return (r[0] + r[1]) / 2 }

// BSMTime returns the duration of a Bell-state measurement of two communication
// qubits: a two-qubit gate, a Hadamard gate and two simultaneous read-outs.
func (s *Spec) BSMTime() time.Duration { return s.Gate2 + s.Gate1 + s.Readout }

// MeasureTime returns the duration of a measurement of a communication qubit: the
// read-out and, unless the basis is Z, the rotation before it.
func (s *Spec) MeasureTime(b qnet.Basis) time.Duration {
	if b == qnet.BasisZ {
		return s.Readout
	}
	return s.Gate1 + s.Readout
}

// Basis returns basis number i of the source.
func (s BasisSource) Basis(i uint8) qnet.Basis {
	if len(s.Bases) == 0 {
		return qnet.BasisZ
	}
	return s.Bases[i]
}

// MaxBases is the largest number of bases of a source.
const MaxBases = 16

// Validate returns nil, or an error of code qnet.ErrInvalid when there are too
// many bases, one is not finite, or the weights are not probabilities.
func (s BasisSource) Validate() error {
	n := max(1, len(s.Bases))
	if n > MaxBases {
		return qnet.Errorf(qnet.ErrInvalid, "%d bases: want at most %d", n, MaxBases)
	}
	for i, b := range s.Bases {
		if !b.Valid() {
			return qnet.Errorf(qnet.ErrInvalid, "basis %d, %v, has an angle that is not finite", i, b)
		}
	}
	if s.Weights == nil {
		return nil
	}
	if len(s.Weights) != n {
		return qnet.Errorf(qnet.ErrInvalid, "%d weights for %d bases: want one each, or none", len(s.Weights), n)
	}
	sum := 0.0
	for i, w := range s.Weights {
		if !(w >= 0 && w <= 1e9) {
			return qnet.Errorf(qnet.ErrInvalid, "weight of basis %d is %g: want a number from 0 to 1e9", i, w)
		}
		sum += w
	}
	if sum <= 0 {
		return qnet.Errorf(qnet.ErrInvalid, "the weights of all bases are 0")
	}
	return nil
}

// Choice returns the choice among the source's bases, or the error of Validate.
func (s BasisSource) Choice() (qnet.Choice, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	n := max(1, len(s.Bases))
	upTo := make([]float64, n)
	sum := 0.0
	for i := range upTo {
		w := 1.0
		if s.Weights != nil {
			w = s.Weights[i]
		}
		sum += w
		upTo[i] = sum
	}
	// A basis of weight 0 is never drawn: the last one with a weight takes what
	// rounding leaves.
	for upTo[n-1] == sum {
		if n--; n == 0 {
			break
		}
	}
	upTo = upTo[:n]
	for i := range upTo {
		upTo[i] /= sum
	}
	return qnet.NewChoice(upTo...), nil
}
