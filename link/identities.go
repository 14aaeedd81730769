package link

// maxLate bounds how far an ADD may be behind the latest one: so many more than an
// end creates while it repeats one that only a copy is further.
const maxLate = 1 << 16

// identities tells of which requests of the peer this end has heard, by their
// numbers, which the peer counts up: of the latest each, and of none before them
// that it has not.
type identities struct {
	next uint64 // after the highest
	bits [maxLate / 64]uint64
}

// has reports whether a request was heard of, or is too old to be new.
func (s *identities) has(n uint64) bool {
	return n < s.next && (s.next-n > maxLate || s.bits[n/64%(maxLate/64)]>>(n%64)&1 != 0)
}

// add notes a request.
func (s *identities) add(n uint64) {
	if n >= s.next {
		if n-s.next >= maxLate {
			clear(s.bits[:])
		} else {
			for i := s.next; i < n; i++ {
				s.bits[i/64%(maxLate/64)] &^= 1 << (i % 64)
			}
		}
		s.next = n + 1
	} else if s.next-n > maxLate {
		return
	}
	s.bits[n/64%(maxLate/64)] |= 1 << (n % 64)
}
