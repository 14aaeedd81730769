package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

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
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, a []string) error {
			s, doc, err := loadScenario(a)
			if err != nil {
				return err
			}
			if err := f.check(s); err != nil {
				return err
			}
			return demonstrate(cmd.Context(), s, doc.Data(), &f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.register(cmd)
	return cmd
}

func demonstrate(ctx context.Context, s *scenario.Scenario, source []byte, f *measureFlags, stdout, stderr io.Writer) (err error) {
	began := time.Now()
	judge, err := newJudge(s, f)
	if err != nil {
		return err
	}
	trace, err := createTrace(ctx, f.trace.file)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "qnet-demo-")
	if err != nil {
		return err
	}
	n, err := launch(ctx, launchConfig{scenario: s, source: source, dir: dir, faults: f.faults, trace: trace, logLevel: slog.LevelWarn})
	defer func() { err = errors.Join(err, n.close()) }()
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
	report := judge(result, false)
	report.RealTime = true
	for _, st := range processes {
		report.Processes = append(report.Processes, describeProcess(st))
	}
	_ = n.close() // the deferred one says the error
	report.WallS = time.Since(began).Seconds()
	return f.print(stdout, report)
}

func describeProcess(st daemon.Status) verify.Process {
	return verify.Process{Role: st.Role, Name: st.Name, ID: st.ID, PID: st.PID}
}

// measure runs the program of both ends against the daemons' sockets. It ends
// early when a process of the network does.
func (n *network) measure(ctx context.Context, f *measureFlags, update func(string, int, int)) (*verify.Result, error) {
	interrupted := ctx.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case err := <-n.failed:
			ended <- err
			cancel(err)
		case <-ctx.Done():
		}
	})
	result, err := f.runPrograms(ctx, n.runtime, update)
	cancel(nil)
	watch.Wait()
	if err == nil {
		return result, nil
	}
	// Programs notice that a daemon has died before its parent does, and what
	// they then say is no reason.
	select {
	case err = <-ended:
	case err = <-n.failed:
	case <-interrupted:
	case <-time.After(noticeWithin):
	}
	return nil, err
}

// runPrograms runs the programs of both ends, and returns the first error of
// them.
func (f *measureFlags) runPrograms(ctx context.Context, runtime string, update func(string, int, int)) (*verify.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	open := func(name string) (*qsocket.Node, error) {
		return qsocket.Open(ctx, name, qsocket.Options{Path: daemon.ProgramPath(runtime, name), Program: "demo"})
	}
	head, err := open(f.ends.from)
	if err != nil {
		return nil, err
	}
	defer head.Close()
	tail, err := open(f.ends.to)
	if err != nil {
		return nil, err
	}
	defer tail.Close()
	run := verify.NewRun(f.plan, update)
	var both sync.WaitGroup
	both.Go(func() {
		err := run.Tail(ctx, tail, func() {
			both.Go(func() {
				if err := run.Head(ctx, head, f.ends.to); err != nil {
					cancel(named(f.ends.from, err))
				}
			})
		})
		if err != nil {
			cancel(named(f.ends.to, err))
		}
	})
	both.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return run.Result()
}
