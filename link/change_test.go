package link_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/satellite"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// piece is what holds of a link that changes from a cycle on, counted from the
// beginning of its round: success probability (0: out of contact), and fidelity and
// label of its Werner states.
type piece struct {
	from        float64
	p, fidelity float64
	label       qnet.BellLabel
}

// pieces are a round of a link that changes again and again, in the same way.
var pieces = []piece{
	{0, 0.05, 0.9, qnet.PhiPlus},
	{20.5, 0, 0, 0},
	{45, 0.3, 0.7, qnet.PsiMinus},
	{52.3, 0.02, 1, qnet.PhiMinus},
	{80.25, 0, 0, 0},
	{120, 1, 0.8, qnet.PsiPlus},
	{121, 0.01, 0.85, qnet.PsiPlus},
}

const (
	round   = 200  // cycles
	cycleNS = 1000 // nanoseconds
)

// pieceAt returns the number of the piece that a cycle belongs to.
func pieceAt(phase uint64) (k int) {
	for i, x := range pieces {
		if float64(phase) >= x.from {
			k = i
		}
	}
	return k
}

// segment returns the piece as a segment, n rounds later.
func (x piece) segment(n int) herald.Segment {
	s := herald.Segment{From: qnet.Time(math.Round((float64(n*round) + x.from) * cycleNS))}
	if x.p > 0 {
		s.Model = herald.Ideal{Probability: x.p, Fidelity: x.fidelity, Label: x.label, PeriodNS: cycleNS}
	}
	return s
}

// asSchedule tells the link in advance how it changes, for so many rounds.
func asSchedule(rounds int) (s herald.Schedule) {
	for n := range rounds {
		for _, x := range pieces {
			s = append(s, x.segment(n))
		}
	}
	return append(s, herald.Segment{From: qnet.Time(rounds * round * cycleNS)})
}

// asReplaced changes the link at run time, in every way: at once, in advance, and
// in advance but then otherwise.
func (w *world) asReplaced(rounds int) {
	k := w.fabric.Link(theLink)
	replace := func(n int, at float64, future ...herald.Segment) {
		w.loop.At(qnet.Time((float64(n*round)+at)*cycleNS), func() {
			if err := k.Replace(future); err != nil {
				w.t.Error(err)
			}
		})
	}
	bogus := piece{0, 0.9, 0.5, qnet.PhiMinus}
	since := func(from float64, x piece, n int) herald.Segment {
		x.from = from
		return x.segment(n)
	}
	for n := range rounds {
		replace(n, 10.5, pieces[1].segment(n), pieces[2].segment(n))
		replace(n, 15.3, since(60, bogus, n), since(90, bogus, n))
		replace(n, 47.2, pieces[3].segment(n), since(110, bogus, n))
		replace(n, 80.25, piece{}.segment(0)) // since the epoch: now
		replace(n, 100.5, since(90, bogus, n), since(100.7, pieces[4], n), since(150, bogus, n))
		// A link of a hundred changes, most of them over.
		var past herald.Schedule
		for i := range 100 {
			past = append(past, since(float64(i), bogus, n))
		}
		replace(n, 119.5, append(past, since(115, pieces[4], n), pieces[5].segment(n), since(120.5, bogus, n))...)
		replace(n, 120.3, pieces[6].segment(n))
		next := pieces[0].segment(n + 1)
		if n == rounds-1 {
			next.Model = nil
		}
		replace(n, 199.7, next)
	}
}

// byAttempts makes the attempts one by one and returns how many succeed in each
// cycle of the round. After a success a lane is deaf for some nanoseconds.
func byAttempts(rng *rand.Rand, rounds int, deaf float64) (h []int) {
	h = make([]int, round)
	ready := -1.0
	for c := range uint64(rounds * round) {
		at := float64(c) * cycleNS
		if at <= ready {
			continue
		}
		if rng.Float64() < pieces[pieceAt(c%round)].p {
			h[c%round]++
			ready = at + deaf
		}
	}
	return h
}

