package tableau_test

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"qstack/physical"
	"qstack/physical/state/densetest"
	"qstack/physical/state/tableau"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// basis is the orthonormal basis that a random Clifford circuit makes of the
// computational one.
func basis(rng *rand.Rand, n int) []vector {
	states := make([]vector, 1<<n)
	for k := range states {
		states[k] = make(vector, 1<<n)
		states[k][k] = 1
	}
	apply := func(g gate, qs ...int) {
		for k := range states {
			states[k] = states[k].apply(g, qs...)
		}
	}
	for range 6 * n {
		a, b := rng.IntN(n), rng.IntN(n)
		apply(mH, a)
		apply(mS, b)
		if a != b {
			apply(mCNOT, a, b)
		}
	}
	return states
}

// mix returns the density matrix of a mixture.
func mix(weights []float64, states []vector) []complex128 {
	dim := len(states[0])
	rho := make([]complex128, dim*dim)
	for k, w := range weights {
		for i, a := range states[k] {
			for j, b := range states[k] {
				rho[i*dim+j] += complex(w, 0) * a * cmplx.Conj(b)
			}
		}
	}
	return rho
}

// distribution returns 2ⁿ weights of a random kind: all different, one certain,
// or equal in groups, so that the state has symmetries beyond its basis.
func distribution(rng *rand.Rand, n int) []float64 {
	w := make([]float64, 1<<n)
	kind, same := rng.IntN(4), rng.IntN(1<<n)
	var sum float64
	for k := range w {
		switch kind {
		case 0:
			w[k] = rng.ExpFloat64()
		case 1:
			w[k] = math.Pow(rng.Float64(), 20)
		case 2:
			if k == same {
				w[k] = 1
			}
		case 3: // depends on some bits of k only
			if k&same == k {
				w[k] = 1 + rng.Float64()
			} else {
				w[k] = w[k&same]
			}
		}
		sum += w[k]
	}
	for k := range w {
		w[k] /= sum
	}
	return w
}

// average returns the density matrix that a mixture stands for.
func average(t *testing.T, m *tableau.Mixture) []complex128 {
	var sum []complex128
	var total float64
	m.Parts(func(p float64, part *tableau.Tableau) {
		if err := part.Check(); err != nil {
			t.Fatal(err)
		}
		order := make([]int, part.Len())
		for q := range order {
			order[q] = q
		}
		rho, err := part.Density(order...)
		if err != nil {
			t.Fatal(err)
		}
		if sum == nil {
			sum = make([]complex128, len(rho))
		}
		for i, x := range rho {
			sum[i] += complex(p, 0) * x
		}
		if p < 0 {
			t.Fatalf("probability %g", p)
		}
		total += p
	})
	if math.Abs(total-1) > 1e-12 {
		t.Fatalf("probabilities add up to %g", total)
	}
	return sum
}

// Every mixture of the states of a stabiliser basis is recognised, and the
// mixture found has the same density matrix.
func TestFromDensityRoundTrip(t *testing.T) {
	rng := qnet.NewRand(10, "mixtures")
	for n, count := range []int{0, 300, 500, 400, 150, 20} {
		for range count {
			rho := mix(distribution(rng, n), basis(rng, n))
			m, err := tableau.FromDensity(rho)
			if err != nil {
				t.Fatalf("%d qubits: %v", n, err)
			}
			wantDensity(t, fmt.Sprintf("%d qubits", n), average(t, m), rho)
		}
	}
}

// States that Pauli noise leaves, as the fabric makes them.
func TestFromDensityNoise(t *testing.T) {
	rng := qnet.NewRand(11, "noise")
	for range 30 {
		ref := densetest.New[int]()
		for q := range 2 {
			var w [4]float64
			for k, x := range distribution(rng, 2) {
				w[k] = x
			}
			ref.Pair(2*q, 2*q+1, densetest.Decay{T2: 3, Depolarise: 0.1}, densetest.Decay{Depolarise: 0.2}, w)
		}
		ref.Wait(rng.Float64())
		ref.Gate2(1, 2, physical.GateCNOT, rng.Float64())
		ref.Gate1(0, physical.GateS, 0)
		ref.Gate2(0, 3, physical.GateCZ, rng.Float64())
		ref.Gate1(2, physical.GateH, 0)
		ref.Wait(rng.Float64())
		rho := flat(ref.Density(0, 1, 2, 3))
		m, err := tableau.FromDensity(rho)
		if err != nil {
			t.Fatal(err)
		}
		wantDensity(t, "pairs under noise", average(t, m), rho)
	}
}

