package remote

import (
	"strings"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// World is what a Server needs of its fabric (see fabric.Fabric).
type World interface {
	// ID returns the number that the handles of the fabric's qubits carry.
	ID() uint32
	// Device returns the hardware of a node, nil if there is no such node.
	Device(node qnet.NodeID) physical.Device
	// Disconnect frees all qubits of a node and forgets what it asked for.
	Disconnect(node qnet.NodeID)
}

// Server executes the operations of remote nodes on a fabric. A node is who its
// control connection is authenticated as, and has at most one attachment: a
// second one ends the first. What a node sends out of order or malformed ends
// its stream and nothing else.
type Server struct {
	world World
	ep    control.Endpoint
	loop  event.Scheduler
	tr    *trace.Tracer
	nodes map[qnet.NodeID]*attachment
	ops   Ops
}

// NewServer returns the server of a fabric. It takes over the fabric service of
// the endpoint and is made before that starts. tr may be nil.
func NewServer(w World, ep control.Endpoint, loop event.Scheduler, tr *trace.Tracer) *Server {
	s := &Server{world: w, ep: ep, loop: loop, tr: tr, nodes: make(map[qnet.NodeID]*attachment)}
	ep.Handle(wire.ServiceFabric, (*serverReceiver)(s))
	return s
}

// Attached reports whether the device of a node is attached.
func (s *Server) Attached(node qnet.NodeID) bool { return s.nodes[node] != nil }

func (s *Server) trace(name string, node qnet.NodeID) trace.Event {
	return s.tr.Event(s.loop.Now(), "remote", name).ID("peer", node)
}

// serverReceiver is what a Server shows to its endpoint.
type serverReceiver Server

func (*serverReceiver) PeerUp(qnet.NodeID)          {}
func (*serverReceiver) PeerDown(qnet.NodeID, error) {} // the stream has been closed before

func (r *serverReceiver) Datagram(from qnet.NodeID, b []byte) {
	s := (*Server)(r)
	var m ClockRequest
	if s.world.Device(from) != nil && wire.Parse(b, &m) == nil {
		// A datagram that can not be sent is as good as lost.
		_ = s.ep.Datagram(from, &ClockReply{Sequence: m.Sequence, At: s.loop.Now(), Padding: m.Padding})
	}
}

func (r *serverReceiver) Accept(stream control.Stream, first []byte) control.StreamHandler {
	s, node := (*Server)(r), stream.Peer()
	var m Attach
	err := wire.Parse(first, &m)
	dev := s.world.Device(node)
	switch {
	case err != nil:
	case dev == nil:
		err = qnet.Errorf(qnet.ErrAuth, "there is no such node")
	case m.Version != Version:
		err = qnet.Errorf(qnet.ErrUnsupported, "version %d of the protocol, want %d", m.Version, Version)
	}
	if err != nil {
		s.trace("refuse", node).Err(err).End()
		stream.Close(qnet.CodeOf(err))
		return nil
	}
	if old := s.nodes[node]; old != nil {
		old.leave(qnet.Errorf(qnet.ErrInUse, "attached again"))
	}
	a := &attachment{s: s, node: node, dev: dev, stream: stream}
	a.flushed = a.send
	s.nodes[node] = a
	dev.Watch(a.laneFreed)
	s.trace("attach", node).End()
	stream.Send(&Attached{Fabric: s.world.ID(), Now: s.loop.Now(), Sheet: newSheet(dev.Spec())})
	return a
}

// attachment is the device of one node, as long as its stream lives.
type attachment struct {
	s       *Server
	node    qnet.NodeID
	dev     physical.Device
	stream  control.Stream
	over    bool
	next    uint64 // number that the next operation has at least
	pending int    // operations without a result

	results  Results // what is told at the end of the turn
	outcomes Outcomes
	flush    event.Timer
	flushed  func() // a.send, made once
}

// leave ends the attachment and tells the node.
func (a *attachment) leave(err error) {
	a.stream.Close(qnet.CodeOf(err))
	a.end(err)
}

// end ends the attachment: whatever the node has is gone.
func (a *attachment) end(err error) {
	a.over = true
	a.flush.Stop()
	delete(a.s.nodes, a.node)
	a.s.world.Disconnect(a.node)
	a.s.trace("detach", a.node).Err(err).End()
}

// Closed implements control.StreamHandler.
func (a *attachment) Closed(_ control.Stream, err error) {
	if !a.over {
		a.end(err)
	}
}

// Message implements control.StreamHandler.
func (a *attachment) Message(_ control.Stream, b []byte) {
	if a.over {
		return
	}
	if err := a.execute(b); err != nil {
		a.leave(err)
	}
}

// execute starts the operations of a message.
func (a *attachment) execute(b []byte) error {
	m := &a.s.ops
	if err := wire.Parse(b, m); err != nil {
		return err
	}
	if m.First < a.next {
		return qnet.Errorf(qnet.ErrProtocol, "operation %d comes after operation %d", m.First, a.next-1)
	}
	a.next = m.First + uint64(len(m.Ops))
	if a.pending+len(m.Ops) > maxPending {
		return qnet.Errorf(qnet.ErrBusy, "more than %d operations without a result", maxPending)
	}
	a.pending += len(m.Ops)
	for i := range m.Ops {
		op, number := &m.Ops[i], m.First+uint64(i)
		op.A, op.B = a.handle(op.A), a.handle(op.B)
		done := func(r physical.Result) { a.result(number, &r) }
		if len(op.Bases) == 0 {
			a.dev.Do(op.Op, done)
			continue
		}
		src := physical.BasisSource{Bases: op.Bases, Weights: op.Weights}
		sink := func(o physical.Outcomes, err error) { a.measured(number, &o, err) }
		a.dev.ArmBulk(op.Link, op.Lane, src, sink, done)
	}
	return nil
}

// handle completes a handle that has travelled.
func (a *attachment) handle(q physical.Qubit) physical.Qubit {
	if q.Generation == 0 {
		return physical.Qubit{}
	}
	q.Fabric = a.s.world.ID()
	return q
}

// result takes the result of an operation.
func (a *attachment) result(number uint64, r *physical.Result) {
	if a.over {
		return
	}
	a.pending--
	w := Result{Number: number, At: r.At, Index: r.Qubit.Index, Generation: r.Qubit.Generation, Value: r.Bit | uint8(r.Label)}
	if r.Err != nil {
		w.Code, w.Text = qnet.CodeOf(r.Err), shortened(r.Err.Error())
	}
	a.results.Results = append(a.results.Results, w)
	a.later()
}

// laneFreed takes the news that a lane is free.
func (a *attachment) laneFreed(link physical.LinkID, lane uint32) {
	if a.over {
		return
	}
	m := &a.results
	m.Freed = append(m.Freed, Freed{After: uint64(len(m.Results)), Link: link, Lane: lane})
	a.later()
}

// later has the news sent at the end of the turn, or now if no more fit a
// message.
func (a *attachment) later() {
	m := &a.results
	if len(m.Results) == maxResults || len(m.Freed) == maxResults {
		a.flush.Stop()
		a.send()
	} else if len(m.Results)+len(m.Freed) == 1 {
		a.flush = a.s.loop.After(0, a.flushed)
	}
}

// send tells the node what there is.
func (a *attachment) send() {
	m := &a.results
	a.stream.Send(m)
	clear(m.Results) // the texts
	m.Results, m.Freed = m.Results[:0], m.Freed[:0]
}

// measured takes outcomes of the lane that operation number has armed.
func (a *attachment) measured(number uint64, o *physical.Outcomes, err error) {
	if a.over {
		return
	}
	if err != nil {
		a.leave(err)
		return
	}
	if a.flush.Stop() {
		a.send()
	}
	m := &a.outcomes
	m.Number, m.At = number, o.At
	for from := 0; from < len(o.Cycle); from += maxOutcomes {
		to := min(from+maxOutcomes, len(o.Cycle))
		m.Cycles = append(m.Cycles[:0], o.Cycle[from:to]...)
		m.Bits = m.Bits[:0]
		for i := from; i < to; i++ {
			m.Bits = append(m.Bits, o.Basis[i]<<1|o.Bit[i])
		}
		a.stream.Send(m)
	}
}

// shortened cuts a text so that it fits a message.
func shortened(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}
