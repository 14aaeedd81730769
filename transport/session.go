package transport

import (
	"maps"
	"math"
	"slices"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/wire"
)

// Sink hears what a session or a channel has to say to its program, on the
// loop. The message is the receiver's from then on. A Sink must not call back
// into the session.
type Sink interface {
	Message(m wire.Message)
}

// Session is what one program has on its node: qubits, ports and sockets. When
// it ends, everything of it ends. It is used on the loop.
type Session struct {
	l         *Layer
	id        uint64
	name      string
	sink      Sink
	ended     bool
	qubits    map[uint64]*qubit
	lastQubit uint64
	allocs    int // under way
	listeners []*listener
	channels  []*Channel // in order of opening
	sockets   []*socket  // in order of opening
}

// qubit is an entry of a session's ledger.
type qubit struct {
	handle  physical.Qubit
	err     error    // the first error of its gates
	gates   int      // under way
	flushes []uint64 // refs of Flush to answer when they are done
	busy    string   // why the program may not operate on it, or empty
	dropped bool     // to be freed when it is not busy and its gates are done
}

// Open opens a session for the program called name, whose sink hears the
// replies. It fails with qnet.ErrBusy when there are too many.
func (l *Layer) Open(name string, sink Sink) (*Session, error) {
	if len(l.sessions) >= l.cfg.Sessions {
		return nil, qnet.Errorf(qnet.ErrBusy, "%s has %d sessions, which is its limit; close one", l.cfg.Name, l.cfg.Sessions)
	}
	l.lastSession++
	s := &Session{l: l, id: l.lastSession, name: wire.Clip(name, maxName), sink: sink, qubits: make(map[uint64]*qubit)}
	l.sessions = append(l.sessions, s)
	l.tr.Event(l.Now(), "transport", "session").Uint("session", s.id).Str("program", s.name).End()
	return s, nil
}

// ID returns the number of the session, which the layer never uses again.
func (s *Session) ID() uint64 { return s.id }

// Name returns the name of the program.
func (s *Session) Name() string { return s.name }

// End ends the session: its sockets are closed and their peers told, its ports
// and qubits given back. The sinks hear nothing more.
func (s *Session) End() {
	if s.ended {
		return
	}
	s.ended = true
	for _, c := range slices.Clone(s.channels) {
		c.Abort()
	}
	for len(s.listeners) > 0 {
		li := s.listeners[len(s.listeners)-1]
		s.listeners = s.listeners[:len(s.listeners)-1]
		li.close()
	}
	for len(s.sockets) > 0 {
		s.sockets[len(s.sockets)-1].fail(s.gone())
	}
	for _, id := range slices.Sorted(maps.Keys(s.qubits)) {
		s.l.free(s.qubits[id].handle)
	}
	clear(s.qubits)
	s.l.sessions = slices.DeleteFunc(s.l.sessions, func(o *Session) bool { return o == s })
	s.l.tr.Event(s.l.Now(), "transport", "session_end").Uint("session", s.id).End()
}

// gone is what peers are told when the program ends.
func (s *Session) gone() error {
	return qnet.Errorf(qnet.ErrPeerClosed, "the program at %s has ended", s.l.cfg.Name)
}

// add and remove keep the session's sockets.
func (s *Session) add(k *socket) {
	k.session = s
	s.sockets = append(s.sockets, k)
}

func (s *Session) remove(k *socket) {
	s.sockets = slices.DeleteFunc(s.sockets, func(o *socket) bool { return o == k })
}

// Do carries out a message of the program to its session. An error means that
// the program does not keep to the protocol; the caller must end the session.
func (s *Session) Do(m wire.Message) error {
	if s.ended {
		return nil
	}
	switch m := m.(type) {
	case *Listen:
		s.listen(m)
	case *Unlisten:
		s.unlisten(m)
	case *Alloc:
		s.alloc(m)
	case *Operate:
		s.operate(m)
	case *MeasureQubit:
		s.measure(m)
	case *FreeQubit:
		s.freeQubit(m)
	case *Flush:
		s.flush(m)
	default:
		return qnet.Errorf(qnet.ErrProtocol, "message 0x%x does not belong on a session's connection", uint16(m.Type()))
	}
	return nil
}

