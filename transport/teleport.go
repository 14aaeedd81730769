package transport

import (
	"fmt"

	"qstack/network"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/wire"
)

// number returns the number of the qubit that a request sends or receives: the
// sender's sequence number; 0 for other requests, and while it is not matched.
func (p *post) number() uint64 {
	switch {
	case p.kind == KindSend:
		return p.seq
	case p.kind == KindReceive:
		return p.peer.Seq
	}
	return 0
}

func (k *socket) lostQubit(seq uint64, err error) error {
	return qnet.Errorf(qnet.ErrQubitLost, "qubit %d on the socket to %s:%d is lost: %v", seq, k.peerName, k.port, err)
}

// expect bounds the wait for what the peer does at once.
func (k *socket) expect(p *post, what string) {
	p.timer.Stop()
	limit := k.l.cfg.CorrectionTimeout
	p.timer = k.l.loop.After(limit, func() {
		k.fail(qnet.Errorf(qnet.ErrProtocol, "%s did not send %s of qubit %d to %s within %v", k.peerName, what, p.number(), k.l.cfg.Name, limit))
	})
}

// teleport measures data qubit and half, now that the pair is there.
func (k *socket) teleport(p *post, d network.Delivery) {
	p.half, p.pair = d.Qubit, d.Name.Seq
	q := p.qubit
	if q.err != nil {
		k.takeBack(p, qnet.Errorf(qnet.CodeOf(q.err), "%v: %v", p, q.err))
		return
	}
	data, half := q.handle, p.half
	delete(k.session.qubits, p.qubitID)
	p.qubit, p.half = nil, physical.Qubit{}
	p.become(measuring)
	k.l.dev.Do(physical.Op{Kind: physical.OpBSM, A: data, B: half}, func(r physical.Result) {
		if r.Err != nil { // whatever is left of the two
			k.l.free(data)
			k.l.free(half)
		}
		if p.state == ended {
			return
		}
		if err := first(q.err, r.Err); err != nil {
			k.stream.Send(&Lost{Seq: p.seq, Text: wire.Clip(err.Error(), maxText)})
			if p.unwanted {
				k.stream.Send(&Withdrawn{Seq: p.peer.Seq})
			}
			k.done(p, k.lostQubit(p.seq, err))
			return
		}
		p.become(sent)
		k.stream.Send(&Correction{Seq: p.seq, Pair: p.pair, Label: d.Label.Correction(r.Label)})
		k.expect(p, "the receipt")
	})
}

// receiving returns the request that receives the peer's qubit seq and waits for
// its correction.
func (k *socket) receiving(seq uint64) (*post, error) {
	p := k.byPeer[seq]
	if p == nil || p.kind != KindReceive || p.correction != nil {
		return nil, fmt.Errorf("qubit %d is not expected, or was here already", seq)
	}
	return p, nil
}

// correction is the rest of a teleported qubit.
func (k *socket) correction(m *Correction) error {
	p, err := k.receiving(m.Seq)
	if err != nil {
		return err
	}
	delete(k.withdrawn, p.seq) // this is the answer
	p.correction = m
	if p.half.IsZero() {
		return nil // it comes with the confirmation of the pair, within the bound of its sender's expect
	}
	return k.correct(p)
}

// correct applies the correction to the half.
func (k *socket) correct(p *post) error {
	if p.pair != p.correction.Pair {
		return fmt.Errorf("correction of qubit %d over pair %d, here it is pair %d", p.correction.Seq, p.correction.Pair, p.pair)
	}
	p.timer.Stop()
	p.become(correcting)
	half, label := p.half, p.correction.Label
	finish := func(r physical.Result) {
		if p.state == ended {
			return // and the half is free
		}
		if r.Err != nil {
			err := k.lostQubit(p.number(), r.Err)
			k.stream.Send(&Received{Seq: p.peer.Seq, Code: qnet.ErrQubitLost, Text: wire.Clip(r.Err.Error(), maxText)})
			k.done(p, err)
			return
		}
		p.half = physical.Qubit{}
		k.stream.Send(&Received{Seq: p.peer.Seq})
		k.close(p, &Done{Ref: p.ref, Seq: p.number(), Qubit: k.session.adopt(half)})
	}
	x, z := physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: half}, physical.Op{Kind: physical.OpGate, Gate: physical.GateZ, A: half}
	switch {
	case label.X() && label.Z():
		var failed error
		k.l.dev.Do(x, func(r physical.Result) { failed = r.Err })
		k.l.dev.Do(z, func(r physical.Result) {
			r.Err = first(failed, r.Err)
			finish(r)
		})
	case label.X():
		k.l.dev.Do(x, finish)
	case label.Z():
		k.l.dev.Do(z, finish)
	default:
		finish(physical.Result{})
	}
	return nil
}

// lost is the sender's word that a qubit was lost there. If this end has withdrawn
// meanwhile, the answer to that follows.
func (k *socket) lost(m *Lost) error {
	p, err := k.receiving(m.Seq)
	if err != nil {
		return err
	}
	k.done(p, k.lostQubit(m.Seq, fmt.Errorf("at %s: %s", k.peerName, m.Text)))
	return nil
}

// received is the receiver's word about a qubit.
func (k *socket) received(m *Received) error {
	p := k.posts[m.Seq]
	if p == nil || p.kind != KindSend || p.state != sent {
		return fmt.Errorf("receipt of qubit %d, which is not under way", m.Seq)
	}
	if m.Code != qnet.OK {
		k.done(p, k.lostQubit(p.seq, fmt.Errorf("at %s: %s", k.peerName, m.Text)))
		return nil
	}
	k.close(p, &Done{Ref: p.ref, Seq: p.seq})
	return nil
}
