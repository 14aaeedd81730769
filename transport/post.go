package transport

import (
	"fmt"
	"math"
	"slices"

	"qstack/network"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/wire"
)

// postState is the state of a request of this end; see the drawings in the
// package comment.
type postState uint8

const (
	waiting    postState = iota
	matched              // the circuit is asked for pairs
	measuring            // sender: the Bell-state measurement is under way
	sent                 // sender: the correction was sent
	correcting           // receiver: the correction is being applied
	ended
)

// String names the state.
func (s postState) String() string {
	return [...]string{"waiting", "matched", "measuring", "sent", "correcting", "ended"}[s]
}

// post is a request of this end.
type post struct {
	k     *socket
	seq   uint64
	ref   uint64 // the program's
	kind  Kind
	pairs uint64
	bases Bases
	state postState

	peer     Post   // the peer's request that matches
	request  uint64 // the circuit's
	got      uint64 // pairs delivered
	kept     []network.Delivery
	outcomes *Outcomes

	// Teleportation.

	qubit       *qubit         // the data qubit at its sender
	qubitID     uint64         // its number
	half        physical.Qubit // this end's half of the pair
	pair        uint64         // the pair's number
	correction  *Correction    // receiver: it has come
	withdrawing error          // receiver: why; the sender decides
	unwanted    bool           // sender, while it measures: the peer has withdrawn
	timer       event.Timer    // for what the peer does at once
}

// String names the request in texts.
func (p *post) String() string {
	switch p.kind {
	case KindSend:
		return fmt.Sprintf("send of qubit %d to %s", p.seq, p.k.peerName)
	case KindReceive:
		return fmt.Sprintf("receive of a qubit from %s", p.k.peerName)
	case KindMeasure:
		return fmt.Sprintf("measurement of %s with %s", count(p.pairs), p.k.peerName)
	}
	return fmt.Sprintf("keep of %s with %s", count(p.pairs), p.k.peerName)
}

func count(pairs uint64) string {
	if pairs == 1 {
		return "1 pair"
	}
	return fmt.Sprintf("%d pairs", pairs)
}

// become is the one place where a request changes state.
func (p *post) become(s postState) {
	p.state = s
	p.k.l.tr.Event(p.k.l.Now(), "transport", "request").Uint("socket", p.k.id).Uint("seq", p.seq).Str("kind", p.kind.String()).Str("state", s.String()).End()
}

// ask takes a request of the program. An error is a fault of the program.
func (k *socket) ask(m *Ask) error {
	if k.byRef[m.Ref] != nil {
		return qnet.Errorf(qnet.ErrProtocol, "request %d is under way already", m.Ref)
	}
	p := &post{k: k, ref: m.Ref, kind: m.Kind, pairs: m.Pairs, bases: m.Bases}
	if err := k.check(p, m); err != nil {
		k.say(&Done{Ref: m.Ref, Code: qnet.CodeOf(err), Text: wire.Clip(err.Error(), maxText)})
		return nil
	}
	p.seq = k.nextSeq
	k.nextSeq++
	if p.kind == KindSend {
		p.qubit, p.qubitID = k.session.qubits[m.Qubit], m.Qubit
		p.qubit.busy = "being sent to " + k.peerName
	}
	k.posts[p.seq] = p
	k.byRef[p.ref] = p
	c := classOf(p.kind, k.head)
	k.waiting[c] = append(k.waiting[c], p)
	p.become(waiting)
	k.stream.Send(&Post{Seq: p.seq, Kind: p.kind, Pairs: p.pairs, Pauli: p.kind == KindMeasure && p.bases.pauli()})
	k.match()
	return nil
}

