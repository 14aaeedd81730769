package link

import (
	"errors"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
)

// Flow control by memory. Attempts for which the other end has no qubit bring
// nothing, and dephase what is stored. An end that has been short of qubits for a
// while says so, again and again while it lasts, less and less often, and when it is
// over; what was said holds until it would have been said again a few times.

// shortAfter is how long an end is short before it says so: what is shorter costs
// less than the frames.
const shortAfter = 10 * time.Millisecond

// shortage is what an end is short of.
type shortage struct {
	lanes, storage bool
	stores         int // lanes that can store at a time, where these are few; else 0
}

func (s shortage) any() bool { return s != shortage{} }

// memory is the state of flow control at one end.
type memory struct {
	told    shortage // what the peer was told last
	timer   event.Timer
	onTimer func() // end.tellMemory as a method value, made once
	ticks   bool   // the timer is set
	tries   int    // times that the same was told, one after another
	over    int    // times that the end of a shortage is still to be told
	number  uint64

	said   shortage // what it said last
	peer   shortage // the same while it holds
	heard  uint64   // number of that
	since  uint64   // number of the first message that said so
	expiry event.Timer
}

// storage is what an end knows of the free storage qubits of its node. No device tells
// when one has become free: while it is short of them the end asks, less and less
// often, as long as it has requests to store; also while the peer is short too, else
// both would wait for each other for ever.
type storage struct {
	short    bool // there was none when one was asked for
	spare    int  // that may be free since: the device gave one, or a lane has left its own
	trial    bool // one of these is a lane's to ask with, which has to make room first
	most     int  // lanes that could store at a time since the peer was told
	tries    int  // in vain, one after another
	timer    event.Timer
	onTimer  func() // end.askStorage and end.askedStorage as method values, made once
	onAnswer func(physical.Result)
}

// noStorage takes the device's word that no storage qubit is free.
func (e *end) noStorage() {
	s := &e.storage
	s.spare, s.trial = 0, false
	if !s.short {
		s.short, s.tries = true, 0
		e.askLater()
	}
}

func (e *end) askLater() {
	s := &e.storage
	s.timer.Stop()
	s.timer = e.l.loop.After(max(time.Millisecond, 4*e.cfg.Delay)<<min(s.tries, 4), s.onTimer)
	s.tries++
}

// askStorage asks whether a storage qubit is free now. For one that is initialised
// through a communication qubit, while none is idle, a lane has to make room and ask.
func (e *end) askStorage() {
	s := &e.storage
	switch {
	case !e.ready.stores(), e.stores() >= len(e.lanes):
		s.short, s.spare, s.trial = false, 0, false
		e.serve()
		return
	case s.spare > 0: // no lane wants it, and where one has another there may be more
		if e.storing() > 0 {
			s.spare, s.tries = s.spare+1, 0
		}
		e.askLater()
		e.serve()
		return
	}
	if m := e.l.dev.Spec().Memory; m != nil && m.Indirect && e.idleLane() == nil {
		s.spare, s.trial = 1, true
		e.askLater()
		e.serve()
		return
	}
	e.l.dev.Do(physical.Op{Kind: physical.OpAlloc}, s.onAnswer)
}

func (e *end) askedStorage(r physical.Result) {
	s := &e.storage
	if !errors.Is(r.Err, qnet.ErrNoMemory) { // another error is for a lane to deal with
		s.spare, s.tries = s.spare+1, 0
	}
	if r.Err == nil {
		e.free(r.Qubit) // for the lane whose turn it is
	}
	e.askLater()
	e.serve()
}

// mayStore returns how many lanes may attempt for pairs that are stored: all, or those
// that do and those for which there is a qubit to spare, and no more than the peer has.
func (e *end) mayStore() int {
	n := all
	if e.storage.short {
		n = e.storage.spare
		for i := range e.lanes {
			if l := &e.lanes[i]; l.works() && l.group.store {
				n++
			}
		}
	}
	if m := e.memory.peer.stores; m > 0 {
		n = min(n, m)
	}
	return n
}

// storing returns how many lanes have a storage qubit, or are about to have one: that none
// is free the device says at once.
func (e *end) storing() (n int) {
	for i := range e.lanes {
		if l := &e.lanes[i]; !l.storage.IsZero() || l.state == laneArming && l.group.store && l.since < e.l.loop.Now() {
			n++
		}
	}
	return n
}

