package link_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// liar is an endpoint that hears what is sent to it and does as it likes.
type liar struct {
	*control.Mem
	heard func(from qnet.NodeID, b []byte)
}

func (l *liar) Accept(control.Stream, []byte) control.StreamHandler { return nil }
func (l *liar) PeerUp(qnet.NodeID)                                  {}
func (l *liar) PeerDown(qnet.NodeID, error)                         {}
func (l *liar) Datagram(from qnet.NodeID, b []byte) {
	if l.heard != nil {
		l.heard(from, b)
	}
}

// lie puts a liar in the place of a party.
func (w *world) lie(id qnet.NodeID) *liar {
	w.net.Remove(id)
	w.run(2 * time.Second)
	l := &liar{Mem: w.net.Endpoint(id, nil)}
	l.Handle(wire.ServiceLink, l)
	w.run(0)
	return l
}

func (l *liar) tell(t *testing.T, to qnet.NodeID, m wire.Message) {
	t.Helper()
	if err := l.Mem.Datagram(to, m); err != nil {
		t.Fatal(err)
	}
}

// honest checks that a request of each type is served, and that nothing is left.
func (w *world) honest() {
	w.t.Helper()
	w.ends[0].bases, w.ends[1].bases = pauli, pauli
	for _, typ := range []link.Type{link.Keep, link.Measure, link.Prepare} {
		for _, e := range w.ends {
			id := e.create(link.Request{Type: typ, Pairs: 5, Limit: 5, Deadline: w.loop.Now().Add(5 * time.Second), Bases: pauli})
			w.runUntil(10*time.Second, func() bool { return w.ended(id) })
			for side, x := range w.ends {
				if err := x.requests[id].err; err != nil {
					w.t.Errorf("side %d: an honest %v request ended with %v", side, typ, err)
				}
			}
		}
	}
	w.run(5 * time.Second)
	w.rest()
}

// heap returns the bytes in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// restart lets an honest node take the place of a liar, or a new one that of an old.
func (w *world) restart(side int) {
	id := alice + qnet.NodeID(side)
	w.net.Remove(id)
	w.fabric.Disconnect(id)
	w.run(2 * time.Second)
	e := w.ends[side]
	e.layer, e.dev = w.start(side)
	e.layer.Handle(e)
	clear(e.requests)
	clear(e.held)
	clear(w.ends[1-side].requests)
	w.run(0)
}

// huge are numbers that no honest sender sends.
var huge = []uint64{0, 1, 1 << 20, 1 << 32, 1 << 40, math.MaxInt64 >> 1, wire.MaxUvarint}

// A peer asks for requests without end, and acknowledges nothing.
func TestFloodOfAdds(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 1, probability: 0.01, lanes: 2, length: 20, queue: 256})
	l := w.lie(bob)
	rng := rand.New(rand.NewPCG(1, 1))
	pick := func() uint64 { return huge[rng.IntN(len(huge))] }
	w.ends[0].grant = 1 // else it is all that the link does
	var before uint64
	for i := range 200_000 {
		if i == 100_000 {
			before = heap()
		}
		l.tell(t, alice, &link.Add{Link: theLink, ID: link.RequestID(seqBase+i)<<1 | 1, Kind: link.Type(rng.IntN(3)), Pairs: pick(), Purpose: pick(), Tag: pick(),
			Deadline: pick(), Schedule: pick(), Point: rng.Uint32N(3), Priority: uint8(rng.IntN(8)), Atomic: rng.IntN(2) == 0, Consecutive: rng.IntN(2) == 0,
			Store: rng.IntN(2) == 0, Place: pick(), Turn: math.MaxFloat64 * (rng.Float64()*2 - 1), Testing: rng.Float64(), MinFidelity: rng.Float64() * 2,
			Rate: []float64{0, 1e-300, 1, 1e12}[rng.IntN(4)], Limit: pick()})
		l.tell(t, alice, &link.Limit{Link: theLink, ID: link.RequestID(seqBase+i-rng.IntN(100))<<1 | 1, Number: pick(), Limit: pick(),
			Turn: math.MaxFloat64 * (rng.Float64()*2 - 1), Had: pick()})
		l.tell(t, alice, &link.LimitAck{Link: theLink, ID: link.RequestID(seqBase+rng.IntN(3)) << 1, Number: pick(), Turn: math.MaxFloat64 * rng.Float64(), Had: pick()})
		if i%100 == 0 {
			w.run(time.Microsecond)
		}
	}
	if after := heap(); after > before+1<<20 {
		t.Errorf("the second 100,000 requests took %d bytes", after-before)
	}
	s := w.ends[0].layer.Status()[0]
	if s.Requests == 0 || s.Requests > 256 {
		t.Errorf("%d requests are held, at most 256 wanted", s.Requests)
	}
	if s.Frames.Limited == 0 {
		t.Errorf("%+v: want some over the limit", s.Frames)
	}
	// There is room for requests of alice, which nobody answers.
	id := w.ends[0].create(link.Request{Pairs: 1, Limit: 1, Deadline: w.loop.Now().Add(10 * time.Second)})
	w.run(15 * time.Second)
	if c := w.ends[0].requests[id]; !c.ended || qnet.CodeOf(c.err) != qnet.ErrNoAnswer {
		t.Errorf("nobody answers, but %+v", *c)
	}
	w.ends[0].grant = 0
	w.restart(1)
	w.honest()
}

