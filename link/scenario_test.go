package link_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/golden"
	"qstack/qnet/wire"
)

// TestScenarios runs the scripts of testdata.
//
// Two nodes, alice (side 0) and bob (side 1), share one link with a station.
// Attempts are made every microsecond, nothing else takes time, and messages
// arrive in the order in which they were sent, at once, unless held.
//
// Commands:
//
//	lanes N                      at each end; the first command, if any
//	world [lanes=N] [queue=N] [scheduler=fcfs|edf] [points=F,...] [compat]   a new world; likewise
//	NODE create keep|measure [pairs=N] [limit=N] [deadline=D] [purpose=N] [fidelity=F] [priority=N] [atomic]
//	NODE limit REQUEST N; NODE end REQUEST; NODE free SEQ; NODE grant N; NODE refuse
//	NODE listen PURPOSE...       takes part in requests of these purposes alone
//	attempts N...                that the next matches take; 1 unless given
//	labels N...                  of the next pairs; 0 unless given
//	run D                        let time pass
//	hold; go                     messages wait for the next three commands; no more
//	deliver|drop|copy TYPE [TO [N]]  the oldest or N-th such message; copy delivers it and holds it on
//	lose N TYPE [TO]             the next N such messages are lost
//	twice                        from now on each message arrives twice
//	down A B; up A B             A and B lose contact and find it again
//	rest                         print what is left
//
// A request is named by its creator and a number, as in a1, a pair by #1 in the
// order of success.
func TestScenarios(t *testing.T) {
	golden.Scripts(t, func(t *testing.T, out *bytes.Buffer) func([]string) error {
		sc := newScript(t, out, setting{lanes: 1})
		t.Cleanup(func() { sc.loop.Close() })
		return func(f []string) error {
			defer func() { sc.settle() }()
			if f[0] == "lanes" {
				f = []string{"world", "lanes=" + f[1]}
			}
			if f[0] != "world" {
				return sc.command(f)
			}
			sc.loop.Close()
			set, err := parseSetting(f[1:])
			sc = newScript(t, out, set)
			return err
		}
	})
}

// setting is what a world of a scenario can differ in.
type setting struct {
	lanes, queue int
	scheduler    func() link.Scheduler
	points       []link.Point
	compat       bool
}

