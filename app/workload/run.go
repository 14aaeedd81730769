package workload

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"qstack/link"
	"qstack/node"
	"qstack/node/scenario"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/toml"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// Options say how to run a workload. The zero value runs it as its scenario says.
type Options struct {
	Seed    uint64        // in place of the scenario's, unless it is 0
	Horizon time.Duration // in place of the workload's, unless it is 0; its warm-up shrinks in proportion if need be
	// Progress, if not nil, is told how much of the emulated time is over, in the mean
	// over all runs. It may be called from any goroutine, but not from two at once.
	Progress func(done, total time.Duration)
	Trace    *trace.Writer  // receives every event of a Run; nil for none
	Filter   control.Filter // decides on every frame of a Run; nil for none
}

// Run runs the workload of a scenario once. The error carries qnet.ErrInvalid when
// the scenario has none or asks for too many requests, qnet.ErrFidelity when the
// hardware does not reach what is asked, and ctx's when that is done. That of a
// workload which does not fit the hardware is a *scenario.Error without file and line.
func Run(ctx context.Context, s *scenario.Scenario, o Options) (*Result, error) {
	j, err := newJob(s, &o)
	if err != nil {
		return nil, err
	}
	defer j.loop.Close()
	if err := j.run(ctx, j.collector.end, o.Progress); err != nil {
		return nil, err
	}
	return j.result(), nil
}

// job is one run of a workload.
type job struct {
	began time.Time
	s     *scenario.Scenario
	*world
	collector *collector
}

// newJob returns a run that is about to begin.
func newJob(s *scenario.Scenario, o *Options) (*job, error) {
	j := &job{began: time.Now()}
	s, err := s.OnlyWorkload()
	if err != nil {
		return nil, err
	}
	if o.Seed != 0 {
		s.Seed = o.Seed
	}
	if o.Horizon != 0 {
		s.Workload.Warmup = scaled(s.Workload.Warmup, o.Horizon, s.Workload.Horizon)
		s.Workload.Horizon = o.Horizon
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	j.s = s
	if j.world, err = newWorld(s, o); err != nil {
		return nil, err
	}
	if j.collector, err = newRun(s, j.world); err != nil {
		j.loop.Close()
		return nil, err
	}
	return j, nil
}

// result says what has become of the requests.
func (j *job) result() *Result {
	r := &Result{Version: Version, Scenario: j.s.Name, Seed: j.s.Seed, Events: j.loop.Events(), Frames: make(map[string]uint64)}
	j.collector.finish(r, j.ends[0].Cycles.Period)
	if j.s.LinkSettings.TestRounds > 0 {
		for i, d := range j.collector.demands {
			r.Types[i].Learnt = j.learnt(d)
		}
	}
	r.Attempts = j.station.Attempts()
	if j.s.LinkSettings.Compat.LossPerAttempt {
		r.NoMessageOther = 2 * j.s.Workload.LossStation * float64(r.Attempts)
	}
	for _, m := range link.Messages() {
		n := j.net.Datagrams(m.Type())
		r.Frames[wire.Name(m)] = n.Sent
		if n.Lost > 0 {
			if r.Lost == nil {
				r.Lost = make(map[string]uint64)
			}
			r.Lost[wire.Name(m)] = n.Lost
		}
	}
	r.WallS = time.Since(j.began).Seconds()
	return r
}

// learnt returns what the test rounds of either end have shown of the pairs of a
// type.
func (j *job) learnt(d *demand) (out []Learnt) {
	for i, l := range j.layers {
		if q, err := l.Expect(node.LinkID(0), d.request); err == nil && !math.IsNaN(q.Measured) {
			out = append(out, Learnt{End: [2]string{OriginA, OriginB}[i], Point: q.Name, Rounds: q.Rounds, Model: q.Model,
				Measured: q.Measured, Lower: q.Lower, Upper: q.Upper, Confidence: q.Confidence})
		}
	}
	return out
}

// scaled returns the part of a warm-up that fits another horizon.
func scaled(warmup, horizon, before time.Duration) time.Duration {
	if warmup < horizon {
		return warmup
	}
	return time.Duration(float64(warmup) / float64(before) * float64(horizon))
}

// newRun returns the collector of a world whose link is up, with all requests
// about to come.
func newRun(s *scenario.Scenario, w *world) (*collector, error) {
	work := s.Workload
	shares := 0.0
	for i := range work.Types {
		shares += work.Types[i].Share
	}
	origins := [2]float64{work.OriginA, 1 - work.OriginA}
	var makers []expecter
	for i, l := range w.layers {
		if origins[i] > 0 {
			makers = append(makers, l)
		}
		if work.Listen != nil {
			l.Listen(node.LinkID(0), work.Listen)
		}
	}
	demands := make([]*demand, len(work.Types))
	for i := range work.Types {
		var err error
		if demands[i], err = newDemand(&work.Types[i], work.Load, shares, &w.ends, &w.specs, makers); err != nil {
			key := toml.Element("workload.type", i) + "." + refusedFor(&work.Types[i], &w.ends, &w.specs, err)
			return nil, &scenario.Error{Key: key, Code: qnet.CodeOf(err), Text: err.Error()}
		}
	}
	c := newCollector(work, w.loop, node.LinkID(0), demands, w, s.Seed)
	for i, l := range w.layers {
		c.layers[i] = l
		l.Handle(&side{c, i})
	}
	if err := w.loop.RunFor(0); err != nil { // the link comes up
		return nil, err
	}
	for i, d := range demands {
		for end, origin := range origins {
			q := d.perCycle(origin)
			if q == 0 {
				continue
			}
			rng := qnet.NewRand(s.Seed, fmt.Sprintf("workload/%s/%c", d.Name, 'A'+rune(end)))
			src, err := newSource(rng, w.ends[end].Cycles, w.loop.Now(), q, work.Poisson)
			if err != nil {
				return nil, &scenario.Error{Key: "workload.load", Code: qnet.CodeOf(err), Text: fmt.Sprintf("requests of type %s: %v", d.Name, err)}
			}
			c.begin(i, end, src)
		}
	}
	return c, nil
}

// The time by the wall clock between two looks at the context.
const (
	lookLeast = 20 * time.Millisecond
	lookMost  = 100 * time.Millisecond
)

// run lets time pass up to, and not including, the end.
func (w *world) run(ctx context.Context, end qnet.Time, progress func(done, total time.Duration)) error {
	step := max(1, time.Duration(end)/1_000_000)
	for last := time.Now(); w.loop.Now() < end-1; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := w.loop.RunUntil(min(w.loop.Now().Add(step), end-1)); err != nil {
			return err
		}
		if progress != nil {
			progress(w.loop.Now().Sub(0), time.Duration(end))
		}
		now := time.Now()
		switch took := now.Sub(last); {
		case took < lookLeast && step < math.MaxInt64/4:
			step *= 2
		case took > lookMost:
			step = max(1, step/2)
		}
		last = now
	}
	return nil
}

