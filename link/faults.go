package link

import (
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/trace"
)

// Fault tells of frames of a link that were not taken.
type Fault struct {
	Link   physical.LinkID
	Name   string // of the link
	From   string // who sent them
	Kind   string // malformed, unexpected or limited
	Why    string // of the last of them
	Frames uint64 // since it was last told
}

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
// in the trace and to who wants to know: of the first at once, and of those that
// follow together, so that no sender can fill a log.
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

// tell says that frames were not taken.
func (f *Fault) tell(e trace.Event, to func(Fault)) {
	e.Str("from", f.From).Str("kind", f.Kind).Str("why", f.Why).Uint("frames", f.Frames).End()
	if to != nil {
		to(*f)
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
		(&Fault{e.cfg.ID, e.cfg.Name, f.from, kind.String(), why, n}).tell(e.trace("fault"), e.l.cfg.OnFault)
	}
}

// fault counts a frame to the station of which something is wrong: from the end of
// a side, or from somebody else.
func (s *Station) fault(sender int, kind fault, why string) {
	f := &s.faults[sender]
	if n := f.note(kind, &s.frames, s.loop.Now()); n > 0 {
		(&Fault{s.cfg.Link, s.cfg.Name, f.from, kind.String(), why, n}).tell(s.trace("fault"), s.cfg.OnFault)
	}
}
