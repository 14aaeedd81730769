// Package fabric is the emulated world: it holds every qubit of every node,
// executes operations for the node that holds the qubit, and turns heralds into
// pairs. Everything in it happens on one event loop.
//
// What a protocol of a node can do is Device, what the station of a link can do
// is Link, and what nobody in the network can do, look at a state, is Oracle.
// Link protocols and messages are not here; nor is the mathematics of states
// (package state) and of heralding (package herald).
//
// # Time
//
// An operation starts when it arrives or, if that is later, when its qubits
// are done with what was asked before, and takes effect at its end: until then
// the stored states decohere, then the ideal operation and its noise act. The
// result carries that instant. All decoherence is computed from such stamps, so
// it does not matter when the emulation gets round to computing it; with
// Config.EarlyResults it does so before the instant, with equal results.
//
// # Limits
//
// Lanes of a node may share communication qubits, storage qubits may be reached
// through communication qubits only, pairs of qubits may not interact, and a
// device may do one operation at a time (see physical.Spec). What can never be
// done is refused with qnet.ErrUnsupported, what can not be done before something
// is freed with qnet.ErrNoMemory, and the rest waits its turn.
//
// # Links
//
// A link has one heralding model, or a schedule of them, which can be replaced at
// run time: what is emitted in a cycle has the model of that cycle. It can have
// several of either, its operating points, one of which every attempt is made at.
// A link whose
// models are herald.Immediate measures light as it arrives: it has no memories
// that could keep a pair or decay.
//
// # Randomness
//
// Nature draws from streams of her own: "fabric/<link id>" for the herald and
// the joint outcomes of pairs measured directly, "device/<node name>" for the
// outcomes of a node's own measurements and its choice of bases.
package fabric

import (
	"fmt"
	"math"
	"time"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/trace"
)

// Fabric is an emulated world. Its methods, and those of what it hands out, are
// called on its loop.
type Fabric struct {
	id         uint32
	loop       event.Scheduler
	tr         *trace.Tracer
	early      time.Duration
	maxPending int

	world   state.World
	slots   []slot // by state.ID; a node's are consecutive
	devices map[qnet.NodeID]*device
	links   map[physical.LinkID]*Link

	jobs    *job   // free list
	batches *batch // free list
}

// slot is the place of a qubit: of a storage qubit, or of a lane's communication
// qubit, which is a unit if the lanes of the node share theirs.
//
//	        Alloc                      release
//	free ──────────▶ held ─────────────────────────▶ free
//	  │ Prepare       ▲
//	  │ Arm           │ Herald         release
//	  ├──────────▶ armed ──────────────────────────▶ free
//	  │ ArmBulk                        release
//	  └──────────▶ bulk ───────────────────────────▶ free
//
// release is the effect of Free, of Measure with Free, of BSM, or of the loss
// of the node.
type slot struct {
	dev        *device
	end        *end // nil: storage qubit
	kind       *kind
	unit       *unit // of a lane that shares its qubit, while it is not free
	lane       uint32
	index      uint32 // in Fabric.slots
	generation uint32
	status     status
	closing    bool      // an operation that frees the qubit is pending
	pending    int32     // operations that wait for their instant
	busy       qnet.Time // when the last operation so far ends
	since      qnet.Time // when the qubit was taken
	// ready is the instant from which an armed qubit may emit; Never while it is
	// being initialised.
	ready qnet.Time
	bulk  bulk // armed for measuring directly

	marks   []uint64 // storage: attempts that have acted on it, by device.dephasing
	unused  bool     // storage: nothing has been asked of it since it was allocated
	refresh *refresh // storage: how it is initialised anew; nil if it never was

	flips       *flips // communication: what counts its attempts; nil: none are made, or they do nothing
	pattern     physical.Pattern
	first, last uint64 // cycles of the pattern in which it attempts, those not yet counted
}

// status says what a slot is doing.
type status uint8

const (
	statusFree status = iota
	statusHeld
	statusArmed
	statusBulk
)

