package quic

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// peer is what an endpoint knows of one other party. It is used on the loop only.
type peer struct {
	e          *Endpoint
	id         qnet.NodeID
	conf       Peer
	configured bool // not just somebody of the realm who connected

	conns       []*conn // joined connections, oldest first
	incarnation uint64  // of the peer, on all of them
	dialling    bool    // until the connection has joined
	backoff     time.Duration
	lastErr     error // of the last attempt, nil after success

	// What waits for a connection.
	streams   []*stream
	datagrams [][]byte
	patience  *time.Timer // runs while a stream waits
}

// event begins an event of the trace.
func (p *peer) event(name string) trace.Event {
	return p.e.conf.Tracer.Event(p.e.networkTime(), "control", name).Str("peer", p.conf.Name)
}

// trace traces a message of s, or a datagram if s is nil. contents are nil where
// the trace is not to have them.
func (p *peer) trace(event string, s *stream, t wire.Type, size int, contents []byte) {
	if p.e.conf.Tracer == nil {
		return
	}
	e := p.event(event)
	if s != nil {
		e = e.Uint("stream", s.number)
	}
	e = e.Uint("type", uint64(t)).Int("bytes", int64(size))
	if contents != nil {
		e = control.Contents(e, t, contents)
	}
	e.End()
}

func (e *Endpoint) sortedPeers() []*peer {
	ps := make([]*peer, 0, len(e.peers))
	for _, p := range e.peers {
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(a, b *peer) int { return cmp.Compare(a.id, b.id) })
	return ps
}

// dials reports whether this side is to keep a connection to the peer.
func (p *peer) dials() bool { return p.conf.Neighbour && p.conf.Addr != "" && p.e.self.ID < p.id }

// keep dials a neighbour that is to be dialled and is not connected.
func (p *peer) keep() {
	if p.e.started && p.dials() && len(p.conns) == 0 && !p.dialling {
		p.dial(0)
	}
}

// demand dials a peer that there is something to send to, if this side may.
func (p *peer) demand() {
	if p.e.started && !p.conf.Neighbour && p.conf.Addr != "" && !p.dialling {
		p.dial(0)
	}
}

// dial makes one attempt after a pause. It ends in join or dialFailed.
func (p *peer) dial(pause time.Duration) {
	p.dialling = true
	e, id, addr, name := p.e, p.id, p.conf.Addr, p.conf.Name // which SetPeer may change
	e.spawn(func() {
		if pause > 0 {
			t := time.NewTimer(pause)
			defer t.Stop()
			select {
			case <-t.C:
			case <-e.ctx.Done():
				return
			}
		}
		q, err := e.dialOnce(id, addr)
		if err != nil {
			e.post(func() { p.dialFailed(err) })
			return
		}
		e.newConn(q, id, name, true)
	})
}

// dialOnce connects to addr and makes sure that the peer of the given identity
// is there. It runs in a goroutine of its own.
func (e *Endpoint) dialOnce(id qnet.NodeID, addr string) (*quicgo.Conn, error) {
	ctx, cancel := context.WithTimeout(e.ctx, e.conf.DialTimeout)
	defer cancel()
	udp, err := resolve(ctx, addr)
	if err != nil {
		return nil, err
	}
	return e.transport.Dial(ctx, udp, e.conf.Credential.ClientTLS(ALPN, id), e.quicConf)
}

// resolve looks up host:port.
func resolve(ctx context.Context, addr string) (*net.UDPAddr, error) {
	host, port, err := splitAddr(addr)
	if err != nil {
		return nil, err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		ip = ips[0].Unmap()
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, port)), nil
}

// splitAddr takes host:port apart.
func splitAddr(addr string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("address %s: want a port from 1 to 65535", addr)
	}
	return host, uint16(n), nil
}

// dialFailed ends an attempt. For a neighbour there will be another.
func (p *peer) dialFailed(err error) {
	p.dialling = false
	err = p.e.explain(p.conf.Name, p.conf.Addr, err)
	level := p.e.log.Debug // the same again is not news
	if p.lastErr == nil || err.Error() != p.lastErr.Error() {
		level = p.e.log.Warn
	}
	p.lastErr = err
	level("no connection", "peer", p.conf.Name, "addr", p.conf.Addr, "err", err)
	if len(p.conns) > 0 { // the peer dialled meanwhile
		return
	}
	if p.dials() {
		p.dial(p.nextBackoff())
		return
	}
	if !p.conf.Neighbour {
		p.giveUp(err)
	}
}

// nextBackoff doubles the pause between attempts, and takes half to all of it
// so that peers which lost the same neighbour do not all come back at once.
func (p *peer) nextBackoff() time.Duration {
	p.backoff = min(max(2*p.backoff, minBackoff), maxBackoff)
	return p.backoff/2 + time.Duration(p.e.random.Int64N(int64(p.backoff/2)+1))
}

