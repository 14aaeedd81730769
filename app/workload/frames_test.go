package workload_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"math"
	"regexp"
	"testing"
	"time"

	"qstack/app/sweep"
	"qstack/app/workload"
	"qstack/link"
	"qstack/node"
	"qstack/node/scenario"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
	"qstack/scenarios"
)

// asked is a request as frames tell of it.
type asked struct {
	side           int // that created it
	created        qnet.Time
	pairs, missing uint64
}

// reader knows the format of the frames, how long they travel, and how long after a
// REPLY a pair is handed up; of the run it has nothing but the trace.
type reader struct {
	t           *testing.T
	names       [2]string     // of the ends
	travel      time.Duration // between the station and an end
	moved       time.Duration // of a kept pair
	start, end  qnet.Time     // of what counts
	requests    map[link.RequestID]*asked
	refused     int
	next        [2]map[[2]uint64]uint64 // by end, lane and window: items that were announced
	announced   [2]map[uint64]bool      // by end: numbers of kept pairs
	pairs       uint64                  // handed up where they were asked for
	completed   uint64                  // requests
	latency     float64                 // seconds, of all of these
	scaled      float64                 // the same over their pairs
	countedAsks uint64
}

// newReader returns the reader of a trace of a scenario.
func newReader(t *testing.T, s *scenario.Scenario) *reader {
	r := &reader{t: t, requests: make(map[link.RequestID]*asked), start: qnet.Time(s.Workload.Warmup), end: qnet.Time(s.Workload.Horizon),
		travel: s.HalfDelay(&s.Links[0])}
	for i := range r.names {
		r.next[i], r.announced[i] = make(map[[2]uint64]uint64), make(map[uint64]bool)
		r.names[i] = s.Nodes[i].Name
	}
	return r
}

// readTrace takes all frames of a trace.
func (r *reader) readTrace(data []byte) {
	records, err := trace.Read(bytes.NewReader(data))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range records {
		if x := &records[i]; x.Layer == "control" && x.Event == "send" {
			r.read(x)
		}
	}
}

