package scenario

import (
	"strconv"
	"strings"

	"qstack/qnet"
)

// Fault is hardware that is worse, or better, than its scenario says: one
// quantity replaced throughout a network. The emulated world can be given one
// that nobody else knows of, to show that measurements notice.
type Fault struct {
	Quantity string  // readout, gate2 or visibility
	Value    float64 // what it is instead
}

// faults are the quantities that a fault can replace and their ranges.
var faults = []struct {
	quantity string
	hi       float64
	meaning  string
	apply    func(s *Scenario, v float64) (applied bool)
}{
	{"readout", maxReadout, "readout_error of all hardware", func(s *Scenario, v float64) bool {
		for i := range s.Nodes {
			s.Nodes[i].Hardware.ReadoutError = v
		}
		return true
	}},
	{"gate2", 1, "gate2_depolarising of all hardware", func(s *Scenario, v float64) bool {
		for i := range s.Nodes {
			s.Nodes[i].Hardware.Gate2Depolarising = v
		}
		return true
	}},
	{"visibility", 1, "visibility of all double-click links", func(s *Scenario, v float64) (applied bool) {
		for i := range s.Links {
			if h := &s.Links[i].Heralding; h.Model == DoubleClick {
				h.Visibility, applied = v, true
			}
		}
		return applied
	}},
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
			return Fault{}, qnet.Errorf(qnet.ErrInvalid, "fault %q: %s must be a number from 0 to %g", text, quantity, f.hi)
		}
		return Fault{Quantity: quantity, Value: v}, nil
	}
	return Fault{}, qnet.Errorf(qnet.ErrInvalid, "fault %q: want readout=E, gate2=Q or visibility=V, as in readout=0.05", text)
}

// String formats f as ParseFault reads it.
func (f Fault) String() string {
	return f.Quantity + "=" + strconv.FormatFloat(f.Value, 'g', -1, 64)
}

// Apply returns a copy of s with the fault. It fails when s has nothing that
// the fault is about.
func (f Fault) Apply(s *Scenario) (*Scenario, error) {
	for _, known := range faults {
		if known.quantity != f.Quantity {
			continue
		}
		c := *s
		c.Nodes = append([]Node(nil), s.Nodes...)
		c.Links = append([]Link(nil), s.Links...)
		if !known.apply(&c, f.Value) {
			return nil, qnet.Errorf(qnet.ErrInvalid, "fault %s: network %s has no %s", f, s.Name, known.meaning)
		}
		return &c, nil
	}
	return nil, qnet.Errorf(qnet.ErrInvalid, "fault %q: unknown quantity", f)
}
