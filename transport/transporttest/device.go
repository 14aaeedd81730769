package transporttest

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"time"

	"qstack/physical"
	"qstack/qnet"
)

// register is the joint pure state of some qubits: bit i of an index of amp
// belongs to qubits[i].
type register struct {
	qubits []*qubit
	amp    []complex128
}

// qubit is one noiseless qubit.
type qubit struct {
	owner  *Device
	handle physical.Qubit
	reg    *register
}

// Device is a noiseless quantum device with exact states. Operations take
// OpTime each.
type Device struct {
	w      *World
	name   string
	qubits map[physical.Qubit]*qubit
	next   uint32
	// OpTime is the duration of an operation.
	OpTime time.Duration
	// Fail, if set, may give an operation an error in place of its effect.
	Fail func(physical.Op) error
	// Storage is the number of qubits that fit.
	Storage int
}

var _ physical.Device = (*Device)(nil)

// Len returns the number of qubits that the device holds.
func (d *Device) Len() int { return len(d.qubits) }

// Spec implements physical.Device.
func (d *Device) Spec() *physical.Spec {
	return &physical.Spec{Storage: d.Storage, Init: d.OpTime, Gate1: d.OpTime, Gate2: d.OpTime, Readout: d.OpTime}
}

// Watch implements physical.Device; there are no communication qubits.
func (d *Device) Watch(func(physical.LinkID, uint32)) {}

// Now implements physical.Device.
func (d *Device) Now() qnet.Time { return d.w.Loop.Now() }

// ArmBulk implements physical.Device. It fails: there are no links here.
func (d *Device) ArmBulk(_ physical.LinkID, _ uint32, _ physical.BasisSource, _ func(physical.Outcomes, error), done func(physical.Result)) {
	d.w.Loop.After(0, func() {
		done(physical.Result{Err: qnet.Errorf(qnet.ErrUnsupported, "%s has no links", d.name), At: d.Now()})
	})
}

// Do implements physical.Device.
func (d *Device) Do(op physical.Op, done func(physical.Result)) {
	if op.Kind == physical.OpFree {
		d.w.logf("%s: free %v", d.name, op.A)
		d.release(op.A)
		if done != nil {
			d.w.Loop.After(0, func() { done(physical.Result{At: d.Now()}) })
		}
		return
	}
	d.w.Loop.After(d.OpTime, func() {
		r := d.do(op)
		r.At = d.Now()
		if done != nil {
			done(r)
		}
	})
}

func (d *Device) release(h physical.Qubit) {
	if q := d.qubits[h]; q != nil {
		q.measure(qnet.BasisZ, d.w.rng)
		delete(d.qubits, h)
	}
}

func (d *Device) add() *qubit {
	d.next++
	q := &qubit{owner: d, handle: physical.Qubit{Fabric: 1, Index: d.next, Generation: 1}}
	q.reg = &register{qubits: []*qubit{q}, amp: []complex128{1, 0}}
	d.qubits[q.handle] = q
	return q
}

func (d *Device) do(op physical.Op) (r physical.Result) {
	if d.Fail != nil {
		if r.Err = d.Fail(op); r.Err != nil {
			d.w.logf("%s: %s fails", d.name, opName(op))
			return r
		}
	}
	if op.Kind == physical.OpAlloc {
		if len(d.qubits) >= d.Storage {
			r.Err = qnet.Errorf(qnet.ErrNoMemory, "all %d storage qubits of %s are in use; free one", d.Storage, d.name)
			return r
		}
		r.Qubit = d.add().handle
		d.w.logf("%s: alloc %v", d.name, r.Qubit)
		return r
	}
	two := op.Kind == physical.OpBSM || op.Kind == physical.OpGate && op.Gate.Qubits() == 2
	a, b := d.qubits[op.A], d.qubits[op.B]
	if a == nil || two && b == nil {
		r.Err = qnet.Errorf(qnet.ErrBadQubit, "%s holds no such qubit", d.name)
		return r
	}
	switch op.Kind {
	case physical.OpGate:
		a.gate(op.Gate, op.Angle, b)
	case physical.OpMeasure:
		r.Bit = a.measure(op.Basis, d.w.rng)
		if op.Free {
			delete(d.qubits, op.A)
		}
	case physical.OpBSM:
		a.gate(physical.GateCNOT, 0, b)
		a.gate(physical.GateH, 0, nil)
		z, x := a.measure(qnet.BasisZ, d.w.rng), b.measure(qnet.BasisZ, d.w.rng)
		delete(d.qubits, op.A)
		delete(d.qubits, op.B)
		r.Label = qnet.BellLabel(x<<1 | z)
	}
	d.w.logf("%s: %s", d.name, opName(op))
	return r
}

