package link_test

import (
	"errors"
	"math"
	"math/cmplx"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
)

// stored prepares a storage qubit of an end in |+⟩.
func (w *world) stored(side int) (q physical.Qubit) {
	w.t.Helper()
	dev := w.fabric.Device(alice + qnet.NodeID(side))
	dev.Do(physical.Op{Kind: physical.OpAlloc}, func(r physical.Result) { q = r.Qubit })
	w.run(time.Millisecond)
	dev.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: q}, nil)
	w.run(time.Millisecond)
	return q
}

// attempts returns how many attempts have dephased a qubit that was |+⟩.
func (w *world) attempts(q physical.Qubit) float64 {
	w.t.Helper()
	rho, err := w.fabric.Oracle().Density(w.loop.Now(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return math.Log(2*cmplx.Abs(rho[1])) / math.Log1p(-2*w.cfg.dephasing)
}

// Whatever is asked of a link, a stored qubit is dephased once by each attempt:
// n successes take n/p of them, with a standard deviation of √(n(1−p))/p. False
// alarm 6e-7 each: 5 standard deviations. Nothing dephases once the request is
// over.
func TestAttemptsDephase(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  link.Type
		cfg  worldConfig
	}{
		{"keep", link.Keep, worldConfig{}},
		{"keep, far, two lanes", link.Keep, worldConfig{length: 2000, lanes: 2}},
		{"measure", link.Measure, worldConfig{}},
		{"measure, far, two lanes", link.Measure, worldConfig{length: 2000, lanes: 2}},
		{"measure, slowly", link.Measure, worldConfig{length: 2000, spec: physical.Spec{Readout: 50 * time.Microsecond}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const n, p = 4000, 0.02
			cfg := c.cfg
			cfg.seed, cfg.probability, cfg.dephasing, cfg.spec.Storage = 21, p, 1e-6, 1
			w := newWorld(t, cfg)
			qs := [2]physical.Qubit{w.stored(0), w.stored(1)}
			if got := w.attempts(qs[0]); math.Abs(got) > 1e-6 {
				t.Fatalf("%g attempts before any", got)
			}
			src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}}
			w.ends[1].bases = src
			id := w.ends[0].create(link.Request{Type: c.typ, Pairs: n, Deadline: qnet.Never, Limit: n, Bases: src})
			w.runUntil(time.Hour, func() bool { return w.ended(id) })
			w.run(time.Second)
			for side, q := range qs {
				got := w.attempts(q)
				want, deviation := n/p, math.Sqrt(n*(1-p))/p
				// When the last pair has come the other lanes attempt until they hear it, and
				// what they bring then, or in bulk beside the last frame, is nobody's.
				if spare := 5000.0 * float64(max(cfg.lanes, 1)-1); got < want-5*deviation || got > want+5*deviation+spare {
					t.Errorf("side %d: %.1f attempts, want %.0f ± %.0f", side, got, want, deviation)
				}
				if r := math.Round(got); math.Abs(got-r) > 1e-3 {
					t.Errorf("side %d: %g attempts", side, got)
				}
			}
			w.run(time.Second)
			if a, b := w.attempts(qs[0]), w.attempts(qs[1]); math.Abs(a-b) > 1e-3 {
				t.Errorf("%g attempts at one end and %g at the other", a, b)
			}
			for side, q := range qs {
				w.fabric.Device(alice+qnet.NodeID(side)).Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
			}
			w.run(time.Second)
			w.rest()
		})
	}
}

// counter counts what is armed.
type counter struct {
	physical.Device
	armed   []int // by lane
	refused int
}

func (c *counter) Do(op physical.Op, done func(physical.Result)) {
	if op.Kind != physical.OpArm {
		c.Device.Do(op, done)
		return
	}
	c.Device.Do(op, func(r physical.Result) {
		if r.Err == nil {
			c.armed[op.Lane]++
		} else if errors.Is(r.Err, qnet.ErrNoMemory) {
			c.refused++
		}
		done(r)
	})
}

