package wire

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"qstack/qnet"
)

// Registry is a set of message types, at most one for each number and each
// name within a service. It never changes after NewRegistry.
type Registry struct {
	entries []entry // in ascending order of type
}

type entry struct {
	msg  Message
	name string
	doc  string
}

// Named is implemented by messages whose name in the registry is not that of
// their Go type.
type Named interface{ Name() string }

// Documented is implemented by messages that have a text in the reference: who
// sends them, when, and what for.
type Documented interface{ Doc() string }

// NewRegistry returns the registry of the message types in lists. Every message
// must be a pointer to a struct. It fails with qnet.ErrInUse when two share a
// number, or two of one service a name, and with qnet.ErrInvalid for a number
// that belongs to no service.
func NewRegistry(lists ...[]Message) (*Registry, error) {
	r := new(Registry)
	for _, m := range slices.Concat(lists...) {
		t := reflect.TypeOf(m)
		if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
			return nil, qnet.Errorf(qnet.ErrInvalid, "wire: message %T is not a pointer to a struct", m)
		}
		e := entry{msg: m, name: Name(m)}
		if d, ok := m.(Documented); ok {
			e.doc = d.Doc()
		}
		if familyOf(m.Type()) == nil {
			return nil, qnet.Errorf(qnet.ErrInvalid, "wire: message %s has number 0x%x, which belongs to no service", e.name, uint16(m.Type()))
		}
		r.entries = append(r.entries, e)
	}
	slices.SortStableFunc(r.entries, func(a, b entry) int { return cmp.Compare(a.msg.Type(), b.msg.Type()) })
	type key struct {
		family *family
		name   string
	}
	names := make(map[key]Type)
	for i, e := range r.entries {
		t := e.msg.Type()
		if i > 0 && r.entries[i-1].msg.Type() == t {
			return nil, qnet.Errorf(qnet.ErrInUse, "wire: messages %s and %s share number 0x%x", r.entries[i-1].name, e.name, uint16(t))
		}
		k := key{familyOf(t), e.name}
		if u, ok := names[k]; ok {
			return nil, qnet.Errorf(qnet.ErrInUse, "wire: messages 0x%x and 0x%x of one service share the name %s", uint16(u), uint16(t), e.name)
		}
		names[k] = t
	}
	return r, nil
}

