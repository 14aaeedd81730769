package verify

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Report is what demo and sim print.
type Report struct {
	Processes []Process `json:"processes"` // as each says of itself; none in virtual time
	Pairs     int       `json:"pairs"`     // from which the fidelity is estimated
	Fidelity  Interval  `json:"fidelity"`
	CHSH      CHSH      `json:"chsh"`
	Teleport  Interval  `json:"teleport"`
	RateHz    Rate      `json:"rate_hz"`
	LatencyMS Latency   `json:"latency_ms"`
	WallS     float64   `json:"wall_s"`
	EmulatedS float64   `json:"-"`       // of the measurements
	Verdict   string    `json:"verdict"` // pass, fail, or none where nothing is expected
	// Unexpected says why nothing is expected; empty otherwise.
	Unexpected string   `json:"unexpected,omitempty"`
	Failed     []string `json:"failed"` // quantities whose verdict is bad

	Simulated *float64 `json:"simulated_s,omitempty"` // sim: virtual time in all
	Events    *uint64  `json:"events,omitempty"`      // sim: events executed

	// RealTime says that the wall clock was that of the network, as it is not in
	// virtual time.
	RealTime bool `json:"-"`

	wallRate    float64
	wallLatency Latency
	rateStdErr  float64
	rateJudged  bool
}

// Process is one process of the network.
type Process struct {
	Role string `json:"role"`
	Name string `json:"name"`
	ID   string `json:"id"`
	PID  int    `json:"pid"`
}

// Interval is a measured mean with its standard error (from the expected
// values) and 95 % interval, beside what was expected.
type Interval struct {
	Mean     float64  `json:"mean"`
	StdErr   float64  `json:"stderr"`
	Low      float64  `json:"low"`
	High     float64  `json:"high"`
	Expected *float64 `json:"expected"` // null where nothing is
}

// CHSH is the CHSH parameter S: 2 bounds what is classical, 2√2 what is quantum.
// Its verdict asks for more than 2, also of hardware that can not reach it.
type CHSH struct {
	S        float64  `json:"s"`
	StdErr   float64  `json:"stderr"`
	Expected *float64 `json:"expected"`
	Pairs    int      `json:"-"`
}

// Rate is in pairs per second of emulated time.
type Rate struct {
	Measured float64  `json:"measured"`
	Expected *float64 `json:"expected"`
}

// Latency is the time of one pair, in emulated milliseconds: from the delivery
// of the one before.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

func (r *Report) judge(name string, good bool) {
	if r.Failed == nil {
		r.Failed = []string{}
	}
	if !good {
		r.Failed = append(r.Failed, name)
	}
}

func (r *Report) verdict(name string) string {
	if r.Unexpected != "" {
		return "-"
	}
	if slices.Contains(r.Failed, name) {
		return "FAIL"
	}
	return "pass"
}

// WriteTable prints the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "quantity\tmeasured\t95 % interval\texpected\tverdict")
	row := func(label, format string, v, low, high float64, expected *float64, verdict string) {
		f := func(x float64) string { return fmt.Sprintf(format, x) }
		e := "-"
		if expected != nil {
			e = f(*expected)
		}
		fmt.Fprintf(t, "%s\t%s\t%s … %s\t%s\t%s\n", label, f(v), f(low), f(high), e, verdict)
	}
	row(fmt.Sprintf("fidelity to Φ+ (%d pairs)", r.Pairs), "%.4f", r.Fidelity.Mean, r.Fidelity.Low, r.Fidelity.High, r.Fidelity.Expected, r.verdict("fidelity"))
	row(fmt.Sprintf("CHSH S (%d pairs)", r.CHSH.Pairs), "%.3f", r.CHSH.S, r.CHSH.S-z95*r.CHSH.StdErr, r.CHSH.S+z95*r.CHSH.StdErr, r.CHSH.Expected, r.verdict("chsh"))
	if r.Teleport != (Interval{}) {
		row("teleportation fidelity", "%.4f", r.Teleport.Mean, r.Teleport.Low, r.Teleport.High, r.Teleport.Expected, r.verdict("teleport"))
	}
	verdict := "-"
	if r.rateJudged {
		verdict = r.verdict("rate")
	}
	row("pairs per second, emulated", "%.1f", r.RateHz.Measured, max(0, r.RateHz.Measured-z95*r.rateStdErr), r.RateHz.Measured+z95*r.rateStdErr, r.RateHz.Expected, verdict)
	fmt.Fprintf(t, "time of one pair, emulated\tmedian %.3g ms\t99 %% within %.3g ms\t\t-\n", r.LatencyMS.P50, r.LatencyMS.P99)
	if r.RealTime {
		fmt.Fprintf(t, "pairs per second, wall\t%.1f\t\t\t-\n", r.wallRate)
		fmt.Fprintf(t, "time of one pair, wall\tmedian %.3g ms\t99 %% within %.3g ms\t\t-\n", r.wallLatency.P50, r.wallLatency.P99)
	}
	fmt.Fprintf(t, "in all, emulated\t%.1f s\t\t\t-\n", r.EmulatedS)
	if pairs := float64(r.Pairs + r.CHSH.Pairs); r.WallS > 0 {
		fmt.Fprintf(t, "in all, wall\t%.1f s\t%.0f pairs/s, %.3f ms each\t\t-\n", r.WallS, pairs/r.WallS, 1e3*r.WallS/pairs)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Unexpected != "" {
		_, err := fmt.Fprintf(w, "no verdict: %s\n", r.Unexpected)
		return err
	}
	if r.CHSH.S <= 2 && *r.CHSH.Expected <= 2 {
		fmt.Fprintln(w, "S is not above 2, and this hardware is not expected to reach it: such pairs show no entanglement by the CHSH test.")
	}
	_, err := fmt.Fprintf(w, "verdict: %s\n", r.Verdict)
	return err
}
