package quic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/pki"
	"qstack/qnet/qnettest"
	"qstack/qnet/wire"
)

// The names that the tests use are in this order of ids; of two neighbours the
// first dials.
func TestNamesInOrder(t *testing.T) {
	if names := []string{"alice", "dave", "charlie", "bob"}; !slices.IsSortedFunc(names, func(a, b string) int {
		if idOf(a) < idOf(b) {
			return -1
		}
		return 1
	}) {
		t.Error("ids are not in the order that the tests assume")
	}
}

var wantErr = qnettest.WantErr

// Alice and charlie are neighbours of bob and reach each other on demand.
func TestThreeNodes(t *testing.T) {
	ca := newAuthority(t)
	conf := Config{Idle: 600 * time.Millisecond, Hello: 50 * time.Millisecond}
	a, b, c := newNode(t, ca, "alice", conf), newNode(t, ca, "bob", conf), newNode(t, ca, "charlie", conf)
	link(t, a, b, 0)
	link(t, b, c, 0)
	for _, p := range [][2]*node{{a, c}, {c, a}} {
		if err := p[0].SetPeer(Peer{Name: p[1].name, Addr: p[1].Addr().String()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []*node{a, b, c} {
		n.Start()
	}
	b.waitUp(a, 1)
	b.waitUp(c, 1)
	a.do(func() {
		if a.Up(c.ID()) {
			t.Error("alice is connected to charlie, whom she does not need yet")
		}
	})

	// Twice, so that the second time there is a dropped connection behind it.
	for round := 1; round <= 2; round++ {
		s := a.open(c.ID(), &message{N: 1})
		c.wait("the stream", func() bool { return len(c.accepted) == round })
		a.waitUp(c, round)
		c.waitUp(a, round)
		c.do(func() { c.accepted[round-1].stream.Send(&message{N: 2}) })
		a.wait("the answer", func() bool { return len(s.msgs) == 1 })
		a.do(func() { s.stream.Close(qnet.OK) })
		c.wait("the end", func() bool { return c.accepted[round-1].closed == 1 })
		// Nothing uses the connection any more: it goes, and that is no loss.
		for _, n := range []struct{ self, peer *node }{{a, c}, {c, a}} {
			deadline := time.Now().Add(limit)
			for up := true; up; {
				n.self.do(func() { up = n.self.Up(n.peer.ID()) })
				if time.Now().After(deadline) {
					t.Fatalf("%s still holds the connection to %s", n.self.name, n.peer.name)
				}
			}
		}
	}
	for _, n := range []*node{a, b, c} {
		n.note(func() {
			if len(n.downs) > 0 {
				t.Errorf("%s heard that %v went down: %v", n.name, n.downs, n.errs)
			}
		})
	}
	b.do(func() {
		if !b.Up(a.ID()) || !b.Up(c.ID()) {
			t.Error("a neighbour was dropped as idle")
		}
	})
}

// A datagram to a peer that is not connected makes the connection.
func TestDatagramOnDemand(t *testing.T) {
	ca := newAuthority(t)
	a, b := newNode(t, ca, "alice", Config{}), newNode(t, ca, "bob", Config{AcceptNodes: true})
	if err := a.SetPeer(Peer{Name: "bob", Addr: b.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	a.Start()
	b.Start()
	a.send(b.ID(), &message{N: 7})
	a.send(b.ID(), &message{N: 8})
	b.wait("two datagrams", func() bool { return len(b.datagrams) == 2 })
	// Bob did not know alice, but can answer as long as she is there.
	b.send(a.ID(), &message{N: 9})
	a.wait("the answer", func() bool { return len(a.datagrams) == 1 })
	a.Close()
	b.waitDown(a, 1)
	b.do(func() {
		err := b.Endpoint.Datagram(a.ID(), &message{})
		wantErr(t, err, qnet.ErrUnknown, a.ID().String())
	})
}

// Both dial at the same instant: both get through, whichever connections there
// are then.
func TestBothDial(t *testing.T) {
	ca := newAuthority(t)
	a, b := newNode(t, ca, "alice", Config{}), newNode(t, ca, "bob", Config{})
	for _, p := range [][2]*node{{a, b}, {b, a}} {
		if err := p[0].SetPeer(Peer{Name: p[1].name, Addr: p[1].Addr().String()}); err != nil {
			t.Fatal(err)
		}
		p[0].Start()
	}
	var rs [2]*recorder
	var wg sync.WaitGroup
	for i, p := range [][2]*node{{a, b}, {b, a}} {
		wg.Go(func() { rs[i] = p[0].open(p[1].ID(), &message{N: 0}) })
	}
	wg.Wait()
	for i, p := range [][2]*node{{a, b}, {b, a}} {
		p[0].do(func() { rs[i].stream.Send(&message{N: 1}) })
		p[1].wait("two messages", func() bool { return len(p[1].accepted) == 1 && len(p[1].accepted[0].msgs) == 2 })
		p[1].note(func() {
			if len(p[1].ups) != 1 || len(p[1].downs) != 0 {
				t.Errorf("%s: PeerUp %d times, PeerDown %d times", p[1].name, len(p[1].ups), len(p[1].downs))
			}
		})
	}
}

// A dead peer is noticed within 1.5 s, on a neighbour's connection and on one on
// demand; streams to it close first, once, with an error that names it.
func TestKill(t *testing.T) {
	for _, victim := range []string{"alice", "bob"} { // who dialled, who was dialled
		for _, neighbour := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/neighbour=%v", victim, neighbour), func(t *testing.T) {
				t.Parallel()
				ca, conf := newAuthority(t), Config{Dead: time.Second} // the default
				a, b := newNode(t, ca, "alice", conf), newNode(t, ca, "bob", conf)
				if neighbour {
					link(t, a, b, 0)
				} else if err := errors.Join(a.SetPeer(Peer{Name: "bob", Addr: b.Addr().String()}), b.SetPeer(Peer{Name: "alice"})); err != nil {
					t.Fatal(err)
				}
				a.Start()
				b.Start()
				r := a.open(b.ID(), &message{})
				b.wait("the stream", func() bool { return len(b.accepted) == 1 })
				dead, left := a, b
				if victim == "bob" {
					dead, left = b, a
				} else {
					r = b.accepted[0]
				}
				began := time.Now()
				dead.kill()
				err := left.waitDown(dead, 1)
				took := time.Since(began)
				wantErr(t, err, qnet.ErrUnavail, victim+" is not answering (no hello for 1s)")
				if took > 1500*time.Millisecond {
					t.Errorf("it took %v to notice", took)
				}
				left.note(func() {
					if r.closed != 1 {
						t.Errorf("Closed was called %d times", r.closed)
					}
					wantErr(t, r.err, qnet.ErrUnavail, victim)
					if n := len(left.events); left.events[n-2] != "closed" || !strings.HasPrefix(left.events[n-1], "down") {
						t.Errorf("order of events: %v", left.events)
					}
				})
				left.do(func() {
					if left.Up(dead.ID()) {
						t.Error("a dead peer is up")
					}
				})
			})
		}
	}
}

func TestNextHello(t *testing.T) {
	const interval = 250 * time.Millisecond
	start := time.Unix(1_800_000_000, 0) // a multiple of the interval
	for i := range 2000 {
		now := start.Add(time.Duration(i) * 997 * time.Microsecond)
		d := nextHello(now, interval)
		if d < interval/8 || d > interval*9/8 || now.Add(d).Sub(start)%interval != 0 {
			t.Fatalf("after %v: next hello after %v", now.Sub(start), d)
		}
	}
}

func TestPatience(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name            string
		now, heard, due time.Duration
		want            time.Duration
	}{
		{"heard of meanwhile", 1000 * ms, 900 * ms, 1000 * ms, 900 * ms},
		{"silent", 1000 * ms, 0, 1000 * ms, 0},
		{"silent, timer a little late", 1100 * ms, 0, 1000 * ms, -100 * ms},
		{"asleep for 5 s", 6000 * ms, 900 * ms, 1000 * ms, 250 * ms},
		{"silent after having been asleep", 6250 * ms, 900 * ms, 6250 * ms, -4350 * ms},
	} {
		if got := patience(tc.now, tc.heard, tc.due, 1000*ms, 250*ms); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// A peer that closes in good order is down at once, however long the silence
// that means death.
func TestCloseIsSeen(t *testing.T) {
	a, b := pair(t, Config{Dead: time.Hour}, 0)
	r := a.open(b.ID(), &message{})
	b.Close()
	wantErr(t, a.waitDown(b, 1), qnet.ErrUnavail, "bob closed the connection: shutting down")
	a.note(func() { wantErr(t, r.err, qnet.ErrUnavail, "bob") })
}

// A peer that restarts at the same address is noticed long before the silence
// that means death: by a stateless reset when it was dialled, by its new
// incarnation when it dials. Then traffic goes on.
func TestRestart(t *testing.T) {
	for _, victim := range []string{"alice", "bob"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, Config{Dead: time.Minute}, 0)
			dead, left := b, a
			if victim == "alice" {
				dead, left = a, b
			}
			r := left.open(dead.ID(), &message{})
			dead.wait("the stream", func() bool { return len(dead.accepted) == 1 })
			conf := dead.conf
			conf.Listen, conf.Peers = dead.Addr().String(), nil
			dead.kill()
			again := newNode(t, nil, victim, conf)
			if err := again.SetPeer(Peer{Name: left.name, Addr: left.Addr().String(), Neighbour: true}); err != nil {
				t.Fatal(err)
			}
			again.Start()
			wantErr(t, left.waitDown(again, 1), qnet.ErrRestarted, victim+" restarted")
			left.waitUp(again, 2)
			again.waitUp(left, 1)
			left.note(func() {
				if r.closed != 1 {
					t.Errorf("Closed was called %d times", r.closed)
				}
				wantErr(t, r.err, qnet.ErrRestarted, victim)
			})
			left.open(again.ID(), &message{N: 4})
			again.wait("a new stream", func() bool { return len(again.accepted) == 1 && again.accepted[0].msgs[0] == 4 })
			left.send(again.ID(), &message{N: 5})
			again.wait("a datagram", func() bool { return len(again.datagrams) == 1 })
		})
	}
}

