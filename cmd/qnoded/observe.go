package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"qstack/node/daemon"
	"qstack/qnet"
)

func newObserve() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "observe FILE",
		Short: "Show the qubits in use and the exact fidelity of all pairs",
		Long: `Ask the fabric of a running network which qubits are in use, by whom and since
when, and how good the pairs among them are: the exact fidelity, which nobody in
the network can know. FILE is the configuration of the observer, whose
credentials nobody else has; "qnoded init" makes both.`,
		Example: `  qnoded init --dir net
  qnoded observe net/world.observer/qnoded.toml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, a []string) error {
			cfg, err := daemon.LoadConfig(a[0])
			if err != nil {
				return badConfig(err)
			}
			seen, err := daemon.Observe(cmd.Context(), cfg)
			if errors.Is(err, qnet.ErrInvalid) {
				return badConfig(err)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(seen)
			}
			return writeSnapshot(cmd.OutOrStdout(), seen)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func writeSnapshot(w io.Writer, s *daemon.Snapshot) error {
	fmt.Fprintf(w, "network %s at %.6f s of fabric time: %d qubits in use, %d pairs\n\n", s.Network, s.TimeS, len(s.Qubits), len(s.Pairs))
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "qubit\tnode\tuse\tlink\tlane\tfor\tentangled with")
	for _, q := range s.Qubits {
		link, lane, joint := "-", "-", "no state yet"
		if q.Link != "" {
			link, lane = q.Link, fmt.Sprint(q.Lane)
		}
		if q.Joint > 0 {
			joint = fmt.Sprintf("%d others", q.Joint-1)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.3g s\t%s\n", q.Qubit, q.Node, q.Use, link, lane, max(0, s.TimeS-q.SinceS), joint)
	}
	fmt.Fprintln(t, "\npair\tBell state\tfidelity")
	for _, p := range s.Pairs {
		fmt.Fprintf(t, "%s - %s\t%s\t%.6f\n", p.A, p.B, p.Label, p.Fidelity)
	}
	return t.Flush()
}
