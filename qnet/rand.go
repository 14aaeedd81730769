package qnet

import (
	"crypto/sha256"
	"encoding/binary"
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
