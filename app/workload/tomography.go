package workload

import (
	"math"
	"time"

	"qstack/link"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/qnet"
)

// look draws whether the oracle is to see a pair of a type, −1 for one that is
// unknown, of which a half at least is kept.
func (c *collector) look(typ int32) bool {
	return typ >= 0 && c.demands[typ].Type != scenario.MeasurePairs && c.samples > 0 && (c.samples >= 1 || c.seen.Float64() < c.samples)
}

// reading is a pair that is measured by the device of an end that was handed its
// half.
type reading struct {
	id      link.RequestID
	typ     int32
	origin  int8
	side    int8 // that has it first
	label   qnet.BellLabel
	basis   uint8   // in paulis
	product float64 // of the values that are known
	values  int     // their number
}

// reads draws whether a pair is measured where it was kept, and has the end that was
// handed a half of it do so. That is at once: later the qubit that it is read out
// through may be taken, and the half is not what was handed up. Of kept pairs both
// ends measure in one basis, drawn when the first has its half. Of prepared ones the
// peer does not know the basis of the creator, so that only those count for which it
// has drawn the same.
func (c *collector) reads(side int, typ int32, origin int8, p *link.Pair) bool {
	seq := p.Seq
	r := c.readings[seq]
	switch {
	case r == nil:
		o, known := c.halves[seq]
		if known && typ < 0 { // its request is over at the creator
			typ, origin = o.typ, o.origin
		}
		prepared := c.prepares(typ)
		if typ < 0 || known && !prepared || prepared && int(origin) == side || c.demands[typ].Type == scenario.MeasurePairs || c.read.Float64() >= c.tomography {
			return false
		}
		if len(c.readings) >= maxHalves {
			c.fail("one end alone has measured %d pairs", len(c.readings))
			clear(c.readings)
		}
		r = &reading{id: p.Request, typ: typ, origin: origin, side: int8(side), label: p.Label, basis: uint8(c.read.IntN(len(paulis.Bases))), product: 1}
		c.readings[seq] = r
		if known {
			delete(c.halves, seq)
			c.sift(r, seq, &o)
		}
	case int(r.side) == side:
		c.fail("end %c was handed pair %d twice", 'A'+rune(side), seq)
		c.hw.free(side, p.Qubit)
		return true
	case c.prepares(r.typ) || r.id != p.Request || r.label != p.Label:
		c.fail("the ends disagree about pair %d: %v of request %d, and %v of request %d", seq, r.label, r.id, p.Label, p.Request)
		delete(c.readings, seq)
		c.hw.free(side, p.Qubit)
		return true
	}
	stored := c.demands[r.typ].Store
	seen := outcome(c.hw.spec(side), stored, int(r.basis))
	c.hw.measure(side, p.Qubit, stored, paulis.Bases[r.basis], func(bit uint8, err error) {
		switch {
		case c.readings[seq] != r: // it is void, or of no use
		case err == nil:
			c.value(r, seq, seen.before(sign(bit == 1)))
		default:
			delete(c.readings, seq)
			if c.loop.Now() >= c.start {
				c.kinds[r.typ].cells[r.origin].unread++
			}
		}
	})
	return true
}

// sift takes the creator's outcome of a prepared pair that the peer measures.
func (c *collector) sift(r *reading, seq uint64, h *half) {
	axes := c.demands[r.typ].axes[0]
	switch {
	case r.id != h.id || r.label != h.label || r.side == h.side || !c.prepares(r.typ):
		c.fail("the ends disagree about pair %d: %v of request %d, and %v of request %d", seq, r.label, r.id, h.label, h.id)
		delete(c.readings, seq)
	case int(h.basis) >= len(axes) || axes[h.basis] != r.basis:
		delete(c.readings, seq)
	default:
		c.value(r, seq, sign(h.bit == 1))
	}
}

// value takes what one end says of a pair that is measured: ±1, or what stands for it.
func (c *collector) value(r *reading, seq uint64, v float64) {
	r.product *= v
	if r.values++; r.values < 2 {
		return
	}
	delete(c.readings, seq)
	if c.loop.Now() >= c.start {
		c.kinds[r.typ].cells[r.origin].parity[r.basis].add(r.product * sign(wrong(r.label, r.basis, 0)))
	}
}

