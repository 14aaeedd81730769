package node

import (
	"log/slog"
	"math"
	"time"

	"qstack/link"
	"qstack/network"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/preset"
	"qstack/physical/state"
	"qstack/qnet"
)

// Node names cannot hold a dot, so the names of the other parts of a network
// do.
const (
	stationSuffix = ".station"
	// FabricName is the name of the fabric's identity.
	FabricName = "world.fabric"
	// ObserverName is the name of the identity that may see states.
	ObserverName = "world.observer"
)

// StationName returns the name of the identity of a link's station.
func StationName(k *scenario.Link) string { return k.Name + stationSuffix }

// Plan is a scenario in the native terms of the layers.
type Plan struct {
	Scenario *scenario.Scenario
	Topology network.Topology
	Log      *slog.Logger // of the layers that are built from the plan; nil for none
	ids      map[string]qnet.NodeID
	points   [][]point // by link
}

// point is an operating point of a link.
type point struct {
	name  string
	model herald.Model // of a schedule, at its best
	fabric.Point
}

// NewPlan converts a scenario. It fails when its heralding models are
// impossible or two names have one identity.
func NewPlan(s *scenario.Scenario) (*Plan, error) {
	p := &Plan{Scenario: s, ids: make(map[string]qnet.NodeID)}
	taken := make(map[qnet.NodeID]string)
	add := func(name string) error {
		id := qnet.NewNodeID(s.Realm, name)
		if other, ok := taken[id]; ok || id == 0 {
			return qnet.Errorf(qnet.ErrInUse, "the identities of %q and %q collide: rename one", name, other)
		}
		taken[id], p.ids[name] = name, id
		return nil
	}
	for _, name := range []string{FabricName, ObserverName} {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if err := add(n.Name); err != nil {
			return nil, err
		}
		p.Topology.Nodes = append(p.Topology.Nodes, network.Node{ID: p.ids[n.Name], Name: n.Name, Spec: spec(s, i)})
	}
	for i := range s.Links {
		k := &s.Links[i]
		if err := add(StationName(k)); err != nil {
			return nil, err
		}
		m := Model(&k.Heralding)
		if err := m.Validate(); err != nil {
			return nil, qnet.Errorf(qnet.ErrInvalid, "link %s: %v", k.Name, err)
		}
		ps, err := points(s, k)
		if err != nil {
			return nil, err
		}
		p.points = append(p.points, ps)
		p.Topology.Links = append(p.Topology.Links, network.Link{
			ID: LinkID(i), A: p.ids[s.Nodes[k.A].Name], B: p.ids[s.Nodes[k.B].Name],
			Weights: meanWeights(m), PairTime: time.Duration(m.Period() / m.SuccessProbability()),
			Delay: 2 * s.HalfDelay(k), Lanes: k.Lanes,
		})
	}
	return p, nil
}

// LinkID returns the identity of the link at position i of a scenario.
func LinkID(i int) physical.LinkID { return physical.LinkID(i + 1) }

// ID returns the identity of a node, a station or the fabric, 0 for an unknown
// name.
func (p *Plan) ID(name string) qnet.NodeID { return p.ids[name] }

// Names returns the name of every identity.
func (p *Plan) Names() map[qnet.NodeID]string {
	m := make(map[qnet.NodeID]string, len(p.ids))
	for name, id := range p.ids {
		m[id] = name
	}
	return m
}

// points returns the operating points of a link.
func points(s *scenario.Scenario, k *scenario.Link) ([]point, error) {
	list, err := k.Heralding.Points()
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "link %s: %v", k.Name, err)
	}
	out := make([]point, len(list))
	for i, at := range list {
		h := k.Heralding
		h.Preset = at.Preset
		p := point{name: at.Name, model: Model(&h)}
		if err := p.model.Validate(); err != nil {
			return nil, qnet.Errorf(qnet.ErrInvalid, "link %s: %v", k.Name, err)
		}
		if p.Schedule = schedule(&h); p.Schedule == nil {
			p.Model = p.model
		}
		p.DephasingA, p.DephasingB = dephasing(s, k, at.Preset)
		out[i] = p
	}
	return out, nil
}

