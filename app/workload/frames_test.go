package workload

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"qstack/link"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// asked is a request as frames tell of it.
type asked struct {
	side           int // that created it
	created        qnet.Time
	pairs, missing uint64
}

// reader knows the format of the frames, when they were sent, how long they
// travel, and how long after a REPLY a pair is handed up; nothing of what the link
// layers or the station hold.
type reader struct {
	t           *testing.T
	ids         [2]qnet.NodeID
	now         func() qnet.Time
	travel      time.Duration // between the station and an end
	moved       time.Duration // of a kept pair
	start, end  qnet.Time     // of what counts
	requests    map[link.RequestID]*asked
	refused     int
	next        [2]map[[2]uint64]uint64 // by end, lane and window: items that were announced
	announced   [2]map[uint64]bool      // by end: numbers of kept pairs
	pairs       uint64                  // handed up at A
	completed   uint64                  // requests
	latency     float64                 // seconds, of all of these
	scaled      float64                 // the same over their pairs
	countedAsks uint64
}

// read takes a frame as it is sent.
func (r *reader) read(_, to qnet.NodeID, _ control.Class, typ wire.Type, b []byte) control.Verdict {
	parse := func(m wire.Message) {
		if err := wire.Parse(b, m); err != nil {
			r.t.Fatal(err)
		}
	}
	end := 0
	if to == r.ids[1] {
		end = 1
	}
	switch typ {
	case (*link.Add)(nil).Type():
		var m link.Add
		parse(&m)
		if r.requests[m.ID] == nil {
			r.requests[m.ID] = &asked{side: 1 - end, created: r.now(), pairs: m.Pairs, missing: m.Pairs}
			if r.now() >= r.start {
				r.countedAsks++
			}
		}
	case (*link.AddAck)(nil).Type():
		var m link.AddAck
		parse(&m)
		if m.Code != qnet.OK {
			r.refused++
		}
	case (*link.Reply)(nil).Type():
		var m link.Reply
		parse(&m)
		if m.Seq != 0 && !r.announced[end][m.Seq] {
			r.announced[end][m.Seq] = true
			r.got(end, m.ID, 1, r.now().Add(r.travel+r.moved))
		}
	case (*link.BulkReply)(nil).Type():
		var m link.BulkReply
		parse(&m)
		window := [2]uint64{uint64(m.Lane), m.Window}
		if m.Index >= r.next[end][window] {
			n := uint64(len(m.Steps))
			r.next[end][window] = m.Index + n
			r.got(end, m.ID, n, r.now().Add(r.travel))
		}
	}
	return control.Verdict{}
}

// got is the delivery of pairs at an end.
func (r *reader) got(end int, id link.RequestID, n uint64, at qnet.Time) {
	if at >= r.end || n == 0 {
		return
	}
	if end == 0 && at >= r.start {
		r.pairs += n
	}
	q := r.requests[id]
	if q == nil {
		r.t.Fatalf("%d pairs of request %d, which nobody made", n, id)
	}
	if q.side != end {
		return
	}
	q.missing -= min(q.missing, n)
	if q.missing == 0 && q.created >= r.start {
		r.completed++
		latency := at.Sub(q.created).Seconds()
		r.latency += latency
		r.scaled += latency / float64(q.pairs)
	}
}

// TestFramesTell: throughput and latency are what the frames of the trace say. A
// pair that is measured is handed up when its BULK_REPLY is there, or its outcome
// if that is later: by no more than a rotation and a read-out. A pair that is kept
// is handed up with its REPLY, one that is stored after a move, which is two
// two-qubit gates. So all is exact but for the read-out, and the rounding of means.
func TestFramesTell(t *testing.T) {
	for _, x := range []struct {
		name, row string
		measured  bool
	}{
		{"MD", "type = \"measure\"\npairs = \"1..3\"", true},
		{"CK", "type = \"keep\"\npairs = \"1..3\"", false},
		{"stored", "type = \"keep\"\nstore = true\natomic = true", false},
	} {
		text := strings.Replace(campaign, "type = \"measure\"", x.row, 1)
		text = strings.Replace(strings.Replace(text, "pairs = PAIRS\n", "", 1), `horizon = "1000 s"`, "horizon = \"2000 s\"\nwarmup = \"100 s\"", 1)
		s := parse(t, text)
		r := &reader{t: t, requests: make(map[link.RequestID]*asked), start: qnet.Time(s.Workload.Warmup), end: qnet.Time(s.Workload.Horizon)}
		for i := range r.ids {
			r.next[i], r.announced[i] = make(map[[2]uint64]uint64), make(map[uint64]bool)
			r.ids[i] = qnet.NewNodeID(s.Realm, s.Nodes[i].Name)
		}
		r.travel = s.HalfDelay(&s.Links[0])
		j, err := newJob(s, &Options{Filter: r.read})
		if err != nil {
			t.Fatal(err)
		}
		r.now = j.loop.Now
		spec := j.specs[0]
		slack := 0.
		if x.measured {
			slack = (spec.Readout + spec.Gate1).Seconds()
		} else if strings.Contains(x.row, "store") {
			r.moved = 2 * spec.Gate2
		}
		if err := j.run(context.Background(), j.collector.end, nil); err != nil {
			t.Fatal(err)
		}
		got := j.result().All.Both
		j.loop.Close()
		if got.Completed < 300 || len(got.Failed) > 0 || r.refused > 0 {
			t.Errorf("%s: %+v, %d refused", x.name, got, r.refused)
		}
		if got.Requests != r.countedAsks || got.Pairs != r.pairs || got.Completed != r.completed {
			t.Errorf("%s: %d requests, %d pairs, %d complete; the frames say %d, %d, %d", x.name, got.Requests, got.Pairs, got.Completed, r.countedAsks, r.pairs, r.completed)
		}
		if rate := float64(r.pairs) / r.end.Sub(r.start).Seconds(); math.Abs(got.Throughput.Mean-rate) > 1e-12*rate {
			t.Errorf("%s: throughput %.9g, the frames say %.9g", x.name, got.Throughput.Mean, rate)
		}
		n := float64(r.completed)
		for _, c := range []struct {
			what       string
			got, frame float64
		}{{"latency", got.Latency.Mean, r.latency / n}, {"scaled latency", got.Scaled.Mean, r.scaled / n}} {
			if late := c.got - c.frame; late < -2e-9 || late > slack+2e-9 { // times are cut to nanoseconds
				t.Errorf("%s: %s is %.9g s, the frames say %.9g: want at most %.3g s between them", x.name, c.what, c.got, c.frame, slack)
			}
		}
	}
}
