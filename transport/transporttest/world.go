// Package transporttest is a small, noiseless world for tests of what is built
// on the transport layer: nodes that are all joined by circuits of perfect
// pairs, on one event loop, without the layers below. It is written from the
// interfaces alone and shares no code with the layers that it stands for.
package transporttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"qstack/network"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/wire"
	"qstack/transport"
)

// World is a set of nodes. Its fields may be set before the loop runs.
type World struct {
	Loop event.Scheduler
	// Delay is the time that messages take.
	Delay time.Duration
	// PairTime is the time of one pair; while it is 0, a circuit makes up to 1000
	// pairs in one event.
	PairTime time.Duration
	// Manual makes pairs only when Deliver is called.
	Manual bool
	// MaxFidelity is the best that a circuit reaches; 0 stands for 1.
	MaxFidelity float64
	// Log, if set, hears of all that happens.
	Log func(format string, args ...any)

	rng      *rand.Rand
	nodes    []*Node
	circuits []*line
	streams  []*pipe
	halves   map[halfKey]half // made by Deliver for one end only
	number   uint64
}

// Node is one node.
type Node struct {
	Name   string
	Layer  *transport.Layer
	Device *Device

	w        *World
	id       qnet.NodeID
	handler  control.Handler
	incoming func(transport.Circuit, uint64) (transport.CircuitHandler, error)
}

// New returns a world of nodes with the given names. adjust, if not nil, may
// change their configuration.
func New(loop event.Scheduler, adjust func(*transport.Config), names ...string) *World {
	w := &World{Loop: loop, rng: qnet.NewRand(1, "transporttest"), halves: make(map[halfKey]half)}
	for _, name := range names {
		n := &Node{Name: name, id: qnet.NewNodeID("test", name), w: w}
		n.Device = &Device{w: w, name: name, qubits: make(map[physical.Qubit]*qubit), OpTime: time.Microsecond, Storage: 64}
		w.nodes = append(w.nodes, n)
	}
	for _, n := range w.nodes {
		cfg := transport.Config{
			Name: n.Name,
			Resolve: func(name string) (qnet.NodeID, bool) {
				o := w.Node(name)
				if o == nil {
					return 0, false
				}
				return o.id, true
			},
			NameOf: w.nameOf,
		}
		if adjust != nil {
			adjust(&cfg)
		}
		n.Layer = transport.New(cfg, (*net)(n), (*endpoint)(n), n.Device, loop, nil)
	}
	return w
}

// Node returns the node called name, or nil.
func (w *World) Node(name string) *Node {
	for _, n := range w.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func (w *World) byID(id qnet.NodeID) *Node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

func (w *World) nameOf(id qnet.NodeID) string {
	if n := w.byID(id); n != nil {
		return n.Name
	}
	return id.String()
}

func (w *World) logf(format string, args ...any) {
	if w.Log != nil {
		w.Log(format, args...)
	}
}

// Held returns the number of qubits in all devices, circuits that are up and
// streams that are open: all 0 at rest.
func (w *World) Held() (qubits, circuits, streams int) {
	for _, n := range w.nodes {
		qubits += n.Device.Len()
	}
	return qubits, len(w.circuits), len(w.streams)
}

// Break breaks all streams, as when both ends lose each other.
func (w *World) Break() {
	for _, p := range slices.Clone(w.streams) {
		p.broken = true
		w.streams = slices.DeleteFunc(w.streams, func(o *pipe) bool { return o == p })
		for i := range p.ends {
			e := &p.ends[i]
			if !e.closed && e.handler != nil {
				e.closed = true
				e.handler.Closed(e, qnet.Errorf(qnet.ErrUnavail, "%s is down", w.nameOf(e.Peer())))
			}
		}
	}
}

// Cut takes all circuits down, blaming err.
func (w *World) Cut(err error) {
	for _, c := range slices.Clone(w.circuits) {
		w.remove(c)
		for i := range c.ends {
			if e := &c.ends[i]; !e.closed {
				e.closed = true
				e.handler.Down(err)
			}
		}
	}
}

func (w *World) remove(c *line) {
	c.gone = true
	for i := range c.ends {
		for _, r := range c.ends[i].requests {
			c.ends[i].forget(r.ID)
		}
	}
	w.circuits = slices.DeleteFunc(w.circuits, func(o *line) bool { return o == c })
}

// endpoint is the control plane of a node.
type endpoint Node

func (e *endpoint) ID() qnet.NodeID                          { return e.id }
func (e *endpoint) Up(qnet.NodeID) bool                      { return true }
func (e *endpoint) Handle(_ wire.Service, h control.Handler) { e.handler = h }
func (e *endpoint) Datagram(qnet.NodeID, wire.Message) error { return nil }

// Open implements control.Endpoint.
func (e *endpoint) Open(to qnet.NodeID, first wire.Message, h control.StreamHandler) (control.Stream, error) {
	w, peer := e.w, e.w.byID(to)
	if peer == nil {
		return nil, qnet.Errorf(qnet.ErrUnknown, "no such node")
	}
	p := &pipe{w: w}
	w.streams = append(w.streams, p)
	p.ends[0] = end{p: p, owner: (*Node)(e), handler: h}
	p.ends[1] = end{p: p, owner: peer}
	b := wire.Append(nil, first)
	w.sent(&p.ends[0], first)
	p.after(func() {
		t := &p.ends[1]
		if t.handler = peer.handler.Accept(t, b); t.handler == nil {
			t.Close(qnet.ErrProtocol)
		}
	})
	return &p.ends[0], nil
}

func (w *World) sent(e *end, m wire.Message) {
	if w.Log != nil {
		w.logf("%s → %s: %s", e.owner.Name, w.nameOf(e.Peer()), Format(m))
	}
}

// Format writes a message as its name and the fields that are not zero.
func Format(m wire.Message) string {
	var b strings.Builder
	b.WriteString(wire.Name(m))
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() {
			continue
		}
		name := strings.ToLower(v.Type().Field(i).Name)
		switch x := f.Interface().(type) {
		case string:
			fmt.Fprintf(&b, " %s=%q", name, x)
		case []byte:
			fmt.Fprintf(&b, " %s=%d:%q", name, len(x), x[:min(len(x), 16)])
		default:
			fmt.Fprintf(&b, " %s=%v", name, x)
		}
	}
	return b.String()
}

