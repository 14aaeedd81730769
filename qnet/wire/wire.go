// Package wire is the binary encoding of every message between processes of
// the stack: QUIC varints (RFC 9000, section 16), explicit lengths, one
// canonical form.
//
// A message is
//
//	type (varint) | length of the body (varint) | fields in order | extensions
//
// and an extension is type (varint) | length (varint) | value, in ascending
// order of type. A receiver skips an unknown extension of odd type and rejects
// the message for an unknown one of even type.
//
// Each message type has one method, Fields, that names its fields in order to a
// Codec. The same method encodes, decodes and documents the message, so the
// three can not differ. A Registry gathers the message types of a program,
// refuses clashes of numbers and names, and writes the reference of the
// protocol. Package wire/wiretest holds what the tests of a message type need.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"unicode/utf8"

	"qstack/qnet"
)

// Type is the number of a message type. The service that a message belongs to
// is Type>>4.
type Type uint16

// Service is a family of message types, of one layer.
type Service uint16

// The services.
const (
	ServiceLink      Service = 0x1 // link layer and stations (datagrams)
	ServiceNetwork   Service = 0x2 // circuits (streams)
	ServiceTransport Service = 0x3 // sockets, end to end (streams)
	ServiceControl   Service = 0x4 // hello and clock exchange (datagrams)
	ServiceFabric    Service = 0x5 // a device and its fabric
	ServiceSession   Service = 0x6 // a program and its daemon (unix socket)
	ServiceOracle    Service = 0x9 // the observer and a fabric (streams)
)

// Service returns the family that t belongs to.
func (t Type) Service() Service { return Service(t >> 4) }

// Message is one message type.
type Message interface {
	// Type returns the number of the message type.
	Type() Type
	// Fields visits the fields in wire order.
	Fields(*Codec)
}

// Size limits.
const (
	MaxDatagram = 1200    // bytes of a message that travels in a datagram
	MaxMessage  = 1 << 20 // bytes of a message that travels on a stream, header included
)

// Errors of the codec, wrapped in a *DecodeError.
var (
	ErrTruncated  = errors.New("truncated")
	ErrNotMinimal = errors.New("integer is not in its shortest form")
	ErrRange      = errors.New("value out of range")
	ErrTrailing   = errors.New("bytes left over")
	ErrExtension  = errors.New("unknown extension that must be understood")
	ErrOrder      = errors.New("extensions out of order")
	ErrType       = errors.New("not the expected message type")
	ErrText       = errors.New("text is not UTF-8")
)

// DecodeError says which field of which message was malformed. It carries
// qnet.ErrProtocol.
type DecodeError struct {
	Message Type
	Field   string
	Err     error
}

// Error implements error.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("message type 0x%x: field %s: %v", uint16(e.Message), e.Field, e.Err)
}

// Unwrap returns the reason and the code.
func (e *DecodeError) Unwrap() []error { return []error{e.Err, qnet.ErrProtocol} }

type mode uint8

const (
	encoding mode = iota
	decoding
	describing
)

// Codec visits the fields of a message to encode, decode or describe them. The
// first error sticks; visits after it do nothing. One that is zero can be used for
// any number of messages, one after the other; Append, Parse and ParseExact have
// some of their own.
type Codec struct {
	mode mode
	// exact makes unknown extensions of odd type an error too.
	exact bool
	// lastExt is the type of the extension taken last, −1 before the first.
	lastExt int32
	typ     Type
	b       []byte // encoding: output; decoding: what is left, nil after an error
	err     error
	desc    []Field
	depth   int
}

// codecs recycles visitors: one escapes to the heap for every message, as
// Fields is called through an interface.
var codecs = sync.Pool{New: func() any { return new(Codec) }}

// Field describes one field for documentation.
type Field struct {
	Name  string // as in error messages
	Kind  string // "varint", "float64", "bytes", ...
	Doc   string // range and meaning
	Depth int    // 1 for a field of a list's element or an extension's value, and so on
}

// Append appends the encoding of m to b. It does not check m against the limits
// that Parse enforces; it panics when an integer field exceeds MaxUvarint.
func Append(b []byte, m Message) []byte {
	c := codecs.Get().(*Codec)
	b = c.Append(b, m)
	codecs.Put(c)
	return b
}

// Append is the function Append.
func (c *Codec) Append(b []byte, m Message) []byte {
	t := m.Type()
	b = AppendUvarint(b, uint64(t))
	at := len(b)
	c.mode, c.typ, c.b = encoding, t, append(b, 0)
	m.Fields(c)
	b = closeLength(c.b, at)
	c.b = nil
	return b
}

