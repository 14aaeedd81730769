package scenario

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/toml"
)

// Scheduler names what decides which request a link serves next.
type Scheduler uint8

// The schedulers.
const (
	Strict Scheduler = iota // the highest priority first, fair among requests of one
	FCFS                    // in the order in which they were agreed on
	WFQ                     // weighted fair queueing among the priorities
	EDF                     // the earliest deadline first
	Slots                   // a priority for each slot of time
	schedulers
)

var schedulerNames = [schedulers]string{"strict", "fcfs", "wfq", "edf", "slots"}

// String returns the name that scenarios use.
func (s Scheduler) String() string {
	if s < schedulers {
		return schedulerNames[s]
	}
	return fmt.Sprintf("Scheduler(%d)", uint8(s))
}

// LinkSettings are those of the link layers of all links. The zero value is the
// default.
type LinkSettings struct {
	Scheduler Scheduler
	Weights   []float64 // of WFQ, by priority; 0 is served before all with a weight
	// Slot is the length of a slot of Slots, Turns the priorities that the slots
	// serve, over and over.
	Slot  time.Duration
	Turns []uint8
	// QueueLimit is the number of requests that both ends of a link hold at most; 0
	// stands for 4,096.
	QueueLimit int
	TestRounds float64 // share of the pairs that is measured to learn the fidelity, in [0,1)
	Compat     Compat
}

// Compat makes a link layer do as the simulations of Dahlberg et al., SIGCOMM
// (2019), arXiv:1903.09778, did where it would do better. Nothing of it is set
// unless asked for.
type Compat struct {
	HeraldingOnly  bool // the estimator counts neither storage nor gates nor read-out
	EqualIncrement bool // WFQ: each further pair of a request counts without its weight
	ExpireRequest  bool // a lost herald voids all of the request, not the gap alone
	NoRepeat       bool // lost frames are sent again as the reference does, or not at all
	LossPerAttempt bool // messages of each attempt can be lost too, not only frames
}

// RequestType names a type of request of a workload.
type RequestType uint8

// The types of request.
const (
	KeepPairs    RequestType = iota // both halves stay in qubits
	MeasurePairs                    // both ends measure at once
	PreparePairs                    // the end that asks measures, the peer keeps its half
	requestTypes
)

var requestTypeNames = [requestTypes]string{"keep", "measure", "prepare"}

// String returns the name that scenarios use.
func (t RequestType) String() string {
	if t < requestTypes {
		return requestTypeNames[t]
	}
	return fmt.Sprintf("RequestType(%d)", uint8(t))
}

// Workload says which requests come on one link, at random, and for how long.
type Workload struct {
	Link int // position in Scenario.Links
	// Load is what all types together ask for over what the hardware can serve.
	Load    float64
	Horizon time.Duration // of a run, warm-up included
	Warmup  time.Duration // time at the begin of a run in which no figures are taken
	Seeds   int           // runs; their seeds count from that of the scenario
	OriginA float64       // share of the load that comes from the end named first
	// LossLink and LossStation are the probabilities that a frame is lost between
	// the ends, and between an end and the station.
	LossLink, LossStation float64
	Hold                  time.Duration // how long kept pairs are held; 0: freed at once
	Poisson               bool          // requests come at any time, not at cycles of attempts
	Deadline              time.Duration // from the request on; 0 for none
	ReportEvery           time.Duration // window in which throughput is counted
	// FidelitySamples is the share of the kept pairs whose state the oracle is asked
	// for.
	FidelitySamples float64
	// Tomography is the share of the kept and of the prepared pairs that the devices
	// measure when they are handed up.
	Tomography float64
	// Listen are the purposes that both ends take part in; nil for all.
	Listen []uint64
	Types  []WorkloadType
	// Figures are the groups of figures that are reported, of FigureGroups; none for
	// all.
	Figures []string
}

