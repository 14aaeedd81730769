package remote

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

const (
	maxPending    = 1 << 16 // operations of a node without an answer
	opBase        = 1<<32 - 256
	attachTimeout = 2 * time.Second
	minBackoff    = 50 * time.Millisecond
	maxBackoff    = 2 * time.Second
)

// Config describes the device of a node and where it is.
type Config struct {
	Name       string // of the node, for diagnostics
	Fabric     qnet.NodeID
	FabricName string // for diagnostics
	// Spec is the data sheet as the node's scenario has it. The fabric must have
	// the same.
	Spec *physical.Spec
	// SameClock says that the fabric is on the same loop, so that its time is the
	// loop's and need not be asked for.
	SameClock bool
}

// Client is the device of a node whose fabric lives in another process. It
// attaches when the fabric becomes reachable, and again after every loss.
//
//	           PeerUp, or time to try again         Attached
//	detached ------------------------------> attaching ------> attached
//	    ^                                        |                |
//	    |   refused, another data sheet,         |                |
//	    |   time-out, stream lost                |   stream lost  |
//	    +----------------------------------------+----------------+
//
// While it is not attached, operations fail with qnet.ErrUnavail and an error
// that names the fabric and says why. Those under way when the fabric is lost
// fail with qnet.ErrRestarted if it restarted and qnet.ErrUnavail otherwise;
// they may have been executed, but their qubits are gone in any case.
type Client struct {
	cfg    Config
	ep     control.Endpoint
	loop   event.Scheduler
	tr     *trace.Tracer
	watch  func(physical.LinkID, uint32)
	change func(error)

	state   state
	why     error          // not attached: the reason
	stream  control.Stream // nil while detached
	since   qnet.Time      // attaching or attached: for so long
	timer   event.Timer    // attaching: its deadline; detached: the next attempt
	backoff time.Duration
	fabric  uint32
	clock   clock

	next    uint64 // number of the next operation
	queue   []Op   // of this turn
	flush   event.Timer
	pending map[uint64]request
	bulks   map[uint64]bulk // by the number of the arming
	armed   map[physical.Qubit]uint64

	flushed, tick func() // method values, made once
	results       Results
	outcomes      Outcomes
	basis, bit    []uint8
}

var _ physical.Device = (*Client)(nil)

// state is that of a Client.
type state uint8

const (
	detached state = iota
	attaching
	attached
	closed // for good, by Close
)

// request is an operation without an answer.
type request struct {
	kind physical.OpKind
	done func(physical.Result)
	sink func(physical.Outcomes, error) // of ArmBulk
}

// bulk is a lane that measures directly.
type bulk struct {
	qubit physical.Qubit
	sink  func(physical.Outcomes, error)
}

// NewClient returns the device of a node. It takes over the fabric service of
// the endpoint, which must keep a connection to the fabric by itself; it is made
// before the endpoint starts. tr may be nil.
func NewClient(cfg Config, ep control.Endpoint, loop event.Scheduler, tr *trace.Tracer) *Client {
	c := &Client{
		cfg: cfg, ep: ep, loop: loop, tr: tr,
		next:    opBase,
		pending: make(map[uint64]request),
		bulks:   make(map[uint64]bulk),
		armed:   make(map[physical.Qubit]uint64),
	}
	c.clock.next = clockBase
	c.flushed, c.tick = c.sendOps, c.askTime
	c.why = qnet.Errorf(qnet.ErrUnavail, "there has been no connection yet")
	ep.Handle(wire.ServiceFabric, (*clientReceiver)(c))
	return c
}

// OnChange makes f be called with nil whenever the device has become usable and
// with an error whenever it is lost or an attempt to attach failed for another
// reason than the last. The error says why, and names the fabric. It is called
// once, before the loop runs.
func (c *Client) OnChange(f func(error)) { c.change = f }

// Spec returns the data sheet.
func (c *Client) Spec() *physical.Spec { return c.cfg.Spec }

// Now returns the current instant of fabric time as well as it is known. Before
// the first attachment it is the loop's.
func (c *Client) Now() qnet.Time { return c.loop.Now().Add(c.clock.best.offset) }

// Offset returns how far fabric time is estimated to be ahead of the loop's.
func (c *Client) Offset() time.Duration { return c.clock.best.offset }

// Uncertainty returns by how much Offset may be wrong: half of the shortest
// round trip among the latest exchanges of time. It is 0 before the first
// attachment, when nothing is known, and with Config.SameClock.
func (c *Client) Uncertainty() time.Duration { return c.clock.best.trip / 2 }

