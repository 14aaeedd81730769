package link_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// The model test drives two link layers and a station, over the emulated fabric
// and the control network, with random requests, limits, cancellations and
// faults, and compares what they hand up with a model of the service:
//
//   - a request is known at both ends by one identity, as the same request;
//   - it ends once at each end that knows it and was not restarted, and, if it has
//     a deadline, by then;
//   - a complete one had exactly its number of pairs, of which some may have
//     expired since;
//   - a pair is handed up once at most at each end, for one request, while that is
//     open, and is the same at both ends; what one end has the other has too, unless
//     it expired or the link was down;
//   - no end has more pairs than it takes, nor sooner than the rate allows;
//   - pairs that are to be alive together are handed up at one instant;
//   - no pair of another request comes between those of an atomic one;
//   - the state of a kept pair is the one that its label names, what was prepared is
//     what the creator measured, and outcomes in one basis agree as the label says;
//   - in the end nothing is left.
//
// All choices are drawn from one stream, so that a failure is repeated by its
// seed, and the fuzzer makes its own.

var (
	modelSeeds = flag.Int("model.seeds", 240, "seeds of TestModel")
	modelFirst = flag.Uint64("model.first", 1, "first seed of TestModel")
)

func TestModel(t *testing.T) {
	const groups = 8 // that run beside each other
	for g := range groups {
		t.Run(fmt.Sprint("group ", g), func(t *testing.T) {
			t.Parallel()
			var sum tally
			for i := g; i < *modelSeeds; i += groups {
				seed := *modelFirst + uint64(i)
				ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					runModel(t, &choices{rng: rand.New(rand.NewPCG(seed, 9)), left: 60}, &sum)
				})
				if !ok {
					t.Logf("repeat with: go test ./link -run TestModel -model.seeds 1 -model.first %d", seed)
				}
			}
			t.Logf("%+v", sum)
			// Each kind of event is met many times: the test is not empty.
			if n := *modelSeeds / groups; n >= 30 {
				if sum.Complete < n || sum.Failed < n || sum.Expired < n/4 || sum.Restarts < n/4 || sum.Fidelities < n || sum.Parities < n || sum.Prepared < n/2 || sum.Together < n/8 || sum.Atomic < n/8 {
					t.Errorf("%+v: the test tests little", sum)
				}
			}
		})
	}
}

// FuzzModel lets the fuzzer make the choices.
func FuzzModel(f *testing.F) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 10))
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		runModel(t, &choices{data: b, left: 100}, new(tally))
	})
}

// tally counts what a run has met.
type tally struct {
	Complete, Failed, Pairs, Expired, Restarts, Breaks int
	Fidelities, Parities, Prepared, Together, Atomic   int
}

// choices is where a run takes its choices from: a seed, or bytes.
type choices struct {
	rng  *rand.Rand
	data []byte
	left int // steps
}

func (c *choices) intn(n int) int {
	if c.rng != nil {
		return c.rng.IntN(n)
	}
	var b [2]byte
	c.data = c.data[copy(b[:], c.data):]
	return int(binary.LittleEndian.Uint16(b[:])) % n
}

func (c *choices) oneIn(n int) bool { return c.intn(n) == n-1 }

// within returns a duration from 0 to below d, in 1000 steps.
func (c *choices) within(d time.Duration) time.Duration {
	return d / 1000 * time.Duration(c.intn(1000))
}

// more reports whether there is another step.
func (c *choices) more() bool {
	c.left--
	return c.left >= 0 && (c.rng != nil || len(c.data) > 0)
}

// contract is one request as the model knows it.
type contract struct {
	r       link.Request
	id      link.RequestID
	created qnet.Time
	creator int
	sides   [2]*share // nil at the peer until it is asked
	severed bool      // one end was restarted, or the link was down, during its life
}

// share is what one end knows of a request.
type share struct {
	c     *contract
	limit uint64 // the highest that it may have taken
	kept  []modelPair
	outs  []link.Measured
	void  map[uint64]bool   // pairs that have expired here
	turns map[uint64]uint64 // pairs, by number: which of all that were handed up at this end
	ended bool
	by    bool // ended by the layer above, here
	err   error
	at    qnet.Time
	bases physical.BasisSource
}

