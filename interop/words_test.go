package interop

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"qstack/qsocket"
)

// What a program wrote before it closed the socket arrives, and then the end: the
// news that the circuit is gone, which takes another way, does not overtake it.
func TestLastWordsArrive(t *testing.T) {
	n := ions3(t)
	n.start()
	ctx := testContext(t)
	a, c := n.open("alice"), n.open("charlie")
	l, err := c.Listen(ctx, ":7")
	if err != nil {
		t.Fatal(err)
	}
	say := func(from *qsocket.Conn, words string) error {
		_, err := io.WriteString(from, words)
		return errors.Join(err, from.Close())
	}
	for i := range 100 {
		head, err := a.Dial(ctx, "charlie:7", qsocket.Contract{})
		if err != nil {
			t.Fatal(err)
		}
		tail, err := l.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		from, to := head, tail
		if i%2 == 1 {
			from, to = tail, head
		}
		words := fmt.Sprintf("farewell %d", i)
		if err := say(from, words); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(to); string(got) != words || err != nil {
			t.Errorf("after %q and the end of the socket: %q, %v", words, got, err)
		}
		to.Close()
	}
	n.waitNoQubits()
	n.stop()
}
