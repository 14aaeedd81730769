package herald

import (
	"math"

	"qstack/qnet"
)

// Multiplexed makes each attempt of a model in several modes at once: time bins,
// frequencies or places that do not disturb each other. An attempt succeeds if
// any mode does; the first that does gives the pair, and the others are thrown
// away. The states, and the time from one attempt to the next, are those of the
// model.
type Multiplexed struct {
	Model
	Modes int // at least 1
}

// Validate implements Model.
func (m Multiplexed) Validate() error {
	if m.Model == nil {
		return qnet.Errorf(qnet.ErrInvalid, "multiplexed link: model is missing")
	}
	if m.Modes < 1 {
		return qnet.Errorf(qnet.ErrInvalid, "multiplexed link: number of modes is %d, want at least 1", m.Modes)
	}
	return m.Model.Validate()
}

// SuccessProbability implements Model: 1−(1−p)^Modes, to full precision for
// small p.
func (m Multiplexed) SuccessProbability() float64 {
	return -math.Expm1(float64(m.Modes) * math.Log1p(-m.Model.SuccessProbability()))
}

// Immediate implements Immediate: as the model.
func (m Multiplexed) Immediate() bool { return IsImmediate(m.Model) }
