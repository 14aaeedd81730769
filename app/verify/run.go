package verify

import (
	"context"
	"fmt"
	"time"

	"qstack/qsocket"
)

// Plan says how much to measure.
type Plan struct {
	Pairs     int    // for the fidelity, X, Y and Z equally; default 1,200
	CHSHPairs int    // default 5/3 of Pairs
	PerState  int    // teleportations of each cardinal state; default 60, below 0 none
	Port      uint16 // of the tail end; default 7
	// Wait bounds one request, in emulated time; default a minute and a second for
	// each pair.
	Wait time.Duration
}

func (p *Plan) withDefaults() Plan {
	q := *p
	if q.Pairs == 0 {
		q.Pairs = 1200
	}
	if q.CHSHPairs == 0 {
		q.CHSHPairs = (q.Pairs*5 + 2) / 3
	}
	if q.PerState == 0 {
		q.PerState = 60
	}
	q.PerState = max(0, q.PerState)
	if q.Port == 0 {
		q.Port = 7
	}
	if q.Wait == 0 {
		q.Wait = time.Minute + time.Duration(q.Pairs+q.CHSHPairs)*time.Second
	}
	return q
}

// Run is one measurement between a program at the head end and one at the tail
// end. Both are ordinary blocking code: start each in a goroutine of its own
// (by event.Loop.Go where the clock is virtual), Tail first, and take the Result
// when both have returned.
type Run struct {
	plan     Plan
	progress func(stage string, done, total int)

	head, tail struct {
		pauli [3]*measured
		chsh  *measured
	}
	right        int
	began, ended time.Time // emulated, at the head end
}

// NewRun returns a measurement. progress, if not nil, is called at the head end.
func NewRun(p Plan, progress func(stage string, done, total int)) *Run {
	if progress == nil {
		progress = func(string, int, int) {}
	}
	return &Run{plan: p.withDefaults(), progress: progress}
}

var paulis = [3]qsocket.Basis{qsocket.X, qsocket.Y, qsocket.Z}

// share returns the number of pairs to measure in Pauli basis i.
func (p *Plan) share(i int) int {
	n := p.Pairs / 3
	if i < p.Pairs%3 {
		n++
	}
	return n
}

// The largest request that Measure is asked for at a time, so that progress can
// be shown and a request stays bounded.
const chunk = 50_000

// measured is what several requests have brought, each but the last chunk pairs.
type measured struct {
	qsocket.Outcomes
	wall []time.Duration // that each request took by the wall clock
}

// measure asks for n pairs in requests of at most chunk.
func (r *Run) measure(ctx context.Context, n *qsocket.Node, c *qsocket.Conn, pairs int, bases qsocket.Bases, progress func(done int)) (*measured, error) {
	all := new(measured)
	for all.Len() < pairs {
		ask := min(chunk, pairs-all.Len())
		ctx, cancel := n.WithTimeout(ctx, r.plan.Wait)
		began := time.Now()
		o, err := c.Measure(ctx, ask, bases)
		cancel()
		if err != nil {
			return nil, err
		}
		all.wall = append(all.wall, time.Since(began))
		add(&all.Outcomes, o)
		progress(all.Len())
	}
	return all, nil
}

// add appends the outcomes of one request to those of the ones before.
func add(all, o *qsocket.Outcomes) {
	all.Circuit = o.Circuit
	all.Seq = append(all.Seq, o.Seq...)
	all.Basis = append(all.Basis, o.Basis...)
	all.Bit = append(all.Bit, o.Bit...)
	all.Label = append(all.Label, o.Label...)
	all.At = append(all.At, o.At...)
}

// opening bounds the opening of the socket.
const opening = 10 * time.Second