// read takes a frame as it was sent.
func (r *reader) read(x *trace.Record) {
	data, _ := x.Fields["data"].(string)
	b, err := hex.DecodeString(data)
	if err != nil || len(b) == 0 {
		r.t.Fatalf("%+v: no contents: %v", x, err)
	}
	typ, _, err := wire.Peek(b)
	if err != nil {
		r.t.Fatal(err)
	}
	parse := func(m wire.Message) {
		if err := wire.Parse(b, m); err != nil {
			r.t.Fatal(err)
		}
	}
	end := 0
	if x.Fields["peer"] == r.names[1] {
		end = 1
	}
	switch typ {
	case (*link.Add)(nil).Type():
		var m link.Add
		parse(&m)
		if r.requests[m.ID] == nil {
			r.requests[m.ID] = &asked{side: 1 - end, created: x.T, pairs: m.Pairs, missing: m.Pairs}
			if x.T >= r.start {
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
			r.got(end, m.ID, 1, x.T.Add(r.travel+r.moved))
		}
	case (*link.BulkReply)(nil).Type():
		var m link.BulkReply
		parse(&m)
		window := [2]uint64{uint64(m.Lane), m.Window}
		if m.Index >= r.next[end][window] {
			n := uint64(len(m.Steps))
			r.next[end][window] = m.Index + n
			r.got(end, m.ID, n, x.T.Add(r.travel))
		}
	}
}

// got is the delivery of pairs at an end.
func (r *reader) got(end int, id link.RequestID, n uint64, at qnet.Time) {
	if at >= r.end || n == 0 {
		return
	}
	q := r.requests[id]
	if q == nil {
		r.t.Fatalf("%d pairs of request %d, which nobody made", n, id)
	}
	if q.side != end {
		return
	}
	if at >= r.start {
		r.pairs += n
	}
	q.missing -= min(q.missing, n)
	if q.missing == 0 && q.created >= r.start {
		r.completed++
		latency := at.Sub(q.created).Seconds()
		r.latency += latency
		r.scaled += latency / float64(q.pairs)
	}
}

// campaignRow returns the scenario of a row of the campaign.
func campaignRow(t *testing.T, name string) *scenario.Scenario {
	t.Helper()
	s, err := sweep.Load(sweep.FS{FS: scenarios.Files}, "campaign")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Plan(sweep.Options{Only: regexp.MustCompile("^" + regexp.QuoteMeta(name) + "$")})
	if err != nil || len(p.Rows) != 1 {
		t.Fatalf("%s: %v", name, err)
	}
	return p.Rows[0].Scenario
}

// TestFramesTell: throughput and latency are what the frames say that are in the
// trace of a row of the campaign, all that is left when the run is over. A pair that
// is measured is handed up when its BULK_REPLY is there, or its outcome if that is
// later: by no more than a rotation and a read-out. A pair that is kept is handed up
// with its REPLY, one that is stored after a move, which is two two-qubit gates. So
// all is exact but for the read-out, and the rounding of means.
func TestFramesTell(t *testing.T) {
	for _, x := range []struct {
		name, row string
		stored    bool
	}{
		{"MD", "single/QL2020/MD 1-3/0.7/both/pass 1", false},
		{"CK", "single/QL2020/CK 1-3/0.7/both/pass 1", false},
		{"stored", "single/QL2020/CK 1-3/0.7/both/pass 1", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := campaignRow(t, x.row)
			s.Workload.Warmup = 100 * time.Second
			s.Workload.Types[0].Store = x.stored
			data, got := traced(t, s)
			r, spec := newReader(t, s), hardware(t, s)
			slack := 0.
			switch {
			case x.stored:
				r.moved = 2 * spec.Gate2
			case s.Workload.Types[0].Type == scenario.MeasurePairs:
				slack = (spec.Readout + spec.Gate1).Seconds()
			}
			r.readTrace(data)
			if got.Completed < 300 || len(got.Failed) > 0 || r.refused > 0 {
				t.Errorf("%+v, %d refused", got, r.refused)
			}
			if got.Requests != r.countedAsks || got.Pairs != r.pairs || got.Completed != r.completed {
				t.Errorf("%d requests, %d pairs, %d complete; the frames say %d, %d, %d", got.Requests, got.Pairs, got.Completed, r.countedAsks, r.pairs, r.completed)
			}
			if rate := float64(r.pairs) / r.end.Sub(r.start).Seconds(); math.Abs(got.Throughput.Mean-rate) > 1e-12*rate {
				t.Errorf("throughput %.9g, the frames say %.9g", got.Throughput.Mean, rate)
			}
			n := float64(r.completed)
			for _, c := range []struct {
				what       string
				got, frame float64
			}{{"latency", got.Latency.Mean, r.latency / n}, {"scaled latency", got.Scaled.Mean, r.scaled / n}} {
				if late := c.got - c.frame; late < -2e-9 || late > slack+2e-9 { // times are cut to nanoseconds
					t.Errorf("%s is %.9g s, the frames say %.9g: want at most %.3g s between them", c.what, c.got, c.frame, slack)
				}
			}
		})
	}
}

// traced runs a scenario and returns its trace with contents, and its figures.
func traced(t *testing.T, s *scenario.Scenario) ([]byte, *workload.Figures) {
	t.Helper()
	var file bytes.Buffer
	w := trace.NewContentsWriter(&file)
	result, err := workload.Run(context.Background(), s, workload.Options{Trace: w})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), &result.All.Both
}

// hardware returns the data sheet of the ends, which are alike.
func hardware(t *testing.T, s *scenario.Scenario) *physical.Spec {
	t.Helper()
	plan, err := node.NewPlan(s)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Topology.Nodes[0].Spec
}
