package state_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

// Promotion of a pair to the density matrix changes no observable, at once or later.
func TestPromotion(t *testing.T) {
	weights := [4]float64{0.8, 0.1, 0.07, 0.03}
	for _, da := range decays {
		for _, db := range decays {
			var plain, promoted state.World
			for _, w := range []*state.World{&plain, &promoted} {
				w.Pair(5, 3, 0, da, db, weights)
			}
			dense(t, &promoted, 0, 3)
			for _, at := range []qnet.Time{0, second / 3, 2 * second} {
				wantDensity(t, fmt.Sprint(da, db, at), density(t, &promoted, at, 3, 5), density(t, &plain, at, 3, 5))
				wantDensity(t, fmt.Sprint(da, db, at), density(t, &promoted, at, 3), density(t, &plain, at, 3))
				for l := range qnet.BellLabel(4) {
					f, err := plain.BellFidelity(at, 3, 5, l)
					check(t, err)
					g, err := promoted.BellFidelity(at, 3, 5, l)
					check(t, err)
					wantClose(t, "fidelity", f, g)
				}
			}
		}
	}
}

func TestDecayClosedForms(t *testing.T) {
	const seconds = 0.35
	at := qnet.Time(seconds * 1e9)

	t.Run("dephasing", func(t *testing.T) {
		const T2 = 0.8
		flip := (1 - math.Exp(-seconds/T2)) / 2
		var w state.World
		w.Zero(0, 0, state.Decay{T2: T2})
		check(t, w.Gate1(0, 0, physical.GateH, 0))
		wantDensity(t, "|+⟩", density(t, &w, at, 0), matrix{{0.5, complex(0.5-flip, 0)}, {complex(0.5-flip, 0), 0.5}})
		// A pair keeps its phase if none or both of its halves flip.
		w.Pair(1, 2, 0, state.Decay{T2: T2}, state.Decay{T2: T2}, pure(qnet.PsiPlus))
		for l, want := range map[qnet.BellLabel]float64{qnet.PsiPlus: 1 - 2*flip*(1-flip), qnet.PsiMinus: 2 * flip * (1 - flip), qnet.PhiPlus: 0, qnet.PhiMinus: 0} {
			f, err := w.BellFidelity(at, 1, 2, l)
			check(t, err)
			wantClose(t, l.String(), f, want)
		}
	})
	t.Run("depolarising", func(t *testing.T) {
		const rate = 1.7
		keep := math.Exp(-rate * seconds)
		var w state.World
		w.Zero(0, 0, state.Decay{Depolarise: rate})
		wantDensity(t, "|0⟩", density(t, &w, at, 0), matrix{{complex((1+keep)/2, 0), 0}, {0, complex((1-keep)/2, 0)}})
		w.Pair(1, 2, 0, state.Decay{Depolarise: rate}, perfect, pure(qnet.PhiMinus))
		f, err := w.BellFidelity(at, 1, 2, qnet.PhiMinus)
		check(t, err)
		wantClose(t, "one half waits", f, qnet.WernerFidelity(keep))
		w.Pair(1, 2, 0, state.Decay{Depolarise: rate}, state.Decay{Depolarise: rate}, pure(qnet.PhiMinus))
		f, err = w.BellFidelity(at, 1, 2, qnet.PhiMinus)
		check(t, err)
		wantClose(t, "both halves wait", f, qnet.WernerFidelity(keep*keep))
	})
	t.Run("relaxation", func(t *testing.T) {
		const T1 = 0.6
		left := math.Exp(-seconds / T1)
		var w state.World
		w.Zero(0, 0, state.Decay{T1: T1})
		check(t, w.Gate1(0, 0, physical.GateX, 0))
		wantDensity(t, "|1⟩", density(t, &w, at, 0), matrix{{complex(1-left, 0), 0}, {0, complex(left, 0)}})
		w.Zero(0, 0, state.Decay{T1: T1}) // T2 is 2·T1 then
		check(t, w.Gate1(0, 0, physical.GateH, 0))
		off := complex(math.Sqrt(left)/2, 0)
		wantDensity(t, "|+⟩", density(t, &w, at, 0), matrix{{complex(1-left/2, 0), off}, {off, complex(left/2, 0)}})
		// Φ+ with both halves damped by γ: ⟨00|ρ|00⟩ = (1+γ²)/2, ⟨11|ρ|11⟩ = (1−γ)²/2,
		// coherence (1−γ)/2.
		gamma := 1 - left
		w.Pair(1, 2, 0, state.Decay{T1: T1}, state.Decay{T1: T1}, pure(qnet.PhiPlus))
		f, err := w.BellFidelity(at, 1, 2, qnet.PhiPlus)
		check(t, err)
		wantClose(t, "pair", f, ((1+gamma*gamma)/2+left*left/2)/2+left/2)
	})
}

