// Package network delivers entanglement between nodes that share no link. It
// sets up virtual circuits along paths of links, swaps at every node between as
// soon as two halves are there, collects the outcomes with TRACK messages, and
// delivers each pair at both ends under one name and Bell label.
//
// It follows the quantum network protocol (QNP) of Kozlowski, Dahlberg and
// Wehner (CoNEXT 2020): link pairs carry the circuit's label on each link; a
// node swaps without waiting for any message; a half that waited longer than
// the cut-off is discarded in silence, and the TRACK that reaches it is answered
// with CircuitExpire. End nodes have no cut-off: they discard only when told.
//
//	head end        node           node        tail end
//	   |---- link ----|---- link ----|---- link ----|
//	   |            swap           swap             |
//	   | TRACK -----> | -----------> | -----------> |
//	   | <----------- | <----------- | <----- TRACK |
//	   | FORWARD, COMPLETE --------> | -----------> |
//
// Each circuit has one ordered stream on each hop, which carries its set-up, its
// tear-down and everything between. When a stream breaks, the circuit ends, on
// both sides of the break, with everything that belongs to it.
//
// What this package is not: it does not talk to the far end except along the
// circuit, and does not match what two programs ask for; that is transport's.
package network
