package transport_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/event"
	"qstack/qnet/golden"
	"qstack/qnet/wire"
	"qstack/transport"
	"qstack/transport/transporttest"
)

// TestScenarios runs the scripts of testdata.
//
// Commands:
//
//	NODE open PROGRAM            open a session
//	PROGRAM listen PORT [BACKLOG]; unlisten PORT; alloc; gate G A [B]; measure Q BASIS; free Q; flush Q; end
//	CHANNEL dial NODE:PORT [FIDELITY]; accept PORT; keep N; measure N BASIS...; send Q; receive; cancel REF [timeout];
//	        flood; data TEXT; credit N; enddata; close         a CHANNEL is PROGRAM.NAME
//	run DURATION                 let time pass
//	manual                       pairs come by deliver only
//	deliver REQUEST LABEL [NODE] a pair for a request, at both ends or one
//	best FIDELITY                what the path reaches
//	break; cut TEXT              break the streams; take the circuits down
//	fail NODE OP                 the next OP (bsm, gate, alloc) of the node fails
//	inject NODE MESSAGE ARGS     a message that the node would not send
//	rest                         print what is held
//
// #N stands for the sequence number N after the first.
func TestScenarios(t *testing.T) {
	golden.Scripts(t, func(t *testing.T, out *bytes.Buffer) func([]string) error {
		loop := event.NewVirtual()
		t.Cleanup(func() {
			if err := loop.Drain(); err != nil {
				t.Error(err)
			}
			loop.Close()
		})
		sc := &scenario{t: t, loop: loop, out: out, programs: make(map[string]*program), channels: make(map[string]*channel)}
		sc.world = transporttest.New(loop, func(c *transport.Config) {
			c.Posts, c.InFlight, c.Backlog, c.Listeners, c.Channels, c.Sessions, c.Qubits = 6, 3, 2, 2, 20, 3, 8
		}, "alice", "charlie")
		sc.world.Delay = time.Millisecond
		sc.world.PairTime = 100 * time.Microsecond
		sc.world.Log = sc.logf
		return sc.command
	})
}

type scenario struct {
	t        *testing.T
	loop     *event.Virtual
	world    *transporttest.World
	out      *bytes.Buffer
	programs map[string]*program
	channels map[string]*channel
}

type program struct {
	sc      *scenario
	name    string
	session *transport.Session
	ref     uint64 // of the session's last request
	asked   uint64 // ref of the channels' last request
}

type channel struct {
	p    *program
	name string
	ch   *transport.Channel
}

func (p *program) Message(m wire.Message) { p.sc.logf("%s ← %s", p.name, transporttest.Format(m)) }
func (c *channel) Message(m wire.Message) { c.p.sc.logf("%s ← %s", c.name, transporttest.Format(m)) }

func (sc *scenario) logf(format string, args ...any) {
	text := sequence.ReplaceAllStringFunc(fmt.Sprintf(format, args...), func(s string) string {
		return fmt.Sprintf("#%d", number(s)-seqBase)
	})
	fmt.Fprintf(sc.out, "%v %s\n", sc.loop.Now(), text)
}

const seqBase = 1<<32 - 64

// sequence matches numbers near seqBase.
var sequence = regexp.MustCompile(`\b42949672[3-9][0-9]\b`)

