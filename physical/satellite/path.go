// Package satellite models optical down-links from a satellite: the loss of each
// as it changes over a pass, from a table or from orbit and optics, the window in
// which two stations are in contact at once, and the schedule of heralding models
// that follows. It draws nothing and keeps no state.
//
// Instants are in seconds since the epoch of the network unless they are of
// type qnet.Time.
package satellite

import (
	"math"
	"sort"

	"qstack/physical/optics"
	"qstack/qnet"
)

// Path is the way of light from the satellite to a receiver during a pass.
type Path interface {
	// Validate returns nil, or an error of code qnet.ErrInvalid that names the
	// impossible parameter, its value and its range.
	Validate() error
	// Contact returns the instants from and up to which the path is open.
	Contact() (from, to float64)
	// Transmission returns the probability that a photon arrives, at an instant
	// in contact, averaged over fading.
	Transmission(t float64) float64
	// Fading returns the variance of the transmission, as it fluctuates around
	// that average with pointing and turbulence, over the square of the average.
	Fading(t float64) float64
}

// Downlink is the path of a Gaussian beam from the satellite to a telescope.
//
// The transmission is that of a beam of radius w (where the intensity has
// fallen to 1/e²) centred on an aperture of diameter D, 1−exp(−D²/(2w²)), with
// w²=Waist²+(Divergence²+4·Jitter²)·range²: a Gaussian beam that Gaussian
// pointing errors displace is, on average, a wider Gaussian beam. Air and fixed
// losses come on top. Turbulence widens the beam of a down-link but little, since
// the air is at its end; what it takes, and the shadow of a secondary mirror,
// belong into Loss, and how it makes the light flicker into Scintillation.
type Downlink struct {
	Pass
	MinElevation float64 // in degrees, from 5 (below, air is no longer that of a table) to MaxElevation
	Wavelength   float64 // metres, from 1e-7 to 1e-4
	Waist        float64 // 1/e² radius of the beam at the transmitter in metres, above 0 and at most 100
	Divergence   float64 // half angle of the beam in the far field, where the intensity is 1/e², in radians, up to 0.01 and no less than diffraction: Wavelength/(π·Waist)
	Jitter       float64 // standard deviation of the pointing error in each of two axes in radians, from 0 to 0.01
	Aperture     float64 // diameter of the receiver's telescope in metres, above 0 and at most 100
	Zenith       float64 // transmission of the air at zenith, from 0.77 (the air mass is known to 0.0037, which then is 0.1 %) to 1
	Loss         float64 // of everything else in dB, from 0 to 200
	// Scintillation is the variance of what the telescope collects over the square
	// of its mean, as turbulence makes it flicker: from 0 to 10.
	Scintillation float64
}

// Validate implements Path.
func (d Downlink) Validate() error {
	if err := d.Pass.Validate(); err != nil {
		return err
	}
	switch {
	case !(d.MinElevation >= 5 && d.MinElevation < d.MaxElevation):
		return qnet.Errorf(qnet.ErrInvalid, "down-link: minimum elevation in degrees is %g, want at least 5 and below the maximum elevation, %g", d.MinElevation, d.MaxElevation)
	case !(d.Wavelength >= 1e-7 && d.Wavelength <= 1e-4):
		return invalid("down-link: wavelength in metres", d.Wavelength, "from 1e-7 to 1e-4")
	case !(d.Waist > 0 && d.Waist <= 100):
		return invalid("down-link: waist of the beam in metres", d.Waist, "above 0 and at most 100")
	case !(d.Divergence <= 0.01 && d.Divergence >= d.Wavelength/(math.Pi*d.Waist)*(1-1e-9)):
		return qnet.Errorf(qnet.ErrInvalid, "down-link: divergence in radians is %g, want from %.4g, the diffraction limit of a waist of %g m, to 0.01", d.Divergence, d.Wavelength/(math.Pi*d.Waist), d.Waist)
	case !(d.Jitter >= 0 && d.Jitter <= 0.01):
		return invalid("down-link: pointing jitter in radians", d.Jitter, "from 0 to 0.01")
	case !(d.Aperture > 0 && d.Aperture <= 100):
		return invalid("down-link: aperture in metres", d.Aperture, "above 0 and at most 100")
	case !(d.Zenith >= 0.77 && d.Zenith <= 1):
		return invalid("down-link: transmission of the air at zenith", d.Zenith, "from 0.77 to 1; through thicker air the loss at low elevation is not known to 0.1 %, so use a table")
	case !(d.Loss >= 0 && d.Loss <= 200):
		return invalid("down-link: fixed loss in dB", d.Loss, "from 0 to 200")
	case !(d.Scintillation >= 0 && d.Scintillation <= maxFading):
		return invalid("down-link: scintillation", d.Scintillation, "from 0 to 10")
	}
	return nil
}

