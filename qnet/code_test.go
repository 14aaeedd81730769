package qnet_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"qstack/qnet"
)

// codes is the published list: numbers and names never change, entries are only
// added.
var codes = []struct {
	name string
	code qnet.Code
	num  uint32
	text string
}{
	{"OK", qnet.OK, 0x00, "ok"},
	{"ErrTimeout", qnet.ErrTimeout, 0x10, "timed out"},
	{"ErrNoMemory", qnet.ErrNoMemory, 0x11, "no free qubit"},
	{"ErrBusy", qnet.ErrBusy, 0x12, "queue full"},
	{"ErrUnavail", qnet.ErrUnavail, 0x13, "unavailable"},
	{"ErrExpired", qnet.ErrExpired, 0x14, "expired"},
	{"ErrCancelled", qnet.ErrCancelled, 0x15, "cancelled"},
	{"ErrMismatch", qnet.ErrMismatch, 0x16, "requests do not match"},
	{"ErrQubitLost", qnet.ErrQubitLost, 0x17, "qubit lost"},
	{"ErrRestarted", qnet.ErrRestarted, 0x18, "restarted"},
	{"ErrPeerClosed", qnet.ErrPeerClosed, 0x19, "closed by peer"},
	{"ErrNoAnswer", qnet.ErrNoAnswer, 0x1a, "no answer"},
	{"ErrUnsupported", qnet.ErrUnsupported, 0x20, "not supported"},
	{"ErrFidelity", qnet.ErrFidelity, 0x21, "fidelity out of reach"},
	{"ErrNoRoute", qnet.ErrNoRoute, 0x22, "no route"},
	{"ErrNoListener", qnet.ErrNoListener, 0x23, "no listener"},
	{"ErrInUse", qnet.ErrInUse, 0x24, "in use"},
	{"ErrInvalid", qnet.ErrInvalid, 0x25, "invalid argument"},
	{"ErrBadQubit", qnet.ErrBadQubit, 0x26, "not a qubit of the caller"},
	{"ErrMoved", qnet.ErrMoved, 0x27, "qubit moved to another fabric"},
	{"ErrUnknown", qnet.ErrUnknown, 0x28, "unknown"},
	{"ErrTooLarge", qnet.ErrTooLarge, 0x29, "joint state too large"},
	{"ErrProtocol", qnet.ErrProtocol, 0x30, "protocol error"},
	{"ErrAuth", qnet.ErrAuth, 0x31, "not authorised"},
	{"ErrClosed", qnet.ErrClosed, 0x32, "closed"},
	{"ErrInternal", qnet.ErrInternal, 0x33, "internal error"},
}

func TestCodes(t *testing.T) {
	numbers, texts := map[uint32]string{}, map[string]string{}
	listed := map[string]bool{}
	for _, c := range codes {
		listed[c.name] = true
		if uint32(c.code) != c.num || c.code.Error() != c.text {
			t.Errorf("%s is %#x %q, want %#x %q", c.name, uint32(c.code), c.code.Error(), c.num, c.text)
		}
		if other, ok := numbers[c.num]; ok {
			t.Errorf("%s and %s have one number", c.name, other)
		}
		if other, ok := texts[c.text]; ok {
			t.Errorf("%s and %s have one text", c.name, other)
		}
		numbers[c.num], texts[c.text] = c.name, c.name
		if got, want := c.code.Temporary(), c.num >= 0x10 && c.num <= 0x1f; got != want {
			t.Errorf("%s: Temporary = %v", c.name, got)
		}
	}
	if got := qnet.Code(0x1234).Error(); got != "code 0x1234" {
		t.Errorf("an unknown code says %q", got)
	}

	// Nothing is declared that the list does not have.
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.CONST {
			continue
		}
		for _, spec := range gen.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				declared++
				if !listed[name.Name] {
					t.Errorf("%s is not in the list of this test", name)
				}
			}
		}
	}
	if declared != len(codes) {
		t.Errorf("code.go declares %d codes, the list has %d", declared, len(codes))
	}
}

// TestCodeSentinels asks every code for every sentinel of the standard library,
// bare, in an Error, and wrapped.
func TestCodeSentinels(t *testing.T) {
	sentinels := map[error]qnet.Code{
		os.ErrDeadlineExceeded:   qnet.ErrTimeout,
		context.DeadlineExceeded: qnet.ErrTimeout,
		context.Canceled:         qnet.ErrCancelled,
		net.ErrClosed:            qnet.ErrClosed,
		io.EOF:                   qnet.OK, // no code's
	}
	for _, c := range codes[1:] {
		for _, err := range []error{c.code, qnet.Errorf(c.code, "text"), fmt.Errorf("outer: %w", qnet.Errorf(c.code, "text"))} {
			for _, other := range codes {
				if got, want := errors.Is(err, other.code), other.code == c.code; got != want {
					t.Errorf("errors.Is(%#v, %s) = %v", err, other.name, got)
				}
			}
			for sentinel, code := range sentinels {
				if got, want := errors.Is(err, sentinel), code == c.code; got != want {
					t.Errorf("errors.Is(%#v, %v) = %v", err, sentinel, got)
				}
			}
			var ne net.Error
			if !errors.As(err, &ne) {
				t.Errorf("%#v is no net.Error", err)
			} else if ne.Timeout() != (c.code == qnet.ErrTimeout) {
				t.Errorf("%#v: Timeout = %v", err, ne.Timeout())
			}
			if got := qnet.CodeOf(err); got != c.code {
				t.Errorf("CodeOf(%#v) = %v", err, got)
			}
		}
	}
}

func TestCodeOf(t *testing.T) {
	expired, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for _, c := range []struct {
		err  error
		want qnet.Code
	}{
		{nil, qnet.OK},
		{os.ErrDeadlineExceeded, qnet.ErrTimeout},
		{context.DeadlineExceeded, qnet.ErrTimeout},
		{context.Cause(expired), qnet.ErrTimeout},
		{context.Canceled, qnet.ErrCancelled},
		{net.ErrClosed, qnet.ErrClosed},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, qnet.ErrTimeout},
		{&net.OpError{Op: "read", Err: net.ErrClosed}, qnet.ErrClosed},
		{fmt.Errorf("outer: %w", context.Canceled), qnet.ErrCancelled},
		{errors.Join(io.EOF, qnet.ErrNoRoute), qnet.ErrNoRoute},
		{fmt.Errorf("%w, after %w", qnet.ErrBusy, context.Canceled), qnet.ErrBusy},
		{io.EOF, qnet.ErrInternal},
	} {
		if got := qnet.CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	if got := qnet.Errorf(qnet.ErrNoRoute, "no route from %s", "alice").Error(); got != "no route from alice" {
		t.Errorf("text is %q", got)
	}
	if got := (&qnet.Error{Code: qnet.ErrNoRoute}).Error(); got != "no route" {
		t.Errorf("text of none is %q", got)
	}
	if got := (&qnet.Error{Code: qnet.ErrBusy}); !got.Temporary() || got.Timeout() {
		t.Error("busy is temporary, and no time-out")
	}
	for _, c := range codes {
		if strings.TrimSpace(c.text) != c.text || c.text == "" {
			t.Errorf("%s has the text %q", c.name, c.text)
		}
	}
}
