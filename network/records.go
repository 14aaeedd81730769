package network

// records is a bounded map by sequence number: beyond maxRecords, the oldest
// record is forgotten. A record that outlives its use (a fragment that was
// discarded at both of its outer halves is reached by no TRACK) ends that way.
type records[T any] struct {
	m     map[uint64]T
	order []uint64 // of insertion, including what has been taken since
}

func (r *records[T]) len() int { return len(r.m) }

func (r *records[T]) has(seq uint64) bool {
	_, ok := r.m[seq]
	return ok
}

// put adds a record and returns the one that had to go for it.
func (r *records[T]) put(seq uint64, v T) (oldest T, evicted bool) {
	if r.m == nil {
		r.m = make(map[uint64]T)
	}
	if len(r.m) >= maxRecords {
		for !evicted && len(r.order) > 0 {
			oldest, evicted = r.m[r.order[0]]
			delete(r.m, r.order[0])
			r.order = r.order[1:]
		}
	}
	r.m[seq] = v
	if r.order = append(r.order, seq); len(r.order) > 2*maxRecords || len(r.order) > 64 && len(r.order) > 4*len(r.m) {
		live := r.order[:0]
		for _, s := range r.order {
			if r.has(s) {
				live = append(live, s)
			}
		}
		r.order = live
	}
	return oldest, evicted
}

// take removes a record and returns it.
func (r *records[T]) take(seq uint64) (T, bool) {
	v, ok := r.m[seq]
	if ok {
		delete(r.m, seq)
	}
	return v, ok
}

// drain removes all records and calls f, which may put some back, for each in
// order of insertion.
func (r *records[T]) drain(f func(seq uint64, v T)) {
	order := r.order
	r.order = nil
	for _, s := range order {
		if v, ok := r.take(s); ok && f != nil {
			f(s, v)
		}
	}
}
