package qsocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"

	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qsocket"
	"qstack/qsocket/local"
	"qstack/transport"
	"qstack/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// env is a network of perfect pairs, in one of the three ways in which programs
// reach one.
type env struct {
	t     testing.TB
	loop  event.Loop
	world *transporttest.World
	open  func(name string) (*qsocket.Node, error)
	wg    sync.WaitGroup
	stop  []func()
}

const (
	virtual = "virtual" // in process, virtual time
	inReal  = "real"    // in process, real time
	daemon  = "local"   // real time, over unix sockets
)

// newEnv makes a network of alice, bob and charlie.
func newEnv(t testing.TB, kind string) *env {
	e := &env{t: t}
	switch kind {
	case virtual:
		v := event.NewVirtual()
		e.loop = v
		e.stop = append(e.stop, func() { v.Close() })
	default:
		r := event.NewReal(event.RealConfig{})
		e.loop = r
		e.stop = append(e.stop, func() { r.Close() })
	}
	names := []string{"alice", "bob", "charlie"}
	e.world = transporttest.New(e.loop, nil, names...)
	if kind == virtual {
		e.world.Delay = time.Millisecond
	}
	e.open = func(name string) (*qsocket.Node, error) {
		return qsocket.Attach(context.Background(), e.loop, e.world.Node(name).Layer, "test")
	}
	if kind == daemon {
		dir := t.TempDir()
		os.Chmod(dir, 0o700)
		for _, name := range names {
			s, err := local.Serve(local.Config{Path: filepath.Join(dir, "net", name+".sock"), Layer: e.world.Node(name).Layer, Loop: e.loop})
			if err != nil {
				t.Fatal(err)
			}
			e.stop = append(e.stop, func() { s.Close() })
		}
		e.open = func(name string) (*qsocket.Node, error) {
			return qsocket.Open(context.Background(), name, qsocket.Options{Path: filepath.Join(dir, "net", name+".sock")})
		}
	}
	return e
}

// node opens a session.
func (e *env) node(name string) *qsocket.Node {
	n, err := e.open(name)
	if err != nil {
		panic(err)
	}
	return n
}

// Go starts a program.
func (e *env) Go(f func()) {
	e.wg.Add(1)
	e.loop.Go("test", func() {
		defer e.wg.Done()
		f()
	})
}

// wait lets the programs run to their end.
func (e *env) wait() {
	if v, ok := e.loop.(*event.Virtual); ok {
		if err := v.Run(); err != nil {
			e.t.Error(err)
		}
	}
	e.wg.Wait()
}

// close ends the network and checks that nothing is left.
func (e *env) close() {
	e.t.Helper()
	e.rest()
	slices.Reverse(e.stop)
	for _, f := range e.stop {
		f()
	}
}

// rest checks that nothing is left once all programs have gone.
func (e *env) rest() {
	e.t.Helper()
	var left string
	check := func() {
		q, c, s := e.world.Held()
		left = ""
		if q+c+s > 0 {
			left = fmt.Sprintf("%d qubits, %d circuits and %d streams", q, c, s)
		}
		for _, n := range []string{"alice", "bob", "charlie"} {
			if st := e.world.Node(n).Layer.Stats(); st != (transport.Stats{}) {
				left += fmt.Sprintf(", at %s %+v", n, st)
			}
		}
	}
	if v, ok := e.loop.(*event.Virtual); ok {
		if err := v.RunFor(time.Minute); err != nil {
			e.t.Error(err)
		}
		check()
	} else {
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
			done := make(chan struct{})
			e.loop.Post(func() { check(); close(done) })
			if <-done; left == "" {
				break
			}
			time.Sleep(time.Millisecond) // between looks; other goroutines have to finish
		}
	}
	if left != "" {
		e.t.Errorf("left over: %s", left)
	}
}

// each runs a test in the three ways.
func each(t *testing.T, f func(t *testing.T, e *env)) {
	for _, kind := range []string{virtual, inReal, daemon} {
		t.Run(kind, func(t *testing.T) {
			e := newEnv(t, kind)
			f(t, e)
			e.wait()
			e.close()
		})
	}
}

