package oracle_test

import (
	"math"
	"testing"

	"qstack/physical/fabric"
	"qstack/physical/oracle"
	"qstack/qnet"
	"qstack/qnet/wire"
	"qstack/qnet/wire/wiretest"
)

func samples() []wire.Message {
	return []wire.Message{
		&oracle.Observe{Version: 1},
		&oracle.Observing{Fabric: 0xfab0fab1, Now: 1_234_567_890},
		&oracle.Question{Number: 1 << 32, Kind: oracle.AskFidelity, Label: qnet.PsiMinus, Qubits: []oracle.Place{{Index: 3, Generation: 4}, {Index: 500, Generation: 1<<32 - 1}}},
		&oracle.Question{Number: 7, Kind: oracle.AskLedger},
		&oracle.Answer{Number: 1<<32 + 1, At: 5_000_000_000, More: true, Rows: []oracle.Row{
			{Node: 0xa11ce, Index: 1, Generation: 2, Since: 9},
			{Node: 0xb0b << 40, Index: 300, Generation: 1 << 20, Use: fabric.UseBulk, Link: 70, Lane: 80, Since: 1 << 40, Cluster: 7},
		}},
		&oracle.Answer{Number: 9, At: 6, Code: qnet.ErrBadQubit, Text: "it was freed", Values: []float64{0.25, -1, math.Pi}},
	}
}

func TestSamples(t *testing.T) {
	wiretest.Complete(t, oracle.Messages(), samples(), wire.ServiceOracle)
}
func TestGolden(t *testing.T)    { wiretest.Golden(t, "testdata", samples()...) }
func TestRoundTrip(t *testing.T) { wiretest.RoundTrip(t, samples()...) }
func FuzzMessages(f *testing.F)  { wiretest.Fuzz(f, samples()...) }

// The longest answers fit a message.
func TestSizes(t *testing.T) {
	a := &oracle.Answer{Number: 1<<62 - 1, At: 1<<62 - 1, Text: string(make([]byte, 256)), Values: make([]float64, 2<<(2*oracle.MaxQubits))}
	for range 4096 {
		a.Rows = append(a.Rows, oracle.Row{Node: 1<<64 - 1, Index: 1<<32 - 1, Generation: 1<<32 - 1, Use: 3, Link: 1<<32 - 1, Lane: 1<<32 - 1, Since: 1<<62 - 1, Cluster: 1<<32 - 1})
	}
	if n := len(wire.Append(nil, a)); n > wire.MaxMessage {
		t.Errorf("%d bytes, want at most %d", n, wire.MaxMessage)
	}
}
