package qsocket_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"qstack/qsocket"
)

// benchmark opens a socket over the local one and runs b on its head while tail
// runs on its tail. It shows what programs, transport and the unix socket cost:
// pairs take no time here.
func benchmark(b *testing.B, tail func(*qsocket.Node, *qsocket.Conn), head func(*qsocket.Node, *qsocket.Conn)) {
	e := newEnv(b, daemon)
	for _, n := range []string{"alice", "charlie"} {
		e.world.Node(n).Device.OpTime = 0
		e.world.Node(n).Device.Storage = 256
	}
	e.pair(head, tail)
	e.wait()
	e.close()
}

// untilClosed repeats f until the other end has closed.
func untilClosed(workers int, f func(*qsocket.Node, *qsocket.Conn) error) func(*qsocket.Node, *qsocket.Conn) {
	return func(n *qsocket.Node, c *qsocket.Conn) {
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for f(n, c) == nil {
				}
			})
		}
		wg.Wait()
	}
}

func keepOne(_ *qsocket.Node, c *qsocket.Conn) error {
	pairs, err := c.Keep(context.Background(), 1)
	for _, p := range pairs {
		p.Qubit.Free()
	}
	return err
}

// BenchmarkKeep keeps one pair at a time and reports the median.
func BenchmarkKeep(b *testing.B) {
	benchmark(b, untilClosed(1, keepOne), func(n *qsocket.Node, c *qsocket.Conn) {
		var times []time.Duration
		for b.Loop() {
			start := time.Now()
			check(keepOne(n, c))
			times = append(times, time.Since(start))
		}
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds()), "µs-median")
	})
}

// many runs f b.N times by 32 workers and reports the rate.
func many(b *testing.B, unit string, f func(*qsocket.Node, *qsocket.Conn) error) func(*qsocket.Node, *qsocket.Conn) {
	return func(n *qsocket.Node, c *qsocket.Conn) {
		b.ResetTimer()
		start := time.Now()
		work := make(chan struct{})
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for range work {
					check(f(n, c))
				}
			})
		}
		for range b.N {
			work <- struct{}{}
		}
		close(work)
		wg.Wait()
		b.StopTimer()
		b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), unit)
	}
}

// BenchmarkKeep32 keeps pairs with 32 requests in flight.
func BenchmarkKeep32(b *testing.B) {
	benchmark(b, untilClosed(32, keepOne), many(b, "pairs/s", keepOne))
}

// BenchmarkMeasure measures 100,000 pairs at a time.
func BenchmarkMeasure(b *testing.B) {
	const n = 100_000
	measure := func(_ *qsocket.Node, c *qsocket.Conn) error {
		_, err := c.Measure(context.Background(), n, qsocket.RandomBasis(qsocket.X, qsocket.Z))
		return err
	}
	benchmark(b, untilClosed(1, measure), func(node *qsocket.Node, c *qsocket.Conn) {
		start := time.Now()
		k := 0
		for b.Loop() {
			check(measure(node, c))
			k++
		}
		b.ReportMetric(float64(n*k)/time.Since(start).Seconds(), "pairs/s")
	})
}

// BenchmarkTeleport teleports qubits with 32 under way.
func BenchmarkTeleport(b *testing.B) {
	benchmark(b, untilClosed(32, func(_ *qsocket.Node, c *qsocket.Conn) error {
		q, err := c.ReceiveQubit(context.Background())
		if err == nil {
			q.Free()
		}
		return err
	}), many(b, "qubits/s", func(n *qsocket.Node, c *qsocket.Conn) error {
		q, err := n.Qubit(context.Background())
		if err != nil {
			return err
		}
		q.RY(1)
		return c.SendQubit(context.Background(), q)
	}))
}
