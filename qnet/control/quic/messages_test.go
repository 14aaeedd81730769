package quic

import (
	"bytes"
	"testing"

	"qstack/qnet"
	"qstack/qnet/wire"
	"qstack/qnet/wire/wiretest"
)

func samples() []wire.Message {
	return []wire.Message{
		&Hello{Incarnation: wire.MaxUvarint, Sequence: 1<<32 - 1},
		&Stamp{At: 1_000_000_007},
		&End{Code: qnet.ErrNoListener},
		&Pad{Zeros: []byte{0, 0, 0}},
	}
}

func TestSamples(t *testing.T)   { wiretest.Complete(t, Messages(), samples(), wire.ServiceControl) }
func TestGolden(t *testing.T)    { wiretest.Golden(t, "testdata", samples()...) }
func TestRoundTrip(t *testing.T) { wiretest.RoundTrip(t, samples()...) }
func FuzzMessages(f *testing.F)  { wiretest.Fuzz(f, samples()...) }

// A datagram of any length is padded to 48 bytes or left alone, and what is
// added is a message that the receiver skips.
func TestPad(t *testing.T) {
	for n := range 80 {
		// A message of n bytes cannot always be made; framing does not care.
		b := pad(bytes.Repeat([]byte{0xff}, n))
		if len(b) < minDatagram || n >= minDatagram && len(b) != n || len(b) > minDatagram+4 && n < minDatagram {
			t.Errorf("%d bytes are padded to %d", n, len(b))
		}
		if n < len(b) {
			if err := wire.Parse(b[n:], new(Pad)); err != nil {
				t.Errorf("%d bytes: the padding is not a Pad: %v", n, err)
			}
		}
	}
}

// However a stream is cut into reads, split finds the same messages.
func FuzzSplit(f *testing.F) {
	stream := wire.Append(nil, &message{N: 1})
	stream = wire.Append(stream, &message{N: 1 << 40, Pad: make([]byte, 100)})
	f.Add(wire.Append(stream, &End{Code: 1}), 3)
	f.Add([]byte{0x40, 0x40, 0x00}, 1)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 5)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		if step <= 0 {
			return
		}
		all, next, bad := split(b)
		if all > len(b) || next > wire.MaxMessage || next != 0 && next <= len(b)-all {
			t.Fatalf("split of %d bytes: %d whole, next has %d", len(b), all, next)
		}
		done := 0
		for end := 0; end < len(b); {
			end = min(end+step, len(b))
			whole, _, err := split(b[done:end])
			done += whole
			if err != nil {
				if bad == nil {
					t.Fatalf("split rejects the first %d bytes (%v) but not all", end, err)
				}
				break
			}
		}
		if done != all {
			t.Fatalf("in steps of %d: %d bytes are whole messages; at once: %d", step, done, all)
		}
	})
}

// scan accepts what consists of messages that may stand in a datagram, and
// nothing else; delivering what it accepts can not fail.
func FuzzScan(f *testing.F) {
	f.Add(pad(wire.Append(nil, &Hello{Incarnation: 1})))
	f.Add(wire.Append(wire.Append(nil, &Stamp{At: 5}), &message{N: 1}))
	f.Add(wire.Append(nil, &End{Code: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, work, err := scan(b)
		if err != nil {
			return
		}
		found := false
		for len(b) > 0 {
			typ, n, err := wire.Peek(b)
			if err != nil || typ == typeEnd {
				t.Fatalf("accepted with %x in it: %v", b, err)
			}
			if typ == typeStamp {
				if err := wire.Parse(b[:n], new(Stamp)); err != nil {
					t.Fatal(err)
				}
			}
			found = found || typ != typeHello && typ != typeStamp && typ != typePad
			b = b[n:]
		}
		if found != work {
			t.Fatalf("work is %v, want %v", work, found)
		}
	})
}

// Messages gather in datagrams in order, no datagram exceeds the limit, stamps
// are there where they change and where a datagram starts, and what does not fit
// in the queue is dropped and counted.
func TestOutbox(t *testing.T) {
	c := &conn{e: new(Endpoint)}
	c.out.sending = true // nobody takes anything out
	const total = 40_000
	for i := range uint64(total) {
		m := &message{N: i, Pad: make([]byte, i*7919%1100)}
		c.out.add(c, wire.Append(nil, m), qnet.Time(i/3), true)
		if i%5 == 0 {
			c.out.add(c, wire.Append(nil, &Hello{Sequence: i}), 0, false)
		}
	}
	if len(c.out.queue) != maxSendQueue {
		t.Errorf("%d datagrams wait, want %d", len(c.out.queue), maxSendQueue)
	}
	next, dropped, sum := uint64(0), c.e.Stats().SendDropped, 0
	for _, p := range c.out.queue {
		if len(p.b) > maxDatagram {
			t.Errorf("a datagram has %d bytes", len(p.b))
		}
		sum += len(p.b)
		var stamp Stamp
		stamped := false
		for b := p.b; len(b) > 0; {
			typ, n, err := wire.Peek(b)
			if err != nil {
				t.Fatal(err)
			}
			switch typ {
			case typeStamp:
				if err := wire.Parse(b[:n], &stamp); err != nil {
					t.Fatal(err)
				}
				stamped = true
			case typeTest:
				var m message
				if err := wire.Parse(b[:n], &m); err != nil {
					t.Fatal(err)
				}
				if !stamped || stamp.At != qnet.Time(m.N/3) {
					t.Fatalf("message %d has stamp %v (%v)", m.N, stamp.At, stamped)
				}
				if m.N < next {
					t.Fatalf("message %d comes after %d", m.N, next-1)
				}
				next = m.N + 1
			}
			b = b[n:]
		}
	}
	if dropped == 0 || next == 0 {
		t.Errorf("%d messages were dropped, the last sent was %d", dropped, next)
	}
	// Two neighbouring datagrams hold more than one datagram's worth together, or
	// their messages would have gathered in the first.
	if sum < maxSendQueue/2*maxDatagram/2 {
		t.Errorf("%d datagrams hold %d bytes only", len(c.out.queue), sum)
	}
}
