package network_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/network"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// idle checks that no node of the chain holds anything of any circuit.
func (s *sim) idle() {
	s.t.Helper()
	for _, n := range s.nodes {
		if err := n.layer.Idle(); err != nil {
			s.fatalf("%v", err)
		}
		if len(n.qubits) > 0 {
			s.fatalf("%s holds %d qubits", n.name(), len(n.qubits))
		}
	}
}

// setup asks for a circuit from the first node to the last and returns where
// the answer will be.
func (s *sim) setup(deadline qnet.Time) *error {
	answer := errors.New("no answer")
	s.head().layer.Setup(s.tail().id, 5, 0, deadline, s.head(), func(c *network.Circuit, err error) {
		if (c == nil) == (err == nil) {
			s.fatalf("circuit %v and error %v", c, err)
		}
		s.head().circuit, answer = c, err
	})
	return &answer
}

// A refusal of the tail end takes the circuit down again at every node, and the
// head hears who refused and why.
func TestSetupRefused(t *testing.T) {
	s := newSim(t, 4, 1)
	defer s.close()
	err := s.setup(qnet.Never)
	s.flow()
	if !errors.Is(*err, qnet.ErrNoListener) || !strings.Contains((*err).Error(), "n3") {
		t.Errorf("without a listener: %v", *err)
	}
	s.idle()
	s.tail().layer.HandleIncoming(func(c *network.Circuit, tag uint64) (network.CircuitHandler, error) {
		if tag != 5 || c.Peer() != s.head().id || c.IsHead() || c.Hops() != 3 {
			t.Errorf("tag %d, peer %v, head %v, %d hops", tag, c.Peer(), c.IsHead(), c.Hops())
		}
		return nil, qnet.Errorf(qnet.ErrBusy, "not with you")
	})
	err = s.setup(qnet.Never)
	s.flow()
	if !errors.Is(*err, qnet.ErrBusy) || !strings.Contains((*err).Error(), "n3: not with you") {
		t.Errorf("refused: %v", *err)
	}
	s.idle()
}

// However far the set-up has come at its deadline, it is taken back everywhere.
func TestSetupDeadline(t *testing.T) {
	for steps := range 7 {
		s := newSim(t, 4, 1)
		s.tail().layer.HandleIncoming(func(c *network.Circuit, tag uint64) (network.CircuitHandler, error) {
			s.tail().circuit = c
			return s.tail(), nil
		})
		err := s.setup(qnet.Time(time.Second))
		for range steps { // three Setup, three SetupOK
			for _, n := range s.nodes {
				if n.deliver(0) || n.deliver(1) {
					break
				}
			}
		}
		if e := s.head().loop.RunFor(2 * time.Second); e != nil {
			t.Fatal(e)
		}
		s.flow()
		if s.head().circuit != nil {
			s.head().circuit.Close(qnet.OK)
			s.flow()
		} else if !errors.Is(*err, qnet.ErrTimeout) || !strings.Contains((*err).Error(), "from n0 to n3") {
			t.Errorf("after %d messages: %v", steps, *err)
		}
		s.idle()
		s.close()
	}
}

// A stream that breaks during set-up takes it back everywhere.
func TestSetupBreaks(t *testing.T) {
	for steps := range 7 {
		for hop := range 3 {
			s := newSim(t, 4, 1)
			s.tail().layer.HandleIncoming(func(c *network.Circuit, tag uint64) (network.CircuitHandler, error) {
				return s.tail(), nil
			})
			err := s.setup(qnet.Never)
			for range steps {
				for _, n := range s.nodes {
					if n.deliver(0) || n.deliver(1) {
						break
					}
				}
			}
			if hop < len(s.streams) {
				s.streams[hop].fail()
			}
			s.flow()
			if s.head().circuit != nil && s.head().downErr == nil {
				s.head().circuit.Close(qnet.OK)
				s.flow()
			} else if s.head().circuit == nil && !errors.Is(*err, qnet.ErrUnavail) {
				t.Errorf("after %d messages: %v", steps, *err)
			}
			s.idle()
			s.close()
		}
	}
}

