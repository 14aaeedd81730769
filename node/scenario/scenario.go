// Package scenario is the description of a network: its nodes and their
// hardware, its links and how they herald entanglement. Scenarios are TOML
// files; package qstack/scenarios holds those that come with the project.
//
//	version = 1                    # of this format
//
//	[network]
//	name = "demo"                  # a-z, 0-9 and '-', at most 32
//	realm = "demo"                 # names identities; the network's name unless given
//	seed = 1                       # of every random stream; 1 unless given
//	dilation = 1                   # real seconds per emulated second; 1 unless given
//	fibre_speed = "206753 km/s"    # of light in fibre; this unless given
//
//	[hardware.ion]                 # as many sections as there are kinds of node
//	t1 = "10 s"                    # relaxation to |0⟩; none unless given
//	t2 = "1 s"                     # coherence, at most 2·t1; none beyond relaxation unless given
//	init = "10 us"                 # times of operations; none unless given
//	gate1 = "5 us"
//	gate2 = "100 us"
//	readout = "300 us"
//	gate2_depolarising = 0.005     # q in ρ → (1−q)ρ + q·I/4; 0 unless given
//	readout_error = 0.002          # probability of a wrong bit; 0 unless given
//
//	[hardware.toy]
//	memory = "depolarising"        # instead of t1 and t2:
//	memory_time = "1 s"            # ρ → e^{−t/T}ρ + (1−e^{−t/T})·I/2 on each stored qubit
//
//	[heralding.photons]
//	model = "double-click"
//	attempt_rate = "833 kHz"
//	efficiency = 0.02              # probability that a photon is detected, fibre included
//	visibility = 0.9               # squared overlap of the two photons
//	dark_counts = 5e-7             # probability per detector and time bin; 0 unless given
//	number_resolving = false       # detectors tell two photons from one; false unless given
//
//	[heralding.perfect]
//	model = "ideal"
//	attempt_rate = "1 MHz"
//	probability = 0.01             # of success per attempt
//	fidelity = 1                   # of the Werner state that a success leaves
//
//	[hardware.nv]
//	preset = "nv-lab"              # published hardware ("qnoded hw list"), or the path of a preset file
//	set = { readout_error_0 = 0.02 } # parameters ("qnoded hw show nv-lab") with other values
//
//	[heralding.nv]
//	preset = "nv-lab"
//	set = { alpha = 0.2 }
//	alphas = [0.05, 0.1, 0.3]      # in place of alpha: operating points of a single-click link, ascending
//
//	[[nodes]]
//	name = "alice"
//	hardware = "ion"
//	storage = 1                    # storage qubits; the preset's, or 0, unless given
//	cutoff = "20 ms"               # longest wait for a swap here, also as "1000 attempts"; none unless given
//
//	[[nodes]]
//	name = "bob"
//	hardware = "ion"
//
//	[[links]]
//	nodes = ["alice", "bob"]
//	name = "alice-bob"             # this unless given
//	length = "2 m"                 # of fibre; the heralding station is mid-way; the preset's unless given
//	lanes = 1                      # communication qubits at each end, as many as a preset has at most; 1 unless given
//	heralding = "photons"          # or the keys of such a section in { }
//
// How link layers work, the same for every link; all of it may be left out:
//
//	[link]
//	scheduler = "strict"           # highest priority first, fair within (default);
//	                               # "fcfs", "wfq", "edf" (earliest deadline) or "slots"
//	weights = [1, 10, 0]           # of wfq, by priority from 0 on; 0: served before all others
//	slot = "10 ms"                 # of slots: how long each is,
//	turns = [1, 0]                 # and the priority that each serves, over and over
//	queue_limit = 256              # requests that both ends hold at most; 4096 unless given
//	test_rounds = 0.01             # share of pairs measured to learn the fidelity; 0 unless given
//
//	[link.compat]                  # as in the simulations of Dahlberg et al. (arXiv:1903.09778):
//	estimator = "heralding-only"   # ignores storage, gates and read-out; or "honest" (default)
//	scheduler = "reference"        # wfq counts further pairs without weight; or "repaired" (default)
//	expire = "request"             # a lost herald voids its whole request; or "gap" (default)
//	retransmit = "reference"       # fewer frames are sent again; or "repaired" (default)
//	loss = "per-attempt"           # loss acts on each attempt too; or "frames" (default)
//
// Random requests on one link, for "qnoded sim":
//
//	[workload]
//	link = "alice-bob"             # the only one unless given
//	load = 0.7                     # pairs asked for over what the hardware can serve, of all types
//	horizon = "2130 s"             # of a run, warm-up included; 1000 s unless given
//	warmup = "30 s"                # before figures are taken; none unless given
//	seeds = 30                     # runs, their seeds counted from network.seed; 1 unless given
//	origin = "both"                # where requests come from: "A" (the end that the link names
//	                               # first), "B", "both" (default) or A's share as a number
//	loss = 1e-4                    # of frames, or { link = 1e-4, station = 0 }; none unless given
//	consume = "at-once"            # kept pairs are freed at once (default), or "held 10 ms"
//	arrivals = "per-cycle"         # at cycles of attempts (default), or "poisson"
//	deadline = "none"              # of a request, from when it is made; none unless given
//	report_every = "1 s"           # window in which throughput is counted; 1 s unless given
//	fidelity_samples = 0.1         # share of kept and prepared pairs shown to the oracle; all unless given
//	tomography = 0.05              # share of them that devices measure in X, Y or Z; none unless given
//	listen = [1, 2]                # purposes that both ends take part in; all unless given
//
//	[[workload.type]]              # a type of request, as many as there are
//	name = "NL"                    # A-Z, a-z, 0-9 and '-'
//	type = "keep"                  # or "measure" or "prepare"
//	share = 1                      # of the load, relative to the other types; 1 unless given
//	pairs = "1..3"                 # k uniform, then made with probability ∝ 1/k; or a number; 1 unless given
//	rate = "20 Hz"                 # pairs of a request per second at most; no bound unless given
//	lasts = "10 s"                 # in place of pairs: a stream at the rate, until it is told to stop after an
//	                               # exponential time of this mean
//	cancel = { share = 0.1, after = "1 s" } # requests that are cancelled, after an exponential time of this mean
//	bases = "XYZ"                  # of measured halves, drawn at random at each end (default); letters X, Y, Z,
//	                               # "CHSH" for "ZX" and at the peer the axes at ±45° to Z, or an array such as
//	                               # ["X", ["30 deg", "0 deg"]] with angles θ, φ of an axis; or of either end,
//	                               # { creator = "XZ", creator_weights = [1, 9], peer = "Z", peer_weights = [1] }
//	purpose = 1                    # told to the peer, see listen; 0 unless given
//	min_fidelity = 0.8             # or "highest": the highest that is granted; none unless given
//	priority = 2                   # 0 to 7, larger is served earlier; 0 unless given
//	atomic = false                 # served to the end once begun; false unless given
//	store = true                   # kept in storage qubits; false unless given
//	consecutive = false            # all pairs alive together; false unless given
//	deadline = "10 s"              # the workload's unless given
//
//	[report]
//	figures = ["throughput", "latency"] # groups that are printed; all unless given: requests, throughput,
//	                               # latency, scaled-latency, fidelity, queue, fairness, errors, frames
//
// Quantities are strings with a unit. An unknown key, a missing or wrong unit
// and a value out of range are errors that name file, line, column and key.
//
// This is a description only: package node makes devices, links and layers of
// it.
package scenario