// A neighbour that comes late is found; one that goes and comes back too, also
// when others hold streams meanwhile.
func TestReconnect(t *testing.T) {
	ca := newAuthority(t)
	b := newNode(t, ca, "bob", Config{})
	addr := b.Addr().String()
	a := newNode(t, ca, "alice", Config{DialTimeout: 200 * time.Millisecond, Peers: []Peer{{Name: "bob", Addr: addr, Neighbour: true}}})
	b.Close() // the address is free, and nobody is there
	a.Start()
	r := a.open(idOf("bob"), &message{})
	a.wait("the stream to fail", func() bool { return r.closed == 1 })
	wantErr(t, r.err, qnet.ErrUnavail, "bob")
	for round := 1; round <= 2; round++ {
		b = newNode(t, ca, "bob", Config{Listen: addr, Peers: []Peer{{Name: "alice", Neighbour: true}}})
		b.Start()
		a.waitUp(b, round)
		b.waitUp(a, 1)
		r := a.open(b.ID(), &message{})
		b.wait("a stream", func() bool { return len(b.accepted) == 1 })
		b.Close()
		wantErr(t, a.waitDown(b, round), qnet.ErrUnavail, "bob")
		a.note(func() { wantErr(t, r.err, qnet.ErrUnavail, "bob") })
	}
}

