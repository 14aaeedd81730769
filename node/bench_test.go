package node_test

import (
	"testing"
	"time"

	"qstack/network"
	"qstack/node"
	"qstack/node/scenario"
	"qstack/scenarios"
)

// embedded returns a scenario that comes with the project.
func embedded(t testing.TB, file string) *scenario.Scenario {
	t.Helper()
	data, err := scenarios.Files.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// benchmark measures pairs end to end through all layers in virtual time, every
// message encoded, a thousand pairs to an operation.
func benchmark(b *testing.B, s *scenario.Scenario, from, to string) {
	const batch = 1000
	w := newWorld(b, s, node.Options{})
	r := w.connect(from, to)
	sink := &counter{}
	r.ends[0].circuit.Close(0)
	w.run(node.Settle)
	var tail *network.Circuit
	w.stack(to).Network.HandleIncoming(func(c *network.Circuit, tag uint64) (network.CircuitHandler, error) {
		tail = c
		return sink, nil
	})
	var head *network.Circuit
	w.stack(from).Network.Setup(w.stack(to).ID, 0, 0, w.loop.Now().Add(time.Second), sink, func(c *network.Circuit, err error) {
		if err != nil {
			b.Fatal(err)
		}
		head = c
	})
	w.run(time.Second)
	events, id := w.loop.Events(), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		id++
		q := network.Request{ID: id, Pairs: batch, Measure: true, PeerMeasures: true, Bases: xyz, Corrector: network.CorrectorHead}
		for _, c := range []*network.Circuit{head, tail} {
			if err := c.Request(q); err != nil {
				b.Fatal(err)
			}
		}
		for sink.done = 0; sink.done < 2; {
			w.loop.Step()
		}
	}
	if sink.pairs != 2*batch*id || sink.down != nil {
		b.Fatalf("%d pairs in %d operations; %v", sink.pairs, id, sink.down)
	}
	b.ReportMetric(float64(batch*id)/b.Elapsed().Seconds(), "pairs/s")
	b.ReportMetric(float64(w.loop.Events()-events)/float64(batch*id), "events/pair")
}

// counter counts what both ends are handed up.
type counter struct {
	pairs uint64
	done  int
	down  error
}

func (c *counter) Pair(*network.Circuit, network.Delivery)  { c.pairs++ }
func (c *counter) RequestDone(_ *network.Circuit, _ uint64) { c.done++ }
func (c *counter) Down(_ *network.Circuit, err error)       { c.down = err }

func BenchmarkIons3(b *testing.B)   { benchmark(b, embedded(b, "ions3.toml"), "alice", "charlie") }
func BenchmarkChain10(b *testing.B) { benchmark(b, embedded(b, "chain10.toml"), "n0", "n9") }

// BenchmarkOneLink is measured by the link itself.
func BenchmarkOneLink(b *testing.B) { benchmark(b, embedded(b, "ideal2.toml"), "alice", "bob") }

// BenchmarkSetup sets a circuit up over two links and closes it.
func BenchmarkSetup(b *testing.B) {
	w := newWorld(b, embedded(b, "ions3.toml"), node.Options{})
	b.ReportAllocs()
	for b.Loop() {
		w.runs = w.runs[:0]
		r := w.setup("alice", "charlie")
		for r.ends[0].circuit == nil {
			w.loop.Step()
		}
		r.ends[0].circuit.Close(0)
		w.run(time.Second)
	}
	w.rest()
}
