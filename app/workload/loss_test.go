package workload

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/qnettest"
)

// witness stands between an end's link layer and the collector, and remembers all
// that it is told.
type witness struct {
	*side
	layer
	t        *testing.T
	loop     func() qnet.Time
	handed   map[uint64]link.RequestID // pairs that were handed up and not voided
	voided   map[uint64]bool
	deadline map[link.RequestID]qnet.Time // of requests that were made here and are not over
}

// watch puts a witness at each end of a run.
func watch(t *testing.T, j *job) (ws [2]*witness) {
	for i, l := range j.layers {
		ws[i] = &witness{side: &side{j.collector, i}, layer: l, t: t, loop: j.loop.Now, handed: make(map[uint64]link.RequestID),
			voided: make(map[uint64]bool), deadline: make(map[link.RequestID]qnet.Time)}
		l.Handle(ws[i])
		j.collector.layers[i] = ws[i]
	}
	return ws
}

func (w *witness) Create(k physical.LinkID, r link.Request) (link.RequestID, error) {
	id, err := w.layer.Create(k, r)
	if err == nil {
		w.deadline[id] = r.Deadline
	}
	return id, err
}

func (w *witness) hand(seq uint64, id link.RequestID) {
	if _, ok := w.handed[seq]; ok || w.voided[seq] {
		w.t.Errorf("end %d is handed pair %d again", w.i, seq)
	}
	w.handed[seq] = id
}

func (w *witness) Pair(p link.Pair) {
	w.hand(p.Seq, p.Request)
	w.side.Pair(p)
}

func (w *witness) Measured(k physical.LinkID, id link.RequestID, ms []link.Measured) {
	for n, m := range ms {
		if n > 0 && m.Seq <= ms[n-1].Seq {
			w.t.Errorf("end %d is handed pair %d of request %d after %d", w.i, m.Seq, id, ms[n-1].Seq)
		}
		w.hand(m.Seq, id)
	}
	w.side.Measured(k, id, ms)
}

func (w *witness) Expired(k physical.LinkID, id link.RequestID, seq uint64, had bool) {
	if _, ok := w.handed[seq]; ok != had || w.voided[seq] {
		w.t.Errorf("end %d: pair %d is void: handed up %v, told %v; void before %v", w.i, seq, ok, had, w.voided[seq])
	}
	delete(w.handed, seq)
	w.voided[seq] = true
	w.side.Expired(k, id, seq, had)
}

func (w *witness) Ended(k physical.LinkID, id link.RequestID, err error) {
	if d, ok := w.deadline[id]; ok && w.loop() > d {
		w.t.Errorf("end %d: request %d ends %v after its deadline", w.i, id, w.loop().Sub(d))
	}
	delete(w.deadline, id)
	w.side.Ended(k, id, err)
}

// rest reports whether nothing is left of any request, pair or message.
func (j *job) rest() error {
	for _, l := range j.layers {
		if err := l.Idle(); err != nil {
			return err
		}
	}
	if err := j.station.Idle(); err != nil {
		return err
	}
	if l := j.fabric.Ledger(); len(l) > 0 {
		return fmt.Errorf("%d qubits are in use, the first %v", len(l), l[0])
	}
	if n := j.net.InFlight(); n > 0 {
		return fmt.Errorf("%d messages are under way", n)
	}
	return nil
}

// lossy is a link of nodes with storage, fast enough for many frames.
const lossy = `version = 1
network.name = "lossy"
hardware.h = { t2 = "50 ms", init = "1 us", gate1 = "1 us", gate2 = "10 us", readout = "10 us" }
heralding.h = { model = "ideal", attempt_rate = "20 kHz", probability = 0.05, fidelity = 0.9 }
nodes = [{ name = "alice", hardware = "h", storage = 4 }, { name = "bob", hardware = "h", storage = 4 }]
links = [{ nodes = ["alice", "bob"], length = "10 km", heralding = "h", lanes = LANES }]
[workload]
load = 0.02
loss = LOSS
tomography = 0.3
horizon = "60 s"
`

