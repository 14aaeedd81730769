package network_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"qstack/physical"
)

// The events of a node, by letter. Which of them happen at a node and in which
// order is what the tests below go through.
//
//	P  the REPLY of an end's own link
//	U  the REPLY of the link towards the head, at a node between
//	D  the same towards the tail
//	A  both, one after the other
//	S  the end of the Bell-state measurement
//	X  the cut-off of the half that waits
//	H  the arrival of a message from the side of the head
//	T  the same from the side of the tail
//
// do makes an event happen, if it can yet.
func (n *simNode) do(e byte) bool {
	reply := func(k int) bool {
		l := n.s.links[k]
		i := slices.IndexFunc(l.pairs, func(p *simPair) bool { return !p.heard[n.i-k] })
		if i < 0 {
			return false
		}
		l.pairs[i].reply(n.i - k)
		return true
	}
	switch e {
	case 'P':
		return reply(max(0, n.i-1))
	case 'U':
		return reply(n.i - 1)
	case 'D':
		return reply(n.i)
	case 'A':
		if n.i%2 == 0 {
			return reply(n.i-1) && reply(n.i)
		}
		return reply(n.i) && reply(n.i-1)
	case 'S':
		return n.finish()
	case 'X':
		n.s.logf("%s discards what waits for too long", n.name())
		if err := n.loop.RunUntil(n.oldest().made.Add(cutOff)); err != nil {
			n.s.t.Fatal(err)
		}
		return true
	case 'H':
		return n.deliver(0)
	case 'T':
		return n.deliver(1)
	}
	panic("no such event")
}

// follow makes the events of each node happen in its order, and reports whether
// that is possible: a message can not arrive before it was sent.
func (s *sim) follow(orders []string) bool {
	orders = slices.Clone(orders)
	for left := len(strings.Join(orders, "")); left > 0; {
		before := left
		for i, n := range s.nodes {
			for orders[i] != "" && n.do(orders[i][0]) {
				orders[i] = orders[i][1:]
				left--
			}
		}
		if left == before {
			return false
		}
	}
	return true
}

// greedy lets everything happen that can until nothing is left to do.
func (s *sim) greedy() {
	for busy := true; busy; {
		busy = false
		for _, l := range s.links {
			if l.wants() {
				l.herald()
			}
		}
		for _, n := range s.nodes {
			busy = n.all() || busy
		}
	}
}

// all does each thing that the node can do, once.
func (n *simNode) all() (done bool) {
	for _, e := range "UDSHT" {
		if n.i == 0 && e == 'U' || n == n.s.tail() && e == 'D' {
			continue
		}
		done = n.do(byte(e)) || done
	}
	return done
}

// permutations returns the orders of some events in which each one that is
// listed in chain comes after those listed before it.
func permutations(events, chain string) []string {
	if events == "" {
		return []string{""}
	}
	var out []string
	for i := range events {
		rest := events[:i] + events[i+1:]
		blocked := false
		if at := strings.IndexByte(chain, events[i]); at >= 0 {
			blocked = strings.ContainsAny(rest, chain[:at])
		}
		if blocked {
			continue
		}
		for _, p := range permutations(rest, chain) {
			out = append(out, events[i:i+1]+p)
		}
	}
	return out
}

// In a chain of five nodes, the swap of each node between comes before or after
// the TRACK of either end has reached it, and each end has its own half before or
// after the TRACK of the other: in all orders that are possible, both ends deliver
// the pair under one name and its true label, and nothing is left.
func TestOrdersOfSwapAndTrack(t *testing.T) {
	between := permutations("ASHT", "AS")
	ends := [2][]string{permutations("PT", ""), permutations("PH", "")}
	possible, orders := 0, 0
	seen := make(map[string]bool)
	for _, h := range ends[0] {
		for _, a := range between {
			for _, b := range between {
				for _, c := range between {
					for _, tl := range ends[1] {
						order := []string{h, a, b, c, tl}
						orders++
						if !tryOrder(t, order, uint64(orders)) {
							continue
						}
						possible++
						for i, o := range order {
							seen[fmt.Sprint(i, o)] = true
						}
					}
				}
			}
		}
	}
	t.Logf("%d of %d orders are possible", possible, orders)
	if want := 3*len(between) + 4; len(seen) != want {
		t.Errorf("%d orders at one node have been possible, want all %d", len(seen), want)
	}
	// Which halves come first matters to one node alone.
	for i := 1; i <= 3; i++ {
		for _, o := range permutations("UDSHT", "US") {
			if strings.IndexByte(o, 'D') > strings.IndexByte(o, 'S') {
				continue
			}
			s := newSim(t, 5, 3)
			s.connect()
			s.request(1, 1)
			s.flow()
			s.heraldAll()
			s.others(i, o)
			s.greedy()
			s.check(1)
			s.close()
		}
	}
}

