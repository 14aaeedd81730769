package workload

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
		var sum float64 // of fidelities, times pairs
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
			pairs += f.Pairs
			sum += float64(f.Pairs) * e.Mean
		}
		if pairs > 0 {
			of.all.Fidelity = Average{Mean: sum / float64(pairs), N: pairs}
		}
	}
}
