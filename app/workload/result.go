package workload

// Version is that of Result as JSON.
const Version = 2

// Result is what became of the requests of one run. Times and rates are of the
// emulated world unless said otherwise. Requests count from the end of the warm-up
// on: those that were created before leave their mark on queue and throughput only.
type Result struct {
	Version  int    `json:"version"`
	Scenario string `json:"scenario"`
	Seed     uint64 `json:"seed"`
	// SimulatedS is the time in which figures are taken, WarmupS that before, in
	// seconds.
	SimulatedS float64 `json:"simulated_s"`
	WarmupS    float64 `json:"warmup_s"`
	WallS      float64 `json:"wall_s"` // of the run by the wall clock, in seconds
	Events     uint64  `json:"events"` // of the loop

	// Frames has the messages that were sent, by the name of their type, Lost those
	// of them that did not arrive; of the whole run.
	Frames map[string]uint64 `json:"frames"`
	Lost   map[string]uint64 `json:"lost,omitempty"`
	// Attempts is the number of attempts that both ends have made together, of the
	// whole run; those since the last success are not among them.
	Attempts uint64 `json:"attempts,omitempty"`
	// NoMessageOther is the expected number of attempts in which the message of one
	// end is lost on its way to the station, where each attempt has messages of its
	// own (see link.StationConfig.AttemptLoss): 2p for each attempt, as Dahlberg et
	// al. count them.
	NoMessageOther float64 `json:"no_message_other,omitempty"`

	// Types are those of the scenario, in its order; All is all of them together.
	Types []TypeResult `json:"types"`
	All   TypeResult   `json:"all"`

	// Queue is the number of requests that are created and not over, over time.
	Queue Series `json:"queue"`

	// Expired has the pairs that were void, by the end that was told; some of them
	// it had been handed before.
	Expired [2]uint64 `json:"expired"`
	// Unmatched are the pairs that only one end had at the horizon.
	Unmatched uint64 `json:"unmatched"`
	// Errors are what ought not to happen, such as ends that disagree about a pair:
	// the first ten.
	Errors []string `json:"errors,omitempty"`
}

// TypeResult is what became of the requests of one type.
type TypeResult struct {
	Name string `json:"name"` // "all" for all types
	Type string `json:"type,omitempty"`
	// Point is the operating point that the load is counted for, Probability its
	// success probability per attempt, Cycles the cycles per attempt.
	Point       string  `json:"point,omitempty"`
	MinFidelity float64 `json:"min_fidelity,omitempty"` // asked for
	Probability float64 `json:"probability,omitempty"`
	Cycles      float64 `json:"cycles,omitempty"`
	// Saturation is the nominal number of pairs per second if there were no
	// requests of another type, Offered the number asked for in the mean.
	Saturation float64 `json:"saturation_hz,omitempty"`
	Offered    float64 `json:"offered_hz"`

	Both Figures `json:"both,omitzero"` // whoever created the request
	A    Figures `json:"a,omitzero"`    // created at the end that the link names first
	B    Figures `json:"b,omitzero"`    // created at the other
	// Rate are the pairs per second over time.
	Rate Series `json:"rate"`
	// Learnt is what test rounds have shown at either end, where there were any.
	Learnt []Learnt `json:"learnt,omitempty"`
}

// Learnt is what the test rounds of one end have shown of the pairs of a type when
// the run was over.
type Learnt struct {
	End        string  `json:"end"` // A or B
	Point      string  `json:"point,omitempty"`
	Rounds     float64 `json:"rounds"`   // those of long ago counted less
	Measured   float64 `json:"measured"` // fidelity
	Lower      float64 `json:"lower"`    // bounds of it, each with the Confidence
	Upper      float64 `json:"upper"`
	Confidence float64 `json:"confidence"`
	Model      float64 `json:"model"` // fidelity by the data sheets
}

