package link

import (
	"fmt"
	"time"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/qnet"
)

// RequestID names a request at both ends of its link. Its lowest bit tells which
// end created it; the rest grows with every request of that end.
type RequestID uint64

// Type says what becomes of the pairs of a request.
type Type uint8

// The types of request: CK, MD and RSP in the literature.
const (
	Keep    Type = iota // both halves stay in qubits
	Measure             // both ends measure at once, each in bases of its own
	Prepare             // the end that asks measures its half, the peer keeps its own
	typeEnd
)

// String names the type.
func (t Type) String() string {
	switch t {
	case Keep:
		return "keep"
	case Measure:
		return "measure"
	case Prepare:
		return "prepare"
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// MaxPriority is the highest priority of a request.
const MaxPriority = 7

// Request asks for pairs on a link (CREATE).
type Request struct {
	Type Type
	// Pairs is the number of pairs after which the request is complete; 0 means
	// that it goes on until it is ended.
	Pairs uint64
	// Purpose tells the layer above at the peer what the request is for; Tag is
	// handed to it along with the purpose.
	Purpose, Tag uint64
	// MinFidelity is the least mean fidelity of the pairs when they are handed up,
	// or, if they are measured, of the state that the outcomes are of; 0 asks for
	// none.
	MinFidelity float64
	// Deadline ends the request at both ends; qnet.Never for none.
	Deadline qnet.Time
	// Priority is the class of the request, from 0 to MaxPriority. What it means is
	// the scheduler's to say: Fair serves a larger one first.
	Priority uint8
	// Atomic says that once begun the request is served to its end without others
	// in between.
	Atomic bool
	// Consecutive says that all pairs of a Keep request are to be alive together:
	// they are handed up when the last is there. Such a request is served as an
	// atomic one: two of which each has half of the qubits would wait for ever.
	Consecutive bool
	// Store says that the halves of a Keep request are moved into storage qubits.
	Store bool
	// Rate bounds the pairs per second; 0 for as many as there are.
	Rate float64
	// Limit is the number of pairs that this end takes until SetLimit raises it.
	Limit uint64
	// Bases are this end's bases, for Measure and Prepare.
	Bases physical.BasisSource
	// PeerBases are those proposed to the peer, for Measure.
	PeerBases physical.BasisSource
}

// Offer is a request of the peer.
type Offer struct {
	ID                         RequestID
	Type                       Type
	Pairs                      uint64
	Purpose, Tag               uint64
	MinFidelity                float64
	Deadline                   qnet.Time
	Priority                   uint8
	Atomic, Consecutive, Store bool
	Bases                      physical.BasisSource // proposed for this end
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
	// Goodness is the estimated fidelity to Label at the instant GoodAt. It is an
	// estimate, made from what the hardware is known to do and what test rounds
	// have shown, never the state itself.
	Goodness float64
	GoodAt   qnet.Time
}

// Measured is one measured pair of a Measure request, or the half of a Prepare
// request that its creator measured (OK).
type Measured struct {
	Seq     uint64 // as in Pair
	Label   qnet.BellLabel
	Basis   uint8 // number of the basis in this end's source
	Bit     uint8
	Created qnet.Time
	// Goodness is the estimated fidelity that outcomes of such pairs show (see package
	// estimate). Bits do not decay: it holds for good.
	Goodness float64
}

// Handler is the layer above.
type Handler interface {
	// Requested asks whether to take part in a request of the peer, and for how
	// many pairs at first (see Layer.SetLimit). SetBases, SetLimit and End of the
	// request work already: a limit that was set holds, not the one returned, and a
	// request that was ended is refused with the code of that.
	Requested(link physical.LinkID, o Offer) (limit uint64, err error)
	// Pair hands up a kept pair.
	Pair(p Pair)
	// Measured hands up measured pairs, in order of Seq; the slice is lent.
	Measured(link physical.LinkID, id RequestID, ms []Measured)
	// Expired voids a pair: one end does not have its half. had tells whether it
	// was handed up here. It may come after the end of a request that was given up
	// or met its deadline.
	Expired(link physical.LinkID, id RequestID, seq uint64, had bool)
	// Ended tells that a request is over: complete (nil), both ends have all its
	// pairs, or why not. One that has all pairs here at its deadline is complete.
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
	// Points are the operating points of the link's heralding, at least one.
	Points []Point
	// Stride is the number of cycles from one attempt whose pair is kept to the
	// next: more than 1 where attempts that measure do not wait for their heralds.
	// 0 stands for 1.
	Stride uint64
	// Pipelined says that attempts whose pair is measured do not wait for their
	// heralds, Immediate that light is measured as it arrives, so that no pair can be
	// kept.
	Pipelined, Immediate bool
	// PeerSpec is the data sheet of the peer's hardware; nil for that of this end.
	PeerSpec *physical.Spec
	// TestRounds is the share of the pairs of this end's requests, from 0 to below 1,
	// that is measured at both ends to learn the fidelity, and not handed up.
	TestRounds float64
	// Queue is the number of requests that the ends hold at most; 0 for 4,096.
	Queue int
	// Scheduler returns a scheduler for this end; nil for strict priorities, fair
	// within each.
	Scheduler func() Scheduler
	Compat    Compat
}

// Compat makes a link behave like the simulations of Dahlberg et al. (SIGCOMM
// 2019) where that is a fault.
type Compat struct {
	// HeraldingOnly judges requests by Point.Fidelity alone, which counts neither
	// storage nor gates nor read-out.
	HeraldingOnly bool
	// ExpireRequests ends a whole request when one of its pairs is void, instead of
	// making another pair.
	ExpireRequests bool
	// ReferenceRetries sends an ADD three times, three round trips apart.
	ReferenceRetries bool
}

// Point is an operating point of a link's heralding, such as the bright-state
// population α of a single-click link: more pairs, or better ones.
type Point struct {
	Name        string          // such as "alpha=0.1"; empty for the only one
	Probability float64         // of success of an attempt, in (0,1]
	Fidelity    float64         // of a pair as heralded, by the model that requests are judged by
	Heralds     []herald.Herald // kinds of success
}

// PairTime returns the mean time between heralds of one lane that attempts in
// every cycle, at the operating point that brings most.
func (e *EndConfig) PairTime() time.Duration {
	p := 0.0
	for i := range e.Points {
		p = max(p, e.Points[i].Probability)
	}
	return time.Duration(e.Cycles.Period / p)
}
