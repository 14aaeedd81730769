package sweep

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"qstack/app/workload"
	"qstack/node/scenario"
)

// Runner runs a scenario with the given seed.
type Runner func(ctx context.Context, s *scenario.Scenario, seed uint64) (*workload.Result, error)

// Workload is the runner of workloads.
func Workload(ctx context.Context, s *scenario.Scenario, seed uint64) (*workload.Result, error) {
	return workload.Run(ctx, s, workload.Options{Seed: seed})
}

// Part says how long a part of a plan took.
type Part struct {
	Name       string  `json:"name"` // PartMain or PartVerify
	Runs       int     `json:"runs"`
	Kept       int     `json:"kept"`        // runs whose result was there already
	SimulatedS float64 `json:"simulated_s"` // of all runs, with warm-up, in seconds
	// NewS is the part of it that was run now, in WallS seconds by the wall clock;
	// WorkS is the time that all of it took, one run after the other.
	NewS  float64 `json:"new_s"`
	WallS float64 `json:"wall_s"`
	WorkS float64 `json:"work_s"`
}

// The parts of a plan.
const (
	PartMain   = "sweep"
	PartVerify = "verification"
)

// RunOptions say how to run a plan.
type RunOptions struct {
	Parallel int    // runs at once; 0 for as many as there are processors
	Run      Runner // nil for Workload
	// Progress, if not nil, is told the simulated time of a part that is done, in
	// seconds. It is called by one goroutine at a time.
	Progress func(part string, done, total int)
}

// maxErrors bounds the failures that are reported.
const maxErrors = 10

// Run makes the runs of the plan whose results are not in the store: those of the
// sweep first, then those of its verification, each longest first. A run that fails
// keeps none of the others from being made; the error holds the first failures.
// When ctx is done Run returns its cause.
func (p *Plan) Run(ctx context.Context, store *Store, o RunOptions) ([]Part, error) {
	var parts []Part
	var errs []error
	for _, name := range []string{PartMain, PartVerify} {
		var jobs []Job
		for _, j := range p.jobs {
			if j.Row.Grid.Verify == (name == PartVerify) {
				jobs = append(jobs, j)
			}
		}
		if len(jobs) == 0 {
			continue
		}
		part, err := runPart(ctx, name, jobs, store, o)
		parts = append(parts, part)
		if ctx.Err() != nil {
			return parts, context.Cause(ctx)
		}
		errs = append(errs, err)
	}
	return parts, errors.Join(errs...)
}

// runPart runs some jobs.
func runPart(ctx context.Context, name string, jobs []Job, store *Store, o RunOptions) (Part, error) {
	part := Part{Name: name, Runs: len(jobs)}
	if o.Run == nil {
		o.Run = Workload
	}
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	began := time.Now()
	var done, total float64
	var todo []Job
	for _, j := range jobs {
		total += j.Row.Simulated
		if r := store.Get(j); r != nil {
			part.add(r)
			part.Kept++
			done += j.Row.Simulated
			continue
		}
		todo = append(todo, j)
	}
	progress := func() {
		if o.Progress != nil {
			o.Progress(name, int(done), int(total))
		}
	}
	progress()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var errs []error
	var workers sync.WaitGroup
	for range min(o.Parallel, len(todo)) {
		workers.Go(func() {
			for {
				mu.Lock()
				if len(todo) == 0 || ctx.Err() != nil {
					mu.Unlock()
					return
				}
				j := todo[0]
				todo = todo[1:]
				mu.Unlock()

				r, err := o.Run(ctx, j.Row.Scenario, j.Seed)
				if ctx.Err() != nil {
					return // it may have been cut short
				}
				var writing error
				if err == nil {
					writing = store.Put(j, r)
				}
				mu.Lock()
				switch {
				case writing != nil:
					errs = append(errs, writing)
					cancel(writing)
				case err != nil:
					errs = append(errs, fmt.Errorf("%s, run %d (seed %d): %w", j.Row.Name, j.Number, j.Seed, j.Row.doc.Placed(err)))
				default:
					part.add(r)
					part.NewS += r.SimulatedS + r.WarmupS
				}
				done += j.Row.Simulated
				progress()
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	part.WallS = time.Since(began).Seconds()
	if len(errs) > maxErrors {
		errs = append(errs[:maxErrors], fmt.Errorf("and %d more", len(errs)-maxErrors))
	}
	return part, errors.Join(errs...)
}

// add counts a result.
func (p *Part) add(r *workload.Result) {
	p.SimulatedS += r.SimulatedS + r.WarmupS
	p.WorkS += r.WallS
}
