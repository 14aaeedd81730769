package expect

import (
	"slices"

	"qstack/node/scenario"
	"qstack/qnet"
)

// Path returns the names of the nodes on the shortest path by hops, ends
// included. Of several it is the one whose names come first, node by node from
// from.
func Path(s *scenario.Scenario, from, to string) ([]string, error) {
	nodes, _, err := route(s, from, to)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = s.Nodes[n].Name
	}
	return names, nil
}

// route returns the positions of the nodes and links of the path.
func route(s *scenario.Scenario, from, to string) (nodes, links []int, err error) {
	a, err := s.NodeIndex(from)
	if err != nil {
		return nil, nil, err
	}
	b, err := s.NodeIndex(to)
	if err != nil {
		return nil, nil, err
	}
	if a == b {
		return nil, nil, qnet.Errorf(qnet.ErrInvalid, "%s to itself: a path joins two nodes", from)
	}

	type edge struct{ peer, link int }
	edges := make([][]edge, len(s.Nodes))
	for i, l := range s.Links {
		edges[l.A] = append(edges[l.A], edge{l.B, i})
		edges[l.B] = append(edges[l.B], edge{l.A, i})
	}
	hops := make([]int, len(s.Nodes)) // to b, plus 1; 0 where not reached
	hops[b] = 1
	for queue := []int{b}; len(queue) > 0; queue = queue[1:] {
		for _, e := range edges[queue[0]] {
			if hops[e.peer] == 0 {
				hops[e.peer] = hops[queue[0]] + 1
				queue = append(queue, e.peer)
			}
		}
	}
	if hops[a] == 0 {
		return nil, nil, qnet.Errorf(qnet.ErrNoRoute, "network %s: no links lead from %s to %s: add one to the scenario, or choose other nodes", s.Name, from, to)
	}
	nodes = []int{a}
	for at := a; at != b; {
		nearer := slices.DeleteFunc(slices.Clone(edges[at]), func(e edge) bool { return hops[e.peer] != hops[at]-1 })
		next := slices.MinFunc(nearer, func(e, f edge) int {
			if s.Nodes[e.peer].Name < s.Nodes[f.peer].Name {
				return -1
			}
			return 1
		})
		at = next.peer
		nodes = append(nodes, at)
		links = append(links, next.link)
	}
	return nodes, links, nil
}