// What can not be is said at once, with names and what to do.
func TestSetupErrors(t *testing.T) {
	nodes := []network.Node{{ID: 1, Name: "alice"}, {ID: 2, Name: "bob"}, {ID: 3, Name: "charlie"}, {ID: 4, Name: "dave"}}
	for i := range nodes {
		nodes[i].Spec = &physical.Spec{}
	}
	w := [4]float64{0.9, 0.1 / 3, 0.1 / 3, 0.1 / 3}
	top := network.Topology{Nodes: nodes, Links: []network.Link{
		{ID: 1, A: 1, B: 2, Weights: w, PairTime: time.Millisecond, Lanes: 1},
		{ID: 2, A: 3, B: 2, Weights: w, PairTime: time.Millisecond, Lanes: 1},
	}}
	s := newSim(t, 2, 1)
	defer s.close()
	n := s.nodes[0]
	n.layer = network.New(network.Config{Self: 1, Topology: top}, (*simLinks)(n), (*simEndpoint)(n), (*simDevice)(n), n.loop, nil)
	for _, c := range []struct {
		dst  qnet.NodeID
		f    float64
		code qnet.Code
		text string
	}{
		{1, 0, qnet.ErrInvalid, "alice is this node itself"},
		{9, 0, qnet.ErrUnknown, "there is no node 0000000000000009 in the network"},
		{4, 0, qnet.ErrNoRoute, "no path of links leads from alice to dave"},
		{2, 0.95, qnet.ErrFidelity, "fidelity 0.9500 to bob asked, the path alice - bob reaches 0.9000; ask for less"},
		// Two Werner pairs of 0.9: 0.9² + 0.1²/3.
		{3, 0.85, qnet.ErrFidelity, "fidelity 0.8500 to charlie asked, the path alice - bob - charlie reaches 0.8133; ask for less"},
	} {
		answered := false
		n.layer.Setup(c.dst, 0, c.f, qnet.Never, n, func(_ *network.Circuit, err error) {
			answered = true
			if !errors.Is(err, c.code) || err.Error() != c.text {
				t.Errorf("got %v (%v), want %s (%v)", err, qnet.CodeOf(err), c.text, c.code)
			}
		})
		if answered {
			t.Errorf("%s: answered within the call", c.text)
		}
		n.settle()
		if !answered {
			t.Errorf("%s: no answer", c.text)
		}
	}
	if err := n.layer.Idle(); err != nil {
		t.Error(err)
	}
	if got := n.layer.Path(3); !slices.Equal(got, []string{"alice", "bob", "charlie"}) {
		t.Errorf("path %v", got)
	}
}

// Both ends can close, also at once; the other end hears who did and why, the
// closing one nothing.
func TestClose(t *testing.T) {
	for _, closers := range [][]int{{0}, {1}, {0, 1}} {
		s := newSim(t, 4, 1)
		s.connect()
		s.request(1, 3)
		s.flow()
		s.heraldAll()
		s.nodes[1].do('A')
		ends := []*simNode{s.head(), s.tail()}
		for _, i := range closers {
			ends[i].circuit.Close(qnet.ErrCancelled)
			if err := ends[i].circuit.Request(network.Request{ID: 9, Pairs: 1}); !errors.Is(err, qnet.ErrClosed) {
				t.Errorf("request on a closed circuit: %v", err)
			}
		}
		s.closedBy(closers)
		s.close()
	}
}

