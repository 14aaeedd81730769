package qnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

// Code says why something failed. The numbers are part of the protocols (they
// travel in messages and as QUIC application errors) and never change. A Code
// is itself an error, so that errors.Is(err, qnet.ErrTimeout) answers for every
// error that carries it.
type Code uint32

// The codes. The comment says who can do something about it.
const (
	OK Code = 0

	// Try again, perhaps later.

	ErrTimeout    Code = 0x10 // the deadline passed first
	ErrNoMemory   Code = 0x11 // no free qubit
	ErrBusy       Code = 0x12 // a bounded queue is full
	ErrUnavail    Code = 0x13 // a peer, the fabric or a link is down
	ErrExpired    Code = 0x14 // the pair or record was discarded
	ErrCancelled  Code = 0x15 // the requester withdrew
	ErrMismatch   Code = 0x16 // both ends asked for different things
	ErrQubitLost  Code = 0x17 // a qubit was lost on the way; it can not be sent again
	ErrRestarted  Code = 0x18 // the other side lost its state in a restart
	ErrPeerClosed Code = 0x19 // the peer ended the socket or session
	ErrNoAnswer   Code = 0x1a // a peer did not answer in time

	// Ask for something else.

	ErrUnsupported Code = 0x20 // the hardware or path can not do it
	ErrFidelity    Code = 0x21 // the asked fidelity is beyond reach
	ErrNoRoute     Code = 0x22 // no path to the destination
	ErrNoListener  Code = 0x23 // nobody listens on the port
	ErrInUse       Code = 0x24 // the port or name is taken
	ErrInvalid     Code = 0x25 // an argument is out of range
	ErrBadQubit    Code = 0x26 // the qubit was freed, or is not the caller's
	ErrMoved       Code = 0x27 // the qubit lives in another fabric now
	ErrUnknown     Code = 0x28 // no such node, link, circuit or request
	ErrTooLarge    Code = 0x29 // no state engine can hold the joint state

	// The peer or this program is broken.

	ErrProtocol Code = 0x30 // a malformed or unexpected message
	ErrAuth     Code = 0x31 // not authenticated, or not allowed
	ErrClosed   Code = 0x32 // used after Close
	ErrInternal Code = 0x33 // an invariant failed
)

var codeText = map[Code]string{
	OK:             "ok",
	ErrTimeout:     "timed out",
	ErrNoMemory:    "no free qubit",
	ErrBusy:        "queue full",
	ErrUnavail:     "unavailable",
	ErrExpired:     "expired",
	ErrCancelled:   "cancelled",
	ErrMismatch:    "requests do not match",
	ErrQubitLost:   "qubit lost",
	ErrRestarted:   "restarted",
	ErrPeerClosed:  "closed by peer",
	ErrNoAnswer:    "no answer",
	ErrUnsupported: "not supported",
	ErrFidelity:    "fidelity out of reach",
	ErrNoRoute:     "no route",
	ErrNoListener:  "no listener",
	ErrInUse:       "in use",
	ErrInvalid:     "invalid argument",
	ErrBadQubit:    "not a qubit of the caller",
	ErrMoved:       "qubit moved to another fabric",
	ErrUnknown:     "unknown",
	ErrTooLarge:    "joint state too large",
	ErrProtocol:    "protocol error",
	ErrAuth:        "not authorised",
	ErrClosed:      "closed",
	ErrInternal:    "internal error",
}

// Error returns the text of the code.
func (c Code) Error() string {
	if s, ok := codeText[c]; ok {
		return s
	}
	return fmt.Sprintf("code 0x%x", uint32(c))
}

// Is makes the codes answer to the standard library's sentinels as well:
// ErrTimeout to os.ErrDeadlineExceeded and context.DeadlineExceeded,
// ErrCancelled to context.Canceled, ErrClosed to net.ErrClosed.
func (c Code) Is(target error) bool {
	switch c {
	case ErrTimeout:
		return target == os.ErrDeadlineExceeded || target == context.DeadlineExceeded
	case ErrCancelled:
		return target == context.Canceled
	case ErrClosed:
		return target == net.ErrClosed
	}
	return false
}

// Timeout reports whether the code is a time-out; with Temporary it makes
// Code and Error implement net.Error.
func (c Code) Timeout() bool { return c == ErrTimeout }

// Temporary reports whether trying the same again may succeed.
func (c Code) Temporary() bool { return c >= 0x10 && c < 0x20 }

// Error is a failure with a code and a text that says what was wrong, where,
// and what to do.
type Error struct {
	Code Code
	Text string
}

// Errorf returns an *Error with the given code; its text is formatted from the
// remaining arguments.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Error returns the text.
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code.Error()
	}
	return e.Text
}

// Unwrap returns the code.
func (e *Error) Unwrap() error { return e.Code }

// Timeout implements net.Error.
func (e *Error) Timeout() bool { return e.Code.Timeout() }

// Temporary implements net.Error.
func (e *Error) Temporary() bool { return e.Code.Temporary() }

// CodeOf returns the code that err carries, OK for nil. An error without a code
// counts as the code that answers to the same sentinel of the standard library
// (see Code.Is), and otherwise as ErrInternal.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	var c Code
	switch {
	case errors.As(err, &c):
		return c
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return ErrTimeout
	case errors.Is(err, context.Canceled):
		return ErrCancelled
	case errors.Is(err, net.ErrClosed):
		return ErrClosed
	}
	return ErrInternal
}
