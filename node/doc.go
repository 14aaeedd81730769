// Package node puts a node together from its layers, and a whole network from
// its nodes: the one place that knows them all.
//
// A Stack is one node's link, network and transport layers on a loop, a device
// and a control endpoint, whichever world these are of. A Network is all nodes,
// stations and the fabric of a scenario in one process, in virtual time or in
// real time. Package qtest makes one inside a test; the daemon, in cmd/qnoded,
// puts a Stack between a fabric in another process and QUIC.
package node