// pipe is a stream.
type pipe struct {
	w      *World
	ends   [2]end
	broken bool
}

func (p *pipe) after(f func()) {
	p.w.Loop.After(p.w.Delay, func() {
		if !p.broken {
			f()
		}
	})
}

type end struct {
	p       *pipe
	owner   *Node
	handler control.StreamHandler
	closed  bool
}

func (e *end) other() *end {
	if e == &e.p.ends[0] {
		return &e.p.ends[1]
	}
	return &e.p.ends[0]
}

// Peer implements control.Stream.
func (e *end) Peer() qnet.NodeID { return e.other().owner.id }

// Send implements control.Stream.
func (e *end) Send(m wire.Message) {
	if e.closed || e.p.broken {
		return
	}
	e.p.w.sent(e, m)
	b := wire.Append(nil, m)
	o := e.other()
	e.p.after(func() {
		if !o.closed && o.handler != nil {
			o.handler.Message(o, b)
		}
	})
}

// Close implements control.Stream.
func (e *end) Close(code qnet.Code) {
	if e.closed || e.p.broken {
		return
	}
	e.closed = true
	o, w := e.other(), e.p.w
	e.p.after(func() {
		w.streams = slices.DeleteFunc(w.streams, func(p *pipe) bool { return p == e.p })
		if o.closed || o.handler == nil {
			return
		}
		o.closed = true
		var err error
		if code != qnet.OK {
			err = qnet.Errorf(code, "%s closed the stream: %v", e.owner.Name, code)
		}
		o.handler.Closed(o, err)
	})
}

// Inject sends m from the node called from on its streams, as a faulty peer
// would.
func (w *World) Inject(from string, m wire.Message) {
	for _, p := range slices.Clone(w.streams) {
		for i := range p.ends {
			if e := &p.ends[i]; e.owner.Name == from {
				e.Send(m)
			}
		}
	}
}

// net is the network layer of a node.
type net Node

// HandleIncoming implements transport.Network.
func (n *net) HandleIncoming(f func(transport.Circuit, uint64) (transport.CircuitHandler, error)) {
	n.incoming = f
}

// Setup implements transport.Network.
func (n *net) Setup(dst qnet.NodeID, tag uint64, minFidelity float64, _ qnet.Time, h transport.CircuitHandler, done func(transport.Circuit, error)) {
	w := n.w
	best := w.MaxFidelity
	if best == 0 {
		best = 1
	}
	if minFidelity > best {
		w.Loop.After(0, func() {
			done(nil, qnet.Errorf(qnet.ErrFidelity, "the path reaches a fidelity of %.3f at best, %.3f was asked", best, minFidelity))
		})
		return
	}
	w.number++
	c := &line{w: w, number: w.number, fidelity: best}
	c.ends[0] = circuitEnd{c: c, owner: (*Node)(n), handler: h}
	c.ends[1] = circuitEnd{c: c, owner: w.byID(dst)}
	w.Loop.After(w.Delay, func() {
		t := &c.ends[1]
		th, err := t.owner.incoming(t, tag)
		t.handler = th
		w.Loop.After(w.Delay, func() {
			if err != nil {
				done(nil, err)
				return
			}
			if !c.gone {
				w.circuits = append(w.circuits, c)
			}
			done(&c.ends[0], nil)
		})
	})
}

