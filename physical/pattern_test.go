package physical_test

import (
	"math/rand/v2"
	"testing"

	"qstack/physical"
)

// The attempts of a pattern, cycle by cycle as its description says.
func attempts(p physical.Pattern, upTo uint64) (cycles []uint64) {
	stride := max(p.Stride, 1)
	begin := uint64(0)
	started := false
	for c := p.First; c < upTo; c++ {
		if c%stride != 0 {
			continue
		}
		if !started || p.Every != 0 && c >= begin+p.Every+p.Pause {
			begin, started = c, true
		}
		if p.Every == 0 || c < begin+p.Every {
			cycles = append(cycles, c)
		}
	}
	return cycles
}

// blockOf returns the cycles from one block of a pattern to the next.
func blockOf(p physical.Pattern) uint64 {
	n := p.Every + p.Pause
	for n%max(p.Stride, 1) != 0 {
		n++
	}
	return n
}

func TestPatternIsTheListOfItsAttempts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	list := []physical.Pattern{{}, {First: 390, Stride: 15, Every: 345, Pause: 31}, {First: 7, Stride: 1, Every: 345, Pause: 31}}
	for range 2000 {
		p := physical.Pattern{First: rng.Uint64N(50), Stride: rng.Uint64N(8), Every: rng.Uint64N(40), Pause: rng.Uint64N(30)}
		list = append(list, p)
	}
	for _, p := range list {
		const upTo = 1000
		want := attempts(p, upTo)
		n := uint64(0)
		for c := range uint64(upTo) {
			is := n < uint64(len(want)) && want[n] == c
			if p.Has(c) != is || p.Index(c) != n {
				t.Fatalf("%+v in cycle %d: Has %v, Index %d, want %v, %d", p, c, p.Has(c), p.Index(c), is, n)
			}
			if is {
				if at, ok := p.At(n); !ok || at != c {
					t.Fatalf("%+v: attempt %d is in cycle %d, %v, want %d", p, n, at, ok, c)
				}
				n++
			}
		}
	}
	for _, p := range list {
		// Attempts resume where one follows a pause.
		last, ok := uint64(0), false
		all := attempts(p, 1000)
		next := 0
		for c := range uint64(1000) {
			if next < len(all) && all[next] == c {
				if next > 0 && p.Pause > 0 && p.Every > 0 && (c-all[0])%blockOf(p) == 0 {
					last, ok = c, true
				}
				next++
			}
			if got, is := p.Resumed(c); is != ok || is && got != last {
				t.Fatalf("%+v until cycle %d: resumed in %d, %v, want %d, %v", p, c, got, is, last, ok)
			}
		}
	}
	// 23 attempts in 390 cycles: slots of 15, 31 cycles to initialise every 345.
	if at, _ := list[1].At(23); at != 780 {
		t.Errorf("the second block begins in cycle %d, want 780", at)
	}
	if _, ok := list[1].At(1 << 62); ok {
		t.Error("a cycle beyond all numbers has one")
	}
}
