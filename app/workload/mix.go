package workload

import "math"

// mix gives all types together the mean of their fidelities, if these are not of one
// kind: what the oracle or outcomes say is then of some types alone.
func (all *TypeResult) mix(types []TypeResult) {
	mixed := false
	for i := range types {
		mixed = mixed || types[i].Type != types[0].Type
	}
	if !mixed {
		return
	}
	for _, of := range []struct {
		all  *Figures
		part func(*TypeResult) *Figures
	}{
		{&all.Both, func(t *TypeResult) *Figures { return &t.Both }},
		{&all.A, func(t *TypeResult) *Figures { return &t.A }},
		{&all.B, func(t *TypeResult) *Figures { return &t.B }},
	} {
		of.all.Oracle, of.all.Prepared, of.all.Outcomes = Estimate{}, Estimate{}, Outcomes{}
		var sum, square float64 // of fidelities and of errors, times pairs
		var pairs uint64
		for i := range types {
			f := of.part(&types[i])
			e := f.Oracle
			if e.N == 0 {
				e = f.Outcomes.F
			}
			if e.N == 0 {
				continue
			}
			n := float64(f.Pairs)
			pairs += f.Pairs
			sum += n * e.Mean
			square += n * e.StdErr * n * e.StdErr
		}
		if pairs > 0 {
			n := float64(pairs)
			of.all.Fidelity = Estimate{Mean: sum / n, StdErr: math.Sqrt(square) / n, N: pairs}
		}
	}
}
