package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"qstack/node"
	"qstack/physical/fabric"
)

// Answer is what a process said when it was asked for its status.
type Answer struct {
	Status *Status
	Err    error // of one that did not answer
}

// Diagnose says why pairs between two nodes are not coming, from what the
// processes of their network say, by name. The most basic problems come first;
// none means that everything needed is there.
//
// Normal traffic fills a memory too, for a moment. So when one is full, Diagnose
// takes another look by later, which asks the processes again after a while, and
// names the memory only if no pair came meanwhile.
func Diagnose(from, to string, answers map[string]Answer, later func() (map[string]Answer, error)) ([]Problem, error) {
	d := &diagnosis{from: from, to: to, answers: answers}
	if !d.node(from) || !d.node(to) {
		return d.problems, nil
	}
	path := d.path()
	if path == nil {
		for _, name := range slices.Sorted(maps.Keys(answers)) {
			if answers[name].Err != nil {
				d.node(name) // perhaps the one that is missing
			}
		}
		d.say(from, fmt.Sprintf("no path of links leads from %s to %s", from, to), "check the links of the scenario")
		return d.problems, nil
	}
	for _, name := range path {
		d.node(name)
	}
	for i := 1; i < len(path); i++ {
		d.link(path[i-1], path[i])
		d.link(path[i], path[i-1])
	}
	if len(d.problems) == 0 {
		d.sockets()
	}
	full := d.shortages(path)
	if len(full) == 0 {
		return d.problems, nil
	}
	again, err := later()
	if err != nil {
		return nil, err
	}
	still := (&diagnosis{from: from, to: to, answers: again}).shortages(path)
	for _, s := range full {
		if slices.Contains(still, s) {
			d.problems = append(d.problems, s.Problem)
		}
	}
	return d.problems, nil
}

type diagnosis struct {
	from, to string
	answers  map[string]Answer
	problems []Problem
}

func (d *diagnosis) say(where, what, do string) {
	p := Problem{Where: where, What: what, Do: do}
	if !slices.Contains(d.problems, p) {
		d.problems = append(d.problems, p)
	}
}

func (d *diagnosis) status(name string) *Status { return d.answers[name].Status }

// node checks that a daemon answers and has its hardware.
func (d *diagnosis) node(name string) bool {
	a, ok := d.answers[name]
	switch {
	case !ok:
		d.say(name, "there is no daemon of that name", "check the name, or start the daemon")
	case a.Err != nil:
		d.say(name, fmt.Sprintf("the daemon does not answer: %v", a.Err), "start it again")
	case a.Status.Role == RoleFabric:
		d.say(name, "it is no node, but the process that emulates the hardware", "name two of the nodes: "+strings.Join(d.nodes(), ", "))
	case a.Status.Fabric != "":
		d.say(name, "its quantum hardware is gone: "+a.Status.Fabric, "start the fabric again")
	default:
		return true
	}
	return false
}

// nodes returns the names of the nodes, as far as they are known.
func (d *diagnosis) nodes() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(d.answers)), func(name string) bool { return name == node.FabricName })
}

// path finds the nodes between the ends by the links that the daemons report: a
// daemon that does not answer is known by those of its neighbours.
func (d *diagnosis) path() []string {
	neighbours := make(map[string][]string)
	for name, a := range d.answers {
		if a.Status == nil {
			continue
		}
		for _, k := range a.Status.Links {
			neighbours[name] = append(neighbours[name], k.Peer)
			neighbours[k.Peer] = append(neighbours[k.Peer], name)
		}
	}
	prev := map[string]string{d.from: ""}
	for queue := []string{d.from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == d.to {
			var p []string
			for ; at != ""; at = prev[at] {
				p = append(p, at)
			}
			slices.Reverse(p)
			return p
		}
		next := neighbours[at]
		slices.Sort(next)
		for _, n := range next {
			if _, seen := prev[n]; !seen {
				prev[n] = at
				queue = append(queue, n)
			}
		}
	}
	return nil
}

// end returns a node's end of its link to a peer.
func (d *diagnosis) end(at, peer string) *Link {
	st := d.status(at)
	if st == nil {
		return nil
	}
	for i := range st.Links {
		if st.Links[i].Peer == peer {
			return &st.Links[i]
		}
	}
	return nil
}

