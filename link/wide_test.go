package link_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// A request for a million measured pairs, of one lane or several, is some fifty frames
// of columns at either end, few others, and as many pairs, the same at both ends; the
// last of them come no later than in frames of two milliseconds.
func TestMillionMeasuredPairs(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		w := newWorld(t, worldConfig{seed: 5, probability: 0.5, lanes: lanes, length: 1000})
		before := w.sent()
		r := link.Request{Type: link.Measure, Pairs: 1_000_000, Limit: 1 << 40, Deadline: qnet.Never}
		id := w.ends[0].create(r)
		w.runUntil(time.Minute, func() bool { return w.ended(id) })
		a, b := w.ends[0].requests[id], w.ends[1].requests[id]
		if len(a.measured) != 1_000_000 || a.err != nil || b.err != nil {
			t.Fatalf("%d lanes: %d pairs, %v, %v", lanes, len(a.measured), a.err, b.err)
		}
		w.same(id)
		frames := w.sent() - before
		columns := w.station.Frames().Sent[(*link.BulkReply)(nil).Type()&0xf] / 2
		t.Logf("%d lanes: %d frames in %v, %d of columns for each end", lanes, frames, w.loop.Now(), columns)
		// Of columns and their acknowledgements, a column for each 2¹⁵ pairs, and 60 more
		// while their intervals grow and shrink; and for each lane, as its windows are renewed.
		if most := uint64(2*2*(31+60*lanes)+80*lanes) + 20; frames > most {
			t.Errorf("%d lanes: %d frames, want %d at most", lanes, frames, most)
		}
		w.run(time.Second)
		w.rest()
		if n := w.net.Streams(); n > 0 {
			t.Errorf("%d streams are left", n)
		}
	}
}

// sent returns the frames that all have sent.
func (w *world) sent() (n uint64) {
	for _, f := range []link.Frames{w.ends[0].layer.Status()[0].Frames, w.ends[1].layer.Status()[0].Frames, w.station.Frames()} {
		for _, k := range f.Sent {
			n += k
		}
	}
	return n
}

// same checks that both ends have the same measured pairs of a request.
func (w *world) same(id link.RequestID) {
	w.t.Helper()
	var seqs [2][]string
	for side, e := range w.ends {
		if c := e.requests[id]; c != nil {
			for _, m := range c.measured {
				seqs[side] = append(seqs[side], fmt.Sprint(m.Seq, m.Label, m.Created))
			}
		}
		slices.Sort(seqs[side])
	}
	if !slices.Equal(seqs[0], seqs[1]) {
		only := func(a, b []string) (n int) {
			for _, x := range a {
				if _, ok := slices.BinarySearch(b, x); !ok {
					n++
				}
			}
			return n
		}
		w.t.Errorf("request %d: %d pairs at one end, %d at the other; %d and %d are at one only", id, len(seqs[0]), len(seqs[1]),
			only(seqs[0], seqs[1]), only(seqs[1], seqs[0]))
	}
}