// pair opens a socket from alice to charlie and runs the two programs on its
// ends. Their sessions are closed when they return.
func (e *env) pair(head, tail func(n *qsocket.Node, c *qsocket.Conn)) {
	ctx := context.Background()
	ready := e.loop.NewWaiter()
	e.Go(func() {
		n := e.node("charlie")
		defer n.Close()
		l := must(n.Listen(ctx, ":7"))
		ready.Wake()
		c := must(l.Accept(ctx))
		defer c.Close()
		tail(n, c)
	})
	e.Go(func() {
		if err := ready.Wait(ctx); err != nil {
			panic(err)
		}
		n := e.node("alice")
		defer n.Close()
		c := must(n.Dial(ctx, "charlie:7", qsocket.Contract{MinFidelity: 0.8}))
		defer c.Close()
		head(n, c)
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// TestKeep checks that both ends get the same pairs and that the bits of their
// halves agree in Z, and in X after H.
func TestKeep(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		type result struct {
			name qsocket.PairName
			bit  uint8
		}
		const n = 10
		var got [2][]result
		side := func(i int) func(*qsocket.Node, *qsocket.Conn) {
			return func(node *qsocket.Node, c *qsocket.Conn) {
				ctx := context.Background()
				for k := range n {
					pairs := must(c.Keep(ctx, 2))
					for _, p := range pairs {
						if p.Label != qnet.PhiPlus || p.Fidelity != 1 || p.Name.Circuit != c.Circuit() || p.Age() < 0 {
							t.Errorf("pair %+v", p)
						}
						if k%2 == 0 {
							p.Qubit.H()
						}
						got[i] = append(got[i], result{p.Name, must(p.Qubit.Measure(ctx, qsocket.Z))})
					}
				}
			}
		}
		e.pair(side(0), side(1))
		e.wait()
		if len(got[0]) != 2*n || !slices.Equal(got[0], got[1]) {
			t.Errorf("the ends differ:\n%v\n%v", got[0], got[1])
		}
	})
}

// TestMeasure checks a request of several batches: the results of both ends,
// joined by name, agree where the bases do, disagree in Y, and are random
// otherwise.
func TestMeasure(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		const n = 5000
		var got [2]*qsocket.Outcomes
		bases := qsocket.RandomBasis(qsocket.X, qsocket.Y, qsocket.Z)
		side := func(i int) func(*qsocket.Node, *qsocket.Conn) {
			return func(_ *qsocket.Node, c *qsocket.Conn) { got[i] = must(c.Measure(context.Background(), n, bases)) }
		}
		e.pair(side(0), side(1))
		e.wait()
		a, b := got[0], got[1]
		if a.Len() != n || b.Len() != n {
			t.Fatalf("%d and %d results", a.Len(), b.Len())
		}
		other := make(map[qsocket.PairName]int)
		for i := range b.Len() {
			other[b.Name(i)] = i
		}
		same, agree, random := 0, 0, 0
		for i := range a.Len() {
			j, ok := other[a.Name(i)]
			if !ok || a.Label[i] != qnet.PhiPlus || b.Label[j] != qnet.PhiPlus {
				t.Fatalf("pair %d: no other end, or label %v", i, a.Label[i])
			}
			if a.Basis[i] != b.Basis[j] {
				random++
				if a.Bit[i] == b.Bit[j] {
					agree++
				}
				continue
			}
			same++
			if (a.Bit[i] != b.Bit[j]) != (a.Basis[i] == 1) {
				t.Fatalf("pair %d in basis %d: bits %d and %d", i, a.Basis[i], a.Bit[i], b.Bit[j])
			}
		}
		// Binomial, 5.5 standard errors: a false alarm in less than 1e-7 of the runs.
		if d := math.Abs(float64(same) - n/3.); d > 5.5*math.Sqrt(n*2/9.) {
			t.Errorf("the bases agree %d times of %d", same, n)
		}
		if d := math.Abs(float64(agree) - float64(random)/2); d > 5.5*math.Sqrt(float64(random)/4) {
			t.Errorf("bits in different bases agree %d times of %d", agree, random)
		}
	})
}