// A peer opens windows of all lanes and numbers, with every pattern and limit.
func TestFloodOfGens(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 2, probability: 0.01, lanes: 2, length: 20})
	both := [2]*liar{w.lie(alice), w.lie(bob)}
	rng := rand.New(rand.NewPCG(2, 2))
	pick := func() uint64 { return huge[rng.IntN(len(huge))] }
	var before uint64
	for i := range 200_000 {
		if i == 100_000 {
			before = heap()
		}
		g := &link.Gen{Link: theLink, Lane: rng.Uint32N(4), Window: windowBase + uint64(i/5), First: w.cycles.From(w.loop.Now()), Count: pick(),
			Pattern: physical.Pattern{First: pick(), Stride: pick(), Every: pick(), Pause: pick()}, Point: rng.Uint32N(3), Dead: pick(), Bulk: rng.IntN(3) == 0}
		switch rng.IntN(8) {
		case 0:
			g.Lane = rng.Uint32N(1 << 12)
		case 1:
			g.First = pick()
		case 2:
			g.Pattern, g.Dead = physical.Pattern{}, 0
		}
		for range rng.IntN(4) {
			g.Candidates = append(g.Candidates, link.Candidate{ID: link.RequestID(pick()>>1 + rng.Uint64N(4)), Limit: pick(), Had: pick() & (1<<30 - 1)})
			g.Others = append(g.Others, link.RequestID(rng.Uint64()>>2))
		}
		both[i%2].tell(t, station, g)
		if i%16 == 0 {
			both[i%2].tell(t, station, &link.BulkAck{Link: theLink, Lane: g.Lane, Window: g.Window, Next: pick()})
		}
		if i%100 == 0 {
			w.run(time.Microsecond)
		}
	}
	if after := heap(); after > before+1<<20 {
		t.Errorf("the second 100,000 windows took %d bytes", after-before)
	}
	if f := w.station.Frames(); f.Unexpected < 50_000 || f.Limited == 0 {
		t.Errorf("%+v: want what no honest end sends to be counted, and what is too much", f)
	}
	w.restart(0)
	w.restart(1)
	w.honest()
}

// Both ends of a link attempt in cycles that never meet, at a point at which all
// attempts succeed: the station does not look for a success for ever.
func TestPatternsThatNeverMeet(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 3, probability: 1, length: 20})
	var qubits [2]physical.Qubit
	for side, e := range w.ends {
		e.dev.Do(physical.Op{Kind: physical.OpArm, Link: theLink}, func(r physical.Result) { qubits[side] = r.Qubit })
	}
	w.run(time.Millisecond)
	both := [2]*liar{w.lie(alice), w.lie(bob)}
	begin := time.Now()
	for side, l := range both {
		l.tell(t, station, &link.Gen{Link: theLink, Window: windowBase + 1, First: w.cycles.From(w.loop.Now()), Count: 1 << 60,
			Pattern: physical.Pattern{First: uint64(side), Stride: 1, Every: 1, Pause: 1}, Candidates: []link.Candidate{{ID: seqBase << 1, Limit: 5}}})
	}
	w.run(100 * time.Millisecond) // 100,000 cycles
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("100,000 cycles took %v", d)
	}
	if w.station.Idle() == nil {
		t.Error("the station has not begun")
	}
	for side := range w.ends {
		w.restart(side)
	}
	w.honest()
}

