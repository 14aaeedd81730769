package fabric

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

// Measuring directly. An end that does so measures its qubit as soon as it has
// heard the herald (on a pipelined link as soon as it has emitted), in a basis
// that its device draws from the device's own stream. The joint distribution of the two outcomes is a table: for each kind
// of herald and each choice of bases, the four probabilities, from the very
// state that the engine of package state gives for a pair that is stored until
// the end of both measurements.

// bulk is one end of a lane armed for measuring directly.
type bulk struct {
	*drawn
	sink func(physical.Outcomes, error)
}

// table is the joint distribution of the outcomes of two ends in an era that
// choose from the given bases: for each kind of herald, basis of A and basis of B,
// in this order, the choice of the outcomes 00, 01, 10 and 11.
type table struct {
	a, b  []qnet.Basis
	joint [][3]uint64
}

// maxTables bounds the tables of an era that are at hand.
const maxTables = 8

// drawn is a source of bases with the choice among them, kept since the next
// lane is mostly armed with the same.
type drawn struct {
	src   physical.BasisSource
	bases []qnet.Basis
	draw  qnet.Choice
}

// is reports whether d is of a source.
func (d *drawn) is(src physical.BasisSource) bool {
	return d != nil && slices.Equal(d.src.Bases, src.Bases) && slices.Equal(d.src.Weights, src.Weights) && (d.src.Weights == nil) == (src.Weights == nil)
}

func (d *device) newBulk(src physical.BasisSource, sink func(physical.Outcomes, error)) (bulk, error) {
	if !d.drawn.is(src) {
		draw, err := src.Choice()
		if err != nil {
			return bulk{}, err
		}
		src = physical.BasisSource{Bases: slices.Clone(src.Bases), Weights: slices.Clone(src.Weights)}
		d.drawn = &drawn{src: src, bases: src.Bases, draw: draw}
		if len(src.Bases) == 0 {
			d.drawn.bases = []qnet.Basis{qnet.BasisZ}
		}
	}
	if sink == nil {
		return bulk{}, qnet.Errorf(qnet.ErrInvalid, "nobody takes the outcomes")
	}
	return bulk{d.drawn, sink}, nil
}

// age returns the time from the emission of a pair to the end of its measurement
// in basis b at one end: of a photon, which is in no memory, none.
func (l *Link) age(d *device, b qnet.Basis) time.Duration {
	switch {
	case l.Immediate():
		return 0
	case l.cfg.Pipelined:
		return d.cfg.Spec.MeasureTime(b)
	}
	return 2*l.half + d.cfg.Spec.MeasureTime(b)
}

// known returns the time from the emission of a pair to that at which its outcome
// is there, and known to be of a pair, in the slowest of the bases of an end.
func (l *Link) known(d *device, b bulk) (t time.Duration) {
	for _, basis := range b.bases {
		t = max(t, d.cfg.Spec.MeasureTime(basis))
	}
	if l.cfg.Pipelined {
		return max(t, 2*l.half)
	}
	return t + 2*l.half
}

// decayed is a heralded state some time after its emission.
type decayed struct {
	herald int
	ta, tb time.Duration
	rho    []complex128
}

// after returns the state of a pair of the given kind of herald when A has aged
// by ta and B by tb.
func (l *Link) after(e *era, herald int, ta, tb time.Duration) ([]complex128, error) {
	for _, d := range e.decayed {
		if d.herald == herald && d.ta == ta && d.tb == tb {
			return d.rho, nil
		}
	}
	// Both ends are brought to one age, a second, by scaling their rates.
	var w state.World
	e.states[herald].entangle(&w, 0, 1, 0, scaled(l.ends[0].dev.cfg.Communication, ta), scaled(l.ends[1].dev.cfg.Communication, tb))
	rho, err := w.Density(qnet.Time(time.Second), 0, 1)
	if err == nil {
		e.decayed = append(e.decayed, decayed{herald, ta, tb, rho})
	}
	return rho, err
}

// scaled returns the decay that does in a second what d does in t.
func scaled(d state.Decay, t time.Duration) state.Decay {
	s := t.Seconds()
	if s == 0 {
		return state.Decay{}
	}
	return state.Decay{T1: d.T1 / s, T2: d.T2 / s, Depolarise: d.Depolarise * s, Stretch: d.Stretch}
}

