package spectrum_test

// The reference of a shared source: the whole of it at once, photon by photon.
// Pairs and dark counts come at random instants; each photon takes a port, may be
// lost, and makes a detector of the user at the port click; what clicks within
// one window is compared between all users. It uses nothing of package spectrum.

import (
	"math"
	"math/rand/v2"
)

// emitter is a pair of channels.
type emitter struct {
	pairs      float64 // per window
	visibility float64
	ports      [2][]int // users at the ports of each channel; −1 where nobody is
	survival   [2]float64
}

// receiver is a user.
type receiver struct{ efficiency, dark float64 } // dark counts of a detector per window

type network struct {
	emitters  []emitter
	receivers []receiver
	rng       *rand.Rand
}

// run lasts so many windows and returns how often two users both saw something,
// by the users (the lower one first) and by whether their bits differ.
func (n network) run(windows float64) [][][2]int {
	count := make([][][2]int, len(n.receivers))
	for i := range count {
		count[i] = make([][2]int, len(n.receivers))
	}
	var upTo []float64 // rates of what happens: a pair of each emitter, a dark count of each receiver
	total := 0.0
	for _, e := range n.emitters {
		total += e.pairs
		upTo = append(upTo, total)
	}
	for _, r := range n.receivers {
		total += 2 * r.dark
		upTo = append(upTo, total)
	}
	clicks := make([][2]bool, len(n.receivers))
	var lit []int // users with a click in this window
	click := func(user, detector int) {
		if !clicks[user][0] && !clicks[user][1] {
			lit = append(lit, user)
		}
		clicks[user][detector] = true
	}
	now, window := 0.0, 0.0
	for {
		now += n.rng.ExpFloat64() / total
		if w := math.Floor(now); w != window {
			n.compare(lit, clicks, count)
			for _, u := range lit {
				clicks[u] = [2]bool{}
			}
			lit, window = lit[:0], w
		}
		if now >= windows {
			return count
		}
		what, u := 0, n.rng.Float64()*total
		for what < len(upTo)-1 && u >= upTo[what] {
			what++
		}
		if what >= len(n.emitters) {
			click(what-len(n.emitters), n.rng.IntN(2))
			continue
		}
		e := n.emitters[what]
		bits := [2]int{n.rng.IntN(2), 0}
		if bits[1] = bits[0]; n.rng.Float64() >= e.visibility {
			bits[1] = n.rng.IntN(2)
		}
		for side, bit := range bits {
			if len(e.ports[side]) == 0 {
				continue
			}
			user := e.ports[side][n.rng.IntN(len(e.ports[side]))]
			if user >= 0 && n.rng.Float64() < e.survival[side]*n.receivers[user].efficiency {
				click(user, bit)
			}
		}
	}
}

func (n network) compare(lit []int, clicks [][2]bool, count [][][2]int) {
	if len(lit) < 2 {
		return
	}
	bits := make([]int, len(lit))
	for i, u := range lit {
		switch c := clicks[u]; {
		case c[0] && c[1]:
			bits[i] = n.rng.IntN(2)
		case c[1]:
			bits[i] = 1
		}
	}
	for i, a := range lit {
		for j, b := range lit[:i] {
			count[min(a, b)][max(a, b)][bits[i]^bits[j]]++
		}
	}
}