import (
	"strconv"
	"strings"
	"time"

	"qstack/physical/herald"
	"qstack/physical/preset"
	"qstack/qnet"
)

// Version is the version of the format that Parse reads.
const Version = 1

// Bounds of a scenario.
const (
	MaxNodes   = 100_000
	MaxLinks   = 1_000_000
	MaxLanes   = 4096  // communication qubits of one end of a link
	MaxStorage = 65536 // storage qubits of a node
	MaxAlphas  = 100   // operating points of a link
)

// Scenario describes a network.
type Scenario struct {
	Name       string
	Realm      string  // names the nodes' identities, see qnet.NewNodeID
	Seed       uint64  // of every random stream
	Dilation   float64 // real seconds per emulated second
	FibreSpeed float64 // metres per second
	Nodes      []Node
	Links      []Link // a link's identity is its position, counted from 1
	// LinkSettings are those of the link layers of all links.
	LinkSettings LinkSettings
	Workload     *Workload // nil: none
	// Files are the files of presets that the scenario's file refers to, by their
	// paths relative to it. It needs them wherever it is read.
	Files []preset.File
}

// Node is a place with quantum hardware and a daemon.
type Node struct {
	Name     string
	Hardware Hardware
	Storage  int           // storage qubits
	Cutoff   time.Duration // longest wait of a half for its swap here; 0 for no limit
	// CutoffAttempts says the same in attempts, as stored spins suffer from them;
	// 0 for Cutoff. See Scenario.Cutoff.
	CutoffAttempts uint64
}

