// Command qnoded is the daemon of a quantum-network node and everything around
// it: it makes what the processes of a network start from (init), runs one of
// them (run), a whole network of processes (up, demo), or the same network in
// virtual time (sim), tells what they are doing (status, doctor), and shows the
// hardware that it can emulate (hw).
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
	running := false // what fails before a command runs is the command line
	root.PersistentPreRun = func(*cobra.Command, []string) { running = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if !running {
		err = usage("%v; see %s -h", err, cmd.CommandPath())
	}
	if cause := context.Cause(ctx); cause != nil && (errors.Is(err, cause) || errors.Is(err, context.Canceled)) {
		fmt.Fprintln(stderr, "qnoded: interrupted")
		return exitRun
	}
	if rest := unsaid(err); rest != nil {
		fmt.Fprintln(stderr, "qnoded:", rest)
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitRun
}

// unsaid returns err without the failure of a verdict, which the report has said.
func unsaid(err error) error {
	if err == errVerdict {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || !errors.Is(err, errVerdict) {
		return err
	}
	var rest []error
	for _, e := range joined.Unwrap() {
		rest = append(rest, unsaid(e))
	}
	return errors.Join(rest...)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "qnoded",
		Short: "Run quantum-network nodes that distribute entanglement",
		Long: `qnoded runs quantum-network nodes: daemons that generate, swap and deliver
entanglement over emulated hardware, and a fabric process that emulates it.

Exit codes: 0 success, 1 failure at run time or a failed verdict, 2 wrong usage,
3 wrong scenario or configuration file.`,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true, // they are several lines
	}
	sim := newSim()
	sim.AddCommand(newSweep())
	root.AddCommand(newDemo(), sim, newUp(), newInit(), newRun(), newStatus(), newDoctor(), newHW(), newObserve(), newVersion())
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "qnoded", daemon.Version())
			return err
		},
	}
}
