package estimate

import (
	"math"
	"time"

	"qstack/qnet"
)

// The product of the outcomes' signs, (−1)^(a+b), of measurements of both halves along
// the axes n and m has the mean Σ n_i·m_j·⟨σi⊗σj⟩. Of the correlators ⟨XX⟩, ⟨YY⟩ and
// ⟨ZZ⟩, each with the sign that makes it 1 for the Bell state of the label, it has the
// sum Σ u_i·c_i, where u_i = sign_i·n_i·m_i: this is what outcomes show of a pair, for
// axes of which none is Pauli's too. Two bases that are the same one of X, Y and Z show
// one correlator; X and Z show none.

// unit returns the vector of one Pauli basis: 0, 1 and 2 for X, Y and Z.
func unit(i int) (u [3]float64) {
	u[i] = 1
	return u
}

// sense returns u of a label and two axes, with the sign that makes the largest
// element positive, and whether that is the other sign: then outcomes count as if one
// of them were flipped. Labels that differ in the sign of all elements so have the
// same u, to the bit.
func sense(a, b *[3]float64, l qnet.BellLabel) (u [3]float64, flipped bool) {
	largest := 0
	for i, sign := range signs[l&3] {
		if u[i] = sign * a[i] * b[i]; math.Abs(u[i]) > math.Abs(u[largest]) {
			largest = i
		}
	}
	if flipped = u[largest] < 0; flipped {
		for i := range u {
			u[i] = -u[i]
		}
	}
	return u, flipped
}

// read returns the mean of the product of the outcomes' signs, flipped where sense
// says so, over the kinds of success that have the given u. It reports whether there
// are such.
func read(kinds []kind, u [3]float64, p *plan, halves *[2]reading) (mean float64, ok bool) {
	var total float64
	a, b := &halves[0], &halves[1]
	for i := range kinds {
		k := &kinds[i]
		v, flipped := sense(&a.axis, &b.axis, k.label)
		if v != u {
			continue
		}
		w := p.apply(&k.state)
		var ofA, ofB, both float64
		for x, n := range a.axis {
			ofA += n * w[4*(x+1)]
			for y, m := range b.axis {
				both += n * m * w[4*(x+1)+y+1]
			}
		}
		for y, m := range b.axis {
			ofB += m * w[y+1]
		}
		c := a.bias*b.bias + a.contrast*b.bias*ofA + a.bias*b.contrast*ofB + a.contrast*b.contrast*both
		if flipped {
			c = -c
		}
		mean += k.p * c
		total += k.p
	}
	if total == 0 {
		return 0, false
	}
	return mean / total, true
}

// gain returns how the mean that read returns changes with each correlator of the
// heralded pair.
func gain(u [3]float64, p *plan, halves *[2]reading) (g [3]float64) {
	for i := range g {
		g[i] = halves[0].contrast * halves[1].contrast * p.halves[0][i+1][i+1] * p.halves[1][i+1][i+1] * u[i]
	}
	return g
}

// tests is the model of the test rounds of a usage.
type tests struct {
	e     *Estimator
	class int
	await bool
	plan  plan // of stored pairs, until they are in storage
}

func (e *Estimator) tests(probability float64, u *Usage) (t tests) {
	t.e, t.class, t.await = e, class(u), u.Type != Measure || !e.cfg.Pipelined
	if t.class == classStored {
		alone := Usage{Type: Keep, Store: true, Lanes: u.Lanes, Patterns: u.Patterns, Before: u.Before}
		t.plan = e.plan(&alone, probability, [2]time.Duration{})
	}
	return t
}

// round returns what becomes of a pair that is measured in the given bases, until it
// is read out, and how it is.
func (t *tests) round(bases [2]qnet.Basis) (p plan, halves [2]reading) {
	if t.class != classStored {
		return t.e.direct(bases, t.await)
	}
	p = t.plan
	for side, b := range bases {
		d := &t.e.ends[side]
		q := &d.storage
		if d.indirect {
			// Into a communication qubit that is initialised for it.
			q = &d.communication
			wait, back := d.storage.over(q.init), d.out.channel(1-q.noise.InitDepolarising, 1)
			p.then(side, &wait)
			p.then(side, &back)
		}
		last := q.over(q.measure(b))
		p.then(side, &last)
		halves[side] = q.read(b)
	}
	return p, halves
}

// slope returns how the correlators that rounds in X, Y and Z show change with those of
// the heralded pair.
func (t *tests) slope() (slope [3]float64) {
	for i, b := range paulis {
		p, halves := t.round([2]qnet.Basis{b, b})
		slope[i] = gain(unit(i), &p, &halves)[i]
	}
	return slope
}
