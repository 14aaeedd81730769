package workload

import (
	"qstack/link"
	"qstack/node"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/trace"
)

// world is one link between two nodes, in virtual time.
type world struct {
	loop    *event.Virtual
	net     *control.Network
	fabric  *fabric.Fabric
	oracle  *fabric.Oracle
	devices [2]physical.Device
	ends    [2]link.EndConfig
	specs   [2]*physical.Spec
	layers  [2]*link.Layer
	station *link.Station
}

// newWorld builds the world of a scenario that has the link of its workload alone.
func newWorld(s *scenario.Scenario, o *Options) (*world, error) {
	plan, err := node.NewPlan(s)
	if err != nil {
		return nil, err
	}
	cfg, err := plan.FabricConfig()
	if err != nil {
		return nil, err
	}
	tracer := func(name string) *trace.Tracer {
		if o.Trace == nil {
			return nil
		}
		return trace.New(o.Trace, name)
	}
	w := &world{loop: event.NewVirtual()}
	if w.fabric, err = fabric.New(cfg, w.loop, tracer(node.FabricName)); err != nil {
		return nil, err
	}
	w.oracle = w.fabric.Oracle()
	w.net = control.NewNetwork(control.Config{Loop: w.loop, Seed: s.Seed, Names: plan.Names(), Filter: o.Filter})
	name := node.StationName(&s.Links[0])
	tr := tracer(name)
	station := plan.ID(name)
	w.station = link.NewStation(plan.StationConfig(0), w.fabric.Link(node.LinkID(0)), w.net.Endpoint(station, tr), w.loop, tr)
	half := s.HalfDelay(&s.Links[0])
	for i := range w.layers {
		name := s.Nodes[i].Name
		id, tr := plan.ID(name), tracer(name)
		w.devices[i] = w.fabric.Device(id)
		w.specs[i] = plan.Topology.Nodes[i].Spec
		w.ends[i] = plan.LinkEnds(i)[0]
		w.layers[i] = link.New(link.Config{Name: name, Ends: []link.EndConfig{w.ends[i]}, Seed: s.Seed}, w.devices[i], w.net.Endpoint(id, tr), w.loop, tr)
		if err := w.net.Connect(id, station, control.LinkConfig{Delay: half, Loss: s.Workload.LossStation}); err != nil {
			return nil, err
		}
	}
	return w, w.net.Connect(plan.ID(s.Nodes[0].Name), plan.ID(s.Nodes[1].Name), control.LinkConfig{Delay: 2 * half, Loss: s.Workload.LossLink})
}

// free implements hardware.
func (w *world) free(side int, q physical.Qubit) {
	w.devices[side].Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
}

// fidelity implements hardware.
func (w *world) fidelity(a, b physical.Qubit, l qnet.BellLabel) (float64, error) {
	return w.oracle.BellFidelity(w.oracle.Now(a, b), a, b, l)
}
