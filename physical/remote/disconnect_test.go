package remote_test

import (
	"fmt"
	"testing"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/wire"
)

// When a node's process dies, its qubits are traced out, their partners are left
// mixed, and nothing remains; likewise when it closes the device, when the
// connection is cut and when its stream breaks. Without the death of either
// process the node attaches again, to a clean device.
func TestDisconnect(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  qnet.Code // of what is pending; 0 if nobody is there to be told
		back  bool
		sever func(*rig)
	}{
		{"process dies", 0, false, func(r *rig) { r.net.Remove(bob) }},
		{"closed", qnet.ErrUnavail, false, func(r *rig) { r.clients[bob].Close() }},
		{"connection cut", qnet.ErrUnavail, true, func(r *rig) {
			_ = r.net.Break(bob, world)
			r.loop.After(200*time.Millisecond, func() { _ = r.net.Restore(bob, world) })
		}},
		{"stream breaks", qnet.ErrUnavail, true, func(r *rig) {
			r.net.SetFilter(func(_, to qnet.NodeID, _ control.Class, typ wire.Type, _ []byte) control.Verdict {
				r.net.SetFilter(nil)
				return control.Verdict{Action: control.Break}
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, clean(), far, alice, bob, charlie)
			r.attached()
			qa, qb := r.pair(1, 0)
			b2, qc := r.pair(2, 0)
			own := r.alloc(bob)
			r.arm(1, 1)
			dev := r.clients[bob]
			var sinkErrs, errs []error
			bulk := 0
			dev.ArmBulk(2, 1, physical.BasisSource{}, func(o physical.Outcomes, err error) { sinkErrs = append(sinkErrs, err) },
				func(res physical.Result) {
					if res.Err != nil {
						t.Error(res.Err)
					}
					bulk++
				})
			r.run(5 * time.Millisecond)
			failed := func(res physical.Result) {
				errs = append(errs, res.Err)
				dev.Do(physical.Op{Kind: physical.OpFree, A: own}, func(res physical.Result) { errs = append(errs, res.Err) })
			}
			c.sever(r)
			if dev.Attached() {
				for _, op := range []physical.Op{
					{Kind: physical.OpGate, Gate: physical.GateCNOT, A: own, B: qb},
					{Kind: physical.OpBSM, A: qb, B: b2},
					{Kind: physical.OpAlloc},
				} {
					dev.Do(op, failed)
				}
			}
			r.run(500 * time.Millisecond)
			for _, a := range r.fab.Ledger() {
				if a.Node == bob {
					t.Errorf("left over: %v", a)
				}
			}
			r.mixed(qa)
			r.mixed(qc)
			if c.code == 0 {
				if r.server.Attached(bob) {
					t.Error("a dead process is attached")
				}
				delete(r.clients, bob)
				r.client(bob) // its successor
				r.attached()
				r.arm(2, 1)
				r.rest()
				return
			}
			if bulk != 1 || len(sinkErrs) != 1 {
				t.Errorf("%d lanes measured directly, and their sinks heard %v, want one error", bulk, sinkErrs)
			} else {
				wantErr(t, sinkErrs[0], c.code, "node bob has no quantum hardware: fabric world.fabric: ")
			}
			for _, err := range errs {
				wantErr(t, err, c.code, "node bob has no quantum hardware: fabric world.fabric: ")
			}
			if !c.back {
				wantErr(t, r.do(bob, physical.Op{Kind: physical.OpAlloc}).Err, qnet.ErrUnavail, "the device was closed")
				r.rest()
				return
			}
			if len(errs) != 6 {
				t.Errorf("%d errors, want one for each of 3 operations and 3 asked for while it was lost", len(errs))
			}
			if !dev.Attached() {
				t.Fatal("not attached again")
			}
			if ch := r.changes[bob]; len(ch) != 3 || ch[0] != nil || ch[2] != nil {
				t.Errorf("changes %v, want that it was lost and is back", ch)
			} else {
				wantErr(t, ch[1], c.code, "world.fabric")
			}
			if got := fmt.Sprint(r.freed[bob]); got != "[1/0 1/1 2/0 2/1 1/0 1/1 2/0 2/1]" {
				t.Errorf("free lanes: %v", got)
			}
			wantErr(t, r.do(bob, physical.Op{Kind: physical.OpFree, A: own}).Err, qnet.ErrBadQubit, "was freed")
			r.must(alice, physical.Op{Kind: physical.OpFree, A: qa})
			r.run(5 * time.Millisecond)
			qa, _ = r.pair(1, 0)
			r.must(alice, physical.Op{Kind: physical.OpFree, A: qa})
			r.rest()
		})
	}
}

