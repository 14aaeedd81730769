package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"qstack/node/daemon"
	"qstack/node/scenario"
	"qstack/qsocket"
	"qstack/scenarios"
)

// loopback runs a network of real processes, and opens a socket between programs
// at its first two nodes.
func loopback(b *testing.B, file string) (head, tail *qsocket.Node, dialled, accepted *qsocket.Conn) {
	b.Helper()
	dir, err := os.MkdirTemp("", "qnet-bench-")
	if err != nil {
		b.Fatal(err)
	}
	binary := filepath.Join(b.TempDir(), "qnoded")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	source, err := scenarios.Files.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	s, err := scenario.Parse(file, source)
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	n, err := launch(ctx, launchConfig{scenario: s, source: source, dir: dir, binary: binary})
	b.Cleanup(func() {
		if err := n.close(); err != nil {
			b.Error(err)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	open := func(i int) *qsocket.Node {
		q, err := qsocket.Open(ctx, s.Nodes[i].Name, qsocket.Options{Path: daemon.ProgramPath(n.runtime, s.Nodes[i].Name), Program: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { q.Close() })
		return q
	}
	head, tail = open(0), open(1)
	l, err := tail.Listen(ctx, ":7")
	if err != nil {
		b.Fatal(err)
	}
	if dialled, err = head.Dial(ctx, s.Nodes[1].Name+":7", qsocket.Contract{}); err != nil {
		b.Fatal(err)
	}
	if accepted, err = l.Accept(ctx); err != nil {
		b.Fatal(err)
	}
	return head, tail, dialled, accepted
}

// both runs a program at each end, in so many goroutines each, n times in all.
func both(b *testing.B, workers, n int, head, tail func() error) {
	var wg sync.WaitGroup
	for _, f := range []func() error{head, tail} {
		for w := range workers {
			wg.Go(func() {
				for i := w; i < n; i += workers {
					if err := f(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

func keepOne(ctx context.Context, c *qsocket.Conn) func() error {
	return func() error {
		pairs, err := c.Keep(ctx, 1)
		if err != nil {
			return err
		}
		pairs[0].Qubit.Free()
		return nil
	}
}

// One kept pair at a time: the latency of the whole stack, from the call to the
// return.
func BenchmarkLoopbackKeepOne(b *testing.B) {
	_, _, d, a := loopback(b, "ideal2.toml")
	ctx := context.Background()
	var took []time.Duration
	head := keepOne(ctx, d)
	b.ResetTimer()
	both(b, 1, b.N, func() error {
		began := time.Now()
		err := head()
		took = append(took, time.Since(began))
		return err
	}, keepOne(ctx, a))
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e3, "µs/median")
	b.ReportMetric(float64(took[len(took)*99/100])/1e3, "µs/p99")
}

// Kept pairs with 32 requests in flight.
func BenchmarkLoopbackKeep32(b *testing.B) {
	_, _, d, a := loopback(b, "ideal2.toml")
	ctx := context.Background()
	b.ResetTimer()
	both(b, 32, b.N, keepOne(ctx, d), keepOne(ctx, a))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
}

// Measured pairs in requests of 200,000.
func BenchmarkLoopbackMeasure(b *testing.B) {
	_, _, d, a := loopback(b, "ideal2.toml")
	ctx := context.Background()
	const pairs = 200_000
	measure := func(c *qsocket.Conn) func() error {
		return func() error {
			_, err := c.Measure(ctx, pairs, qsocket.RandomBasis(qsocket.X, qsocket.Z))
			return err
		}
	}
	b.ResetTimer()
	both(b, 1, b.N, measure(d), measure(a))
	b.ReportMetric(float64(b.N)*pairs/b.Elapsed().Seconds(), "pairs/s")
}

// Teleported qubits with 32 under way.
func BenchmarkLoopbackTeleport(b *testing.B) {
	head, _, d, a := loopback(b, "ideal2.toml")
	ctx := context.Background()
	b.ResetTimer()
	both(b, 32, b.N, func() error {
		q, err := head.Qubit(ctx)
		if err != nil {
			return err
		}
		q.H()
		return d.SendQubit(ctx, q)
	}, func() error {
		q, err := a.ReceiveQubit(ctx)
		if err != nil {
			return err
		}
		q.Free()
		return nil
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "qubits/s")
}
