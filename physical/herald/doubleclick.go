package herald

import (
	"math"

	"qstack/qnet"
)

// DoubleClick is the two-photon protocol of Barrett and Kok. In an attempt each
// end emits one photon, early or late and entangled with its qubit,
// (|0⟩|early⟩+|1⟩|late⟩)/√2; a balanced beam splitter mid-way mixes both arms, and
// the attempt succeeds when exactly one of the two detectors clicks in the
// early and exactly one in the late bin. The same detector twice announces Ψ+,
// different detectors Ψ−. Photons that encode the qubit in polarisation obey the
// same algebra with one emission and four detectors.
//
// The heralded state is exact for any parameters. The protocol is that of S. D.
// Barrett and P. Kok, Phys. Rev. A 71, 060310(R) (2005), with imperfect detectors
// as in G. Avis et al., npj Quantum Information 9, 100 (2023), arXiv:2207.10579.
type DoubleClick struct {
	// EtaA and EtaB are the probabilities that the photon emitted at this end is
	// detected, everything on its way included, in [0,1].
	EtaA, EtaB float64
	// Visibility is the squared overlap |⟨φA|φB⟩|² of the two photons' wave
	// packets, in [0,1]. It enters the fidelity linearly: F=(1+V)/2 without dark
	// counts.
	Visibility float64
	// DarkCount is the probability that a detector clicks without a photon in
	// one bin, in [0,1). A dark count in a detector that also sees a photon goes
	// unnoticed.
	DarkCount float64
	// NumberResolving detectors tell two photons from one and reject them;
	// others (threshold detectors) see one click.
	NumberResolving bool
	// PeriodNS is the time from one attempt to the next in nanoseconds, above 0.
	PeriodNS float64
}

// FitDoubleClick returns the double-click link, symmetric and without dark
// counts, that has the given success probability p (above 0, at most 1/2) and
// fidelity (1/2 to 1): η=√(2p) and V=2F−1.
func FitDoubleClick(p, fidelity, periodNS float64) (DoubleClick, error) {
	switch {
	case !(p > 0 && p <= 0.5):
		return DoubleClick{}, invalid("double-click link: success probability", p, "above 0 and at most 0.5, the limit of linear optics")
	case !(fidelity >= 0.5 && fidelity <= 1):
		return DoubleClick{}, invalid("double-click link: fidelity", fidelity, "from 0.5 (distinguishable photons) to 1")
	}
	eta := math.Sqrt(2 * p)
	m := DoubleClick{EtaA: eta, EtaB: eta, Visibility: 2*fidelity - 1, PeriodNS: periodNS}
	return m, m.Validate()
}

// Validate implements Model.
func (m DoubleClick) Validate() error {
	for _, v := range [...]struct {
		name  string
		value float64
	}{
		{"detection efficiency of end A", m.EtaA},
		{"detection efficiency of end B", m.EtaB},
		{"visibility", m.Visibility},
	} {
		if !(v.value >= 0 && v.value <= 1) {
			return invalid("double-click link: "+v.name, v.value, "from 0 to 1")
		}
	}
	if !(m.DarkCount >= 0 && m.DarkCount < 1) {
		return invalid("double-click link: dark count probability", m.DarkCount, "from 0 to below 1")
	}
	if err := validPeriod("double-click link", m.PeriodNS); err != nil {
		return err
	}
	if !(m.SuccessProbability() > 0) {
		return qnet.Errorf(qnet.ErrInvalid, "double-click link: detection efficiencies %g and %g without dark counts never herald: both must be above 0", m.EtaA, m.EtaB)
	}
	return nil
}

// terms returns twice the probability of a success with
//
//	a: both photons, one in each bin
//	b: one photon and one dark count, or no photon and two dark counts, while
//	   the qubits are in the odd subspace {01,10}
//	e: anything while they are in the even subspace {00,11}
//
// A lost photon betrays its bin to the environment and a bunched pair its own,
// so only a keeps coherence.
func (m DoubleClick) terms() (a, b, e float64) {
	pd, q := m.DarkCount, 1-m.DarkCount
	both := m.EtaA * m.EtaB
	one := m.EtaA + m.EtaB - 2*both
	none := (1 - m.EtaA) * (1 - m.EtaB)
	a = both * q * q
	b = one*2*pd*q*q + none*4*pd*pd*q*q
	e = b // a lost photon leaves its qubit in either subspace alike
	if !m.NumberResolving {
		e += pd * q * q * both * (1 + m.Visibility) // bunched in one detector
	}
	return a, b, e
}

// SuccessProbability implements Model.
func (m DoubleClick) SuccessProbability() float64 {
	a, b, e := m.terms()
	return (a + b + e) / 2
}

// Period implements Model.
func (m DoubleClick) Period() float64 { return m.PeriodNS }

// Heralds implements Model: Ψ+ and Ψ− with equal probability. Photons that can be
// told apart turn one into the other; the even subspace holds no coherence, so
// it is half Φ+ and half Φ−.
func (m DoubleClick) Heralds() []Herald {
	a, b, e := m.terms()
	sum := a + b + e
	good := (a*(1+m.Visibility) + b) / (2 * sum)
	bad := (a*(1-m.Visibility) + b) / (2 * sum)
	even := e / (2 * sum)
	return []Herald{
		{Label: qnet.PsiPlus, P: 0.5, State: BellDiagonal([4]float64{qnet.PhiPlus: even, qnet.PhiMinus: even, qnet.PsiPlus: good, qnet.PsiMinus: bad})},
		{Label: qnet.PsiMinus, P: 0.5, State: BellDiagonal([4]float64{qnet.PhiPlus: even, qnet.PhiMinus: even, qnet.PsiPlus: bad, qnet.PsiMinus: good})},
	}
}