// reply sends a reply to the program.
func (s *Session) reply(ref uint64, err error, value uint64, at qnet.Time) {
	if s.ended {
		return
	}
	r := &Reply{Ref: ref, Value: value, At: at}
	if err != nil {
		r.Code, r.Text = qnet.CodeOf(err), wire.Clip(err.Error(), maxText)
	}
	s.sink.Message(r)
}

func (s *Session) listen(m *Listen) {
	now := s.l.Now()
	port := m.Port
	if len(s.listeners) >= s.l.cfg.Listeners {
		s.reply(m.Ref, qnet.Errorf(qnet.ErrBusy, "the session listens on %d ports, which is its limit; close a listener", len(s.listeners)), 0, now)
		return
	}
	if port == 0 {
		if port = s.l.freePort(); port == 0 {
			s.reply(m.Ref, qnet.Errorf(qnet.ErrInUse, "%s has no free port", s.l.cfg.Name), 0, now)
			return
		}
	}
	if o := s.l.ports[port]; o != nil {
		s.reply(m.Ref, qnet.Errorf(qnet.ErrInUse, "port %d of %s is taken by program %q; choose another", port, s.l.cfg.Name, o.session.name), 0, now)
		return
	}
	backlog := s.l.cfg.Backlog
	if m.Backlog > 0 && m.Backlog < uint64(backlog) {
		backlog = int(m.Backlog)
	}
	li := &listener{session: s, port: port, backlog: backlog}
	s.l.ports[port] = li
	s.listeners = append(s.listeners, li)
	s.l.tr.Event(now, "transport", "listen").Uint("session", s.id).Uint("port", uint64(port)).End()
	s.reply(m.Ref, nil, uint64(port), now)
}

// freePort returns a port that nobody listens on, 0 when there is none.
func (l *Layer) freePort() uint16 {
	for range lastFreePort - firstFreePort + 1 {
		if l.lastPort == lastFreePort {
			l.lastPort = firstFreePort - 1
		}
		l.lastPort++
		if l.ports[l.lastPort] == nil {
			return l.lastPort
		}
	}
	return 0
}

// listener returns the session's listener on port.
func (s *Session) listener(port uint16) (*listener, error) {
	if li := s.l.ports[port]; li != nil && li.session == s {
		return li, nil
	}
	return nil, qnet.Errorf(qnet.ErrClosed, "this program does not listen on port %d of %s", port, s.l.cfg.Name)
}

func (s *Session) unlisten(m *Unlisten) {
	li, err := s.listener(m.Port)
	if err == nil {
		s.listeners = slices.DeleteFunc(s.listeners, func(o *listener) bool { return o == li })
		li.close()
	}
	s.reply(m.Ref, err, 0, s.l.Now())
}

func (s *Session) alloc(m *Alloc) {
	if len(s.qubits)+s.allocs >= s.l.cfg.Qubits {
		s.reply(m.Ref, qnet.Errorf(qnet.ErrNoMemory, "the session holds %d qubits, which is its limit; free some", len(s.qubits)+s.allocs), 0, s.l.Now())
		return
	}
	s.allocs++
	s.l.dev.Do(physical.Op{Kind: physical.OpAlloc}, func(r physical.Result) {
		s.allocs--
		switch {
		case r.Err != nil:
			s.reply(m.Ref, r.Err, 0, s.l.Now())
		case s.ended:
			s.l.free(r.Qubit)
		default:
			s.reply(m.Ref, nil, s.adopt(r.Qubit), r.At)
		}
	})
}

// adopt enters a qubit in the ledger and returns its number.
func (s *Session) adopt(q physical.Qubit) uint64 {
	s.lastQubit++
	s.qubits[s.lastQubit] = &qubit{handle: q}
	return s.lastQubit
}

// usable returns the entry of a qubit that the program may operate on.
func (s *Session) usable(id uint64) (*qubit, error) {
	q := s.qubits[id]
	if q == nil {
		return nil, qnet.Errorf(qnet.ErrBadQubit, "qubit %d is not held by this program: it was freed, measured or sent", id)
	}
	if q.busy != "" {
		return nil, qnet.Errorf(qnet.ErrBadQubit, "qubit %d is %s; wait for the end of that", id, q.busy)
	}
	return q, nil
}

