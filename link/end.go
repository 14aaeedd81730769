package link

import (
	"math"
	"math/rand/v2"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// end is one end of one link.
type end struct {
	l         *Layer
	cfg       EndConfig
	sched     Scheduler
	rng       *rand.Rand // of bases
	lots      *rand.Rand // of the requests that are named to a peer that finds none in common
	estimator estimator
	nextID    uint64
	place     uint64 // side 0: the last that was given
	requests  map[RequestID]*request
	count     [2]int               // requests held, by the side that created them
	adding    int                  // own requests whose ADD is not answered
	backlog   []*request           // own requests whose ADD is not sent yet
	spare     []*request           // that are over, to be used again
	proposed  physical.BasisSource // by the latest ADD
	ready     ready
	listens   map[uint64]bool // purposes that the peer may ask for; nil: the handler decides
	seen      identities      // requests of the peer
	refused   latest[refused] // of those
	checks    latest[check]   // of measured requests

	lanes     []lane
	services  []service  // scratch of serve
	inTurn    []*request // the first known requests whose turn it is, if fresh
	inLanes   []*request // scratch of assign
	near      []*request // scratch of share
	known     int
	fresh     bool
	serving   bool
	again     bool
	version   uint64 // of what open lanes may offer
	steered   RequestID
	steeredTo qnet.Time // until when it goes first
	atomic    *request  // the one that has begun
	slotTimer event.Timer
	barring   barring           // by which the ready requests are sorted out
	inSlot    func(*Entry) bool // which the slot serves; nil: all
	memory    memory
	storage   storage
	use       use
	limits    [2]limiter // frames of the peer, of the station
	herald    roundTrip  // from emission until a pair that is measured is heard of
	answers   roundTrip  // of the peer
	anchor    uint64     // cycle from which patterns of attempts count, the same at both ends

	expiring []*expiring
	voided   []span // the latest pairs that the peer voided, oldest first
	voidedTo uint64 // the end of all of them
	recent   queue[taken]
	heard    heardOf // of the station

	rounds map[uint64]*testRound // by number of the pair
	learnt uint64
	tested uint64

	wasDown  bool
	pairs    uint64
	expired  uint64
	gen      Gen // scratch, as the messages that follow
	add      Add
	addAck   AddAck
	bulkAck  BulkAck
	outcomes Outcomes
	measured []Measured
	frames   Frames
	faults   [senders]faults
}

func newEnd(l *Layer, cfg EndConfig) *end {
	if cfg.Queue == 0 {
		cfg.Queue = maxRequests
	}
	e := &end{l: l, cfg: cfg, nextID: seqBase, place: seqBase, requests: make(map[RequestID]*request), rounds: make(map[uint64]*testRound), lanes: make([]lane, cfg.Lanes),
		anchor: physical.CycleBase, rng: qnet.NewRand(l.cfg.Seed, "link/"+l.cfg.Name+"/"+cfg.Name),
		lots: qnet.NewRand(l.cfg.Seed, "link/"+l.cfg.Name+"/"+cfg.Name+"/lots")}
	e.schedule()
	for i, from := range [senders]string{cfg.PeerName, "the station", "others"} {
		e.faults[i].from = from
	}
	e.memory.onTimer, e.storage.onTimer, e.storage.onAnswer = e.tellMemory, e.askStorage, e.askedStorage
	var err error
	if e.estimator, err = newEstimator(&e.cfg, l.dev.Spec()); err != nil { // a configuration that no scenario makes
		e.trace("heralding only").Err(err).End()
	}
	for i := range e.limits {
		e.limits[i] = newLimiter(cfg.Lanes, cfg.Cycles.Period)
	}
	for i := range e.lanes {
		e.lanes[i].init(e, uint32(i))
	}
	e.wasDown = e.down() != nil
	return e
}

// schedule begins the order of service anew, with no requests.
func (e *end) schedule() {
	e.sched = new(Fair)
	if e.cfg.Scheduler != nil {
		e.sched = e.cfg.Scheduler()
	}
	e.ready = ready{sched: e.sched}
	e.barring.slot = math.MaxUint64 // none yet
}

func (e *end) trace(name string) trace.Event {
	return e.l.tr.Event(e.l.dev.Now(), "link", name).Str("link", e.cfg.Name)
}

func (e *end) down() error {
	if !e.l.ep.Up(e.cfg.Peer) {
		return qnet.Errorf(qnet.ErrUnavail, "link %s is down: %s is not answering", e.cfg.Name, e.cfg.PeerName)
	}
	if !e.l.ep.Up(e.cfg.Station) {
		return qnet.Errorf(qnet.ErrUnavail, "link %s is down: its station in the fabric is not answering", e.cfg.Name)
	}
	return nil
}

func (e *end) peerUp() {
	if e.wasDown && e.down() == nil {
		e.wasDown = false
		e.trace("up").End()
		e.l.handler.LinkChange(e.cfg.ID, nil)
	}
}

func (e *end) peerDown(error) {
	err := e.down()
	if err == nil { // it came back before we were told
		err = qnet.Errorf(qnet.ErrRestarted, "link %s was interrupted", e.cfg.Name)
	}
	e.wasDown = true
	clear(e.rounds)
	e.trace("down").Str("err", err.Error()).End()
	peer := e.l.ep.Up(e.cfg.Peer)
	if !peer {
		for _, x := range e.expiring {
			x.timer.Stop()
		}
		e.expiring = nil
	}
	for _, id := range e.sortedRequests() {
		r := e.requests[id]
		if r == nil {
			continue
		}
		ending := r.state == reqEnding
		if peer {
			e.endRequest(id, qnet.CodeOf(err), err.Error()) // it may not know
		} else {
			e.drop(r)
		}
		if !ending {
			e.l.handler.Ended(e.cfg.ID, id, err)
		}
	}
	if !peer {
		e.schedule() // a peer that comes back may count anew, and knows of no turns
		e.seen = identities{}
		e.refused.clear()
		e.checks.clear()
		e.recent.clear() // pairs of requests whose identities come again
		for i := range e.lanes {
			e.lanes[i].forgotten = true
		}
	}
	if !e.l.ep.Up(e.cfg.Station) {
		e.voided, e.voidedTo = nil, 0
		e.recent.clear() // and so may a station
		e.heard.clear()
		e.anchor = physical.CycleBase
		for i := range e.lanes {
			if l := &e.lanes[i]; l.state == laneClosing {
				l.release()
			}
		}
	}
	e.advertise() // forgets what the peer said, who may count anew
	e.l.handler.LinkChange(e.cfg.ID, err)
	if e.down() == nil {
		e.peerUp()
	}
}

// retryAfter returns how long to wait for an answer: at first two round trips between
// the ends and what software takes (chosen), then twice as long with each try.
func (e *end) retryAfter(tries int) time.Duration {
	return (20*time.Millisecond + 8*e.cfg.Delay) << min(tries, 4)
}

func (e *end) send(to qnet.NodeID, m wire.Message) {
	e.frames.Sent[m.Type()&0xf]++
	// The only errors are an unknown peer, which the configuration rules out,
	// and an oversized message, which the limits do.
	_ = e.l.ep.Datagram(to, m)
}

// instant returns when a cycle is, by the clock of the loop.
func (e *end) instant(cycle uint64) qnet.Time {
	return e.cfg.Cycles.Instant(cycle).Add(-e.l.ahead())
}

// stride returns the cycles from one attempt whose pair is kept to the next.
func (e *end) stride() uint64 { return max(1, e.cfg.Stride) }

// spec returns the data sheet of a side's hardware.
func (e *end) spec(side int) *physical.Spec {
	if side != e.cfg.Side && e.cfg.PeerSpec != nil {
		return e.cfg.PeerSpec
	}
	return e.l.dev.Spec()
}

// storageInit returns how long it takes to initialise a storage qubit.
func storageInit(s *physical.Spec) time.Duration {
	if s.Memory != nil {
		return s.Memory.Init
	}
	return s.Init
}

// pattern returns the cycles in which attempts are made for a group of requests.
func (e *end) pattern(g group) physical.Pattern {
	p := e.cfg.pattern(g, e.l.dev.Spec())
	if p.Every != 0 {
		p.First = e.anchor
	}
	return p
}

// pattern returns those of an end with such hardware, counted from cycle 0. A storage
// qubit that takes the place of another by way of a communication qubit is initialised
// anew before its coherence time is over.
func (c *EndConfig) pattern(g group, s *physical.Spec) physical.Pattern {
	if !g.keep {
		return physical.Pattern{}
	}
	p := physical.Pattern{Stride: c.Stride}
	if g.store && s.Memory != nil && s.Memory.Indirect && s.Memory.T2 > 0 {
		if every := s.Memory.T2 * 1e9 / c.Cycles.Period; every >= float64(p.Stride) && every < 1<<40 {
			p.Every = uint64(every)
			p.Pause = uint64(math.Ceil(float64(s.Memory.Init) / c.Cycles.Period))
		}
	}
	return p
}

// deadTime returns for how long a lane of one side does not attempt after a success of a
// request: until it has heard of it and is ready again, if nobody holds its half.
func (e *end) deadTime(q *request, side int) time.Duration {
	s := e.spec(side)
	t := 2*e.cfg.Delay + s.Init
	switch {
	case q.store:
		t = 2*e.cfg.Delay + moveTime(s)
	case !q.keeps():
		t += s.Readout
	}
	return t
}

// quantum returns the cycles of attempts for which it is worth to arm a lane.
func (e *end) quantum() float64 {
	return float64(e.slice()) / e.cfg.Cycles.Period
}

// weigh tells the scheduler how many cycles a pair of a request is likely to take.
// Lanes that attempt for requests that keep pairs go from one to another at no
// cost; to measure for another they are armed anew, which takes a round trip more than
// to go on does: 1 % at most of what a request is served in turn.
func (e *end) weigh(q *request) {
	q.Kind = e.ready.kind(q)
	q.PairCycles = 1 / e.cfg.Points[q.point].Probability
	if q.keeps() {
		q.PairCycles *= float64(e.stride())
	}
	if q.keeps() || !e.cfg.Pipelined && !e.cfg.Immediate {
		q.PairCycles += float64(max(e.deadTime(q, 0), e.deadTime(q, 1))) / e.cfg.Cycles.Period
	}
	if !q.keeps() {
		q.Quantum = e.quantum()
	}
	// Columns come in steps of up to a second.
	q.Claim = 16*q.PairCycles + float64(2*time.Second+400*e.cfg.Delay)/e.cfg.Cycles.Period
}