// Attached reports whether the device is usable.
func (c *Client) Attached() bool { return c.state == attached }

// Pending returns the number of operations without an answer.
func (c *Client) Pending() int { return len(c.pending) }

// Watch implements physical.Device.
func (c *Client) Watch(f func(physical.LinkID, uint32)) { c.watch = f }

// Do implements physical.Device. The operation travels at the end of the loop's
// turn, together with all others of the turn. With 65,536 operations without an
// answer it is refused with qnet.ErrBusy, at once.
func (c *Client) Do(op physical.Op, done func(physical.Result)) {
	if err := c.refuses(&op); err != nil {
		c.refuse(err, done)
		return
	}
	if op.Kind == physical.OpFree {
		if number, ok := c.armed[op.A]; ok {
			c.forget(number)
		}
	}
	c.enqueue(Op{Op: op}, request{kind: op.Kind, done: done})
}

// ArmBulk implements physical.Device. After OpFree sink hears nothing more, even
// of outcomes that are on their way. A large batch comes in several parts.
func (c *Client) ArmBulk(link physical.LinkID, lane uint32, src physical.BasisSource, sink func(physical.Outcomes, error), done func(physical.Result)) {
	op := Op{Op: physical.Op{Kind: physical.OpArm, Link: link, Lane: lane}, Bases: slices.Clone(src.Bases), Weights: slices.Clone(src.Weights)}
	err := c.refuses(&op.Op)
	if err == nil {
		if _, e := src.Choice(); e != nil {
			err = qnet.Errorf(qnet.ErrInvalid, "node %s: measuring directly on link %d lane %d: %v", c.cfg.Name, link, lane, e)
		} else if sink == nil {
			err = qnet.Errorf(qnet.ErrInvalid, "node %s: measuring directly on link %d lane %d: nobody takes the outcomes", c.cfg.Name, link, lane)
		}
	}
	if err != nil {
		c.refuse(err, done)
		return
	}
	if len(op.Bases) == 0 {
		op.Bases = []qnet.Basis{qnet.BasisZ}
	}
	c.enqueue(op, request{kind: op.Kind, done: done, sink: sink})
}

// Close detaches for good: the fabric frees all qubits of the node, and what has
// no answer fails with qnet.ErrUnavail.
func (c *Client) Close() {
	if c.state == closed {
		return
	}
	if c.stream != nil {
		c.stream.Close(qnet.OK)
	}
	c.lose(closed, qnet.Errorf(qnet.ErrUnavail, "the device was closed"))
}

// refuses returns why an operation is not even sent.
func (c *Client) refuses(op *physical.Op) error {
	if c.state != attached {
		return c.unavailable(qnet.ErrUnavail)
	}
	for _, q := range [...]struct {
		physical.Qubit
		used bool
	}{{op.A, usesA(op)}, {op.B, usesB(op)}} {
		if q.used && !q.IsZero() && q.Fabric != c.fabric {
			return qnet.Errorf(qnet.ErrRestarted, "node %s: %v is not of this fabric: it restarted, and the qubits of before are gone", c.cfg.Name, q.Qubit)
		}
	}
	if len(c.pending) >= maxPending {
		return qnet.Errorf(qnet.ErrBusy, "node %s: %d operations have no answer yet: await results before asking for more", c.cfg.Name, len(c.pending))
	}
	return nil
}

// refuse answers an operation that is not sent.
func (c *Client) refuse(err error, done func(physical.Result)) {
	if done != nil {
		c.loop.After(0, func() { done(physical.Result{Err: err, At: c.Now()}) })
	}
}

// unavailable returns the error of an operation when the fabric is not there.
func (c *Client) unavailable(code qnet.Code) error {
	return qnet.Errorf(code, "node %s has no quantum hardware: fabric %s: %v", c.cfg.Name, c.cfg.FabricName, c.why)
}

func (c *Client) enqueue(op Op, r request) {
	if len(c.queue) == 0 {
		c.flush = c.loop.After(0, c.flushed)
	}
	c.queue = append(c.queue, op)
	c.pending[c.next] = r
	c.next++
	if len(c.queue) == maxOps {
		c.flush.Stop()
		c.sendOps()
	}
}

// sendOps sends the operations of this turn.
func (c *Client) sendOps() {
	c.stream.Send(&Ops{First: c.next - uint64(len(c.queue)), Ops: c.queue})
	clear(c.queue) // of bases
	c.queue = c.queue[:0]
}

