package interop

import (
	"slices"
	"testing"
	"time"

	"qstack/node"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/remote"
	"qstack/qnet/control/quic"
	"qstack/qnet/event"
	"qstack/qnet/pki"
)

// remoteDevice is the device of a node of the scenario whose fabric is reached
// over QUIC on loopback, on a loop of its own.
type remoteDevice struct {
	loop   *event.Real
	device *remote.Client
	spec   *physical.Spec
}

// newRemoteDevice runs a fabric and the device of the first node, whose
// operations take no time: what is measured is software.
func newRemoteDevice(b *testing.B) *remoteDevice {
	b.Helper()
	s, err := scenario.Parse("bench.toml", []byte(`
version = 1
[network]
name = "bench"
[hardware.instant]
[heralding.perfect]
model = "ideal"
attempt_rate = "1 MHz"
probability = 1
fidelity = 1
[[nodes]]
name = "alice"
hardware = "instant"
storage = 16
[[nodes]]
name = "bob"
hardware = "instant"
[[links]]
nodes = ["alice", "bob"]
length = "2 m"
heralding = "perfect"
`))
	if err != nil {
		b.Fatal(err)
	}
	plan, err := node.NewPlan(s)
	if err != nil {
		b.Fatal(err)
	}
	ca, err := pki.NewCA(s.Realm, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	listen := func(name string, role pki.Role, peer quic.Peer) (*event.Real, *quic.Endpoint) {
		cred, err := ca.Issue(name, role)
		if err != nil {
			b.Fatal(err)
		}
		loop := event.NewReal(event.RealConfig{})
		ep, err := quic.New(quic.Config{Credential: cred, Loop: loop, Peers: []quic.Peer{peer}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := ep.Close(); err != nil {
				b.Error(err)
			}
			if err := loop.Close(); err != nil {
				b.Error(err)
			}
		})
		return loop, ep
	}
	cfg, err := plan.FabricConfig()
	if err != nil {
		b.Fatal(err)
	}
	cfg.EarlyResults = node.EarlyResults
	fabricLoop, fabricEnd := listen(node.FabricName, pki.RoleFabric, quic.Peer{Name: "alice"})
	d := &remoteDevice{spec: plan.Topology.Nodes[0].Spec}
	loop, end := listen("alice", pki.RoleNode, quic.Peer{Name: node.FabricName, Addr: fabricEnd.Addr().String(), Neighbour: true})
	d.loop = loop
	fabricLoop.Post(func() {
		w, err := fabric.New(cfg, fabricLoop, nil)
		if err != nil {
			b.Error(err)
			return
		}
		remote.NewServer(w, fabricEnd, fabricLoop, nil)
	})
	attached := make(chan bool, 1)
	loop.Post(func() {
		d.device = remote.NewClient(remote.Config{Name: "alice", Fabric: plan.ID(node.FabricName), FabricName: node.FabricName, Spec: d.spec}, end, loop, nil)
		d.device.OnChange(func(err error) { attached <- err == nil })
	})
	fabricEnd.Start()
	end.Start()
	for !<-attached {
	}
	return d
}

// do executes an operation and waits for it.
func (d *remoteDevice) do(op physical.Op) physical.Result {
	result := make(chan physical.Result, 1)
	d.loop.Post(func() { d.device.Do(op, func(r physical.Result) { result <- r }) })
	return <-result
}

// qubits allocates n qubits.
func (d *remoteDevice) qubits(b *testing.B, n int) []physical.Qubit {
	var qs []physical.Qubit
	for range n {
		r := d.do(physical.Op{Kind: physical.OpAlloc})
		if r.Err != nil {
			b.Fatal(r.Err)
		}
		qs = append(qs, r.Qubit)
	}
	return qs
}

// BenchmarkFabricPipelined measures operations per second of one node on a
// fabric over QUIC on loopback, 4,096 under way.
func BenchmarkFabricPipelined(b *testing.B) {
	d := newRemoteDevice(b)
	qs := d.qubits(b, 16)
	const window = 4096
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan error, 1)
	d.loop.Post(func() {
		asked, answered := 0, 0
		var ask func()
		take := func(r physical.Result) {
			answered++
			switch {
			case r.Err != nil:
				done <- r.Err
			case answered == b.N:
				done <- nil
			default:
				ask()
			}
		}
		ask = func() {
			if asked < b.N {
				asked++
				d.device.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: qs[asked%len(qs)]}, take)
			}
		}
		for range window {
			ask()
		}
	})
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkFabricRoundTrip measures one operation at a time, from the call to
// the callback.
func BenchmarkFabricRoundTrip(b *testing.B) {
	d := newRemoteDevice(b)
	q := d.qubits(b, 1)[0]
	trips := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	done := make(chan error, 1)
	d.loop.Post(func() {
		var began time.Time
		var ask func()
		take := func(r physical.Result) {
			trips = append(trips, time.Since(began))
			if r.Err != nil || len(trips) == b.N {
				done <- r.Err
				return
			}
			ask()
		}
		ask = func() {
			began = time.Now()
			d.device.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}, take)
		}
		ask()
	})
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	slices.Sort(trips)
	b.ReportMetric(float64(trips[len(trips)/2].Microseconds()), "median-us")
	b.ReportMetric(float64(trips[len(trips)*99/100].Microseconds()), "p99-us")
}
