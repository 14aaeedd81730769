package fabric

import (
	"time"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

// Measuring directly. An end that does so measures its qubit as soon as it has
// heard the herald, in a basis that its device draws from the device's own
// stream. The joint distribution of the two outcomes is a table: for each kind
// of herald and each choice of bases, the four probabilities, from the very
// state that the engine of package state gives for a pair that is stored until
// the end of both measurements.

// bulk is one end of a lane armed for measuring directly.
type bulk struct {
	bases []qnet.Basis
	draw  qnet.Choice // of the bases
	sink  func(physical.Outcomes, error)

	// At end A: the table for the other end with which it was heralded last. For
	// each kind of herald, basis of A and basis of B, in this order, it has the
	// choice of the outcomes 00, 01, 10 and 11.
	peer  *bulk
	joint [][3]uint64
}

func newBulk(src physical.BasisSource, sink func(physical.Outcomes, error)) (*bulk, error) {
	draw, err := src.Choice()
	if err != nil {
		return nil, err
	}
	if sink == nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "nobody takes the outcomes")
	}
	b := &bulk{bases: append([]qnet.Basis(nil), src.Bases...), draw: draw, sink: sink}
	if len(b.bases) == 0 {
		b.bases = []qnet.Basis{qnet.BasisZ}
	}
	return b, nil
}

// readout returns the time from the emission of a pair to the end of its
// measurement in basis b at one end.
func (l *Link) readout(d *device, b qnet.Basis) time.Duration {
	return 2*l.half + d.cfg.Spec.MeasureTime(b)
}

// longest returns the longest such time of the bases.
func (l *Link) longest(d *device, b *bulk) (t time.Duration) {
	for _, basis := range b.bases {
		t = max(t, l.readout(d, basis))
	}
	return t
}

// decayed is a heralded state some time after its emission.
type decayed struct {
	herald int
	ta, tb time.Duration
	rho    []complex128
}

// after returns the state of a pair of the given kind of herald when A has aged
// by ta and B by tb.
func (l *Link) after(herald int, ta, tb time.Duration) ([]complex128, error) {
	for _, d := range l.decayed {
		if d.herald == herald && d.ta == ta && d.tb == tb {
			return d.rho, nil
		}
	}
	// Both ends are brought to one age, a second, by scaling their rates.
	var w state.World
	l.entangle(&w, herald, 0, 1, 0, scaled(l.ends[0].dev.cfg.Communication, ta), scaled(l.ends[1].dev.cfg.Communication, tb))
	rho, err := w.Density(qnet.Time(time.Second), 0, 1)
	if err == nil {
		l.decayed = append(l.decayed, decayed{herald, ta, tb, rho})
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

// joint returns the table for both ends.
func (l *Link) joint(a, b *bulk) ([][3]uint64, error) {
	if a.peer == b {
		return a.joint, nil
	}
	da, db := l.ends[0].dev, l.ends[1].dev
	table := make([][3]uint64, 0, len(l.sampler.Heralds())*len(a.bases)*len(b.bases))
	for h := range l.sampler.Heralds() {
		for _, ba := range a.bases {
			for _, bb := range b.bases {
				rho, err := l.after(h, l.readout(da, ba), l.readout(db, bb))
				if err != nil {
					return nil, err
				}
				p := outcomes(rho, [2]qnet.Basis{ba, bb}, [2]*physical.QubitNoise{&da.communicationKind.noise, &db.communicationKind.noise})
				table = append(table, [3]uint64(qnet.NewChoice(p[0], p[0]+p[1], p[0]+p[1]+p[2])))
			}
		}
	}
	a.peer, a.joint = b, table
	return table, nil
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

// HeraldBulk heralds one pair in each of the given cycles, which ascend, on a
// lane of either side that measure directly: it draws what the station announces
// into labels, which must be as long as cycles, both ends' bases and outcomes,
// and hands these to the devices' sinks when they are ready. It returns the
// number of cycles done, which is less than given when a lane is not armed for
// it, or not initialised at a cycle, or when a cycle is still to come. After each
// pair a qubit is busy until it has been measured (in the slowest of its bases)
// and initialised anew, see Armed. What a lane attempts meanwhile is for
// Begin to say.
func (l *Link) HeraldBulk(lanes [2]uint32, cycles []uint64, labels []qnet.BellLabel) (n int) {
	a, b := l.armed(0, lanes[0]), l.armed(1, lanes[1])
	if a == nil || b == nil || a.status != statusBulk || b.status != statusBulk || len(cycles) == 0 || len(labels) < len(cycles) {
		return 0
	}
	joint, err := l.joint(a.bulk, b.bulk)
	if err != nil {
		return 0
	}
	da, db := a.dev, b.dev
	readoutA, readoutB := l.longest(da, a.bulk), l.longest(db, b.bulk)
	againA, againB := readoutA+da.cfg.Spec.Init, readoutB+db.cfg.Spec.Init
	heralds, nb, na := l.sampler.Heralds(), len(b.bulk.bases), len(a.bulk.bases)

	outA, outB := l.f.newBatch(a), l.f.newBatch(b)
	now := l.f.loop.Now()
	var t qnet.Time
	for n < len(cycles) {
		at := l.cycles.Instant(cycles[n])
		if at+1 < a.ready || at+1 < b.ready || at > now { // instants of cycles are rounded
			break
		}
		t = at
		a.ready, b.ready = t.Add(againA), t.Add(againB)
		h := l.sampler.Herald(l.rng)
		ka, kb := a.bulk.draw.Draw(da.rng), b.bulk.draw.Draw(db.rng)
		bits := uint8(qnet.Choice(joint[(h*na+ka)*nb+kb][:]).Draw(l.rng))
		outA.add(cycles[n], ka, bits>>1)
		outB.add(cycles[n], kb, bits&1)
		labels[n] = heralds[h].Label
		n++
	}
	if tr := l.f.tr; tr != nil && n > 0 {
		tr.Event(l.f.loop.Now(), "fabric", "bulk").Uint("link", uint64(l.cfg.ID)).Uint("a", uint64(a.index)).Uint("b", uint64(b.index)).
			Uint("cycle", cycles[0]).Uint("pairs", uint64(n)).Int("at", int64(t)).End()
	}
	l.f.deliver(outA, t.Add(readoutA))
	l.f.deliver(outB, t.Add(readoutB))
	return n
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

// newBatch returns an empty batch for the qubit in s.
func (f *Fabric) newBatch(s *slot) *batch {
	b := f.batches
	if b != nil {
		f.batches = b.next
		b.next = nil
	} else {
		b = new(batch)
		b.fire = b.run
	}
	b.slot, b.generation, b.sink = s, s.generation, s.bulk.sink
	return b
}

func (b *batch) add(cycle uint64, basis int, bit uint8) {
	b.out.Cycle = append(b.out.Cycle, cycle)
	b.out.Basis = append(b.out.Basis, uint8(basis))
	b.out.Bit = append(b.out.Bit, bit)
}

// deliver hands the batch over when all of it is ready, at t.
func (f *Fabric) deliver(b *batch, t qnet.Time) {
	if len(b.out.Cycle) == 0 {
		f.recycle(b)
		return
	}
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
	b.out.Cycle, b.out.Basis, b.out.Bit = b.out.Cycle[:0], b.out.Basis[:0], b.out.Bit[:0]
	b.slot, b.sink = nil, nil
	b.next = f.batches
	f.batches = b
}