// Lanes that share a communication qubit take turns at it, without asking for it
// again and again.
func TestLanesShareAQubit(t *testing.T) {
	const n, lanes = 300, 3
	var devices []*counter
	w := newWorld(t, worldConfig{seed: 22, probability: 0.01, lanes: lanes, length: 1000,
		spec: physical.Spec{Communication: 1, Init: 5 * time.Microsecond},
		device: func(d physical.Device) physical.Device {
			c := &counter{Device: d, armed: make([]int, lanes)}
			devices = append(devices, c)
			return c
		}})
	id := w.ends[0].create(link.Request{Pairs: n, Deadline: qnet.Never, Limit: n})
	w.runUntil(time.Minute, func() bool { return w.ended(id) })
	w.run(time.Second)
	w.rest()
	for _, d := range devices {
		for lane, k := range d.armed {
			if k < n/lanes-5 || k > n/lanes+5 {
				t.Errorf("lane %d was armed %d times for %d pairs", lane, k, n)
			}
		}
		if d.refused > 2*n*lanes {
			t.Errorf("%d refusals for %d pairs", d.refused, n)
		}
	}
	t.Logf("armed %v and %v times, refused %d and %d times", devices[0].armed, devices[1].armed, devices[0].refused, devices[1].refused)
}

// A lane whose qubit others take as soon as it is given back is none to attempt with: what
// is left goes to what both ends attempt for.
func TestLanesBesideOthers(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(t, worldConfig{seed: seed, probability: 0.01, lanes: 3, length: 1000, spec: physical.Spec{Communication: 2, Init: 5 * time.Microsecond}})
		w.ends[0].bases, w.ends[1].bases = pauli, pauli
		var ids []link.RequestID
		for i := range 40 {
			r := link.Request{Type: link.Type(w.rng.IntN(2)), Pairs: 1 + w.rng.Uint64N(10), Limit: 1 << 40, Deadline: qnet.Never, Bases: pauli}
			ids = append(ids, w.ends[i%2].create(r))
			w.run(time.Duration(w.rng.IntN(1000)) * time.Microsecond)
			if i != 10 {
				continue
			}
			for _, e := range w.ends { // one qubit of two is another's from now on
				var take func()
				take = func() {
					e.dev.Do(physical.Op{Kind: physical.OpPrepare, Link: theLink, Lane: 2}, func(r physical.Result) {
						if r.Err != nil {
							w.loop.After(time.Microsecond, take)
						}
					})
				}
				take()
			}
		}
		w.run(5 * time.Second)
		if !w.all(ids)() {
			t.Errorf("seed %d: requests of 200 pairs or so are open after 5 s, in which one lane alone has 50,000", seed)
		}
	}
}

// Where lanes are more than the communication qubits that they share, one that is to store
// has its qubit while it initialises the storage too: all kinds of requests end, and have
// their share as streams, as where every lane has a qubit of its own.
func TestMoreLanesThanQubits(t *testing.T) {
	kinds := map[rune]link.Request{'S': {Store: true}, 'K': {}, 'M': {Type: link.Measure, Bases: pauli}}
	for qubits := 1; qubits <= 2; qubits++ {
		for _, mix := range []string{"SMSM", "SKSK", "SSMK"} {
			var want []int
			for _, lanes := range []int{qubits, qubits + 1, 2*qubits + 1} {
				w := newWorld(t, worldConfig{seed: 23, probability: 0.2, lanes: lanes, length: 4000,
					spec: physical.Spec{Communication: qubits, Storage: 4, Init: 5 * time.Microsecond, Gate1: time.Microsecond, Gate2: 3 * time.Microsecond, Readout: 2 * time.Microsecond}})
				w.ends[0].bases, w.ends[1].bases = pauli, pauli
				var ids []link.RequestID
				for i, k := range mix {
					r := kinds[k]
					r.Pairs, r.Limit, r.Deadline = 50, 1<<40, qnet.Never
					ids = append(ids, w.ends[i%2].create(r))
				}
				w.runUntil(time.Second, w.all(ids))
				w.rest()
				for i, k := range mix {
					r := kinds[k]
					r.Limit, r.Deadline = 1<<40, qnet.Never
					ids[i] = w.ends[i%2].create(r)
					w.run(time.Millisecond)
					w.allow(ids[i], 1<<40)
				}
				w.run(2 * time.Second)
				for i, id := range ids {
					n := len(w.ends[0].requests[id].pairs) + w.measured(id)
					if lanes == qubits {
						want = append(want, n)
					} else {
						w.about(string(mix[i]), n, float64(want[i]), 0.03)
					}
				}
			}
		}
	}
}
