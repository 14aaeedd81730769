// Package qnettest holds checks that the tests of all layers make: of errors and
// of distributions.
package qnettest

import (
	"errors"
	"math"
	"strings"
	"testing"

	"qstack/qnet"
)

// WantErr fails the test unless err has the code, and a text with all the parts.
func WantErr(t testing.TB, err error, code qnet.Code, parts ...string) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("error is %v (code %v), want code %v", err, qnet.CodeOf(err), code)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error is %q, want it to say %q", err, p)
		}
	}
}

// Fit fails the test when the counts do not fit the probabilities, by chi-square.
// Cases with fewer than 10 expected are joined with the next; one that is
// impossible must not have come.
func Fit(t *testing.T, what string, counts []int, p []float64) {
	t.Helper()
	total := 0
	for _, n := range counts {
		total += n
	}
	var s score
	var got, want float64
	impossible := false
	for i, n := range counts {
		if p[i] < 1e-12 {
			impossible = true
			if n > 0 {
				t.Errorf("%s: case %d is impossible and came %d times", what, i, n)
			}
			continue
		}
		got += float64(n)
		want += p[i] * float64(total)
		var rest float64
		for _, q := range p[i+1:] {
			rest += q * float64(total)
		}
		if want < 10 || rest > 1e-9 && rest < 10 {
			continue
		}
		s.add((got - want) * (got - want) / want)
		got, want = 0, 0
	}
	if s.bins == 1 && impossible {
		return // all that is possible is one case
	}
	s.check(t, what)
}

// SameDistribution fails the test when two histograms do not come from one
// distribution, by chi-square. Bins with fewer than 20 in both together are joined
// with the next.
func SameDistribution(t *testing.T, what string, a, b []int) {
	t.Helper()
	var na, nb float64
	for i := range a {
		na += float64(a[i])
		nb += float64(b[i])
	}
	var s score
	var ga, gb float64
	left := na + nb
	for i := range a {
		ga += float64(a[i])
		gb += float64(b[i])
		left -= float64(a[i] + b[i])
		if ga+gb < 20 || left > 0 && left < 20 {
			continue
		}
		d := math.Sqrt(nb/na)*ga - math.Sqrt(na/nb)*gb
		s.add(d * d / (ga + gb))
		ga, gb = 0, 0
	}
	s.check(t, what)
}

// score is a sum of chi-square over bins.
type score struct {
	bins int
	sum  float64
}

func (s *score) add(x float64) {
	s.bins++
	s.sum += x
}

// check compares the sum with 5 standard deviations (one-sided 2.9e-7) in the
// Wilson-Hilferty approximation.
func (s *score) check(t *testing.T, what string) {
	t.Helper()
	k := float64(s.bins - 1)
	if k < 1 {
		t.Fatalf("%s: %g degrees of freedom: the test tests nothing", what, k)
	}
	limit := k * math.Pow(1-2/(9*k)+5*math.Sqrt(2/(9*k)), 3)
	t.Logf("%s: chi-square %.1f with %g degrees of freedom, limit %.1f", what, s.sum, k, limit)
	if s.sum > limit {
		t.Errorf("%s: chi-square %.1f with %g degrees of freedom, want below %.1f", what, s.sum, k, limit)
	}
}
