package qsocket_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"math"
	"time"

	"qstack/qnet/event"
	"qstack/qsocket"
	"qstack/transport/transporttest"
)

// network makes a small network of perfect pairs in virtual time, and runs two
// programs on two of its nodes. Package node has networks of emulated hardware.
func network(head, tail func(context.Context, *qsocket.Node) error) {
	loop := event.NewVirtual()
	defer loop.Close()
	world := transporttest.New(loop, nil, "alice", "charlie")
	world.Delay = 100 * time.Microsecond
	run := func(name string, program func(context.Context, *qsocket.Node) error) {
		loop.Go(name, func() {
			ctx := context.Background()
			node, err := qsocket.Attach(ctx, loop, world.Node(name).Layer, "example")
			if err != nil {
				log.Fatal(err)
			}
			defer node.Close()
			if err := program(ctx, node); err != nil {
				fmt.Printf("%s: %v\n", name, err)
			}
		})
	}
	run("charlie", tail)
	run("alice", head)
	if err := loop.Run(); err != nil {
		log.Fatal(err)
	}
}

// Two programs share pairs: both ask, and each measures its halves in bases of
// its own choice.
func Example() {
	network(func(ctx context.Context, node *qsocket.Node) error {
		conn, err := node.Dial(ctx, "charlie:7", qsocket.Contract{MinFidelity: 0.85})
		if err != nil {
			return err
		}
		defer conn.Close()
		pairs, err := conn.Keep(ctx, 1)
		if err != nil {
			return err
		}
		fmt.Println("alice keeps half of a pair in state", pairs[0].Label)
		bit, err := pairs[0].Qubit.Measure(ctx, qsocket.Z)
		if err != nil {
			return err
		}
		_, err = conn.Write([]byte{bit})
		return err
	}, func(ctx context.Context, node *qsocket.Node) error {
		port, err := node.Listen(ctx, ":7")
		if err != nil {
			return err
		}
		conn, err := port.Accept(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		outcomes, err := conn.Measure(ctx, 1, qsocket.FixedBasis(qsocket.Z))
		if err != nil {
			return err
		}
		other := make([]byte, 1)
		if _, err := io.ReadFull(conn, other); err != nil {
			return err
		}
		fmt.Println("the bits agree:", outcomes.Bit[0] == other[0])
		return nil
	})
	// Output:
	// alice keeps half of a pair in state Φ+
	// the bits agree: true
}

// A program teleports a qubit; the other turns it back and measures.
func ExampleConn_SendQubit() {
	const theta = math.Pi / 5
	network(func(ctx context.Context, node *qsocket.Node) error {
		conn, err := node.Dial(ctx, "charlie:7", qsocket.Contract{})
		if err != nil {
			return err
		}
		defer conn.Close()
		q, err := node.Qubit(ctx)
		if err != nil {
			return err
		}
		q.RY(theta)
		return conn.SendQubit(ctx, q)
	}, func(ctx context.Context, node *qsocket.Node) error {
		port, err := node.Listen(ctx, ":7")
		if err != nil {
			return err
		}
		conn, err := port.Accept(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		q, err := conn.ReceiveQubit(ctx)
		if err != nil {
			return err
		}
		q.RY(-theta)
		bit, err := q.Measure(ctx, qsocket.Z)
		fmt.Println("measured", bit, "from", conn.RemoteAddr())
		return err
	})
	// Output: measured 0 from alice:7
}

// Deadlines are in the time of the network. The error says what was missing.
func ExampleNode_WithTimeout() {
	network(func(ctx context.Context, node *qsocket.Node) error {
		conn, err := node.Dial(ctx, "charlie:7", qsocket.Contract{})
		if err != nil {
			return err
		}
		defer conn.Close()
		ctx, cancel := node.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = conn.Keep(ctx, 2)
		return err
	}, func(ctx context.Context, node *qsocket.Node) error {
		port, err := node.Listen(ctx, ":7")
		if err != nil {
			return err
		}
		conn, err := port.Accept(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = io.Copy(io.Discard, conn) // but no pairs are asked for
		return err
	})
	// Output: alice: keep of 2 pairs with charlie timed out: charlie has not asked for pairs
}

// Join the results of both ends by the names of the pairs: the order of delivery
// may differ.
func ExampleOutcomes() {
	var there, here *qsocket.Outcomes
	bases := qsocket.RandomBasis(qsocket.X, qsocket.Z)
	network(func(ctx context.Context, node *qsocket.Node) error {
		conn, err := node.Dial(ctx, "charlie:7", qsocket.Contract{})
		if err != nil {
			return err
		}
		defer conn.Close()
		there, err = conn.Measure(ctx, 1000, bases)
		return err
	}, func(ctx context.Context, node *qsocket.Node) error {
		port, err := node.Listen(ctx, ":7")
		if err != nil {
			return err
		}
		conn, err := port.Accept(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		here, err = conn.Measure(ctx, 1000, bases)
		return err
	})
	index := make(map[qsocket.PairName]int)
	for i := range there.Len() {
		index[there.Name(i)] = i
	}
	wrong := 0
	for i := range here.Len() {
		j := index[here.Name(i)]
		if here.Basis[i] == there.Basis[j] && here.Bit[i] != there.Bit[j] {
			wrong++
		}
	}
	fmt.Println("wrong bits in the sifted key:", wrong)
	// Output: wrong bits in the sifted key: 0
}
