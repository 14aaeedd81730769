// Package wiretest holds what the tests of a package with messages need: golden
// bytes, a round trip and a fuzz test, each over samples of all its message
// types. A typical use is
//
//	func TestSamples(t *testing.T)   { wiretest.Complete(t, Messages(), samples(), wire.ServiceLink) }
//	func TestGolden(t *testing.T)    { wiretest.Golden(t, "testdata", samples()...) }
//	func TestRoundTrip(t *testing.T) { wiretest.RoundTrip(t, samples()...) }
//	func FuzzMessages(f *testing.F)  { wiretest.Fuzz(f, samples()...) }
//
// where the samples have every field and extension set, each to another value.
package wiretest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"qstack/qnet/golden"
	"qstack/qnet/wire"
)

// Complete checks that the samples have every message type that a package lists
// and no other, and that these types can be registered, are documented and belong
// to the services of the package.
func Complete(t *testing.T, listed, samples []wire.Message, services ...wire.Service) {
	t.Helper()
	r, err := wire.NewRegistry(listed)
	if err != nil {
		t.Fatal(err)
	}
	sampled := make(map[wire.Type]bool)
	for _, m := range samples {
		sampled[m.Type()] = true
		if r.New(m.Type()) == nil {
			t.Errorf("%s is not listed", wire.Name(m))
		}
	}
	for _, m := range listed {
		if !sampled[m.Type()] {
			t.Errorf("no sample of %s", wire.Name(m))
		}
		if s := m.Type().Service(); !slices.Contains(services, s) {
			t.Errorf("%s is of service 0x%x", wire.Name(m), uint16(s))
		}
		if d, ok := m.(wire.Documented); !ok || d.Doc() == "" {
			t.Errorf("%s is not documented", wire.Name(m))
		}
	}
}

