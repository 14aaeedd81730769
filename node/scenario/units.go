package scenario

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A unit is a name and how many base units it is.
type unit struct {
	name  string
	scale float64
}

// A dimension is a kind of quantity and the units that it may be given in; the
// base unit is the one of scale 1.
type dimension struct {
	name    string // with its article
	example string
	units   []unit
}

var (
	lengths     = dimension{"a length", "2 m", []unit{{"mm", 1e-3}, {"cm", 1e-2}, {"m", 1}, {"km", 1e3}}}
	times       = dimension{"a time", "10 us", []unit{{"ns", 1e-9}, {"us", 1e-6}, {"µs", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"min", 60}, {"h", 3600}}}
	frequencies = dimension{"a rate", "833 kHz", []unit{{"Hz", 1}, {"kHz", 1e3}, {"MHz", 1e6}, {"GHz", 1e9}}}
	speeds      = dimension{"a speed", "206753 km/s", []unit{{"m/s", 1}, {"km/s", 1e3}}}
)

// parse returns the value of text in base units, or what is wrong with it.
func (d *dimension) parse(text string) (value float64, problem string) {
	s := strings.TrimSpace(text)
	n := 0
	for n < len(s) && strings.IndexByte("+-.0123456789eE", s[n]) >= 0 {
		n++
	}
	v, err := strconv.ParseFloat(s[:n], 64)
	name := strings.TrimSpace(s[n:])
	switch {
	case n == 0:
		return 0, "want " + d.name + ": " + d.wanted()
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
			if v *= u.scale; math.IsInf(v, 0) {
				return 0, "too large"
			}
			return v, ""
		}
	}
	return 0, "unknown unit " + strconv.Quote(name) + ": want " + d.wanted()
}

// wanted says how to write a quantity.
func (d *dimension) wanted() string {
	names := make([]string, len(d.units))
	for i, u := range d.units {
		names[i] = u.name
	}
	return "a number and one of " + strings.Join(names, ", ") + ", as in " + strconv.Quote(d.example)
}

// maxDuration is the longest duration of a scenario.
const maxDuration = 24 * time.Hour

// duration converts seconds, rounded to a nanosecond.
func duration(seconds float64) (d time.Duration, problem string) {
	switch ns := math.Round(seconds * 1e9); {
	case seconds < 0:
		return 0, "must not be negative"
	case seconds > maxDuration.Seconds():
		return 0, "must be at most 24 h"
	case ns == 0 && seconds > 0:
		return 0, "must be at least 1 ns, the resolution of time, or 0"
	default:
		return time.Duration(ns), ""
	}
}
