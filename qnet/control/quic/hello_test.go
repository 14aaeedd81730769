package quic

import (
	"net"
	"slices"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"qstack/qnet"
	"qstack/qnet/wire"
)

// Hellos are lost, come twice and overtake each other: a peer is up once, with the
// first that comes, and stays up. What came before that hello is delivered after
// it, and once.
func TestHelloFaults(t *testing.T) {
	const every, ticks = 50 * time.Millisecond, 40
	ca := newAuthority(t)
	b := newNode(t, ca, "bob", Config{AcceptNodes: true, Dead: time.Second, Hello: every})
	b.Start()
	peers := []struct {
		name   string
		hellos func(i uint64) []uint64 // at tick i
		q      *quicgo.Conn
	}{
		{name: "two-in-three-lost", hellos: func(i uint64) []uint64 { return []uint64{i}[:i%3/2] }},
		{name: "eight-in-ten-lost", hellos: func(i uint64) []uint64 { return []uint64{i}[:i%10/8] }},
		{name: "twice", hellos: func(i uint64) []uint64 { return []uint64{i, i} }},
		{name: "swapped", hellos: func(i uint64) []uint64 { return []uint64{i ^ 1} }},
		{name: "backwards", hellos: func(i uint64) []uint64 { return []uint64{i ^ 7} }},
		{name: "the-first-again", hellos: func(i uint64) []uint64 { return []uint64{i, 0} }},
	}
	send := func(first uint64) {
		for i := range peers {
			if err := peers[i].q.SendDatagram(pad(wire.Append(nil, &message{N: first + uint64(i)}))); err != nil {
				t.Errorf("%s: %v", peers[i].name, err)
			}
		}
	}
	for i := range peers {
		peers[i].q = rawConnect(t, issue(t, ca, peers[i].name), b)
	}
	send(0)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range uint64(ticks) {
		for _, p := range peers {
			for _, n := range p.hellos(i) {
				sayHello(t, p.q, n)
			}
		}
		<-tick.C
	}
	send(100)
	b.wait("all messages", func() bool { return len(b.datagrams) >= 2*len(peers) })
	b.note(func() {
		var got, want []uint64
		for _, x := range b.datagrams {
			var m message
			if err := wire.Parse(x, &m); err != nil {
				t.Fatal(err)
			}
			got = append(got, m.N)
		}
		for i, p := range peers {
			if n := count(b.ups, idOf(p.name)); n != 1 {
				t.Errorf("%s was up %d times", p.name, n)
			}
			want = append(want, uint64(i), 100+uint64(i))
		}
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("messages %v, want %v", got, want)
		}
		if len(b.downs) > 0 {
			t.Errorf("down: %v", b.errs)
		}
	})
}

// A neighbour whose hellos are all lost is dialled again and again: it is not up
// before the first comes, down when no more come, and up when they come again.
func TestHelloLost(t *testing.T) {
	const every = 50 * time.Millisecond
	ca := newAuthority(t)
	a := newNode(t, ca, "alice", Config{Dead: 6 * every, Hello: every})
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := &quicgo.Transport{Conn: socket}
	t.Cleanup(func() { tr.Close(); socket.Close() })
	l, err := tr.Listen(issue(t, ca, "bob").ServerTLS(ALPN, nil), &quicgo.Config{EnableDatagrams: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.SetPeer(Peer{Name: "bob", Addr: socket.LocalAddr().String(), Neighbour: true}); err != nil {
		t.Fatal(err)
	}
	a.Start()
	bob := idOf("bob")
	accept := func() *quicgo.Conn {
		t.Helper()
		q, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	accept() // and not a word
	q := accept()
	a.note(func() {
		if len(a.ups)+len(a.downs) > 0 {
			t.Errorf("%v without a hello", a.events)
		}
	})
	sayHello(t, q, 3) // those before are lost, too
	a.wait("bob to be up", func() bool { return count(a.ups, bob) == 1 })
	a.wait("bob to be down", func() bool { return count(a.downs, bob) == 1 })
	a.note(func() { wantErr(t, a.errs[0], qnet.ErrUnavail, "bob is not answering (no hello for 300ms)") })
	sayHello(t, accept(), 0)
	a.wait("bob to be up again", func() bool { return count(a.ups, bob) == 2 })
}