// The stream breaks at each type of message in turn, in its place and right
// after it: every operation has exactly one answer, the node is attached again
// soon, and nothing is left.
func TestBreakAtEachMessage(t *testing.T) {
	for typ := wire.Type(0x50); typ <= 0x54; typ++ {
		for _, action := range []control.Action{control.Break, control.BreakAfter} {
			t.Run(fmt.Sprintf("0x%x/%d", typ, action), func(t *testing.T) {
				r := newRig(t, clean(), far, alice, bob)
				broken := 0
				r.net.SetFilter(func(from, to qnet.NodeID, _ control.Class, m wire.Type, _ []byte) control.Verdict {
					if m == typ && broken == 0 && (from == alice || to == alice) {
						broken++
						return control.Verdict{Action: action}
					}
					return control.Verdict{}
				})
				asked, failures := 0, 0
				answers := make(map[int]int)
				sunk := 0
				do := func(node qnet.NodeID, op physical.Op, next func(physical.Qubit)) {
					i := asked
					asked++
					r.clients[node].Do(op, func(res physical.Result) {
						answers[i]++
						if res.Err != nil {
							failures++
							wantErr(t, res.Err, qnet.CodeOf(res.Err), "") // carries a code
							if c := qnet.CodeOf(res.Err); c != qnet.ErrUnavail && c != qnet.ErrBadQubit && c != qnet.ErrNoMemory {
								t.Error(res.Err)
							}
							return
						}
						if next != nil {
							next(res.Qubit)
						}
					})
				}
				for range 50 {
					r.run(4 * time.Millisecond)
					for _, node := range []qnet.NodeID{alice, bob} {
						do(node, physical.Op{Kind: physical.OpAlloc}, func(q physical.Qubit) {
							do(node, physical.Op{Kind: physical.OpMeasure, A: q}, nil)
							do(node, physical.Op{Kind: physical.OpFree, A: q}, nil)
						})
						r.clients[node].ArmBulk(1, 0, physical.BasisSource{}, func(_ physical.Outcomes, err error) {
							if err == nil {
								sunk++
							}
						}, func(res physical.Result) {
							if res.Err == nil {
								r.loop.After(3*time.Millisecond, func() { do(node, physical.Op{Kind: physical.OpFree, A: res.Qubit}, nil) })
							}
						})
					}
					r.run(2 * time.Millisecond)
					k := r.fab.Link(1)
					k.HeraldBulk([2]uint32{}, 0, []uint64{k.CycleAt(r.loop.Now()) - 1}, make([]qnet.BellLabel, 1))
				}
				r.run(300 * time.Millisecond)
				if broken != 1 {
					t.Fatalf("no message of type 0x%x was sent", typ)
				}
				for i := range asked {
					if answers[i] != 1 {
						t.Errorf("operation %d of %d has %d answers", i, asked, answers[i])
					}
				}
				if sunk < 10 || failures > asked/2 {
					t.Errorf("%d outcomes, %d of %d operations failed", sunk, failures, asked)
				}
				if !r.clients[alice].Attached() || !r.clients[bob].Attached() {
					t.Error("not attached again")
				}
				if ch := r.changes[bob]; len(ch) != 1 {
					t.Errorf("bob was told %v", ch)
				}
				r.rest()
			})
		}
	}
}
