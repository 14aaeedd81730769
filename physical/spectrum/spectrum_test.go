package spectrum_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/spectrum"
	"qstack/qnet"
	"qstack/qnet/qnettest"
)

// mesh connects each of n users with each other by a pair of channels of its
// own: n(n−1) channels (Wengerowsky et al., 2018).
func mesh(n int, pair spectrum.Pair, user spectrum.User) spectrum.Plan {
	p := spectrum.Plan{WindowNS: 1}
	for i := range n {
		u := user
		u.Name = fmt.Sprintf("u%d", i)
		p.Users = append(p.Users, u)
		for j := range i {
			p.Pairs = append(p.Pairs, pair)
			k := len(p.Pairs)
			p.Routes = append(p.Routes, spectrum.Route{Channel: k, Users: []string{u.Name}}, spectrum.Route{Channel: -k, Users: []string{p.Users[j].Name}})
		}
	}
	return p
}

// city connects eight users by 16 channels and splitters of two ports, as in
// Joshi et al. (2020): six pairs of channels make a mesh of four groups of two
// users, two more connect the users within the groups, and two links between
// groups twice over.
func city(pair spectrum.Pair, user spectrum.User) spectrum.Plan {
	p := mesh(4, pair, user)
	p.Users = nil
	for i := range 8 {
		u := user
		u.Name = fmt.Sprintf("u%d%c", i/2, 'a'+rune(i%2))
		p.Users = append(p.Users, u)
	}
	for i, r := range p.Routes {
		p.Routes[i].Users = []string{r.Users[0] + "a", r.Users[0] + "b"}
	}
	p.Pairs = append(p.Pairs, pair, pair)
	p.Routes = append(p.Routes,
		spectrum.Route{Channel: 7, Users: []string{"u0a", "u1a"}}, spectrum.Route{Channel: -7, Users: []string{"u0b", "u1b"}},
		spectrum.Route{Channel: 8, Users: []string{"u2a", "u3a"}}, spectrum.Route{Channel: -8, Users: []string{"u2b", "u3b"}})
	return p
}

