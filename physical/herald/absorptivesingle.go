package herald

import (
	"math"

	"qstack/qnet"
)

// AbsorptiveSingleClick is the one-photon link between absorptive memories, or
// between atomic ensembles that emit their partner photon themselves (L.-M. Duan,
// M. D. Lukin, J. I. Cirac and P. Zoller, Nature 414, 413, 2001; D. Lago-Rivera
// et al., Nature 594, 37, 2021, arXiv:2101.05097). Each end emits a squeezed vacuum
// of pairs in one mode; the partners interfere mid-way, and a click in exactly one
// of two threshold detectors heralds one excitation that is shared by the
// memories: Ψ+ for one detector, Ψ− for the other.
//
// The qubit of an end is its mode after read-out: |1⟩ is a click of the one
// detector behind the memory, |0⟩ none. The populations of the state are exact, all
// numbers of photons, loss and noise included; the coherence between |01⟩ and |10⟩
// is that of the part with one photon, which interference of the two read-outs
// shows, and more photons only add to |1⟩. A success is a herald, whatever the
// memories then give: most of the state is |00⟩ if they are poor. The model is
// Immediate, since the read-out is part of it.
type AbsorptiveSingleClick struct {
	// A and B are the ends; Pairs is the mean number in the one mode.
	A, B AbsorptiveEnd
	// Visibility is the squared overlap of the partners' wave packets at the beam
	// splitter, in [0,1].
	Visibility float64
	// Coherence is the factor that noise of the optical phase between the arms
	// leaves of the coherence, in [0,1]: exp(−σ²/2) for Gaussian noise of σ radians.
	Coherence float64
	// DarkCount is the probability that a detector in the middle clicks without a
	// photon in an attempt, in [0,1).
	DarkCount float64
	// HeraldNS is the time in nanoseconds from the emission until the herald is
	// back at the ends, at least 0: the memories must store as long.
	HeraldNS float64
	// PeriodNS is the time from one attempt to the next in nanoseconds, above 0.
	PeriodNS float64
}

// Validate implements Model.
func (m AbsorptiveSingleClick) Validate() error {
	const what = "absorptive single-click link"
	if err := validMiddle(what, m.A, m.B, m.Visibility, m.DarkCount, m.HeraldNS, m.PeriodNS); err != nil {
		return err
	}
	if !(m.Coherence >= 0 && m.Coherence <= 1) {
		return invalid(what+": coherence", m.Coherence, "from 0 to 1")
	}
	if !(m.SuccessProbability() > 0) {
		return qnet.Errorf(qnet.ErrInvalid, "%s: sources of %g and %g pairs, seen with %g and %g, never herald: a source and its efficiency, or the dark counts, must be above 0", what, m.A.Pairs, m.B.Pairs, m.A.Eta, m.B.Eta)
	}
	return nil
}

// SuccessProbability implements Model.
func (m AbsorptiveSingleClick) SuccessProbability() float64 {
	return 2 * m.silent(m.squeezed(), 0, 0)
}

// Period implements Model.
func (m AbsorptiveSingleClick) Period() float64 { return m.PeriodNS }

// Immediate implements Immediate: the read-out is part of the attempt.
func (m AbsorptiveSingleClick) Immediate() bool { return true }

// Heralds implements Model: Ψ+ and Ψ− with equal probability.
func (m AbsorptiveSingleClick) Heralds() []Herald {
	p, d := m.state()
	kind := func(l qnet.BellLabel, d float64) Herald {
		var s State
		for i, w := range p {
			s[5*i] = complex(w, 0)
		}
		s[4*1+2], s[4*2+1] = complex(d, 0), complex(d, 0)
		return Herald{Label: l, P: 0.5, State: s}
	}
	return []Herald{kind(qnet.PsiPlus, d), kind(qnet.PsiMinus, -d)}
}

// OnePhotonFidelity returns the fidelity of the state to its label among the
// heralds after which exactly one memory gives a click, and their share.
func (m AbsorptiveSingleClick) OnePhotonFidelity() (fidelity, share float64) {
	p, d := m.state()
	share = p[1] + p[2]
	if share == 0 {
		return 0.5, 0
	}
	return 0.5 + d/share, share
}

func (m AbsorptiveSingleClick) squeezed() *squeezed {
	return &squeezed{
		ends:  [2]squeezedEnd{m.A.squeezed(1), m.B.squeezed(1)},
		cross: math.Sqrt(m.Visibility*m.A.Eta*m.B.Eta) / 2,
		apart: 1 - m.Visibility,
		dark:  m.DarkCount,
	}
}

// silent returns the probability that a given detector in the middle clicks
// alone, and that what misses a photon with probability 1−a behind the memory of
// end A, and 1−b behind that of B, sees none.
func (m AbsorptiveSingleClick) silent(s *squeezed, a, b float64) float64 {
	ka, pa := s.ends[0].after(1 - a)
	kb, pb := s.ends[1].after(1 - b)
	c := s.click(ka, kb)
	return pa * pb * (1 - s.dark) * (c/(1-c) + s.dark)
}

// state returns the populations of |00⟩, |01⟩, |10⟩ and |11⟩ and the coherence
// between the two in the middle, for Ψ+.
func (m AbsorptiveSingleClick) state() (p [4]float64, d float64) {
	s := m.squeezed()
	a, b := &s.ends[0], &s.ends[1]
	herald := m.silent(s, 0, 0)
	noA := a.quiet * m.silent(s, a.memory, 0) / herald
	noB := b.quiet * m.silent(s, 0, b.memory) / herald
	none := a.quiet * b.quiet * m.silent(s, a.memory, b.memory) / herald
	p = [4]float64{none, max(noA-none, 0), max(noB-none, 0), max(1-noA-noB+none, 0)}

	// One photon in the memories, none of which is lost: the off-diagonal of the
	// unseen partners over the square of det(1−(1−m)λY), whose inverse is the
	// vacuum.
	ka, pa := a.after(1 - a.memory)
	kb, pb := b.after(1 - b.memory)
	vacuum := pa * pb / (1 - s.click(ka, kb))
	norm := (1 - a.lambda) * (1 - b.lambda)
	d = a.quiet * b.quiet * (1 - s.dark) * math.Sqrt(a.lambda*b.lambda*a.memory*b.memory) * s.cross * vacuum * vacuum / norm / herald
	return p, d * m.Coherence
}
