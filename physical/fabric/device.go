package fabric

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

// device is the hardware of one node.
type device struct {
	f       *Fabric
	cfg     NodeConfig
	rng     *rand.Rand
	slots   []slot // all, storage first
	storage []slot
	units   []unit // that all lanes share; none: each has its own
	ends    map[physical.LinkID]*end
	watch   func(physical.LinkID, uint32)
	busy    qnet.Time // Serial: when the last operation so far ends
	drawn   *drawn    // bases of the lane armed last for measuring directly

	communicationKind, storageKind kind
	bsm                            [2][2]bsm // by kind of A and B, storage second
	dephasing                      []*flips  // attempts that dephase storage qubits
	pending                        int       // operations that wait for their instant
	epoch                          uint32    // counts disconnections
}

// job is an operation, or the news that a lane is free, that waits for its
// instant. Jobs are used again.
type job struct {
	dev   *device
	epoch uint32
	op    physical.Op
	a, b  *slot // operands, nil when err is set
	at    qnet.Time
	err   error // why the operation was refused
	bulk  bulk  // of ArmBulk
	done  func(physical.Result)

	freed      *slot // no operation, but this slot has become free
	generation uint32

	fire func() // j.run, made once
	next *job
}

func (d *device) Spec() *physical.Spec { return &d.cfg.Spec }

func (d *device) Now() qnet.Time { return d.f.loop.Now() }

func (d *device) Watch(f func(physical.LinkID, uint32)) { d.watch = f }

func (d *device) Do(op physical.Op, done func(physical.Result)) { d.start(&op, bulk{}, done) }

func (d *device) ArmBulk(link physical.LinkID, lane uint32, src physical.BasisSource, sink func(physical.Outcomes, error), done func(physical.Result)) {
	op := &physical.Op{Kind: physical.OpArm, Link: link, Lane: lane}
	b, err := d.newBulk(src, sink)
	if err != nil {
		d.refuse(op, qnet.Errorf(qnet.ErrInvalid, "node %s: measuring directly on link %d lane %d: %v", d.cfg.Name, link, lane, err), nil, done)
		return
	}
	d.start(op, b, done)
}

// start admits an operation and schedules its effect.
func (d *device) start(op *physical.Op, b bulk, done func(physical.Result)) {
	f := d.f
	if d.pending >= f.maxPending && op.Kind != physical.OpFree { // a qubit is freed once
		d.refuse(op, qnet.Errorf(qnet.ErrBusy, "node %s: %s: %d operations are waiting already: await results before asking for more", d.cfg.Name, opName(op), d.pending), nil, done)
		return
	}
	var a, other *slot
	var via *qnet.Time // when the communication qubit that does it is free
	var duration time.Duration
	var err error
	switch op.Kind {
	case physical.OpAlloc:
		if a, err = d.freeStorage(); err == nil && d.storageKind.indirect {
			via, err = d.initialiser()
		}
		if err != nil {
			a = nil
			break
		}
		f.take(a, statusHeld)
		duration = d.storageKind.init
	case physical.OpArm, physical.OpPrepare:
		to := statusArmed
		if op.Kind == physical.OpPrepare {
			to = statusHeld
		} else if b.drawn != nil {
			to = statusBulk
		}
		if a, err = d.freeLane(op.Link, op.Lane, to); err == nil {
			f.take(a, to)
		}
		duration = d.communicationKind.init
	case physical.OpFree:
		a, err = d.held(op, op.A)
	case physical.OpGate:
		if a, other, err = d.gateOperands(op); err != nil {
			break
		}
		duration = a.kind.gate1
		if other != nil {
			duration = d.cfg.Spec.Gate2
		}
	case physical.OpMeasure:
		if a, err = d.usable(op, op.A); err != nil {
			break
		}
		if !op.Basis.Valid() {
			err = qnet.Errorf(qnet.ErrInvalid, "node %s: measurement of %v: basis %v has an angle that is not finite", d.cfg.Name, op.A, op.Basis)
		} else if a.kind.indirect {
			err = qnet.Errorf(qnet.ErrUnsupported, "node %s: %s: %v is a storage qubit, which is read out through a communication qubit: swap it into one first", d.cfg.Name, opName(op), op.A)
		}
		duration = a.kind.measure(op.Basis)
	case physical.OpBSM:
		if a, other, err = d.two(op); err == nil {
			duration = d.bsmOf(a, other).duration
		}
	case physical.OpRefresh:
		a, err = d.refreshable(op)
	default:
		err = qnet.Errorf(qnet.ErrInvalid, "node %s: there is no operation of kind %d", d.cfg.Name, op.Kind)
	}
	if err != nil {
		d.refuse(op, err, a, done)
		return
	}

	at := max(f.loop.Now(), a.busy)
	if other != nil {
		at = max(at, other.busy)
	}
	if via != nil {
		at = max(at, *via)
	}
	serial := d.cfg.Spec.Serial && op.Kind != physical.OpFree && op.Kind != physical.OpRefresh
	if serial {
		at = max(at, d.busy)
		d.pause(at, at.Add(duration))
	}
	switch op.Kind {
	case physical.OpAlloc:
		a.unused = true
	case physical.OpRefresh:
		a.refreshAfter(at, d.ends[op.Link].link, op.Pattern)
	default:
		a.use(at)
		if other != nil {
			other.use(at)
		}
	}
	at = at.Add(duration)
	if serial {
		d.busy = at
	}
	if via != nil {
		*via = at
	}
	if op.Kind == physical.OpFree && a.pending == 0 {
		// Nothing to wait for: the slot can be taken again in this very event.
		f.release(a, at)
		f.traceOp(op, a, nil, &physical.Result{At: at})
		a = nil
		if done == nil {
			return
		}
	} else {
		a.busy = at
		a.pending++
		a.closing = a.closing || op.Kind == physical.OpFree || op.Kind == physical.OpBSM || op.Kind == physical.OpMeasure && op.Free
		if other != nil {
			other.busy = at
			other.pending++
			other.closing = other.closing || op.Kind == physical.OpBSM
		}
	}
	j := f.newJob(d, op, at, done)
	j.a, j.b, j.bulk = a, other, b
	f.schedule(j)
}