func links(t testing.TB, p spectrum.Plan) []spectrum.Link {
	t.Helper()
	l, err := p.Links()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func link(t testing.TB, p spectrum.Plan, a, b string) spectrum.Link {
	t.Helper()
	l, err := p.Link(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func visibility(m herald.Model) float64 { return (4*herald.Fidelity(m) - 1) / 3 }

// Everybody has a link with everybody else.
func TestFullyConnected(t *testing.T) {
	pair, user := spectrum.Pair{PairsPerSecond: 1e5, Visibility: 0.98}, spectrum.User{Efficiency: 0.1, DarkRate: 1000}
	for n := 2; n <= 8; n++ {
		p := mesh(n, pair, user)
		l := links(t, p)
		if len(l) != n*(n-1)/2 || len(p.Routes) != n*(n-1) {
			t.Errorf("%d users: %d links of %d channels", n, len(l), len(p.Routes))
		}
		for _, x := range l {
			if x.Model != l[0].Model || len(x.Pairs) != 1 {
				t.Errorf("%d users: link of %s and %s differs: %+v", n, x.A, x.B, x)
			}
		}
	}
	l := links(t, city(pair, user))
	if len(l) != 28 {
		t.Fatalf("%d links, want 28", len(l))
	}
	double := 0
	for _, x := range l {
		switch len(x.Pairs) {
		case 1:
			if math.Abs(x.Source.PairsPerSecond/(1e5/4)-1) > 1e-12 {
				t.Errorf("link of %s and %s gets %g pairs per second, want a quarter of 1e5", x.A, x.B, x.Source.PairsPerSecond)
			}
		case 2:
			double++
			if math.Abs(x.Source.PairsPerSecond/(1e5/2)-1) > 1e-12 {
				t.Errorf("link of %s and %s gets %g pairs per second, want half of 1e5", x.A, x.B, x.Source.PairsPerSecond)
			}
		}
		// Each user gets half of four channels.
		if dark := 1000 + 0.1*(2e5-x.Source.PairsPerSecond)/2; math.Abs(x.Source.DarkRateA/dark-1) > 1e-12 || math.Abs(x.Source.DarkRateB/dark-1) > 1e-12 {
			t.Errorf("link of %s and %s has background of %g and %g, want %g", x.A, x.B, x.Source.DarkRateA, x.Source.DarkRateB, dark)
		}
	}
	if double != 4 {
		t.Errorf("%d links have two pairs of channels, want 4", double)
	}
}

// The links are what the users of the whole source see: coincidences and errors
// of each two of them. False alarms below 1e-6.
func TestLinksEqualPhotons(t *testing.T) {
	const windows = 4e8 // of a nanosecond
	uneven := spectrum.Plan{
		WindowNS: 1,
		Pairs: []spectrum.Pair{
			{PairsPerSecond: 3e6, Visibility: 0.98}, {PairsPerSecond: 2e6, Visibility: 0.6},
			{PairsPerSecond: 4e6, Visibility: 0.9}, {PairsPerSecond: 1e6, Visibility: 1},
		},
		Users: []spectrum.User{
			{Name: "a", Efficiency: 0.1, DarkRate: 3e4}, {Name: "b", Efficiency: 0.07, DarkRate: 1e4},
			{Name: "c", Efficiency: 0.12}, {Name: "d", Efficiency: 0.05, DarkRate: 5e4},
		},
		Routes: []spectrum.Route{
			{Channel: 1, Users: []string{"a", "", "c", "a"}, Loss: 0.3}, {Channel: -1, Users: []string{"b"}},
			{Channel: 2, Users: []string{"b", "c"}, Loss: 1}, {Channel: -2, Users: []string{"a", "d", ""}, Loss: 0.5},
			{Channel: 3, Users: []string{"d"}},
			{Channel: -4, Users: []string{"c"}}, {Channel: 4, Users: []string{"d", "a"}},
		},
	}
	for i, p := range []spectrum.Plan{
		city(spectrum.Pair{PairsPerSecond: 2e6, Visibility: 0.95}, spectrum.User{Efficiency: 0.1, DarkRate: 2e4}),
		uneven,
	} {
		n := network{rng: rand.New(rand.NewPCG(uint64(i), 1))}
		index := map[string]int{"": -1}
		for i, u := range p.Users {
			index[u.Name] = i
			n.receivers = append(n.receivers, receiver{u.Efficiency, u.DarkRate * 1e-9})
		}
		for _, c := range p.Pairs {
			n.emitters = append(n.emitters, emitter{pairs: c.PairsPerSecond * 1e-9, visibility: c.Visibility})
		}
		for _, r := range p.Routes {
			side, k := 0, r.Channel
			if k < 0 {
				side, k = 1, -k
			}
			e := &n.emitters[k-1]
			e.survival[side] = math.Pow(10, -r.Loss/10)
			for _, name := range r.Users {
				e.ports[side] = append(e.ports[side], index[name])
			}
		}
		count := n.run(windows)
		var got []int
		var want []float64
		rest, none := int(windows), 1.0
		for _, l := range links(t, p) {
			c := count[index[l.A]][index[l.B]]
			w := l.Model.Heralds()[0].State.Weights()
			success := l.Model.SuccessProbability()
			wrong := success * (w[qnet.PsiPlus] + w[qnet.PsiMinus])
			t.Logf("%s-%s: coincidences %d, expected %.1f, errors %d, expected %.1f", l.A, l.B, c[0]+c[1], success*windows, c[1], wrong*windows)
			got, want = append(got, c[0], c[1]), append(want, success-wrong, wrong)
			rest, none = rest-c[0]-c[1], none-success
		}
		qnettest.Fit(t, fmt.Sprintf("plan %d: coincidences and errors of all links", i), append(got, rest), append(want, none))
	}
}

// A link with more channels has a higher rate. Its visibility is that of
// C/(C+A), with C=n·R·η² and A=((n+m)·R·η+2d)²·τ for n channels of its own beside m
// others at each end: without others each channel costs visibility; with m
// others it is best at n=m, but for dark counts.
func TestPremiumLink(t *testing.T) {
	const rate, eta, dark, vis, window = 1e6, 0.1, 300.0, 0.97, 0.3e-9
	for _, others := range []int{0, 3} {
		p := spectrum.Plan{WindowNS: window * 1e9, Users: []spectrum.User{{Name: "a", Efficiency: eta, DarkRate: dark}, {Name: "b", Efficiency: eta, DarkRate: dark}, {Name: "c"}}}
		for range others {
			p.Pairs = append(p.Pairs, spectrum.Pair{PairsPerSecond: rate, Visibility: vis}, spectrum.Pair{PairsPerSecond: rate, Visibility: vis})
			k := len(p.Pairs)
			p.Routes = append(p.Routes, spectrum.Route{Channel: k - 1, Users: []string{"a"}}, spectrum.Route{Channel: k, Users: []string{"b"}})
		}
		lastRate, lastVis := 0.0, 0.0
		for n := 1; n <= 8; n++ {
			p.Pairs = append(p.Pairs, spectrum.Pair{PairsPerSecond: rate, Visibility: vis})
			k := len(p.Pairs)
			p.Routes = append(p.Routes, spectrum.Route{Channel: k, Users: []string{"a"}}, spectrum.Route{Channel: -k, Users: []string{"b"}})
			l := link(t, p, "b", "a")
			gotRate, gotVis := l.Model.SuccessProbability()/window, visibility(l.Model)
			c := float64(n) * rate * eta * eta
			s := float64(n+others)*rate*eta + 2*dark
			a := s * s * window
			if math.Abs(gotRate/(c+a)-1) > 1e-3 {
				t.Errorf("%d channels beside %d: %g coincidences per second, want %g", n, others, gotRate, c+a)
			}
			if want := vis * c / (c + a); math.Abs(gotVis/want-1) > 1e-3 {
				t.Errorf("%d channels beside %d: visibility %g, want %g", n, others, gotVis, want)
			}
			if gotRate <= lastRate {
				t.Errorf("%d channels beside %d: %g coincidences per second, no more than %g with one less", n, others, gotRate, lastRate)
			}
			if n > 1 && (gotVis > lastVis) != (n <= others) {
				t.Errorf("%d channels beside %d: visibility went from %g to %g", n, others, lastVis, gotVis)
			}
			lastRate, lastVis = gotRate, gotVis
		}
	}
}

// Background, jitter and dead time: per detector, half of a user's other photons
// count as 1−(1−d)·exp(−b/2), and all that a detector sees makes it blind.
func TestBackground(t *testing.T) {
	p := mesh(3, spectrum.Pair{PairsPerSecond: 2e5, Visibility: 1}, spectrum.User{Efficiency: 0.3, DarkRate: 2000, JitterNS: 0.1})
	m := link(t, p, "u0", "u1").Model
	d, b := 1-math.Exp(-2000*1e-9), 0.3*2e5*1e-9
	if want := 1 - (1-d)*math.Exp(-b/2); math.Abs(m.DarkA/want-1) > 1e-9 || math.Abs(m.DarkB/want-1) > 1e-9 {
		t.Errorf("a detector clicks with probabilities %g and %g without the link's pairs, want %g", m.DarkA, m.DarkB, want)
	}
	// Two detectors of 0.1 ns, half a window of 0.5 ns to either side.
	if want := math.Erfc(0.5 / (0.1 * math.Sqrt2 * math.Sqrt2)); math.Abs(m.Split/want-1) > 1e-12 {
		t.Errorf("%g of the pairs are split, want %g", m.Split, want)
	}
	if m.EtaA != 0.3 || m.PeriodNS != 1 || math.Abs(m.MeanPairs/2e-4-1) > 1e-12 {
		t.Errorf("model %+v, want efficiency 0.3, period 1, 2e-4 pairs", m)
	}
	p.Users[0].DeadTimeNS = 1000
	live := 1 / (1 + (0.3*2*2e5/2+2000)*1e-6) // two channels
	for _, other := range []string{"u1", "u2"} {
		if l := link(t, p, "u0", other); math.Abs(l.Model.EtaA/(0.3*live)-1) > 1e-9 || l.Model.EtaB != 0.3 {
			t.Errorf("efficiencies %g and %g, want %g with dead time and 0.3 without", l.Model.EtaA, l.Model.EtaB, 0.3*live)
		}
	}
}

// Random plans: what is given to two users is taken from no third; the photons
// add up; shares of unequal visibility mix.
func TestPlanProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	checked := 0
	for range 3000 {
		p := spectrum.Plan{WindowNS: 1, Label: qnet.BellLabel(rng.IntN(4))}
		users := 2 + rng.IntN(5)
		for i := range users {
			p.Users = append(p.Users, spectrum.User{Name: fmt.Sprint(i), Efficiency: 0.01 + 0.1*rng.Float64(), DarkRate: 1000 * rng.Float64()})
		}
		type key struct{ a, b string }
		rate, visible, arrives := map[key]float64{}, map[key]float64{}, map[string]float64{}
		for k := 1; k <= 1+rng.IntN(6); k++ {
			pair := spectrum.Pair{PairsPerSecond: 1e4 + 1e5*rng.Float64(), Visibility: rng.Float64()}
			p.Pairs = append(p.Pairs, pair)
			// Users below the border may get the one channel, others the other.
			border := 1 + rng.IntN(users-1)
			up, down := spectrum.Route{Channel: k, Loss: 3 * rng.Float64()}, spectrum.Route{Channel: -k, Loss: 3 * rng.Float64()}
			if rng.IntN(2) == 0 {
				up.Channel, down.Channel = -k, k
			}
			for range 1 + rng.IntN(4) {
				up.Users = append(up.Users, fmt.Sprint(rng.IntN(border)))
			}
			for range 1 + rng.IntN(4) {
				down.Users = append(down.Users, fmt.Sprint(border+rng.IntN(users-border)))
			}
			p.Routes = append(p.Routes, up, down)
			one, other := math.Pow(10, -up.Loss/10)/float64(len(up.Users)), math.Pow(10, -down.Loss/10)/float64(len(down.Users))
			for _, a := range up.Users {
				arrives[a] += pair.PairsPerSecond * one
				for _, b := range down.Users {
					rate[key{a, b}] += pair.PairsPerSecond * one * other
					visible[key{a, b}] += pair.PairsPerSecond * one * other * pair.Visibility
				}
			}
			for _, b := range down.Users {
				arrives[b] += pair.PairsPerSecond * other
			}
		}
		rng.Shuffle(len(p.Routes), func(i, j int) { p.Routes[i], p.Routes[j] = p.Routes[j], p.Routes[i] })
		l := links(t, p)
		if len(l) != len(rate) {
			t.Fatalf("%+v: %d links, want %d", p, len(l), len(rate))
		}
		for _, x := range l {
			k := key{x.A, x.B}
			var ends [2]spectrum.User
			for _, u := range p.Users {
				switch u.Name {
				case x.A:
					ends[0] = u
				case x.B:
					ends[1] = u
				}
			}
			darkA := ends[0].DarkRate + (arrives[x.A]-rate[k])*ends[0].Efficiency/2
			darkB := ends[1].DarkRate + (arrives[x.B]-rate[k])*ends[1].Efficiency/2
			s := x.Source
			for _, v := range [][2]float64{{s.PairsPerSecond, rate[k]}, {s.Visibility, visible[k] / rate[k]}, {s.DarkRateA, darkA}, {s.DarkRateB, darkB}, {s.EtaA, ends[0].Efficiency}, {s.EtaB, ends[1].Efficiency}} {
				if math.Abs(v[0]-v[1]) > 1e-9*math.Abs(v[1])+1e-9 {
					t.Fatalf("%+v: link %+v: %g, want %g", p, x, v[0], v[1])
				}
			}
			if s.Label != p.Label {
				t.Fatalf("link announces %v, want %v", s.Label, p.Label)
			}
			checked++
		}
	}
	if checked < 3000 {
		t.Errorf("%d links checked", checked)
	}
}

// A channel is assigned anew while the network runs: the plan before stays as
// it was, the links of the new one are those of a plan made so from the start, and
// the timeline of a link goes over to the new model.
func TestAssign(t *testing.T) {
	pair, user := spectrum.Pair{PairsPerSecond: 1e6, Visibility: 0.98}, spectrum.User{Efficiency: 0.1, DarkRate: 1000}
	p := mesh(4, pair, user) // pairs: 1 is u1-u0, 2 u2-u0, 3 u2-u1, 4 u3-u0 …
	before := links(t, p)
	q, err := p.Assign(spectrum.Route{Channel: 3, Users: []string{"u0"}}) // from u2-u1 to u0-u1
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(links(t, p), before) {
		t.Error("the plan before has changed")
	}
	if _, err := q.Link("u1", "u2"); err == nil {
		t.Error("u1 and u2 have a link without a channel")
	} else {
		qnettest.WantErr(t, err, qnet.ErrUnknown, `users "u1" and "u2" share no pair of channels`)
	}
	old, premium := link(t, p, "u0", "u1"), link(t, q, "u0", "u1")
	if !reflect.DeepEqual(premium.Pairs, []int{1, 3}) {
		t.Errorf("premium link has pairs %v, want 1 and 3", premium.Pairs)
	}
	if r := premium.Model.SuccessProbability() / old.Model.SuccessProbability(); !(r > 1.9 && r < 2.1) {
		t.Errorf("a second channel multiplies the rate by %g, want about 2", r)
	}
	back, err := q.Assign(spectrum.Route{Channel: 3, Users: []string{"u2"}})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(links(t, back), before) {
		t.Error("after assigning a channel back, links differ")
	}
	none, err := p.Assign(spectrum.Route{Channel: 3})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(links(t, none)); n != 5 || len(none.Routes) != 11 {
		t.Errorf("%d links of %d channels without one channel, want 5 of 11", n, len(none.Routes))
	}

	l, err := herald.NewTimeline(herald.Always(old.Model))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Replace(herald.Schedule{{From: 1e9, Model: premium.Model}}); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(6, 6))
	var count [2]int // in the second before, and after
	for c, ok := l.Next(rng, physical.CycleBase, physical.Pattern{}); ok && l.Cycles().Instant(c) < 2e9; c, ok = l.Next(rng, c+1, physical.Pattern{}) {
		count[l.Segment(c)]++
	}
	for i, m := range []herald.Model{old.Model, premium.Model} {
		want := m.SuccessProbability() * 1e9
		if math.Abs(float64(count[i])-want) > 5*math.Sqrt(want) { // false alarms below 6e-7
			t.Errorf("%d coincidences in second %d, want %.0f", count[i], i, want)
		}
	}
}

func TestValidate(t *testing.T) {
	with := func(change func(p *spectrum.Plan)) error {
		p := mesh(3, spectrum.Pair{PairsPerSecond: 1e5, Visibility: 1}, spectrum.User{Efficiency: 0.1})
		change(&p)
		return p.Validate()
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{with(func(p *spectrum.Plan) { p.Label = 7 }), "channel plan: label is 7, want one of the four Bell labels 0 to 3"},
		{with(func(p *spectrum.Plan) { p.WindowNS = 0 }), "channel plan: coincidence window in nanoseconds is 0, want above 0 and at most 1e9"},
		{with(func(p *spectrum.Plan) { p.Pairs[1].PairsPerSecond = math.NaN() }), "channel plan: pairs per second of pair 2 is NaN, want above 0"},
		{with(func(p *spectrum.Plan) { p.Pairs[1].Visibility = 1.1 }), "channel plan: visibility of pair 2 is 1.1, want from 0 to 1"},
		{with(func(p *spectrum.Plan) { p.Pairs = make([]spectrum.Pair, 1001) }), "channel plan: it has 1001 pairs of channels, want at most 1000"},
		{with(func(p *spectrum.Plan) { p.Users = make([]spectrum.User, 1001) }), "channel plan: it has 1001 users, want at most 1000"},
		{with(func(p *spectrum.Plan) { p.Users[2].Name = "" }), "channel plan: user 2 has no name"},
		{with(func(p *spectrum.Plan) { p.Users[2].Name = "u0" }), `channel plan: there are two users "u0"`},
		{with(func(p *spectrum.Plan) { p.Users[2].Efficiency = 2 }), `channel plan: user "u2": efficiency is 2, want from 0 to 1`},
		{with(func(p *spectrum.Plan) { p.Users[2].DarkRate = -1 }), `channel plan: user "u2": dark counts per second of a detector is -1`},
		{with(func(p *spectrum.Plan) { p.Users[2].DeadTimeNS = math.Inf(1) }), `channel plan: user "u2": dead time in nanoseconds is +Inf`},
		{with(func(p *spectrum.Plan) { p.Users[2].JitterNS = -1 }), `channel plan: user "u2": jitter in nanoseconds is -1`},
		{with(func(p *spectrum.Plan) { p.Routes[0].Channel = 0 }), "channel plan: route 0 is of channel 0, want ±1 to ±3, the number of pairs"},
		{with(func(p *spectrum.Plan) { p.Routes[0].Channel = -4 }), "channel plan: route 0 is of channel -4, want ±1 to ±3"},
		{with(func(p *spectrum.Plan) { p.Routes[0].Channel = math.MinInt }), "channel plan: route 0 is of channel -9223372036854775808, want"},
		{with(func(p *spectrum.Plan) { p.Routes[0].Channel = 2 }), "channel plan: there are two routes for channel +2"},
		{with(func(p *spectrum.Plan) { p.Routes[0].Users = nil }), "channel plan: channel +1 has 0 ports, want 1 to 64"},
		{with(func(p *spectrum.Plan) { p.Routes[0].Loss = -1 }), "channel plan: loss of channel +1 in dB is -1, want from 0 to 300"},
		{with(func(p *spectrum.Plan) { p.Routes[0].Users = []string{"eve"} }), `channel plan: channel +1 goes to "eve", who is no user`},
		{with(func(p *spectrum.Plan) { p.Routes[0].Users = []string{"u1", "u0"} }), `channel plan: user "u0" gets channels +1 and -1, want at most one of a pair`},
		{with(func(p *spectrum.Plan) { p.Pairs[0].PairsPerSecond = 1e10 }), `channel plan: link of "u0" and "u1": continuous pair source: pairs per second is 1e+10`},
		{with(func(p *spectrum.Plan) { p.Users[0].Efficiency = 0 }), `channel plan: link of "u0" and "u1": pair source: detection efficiencies 0 and 0.1`},
	} {
		qnettest.WantErr(t, c.err, qnet.ErrInvalid, c.want)
	}
	if _, err := mesh(3, spectrum.Pair{PairsPerSecond: 1e5}, spectrum.User{Efficiency: 0.1}).Assign(spectrum.Route{Channel: 9, Users: []string{"u0"}}); err == nil {
		t.Error("a channel that the source does not have is assigned")
	}
}

func BenchmarkLinks(b *testing.B) {
	p := city(spectrum.Pair{PairsPerSecond: 1e5, Visibility: 1}, spectrum.User{Efficiency: 0.1})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Links(); err != nil {
			b.Fatal(err)
		}
	}
}