// closeLength puts the number of bytes after b[at], which was left for it, in
// its place. Most are below 64 and fit; others are moved to make room.
func closeLength(b []byte, at int) []byte {
	n := len(b) - at - 1
	if n < 64 {
		b[at] = byte(n)
		return b
	}
	extra := UvarintLen(uint64(n)) - 1
	for range extra {
		b = append(b, 0)
	}
	copy(b[at+1+extra:], b[at+1:at+1+n])
	AppendUvarint(b[:at], uint64(n))
	return b
}

// Peek returns the type of the message at the start of b and its whole length
// in bytes. It fails with ErrTruncated while b holds less than the message, and
// with ErrRange when the message is longer than MaxMessage.
func Peek(b []byte) (t Type, n int, err error) {
	t, header, body, err := peek(b)
	return t, header + body, err
}

// peek returns the length of header and body apart.
func peek(b []byte) (t Type, header, body int, err error) {
	if len(b) > 1 && b[0]|b[1] < 1<<6 && len(b) >= 2+int(b[1]) { // most messages
		return Type(b[0]), 2, int(b[1]), nil
	}
	v, k, err := Uvarint(b)
	if err != nil {
		return 0, 0, 0, err
	}
	if v > math.MaxUint16 {
		return 0, 0, 0, ErrRange
	}
	t = Type(v)
	l, j, err := Uvarint(b[k:])
	if err != nil {
		return t, 0, 0, err
	}
	header = k + j
	if l > uint64(MaxMessage-header) {
		return t, 0, 0, ErrRange
	}
	body = int(l)
	if header+body > len(b) {
		return t, header, body, ErrTruncated
	}
	return t, header, body, nil
}

// Parse decodes the message that b holds, all of it, into m, which may have
// been used before: its slices are re-used. Byte slices in m are copies. On error
// m is partly filled.
func Parse(b []byte, m Message) error {
	c := codecs.Get().(*Codec)
	err := c.parse(b, m, false)
	codecs.Put(c)
	return err
}

// Parse is the function Parse.
func (c *Codec) Parse(b []byte, m Message) error { return c.parse(b, m, false) }

// ParseExact is Parse for receivers that need to know all of a message, because
// they sign, forward or compare it: unknown extensions are errors whatever their
// type. If it succeeds then Append gives b back.
func ParseExact(b []byte, m Message) error {
	c := codecs.Get().(*Codec)
	err := c.parse(b, m, true)
	codecs.Put(c)
	return err
}

func (c *Codec) parse(b []byte, m Message, exact bool) error {
	want := m.Type()
	t, header, body, err := peek(b)
	switch {
	case err != nil:
	case t != want:
		err = fmt.Errorf("%w: type 0x%x", ErrType, uint16(t))
	case header+body != len(b):
		err = ErrTrailing
	}
	if err != nil {
		return &DecodeError{Message: want, Field: "header", Err: err}
	}
	c.mode, c.typ, c.exact, c.lastExt, c.b = decoding, t, exact, -1, b[header:]
	m.Fields(c)
	if len(c.b) > 0 {
		c.skipExtensions(math.MaxUint16 + 1)
	}
	err = c.err
	c.b, c.err = nil, nil
	return err
}

// Describe returns the fields of m.
func Describe(m Message) []Field {
	c := Codec{mode: describing, typ: m.Type()}
	m.Fields(&c)
	return c.desc
}

// Decoding reports whether the visit decodes, for messages whose later fields
// depend on earlier ones.
func (c *Codec) Decoding() bool { return c.mode == decoding }

// Fail makes the visit fail at field, for checks that a field kind does not
// make itself. It does nothing when not decoding.
func (c *Codec) Fail(field string, err error) {
	if c.mode == decoding && c.err == nil {
		c.err = &DecodeError{Message: c.typ, Field: field, Err: err}
		c.b = nil
	}
}

func (c *Codec) describe(name, kind, doc string) {
	c.desc = append(c.desc, Field{Name: name, Kind: kind, Doc: doc, Depth: c.depth})
}

// Uvarint visits an unsigned integer below 2⁶².
func (c *Codec) Uvarint(name string, v *uint64, doc string) {
	switch c.mode {
	case encoding:
		c.put(*v)
	case decoding:
		*v = c.uvarint(name)
	default:
		c.describe(name, "varint", doc)
	}
}

// put appends an integer: AppendUvarint with the most frequent lengths, one and
// eight bytes, made fast.
func (c *Codec) put(v uint64) {
	switch {
	case v < 1<<6:
		c.b = append(c.b, byte(v))
	case v >= 1<<30 && v <= MaxUvarint:
		c.b = binary.BigEndian.AppendUint64(c.b, v|0xc0<<56)
	default:
		c.b = AppendUvarint(c.b, v)
	}
}

