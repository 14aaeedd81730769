package emulate

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"qstack/physical/prepare"
	"qstack/physical/preset"
	"qstack/qnet"
)

// Pulses is what was measured of a link on which light is prepared and measured.
type Pulses struct {
	Preset  string  `json:"preset"`
	Model   string  `json:"model"`
	Seed    uint64  `json:"seed"`
	Pulses  uint64  `json:"pulses"`
	Seconds float64 `json:"emulated_s"`
	// Rate is in detections per second, of whatever was sent.
	Rate        Quantity    `json:"detections_hz"`
	Intensities []Intensity `json:"intensities"`
	WallS       float64     `json:"wall_s"`
	// Agrees says that everything is as close to what the model says as five
	// standard errors are, or, with few events, exact tails of the same probability.
	Agrees bool `json:"agrees"`
}

// Intensity is what became of the pulses of one intensity.
type Intensity struct {
	Mean  float64  `json:"mean"` // photons as they leave
	Sent  uint64   `json:"sent"`
	Gain  Quantity `json:"gain"`       // share of the pulses that is detected
	Error Quantity `json:"error_rate"` // share of the detections in the basis that was sent whose bit is wrong
}

// RunPulses measures the link of a preset on which light is prepared and
// measured, until about the given number of detections. The error carries
// qnet.ErrUnsupported when it has no such link.
func RunPulses(p *preset.Preset, detections int, seed uint64) (*Pulses, error) {
	if detections < 100 {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%d detections: want at least 100", detections)
	}
	l, err := p.Link()
	if err != nil {
		return nil, err
	}
	if l.Prepared == nil {
		return nil, qnet.Errorf(qnet.ErrUnsupported, "%s makes pairs: no light is prepared and measured on it", p.Name)
	}
	began := time.Now()
	r := &Pulses{Preset: p.Name, Model: p.Model.Name, Seed: seed, Agrees: true}
	rng := qnet.NewRand(seed, "pulses")
	var kinds []kind
	var s interface{ Counts() int }
	var count func(pulses uint64, counts []prepare.Count) error
	if d := l.Prepared.BB84; d != nil {
		sampler, err := d.Sampler()
		if err != nil {
			return nil, err
		}
		s, count = sampler, func(n uint64, counts []prepare.Count) error { return sampler.Count(rng, n, counts) }
		for i, o := range d.Observations() {
			k := kind{share: d.Intensities[i].Probability, Observation: o}
			for b := range uint8(4) {
				k.all = append(k.all, prepare.BB84Index(i, b>>1, b&1))
			}
			k.right = []int{prepare.BB84Index(i, prepare.Z, prepare.Z), prepare.BB84Index(i, prepare.X, prepare.X)}
			kinds = append(kinds, k)
		}
	} else {
		t := l.Prepared.Twin
		sampler, err := t.Sampler(t.A, t.B)
		if err != nil {
			return nil, err
		}
		s, count = sampler, func(n uint64, counts []prepare.Count) error { return sampler.Count(rng, n, counts) }
		k := kind{share: 1, all: []int{0}, right: []int{0}}
		k.Mean, k.Gain, k.Error = t.A.Key.Mean, l.Prepared.Gain, l.Prepared.ErrorRate
		kinds = append(kinds, k)
	}
	gain := 0.0 // of a pulse, whichever it is
	for _, k := range kinds {
		gain += k.share * k.Gain
	}
	r.Pulses = uint64(math.Ceil(float64(detections) / gain))
	r.Seconds = float64(r.Pulses) * l.Prepared.PulseNS / 1e9
	counts := make([]prepare.Count, s.Counts())
	if err := count(r.Pulses, counts); err != nil {
		return nil, err
	}
	var detected uint64
	for _, k := range kinds {
		all, right := total(counts, k.all), total(counts, k.right)
		detected += all.Detected
		r.Intensities = append(r.Intensities, Intensity{Mean: k.Mean, Sent: all.Sent,
			Gain: r.share(all.Detected, all.Sent, k.Gain), Error: r.share(right.Errors, right.Detected, k.Error)})
	}
	r.Rate = r.share(detected, r.Pulses, gain)
	for _, x := range []*float64{&r.Rate.Measured, &r.Rate.StdErr, &r.Rate.Low, &r.Rate.High, r.Rate.Expected} {
		*x *= 1e9 / l.Prepared.PulseNS
	}
	r.WallS = time.Since(began).Seconds()
	return r, nil
}

