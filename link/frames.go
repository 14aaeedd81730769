package link

import (
	"slices"
	"time"

	"qstack/qnet/event"
)

// frames are the bulk frames that one end has not acknowledged yet.
type frames struct {
	list    []*BulkReply
	next    uint64 // pairs sent
	timer   event.Timer
	onTimer func() // repeats them; made once
	tries   int
}

func (f *frames) unacked() int { return len(f.list) }

// frame returns a frame for an end's window, in memory that was used before.
func (s *Station) frame(w *window, id RequestID) (f *BulkReply) {
	if n := len(s.spare); n > 0 {
		f, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		f = new(BulkReply)
	}
	*f = BulkReply{Link: s.cfg.Link, Lane: w.lane, Window: w.number, ID: id, Steps: f.Steps[:0], Labels: f.Labels[:0]}
	return f
}

// recycle drops the first n frames of a window.
func (s *Station) recycle(w *window, n int) {
	if room := maxUnacked - len(s.spare); room > 0 && !w.wide {
		s.spare = append(s.spare, w.frames.list[:min(n, room)]...)
	}
	w.frames.list = slices.Delete(w.frames.list, 0, n)
}

// finish tells one end that its bulk window brings no more. id is 0 when it was
// never matched.
func (s *Station) finish(w *window, id RequestID) {
	w.done = true
	f := s.frame(w, id)
	f.Seq, f.Done = s.nextSeq, true
	s.push(w, f)
}

func (s *Station) push(w *window, f *BulkReply) {
	f.Index = w.frames.next
	w.frames.next = f.after()
	w.frames.list = append(w.frames.list, f)
	f.Sent = s.loop.Now()
	if w.wide {
		s.sendWide(w, f)
		return
	}
	s.send(w.side, f)
	if len(w.frames.list) == 1 {
		w.frames.tries = 0
		s.armRepeat(w)
	}
}

func (s *Station) armRepeat(w *window) {
	w.frames.timer.Stop()
	d := s.sides[w.side].trip.wait(w.frames.tries, 20*time.Millisecond+4*s.cfg.Delay)
	w.frames.timer = s.loop.After(d, w.frames.onTimer)
}

// repeat sends what was not acknowledged again, all in order.
func (s *Station) repeat(w *window) {
	w.frames.tries++
	for _, f := range w.frames.list {
		f.Sent = s.loop.Now()
		if w.wide {
			s.sendWide(w, f)
			continue
		}
		f.Lost = s.cfg.NoRepeat
		s.send(w.side, f)
	}
	if !w.wide {
		s.armRepeat(w)
	}
}

func (s *Station) onBulkAck(side int, m *BulkAck) {
	sd := &s.sides[side]
	if int(m.Lane) >= len(sd.lanes) || sd.lanes[m.Lane] == nil {
		s.fault(side, unexpected, "BULK_ACK for a window that was never open")
		return
	}
	w := sd.lanes[m.Lane]
	if m.Window > w.number || m.Window == w.number && m.Next > w.frames.next {
		s.fault(side, unexpected, "BULK_ACK of what was never sent")
		return
	}
	if now := s.loop.Now(); !w.wide && m.Sent > 0 && m.Sent <= now {
		sd.trip.took(now.Sub(m.Sent))
	}
	if m.Window != w.number || len(w.frames.list) == 0 {
		return
	}
	n := 0
	for n < len(w.frames.list) {
		if w.frames.list[n].after() > m.Next {
			break
		}
		n++
	}
	if n == 0 {
		return
	}
	full := len(w.frames.list) >= s.most(w)
	s.recycle(w, n)
	w.frames.tries = 0
	switch {
	case len(w.frames.list) == 0:
		w.frames.timer.Stop()
		if w.done {
			w.hangUp()
		}
	case !w.wide:
		s.armRepeat(w)
	}
	if full && w.match != nil && !w.match.stalled() {
		w.match.batch.resume(w.match)
	}
}
