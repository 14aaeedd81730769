package interop

import (
	"cmp"
	"fmt"
	"math"
	"math/cmplx"
	"slices"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/state"
	"qstack/physical/state/densetest"
	"qstack/qnet"
)

// step is something that happened to the state of a fabric: what a node asked for
// and was answered, or a herald.
type step struct {
	at    qnet.Time
	node  int
	op    physical.Op // its Kind is 0 for a herald, and for what did not happen
	res   physical.Result
	pair  [2]physical.Qubit // of a herald
	link  int
	label qnet.BellLabel
}

// reference is the textbook's account of a fabric, given what was reported of it.
// A read-out that errs does not tell what was measured, so there may be several
// states that the fabric can be in.
type reference struct {
	cfg    *fabric.Config
	worlds []possible
	homes  map[physical.Qubit]*home
	note   func(what string, p float64, bit uint8) // takes a bit and the probability that it is 1
}

// possible is a state and its probability.
type possible struct {
	weight float64
	*densetest.World[physical.Qubit]
}

// home is what is true of a qubit where it is.
type home struct {
	decay state.Decay
	noise physical.QubitNoise
	last  qnet.Time // it has decayed until
}

func newReference(cfg *fabric.Config, note func(string, float64, uint8)) *reference {
	return &reference{cfg, []possible{{1, densetest.New[physical.Qubit]()}}, make(map[physical.Qubit]*home), note}
}

// qubits returns those that have a state.
func (r *reference) qubits() []physical.Qubit { return slices.Clone(r.worlds[0].Qubits) }

// replay lets steps happen in the order of time. Of one instant those that come
// first in the list are first: these are heralds, then what each node did in the
// order in which it was asked for. What different nodes do commutes.
func (r *reference) replay(steps []*step) error {
	slices.SortStableFunc(steps, func(a, b *step) int { return cmp.Compare(a.at, b.at) })
	for _, s := range steps {
		if err := r.apply(s); err != nil {
			return fmt.Errorf("%+v: %w", *s, err)
		}
	}
	return nil
}

func (r *reference) each(f func(w *densetest.World[physical.Qubit])) {
	for _, w := range r.worlds {
		f(w.World)
	}
}

// age lets a qubit decay until t.
func (r *reference) age(q physical.Qubit, t qnet.Time) {
	p := r.homes[q]
	r.each(func(w *densetest.World[physical.Qubit]) {
		w.Decay(q, densetest.Decay(p.decay), t.Sub(p.last).Seconds())
	})
	p.last = t
}

// add gives a qubit of a node a home.
func (r *reference) add(q physical.Qubit, node int, storage bool, at qnet.Time) *home {
	n := &r.cfg.Nodes[node]
	p := &home{n.Communication, n.Noise.QubitNoise, at}
	if storage {
		p.decay = n.Storage
		if n.Spec.Memory != nil {
			p.noise = n.Noise.Memory
		}
	}
	r.homes[q] = p
	return p
}

func (r *reference) free(q physical.Qubit) {
	r.each(func(w *densetest.World[physical.Qubit]) { w.Free(q) })
	delete(r.homes, q)
	r.merge()
}

// apply lets one step happen.
func (r *reference) apply(s *step) error {
	op := &s.op
	if s.link != 0 {
		return r.herald(s)
	}
	for _, q := range []physical.Qubit{op.A, op.B} {
		if r.homes[q] != nil && op.Kind != physical.OpFree {
			r.age(q, s.at)
		}
	}
	noise := &r.cfg.Nodes[s.node].Noise
	gate2 := densetest.Noise{Depolarise: noise.Gate2Depolarising, Dephase: noise.Gate2Dephasing}
	switch op.Kind {
	case physical.OpAlloc, physical.OpPrepare:
		p := r.add(s.res.Qubit, s.node, op.Kind == physical.OpAlloc, s.at)
		r.each(func(w *densetest.World[physical.Qubit]) {
			w.Zero(s.res.Qubit, densetest.Decay{})
			disturb(w, densetest.Noise{Depolarise: p.noise.InitDepolarising}, s.res.Qubit)
		})
	case physical.OpFree:
		if r.homes[op.A] != nil { // not just armed
			r.free(op.A)
		}
	case physical.OpGate:
		if op.Gate.Qubits() == 1 {
			gate1 := densetest.Noise{Depolarise: r.homes[op.A].noise.Gate1Depolarising}
			r.each(func(w *densetest.World[physical.Qubit]) {
				w.Gate1(op.A, op.Gate, op.Angle)
				disturb(w, gate1, op.A)
			})
			break
		}
		r.each(func(w *densetest.World[physical.Qubit]) {
			w.Gate2(op.A, op.B, op.Gate, 0)
			disturb(w, gate2, op.A, op.B)
		})
	case physical.OpMeasure:
		return r.measure(s)
	case physical.OpBSM:
		a, b := r.homes[op.A].noise, r.homes[op.B].noise
		r.each(func(w *densetest.World[physical.Qubit]) {
			w.Gate2(op.A, op.B, physical.GateCNOT, 0)
			disturb(w, gate2, op.A, op.B)
			w.Gate1(op.A, physical.GateH, 0)
			disturb(w, densetest.Noise{Depolarise: a.Gate1Depolarising}, op.A)
		})
		label := uint8(s.res.Label)
		read := func(what string, q physical.Qubit, e physical.ReadoutError, bit uint8) error {
			return r.report(what, bit, func(w possible) []possible {
				p := w.Read(q, qnet.BasisZ, densetest.Errors(e), int(bit))
				return []possible{{w.weight * p, w.World}}
			})
		}
		if err := cmp.Or(read("Bell measurement, z", op.A, a.ReadoutError, label&1), read("Bell measurement, x", op.B, b.ReadoutError, label>>1)); err != nil {
			return err
		}
		r.free(op.A)
		r.free(op.B)
	}
	return nil
}

