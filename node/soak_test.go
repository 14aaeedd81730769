package node_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"qstack/node"
	"qstack/qnet"
	"qstack/qnet/control"
)

// Anything at any time: circuits come and go in a meshed network, requests of all
// kinds are made and cancelled, channels lose, repeat and delay, break and mend,
// nodes die and come back. No pair is wrong, what is not disturbed completes, both
// ends hear of what is lost, and when all is closed nothing is left.
func TestSoak(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			soak(t, seed)
		})
	}
}

func soak(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 99))
	s := perfect(6, 1)
	s.Seed = seed + 1
	s.Links = append(s.Links, join(s, 0, 5, 1), join(s, 1, 4, 1))
	for i := range s.Links {
		s.Links[i].Lanes = 1 + rng.IntN(3)
	}
	for i := range s.Nodes {
		if rng.IntN(3) == 0 {
			s.Nodes[i].Cutoff = time.Duration(3+rng.IntN(20)) * time.Millisecond
		}
	}
	p := []float64{0, 0.02, 0.1}[seed%3]
	w := newWorld(t, s, node.Options{Hazards: control.LinkConfig{Loss: p, Duplicate: p, Reorder: p, ReorderBy: 5 * time.Millisecond, Jitter: 20 * time.Microsecond}})
	violent := seed%2 == 0
	ready := make([]qnet.Time, len(s.Nodes)) // when its last restart is far enough in the past
	type asked struct {
		r         *run
		id, pairs uint64
	}
	var whole []asked // requests that nobody cancels
	ids := uint64(0)
	pick := func() *run { // a circuit that both ends have
		for range 10 {
			if len(w.runs) == 0 {
				return nil
			}
			r := w.runs[rng.IntN(len(w.runs))]
			if r.ends[0].circuit != nil && r.ends[1].circuit != nil && r.ends[0].down == nil && r.ends[1].down == nil {
				return r
			}
		}
		return nil
	}
	for range 250 {
		switch k := rng.IntN(22); {
		case k < 4:
			a, b := rng.IntN(6), rng.IntN(6)
			if a != b && ready[a] <= w.loop.Now() {
				r := w.setup(s.Nodes[a].Name, s.Nodes[b].Name)
				r.hold = time.Duration(rng.IntN(4)) * time.Millisecond
			}
		case k < 14:
			r := pick()
			if r == nil {
				break
			}
			ids++
			q := asked{r, ids, 1 + rng.Uint64N(30)}
			if rng.IntN(2) == 0 {
				r.keep(q.id, q.pairs)
			} else {
				r.measure(q.id, q.pairs)
			}
			if rng.IntN(4) > 0 {
				whole = append(whole, q)
				break
			}
			w.run(time.Duration(rng.Uint64N(uint64(20 * time.Millisecond))))
			for _, i := range rng.Perm(2) {
				if r.ends[i].down == nil {
					r.ends[i].circuit.Cancel(q.id)
				}
				w.run(time.Duration(rng.Uint64N(uint64(time.Millisecond))))
			}
		case k > 19:
			if r := pick(); r != nil {
				i := rng.IntN(2)
				r.ends[i].circuit.Close(qnet.ErrCancelled)
				r.ends[i].down = errClosed
			}
		case k == 15 && violent:
			l := s.Links[rng.IntN(len(s.Links))]
			a, b := w.stack(s.Nodes[l.A].Name).ID, w.stack(s.Nodes[l.B].Name).ID
			if rng.IntN(2) == 0 {
				b = w.net.Plan.ID(node.StationName(&l))
			}
			if err := w.net.Control.Break(a, b); err != nil {
				t.Fatal(err)
			}
			w.loop.After(time.Duration(rng.Uint64N(uint64(2*time.Second))), func() {
				if err := w.net.Control.Restore(a, b); err != nil {
					t.Error(err)
				}
			})
		case k == 16 && violent:
			i := rng.IntN(6)
			if ready[i] > w.loop.Now() {
				break
			}
			name := s.Nodes[i].Name
			back := time.Duration(rng.Uint64N(uint64(2 * time.Second)))
			ready[i] = w.loop.Now().Add(back + 1500*time.Millisecond)
			kill(t, w, name)
			for _, r := range w.runs { // its programs are gone, too
				for e := range r.ends {
					if r.ends[e].name == name && r.ends[e].down == nil {
						r.ends[e].down = errClosed
					}
				}
			}
			w.run(back)
			restart(t, w, name)
		}
		w.run(time.Duration(rng.Uint64N(uint64(30 * time.Millisecond))))
	}
	w.run(3 * time.Second) // all is mended
	if !w.runUntil(3*time.Minute, func() bool {
		for _, q := range whole {
			if !q.r.isDone(q.id) && q.r.ends[0].down == nil && q.r.ends[1].down == nil {
				return false
			}
		}
		return true
	}) {
		t.Fatal(w.state())
	}
	w.run(3 * time.Second)
	done := 0
	for _, q := range whole {
		if q.r.isDone(q.id) {
			q.r.checkSame(q.id, int(q.pairs))
			done++
		} else if q.r.ends[0].down == nil || q.r.ends[1].down == nil {
			t.Errorf("request %d: ends down for %v and %v", q.id, q.r.ends[0].down, q.r.ends[1].down)
		}
	}
	for _, r := range w.runs {
		r.checkPerfect()
	}
	t.Logf("%d circuits, %d of %d requests done, at %v", len(w.runs), done, len(whole), w.loop.Now())
	w.rest()
}

// errClosed stands for the end of a circuit that the end has made itself.
var errClosed = qnet.Errorf(qnet.ErrClosed, "closed here")
