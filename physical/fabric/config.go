package fabric

import (
	"fmt"
	"math"
	"time"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
)

// Config describes an emulated world.
type Config struct {
	// Seed is the root of all the randomness of nature.
	Seed uint64
	// ID is what the handles of qubits carry as their fabric. A fabric that
	// outlives neither its clients nor its process is content with 0, which
	// stands for a number derived from Seed; others draw a new one at each start.
	ID    uint32
	Nodes []NodeConfig
	Links []LinkConfig
	// EarlyResults lets the result of an operation be delivered up to this much
	// before its instant (Result.At), because timers of the real world are no
	// finer. The stamps, and so the states, are the same. 0 in virtual time.
	EarlyResults time.Duration
	// MaxPending bounds the operations of one node that wait for their instant;
	// more are refused with qnet.ErrBusy, except for OpFree. 0 stands for 65,536.
	MaxPending int
}

// NodeConfig is the hardware of one node: what its protocols are told (Spec),
// and what is true.
type NodeConfig struct {
	ID   qnet.NodeID
	Name string // of the node, for diagnostics and its random stream
	// Spec is given to protocols as it is. Its counts, durations and limits are
	// true. Its coherence times, noise and dephasing by attempts are not used
	// here, so that a fault can be injected that nobody was told of.
	Spec physical.Spec
	// Communication and Storage say how stored states decay, by kind of qubit.
	Communication, Storage state.Decay
	// Noise is that of the operations; its Memory counts if Spec has a Memory.
	Noise physical.Noise
}

// LinkConfig is one link: a heralding station mid-way between two nodes.
type LinkConfig struct {
	ID   physical.LinkID // not 0
	A, B qnet.NodeID
	// LanesA and LanesB count the communication qubits that each end has for the
	// link.
	LanesA, LanesB int
	// Model, Schedule, DephasingA and DephasingB are those of a link that has one
	// operating point (see Point); Points are those of one that has several.
	Model                  herald.Model
	Schedule               herald.Schedule
	DephasingA, DephasingB float64
	Points                 []Point
	Length                 float64 // metres of fibre between A and B
	Speed                  float64 // of light in it, m/s; 0 stands for qnet.FibreSpeed
	// Pipelined says that attempts that measure directly are made while the heralds
	// of those before are still under way: each ends with the measurement of its
	// qubit, which has aged by no more than its read-out. The period includes that.
	// A pair is kept all the same if attempts await their heralds, as those in
	// strides of enough cycles do: see physical.Pattern.
	Pipelined bool
}

// Point is an operating point of a link: a way to attempt that it can be told to
// use, such as a bright-state population. All points of a link have one attempt
// period, and are herald.Immediate or not together.
type Point struct {
	// Model is that of a point that does not change with time, Schedule of one that
	// does; exactly one is given.
	Model    herald.Model
	Schedule herald.Schedule
	// DephasingA and DephasingB are the probabilities, from 0 to below ½, that an
	// attempt flips the phase of a storage qubit at either end.
	DephasingA, DephasingB float64
}

const (
	defaultMaxPending = 1 << 16
	maxQubits         = 1 << 16 // of one kind at one node
	maxPoints         = 100     // of one link
	maxDuration       = time.Hour
)

