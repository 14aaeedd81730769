package workload

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"qstack/link"
	"qstack/node"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/qnet"
)

// demand is how the load of one type is made of requests.
type demand struct {
	scenario.WorkloadType
	request link.Request // all but the deadline
	point   link.Point
	cycles  float64 // of an attempt
	lanes   float64 // that attempt beside each other
	load    float64 // the type's part of it
	law     pairsLaw
	axes    [2][]uint8 // by number of a basis, of the creator and of its peer: X, Y, Z or another
	chsh    bool       // both ends measure in the bases of a CHSH test
}

// expecter tells what pairs of a request would be like: a link layer.
type expecter interface {
	Expect(link physical.LinkID, r link.Request) (link.Quality, error)
	Best(link physical.LinkID, r link.Request) (link.Quality, error)
}

// newDemand works out the demand of a type on a link whose two ends are given, of
// a load in which all shares together are as given. It is for what all of the given
// ends expect, which are those that make requests.
func newDemand(t *scenario.WorkloadType, load, shares float64, ends *[2]link.EndConfig, specs *[2]*physical.Spec, makers []expecter) (*demand, error) {
	d := &demand{WorkloadType: *t, load: load * t.Share / shares, lanes: float64(max(1, min(ends[0].Lanes, ends[1].Lanes)))}
	if t.Lasts > 0 {
		d.law = pairsLaw{inverse: 1 / (t.Rate * t.Lasts.Seconds())}
	} else {
		d.law = newPairsLaw(t.PairsMin, t.PairsMax)
	}
	d.request = link.Request{Type: requestType(t.Type), MinFidelity: t.MinFidelity, Priority: t.Priority, Atomic: t.Atomic,
		Consecutive: t.Consecutive, Store: t.Store, Limit: math.MaxUint64, Rate: t.Rate, Purpose: t.Purpose}
	if t.Consecutive {
		d.request.Pairs = uint64(t.PairsMax) // the most demanding of them
	}
	switch t.Type {
	case scenario.MeasurePairs:
		d.request.Bases, d.request.PeerBases = orPaulis(t.Bases), orPaulis(t.PeerBases)
	case scenario.PreparePairs:
		d.request.Bases = orPaulis(t.Bases)
	}
	for i, s := range [2]physical.BasisSource{d.request.Bases, d.request.PeerBases} {
		for _, b := range s.Bases {
			d.axes[i] = append(d.axes[i], axisOf(b))
		}
	}
	d.chsh = slices.Equal(d.request.Bases.Bases, chshBases[0]) && slices.Equal(d.request.PeerBases.Bases, chshBases[1])
	// What one end grants the other may not: of prepared pairs they differ in which
	// half is measured.
	refused := func(err error) error {
		return qnet.Errorf(qnet.CodeOf(err), "requests of type %s: %v", t.Name, err)
	}
	if t.Highest {
		d.request.MinFidelity = 1
		for _, x := range makers {
			q, err := x.Best(node.LinkID(0), d.request)
			if err != nil {
				return nil, refused(err)
			}
			d.request.MinFidelity = min(d.request.MinFidelity, q.Granted)
		}
	}
	for i, x := range makers { // the fastest that is good enough
		q, err := x.Expect(node.LinkID(0), d.request)
		if err != nil {
			return nil, refused(err)
		}
		if p := ends[0].Points[q.Point]; i == 0 || p.Probability < d.point.Probability {
			d.point = p
		}
	}
	for side := range ends {
		d.cycles = max(d.cycles, cyclesPerAttempt(t.Type, t.Store, specs[side], ends[side].Cycles.Period, ends[side].Stride))
	}
	return d, nil
}

// refusedFor returns the key of a type for which a link refuses its requests.
func refusedFor(t *scenario.WorkloadType, ends *[2]link.EndConfig, specs *[2]*physical.Spec, err error) string {
	switch {
	case errors.Is(err, qnet.ErrFidelity):
		return "min_fidelity"
	case ends[0].Immediate: // no pair can be kept
		return "type"
	case t.Store && min(specs[0].Storage, specs[1].Storage) == 0:
		return "store"
	}
	return "pairs" // too many at a time
}

func requestType(t scenario.RequestType) link.Type {
	switch t {
	case scenario.MeasurePairs:
		return link.Measure
	case scenario.PreparePairs:
		return link.Prepare
	}
	return link.Keep
}