// forget makes the outcomes of a lane nobody's.
func (c *Client) forget(number uint64) {
	delete(c.armed, c.bulks[number].qubit)
	delete(c.bulks, number)
}

func (c *Client) trace(name string) trace.Event {
	return c.tr.Event(c.Now(), "remote", name).Str("fabric", c.cfg.FabricName)
}

// attach opens a stream to the fabric.
func (c *Client) attach() {
	c.timer.Stop()
	c.state, c.since = attaching, c.loop.Now()
	s, err := c.ep.Open(c.cfg.Fabric, &Attach{Version: Version}, (*clientReceiver)(c))
	if err != nil {
		c.lose(detached, err)
		return
	}
	c.stream = s
	c.timer = c.loop.After(attachTimeout, func() {
		c.leave(qnet.Errorf(qnet.ErrTimeout, "no answer to Attach within %v", attachTimeout))
	})
}

// leave gives the stream up.
func (c *Client) leave(err error) {
	c.stream.Close(qnet.CodeOf(err))
	c.lose(detached, err)
}

// lose ends the attachment, or the attempt at one: everything that waits for
// the fabric is told, in the order in which it was asked for.
func (c *Client) lose(to state, why error) {
	if c.state == attached && c.loop.Now().Sub(c.since) > maxBackoff {
		c.backoff = 0
	}
	c.state, c.stream = to, nil
	c.timer.Stop()
	c.flush.Stop()
	c.clock.timer.Stop()
	clear(c.queue)
	c.queue = c.queue[:0]
	c.retry(why)
	news := c.why == nil || c.why.Error() != why.Error()
	c.why = why
	code := qnet.ErrUnavail
	if qnet.CodeOf(why) == qnet.ErrRestarted {
		code = qnet.ErrRestarted
	}
	err := c.unavailable(code)
	if news {
		c.trace("detached").Err(why).End()
	}

	pending, bulks := c.pending, c.bulks
	c.pending, c.bulks = make(map[uint64]request), make(map[uint64]bulk)
	clear(c.armed)
	at := c.Now()
	for _, number := range slices.Sorted(maps.Keys(pending)) {
		if done := pending[number].done; done != nil {
			done(physical.Result{Err: err, At: at})
		}
	}
	for _, number := range slices.Sorted(maps.Keys(bulks)) {
		bulks[number].sink(physical.Outcomes{}, err)
	}
	if news && c.state != closed && c.change != nil {
		c.change(err)
	}
}

// retry arranges for the next attempt, if the fabric is there: otherwise PeerUp
// will. Somebody else who is attached as this node is left alone.
func (c *Client) retry(why error) {
	if c.state != detached || !c.ep.Up(c.cfg.Fabric) || qnet.CodeOf(why) == qnet.ErrInUse {
		return
	}
	c.backoff = min(max(2*c.backoff, minBackoff), maxBackoff)
	c.timer = c.loop.After(c.backoff, c.attach)
}

// clientReceiver is what a Client shows to its endpoint.
type clientReceiver Client

func (r *clientReceiver) Accept(control.Stream, []byte) control.StreamHandler { return nil }

func (r *clientReceiver) PeerUp(peer qnet.NodeID) {
	if c := (*Client)(r); peer == c.cfg.Fabric && c.state == detached {
		c.backoff = 0
		c.attach()
	}
}

func (r *clientReceiver) PeerDown(peer qnet.NodeID, err error) {
	if c := (*Client)(r); peer == c.cfg.Fabric && c.state == detached {
		c.timer.Stop()
	}
}

func (r *clientReceiver) Datagram(from qnet.NodeID, b []byte) {
	c := (*Client)(r)
	var m ClockReply
	if from == c.cfg.Fabric && c.state == attached && wire.Parse(b, &m) == nil {
		c.clock.answer(m.Sequence, m.At, c.loop.Now())
	}
}

func (r *clientReceiver) Closed(s control.Stream, err error) {
	c := (*Client)(r)
	if s != c.stream {
		return
	}
	switch {
	case err == nil:
		err = qnet.Errorf(qnet.ErrUnavail, "it closed the stream")
	case c.state == attaching && qnet.CodeOf(err) == qnet.ErrAuth:
		err = qnet.Errorf(qnet.ErrAuth, "it has no node %s: start both with the same scenario (%v)", c.cfg.Name, err)
	case c.state == attaching && qnet.CodeOf(err) == qnet.ErrUnsupported:
		err = qnet.Errorf(qnet.ErrUnsupported, "it does not speak version %d of the protocol: run the same release on both sides (%v)", Version, err)
	case qnet.CodeOf(err) == qnet.ErrInUse:
		err = qnet.Errorf(qnet.ErrInUse, "another process attached as node %s: stop one of the two (%v)", c.cfg.Name, err)
	}
	c.lose(detached, err)
}

