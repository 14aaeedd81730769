// Package quic is the control plane between processes: a control.Endpoint over
// QUIC (RFC 9000) with unreliable datagrams (RFC 9221). Both sides of every
// connection are authenticated by certificates of package pki, over TLS 1.3, and
// agree on the application protocol "qnet/1".
//
// # Peers and connections
//
// An endpoint has one UDP socket, on which it both dials and listens. Of two
// neighbours the one with the lower id dials and, when the connection is lost,
// dials again with exponential back-off. Other peers are dialled when there is
// something to send; who dialled drops the connection when it has had no stream
// and no datagram for a while.
//
//	           something to send, or a lower neighbour
//	apart ───────────────────────────────────────────▶ dialling
//	  ▲  ▲                                                │  │
//	  │  └──────────── failed (a neighbour tries on) ─────┘  │ handshake,
//	  │                                                      │ first hello
//	  │     no hello for 1 s, closed, reset, restarted       ▼
//	  └─────────────────────────────────────────────────── joined ◀── peer dialled,
//	                                                                   first hello
//
// PeerUp comes with the first hello on the first connection to a peer, PeerDown
// when the last connection is lost. Dropping an idle connection is no loss: it
// is told to nobody, Up turns false, and the next connection brings PeerUp
// again. A connection bearing another incarnation than before is a restart: the
// streams on older connections end with qnet.ErrRestarted.
//
// Liveness runs on the wall clock, whatever the loop's dilation: it is about
// processes, not about the emulated network.
//
// # Datagrams
//
// A QUIC datagram holds whole messages, one after the other: those for one peer
// that gather while the one before is being sent travel together, up to 1,200
// bytes (a little more where stamps are needed). It holds 48 bytes at least.
// Queues are bounded in both directions; a datagram that does not fit is dropped
// and counted.
//
// # Streams
//
// A control.Stream is a bidirectional QUIC stream of messages without
// separators. It closes in good order by its end alone; with another code by an
// End message before the end, so that all that was sent before is delivered. A
// stream that is given up is reset, and a connection closed, with the qnet.Code
// as the QUIC error code. Malformed input closes the connection that it came on
// with qnet.ErrProtocol, and no other.
//
// What travels when the peer's connection is closed may be lost on the way;
// only messages of the peer's own protocol can say that something has arrived.
//
// # Fibre delay
//
// Messages to a peer whose Delay is set carry their send stamp, in the time of
// the network, and are held at the receiver until stamp plus its own Delay; both
// sides are configured alike. Delays below 50 µs are left out, as timers are not
// that fine. A message is never held for longer than Delay after it came,
// whatever its stamp says.
package quic