// TestMixed checks that one end may keep what the other measures.
func TestMixed(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		var bit [2]uint8
		e.pair(func(_ *qsocket.Node, c *qsocket.Conn) {
			bit[0] = must(c.Measure(context.Background(), 1, qsocket.FixedBasis(qsocket.X))).Bit[0]
		}, func(_ *qsocket.Node, c *qsocket.Conn) {
			p := must(c.Keep(context.Background(), 1))[0]
			bit[1] = must(p.Qubit.Measure(context.Background(), qsocket.X))
		})
		e.wait()
		if bit[0] != bit[1] {
			t.Errorf("bits %v", bit)
		}
	})
}

// group lets several programs be waited for, in virtual time too.
type group struct {
	e    *env
	mu   sync.Mutex
	left int
	w    event.Waiter
}

func (e *env) group() *group { return &group{e: e, w: e.loop.NewWaiter()} }

func (g *group) Go(f func()) {
	g.mu.Lock()
	g.left++
	g.mu.Unlock()
	g.e.Go(func() {
		f()
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.left--; g.left == 0 {
			g.w.Wake()
		}
	})
}

func (g *group) Wait() {
	for {
		g.mu.Lock()
		left := g.left
		g.mu.Unlock()
		if left == 0 {
			return
		}
		check(g.w.Wait(context.Background()))
	}
}

// TestTeleport sends states over the Bloch sphere and turns them back at the
// other end: every bit must be 0. Going the other way it sends many at a time.
func TestTeleport(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		const n = 40
		ctx := context.Background()
		angles := func(i int) (theta, phi float64) { return math.Pi * float64(i) / n, 2 * math.Pi * float64(i*7%n) / n }
		e.pair(func(node *qsocket.Node, c *qsocket.Conn) {
			for i := range n {
				q := must(node.Qubit(ctx))
				theta, phi := angles(i)
				q.RY(theta)
				q.RZ(phi)
				check(c.SendQubit(ctx, q))
				if err := c.SendQubit(ctx, q); !errors.Is(err, qnet.ErrBadQubit) {
					t.Errorf("sent twice: %v", err)
				}
			}
			g := e.group()
			for range n {
				g.Go(func() {
					if bit := must(must(c.ReceiveQubit(ctx)).Measure(ctx, qsocket.Z)); bit != 1 {
						t.Error("|1> became |0>")
					}
				})
			}
			g.Wait()
		}, func(node *qsocket.Node, c *qsocket.Conn) {
			for i := range n {
				q := must(c.ReceiveQubit(ctx))
				theta, phi := angles(i)
				q.RZ(-phi)
				q.RY(-theta)
				if bit := must(q.Measure(ctx, qsocket.Z)); bit != 0 {
					t.Errorf("state %d was not the one that was sent", i)
				}
			}
			g := e.group()
			for range n {
				g.Go(func() {
					q := must(node.Qubit(ctx))
					q.X()
					check(c.SendQubit(ctx, q))
				})
			}
			g.Wait()
		})
	})
}

