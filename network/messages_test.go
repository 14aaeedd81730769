package network_test

import (
	"testing"

	"qstack/network"
	"qstack/qnet"
	"qstack/qnet/wire"
	"qstack/qnet/wire/wiretest"
)

// samples returns messages of every type with every field set, to values around
// 2³² where they count from there.
func samples() []wire.Message {
	return []wire.Message{
		&network.Setup{Circuit: network.CircuitID{Head: 0x0123456789abcdef, Number: 1<<32 - 60}, Tag: 7,
			Path: []qnet.NodeID{0x0123456789abcdef, 0xfedcba9876543210, 3}, Label: 1<<32 - 64, Deadline: 5_000_000_000},
		&network.SetupOK{},
		&network.Teardown{Code: qnet.ErrUnavail, Text: "circuit lost at bob: charlie is gone"},
		&network.Forward{Request: 1 << 33, Pairs: 1000},
		&network.Complete{Request: 1 << 33},
		&network.Track{Origin: 1<<32 + 5, Link: 1<<32 - 3, Request: 9, Label: qnet.PsiMinus, Created: 123_456_789, Dephase: 40_000_000, Depol: 2_000_000_000},
		&network.CircuitExpire{Origin: 1<<32 + 5, Link: 1<<32 - 3},
	}
}

func TestSamples(t *testing.T) {
	wiretest.Complete(t, network.Messages(), samples(), wire.ServiceNetwork)
}
func TestGolden(t *testing.T)    { wiretest.Golden(t, "testdata", samples()...) }
func TestRoundTrip(t *testing.T) { wiretest.RoundTrip(t, samples()...) }
func FuzzMessages(f *testing.F)  { wiretest.Fuzz(f, samples()...) }
