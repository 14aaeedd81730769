package link

import "qstack/qnet"

// Checks of what the station has told the ends of measured pairs. A request that
// measures is over at an end as soon as that has all its pairs, which then can not be
// void any more, so that an honest station has told both ends the same. One end tells
// the other the digest of some requests, of which ones the station does not know.

const (
	checkEvery = 8   // requests of which one is checked, in the mean
	checkPairs = 64  // one of so many pairs is checked in any case
	maxChecks  = 256 // the latest requests whose digests are remembered
)

// check is the digest of a request that is over.
type check struct {
	id     RequestID
	digest uint64
}

// settle remembers what the pairs of a measured request are, and tells the peer if it
// is to be checked. That is not repeated: one that is lost is a check less.
func (e *end) settle(q *request) {
	e.checks.add(check{q.ID, q.digest}, maxChecks)
	if q.Pairs >= checkPairs || e.lots.IntN(checkEvery) == 0 {
		e.send(e.cfg.Peer, &End{Link: e.cfg.ID, ID: q.ID, Digest: q.digest})
	}
}

// checked compares what the peer has told of a measured request that is over here,
// if it is one.
func (e *end) checked(id RequestID, digest uint64) bool {
	c := e.checks.find(func(c *check) bool { return c.id == id })
	if c != nil && c.digest != digest {
		e.contradict(id)
	}
	return c != nil
}

// twice counts that the station has given a number to two pairs, and ends the request of the
// second at both ends: the peer may have heard of another number, and have that pair.
func (e *end) twice(q *request, why string) {
	e.fault(fromStation, unexpected, why)
	if q != nil && q.state != reqEnding {
		e.abort(q, qnet.Errorf(qnet.ErrProtocol, "link %s: the station has given two pairs one number", e.cfg.Name))
	}
}

// contradict counts that the ends have heard of different pairs, and returns what to say.
func (e *end) contradict(id RequestID) error {
	e.fault(fromPeer, unexpected, "END of a request with other pairs than are here")
	e.trace("contradiction").Uint("request", uint64(id)).End()
	return qnet.Errorf(qnet.ErrProtocol, "link %s: the station has told the ends of different pairs", e.cfg.Name)
}
