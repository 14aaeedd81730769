package control_test

import (
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/control/controltest"
	"qstack/qnet/event"
)

// The links over which the conformance tests run.
var links = []struct {
	name string
	link control.LinkConfig
}{
	{"at once", control.LinkConfig{}},
	{"far", control.LinkConfig{Delay: 3 * time.Millisecond}},
	{"hazardous", control.LinkConfig{Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.5, Duplicate: 0.5, Reorder: 0.5}},
}

// pair makes alice and bob on a loop whose events do runs.
func pair(t *testing.T, loop event.Scheduler, link control.LinkConfig, do func(func()), setup func(a, b control.Endpoint)) *controltest.Pair {
	p := &controltest.Pair{A: controltest.Side{Name: "alice", Do: do}, B: controltest.Side{Name: "bob", Do: do}, Unknown: charlie}
	do(func() {
		net := control.NewNetwork(control.Config{Loop: loop, Seed: 1, Detect: 50 * time.Millisecond, Names: map[qnet.NodeID]string{alice: "alice", bob: "bob"}})
		if err := net.Connect(alice, bob, link); err != nil {
			t.Error(err)
		}
		p.A.Endpoint, p.B.Endpoint = net.Endpoint(alice, nil), net.Endpoint(bob, nil)
		setup(p.A.Endpoint, p.B.Endpoint)
		p.Kill = func() { do(func() { net.Remove(bob) }) }
	})
	return p
}

func TestConformance(t *testing.T) {
	for _, l := range links {
		t.Run("virtual/"+l.name, func(t *testing.T) {
			controltest.Run(t, func(t *testing.T, setup func(a, b control.Endpoint)) *controltest.Pair {
				loop := event.NewVirtual()
				p := pair(t, loop, l.link, func(f func()) { f() }, setup)
				p.Advance = func(d time.Duration) {
					if err := loop.RunFor(d); err != nil {
						t.Fatal(err)
					}
				}
				return p
			})
		})
		t.Run("real/"+l.name, func(t *testing.T) {
			controltest.Run(t, func(t *testing.T, setup func(a, b control.Endpoint)) *controltest.Pair {
				loop := event.NewReal(event.RealConfig{})
				t.Cleanup(func() {
					if err := loop.Close(); err != nil {
						t.Error(err)
					}
				})
				return pair(t, loop, l.link, func(f func()) {
					done := make(chan struct{})
					loop.Post(func() { defer close(done); f() })
					<-done
				}, setup)
			})
		})
	}
}
