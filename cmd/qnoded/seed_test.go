package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// The same seed gives the same report but for the time by the wall clock, on any
// number of processors; another seed gives another.
func TestSeedDecidesReport(t *testing.T) {
	report := func(processors int, seed string) map[string]any {
		t.Helper()
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		var out bytes.Buffer
		if code := run(t.Context(), []string{"sim", "--json", "--pairs", "900", "--teleports", "20", "--seed", seed}, strings.NewReader(""), &out, &out); code != 0 {
			t.Fatalf("exit code %d: %s", code, out.String())
		}
		var r map[string]any
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r["wall_s"] == nil || r["simulated_s"] == nil || r["events"] == nil {
			t.Errorf("%v", r)
		}
		delete(r, "wall_s")
		return r
	}
	one := report(1, "7")
	for _, processors := range []int{1, 4} {
		if again := report(processors, "7"); !reflect.DeepEqual(one, again) {
			t.Errorf("on %d processors %v, on one %v", processors, again, one)
		}
	}
	if other := report(1, "8"); reflect.DeepEqual(one["fidelity"], other["fidelity"]) || reflect.DeepEqual(one["events"], other["events"]) {
		t.Errorf("another seed gives the same: %v", other)
	}
}
