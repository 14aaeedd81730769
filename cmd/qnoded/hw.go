package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"qstack/physical/preset"
	"qstack/qnet"
)

func newHW() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hw",
		Short: "Show published quantum hardware and how well it is emulated",
		Long: `Presets are published links and devices: every number with its source and how
far that is to be trusted. A PRESET is the name of one that comes with the
program, or the path of a file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage("hw needs a command: list, show, check, curve or emulate; see %s -h", cmd.CommandPath())
		},
		Example: `  qnoded hw list
  qnoded hw show nv-lab --set alpha=0.2
  qnoded hw check
  qnoded hw curve nv-2018-hf -o curve.svg
  qnoded hw emulate nv-2018-hf`,
	}
	cmd.AddCommand(newHWList(), newHWShow(), newHWCheck(), newHWCurve(), newHWEmulate())
	return cmd
}

// openPreset reads a preset for a command that needs no other.
func openPreset(name string, set []string) (*preset.Preset, error) {
	l, err := preset.Open()
	if err != nil {
		return nil, err
	}
	return loadPreset(l, name, set)
}

// loadPreset reads a preset, with the given parameters changed.
func loadPreset(l *preset.Library, name string, set []string) (*preset.Preset, error) {
	p, err := l.Load(name)
	switch {
	case qnet.CodeOf(err) == qnet.ErrUnknown:
		return nil, usage("%v", err)
	case err != nil:
		return nil, badConfig(err)
	}
	if len(set) > 0 {
		if p, err = p.With(set...); err != nil {
			return nil, usage("--set: %v", err)
		}
	}
	return p, nil
}

// listed is a preset in a list.
type listed struct {
	Preset             string     `json:"preset"`
	Title              string     `json:"title"`
	Model              string     `json:"model,omitempty"`
	DistanceM          float64    `json:"distance_m"`
	SuccessProbability float64    `json:"success_probability,omitempty"`
	RateHz             float64    `json:"rate_hz,omitempty"`
	Fidelity           float64    `json:"fidelity,omitempty"`
	Tag                preset.Tag `json:"tag,omitempty"` // the best among its sources
}

func newHWList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the presets",
		Long: `List the presets with the rate and fidelity that their models give, and the best
trust tag among their sources: primary (read in the publication), secondary (in
another that restates it), recalled (from memory).`,
		Example: "  qnoded hw list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := preset.Open()
			if err != nil {
				return err
			}
			var list []listed
			for _, p := range l.Presets() {
				e := listed{Preset: p.Name, Title: p.Title, DistanceM: p.Distance(), Tag: p.BestTag()}
				if p.Model != nil {
					r, err := p.Results()
					if err != nil {
						return err
					}
					e.Model, e.SuccessProbability, e.RateHz, e.Fidelity = p.Model.Name, r.SuccessProbability, r.RateHz, r.Fidelity
				}
				list = append(list, e)
			}
			if asJSON {
				return encode(cmd.OutOrStdout(), list)
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(t, "name\tmodel\tdistance\trate\tfidelity\ttrust\ttitle")
			for _, e := range list {
				if e.Model == "" {
					fmt.Fprintf(t, "%s\t-\t-\t-\t-\t%s\t%s\n", e.Preset, dash(string(e.Tag)), e.Title)
					continue
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Preset, e.Model, metres(e.DistanceM), rate(e.RateHz), dashed(e.Fidelity, "%.3f"), dash(string(e.Tag)), e.Title)
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return cmd
}

func newHWShow() *cobra.Command {
	var asJSON bool
	var set []string
	cmd := &cobra.Command{
		Use:   "show PRESET",
		Short: "Show the parameters of a preset, their sources, and what follows",
		Long: `Show the parameters of a preset with their sources, and what follows from them:
the attempt period, success probability, rate and fidelity, and how many pairs
come within the life of a memory. With --set it shows what another value makes of
it; a value that stands for others, such as attempt_rate for attempt_time, takes
their place.`,
		Example: `  qnoded hw show nv-lab
  qnoded hw show nv-lab --set estimator=heralding-only --json
  qnoded hw show rb-2022-33km --set "length=60 km"
  qnoded hw show ./mine.toml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, a []string) error {
			p, err := openPreset(a[0], set)
			if err != nil {
				return err
			}
			d, err := p.Describe()
			if err != nil {
				return err
			}
			if asJSON {
				return encode(cmd.OutOrStdout(), d)
			}
			return writePreset(cmd.OutOrStdout(), p, d)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object, numbers in base units")
	cmd.Flags().StringArrayVar(&set, "set", nil, "give a parameter another value: `NAME=VALUE`, as in --set alpha=0.1; may be repeated")
	return cmd
}

