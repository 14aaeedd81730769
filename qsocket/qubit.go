package qsocket

import (
	"context"
	"sync"

	"qstack/qnet"
	"qstack/qnet/wire"
	"qstack/transport"
)

// Qubit is a qubit of this session: one of its own, the half of a pair, or one
// that was received. It must be given back: by Free, Measure or SendQubit. Gates
// queue: they return at once, act in the order of the calls, also between
// qubits of different sockets, and the first error of one of them is reported by
// the next method that returns an error.
type Qubit struct {
	n  *Node
	id uint64

	mu    sync.Mutex
	gone  string // what became of it, empty while it is held
	err   error  // the first error of its gates that is known here
	gates bool   // some were queued since the last Flush
}

// Qubit returns a fresh qubit in |0⟩. It fails with qnet.ErrNoMemory when the node
// has none left.
func (n *Node) Qubit(ctx context.Context) (*Qubit, error) {
	r, err := n.call(ctx, func(ref uint64) wire.Message { return &transport.Alloc{Ref: ref} },
		func(r *transport.Reply) {
			if r.Code == qnet.OK {
				n.be.Do(&transport.FreeQubit{Qubit: r.Value})
			}
		})
	if err != nil {
		return nil, err
	}
	return &Qubit{n: n, id: r.Value}, nil
}

// use returns why q can not be operated on, nil if it can.
func (q *Qubit) use(n *Node) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.gone != "":
		return qnet.Errorf(qnet.ErrBadQubit, "qubit %d of %s is gone: it was %s", q.id, q.n.Name(), q.gone)
	case q.err != nil:
		return q.err
	case q.n != n:
		return qnet.Errorf(qnet.ErrBadQubit, "qubit %d belongs to another session, on %s", q.id, q.n.Name())
	}
	return nil
}

// take marks q as gone, unless it is or has an error.
func (q *Qubit) take(n *Node, how string) error {
	if err := q.use(n); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = how
	return nil
}

func (q *Qubit) giveBack() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = ""
}

// blame leaves an error with q.
func (q *Qubit) blame(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
}

// gate queues a gate on q and, for two qubits, target.
func (q *Qubit) gate(g transport.Gate, angle float64, target *Qubit) {
	m := &transport.Operate{Gate: g, A: q.id, Angle: angle}
	err := q.use(q.n)
	if target != nil {
		m.B = target.id
		if err == nil {
			err = target.use(q.n)
		}
	}
	if err != nil {
		q.blame(err)
		if target != nil {
			target.blame(err)
		}
		return
	}
	q.queued(true)
	if target != nil {
		target.queued(true)
	}
	q.n.be.Do(m)
}

// queued notes whether gates are queued, and returns what was noted before.
func (q *Qubit) queued(gates bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	was := q.gates
	q.gates = gates
	return was
}

// settle waits until the queued gates are done: sockets have connections of
// their own, on which a request could overtake them.
func (q *Qubit) settle(ctx context.Context) error {
	if !q.queued(false) {
		return nil
	}
	_, err := q.n.call(ctx, func(ref uint64) wire.Message { return &transport.Flush{Ref: ref, Qubit: q.id} }, nil)
	if err != nil {
		q.queued(true)
	}
	return err
}

// X queues the Pauli gate X.
func (q *Qubit) X() { q.gate(transport.GateX, 0, nil) }

// Y queues the Pauli gate Y.
func (q *Qubit) Y() { q.gate(transport.GateY, 0, nil) }

// Z queues the Pauli gate Z.
func (q *Qubit) Z() { q.gate(transport.GateZ, 0, nil) }

// H queues the Hadamard gate.
func (q *Qubit) H() { q.gate(transport.GateH, 0, nil) }

// S queues the phase gate diag(1, i).
func (q *Qubit) S() { q.gate(transport.GateS, 0, nil) }

// Sdg queues the inverse of S.
func (q *Qubit) Sdg() { q.gate(transport.GateSdg, 0, nil) }

// T queues the gate diag(1, exp(iπ/4)).
func (q *Qubit) T() { q.gate(transport.GateT, 0, nil) }

// Tdg queues the inverse of T.
func (q *Qubit) Tdg() { q.gate(transport.GateTdg, 0, nil) }

// RX queues the rotation exp(−iθX/2).
func (q *Qubit) RX(theta float64) { q.gate(transport.GateRX, theta, nil) }

// RY queues the rotation exp(−iθY/2).
func (q *Qubit) RY(theta float64) { q.gate(transport.GateRY, theta, nil) }

// RZ queues the rotation exp(−iθZ/2).
func (q *Qubit) RZ(theta float64) { q.gate(transport.GateRZ, theta, nil) }

// CNOT queues a controlled NOT with q as control.
func (q *Qubit) CNOT(target *Qubit) { q.gate(transport.GateCNOT, 0, target) }

// CZ queues a controlled Z.
func (q *Qubit) CZ(target *Qubit) { q.gate(transport.GateCZ, 0, target) }

// Measure measures the qubit in a basis and gives it back: 0 is the +1
// eigenstate of the axis. It reports the first error of the gates before; the
// qubit is gone in any case, unless that error was known here already.
func (q *Qubit) Measure(ctx context.Context, b Basis) (uint8, error) {
	if !b.Valid() {
		return 0, qnet.Errorf(qnet.ErrInvalid, "measurement of qubit %d: the angles of the basis must be finite", q.id)
	}
	if ctx.Err() != nil {
		return 0, ctxError(ctx)
	}
	if err := q.take(q.n, "measured"); err != nil {
		return 0, err
	}
	r, err := q.n.call(ctx, func(ref uint64) wire.Message {
		return &transport.MeasureQubit{Ref: ref, Qubit: q.id, Basis: b}
	}, nil)
	if err != nil {
		return 0, err
	}
	return uint8(r.Value), nil
}

// Flush waits until the gates so far are done, and reports the first error.
func (q *Qubit) Flush(ctx context.Context) error {
	if err := q.use(q.n); err != nil {
		return err
	}
	return q.settle(ctx)
}

// Free gives the qubit back. Qubits that are gone stay so: Free may be called
// again, or deferred.
func (q *Qubit) Free() {
	q.mu.Lock()
	gone := q.gone
	if gone == "" {
		q.gone = "freed"
	}
	q.mu.Unlock()
	if gone == "" {
		q.n.be.Do(&transport.FreeQubit{Qubit: q.id})
	}
}