// uvarint takes an integer off the body; it is 0 after an error.
func (c *Codec) uvarint(name string) uint64 {
	b := c.b
	if len(b) > 0 {
		if b[0] < 1<<6 {
			c.b = b[1:]
			return uint64(b[0])
		}
		if len(b) >= 8 && b[0] >= 3<<6 {
			if v := binary.BigEndian.Uint64(b) & MaxUvarint; v >= 1<<30 {
				c.b = b[8:]
				return v
			}
		}
	}
	v, n, err := Uvarint(b)
	if err != nil {
		c.Fail(name, err)
		return 0
	}
	c.b = b[n:]
	return v
}

// Unsigned is any unsigned integer type.
type Unsigned interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Uint visits an unsigned integer of any type; values from limit on are
// rejected. A limit of 0 stands for the range of the type, or 2⁶² if that is
// less.
func Uint[T Unsigned](c *Codec, name string, v *T, limit uint64, doc string) {
	switch c.mode {
	case encoding:
		c.put(uint64(*v))
	case decoding:
		u := c.uvarint(name)
		if u > uint64(^T(0)) || limit > 0 && u >= limit {
			c.Fail(name, ErrRange)
			return
		}
		*v = T(u)
	default:
		if limit == 0 && uint64(^T(0)) < MaxUvarint {
			limit = uint64(^T(0)) + 1
		}
		if limit > 0 {
			doc = fmt.Sprintf("%s (below %d)", doc, limit)
		}
		c.describe(name, "varint", doc)
	}
}

// Fixed64 visits an unsigned 64-bit integer in network order, for values that
// are uniformly spread, such as node identities.
func Fixed64[T ~uint64](c *Codec, name string, v *T, doc string) {
	switch c.mode {
	case encoding:
		c.b = binary.BigEndian.AppendUint64(c.b, uint64(*v))
	case decoding:
		if b := c.take(name, 8); b != nil {
			*v = T(binary.BigEndian.Uint64(b))
		}
	default:
		c.describe(name, "64 bits", doc)
	}
}

// Time visits an instant as a varint of nanoseconds since the epoch. Instants
// before the epoch are sent as the epoch; the largest varint stands for
// qnet.Never and for the instants (146 years on) that it can not tell from it.
func (c *Codec) Time(name string, t *qnet.Time, doc string) {
	switch c.mode {
	case encoding:
		c.put(uint64(min(max(*t, 0), MaxUvarint)))
	case decoding:
		if *t = qnet.Time(c.uvarint(name)); *t == MaxUvarint {
			*t = qnet.Never
		}
	default:
		c.describe(name, "time", doc)
	}
}

// Float visits an IEEE 754 binary64 number in network order; NaN and infinities
// are rejected.
func (c *Codec) Float(name string, v *float64, doc string) {
	switch c.mode {
	case encoding:
		c.b = binary.BigEndian.AppendUint64(c.b, math.Float64bits(*v))
	case decoding:
		if b := c.take(name, 8); b != nil {
			f := math.Float64frombits(binary.BigEndian.Uint64(b))
			if math.IsNaN(f) || math.IsInf(f, 0) {
				c.Fail(name, ErrRange)
				return
			}
			*v = f
		}
	default:
		c.describe(name, "float64", doc)
	}
}

// Bool visits a flag of one byte, 0 or 1.
func (c *Codec) Bool(name string, v *bool, doc string) {
	switch c.mode {
	case encoding:
		if *v {
			c.b = append(c.b, 1)
		} else {
			c.b = append(c.b, 0)
		}
	case decoding:
		if b := c.take(name, 1); b != nil {
			if b[0] > 1 {
				c.Fail(name, ErrRange)
				return
			}
			*v = b[0] == 1
		}
	default:
		c.describe(name, "flag", doc)
	}
}

// Bytes visits a byte string with its length before it; longer ones than limit
// are rejected. A decoded slice is a copy, in the capacity of *v if it is enough.
func (c *Codec) Bytes(name string, v *[]byte, limit int, doc string) {
	switch c.mode {
	case encoding:
		c.put(uint64(len(*v)))
		c.b = append(c.b, *v...)
	case decoding:
		*v = append((*v)[:0], c.bytes(name, limit)...)
	default:
		c.describe(name, "bytes", fmt.Sprintf("%s (at most %d)", doc, limit))
	}
}

