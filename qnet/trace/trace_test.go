package trace_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"

	"qstack/qnet"
	"qstack/qnet/trace"
)

func lines(t *testing.T, f func(tr *trace.Tracer)) string {
	t.Helper()
	var out bytes.Buffer
	w := trace.NewWriter(&out)
	f(trace.New(w, "alice"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestLine(t *testing.T) {
	got := lines(t, func(tr *trace.Tracer) {
		tr.Event(1250, "link", "reply").Uint("cycle", math.MaxUint64).Str("label", "Ψ+").Int("offset", -5).
			Float("f", 0.94).Bool("ok", true).ID("peer", 0xabc).Err(qnet.ErrTimeout).Err(nil).End()
		tr.Event(-1, "x", "y").End()
	})
	want := `{"t":1250,"node":"alice","layer":"link","event":"reply","cycle":18446744073709551615,"label":"Ψ+",` +
		`"offset":-5,"f":0.94,"ok":true,"peer":"0000000000000abc","error":"timed out"}` + "\n" +
		`{"t":-1,"node":"alice","layer":"x","event":"y"}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// An event begun in the argument of another does not disturb it.
func TestNestedEvents(t *testing.T) {
	got := lines(t, func(tr *trace.Tracer) {
		inner := func() string { tr.Event(2, "b", "inner").Str("k", "v").End(); return "done" }
		tr.Event(1, "a", "outer").Uint("n", 1).Str("inner", inner()).End()
		tr.Event(3, "a", "next").End()
	})
	want := `{"t":2,"node":"alice","layer":"b","event":"inner","k":"v"}` + "\n" +
		`{"t":1,"node":"alice","layer":"a","event":"outer","n":1,"inner":"done"}` + "\n" +
		`{"t":3,"node":"alice","layer":"a","event":"next"}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Every line is JSON that gives back what was put in, as encoding/json reads it.
func FuzzStrings(f *testing.F) {
	for _, s := range []string{"", "plain", `"\`, "\n\t\r\x00\x1f\x7f", "Φ+ ⊗ 🜁", "\xff\xfe", "a\xc3", "\u2028\ufffd"} {
		f.Add(s, s, 0.1)
	}
	f.Add("k", "v", math.Inf(-1))
	f.Add("k", "v", math.NaN())
	f.Add("k", "v", 1e300)
	f.Fuzz(func(t *testing.T, key, v string, x float64) {
		key += "#" // not one of the four fixed keys
		var out bytes.Buffer
		w := trace.NewWriter(&out)
		trace.New(w, v).Event(5, v, v).Str(key, v).Float("x", x).End()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(out.Bytes()) || strings.Count(out.String(), "\n") != 1 {
			t.Fatalf("not one line of JSON: %q", out.String())
		}
		recs, err := trace.Read(&out)
		if err != nil || len(recs) != 1 {
			t.Fatalf("%d records, %v", len(recs), err)
		}
		r, valid := recs[0], strings.ToValidUTF8
		same := func(got, want string) bool {
			// encoding/json and the writer both put one U+FFFD for each bad byte.
			var s string
			q, _ := json.Marshal(want)
			return json.Unmarshal(q, &s) == nil && got == s
		}
		if _, ok := r.Fields[valid(key, "\ufffd")]; !ok && key == valid(key, "\ufffd") {
			t.Fatalf("key %q is missing: %v", key, r.Fields)
		}
		if r.T != 5 || !same(r.Node, v) || !same(r.Layer, v) || !same(r.Event, v) {
			t.Fatalf("got %+v, want %q", r, v)
		}
		switch got := r.Fields["x"].(type) {
		case json.Number:
			if y, err := got.Float64(); err != nil || y != x {
				t.Fatalf("number %v became %v", x, got)
			}
		case string:
			if !math.IsNaN(x) && !math.IsInf(x, 0) {
				t.Fatalf("number %v became the string %q", x, got)
			}
		}
	})
}

func TestRead(t *testing.T) {
	recs, err := trace.Read(strings.NewReader(`{"t":1,"node":"a","layer":"l","event":"e","n":4294967296,"s":"x","b":true}` + "\n" +
		`{"t":2,"node":"b","layer":"l","event":"f"}`))
	want := []trace.Record{
		{T: 1, Node: "a", Layer: "l", Event: "e", Fields: map[string]any{"n": json.Number("4294967296"), "s": "x", "b": true}},
		{T: 2, Node: "b", Layer: "l", Event: "f", Fields: map[string]any{}},
	}
	if err != nil || !reflect.DeepEqual(recs, want) {
		t.Errorf("got %+v, %v", recs, err)
	}
	for _, bad := range []string{"x", "[]", `{"t":"1"}`, `{"t":1.5,"node":"a","layer":"l","event":"e"}`, `{"t":1,"node":2,"layer":"l","event":"e"}`, "{}", "\n"} {
		good := `{"t":1,"node":"a","layer":"l","event":"e"}` + "\n"
		recs, err := trace.Read(strings.NewReader(good + bad + "\n" + good))
		if err == nil || !strings.Contains(err.Error(), "line 2") || len(recs) != 1 {
			t.Errorf("%q: got %d records and error %v, want an error that names line 2", bad, len(recs), err)
		}
	}
}

type limited struct{ left int }

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func TestErrorSticks(t *testing.T) {
	w := trace.NewWriter(&limited{100})
	tr := trace.New(w, "alice")
	for range 10 {
		tr.Event(0, "l", "e").End()
	}
	for range 2 {
		if err := w.Flush(); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("Flush: %v", err)
		}
	}
	tr.Event(0, "l", "e").End()
	if err := w.Close(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Close: %v", err)
	}
}

func TestClosed(t *testing.T) {
	var out bytes.Buffer
	w := trace.NewWriter(&out)
	tr := trace.New(w, "alice")
	tr.Event(0, "l", "e").End()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	n := out.Len()
	tr.Event(0, "l", "late").End()
	if err := w.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if out.Len() != n || strings.Contains(out.String(), "late") {
		t.Error("an event was written after Close")
	}
}

// Tracers of several loops share a Writer: lines stay whole and each tracer's
// are in order.
func TestConcurrent(t *testing.T) {
	var out bytes.Buffer
	w := trace.NewWriter(&out)
	nodes := []string{"a", "b", "c", "d"}
	const each = 2000
	var wg sync.WaitGroup
	for _, node := range nodes {
		tr := trace.New(w, node)
		wg.Go(func() {
			for i := range each {
				tr.Event(qnet.Time(i), "l", "e").Int("i", int64(i)).End()
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	recs, err := trace.Read(&out)
	if err != nil {
		t.Fatal(err)
	}
	next := make(map[string]qnet.Time)
	for _, r := range recs {
		if r.T != next[r.Node] {
			t.Fatalf("%s: event %d after %d", r.Node, r.T, next[r.Node]-1)
		}
		next[r.Node]++
	}
	for _, node := range nodes {
		if next[node] != each {
			t.Errorf("%s: %d events", node, next[node])
		}
	}
}

func TestNil(t *testing.T) {
	tr := trace.New(nil, "alice")
	if tr != nil || tr.Enabled() {
		t.Error("a tracer without a writer is not nil")
	}
	event(tr, 1) // must not panic
	if n := testing.AllocsPerRun(100, func() { event(tr, 1) }); n != 0 {
		t.Errorf("%v allocations when disabled", n)
	}
	tr = trace.New(trace.NewWriter(io.Discard), "alice")
	if n := testing.AllocsPerRun(100, func() { event(tr, 1) }); n != 0 {
		t.Errorf("%v allocations when enabled", n)
	}
}

// Only a writer for contents has them.
func TestContents(t *testing.T) {
	message := []byte{0, 1, 0x9a, 0xff}
	for _, x := range []struct {
		new  func(io.Writer) *trace.Writer
		keep bool
		want string
	}{
		{trace.NewWriter, false, `{"t":1,"node":"alice","layer":"l","event":"send","bytes":4,"last":true}` + "\n"},
		{trace.NewContentsWriter, true, `{"t":1,"node":"alice","layer":"l","event":"send","bytes":4,"data":"00019aff","last":true}` + "\n"},
	} {
		var out bytes.Buffer
		w := x.new(&out)
		tr := trace.New(w, "alice")
		if tr.KeepsContents() != x.keep {
			t.Errorf("keeps contents: %t", !x.keep)
		}
		send := func() { tr.Event(1, "l", "send").Uint("bytes", 4).Contents(message).Bool("last", true).End() }
		send()
		if err := w.Flush(); err != nil || out.String() != x.want {
			t.Errorf("got %s, %v\nwant %s", out.String(), err, x.want)
		}
		w = x.new(io.Discard)
		tr = trace.New(w, "alice")
		if n := testing.AllocsPerRun(100, send); n != 0 {
			t.Errorf("%v allocations, with contents: %t", n, x.keep)
		}
	}
	var tr *trace.Tracer
	if tr.KeepsContents() {
		t.Error("a nil tracer keeps contents")
	}
	if n := testing.AllocsPerRun(100, func() { tr.Event(1, "l", "send").Contents(message).End() }); n != 0 {
		t.Errorf("%v allocations when disabled", n)
	}
}

func event(tr *trace.Tracer, i uint64) {
	tr.Event(qnet.Time(i), "link", "reply").Uint("cycle", i).Str("label", "Ψ+").Float("f", 0.94).ID("peer", 0xdeadbeef).Bool("ok", true).End()
}

func BenchmarkEnabled(b *testing.B) {
	tr := trace.New(trace.NewWriter(io.Discard), "alice")
	b.ReportAllocs()
	var i uint64
	for b.Loop() {
		i++
		event(tr, i)
	}
}

func BenchmarkContents(b *testing.B) {
	message := make([]byte, 40)
	for _, w := range []*trace.Writer{trace.NewWriter(io.Discard), trace.NewContentsWriter(io.Discard)} {
		tr := trace.New(w, "alice")
		b.Run(fmt.Sprintf("kept=%t", tr.KeepsContents()), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tr.Event(1, "control", "send").Uint("bytes", 40).Contents(message).End()
			}
		})
	}
}

func BenchmarkNil(b *testing.B) {
	var tr *trace.Tracer
	b.ReportAllocs()
	var i uint64
	for b.Loop() {
		i++
		event(tr, i)
	}
}