// refuse answers an operation with an error, after what is pending on the
// qubit s, if that is not nil.
func (d *device) refuse(op *physical.Op, err error, s *slot, done func(physical.Result)) {
	f := d.f
	at := f.loop.Now()
	if s != nil {
		at = max(at, s.busy)
	}
	if f.tr != nil {
		f.tr.Event(f.loop.Now(), "fabric", "refuse").Str("device", d.cfg.Name).Str("op", opName(op)).Err(err).End()
	}
	if done == nil {
		return
	}
	j := f.newJob(d, op, at, done)
	j.err = err
	f.schedule(j)
}

// newJob returns a job, used again if possible.
func (f *Fabric) newJob(d *device, op *physical.Op, at qnet.Time, done func(physical.Result)) *job {
	j := f.jobs
	if j != nil {
		f.jobs = j.next
		j.next = nil
	} else {
		j = new(job)
		j.fire = j.run
	}
	j.dev, j.epoch, j.op, j.at, j.done = d, d.epoch, *op, at, done
	return j
}

// schedule makes the job run at its instant, or so much earlier as is allowed.
// Instants of jobs on one qubit never decrease and the loop keeps the order of
// equal ones, so they run in the order of the calls.
func (f *Fabric) schedule(j *job) {
	j.dev.pending++
	f.loop.At(j.at.Add(-f.early), j.fire)
}

// run executes the operation and answers it.
func (j *job) run() {
	d, f := j.dev, j.dev.f
	done, freed, generation := j.done, j.freed, j.generation
	r := physical.Result{Err: j.err, At: j.at}
	switch {
	case j.epoch != d.epoch: // the node was lost in the meantime, with all its qubits
		done, freed = nil, nil
	case freed == nil:
		d.pending--
		if j.a != nil {
			j.a.pending--
			if j.b != nil {
				j.b.pending--
			}
			f.execute(&j.op, j.a, j.b, j.bulk, &r)
		}
	}
	j.a, j.b, j.bulk, j.err, j.done, j.freed = nil, nil, bulk{}, nil, nil, nil
	j.next, f.jobs = f.jobs, j
	if freed != nil {
		d.tell(freed, generation)
	} else if done != nil {
		done(r)
	}
}