// String visits a UTF-8 string with its length in bytes before it; longer ones
// than limit, and what is not UTF-8, are rejected.
func (c *Codec) String(name string, v *string, limit int, doc string) {
	switch c.mode {
	case encoding:
		c.put(uint64(len(*v)))
		c.b = append(c.b, *v...)
	case decoding:
		b := c.bytes(name, limit)
		if !utf8.Valid(b) {
			c.Fail(name, ErrText)
			return
		}
		if *v != string(b) { // most often a name already seen: keep it
			*v = string(b)
		}
	default:
		c.describe(name, "string", fmt.Sprintf("%s (at most %d bytes)", doc, limit))
	}
}

// bytes takes a byte string with its length off the body.
func (c *Codec) bytes(name string, limit int) []byte {
	n := c.uvarint(name)
	if n > uint64(limit) {
		c.Fail(name, ErrRange)
		return nil
	}
	return c.take(name, int(n))
}

// Basis visits a measurement basis as its two angles in radians.
func (c *Codec) Basis(name string, v *qnet.Basis, doc string) {
	if c.mode == describing {
		c.describe(name, "basis", doc)
		return
	}
	c.Float(name, &v.Theta, doc)
	c.Float(name, &v.Phi, doc)
}

// List visits a list of up to limit elements: its length, then each element by
// the function elem, which must visit at least one field. A decoded list re-uses
// the capacity of *v; its elements are zero before they are visited.
func List[T any](c *Codec, name string, v *[]T, limit int, elem func(c *Codec, e *T), doc string) {
	switch c.mode {
	case encoding:
		c.put(uint64(len(*v)))
		for i := range *v {
			elem(c, &(*v)[i])
		}
	case decoding:
		n := c.uvarint(name)
		if n > uint64(limit) {
			c.Fail(name, ErrRange)
		} else if n > uint64(len(c.b)) { // every element takes a byte at least
			c.Fail(name, ErrTruncated)
		}
		*v = (*v)[:0]
		if c.err != nil {
			return
		}
		// The list grows as its elements are read, so a false length costs its
		// sender as much as its receiver.
		for i := range int(n) {
			var zero T
			*v = append(*v, zero)
			if elem(c, &(*v)[i]); c.err != nil {
				return
			}
		}
	default:
		c.describe(name, "list", fmt.Sprintf("%s (at most %d), each:", doc, limit))
		var e T
		c.depth++
		elem(c, &e)
		c.depth--
	}
}

// Extension visits an optional field of the given type, after all others and in
// ascending order of type, outside of lists and other extensions. present says
// whether it is there; value visits it, and is not called by Parse when it is
// not. Types must be even if a receiver that does not know them must reject the
// message, odd otherwise.
func (c *Codec) Extension(t Type, name string, present *bool, value func(c *Codec), doc string) {
	switch c.mode {
	case encoding:
		if !*present {
			return
		}
		c.put(uint64(t))
		at := len(c.b)
		c.b = append(c.b, 0)
		value(c)
		c.b = closeLength(c.b, at)
	case decoding:
		c.skipExtensions(uint64(t))
		*present = false
		if next, _, err := Uvarint(c.b); err != nil || next != uint64(t) {
			return // absent; whatever else is there is looked at later
		}
		body := c.extension()
		if c.err != nil {
			return
		}
		*present = true
		rest := c.b
		c.b = body
		value(c)
		if len(c.b) > 0 {
			c.Fail(name, ErrTrailing)
		}
		if c.err == nil {
			c.b = rest
		}
	default:
		c.describe(name, fmt.Sprintf("extension %d", t), doc)
		c.depth++
		value(c)
		c.depth--
	}
}

// extension takes the next extension off the body and returns its value.
func (c *Codec) extension() []byte {
	const name = "extension"
	t := c.uvarint(name)
	if t > math.MaxUint16 {
		c.Fail(name, ErrRange)
	} else if int32(t) <= c.lastExt {
		c.Fail(name, ErrOrder)
	}
	c.lastExt = int32(t)
	return c.bytes(name, MaxMessage)
}

// skipExtensions skips the unknown extensions of types below until.
func (c *Codec) skipExtensions(until uint64) {
	for len(c.b) > 0 {
		t, _, err := Uvarint(c.b)
		if err != nil {
			c.Fail("extension", err)
			return
		}
		if t >= until && t <= math.MaxUint16 {
			return
		}
		c.extension()
		if c.exact || t%2 == 0 {
			c.Fail(fmt.Sprintf("extension %d", t), ErrExtension)
		}
	}
}

// take takes n bytes off the body.
func (c *Codec) take(name string, n int) []byte {
	if n > len(c.b) {
		c.Fail(name, ErrTruncated)
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

// Clip cuts s to at most n bytes, at the start of a character: what a string
// field holds of a text for people.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
