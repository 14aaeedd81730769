package link_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
)

// Two atomic requests that no slot serves both have begun before either has a pair, each
// at the end that created it, since the other took none of it yet: both complete. A link
// on which the one that has begun holds back the other at each end brings nothing more.
func TestAtomicRequestsOfDifferentSlots(t *testing.T) {
	table := []link.Slot{{Begin: 0, End: 5000, Priorities: []uint8{0}}, {Begin: 5000, End: 10_000, Priorities: []uint8{7}}}
	for lanes := 1; lanes <= 3; lanes++ {
		for _, typ := range []link.Type{link.Keep, link.Prepare} {
			w := newWorld(t, worldConfig{seed: 61, probability: 0.1, length: 2000, lanes: lanes, scheduler: func() link.Scheduler {
				return &link.Slots{Scheduler: new(link.Fair), Period: 10_000, Table: table}
			}})
			ids := [2]link.RequestID{}
			for side, priority := range []uint8{0, 7} {
				ids[side] = w.ends[side].create(link.Request{Type: typ, Pairs: 5, Deadline: qnet.Never, Limit: 1 << 40, Atomic: true, Priority: priority, Bases: pauli})
			}
			limit := func(n uint64) {
				for side, id := range ids {
					w.ends[1-side].layer.SetLimit(theLink, id, n)
				}
			}
			w.run(15 * time.Microsecond) // the ADD has come
			limit(0)
			w.run(50 * time.Millisecond)
			limit(1 << 40)
			w.runUntil(time.Second, func() bool { return w.ended(ids[0]) && w.ended(ids[1]) })
			for _, id := range ids {
				if err := w.ends[0].requests[id].err; err != nil {
					t.Errorf("%d lanes, %v: %v", lanes, typ, err)
				}
			}
			w.run(time.Second)
			w.rest()
		}
	}
}

// A request that waits for storage, at one end or at both, keeps no other waiting,
// atomic or not: of twenty that come one after the other each has its pair within
// 100 ms. It is served itself soon after its storage qubits are free, for which the ends
// look every 16 ms, also if another attempts without a break; one whose deadline comes
// before is told what was missing.
func TestStorageShortageKeepsNoOtherWaiting(t *testing.T) {
	for _, c := range []struct {
		lanes    int
		short    [2]bool
		typ      link.Type
		atomic   bool
		indirect bool
	}{
		{lanes: 1, short: [2]bool{true, false}},
		{lanes: 1, short: [2]bool{false, true}, typ: link.Measure},
		{lanes: 1, short: [2]bool{true, true}, atomic: true},
		{lanes: 1, short: [2]bool{true, true}, typ: link.Measure, indirect: true},
		{lanes: 1, short: [2]bool{false, true}, atomic: true, indirect: true},
		{lanes: 2, short: [2]bool{true, false}, typ: link.Measure},
		{lanes: 2, short: [2]bool{true, true}, indirect: true},
		{lanes: 4, short: [2]bool{false, true}, atomic: true, typ: link.Measure},
		{lanes: 4, short: [2]bool{true, true}},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			t.Parallel()
			s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 62, probability: 0.1, lanes: c.lanes, length: 2000,
				spec: physical.Spec{Storage: 1, Init: time.Microsecond, Memory: &physical.Memory{Init: 10 * time.Microsecond, Indirect: c.indirect}}}})
			stored := link.Request{Pairs: 1, Deadline: qnet.Never, Limit: 1, Store: true}
			first := s.users[0].create(stored)
			for side, short := range c.short {
				if short {
					s.users[side].onPair = func(e *end, p link.Pair) {
						if p.Request != first {
							e.free(p.Seq)
						}
					}
				}
			}
			s.done(time.Second, first)
			stored.Atomic = c.atomic
			waits := s.users[0].create(stored)
			late := stored
			late.Deadline = s.loop.Now().Add(time.Second)
			lacks := s.users[0].create(late)
			s.run(100 * time.Millisecond)
			for range 20 {
				id := s.users[0].create(link.Request{Type: c.typ, Pairs: 1, Deadline: s.loop.Now().Add(100 * time.Millisecond), Limit: 1})
				s.run(110 * time.Millisecond)
				s.users[0].wantCode(id, qnet.OK)
			}
			s.users[0].wantCode(lacks, qnet.ErrNoMemory)
			if err := s.users[0].requests[lacks].err; !strings.Contains(err.Error(), "all storage qubits of") {
				t.Error(err)
			}
			if s.ended(waits) {
				t.Error("the request that waits for storage has ended")
			}
			other := s.users[0].create(link.Request{Type: c.typ, Pairs: 0, Deadline: qnet.Never, Limit: 1 << 40}) // attempts without a break
			s.run(100 * time.Millisecond)
			s.unblock()
			s.done(100*time.Millisecond, waits)
			s.users[0].cancel(other)
			s.run(time.Second)
			s.rest()
		})
	}
}

