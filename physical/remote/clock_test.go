package remote_test

import (
	"fmt"
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

// Requests for the time, or the answers, are lost, repeated and overtaken: the
// node stays attached, its error stays within the stated uncertainty, and the
// offset is exact again when the faults have ended.
func TestClockFaults(t *testing.T) {
	const behind = 3 * time.Second
	rare := func(n int) bool { return n%4 > 0 } // all but one in four
	early := func(n int) bool { return n < 20 }
	all := func(int) bool { return true }
	for _, typ := range []wire.Type{(*remote.ClockRequest)(nil).Type(), (*remote.ClockReply)(nil).Type()} {
		for _, f := range []struct {
			name string
			hits func(n int) bool
			v    control.Verdict
		}{
			{"first lost", early, control.Verdict{Action: control.Drop}},
			{"three in four lost", rare, control.Verdict{Action: control.Drop}},
			{"all lost", all, control.Verdict{Action: control.Drop}},
			{"all twice", all, control.Verdict{Action: control.Duplicate}},
			{"first late", early, control.Verdict{Delay: 1500 * time.Millisecond}},
			{"three in four late", rare, control.Verdict{Delay: 1500 * time.Millisecond}},
			{"all late", all, control.Verdict{Delay: 1500 * time.Millisecond}},
			{"all twice and late", all, control.Verdict{Action: control.Duplicate, Delay: 30 * time.Millisecond}},
		} {
			t.Run(fmt.Sprintf("0x%x %s", uint16(typ), f.name), func(t *testing.T) {
				r := newRig(t, clean(), far)
				sent, hits := 0, 0
				r.net.SetFilter(func(_, _ qnet.NodeID, _ control.Class, m wire.Type, _ []byte) (v control.Verdict) {
					if m == typ {
						if f.hits(sent) {
							hits++
							v = f.v
						}
						sent++
					}
					return v
				})
				c := r.clientOn(alice, remote.Config{}, skewed{r.loop, behind})
				r.attached()
				check := func(within time.Duration) {
					t.Helper()
					err := (c.Offset() - behind).Abs()
					if err > c.Uncertainty() || c.Uncertainty() > within {
						t.Fatalf("at %v the offset is wrong by %v, said to be within %v, want %v", r.loop.Now(), err, c.Uncertainty(), within)
					}
				}
				for range 3000 {
					r.run(7 * time.Millisecond)
					check(time.Second)
				}
				if hits < 15 {
					t.Errorf("%d messages were hit: the test tests nothing", hits)
				}
				r.net.SetFilter(nil)
				r.run(12 * time.Second)
				if check(far.Delay); c.Offset() != behind {
					t.Errorf("offset %v, want %v", c.Offset(), behind)
				}
				if ch := r.changes[alice]; !c.Attached() || len(ch) != 1 || ch[0] != nil {
					t.Errorf("attached: %v, changes %v", c.Attached(), ch)
				}
				r.alloc(alice)
				r.rest()
			})
		}
	}
}