type modelPair struct {
	link.Pair
	at   qnet.Time
	held bool
}

// valid returns the number of pairs that have not expired.
func (s *share) valid() uint64 { return uint64(len(s.kept) + len(s.outs) - len(s.void)) }

func (s *share) has(seq uint64) bool {
	return slices.ContainsFunc(s.kept, func(p modelPair) bool { return p.Seq == seq }) ||
		slices.ContainsFunc(s.outs, func(m link.Measured) bool { return m.Seq == seq })
}

// model is a run.
type model struct {
	t         *testing.T
	w         *world
	ch        *choices
	sum       *tally
	ends      [2]*modelEnd
	contracts []*contract
	names     [2]map[uint64]bool // numbers of the pairs handed up, by side
	nature    *mortalHeralder
	cut       map[[2]qnet.NodeID]bool
	settling  bool
	calm      bool // no end is restarted, no contact lost
}

// modelEnd is one incarnation of the layer above one end.
type modelEnd struct {
	m      *model
	side   int
	dead   bool
	layer  *link.Layer
	dev    physical.Device
	shares map[link.RequestID]*share
}

// mortal is a device whose owner can die: then it does nothing any more.
type mortal struct {
	physical.Device
	dead *bool
}

func (d mortal) Do(op physical.Op, done func(physical.Result)) {
	if !*d.dead {
		d.Device.Do(op, done)
	}
}

func (d mortal) ArmBulk(l physical.LinkID, lane uint32, src physical.BasisSource, sink func(physical.Outcomes, error), done func(physical.Result)) {
	if !*d.dead {
		d.Device.ArmBulk(l, lane, src, sink, done)
	}
}

// mortalHeralder is the same for a station. Attempts end with it.
type mortalHeralder struct {
	link.Heralder
	dead bool
	open map[[2]uint32]bool
}

func (h *mortalHeralder) Begin(lanes [2]uint32, point int, p physical.Pattern, first, last uint64) {
	if !h.dead {
		h.open[lanes] = true
		h.Heralder.Begin(lanes, point, p, first, last)
	}
}

func (h *mortalHeralder) Until(lanes [2]uint32, last uint64) {
	if !h.dead {
		h.Heralder.Until(lanes, last)
	}
}

func (h *mortalHeralder) End(lanes [2]uint32, cycle uint64) {
	if !h.dead {
		h.Heralder.End(lanes, cycle)
	}
}

func (h *mortalHeralder) Armed(side int, lane uint32) (qnet.Time, bool) {
	if h.dead {
		return 0, false
	}
	return h.Heralder.Armed(side, lane)
}

func (h *mortalHeralder) Herald(lanes [2]uint32, point int, cycle uint64) (qnet.BellLabel, bool) {
	if h.dead {
		return 0, false
	}
	return h.Heralder.Herald(lanes, point, cycle)
}

func (h *mortalHeralder) HeraldBulk(lanes [2]uint32, point int, cycles []uint64, labels []qnet.BellLabel) int {
	if h.dead {
		return 0
	}
	return h.Heralder.HeraldBulk(lanes, point, cycles, labels)
}

func (h *mortalHeralder) die(now uint64) {
	for lanes := range h.open {
		h.Heralder.End(lanes, now)
	}
	h.dead = true
}

// modelSlots are of 1, 3 and 0.4 ms, between which there is a break: two for some of
// the priorities each, and one for a priority of either.
var modelSlots = []link.Slot{{Begin: 0, End: 1000, Priorities: []uint8{0, 1, 2, 3}}, {Begin: 1000, End: 4000, Priorities: []uint8{4, 5, 6, 7}}, {Begin: 4200, End: 4600, Priorities: []uint8{0, 7}}}

var pauli = physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}}

func (m *model) faultf(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf("%v: %s", m.w.loop.Now(), fmt.Sprintf(format, args...))
}

