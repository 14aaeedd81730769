package estimate_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"qstack/link/estimate"
	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/state/densetest"
	"qstack/qnet"
)

// What pairs go through, written out on density matrices. Qubits are named by side
// and place, as in "0c" for the communication qubit of side 0 and "1s" for the
// storage qubit of side 1. Decay of one side does not care about the other, so that
// sides are worked through in turn.

type dense struct {
	*densetest.World[string]
	h *hardware
}

func newDense(h *hardware, k *herald.Herald) dense {
	w := densetest.New[string]()
	w.Entangle("0c", "1c", densetest.Decay{}, densetest.Decay{}, densetest.Square(k.State[:]))
	return dense{w, h}
}

func (d *dense) kind(q string) (decay densetest.Decay, gate1, readout time.Duration, noise physical.QubitNoise) {
	s := &d.h.specs[q[0]-'0']
	if m := s.Memory; q[1] == 's' && m != nil {
		return densetest.Decay{T1: m.T1, T2: m.T2, Depolarise: m.Depolarise}, m.Gate1, m.Readout, s.Noise.Memory
	}
	return densetest.Decay{T1: s.T1, T2: s.T2, Depolarise: s.Depolarise}, s.Gate1, s.Readout, s.Noise.QubitNoise
}

func (d *dense) wait(q string, t time.Duration) {
	decay, _, _, _ := d.kind(q)
	d.Decay(q, decay, t.Seconds())
}

// initialised adds a qubit that was initialised some time ago.
func (d *dense) initialised(q string, age time.Duration) {
	_, _, _, noise := d.kind(q)
	d.Zero(q, densetest.Decay{})
	d.Depolarise(noise.InitDepolarising, q)
	d.wait(q, age)
}

// move swaps the state of a qubit into another and gives the first back.
func (d *dense) move(from, to string) {
	s := &d.h.specs[from[0]-'0']
	for _, g := range [][2]string{{from, to}, {to, from}} {
		d.wait(from, s.Gate2)
		d.wait(to, s.Gate2)
		d.Gate2(g[0], g[1], physical.GateCNOT, s.Noise.Gate2Depolarising)
		d.Pauli(from, 0, 0, s.Noise.Gate2Dephasing)
		d.Pauli(to, 0, 0, s.Noise.Gate2Dephasing)
	}
	d.Free(from)
}

// read measures a qubit and returns the probability of the bit that is read.
func (d *dense) read(q string, b qnet.Basis, bit int) float64 {
	_, gate1, readout, noise := d.kind(q)
	if b != qnet.BasisZ {
		readout += gate1
	}
	d.wait(q, readout)
	if b != qnet.BasisZ {
		d.Depolarise(noise.Gate1Depolarising, q)
	}
	return d.Read(q, b, densetest.Errors(noise.ReadoutError), bit)
}

var paulis = [3]qnet.Basis{qnet.BasisX, qnet.BasisY, qnet.BasisZ}

// outcomes returns the probabilities of 00, 01, 10 and 11 of measurements of a and b.
func (d *dense) outcomes(a, b string, bases [2]qnet.Basis) (p [4]float64) {
	for k := range p {
		c := dense{d.Clone(), d.h}
		if p[k] = c.read(a, bases[0], k>>1); p[k] > 0 {
			p[k] *= c.read(b, bases[1], k&1)
		}
	}
	return p
}

// wrong returns the probability that the bits contradict the label.
func wrong(p [4]float64, l qnet.BellLabel, b int) float64 {
	flip, _ := l.Flips(paulis[b])
	if equal := p[0] + p[3]; (b != 1) == flip { // the bits of Φ+ differ in Y only
		return equal
	}
	return p[1] + p[2]
}

// errors returns the error rates in X, Y and Z of pairs that are measured after
// something has been done to them.
func (h *hardware) errors(do func(d *dense) (a, b string)) (q [3]float64) {
	for i := range h.heralds {
		k := &h.heralds[i]
		d := newDense(h, k)
		qa, qb := do(&d)
		for b := range q {
			q[b] += k.P * wrong(d.outcomes(qa, qb, both(b)), k.Label, b)
		}
	}
	return q
}