// closedBy checks that nothing is left of a circuit that some of its ends, 0 and
// 1, have closed, and what the others were told.
func (s *sim) closedBy(closers []int) {
	s.t.Helper()
	s.flow()
	s.greedy()
	for _, n := range s.nodes {
		for n.finish() {
		}
	}
	s.idle()
	for i, n := range []*simNode{s.head(), s.tail()} {
		closed := slices.Contains(closers, i)
		if (n.downErr == nil) != closed {
			s.fatalf("%s: closed %v, down %v", n.name(), closed, n.downErr)
		}
		if !closed {
			other := []*simNode{s.tail(), s.head()}[i]
			if want := other.name() + " closed the circuit"; !errors.Is(n.downErr, qnet.ErrCancelled) || !strings.Contains(n.downErr.Error(), want) {
				s.fatalf("%s hears %v, want %s", n.name(), n.downErr, want)
			}
		}
	}
}

// A link that ends a circuit's pairs for a reason of its own takes the circuit
// down at both ends, which hear where.
func TestLinkLost(t *testing.T) {
	s := newSim(t, 5, 1)
	defer s.close()
	s.connect()
	s.request(1, 3)
	s.flow()
	s.heraldAll()
	s.nodes[2].do('A')
	l := s.links[1]
	l.open = false
	for _, n := range []*simNode{s.nodes[1], s.nodes[2]} {
		n.layer.LinkHandler().Ended(l.id, l.req, qnet.Errorf(qnet.ErrUnavail, "link n1-n2 is down: its station is not answering"))
		n.settle()
	}
	s.broken()
	if want := "circuit lost at n1: link n1-n2 is down: its station is not answering"; !errors.Is(s.head().downErr, qnet.ErrUnavail) || s.head().downErr.Error() != want {
		t.Errorf("the head hears %v, want %s", s.head().downErr, want)
	}
	if want := "circuit lost at n2: link n1-n2 is down: its station is not answering"; s.tail().downErr.Error() != want {
		t.Errorf("the tail hears %v, want %s", s.tail().downErr, want)
	}
}

// The neighbour's refusal of a link request overtakes the TEARDOWN of the circuit:
// the end hears what that says, and if it does not come, the refusal.
func TestRefusalOvertakesTeardown(t *testing.T) {
	for _, lost := range []bool{false, true} {
		s := newSim(t, 2, 1)
		s.connect()
		s.request(1, 3)
		s.flow()
		l := s.links[0]
		l.open = false
		refusal := qnet.Errorf(qnet.ErrUnknown, "link n0-n1: n1 refused a request: unknown")
		if !lost {
			s.tail().circuit.Close(qnet.OK) // its TEARDOWN is on the way
		}
		s.head().layer.LinkHandler().Ended(l.id, l.req, refusal)
		s.head().settle()
		if s.head().downErr != nil {
			t.Fatalf("the head gave up at once: %v", s.head().downErr)
		}
		want := "n1 closed the circuit"
		if lost {
			want = "circuit lost at n0: " + refusal.Error()
			if err := s.head().loop.RunFor(3 * time.Second); err != nil {
				t.Fatal(err)
			}
		}
		s.flow()
		if err := s.head().downErr; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the head hears %v, want %s", err, want)
		}
		s.close()
	}
}

// A pair that its link hands up beyond what was asked for is discarded: at an end
// without a request, whose discard answers the TRACK of the other end, and in the
// middle when nothing is wanted.
func TestSurplusPair(t *testing.T) {
	// hand makes a link hand its pair up, whatever the ends' limits are.
	hand := func(l *simLink) {
		limit := l.limit
		p := l.herald()
		l.limit = [2]uint64{1 << 40, 1 << 40}
		p.reply(0)
		p.reply(1)
		l.limit = limit
	}
	s := newSim(t, 3, 1)
	defer s.close()
	s.connect()
	s.ask(s.head(), 1, 1)
	s.flow()
	for _, l := range s.links {
		hand(l) // the tail has not asked yet
	}
	s.nodes[1].finish() // the swap
	s.flow()
	for _, n := range s.nodes {
		if len(n.qubits) > 0 || len(n.got) > 0 || n.layer.Quiet() != nil {
			s.fatalf("%s holds %d qubits and got %d pairs: %v", n.name(), len(n.qubits), len(n.got), n.layer.Quiet())
		}
	}
	s.ask(s.tail(), 1, 1)
	s.greedy()
	if len(s.head().got) != 1 || len(s.tail().got) != 1 {
		s.fatalf("the ends got %d and %d pairs", len(s.head().got), len(s.tail().got))
	}
	for _, q := range []*simNode{s.head(), s.tail()} {
		for _, d := range q.got {
			q.free(d.q)
		}
	}
	hand(s.links[0]) // nobody wants anything
	s.greedy()
	for _, n := range s.nodes {
		if len(n.qubits) > 0 || n.layer.Quiet() != nil {
			s.fatalf("%s holds %d qubits: %v", n.name(), len(n.qubits), n.layer.Quiet())
		}
	}
}