func (r *clientReceiver) Message(s control.Stream, b []byte) {
	c := (*Client)(r)
	if s != c.stream {
		return
	}
	if err := c.message(b); err != nil && s == c.stream {
		c.leave(err)
	}
}

// message takes a message of the fabric.
func (c *Client) message(b []byte) error {
	t, _, err := wire.Peek(b)
	if err != nil {
		return err
	}
	switch {
	case t == typeAttached && c.state == attaching:
		return c.onAttached(b)
	case t == typeResults && c.state == attached:
		return c.onResults(b)
	case t == typeOutcomes && c.state == attached:
		return c.onOutcomes(b)
	}
	return qnet.Errorf(qnet.ErrProtocol, "it sent a message of type 0x%x, which has no place here", uint16(t))
}

func (c *Client) onAttached(b []byte) error {
	var m Attached
	if err := wire.Parse(b, &m); err != nil {
		return err
	}
	own := newSheet(c.cfg.Spec)
	if what := own.differs(&m.Sheet); what != "" {
		return qnet.Errorf(qnet.ErrMismatch, "its data sheet of node %s is another: %s: start both with the same scenario", c.cfg.Name, what)
	}
	c.timer.Stop()
	now := c.loop.Now()
	c.clock.reset()
	if !c.cfg.SameClock {
		c.clock.take(c.since, m.Now, now)
		c.askTime()
	}
	c.state, c.why, c.since = attached, nil, now
	c.fabric = m.Fabric
	c.trace("attached").Uint("id", uint64(m.Fabric)).Int("offset", int64(c.Offset())).End()

	s := c.stream
	if c.change != nil {
		c.change(nil)
	}
	for _, l := range own.Lanes {
		for lane := range uint32(l.Lanes) {
			if c.watch != nil && c.stream == s {
				c.watch(l.Link, lane)
			}
		}
	}
	return nil
}