// faint is the part of a Bloch component below which nothing can be told of it.
const faint = 1e-6

// prepared has the oracle look at a half that the outcome of the other one has
// prepared, as it was when it was handed up: of a later one the decay is taken back.
func (c *collector) prepared(k *cell, seq uint64, d *demand, measured, kept *half) {
	if !kept.shown || int(measured.basis) >= len(d.axes[0]) {
		return
	}
	r, err := c.hw.bloch(kept.qubit)
	if err != nil {
		if c.hold == 0 { // otherwise it may have been let go
			c.fail("the oracle does not see the half of pair %d: %v", seq, err)
		}
		return
	}
	// The outcome ±1 along n prepares the state along ±(sx·nx, sy·ny, sz·nz), where s
	// are the signs of the correlators of the Bell state.
	x, y, z := d.request.Bases.Basis(measured.basis).Axis()
	q, since := sheetOf(c.hw.spec(int(kept.side)), false), c.loop.Now().Sub(kept.at)
	along := 0.0
	for i, n := range [3]float64{x, y, z} {
		// After so long an outcome tells nothing of the other half either.
		if l := q.decay(i, since); l.contrast > faint {
			along += n * sign(wrong(measured.label, uint8(i), measured.bit)) * l.before(r[i])
		}
	}
	f := (1 + along) / 2
	k.states.add(f)
	if axis := d.axes[0][measured.basis]; int(axis) < len(k.prepared) {
		k.prepared[axis].add(f)
	}
}

// affine is how the mean of something depends on what it was before: both are means
// of ±1, as components of the Bloch vector are.
type affine struct{ bias, contrast float64 }

// then returns what comes of l followed by m.
func (l affine) then(m affine) affine {
	return affine{m.bias + m.contrast*l.bias, m.contrast * l.contrast}
}

// before returns that of which y is made in the mean.
func (l affine) before(y float64) float64 { return (y - l.bias) / l.contrast }

// sheet is what a data sheet says of a kind of qubit.
type sheet struct {
	t1, t2, depolarise float64
	gate1, readout     time.Duration
	noise              physical.QubitNoise
}

func sheetOf(s *physical.Spec, stored bool) sheet {
	if m := s.Memory; stored && m != nil {
		return sheet{m.T1, m.T2, m.Depolarise, m.Gate1, m.Readout, s.Noise.Memory}
	}
	return sheet{s.T1, s.T2, s.Depolarise, s.Gate1, s.Readout, s.Noise.QubitNoise}
}

// decay returns what becomes of x, y or z in a time: relaxation to |0⟩, loss of
// coherence, which is that of relaxation at least, and depolarising.
func (q *sheet) decay(axis int, t time.Duration) affine {
	relax, dephase := 0.0, 0.0
	if q.t1 > 0 {
		relax = 1 / q.t1
	}
	if q.t2 > 0 {
		dephase = 1 / q.t2
	}
	if axis != 2 {
		return affine{0, math.Exp(-t.Seconds() * (max(dephase, relax/2) + q.depolarise))}
	}
	all := relax + q.depolarise
	if all == 0 {
		return affine{0, 1}
	}
	left := math.Exp(-t.Seconds() * all)
	return affine{relax / all * (1 - left), left}
}

// outcome returns how the mean of an outcome, −1 for bit 1, depends on x, y or z of
// a half when its measurement begins, as the data sheet has it: the way into a
// communication qubit if it is stored where it can not be read, decay until the end
// of the read-out, the rotation before it, and its asymmetric error. Attempts of
// other lanes meanwhile are not in it.
func outcome(s *physical.Spec, stored bool, axis int) affine {
	q, l := sheetOf(s, stored), affine{0, 1}
	if stored && s.Memory != nil && s.Memory.Indirect {
		l = q.decay(axis, s.Init).then(moved(s, axis))
		q = sheetOf(s, false)
	}
	took := q.readout
	if axis != 2 {
		took += q.gate1
	}
	l = l.then(q.decay(axis, took))
	if axis != 2 {
		l = l.then(affine{0, 1 - q.noise.Gate1Depolarising})
	}
	e := q.noise.ReadoutError
	return l.then(affine{e[1] - e[0], 1 - e[0] - e[1]})
}

