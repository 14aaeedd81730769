package link_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
)

// mesh is a network of nodes, numbered from 1 on, the lanes of some of which share
// communication qubits.
type mesh struct {
	t      *testing.T
	loop   *event.Virtual
	fabric *fabric.Fabric
	layers []*link.Layer // by node, from 1 on
	edges  []edge
	got    map[physical.LinkID]int // pairs at side 0
}

// edge is a link of a mesh, on which attempts succeed with a probability each microsecond.
// It has its number in the list, from 1 on.
type edge struct {
	a, b        qnet.NodeID
	probability float64
}

func newMesh(t *testing.T, lanes int, spec physical.Spec, sharing []qnet.NodeID, edges ...edge) *mesh {
	t.Helper()
	loop := event.NewVirtual()
	t.Cleanup(func() { loop.Close() })
	m := &mesh{t: t, loop: loop, edges: edges, got: make(map[physical.LinkID]int)}
	cycles := physical.Cycles{Period: 1000}
	fc := fabric.Config{Seed: 1}
	specs := map[qnet.NodeID]*physical.Spec{}
	for i, e := range edges {
		id := physical.LinkID(i + 1)
		for _, n := range [...]qnet.NodeID{e.a, e.b} {
			if specs[n] == nil {
				sp := spec
				sp.Lanes = map[physical.LinkID]int{}
				if !slices.Contains(sharing, n) {
					sp.Communication = 0
				}
				specs[n] = &sp
			}
			specs[n].Lanes[id] = lanes
		}
		fc.Links = append(fc.Links, fabric.LinkConfig{ID: id, A: e.a, B: e.b, LanesA: lanes, LanesB: lanes, Length: 2000,
			Model: herald.Ideal{Probability: e.probability, Fidelity: 1, PeriodNS: cycles.Period}})
	}
	for n := qnet.NodeID(1); specs[n] != nil; n++ {
		fc.Nodes = append(fc.Nodes, fabric.NodeConfig{ID: n, Name: fmt.Sprint("node ", n), Spec: *specs[n]})
	}
	var err error
	if m.fabric, err = fabric.New(fc, loop, nil); err != nil {
		t.Fatal(err)
	}
	net := control.NewNetwork(control.Config{Loop: loop, Seed: 1})
	m.layers = make([]*link.Layer, len(fc.Nodes)+1)
	for _, n := range fc.Nodes {
		cfg := link.Config{Name: n.Name}
		for i, e := range edges {
			c := link.EndConfig{ID: physical.LinkID(i + 1), Name: fmt.Sprint("link ", i+1), Peer: e.b, Station: 100 + qnet.NodeID(i), Lanes: lanes, Cycles: cycles,
				Delay: m.fabric.Link(physical.LinkID(i + 1)).HalfDelay(), Points: []link.Point{{Probability: e.probability, Fidelity: 1}}}
			switch n.ID {
			case e.a:
			case e.b:
				c.Side, c.Peer = 1, e.a
			default:
				continue
			}
			c.PeerName, c.PeerSpec = fmt.Sprint("node ", c.Peer), specs[c.Peer]
			cfg.Ends = append(cfg.Ends, c)
		}
		m.layers[n.ID] = link.New(cfg, m.fabric.Device(n.ID), net.Endpoint(n.ID, nil), loop, nil)
		m.layers[n.ID].Handle(&meshNode{m, n.ID})
		for _, c := range cfg.Ends {
			if c.Side == 1 {
				continue
			}
			link.NewStation(link.StationConfig{Link: c.ID, Name: c.Name, Seed: 1, Ends: [2]qnet.NodeID{n.ID, c.Peer}, Cycles: cycles, Delay: c.Delay},
				m.fabric.Link(c.ID), net.Endpoint(c.Station, nil), loop, nil)
			for _, pair := range [][2]qnet.NodeID{{n.ID, c.Station}, {c.Peer, c.Station}, {n.ID, c.Peer}} {
				if err := net.Connect(pair[0], pair[1], control.LinkConfig{Delay: c.Delay}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	m.run(0)
	return m
}

func (m *mesh) run(d time.Duration) {
	m.t.Helper()
	if err := m.loop.RunFor(d); err != nil {
		m.t.Fatal(err)
	}
}

// create makes a request on a link at the node of its side 0.
func (m *mesh) create(n qnet.NodeID, id physical.LinkID, r link.Request) link.RequestID {
	m.t.Helper()
	r.Limit, r.Deadline = 1<<40, qnet.Never
	request, err := m.layers[n].Create(id, r)
	if err != nil {
		m.t.Fatal(err)
	}
	return request
}

// rest checks that nothing is left when all requests are over.
func (m *mesh) rest() {
	m.t.Helper()
	for _, l := range m.layers[1:] {
		if err := l.Idle(); err != nil {
			m.t.Error(err)
		}
	}
	if l := m.fabric.Ledger(); len(l) > 0 {
		m.t.Errorf("%d qubits left, the first: %v", len(l), l[0])
	}
}

// meshNode is the layer above at a node of a mesh, which gives every half back at once.
type meshNode struct {
	*mesh
	id qnet.NodeID
}

func (n *meshNode) Requested(id physical.LinkID, o link.Offer) (uint64, error) {
	if o.Type == link.Measure {
		n.layers[n.id].SetBases(id, o.ID, pauli)
	}
	return 1 << 40, nil
}

func (n *meshNode) Pair(p link.Pair) {
	n.count(p.Link, 1)
	n.fabric.Device(n.id).Do(physical.Op{Kind: physical.OpFree, A: p.Qubit}, nil)
}

func (n *meshNode) Measured(id physical.LinkID, _ link.RequestID, ms []link.Measured) {
	n.count(id, len(ms))
}

// count counts pairs at side 0 alone.
func (n *meshNode) count(id physical.LinkID, pairs int) {
	if n.edges[id-1].a == n.id {
		n.got[id] += pairs
	}
}

func (n *meshNode) Expired(physical.LinkID, link.RequestID, uint64, bool) {}
func (n *meshNode) Ended(physical.LinkID, link.RequestID, error)          {}
func (n *meshNode) LinkChange(physical.LinkID, error)                     {}

// Links whose lanes share qubits have them for equal times, whatever they make with them,
// as soon as both want them; one that comes has no claim to what it did not take.
func TestLinksShareQubits(t *testing.T) {
	kinds := map[rune]link.Request{'S': {Store: true}, 'K': {}, 'M': {Type: link.Measure, Bases: pauli}}
	spec := physical.Spec{Storage: 4, Init: 5 * time.Microsecond, Gate1: time.Microsecond, Gate2: 3 * time.Microsecond, Readout: 2 * time.Microsecond}
	for _, qubits := range []int{1, 3} {
		spec.Communication = qubits
		var alone map[rune]float64 // pairs a second
		for _, mix := range []string{"K", "S", "M", "KK", "SS", "SK", "MK", "MM", "MS"} {
			s := newMesh(t, qubits, spec, []qnet.NodeID{1}, edge{1, 2, 0.01}, edge{1, 3, 0.01})
			var ids []link.RequestID
			for i, k := range mix {
				s.run(time.Second)
				ids = append(ids, s.create(1, physical.LinkID(1+i), kinds[k]))
			}
			s.run(200 * time.Millisecond) // what was measured before is announced late
			had := [2]int{s.got[1], s.got[2]}
			s.run(2 * time.Second)
			if len(mix) == 1 {
				if alone == nil {
					alone = make(map[rune]float64)
				}
				alone[rune(mix[0])] = float64(s.got[1]-had[0]) / 2
				continue
			}
			for i, before := range had {
				n, want := s.got[physical.LinkID(1+i)]-before, alone[rune(mix[i])]
				if math.Abs(float64(n)-want) > 5*math.Sqrt(2*want)+0.03*want {
					t.Errorf("%s, %d qubits: %c has %d pairs in 2 s, %.0f in 1 s alone", mix, qubits, mix[i], n, want)
				}
			}
			for i := range mix { // what one leaves the other has
				s.layers[1].End(physical.LinkID(1+i), ids[i], qnet.ErrCancelled)
				had := s.got[2]
				s.run(time.Second)
				if n := float64(s.got[2] - had); i == 0 && n < 0.85*alone[rune(mix[1])] {
					t.Errorf("%s, %d qubits: %.0f pairs in 1 s when the other is over, %.0f alone", mix, qubits, n, alone[rune(mix[1])])
				}
			}
			s.rest()
		}
	}
}

// Where both ends of a link share their qubits with others, at which other streams take all
// they can get, it has some of them at both ends at a time.
func TestLinkBetweenNodesThatShareQubits(t *testing.T) {
	for _, typ := range []link.Type{link.Measure, link.Keep} {
		for _, qubits := range []int{1, 2} {
			m := newMesh(t, qubits, physical.Spec{Communication: qubits, Init: 5 * time.Microsecond}, []qnet.NodeID{2, 3}, edge{1, 2, 0.01}, edge{2, 3, 0.01}, edge{3, 4, 0.01})
			r := link.Request{Type: typ}
			if typ == link.Measure {
				r.Bases = pauli
			}
			ids := []link.RequestID{m.create(1, 1, r), 0, m.create(3, 3, r)}
			m.run(time.Second)
			ids[1] = m.create(2, 2, r)
			m.run(10 * time.Second)
			t.Logf("%v, %d qubits: %v pairs", typ, qubits, m.got)
			if m.got[2] < 500 || m.got[1] < 10_000 || m.got[3] < 10_000 {
				t.Errorf("%v, %d qubits: %v pairs", typ, qubits, m.got)
			}
			for i, id := range ids {
				m.layers[m.edges[i].a].End(physical.LinkID(1+i), id, qnet.ErrCancelled)
			}
			m.run(time.Second)
			m.rest()
		}
	}
}

// A link whose pairs are rare has its qubit no longer at a time than one whose pairs are not.
func TestRarePairsShareQubits(t *testing.T) {
	kinds := map[rune]link.Request{'K': {}, 'M': {Type: link.Measure, Bases: pauli}}
	for _, mix := range []string{"MK", "KM", "MM", "KK"} {
		m := newMesh(t, 1, physical.Spec{Communication: 1, Init: 5 * time.Microsecond}, []qnet.NodeID{1}, edge{1, 2, 1e-9}, edge{1, 3, 0.01})
		m.create(1, 1, kinds[rune(mix[0])])
		m.run(time.Second)
		m.create(1, 2, kinds[rune(mix[1])])
		m.run(5 * time.Second)
		// Alone some 8,500 a second: attempts, and the light's way to the station and back.
		if n := m.got[2]; n < 5*8500*4/10 || n > 5*8500*6/10 {
			t.Errorf("%s: %d pairs in 5 s, want half of what there are alone, 42,500", mix, n)
		}
	}
}