func parseSetting(args []string) (s setting, err error) {
	s.lanes = 1
	for _, arg := range args {
		key, v, _ := strings.Cut(arg, "=")
		switch key {
		case "lanes":
			s.lanes, err = strconv.Atoi(v)
		case "queue":
			s.queue, err = strconv.Atoi(v)
		case "scheduler":
			s.scheduler = map[string]func() link.Scheduler{"fcfs": func() link.Scheduler { return link.FCFS{} }, "edf": func() link.Scheduler { return link.EDF{} }}[v]
		case "points":
			for i, x := range strings.Split(v, ",") {
				var f float64
				f, err = strconv.ParseFloat(x, 64)
				s.points = append(s.points, link.Point{Name: x, Probability: 0.01 / float64(i+1), Fidelity: f})
			}
		case "compat":
			s.compat = true
		default:
			err = fmt.Errorf("no setting %s", key)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// The identities of the three parties, which are also their places in
// script.parties.
const (
	alice qnet.NodeID = 1 + iota
	bob
	station
)

// script is the world of a scenario.
type script struct {
	t        *testing.T
	loop     *event.Virtual
	out      *bytes.Buffer
	nodes    [2]*node
	station  *link.Station
	parties  [4]*party
	down     map[[2]qnet.NodeID]bool
	held     []*datagram
	holding  bool
	twice    bool
	lose     []loss
	attempts []uint64
	labels   []qnet.BellLabel
	onArm    func(side int, lane uint32)
}

type datagram struct {
	from, to qnet.NodeID
	name     string
	b        []byte
}

type loss struct {
	n        int
	typ, to  string
	everyone bool
}

const theLink physical.LinkID = 1

func newScript(t *testing.T, out *bytes.Buffer, set setting) *script {
	lanes := set.lanes
	if set.points == nil {
		set.points = []link.Point{{Probability: 1e-4, Fidelity: 0.9}}
	}
	compat := link.Compat{ExpireRequests: set.compat, ReferenceRetries: set.compat}
	sc := &script{t: t, out: out, loop: event.NewVirtual(), down: make(map[[2]qnet.NodeID]bool)}
	for id := alice; id <= station; id++ {
		sc.parties[id] = &party{sc: sc, id: id}
	}
	cycles := physical.Cycles{Period: 1000}
	for side := range sc.nodes {
		id := alice + qnet.NodeID(side)
		n := &node{sc: sc, id: id, grant: 1 << 40, pairs: make(map[uint64]link.Pair)}
		n.device = &device{n: n, side: side, lanes: make([]lane, lanes)}
		n.layer = link.New(link.Config{Name: names[id], Ends: []link.EndConfig{{
			ID: theLink, Name: "alice-bob", Side: side, Peer: bob - qnet.NodeID(side), PeerName: names[bob-qnet.NodeID(side)], Station: station,
			Lanes: lanes, Cycles: cycles, Points: set.points, Queue: set.queue, Scheduler: set.scheduler, Compat: compat}}}, n.device, sc.parties[id], sc.loop, nil)
		n.layer.Handle(n)
		sc.nodes[side] = n
	}
	sc.station = link.NewStation(link.StationConfig{Link: theLink, Name: "alice-bob", Ends: [2]qnet.NodeID{alice, bob}, Cycles: cycles, NoRepeat: set.compat},
		(*nature)(sc), sc.parties[station], sc.loop, nil)
	return sc
}

// settle runs what is due now.
func (sc *script) settle() { _ = sc.loop.RunFor(0) }

var names = [...]string{alice: "alice", bob: "bob", station: "station"}

func (sc *script) logf(format string, args ...any) {
	fmt.Fprintf(sc.out, "%v "+format+"\n", append([]any{sc.loop.Now()}, args...)...)
}

// command carries out one line.
func (sc *script) command(f []string) error {
	number := func(s string) uint64 {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			sc.t.Fatal(err)
		}
		return n
	}
	switch f[0] {
	case "attempts":
		for _, s := range f[1:] {
			sc.attempts = append(sc.attempts, number(s))
		}
	case "labels":
		for _, s := range f[1:] {
			sc.labels = append(sc.labels, qnet.BellLabel(number(s)))
		}
	case "run":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			return err
		}
		return sc.loop.RunFor(d)
	case "hold":
		sc.holding = true
	case "go":
		sc.holding = false
		held := sc.held
		sc.held = nil
		for _, d := range held {
			sc.launch(d)
		}
	case "deliver", "drop", "copy":
		n := uint64(1)
		if len(f) > 3 {
			n = number(f[3])
		}
		i := slices.IndexFunc(sc.held, func(d *datagram) bool {
			if d.name == f[1] && (len(f) < 3 || names[d.to] == f[2]) {
				n--
			}
			return n == 0
		})
		if i < 0 {
			return fmt.Errorf("no such message is held")
		}
		d := sc.held[i]
		if f[0] != "copy" {
			sc.held = slices.Delete(sc.held, i, i+1)
		}
		if f[0] == "drop" {
			sc.logf("lost: %s → %s: %s", names[d.from], names[d.to], f[1])
		} else {
			sc.launch(d)
		}
	case "lose":
		l := loss{n: int(number(f[1])), typ: f[2], everyone: len(f) < 4}
		if len(f) > 3 {
			l.to = f[3]
		}
		sc.lose = append(sc.lose, l)
	case "twice":
		sc.twice = true
	case "down", "up":
		a, b := identity(f[1]), identity(f[2])
		sc.down[[2]qnet.NodeID{min(a, b), max(a, b)}] = f[0] == "down"
		for _, x := range [][2]qnet.NodeID{{a, b}, {b, a}} {
			p := sc.parties[x[0]]
			if f[0] == "down" {
				p.handler.PeerDown(x[1], qnet.Errorf(qnet.ErrUnavail, "gone"))
			} else {
				p.handler.PeerUp(x[1])
			}
		}
	case "rest":
		for _, n := range sc.nodes {
			if err := n.layer.Idle(); err != nil {
				sc.logf("%v", err)
			}
			if k := n.device.used(); k > 0 {
				sc.logf("%s holds %d qubits", names[n.id], k)
			}
		}
		if err := sc.station.Idle(); err != nil {
			sc.logf("%v", err)
		}
		sc.logf("%d messages held", len(sc.held))
	default:
		if id := identity(f[0]); id == alice || id == bob {
			return sc.nodes[id-alice].command(f[1:], number)
		}
		return fmt.Errorf("no command %s", f[0])
	}
	return nil
}

func identity(name string) qnet.NodeID { return qnet.NodeID(max(0, slices.Index(names[:], name))) }

// party is a control.Endpoint.
type party struct {
	sc      *script
	id      qnet.NodeID
	handler control.Handler
}

func (p *party) ID() qnet.NodeID                          { return p.id }
func (p *party) Handle(_ wire.Service, h control.Handler) { p.handler = h }
func (p *party) Up(peer qnet.NodeID) bool {
	return !p.sc.down[[2]qnet.NodeID{min(p.id, peer), max(p.id, peer)}]
}
func (p *party) Open(qnet.NodeID, wire.Message, control.StreamHandler) (control.Stream, error) {
	panic("the link layer opens no streams")
}

func (p *party) Datagram(to qnet.NodeID, m wire.Message) error {
	sc := p.sc
	d := &datagram{from: p.id, to: to, name: wire.Name(m), b: wire.Append(nil, m)}
	text := fmt.Sprintf("%s → %s: %s", names[p.id], names[to], describe(m))
	if !p.Up(to) {
		sc.logf("lost: %s", text)
		return nil
	}
	for i := range sc.lose {
		if l := &sc.lose[i]; l.n > 0 && l.typ == d.name && (l.everyone || l.to == names[to]) {
			l.n--
			sc.logf("lost: %s", text)
			return nil
		}
	}
	sc.logf("%s", text)
	if sc.holding {
		sc.held = append(sc.held, d)
		return nil
	}
	sc.launch(d)
	if sc.twice {
		sc.launch(d)
	}
	return nil
}

func (sc *script) launch(d *datagram) {
	sc.loop.After(0, func() { sc.parties[d.to].handler.Datagram(d.from, d.b) })
}

// The numbers that requests, windows, pairs and cycles start from.
const (
	seqBase    = 1<<32 - 64
	windowBase = 1<<32 - 16
	cycleBase  = physical.CycleBase
)

func requestName(id link.RequestID) string {
	return fmt.Sprintf("%c%d", "ab"[id&1], uint64(id>>1)-seqBase+1)
}

func pairName(seq uint64) string {
	if seq == 0 {
		return "none"
	}
	return fmt.Sprintf("#%d", seq-seqBase+1)
}

// describe prints a message with its numbers counted from where they start.
func describe(m wire.Message) string {
	s := wire.Name(m)
	add := func(format string, args ...any) { s += " " + fmt.Sprintf(format, args...) }
	code := func(c qnet.Code) {
		if c != qnet.OK {
			add("(%v)", c)
		}
	}
	switch m := m.(type) {
	case *link.Add:
		add("%s %v pairs=%d purpose=%d", requestName(m.ID), m.Kind, m.Pairs, m.Purpose)
		if m.Deadline != 0 {
			add("deadline=%d", m.Deadline-cycleBase)
		}
	case *link.AddAck:
		add("%s", requestName(m.ID))
		code(m.Code)
	case *link.Limit:
		add("%d of %s≤%d turn=%.0f had=%d", m.Number, requestName(m.ID), m.Limit, m.Turn, m.Had)
	case *link.LimitAck:
		add("%d of %s turn=%.0f had=%d", m.Number, requestName(m.ID), m.Turn, m.Had)
	case *link.End:
		add("%s", requestName(m.ID))
		code(m.Code)
	case *link.EndAck:
		add("%s", requestName(m.ID))
	case *link.Gen:
		add("lane=%d window=%d", m.Lane, m.Window-windowBase)
		if len(m.Candidates) == 0 {
			add("close")
			break
		}
		add("first=%d count=%d", m.First-cycleBase, m.Count)
		if m.Point != 0 {
			add("point=%d", m.Point)
		}
		if m.Bulk {
			add("bulk dead=%d", m.Dead)
		}
		for _, c := range m.Candidates {
			add("%s", requestName(c.ID))
			if c.Limit < 1<<39 {
				s += fmt.Sprintf("≤%d", c.Limit)
			}
		}
	case *link.Reply:
		add("lane=%d window=%d", m.Lane, m.Window-windowBase)
		if m.Seq == 0 {
			add("nothing")
			break
		}
		add("%s %s cycle=%d %v", requestName(m.ID), pairName(m.Seq), m.Cycle-cycleBase, m.Label)
		if m.Lost {
			add("lost before")
		}
	case *link.LinkExpire:
		add("%s-%s", pairName(m.First), pairName(m.End))
	case *link.LinkExpireAck:
		add("%s-%s", pairName(m.First), pairName(m.End))
	case *link.Mismatch:
		add("lane=%d window=%d use %s", m.Lane, m.Window-windowBase, requestName(m.Use))
	case *link.Memory:
		add("short of lanes: %v, storage: %v", m.Lanes, m.Storage)
	case *link.BulkReply:
		add("lane=%d window=%d index=%d", m.Lane, m.Window-windowBase, m.Index)
		if n := len(m.Steps); n > 0 {
			last := m.Cycle
			for _, d := range m.Steps {
				last += d
			}
			add("%s..%s cycles=%d..%d", pairName(m.Seq), pairName(m.Seq+uint64(n)-1), m.Cycle-cycleBase, last-cycleBase)
		}
		if m.Done {
			add("done")
		}
		if m.Lost {
			add("lost before")
		}
	case *link.BulkAck:
		add("lane=%d window=%d next=%d", m.Lane, m.Window-windowBase, m.Next)
	}
	return s
}

// node is one end with the layer above, which keeps pairs until told.
type node struct {
	sc     *script
	id     qnet.NodeID
	layer  *link.Layer
	device *device
	grant  uint64
	refuse bool
	pairs  map[uint64]link.Pair
}

func (n *node) logf(format string, args ...any) {
	n.sc.logf("%s %s", names[n.id], fmt.Sprintf(format, args...))
}

func (n *node) command(f []string, number func(string) uint64) error {
	request := func(s string) link.RequestID {
		return link.RequestID((number(s[1:])+seqBase-1)<<1 | uint64(strings.IndexByte("ab", s[0])))
	}
	switch f[0] {
	case "create":
		r := link.Request{Deadline: qnet.Never, Limit: n.grant}
		if f[1] == "measure" {
			r.Type = link.Measure
			r.Bases.Bases = []qnet.Basis{qnet.BasisX, qnet.BasisZ}
		}
		for _, arg := range f[2:] {
			key, v, _ := strings.Cut(arg, "=")
			switch key {
			case "pairs":
				r.Pairs = number(v)
			case "limit":
				r.Limit = number(v)
			case "purpose":
				r.Purpose = number(v)
			case "deadline":
				d, err := time.ParseDuration(v)
				if err != nil {
					return err
				}
				r.Deadline = n.sc.loop.Now().Add(d)
			case "priority":
				r.Priority = uint8(number(v))
			case "atomic":
				r.Atomic = true
			case "fidelity":
				r.MinFidelity, _ = strconv.ParseFloat(v, 64)
			default:
				return fmt.Errorf("no argument %s", key)
			}
		}
		id, err := n.layer.Create(theLink, r)
		if err != nil {
			n.logf("can not create: %v", err)
		} else {
			n.logf("created %s", requestName(id))
		}
	case "limit":
		n.layer.SetLimit(theLink, request(f[1]), number(f[2]))
	case "end":
		n.layer.End(theLink, request(f[1]), qnet.ErrCancelled)
	case "free":
		seq := number(strings.TrimPrefix(f[1], "#")) + seqBase - 1
		n.free(seq)
	case "listen":
		purposes := []uint64{}
		for _, s := range f[1:] {
			purposes = append(purposes, number(s))
		}
		n.layer.Listen(theLink, purposes)
	case "grant":
		n.grant = number(f[1])
	case "refuse":
		n.refuse = true
	default:
		return fmt.Errorf("no command %s", f[0])
	}
	return nil
}

func (n *node) free(seq uint64) {
	n.device.Do(physical.Op{Kind: physical.OpFree, A: n.pairs[seq].Qubit}, nil)
	delete(n.pairs, seq)
}

func (n *node) Requested(_ physical.LinkID, o link.Offer) (uint64, error) {
	if n.refuse {
		n.refuse = false
		return 0, qnet.Errorf(qnet.ErrNoListener, "not here")
	}
	n.logf("requested %s: %v, %d pairs, purpose %d", requestName(o.ID), o.Type, o.Pairs, o.Purpose)
	if o.Type == link.Keep {
		return n.grant, nil
	}
	n.sc.loop.After(0, func() {
		n.layer.SetBases(theLink, o.ID, physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}})
		n.layer.SetLimit(theLink, o.ID, o.Pairs)
	})
	return 0, nil
}

