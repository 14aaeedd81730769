package herald

import (
	"math"

	"qstack/qnet"
)

// SingleClick is the one-photon protocol. In an attempt each end prepares
// √(1−α)|0⟩|no photon⟩ + √α|1⟩|one photon⟩, where |1⟩ is the bright state; a balanced
// beam splitter mid-way mixes both arms, and the attempt succeeds when exactly
// one of the two detectors clicks: one announces Ψ+, the other Ψ−.
//
// The heralded state is exact for any parameters. It has no coherence but that
// of the odd subspace {01,10}, and is not Bell-diagonal: |11⟩, both bright with
// one photon lost or bunched, outweighs |00⟩, and |01⟩ differs from |10⟩ in an
// asymmetric link.
//
// The protocol is that of C. Cabrillo et al., Phys. Rev. A 59, 1025 (1999), with
// the imperfections of P. C. Humphreys et al., Nature 558, 268 (2018),
// arXiv:1712.07567, and A. Dahlberg et al., SIGCOMM (2019), arXiv:1903.09778.
type SingleClick struct {
	// AlphaA and AlphaB are the bright-state populations α of the ends, in [0,1].
	AlphaA, AlphaB float64
	// EtaA and EtaB are the probabilities that a photon emitted at this end is
	// detected, in [0,1]. Everything on its way is included: zero-phonon line,
	// collection, conversion, fibre, detector, and emission within the window.
	EtaA, EtaB float64
	// Visibility is the squared overlap |⟨φA|φB⟩|² of the two photons' wave
	// packets, in [0,1]. It enters the coherence by its root: F=(1−α)(1+√V)/2 in
	// a symmetric link of small η without dark counts.
	Visibility float64
	// DarkCount is the probability that a detector clicks without a photon in
	// the window of an attempt, in [0,1). A dark count in a detector that also
	// sees a photon goes unnoticed.
	DarkCount float64
	// PhaseStdA and PhaseStdB say how much the optical phase of this arm varies
	// between attempts, in radians, from 0 (stable); see PhaseCoherence.
	PhaseStdA, PhaseStdB float64
	// DoubleExcitationA and DoubleExcitationB are the probabilities p that an
	// emitter at this end emits twice, in [0,1]. The additional photon, which is
	// taken for lost, tells the environment of the bright state: Z with
	// probability p/2, a factor 1−p on the coherence.
	DoubleExcitationA, DoubleExcitationB float64
	// ExtraDephasing is what is lost of the coherence for any other reason, in
	// [0,1]: a factor 1−ExtraDephasing.
	ExtraDephasing float64
	// NumberResolving detectors tell two photons from one and reject them;
	// others (threshold detectors) see one click.
	NumberResolving bool
	// PeriodNS is the time from one attempt to the next in nanoseconds, above 0.
	PeriodNS float64
}

// Validate implements Model.
func (m SingleClick) Validate() error {
	for _, v := range [...]struct {
		name  string
		value float64
	}{
		{"bright-state population of end A", m.AlphaA},
		{"bright-state population of end B", m.AlphaB},
		{"detection efficiency of end A", m.EtaA},
		{"detection efficiency of end B", m.EtaB},
		{"visibility", m.Visibility},
		{"double excitation of end A", m.DoubleExcitationA},
		{"double excitation of end B", m.DoubleExcitationB},
		{"extra dephasing", m.ExtraDephasing},
	} {
		if !(v.value >= 0 && v.value <= 1) {
			return invalid("single-click link: "+v.name, v.value, "from 0 to 1")
		}
	}
	if !(m.DarkCount >= 0 && m.DarkCount < 1) {
		return invalid("single-click link: dark count probability", m.DarkCount, "from 0 to below 1")
	}
	if s := m.PhaseStdA; !(s >= 0 && s <= math.MaxFloat64) {
		return invalid("single-click link: phase deviation of arm A in radians", s, "finite and at least 0")
	}
	if s := m.PhaseStdB; !(s >= 0 && s <= math.MaxFloat64) {
		return invalid("single-click link: phase deviation of arm B in radians", s, "finite and at least 0")
	}
	if err := validPeriod("single-click link", m.PeriodNS); err != nil {
		return err
	}
	if !(m.SuccessProbability() > 0) {
		return qnet.Errorf(qnet.ErrInvalid, "single-click link: bright-state populations %g and %g with detection efficiencies %g and %g and without dark counts never herald: an end needs both above 0, and number-resolving detectors a photon that comes alone",
			m.AlphaA, m.AlphaB, m.EtaA, m.EtaB)
	}
	return nil
}

