package workload

import (
	"errors"

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

// bloch implements hardware.
func (w *world) bloch(q physical.Qubit) (r [3]float64, err error) {
	rho, err := w.oracle.Density(w.oracle.Now(q), q)
	if err == nil {
		r = [3]float64{2 * real(rho[1]), -2 * imag(rho[1]), real(rho[0]) - real(rho[3])}
	}
	return r, err
}

// measure implements hardware.
func (w *world) measure(side int, q physical.Qubit, stored bool, b qnet.Basis, done func(bit uint8, err error)) {
	dev := w.devices[side]
	read := func(q physical.Qubit) {
		dev.Do(physical.Op{Kind: physical.OpMeasure, A: q, Basis: b, Free: true}, func(r physical.Result) {
			if r.Err != nil {
				w.free(side, q)
			}
			done(r.Bit, r.Err)
		})
	}
	if m := w.specs[side].Memory; !stored || m == nil || !m.Indirect {
		read(q)
		return
	}
	w.prepare(side, 0, func(r physical.Result) {
		if r.Err != nil {
			w.free(side, q)
			done(0, r.Err)
			return
		}
		dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: q, B: r.Qubit}, nil)
		dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateCNOT, A: r.Qubit, B: q}, nil)
		read(r.Qubit)
		w.free(side, q)
	})
}

// prepare takes a communication qubit, of the first lane from the given one on that
// has one.
func (w *world) prepare(side int, lane uint32, done func(physical.Result)) {
	w.devices[side].Do(physical.Op{Kind: physical.OpPrepare, Link: node.LinkID(0), Lane: lane}, func(r physical.Result) {
		if errors.Is(r.Err, qnet.ErrNoMemory) && int(lane)+1 < w.ends[side].Lanes {
			w.prepare(side, lane+1, done)
			return
		}
		done(r)
	})
}

// spec implements hardware.
func (w *world) spec(side int) *physical.Spec { return w.specs[side] }