// schedule returns the schedule of a link that changes with time, nil for others.
func schedule(h *scenario.Heralding) herald.Schedule {
	if h.Preset == nil {
		return nil
	}
	l, err := h.Preset.Link()
	if err != nil {
		return nil
	}
	return l.Schedule
}

// pipelined reports whether attempts of a link that measure directly are made
// while heralds are under way.
func pipelined(h *scenario.Heralding) bool {
	if h.Preset == nil {
		return false
	}
	l, err := h.Preset.Link()
	return err == nil && l.Pipelined
}

// Models returns the heralding models of a link's operating points; of one that
// changes with time, at its best. The error, of code qnet.ErrInvalid, is that of
// Heralding.Points. What the estimator of heralding alone makes of them,
// herald.OnlyHeralding tells.
func Models(h *scenario.Heralding) ([]herald.Model, error) {
	list, err := h.Points()
	if err != nil {
		return nil, err
	}
	models := make([]herald.Model, len(list))
	for i, at := range list {
		h := *h
		h.Preset = at.Preset
		models[i] = Model(&h)
	}
	return models, nil
}

// Model returns the heralding model of a link; of one that changes with time, at
// its best, and of one that has several operating points, that of the highest
// fidelity.
func Model(h *scenario.Heralding) herald.Model {
	if h.Preset != nil {
		if l, err := h.Preset.Link(); err == nil && l.Model != nil {
			return l.Model
		}
	}
	if h.Model == scenario.DoubleClick {
		return herald.DoubleClick{EtaA: h.Efficiency, EtaB: h.Efficiency, Visibility: h.Visibility,
			DarkCount: h.DarkCounts, NumberResolving: h.NumberResolving, PeriodNS: h.Period()}
	}
	return herald.Ideal{Probability: h.Probability, Fidelity: h.Fidelity, PeriodNS: h.Period()}
}

// meanWeights returns the average state of the heralds, each turned to Φ+.
func meanWeights(m herald.Model) (w [4]float64) {
	for _, h := range m.Heralds() {
		for l, x := range h.State.Weights() {
			w[qnet.BellLabel(l)^h.Label] += h.P * x
		}
	}
	return w
}

// device returns the hardware of a kind of node.
func device(h *scenario.Hardware) *preset.Device {
	if h.Preset != nil {
		return h.Preset.Device()
	}
	d := &preset.Device{Communication: state.Decay{T1: h.T1, T2: h.T2}}
	if h.Depolarising > 0 {
		d.Communication.Depolarise = 1 / h.Depolarising
	}
	d.Storage = d.Communication
	d.Spec = physical.Spec{
		Init: h.Init, Gate1: h.Gate1, Gate2: h.Gate2, Readout: h.Readout,
		T1: h.T1, T2: h.T2, Depolarise: d.Communication.Depolarise,
		Noise: physical.Noise{Gate2Depolarising: h.Gate2Depolarising, QubitNoise: physical.QubitNoise{ReadoutError: physical.SymmetricReadout(h.ReadoutError)}},
	}
	return d
}

// spec returns the data sheet of node i.
func spec(s *scenario.Scenario, i int) *physical.Spec {
	n := &s.Nodes[i]
	sp := device(&n.Hardware).Spec
	sp.Storage, sp.Lanes = n.Storage, make(map[physical.LinkID]int)
	for j := range s.Links {
		k := &s.Links[j]
		if k.A != i && k.B != i {
			continue
		}
		sp.Lanes[LinkID(j)] = k.Lanes
		a, b := dephasing(s, k, k.Heralding.Preset)
		if k.B == i {
			a = b
		}
		if a > 0 {
			if sp.AttemptDephasing == nil {
				sp.AttemptDephasing = make(map[physical.LinkID]float64)
			}
			sp.AttemptDephasing[LinkID(j)] = a
		}
	}
	return &sp
}

