package quic

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"testing"

	"qstack/qnet"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// A trace has every message that is sent and delivered, as in virtual time.
func TestTrace(t *testing.T) {
	ca := newAuthority(t)
	var files [2]bytes.Buffer
	var nodes [2]*node
	var writers [2]*trace.Writer
	for i, name := range []string{"alice", "bob"} {
		writers[i] = trace.NewWriter(&files[i])
		nodes[i] = newNode(t, ca, name, Config{Tracer: trace.New(writers[i], name)})
	}
	a, b := nodes[0], nodes[1]
	link(t, a, b, 0)
	a.Start()
	b.Start()
	a.waitUp(b, 1)
	s := a.open(b.ID(), &message{N: 1})
	b.wait("the stream", func() bool { return len(b.accepted) == 1 })
	b.do(func() { b.accepted[0].stream.Send(&message{N: 2}) })
	a.wait("the answer", func() bool { return len(s.msgs) == 1 })
	a.do(func() {
		if err := a.Endpoint.Datagram(b.ID(), &message{N: 3}); err != nil {
			t.Error(err)
		}
	})
	b.wait("the datagram", func() bool { return len(b.datagrams) == 1 })
	a.do(func() { s.stream.Close(qnet.OK) })
	b.wait("the end", func() bool { return b.accepted[0].closed == 1 })

	type counts struct{ up, send, deliver, datagrams int }
	for i, n := range nodes {
		n.do(func() {
			if err := writers[i].Flush(); err != nil {
				t.Error(err)
			}
		})
		var got counts
		d := json.NewDecoder(&files[i])
		for d.More() {
			var e struct {
				Node, Layer, Event, Peer string
				Stream                   *int
				Type, Bytes              int
			}
			if err := d.Decode(&e); err != nil {
				t.Fatal(err)
			}
			if e.Node != n.name || e.Layer != "control" || e.Peer != nodes[1-i].name {
				t.Errorf("event %+v at %s", e, n.name)
			}
			switch e.Event {
			case "peer-up":
				got.up++
				continue
			case "send":
				got.send++
			case "deliver":
				got.deliver++
			}
			if e.Type != int(typeTest) || e.Bytes == 0 {
				t.Errorf("message %+v", e)
			}
			if e.Stream == nil {
				got.datagrams++
			}
		}
		if want := []counts{{1, 2, 1, 1}, {1, 1, 2, 1}}[i]; got != want {
			t.Errorf("%s: %+v, want %+v", n.name, got, want)
		}
	}
}

// With contents it has the bytes of what link and network layer send, as in virtual
// time, and of nobody else.
func TestTraceContents(t *testing.T) {
	ca := newAuthority(t)
	for _, keep := range []bool{false, true} {
		var file bytes.Buffer
		w := trace.NewWriter(&file)
		if keep {
			w = trace.NewContentsWriter(&file)
		}
		a, b := newNode(t, ca, "alice", Config{Tracer: trace.New(w, "alice")}), newNode(t, ca, "bob", Config{})
		link(t, a, b, 0)
		var sent [][]byte
		send := func(service wire.Service) {
			m := &message{typ: wire.Type(service)<<4 | 0xf, N: 1, Pad: []byte("datagram")}
			if err := a.Endpoint.Datagram(b.ID(), m); err != nil {
				t.Error(err)
			}
			sent = append(sent, wire.Append(nil, m))
			m.Pad = []byte("opens a stream")
			s, err := a.Endpoint.Open(b.ID(), m, &recorder{n: a})
			if err != nil {
				t.Error(err)
				return
			}
			sent = append(sent, wire.Append(nil, m))
			m.Pad = []byte("goes on")
			s.Send(m)
			sent = append(sent, wire.Append(nil, m))
		}
		a.do(func() { // nobody is connected yet
			for _, service := range []wire.Service{wire.ServiceLink, wire.ServiceNetwork, wire.ServiceTransport, wire.ServiceFabric, wire.ServiceOracle} {
				send(service)
			}
			if err := w.Flush(); err != nil {
				t.Error(err)
			}
		})
		records, err := trace.Read(&file)
		if err != nil || len(records) != len(sent) {
			t.Fatalf("%d lines, want %d; %v", len(records), len(sent), err)
		}
		for i, r := range records {
			var want any
			if keep && i < 6 {
				want = hex.EncodeToString(sent[i])
			}
			if r.Event != "send" || r.Fields["data"] != want {
				t.Errorf("line %d: %+v, want %v", i, r, want)
			}
		}
	}
}