// check says whether a request of the program can be taken.
func (k *socket) check(p *post, m *Ask) error {
	fail := func(code qnet.Code, format string, args ...any) error {
		return qnet.Errorf(code, "%v: "+format, append([]any{p}, args...)...)
	}
	if k.ended != nil { // the word of that is on the way
		return k.ended
	}
	if k.state != open {
		return qnet.Errorf(qnet.ErrClosed, "the socket to %s:%d is not open yet", k.peerName, k.port)
	}
	if k.circuit == nil { // the same
		return fail(qnet.ErrPeerClosed, "%s closed the socket", k.peerName)
	}
	limit := uint64(1)
	switch p.kind {
	case KindKeep:
		limit = MaxKeep
	case KindMeasure:
		limit = MaxPairs
		if err := p.bases.check(); err != nil {
			return fail(qnet.ErrInvalid, "%v", err)
		}
	case KindSend:
		p.seq = k.nextSeq
		q, err := k.session.usable(m.Qubit)
		if err == nil {
			err = q.err
		}
		if err != nil {
			return fail(qnet.CodeOf(err), "%v", err)
		}
	}
	if p.pairs < 1 || p.pairs > limit {
		return fail(qnet.ErrInvalid, "the number of pairs must be from 1 to %d", limit)
	}
	if lanes := k.circuit.Lanes(); p.kind == KindKeep && p.pairs > uint64(lanes) {
		return fail(qnet.ErrNoMemory, "the path to %s keeps at most %d at a time, a communication qubit at each end for each; keep fewer, or measure", k.peerName, lanes)
	}
	if p.kind == KindKeep && uint64(len(k.session.qubits))+p.pairs > uint64(k.l.cfg.Qubits) {
		return fail(qnet.ErrNoMemory, "the session holds %d qubits, its limit is %d; free some", len(k.session.qubits), k.l.cfg.Qubits)
	}
	if len(k.posts)+len(k.withdrawn) >= k.l.cfg.Posts {
		return fail(qnet.ErrBusy, "the socket has %d requests under way, which is its limit; wait for some", len(k.posts))
	}
	return nil
}

// check says whether the choice can be made.
func (b *Bases) check() error {
	if len(b.Bases) < 1 || len(b.Bases) > MaxBases {
		return fmt.Errorf("there are %d bases to measure in, from 1 to %d are possible", len(b.Bases), MaxBases)
	}
	for i, x := range b.Bases {
		if !x.Valid() {
			return fmt.Errorf("the angles of basis %d must be finite", i)
		}
	}
	if b.Weights == nil {
		return nil
	}
	if len(b.Weights) != len(b.Bases) {
		return fmt.Errorf("there are %d weights for %d bases", len(b.Weights), len(b.Bases))
	}
	sum := 0.0
	for i, w := range b.Weights {
		if !(w >= 0) {
			return fmt.Errorf("the weight of basis %d must be 0 or more", i)
		}
		sum += w
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return fmt.Errorf("the weights of the bases must have a positive, finite sum")
	}
	return nil
}

// post notes a request of the peer.
func (k *socket) post(m *Post) error {
	if m.Seq != k.nextTold {
		return fmt.Errorf("Post %d, but %d is next", m.Seq, k.nextTold)
	}
	told := 0
	for _, c := range k.told {
		told += len(c)
	}
	if told >= k.l.cfg.Posts {
		return fmt.Errorf("more than %d requests", k.l.cfg.Posts)
	}
	k.nextTold++
	c := classOf(m.Kind, !k.head)
	k.told[c] = append(k.told[c], *m)
	k.match()
	return nil
}

