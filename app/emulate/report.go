package emulate

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/qnet"
)

// Report is what was measured of a link.
type Report struct {
	Preset string `json:"preset"`
	Model  string `json:"model"`
	Seed   uint64 `json:"seed"`
	Pairs  int    `json:"pairs"` // measured
	// Rate is in pairs per second while the link does nothing but make and measure
	// them. It counts that a qubit is busy until it has been read out and
	// initialised, which rate_hz of "qnoded hw show" does not.
	Rate Quantity `json:"rate_hz"`
	// Fidelity is that of the measured pairs to the announced Bell state, from the
	// correlations of equal bases, the errors of the read-out, as they are
	// characterised, taken out. Fidelity.Expected is that of the model when the
	// outcomes are read.
	Fidelity Quantity `json:"fidelity_tomography"`
	// Raw is the same with the errors of the read-out in it.
	Raw Quantity `json:"fidelity_raw"`
	// Oracle is the exact fidelity of kept pairs at the instant that both ends know
	// of them; absent where no pair can be kept.
	Oracle *Quantity `json:"fidelity_oracle,omitempty"`
	// Correlations are ⟨XX⟩, ⟨YY⟩ and ⟨ZZ⟩ as read, each turned so that the
	// announced state has +1.
	Correlations [3]Quantity `json:"correlations"`
	Labels       []Label     `json:"labels"`

	EmulatedS float64 `json:"emulated_s"`
	WallS     float64 `json:"wall_s"`
	// Agrees says that all that has an expected value is within five standard
	// errors of it.
	Agrees bool `json:"agrees"`
}

// Quantity is a measured mean with its standard error and 95 % interval. The
// error is computed from what is expected, where that is known.
type Quantity struct {
	Measured float64  `json:"measured"`
	StdErr   float64  `json:"stderr"`
	Low      float64  `json:"low"`
	High     float64  `json:"high"`
	Expected *float64 `json:"expected,omitempty"`
	Pairs    int      `json:"pairs,omitempty"`
}

// Label says how often a Bell state was announced.
type Label struct {
	Label string   `json:"label"`
	Count int      `json:"count"`
	Share Quantity `json:"share"`
}

const z95 = 1.959964

// judged returns a quantity beside what is expected of it, and has the report
// disagree if it is further away than allowed.
func (r *Report) judged(measured, stderr, expected, allowed float64) *Quantity {
	if !(math.Abs(measured-expected) <= allowed) {
		r.Agrees = false
	}
	return &Quantity{Measured: measured, StdErr: stderr, Low: measured - z95*stderr, High: measured + z95*stderr, Expected: &expected}
}

// signs has, by label, the sign of X⊗X, Y⊗Y and Z⊗Z on the Bell state.
var signs = [4][3]float64{
	qnet.PhiPlus:  {1, -1, 1},
	qnet.PhiMinus: {-1, 1, 1},
	qnet.PsiPlus:  {1, 1, -1},
	qnet.PsiMinus: {-1, -1, -1},
}

