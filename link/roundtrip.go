package link

import "time"

// roundTrip is how long one end takes to answer a station, and from that how long
// to wait before what is not answered is sent again, as in RFC 6298, section 2. Answers
// tell when what they answer was sent, as in RFC 7323, section 4, so that those to what
// was sent again count too.
type roundTrip struct {
	mean, deviation time.Duration
}

// granularity is the least that is waited beyond the mean (chosen).
const granularity = 100 * time.Microsecond

// took notes the time that an answer took.
func (r *roundTrip) took(d time.Duration) {
	if d = max(d, 1); r.mean == 0 {
		r.mean, r.deviation = d, d/2
		return
	}
	r.deviation += (max(d-r.mean, r.mean-d) - r.deviation) / 4
	r.mean += (d - r.mean) / 8
}

// wait returns how long to wait for an answer to what has been sent so many times
// again: at first longer than nearly all take, but no longer than most, and that while
// nothing is known; then twice as long each time, up to 64 times most.
func (r *roundTrip) wait(again int, most time.Duration) time.Duration {
	d := most
	if r.mean > 0 {
		d = min(r.mean+max(granularity, 4*r.deviation), most)
	}
	return min(d<<min(again, 20), most<<6)
}
