package link_test

import (
	"math"
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

// star is a node with links to two others, whose lanes share its communication qubits.
type star struct {
	t      *testing.T
	loop   *event.Virtual
	fabric *fabric.Fabric
	layers [3]*link.Layer // the first is that of the node in the middle
	got    map[physical.LinkID]int
}

// newStar makes one in which attempts succeed with a probability each microsecond.
func newStar(t *testing.T, probability float64, lanes int, spec physical.Spec) *star {
	t.Helper()
	loop := event.NewVirtual()
	t.Cleanup(func() { loop.Close() })
	s := &star{t: t, loop: loop, got: make(map[physical.LinkID]int)}
	cycles := physical.Cycles{Period: 1000}
	fc := fabric.Config{Seed: 1}
	for id := qnet.NodeID(1); id <= 3; id++ {
		sp := spec
		sp.Lanes = map[physical.LinkID]int{}
		if id > 1 {
			sp.Communication = 0
		}
		for to := qnet.NodeID(2); to <= 3; to++ {
			if id == 1 || id == to {
				sp.Lanes[physical.LinkID(to)] = lanes
			}
		}
		fc.Nodes = append(fc.Nodes, fabric.NodeConfig{ID: id, Name: string(rune('a' + id)), Spec: sp})
	}
	for to := qnet.NodeID(2); to <= 3; to++ {
		fc.Links = append(fc.Links, fabric.LinkConfig{ID: physical.LinkID(to), A: 1, B: to, LanesA: lanes, LanesB: lanes, Length: 2000,
			Model: herald.Ideal{Probability: probability, Fidelity: 1, PeriodNS: cycles.Period}})
	}
	var err error
	if s.fabric, err = fabric.New(fc, loop, nil); err != nil {
		t.Fatal(err)
	}
	net := control.NewNetwork(control.Config{Loop: loop, Seed: 1})
	ends := func(id qnet.NodeID) (list []link.EndConfig) {
		for to := qnet.NodeID(2); to <= 3; to++ {
			e := link.EndConfig{ID: physical.LinkID(to), Name: fc.Nodes[to-1].Name, Side: 0, Peer: to, PeerName: fc.Nodes[to-1].Name, Station: 10 + to,
				Lanes: lanes, Cycles: cycles, Delay: s.fabric.Link(physical.LinkID(to)).HalfDelay(), Points: []link.Point{{Probability: probability, Fidelity: 1}}}
			e.PeerSpec = &fc.Nodes[to-1].Spec
			if id == to {
				e.Side, e.Peer, e.PeerName = 1, 1, fc.Nodes[0].Name
				e.PeerSpec = &fc.Nodes[0].Spec
			} else if id != 1 {
				continue
			}
			list = append(list, e)
		}
		return list
	}
	for i := range s.layers {
		id := qnet.NodeID(1 + i)
		s.layers[i] = link.New(link.Config{Name: fc.Nodes[i].Name, Ends: ends(id)}, s.fabric.Device(id), net.Endpoint(id, nil), loop, nil)
		s.layers[i].Handle(&leaf{star: s, i: i})
	}
	for _, e := range ends(1) {
		link.NewStation(link.StationConfig{Link: e.ID, Name: e.Name, Seed: 1, Ends: [2]qnet.NodeID{1, e.Peer}, Cycles: cycles, Delay: e.Delay},
			s.fabric.Link(e.ID), net.Endpoint(e.Station, nil), loop, nil)
		for _, c := range [][2]qnet.NodeID{{1, e.Station}, {e.Peer, e.Station}, {1, e.Peer}} {
			if err := net.Connect(c[0], c[1], control.LinkConfig{Delay: e.Delay}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := loop.RunFor(0); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *star) run(d time.Duration) {
	s.t.Helper()
	if err := s.loop.RunFor(d); err != nil {
		s.t.Fatal(err)
	}
}

// leaf is the layer above at a node of a star, which gives every half back at once.
type leaf struct {
	*star
	i int
}

func (l *leaf) Requested(id physical.LinkID, o link.Offer) (uint64, error) {
	if o.Type == link.Measure {
		l.loop.After(0, func() { l.layers[l.i].SetBases(id, o.ID, pauli) })
	}
	return 1 << 40, nil
}

func (l *leaf) Pair(p link.Pair) {
	if l.i == 0 {
		l.got[p.Link]++
	}
	l.fabric.Device(qnet.NodeID(1+l.i)).Do(physical.Op{Kind: physical.OpFree, A: p.Qubit}, nil)
}

func (l *leaf) Measured(id physical.LinkID, _ link.RequestID, ms []link.Measured) {
	if l.i == 0 {
		l.got[id] += len(ms)
	}
}

func (l *leaf) Expired(physical.LinkID, link.RequestID, uint64, bool) {}
func (l *leaf) Ended(physical.LinkID, link.RequestID, error)          {}
func (l *leaf) LinkChange(physical.LinkID, error)                     {}

// Links whose lanes share qubits have them for equal times, whatever they make with them,
// as soon as both want them; one that comes has no claim to what it did not take.
func TestLinksShareQubits(t *testing.T) {
	kinds := map[rune]link.Request{'S': {Store: true}, 'K': {}, 'M': {Type: link.Measure, Bases: pauli}}
	spec := physical.Spec{Storage: 4, Init: 5 * time.Microsecond, Gate1: time.Microsecond, Gate2: 3 * time.Microsecond, Readout: 2 * time.Microsecond}
	for _, qubits := range []int{1, 3} {
		spec.Communication = qubits
		var alone map[rune]float64 // pairs a second
		for _, mix := range []string{"K", "S", "M", "KK", "SS", "SK", "MK", "MM", "MS"} {
			s := newStar(t, 0.01, qubits, spec)
			var ids []link.RequestID
			for i, k := range mix {
				s.run(time.Second)
				r := kinds[k]
				r.Limit, r.Deadline = 1<<40, qnet.Never
				id, err := s.layers[0].Create(physical.LinkID(2+i), r)
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			}
			s.run(200 * time.Millisecond) // what was measured before is announced late
			had := [2]int{s.got[2], s.got[3]}
			s.run(2 * time.Second)
			if len(mix) == 1 {
				if alone == nil {
					alone = make(map[rune]float64)
				}
				alone[rune(mix[0])] = float64(s.got[2]-had[0]) / 2
				continue
			}
			for i, before := range had {
				n, want := s.got[physical.LinkID(2+i)]-before, alone[rune(mix[i])]
				if math.Abs(float64(n)-want) > 5*math.Sqrt(2*want)+0.03*want {
					t.Errorf("%s, %d qubits: %c has %d pairs in 2 s, %.0f in 1 s alone", mix, qubits, mix[i], n, want)
				}
			}
			for i := range mix { // what one leaves the other has
				s.layers[0].End(physical.LinkID(2+i), ids[i], qnet.ErrCancelled)
				had := s.got[3]
				s.run(time.Second)
				if n := float64(s.got[3] - had); i == 0 && n < 0.85*alone[rune(mix[1])] {
					t.Errorf("%s, %d qubits: %.0f pairs in 1 s when the other is over, %.0f alone", mix, qubits, n, alone[rune(mix[1])])
				}
			}
			for _, l := range s.layers {
				if err := l.Idle(); err != nil {
					t.Error(err)
				}
			}
			if l := s.fabric.Ledger(); len(l) > 0 {
				t.Errorf("%d qubits left, the first: %v", len(l), l[0])
			}
		}
	}
}