// One end has fewer storage qubits than lanes: three requests that are stored share
// those, and one that is not has the other lane for itself. What is stored gets at least
// half of what it gets alone, and what is not a third of what it gets alone on one lane.
func TestLanesBeyondStorage(t *testing.T) {
	for side := range 2 {
		for _, indirect := range []bool{false, true} {
			for _, typ := range []link.Type{link.Keep, link.Measure} {
				t.Run(fmt.Sprintf("side %d, indirect=%v, %v", side, indirect, typ), func(t *testing.T) {
					t.Parallel()
					pairs := func(lanes, stores, others int) (stored, other int) {
						memory := &physical.Memory{Init: 10 * time.Microsecond, Indirect: indirect}
						specs := [2]physical.Spec{{Storage: 4, Init: 1000, Memory: memory}, {Storage: 4, Init: 1000, Memory: memory}}
						specs[side].Storage = 1
						s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 63, probability: 0.01, lanes: lanes, length: 2000}, specs: specs})
						kept := make(map[link.RequestID]bool)
						for range stores {
							kept[s.users[0].create(link.Request{Deadline: qnet.Never, Limit: 1 << 40, Store: true})] = true
						}
						for range others {
							s.users[1].create(link.Request{Type: typ, Deadline: qnet.Never, Limit: 1 << 40})
						}
						s.run(time.Second)
						for _, p := range s.users[0].order {
							if kept[p.Request] {
								stored++
							} else {
								other++
							}
						}
						return stored, other + len(s.users[0].measuredAt)
					}
					most, _ := pairs(1, 3, 0)
					_, lane := pairs(1, 0, 1)
					stored, other := pairs(2, 3, 1)
					t.Logf("%d of %d stored, %d of %d others", stored, most, other, lane)
					if stored < most/2 || other < lane/3 {
						t.Errorf("%d pairs stored and %d others, alone there were %d and %d", stored, other, most, lane)
					}
				})
			}
		}
	}
}

// An atomic request that has begun holds the link also while it waits for storage.
func TestAtomicRequestWaitsForStorage(t *testing.T) {
	s := newService(t, serviceConfig{worldConfig: worldConfig{seed: 64, probability: 0.1, lanes: 2, length: 2000, spec: physical.Spec{Storage: 1}}})
	s.users[0].onPair = keepHeld
	atomic := s.users[0].create(link.Request{Pairs: 2, Deadline: qnet.Never, Limit: 2, Store: true, Atomic: true})
	s.runUntil(time.Second, func() bool { return len(s.users[0].held) == 1 })
	id := s.users[0].create(link.Request{Pairs: 1, Deadline: s.loop.Now().Add(time.Second), Limit: 1})
	s.run(1100 * time.Millisecond)
	s.users[0].wantCode(id, qnet.ErrTimeout)
	s.users[0].onPair = nil
	s.unblock()
	s.done(100*time.Millisecond, atomic)
	s.run(time.Second)
	s.rest()
}

