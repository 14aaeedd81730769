package link

import (
	"cmp"
	"slices"
	"time"
)

// pool is the communication qubits of a node, if its links share them. A lane has one of
// them from when it begins, although the device does not know while a storage qubit is
// initialised first. Links that want more than there are attempt with them for equal
// times (start-time fair queueing, as of Fair), but for a quantum.
type pool struct {
	l       *Layer
	turn    time.Duration // the most that a link has used
	offered bool          // links are about to be offered what is free
	onOffer func()        // deal as a method value, made once
	order   []*end        // scratch of deal
}

// use is what a link has of the pool.
type use struct {
	before time.Duration // lanes have attempted so long, but for what they do now
	wants  bool          // more than there are
	active bool          // something is wanted of it
}

// maxClaim is the time by which a link can be behind others at most.
const maxClaim = 2 * time.Second

func (p *pool) init(l *Layer) { p.l, p.onOffer = l, p.deal }

// size returns the number of qubits, 0 if every lane has its own.
func (p *pool) size() int { return p.l.dev.Spec().Communication }

// less returns how many qubits there are but for those of some lanes.
func (p *pool) less(of func(*lane) bool) int {
	n := p.size()
	for _, e := range p.l.ends {
		for i := range e.lanes {
			if of(&e.lanes[i]) {
				n--
			}
		}
	}
	return max(n, 0)
}

// spare returns how many qubits lanes can take yet. The layers above may have others.
func (p *pool) spare() int {
	if p.size() == 0 {
		return all
	}
	return p.less((*lane).takes)
}

// offer serves a link that can have another qubit, after those that have used less: when
// all lanes have been told of what is free.
func (p *pool) offer(e *end) {
	switch {
	case p.size() == 0 || len(p.l.ends) == 1:
		e.serve()
	case !p.offered:
		p.offered = true
		p.l.loop.After(0, p.onOffer)
	}
}

func (p *pool) deal() {
	p.offered = false
	p.order = append(p.order[:0], p.l.ends...)
	slices.SortStableFunc(p.order, func(a, b *end) int { return cmp.Compare(p.used(a), p.used(b)) })
	for _, e := range p.order {
		e.serve()
	}
}

// used returns for how long the lanes of a link have attempted. What a pair is held for
// does not count.
func (p *pool) used(e *end) time.Duration {
	d := e.use.before
	for i := range e.lanes {
		if l := &e.lanes[i]; l.attempts {
			d += p.l.loop.Now().Sub(l.since)
		}
	}
	return d
}

// take tells that a lane has a qubit from now on.
func (p *pool) take(l *lane) {
	if p.size() > 0 {
		l.e.use.before += max(0, p.turn-maxClaim-p.used(l.e))
		l.attempts = true
	}
}

// leave tells that a lane has attempted until now, if it has.
func (p *pool) leave(l *lane) {
	if l.attempts {
		l.e.use.before += p.l.loop.Now().Sub(l.since)
		l.attempts = false
		p.turn = max(p.turn, p.used(l.e))
	}
}

// want tells whether anything is wanted of a link, and it wants more than there are.
func (p *pool) want(e *end, active, more bool) {
	if active && !e.use.active && p.size() > 0 { // it has no claim to what it did not take, but for a quantum
		for _, o := range p.l.ends {
			p.turn = max(p.turn, p.used(o))
		}
		e.use.before += max(0, p.turn-e.slice()-p.used(e))
	}
	first := more && !e.use.wants
	e.use.active, e.use.wants = active, more
	if !first {
		return
	}
	now := p.l.loop.Now()
	for _, o := range p.l.ends {
		for i := range o.lanes {
			switch l := &o.lanes[i]; {
			case o == e || l.state != laneOpen:
			case p.overdue(l):
				l.close()
			case l.refresh > o.slice()/10: // it is to be asked again
				l.timer.Stop()
				l.timer = p.l.loop.At(max(now, l.since.Add(o.slice()/10)), l.onTimer)
			}
		}
	}
}

// refresh bounds the time after which a lane is asked whether it is overdue.
func (p *pool) refresh(e *end, d time.Duration) time.Duration {
	if p.wanted(e) {
		return min(d, e.slice())
	}
	return d
}

// wanted reports whether another link wants a qubit that it does not have.
func (p *pool) wanted(e *end) bool {
	return slices.ContainsFunc(p.l.ends, func(o *end) bool { return o != e && o.use.wants })
}

// overdue reports whether another link, which wants a qubit, has used less by a quantum
// than that of a lane. It has had its own for a tenth of that at least.
func (p *pool) overdue(l *lane) bool {
	e := l.e
	if !p.wanted(e) || p.l.loop.Now() < l.since.Add(e.slice()/10) {
		return false
	}
	used := p.used(e) - e.slice()
	return slices.ContainsFunc(p.l.ends, func(o *end) bool { return o != e && o.use.wants && p.used(o) <= used })
}

// held reports whether no qubit is left for attempts of any link: pairs are in all.
func (p *pool) held() bool {
	return p.size() > 0 && p.less(func(l *lane) bool { return l.takes() && !l.attempts }) == 0
}

// slice returns for how long it is worth to arm a lane.
func (e *end) slice() time.Duration { return 10*time.Millisecond + 200*e.cfg.Delay }
