package link

import "time"

// roundTrip is how long one end takes to answer a station, and from that how long
// to wait before what is not answered is sent again, as in RFC 6298, section 2.
type roundTrip struct {
	mean, deviation time.Duration
}

// granularity is the least that is waited beyond the mean (chosen).
const granularity = 100 * time.Microsecond

// took notes the time that an answer took to what was sent once.
func (r *roundTrip) took(d time.Duration) {
	if d = max(d, 1); r.mean == 0 {
		r.mean, r.deviation = d, d/2
		return
	}
	r.deviation += (max(d-r.mean, r.mean-d) - r.deviation) / 4
	r.mean += (d - r.mean) / 8
}

// wait returns how long to wait for an answer: longer than nearly all take, but no
// longer than most, and that as long as nothing is known.
func (r *roundTrip) wait(most time.Duration) time.Duration {
	if r.mean == 0 {
		return most
	}
	return min(r.mean+max(granularity, 4*r.deviation), most)
}
