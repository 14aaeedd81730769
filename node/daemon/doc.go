// Package daemon runs one process of a network: a node (its layers, reached by
// programs through a unix socket), or the fabric with the stations of all links.
// Between processes it speaks QUIC, to operators HTTP with JSON on a unix socket
// of its own, to programs the protocol of package qsocket/local.
//
// It is the edge of the stack: everything below is handed a loop, a control
// endpoint and a device, and does no I/O.
package daemon