// The TRACK of a pair whose request was cancelled meanwhile is answered, also
// while another request is open: none stays parked.
func TestCancelAnswersTrack(t *testing.T) {
	s := newSim(t, 3, 2)
	defer s.close()
	s.connect()
	s.request(1, 1)
	s.request(2, 1)
	s.flow()
	for _, l := range s.links {
		p := l.herald()
		p.reply(0)
		p.reply(1)
	}
	s.nodes[1].finish()        // the swap
	s.head().circuit.Cancel(1) // before the TRACK of the tail
	s.flow()
	s.tail().circuit.Cancel(1)
	s.flow()
	for _, n := range s.nodes {
		if st := n.layer.Status(); len(st) != 1 || st[0].Parked > 0 {
			s.fatalf("%s: %+v", n.name(), st)
		}
	}
	if len(s.head().qubits) > 0 {
		s.fatalf("the head holds %d qubits", len(s.head().qubits))
	}
	s.greedy()
	if !slices.Equal(s.head().done, []uint64{2}) || !slices.Contains(s.tail().done, 2) {
		s.fatalf("requests done: %v and %v", s.head().done, s.tail().done)
	}
}

// Requests that make no sense are refused, with the code that the caller needs.
func TestRequestErrors(t *testing.T) {
	s := newSim(t, 3, 1)
	defer s.close()
	s.connect()
	c := s.head().circuit
	bad := physical.BasisSource{Bases: []qnet.Basis{{Theta: math.NaN()}}}
	if err := c.Request(network.Request{ID: 1, Pairs: 1}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		r    network.Request
		code qnet.Code
	}{
		{network.Request{ID: 1, Pairs: 1}, qnet.ErrInUse},
		{network.Request{ID: 2}, qnet.ErrInvalid},
		{network.Request{ID: 2, Pairs: 1, Measure: true, Bases: bad}, qnet.ErrInvalid},
	} {
		if err := c.Request(r.r); !errors.Is(err, r.code) {
			t.Errorf("%+v: %v, want %v", r.r, err, r.code)
		}
	}
	c.Cancel(1)
	c.Cancel(77) // not there
	s.flow()
	if err := s.head().layer.Quiet(); err != nil {
		t.Error(err)
	}
	c.Close(qnet.OK)
	s.flow()
	s.idle()
}

// Of paths with equally many links, the one whose names come first is taken: the
// same from everywhere.
func TestPath(t *testing.T) {
	var top network.Topology
	for i, name := range []string{"a", "z", "c", "b", "d", "e"} {
		top.Nodes = append(top.Nodes, network.Node{ID: qnet.NodeID(i + 1), Name: name, Spec: &physical.Spec{}})
	}
	for i, l := range [][2]qnet.NodeID{{1, 2}, {2, 5}, {1, 3}, {3, 5}, {4, 1}, {5, 4}, {5, 6}} {
		top.Links = append(top.Links, network.Link{ID: physical.LinkID(i + 1), A: l[0], B: l[1], PairTime: time.Millisecond, Lanes: 1})
	}
	s := newSim(t, 2, 1)
	defer s.close()
	n := s.nodes[0]
	n.layer = network.New(network.Config{Self: 1, Topology: top}, (*simLinks)(n), (*simEndpoint)(n), (*simDevice)(n), n.loop, nil)
	if got := n.layer.Path(6); !slices.Equal(got, []string{"a", "b", "d", "e"}) {
		t.Errorf("path %v", got)
	}
}

