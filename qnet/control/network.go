package control

import (
	"math/rand/v2"
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// Network is the classical network of a virtual world, or of one process, in
// memory: its endpoints (see Endpoint) exchange encoded messages by events of
// one loop. Nothing is ever delivered within the call that sends it, and what
// arrives at one instant arrives in the order in which it was sent. Its methods
// are called on the loop, or before it runs.
//
// Two endpoints have one connection, made by Connect or, on first use, by
// Config.Route. A connection is up while both endpoints exist and it is not
// broken. What is in flight when it goes down is lost; after Config.Detect both
// ends lose its streams and are told by PeerDown. If it comes up again before
// that, they are told at once, PeerDown first and then PeerUp, as streams never
// outlive an interruption.
type Network struct {
	loop     event.Scheduler
	cfg      Config
	filter   Filter
	nodes    map[qnet.NodeID]*Mem
	conns    map[[2]qnet.NodeID]*conn // by identities in ascending order
	byNode   map[qnet.NodeID][]*conn  // in the order in which they were made
	free     *record
	codec    wire.Codec
	inFlight int
	streams  int
	opened   uint64  // streams ever opened
	counts   []Count // of datagrams, by type
}

// Config configures a Network.
type Config struct {
	// Loop runs everything. It must be set.
	Loop event.Scheduler
	// Seed is that of the random streams of the connections, one for each
	// direction.
	Seed uint64
	// Names gives nodes names for errors and traces and for their random streams;
	// a node without a name goes by its identity.
	Names map[qnet.NodeID]string
	// Route gives the delay between two nodes that Connect has not connected, for
	// end-to-end connections, and false when there is no way between them. It is
	// asked once for each pair of nodes. Nil stands for no way.
	Route func(a, b qnet.NodeID) (delay time.Duration, ok bool)
	// Detect is the time from the loss of a connection until its ends know. 0
	// stands for one second.
	Detect time.Duration
	// Filter, if not nil, decides on every message. See also SetFilter.
	Filter Filter
}

// LinkConfig says what a connection does to messages. The zero value delivers
// all at once.
type LinkConfig struct {
	Delay  time.Duration // of every message
	Jitter time.Duration // a further delay, uniform from 0 to Jitter; streams keep their order

	// Probabilities for datagrams, independent for each: that it is lost, that it
	// arrives twice, and that it arrives late by a uniform time up to ReorderBy, so
	// that later ones overtake it. The two copies of a duplicate are jittered and
	// reordered independently.
	Loss, Duplicate, Reorder float64
	// ReorderBy is the most that a reordered datagram is late. 0 stands for Delay
	// or a millisecond, whichever is more.
	ReorderBy time.Duration
}

func (l LinkConfig) check() error {
	for _, p := range []struct {
		name string
		v    float64
	}{{"Loss", l.Loss}, {"Duplicate", l.Duplicate}, {"Reorder", l.Reorder}} {
		if !(p.v >= 0 && p.v <= 1) {
			return qnet.Errorf(qnet.ErrInvalid, "%s is %v: want a probability from 0 to 1", p.name, p.v)
		}
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"Delay", l.Delay}, {"Jitter", l.Jitter}, {"ReorderBy", l.ReorderBy}} {
		if d.v < 0 {
			return qnet.Errorf(qnet.ErrInvalid, "%s is %v: want 0 or more", d.name, d.v)
		}
	}
	return nil
}

// Class is one of the two ways in which messages travel.
type Class uint8

// The classes.
const (
	ClassDatagram Class = iota
	ClassStream
)

// String returns "datagram" or "stream".
func (c Class) String() string {
	if c == ClassStream {
		return "stream"
	}
	return "datagram"
}

// Filter decides on a message as it is sent, before the connection's own
// hazards. It may change the bytes in place.
type Filter func(from, to qnet.NodeID, class Class, typ wire.Type, b []byte) Verdict

// Verdict is what a Filter decides.
type Verdict struct {
	Action Action
	Delay  time.Duration // further delay; on a stream also of what comes after
}

// Action is what happens to a message.
type Action uint8

// The actions. Those that make no sense for the class of the message count as
// Deliver.
const (
	Deliver    Action = iota
	Drop              // datagrams: it is lost
	Duplicate         // datagrams: it arrives twice
	Break             // streams: in its place comes the end of the stream, an error at both ends
	BreakAfter        // streams: the same right after it
)

