package fabric_test

import (
	"math"
	"testing"

	"qstack/physical"
	"qstack/qnet"
)

// A lane that is begun again, with no end in between, has made the attempts of
// the run before, and those count once, each side's with its own dephasing.
func TestBeginAgain(t *testing.T) {
	c := chain(1, 1)
	probability := [2]float64{0.01, 0.03}
	c.Links[0].DephasingA, c.Links[0].DephasingB = probability[0], probability[1]
	c.Links[0].Length = 20e3
	l := newLab(t, c)
	k := l.Link(1)
	a, b := k.Ends()
	nodes := [2]qnet.NodeID{a, b}
	var stored [2]physical.Qubit
	for side, node := range nodes {
		stored[side] = l.must(node, physical.Op{Kind: physical.OpAlloc}).Qubit
		l.must(node, physical.Op{Kind: physical.OpGate, Gate: physical.GateH, A: stored[side]})
	}
	l.arm(1, 0)
	start := k.CycleAt(us(1000))
	// made lets time pass until all photons of some cycles after start, counted
	// from 0, are at the station, and checks how many attempts both sides have felt.
	made := func(cycles uint64, n int) {
		t.Helper()
		l.until(k.CycleInstant(start + cycles - 1).Add(k.HalfDelay()))
		for side, q := range stored {
			rho, err := l.Oracle().Density(l.loop.Now(), q)
			if err != nil {
				t.Fatal(err)
			}
			if want := 0.5 * math.Pow(1-2*probability[side], float64(n)); math.Abs(real(rho[1])-want) > 1e-12 {
				t.Errorf("side %d after %d cycles: coherence %v, want %v of %d attempts", side, cycles, rho[1], want, n)
			}
		}
	}
	lanes := [2]uint32{}
	k.Begin(lanes, 0, physical.Pattern{}, start, start+9)
	made(4, 4)
	made(15, 10)
	k.Begin(lanes, 0, physical.Pattern{}, start+15, start+24) // after a pause
	made(15, 10)
	made(18, 13)
	made(25, 20)
	k.Begin(lanes, 0, physical.Pattern{}, start+25, start+29) // right away
	k.Until(lanes, start+34)
	made(30, 25)
	made(50, 30)
	// What is touched meanwhile is not told of it again.
	for side, node := range nodes {
		l.must(node, physical.Op{Kind: physical.OpGate, Gate: physical.GateX, A: stored[side]})
	}
	k.Begin(lanes, 0, physical.Pattern{}, start+100, start+102)
	made(100, 30)
	made(120, 33)
	k.Begin(lanes, 0, physical.Pattern{}, start+130, start+1000)
	made(140, 43)
	k.End(lanes, start+140)
	made(200, 43)
	for _, node := range nodes {
		l.Disconnect(node)
	}
	l.empty()
}