// New returns the world that cfg describes, or the error of Config.Validate. tr
// may be nil.
func New(cfg Config, loop event.Scheduler, tr *trace.Tracer) (*Fabric, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	f := &Fabric{
		id:         cfg.ID,
		loop:       loop,
		tr:         tr,
		early:      cfg.EarlyResults,
		maxPending: cfg.MaxPending,
		devices:    make(map[qnet.NodeID]*device, len(cfg.Nodes)),
		links:      make(map[physical.LinkID]*Link, len(cfg.Links)),
	}
	if f.maxPending == 0 {
		f.maxPending = defaultMaxPending
	}
	f.world.Rand = qnet.NewRand(cfg.Seed, "fabric/world")
	for rng := qnet.NewRand(cfg.Seed, "fabric"); f.id == 0; {
		f.id = rng.Uint32()
	}
	total := 0
	links := make(map[qnet.NodeID][]*LinkConfig, len(cfg.Nodes)) // of each node
	for i := range cfg.Nodes {
		total += cfg.Nodes[i].Spec.Storage
	}
	for i := range cfg.Links {
		l := &cfg.Links[i]
		total += l.LanesA + l.LanesB
		links[l.A] = append(links[l.A], l)
		links[l.B] = append(links[l.B], l)
	}
	f.slots = make([]slot, 0, total) // never grows: there are pointers into it
	for i := range cfg.Nodes {
		n := &cfg.Nodes[i]
		d := &device{
			f:    f,
			cfg:  *n,
			rng:  qnet.NewRand(cfg.Seed, "device/"+n.Name),
			ends: make(map[physical.LinkID]*end, len(n.Spec.Lanes)),
		}
		d.communicationKind, d.storageKind = n.kinds()
		for i, a := range [...]*kind{&d.communicationKind, &d.storageKind} {
			for j, b := range [...]*kind{&d.communicationKind, &d.storageKind} {
				d.bsm[i][j] = n.bsm(a, b, &d.communicationKind)
			}
		}
		d.units = make([]unit, n.Spec.Communication)
		f.devices[n.ID] = d
		first := len(f.slots)
		d.storage = f.addSlots(d, nil, n.Spec.Storage)
		for _, l := range links[n.ID] {
			side, lanes := 0, l.LanesA
			if l.B == n.ID {
				side, lanes = 1, l.LanesB
			}
			link, err := f.addLink(cfg.Seed, l)
			if err != nil {
				return nil, err
			}
			e := &link.ends[side]
			*e = end{link: link, side: side, dev: d}
			for i, point := range l.points() {
				if p := [...]float64{point.DephasingA, point.DephasingB}[side]; p > 0 && n.Spec.Storage > 0 {
					if e.flips == nil {
						e.flips = make([]flips, len(link.points))
					}
					e.flips[i] = flips{end: e, keep: math.Log1p(-2 * p)}
					d.dephasing = append(d.dephasing, &e.flips[i])
				}
			}
			e.slots = f.addSlots(d, e, lanes)
			d.ends[l.ID] = e
		}
		d.slots = f.slots[first:]
		if k := len(d.dephasing); k > 0 {
			marks := make([]uint64, k*len(d.storage))
			for i := range d.storage {
				d.storage[i].marks = marks[i*k : (i+1)*k]
			}
		}
	}
	return f, nil
}

// addSlots appends n slots of a device and returns them.
func (f *Fabric) addSlots(d *device, e *end, n int) []slot {
	first := len(f.slots)
	k := &d.communicationKind
	if e == nil {
		k = &d.storageKind
	}
	for i := range n {
		f.slots = append(f.slots, slot{dev: d, end: e, kind: k, lane: uint32(i), index: uint32(first + i)})
	}
	return f.slots[first:]
}

// addLink returns the link of the configuration, which both ends ask for.
func (f *Fabric) addLink(seed uint64, cfg *LinkConfig) (*Link, error) {
	if l := f.links[cfg.ID]; l != nil {
		return l, nil
	}
	points := make([]point, 0, len(cfg.points()))
	for _, p := range cfg.points() {
		line, err := herald.NewTimeline(p.schedule())
		if err != nil {
			return nil, err
		}
		points = append(points, point{line: line})
	}
	speed := cfg.Speed
	if speed == 0 {
		speed = qnet.FibreSpeed
	}
	l := &Link{
		f:      f,
		cfg:    *cfg,
		points: points,
		cycles: points[0].line.Cycles(),
		rng:    qnet.NewRand(seed, fmt.Sprintf("fabric/%d", cfg.ID)),
		half:   qnet.FibreDelay(cfg.Length/2, speed),
	}
	f.links[cfg.ID] = l
	return l, nil
}

// ID returns the number that the handles of the fabric's qubits carry.
func (f *Fabric) ID() uint32 { return f.id }

// Device returns the quantum hardware of a node, or nil when there is no such
// node.
func (f *Fabric) Device(node qnet.NodeID) physical.Device {
	if d := f.devices[node]; d != nil {
		return d
	}
	return nil
}