// A link that changes has the successes of attempts made one by one, with the
// state of their own cycle, whether it was known in advance or changed at run time,
// for kept pairs and measured ones, near and far. False alarms below 1e-6 each.
func TestChangingLink(t *testing.T) {
	for _, typ := range []link.Type{link.Keep, link.Measure} {
		for _, how := range []string{"schedule", "replaced"} {
			for _, length := range []float64{0, 2000} {
				t.Run(fmt.Sprintf("%v/%s/%g m", typ, how, length), func(t *testing.T) {
					t.Parallel()
					const rounds = 2000
					cfg := worldConfig{seed: 31, probability: 0.05, period: cycleNS, length: length, spec: physical.Spec{Storage: 1}, dephasing: 1e-6}
					if how == "schedule" {
						cfg.schedule = asSchedule(rounds)
					} else {
						cfg.schedule = herald.Schedule{pieces[0].segment(0)}
					}
					w := newWorld(t, cfg)
					if how == "replaced" {
						w.asReplaced(rounds)
					}
					got, quality := w.successes(typ, rounds)
					deaf := float64(2 * w.half)
					if length == 0 {
						// Every cycle is an attempt, so that success and failure in each are cases.
						var counts []int
						var want []float64
						for phase, n := range got {
							p := pieces[pieceAt(uint64(phase))].p
							counts, want = append(counts, n, rounds-n), append(want, p/round, (1-p)/round)
						}
						qnettest.Fit(t, "successes by cycle", counts, want)
					}
					qnettest.SameDistribution(t, "successes by cycle, against attempts", got, byAttempts(rand.New(rand.NewPCG(31, 31)), 3*rounds, deaf))
					if typ == link.Measure {
						qnettest.Fit(t, "outcomes by piece", quality, expectedQuality(quality))
					}
				})
			}
		}
	}
}

// successes has the link make all pairs that it can in so many rounds, and returns
// how many came in each cycle of the round; if they are measured, also how many by
// piece, bases, first bit and whether the bits differ.
func (w *world) successes(typ link.Type, rounds int) (phases, quality []int) {
	t := w.t
	phases, quality = make([]int, round), make([]int, len(pieces)*16)
	stored := w.fabric.Device(alice)
	var q physical.Qubit
	stored.Do(physical.Op{Kind: physical.OpAlloc}, func(r physical.Result) { q = r.Qubit })
	w.run(0)
	stored.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: q}, nil)
	w.run(0)
	src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisZ, qnet.BasisX}}
	w.ends[1].bases = src
	oracle := w.fabric.Oracle()
	for side, e := range w.ends {
		other := w.ends[1-side]
		e.onPair = func(_ *end, p link.Pair) {
			o, ok := other.held[p.Seq]
			if !ok {
				return
			}
			x := pieces[pieceAt((w.cycles.From(p.Created)-physical.CycleBase)%round)]
			if f, err := oracle.BellFidelity(w.loop.Now(), p.Qubit, o.Qubit, p.Label); err != nil || p.Label != x.label || math.Abs(f-x.fidelity) > 1e-9 {
				t.Errorf("pair of %v: %v with fidelity %v (%v), want %v with %v", p.Created, p.Label, f, err, x.label, x.fidelity)
			}
			w.ends[0].free(p.Seq)
			w.ends[1].free(p.Seq)
		}
	}
	id := w.ends[0].create(link.Request{Type: typ, Pairs: 1 << 30, Deadline: qnet.Never, Limit: 1 << 30, Bases: src})
	end := qnet.Time(rounds * round * cycleNS)
	check := func(at qnet.Time) {
		for w.loop.Now() < at && !t.Failed() {
			w.run(at.Sub(w.loop.Now()))
		}
		// Every cycle is an attempt, if none is lost after a success. Measured pairs,
		// and the attempts after them, are counted when their frame is announced.
		if w.half == 0 && (typ == link.Keep || at > end) {
			if got, want := w.attempts(q), math.Floor(float64(at)/cycleNS); math.Abs(got-want) > 1.5 {
				t.Errorf("%.2f attempts until %v, want %.0f", got, at, want)
			}
		}
	}
	for _, part := range []float64{0.1234567, 0.5, 0.87654321, 1} {
		check(qnet.Time(part * float64(end)))
	}
	check(end.Add(time.Second))
	c := w.ends[0].requests[id]
	if len(w.ends[1].requests[id].pairs) != len(c.pairs) || len(w.ends[1].requests[id].measured) != len(c.measured) {
		t.Error("the ends have different pairs")
	}
	count := func(created qnet.Time) (k int) {
		phase := (w.cycles.From(created) - physical.CycleBase) % round
		phases[phase]++
		return pieceAt(phase)
	}
	for _, p := range c.pairs {
		count(p.Created)
	}
	for i, a := range c.measured {
		b := w.ends[1].requests[id].measured[i]
		if a.Seq != b.Seq || a.Created != b.Created || a.Label != b.Label {
			t.Fatalf("%+v at one end, %+v at the other", a, b)
		}
		k := count(a.Created)
		if a.Label != pieces[k].label {
			t.Errorf("%+v, want label %v", a, pieces[k].label)
		}
		quality[k<<4|int(a.Basis<<3|b.Basis<<2|a.Bit<<1|a.Bit^b.Bit)]++
	}
	w.ends[0].requests[id].ended = true
	w.ends[0].layer.End(theLink, id, qnet.ErrCancelled)
	stored.Do(physical.Op{Kind: physical.OpFree, A: q}, nil)
	w.run(time.Second)
	w.rest()
	return phases, quality
}

