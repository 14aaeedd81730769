package link

import (
	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/wire"
)

// Limits of what a peer can send.
const (
	maxCandidates = 48      // requests that one Gen names
	maxFrame      = 512     // pairs that one BulkReply carries in a datagram, or one LinkExpire voids
	maxWide       = 1 << 15 // pairs that one BulkReply carries on a stream
	maxLanes      = 1 << 12 // lanes of a link
	maxText       = 255     // bytes of an explanation
	fewCandidates = 8       // those of the first Gen of a window
	maxOthers     = 48      // requests that one Gen names beside
	fewOthers     = 8       // those of a Gen with as many candidates as can be, or the first of a window
	maxPoints     = 1 << 10 // operating points of a link
	maxOutcomes   = 64      // test rounds that one Outcomes tells
	saltSize      = 16      // bytes
	maxRate       = 1e12    // pairs per second
)

// Messages returns one of each message type of the layer.
func Messages() []wire.Message {
	return []wire.Message{new(Add), new(AddAck), new(End), new(EndAck), new(Gen), new(Reply),
		new(LinkExpire), new(LinkExpireAck), new(BulkReply), new(BulkAck), new(Mismatch), new(Memory), new(Outcomes), new(Limit), new(LimitAck)}
}

func linkField(c *wire.Codec, l *physical.LinkID) {
	wire.Uint(c, "link", l, 0, "number of the link")
}

func idField(c *wire.Codec, id *RequestID) {
	wire.Uint(c, "request", id, 0, "request identity; the lowest bit tells the end that created it")
}

func limitField(c *wire.Codec, limit *uint64) {
	c.Uvarint("limit", limit, "pairs of the request that the sender takes, counted from its start")
}

// Add tells the peer of a new request (CREATE, seen from the peer).
type Add struct {
	Link        physical.LinkID
	ID          RequestID
	Kind        Type
	Pairs       uint64
	Purpose     uint64
	Tag         uint64
	MinFidelity float64
	Deadline    uint64
	Schedule    uint64
	Point       uint32
	Priority    uint8
	Atomic      bool
	Consecutive bool
	Store       bool
	Place       uint64
	Turn        float64
	Bases       []WeightedBasis
	Testing     float64
	Salt        []byte
	Rate        float64
	Limit       uint64
}

// WeightedBasis is one basis of a choice of bases. The weight is relative to
// those of the others; if all are 0, all bases are equally likely.
type WeightedBasis struct {
	Basis  qnet.Basis
	Weight float64
}

func (m *Add) link() physical.LinkID { return m.Link }

func (*Add) Type() wire.Type { return 0x10 }
func (*Add) Doc() string {
	return "Tells the other end of a link of a new request. Repeated until AddAck."
}

// Fields visits the fields.
func (m *Add) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	idField(c, &m.ID)
	wire.Uint(c, "kind", &m.Kind, uint64(typeEnd), "0 keep, 1 measure, 2 prepare: the receiver keeps, the sender measures")
	c.Uvarint("pairs", &m.Pairs, "pairs asked for; 0 until ended")
	c.Uvarint("purpose", &m.Purpose, "what the request is for")
	c.Uvarint("tag", &m.Tag, "goes with the purpose")
	c.Float("min_fidelity", &m.MinFidelity, "least mean fidelity; 0 for none")
	c.Uvarint("deadline", &m.Deadline, "attempt cycle at which both ends give up; 0 for none")
	c.Uvarint("schedule", &m.Schedule, "attempt cycle from which both ends serve it")
	wire.Uint(c, "point", &m.Point, maxPoints, "operating point of the heralding")
	wire.Uint(c, "priority", &m.Priority, MaxPriority+1, "class of the request, which the scheduler knows how to serve")
	c.Bool("atomic", &m.Atomic, "served to its end without others in between")
	c.Bool("consecutive", &m.Consecutive, "all pairs are to be alive together")
	c.Bool("store", &m.Store, "halves are moved into storage qubits")
	c.Uvarint("place", &m.Place, "place in the queue, if side 0 sends it; else 0")
	c.Float("turn", &m.Turn, "where the scheduler of side 0 begins to count; else 0")
	wire.List(c, "bases", &m.Bases, physical.MaxBases, func(c *wire.Codec, e *WeightedBasis) {
		c.Basis("basis", &e.Basis, "axis that the receiver is to measure")
		c.Float("weight", &e.Weight, "how often, relative to the others")
	}, "proposed to the receiver; none for its own choice")
	c.Float("testing", &m.Testing, "share of the pairs that are test rounds; 0 for none")
	c.Bytes("salt", &m.Salt, saltSize, "which they are is drawn from; empty if there are none")
	c.Float("rate", &m.Rate, "pairs per second at most, from the schedule cycle on; 0 for no bound")
	limitField(c, &m.Limit)
	if c.Decoding() && (!(m.Testing >= 0 && m.Testing <= 1) || len(m.Salt) != 0 && len(m.Salt) != saltSize) {
		c.Fail("testing", wire.ErrRange)
	}
	if c.Decoding() && !(m.Rate >= 0 && m.Rate <= maxRate) {
		c.Fail("rate", wire.ErrRange)
	}
}

