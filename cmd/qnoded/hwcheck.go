package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"qstack/physical/preset"
)

func newHWCheck() *cobra.Command {
	var asJSON, asMarkdown bool
	var against string
	cmd := &cobra.Command{
		Use:   "check [PRESET...]",
		Short: "Compare what was published with what is emulated",
		Long: `Compare the published numbers of presets, of all unless some are named, with what
their models give. The verdict of a row is

  pass         a prediction agrees: the number is no input, and nothing was fitted to it
  fail         a prediction is off, or a fit that was done again gives another parameter
  fitted       a parameter was fitted to the number, so that agreement means nothing
  informative  not judged: inputs are missing, or the source is recalled or derived

Only numbers of primary and secondary sources are judged. Every fit is done again.
A row that the table "published against emulated" lists as predicted must be
predicted still: --against names another document that has the table. Failing is
exit code 1.`,
		Example: `  qnoded hw check
  qnoded hw check nv-2018-hr rb-2022-6km --json
  qnoded hw check --markdown --against docs/physics.md`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if asJSON && asMarkdown {
				return usage("--json and --markdown: choose one")
			}
			l, err := preset.Open()
			if err != nil {
				return err
			}
			document := preset.Table
			if against != "" {
				data, err := os.ReadFile(against)
				if err != nil {
					return usage("--against: %v", err)
				}
				document = string(data)
				if len(preset.Claims(document)) == 0 {
					return usage("--against: %s has no table of published against emulated with a row that is predicted; \"qnoded hw check --markdown\" prints one", against)
				}
			}
			presets := l.Presets()
			if len(names) > 0 {
				presets = nil
				for _, name := range names {
					p, err := loadPreset(l, name, nil)
					if err != nil {
						return err
					}
					presets = append(presets, p)
				}
			}
			var reports []*preset.Report
			failed := false
			for _, p := range presets {
				r, err := l.Check(p)
				if err != nil {
					return badConfig(err)
				}
				failed = failed || r.Verdict == preset.Fail
				reports = append(reports, r)
			}
			unmet := preset.Unmet(preset.Claims(document), reports, len(names) == 0)
			out := cmd.OutOrStdout()
			switch {
			case asJSON:
				err = encode(out, checked{reports, append([]string{}, unmet...)})
			case asMarkdown:
				err = preset.Markdown(out, reports)
			default:
				err = writeCheck(out, reports)
			}
			for _, u := range unmet {
				fmt.Fprintln(cmd.ErrOrStderr(), u)
			}
			if failed || len(unmet) > 0 {
				return errors.Join(err, errVerdict)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "print the tables of the documentation")
	cmd.Flags().StringVar(&against, "against", "", "`FILE` whose table says what must be predicted (default: the table that comes with the program)")
	return cmd
}

// checked is the result of a check.
type checked struct {
	Presets []*preset.Report `json:"presets"`
	Unmet   []string         `json:"unmet"` // predictions that a document lists, and there are none
}

// writeCheck prints reports for people.
func writeCheck(w io.Writer, reports []*preset.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "preset\tquantity\tpublished\ttrust\temulated\ttolerance\tverdict\tnote")
	for _, r := range reports {
		for _, row := range r.Rows {
			published := fmt.Sprintf("%.4g", row.Published)
			if row.Uncertainty > 0 {
				published += fmt.Sprintf(" ± %.2g", row.Uncertainty)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.4g\t%s\t%s\t%s\n", row.Preset, row.Quantity, published, row.Tag, row.Emulated, dash(row.Tolerance), row.Verdict, row.Note)
		}
		published := func(row preset.Row) bool { return row.Quantity == "rate_hz" }
		if r.Derived != nil && !slices.ContainsFunc(r.Rows, published) {
			fmt.Fprintf(t, "%s\trate_hz\t-\t-\t%.4g\t-\t%s\tnothing published\n", r.Preset, r.Derived.RateHz, preset.IsInformative)
			if f := r.Derived.FidelityDelivered; f > 0 && len(r.Rows) == 0 {
				fmt.Fprintf(t, "%s\tfidelity_delivered\t-\t-\t%.4g\t-\t%s\tnothing published\n", r.Preset, f, preset.IsInformative)
			}
		}
	}
	fmt.Fprintln(t, "\npreset\tfitted parameter\tstored\tfitted again\tto\t\tverdict")
	for _, r := range reports {
		for _, f := range r.Fits {
			fmt.Fprintf(t, "%s\t%s\t%.6g\t%.6g\t%s of %s\t\t%s\n", f.Preset, f.Parameter, f.Stored, f.Refitted, f.Quantity, f.To, f.Verdict)
		}
	}
	return t.Flush()
}
