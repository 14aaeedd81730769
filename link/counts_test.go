package link_test

import (
	"testing"
	"time"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// measured returns how many pairs both ends have of a request, which are the same.
func (w *world) measured(id link.RequestID) int {
	w.t.Helper()
	a, b := w.ends[0].requests[id].measured, w.ends[1].requests[id].measured
	if len(a) != len(b) {
		w.t.Fatalf("request %d: %d pairs at one end, %d at the other", id, len(a), len(b))
	}
	for i := range a {
		if a[i].Seq != b[i].Seq {
			w.t.Fatalf("request %d: pair %d at one end is %d at the other", id, a[i].Seq, b[i].Seq)
		}
	}
	return len(a)
}

// A request that its limit holds back goes on where it was, however many others
// have come and gone.
func TestHeldRequestGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 1, probability: 0.5})
	id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 100, Deadline: qnet.Never, Limit: 60})
	w.run(100 * time.Millisecond)
	for k := range 5000 { // more than a station counts pairs of
		x := w.ends[k%2].keep(1)
		w.runUntil(time.Second, func() bool { return w.ended(x) })
	}
	for _, limit := range []uint64{60, 65, 1000} {
		for _, e := range w.ends {
			e.layer.SetLimit(theLink, id, limit)
		}
		w.run(300 * time.Millisecond)
		if got, want := w.measured(id), int(min(limit, 100)); got != want {
			t.Fatalf("limit %d: %d pairs, want %d", limit, got, want)
		}
	}
	if !w.ended(id) {
		t.Error("a request with all its pairs has not ended")
	}
	w.rest()
}

// A request that others go before has as many pairs as it asked for.
func TestRequestThatManyGoBefore(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 1, probability: 0.01, length: 200})
	id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 3000, Deadline: qnet.Never, Limit: 1 << 40})
	w.run(200 * time.Millisecond)
	for k := range 6000 {
		if k%100 == 0 {
			w.run(8 * time.Millisecond)
		}
		w.ends[k%2].create(link.Request{Pairs: 1, Priority: 7, Deadline: qnet.Never, Limit: 1 << 40})
	}
	w.runUntil(5*time.Second, func() bool { return w.ended(id) })
	if got := w.measured(id); got != 3000 {
		t.Errorf("%d pairs, want 3000", got)
	}
	w.rest()
}

// Copies of frames that are late by the time of thousands of requests bring none of
// them back: the handler of an end complains of one that is requested twice, and
// rest of one that stays.
func TestLateCopies(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 1, lanes: 4, probability: 0.5, hazards: control.LinkConfig{Duplicate: 0.05, Reorder: 0.05, ReorderBy: time.Second}})
	var ids []link.RequestID
	for k := range 1500 {
		for range 4 {
			ids = append(ids, w.ends[k%2].keep(1))
		}
		w.run(2 * time.Millisecond)
	}
	w.run(30 * time.Second)
	for _, id := range ids {
		if !w.ended(id) {
			t.Errorf("request %d has not ended", id)
		}
	}
	w.rest()
}

// An ADD that comes after thousands of later ones is not taken for a copy, unless it
// is so late that no end can still repeat it: then it is refused.
func TestLateAdd(t *testing.T) {
	const first = seqBase << 1 // of side 0, alice
	for _, behind := range []uint64{1, 5000, 1<<16 - 1, 1 << 16} {
		w := newWorld(t, worldConfig{seed: 1, probability: 0.5})
		l := w.lie(alice)
		add := func(id link.RequestID) {
			l.tell(t, bob, &link.Add{Link: theLink, ID: id, Pairs: 1, Place: uint64(id)})
			w.run(time.Millisecond)
		}
		add(first + link.RequestID(2*behind))
		add(first)
		if _, taken := w.ends[1].requests[first]; taken != (behind < 1<<16) {
			t.Errorf("%d behind the latest: taken %v", behind, taken)
		}
	}
}