func (d *diagnosis) link(at, peer string) {
	if k := d.end(at, peer); k != nil && k.Down != "" {
		d.say(at, k.Down, "start the process that is not answering, or mend the connection to it")
	}
}

// shortage is an end of a link that wants pairs and can not get them now. It is
// equal to that of a later look if no pair came meanwhile.
type shortage struct {
	Problem
	pairs, expired uint64 // of that end
}

func (d *diagnosis) shortages(path []string) []shortage {
	var out []shortage
	look := func(at, peer string) {
		k, other := d.end(at, peer), d.end(peer, at)
		if k == nil || other == nil {
			return
		}
		wants := k.Wanted > 0 || len(path) == 2 && k.Requests > 0 // which may be for pairs that are measured at once
		held := d.held(at)
		switch {
		// Without a program's qubits these are halves that wait for their swap, which
		// go when their partners come.
		case wants && k.Open == 0 && k.Held >= k.Lanes && held > 0:
			out = append(out, shortage{Problem{at, fmt.Sprintf("memory full: all %d communication qubits of link %s are in use; programs at %s hold %d", k.Lanes, k.Name, at, held),
				"measure or free pairs that programs hold"}, k.Pairs, k.Expired})
		case k.Wanted > 0 && other.Wanted == 0 && other.Requests > 0 && other.Held < other.Lanes:
			out = append(out, shortage{Problem{peer, fmt.Sprintf("%s takes no pairs of link %s now, %s would", peer, k.Name, at), "make the program there ask too"},
				k.Pairs, k.Expired})
		}
	}
	for i := 1; i < len(path); i++ {
		look(path[i-1], path[i])
		look(path[i], path[i-1])
	}
	return out
}

// held returns how many communication qubits the programs of a node have: what
// they have in all, without the storage qubits, if the fabric tells them.
func (d *diagnosis) held(at string) int {
	n := d.status(at).Held
	if f := d.status(node.FabricName); f != nil {
		for _, q := range f.Qubits {
			if q.Node == at && q.Use == fabric.UseStorage.String() {
				n--
			}
		}
	}
	return n
}

// sockets checks that programs at both ends have a socket and asked for the
// same.
func (d *diagnosis) sockets() {
	between := func(at, peer string) []Socket {
		var out []Socket
		for _, s := range d.status(at).Sockets {
			if s.Peer == peer {
				out = append(out, s)
			}
		}
		return out
	}
	a, b := between(d.from, d.to), between(d.to, d.from)
	if len(a) == 0 && len(b) == 0 {
		d.say(d.from, fmt.Sprintf("no program has a socket between %s and %s", d.from, d.to), "dial one from a program")
		return
	}
	for _, s := range append(slices.Clone(a), b...) {
		at, peer := d.from, d.to
		if s.Peer == d.from {
			at, peer = d.to, d.from
		}
		if s.State != "open" {
			d.say(at, fmt.Sprintf("the socket of %s to %s:%d is %s", s.Program, peer, s.Port, s.State), "wait for it, or make the program at the other end accept it")
			continue
		}
		here, there := unmatched(s.Here), unmatched(s.There)
		switch {
		case len(here) > 0 && len(there) == 0:
			d.say(peer, fmt.Sprintf("the program at %s has not asked for %s; %s at %s has", peer, describeQuery(here[0]), s.Program, at),
				fmt.Sprintf("make the program at %s ask for the same", peer))
		case len(here) > 0 && len(there) > 0:
			d.say(at, fmt.Sprintf("the two programs ask for different things: %s at %s, %s at %s", describeQuery(here[0]), at, describeQuery(there[0]), peer),
				"make both ask for the same number of pairs, or one send what the other receives")
		}
	}
}

func unmatched(q []SocketQuery) []SocketQuery {
	return slices.DeleteFunc(slices.Clone(q), func(q SocketQuery) bool { return q.Matched })
}

func describeQuery(q SocketQuery) string {
	switch {
	case q.Pairs == 1:
		return fmt.Sprintf("1 pair (%s)", q.Kind)
	case q.Pairs > 1:
		return fmt.Sprintf("%d pairs (%s)", q.Pairs, q.Kind)
	}
	return strings.TrimSpace(q.Kind)
}
