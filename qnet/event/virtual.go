package event

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"qstack/qnet"
)

// DefaultPatience is the Patience of a new Virtual.
const DefaultPatience = 30 * time.Second

// Virtual is a discrete-event loop: its clock stands still while an event or an
// application runs, and jumps to the next event when all is done at an instant.
// The same program gives the same order of events on any number of processors.
//
// The loop runs on the goroutine that calls one of the Run methods; between
// these calls it is paused, and that goroutine may use it as an event would.
// Applications run on goroutines of their own, but never at the same time as
// the loop or each other: the loop hands the baton to one of them and waits
// until that one parks in Waiter.Wait or returns. An application must neither
// block outside of its loop's waiters nor use the loop from further goroutines.
// Only Post, Go and the cancel functions of contexts may be called from
// anywhere; what comes from goroutines that do not belong to the loop comes in no
// reproducible order.
//
// Woken applications resume at the instant of the wake, in the order of the
// wakes, among the other events of that instant. A posted function becomes an
// event when the event or application that posted it is done. A context that is
// done, by whatever means, releases the applications waiting with it at the same
// point, in the order in which they began to wait.
//
// A panic of an event passes through the Run method. A panic of an application
// ends the process, as that of any goroutine does.
type Virtual struct {
	// Patience is how long by the wall clock an application may keep the baton
	// before it is taken to be blocked outside of the loop's waiters. 0 or less
	// means for ever. It may be changed while the loop is paused.
	Patience time.Duration

	queue  queue
	now    qnet.Time
	events uint64

	running atomic.Bool   // one of the Run methods is active
	failure error         // why the loop can not go on
	holder  *application  // has the baton; nil while the loop itself runs
	back    chan signal   // to the loop, while it waits for the holder
	dogQuit chan struct{} // stops the watchdog; nil if there is none
	dogDone chan struct{}

	live    atomic.Int64   // applications accepted by Go that have not returned
	apps    []*application // of these, the ones that have begun; in no order
	begun   uint64         // applications ever begun
	parks   uint64         // number of times that one parked
	watched []watched      // what may release parked ones without the loop's doing
	recheck bool           // the context of a parked one may be done

	posted atomic.Bool // inbox or cancelled has something
	spare  []func()    // empty, to take the place of inbox

	mu        sync.Mutex // guards the rest
	closed    bool       // set by the loop only, which may read it without mu
	inbox     []func()
	cancelled []*deadline
}

// application is one goroutine started by Go.
type application struct {
	v      *Virtual
	name   string
	site   string // where Go was called
	began  uint64 // order of beginning
	resume chan struct{}
	run    func() // hands the baton over

	parked bool // waits, and nothing has released it yet
	order  uint64
	ctx    context.Context
	err    error // what Wait is to return
}

// signal is what the loop hears while an application has the baton.
type signal uint8

const (
	parked   signal = iota // it waits
	returned               // it has ended
	tick                   // some time has passed
)

// watched is a channel of a context that does not belong to the loop.
type watched struct {
	done <-chan struct{}
	n    int // parked applications that depend on it
}

// NewVirtual returns a loop at instant 0.
func NewVirtual() *Virtual {
	return &Virtual{Patience: DefaultPatience, back: make(chan signal)}
}

// Now returns the instant of the event being run.
func (v *Virtual) Now() qnet.Time { return v.now }

// At implements Scheduler.
func (v *Virtual) At(t qnet.Time, f func()) Timer {
	if t == qnet.Never || v.closed {
		return Timer{}
	}
	return v.queue.push(max(t, v.now), f)
}

// After implements Scheduler.
func (v *Virtual) After(d time.Duration, f func()) Timer {
	return v.At(v.now.Add(d), f)
}

// Virtual returns true.
func (v *Virtual) Virtual() bool { return true }

// Events returns the number of events that have been run, counting each time
// that an application began or resumed.
func (v *Virtual) Events() uint64 { return v.events }

// Pending returns the number of events that are scheduled.
func (v *Virtual) Pending() int { return len(v.queue.heap) }

// Post implements Loop.
func (v *Virtual) Post(f func()) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	v.inbox = append(v.inbox, f)
	v.posted.Store(true)
	return true
}

