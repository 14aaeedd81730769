package wire_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"qstack/qnet"
	"qstack/qnet/golden"
	"qstack/qnet/wire"
)

// number is a message whose number can be chosen.
type number struct{ t wire.Type }

func (m *number) Type() wire.Type    { return m.t }
func (*number) Fields(c *wire.Codec) {}

// byValue can not be decoded.
type byValue struct{}

func (byValue) Type() wire.Type    { return 0x11 }
func (byValue) Fields(*wire.Codec) {}

func TestRegistryRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		lists [][]wire.Message
		code  qnet.Code
		text  []string
	}{
		{"one number twice", [][]wire.Message{{&every{}}, {&number{0x31}}}, qnet.ErrInUse, []string{"every", "number", "0x31"}},
		{"one name twice in a service", [][]wire.Message{{&number{0x31}, &number{0x32}}}, qnet.ErrInUse, []string{"number", "0x31", "0x32"}},
		{"no service", [][]wire.Message{{&number{0xa1}}}, qnet.ErrInvalid, []string{"number", "0xa1"}},
		{"not a pointer", [][]wire.Message{{byValue{}}}, qnet.ErrInvalid, []string{"byValue"}},
		{"nil", [][]wire.Message{{nil}}, qnet.ErrInvalid, []string{"nil"}},
	} {
		_, err := wire.NewRegistry(c.lists...)
		if !errors.Is(err, c.code) {
			t.Errorf("%s: got %v, want code %v", c.name, err, c.code)
			continue
		}
		for _, s := range c.text {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: text %q does not name %s", c.name, err, s)
			}
		}
	}
	// One name in two services is fine, and the session's numbers span three.
	if _, err := wire.NewRegistry([]wire.Message{&number{0x31}, &number{0x21}, &number{0x8f}}); err != nil {
		t.Error(err)
	}
}

func TestRegistry(t *testing.T) {
	r, err := wire.NewRegistry([]wire.Message{&every{}, &blob{}}, []wire.Message{&reply{}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range r.Messages() {
		names = append(names, r.Name(m.Type()))
	}
	if got := strings.Join(names, " "); got != "reply every Blob" {
		t.Errorf("names %q", got)
	}
	if got := r.Name(0x77); got != "0x77" {
		t.Errorf("unknown number is called %q", got)
	}
	m, ok := r.New(0x31).(*every)
	if !ok || m == r.Messages()[1] {
		t.Errorf("New(0x31) = %T", r.New(0x31))
	}
	if r.New(0x77) != nil {
		t.Error("New of an unknown type is not nil")
	}
}

func TestWriteMarkdown(t *testing.T) {
	r, err := wire.NewRegistry([]wire.Message{&every{}, &blob{}, &reply{}, &number{0x61}})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/reference.md", b.String())
	// Every field of every message has a row; a bar in a text does not break it.
	for _, m := range r.Messages() {
		for _, f := range wire.Describe(m) {
			if !strings.Contains(b.String(), "| "+strings.Repeat("· ", f.Depth)+f.Name+" | "+f.Kind+" | ") {
				t.Errorf("%s: no row for field %s", r.Name(m.Type()), f.Name)
			}
		}
	}
	if !strings.Contains(b.String(), `A field of each kind \| for tests.`) {
		t.Error("text of a message is missing or breaks its table")
	}
	// A writer's error is reported.
	if err := r.WriteMarkdown(failing{}); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("error of the writer: got %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrInvalid }
