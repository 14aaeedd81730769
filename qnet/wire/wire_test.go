package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"qstack/qnet"
	"qstack/qnet/wire"
	"qstack/qnet/wire/wiretest"
)

type colour uint8

type item struct {
	Cycle uint64
	Label qnet.BellLabel
	Tag   []byte
}

// every has a field of each kind.
type every struct {
	N      uint64
	Colour colour
	Small  uint16
	ID     qnet.NodeID
	At     qnet.Time
	F      float64
	On     bool
	Blob   []byte
	Text   string
	Basis  qnet.Basis
	Items  []item
	HasA   bool
	A      uint64
	HasB   bool
	B      string
	HasC   bool
	C      []uint64
}

func (*every) Type() wire.Type { return 0x31 }

func (*every) Doc() string { return "A field of each kind | for tests." }

func (m *every) Fields(c *wire.Codec) {
	c.Uvarint("n", &m.N, "a number")
	wire.Uint(c, "colour", &m.Colour, 3, "one of three")
	wire.Uint(c, "small", &m.Small, 0, "16 bits")
	wire.Fixed64(c, "id", &m.ID, "a node")
	c.Time("at", &m.At, "an instant")
	c.Float("f", &m.F, "a number")
	c.Bool("on", &m.On, "a flag")
	c.Bytes("blob", &m.Blob, 300, "bytes")
	c.String("text", &m.Text, 20, "text")
	c.Basis("basis", &m.Basis, "a basis")
	wire.List(c, "items", &m.Items, 1000, itemFields, "some items")
	c.Extension(2, "a", &m.HasA, func(c *wire.Codec) { c.Uvarint("a", &m.A, "must be understood") }, "first")
	c.Extension(3, "b", &m.HasB, func(c *wire.Codec) { c.String("b", &m.B, 100, "may be skipped") }, "second")
	c.Extension(9, "c", &m.HasC, func(c *wire.Codec) {
		wire.List(c, "c", &m.C, 10, func(c *wire.Codec, v *uint64) { c.Uvarint("c.n", v, "") }, "numbers")
	}, "third")
}

func itemFields(c *wire.Codec, i *item) {
	c.Uvarint("items.cycle", &i.Cycle, "the cycle")
	wire.Uint(c, "items.label", &i.Label, 4, "the label")
	c.Bytes("items.tag", &i.Tag, 8, "a tag")
}

func full() *every {
	return &every{
		N: 1<<32 - 1, Colour: 2, Small: 65535, ID: 0x0102030405060708, At: 1_000_000_000, F: -0.5, On: true,
		Blob: []byte{0xaa, 0xbb}, Text: "Φ+", Basis: qnet.Basis{Theta: 1, Phi: 2},
		Items: []item{{Cycle: 63, Label: 3}, {Cycle: 64, Label: 1, Tag: []byte{7}}},
		HasA:  true, A: 16384, HasB: true, B: strings.Repeat("x", 70), HasC: true, C: []uint64{1},
	}
}

func samples() []wire.Message {
	return []wire.Message{full(), &every{}, &every{Blob: bytes.Repeat([]byte{1}, 300), At: qnet.Never, HasB: true, N: wire.MaxUvarint}, &reply{}}
}

// The bytes written out by hand from the rules of the encoding.
func TestEveryKind(t *testing.T) {
	want := strings.Join([]string{
		"31", "4097", // type; length 151
		"c0000000ffffffff",     // n
		"02",                   // colour
		"8000ffff",             // small
		"0102030405060708",     // id
		"bb9aca00",             // at: 10⁹ = 0x3b9aca00, in 4 bytes
		"bfe0000000000000",     // f
		"01",                   // on
		"02aabb",               // blob
		"03cea62b",             // text
		"3ff0000000000000",     // basis.theta
		"4000000000000000",     // basis.phi
		"02",                   // two items
		"3f0300",               // the first
		"4040010107",           // the second
		"02", "04", "80004000", // extension 2
		"03", "4048", "4046", // extension 3, 72 bytes; 70 bytes of text
		strings.Repeat("78", 70), //
		"09", "02", "01", "01",   // extension 9
	}, "")
	got := hex.EncodeToString(wire.Append(nil, full()))
	if got != want {
		t.Errorf("encoding\n got %s\nwant %s", got, want)
	}
}

func TestGolden(t *testing.T)    { wiretest.Golden(t, "testdata", samples()...) }
func TestRoundTrip(t *testing.T) { wiretest.RoundTrip(t, samples()...) }
func FuzzParse(f *testing.F)     { wiretest.Fuzz(f, samples()...) }

// FuzzPeek: the header of anything at all.
func FuzzPeek(f *testing.F) {
	for _, m := range samples() {
		f.Add(wire.Append(nil, m))
	}
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, n, err := wire.Peek(b)
		if err != nil {
			if !errors.Is(err, wire.ErrTruncated) && !errors.Is(err, wire.ErrRange) && !errors.Is(err, wire.ErrNotMinimal) {
				t.Fatalf("error %v", err)
			}
			if wire.Parse(b, &every{}) == nil {
				t.Fatal("Parse accepts what Peek rejects")
			}
			return
		}
		if n < 2 || n > len(b) || n > wire.MaxMessage {
			t.Fatalf("length %d of %d bytes", n, len(b))
		}
		head := wire.AppendUvarint(nil, uint64(typ))
		if !bytes.HasPrefix(b, head) {
			t.Fatalf("type 0x%x is not in its shortest form in %x", uint16(typ), b)
		}
	})
}

// RFC 9000, appendix A.1, and the ends of each range.
func TestUvarint(t *testing.T) {
	for _, c := range []struct {
		v   uint64
		hex string
	}{
		{151288809941952652, "c2197c5eff14e88c"},
		{494878333, "9d7f3e7d"},
		{15293, "7bbd"},
		{37, "25"},
		{0, "00"},
		{63, "3f"},
		{64, "4040"},
		{16383, "7fff"},
		{16384, "80004000"},
		{1<<30 - 1, "bfffffff"},
		{1 << 30, "c000000040000000"},
		{wire.MaxUvarint, "ffffffffffffffff"},
	} {
		b := wire.AppendUvarint(nil, c.v)
		if got := hex.EncodeToString(b); got != c.hex {
			t.Errorf("%d: got %s, want %s", c.v, got, c.hex)
		}
		if n := wire.UvarintLen(c.v); n != len(c.hex)/2 {
			t.Errorf("UvarintLen(%d) = %d, want %d", c.v, n, len(c.hex)/2)
		}
		if v, n, err := wire.Uvarint(append(b, 0xff)); v != c.v || n != len(b) || err != nil {
			t.Errorf("Uvarint(%x) = %d, %d, %v", b, v, n, err)
		}
		for n := range b {
			if _, _, err := wire.Uvarint(b[:n]); err != wire.ErrTruncated {
				t.Errorf("Uvarint(%x): %v, want truncated", b[:n], err)
			}
		}
	}
	// 37 in two bytes is valid in RFC 9000 and not here.
	for _, long := range []string{"4025", "80000025", "c000000000000025", "80003fff", "c00000003fffffff"} {
		b, _ := hex.DecodeString(long)
		if _, _, err := wire.Uvarint(b); err != wire.ErrNotMinimal {
			t.Errorf("Uvarint(%s): %v, want not minimal", long, err)
		}
	}
}

func TestTimeSaturates(t *testing.T) {
	for _, c := range []struct{ in, out qnet.Time }{
		{0, 0}, {-5, 0}, {1, 1}, {wire.MaxUvarint - 1, wire.MaxUvarint - 1},
		{wire.MaxUvarint, qnet.Never}, {qnet.Never - 1, qnet.Never}, {qnet.Never, qnet.Never},
	} {
		var m every
		if err := wire.Parse(wire.Append(nil, &every{At: c.in}), &m); err != nil || m.At != c.out {
			t.Errorf("%d decodes as %d (%v), want %d", c.in, m.At, err, c.out)
		}
	}
}

// patched returns the encoding of a zero message in which n bytes at offset off of
// the body are replaced by those in hexadecimal.
func patched(off, n int, with string) []byte {
	b := wire.Append(nil, &every{})[2:]
	w, err := hex.DecodeString(with)
	if err != nil {
		panic(err)
	}
	b = append(append(bytes.Clone(b[:off]), w...), b[off+n:]...)
	return append(wire.AppendUvarint([]byte{0x31}, uint64(len(b))), b...)
}

// Every error names the message, the field and the reason, and is a protocol
// error.
func TestErrors(t *testing.T) {
	// Offsets in the body of a zero message: n 0, colour 1, small 2, id 3, at 11,
	// f 12, on 20, blob 21, text 22, theta 23, phi 31, items 39, end 40.
	for _, c := range []struct {
		name  string
		b     []byte
		field string
		err   error
	}{
		{"empty", nil, "header", wire.ErrTruncated},
		{"no length", []byte{0x31}, "header", wire.ErrTruncated},
		{"short", []byte{0x31, 2, 0}, "header", wire.ErrTruncated},
		{"type not minimal", []byte{0x40, 0x31, 0}, "header", wire.ErrNotMinimal},
		{"length not minimal", []byte{0x31, 0x40, 0}, "header", wire.ErrNotMinimal},
		{"type beyond 16 bits", append(wire.AppendUvarint(nil, 1<<16), 0), "header", wire.ErrRange},
		{"longer than a message may be", wire.AppendUvarint([]byte{0x31}, wire.MaxMessage), "header", wire.ErrRange},
		{"longest message, not there", wire.AppendUvarint([]byte{0x31}, wire.MaxMessage-5), "header", wire.ErrTruncated},
		{"another type", []byte{0x32, 0}, "header", wire.ErrType},
		{"left over", append(wire.Append(nil, &every{}), 0), "header", wire.ErrTrailing},
		{"empty body", []byte{0x31, 0}, "n", wire.ErrTruncated},
		{"n cut", []byte{0x31, 1, 0xc0}, "n", wire.ErrTruncated},
		{"n not minimal in two bytes", patched(0, 1, "4001"), "n", wire.ErrNotMinimal},
		{"n not minimal in four bytes", patched(0, 1, "80003fff"), "n", wire.ErrNotMinimal},
		{"n not minimal in eight bytes", patched(0, 1, "c00000003fffffff"), "n", wire.ErrNotMinimal},
		{"colour at its limit", patched(1, 1, "03"), "colour", wire.ErrRange},
		{"small beyond 16 bits", patched(2, 1, "80010000"), "small", wire.ErrRange},
		{"id cut", []byte{0x31, 5, 0, 0, 0, 1, 2}, "id", wire.ErrTruncated},
		{"at not minimal", patched(11, 1, "80000000"), "at", wire.ErrNotMinimal},
		{"NaN", patched(12, 8, "7ff8000000000000"), "f", wire.ErrRange},
		{"infinity", patched(12, 8, "7ff0000000000000"), "f", wire.ErrRange},
		{"flag 2", patched(20, 1, "02"), "on", wire.ErrRange},
		{"blob beyond its limit", patched(21, 1, "412d"), "blob", wire.ErrRange},
		{"blob cut", patched(21, 1, "412c"), "blob", wire.ErrTruncated},
		{"text beyond its limit", patched(22, 1, "15"), "text", wire.ErrRange},
		{"text not UTF-8", patched(22, 1, "01ff"), "text", wire.ErrText},
		{"infinite angle", patched(31, 8, "fff0000000000000"), "basis", wire.ErrRange},
		{"too many items", patched(39, 1, "43e9"), "items", wire.ErrRange},
		{"items not there", patched(39, 1, "04000000"), "items", wire.ErrTruncated},
		{"item cut", patched(39, 1, "020000000000"), "items.tag", wire.ErrTruncated},
		{"label 4", patched(39, 1, "01000400"), "items.label", wire.ErrRange},
		{"tag beyond its limit", patched(39, 1, "01000009"), "items.tag", wire.ErrRange},
		{"extension type cut", patched(40, 0, "40"), "extension", wire.ErrTruncated},
		{"extension type not minimal", patched(40, 0, "400200"), "extension", wire.ErrNotMinimal},
		{"extension type beyond 16 bits", patched(40, 0, "8001000000"), "extension", wire.ErrRange},
		{"extension without length", patched(40, 0, "02"), "extension", wire.ErrTruncated},
		{"extension length not minimal", patched(40, 0, "02400100"), "extension", wire.ErrNotMinimal},
		{"extension cut", patched(40, 0, "020201"), "extension", wire.ErrTruncated},
		{"extension empty", patched(40, 0, "0200"), "a", wire.ErrTruncated},
		{"extension with bytes left", patched(40, 0, "02020000"), "a", wire.ErrTrailing},
		{"extension twice", patched(40, 0, "020100020100"), "extension", wire.ErrOrder},
		{"extensions descending", patched(40, 0, "030100020100"), "extension", wire.ErrOrder},
		{"unknown even extension first", patched(40, 0, "0000"), "extension 0", wire.ErrExtension},
		{"unknown even extension between", patched(40, 0, "02010004000301000902010a"), "extension 4", wire.ErrExtension},
		{"unknown even extension last", patched(40, 0, "0a00"), "extension 10", wire.ErrExtension},
		{"unknown extensions descending", patched(40, 0, "0d000b00"), "extension", wire.ErrOrder},
	} {
		err := wire.Parse(c.b, &every{})
		var d *wire.DecodeError
		if !errors.As(err, &d) {
			t.Errorf("%s: got %v, want a *DecodeError", c.name, err)
			continue
		}
		if d.Message != 0x31 || d.Field != c.field || !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want field %s: %v", c.name, err, c.field, c.err)
		}
		if qnet.CodeOf(err) != qnet.ErrProtocol {
			t.Errorf("%s: code %v, want a protocol error", c.name, qnet.CodeOf(err))
		}
		if !strings.Contains(err.Error(), "0x31") || !strings.Contains(err.Error(), c.field) {
			t.Errorf("%s: text %q names not both message and field", c.name, err)
		}
	}
}

func TestUnknownOddExtensionsAreSkipped(t *testing.T) {
	// 1, then 3 (known, "y"), 5, 9 (known, one number 7), 11 and 65535.
	b := patched(40, 0, "0101ff"+"03020179"+"0500"+"09020107"+"0b020000"+"8000ffff00")
	var m every
	if err := wire.Parse(b, &m); err != nil {
		t.Fatal(err)
	}
	if m.HasA || !m.HasB || m.B != "y" || !m.HasC || len(m.C) != 1 || m.C[0] != 7 {
		t.Errorf("decoded %+v", m)
	}
	err := wire.ParseExact(b, &every{})
	if !errors.Is(err, wire.ErrExtension) || !strings.Contains(err.Error(), "extension 1") {
		t.Errorf("ParseExact: %v, want a complaint about extension 1", err)
	}
}

// An absent extension must not swallow the next one.
func TestAbsentExtensionBeforePresent(t *testing.T) {
	want := &every{HasC: true, C: []uint64{5}}
	var m every
	if err := wire.ParseExact(wire.Append(nil, want), &m); err != nil {
		t.Fatal(err)
	}
	if !m.HasC || m.HasA || m.HasB || len(m.C) != 1 {
		t.Errorf("decoded %+v", m)
	}
}

// Lengths that lie must not make the receiver allocate more than a small
// multiple of what it was sent.
func TestNoOverAllocation(t *testing.T) {
	hostile := [][]byte{
		wire.AppendUvarint([]byte{0x31}, wire.MaxMessage-5),
		patched(21, 1, "412c"),
		patched(39, 1, "43e8"),
		patched(40, 0, "0b800fffff"),
		patched(40, 0, "0904"+"0a010101"),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const rounds = 100
	for range rounds {
		for _, b := range hostile {
			if err := wire.Parse(b, &every{}); err == nil {
				t.Fatalf("accepted %x", b)
			}
		}
	}
	runtime.ReadMemStats(&after)
	per := (after.TotalAlloc - before.TotalAlloc) / uint64(rounds*len(hostile))
	if per > 4096 {
		t.Errorf("%d bytes allocated for a message of at most 60", per)
	}
}

// A length of two or four bytes, in messages and in extensions.
func TestLongLengths(t *testing.T) {
	for _, n := range []int{0, 22, 23, 24, 255, 300} {
		m := &every{Blob: bytes.Repeat([]byte{9}, n), HasB: true, B: strings.Repeat("b", n/3)}
		b := wire.Append([]byte("prefix"), m)
		if !bytes.HasPrefix(b, []byte("prefix")) {
			t.Fatal("prefix lost")
		}
		var got every
		if err := wire.ParseExact(b[6:], &got); err != nil || !bytes.Equal(got.Blob, m.Blob) || got.B != m.B {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	big := &blob{b: bytes.Repeat([]byte{3}, wire.MaxMessage-5-4)}
	b := wire.Append(nil, big)
	if len(b) != wire.MaxMessage {
		t.Fatalf("length %d, want %d", len(b), wire.MaxMessage)
	}
	if err := wire.ParseExact(b, &blob{}); err != nil {
		t.Errorf("longest message: %v", err)
	}
	big.b = append(big.b, 0)
	if err := wire.Parse(wire.Append(nil, big), &blob{}); !errors.Is(err, wire.ErrRange) {
		t.Errorf("a byte more: %v", err)
	}
}

type blob struct{ b []byte }

func (*blob) Type() wire.Type        { return 0x32 }
func (m *blob) Fields(c *wire.Codec) { c.Bytes("b", &m.b, wire.MaxMessage, "") }
func (*blob) Name() string           { return "Blob" }

// checked fails by itself.
type checked struct{ a, b uint64 }

func (*checked) Type() wire.Type { return 0x33 }
func (m *checked) Fields(c *wire.Codec) {
	c.Uvarint("a", &m.a, "")
	if c.Decoding() && m.a > 10 {
		c.Fail("a", wire.ErrRange)
	}
	c.Uvarint("b", &m.b, "")
}

func TestFail(t *testing.T) {
	err := wire.Parse(wire.Append(nil, &checked{11, 1}), &checked{})
	var d *wire.DecodeError
	if !errors.As(err, &d) || d.Field != "a" || !errors.Is(err, wire.ErrRange) {
		t.Errorf("got %v", err)
	}
	// A visitor that failed leaves nothing behind for the next one.
	if err := wire.Parse(wire.Append(nil, &checked{10, 1}), &checked{}); err != nil {
		t.Error(err)
	}
}

func TestDescribe(t *testing.T) {
	var names []string
	for _, f := range wire.Describe(&every{}) {
		names = append(names, strings.Repeat(">", f.Depth)+f.Name+" "+f.Kind)
	}
	want := "n varint,colour varint,small varint,id 64 bits,at time,f float64,on flag,blob bytes,text string," +
		"basis basis,items list,>items.cycle varint,>items.label varint,>items.tag bytes," +
		"a extension 2,>a varint,b extension 3,>b string,c extension 9,>c list,>>c.n varint"
	if got := strings.Join(names, ","); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestFloatBits(t *testing.T) {
	for _, f := range []float64{0, math.Copysign(0, -1), math.SmallestNonzeroFloat64, math.MaxFloat64, 1.0 / 3} {
		var m every
		if err := wire.Parse(wire.Append(nil, &every{F: f}), &m); err != nil || math.Float64bits(m.F) != math.Float64bits(f) {
			t.Errorf("%v: got %v, %v", f, m.F, err)
		}
	}
}

// reply is a typical message of eight fields.
type reply struct {
	Link    uint32
	Lane    uint32
	Request uint64
	Cycle   uint64
	Label   qnet.BellLabel
	Next    uint64
	Peer    qnet.NodeID
	At      qnet.Time
}

func (*reply) Type() wire.Type { return 0x12 }
func (m *reply) Fields(c *wire.Codec) {
	wire.Uint(c, "link", &m.Link, 0, "the link")
	wire.Uint(c, "lane", &m.Lane, 0, "the lane")
	c.Uvarint("request", &m.Request, "the request")
	c.Uvarint("cycle", &m.Cycle, "the cycle")
	wire.Uint(c, "label", &m.Label, 4, "the label")
	c.Uvarint("next", &m.Next, "the cycle to resume at")
	wire.Fixed64(c, "peer", &m.Peer, "the other node")
	c.Time("at", &m.At, "the instant")
}

func typical() *reply {
	return &reply{Link: 3, Lane: 1, Request: 1<<32 + 5, Cycle: 1<<32 + 77, Label: 2, Next: 1<<32 + 90, Peer: 0xdeadbeef, At: 12_345_678_901}
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("counts allocations")
	}
	m, buf := typical(), make([]byte, 0, 128)
	var got reply
	if n := testing.AllocsPerRun(1000, func() {
		buf = wire.Append(buf[:0], m)
		if err := wire.Parse(buf, &got); err != nil {
			t.Fatal(err)
		}
	}); n > 0.1 { // a collection may empty the pool
		t.Errorf("typical message: %v allocations", n)
	}
	if got != *m {
		t.Errorf("got %+v", got)
	}
	// Slices, lists and known strings are re-used as well.
	e, into := full(), &every{}
	e.Items[1].Tag = nil
	if n := testing.AllocsPerRun(1000, func() {
		buf = wire.Append(buf[:0], e)
		if err := wire.Parse(buf, into); err != nil {
			t.Fatal(err)
		}
	}); n > 0.1 {
		t.Errorf("message with every kind: %v allocations", n)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	m, buf := typical(), make([]byte, 0, 128)
	var got reply
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.Append(buf[:0], m)
		if err := wire.Parse(buf, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	m, buf := typical(), make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.Append(buf[:0], m)
	}
}

func BenchmarkParse(b *testing.B) {
	buf := wire.Append(nil, typical())
	var got reply
	b.ReportAllocs()
	for b.Loop() {
		if err := wire.Parse(buf, &got); err != nil {
			b.Fatal(err)
		}
	}
}

// A Codec that was used before, in vain too, does as the functions do.
func TestCodecIsUsedAgain(t *testing.T) {
	var c wire.Codec
	for _, m := range samples() {
		want := wire.Append(nil, m)
		if got := c.Append(nil, m); !bytes.Equal(got, want) {
			t.Errorf("%T: %x, want %x", m, got, want)
		}
		for n := range len(want) + 1 {
			again := reflect.New(reflect.TypeOf(m).Elem()).Interface().(wire.Message)
			err, wantErr := c.Parse(want[:n], again), wire.Parse(want[:n], again)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%T: %d of %d bytes: %v, want %v", m, n, len(want), err, wantErr)
			}
		}
	}
}

// A clipped text is a prefix of whole characters, as long as it can be.
func TestClip(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{{"fidelity", 8, "fidelity"}, {"fidelity", 4, "fide"}, {"aΦ+", 2, "a"}, {"aΦ+", 3, "aΦ"}, {"€", 2, ""}, {"", 0, ""}} {
		if got := wire.Clip(tt.in, tt.n); got != tt.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}