// expectedQuality returns the distribution of the outcomes, given how many there
// are of each piece: a pair is in the Bell state of its label or, alike, in any of
// the others; a Bell state gives fair bits, that differ in Z if it has a bit flip
// and in X if it has a phase flip, and are independent in different bases.
func expectedQuality(counts []int) []float64 {
	p := make([]float64, len(counts))
	total := 0
	for _, n := range counts {
		total += n
	}
	for k, x := range pieces {
		n := 0
		for _, c := range counts[k<<4 : (k+1)<<4] {
			n += c
		}
		for i := range 16 {
			ba, bb, differ := i>>3&1, i>>2&1, i&1
			q := 0.5
			if ba == bb {
				q = 0
				for l := range qnet.BellLabel(4) {
					weight := (1 - x.fidelity) / 3
					if l == x.label {
						weight = x.fidelity
					}
					if flips := int(l>>(1-ba)) & 1; flips == differ {
						q += weight
					}
				}
			}
			p[k<<4|i] = float64(n) / float64(total) * q / 8
		}
	}
	return p
}

// A request waits for the contact, however long, and has its first pair in the
// first cycle; out of contact nothing is left to happen but refreshing windows.
func TestContactOpens(t *testing.T) {
	for _, typ := range []link.Type{link.Keep, link.Measure} {
		t.Run(typ.String(), func(t *testing.T) {
			sure := herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1000}
			w := newWorld(t, worldConfig{seed: 32, probability: 1, length: 2000,
				schedule: herald.Schedule{{From: 5_000_000_500, Model: sure}, {From: 6e9}, {From: 20e9, Model: sure}}})
			id := w.ends[0].create(link.Request{Type: typ, Pairs: 1, Deadline: qnet.Never, Limit: 1})
			w.run(4999 * time.Millisecond)
			if n := w.loop.Events(); n > 1000 {
				t.Errorf("%d events out of contact", n)
			}
			w.runUntil(50*time.Millisecond, func() bool { return w.ended(id) })
			c := w.ends[0].requests[id]
			var created []qnet.Time
			for _, p := range c.pairs {
				created = append(created, p.Created)
			}
			for _, m := range c.measured {
				created = append(created, m.Created)
			}
			if len(created) != 1 || created[0] != 5_000_001_000 {
				t.Errorf("pairs of %v, want one of 5.000001s", created)
			}
			w.run(2 * time.Second)
			w.rest()

			// A deadline before the next contact.
			id = w.ends[0].create(link.Request{Type: typ, Pairs: 1, Deadline: w.loop.Now().Add(time.Second), Limit: 1})
			w.runUntil(1500*time.Millisecond, func() bool { return w.ended(id) })
			qnettest.WantErr(t, w.ends[0].requests[id].err, qnet.ErrTimeout)
			w.run(time.Second)
			w.rest()

			// Lost for good, and found again at run time.
			k := w.fabric.Link(theLink)
			if err := k.Replace(herald.Schedule{{}}); err != nil {
				t.Fatal(err)
			}
			id = w.ends[1].create(link.Request{Type: typ, Pairs: 1, Deadline: qnet.Never, Limit: 1})
			w.run(time.Minute)
			if w.ended(id) {
				t.Fatal("a pair out of contact")
			}
			if err := k.Replace(herald.Always(sure)); err != nil {
				t.Fatal(err)
			}
			w.runUntil(time.Second, func() bool { return w.ended(id) })
			w.run(time.Second)
			w.rest()
		})
	}
}