// Figures are those of a set of requests.
type Figures struct {
	Requests  uint64 `json:"requests"`  // created, and those refused at once
	Asked     uint64 `json:"asked"`     // pairs that they asked for
	Completed uint64 `json:"completed"` // requests that ended well
	// Failed has the requests that ended otherwise, by the text of their code, such
	// as "timed out", "expired" or "queue full".
	Failed map[string]uint64 `json:"failed,omitempty"`
	Open   uint64            `json:"open"` // not over at the horizon

	Pairs uint64 `json:"pairs"` // handed up at the end that made the request, less those that are void
	// Throughput is in pairs per second.
	Throughput Average `json:"throughput_hz,omitzero"`
	// Latency is the time from CREATE to the last pair at the creator, in seconds,
	// of the requests that were completed; Scaled is it over the number of pairs.
	Latency Distribution `json:"latency_s,omitzero"`
	Scaled  Distribution `json:"scaled_latency_s,omitzero"`

	// Oracle is the exact fidelity of kept pairs when both ends had their halves. Of
	// prepared pairs it is F = 1 − (eX+eY+eZ)/2, where e is 1 less the mean fidelity of
	// the peer's half, when that was handed up, to the state that the creator's outcome
	// in X, Y or Z announces: the fidelity of the pairs, with the read-out of the
	// creator, which is what minimum fidelities are of.
	Oracle Estimate `json:"fidelity_oracle,omitzero"`
	// Prepared is the mean of these fidelities, of outcomes in any basis. With bases
	// X, Y and Z equally often it is (2F+1)/3.
	Prepared Estimate `json:"fidelity_prepared,omitzero"`
	// Outcomes is what measured pairs say or, without any, kept and prepared ones that
	// the devices measured when they were handed up.
	Outcomes Outcomes `json:"outcomes,omitzero"`
	// Unread are the halves that could not be measured for it, for want of a
	// communication qubit.
	Unread uint64 `json:"unread,omitempty"`
	// CHSH is S of the outcomes of measured pairs with these bases.
	CHSH Estimate `json:"chsh_s,omitzero"`
	// Fidelity is of all types together, where some keep pairs and others measure or
	// prepare them: the mean over the pairs of the fidelity that their type has, that of
	// the oracle or else that from outcomes. N is the number of pairs; those of types
	// without a fidelity are not among them. Oracle, Prepared and Outcomes, which would
	// be of some types alone, are 0 then.
	Fidelity Average `json:"fidelity,omitzero"`
}

// Estimate is a mean of independent observations with its standard error. N is their
// number; without any, all is 0.
type Estimate struct {
	Mean   float64 `json:"mean"`
	StdErr float64 `json:"stderr"`
	N      uint64  `json:"n"`
}

// Average is a mean of which a run does not know the standard error, for its
// observations have something in common. N is their number; of a rate, which is an
// observation itself, it is 1. Without any, all is 0.
//
// Times in a queue near its limit are alike for as long as the run, or longer. Their
// spread within a run says nothing of that, nor do tests whether parts of a run have
// something in common: those that pass are the runs that seem calm by chance.
type Average struct {
	Mean float64 `json:"mean"`
	N    uint64  `json:"n"`
}

// Distribution is that of a time in seconds. Percentiles are good to 2.5 %.
type Distribution struct {
	Average
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Histogram counts by bins of equal width in the logarithm.
	Histogram Histogram `json:"histogram,omitzero"`
}

// Histogram counts times by BinsPerDecade bins for each power of ten. Bin number
// i begins at 10^(i/BinsPerDecade) nanoseconds; bin 0 has what is shorter too.
type Histogram struct {
	First  int      `json:"first"` // number of the bin that Counts begins with
	Counts []uint64 `json:"counts"`
}

// BinsPerDecade is the number of bins of a Histogram for a power of ten.
const BinsPerDecade = 48

// Outcomes is what the outcomes of measured pairs say: the share of errors among
// the pairs that both ends measured in one basis, beside the announced Bell state,
// and the fidelity F = 1 − (Qx+Qy+Qz)/2 that goes with them. Of a type that is not
// measured in all three bases F is 0 with N 0.
//
// Errors of the read-out are in it where the contract has them: of measured pairs at
// both ends, of prepared ones at the creator. The measurement of a half that the end
// was handed as a qubit is no part of what was asked for, so that what the data sheet
// knows of it is taken out: of an outcome s = ±1 with mean b + c·r, where r is the
// Bloch component in question when the half was handed up, (s − b)/c counts, whose
// mean is r. For a read-out that takes no time and is wrong with probabilities f0 and
// f1, b = f1 − f0 and c = 1 − f0 − f1. The product of both ends' is the correlator in
// the mean, and (1 ∓ it)/2 the share of errors; one that is estimated so may be a
// little below 0.
type Outcomes struct {
	X Estimate `json:"qber_x,omitzero"`
	Y Estimate `json:"qber_y,omitzero"`
	Z Estimate `json:"qber_z,omitzero"`
	F Estimate `json:"fidelity,omitzero"`
}

