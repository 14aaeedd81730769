package satellite

import (
	"math"

	"qstack/physical/herald"
	"qstack/qnet"
)

// Step is a part of a contact in which a path is taken to be constant, as it is
// in the middle of the part.
type Step struct {
	From, To     qnet.Time
	Transmission float64
}

// Steps cuts the contact of a path into equal steps of at most the given
// seconds, as prepare-and-measure over one down-link needs it. What lies before
// the epoch is left out. It fails with qnet.ErrInvalid when the path is not
// valid, when there is no contact, or when the steps are so long that the number
// of photons that arrive during the contact is off by more than 0.1 %.
func Steps(p Path, step float64) ([]Step, error) {
	w, err := contact(step, p)
	if err != nil {
		return nil, err
	}
	steps := make([]Step, w.n)
	err = w.each(step, func(i int, t float64) (float64, error) {
		eta := p.Transmission(t)
		if i >= 0 {
			steps[i] = Step{w.border(i), w.border(i + 1), eta}
		}
		return eta, nil
	})
	return steps, err
}

// Schedule returns the schedule of a link between the receivers of two paths: in
// contact with both, a segment for each step of at most the given seconds, with
// the model that holds for the two transmissions in the middle of the step; then
// nothing. What lies before the epoch is left out. It fails with qnet.ErrInvalid
// when a path or a model is not valid, when there is no contact, or when the steps
// are so long that the expected number of successes during the contact is off by
// more than 0.1 %, as estimated by steps a tenth as long.
//
// The model sees transmissions averaged over fading, which gives the right mean
// rate as far as the success probability is linear in each of the two, as it is
// for weak light. Schedule fails with qnet.ErrInvalid, too, where the fading of
// either path shifts the rate by more than 0.1 % (by its curvature, that is to
// second order). Successes come in bunches as long as the fading lasts, which is
// not modelled.
func Schedule(a, b Path, step float64, model func(a, b float64) (herald.Model, error)) (herald.Schedule, error) {
	w, err := contact(step, a, b)
	if err != nil {
		return nil, err
	}
	s := make(herald.Schedule, w.n+1)
	s[w.n].From = w.border(w.n)
	err = w.each(step, func(i int, t float64) (float64, error) {
		etaA, etaB := a.Transmission(t), b.Transmission(t)
		at := func(etaA, etaB float64) (m herald.Model, p float64, err error) {
			if m, err = model(etaA, etaB); err == nil {
				err = m.Validate()
			}
			if err != nil {
				return nil, 0, qnet.Errorf(qnet.CodeOf(err), "down-links at %.3f s: %v", t, err)
			}
			return m, m.SuccessProbability(), nil
		}
		m, p, err := at(etaA, etaB)
		if err != nil || i < 0 {
			return p, err
		}
		s[i] = herald.Segment{From: w.border(i), Model: m}
		for _, x := range [...]struct{ fading, a, b float64 }{{a.Fading(t), 1, 0}, {b.Fading(t), 0, 1}} {
			if x.fading == 0 {
				continue
			}
			const d = 0.1
			_, less, err := at(etaA*(1-d*x.a), etaB*(1-d*x.b))
			if err != nil {
				return 0, err
			}
			_, least, err := at(etaA*(1-2*d*x.a), etaB*(1-2*d*x.b))
			if err != nil {
				return 0, err
			}
			if shift := math.Abs(p-2*less+least) / (d * d) / 2 * x.fading / p; !(shift <= tolerance) {
				return 0, qnet.Errorf(qnet.ErrInvalid, "down-links at %.3f s: fading of relative variance %.3g shifts the rate by %.2g %%, want at most 0.1 %%: too much light for a mean transmission to stand for one that fluctuates", t, x.fading, 100*shift)
			}
		}
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	return s, s.Validate()
}

const (
	maxSteps  = 1_000_000 // of a contact
	finer     = 10        // parts of a step that stand for continuous time
	tolerance = 1e-3      // of the expected number of successes
)

// window is a contact, cut into n equal steps.
type window struct {
	from, to float64
	n        int
}

// contact returns the window in which all paths are open.
func contact(step float64, paths ...Path) (window, error) {
	w := window{0, maxTime, 0}
	for _, p := range paths {
		if err := p.Validate(); err != nil {
			return w, err
		}
		from, to := p.Contact()
		w.from, w.to = max(w.from, from), min(w.to, to)
	}
	if !(w.to-w.from >= 1e-6) {
		return w, qnet.Errorf(qnet.ErrInvalid, "down-links: in contact from %.6g s to %.6g s, want a contact of a microsecond at least after the epoch", w.from, w.to)
	}
	n := math.Ceil((w.to - w.from) / step)
	if !(step > 0 && n <= maxSteps && (w.to-w.from)/n >= 1e-8) {
		return w, qnet.Errorf(qnet.ErrInvalid, "down-links: step in seconds is %g, want at least a millionth of the contact of %.6g s, and 1e-8", step, w.to-w.from)
	}
	w.n = int(n)
	return w, nil
}

// border returns the instant at which step i begins.
func (w window) border(i int) qnet.Time {
	return qnet.Time(math.Round((w.from + (w.to-w.from)*float64(i)/float64(w.n)) * 1e9))
}

// each calls rate with the middle of each step i, and with finer instants, for
// which i is negative. It fails when the sum over the steps differs from that
// over the finer ones by more than the tolerance.
func (w window) each(step float64, rate func(i int, t float64) (float64, error)) error {
	var coarse, fine float64
	width := (w.to - w.from) / float64(w.n)
	for i := range w.n {
		r, err := rate(i, w.from+(float64(i)+0.5)*width)
		if err != nil {
			return err
		}
		coarse += r
		for j := range finer {
			r, err := rate(-1, w.from+(float64(i)+(float64(j)+0.5)/finer)*width)
			if err != nil {
				return err
			}
			fine += r / finer
		}
	}
	if off := math.Abs(coarse/fine - 1); !(off <= tolerance) {
		return qnet.Errorf(qnet.ErrInvalid, "down-links: step in seconds is %g, which puts the rate over the contact off by %.2g %%, want at most 0.1 %%: try %.1g", step, 100*off, 0.8*width*math.Sqrt(tolerance/off))
	}
	return nil
}

// Source is a source of photon pairs on a satellite, with the two receivers that
// measure the photons: two stations on the ground, as on Micius (J. Yin et al.,
// Science 356, 1140, 2017), or one station and the satellite itself (OnBoard).
type Source struct {
	A, B Path
	// Pairs is the source with both receivers next to it: EtaA and EtaB are the
	// efficiencies of what the paths do not hold, and the dark rates those of the
	// detectors in darkness.
	Pairs herald.ContinuousSource
	// BackgroundA and BackgroundB are the rates per second at which light of the
	// sky, by day or by night, makes each of the detectors of this end click, at
	// least 0.
	BackgroundA, BackgroundB float64
	// Step is the length in seconds of the steps in which the loss changes, above
	// 0; 1 suits satellites in low orbit.
	Step float64
}

// Model returns the model that holds at transmissions a and b of the two paths,
// or an error of code qnet.ErrInvalid.
func (s Source) Model(a, b float64) (herald.PairSource, error) {
	for _, x := range [...]struct {
		end        string
		background float64
	}{{"A", s.BackgroundA}, {"B", s.BackgroundB}} {
		if !(x.background >= 0 && x.background <= 1e12) {
			return herald.PairSource{}, invalid("satellite: background counts per second of a detector of end "+x.end, x.background, "from 0 to 1e12")
		}
	}
	c := s.Pairs
	c.EtaA, c.EtaB = c.EtaA*a, c.EtaB*b
	c.DarkRateA, c.DarkRateB = c.DarkRateA+s.BackgroundA, c.DarkRateB+s.BackgroundB
	return c.PairSource()
}

// Validate returns nil, or an error of code qnet.ErrInvalid: that of Schedule.
func (s Source) Validate() error {
	_, err := s.Schedule()
	return err
}

// Schedule returns the schedule of the link between the two receivers (see the
// function Schedule), of segments whose models are herald.PairSource.
func (s Source) Schedule() (herald.Schedule, error) {
	if s.A == nil || s.B == nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "satellite: a path is missing, want two")
	}
	return Schedule(s.A, s.B, s.Step, func(a, b float64) (herald.Model, error) { return s.Model(a, b) })
}