// Nobody is there: a stream closes with an error that says so, once, and so does
// one to a neighbour that has not come.
func TestNobodyThere(t *testing.T) {
	ca := newAuthority(t)
	socket, err := net.ListenPacket("udp", "127.0.0.1:0") // a port with nobody behind it
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	addr := socket.LocalAddr().String()
	a := newNode(t, ca, "alice", Config{DialTimeout: 300 * time.Millisecond, Peers: []Peer{
		{Name: "dave", Addr: addr},
		{Name: "bob", Addr: addr, Neighbour: true},
		{Name: "charlie", Neighbour: true},
	}})
	a.Start()
	for _, tc := range []struct{ name, want string }{
		{"dave", "dave is not answering (at " + addr + ")"},
		{"bob", "bob"},
		{"charlie", "there is no connection with charlie"},
	} {
		r := a.open(idOf(tc.name), &message{})
		closing := &recorder{n: a} // hears nothing
		a.do(func() {
			s, err := a.Open(idOf(tc.name), &message{}, closing)
			if err != nil {
				t.Fatal(err)
			}
			s.Close(qnet.OK)
		})
		a.wait("the stream to "+tc.name+" to fail", func() bool { return r.closed > 0 })
		a.note(func() {
			if !strings.Contains(r.err.Error(), tc.want) || r.closed != 1 || closing.closed != 0 {
				t.Errorf("%s: closed %d and %d times, error %v", tc.name, r.closed, closing.closed, r.err)
			}
		})
	}
	if log := a.log.String(); strings.Count(log, "bob is not answering") < 1 {
		t.Errorf("the log does not say that bob is not there:\n%s", log)
	}
	a.do(func() {
		if len(a.peers[idOf("dave")].streams) != 0 || a.peers[idOf("dave")].dialling {
			t.Error("something is left of the attempt")
		}
	})
}

