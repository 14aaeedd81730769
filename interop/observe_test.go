package interop

import (
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"qstack/node"
	"qstack/node/daemon"
	"qstack/qsocket"
)

// The observer sees the pair that two nodes keep: who holds it, which Bell state
// it is and how good. Nobody else sees it: not with the key of a node, nor with
// one of the observer's name that another authority made.
func TestObserve(t *testing.T) {
	n := ions3(t)
	n.start()
	n.waitReady()
	observer := *n.configs["bob"]
	observer.Role, observer.Name = daemon.RoleObserver, ""
	n.configure(node.ObserverName, observer, n.ca, node.ObserverName)
	ctx := testContext(t)
	head, tail, err := pair(ctx, n.open("alice"), n.open("bob"), 7)
	if err != nil {
		t.Fatal(err)
	}
	other := make(chan []*qsocket.Pair, 1)
	go func() {
		pairs, err := tail.Keep(ctx, 1)
		if err != nil {
			t.Error(err)
		}
		other <- pairs
	}()
	pairs, err := head.Keep(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(<-other) != 1 {
		t.FailNow()
	}

	file := filepath.Join(n.dir, node.ObserverName+".toml")
	var seen daemon.Snapshot
	if err := json.Unmarshal([]byte(qnoded(t, n.dir, "observe", "--json", file)), &seen); err != nil {
		t.Fatal(err)
	}
	if len(seen.Qubits) < 2 || len(seen.Pairs) != 1 {
		t.Fatalf("the observer sees %+v, want one pair", seen)
	}
	// The pair was made at 0.94 and dephases with T2 = 1 s at either end.
	p := seen.Pairs[0]
	if p.A != "alice" || p.B != "bob" || p.Label != pairs[0].Label.String() || !(p.Fidelity > 0.5 && p.Fidelity < 0.9401) {
		t.Errorf("the observer sees %+v, want a pair %v of alice and bob", p, pairs[0].Label)
	}
	if p.TimeS < seen.TimeS || math.IsNaN(p.TimeS) {
		t.Errorf("the pair was seen at %v s, before the ledger of %v s", p.TimeS, seen.TimeS)
	}
	if out := qnoded(t, n.dir, "observe", file); !strings.Contains(out, "alice - bob") {
		t.Errorf("the table lacks the pair:\n%s", out)
	}

	refused := func(process, why string) {
		t.Helper()
		p := start(t, n.dir, qnodedBin, "observe", filepath.Join(n.dir, process+".toml"))
		if code := p.wait(t, patience); code == 0 || strings.Contains(p.out.String(), "alice") || !strings.Contains(p.err.String(), why) {
			t.Errorf("%s: exit code %d: %s%s, want an error that says %q", process, code, p.out.String(), p.err.String(), why)
		}
	}
	refused("bob", "observer") // the configuration of a node
	n.configure("impostor", observer, newCA(t, n.scenario.Realm), node.ObserverName)
	refused("impostor", "fabric")
	n.configure("spy", observer, n.ca, "bob") // a node's key
	refused("spy", "credentials")
	n.stop()
}
