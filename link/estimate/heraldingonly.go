package estimate

import (
	"math"
	"time"

	"qstack/qnet"
)

// HeraldingOnly is the estimator of A. Dahlberg et al., SIGCOMM (2019),
// arXiv:1903.09778: it believes Point.Fidelity, whatever becomes of a pair, and
// learns nothing. It takes the point that makes most pairs, which on a single-click
// link is the one with the largest α, of those that have the minimum fidelity.
type HeraldingOnly struct {
	Name   string // of the link, for errors
	Points []Point
	Period float64 // from one cycle to the next in ns
}

// Estimate implements Interface. It fails with qnet.ErrInvalid for a point that
// there is not.
func (h *HeraldingOnly) Estimate(point int, u Usage) (Estimate, error) {
	if point < 0 || point >= len(h.Points) {
		return Estimate{}, qnet.Errorf(qnet.ErrInvalid, "link %s: there is no operating point %d: there are %d", h.Name, point, len(h.Points))
	}
	return h.estimate(point, &u), nil
}

func (h *HeraldingOnly) estimate(point int, u *Usage) Estimate {
	p := &h.Points[point]
	est := Estimate{Fidelity: p.Fidelity, Granted: p.Fidelity, Model: p.Fidelity, Measured: math.NaN(), Upper: 1}
	est.Rate = 1e9 * float64(u.lanes()) * p.Probability / (u.cycles() * h.Period)
	return est
}

// Choose implements Interface. For a minimum of 0 it is the point that makes most
// pairs.
func (h *HeraldingOnly) Choose(minimum float64, u Usage) (point int, est Estimate, err error) {
	if len(h.Points) == 0 {
		return 0, Estimate{}, qnet.Errorf(qnet.ErrInvalid, "link %s: no operating points", h.Name)
	}
	if !(minimum >= 0 && minimum <= 1) {
		return 0, Estimate{}, qnet.Errorf(qnet.ErrInvalid, "link %s: minimum fidelity is %g, want from 0 to 1", h.Name, minimum)
	}
	point = -1
	best := 0
	for i := range h.Points {
		p := &h.Points[i]
		if p.Fidelity > h.Points[best].Fidelity {
			best = i
		}
		if p.Fidelity >= minimum && (point < 0 || p.Probability > h.Points[point].Probability) {
			point = i
		}
	}
	if point < 0 {
		return best, h.estimate(best, &u), refusal(h.Name, minimum, u.name(), h.Points[best].Fidelity, h.Points[best].Name, "")
	}
	return point, h.estimate(point, &u), nil
}

// At implements Interface: a pair does not age.
func (h *HeraldingOnly) At(point int, _ qnet.BellLabel, _ Usage, _ time.Duration, _ float64) float64 {
	if point < 0 || point >= len(h.Points) {
		return 0.25
	}
	return h.Points[point].Fidelity
}

// Late implements Interface: it makes no difference.
func (h *HeraldingOnly) Late(point int, l qnet.BellLabel, u Usage, _ [2]time.Duration) float64 {
	return h.At(point, l, u, 0, 0)
}

// Attempts implements Interface: they are of no account.
func (h *HeraldingOnly) Attempts(int, Usage, uint64, time.Duration) float64 { return 0 }

// Learn implements Interface: it does nothing.
func (h *HeraldingOnly) Learn(int, Usage, Round) {}
