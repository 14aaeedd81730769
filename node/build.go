package node

import (
	"math"
	"time"

	"qstack/link"
	"qstack/network"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
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
	ids      map[string]qnet.NodeID
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

// Model returns the heralding model of a link.
func Model(h *scenario.Heralding) interface {
	herald.Model
	Validate() error
} {
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

// spec returns the data sheet of node i.
func spec(s *scenario.Scenario, i int) *physical.Spec {
	n := &s.Nodes[i]
	h := &n.Hardware
	sp := &physical.Spec{
		Storage: n.Storage, Lanes: make(map[physical.LinkID]int),
		Init: h.Init, Gate1: h.Gate1, Gate2: h.Gate2, Readout: h.Readout,
		T1: h.T1, T2: h.T2,
		Noise: physical.Noise{Gate2Depolarising: h.Gate2Depolarising, QubitNoise: physical.QubitNoise{ReadoutError: physical.SymmetricReadout(h.ReadoutError)}},
	}
	if h.Depolarising > 0 {
		sp.Depolarise = 1 / h.Depolarising
	}
	for j := range s.Links {
		if k := &s.Links[j]; k.A == i || k.B == i {
			sp.Lanes[LinkID(j)] = k.Lanes
		}
	}
	return sp
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
		sp := p.Topology.Nodes[i].Spec // what is told
		h := &n.Hardware               // what is true
		d := state.Decay{T1: h.T1, T2: h.T2}
		if h.Depolarising > 0 {
			d.Depolarise = 1 / h.Depolarising
		}
		cfg.Nodes = append(cfg.Nodes, fabric.NodeConfig{ID: p.ids[n.Name], Name: n.Name, Spec: *sp, Communication: d, Storage: d,
			Noise: physical.Noise{Gate2Depolarising: h.Gate2Depolarising, QubitNoise: physical.QubitNoise{ReadoutError: physical.SymmetricReadout(h.ReadoutError)}}})
	}
	for i := range s.Links {
		k := &s.Links[i]
		cfg.Links = append(cfg.Links, fabric.LinkConfig{ID: LinkID(i), A: p.ids[s.Nodes[k.A].Name], B: p.ids[s.Nodes[k.B].Name],
			LanesA: k.Lanes, LanesB: k.Lanes, Model: Model(&k.Heralding), Length: k.Length, Speed: s.FibreSpeed})
	}
	return cfg, nil
}

// LinkEnds returns the link layer's configuration of a node.
func (p *Plan) LinkEnds(node int) []link.EndConfig {
	s := p.Scenario
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
		m := Model(&k.Heralding)
		ends = append(ends, link.EndConfig{
			ID: LinkID(i), Name: k.Name, Side: side,
			Peer: p.ids[s.Nodes[peer].Name], PeerName: s.Nodes[peer].Name, Station: p.ids[StationName(k)],
			Lanes: k.Lanes, Cycles: physical.Cycles{Period: m.Period()}, Delay: s.HalfDelay(k),
			Probability: m.SuccessProbability(), Fidelity: herald.Fidelity(m),
		})
	}
	return ends
}

// StationConfig returns the configuration of the station of link i.
func (p *Plan) StationConfig(i int) link.StationConfig {
	s := p.Scenario
	k := &s.Links[i]
	return link.StationConfig{Link: LinkID(i), Name: k.Name, Seed: s.Seed,
		Ends:   [2]qnet.NodeID{p.ids[s.Nodes[k.A].Name], p.ids[s.Nodes[k.B].Name]},
		Cycles: physical.Cycles{Period: k.Heralding.Period()}, Delay: s.HalfDelay(k)}
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