// Coherences follow exp(−((t−t₀)/T2)ⁿ) whatever happens in between, and t₀ is
// the instant of preparation, of each half of a pair its own.
func TestStretchedDephasing(t *testing.T) {
	const T2 = 0.8
	for _, n := range []float64{0.5, 1, 1.5, 2, 3} {
		d := state.Decay{T2: T2, Stretch: n}
		left := func(seconds float64) float64 { return math.Exp(-math.Pow(seconds/T2, n)) }
		w := state.World{}
		start := 3 * second
		w.Zero(0, start, d)
		w.Pair(1, 2, start, d, perfect, pure(qnet.PsiMinus))
		check(t, w.Gate1(0, start, physical.GateH, 0))
		for at := start; at < start+second; at += second / 5 { // touches
			for q := range state.ID(3) {
				check(t, w.Gate1(q, at, physical.GateX, 0))
			}
		}
		off := complex(left(1)/2, 0)
		wantDensity(t, "|+⟩", density(t, &w, start+second, 0), matrix{{0.5, off}, {off, 0.5}})
		f, err := w.BellFidelity(start+second, 1, 2, qnet.PsiMinus)
		check(t, err)
		wantClose(t, "pair", f, (1+left(1))/2)

		// The state that is teleported into the half 2 of a pair of age 0.6 finds it
		// at that age; the half 1 dephased until then.
		rng := qnet.NewRand(15, "stretched")
		w.Pair(1, 2, start, d, d, pure(qnet.PhiPlus))
		w.Zero(3, start+second*6/10, perfect)
		check(t, w.Gate1(3, start+second*6/10, physical.GateH, 0))
		o, err := w.BSM(3, 1, start+second*6/10, 0, 0, rng)
		check(t, err)
		off = complex(left(0.6)*left(1)/2, 0)
		if o.Z() {
			off = -off
		}
		wantDensity(t, "teleported", density(t, &w, start+second, 2), matrix{{0.5, off}, {off, 0.5}})
	}
}

// Waiting at once or in pieces is the same.
func TestLazyDecay(t *testing.T) {
	for _, d := range decays {
		for _, e := range decays {
			var once, pieces state.World
			for _, w := range []*state.World{&once, &pieces} {
				w.Pair(0, 1, 0, d, e, [4]float64{0.7, 0.2, 0.1, 0})
				w.Zero(2, 0, d)
				check(t, w.Gate1(2, 0, physical.GateRY, 1))
			}
			for at := second / 8; at < second; at += second / 8 {
				for q := range state.ID(3) {
					check(t, pieces.Gate1(q, at, physical.GateRZ, 0))
				}
			}
			wantDensity(t, fmt.Sprint(d, e), density(t, &pieces, second, 0, 1, 2), density(t, &once, second, 0, 1, 2))
		}
	}
}

// Looking at the state changes nothing, not even in the last place.
func TestOracleDoesNotTouch(t *testing.T) {
	run := func(look bool) matrix {
		var w state.World
		rng := qnet.NewRand(3, "oracle")
		for i := range state.ID(3) {
			w.Pair(2*i, 2*i+1, 0, decays[i], decays[3+i], [4]float64{0.7, 0.2, 0.1, 0})
		}
		for i := range qnet.Time(8) {
			at := i * second / 9
			if look {
				density(t, &w, at+second/20, 0, 5, 3)
				_, err := w.BellFidelity(at+second/20, 0, 1, qnet.PhiPlus)
				check(t, err)
			}
			check(t, w.Gate1(state.ID(i%6), at, physical.GateY, 0))
			if i == 4 {
				_, err := w.BSM(1, 2, at, 0.1, 0.1, rng)
				check(t, err)
				w.Zero(1, at, perfect)
				w.Zero(2, at, perfect)
			}
		}
		return density(t, &w, second, 0, 1, 2, 3, 4, 5)
	}
	a, b := run(false), run(true)
	for i := range a {
		if !slices.Equal(a[i], b[i]) {
			t.Fatalf("row %d differs by looking: %v and %v", i, a[i], b[i])
		}
	}
}

func TestDecayValidate(t *testing.T) {
	for _, d := range decays {
		if err := d.Validate(); err != nil {
			t.Errorf("%+v: %v", d, err)
		}
	}
	for d, text := range map[state.Decay]string{
		{T1: -1}:                 "T1 = -1",
		{T2: -1}:                 "T2 = -1",
		{Depolarise: -2}:         "Depolarise = -2",
		{T2: 1, Stretch: -1}:     "Stretch = -1",
		{T2: 1, Stretch: 11}:     "at most 10",
		{T1: 1, T2: 2.1}:         "above 2·T1 = 2 s",
		{T2: math.Inf(1)}:        "T2 = +Inf",
		{Depolarise: math.NaN()}: "Depolarise = NaN",
	} {
		if err := d.Validate(); qnet.CodeOf(err) != qnet.ErrInvalid || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: got %v, want %q", d, err, text)
		}
	}
}
