package link

import (
	"math"
	"testing"
	"time"

	"qstack/qnet"
)

// TestAccountKeepsTheMean: whatever sets come, and however many of them the other end
// voids, those handed up are in the mean no more below the minimum than the first credit
// allows, once what void ones had paid for is made up; and of sets that are as good as the
// minimum in the mean few are void.
func TestAccountKeepsTheMean(t *testing.T) {
	for seed := range uint64(500) {
		rng := qnet.NewRand(seed, "account")
		x := lateness{accounts: make(map[question]float64)}
		spread := math.Exp(-6 * rng.Float64()) // of a set
		loss := max(0, rng.Float64()-0.5)      // in the mean
		voids := rng.IntN(2) == 0
		var sum, owed float64
		var refused int
		const n = 2000
		for range n {
			worth := spread * (1 - loss - qnet.Exponential(rng)) // a mean of 0 without loss
			if !x.spend(question{}, worth) {
				if worth >= 0 {
					t.Fatalf("seed %d: a set that is better than the minimum is void", seed)
				}
				refused++
				continue
			}
			sum += worth
			if voids && rng.IntN(5) == 0 {
				x.refund(question{}, worth)
				sum -= worth
				owed = max(owed, -firstCredit-sum)
			}
		}
		if sum < -firstCredit-owed-1e-9 || !voids && sum < -firstCredit-1e-9 {
			t.Fatalf("seed %d: %g below the minimum in all, owed %g", seed, -sum, owed)
		}
		if x.accounts[question{}] > mostCredit {
			t.Fatalf("seed %d: credit is %g", seed, x.accounts[question{}])
		}
		// A walk without drift between 0 and the most credit meets the lower end with
		// e⁻¹·spread/mostCredit of its steps.
		if loss == 0 && !voids && spread < 0.02 && refused > n/20 {
			t.Errorf("seed %d: %d of %d sets are void", seed, refused, n)
		}
	}
}

// TestUsualLateness: what most pairs take is not late; what a few do is.
func TestUsualLateness(t *testing.T) {
	for _, c := range []struct{ most, few, want time.Duration }{
		{0, 3 * time.Millisecond, rounding},
		{200 * time.Microsecond, 5 * time.Millisecond, rounding + 400*time.Microsecond},
		{-5, time.Second, rounding}, // clocks of two devices
	} {
		var x lateness
		if got := x.usual(); got != rounding {
			t.Errorf("%v is usual before any pair", got)
		}
		for i := range 100 {
			if x.hear(c.most); i%4 == 0 {
				x.hear(c.few)
			}
		}
		if got := x.usual(); got != c.want {
			t.Errorf("%v is usual, want %v", got, c.want)
		}
	}
}

// TestAccountsAreBounded: however many kinds of sets there are, there is so much credit
// for all of them, and those that come late, when all others have spent theirs, are not
// barred: of sets that are as good as the minimum in the mean few are void.
func TestAccountsAreBounded(t *testing.T) {
	x := lateness{accounts: make(map[question]float64)}
	spent := 0.0
	for i := range 10 * maxAnswers {
		for range 20 {
			if x.spend(question{minimum: float64(i + 1)}, -0.01) {
				spent += 0.01
			}
		}
	}
	if n := len(x.accounts); n > maxAnswers+1 {
		t.Errorf("%d accounts", n)
	}
	if most := firstCredit * (maxAnswers + 1); spent > most+1e-6 {
		t.Errorf("%g is spent, want %g at most", spent, most)
	}
	void := 0
	for i := range 1000 {
		if !x.spend(question{minimum: -1}, []float64{0.001, -0.001}[i%2]) {
			void++
		}
	}
	if void > 1 {
		t.Errorf("%d of 1000 sets are void", void)
	}
}
