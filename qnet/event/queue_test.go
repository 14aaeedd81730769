package event

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"qstack/qnet"
)

// TestQueueModel drives the queue beside the plainest thing that could be one: a
// slice sorted by (time, order of insertion).
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type item struct {
			at    qnet.Time
			order int
		}
		var (
			q     queue
			model []item
			most  int
			ran   = -1
			all   []Timer // of every event ever added, by order
		)
		take := func(i int) { model = slices.Delete(model, i, i+1) }
		// Few different times, so that many events share one.
		times := rapid.OneOf(rapid.Int64Range(-3, 3), rapid.Int64())
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "n") {
					at, order := qnet.Time(times.Draw(t, "at")), len(all)
					all = append(all, q.push(at, func() { ran = order }))
					i, _ := slices.BinarySearchFunc(model, at, func(x item, at qnet.Time) int {
						if x.at <= at {
							return -1
						}
						return 1
					})
					model = slices.Insert(model, i, item{at, order})
				}
				most = max(most, len(model))
			},
			"stop": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				order := rapid.IntRange(0, len(all)-1).Draw(t, "order")
				i := slices.IndexFunc(model, func(x item) bool { return x.order == order })
				if got, want := all[order].Stop(), i >= 0; got != want {
					t.Fatalf("Stop of event %d = %v, want %v", order, got, want)
				}
				if i >= 0 {
					take(i)
				}
			},
			"pop": func(t *rapid.T) {
				for range rapid.IntRange(1, 10).Draw(t, "n") {
					if len(model) == 0 {
						return
					}
					at, f := q.pop()
					f()
					if got := (item{at, ran}); got != model[0] {
						t.Fatalf("pop = %v, want %v", got, model[0])
					}
					take(0)
				}
			},
			"clear": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "seldom") == 0 {
					q.clear()
					model = nil
				}
			},
			"": func(t *rapid.T) {
				at, ok := q.next()
				if ok != (len(model) > 0) || ok && at != model[0].at {
					t.Fatalf("next = %v, %v with %v", at, ok, model)
				}
				if len(q.heap) != len(model) {
					t.Fatalf("the heap has %d entries, want %d", len(q.heap), len(model))
				}
				if len(q.slots) != most || len(q.pos) != most || len(q.free)+len(q.heap) != most {
					t.Fatalf("%d slots and %d free for %d events, of which there never were more than %d", len(q.slots), len(q.free), len(q.heap), most)
				}
				for _, s := range q.free {
					if q.slots[s].f != nil {
						t.Fatalf("the free slot %d keeps its function", s)
					}
				}
			},
		})
	})
}
