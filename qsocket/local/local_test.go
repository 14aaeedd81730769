package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/wire"
	"qstack/transport"
	"qstack/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is a server on the node alice of a small world.
type daemon struct {
	t     *testing.T
	loop  *event.Real
	world *transporttest.World
	srv   *Server
	path  string
	log   *safeBuffer
}

// safeBuffer is a buffer for logs.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newDaemon(t *testing.T) *daemon {
	d := &daemon{t: t, loop: event.NewReal(event.RealConfig{}), log: new(safeBuffer)}
	d.world = transporttest.New(d.loop, nil, "alice", "charlie")
	d.path = filepath.Join(t.TempDir(), "net", "alice.sock")
	var err error
	d.srv, err = Serve(Config{Path: d.path, Layer: d.world.Node("alice").Layer, Loop: d.loop, Dilation: 2,
		Log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.srv.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(d.path); err == nil {
			t.Error("the socket is left")
		}
		d.rest()
		d.loop.Close()
	})
	return d
}

// stats returns the counts of alice's layer.
func (d *daemon) stats() transport.Stats {
	c := make(chan transport.Stats)
	d.loop.Post(func() { c <- d.world.Node("alice").Layer.Stats() })
	return <-c
}

// until waits for something that other goroutines bring about, looking once a
// millisecond for at most 10 s.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// rest checks that nothing is left of any session.
func (d *daemon) rest() {
	d.t.Helper()
	until(d.t, "nothing is left", func() bool { return d.stats() == transport.Stats{} })
}

// dial opens a connection and exchanges the first messages.
func (d *daemon) dial(first ...wire.Message) (*net.UnixConn, *reader) {
	d.t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: d.path, Net: "unix"})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	var b []byte
	for _, m := range first {
		b = wire.Append(b, m)
	}
	if _, err := c.Write(b); err != nil {
		d.t.Fatal(err)
	}
	reg, err := wire.NewRegistry(transport.Messages())
	if err != nil {
		d.t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	return c, &reader{src: c, reg: reg}
}

// read returns the next message as text, or "" at the end of the connection.
func read(t *testing.T, r *reader) (wire.Message, string) {
	t.Helper()
	batch, err := r.next(nil, 1)
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		t.Fatal("no answer")
	case err != nil:
		return nil, ""
	}
	return batch[0], transporttest.Format(batch[0])
}

func want(t *testing.T, r *reader, prefix string) wire.Message {
	t.Helper()
	m, s := read(t, r)
	if !strings.HasPrefix(s, prefix) || prefix == "" && s != "" {
		t.Fatalf("got %q, want %q", s, prefix)
	}
	return m
}

