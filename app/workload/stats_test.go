package workload

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qstack/qnet"
)

func TestMoments(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var a, b, all moments
		var xs []float64
		for range rng.IntN(50) {
			x := 1e6 + rng.NormFloat64()
			xs = append(xs, x)
			if rng.IntN(2) == 0 {
				a.add(x)
			} else {
				b.add(x)
			}
			all.add(x)
		}
		a.merge(&b)
		sum, squares := 0.0, 0.0
		for _, x := range xs {
			sum += x
		}
		mean := sum / float64(len(xs))
		for _, x := range xs {
			squares += (x - mean) * (x - mean)
		}
		n := float64(len(xs))
		want := Estimate{Mean: mean, StdErr: math.Sqrt(squares / (n - 1) / n), N: uint64(len(xs))}
		switch len(xs) {
		case 0:
			want = Estimate{}
		case 1:
			want.StdErr = 0
		}
		for _, got := range []Estimate{a.estimate(), all.estimate()} {
			if got.N != want.N || math.Abs(got.Mean-want.Mean) > 1e-6 || math.Abs(got.StdErr-want.StdErr) > 1e-6 {
				t.Fatalf("%d values: got %+v, want %+v", len(xs), got, want)
			}
		}
	}
}

// TestDistribution: percentiles are within 2.5 % of those of the values
// themselves, and exact at the ends of bins.
func TestDistribution(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, scale := range []float64{1e4, 1e9, 1e13} {
		d := new(distribution)
		var all []float64
		for range 20_000 {
			x := time.Duration(rng.ExpFloat64() * scale)
			d.add(x, binOf(x))
			all = append(all, x.Seconds())
		}
		slices.Sort(all)
		r := d.result()
		for p, got := range map[float64]float64{0.5: r.P50, 0.9: r.P90, 0.99: r.P99} {
			want := all[int(p*float64(len(all)))]
			if math.Abs(got/want-1) > 0.025 {
				t.Errorf("scale %g: percentile %g is %g, want %g", scale, p, got, want)
			}
		}
		if r.Max != all[len(all)-1] {
			t.Errorf("most is %g, want %g", r.Max, all[len(all)-1])
		}
		var n uint64
		for _, c := range r.Histogram.Counts {
			n += c
		}
		if n != r.N || r.Histogram.Counts[0] == 0 || r.Histogram.Counts[len(r.Histogram.Counts)-1] == 0 {
			t.Errorf("histogram of %d from bin %d: %v", r.N, r.Histogram.First, r.Histogram.Counts)
		}
	}
	for i, d := range map[int]time.Duration{0: 0, BinsPerDecade: 10, 9 * BinsPerDecade: time.Second, bins - 1: math.MaxInt64} {
		if got := binOf(d); got != i {
			t.Errorf("%v is in bin %d, want %d", d, got, i)
		}
	}
	if BinEdge(9*BinsPerDecade) != 1 {
		t.Errorf("bin of one second begins at %g s", BinEdge(9*BinsPerDecade))
	}
	if r := (&distribution{}).result(); r.N != 0 || r.P50 != 0 || r.Histogram.Counts != nil {
		t.Errorf("nothing is %+v", r)
	}
}

// TestLevel: against the value at every nanosecond.
func TestLevel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	for range 500 {
		start := qnet.Time(rng.IntN(50))
		end := start + 1 + qnet.Time(rng.IntN(3000))
		l := newLevel(start, end)
		values := make([]float64, end)
		at, v := qnet.Time(0), 0.0
		var most float64
		for at < end {
			next := min(end, at+qnet.Time(rng.IntN(200)))
			for i := at; i < next; i++ {
				values[i] = v
				if i >= start {
					most = max(most, v)
				}
			}
			if at = next; at < end {
				v = float64(rng.IntN(10))
				l.set(at, v)
				if at >= start {
					most = max(most, v)
				}
			}
		}
		s := l.result()
		width := qnet.Time(math.Round(s.IntervalS * 1e9))
		total := 0.0
		for i, got := range s.Points {
			from, to := start+qnet.Time(i)*width, min(end, start+qnet.Time(i+1)*width)
			want := 0.0
			for _, x := range values[from:to] {
				want += x
			}
			total += want
			if math.Abs(got-want/float64(to-from)) > 1e-9 {
				t.Fatalf("point %d is %g, want %g", i, got, want/float64(to-from))
			}
		}
		if len(s.Points) > MaxPoints || qnet.Time(len(s.Points))*width < end-start {
			t.Fatalf("%d points of %d ns for %d ns", len(s.Points), width, end-start)
		}
		if math.Abs(s.Mean-total/float64(end-start)) > 1e-9 || s.Max != most {
			t.Fatalf("mean %g, most %g; want %g, %g", s.Mean, s.Max, total/float64(end-start), most)
		}
	}
}

func TestRate(t *testing.T) {
	for _, windows := range []int{1, 2, 199, 200, 201, 1000, 12345} {
		r := newRate(windows)
		var total uint64
		for i := range windows {
			r.add(int64(i % 7))
			total += uint64(i % 7)
		}
		all := 0.5*float64(windows) - 0.2 // the last window is cut short
		s := r.result(0.5, all)
		if len(s.Points) > MaxPoints || math.Abs(s.Mean-float64(total)/all) > 1e-9 {
			t.Errorf("%d windows: %d points, mean %g", windows, len(s.Points), s.Mean)
		}
		sum := 0.0
		for i, x := range s.Points {
			sum += x * (min(all, float64(i+1)*s.IntervalS) - float64(i)*s.IntervalS)
		}
		if math.Abs(sum-float64(total)) > 1e-6*float64(total) {
			t.Errorf("%d windows: the points have %g events, want %d", windows, sum, total)
		}
	}
}