func number(s string) uint64 {
	if rest, ok := strings.CutPrefix(s, "#"); ok {
		return seqBase + number(rest)
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func basis(s string) qnet.Basis {
	switch s {
	case "X":
		return qnet.BasisX
	case "Y":
		return qnet.BasisY
	case "Z":
		return qnet.BasisZ
	}
	theta, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return qnet.BasisXZ(theta)
}

func gate(s string) transport.Gate {
	for g := transport.GateX; g <= transport.GateCZ; g++ {
		if g.String() == s {
			return g
		}
	}
	panic("no gate " + s)
}

// command carries out one line.
func (sc *scenario) command(f []string) error {
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	switch f[0] {
	case "run":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			return err
		}
		return sc.loop.RunFor(d)
	case "manual":
		sc.world.Manual = true
		return nil
	case "deliver":
		sc.world.Deliver(arg(3), number(f[1]), qnet.BellLabel(number(f[2])))
		return nil
	case "best":
		v, err := strconv.ParseFloat(f[1], 64)
		sc.world.MaxFidelity = v
		return err
	case "break":
		sc.world.Break()
		return nil
	case "cut":
		sc.world.Cut(qnet.Errorf(qnet.ErrUnavail, "%s", strings.Join(f[1:], " ")))
		return nil
	case "fail":
		kind := map[string]physical.OpKind{"bsm": physical.OpBSM, "gate": physical.OpGate, "alloc": physical.OpAlloc}[f[2]]
		d := sc.world.Node(f[1]).Device
		d.Fail = func(op physical.Op) error {
			if op.Kind != kind {
				return nil
			}
			d.Fail = nil
			return qnet.Errorf(qnet.ErrUnavail, "the fabric is down")
		}
		return nil
	case "inject":
		sc.world.Inject(f[1], sc.message(f[2], f[3:]))
		return nil
	case "rest":
		for _, name := range []string{"alice", "charlie"} {
			sc.logf("%s: %s", name, fields(sc.world.Node(name).Layer.Stats()))
		}
		q, c, s := sc.world.Held()
		sc.logf("world: qubits=%d circuits=%d streams=%d", q, c, s)
		return nil
	}
	if f[1] == "open" {
		p := &program{sc: sc, name: f[2]}
		s, err := sc.world.Node(f[0]).Layer.Open(f[2], p)
		if err != nil {
			sc.logf("%s: %v", f[2], err)
			return nil
		}
		p.session = s
		sc.programs[f[2]] = p
		return nil
	}
	if p := sc.programs[f[0]]; p != nil {
		return sc.sessionCommand(p, f[1], f[2:])
	}
	return sc.channelCommand(f[0], f[1], f[2:])
}

func fields(v any) string { return strings.Trim(fmt.Sprintf("%+v", v), "{}") }

func (sc *scenario) sessionCommand(p *program, verb string, f []string) error {
	p.ref++
	var m wire.Message
	switch verb {
	case "listen":
		l := &transport.Listen{Ref: p.ref, Port: uint16(number(f[0]))}
		if len(f) > 1 {
			l.Backlog = number(f[1])
		}
		m = l
	case "unlisten":
		m = &transport.Unlisten{Ref: p.ref, Port: uint16(number(f[0]))}
	case "alloc":
		m = &transport.Alloc{Ref: p.ref}
	case "gate":
		g := &transport.Operate{Gate: gate(f[0]), A: number(f[1])}
		if len(f) > 2 {
			g.B = number(f[2])
		}
		m = g
	case "measure":
		m = &transport.MeasureQubit{Ref: p.ref, Qubit: number(f[0]), Basis: basis(f[1])}
	case "free":
		m = &transport.FreeQubit{Qubit: number(f[0])}
	case "flush":
		m = &transport.Flush{Ref: p.ref, Qubit: number(f[0])}
	case "ask":
		m = &transport.Ask{Ref: p.ref}
	case "end":
		p.session.End()
		return nil
	default:
		return fmt.Errorf("no command %s", verb)
	}
	if err := p.session.Do(m); err != nil {
		sc.logf("%s: %v", p.name, err)
		p.session.End()
	}
	return nil
}

func (sc *scenario) channelCommand(name, verb string, f []string) error {
	c := sc.channels[name]
	if c == nil {
		p := sc.programs[strings.Split(name, ".")[0]]
		c = &channel{p: p, name: name}
		ch, err := p.session.Channel(c)
		if err != nil {
			sc.logf("%s: %v", name, err)
			return nil
		}
		c.ch = ch
		sc.channels[name] = c
	}
	ask := &transport.Ask{Pairs: 1}
	var m wire.Message = ask
	switch verb {
	case "dial":
		node, port, _ := strings.Cut(f[0], ":")
		d := &transport.Dial{Node: node, Port: uint16(number(port))}
		for i, v := range []*float64{&d.MinFidelity, &d.MinRate} {
			if len(f) > i+1 {
				*v, _ = strconv.ParseFloat(f[i+1], 64)
			}
		}
		m = d
	case "accept":
		m = &transport.Accept{Port: uint16(number(f[0]))}
	case "keep":
		ask.Kind, ask.Pairs = transport.KindKeep, number(f[0])
	case "measure":
		ask.Kind, ask.Pairs = transport.KindMeasure, number(f[0])
		for _, b := range f[1:] {
			ask.Bases.Bases = append(ask.Bases.Bases, basis(b))
		}
	case "send":
		ask.Kind, ask.Qubit = transport.KindSend, number(f[0])
	case "receive":
		ask.Kind = transport.KindReceive
	case "cancel":
		x := &transport.Cancel{Ref: number(f[0]), Code: qnet.ErrCancelled}
		if len(f) > 1 {
			x.Code = qnet.ErrTimeout
		}
		m = x
	case "data":
		m = &transport.Data{Bytes: []byte(strings.Join(f, " "))}
	case "flood":
		m = &transport.Data{Bytes: bytes.Repeat([]byte("x"), transport.MaxData)}
	case "credit":
		m = &transport.Credit{Bytes: number(f[0])}
	case "enddata":
		m = &transport.EndData{}
	case "close":
		c.ch.Close()
		delete(sc.channels, name)
		return nil
	default:
		return fmt.Errorf("no command %s", verb)
	}
	if m == wire.Message(ask) {
		c.p.asked++
		ask.Ref = c.p.asked
	}
	if err := c.ch.Do(m); err != nil {
		sc.logf("%s: %v", name, err)
		c.ch.Close()
	}
	return nil
}

// message makes a message from its name and the values of its first fields.
func (sc *scenario) message(name string, f []string) wire.Message {
	switch name {
	case "Correction":
		return &transport.Correction{Seq: number(f[0]), Pair: number(f[1]), Label: qnet.BellLabel(number(f[2]))}
	case "Received":
		return &transport.Received{Seq: number(f[0])}
	case "Lost":
		return &transport.Lost{Seq: number(f[0]), Text: "made up"}
	case "Match":
		return &transport.Match{ID: number(f[0]), Head: number(f[1]), Tail: number(f[2])}
	case "Post":
		return &transport.Post{Seq: number(f[0]), Pairs: number(f[1])}
	case "Withdraw":
		return &transport.Withdraw{Seq: number(f[0]), Code: qnet.ErrCancelled, Text: "made up"}
	case "Withdrawn":
		return &transport.Withdrawn{Seq: number(f[0])}
	case "Fail":
		return &transport.Fail{Head: number(f[0]), Tail: number(f[1]), Code: qnet.ErrMismatch}
	case "Data":
		return &transport.Data{Bytes: bytes.Repeat([]byte("x"), transport.MaxData)}
	case "Credit":
		return &transport.Credit{Bytes: number(f[0])}
	case "Open":
		return &transport.Open{}
	case "Hello":
		return &transport.Hello{}
	}
	sc.t.Fatalf("no message %s", name)
	return nil
}
