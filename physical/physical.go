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
	// OpArm takes the communication qubit of Link and Lane, initialises it and
	// leaves it to the link's station, which may entangle it from Result.At on.
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
	Link  LinkID     // OpArm
	Lane  uint32     // OpArm
}

// Result answers an operation.
type Result struct {
	Err   error          // nil, or carries one of qnet.ErrBadQubit, ErrNoMemory, ErrBusy, ErrTooLarge, ErrUnavail, ErrRestarted, ErrMoved, ErrInvalid
	At    qnet.Time      // when the operation took effect, in fabric time
	Qubit Qubit          // OpAlloc, OpArm
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
	// restarted. It is called once, before the loop runs.
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
type Spec struct {
	Storage int            // storage qubits
	Lanes   map[LinkID]int // communication qubits per link
	Init    time.Duration  // initialise a qubit
	Gate1   time.Duration  // gate of one qubit
	Gate2   time.Duration  // gate of two qubits
	Readout time.Duration  // read one qubit out
	T1, T2  float64        // seconds; 0 stands for none (no such decay)
	// Depolarise is the rate, in 1/s, at which a stored qubit depolarises.
	Depolarise float64
	Noise      Noise // as characterised
}

// Noise is the imperfection of a device's operations.
type Noise struct {
	// Gate2Depolarising is q in ρ → (1−q)ρ + q·I/4 after each two-qubit gate.
	Gate2Depolarising float64
	// ReadoutError is the probability that a read-out bit is wrong.
	ReadoutError float64
}

// BSMTime returns the duration of a Bell-state measurement: a two-qubit gate, a
// Hadamard gate and two simultaneous read-outs.
func (s *Spec) BSMTime() time.Duration { return s.Gate2 + s.Gate1 + s.Readout }

// MeasureTime returns the duration of a measurement: the read-out and, unless
// the basis is Z, the rotation before it.
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

// Choice returns the choice among the source's bases. It fails with
// qnet.ErrInvalid when there are too many bases, one is not finite, or the
// weights are not probabilities.
func (s BasisSource) Choice() (qnet.Choice, error) {
	n := max(1, len(s.Bases))
	if n > MaxBases {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%d bases: want at most %d", n, MaxBases)
	}
	for i, b := range s.Bases {
		if !b.Valid() {
			return nil, qnet.Errorf(qnet.ErrInvalid, "basis %d, %v, has an angle that is not finite", i, b)
		}
	}
	if s.Weights != nil && len(s.Weights) != n {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%d weights for %d bases: want one each, or none", len(s.Weights), n)
	}
	upTo := make([]float64, n)
	sum := 0.0
	for i := range upTo {
		w := 1.0
		if s.Weights != nil {
			w = s.Weights[i]
		}
		if !(w >= 0 && w <= 1e9) {
			return nil, qnet.Errorf(qnet.ErrInvalid, "weight of basis %d is %g: want a number from 0 to 1e9", i, w)
		}
		sum += w
		upTo[i] = sum
	}
	if sum <= 0 {
		return nil, qnet.Errorf(qnet.ErrInvalid, "the weights of all bases are 0")
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