func runModel(t *testing.T, ch *choices, sum *tally) {
	m := &model{t: t, ch: ch, sum: sum, names: [2]map[uint64]bool{{}, {}}, cut: make(map[[2]qnet.NodeID]bool)}
	cfg := worldConfig{seed: uint64(ch.intn(1 << 16)), probability: []float64{0.02, 0.2, 0.003}[ch.intn(3)], lanes: 1 + ch.intn(4), length: float64(20 + ch.intn(3)*2000),
		spec:    physical.Spec{Storage: 1 + ch.intn(3), Init: 5 * time.Microsecond, Gate2: 3 * time.Microsecond, Readout: 2 * time.Microsecond, Gate1: time.Microsecond},
		queue:   []int{0, 8}[ch.intn(2)],
		hazards: []control.LinkConfig{{}, bad, {Loss: 0.3}, {Reorder: 0.5, ReorderBy: 20 * time.Millisecond, Duplicate: 0.3}, {Jitter: 50 * time.Microsecond, Loss: 0.02}}[ch.intn(5)],
		scheduler: []func() link.Scheduler{nil, func() link.Scheduler { return link.FCFS{} }, func() link.Scheduler { return link.EDF{} },
			func() link.Scheduler { return &link.Weighted{Weights: []float64{1, 2, 0, 0, 3}} },
			func() link.Scheduler { return &link.Slots{Scheduler: new(link.Fair), Period: 5000, Table: modelSlots} }}[ch.intn(5)],
		heralder: func(h link.Heralder) link.Heralder {
			m.nature = &mortalHeralder{Heralder: h, open: make(map[[2]uint32]bool)}
			return m.nature
		},
		device: func(d physical.Device) physical.Device { return mortal{d, new(bool)} },
	}
	if ch.oneIn(3) { // that lanes share
		cfg.spec.Communication = 1 + ch.intn(cfg.lanes)
	}
	m.w = newWorld(t, cfg)
	m.calm = !ch.oneIn(3)
	for side := range m.ends {
		m.adopt(side, m.w.ends[side].layer, m.w.ends[side].dev)
	}
	for ch.more() {
		m.step()
		m.w.run(ch.within([]time.Duration{100 * time.Microsecond, 5 * time.Millisecond, 50 * time.Millisecond}[ch.intn(3)]))
	}
	m.settle()
}

// adopt makes a new layer above of one end.
func (m *model) adopt(side int, l *link.Layer, dev physical.Device) {
	e := &modelEnd{m: m, side: side, layer: l, dev: dev, shares: make(map[link.RequestID]*share)}
	m.ends[side] = e
	l.Handle(e)
}

// open returns the requests that an end has, in order.
func (e *modelEnd) open() (out []*share) {
	for _, id := range slices.Sorted(maps.Keys(e.shares)) {
		if s := e.shares[id]; !s.ended {
			out = append(out, s)
		}
	}
	return out
}

func (m *model) step() {
	ch := m.ch
	e := m.ends[ch.intn(2)]
	switch k := ch.intn(40); {
	case k < 14:
		m.create(e)
	case k < 17:
		if list := e.open(); len(list) > 0 && !e.dead {
			s := list[ch.intn(len(list))]
			s.ended, s.by, s.at = true, true, m.w.loop.Now()
			e.layer.End(theLink, s.c.id, qnet.ErrCancelled)
		}
	case k < 30:
		if list := e.open(); len(list) > 0 && !e.dead {
			e.setLimit(list[ch.intn(len(list))], uint64(ch.intn(10)))
		}
	case k < 33: // a burst of frames of one kind is lost
		typ, n := wire.Type(0x10+ch.intn(13)), 1+ch.intn(6)
		m.w.net.SetFilter(func(_, _ qnet.NodeID, _ control.Class, t wire.Type, _ []byte) control.Verdict {
			if t == typ && n > 0 {
				n--
				return control.Verdict{Action: control.Drop}
			}
			return control.Verdict{}
		})
	case k >= 33 && k < 38 && m.calm:
		m.create(e)
	case k < 35: // two lose contact, for a while
		pair := [][2]qnet.NodeID{{alice, bob}, {alice, station}, {bob, station}}[ch.intn(3)]
		if m.cut[pair] {
			break
		}
		m.sum.Breaks++
		m.cut[pair] = true
		for _, c := range m.contracts {
			c.severed = true
		}
		_ = m.w.net.Break(pair[0], pair[1])
		m.w.loop.After(ch.within(1500*time.Millisecond), func() { m.restore(pair) })
	case k < 37:
		if !e.dead {
			m.kill(e)
			m.w.loop.After(ch.within(1500*time.Millisecond), func() { m.revive(e) })
		}
	case k == 37:
		m.restartStation()
	default:
		m.w.run(ch.within(200 * time.Millisecond))
	}
}

