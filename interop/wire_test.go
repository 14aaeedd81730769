package interop

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"qstack/link"
	"qstack/network"
	"qstack/physical/oracle"
	"qstack/physical/remote"
	"qstack/qnet/control/quic"
	"qstack/qnet/wire"
	"qstack/transport"
)

var update = flag.Bool("update", false, "rewrite docs/wire.md")

// docs/wire.md is what the messages say of themselves, and no two of them share
// a number.
func TestWireReferenceIsUpToDate(t *testing.T) {
	r, err := wire.NewRegistry(link.Messages(), network.Messages(), transport.Messages(), quic.Messages(), remote.Messages(), oracle.Messages())
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := r.WriteMarkdown(&want); err != nil {
		t.Fatal(err)
	}
	const path = "../docs/wire.md"
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("docs/wire.md does not say what the code does; run: go test ./interop -run Wire -update")
	}
}