// writePreset prints a preset for people.
func writePreset(w io.Writer, p *preset.Preset, d *preset.Description) error {
	fmt.Fprintf(w, "%s: %s\n", d.Preset, d.Title)
	if d.Model != "" {
		fmt.Fprintf(w, "model %s: %s\n", p.Model.Name, p.Model.Meaning)
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	section := ""
	for _, q := range d.Parameters {
		if q.Section != section {
			section = q.Section
			fmt.Fprintf(t, "\n%s\tvalue\tsource\ttrust\tmeaning\n", section)
		}
		meaning := q.Meaning
		if q.Note != "" {
			meaning += " (" + q.Note + ")"
		}
		value := fmt.Sprint(q.Value)
		if x, ok := q.Value.(float64); ok {
			value = strconv.FormatFloat(x, 'g', 6, 64)
			if q.Unit != "" {
				value = strings.TrimSpace(prefixed(x, q.Unit))
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", q.Name, value, q.Source, dash(string(q.Tag)), meaning)
	}
	if r := d.Derived; r != nil {
		fmt.Fprintln(t, "\nderived\tvalue")
		for _, line := range [][2]string{
			{"attempt_s", prefixed(r.AttemptS, "s")},
			{"success_probability", strconv.FormatFloat(r.SuccessProbability, 'g', 6, 64)},
			{"rate_hz", rate(r.RateHz)},
			{"fidelity", dashed(r.Fidelity, "%.4f")},
			{"fidelity_delivered", dashed(r.FidelityDelivered, "%.4f")},
			{"efficiency_a", dashed(r.EfficiencyA, "%.4g")},
			{"efficiency_b", dashed(r.EfficiencyB, "%.4g")},
			{"qber", dashed(r.ErrorRate, "%.4g")},
			{"key_rate_hz", dashedUnit(r.KeyRateHz, "Hz")},
			{"contact_s", dashed(r.ContactS, "%.4g s")},
			{"pairs", dashed(r.Pairs, "%.4g")},
			{"herald_s", prefixed(r.HeraldS, "s")},
			{"memory_s", dashedUnit(r.MemoryS, "s")},
			{"memory_to_rate", dashed(r.MemoryToRate, "%.4g")},
		} {
			if line[1] != "-" {
				fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
			}
		}
	}
	if len(p.Sources) > 0 {
		fmt.Fprintln(t, "\nsources")
		for _, s := range p.Sources {
			fmt.Fprintf(t, "%s\t%s (%s)\n", s.Key, s.Cite, s.Tag)
		}
	}
	return t.Flush()
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// dashed formats a number that is 0 when it does not apply.
func dashed(x float64, format string) string {
	if x == 0 {
		return "-"
	}
	return fmt.Sprintf(format, x)
}

func dashedUnit(x float64, unit string) string {
	if x == 0 {
		return "-"
	}
	return prefixed(x, unit)
}

func metres(m float64) string { return prefixed(m, "m") }

func rate(hz float64) string { return prefixed(hz, "Hz") }

// prefixed formats a quantity with the prefix that makes it readable, where the
// unit takes one.
func prefixed(x float64, unit string) string {
	format := func(x float64, unit string) string { return strconv.FormatFloat(x, 'g', 6, 64) + " " + unit }
	if x == 0 || !slices.Contains([]string{"s", "m", "Hz"}, unit) {
		return format(x, unit)
	}
	if unit == "s" && x >= 1 || unit == "m" && x < 1000 {
		return format(x, unit)
	}
	for _, p := range []struct {
		scale float64
		name  string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}, {1e-3, "m"}, {1e-6, "u"}, {1e-9, "n"}} {
		if x >= p.scale {
			return format(x/p.scale, p.name+unit)
		}
	}
	return format(x, unit)
}