func (m *model) restore(pair [2]qnet.NodeID) {
	if m.cut[pair] {
		m.cut[pair] = false
		_ = m.w.net.Restore(pair[0], pair[1])
	}
}

// kill ends the process of one end.
func (m *model) kill(e *modelEnd) {
	m.sum.Restarts++
	e.dead = true
	*e.dev.(mortal).dead = true
	id := alice + qnet.NodeID(e.side)
	m.w.net.Remove(id)
	m.w.fabric.Disconnect(id)
	for _, s := range e.shares {
		s.c.severed = true
		for i := range s.kept {
			s.kept[i].held = false
		}
	}
}

func (m *model) revive(e *modelEnd) {
	if m.ends[e.side] == e {
		l, dev := m.w.start(e.side)
		m.w.ends[e.side].layer = l
		m.adopt(e.side, l, dev)
	}
}

func (m *model) restartStation() {
	m.sum.Restarts++
	m.w.net.Remove(station)
	m.nature.die(m.w.cycles.From(m.w.loop.Now()))
	for _, c := range m.contracts {
		c.severed = true
	}
	m.w.run(m.ch.within(1500 * time.Millisecond))
	m.w.startStation()
	for _, c := range m.contracts {
		c.severed = true
	}
}

func (m *model) create(e *modelEnd) {
	ch := m.ch
	if e.dead {
		return
	}
	now := m.w.loop.Now()
	r := link.Request{Type: link.Type(ch.intn(3)), Pairs: uint64(1 + ch.intn(10)), Purpose: uint64(ch.intn(3)), Tag: uint64(ch.intn(100)), Deadline: qnet.Never,
		Priority: uint8(ch.intn(8)), Atomic: ch.oneIn(4), Limit: 1 << 40, MinFidelity: []float64{0, 0.9}[ch.intn(2)]}
	switch r.Type {
	case link.Keep:
		r.Store = ch.oneIn(3)
		if r.Consecutive = ch.oneIn(3); r.Consecutive {
			r.Pairs = uint64(1 + ch.intn(3))
		}
		if ch.oneIn(4) {
			r.Limit = uint64(ch.intn(10))
		}
	case link.Measure:
		r.Pairs *= []uint64{1, 10, 100}[ch.intn(3)]
		r.Bases = pauli
		if ch.oneIn(2) {
			r.PeerBases = physical.BasisSource{Bases: []qnet.Basis{qnet.BasisZ, qnet.BasisX}, Weights: []float64{1, 3}}
		}
	case link.Prepare:
		r.Bases = pauli
	}
	if ch.oneIn(3) {
		r.Deadline = now.Add(time.Duration(1+ch.intn(300)) * time.Millisecond)
	}
	if !r.Consecutive && ch.oneIn(4) {
		r.Pairs, r.Limit = 0, uint64(ch.intn(30))
	}
	if ch.oneIn(4) {
		r.Rate = float64(1+ch.intn(2000)) + float64(r.Pairs)/10 // complete within 10 s
	}
	id, err := e.layer.Create(theLink, r)
	if err != nil {
		switch qnet.CodeOf(err) {
		case qnet.ErrBusy, qnet.ErrUnavail, qnet.ErrNoMemory, qnet.ErrUnsupported:
		default:
			m.faultf("create: %v", err)
		}
		return
	}
	if s := e.shares[id]; s != nil {
		m.faultf("side %d: identity %d is given twice", e.side, id)
	}
	c := &contract{r: r, id: id, created: now, creator: e.side, severed: m.anyCut()}
	c.sides[e.side] = &share{c: c, limit: r.Limit, void: make(map[uint64]bool), turns: make(map[uint64]uint64), bases: r.Bases}
	e.shares[id] = c.sides[e.side]
	m.contracts = append(m.contracts, c)
}

func (m *model) anyCut() bool {
	for _, cut := range m.cut {
		if cut {
			return true
		}
	}
	return m.ends[0].dead || m.ends[1].dead
}

