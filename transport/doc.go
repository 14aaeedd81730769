// Package transport is the layer of end points: programs open sessions on
// their node, sockets between two programs on two nodes, and ask on a socket for
// entangled pairs, kept or measured, or send qubits by teleportation. A socket
// also carries a plain stream of bytes each way.
//
// # A socket
//
// A socket has a head end, which dialled, and a tail end, which listens. It
// consists of one end-to-end control stream and one circuit of the network
// layer. The head opens the stream with Connect; the tail answers with a tag; the
// head sets the circuit up with that tag, by which the tail knows whose it is;
// Open says that the circuit is up.
//
//	head                                   tail
//
//	fresh                                  (a program listens)
//	  │ Dial          Connect ───────────▶    │
//	  ▼                                       ▼
//	connecting                             invited
//	  │      ◀─────────── ConnectReply        │
//	  ▼                                       │
//	joining   ═══ circuit set-up, tag ═══▶    │
//	  │                                       │
//	  ▼           Open ──────────────────▶    ▼
//	open                                   queued ── Accept ──▶ open
//	  │                                       │
//	  └─────────▶ closed ◀────────────────────┘
//
// # A request
//
// Both programs ask for pairs, with the same number. Each request is told to the
// other end (Post); the head alone matches its oldest with the tail's oldest of
// the same class and tells the tail (Match); both ends then make one request of
// the circuit. Pairs to keep and pairs to measure are one class, in any mixture;
// a qubit sent matches one that the other end waits to receive.
//
//	waiting ── Match ──▶ matched ── all pairs ──▶ done
//	   │                    │
//	   └──── withdrawn ◀────┘
//
// Either end may withdraw its request at any time; the other end's, if they were
// matched, fails too. Only a qubit to be received that is matched can not be
// withdrawn at once: its sender may have measured already, so the sender decides,
// and answers with Withdrawn or with the Correction.
//
// What becomes of the end's own half, and the measurement bases, stay private:
// the other end learns only whether the bases are all Pauli bases, which decides
// who corrects the Bell state (see network.Corrector).
//
// # A qubit
//
// The sender teleports over a confirmed pair: the Bell-state measurement of data
// qubit and half gives two bits; Correction carries them, XOR the label of the
// pair, and the receiver applies XˣZᶻ once. Only the correction can be sent
// again, never the qubit: what is lost after the measurement began is reported
// at both ends with the sequence number of the qubit.
//
//	sender:    matched ── pair ──▶ measuring ── Correction ──▶ sent ── Received ──▶ done
//	receiver:  matched ── pair and Correction ──▶ correcting ──▶ done
//
// See Bennett et al., Phys. Rev. Lett. 70, 1895 (1993).
//
// # Programs
//
// A program opens a session, and in it a channel for each socket. It drives them
// by messages (Session.Do, Channel.Do) and hears by messages (Sink). They are wire messages, so that the very same travel over the
// unix socket of package qsocket/local. Requests and qubits are named by numbers
// of the session; a program never sees the handle of a device.
//
// The package does no I/O and runs on its node's event loop. What it is not: it
// finds no routes, swaps nothing and estimates no fidelity; that is package
// network.
package transport