// AddAck answers Add.
type AddAck struct {
	Link  physical.LinkID
	ID    RequestID
	Code  qnet.Code
	Place uint64
	Turn  float64
	Best  float64
	Limit uint64
}

func (m *AddAck) link() physical.LinkID { return m.Link }

func (*AddAck) Type() wire.Type { return 0x11 }
func (*AddAck) Doc() string     { return "Accepts (code 0) or refuses a request." }

// Fields visits the fields.
func (m *AddAck) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	idField(c, &m.ID)
	wire.Uint(c, "code", &m.Code, 0, "0, or why the request is refused")
	c.Uvarint("place", &m.Place, "place in the queue, if side 0 sends it; else 0")
	c.Float("turn", &m.Turn, "where the scheduler of side 0 begins to count; else 0")
	c.Float("best", &m.Best, "of a request refused for its fidelity: what can be reached; else 0")
	limitField(c, &m.Limit)
}

// End tells the peer that a request is over, or that this end has all its pairs.
type End struct {
	Link   physical.LinkID
	ID     RequestID
	Code   qnet.Code
	Text   string
	Digest uint64
}

func (m *End) link() physical.LinkID { return m.Link }

func (*End) Type() wire.Type { return 0x12 }
func (*End) Doc() string {
	return "Ends a request at both ends; or, with code 0, says that all its pairs are there at the sender. Repeated until EndAck or, with code 0, an End of the peer; of a request that measures, with code 0, sent once, for some."
}

// Fields visits the fields.
func (m *End) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	idField(c, &m.ID)
	wire.Uint(c, "code", &m.Code, 0, "why")
	c.String("text", &m.Text, maxText, "the same for people, if there is more to say")
	c.Uvarint("digest", &m.Digest, "with code 0, of the pairs that the sender has: the exclusive or over them of the 62 high bits of SplitMix64 at cycle + SplitMix64 at 4·seq + label")
}

// EndAck answers End: the sender has the request no more.
type EndAck struct {
	Link physical.LinkID
	ID   RequestID
}

func (m *EndAck) link() physical.LinkID { return m.Link }

func (*EndAck) Type() wire.Type { return 0x13 }
func (*EndAck) Doc() string     { return "Answers End: the sender does not have the request any more." }

// Fields visits the fields.
func (m *EndAck) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	idField(c, &m.ID)
}

// maxHad is the largest number of pairs had that a Gen tells, lest its candidates
// fill more than a frame.
const maxHad = 1<<30 - 1

// Candidate is a request that an open lane may serve.
type Candidate struct {
	ID    RequestID
	Limit uint64
	Had   uint64
}

// same reports whether a candidate is offered as before. What was had since then is
// told with the next Gen.
func (c Candidate) same(o Candidate) bool { return c.ID == o.ID && c.Limit == o.Limit }

// Gen opens, extends or closes a window of attempts of one lane.
type Gen struct {
	Link       physical.LinkID
	Lane       uint32
	Window     uint64
	First      uint64
	Count      uint64
	Pattern    physical.Pattern
	Point      uint32
	Dead       uint64
	Bulk       bool
	Candidates []Candidate
	Others     []RequestID
}

func (m *Gen) link() physical.LinkID { return m.Link }

func (*Gen) Type() wire.Type { return 0x14 }
func (*Gen) Doc() string {
	return "Tells the station that a lane attempts in a window of cycles, and for which requests, first choice first. Sent again to extend the window or to change the requests; without requests it closes the window, which Reply confirms."
}

