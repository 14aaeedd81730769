package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"qstack/app/workload"
	"qstack/node/scenario"
	"qstack/qnet"
	"qstack/qnet/toml"
)

// workloadFlags are the flags of sim for a scenario with a workload.
type workloadFlags struct {
	seeds    int
	horizon  string
	csv, svg string
	json     bool
	trace    tracing
}

// The flags of sim that make sense with, and without, a workload alone.
var (
	workloadOnly = []string{"seeds", "horizon", "csv", "svg"}
	programsOnly = []string{"from", "to", "pairs", "teleports", "fault"}
)

func (f *workloadFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.IntVar(&f.seeds, "seeds", 0, "`N`umber of runs of a workload, their seeds counted from --seed (default: the scenario's)")
	fl.StringVar(&f.horizon, "horizon", "", "emulated `TIME` of a run of a workload, as in \"600 s\" (default: the scenario's)")
	fl.StringVar(&f.csv, "csv", "", "write the figures of a workload into `DIR`, as comma-separated values")
	fl.StringVar(&f.svg, "svg", "", "draw queue, throughput and latency of a workload in `DIR`")
}

// refuse returns an error if one of some flags was given.
func refuse(cmd *cobra.Command, names []string, why string) error {
	var given []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		for _, name := range names {
			if f.Name == name {
				given = append(given, "--"+name)
			}
		}
	})
	if len(given) > 0 {
		return usage("%s: %s", strings.Join(given, ", "), why)
	}
	return nil
}

// workloadReport is what sim --json prints of a workload.
type workloadReport struct {
	Summary *workload.Summary  `json:"summary"`
	Runs    []*workload.Result `json:"runs"`
	WallS   float64            `json:"wall_s"`
}

// collectSeldom makes the collector of garbage run a quarter as often, unless the
// environment says how often it is to: runs of workloads hold a few megabytes, so
// that this costs tens of them and saves a tenth of the time.
func collectSeldom() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// runWorkload runs the workload of a scenario, which was read from doc, and prints
// what became of it; given tells whether a flag was.
func runWorkload(ctx context.Context, s *scenario.Scenario, doc *toml.Document, f *workloadFlags, given func(flag string) bool, stdout, stderr io.Writer) (err error) {
	began := time.Now()
	collectSeldom()
	n := s.Workload.Seeds
	if given("seeds") {
		n = f.seeds
	}
	if n < 1 || n > scenario.MaxSeeds {
		return usage("--seeds: %d is not between 1 and %d", n, scenario.MaxSeeds)
	}
	var o workload.Options
	if f.horizon != "" {
		seconds, problem := toml.Times.Parse(f.horizon)
		if problem == "" && !(seconds >= 1e-9 && seconds <= 1e9) {
			problem = "must be positive, and no more than decades"
		}
		if problem != "" {
			return usage("--horizon: %q: %s", f.horizon, problem)
		}
		o.Horizon = time.Duration(seconds * 1e9)
	}
	if f.trace.file != "" && n > 1 {
		return usage("--trace: %d runs can not share one file: give --seeds 1 as well", n)
	}
	w, closeTrace, err := f.trace.open(ctx)
	if err != nil {
		return err
	}
	o.Trace = w
	defer func() { err = errors.Join(err, closeTrace()) }()
	update, finish := newProgress(stderr)
	defer finish()
	o.Progress = func(done, total time.Duration) {
		update("emulated ms", int(done.Milliseconds()), max(1, int(total.Milliseconds())))
	}
	results, err := workload.RunSeeds(ctx, s, n, 0, o)
	finish()
	switch {
	case errors.Is(err, qnet.ErrInvalid), errors.Is(err, qnet.ErrFidelity), errors.Is(err, qnet.ErrUnsupported), errors.Is(err, qnet.ErrNoMemory):
		return badConfig(doc.Placed(err)) // what the hardware can not serve
	case err != nil:
		return err
	}
	summary := workload.Summarise(results)
	if f.csv != "" {
		if err := workload.SaveCSV(f.csv, summary, results); err != nil {
			return usage("--csv: %v", err)
		}
	}
	if f.svg != "" {
		if err := workload.SaveSVG(f.svg, results); err != nil {
			return usage("--svg: %v", err)
		}
	}
	wall := time.Since(began).Seconds()
	if f.json {
		err = json.NewEncoder(stdout).Encode(workloadReport{summary, results, wall})
	} else if err = summary.WriteTable(stdout, s.Workload.Figures); err == nil {
		err = workload.WritePace(stdout, summary, wall)
	}
	if err == nil && len(summary.Errors) > 0 {
		err = errVerdict
	}
	return err
}