// NewNetwork returns a network without endpoints.
func NewNetwork(cfg Config) *Network {
	if cfg.Detect == 0 {
		cfg.Detect = time.Second
	}
	return &Network{
		loop:   cfg.Loop,
		cfg:    cfg,
		filter: cfg.Filter,
		nodes:  make(map[qnet.NodeID]*Mem),
		conns:  make(map[[2]qnet.NodeID]*conn),
		byNode: make(map[qnet.NodeID][]*conn),
	}
}

// SetFilter replaces the filter; nil lets everything pass.
func (n *Network) SetFilter(f Filter) { n.filter = f }

// Endpoint returns the new endpoint of a node. One that the node has already is
// removed first, as in a restart.
func (n *Network) Endpoint(id qnet.NodeID, tr *trace.Tracer) *Mem {
	n.Remove(id)
	m := &Mem{net: n, id: id, tr: tr, peers: make(map[qnet.NodeID]hop)}
	n.nodes[id] = m
	for _, c := range n.byNode[id] {
		c.attach(c.side(id), m)
	}
	return m
}

// Remove ends the endpoint of a node, as if its process had died: its handlers
// hear nothing more and its peers find out after Config.Detect. It does nothing
// when there is none.
func (n *Network) Remove(id qnet.NodeID) {
	m := n.nodes[id]
	if m == nil {
		return
	}
	delete(n.nodes, id)
	m.removed = true
	for _, c := range n.byNode[id] {
		c.detach(c.side(id))
	}
}

// Connect connects two nodes, whether they have endpoints yet or not, or gives
// their connection another configuration for what is sent from now on.
func (n *Network) Connect(a, b qnet.NodeID, cfg LinkConfig) error {
	if a == b || a == 0 || b == 0 {
		return qnet.Errorf(qnet.ErrInvalid, "connect %s to %s: want two different nodes", n.name(a), n.name(b))
	}
	if err := cfg.check(); err != nil {
		return qnet.Errorf(qnet.ErrInvalid, "connect %s to %s: %v", n.name(a), n.name(b), err)
	}
	if c := n.conns[key(a, b)]; c != nil {
		c.configure(cfg)
		return nil
	}
	n.connect(a, b, cfg)
	return nil
}

// Break cuts the connection between two nodes until Restore.
func (n *Network) Break(a, b qnet.NodeID) error {
	c, err := n.conn(a, b)
	if err == nil {
		c.cut = true
		c.update()
	}
	return err
}

// Restore ends the effect of Break.
func (n *Network) Restore(a, b qnet.NodeID) error {
	c, err := n.conn(a, b)
	if err == nil {
		c.cut = false
		c.update()
	}
	return err
}

// InFlight returns the number of messages that were sent and have not arrived,
// counting the ends of streams as messages, and what is going to be lost.
func (n *Network) InFlight() int { return n.inFlight }

// Count says what became of the datagrams of a type.
type Count struct {
	Sent uint64 // each once, however often it arrives
	Lost uint64 // of these, the ones that did not arrive; those under way are not among them
}

// Datagrams returns the count of a type, of all endpoints from the beginning.
func (n *Network) Datagrams(t wire.Type) Count {
	if int(t) < len(n.counts) {
		return n.counts[t]
	}
	return Count{}
}

// count returns where datagrams of a type are counted.
func (n *Network) count(t wire.Type) *Count {
	for int(t) >= len(n.counts) {
		n.counts = append(n.counts, Count{})
	}
	return &n.counts[t]
}

// Streams returns the number of streams that at least one end has not closed or
// been told the end of.
func (n *Network) Streams() int { return n.streams }

func (n *Network) name(id qnet.NodeID) string {
	if s, ok := n.cfg.Names[id]; ok {
		return s
	}
	return id.String()
}

// key returns the key of a connection in Network.conns.
func key(a, b qnet.NodeID) [2]qnet.NodeID {
	return [2]qnet.NodeID{min(a, b), max(a, b)}
}

// conn returns the connection between two nodes, made by Route if need be.
func (n *Network) conn(a, b qnet.NodeID) (*conn, error) {
	if c := n.conns[key(a, b)]; c != nil {
		return c, nil
	}
	if n.cfg.Route != nil && a != b {
		if delay, ok := n.cfg.Route(a, b); ok {
			return n.connect(a, b, LinkConfig{Delay: max(delay, 0)}), nil
		}
	}
	return nil, qnet.Errorf(qnet.ErrUnknown, "%s has no control connection to %s and no route there", n.name(a), n.name(b))
}