// joint returns the table of two ends in an era.
func (l *Link) joint(e *era, a, b bulk) ([][3]uint64, error) {
	for i := range e.tables {
		if t := &e.tables[i]; t.joint != nil && slices.Equal(t.a, a.bases) && slices.Equal(t.b, b.bases) {
			return t.joint, nil
		}
	}
	da, db := l.ends[0].dev, l.ends[1].dev
	heralds := e.sampler.Heralds()
	joint := make([][3]uint64, 0, len(heralds)*len(a.bases)*len(b.bases))
	for h := range heralds {
		for _, ba := range a.bases {
			for _, bb := range b.bases {
				rho, err := l.after(e, h, l.age(da, ba), l.age(db, bb))
				if err != nil {
					return nil, err
				}
				p := outcomes(rho, [2]qnet.Basis{ba, bb}, [2]*physical.QubitNoise{&da.communicationKind.noise, &db.communicationKind.noise})
				joint = append(joint, [3]uint64(qnet.NewChoice(p[0], p[0]+p[1], p[0]+p[1]+p[2])))
			}
		}
	}
	e.tables[e.nTables%maxTables] = table{a.bases, b.bases, joint}
	e.nTables++
	return joint, nil
}

// outcomes returns the probabilities of the outcomes 00, 01, 10 and 11 when the
// two qubits of rho are measured in the given bases, with noise of the rotation
// and of the read-out.
func outcomes(rho []complex128, bases [2]qnet.Basis, noise [2]*physical.QubitNoise) (p [4]float64) {
	var effects [2][2][4]complex128 // end, bit
	for end, basis := range bases {
		// A bit is read by the operator (weight·I + contrast·n·σ)/2.
		read := noise[end].ReadoutError
		contrast := 1 - read[0] - read[1]
		if basis != qnet.BasisZ {
			contrast *= 1 - noise[end].Gate1Depolarising
		}
		nx, ny, nz := basis.Axis()
		for bit, sign := range [2]float64{1, -1} {
			weight := 1 + sign*(read[1]-read[0])
			sign *= contrast
			effects[end][bit] = [4]complex128{
				complex((weight+sign*nz)/2, 0), complex(sign*nx/2, -sign*ny/2),
				complex(sign*nx/2, sign*ny/2), complex((weight-sign*nz)/2, 0),
			}
		}
	}
	for k := range p {
		ma, mb := effects[0][k>>1], effects[1][k&1]
		for i := range 4 {
			for j := range 4 {
				p[k] += real(rho[4*i+j] * ma[2*(j>>1)+i>>1] * mb[2*(j&1)+i&1])
			}
		}
	}
	return p
}

// HeraldBulk heralds one pair in each of the given cycles, which ascend, at an
// operating point on a lane of either side that measure directly: it draws what the station announces
// into labels, which must be as long as cycles, both ends' bases and outcomes,
// and hands these to the devices' sinks when they are ready. It returns the
// number of cycles done, which is less than given when a lane is not armed for
// it, or not initialised at a cycle, or when a cycle is still to come or can not
// succeed. After each pair a qubit is busy until it has been measured (in the
// slowest of its bases) and initialised anew, see Armed, unless the link is
// Continuous. What a lane attempts meanwhile is for Begin to say.
func (l *Link) HeraldBulk(lanes [2]uint32, point int, cycles []uint64, labels []qnet.BellLabel) (n int) {
	at := l.point(point)
	if at == nil {
		return 0
	}
	a, b := l.armed(0, lanes[0]), l.armed(1, lanes[1])
	if a == nil || b == nil || a.status != statusBulk || b.status != statusBulk || len(cycles) == 0 || len(labels) < len(cycles) {
		return 0
	}
	da, db := a.dev, b.dev
	knownA, knownB := l.known(da, a.bulk), l.known(db, b.bulk)
	var againA, againB time.Duration
	if !l.Continuous() {
		againA, againB = knownA+da.cfg.Spec.Init, knownB+db.cfg.Spec.Init
	}
	cycles = cycles[:l.usable(cycles, max(a.ready, b.ready), max(againA, againB))]
	outA, outB := l.f.newBatch(a, cycles), l.f.newBatch(b, cycles)
	for n < len(cycles) {
		e, last := at.era(cycles[n])
		if e == nil {
			break
		}
		joint, err := l.joint(e, a.bulk, b.bulk)
		if err != nil {
			break
		}
		m := len(cycles)
		if last < cycles[m-1] {
			m, _ = slices.BinarySearch(cycles, last+1)
		}
		a.bulk.draw.Fill(outA.out.Basis[n:m], da.rng)
		b.bulk.draw.Fill(outB.out.Basis[n:m], db.rng)
		e.draw(l.rng, joint, len(a.bulk.bases), len(b.bulk.bases), outA.out.Basis[n:m], outB.out.Basis[n:m], outA.out.Bit[n:m], outB.out.Bit[n:m], labels[n:m])
		n = m
	}
	outA.cut(n)
	outB.cut(n)
	if n == 0 {
		l.f.recycle(outA)
		l.f.recycle(outB)
		return 0
	}
	t := l.cycles.Instant(cycles[n-1])
	a.ready, b.ready = t.Add(againA), t.Add(againB)
	if tr := l.f.tr; tr != nil {
		tr.Event(l.f.loop.Now(), "fabric", "bulk").Uint("link", uint64(l.cfg.ID)).Uint("a", uint64(a.index)).Uint("b", uint64(b.index)).
			Uint("cycle", cycles[0]).Uint("pairs", uint64(n)).Int("at", int64(t)).End()
	}
	l.f.deliver(outA, t.Add(knownA))
	l.f.deliver(outB, t.Add(knownB))
	return n
}