func (n *node) Pair(p link.Pair) {
	n.logf("pair %s of %s: %v, created %v", pairName(p.Seq), requestName(p.Request), p.Label, p.Created)
	n.pairs[p.Seq] = p
}

func (n *node) Measured(_ physical.LinkID, id link.RequestID, ms []link.Measured) {
	n.logf("measured %s..%s of %s", pairName(ms[0].Seq), pairName(ms[len(ms)-1].Seq), requestName(id))
}

func (n *node) Expired(_ physical.LinkID, id link.RequestID, seq uint64, had bool) {
	n.logf("expired %s of %s, had=%v", pairName(seq), requestName(id), had)
	if had {
		n.free(seq)
	}
}

func (n *node) Ended(_ physical.LinkID, id link.RequestID, err error) {
	n.logf("ended %s: %v", requestName(id), err)
}

func (n *node) LinkChange(_ physical.LinkID, err error) { n.logf("link: %v", err) }

// device has communication qubits, all of whose operations take no time.
type device struct {
	n     *node
	side  int
	lanes []lane
	watch func(physical.LinkID, uint32)
	count uint32
}

type lane struct {
	qubit physical.Qubit // zero: free
	armed bool
	since qnet.Time
	sink  func(physical.Outcomes, error)
}

func (d *device) used() (n int) {
	for _, l := range d.lanes {
		if !l.qubit.IsZero() {
			n++
		}
	}
	return n
}

