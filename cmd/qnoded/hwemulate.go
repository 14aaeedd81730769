package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"qstack/app/emulate"
	"qstack/physical/preset"
	"qstack/qnet"
)

func newHWEmulate() *cobra.Command {
	var asJSON bool
	var set []string
	o := emulate.Options{Pairs: 10_000, Seed: 1}
	cmd := &cobra.Command{
		Use:   "emulate PRESET",
		Short: "Run the link of a preset in virtual time and measure it",
		Long: `Run the link of a preset in virtual time, with the link layers and the heralding
station of a network of two nodes, and measure what it delivers: rate, fidelity
(from correlations of measured pairs, and as the oracle sees kept ones), and which
Bell states are announced; each with its 95 % interval and what the model of the
preset says. Where light is prepared and measured, and no pair is made, it counts
detections and errors for each intensity. It fails when something is more than
five standard errors away. The same seed gives the same result.`,
		Example: `  qnoded hw emulate nv-lab --pairs 100000
  qnoded hw emulate rb-2022-33km --json
  qnoded hw emulate ion-2020 --set visibility=0.95`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, a []string) error {
			p, err := openPreset(a[0], set)
			if err != nil {
				return err
			}
			if o.Pairs < 100 {
				return usage("--pairs: %d: want at least 100, for intervals that mean something", o.Pairs)
			}
			if o.Kept < 0 {
				return usage("--kept: %d: want at least 1, or 0 for the default", o.Kept)
			}
			var finish func()
			o.Progress, finish = newProgress(cmd.ErrOrStderr())
			defer finish()
			r, agrees, err := runEmulation(cmd.Context(), p, o)
			finish()
			switch {
			case errors.Is(err, qnet.ErrUnsupported):
				return usage("%v", err)
			case err != nil:
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			if asJSON {
				err = encode(cmd.OutOrStdout(), r)
			} else {
				err = r.WriteTable(cmd.OutOrStdout())
			}
			if err == nil && !agrees {
				err = errVerdict
			}
			return err
		},
	}
	cmd.Flags().IntVar(&o.Pairs, "pairs", o.Pairs, "`N`umber of pairs, or detections, to measure")
	cmd.Flags().IntVar(&o.Kept, "kept", 0, "`N`umber of pairs to keep for the oracle (default: a tenth of --pairs, at most 1000)")
	cmd.Flags().Uint64Var(&o.Seed, "seed", o.Seed, "seed of every random stream")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().StringArrayVar(&set, "set", nil, "give a parameter another value: `NAME=VALUE`; may be repeated")
	return cmd
}

// table is a report that people can read.
type table interface{ WriteTable(w io.Writer) error }

// runEmulation runs a link of either kind: one that makes pairs, or one on which
// light is prepared and measured.
func runEmulation(ctx context.Context, p *preset.Preset, o emulate.Options) (r table, agrees bool, err error) {
	if l, err := p.Link(); err == nil && l.Prepared != nil {
		r, err := emulate.RunPulses(p, o.Pairs, o.Seed)
		if err != nil {
			return nil, false, err
		}
		return r, r.Agrees, nil
	}
	pairs, err := emulate.Run(ctx, p, o)
	if err != nil {
		return nil, false, err
	}
	return pairs, pairs.Agrees, nil
}
