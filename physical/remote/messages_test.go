package remote_test

import (
	"math"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/remote"
	"qstack/qnet"
	"qstack/qnet/wire"
	"qstack/qnet/wire/wiretest"
)

func samples() []wire.Message {
	q := func(index, generation uint32) physical.Qubit {
		return physical.Qubit{Index: index, Generation: generation}
	}
	padding := make([]byte, 48)
	return []wire.Message{
		&remote.Attach{Version: remote.Version},
		&remote.Attached{Fabric: 0xfab0fab1, Now: 1_234_567_890, Sheet: remote.Sheet{
			Storage: 3, Lanes: []remote.LinkLanes{{Link: 1, Lanes: 2, Dephasing: 0.0026}, {Link: 700, Lanes: 65}}, Communication: 66,
			Init: 10 * time.Microsecond, Gate1: 5 * time.Microsecond, Gate2: 100 * time.Microsecond, Readout: 300 * time.Microsecond,
			T1: 10, T2: 1.5, Depolarise: 0.25,
			Noise: physical.Noise{
				Gate2Depolarising: 0.005, Gate2Dephasing: 0.004,
				QubitNoise: physical.QubitNoise{InitDepolarising: 0.05, Gate1Depolarising: 0.001, ReadoutError: physical.ReadoutError{0.002, 0.07}},
				Memory:     physical.QubitNoise{InitDepolarising: 0.02, Gate1Depolarising: 0.003, ReadoutError: physical.ReadoutError{0.006, 0.008}},
			},
			Memory: []physical.Memory{{Init: 310 * time.Microsecond, Gate1: 20 * time.Microsecond, Readout: 40 * time.Microsecond,
				T1: 36000, T2: 1, Depolarise: 0.125, Indirect: true}},
			Coupling: physical.CouplingStar, Serial: true,
		}},
		&remote.Ops{First: 1<<32 - 1, Ops: []remote.Op{
			{Op: physical.Op{Kind: physical.OpAlloc}},
			{Op: physical.Op{Kind: physical.OpArm, Link: 1, Lane: 2}},
			{Op: physical.Op{Kind: physical.OpArm, Link: 100, Lane: 70}, Bases: []qnet.Basis{qnet.BasisX, {Theta: 1, Phi: 2}}, Weights: []float64{1, 0.5}},
			{Op: physical.Op{Kind: physical.OpFree, A: q(3, 4)}},
			{Op: physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: q(5, 6)}},
			{Op: physical.Op{Kind: physical.OpGate, Gate: physical.GateRY, A: q(7, 8), Angle: -0.75}},
			{Op: physical.Op{Kind: physical.OpGate, Gate: physical.GateCZ, A: q(9, 10), B: q(11, 1<<32-1)}},
			{Op: physical.Op{Kind: physical.OpMeasure, A: q(12, 13), Basis: qnet.Basis{Theta: 0.5, Phi: math.Inf(1)}, Free: true}},
			{Op: physical.Op{Kind: physical.OpBSM, A: q(14, 15), B: q(16, 17)}},
			{Op: physical.Op{Kind: physical.OpPrepare, Link: 18, Lane: 190}},
			{Op: physical.Op{Kind: physical.OpRefresh, A: q(19, 20), Link: 21, Pattern: &physical.Pattern{First: 1 << 32, Stride: 15, Every: 345, Pause: 31}}},
			{Op: physical.Op{Kind: physical.OpRefresh, A: q(22, 23), Link: 24}},
		}},
		&remote.Ops{First: 1 << 32, Ops: []remote.Op{
			{Op: physical.Op{Kind: 77}},
			{Op: physical.Op{Link: 1, Lane: 2, Gate: 3, A: q(4, 5), B: q(6, 7), Angle: 8, Basis: qnet.Basis{Theta: 9, Phi: 10}, Free: true, Pattern: &physical.Pattern{First: 11, Pause: 12}},
				Bases: []qnet.Basis{qnet.BasisY}, Weights: []float64{2}},
		}},
		&remote.Results{Results: []remote.Result{
			{Number: 1<<32 + 1, At: 5_000_000_000, Index: 70, Generation: 1 << 20},
			{Number: 1<<32 + 5, At: 5_000_000_300, Value: 3},
			{Number: 1<<32 + 2, At: 4_999_999_999, Code: qnet.ErrBadQubit, Text: "node alice: qubit 3.4@0000fab1 was freed"},
		}, Freed: []remote.Freed{{After: 0, Link: 1, Lane: 2}, {After: 3, Link: 3, Lane: 300}, {After: 3, Link: 400, Lane: 5}}},
		&remote.Results{Freed: []remote.Freed{{Link: 6, Lane: 7}}},
		&remote.Outcomes{Number: 1<<32 + 9, At: 6_000_000_001, Cycles: []uint64{1<<32 - 3, 1<<32 + 2, 1<<32 + 1000}, Bits: []byte{0, 31, 2}},
		&remote.ClockRequest{Sequence: 1<<32 - 1, Padding: padding},
		&remote.ClockReply{Sequence: 1 << 32, At: 7_000_000_000, Padding: padding},
	}
}