// TestSwapByHand joins pairs of two sockets by gates between their qubits: bob
// makes alice and charlie share a pair.
func TestSwapByHand(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		ctx := context.Background()
		var bits [2]uint8
		ready := e.loop.NewWaiter()
		for i, name := range []string{"alice", "charlie"} {
			e.Go(func() {
				n := e.node(name)
				defer n.Close()
				l := must(n.Listen(ctx, name+":9"))
				ready.Wake()
				c := must(l.Accept(ctx))
				p := must(c.Keep(ctx, 1))[0]
				correction := make([]byte, 2)
				must(io.ReadFull(c, correction))
				if correction[0] == 1 {
					p.Qubit.X()
				}
				if correction[1] == 1 {
					p.Qubit.Z()
				}
				bits[i] = must(p.Qubit.Measure(ctx, qsocket.X))
			})
		}
		e.Go(func() {
			n := e.node("bob")
			defer n.Close()
			var conns [2]*qsocket.Conn
			var halves [2]*qsocket.Qubit
			for i, name := range []string{"alice", "charlie"} {
				for {
					c, err := n.Dial(ctx, name+":9", qsocket.Contract{})
					if errors.Is(err, qnet.ErrNoListener) {
						check(ready.Wait(ctx))
						continue
					}
					check(err)
					conns[i] = c
					break
				}
				halves[i] = must(conns[i].Keep(ctx, 1))[0].Qubit
			}
			halves[0].CNOT(halves[1])
			halves[0].H()
			z := must(halves[0].Measure(ctx, qsocket.Z))
			x := must(halves[1].Measure(ctx, qsocket.Z))
			must(conns[0].Write([]byte{0, 0}))
			must(conns[1].Write([]byte{x, z}))
			for _, c := range conns {
				c.Read(make([]byte, 1)) // until it has closed
			}
		})
		e.wait()
		if bits[0] != bits[1] {
			t.Errorf("bits %v", bits)
		}
	})
}

// wantErr checks an error: its code and its text.
func wantErr(t *testing.T, err error, code qnet.Code, text string) {
	t.Helper()
	if !errors.Is(err, code) || err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v (%v)\nwant %v: ...%s...", err, qnet.CodeOf(err), code, text)
	}
}

// TestErrors checks the errors that a program can get, with their texts.
func TestErrors(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		ctx := context.Background()
		e.world.MaxFidelity = 0.875
		e.world.Node("alice").Device.Storage = 2
		e.Go(func() {
			n := e.node("alice")
			defer n.Close()
			dial := func(addr string, c qsocket.Contract) error {
				_, err := n.Dial(ctx, addr, c)
				return err
			}
			any := qsocket.Contract{}
			wantErr(t, dial("charlie", any), qnet.ErrInvalid, `address "charlie": want a node and a port`)
			wantErr(t, dial("charlie:70000", any), qnet.ErrInvalid, "the port must be a number from 0 to 65535")
			wantErr(t, dial("dave:7", any), qnet.ErrUnknown, `no node of the network is called "dave"; check the name`)
			wantErr(t, dial("alice:7", any), qnet.ErrInvalid, "that is this node")
			wantErr(t, dial("charlie:8", any), qnet.ErrNoListener, "no program listens on charlie:8; start one there, or check the port")
			wantErr(t, dial("charlie:8", qsocket.Contract{MinFidelity: 2}), qnet.ErrInvalid, "minimum fidelity 2 is not between 0 and 1")

			m := e.node("charlie")
			defer m.Close()
			l := must(m.Listen(ctx, ":7"))
			_, err := m.Listen(ctx, ":7")
			wantErr(t, err, qnet.ErrInUse, "port 7 of charlie is taken by program")
			_, err = m.Listen(ctx, "alice:7")
			wantErr(t, err, qnet.ErrInvalid, "this node is charlie")
			if l.Addr().String() != "charlie:7" || l.Addr().Network() != "qnet" {
				t.Errorf("address %v", l.Addr())
			}
			wantErr(t, dial("charlie:7", qsocket.Contract{MinFidelity: 0.9}), qnet.ErrFidelity, "a fidelity of 0.875 at best, 0.900 was asked")
			wantErr(t, dial("charlie:7", qsocket.Contract{MinRate: 5000}), qnet.ErrUnsupported, "gives about 1e+03 pairs/s, 5e+03 were asked")

			q := must(n.Qubit(ctx))
			r := must(n.Qubit(ctx))
			_, err = n.Qubit(ctx)
			wantErr(t, err, qnet.ErrNoMemory, "all 2 storage qubits of alice are in use; free one")
			q.CNOT(q)
			wantErr(t, q.Flush(ctx), qnet.ErrInvalid, "CNOT needs two qubits, but both are qubit 1")
			q.Free()
			q.X()
			wantErr(t, q.Flush(ctx), qnet.ErrBadQubit, "qubit 1 of alice is gone: it was freed")
			_, err = q.Measure(ctx, qsocket.Z)
			wantErr(t, err, qnet.ErrBadQubit, "qubit 1 of alice is gone: it was freed")
			r.CNOT(q)
			_, err = r.Measure(ctx, qsocket.Z)
			wantErr(t, err, qnet.ErrBadQubit, "qubit 1 of alice is gone: it was freed")
			r.Free()
			r = must(n.Qubit(ctx))
			_, err = r.Measure(ctx, qsocket.Basis{Theta: math.Inf(1)})
			wantErr(t, err, qnet.ErrInvalid, "the angles of the basis must be finite")
			r.Free()

			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			_, err = l.Accept(ctx)
			wantErr(t, err, qnet.ErrClosed, "does not listen on port 7 of charlie")
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%v is not net.ErrClosed", err)
			}
		})
	})
}