// execute lets the operation take effect at r.At and fills in the result.
func (f *Fabric) execute(op *physical.Op, a, b *slot, bulk bulk, r *physical.Result) {
	d, w, qa := a.dev, &f.world, state.ID(a.index)
	noise := &d.cfg.Noise
	switch op.Kind {
	case physical.OpAlloc, physical.OpPrepare:
		r.Err = f.initialise(a, r.At)
		r.Qubit = a.handle()
	case physical.OpArm:
		// The qubit has no state of its own until the station heralds.
		r.Qubit = a.handle()
		a.ready = max(r.At, d.busy)
		a.bulk = bulk
		if l := a.end.link; !a.closing && l.onArm != nil {
			l.onArm(a.end.side, a.lane)
		}
	case physical.OpFree:
		f.release(a, r.At)
	case physical.OpGate:
		f.settle(a, r.At)
		if b == nil {
			r.Err = w.Gate1(qa, r.At, op.Gate, op.Angle)
			if q := a.kind.noise.Gate1Depolarising; q > 0 && r.Err == nil {
				r.Err = w.Depolarise(qa, r.At, q)
			}
			break
		}
		f.settle(b, r.At)
		qb := state.ID(b.index)
		r.Err = w.Gate2(qa, qb, r.At, op.Gate, noise.Gate2Depolarising)
		if p := noise.Gate2Dephasing; p > 0 && r.Err == nil {
			r.Err = errors.Join(w.Dephase(qa, r.At, p), w.Dephase(qb, r.At, p))
		}
	case physical.OpMeasure:
		f.settle(a, r.At)
		if q := a.kind.noise.Gate1Depolarising; q > 0 && op.Basis != qnet.BasisZ {
			r.Err = w.Depolarise(qa, r.At, q) // in whatever basis
		}
		if r.Err == nil {
			r.Bit, r.Err = w.Measure(qa, r.At, op.Basis, d.rng)
		}
		if e := a.kind.noise.ReadoutError[r.Bit]; e > 0 && d.rng.Float64() < e {
			r.Bit ^= 1
		}
		if op.Free {
			f.finish(a, r)
		}
	case physical.OpBSM:
		f.settle(a, r.At)
		f.settle(b, r.At)
		r.Label, r.Err = w.BellMeasure(qa, state.ID(b.index), r.At, &d.bsmOf(a, b).noise, d.rng)
		f.finish(a, r)
		f.finish(b, r)
	}
	if r.Err != nil {
		// A state engine's limit: its text names no node.
		r.Err = qnet.Errorf(qnet.CodeOf(r.Err), "node %s: %s: %v", d.cfg.Name, opName(op), r.Err)
	}
	f.traceOp(op, a, b, r)
}

// traceOp writes an operation that took effect to the trace.
func (f *Fabric) traceOp(op *physical.Op, a, b *slot, r *physical.Result) {
	if f.tr == nil {
		return
	}
	e := f.tr.Event(f.loop.Now(), "fabric", opName(op)).Str("device", a.dev.cfg.Name).Uint("qubit", uint64(a.index)).Int("at", int64(r.At))
	if b != nil {
		e = e.Uint("with", uint64(b.index))
	}
	switch {
	case r.Err != nil:
		e = e.Err(r.Err)
	case op.Kind == physical.OpMeasure:
		e = e.Uint("bit", uint64(r.Bit))
	case op.Kind == physical.OpBSM:
		e = e.Str("label", r.Label.String())
	}
	e.End()
}

// finish frees the qubit after an operation that does so, unless it failed.
func (f *Fabric) finish(s *slot, r *physical.Result) {
	if r.Err != nil {
		s.closing = false
		return
	}
	f.release(s, r.At)
}

// bsmOf returns the Bell-state measurement of two qubits.
func (d *device) bsmOf(a, b *slot) *bsm {
	i, j := 0, 0
	if a.end == nil {
		i = 1
	}
	if b.end == nil {
		j = 1
	}
	return &d.bsm[i][j]
}

// pause has all lanes that attempt make no attempts from one instant to another,
// in which a serial device does something else.
func (d *device) pause(from, to qnet.Time) {
	for i := range d.slots[len(d.storage):] {
		if s := &d.slots[len(d.storage)+i]; s.isArmed() {
			if l := s.end.link; l.onPause != nil {
				l.onPause(s.end.side, s.lane, to)
			}
			s.pause(from, to)
		}
	}
}

// freeStorage returns the free storage qubit that can be used first.
func (d *device) freeStorage() (*slot, error) {
	now := d.f.loop.Now()
	var best *slot
	for i := range d.storage {
		s := &d.storage[i]
		if s.status == statusFree && (best == nil || s.busy < best.busy) {
			best = s
			if s.busy <= now {
				break
			}
		}
	}
	if best == nil {
		if len(d.storage) == 0 {
			return nil, qnet.Errorf(qnet.ErrNoMemory, "node %s has no storage qubits; give it some, as in storage = 1 in the scenario", d.cfg.Name)
		}
		return nil, qnet.Errorf(qnet.ErrNoMemory, "node %s: all %d storage qubits are in use: free or measure one first", d.cfg.Name, len(d.storage))
	}
	return best, nil
}