// Name returns the name of a message: what its method Name says if it is Named,
// otherwise the name of its Go type.
func Name(m Message) string {
	if n, ok := m.(Named); ok {
		return n.Name()
	}
	t := reflect.TypeOf(m)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// Messages returns the registered messages in ascending order of type.
func (r *Registry) Messages() []Message {
	ms := make([]Message, len(r.entries))
	for i, e := range r.entries {
		ms[i] = e.msg
	}
	return ms
}

// New returns a new zero message of type t, or nil when t is not registered.
func (r *Registry) New(t Type) Message {
	if i, ok := r.find(t); ok {
		return reflect.New(reflect.TypeOf(r.entries[i].msg).Elem()).Interface().(Message)
	}
	return nil
}

// Name returns the name of type t, or its number when it is not registered.
func (r *Registry) Name(t Type) string {
	if i, ok := r.find(t); ok {
		return r.entries[i].name
	}
	return fmt.Sprintf("0x%x", uint16(t))
}

func (r *Registry) find(t Type) (int, bool) {
	return slices.BinarySearchFunc(r.entries, t, func(e entry, t Type) int { return cmp.Compare(e.msg.Type(), t) })
}

// family is one section of the reference: the services first to last, which
// share a range of message numbers.
type family struct {
	first, last Service
	title, doc  string
}

// families are the sections in order. The table is never changed.
var families = [...]family{
	{ServiceLink, ServiceLink, "Link", "Between neighbours and the stations of their links, in datagrams."},
	{ServiceNetwork, ServiceNetwork, "Network", "Between neighbours, one stream for each circuit and hop."},
	{ServiceTransport, ServiceTransport, "Transport", "Between end points, on streams."},
	{ServiceControl, ServiceControl, "Control", "Hello and clock exchange, in datagrams."},
	{ServiceFabric, ServiceFabric, "Fabric", "Between a device and the fabric that holds its qubits."},
	{ServiceSession, ServiceSession + 2, "Session", "Between a program and the daemon of its node, on a unix socket."},
	{ServiceOracle, ServiceOracle, "Oracle", "Between the observer of a network, who is none of its nodes, and the fabric."},
}

func familyOf(t Type) *family {
	for i := range families {
		if f := &families[i]; f.first <= t.Service() && t.Service() <= f.last {
			return f
		}
	}
	return nil
}

// rules is the first part of the reference.
const rules = `# The wire

Every message between processes of the stack, and the rules of its encoding.
This file is generated from the message types.

## Encoding

A message is

` + "```" + `
+---------------+-----------------+------------------+----------------------+
| type (varint) | length (varint) | fields, in order | extensions, if any   |
+---------------+-----------------+------------------+----------------------+
                                  |<------------- length bytes ------------>|
` + "```" + `

and an extension, which is an optional field, is

` + "```" + `
+---------------+-----------------+--------------+
| type (varint) | length (varint) | value        |
+---------------+-----------------+--------------+
                                  |<-- length -->|
` + "```" + `

- A message in a datagram has at most %[1]d bytes, one on a stream at most %[2]d,
  header included. On a stream, messages follow one another without separators.
- Extensions come in strictly ascending order of type. A receiver skips an
  extension of odd type that it does not know, and rejects the message for one of
  even type.
- There is one encoding of each message: integers are in their shortest form,
  flags are 0 or 1, and nothing is left over at the end of a message or of an
  extension. What breaks a rule is rejected with an error that names the message
  and the field.

The kinds of fields:

| kind | bytes | value |
|---|---|---|
| varint | 1, 2, 4 or 8 | unsigned integer below 2⁶²: the two highest bits of the first byte give the length (00, 01, 10, 11), the rest is in network order (RFC 9000, section 16) |
| time | a varint | instant in nanoseconds since the epoch of the network; 2⁶²−1 stands for never |
| 64 bits | 8 | unsigned integer in network order, such as a node identity |
| float64 | 8 | IEEE 754 binary64 in network order, finite |
| flag | 1 | 0 or 1 |
| basis | 16 | axis of a measurement on the Bloch sphere: the angles θ and φ in radians, each a float64 |
| bytes | a varint and as many bytes | |
| string | a varint and as many bytes | UTF-8 |
| list | a varint and as many elements | the fields of each element are those below that are marked with · |
| extension | as drawn above | optional; the fields of its value are those below that are marked with · |
`

// WriteMarkdown writes the reference of the protocol: the rules of the encoding,
// then for each service its messages in ascending order with their fields.
func (r *Registry) WriteMarkdown(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, rules, MaxDatagram, MaxMessage)
	for i := range families {
		f := &families[i]
		var es []entry
		for _, e := range r.entries {
			if familyOf(e.msg.Type()) == f {
				es = append(es, e)
			}
		}
		if len(es) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n## %s (0x%x0 to 0x%xf)\n\n%s\n\n", f.title, uint16(f.first), uint16(f.last), f.doc)
		fmt.Fprint(b, "| number | message | |\n|---|---|---|\n")
		for _, e := range es {
			fmt.Fprintf(b, "| 0x%02x | %s | %s |\n", uint16(e.msg.Type()), cell(e.name), cell(e.doc))
		}
		for _, e := range es {
			fmt.Fprintf(b, "\n### %s (0x%02x)\n\n", e.name, uint16(e.msg.Type()))
			if e.doc != "" {
				fmt.Fprintf(b, "%s\n\n", e.doc)
			}
			fields := Describe(e.msg)
			if len(fields) == 0 {
				fmt.Fprint(b, "No fields.\n")
				continue
			}
			fmt.Fprint(b, "| field | kind | meaning |\n|---|---|---|\n")
			for _, d := range fields {
				fmt.Fprintf(b, "| %s%s | %s | %s |\n", strings.Repeat("· ", d.Depth), cell(d.Name), cell(d.Kind), cell(d.Doc))
			}
		}
	}
	return b.Flush()
}

// cell makes s fit in a cell of a table.
func cell(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "|", `\|`)), " ")
}
