package oracle

import (
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// Server answers the questions of one observer about a fabric. It keeps nothing
// of a question once it has been answered.
type Server struct {
	world    *fabric.Fabric
	observer qnet.NodeID
	loop     event.Scheduler
	tr       *trace.Tracer
	question Question
	answer   Answer
}

// NewServer returns the server of a fabric for the observer of that identity,
// who must be none of its nodes. It takes over the oracle service of the
// endpoint and is made before that starts. tr may be nil.
func NewServer(w *fabric.Fabric, observer qnet.NodeID, ep control.Endpoint, loop event.Scheduler, tr *trace.Tracer) *Server {
	s := &Server{world: w, observer: observer, loop: loop, tr: tr}
	ep.Handle(wire.ServiceOracle, (*serverReceiver)(s))
	return s
}

// serverReceiver is what a Server shows to its endpoint.
type serverReceiver Server

func (*serverReceiver) PeerUp(qnet.NodeID)           {}
func (*serverReceiver) PeerDown(qnet.NodeID, error)  {}
func (*serverReceiver) Datagram(qnet.NodeID, []byte) {}

func (r *serverReceiver) Accept(stream control.Stream, first []byte) control.StreamHandler {
	s := (*Server)(r)
	var m Observe
	err := wire.Parse(first, &m)
	switch {
	case err != nil:
	case stream.Peer() != s.observer || s.world.Device(s.observer) != nil:
		err = qnet.Errorf(qnet.ErrAuth, "only the observer sees states")
	case m.Version != Version:
		err = qnet.Errorf(qnet.ErrUnsupported, "version %d of the protocol, want %d", m.Version, Version)
	}
	if err != nil {
		s.tr.Event(s.loop.Now(), "oracle", "refuse").ID("peer", stream.Peer()).Err(err).End()
		stream.Close(qnet.CodeOf(err))
		return nil
	}
	stream.Send(&Observing{Fabric: s.world.ID(), Now: s.loop.Now()})
	return (*streamReceiver)(s)
}

// streamReceiver is what a Server shows to a stream of the observer.
type streamReceiver Server

func (*streamReceiver) Closed(control.Stream, error) {}

func (r *streamReceiver) Message(stream control.Stream, b []byte) {
	s := (*Server)(r)
	if err := wire.Parse(b, &s.question); err != nil {
		stream.Close(qnet.CodeOf(err))
		return
	}
	s.reply(stream)
}

// reply answers the question.
func (s *Server) reply(stream control.Stream) {
	q, a, o := &s.question, &s.answer, s.world.Oracle()
	*a = Answer{Number: q.Number, Values: a.Values[:0], Rows: a.Rows[:0]}
	qubits := make([]physical.Qubit, len(q.Qubits))
	for i, p := range q.Qubits {
		qubits[i] = physical.Qubit{Fabric: s.world.ID(), Index: p.Index, Generation: p.Generation}
	}
	a.At = o.Now(qubits...)
	var err error
	switch q.Kind {
	case AskLedger:
		for _, e := range s.world.Ledger() {
			if len(a.Rows) == maxRows {
				a.More = true
				stream.Send(a)
				a.More, a.Rows = false, a.Rows[:0]
			}
			a.Rows = append(a.Rows, Row{Node: e.Node, Index: e.Qubit.Index, Generation: e.Qubit.Generation, Use: e.Use,
				Link: e.Link, Lane: e.Lane, Since: e.Since, Cluster: cluster(o, e.Qubit)})
		}
	case AskFidelity:
		if len(qubits) != 2 {
			err = qnet.Errorf(qnet.ErrInvalid, "fidelity of %d qubits: want 2", len(qubits))
			break
		}
		var f float64
		f, err = o.BellFidelity(a.At, qubits[0], qubits[1], q.Label)
		a.Values = append(a.Values, f)
	case AskDensity:
		var rho []complex128
		rho, err = o.Density(a.At, qubits...)
		for _, x := range rho {
			a.Values = append(a.Values, real(x), imag(x))
		}
	default:
		err = qnet.Errorf(qnet.ErrInvalid, "there is no question of kind %d", q.Kind)
	}
	if err != nil {
		a.Code, a.Text, a.Values = qnet.CodeOf(err), wire.Clip(err.Error(), maxText), a.Values[:0]
	}
	stream.Send(a)
}

// cluster returns 0 for a qubit without a state, else 1 + the least place among
// those that it shares one with.
func cluster(o *fabric.Oracle, q physical.Qubit) uint32 {
	if list := o.Entangled(q); len(list) > 0 {
		return list[0].Index + 1
	}
	return 0
}