func (s *sim) heraldAll() {
	for _, l := range s.links {
		l.herald()
	}
}

// others lets everything happen at the other nodes that can, while the events of
// node i come in an order.
func (s *sim) others(i int, order string) {
	for busy, left := true, order; busy; {
		busy = false
		for _, n := range s.nodes {
			if n.i != i {
				busy = n.all() || busy
			} else if left != "" && n.do(left[0]) {
				left, busy = left[1:], true
			}
		}
		if !busy && left != "" {
			s.fatalf("node %d can not do %s of %s", i, left, order)
		}
	}
}

// tryOrder sends one pair over the chain in an order, if that is possible.
func tryOrder(t *testing.T, order []string, seed uint64) bool {
	s := newSim(t, len(order), seed)
	defer s.close()
	s.connect()
	s.request(1, 1)
	s.flow()
	s.heraldAll()
	s.logf("order %q", order)
	if !s.follow(order) {
		return false
	}
	s.greedy()
	s.check(1)
	return true
}

// Each node between discards the first half that it gets, on either side, before
// or after the TRACK that will meet it, in every order with what the other nodes
// do meanwhile: the end whose TRACK it was takes another pair, and then all is as
// if nothing had happened.
func TestOrdersOfDiscardAndTrack(t *testing.T) {
	possible, total := 0, 0
	for i := 1; i <= 3; i++ {
		for _, up := range []bool{true, false} {
			// The side of the discarded half sends TRACK dead; the other live.
			first, second, dead, live := "U", "D", "H", "T"
			if !up {
				first, second, dead, live = second, first, live, dead
			}
			discarding := permutations(first+"X"+second+dead+live, first+"X"+second)
			towards := map[bool][]string{true: permutations("ASH", "AS"), false: permutations("AST", "AS")}
			var others [2][][]string // nodes before and after, in all combinations
			others[0] = product(towards[true], i-1)
			others[1] = product(towards[false], 3-i)
			for _, o := range discarding {
				for _, before := range others[0] {
					for _, after := range others[1] {
						order := append(append(append([]string{"P"}, before...), o), after...)
						order = append(order, "P")
						total++
						if tryDiscard(t, order, i, up, uint64(total)) {
							possible++
						}
					}
				}
			}
		}
	}
	t.Logf("%d of %d orders are possible", possible, total)
	if possible < total/2 {
		t.Error("the test tests little")
	}
}

// product returns all lists of n of the strings.
func product(set []string, n int) [][]string {
	if n == 0 {
		return [][]string{nil}
	}
	var out [][]string
	for _, rest := range product(set, n-1) {
		for _, s := range set {
			out = append(out, append(slices.Clone(rest), s))
		}
	}
	return out
}

func tryDiscard(t *testing.T, order []string, node int, up bool, seed uint64) bool {
	s := newSim(t, len(order), seed)
	defer s.close()
	s.connect()
	s.request(1, 1)
	s.flow()
	if up {
		s.heraldAll()
	} else { // what is discarded is older
		for _, l := range slices.Backward(s.links) {
			l.herald()
		}
	}
	s.logf("node %d, up %v, order %q", node, up, order)
	if !s.follow(order) {
		return false
	}
	s.greedy()
	s.check(1)
	return true
}

// Many pairs, in chains of two to four links, with discards, withdrawals by the
// link, failed swaps, requests one after the other or at the same time,
// some of which are cancelled, in random order of all events: both ends deliver
// the same pairs, truly so, and nothing is left.
func TestRandomOrders(t *testing.T) {
	for seed := range runs(6000) {
		s, rng := randomSim(t, seed)
		s.connect()
		pairs := s.random(rng, seed%3 == 0, false)
		s.check(pairs)
		s.close()
	}
}

// The same, until one of the streams breaks at a random moment: every node frees
// all that it holds, and both ends hear of it.
func TestRandomBreak(t *testing.T) {
	for seed := range runs(3000) {
		s, rng := randomSim(t, seed)
		s.connect()
		s.random(rng, seed%3 == 0, true)
		s.broken()
		s.close()
	}
}

// broken checks that nothing is left of a circuit of which a stream broke.
func (s *sim) broken() {
	s.flow()
	s.greedy()
	for _, n := range s.nodes {
		for n.finish() {
		}
		if err := n.layer.Idle(); err != nil {
			s.fatalf("%v", err)
		}
		if len(n.qubits) > 0 {
			s.fatalf("%s holds %d qubits", n.name(), len(n.qubits))
		}
	}
	for _, n := range []*simNode{s.head(), s.tail()} {
		if n.downErr == nil {
			s.fatalf("%s has not heard that the circuit is down", n.name())
		}
	}
}

func runs(n uint64) uint64 {
	if testing.Short() {
		return n / 10
	}
	return n
}