// Fields visits the fields.
func (m *Gen) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	wire.Uint(c, "lane", &m.Lane, maxLanes, "communication qubit of this end")
	c.Uvarint("window", &m.Window, "number of the window, growing with each arming of the lane")
	c.Uvarint("first", &m.First, "first attempt cycle")
	c.Uvarint("count", &m.Count, "number of cycles")
	c.Uvarint("anchor", &m.Pattern.First, "cycle from which the pattern of attempts counts")
	c.Uvarint("stride", &m.Pattern.Stride, "cycles from one attempt to the next, on its multiples; 0 for 1")
	c.Uvarint("every", &m.Pattern.Every, "cycles between pauses; 0 for no pauses")
	c.Uvarint("pause", &m.Pattern.Pause, "cycles of a pause, in which a storage qubit is initialised anew")
	wire.Uint(c, "point", &m.Point, maxPoints, "operating point of the heralding")
	c.Uvarint("dead", &m.Dead, "cycles without attempts after each success of a bulk window")
	c.Bool("bulk", &m.Bulk, "the window goes on after a success, and each pair is measured at once")
	wire.List(c, "candidates", &m.Candidates, maxCandidates, func(c *wire.Codec, e *Candidate) {
		idField(c, &e.ID)
		c.Uvarint("limit", &e.Limit, "pairs of the request that this end takes, counted from its start")
		wire.Uint(c, "had", &e.Had, maxHad+1, "pairs of the request that this end has heard of, those that were void among them")
	}, "requests that these attempts serve")
	wire.List(c, "others", &m.Others, maxOthers, idField, "requests that other attempts could serve here")
}

// Reply announces a heralded pair to one end.
type Reply struct {
	Link   physical.LinkID
	Lane   uint32
	Window uint64
	ID     RequestID
	Seq    uint64
	Cycle  uint64
	Label  qnet.BellLabel
	Lost   bool
}

func (m *Reply) link() physical.LinkID { return m.Link }

func (*Reply) Type() wire.Type { return 0x15 }
func (*Reply) Doc() string {
	return "Announces the success of a window, or that it was closed without one. Sent again when a Gen shows that it was lost."
}

// Fields visits the fields.
func (m *Reply) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	wire.Uint(c, "lane", &m.Lane, maxLanes, "lane of the receiving end")
	c.Uvarint("window", &m.Window, "window of the receiving end")
	idField(c, &m.ID)
	c.Uvarint("seq", &m.Seq, "number of the pair on the link; 0: closed without success")
	c.Uvarint("cycle", &m.Cycle, "attempt cycle of the success")
	wire.Uint(c, "label", &m.Label, 4, "Bell state, two bits xz")
	c.Bool("lost", &m.Lost, "the pair was announced before, in vain, and is void")
}

// Mismatch tells an end that its attempts meet none of the other end's, and which
// request both could serve.
type Mismatch struct {
	Link   physical.LinkID
	Lane   uint32
	Window uint64
	Use    RequestID
}

func (m *Mismatch) link() physical.LinkID { return m.Link }

func (*Mismatch) Type() wire.Type { return 0x1a }
func (*Mismatch) Doc() string {
	return "Tells an end that it attempts for other requests than the other end, and for which both could."
}

// Fields visits the fields.
func (m *Mismatch) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	wire.Uint(c, "lane", &m.Lane, maxLanes, "lane of the receiving end")
	c.Uvarint("window", &m.Window, "window of the receiving end")
	wire.Uint(c, "use", &m.Use, 0, "request that both ends could serve")
}

// Outcome is what the sender of Outcomes saw in one test round. Basis is a number in
// its list of bases.
type Outcome struct {
	Seq        uint64
	Basis, Bit uint8
}

// Outcomes tells the peer what this end saw in test rounds.
type Outcomes struct {
	Link  physical.LinkID
	ID    RequestID
	Bases []qnet.Basis
	Items []Outcome
}

func (m *Outcomes) link() physical.LinkID { return m.Link }

func (*Outcomes) Type() wire.Type { return 0x1c }
func (*Outcomes) Doc() string {
	return "Tells the other end of a link the outcomes of test rounds. One that is lost is a test round less."
}

