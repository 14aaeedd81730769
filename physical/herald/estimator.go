package herald

import "math"

// HeraldingOnly is the estimator of A. Dahlberg et al., SIGCOMM (2019),
// arXiv:1903.09778, for a single-click link: what a link layer of that design
// believes of it. It serves to compare with that work; what a link does is
// SingleClick itself. The estimator
//
//   - takes two photons, or two dark counts, for a success however they click,
//     and a photon together with a dark count for a failure,
//   - grants the coherence of a photon to a dark count,
//   - leaves out phase noise, double excitation, extra dephasing, and whether
//     detectors resolve numbers.
//
// Its success probability differs from the exact one, relatively, by the order
// of the dark count probability and of αη(1−V)/4. The fidelity of a symmetric
// link of small η is too high by about (1−α)√V·DarkCount/η, imperfections that it
// leaves out aside.
type HeraldingOnly struct{ SingleClick }

// OnlyHeralding returns what this estimator makes of a model: its HeraldingOnly if
// that is of a single-click link, multiplexed or not, and otherwise the model
// itself.
func OnlyHeralding(m Model) Model {
	switch m := m.(type) {
	case SingleClick:
		return HeraldingOnly{m}
	case Multiplexed:
		m.Model = OnlyHeralding(m.Model)
		return m
	}
	return m
}

func (m HeraldingOnly) click() clicked {
	a, b := m.AlphaA, m.AlphaB
	lostA, lostB := 1-m.EtaA, 1-m.EtaB
	q := (1 - m.DarkCount) * (1 - m.DarkCount) // no dark count
	dark := m.DarkCount * (2 - m.DarkCount)    // 1-q
	c := clicked{
		p00: (1 - a) * (1 - b) * dark,
		p01: (1 - a) * b * (q*m.EtaB + lostB*dark),
		p10: a * (1 - b) * (q*m.EtaA + lostA*dark),
		p11: a * b * (q*(m.EtaA*lostB+lostA*m.EtaB+m.EtaA*m.EtaB) + lostA*lostB*dark),
	}
	c.coherence = math.Sqrt(m.Visibility) * math.Sqrt(c.p01) * math.Sqrt(c.p10)
	return c
}

// SuccessProbability implements Model.
func (m HeraldingOnly) SuccessProbability() float64 { return m.click().p() }

// Heralds implements Model: Ψ+ and Ψ− with equal probability.
func (m HeraldingOnly) Heralds() []Herald { return m.click().heralds() }