// However many requests wait for storage, a lane that these can not use serves one that
// needs none; and where there is storage for all, each kind has its lanes.
func TestBehindManyStored(t *testing.T) {
	run := func(lanes, storage, n int, scheduler func() link.Scheduler) (pairs int) {
		w := newWorld(t, worldConfig{seed: 1, probability: 0.02, lanes: lanes, length: 20, scheduler: scheduler,
			spec: physical.Spec{Storage: storage, Init: 5 * time.Microsecond, Gate2: 3 * time.Microsecond}})
		for range n {
			w.ends[0].create(link.Request{Store: true, Deadline: qnet.Never, Limit: 1 << 40, Priority: 1})
		}
		w.run(10 * time.Millisecond)
		id := w.ends[0].create(link.Request{Deadline: qnet.Never, Limit: 1 << 40})
		w.run(100 * time.Millisecond)
		return len(w.ends[0].requests[id].pairs)
	}
	fcfs := func() link.Scheduler { return link.FCFS{} }
	for _, scheduler := range []func() link.Scheduler{nil, fcfs} {
		few := run(2, 1, 1, scheduler)
		for _, n := range []int{8, 20, 60} {
			if many := run(2, 1, n, scheduler); many < few*9/10 || few < 100 {
				t.Errorf("one lane of two has %d pairs behind %d stored requests, %d behind one", many, n, few)
			}
		}
	}
	for _, n := range []int{7, 8, 12} {
		if pairs := run(16, 16, n, fcfs); pairs < 100 {
			t.Errorf("%d pairs on one of 16 lanes behind %d stored requests", pairs, n)
		}
	}
}

// Slots, storage that is short and frames that are lost leave lanes with nothing to offer
// for a moment: advice that arrives then is not for them.
func TestAdviceForALaneWithoutOffer(t *testing.T) {
	slots := func() link.Scheduler {
		return &link.Slots{Scheduler: new(link.Fair), Period: 4000, Table: []link.Slot{{End: 2000, Purposes: []uint64{0, 1}}, {Begin: 2000, End: 4000}}}
	}
	for seed := range uint64(12) {
		w := newWorld(t, worldConfig{seed: seed, probability: 0.02, lanes: 2, length: 40000, scheduler: slots, spec: physical.Spec{Storage: 1},
			hazards: control.LinkConfig{Loss: 0.02, Jitter: 50 * time.Microsecond}})
		open, done := make(map[link.RequestID]bool), 0
		for range 3000 {
			for id := range open {
				if w.ended(id) {
					delete(open, id)
					done++
				}
			}
			for len(open) < 16 {
				r := link.Request{Pairs: 1 + w.rng.Uint64N(4), Deadline: qnet.Never, Limit: 1 << 40}
				if k := w.rng.Uint64N(8); k < 6 {
					r.Store, r.Priority, r.Purpose = true, 5, 1+k%2
				}
				open[w.ends[w.rng.IntN(2)].create(r)] = true
			}
			w.run(200 * time.Microsecond)
		}
		if done < 50 {
			t.Errorf("seed %d: %d requests in 600 ms", seed, done)
		}
	}
}

// A storage qubit that is being initialised is none that an end is short of, however long
// that takes: with more lanes than storage qubits pairs come as with as many.
func TestSlowStorage(t *testing.T) {
	for _, init := range []time.Duration{2 * time.Millisecond, 15 * time.Millisecond, 50 * time.Millisecond} {
		for _, indirect := range []bool{false, true} {
			var pairs [2]int
			for i := range pairs {
				w := newWorld(t, worldConfig{seed: 9, probability: 0.05, lanes: 1 + i, length: 2000,
					spec: physical.Spec{Storage: 1, Init: 10 * time.Microsecond, Gate2: 20 * time.Microsecond, Memory: &physical.Memory{Init: init, Indirect: indirect}}})
				id := w.ends[0].create(link.Request{Store: true, Limit: 1 << 40, Deadline: qnet.Never})
				w.run(10 * time.Second)
				pairs[i] = len(w.ends[0].requests[id].pairs)
				w.ends[0].layer.End(theLink, id, qnet.ErrCancelled)
				w.run(time.Second)
				w.rest()
			}
			if pairs[0] < 90 || 10*pairs[1] < 9*pairs[0] {
				t.Errorf("initialised in %v, indirect %v: %d pairs with one lane, %d with two", init, indirect, pairs[0], pairs[1])
			}
		}
	}
}

