// Package qsocket is what programs import: sockets over which two programs on
// two nodes of a quantum network share entangled pairs, send each other qubits,
// and exchange ordinary bytes.
//
//	node, err := qsocket.Open(ctx, "alice")              // the local daemon
//	conn, err := node.Dial(ctx, "charlie:7", qsocket.Contract{MinFidelity: 0.85})
//	defer conn.Close()
//
//	pairs, err := conn.Keep(ctx, 2)                      // names, Bell labels, qubits
//	bits, err := conn.Measure(ctx, 1000, qsocket.RandomBasis(qsocket.X, qsocket.Z))
//
//	q, err := node.Qubit(ctx)                            // a qubit of our own, |0>
//	q.RY(theta)                                          // gates queue
//	err = conn.SendQubit(ctx, q)                         // teleported; q is gone
//	fmt.Fprintln(conn, "sent")                           // the classical side is a net.Conn
//
// Both programs ask: pairs come only when both ends of a socket want the same
// number of them. What an end does with its halves, and the bases it measures
// in, it says to nobody.
//
// The same program runs in a process of its own, against the daemon of its node
// (Open), and inside the process of a whole network, in real or in virtual time
// (Attach, which package node calls). In virtual time the methods that wait may
// be called only from goroutines started with the event loop's Go, and deadlines
// must be made with Node.WithTimeout or set on a Conn.
//
// All methods may be called from several goroutines at once, but the gates of
// one qubit take effect in the order of the calls.
//
// Errors carry a code of package qnet, to ask with errors.Is: qnet.ErrNoListener,
// qnet.ErrFidelity, qnet.ErrMismatch, qnet.ErrQubitLost and so on; time-outs are
// os.ErrDeadlineExceeded and net.Error too, use after Close is net.ErrClosed.
package qsocket
