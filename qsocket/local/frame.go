package local

import (
	"errors"
	"io"

	"qstack/qnet"
	"qstack/qnet/wire"
)

// reader takes messages off a connection.
type reader struct {
	src io.Reader
	reg *wire.Registry
	buf []byte // what has been read
	pos int    // start of what has not been decoded
}

// readSize is the room for one read, and so the most that is decoded before the
// reader asks for more.
const readSize = 64 << 10

// next waits for a message at least and returns all that are there, in
// order, at most limit. At the end of the connection it returns io.EOF; a
// malformed message is an error that carries qnet.ErrProtocol.
func (r *reader) next(batch []wire.Message, limit int) ([]wire.Message, error) {
	batch = batch[:0]
	for {
		for len(batch) < limit {
			m, n, err := r.parse(r.buf[r.pos:])
			if err != nil {
				if len(batch) > 0 {
					return batch, nil // it comes again
				}
				return nil, err
			}
			if m == nil {
				break
			}
			r.pos += n
			batch = append(batch, m)
		}
		if len(batch) > 0 {
			return batch, nil
		}
		r.buf = append(r.buf[:0], r.buf[r.pos:]...)
		r.pos = 0
		if cap(r.buf)-len(r.buf) < readSize {
			r.buf = append(make([]byte, 0, 2*len(r.buf)+readSize), r.buf...)
		}
		n, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+n]
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) && len(r.buf) > 0 {
				return nil, qnet.Errorf(qnet.ErrProtocol, "the connection ended within a message")
			}
			return nil, err
		}
	}
}

// parse decodes the first message of b and returns its length; it returns nil
// when b holds only a part of it.
func (r *reader) parse(b []byte) (wire.Message, int, error) {
	if len(b) == 0 {
		return nil, 0, nil
	}
	t, n, err := wire.Peek(b)
	if errors.Is(err, wire.ErrTruncated) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, qnet.Errorf(qnet.ErrProtocol, "header of a message: %v", err)
	}
	m := r.reg.New(t)
	if m == nil {
		return nil, 0, qnet.Errorf(qnet.ErrProtocol, "message type 0x%x is not known", uint16(t))
	}
	if err := wire.Parse(b[:n], m); err != nil {
		return nil, 0, err
	}
	return m, n, nil
}
