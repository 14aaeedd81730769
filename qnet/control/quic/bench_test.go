package quic

import (
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/wire"
)

// end is one side of a benchmark: it calls a function for each message.
type end struct {
	*Endpoint
	loop     *event.Real
	up       chan struct{}
	datagram func(from qnet.NodeID, b []byte)
	message  func(s control.Stream, b []byte)
	stream   control.Stream
}

func (e *end) PeerUp(qnet.NodeID) { e.up <- struct{}{} }

func (e *end) PeerDown(qnet.NodeID, error) {}

func (e *end) Datagram(from qnet.NodeID, b []byte) { e.datagram(from, b) }

func (e *end) Accept(s control.Stream, first []byte) control.StreamHandler {
	e.stream = s
	e.message(s, first)
	return e
}

func (e *end) Message(s control.Stream, b []byte) { e.message(s, b) }

func (e *end) Closed(control.Stream, error) {}

func ends(b *testing.B) (x, y *end) {
	ca := newAuthority(b)
	var es [2]*end
	for i, name := range []string{"alice", "bob"} {
		loop := event.NewReal(event.RealConfig{})
		ep, err := New(Config{Credential: issue(b, ca, name), Loop: loop, Dead: 10 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		es[i] = &end{Endpoint: ep, loop: loop, up: make(chan struct{}, 10)}
		ep.Handle(service0, es[i])
		b.Cleanup(func() { ep.Close(); loop.Close() })
	}
	x, y = es[0], es[1]
	for _, p := range [][2]*end{{x, y}, {y, x}} {
		if err := p[0].SetPeer(Peer{Name: p[1].Identity().Name, Addr: p[1].Addr().String(), Neighbour: true}); err != nil {
			b.Fatal(err)
		}
	}
	x.Start()
	y.Start()
	<-x.up
	<-y.up
	return x, y
}

// BenchmarkDatagramRoundTrip sends one small datagram there and back.
func BenchmarkDatagramRoundTrip(b *testing.B) {
	x, y := ends(b)
	back := make(chan struct{}, 1)
	m := &message{N: 1 << 32}
	y.datagram = func(from qnet.NodeID, _ []byte) { y.Datagram2(from, m) }
	x.datagram = func(qnet.NodeID, []byte) { back <- struct{}{} }
	b.ReportAllocs()
	for b.Loop() {
		x.loop.Post(func() { x.Datagram2(y.ID(), m) })
		select {
		case <-back:
		case <-time.After(time.Second): // lost
		}
	}
}

// Datagram2 sends a datagram; Datagram is that of control.Handler.
func (e *end) Datagram2(to qnet.NodeID, m wire.Message) { _ = e.Endpoint.Datagram(to, m) }

// BenchmarkDatagramFlood keeps 256 small messages under way, one way, each turn
// of the loop sending 16; it reports how many arrive.
func BenchmarkDatagramFlood(b *testing.B) {
	x, y := ends(b)
	const burst = 16
	room := make(chan struct{}, 16) // bursts under way
	got := 0
	m := &message{N: 1 << 32, Pad: make([]byte, 20)}
	last := &message{N: 1, Pad: make([]byte, 20)}
	y.datagram = func(_ qnet.NodeID, p []byte) {
		got++
		var in message
		if wire.Parse(p, &in) == nil && in.N == 1 {
			select {
			case <-room:
			default:
			}
		}
	}
	n := 0
	start := time.Now()
	for b.Loop() {
		if n%burst == 0 {
			select {
			case room <- struct{}{}:
			case <-time.After(100 * time.Millisecond): // lost
			}
			x.loop.Post(func() {
				for range burst - 1 {
					x.Datagram2(y.ID(), m)
				}
				x.Datagram2(y.ID(), last)
			})
		}
		n++
	}
	wall := time.Since(start).Seconds()
	done := make(chan int)
	y.loop.Post(func() { done <- got })
	b.ReportMetric(float64(<-done)/wall, "msgs/s")
	st := x.Stats()
	b.ReportMetric(float64(st.MessagesSent)/float64(st.DatagramsSent), "msgs/datagram")
}

// BenchmarkStreamRoundTrip sends one small message there and back on a stream.
func BenchmarkStreamRoundTrip(b *testing.B) {
	x, y := ends(b)
	back := make(chan struct{}, 1)
	m := &message{N: 1 << 32}
	y.message = func(s control.Stream, _ []byte) { s.Send(m) }
	x.message = func(control.Stream, []byte) { back <- struct{}{} }
	var s control.Stream
	x.loop.Post(func() { s, _ = x.Open(y.ID(), m, x) })
	<-back
	b.ReportAllocs()
	for b.Loop() {
		x.loop.Post(func() { s.Send(m) })
		<-back
	}
}

// BenchmarkStreamFlood sends messages of 1 KiB one way, at most 1 MiB under way.
func BenchmarkStreamFlood(b *testing.B) {
	benchmarkFlood(b, 1<<10)
}

// BenchmarkStreamFloodSmall sends messages of 40 bytes one way.
func BenchmarkStreamFloodSmall(b *testing.B) {
	benchmarkFlood(b, 32)
}

func benchmarkFlood(b *testing.B, size int) {
	x, y := ends(b)
	m := &message{N: 1 << 32, Pad: make([]byte, size)}
	const window = 1024
	room := make(chan struct{}, window)
	y.message = func(control.Stream, []byte) {
		select {
		case <-room:
		default:
		}
	}
	opened := make(chan control.Stream)
	x.loop.Post(func() {
		s, _ := x.Open(y.ID(), m, x)
		opened <- s
	})
	s := <-opened
	b.SetBytes(int64(len(wire.Append(nil, m))))
	b.ReportAllocs()
	for b.Loop() {
		room <- struct{}{}
		x.loop.Post(func() { s.Send(m) })
	}
}

// BenchmarkStreamOpen opens a stream, sends a message there and back, and closes.
func BenchmarkStreamOpen(b *testing.B) {
	x, y := ends(b)
	back := make(chan struct{}, 1)
	m := &message{N: 1 << 32}
	y.message = func(s control.Stream, _ []byte) { s.Send(m) }
	x.message = func(s control.Stream, _ []byte) {
		s.Close(qnet.OK)
		back <- struct{}{}
	}
	b.ReportAllocs()
	for b.Loop() {
		x.loop.Post(func() { _, _ = x.Open(y.ID(), m, x) })
		<-back
	}
}
