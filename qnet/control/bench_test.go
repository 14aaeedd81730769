package control_test

import (
	"fmt"
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// sink is a handler that costs nothing.
type sink struct{ n int }

func (s *sink) Datagram(qnet.NodeID, []byte)                        { s.n++ }
func (s *sink) Accept(control.Stream, []byte) control.StreamHandler { return s }
func (s *sink) PeerUp(qnet.NodeID)                                  {}
func (s *sink) PeerDown(qnet.NodeID, error)                         {}
func (s *sink) Message(control.Stream, []byte)                      { s.n++ }
func (s *sink) Closed(control.Stream, error)                        {}

func sinkPair(t testing.TB, link control.LinkConfig) (*event.Virtual, *control.Mem, *sink) {
	return sinkPairTraced(t, link, nil)
}

// sinkPairTraced is sinkPair with a trace of the sending end.
func sinkPairTraced(t testing.TB, link control.LinkConfig, tr *trace.Tracer) (*event.Virtual, *control.Mem, *sink) {
	loop := event.NewVirtual()
	net := control.NewNetwork(control.Config{Loop: loop, Seed: 1})
	if err := net.Connect(alice, bob, link); err != nil {
		t.Fatal(err)
	}
	a, b := net.Endpoint(alice, tr), net.Endpoint(bob, nil)
	s := new(sink)
	b.Handle(wire.ServiceTransport, s)
	a.Handle(wire.ServiceTransport, new(sink))
	return loop, a, s
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("counts allocations")
	}
	loop, a, s := sinkPair(t, control.LinkConfig{Delay: 100, Jitter: 10, Duplicate: 0.5, Loss: 0.1, Reorder: 0.1})
	m := &note{typ: typ0, N: 1 << 40, Pad: make([]byte, 30)}
	stream, err := a.Open(bob, m, new(sink))
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		for range 10 {
			if err := a.Datagram(bob, m); err != nil {
				t.Fatal(err)
			}
			stream.Send(m)
		}
		if err := loop.Drain(); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		send() // fills the pools
	}
	if n := testing.AllocsPerRun(500, send); n > 0.1 { // a collection may empty the codecs' pool
		t.Errorf("%v allocations for 20 messages", n)
	}
	if s.n == 0 {
		t.Error("nothing arrived")
	}
}

// One datagram from the call that sends it to its handler, with encoding, on an
// otherwise empty loop and with a thousand others in flight.
func BenchmarkDatagram(b *testing.B) {
	for _, pending := range []int{0, 1000} {
		b.Run(fmt.Sprintf("inflight=%d", pending), func(b *testing.B) {
			loop, a, s := sinkPair(b, control.LinkConfig{Delay: 10 * time.Microsecond})
			m := &note{typ: typ0, N: 1 << 40, Pad: make([]byte, 16)}
			for range pending {
				if err := a.Datagram(bob, m); err != nil {
					b.Fatal(err)
				}
			}
			loop.Step() // tells that the peers are up
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Datagram(bob, m); err != nil {
					b.Fatal(err)
				}
				loop.Step()
			}
			if s.n == 0 {
				b.Fatal("nothing arrived")
			}
		})
	}
}

func BenchmarkStreamMessage(b *testing.B) {
	loop, a, s := sinkPair(b, control.LinkConfig{Delay: 10 * time.Microsecond})
	m := &note{typ: typ0, N: 1 << 40, Pad: make([]byte, 16)}
	stream, err := a.Open(bob, m, new(sink))
	if err != nil {
		b.Fatal(err)
	}
	if err := loop.Drain(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		stream.Send(m)
		loop.Step()
	}
	if s.n == 0 {
		b.Fatal("nothing arrived")
	}
}