// Contact implements Path: while the satellite is at MinElevation or higher.
func (d Downlink) Contact() (from, to float64) { return d.Above(d.MinElevation) }

// Transmission implements Path.
func (d Downlink) Transmission(t float64) float64 {
	beam, pointing := d.spread(t)
	captured := -math.Expm1(-d.Aperture * d.Aperture / (2 * (beam + 4*pointing)))
	return captured * math.Pow(d.Zenith, airMass(d.Elevation(t))) * optics.Transmission(d.Loss)
}

// Fading implements Path: with s the variance of the pointing error over w², that
// of exp(−2r²/w²), what a small aperture at a distance r from the centre of the
// beam collects, is 16s²/(1+8s) (a large one flickers less). Scintillation is
// independent of it.
func (d Downlink) Fading(t float64) float64 {
	beam, pointing := d.spread(t)
	s := pointing / beam
	return (1+16*s*s/(1+8*s))*(1+d.Scintillation) - 1
}

// spread returns the square of the radius of the beam at the receiver, and the
// variance of its centre in each axis.
func (d Downlink) spread(t float64) (beam, pointing float64) {
	r := d.Range(t)
	return d.Waist*d.Waist + d.Divergence*d.Divergence*r*r, d.Jitter * d.Jitter * r * r
}

const maxFading = 10

// Point is a row of a table.
type Point struct {
	At   float64 // seconds, from -1e9 to 1e9
	Loss float64 // dB, from 0 to 300
}

// Table is the path of a pass whose mean loss is known at some instants. Contact
// lasts from the first to the last.
type Table struct {
	Points []Point // at least two, ascending; between them the loss is linear in dB
	// Fluctuation is what Fading returns, from 0 (steady) to 10.
	Fluctuation float64
}

// Validate implements Path.
func (p Table) Validate() error {
	if len(p.Points) < 2 {
		return qnet.Errorf(qnet.ErrInvalid, "loss table: it has %d points, want 2 at least", len(p.Points))
	}
	if !(p.Fluctuation >= 0 && p.Fluctuation <= maxFading) {
		return invalid("loss table: fluctuation", p.Fluctuation, "from 0 to 10")
	}
	for i, x := range p.Points {
		switch {
		case !(x.Loss >= 0 && x.Loss <= 300):
			return qnet.Errorf(qnet.ErrInvalid, "loss table: loss of point %d in dB is %g, want from 0 to 300", i, x.Loss)
		case !(x.At >= -maxTime && x.At <= maxTime):
			return qnet.Errorf(qnet.ErrInvalid, "loss table: instant of point %d in seconds is %g, want from -1e9 to 1e9", i, x.At)
		case i > 0 && !(x.At > p.Points[i-1].At):
			return qnet.Errorf(qnet.ErrInvalid, "loss table: instant of point %d in seconds is %g, want above that of the point before, %g", i, x.At, p.Points[i-1].At)
		}
	}
	return nil
}

// Contact implements Path.
func (p Table) Contact() (from, to float64) { return p.Points[0].At, p.Points[len(p.Points)-1].At }

// Transmission implements Path.
func (p Table) Transmission(t float64) float64 {
	i := sort.Search(len(p.Points)-2, func(i int) bool { return p.Points[i+1].At >= t })
	a, b := p.Points[i], p.Points[i+1]
	return optics.Transmission(a.Loss + (b.Loss-a.Loss)*(t-a.At)/(b.At-a.At))
}

// Fading implements Path.
func (p Table) Fading(float64) float64 { return p.Fluctuation }

// OnBoard is the path to a receiver on the satellite itself: always open,
// without loss. With it as one of two paths, the satellite measures one photon of
// each pair and sends the other one down.
type OnBoard struct{}

// Validate implements Path.
func (OnBoard) Validate() error { return nil }

// Contact implements Path.
func (OnBoard) Contact() (from, to float64) { return math.Inf(-1), math.Inf(1) }

// Transmission implements Path.
func (OnBoard) Transmission(float64) float64 { return 1 }

// Fading implements Path.
func (OnBoard) Fading(float64) float64 { return 0 }
