package fabric_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/physical/herald"
	"qstack/physical/state"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/trace"
)

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		change func(c *fabric.Config)
		code   qnet.Code
		want   string
	}{
		{func(c *fabric.Config) { c.EarlyResults = -1 }, qnet.ErrInvalid, "early results of -1ns: want from 0 to 1h0m0s"},
		{func(c *fabric.Config) { c.MaxPending = -1 }, qnet.ErrInvalid, "at most -1 pending operations: want at least 1, or 0 for the default"},
		{func(c *fabric.Config) { c.Nodes[0].ID = 0 }, qnet.ErrInvalid, `node "alice" has the reserved id 0`},
		{func(c *fabric.Config) { c.Nodes[1].ID = alice }, qnet.ErrInUse, `nodes "alice" and "bob" both have the id 00000000000a11ce`},
		{func(c *fabric.Config) { c.Nodes[0].Name = "" }, qnet.ErrInvalid, "node 00000000000a11ce has no name"},
		{func(c *fabric.Config) { c.Nodes[1].Name = "alice" }, qnet.ErrInUse, `two nodes are called "alice"`},
		{func(c *fabric.Config) { c.Nodes[0].Spec.Storage = -1 }, qnet.ErrInvalid, `node "alice": -1 storage qubits: want from 0 to 65536`},
		{func(c *fabric.Config) { c.Nodes[0].Spec.Readout = -time.Second }, qnet.ErrInvalid, `node "alice": read-out takes -1s: want from 0 to 1h0m0s`},
		{func(c *fabric.Config) { c.Nodes[0].Noise.ReadoutError[0] = 1.5 }, qnet.ErrInvalid, `node "alice": read-out error of 0 is 1.5: want from 0 to 1`},
		{func(c *fabric.Config) { c.Nodes[0].Noise.Gate2Depolarising = math.NaN() }, qnet.ErrInvalid, `node "alice": two-qubit gate depolarising is NaN: want from 0 to 1`},
		{func(c *fabric.Config) { c.Nodes[0].Noise.Gate2Dephasing = -1 }, qnet.ErrInvalid, `node "alice": two-qubit gate dephasing is -1: want from 0 to 1`},
		{func(c *fabric.Config) { c.Nodes[0].Noise.InitDepolarising = 2 }, qnet.ErrInvalid, `node "alice": initialisation depolarising is 2: want from 0 to 1`},
		{func(c *fabric.Config) { c.Nodes[0].Noise.Gate1Depolarising = 2 }, qnet.ErrInvalid, `node "alice": single-qubit gate depolarising is 2: want from 0 to 1`},
		{func(c *fabric.Config) { c.Nodes[0].Noise.ReadoutError[1] = 2 }, qnet.ErrInvalid, `node "alice": read-out error of 1 is 2: want from 0 to 1`},
		{func(c *fabric.Config) { c.Nodes[0].Noise.Memory.InitDepolarising = 2 }, qnet.ErrInvalid, `node "alice": storage initialisation depolarising is 2: want from 0 to 1`},
		{func(c *fabric.Config) { c.Nodes[0].Noise.Memory.Gate1Depolarising = 2 }, qnet.ErrInvalid, `node "alice": storage gate depolarising is 2: want from 0 to 1`},
		{func(c *fabric.Config) { c.Nodes[0].Noise.Memory.ReadoutError[0] = 2 }, qnet.ErrInvalid, `node "alice": storage read-out error of 0 is 2: want from 0 to 1`},
		{func(c *fabric.Config) { c.Nodes[0].Noise.Memory.ReadoutError[1] = 2 }, qnet.ErrInvalid, `node "alice": storage read-out error of 1 is 2: want from 0 to 1`},
		{func(c *fabric.Config) { c.Nodes[0].Spec.Memory = &physical.Memory{Init: -1} }, qnet.ErrInvalid, `node "alice": storage initialisation takes -1ns: want from 0 to 1h0m0s`},
		{func(c *fabric.Config) { c.Nodes[0].Spec.Memory = &physical.Memory{Gate1: -1} }, qnet.ErrInvalid, `node "alice": storage gate takes -1ns: want from 0 to 1h0m0s`},
		{func(c *fabric.Config) { c.Nodes[0].Spec.Memory = &physical.Memory{Readout: -1} }, qnet.ErrInvalid, `node "alice": storage read-out takes -1ns: want from 0 to 1h0m0s`},
		{func(c *fabric.Config) { c.Nodes[0].Spec.Communication = -1 }, qnet.ErrInvalid, `node "alice": -1 communication qubits for all links: want from 0 to 65536`},
		{func(c *fabric.Config) { c.Nodes[0].Spec.Coupling = 2 }, qnet.ErrInvalid, `node "alice": there is no coupling Coupling(2)`},
		{func(c *fabric.Config) { c.Links[0].DephasingA = 0.5 }, qnet.ErrInvalid, "link 1: an attempt flips the phase of a storage qubit with probability 0.5: want at least 0 and below 0.5"},
		{func(c *fabric.Config) { c.Links[0].DephasingB = math.NaN() }, qnet.ErrInvalid, "link 1: an attempt flips the phase of a storage qubit with probability NaN: want at least 0 and below 0.5"},
		{func(c *fabric.Config) { c.Nodes[0].Communication = state.Decay{T1: 1, T2: 3} }, qnet.ErrInvalid, `node "alice": communication qubits: `},
		{func(c *fabric.Config) { c.Nodes[0].Storage = state.Decay{T1: -1} }, qnet.ErrInvalid, `node "alice": storage qubits: `},
		{func(c *fabric.Config) { c.Nodes[0].Spec.Lanes = nil }, qnet.ErrInvalid, `link 1: 1 communication qubits at node "alice", but its hardware has 0 for the link`},
		{func(c *fabric.Config) { c.Nodes[0].Spec.Lanes[9] = 1 }, qnet.ErrInvalid, `node "alice": hardware has communication qubits for 2 links, but the node has 1`},
		{func(c *fabric.Config) { c.Links[0].ID = 0 }, qnet.ErrInvalid, "link 0: ids must be different and not 0"},
		{func(c *fabric.Config) { c.Links[1].ID = 1 }, qnet.ErrInvalid, "link 1: ids must be different and not 0"},
		{func(c *fabric.Config) { c.Links[0].B = alice }, qnet.ErrInvalid, "link 1: both ends are node 00000000000a11ce"},
		{func(c *fabric.Config) { c.Links[0].B = 7 }, qnet.ErrUnknown, "link 1: there is no node 0000000000000007"},
		{func(c *fabric.Config) { c.Links[0].LanesA = 0 }, qnet.ErrInvalid, `link 1: 0 communication qubits at node "alice": want from 1 to 65536`},
		{func(c *fabric.Config) { c.Links[0].Model = nil }, qnet.ErrInvalid, "link 1: no heralding model"},
		{func(c *fabric.Config) { c.Links[0].Model = herald.Ideal{Probability: 2, Fidelity: 1, PeriodNS: 1} }, qnet.ErrInvalid, "link 1: ideal link: success probability is 2, want above 0 and at most 1"},
		{func(c *fabric.Config) { c.Links[0].Length = -1 }, qnet.ErrInvalid, "link 1: length is -1 m: want from 0 to 1e9"},
		{func(c *fabric.Config) { c.Links[0].Speed = 1 }, qnet.ErrInvalid, "link 1: speed of light in fibre is 1 m/s: want from 1e6 to 3e8, or 0 for the default"},
		{func(c *fabric.Config) { c.Links[0].Speed = math.NaN() }, qnet.ErrInvalid, "link 1: speed of light in fibre is NaN m/s"},
	} {
		cfg := chain(1, 1)
		c.change(&cfg)
		_, err := fabric.New(cfg, event.NewVirtual(), nil)
		wantErr(t, err, c.code, "fabric: "+c.want)
	}
	cfg := chain(1, 1)
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

