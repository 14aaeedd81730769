package prepare

import (
	"math"
	"math/bits"
	"math/rand/v2"

	"qstack/qnet"
)

// setting is what the parties choose for one pulse, with the two bits that a
// detection may give.
type setting struct {
	p      float64    // probability of the choice
	bit    [2]float64 // probabilities, given the choice, of a detection with bit 0 and bit 1
	right  uint8      // the bit that is right
	record [4]uint8   // the choice as it is recorded
	count  int        // the Count that it belongs to
}

// sampler draws detections of independent pulses. It is immutable.
type sampler struct {
	settings []setting
	left     []float64 // probability of setting i and those after it
	counts   int
	scale    float64 // −1/log(1−P): pulses per unit of an exponential variate
	kinds    []kind
}

// kind is a kind of detection with its place in an alias table: of the equal
// shares of probability, the part up to below is the kind's own, what is above
// that of kind other.
type kind struct {
	below  uint64 // in 2⁻⁶⁴
	other  uint32
	record [5]uint8
}

func newSampler(settings []setting) sampler {
	s := sampler{settings: settings, left: make([]float64, len(settings))}
	total := 0.0
	for _, x := range settings {
		for bit, p := range x.bit {
			s.kinds = append(s.kinds, kind{record: [5]uint8{x.record[0], x.record[1], x.record[2], x.record[3], uint8(bit)}})
			total += x.p * p
		}
		s.counts = max(s.counts, x.count+1)
	}
	for i, sum := len(settings)-1, 0.0; i >= 0; i-- {
		sum += settings[i].p
		s.left[i] = sum
	}
	s.scale = -1 / math.Log1p(-total)
	s.alias(total)
	return s
}