// freeLane returns the communication qubit of a lane if it is free, and may be
// used so. Of those that are shared the lane gets the one that can be used first.
func (d *device) freeLane(link physical.LinkID, lane uint32, to status) (*slot, error) {
	e := d.ends[link]
	if e == nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "node %s has no end of link %d", d.cfg.Name, link)
	}
	if n := len(e.slots); int64(lane) >= int64(n) {
		return nil, qnet.Errorf(qnet.ErrInvalid, "node %s: link %d has no lane %d here: its lanes are 0 to %d", d.cfg.Name, link, lane, n-1)
	}
	if to == statusArmed && e.link.Immediate() {
		return nil, qnet.Errorf(qnet.ErrUnsupported, "node %s: the light of link %d is measured as it arrives, so there is no pair to keep: ask for pairs to be measured", d.cfg.Name, link)
	}
	s := &e.slots[lane]
	if s.status != statusFree {
		return nil, qnet.Errorf(qnet.ErrNoMemory, "node %s: the communication qubit of link %d lane %d (of %d) is in use: free or measure it first", d.cfg.Name, link, lane, len(e.slots))
	}
	if len(d.units) > 0 {
		u := d.idle()
		if u == nil {
			return nil, qnet.Errorf(qnet.ErrNoMemory, "node %s: link %d lane %d has no communication qubit: all %d are in use by %s: free or measure one first", d.cfg.Name, link, lane, len(d.units), d.users())
		}
		s.claim(u)
	}
	return s, nil
}

// held returns the slot of q if the node holds it. With an error the slot is
// nil, unless there is something pending on q that goes before.
func (d *device) held(op *physical.Op, q physical.Qubit) (*slot, error) {
	f := d.f
	bad := func(code qnet.Code, why string) error {
		return qnet.Errorf(code, "node %s: %s: %v %s", d.cfg.Name, opName(op), q, why)
	}
	switch {
	case q.IsZero():
		return nil, qnet.Errorf(qnet.ErrBadQubit, "node %s: %s: no qubit is given", d.cfg.Name, opName(op))
	case q.Fabric != f.id:
		return nil, bad(qnet.ErrRestarted, "is not of this fabric: it restarted, and the qubits of before are gone")
	case int64(q.Index) >= int64(len(f.slots)) || f.slots[q.Index].dev != d:
		return nil, bad(qnet.ErrBadQubit, "is not held by this node")
	}
	s := &f.slots[q.Index]
	if s.generation != q.Generation || s.status == statusFree {
		return nil, bad(qnet.ErrBadQubit, "was freed: its handle is no longer valid")
	}
	if s.closing {
		return s, bad(qnet.ErrBadQubit, "was freed by an earlier operation")
	}
	return s, nil
}

// usable is held for an operation that touches the state of the qubit.
func (d *device) usable(op *physical.Op, q physical.Qubit) (*slot, error) {
	s, err := d.held(op, q)
	if err == nil && (s.status == statusArmed || s.status == statusBulk) {
		err = qnet.Errorf(qnet.ErrBadQubit, "node %s: %s: %v is armed for link %d lane %d: free it, or await the herald", d.cfg.Name, opName(op), q, s.end.link.cfg.ID, s.lane)
	}
	return s, err
}

// two returns the operands of an operation on two qubits.
func (d *device) two(op *physical.Op) (a, b *slot, err error) {
	if a, err = d.usable(op, op.A); err != nil {
		return a, nil, err
	}
	if b, err = d.usable(op, op.B); err != nil {
		if b != nil && b.busy > a.busy {
			a = b
		}
		return a, nil, err
	}
	if a == b {
		return a, nil, qnet.Errorf(qnet.ErrInvalid, "node %s: %s of %v with itself: two different qubits are needed", d.cfg.Name, opName(op), op.A)
	}
	if err = d.couple(op, a, b); err != nil {
		if b.busy > a.busy {
			a = b
		}
		return a, nil, err
	}
	return a, b, nil
}

// gateOperands returns the operands of a gate.
func (d *device) gateOperands(op *physical.Op) (a, b *slot, err error) {
	switch {
	case op.Gate == 0 || op.Gate >= physical.GateEnd:
		return nil, nil, qnet.Errorf(qnet.ErrInvalid, "node %s: there is no gate %v", d.cfg.Name, op.Gate)
	case math.IsNaN(op.Angle) || math.IsInf(op.Angle, 0):
		return nil, nil, qnet.Errorf(qnet.ErrInvalid, "node %s: gate %v: angle %g is not finite", d.cfg.Name, op.Gate, op.Angle)
	case op.Gate.Qubits() == 2:
		return d.two(op)
	}
	a, err = d.usable(op, op.A)
	return a, nil, err
}

// opName names an operation in diagnostics.
func opName(op *physical.Op) string {
	switch op.Kind {
	case physical.OpAlloc:
		return "allocate"
	case physical.OpArm:
		return "arm"
	case physical.OpFree:
		return "free"
	case physical.OpGate:
		return "gate " + op.Gate.String()
	case physical.OpMeasure:
		return "measure"
	case physical.OpBSM:
		return "bsm"
	case physical.OpPrepare:
		return "prepare"
	case physical.OpRefresh:
		return "refresh"
	}
	return "operation"
}
