package herald_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"testing"

	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// Several modes at once are several attempts at once: of single attempts made in
// rounds, the round of the first success and its herald are distributed as those
// of the sampler. False alarms below 1e-6 by chi-square; the seed is fixed.
func TestMultiplexedEqualsModesOneByOne(t *testing.T) {
	const pairs, bins, modes = 60_000, 20, 5
	for i, model := range []herald.Model{
		herald.Ideal{Probability: 0.07, Fidelity: 0.9, PeriodNS: 3.3},
		herald.DoubleClick{EtaA: 0.5, EtaB: 0.3, Visibility: 0.7, DarkCount: 0.05, PeriodNS: 3.3},
		herald.SingleClick{AlphaA: 0.1, AlphaB: 0.2, EtaA: 0.3, EtaB: 0.2, Visibility: 0.7, DarkCount: 0.01, PeriodNS: 3.3},
		herald.Multiplexed{Model: herald.Ideal{Probability: 0.02, Fidelity: 1, PeriodNS: 3.3}, Modes: 3},
	} {
		m := herald.Multiplexed{Model: model, Modes: modes}
		s, err := herald.NewSampler(m)
		if err != nil {
			t.Fatal(err)
		}
		if m.Period() != 3.3 || !reflect.DeepEqual(m.Heralds(), model.Heralds()) {
			t.Errorf("%+v: period %g or states are not those of the model", m, m.Period())
		}
		rng := rand.New(rand.NewPCG(uint64(i), 20))
		p := model.SuccessProbability()
		var oneByOne, skipped [bins]int
		for range pairs {
			round := 0
		rounds:
			for ; ; round++ {
				for range modes {
					if rng.Float64() < p {
						break rounds
					}
				}
			}
			oneByOne[min(round, bins-1)]++
			skipped[min(s.Attempts(rng), bins)-1]++
		}
		qnettest.SameDistribution(t, "rounds", oneByOne[:], skipped[:])
	}
}

// The success probability in 300 bits, for all sizes of p and numbers of modes.
func TestMultiplexedSuccessProbability(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 21))
	for range 2000 {
		p := math.Pow(10, -18*rng.Float64())
		modes := 1 + rng.IntN(int(math.Pow(10, 4*rng.Float64())))
		lost := new(big.Float).SetPrec(300).SetFloat64(1)
		lost.Sub(lost, new(big.Float).SetFloat64(p))
		all := new(big.Float).SetPrec(300).SetFloat64(1)
		for range modes {
			all.Mul(all, lost)
		}
		want, _ := all.Sub(new(big.Float).SetPrec(300).SetFloat64(1), all).Float64()
		m := herald.Multiplexed{Model: herald.Ideal{Probability: p, Fidelity: 1, PeriodNS: 1}, Modes: modes}
		if got := m.SuccessProbability(); math.Abs(got/want-1) > 1e-14 {
			t.Errorf("p=%g, %d modes: %.17g, want %.17g", p, modes, got, want)
		}
	}
	certain := herald.Multiplexed{Model: herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1}, Modes: 7}
	if p := certain.SuccessProbability(); p != 1 {
		t.Errorf("p=1: %g", p)
	}
}

func TestMultiplexedValidate(t *testing.T) {
	ideal := herald.Ideal{Probability: 0.5, Fidelity: 1, PeriodNS: 1}
	if err := (herald.Multiplexed{Model: ideal, Modes: 1}).Validate(); err != nil {
		t.Error(err)
	}
	qnettest.WantErr(t, herald.Multiplexed{Modes: 1}.Validate(), qnet.ErrInvalid, "multiplexed link: model is missing")
	qnettest.WantErr(t, herald.Multiplexed{Model: ideal}.Validate(), qnet.ErrInvalid, "multiplexed link: number of modes is 0, want at least 1")
	ideal.Probability = 2
	qnettest.WantErr(t, herald.Multiplexed{Model: ideal, Modes: 1}.Validate(), qnet.ErrInvalid, "ideal link: success probability is 2")
}
