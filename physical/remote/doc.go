// Package remote is a device whose fabric lives in another process: Client is
// the physical.Device of one node, Server executes what the clients ask for on
// the fabric beside it. Both are state machines on their own loops and talk
// through control.Endpoint, so they are the same over QUIC and in memory.
//
//	node                                            fabric
//	 |  stream: Attach(version)                        |
//	 | ----------------------------------------------> |  disconnects who was
//	 |  Attached(fabric, now, data sheet)              |  attached before
//	 | <---------------------------------------------- |
//	 |  Ops(first number, operations)                  |
//	 | ----------------------------------------------> |
//	 |  Results(number, instant, code, value; lanes    |
//	 |  that have become free)                         |
//	 | <---------------------------------------------- |
//	 |  Outcomes(number of the arming, columns)        |
//	 | <---------------------------------------------- |
//	 |                                                 |
//	 |  datagrams: ClockRequest, ClockReply            |
//	 | <---------------------------------------------> |
//
// All operations of one turn of the node's loop travel in one message, and so do
// all results of one turn of the fabric's. Operations are executed in the order
// of the calls, results come in the order of their instants: on one qubit, both
// are the same order.
//
// # Life and death
//
// The life of a node in the fabric is that of its stream. When the stream ends,
// for whatever reason, the fabric traces out all qubits of the node, and what it
// had asked for is never answered; the client answers in its stead, with an
// error. The client attaches again by itself; the handles of before are errors
// from then on, qnet.ErrRestarted if the fabric is another one and
// qnet.ErrBadQubit otherwise, and every lane is reported free.
//
// # Time
//
// Everything is stamped in fabric time. The client estimates how far that is
// ahead of its own clock from the exchange with the smallest round trip among
// the latest, as NTP does (RFC 5905, section 8 and its clock filter); the error
// is at most half of that round trip.
//
// Not here: nothing of the oracle. A node can not look at a state by any of
// these messages.
package remote
