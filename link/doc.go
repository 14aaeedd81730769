// Package link serves entanglement over one link: it takes requests for pairs
// from the layer above at either end, keeps both ends agreed on them, drives the
// attempts through the link's heralding station and hands up each pair under an
// identity that both ends share.
//
// It follows the link layer of A. Dahlberg et al., SIGCOMM (2019), arXiv:1903.09778,
// and the Internet draft draft-dahlberg-ll-quantum-03: CREATE with type keep, measure
// or prepare, OK, EXPIRE, a distributed queue, mid-point heralding with GEN and REPLY.
// docs/link.md has the whole protocol, and what is decided where those leave it open.
//
//	     CREATE            link.Layer              link.Layer            pairs
//	network ----> requests --- ADD / ADD_ACK / END --- requests <---- network
//	              lanes \                             / lanes
//	                     GEN ->  link.Station  <- GEN
//	                        <- REPLY          REPLY ->
//
// # The queue
//
// ADD tells the peer of a request; both ends hold it before either serves it, in the
// order that side 0 gives. A Scheduler decides whose turn it is: FCFS, EDF (earliest
// deadline), Fair (strict priorities, fair within), Weighted (fair queueing) and Slots
// (a table of time slots). LINK_EXPIRE voids single pairs, MEMORY tells which qubits
// an end is short of, END ends a request at both ends.
//
// # Attempts
//
// A lane is one communication qubit of a link's end. The station pairs any open lane
// of one end with any open lane of the other. Where the paper sends a frame per
// attempt, a GEN here is a window of attempt cycles. It names the operating point, the
// pattern of cycles in which attempts are made (physical.Pattern: strides, and pauses
// in which storage is initialised anew), and the requests that they serve. The station
// samples the first success in the overlap of both ends' windows, and REPLY announces
// it. Windows that measure go on, and BULK_REPLY announces their pairs as columns. Ends
// that attempt for different requests are told by MISMATCH.
//
// # Fidelity
//
// Package estimate tells what the pairs of a request will be like and chooses its
// operating point. With EndConfig.TestRounds some pairs are measured at both ends, which
// tell each other the OUTCOMES, and the estimate learns from them.
//
// What this package is not: it does not know circuits, swapping or who the pair
// is for, and it never learns the state of a pair, only its herald.
package link