func opName(op physical.Op) string {
	switch op.Kind {
	case physical.OpGate:
		if op.Gate.Qubits() == 2 {
			return op.Gate.String() + " " + op.A.String() + " " + op.B.String()
		}
		return op.Gate.String() + " " + op.A.String()
	case physical.OpMeasure:
		return "measure " + op.A.String() + " in " + op.Basis.String()
	case physical.OpBSM:
		return "bsm " + op.A.String() + " " + op.B.String()
	}
	return "alloc"
}

// join puts two qubits in one register.
func join(a, b *qubit) {
	ra, rb := a.reg, b.reg
	if ra == rb {
		return
	}
	amp := make([]complex128, len(ra.amp)*len(rb.amp))
	for i, x := range ra.amp {
		for j, y := range rb.amp {
			amp[i+j*len(ra.amp)] = x * y
		}
	}
	ra.amp = amp
	for _, q := range rb.qubits {
		q.reg = ra
		ra.qubits = append(ra.qubits, q)
	}
}

func (q *qubit) bit() int { return 1 << slices.Index(q.reg.qubits, q) }

// apply applies the matrix {{a, b}, {c, d}} to q.
func (q *qubit) apply(a, b, c, d complex128) {
	m, amp := q.bit(), q.reg.amp
	for i := range amp {
		if i&m == 0 {
			x, y := amp[i], amp[i|m]
			amp[i], amp[i|m] = a*x+b*y, c*x+d*y
		}
	}
}

func (q *qubit) gate(g physical.Gate, angle float64, target *qubit) {
	s, c := math.Sincos(angle / 2)
	phase := func(f float64) { q.apply(1, 0, 0, cmplx.Exp(complex(0, f))) }
	switch g {
	case physical.GateX:
		q.apply(0, 1, 1, 0)
	case physical.GateY:
		q.apply(0, -1i, 1i, 0)
	case physical.GateZ:
		phase(math.Pi)
	case physical.GateH:
		h := complex(math.Sqrt2/2, 0)
		q.apply(h, h, h, -h)
	case physical.GateS:
		phase(math.Pi / 2)
	case physical.GateSdg:
		phase(-math.Pi / 2)
	case physical.GateT:
		phase(math.Pi / 4)
	case physical.GateTdg:
		phase(-math.Pi / 4)
	case physical.GateRX:
		q.apply(complex(c, 0), complex(0, -s), complex(0, -s), complex(c, 0))
	case physical.GateRY:
		q.apply(complex(c, 0), complex(-s, 0), complex(s, 0), complex(c, 0))
	case physical.GateRZ:
		q.apply(complex(c, -s), 0, 0, complex(c, s))
	case physical.GateCNOT, physical.GateCZ:
		join(q, target)
		mc, mt, amp := q.bit(), target.bit(), q.reg.amp
		for i := range amp {
			if i&mc == 0 || i&mt == 0 {
				continue
			}
			if g == physical.GateCZ {
				amp[i] = -amp[i]
			} else {
				amp[i], amp[i&^mt] = amp[i&^mt], amp[i]
			}
		}
	}
}

// measure measures q along an axis and takes it out of its register.
func (q *qubit) measure(b qnet.Basis, rng *rand.Rand) uint8 {
	q.gate(physical.GateRZ, -b.Phi, nil)
	q.gate(physical.GateRY, -b.Theta, nil)
	m, r := q.bit(), q.reg
	one := 0.0
	for i, a := range r.amp {
		if i&m != 0 {
			one += real(a)*real(a) + imag(a)*imag(a)
		}
	}
	bit, p := uint8(0), 1-one
	if rng.Float64() < one {
		bit, p = 1, one
	}
	var rest []complex128
	for i, a := range r.amp {
		if (i&m != 0) == (bit == 1) {
			rest = append(rest, a/complex(math.Sqrt(p), 0))
		}
	}
	r.amp = rest
	r.qubits = slices.DeleteFunc(r.qubits, func(o *qubit) bool { return o == q })
	q.reg = &register{qubits: []*qubit{q}, amp: []complex128{complex(1-float64(bit), 0), complex(float64(bit), 0)}}
	return bit
}