// A link that is lost while a success is due, for longer than the windows last,
// goes on with the first cycle in which it is back.
func TestLostAndBack(t *testing.T) {
	for _, typ := range []link.Type{link.Keep, link.Measure} {
		t.Run(typ.String(), func(t *testing.T) {
			w := newWorld(t, worldConfig{seed: 35, probability: 1e-3})
			id := w.ends[0].create(link.Request{Type: typ, Pairs: 1, Deadline: qnet.Never, Limit: 1})
			w.run(100 * time.Microsecond)
			back := w.loop.Now().Add(5 * time.Second)
			if err := w.fabric.Link(theLink).Replace(herald.Schedule{{}, {From: back, Model: herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1000}}}); err != nil {
				t.Fatal(err)
			}
			w.runUntil(5100*time.Millisecond, func() bool { return w.ended(id) })
			c := w.ends[0].requests[id]
			if len(c.pairs) == 1 && c.pairs[0].Created != back || len(c.measured) == 1 && c.measured[0].Created != back || len(c.pairs)+len(c.measured) != 1 {
				t.Errorf("pairs %v and %v, want one of %v", c.pairs, c.measured, back)
			}
			w.run(time.Second)
			w.rest()
		})
	}
}

// A change does not make a qubit ready that is being measured.
func TestReplaceWhileDeaf(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 36, probability: 1, length: 2000})
	id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 2000, Deadline: qnet.Never, Limit: 2000})
	for at := time.Duration(0); at < 20*time.Millisecond; at += 777 * time.Nanosecond {
		w.loop.After(at, func() {
			if err := w.fabric.Link(theLink).Replace(herald.Always(herald.Ideal{Probability: 1, Fidelity: 1, PeriodNS: 1000})); err != nil {
				t.Error(err)
			}
		})
	}
	w.runUntil(time.Second, func() bool { return w.ended(id) })
	ms := w.ends[0].requests[id].measured
	for i := 1; i < len(ms); i++ {
		if d := ms[i].Created.Sub(ms[i-1].Created); d != 10*time.Microsecond { // light goes back and forth for 9.7 µs
			t.Fatalf("pairs of %v and %v", ms[i-1].Created, ms[i].Created)
		}
	}
	w.run(time.Second)
	w.rest()
}

// A link whose light is measured as it arrives refuses to keep pairs at once, at
// both ends, and goes on with what is to be measured.
func TestNothingToKeep(t *testing.T) {
	source := herald.PairSource{MeanPairs: 0.01, EtaA: 0.1, EtaB: 0.2, Visibility: 0.9, PeriodNS: 1000}
	w := newWorld(t, worldConfig{seed: 33, probability: source.SuccessProbability(), length: 2000, lanes: 2, schedule: herald.Always(source)})
	measured := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 100, Deadline: qnet.Never, Limit: 100})
	ids := []link.RequestID{w.ends[0].keep(1), w.ends[0].keep(100), w.ends[1].keep(1)}
	w.run(time.Millisecond)
	for _, id := range ids {
		for side, e := range w.ends {
			c := e.requests[id]
			if c == nil || !c.ended {
				t.Fatalf("side %d: request %d waits", side, id)
			}
			qnettest.WantErr(t, c.err, qnet.ErrUnsupported)
		}
	}
	qnettest.WantErr(t, w.ends[0].requests[ids[0]].err, qnet.ErrUnsupported,
		"the light of link 1 is measured as it arrives, so there is no pair to keep: ask for pairs to be measured")
	w.runUntil(time.Minute, func() bool { return w.ended(measured) })
	w.run(time.Second)
	w.rest()
}

// A source as far away as a geostationary satellite brings pairs without a pause,
// while acknowledgements are a fifth of a second under way.
func TestFarSource(t *testing.T) {
	for _, p := range []float64{1, 0.3} {
		w := newWorld(t, worldConfig{seed: 37, probability: p, period: 1e5, length: 40_000_000,
			schedule: herald.Always(ideal{herald.Ideal{Probability: p, Fidelity: 1, PeriodNS: 1e5}})})
		const n = 10_000
		src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisZ}}
		w.ends[1].bases = src
		id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: n, Deadline: qnet.Never, Limit: n, Bases: src})
		w.runUntil(time.Hour, func() bool { return w.ended(id) })
		ms := checkMeasured(t, w, id, n)
		got, want := make([]int, 40), make([]float64, 40)
		for i := 1; i < n; i++ {
			bin(got, w.cycles.From(ms[i].Created)-w.cycles.From(ms[i-1].Created)-1)
		}
		rest := 1.0
		for i := range want {
			want[i] = rest * p
			rest *= 1 - p
		}
		want[len(want)-1] += rest
		if p == 1 && got[0] != n-1 {
			t.Errorf("%d pairs of %d in the cycle after another", got[0], n-1)
		} else if p < 1 { // false alarm below 1e-6
			qnettest.Fit(t, "cycles between pairs", got, want)
		}
		w.run(10 * time.Second)
		w.rest()
	}
}