// Golden compares the encoding of each message with the file in dir that is
// named after its type: Name.hex, Name-2.hex for the second message of one type,
// and so on. The files hold the bytes in hexadecimal; white space and lines that
// start with # are ignored. It also decodes each file, which must give the
// message, and fails for a .hex file that belongs to no message.
func Golden(t *testing.T, dir string, msgs ...wire.Message) {
	t.Helper()
	seen := make(map[string]int)
	files := make(map[string]bool)
	for _, m := range msgs {
		name := wire.Name(m)
		seen[name]++
		if n := seen[name]; n > 1 {
			name = fmt.Sprintf("%s-%d", name, n)
		}
		file := filepath.Join(dir, name+".hex")
		files[file] = true
		got := wire.Append(nil, m)
		if *golden.Update {
			if err := write(file, m, got); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := read(file)
		if err != nil {
			t.Errorf("%v (write it with go test -update)", err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: encoding changed:\n got %x\nwant %x", file, got, want)
			continue
		}
		back := Zero(m)
		if err := wire.ParseExact(want, back); err != nil {
			t.Errorf("%s: %v", file, err)
		} else if !reflect.DeepEqual(m, back) {
			t.Errorf("%s: decoded differently:\n got %+v\nwant %+v", file, back, m)
		}
	}
	all, err := filepath.Glob(filepath.Join(dir, "*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		if !files[file] {
			t.Errorf("%s belongs to no message", file)
		}
	}
}

// write writes a golden file: a comment, then 16 bytes a line.
func write(file string, m wire.Message, b []byte) error {
	var s strings.Builder
	fmt.Fprintf(&s, "# %s (0x%02x), %d bytes\n", wire.Name(m), uint16(m.Type()), len(b))
	for len(b) > 0 {
		n := min(16, len(b))
		fmt.Fprintf(&s, "% x\n", b[:n])
		b = b[n:]
	}
	return golden.Write(file, s.String())
}

func read(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.Join(strings.Fields(line), ""))
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}

// RoundTrip checks that each message survives encoding and decoding with all
// its fields, in a new message and in one that was used before; that every
// truncation is an error that names the message and a field; and that a byte
// more is an error. Empty slices of the messages must be nil.
func RoundTrip(t *testing.T, msgs ...wire.Message) {
	t.Helper()
	used := make(map[wire.Type]wire.Message)
	for _, m := range msgs {
		name := wire.Name(m)
		b := wire.Append(nil, m)
		got := Zero(m)
		if err := wire.ParseExact(b, got); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(m, got) {
			t.Errorf("%s: round trip:\n got %+v\nwant %+v", name, got, m)
		}
		if u := used[m.Type()]; u == nil {
			used[m.Type()] = got
		} else if err := wire.Parse(b, u); err != nil {
			t.Errorf("%s: into a used message: %v", name, err)
		} else if again := wire.Append(nil, u); !bytes.Equal(again, b) {
			t.Errorf("%s: round trip through a used message:\n got %x\nwant %x", name, again, b)
		}
		for n := range b {
			var d *wire.DecodeError
			if err := wire.Parse(b[:n], Zero(m)); !errors.As(err, &d) || d.Field == "" || d.Message != m.Type() {
				t.Errorf("%s: %d of %d bytes: got error %v, want one that names message and field", name, n, len(b), err)
			}
		}
		if err := wire.Parse(append(b, 0), Zero(m)); err == nil {
			t.Errorf("%s: a byte too many was accepted", name)
		}
	}
}

// Reject checks that the encoding of each message is malformed.
func Reject(t *testing.T, msgs ...wire.Message) {
	t.Helper()
	for _, m := range msgs {
		if err := wire.Parse(wire.Append(nil, m), Zero(m)); err == nil {
			t.Errorf("%s %+v is accepted", wire.Name(m), m)
		}
	}
}

// Fuzz fuzzes the decoder of every type among msgs, with the encodings of msgs
// as the seed corpus. What it decodes must encode to the same bytes, whether it
// was decoded into a new message or into a used one; what it rejects must be
// rejected by an error that names a field; nothing may panic.
func Fuzz(f *testing.F, msgs ...wire.Message) {
	samples := make(map[wire.Type]wire.Message)
	for _, m := range msgs {
		f.Add(uint16(m.Type()), body(wire.Append(nil, m)))
		samples[m.Type()] = m
	}
	f.Fuzz(func(t *testing.T, number uint16, body []byte) {
		sample := samples[wire.Type(number)]
		if sample == nil {
			return
		}
		b := wire.AppendUvarint(nil, uint64(number))
		b = append(wire.AppendUvarint(b, uint64(len(body))), body...)
		m := Zero(sample)
		err := wire.Parse(b, m)
		if err != nil {
			var d *wire.DecodeError
			if !errors.As(err, &d) || d.Field == "" {
				t.Fatalf("error names no field: %v", err)
			}
			return
		}
		canonical := wire.Append(nil, m)
		if err := wire.ParseExact(b, Zero(sample)); err == nil {
			if !bytes.Equal(canonical, b) {
				t.Fatalf("decoded and encoded again:\n got %x\nwant %x", canonical, b)
			}
		} else if !errors.Is(err, wire.ErrExtension) {
			t.Fatalf("Parse accepts what ParseExact rejects: %v", err)
		} else if err := wire.ParseExact(canonical, Zero(sample)); err != nil {
			t.Fatalf("encoding of a decoded message is rejected: %v", err)
		}
		used := Zero(sample)
		if err := wire.Parse(wire.Append(nil, sample), used); err != nil {
			t.Fatal(err)
		}
		if err := wire.Parse(b, used); err != nil {
			t.Fatalf("rejected by a used message only: %v", err)
		}
		if got := wire.Append(nil, used); !bytes.Equal(got, canonical) {
			t.Fatalf("decoded into a used message and encoded again:\n got %x\nwant %x", got, canonical)
		}
	})
}

// body returns the message b without its header.
func body(b []byte) []byte {
	for range 2 {
		_, n, _ := wire.Uvarint(b)
		b = b[n:]
	}
	return b
}

// Zero returns a new message of the type of m.
func Zero(m wire.Message) wire.Message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(wire.Message)
}
