// Command teleport sends a qubit from one node to another. Run a network with
// "go run ./cmd/qnoded up" first.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"time"

	"qstack/qsocket"
)

func main() {
	from := flag.String("from", "alice", "node that sends")
	to := flag.String("to", "charlie", "node that receives")
	theta := flag.Float64("theta", math.Pi/3, "angle of the state cos(θ/2)|0⟩ + sin(θ/2)|1⟩")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	receiver := must(qsocket.Open(ctx, *to))
	defer receiver.Close()
	port := must(receiver.Listen(ctx, ":0"))
	done := make(chan uint8)
	go func() {
		conn := must(port.Accept(ctx))
		defer conn.Close()
		q := must(conn.ReceiveQubit(ctx))
		done <- must(q.Measure(ctx, qsocket.Basis{Theta: *theta})) // along the state's own axis
	}()

	sender := must(qsocket.Open(ctx, *from))
	defer sender.Close()
	conn := must(sender.Dial(ctx, port.Addr().String(), qsocket.Contract{}))
	defer conn.Close()
	q := must(sender.Qubit(ctx))
	q.RY(*theta)
	if err := conn.SendQubit(ctx, q); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("teleported cos(θ/2)|0⟩ + sin(θ/2)|1⟩ with θ = %.4f from %s to %s\n", *theta, *from, *to)
	fmt.Printf("%s measured it along its own axis: %d (0 is right; expected fidelity of a pair %.3f)\n", *to, <-done, conn.Estimate().Fidelity)
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
