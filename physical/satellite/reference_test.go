package satellite_test

// The reference of the down-links: vectors instead of spherical triangles,
// photons one by one instead of closed forms. It is written from the physics and
// uses nothing of package satellite.

import (
	"math"
	"math/rand/v2"
)

const (
	radius  = 6_371_008.8
	gravity = 3.986004418e14
)

// orbit is a satellite that flies along the equator of its orbital plane, and a
// station at an angle beside the track, which it passes at time 0.
type orbit struct{ altitude, beside float64 }

// orbitOf finds the station that sees the satellite at most at the elevation,
// in degrees, by bisection.
func orbitOf(altitude, elevation float64) orbit {
	lo, hi := 0.0, math.Pi/2
	for range 200 {
		mid := (lo + hi) / 2
		if _, el := (orbit{altitude, mid}).at(0); el > elevation {
			lo = mid
		} else {
			hi = mid
		}
	}
	return orbit{altitude, lo}
}

// at returns the distance in metres and the elevation in degrees.
func (o orbit) at(t float64) (distance, elevation float64) {
	r := radius + o.altitude
	angle := 2 * math.Pi * t / (2 * math.Pi * math.Sqrt(r*r*r/gravity)) // t/period, Kepler
	sat := [3]float64{r * math.Cos(angle), r * math.Sin(angle), 0}
	up := [3]float64{math.Cos(o.beside), 0, math.Sin(o.beside)}
	var d, vertical float64
	var cross [3]float64
	var v [3]float64
	for i := range v {
		v[i] = sat[i] - radius*up[i]
		d += v[i] * v[i]
		vertical += v[i] * up[i]
	}
	var horizontal float64
	for i := range cross {
		cross[i] = v[(i+1)%3]*up[(i+2)%3] - v[(i+2)%3]*up[(i+1)%3]
		horizontal += cross[i] * cross[i]
	}
	return math.Sqrt(d), math.Atan2(vertical, math.Sqrt(horizontal)) * 180 / math.Pi
}

// captured follows photons one by one: where the beam points, where in the
// beam the photon is, whether that is on the telescope.
func captured(rng *rand.Rand, photons int, distance, waist, divergence, jitter, aperture float64) (n int) {
	w := math.Hypot(waist, divergence*distance)
	for range photons {
		// The intensity exp(−2r²/w²) has a standard deviation of w/2 in each axis.
		x := rng.NormFloat64()*jitter*distance + rng.NormFloat64()*w/2
		y := rng.NormFloat64()*jitter*distance + rng.NormFloat64()*w/2
		if math.Hypot(x, y) < aperture/2 {
			n++
		}
	}
	return n
}

// air is the mass of air along a straight ray over that along a vertical one,
// through an atmosphere that gets thinner by a factor e every 8.4 km.
func air(elevation float64) float64 {
	const step, scale = 10.0, 8400.0
	var slant, vertical float64
	for i := range 300_000 {
		l := (float64(i) + 0.5) * step
		s := math.Sin(elevation * math.Pi / 180)
		height := math.Sqrt(radius*radius+l*l+2*radius*l*s) - radius
		slant += math.Exp(-height / scale)
		vertical += math.Exp(-l / scale)
	}
	return slant / vertical
}

// photonLab makes attempts with a source of photon pairs one by one.
type photonLab struct {
	pairs, visibility float64
	dark              [2]float64
	rng               *rand.Rand
}

// attempt returns whether both ends saw something, and whether their bits differ
// when both measure in Z photons that should agree.
func (l photonLab) attempt(eta [2]float64) (success, differ bool) {
	var clicks [2][2]bool
	for limit, p := math.Exp(-l.pairs), l.rng.Float64(); p > limit; p *= l.rng.Float64() { // once per pair
		bits := [2]int{l.rng.IntN(2), l.rng.IntN(2)}
		if l.rng.Float64() < l.visibility {
			bits[1] = bits[0]
		}
		for end, bit := range bits {
			if l.rng.Float64() < eta[end] {
				clicks[end][bit] = true
			}
		}
	}
	var bit [2]int
	for end := range clicks {
		for d := range clicks[end] {
			if l.rng.Float64() < l.dark[end] {
				clicks[end][d] = true
			}
		}
		switch c := clicks[end]; {
		case !c[0] && !c[1]:
			return false, false
		case c[0] && c[1]:
			bit[end] = l.rng.IntN(2)
		case c[1]:
			bit[end] = 1
		}
	}
	return true, bit[0] != bit[1]
}
