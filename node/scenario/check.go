package scenario

import (
	"fmt"
	"time"

	"qstack/qnet/toml"
)

// Ranges of values.
const (
	minProbability = 1e-12
	minEfficiency  = 1e-6
	minAttemptRate = 1e-3 // per second
	maxAttemptRate = 1e9
	maxLength      = 1e8 // metres
	minSpeed       = 1e3 // metres per second
	maxSpeed       = 299_792_458
	minDilation    = 1e-3
	maxDilation    = 1e6
	minLifetime    = 1e-9 // seconds
	maxLifetime    = 1e12
	maxReadout     = 0.5
)

// A reporter takes what is wrong with a key.
type reporter func(key, format string, args ...any)

// Validate returns nil or what is wrong with s. Parse returns only scenarios
// that are valid; this is for those that a program makes. The error holds up to
// ten of type *Error, without file and line.
func (s *Scenario) Validate() error {
	var problems []*Error
	report := func(key, format string, args ...any) {
		problems = append(problems, &Error{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	for i := range s.Nodes {
		s.Nodes[i].Hardware.check(toml.Element("nodes", i)+".hardware", report)
	}
	for i := range s.Links {
		s.Links[i].Heralding.check(toml.Element("links", i)+".heralding", report)
	}
	s.check(report)
	return toml.Join(problems)
}

// check reports what is wrong with s, hardware and heralding apart.
func (s *Scenario) check(report reporter) {
	checkName(s.Name, maxName, "network.name", report)
	checkRealm(s.Realm, "network.realm", report)
	checkRange(s.Dilation, minDilation, maxDilation, "network.dilation", report)
	if !(s.FibreSpeed >= minSpeed && s.FibreSpeed <= maxSpeed) {
		report("network.fibre_speed", "must be from 1 km/s to 299792.458 km/s, the speed of light")
	}
	if len(s.Nodes) == 0 || len(s.Nodes) > MaxNodes {
		report("nodes", "%d nodes: must be from 1 to %d", len(s.Nodes), MaxNodes)
		return
	}
	if len(s.Links) > MaxLinks {
		report("links", "%d links: must be at most %d", len(s.Links), MaxLinks)
		return
	}

	s.checkDuplicates(report)
	for i := range s.Nodes {
		n, key := &s.Nodes[i], toml.Element("nodes", i)
		checkName(n.Name, maxName, key+".name", report)
		if n.Storage < 0 || n.Storage > MaxStorage {
			report(key+".storage", "must be from 0 to %d", MaxStorage)
		}
		if n.Cutoff < 0 || n.Cutoff > maxDuration {
			report(key+".cutoff", "must be above 0 and at most 24 h")
		}
	}

	names := make(map[string]int, len(s.Links))
	between := make(map[[2]int]int, len(s.Links))
	for i := range s.Links {
		l, key := &s.Links[i], toml.Element("links", i)
		checkName(l.Name, maxLinkName, key+".name", report)
		if first, ok := names[l.Name]; ok {
			report(key+".name", "links[%d] is called %q already: give each link a name of its own", first, l.Name)
		} else {
			names[l.Name] = i
		}
		if l.Lanes < 1 || l.Lanes > MaxLanes {
			report(key+".lanes", "must be from 1 to %d", MaxLanes)
		}
		if l.A < 0 || l.A >= len(s.Nodes) || l.B < 0 || l.B >= len(s.Nodes) {
			report(key+".nodes", "positions %d and %d: must be from 0 to %d", l.A, l.B, len(s.Nodes)-1)
			continue
		}
		ends := [2]int{min(l.A, l.B), max(l.A, l.B)}
		if l.A == l.B {
			report(key+".nodes", "a link must join two nodes, not %s to itself", s.Nodes[l.A].Name)
		} else if first, ok := between[ends]; ok {
			report(key+".nodes", "links[%d] joins %s and %s already: raise its lanes instead", first, s.Nodes[l.A].Name, s.Nodes[l.B].Name)
		} else {
			between[ends] = i
		}
		s.checkLength(l, key+".length", report)
		for _, end := range [2]int{l.A, l.B} {
			s.Nodes[end].checkLanes(l.Lanes, key+".lanes", report)
		}
	}
	s.LinkSettings.check(report)
	if s.Workload != nil {
		s.Workload.check(len(s.Links), report)
	}
}

// checkLanes reports lanes of a link that the hardware of one of its ends has no
// qubits for: one of them would always wait for another.
func (n *Node) checkLanes(lanes int, key string, report reporter) {
	if n.Hardware.Preset == nil {
		return // which has as many as there are lanes
	}
	if have := n.Hardware.Preset.Device().Spec.Communication; have > 0 && lanes > have {
		report(key, "%s shares communication = %d among all lanes of its links (preset %s), so that more of them never help: lower lanes to %d, or set another communication of its hardware",
			n.Name, have, n.Hardware.Preset.Name, have)
	}
}

// checkDuplicates reports nodes whose name an earlier one has.
func (s *Scenario) checkDuplicates(report reporter) {
	nodes := make(map[string]int, len(s.Nodes))
	for i := range s.Nodes {
		name := s.Nodes[i].Name
		if first, ok := nodes[name]; !ok {
			nodes[name] = i
		} else if name != "" { // that is wrong by itself
			report(toml.Element("nodes", i)+".name", "nodes[%d] has this name already: give each node its own", first)
		}
	}
}

// checkLength reports a length that is out of range, or too long for the
// attempts of the link: an attempt ends when its herald is back.
func (s *Scenario) checkLength(l *Link, key string, report reporter) {
	switch {
	case l.Length < 0:
		report(key, "must not be negative")
	case !(l.Length <= maxLength):
		report(key, "must be at most %g km", maxLength/1e3)
	default:
		if l.Heralding.Preset != nil {
			return // which has its own way to count attempts that overlap
		}
		back := 2 * s.HalfDelay(l)
		if period := l.Heralding.Period(); float64(back) > period {
			report(key, "the herald of an attempt is back after %v, but the next attempt is due after %.3g us: shorten the link, or lower attempt_rate to %.4g Hz or less",
				back, period/1e3, 1/back.Seconds())
		}
	}
}

// check reports what is wrong with h; path is the key of its section.
func (h *Hardware) check(path string, report reporter) {
	if h.Preset != nil {
		return // it is valid
	}
	for _, v := range []struct {
		key   string
		value float64
	}{{"t1", h.T1}, {"t2", h.T2}, {"memory_time", h.Depolarising}} {
		if v.value != 0 && !(v.value >= minLifetime && v.value <= maxLifetime) {
			report(path+"."+v.key, "must be from %g s to %g s; leave it out for none", minLifetime, maxLifetime)
		}
	}
	if h.T1 > 0 && h.T2 > 2*h.T1 {
		report(path+".t2", "must be at most 2·t1, here %g s: relaxation alone costs that much coherence", 2*h.T1)
	}
	if h.Depolarising != 0 && (h.T1 != 0 || h.T2 != 0) {
		report(path+".memory_time", "a depolarising memory has no t1 and t2: leave out one or the others")
	}
	for _, v := range []struct {
		key   string
		value time.Duration
	}{{"init", h.Init}, {"gate1", h.Gate1}, {"gate2", h.Gate2}, {"readout", h.Readout}} {
		if v.value < 0 || v.value > maxDuration {
			report(path+"."+v.key, "must be from 0 to 24 h")
		}
	}
	checkRange(h.Gate2Depolarising, 0, 1, path+".gate2_depolarising", report)
	checkRange(h.ReadoutError, 0, maxReadout, path+".readout_error", report)
}

// checkAlphas reports what is wrong with operating points; key is that of their
// list.
func checkAlphas(alphas []float64, key string, report reporter) {
	if n := len(alphas); n < 1 || n > MaxAlphas {
		report(key, "%d bright-state populations: must be from 1 to %d", n, MaxAlphas)
		return
	}
	for i, a := range alphas {
		switch {
		case !(a > 0 && a <= 0.5):
			report(toml.Element(key, i), "must be above 0 and at most 0.5")
		case i > 0 && a <= alphas[i-1]:
			report(toml.Element(key, i), "must be above the one before it, %g", alphas[i-1])
		}
	}
}

// check reports what is wrong with h; path is the key of its section.
func (h *Heralding) check(path string, report reporter) {
	if h.Alphas != nil {
		checkAlphas(h.Alphas, path+".alphas", report)
		if _, err := h.Points(); err != nil {
			report(path+".alphas", "%v", err)
		}
	}
	if h.Preset != nil {
		return // it is valid
	}
	if !(h.AttemptRate >= minAttemptRate && h.AttemptRate <= maxAttemptRate) {
		report(path+".attempt_rate", "must be from %g Hz to %g Hz", minAttemptRate, maxAttemptRate)
	}
	switch h.Model {
	case Ideal:
		checkRange(h.Probability, minProbability, 1, path+".probability", report)
		if !(h.Fidelity >= 0.25 && h.Fidelity <= 1) {
			report(path+".fidelity", "must be from 0.25, no entanglement at all, to 1")
		}
	case DoubleClick:
		checkRange(h.Efficiency, minEfficiency, 1, path+".efficiency", report)
		checkRange(h.Visibility, 0, 1, path+".visibility", report)
		if !(h.DarkCounts >= 0 && h.DarkCounts < 1) {
			report(path+".dark_counts", "must be from 0 to below 1")
		}
	default:
		report(path+".model", "unknown model: want %q or %q", Ideal, DoubleClick)
	}
}

// checkRange reports a value outside [lo,hi], and one that is no number.
func checkRange(v, lo, hi float64, key string, report reporter) {
	if !(v >= lo && v <= hi) {
		report(key, "must be from %g to %g", lo, hi)
	}
}

// Longest names.
const (
	maxName     = 32
	maxRealm    = 64
	maxLinkName = 2*maxName + 1
)

// checkName reports a name that is no 1 to most of a-z, 0-9 and '-'.
func checkName(name string, most int, key string, report reporter) {
	if !isName(name, most, "") {
		report(key, "must be 1 to %d of a-z, 0-9 and '-', and not start with '-'", most)
	}
}

// checkRealm reports a realm that is no name with dots.
func checkRealm(name, key string, report reporter) {
	if !isName(name, maxRealm, ".") {
		report(key, "must be 1 to %d of a-z, 0-9, '-' and '.', and not start with '-' or '.'", maxRealm)
	}
}

// isName reports whether s is 1 to most of a-z, 0-9, '-' and extra, the first of
// them a letter or digit.
func isName(s string, most int, extra string) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		case i > 0 && (c == '-' || extra != "" && c == extra[0]):
		default:
			return false
		}
	}
	return true
}