// operate applies a gate. Its first error stays with its qubits.
func (s *Session) operate(m *Operate) {
	operands := make([]*qubit, 0, 2)
	var err error
	ids := [...]uint64{m.A, m.B}
	for _, id := range ids[:m.Gate.Qubits()] {
		q, e := s.usable(id)
		if e == nil {
			operands = append(operands, q)
		} else if err == nil {
			err = e
		}
	}
	switch {
	case err != nil:
	case m.Gate.Qubits() == 2 && m.A == m.B:
		err = qnet.Errorf(qnet.ErrInvalid, "%v needs two qubits, but both are qubit %d", m.Gate, m.A)
	case math.IsNaN(m.Angle) || math.IsInf(m.Angle, 0):
		err = qnet.Errorf(qnet.ErrInvalid, "%v of qubit %d: the angle must be finite", m.Gate, m.A)
	}
	if err != nil {
		for _, q := range operands {
			q.blame(err)
		}
		return
	}
	op := physical.Op{Kind: physical.OpGate, Gate: m.Gate, A: operands[0].handle, Angle: m.Angle}
	if len(operands) == 2 {
		op.B = operands[1].handle
	}
	for _, q := range operands {
		q.gates++
	}
	gate, id := m.Gate, m.A
	s.l.dev.Do(op, func(r physical.Result) {
		for _, q := range operands {
			if r.Err != nil {
				q.blame(qnet.Errorf(qnet.CodeOf(r.Err), "gate %v on qubit %d: %v", gate, id, r.Err))
			}
			q.gates--
			s.flushed(q)
		}
	})
}

// blame leaves the error of a gate with the qubit, unless it has one.
func (q *qubit) blame(err error) {
	if q.err == nil {
		q.err = err
	}
}

func (s *Session) flush(m *Flush) {
	q, err := s.usable(m.Qubit)
	if err != nil {
		s.reply(m.Ref, err, 0, s.l.Now())
		return
	}
	if len(q.flushes) >= s.l.cfg.Posts {
		s.reply(m.Ref, qnet.Errorf(qnet.ErrBusy, "qubit %d has %d requests waiting, which is the limit", m.Qubit, len(q.flushes)), 0, s.l.Now())
		return
	}
	q.flushes = append(q.flushes, m.Ref)
	s.flushed(q)
}

// flushed does what waits for the gates of q, if all are done.
func (s *Session) flushed(q *qubit) {
	if q.gates > 0 {
		return
	}
	for _, ref := range q.flushes {
		s.reply(ref, q.err, 0, s.l.Now())
	}
	q.flushes = nil
	if q.dropped && q.busy == "" {
		s.l.free(q.handle)
	}
}

// measure measures a qubit. Its entry goes at once: nothing can be done with it
// any more. Results of its gates come before that of the measurement.
func (s *Session) measure(m *MeasureQubit) {
	q, err := s.usable(m.Qubit)
	if err == nil && !m.Basis.Valid() {
		err = qnet.Errorf(qnet.ErrInvalid, "measurement of qubit %d: the angles of the basis must be finite", m.Qubit)
	}
	if err != nil {
		s.reply(m.Ref, err, 0, s.l.Now())
		return
	}
	q.busy = "being measured"
	s.l.dev.Do(physical.Op{Kind: physical.OpMeasure, A: q.handle, Basis: m.Basis, Free: true}, func(r physical.Result) {
		if s.qubits[m.Qubit] != q {
			return // the session has ended and freed it
		}
		delete(s.qubits, m.Qubit)
		if r.Err != nil {
			s.l.free(q.handle)
		}
		s.reply(m.Ref, first(q.err, r.Err), uint64(r.Bit), r.At)
	})
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) freeQubit(m *FreeQubit) {
	q := s.qubits[m.Qubit]
	if q == nil {
		return
	}
	q.dropped = true
	if q.busy == "" {
		delete(s.qubits, m.Qubit)
		s.flushed(q)
	}
}

// giveBack lets the program use a qubit again that was not sent.
func (s *Session) giveBack(id uint64) {
	if q := s.qubits[id]; q != nil {
		q.busy = ""
		if q.dropped {
			delete(s.qubits, id)
			s.flushed(q)
		}
	}
}

func (l *Layer) free(q physical.Qubit) {
	l.dev.Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
}