// Go implements Loop.
func (v *Virtual) Go(name string, f func()) {
	a := &application{v: v, name: name, site: goSite(), resume: make(chan struct{})}
	a.run = func() {
		v.holder = a
		a.resume <- struct{}{}
		v.await()
	}
	v.live.Add(1)
	if !v.Post(func() { v.begin(a, f) }) {
		v.live.Add(-1)
	}
}

// Run runs until every application has returned. If no event is left while
// applications wait, it returns an error that names them and where they were
// started.
func (v *Virtual) Run() error {
	if err := v.enter(); err != nil {
		return err
	}
	defer v.leave()
	for v.failure == nil {
		v.settle()
		if v.live.Load() == 0 {
			return nil
		}
		if !v.step() {
			return v.deadlock()
		}
	}
	return v.failure
}

// RunUntil runs everything up to and including instant t, and leaves the clock
// there. That applications wait for ever is not an error.
func (v *Virtual) RunUntil(t qnet.Time) error {
	if err := v.enter(); err != nil {
		return err
	}
	defer v.leave()
	for v.failure == nil {
		v.settle()
		if at, ok := v.queue.next(); !ok || at > t {
			v.now = max(v.now, t)
			return nil
		}
		v.step()
	}
	return v.failure
}

// RunFor is RunUntil(Now().Add(d)).
func (v *Virtual) RunFor(d time.Duration) error { return v.RunUntil(v.now.Add(d)) }

// Drain runs until no event is left. It does not end while events go on
// scheduling others. That applications wait for ever is not an error.
func (v *Virtual) Drain() error {
	if err := v.enter(); err != nil {
		return err
	}
	defer v.leave()
	for v.failure == nil {
		v.settle()
		if !v.step() {
			return nil
		}
	}
	return v.failure
}

// Step runs the next event and reports whether there was one.
func (v *Virtual) Step() bool {
	if v.enter() != nil {
		return false
	}
	defer v.leave()
	v.settle()
	return v.step()
}

// Close ends the loop: events are dropped, and applications that wait get
// qnet.ErrClosed, one after the other in the order in which they began, and run
// until they return. If one does not, Close returns an error that names it, and
// may be called again.
func (v *Virtual) Close() error {
	if !v.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer v.leave()
	v.failure = nil
	if v.holder != nil { // it was blocked elsewhere, and may use the loop when it no longer is
		v.await()
	}
	if v.failure != nil {
		return v.failure
	}
	v.mu.Lock()
	v.closed = true
	v.inbox, v.cancelled = nil, nil
	v.mu.Unlock()
	v.queue.clear()
	for len(v.apps) > 0 && v.failure == nil {
		a := slices.MinFunc(v.apps, byBegin)
		if a.parked {
			v.unpark(a)
			a.err = errClosed
		}
		a.run()
	}
	if v.failure != nil {
		return v.failure
	}
	v.live.Store(0)
	v.failure = errClosed
	return nil
}

var (
	errClosed  = qnet.Errorf(qnet.ErrClosed, "event: the loop is closed")
	errRunning = qnet.Errorf(qnet.ErrInvalid, "event: the loop is running: it can not be run or closed by one of its own events or applications, nor by two goroutines at once")
)

// enter claims the loop for a Run method.
func (v *Virtual) enter() error {
	if !v.running.CompareAndSwap(false, true) {
		return errRunning
	}
	if v.failure != nil {
		v.running.Store(false)
	}
	return v.failure
}

func (v *Virtual) leave() {
	if v.dogQuit != nil {
		close(v.dogQuit)
		<-v.dogDone
		v.dogQuit = nil
	}
	v.running.Store(false)
}

// settle makes events of all that has happened since the last event without
// being scheduled: posts, and contexts that are done.
func (v *Virtual) settle() {
	if v.posted.Load() {
		v.collect()
	}
	for _, w := range v.watched {
		select {
		case <-w.done:
			v.recheck = true
		default:
		}
	}
	if v.recheck {
		v.recheck = false
		v.releaseDone()
	}
}

// collect empties the inbox and takes back the timers of cancelled contexts.
func (v *Virtual) collect() {
	v.mu.Lock()
	inbox, cancelled := v.inbox, v.cancelled
	v.inbox, v.spare, v.cancelled = v.spare, nil, nil
	v.posted.Store(false)
	v.mu.Unlock()
	for i, f := range inbox {
		v.queue.push(v.now, f)
		inbox[i] = nil
	}
	v.spare = inbox[:0]
	for _, d := range cancelled {
		d.timer.Stop()
		v.recheck = v.recheck || d.waiting > 0
	}
}

