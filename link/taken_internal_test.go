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
			if run := e.takenIn(seq); (run != nil) != (was[seq] != 0) || run != nil && run.id != was[seq] {
				t.Fatalf("seed %d: pair %d is of %+v, want %d", seed, seq, run, was[seq])
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

// TestHeardOf compares what an end remembers of announced pairs with a map of each: of
// columns that come out of order, now and then again, or not at all. What it is told of
// with a gap after each is bounded, and no pair is new that was not.
func TestHeardOf(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var h heardOf
		was := make(map[uint64]bool)
		for range 300 {
			s := span{first: rng.Uint64N(1000)}
			s.end = s.first + 1 + rng.Uint64N(20)
			want := true
			for seq := s.first; seq < s.end; seq++ {
				want = want && !was[seq]
				was[seq] = true
			}
			if h.add(s) != want {
				t.Fatalf("seed %d: pairs %v are new: %v", seed, s, !want)
			}
		}
		n := 0
		for i, s := range h.items[h.head:] {
			if i > 0 && s.first <= h.items[h.head+i-1].end {
				t.Fatalf("seed %d: run %v after %v", seed, s, h.items[h.head+i-1])
			}
			n += int(s.end - s.first)
		}
		if n != len(was) {
			t.Fatalf("seed %d: %d pairs are remembered of %d", seed, n, len(was))
		}
	}
	var h heardOf
	for i := range uint64(3 * maxHeard) {
		if !h.add(span{2 * i, 2*i + 1}) || h.len() > maxHeard {
			t.Fatalf("after %d gaps: %d runs", i, h.len())
		}
	}
	if h.add(span{0, 1}) || h.add(span{maxHeard, maxHeard + 1}) || !h.add(span{6*maxHeard - 3, 6*maxHeard - 2}) {
		t.Error("what was new, or was not, when there were too many gaps")
	}
}
