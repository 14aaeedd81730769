// Package qtest is a network inside a test: a scenario in virtual time, with
// programs as goroutines, and a check at the end that nothing is left.
package qtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

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

	t      testing.TB
	ctx    context.Context // of all programs
	cancel context.CancelCauseFunc
	errs   []error
}

// longest is the emulated time after which programs that still run are taken to
// wait for each other.
const longest = 24 * time.Hour

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
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	var err error
	if n.Network, err = node.NewNetwork(s, n.Clock, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer n.Clock.Close()
		defer n.cancel(nil)
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
// own, which ends with it. An error ends the contexts of the other programs, lest
// they wait for this one for ever, and fails the test when Run returns. Programs
// may start others.
func (n *Network) Go(name string, program func(ctx context.Context, q *qsocket.Node) error) {
	n.Clock.Go("the program at "+name, func() {
		q, err := n.Open(n.ctx, name, "test")
		if err == nil {
			err = errors.Join(program(n.ctx, q), q.Close())
		}
		if err != nil {
			n.fail(fmt.Errorf("the program at %s: %w", name, err))
		}
	})
}

// fail notes what Run is to complain of, and ends the programs.
func (n *Network) fail(err error) {
	n.errs = append(n.errs, err)
	n.cancel(err)
}

// Run runs the network until every program has returned.
func (n *Network) Run() {
	n.t.Helper()
	stuck := n.Clock.After(longest, func() {
		n.fail(fmt.Errorf("still waiting after %v of emulated time", longest))
	})
	err := n.Clock.Run()
	stuck.Stop()
	for _, e := range n.errs {
		n.t.Error(e)
	}
	n.errs = nil
	if err != nil {
		n.t.Fatal(err)
	}
}