// A station lies about everything, and answers what nobody asked for. No pair is
// handed up twice or for a request that is over (see end.Pair), all requests end
// by their deadline, and what is false is counted.
func TestLyingStation(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldConfig{seed: seed, probability: 0.01, lanes: 3, length: 20, spec: physical.Spec{Storage: 4}})
			seen := [2]map[uint64]bool{{}, {}}
			for side, e := range w.ends {
				e.bases = pauli
				e.onPair = func(e *end, p link.Pair) {
					if seen[side][p.Seq] {
						t.Errorf("side %d: pair %d is handed up twice", side, p.Seq)
					}
					seen[side][p.Seq] = true
					e.free(p.Seq)
				}
			}
			l := w.lie(station)
			var gens [2]link.Gen
			l.heard = func(from qnet.NodeID, b []byte) {
				if t, _, _ := wire.Peek(b); t == (*link.Gen)(nil).Type() {
					_ = wire.Parse(b, &gens[from-alice])
				}
			}
			rng := rand.New(rand.NewPCG(seed, 4))
			seq := uint64(seqBase)
			for i := range 8000 {
				side := rng.IntN(2)
				if i%40 == 0 {
					typ := link.Type(rng.IntN(3))
					w.ends[side].create(link.Request{Type: typ, Pairs: 3, Limit: 3, Bases: pauli, Deadline: w.loop.Now().Add(time.Duration(1+rng.IntN(20)) * time.Millisecond),
						Store: typ == link.Keep && rng.IntN(2) == 0, Consecutive: typ == link.Keep && rng.IntN(2) == 0})
				}
				g := &gens[side]
				r := link.Reply{Link: theLink, Lane: g.Lane, Window: g.Window, Seq: seq, Cycle: w.cycles.From(w.loop.Now()), Label: qnet.BellLabel(rng.IntN(4)), Lost: rng.IntN(20) == 0}
				if len(g.Candidates) > 0 {
					r.ID = g.Candidates[rng.IntN(len(g.Candidates))].ID
				}
				switch rng.IntN(12) {
				case 0:
					r.Lane = rng.Uint32N(1 << 12)
				case 1:
					r.Window += 1 + rng.Uint64N(1<<30)
				case 2:
					r.Cycle = huge[rng.IntN(len(huge))]
				case 3:
					r.ID = link.RequestID(seqBase<<1) + link.RequestID(rng.Uint64N(400))
				case 4:
					seq = seqBase + rng.Uint64N(10)
				default:
					seq++
				}
				var m wire.Message = &r
				switch rng.IntN(4) {
				case 0:
					n := rng.IntN(40)
					b := &link.BulkReply{Link: theLink, Lane: r.Lane, Window: r.Window, ID: r.ID, Index: rng.Uint64N(3), Seq: r.Seq, Cycle: r.Cycle,
						Steps: make([]uint64, n), Labels: make([]byte, (n+3)/4), Done: rng.IntN(5) == 0, Lost: r.Lost}
					for i := range b.Steps {
						b.Steps[i] = rng.Uint64N(3) * rng.Uint64N(1<<20)
					}
					m = b
				case 1:
					m = &link.Mismatch{Link: theLink, Lane: r.Lane, Window: r.Window, Use: r.ID}
				}
				l.tell(t, alice+qnet.NodeID(side), m)
				if rng.IntN(100) == 0 { // what only a peer may say, and what only a node may
					l.tell(t, alice+qnet.NodeID(side), &link.End{Link: theLink, ID: r.ID})
					l.tell(t, alice+qnet.NodeID(side), &link.Gen{Link: theLink})
				}
				w.run(time.Duration(rng.Uint64N(uint64(100 * time.Microsecond))))
			}
			w.run(time.Second)
			handed := 0
			for side, e := range w.ends {
				for id, c := range e.requests {
					if !c.ended {
						t.Errorf("side %d: request %d has not ended by its deadline", side, id)
					}
					if n := len(c.pairs) + len(c.measured); n > 3 {
						t.Errorf("side %d: request %d has %d pairs of 3", side, id, n)
					}
					handed += len(c.pairs)
				}
				if f := e.layer.Status()[0].Frames; f.Unexpected < 100 || f.Malformed < 10 {
					t.Errorf("side %d: %+v", side, f)
				}
			}
			t.Logf("%d pairs were believed", handed)
			w.net.Remove(station)
			w.run(2 * time.Second)
			w.startStation()
			w.run(0)
			for _, e := range w.ends {
				e.onPair = nil
			}
			w.honest()
		})
	}
}