// setLimit lets an end take so many pairs more than it has. Pairs that are taken
// and still moved, measured or waited with for others count.
func (e *modelEnd) setLimit(s *share, more uint64) {
	limit := s.valid() + more
	r := &s.c.r
	if late := r.Store || r.Consecutive || r.Type == link.Measure || r.Type == link.Prepare; limit > s.limit || !late {
		s.limit = limit
	}
	e.layer.SetLimit(theLink, s.c.id, limit)
}

// Requested implements link.Handler.
func (e *modelEnd) Requested(_ physical.LinkID, o link.Offer) (uint64, error) {
	m, ch := e.m, e.m.ch
	if e.dead {
		return 0, qnet.ErrUnavail
	}
	if s := e.shares[o.ID]; s != nil && (!s.ended || !s.c.severed) {
		m.faultf("side %d: request %d is asked for twice", e.side, o.ID)
	}
	from := m.ends[1-e.side].shares[o.ID]
	if from == nil || from.c.creator == e.side {
		m.faultf("side %d: request %d, which nobody made", e.side, o.ID)
		return 0, qnet.ErrInvalid
	}
	c, r := from.c, &from.c.r
	if o.Type != r.Type || o.Pairs != r.Pairs || o.Purpose != r.Purpose || o.Tag != r.Tag || o.MinFidelity != r.MinFidelity || o.Priority != r.Priority ||
		o.Atomic != (r.Atomic || r.Consecutive) || o.Consecutive != r.Consecutive || o.Store != r.Store || len(o.Bases.Bases) != len(r.PeerBases.Bases) ||
		(o.Deadline == qnet.Never) != (r.Deadline == qnet.Never) || math.Abs(float64(o.Deadline-r.Deadline)) > m.w.cfg.period {
		m.faultf("side %d: asked for %+v, created as %+v", e.side, o, r)
	}
	if ch.oneIn(12) {
		return 0, qnet.Errorf(qnet.ErrNoListener, "not here")
	}
	s := &share{c: c, limit: 1 << 40, void: make(map[uint64]bool), turns: make(map[uint64]uint64), bases: o.Bases}
	e.shares[o.ID], c.sides[e.side] = s, s
	switch {
	case o.Type == link.Measure && ch.oneIn(2):
		s.bases = pauli
		m.w.loop.After(0, func() { e.layer.SetBases(theLink, o.ID, pauli) })
		m.w.loop.After(1+ch.within(3*time.Millisecond), func() { e.layer.SetLimit(theLink, o.ID, 1<<40) })
		return 0, nil
	case ch.oneIn(4) && o.Type == link.Keep:
		s.limit = uint64(ch.intn(10))
	}
	return s.limit, nil
}

// taken checks what holds of every pair that is handed up, and returns its request
// here and at the other end.
func (e *modelEnd) taken(id link.RequestID, seq uint64, created qnet.Time) (s, other *share) {
	m := e.m
	s = e.shares[id]
	now := m.w.loop.Now()
	switch {
	case s == nil:
		m.faultf("side %d: pair %d of request %d, which is not known", e.side, seq, id)
		return nil, nil
	case s.ended:
		m.faultf("side %d: pair %d of request %d, which is over", e.side, seq, id)
	case s.void[seq]:
		m.faultf("side %d: pair %d of request %d is void already", e.side, seq, id)
	case now >= s.c.r.Deadline.Add(time.Duration(m.w.cfg.period)):
		m.faultf("side %d: pair %d of request %d after its deadline", e.side, seq, id)
	}
	if created > now || created < s.c.created {
		m.faultf("side %d: pair %d is of %v, its request of %v", e.side, seq, created, s.c.created)
	}
	if m.names[e.side][seq] {
		m.faultf("side %d: pair %d is handed up twice", e.side, seq)
	}
	m.names[e.side][seq] = true
	m.sum.Pairs++
	s.turns[seq] = uint64(len(m.names[e.side]))
	return s, s.c.sides[1-e.side]
}

// bounds checks limits after a pair.
func (e *modelEnd) bounds(s *share) {
	m, r, n := e.m, &s.c.r, s.valid()
	if n > s.limit || r.Pairs > 0 && n > r.Pairs {
		m.faultf("side %d: request %d has %d pairs, limit %d, asked for %d", e.side, s.c.id, n, s.limit, r.Pairs)
	}
	if e.side == s.c.creator && r.Rate > 0 {
		if due := m.w.loop.Now().Sub(s.c.created).Seconds()*r.Rate + 1; float64(n) > due+1e-6 {
			m.faultf("side %d: request %d has %d pairs, its rate allows %.3f", e.side, s.c.id, n, due)
		}
	}
}

