package estimate

import (
	"crypto/sha256"
	"encoding/binary"
)

// TestRound reports whether the pair with a number on its link is sacrificed as a
// test round, which the given fraction of all pairs are, and in which basis it is
// then measured: 0, 1 and 2 for X, Y and Z, each as often. Both ends come to the
// same answer when they have the same salt.
//
// The choice is SHA-256 of salt and number, both of fixed length: to whom does not
// know the salt it looks random, so that nobody can make the pairs that are tested
// better than the others. The salt is drawn by the ends, anew at each start of the
// link, and no one else is told.
func TestRound(salt [16]byte, seq uint64, fraction float64) (test bool, basis int) {
	var b [24]byte
	copy(b[:], salt[:])
	binary.BigEndian.PutUint64(b[16:], seq)
	h := sha256.Sum256(b[:])
	// The probability is in units of 2⁻⁵³.
	if x := binary.BigEndian.Uint64(h[:8]); !(fraction > 0) || fraction < 1 && float64(x>>11)*0x1p-53 >= fraction {
		return false, 0
	}
	return true, int(binary.BigEndian.Uint64(h[8:16]) % 3)
}