// Validate returns nil, or an error of code qnet.ErrInvalid (qnet.ErrUnknown for
// a link to a node that does not exist, qnet.ErrInUse for a name given twice)
// that says where the configuration is impossible.
func (c *Config) Validate() error {
	if c.EarlyResults < 0 || c.EarlyResults > maxDuration {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: early results of %v: want from 0 to %v", c.EarlyResults, maxDuration)
	}
	if c.MaxPending < 0 {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: at most %d pending operations: want at least 1, or 0 for the default", c.MaxPending)
	}
	nodes := make(map[qnet.NodeID]*NodeConfig)
	names := make(map[string]bool)
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.ID == 0 {
			return qnet.Errorf(qnet.ErrInvalid, "fabric: node %q has the reserved id 0", n.Name)
		}
		if other, ok := nodes[n.ID]; ok {
			return qnet.Errorf(qnet.ErrInUse, "fabric: nodes %q and %q both have the id %v", other.Name, n.Name, n.ID)
		}
		if n.Name == "" {
			return qnet.Errorf(qnet.ErrInvalid, "fabric: node %v has no name", n.ID)
		}
		if names[n.Name] {
			return qnet.Errorf(qnet.ErrInUse, "fabric: two nodes are called %q", n.Name)
		}
		nodes[n.ID], names[n.Name] = n, true
		if err := n.validate(); err != nil {
			return err
		}
	}
	links := make(map[physical.LinkID]bool)
	ends := make(map[qnet.NodeID]int)
	for i := range c.Links {
		l := &c.Links[i]
		if l.ID == 0 || links[l.ID] {
			return qnet.Errorf(qnet.ErrInvalid, "fabric: link %d: ids must be different and not 0", l.ID)
		}
		links[l.ID] = true
		if err := l.validate(nodes); err != nil {
			return err
		}
		ends[l.A]++
		ends[l.B]++
	}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if len(n.Spec.Lanes) != ends[n.ID] {
			return qnet.Errorf(qnet.ErrInvalid, "fabric: node %q: hardware has communication qubits for %d links, but the node has %d", n.Name, len(n.Spec.Lanes), ends[n.ID])
		}
	}
	return nil
}

func (n *NodeConfig) validate() error {
	s := &n.Spec
	if s.Storage < 0 || s.Storage > maxQubits {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: node %q: %d storage qubits: want from 0 to %d", n.Name, s.Storage, maxQubits)
	}
	if s.Communication < 0 || s.Communication > maxQubits {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: node %q: %d communication qubits for all links: want from 0 to %d", n.Name, s.Communication, maxQubits)
	}
	if s.Coupling >= physical.CouplingEnd {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: node %q: there is no coupling %v", n.Name, s.Coupling)
	}
	memory := s.Memory
	if memory == nil {
		memory = new(physical.Memory)
	}
	for _, d := range [...]struct {
		name string
		d    time.Duration
	}{
		{"initialisation", s.Init}, {"single-qubit gate", s.Gate1}, {"two-qubit gate", s.Gate2}, {"read-out", s.Readout},
		{"storage initialisation", memory.Init}, {"storage gate", memory.Gate1}, {"storage read-out", memory.Readout},
	} {
		if d.d < 0 || d.d > maxDuration {
			return qnet.Errorf(qnet.ErrInvalid, "fabric: node %q: %s takes %v: want from 0 to %v", n.Name, d.name, d.d, maxDuration)
		}
	}
	for _, p := range [...]struct {
		name string
		p    float64
	}{
		{"two-qubit gate depolarising", n.Noise.Gate2Depolarising}, {"two-qubit gate dephasing", n.Noise.Gate2Dephasing},
		{"initialisation depolarising", n.Noise.InitDepolarising}, {"single-qubit gate depolarising", n.Noise.Gate1Depolarising},
		{"read-out error of 0", n.Noise.ReadoutError[0]}, {"read-out error of 1", n.Noise.ReadoutError[1]},
		{"storage initialisation depolarising", n.Noise.Memory.InitDepolarising}, {"storage gate depolarising", n.Noise.Memory.Gate1Depolarising},
		{"storage read-out error of 0", n.Noise.Memory.ReadoutError[0]}, {"storage read-out error of 1", n.Noise.Memory.ReadoutError[1]},
	} {
		if !(p.p >= 0 && p.p <= 1) {
			return qnet.Errorf(qnet.ErrInvalid, "fabric: node %q: %s is %g: want from 0 to 1", n.Name, p.name, p.p)
		}
	}
	if err := n.Communication.Validate(); err != nil {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: node %q: communication qubits: %v", n.Name, err)
	}
	if err := n.Storage.Validate(); err != nil {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: node %q: storage qubits: %v", n.Name, err)
	}
	return nil
}

// points returns the operating points of the link.
func (l *LinkConfig) points() []Point {
	if l.Points != nil {
		return l.Points
	}
	return []Point{{l.Model, l.Schedule, l.DephasingA, l.DephasingB}}
}

