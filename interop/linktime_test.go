package interop

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"qstack/node"
	"qstack/node/qtest"
	"qstack/node/scenario"
	"qstack/qnet/qnettest"
	"qstack/qsocket"
)

// slow is a link whose pairs come so seldom by the wall clock, 20 a second on each
// lane, that the time that software takes is next to nothing.
const slow = `version = 1
[network]
name = "slow"
seed = 1
dilation = 40
[heralding.h]
model = "ideal"
attempt_rate = "100 kHz"
probability = 0.008
fidelity = 0.9
[hardware.h]
t2 = "1 s"
init = "1 us"
gate1 = "1 us"
gate2 = "10 us"
readout = "10 us"
readout_error = 0.01
[[nodes]]
name = "alice"
hardware = "h"
storage = 2
[[nodes]]
name = "bob"
hardware = "h"
storage = 2
[[links]]
nodes = ["alice", "bob"]
length = "200 m"
lanes = 8
heralding = "h"
`

// sample is what one end saw: of the pairs measured at once, and of those kept and
// then measured.
type sample struct {
	measured, kept map[qsocket.PairName]outcome
	// Emulated time from the first pair to the last, in seconds.
	measuring, keeping float64
}

type outcome struct {
	basis, bit uint8
	label      qsocket.BellLabel
}

// axes are the bases that pairs are measured in.
var axes = []qsocket.Basis{qsocket.X, qsocket.Y, qsocket.Z}

// sampled measures pairs at one end of a socket: some at once, in one request, then
// others one by one, each kept before it is measured.
func sampled(ctx context.Context, c *qsocket.Conn, measured, kept int) (*sample, error) {
	s := &sample{measured: make(map[qsocket.PairName]outcome), kept: make(map[qsocket.PairName]outcome)}
	o, err := c.Measure(ctx, measured, qsocket.RandomBasis(axes...))
	if err != nil {
		return nil, err
	}
	first, last := o.At[0], o.At[0]
	for i := range o.Len() {
		s.measured[o.Name(i)] = outcome{o.Basis[i], o.Bit[i], o.Label[i]}
		first, last = min(first, o.At[i]), max(last, o.At[i])
	}
	s.measuring = last.Sub(first).Seconds()
	var began time.Time
	for i := range kept {
		pairs, err := c.Keep(ctx, 1)
		if err != nil {
			return nil, err
		}
		p := pairs[0]
		if i == 0 {
			began = p.At
		}
		s.keeping = p.At.Sub(began).Seconds()
		basis := uint8(i % len(axes))
		bit, err := p.Qubit.Measure(ctx, axes[basis])
		if err != nil {
			return nil, err
		}
		s.kept[p.Name] = outcome{basis, bit, p.Label}
	}
	return s, nil
}

// cells counts the joint outcomes of pairs by both bases, and whether the bits are
// those of the Bell state. It returns the pairs that both ends measured in one
// basis, and how many of these are wrong.
func cells(t *testing.T, a, b map[qsocket.PairName]outcome) (counts []int, same, wrong int) {
	t.Helper()
	counts = make([]int, 4*len(axes)*len(axes))
	if len(a) != len(b) {
		t.Errorf("one end has %d pairs, the other %d", len(a), len(b))
	}
	for name, x := range a {
		y, ok := b[name]
		if !ok || x.label != y.label {
			t.Errorf("pair %v: %+v at one end, %+v at the other", name, x, y)
			continue
		}
		bit := x.bit
		if flip, _ := x.label.Flips(axes[x.basis]); flip {
			bit ^= 1
		}
		if axes[x.basis] == qsocket.Y {
			bit ^= 1
		}
		counts[4*(int(x.basis)*len(axes)+int(y.basis))+int(2*bit+y.bit)]++
		if x.basis == y.basis {
			same++
			if bit != y.bit {
				wrong++
			}
		}
	}
	return counts, same, wrong
}

// TestRealTimeIsVirtualTime: the link of two processes and a fabric in real time is
// that of virtual time: joint outcomes (chi-square at 1e-6), the share of wrong bits
// and so the fidelity, and the pairs per second, within 5 standard errors each.
// Gaps between pairs are geometric, all but exponential, so that the time that n
// pairs take has the relative error 1/√n. Virtual time has 20 times the pairs.
func TestRealTimeIsVirtualTime(t *testing.T) {
	t.Parallel()
	const measured, kept, more = 1500, 180, 20
	s, err := scenario.Parse("slow.toml", []byte(slow))
	if err != nil {
		t.Fatal(err)
	}
	var virtual [2]*sample
	q := qtest.New(t, s, node.Options{})
	q.Go("bob", func(ctx context.Context, n *qsocket.Node) error {
		l, err := n.Listen(ctx, ":7")
		if err != nil {
			return err
		}
		q.Go("alice", func(ctx context.Context, n *qsocket.Node) error {
			c, err := n.Dial(ctx, "bob:7", qsocket.Contract{})
			if err == nil {
				virtual[0], err = sampled(ctx, c, more*measured, more*kept)
			}
			return err
		})
		c, err := l.Accept(ctx)
		if err == nil {
			virtual[1], err = sampled(ctx, c, more*measured, more*kept)
		}
		return err
	})
	q.Run()
	if t.Failed() {
		return
	}

	n := newNetwork(t, []byte(slow))
	n.start()
	ctx := testContext(t)
	head, tail, err := pair(ctx, n.open("alice"), n.open("bob"), 7)
	if err != nil {
		t.Fatal(err)
	}
	var real [2]*sample
	var errs [2]error
	var both sync.WaitGroup
	for i, c := range []*qsocket.Conn{head, tail} {
		both.Go(func() { real[i], errs[i] = sampled(ctx, c, measured, kept) })
	}
	both.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	n.waitNoQubits()
	n.stop()

	for _, x := range []struct {
		what       string
		n          float64
		real, virt [2]map[qsocket.PairName]outcome
		took, want float64 // seconds
	}{
		{"measured", measured, [2]map[qsocket.PairName]outcome{real[0].measured, real[1].measured},
			[2]map[qsocket.PairName]outcome{virtual[0].measured, virtual[1].measured}, real[0].measuring, virtual[0].measuring},
		{"kept", kept, [2]map[qsocket.PairName]outcome{real[0].kept, real[1].kept},
			[2]map[qsocket.PairName]outcome{virtual[0].kept, virtual[1].kept}, real[0].keeping, virtual[0].keeping},
	} {
		a, same, wrong := cells(t, x.real[0], x.real[1])
		b, sameV, wrongV := cells(t, x.virt[0], x.virt[1])
		qnettest.SameDistribution(t, x.what+" outcomes", a, b)
		p := float64(wrong+wrongV) / float64(same+sameV) // of both, if they are the same
		got, want := float64(wrong)/float64(same), float64(wrongV)/float64(sameV)
		if se := math.Sqrt(p * (1 - p) * (1/float64(same) + 1/float64(sameV))); math.Abs(got-want) > 5*se {
			t.Errorf("%s: %.4f of the bits are wrong, in virtual time %.4f ± %.4f", x.what, got, want, se)
		}
		rate, rateV := (x.n-1)/x.took, (more*x.n-1)/x.want
		se := rateV * math.Sqrt((1+1./more)/x.n)
		if math.Abs(rate-rateV) > 5*se {
			t.Errorf("%s: %.1f pairs/s, in virtual time %.1f ± %.1f", x.what, rate, rateV, se)
		}
		t.Logf("%s: fidelity %.4f and %.4f, %.1f and %.1f ± %.1f pairs/s", x.what, 1-1.5*got, 1-1.5*want, rate, rateV, se)
	}
}
