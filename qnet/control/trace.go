package control

import (
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// Contents adds what is in a message of type t to its line in a trace that keeps
// contents (see trace.NewContentsWriter), as every Endpoint does when it sends. It
// does so for link and network layer alone, whose messages hold no secret but the
// salt that the test rounds of a link are drawn from (link.Add). What is in those of
// other services never gets there: bases and outcomes of devices, of which keys are
// made, bytes that programs send each other, tokens of sessions, states.
func Contents(e trace.Event, t wire.Type, b []byte) trace.Event {
	switch t.Service() {
	case wire.ServiceLink, wire.ServiceNetwork:
		return e.Contents(b)
	}
	return e
}
