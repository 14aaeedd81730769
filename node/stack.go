package node

import (
	"time"

	"qstack/link"
	"qstack/network"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
	"qstack/transport"
)

// Stack is one node: its layers on one loop.
type Stack struct {
	Name      string
	ID        qnet.NodeID
	Device    physical.Device
	Link      *link.Layer
	Network   *network.Layer
	Transport *transport.Layer
}

// NewStack builds the layers of node i of a plan upon a device and a control
// endpoint, on the loop that these run on.
func NewStack(p *Plan, i int, dev physical.Device, ep control.Endpoint, loop event.Scheduler, tr *trace.Tracer) *Stack {
	n := &p.Scenario.Nodes[i]
	s := &Stack{Name: n.Name, ID: p.ID(n.Name), Device: dev}
	s.Link = link.New(link.Config{Name: n.Name, Ends: p.LinkEnds(i), Seed: p.Scenario.Seed, OnFault: p.onFault(n.Name)}, dev, ep, loop, tr)
	s.Network = network.New(network.Config{Self: s.ID, Topology: p.Topology, Seed: p.Scenario.Seed, CutOff: p.Scenario.Cutoff(i)},
		s.Link, ep, dev, loop, tr)
	s.Link.Handle(s.Network.LinkHandler())
	names := p.Names()
	s.Transport = transport.New(transport.Config{
		Name: n.Name,
		Resolve: func(name string) (qnet.NodeID, bool) {
			_, err := p.Scenario.NodeIndex(name)
			return p.ID(name), err == nil
		},
		NameOf: func(id qnet.NodeID) string { return names[id] },
	}, transport.Over(s.Network), ep, dev, loop, tr)
	return s
}

// Idle reports whether nothing is left of any session, circuit, request or
// pair.
func (s *Stack) Idle() error {
	if st := s.Transport.Stats(); st != (transport.Stats{Sessions: st.Sessions}) {
		return qnet.Errorf(qnet.ErrInternal, "transport at %s: %+v left", s.Name, st)
	}
	if err := s.Network.Idle(); err != nil {
		return err
	}
	return s.Link.Idle()
}

// Settle is longer, in emulated time, than any exchange takes that ends
// something: after it, an idle network has nothing left.
const Settle = 10 * time.Second