// Pair implements link.Handler.
func (e *modelEnd) Pair(p link.Pair) {
	if e.dead {
		return
	}
	m := e.m
	s, other := e.taken(p.Request, p.Seq, p.Created)
	if s == nil {
		return
	}
	now := m.w.loop.Now()
	r := &s.c.r
	if r.Type == link.Measure || r.Type == link.Prepare && e.side == s.c.creator {
		m.faultf("side %d: request %d of type %v has a kept pair", e.side, p.Request, r.Type)
	}
	if p.Link != theLink || !(p.Goodness >= 0 && p.Goodness <= 1) || p.Goodness < r.MinFidelity-1e-9 || p.GoodAt > now || p.GoodAt < p.Created {
		m.faultf("side %d: %+v", e.side, p)
	}
	if i := slices.IndexFunc(s.kept, func(o modelPair) bool { return o.at != now && !s.void[o.Seq] }); i >= 0 && r.Consecutive {
		m.faultf("side %d: pairs of request %d, to be alive together, at %v and now", e.side, p.Request, s.kept[i].at)
	}
	s.kept = append(s.kept, modelPair{p, now, true})
	e.bounds(s)
	if other != nil {
		for _, o := range other.kept {
			if o.Seq != p.Seq {
				continue
			}
			if o.Label != p.Label || o.Created != p.Created {
				m.faultf("pair %d is %+v at one end, %+v at the other", p.Seq, p, o)
			}
			if o.held {
				m.sum.Fidelities++
				if f, err := m.w.fabric.Oracle().BellFidelity(now, p.Qubit, o.Qubit, p.Label); err != nil || math.Abs(f-1) > 1e-9 {
					m.faultf("pair %d of request %d: fidelity %v (%v)", p.Seq, p.Request, f, err)
				}
			}
		}
		for _, o := range other.outs {
			if o.Seq == p.Seq {
				m.prepared(s.kept[len(s.kept)-1], o, other.bases)
			}
		}
	}
	seq, hold := p.Seq, m.ch.within(2*time.Millisecond)
	if m.settling || hold < 200*time.Microsecond {
		e.free(s, seq)
		return
	}
	m.w.loop.After(hold, func() { e.free(s, seq) })
}

// prepared checks that a half is what the creator of the request has measured.
func (m *model) prepared(p modelPair, o link.Measured, src physical.BasisSource) {
	if o.Label != p.Label || o.Created != p.Created {
		m.faultf("pair %d is %+v at one end, %+v at the other", p.Seq, p, o)
	}
	if !p.held {
		return
	}
	b := src.Basis(o.Basis)
	rho, err := m.w.fabric.Oracle().Density(m.w.loop.Now(), p.Qubit)
	if err != nil {
		m.faultf("pair %d: %v", p.Seq, err)
		return
	}
	mean := map[qnet.Basis]float64{qnet.BasisZ: real(rho[0] - rho[3]), qnet.BasisX: 2 * real(rho[1]), qnet.BasisY: -2 * imag(rho[1])}[b]
	want := 1.0
	if flip, _ := p.Label.Flips(b); flip != (b == qnet.BasisY) != (o.Bit == 1) {
		want = -1
	}
	m.sum.Prepared++
	if math.Abs(mean-want) > 1e-9 {
		m.faultf("pair %d of request %d, %v, measured as %d in %v: the other half has mean %v, want %v", p.Seq, p.Request, p.Label, o.Bit, b, mean, want)
	}
}

// free gives a half back, if it has not been.
func (e *modelEnd) free(s *share, seq uint64) {
	for i := range s.kept {
		if p := &s.kept[i]; p.Seq == seq && p.held {
			p.held = false
			e.dev.Do(physical.Op{Kind: physical.OpFree, A: p.Qubit}, nil)
		}
	}
}

