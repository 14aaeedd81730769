package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"qstack/app/expect"
	"qstack/app/verify"
	"qstack/node"
	"qstack/node/scenario"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qsocket"
)

// errVerdict is the failure of a verdict: the report says which.
var errVerdict = errors.New("a verdict failed")

// minPairs is the least --pairs: with fewer, bases that are chosen at random may
// miss a combination that S or the fidelity is made of.
const minPairs = 120

// measureFlags are the flags of demo and sim.
type measureFlags struct {
	ends   ends
	plan   verify.Plan
	faults []string
	json   bool
	trace  tracing
}

func (f *measureFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.ends.from, "from", "", "node at the head end, which needs a storage qubit (default: the scenario's first)")
	fl.StringVar(&f.ends.to, "to", "", "node at the tail end (default: the scenario's last)")
	fl.IntVar(&f.plan.Pairs, "pairs", 1200, "pairs to estimate the fidelity from, 120 or more; the CHSH test takes 5/3 as many more")
	fl.IntVar(&f.plan.PerState, "teleports", 60, "teleportations of each of the six cardinal states")
	fl.StringArrayVar(&f.faults, "fault", nil, "degrade the emulated hardware, unknown to all else: readout=E, gate2=Q or visibility=V")
	fl.BoolVar(&f.json, "json", false, "print one JSON object")
	fl.StringVar(&f.trace.file, "trace", "", "write every event to `FILE`, one JSON object a line")
}

func (f *measureFlags) check(s *scenario.Scenario) error {
	switch {
	case f.plan.Pairs < minPairs || f.plan.Pairs > 10_000_000:
		return usage("--pairs: %d is not between %d and 10,000,000", f.plan.Pairs, minPairs)
	case f.plan.PerState < 0 || f.plan.PerState > 1000:
		return usage("--teleports: %d is not between 0 and 1,000", f.plan.PerState)
	}
	if err := f.ends.resolve(s); err != nil {
		return err
	}
	if f.plan.PerState == 0 {
		f.plan.PerState = -1 // none, where 0 is the default
	}
	f.plan.Wait = patience(s, f.plan.Pairs)
	head, err := s.NodeIndex(f.ends.from)
	if err != nil {
		return err
	}
	if s.Nodes[head].Storage == 0 && f.plan.PerState > 0 {
		return usage("--from: node %s has no storage qubit, which is where the qubits to teleport are prepared: give it one (storage = 1 in the scenario), or choose another --from", f.ends.from)
	}
	_, err = parseFaults(f.faults, s)
	return err
}

// print writes the report and turns a bad verdict into an error.
func (f *measureFlags) print(w io.Writer, r *verify.Report) error {
	var err error
	if f.json {
		err = json.NewEncoder(w).Encode(r)
	} else {
		err = r.WriteTable(w)
	}
	if err == nil && r.Verdict == "fail" {
		err = errVerdict
	}
	return err
}

// newJudge returns what turns a result into a report. Of hardware for which
// nothing can be expected it shows what was measured, without a verdict.
func newJudge(s *scenario.Scenario, f *measureFlags) (func(r *verify.Result, withRate bool) *verify.Report, error) {
	want, err := expect.Compute(s, f.ends.from, f.ends.to, expect.Options{Seed: s.Seed})
	switch {
	case errors.Is(err, qnet.ErrUnsupported):
		return func(r *verify.Result, _ bool) *verify.Report { return verify.Show(r, err) }, nil
	case err != nil:
		return nil, badConfig(err)
	}
	return func(r *verify.Result, withRate bool) *verify.Report { return verify.Judge(r, want, withRate) }, nil
}

// patience bounds, in emulated time, one request for some share of the pairs:
// generously, lest slow hardware be taken for a fault.
func patience(s *scenario.Scenario, pairs int) time.Duration {
	each := time.Second // of a pair over all links, ten times
	for i := range s.Links {
		m := node.Model(&s.Links[i].Heralding)
		each += time.Duration(min(10*m.Period()/m.SuccessProbability(), float64(24*time.Hour)))
	}
	return time.Minute + time.Duration(min(float64(3*pairs)*each.Seconds(), 1e9)*float64(time.Second))
}

