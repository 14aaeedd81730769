package remote_test

import (
	"testing"
	"time"

	"qstack/physical/remote"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/wire"
)

// skewed is a loop whose clock is behind that of the rig's.
type skewed struct {
	event.Scheduler
	behind time.Duration
}

func (s skewed) Now() qnet.Time                       { return s.Scheduler.Now().Add(-s.behind) }
func (s skewed) At(t qnet.Time, f func()) event.Timer { return s.Scheduler.At(t.Add(s.behind), f) }

// With equal delays both ways the offset is exact, whatever its sign.
func TestClockOffset(t *testing.T) {
	for _, behind := range []time.Duration{-time.Hour, 0, 12345 * time.Microsecond} {
		r := newRig(t, clean(), far)
		c := r.clientOn(alice, remote.Config{}, skewed{r.loop, behind})
		r.attached()
		n := r.watchMessages()
		for range 60 {
			if c.Offset() != behind || c.Uncertainty() != far.Delay || c.Now() != r.loop.Now() {
				t.Errorf("offset %v ± %v, now %v; want %v ± %v, %v", c.Offset(), c.Uncertainty(), c.Now(), behind, far.Delay, r.loop.Now())
			}
			r.run(time.Second)
		}
		// A few requests in a row, then one a second.
		if q := n[0x55]; q < 65 || q > 70 {
			t.Errorf("%d requests in a minute", q)
		}
		r.rest()
	}
}

// However unequal and random the delays, and whatever is lost, doubled or
// overtaken, the error stays within the stated uncertainty.
func TestClockBound(t *testing.T) {
	const behind = 3 * time.Second
	hazards := control.LinkConfig{Delay: time.Millisecond, Jitter: 4 * time.Millisecond, Loss: 0.2, Duplicate: 0.3, Reorder: 0.3, ReorderBy: 1500 * time.Millisecond}
	for _, slow := range []qnet.NodeID{alice, world} {
		r := newRig(t, clean(), hazards)
		r.net.SetFilter(func(from, _ qnet.NodeID, _ control.Class, _ wire.Type, _ []byte) control.Verdict {
			if from == slow {
				return control.Verdict{Delay: 5 * time.Millisecond}
			}
			return control.Verdict{}
		})
		c := r.clientOn(alice, remote.Config{}, skewed{r.loop, behind})
		r.attached()
		worst := time.Duration(0)
		for range 5000 {
			r.run(7 * time.Millisecond)
			err := (c.Offset() - behind).Abs()
			if err > c.Uncertainty() {
				t.Fatalf("at %v the offset is wrong by %v, more than %v", r.loop.Now(), err, c.Uncertainty())
			}
			worst = max(worst, c.Uncertainty())
		}
		// The longest trip that is not overtaken is 15 ms.
		if worst > 7500*time.Microsecond {
			t.Errorf("uncertainty up to %v", worst)
		}
		r.rest()
	}
}

// One good exchange among many bad ones is what counts, until it is too old.
func TestClockFilter(t *testing.T) {
	const behind, late = time.Second, 6 * time.Millisecond
	r := newRig(t, clean(), control.LinkConfig{Delay: time.Millisecond})
	replies, good := 0, 12
	r.net.SetFilter(func(from, _ qnet.NodeID, class control.Class, _ wire.Type, _ []byte) control.Verdict {
		if from != world || class != control.ClassDatagram {
			return control.Verdict{}
		}
		if replies++; replies == good {
			return control.Verdict{}
		}
		return control.Verdict{Action: control.Duplicate, Delay: late} // the twin counts for nothing
	})
	c := r.clientOn(alice, remote.Config{}, skewed{r.loop, behind})
	r.attached()
	check := func(err, uncertainty time.Duration) {
		t.Helper()
		if got := c.Offset() - behind; got != err || c.Uncertainty() != uncertainty {
			t.Errorf("after %d replies the error is %v, said to be within %v; want %v and %v", replies, got, c.Uncertainty(), err, uncertainty)
		}
	}
	replied := func(n int) {
		t.Helper()
		for replies < n {
			r.run(time.Millisecond)
		}
		r.run(10 * time.Millisecond)
	}
	check(0, time.Millisecond) // by Attach
	replied(7)
	check(0, time.Millisecond)
	replied(8) // the last eight are late
	check(-late/2, time.Millisecond+late/2)
	replied(good)
	check(0, time.Millisecond)
	replied(good + 7)
	check(0, time.Millisecond)
	replied(good + 8)
	check(-late/2, time.Millisecond+late/2)
	r.rest()
}

// The time of a fabric that restarted is learnt anew at once.
func TestClockRestart(t *testing.T) {
	r := newRig(t, clean(), far)
	c := r.clientOn(alice, remote.Config{}, r.loop)
	r.attached()
	r.run(20 * time.Second)
	r.start(r.cfg)
	r.server = remote.NewServer(r.fab, r.ep, skewed{r.loop, 20 * time.Second}, nil) // its epoch is now
	r.run(5 * time.Millisecond)
	r.attached()
	if c.Offset() != -20*time.Second || c.Now() != r.loop.Now().Add(-20*time.Second) {
		t.Errorf("offset is %v, want -20s", c.Offset())
	}
	r.rest()
}
