package remote

import (
	"time"

	"qstack/qnet"
	"qstack/qnet/event"
)

// The clock exchange: a few requests in a row after attaching, then one every
// second.
const (
	clockSamples  = 8 // the filter looks at so many
	clockBurst    = 8
	clockQuick    = 20 * time.Millisecond
	clockInterval = time.Second
	clockBase     = 1<<32 - 16 // the first sequence number
	clockOpen     = 16         // requests that may still be answered
)

// clock estimates how far fabric time is ahead of the loop's. The offset of a
// sample is exact if the way there took as long as the way back; it is wrong by
// at most half of the round trip. So the sample with the shortest one counts.
type clock struct {
	samples [clockSamples]sample
	n       uint64 // samples ever taken since the last reset
	best    sample

	next  uint64 // sequence number of the next request
	asked [clockOpen]question
	burst int // requests still to be sent in a row
	timer event.Timer
}

type sample struct {
	trip   time.Duration // there and back
	offset time.Duration
}

type question struct {
	sequence uint64 // 0: answered
	at       qnet.Time
}

// reset forgets all samples and questions.
func (k *clock) reset() {
	k.timer.Stop()
	k.n, k.best = 0, sample{}
	k.asked = [clockOpen]question{}
	k.burst = clockBurst
}

// ask returns the sequence number of a request that is sent at now.
func (k *clock) ask(now qnet.Time) uint64 {
	k.next++
	k.asked[k.next%clockOpen] = question{k.next, now}
	return k.next
}

// answer takes the fabric's time, which arrived at now; only the first answer to
// a question counts.
func (k *clock) answer(sequence uint64, fabric, now qnet.Time) {
	q := &k.asked[sequence%clockOpen]
	if q.sequence != sequence || sequence == 0 {
		return
	}
	q.sequence = 0
	k.take(q.at, fabric, now)
}

// take adds the sample of an exchange: asked at sent, answered with fabric,
// known at now.
func (k *clock) take(sent, fabric, now qnet.Time) {
	trip := now.Sub(sent)
	k.samples[k.n%clockSamples] = sample{trip, fabric.Sub(sent.Add(trip / 2))}
	k.n++
	k.best = k.samples[0]
	for _, s := range k.samples[1:min(k.n, clockSamples)] {
		if s.trip < k.best.trip {
			k.best = s
		}
	}
}

// pause returns the time until the next request.
func (k *clock) pause() time.Duration {
	if k.burst > 0 {
		k.burst--
		return clockQuick
	}
	return clockInterval
}
