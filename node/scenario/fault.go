package scenario

import (
	"fmt"
	"strconv"
	"strings"

	"qstack/physical/preset"
	"qstack/qnet"
)

// Fault is hardware that is worse, or better, than its scenario says: one
// quantity replaced throughout a network. The emulated world can be given one
// that nobody else knows of, to show that measurements notice.
type Fault struct {
	Quantity string  // readout, gate2 or visibility
	Value    float64 // what it is instead
}

// faults are the quantities that a fault can replace and their ranges. apply
// returns what it needs and the scenario lacks, if anything.
var faults = []struct {
	quantity string
	hi       float64
	apply    func(s *Scenario, v float64) (needs string)
}{
	// The readout_error of all hardware.
	{"readout", maxReadout, func(s *Scenario, v float64) string {
		for i := range s.Nodes {
			h := &s.Nodes[i].Hardware
			h.ReadoutError = v
			if h.Preset != nil {
				h.Preset = faulty(h.Preset, "readout_error_0", v)
				h.Preset = faulty(h.Preset, "readout_error_1", v)
			}
		}
		return ""
	}},
	// The gate2_depolarising of all hardware.
	{"gate2", 1, func(s *Scenario, v float64) string {
		for i := range s.Nodes {
			h := &s.Nodes[i].Hardware
			h.Gate2Depolarising = v
			if h.Preset != nil {
				h.Preset = faulty(h.Preset, "gate2_depolarising", v)
			}
		}
		return ""
	}},
	// The visibility of all links of that model.
	{"visibility", 1, func(s *Scenario, v float64) string {
		applied := false
		for i := range s.Links {
			h := &s.Links[i].Heralding
			switch {
			case h.Preset != nil:
				if p := faulty(h.Preset, "visibility", v); p != h.Preset {
					h.Preset, applied = p, true
				}
			case h.Model == DoubleClick:
				h.Visibility, applied = v, true
			}
		}
		switch {
		case applied:
			return ""
		case len(s.Links) == 0:
			return fmt.Sprintf("a link with model = %q; network %s has no links", DoubleClick, s.Name)
		default:
			return fmt.Sprintf("a link with model = %q; those of network %s have model = %q", DoubleClick, s.Name, s.Links[0].Heralding.Model)
		}
	}},
}

// faulty returns a preset with another value of a parameter, or as it is if it
// has no such parameter.
func faulty(p *preset.Preset, parameter string, v float64) *preset.Preset {
	if other, err := p.With(fmt.Sprintf("%s=%g", parameter, v)); err == nil {
		return other
	}
	return p
}

// ParseFault parses a fault such as readout=0.05.
func ParseFault(text string) (Fault, error) {
	quantity, value, ok := strings.Cut(text, "=")
	for _, f := range faults {
		if f.quantity != quantity || !ok {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || !(v >= 0 && v <= f.hi) {
			return Fault{}, qnet.Errorf(qnet.ErrInvalid, "%q: %s must be a number from 0 to %g", text, quantity, f.hi)
		}
		return Fault{Quantity: quantity, Value: v}, nil
	}
	return Fault{}, qnet.Errorf(qnet.ErrInvalid, "%q: want readout=E, gate2=Q or visibility=V, as in readout=0.05", text)
}

// String formats f as ParseFault reads it.
func (f Fault) String() string {
	return f.Quantity + "=" + strconv.FormatFloat(f.Value, 'g', -1, 64)
}

// Apply returns a copy of s with the fault. It fails with qnet.ErrInvalid when s
// has nothing that the fault is about.
func (f Fault) Apply(s *Scenario) (*Scenario, error) {
	for _, known := range faults {
		if known.quantity != f.Quantity {
			continue
		}
		c := *s
		c.Nodes = append([]Node(nil), s.Nodes...)
		c.Links = append([]Link(nil), s.Links...)
		if needs := known.apply(&c, f.Value); needs != "" {
			return nil, qnet.Errorf(qnet.ErrInvalid, "%q needs %s", f, needs)
		}
		return &c, nil
	}
	return nil, qnet.Errorf(qnet.ErrInvalid, "%q: unknown quantity: want readout, gate2 or visibility", f)
}
