package oracle

import (
	"time"

	"qstack/physical"
	"qstack/physical/fabric"
	"qstack/qnet"
	"qstack/qnet/control"
	"qstack/qnet/event"
	"qstack/qnet/wire"
)

// MaxQuestions is the largest number of questions without an answer.
const MaxQuestions = 1024

// openTimeout bounds the wait for the fabric's first message.
const openTimeout = 2 * time.Second

// Client asks a fabric in another process. It opens its stream with the first
// question and again with the first after a loss. It is used on its loop, and
// every question is answered once, if only by an error: one with the fabric's
// code, or with qnet.ErrUnavail when the stream can not be had or is lost.
type Client struct {
	fabric qnet.NodeID
	name   string
	ep     control.Endpoint
	loop   event.Scheduler

	stream  control.Stream // nil: none
	timer   event.Timer    // until the fabric's first message
	ready   bool
	number  uint32 // of the fabric
	next    uint64 // number of the next question
	waiting []question
	in      Answer
}

// question is one without an answer.
type question struct {
	Question
	qubits []physical.Qubit
	rows   []Allocation // so far
	done   func(*Answer, []Allocation, error)
}

// NewClient returns a client for the fabric of that identity, called name in
// errors, which the endpoint must be able to reach.
func NewClient(fabric qnet.NodeID, name string, ep control.Endpoint, loop event.Scheduler) *Client {
	c := &Client{fabric: fabric, name: name, ep: ep, loop: loop}
	ep.Handle(wire.ServiceOracle, (*clientReceiver)(c))
	return c
}

// Allocation is a qubit that is not free, as the observer sees it.
type Allocation struct {
	Node  qnet.NodeID
	Qubit physical.Qubit
	Use   fabric.Use
	Link  physical.LinkID // 0 for storage
	Lane  uint32
	Since qnet.Time
	// Cluster is 0 for a qubit without a state, and the same for all qubits that
	// share one.
	Cluster uint32
}

// Ledger asks for all qubits that are not free.
func (c *Client) Ledger(done func(at qnet.Time, list []Allocation, err error)) {
	c.ask(question{Question: Question{Kind: AskLedger}, done: func(a *Answer, list []Allocation, err error) {
		done(a.At, list, err)
	}})
}

// BellFidelity asks for the fidelity of two qubits to a Bell state.
func (c *Client) BellFidelity(a, b physical.Qubit, l qnet.BellLabel, done func(at qnet.Time, f float64, err error)) {
	q := question{Question: Question{Kind: AskFidelity, Label: l & 3}, qubits: []physical.Qubit{a, b}}
	q.done = func(a *Answer, _ []Allocation, err error) {
		if err == nil {
			err = c.expect(a, 1)
		}
		if err != nil {
			done(a.At, 0, err)
			return
		}
		done(a.At, a.Values[0], nil)
	}
	c.ask(q)
}

// Density asks for the joint density matrix of up to MaxQubits qubits, by rows,
// the first qubit most significant.
func (c *Client) Density(qs []physical.Qubit, done func(at qnet.Time, rho []complex128, err error)) {
	q := question{Question: Question{Kind: AskDensity}, qubits: qs}
	q.done = func(a *Answer, _ []Allocation, err error) {
		if err == nil {
			err = c.expect(a, 2<<(2*len(qs)))
		}
		if err != nil {
			done(a.At, nil, err)
			return
		}
		rho := make([]complex128, len(a.Values)/2)
		for i := range rho {
			rho[i] = complex(a.Values[2*i], a.Values[2*i+1])
		}
		done(a.At, rho, nil)
	}
	c.ask(q)
}

// expect returns an error unless the answer has so many numbers.
func (c *Client) expect(a *Answer, values int) error {
	if len(a.Values) != values {
		return qnet.Errorf(qnet.ErrProtocol, "fabric %s answered with %d numbers, want %d", c.name, len(a.Values), values)
	}
	return nil
}

