package preset

import (
	"math"

	"qstack/physical/herald"
	"qstack/physical/optics"
	"qstack/physical/satellite"
)

// given are the values of a preset with the defaults of its model.
type given struct {
	params []Param
	values Values
}

// number returns a value or its default, NaN for none.
func (g given) number(name string) float64 {
	if v := g.values.get(name); v != nil {
		return v.Number
	}
	return find(g.params, name).Default
}

func (g given) has(name string) bool { return g.values.get(name) != nil }

func (g given) truth(name string) bool { return g.number(name) != 0 }

func (g given) text(name string) string {
	if v := g.values.get(name); v != nil {
		return v.Text
	}
	return find(g.params, name).Choices[0]
}

// arm returns the value for one arm, "a" or "b".
func (g given) arm(name, arm string) float64 {
	if v := g.values.get(name + "_" + arm); v != nil {
		return v.Number
	}
	return g.number(name)
}

// lengths returns the lengths of both arms.
func (g given) lengths() (a, b float64) {
	if find(g.params, "length") == nil {
		return 0, 0
	}
	if g.has("length_a") {
		return g.number("length_a"), g.number("length_b")
	}
	if g.has("length") {
		return g.number("length") / 2, g.number("length") / 2
	}
	return 0, 0
}

func (g given) efficiencies(l *Link) {
	l.EfficiencyA, l.EfficiencyB = g.efficiency("a", l.LengthA), g.efficiency("b", l.LengthB)
	l.Attenuation = (g.arm("attenuation", "a") + g.arm("attenuation", "b")) / 2
}

// wholeWay is efficiencies for a link without a mid-point.
func (g given) wholeWay(l *Link) {
	l.EfficiencyA = g.efficiency("", l.LengthA+l.LengthB)
	l.EfficiencyB = l.EfficiencyA
	l.Attenuation = g.number("attenuation")
	l.Herald = (l.LengthA + l.LengthB) / g.number("fibre_speed")
}

// efficiency returns the probability that a photon emitted at the end of an arm
// is detected.
func (g given) efficiency(arm string, length float64) float64 {
	eta := 1.0
	for _, piece := range []string{"efficiency", "zero_phonon", "collection", "conversion", "detector"} {
		if find(g.params, piece) != nil {
			eta *= g.arm(piece, arm)
		}
	}
	f := optics.Fibre{Length: length, Attenuation: g.arm("attenuation", arm), Insertion: g.arm("insertion_loss", arm)}
	eta *= f.Transmission()
	if find(g.params, "emission_lifetime") != nil {
		if lifetime := g.arm("emission_lifetime", arm); lifetime > 0 {
			eta *= optics.Decayed(g.number("window"), lifetime)
		}
	}
	return eta
}

// dark returns the probability of a dark count in the window.
func (g given) dark() float64 {
	switch {
	case g.has("dark_count"):
		return g.number("dark_count")
	case g.has("dark_rate"):
		return optics.Detector{DarkRate: g.number("dark_rate")}.DarkProbability(g.number("window"))
	}
	return 0
}

// period returns the attempt period in nanoseconds.
func (g given) period(l *Link) float64 {
	switch {
	case g.has("attempt_time"):
		return g.number("attempt_time") * 1e9
	case g.has("attempt_rate"):
		return 1e9 / g.number("attempt_rate")
	}
	period := g.number("local_time")
	if g.truth("await_herald") {
		period += l.Herald
	}
	return period * 1e9
}

// conflict returns what is wrong with the values taken together, and with which.
func (g given) conflict() (key, problem string) {
	if key, problem = g.lengthConflict(); problem != "" {
		return key, problem
	}
	if find(g.params, "attempt_time") != nil {
		if key, problem = g.timingConflict(); problem != "" {
			return key, problem
		}
	}
	if find(g.params, "attenuation") == nil {
		return "", ""
	}
	return g.photonConflict()
}

func (g given) timingConflict() (key, problem string) {
	timing := 0
	for _, name := range []string{"attempt_time", "attempt_rate", "local_time"} {
		if g.has(name) {
			timing++
			key = name
		}
	}
	switch {
	case timing == 0:
		return "attempt_time", "missing: want one of attempt_time, attempt_rate and local_time"
	case timing > 1:
		return key, "want one of attempt_time, attempt_rate and local_time, not several"
	}
	return "", ""
}

func (g given) lengthConflict() (key, problem string) {
	switch {
	case g.has("length") && (g.has("length_a") || g.has("length_b")):
		return "length", "want length, or both length_a and length_b, not all"
	case g.has("length_a") && !g.has("length_b"):
		return "length_b", "missing: length_a is given, so this must be"
	case g.has("length_b") && !g.has("length_a"):
		return "length_a", "missing: length_b is given, so this must be"
	}
	return "", ""
}

func (g given) photonConflict() (key, problem string) {
	photons := false
	for _, piece := range []string{"efficiency", "collection"} {
		photons = photons || g.has(piece) || g.has(piece+"_a") && g.has(piece+"_b")
	}
	decays := g.has("emission_lifetime") || g.has("emission_lifetime_a") || g.has("emission_lifetime_b")
	switch {
	case !photons:
		return "efficiency", "missing: want efficiency or collection, for both arms"
	case g.has("dark_rate") && g.has("dark_count"):
		return "dark_count", "want dark_rate or dark_count, not both"
	case (g.has("dark_rate") || decays) && !g.has("window"):
		return "window", "missing: dark_rate and emission_lifetime count within it"
	}
	return "", ""
}

// pairs returns the source of photon pairs whose photons are detected with the
// efficiencies of l.
func (g given) pairs(l *Link) herald.ContinuousSource {
	return herald.ContinuousSource{
		PairsPerSecond: g.number("pair_rate"),
		WindowNS:       g.number("window") * 1e9,
		JitterNS:       g.number("jitter") * 1e9,
		EtaA:           l.EfficiencyA, EtaB: l.EfficiencyB,
		Visibility: g.number("visibility"),
		DarkRateA:  g.arm("dark_rate", "a"), DarkRateB: g.arm("dark_rate", "b"),
		DeadTimeNSA: g.arm("dead_time", "a") * 1e9, DeadTimeNSB: g.arm("dead_time", "b") * 1e9,
	}
}

// downlink returns the path of light from the satellite to a station. Unless told
// when, the satellite culminates there once its whole pass lies after the epoch.
func (g given) downlink(arm string) satellite.Downlink {
	d := satellite.Downlink{
		Pass:         satellite.Pass{Altitude: g.number("altitude"), MaxElevation: g.arm("max_elevation", arm) / degree},
		MinElevation: g.number("min_elevation") / degree,
		Wavelength:   g.number("wavelength"),
		Waist:        g.number("waist"),
		Divergence:   g.number("divergence"),
		Jitter:       g.number("pointing"),
		Aperture:     g.arm("aperture", arm),
		Zenith:       g.number("zenith"),
		Loss:         g.arm("path_loss", arm),
	}
	if at := g.arm("culmination", arm); !math.IsNaN(at) {
		d.Culmination = at
		return d
	}
	whole := satellite.Pass{Altitude: d.Altitude, MaxElevation: 90}
	_, half := whole.Above(d.MinElevation) // of the longest pass, so that both stations share it
	d.Culmination = math.Ceil(half)
	return d
}