// A fabric that is started again does not know the handles of before, and the
// lanes of a link may differ in number.
func TestIdentity(t *testing.T) {
	c := chain(1, 1)
	c.Nodes[0].Spec.Lanes[1], c.Links[0].LanesA = 3, 3
	c.ID = 5
	l := newLab(t, c)
	q := l.alloc(alice)
	if q.Fabric != 5 {
		t.Errorf("fabric of %v, want 5", q)
	}
	if k := l.Link(1); k.Lanes(0) != 3 || k.Lanes(1) != 1 {
		t.Errorf("%d and %d lanes, want 3 and 1", k.Lanes(0), k.Lanes(1))
	}
	c.ID = 0
	l = newLab(t, c)
	wantErr(t, l.do(alice, physical.Op{Kind: physical.OpFree, A: q}).Err, qnet.ErrRestarted, "is not of this fabric")
	if q := l.alloc(alice); q.Fabric == 0 {
		t.Error("a fabric without an id")
	}
	if d := l.Device(alice); d.Spec().Storage != 1 || d.Now() != us(10) {
		t.Error("the device does not know its hardware or the time")
	}
}

// The same seed gives the same trace, byte for byte; another seed another.
func TestTrace(t *testing.T) {
	run := func(seed uint64) string {
		c := chain(2, 1)
		c.Seed = seed
		c.Links[0].Model = herald.DoubleClick{EtaA: 0.5, EtaB: 0.5, Visibility: 0.5, PeriodNS: 1000}
		var out bytes.Buffer
		w := trace.NewWriter(&out)
		loop := event.NewVirtual()
		f, err := fabric.New(c, loop, trace.New(w, "fabric"))
		if err != nil {
			t.Fatal(err)
		}
		l := &lab{f, t, loop}
		for range 20 {
			qa, qb, _, _ := l.pair(1, 0)
			own := l.alloc(alice)
			l.must(alice, physical.Op{Kind: physical.OpBSM, A: own, B: qa})
			l.must(bob, physical.Op{Kind: physical.OpMeasure, A: qb, Free: true})
		}
		l.armBulk(2, physical.BasisSource{}, physical.BasisSource{})
		l.bulk(2, 3)
		l.do(alice, physical.Op{Kind: physical.OpArm, Link: 7})
		l.Disconnect(bob)
		l.drain()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	x := run(1)
	if y := run(1); x != y {
		t.Error("one seed, two traces")
	}
	if y := run(2); x == y {
		t.Error("two seeds, one trace")
	}
	for _, event := range []string{
		`"event":"arm","device":"alice"`, `"event":"herald","link":1,`, `"event":"allocate"`, `"event":"bsm"`, `"event":"measure"`,
		`"event":"bulk","link":2,`, `"event":"refuse","device":"alice","op":"arm","error":"node alice has no end of link 7"`, `"event":"disconnect","device":"bob","freed":1}`,
	} {
		if !strings.Contains(x, event) {
			t.Errorf("no %s in the trace:\n%.2000s", event, x)
		}
	}
}
