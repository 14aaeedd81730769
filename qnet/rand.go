package qnet

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// NewRand returns the random stream of the entity called name in an experiment
// with the given seed. Streams of different names are independent, and no two
// entities share one (design rule 3): name it after the owner and the use, as
// in "node/alice/bases".
func NewRand(seed uint64, name string) *rand.Rand {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], seed)
	h := sha256.New()
	h.Write(b[:])
	h.Write([]byte(name))
	sum := h.Sum(nil)
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])))
}

// Exponential draws an exponential variate of mean 1: −log(1−u) at one of 2⁶⁴
// equidistant points u, to full precision at both ends. It has no branch that
// depends on the draw, but for one in 2²³.
func Exponential(rng *rand.Rand) float64 {
	x := ^rng.Uint64() // 1-u=(x+1/2)/2^64
	high, low := x>>11, x&(1<<11-1)
	if high < 1<<30 { // all of it fits a float64
		return -math.Log((float64(x) + 0.5) * 0x1p-64)
	}
	// log(y+d)=log(y)+d/y, since d/y is below 2^-30; y is exact.
	y := float64(int64(high)) * 0x1p-53
	d := (float64(int64(low)) + 0.5) * 0x1p-64
	return -(math.Log(y) + d/y)
}

// Choice draws one of several possibilities. It is in units of 2⁻⁵³, those of
// rand.Float64, the probability of all up to each of them but the last.
type Choice []uint64

// NewChoice returns the choice of which upTo has these probabilities, not
// decreasing, up to rounding from 0 to 1; none stand for a single possibility.
func NewChoice(upTo ...float64) Choice {
	c := make(Choice, len(upTo))
	for i, p := range upTo {
		c[i] = uint64(math.Ceil(max(0, p) * (1 << 53)))
	}
	return c
}

// Fill draws each element of dst, which is short of 256 possibilities, as Draw
// does.
func (c Choice) Fill(dst []uint8, rng *rand.Rand) {
	switch len(c) {
	case 0:
		clear(dst)
	case 1:
		x := c[0] - 1
		for i := range dst {
			dst[i] = uint8((x - rng.Uint64()<<11>>11) >> 63)
		}
	default:
		for i := range dst {
			dst[i] = uint8(c.Draw(rng))
		}
	}
}

// Draw returns the index of a possibility: the first whose upTo is above
// rng.Float64(). No branch depends on what is drawn, since no processor could
// foretell it. A single possibility takes nothing from rng.
func (c Choice) Draw(rng *rand.Rand) int {
	if len(c) == 0 {
		return 0
	}
	u := rng.Uint64() << 11 >> 11
	var k uint64
	for _, x := range c {
		k += (x - 1 - u) >> 63 // 1 unless u < x
	}
	return int(k)
}
