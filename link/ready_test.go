package link

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// byPurpose is a scheduler with a class for each of four purposes.
type byPurpose struct{ Fair }

func (s *byPurpose) Kind(e *Entry) Kind {
	k := s.Fair.Kind(e)
	k.Class = int(e.Purpose)
	return k
}

// Ready requests come in the order of the scheduler, as in a list that is sorted
// each time, whatever becomes of them, and whoever of them may be served.
func TestReadyIsInOrder(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var sched Scheduler = new(byPurpose)
		if seed%4 == 0 {
			sched = new(Fair) // nothing but storage tells them apart
		}
		h := ready{sched: sched}
		var may func(*Entry) bool
		var peer shortage
		var list, gone []*request // those that are there, and were
		for place := uint64(1); place < 3000; place++ {
			switch k := rng.IntN(10); {
			case k < 4 && len(list) < 6*maxHead || len(list) == 0:
				q := &request{Entry: Entry{Place: place, Priority: uint8(rng.IntN(2)), Purpose: rng.Uint64N(4), Turn: float64(rng.IntN(100))}, store: rng.IntN(3) == 0}
				if len(gone) > 0 && rng.IntN(2) == 0 {
					q, gone = gone[len(gone)-1], gone[:len(gone)-1] // wanted again
					q.Turn = float64(rng.IntN(100))
				}
				q.Kind = h.kind(q)
				h.add(q)
				list = append(list, q)
			case k < 5 || len(list) > maxHead && rng.IntN(400) == 0:
				n := 1
				if k >= 5 {
					n = len(list) // all
				}
				for range n {
					i := rng.IntN(len(list))
					h.remove(list[i])
					gone = append(gone, list[i])
					list = slices.Delete(list, i, i+1)
				}
			case k < 6 && rng.IntN(5) == 0:
				may, peer = nil, shortage{lanes: rng.IntN(8) == 0, storage: rng.IntN(3) == 0}
				if set := rng.Uint64N(1 << 5); seed%4 != 0 && set < 1<<4 {
					may = func(e *Entry) bool { return set>>e.Purpose&1 == 1 }
				} else if set == 1<<4 {
					may = nobody
				}
				h.filter(may, peer)
			default:
				if len(list) == 0 {
					continue
				}
				q := list[rng.IntN(len(list))]
				if first := h.first(1, all); len(first) > 0 && rng.IntN(2) == 0 {
					q = first[0]
				}
				q.Turn = float64(rng.IntN(100))
				h.fix(q)
			}
			allowed := func(q *request) bool {
				return !peer.lanes && !(peer.storage && q.store) && (may == nil || may(&q.Entry))
			}
			want := slices.DeleteFunc(slices.Clone(list), func(q *request) bool { return !allowed(q) })
			slices.SortFunc(want, func(a, b *request) int {
				if sched.Before(&a.Entry, &b.Entry) {
					return -1
				}
				return 1
			})
			for _, q := range list {
				if q.servable() != allowed(q) {
					t.Fatalf("seed %d, step %d: request %d of purpose %d, store=%v, can be served: %v", seed, place, q.Place, q.Purpose, q.store, q.servable())
				}
			}
			for _, q := range gone {
				if q.servable() {
					t.Fatalf("seed %d, step %d: request %d can be served and is not there", seed, place, q.Place)
				}
			}
			for range 2 { // of what is merged already more, or less
				n := rng.IntN(10)
				if rng.IntN(100) == 0 {
					n = rng.IntN(4 * maxHead)
				}
				if got := h.first(n, all); !slices.Equal(got, want[:min(n, len(want))]) {
					t.Fatalf("seed %d, step %d: the first %d of %d requests are wrong", seed, place, n, len(want))
				}
			}
			if rng.IntN(4) == 0 { // those that are stored but for some are left out
				n, stored := rng.IntN(2*maxHead), rng.IntN(8)
				some, left := want[:0:0], stored
				for _, q := range want {
					if q.store {
						if left--; left < 0 {
							continue
						}
					}
					some = append(some, q)
				}
				if got := h.first(n, stored); !slices.Equal(got, some[:min(n, len(some))]) {
					t.Fatalf("seed %d, step %d: the first %d requests, of which %d are stored, are wrong", seed, place, n, stored)
				}
			}
			if h.len() != len(list) {
				t.Fatalf("seed %d, step %d: %d requests, want %d", seed, place, h.len(), len(list))
			}
		}
	}
}