// A station announces measured pairs that there are not, for ever: what is
// remembered of them is bounded.
func TestBulkRepliesWithoutEnd(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 5, probability: 0.01, length: 20})
	w.ends[0].bases, w.ends[1].bases = pauli, pauli
	l := w.lie(station)
	var g link.Gen
	l.heard = func(from qnet.NodeID, b []byte) {
		if t, _, _ := wire.Peek(b); t == g.Type() && from == alice {
			_ = wire.Parse(b, &g)
		}
	}
	id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 1 << 24, Limit: 1 << 40, Deadline: w.loop.Now().Add(20 * time.Second), Bases: pauli})
	w.run(10 * time.Millisecond)
	before := heap()
	m := &link.BulkReply{Link: theLink, Lane: g.Lane, Window: g.Window, ID: id, Seq: seqBase, Cycle: w.cycles.From(w.loop.Now()) + 1<<40, Steps: make([]uint64, 512), Labels: make([]byte, 128)}
	for i := range m.Steps {
		m.Steps[i] = 1
	}
	for range 20_000 {
		l.tell(t, alice, m)
		m.Index += 512
		m.Seq += 512
		m.Cycle += 512
		w.run(10 * time.Microsecond)
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("10 million pairs that do not exist take %d bytes", after-before)
	}
	if f := w.ends[0].layer.Status()[0].Frames; f.Unexpected+f.Limited == 0 {
		t.Errorf("%+v", f)
	}
	w.run(30 * time.Second)
	if !w.ended(id) {
		t.Error("the request has not ended")
	}
	w.net.Remove(station)
	w.run(2 * time.Second)
	w.startStation()
	w.run(0)
	w.honest()
}

// frames returns all samples as frames of the link, of its first lane or not.
func sampleFrames() (out [][]byte) {
	for _, m := range samples() {
		v := reflect.ValueOf(m).Elem()
		v.FieldByName("Link").SetUint(uint64(theLink))
		out = append(out, wire.Append(nil, m))
		if f := v.FieldByName("Lane"); f.IsValid() {
			f.SetUint(0)
			v.FieldByName("Window").SetUint(windowBase + 1)
			if id := v.FieldByName("ID"); id.IsValid() {
				id.SetUint(seqBase << 1)
			}
			out = append(out, wire.Append(nil, m))
		}
	}
	return out
}

// FuzzDatagram gives any bytes to a layer and a station that are at work, as from
// either neighbour. Nothing may panic, no qubit be freed twice or for the wrong
// request (see device); and when contact was lost and found again, a request is
// served.
func FuzzDatagram(f *testing.F) {
	all := sampleFrames()
	for i := range all {
		for to := range byte(4) {
			f.Add(append([]byte{to, byte(min(255, len(all[i])))}, all[i]...))
		}
	}
	var series []byte
	for i, b := range all {
		if len(b) < 256 {
			series = append(append(series, byte(i), byte(len(b))), b...)
		}
	}
	f.Add(series)
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		sc := newScript(t, &out, setting{lanes: 2})
		defer sc.loop.Close()
		do := func(line ...string) {
			t.Helper()
			if err := sc.command(line); err != nil {
				t.Fatal(err)
			}
			sc.settle()
		}
		for range 40 {
			sc.attempts = append(sc.attempts, 500)
		}
		do("alice", "create", "keep", "pairs=3")
		do("bob", "create", "measure", "pairs=3")
		frames := 0
		for ; len(b) >= 2 && frames < 50; frames++ {
			way := [4][2]qnet.NodeID{{bob, alice}, {station, alice}, {alice, station}, {station, bob}}[b[0]%4]
			n := min(int(b[1]), len(b)-2)
			sc.parties[way[1]].handler.Datagram(way[0], slices.Clone(b[2:2+n]))
			b = b[2+n:]
			do("run", "100us")
		}
		// All is forgotten.
		for _, way := range [][2]string{{"alice", "bob"}, {"alice", "station"}, {"bob", "station"}} {
			do("down", way[0], way[1])
		}
		do("run", "10ms")
		for _, n := range sc.nodes {
			for seq := range n.pairs {
				n.free(seq)
			}
		}
		for _, way := range [][2]string{{"alice", "bob"}, {"alice", "station"}, {"bob", "station"}} {
			do("up", way[0], way[1])
		}
		do("run", "10ms")
		out.Reset()
		sc.attempts = nil
		do("alice", "create", "keep", "pairs=1")
		do("run", "2s")
		if bytes.Count(out.Bytes(), []byte(": <nil>\n")) != 2 || bytes.Count(out.Bytes(), []byte(" pair #")) != 2 {
			t.Errorf("an honest request was not served:\n%s", &out)
		}
	})
}

