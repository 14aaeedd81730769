package prepare_test

import (
	"math"
	"testing"

	"qstack/physical/optics"
	"qstack/physical/prepare"
)

// Two links with dark probability 1e-11 per pulse and detector, misalignment 1 %
// and error correction at f=1.16, as functions of the channel's transmission.
const (
	dark     = 1e-11
	misalign = 0.01
	f        = 1.16
)

func decoyRate(eta float64) float64 {
	r := prepare.Receiver{Transmission: eta, Dark: dark, Misalignment: misalign}
	return r.SignalKeyRate(r.BestSignal(f), f)
}

func twinRate(eta float64) float64 {
	t := prepare.TwinField{EtaA: math.Sqrt(eta), EtaB: math.Sqrt(eta), Dark: dark, Misalignment: misalign}
	a, b := t.BestMeans(f)
	return t.KeyRate(a, b, f)
}

// slope fits log(rate) against log(eta) from lo to hi decibels.
func slope(rate func(float64) float64, lo, hi float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for dB := lo; dB <= hi; dB += 2 {
		x, y := -dB/10, math.Log10(rate(optics.Transmission(dB)))
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

// At 140 dB decoys, even infinitely many, give no key and twin fields do.
func TestKeyAt140dB(t *testing.T) {
	eta := optics.Transmission(140)
	if k := decoyRate(eta); k != 0 {
		t.Errorf("decoy BB84 has %g bits per pulse at 140 dB", k)
	}
	if k := twinRate(eta); !(k > optics.Repeaterless(eta)) {
		t.Errorf("twin-field has %g bits per pulse at 140 dB, the repeaterless bound is %g", k, optics.Repeaterless(eta))
	}
	var last, lastTwin float64 // decibels with a key
	for dB := 0.0; dB < 200; dB++ {
		if decoyRate(optics.Transmission(dB)) > 0 {
			last = dB
		}
		if twinRate(optics.Transmission(dB)) > 0 {
			lastTwin = dB
		}
	}
	t.Logf("decoy BB84 has a key up to %g dB, twin-field has %g bits at 140 dB and a key up to %g dB", last, twinRate(eta), lastTwin)
	if lastTwin < 140 || lastTwin > 2*last { // with less light per pulse, less than twice as far
		t.Errorf("twin-field has a key up to %g dB, decoy BB84 to %g dB", lastTwin, last)
	}
	if last < 90 || last > 100 { // 1 % of the light is as much as the dark counts at e·η·μ=2d, 91 dB
		t.Errorf("decoy BB84 has a key up to %g dB", last)
	}
}

// The rate falls with the channel's transmission, or with its root, where links
// are long and dark counts few.
func TestSlopes(t *testing.T) {
	decoy, twin := slope(decoyRate, 20, 70), slope(twinRate, 40, 120)
	t.Logf("slopes: decoy %.4f, twin-field %.4f", decoy, twin)
	if math.Abs(decoy-1) > 0.01 {
		t.Errorf("decoy BB84 has slope %.4f from 20 to 70 dB, want 1", decoy)
	}
	if math.Abs(twin-0.5) > 0.01 {
		t.Errorf("twin-field has slope %.4f from 40 to 120 dB, want 1/2", twin)
	}
}

// A link without a mid-point stays below the repeaterless bound at every loss; one
// with a mid-point crosses it once and stays below the bound of its halves, the
// repeaterless bound of √η: S. Pirandola, Commun. Phys. 2, 51 (2019).
func TestRepeaterlessBound(t *testing.T) {
	crossing, ok := prepare.Crossing(twinRate)
	if !ok {
		t.Fatal("twin-field never exceeds the repeaterless bound")
	}
	t.Logf("twin-field exceeds the repeaterless bound from %.3f dB on", crossing)
	single := func(eta float64) float64 {
		return prepare.SinglePhoton{Receiver: prepare.Receiver{Transmission: eta}, One: 1}.KeyRate(1)
	}
	for dB := 0.25; dB < 200; dB += 1.5 {
		eta := optics.Transmission(dB)
		bound, half := optics.Repeaterless(eta), optics.Repeaterless(math.Sqrt(eta))
		if k := decoyRate(eta); k > bound {
			t.Errorf("%g dB: decoy BB84 has %g, the bound is %g", dB, k, bound)
		}
		if k := single(eta); k > bound {
			t.Errorf("%g dB: perfect single photons have %g, the bound is %g", dB, k, bound)
		}
		k := twinRate(eta)
		if k > half {
			t.Errorf("%g dB: twin-field has %g, the bound of a half is %g", dB, k, half)
		}
		if dB < 150 && k > bound != (dB > crossing) {
			t.Errorf("%g dB: twin-field has %g, the bound is %g, the crossing at %g dB", dB, k, bound, crossing)
		}
	}
	for _, never := range []func(float64) float64{single, decoyRate, func(float64) float64 { return 0 }} {
		if dB, ok := prepare.Crossing(never); ok {
			t.Errorf("a link without mid-point exceeds the repeaterless bound at %g dB", dB)
		}
	}
}