// TestTimeouts checks deadlines of requests: what they say, that both ends hear,
// and that the socket works afterwards.
func TestTimeouts(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.world.Manual = true
		short := 20 * time.Millisecond
		e.pair(func(n *qsocket.Node, c *qsocket.Conn) {
			ctx, cancel := n.WithTimeout(context.Background(), short)
			defer cancel()
			_, err := c.Keep(ctx, 1)
			wantErr(t, err, qnet.ErrTimeout, "keep of 1 pair with charlie timed out: charlie has not asked for pairs")
			var ne net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%v is not a time-out to the standard library", err)
			}
			_, err = c.Keep(ctx, 1) // ctx is done already
			wantErr(t, err, qnet.ErrTimeout, "timed out after 20ms")

			ctx, stop := context.WithCancelCause(context.Background())
			stop(errors.New("no longer wanted"))
			_, err = c.ReceiveQubit(ctx)
			wantErr(t, err, qnet.ErrCancelled, "no longer wanted")

			must(c.Write([]byte("a")))
			ctx, cancel2 := n.WithTimeout(context.Background(), 4*short)
			defer cancel2()
			o, err := c.Measure(ctx, 3, qsocket.FixedBasis(qsocket.Z))
			wantErr(t, err, qnet.ErrTimeout, "matched, waiting for entanglement, 0 of 3 pairs so far")
			if o.Len() != 0 {
				t.Errorf("%d outcomes", o.Len())
			}

			q := must(n.Qubit(context.Background()))
			ctx, cancel3 := n.WithTimeout(context.Background(), short)
			defer cancel3()
			wantErr(t, c.SendQubit(ctx, q), qnet.ErrTimeout, "charlie does not wait for a qubit")
			q.X() // it is still ours
			if bit := must(q.Measure(context.Background(), qsocket.Z)); bit != 1 {
				t.Errorf("bit %d of a qubit that was not sent", bit)
			}
			_, err = n.Dial(ctx, "charlie:7", qsocket.Contract{}) // ctx is done
			wantErr(t, err, qnet.ErrTimeout, "timed out after 20ms")
		}, func(n *qsocket.Node, c *qsocket.Conn) {
			must(io.ReadFull(c, make([]byte, 1)))
			_, err := c.Measure(context.Background(), 3, qsocket.FixedBasis(qsocket.Z))
			wantErr(t, err, qnet.ErrCancelled, "alice withdrew: measurement of 3 pairs with charlie timed out")
			_, err = c.Measure(context.Background(), 3, qsocket.Bases{})
			wantErr(t, err, qnet.ErrInvalid, "there are 0 bases to measure in, from 1 to 16 are possible")
			_, err = c.Keep(context.Background(), -1)
			wantErr(t, err, qnet.ErrInvalid, "the number of pairs must be from 1 to 1024")
			c.Read(make([]byte, 1)) // until the other end closes
		})
	})
}