func randomSim(t *testing.T, seed uint64) (*sim, *rand.Rand) {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := newSim(t, 3+rng.IntN(3), seed)
	measure := rng.IntN(3) == 0
	s.head().keep, s.tail().keep = !measure, !measure
	s.logf("seed %d", seed)
	return s, rng
}

// random runs events in random order until all requests are done, or until it
// breaks a stream. It returns the pairs of requests that were not cancelled.
func (s *sim) random(rng *rand.Rand, cancel, breaks bool) (pairs int) {
	budget := rng.IntN(12)
	for _, l := range s.links {
		l.lanes = 1 + rng.IntN(2)
	}
	requests := 1 + rng.IntN(3)
	asked := [2]int{} // requests made by head and tail
	over := [2]int{}  // of these, done or cancelled
	var sizes []int
	for id := range requests {
		sizes = append(sizes, 1+rng.IntN(3))
		if cancel && rng.IntN(2) == 0 {
			s.cancelled[uint64(id)] = true
		} else {
			pairs += sizes[id]
		}
	}
	breakAt := rng.IntN(60 * requests)
	ends := [2]*simNode{s.head(), s.tail()}
	for step := 0; ; step++ {
		if step > 100_000 {
			s.fatalf("no end")
		}
		var moves []func()
		add := func(f func()) { moves = append(moves, f) }
		waste := func(f func()) {
			if budget > 0 {
				add(func() { budget--; f() })
			}
		}
		for side, n := range ends {
			if asked[side] < requests {
				add(func() {
					id := asked[side]
					asked[side]++
					s.logf("%s asks for request %d, %d pairs", n.name(), id, sizes[id])
					s.ask(n, uint64(id), uint64(sizes[id]))
				})
			}
			over[side] = 0
			for id := range uint64(asked[side]) {
				switch {
				case slices.Contains(n.done, id):
					over[side]++
				case s.cancelled[id]:
					add(func() {
						s.logf("%s cancels request %d", n.name(), id)
						n.circuit.Cancel(id)
						n.done = append(n.done, id)
						n.settle()
					})
				}
			}
		}
		for _, l := range s.links {
			if l.wants() {
				add(func() { l.herald() })
			}
			for _, p := range l.pairs {
				for side := range 2 {
					if !p.heard[side] {
						add(func() { p.reply(side) })
						if !p.void[1-side] {
							waste(func() { p.withdraw(side) })
						}
					}
					if p.void[1-side] && !p.told[side] {
						add(func() { p.tell(side) })
					}
				}
			}
		}
		for _, n := range s.nodes {
			for from := range n.inbox {
				if len(n.inbox[from]) > 0 {
					add(func() { n.deliver(from) })
				}
			}
			if len(n.busy) > 0 {
				add(func() { n.finish() })
				if n.busy[0].op.Kind == physical.OpBSM {
					waste(func() { n.fail() })
				}
			}
			if n != ends[0] && n != ends[1] && len(n.qubits) > 0 {
				waste(func() { n.do('X') })
			}
		}
		done := len(moves) == 0 && over[0] == requests && over[1] == requests
		if breaks && (done || step == breakAt) {
			s.streams[rng.IntN(len(s.streams))].fail()
			done = true
		}
		if done {
			return pairs
		}
		if len(moves) == 0 { // time passes
			for _, n := range s.nodes[1 : len(s.nodes)-1] {
				if q := n.oldest(); q != nil && n.loop.Now() < q.made.Add(cutOff) {
					add(func() { n.do('X') })
				}
			}
		}
		if len(moves) == 0 {
			s.fatalf("stuck with %d and %d of %d requests done", over[0], over[1], requests)
		}
		moves[rng.IntN(len(moves))]()
	}
}

// A request that is asked for as the one before is completed may have a pair that
// was made for its predecessor. Its tail's TRACK passes before the news that
// nothing is wanted, its head's after: both ends have it all the same.
func TestRequestAfterRequest(t *testing.T) {
	s := newSim(t, 3, 1)
	defer s.close()
	s.connect()
	head, between, tail := s.nodes[0], s.nodes[1], s.nodes[2]
	s.ask(tail, 0, 1)
	s.ask(tail, 1, 1)
	s.ask(head, 0, 1)
	s.flow() // FORWARD
	s.heraldAll()
	if !s.follow([]string{"PT", "ASHT", "PH"}) { // request 0 is complete; COMPLETE is on its way
		t.Fatal("the order is not possible")
	}
	s.ask(head, 1, 1)
	s.heraldAll()
	if !s.follow([]string{"PT", "AST", "P"}) {
		t.Fatal("the order is not possible")
	}
	if len(head.done) != 2 || len(tail.done) != 1 || len(between.inbox[0]) != 4 {
		s.fatalf("done %v and %v, %d messages to n1: the test is not in the state that it is about", head.done, tail.done, len(between.inbox[0]))
	}
	s.greedy()
	s.check(2)
}