// kind is one intensity with the counts that are of it.
type kind struct {
	share float64 // of the pulses
	prepare.Observation
	all, right []int // in the basis that was sent
}

func total(counts []prepare.Count, of []int) (t prepare.Count) {
	for _, i := range of {
		t.Sent += counts[i].Sent
		t.Detected += counts[i].Detected
		t.Errors += counts[i].Errors
	}
	return t
}

// share returns k of n beside the probability p that is expected of each.
func (r *Pulses) share(k, n uint64, p float64) Quantity {
	if n == 0 {
		return Quantity{Expected: &p}
	}
	if !plausible(k, n, p) {
		r.Agrees = false
	}
	m, se := float64(k)/float64(n), math.Sqrt(p*(1-p)/float64(n))
	return Quantity{Measured: m, StdErr: se, Low: max(0, m-z95*se), High: min(1, m+z95*se), Expected: &p}
}

// plausible reports whether k successes in n independent trials of probability p
// may be chance: whether as few and as many have a probability of at least that
// of five standard errors on one side, 2.9e-7. Below a thousand events, on the
// rarer side, the tails are exact.
func plausible(k, n uint64, p float64) bool {
	const alarm = 2.87e-7
	if p > 0.5 {
		k, p = n-k, 1-p
	}
	mean := float64(n) * p
	if mean >= 1000 {
		return math.Abs(float64(k)-mean) <= 5*math.Sqrt(mean*(1-p))
	}
	if p == 0 {
		return k == 0
	}
	// The terms of the distribution from k downward and upward, by their ratios.
	log, _ := math.Lgamma(float64(k) + 1)
	term := math.Exp(chooseLog(n, k) - log + float64(k)*math.Log(p) + (float64(n)-float64(k))*math.Log1p(-p))
	odds := p / (1 - p)
	few, many := term, term
	for i, t := k, term; i > 0 && t > 1e-300; i-- {
		t *= float64(i) / (float64(n-i) + 1) / odds
		few += t
	}
	for i, t := k, term; i < n && t > 1e-300; i++ {
		t *= (float64(n - i)) / float64(i+1) * odds
		many += t
	}
	return few >= alarm && many >= alarm
}

// chooseLog returns the logarithm of n·(n−1)···(n−k+1).
func chooseLog(n, k uint64) (log float64) {
	for i := range k {
		log += math.Log(float64(n - i))
	}
	return log
}

// WriteTable prints the report for people.
func (r *Pulses) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "%s (%s): %d pulses, %.4g s emulated in %.1f s\n\n", r.Preset, r.Model, r.Pulses, r.Seconds, r.WallS)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "quantity\tmeasured\t95 % interval\texpected")
	row := func(name string, q *Quantity) {
		if q.StdErr == 0 {
			fmt.Fprintf(t, "%s\tno events\t\t%.5g\n", name, *q.Expected)
			return
		}
		fmt.Fprintf(t, "%s\t%.5g\t%.5g … %.5g\t%.5g\n", name, q.Measured, q.Low, q.High, *q.Expected)
	}
	row("detections per second", &r.Rate)
	for i := range r.Intensities {
		x := &r.Intensities[i]
		row(fmt.Sprintf("gain at mean %.4g", x.Mean), &x.Gain)
		row(fmt.Sprintf("error rate at mean %.4g", x.Mean), &x.Error)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !r.Agrees {
		_, err := fmt.Fprintln(w, "\nsomething is further from what is expected than chance allows")
		return err
	}
	return nil
}
