package prepare

import (
	"math"
	"math/rand/v2"
)

// maxTrials is the largest number of trials of which every count has a float64
// of its own.
const maxTrials = 1 << 53

// binomial draws how many of n trials, at most maxTrials, succeed with
// probability p each. It takes the same time for any n.
//
// Few successes are drawn by inversion, many by the transformed rejection of
// W. Hörmann, J. Stat. Comput. Simul. 46, 101 (1993), algorithm BTRS.
func binomial(rng *rand.Rand, n uint64, p float64) uint64 {
	switch {
	case n == 0 || !(p > 0):
		return 0
	case p >= 1:
		return n
	case p > 0.5:
		return n - binomial(rng, n, 1-p)
	case float64(n)*p < 10:
		return invert(rng, n, p)
	}
	nf := float64(n)
	sd := math.Sqrt(nf * p * (1 - p))
	b := 1.15 + 2.53*sd
	a := -0.0873 + 0.0248*b + 0.01*p
	c := nf*p + 0.5
	alpha := (2.83 + 5.1/b) * sd
	squeeze := 0.92 - 4.2/b
	mode := logBinomial(nf, p, math.Floor((nf+1)*p))
	for {
		u, v := rng.Float64()-0.5, 1-rng.Float64()
		us := 0.5 - math.Abs(u)
		k := math.Floor((2*a/us+b)*u + c)
		if us >= 0.07 && v <= squeeze {
			return uint64(k)
		}
		if !(k >= 0 && k <= nf) {
			continue
		}
		if math.Log(v*alpha/(a/(us*us)+b)) <= logBinomial(nf, p, k)-mode {
			return uint64(k)
		}
	}
}

// invert adds up the probabilities of 0, 1, 2 and so on until they exceed a
// uniform number. The mean is below 10.
func invert(rng *rand.Rand, n uint64, p float64) uint64 {
	u := rng.Float64()
	x := math.Exp(float64(n) * math.Log1p(-p))
	odds := p / (1 - p)
	for k := uint64(0); k < n; k++ {
		if u < x || k > 0 && x < 1e-30 { // rounding leaves less than 1e-15
			return k
		}
		u -= x
		x *= odds * float64(n-k) / float64(k+1)
	}
	return n
}

// logBinomial returns the logarithm of the probability of k successes in n
// trials, in the form of C. Loader, "Fast and accurate computation of binomial
// probabilities" (2000), which loses no precision for large n.
func logBinomial(n, p, k float64) float64 {
	switch k {
	case 0:
		return n * math.Log1p(-p)
	case n:
		return n * math.Log(p)
	}
	q, away := 1-p, k-n*p
	return stirling(n) - stirling(k) - stirling(n-k) -
		deviance(away, n*p) - deviance(-away, n*q) +
		0.5*math.Log(n/(2*math.Pi*k*(n-k)))
}

// deviance returns x·log(x/m)−x+m for x=m+away.
func deviance(away, m float64) float64 {
	d := away / m
	return m * ((1+d)*math.Log1p(d) - d)
}

// stirling returns log(k!) less Stirling's formula, k ≥ 1.
func stirling(k float64) float64 {
	if k < 16 {
		l, _ := math.Lgamma(k + 1)
		return l - (k+0.5)*math.Log(k) + k - 0.5*math.Log(2*math.Pi)
	}
	k2 := k * k
	return (1.0/12 - (1.0/360-(1.0/1260-1/(1680*k2))/k2)/k2) / k
}
