package preset

import (
	"math"
	"slices"

	"qstack/physical/herald"
	"qstack/physical/prepare"
	"qstack/physical/satellite"
	"qstack/qnet"
)

// Model is a way to make entanglement, with the parameters that it has.
type Model struct {
	Name    string
	Meaning string
	Params  []Param
	// Operating is the parameter that trades rate for fidelity, empty if there is
	// none.
	Operating string
	// Low and High are the range of the operating parameter in a curve; 0 stands
	// for a factor 1000 to either side of its value.
	Low, High float64

	// build returns the model of l, of which the lengths and the herald are known,
	// and completes the rest of l. What has no heralded pairs returns none. The error
	// is that of a model that can not be made.
	build func(g given, l *Link) (herald.Model, error)
}

var none = math.NaN()

// Models returns the models there are.
func Models() []*Model { return models }

// models is the table of everything a [link] may say.
var models = []*Model{
	{
		Name:    "ideal",
		Meaning: "a Werner state with a given probability",
		Params: slices.Concat([]Param{
			{Name: "probability", Min: 0, Above: true, Max: 1, Required: true, Meaning: "that an attempt succeeds"},
			{Name: "fidelity", Min: 0.25, Max: 1, Required: true, Meaning: "of the Werner state that a success leaves"},
		}, lengthParams, timingParams),
		build: func(g given, l *Link) (herald.Model, error) {
			return herald.Ideal{Probability: g.number("probability"), Fidelity: g.number("fidelity"), PeriodNS: g.period(l)}, nil
		},
	},
	{
		Name:    "single-click",
		Meaning: "one photon, from either end, heralds (Cabrillo et al., 1999)",
		Params: slices.Concat(perArm([]Param{
			{Name: "alpha", Max: 1, Required: true, Meaning: "bright-state population"},
			{Name: "phase_std", Kind: Angle, Max: 2 * math.Pi, Meaning: "standard deviation of the optical phase of an arm"},
			{Name: "double_excitation", Max: 1, Meaning: "probability that an emitter emits twice"},
		}), []Param{
			{Name: "extra_dephasing", Max: 1, Meaning: "what is lost of the coherence for any other reason"},
			{Name: "estimator", Kind: Choice, Choices: []string{"exact", "heralding-only"}, Meaning: "the exact model, or what the link layer of Dahlberg et al. (2019) estimates"},
		}, photonParams, lengthParams, timingParams),
		Operating: "alpha", Low: 1e-3, High: 0.5,
		build: func(g given, l *Link) (herald.Model, error) {
			g.efficiencies(l)
			m := herald.SingleClick{
				AlphaA: g.arm("alpha", "a"), AlphaB: g.arm("alpha", "b"),
				EtaA: l.EfficiencyA, EtaB: l.EfficiencyB,
				Visibility: g.number("visibility"), DarkCount: g.dark(),
				PhaseStdA: g.arm("phase_std", "a"), PhaseStdB: g.arm("phase_std", "b"),
				DoubleExcitationA: g.arm("double_excitation", "a"), DoubleExcitationB: g.arm("double_excitation", "b"),
				ExtraDephasing:  g.number("extra_dephasing"),
				NumberResolving: g.truth("number_resolving"),
				PeriodNS:        g.period(l),
			}
			if g.text("estimator") == "heralding-only" {
				return herald.HeraldingOnly{SingleClick: m}, nil
			}
			return m, nil
		},
	},
	{
		Name:    "double-click",
		Meaning: "a photon from each end heralds (Barrett and Kok, 2005)",
		Params:  slices.Concat(photonParams, lengthParams, timingParams),
		build: func(g given, l *Link) (herald.Model, error) {
			g.efficiencies(l)
			return herald.DoubleClick{
				EtaA: l.EfficiencyA, EtaB: l.EfficiencyB,
				Visibility: g.number("visibility"), DarkCount: g.dark(),
				NumberResolving: g.truth("number_resolving"),
				PeriodNS:        g.period(l),
			}, nil
		},
	},
	{
		Name:      "pair-source",
		Meaning:   "photon pairs from a source mid-way, measured on arrival",
		Params:    slices.Concat(pairParams, channelParams, lengthParams, modesParams),
		Operating: "pair_rate",
		build: func(g given, l *Link) (herald.Model, error) {
			g.efficiencies(l)
			return g.pairs(l).PairSource()
		},
	},
	{
		Name:    "satellite",
		Meaning: "photon pairs from a satellite, measured at two stations that it passes over; at its best instant",
		Params: slices.Concat(pairParams, []Param{
			{Name: "altitude", Kind: Length, Min: 1e5, Max: 5e7, Required: true, Meaning: "of the orbit"},
			{Name: "min_elevation", Kind: Angle, Min: 5 * degree, Max: math.Pi / 2, Default: 10 * degree, Meaning: "at which contact begins"},
			{Name: "wavelength", Kind: Wavelength, Min: 1e-7, Max: 1e-4, Required: true, Meaning: "of the photons"},
			{Name: "waist", Kind: Length, Above: true, Max: 100, Required: true, Meaning: "1/e² radius of the beam at the satellite"},
			{Name: "divergence", Kind: Angle, Above: true, Max: 0.01, Required: true, Meaning: "half angle of the beam in the far field"},
			{Name: "pointing", Kind: Angle, Max: 0.01, Meaning: "standard deviation of the pointing error in each axis"},
			{Name: "zenith", Min: 0.77, Max: 1, Required: true, Meaning: "transmission of the air at zenith"},
			{Name: "step", Kind: Time, Min: 0.01, Max: 3600, Default: 1, Meaning: "of the table of losses during a pass"},
		}, perArm([]Param{
			{Name: "efficiency", Max: 1, Default: 1, Meaning: "apart from what is given in pieces"},
			{Name: "collection", Max: 1, Default: 1, Meaning: "probability that a photon of the source enters the telescope"},
			{Name: "detector", Max: 1, Default: 1, Meaning: "efficiency of the detectors"},
			{Name: "max_elevation", Kind: Angle, Above: true, Max: math.Pi / 2, Required: true, Meaning: "of the satellite above the horizon of a station"},
			{Name: "culmination", Kind: Time, Max: 1e9, Default: none, Meaning: "when it is there; as early as the whole pass is after the epoch unless given"},
			{Name: "aperture", Kind: Length, Above: true, Max: 100, Required: true, Meaning: "diameter of a station's telescope"},
			{Name: "path_loss", Kind: Loss, Max: 200, Meaning: "of everything else on the way"},
			{Name: "background", Kind: Frequency, Max: 1e9, Meaning: "clicks of each detector by light of the sky"},
		})),
		Operating: "pair_rate",
		build: func(g given, l *Link) (herald.Model, error) {
			eta := func(arm string) float64 {
				return g.arm("efficiency", arm) * g.arm("collection", arm) * g.arm("detector", arm)
			}
			l.EfficiencyA, l.EfficiencyB = eta("a"), eta("b") // with the receivers beside the source
			s := satellite.Source{
				A: g.downlink("a"), B: g.downlink("b"), Pairs: g.pairs(l),
				BackgroundA: g.arm("background", "a"), BackgroundB: g.arm("background", "b"),
				Step: g.number("step"),
			}
			var err error
			if l.Schedule, err = s.Schedule(); err != nil {
				return nil, err
			}
			var best herald.PairSource
			for _, segment := range l.Schedule {
				if m, ok := segment.Model.(herald.PairSource); ok && m.SuccessProbability() > best.SuccessProbability() {
					best = m
				}
			}
			l.EfficiencyA, l.EfficiencyB = best.EtaA, best.EtaB
			return best, nil
		},
	},
	{
		Name:    "memory-source",
		Meaning: "photon pairs from a source mid-way, caught by memories that announce it",
		Params: slices.Concat([]Param{
			{Name: "pairs", Above: true, Max: 100, Required: true, Meaning: "mean number of pairs that the source creates in an attempt"},
			{Name: "visibility", Max: 1, Default: 1, Meaning: "of the pairs once stored: their fidelity is (1+3V)/4"},
		}, perArm([]Param{
			{Name: "write", Max: 1, Required: true, Meaning: "probability that a photon that arrives is stored"},
			{Name: "false_load", Max: 0.999999, Meaning: "probability that a memory takes itself to be loaded, in an attempt, by something else"},
		}), channelParams, lengthParams, timingParams),
		Operating: "pairs",
		build: func(g given, l *Link) (herald.Model, error) {
			g.efficiencies(l)
			return herald.MemorySource{
				MeanPairs: g.number("pairs"),
				EtaA:      l.EfficiencyA * g.arm("write", "a"), EtaB: l.EfficiencyB * g.arm("write", "b"),
				Visibility: g.number("visibility"),
				FalseA:     g.arm("false_load", "a"), FalseB: g.arm("false_load", "b"),
				PeriodNS: g.period(l),
			}, nil
		},
	},
	{
		Name:    "absorptive",
		Meaning: "a pair source and an absorbing memory at each end; a photon from each end heralds",
		Params: slices.Concat(perArm([]Param{
			{Name: "pairs", Max: 1, Required: true, Meaning: "probability that the source emits its pair; with squeezed the mean number of pairs"},
			{Name: "pair_visibility", Max: 1, Default: 1, Meaning: "of the entanglement between the two photons of a pair"},
			{Name: "write", Max: 1, Required: true, Meaning: "probability that the photon for the memory is stored"},
			{Name: "read", Max: 1, Required: true, Meaning: "probability that a stored photon is detected at read-out"},
			{Name: "storage_time", Kind: Time, Max: 3600, Required: true, Meaning: "from write to read-out"},
			{Name: "memory_lifetime", Kind: Time, Max: 3600, Meaning: "after which 1/e of the stored photons are left; 0 for no loss"},
			{Name: "noise", Max: 0.999999, Meaning: "probability that a detector behind the memory clicks at read-out without a stored photon"},
		}), []Param{
			{Name: "squeezed", Kind: Truth, Max: 1, Meaning: "the sources emit two-mode squeezed vacuum, not one pair or none"},
			{Name: "gaussian", Kind: Truth, Max: 1, Meaning: "the memory decays as exp(−(t/T)²), not as exp(−t/T)"},
			{Name: "visibility", Max: 1, Default: 1, Meaning: "squared overlap of the photons that meet mid-way"},
			{Name: "window", Kind: Time, Max: 1, Default: none, Meaning: "in which a click counts"},
			{Name: "dark_rate", Kind: Frequency, Max: 1e9, Default: none, Meaning: "dark counts of a detector mid-way"},
			{Name: "dark_count", Max: 0.999999, Default: none, Meaning: "probability of a dark count in the window, instead of dark_rate"},
		}, channelParams, lengthParams, timingParams),
		Operating: "pairs", Low: 1e-4, High: 1,
		build: func(g given, l *Link) (herald.Model, error) {
			g.efficiencies(l)
			end := func(arm string, eta float64) herald.AbsorptiveEnd {
				return herald.AbsorptiveEnd{
					Pairs: g.arm("pairs", arm), Eta: eta,
					Memory: herald.PhotonMemory{
						Write: g.arm("write", arm), Read: g.arm("read", arm),
						StorageNS: g.arm("storage_time", arm) * 1e9, LifetimeNS: g.arm("memory_lifetime", arm) * 1e9,
						Gaussian: g.truth("gaussian"), Noise: g.arm("noise", arm),
					},
				}
			}
			m := herald.Absorptive{
				A: end("a", l.EfficiencyA), B: end("b", l.EfficiencyB),
				VisibilityA: g.arm("pair_visibility", "a"), VisibilityB: g.arm("pair_visibility", "b"),
				Visibility: g.number("visibility"), DarkCount: g.dark(),
				HeraldNS: l.Herald * 1e9, PeriodNS: g.period(l),
			}
			if g.truth("squeezed") {
				m.Source = herald.SqueezedPairs
			}
			return m, nil
		},
	},
	{
		Name:    "decoy-bb84",
		Meaning: "BB84 with weak coherent pulses, a decoy and vacuum, from end to end",
		Params: slices.Concat([]Param{
			{Name: "pulse_rate", Kind: Frequency, Above: true, Max: 1e12, Required: true, Meaning: "pulses per second"},
			{Name: "signal", Above: true, Max: 100, Required: true, Meaning: "mean number of photons of a signal pulse"},
			{Name: "decoy", Above: true, Max: 100, Required: true, Meaning: "mean number of photons of a decoy pulse"},
			{Name: "signal_share", Above: true, Max: 1, Required: true, Meaning: "of the pulses"},
			{Name: "decoy_share", Max: 1, Required: true, Meaning: "of the pulses; the rest is vacuum"},
			{Name: "key_basis", Max: 1, Default: 0.5, Meaning: "probability with which either end takes the basis of the key"},
			{Name: "dark_count", Max: 0.5, Meaning: "probability that a detector clicks without a photon in the time of a pulse"},
			{Name: "misalignment", Max: 0.5, Meaning: "probability that a photon goes to the wrong detector"},
			{Name: "correction", Min: 1, Max: 10, Default: 1.16, Meaning: "bits disclosed over Shannon's limit by error correction"},
		}, pathParams, oneWay),
		Operating: "signal",
		build: func(g given, l *Link) (herald.Model, error) {
			g.wholeWay(l)
			share := g.number("key_basis")
			d := prepare.DecoyBB84{
				Receiver: prepare.Receiver{Transmission: l.EfficiencyA, Dark: g.number("dark_count"), Misalignment: g.number("misalignment")},
				Bases:    prepare.Bases{SenderZ: share, ReceiverZ: share},
				Intensities: []prepare.Intensity{
					{Mean: g.number("signal"), Probability: g.number("signal_share")},
					{Mean: g.number("decoy"), Probability: g.number("decoy_share")},
					{Mean: 0, Probability: 1 - g.number("signal_share") - g.number("decoy_share")},
				},
			}
			if err := d.Validate(); err != nil {
				return nil, err
			}
			signal := d.Coherent(g.number("signal"))
			sift := g.number("signal_share") * (share*share + (1-share)*(1-share))
			l.Prepared = &Prepared{PulseNS: 1e9 / g.number("pulse_rate"), Gain: signal.Gain, ErrorRate: signal.Error, KeyRate: sift * d.KeyRate(g.number("correction")), BB84: &d}
			return nil, nil
		},
	},
	{
		Name:    "twin-field",
		Meaning: "weak coherent pulses from both ends to a mid-point that nobody needs to trust",
		Params: slices.Concat([]Param{
			{Name: "pulse_rate", Kind: Frequency, Above: true, Max: 1e12, Required: true, Meaning: "pulses per second"},
			{Name: "mean", Above: true, Max: 100, Default: none, Meaning: "photons of a key pulse as it leaves, at either end; the best unless given"},
			{Name: "key_share", Above: true, Max: 1, Default: 1, Meaning: "of the rounds that are for the key at both ends"},
			{Name: "dark_count", Max: 0.5, Meaning: "probability that a detector clicks without a photon in the time of a pulse"},
			{Name: "misalignment", Max: 0.5, Meaning: "fraction of the light that goes to the wrong detector"},
			{Name: "phase_offset", Kind: Angle, Min: -math.Pi, Max: math.Pi, Meaning: "mean phase between the arms"},
			{Name: "phase_noise", Kind: Angle, Max: 100, Meaning: "standard deviation of the phase between the arms"},
			{Name: "correction", Min: 1, Max: 10, Default: 1.16, Meaning: "bits disclosed over Shannon's limit by error correction"},
		}, channelParams, lengthParams),
		Operating: "mean", Low: 1e-4, High: 1,
		build: func(g given, l *Link) (herald.Model, error) {
			g.efficiencies(l)
			t := prepare.TwinField{
				EtaA: l.EfficiencyA, EtaB: l.EfficiencyB, Dark: g.number("dark_count"), Misalignment: g.number("misalignment"),
				PhaseOffset: g.number("phase_offset"), PhaseNoise: g.number("phase_noise"),
			}
			if err := t.Validate(); err != nil {
				return nil, err
			}
			f := g.number("correction")
			a, b := g.number("mean"), g.number("mean")
			if !g.has("mean") {
				a, b = t.BestMeans(f)
			}
			right, wrong := t.Coherent(a, b)
			key := func(mean float64) prepare.TwinFieldSender {
				return prepare.TwinFieldSender{Key: prepare.Intensity{Mean: mean, Probability: 1}}
			}
			l.Prepared = &Prepared{Twin: &Twin{t, key(a), key(b)}, PulseNS: 1e9 / g.number("pulse_rate"), Gain: right + wrong, ErrorRate: wrong / (right + wrong), KeyRate: g.number("key_share") * t.KeyRate(a, b, f)}
			return nil, nil
		},
	},
}

