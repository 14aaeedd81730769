package transport

import (
	"slices"

	"qstack/qnet"
	"qstack/qnet/wire"
)

// Channel is a program's hold on one socket. It starts with neither end: Dial or
// Accept gives it one. It is used on the loop.
type Channel struct {
	session   *Session
	sink      Sink
	socket    *socket   // nil before Dial, and until Accept is answered
	accepting *listener // where it waits
	closed    bool
}

// Channel returns a new channel, whose sink hears what its socket has to say. It
// fails with qnet.ErrBusy when the session has too many.
func (s *Session) Channel(sink Sink) (*Channel, error) {
	if s.ended {
		return nil, qnet.Errorf(qnet.ErrClosed, "the session has ended")
	}
	if len(s.channels) >= s.l.cfg.Channels {
		return nil, qnet.Errorf(qnet.ErrBusy, "the session has %d sockets, which is its limit; close some", len(s.channels))
	}
	c := &Channel{session: s, sink: sink}
	s.channels = append(s.channels, c)
	return c, nil
}

// say tells the program something.
func (c *Channel) say(m wire.Message) {
	if c.sink != nil {
		c.sink.Message(m)
	}
}

// opened answers Dial or Accept with a failure.
func (c *Channel) opened(err error) {
	c.say(&Opened{Code: qnet.CodeOf(err), Text: wire.Clip(err.Error(), maxText)})
}

// Do carries out a message of the program to this channel. An error means that
// the program does not keep to the protocol; the caller must close the channel.
func (c *Channel) Do(m wire.Message) error {
	if c.closed {
		return nil
	}
	fresh := c.socket == nil && c.accepting == nil
	switch m := m.(type) {
	case *Dial:
		if !fresh {
			return qnet.Errorf(qnet.ErrProtocol, "Dial on a channel that is in use")
		}
		c.session.l.dial(c, m)
		return nil
	case *Accept:
		if !fresh {
			return qnet.Errorf(qnet.ErrProtocol, "Accept on a channel that is in use")
		}
		c.accept(m)
		return nil
	case *Closed:
		c.Close()
		return nil
	case *Cancel:
		if m.Ref == 0 {
			c.cancel(m.Code)
			return nil
		}
	}
	if c.socket == nil {
		return qnet.Errorf(qnet.ErrProtocol, "message 0x%x before the channel is open", uint16(m.Type()))
	}
	return c.socket.do(m)
}

// accept waits for the next socket on a port.
func (c *Channel) accept(m *Accept) {
	li, err := c.session.listener(m.Port)
	if err != nil {
		c.opened(err)
		return
	}
	if len(li.queue) > 0 {
		li.give(c)
		return
	}
	c.accepting = li
	li.waiting = append(li.waiting, c)
}

// cancel withdraws the Dial or Accept under way.
func (c *Channel) cancel(code qnet.Code) {
	switch li := c.accepting; {
	case li != nil:
		li.waiting = slices.DeleteFunc(li.waiting, func(o *Channel) bool { return o == c })
		c.accepting = nil
		if code == qnet.ErrTimeout {
			c.opened(qnet.Errorf(code, "accept on %s:%d timed out: nobody dialled", c.session.l.cfg.Name, li.port))
		} else {
			c.opened(qnet.Errorf(qnet.ErrCancelled, "accept on %s:%d was cancelled", c.session.l.cfg.Name, li.port))
		}
	case c.socket != nil && (c.socket.state == connecting || c.socket.state == joining):
		if code == qnet.ErrTimeout {
			c.socket.fail(c.socket.dialTimeout())
		} else {
			c.socket.fail(qnet.Errorf(qnet.ErrCancelled, "dial %s:%d was cancelled", c.socket.peerName, c.socket.port))
		}
	}
}

// Close gives the channel up and closes its socket: what was written is still
// delivered to the peer, requests fail, and the sink hears nothing more.
func (c *Channel) Close() {
	c.sink = nil
	c.close(nil)
}

// Abort gives the channel up because the program has gone: its peer is told.
func (c *Channel) Abort() {
	c.sink = nil
	c.close(c.session.gone())
}

// close closes the channel; why is what the peer is told, nil for a clean end.
func (c *Channel) close(why error) {
	if c.closed {
		return
	}
	c.closed = true
	if li := c.accepting; li != nil {
		li.waiting = slices.DeleteFunc(li.waiting, func(o *Channel) bool { return o == c })
		c.accepting = nil
	}
	if k := c.socket; k != nil && k.state != closed {
		if why == nil && k.state == open {
			k.finish()
		} else {
			k.fail(first(why, qnet.Errorf(qnet.ErrCancelled, "the socket was closed while it opened")))
		}
	}
	c.session.channels = slices.DeleteFunc(c.session.channels, func(o *Channel) bool { return o == c })
}