// RunSeeds runs the workload of a scenario n times, as often as it says for 0, with
// seeds that count from that of the scenario or the options, and returns the
// results in this order. At most so many run at once; for 0, one on each
// processor. The first error ends all. Options are as for Run, save that a trace
// or a filter can serve one run only.
func RunSeeds(ctx context.Context, s *scenario.Scenario, n, parallel int, o Options) ([]*Result, error) {
	if s.Workload == nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "scenario %s has no [workload]", s.Name)
	}
	if n == 0 {
		n = s.Workload.Seeds
	}
	if n < 1 || n > scenario.MaxSeeds {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%d seeds: want 1 to %d", n, scenario.MaxSeeds)
	}
	if n > 1 && (o.Trace != nil || o.Filter != nil) {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%d runs can not share a trace or a filter: want one seed", n)
	}
	if parallel <= 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	first := s.Seed
	if o.Seed != 0 {
		first = o.Seed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]*Result, n)
	p := progress{told: o.Progress}
	next := make(chan int)
	var all sync.WaitGroup
	for range min(parallel, n) {
		all.Go(func() {
			for i := range next {
				run := o
				run.Seed = first + uint64(i)
				if o.Progress != nil {
					run.Progress = p.of(n)
				}
				r, err := runSeed(ctx, s, run)
				if err != nil {
					cancel(err)
					continue
				}
				results[i] = r
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return results, nil
}

// runSeed is Run with a seed that may be 0.
func runSeed(ctx context.Context, s *scenario.Scenario, o Options) (*Result, error) {
	c := *s
	c.Seed = o.Seed
	return Run(ctx, &c, o)
}

// progress adds up that of several runs.
type progress struct {
	mu   sync.Mutex
	done float64 // nanoseconds, of all runs
	told func(done, total time.Duration)
}

// of returns what one of n runs tells.
func (p *progress) of(n int) func(done, total time.Duration) {
	var before time.Duration
	return func(done, total time.Duration) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.done += float64(done - before)
		before = done
		p.told(time.Duration(p.done/float64(n)), total)
	}
}
