package preset

import (
	"qstack/physical/herald"
	"qstack/physical/prepare"
	"qstack/qnet"
)

// Link is a link as its parameters give it. It has either a Model or a Prepared.
type Link struct {
	Model                    herald.Model    // of heralded pairs; of a link that changes with time, at its best
	Schedule                 herald.Schedule // of a link that changes with time, else nil
	Prepared                 *Prepared       // of pulses that are prepared and measured
	EfficiencyA, EfficiencyB float64         // emission to click, of models with photons; else 0
	LengthA, LengthB         float64         // metres from the mid-point
	Attenuation              float64         // dB/km, the mean of both arms
	FibreSpeed               float64         // of light in the fibre, m/s
	// Pipelined says that attempts that measure are made while heralds are under way.
	Pipelined bool
	// Herald is the time in seconds from an attempt until both ends know what
	// came of it: the photons' way to the mid-point and the herald's way back, on
	// the longer arm.
	Herald float64
}

// Prepared is a link on which light is prepared and measured and nothing is kept.
type Prepared struct {
	PulseNS   float64 // from one pulse to the next, in nanoseconds
	Gain      float64 // probability that a pulse (of the signal) is detected
	ErrorRate float64 // of the bits that are detected
	KeyRate   float64 // secret bits per pulse, sifting included
	// BB84 or Twin has the model that draws detections.
	BB84 *prepare.DecoyBB84
	Twin *Twin
}

// Twin is a twin-field link with what its ends send.
type Twin struct {
	prepare.TwinField
	A, B prepare.TwinFieldSender
}

// contact returns for how many seconds a link that changes with time is open, and
// how many pairs it is expected to give meanwhile.
func (l *Link) contact() (seconds, pairs float64) {
	for i, s := range l.Schedule {
		if s.Model == nil || i+1 == len(l.Schedule) {
			continue
		}
		d := l.Schedule[i+1].From.Sub(s.From).Seconds()
		seconds += d
		pairs += d * s.Model.SuccessProbability() / (s.Model.Period() / 1e9)
	}
	return seconds, pairs
}

// period returns the time from one attempt, or pulse, to the next in nanoseconds.
func (l *Link) period() float64 {
	if l.Prepared != nil {
		return l.Prepared.PulseNS
	}
	return l.Model.Period()
}

// Link returns the link that p describes. The error, of code
// qnet.ErrUnsupported, says that it describes none.
func (p *Preset) Link() (*Link, error) {
	if p.Model == nil {
		return nil, qnet.Errorf(qnet.ErrUnsupported, "%s describes a device, but no link", p.Name)
	}
	return p.link()
}

// link builds the link. The error, of code qnet.ErrInvalid, is of the model, which
// finds its parameters impossible.
func (p *Preset) link() (*Link, error) {
	g := given{p.Model.Params, p.Values}
	l := &Link{FibreSpeed: qnet.FibreSpeed}
	l.LengthA, l.LengthB = g.lengths()
	if find(g.params, "fibre_speed") != nil {
		l.FibreSpeed = g.number("fibre_speed")
		l.Herald = 2 * max(l.LengthA, l.LengthB) / l.FibreSpeed
	}
	m, err := p.Model.build(g, l)
	if err != nil {
		return nil, err
	}
	if l.Model = m; m != nil && find(g.params, "modes") != nil && g.number("modes") > 1 {
		l.Model = herald.Multiplexed{Model: m, Modes: int(g.number("modes"))}
	}
	l.Pipelined = m != nil && !herald.IsImmediate(m) && l.Model.Period() < l.Herald*1e9*(1-1e-9)
	return l, nil
}

// validate returns the key of what is wrong with p, and what.
func (p *Preset) validate() (key, problem string) {
	_, key, problem = p.validLink()
	if problem == "" {
		key, problem = p.validateDevice()
	}
	return key, problem
}

// validLink returns the link, nil when there is none, or the key of what is wrong
// with it, and what.
func (p *Preset) validLink() (l *Link, key, problem string) {
	if p.Model == nil {
		return nil, "", ""
	}
	for i := range p.Model.Params {
		q := &p.Model.Params[i]
		if q.Required && p.Values.get(q.Name) == nil && (p.Values.get(q.Name+"_a") == nil || p.Values.get(q.Name+"_b") == nil) {
			return nil, "link." + q.Name, "missing: " + q.Meaning + ", " + q.Range()
		}
	}
	g := given{p.Model.Params, p.Values}
	if key, problem = g.conflict(); problem != "" {
		return nil, "link." + key, problem
	}
	l, err := p.link()
	if err == nil && l.Model != nil {
		err = l.Model.Validate()
	}
	if err != nil {
		return nil, "link", err.Error()
	}
	if period := l.period() / 1e9; find(g.params, "await_herald") != nil && g.truth("await_herald") && period < l.Herald*(1-1e-9) {
		key = "link.attempt_time"
		if g.has("attempt_rate") {
			key = "link.attempt_rate"
		}
		return nil, key, "the herald of an attempt is back after " + seconds(l.Herald) + ", but the next attempt is due after " + seconds(period) +
			": shorten the link, wait longer, or say await_herald = false"
	}
	return l, "", ""
}