// pairParams are those of a source of photon pairs that are measured on arrival.
var pairParams = slices.Concat([]Param{
	{Name: "pair_rate", Kind: Frequency, Above: true, Max: 1e12, Required: true, Meaning: "pairs that the source creates per second"},
	{Name: "visibility", Max: 1, Default: 1, Meaning: "of the pairs: their fidelity is (1+3V)/4"},
	{Name: "window", Kind: Time, Above: true, Max: 1, Required: true, Meaning: "full width of the coincidence window, which is an attempt"},
	{Name: "jitter", Kind: Time, Max: 1, Meaning: "standard deviation of the difference of the two clicks of a pair"},
}, perArm([]Param{
	{Name: "dark_rate", Kind: Frequency, Max: 1e9, Meaning: "clicks of each of the two detectors of an end without pairs"},
	{Name: "dead_time", Kind: Time, Max: 1, Meaning: "of a detector"},
}))

const degree = math.Pi / 180

// channelParams are those of the photons' way. The efficiency of an arm is the
// product of all that is given of it.
var channelParams = perArm(pathParams)

var pathParams = []Param{
	{Name: "efficiency", Max: 1, Default: 1, Meaning: "apart from what is given in pieces"},
	{Name: "collection", Max: 1, Default: 1, Meaning: "probability that an emitted photon enters the fibre"},
	{Name: "conversion", Max: 1, Default: 1, Meaning: "efficiency of the frequency conversion"},
	{Name: "insertion_loss", Kind: Loss, Max: 1000, Meaning: "of connectors, splices and filters"},
	{Name: "attenuation", Kind: Attenuation, Max: 1e4, Meaning: "of the fibre"},
	{Name: "detector", Max: 1, Default: 1, Meaning: "efficiency of the detectors"},
}