// TestLossLeaksNothing: with frames lost on every channel, requests of all kinds
// complete, or fail by their deadline; both ends are handed the same pairs but for
// those that are void; and nothing is left when no more is asked for.
func TestLossLeaksNothing(t *testing.T) {
	const (
		measure = "[[workload.type]]\nname = \"MD\"\ntype = \"measure\"\npairs = \"1..50\"\n"
		keep    = "[[workload.type]]\nname = \"CK\"\ntype = \"keep\"\npairs = \"1..3\"\n"
		store   = "[[workload.type]]\nname = \"NL\"\ntype = \"keep\"\npairs = \"1..2\"\nstore = true\natomic = true\npriority = 2\n"
		prepare = "[[workload.type]]\nname = \"RSP\"\ntype = \"prepare\"\npriority = 1\n"
		due     = "deadline = \"300 ms\"\n"
		good    = "min_fidelity = \"highest\"\n" // a pair that is heard of too late is void
	)
	for _, kinds := range []struct{ name, text string }{
		{"measure", measure}, {"keep", keep}, {"mixed", measure + keep + store + prepare},
		{"deadlines", measure + due + keep + due + store + due + prepare + due},
		{"good", measure + good + keep + good + store + good + prepare + good},
		{"together", measure + "atomic = true\n" + keep + good + "consecutive = true\n" + store + due + prepare},
	} {
		for _, loss := range []string{"1e-4", "1e-3", "1e-2", "0.1"} {
			for _, lanes := range []string{"1", "3"} {
				if kinds.name == "together" && lanes == "1" {
					continue // there is one qubit for the three pairs
				}
				t.Run(kinds.name+"/"+loss+"/"+lanes, func(t *testing.T) {
					text := strings.Replace(strings.Replace(lossy, "LOSS", loss, 1), "LANES", lanes, 1) + kinds.text
					s := parse(t, text)
					for s.Seed = range 4 {
						checkLoss(t, s)
					}
				})
			}
		}
	}
}

