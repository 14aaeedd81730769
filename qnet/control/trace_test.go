package control_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"qstack/qnet/control"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// A trace with contents has the bytes of what link and network layer send, each
// once, and of nobody else; without them it is the one that it was.
func TestTraceContents(t *testing.T) {
	secret := []byte("nobody may read this")
	run := func(w *trace.Writer) {
		loop, a, _ := sinkPairTraced(t, control.LinkConfig{Delay: 100}, trace.New(w, "alice"))
		for service := wire.ServiceLink; service <= wire.ServiceOracle; service++ {
			m := &note{typ: wire.Type(service)<<4 | 1, N: 7, Pad: secret}
			if err := a.Datagram(bob, m); err != nil {
				t.Fatal(err)
			}
			stream, err := a.Open(bob, m, new(sink))
			if err != nil {
				t.Fatal(err)
			}
			stream.Send(m)
			if err := loop.Drain(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var plain, full bytes.Buffer
	run(trace.NewWriter(&plain))
	run(trace.NewContentsWriter(&full))
	records, err := trace.Read(bytes.NewReader(full.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	without := full.String()
	sent := make(map[string]int) // by type, with contents
	for _, r := range records {
		data, ok := r.Fields["data"].(string)
		if !ok {
			continue
		}
		b, err := hex.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		if m := parse(t, b); r.Event != "send" || m.N != 7 || !bytes.Equal(m.Pad, secret) {
			t.Errorf("%+v", r)
		}
		sent[string(b[:1])]++
		without = strings.Replace(without, `,"data":"`+data+`"`, "", 1)
	}
	if len(sent) != 2 || sent["\x11"] != 3 || sent["\x21"] != 3 {
		t.Errorf("messages with contents: %v", sent)
	}
	if without != plain.String() || strings.Contains(plain.String(), "data") {
		t.Error("contents change the rest of the trace")
	}
	if n := strings.Count(full.String(), hex.EncodeToString(secret)); n != 6 {
		t.Errorf("the bytes are there %d times, want 6", n)
	}
}