// ideal is a link whose light is measured as it arrives.
type ideal struct{ herald.Ideal }

func (ideal) Immediate() bool { return true }

// table is a down-link of constant loss between two instants.
func table(from, to, loss float64) satellite.Path {
	return satellite.Table{Points: []satellite.Point{{At: from, Loss: loss}, {At: (from + to) / 2, Loss: loss - 3}, {At: to, Loss: loss}}}
}

// Pairs from a satellite come while both stations see it, at the rate and with the
// correlations of a Poisson number of pairs and background light in each window of
// coincidence: chi-square by tenth of a second, bases and difference of the bits.
// The ends are 2 ms apart, much longer than the time between pairs. False alarm
// below 1e-6.
func TestSatellite(t *testing.T) {
	const (
		window               = 1.0 // ns
		rate                 = 1e7
		dark, background     = 1000.0, 3000.0
		visibility           = 0.96
		detectorA, detectorB = 0.5, 0.4
	)
	source := satellite.Source{
		A: table(0.5, 3, 14), B: table(1, 4, 13.5), Step: 0.02, BackgroundA: background, BackgroundB: background / 2,
		Pairs: herald.ContinuousSource{PairsPerSecond: rate, WindowNS: window, EtaA: detectorA, EtaB: detectorB, Visibility: visibility, Label: qnet.PsiMinus, DarkRateA: dark, DarkRateB: dark},
	}
	sched, err := source.Schedule()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, worldConfig{seed: 34, probability: 1e-4, period: window, length: 412_000, schedule: sched})
	src := physical.BasisSource{Bases: []qnet.Basis{qnet.BasisZ, qnet.BasisX}}
	w.ends[1].bases = src
	id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 1 << 40, Deadline: qnet.Never, Limit: 1 << 40, Bases: src})
	w.run(6 * time.Second)
	const bins = 40 // of a tenth of a second, each with a case for other bases, and like and unlike bits in equal ones
	got, want := make([]int, 3*bins), make([]float64, 3*bins)
	b := w.ends[1].requests[id].measured
	for i, a := range w.ends[0].requests[id].measured {
		if a.Created < 1e9 || a.Created >= 3e9 {
			t.Fatalf("a pair of %v, out of contact", a.Created)
		}
		k := int(a.Created / 1e8)
		switch {
		case a.Basis != b[i].Basis:
			got[3*k]++
		case a.Bit == b[i].Bit:
			got[3*k+1]++
		default:
			got[3*k+2]++
		}
	}
	loss := func(t, from, to, ends float64) float64 {
		return math.Pow(10, -(ends-3*(1-math.Abs(2*t-from-to)/(to-from)))/10)
	}
	var sum float64
	for ms := 1000; ms < 3000; ms++ {
		at := (float64(ms) + 0.5) / 1000
		etaA, etaB := detectorA*loss(at, 0.5, 3, 14), detectorB*loss(at, 1, 4, 13.5)
		// Mean events in a window: at A, at B, and pairs seen at both.
		a := (rate*etaA + 2*(dark+background)) * window * 1e-9
		b := (rate*etaB + 2*(dark+background/2)) * window * 1e-9
		both := rate * etaA * etaB * window * 1e-9
		p := 1 - math.Exp(-a) - math.Exp(-b) + math.Exp(both-a-b)
		// One pair seen at both and nothing else is correlated, all else is not, to a
		// relative a+b below 1e-2 of the few that come of several.
		v := visibility * both / p * math.Exp(-(a+b)/2)
		n := p * 1e6 / window
		k := 3 * (ms / 100)
		want[k] += n / 2
		want[k+1] += n / 2 * (1 - v) / 2
		want[k+2] += n / 2 * (1 + v) / 2
		sum += n
	}
	total := 0
	for i := range got {
		total += got[i]
		want[i] /= sum
	}
	if math.Abs(float64(total)-sum) > 5*math.Sqrt(sum) {
		t.Errorf("%d pairs, want %.0f ± %.0f", total, sum, math.Sqrt(sum))
	}
	t.Logf("%d pairs, expected %.0f", total, sum)
	qnettest.Fit(t, "pairs by time and outcome", got, want)
	w.ends[0].requests[id].ended = true
	w.ends[0].layer.End(theLink, id, qnet.ErrCancelled)
	w.run(time.Second)
	w.rest()
}