// Measured pairs show the error rates that the estimate has.
func TestMeasuredExactly(t *testing.T) {
	for i := range 100 {
		rng := qnet.NewRand(uint64(i), "measured")
		h := randomHardware(rng)
		h.pipelined = rng.IntN(2) == 0
		half := times(rng, 200)
		est, err := h.estimator(t, half).Estimate(0, estimate.Usage{Type: estimate.Measure})
		if err != nil {
			t.Fatal(err)
		}
		want := h.errors(func(d *dense) (a, b string) {
			if !h.pipelined {
				d.wait("0c", 2*half)
				d.wait("1c", 2*half)
			}
			return "0c", "1c"
		})
		for b := range want {
			near(t, "error rate", est.Errors[b], want[b], 1e-10)
		}
		near(t, "fidelity", est.Fidelity, 1-(want[0]+want[1]+want[2])/2, 1e-10)
		if t.Failed() {
			t.Fatalf("case %d: %+v", i, h)
		}
	}
}

// The state that measuring one half prepares of the other has, on average over bits
// and three bases, the fidelity of the estimate.
func TestPreparedExactly(t *testing.T) {
	for i := range 60 {
		rng := qnet.NewRand(uint64(i), "prepared")
		h := randomHardware(rng)
		h.p = 1
		half := times(rng, 200)
		u := estimate.Usage{Type: estimate.Prepare, Creator: rng.IntN(2), Store: rng.IntN(2) == 0}
		est, err := h.estimator(t, half).Estimate(0, u)
		if err != nil {
			t.Fatal(err)
		}
		creator := string("01"[u.Creator]) + "c"
		other := string("10"[u.Creator])
		var sum float64
		for j := range h.heralds {
			k := &h.heralds[j]
			d := newDense(h, k)
			d.wait("0c", 2*half)
			d.wait("1c", 2*half)
			kept := other + "c"
			if u.Store {
				kept = other + "s"
				d.initialised(kept, 2*half)
				d.move(other+"c", kept)
			}
			for b, basis := range paulis {
				for bit := range 2 {
					c := dense{d.Clone(), h}
					p := c.read(creator, basis, bit)
					if p == 0 {
						continue
					}
					flip, _ := k.Label.Flips(basis)
					if flip != (b == 1) { // the bits of Φ+ differ in Y only
						bit = 1 - bit
					}
					f := real(densetest.Projector(basis, uint8(bit)).Mul(c.Density(kept)).Trace())
					sum += k.P * p * f
				}
			}
		}
		// F = 1−Σ(1−f)/2
		near(t, "fidelity", est.Fidelity, 1-(3-sum)/2, 1e-10)
		if t.Failed() {
			t.Fatalf("case %d: %+v %+v", i, h, u)
		}
	}
}

// The channel of a move, by the state that it leaves of one half of any pair when the
// other end does nothing, on the hardware of a reference written from the circuit.
func TestMoveExactly(t *testing.T) {
	for i := range 60 {
		rng := qnet.NewRand(uint64(i), "move")
		h := randomHardware(rng)
		h.p = 1
		h.specs[1] = physical.Spec{Storage: 1}
		half := times(rng, 200)
		est, err := h.estimator(t, half).Estimate(0, estimate.Usage{Store: true})
		if err != nil {
			t.Fatal(err)
		}
		want := 0.0
		for j := range h.heralds {
			k := &h.heralds[j]
			d := newDense(h, k)
			d.wait("0c", 2*half)
			d.initialised("0s", 2*half)
			d.move("0c", "0s")
			want += k.P * real(densetest.Bell(k.Label).Mul(d.Density("0s", "1c")).Trace())
		}
		near(t, "fidelity", est.Fidelity, want, 1e-10)
		if t.Failed() {
			t.Fatalf("case %d: %+v", i, h)
		}
	}
}