// TestEnds checks what the other side of a socket sees when one closes it, ends
// its session, or loses its node.
func TestEnds(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		ctx := context.Background()
		ready, heard := e.loop.NewWaiter(), e.loop.NewWaiter()
		e.Go(func() {
			n := e.node("charlie")
			defer n.Close()
			l := must(n.Listen(ctx, ":7"))
			ready.Wake()
			for range 3 {
				c := must(l.Accept(ctx))
				if c.Peer() != "alice" || c.Hops() != 1 || c.LocalAddr().String() != "charlie:7" || c.RemoteAddr().String() != "alice:7" {
					t.Errorf("socket %v %v %d", c.LocalAddr(), c.RemoteAddr(), c.Hops())
				}
				must(c.Write([]byte("go")))
				word := make([]byte, 5)
				must(io.ReadFull(c, word))
				if string(word) == "break" {
					heard.Wake()
				}
				_, err := c.Keep(ctx, 1)
				_, readErr := io.ReadAll(c)
				switch string(word) {
				case "close":
					wantErr(t, err, qnet.ErrPeerClosed, "alice closed the socket")
					if readErr != nil {
						t.Error(readErr)
					}
					_, err = c.Write([]byte("x"))
					wantErr(t, err, qnet.ErrPeerClosed, "alice closed the socket")
				case "leave":
					wantErr(t, err, qnet.ErrPeerClosed, "the program at alice has ended")
					wantErr(t, readErr, qnet.ErrPeerClosed, "the program at alice has ended")
				case "break":
					wantErr(t, err, qnet.ErrUnavail, "alice is down")
					wantErr(t, readErr, qnet.ErrUnavail, "alice is down")
				default:
					t.Errorf("read %q, %v", word, readErr)
				}
				check(c.Close())
				check(c.Close())
				_, err = c.Keep(ctx, 1)
				wantErr(t, err, qnet.ErrClosed, "the socket was closed")
				_, err = c.Write([]byte("x"))
				wantErr(t, err, qnet.ErrClosed, "the socket was closed")
				if _, err = c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("read after close: %v", err)
				}
			}
		})
		e.Go(func() {
			check(ready.Wait(ctx))
			n := e.node("alice")
			dial := func() *qsocket.Conn {
				c := must(n.Dial(ctx, "charlie:7", qsocket.Contract{}))
				must(io.ReadFull(c, make([]byte, 2)))
				return c
			}
			c := dial()
			must(c.Write([]byte("close")))
			check(c.Close())

			c = dial()
			must(n.Qubit(ctx)) // freed with the session
			must(c.Write([]byte("leave")))
			check(n.Close())
			check(n.Close())
			_, err := n.Qubit(ctx)
			wantErr(t, err, qnet.ErrClosed, "the session on alice was closed")
			_, err = n.Dial(ctx, "charlie:7", qsocket.Contract{})
			wantErr(t, err, qnet.ErrClosed, "the session on alice was closed")
			_, err = c.Keep(ctx, 1)
			wantErr(t, err, qnet.ErrClosed, "the session on alice was closed")

			n = e.node("alice")
			defer n.Close()
			c = dial()
			must(c.Write([]byte("break")))
			g := e.group()
			g.Go(func() {
				_, err := c.ReceiveQubit(ctx)
				wantErr(t, err, qnet.ErrUnavail, "charlie is down")
			})
			check(heard.Wait(ctx))
			e.loop.Post(e.world.Break)
			g.Wait()
			_, err = io.ReadAll(c)
			wantErr(t, err, qnet.ErrUnavail, "charlie is down")
		})
	})
}

// TestShutdown checks that programs are told when their node shuts down.
func TestShutdown(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		ctx := context.Background()
		e.pair(func(n *qsocket.Node, c *qsocket.Conn) {
			e.loop.Post(func() { e.loop.After(time.Millisecond, e.world.Node("alice").Layer.Close) })
			_, err := c.ReceiveQubit(ctx)
			wantErr(t, err, qnet.ErrUnavail, "alice shuts down")
			_, err = n.Qubit(ctx)
			wantErr(t, err, qnet.ErrUnavail, "alice shuts down")
		}, func(_ *qsocket.Node, c *qsocket.Conn) {
			_, err := c.ReceiveQubit(ctx)
			wantErr(t, err, qnet.ErrPeerClosed, "the program at alice has ended")
		})
	})
}