// ask sends a question, now or when the stream is open.
func (c *Client) ask(q question) {
	refuse := func(err error) { c.loop.After(0, func() { q.done(new(Answer), nil, err) }) }
	switch {
	case len(q.qubits) > MaxQubits:
		refuse(qnet.Errorf(qnet.ErrTooLarge, "question about %d qubits: ask for %d at most", len(q.qubits), MaxQubits))
		return
	case len(c.waiting) == MaxQuestions:
		refuse(qnet.Errorf(qnet.ErrBusy, "%d questions wait for an answer: await some first", MaxQuestions))
		return
	}
	if c.stream == nil {
		s, err := c.ep.Open(c.fabric, &Observe{Version: Version}, (*streamHandler)(c))
		if err != nil {
			refuse(c.unavailable(err))
			return
		}
		c.stream, c.ready = s, false
		c.timer = c.loop.After(openTimeout, func() {
			c.lose(c.unavailable(qnet.Errorf(qnet.ErrTimeout, "no answer for %v", openTimeout)))
		})
	}
	c.next++
	q.Number = c.next
	for _, p := range q.qubits {
		q.Qubits = append(q.Qubits, Place{p.Index, p.Generation})
	}
	c.waiting = append(c.waiting, q)
	if c.ready {
		c.send(len(c.waiting) - 1)
	}
}

// send sends the question at position i, or answers it if it is about a fabric
// that is no more.
func (c *Client) send(i int) {
	q := &c.waiting[i]
	for _, p := range q.qubits {
		if p.Fabric != c.number {
			q.Kind, q.Qubits = AskFidelity, nil // keeps its place among the answers
			done := q.done
			q.done = func(a *Answer, _ []Allocation, _ error) {
				done(a, nil, qnet.Errorf(qnet.ErrRestarted, "%v is not of this fabric: it restarted, and the qubits of before are gone", p))
			}
			break
		}
	}
	c.stream.Send(&q.Question)
}

// unavailable says that the fabric can not be asked.
func (c *Client) unavailable(why error) error {
	code := qnet.ErrUnavail
	if qnet.CodeOf(why) == qnet.ErrAuth {
		code = qnet.ErrAuth
	}
	return qnet.Errorf(code, "fabric %s can not be asked for states: %v", c.name, why)
}

// lose answers all questions by an error; the stream is over.
func (c *Client) lose(err error) {
	if c.stream != nil {
		c.stream.Close(qnet.OK)
	}
	c.timer.Stop()
	waiting := c.waiting
	c.stream, c.waiting, c.ready = nil, nil, false
	for i := range waiting {
		waiting[i].done(new(Answer), nil, err)
	}
}

// Close ends the stream. Questions without an answer fail with qnet.ErrClosed.
func (c *Client) Close() { c.lose(qnet.ErrClosed) }

// clientReceiver is what a Client shows to its endpoint.
type clientReceiver Client

func (*clientReceiver) Accept(control.Stream, []byte) control.StreamHandler { return nil }
func (*clientReceiver) PeerUp(qnet.NodeID)                                  {}
func (*clientReceiver) PeerDown(qnet.NodeID, error)                         {}
func (*clientReceiver) Datagram(qnet.NodeID, []byte)                        {}

// streamHandler is what a Client shows to its stream.
type streamHandler Client

func (h *streamHandler) Closed(s control.Stream, err error) {
	c := (*Client)(h)
	if s != c.stream {
		return
	}
	c.stream = nil
	if err == nil {
		err = qnet.Errorf(qnet.ErrUnavail, "it closed the stream")
	}
	c.lose(c.unavailable(err))
}

func (h *streamHandler) Message(s control.Stream, b []byte) {
	c := (*Client)(h)
	if s != c.stream {
		return
	}
	if err := c.message(b); err != nil && s == c.stream {
		c.lose(c.unavailable(err))
	}
}

// message takes a message of the fabric.
func (c *Client) message(b []byte) error {
	if !c.ready {
		var m Observing
		if err := wire.Parse(b, &m); err != nil {
			return err
		}
		c.timer.Stop()
		c.ready, c.number = true, m.Fabric
		for i := range c.waiting {
			c.send(i)
		}
		return nil
	}
	m := &c.in
	if err := wire.Parse(b, m); err != nil {
		return err
	}
	if len(c.waiting) == 0 || m.Number != c.waiting[0].Number {
		return qnet.Errorf(qnet.ErrProtocol, "it answered a question that was not the next: %d", m.Number)
	}
	q := &c.waiting[0]
	for _, r := range m.Rows {
		q.rows = append(q.rows, Allocation{Node: r.Node, Qubit: physical.Qubit{Fabric: c.number, Index: r.Index, Generation: r.Generation},
			Use: r.Use, Link: r.Link, Lane: r.Lane, Since: r.Since, Cluster: r.Cluster})
	}
	if m.More {
		return nil
	}
	done, rows := q.done, q.rows
	c.waiting = c.waiting[1:]
	var err error
	if m.Code != qnet.OK {
		err = qnet.Errorf(m.Code, "fabric %s: %s", c.name, m.Text)
	}
	done(m, rows, err)
	return nil
}
