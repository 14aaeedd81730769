package expect

import (
	"math"

	"qstack/node/scenario"
	"qstack/qnet"
)

// The axes of correlators.
const (
	x = iota
	y
	z
)

// correlators are ⟨XX⟩, −⟨YY⟩ and ⟨ZZ⟩ of a Bell-diagonal pair relative to the
// Bell state that it is announced as: 1, 1, 1 when it is that state.
type correlators [3]float64

// times returns the correlators of two pairs joined by a perfect swap.
func (c correlators) times(d correlators) correlators {
	return correlators{c[x] * d[x], c[y] * d[y], c[z] * d[z]}
}

// weights are the probabilities that a pair is the Bell state it is announced
// as (0), or that one with a phase flip (1), a bit flip (2) or both (3).
type weights [4]float64

// correlators returns the Hadamard transform of w.
func (w weights) correlators() correlators {
	return correlators{
		x: w[0] - w[1] + w[2] - w[3],
		y: w[0] - w[1] - w[2] + w[3],
		z: w[0] + w[1] - w[2] - w[3],
	}
}

// node is the hardware of a node on the path, times in seconds.
type node struct {
	init, gate1, bsm, readout float64
	dephasing, depolarising   float64 // rates of a stored qubit, 1/s
	gateError, readoutError   float64
	cutoff                    float64 // 0 for none
}

// decayXY returns the rate at which a qubit here loses its X and Y.
func (n *node) decayXY() float64 { return n.dephasing + n.depolarising }

// decayZ returns the rate at which a qubit here loses its Z.
func (n *node) decayZ() float64 { return n.depolarising }

// measureTime returns how long a measurement with a rotation takes.
func (n *node) measureTime() float64 { return n.gate1 + n.readout }

// bellMeasurement returns what a Bell measurement makes of the correlators: the
// gate depolarises, one read-out bit tells the phase and the other the bit flip.
func (n *node) bellMeasurement() correlators {
	q, r := 1-n.gateError, 1-2*n.readoutError
	return correlators{x: q * r, y: q * r * r, z: q * r}
}

// link is a link of the path.
type link struct {
	probability float64 // of success per attempt
	period      float64 // seconds
	delay       float64 // seconds from end to end, and from emission to herald
	lanes       int
	pair        correlators
	oneLabel    bool // all heralds announce Φ+; otherwise Ψ+ and Ψ−, equally often
}

// chain is a path: links[i] joins nodes[i] and nodes[i+1].
type chain struct {
	nodes []node
	links []link
}

func (c *chain) head() *node { return &c.nodes[0] }
func (c *chain) tail() *node { return &c.nodes[len(c.nodes)-1] }

// inner returns the nodes that swap.
func (c *chain) inner() []node { return c.nodes[1 : len(c.nodes)-1] }

// newChain returns the path over the given nodes and links of s.
func newChain(s *scenario.Scenario, nodes, links []int) (*chain, error) {
	c := &chain{}
	for i, pos := range nodes {
		n := &s.Nodes[pos]
		h := &n.Hardware
		if h.Preset != nil {
			return nil, unexpected("node "+n.Name, "hardware", h.Preset.Name)
		}
		if h.T1 > 0 {
			return nil, qnet.Errorf(qnet.ErrUnsupported,
				"node %s: hardware %s relaxes (t1 = %g s), and pairs with relaxation are not Bell-diagonal: no expected values; leave out t1 to have them", n.Name, h.Name, h.T1)
		}
		v := node{
			init: h.Init.Seconds(), gate1: h.Gate1.Seconds(), readout: h.Readout.Seconds(),
			bsm:       (h.Gate2 + h.Gate1 + h.Readout).Seconds(),
			dephasing: rate(h.T2), depolarising: rate(h.Depolarising),
			gateError: h.Gate2Depolarising, readoutError: h.ReadoutError,
		}
		if 0 < i && i < len(nodes)-1 { // end nodes have no cut-off
			v.cutoff = s.Cutoff(pos).Seconds()
		}
		c.nodes = append(c.nodes, v)
	}
	for _, pos := range links {
		l := &s.Links[pos]
		if h := l.Heralding.Preset; h != nil {
			return nil, unexpected("link "+l.Name, "heralding", h.Name)
		}
		p, w := herald(&l.Heralding)
		c.links = append(c.links, link{
			probability: p,
			period:      l.Heralding.Period() * 1e-9,
			delay:       (2 * s.HalfDelay(l)).Seconds(),
			lanes:       l.Lanes,
			pair:        w.correlators(),
			oneLabel:    l.Heralding.Model == scenario.Ideal,
		})
	}
	return c, nil
}

// unexpected says that nothing is expected of hardware or heralding that is a
// preset.
func unexpected(of, what, name string) error {
	return qnet.Errorf(qnet.ErrUnsupported,
		"%s: %s is the preset %s: there are formulas for expected values of ideal and double-click links between hardware given in the scenario itself", of, what, name)
}

// rate returns the rate of a time constant, 0 for none.
func rate(seconds float64) float64 {
	if seconds > 0 {
		return 1 / seconds
	}
	return 0
}

// herald returns the success probability of an attempt and the pair that a
// success leaves.
func herald(h *scenario.Heralding) (p float64, w weights) {
	if h.Model == scenario.Ideal {
		bad := (1 - h.Fidelity) / 3
		return h.Probability, weights{h.Fidelity, bad, bad, bad}
	}
	return doubleClick(h.Efficiency, h.Visibility, h.DarkCounts, h.NumberResolving)
}