func flat(m densetest.Matrix) (out []complex128) {
	for _, row := range m {
		out = append(out, row...)
	}
	return out
}

// Draws follow the weights.
func TestMixtureStatistics(t *testing.T) {
	const draws = 20000
	rng := qnet.NewRand(12, "draws")
	for n := 1; n <= 4; n++ {
		states, weights := basis(rng, n), make([]float64, 1<<n)
		for k := range weights { // all different, the last impossible
			weights[k] = float64(len(weights)-1-k) * 2 / float64(len(weights)*(len(weights)-1))
		}
		m, err := tableau.FromDensity(mix(weights, states))
		if err != nil {
			t.Fatal(err)
		}
		counts := make([]int, len(weights))
		var tab tableau.Tableau
		for range draws {
			tab.Reset()
			tab.Add(1) // so that the mixture does not come first
			tab.AddMixture(rng, m)
			order := make([]int, n)
			for q := range order {
				order[q] = q + 1
			}
			rho, err := tab.Density(order...)
			if err != nil {
				t.Fatal(err)
			}
			found := -1
			for k, psi := range states {
				var overlap float64
				for i := range psi {
					for j := range psi {
						overlap += real(cmplx.Conj(psi[i]) * rho[i<<n|j] * psi[j])
					}
				}
				if overlap > 1-tolerance {
					found = k
				}
			}
			if found < 0 {
				t.Fatalf("%d qubits: a state was drawn that is none of the basis", n)
			}
			counts[found]++
		}
		if n == 1 {
			if counts[0] != draws {
				t.Errorf("a certain state came %d times of %d", counts[0], draws)
			}
			continue
		}
		qnettest.Fit(t, fmt.Sprintf("%d qubits", n), counts, weights)
	}
}

// The largest states: a GHZ state under noise of every qubit.
func TestFromDensityLargest(t *testing.T) {
	rho := noisyGHZ(tableau.MaxDense, 0.9, 0.8)
	m, err := tableau.FromDensity(rho)
	if err != nil {
		t.Fatal(err)
	}
	// The mixture has the right values of Z_0·Z_9 and X…X, by its parts.
	var zz, xx float64
	x := make([]tableau.Factor, tableau.MaxDense)
	for q := range x {
		x[q] = tableau.X.On(q)
	}
	m.Parts(func(p float64, part *tableau.Tableau) {
		zz += p * float64(part.Expectation(tableau.Z.On(0), tableau.Z.On(9)))
		xx += p * float64(part.Expectation(x...))
	})
	if want := 0.8; math.Abs(zz-want) > tolerance {
		t.Errorf("ZZ is %g, want %g", zz, want)
	}
	if want := 0.9; math.Abs(xx-want) > tolerance {
		t.Errorf("X…X is %g, want %g", xx, want)
	}

	rho[5], rho[5<<10] = 1e-6, 1e-6 // ⟨0|ρ|5⟩
	if _, err := tableau.FromDensity(rho); qnet.CodeOf(err) != qnet.ErrTooLarge {
		t.Errorf("a small coherence was missed: %v", err)
	}
}

// noisyGHZ returns a GHZ state with a coherence of c/2, mixed with the same with
// the last qubit flipped, so that ZZ of it and another is zz.
func noisyGHZ(n int, c, zz float64) []complex128 {
	dim := 1 << n
	rho := make([]complex128, dim*dim)
	for flip, p := range []float64{(1 + zz) / 2, (1 - zz) / 2} {
		i, j := flip, dim-1-flip
		rho[i*dim+i] += complex(p/2, 0)
		rho[j*dim+j] += complex(p/2, 0)
		rho[i*dim+j] += complex(p*c/2, 0)
		rho[j*dim+i] += complex(p*c/2, 0)
	}
	return rho
}