// tested does what is done to the pair of a test round of a usage until it is
// measured, and returns its qubits. Storage is initialised when the pair is emitted.
func (d *dense) tested(u estimate.Usage, half time.Duration) (a, b string) {
	h := d.h
	if h.pipelined && u.Type == estimate.Measure {
		return "0c", "1c"
	}
	d.wait("0c", 2*half)
	d.wait("1c", 2*half)
	if !u.Store {
		return "0c", "1c"
	}
	qs := [2]string{"0s", "1s"}
	last := 2 * max(h.specs[0].Gate2, h.specs[1].Gate2)
	for side, side0 := range []string{"0", "1"} {
		s := &h.specs[side]
		d.initialised(side0+"s", 2*half)
		d.move(side0+"c", side0+"s")
		d.wait(side0+"s", last-2*s.Gate2)
	}
	for side, side0 := range []string{"0", "1"} {
		s := &h.specs[side]
		if s.Memory != nil && s.Memory.Indirect {
			d.wait(side0+"s", s.Init)
			d.initialised(side0+"c", 0)
			d.move(side0+"s", side0+"c")
			qs[side] = side0 + "c"
		}
	}
	return qs[0], qs[1]
}

// teach gives the estimator rounds with the given error rates.
func teach(e *estimate.Estimator, u estimate.Usage, l qnet.BellLabel, q [3]float64, n int) {
	for b := range q {
		// Bits that agree with the label.
		flip, _ := l.Flips(paulis[b])
		right := uint8(0)
		if flip != (b == 1) {
			right = 1
		}
		var owed float64
		for range n {
			bit := right
			if owed += q[b]; owed >= 0.5 {
				owed--
				bit ^= 1
			}
			e.Learn(0, u, estimate.Round{Bases: both(b), Label: l, A: 0, B: bit})
		}
	}
}

// Test rounds that come as the data sheet has it show the fidelity that it has,
// whatever the read-out does; of pairs that are worse the true one. Rounds of each
// class go through all that is done to them.
func TestRoundsShowWhatIsTrue(t *testing.T) {
	const n = 10_000
	tested := 0
	for i := range 25 {
		rng := qnet.NewRand(uint64(i), "rounds")
		h := randomHardware(rng)
		h.p = 1
		h.heralds = h.heralds[:1]
		h.heralds[0].P = 1
		k := &h.heralds[0]
		for side := range h.specs {
			s := &h.specs[side]
			if s.Memory != nil {
				s.Memory.Indirect = rng.IntN(2) == 0
			}
			// Slow enough for something to be left to learn from.
			s.Gate2 /= 10
		}
		half := times(rng, 20)
		// What the hardware does is worse than it should be: with some probability the
		// halves have nothing to do with each other.
		worse := *k
		d := newDense(h, k)
		apart := d.Density("0c").Kron(d.Density("1c"))
		x := complex(0.5*rng.Float64(), 0)
		for j := range worse.State {
			worse.State[j] = (1-x)*worse.State[j] + x*apart[j/4][j%4]
		}
		h.pipelined = rng.IntN(2) == 0
		for _, u := range []estimate.Usage{{}, {Store: true}, {Type: estimate.Measure}, {Type: estimate.Prepare}, {Consecutive: true, Pairs: 2, Lanes: 2}} {
			if h.p = 1; u.Consecutive {
				h.p = 0.001
			}
			do := func(d *dense) (a, b string) { return d.tested(u, half) }
			broken := *h
			broken.heralds = []herald.Herald{worse}
			e := h.estimator(t, half)
			model, err := e.Estimate(0, u)
			if err != nil {
				t.Fatal(err)
			}
			truth, err := broken.estimator(t, half).Estimate(0, u)
			if err != nil {
				t.Fatal(err)
			}
			// Counts are off by less than one, which is the more of the fidelity the less
			// the read-out leaves.
			const gain = 50.0 / n
			teach(e, u, k.Label, h.errors(do), n)
			same, _ := e.Estimate(0, u)
			if same.Upper-same.Lower > 0.5 {
				continue // too noisy to tell
			}
			tested++
			near(t, "fidelity of rounds as expected", same.Measured, model.Model, gain)
			if same.Contradicted || same.Fidelity != model.Model {
				t.Errorf("rounds as expected contradict: %+v", same)
			}
			e = h.estimator(t, half)
			teach(e, u, k.Label, broken.errors(do), n)
			found, _ := e.Estimate(0, u)
			want := truth.Model
			near(t, "fidelity of rounds that are worse", found.Measured, want, gain)
			if found.Lower > want+gain || found.Upper < want-gain {
				t.Errorf("%v is not within the bounds of %+v", want, found)
			}
			if found.Contradicted != (found.Upper < model.Model-1e-9) {
				t.Errorf("contradicted: %+v", found)
			}
			if found.Contradicted && !u.Consecutive { // of which the pairs are of different ages
				near(t, "fidelity at the instant of handing up", e.At(0, k.Label, u, model.Age, 0), want, gain)
			}
			if t.Failed() {
				t.Fatalf("case %d: %+v %+v", i, h, u)
			}
		}
	}
	if tested < 95 {
		t.Errorf("only %d cases were tested", tested)
	}
}