// photonParams belong to emitters at both ends and detectors mid-way.
var photonParams = slices.Concat(channelParams, perArm([]Param{
	{Name: "zero_phonon", Max: 1, Default: 1, Meaning: "share of the emission in the zero-phonon line"},
	{Name: "emission_lifetime", Kind: Time, Max: 1, Default: none, Meaning: "of the excited state; of an exponential photon only what falls in the window counts"},
}), []Param{
	{Name: "visibility", Max: 1, Default: 1, Meaning: "squared overlap of the photons of both ends"},
	{Name: "window", Kind: Time, Max: 1, Default: none, Meaning: "in which a click counts"},
	{Name: "dark_rate", Kind: Frequency, Max: 1e9, Default: none, Meaning: "dark counts of a detector"},
	{Name: "dark_count", Max: 0.999999, Default: none, Meaning: "probability of a dark count in the window, instead of dark_rate"},
	{Name: "number_resolving", Kind: Truth, Max: 1, Meaning: "detectors tell two photons from one"},
})

var lengthParams = []Param{
	{Name: "length", Kind: Length, Max: 1e8, Default: none, Meaning: "of fibre between the ends; the station is mid-way"},
	{Name: "length_a", Kind: Length, Max: 1e8, Default: none, Meaning: "of fibre between end A and the station, instead of length"},
	{Name: "length_b", Kind: Length, Max: 1e8, Default: none, Meaning: "of fibre between end B and the station, instead of length"},
	{Name: "fibre_speed", Kind: Speed, Min: 1e8, Max: 299_792_458, Default: qnet.FibreSpeed, Meaning: "of light in the fibre"},
}