func TestFromDensityRefuses(t *testing.T) {
	rng := qnet.NewRand(13, "refusals")
	blochState := func(x, y, z float64) []complex128 {
		return []complex128{complex((1+z)/2, 0), complex(x/2, -y/2), complex(x/2, y/2), complex((1-z)/2, 0)}
	}
	pure := func(v vector) []complex128 { return mix([]float64{1}, []vector{v}) }
	w := make(vector, 8)
	w[1], w[2], w[4] = complex(1/math.Sqrt(3), 0), complex(1/math.Sqrt(3), 0), complex(1/math.Sqrt(3), 0)
	relaxed := densetest.New[int]()
	relaxed.Pair(0, 1, densetest.Decay{T1: 1}, densetest.Decay{}, [4]float64{1})
	relaxed.Wait(0.01)
	zero := vector{1, 0}
	cases := []struct {
		name string
		rho  []complex128
		code qnet.Code
		text string
	}{
		{"T state", pure(zero.apply(mH, 0).apply(mT, 0)), qnet.ErrTooLarge, "not diagonal"},
		{"T on half of a pair", pure(bell(0).apply(mT, 0).apply(mH, 0)), qnet.ErrTooLarge, "not diagonal"},
		{"W state", pure(w), qnet.ErrTooLarge, "not diagonal"},
		{"two axes", blochState(0.5, 0.5, 0), qnet.ErrTooLarge, "not diagonal"},
		{"a little off the axis", blochState(0, 1e-7, 1), qnet.ErrTooLarge, "not diagonal"},
		{"relaxation of half of a pair", flat(relaxed.Density(0, 1)), qnet.ErrTooLarge, "not diagonal"},
		{"11 qubits", make([]complex128, 1<<22), qnet.ErrTooLarge, "11 qubits"},
		{"nothing", nil, qnet.ErrInvalid, "0 elements"},
		{"a number", []complex128{1}, qnet.ErrInvalid, "1 elements"},
		{"three rows", make([]complex128, 9), qnet.ErrInvalid, "9 elements"},
		{"eight elements", make([]complex128, 8), qnet.ErrInvalid, "8 elements"},
		{"trace", []complex128{1, 0, 0, 1}, qnet.ErrInvalid, "trace 2"},
		{"not Hermitian", []complex128{0.5, 0.5, 0, 0.5}, qnet.ErrInvalid, "not Hermitian"},
		{"imaginary", []complex128{0.5 + 0.1i, 0, 0, 0.5}, qnet.ErrInvalid, "not Hermitian"},
		{"negative", blochState(0, 0, 1.5), qnet.ErrInvalid, "negative eigenvalues"},
		{"no number", []complex128{complex(math.NaN(), 0), 0, 0, 1}, qnet.ErrInvalid, "trace NaN"},
		{"no number off the diagonal", []complex128{0.5, cmplx.NaN(), 0, 0.5}, qnet.ErrInvalid, "not Hermitian"},
		{"infinite", []complex128{cmplx.Inf(), 0, 0, 1}, qnet.ErrInvalid, ""},
	}
	for range 50 { // generic states
		n := 1 + rng.IntN(3)
		v := make(vector, 1<<n)
		for i := range v {
			v[i] = complex(rng.NormFloat64(), rng.NormFloat64())
		}
		norm := complex(math.Sqrt(real(v.dot(v))), 0)
		for i := range v {
			v[i] /= norm
		}
		cases = append(cases, struct {
			name string
			rho  []complex128
			code qnet.Code
			text string
		}{fmt.Sprintf("generic state of %d qubits", n), pure(v), qnet.ErrTooLarge, "not diagonal"})
	}
	for _, c := range cases {
		m, err := tableau.FromDensity(c.rho)
		if m != nil {
			t.Errorf("%s: taken for a mixture", c.name)
		}
		t.Run(c.name, func(t *testing.T) { qnettest.WantErr(t, err, c.code, c.text) })
	}
}