// Fields visits the fields.
func (m *Outcomes) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	idField(c, &m.ID)
	wire.List(c, "bases", &m.Bases, physical.MaxBases, func(c *wire.Codec, b *qnet.Basis) {
		c.Basis("basis", b, "axis that the sender measured")
	}, "of the test rounds")
	wire.List(c, "items", &m.Items, maxOutcomes, func(c *wire.Codec, o *Outcome) {
		c.Uvarint("seq", &o.Seq, "number of the pair on the link")
		wire.Uint(c, "basis", &o.Basis, physical.MaxBases, "its number among the bases, from 0")
		wire.Uint(c, "bit", &o.Bit, 2, "outcome")
		if c.Decoding() && int(o.Basis) >= len(m.Bases) {
			c.Fail("basis", wire.ErrRange)
		}
	}, "test rounds")
}

// Memory tells the peer that this end is short of qubits, or no more.
type Memory struct {
	Link    physical.LinkID
	Number  uint64
	Lanes   bool
	Storage bool
	Stores  uint32
}

func (m *Memory) link() physical.LinkID { return m.Link }

func (*Memory) Type() wire.Type { return 0x1b }
func (*Memory) Doc() string {
	return "Tells the other end of a link of which qubits this end is short, so that it does not attempt in vain. Repeated while it lasts; forgotten when it is not."
}

// Fields visits the fields.
func (m *Memory) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	c.Uvarint("number", &m.Number, "grows with each, so that one that was overtaken is known")
	c.Bool("lanes", &m.Lanes, "all communication qubits of the link are in use")
	c.Bool("storage", &m.Storage, "no storage qubit is free")
	wire.Uint(c, "stores", &m.Stores, maxLanes, "lanes that can store at a time, where storage qubits are so few; else 0")
}

// Limit tells the peer how many pairs of a request the sender takes, and where it is in
// the order of service there.
type Limit struct {
	Link   physical.LinkID
	ID     RequestID
	Number uint64
	Limit  uint64
	Turn   float64
	Shift  float64
	Had    uint64
}

func (m *Limit) link() physical.LinkID { return m.Link }

func (*Limit) Type() wire.Type { return 0x1d }
func (*Limit) Doc() string {
	return "Tells the other end of a link how many pairs of a request the sender takes, when that has changed, and where the request is in its order of service; also when the ends attempted for different requests. Repeated until LimitAck."
}

// Fields visits the fields.
func (m *Limit) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	idField(c, &m.ID)
	c.Uvarint("number", &m.Number, "grows with each of the request, so that one that was overtaken is known")
	limitField(c, &m.Limit)
	turnFields(c, &m.Turn, &m.Shift, &m.Had)
}

// turnFields visits where a request is in the order of service.
func turnFields(c *wire.Codec, turn, shift *float64, had *uint64) {
	c.Float("turn", turn, "of the request at the sender, as its scheduler counts")
	c.Float("shift", shift, "what is added to the turns of all requests that may be served when this one may, beside others")
	c.Uvarint("had", had, "pairs that this turn counts")
}

// LimitAck answers Limit.
type LimitAck struct {
	Link   physical.LinkID
	ID     RequestID
	Number uint64
	Turn   float64
	Shift  float64
	Had    uint64
}

func (m *LimitAck) link() physical.LinkID { return m.Link }

func (*LimitAck) Type() wire.Type { return 0x1e }
func (*LimitAck) Doc() string {
	return "Answers Limit with the turn of the request at the sender, zero if it does not have it."
}

// Fields visits the fields.
func (m *LimitAck) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	idField(c, &m.ID)
	c.Uvarint("number", &m.Number, "as in Limit")
	turnFields(c, &m.Turn, &m.Shift, &m.Had)
}

// LinkExpire voids one pair.
type LinkExpire struct {
	Link       physical.LinkID
	First, End uint64
}

func (m *LinkExpire) link() physical.LinkID { return m.Link }

func (*LinkExpire) Type() wire.Type { return 0x16 }
func (*LinkExpire) Doc() string {
	return "Voids pairs of which the sender has no half. Repeated until LinkExpireAck."
}

// Fields visits the fields.
func (m *LinkExpire) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	c.Uvarint("first", &m.First, "first pair that is void")
	c.Uvarint("end", &m.End, "first pair after it that is not")
	if c.Decoding() && (m.End <= m.First || m.End-m.First > maxFrame) {
		c.Fail("end", wire.ErrRange)
	}
}

