package expect

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"qstack/node/scenario"
	"qstack/qnet"
	"qstack/scenarios"
)

// load returns a scenario of the project.
func load(t testing.TB, name string) *scenario.Scenario {
	t.Helper()
	data, err := scenarios.Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data))
}

func parse(t testing.TB, text string) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("test.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// line returns a scenario of n links in a row with the given sections and keys.
func line(t testing.TB, n int, hardware, heralding, node, link string) *scenario.Scenario {
	t.Helper()
	text := "version = 1\nnetwork.name = \"line\"\n[hardware.h]\n" + hardware + "\n[heralding.h]\n" + heralding + "\n"
	for i := range n + 1 {
		text += fmt.Sprintf("[[nodes]]\nname = \"n%d\"\nhardware = \"h\"\n%s\n", i, node)
	}
	for i := range n {
		text += fmt.Sprintf("[[links]]\nnodes = [\"n%d\", \"n%d\"]\nheralding = \"h\"\n%s\n", i, i+1, link)
	}
	return parse(t, text)
}

func whole(t testing.TB, s *scenario.Scenario) *chain {
	t.Helper()
	nodes, links, err := route(s, s.Nodes[0].Name, s.Nodes[len(s.Nodes)-1].Name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newChain(s, nodes, links)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func near(t *testing.T, what string, got, want, relative float64) {
	t.Helper()
	if !(math.Abs(got-want) <= relative*math.Abs(want)) {
		t.Errorf("%s: got %.12g, want %.12g (relative %g)", what, got, want, relative)
	}
}

// agree reports values that are more than six of their standard errors apart:
// by chance less often than 1 in 10⁷ for each comparison (batch means have 99
// degrees of freedom).
func agree(t *testing.T, what string, a, b Value) {
	t.Helper()
	se := math.Hypot(a.StdErr, b.StdErr)
	if !(math.Abs(a.Mean-b.Mean) <= 6*se+1e-12*math.Abs(b.Mean)) {
		t.Errorf("%s: %.8g and %.8g are %.1f standard errors apart", what, a.Mean, b.Mean, math.Abs(a.Mean-b.Mean)/se)
	}
}

// TestIons3 computes the whole expectation of ions3 once more by adding up the
// probabilities of all errors, for each waiting time.
func TestIons3(t *testing.T) {
	e, err := Compute(load(t, "ions3.toml"), "alice", "charlie", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !e.ClosedForm || !slices.Equal(e.Path, []string{"alice", "bob", "charlie"}) {
		t.Errorf("closed form %t, path %v", e.ClosedForm, e.Path)
	}

	const (
		p      = 0.0208806 * 0.0208806 / 2
		period = 1 / 833e3
		delay  = 10e-9 // two halves of 5 ns
		bad    = 0.06  // phase of a link pair
		q, r   = 0.005, 0.002
		t2     = 1.
		bsm    = 405e-6
		rotate = 5e-6
		read   = 300e-6
	)
	flip := func(t float64) float64 { return (1 - math.Exp(-t/t2)) / 2 }

	// mean returns the mean of the sign of a product of two bits that phase flips
	// and bit flips turn, if the bits see them.
	mean := func(phase, bit []float64, seesPhase, seesBit bool, uniform float64) float64 {
		// Each flip is an independent coin: add up all combinations, as odd or even.
		odd := 0.
		add := func(p float64) { odd = odd*(1-p) + (1-odd)*p }
		if seesPhase {
			for _, p := range phase {
				add(p)
			}
		}
		if seesBit {
			for _, p := range bit {
				add(p)
			}
		}
		return (1 - uniform) * (1 - 2*odd) // with probability uniform the label is anything
	}

	var xx, yy, zz, interval, square, total float64
	fails := 1 - p
	either := 1 - fails*fails
	for late := 0; late < 120_000; late++ { // cycles that the first pair waits; e^−26 is left
		weight := 2 * p * p / either * math.Pow(fails, float64(late))
		if late == 0 {
			weight /= 2
		}
		wait := float64(late) * period
		phase := []float64{bad, bad, flip(bsm + delay), flip(wait + bsm + delay), flip(delay + rotate + read), flip(delay + rotate + read), r}
		xx += weight * mean(append(phase, r, r), nil, true, false, q)
		yy += weight * mean(append(phase, r, r), []float64{r}, true, true, q)
		zz += weight * mean(nil, []float64{r, r, r}, false, true, q)
		total += weight
	}
	near(t, "probability of all waits", total, 1, 1e-9)
	near(t, "XX", e.XX.Mean, xx, 1e-9)
	near(t, "YY", e.YY.Mean, yy, 1e-9)
	near(t, "ZZ", e.ZZ.Mean, zz, 1e-9)
	near(t, "fidelity", e.Fidelity.Mean, (1+xx+yy+zz)/4, 1e-9)
	near(t, "CHSH", e.CHSH.Mean, math.Sqrt2*(xx+zz), 1e-9)

	// The last of two successes, then 405 µs, 10 µs and the light: 346 cycles.
	for k := range 200_000 {
		tail := 2*math.Pow(fails, float64(k)) - math.Pow(fails, float64(2*k)) // P(more than k cycles)
		interval += tail
		square += (2*float64(k) + 1) * tail
	}
	near(t, "interval", e.Interval.Mean, (interval-1+346)*period, 1e-9)
	near(t, "its standard deviation", e.IntervalSD, math.Sqrt(square-interval*interval)*period, 1e-9)

	// Golden figures. Without the decay during operations the fidelity would be
	// 0.8736.
	near(t, "golden fidelity", e.Fidelity.Mean, 0.873058, 1e-6)
	near(t, "golden CHSH", e.CHSH.Mean, 2.459576, 1e-6)
	near(t, "golden rate", e.Rate().Mean, 115.2863, 1e-6)
	near(t, "golden teleportation", e.TeleportMean().Mean, 0.908881, 1e-6)
}

// TestTeleport adds up, for a chain with short memories and distinct nodes, what
// happens to a teleported state in every pair of cycles.
func TestTeleport(t *testing.T) {
	s := parse(t, `version = 1
network.name = "t"
[hardware.a]
t2 = "0.2 s"
init = "1 ms"
gate1 = "2 ms"
gate2 = "1 ms"
readout = "3 ms"
gate2_depolarising = 0.02
readout_error = 0.01
[hardware.b]
t2 = "0.3 s"
init = "1 ms"
gate1 = "3 ms"
gate2 = "3 ms"
readout = "4 ms"
gate2_depolarising = 0.03
readout_error = 0.02
[hardware.c]
memory = "depolarising"
memory_time = "0.4 s"
init = "1 ms"
gate1 = "1 ms"
gate2 = "9 ms"
readout = "2 ms"
gate2_depolarising = 0.5
readout_error = 0.03
[[nodes]]
name = "a"
hardware = "a"
[[nodes]]
name = "b"
hardware = "b"
[[nodes]]
name = "c"
hardware = "c"
[[links]]
nodes = ["a", "b"]
length = "50 km"
heralding = { model = "ideal", attempt_rate = "1 kHz", probability = 0.1, fidelity = 0.9 }
[[links]]
nodes = ["c", "b"]
length = "50 km"
heralding = { model = "ideal", attempt_rate = "1 kHz", probability = 0.2, fidelity = 0.95 }
`)
	e, err := Compute(s, "a", "c", Options{})
	if err != nil || !e.ClosedForm {
		t.Fatalf("closed form %t, %v", e.ClosedForm, err)
	}
	const (
		period = 1e-3
		bsmA   = 6e-3
		bsmB   = 10e-3
		start  = 1.5e-3 // initialisation and half a cycle
	)
	d := (2 * qnet.FibreDelay(25e3, qnet.FibreSpeed)).Seconds()
	var xy, z float64
	for g1 := range 200 {
		for g2 := range 200 {
			w := 0.1 * math.Pow(0.9, float64(g1)) * 0.2 * math.Pow(0.8, float64(g2))
			t1, t2 := float64(g1)*period, float64(g2)*period
			swap := max(t1, t2) + d + bsmB
			there := swap + d // TRACK at a
			for correct := range 16 {
				gatesA := float64(correct&1+correct>>1&1) * 2e-3
				gatesC := float64(correct>>2&1+correct>>3) * 1e-3
				sent := there + gatesA + bsmA
				arrived := sent + 2*d + gatesC
				a := (sent - t1) + (sent + start)
				b := 2*swap - t1 - t2
				xy += w / 16 * math.Exp(-a/0.2-b/0.3-(arrived+1e-3+2e-3-t2)/0.4)
				z += w / 16 * math.Exp(-(arrived+2e-3-t2)/0.4)
			}
		}
	}
	werner := (4*0.9 - 1) / 3 * (4*0.95 - 1) / 3
	gates := 0.98 * 0.97
	readX := 0.98 * 0.96 // one bit of each Bell measurement, 1−2r
	bit := 0.94
	for s, want := range map[State]float64{
		Z0: werner * gates * readX * bit * z,
		X0: werner * gates * readX * bit * xy,
		Y1: werner * gates * readX * readX * bit * xy,
	} {
		near(t, fmt.Sprint("state ", s), 2*e.Teleport[s].Mean-1, want, 1e-7)
	}
	if e.Teleport[Z0] != e.Teleport[Z1] || e.Teleport[X0] != e.Teleport[X1] || e.Teleport[Y0] != e.Teleport[Y1] {
		t.Error("opposite states differ")
	}
	var mean float64
	for _, v := range e.Teleport {
		mean += v.Mean / 6
	}
	near(t, "mean", e.TeleportMean().Mean, mean, 1e-12)

	// The event model knows the same.
	c := whole(t, s)
	w, ok := c.closedForm()
	if !ok {
		t.Fatal("no closed form")
	}
	m, err := c.simulate(Options{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, m, w)
}

// compare compares the waits of the event model with others.
func compare(t *testing.T, got, want waits) {
	t.Helper()
	agree(t, "decay of X and Y, measured", got.measureXY, want.measureXY)
	agree(t, "decay of Z, measured", got.measureZ, want.measureZ)
	agree(t, "decay of X and Y, teleported", got.teleportXY, want.teleportXY)
	agree(t, "decay of Z, teleported", got.teleportZ, want.teleportZ)
	agree(t, "interval", got.interval, want.interval)
	// The standard error of a variance over 100 batches is 14 %, of a standard
	// deviation 7 %; 6 of them.
	near(t, "standard deviation of the interval", got.intervalSD, want.intervalSD, 0.42)
}

// TestEventsClosed compares the event model with the closed forms of one and
// two links.
func TestEventsClosed(t *testing.T) {
	const hardware = `
t2 = "0.1 s"
init = "20 us"
gate1 = "10 us"
gate2 = "100 us"
readout = "300 us"
`
	const heralding = `
model = "ideal"
attempt_rate = "100 kHz"
probability = 0.003
fidelity = 0.9
`
	for _, tt := range []struct {
		name     string
		scenario *scenario.Scenario
	}{
		{"ions3", load(t, "ions3.toml")},
		{"one link", line(t, 1, hardware, heralding, "", `length = "1 km"`)},
		{"one link, depolarising", line(t, 1, strings.Replace(hardware, "t2", "memory = \"depolarising\"\nmemory_time", 1), heralding, "", `length = "1 km"`)},
		{"two links", line(t, 2, hardware, heralding, "", `length = "1 km"`)},
	} {
		c := whole(t, tt.scenario)
		want, ok := c.closedForm()
		if !ok {
			t.Fatalf("%s: no closed form", tt.name)
		}
		got, err := c.simulate(Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(tt.name, func(t *testing.T) { compare(t, got, want) })
	}

	// Lanes are independent.
	c := whole(t, line(t, 1, hardware, heralding, "", "length = \"1 km\"\nlanes = 8"))
	want, _ := c.closedForm()
	got, err := c.simulate(Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	agree(t, "interval of eight lanes", got.interval, want.interval)
	near(t, "its standard deviation", got.intervalSD, want.intervalSD, 0.42)
}

// TestNoClosedForm: chains whose timing is not alike are for the event model.
func TestNoClosedForm(t *testing.T) {
	ions := load(t, "ions3.toml")
	for what, change := range map[string]func(s *scenario.Scenario){
		"a cut-off":                  func(s *scenario.Scenario) { s.Nodes[1].Cutoff = 1e6 },
		"lanes":                      func(s *scenario.Scenario) { s.Links[1].Lanes = 2 },
		"attempt rates":              func(s *scenario.Scenario) { s.Links[0].Heralding.AttemptRate = 1e5 },
		"lengths":                    func(s *scenario.Scenario) { s.Links[0].Length = 100 },
		"initialisation":             func(s *scenario.Scenario) { s.Nodes[2].Hardware.Init = 1 },
		"a slow read-out at the end": func(s *scenario.Scenario) { s.Nodes[0].Hardware.Readout = 1e6 },
	} {
		s := *ions
		s.Nodes, s.Links = slices.Clone(s.Nodes), slices.Clone(s.Links)
		change(&s)
		if _, ok := whole(t, &s).closedForm(); ok {
			t.Errorf("%s: closed form", what)
		}
	}
	// An end node's cut-off does not count, nor does different success.
	ions.Nodes[0].Cutoff = 1e6
	ions.Links[0].Heralding.Efficiency = 0.5
	if _, ok := whole(t, ions).closedForm(); !ok {
		t.Error("different success probabilities: no closed form")
	}
}

// TestCorrections: the pairs of one double-click link, Ψ+ or Ψ−, always need X
// and half of them Z; those of an ideal link neither.
func TestCorrections(t *testing.T) {
	const gate = 0.01
	half := (1 + math.Exp(-gate)) / 2
	for _, tt := range []struct {
		label  bool
		atHead float64 // with three qubits waiting, at rate 1 each
	}{{true, 1}, {false, math.Exp(-3*gate) * (1 + math.Exp(-3*gate)) / 2}} {
		n := node{gate1: gate, dephasing: 1}
		c := &chain{nodes: []node{n, n}, links: []link{{oneLabel: tt.label}}}
		xy, z := c.corrections()
		near(t, "X and Y", xy, tt.atHead*half*half, 1e-12)
		near(t, "Z", z, 1, 1e-12)
	}
}

// TestTrack follows TRACK over three links of 1, 2 and 3 s.
func TestTrack(t *testing.T) {
	c := &chain{nodes: make([]node, 4), links: []link{{delay: 1}, {delay: 2}, {delay: 3}}}
	for _, tt := range []struct {
		times      times
		head, tail float64
	}{
		// Swaps long done: herald and all three links.
		{times{emitted: []float64{10, 20, 30}, swapped: []float64{0, 0}}, 30 + 3 + 6, 10 + 1 + 6},
		// The second swap is late: TRACK waits there.
		{times{emitted: []float64{10, 20, 30}, swapped: []float64{0, 50}}, 50 + 2 + 1, 50 + 3},
		// The first swap is late.
		{times{emitted: []float64{10, 20, 30}, swapped: []float64{40, 0}}, 40 + 1, 40 + 2 + 3},
		{times{emitted: []float64{10, 20, 30}, swapped: []float64{60, 50}}, 60 + 1, 60 + 2 + 3},
	} {
		if head, tail := c.track(&tt.times, true), c.track(&tt.times, false); head != tt.head || tail != tt.tail {
			t.Errorf("%+v: TRACK at the head at %g, at the tail at %g; want %g and %g", tt.times, head, tail, tt.head, tt.tail)
		}
	}
}

// TestSlots is a table of two links in slots, computed elsewhere: slots and decay
// to their last digit, the fidelity of two links of 0.95 to one more.
func TestSlots(t *testing.T) {
	for _, tt := range []struct {
		p, lifetime float64
		cutoff      int
		slots       float64
		decay       float64
		fidelity    float64
	}{
		{.01, 1000, -1, 149.7, .9095, .844}, {.01, 1000, 188, 158.6, .9372, .862}, {.01, 1000, 100, 178.2, .9593, .877}, {.01, 1000, 50, 225.0, .9772, .889},
		{.1, 100, -1, 14.7, .9135, .847}, {.1, 100, 18, 15.5, .9391, .864}, {.1, 100, 10, 17.1, .9585, .876}, {.1, 100, 5, 20.8, .9759, .888},
	} {
		slots, decay := TwoLinkSlots(tt.p, tt.cutoff), TwoLinkDecay(tt.p, tt.lifetime, tt.cutoff)
		w := qnet.Werner(.95)
		f := qnet.WernerFidelity(w * w * decay)
		if math.Abs(slots-tt.slots) > 0.0501 || math.Abs(decay-tt.decay) > 0.0000501 || math.Abs(f-tt.fidelity) > 0.000601 {
			t.Errorf("p=%g T=%g m=%d: %.3f slots, decay %.6f, fidelity %.5f; want %g, %g, %g", tt.p, tt.lifetime, tt.cutoff, slots, decay, f, tt.slots, tt.decay, tt.fidelity)
		}
	}
}

// TestEventsSlots: the event model meets the closed form on its own ground. The
// memory of the middle node alone decays, since the ends measure at once.
func TestEventsSlots(t *testing.T) {
	for _, p := range []float64{.01, .1} {
		for _, cutoff := range []int{-1, 188, 18, 5, 1} {
			const lifetime = 100 // slots
			s := line(t, 2, "memory = \"depolarising\"\nmemory_time = \"100 us\"",
				fmt.Sprintf("model = \"ideal\"\nattempt_rate = \"1 MHz\"\nprobability = %g\nfidelity = 0.95", p), "", `length = "0 m"`)
			if cutoff > 0 {
				s.Nodes[1].Cutoff = 1000 * qnet.Time(cutoff).Sub(0)
			}
			w, err := whole(t, s).simulate(Options{Seed: 2, Pairs: 20_000})
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("p=%g, cut-off %d: ", p, cutoff)
			agree(t, name+"slots", w.interval, Value{Mean: TwoLinkSlots(p, cutoff) * 1e-6})
			agree(t, name+"decay", w.measureXY, Value{Mean: TwoLinkDecay(p, lifetime, cutoff)})
		}
	}
}

// TestEventsMax: with operations that take no time and pairs asked for one by
// one, a chain is there with the slowest of its links.
func TestEventsMax(t *testing.T) {
	for n, want := range []float64{1, 1.497, 1.829, 2.078, 2.277} {
		s := line(t, n+1, "", "model = \"ideal\"\nattempt_rate = \"1 MHz\"\nprobability = 0.01\nfidelity = 1", "", `length = "0 m"`)
		var slots series
		slots.size = 200
		found := false
		var m *model
		m = newModel(whole(t, s), qnet.NewRand(5, "test"), true, true, func(_, _ *pair) {
			slots.add(float64(m.now) / 1000)
			found = true
		})
		for slots.n < 20_000 {
			found = false
			for m.start(0); !found; {
				m.step()
			}
		}
		v := slots.value().scale(0.01)
		if math.Abs(v.Mean-want) > 6*v.StdErr+0.0005 {
			t.Errorf("%d links: %.4f ± %.4f times the time of one, want %g", n+1, v.Mean, v.StdErr, want)
		}
	}
}

// TestDoubleClick compares with the published formula, and with all ways in
// which two photons and four dark counts can end.
func TestDoubleClick(t *testing.T) {
	for _, eta := range []float64{0.0208806, 0.3, 1} {
		for _, v := range []float64{0, 0.88, 1} {
			for _, dark := range []float64{0, 1e-3, 0.2} {
				for _, resolving := range []bool{false, true} {
					name := fmt.Sprintf("η=%g V=%g dark=%g resolving=%t: ", eta, v, dark, resolving)
					p, w := doubleClick(eta, v, dark, resolving)

					q, h := 1-dark, 1.
					if resolving {
						h = 0
					}
					a := eta * eta * q * q
					b := 2 * (eta - eta*eta) * 2 * dark * q * q
					c := (1 - eta) * (1 - eta) * 4 * dark * dark * q * q
					e := 2 * dark * q * (h*eta*eta*(1+v)*q/2 + 2*(eta-eta*eta)*q + (1-eta)*(1-eta)*2*dark*q)
					near(t, name+"formula of p", p, (a+b+c+e)/2, 1e-12)
					near(t, name+"formula of F", w[0], (a*(1+v)/2+(b+c)/2)/(2*p), 1e-12)

					p2, w2 := enumerate(eta, v, dark, resolving)
					near(t, name+"p", p, p2, 1e-12)
					for i := range w {
						if math.Abs(w[i]-w2[i]) > 1e-12 {
							t.Errorf("%sweights %v, want %v", name, w, w2)
							break
						}
					}
					near(t, name+"sum", w[0]+w[1]+w[2]+w[3], 1, 1e-12)
				}
			}
		}
	}
	// The fit of ions3: η=√(2p), V=2F−1.
	p, w := doubleClick(math.Sqrt(2*2.18e-4), 2*0.94-1, 0, false)
	near(t, "published probability", p, 2.18e-4, 1e-12)
	near(t, "published fidelity", w[0], 0.94, 1e-12)
}

// enumerate adds up all outcomes of an attempt: which photon is seen, by which
// of the two detectors, and which of the four detectors' bins are dark counts.
func enumerate(eta, v, dark float64, resolving bool) (p float64, w weights) {
	for opposite := range 2 {
		for fate := range 16 { // seen and detector, of either photon
			seen := [2]int{fate & 1, fate >> 1 & 1}
			detector := [2]int{fate >> 2 & 1, fate >> 3}
			weight := 0.5
			for _, s := range seen {
				weight *= []float64{1 - eta, eta}[s]
			}
			both := seen[0]+seen[1] == 2
			if opposite == 0 && both { // they interfere
				if detector[0] == detector[1] {
					weight *= (1 + v) / 4
				} else {
					weight *= (1 - v) / 4
				}
			} else {
				weight /= 4
			}
			for darks := range 16 {
				prob := weight
				var clicks [2][2]bool // bin, detector
				var photons [2][2]int
				for i := range 4 {
					clicks[i>>1][i&1] = darks>>i&1 == 1
					if darks>>i&1 == 1 {
						prob *= dark
					} else {
						prob *= 1 - dark
					}
				}
				refused := false
				for i := range 2 {
					bin := 0
					if opposite == 1 {
						bin = i
					}
					if seen[i] == 1 {
						clicks[bin][detector[i]] = true
						photons[bin][detector[i]]++
						refused = refused || resolving && photons[bin][detector[i]] == 2
					}
				}
				if refused || clicks[0][0] == clicks[0][1] || clicks[1][0] == clicks[1][1] {
					continue
				}
				p += prob
				switch {
				case opposite == 1 && both:
					w[0] += prob * (1 + v) / 2
					w[1] += prob * (1 - v) / 2
				case opposite == 1:
					w[0] += prob / 2
					w[1] += prob / 2
				default:
					w[2] += prob / 2
					w[3] += prob / 2
				}
			}
		}
	}
	for i := range w {
		w[i] /= p
	}
	return p, w
}

// TestSwapIsConvolution: the product of correlators is the XOR convolution of
// weights.
func TestSwapIsConvolution(t *testing.T) {
	a, b := weights{.7, .1, .15, .05}, weights{.6, .25, .1, .05}
	var c weights
	for i := range a {
		for j := range b {
			c[i^j] += a[i] * b[j]
		}
	}
	got, want := a.correlators().times(b.correlators()), c.correlators()
	for i := range got {
		near(t, "correlator", got[i], want[i], 1e-12)
	}
	near(t, "fidelity", (1+got[x]+got[y]+got[z])/4, c[0], 1e-12)
}

func TestTails(t *testing.T) {
	p := []float64{0.3, 0.9, 0.5, 1, 0.05, 0.99}
	for k := -1; k <= len(p)+1; k++ {
		var few, many float64
		for outcome := range 1 << len(p) {
			prob, n := 1., 0
			for i, q := range p {
				if outcome>>i&1 == 1 {
					prob *= q
					n++
				} else {
					prob *= 1 - q
				}
			}
			if n <= k {
				few += prob
			}
			if n >= k {
				many += prob
			}
		}
		gotFew, gotMany := Tails(p, k)
		if math.Abs(gotFew-few) > 1e-14 || math.Abs(gotMany-many) > 1e-14 {
			t.Errorf("k=%d: got %g and %g, want %g and %g", k, gotFew, gotMany, few, many)
		}
	}
	// All of 360 right at 0.9: 0.9^360, far in the tail but not rounded away.
	p = slices.Repeat([]float64{0.9}, 360)
	_, many := Tails(p, 360)
	near(t, "0.9^360", many, math.Pow(0.9, 360), 1e-9)
}

func TestTeleportPlausible(t *testing.T) {
	e, err := Compute(load(t, "ions3.toml"), "alice", "charlie", Options{})
	if err != nil {
		t.Fatal(err)
	}
	mean := int(math.Round(360 * e.TeleportMean().Mean))
	if !e.TeleportPlausible(mean, 60) {
		t.Errorf("the mean, %d of 360, is refused", mean)
	}
	if e.TeleportPlausible(180, 60) {
		t.Error("half, as with random corrections, is accepted")
	}
	if e.TeleportPlausible(360, 60) {
		t.Error("all right is accepted, though it is a miracle")
	}
	if e.TeleportPlausible(360*2/3, 60) {
		t.Error("the classical bound is accepted")
	}

	// The region accepted has a probability of at least 1−1e-6, and one more on
	// either side would be refused.
	lo, hi := mean, mean
	for e.TeleportPlausible(lo-1, 60) {
		lo--
	}
	for e.TeleportPlausible(hi+1, 60) {
		hi++
	}
	var p []float64
	for _, v := range e.Teleport {
		p = append(p, slices.Repeat([]float64{v.Mean}, 60)...)
	}
	few, _ := Tails(p, lo-1)
	_, many := Tails(p, hi+1)
	if few+many > 1e-6 || few+many < 1e-8 {
		t.Errorf("accepted from %d to %d, a false alarm of %g", lo, hi, few+many)
	}

	ideal, err := Compute(load(t, "ideal2.toml"), "alice", "bob", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !ideal.TeleportPlausible(360, 60) || ideal.TeleportPlausible(359, 60) {
		t.Error("an ideal link: want all right, and nothing else")
	}
}

func TestWithin5SE(t *testing.T) {
	for _, tt := range []struct {
		measured, expected, stderr float64
		want                       bool
	}{
		{0.9, 0.87, 0.007, true}, {0.9, 0.87, 0.005, false}, {0.84, 0.87, 0.007, true}, {0.84, 0.87, 0.005, false},
		{1, 1 - 1e-15, 0, true}, {0.999, 1, 0, false}, {math.NaN(), 1, 1, false},
	} {
		if got := Within5SE(tt.measured, tt.expected, tt.stderr); got != tt.want {
			t.Errorf("Within5SE(%g, %g, %g) = %t", tt.measured, tt.expected, tt.stderr, got)
		}
	}
}

// TestStdErr draws experiments and compares the spread of their estimates with
// the standard errors. With 4,000 experiments the spread is known to 1.1 %; 6
// of that.
func TestStdErr(t *testing.T) {
	e, err := Compute(load(t, "ions3.toml"), "alice", "charlie", Options{})
	if err != nil {
		t.Fatal(err)
	}
	rng := qnet.NewRand(1, "test")
	product := func(mean float64, n int) (sum float64) {
		for range n {
			if rng.Float64() < (1+mean)/2 {
				sum++
			} else {
				sum--
			}
		}
		return sum / float64(n)
	}
	var f, s, tele [2]float64 // sums and sums of squares
	const experiments = 4000
	add := func(sums *[2]float64, v float64) { sums[0] += v; sums[1] += v * v }
	zz, xx := e.ZZ.Mean/math.Sqrt2, e.XX.Mean/math.Sqrt2
	for range experiments {
		add(&f, (1+product(e.XX.Mean, 40)+product(e.YY.Mean, 40)+product(e.ZZ.Mean, 40))/4)
		add(&s, product(zz, 50)+product(zz, 50)+product(xx, 50)-product(-xx, 50))
		right := 0.
		for _, p := range e.Teleport {
			right += (1 + product(2*p.Mean-1, 10)) / 2
		}
		add(&tele, right/6)
	}
	check := func(what string, sums [2]float64, mean, stderr float64) {
		t.Helper()
		m := sums[0] / experiments
		sd := math.Sqrt(sums[1]/experiments - m*m)
		near(t, what+": standard error", sd, stderr, 0.067)
		if math.Abs(m-mean) > 6*stderr/math.Sqrt(experiments) {
			t.Errorf("%s: mean %g, want %g", what, m, mean)
		}
	}
	check("fidelity", f, e.Fidelity.Mean, e.FidelityStdErr(120))
	check("CHSH", s, e.CHSH.Mean, e.CHSHStdErr(200))
	check("teleportation", tele, e.TeleportMean().Mean, e.TeleportStdErr(10))
	near(t, "rate", e.RateStdErr(10_000)/e.Rate().Mean, e.IntervalSD/e.Interval.Mean/100, 1e-12)

	// The error of an expectation is added.
	e.Fidelity.StdErr = 1
	near(t, "with the error of the expectation", e.FidelityStdErr(1e9), 1, 1e-3)
}

// TestLong: chains beyond closed forms have an expectation with a small
// standard error, the same in each run of one seed.
func TestLong(t *testing.T) {
	s := load(t, "chain10.toml")
	e, err := Compute(s, "n0", "n9", Options{Seed: 1, Pairs: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Compute(s, "n0", "n9", Options{Seed: 1, Pairs: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	if e.ClosedForm || e.Fidelity != again.Fidelity || e.Interval != again.Interval || e.Teleport != again.Teleport {
		t.Errorf("closed form %t; fidelity %v and %v", e.ClosedForm, e.Fidelity, again.Fidelity)
	}
	// Without any decay of memory: V^9, eight gates, eight read-outs, two ends.
	limit := math.Pow(0.88, 9) * math.Pow(0.995, 8) * math.Pow(0.996, 10)
	if e.XX.Mean > limit || e.XX.Mean < 0.8*limit {
		t.Errorf("XX %g; without decay it would be %g", e.XX.Mean, limit)
	}
	near(t, "ZZ", e.ZZ.Mean, math.Pow(0.995, 8)*math.Pow(0.996, 10), 1e-9)
	if e.Interval.StdErr <= 0 || e.Interval.StdErr > 0.02*e.Interval.Mean || e.Fidelity.StdErr > 1e-3 {
		t.Errorf("interval %v, fidelity %v", e.Interval, e.Fidelity)
	}
}

func TestPath(t *testing.T) {
	s := parse(t, `version = 1
network.name = "net"
hardware.h = {}
heralding.h = { model = "ideal", attempt_rate = "1 kHz", probability = 0.5, fidelity = 1 }
nodes = [{name = "a", hardware = "h"}, {name = "d", hardware = "h"}, {name = "c", hardware = "h"}, {name = "b", hardware = "h"}, {name = "e", hardware = "h"}, {name = "alone", hardware = "h"}]
links = [
  {nodes = ["a", "d"], length = "1 m", heralding = "h"},
  {nodes = ["d", "e"], length = "1 m", heralding = "h"},
  {nodes = ["a", "c"], length = "1 m", heralding = "h"},
  {nodes = ["e", "c"], length = "1 m", heralding = "h"},
  {nodes = ["b", "a"], length = "1 m", heralding = "h"},
  {nodes = ["b", "c"], length = "1 m", heralding = "h"},
]
`)
	for _, tt := range []struct{ from, to, want string }{
		{"a", "e", "a c e"}, {"e", "a", "e c a"}, {"a", "b", "a b"}, {"b", "e", "b c e"}, {"b", "d", "b a d"}, {"d", "c", "d a c"},
	} {
		got, err := Path(s, tt.from, tt.to)
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s to %s: %v, %v; want %s", tt.from, tt.to, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		from, to string
		code     qnet.Code
		want     string
	}{
		{"a", "alone", qnet.ErrNoRoute, "network net: no links lead from a to alone: add one to the scenario, or choose other nodes"},
		{"a", "a", qnet.ErrInvalid, "a to itself: a path joins two nodes"},
		{"a", "z", qnet.ErrUnknown, `network net has no node "z"; it has a, d, c, b, e, alone`},
		{"z", "a", qnet.ErrUnknown, `network net has no node "z"; it has a, d, c, b, e, alone`},
	} {
		if _, err := Path(s, tt.from, tt.to); !errors.Is(err, tt.code) || err.Error() != tt.want {
			t.Errorf("%s to %s: got %v, want %s", tt.from, tt.to, err, tt.want)
		}
		if _, err := Compute(s, tt.from, tt.to, Options{}); !errors.Is(err, tt.code) {
			t.Errorf("%s to %s: Compute: got %v, want %s", tt.from, tt.to, err, tt.want)
		}
	}
}

func TestUnsupported(t *testing.T) {
	s := load(t, "ions3.toml")
	s.Nodes[1].Hardware.T1 = 3
	_, err := Compute(s, "alice", "charlie", Options{})
	want := "node bob: hardware ion relaxes (t1 = 3 s), and pairs with relaxation are not Bell-diagonal: no expected values; leave out t1 to have them"
	if !errors.Is(err, qnet.ErrUnsupported) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}

	// A chain that its cut-offs hardly ever let complete is given up.
	s = load(t, "chain10.toml")
	for i := range s.Nodes {
		s.Nodes[i].Cutoff = 1000
	}
	_, err = Compute(s, "n0", "n9", Options{Pairs: 1000})
	want = "no expected values: 1800000 events of the event model gave only 0 of 1000 pairs; the cut-offs may be too short for this path"
	if !errors.Is(err, qnet.ErrUnsupported) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestImports: the expectations share no code with the engines.
func TestImports(t *testing.T) {
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{"qstack/qnet", "qstack/node/scenario"}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(path, "qstack/") && !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

func BenchmarkCompute(b *testing.B) {
	s := load(b, "chain10.toml")
	for b.Loop() {
		if _, err := Compute(s, "n0", "n9", Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