// A Bloch vector inside the octahedron is the mean of the states drawn.
func TestAddBloch(t *testing.T) {
	const draws = 20000
	rng := qnet.NewRand(14, "bloch")
	for _, v := range [][3]float64{{0, 0, 0}, {0.5, 0.3, 0.2}, {-0.2, 0.3, -0.4}, {0.1, -0.1, 0.1}, {0, -1, 0}, {0.5, 0, -0.5},
		{1, 0, 0}, {-1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {0, 0, -1}, {0, 0, 0.25}} {
		var sum [3]int
		var tab tableau.Tableau
		for range draws {
			tab.Reset()
			tab.Add(1)
			if !tab.AddBloch(rng, v[0], v[1], v[2]) {
				t.Fatalf("%v is refused", v)
			}
			for k, p := range []tableau.Pauli{tableau.X, tableau.Y, tableau.Z} {
				sum[k] += tab.Expectation(p.On(1))
			}
		}
		for k := range sum {
			// Of +1, 0 and −1 that have the mean v, the variance is at most 1−v². 36
			// comparisons at 5.5 standard deviations: 1.4e-6 in sum, of which the
			// certain ones (no deviation allowed) take nothing.
			sigma := math.Sqrt((1 - v[k]*v[k]) / draws)
			if got := float64(sum[k]) / draws; math.Abs(got-v[k]) > 5.5*sigma {
				t.Errorf("%v: component %d is %g on average, off by %.1f standard deviations", v, k, got, math.Abs(got-v[k])/sigma)
			}
		}
	}
	for _, v := range [][3]float64{{0.6, 0.3, 0.2}, {0, 0, 1.1}, {0.7, 0, 0.7}, {math.NaN(), 0, 0}, {0, 0, math.Inf(1)}, {0, -1e-9, 1}} {
		var tab tableau.Tableau
		if tab.AddBloch(rng, v[0], v[1], v[2]) || tab.Len() != 0 {
			t.Errorf("%v is accepted", v)
		}
	}
}

// Pauli noise that is drawn is equal in distribution with the channel: a pair
// and a CNOT with depolarising, measured in the Bell basis and by half in Y.
func TestSampledNoise(t *testing.T) {
	const runs = 40000
	const depol, dephase = 0.3, 0.2
	ref := densetest.New[int]()
	ref.Pair(0, 1, densetest.Decay{}, densetest.Decay{}, [4]float64{1})
	ref.Zero(2, densetest.Decay{})
	ref.Gate2(1, 2, physical.GateCNOT, depol)
	// coherences shrink by 1−2·dephase
	ref.Decay(0, densetest.Decay{T2: -1 / math.Log(1-2*dephase)}, 1)
	p := make([]float64, 8)
	for k := range p {
		c := ref.Clone()
		// the label of qubits 0 and 1, and the outcome of 2
		p[k] = c.Measure(2, qnet.BasisY, uint8(k&1))
		p[k] *= c.BSM(0, 1, 0, 0, qnet.BellLabel(k>>1))
	}
	rng := qnet.NewRand(15, "sampled noise")
	counts := make([]int, 8)
	var tab tableau.Tableau
	for range runs {
		tab.Reset()
		tab.AddPair(qnet.PhiPlus)
		tab.Add(1)
		tab.CNOT(1, 2)
		if rng.Float64() < depol {
			tab.Apply(1, tableau.Pauli(rng.IntN(4)))
			tab.Apply(2, tableau.Pauli(rng.IntN(4)))
		}
		if rng.Float64() < dephase {
			tab.Apply(0, tableau.Z)
		}
		y := tab.Measure(rng, tableau.Y.On(2))
		z := tab.Measure(rng, tableau.X.On(0), tableau.X.On(1))
		x := tab.Measure(rng, tableau.Z.On(0), tableau.Z.On(1))
		counts[x<<2|z<<1|y]++
	}
	qnettest.Fit(t, "labels and outcomes", counts, p)
}

// Relaxation is a mixture of Clifford operations when T2 is at most T1: a reset
// to |0⟩ with probability 1−exp(−t/T1), and otherwise Z with a probability that
// leaves exp(−t/T2) of the coherences.
func TestSampledRelaxation(t *testing.T) {
	const runs = 40000
	for _, d := range []densetest.Decay{{T1: 1, T2: 1}, {T1: 2, T2: 0.7}} {
		const dt = 0.5
		ref := densetest.New[int]()
		ref.Pair(0, 1, densetest.Decay{}, densetest.Decay{}, [4]float64{1})
		ref.Decay(0, d, dt)
		stay := math.Exp(-dt / d.T1)
		flip := (1 - math.Exp(-dt/d.T2)/stay) / 2
		for _, b := range []struct {
			pauli tableau.Pauli
			basis qnet.Basis
		}{{tableau.X, qnet.BasisX}, {tableau.Y, qnet.BasisY}, {tableau.Z, qnet.BasisZ}} {
			p := make([]float64, 4)
			for k := range p {
				c := ref.Clone()
				p[k] = c.Measure(0, b.basis, uint8(k>>1))
				p[k] *= c.Measure(1, b.basis, uint8(k&1))
			}
			rng := qnet.NewRand(16, "sampled relaxation")
			counts := make([]int, 4)
			var tab tableau.Tableau
			for range runs {
				tab.Reset()
				tab.AddPair(qnet.PhiPlus)
				if rng.Float64() >= stay {
					if tab.Measure(rng, tableau.Z.On(0)) == 1 {
						tab.Apply(0, tableau.X)
					}
				} else if rng.Float64() < flip {
					tab.Apply(0, tableau.Z)
				}
				x := tab.Measure(rng, b.pauli.On(0))
				y := tab.Measure(rng, b.pauli.On(1))
				counts[x<<1|y]++
			}
			qnettest.Fit(t, fmt.Sprintf("T1 %g, T2 %g, %v", d.T1, d.T2, b.basis), counts, p)
		}
	}
}

func TestDensityErrors(t *testing.T) {
	var tab tableau.Tableau
	tab.Add(12)
	for _, c := range []struct {
		qubits []int
		code   qnet.Code
		text   string
	}{
		{nil, qnet.ErrInvalid, "no qubit"},
		{[]int{3, 4, 3}, qnet.ErrInvalid, "named twice"},
		{[]int{12}, qnet.ErrBadQubit, "no qubit 12"},
		{[]int{-1}, qnet.ErrBadQubit, "no qubit -1"},
		{make([]int, 11), qnet.ErrTooLarge, "10 at most"},
	} {
		_, err := tab.Density(c.qubits...)
		qnettest.WantErr(t, err, c.code, c.text)
	}
}

func BenchmarkFromDensity10(b *testing.B) {
	for _, c := range []struct {
		name string
		rho  []complex128
	}{
		{"GHZ", noisyGHZ(10, 0.9, 0.8)},
		{"mixed", func() []complex128 { // of rank 2¹⁰, and few correlations
			rho := make([]complex128, 1<<20)
			for i := range 1 << 10 {
				rho[i<<10|i] = 1.0 / 1024
			}
			return rho
		}()},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tableau.FromDensity(c.rho); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDensity10(b *testing.B) {
	var tab tableau.Tableau
	ghz(&tab, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tab.Density(1, 2, 3, 4, 5, 6, 7, 8, 9, 10); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddMixture(b *testing.B) {
	rng := qnet.NewRand(24, "mixture")
	m, err := tableau.FromDensity(noisyGHZ(6, 0.9, 0.8))
	if err != nil {
		b.Fatal(err)
	}
	var tab tableau.Tableau
	b.ReportAllocs()
	for b.Loop() {
		if tab.Len() > 500 {
			tab.Reset()
		}
		tab.AddMixture(rng, m)
	}
}