// TestSession checks the life of a session with two channels, that the tokens
// guard it, and that nothing of a token is logged.
func TestSession(t *testing.T) {
	d := newDaemon(t)
	c, r := d.dial(&transport.Hello{Version: 1, Program: "test"}, &transport.Alloc{Ref: 7})
	w := want(t, r, "Welcome").(*transport.Welcome)
	if w.Session != 1 || w.Node != "alice" || w.Dilation != 2 || len(w.Token) != transport.TokenSize || w.Now <= 0 {
		t.Errorf("welcome %+v", w)
	}
	want(t, r, "Reply ref=7 value=1")

	_, ch := d.dial(&transport.Hello{Version: 1, Session: 1, Token: w.Token}, &transport.Dial{Node: "nobody", Port: 1})
	want(t, ch, "Welcome session=1 node=\"alice\"")
	want(t, ch, "Opened code=unknown")

	wrong := append(transport.Token(nil), w.Token...)
	wrong[15] ^= 1
	for _, h := range []*transport.Hello{
		{Version: 1, Session: 1, Token: wrong},
		{Version: 1, Session: 1, Token: w.Token[:15]},
		{Version: 1, Session: 1},
		{Version: 1, Session: 2, Token: w.Token},
	} {
		_, r := d.dial(h)
		want(t, r, `Welcome code=not authorised text="no such session, or not its token"`)
		want(t, r, "")
	}
	_, other := d.dial(&transport.Hello{Version: 2})
	want(t, other, "Welcome code=not supported")
	_, other = d.dial(&transport.Alloc{})
	want(t, other, `Welcome code=protocol error text="the first message must be Hello"`)

	_, second := d.dial(&transport.Hello{Version: 1, Program: "second"})
	if w2 := want(t, second, "Welcome").(*transport.Welcome); bytes.Equal(w2.Token, w.Token) {
		t.Error("two sessions have one token")
	}
	if st := d.stats(); st.Sessions != 2 || st.Qubits != 1 {
		t.Errorf("%+v", st)
	}
	c.Close()
	want(t, ch, "") // its socket goes with the session
	until(t, "the session has ended", func() bool { return d.stats() == transport.Stats{Sessions: 1} })
	_, late := d.dial(&transport.Hello{Version: 1, Session: 1, Token: w.Token})
	want(t, late, "Welcome code=not authorised")
	for _, s := range []string{string(w.Token), transporttest.Format(&transport.Data{Bytes: w.Token})} {
		if strings.Contains(d.log.String(), s) {
			t.Error("the token is in the log")
		}
	}
	for _, s := range []string{`session opened" program=test session=1`, `session ended" program=test session=1 why="closed by the program"`, "wrong session or token"} {
		if !strings.Contains(d.log.String(), s) {
			t.Errorf("the log lacks %q:\n%s", s, d.log)
		}
	}
}