// match pairs this end's oldest requests with the peer's. Only the head does.
func (k *socket) match() {
	if !k.head || k.state != open {
		return
	}
	for c := range classes {
		for len(k.waiting[c]) > 0 && len(k.told[c]) > 0 && len(k.byRequest) < k.l.cfg.InFlight {
			p, r := k.waiting[c][0], k.told[c][0]
			k.waiting[c] = slices.Delete(k.waiting[c], 0, 1)
			k.told[c] = slices.Delete(k.told[c], 0, 1)
			if p.pairs != r.Pairs {
				text := fmt.Sprintf("%s asked for %s, %s for %s; both ends must ask for the same number", k.l.cfg.Name, count(p.pairs), k.peerName, count(r.Pairs))
				k.stream.Send(&Fail{Head: p.seq, Tail: r.Seq, Code: qnet.ErrMismatch, Text: text})
				k.done(p, &qnet.Error{Code: qnet.ErrMismatch, Text: text})
				continue
			}
			m := &Match{ID: k.nextRequest, Head: p.seq, Tail: r.Seq, Corrector: corrector(p, r)}
			k.nextRequest++
			if err := k.start(p, r, m); err != nil {
				k.stream.Send(&Fail{Head: p.seq, Tail: r.Seq, Code: qnet.ErrCancelled, Text: wire.Clip(fmt.Sprintf("%s could not ask its circuit for pairs: %v", k.l.cfg.Name, err), maxText)})
				k.done(p, err)
				continue
			}
			k.stream.Send(m)
		}
	}
}

// corrector decides who makes the pairs what was asked for. For the head's p and the tail's r: a
// keeping end can by gates, a measuring one if it measures Pauli bases only.
// The label of a pair for teleportation goes into the correction of the qubit.
func corrector(p *post, r Post) network.Corrector {
	switch {
	case p.kind >= KindSend:
		return network.CorrectorNobody
	case p.kind == KindKeep:
		return network.CorrectorHead
	case r.Kind == KindKeep:
		return network.CorrectorTail
	case p.bases.pauli():
		return network.CorrectorHead
	case r.Pauli:
		return network.CorrectorTail
	}
	return network.CorrectorNobody
}

// matched is the head's word that two requests are one.
func (k *socket) matched(m *Match) error {
	if k.head {
		return unexpected(m)
	}
	if k.byRequest[m.ID] != nil {
		return fmt.Errorf("Match of request %d again", m.ID)
	}
	if k.withdrawn[m.Tail] {
		// The head has yet to hear that; it then withdraws its own.
		if _, ok := k.take(m.Head); !ok {
			return fmt.Errorf("Match of unknown request %d", m.Head)
		}
		return nil
	}
	p := k.posts[m.Tail]
	if p == nil || p.state != waiting {
		return fmt.Errorf("Match of unknown request %d", m.Tail)
	}
	r, ok := k.take(m.Head)
	if !ok || classOf(r.Kind, true) != classOf(p.kind, false) || r.Pairs != p.pairs {
		return fmt.Errorf("Match of requests %d and %d, which do not match", m.Head, m.Tail)
	}
	k.dequeue(p)
	if err := k.start(p, r, m); err != nil {
		k.takeBack(p, err)
	}
	return nil
}

// take removes a request that the peer has told.
func (k *socket) take(seq uint64) (Post, bool) {
	for c := range k.told {
		if i := slices.IndexFunc(k.told[c], func(r Post) bool { return r.Seq == seq }); i >= 0 {
			r := k.told[c][i]
			k.told[c] = slices.Delete(k.told[c], i, i+1)
			return r, true
		}
	}
	return Post{}, false
}

// dequeue removes p from those that wait to be matched.
func (k *socket) dequeue(p *post) {
	c := classOf(p.kind, k.head)
	k.waiting[c] = slices.DeleteFunc(k.waiting[c], func(o *post) bool { return o == p })
}

// start asks the circuit for the pairs of a match.
func (k *socket) start(p *post, r Post, m *Match) error {
	p.peer, p.request = r, m.ID
	if k.circuit == nil {
		return qnet.Errorf(qnet.ErrPeerClosed, "%v: %s closed the socket", p, k.peerName)
	}
	err := k.circuit.Request(network.Request{
		ID: m.ID, Pairs: p.pairs,
		Measure:      p.kind == KindMeasure,
		Bases:        physical.BasisSource{Bases: p.bases.Bases, Weights: p.bases.Weights},
		PeerMeasures: r.Kind == KindMeasure,
		Corrector:    m.Corrector,
		State:        k.asked,
	})
	if err != nil {
		return qnet.Errorf(qnet.CodeOf(err), "%v: %v", p, err)
	}
	k.byRequest[m.ID] = p
	k.byPeer[r.Seq] = p
	p.become(matched)
	return nil
}