// disturb applies the noise of an operation, if there is any.
func disturb(w *densetest.World[physical.Qubit], n densetest.Noise, qs ...physical.Qubit) {
	if n != (densetest.Noise{}) {
		w.Noise(n, qs...)
	}
}

// herald adds a pair.
func (r *reference) herald(s *step) error {
	l := &r.cfg.Links[s.link-1]
	for i, node := range []qnet.NodeID{l.A, l.B} {
		r.add(s.pair[i], slices.IndexFunc(r.cfg.Nodes, func(n fabric.NodeConfig) bool { return n.ID == node }), false, s.at)
	}
	for _, h := range l.Model.Heralds() { // each with a label of its own
		if h.Label == s.label {
			r.each(func(w *densetest.World[physical.Qubit]) {
				w.Entangle(s.pair[0], s.pair[1], densetest.Decay{}, densetest.Decay{}, densetest.Square(h.State[:]))
			})
			return nil
		}
	}
	return fmt.Errorf("there is no herald %v", s.label)
}

// measure measures a qubit, with each outcome that can have led to the report.
func (r *reference) measure(s *step) error {
	op, noise := &s.op, r.homes[s.op.A].noise
	err := r.report("measurement", s.res.Bit, func(w possible) (list []possible) {
		if op.Basis != qnet.BasisZ {
			disturb(w.World, densetest.Noise{Depolarise: noise.Gate1Depolarising}, op.A)
		}
		for truth := range uint8(2) {
			p := noise.ReadoutError[truth]
			if truth == s.res.Bit {
				p = 1 - p
			}
			if p > 0 {
				c := w.Clone()
				p *= c.Measure(op.A, op.Basis, truth)
				list = append(list, possible{w.weight * p, c})
			}
		}
		return list
	})
	if err == nil && op.Free {
		r.free(op.A)
	}
	return err
}

// impossible is a probability that only rounding makes.
const impossible = 1e-12

// report takes a bit that was reported: become returns what can have become of a
// state that there was, with the probabilities to have been there and to have led
// to the report.
func (r *reference) report(what string, bit uint8, become func(possible) []possible) error {
	var list []possible
	p := 0.0
	for _, w := range r.worlds {
		for _, c := range become(w) {
			if c.weight > impossible {
				list = append(list, c)
				p += c.weight
			}
		}
	}
	if len(list) == 0 {
		return fmt.Errorf("%s: %d can not come", what, bit)
	}
	for i := range list {
		list[i].weight /= p
	}
	r.worlds = list
	if bit == 0 {
		p = 1 - p
	}
	r.note(what, p, bit)
	return nil
}

// merge joins states that are the same.
func (r *reference) merge() {
	var list []possible
	var rhos []densetest.Matrix
next:
	for _, w := range r.worlds {
		rho := w.Density(w.Qubits...)
		for i := range list {
			if distance(rho, rhos[i]) < impossible {
				list[i].weight += w.weight
				continue next
			}
		}
		list, rhos = append(list, w), append(rhos, rho)
	}
	r.worlds = list
}

// compare finds the state that an observer was told among those that there can
// be; it is the only one from then on. qs are all qubits.
func (r *reference) compare(tolerance float64, qs []physical.Qubit, s seen) error {
	if s.err != nil {
		return s.err
	}
	for _, q := range qs {
		r.age(q, s.at)
	}
	told := densetest.Square(s.rho)
	first := r.worlds[0].Density(qs...)
	p, best := 0.0, math.Inf(1) // probability to be like the first; distance of the nearest
	var found possible
	for _, w := range r.worlds {
		rho := w.Density(qs...)
		if distance(rho, first) < tolerance {
			p += w.weight
		}
		if d := distance(rho, told); d < best {
			best, found = d, w
		}
	}
	if !(best < tolerance) {
		return fmt.Errorf("the state of %v is off by %g from the nearest of %d:\ngot  %.4f\nwant %.4f", qs, best, len(r.worlds), told, found.Density(qs...))
	}
	found.weight = 1
	r.worlds = []possible{found}
	if p < 1-impossible {
		bit := uint8(0)
		if distance(told, first) < tolerance {
			bit = 1
		}
		r.note("which state", p, bit)
	}
	return nil
}

// distance returns the largest difference of two elements.
func distance(a, b densetest.Matrix) (d float64) {
	for i := range a {
		for j := range a[i] {
			x := cmplx.Abs(a[i][j] - b[i][j])
			if math.IsNaN(x) {
				return x
			}
			d = max(d, x)
		}
	}
	return d
}
