package remote_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"qstack/physical"
	"qstack/physical/remote"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/trace"
)

// All calls of one turn travel in one message, and so do all results of one
// instant.
func TestCoalescing(t *testing.T) {
	r := newRig(t, clean(), far, alice)
	r.attached()
	qs := []physical.Qubit{r.alloc(alice), r.alloc(alice), r.alloc(alice)}
	r.must(alice, physical.Op{Kind: physical.OpArm, Link: 1})
	c, n := r.clients[alice], r.watchMessages()
	answers := 0
	for _, q := range qs {
		c.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}, func(physical.Result) { answers++ })
	}
	r.loop.After(0, func() { // an event of the same instant, but another turn in real time
		c.Do(physical.Op{Kind: physical.OpArm, Link: 1, Lane: 1}, func(physical.Result) { answers++ })
	})
	r.run(5 * time.Millisecond)
	// The gates end after 5 µs, the lane is ready after 10 µs.
	if got := fmt.Sprint(answers, n); got != "4 map[82:2 83:2]" {
		t.Errorf("answers and messages by type: %v", got)
	}
	clear(n)
	for _, a := range r.fab.Ledger() {
		c.Do(physical.Op{Kind: physical.OpFree, A: a.Qubit}, nil)
	}
	r.run(5 * time.Millisecond)
	if got := fmt.Sprint(n); got != "map[82:1 83:1]" {
		t.Errorf("messages to free all: %v", got)
	}
	// More than one message holds: 2,500 operations are three messages.
	clear(n)
	for range 2500 {
		c.Do(physical.Op{Kind: physical.OpFree}, nil)
	}
	r.run(5 * time.Millisecond)
	if got := fmt.Sprint(n); got != "map[82:3 83:3]" {
		t.Errorf("messages of 2,500 operations: %v", got)
	}
	r.rest()
}

// Results on one qubit come in the order of the calls, however the network
// dawdles, and with results ahead of their instant.
func TestOrder(t *testing.T) {
	for _, early := range []time.Duration{0, 2 * time.Millisecond} {
		cfg := clean()
		cfg.EarlyResults = early
		r := newRig(t, cfg, control.LinkConfig{Delay: time.Millisecond, Jitter: 5 * time.Millisecond}, alice)
		r.attached()
		qs := []physical.Qubit{r.alloc(alice), r.alloc(alice)}
		rng := rand.New(rand.NewPCG(1, 2))
		var last [2]int
		n := 0
		for i := range 400 {
			r.run(time.Duration(rng.IntN(100_000)))
			k := rng.IntN(2)
			op := physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: qs[k]}
			switch rng.IntN(4) {
			case 0:
				op.Kind = physical.OpMeasure
			case 1:
				op.Kind, op.Basis = physical.OpMeasure, qnet.Basis{Theta: math.NaN()} // an error
			}
			if i >= 390 { // the end: freed, and used again
				op = physical.Op{Kind: physical.OpFree, A: qs[k]}
			}
			r.clients[alice].Do(op, func(physical.Result) {
				if last[k] > i {
					t.Errorf("call %d on qubit %d was answered after call %d", i, k, last[k])
				}
				last[k] = i
				n++
			})
		}
		r.until("400 answers", func() bool { return n == 400 })
		r.rest()
	}
}

// With 65,536 operations without an answer the next is refused; the others are
// executed.
func TestClientIsBounded(t *testing.T) {
	r := newRig(t, clean(), far, alice)
	r.attached()
	q := r.alloc(alice)
	c := r.clients[alice]
	ok, busy := 0, 0
	for range 65536 + 3 {
		c.Do(physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: q}, func(res physical.Result) {
			if res.Err == nil {
				ok++
				return
			}
			wantErr(t, res.Err, qnet.ErrBusy, "node alice: 65536 operations have no answer yet: await results before asking for more")
			busy++
		})
	}
	var sunk error
	c.ArmBulk(1, 0, physical.BasisSource{}, func(physical.Outcomes, error) {}, func(res physical.Result) { sunk = res.Err })
	r.run(time.Second)
	if ok != 65536 || busy != 3 || c.Pending() != 0 {
		t.Errorf("%d done, %d refused, %d pending", ok, busy, c.Pending())
	}
	wantErr(t, sunk, qnet.ErrBusy, "await results")
	r.rest()
}

