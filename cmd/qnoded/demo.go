package main

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"qstack/app/expect"
	"qstack/app/verify"
	"qstack/node/daemon"
	"qstack/node/scenario"
	"qstack/qsocket"
)

func newDemo() *cobra.Command {
	var f measureFlags
	cmd := &cobra.Command{
		Use:   "demo [FILE]",
		Short: "Run a network of daemons on this machine and check what it delivers",
		Long: `Start the fabric and one daemon for each node of a scenario as processes of their
own, and then, as an ordinary program with EPR sockets at two of the nodes,
measure the entanglement between them: its fidelity, the CHSH inequality, and
teleportation. The table compares it with what the scenario's hardware should
give. Everything is gone afterwards. Without FILE the embedded ions3 scenario
runs.`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			s, source, err := loadScenario(a)
			if err != nil {
				return err
			}
			if err := f.check(s); err != nil {
				return err
			}
			if _, err := parseFaults(f.faults); err != nil {
				return err
			}
			return demonstrate(cmd.Context(), s, source, &f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.register(cmd)
	return cmd
}

func demonstrate(ctx context.Context, s *scenario.Scenario, source []byte, f *measureFlags, stdout, stderr io.Writer) error {
	began := time.Now()
	want, err := expect.Compute(s, f.ends.from, f.ends.to, expect.Options{Seed: s.Seed})
	if err != nil {
		return badConfig(err)
	}
	dir, err := os.MkdirTemp("", "qnet-demo-")
	if err != nil {
		return err
	}
	n, err := launch(ctx, launchConfig{scenario: s, source: source, dir: dir, faults: f.faults, trace: f.trace})
	defer n.close()
	if err != nil {
		return err
	}
	processes, err := n.status(ctx)
	if err != nil {
		return err
	}
	update, finish := newProgress(stderr)
	defer finish()
	result, err := n.measure(ctx, f, update)
	finish()
	if err != nil {
		return err
	}
	report := verify.Judge(result, want, false)
	for _, st := range processes {
		report.Processes = append(report.Processes, describeProcess(st))
	}
	n.close()
	report.WallS = time.Since(began).Seconds()
	return f.print(stdout, report)
}

func describeProcess(st daemon.Status) verify.Process {
	return verify.Process{Role: st.Role, Name: st.Name, ID: st.ID, PID: st.PID}
}

// measure runs the program of both ends against the daemons' sockets. It ends
// early when a process of the network does.
func (n *network) measure(ctx context.Context, f *measureFlags, update func(string, int, int)) (*verify.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := make(chan struct{})
	defer func() { <-watch }()
	go func() {
		defer close(watch)
		select {
		case err := <-n.failed:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	head, err := qsocket.Open(ctx, f.ends.from, qsocket.Options{Path: daemon.ProgramPath(n.runtime, f.ends.from), Program: "demo"})
	if err != nil {
		cancel(nil)
		return nil, err
	}
	defer head.Close()
	tail, err := qsocket.Open(ctx, f.ends.to, qsocket.Options{Path: daemon.ProgramPath(n.runtime, f.ends.to), Program: "demo"})
	if err != nil {
		cancel(nil)
		return nil, err
	}
	defer tail.Close()
	run := verify.NewRun(f.plan, update)
	var both sync.WaitGroup
	var headErr, tailErr error
	both.Go(func() {
		tailErr = run.Tail(ctx, tail, func() {
			both.Go(func() {
				if headErr = run.Head(ctx, head, f.ends.to); headErr != nil {
					cancel(headErr)
				}
			})
		})
		if tailErr != nil {
			cancel(tailErr)
		}
	})
	both.Wait()
	cause := context.Cause(ctx)
	cancel(nil)
	if headErr != nil || tailErr != nil {
		if cause != nil && !errors.Is(headErr, cause) && !errors.Is(tailErr, cause) {
			return nil, cause
		}
		return nil, errors.Join(named(f.ends.from, headErr), named(f.ends.to, tailErr))
	}
	return run.Result()
}