// cyclesPerAttempt returns E, the mean number of cycles of period nanoseconds from
// one attempt to the next as loads are counted: 1 if the halves are measured at
// once, the stride if one of them is kept. If it is stored, in a qubit that is
// reached through the communication qubit, the attempts pause for its
// initialisation whenever it is older than its T2: E = stride/(1 − i/(i+n)) for i
// cycles of initialisation every n cycles (as the reference counts; that both are
// rounded to strides it leaves out).
func cyclesPerAttempt(t scenario.RequestType, store bool, spec *physical.Spec, period float64, stride uint64) float64 {
	if t == scenario.MeasurePairs {
		return 1
	}
	e := float64(max(1, stride))
	m := spec.Memory
	if !store || m == nil || !m.Indirect || m.T2 == 0 {
		return e
	}
	init := math.Ceil(float64(m.Init) / period)
	every := math.Floor(m.T2*1e9/period + 1e-9)
	return e / (1 - init/(init+every))
}

// saturation returns the pairs per second of attempts without a break, of all lanes.
func (d *demand) saturation(period float64) float64 {
	return d.lanes * d.point.Probability / (d.cycles * period * 1e-9)
}

// offered returns the pairs per second that requests ask for in the mean.
func (d *demand) offered(period float64) float64 { return d.load * d.saturation(period) }

// perCycle returns the mean number of requests in a cycle from an end from which
// the given share of the load comes.
func (d *demand) perCycle(origin float64) float64 {
	return d.load * origin * d.lanes * d.point.Probability / d.cycles * d.law.inverse
}

// pairsLaw is the distribution of the number of pairs of a request: from min to
// max with a probability in proportion to 1/k.
type pairsLaw struct {
	min     int
	inverse float64   // the mean of 1/k when k is uniform
	upTo    []float64 // probability of all up to each number; none for a single one
}

func newPairsLaw(low, high int) pairsLaw {
	l := pairsLaw{min: low, inverse: 1 / float64(low)}
	if low == high {
		return l
	}
	sum := 0.0
	for k := low; k <= high; k++ {
		sum += 1 / float64(k)
		l.upTo = append(l.upTo, sum)
	}
	l.inverse = sum / float64(len(l.upTo))
	for i := range l.upTo {
		l.upTo[i] /= sum
	}
	return l
}

func (l *pairsLaw) draw(rng *rand.Rand) int {
	if l.upTo == nil {
		return l.min
	}
	u := rng.Float64()
	i := sort.Search(len(l.upTo)-1, func(i int) bool { return u < l.upTo[i] })
	return l.min + i
}

// source draws the instants of the requests of one type from one end.
type source struct {
	rng    *rand.Rand
	cycles physical.Cycles
	cycle  uint64  // of the last request
	rate   float64 // of a geometric distribution in cycles: −log(1−q); or mean requests per cycle
	time   float64 // nanoseconds; of the last request, if they do not come at cycles
	any    bool    // requests come at any time
}

// newSource returns the source of requests from start on, q per cycle in the mean,
// at most one in a cycle unless they come at any time. It fails with
// qnet.ErrInvalid when that is too many.
func newSource(rng *rand.Rand, cycles physical.Cycles, start qnet.Time, q float64, poisson bool) (*source, error) {
	s := &source{rng: rng, cycles: cycles, any: poisson}
	if poisson {
		s.time, s.rate = float64(start), q
		return s, nil
	}
	if q > 1 {
		return nil, qnet.Errorf(qnet.ErrInvalid, "the load makes %.3g requests per cycle, where one can come: lower it, ask for more pairs at once or set arrivals = %q", q, "poisson")
	}
	s.cycle, s.rate = cycles.From(start)-1, -math.Log1p(-q)
	return s, nil
}

// next returns the instant of the next request.
func (s *source) next() qnet.Time {
	gap := qnet.Exponential(s.rng) / s.rate
	if s.any {
		if s.time += gap * s.cycles.Period; s.time >= math.MaxInt64 {
			return qnet.Never
		}
		return qnet.Time(s.time)
	}
	if gap >= math.MaxInt64/2 {
		return qnet.Never
	}
	s.cycle += 1 + uint64(gap)
	return s.cycles.Instant(s.cycle)
}

// paulis are the bases of either end, drawn at random each on its own.
var paulis = physical.BasisSource{Bases: []qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}}

// chshBases are those of the creator and of its peer in a CHSH test.
var chshBases = [2][]qnet.Basis{{qnet.BasisZ, qnet.BasisX}, {qnet.BasisXZ(math.Pi / 4), qnet.BasisXZ(-math.Pi / 4)}}

func orPaulis(s physical.BasisSource) physical.BasisSource {
	if len(s.Bases) == 0 {
		return paulis
	}
	return s
}

// axisOf returns the number of a basis in paulis, their number if it is none of
// them.
func axisOf(b qnet.Basis) uint8 {
	if i := slices.Index(paulis.Bases, b); i >= 0 {
		return uint8(i)
	}
	return uint8(len(paulis.Bases))
}

// deadline returns that of a request which is made now.
func (d *demand) deadline(now qnet.Time) qnet.Time {
	if d.Deadline == 0 {
		return qnet.Never
	}
	return now.Add(time.Duration(d.Deadline))
}