// oneWay is the length of a link without a mid-point.
var oneWay = []Param{
	{Name: "length", Kind: Length, Max: 1e8, Default: none, Meaning: "of fibre between the ends"},
	lengthParams[3],
}

var modesParams = []Param{
	{Name: "modes", Kind: Count, Min: 1, Max: 1e6, Default: 1, Meaning: "in which each attempt is made at once"},
}

var timingParams = slices.Concat([]Param{
	{Name: "attempt_time", Kind: Time, Above: true, Max: 3600, Default: none, Meaning: "from one attempt to the next"},
	{Name: "attempt_rate", Kind: Frequency, Above: true, Max: 1e12, Default: none, Meaning: "attempts per second, instead of attempt_time"},
	{Name: "local_time", Kind: Time, Max: 3600, Default: none, Meaning: "what an attempt takes apart from the herald's round trip, instead of attempt_time"},
	{Name: "await_herald", Kind: Truth, Max: 1, Default: 1, Meaning: "an attempt begins when the herald of the one before is back"},
}, modesParams)

// perArm returns the parameters with those of arm A and arm B alone, which go
// before them.
func perArm(params []Param) []Param {
	var out []Param
	for _, p := range params {
		out = append(out, p)
		for _, arm := range []string{"a", "b"} {
			q := p
			q.Name, q.Default, q.Required = p.Name+"_"+arm, none, false
			q.Meaning = p.Meaning + ", at end " + string(arm[0]-'a'+'A')
			out = append(out, q)
		}
	}
	return out
}

// modelNamed returns a model by its name, nil if there is none.
func modelNamed(name string) *Model {
	for _, m := range models {
		if m.Name == name {
			return m
		}
	}
	return nil
}

func modelNames() []string {
	names := make([]string, len(models))
	for i, m := range models {
		names[i] = m.Name
	}
	return names
}
