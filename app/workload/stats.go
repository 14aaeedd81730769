package workload

import (
	"math"
	"time"

	"qstack/qnet"
)

// moments are the mean and the sum of squares about it of what was added.
type moments struct {
	n        uint64
	mean, m2 float64
}

func (m *moments) add(x float64) {
	m.n++
	d := x - m.mean
	m.mean += d / float64(m.n)
	m.m2 += d * (x - m.mean)
}

// merge adds what was added to o.
func (m *moments) merge(o *moments) {
	if o.n == 0 {
		return
	}
	n := m.n + o.n
	d := o.mean - m.mean
	m.m2 += o.m2 + d*d*float64(m.n)*float64(o.n)/float64(n)
	m.mean += d * float64(o.n) / float64(n)
	m.n = n
}

// estimate returns the mean, its standard error that of independent observations.
func (m *moments) estimate() Estimate {
	e := Estimate{Mean: m.mean, N: m.n}
	if m.n > 1 {
		e.StdErr = math.Sqrt(m.m2 / float64(m.n-1) / float64(m.n))
	}
	return e
}

// bins of a histogram: 17 powers of ten of nanoseconds, some three years.
const bins = 17 * BinsPerDecade

// binOf returns the bin of a time.
func binOf(d time.Duration) int {
	if d <= 1 {
		return 0
	}
	return min(int(math.Log10(float64(d))*BinsPerDecade), bins-1)
}

// BinEdge returns the time in seconds at which a bin begins.
func BinEdge(i int) float64 { return math.Pow(10, float64(i)/BinsPerDecade-9) }

// distribution is that of times.
type distribution struct {
	count  uint64
	total  float64 // seconds
	max    time.Duration
	counts [bins]uint64
}

func (d *distribution) add(t time.Duration, bin int) {
	d.count++
	d.total += t.Seconds()
	d.max = max(d.max, t)
	d.counts[bin]++
}

// percentile returns the time below which the share p of the times is, in
// seconds, as if the times of a bin were spread evenly in the logarithm.
func (d *distribution) percentile(p float64) float64 {
	want := p * float64(d.count)
	for i, n := range d.counts {
		if n := float64(n); n > 0 && want <= n {
			return min(BinEdge(i)*math.Pow(10, want/n/BinsPerDecade), d.max.Seconds())
		}
		want -= float64(n)
	}
	return d.max.Seconds()
}

func (d *distribution) result() Distribution {
	if d.count == 0 {
		return Distribution{}
	}
	r := Distribution{Average: Average{Mean: d.total / float64(d.count), N: d.count}}
	r.P50, r.P90, r.P99, r.Max = d.percentile(0.5), d.percentile(0.9), d.percentile(0.99), d.max.Seconds()
	first, last := 0, bins-1
	for d.counts[first] == 0 {
		first++
	}
	for d.counts[last] == 0 {
		last--
	}
	r.Histogram = Histogram{First: first, Counts: append([]uint64(nil), d.counts[first:last+1]...)}
	return r
}

// level is a quantity that changes in steps, such as the length of a queue, over
// time from start on.
type level struct {
	start, width qnet.Time // of the intervals
	end          qnet.Time
	last         qnet.Time // of the last change
	value, max   float64
	area         [MaxPoints]float64 // value times nanoseconds
}

// newLevel returns a level of 0 from start to end.
func newLevel(start, end qnet.Time) level {
	return level{start: start, last: start, end: end, width: max(1, (end-start+MaxPoints-1)/MaxPoints)}
}

// set changes the value at t, which is not before the last change.
func (l *level) set(t qnet.Time, v float64) {
	if t > l.last {
		l.advance(t)
	}
	l.value = v
	if t >= l.start {
		l.max = max(l.max, v)
	}
}

func (l *level) advance(t qnet.Time) {
	t = min(t, l.end)
	if l.last == l.start {
		l.max = max(l.max, l.value) // what was left by the warm-up
	}
	for l.last < t {
		i := (l.last - l.start) / l.width
		to := min(t, l.start+(i+1)*l.width)
		l.area[i] += l.value * float64(to-l.last)
		l.last = to
	}
}

func (l *level) result() Series {
	l.advance(l.end)
	s := Series{IntervalS: l.width.Seconds(), Max: l.max}
	total := 0.0
	for t, i := l.start, 0; t < l.end; i++ {
		to := min(t+l.width, l.end)
		s.Points = append(s.Points, l.area[i]/float64(to-t))
		total += l.area[i]
		t = to
	}
	if l.end > l.start {
		s.Mean = total / float64(l.end-l.start)
	}
	return s
}

// rate counts events in windows of one length, some of which are an interval.
type rate struct {
	points    [MaxPoints]int64
	intervals int // windows of an interval
	done      int // windows that are closed
}

func newRate(windows int) rate {
	return rate{intervals: max(1, (windows+MaxPoints-1)/MaxPoints)}
}

// add closes a window with n events.
func (r *rate) add(n int64) {
	r.points[min(r.done/r.intervals, MaxPoints-1)] += n
	r.done++
}

// result returns the rate over all of the given time, in windows of the given
// length of which the last may be cut short, in seconds.
func (r *rate) result(window, all float64) Series {
	s := Series{IntervalS: window * float64(r.intervals)}
	var total int64
	for t, i := 0.0, 0; i < MaxPoints && all-t > 1e-9*all; i++ {
		to := min(t+s.IntervalS, all)
		hz := float64(r.points[i]) / (to - t)
		s.Points = append(s.Points, hz)
		s.Max = max(s.Max, hz)
		total += r.points[i]
		t = to
	}
	s.Mean = float64(total) / all
	return s
}