// A station that announces once, as in the simulations of Dahlberg et al., and ends
// that tell each other of what they did not hear get on: also when both did not hear
// of the same pairs.
func TestAnnouncedOnceCompletes(t *testing.T) {
	for _, loss := range []float64{0.01, 0.05} {
		w := newWorld(t, worldConfig{seed: 5, probability: 0.001, length: 2000, compat: link.Compat{ReferenceRetries: true}, noRepeat: true,
			hazards: control.LinkConfig{Loss: loss}})
		w.ends[0].bases, w.ends[1].bases = pauli, pauli
		complete := 0
		for k := range 200 {
			id := w.ends[k%2].create(link.Request{Type: link.Measure, Pairs: 10, Limit: 1 << 40, Deadline: w.loop.Now().Add(20 * time.Second), Bases: pauli})
			a := w.ends[k%2].requests[id]
			for end := w.loop.Now().Add(10 * time.Second); !w.ended(id) && w.loop.Now() < end && (a.err == nil || w.ends[1-k%2].requests[id] != nil); {
				w.run(time.Millisecond)
			}
			switch {
			case a.err != nil && qnet.CodeOf(a.err) == qnet.ErrNoAnswer: // three ADDs were lost
			case !w.ended(id) || a.err != nil || w.ends[1-k%2].requests[id].err != nil:
				t.Errorf("loss %v: request %d: ended %v, %v", loss, k, a.ended, a.err)
			default:
				complete++
			}
		}
		if complete < 190 {
			t.Errorf("loss %v: %d of 200 requests complete", loss, complete)
		}
	}
}

// No end hands up more measured pairs than a request asked for, whatever the
// station announces: those beyond are void.
func TestMeasuredPairsBeyondThoseAskedFor(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 1, probability: 0.01, length: 20})
	w.ends[0].bases, w.ends[1].bases = pauli, pauli
	l := w.lie(station)
	var gens [2]link.Gen
	l.heard = func(from qnet.NodeID, b []byte) {
		if t, _, _ := wire.Peek(b); t == gens[0].Type() {
			_ = wire.Parse(b, &gens[from-alice])
		}
	}
	id := w.ends[0].create(link.Request{Type: link.Measure, Pairs: 10, Limit: 1 << 40, Deadline: qnet.Never, Bases: pauli})
	w.run(10 * time.Millisecond)
	first := w.cycles.From(w.loop.Now())
	var cycles []uint64
	for i := range uint64(15) {
		cycles = append(cycles, first+1000*i)
	}
	labels := make([]qnet.BellLabel, len(cycles))
	lanes := [2]uint32{gens[0].Lane, gens[1].Lane}
	w.fabric.Link(theLink).Begin(lanes, 0, gens[0].Pattern, first, cycles[14])
	w.run(20 * time.Millisecond)
	if n := w.fabric.Link(theLink).HeraldBulk(lanes, 0, cycles, labels); n != len(cycles) {
		t.Fatalf("%d of %d pairs", n, len(cycles))
	}
	w.run(time.Millisecond)
	for side := range w.ends {
		m := &link.BulkReply{Link: theLink, Lane: lanes[side], Window: gens[side].Window, ID: id, Seq: seqBase, Cycle: first, Done: true, Labels: make([]byte, 4)}
		for i, c := range cycles {
			m.Steps = append(m.Steps, c-cycles[max(i, 1)-1])
			m.Labels[i/4] |= byte(labels[i]) << (2 * (i % 4))
		}
		l.tell(t, alice+qnet.NodeID(side), m)
	}
	w.run(100 * time.Millisecond)
	if got := w.measured(id); got != 10 || !w.ended(id) {
		t.Errorf("%d pairs, want 10; ended %v", got, w.ended(id))
	}
	for side, e := range w.ends {
		if s := e.layer.Status()[0]; s.Pairs != 10 || s.Expired < 5 {
			t.Errorf("side %d: %d pairs and %d void, want 10 and at least 5", side, s.Pairs, s.Expired)
		}
	}
}

// The largest GEN fits a datagram.
func TestLargestGen(t *testing.T) {
	const most = 1<<62 - 1
	m := &link.Gen{Link: 1<<32 - 1, Lane: 1<<12 - 1, Window: most, First: most, Count: most, Point: 1<<10 - 1, Dead: most, Bulk: true,
		Pattern: physical.Pattern{First: most, Stride: most, Every: most, Pause: most}}
	for range 48 {
		m.Candidates = append(m.Candidates, link.Candidate{ID: most, Limit: most, Had: 1<<30 - 1})
	}
	for range 8 {
		m.Others = append(m.Others, most)
	}
	if n := len(wire.Append(nil, m)); n > wire.MaxDatagram {
		t.Errorf("%d bytes, at most %d fit", n, wire.MaxDatagram)
	}
}
