package main

import (
	"bytes"
	"os"

	"github.com/spf13/cobra"
)

func newHWCurve() *cobra.Command {
	var output string
	var set []string
	cmd := &cobra.Command{
		Use:   "curve PRESET -o FILE.svg",
		Short: "Plot rate against fidelity, and rate against distance",
		Long: `Plot what the model of a preset can do, as SVG: the rate against the fidelity as
its operating point changes (such as the bright-state population), and the rate
against the distance, beside the most that any link without a repeater could
carry: −log2(1−η) pairs per attempt over fibre of transmission η.`,
		Example: `  qnoded hw curve nv-2018-hf -o curve.svg
  qnoded hw curve nv-ql2020 --set conversion=0.5 -o curve.svg`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, a []string) error {
			if output == "" {
				return usage("curve needs -o FILE, or -o - for the standard output")
			}
			p, err := openPreset(a[0], set)
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if err := p.Curve(&b); err != nil {
				return usage("%v", err)
			}
			if output == "-" {
				_, err = cmd.OutOrStdout().Write(b.Bytes())
				return err
			}
			if err := os.WriteFile(output, b.Bytes(), 0o666); err != nil {
				return usage("-o: %v", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write, - for the standard output")
	cmd.Flags().StringArrayVar(&set, "set", nil, "give a parameter another value: `NAME=VALUE`; may be repeated")
	return cmd
}
