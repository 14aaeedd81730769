package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"qstack/node"
	"qstack/node/daemon"
	"qstack/qnet"
	"qstack/qnet/control/quic"
	"qstack/qnet/pki"
	"qstack/qnet/wire"
	"qstack/qsocket"
	"qstack/scenarios"
	"qstack/transport"
)

// keepMeasuring takes pairs at both ends of a new socket until the returned
// function is called, which checks that nothing has disturbed them and that
// pairs came to the last.
func (n *testNetwork) keepMeasuring(from, to string) (check func()) {
	n.t.Helper()
	ctx := testContext(n.t)
	head, tail, err := pair(ctx, n.open(from), n.open(to), 7)
	if err != nil {
		n.t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := errors.Join(measure(ctx, head, tail, 5)); err != nil {
				done <- err
				return
			}
		}
	}()
	n.t.Cleanup(func() {
		select {
		case <-stop:
		default:
			close(stop)
		}
	})
	return func() {
		n.t.Helper()
		before := n.status(from).Pairs
		eventually(n.t, "pairs still come", func() bool { return n.status(from).Pairs >= before+20 || len(done) > 0 })
		close(stop)
		if err := <-done; err != nil {
			n.t.Errorf("the traffic was disturbed: %v", err)
		}
	}
}

// garbage is what no message begins with: a length beyond all bounds, noise, and
// half a header.
var garbage = map[string][]byte{
	"endless message": append(wire.AppendUvarint(wire.AppendUvarint(nil, uint64((*transport.Hello)(nil).Type())), wire.MaxUvarint), 1, 2, 3),
	"noise":           bytes.Repeat([]byte("\xde\xad\xbe\xef garbage "), 1000),
	"half a header":   {0x7f},
}

// nonsense are messages in good form that nobody understands: of a type that
// there is not, without the body that their type wants, and in the wrong place.
var nonsense = map[string][]byte{
	"unknown type": {0x7f, 0xff, 0x00},
	"no body":      wire.AppendUvarint(wire.AppendUvarint(nil, uint64((*transport.Connect)(nil).Type())), 0),
	"wrong place":  wire.Append(nil, &transport.Correction{}),
}

// What makes no sense on the socket for programs ends that connection, and
// nothing else.
func TestGarbageFromProgram(t *testing.T) {
	n := ions3(t)
	n.start()
	check := n.keepMeasuring("alice", "charlie")
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("unix", daemon.ProgramPath(n.runtime(), "alice"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	hello := wire.Append(nil, &transport.Hello{Version: transport.Version, Program: "garbage"})
	sessions := n.status("alice").Sessions
	junks := maps.Clone(garbage)
	maps.Copy(junks, nonsense)
	for name, junk := range junks {
		c := dial()
		if _, err := c.Write(junk); err != nil && !isClosed(err) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "half a header" { // the rest may yet come, but not for ever
			c.(*net.UnixConn).CloseWrite()
		}
		if _, err := io.ReadAll(c); err != nil && !isClosed(err) {
			t.Errorf("%s: %v, but the daemon should have closed the connection", name, err)
		}

		// The same after a good beginning, which gives the program a session.
		c = dial()
		if _, err := c.Write(append(bytes.Clone(hello), junk...)); err != nil && !isClosed(err) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "half a header" {
			c.(*net.UnixConn).CloseWrite()
		}
		if _, err := io.ReadAll(c); err != nil && !isClosed(err) {
			t.Errorf("%s after hello: %v, but the daemon should have closed the connection", name, err)
		}
	}
	eventually(t, "the sessions are gone", func() bool { return n.status("alice").Sessions == sessions })
	check()
	n.stop()
}

// isClosed reports whether err is what the other side's closing of a connection
// looks like.
func isClosed(err error) bool {
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

// square is ions3 with a fourth node that is linked to alice.
func square(t *testing.T) *testNetwork {
	t.Helper()
	source, err := scenarios.Files.ReadFile("ions3.toml")
	if err != nil {
		t.Fatal(err)
	}
	return newNetwork(t, append(source, `
[[nodes]]
name = "dave"
hardware = "ion"

[[links]]
nodes = ["alice", "dave"]
length = "2 m"
heralding = "oxford"
`...))
}

// What makes no sense from a neighbour with a good certificate ends its
// connection, and nothing else; the log says what it was.
func TestGarbageFromNeighbour(t *testing.T) {
	n := square(t)
	n.start(node.FabricName, "alice", "bob", "charlie")
	check := n.keepMeasuring("alice", "charlie")
	cred, err := n.ca.Issue("dave", pki.RoleNode)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	udp := &quicgo.Transport{Conn: socket}
	defer udp.Close()
	ctx := testContext(t)
	up := func() bool {
		for _, p := range n.status("alice").Peers {
			if p.Name == "dave" {
				return p.Up
			}
		}
		return false
	}
	dial := func() *quicgo.Conn {
		t.Helper()
		addr, err := net.ResolveUDPAddr("udp", n.configs["alice"].Addresses["alice"])
		if err != nil {
			t.Fatal(err)
		}
		c, err := udp.Dial(ctx, addr, cred.ClientTLS(quic.ALPN, qnet.NewNodeID(n.scenario.Realm, "alice")), &quicgo.Config{EnableDatagrams: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.CloseWithError(0, "") })
		if err := c.SendDatagram(wire.Append(nil, &quic.Hello{Incarnation: 7})); err != nil {
			t.Fatal(err)
		}
		eventually(t, "alice takes it for dave", up)
		return c
	}
	closed := func(name string, c *quicgo.Conn) {
		t.Helper()
		select {
		case <-c.Context().Done():
		case <-time.After(patience):
			t.Fatalf("%s: the connection is not closed", name)
		}
		var app *quicgo.ApplicationError
		if err := context.Cause(c.Context()); !errors.As(err, &app) || !app.Remote || qnet.Code(app.ErrorCode) != qnet.ErrProtocol {
			t.Errorf("%s: the connection was closed with %v", name, err)
		}
		eventually(t, "alice has lost dave", func() bool { return !up() })
		n.waitLog("alice", `msg="malformed input" self=alice peer=dave`)
	}
	send := func(c *quicgo.Conn, junk []byte) *quicgo.Stream {
		t.Helper()
		s, err := c.OpenStreamSync(ctx)
		if err == nil {
			_, err = s.Write(junk)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		return s
	}
	for name, junk := range garbage {
		c := dial()
		send(c, junk)
		closed(name, c)
	}
	// A message in good form ends no more than its stream.
	c := dial()
	for name, junk := range nonsense {
		answer, err := io.ReadAll(send(c, junk))
		var end quic.End
		if err != nil || wire.Parse(answer, &end) != nil || end.Code != qnet.ErrProtocol {
			t.Errorf("%s: the answer is %x, %v, and not the code %v", name, answer, err, qnet.ErrProtocol)
		}
	}
	if err := c.Context().Err(); err != nil || !up() {
		t.Errorf("a message that nobody understands ended the connection: %v", context.Cause(c.Context()))
	}
	c = dial()
	if err := c.SendDatagram([]byte{0xff}); err != nil {
		t.Fatal(err)
	}
	closed("half a message in a datagram", c)

	if _, err := n.open("alice").Dial(ctx, "dave:7", qsocket.Contract{}); err == nil {
		t.Error("a socket to nobody was opened")
	}
	check()
	n.waitNoQubits()
	n.stop()
}
