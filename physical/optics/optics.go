// Package optics has the closed forms that every optical link is made of: loss,
// fibre, detectors, detection windows, and the bound that no link without a
// repeater exceeds. It draws nothing and keeps no state.
package optics

import (
	"math"

	"qstack/qnet"
)

// Transmission returns the probability 10^(−dB/10) that a photon survives a
// loss in decibels.
func Transmission(dB float64) float64 { return math.Exp(-dB * (math.Ln10 / 10)) }

// Loss returns the loss in decibels of a transmission above 0: −10·log10(η).
func Loss(eta float64) float64 { return -10 * math.Log10(eta) }

// Fibre is a length of optical fibre.
type Fibre struct {
	Length      float64 // metres, from 0 to 1e8
	Attenuation float64 // dB per kilometre, from 0 to 1e4
	Insertion   float64 // dB of connectors, splices and filters, from 0 to 1000
	Speed       float64 // of light in it in m/s, from 1e8 to 299,792,458; 0 stands for qnet.FibreSpeed
}

// Validate returns nil, or an error of code qnet.ErrInvalid that names the
// impossible parameter, its value and its range.
func (f Fibre) Validate() error {
	switch {
	case !(f.Length >= 0 && f.Length <= 1e8):
		return invalid("fibre: length in metres", f.Length, "from 0 to 1e8")
	case !(f.Attenuation >= 0 && f.Attenuation <= 1e4):
		return invalid("fibre: attenuation in dB/km", f.Attenuation, "from 0 to 1e4")
	case !(f.Insertion >= 0 && f.Insertion <= 1000):
		return invalid("fibre: insertion loss in dB", f.Insertion, "from 0 to 1000")
	case f.Speed != 0 && !(f.Speed >= 1e8 && f.Speed <= vacuum):
		return invalid("fibre: speed of light in m/s", f.Speed, "from 1e8 to 299792458, or 0 for the usual")
	}
	return nil
}

const vacuum = 299_792_458 // m/s

// Loss returns the loss of the whole fibre in decibels.
func (f Fibre) Loss() float64 { return f.Length*1e-3*f.Attenuation + f.Insertion }

// Transmission returns the probability that a photon survives the fibre.
func (f Fibre) Transmission() float64 { return Transmission(f.Loss()) }

// Delay returns the time of flight in seconds.
func (f Fibre) Delay() float64 {
	if f.Speed == 0 {
		return f.Length / qnet.FibreSpeed
	}
	return f.Length / f.Speed
}

// Repeaterless returns the most secret bits, or ebits, that one use of a channel
// of transmission eta, in [0,1], can carry without a repeater: −log2(1−η), to
// full precision however small η is.
//
// S. Pirandola, R. Laurenza, C. Ottaviani and L. Banchi, Nature Communications
// 8, 15043 (2017).
func Repeaterless(eta float64) float64 { return -math.Log1p(-eta) / math.Ln2 }

// Entropy returns the entropy in bits of a coin of probability p in [0,1]:
// −p·log2(p)−(1−p)·log2(1−p). It is NaN outside.
func Entropy(p float64) float64 {
	if p == 0 || p == 1 {
		return 0
	}
	return -(p*math.Log(p) + (1-p)*math.Log1p(-p)) / math.Ln2
}

func invalid(what string, value float64, want string) error {
	return qnet.Errorf(qnet.ErrInvalid, "%s is %g, want %s", what, value, want)
}