// Measured implements link.Handler.
func (e *modelEnd) Measured(_ physical.LinkID, id link.RequestID, ms []link.Measured) {
	if e.dead {
		return
	}
	m := e.m
	for i, o := range ms {
		s, other := e.taken(id, o.Seq, o.Created)
		if s == nil {
			return
		}
		if r := &s.c.r; r.Type == link.Keep || r.Type == link.Prepare && e.side != s.c.creator {
			m.faultf("side %d: request %d of type %v has a measured pair", e.side, id, r.Type)
		}
		if i > 0 && o.Seq <= ms[i-1].Seq {
			m.faultf("side %d: pair %d after %d", e.side, o.Seq, ms[i-1].Seq)
		}
		s.outs = append(s.outs, o)
		e.bounds(s)
		if other != nil {
			for _, p := range other.kept {
				if p.Seq == o.Seq {
					m.prepared(p, o, s.bases)
				}
			}
		}
	}
}

// Expired implements link.Handler.
func (e *modelEnd) Expired(_ physical.LinkID, id link.RequestID, seq uint64, had bool) {
	if e.dead {
		return
	}
	m := e.m
	m.sum.Expired++
	s := e.shares[id]
	if s == nil {
		if had {
			m.faultf("side %d: pair %d of request %d, which is not known, expired", e.side, seq, id)
		}
		return
	}
	if s.has(seq) != had || s.void[seq] {
		m.faultf("side %d: pair %d of request %d expired, had=%v; model: had=%v, void=%v", e.side, seq, id, had, s.has(seq), s.void[seq])
	}
	if had {
		s.void[seq] = true
		e.free(s, seq)
	}
}

// Ended implements link.Handler.
func (e *modelEnd) Ended(_ physical.LinkID, id link.RequestID, err error) {
	if e.dead {
		return
	}
	m, s := e.m, e.shares[id]
	switch {
	case s == nil:
		m.faultf("side %d: request %d ended, which is not known", e.side, id)
		return
	case s.ended:
		m.faultf("side %d: request %d ended again: %v", e.side, id, err)
		return
	}
	s.ended, s.err, s.at = true, err, m.w.loop.Now()
	if err != nil {
		m.sum.Failed++
		return
	}
	m.sum.Complete++
	if s.valid() != s.c.r.Pairs {
		m.faultf("side %d: request %d is complete with %d pairs of %d", e.side, id, s.valid(), s.c.r.Pairs)
	}
	if s.c.r.Consecutive {
		m.sum.Together++
	}
}

// LinkChange implements link.Handler.
func (e *modelEnd) LinkChange(_ physical.LinkID, err error) {
	if e.dead || err == nil {
		return
	}
	for _, s := range e.shares {
		s.c.severed = s.c.severed || !s.ended
	}
	if list := e.open(); len(list) > 0 {
		e.m.faultf("side %d: request %d outlives the link", e.side, list[0].c.id)
	}
}

// settle ends all faults, lets everything come to its end, and judges.
func (m *model) settle() {
	w := m.w
	m.settling = true
	w.net.SetFilter(nil)
	for _, pair := range [][2]qnet.NodeID{{alice, bob}, {alice, station}, {bob, station}} {
		m.restore(pair)
	}
	for _, e := range m.ends {
		if e.dead {
			m.revive(e)
		}
	}
	w.run(3 * time.Second)
	for _, e := range m.ends {
		for _, s := range e.open() {
			if s.c.r.Pairs == 0 {
				if e.side != s.c.creator {
					continue
				}
				s.ended, s.by, s.at = true, true, w.loop.Now()
				e.layer.End(theLink, s.c.id, qnet.ErrCancelled)
				continue
			}
			e.setLimit(s, 1<<40)
		}
	}
	done := func() bool { return len(m.ends[0].open())+len(m.ends[1].open()) == 0 }
	for end := w.loop.Now().Add(5 * time.Minute); !done() && w.loop.Now() < end; {
		w.run(100 * time.Millisecond)
	}
	for _, e := range m.ends {
		for _, s := range e.open() {
			m.faultf("side %d: request %d has not ended: %d pairs, %+v", e.side, s.c.id, s.valid(), s.c.r)
		}
	}
	idle := func() bool {
		return m.ends[0].layer.Idle() == nil && m.ends[1].layer.Idle() == nil && w.station.Idle() == nil && w.net.InFlight() == 0
	}
	for end := w.loop.Now().Add(2 * time.Minute); !idle() && w.loop.Now() < end; { // also with a third of all frames lost
		w.run(time.Second)
	}
	w.run(time.Second)
	w.rest()
	for _, c := range m.contracts {
		m.judge(c)
	}
	m.judgeAtomic()
}

