package prepare

import (
	"math"

	"qstack/physical/optics"
)

// Repeater is a mid-point with two memories that nobody needs to trust. In every
// slot each end sends a single photon of BB84 towards it, as long as the memory
// for that end is empty; a memory that stores a photon tells so at once. When both
// have, a Bell-state measurement joins both photons and its outcome is announced,
// which correlates the bits of the ends if their bases agree. The memory that was
// loaded first waits and dephases meanwhile. It is the least repeater: its rate
// falls with the root of the channel's transmission.
//
// The scheme is that of C. Panayi, M. Razavi, X. Ma and N. Lütkenhaus, New J.
// Phys. 16, 043005 (2014). Seen backwards in time it is that in which the
// memories emit photons entangled with them, as in D. Luong, L. Jiang, J. Kim
// and N. Lütkenhaus, Appl. Phys. B 122, 96 (2016), but for the wait for heralds,
// which Slot then has to include.
//
// One slot is one use of the channel from end to end, whether both halves were
// used in it or one.
type Repeater struct {
	// EtaA and EtaB are the transmissions of the two halves of the channel, in
	// [0,1].
	EtaA, EtaB float64
	// Efficiency is the probability that a photon is emitted and, once it is
	// through the channel, stored and heralded, in (0,1].
	Efficiency float64
	// Dark is the probability that a memory in which nothing was stored claims so
	// in a slot, from 0 to 0.5. Its state is then maximally mixed.
	Dark float64
	// Swap is the probability that a Bell-state measurement succeeds and says so:
	// 1/2 with linear optics, 1 with a gate between the memories.
	Swap float64
	// Error is the error rate, in either basis, of two photons stored in the same
	// slot, from 0 to 0.5.
	Error float64
	// Slot is the time from one attempt to the next in seconds, and T2 the time
	// in which the coherence of a waiting memory falls to 1/e; 0 stands for a
	// memory that keeps it.
	Slot, T2 float64
	// Cutoff is the largest number of slots that a memory waits for the other; then
	// it is emptied and both ends try anew. 0 stands for no cut-off.
	Cutoff uint64
}

// Validate returns nil, or an error of code qnet.ErrInvalid that names the
// impossible parameter, its value and its range.
func (r Repeater) Validate() error {
	const what = "repeater"
	err := validate(what,
		parameter{"transmission of half A", r.EtaA, 0, 1},
		parameter{"transmission of half B", r.EtaB, 0, 1},
		parameter{"efficiency", r.Efficiency, 0, 1},
		parameter{"dark probability", r.Dark, 0, maxDark},
		parameter{"probability of a successful swap", r.Swap, 0, 1},
		parameter{"error rate", r.Error, 0, 0.5},
		parameter{"slot in seconds", r.Slot, 0, 3600},
		parameter{"T2 in seconds", r.T2, 0, 1e12})
	if err != nil {
		return err
	}
	if pA, pB := r.loads(); pA == 0 || pB == 0 {
		return invalid(what+": probability that a slot loads a memory", min(pA, pB), "above 0 for both ends")
	}
	return nil
}

// loads returns the probabilities that a slot loads the memories of A and B.
func (r Repeater) loads() (pA, pB float64) {
	load := func(eta float64) float64 {
		eta *= r.Efficiency
		return eta + (1-eta)*r.Dark
	}
	return load(r.EtaA), load(r.EtaB)
}

// waiting returns, for a memory that has been loaded while the other is loaded
// with probability p in a slot and the coherence falls by exp(−decay): the
// probability that the other is loaded before the cut-off, the mean number of
// slots until either, and the mean coherence when it is loaded, times that
// probability.
func (r Repeater) waiting(p, decay float64) (loaded, slots, coherence float64) {
	fail := math.Log1p(-p) // of one slot, its logarithm
	within := func(decay float64) float64 {
		if r.Cutoff == 0 {
			return 1
		}
		return -math.Expm1(float64(r.Cutoff) * (fail - decay))
	}
	lost := -math.Expm1(-decay)
	return within(0), within(0) / p, p * (1 - lost) * within(decay) / (p + (1-p)*lost)
}

// round returns, of the time from both memories empty until both are loaded or
// the cut-off comes, the mean number of slots, the probability of both loaded,
// and the mean coherence then.
func (r Repeater) round() (slots, loaded, coherence float64) {
	pA, pB := r.loads()
	decay := 0.0 // of coherence per slot
	if r.T2 > 0 {
		decay = r.Slot / r.T2
	}
	first := pA + pB - pA*pB // probability that a slot ends the wait with both empty
	both, onlyA, onlyB := pA*pB/first, pA*(1-pB)/first, pB*(1-pA)/first
	loadedA, slotsA, coherenceA := r.waiting(pB, decay)
	loadedB, slotsB, coherenceB := r.waiting(pA, decay)
	loaded = both + onlyA*loadedA + onlyB*loadedB
	slots = 1/first + onlyA*slotsA + onlyB*slotsB
	return slots, loaded, (both + onlyA*coherenceA + onlyB*coherenceB) / loaded
}

// SlotsPerPair returns the mean number of slots from one successful swap to the
// next. Without a cut-off it is (1/pA+1/pB−1/(pA+pB−pA·pB))/Swap.
func (r Repeater) SlotsPerPair() float64 {
	slots, loaded, _ := r.round()
	return slots / (loaded * r.Swap)
}

// Errors returns the error rates in Z, which dephasing leaves alone, and in X.
func (r Repeater) Errors() (z, x float64) {
	pA, pB := r.loads()
	stored := r.EtaA * r.Efficiency / pA * (r.EtaB * r.Efficiency / pB) // photons, not dark counts, in both
	_, _, coherence := r.round()
	v := stored * (1 - 2*r.Error)
	return (1 - v) / 2, (1 - v*coherence) / 2
}

// KeyRate returns the secret bits per slot, 0 when there are none, when nearly
// all photons are sent in Z and error correction has efficiency f:
// (1−h(X)−f·h(Z))/SlotsPerPair.
func (r Repeater) KeyRate(f float64) float64 {
	z, x := r.Errors()
	return max(0, 1-optics.Entropy(x)-f*optics.Entropy(z)) / r.SlotsPerPair()
}

// At returns the repeater in the middle of a channel of transmission eta.
func (r Repeater) At(eta float64) Repeater {
	r.EtaA = math.Sqrt(eta)
	r.EtaB = r.EtaA
	return r
}
