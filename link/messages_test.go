package link_test

import (
	"math"
	"testing"

	"qstack/link"
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/wire"
	"qstack/qnet/wire/wiretest"
)

// samples returns messages of every type with every field set, to values around
// 2³² where they count from there.
func samples() []wire.Message {
	const id = link.RequestID(seqBase<<1 | 1)
	return []wire.Message{
		&link.Add{Link: 3, ID: id, Kind: link.Measure, Pairs: 1000, Purpose: seqBase + 1, Tag: 7, MinFidelity: 0.9375, Deadline: cycleBase + 5000,
			Schedule: cycleBase + 40, Point: 2, Priority: 5, Atomic: true, Place: seqBase + 9, Turn: 1.5e6,
			Bases: []link.WeightedBasis{{Basis: qnet.BasisX, Weight: 0.25}, {Basis: qnet.BasisZ, Weight: 0.75}}, Rate: 12.5, Limit: 500},
		&link.Add{Link: 3, ID: id + 1, Pairs: 2, Consecutive: true, Store: true, Schedule: cycleBase + 40,
			Testing: 0.015625, Salt: []byte("0123456789abcdef")},
		&link.AddAck{Link: 3, ID: id, Code: qnet.ErrFidelity, Best: 0.8125},
		&link.AddAck{Link: 3, ID: id, Place: seqBase + 10, Turn: 2.5e6, Limit: 1 << 61},
		&link.Limit{Link: 3, ID: id, Number: 3, Limit: 700, Turn: 1.5e6, Had: 500},
		&link.LimitAck{Link: 3, ID: id, Number: 3, Turn: 1.75e6, Had: 501},
		&link.End{Link: 3, ID: id, Code: qnet.ErrCancelled, Text: "no more"},
		&link.EndAck{Link: 3, ID: id},
		&link.Gen{Link: 3, Lane: 63, Window: windowBase + 20, First: cycleBase + 9000, Count: 60000, Dead: 340, Bulk: true,
			Candidates: []link.Candidate{{ID: id, Limit: 500, Had: 300}}},
		&link.Gen{Link: 3, Lane: 2, Window: windowBase + 21, First: cycleBase + 9001, Count: 60001,
			Pattern: physical.Pattern{First: cycleBase + 390, Stride: 15, Every: 345, Pause: 31}, Point: 1, Others: []link.RequestID{id + 2},
			Candidates: []link.Candidate{{ID: id, Limit: 1 << 61}, {ID: id + 1, Limit: 6, Had: 2}}},
		&link.Reply{Link: 3, Lane: 63, Window: windowBase + 20, ID: id, Seq: seqBase + 70, Cycle: cycleBase + 9004, Label: qnet.PsiMinus},
		&link.Reply{Link: 3, Lane: 1, Window: windowBase + 21, ID: id, Seq: seqBase + 71, Cycle: cycleBase + 9019, Lost: true},
		&link.LinkExpire{Link: 3, First: seqBase + 63, End: seqBase + 65},
		&link.LinkExpireAck{Link: 3, First: seqBase + 63, End: seqBase + 65},
		&link.BulkReply{Link: 3, Lane: 5, Window: windowBase + 2, ID: id, Index: 40, Seq: seqBase + 60, Cycle: cycleBase + 77,
			Steps: []uint64{0, 300, 70000, 1, 2}, Labels: []byte{0b11100100, 0b10}, Done: true},
		&link.BulkReply{Link: 3, Lane: 5, Window: windowBase + 2, ID: id, Index: 45, Seq: seqBase + 65, Cycle: cycleBase + 80,
			Steps: []uint64{0}, Labels: []byte{1}, Lost: true},
		&link.BulkAck{Link: 3, Lane: 5, Window: windowBase + 2, Next: 46},
		&link.Mismatch{Link: 3, Lane: 5, Window: windowBase + 2, Use: id + 4},
		&link.Outcomes{Link: 3, ID: id, Bases: []qnet.Basis{qnet.BasisZ, qnet.BasisXZ(0.75), {Theta: 1.5, Phi: -2}},
			Items: []link.Outcome{{Seq: seqBase + 70, Basis: 2, Bit: 1}, {Seq: seqBase + 71, Basis: 1}}},
		&link.Memory{Link: 3, Number: 17, Lanes: true, Stores: 2},
	}
}

func TestSamples(t *testing.T)   { wiretest.Complete(t, link.Messages(), samples(), wire.ServiceLink) }
func TestGolden(t *testing.T)    { wiretest.Golden(t, "testdata", samples()...) }
func TestRoundTrip(t *testing.T) { wiretest.RoundTrip(t, samples()...) }
func FuzzMessages(f *testing.F)  { wiretest.Fuzz(f, samples()...) }

// A frame holds labels for its pairs and no more, and a range is not empty.
func TestMessagesRejected(t *testing.T) {
	wiretest.Reject(t,
		&link.BulkReply{Steps: []uint64{1, 2, 3, 4, 5}, Labels: []byte{0}},
		&link.BulkReply{Labels: []byte{0}},
		&link.LinkExpire{First: 7, End: 7},
		&link.LinkExpire{First: 7, End: 6},
		&link.Add{Rate: -1},
		&link.Add{Rate: 1e13},
		&link.LinkExpire{First: 7, End: 7000},
		&link.Reply{Label: 4},
		&link.Outcomes{Items: []link.Outcome{{}}},
		&link.Outcomes{Bases: []qnet.Basis{qnet.BasisX}, Items: []link.Outcome{{}, {Basis: 1}}},
		&link.Outcomes{Bases: []qnet.Basis{{Theta: math.NaN()}}},
		&link.Outcomes{Bases: []qnet.Basis{{Phi: math.Inf(-1)}}},
		&link.Outcomes{Bases: make([]qnet.Basis, physical.MaxBases+1)},
		&link.Gen{Lane: 1 << 12},
	)
}

// The largest OUTCOMES is a datagram.
func TestOutcomesFit(t *testing.T) {
	m := &link.Outcomes{Link: 1<<32 - 1, ID: wire.MaxUvarint, Bases: make([]qnet.Basis, physical.MaxBases)}
	for {
		more := *m
		more.Items = append(more.Items[:len(m.Items):len(m.Items)], link.Outcome{Seq: wire.MaxUvarint, Basis: physical.MaxBases - 1, Bit: 1})
		if err := wire.Parse(wire.Append(nil, &more), new(link.Outcomes)); err != nil {
			break // one item too many
		}
		m = &more
	}
	if n := len(wire.Append(nil, m)); len(m.Items) < 16 || n > wire.MaxDatagram {
		t.Errorf("%d items take %d bytes, want %d at most", len(m.Items), n, wire.MaxDatagram)
	}
}