// TestMalformed checks that a bad message ends its own connection: that of a
// socket leaves the session alone.
func TestMalformed(t *testing.T) {
	d := newDaemon(t)
	_, r := d.dial(&transport.Hello{Version: 1, Program: "good"})
	w := want(t, r, "Welcome").(*transport.Welcome)
	bad := map[string][]byte{
		"unknown type":       {0x2f, 0},
		"huge":               {0x40, 0x65, 0xbf, 0xff, 0xff, 0xff},
		"not a message":      {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a byte too many":    {0x40, 0x65, 2, 1, 1},
		"wrong for a socket": wire.Append(nil, &transport.Alloc{Ref: 1}),
		"a peer's":           wire.Append(nil, &transport.Match{}),
	}
	for _, b := range bad {
		c, ch := d.dial(&transport.Hello{Version: 1, Session: w.Session, Token: w.Token}, &transport.Accept{Port: 1})
		want(t, ch, "Welcome")
		want(t, ch, "Opened code=closed")
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		want(t, ch, "Closed code=protocol error")
		want(t, ch, "")
	}
	delete(bad, "wrong for a socket")
	for _, b := range bad { // and on a session's connection it ends that
		c, s := d.dial(&transport.Hello{Version: 1, Program: "bad"}, &transport.Alloc{Ref: 1})
		want(t, s, "Welcome")
		want(t, s, "Reply ref=1")
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		want(t, s, "Closed code=protocol error")
		want(t, s, "")
	}
	_, ch := d.dial(&transport.Hello{Version: 1, Session: w.Session, Token: w.Token}, &transport.Data{Bytes: []byte("x")})
	want(t, ch, "Welcome")
	want(t, ch, `Closed code=protocol error text="bad message of the program: message 0x3b before the channel is open"`)
	until(t, "only the good session is left", func() bool { return d.stats() == transport.Stats{Sessions: 1} })
}

// TestTruncated checks that a connection which ends within a message, or before
// any, is no trouble.
func TestTruncated(t *testing.T) {
	d := newDaemon(t)
	hello := wire.Append(nil, &transport.Hello{Version: 1, Program: "x"})
	for n := range hello {
		c, r := d.dial()
		if _, err := c.Write(hello[:n]); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		want(t, r, "")
	}
	c, r := d.dial(&transport.Hello{Version: 1, Program: "x"})
	want(t, r, "Welcome")
	if _, err := c.Write(wire.Append(nil, &transport.Alloc{Ref: 1})[:3]); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	want(t, r, "Closed code=protocol error")
}

// TestStuckProgram checks that a program that does not read is cut off, at a
// bounded cost.
func TestStuckProgram(t *testing.T) {
	d := newDaemon(t)
	c, r := d.dial(&transport.Hello{Version: 1, Program: "stuck"})
	want(t, r, "Welcome")
	// Each request is answered by an error of some 100 bytes.
	b := bytes.Repeat(wire.Append(nil, &transport.Unlisten{Ref: 1, Port: 9}), 1000)
	_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
	sent := 0
	for {
		n, err := c.Write(b)
		sent += n
		if err != nil {
			break
		}
	}
	if limit := 2 * maxOut; sent > limit {
		t.Errorf("cut off after %d bytes, at most %d are expected", sent, limit)
	}
	d.rest()
}

// TestDrain checks that what a program wrote before it exited is delivered, and
// its peer is told that it has gone.
func TestDrain(t *testing.T) {
	d := newDaemon(t)
	_, r := d.dial(&transport.Hello{Version: 1, Program: "exits"})
	w := want(t, r, "Welcome").(*transport.Welcome)
	heard := make(chan string, 100)
	var session *transport.Session
	done := make(chan struct{})
	d.loop.Post(func() {
		defer close(done)
		session, _ = d.world.Node("charlie").Layer.Open("peer", sink(nil))
		_ = session.Do(&transport.Listen{Ref: 1, Port: 7})
		ch, _ := session.Channel(sink(heard))
		_ = ch.Do(&transport.Accept{Port: 7})
	})
	<-done
	c2, ch := d.dial(&transport.Hello{Version: 1, Session: w.Session, Token: w.Token}, &transport.Dial{Node: "charlie", Port: 7})
	want(t, ch, "Welcome")
	want(t, ch, "Opened peer")
	if _, err := c2.Write(wire.Append(nil, &transport.Data{Bytes: []byte("last words")})); err != nil {
		t.Fatal(err)
	}
	// As the kernel does when a process dies, in the order that is worst.
	r.src.(*net.UnixConn).Close()
	c2.Close()
	for _, prefix := range []string{"Opened", `Data bytes=10:"last words"`, `Closed code=closed by peer text="socket to alice:7: the program at alice has ended"`} {
		if s := <-heard; !strings.HasPrefix(s, prefix) {
			t.Errorf("heard %q, want %q", s, prefix)
		}
	}
	d.loop.Post(session.End)
}

// sink is a transport.Sink that passes messages on as text.
type sink chan string

func (s sink) Message(m wire.Message) {
	if s != nil {
		s <- transporttest.Format(m)
	}
}

// TestClient checks the program's side: that errors say what to do, and that the
// sink hears of the end of the daemon.
func TestClient(t *testing.T) {
	d := newDaemon(t)
	ctx := context.Background()
	heard := make(sink, 10)
	_, err := Dial(ctx, d.path+"x", "test", heard)
	wantErr(t, err, qnet.ErrUnavail, "no daemon listens on "+d.path+"x; start it with qnoded")

	c, err := Dial(ctx, d.path, "test", heard)
	if err != nil {
		t.Fatal(err)
	}
	if c.Node() != "alice" || c.Real(time.Second) != 2*time.Second {
		t.Errorf("node %s, a second takes %v", c.Node(), c.Real(time.Second))
	}
	if diff := c.Now().Sub(d.loop.Now() / 1); diff > time.Second || diff < -time.Second {
		t.Errorf("clocks differ by %v", diff)
	}
	c.Do(&transport.Alloc{Ref: 1})
	if s := <-heard; !strings.HasPrefix(s, "Reply ref=1 value=1") {
		t.Errorf("heard %s", s)
	}
	ch, err := c.Channel(ctx, heard)
	if err != nil {
		t.Fatal(err)
	}
	ch.Do(&transport.Accept{Port: 1})
	if s := <-heard; !strings.HasPrefix(s, "Opened code=closed") {
		t.Errorf("heard %s", s)
	}
	ch.Close()
	if err := d.srv.Close(); err != nil {
		t.Error(err)
	}
	if s := <-heard; s != `Closed code=unavailable text="the daemon of alice has closed the connection"` {
		t.Errorf("heard %s", s)
	}
	_, err = c.Channel(ctx, heard)
	wantErr(t, err, qnet.ErrUnavail, "no daemon listens")
	c.Close()
	select {
	case s := <-heard:
		t.Errorf("heard %s after Close", s)
	default:
	}
}

// TestClientPeer checks that what listens must be a daemon that answers.
func TestClientPeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	answers := make(chan []byte, 3)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for b := range answers {
			c, err := lis.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = c.Read(make([]byte, 1000))
			if b != nil {
				_, _ = c.Write(b)
				_, _ = io.Copy(io.Discard, c)
			}
			c.Close()
		}
	}()
	defer func() { close(answers); <-served }()
	answers <- nil
	_, err = Dial(context.Background(), path, "test", sink(nil))
	wantErr(t, err, qnet.ErrUnavail, "closed the connection")
	answers <- wire.Append(nil, &transport.Open{})
	_, err = Dial(context.Background(), path, "test", sink(nil))
	wantErr(t, err, qnet.ErrProtocol, "is not a daemon")
	answers <- []byte{0} // and no more
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = Dial(ctx, path, "test", sink(nil))
	wantErr(t, err, qnet.ErrTimeout, "did not answer")
}

