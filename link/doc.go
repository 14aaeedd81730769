// Package link serves entanglement over one link: it takes requests for pairs
// from the layer above at either end, keeps both ends agreed on them, drives the
// attempts through the link's heralding station and hands up each pair under an
// identity that both ends share.
//
// It follows the link layer of Dahlberg et al. (SIGCOMM 2019) and the Internet
// draft draft-dahlberg-ll-quantum-03: CREATE with type keep or measure, OK,
// EXPIRE, mid-point heralding with GEN and REPLY. Where the paper sends a frame
// per attempt, a GEN here is a window of attempt cycles, and the station samples
// the first success in the overlap of both ends' windows.
//
//	     CREATE            link.Layer              link.Layer            pairs
//	network ----> requests --- ADD / ADD_ACK / END --- requests <---- network
//	              lanes \                             / lanes
//	                     GEN ->  link.Station  <- GEN
//	                        <- REPLY          REPLY ->
//
// A lane is one communication qubit of a link's end. The station pairs any open
// lane of one end with any open lane of the other.
//
// What this package is not: it does not know circuits, swapping or who the pair
// is for, and it never learns the state of a pair, only its herald.
package link
