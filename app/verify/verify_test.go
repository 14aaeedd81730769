package verify_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/app/expect"
	"qstack/app/verify"
	"qstack/node"
	"qstack/node/qtest"
	"qstack/node/scenario"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
	"qstack/qsocket"
	"qstack/transport"
)

// measure runs a plan between two nodes of a network.
func measure(t *testing.T, n *qtest.Network, from, to string, p verify.Plan) *verify.Result {
	t.Helper()
	run := verify.NewRun(p, nil)
	n.Go(to, func(ctx context.Context, tail *qsocket.Node) error {
		return run.Tail(ctx, tail, func() {
			n.Go(from, func(ctx context.Context, head *qsocket.Node) error { return run.Head(ctx, head, to) })
		})
	})
	n.Run()
	if t.Failed() {
		t.FailNow()
	}
	r, err := run.Result()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What a network delivers is what its hardware should give, and a network of
// worse hardware than it claims fails, naming what is wrong. Verdicts are at
// five standard errors: false alarms are below 1e-6 each.
func TestVerdicts(t *testing.T) {
	s := qtest.Scenario(t, "ions3.toml")
	want, err := expect.Compute(s, "alice", "charlie", expect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan := verify.Plan{Pairs: 6000, PerState: 30}
	good := verify.Judge(measure(t, qtest.New(t, s, node.Options{Seed: 11}), "alice", "charlie", plan), want, true)
	if good.Verdict != "pass" || len(good.Failed) != 0 {
		t.Errorf("as specified: %+v", good)
	}
	fault, err := scenario.ParseFault("readout=0.05")
	if err != nil {
		t.Fatal(err)
	}
	bad := verify.Judge(measure(t, qtest.New(t, s, node.Options{Seed: 11, Faults: []scenario.Fault{fault}}), "alice", "charlie", plan), want, true)
	if bad.Verdict != "fail" || !slices.Contains(bad.Failed, "fidelity") || !slices.Contains(bad.Failed, "chsh") || slices.Contains(bad.Failed, "rate") {
		t.Errorf("with worse read-out: verdict %s, failed %v", bad.Verdict, bad.Failed)
	}
	var table strings.Builder
	if err := bad.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(table.String(), "FAIL"); n != len(bad.Failed) || !strings.HasSuffix(table.String(), "verdict: fail\n") {
		t.Errorf("the table names %d failures:\n%s", n, table.String())
	}
}

// Teleportation is worth nothing without its two classical bits: with random
// ones, every cardinal state is read right half the time. 6·200 trials of
// probability ½ are within 5 standard errors but for 6e-7.
func TestRandomCorrectionsTeleportNothing(t *testing.T) {
	n := qtest.New(t, qtest.Scenario(t, "ions3.toml"), node.Options{Seed: 5})
	rng := qnet.NewRand(5, "test/corrections")
	changed := 0
	n.Control.SetFilter(func(_, _ qnet.NodeID, _ control.Class, typ wire.Type, b []byte) control.Verdict {
		var m transport.Correction
		if typ != m.Type() {
			return control.Verdict{}
		}
		if err := wire.Parse(b, &m); err != nil {
			t.Error(err)
		}
		m.Label = qnet.BellLabel(rng.IntN(4))
		if c := wire.Append(nil, &m); copy(b, c) != len(b) || len(c) != len(b) {
			t.Error("the message has changed its length")
		}
		changed++
		return control.Verdict{}
	})
	const perState = 200
	r := measure(t, n, "alice", "charlie", verify.Plan{Pairs: 12, CHSHPairs: 12, PerState: perState})
	if changed != 6*perState {
		t.Fatalf("%d corrections were changed", changed)
	}
	const trials = 6. * perState
	if got := float64(r.TeleportRight) / trials; math.Abs(got-0.5) > 5*math.Sqrt(0.25/trials) {
		t.Errorf("fidelity %.4f with random corrections, want 1/2", got)
	}
}

// On a perfect link, measured in bulk with bases drawn at each end, S is 2√2.
func TestIdealLinkViolatesMaximally(t *testing.T) {
	n := qtest.New(t, qtest.Scenario(t, "ideal2.toml"), node.Options{Seed: 3})
	const pairs = 400_000
	r := measure(t, n, "alice", "bob", verify.Plan{Pairs: 1200, CHSHPairs: pairs, PerState: 5})
	if r.Fidelity != 1 || r.TeleportRight != 30 {
		t.Errorf("fidelity %v, %d of 30 qubits right on a perfect link", r.Fidelity, r.TeleportRight)
	}
	// Each correlator is ±1/√2 of a quarter of the pairs.
	se := math.Sqrt(4 * (1 - 0.5) / (pairs / 4.))
	if want := 2 * math.Sqrt2; math.Abs(r.CHSH-want) > 5*se {
		t.Errorf("S = %.5f, want %.5f ± %.5f", r.CHSH, want, se)
	}
}

// What can not be had is refused with what, where and what to do.
func TestRefusals(t *testing.T) {
	text := func(t *testing.T, err error, code qnet.Code, parts ...string) {
		t.Helper()
		if qnet.CodeOf(err) != code {
			t.Errorf("error %v (%v), want %v", err, qnet.CodeOf(err), code)
			return
		}
		for _, p := range parts {
			if !strings.Contains(err.Error(), p) {
				t.Errorf("%q does not say %q", err, p)
			}
		}
	}
	n := qtest.New(t, qtest.Scenario(t, "ions3.toml"), node.Options{})
	n.Go("charlie", func(ctx context.Context, charlie *qsocket.Node) error {
		l, err := charlie.Listen(ctx, ":7")
		if err != nil {
			return err
		}
		defer l.Close()
		n.Go("alice", func(ctx context.Context, alice *qsocket.Node) error {
			_, err := alice.Dial(ctx, "charlie:8", qsocket.Contract{})
			text(t, err, qnet.ErrNoListener, "charlie:8", "listen")
			_, err = alice.Dial(ctx, "charlie:7", qsocket.Contract{MinFidelity: 0.99})
			text(t, err, qnet.ErrFidelity, "0.99", "alice - bob - charlie", "0.87", "ask for less")
			_, err = alice.Dial(ctx, "dora:7", qsocket.Contract{})
			text(t, err, qnet.ErrUnknown, "dora", "check the name")

			q, err := alice.Qubit(ctx)
			if err != nil {
				return err
			}
			_, err = alice.Qubit(ctx)
			text(t, err, qnet.ErrNoMemory, "alice", "storage", "1")
			q.Free()
			q.H()
			_, err = q.Measure(ctx, qsocket.Z)
			text(t, err, qnet.ErrBadQubit, "freed")

			c, err := alice.Dial(ctx, "charlie:7", qsocket.Contract{})
			if err != nil {
				return err
			}
			defer c.Close()
			kctx, cancel := alice.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err = c.Keep(kctx, 1)
			text(t, err, qnet.ErrTimeout, "charlie")
			_, err = c.Keep(ctx, 2)
			text(t, err, qnet.ErrNoMemory, "2", "1")

			if _, err := c.Write([]byte{0}); err != nil {
				return err
			}
			pairs, err := c.Keep(ctx, 1)
			if err != nil {
				return err
			}
			kctx, cancel = alice.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err = c.Keep(kctx, 1)
			text(t, err, qnet.ErrTimeout, "0 of 1 pair", "the communication qubit of alice for link alice-bob is in use; free it")
			pairs[0].Qubit.Free()
			return nil
		})
		c, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err != nil { // until alice wants pairs
			return err
		}
		for range 2 {
			pairs, err := c.Keep(ctx, 1)
			if err != nil {
				text(t, err, qnet.ErrCancelled, "alice withdrew", "in use")
				break
			}
			pairs[0].Qubit.Free()
		}
		_, err = c.Read(make([]byte, 1)) // until alice hangs up
		if err == nil {
			t.Error("alice wrote more")
		}
		return nil
	})
	n.Run()
}

// Pairs that do not violate the CHSH inequality fail its verdict, also where none
// else could be expected.
func TestNoViolationFails(t *testing.T) {
	s := qtest.Scenario(t, "chain10.toml")
	want, err := expect.Compute(s, "n0", "n9", expect.Options{Pairs: 5000})
	if err != nil {
		t.Fatal(err)
	}
	r := verify.Judge(measure(t, qtest.New(t, s, node.Options{Seed: 2}), "n0", "n9", verify.Plan{Pairs: 1200, PerState: 10}), want, true)
	if want.CHSH.Mean >= 2 || !slices.Equal(r.Failed, []string{"chsh"}) || r.Verdict != "fail" {
		t.Errorf("S = %.3f, expected %.3f: failed %v, verdict %s", r.CHSH.S, want.CHSH.Mean, r.Failed, r.Verdict)
	}
	var table strings.Builder
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "S is not above 2, and this hardware is not expected to reach it") {
		t.Errorf("the table does not say why:\n%s", &table)
	}
}
