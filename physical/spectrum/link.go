package spectrum

import (
	"qstack/physical/herald"
	"qstack/qnet"
)

// Link is what a plan gives to two users.
type Link struct {
	A, B string // the users' names, in the order of the plan
	// Pairs are the numbers of the pairs of channels that they share, ascending.
	Pairs []int
	// Source is the source as these two users see it. PairsPerSecond is the rate
	// of pairs of which each gets one photon. EtaA and EtaB are their efficiencies.
	// DarkRateA and DarkRateB hold half of what they detect of photons of all
	// other pairs.
	Source herald.ContinuousSource
	// Model is that of Source.
	Model herald.PairSource
}

// Links returns the links of the plan, in the order of their users. It fails with
// qnet.ErrInvalid when the plan is not valid, or when a link is outside the range
// of herald.ContinuousSource; the error then names the link.
func (p Plan) Links() ([]Link, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	photons := make([]float64, len(p.Users)) // per second, that arrive at each user
	type shared struct {
		pairs   []int
		rate    float64 // of pairs per second
		visible float64 // the same, weighted with the visibility
	}
	links := make([]shared, len(p.Users)*len(p.Users)) // by user A, user B above A
	for i, c := range p.Pairs {
		k := i + 1
		up, down := p.shares(k), p.shares(-k)
		for _, s := range up {
			photons[s.user] += c.PairsPerSecond * s.of
		}
		for _, s := range down {
			photons[s.user] += c.PairsPerSecond * s.of
		}
		for _, a := range up {
			for _, b := range down {
				if a.user == b.user {
					return nil, qnet.Errorf(qnet.ErrInvalid, "channel plan: user %q gets channels +%d and -%d, want at most one of a pair: photons that belong together would reach the same user", p.Users[a.user].Name, k, k)
				}
				l := &links[min(a.user, b.user)*len(p.Users)+max(a.user, b.user)]
				if n := len(l.pairs); n == 0 || l.pairs[n-1] != k {
					l.pairs = append(l.pairs, k)
				}
				rate := c.PairsPerSecond * a.of * b.of
				l.rate += rate
				l.visible += rate * c.Visibility
			}
		}
	}
	var list []Link
	for i, l := range links {
		if len(l.pairs) == 0 {
			continue
		}
		a, b := i/len(p.Users), i%len(p.Users)
		ua, ub := p.Users[a], p.Users[b]
		link := Link{A: ua.Name, B: ub.Name, Pairs: l.pairs, Source: herald.ContinuousSource{
			PairsPerSecond: l.rate,
			WindowNS:       p.WindowNS,
			JitterNS:       jitter(ua, ub),
			EtaA:           ua.Efficiency,
			EtaB:           ub.Efficiency,
			Visibility:     min(1, l.visible/l.rate),
			Label:          p.Label,
			DarkRateA:      ua.DarkRate + ua.Efficiency*max(0, photons[a]-l.rate)/2,
			DarkRateB:      ub.DarkRate + ub.Efficiency*max(0, photons[b]-l.rate)/2,
			DeadTimeNSA:    ua.DeadTimeNS,
			DeadTimeNSB:    ub.DeadTimeNS,
		}}
		var err error
		if link.Model, err = link.Source.PairSource(); err != nil {
			return nil, qnet.Errorf(qnet.CodeOf(err), "channel plan: link of %q and %q: %v", ua.Name, ub.Name, err)
		}
		list = append(list, link)
	}
	return list, nil
}

// Link returns the link of two users, in whichever order, of a plan. It fails
// with qnet.ErrInvalid when the plan is not valid, and with qnet.ErrUnknown when
// the plan gives them no pair of channels.
func (p Plan) Link(a, b string) (Link, error) {
	links, err := p.Links()
	if err != nil {
		return Link{}, err
	}
	for _, l := range links {
		if l.A == a && l.B == b || l.A == b && l.B == a {
			return l, nil
		}
	}
	return Link{}, qnet.Errorf(qnet.ErrUnknown, "channel plan: users %q and %q share no pair of channels", a, b)
}
