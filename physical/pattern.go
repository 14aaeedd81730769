package physical

import "math"

// Pattern says in which cycles a window attempts: in multiples of Stride, from
// First on, and, if Every is not 0, in blocks: for Every cycles, then not for
// Pause cycles, then again from the next multiple of Stride on. The pauses are
// those in which a storage qubit is initialised anew.
//
// The zero value attempts in every cycle.
type Pattern struct {
	First  uint64 // rounded up to a multiple of Stride
	Stride uint64 // 0 stands for 1
	Every  uint64 // 0: no pauses
	Pause  uint64
}

// IsZero reports whether p is the zero value.
func (p Pattern) IsZero() bool { return p.First|p.Stride|p.Every|p.Pause == 0 }

// stride returns the cycles from one attempt to the next.
func (p Pattern) stride() uint64 { return max(1, p.Stride) }

// origin returns the first cycle of the pattern.
func (p Pattern) origin() uint64 { return ceil(p.First, p.stride()) }

// block returns the cycles from the begin of one block to that of the next, 0 if
// there are no pauses, and the attempts of a block.
func (p Pattern) block() (cycles, attempts uint64) {
	if p.Every == 0 {
		return 0, 0
	}
	s := p.stride()
	whole := p.Every + p.Pause
	if whole < p.Every {
		whole = math.MaxUint64 // one block for all cycles there are
	}
	return ceil(whole, s), ceil(p.Every, s) / s
}

// ceil rounds n up to a multiple of step; what does not fit is the last multiple
// that does.
func ceil(n, step uint64) uint64 {
	r := n % step
	if r == 0 {
		return n
	}
	if n > math.MaxUint64-(step-r) {
		return n - r
	}
	return n + (step - r)
}

// Has reports whether there is an attempt in a cycle.
func (p Pattern) Has(cycle uint64) bool {
	o := p.origin()
	if cycle < o || cycle%p.stride() != 0 {
		return false
	}
	b, _ := p.block()
	return b == 0 || (cycle-o)%b < p.Every
}

// Index returns the number of attempts before a cycle.
func (p Pattern) Index(cycle uint64) uint64 {
	o := p.origin()
	if cycle <= o {
		return 0
	}
	d, s := cycle-o, p.stride()
	b, n := p.block()
	if b == 0 {
		return ceil(d, s) / s
	}
	return d/b*n + min(n, ceil(d%b, s)/s)
}

// Resumed returns the last cycle, a given one or one before, in which attempts
// begin again after a pause; ok is false when there is none.
func (p Pattern) Resumed(cycle uint64) (begin uint64, ok bool) {
	o := p.origin()
	b, _ := p.block()
	if b == 0 || p.Pause == 0 || cycle < o || cycle-o < b {
		return 0, false
	}
	return cycle - (cycle-o)%b, true
}

// At returns the cycle of the attempt before which there are n others; ok is
// false when it has no number.
func (p Pattern) At(n uint64) (cycle uint64, ok bool) {
	o, s := p.origin(), p.stride()
	d := uint64(0)
	if b, k := p.block(); b != 0 {
		if n/k > (math.MaxUint64-o)/b {
			return 0, false
		}
		d, n = n/k*b, n%k
	}
	if n > (math.MaxUint64-o-d)/s {
		return 0, false
	}
	return o + d + n*s, true
}