func newSim() *cobra.Command {
	var f measureFlags
	var work workloadFlags
	var seed uint64
	cmd := &cobra.Command{
		Use:   "sim [FILE]",
		Short: "Run a scenario in virtual time and check what it delivers",
		Long: `Run a whole network in virtual time, in one process, with the same protocols and
the same client as demo: measure pairs between two nodes, test the CHSH
inequality, teleport qubits, and compare with what the scenario's hardware should
give. Without FILE the embedded ions3 scenario runs.

A scenario with a table [workload] runs that instead: random requests on one of
its links, as often as it has seeds, on all processors, and it prints what became
of them: throughput, latencies, fidelities, the length of the queue, failures and
frames, with 95 % confidence intervals.

The same seed gives the same result, and the same trace, byte for byte.`,
		Example: `  qnoded sim
  qnoded sim chain.toml --from n0 --to n3
  qnoded sim load.toml --seeds 30 --horizon "6000 s" --svg plots`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, a []string) error {
			s, doc, err := loadScenario(a)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("seed") {
				s.Seed = seed
			}
			if s.Workload != nil {
				if err := refuse(cmd, programsOnly, "the scenario has a [workload], which runs in place of programs"); err != nil {
					return err
				}
				work.json, work.trace = f.json, f.trace
				return runWorkload(cmd.Context(), s, doc, &work, cmd.Flags().Changed, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			if err := refuse(cmd, workloadOnly, "the scenario has no [workload]"); err != nil {
				return err
			}
			if err := f.check(s); err != nil {
				return err
			}
			return simulate(cmd.Context(), s, &f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.register(cmd)
	f.trace.registerContents(cmd)
	work.register(cmd)
	cmd.Flags().Uint64Var(&seed, "seed", 0, "seed of every random stream, of a workload that of its first run (default: the scenario's)")
	return cmd
}

func simulate(ctx context.Context, s *scenario.Scenario, f *measureFlags, stdout, stderr io.Writer) (err error) {
	began := time.Now()
	faults, err := parseFaults(f.faults, s)
	if err != nil {
		return err
	}
	judge, err := newJudge(s, f)
	if err != nil {
		return err
	}
	options := node.Options{Faults: faults}
	w, closeTrace, err := f.trace.open(ctx)
	if err != nil {
		return err
	}
	options.Trace = w
	defer func() { err = errors.Join(err, closeTrace()) }()
	loop := event.NewVirtual()
	defer loop.Close()
	n, err := node.NewNetwork(s, loop, options)
	if err != nil {
		return badConfig(err)
	}
	update, finish := newProgress(stderr)
	defer finish()
	run := verify.NewRun(f.plan, update)
	var headErr, tailErr error
	loop.Go("the program at "+f.ends.to, func() {
		tailErr = withNode(ctx, n, f.ends.to, func(tail *qsocket.Node) error {
			return run.Tail(ctx, tail, func() {
				loop.Go("the program at "+f.ends.from, func() {
					headErr = withNode(ctx, n, f.ends.from, func(head *qsocket.Node) error { return run.Head(ctx, head, f.ends.to) })
				})
			})
		})
	})
	if err := loop.Run(); err != nil {
		return err
	}
	finish()
	if err := errors.Join(named(f.ends.from, headErr), named(f.ends.to, tailErr)); err != nil {
		return err
	}
	simulated, events := loop.Now().Seconds(), loop.Events()
	// What ends a session takes a while; then nothing may be left.
	if err := loop.RunFor(node.Settle); err != nil {
		return err
	}
	if err := n.Idle(); err != nil {
		return fmt.Errorf("after the run: %w", err)
	}
	result, err := run.Result()
	if err != nil {
		return err
	}
	report := judge(result, true)
	report.Simulated, report.Events = &simulated, &events
	report.WallS = time.Since(began).Seconds()
	return f.print(stdout, report)
}

// withNode runs a program on a node.
func withNode(ctx context.Context, n *node.Network, name string, program func(*qsocket.Node) error) error {
	q, err := n.Open(ctx, name, "sim")
	if err != nil {
		return err
	}
	return errors.Join(program(q), q.Close())
}

func named(node string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the program at %s: %w", node, err)
}