func (d *device) Spec() *physical.Spec                            { return &physical.Spec{} }
func (d *device) Now() qnet.Time                                  { return d.n.sc.loop.Now() }
func (d *device) Watch(f func(link physical.LinkID, lane uint32)) { d.watch = f }

func (d *device) ArmBulk(_ physical.LinkID, i uint32, _ physical.BasisSource, sink func(physical.Outcomes, error), done func(physical.Result)) {
	d.arm(i, sink, done)
}

func (d *device) arm(i uint32, sink func(physical.Outcomes, error), done func(physical.Result)) {
	l := &d.lanes[i]
	if !l.qubit.IsZero() {
		d.n.sc.t.Fatalf("%s arms lane %d, which is in use", names[d.n.id], i)
	}
	d.count++
	*l = lane{qubit: physical.Qubit{Fabric: 1, Index: i, Generation: d.count}, sink: sink}
	q := l.qubit
	d.n.sc.loop.After(0, func() {
		l.armed, l.since = true, d.Now()
		d.n.sc.onArm(d.side, i)
		done(physical.Result{At: d.Now(), Qubit: q})
	})
}

func (d *device) Do(op physical.Op, done func(physical.Result)) {
	switch op.Kind {
	case physical.OpArm:
		d.arm(op.Lane, nil, done)
	case physical.OpFree:
		l := &d.lanes[op.A.Index]
		if l.qubit != op.A {
			d.n.sc.t.Fatalf("%s frees %v, lane holds %v", names[d.n.id], op.A, l.qubit)
		}
		d.n.logf("frees lane %d", op.A.Index)
		*l = lane{}
		d.n.sc.loop.After(0, func() { d.watch(theLink, op.A.Index) })
	default:
		d.n.sc.t.Fatalf("unexpected operation %d", op.Kind)
	}
}