// Large requests, whose columns go on streams, among small ones and kept pairs, which
// take their turns, while frames and streams are lost, requests ended by either end and
// by their deadlines, and limits moved: both ends have the same pairs, those that
// complete as many as were asked for, and nothing is left.
func TestLargeRequestsAgree(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			hazards := control.LinkConfig{}
			if seed > 4 {
				hazards = control.LinkConfig{Jitter: 40 * time.Microsecond, Loss: 0.05, Duplicate: 0.05, Reorder: 0.1, ReorderBy: 2 * time.Millisecond}
			}
			w := newWorld(t, worldConfig{seed: seed, probability: 0.2, lanes: 1 + int(seed%3), length: 1000, spec: physical.Spec{Init: time.Microsecond}, hazards: hazards})
			wide, broken := 0, 0
			w.net.SetFilter(func(_, _ qnet.NodeID, class control.Class, typ wire.Type, _ []byte) control.Verdict {
				if class != control.ClassStream || typ != (*link.BulkReply)(nil).Type() && typ != (*link.BulkAck)(nil).Type() {
					return control.Verdict{}
				}
				wide++
				switch w.rng.IntN(40) {
				case 0:
					broken++
					return control.Verdict{Action: control.Break}
				case 1:
					broken++
					return control.Verdict{Action: control.BreakAfter}
				case 2:
					return control.Verdict{Delay: time.Duration(w.rng.Uint64N(uint64(20 * time.Millisecond)))}
				}
				return control.Verdict{}
			})
			var ids []link.RequestID
			asked := make(map[link.RequestID]uint64)
			for range 40 {
				e := w.ends[w.rng.IntN(2)]
				r := link.Request{Type: link.Measure, Pairs: 20_000 + w.rng.Uint64N(60_000), Limit: 1 << 40, Deadline: qnet.Never, Priority: uint8(w.rng.IntN(3))}
				switch w.rng.IntN(6) {
				case 0:
					r.Pairs = 1 + w.rng.Uint64N(100)
				case 1:
					r.Type, r.Pairs = link.Keep, 1+w.rng.Uint64N(5)
				case 2:
					r.Deadline = w.loop.Now().Add(500*time.Millisecond + time.Duration(w.rng.Uint64N(uint64(time.Second))))
				}
				id := e.create(r)
				ids, asked[id] = append(ids, id), r.Pairs
				w.run(time.Duration(w.rng.Uint64N(uint64(200 * time.Millisecond))))
				x, any := w.ends[w.rng.IntN(2)], ids[w.rng.IntN(len(ids))]
				c := x.requests[any]
				switch {
				case c == nil || c.ended:
				case w.rng.IntN(3) == 0:
					c.ended = true
					x.layer.End(theLink, any, qnet.ErrCancelled)
				case w.rng.IntN(2) == 0 && asked[any] > 10_000:
					x.layer.SetLimit(theLink, any, w.rng.Uint64N(20_000))
					w.run(time.Duration(w.rng.Uint64N(uint64(100 * time.Millisecond))))
					x.layer.SetLimit(theLink, any, 1<<40)
				}
			}
			w.runUntil(5*time.Minute, func() bool {
				return !slices.ContainsFunc(ids, func(id link.RequestID) bool {
					a, b := w.ends[0].requests[id], w.ends[1].requests[id]
					return a != nil && !a.ended || b != nil && !b.ended
				})
			})
			w.net.SetFilter(nil)
			w.run(30 * time.Second)
			complete := 0
			for _, id := range ids {
				w.same(id)
				for side, e := range w.ends {
					if c := e.requests[id]; c != nil && c.ended && c.err == nil && uint64(len(c.measured)) == asked[id] && asked[id] >= 20_000 {
						complete++
					} else if c != nil && uint64(len(c.measured)) > asked[id] {
						t.Errorf("side %d: request %d has %d pairs of %d", side, id, len(c.measured), asked[id])
					}
				}
			}
			w.rest()
			if n := w.net.Streams(); n > 0 {
				t.Errorf("%d streams are left", n)
			}
			t.Logf("%d large requests complete, %d frames on streams, %d streams broken", complete/2, wide, broken)
			if complete < 10 || broken == 0 {
				t.Errorf("%d complete, %d broken", complete, broken)
			}
		})
	}
}

// ear is what a liar hears of on its streams.
type ear struct {
	answers int
	closed  error
	over    bool
}

func (e *ear) Message(control.Stream, []byte)     { e.answers++ }
func (e *ear) Closed(_ control.Stream, err error) { e.closed, e.over = err, true }
func (l *liar) open(t *testing.T, m wire.Message) (control.Stream, *ear) {
	t.Helper()
	e := new(ear)
	s, err := l.Mem.Open(alice, m, e)
	if err != nil {
		t.Fatal(err)
	}
	return s, e
}

// Streams that no honest station opens, or goes on with so, are closed as a breach of
// the protocol, and counted: they begin with what is no column, are the peer's, or go on with
// something else. Columns of windows that were never open count too. What comes of a
// hundred thousand of them is bounded.
func TestStreamsOfLiars(t *testing.T) {
	column := &link.BulkReply{Link: theLink, Window: 1 << 40, Seq: seqBase, Cycle: 1, Steps: make([]uint64, 1<<15), Labels: make([]byte, 1<<13)}
	for _, c := range []struct {
		who             qnet.NodeID
		first, then     wire.Message
		broken, counted bool
	}{
		{station, &link.Gen{Link: theLink}, nil, true, true},
		{station, &link.Reply{Link: theLink}, nil, true, true},
		{bob, column, nil, true, true},
		{station, &link.BulkReply{Link: 7}, nil, true, false}, // of a link of others
		{station, column, &link.Gen{Link: theLink}, true, true},
		{station, column, column, false, true},
	} {
		w := newWorld(t, worldConfig{seed: 3, probability: 0.05, length: 100})
		l := w.lie(c.who)
		before := w.ends[0].layer.Status()[0].Frames
		s, e := l.open(t, c.first)
		if c.then != nil {
			s.Send(c.then)
		}
		w.run(time.Second)
		after := w.ends[0].layer.Status()[0].Frames
		if e.over != c.broken || c.broken && qnet.CodeOf(e.closed) != qnet.ErrProtocol {
			t.Errorf("%v, %T, %T: closed %v, with %v", c.who, c.first, c.then, e.over, e.closed)
		}
		if counted := after.Malformed+after.Unexpected > before.Malformed+before.Unexpected; counted != c.counted {
			t.Errorf("%v, %T, %T: counted %v", c.who, c.first, c.then, counted)
		}
	}

	w := newWorld(t, worldConfig{seed: 3, probability: 0.05, length: 100})
	l := w.lie(station)
	s, _ := l.open(t, column)
	small := &link.BulkReply{Link: theLink, Window: 1 << 40, Seq: seqBase}
	var before uint64
	for i := range 100_000 {
		if i == 50_000 {
			before = heap()
		}
		s.Send(small)
		if i%100 == 0 {
			w.run(time.Microsecond)
		}
	}
	w.run(time.Second)
	if after := heap(); after > before+1<<20 {
		t.Errorf("50,000 frames take %d bytes", after-before)
	}
	if f := w.ends[0].layer.Status()[0].Frames; f.Limited == 0 || f.Unexpected == 0 {
		t.Errorf("%+v", f)
	}
	w.net.Remove(station)
	w.run(2 * time.Second)
	w.startStation()
	w.run(0)
	w.honest()
}

