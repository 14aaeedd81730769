package link

import (
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// Wide frames go on a stream, which the station opens for a window with its first, and
// closes when all are acknowledged, on it too. They are not repeated: a stream loses
// nothing, unless it is lost, and then they go on another.

// most returns how many frames of a window an end may leave without acknowledgement.
func (s *Station) most(w *window) int {
	if w.wide {
		return maxWideUnacked
	}
	return s.unacked
}

// sendWide sends a wide frame.
func (s *Station) sendWide(w *window, f *BulkReply) {
	s.frames.Sent[f.Type()&0xf]++
	if w.stream != nil {
		w.stream.Send(f)
		return
	}
	var err error
	if w.stream, err = s.ep.Open(s.cfg.Ends[w.side], f, &listener{s, w}); err != nil {
		s.armRepeat(w) // a peer that is unknown; see end.send
	}
}

// hangUp closes the stream of a window.
func (w *window) hangUp() {
	if w.stream != nil {
		w.stream.Close(qnet.OK)
		w.stream = nil
	}
}

// listener takes what an end answers on the stream of a window.
type listener struct {
	s *Station
	w *window
}

func (h *listener) Message(st control.Stream, b []byte) {
	if s := h.s; !s.sides[h.w.side].frames.allow(s.loop.Now()) {
		s.fault(h.w.side, limited, "too many frames")
	} else if err := s.codec.Parse(b, &s.ack); err != nil {
		s.fault(h.w.side, malformed, err.Error())
	} else if s.ack.Link == s.cfg.Link {
		s.frames.Received[s.ack.Type()&0xf]++
		s.onBulkAck(h.w.side, &s.ack)
		return
	}
	st.Close(qnet.ErrProtocol)
	h.lost(st)
}

func (h *listener) Closed(st control.Stream, _ error) { h.lost(st) }

// lost sends what the end may not have on another stream, after a while.
func (h *listener) lost(st control.Stream) {
	if w := h.w; w.stream == st {
		w.stream = nil
		if len(w.frames.list) > 0 {
			h.s.armRepeat(w)
		}
	}
}

// columns is a layer as the receiver of wide frames.
type columns Layer

// take takes a frame, and reports whether it was one that should have come.
func (c *columns) take(s control.Stream, b []byte) bool {
	t, _, err := wire.Peek(b)
	l, m := (*Layer)(c), &c.in.bulkReply
	if err == nil && t != m.Type() {
		err = qnet.Errorf(qnet.ErrProtocol, "frame of type 0x%x on a stream", uint16(t))
	}
	if err != nil {
		l.malformed(s.Peer(), err)
		return false
	}
	return take(l, fromStation, s.Peer(), b, m, func(e *end, m *BulkReply) { e.announced(m, s) })
}

func (c *columns) Message(s control.Stream, b []byte) {
	if !c.take(s, b) {
		s.Close(qnet.ErrProtocol)
	}
}

func (c *columns) Closed(control.Stream, error) {}
