// Command qnoded is the daemon of a quantum-network node and everything around
// it: it runs one process of a network (run), a whole network of processes (up,
// demo), or the same network in virtual time (sim), and tells what they are
// doing (status, doctor).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"qstack/node/daemon"
)

// Exit codes.
const (
	exitRun    = 1 // something failed while running, or a verdict did
	exitUsage  = 2 // the command line is wrong
	exitConfig = 3 // a scenario or configuration file is wrong
)

// exitError is an error with the exit code that it calls for.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func badConfig(err error) error { return &exitError{exitConfig, err} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if cause := context.Cause(ctx); cause != nil && (errors.Is(err, cause) || errors.Is(err, context.Canceled)) {
		fmt.Fprintln(stderr, "qnoded: interrupted")
		return exitRun
	}
	if !errors.Is(err, errVerdict) { // the table has said it
		fmt.Fprintln(stderr, "qnoded:", err)
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitRun
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "qnoded",
		Short: "Run quantum-network nodes that distribute entanglement",
		Long: `qnoded runs quantum-network nodes: daemons that generate, swap and deliver
entanglement over emulated hardware, and a fabric process that emulates it.

Exit codes: 0 success, 1 failure at run time or a failed verdict, 2 wrong usage,
3 wrong scenario or configuration file.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %q; see qnoded -h", args[0])
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%v; see %s -h", err, cmd.CommandPath())
	})
	root.AddCommand(newDemo(), newSim(), newUp(), newRun(), newStatus(), newDoctor(), newVersion())
	return root
}

// args wraps a check of the arguments so that its error is one of usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, a []string) error {
		if err := check(cmd, a); err != nil {
			return usage("%v; see %s -h", err, cmd.CommandPath())
		}
		return nil
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "qnoded", daemon.Version())
			return err
		},
	}
}