// usable returns the number of cycles, from the first on, that are not to come,
// and at which a qubit is ready that is so first at the given instant and takes
// some time after each to be so again. Instants of cycles are rounded, so that a
// nanosecond is let pass.
func (l *Link) usable(cycles []uint64, ready qnet.Time, again time.Duration) int {
	now := l.f.loop.Now()
	if t := l.cycles.Instant(cycles[0]); t+1 < ready || t > now {
		return 0
	}
	// Cycles that are so far apart are so in time, whatever is rounded.
	apart := uint64(1)
	if again > 1 {
		apart += uint64(min(1<<62, math.Ceil((float64(again)+2+float64(now)*0x1p-50)/l.cycles.Period)))
	}
	next := l.cycles.From(now + 1) // the first to come
	for n := 1; n < len(cycles); n++ {
		c, before := cycles[n], cycles[n-1]
		if c >= next || c <= before {
			return n
		}
		if c < before+apart && l.cycles.Instant(c)+1 < l.cycles.Instant(before).Add(again) {
			return n
		}
	}
	return len(cycles)
}

// draw draws the kind of herald and the outcomes of pairs that are measured in
// the given bases, of which A has na and B nb. All slices have one length.
func (e *era) draw(rng *rand.Rand, joint [][3]uint64, na, nb int, basisA, basisB, bitA, bitB []uint8, labels []qnet.BellLabel) {
	n := len(labels)
	basisA, basisB, bitA, bitB = basisA[:n], basisB[:n], bitA[:n], bitB[:n]
	heralds, kind := e.sampler.Heralds(), e.sampler.Kind()
	for i := range labels {
		h := 0
		if len(kind) == 1 {
			h = int((kind[0] - 1 - rng.Uint64()<<11>>11) >> 63) // as Choice.Draw
		} else {
			h = kind.Draw(rng)
		}
		p := &joint[(h*na+int(basisA[i]))*nb+int(basisB[i])]
		u := rng.Uint64()<<11>>11 + 1
		bits := uint8((p[0]-u)>>63 + (p[1]-u)>>63 + (p[2]-u)>>63) // as Choice.Draw
		bitA[i], bitB[i] = bits>>1, bits&1
		labels[i] = heralds[h].Label
	}
}

// batch is outcomes on their way to a device. Batches are used again.
type batch struct {
	slot       *slot
	generation uint32
	sink       func(physical.Outcomes, error)
	out        physical.Outcomes
	fire       func() // b.run, made once
	next       *batch
}

// newBatch returns a batch for the qubit in s, of pairs in the given cycles whose
// bases and bits are still to be filled in.
func (f *Fabric) newBatch(s *slot, cycles []uint64) *batch {
	b := f.batches
	if b != nil {
		f.batches = b.next
		b.next = nil
	} else {
		b = new(batch)
		b.fire = b.run
	}
	b.slot, b.generation, b.sink = s, s.generation, s.bulk.sink
	n := len(cycles)
	b.out.Cycle = append(b.out.Cycle, cycles...)
	b.out.Basis = slices.Grow(b.out.Basis, n)[:n]
	b.out.Bit = slices.Grow(b.out.Bit, n)[:n]
	return b
}

// cut shortens the batch.
func (b *batch) cut(n int) {
	b.out.Cycle, b.out.Basis, b.out.Bit = b.out.Cycle[:n], b.out.Basis[:n], b.out.Bit[:n]
}

// deliver hands the batch over when all of it is ready, at t.
func (f *Fabric) deliver(b *batch, t qnet.Time) {
	b.out.At = t
	f.loop.At(t.Add(-f.early), b.fire)
}

// run calls the sink, unless the qubit has been freed.
func (b *batch) run() {
	if s := b.slot; s.status == statusBulk && s.generation == b.generation {
		b.sink(b.out, nil)
	}
	b.slot.dev.f.recycle(b)
}

func (f *Fabric) recycle(b *batch) {
	b.cut(0)
	b.slot, b.sink = nil, nil
	b.next = f.batches
	f.batches = b
}
