package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"qstack/app/sweep"
	"qstack/qnet"
	"qstack/scenarios"
)

// sweepFlags are the flags of sim sweep.
type sweepFlags struct {
	options   sweep.Options
	run       sweep.RunOptions
	out       string
	only      string
	shard     string
	json      bool
	list      bool
	csv       string
	svg       string
	markdown  string
	arguments []string
}

func newSweep() *cobra.Command {
	var f sweepFlags
	cmd := &cobra.Command{
		Use:   "sweep DIR|FILE...",
		Short: "Run a grid of workloads in virtual time",
		Long: `Run scenarios with a [workload], each for a number of seeds, in virtual time, as
many at once as there are processors, and print their figures with standard
errors. A FILE is a scenario, or has a table [sweep] that lists axes: named
alternatives, each of them keys of a scenario; their product is what is run. A DIR
stands for the sweep.toml in it, or for all scenarios in it. "campaign" comes with
the program: the simulations that Dahlberg et al. published with their link layer
(SIGCOMM 2019).

Each run is a line in the folder of results. What is there is not run again, so
that a sweep which was interrupted goes on where it was; what was changed in a
scenario, or made by another version of this program, is run anew. A version is a
clean commit, or else whatever is built.

With --verify the rows for it are run too, and all is compared with the reference
of the sweep. The exit code is 1 if something went wrong in a run or is outside its
tolerance, or nothing that was run is judged.

A batch system runs the parts of a sweep with --shard 1/4 to --shard 4/4 and one
--out. Without --shard the results of all of them are then there, and compared.`,
		Example: `  qnoded sim sweep campaign --verify
  qnoded sim sweep campaign --only '^single/LAB/MD' --seeds 3 --csv md.csv
  qnoded sim sweep my.toml --out results --shard 2/8`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, a []string) error {
			f.arguments = a
			collectSeldom()
			return runSweep(cmd.Context(), &f, cmd.Flags().Changed, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.out, "out", "", "`DIR` of results (default: the sweep's name and -results)")
	fl.IntVar(&f.options.Seeds, "seeds", 0, "runs of each row (default: the sweep's)")
	fl.StringVar(&f.only, "only", "", "rows whose name matches this `REGEXP`; a name is GRID/ALTERNATIVE/...")
	fl.StringVar(&f.shard, "shard", "", "run part `I/N` of the runs, counted from 1")
	fl.IntVar(&f.run.Parallel, "parallel", 0, "runs at once (default: GOMAXPROCS)")
	fl.BoolVar(&f.options.Verify, "verify", false, "run the rows for it too, and compare with the reference")
	fl.BoolVar(&f.list, "list", false, "print the rows and how many runs of what length they are, and run nothing")
	fl.BoolVar(&f.json, "json", false, "print one JSON object")
	fl.StringVar(&f.csv, "csv", "", "write every figure of every row to `FILE` as CSV")
	fl.StringVar(&f.svg, "svg", "", "draw grids with an axis of numbers as SVG, into files in `DIR`")
	fl.StringVar(&f.markdown, "markdown", "", "write the report to `FILE` as a page of documentation")
	return cmd
}

// check reads the flags; given tells whether one was.
func (f *sweepFlags) check(given func(flag string) bool) error {
	if f.list && f.json {
		return usage("--json: what --list prints is text")
	}
	if given("seeds") && (f.options.Seeds < 1 || f.options.Seeds > sweep.MaxSeeds) {
		return usage("--seeds: %d is not between 1 and %d", f.options.Seeds, sweep.MaxSeeds)
	}
	if given("parallel") && f.run.Parallel < 1 {
		return usage("--parallel: %d: want at least 1", f.run.Parallel)
	}
	if f.only != "" {
		only, err := regexp.Compile(f.only)
		if err != nil {
			return usage("--only: %v", err)
		}
		f.options.Only = only
	}
	if f.shard != "" {
		part, parts, ok := strings.Cut(f.shard, "/")
		i, err := strconv.Atoi(part)
		n, err2 := strconv.Atoi(parts)
		if !ok || err != nil || err2 != nil || i < 1 || i > n {
			return usage("--shard: %q: want I/N with I from 1 to N, as in 1/4", f.shard)
		}
		f.options.Shard, f.options.Shards = i, n
	}
	return nil
}

// loadSweep reads the sweep in a file or folder, or one that comes with the
// program: "campaign" or "scenarios/campaign".
func loadSweep(name string) (*sweep.Sweep, error) {
	_, err := os.Stat(name)
	if err == nil {
		return sweep.Load(sweep.Disk{}, name)
	}
	embedded := path.Clean(strings.TrimPrefix(filepath.ToSlash(name), "scenarios/"))
	for _, n := range []string{embedded, embedded + ".toml"} {
		if _, err := fs.Stat(scenarios.Files, n); err == nil && fs.ValidPath(n) && n != "." {
			return sweep.Load(sweep.FS{FS: scenarios.Files}, n)
		}
	}
	return nil, fmt.Errorf("%s: no such file or folder, and no sweep of this name comes with the program; \"campaign\" does", name)
}

func runSweep(ctx context.Context, f *sweepFlags, given func(flag string) bool, stdout, stderr io.Writer) (err error) {
	if err := f.check(given); err != nil {
		return err
	}
	var all []*sweep.Sweep
	for _, name := range f.arguments {
		s, err := loadSweep(name)
		if err != nil {
			return badConfig(err)
		}
		all = append(all, s)
	}
	s, err := sweep.Join(all...)
	if err != nil {
		return badConfig(err)
	}
	if f.options.Verify && s.Reference == nil {
		return usage("--verify: %s names no reference to compare with", s.Name)
	}
	plan, err := s.Plan(f.options)
	switch {
	case errors.Is(err, qnet.ErrUnknown):
		return usage("%v", err)
	case err != nil:
		return badConfig(err)
	}
	if f.svg != "" {
		if err := plan.Drawable(); err != nil {
			return usage("--svg: %v", err)
		}
	}
	if left := plan.LeftOut(); left != "" && f.only != "" {
		fmt.Fprintf(stderr, "--only: %s\n", left)
	}
	if f.list {
		return listRows(stdout, plan)
	}
	if f.out == "" {
		f.out = s.Name + "-results"
	}
	file := "results.jsonl"
	if f.options.Shards > 0 {
		file = fmt.Sprintf("results-%d-of-%d.jsonl", f.options.Shard, f.options.Shards)
	}
	made, err := program()
	if err != nil {
		return err
	}
	store, err := sweep.OpenStore(f.out, file, made)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if n := store.Others(); n > 0 {
		fmt.Fprintf(stderr, "%s: %d runs of another version of this program do not count\n", f.out, n)
	}
	var finish func()
	f.run.Progress, finish = newProgress(stderr)
	defer finish()
	parts, err := plan.Run(ctx, store, f.run)
	finish()
	if ctx.Err() != nil {
		return err
	}
	report := sweep.NewReport(plan, store, parts)
	if f.options.Verify && f.options.Shards == 0 {
		report.Verify(s.Reference)
	}
	err = errors.Join(err, f.write(ctx, report, stdout))
	if report.Verdict != "" && report.Verdict != sweep.Pass {
		err = errors.Join(err, errVerdict)
	}
	return err
}

// listRows prints what would be run.
func listRows(w io.Writer, plan *sweep.Plan) error {
	runs, seconds := make(map[*sweep.Planned]int), 0.0
	for _, j := range plan.Jobs() {
		runs[j.Row]++
		seconds += j.Row.Simulated
	}
	for _, r := range plan.Rows {
		if _, err := fmt.Fprintf(w, "%s: %d × %g s\n", r.Name, runs[r], r.Simulated); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d rows, %d runs, %.1f simulated hours\n", len(plan.Rows), len(plan.Jobs()), seconds/3600)
	return err
}

// write prints the report, and writes it to where the flags say.
func (f *sweepFlags) write(ctx context.Context, r *sweep.Report, stdout io.Writer) error {
	var errs []error
	if f.json {
		errs = append(errs, encode(stdout, r))
	} else {
		errs = append(errs, r.WriteTable(stdout))
	}
	for _, out := range []struct {
		flag, file string
		write      func(io.Writer) error
	}{
		{"csv", f.csv, r.WriteCSV},
		{"markdown", f.markdown, func(w io.Writer) error { return r.WriteMarkdown(w, f.command()) }},
	} {
		if out.file == "" {
			continue
		}
		file, err := create(ctx, out.file, 0o666)
		if err == nil {
			err = errors.Join(out.write(file), file.Close())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", out.flag, err))
		}
	}
	if f.svg != "" {
		if err := r.WriteSVG(f.svg); err != nil {
			errs = append(errs, fmt.Errorf("--svg: %w", err))
		}
	}
	return errors.Join(errs...)
}

// command returns the command line that the report is of.
func (f *sweepFlags) command() string {
	words := append([]string{"qnoded", "sim", "sweep"}, f.arguments...)
	if f.options.Verify {
		words = append(words, "--verify")
	}
	if f.only != "" {
		words = append(words, "--only", "'"+f.only+"'")
	}
	if f.options.Seeds > 0 {
		words = append(words, "--seeds", strconv.Itoa(f.options.Seeds))
	}
	if f.markdown != "" {
		words = append(words, "--markdown", f.markdown)
	}
	return strings.Join(words, " ")
}