func (n *Network) connect(a, b qnet.NodeID, cfg LinkConfig) *conn {
	c := &conn{net: n, ids: key(a, b)}
	c.configure(cfg)
	n.conns[c.ids] = c
	for side, id := range c.ids {
		n.byNode[id] = append(n.byNode[id], c)
		if m := n.nodes[id]; m != nil {
			c.attach(side, m)
		}
	}
	return c
}

// conn is the connection of two endpoints, its sides 0 and 1.
//
//	        both endpoints there, not cut
//	down ----------------------------------> up
//	 ^  <-----------------------------------  |
//	 |       an endpoint removed, or cut
//	 |
//	 | until Detect is over the ends do not know: detecting
type conn struct {
	net   *Network
	ids   [2]qnet.NodeID
	ends  [2]*Mem // nil where there is none
	cfg   LinkConfig
	rngs  [2]*rand.Rand
	cut   bool
	up    bool
	epoch uint64  // number of changes of up
	told  [2]bool // what each side believes of up
	// After the connection went down, until its ends are told:
	detecting bool
	detect    event.Timer
	lost      uint64 // the epoch that began when it last went down

	first, last *stream // those not over at both ends, in the order of opening
}

func (c *conn) side(id qnet.NodeID) int {
	if id == c.ids[0] {
		return 0
	}
	return 1
}

func (c *conn) configure(cfg LinkConfig) {
	if cfg.ReorderBy == 0 {
		cfg.ReorderBy = max(cfg.Delay, time.Millisecond)
	}
	c.cfg = cfg
}

// rng returns the random stream of what side sends.
func (c *conn) rng(side int) *rand.Rand {
	if c.rngs[side] == nil {
		c.rngs[side] = qnet.NewRand(c.net.cfg.Seed, "control/"+c.net.name(c.ids[side])+"/"+c.net.name(c.ids[1-side]))
	}
	return c.rngs[side]
}

// chance draws an event of probability p; it draws nothing for 0.
func (c *conn) chance(side int, p float64) bool {
	return p > 0 && c.rng(side).Float64() < p
}

// upTo draws a uniform time from 0 to d; it draws nothing for 0.
func (c *conn) upTo(side int, d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(c.rng(side).Uint64N(uint64(d) + 1))
}

// datagramDelay draws the time that a datagram from side takes.
func (c *conn) datagramDelay(side int) time.Duration {
	d := c.cfg.Delay + c.upTo(side, c.cfg.Jitter)
	if c.chance(side, c.cfg.Reorder) {
		d += c.upTo(side, c.cfg.ReorderBy)
	}
	return d
}

func (c *conn) attach(side int, m *Mem) {
	c.ends[side] = m
	m.peers[c.ids[1-side]] = hop{c, side}
	c.update()
}

func (c *conn) detach(side int) {
	c.ends[side] = nil
	c.told[side] = false
	for s := c.first; s != nil; s = s.next {
		s.half[side].state = closed
		s.half[side].h = nil
	}
	c.update()
}

// update follows a change of what makes the connection up.
func (c *conn) update() {
	up := c.ends[0] != nil && c.ends[1] != nil && !c.cut
	if up == c.up {
		return
	}
	c.up = up
	c.epoch++
	loop := c.net.loop
	if !up {
		c.lost = c.epoch
		c.detecting = true
		c.detect.Stop() // of a loss before the last moments
		c.detect = loop.After(c.net.cfg.Detect, c.tellDown)
		return
	}
	if c.detecting {
		c.detect.Stop()
		c.detect = loop.At(loop.Now(), c.tellDown)
	}
	loop.At(loop.Now(), c.tellUp)
}

// tellUp tells both ends, unless the connection has gone down again.
func (c *conn) tellUp() {
	epoch := c.epoch
	for side, m := range c.ends {
		if c.up && c.epoch == epoch && !c.told[side] {
			c.told[side] = true
			m.peerUp(c.ids[1-side])
		}
	}
}

// tellDown ends the streams from before the connection went down and tells both
// ends.
func (c *conn) tellDown() {
	c.detecting = false
	lost := c.lost
	for c.first != nil && c.first.epoch <= lost {
		c.first.fail(qnet.ErrUnavail, "connection lost")
	}
	for side := range c.ends {
		if m := c.ends[side]; m != nil && c.told[side] {
			c.told[side] = false
			peer := c.ids[1-side]
			m.peerDown(peer, qnet.Errorf(qnet.ErrUnavail, "peer %s: connection lost", c.net.name(peer)))
		}
	}
}
