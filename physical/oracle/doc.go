// Package oracle lets one observer of a network see what nobody in it can: which
// qubits are allocated, which of them are entangled, and their exact states. It
// is for tests, reports and dashboards.
//
//	observer                                        fabric
//	 |  stream: Observe(version)                        |
//	 | -----------------------------------------------> |
//	 |  Observing(fabric, now)                          |
//	 | <----------------------------------------------- |
//	 |  Question(number, ledger | fidelity | density)   |
//	 | -----------------------------------------------> |
//	 |  Answer(number, instant, rows or values)         |
//	 | <----------------------------------------------- |
//
// The observer is an identity of its own, whose key no node holds: a Server
// refuses everybody else. Looking changes nothing, and no operation can be asked
// for. No layer may import this package.
package oracle