// dephasing returns the probabilities that an attempt on a link, made as a preset
// says, flips the phase of a storage qubit at either end.
func dephasing(s *scenario.Scenario, k *scenario.Link, link *preset.Preset) (a, b float64) {
	if link == nil {
		return 0, 0
	}
	if h := s.Nodes[k.A].Hardware.Preset; h != nil {
		p, _ := h.Dephasing(link)
		a = float64(p)
	}
	if h := s.Nodes[k.B].Hardware.Preset; h != nil {
		_, p := h.Dephasing(link)
		b = float64(p)
	}
	return a, b
}

// FabricConfig returns the emulated world of the scenario, degraded by faults
// that nobody else is told of.
func (p *Plan) FabricConfig(faults ...scenario.Fault) (fabric.Config, error) {
	s := p.Scenario
	for _, f := range faults {
		var err error
		if s, err = f.Apply(s); err != nil {
			return fabric.Config{}, err
		}
	}
	cfg := fabric.Config{Seed: s.Seed}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		d := device(&n.Hardware) // what is true; the Spec is what is told
		cfg.Nodes = append(cfg.Nodes, fabric.NodeConfig{ID: p.ids[n.Name], Name: n.Name, Spec: *p.Topology.Nodes[i].Spec,
			Communication: d.Communication, Storage: d.Storage, Noise: d.Spec.Noise})
	}
	for i := range s.Links {
		k := &s.Links[i]
		l := fabric.LinkConfig{ID: LinkID(i), A: p.ids[s.Nodes[k.A].Name], B: p.ids[s.Nodes[k.B].Name],
			LanesA: k.Lanes, LanesB: k.Lanes, Length: k.Length, Speed: s.FibreSpeed, Pipelined: pipelined(&k.Heralding)}
		at, err := points(s, k)
		if err != nil {
			return fabric.Config{}, err
		}
		if len(at) == 1 {
			l.Model, l.Schedule, l.DephasingA, l.DephasingB = at[0].Model, at[0].Schedule, at[0].DephasingA, at[0].DephasingB
		} else {
			for j := range at {
				l.Points = append(l.Points, at[j].Point)
			}
		}
		cfg.Links = append(cfg.Links, l)
	}
	return cfg, nil
}

// LinkEnds returns the link layer's configuration of a node.
func (p *Plan) LinkEnds(node int) []link.EndConfig {
	s := p.Scenario
	compat := s.LinkSettings.Compat
	var ends []link.EndConfig
	for i := range s.Links {
		k := &s.Links[i]
		if k.A != node && k.B != node {
			continue
		}
		side, peer := 0, k.B
		if k.B == node {
			side, peer = 1, k.A
		}
		var at []link.Point
		for _, x := range p.points[i] {
			f := herald.Fidelity(x.model)
			if compat.HeraldingOnly {
				f = herald.Fidelity(herald.OnlyHeralding(x.model))
			}
			at = append(at, link.Point{Name: x.name, Probability: x.model.SuccessProbability(), Fidelity: f, Heralds: x.model.Heralds()})
		}
		ends = append(ends, link.EndConfig{
			ID: LinkID(i), Name: k.Name, Side: side,
			Peer: p.ids[s.Nodes[peer].Name], PeerName: s.Nodes[peer].Name, Station: p.ids[StationName(k)],
			Lanes: k.Lanes, Cycles: physical.Cycles{Period: k.Heralding.Period()}, Delay: s.HalfDelay(k),
			Points: at, Stride: p.stride(i), Pipelined: pipelined(&k.Heralding), Immediate: herald.IsImmediate(p.points[i][0].model),
			PeerSpec: p.Topology.Nodes[peer].Spec, Queue: s.LinkSettings.QueueLimit,
			TestRounds: s.LinkSettings.TestRounds, Scheduler: scheduler(&s.LinkSettings, k.Heralding.Period()),
			Compat: link.Compat{HeraldingOnly: compat.HeraldingOnly, ExpireRequests: compat.ExpireRequest, ReferenceRetries: compat.NoRepeat},
		})
	}
	return ends
}

