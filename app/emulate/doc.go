// Package emulate runs the link of a preset in virtual time and measures it: two
// link layers and the heralding station over the emulated world, as in a network
// of two nodes, with nothing above them. Pairs are first measured at once, for
// rate, outcomes and a fidelity from correlations, then kept, for the fidelity
// that the oracle sees when both ends know of a pair.
//
// A link that changes with time is emulated as it is at its best.
//
// What is measured is set beside what the preset's model says, which shares
// nothing with the measurement but the parameters.
package emulate