// News of a free lane reach the node.
func TestWatch(t *testing.T) {
	r := newRig(t, clean(), far, alice, bob)
	r.attached()
	clear(r.freed)
	qa, qb := r.pair(1, 1)
	r.must(alice, physical.Op{Kind: physical.OpMeasure, A: qa, Free: true})
	r.must(bob, physical.Op{Kind: physical.OpFree, A: qb})
	r.run(5 * time.Millisecond)
	if got := fmt.Sprint(r.freed[alice], r.freed[bob]); got != "[1/1] [1/1]" {
		t.Errorf("free lanes %v", got)
	}
	r.rest()
}

func TestTrace(t *testing.T) {
	var buf bytes.Buffer
	w := trace.NewWriter(&buf)
	r := newRig(t, clean(), atOnce)
	r.server = remote.NewServer(r.fab, r.ep, r.loop, trace.New(w, "world.fabric"))
	c := remote.NewClient(remote.Config{Name: "alice", Fabric: world, FabricName: "world.fabric", Spec: r.spec(alice), SameClock: true},
		r.net.Endpoint(alice, nil), r.loop, trace.New(w, "alice"))
	r.run(time.Millisecond)
	c.Close()
	_, _ = r.open(mallory, &remote.Attach{Version: remote.Version})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"t":0,"node":"world.fabric","layer":"remote","event":"attach","peer":"00000000000a11ce"}`,
		fmt.Sprintf(`{"t":0,"node":"alice","layer":"remote","event":"attached","fabric":"world.fabric","id":%d,"offset":0}`, r.fab.ID()),
		`{"t":1000000,"node":"alice","layer":"remote","event":"detached","fabric":"world.fabric","error":"the device was closed"}`,
		`{"t":1000000,"node":"world.fabric","layer":"remote","event":"detach","peer":"00000000000a11ce"}`,
		`{"t":6000000,"node":"world.fabric","layer":"remote","event":"refuse","peer":"0000000000000bad","error":"there is no such node"}`,
	}
	if got := strings.Split(strings.TrimSpace(buf.String()), "\n"); !slices.Equal(got, want) {
		t.Errorf("trace:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A callback may close the device, whichever it is: everything is answered once,
// and nothing is left.
func TestCloseInCallback(t *testing.T) {
	for _, at := range []string{"result", "change", "lane", "loss", "sink", "outcomes"} {
		t.Run(at, func(t *testing.T) {
			r := newRig(t, clean(), far, bob)
			r.attached()
			c := r.client(alice)
			armed := false
			told := 0
			closeAt := func(where string) {
				if where == at {
					c.Close()
				}
			}
			c.OnChange(func(err error) {
				told++
				if err == nil {
					closeAt("change")
				}
			})
			c.Watch(func(physical.LinkID, uint32) { closeAt("lane") })
			r.run(5 * time.Millisecond)
			const n = 10
			var answers [n]int
			sunk := 0
			for i := range n {
				done := func(res physical.Result) {
					answers[i]++
					if res.Err == nil {
						closeAt("result")
					} else {
						closeAt("loss")
					}
				}
				if i > 0 {
					c.Do(physical.Op{Kind: physical.OpArm, Link: 9}, done)
					continue
				}
				c.ArmBulk(1, 0, physical.BasisSource{}, func(_ physical.Outcomes, err error) {
					if sunk++; err == nil {
						closeAt("outcomes")
					} else {
						closeAt("sink")
					}
				}, func(res physical.Result) { armed = res.Err == nil; done(res) })
			}
			r.run(5 * time.Millisecond)
			r.clients[bob].ArmBulk(1, 0, physical.BasisSource{}, func(physical.Outcomes, error) {}, nil)
			r.run(5 * time.Millisecond)
			k := r.fab.Link(1)
			k.HeraldBulk([2]uint32{}, 0, []uint64{k.CycleAt(r.loop.Now()) - 1}, make([]qnet.BellLabel, 1))
			r.run(5 * time.Millisecond)
			r.net.Remove(world)
			r.run(300 * time.Millisecond)
			for i, a := range answers {
				if a != 1 {
					t.Errorf("operation %d has %d answers", i, a)
				}
			}
			want := 0 // times that the sink is called: with outcomes, and with the loss
			if armed {
				want = 1
			}
			if at == "sink" || at == "outcomes" {
				want = 2
			}
			if sunk != want {
				t.Errorf("the sink was called %d times, want %d", sunk, want)
			}
			c.Close()
			r.start(r.cfg)
			r.run(time.Second)
			if c.Attached() || told > 2 {
				t.Errorf("attached %v after Close; %d changes were told", c.Attached(), told)
			}
			r.rest()
		})
	}
}