// alias fills in the alias table (A. J. Walker, ACM Trans. Math. Software 3, 253
// (1977)).
func (s *sampler) alias(total float64) {
	n := len(s.kinds)
	share := make([]float64, n) // of each kind, 1 on average
	var small, large []int
	for i := range s.kinds {
		x := s.settings[i/2]
		share[i] = x.p * x.bit[i%2] / total * float64(n)
		s.kinds[i].below, s.kinds[i].other = math.MaxUint64, uint32(i)
		if share[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		i, j := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		s.kinds[i].below = uint64(share[i] * 0x1p64)
		s.kinds[i].other = uint32(j)
		if share[j] -= 1 - share[i]; share[j] < 1 {
			large = large[:len(large)-1]
			small = append(small, j)
		}
	}
}

// undetected draws the number of pulses before the next detection. A number that
// does not fit is the largest that does.
func (s *sampler) undetected(rng *rand.Rand) uint64 {
	n := math.Floor(qnet.Exponential(rng) * s.scale)
	if !(n < math.MaxUint64) {
		return math.MaxUint64
	}
	return uint64(n)
}

// detection draws a kind of detection.
func (s *sampler) detection(rng *rand.Rand) *[5]uint8 {
	i, x := bits.Mul64(rng.Uint64(), uint64(len(s.kinds)))
	k := &s.kinds[i]
	if x >= k.below {
		k = &s.kinds[k.other]
	}
	return &k.record
}

// detect draws the detections among the pulses from, from+1, … up to before to,
// until the columns are full, and returns their number and the first pulse that
// was not looked at.
func (s *sampler) detect(rng *rand.Rand, from, to uint64, pulse []uint64, columns *[5][]uint8) (n int, next uint64) {
	n = len(pulse)
	for _, c := range columns {
		n = min(n, len(c))
	}
	a, b, c, d, e := columns[0][:n], columns[1][:n], columns[2][:n], columns[3][:n], columns[4][:n]
	for i := range n {
		if from >= to {
			return i, to
		}
		skip := s.undetected(rng)
		if skip >= to-from {
			return i, to
		}
		from += skip
		r := s.detection(rng)
		pulse[i], a[i], b[i], c[i], d[i], e[i] = from, r[0], r[1], r[2], r[3], r[4]
		from++
	}
	return n, from
}

// Count is what became of the pulses of one choice of settings.
type Count struct {
	Sent     uint64
	Detected uint64
	Errors   uint64 // detections whose bit is not the right one
}

// count adds what became of the given number of pulses to counts.
func (s *sampler) count(rng *rand.Rand, pulses uint64, counts []Count) error {
	if len(counts) != s.counts {
		return qnet.Errorf(qnet.ErrInvalid, "%d counts: want %d, one for each choice", len(counts), s.counts)
	}
	for pulses > 0 {
		left := min(pulses, maxTrials)
		pulses -= left
		for i := range s.settings {
			x := &s.settings[i]
			if x.p == 0 {
				continue
			}
			sent := binomial(rng, left, x.p/s.left[i])
			left -= sent
			wrong := x.bit[1-x.right]
			errors := binomial(rng, sent, wrong)
			right := binomial(rng, sent-errors, x.bit[x.right]/(1-wrong))
			c := &counts[x.count]
			c.Sent += sent
			c.Detected += right + errors
			c.Errors += errors
		}
	}
	return nil
}

// Bases of a detection in BB84.
const (
	Z uint8 = iota
	X
)

// Detections are detections of a BB84 link as columns of equal length: in pulse
// Pulse[i] of intensity number Intensity[i] the sender encoded the bit SenderBit[i]
// in the basis SenderBasis[i], Z or X, and the receiver measured in
// ReceiverBasis[i] and saw ReceiverBit[i].
type Detections struct {
	Pulse                      []uint64
	Intensity                  []uint8
	SenderBasis, SenderBit     []uint8
	ReceiverBasis, ReceiverBit []uint8
}

// NewDetections returns columns of length n.
func NewDetections(n int) *Detections {
	return &Detections{Pulse: make([]uint64, n), Intensity: make([]uint8, n), SenderBasis: make([]uint8, n),
		SenderBit: make([]uint8, n), ReceiverBasis: make([]uint8, n), ReceiverBit: make([]uint8, n)}
}

// BB84Sampler draws what happens to the pulses of a BB84 link, which are
// independent of each other. It is immutable, so it may be used with any number
// of random streams.
type BB84Sampler struct {
	sampler
}

// BB84Index returns the place among the counts of a BB84 link of an intensity
// and both bases.
func BB84Index(intensity int, sender, receiver uint8) int {
	return intensity*4 + int(sender)*2 + int(receiver)
}

func newBB84Sampler(b Bases, probability []float64, responses []Response) *BB84Sampler {
	senders := [2]float64{Z: b.SenderZ, X: 1 - b.SenderZ}
	receivers := [2]float64{Z: b.ReceiverZ, X: 1 - b.ReceiverZ}
	var list []setting
	for i, r := range responses {
		for sb, ps := range senders {
			for rb, pr := range receivers {
				e := r.Error
				if sb != rb {
					e = 0.5
				}
				for bit := range uint8(2) {
					x := setting{p: probability[i] * ps * pr / 2, right: bit, record: [4]uint8{uint8(i), uint8(sb), bit, uint8(rb)}, count: BB84Index(i, uint8(sb), uint8(rb))}
					x.bit[bit], x.bit[1-bit] = r.Gain*(1-e), r.Gain*e
					list = append(list, x)
				}
			}
		}
	}
	return &BB84Sampler{newSampler(list)}
}

// Counts returns the number of counts of the link: four for each intensity.
func (s *BB84Sampler) Counts() int { return s.counts }

// Count draws what becomes of the given number of pulses and adds it to counts,
// which are in the order of BB84Index. It fails with qnet.ErrInvalid unless there
// are Counts of them. It takes the same time for any number of pulses.
func (s *BB84Sampler) Count(rng *rand.Rand, pulses uint64, counts []Count) error {
	return s.count(rng, pulses, counts)
}

// Detect draws the detections among the pulses from, from+1, … up to before to,
// in order, into the columns of d until the shortest is full. It returns the number of
// detections and the first pulse that it did not look at: to, or where to go on.
func (s *BB84Sampler) Detect(rng *rand.Rand, from, to uint64, d *Detections) (n int, next uint64) {
	return s.detect(rng, from, to, d.Pulse, &[5][]uint8{d.Intensity, d.SenderBasis, d.SenderBit, d.ReceiverBasis, d.ReceiverBit})
}

// TwinFieldSender is how one end of a twin-field link chooses its pulses: for the
// key, or of random phase for one of the tests. All probabilities add up to 1.
type TwinFieldSender struct {
	Key   Intensity
	Tests []Intensity // at most MaxIntensities-1
}

// intensities returns the key's intensity, number 0, and those of the tests.
func (s TwinFieldSender) intensities() []Intensity {
	return append([]Intensity{s.Key}, s.Tests...)
}

// Announcements are announced rounds of a twin-field link as columns of equal
// length: in round Pulse[i] end A sent its intensity number IntensityA[i], with
// 0 for the key and k for test k−1, and the sign of BitA[i], end B likewise, and
// only Detector[i] clicked. Bits of tests have no meaning.
type Announcements struct {
	Pulse            []uint64
	IntensityA, BitA []uint8
	IntensityB, BitB []uint8
	Detector         []uint8 // 0: the detector in which equal bits meet
}

// NewAnnouncements returns columns of length n.
func NewAnnouncements(n int) *Announcements {
	return &Announcements{Pulse: make([]uint64, n), IntensityA: make([]uint8, n), BitA: make([]uint8, n),
		IntensityB: make([]uint8, n), BitB: make([]uint8, n), Detector: make([]uint8, n)}
}

// TwinFieldSampler draws what happens in the rounds of a twin-field link, which
// are independent of each other. It is immutable, so it may be used with any
// number of random streams.
type TwinFieldSampler struct {
	sampler
	testsB int
}

// Sampler returns the sampler of a link whose ends choose their pulses as given.
// It fails with qnet.ErrInvalid for an impossible parameter.
func (t TwinField) Sampler(a, b TwinFieldSender) (*TwinFieldSampler, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	listA, listB := a.intensities(), b.intensities()
	if err := validateIntensities("twin-field link, end A", listA); err != nil {
		return nil, err
	}
	if err := validateIntensities("twin-field link, end B", listB); err != nil {
		return nil, err
	}
	s := &TwinFieldSampler{testsB: len(b.Tests)}
	var list []setting
	for i, x := range listA {
		for j, y := range listB {
			right, wrong := t.Coherent(x.Mean, y.Mean)
			if i > 0 || j > 0 {
				right = t.RandomPhase(x.Mean, y.Mean)
				wrong = right
			}
			for bits := range uint8(4) {
				bitA, bitB := bits>>1, bits&1
				c := setting{p: x.Probability * y.Probability / 4, right: bitA ^ bitB, record: [4]uint8{uint8(i), bitA, uint8(j), bitB}, count: s.Index(i, j)}
				c.bit[c.right], c.bit[1-c.right] = right, wrong
				list = append(list, c)
			}
		}
	}
	s.sampler = newSampler(list)
	return s, nil
}

// Index returns the place among the counts of a choice of intensities, 0 being
// that for the key.
func (s *TwinFieldSampler) Index(intensityA, intensityB int) int {
	return intensityA*(s.testsB+1) + intensityB
}

// Counts returns the number of counts of the link, one for each choice of
// intensities.
func (s *TwinFieldSampler) Counts() int { return s.counts }

// Count draws what becomes of the given number of rounds and adds it to counts,
// which are in the order of Index. An error is a click of the detector that the
// bits do not go to; half of the clicks in tests are. It fails with
// qnet.ErrInvalid unless there are Counts of them.
func (s *TwinFieldSampler) Count(rng *rand.Rand, rounds uint64, counts []Count) error {
	return s.count(rng, rounds, counts)
}

// Detect draws the announcements among the rounds from, from+1, … up to before
// to, in order, into the columns of d until the shortest is full. It returns the number
// of announcements and the first round that it did not look at: to, or where to
// go on.
func (s *TwinFieldSampler) Detect(rng *rand.Rand, from, to uint64, d *Announcements) (n int, next uint64) {
	return s.detect(rng, from, to, d.Pulse, &[5][]uint8{d.IntensityA, d.BitA, d.IntensityB, d.BitB, d.Detector})
}