// schedule returns what holds of the point at which time.
func (p *Point) schedule() herald.Schedule {
	if p.Model != nil {
		return herald.Always(p.Model)
	}
	return p.Schedule
}

func (p *Point) validate() error {
	for _, p := range [...]float64{p.DephasingA, p.DephasingB} {
		if !(p >= 0 && p < 0.5) {
			return qnet.Errorf(qnet.ErrInvalid, "an attempt flips the phase of a storage qubit with probability %g: want at least 0 and below 0.5", p)
		}
	}
	switch {
	case p.Model == nil && p.Schedule == nil:
		return qnet.Errorf(qnet.ErrInvalid, "no heralding model, nor a schedule of models: want one of the two")
	case p.Model != nil && p.Schedule != nil:
		return qnet.Errorf(qnet.ErrInvalid, "a heralding model and a schedule of models: want one of the two")
	case p.Model != nil:
		return p.Model.Validate()
	}
	return p.Schedule.Validate()
}

// validatePoints checks the operating points of the link, each by itself and
// with the first.
func (l *LinkConfig) validatePoints() error {
	if l.Points != nil && (l.Model != nil || l.Schedule != nil || l.DephasingA != 0 || l.DephasingB != 0) {
		return qnet.Errorf(qnet.ErrInvalid, "operating points, and a model, schedule or dephasing beside them: want these in the points")
	}
	points := l.points()
	if n := len(points); n < 1 || n > maxPoints {
		return qnet.Errorf(qnet.ErrInvalid, "%d operating points: want from 1 to %d", n, maxPoints)
	}
	period, immediate := 0.0, false
	for i := range points {
		where := ""
		if l.Points != nil {
			where = fmt.Sprintf("operating point %d: ", i)
		}
		if err := points[i].validate(); err != nil {
			return qnet.Errorf(qnet.CodeOf(err), "%s%v", where, err)
		}
		s := points[i].schedule()
		if i == 0 {
			period, immediate = s.Period(), s.Immediate()
		}
		if s.Period() != period {
			return qnet.Errorf(qnet.ErrInvalid, "%sattempt period in nanoseconds is %g, want %g as in the whole link", where, s.Period(), period)
		}
		if s.Immediate() != immediate {
			return qnet.Errorf(qnet.ErrInvalid, "%spairs can be kept at some points, and at others not: want the same in the whole link", where)
		}
	}
	return nil
}

func (l *LinkConfig) validate(nodes map[qnet.NodeID]*NodeConfig) error {
	if l.A == l.B {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: link %d: both ends are node %v", l.ID, l.A)
	}
	for _, e := range [...]struct {
		node  qnet.NodeID
		lanes int
	}{{l.A, l.LanesA}, {l.B, l.LanesB}} {
		n := nodes[e.node]
		if n == nil {
			return qnet.Errorf(qnet.ErrUnknown, "fabric: link %d: there is no node %v", l.ID, e.node)
		}
		if e.lanes < 1 || e.lanes > maxQubits {
			return qnet.Errorf(qnet.ErrInvalid, "fabric: link %d: %d communication qubits at node %q: want from 1 to %d", l.ID, e.lanes, n.Name, maxQubits)
		}
		if n.Spec.Lanes[l.ID] != e.lanes {
			return qnet.Errorf(qnet.ErrInvalid, "fabric: link %d: %d communication qubits at node %q, but its hardware has %d for the link", l.ID, e.lanes, n.Name, n.Spec.Lanes[l.ID])
		}
	}
	if err := l.validatePoints(); err != nil {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: link %d: %v", l.ID, err)
	}
	if !(l.Length >= 0 && l.Length <= 1e9) {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: link %d: length is %g m: want from 0 to 1e9", l.ID, l.Length)
	}
	if l.Speed != 0 && !(l.Speed >= 1e6 && l.Speed <= 3e8) || math.IsNaN(l.Speed) {
		return qnet.Errorf(qnet.ErrInvalid, "fabric: link %d: speed of light in fibre is %g m/s: want from 1e6 to 3e8, or 0 for the default", l.ID, l.Speed)
	}
	return nil
}