// line is a circuit.
type line struct {
	w        *World
	number   uint64
	fidelity float64
	ends     [2]circuitEnd
	seq      uint64
	busy     bool
	gone     bool
}

type circuitEnd struct {
	c        *line
	owner    *Node
	handler  transport.CircuitHandler
	requests []*request // in the order of the calls
	closed   bool
}

type request struct {
	network.Request
	left uint64
}

func (e *circuitEnd) other() *circuitEnd {
	if e == &e.c.ends[0] {
		return &e.c.ends[1]
	}
	return &e.c.ends[0]
}

func (e *circuitEnd) ID() network.CircuitID {
	return network.CircuitID{Head: e.c.ends[0].owner.id, Number: e.c.number}
}
func (e *circuitEnd) Peer() qnet.NodeID { return e.other().owner.id }
func (e *circuitEnd) Hops() int         { return 1 }
func (e *circuitEnd) Lanes() int        { return 1 << 20 } // as many as anybody asks for
func (e *circuitEnd) Full() error       { return nil }

// Estimate implements transport.Circuit.
func (e *circuitEnd) Estimate() network.Estimate {
	return network.Estimate{Fidelity: e.c.fidelity, Rate: 1000}
}

func (e *circuitEnd) find(id uint64) *request {
	for _, r := range e.requests {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func (e *circuitEnd) drop(id uint64) {
	e.requests = slices.DeleteFunc(e.requests, func(r *request) bool { return r.ID == id })
}

// Request implements transport.Circuit.
func (e *circuitEnd) Request(r network.Request) error {
	if e.closed || e.c.gone {
		return qnet.Errorf(qnet.ErrClosed, "the circuit is closed")
	}
	if e.find(r.ID) != nil {
		return errors.New("request again")
	}
	e.c.w.logf("%s: request %d: %d pairs, measure %v, corrector %d", e.owner.Name, r.ID, r.Pairs, r.Measure, r.Corrector)
	e.requests = append(e.requests, &request{Request: r, left: r.Pairs})
	e.c.run()
	return nil
}

// Cancel implements transport.Circuit.
func (e *circuitEnd) Cancel(id uint64) {
	e.c.w.logf("%s: cancel request %d", e.owner.Name, id)
	e.drop(id)
	e.forget(id)
}

// Close implements transport.Circuit.
func (e *circuitEnd) Close(code qnet.Code) {
	if e.closed {
		return
	}
	e.closed = true
	c, o := e.c, e.other()
	c.w.remove(c)
	c.w.Loop.After(c.w.Delay, func() {
		if !o.closed && o.handler != nil {
			o.closed = true
			o.handler.Down(qnet.Errorf(code, "%s closed the circuit", e.owner.Name))
		}
	})
}

// run makes pairs for the requests of both ends, if there are any.
func (c *line) run() {
	if c.busy || c.gone || c.w.Manual {
		return
	}
	if c.next() == nil {
		return
	}
	c.busy = true
	c.w.Loop.After(c.w.PairTime, func() {
		c.busy = false
		n := 1
		if c.w.PairTime == 0 {
			n = 1000
		}
		for range n {
			r := c.next()
			if r == nil || c.gone {
				break
			}
			c.make(r.ID, qnet.BellLabel(c.w.rng.IntN(4)))
		}
		c.run()
	})
}

// next returns the head's oldest request that the tail has made too.
func (c *line) next() *request {
	for _, r := range c.ends[0].requests {
		if c.ends[1].find(r.ID) != nil {
			return r
		}
	}
	return nil
}

// Deliver makes a pair for a request, at both ends if these have made the
// request, or at the end of the node called only.
func (w *World) Deliver(only string, id uint64, label qnet.BellLabel) {
	for _, c := range slices.Clone(w.circuits) {
		if only == "" {
			c.make(id, label)
			continue
		}
		c.part(only, id, label)
	}
}

// half is one end's half of a pair that the other end has yet to get.
type half struct {
	q     *qubit
	label qnet.BellLabel
	seq   uint64
}

type halfKey struct {
	end     *circuitEnd
	request uint64
}

// forget frees the half that an end will never get.
func (e *circuitEnd) forget(id uint64) {
	if h, ok := e.c.w.halves[halfKey{e, id}]; ok {
		delete(e.c.w.halves, halfKey{e, id})
		e.owner.Device.release(h.q.handle)
	}
}

// make delivers one pair at both ends.
func (c *line) make(id uint64, label qnet.BellLabel) {
	a, b := c.ends[0].find(id), c.ends[1].find(id)
	if a == nil || b == nil {
		return
	}
	if a.Corrector != network.CorrectorNobody {
		label = a.State
	}
	c.seq++
	da := network.Delivery{Request: id, Name: network.PairName{Circuit: c.ends[0].ID(), Seq: c.seq}, Label: label, Created: c.w.Loop.Now(), At: c.w.Loop.Now(), Fidelity: c.fidelity}
	db := da
	if a.Measure && b.Measure {
		da.Basis, db.Basis = c.draw(a.Bases), c.draw(b.Bases)
		da.Bit, db.Bit = c.w.sample(label, a.Bases.Bases[da.Basis], b.Bases.Bases[db.Basis])
	} else {
		qa, qb := c.entangle(label)
		c.keepOrMeasure(&da, a, qa)
		c.keepOrMeasure(&db, b, qb)
	}
	c.hand(&c.ends[0], a, da)
	c.hand(&c.ends[1], b, db)
}

// part delivers at one end only what the other end gets by a later call.
func (c *line) part(only string, id uint64, label qnet.BellLabel) {
	for i := range c.ends {
		e := &c.ends[i]
		if e.owner.Name != only {
			continue
		}
		r := e.find(id)
		if r == nil {
			return
		}
		h, ok := c.w.halves[halfKey{e, id}]
		if !ok {
			c.seq++
			qa, qb := c.entangle(label)
			mine, other := qa, qb
			if i == 1 {
				mine, other = qb, qa
			}
			h = half{mine, label, c.seq}
			c.w.halves[halfKey{e.other(), id}] = half{other, label, c.seq}
		} else {
			delete(c.w.halves, halfKey{e, id})
		}
		c.hand(e, r, network.Delivery{Request: id, Name: network.PairName{Circuit: e.ID(), Seq: h.seq}, Label: h.label, Qubit: h.q.handle, Created: c.w.Loop.Now(), At: c.w.Loop.Now(), Fidelity: c.fidelity})
		return
	}
}

func (c *line) entangle(label qnet.BellLabel) (a, b *qubit) {
	a, b = c.ends[0].owner.Device.add(), c.ends[1].owner.Device.add()
	a.gate(physical.GateH, 0, nil)
	a.gate(physical.GateCNOT, 0, b)
	if label.Z() {
		b.gate(physical.GateZ, 0, nil)
	}
	if label.X() {
		b.gate(physical.GateX, 0, nil)
	}
	return a, b
}

func (c *line) keepOrMeasure(d *network.Delivery, r *request, q *qubit) {
	if !r.Measure {
		d.Qubit = q.handle
		return
	}
	d.Basis = c.draw(r.Bases)
	d.Bit = q.measure(r.Bases.Bases[d.Basis], c.w.rng)
	delete(q.owner.qubits, q.handle)
}

func (c *line) draw(s physical.BasisSource) uint8 {
	if s.Weights == nil {
		return uint8(c.w.rng.IntN(len(s.Bases)))
	}
	sum := 0.0
	for _, w := range s.Weights {
		sum += w
	}
	x := c.w.rng.Float64() * sum
	for i, w := range s.Weights {
		if x -= w; x < 0 {
			return uint8(i)
		}
	}
	return uint8(len(s.Bases) - 1)
}

// sample measures both halves of a Bell state: the marginals are uniform, the
// correlation is a·T·b with T=diag(1,−1,1) for Φ+, and flipped signs for others.
func (w *World) sample(label qnet.BellLabel, a, b qnet.Basis) (uint8, uint8) {
	ax, ay, az := a.Axis()
	bx, by, bz := b.Axis()
	sign := func(neg bool) float64 {
		if neg {
			return -1
		}
		return 1
	}
	e := sign(label.Z())*ax*bx - sign(label.Z() != label.X())*ay*by + sign(label.X())*az*bz
	bit := uint8(w.rng.IntN(2))
	if w.rng.Float64() < (1+e)/2 {
		return bit, bit
	}
	return bit, 1 - bit
}

// hand gives an end its part of a pair.
func (c *line) hand(e *circuitEnd, r *request, d network.Delivery) {
	r.left--
	if r.left == 0 {
		e.drop(r.ID)
	}
	e.handler.Pair(d)
	if r.left == 0 {
		e.handler.RequestDone(r.ID)
	}
}