// WorkloadType is one type of request of a workload.
type WorkloadType struct {
	Name               string
	Type               RequestType
	Share              float64 // of the load, over the sum of all shares
	PairsMin, PairsMax int     // pairs of a request; 0 of a stream
	// Lasts makes a request a stream: it goes on for an exponential time of this mean,
	// at the Rate. 0 for a number of pairs.
	Lasts time.Duration
	Rate  float64 // pairs per second of a request at most; 0 for as many as there are
	// Cancel is the share of the requests that are cancelled, if they are not over
	// by then, after an exponential time of mean CancelAfter.
	Cancel      float64
	CancelAfter time.Duration
	Purpose     uint64
	// Bases are those of the end that asks, of pairs that it measures, PeerBases those
	// of the other end, if that measures too. Without any they are X, Y and Z.
	Bases, PeerBases physical.BasisSource
	// MinFidelity is the least fidelity asked for; Highest asks for the highest that
	// is granted instead.
	MinFidelity                float64
	Highest                    bool
	Priority                   uint8 // larger is served earlier
	Atomic, Store, Consecutive bool
	Deadline                   time.Duration // 0 for none
}

// FigureGroups are the groups of figures that a report can have.
var FigureGroups = []string{"requests", "throughput", "latency", "scaled-latency", "fidelity", "queue", "fairness", "errors", "frames"}

// Bounds of a workload.
const (
	MaxPriority    = 7
	MaxRequest     = 1_000_000_000 // pairs of a request
	maxRange       = 1_000_000     // numbers of pairs that one is drawn from
	maxListen      = 1024          // purposes
	MaxQueue       = 1 << 20
	MaxSeeds       = 1_000_000
	MaxTypes       = 64
	maxLoad        = 1000
	maxSlots       = 4096
	maxHorizon     = 10_000 * time.Hour
	maxReports     = 10_000_000 // windows of a run
	defaultHorizon = 1000 * time.Second
)

// DefaultQueueLimit is the QueueLimit that 0 stands for.
const DefaultQueueLimit = 4096

// one returns which of some names is at key, the first when there is none.
func (p *parser) one(t *toml.Table, key string, names ...string) int {
	v := t.Text(key, names[0])
	i := slices.Index(names, v)
	if i < 0 {
		p.doc.Problem(t.Key(key), "unknown: want %s", choice(names))
		return 0
	}
	return i
}

// choice lists names in quotes, as in "a", "b" or "c".
func choice(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.Quote(n)
	}
	last := len(quoted) - 1
	if last == 0 {
		return quoted[0]
	}
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

// linkSettings reads the table [link].
func (p *parser) linkSettings(t *toml.Table) (s LinkSettings) {
	if t == nil {
		return s
	}
	s.Scheduler = Scheduler(p.one(t, "scheduler", schedulerNames[:]...))
	for i, v := range p.list(t, "weights") {
		w, ok := number(v)
		if !ok {
			p.doc.Problem(toml.Element(t.Key("weights"), i), "want a number, not %s", toml.Kind(v))
		}
		s.Weights = append(s.Weights, w)
	}
	s.Slot, _ = p.duration(t, "slot")
	for i, v := range p.list(t, "turns") {
		n, ok := v.(int64)
		if !ok || n < 0 || n > MaxPriority {
			p.doc.Problem(toml.Element(t.Key("turns"), i), "want a priority from 0 to %d", MaxPriority)
		}
		s.Turns = append(s.Turns, uint8(n))
	}
	s.QueueLimit = int(t.Integer("queue_limit", 0, 1, MaxQueue))
	s.TestRounds = t.Number("test_rounds", 0)
	if c := t.Sub("compat"); c != nil {
		s.Compat = Compat{
			HeraldingOnly:  p.one(c, "estimator", "honest", "heralding-only") == 1,
			EqualIncrement: p.one(c, "scheduler", "repaired", "reference") == 1,
			ExpireRequest:  p.one(c, "expire", "gap", "request") == 1,
			NoRepeat:       p.one(c, "retransmit", "repaired", "reference") == 1,
			LossPerAttempt: p.one(c, "loss", "frames", "per-attempt") == 1,
		}
		c.Done()
	}
	t.Done()
	return s
}