// Hardware says how good and how fast the qubits of a node are. The zero value
// is perfect and takes no time.
type Hardware struct {
	Name string // of its section
	// Preset is published hardware; nil for what the other fields say.
	Preset *preset.Preset
	// T1 is the time constant of relaxation to |0⟩, T2 that of coherences, in
	// seconds; 0 for none. Without relaxation T2 is pure dephasing: a phase flip
	// of probability (1−e^{−t/T2})/2.
	T1, T2 float64
	// Depolarising is T in ρ → e^{−t/T}ρ + (1−e^{−t/T})·I/2 on each qubit, in
	// seconds; 0 for none. Only one of it and T1, T2 is set.
	Depolarising float64

	Init, Gate1, Gate2, Readout time.Duration

	Gate2Depolarising float64 // q in ρ → (1−q)ρ + q·I/4 after a two-qubit gate
	ReadoutError      float64 // probability that a read-out bit is wrong
}

// Link is a fibre between two nodes with a heralding station mid-way.
type Link struct {
	Name      string
	A, B      int     // positions of its ends in Scenario.Nodes, A the one named first
	Length    float64 // metres
	Lanes     int     // communication qubits at each end
	Heralding Heralding
}

// Model names a model of heralding.
type Model string

// The models.
const (
	// Ideal succeeds with a given probability and leaves a Werner state of Φ+.
	Ideal Model = "ideal"
	// DoubleClick is the two-photon protocol of Barrett and Kok, Phys. Rev. A 71,
	// 060310(R) (2005): a click in each of two time bins heralds Ψ+ or Ψ−.
	DoubleClick Model = "double-click"
)

// Heralding says how a link makes entanglement.
type Heralding struct {
	Name string // of its section, empty when it stands in the link itself
	// Preset is published hardware; nil for what the other fields say.
	Preset *preset.Preset
	// Alphas are the bright-state populations of a link that has several operating
	// points, ascending; then Preset is that of the point with the highest fidelity.
	// Nil for the one point that the preset describes. See Points.
	Alphas      []float64
	Model       Model   // with a preset, that of its link
	AttemptRate float64 // per second

	// Of Ideal.

	Probability float64 // of success per attempt, in (0,1]
	Fidelity    float64 // of the Werner state, in [1/4,1]

	// Of DoubleClick.

	Efficiency      float64 // probability that an emitted photon is detected, fibre included, in (0,1]
	Visibility      float64 // squared overlap of the two photons' wave packets, in [0,1]
	DarkCounts      float64 // probability of a dark count per detector and time bin, in [0,1)
	NumberResolving bool    // detectors tell two photons from one
}

// Period returns the time between attempts in nanoseconds.
func (h *Heralding) Period() float64 {
	if h.Preset != nil {
		if l, err := h.Preset.Link(); err == nil && l.Model != nil {
			return l.Model.Period()
		}
	}
	return 1e9 / h.AttemptRate
}

// Point is an operating point of a link: what its attempts are made with.
type Point struct {
	Name   string         // such as "alpha=0.1"; empty for the only one
	Preset *preset.Preset // nil for what the other fields of the heralding say
}

