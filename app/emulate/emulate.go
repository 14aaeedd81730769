package emulate

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/preset"
	"qstack/qnet"
)

// Options say how much to measure.
type Options struct {
	Pairs int // to measure; at least 100
	Kept  int // to keep and show to the oracle; 0 stands for a tenth of Pairs, 1,000 at most
	Seed  uint64
	// Progress, if not nil, is told how many pairs there are of a stage.
	Progress func(stage string, done, total int)
}

// paulis are the bases of either end, drawn at random.
var paulis = []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}

// Run measures the link of a preset. The error carries qnet.ErrUnsupported when
// it has no link that heralds pairs, and ctx's when that is done.
func Run(ctx context.Context, p *preset.Preset, o Options) (*Report, error) {
	if o.Pairs < 100 {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%d pairs: want at least 100", o.Pairs)
	}
	if o.Kept < 0 {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%d kept pairs: want at least 1, or 0 for the default", o.Kept)
	}
	if o.Kept == 0 {
		o.Kept = max(10, min(o.Pairs/10, 1000))
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	l, err := p.Link()
	if err != nil {
		return nil, err
	}
	if l.Model == nil {
		return nil, qnet.Errorf(qnet.ErrUnsupported, "%s prepares light and measures it, but makes no pairs", p.Name)
	}
	began := time.Now()
	r := &Report{Preset: p.Name, Model: p.Model.Name, Seed: o.Seed, Agrees: true}
	stop := func() error { return context.Cause(ctx) }
	if err := r.measure(p, l, o, stop); err != nil {
		return nil, fmt.Errorf("measuring: %w", err)
	}
	if !herald.IsImmediate(l.Model) {
		if err := r.keep(p, l, o, stop); err != nil {
			return nil, fmt.Errorf("keeping: %w", err)
		}
	}
	r.WallS = time.Since(began).Seconds()
	return r, nil
}

// outcome is one pair as both ends saw it.
type outcome struct {
	seq     uint64
	label   qnet.BellLabel
	basis   [2]uint8
	bit     [2]uint8
	created qnet.Time
}

// measure measures pairs on arrival, in Pauli bases that each end draws.
func (r *Report) measure(p *preset.Preset, l *preset.Link, o Options, stop func() error) error {
	w, err := newWorld(p, o.Seed)
	if err != nil {
		return err
	}
	defer w.loop.Close()
	src := physical.BasisSource{Bases: paulis}
	pairs := make([]outcome, 0, o.Pairs)
	seen := [2]int{}
	for i, e := range w.ends {
		e.bases = src
		e.measured = func(ms []link.Measured) {
			for _, m := range ms {
				at := seen[i]
				if seen[i]++; at == len(pairs) { // at whichever end it is known first
					pairs = append(pairs, outcome{seq: m.Seq, label: m.Label, created: m.Created})
				}
				if x := &pairs[at]; x.seq != m.Seq || x.label != m.Label || x.created != m.Created {
					w.err = qnet.Errorf(qnet.ErrInternal, "pair %d of alice is %d of bob", x.seq, m.Seq)
				} else {
					x.basis[i], x.bit[i] = m.Basis, m.Bit
				}
			}
			if i == alice {
				o.Progress("measured", seen[i], o.Pairs)
			}
		}
	}
	request := link.Request{Type: link.Measure, Pairs: uint64(o.Pairs), Deadline: qnet.Never, Limit: math.MaxUint64, Bases: src}
	if err := w.run(request, stop); err != nil {
		return err
	}
	if seen[alice] != o.Pairs || seen[bob] != o.Pairs {
		return qnet.Errorf(qnet.ErrInternal, "%d and %d pairs, want %d", seen[alice], seen[bob], o.Pairs)
	}
	if err := w.rest(); err != nil {
		return err
	}
	d := p.Device()
	want, err := expect(l.Model, d, w.delay(), l.Pipelined)
	if err != nil {
		return err
	}
	busy := w.busy(paulis)
	if l.Pipelined || herald.IsImmediate(l.Model) {
		busy = 0
	}
	r.analyse(pairs, l.Model, want, d.Spec.Noise.ReadoutError, busy)
	r.EmulatedS += w.loop.Now().Seconds()
	return nil
}

// keep keeps pairs and asks the oracle for their fidelity when both ends know of
// them. Where attempts are made before the herald of the last is back, a kept
// qubit makes one in so many of them.
func (r *Report) keep(p *preset.Preset, l *preset.Link, o Options, stop func() error) error {
	if l.Pipelined {
		period := l.Model.Period() / 1e9
		stride := math.Ceil(l.Herald/period - 1e-9)
		slower, err := p.With("attempt_time=" + strconv.FormatFloat(stride*period*1e9, 'g', -1, 64) + " ns")
		if err != nil {
			return err
		}
		p = slower
	}
	w, err := newWorld(p, o.Seed+1)
	if err != nil {
		return err
	}
	defer w.loop.Close()
	half := make(map[uint64]link.Pair) // known at one end
	var sum, squares float64
	n := 0
	for i, e := range w.ends {
		e.pair = func(x link.Pair) {
			y, ok := half[x.Seq]
			if !ok {
				half[x.Seq] = x
				return
			}
			delete(half, x.Seq)
			if i == alice {
				x, y = y, x
			}
			f, err := w.fabric.Oracle().BellFidelity(w.fabric.Oracle().Now(x.Qubit, y.Qubit), y.Qubit, x.Qubit, x.Label)
			if err != nil {
				w.err = err
			}
			sum += f
			squares += f * f
			n++
			o.Progress("kept", n, o.Kept)
			w.ends[alice].dev.Do(physical.Op{Kind: physical.OpFree, A: y.Qubit}, nil)
			w.ends[bob].dev.Do(physical.Op{Kind: physical.OpFree, A: x.Qubit}, nil)
		}
	}
	request := link.Request{Type: link.Keep, Pairs: uint64(o.Kept), Deadline: qnet.Never, Limit: math.MaxUint64}
	if err := w.run(request, stop); err != nil {
		return err
	}
	if n != o.Kept {
		return qnet.Errorf(qnet.ErrInternal, "%d pairs, want %d", n, o.Kept)
	}
	if err := w.rest(); err != nil {
		return err
	}
	slower, err := p.Link()
	if err != nil {
		return err
	}
	want, err := kept(slower.Model, p.Device(), w.delay())
	if err != nil {
		return err
	}
	mean := sum / float64(n)
	spread := math.Sqrt(max(0, squares/float64(n)-mean*mean) / float64(n))
	// All pairs of one label are alike, so that the spread is that of rounding.
	r.Oracle = r.judged(mean, spread, want, 5*spread+1e-9)
	r.Oracle.Pairs = n
	r.EmulatedS += w.loop.Now().Seconds()
	return nil
}
