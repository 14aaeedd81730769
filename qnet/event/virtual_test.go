package event_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"qstack/qnet"
	"qstack/qnet/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var background = context.Background()

// newVirtual returns a loop whose Close must succeed at the end of the test.
func newVirtual(t testing.TB) *event.Virtual {
	v := event.NewVirtual()
	t.Cleanup(func() {
		must(t, v.Close())
		if n := v.Watched(); n != 0 {
			t.Errorf("%d contexts are watched at rest", n)
		}
	})
	return v
}

// here returns the caller's file and line as diagnostics show it, with line
// offset added.
func here(offset int) string {
	_, file, line, _ := runtime.Caller(1)
	dir, base := filepath.Split(file)
	return fmt.Sprintf("%s/%s:%d", filepath.Base(dir), base, line+offset)
}

func wantCode(t testing.TB, err error, code qnet.Code) {
	t.Helper()
	if qnet.CodeOf(err) != code {
		t.Errorf("error is %v (code %v), want code %v", err, qnet.CodeOf(err), code)
	}
}

func wantText(t testing.TB, err error, format string, args ...any) {
	t.Helper()
	if want := fmt.Sprintf(format, args...); err == nil || err.Error() != want {
		t.Errorf("error is\n\t%v\nwant\n\t%s", err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestVirtualOrder(t *testing.T) {
	v := newVirtual(t)
	var got []string
	log := func(s string) func() {
		return func() { got = append(got, fmt.Sprintf("%d%s", v.Now(), s)) }
	}
	v.At(20, log("a"))
	v.At(10, log("b"))
	v.At(20, log("c"))
	v.At(10, func() {
		log("d")()
		v.At(5, log("past"))
		v.After(-time.Hour, log("negative"))
		v.After(10, log("e"))
		v.After(0, log("f"))
	})
	v.At(10, log("g"))
	v.At(qnet.Never, log("never"))
	v.After(1<<63-1, log("never"))
	must(t, v.Drain())
	want := []string{"10b", "10d", "10g", "10past", "10negative", "10f", "20a", "20c", "20e"}
	if !slices.Equal(got, want) {
		t.Errorf("order is %v, want %v", got, want)
	}
	if v.Events() != uint64(len(want)) || v.Pending() != 0 || v.Now() != 20 {
		t.Errorf("%d events, %d pending, now %d", v.Events(), v.Pending(), v.Now())
	}
}

func TestVirtualStop(t *testing.T) {
	v := newVirtual(t)
	if (event.Timer{}).Stop() {
		t.Error("the zero Timer stopped something")
	}
	var self event.Timer
	ran := 0
	self = v.At(1, func() {
		ran++
		if self.Stop() {
			t.Error("an event stopped itself")
		}
	})
	later := v.At(2, func() { t.Error("a stopped event ran") })
	v.At(1, func() {
		if !later.Stop() {
			t.Error("Stop of a pending event reports false")
		}
	})
	must(t, v.Drain())
	// The slots are used again; the old timers must not know the new events.
	v.After(1, func() { ran++ })
	v.After(1, func() { ran++ })
	if self.Stop() || later.Stop() {
		t.Error("a timer stopped an event that was not its own")
	}
	must(t, v.Drain())
	if ran != 3 {
		t.Errorf("%d events ran, want 3", ran)
	}
}

func TestVirtualRunUntil(t *testing.T) {
	v := newVirtual(t)
	var got []qnet.Time
	for i := range 5 {
		v.At(qnet.Time(10*i), func() { got = append(got, v.Now()) })
	}
	must(t, v.RunUntil(20))
	if !slices.Equal(got, []qnet.Time{0, 10, 20}) || v.Now() != 20 {
		t.Errorf("ran %v until %d", got, v.Now())
	}
	must(t, v.RunUntil(5)) // the clock does not go back
	must(t, v.RunFor(7))
	if v.Now() != 27 || v.Pending() != 2 {
		t.Errorf("now %d with %d pending, want 27 with 2", v.Now(), v.Pending())
	}
	if !v.Step() || v.Now() != 30 || !v.Step() || v.Step() {
		t.Errorf("two steps were left, now %d", v.Now())
	}
	v.At(50, func() {
		wantCode(t, v.Run(), qnet.ErrInvalid)
		wantCode(t, v.Close(), qnet.ErrInvalid)
		if v.Step() {
			t.Error("an event made a step")
		}
	})
	must(t, v.Run()) // no applications: nothing to do
	if v.Pending() != 1 {
		t.Error("Run ran an event that no application waits for")
	}
	must(t, v.Drain())
}

func TestVirtualAllocs(t *testing.T) {
	v := newVirtual(t)
	n := 0
	f := func() { n++ }
	for range 1000 {
		v.After(time.Duration(n%97), f)
	}
	// One event runs, one is scheduled, one is scheduled and stopped.
	got := testing.AllocsPerRun(100_000, func() {
		v.Step()
		v.After(time.Duration(n%97), f)
		v.After(50, f).Stop()
	})
	if got != 0 || v.Pending() != 1000 {
		t.Errorf("%v allocations per event, %d pending; want 0, 1000", got, v.Pending())
	}
}

func TestVirtualApplications(t *testing.T) {
	v := newVirtual(t)
	var got []string
	log := func(format string, args ...any) {
		got = append(got, fmt.Sprintf("%d ", v.Now())+fmt.Sprintf(format, args...))
	}
	w := v.NewWaiter()
	v.Go("consumer", func() {
		for range 2 {
			must(t, w.Wait(background))
			log("woken")
		}
	})
	v.Go("producer", func() {
		must(t, event.Sleep(background, v, 5))
		log("wake")
		w.Wake()
		w.Wake() // before it has resumed: counts as one
		v.After(0, func() { log("event") })
		must(t, event.Sleep(background, v, 0)) // lets others go first
		log("sleep")
		must(t, event.Sleep(background, v, 5))
		v.Go("late", func() { log("late") })
		v.Post(func() { log("posted") })
		w.Wake()
		log("end")
	})
	must(t, v.Run())
	must(t, v.Drain()) // what was posted by the last of them
	want := []string{"5 wake", "5 woken", "5 event", "5 sleep", "10 end", "10 woken", "10 late", "10 posted"}
	if !slices.Equal(got, want) {
		t.Errorf("order is\n%q, want\n%q", got, want)
	}
}

func TestVirtualWakeBeforeWait(t *testing.T) {
	v := newVirtual(t)
	w := v.NewWaiter()
	w.Wake()
	w.Wake()
	v.Go("app", func() {
		ctx, cancel := context.WithCancel(background)
		cancel()
		must(t, w.Wait(ctx)) // the wake counts, though ctx is done
		wantCode(t, w.Wait(ctx), qnet.ErrCancelled)

		// Its context ends first, then comes a wake, then it resumes.
		ctx, cancel = context.WithCancel(background)
		v.After(1, func() {
			cancel()
			v.After(0, w.Wake)
		})
		must(t, w.Wait(ctx))
		ctx, cancel = event.WithTimeout(background, v, 0)
		defer cancel()
		wantCode(t, w.Wait(ctx), qnet.ErrTimeout)
	})
	must(t, v.Run())
}

// TestVirtualDeterminism runs producers and consumers that compete for the same
// instants, with time-outs and cancellation, and wants one trace whatever the
// number of processors.
func TestVirtualDeterminism(t *testing.T) {
	run := func() string {
		v := newVirtual(t)
		var trace bytes.Buffer
		log := func(format string, args ...any) {
			fmt.Fprintf(&trace, "%d ", v.Now())
			fmt.Fprintf(&trace, format+"\n", args...)
		}
		const pairs = 8
		root, stop := context.WithCancel(background)
		var queue [pairs]int
		var space [pairs]event.Waiter
		for i := range pairs {
			space[i] = v.NewWaiter()
			rng := qnet.NewRand(7, fmt.Sprint("test/", i))
			v.Go(fmt.Sprint("producer", i), func() {
				for j := range 200 {
					must(t, event.Sleep(background, v, time.Duration(rng.IntN(4))))
					queue[i]++
					log("%d makes %d", i, j)
					space[i].Wake()
					if rng.IntN(50) == 0 {
						v.Go("helper", func() { log("helper of %d", i) })
					}
				}
			})
			v.Go(fmt.Sprint("consumer", i), func() {
				for {
					for queue[i] > 0 {
						queue[i]--
					}
					ctx, cancel := event.WithTimeout(root, v, time.Duration(1+rng.IntN(3)))
					child, cancelChild := context.WithCancel(ctx)
					if rng.IntN(3) == 0 {
						v.After(time.Duration(rng.IntN(3)), cancelChild)
					}
					err := space[i].Wait(child)
					cancelChild()
					cancel()
					log("%d wakes: %v", i, err)
					if root.Err() != nil {
						return
					}
				}
			})
		}
		v.Go("end", func() {
			must(t, event.Sleep(background, v, 300))
			log("stop")
			stop()
		})
		must(t, v.Run())
		fmt.Fprintln(&trace, v.Events())
		return trace.String()
	}
	var want string
	for _, procs := range []int{1, 2, 8} {
		t.Run(fmt.Sprint("procs=", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			for range 3 {
				got := run()
				if want == "" {
					want = got
				}
				if got != want {
					t.Fatal("the trace differs from the first one")
				}
			}
		})
	}
	for _, what := range []string{"timed out", "context canceled", "<nil>", "helper"} {
		if !strings.Contains(want, what) {
			t.Errorf("the trace has no %q: the test shows too little", what)
		}
	}
}

// TestVirtualBaton has applications and events count without a lock: the race
// detector and the sum tell if two ever run at once.
func TestVirtualBaton(t *testing.T) {
	v := newVirtual(t)
	n := 0
	for range 10 {
		v.Go("app", func() {
			for range 100 {
				n++
				v.After(1, func() { n++ })
				must(t, event.Sleep(background, v, 1))
			}
		})
	}
	must(t, v.Run())
	must(t, v.Drain())
	if n != 2000 {
		t.Errorf("counted %d, want 2000", n)
	}
}

func TestVirtualPostFromOutside(t *testing.T) {
	v := newVirtual(t)
	const posters, each = 4, 1000
	var next [posters]int
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				v.Post(func() {
					if next[p] != i {
						t.Errorf("post %d of %d came as number %d", i, p, next[p])
					}
					next[p]++
				})
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for posting := true; posting; {
		select {
		case <-done:
			posting = false
		default:
		}
		must(t, v.Drain())
	}
	for p, n := range next {
		if n != each {
			t.Errorf("%d of %d posts of %d ran", n, each, p)
		}
	}
}

func TestVirtualDeadlock(t *testing.T) {
	v := newVirtual(t)
	w := v.NewWaiter()
	wait := func() { wantCode(t, w.Wait(background), qnet.ErrClosed) }
	v.Go("alice", wait)
	alice := here(-1)
	group{v}.Go("bob", func() { wantCode(t, v.NewWaiter().Wait(t.Context()), qnet.ErrClosed) })
	bob := here(-1)
	v.Go("carol", func() { must(t, event.Sleep(background, v, 1500*time.Millisecond)) })
	err := v.Run()
	wantCode(t, err, qnet.ErrInternal)
	wantText(t, err, `event: deadlock at 1.5s: no event is left and nothing can wake "alice" (started at %s), "bob" (started at %s); each wait needs a deadline`, alice, bob)
	// It is no error to run up to an instant while they wait.
	must(t, v.RunFor(time.Second))
	must(t, v.Drain())
}

// group wraps Go, as a node does.
type group struct{ event.Loop }

func (g group) Go(name string, f func()) { g.Loop.Go(name, f) }

func TestVirtualBlocked(t *testing.T) {
	v := newVirtual(t)
	v.Patience = 30 * time.Millisecond
	block := make(chan struct{})
	v.Go("fine", func() { wantCode(t, event.Sleep(background, v, time.Hour), qnet.ErrClosed) })
	v.Go("alice", func() {
		event.Sleep(background, v, time.Second)
		<-block
		wantCode(t, event.Sleep(background, v, 1), qnet.ErrClosed)
	})
	alice := here(-5)
	began := time.Now()
	err := v.Run()
	if d := time.Since(began); d < v.Patience {
		t.Errorf("patience of %v ended after %v", v.Patience, d)
	}
	wantCode(t, err, qnet.ErrInvalid)
	wantText(t, err, `event: application "alice" (started at %s) has kept the loop of virtual time for 30ms: it blocks outside of the loop (on a channel, a lock, a sleep, I/O) or computes; let it wait by qnet's own calls only, or raise Virtual.Patience`, alice)
	if again := v.Run(); again != err {
		t.Errorf("then Run returns %v", again)
	}
	if v.Step() {
		t.Error("Step runs on")
	}
	if again := v.Close(); again == nil || again.Error() != err.Error() {
		t.Errorf("Close returns %v", again)
	}
	close(block)
	v.Patience = event.DefaultPatience
}

// TestVirtualPatience wants long-running applications to be left alone as long
// as each turn is short.
func TestVirtualPatience(t *testing.T) {
	v := newVirtual(t)
	v.Patience = 100 * time.Millisecond
	v.Go("app", func() {
		for began := time.Now(); time.Since(began) < 2*v.Patience; {
			must(t, event.Sleep(background, v, 1))
		}
	})
	must(t, v.Run())
}

func TestVirtualWallClockDeadline(t *testing.T) {
	v := newVirtual(t)
	v.Go("alice", func() {
		w := v.NewWaiter()
		ctx, cancel := context.WithTimeout(background, time.Hour)
		defer cancel()
		const text = `event: application "alice" (started at %s) waits at %s with a context that has a wall-clock deadline, which means nothing in virtual time: make it with event.WithTimeout or WithDeadline`
		alice := here(-5)
		err := w.Wait(ctx)
		wantCode(t, err, qnet.ErrInvalid)
		wantText(t, err, text, alice, here(-2))
		// The loop's own deadline does not hide it.
		ctx, cancel = event.WithTimeout(ctx, v, 1)
		defer cancel()
		wantText(t, w.Wait(ctx), text, alice, here(0))
	})
	must(t, v.Run())
}

func TestVirtualWaitOutside(t *testing.T) {
	v := newVirtual(t)
	w := v.NewWaiter()
	const text = `event: wait at %s on a goroutine that the loop did not start: in virtual time only applications started with Loop.Go may wait`
	err := w.Wait(background)
	wantCode(t, err, qnet.ErrInvalid)
	wantText(t, err, text, here(-2))
	_, err = event.Call(background, v, func(func(int)) { t.Error("it started all the same") })
	wantText(t, err, text, here(-1))
	wantText(t, event.Sleep(background, v, 1), text, here(0))
	v.Post(func() { wantText(t, w.Wait(background), text, here(0)) })
	v.Go("app", func() {
		var wg sync.WaitGroup
		wg.Go(func() {
			wantText(t, w.Wait(background), text, here(0))
			wantText(t, event.Sleep(background, v, 1), text, here(0))
		})
		wg.Wait()
		must(t, event.Sleep(background, v, 1)) // it may itself
	})
	must(t, v.Run())
	if v.Pending() != 0 {
		t.Errorf("%d events are left", v.Pending())
	}
	other := newVirtual(t) // an application of another loop
	other.Go("app", func() { wantText(t, w.Wait(background), text, here(0)) })
	must(t, other.Run())
}

func TestVirtualOneWaiterEach(t *testing.T) {
	v := newVirtual(t)
	w := v.NewWaiter()
	v.Go("alice", func() { must(t, w.Wait(background)) })
	alice := here(-1)
	v.Go("bob", func() {
		bob := here(-1)
		err := w.Wait(background)
		wantCode(t, err, qnet.ErrInvalid)
		wantText(t, err, `event: application "bob" (started at %s) waits at %s where application "alice" (started at %s) waits already`, bob, here(-2), alice)
		w.Wake()
	})
	must(t, v.Run())
}

func TestVirtualClose(t *testing.T) {
	v := event.NewVirtual()
	var order []int
	for i := range 3 {
		v.Go("app", func() {
			err := event.Sleep(background, v, time.Duration(10-i))
			wantCode(t, err, qnet.ErrClosed)
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%v is not net.ErrClosed", err)
			}
			order = append(order, i)
			// What it still tries comes to nothing.
			v.After(1, func() { t.Error("ran") })
			v.Go("late", func() { t.Error("ran") })
			_, err = event.Call(background, v, func(func(int)) { t.Error("ran") })
			wantCode(t, err, qnet.ErrClosed)
			ctx, cancel := event.WithTimeout(background, v, 1)
			defer cancel()
			wantCode(t, v.NewWaiter().Wait(ctx), qnet.ErrClosed)
		})
	}
	must(t, v.RunFor(1))
	v.Go("never begun", func() { t.Error("ran") })
	v.Post(func() { t.Error("ran") })
	timer := v.After(1, func() { t.Error("ran") })
	must(t, v.Close())
	if !slices.Equal(order, []int{0, 1, 2}) {
		t.Errorf("applications ended in order %v", order)
	}
	if v.Post(func() {}) || timer.Stop() || v.Pending() != 0 {
		t.Error("the closed loop takes or keeps events")
	}
	wantCode(t, v.Run(), qnet.ErrClosed)
	wantCode(t, v.RunFor(1), qnet.ErrClosed)
	wantCode(t, v.Drain(), qnet.ErrClosed)
	must(t, v.Close())
}

func TestVirtualEventPanics(t *testing.T) {
	v := newVirtual(t)
	v.Post(func() { panic("in the event") })
	func() {
		defer func() {
			if p := recover(); p != "in the event" {
				t.Errorf("Run let %v through", p)
			}
		}()
		v.Drain()
	}()
	must(t, v.RunFor(1)) // and it can go on
}

func TestVirtualApplicationPanics(t *testing.T) {
	const env = "QNET_TEST_PANIC"
	if os.Getenv(env) != "" {
		v := event.NewVirtual()
		v.Go("app", func() {
			event.Sleep(background, v, 1)
			panic("in the application")
		})
		v.Run()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestVirtualApplicationPanics$")
	cmd.Env = append(os.Environ(), env+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("panic: in the application")) || !bytes.Contains(out, []byte("virtual_test.go")) {
		t.Errorf("the process ended with %v and said\n%s", err, out)
	}
}

func TestVirtualApplicationExits(t *testing.T) {
	v := newVirtual(t)
	v.Go("app", func() {
		event.Sleep(background, v, 1)
		runtime.Goexit() // as testing.T.FailNow does
	})
	must(t, v.Run())
	if v.Now() != 1 {
		t.Errorf("ended at %d", v.Now())
	}
}
