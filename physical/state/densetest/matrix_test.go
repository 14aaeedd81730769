package densetest_test

import (
	"math"
	"testing"

	"qstack/physical"
	"qstack/physical/state/densetest"
)

// A qubit in a superposition decays as the closed forms of its processes say, for
// waits from nanoseconds to ages: its population of |1⟩ relaxes to 0 at the rate
// 1/T1, what depolarises goes to ½, and coherences feel all.
func TestDecayClosedForms(t *testing.T) {
	const theta = 1.1 // |1⟩ has sin²(θ/2)
	for _, d := range []densetest.Decay{
		{T2: 10e-3, Stretch: 2.3},
		{T1: 3, T2: 10e-3, Stretch: 2.3},
		{T1: 3600, T2: 1e-6, Depolarise: 0.3, Stretch: 10},
		{T2: 1e-3},
		{T1: 1e-3},
		{T1: 5e-3, T2: 7e-3},
		{T1: 10, T2: 1e-6},
		{Depolarise: 1e3},
		{T1: 2, T2: 1e-4, Depolarise: 0.5},
		{T1: 100, T2: 10e-3, Stretch: 0.5},
		{},
	} {
		for _, first := range []float64{0, 1e-3} { // age before the wait
			for _, dt := range []float64{1e-9, 1e-6, 3e-3, 0.02, 0.9, 30, 1e4} {
				w := densetest.New[int]()
				w.Zero(0, d)
				w.Gate1(0, physical.GateRY, theta)
				w.Wait(first)
				w.Wait(dt)
				age := first + dt
				relax, transverse := 0.0, d.Depolarise*age
				if d.T1 > 0 {
					relax = 1 / d.T1
				}
				switch {
				case d.Stretch > 0:
					transverse += relax*age/2 + math.Pow(age/d.T2, d.Stretch)
				case d.T2 > 0:
					transverse += age / d.T2
				default:
					transverse += relax * age / 2
				}
				total, rest := relax+d.Depolarise, 0.0 // of |1⟩, at last
				if total > 0 {
					rest = d.Depolarise / 2 / total
				}
				one := rest + (math.Pow(math.Sin(theta/2), 2)-rest)*math.Exp(-total*age)
				c := complex(math.Sin(theta)/2*math.Exp(-transverse), 0)
				want := densetest.Matrix{{complex(1-one, 0), c}, {c, complex(one, 0)}}
				rho := w.Density(0)
				t.Logf("%+v after %g s and %g s", d, first, dt)
				densetest.Compare(t, 1e-12, "state", rho, want)
				rho.CheckState(t, 1e-12)
			}
		}
	}
}
