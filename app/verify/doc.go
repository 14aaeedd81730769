// Package verify measures what a network delivers between two nodes, as an
// ordinary program with EPR sockets at both, and judges it by package expect:
// the fidelity of pairs from their correlations in X, Y and Z, the CHSH
// inequality with settings drawn privately at each end, teleportation of the six
// cardinal states, rate and latency. The demo and sim commands run it, in real
// and in virtual time.
package verify
