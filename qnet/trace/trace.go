// Package trace writes what happens in the stack as JSON lines, one for each
// event:
//
//	{"t":1250,"node":"alice","layer":"link","event":"reply","cycle":4294963207,"label":"Ψ+"}
//
// t is the instant in nanoseconds since the epoch of the network; the keys come
// in the order in which they were added. In virtual time the same seed gives the
// same file, byte for byte.
//
// A nil *Tracer is valid and does nothing, at the price of a comparison for each
// call, so layers trace without asking whether anybody listens.
//
// A trace tells of the type and the size of messages, and not what is in them,
// unless it is that of a NewContentsWriter.
package trace

import (
	"bufio"
	"encoding/hex"
	"io"
	"math"
	"net"
	"strconv"
	"sync"
	"unicode/utf8"

	"qstack/qnet"
)

// Writer collects the lines of all tracers of a process. Its methods may be
// called from any goroutine.
type Writer struct {
	contents bool // of messages; see NewContentsWriter

	mu  sync.Mutex
	b   *bufio.Writer
	err error // the first failure, or net.ErrClosed
}

// NewWriter returns a Writer on w, buffered: see Flush and Close.
func NewWriter(w io.Writer) *Writer {
	return &Writer{b: bufio.NewWriterSize(w, 1<<16)}
}

// NewContentsWriter is NewWriter for tests and diagnosis: its lines have the
// contents of messages too, where they are given to Event.Contents. Who reads them
// may learn what only the two ends of a link should know.
func NewContentsWriter(w io.Writer) *Writer {
	c := NewWriter(w)
	c.contents = true
	return c
}

// Flush writes what is buffered. It returns the first error that writing met;
// after an error the events are dropped.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

func (w *Writer) flush() error {
	if w.err == nil {
		w.err = w.b.Flush()
	}
	return w.err
}

// Close flushes; later events are dropped. It does not close the underlying
// writer. It returns the first error that writing met, and net.ErrClosed when
// called again.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.flush()
	w.err = net.ErrClosed
	return err
}

func (w *Writer) line(b []byte) {
	w.mu.Lock()
	if w.err == nil {
		_, w.err = w.b.Write(b)
	}
	w.mu.Unlock()
}

// Tracer traces the events of one node. It is used on the node's loop; tracers
// on different loops may share a Writer.
type Tracer struct {
	w    *Writer
	node []byte // `,"node":"alice","layer":`
	buf  []byte // for the next event; nil while one is being built
}

// New returns the tracer of a node, or nil when w is nil.
func New(w *Writer, node string) *Tracer {
	if w == nil {
		return nil
	}
	b := append([]byte(`,"node":`), quote(nil, node)...)
	return &Tracer{w: w, node: append(b, `,"layer":`...), buf: make([]byte, 0, 256)}
}

// Enabled reports whether t writes anything, for callers whose values are
// costly to compute.
func (t *Tracer) Enabled() bool { return t != nil }

// KeepsContents reports whether t writes what is in messages, for callers who have
// to encode them for it.
func (t *Tracer) KeepsContents() bool { return t != nil && t.w.contents }

// Event starts the line of an event at now. Nothing is written before End.
func (t *Tracer) Event(now qnet.Time, layer, event string) Event {
	if t == nil {
		return Event{}
	}
	return t.event(now, layer, event)
}

func (t *Tracer) event(now qnet.Time, layer, event string) Event {
	b := t.buf
	t.buf = nil // an event begun while this one is being built takes another
	b = append(b[:0], `{"t":`...)
	b = strconv.AppendInt(b, int64(now), 10)
	b = append(b, t.node...)
	b = quote(b, layer)
	b = append(b, `,"event":`...)
	return Event{t: t, b: quote(b, event)}
}

// Event is a line under construction: a value whose methods return it with one
// more field, ended by End. The zero Event does nothing.
type Event struct {
	t *Tracer
	b []byte
}

// Uint adds an unsigned integer.
func (e Event) Uint(key string, v uint64) Event {
	if e.t != nil {
		e.b = appendUint(e.b, key, v)
	}
	return e
}

// Int adds an integer. Instants and durations are integers of nanoseconds.
func (e Event) Int(key string, v int64) Event {
	if e.t != nil {
		e.b = appendInt(e.b, key, v)
	}
	return e
}

// Float adds a number in its shortest exact form; NaN and the infinities, which
// JSON does not have, are the strings "NaN", "+Inf" and "-Inf".
func (e Event) Float(key string, v float64) Event {
	if e.t != nil {
		e.b = appendFloat(e.b, key, v)
	}
	return e
}

// Str adds a string. Bytes that are not UTF-8 become U+FFFD.
func (e Event) Str(key, v string) Event {
	if e.t != nil {
		e.b = appendStr(e.b, key, v)
	}
	return e
}

// Bool adds a truth value.
func (e Event) Bool(key string, v bool) Event {
	if e.t != nil {
		e.b = appendBool(e.b, key, v)
	}
	return e
}

// ID adds a node identity as a string of 16 hexadecimal digits.
func (e Event) ID(key string, id qnet.NodeID) Event {
	if e.t != nil {
		e.b = appendID(e.b, key, id)
	}
	return e
}

// Contents adds the bytes of a message in hexadecimal under the key "data", if the
// Writer is one for contents; else nothing. Secrets must not be given to it.
func (e Event) Contents(b []byte) Event {
	if e.t != nil && e.t.w.contents {
		e.b = appendHex(e.b, "data", b)
	}
	return e
}

// Err adds the text of an error under the key "error"; nil adds nothing.
func (e Event) Err(err error) Event {
	if e.t == nil || err == nil {
		return e
	}
	return e.Str("error", err.Error())
}

// End writes the line. The event must not be used afterwards.
func (e Event) End() {
	if e.t != nil {
		e.t.end(e.b)
	}
}

//go:noinline
func (t *Tracer) end(b []byte) {
	b = append(b, '}', '\n')
	t.w.line(b)
	t.buf = b
}

// The functions that do the work are kept apart so that the methods above, which
// most often have nothing to do, are inlined.

//go:noinline
func appendUint(b []byte, key string, v uint64) []byte {
	return strconv.AppendUint(name(b, key), v, 10)
}

//go:noinline
func appendInt(b []byte, key string, v int64) []byte { return strconv.AppendInt(name(b, key), v, 10) }

//go:noinline
func appendFloat(b []byte, key string, v float64) []byte { return float(name(b, key), v) }

//go:noinline
func appendBool(b []byte, key string, v bool) []byte { return strconv.AppendBool(name(b, key), v) }

//go:noinline
func appendID(b []byte, key string, id qnet.NodeID) []byte { return identity(name(b, key), id) }

//go:noinline
func appendHex(b []byte, key string, v []byte) []byte {
	return append(hex.AppendEncode(append(name(b, key), '"'), v), '"')
}

//go:noinline
func appendStr(b []byte, key, v string) []byte { return quote(name(b, key), v) }

// name appends a comma, the key and a colon.
func name(b []byte, key string) []byte {
	return append(quote(append(b, ','), key), ':')
}

func float(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		b = append(b, '"')
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
		return append(b, '"')
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

const digits = "0123456789abcdef"

func identity(b []byte, id qnet.NodeID) []byte {
	b = append(b, '"')
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[id>>shift&15])
	}
	return append(b, '"')
}

// quote appends s as a JSON string (RFC 8259, section 7).
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0 // of what has not been appended yet
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			b = append(append(b, s[start:i]...), "\uFFFD"...)
		} else {
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			default:
				b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
			}
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
