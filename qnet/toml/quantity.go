package toml

import (
	"math"
	"strconv"
	"strings"
)

// unit is a name and how many base units it is.
type unit struct {
	name  string
	scale float64
}

// Dimension is a kind of quantity and the units that it may be given in; the
// base unit is the one of scale 1.
type Dimension struct {
	Name    string // with its article
	Example string
	units   []unit
}

// The quantities there are.
var (
	Lengths      = Dimension{"a length", "2 m", []unit{{"mm", 1e-3}, {"cm", 1e-2}, {"m", 1}, {"km", 1e3}}}
	Times        = Dimension{"a time", "10 us", []unit{{"ns", 1e-9}, {"us", 1e-6}, {"µs", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"min", 60}, {"h", 3600}}}
	Frequencies  = Dimension{"a rate", "833 kHz", []unit{{"Hz", 1}, {"kHz", 1e3}, {"MHz", 1e6}, {"GHz", 1e9}}}
	Speeds       = Dimension{"a speed", "206753 km/s", []unit{{"m/s", 1}, {"km/s", 1e3}}}
	Losses       = Dimension{"a loss", "3 dB", []unit{{"dB", 1}}}
	Attenuations = Dimension{"an attenuation", "0.2 dB/km", []unit{{"dB/km", 1}}}
	Angles       = Dimension{"an angle", "15 deg", []unit{{"rad", 1}, {"mrad", 1e-3}, {"urad", 1e-6}, {"deg", math.Pi / 180}}}
	Wavelengths  = Dimension{"a wavelength", "810 nm", []unit{{"m", 1}, {"um", 1e-6}, {"nm", 1e-9}}}
)

// Base returns the unit that values are returned in.
func (d *Dimension) Base() string {
	for _, u := range d.units {
		if u.scale == 1 {
			return u.name
		}
	}
	return ""
}

// Parse returns the value of text in base units, or what is wrong with it.
func (d *Dimension) Parse(text string) (value float64, problem string) {
	s := strings.TrimSpace(text)
	n := 0
	for n < len(s) && strings.IndexByte("+-.0123456789eE", s[n]) >= 0 {
		n++
	}
	v, err := strconv.ParseFloat(s[:n], 64)
	name := strings.TrimSpace(s[n:])
	switch {
	case n == 0:
		return 0, "want " + d.Name + ": " + d.wanted()
	case err != nil:
		return 0, strconv.Quote(s[:n]) + " is no number: want " + d.wanted()
	case name == "":
		return 0, "no unit: want " + d.wanted()
	}
	if name == "μs" { // the Greek letter, not the micro sign
		name = "us"
	}
	for _, u := range d.units {
		if u.name == name {
			if inverse := math.Round(1 / u.scale); inverse*u.scale == 1 {
				v /= inverse // which is exact where the scale is not
			} else {
				v *= u.scale
			}
			if math.IsInf(v, 0) {
				return 0, "too large"
			}
			return v, ""
		}
	}
	return 0, "unknown unit " + strconv.Quote(name) + ": want " + d.wanted()
}

// wanted says how to write a quantity.
func (d *Dimension) wanted() string {
	names := make([]string, len(d.units))
	for i, u := range d.units {
		names[i] = u.name
	}
	return "a number and one of " + strings.Join(names, ", ") + ", as in " + strconv.Quote(d.Example)
}