// judge compares what both ends have of a request in the end.
func (m *model) judge(c *contract) {
	for side, s := range c.sides {
		if s == nil {
			continue
		}
		if c.r.Deadline != qnet.Never && s.ended && !s.by && s.at > c.r.Deadline.Add(time.Duration(m.w.cfg.period)) {
			m.faultf("side %d: request %d ended at %v, after its deadline %v", side, c.id, s.at, c.r.Deadline)
		}
		if n := s.valid(); c.r.Consecutive && n > 0 && n != c.r.Pairs {
			m.faultf("side %d: %d of %d pairs of request %d, to be alive together", side, n, c.r.Pairs, c.id)
		}
	}
	a, b := c.sides[c.creator], c.sides[1-c.creator]
	if c.severed || b == nil {
		return
	}
	x, y := a.names(), b.names()
	if c.r.Type == link.Measure {
		m.parities(a, b)
	}
	if !slices.Equal(x, y) {
		m.faultf("request %d, %+v: the creator, which ended with %v, has alone %v; the peer, which ended with %v, %v", c.id, c.r, a.err, onlyIn(x, y), b.err, onlyIn(y, x))
	}
}

// names returns the pairs that have not expired, in order.
func (s *share) names() (out []string) {
	for _, p := range s.kept {
		if !s.void[p.Seq] {
			out = append(out, fmt.Sprintf("%d %v of %v", p.Seq, p.Label, p.Created))
		}
	}
	for _, p := range s.outs {
		if !s.void[p.Seq] {
			out = append(out, fmt.Sprintf("%d %v of %v", p.Seq, p.Label, p.Created))
		}
	}
	slices.Sort(out)
	return out
}

// parities checks that outcomes in one basis agree as the label says.
func (m *model) parities(a, b *share) {
	other := make(map[uint64]link.Measured)
	for _, o := range b.outs {
		other[o.Seq] = o
	}
	for _, o := range a.outs {
		p, ok := other[o.Seq]
		if !ok {
			continue
		}
		if p.Label != o.Label || p.Created != o.Created {
			m.faultf("pair %d is %+v at one end, %+v at the other", o.Seq, o, p)
		}
		basis := a.bases.Basis(o.Basis)
		if basis != b.bases.Basis(p.Basis) {
			continue
		}
		m.sum.Parities++
		if flip, _ := o.Label.Flips(basis); flip != (basis == qnet.BasisY) != (o.Bit != p.Bit) {
			m.faultf("pair %d, %v: outcomes %d and %d in %v", o.Seq, o.Label, o.Bit, p.Bit, basis)
		}
	}
}

// judgeAtomic checks that no pair of another request comes between those of an
// atomic one: in the order of their numbers if there is one lane. With several, REPLYs
// can overtake each other, and columns that another lane measures go on until the
// station hears that it closes; then it is the order in which kept pairs are handed up.
func (m *model) judgeAtomic() {
	one := m.w.cfg.lanes == 1
	for side := range m.ends {
		for _, c := range m.contracts {
			s := c.sides[side]
			if s == nil || !c.r.Atomic || c.severed || s.valid() < 2 {
				continue
			}
			m.sum.Atomic++
			first, last := uint64(math.MaxUint64), uint64(0)
			for seq, turn := range s.turns {
				if one {
					turn = seq
				}
				if !s.void[seq] {
					first, last = min(first, turn), max(last, turn)
				}
			}
			for _, o := range m.contracts {
				t := o.sides[side]
				if t == nil || t == s || o.severed || !one && (o.r.Type != link.Keep || o.r.Store) {
					continue
				}
				for seq, turn := range t.turns {
					if one {
						turn = seq
					}
					if turn > first && turn < last && !t.void[seq] {
						m.faultf("side %d: pair %d of request %d is between the first and the last of the atomic request %d", side, seq, o.id, c.id)
					}
				}
			}
		}
	}
}