// step runs the next event, if there is one.
func (v *Virtual) step() bool {
	if len(v.queue.heap) == 0 {
		return false
	}
	t, f := v.queue.pop()
	v.now = t
	v.events++
	f()
	return true
}

// begin starts the goroutine of a.
func (v *Virtual) begin(a *application, f func()) {
	v.begun++
	a.began = v.begun
	v.apps = append(v.apps, a)
	v.holder = a
	go a.main(f)
	v.await()
}

// main is the goroutine of an application.
func (a *application) main(f func()) {
	debug.SetPanicOnFault(true) // see isApplication
	defer func() {
		if p := recover(); p != nil {
			panic(p) // the baton stays here, so that nothing happens before the process ends
		}
		a.v.back <- returned // also after runtime.Goexit, as from testing.T.FailNow
	}()
	f()
}

// await waits until the holder of the baton parks or returns. If that takes too
// long, the loop has failed.
func (v *Virtual) await() {
	if v.dogQuit == nil && v.Patience > 0 {
		v.dogQuit, v.dogDone = make(chan struct{}), make(chan struct{})
		go v.watch(v.Patience/8, v.dogQuit, v.dogDone)
	}
	a := v.holder
	var since time.Time
	for {
		switch <-v.back {
		case returned:
			i := slices.Index(v.apps, a)
			v.apps[i] = v.apps[len(v.apps)-1]
			v.apps = slices.Delete(v.apps, len(v.apps)-1, len(v.apps))
			v.live.Add(-1)
			v.holder = nil
			return
		case parked:
			v.holder = nil
			return
		case tick:
			if since.IsZero() {
				since = time.Now()
			} else if time.Since(since) >= v.Patience {
				v.failure = qnet.Errorf(qnet.ErrInvalid, "event: application %v has kept the loop of virtual time for %v: it blocks outside of the loop (on a channel, a lock, a sleep, I/O) or computes; let it wait by qnet's own calls only, or raise Virtual.Patience", a, v.Patience)
				return
			}
		}
	}
}

// watch sends ticks to the loop whenever it waits for the holder of the baton.
func (v *Virtual) watch(period time.Duration, quit, done chan struct{}) {
	defer close(done)
	t := time.NewTicker(max(period, 1))
	defer t.Stop()
	for {
		select {
		case <-quit:
			return
		case <-t.C:
		}
		select {
		case v.back <- tick:
		default:
		}
	}
}

// deadlock returns the error that nothing will ever wake the applications.
func (v *Virtual) deadlock() error {
	slices.SortFunc(v.apps, byBegin)
	var b strings.Builder
	for i, a := range v.apps {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return qnet.Errorf(qnet.ErrInternal, "event: deadlock at %v: no event is left and nothing can wake %s; each wait needs a deadline", v.now, &b)
}

func byBegin(a, b *application) int { return cmp.Compare(a.began, b.began) }

// String names a in diagnostics.
func (a *application) String() string {
	return fmt.Sprintf("%q (started at %s)", a.name, a.site)
}

// virtualWaiter is a place for one application to park.
type virtualWaiter struct {
	v     *Virtual
	app   *application // that is in Wait
	woken bool         // while none was
}

// NewWaiter implements Loop.
func (v *Virtual) NewWaiter() Waiter { return &virtualWaiter{v: v} }

// Wait implements Waiter.
func (w *virtualWaiter) Wait(ctx context.Context) error {
	a, err := w.v.application()
	if err != nil {
		return err
	}
	if w.app != nil {
		return qnet.Errorf(qnet.ErrInvalid, "event: application %v waits at %s where application %v waits already", a, waitSite(), w.app)
	}
	if _, ok := ctx.Deadline(); ok {
		return qnet.Errorf(qnet.ErrInvalid, "event: application %v waits at %s with a context that has a wall-clock deadline, which means nothing in virtual time: make it with event.WithTimeout or WithDeadline", a, waitSite())
	}
	switch {
	case w.woken:
		w.woken = false
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case w.v.closed:
		return errClosed
	}
	w.app = a
	w.v.park(a, ctx)
	w.app = nil
	return a.err
}

// application returns the application that calls it.
func (v *Virtual) application() (*application, error) {
	if !isApplication() || v.holder == nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "event: wait at %s on a goroutine that the loop did not start: in virtual time only applications started with Loop.Go may wait", waitSite())
	}
	return v.holder, nil
}

