package transport_test

import (
	"testing"
	"time"

	"qstack/network"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/wire"
	"qstack/qnet/wire/wiretest"
	"qstack/transport"
	"qstack/transport/transporttest"
)

// samples returns messages with every field set, each to another value.
func samples() []wire.Message {
	token := transport.Token("0123456789abcdef")
	circuit := transport.CircuitID{Head: 0x0102030405060708, Number: 1<<32 + 5}
	return []wire.Message{
		&transport.Connect{Port: 7, MinFidelity: 0.85, State: qnet.PsiPlus, Program: "teleport"},
		&transport.ConnectReply{Code: qnet.ErrNoListener, Text: "nobody", Tag: 300},
		&transport.Open{},
		&transport.Post{Seq: 1<<32 - 64, Kind: transport.KindMeasure, Pairs: 1000, Pauli: true},
		&transport.Match{ID: 1<<32 - 63, Head: 1<<32 - 62, Tail: 1<<32 - 61, Corrector: network.CorrectorTail},
		&transport.Fail{Head: 1<<32 - 60, Tail: 1<<32 - 59, Code: qnet.ErrMismatch, Text: "2 and 3"},
		&transport.Withdraw{Seq: 1<<32 - 58, Code: qnet.ErrTimeout, Text: "late"},
		&transport.Withdrawn{Seq: 1<<32 - 57},
		&transport.Correction{Seq: 1<<32 - 56, Pair: 1<<32 + 9, Label: qnet.PsiMinus},
		&transport.Received{Seq: 1<<32 - 55, Code: qnet.ErrQubitLost, Text: "gone"},
		&transport.Lost{Seq: 1<<32 - 54, Text: "dropped"},
		&transport.Data{Bytes: []byte("hello")},
		&transport.Credit{Bytes: 70000},
		&transport.EndData{},
		&transport.Reset{Code: qnet.ErrUnavail, Text: "bob is down"},
		&transport.Hello{Version: transport.Version, Program: "teleport", Session: 9, Token: token},
		&transport.Welcome{Code: qnet.ErrAuth, Text: "no", Session: 9, Token: token, Node: "alice", Now: 123456789, Dilation: 2.5},
		&transport.Reply{Ref: 1, Code: qnet.ErrBadQubit, Text: "freed", Value: 3, At: 1e9},
		&transport.Listen{Ref: 2, Port: 7, Backlog: 16},
		&transport.Unlisten{Ref: 3, Port: 8},
		&transport.Alloc{Ref: 4},
		&transport.Operate{Gate: transport.GateRY, A: 5, B: 6, Angle: -0.5},
		&transport.MeasureQubit{Ref: 7, Qubit: 8, Basis: qnet.Basis{Theta: 0.25, Phi: 0.75}},
		&transport.FreeQubit{Qubit: 9},
		&transport.Flush{Ref: 10, Qubit: 11},
		&transport.Dial{Node: "charlie", Port: 7, MinFidelity: 0.5, MinRate: 12.5, State: qnet.PsiMinus},
		&transport.Accept{Port: 9},
		&transport.Opened{Code: qnet.ErrFidelity, Text: "0.8", Peer: "charlie", PeerID: 77, Port: 7, Circuit: circuit, Hops: 2, Fidelity: 0.9, Rate: 182, State: qnet.PhiMinus},
		&transport.Ask{Ref: 12, Kind: transport.KindMeasure, Pairs: 13, Bases: transport.Bases{Bases: []qnet.Basis{qnet.BasisX, {Theta: 1, Phi: 2}}, Weights: []float64{1, 3}}, Qubit: 14},
		&transport.Cancel{Ref: 15, Code: qnet.ErrTimeout},
		&transport.Kept{Ref: 16, Pairs: []transport.KeptPair{{Seq: 1<<32 + 1, Label: qnet.PsiPlus, Qubit: 17, Created: 18, At: 19, Fidelity: 0.875}}},
		&transport.Outcomes{Ref: 20, Seq: []uint64{1 << 32, 1<<32 + 1, 1<<32 - 1}, Results: []transport.Result{transport.NewResult(15, 1, qnet.PsiMinus), 0, 5}, At: []qnet.Time{1e9, 1e9, 1e9 + 5}},
		&transport.Done{Ref: 21, Code: qnet.ErrQubitLost, Text: "lost", Seq: 1<<32 + 2, Qubit: 22},
		&transport.Closed{Code: qnet.ErrPeerClosed, Text: "bye"},
	}
}

func TestSamples(t *testing.T) {
	wiretest.Complete(t, transport.Messages(), samples(), wire.ServiceTransport, wire.ServiceSession, wire.ServiceSession+1, wire.ServiceSession+2)
}
func TestGolden(t *testing.T)    { wiretest.Golden(t, "testdata/messages", samples()...) }
func TestRoundTrip(t *testing.T) { wiretest.RoundTrip(t, samples()...) }
func FuzzMessages(f *testing.F)  { wiretest.Fuzz(f, samples()...) }

