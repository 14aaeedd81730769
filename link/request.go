package link

import (
	"math"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
)

// requestState is where a request stands.
//
//	 create           window open          ADD_ACK(0)           schedule cycle
//	---------> waiting ----------> adding ------------> agreed ---------------> active
//	              |                  | |                  |                       |
//	              |                  | | not answered     | end                   | end
//	              |                  | +------------------+-----> ending <--------+
//	              | end              | ADD_ACK(code)               | END_ACK, or END of the peer
//	              +------------------+-----------------------------+---> (gone)
//
//	         all pairs             END(OK) of the peer, or END_ACK
//	active <-----------> complete ---------------------------------> (gone)
//	         one is void
//
// At the peer a request waits while the layer above is asked, and is agreed then. One
// that has all its pairs at this end waits until the other end has them too, since that
// may void one that it hears of too late; measured pairs are announced until both ends
// have heard of them, and their request is gone at once. The loss of the link is the end
// of all.
type requestState uint8

const (
	reqWaiting requestState = iota
	reqAdding
	reqAgreed
	reqActive
	reqComplete
	reqEnding
)

// request is one request at one end.
type request struct {
	Entry
	typ         Type
	state       requestState
	consecutive bool
	store       bool
	flow        *flow // of the ready ones; nil before it is the first time
	in          inReady
	index       int // there, but in its head
	point       int
	minF        float64
	goodness    float64       // estimated, of its pairs when they are handed up
	age         time.Duration // from emission until then
	startTurn   float64       // Turn when it was admitted
	deadline    qnet.Time
	schedule    uint64
	limit       uint64 // pairs that this end takes in all
	limited     bool   // by SetLimit
	peerLimit   uint64 // the same of the peer, as it has told
	terms       terms
	counted     uint64 // pairs by which Turn has moved on
	paced       uint64 // pairs that its rate allows so far
	rate        float64
	got         uint64 // pairs taken and not void
	void        uint64 // pairs of this request that one end did not get
	digest      uint64 // of the pairs taken and not void, see digest
	complete    bool   // at the peer, which has pairs of the digest told
	told        uint64
	differs     int // times in a row that the peer told the same, which is not what is here
	bases       physical.BasisSource
	peerBases   physical.BasisSource
	draw        qnet.Choice    // of bases, for Prepare
	testing     float64        // share of test rounds
	salt        [saltSize]byte // which they are is drawn from
	pending     int            // pairs taken that are still to be moved or measured
	measuring   []uint64       // those of them that are measured, for Prepare
	lanes       int            // scratch of share
	together    []Pair         // of a consecutive request, until all are there
	worth       float64        // fidelity of the latest set of them, less the minimum
	endCode     qnet.Code
	endText     string
	tries       int
	retry       event.Timer // of ADD and END, the schedule cycle and the pace
	expiry      event.Timer
	onRetry     func() // end.due of this request, made once
	onExpiry    func() // end.timeout of this request, made once
}

// request returns a request of the given contents, in memory that was used before.
func (e *end) request(r request) *request {
	var q *request
	if n := len(e.spare); n > 0 {
		q, e.spare = e.spare[n-1], e.spare[:n-1]
	} else {
		q = new(request)
	}
	r.onRetry, r.onExpiry, r.terms.onTimer = q.onRetry, q.onExpiry, q.terms.onTimer
	*q = r
	return q
}

// recycle takes back the memory of a request that is complete, which nothing refers
// to any more but the measurements of its test rounds.
func (e *end) recycle(q *request) {
	if q.testing == 0 {
		e.spare = append(e.spare, q)
	}
}

// takes returns the number of pairs that this end takes in all.
func (r *request) takes() uint64 {
	if r.Pairs > 0 {
		return min(r.limit, r.Pairs)
	}
	return r.limit
}

// ceiling returns the number of pairs that this end takes in all by now.
func (r *request) ceiling() uint64 { return min(r.takes(), r.paced) }

// wants returns how many more pairs both ends take now, as far as this end knows.
func (r *request) wants() uint64 {
	n := min(r.ceiling(), r.peerLimit)
	if r.state != reqActive || n <= r.got {
		return 0
	}
	return n - r.got
}

// full reports whether this end takes no more pairs now.
func (r *request) full() bool { return r.state != reqActive || r.ceiling() <= r.got }

// voidable reports whether a pair can be void after this end has taken it.
func (e *end) voidable(q *request) bool { return q.keeps() || e.cfg.Compat.ReferenceRetries }

// keeps reports whether attempts for the request leave the qubit as it is.
func (r *request) keeps() bool { return r.typ != Measure }

// saturate adds without overflow.
func saturate(a, b uint64) uint64 {
	if a+b < a {
		return math.MaxUint64
	}
	return a + b
}
