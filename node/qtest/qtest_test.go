package qtest_test

import (
	"context"
	"fmt"
	"testing"

	"qstack/node"
	"qstack/node/qtest"
	"qstack/qsocket"
)

// Two programs share a pair over two links, in virtual time.
func TestPairInAnInstant(t *testing.T) {
	n := qtest.New(t, qtest.Scenario(t, "ions3.toml"), node.Options{})
	keep := func(ctx context.Context, c *qsocket.Conn) error {
		pairs, err := c.Keep(ctx, 1)
		if err != nil {
			return err
		}
		defer pairs[0].Qubit.Free()
		if pairs[0].Label.String() != "Φ+" || pairs[0].Fidelity < 0.8 {
			return fmt.Errorf("got a pair %v of fidelity %v", pairs[0].Label, pairs[0].Fidelity)
		}
		return nil
	}
	n.Go("charlie", func(ctx context.Context, q *qsocket.Node) error {
		l, err := q.Listen(ctx, ":7")
		if err != nil {
			return err
		}
		defer l.Close()
		n.Go("alice", func(ctx context.Context, q *qsocket.Node) error {
			c, err := q.Dial(ctx, "charlie:7", qsocket.Contract{MinFidelity: 0.8})
			if err != nil {
				return err
			}
			defer c.Close()
			return keep(ctx, c)
		})
		c, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		return keep(ctx, c)
	})
	n.Run()
}
