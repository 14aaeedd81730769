package node

import (
	"context"
	"fmt"
	"time"

	"qstack/link"
	"qstack/node/scenario"
	"qstack/physical/fabric"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/qsocket"
)

// Options say how a Network runs a scenario.
type Options struct {
	// Seed replaces the scenario's, unless it is 0.
	Seed uint64
	// Trace receives every event; nil for none.
	Trace *trace.Writer
	// Faults degrade the emulated world alone.
	Faults []scenario.Fault
	// Hazards say what the classical channels between neighbours, and between
	// nodes and stations, do to messages beside the fibre's delay.
	Hazards control.LinkConfig
}

// Network is a whole scenario in one process on one loop: the fabric, a station
// for each link, and a Stack for each node, which talk through control's
// in-memory network. On a virtual loop it is the virtual world.
type Network struct {
	Plan     *Plan
	Loop     event.Loop
	Control  *control.Network
	Fabric   *fabric.Fabric
	Stations []*link.Station // by link
	Stacks   []*Stack        // by node

	options Options
}

// NewNetwork builds the network of a scenario on a loop. It must be called
// before the loop runs, or on it.
func NewNetwork(s *scenario.Scenario, loop event.Loop, o Options) (*Network, error) {
	if o.Seed != 0 {
		c := *s
		c.Seed = o.Seed
		s = &c
	}
	p, err := NewPlan(s)
	if err != nil {
		return nil, err
	}
	cfg, err := p.FabricConfig(o.Faults...)
	if err != nil {
		return nil, err
	}
	if !loop.Virtual() {
		cfg.EarlyResults = EarlyResults
	}
	n := &Network{Plan: p, Loop: loop, options: o}
	if n.Fabric, err = fabric.New(cfg, loop, n.tracer(FabricName)); err != nil {
		return nil, err
	}
	n.Control = control.NewNetwork(control.Config{Loop: loop, Seed: s.Seed, Names: p.Names(), Route: p.Distance})
	for i := range s.Links {
		k := &p.Topology.Links[i]
		name := StationName(&s.Links[i])
		tr := n.tracer(name)
		ep := n.Control.Endpoint(p.ID(name), tr)
		n.Stations = append(n.Stations, link.NewStation(p.StationConfig(i), n.Fabric.Link(k.ID), ep, loop, tr))
		hazards := o.Hazards
		hazards.Delay = s.HalfDelay(&s.Links[i])
		n.Control.Connect(k.A, ep.ID(), hazards)
		n.Control.Connect(k.B, ep.ID(), hazards)
		hazards.Delay = k.Delay
		n.Control.Connect(k.A, k.B, hazards)
	}
	for i := range s.Nodes {
		n.Stacks = append(n.Stacks, n.newStack(i))
	}
	return n, nil
}

// EarlyResults is how long before its instant a result of an operation is
// delivered in real time, since timers are no finer.
const EarlyResults = 2 * time.Millisecond

func (n *Network) tracer(name string) *trace.Tracer {
	if n.options.Trace == nil {
		return nil
	}
	return trace.New(n.options.Trace, name)
}

func (n *Network) newStack(i int) *Stack {
	name := n.Plan.Scenario.Nodes[i].Name
	id := n.Plan.ID(name)
	tr := n.tracer(name)
	return NewStack(n.Plan, i, n.Fabric.Device(id), n.Control.Endpoint(id, tr), n.Loop, tr)
}

// Stack returns the node called name.
func (n *Network) Stack(name string) (*Stack, error) {
	i, err := n.Plan.Scenario.NodeIndex(name)
	if err != nil {
		return nil, err
	}
	return n.Stacks[i], nil
}

// Open opens a session of a program on a node, as qsocket.Open does at a daemon.
func (n *Network) Open(ctx context.Context, name, program string) (*qsocket.Node, error) {
	s, err := n.Stack(name)
	if err != nil {
		return nil, err
	}
	return qsocket.Attach(ctx, n.Loop, s.Transport, program)
}

// Kill makes a node die as a process does: its qubits are traced out, and its
// neighbours find out by its silence.
func (n *Network) Kill(name string) error {
	s, err := n.Stack(name)
	if err != nil {
		return err
	}
	n.Control.Remove(s.ID)
	n.Fabric.Disconnect(s.ID)
	return nil
}

// Restart brings a node back that was killed, without any memory of before.
func (n *Network) Restart(name string) error {
	i, err := n.Plan.Scenario.NodeIndex(name)
	if err != nil {
		return err
	}
	n.Stacks[i] = n.newStack(i)
	return nil
}

// Idle reports whether nothing is left in the whole network: no record at any
// node or station, no message under way, no qubit. Tests end with it.
func (n *Network) Idle() error {
	for _, s := range n.Stacks {
		if err := s.Idle(); err != nil {
			return err
		}
	}
	for _, s := range n.Stations {
		if err := s.Idle(); err != nil {
			return err
		}
	}
	if l := n.Fabric.Ledger(); len(l) > 0 {
		return fmt.Errorf("%d qubits left, the first %v", len(l), l[0])
	}
	if k := n.Control.InFlight(); k > 0 {
		return fmt.Errorf("%d messages under way", k)
	}
	return nil
}