// join puts a connection to use on which the first hello has come.
func (p *peer) join(c *conn, incarnation uint64) {
	if len(p.conns) > 0 && p.incarnation != incarnation {
		err := qnet.Errorf(qnet.ErrRestarted, "%s restarted", p.conf.Name)
		for _, old := range slices.Clone(p.conns) {
			old.fail(qnet.ErrRestarted, err)
			p.lost(old, err)
		}
	}
	if c.dialled {
		p.dialling = false
	}
	if len(p.conns) >= maxConns {
		err := qnet.Errorf(qnet.ErrBusy, "%s has %d connections already", p.conf.Name, maxConns)
		c.fail(qnet.ErrBusy, err)
		return
	}
	c.joined = true
	p.e.peers[p.id] = p // unless it is, after a restart
	p.incarnation = incarnation
	p.conns = append(p.conns, c)
	p.backoff, p.lastErr = 0, nil
	p.e.spawn(c.acceptStreams)
	if len(p.conns) == 1 {
		p.e.log.Info("peer up", "peer", p.conf.Name, "addr", c.quic.RemoteAddr().String())
		p.event("peer-up").End()
		for _, s := range p.e.handlers {
			s.handler.PeerUp(p.id)
		}
	}
	p.flush()
	c.drain()
}

// flush sends what waited for a connection.
func (p *peer) flush() {
	streams, datagrams := p.streams, p.datagrams
	p.forget()
	for _, b := range datagrams {
		p.datagram(b)
	}
	for _, s := range streams {
		p.open(s)
	}
}

// forget empties the queues of what waits for a connection.
func (p *peer) forget() {
	p.streams, p.datagrams = nil, nil
	if p.patience != nil {
		p.patience.Stop()
		p.patience = nil
	}
}

// giveUp closes the streams that waited for a connection.
func (p *peer) giveUp(err error) {
	streams := p.streams
	p.e.stats.sendDropped.Add(uint64(len(p.datagrams)))
	p.forget()
	for _, s := range streams {
		s.fail(err)
	}
}

// lost takes a connection out of use, which has failed or was dropped because it
// was idle (err nil). Streams are told first, then the handlers.
func (p *peer) lost(c *conn, err error) {
	if c.dead {
		return
	}
	c.dead = true
	if !c.joined {
		if c.dialled {
			p.dialFailed(err)
		}
	} else {
		p.conns = slices.DeleteFunc(p.conns, func(x *conn) bool { return x == c })
		streamErr := err
		if err == nil {
			streamErr = qnet.Errorf(qnet.ErrUnavail, "%s dropped the connection as idle: try again", p.conf.Name)
		}
		for _, s := range c.sortedStreams() {
			s.fail(streamErr)
		}
		if len(p.conns) == 0 && err != nil {
			p.e.log.Warn("peer down", "peer", p.conf.Name, "err", err)
			p.event("peer-down").Str("err", err.Error()).End()
			for _, s := range p.e.handlers {
				s.handler.PeerDown(p.id, err)
			}
		}
	}
	if len(p.conns) == 0 && !p.dialling && p.dials() {
		p.dial(p.nextBackoff())
	}
	if len(p.conns) == 0 && !p.configured && p.e.peers[p.id] == p {
		p.giveUp(err)
		delete(p.e.peers, p.id)
	}
}

// usable returns a connection on which to start something, or nil. One that the
// peer is about to drop as idle does not count, if there is a way to another.
func (p *peer) usable() *conn {
	for _, c := range p.conns {
		if c.dialled || p.conf.Neighbour || p.conf.Addr == "" || c.unused() < p.e.conf.Idle*3/4 {
			return c
		}
	}
	return nil
}

// datagram sends the encoded message b, or drops it.
func (p *peer) datagram(b []byte) {
	if c := p.usable(); c != nil {
		c.sendDatagram(b)
		return
	}
	if !p.conf.Neighbour && p.conf.Addr != "" && len(p.datagrams) < maxWaiting {
		p.datagrams = append(p.datagrams, slices.Clone(b))
		p.demand()
		return
	}
	p.e.stats.sendDropped.Add(1)
}

// open starts a stream that has something to send, or makes it wait.
func (p *peer) open(s *stream) {
	if c := p.usable(); c != nil {
		c.open(s)
		return
	}
	p.streams = append(p.streams, s)
	if p.patience == nil {
		// Dialling on demand ends by itself within that time.
		wait := p.e.conf.DialTimeout
		if !p.conf.Neighbour {
			wait += p.e.conf.Dead
		}
		p.patience = time.AfterFunc(wait, func() { p.e.post(p.waitedTooLong) })
	}
	p.demand()
}

// waitedTooLong ends the wait of streams for a connection.
func (p *peer) waitedTooLong() {
	if p.patience == nil {
		return
	}
	err := p.lastErr
	if err == nil {
		err = qnet.Errorf(qnet.ErrUnavail, "there is no connection with %s", p.conf.Name)
	}
	p.giveUp(err)
}
