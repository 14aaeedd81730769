package interop

import (
	"slices"
	"testing"
	"time"

	"qstack/node"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
)

// newBenchNode returns a node whose operations take no time, attached to a fabric
// over QUIC on loopback: what is measured is software.
func newBenchNode(b *testing.B) *remoteNode {
	b.Helper()
	lanes := map[physical.LinkID]int{1: 1}
	alice, bob := nodeID(b, "alice"), nodeID(b, "bob")
	e := newEmulation(b, fabric.Config{
		ID: 1, EarlyResults: node.EarlyResults,
		Nodes: []fabric.NodeConfig{
			{ID: alice, Name: "alice", Spec: physical.Spec{Storage: 16, Lanes: lanes}},
			{ID: bob, Name: "bob", Spec: physical.Spec{Lanes: lanes}},
		},
		Links: []fabric.LinkConfig{{ID: 1, A: alice, B: bob, LanesA: 1, LanesB: 1, Model: herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1000}}},
	})
	e.start()
	return e.nodes[0]
}

// qubits allocates qubits.
func (n *remoteNode) qubits(count int) []physical.Qubit {
	n.t.Helper()
	var qs []physical.Qubit
	for range count {
		qs = append(qs, n.must(physical.Op{Kind: physical.OpAlloc}).Qubit)
	}
	return qs
}

// BenchmarkFabricPipelined measures operations per second of one node on a
// fabric over QUIC on loopback, 4,096 under way.
func BenchmarkFabricPipelined(b *testing.B) {
	n := newBenchNode(b)
	qs := n.qubits(16)
	const window = 4096
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan error, 1)
	n.Post(func() {
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
				n.device.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: qs[asked%len(qs)]}, take)
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
	n := newBenchNode(b)
	q := n.qubits(1)[0]
	trips := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	done := make(chan error, 1)
	n.Post(func() {
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
			n.device.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}, take)
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