// What is wrong with frames is counted and told of, by sender and kind, and no
// sender fills a log: the first of a kind is told at once, those of the minute
// after it together.
func TestFaultsAreTold(t *testing.T) {
	got := make(map[link.Fault]int)
	w := newWorld(t, worldConfig{seed: 14, probability: 0.01, length: 20, onFault: func(f link.Fault) { got[f]++ }})
	l := w.lie(bob)
	answer := &link.AddAck{Link: theLink, ID: link.RequestID(seqBase+5) << 1}
	for range 150 { // for two and a half minutes, by the second
		l.tell(t, alice, answer)
		l.tell(t, alice, answer)
		l.tell(t, alice, &link.Reply{Link: theLink})
		l.tell(t, alice, &link.LinkExpire{Link: theLink})
		l.tell(t, station, &link.BulkAck{Link: theLink, Window: 1 << 40, Next: 7})
		l.tell(t, station, &link.Gen{Link: theLink, Lane: 1 << 20})
		w.run(time.Second)
	}
	f, s := w.ends[0].layer.Status()[0].Frames, w.station.Frames()
	if f.Unexpected != 450 || f.Malformed != 150 || s.Unexpected != 150 || s.Malformed != 150 {
		t.Errorf("counted %+v and %+v", f, s)
	}
	want := make(map[link.Fault]int)
	for _, c := range []struct {
		from, kind, why string
		each            uint64
	}{
		{"bob", "unexpected", "answer to a request that was never made", 2},
		{"others", "unexpected", "frame of a node that does not send such", 1},
		{"side 1", "unexpected", "BULK_ACK for a window that was never open", 1},
	} {
		// At the begin, and after each minute what has come since.
		f := link.Fault{Link: theLink, Name: "alice-bob", From: c.from, Kind: c.kind, Why: c.why, Frames: 1}
		want[f]++
		f.Frames = 60 * c.each
		want[f] += 2
	}
	malformed := 0
	for f, n := range got {
		if f.Kind == "malformed" && f.Why != "" {
			malformed += n
		} else if want[f] != n {
			t.Errorf("told %d times: %+v", n, f)
		}
	}
	if malformed != 6 {
		t.Errorf("told %d times of malformed frames, want 3 times by each receiver", malformed)
	}
	for f, n := range want {
		if got[f] != n {
			t.Errorf("told %d times, want %d: %+v", got[f], n, f)
		}
	}
}