// failed is the head's word that two requests can not be served.
func (k *socket) failed(m *Fail) error {
	if k.head || m.Code == qnet.OK {
		return unexpected(m)
	}
	if _, ok := k.take(m.Head); !ok {
		return fmt.Errorf("Fail of unknown request %d", m.Head)
	}
	if p := k.posts[m.Tail]; p != nil && p.state == waiting {
		k.dequeue(p)
		k.done(p, &qnet.Error{Code: m.Code, Text: m.Text})
	} else if !k.withdrawn[m.Tail] {
		return fmt.Errorf("Fail of unknown request %d", m.Tail)
	}
	return nil
}

// cancel withdraws a request at the wish of the program.
func (k *socket) cancel(p *post, code qnet.Code) {
	switch {
	case p.state > matched || p.withdrawing != nil || p.correction != nil:
		return // the end is near in any case
	case code == qnet.ErrTimeout:
		k.takeBack(p, qnet.Errorf(code, "%v timed out: %s", p, k.blocker(p)))
	default:
		k.takeBack(p, qnet.Errorf(qnet.ErrCancelled, "%v was cancelled", p))
	}
}

// blocker says what a request waits for.
func (k *socket) blocker(p *post) string {
	if p.state == matched {
		text := fmt.Sprintf("matched, waiting for entanglement, %d of %s so far", p.got, count(p.pairs))
		if k.circuit != nil { // otherwise it has just gone
			if err := k.circuit.Full(); err != nil {
				text += ": " + err.Error()
			}
		}
		return text
	}
	c := classOf(p.kind, k.head)
	if len(k.told[c]) > 0 {
		if k.waiting[c][0] == p {
			return k.peerName + " has asked too, waiting to be matched"
		}
		return "earlier requests of this socket are not done"
	}
	switch p.kind {
	case KindSend:
		return k.peerName + " does not wait for a qubit"
	case KindReceive:
		return k.peerName + " has not sent a qubit"
	}
	for o := range k.told {
		if len(k.told[o]) > 0 {
			return fmt.Sprintf("%s has not asked for pairs, but to %v a qubit", k.peerName, k.told[o][0].Kind)
		}
	}
	return k.peerName + " has not asked for pairs"
}

// takeBack withdraws a request and tells the peer. For a qubit to be received
// that is matched, the sender decides, as it may have measured already.
func (k *socket) takeBack(p *post, why error) {
	k.withdrawn[p.seq] = true
	k.stream.Send(&Withdraw{Seq: p.seq, Code: qnet.CodeOf(why), Text: wire.Clip(why.Error(), maxText)})
	if p.kind == KindReceive && p.state == matched {
		p.withdrawing = why
		k.expect(p, "an answer to the withdrawal")
		return
	}
	k.dequeue(p)
	k.done(p, why)
	k.match()
}

// withdraw is the peer's word that a request of its own is void.
func (k *socket) withdraw(m *Withdraw) error {
	p := k.byPeer[m.Seq]
	if p != nil && p.kind == KindSend && p.state != matched {
		p.unwanted = p.state == measuring
		return nil // too late: the answer is the correction, unless that fails
	}
	if p != nil && p.kind == KindReceive && p.correction != nil {
		return fmt.Errorf("Withdraw of qubit %d after its correction", m.Seq)
	}
	k.stream.Send(&Withdrawn{Seq: m.Seq})
	if p == nil {
		k.take(m.Seq) // or it has ended here, or fails as the peer's withdrawal crosses ours
		return nil
	}
	why := p.withdrawing
	if why == nil {
		why = qnet.Errorf(qnet.ErrCancelled, "%v: %s withdrew: %s", p, k.peerName, m.Text)
	}
	k.done(p, why)
	k.match()
	return nil
}

