package link

import (
	"log/slog"
	"time"

	"qstack/qnet"
	"qstack/qnet/trace"
)

// fault is what can be wrong with a frame.
type fault uint8

const (
	malformed  fault = iota // it is not understood
	unexpected              // nothing has asked for it, or no honest sender sends it
	limited                 // its sender sends too many
	faultKinds
)

func (f fault) String() string { return [...]string{"malformed", "unexpected", "limited"}[f] }

// faultsEvery is how long nothing more is said of a kind of fault of one sender.
const faultsEvery = time.Minute

// faults counts the frames of one sender of which something is wrong, and says so
// in the trace and the log: of the first at once, and of those that follow
// together, so that no sender can fill either.
type faults struct {
	from  string
	kinds [faultKinds]struct {
		untold uint64
		after  qnet.Time // nothing is said before
	}
}

// note counts a frame in total, and returns how many there are to tell of now.
func (f *faults) note(kind fault, total *Frames, now qnet.Time) uint64 {
	switch kind {
	case malformed:
		total.Malformed++
	case unexpected:
		total.Unexpected++
	case limited:
		total.Limited++
	}
	k := &f.kinds[kind]
	k.untold++
	if now < k.after {
		return 0
	}
	n := k.untold
	k.untold, k.after = 0, now.Add(faultsEvery)
	return n
}

// tell says that frames were not taken, the last for the reason given.
func (f *faults) tell(e trace.Event, log *slog.Logger, link string, kind fault, why string, frames uint64) {
	e.Str("from", f.from).Str("kind", kind.String()).Str("why", why).Uint("frames", frames).End()
	if log != nil {
		log.Warn("frames of a link were not taken", "link", link, "from", f.from, "kind", kind.String(), "why", why, "frames", frames)
	}
}

// Senders of frames to an end.
const (
	fromPeer    = iota
	fromStation // half-way
	fromOthers  // who have no part in the link
	senders
)

// fault counts a frame to this end of which something is wrong.
func (e *end) fault(sender int, kind fault, why string) {
	f := &e.faults[sender]
	if n := f.note(kind, &e.frames, e.l.loop.Now()); n > 0 {
		f.tell(e.trace("fault"), e.l.cfg.Log, e.cfg.Name, kind, why, n)
	}
}

// fault counts a frame to the station of which something is wrong: from the end of
// a side, or from somebody else.
func (s *Station) fault(sender int, kind fault, why string) {
	f := &s.faults[sender]
	if n := f.note(kind, &s.frames, s.loop.Now()); n > 0 {
		f.tell(s.trace("fault"), s.cfg.Log, s.cfg.Name, kind, why, n)
	}
}