func checkLoss(t *testing.T, s *scenario.Scenario) {
	j, err := newJob(s, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.loop.Close()
	ws := watch(t, j)
	if err := j.run(context.Background(), j.collector.end, nil); err != nil {
		t.Fatal(err)
	}
	r := j.result()
	// Whatever is still wanted gets a while; messages of before are repeated until
	// they are heard.
	if err := j.loop.RunFor(60 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := j.rest(); err != nil {
		t.Error(err)
	}
	for i, w := range ws {
		if n := len(w.deadline); n > 0 {
			t.Errorf("%d requests of end %d are not over", n, i)
		}
	}
	for i, w := range ws {
		for seq, id := range w.handed {
			if other := ws[1-i].handed[seq]; other != id {
				t.Errorf("pair %d of request %d is of request %d at end %d (0: it was not handed up)", seq, id, other, 1-i)
			}
		}
	}
	if n := len(j.collector.halves); n > 0 {
		t.Errorf("the collector holds %d halves", n)
	}
	if n := len(j.collector.readings); n > 0 {
		t.Errorf("%d measurements of kept pairs are under way", n)
	}
	if len(j.collector.errors) > 0 {
		t.Error(strings.Join(j.collector.errors, "\n"))
	}
	all := r.All.Both
	var lost uint64
	for _, name := range slices.Sorted(maps.Keys(r.Lost)) {
		lost += r.Lost[name]
	}
	if s.Workload.LossLink >= 1e-2 && lost == 0 {
		t.Error("nothing was lost")
	}
	for code, n := range all.Failed {
		if code != qnet.ErrTimeout.Error() && code != qnet.ErrNoMemory.Error() && code != qnet.ErrNoAnswer.Error() {
			t.Errorf("%d requests failed: %s", n, code)
		}
	}
	if all.Completed < all.Requests*9/10 && s.Workload.LossLink < 0.05 {
		t.Errorf("%d of %d requests completed; failed %v", all.Completed, all.Requests, all.Failed)
	}
	t.Logf("%d requests, %d completed, failed %v, %d open, %d pairs, expired %v, %d frames lost", all.Requests, all.Completed, all.Failed, all.Open, all.Pairs, r.Expired, lost)
}

// TestSaturatedLoss: with one frame in a thousand or fewer lost, the throughput of
// a saturated link that measures falls by no more than 4p: of QL2020, and of one of
// which a lane brings a pair each millisecond. 5 standard errors of the two counts,
// which are Poisson's at most: a false alarm in 3e6.
func TestSaturatedLoss(t *testing.T) {
	quick := func(lanes string) string {
		text := strings.Replace(lossy, "LOSS", "0", 1)
		return strings.Replace(text, "LANES", lanes, 1) + "[[workload.type]]\nname = \"M\"\ntype = \"measure\"\npairs = \"1..3\"\n"
	}
	for _, c := range []struct {
		name, text string
		load       float64
		horizon    time.Duration
	}{
		{"QL2020", strings.Replace(campaign, "PAIRS", `"1..3"`, 1), 1.2, 5000 * time.Second},
		{"one lane", quick("1"), 2, 60 * time.Second},
		{"four lanes", quick("4"), 2, 30 * time.Second},
	} {
		count := func(p float64) float64 {
			s := parse(t, c.text)
			s.Workload.Load, s.Workload.Horizon, s.Workload.LossLink, s.Workload.LossStation = c.load, c.horizon, p, p
			r := run(t, s, Options{})
			if len(r.Errors) > 0 {
				t.Errorf("%s: %s", c.name, strings.Join(r.Errors, "\n"))
			}
			return float64(r.All.Both.Pairs)
		}
		none := count(0)
		for _, p := range []float64{1e-4, 1e-3} {
			got := count(p)
			t.Logf("%s, loss %g: %g pairs, %g without", c.name, p, got, none)
			if floor := none*(1-4*p) - 5*math.Sqrt(none+got); got < floor {
				t.Errorf("%s: with loss %g %g pairs come, without %g: want at least %g", c.name, p, got, none, floor)
			}
		}
	}
}

// TestThinnedAttempts: where every attempt has messages of its own, which are lost
// with a probability p at each end, an attempt of probability P succeeds with
// P(1−p)². The frames of this station are not lost, so that all attempts go on to
// their success: their number has the geometric distribution. Chi-square at 1e-6.
func TestThinnedAttempts(t *testing.T) {
	const success = 0.02
	for _, p := range []float64{0, 0.1, 0.4} {
		for _, kind := range []string{"keep", "measure"} {
			text := strings.Replace(strings.Replace(lossy, "LOSS", fmt.Sprintf("{ link = 0, station = %g }", p), 1), "LANES", "1", 1)
			text = strings.Replace(text, "probability = 0.05", fmt.Sprintf("probability = %g", success), 1)
			text = strings.Replace(text, "[workload]", "[link]\ncompat.loss = \"per-attempt\"\n[workload]", 1)
			s := parse(t, text+fmt.Sprintf("[[workload.type]]\nname = \"X\"\ntype = %q\npairs = 1\n", kind))
			s.Workload.Load, s.Workload.Horizon = 0.1, 200*time.Second
			j, err := newJob(s, &Options{})
			if err != nil {
				t.Fatal(err)
			}
			station := j.net // the same, with nothing lost
			half := s.HalfDelay(&s.Links[0])
			for _, e := range j.ends {
				if err := station.Connect(endID(j, e.Side), e.Station, control.LinkConfig{Delay: half}); err != nil {
					t.Fatal(err)
				}
			}
			w := &attempts{side: &side{j.collector, 0}, station: j.station}
			j.layers[0].Handle(w)
			if err := j.run(context.Background(), j.collector.end, nil); err != nil {
				t.Fatal(err)
			}
			r := j.result()
			j.loop.Close()
			if want := 2 * p * float64(r.Attempts); r.Attempts != j.station.Attempts() || r.NoMessageOther != want || r.Attempts == 0 {
				t.Errorf("%d attempts, %g without one message, want %g", r.Attempts, r.NoMessageOther, want)
			}
			// 40 classes of about the same probability, and the rest.
			q := success * (1 - p) * (1 - p)
			width := max(1, int(1/q/12))
			counts, law := make([]int, 41), make([]float64, 41)
			for _, n := range w.took {
				counts[min(40, int(n-1)/width)]++
			}
			for i := range law {
				law[i] = math.Pow(1-q, float64(i*width))
				if i < 40 {
					law[i] -= math.Pow(1-q, float64((i+1)*width))
				}
			}
			if len(w.took) < 2000 {
				t.Errorf("%d successes", len(w.took))
			}
			qnettest.Fit(t, fmt.Sprintf("attempts to a success, %s, p = %g", kind, p), counts, law)
		}
	}
}

// endID returns the identity of the end of a side: the peer of the other.
func endID(j *job, side int) qnet.NodeID { return j.ends[1-side].Peer }

// attempts notes at one end how many attempts each of its pairs took.
type attempts struct {
	*side
	station *link.Station
	before  uint64
	took    []uint64
}

func (a *attempts) note(n int) {
	now := a.station.Attempts()
	if n == 1 {
		a.took = append(a.took, now-a.before)
	}
	a.before = now
}

func (a *attempts) Pair(p link.Pair) {
	a.note(1)
	a.side.Pair(p)
}

func (a *attempts) Measured(k physical.LinkID, id link.RequestID, ms []link.Measured) {
	a.note(len(ms))
	a.side.Measured(k, id, ms)
}