// A station that tells the ends of different pairs, or of the same with different
// names, is found out: no request ends well of which the ends do not have the same.
func TestTwoFacedStation(t *testing.T) {
	for _, what := range []string{"seq", "label", "order"} {
		w := newWorld(t, worldConfig{seed: 15, probability: 0.01, lanes: 2, length: 200})
		w.net.SetFilter(func(_, to qnet.NodeID, _ control.Class, ty wire.Type, b []byte) control.Verdict {
			var r link.Reply
			if to != bob || ty != r.Type() || wire.Parse(b, &r) != nil || r.Seq == 0 {
				return control.Verdict{}
			}
			switch lie := r.Seq%10 == 3; {
			case what == "label" && lie:
				r.Label ^= 3
			case what == "seq" && lie:
				r.Seq += 1 << 10
			case what == "order": // the numbers of each two pairs are swapped
				r.Seq ^= 1
			}
			copy(b, wire.Append(nil, &r)) // as long as it was
			return control.Verdict{}
		})
		var ids []link.RequestID
		for i := range 10 {
			ids = append(ids, w.ends[i%2].create(link.Request{Pairs: 10, Limit: 1 << 40, Deadline: qnet.Never}))
			if what == "order" { // of pairs of one request
				w.run(time.Second)
			}
		}
		w.run(time.Minute)
		found := 0
		for _, id := range ids {
			a, b := w.ends[0].requests[id], w.ends[1].requests[id]
			names := func(c *client) (out []string) {
				for _, p := range c.pairs {
					out = append(out, fmt.Sprint(p.Seq, p.Label))
				}
				slices.Sort(out)
				return out
			}
			switch same := slices.Equal(names(a), names(b)); {
			case !a.ended || !b.ended || (a.err == nil) != (b.err == nil):
				t.Errorf("%s: request %d: %v %v, %v %v", what, id, a.ended, a.err, b.ended, b.err)
			case a.err == nil && (!same || what == "order"):
				t.Errorf("%s: request %d ends well, with pairs %v and %v", what, id, names(a), names(b))
			case a.err != nil:
				found++
				if qnet.CodeOf(a.err) != qnet.ErrProtocol || qnet.CodeOf(b.err) != qnet.ErrProtocol {
					t.Errorf("%s: request %d: %v, %v", what, id, a.err, b.err)
				}
			}
		}
		if n := w.ends[0].layer.Status()[0].Frames.Unexpected + w.ends[1].layer.Status()[0].Frames.Unexpected; found < 5 || n == 0 {
			t.Errorf("%s: %d of 10 requests are found out, %d frames counted", what, found, n)
		}
	}
}

// A station that tells one end other names, or other labels, of measured pairs, of all
// requests or of small ones only: the ends count and tell that it does, of which
// requests nobody but the ends knows. Of an honest one nothing is counted. Of 400 small
// requests one in eight is checked by either end: that none is has a chance of 1e-46.
func TestTwoFacedMeasurements(t *testing.T) {
	for _, what := range []string{"nothing", "seq", "label"} {
		for _, pairs := range []uint64{2, 100} {
			var faults []string
			w := newWorld(t, worldConfig{seed: 16, probability: 0.05, lanes: 2, length: 200, onFault: func(f link.Fault) { faults = append(faults, f.Why) }})
			lies := 0
			w.net.SetFilter(func(_, to qnet.NodeID, _ control.Class, ty wire.Type, b []byte) control.Verdict {
				var r link.BulkReply
				if to != bob || ty != r.Type() || wire.Parse(b, &r) != nil || len(r.Steps) == 0 {
					return control.Verdict{}
				}
				before := len(b)
				switch what {
				case "label":
					r.Labels[0] ^= 3
					lies++
				case "seq":
					r.Seq += 1 << 10
					lies++
				}
				if after := wire.Append(nil, &r); len(after) == before {
					copy(b, after)
				} else {
					t.Errorf("the false frame has %d bytes, the true one %d", len(after), before)
				}
				return control.Verdict{}
			})
			var ids []link.RequestID
			for i := range 800 / int(pairs) {
				ids = append(ids, w.ends[i%2].create(link.Request{Type: link.Measure, Pairs: pairs, Limit: 1 << 40, Deadline: qnet.Never}))
			}
			w.runUntil(time.Minute, w.all(ids))
			n := uint64(0)
			for side := range w.ends {
				n += w.ends[side].layer.Status()[0].Frames.Unexpected
			}
			if (n > 0) != (what != "nothing") || (lies > 0) != (what != "nothing") {
				t.Errorf("%s, requests of %d pairs: %d frames counted, %d lies", what, pairs, n, lies)
			}
			for _, why := range faults {
				if !strings.Contains(why, "other pairs") {
					t.Errorf("%s, requests of %d pairs: %s", what, pairs, why)
				}
			}
		}
	}
}

