package qtest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// complaints is a test whose errors are not this test's.
type complaints struct {
	testing.TB
	text strings.Builder
}

func (c *complaints) Error(args ...any) { fmt.Fprintln(&c.text, args...) }
func (c *complaints) Failed() bool      { return c.text.Len() > 0 }

// A program that fails, or waits for what never comes, does not leave the others
// waiting: the test ends, and says why.
func TestProgramsThatFail(t *testing.T) {
	accept := func(ctx context.Context, q *qsocket.Node) error {
		l, err := q.Listen(ctx, ":7")
		if err != nil {
			return err
		}
		defer l.Close()
		_, err = l.Accept(ctx)
		return err
	}
	c := &complaints{TB: t}
	n := qtest.New(c, qtest.Scenario(t, "ions3.toml"), node.Options{})
	n.Go("charlie", accept)
	n.Go("alice", func(context.Context, *qsocket.Node) error { return errors.New("out of ideas") })
	n.Run()
	for _, want := range []string{"the program at alice: out of ideas", "the program at charlie: "} {
		if !strings.Contains(c.text.String(), want) {
			t.Errorf("no %q in\n%s", want, &c.text)
		}
	}

	c = &complaints{TB: t}
	n = qtest.New(c, qtest.Scenario(t, "ions3.toml"), node.Options{})
	n.Go("charlie", accept)
	n.Run()
	if want := "still waiting after 24h"; !strings.Contains(c.text.String(), want) {
		t.Errorf("no %q in\n%s", want, &c.text)
	}
}
