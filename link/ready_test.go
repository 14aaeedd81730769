package link

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Ready requests come in the order of the scheduler, as in a list that is sorted
// each time, whatever becomes of them.
func TestReadyIsInOrder(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 1))
		sched := new(Fair)
		h := ready{sched: sched}
		var may func(*Entry) bool
		var list []*request // those that are there
		for place := uint64(1); place < 2000; place++ {
			switch k := rng.IntN(10); {
			case k < 4 && len(list) < 4*maxHead || len(list) == 0:
				q := &request{Entry: Entry{Place: place, Priority: uint8(rng.IntN(2)), Purpose: rng.Uint64N(3), Turn: float64(rng.IntN(100))}}
				h.add(q)
				list = append(list, q)
			case k < 5:
				i := rng.IntN(len(list))
				h.remove(list[i])
				list = slices.Delete(list, i, i+1)
			case k < 6 && rng.IntN(20) == 0:
				may = nil
				if p := rng.Uint64N(4); p < 3 {
					may = func(e *Entry) bool { return e.Purpose != p }
				}
				h.filter(may)
			default:
				q := list[rng.IntN(len(list))]
				if first := h.first(1); len(first) > 0 && rng.IntN(2) == 0 {
					q = first[0]
				}
				q.Turn = float64(rng.IntN(100))
				h.fix(q)
			}
			n := rng.IntN(10)
			if rng.IntN(100) == 0 {
				n = rng.IntN(3 * maxHead)
			}
			want := slices.Clone(list)
			if may != nil {
				want = slices.DeleteFunc(want, func(q *request) bool { return !may(&q.Entry) })
			}
			slices.SortFunc(want, func(a, b *request) int {
				if sched.Before(&a.Entry, &b.Entry) {
					return -1
				}
				return 1
			})
			for _, q := range list {
				if q.servable() != (may == nil || may(&q.Entry)) {
					t.Fatalf("seed %d, step %d: request %d of purpose %d can be served: %v", seed, place, q.Place, q.Purpose, q.servable())
				}
			}
			if got := h.first(n); !slices.Equal(got, want[:min(n, len(want))]) {
				t.Fatalf("seed %d, step %d: the first %d of %d requests are wrong", seed, place, n, len(want))
			}
			if h.len() != len(list) {
				t.Fatalf("seed %d, step %d: %d requests, want %d", seed, place, h.len(), len(list))
			}
		}
	}
}