// list returns the array at key, nil when there is none or something else, which
// is reported.
func (p *parser) list(t *toml.Table, key string) []any {
	switch v := t.Get(key).(type) {
	case nil:
		return nil
	case []any:
		return v
	default:
		p.doc.Problem(t.Key(key), "want an array in [ ], not %s", toml.Kind(v))
		return nil
	}
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// long returns the time at key, which may be long; def when there is none.
func (p *parser) long(t *toml.Table, key string, def time.Duration) time.Duration {
	v, ok := t.Quantity(key, &toml.Times)
	if !ok {
		return def
	}
	if !(v >= 0 && v <= maxHorizon.Seconds()) {
		p.doc.Problem(t.Key(key), "must be from 0 to %d h", maxHorizon/time.Hour)
		return def
	}
	return time.Duration(math.Round(v * 1e9))
}

// deadline reads a time or "none".
func (p *parser) deadline(t *toml.Table, def time.Duration) time.Duration {
	const key = "deadline"
	if t.Get(key) == "none" {
		return 0
	}
	d, ok := p.duration(t, key)
	switch {
	case !ok:
		return def
	case d == 0:
		p.doc.Problem(t.Key(key), "must be positive, or %q", "none")
	}
	return d
}

// workload reads the tables [workload] and [report].
func (p *parser) workload(t, report *toml.Table, links []Link) *Workload {
	if t == nil {
		if report != nil {
			p.doc.Problem(report.Path(), "there is no [workload] to report on")
			for _, key := range report.Keys() {
				report.Get(key)
			}
		}
		return nil
	}
	w := &Workload{Link: p.workloadLink(t, links)}
	if !t.Has("load") {
		p.doc.Missing(t.Path(), "load", "want what is asked for over what the hardware can serve, as in load = 0.7")
	}
	w.Load = t.Number("load", 1)
	w.Horizon = p.long(t, "horizon", defaultHorizon)
	w.Warmup = p.long(t, "warmup", 0)
	w.Seeds = int(t.Integer("seeds", 1, 1, MaxSeeds))
	w.OriginA = p.origin(t)
	w.LossLink, w.LossStation = p.losses(t)
	w.Hold = p.consume(t)
	w.Poisson = p.one(t, "arrivals", "per-cycle", "poisson") == 1
	w.Deadline = p.deadline(t, 0)
	w.ReportEvery = time.Second
	if every, ok := p.duration(t, "report_every"); ok {
		w.ReportEvery = every
	}
	w.FidelitySamples = t.Number("fidelity_samples", 1)
	w.Tomography = t.Number("tomography", 0)
	w.Listen = p.purposes(t)
	if !t.Has("type") {
		p.doc.Missing(t.Path(), "type", "want a table [[workload.type]] for each type of request")
	}
	for _, t := range t.Array("type") {
		w.Types = append(w.Types, p.workloadType(t, w.Deadline))
	}
	t.Done()
	if report != nil {
		for i, v := range p.list(report, "figures") {
			name, _ := v.(string)
			if !slices.Contains(FigureGroups, name) {
				p.doc.Problem(toml.Element(report.Key("figures"), i), "unknown: want %s", choice(FigureGroups))
			}
			w.Figures = append(w.Figures, name)
		}
		report.Done()
	}
	return w
}

// workloadLink returns the position of the link that the workload is on.
func (p *parser) workloadLink(t *toml.Table, links []Link) int {
	names := make([]string, len(links))
	for i := range links {
		names[i] = links[i].Name
	}
	if !t.Has("link") {
		t.Get("link")
		if len(links) != 1 {
			p.doc.Missing(t.Path(), "link", "want the name of the link that the requests come on; there are %s", list(names))
		}
		return 0
	}
	name := t.Text("link", "")
	i := slices.Index(names, name)
	if i < 0 && name != "" {
		p.doc.Problem(t.Key("link"), "no link has this name; there are %s", list(names))
	}
	return max(i, 0)
}

// origin reads the share of the load that comes from the link's first end.
func (p *parser) origin(t *toml.Table) float64 {
	v := t.Get("origin")
	if f, ok := number(v); ok {
		return f
	}
	switch v {
	case nil, "both":
		return 0.5
	case "A":
		return 1
	case "B":
		return 0
	}
	p.doc.Problem(t.Key("origin"), `want "A", "B", "both" or A's share as a number`)
	return 0.5
}

// losses reads the probabilities that frames are lost.
func (p *parser) losses(t *toml.Table) (link, station float64) {
	switch v := t.Get("loss").(type) {
	case nil:
	case int64, float64:
		link = t.Number("loss", 0)
		station = link
	case map[string]any:
		s := t.Sub("loss")
		link, station = s.Number("link", 0), s.Number("station", 0)
		s.Done()
	default:
		p.doc.Problem(t.Key("loss"), "want a probability per frame, as in loss = 1e-4 or loss = { link = 1e-4, station = 0 }, not %s", toml.Kind(v))
	}
	return link, station
}

// consume reads how long kept pairs are held.
func (p *parser) consume(t *toml.Table) time.Duration {
	text := t.Text("consume", "at-once")
	if text == "at-once" {
		return 0
	}
	held, ok := strings.CutPrefix(text, "held ")
	v, problem := toml.Times.Parse(held)
	var d time.Duration
	if ok && problem == "" {
		d, problem = duration(v)
	}
	if !ok || problem != "" || d == 0 {
		p.doc.Problem(t.Key("consume"), `want "at-once", or "held" and a time, as in "held 10 ms"`)
	}
	return d
}

func (p *parser) workloadType(t *toml.Table, deadline time.Duration) WorkloadType {
	w := WorkloadType{Name: t.Required("name", `want a name, as in name = "NL"`)}
	if !t.Has("type") {
		p.doc.Missing(t.Path(), "type", "want type = %s", choice(requestTypeNames[:]))
	}
	w.Type = RequestType(p.one(t, "type", requestTypeNames[:]...))
	w.Share = t.Number("share", 1)
	var rated bool
	if w.Rate, rated = t.Quantity("rate", &toml.Frequencies); rated && w.Rate == 0 { // which stands for no bound where the key is left out
		p.doc.Problem(t.Key("rate"), rateRange, minRate, maxRate)
	}
	if w.Lasts, _ = p.duration(t, "lasts"); t.Has("lasts") {
		if t.Get("pairs") != nil {
			p.doc.Problem(t.Key("pairs"), "a stream, which lasts = TIME makes, has no number of pairs: leave one of both out")
		}
		if w.Lasts == 0 {
			p.doc.Problem(t.Key("lasts"), "must be positive")
		}
	} else {
		w.PairsMin, w.PairsMax = p.pairs(t)
	}
	p.cancel(t, &w)
	w.Purpose = uint64(t.Integer("purpose", 0, 0, math.MaxInt64))
	w.Bases, w.PeerBases = p.bases(t, w.Type)
	if v := t.Get("min_fidelity"); v == "highest" {
		w.Highest = true
	} else {
		if _, ok := v.(string); ok {
			p.doc.Problem(t.Key("min_fidelity"), `want a number, or "highest"`)
		} else {
			w.MinFidelity = t.Number("min_fidelity", 0)
		}
	}
	w.Priority = uint8(t.Integer("priority", 0, 0, MaxPriority))
	w.Atomic, w.Store, w.Consecutive = t.Truth("atomic"), t.Truth("store"), t.Truth("consecutive")
	w.Deadline = p.deadline(t, deadline)
	t.Done()
	return w
}

// pairs reads the number of pairs of a request, or the range that it is drawn
// from.
func (p *parser) pairs(t *toml.Table) (low, high int) {
	const key, want = "pairs", `want a number from 1 to %d, or a range such as "1..3" of at most %d numbers`
	switch v := t.Get(key).(type) {
	case nil:
		return 1, 1
	case int64:
		if v >= 1 && v <= MaxRequest {
			return int(v), int(v)
		}
	case string:
		a, b, ok := strings.Cut(v, "..")
		low, errA := strconv.Atoi(a)
		high, errB := strconv.Atoi(b)
		if ok && errA == nil && errB == nil && low >= 1 && low <= high && high <= MaxRequest && high-low < maxRange {
			return low, high
		}
	}
	p.doc.Problem(t.Key(key), want, MaxRequest, maxRange)
	return 1, 1
}

// check reports what is wrong with the settings of links.
func (l *LinkSettings) check(report reporter) {
	if l.Scheduler >= schedulers {
		report("link.scheduler", "unknown: want %s", choice(schedulerNames[:]))
	}
	if l.Scheduler != WFQ && l.Weights != nil {
		report("link.weights", "only scheduler = %q has weights", WFQ)
	}
	if l.Scheduler == WFQ && len(l.Weights) == 0 {
		report("link.weights", "want a weight for each priority, the lowest first, as in [1, 10, 0]")
	}
	if len(l.Weights) > MaxPriority+1 {
		report("link.weights", "must be at most %d, one for each priority", MaxPriority+1)
	}
	least := math.Inf(1)
	for i, w := range l.Weights {
		switch {
		case w == 0:
		case !(w >= 1e-6 && w <= 1e6):
			report(toml.Element("link.weights", i), "must be from 1e-6 to 1e6, or 0 for served first")
		default:
			least = min(least, w)
		}
	}
	if len(l.Weights) > 0 && slices.Max(l.Weights) > 1e6*least {
		report("link.weights", "the largest must be at most 1e6 times the smallest; 0 is served before all others")
	}
	if slots := l.Scheduler == Slots; slots != (l.Slot != 0) {
		report("link.slot", "scheduler = %q, and no other, wants the length of a slot, as in slot = %q", Slots, "10 ms")
	} else if slots != (len(l.Turns) > 0) || len(l.Turns) > maxSlots {
		report("link.turns", "scheduler = %q, and no other, wants the priorities that slots serve in turn, up to %d, as in [1, 0]", Slots, maxSlots)
	}
	if l.Slot < 0 || l.Slot > maxDuration {
		report("link.slot", "must be above 0 and at most 24 h")
	}
	for i, v := range l.Turns {
		if v > MaxPriority {
			report(toml.Element("link.turns", i), "want a priority from 0 to %d", MaxPriority)
		}
	}
	if l.QueueLimit < 0 || l.QueueLimit > MaxQueue {
		report("link.queue_limit", "must be from 1 to %d", MaxQueue)
	}
	if !(l.TestRounds >= 0 && l.TestRounds < 1) {
		report("link.test_rounds", "must be from 0 to below 1")
	}
	if l.Compat.EqualIncrement && l.Scheduler != WFQ {
		report("link.compat.scheduler", "only scheduler = %q has increments", WFQ)
	}
}

// check reports what is wrong with w.
func (w *Workload) check(links int, report reporter) {
	if w.Link < 0 || w.Link >= links {
		report("workload.link", "position %d: must be from 0 to %d", w.Link, links-1)
	}
	if !(w.Load > 0 && w.Load <= maxLoad) {
		report("workload.load", "must be above 0 and at most %d", maxLoad)
	}
	if w.Horizon <= 0 || w.Horizon > maxHorizon {
		report("workload.horizon", "must be above 0 and at most %d h", maxHorizon/time.Hour)
	} else if w.Warmup < 0 || w.Warmup >= w.Horizon {
		report("workload.warmup", "must be from 0 to below the horizon, of which it is a part")
	}
	if w.Seeds < 1 || w.Seeds > MaxSeeds {
		report("workload.seeds", "must be from 1 to %d", MaxSeeds)
	}
	checkRange(w.OriginA, 0, 1, "workload.origin", report)
	for _, loss := range []float64{w.LossLink, w.LossStation} {
		if !(loss >= 0 && loss < 1) {
			report("workload.loss", "must be from 0 to below 1")
			break
		}
	}
	if w.Hold < 0 || w.Hold > maxDuration {
		report("workload.consume", "must be at most 24 h")
	}
	if w.Deadline < 0 || w.Deadline > maxDuration {
		report("workload.deadline", "must be at most 24 h")
	}
	if w.ReportEvery <= 0 || w.ReportEvery > maxDuration {
		report("workload.report_every", "must be above 0 and at most 24 h")
	} else if (w.Horizon-w.Warmup)/w.ReportEvery > maxReports {
		report("workload.report_every", "must be at least a %d millionth of the horizon", maxReports/1_000_000)
	}
	checkRange(w.FidelitySamples, 0, 1, "workload.fidelity_samples", report)
	checkRange(w.Tomography, 0, 1, "workload.tomography", report)
	if len(w.Listen) > maxListen {
		report("workload.listen", "%d purposes: must be at most %d", len(w.Listen), maxListen)
	}
	if len(w.Types) == 0 || len(w.Types) > MaxTypes {
		report("workload.type", "%d types: must be from 1 to %d", len(w.Types), MaxTypes)
	}
	names := make(map[string]int, len(w.Types))
	for i := range w.Types {
		t, key := &w.Types[i], toml.Element("workload.type", i)
		if first, ok := names[t.Name]; ok {
			report(key+".name", "workload.type[%d] has this name already: give each type its own", first)
		}
		names[t.Name] = i
		t.check(key, report)
	}
	for i, name := range w.Figures {
		if !slices.Contains(FigureGroups, name) {
			report(toml.Element("report.figures", i), "unknown: want %s", choice(FigureGroups))
		}
	}
}

func (t *WorkloadType) check(key string, report reporter) {
	if !isName(strings.ToLower(t.Name), maxName, "") || t.Name == "all" {
		report(key+".name", "must be 1 to %d of A-Z, a-z, 0-9 and '-', not start with '-', and not be \"all\"", maxName)
	}
	if t.Type >= requestTypes {
		report(key+".type", "unknown: want %s", choice(requestTypeNames[:]))
	}
	if !(t.Share > 0 && t.Share <= 1e6) {
		report(key+".share", "must be above 0 and at most 1e6")
	}
	switch {
	case t.Lasts != 0:
		t.checkStream(key, report)
	case t.PairsMin < 1 || t.PairsMax < t.PairsMin || t.PairsMax > MaxRequest || t.PairsMax-t.PairsMin >= maxRange:
		report(key+".pairs", "must be from 1 to %d, at most %d numbers", MaxRequest, maxRange)
	}
	if t.Rate != 0 && !(t.Rate >= minRate && t.Rate <= maxRate) {
		report(key+".rate", rateRange, minRate, maxRate)
	}
	checkRange(t.Cancel, 0, 1, key+".cancel", report)
	if cancels := t.Cancel > 0; cancels != (t.CancelAfter > 0) || t.CancelAfter > maxDuration {
		report(key+".cancel", "want a share above 0 and a mean time up to 24 h, as in { share = 0.1, after = %q }", "1 s")
	}
	t.checkBases(key+".bases", report)
	checkRange(t.MinFidelity, 0, 1, key+".min_fidelity", report)
	if t.Priority > MaxPriority {
		report(key+".priority", "must be from 0 to %d", MaxPriority)
	}
	if t.Store && t.Type != KeepPairs {
		report(key+".store", "only pairs of type = %q, which both ends keep, can be stored", KeepPairs)
	}
	if t.Consecutive && t.Type != KeepPairs {
		report(key+".consecutive", "only type = %q has pairs that are alive together", KeepPairs)
	}
	if t.Deadline < 0 || t.Deadline > maxDuration {
		report(key+".deadline", "must be above 0 and at most 24 h")
	}
}

// OnlyWorkload returns a scenario of the link that the workload of s is on, and
// its two nodes, alone. It fails with qnet.ErrInvalid when s has no workload.
func (s *Scenario) OnlyWorkload() (*Scenario, error) {
	if s.Workload == nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "scenario %s has no [workload]", s.Name)
	}
	c, w := *s, *s.Workload
	k := s.Links[w.Link]
	c.Nodes = []Node{s.Nodes[k.A], s.Nodes[k.B]}
	k.A, k.B = 0, 1
	w.Link = 0
	c.Links, c.Workload = []Link{k}, &w
	return &c, nil
}