// clicked is the state that a click leaves, not normalised: populations of the
// subspaces and the modulus of ⟨01|ρ|10⟩, each summed over both detectors.
type clicked struct {
	p00, p01, p10, p11, coherence float64
}

func (c clicked) p() float64 { return min(1, c.p00+c.p01+c.p10+c.p11) }

// heralds returns the two kinds of success: a photon leaves the beam splitter
// towards the one detector with the sum of the arms' amplitudes, towards the
// other with the difference.
func (c clicked) heralds() []Herald {
	sum := c.p00 + c.p01 + c.p10 + c.p11
	plus := State{
		4*0b00 + 0b00: complex(c.p00/sum, 0),
		4*0b01 + 0b01: complex(c.p01/sum, 0),
		4*0b10 + 0b10: complex(c.p10/sum, 0),
		4*0b11 + 0b11: complex(c.p11/sum, 0),
		4*0b01 + 0b10: complex(c.coherence/sum, 0),
		4*0b10 + 0b01: complex(c.coherence/sum, 0),
	}
	minus := plus
	minus[4*0b01+0b10] *= -1
	minus[4*0b10+0b01] *= -1
	return []Herald{
		{Label: qnet.PsiPlus, P: 0.5, State: plus},
		{Label: qnet.PsiMinus, P: 0.5, State: minus},
	}
}

// click sums over what may happen to the photons. A lost photon betrays its
// qubit to the environment, and a dark count says nothing about the qubits, so
// only a photon that made the click itself keeps coherence.
func (m SingleClick) click() clicked {
	a, b := m.AlphaA, m.AlphaB
	lostA, lostB := 1-m.EtaA, 1-m.EtaB
	q := 1 - m.DarkCount // the other detector is silent
	dark := 2 * m.DarkCount
	c := clicked{
		p00: (1 - a) * (1 - b) * q * dark,
		p01: (1 - a) * b * q * (m.EtaB + lostB*dark),
		p10: a * (1 - b) * q * (m.EtaA + lostA*dark),
		p11: a * b * q * (m.EtaA*lostB + lostA*m.EtaB + lostA*lostB*dark),
		coherence: q * math.Sqrt(a*(1-b)*m.EtaA) * math.Sqrt((1-a)*b*m.EtaB) * math.Sqrt(m.Visibility) *
			PhaseCoherence(m.PhaseStdA) * PhaseCoherence(m.PhaseStdB) *
			(1 - m.DoubleExcitationA) * (1 - m.DoubleExcitationB) * (1 - m.ExtraDephasing),
	}
	if !m.NumberResolving {
		c.p11 += a * b * q * m.EtaA * m.EtaB * (1 + m.Visibility) / 2 // bunched in one detector
	}
	return c
}

// SuccessProbability implements Model.
func (m SingleClick) SuccessProbability() float64 { return m.click().p() }

// Period implements Model.
func (m SingleClick) Period() float64 { return m.PeriodNS }

// Heralds implements Model: Ψ+ and Ψ− with equal probability.
func (m SingleClick) Heralds() []Herald { return m.click().heralds() }

// PhaseCoherence returns the factor on the coherence between a photon and no
// photon whose optical phase φ varies with deviation std, in radians, from 0:
// ⟨cos φ⟩ = I₁(1/std²)/I₀(1/std²). The phase has the von Mises distribution, of
// density ∝ exp(cos(φ)/std²), which is normal for small std and uniform for large;
// the factor is near exp(−std²/2), and 1/(2std²), respectively.
func PhaseCoherence(std float64) float64 { return besselRatio(1 / (std * std)) }

// besselRatio returns I₁(x)/I₀(x) for x from 0 to +Inf.
func besselRatio(x float64) float64 {
	const enough = 0x1p-60
	if x < 30 { // power series, of positive terms
		h := x * x / 4
		i0, i1 := 1.0, 1.0 // i1 times 2/x
		for k, t := 1.0, 1.0; t > enough*i0; k++ {
			t *= h / (k * k)
			i0 += t
			i1 += t / (k + 1)
		}
		return x / 2 * i1 / i0
	}
	// Asymptotic series, both over exp(x)/√(2πx). Its terms decrease up to k=2x.
	i0, i1 := 1.0, 1.0
	for k, t0, t1 := 1.0, 1.0, 1.0; t0 > enough; k++ {
		odd := (2*k - 1) * (2*k - 1)
		t0 *= odd / (8 * k * x)
		t1 *= (odd - 4) / (8 * k * x)
		i0 += t0
		i1 += t1
	}
	return i1 / i0
}