// A station that gives pairs numbers that others had before, to both ends alike or to one
// alone, is found out: the requests of such pairs end with ErrProtocol, those that had the
// numbers first keep their pairs, no two have one name, and nothing waits for ever, atomic
// or not, also when the lies are over. Of an honest one nothing is counted, whatever is lost.
func TestNumbersGivenTwice(t *testing.T) {
	const never = alice - 1
	for _, to := range []qnet.NodeID{never, 0, alice, bob} { // 0: both
		for _, atomic := range []bool{false, true} {
			honest := to == never
			var faults []string
			cfg := worldConfig{seed: 16, probability: 0.1, length: 200, onFault: func(f link.Fault) { faults = append(faults, f.Why) }}
			if honest {
				cfg.lanes, cfg.hazards = 4, control.LinkConfig{Loss: 0.1, Jitter: 40 * time.Microsecond}
			}
			w := newWorld(t, cfg)
			w.ends[0].bases, w.ends[1].bases = pauli, pauli
			lies := 0
			w.net.SetFilter(func(_, at qnet.NodeID, _ control.Class, ty wire.Type, b []byte) control.Verdict {
				const first = seqBase + 5
				var r link.Reply
				var c link.BulkReply
				switch {
				case honest || to != 0 && at != to || lies > 40:
				case ty == r.Type() && wire.Parse(b, &r) == nil && r.Seq > first && r.Window%2 == 0:
					r.Seq = first + uint64(lies%2)*40 // of the past, or to come
					copy(b, wire.Append(nil, &r))     // as long as it was
					lies++
				case ty == c.Type() && wire.Parse(b, &c) == nil && c.Seq > first && c.Index == 0 && c.Window%2 == 0:
					c.Seq = first
					copy(b, wire.Append(nil, &c))
					lies++
				}
				return control.Verdict{}
			})
			names := [2]map[uint64]bool{{}, {}}
			failed := 0
			for i := range 90 {
				r := link.Request{Type: link.Type(i % 3), Pairs: 10, Atomic: atomic, Limit: 1 << 40, Deadline: qnet.Never, Bases: pauli, PeerBases: pauli}
				switch {
				case i == 19:
					r.Pairs = 40_000 // on streams
				case r.Type == link.Measure:
					r.Pairs = 100
				}
				if r.Type != link.Measure {
					r.PeerBases = physical.BasisSource{}
				}
				id := w.ends[i%2].create(r)
				w.runUntil(time.Minute, func() bool { return w.ended(id) })
				for side, e := range w.ends {
					c := e.requests[id]
					n := uint64(len(c.pairs) + len(c.measured))
					switch {
					case errors.Is(c.err, qnet.ErrProtocol) && !honest:
						failed++
					case c.err != nil || n != r.Pairs:
						t.Errorf("lies to %v, side %d: request %d of %d pairs ended with %v, %d pairs", to, side, i, r.Pairs, c.err, n)
					}
					for _, p := range c.pairs {
						c.measured = append(c.measured, link.Measured{Seq: p.Seq, Label: p.Label, Created: p.Created})
					}
					for _, m := range c.measured {
						if names[side][m.Seq] {
							t.Errorf("lies to %v, side %d: there are two pairs %d", to, side, m.Seq)
						}
						names[side][m.Seq] = true
					}
				}
				if c := w.ends[0].requests[id]; c.err == nil && w.ends[1].requests[id].err == nil && to != alice && to != bob {
					w.same(id)
				}
			}
			unexpected := w.ends[0].layer.Status()[0].Frames.Unexpected + w.ends[1].layer.Status()[0].Frames.Unexpected
			if (unexpected > 0) == honest || (failed > 0) == honest || failed > 2*lies+4 {
				t.Errorf("lies to %v: %d frames counted for %d lies, %d ends of requests failed", to, unexpected, lies, failed)
			}
			if told := slices.ContainsFunc(faults, func(why string) bool { return strings.Contains(why, "announced before") }); told == honest || honest && len(faults) > 0 {
				t.Errorf("lies to %v: told of %q", to, faults)
			}
			w.run(10 * time.Second)
			w.rest()
		}
	}
}