func wantErr(t *testing.T, err error, code qnet.Code, text string) {
	t.Helper()
	if err == nil || !errors.Is(err, code) || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v (%v)\nwant %v: ...%s...", err, qnet.CodeOf(err), code, text)
	}
}

// TestServe checks where a socket may be made.
func TestServe(t *testing.T) {
	d := newDaemon(t)
	cfg := d.srv.cfg
	_, err := Serve(cfg)
	wantErr(t, err, qnet.ErrInUse, "a daemon listens on "+d.path+" already; stop it first")

	for path, mode := range map[string]os.FileMode{filepath.Dir(d.path): 0o700 | os.ModeDir, d.path: 0o600 | os.ModeSocket} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
	cfg.Path = filepath.Join(filepath.Dir(d.path), strings.Repeat("x", 200))
	_, err = Serve(cfg)
	wantErr(t, err, qnet.ErrInvalid, "is longer than the 107 bytes")

	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg.Path = filepath.Join(open, "a.sock")
	_, err = Serve(cfg)
	wantErr(t, err, qnet.ErrAuth, "it must have mode 0700")

	free := filepath.Join(t.TempDir(), "free")
	if err := os.Mkdir(free, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(free, 0o777); err != nil {
		t.Fatal(err)
	}
	cfg.Path = filepath.Join(free, "net", "a.sock")
	_, err = Serve(cfg)
	wantErr(t, err, qnet.ErrAuth, "other users can change the folder")

	file := filepath.Join(filepath.Dir(d.path), "file.sock")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Path = file
	_, err = Serve(cfg)
	wantErr(t, err, qnet.ErrInUse, "is in the way of the socket; remove it")

	// A socket that a killed daemon has left is replaced.
	old := filepath.Join(filepath.Dir(d.path), "old.sock")
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: old, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	lis.SetUnlinkOnClose(false)
	lis.Close()
	cfg.Path = old
	s, err := Serve(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestUsers checks who may connect.
func TestUsers(t *testing.T) {
	for _, uid := range []int{0, 1000} {
		if err := checkUser(uid, 1000); err != nil {
			t.Error(err)
		}
	}
	wantErr(t, checkUser(1001, 1000), qnet.ErrAuth, "the other process is of user 1001; only user 1000 and root may use this socket")
	wantErr(t, checkUser(1001, 0), qnet.ErrAuth, "user 1001")
}

// TestFind checks where a program looks for the socket of its node.
func TestFind(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", base)
	t.Setenv("QNET_NETWORK", "")
	touch := func(network, node string) string {
		path := Path(network, node)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wantErr(t, second(Find("", "alice")), qnet.ErrUnknown, "no daemon of alice: there is no socket of that name below "+base+"/qnet")
	one := touch("one", "alice")
	if one != filepath.Join(base, "qnet", "one", "alice.sock") {
		t.Errorf("path %s", one)
	}
	if p, err := Find("", "alice"); p != one || err != nil {
		t.Errorf("found %s, %v", p, err)
	}
	two := touch("two", "alice")
	wantErr(t, second(Find("", "alice")), qnet.ErrInvalid, "networks one, two have a node alice; choose one with QNET_NETWORK")
	if p, err := Find("two", "alice"); p != two || err != nil {
		t.Errorf("found %s, %v", p, err)
	}
	t.Setenv("QNET_NETWORK", "one")
	if p, err := Find("", "alice"); p != one || err != nil {
		t.Errorf("found %s, %v", p, err)
	}
	wantErr(t, second(Find("", "bob")), qnet.ErrUnknown, "no daemon of bob in network one")
	for _, name := range []string{"", "../alice", "a/b", ".", ".."} {
		wantErr(t, second(Find("", name)), qnet.ErrInvalid, "is not the name of a node")
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", base)
	if d := Dir(); filepath.Dir(d) != base || !strings.HasPrefix(filepath.Base(d), "qnet-") {
		t.Errorf("folder %s", d)
	}
}

func second[T any](_ T, err error) error { return err }

// FuzzReader checks that any bytes, in pieces of any size, give the messages of
// the bytes as a whole, or an error, and that no more is held than one message
// and one read.
func FuzzReader(f *testing.F) {
	reg, err := wire.NewRegistry(transport.Messages())
	if err != nil {
		f.Fatal(err)
	}
	var all []byte
	for _, m := range []wire.Message{&transport.Hello{Version: 1, Program: "x"}, &transport.Alloc{Ref: 1}, &transport.Data{Bytes: make([]byte, 300)}, &transport.Closed{}} {
		all = wire.Append(all, m)
	}
	f.Add(all, uint8(1))
	f.Add(all, uint8(7))
	f.Add(all[:len(all)-1], uint8(100))
	f.Add([]byte{0x2f, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		run := func(src io.Reader, limit int) (out []string, end error) {
			r := &reader{src: src, reg: reg}
			for {
				batch, err := r.next(nil, limit)
				if err != nil {
					return out, err
				}
				if len(batch) == 0 || len(batch) > limit {
					t.Fatalf("batch of %d with limit %d", len(batch), limit)
				}
				for _, m := range batch {
					out = append(out, transporttest.Format(m))
				}
				if cap(r.buf) > 4*(wire.MaxMessage+readSize) {
					t.Fatalf("holds %d bytes", cap(r.buf))
				}
			}
		}
		whole, end := run(bytes.NewReader(b), 1000)
		pieces, end2 := run(&pieceReader{b, int(size) + 1}, 1+int(size)%5)
		if strings.Join(whole, "\n") != strings.Join(pieces, "\n") || (end == io.EOF) != (end2 == io.EOF) {
			t.Errorf("as a whole: %q, %v\nin pieces: %q, %v", whole, end, pieces, end2)
		}
		if end != io.EOF && qnet.CodeOf(end) != qnet.ErrProtocol {
			t.Errorf("ended by %v", end)
		}
	})
}

// pieceReader gives at most n bytes at a time.
type pieceReader struct {
	b []byte
	n int
}

func (r *pieceReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	k := copy(p[:min(len(p), r.n)], r.b)
	r.b = r.b[k:]
	return k, nil
}