// analyse works the outcomes out. busy is how long a qubit that was measured
// does not emit again.
func (r *Report) analyse(pairs []outcome, m herald.Model, want expected, readout physical.ReadoutError, busy time.Duration) {
	n := float64(len(pairs))
	r.Pairs = len(pairs)

	// Attempts are geometric; between one success and the next attempt are the
	// cycles in which the qubits are busy.
	period, p := m.Period(), m.SuccessProbability()
	interval := (max(1, math.Ceil(float64(busy)/period-1e-9)) - 1 + 1/p) * period * 1e-9
	spread := math.Sqrt(1-p) / p * period * 1e-9 / math.Sqrt(n-1)
	mean := pairs[len(pairs)-1].created.Sub(pairs[0].created).Seconds() / (n - 1)
	rounding := period * 1e-9 / (n - 1)
	r.Rate = *r.judged(1/mean, spread/(interval*interval), 1/interval, (5*spread+rounding)/(interval*interval)*max(1, interval/mean))

	var count [4]int
	var joint [4][3][2][2]float64 // label, basis, bits
	for _, x := range pairs {
		count[x.label]++
		if x.basis[0] == x.basis[1] {
			joint[x.label][x.basis[0]][x.bit[0]][x.bit[1]]++
		}
	}
	for _, h := range merged(m.Heralds()) {
		k := count[h.Label]
		r.Labels = append(r.Labels, Label{h.Label.String(), k, *r.judged(float64(k)/n, math.Sqrt(h.P*(1-h.P)/n), h.P, 5*math.Sqrt(h.P*(1-h.P)/n)+1/n)})
		count[h.Label] = 0
	}
	for l, k := range count {
		if k > 0 { // announced, though the model never does
			r.Agrees = false
			r.Labels = append(r.Labels, Label{Label: qnet.BellLabel(l).String(), Count: k})
		}
	}

	var read, clean, total [3]float64
	for basis := range 3 {
		for l := range joint {
			t := &joint[l][basis]
			sum, all := product(t)
			read[basis] += signs[l][basis] * sum
			clean[basis] += signs[l][basis] * unread(t, readout)
			total[basis] += all
		}
		read[basis] /= total[basis]
		clean[basis] /= total[basis]
	}
	each, all := stderrs(want.read, total)
	for basis := range 3 {
		r.Correlations[basis] = *r.judged(read[basis], each[basis], want.read[basis], 5*each[basis]+3/total[basis])
		r.Correlations[basis].Pairs = int(total[basis])
	}
	r.Raw = *r.judged(fidelity(read), all, fidelity(want.read), 5*all+1/total[0])
	contrast := 1 - readout[0] - readout[1]
	all /= contrast * contrast
	r.Fidelity = *r.judged(fidelity(clean), all, fidelity(want.clean), 5*all+1/total[0])
}

// merged returns the heralds with those of one label as one.
func merged(hs []herald.Herald) []herald.Herald {
	var out []herald.Herald
	for _, h := range hs {
		i := 0
		for i < len(out) && out[i].Label != h.Label {
			i++
		}
		if i == len(out) {
			out = append(out, herald.Herald{Label: h.Label})
		}
		out[i].P += h.P
	}
	return out
}

// product returns the sum of the products of the bits, as ±1, and their number.
func product(t *[2][2]float64) (sum, n float64) {
	return t[0][0] + t[1][1] - t[0][1] - t[1][0], t[0][0] + t[0][1] + t[1][0] + t[1][1]
}

// unread returns the sum of the products of the bits as they were before the
// read-out, which turns a bit b with probability e[b] at either end.
func unread(t *[2][2]float64, e physical.ReadoutError) float64 {
	// Of the counts of one bit, (1−e₁)·c₀ − e₁·c₁ over 1−e₀−e₁ are 0 and
	// (1−e₀)·c₁ − e₀·c₀ are 1: their difference is c₀·(1+e₀−e₁) − c₁·(1+e₁−e₀).
	weight := [2]float64{1 + e[0] - e[1], -(1 + e[1] - e[0])}
	contrast := 1 - e[0] - e[1]
	var sum float64
	for a := range 2 {
		for b := range 2 {
			sum += t[a][b] * weight[a] * weight[b]
		}
	}
	return sum / (contrast * contrast)
}

// WriteTable prints the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "%s (%s): %d pairs, %.4g s emulated in %.1f s\n\n", r.Preset, r.Model, r.Pairs, r.EmulatedS, r.WallS)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "quantity\tmeasured\t95 % interval\texpected")
	row := func(name, format string, q *Quantity) {
		expected := "-"
		if q.Expected != nil {
			expected = fmt.Sprintf(format, *q.Expected)
		}
		fmt.Fprintf(t, "%s\t"+format+"\t"+format+" … "+format+"\t%s\n", name, q.Measured, q.Low, q.High, expected)
	}
	row("pairs per second", "%.5g", &r.Rate)
	row("fidelity, from correlations", "%.4f", &r.Fidelity)
	row("the same, as read", "%.4f", &r.Raw)
	if r.Oracle != nil {
		row(fmt.Sprintf("fidelity, oracle (%d kept pairs)", r.Oracle.Pairs), "%.6f", r.Oracle)
	}
	for i, name := range []string{"⟨XX⟩", "⟨YY⟩", "⟨ZZ⟩"} {
		row(name+" of the announced state", "%.4f", &r.Correlations[i])
	}
	for i := range r.Labels {
		row("announced "+r.Labels[i].Label, "%.4f", &r.Labels[i].Share)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !r.Agrees {
		_, err := fmt.Fprintln(w, "\nsomething is more than five standard errors from what is expected")
		return err
	}
	return nil
}