// failing is a device of which one gate of every fifth move fails.
type failing struct {
	physical.Device
	w     **world
	gate  int // of the two of a move
	gates int
}

func (d *failing) Do(op physical.Op, done func(physical.Result)) {
	if op.Kind == physical.OpGate {
		if d.gates++; d.gates%10 == d.gate+1 {
			(*d.w).loop.After(0, func() {
				if done != nil {
					done(physical.Result{Err: qnet.Errorf(qnet.ErrInternal, "the gate failed"), At: d.Now()})
				}
			})
			return
		}
	}
	d.Device.Do(op, done)
}

// A pair of which a half was not moved, since either gate of the move failed, is void, and
// another comes in its place. Nor does a test round count that has no such half, or one that
// was not moved back to be read out: of hardware that is perfect otherwise they show nothing
// wrong.
func TestFailedMoves(t *testing.T) {
	for gate := range 2 {
		for _, indirect := range []bool{false, true} {
			for _, testing := range []float64{0, 0.3} {
				offset := 0
				var w *world
				w = newWorld(t, worldConfig{seed: 9, probability: 0.05, length: 200, told: 1, testing: testing,
					spec: physical.Spec{Storage: 4, Gate2: time.Microsecond, Memory: &physical.Memory{Init: time.Microsecond, Indirect: indirect}},
					device: func(d physical.Device) physical.Device {
						offset += 2
						return &failing{Device: d, w: &w, gate: gate, gates: offset}
					}})
				for _, e := range w.ends {
					e.onPair = func(e *end, p link.Pair) {
						o, ok := w.ends[1-e.side].held[p.Seq]
						if !ok {
							return
						}
						if f, err := w.fabric.Oracle().BellFidelity(w.loop.Now(), p.Qubit, o.Qubit, p.Label); err != nil || f < 1-1e-9 {
							t.Errorf("gate %d fails, indirect %v: pair %d has fidelity %v (%v)", gate, indirect, p.Seq, f, err)
						}
						e.free(p.Seq)
						w.ends[1-e.side].free(p.Seq)
					}
				}
				r := link.Request{Store: true, Pairs: 3000, MinFidelity: 0.9, Limit: 1 << 40, Deadline: qnet.Never}
				id := w.ends[0].create(r)
				w.runUntil(time.Minute, func() bool { return w.ended(id) })
				w.run(time.Second)
				for side, e := range w.ends {
					for seq := range e.held { // of which the other end had no half
						t.Errorf("gate %d fails, indirect %v: side %d has pair %d alone", gate, indirect, side, seq)
					}
					if c := e.requests[id]; c.err != nil || len(c.pairs) != 3000 {
						t.Errorf("gate %d fails, indirect %v: side %d: ended with %v, %d pairs", gate, indirect, side, c.err, len(c.pairs))
					}
					q, err := e.layer.Best(theLink, r)
					if err != nil || (q.Rounds > 0) != (testing > 0) || q.Rounds > 0 && q.Measured < 1-1e-9 {
						t.Errorf("gate %d fails, indirect %v: side %d: %+v, %v", gate, indirect, side, q, err)
					}
				}
				w.rest()
			}
		}
	}
}

