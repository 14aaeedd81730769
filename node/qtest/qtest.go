// Package qtest is a network inside a test: a scenario in virtual time, with
// programs as goroutines, and a check at the end that nothing is left.
package qtest

import (
	"context"
	"errors"
	"testing"

	"qstack/node"
	"qstack/node/scenario"
	"qstack/qnet/event"
	"qstack/qsocket"
	"qstack/scenarios"
)

// Network is a scenario in virtual time.
type Network struct {
	*node.Network
	Clock *event.Virtual

	t    testing.TB
	errs []error
}

// Scenario returns an embedded scenario by its file name, such as "ions3.toml".
func Scenario(t testing.TB, file string) *scenario.Scenario {
	t.Helper()
	source, err := scenarios.Files.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(file, source)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// New returns the network of a scenario. At the end of the test it fails the
// test if a qubit, record or message is left.
func New(t testing.TB, s *scenario.Scenario, o node.Options) *Network {
	t.Helper()
	n := &Network{Clock: event.NewVirtual(), t: t}
	var err error
	if n.Network, err = node.NewNetwork(s, n.Clock, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer n.Clock.Close()
		if t.Failed() {
			return
		}
		if err := n.Clock.RunFor(node.Settle); err != nil {
			t.Error(err)
		}
		if err := n.Idle(); err != nil {
			t.Errorf("at rest: %v", err)
		}
	})
	return n
}

// Go starts a program on a node: ordinary blocking code with a session of its
// own, which ends with it. An error fails the test when Run returns. Programs may
// start others.
func (n *Network) Go(name string, program func(ctx context.Context, q *qsocket.Node) error) {
	n.Clock.Go("the program at "+name, func() {
		ctx := context.Background()
		q, err := n.Open(ctx, name, "test")
		if err == nil {
			err = errors.Join(program(ctx, q), q.Close())
		}
		if err != nil {
			n.errs = append(n.errs, err)
		}
	})
}

// Run runs the network until every program has returned.
func (n *Network) Run() {
	n.t.Helper()
	err := n.Clock.Run()
	for _, e := range n.errs {
		n.t.Error(e)
	}
	n.errs = nil
	if err != nil {
		n.t.Fatal(err)
	}
}
