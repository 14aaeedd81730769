package qtest_test

import (
	"context"
	"testing"

	"qstack/node"
	"qstack/node/qtest"
	"qstack/qsocket"
)

// A test of two programs, at alice and at charlie, each of which measures a
// hundred pairs. It takes a second of virtual time.
func Example() {
	var t *testing.T // of the test

	n := qtest.New(t, qtest.Scenario(t, "ions3.toml"), node.Options{Seed: 1})
	n.Go("charlie", func(ctx context.Context, charlie *qsocket.Node) error {
		l, err := charlie.Listen(ctx, ":7")
		if err != nil {
			return err
		}
		n.Go("alice", func(ctx context.Context, alice *qsocket.Node) error {
			conn, err := alice.Dial(ctx, "charlie:7", qsocket.Contract{})
			if err != nil {
				return err
			}
			_, err = conn.Measure(ctx, 100, qsocket.FixedBasis(qsocket.Z))
			return err
		})
		conn, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		_, err = conn.Measure(ctx, 100, qsocket.FixedBasis(qsocket.Z))
		return err
	})
	n.Run()
}