// Another slot or shortage compares no requests, however many wait, and nothing of
// it allocates, nor does serving them in order from several classes.
func TestReadyFilterCostsNothing(t *testing.T) {
	sched := &counted{}
	h := ready{sched: sched}
	rng := rand.New(rand.NewPCG(1, 1))
	for place := range uint64(10_000) {
		q := &request{Entry: Entry{Place: place, Purpose: rng.Uint64N(4)}, store: rng.IntN(2) == 0}
		q.Kind = h.kind(q)
		h.add(q)
	}
	odd := func(e *Entry) bool { return e.Purpose%2 == 1 }
	sched.compared, sched.asked = 0, 0
	const few = 16
	h.first(few, all)
	n := testing.AllocsPerRun(100, func() {
		before := sched.compared
		h.filter(odd, shortage{})
		h.filter(odd, shortage{storage: true})
		h.filter(nil, shortage{lanes: true})
		h.filter(nil, shortage{})
		if sched.compared != before {
			t.Errorf("%d comparisons to change who may be served", sched.compared-before)
		}
		h.fix(h.first(few, all)[few-1])
	})
	if n > 0 || sched.asked > 0 {
		t.Errorf("%v allocations and %d questions for the class of a request", n, sched.asked)
	}
	before := sched.compared
	h.changed()
	h.first(few, all)
	if got := sched.compared - before; got > few*7 {
		t.Errorf("%d comparisons for the first %d requests of 8 classes", got, few)
	}
}

// counted counts what a scheduler is asked.
type counted struct {
	byPurpose
	compared, asked int
}

func (s *counted) Before(a, b *Entry) bool {
	s.compared++
	return s.byPurpose.Before(a, b)
}

func (s *counted) Kind(e *Entry) Kind {
	s.asked++
	return s.byPurpose.Kind(e)
}

// Requests are of one class of Slots if and only if the same slots serve them, and
// of no more classes than the table makes, whatever their purposes.
func TestSlotsClasses(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for range 200 {
		s := &Slots{Scheduler: FCFS{}}
		for at := range uint64(1 + rng.IntN(300)) {
			slot := Slot{Begin: at, End: at + 1}
			if rng.IntN(8) > 0 {
				slot.Purposes = []uint64{rng.Uint64N(6), rng.Uint64N(6)}
			}
			if rng.IntN(2) > 0 {
				slot.Priorities = []uint8{uint8(rng.IntN(3))}
			}
			s.Table = append(s.Table, slot)
		}
		s.Period = uint64(len(s.Table))
		seen := make(map[int]string)
		classes := make(map[string]int)
		for range 100 {
			e := &Entry{Purpose: rng.Uint64N(6), Priority: uint8(rng.IntN(8))}
			if rng.IntN(2) == 0 {
				e.Purpose = rng.Uint64()
			}
			served := make([]byte, s.Period) // in each cycle
			for cycle := range served {
				if may, _ := s.Slot(uint64(cycle)); may(e) {
					served[cycle] = 1
				}
			}
			n := s.Kind(e).Class
			was, ok := seen[n]
			of, known := classes[string(served)]
			if ok && was != string(served) || known && of != n || n < 0 || n > len(classes) {
				t.Fatalf("purpose %d, priority %d is of class %d, of %d", e.Purpose, e.Priority, n, len(classes))
			}
			seen[n], classes[string(served)] = string(served), n
		}
		if len(classes) > 7*4 {
			t.Errorf("%d classes of 6 purposes and 3 priorities", len(classes))
		}
	}
}
