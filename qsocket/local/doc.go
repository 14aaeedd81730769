// Package local carries the messages between a program and the daemon of its
// node over a unix socket: Serve is the daemon's side, Dial the program's.
//
// A program opens one connection for its session, and one more for each socket,
// which bears the session's token. Each carries the messages of package
// transport, one after the other; the first is Hello, its answer Welcome. When
// the session's connection ends, for whatever reason, the session ends and
// everything of it. A malformed message ends the connection that it came on.
//
//	program                                   daemon
//
//	session   ── Hello ─────────────────────▶  new session
//	          ◀───────────── Welcome, token ──
//	          ── Listen, Alloc, ... ────────▶
//	          ◀─────────────────────── Reply ──
//
//	socket    ── Hello, session, token ─────▶
//	          ◀───────────────────── Welcome ──
//	          ── Dial or Accept ────────────▶
//	          ◀────────────────────── Opened ──
//	          ── Ask, Data, ... ────────────▶
//	          ◀──────── Kept, Data, Done, ... ──
//
// Who may connect is decided by the modes of socket (0600) and folder (0700)
// and by the peer credentials of the connection: the user of the daemon, and
// root.
//
// This is the only package of the programs' side that holds a socket. What it
// is not: it knows nothing of what the messages mean beyond these two.
package local
