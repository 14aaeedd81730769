package network

import (
	"fmt"

	"qstack/physical"
	"qstack/qnet"
)

// CircuitID names a virtual circuit: the node at its head end and a number
// that the head never uses again.
type CircuitID struct {
	Head   qnet.NodeID
	Number uint64
}

// String formats the identity for diagnostics.
func (id CircuitID) String() string { return fmt.Sprintf("%s/%d", id.Head, id.Number) }

// PairName names an end-to-end pair; both ends know it by the same name.
type PairName struct {
	Circuit CircuitID
	Seq     uint64 // the sequence number of the head end's own link pair
}

// Corrector says which end turns the Bell state of each pair into the one asked
// for.
type Corrector uint8

// The correctors. A keeping end corrects by gates, a measuring one by
// inverting its bit, which is right for Pauli bases only.
const (
	CorrectorNobody Corrector = iota
	CorrectorHead
	CorrectorTail
)

// Estimate is what a circuit is expected to deliver.
type Estimate struct {
	Fidelity float64 // to the named Bell state, of a kept pair at delivery
	Rate     float64 // pairs per second
}

// Request asks a circuit for pairs. Both ends make it with the same ID and
// number of pairs, in either order; each says for itself what becomes of its
// half.
type Request struct {
	ID    uint64
	Pairs uint64 // 1 or more
	// Measure makes this end measure its half at once, in a basis drawn from
	// Bases; otherwise the half is kept.
	Measure bool
	Bases   physical.BasisSource
	// PeerMeasures says the same of the other end.
	PeerMeasures bool
	Corrector    Corrector
	State        qnet.BellLabel // that a corrector turns the pairs into
}

// Delivery is one end-to-end pair, confirmed at both ends.
type Delivery struct {
	Request uint64
	Name    PairName
	// Label is the Bell state of the pair after correction: the one asked for if
	// there was a corrector.
	Label qnet.BellLabel
	// Qubit is this end's half, if it was kept. It belongs to the receiver now,
	// who must free it.
	Qubit physical.Qubit
	// Basis and Bit are the result if it was measured: the number of the basis
	// in Bases, and the bit, inverted if this end is the corrector and the Bell
	// state asks for it.
	Basis uint8
	Bit   uint8
	// Created is the emission instant of this end's link pair, At the instant of
	// delivery.
	Created, At qnet.Time
	// Fidelity is the estimated fidelity to Label at At.
	Fidelity float64
}

// CircuitHandler receives what happens on one end of a circuit.
type CircuitHandler interface {
	// Pair delivers a pair.
	Pair(c *Circuit, d Delivery)
	// RequestDone tells that all pairs of a request have been delivered here.
	RequestDone(c *Circuit, id uint64)
	// Down tells that the circuit is gone, and with it every request; err names
	// the node or link to blame.
	Down(c *Circuit, err error)
}