// Link returns what the station of a link works with, or nil when there is no
// such link.
func (f *Fabric) Link(id physical.LinkID) *Link { return f.links[id] }

// Disconnect forgets a node whose process has died: its qubits are traced out,
// armed ones released, and nothing that it asked for is answered any more,
// Watch included. Its device can be used again at once, by the process that takes
// its place.
func (f *Fabric) Disconnect(node qnet.NodeID) {
	d := f.devices[node]
	if d == nil {
		return
	}
	d.epoch++
	d.pending = 0
	d.watch = nil
	freed := 0
	for i := range d.slots {
		s := &d.slots[i]
		s.pending = 0
		if s.status != statusFree {
			freed++
			f.release(s, max(f.loop.Now(), s.busy))
		}
		s.busy = 0 // what it was asked for is not done
	}
	for i := range d.units {
		d.units[i].busy = 0
	}
	d.busy = 0
	if f.tr != nil {
		f.tr.Event(f.loop.Now(), "fabric", "disconnect").Str("device", d.cfg.Name).Uint("freed", uint64(freed)).End()
	}
}

// take marks a free slot as used.
func (f *Fabric) take(s *slot, to status) {
	s.status = to
	s.closing = false
	s.since = f.loop.Now()
	s.ready = qnet.Never
	s.unused = false
	if s.refresh != nil {
		s.refresh.on = false
	}
	if s.generation++; s.generation == 0 {
		s.generation = 1
	}
}

// release makes a slot free at t, and has the node told if it is a lane's.
func (f *Fabric) release(s *slot, t qnet.Time) {
	f.world.Free(state.ID(s.index), t)
	s.status = statusFree
	s.closing = false
	s.bulk = bulk{}
	if s.flips != nil {
		s.stop(s.end.link.cycles.From(t))
	}
	if s.unit != nil {
		s.disclaim()
	}
	if d := s.dev; s.end != nil && d.watch != nil {
		j := f.newJob(d, &physical.Op{}, t, nil)
		j.freed, j.generation = s, s.generation
		f.loop.At(t.Add(-f.early), j.fire)
	}
}

// isArmed reports whether the qubit is the station's.
func (s *slot) isArmed() bool {
	return (s.status == statusArmed || s.status == statusBulk) && !s.closing && s.ready != qnet.Never
}

// handle returns the handle of the qubit in the slot.
func (s *slot) handle() physical.Qubit {
	return physical.Qubit{Fabric: s.dev.f.id, Index: s.index, Generation: s.generation}
}

// Use says what an allocated qubit is there for.
type Use uint8

// The uses of a qubit.
const (
	UseStorage       Use = iota // a storage qubit
	UseCommunication            // a communication qubit that holds a state, usually half of a pair
	UseArmed                    // a communication qubit that awaits a herald
	UseBulk                     // a communication qubit that measures directly
)

// String names the use.
func (u Use) String() string {
	switch u {
	case UseStorage:
		return "storage"
	case UseCommunication:
		return "communication"
	case UseArmed:
		return "armed"
	case UseBulk:
		return "measuring directly"
	}
	return fmt.Sprintf("Use(%d)", uint8(u))
}

// Allocation is a qubit that is not free.
type Allocation struct {
	Node  qnet.NodeID
	Name  string // of the node
	Qubit physical.Qubit
	Use   Use
	Link  physical.LinkID // 0 for storage
	Lane  uint32
	Since qnet.Time // when it was taken
}

// String describes the allocation in one line.
func (a Allocation) String() string {
	s := fmt.Sprintf("%s: %v since %v: %v", a.Name, a.Qubit, a.Since, a.Use)
	if a.Link != 0 {
		s += fmt.Sprintf(", link %d lane %d", a.Link, a.Lane)
	}
	return s
}

// Ledger returns all qubits that are not free, in the order of the nodes in the
// configuration, storage first. At rest it is empty.
func (f *Fabric) Ledger() []Allocation {
	var list []Allocation
	for i := range f.slots {
		s := &f.slots[i]
		if s.status == statusFree {
			continue
		}
		a := Allocation{Node: s.dev.cfg.ID, Name: s.dev.cfg.Name, Qubit: s.handle(), Lane: s.lane, Since: s.since}
		if s.end == nil {
			a.Lane = 0
		} else {
			a.Link = s.end.link.cfg.ID
			switch s.status {
			case statusHeld:
				a.Use = UseCommunication
			case statusArmed:
				a.Use = UseArmed
			case statusBulk:
				a.Use = UseBulk
			}
		}
		list = append(list, a)
	}
	return list
}