// Outcomes of the emulated world, of pairs that are measured directly, have the error
// rates of the estimate within 5 standard errors each (a false alarm in 2e6).
func TestMeasuredAgainstWorld(t *testing.T) {
	const n = 100_000
	for i := range 8 {
		rng := qnet.NewRand(uint64(i), "bulk")
		h := randomHardware(rng)
		h.pipelined = i%2 == 0
		q, half := h.bulk(t, nil, n, uint64(i))
		est, err := h.estimator(t, half).Estimate(0, estimate.Usage{Type: estimate.Measure})
		if err != nil {
			t.Fatal(err)
		}
		for b := range q {
			l := &q[b]
			p := est.Errors[b]
			near(t, "error rate", float64(l.errors)/float64(l.rounds), p, 5*math.Sqrt(p*(1-p)/float64(l.rounds)))
		}
	}
}

type tally struct{ rounds, errors int }

// mixed is a model of given kinds of success, of which every attempt succeeds.
type mixed struct {
	heralds []herald.Herald
	period  float64
}

func (m mixed) Validate() error             { return nil }
func (m mixed) SuccessProbability() float64 { return 1 }
func (m mixed) Period() float64             { return m.period }
func (m mixed) Heralds() []herald.Herald    { return m.heralds }

// bulk measures n pairs in random Pauli bases and returns what came of those with
// equal ones. Each round is told to learn, if that is given.
func (h *hardware) bulk(t testing.TB, learn func(estimate.Round), n int, seed uint64) (q [3]tally, half time.Duration) {
	t.Helper()
	all := physical.BasisSource{Bases: paulis[:]}
	rounds, half := h.rounds(t, [2]physical.BasisSource{all, all}, n, seed)
	for _, r := range rounds {
		if r.Bases[0] != r.Bases[1] {
			continue
		}
		if learn != nil {
			learn(r)
		}
		b := slices.Index(paulis[:], r.Bases[0])
		q[b].rounds++
		var p [4]float64
		p[2*r.A+r.B] = 1
		q[b].errors += int(wrong(p, r.Label, b))
	}
	return q, half
}

// rounds measures n pairs of the emulated world, in bases of the given sources.
func (h *hardware) rounds(t testing.TB, sources [2]physical.BasisSource, n int, seed uint64) (rounds []estimate.Round, half time.Duration) {
	t.Helper()
	w := h.world(t, mixed{h.heralds, h.period}, seed)
	k := w.Link(link)
	var out [2]physical.Outcomes
	for side, node := range nodes {
		w.Device(node).ArmBulk(link, 0, sources[side], func(o physical.Outcomes, err error) {
			if err != nil {
				t.Fatal(err)
			}
			out[side].Cycle = append(out[side].Cycle, o.Cycle...)
			out[side].Basis = append(out[side].Basis, o.Basis...)
			out[side].Bit = append(out[side].Bit, o.Bit...)
		}, func(r physical.Result) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		})
	}
	w.until(qnet.Time(time.Millisecond))
	cycles, labels := make([]uint64, n), make([]qnet.BellLabel, n)
	from := k.CycleAt(w.loop.Now())
	const apart = 2000 // µs: time enough to measure and initialise
	for i := range cycles {
		cycles[i] = from + uint64(i)*apart
	}
	w.until(k.CycleInstant(cycles[n-1]).Add(k.HalfDelay()))
	if done := k.HeraldBulk([2]uint32{}, 0, cycles, labels); done != n {
		t.Fatalf("%d pairs of %d", done, n)
	}
	w.until(w.loop.Now().Add(time.Second))
	for i, l := range labels {
		bases := [2]qnet.Basis{sources[0].Basis(out[0].Basis[i]), sources[1].Basis(out[1].Basis[i])}
		rounds = append(rounds, estimate.Round{Bases: bases, Label: l, A: out[0].Bit[i], B: out[1].Bit[i]})
	}
	return rounds, k.HalfDelay()
}