// Points returns the operating points, in the order of Alphas. The error, of code
// qnet.ErrInvalid, is that of a preset that none of them can be made of.
func (h *Heralding) Points() ([]Point, error) {
	if len(h.Alphas) == 0 {
		return []Point{{Preset: h.Preset}}, nil
	}
	if h.Preset == nil || h.Preset.Model == nil || h.Preset.Model.Operating != operating {
		return nil, qnet.Errorf(qnet.ErrInvalid, "a model %s has no bright-state population: want the preset of a single-click link", h.Model)
	}
	points := make([]Point, len(h.Alphas))
	for i, alpha := range h.Alphas {
		name := operating + "=" + strconv.FormatFloat(alpha, 'g', -1, 64)
		p, err := h.Preset.With(name)
		if err != nil {
			return nil, err
		}
		points[i] = Point{name, p}
	}
	return points, nil
}

// operating is the parameter of which Alphas are values.
const operating = "alpha"

// best makes Preset that of the operating point with the highest fidelity.
func (h *Heralding) best() error {
	points, err := h.Points()
	if err != nil {
		return err
	}
	most := -1.0
	for _, p := range points {
		l, err := p.Preset.Link()
		if err != nil {
			return err
		}
		if f := herald.Fidelity(l.Model); f > most {
			most, h.Preset = f, p.Preset
		}
	}
	return nil
}

// use makes the heralding that of a preset. It returns what is wrong with that.
func (h *Heralding) use(p *preset.Preset) error {
	l, err := p.Link()
	if err != nil {
		return err
	}
	if l.Model == nil {
		return qnet.Errorf(qnet.ErrUnsupported, "%s prepares light and measures it, but makes no pairs", p.Name)
	}
	h.Preset, h.Model, h.AttemptRate = p, Model(p.Model.Name), 1e9/l.Model.Period()
	return nil
}

// FromPreset returns the heralding of a preset's link, and the length of its
// fibre in metres: of unequal arms the longer counts for both. The error, of code
// qnet.ErrUnsupported, says that it has none that heralds pairs.
func FromPreset(p *preset.Preset) (h Heralding, length float64, err error) {
	if err = h.use(p); err != nil {
		return Heralding{}, 0, err
	}
	l, err := p.Link()
	if err != nil {
		return Heralding{}, 0, err
	}
	return h, 2 * max(l.LengthA, l.LengthB), nil
}

// NodeIndex returns the position of the node called name, or an error of code
// qnet.ErrUnknown that names those there are.
func (s *Scenario) NodeIndex(name string) (int, error) {
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return i, nil
		}
	}
	return 0, qnet.Errorf(qnet.ErrUnknown, "network %s has no node %q; it has %s", s.Name, name, s.nodeNames())
}

// nodeNames lists the nodes for an error message.
func (s *Scenario) nodeNames() string {
	names := make([]string, len(s.Nodes))
	for i := range s.Nodes {
		names[i] = s.Nodes[i].Name
	}
	return list(names)
}

// list joins names, the first ten of them.
func list(names []string) string {
	const most = 10
	if len(names) == 0 {
		return "none"
	}
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// Cutoff returns the longest wait of a half for its swap at node i, 0 for no
// limit: in attempts, those of the slowest of its links, made without a break.
func (s *Scenario) Cutoff(i int) time.Duration {
	n := &s.Nodes[i]
	if n.CutoffAttempts == 0 {
		return n.Cutoff
	}
	var slowest float64
	for j := range s.Links {
		if k := &s.Links[j]; k.A == i || k.B == i {
			slowest = max(slowest, k.Heralding.Period())
		}
	}
	return time.Duration(min(float64(n.CutoffAttempts)*slowest, float64(maxDuration)))
}

// HalfDelay returns the travel time of light between an end of l and its
// station.
func (s *Scenario) HalfDelay(l *Link) time.Duration {
	return qnet.FibreDelay(l.Length/2, s.FibreSpeed)
}
