package network

import (
	"cmp"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
)

// Topology is what every node knows of the network: the nodes, the links
// between them and how good they are, as characterised.
type Topology struct {
	Nodes []Node
	Links []Link
}

// Node is one node of a topology.
type Node struct {
	ID   qnet.NodeID
	Name string
	Spec *physical.Spec
}

// Link is one link of a topology.
type Link struct {
	ID   physical.LinkID
	A, B qnet.NodeID
	// Weights is the Bell-diagonal state of a heralded pair, averaged over the
	// heralds, each turned so that its announced state is Φ+: Weights[0] is the
	// fidelity, the others are errors by label.
	Weights [4]float64
	// PairTime is the mean time between heralds when one lane attempts without
	// pause.
	PairTime time.Duration
	// Delay is the travel time of light from end to end.
	Delay time.Duration
	// Lanes is the number of pairs that the link holds at a time.
	Lanes int
}

// other returns the end of the link that is not id.
func (k *Link) other(id qnet.NodeID) qnet.NodeID {
	if k.A == id {
		return k.B
	}
	return k.A
}

// graph is an indexed topology.
type graph struct {
	node  map[qnet.NodeID]*Node
	links map[qnet.NodeID][]*Link // by end, ordered by the name of the other
}

func newGraph(t *Topology) *graph {
	g := &graph{node: make(map[qnet.NodeID]*Node, len(t.Nodes)), links: make(map[qnet.NodeID][]*Link, len(t.Nodes))}
	for i := range t.Nodes {
		g.node[t.Nodes[i].ID] = &t.Nodes[i]
	}
	for i := range t.Links {
		k := &t.Links[i]
		g.links[k.A] = append(g.links[k.A], k)
		g.links[k.B] = append(g.links[k.B], k)
	}
	for i := range t.Nodes {
		id := t.Nodes[i].ID
		slices.SortFunc(g.links[id], func(a, b *Link) int {
			return cmp.Compare(g.name(a.other(id)), g.name(b.other(id)))
		})
	}
	return g
}

func (g *graph) name(id qnet.NodeID) string {
	if n := g.node[id]; n != nil {
		return n.Name
	}
	return id.String()
}

// link returns the link between two neighbours.
func (g *graph) link(a, b qnet.NodeID) *Link {
	for _, k := range g.links[a] {
		if k.other(a) == b {
			return k
		}
	}
	return nil
}

// unable says why a node can not swap pairs of two of its links, "" when it can:
// halves stay in communication qubits until both are there.
func unable(s *physical.Spec) string {
	switch {
	case s == nil:
		return ""
	case s.Communication == 1:
		return "its links share one communication qubit"
	case s.Coupling == physical.CouplingStar:
		return "its communication qubits do not interact with each other"
	}
	return ""
}

// path returns a path with the fewest links over nodes that can swap, nil if
// there is none; of several, the one whose names come first.
func (g *graph) path(from, to qnet.NodeID) []qnet.NodeID {
	return g.search(from, to, func(n *Node) bool { return n == nil || unable(n.Spec) == "" })
}

// search returns such a path over nodes that pass.
func (g *graph) search(from, to qnet.NodeID, pass func(*Node) bool) []qnet.NodeID {
	prev := map[qnet.NodeID]qnet.NodeID{from: 0}
	for queue := []qnet.NodeID{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to {
			var p []qnet.NodeID
			for ; at != 0; at = prev[at] {
				p = append(p, at)
			}
			slices.Reverse(p)
			return p
		}
		if at != from && !pass(g.node[at]) {
			continue
		}
		for _, k := range g.links[at] {
			next := k.other(at)
			if _, seen := prev[next]; !seen {
				prev[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}