// A neighbour that sends whatever it likes loses the circuit, and nothing more.
func TestHostileNeighbour(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	fails := 0
	for run := range 400 {
		s := newSim(t, 4, uint64(run))
		s.connect()
		s.request(1, 5)
		s.flow()
		for range 30 {
			x := s.streams[rng.IntN(len(s.streams))]
			if rng.IntN(2) == 0 {
				x = x.other
			}
			near := func() uint64 { return 1<<32 + rng.Uint64N(4) }
			x.Send([]wire.Message{
				&network.Setup{Path: []qnet.NodeID{1, 2}}, &network.SetupOK{}, &network.Teardown{Code: qnet.ErrBusy, Text: "so there"},
				&network.Forward{Request: rng.Uint64N(3), Pairs: 1}, &network.Complete{Request: rng.Uint64N(3)},
				&network.Track{Origin: near(), Link: near(), Request: 1, Label: qnet.BellLabel(rng.IntN(4))}, &network.CircuitExpire{Origin: near(), Link: near()},
			}[rng.IntN(7)])
			for _, l := range s.links {
				if l.wants() && rng.IntN(3) == 0 {
					l.herald()
				}
			}
			n := s.nodes[rng.IntN(4)]
			n.do("HTSHTS"[rng.IntN(6)])
			if n.i > 0 {
				n.do('U')
			} else {
				n.do('D')
			}
		}
		s.flow()
		if s.head().downErr != nil || s.tail().downErr != nil {
			fails++
		} else {
			s.head().circuit.Close(qnet.OK)
		}
		s.flow()
		for _, n := range s.nodes {
			for n.finish() {
			}
		}
		s.flow()
		for _, l := range s.links {
			for len(l.pairs) > 0 {
				p := l.pairs[0]
				for side := range 2 {
					if !p.heard[side] {
						p.reply(side)
					}
					p.told[side] = true
				}
				p.settle()
			}
		}
		s.idle()
		s.close()
	}
	if fails < 100 {
		t.Errorf("%d circuits were lost: the test tests little", fails)
	}
}

// A circuit that was never asked for is refused, whatever is wrong with it.
func TestHostileSetup(t *testing.T) {
	s := newSim(t, 4, 1)
	defer s.close()
	n := s.nodes[1]
	for i, path := range [][]qnet.NodeID{nil, {1}, {2}, {1, 2, 1}, {1, 3, 2}, {2, 1}, {1, 2, 4}, {1, 2, 9}, {3, 2, 1}, {1, 2, 3, 2}} {
		h := &answer{}
		head := qnet.NodeID(1)
		if i == 5 && len(path) > 0 {
			head = path[0]
		}
		if _, err := (*simEndpoint)(s.nodes[0]).Open(n.id, &network.Setup{Circuit: network.CircuitID{Head: head, Number: uint64(i)}, Path: path, Label: 7}, h); err != nil {
			t.Fatal(err)
		}
		s.flow()
		if h.err == nil && !h.teardown {
			t.Errorf("path %v is accepted", path)
		}
		s.idle()
	}
}

// answer is a stream handler that remembers how it ended.
type answer struct {
	err      error
	teardown bool
}

func (a *answer) Message(s control.Stream, b []byte) {
	if t, _, err := wire.Peek(b); err == nil && t == (*network.Teardown)(nil).Type() {
		a.teardown = true
		s.Close(qnet.OK)
	}
}

func (a *answer) Closed(_ control.Stream, err error) { a.err = fmt.Errorf("closed: %v", err) }
