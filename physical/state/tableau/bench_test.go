package tableau_test

import (
	"fmt"
	"testing"

	"qstack/physical/state/tableau"
	"qstack/qnet"
)

func BenchmarkGHZ(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		// Memory is taken anew each time, or it is there.
		for _, fresh := range []bool{true, false} {
			b.Run(fmt.Sprintf("%d/fresh=%t", n, fresh), func(b *testing.B) {
				rng := qnet.NewRand(20, "ghz")
				b.ReportAllocs()
				var tab tableau.Tableau
				for b.Loop() {
					if fresh {
						tab = tableau.Tableau{}
					}
					ghz(&tab, n)
					bit := tab.Measure(rng, tableau.Z.On(0))
					for q := 1; q < n; q++ {
						if tab.Measure(rng, tableau.Z.On(q)) != bit {
							b.Fatal("outcomes differ")
						}
					}
				}
			})
		}
		// As a network does it: qubits come one by one, and leave when measured.
		b.Run(fmt.Sprintf("%d/grow-and-remove", n), func(b *testing.B) {
			rng := qnet.NewRand(21, "ghz")
			b.ReportAllocs()
			for b.Loop() {
				var tab, single tableau.Tableau
				single.Add(1)
				tab.Add(1)
				tab.H(0)
				for q := range n - 1 {
					tab.Join(&single)
					tab.CNOT(q, q+1)
				}
				for tab.Len() > 0 {
					tab.Discard(rng, 0)
				}
			}
		})
	}
}

func BenchmarkCluster32x32(b *testing.B) {
	rng := qnet.NewRand(22, "cluster")
	b.ReportAllocs()
	var tab tableau.Tableau
	for b.Loop() {
		cluster(&tab, 32)
		for q := range tab.Len() {
			tab.Measure(rng, tableau.X.On(q))
		}
	}
}

func BenchmarkOperation(b *testing.B) {
	const n = 1000
	for _, bench := range []struct {
		name string
		run  func(t *tableau.Tableau, i int)
	}{
		{"H", func(t *tableau.Tableau, i int) { t.H(i % n) }},
		{"S", func(t *tableau.Tableau, i int) { t.S(i % n) }},
		{"Pauli", func(t *tableau.Tableau, i int) { t.Apply(i%n, tableau.Y) }},
		{"CNOT", func(t *tableau.Tableau, i int) { t.CNOT(i%n, (i+1)%n) }},
		{"MeasureDetermined", func(t *tableau.Tableau, i int) { t.Measure(nil, tableau.Z.On(i%n)) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var tab tableau.Tableau
			tab.Add(n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				bench.run(&tab, i)
				i++
			}
		})
	}
}

func BenchmarkMeasureRandom(b *testing.B) {
	// In a dense random state, X and Z in turn are both random.
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rng := qnet.NewRand(23, "random")
			var tab tableau.Tableau
			tab.Add(n)
			for range 20 * n {
				x, y := rng.IntN(n), rng.IntN(n)
				tab.H(x)
				tab.S(y)
				if x != y {
					tab.CNOT(x, y)
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				tab.Measure(rng, tableau.Z.On(i%n))
				tab.Measure(rng, tableau.X.On(i%n))
				i++
			}
		})
	}
}
