package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"qstack/node/daemon"
	"qstack/node/scenario"
)

func newUp() *cobra.Command {
	var faults []string
	var traceFile string
	level := slog.LevelWarn
	cmd := &cobra.Command{
		Use:   "up [FILE]",
		Short: "Run a network of daemons until Ctrl-C",
		Long: `Start the fabric and one daemon for each node of a scenario as processes of their
own, with a certificate authority that lives as long as they do, and print how
programs reach each node. Without FILE the embedded ions3 scenario runs.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, a []string) error {
			s, doc, err := loadScenario(a)
			if err != nil {
				return err
			}
			if _, err := parseFaults(faults, s); err != nil {
				return err
			}
			return up(cmd.Context(), s, doc.Data(), faults, traceFile, level, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringArrayVar(&faults, "fault", nil, "degrade the emulated hardware, unknown to all else: readout=E, gate2=Q or visibility=V")
	cmd.Flags().StringVar(&traceFile, "trace", "", "write every event of all processes to `FILE` in the end, one JSON object a line")
	cmd.Flags().TextVar(&level, "log", level, "least `LEVEL` to log: debug, info, warn or error")
	return cmd
}

func up(ctx context.Context, s *scenario.Scenario, source []byte, faults []string, traceFile string, level slog.Level, stdout, stderr io.Writer) (err error) {
	trace, err := createTrace(ctx, traceFile)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "qnet-up-")
	if err != nil {
		return err
	}
	n, err := launch(ctx, launchConfig{scenario: s, source: source, dir: dir, runtime: daemon.RuntimeDir(s.Name), faults: faults, trace: trace, log: stderr, logLevel: level})
	defer func() { err = errors.Join(err, n.close()) }()
	if err != nil {
		return err
	}
	all, err := n.status(ctx)
	if err != nil {
		return err
	}
	if err := n.announce(stdout, all); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.failed:
		return err
	}
}

// announce prints how to reach each node.
func (n *network) announce(w io.Writer, all []daemon.Status) error {
	fmt.Fprintf(w, "network %s is up; Ctrl-C stops it\n\n", n.scenario.Name)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "name\trole\tpid\tprograms\tcontrol")
	for _, st := range all {
		programs := "-"
		if st.Role == daemon.RoleNode {
			programs = daemon.ProgramPath(n.runtime, st.Name)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", st.Name, st.Role, st.PID, programs, daemon.ControlPath(n.runtime, st.Name))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	first, last := n.scenario.Nodes[0].Name, n.scenario.Nodes[len(n.scenario.Nodes)-1].Name
	_, err := fmt.Fprintf(w, "\nin another terminal:\n  go run ./examples/teleport --from %s --to %s\n  go run ./cmd/qnoded status\n", first, last)
	return err
}