// TestDeadlines checks the deadlines of Read and Write in the time of the
// network, and the window.
func TestDeadlines(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.pair(func(n *qsocket.Node, c *qsocket.Conn) {
			start := n.Now()
			check(c.SetReadDeadline(start.Add(30 * time.Millisecond)))
			_, err := c.Read(make([]byte, 1))
			wantErr(t, err, qnet.ErrTimeout, "read from charlie:7: the deadline has passed")
			if d := n.Now().Sub(start); d < 30*time.Millisecond || e.loop.Virtual() && d > 30*time.Millisecond {
				t.Errorf("the deadline of 30ms took %v", d)
			}
			check(c.SetDeadline(n.Now().Add(50 * time.Millisecond)))
			k, err := c.Write(make([]byte, 2*transport.Window))
			wantErr(t, err, qnet.ErrTimeout, "write to charlie:7: the deadline has passed")
			if k != transport.Window {
				t.Errorf("%d bytes were written into a window of %d", k, transport.Window)
			}
			check(c.SetDeadline(time.Time{}))
			g := e.group()
			g.Go(func() { must(c.Write(make([]byte, 3*transport.Window))) })
			must(io.ReadFull(c, make([]byte, 1)))
			g.Wait()
			check(c.CloseWrite())
			_, err = c.Write([]byte("x"))
			wantErr(t, err, qnet.ErrClosed, "writing to charlie:7 was ended")
			must(io.ReadFull(c, make([]byte, 4)))
		}, func(n *qsocket.Node, c *qsocket.Conn) {
			ctx, cancel := n.WithTimeout(context.Background(), 150*time.Millisecond)
			defer cancel()
			_, err := c.ReceiveQubit(ctx) // just to wait
			wantErr(t, err, qnet.ErrTimeout, "alice has not sent a qubit")
			must(c.Write([]byte("x")))
			b := must(io.ReadAll(c))
			if len(b) != 4*transport.Window {
				t.Errorf("%d bytes arrived", len(b))
			}
			must(c.Write([]byte("last")))
		})
	})
}

// TestNetConn runs the standard test of net.Conn over the classical side.
func TestNetConn(t *testing.T) {
	for _, kind := range []string{inReal, daemon} {
		t.Run(kind, func(t *testing.T) {
			e := newEnv(t, kind)
			defer e.close()
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				ctx := context.Background()
				n1, n2 := e.node("alice"), e.node("charlie")
				l, err := n2.Listen(ctx, ":7")
				if err != nil {
					return nil, nil, nil, err
				}
				accepted := make(chan *qsocket.Conn)
				go func() { accepted <- must(l.Accept(ctx)) }()
				a, err := n1.Dial(ctx, "charlie:7", qsocket.Contract{})
				if err != nil {
					return nil, nil, nil, err
				}
				b := <-accepted
				check(l.Close())
				return a, b, func() {
					a.Close()
					b.Close()
					n1.Close()
					n2.Close()
				}, nil
			})
		})
	}
}

// TestVirtualMisuse checks that mistakes that would stop virtual time are
// errors that say so.
func TestVirtualMisuse(t *testing.T) {
	e := newEnv(t, virtual)
	e.pair(func(n *qsocket.Node, c *qsocket.Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		_, err := c.Keep(ctx, 1)
		wantErr(t, err, qnet.ErrInvalid, "wall-clock deadline")
		if bit := must(must(n.Qubit(context.Background())).Measure(context.Background(), qsocket.Z)); bit != 0 {
			t.Error("the session does not work any more")
		}
	}, func(_ *qsocket.Node, c *qsocket.Conn) { c.Read(make([]byte, 1)) })
	e.wait()
	e.close()
}
