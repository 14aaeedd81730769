package node_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/network"
	"qstack/node"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/wire"
)

var xyz = physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}}

// perfect returns a chain of nodes called n0, n1 and so on with perfect hardware
// and links: 1 km, attempts at 100 kHz, one in a hundred of which succeeds.
func perfect(nodes, lanes int) *scenario.Scenario {
	s := &scenario.Scenario{Name: "test", Realm: "test", Seed: 1, Dilation: 1, FibreSpeed: qnet.FibreSpeed}
	for i := range nodes {
		s.Nodes = append(s.Nodes, scenario.Node{Name: fmt.Sprint("n", i), Hardware: scenario.Hardware{Name: "perfect",
			Init: 5 * time.Microsecond, Gate1: time.Microsecond, Gate2: 10 * time.Microsecond, Readout: 20 * time.Microsecond}})
		if i > 0 {
			s.Links = append(s.Links, join(s, i-1, i, lanes))
		}
	}
	return s
}

func join(s *scenario.Scenario, a, b, lanes int) scenario.Link {
	return scenario.Link{Name: s.Nodes[a].Name + "-" + s.Nodes[b].Name, A: a, B: b, Length: 1000, Lanes: lanes,
		Heralding: scenario.Heralding{Model: scenario.Ideal, AttemptRate: 1e5, Probability: 0.01, Fidelity: 1}}
}

// world is a network in virtual time without programs: the tests here drive the
// network layer themselves.
type world struct {
	t     testing.TB
	loop  *event.Virtual
	net   *node.Network
	names map[qnet.NodeID]string
	runs  []*run
}

func newWorld(t testing.TB, s *scenario.Scenario, o node.Options) *world {
	t.Helper()
	w := &world{t: t, loop: event.NewVirtual()}
	t.Cleanup(func() { w.loop.Close() })
	var err error
	if w.net, err = node.NewNetwork(s, w.loop, o); err != nil {
		t.Fatal(err)
	}
	w.names = w.net.Plan.Names()
	for i := range w.net.Stacks {
		w.listen(i)
	}
	w.run(0)
	return w
}

// listen makes a node take circuits: the tag is the place in w.runs.
func (w *world) listen(i int) {
	w.net.Stacks[i].Network.HandleIncoming(func(c *network.Circuit, tag uint64) (network.CircuitHandler, error) {
		if tag >= uint64(len(w.runs)) {
			return nil, qnet.Errorf(qnet.ErrNoListener, "not expected")
		}
		e := &w.runs[tag].ends[1]
		e.circuit = c
		return e, nil
	})
}