func (v *Virtual) sleep(ctx context.Context, d time.Duration) error {
	if _, err := v.application(); err != nil {
		return err
	}
	w := virtualWaiter{v: v}
	timer := v.After(d, w.Wake)
	defer timer.Stop()
	return w.Wait(ctx)
}

// Wake implements Waiter.
func (w *virtualWaiter) Wake() {
	a := w.app
	switch {
	case a == nil:
		w.woken = true
	case a.parked:
		w.v.release(a, nil)
	default: // released, but it has not resumed yet
		a.err = nil
	}
}

// park gives the baton back until something has released a.
func (v *Virtual) park(a *application, ctx context.Context) {
	v.parks++
	a.parked, a.order, a.ctx = true, v.parks, ctx
	v.watchContext(ctx, 1)
	v.back <- parked
	<-a.resume
}

// release schedules a to resume.
func (v *Virtual) release(a *application, err error) {
	v.unpark(a)
	a.err = err
	v.queue.push(v.now, a.run)
}

func (v *Virtual) unpark(a *application) {
	v.watchContext(a.ctx, -1)
	a.parked, a.ctx = false, nil
}

// releaseDone releases the parked applications whose context is done.
func (v *Virtual) releaseDone() {
	var done []*application
	for _, a := range v.apps {
		if a.parked && a.ctx.Err() != nil {
			done = append(done, a)
		}
	}
	slices.SortFunc(done, func(a, b *application) int { return cmp.Compare(a.order, b.order) })
	for _, a := range done {
		v.release(a, context.Cause(a.ctx))
	}
}

// watchContext adds n to the number of parked applications that must be looked at
// when ctx is done. Contexts of the loop itself say so when they are; of others
// the channel is looked at after each event, because the standard library's
// cancellation calls nobody back before it returns. Applications mostly share
// such a channel, if they have any.
func (v *Virtual) watchContext(ctx context.Context, n int) {
	done := ctx.Done()
	if done == nil {
		return
	}
	d, _ := ctx.Value(deadlineKey{v}).(*deadline)
	for ; d != nil && d.Done() == done; d = d.up {
		d.waiting += n
		done = d.parent.Done()
	}
	if done == nil {
		return
	}
	i := slices.IndexFunc(v.watched, func(w watched) bool { return w.done == done })
	if i < 0 {
		i = len(v.watched)
		v.watched = append(v.watched, watched{done: done})
	}
	v.watched[i].n += n
	if v.watched[i].n == 0 {
		v.watched[i] = v.watched[len(v.watched)-1]
		v.watched = slices.Delete(v.watched, len(v.watched)-1, len(v.watched))
	}
}

// isApplication reports whether it is called on a goroutine that an application
// began with, and not, for one, on a goroutine that an application started. The
// runtime tells a goroutine nothing about itself, but it keeps one setting for
// each that new goroutines do not inherit and that no goroutine otherwise needs:
// whether a fault at an address that is not nil, which ends the process anyway,
// is a panic. Finding the goroutine's first function by runtime.Callers takes a
// hundred times as long.
func isApplication() bool {
	if debug.SetPanicOnFault(true) {
		return true
	}
	debug.SetPanicOnFault(false)
	return false
}

// goSite returns where the function was called that started an application.
func goSite() string {
	return callSite(func(fn string) bool { return strings.HasSuffix(fn, ".Go") })
}

// waitSite returns where an application waits.
func waitSite() string {
	return callSite(func(string) bool { return false })
}

// callSite returns file and line of the nearest caller that is neither in this
// package nor named in skip.
func callSite(skip func(function string) bool) string {
	pkg := reflect.TypeFor[Virtual]().PkgPath() + "."
	var pc [32]uintptr
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, pkg) && !skip(f.Function) {
			file := f.File
			if i := strings.LastIndexByte(file, '/'); i > 0 {
				i = strings.LastIndexByte(file[:i], '/')
				file = file[i+1:]
			}
			return fmt.Sprintf("%s:%d", file, f.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}