// slow is a device whose outcomes come late.
type slow struct {
	physical.Device
	w  **world
	by time.Duration
}

func (d *slow) ArmBulk(l physical.LinkID, lane uint32, src physical.BasisSource, sink func(physical.Outcomes, error), done func(physical.Result)) {
	d.Device.ArmBulk(l, lane, src, func(o physical.Outcomes, err error) {
		late := physical.Outcomes{Cycle: slices.Clone(o.Cycle), Basis: slices.Clone(o.Basis), Bit: slices.Clone(o.Bit)}
		(*d.w).loop.After(d.by, func() { sink(late, err) })
	}, done)
}

// Devices are behind by more pairs than an end remembers of those that are announced:
// they come again, and all are there in the end.
func TestOutcomesThatLag(t *testing.T) {
	var w *world
	w = newWorld(t, worldConfig{seed: 5, probability: 1, device: func(d physical.Device) physical.Device { return &slow{d, &w, 400 * time.Millisecond} }})
	id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 1_500_000, Limit: 1 << 40, Deadline: qnet.Never})
	w.runUntil(time.Minute, func() bool { return w.ended(id) })
	if n := len(w.ends[0].requests[id].measured); n != 1_500_000 {
		t.Errorf("%d pairs", n)
	}
	for _, e := range w.ends {
		if f := e.layer.Status()[0].Frames; f.Unexpected+f.Malformed+f.Limited > 0 {
			t.Errorf("%+v", f)
		}
	}
}

// Large requests bring as many pairs as small ones until their deadline, and where
// operations on other qubits interrupt the attempts, also if answers take long.
func TestLargeAsFastAsSmall(t *testing.T) {
	for i := range 4 {
		serial, late := i%2 == 1, time.Duration(i/2)*20*time.Millisecond
		count := func(pairs uint64) (n int) {
			w := newWorld(t, worldConfig{seed: 5, probability: 0.2, lanes: 2, length: 1000, period: 20_000,
				spec: physical.Spec{Serial: serial, Init: time.Microsecond, Gate1: 5 * time.Microsecond, Readout: 2 * time.Microsecond}})
			w.net.SetFilter(func(_, _ qnet.NodeID, c control.Class, typ wire.Type, _ []byte) control.Verdict {
				if typ == (*link.BulkReply)(nil).Type() || typ == (*link.BulkAck)(nil).Type() {
					return control.Verdict{Delay: late}
				}
				return control.Verdict{}
			})
			e, end := w.ends[0], qnet.Time(5*time.Second)
			var others func()
			others = func() {
				e.create(link.Request{Pairs: 1, Deadline: qnet.Never, Limit: 1, Priority: 3})
				w.loop.After(50*time.Millisecond, others)
			}
			others()
			for w.loop.Now() < end {
				id := e.create(link.Request{Type: link.Measure, Pairs: pairs, Limit: 1 << 40, Deadline: end})
				for !w.ended(id) {
					w.run(10 * time.Millisecond)
				}
				n += len(e.requests[id].measured)
			}
			return n
		}
		small, large := count(10_000), count(40_000)
		t.Logf("serial %v, %v late: %d and %d pairs", serial, late, small, large)
		if floor := float64(small) - 5*math.Sqrt(2*float64(small)); float64(large) < floor {
			t.Errorf("serial %v, %v late: large requests bring %d pairs, small ones %d: want %.0f at least", serial, late, large, small, floor)
		}
	}
}