// A station that tells the ends the same numbers and labels, but of other cycles, is
// found out: of what each has measured the pairs are not one pair. Of some 50 checks none
// is made with probability (7/8)^400 < 1e-23.
func TestTwoFacedCycles(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 5, probability: 0.01, length: 20})
	l := w.lie(station)
	var gens [2]link.Gen
	l.heard = func(from qnet.NodeID, b []byte) {
		var g link.Gen
		if wire.Parse(b, &g) == nil && len(g.Candidates) > 0 {
			gens[from-alice] = g
		}
	}
	seq := uint64(seqBase + 100)
	for i := range 200 {
		id := w.ends[i%2].create(link.Request{Type: link.Measure, Pairs: 4, Limit: 1 << 40, Deadline: w.loop.Now().Add(time.Second)})
		w.run(2 * time.Millisecond)
		now := w.cycles.From(w.loop.Now())
		cycles := []uint64{now - 100, now - 90, now - 80, now - 70, now - 60}
		labels := make([]qnet.BellLabel, len(cycles))
		if n := w.fabric.Link(theLink).HeraldBulk([2]uint32{0, 0}, 0, cycles, labels); n != len(cycles) {
			t.Fatalf("%d of %d attempts are heralded", n, len(cycles))
		}
		for side := range gens { // one is told of the first four, the other of the last
			m := &link.BulkReply{Link: theLink, Window: gens[side].Window, ID: id, Seq: seq, Cycle: cycles[side], Steps: []uint64{0, 10, 10, 10}, Labels: []byte{0}, Done: true}
			l.tell(t, alice+qnet.NodeID(side), m)
		}
		seq += 4
		w.run(100 * time.Millisecond)
		for side, e := range w.ends {
			if c := e.requests[id]; !c.ended || len(c.measured) != 4 {
				t.Fatalf("side %d: request %d has %d pairs, ended %v", side, id, len(c.measured), c.ended)
			}
		}
	}
	if n := w.ends[0].layer.Status()[0].Frames.Unexpected + w.ends[1].layer.Status()[0].Frames.Unexpected; n == 0 {
		t.Error("nobody has noticed")
	}
}

// An end lies about where a request is in the order of service: those that come after
// share the link as before.
func TestLieAboutATurn(t *testing.T) {
	for _, scheduler := range []func() link.Scheduler{nil, func() link.Scheduler { return &link.Weighted{Weights: []float64{1, 2}} }} {
		for side := range 2 {
			w := newWorld(t, worldConfig{seed: 5, probability: 0.01, length: 2000, scheduler: scheduler})
			limit, answer := (*link.Limit)(nil).Type(), (*link.LimitAck)(nil).Type()
			id := w.stream(0)
			w.run(100 * time.Millisecond)
			// What the end says of its turn is altered on the way.
			lies := 0
			w.net.SetFilter(func(from, _ qnet.NodeID, _ control.Class, ty wire.Type, b []byte) control.Verdict {
				if from == alice+qnet.NodeID(side) && (ty == limit || ty == answer) {
					lies += w.alterTurn(b)
				}
				return control.Verdict{}
			})
			w.ends[side].layer.SetLimit(theLink, id, 1<<39)
			w.run(time.Second)
			if lies == 0 {
				t.Fatal("no lie")
			}
			w.net.SetFilter(nil)
			w.ends[0].layer.End(theLink, id, qnet.ErrCancelled)
			w.run(time.Second)
			ids := []link.RequestID{w.stream(0), w.stream(1), w.stream(0)}
			w.run(5 * time.Second)
			total := 0
			for _, id := range ids {
				total += w.measured(id)
			}
			for _, id := range ids {
				if n := w.measured(id); 3*n < total*9/10 || total < 10_000 {
					t.Errorf("side %d: one of three streams has %d of %d pairs after a lie", side, n, total)
				}
			}
		}
	}
}

// alterTurn puts 10³⁰⁰ in the place of the turn of a LIMIT or its answer.
func (w *world) alterTurn(b []byte) int {
	w.t.Helper()
	var m wire.Message
	var l link.Limit
	var a link.LimitAck
	if wire.Parse(b, &l) == nil {
		l.Turn = 1e300
		m = &l
	} else if wire.Parse(b, &a) == nil {
		a.Turn = 1e300
		m = &a
	} else {
		w.t.Fatal("neither LIMIT nor its answer")
	}
	out := wire.Append(nil, m)
	if len(out) != len(b) {
		w.t.Fatalf("%d bytes in place of %d", len(out), len(b))
	}
	copy(b, out)
	return 1
}