// LinkExpireAck answers LinkExpire.
type LinkExpireAck struct {
	Link       physical.LinkID
	First, End uint64
}

func (m *LinkExpireAck) link() physical.LinkID { return m.Link }

func (*LinkExpireAck) Type() wire.Type { return 0x17 }
func (*LinkExpireAck) Doc() string     { return "Answers LinkExpire with its range." }

// Fields visits the fields.
func (m *LinkExpireAck) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	c.Uvarint("first", &m.First, "as in LinkExpire")
	c.Uvarint("end", &m.End, "as in LinkExpire")
}

// BulkReply announces pairs of a bulk window, in order.
type BulkReply struct {
	Link   physical.LinkID
	Lane   uint32
	Window uint64
	ID     RequestID
	Index  uint64
	Seq    uint64
	Cycle  uint64
	Steps  []uint64
	Labels []byte
	Done   bool
	Lost   bool
	Sent   qnet.Time
}

func (m *BulkReply) link() physical.LinkID { return m.Link }

func (*BulkReply) Type() wire.Type { return 0x18 }
func (*BulkReply) Doc() string {
	return "Announces the next pairs of a bulk window as columns. Repeated until BulkAck."
}

// Fields visits the fields.
func (m *BulkReply) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	wire.Uint(c, "lane", &m.Lane, maxLanes, "lane of the receiving end")
	c.Uvarint("window", &m.Window, "window of the receiving end")
	idField(c, &m.ID)
	c.Uvarint("index", &m.Index, "number of the frame's first item within the window; items are pairs and the final done")
	c.Uvarint("seq", &m.Seq, "number of the first pair on the link; the others follow")
	c.Uvarint("cycle", &m.Cycle, "cycle from which the first step counts")
	wire.List(c, "steps", &m.Steps, maxWide, func(c *wire.Codec, e *uint64) {
		c.Uvarint("step", e, "cycles since the pair before")
	}, "one for each pair")
	c.Bytes("labels", &m.Labels, maxWide/4, "Bell states, two bits xz each, four to a byte, first in the lowest bits")
	c.Bool("done", &m.Done, "no pair follows in this window")
	c.Bool("lost", &m.Lost, "the pairs were announced before, in vain, and are void")
	c.Time("sent", &m.Sent, "when, by the station's clock")
	if c.Decoding() && len(m.Labels) != (len(m.Steps)+3)/4 {
		c.Fail("labels", wire.ErrRange)
	}
	if c.Decoding() && max(m.Index, m.Seq, m.Cycle) > wire.MaxUvarint-2*maxWide {
		c.Fail("index", wire.ErrRange)
	}
}

// columns fills in the pairs of the given cycles, the first step of which counts
// from m.Cycle.
func (m *BulkReply) columns(cycles []uint64, labels []qnet.BellLabel) {
	before := m.Cycle
	for i, c := range cycles {
		m.Steps = append(m.Steps, c-before)
		before = c
		if i%4 == 0 {
			m.Labels = append(m.Labels, 0)
		}
		m.Labels[i/4] |= byte(labels[i]) << (2 * (i % 4))
	}
}

// after returns the number of the first item after those of the frame.
func (m *BulkReply) after() uint64 {
	n := m.Index + uint64(len(m.Steps))
	if m.Done {
		n++
	}
	return n
}

// BulkAck tells how far one end has the pairs of a bulk window.
type BulkAck struct {
	Link   physical.LinkID
	Lane   uint32
	Window uint64
	Next   uint64
	Sent   qnet.Time
}

func (m *BulkAck) link() physical.LinkID { return m.Link }

func (*BulkAck) Type() wire.Type { return 0x19 }
func (*BulkAck) Doc() string     { return "Tells the station which pairs of a bulk window have arrived." }

// Fields visits the fields.
func (m *BulkAck) Fields(c *wire.Codec) {
	linkField(c, &m.Link)
	wire.Uint(c, "lane", &m.Lane, maxLanes, "lane of the sending end")
	c.Uvarint("window", &m.Window, "window of the sending end")
	c.Uvarint("next", &m.Next, "number of the first item that has not arrived")
	c.Time("sent", &m.Sent, "as in the BulkReply that it answers")
}
