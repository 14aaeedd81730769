package satellite

import (
	"math"
	"time"

	"qstack/qnet"
)

const (
	earthRadius = 6_371_008.8    // metres, mean radius (International Union of Geodesy and Geophysics)
	earthGM     = 3.986004418e14 // m³/s², gravity (World Geodetic System 1984)
	lightSpeed  = 299_792_458.0  // m/s
	degree      = math.Pi / 180  // radians
	minAltitude = 100e3          // metres: below, no orbit
	maxAltitude = 50_000e3       // metres: beyond geostationary orbits
)

// Pass is a satellite that passes over a station, on a circular orbit around a
// spherical Earth. The rotation of the Earth during the pass is neglected: it
// makes a pass in low orbit up to 7 % longer or shorter (0.46 km/s at the equator
// against a ground track of 7 km/s). Where that matters, or the orbit is not
// circular, use a Table.
type Pass struct {
	Altitude     float64 // of the orbit in metres, from 1e5 to 5e7
	MaxElevation float64 // of the satellite above the station's horizon in degrees, above 0 and at most 90
	Culmination  float64 // when it is there, in seconds since the epoch, at least -1e9 and at most 1e9
}

// Validate returns nil, or an error of code qnet.ErrInvalid that names the
// impossible parameter, its value and its range.
func (p Pass) Validate() error {
	switch {
	case !(p.Altitude >= minAltitude && p.Altitude <= maxAltitude):
		return invalid("pass: altitude in metres", p.Altitude, "from 1e5 to 5e7")
	case !(p.MaxElevation > 0 && p.MaxElevation <= 90):
		return invalid("pass: maximum elevation in degrees", p.MaxElevation, "above 0 and at most 90")
	}
	return validTime("pass: culmination in seconds", p.Culmination)
}

// Speed returns the angle per second, in radians, that the satellite moves on
// its orbit: √(GM/r³).
func (p Pass) Speed() float64 {
	r := earthRadius + p.Altitude
	return math.Sqrt(earthGM / (r * r * r))
}

// centralAngle returns the angle at the centre of the Earth between the station
// and a satellite that it sees at an elevation in degrees:
// arccos(R·cos(el)/(R+h))−el.
func (p Pass) centralAngle(elevation float64) float64 {
	el := elevation * degree
	return math.Acos(earthRadius*math.Cos(el)/(earthRadius+p.Altitude)) - el
}

// haversine returns sin²(γ/2) of the angle γ at the centre of the Earth at an
// instant: the satellite passes the station at the smallest angle γ0 and leaves
// it at a right angle, so cos(γ)=cos(γ0)·cos(ωt).
func (p Pass) haversine(t float64) float64 {
	least := p.centralAngle(p.MaxElevation)
	a, b := math.Sin(least/2), math.Sin(p.Speed()*(t-p.Culmination)/2)
	return a*a + math.Cos(least)*b*b
}

// Range returns the distance between station and satellite in metres, at an
// instant in seconds: √(h²+4·R·(R+h)·sin²(γ/2)).
func (p Pass) Range(t float64) float64 {
	return math.Sqrt(p.Altitude*p.Altitude + 4*earthRadius*(earthRadius+p.Altitude)*p.haversine(t))
}

// Delay returns the time of flight of light over the range at an instant in
// seconds. Air adds 8 ns at zenith and ten times that at low elevation, which is
// neglected.
func (p Pass) Delay(t float64) time.Duration {
	return time.Duration(math.Round(p.Range(t) / lightSpeed * 1e9))
}

// Elevation returns the elevation of the satellite in degrees at an instant in
// seconds, negative below the horizon, without refraction:
// sin(el)=(h−2(R+h)·sin²(γ/2))/range.
func (p Pass) Elevation(t float64) float64 {
	// Near zenith an arcsine would lose half of the digits.
	s := p.haversine(t)
	up := p.Altitude - 2*(earthRadius+p.Altitude)*s
	along := (earthRadius + p.Altitude) * 2 * math.Sqrt(s*(1-s)) // (R+h)·sin(γ)
	return math.Atan2(up, along) / degree
}

// Above returns the instants in seconds between which the satellite is at an
// elevation, in degrees from 0 to MaxElevation, or higher:
// ±arccos(cos(γ)/cos(γ0))/ω around the culmination.
func (p Pass) Above(elevation float64) (from, to float64) {
	a, b := math.Sin(p.centralAngle(elevation)/2), math.Sin(p.centralAngle(p.MaxElevation)/2)
	// Of the haversine's two terms, the second.
	s := max(0, a*a-b*b) / (1 - 2*b*b)
	half := 2 * math.Asin(math.Sqrt(s)) / p.Speed()
	return p.Culmination - half, p.Culmination + half
}

// airMass returns how many times the air at zenith a ray of an elevation in
// degrees passes, from 1 to 31.7: 1/sin(el) for a flat atmosphere, here with the
// curvature of the Earth and refraction, to 0.0037 in the worst case. A. T.
// Young, Applied Optics 33, 1108 (1994).
func airMass(elevation float64) float64 {
	c := math.Sin(elevation * degree) // the cosine of the zenith distance
	return ((1.002432*c+0.148386)*c + 0.0096467) / (((c+0.149864)*c+0.0102963)*c + 0.000303978)
}

func validTime(what string, s float64) error {
	if !(s >= -maxTime && s <= maxTime) {
		return invalid(what, s, "from -1e9 to 1e9")
	}
	return nil
}

// maxTime bounds instants, in seconds, to what qnet.Time and a float64 hold to a
// tenth of a microsecond.
const maxTime = 1e9

func invalid(what string, value float64, want string) error {
	return qnet.Errorf(qnet.ErrInvalid, "%s is %g, want %s", what, value, want)
}