// doubleClick returns the success probability and the heralded pair of the
// protocol of Barrett and Kok with imperfect parts: eta is the probability that
// a photon is detected, v the squared overlap of the two photons, dark the
// probability of a dark count per detector and bin. A success is a click of
// exactly one of two detectors in each of the two bins.
//
// With the qubits opposite (half of the time) there is a photon in each bin:
//
//	both seen, no other detector dark: coherent up to the overlap, so the
//	phase is right with (1+v)/2;
//	one or none seen, dark counts instead: no coherence, any phase.
//
// With equal qubits both photons are in one bin, and the other needs a dark
// count; the pair has a bit flip and any phase. Photons that overlap bunch: both
// reach one detector with (1+v)/2, which one that counts photons refuses.
func doubleClick(eta, v, dark float64, resolving bool) (p float64, w weights) {
	const detectors = 2
	quiet := 1 - dark
	both, one, none := eta*eta, 2*eta*(1-eta), (1-eta)*(1-eta)
	// A bin without photon passes with onlyDark; one with a seen photon, that
	// the other detector stays quiet, with quiet.
	onlyDark := detectors * dark * quiet

	coherent := both * quiet * quiet
	opposite := one*quiet*onlyDark + none*onlyDark*onlyDark
	bunched := 0.
	if !resolving {
		bunched = both * (1 + v) / 2 * quiet
	}
	equal := onlyDark * (bunched + one*quiet + none*onlyDark)

	total := coherent + opposite + equal
	w[0] = (coherent*(1+v)/2 + opposite/2) / total
	w[1] = (coherent*(1-v)/2 + opposite/2) / total
	w[2] = equal / 2 / total
	w[3] = w[2]
	return total / 2, w
}

// pair returns the correlators of an end-to-end pair apart from the decay of
// stored qubits and the read-out at the ends.
func (c *chain) pair() correlators {
	state := correlators{1, 1, 1}
	for i := range c.links {
		state = state.times(c.links[i].pair)
	}
	for i := range c.inner() {
		state = state.times(c.inner()[i].bellMeasurement())
	}
	return state
}

// times are the instants of one end-to-end pair in seconds.
type times struct {
	emitted []float64 // of each link pair
	swapped []float64 // end of the Bell measurement of each inner node
	asked   float64   // when the pair was asked for
}

// loss is the exponent of a decay: a correlator of X or Y is multiplied by
// e^−xy, one of Z by e^−z.
type loss struct{ xy, z float64 }

// add adds the loss of a qubit that n stores for so many seconds.
func (l *loss) add(n *node, seconds float64) {
	l.xy += n.decayXY() * seconds
	l.z += n.decayZ() * seconds
}

// inner returns the loss of the halves that are swapped.
func (c *chain) innerLoss(t *times) (l loss) {
	inner := c.inner()
	for i := range inner {
		l.add(&inner[i], t.swapped[i]-t.emitted[i])
		l.add(&inner[i], t.swapped[i]-t.emitted[i+1])
	}
	return l
}

// measured returns the loss of a pair whose ends both measure on the herald.
func (c *chain) measured(t *times) loss {
	l := c.innerLoss(t)
	for _, end := range []struct {
		n *node
		l *link
	}{{c.head(), &c.links[0]}, {c.tail(), &c.links[len(c.links)-1]}} {
		l.xy += end.n.decayXY() * (end.l.delay + end.n.measureTime())
		l.z += end.n.decayZ() * (end.l.delay + end.n.readout)
	}
	return l
}

// track returns when TRACK reaches an end: it leaves the other end on the
// herald there, and each swapping node when the swap is done.
func (c *chain) track(t *times, toHead bool) float64 {
	n := len(c.links)
	if toHead {
		at := t.emitted[n-1] + c.links[n-1].delay
		for i := n - 1; i > 0; i-- {
			at = max(at+c.links[i].delay, t.swapped[i-1])
		}
		return at + c.links[0].delay
	}
	at := t.emitted[0] + c.links[0].delay
	for i := range n - 1 {
		at = max(at+c.links[i].delay, t.swapped[i])
	}
	return at + c.links[n-1].delay
}

// teleported returns the loss of a state that is teleported as soon as the pair
// is there, from its preparation (when the pair was asked for) to its
// measurement at the tail end; without the gates that correct.
func (c *chain) teleported(t *times) loss {
	head, tail := c.head(), c.tail()
	sent := c.track(t, true) + head.bsm
	arrived := sent
	for i := range c.links {
		arrived += c.links[i].delay
	}
	l := c.innerLoss(t)
	l.add(head, sent-t.asked)
	l.add(head, sent-t.emitted[0])
	l.add(tail, arrived-t.emitted[len(c.links)-1])
	l.xy += tail.decayXY() * tail.measureTime()
	l.z += tail.decayZ() * tail.readout
	return l
}

// corrections returns the mean decay during the gates that correct in a
// teleportation: X and Z, each if needed, at the head to turn the pair into Φ+,
// while its half, the state and the tail's half wait, and at the tail.
func (c *chain) corrections() (xy, z float64) {
	head, tail := c.head(), c.tail()
	needX, needZ := 0.5, 0.5 // by a random outcome of a swap
	if len(c.links) == 1 {
		if c.links[0].oneLabel {
			needX, needZ = 0, 0
		} else {
			needX = 1
		}
	}
	mean := func(need, exponent float64) float64 { return 1 - need + need*math.Exp(-exponent) }
	atHead := loss{2 * head.decayXY(), 2 * head.decayZ()}
	atHead.add(tail, 1)
	xy = mean(needX, atHead.xy*head.gate1) * mean(needZ, atHead.xy*head.gate1)
	z = mean(needX, atHead.z*head.gate1) * mean(needZ, atHead.z*head.gate1)
	outcome := mean(0.5, tail.decayXY()*tail.gate1)
	xy *= outcome * outcome
	outcome = mean(0.5, tail.decayZ()*tail.gate1)
	z *= outcome * outcome
	return xy, z
}