func (c *Client) onResults(b []byte) error {
	m, s := &c.results, c.stream
	if err := wire.Parse(b, m); err != nil {
		return err
	}
	freed := m.Freed
	for i := range len(m.Results) + 1 {
		for ; len(freed) > 0 && freed[0].After == uint64(i) && c.stream == s; freed = freed[1:] {
			if c.watch != nil {
				c.watch(freed[0].Link, freed[0].Lane)
			}
		}
		if c.stream != s {
			return nil // closed by a callback
		}
		if i < len(m.Results) {
			if err := c.onResult(&m.Results[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Client) onResult(r *Result) error {
	q, ok := c.pending[r.Number]
	if !ok {
		return qnet.Errorf(qnet.ErrProtocol, "it answered operation %d, which nobody asked for", r.Number)
	}
	delete(c.pending, r.Number)
	res := physical.Result{At: r.At}
	switch {
	case r.Code != qnet.OK:
		res.Err = qnet.Errorf(r.Code, "%s", r.Text)
	case q.kind == physical.OpAlloc || q.kind == physical.OpArm || q.kind == physical.OpPrepare:
		res.Qubit = physical.Qubit{Fabric: c.fabric, Index: r.Index, Generation: r.Generation}
	case q.kind == physical.OpMeasure:
		res.Bit = r.Value & 1
	case q.kind == physical.OpBSM:
		res.Label = qnet.BellLabel(r.Value)
	}
	if q.sink != nil && res.Err == nil {
		c.bulks[r.Number] = bulk{res.Qubit, q.sink}
		c.armed[res.Qubit] = r.Number
	}
	if q.done != nil {
		q.done(res)
	}
	return nil
}

func (c *Client) onOutcomes(b []byte) error {
	m := &c.outcomes
	if err := wire.Parse(b, m); err != nil {
		return err
	}
	lane, ok := c.bulks[m.Number]
	if !ok {
		return nil // freed while they were on their way
	}
	c.basis, c.bit = c.basis[:0], c.bit[:0]
	for _, x := range m.Bits {
		c.basis = append(c.basis, x>>1)
		c.bit = append(c.bit, x&1)
	}
	lane.sink(physical.Outcomes{Cycle: m.Cycles, Basis: c.basis, Bit: c.bit, At: m.At}, nil)
	return nil
}

// askTime sends a request for the time, and arranges for the next.
func (c *Client) askTime() {
	// A datagram that can not be sent is as good as lost.
	_ = c.ep.Datagram(c.cfg.Fabric, &ClockRequest{Sequence: c.clock.ask(c.loop.Now()), Padding: make([]byte, padding)})
	c.clock.timer = c.loop.After(c.clock.pause(), c.tick)
}

// newSheet returns a data sheet as it travels.
func newSheet(s *physical.Spec) Sheet {
	m := Sheet{
		Storage: uint64(s.Storage), Communication: uint64(s.Communication), Init: s.Init, Gate1: s.Gate1, Gate2: s.Gate2, Readout: s.Readout,
		T1: s.T1, T2: s.T2, Depolarise: s.Depolarise, Noise: s.Noise, Coupling: s.Coupling, Serial: s.Serial,
	}
	for _, link := range slices.Sorted(maps.Keys(s.Lanes)) {
		m.Lanes = append(m.Lanes, LinkLanes{link, uint64(s.Lanes[link]), s.AttemptDephasing[link]})
	}
	if s.Memory != nil {
		m.Memory = []physical.Memory{*s.Memory}
	}
	return m
}

// differs returns the first difference to the fabric's data sheet, "" if there
// is none.
func (m *Sheet) differs(f *Sheet) string {
	if len(m.Lanes) != len(f.Lanes) {
		return fmt.Sprintf("%d links here, %d there", len(m.Lanes), len(f.Lanes))
	}
	for i, l := range m.Lanes {
		o := f.Lanes[i]
		if l.Link == o.Link && l.Lanes == o.Lanes {
			if what := differ(fmt.Sprintf("the dephasing by an attempt on link %d is", l.Link), l.Dephasing, o.Dephasing); what != "" {
				return what
			}
		} else {
			return fmt.Sprintf("%d communication qubits for link %d here, %d for link %d there", l.Lanes, l.Link, o.Lanes, o.Link)
		}
	}
	return cmp.Or(
		differ("storage qubits", m.Storage, f.Storage),
		differ("communication qubits that lanes share", m.Communication, f.Communication),
		differ("initialisation takes", m.Init, f.Init),
		differ("a single-qubit gate takes", m.Gate1, f.Gate1),
		differ("a two-qubit gate takes", m.Gate2, f.Gate2),
		differ("a read-out takes", m.Readout, f.Readout),
		differ("T1 in seconds is", m.T1, f.T1),
		differ("T2 in seconds is", m.T2, f.T2),
		differ("the depolarising rate per second is", m.Depolarise, f.Depolarise),
		differ("two-qubit gate depolarising is", m.Noise.Gate2Depolarising, f.Noise.Gate2Depolarising),
		differ("two-qubit gate dephasing is", m.Noise.Gate2Dephasing, f.Noise.Gate2Dephasing),
		differNoise("", &m.Noise.QubitNoise, &f.Noise.QubitNoise),
		differ("kinds of storage qubits of their own", len(m.Memory), len(f.Memory)),
		differMemory(m.Memory, f.Memory),
		differNoise("storage ", &m.Noise.Memory, &f.Noise.Memory),
		differ("the coupling is", m.Coupling, f.Coupling),
		differ("one operation at a time:", m.Serial, f.Serial),
	)
}

func differMemory(here, there []physical.Memory) string {
	for i := range min(len(here), len(there)) {
		h, t := &here[i], &there[i]
		return cmp.Or(
			differ("storage initialisation takes", h.Init, t.Init),
			differ("a storage gate takes", h.Gate1, t.Gate1),
			differ("a storage read-out takes", h.Readout, t.Readout),
			differ("T1 of storage in seconds is", h.T1, t.T1),
			differ("T2 of storage in seconds is", h.T2, t.T2),
			differ("the depolarising rate of storage per second is", h.Depolarise, t.Depolarise),
			differ("storage through communication qubits:", h.Indirect, t.Indirect),
		)
	}
	return ""
}

func differNoise(kind string, here, there *physical.QubitNoise) string {
	return cmp.Or(
		differ(kind+"initialisation depolarising is", here.InitDepolarising, there.InitDepolarising),
		differ(kind+"single-qubit gate depolarising is", here.Gate1Depolarising, there.Gate1Depolarising),
		differ(kind+"read-out error is", here.ReadoutError, there.ReadoutError),
	)
}

func differ[T comparable](what string, here, there T) string {
	if here == there {
		return ""
	}
	return fmt.Sprintf("%s %v here, %v there", what, here, there)
}