// Series is a quantity over time: means of equal intervals, at most MaxPoints of
// them, from the end of the warm-up on.
type Series struct {
	IntervalS float64   `json:"interval_s"`
	Points    []float64 `json:"points"`
	Mean      float64   `json:"mean"`
	Max       float64   `json:"max"` // at any instant; of a rate, in any interval
}

// MaxPoints is the largest number of points of a Series.
const MaxPoints = 200

// Row is one figure of a set of runs: its mean over the runs, the standard error of
// that by their spread, and the 95 % confidence interval by Student's t. Of fidelities
// of one kind, wrong outcomes and S of fewer than a hundred runs it is what follows from
// the standard errors within the runs. Other figures of fewer than FewRuns have none:
// StdErr, Low and High are NaN, null as JSON.
type Row struct {
	Type   string  `json:"type"`   // of request, "all" for all, "" for the link itself
	Origin string  `json:"origin"` // both, A, B, or A-B for the difference
	Figure string  `json:"figure"` // such as throughput_hz
	Mean   float64 `json:"mean"`
	StdErr float64 `json:"stderr"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	N      int     `json:"n"` // runs that have the figure
	// Within says that StdErr is from those within the runs.
	Within bool `json:"within,omitempty"`
}

// Summary is what several runs of one scenario say together.
type Summary struct {
	Version    int      `json:"version"`
	Scenario   string   `json:"scenario"`
	Seeds      []uint64 `json:"seeds"`
	SimulatedS float64  `json:"simulated_s"` // of all runs, with warm-up
	WallS      float64  `json:"wall_s"`      // of all runs, added
	Rows       []Row    `json:"rows"`
	Errors     []string `json:"errors,omitempty"` // of any run, the first ten
}

// The names of figures, of a type and origin unless said otherwise.
const (
	FigureThroughput = "throughput_hz"
	FigureLatency    = "latency_s"
	FigureScaled     = "scaled_latency_s"
	FigureScaledP50  = "scaled_latency_p50_s"
	FigureScaledP90  = "scaled_latency_p90_s"
	FigureScaledP99  = "scaled_latency_p99_s"
	FigureOracle     = "fidelity_oracle"
	FigurePrepared   = "fidelity_prepared"
	FigureOutcomes   = "fidelity_outcomes"
	FigureQBERX      = "qber_x"
	FigureQBERY      = "qber_y"
	FigureQBERZ      = "qber_z"
	FigureFidelity   = "fidelity" // type all only, of types that are not all of one kind
	FigureUnread     = "unread"
	FigureCHSH       = "chsh_s"
	// Of test rounds, by the end that learnt as origin.
	FigureLearnt      = "fidelity_learnt"
	FigureLearntLower = "fidelity_learnt_lower"
	FigureLearntUpper = "fidelity_learnt_upper"
	FigureRounds      = "test_rounds"
	FigureRequests    = "requests"
	FigureCompleted   = "completed"
	FigureFailed      = "failed" // and failed.CODE, such as "failed.queue full"
	FigureOpen        = "open"
	FigurePairs       = "pairs"
	FigureOffered     = "offered_hz"   // origin both only
	FigureMinimum     = "min_fidelity" // asked for; origin both only

	FigureQueue    = "queue_mean" // of the link
	FigureQueueMax = "queue_max"  // of the link
	FigureExpired  = "expired"    // of the link, pairs
	FigureFrames   = "frames"     // of the link: frames.TYPE
	FigureLost     = "lost"       // of the link: lost.TYPE
	FigureAttempts = "attempts"   // of the link
	// FigureNoMessageOther is the expected number of attempts of which the station
	// hears from one end only, of the link.
	FigureNoMessageOther = "no_message_other"
)

// TypeFigures returns the names of the figures that a type of request may have,
// whoever made the requests, and FigureFidelity. FigureFailed stands for those of
// its codes too.
func TypeFigures() []string {
	return []string{FigureThroughput, FigureLatency, FigureScaled, FigureScaledP50, FigureScaledP90, FigureScaledP99,
		FigureFidelity, FigureOracle, FigurePrepared, FigureOutcomes, FigureQBERX, FigureQBERY, FigureQBERZ, FigureCHSH, FigureUnread,
		FigureRequests, FigureCompleted, FigureFailed, FigureOpen, FigurePairs, FigureOffered, FigureMinimum}
}
