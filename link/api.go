package link

import (
	"time"

	"qstack/physical"
	"qstack/qnet"
)

// RequestID names a request at both ends of its link. Its lowest bit tells which
// end created it; the rest grows with every request of that end.
type RequestID uint64

// Type says what becomes of the pairs of a request.
type Type uint8

// The types of request (CK and MD in the literature).
const (
	Keep    Type = iota // both halves stay in communication qubits
	Measure             // both ends measure at once, each in bases of its own
	typeEnd
)

// String names the type.
func (t Type) String() string {
	if t == Measure {
		return "measure"
	}
	return "keep"
}

// Request asks for pairs on a link (CREATE).
type Request struct {
	Type Type
	// Pairs is the number of pairs after which the request is complete; 0 means
	// that it goes on until it is ended.
	Pairs uint64
	// Purpose tells the layer above at the peer what the request is for; Tag is
	// handed to it along with the purpose.
	Purpose, Tag uint64
	// MinFidelity is the least fidelity of a pair at its herald; 0 asks for none.
	MinFidelity float64
	// Deadline ends the request at both ends; qnet.Never for none.
	Deadline qnet.Time
	// Limit is the number of pairs that this end takes until SetLimit raises it.
	Limit uint64
	// Bases are this end's bases, for Measure.
	Bases physical.BasisSource
}

// Pair is one heralded pair of a Keep request (OK).
type Pair struct {
	Link    physical.LinkID
	Request RequestID
	// Seq is the pair's number on the link, the same at both ends, never given
	// twice while the station lives.
	Seq   uint64
	Label qnet.BellLabel
	// Qubit is this end's half. It belongs to the receiver now; its lane is used
	// again when it has been freed.
	Qubit physical.Qubit
	// Created is the emission instant, from which the pair decoheres.
	Created qnet.Time
}

// Measured is one measured pair of a Measure request.
type Measured struct {
	Seq     uint64 // as in Pair
	Label   qnet.BellLabel
	Basis   uint8 // number of the basis in this end's source
	Bit     uint8
	Created qnet.Time
}

// Handler is the layer above.
type Handler interface {
	// Requested asks whether to take part in a request of the peer, and for how
	// many pairs at first (see Layer.SetLimit).
	Requested(link physical.LinkID, id RequestID, typ Type, pairs, purpose, tag uint64) (limit uint64, err error)
	// Pair hands up a kept pair.
	Pair(p Pair)
	// Measured hands up measured pairs, in order of Seq; the slice is lent.
	Measured(link physical.LinkID, id RequestID, ms []Measured)
	// Expired voids a pair: one end does not have its half. had tells whether it
	// was handed up here.
	Expired(link physical.LinkID, id RequestID, seq uint64, had bool)
	// Ended tells that a request is over: complete (nil) or why not.
	Ended(link physical.LinkID, id RequestID, err error)
	// LinkChange tells that a link came up (nil) or went down, and why.
	LinkChange(link physical.LinkID, err error)
}

// EndConfig describes one end of one link.
type EndConfig struct {
	ID   physical.LinkID
	Name string // for diagnostics, as in "alice-bob"
	// Side is 0 at the end that the scenario names first, 1 at the other. Of
	// requests whose turn it is, the first choice of side 0 is served first.
	Side          int
	Peer, Station qnet.NodeID
	PeerName      string
	Lanes         int
	Cycles        physical.Cycles
	// Delay is the travel time of light between this end and the station.
	Delay time.Duration
	// Probability is the success probability of an attempt, Fidelity that of a
	// heralded pair, as characterised.
	Probability, Fidelity float64
}

// PairTime returns the mean time between heralds of one lane.
func (e *EndConfig) PairTime() time.Duration {
	return time.Duration(e.Cycles.Period / e.Probability)
}