// stores returns how many lanes can store at a time, as far as is known. If the peer is
// short too it has to try, so that this end can ask.
func (e *end) stores() int {
	n := e.storing() + e.storage.spare
	if e.storage.trial && !e.memory.peer.storage {
		n--
	}
	return n
}

// short returns what this end is short of.
func (e *end) short() shortage {
	s := shortage{lanes: e.allHeld()}
	if e.storage.short {
		n := e.stores()
		if n = max(n, e.storage.most*min(n, 1)); n < len(e.lanes) {
			s.storage, s.stores = n == 0, n
		}
	}
	return s
}

// advertise tells the peer of a shortage that lasts, and of its end.
func (e *end) advertise() {
	m := &e.memory
	if e.storage.short {
		e.storage.most = max(e.storage.most, e.stores())
	}
	switch s := e.short(); {
	case e.wasDown:
		m.timer.Stop()
		m.expiry.Stop()
		*m = memory{number: m.number, onTimer: m.onTimer}
	case s.any() && (!m.ticks || m.over > 0) && e.ready.len() > 0:
		m.over = 0
		e.tickIn(max(shortAfter, 8*e.cfg.Delay))
	case m.told.storage && !s.storage && s.any(): // as when it is over
		e.tell(s)
		e.tickIn(e.retryAfter(0))
	case !s.any() && m.told.any():
		long := m.tries > 1
		if e.tell(s); long { // the peer would wait for long if it did not hear
			m.over = 2
			e.tickIn(e.retryAfter(0))
		}
	case s.any() && s != m.told && m.tries > 1: // soon
		m.tries = 0
		e.tickIn(e.retryAfter(0))
	case !s.any() && m.ticks && m.over == 0:
		m.timer.Stop()
		m.ticks = false
	}
}

// tickIn sets the timer of the next message.
func (e *end) tickIn(d time.Duration) {
	m := &e.memory
	m.timer.Stop()
	m.ticks = true
	m.timer = e.l.loop.After(d, m.onTimer)
}

func (e *end) tellMemory() {
	m := &e.memory
	m.ticks = false
	switch s := e.short(); {
	case e.wasDown:
	case s.any() && e.ready.len() > 0:
		e.tell(s)
		e.tickIn(e.retryAfter(m.tries - 1))
	case !s.any() && m.over > 0:
		e.tell(s)
		m.tries = 0
		if m.over--; m.over > 0 {
			e.tickIn(e.retryAfter(0))
		}
	}
}

func (e *end) tell(s shortage) {
	m := &e.memory
	m.timer.Stop()
	m.ticks = false
	if m.tries++; s != m.told {
		m.tries = 1
	}
	m.told = s
	m.number++
	e.storage.most = 0
	e.send(e.cfg.Peer, &Memory{Link: e.cfg.ID, Number: m.number, Lanes: s.lanes, Storage: s.storage, Stores: uint32(s.stores)})
}

func (e *end) onMemory(msg *Memory) {
	m := &e.memory
	if msg.Number <= m.heard {
		return // overtaken
	}
	if msg.Number > m.heard+1<<32 {
		e.fault(fromPeer, unexpected, "MEMORY with a number far ahead")
		return
	}
	m.heard = msg.Number
	said := shortage{lanes: msg.Lanes, storage: msg.Storage, stores: int(msg.Stores)}
	if said != m.said {
		m.since = msg.Number
	}
	m.said, m.peer = said, said
	m.expiry.Stop()
	if m.peer.any() {
		m.expiry = e.l.loop.After(3*e.retryAfter(int(min(msg.Number-m.since, 16))), func() {
			m.peer = shortage{}
			e.version++
			e.serve()
		})
	}
	e.version++
	e.serve()
}

// lacking returns qnet.ErrNoMemory while one end has no qubit for a request, nil
// otherwise.
func (e *end) lacking(q *request) error {
	own, peer := e.short(), e.memory.peer
	switch {
	case own.storage && q.store:
		return qnet.Errorf(qnet.ErrNoMemory, "all storage qubits of %s are in use; free some", e.l.cfg.Name)
	case peer.lanes:
		return qnet.Errorf(qnet.ErrNoMemory, "all communication qubits of %s for link %s are in use", e.cfg.PeerName, e.cfg.Name)
	case peer.storage && q.store:
		return qnet.Errorf(qnet.ErrNoMemory, "all storage qubits of %s are in use", e.cfg.PeerName)
	}
	return e.full()
}
