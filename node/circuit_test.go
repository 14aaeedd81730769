package node

import (
	"testing"
	"time"

	"qstack/network"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/scenarios"
)

// ends records what both ends of a circuit were handed up.
type recorder struct {
	pairs []network.Delivery
	done  []uint64
	down  error
}

func (r *recorder) Pair(_ *network.Circuit, d network.Delivery) { r.pairs = append(r.pairs, d) }
func (r *recorder) RequestDone(_ *network.Circuit, id uint64)   { r.done = append(r.done, id) }
func (r *recorder) Down(_ *network.Circuit, err error)          { r.down = err }

func smoke(t testing.TB, file string, from, to string, pairs uint64) (time.Duration, *event.Virtual) {
	data, err := scenarios.Files.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	loop := event.NewVirtual()
	n, err := NewNetwork(s, loop, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := n.Stack(from)
	b, _ := n.Stack(to)
	var head, tail recorder
	b.Network.HandleIncoming(func(c *network.Circuit, tag uint64) (network.CircuitHandler, error) {
		src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}}
		loop.After(0, func() {
			if err := c.Request(network.Request{ID: 7, Pairs: pairs, Measure: true, Bases: src, PeerMeasures: true, Corrector: network.CorrectorHead}); err != nil {
				t.Error(err)
			}
		})
		return &tail, nil
	})
	var circuit *network.Circuit
	start := time.Now()
	a.Network.Setup(b.ID, 1, 0, loop.Now().Add(time.Second), &head, func(c *network.Circuit, err error) {
		if err != nil {
			t.Error(err)
			return
		}
		circuit = c
		src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}}
		if err := c.Request(network.Request{ID: 7, Pairs: pairs, Measure: true, Bases: src, PeerMeasures: true, Corrector: network.CorrectorHead}); err != nil {
			t.Error(err)
		}
	})
	for len(head.done) == 0 || len(tail.done) == 0 {
		if err := loop.RunFor(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		if loop.Now().Seconds() > float64(pairs)*2 {
			t.Fatalf("head %d tail %d pairs; link %+v %+v", len(head.pairs), len(tail.pairs), a.Link.Status(), n.Stacks[1].Link.Status())
		}
	}
	wall := time.Since(start)
	agree, total := [3]int{}, [3]int{}
	byName := map[network.PairName]network.Delivery{}
	for _, d := range tail.pairs {
		byName[d.Name] = d
	}
	for _, d := range head.pairs {
		e, ok := byName[d.Name]
		if !ok {
			t.Fatalf("pair %v at the head only", d.Name)
		}
		if d.Basis == e.Basis {
			total[d.Basis]++
			if d.Bit == e.Bit {
				agree[d.Basis]++
			}
		}
	}
	t.Logf("%d pairs, agree %v of %v, last at %v, wall %v (%.0f pairs/s), estimate %.4f", len(head.pairs), agree, total,
		head.pairs[len(head.pairs)-1].At, wall, float64(pairs)/wall.Seconds(), head.pairs[0].Fidelity)
	corr := func(i int) float64 { return 2*float64(agree[i])/float64(total[i]) - 1 }
	t.Logf("F = %.4f", (1+corr(0)-corr(1)+corr(2))/4)
	circuit.Close(qnet.OK)
	if err := loop.RunFor(time.Second); err != nil {
		t.Fatal(err)
	}
	if err := n.Idle(); err != nil {
		t.Error(err)
	}
	return wall, loop
}

func TestSmoke(t *testing.T) {
	smoke(t, "ions3.toml", "alice", "charlie", 20000)
	smoke(t, "ions3.toml", "alice", "bob", 20000)
	smoke(t, "chain10.toml", "n0", "n9", 2000)
}