// scheduler returns what makes the scheduler of an end of a link with the given
// attempt period.
func scheduler(s *scenario.LinkSettings, period float64) func() link.Scheduler {
	switch s.Scheduler {
	case scenario.FCFS:
		return func() link.Scheduler { return link.FCFS{} }
	case scenario.EDF:
		return func() link.Scheduler { return link.EDF{} }
	case scenario.WFQ:
		return func() link.Scheduler { return &link.Weighted{Weights: s.Weights, Reference: s.Compat.EqualIncrement} }
	case scenario.Slots:
		length := max(1, uint64(math.Round(float64(s.Slot)/period)))
		return func() link.Scheduler {
			slots := &link.Slots{Scheduler: new(link.Fair), Period: length * uint64(len(s.Turns))}
			for i, priority := range s.Turns {
				begin := uint64(i) * length
				slots.Table = append(slots.Table, link.Slot{Begin: begin, End: begin + length, Priorities: []uint8{priority}})
			}
			return slots
		}
	}
	return func() link.Scheduler { return new(link.Fair) }
}

// stride returns the number of cycles of link i that an attempt takes whose pair
// is kept: 1, unless attempts are pipelined. Then it resets its communication
// qubit, emits, and waits for the herald to come back over the longer arm, which
// the scenario gives to both ends.
func (p *Plan) stride(i int) uint64 {
	s := p.Scenario
	k := &s.Links[i]
	if !pipelined(&k.Heralding) {
		return 1
	}
	reset := max(p.Topology.Nodes[k.A].Spec.Init, p.Topology.Nodes[k.B].Spec.Init)
	took := float64(reset + 2*s.HalfDelay(k))
	return max(1, uint64(math.Ceil(took/k.Heralding.Period()-1e-9)))
}

// StationConfig returns the configuration of the station of link i.
func (p *Plan) StationConfig(i int) link.StationConfig {
	s := p.Scenario
	k := &s.Links[i]
	cfg := link.StationConfig{Link: LinkID(i), Name: k.Name, Seed: s.Seed,
		Ends:   [2]qnet.NodeID{p.ids[s.Nodes[k.A].Name], p.ids[s.Nodes[k.B].Name]},
		Cycles: physical.Cycles{Period: k.Heralding.Period()}, Delay: s.HalfDelay(k), NoRepeat: s.LinkSettings.Compat.NoRepeat, OnFault: p.onFault(StationName(k))}
	if w := s.Workload; w != nil && w.Link == i && s.LinkSettings.Compat.LossPerAttempt {
		cfg.AttemptLoss = w.LossStation
	}
	return cfg
}

// onFault returns what logs the faults of a node or station, nil without a log.
func (p *Plan) onFault(at string) func(link.Fault) {
	if p.Log == nil {
		return nil
	}
	return func(f link.Fault) {
		p.Log.Warn("frames of a link were not taken", "at", at, "link", f.Name, "from", f.From, "kind", f.Kind, "why", f.Why, "frames", f.Frames)
	}
}

// Distance returns the travel time of light in fibre between two nodes, along
// the shortest path of fibre; ok is false when there is none.
func (p *Plan) Distance(a, b qnet.NodeID) (time.Duration, bool) {
	// Dijkstra over a list: networks are small where this is asked.
	const far = time.Duration(math.MaxInt64)
	dist := map[qnet.NodeID]time.Duration{a: 0}
	done := map[qnet.NodeID]bool{}
	for {
		at, best := qnet.NodeID(0), far
		for i := range p.Topology.Nodes {
			id := p.Topology.Nodes[i].ID
			if d, ok := dist[id]; ok && !done[id] && d < best {
				at, best = id, d
			}
		}
		if at == 0 {
			return 0, false
		}
		if at == b {
			return best, true
		}
		done[at] = true
		for i := range p.Topology.Links {
			k := &p.Topology.Links[i]
			var next qnet.NodeID
			switch at {
			case k.A:
				next = k.B
			case k.B:
				next = k.A
			default:
				continue
			}
			if d, ok := dist[next]; !ok || best+k.Delay < d {
				dist[next] = best + k.Delay
			}
		}
	}
}