// A certificate of another authority is refused, and both logs say so.
func TestOtherAuthority(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	a, b := newNode(t, ca, "alice", Config{DialTimeout: 300 * time.Millisecond}), newNode(t, other, "bob", Config{})
	link(t, a, b, 0)
	a.Start()
	b.Start()
	r := a.open(b.ID(), &message{})
	a.wait("the stream to fail", func() bool { return r.closed == 1 })
	wantErr(t, r.err, qnet.ErrAuth, `certificate of "bob": it was signed by another authority`)
	waitLog(t, a, `it was signed by another authority`)
	waitLog(t, b, "refused the certificate of bob")
	waitLog(t, b, "bad certificate")
	for _, n := range []*node{a, b} {
		n.note(func() {
			if len(n.ups) > 0 {
				t.Errorf("%s counts the other as up", n.name)
			}
		})
	}
}

// knock starts both nodes and checks that b, which is a peer of a, refuses it.
func knock(t *testing.T, a, b *node, parts ...string) {
	t.Helper()
	if err := a.SetPeer(Peer{Name: "bob", Addr: b.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	a.Start()
	b.Start()
	r := a.open(b.ID(), &message{})
	a.wait("the stream to fail", func() bool { return r.closed == 1 })
	wantErr(t, r.err, qnet.ErrAuth, append(parts, "bob")...)
}

// A node of the realm that is not a peer is refused, and both logs say so.
func TestStranger(t *testing.T) {
	ca := newAuthority(t)
	a, b := newNode(t, ca, "alice", Config{}), newNode(t, ca, "bob", Config{})
	knock(t, a, b, "refused the certificate of alice")
	waitLog(t, a, "refused the certificate of alice")
	waitLog(t, b, "node alice ("+a.ID().String()+") is not a peer of bob")
	b.note(func() {
		if len(b.accepted)+len(b.ups) > 0 {
			t.Error("bob dealt with a stranger")
		}
	})
}

// AcceptNodes lets nodes in, and nobody of another role.
func TestRoles(t *testing.T) {
	ca := newAuthority(t)
	cred, err := ca.Issue("alice", pki.RoleClient)
	if err != nil {
		t.Fatal(err)
	}
	a, b := newNode(t, ca, "alice", Config{Credential: cred}), newNode(t, ca, "bob", Config{AcceptNodes: true})
	knock(t, a, b)
}

// Whoever knocks often does not fill the log.
func TestRefusalsInLog(t *testing.T) {
	a := newNode(t, newAuthority(t), "alice", Config{})
	for range 5 * rejectsLogged {
		a.refused(a.Addr(), errors.New("no"))
	}
	if n := strings.Count(a.log.String(), "connection refused"); n < rejectsLogged || n > 2*rejectsLogged {
		t.Errorf("%d lines in the log, want about %d a second", n, rejectsLogged)
	}
}

// waitLog waits until the log of a node has the text. Logs have no event to wait
// for, so it asks again and again.
func waitLog(t *testing.T, n *node, text string) {
	t.Helper()
	for deadline := time.Now().Add(limit); !strings.Contains(n.log.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log of %s does not say %q:\n%s", n.name, text, n.log)
		}
	}
}

// rawDial connects without an endpoint and says hello once.
func rawDial(t *testing.T, cred *pki.Credential, to *node) *quicgo.Conn {
	t.Helper()
	q := rawConnect(t, cred, to)
	sayHello(t, q, 0)
	return q
}

func sayHello(t *testing.T, q *quicgo.Conn, sequence uint64) {
	t.Helper()
	if err := q.SendDatagram(pad(wire.Append(nil, &Hello{Incarnation: 1, Sequence: sequence}))); err != nil {
		t.Error(err)
	}
}

// rawConnect connects without an endpoint.
func rawConnect(t *testing.T, cred *pki.Credential, to *node) *quicgo.Conn {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := &quicgo.Transport{Conn: socket}
	t.Cleanup(func() { tr.Close(); socket.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	q, err := tr.Dial(ctx, to.Addr(), cred.ClientTLS(ALPN, to.ID()), &quicgo.Config{EnableDatagrams: true})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// Malformed input closes the connection that it came on, with the protocol
// error and a word in the log, and no other.
func TestMalformed(t *testing.T) {
	ca := newAuthority(t)
	a, b := newNode(t, ca, "charlie", Config{}), newNode(t, ca, "bob", Config{AcceptNodes: true})
	link(t, a, b, 0)
	a.Start()
	b.Start()
	a.waitUp(b, 1)
	steady := a.open(b.ID(), &message{N: 0})
	b.wait("the steady stream", func() bool { return len(b.accepted) == 1 })

	good := wire.Append(nil, &message{N: 1})
	hello := wire.Append(nil, &Hello{Incarnation: 1})
	end := wire.Append(nil, &End{Code: qnet.ErrBusy})
	for i, tc := range []struct {
		name     string
		datagram bool
		b        []byte
		first    bool // good is delivered first
	}{
		{"datagram: integer too long", true, []byte{0x40, 0x01, 0x00}, false},
		{"datagram: truncated", true, good[:len(good)-1], false},
		{"datagram: garbage after a message", true, append(slices.Clone(good), 0xff), false},
		{"datagram: hello cut short", true, []byte{0x40, 0x40, 0x01, 0x01}, false},
		{"datagram: end of a stream", true, end, false},
		{"stream: type out of range", false, []byte{0x80, 0x01, 0x00, 0x00, 0x00}, false},
		{"stream: too long", false, wire.AppendUvarint([]byte{0x30}, wire.MaxMessage+1), false},
		{"stream: truncated at its end", false, good[:len(good)-1], false},
		{"stream: hello", false, append(slices.Clone(good), hello...), false},
		{"stream: message after the end", false, slices.Concat(good, end, good), true},
		{"stream: end with code 0", false, append(slices.Clone(good), 0x40, 0x44, 0x01, 0x00), true},
		{"stream: stamp cut short", false, append(slices.Clone(good), 0x40, 0x43, 0x00), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name := fmt.Sprintf("mallory%d", i)
			q := rawDial(t, issue(t, ca, name), b)
			b.wait(name+" to be up", func() bool { return count(b.ups, idOf(name)) == 1 })
			var before int
			b.note(func() { before = len(b.accepted) })
			if tc.datagram {
				if err := q.SendDatagram(tc.b); err != nil {
					t.Fatal(err)
				}
			} else {
				s, err := q.OpenStream()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Write(tc.b); err != nil {
					t.Fatal(err)
				}
				s.Close()
			}
			select {
			case <-q.Context().Done():
			case <-time.After(limit):
				t.Fatal("the connection is still there")
			}
			var app *quicgo.ApplicationError
			if err := context.Cause(q.Context()); !errors.As(err, &app) || !app.Remote || app.ErrorCode != quicgo.ApplicationErrorCode(qnet.ErrProtocol) || app.ErrorMessage == "" {
				t.Errorf("the connection was closed with %v", err)
			}
			b.wait(name+" to be down", func() bool { return count(b.downs, idOf(name)) == 1 })
			b.note(func() {
				wantErr(t, b.errs[len(b.errs)-1], qnet.ErrProtocol, name, "malformed")
				if tc.first {
					if len(b.accepted) != before+1 || b.accepted[before].closed != 1 {
						t.Fatal("the good message before was not delivered, or the stream not closed")
					}
					wantErr(t, b.accepted[before].err, qnet.ErrProtocol, name)
				}
			})
			if !strings.Contains(b.log.String(), "malformed input\" self=bob peer="+name) {
				t.Error("the log says nothing")
			}
		})
	}

	a.do(func() { steady.stream.Send(&message{N: 1}) })
	b.wait("the steady stream", func() bool { return len(b.accepted[0].msgs) == 2 })
	a.note(func() {
		if len(a.downs) > 0 || steady.closed > 0 {
			t.Error("another connection was affected")
		}
	})
}

// Many streams in both directions and datagrams in between: every stream's
// messages arrive once and in order.
func TestOrderUnderLoad(t *testing.T) {
	a, b := pair(t, Config{}, 0)
	const streams, msgs = 8, 2000
	send := func(n *node, rs []*recorder, peer qnet.NodeID) {
		for i := range uint64(msgs) {
			n.do(func() {
				for k, r := range rs {
					r.stream.Send(&message{N: i + 1, Pad: make([]byte, (int(i)*31+k*97)%200)})
				}
				if i%10 == 0 {
					if err := n.Endpoint.Datagram(peer, &message{N: i}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		n.do(func() {
			for _, r := range rs {
				r.stream.Close(qnet.OK)
			}
		})
	}
	var wg sync.WaitGroup
	for _, p := range [][2]*node{{a, b}, {b, a}} {
		var rs []*recorder
		for range streams {
			rs = append(rs, p[0].open(p[1].ID(), &message{N: 0}))
		}
		wg.Go(func() { send(p[0], rs, p[1].ID()) })
	}
	wg.Wait()
	for _, n := range []*node{a, b} {
		n.wait("the end of all streams", func() bool {
			if len(n.accepted) != streams {
				return false
			}
			for _, r := range n.accepted {
				if r.closed == 0 {
					return false
				}
			}
			return true
		})
		for _, r := range n.accepted {
			if r.err != nil || r.closed != 1 || len(r.msgs) != msgs+1 {
				t.Fatalf("%s: a stream got %d messages, want %d; closed %d times with %v", n.name, len(r.msgs), msgs+1, r.closed, r.err)
			}
			for i, got := range r.msgs {
				if got != uint64(i) {
					t.Fatalf("%s: message %d is number %d", n.name, i, got)
				}
			}
		}
	}
}

// A peer whose loop does not read loses the stream, not its life: hellos are
// answered all the while. What waits for its loop is bounded.
func TestSlowReader(t *testing.T) {
	a, b := pair(t, Config{Dead: time.Second}, 0)
	r := a.open(b.ID(), &message{N: 0})
	other := a.open(b.ID(), &message{N: 0})
	b.wait("both streams", func() bool { return len(b.accepted) == 2 })
	release := make(chan struct{})
	b.loop.Post(func() { <-release })
	chunk := make([]byte, 64<<10)
	sent := 0
	for n := uint64(1); ; n++ {
		a.do(func() { r.stream.Send(&message{N: n, Pad: chunk}) })
		sent += len(chunk)
		closed := false
		a.do(func() { a.note(func() { closed = r.closed > 0 }) })
		if closed {
			break
		}
		if sent > 2*(control.MaxUnsent+streamWindow) {
			t.Fatalf("%d bytes were taken for a peer that does not read", sent)
		}
	}
	if sent < control.MaxUnsent {
		t.Errorf("the stream was lost after %d bytes", sent)
	}
	a.note(func() { wantErr(t, r.err, qnet.ErrBusy, "bob does not read") })
	if n := b.loop.Backlog(); n > 100 {
		t.Errorf("%d functions wait for the loop of the peer", n)
	}
	// Longer than it takes to be given up for dead.
	select {
	case <-time.After(1300 * time.Millisecond):
	case <-t.Context().Done():
	}
	close(release)
	b.wait("the end of the stream", func() bool { return b.accepted[0].closed+b.accepted[1].closed == 1 })
	b.note(func() {
		for _, got := range b.accepted {
			if got.closed == 0 {
				continue
			}
			wantErr(t, got.err, qnet.ErrBusy, "alice gave the stream up")
			for i, n := range got.msgs {
				if n != uint64(i) {
					t.Fatalf("message %d is number %d", i, n)
				}
			}
		}
	})
	a.do(func() { other.stream.Send(&message{N: 1}) })
	b.wait("the other stream", func() bool { return len(b.accepted[0].msgs)+len(b.accepted[1].msgs) > 2 })
	a.note(func() {
		if len(a.downs) > 0 {
			t.Errorf("a busy peer was given up for dead: %v", a.errs)
		}
	})
}

// The number of streams that a peer may open is bounded; one too many closes
// with an error and the others go on.
func TestStreamLimit(t *testing.T) {
	a, b := pair(t, Config{}, 0)
	rs := make([]*recorder, maxStreams+1)
	a.do(func() {
		for i := range rs {
			rs[i] = &recorder{n: a}
			rs[i].stream, _ = a.Open(b.ID(), &message{N: uint64(i)}, rs[i])
		}
	})
	last := rs[maxStreams]
	a.wait("the last stream to fail", func() bool { return last.closed == 1 })
	wantErr(t, last.err, qnet.ErrBusy, "bob", "takes no more")
	b.wait("all others", func() bool { return len(b.accepted) == maxStreams })
	a.do(func() { rs[0].stream.Close(qnet.OK) })
	b.wait("the first to end", func() bool {
		return slices.ContainsFunc(b.accepted, func(r *recorder) bool { return r.closed == 1 })
	})
	a.note(func() {
		for i, r := range rs[:maxStreams] {
			if r.closed != 0 {
				t.Fatalf("stream %d closed: %v", i, r.err)
			}
		}
	})
}

// Messages are held until their stamp plus the fibre's delay, by the clock of
// the network, however the clocks of the loops differ; streams keep their order.
func TestFibreDelay(t *testing.T) {
	const delay = 30 * time.Millisecond
	ca := newAuthority(t)
	base := time.Now()
	network := func() qnet.Time { return qnet.Time(time.Since(base)) + qnet.Time(time.Hour) }
	var offsets [2]time.Duration // between network and each loop, measured below
	a := newNode(t, ca, "alice", Config{Offset: func() time.Duration { return offsets[0] }})
	b := newNode(t, ca, "bob", Config{Offset: func() time.Duration { return offsets[1] }})
	a.do(func() { offsets[0] = network().Sub(a.loop.Now()) })
	b.do(func() { offsets[1] = network().Sub(b.loop.Now()) })
	link(t, a, b, delay)
	a.Start()
	b.Start()
	a.waitUp(b, 1)
	b.waitUp(a, 1)

	const total = 50
	var sent [total]qnet.Time
	r := a.open(b.ID(), &message{N: 0, Pad: make([]byte, 20_000)})
	for i := range uint64(total) {
		a.do(func() {
			sent[i] = network()
			r.stream.Send(&message{N: i + 1})
			if err := a.Endpoint.Datagram(b.ID(), &message{N: i}); err != nil {
				t.Error(err)
			}
		})
	}
	a.do(func() { r.stream.Close(qnet.ErrTimeout) })
	b.wait("the end of the stream", func() bool { return len(b.accepted) == 1 && b.accepted[0].closed == 1 })
	b.wait("a datagram", func() bool { return len(b.datagrams) > 0 })
	b.note(func() {
		got := b.accepted[0]
		if len(got.msgs) != total+1 {
			t.Fatalf("%d messages, want %d", len(got.msgs), total+1)
		}
		wantErr(t, got.err, qnet.ErrTimeout, "alice")
		for i := range total {
			if got.msgs[i] != uint64(i) {
				t.Fatalf("message %d is number %d", i, got.msgs[i])
			}
			// Offsets are as exact as the instant of an event tells the present.
			if took := got.at[i+1].Add(offsets[1]).Sub(sent[i]); took < delay-5*time.Millisecond {
				t.Errorf("message %d took %v, less than the fibre's %v", i+1, took, delay)
			}
		}
	})
}

// A stamp of a clock that is wrong does not hold a message for longer than the
// delay: the peer's clock is an hour ahead.
func TestWrongStamp(t *testing.T) {
	const delay = 20 * time.Millisecond
	ca := newAuthority(t)
	a := newNode(t, ca, "alice", Config{Offset: func() time.Duration { return time.Hour }})
	b := newNode(t, ca, "bob", Config{})
	link(t, a, b, delay)
	a.Start()
	b.Start()
	a.waitUp(b, 1)
	b.waitUp(a, 1)
	a.open(b.ID(), &message{})
	b.open(a.ID(), &message{})
	a.wait("the stream", func() bool { return len(a.accepted) == 1 })
	b.wait("the stream", func() bool { return len(b.accepted) == 1 })
}

// Close ends everything, any number of times, in any order with the loop's
// Close, on the loop as well.
func TestCloseAnyhow(t *testing.T) {
	t.Run("never started", func(t *testing.T) {
		n := newNode(t, newAuthority(t), "alice", Config{})
		n.Close()
		n.Close()
	})
	t.Run("on the loop", func(t *testing.T) {
		a, b := pair(t, Config{}, 0)
		a.open(b.ID(), &message{})
		a.do(func() { a.Close() })
		b.waitDown(a, 1)
	})
	t.Run("after the loop", func(t *testing.T) {
		a, b := pair(t, Config{}, 0)
		r := b.open(a.ID(), &message{})
		a.wait("the stream", func() bool { return len(a.accepted) == 1 })
		a.loop.Close()
		b.do(func() { // more than the loop would take
			for range 100 {
				r.stream.Send(&message{Pad: make([]byte, 10_000)})
			}
		})
		a.Close()
		b.waitDown(a, 1)
	})
	t.Run("at once", func(t *testing.T) {
		a, _ := pair(t, Config{}, 0)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { a.Close() })
		}
		wg.Wait()
		a.do(func() {
			if err := a.Endpoint.Datagram(idOf("bob"), &message{}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Datagram after Close: %v", err)
			}
			_, err := a.Open(idOf("bob"), &message{}, nil)
			wantErr(t, err, qnet.ErrClosed, "alice")
		})
	})
	t.Run("while dialling", func(t *testing.T) {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		a := newNode(t, newAuthority(t), "alice", Config{Peers: []Peer{{Name: "bob", Addr: socket.LocalAddr().String(), Neighbour: true}}})
		a.Start()
		a.open(idOf("bob"), &message{})
		a.Close()
	})
}

func TestNewErrors(t *testing.T) {
	cred := issue(t, newAuthority(t), "alice")
	loop := event.NewReal(event.RealConfig{})
	defer loop.Close()
	for _, tc := range []struct {
		conf Config
		want string
	}{
		{Config{Loop: loop}, "credential"},
		{Config{Credential: cred}, "loop"},
		{Config{Credential: cred, Loop: event.NewVirtual()}, "real time"},
		{Config{Credential: cred, Loop: loop, Dead: -1}, "negative time"},
		{Config{Credential: cred, Loop: loop, Peers: []Peer{{}}}, "neither name nor id"},
		{Config{Credential: cred, Loop: loop, Peers: []Peer{{Name: "alice"}}}, "its own peer"},
		{Config{Credential: cred, Loop: loop, Peers: []Peer{{Name: "bob", Delay: -1}}}, "negative delay"},
		{Config{Credential: cred, Loop: loop, Peers: []Peer{{Name: "bob", Addr: "nowhere"}}}, "peer bob: address nowhere: missing port"},
		{Config{Credential: cred, Loop: loop, Peers: []Peer{{Name: "bob", Addr: "127.0.0.1:quic"}}}, "peer bob: address 127.0.0.1:quic: want a port from 1 to 65535"},
		{Config{Credential: cred, Loop: loop, Peers: []Peer{{Name: "bob", Addr: "127.0.0.1:0"}}}, "peer bob: address 127.0.0.1:0: want a port from 1 to 65535"},
	} {
		_, err := New(tc.conf)
		wantErr(t, err, qnet.ErrInvalid, tc.want)
	}
	if _, err := New(Config{Credential: cred, Loop: loop, Listen: "nowhere"}); err == nil {
		t.Error("a bad address was accepted")
	}
}