// Where the storage qubits of one end are few, whoever holds the others, both ends attempt
// for as many pairs to be stored: the lanes that are left serve others as well as where
// both ends have so few.
func TestFewStorageQubitsOfOneEnd(t *testing.T) {
	for _, lanes := range []int{2, 4} {
		for _, other := range []link.Type{link.Measure, link.Keep} {
			for _, priority := range []uint8{0, 5} {
				var want [2]int // where both ends hold all but one
				for _, holds := range [][]int{{0, 1}, {0}, {1}} {
					w := newWorld(t, worldConfig{seed: 25, probability: 0.002, lanes: lanes, length: 2000, spec: physical.Spec{Storage: lanes}})
					w.ends[0].bases, w.ends[1].bases = pauli, pauli
					for _, side := range holds {
						n := 0
						w.ends[side].onPair = func(e *end, p link.Pair) {
							if p.Qubit.Index%uint32(2*lanes) >= uint32(lanes) { // a communication qubit, which comes after the storage
								e.free(p.Seq)
							} else if n++; n >= lanes {
								e.free(p.Seq)
							}
						}
					}
					stored := w.ends[0].create(link.Request{Store: true, Priority: priority, Limit: 1 << 40, Deadline: qnet.Never})
					beside := w.ends[1].create(link.Request{Type: other, Bases: pauli, Limit: 1 << 40, Deadline: qnet.Never})
					w.run(10 * time.Millisecond)
					w.allow(beside, 1<<40)
					w.run(time.Second)
					count := func() [2]int {
						return [2]int{len(w.ends[0].requests[stored].pairs), len(w.ends[0].requests[beside].pairs) + w.measured(beside)}
					}
					before := count()
					w.run(2 * time.Second)
					got := count()
					for i := range got {
						got[i] -= before[i]
						if len(holds) == 2 {
							want[i] = got[i]
						} else if 10*got[i] < 9*want[i] {
							t.Errorf("%d lanes, %v, priority %d, side %v is short: %d pairs of request %d, %d where both are", lanes, other, priority, holds, got[i], i, want[i])
						}
					}
				}
			}
		}
	}
}

// A stream that waits for storage which an end holds for good costs others next to nothing,
// also where an end has to make room on a lane to ask whether there is some.
func TestWaitingForStorageCostsLittle(t *testing.T) {
	for _, indirect := range []bool{false, true} {
		for _, c := range []struct{ loss, least float64 }{{0, 0.97}, {0.01, 0.95}, {0.1, 0.5}} {
			var without int
			for _, waits := range []bool{false, true} {
				w := newWorld(t, worldConfig{seed: 28, probability: 0.02, length: 2000, hazards: control.LinkConfig{Loss: c.loss},
					spec: physical.Spec{Storage: 1, Init: time.Microsecond, Memory: &physical.Memory{Init: 10 * time.Microsecond, Indirect: indirect}}})
				w.ends[0].bases, w.ends[1].bases = pauli, pauli
				first := true
				w.ends[1].onPair = func(e *end, p link.Pair) {
					if !first {
						e.free(p.Seq)
					}
					first = false
				}
				w.ends[0].create(link.Request{Store: true, Pairs: 1, Limit: 1, Deadline: qnet.Never}) // has the storage
				w.run(100 * time.Millisecond)
				if waits {
					w.ends[0].create(link.Request{Store: true, Limit: 1 << 40, Deadline: qnet.Never})
				}
				kept := w.ends[1].create(link.Request{Limit: 1 << 40, Deadline: qnet.Never})
				measured := w.stream(1)
				w.run(time.Second)
				count := func() int { return len(w.ends[0].requests[kept].pairs) + w.measured(measured) }
				before := count()
				w.run(3 * time.Second)
				if n := count() - before; !waits {
					without = n
				} else if float64(n) < c.least*float64(without) {
					t.Errorf("indirect %v, loss %g: %d pairs of others, %d if nothing waits", indirect, c.loss, n, without)
				}
			}
		}
	}
}
