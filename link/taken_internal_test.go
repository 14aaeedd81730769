package link

import (
	"math/rand/v2"
	"testing"

	"qstack/qnet/event"
)

// TestTakenPairs compares what an end remembers of pairs, which come in runs, out of
// order, and are given back, with a map of each pair.
func TestTakenPairs(t *testing.T) {
	loop := event.NewVirtual()
	defer loop.Close()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		e := &end{l: &Layer{loop: loop}}
		was := make(map[uint64]RequestID)
		const pairs = 300
		for range 400 {
			seq := seqBase + rng.Uint64N(pairs)
			if rng.IntN(3) == 0 {
				if got := e.unname(seq).id; got != was[seq] {
					t.Fatalf("seed %d: pair %d was of request %d, want %d", seed, seq, got, was[seq])
				}
				delete(was, seq)
				continue
			}
			id := RequestID(1 + rng.Uint64N(3))
			for n := 1 + rng.IntN(8); n > 0 && was[seq] == 0; n, seq = n-1, seq+1 {
				e.remember(taken{span: span{seq, seq + 1}, id: id})
				was[seq] = id
			}
		}
		for seq := uint64(seqBase); seq < seqBase+pairs+10; seq++ {
			if e.isTaken(seq) != (was[seq] != 0) {
				t.Fatalf("seed %d: pair %d is taken: %v", seed, seq, e.isTaken(seq))
			}
			if run := e.takenIn(seq); run != nil && run.id != was[seq] {
				t.Fatalf("seed %d: pair %d is of request %d, want %d", seed, seq, run.id, was[seq])
			}
		}
		for id := range RequestID(4) {
			n := 0
			for _, s := range e.takenFor(id) {
				for seq := s.first; seq < s.end; seq++ {
					if n++; was[seq] != id {
						t.Fatalf("seed %d: pair %d is not of request %d", seed, seq, id)
					}
				}
			}
			for _, other := range was {
				if other == id {
					n--
				}
			}
			if n != 0 {
				t.Fatalf("seed %d: %+d pairs of request %d", seed, n, id)
			}
		}
	}
}
