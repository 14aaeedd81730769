package qsocket

import (
	"time"

	"qstack/qnet"
	"qstack/transport"
)

// Basis is a measurement basis, an axis of the Bloch sphere.
type Basis = qnet.Basis

// The Pauli bases.
var (
	X = qnet.BasisX
	Y = qnet.BasisY
	Z = qnet.BasisZ
)

// BellLabel names a Bell state.
type BellLabel = qnet.BellLabel

// PairName names a pair, the same at both ends.
type PairName = transport.PairName

// Bases is a private choice of bases for many pairs.
type Bases = transport.Bases

// FixedBasis measures every pair in b.
func FixedBasis(b Basis) Bases { return Bases{Bases: []Basis{b}} }

// RandomBasis measures each pair in one of up to 16 bases, all equally likely,
// drawn by this node.
func RandomBasis(b ...Basis) Bases { return Bases{Bases: b} }

// Pair is one entangled pair, whose other half the other end has kept or
// measured.
type Pair struct {
	Name     PairName
	Label    BellLabel // the Bell state that it is, up to noise
	Fidelity float64   // estimated fidelity to that state, at At
	Created  time.Time // when this end's qubit was entangled, in the time of Node.Now
	At       time.Time // when it was delivered
	Qubit    *Qubit    // this end's half
}

// Age returns the time since the pair was made.
func (p *Pair) Age() time.Duration { return max(0, p.Qubit.n.Now().Sub(p.Created)) }

// Outcomes are the results of measured pairs as columns of equal length, in the
// order of delivery, which may differ at the two ends: pairs are to be joined by
// name.
type Outcomes struct {
	Circuit transport.CircuitID
	Seq     []uint64    // with Circuit the name of the pair
	Basis   []uint8     // number of the basis among those that were given
	Bit     []uint8     // 0 for the +1 eigenstate of the axis
	Label   []BellLabel // Bell state as which the pair is to be read: the socket's unless nobody could correct
	At      []qnet.Time // instant of delivery; see Node.Time

	asked int // results that room is made for when the first ones come
}

// maxRoom bounds the results that room is made for before they come.
const maxRoom = 1 << 20

// Len returns the number of results.
func (o *Outcomes) Len() int { return len(o.Seq) }

// Name returns the name of pair i.
func (o *Outcomes) Name(i int) PairName { return PairName{Circuit: o.Circuit, Seq: o.Seq[i]} }

// add appends what the node has sent.
func (o *Outcomes) add(m *transport.Outcomes) {
	if o.Seq == nil {
		o.Seq, o.At = make([]uint64, 0, o.asked), make([]qnet.Time, 0, o.asked)
		o.Basis, o.Bit, o.Label = make([]uint8, 0, o.asked), make([]uint8, 0, o.asked), make([]BellLabel, 0, o.asked)
	}
	o.Seq = append(o.Seq, m.Seq...)
	o.At = append(o.At, m.At...)
	for _, r := range m.Results {
		o.Basis = append(o.Basis, r.Basis())
		o.Bit = append(o.Bit, r.Bit())
		o.Label = append(o.Label, r.Label())
	}
}