// nature is the script as link.Heralder.
type nature script

func (w *nature) Next(_ *rand.Rand, _ int, from uint64, _ physical.Pattern) (uint64, bool) {
	if len(w.attempts) == 0 {
		return from, true
	}
	n := w.attempts[0]
	w.attempts = w.attempts[1:]
	return from + n - 1, true
}

func (w *nature) Lanes(side int) int                                       { return len(w.nodes[side].device.lanes) }
func (w *nature) OnChange(func(uint64))                                    {}
func (w *nature) Continuous() bool                                         { return false }
func (w *nature) Interrupted() bool                                        { return false }
func (w *nature) OnInterrupt(func(side int, lane uint32, until qnet.Time)) {}

func (w *nature) OnArm(f func(side int, lane uint32)) { w.onArm = f }

func (w *nature) Armed(side int, i uint32) (qnet.Time, bool) {
	l := &w.nodes[side].device.lanes[i]
	return l.since, l.armed
}

func (w *nature) Begin([2]uint32, int, physical.Pattern, uint64, uint64) {}
func (w *nature) Until([2]uint32, uint64)                                {}
func (w *nature) End([2]uint32, uint64)                                  {}

func (w *nature) label() qnet.BellLabel {
	if len(w.labels) == 0 {
		return qnet.PhiPlus
	}
	l := w.labels[0]
	w.labels = w.labels[1:]
	return l
}

func (w *nature) Herald(lanes [2]uint32, _ int, cycle uint64) (qnet.BellLabel, bool) {
	a, b := &w.nodes[0].device.lanes[lanes[0]], &w.nodes[1].device.lanes[lanes[1]]
	if !a.armed || !b.armed || a.sink != nil || b.sink != nil {
		return 0, false
	}
	a.armed, b.armed = false, false
	return w.label(), true
}

func (w *nature) HeraldBulk(lanes [2]uint32, _ int, cycles []uint64, labels []qnet.BellLabel) int {
	a, b := &w.nodes[0].device.lanes[lanes[0]], &w.nodes[1].device.lanes[lanes[1]]
	if !a.armed || !b.armed || a.sink == nil || b.sink == nil {
		return 0
	}
	o := physical.Outcomes{Cycle: slices.Clone(cycles), Basis: make([]uint8, len(cycles)), Bit: make([]uint8, len(cycles)), At: w.loop.Now()}
	for i := range cycles {
		labels[i] = w.label()
	}
	for _, l := range []*lane{a, b} {
		qubit := l.qubit
		w.loop.After(0, func() {
			if l.qubit == qubit && len(cycles) > 0 {
				l.sink(o, nil)
			}
		})
	}
	return len(cycles)
}
