// Package qnet holds the words that every layer of the stack shares: node
// identities, time, Bell labels and their algebra, measurement bases,
// fidelity, error codes and random streams.
//
// It is a vocabulary, not a layer: it does no I/O, keeps no state and imports
// nothing beyond the standard library. The event loops, the wire codec, the
// control channels and the certificate authority live in the packages below it.
package qnet