// Head runs the program at the head end, which dials.
func (r *Run) Head(ctx context.Context, n *qsocket.Node, peer string) error {
	p := &r.plan
	dctx, cancel := n.WithTimeout(ctx, opening)
	defer cancel()
	conn, err := n.Dial(dctx, fmt.Sprintf("%s:%d", peer, p.Port), qsocket.Contract{})
	if err != nil {
		return err
	}
	defer conn.Close()
	r.began = n.Now()
	done := 0
	for i, b := range paulis {
		o, err := r.measure(ctx, n, conn, p.share(i), qsocket.FixedBasis(b), func(k int) { r.progress("fidelity", done+k, p.Pairs) })
		if err != nil {
			return fmt.Errorf("measuring in %v: %w", b, err)
		}
		r.head.pauli[i] = o
		done += o.Len()
	}
	r.head.chsh, err = r.measure(ctx, n, conn, p.CHSHPairs, qsocket.RandomBasis(headSettings...), func(k int) { r.progress("CHSH", k, p.CHSHPairs) })
	if err != nil {
		return fmt.Errorf("CHSH: %w", err)
	}
	for i := range 6 * p.PerState {
		if err := r.send(ctx, n, conn, i%6); err != nil {
			return fmt.Errorf("teleporting qubit %d: %w", i, err)
		}
		r.progress("teleportation", i+1, 6*p.PerState)
	}
	// The tail reads the last qubit out before it hangs up.
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("waiting for the tail end: %w", err)
	}
	r.ended = n.Now()
	return nil
}

// send prepares a cardinal state in a storage qubit and teleports it: |0⟩, |1⟩,
// |+⟩, |−⟩, |+i⟩, |−i⟩.
func (r *Run) send(ctx context.Context, n *qsocket.Node, c *qsocket.Conn, state int) error {
	ctx, cancel := n.WithTimeout(ctx, r.plan.Wait)
	defer cancel()
	q, err := n.Qubit(ctx)
	if err != nil {
		return err
	}
	if state%2 == 1 {
		q.X()
	}
	if state >= 2 {
		q.H()
	}
	if state >= 4 {
		q.S()
	}
	return c.SendQubit(ctx, q)
}

// basisOf returns the basis of a cardinal state, whose bit there is state mod 2.
func basisOf(state int) qsocket.Basis {
	return [3]qsocket.Basis{qsocket.Z, qsocket.X, qsocket.Y}[state/2]
}

// Tail runs the program at the tail end. It calls listening when Head may dial.
func (r *Run) Tail(ctx context.Context, n *qsocket.Node, listening func()) error {
	p := &r.plan
	l, err := n.Listen(ctx, fmt.Sprintf(":%d", p.Port))
	if err != nil {
		return err
	}
	defer l.Close()
	listening()
	actx, cancel := n.WithTimeout(ctx, opening)
	defer cancel()
	conn, err := l.Accept(actx)
	if err != nil {
		return err
	}
	defer conn.Close()
	quiet := func(int) {}
	for i, b := range paulis {
		if r.tail.pauli[i], err = r.measure(ctx, n, conn, p.share(i), qsocket.FixedBasis(b), quiet); err != nil {
			return fmt.Errorf("measuring in %v: %w", b, err)
		}
	}
	if r.tail.chsh, err = r.measure(ctx, n, conn, p.CHSHPairs, qsocket.RandomBasis(tailSettings...), quiet); err != nil {
		return fmt.Errorf("CHSH: %w", err)
	}
	for i := range 6 * p.PerState {
		if err := r.receive(ctx, n, conn, i%6); err != nil {
			return fmt.Errorf("receiving qubit %d: %w", i, err)
		}
	}
	_, err = conn.Write([]byte{1})
	return err
}

func (r *Run) receive(ctx context.Context, n *qsocket.Node, c *qsocket.Conn, state int) error {
	ctx, cancel := n.WithTimeout(ctx, r.plan.Wait)
	defer cancel()
	q, err := c.ReceiveQubit(ctx)
	if err != nil {
		return err
	}
	bit, err := q.Measure(ctx, basisOf(state))
	if err != nil {
		return err
	}
	if int(bit) == state%2 {
		r.right++
	}
	return nil
}

// Result returns what was measured, once Head and Tail have returned without an
// error.
func (r *Run) Result() (*Result, error) {
	res := &Result{Pairs: r.plan.Pairs, CHSHPairs: r.plan.CHSHPairs, PerState: r.plan.PerState, TeleportRight: r.right,
		Elapsed: r.ended.Sub(r.began)}
	var same [3][2]int
	for i := range paulis {
		j, err := join(&r.head.pauli[i].Outcomes, &r.tail.pauli[i].Outcomes)
		if err != nil {
			return nil, err
		}
		same[i] = j[0][0]
		res.correlators[i] = correlator(same[i])
		res.pace.add(r.head.pauli[i])
	}
	res.Fidelity = fidelity(same[0], same[1], same[2])
	j, err := join(&r.head.chsh.Outcomes, &r.tail.chsh.Outcomes)
	if err != nil {
		return nil, err
	}
	res.CHSH = chsh(j)
	res.pace.add(r.head.chsh)
	return res, nil
}
