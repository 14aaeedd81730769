package emulate

import (
	"math"
	"time"

	"qstack/link"
	"qstack/node"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/preset"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
)

const (
	alice = iota
	bob
)

// world is a preset's link between two nodes of its hardware, in virtual time.
type world struct {
	loop   *event.Virtual
	plan   *node.Plan
	fabric *fabric.Fabric
	ends   [2]*end
	err    error // why what was asked for ended, if not by success
	over   int   // ends at which it has
}

// end is one end of the link: the layer above the link layer.
type end struct {
	w        *world
	layer    *link.Layer
	dev      physical.Device
	bases    physical.BasisSource
	measured func([]link.Measured)
	pair     func(link.Pair)
}

// newWorld builds the world of a preset.
func newWorld(p *preset.Preset, seed uint64) (*world, error) {
	heralding, length, err := scenario.FromPreset(p)
	if err != nil {
		return nil, err
	}
	l, err := p.Link()
	if err != nil {
		return nil, err
	}
	s := &scenario.Scenario{Name: "emulate", Realm: "emulate", Seed: seed, Dilation: 1, FibreSpeed: l.FibreSpeed,
		Links: []scenario.Link{{Name: "alice-bob", A: alice, B: bob, Length: length, Lanes: 1, Heralding: heralding}}}
	for _, name := range []string{"alice", "bob"} {
		s.Nodes = append(s.Nodes, scenario.Node{Name: name, Hardware: scenario.Hardware{Name: p.Name, Preset: p}})
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	w := &world{loop: event.NewVirtual()}
	if w.plan, err = node.NewPlan(s); err != nil {
		return nil, err
	}
	cfg, err := w.plan.FabricConfig()
	if err != nil {
		return nil, err
	}
	if k := &cfg.Links[0]; k.Schedule != nil { // a pass would end before there are enough pairs
		k.Schedule, k.Model = nil, l.Model
	}
	if w.fabric, err = fabric.New(cfg, w.loop, nil); err != nil {
		return nil, err
	}
	net := control.NewNetwork(control.Config{Loop: w.loop, Seed: seed, Names: w.plan.Names()})
	station := w.plan.ID(node.StationName(&s.Links[0]))
	link.NewStation(w.plan.StationConfig(0), w.fabric.Link(node.LinkID(0)), net.Endpoint(station, nil), w.loop, nil)
	half := s.HalfDelay(&s.Links[0])
	for i := range w.ends {
		id := w.plan.ID(s.Nodes[i].Name)
		e := &end{w: w, dev: w.fabric.Device(id)}
		e.layer = link.New(link.Config{Name: s.Nodes[i].Name, Ends: w.plan.LinkEnds(i)}, e.dev, net.Endpoint(id, nil), w.loop, nil)
		e.layer.Handle(e)
		w.ends[i] = e
		if err := net.Connect(id, station, control.LinkConfig{Delay: half}); err != nil {
			return nil, err
		}
	}
	return w, net.Connect(w.plan.ID("alice"), w.plan.ID("bob"), control.LinkConfig{Delay: 2 * half})
}

// run makes a request at alice's and lets time pass until it has ended at both
// ends.
func (w *world) run(r link.Request, stop func() error) error {
	w.err, w.over = nil, 0
	if err := w.loop.RunFor(time.Millisecond); err != nil { // the link comes up
		return err
	}
	if _, err := w.ends[alice].layer.Create(node.LinkID(0), r); err != nil {
		return err
	}
	for n := 0; w.over < 2; n++ {
		if n%4096 == 0 {
			if err := stop(); err != nil {
				return err
			}
		}
		if !w.loop.Step() {
			return qnet.Errorf(qnet.ErrInternal, "nothing happens any more, and the pairs have not come")
		}
	}
	return w.err
}

// rest lets what ends a request happen, and returns an error if a qubit or a
// record is left.
func (w *world) rest() error {
	if err := w.loop.RunFor(node.Settle); err != nil {
		return err
	}
	for _, e := range w.ends {
		if err := e.layer.Idle(); err != nil {
			return err
		}
	}
	if l := w.fabric.Ledger(); len(l) > 0 {
		return qnet.Errorf(qnet.ErrInternal, "%d qubits are left, the first %v", len(l), l[0])
	}
	return nil
}

// delay returns the time from an emission until both ends have heard its herald.
func (w *world) delay() time.Duration {
	s := w.plan.Scenario
	return 2 * s.HalfDelay(&s.Links[0])
}

// busy returns the time from one emission to the first instant at which a qubit
// that was measured may emit again.
func (w *world) busy(bases []qnet.Basis) time.Duration {
	sp := w.plan.Topology.Nodes[alice].Spec
	var t time.Duration
	for _, b := range bases {
		t = max(t, sp.MeasureTime(b))
	}
	return w.delay() + t + sp.Init
}

// Requested implements link.Handler: bob takes part in everything.
func (e *end) Requested(k physical.LinkID, o link.Offer) (uint64, error) {
	if o.Type == link.Keep {
		return math.MaxUint64, nil
	}
	e.w.loop.After(0, func() {
		e.layer.SetBases(k, o.ID, e.bases)
		e.layer.SetLimit(k, o.ID, math.MaxUint64)
	})
	return 0, nil
}

// Pair implements link.Handler.
func (e *end) Pair(p link.Pair) { e.pair(p) }

// Measured implements link.Handler.
func (e *end) Measured(_ physical.LinkID, _ link.RequestID, ms []link.Measured) { e.measured(ms) }

// Expired implements link.Handler. Without losses of messages no pair expires.
func (e *end) Expired(_ physical.LinkID, _ link.RequestID, seq uint64, _ bool) {
	e.w.err = qnet.Errorf(qnet.ErrInternal, "pair %d expired", seq)
}

// Ended implements link.Handler.
func (e *end) Ended(_ physical.LinkID, _ link.RequestID, err error) {
	e.w.over++
	if e.w.err == nil {
		e.w.err = err
	}
}

// LinkChange implements link.Handler.
func (*end) LinkChange(physical.LinkID, error) {}