// moved returns what becomes of x, y or z of a storage qubit that CNOT(storage,
// communication) and CNOT(communication, storage) move into a communication qubit
// which was initialised. Of the operators that become X, Y and Z of that qubit, those
// between the gates are X⊗X, X⊗Y and I⊗Z, those before them X⊗I, Y⊗Z and Z⊗Z.
func moved(s *physical.Spec, axis int) affine {
	from, to := sheetOf(s, true), sheetOf(s, false)
	keep, phase := affine{0, 1 - s.Noise.Gate2Depolarising}, affine{0, 1 - 2*s.Noise.Gate2Dephasing}
	l := from.decay(axis, s.Gate2)
	if axis != 0 { // times z of the communication qubit
		fresh := affine{0, 1 - to.noise.InitDepolarising}.then(to.decay(2, s.Gate2))
		l = l.then(affine{0, fresh.bias + fresh.contrast})
	}
	l = l.then(keep)
	if axis == 2 {
		return l.then(to.decay(2, s.Gate2)).then(keep)
	}
	l = l.then(phase).then(phase).then(from.decay(0, s.Gate2)).then(to.decay(0, s.Gate2))
	return l.then(keep).then(phase)
}

// outcomes returns the shares of wrong bits in X, Y and Z and the fidelity that
// goes with them.
func outcomes(same, flip [3]uint64) (o Outcomes) {
	for b, e := range []*Estimate{&o.X, &o.Y, &o.Z} {
		n := float64(same[b])
		if e.N = same[b]; n == 0 {
			continue
		}
		e.Mean = float64(flip[b]) / n
		// By Agresti and Coull, so that no error at all does not pass for certain.
		q := (float64(flip[b]) + 2) / (n + 4)
		e.StdErr = math.Sqrt(q * (1 - q) / (n + 4))
	}
	o.F = fidelityOf(o.X, o.Y, o.Z)
	return o
}

// fidelityOf returns the fidelity that goes with the error rates in X, Y and Z; none
// if one of them is not known.
func fidelityOf(x, y, z Estimate) (f Estimate) {
	if x.N == 0 || y.N == 0 || z.N == 0 {
		return f
	}
	return Estimate{Mean: 1 - (x.Mean+y.Mean+z.Mean)/2, StdErr: math.Sqrt(x.StdErr*x.StdErr+y.StdErr*y.StdErr+z.StdErr*z.StdErr) / 2, N: x.N + y.N + z.N}
}

// ofParities returns the same of pairs that the devices measured, by the parities of
// their outcomes.
func ofParities(parity *[3]moments) (o Outcomes) {
	for b, e := range []*Estimate{&o.X, &o.Y, &o.Z} {
		m := parity[b]
		if m.n == 0 {
			continue
		}
		e.N, e.Mean = m.n, (1-m.mean)/2
		// As for outcomes: two more pairs that are right, and two that are wrong.
		for _, p := range [4]float64{1, 1, -1, -1} {
			m.add(p)
		}
		e.StdErr = m.estimate().StdErr / 2
	}
	o.F = fidelityOf(o.X, o.Y, o.Z)
	return o
}

// ofStates returns the fidelity of the pairs that prepared states in X, Y and Z, by
// their mean fidelities.
func ofStates(prepared *[3]moments) Estimate {
	var wrong [3]Estimate
	for b := range prepared {
		wrong[b] = prepared[b].estimate()
		wrong[b].Mean = 1 - wrong[b].Mean
	}
	return fidelityOf(wrong[0], wrong[1], wrong[2])
}

// chsh returns S, the sum of the four correlators.
func chsh(correlators *[4]moments) (s Estimate) {
	square := 0.0
	for i := range correlators {
		e := correlators[i].estimate()
		if e.N == 0 {
			return Estimate{}
		}
		s.Mean += e.Mean
		s.N += e.N
		square += e.StdErr * e.StdErr
	}
	s.StdErr = math.Sqrt(square)
	return s
}