// TestResult checks the packing of a result in its whole range.
func TestResult(t *testing.T) {
	seen := make(map[transport.Result]bool)
	for basis := range uint8(transport.MaxBases) {
		for bit := range uint8(2) {
			for label := range qnet.BellLabel(4) {
				r := transport.NewResult(basis, bit, label)
				if r.Basis() != basis || r.Bit() != bit || r.Label() != label || seen[r] {
					t.Errorf("NewResult(%d, %d, %v) = %d: %d, %d, %v", basis, bit, label, r, r.Basis(), r.Bit(), r.Label())
				}
				seen[r] = true
			}
		}
	}
}

// TestToken checks that a token does not show when it is printed.
func TestToken(t *testing.T) {
	m := &transport.Hello{Token: transport.Token("0123456789abcdef")}
	if s := transporttest.Format(m); s != "Hello token=[token]" {
		t.Errorf("printed as %s", s)
	}
}

// FuzzSocket feeds both ends of a socket with requests of their programs and
// with messages that a faulty peer makes up. Whatever comes, nothing panics, and
// once the programs have gone nothing is left.
func FuzzSocket(f *testing.F) {
	f.Add([]byte{})
	for i := range samples() {
		f.Add([]byte{0x80, byte(i), 0, 0, 1, 0x80, byte(i), 9})
	}
	f.Add([]byte{0, 0, 1, 0, 9, 2, 0, 3, 0, 9, 9, 4, 0, 5, 0, 6, 1, 9, 0x81, 9, 7, 9})
	f.Fuzz(func(t *testing.T, in []byte) {
		loop := event.NewVirtual()
		defer loop.Close()
		w := transporttest.New(loop, nil, "alice", "charlie")
		w.Delay, w.PairTime = time.Millisecond, time.Millisecond
		var sink discard
		names := []string{"alice", "charlie"}
		sessions := make([]*transport.Session, 2)
		channels := make([]*transport.Channel, 2)
		for i, n := range names {
			sessions[i], _ = w.Node(n).Layer.Open("fuzz", sink)
			channels[i], _ = sessions[i].Channel(sink)
			_ = sessions[i].Do(&transport.Alloc{Ref: 1})
			_ = sessions[i].Do(&transport.Alloc{Ref: 2})
		}
		_ = sessions[1].Do(&transport.Listen{Ref: 3, Port: 7})
		_ = channels[1].Do(&transport.Accept{Port: 7})
		_ = channels[0].Do(&transport.Dial{Node: "charlie", Port: 7})
		run := func(d time.Duration) {
			if err := loop.RunFor(d); err != nil {
				t.Fatal(err)
			}
		}
		run(10 * time.Millisecond)
		msgs := samples()
		for ref := uint64(1); len(in) >= 2 && ref < 200; ref++ {
			op, arg := in[0], in[1]
			in = in[2:]
			who := int(arg) & 1
			if op&0x80 != 0 { // a message, as it is or with one byte changed
				b := wire.Append(nil, msgs[int(arg)%len(msgs)])
				if op&0x40 != 0 && len(in) > 1 {
					b[int(in[0])%len(b)] ^= in[1]
					in = in[2:]
				}
				m := msgs[int(arg)%len(msgs)]
				fresh := wiretest.Zero(m)
				if wire.Parse(b, fresh) == nil && op&0x20 == 0 {
					w.Inject(names[op&1], fresh)
				} else if wire.Parse(b, fresh) == nil {
					_ = channels[op&1].Do(fresh)
				}
				continue
			}
			ask := &transport.Ask{Ref: ref, Pairs: 1 + uint64(arg>>6), Kind: transport.Kind(op & 3), Qubit: 1 + uint64(arg>>1&1)}
			ask.Bases.Bases = []qnet.Basis{qnet.BasisX}
			switch op & 0xf {
			case 0, 1:
				_ = channels[who].Do(ask)
			case 2, 3:
				ask.Pairs = 1
				_ = channels[who].Do(ask)
			case 4:
				_ = channels[who].Do(&transport.Cancel{Ref: ref - 1 - uint64(arg>>4), Code: qnet.ErrCancelled})
			case 5:
				_ = sessions[who].Do(&transport.Operate{Gate: transport.GateCNOT, A: 1, B: 2})
			case 6:
				_ = sessions[who].Do(&transport.FreeQubit{Qubit: uint64(arg >> 1 & 3)})
			case 7:
				_ = channels[who].Do(&transport.Data{Bytes: make([]byte, 1+int(arg))})
			case 8:
				channels[who].Close()
			case 9:
				w.Break()
			default:
				run(time.Duration(arg) * 50 * time.Microsecond)
			}
		}
		for _, s := range sessions {
			s.End()
		}
		run(time.Minute)
		for _, n := range names {
			if st := w.Node(n).Layer.Stats(); st != (transport.Stats{}) {
				t.Errorf("%s: %+v is left", n, st)
			}
		}
		if q, c, s := w.Held(); q+c+s != 0 {
			t.Errorf("%d qubits, %d circuits and %d streams are left", q, c, s)
		}
	})
}

type discard struct{}

func (discard) Message(wire.Message) {}