func (w *world) stack(name string) *node.Stack {
	w.t.Helper()
	s, err := w.net.Stack(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) run(d time.Duration) {
	w.t.Helper()
	if err := w.loop.RunFor(d); err != nil {
		w.t.Fatal(err)
	}
}

// runUntil runs until ok, for at most d.
func (w *world) runUntil(d time.Duration, ok func() bool) bool {
	w.t.Helper()
	for end := w.loop.Now().Add(d); !ok(); w.run(5 * time.Millisecond) {
		if w.loop.Now() >= end {
			return false
		}
	}
	return true
}

// state describes every layer, for failures.
func (w *world) state() string {
	s := fmt.Sprint("at ", w.loop.Now())
	for _, n := range w.net.Stacks {
		s += fmt.Sprintf("\n%s: link %+v\n\tnetwork %+v, %v", n.Name, n.Link.Status(), n.Network.Status(), n.Network.Quiet())
	}
	return s
}

// rest closes all circuits, lets the network settle and checks that nothing is
// left.
func (w *world) rest() {
	w.t.Helper()
	for _, r := range w.runs {
		if c := r.ends[0].circuit; c != nil && r.ends[0].down == nil {
			c.Close(qnet.OK)
		}
	}
	w.run(node.Settle)
	if err := w.net.Idle(); err != nil {
		w.t.Errorf("at rest: %v\n%s", err, w.state())
	}
}

// run is a circuit with its two ends, head first.
type run struct {
	w    *world
	ends [2]end
	err  error                       // of the set-up
	hold time.Duration               // of kept qubits by the ends
	both func(a, b network.Delivery) // called with the head's and the tail's half when both are there
}

// end is one end of a circuit with the layer above.
type end struct {
	r       *run
	name    string
	circuit *network.Circuit
	pairs   []network.Delivery
	byName  map[network.PairName]network.Delivery
	counts  map[uint64]int // of pairs, by request
	done    []uint64
	down    error
}

// connect sets a circuit up.
func (w *world) connect(from, to string) *run {
	w.t.Helper()
	r := w.setup(from, to)
	if !w.runUntil(10*time.Second, func() bool { return r.err != nil || r.ends[0].circuit != nil }) || r.err != nil {
		w.t.Fatalf("no circuit from %s to %s: %v\n%s", from, to, r.err, w.state())
	}
	return r
}

// setup begins to set a circuit up.
func (w *world) setup(from, to string) *run {
	w.t.Helper()
	r := &run{w: w}
	for i, name := range []string{from, to} {
		r.ends[i] = end{r: r, name: name, byName: make(map[network.PairName]network.Delivery), counts: make(map[uint64]int)}
	}
	w.runs = append(w.runs, r)
	head := &r.ends[0]
	w.stack(from).Network.Setup(w.stack(to).ID, uint64(len(w.runs)-1), 0, w.loop.Now().Add(5*time.Second), head, func(c *network.Circuit, err error) {
		head.circuit, r.err = c, err
	})
	return r
}

// keep asks for kept pairs in Φ+ and measure for measured ones, at both ends.
func (r *run) keep(id, pairs uint64) {
	r.w.t.Helper()
	r.ask(network.Request{ID: id, Pairs: pairs, Corrector: network.CorrectorHead})
}

func (r *run) measure(id, pairs uint64) {
	r.w.t.Helper()
	r.ask(network.Request{ID: id, Pairs: pairs, Measure: true, PeerMeasures: true, Bases: xyz, Corrector: network.CorrectorTail})
}

func (r *run) ask(q network.Request) {
	r.w.t.Helper()
	for i := range r.ends {
		if e := &r.ends[i]; e.down == nil {
			if err := e.circuit.Request(q); err != nil {
				r.w.t.Fatalf("%s: %v", e.name, err)
			}
		}
	}
}

// isDone reports whether both ends have all pairs of a request.
func (r *run) isDone(id uint64) bool {
	return slices.Contains(r.ends[0].done, id) && slices.Contains(r.ends[1].done, id)
}

// isDown reports whether both ends have lost the circuit.
func (r *run) isDown() bool { return r.ends[0].down != nil && r.ends[1].down != nil }

func (e *end) other() *end {
	if e == &e.r.ends[0] {
		return &e.r.ends[1]
	}
	return &e.r.ends[0]
}

// Pair checks the pair against the other end's and frees its qubit.
func (e *end) Pair(_ *network.Circuit, d network.Delivery) {
	w := e.r.w
	if _, ok := e.byName[d.Name]; ok {
		w.t.Errorf("%s: pair %v twice", e.name, d.Name)
	}
	e.byName[d.Name] = d
	e.pairs = append(e.pairs, d)
	e.counts[d.Request]++
	if o, ok := e.other().byName[d.Name]; ok {
		if o.Label != d.Label || o.Request != d.Request {
			w.t.Errorf("%s has %+v, %s has %+v", e.name, d, e.other().name, o)
		}
		if e.r.both != nil {
			e.r.both(e.r.ends[0].byName[d.Name], e.r.ends[1].byName[d.Name])
		}
	}
	if d.Qubit.IsZero() {
		return
	}
	dev := w.stack(e.name).Device
	free := func() { dev.Do(physical.Op{Kind: physical.OpFree, A: d.Qubit}, nil) }
	if e.r.hold == 0 {
		free()
	} else {
		w.loop.After(e.r.hold, free)
	}
}

func (e *end) RequestDone(_ *network.Circuit, id uint64) { e.done = append(e.done, id) }
func (e *end) Down(_ *network.Circuit, err error)        { e.down = err }

// checkSame checks that both ends have the same pairs of a request, so many.
func (r *run) checkSame(id uint64, pairs int) {
	r.w.t.Helper()
	for i := range r.ends {
		e := &r.ends[i]
		if e.counts[id] != pairs {
			r.w.t.Errorf("%s has %d pairs of request %d, want %d", e.name, e.counts[id], id, pairs)
		}
		for name, d := range e.byName {
			if _, ok := e.other().byName[name]; !ok && d.Request == id {
				r.w.t.Errorf("pair %v of request %d is at %s only", name, id, e.name)
			}
		}
	}
}

// correlators returns what the measured pairs that both ends have show: for X, Y
// and Z the mean product of the bits as ±1, and how many were measured so.
func (r *run) correlators() (mean [3]float64, n [3]int) {
	var sum [3]int
	for _, a := range r.ends[0].pairs {
		b, ok := r.ends[1].byName[a.Name]
		if !ok || !a.Qubit.IsZero() || a.Basis != b.Basis {
			continue
		}
		n[a.Basis]++
		if a.Bit == b.Bit {
			sum[a.Basis]++
		} else {
			sum[a.Basis]--
		}
	}
	for i := range mean {
		mean[i] = float64(sum[i]) / float64(n[i])
	}
	return mean, n
}

// checkPerfect checks that the bits of measured pairs, and those alone, are
// perfectly correlated as those of Φ+.
func (r *run) checkPerfect() {
	r.w.t.Helper()
	mean, n := r.correlators()
	for i, want := range []float64{1, -1, 1} {
		if n[i] > 0 && mean[i] != want {
			r.w.t.Errorf("%s - %s: correlator %d is %v over %d pairs, want %v", r.ends[0].name, r.ends[1].name, i, mean[i], n[i], want)
		}
	}
}

// checkKept makes the oracle look at every kept pair when the second end has it: it
// must be the Bell state that it is announced as. The ends hold their halves so
// long.
func (r *run) checkKept(hold time.Duration) (checked *int) {
	checked = new(int)
	r.hold = hold
	oracle := r.w.net.Fabric.Oracle()
	r.both = func(a, b network.Delivery) {
		if a.Qubit.IsZero() {
			return
		}
		f, err := oracle.BellFidelity(r.w.loop.Now(), a.Qubit, b.Qubit, a.Label)
		switch {
		case errors.Is(err, qnet.ErrBadQubit): // one end had it for too long
		case err != nil || f < 1-1e-9:
			r.w.t.Errorf("pair %v: fidelity %v, %v", a.Name, f, err)
		default:
			*checked++
		}
	}
	return checked
}

// lost reports whether an error is one of those that the loss of a circuit has.
func lost(err error) bool {
	return errors.Is(err, qnet.ErrUnavail) || errors.Is(err, qnet.ErrPeerClosed) || errors.Is(err, qnet.ErrRestarted) || errors.Is(err, qnet.ErrTimeout)
}

// typeName returns the name of a type of message.
func typeName(t wire.Type) string {
	for _, m := range slices.Concat(link.Messages(), network.Messages()) {
		if m.Type() == t {
			return wire.Name(m)
		}
	}
	return fmt.Sprintf("0x%x", uint16(t))
}