// confirmed is the peer's word that it has forgotten a withdrawn request.
func (k *socket) confirmed(m *Withdrawn) error {
	if !k.withdrawn[m.Seq] {
		return unexpected(m)
	}
	delete(k.withdrawn, m.Seq)
	if p := k.posts[m.Seq]; p != nil {
		k.done(p, p.withdrawing)
		k.match()
	}
	return nil
}

// delivered takes a pair of the circuit.
func (k *socket) delivered(p *post, d network.Delivery) {
	p.got++
	switch p.kind {
	case KindKeep:
		p.kept = append(p.kept, d)
	case KindMeasure:
		if p.outcomes == nil {
			n := min(p.pairs-p.got+1, MaxOutcomes)
			p.outcomes = &Outcomes{Ref: p.ref, Seq: make([]uint64, 0, n), Results: make([]Result, 0, n), At: make([]qnet.Time, 0, n)}
		}
		o := p.outcomes
		o.Seq = append(o.Seq, d.Name.Seq)
		o.Results = append(o.Results, NewResult(d.Basis, d.Bit, d.Label))
		o.At = append(o.At, d.At)
		if len(o.Seq) == MaxOutcomes {
			p.flush()
		}
	case KindSend:
		k.teleport(p, d)
	case KindReceive:
		p.half, p.pair = d.Qubit, d.Name.Seq
		if p.correction == nil {
			k.expect(p, "the correction")
			return
		}
		if err := k.correct(p); err != nil {
			k.blame(err)
		}
	}
}

// flush hands the program the outcomes so far.
func (p *post) flush() {
	if p.outcomes != nil {
		p.k.say(p.outcomes)
		p.outcomes = nil
	}
}

// allDelivered ends a request for pairs; one for teleportation goes on.
func (k *socket) allDelivered(p *post) {
	switch {
	case p.got != p.pairs:
		k.fail(qnet.Errorf(qnet.ErrInternal, "%v: the circuit delivered %d pairs", p, p.got))
	case p.kind == KindKeep:
		m := &Kept{Ref: p.ref, Pairs: make([]KeptPair, len(p.kept))}
		for i, d := range p.kept {
			m.Pairs[i] = KeptPair{Seq: d.Name.Seq, Label: d.Label, Qubit: k.session.adopt(d.Qubit), Created: d.Created, At: d.At, Fidelity: d.Fidelity}
		}
		p.kept = nil
		k.say(m)
		k.done(p, nil)
	case p.kind == KindMeasure:
		k.done(p, nil)
	}
}

// done ends a request: what it holds is released, and the program told.
func (k *socket) done(p *post, err error) {
	m := &Done{Ref: p.ref, Seq: p.number()}
	if err != nil {
		m.Code, m.Text = qnet.CodeOf(err), wire.Clip(err.Error(), maxText)
	}
	k.close(p, m)
}

// close ends a request with the answer m.
func (k *socket) close(p *post, m *Done) {
	p.flush()
	if k.byRequest[p.request] == p {
		delete(k.byRequest, p.request)
		if k.circuit != nil && p.got < p.pairs {
			k.circuit.Cancel(p.request)
		}
	}
	for _, d := range p.kept {
		k.l.free(d.Qubit)
	}
	p.kept = nil
	if !p.half.IsZero() {
		k.l.free(p.half)
		p.half = physical.Qubit{}
	}
	if p.qubit != nil { // it was not measured and stays the program's
		k.session.giveBack(p.qubitID)
		p.qubit = nil
	}
	p.timer.Stop()
	delete(k.posts, p.seq)
	delete(k.byRef, p.ref)
	if k.byPeer[p.peer.Seq] == p {
		delete(k.byPeer, p.peer.Seq)
	}
	p.become(ended)
	k.say(m)
}

// void ends a request because the socket does.
func (k *socket) void(p *post, err error) {
	if p.state > matched || p.kind == KindReceive && !p.half.IsZero() {
		err = k.lostQubit(p.number(), err)
	}
	k.dequeue(p)
	k.done(p, err)
}