func TestSamples(t *testing.T) {
	wiretest.Complete(t, remote.Messages(), samples(), wire.ServiceFabric)
}
func TestGolden(t *testing.T)    { wiretest.Golden(t, "testdata", samples()...) }
func TestRoundTrip(t *testing.T) { wiretest.RoundTrip(t, samples()...) }
func FuzzMessages(f *testing.F)  { wiretest.Fuzz(f, samples()...) }

// Columns that do not fit together, outcomes of a basis that no source can have,
// and lanes out of order are malformed.
func TestConsistencyIsChecked(t *testing.T) {
	wiretest.Reject(t,
		&remote.Outcomes{Cycles: []uint64{1, 2}, Bits: []byte{0}},
		&remote.Outcomes{Cycles: []uint64{1}, Bits: []byte{0, 1}},
		&remote.Outcomes{Cycles: []uint64{1}, Bits: []byte{32}},
		&remote.Results{Results: make([]remote.Result, 2), Freed: []remote.Freed{{After: 3}}},
		&remote.Results{Results: make([]remote.Result, 2), Freed: []remote.Freed{{After: 2}, {After: 1}}},
	)
}

// The longest messages that are ever sent fit their channels: 4,096 outcomes 64
// KiB, 1,024 operations and results a message on a stream. Datagrams have 48
// bytes at least.
func TestSizes(t *testing.T) {
	const big = 1<<62 - 1
	q := physical.Qubit{Index: 1<<32 - 1, Generation: 1<<32 - 1}
	var out remote.Outcomes
	out.Number, out.At = big, big
	for i := range uint64(4096) {
		out.Cycles = append(out.Cycles, i<<31)
		out.Bits = append(out.Bits, 31)
	}
	arm := remote.Op{Op: physical.Op{Kind: physical.OpArm, Link: 1<<32 - 1, Lane: 1<<32 - 1}}
	for range physical.MaxBases {
		arm.Bases = append(arm.Bases, qnet.BasisX)
		arm.Weights = append(arm.Weights, 1)
	}
	ops := remote.Ops{First: big}
	var results remote.Results
	text := string(make([]byte, 256))
	for i := range int64(1024) {
		ops.Ops = append(ops.Ops, arm)
		far := qnet.Time(i%2) << 60
		results.Results = append(results.Results, remote.Result{Number: uint64(far), At: far, Code: 1<<32 - 1, Text: text, Index: q.Index, Generation: q.Generation})
		results.Freed = append(results.Freed, remote.Freed{After: 1024, Link: 1<<32 - 1, Lane: 1<<32 - 1})
	}
	for _, c := range []struct {
		m        wire.Message
		min, max int
	}{
		{&out, 0, 64<<10 - 1},
		{&ops, 0, wire.MaxMessage},
		{&results, 0, wire.MaxMessage},
		{&remote.ClockRequest{Padding: make([]byte, 48)}, 48, wire.MaxDatagram},
		{&remote.ClockReply{Padding: make([]byte, 48)}, 48, wire.MaxDatagram},
	} {
		if n := len(wire.Append(nil, c.m)); n < c.min || n > c.max {
			t.Errorf("%s has %d bytes, want from %d to %d", wire.Name(c.m), n, c.min, c.max)
		}
	}
}
