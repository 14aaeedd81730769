// Package spectrum shares one broadband source of photon pairs among many users.
//
// The photons of a pair leave the source at frequencies that lie as far above
// as below half of the pump's, so a demultiplexer that cuts the spectrum into
// channels finds them in channels +k and −k. Who gets which channel, whole or
// through a beam splitter that several users share, is a Plan: two users have a
// link when one gets a channel and the other its counterpart. No user depends on
// another, and a new plan changes the links while the network runs. See
// S. Wengerowsky et al., Nature 564, 225 (2018), arXiv:1801.06194, and S. K. Joshi
// et al., Science Advances 6, eaba0959 (2020), arXiv:1907.08229.
//
// Each link is a herald.ContinuousSource of its own. That is exact: pairs come
// independently of each other, and each goes its own way, so those that go to two
// given users are a Poisson process that is independent of all others. The
// photons that a user gets of other pairs are unpolarised and of no use to the
// link: they are background light, half of it in each of the two detectors.
package spectrum

import (
	"math"

	"qstack/physical/optics"
	"qstack/qnet"
)

// Plan is a source and who gets which of its channels.
type Plan struct {
	// Label is the Bell state that the source aims at.
	Label qnet.BellLabel
	// WindowNS is the full width of the coincidence window in nanoseconds, above
	// 0. The users know the delays of all channels: one window serves all that two
	// users share.
	WindowNS float64
	// Pairs are the pairs of channels of the source: the photons of number k,
	// counted from 1, are in the channels +k and −k. At most 1000.
	Pairs []Pair
	// Users are those who can get channels, at most 1000, of different names.
	Users []User
	// Routes say who gets a channel, at most one for each. What is in a channel
	// without a route is lost.
	Routes []Route
}

// Pair is a pair of channels whose photons belong together.
type Pair struct {
	PairsPerSecond float64 // rate at which photon pairs are created in these channels, above 0 and at most 1e15
	Visibility     float64 // of the pairs, in [0,1]: their fidelity is (1+3·Visibility)/4
}

// User is one of those who share the source.
type User struct {
	Name       string  // not empty
	Efficiency float64 // probability that a photon makes a live detector click, from where the channels of the user are joined: fibre, analyser and detector, in [0,1]
	DarkRate   float64 // rate per second at which each of the two detectors clicks without the source: dark counts and stray light, from 0 to 1e12
	DeadTimeNS float64 // dead time of a detector in nanoseconds, from 0 to 1e9
	JitterNS   float64 // standard deviation of the instant of a click in nanoseconds, from 0 to 1e9
}

// Route is the way of one channel.
type Route struct {
	// Channel is +k or −k, of pair number k.
	Channel int
	// Users are the names of those at the ports of a balanced beam splitter, at
	// most 64. A photon takes each port with the same probability. A single one
	// stands for no beam splitter, an empty name for a port that is not used.
	Users []string
	// Loss is that of the channel in dB, from 0 to 300: the demultiplexer and
	// what the beam splitter takes beyond its division.
	Loss float64
}

const (
	maxPairs = 1000
	maxUsers = 1000
	maxPorts = 64 // of a beam splitter
)

// Validate returns nil, or an error of code qnet.ErrInvalid that names the
// impossible parameter, its value and its range. A user who gets both channels of
// a pair is refused: photons that belong together and go the same way are no
// background light, and serve nobody.
func (p Plan) Validate() error {
	_, err := p.Links()
	return err
}

func (p Plan) validate() error {
	switch {
	case !p.Label.Valid():
		return qnet.Errorf(qnet.ErrInvalid, "channel plan: label is %d, want one of the four Bell labels 0 to 3", uint8(p.Label))
	case !(p.WindowNS > 0 && p.WindowNS <= 1e9):
		return invalid("channel plan: coincidence window in nanoseconds", p.WindowNS, "above 0 and at most 1e9")
	case len(p.Pairs) > maxPairs:
		return qnet.Errorf(qnet.ErrInvalid, "channel plan: it has %d pairs of channels, want at most %d", len(p.Pairs), maxPairs)
	case len(p.Users) > maxUsers:
		return qnet.Errorf(qnet.ErrInvalid, "channel plan: it has %d users, want at most %d", len(p.Users), maxUsers)
	}
	for i, c := range p.Pairs {
		switch {
		case !(c.PairsPerSecond > 0 && c.PairsPerSecond <= 1e15):
			return qnet.Errorf(qnet.ErrInvalid, "channel plan: pairs per second of pair %d is %g, want above 0 and at most 1e15", i+1, c.PairsPerSecond)
		case !(c.Visibility >= 0 && c.Visibility <= 1):
			return qnet.Errorf(qnet.ErrInvalid, "channel plan: visibility of pair %d is %g, want from 0 to 1", i+1, c.Visibility)
		}
	}
	for i, u := range p.Users {
		if u.Name == "" {
			return qnet.Errorf(qnet.ErrInvalid, "channel plan: user %d has no name", i)
		}
		if p.user(u.Name) != i {
			return qnet.Errorf(qnet.ErrInvalid, "channel plan: there are two users %q", u.Name)
		}
		for _, v := range [...]struct {
			name  string
			value float64
			max   float64
			want  string
		}{
			{"efficiency", u.Efficiency, 1, "from 0 to 1"},
			{"dark counts per second of a detector", u.DarkRate, 1e12, "from 0 to 1e12"},
			{"dead time in nanoseconds", u.DeadTimeNS, 1e9, "from 0 to 1e9"},
			{"jitter in nanoseconds", u.JitterNS, 1e9, "from 0 to 1e9"},
		} {
			if !(v.value >= 0 && v.value <= v.max) {
				return qnet.Errorf(qnet.ErrInvalid, "channel plan: user %q: %s is %g, want %s", u.Name, v.name, v.value, v.want)
			}
		}
	}
	for i, r := range p.Routes {
		switch k := max(r.Channel, -r.Channel); {
		case k < 1 || k > len(p.Pairs):
			return qnet.Errorf(qnet.ErrInvalid, "channel plan: route %d is of channel %d, want ±1 to ±%d, the number of pairs", i, r.Channel, len(p.Pairs))
		case p.route(r.Channel) != i:
			return qnet.Errorf(qnet.ErrInvalid, "channel plan: there are two routes for channel %+d", r.Channel)
		case len(r.Users) < 1 || len(r.Users) > maxPorts:
			return qnet.Errorf(qnet.ErrInvalid, "channel plan: channel %+d has %d ports, want 1 to %d", r.Channel, len(r.Users), maxPorts)
		case !(r.Loss >= 0 && r.Loss <= 300):
			return qnet.Errorf(qnet.ErrInvalid, "channel plan: loss of channel %+d in dB is %g, want from 0 to 300", r.Channel, r.Loss)
		}
		for _, name := range r.Users {
			if name != "" && p.user(name) < 0 {
				return qnet.Errorf(qnet.ErrInvalid, "channel plan: channel %+d goes to %q, who is no user", r.Channel, name)
			}
		}
	}
	return nil
}

// user returns the index of the first user of the name, −1 when there is none.
func (p Plan) user(name string) int {
	for i := range p.Users {
		if p.Users[i].Name == name {
			return i
		}
	}
	return -1
}

// route returns the index of the first route of a channel, −1 when there is none.
func (p Plan) route(channel int) int {
	for i := range p.Routes {
		if p.Routes[i].Channel == channel {
			return i
		}
	}
	return -1
}

// Assign returns the plan in which a channel goes the way of r, whatever way it
// went, or nowhere if r has no users. The plan p stays as it is. Assign fails
// with qnet.ErrInvalid when the new plan is not valid.
func (p Plan) Assign(r Route) (Plan, error) {
	var routes []Route
	for _, old := range p.Routes {
		if old.Channel != r.Channel {
			routes = append(routes, old)
		}
	}
	if len(r.Users) > 0 {
		r.Users = append([]string(nil), r.Users...)
		routes = append(routes, r)
	}
	p.Routes = routes
	if err := p.Validate(); err != nil {
		return Plan{}, err
	}
	return p, nil
}

// share is what a user gets of a channel.
type share struct {
	user int
	of   float64 // probability that a photon of the channel goes to the user
}

// shares returns what each user gets of a channel, in the order of its ports.
func (p Plan) shares(channel int) []share {
	i := p.route(channel)
	if i < 0 {
		return nil
	}
	r := p.Routes[i]
	port := optics.Transmission(r.Loss) / float64(len(r.Users))
	var list []share
ports:
	for _, name := range r.Users {
		if name == "" {
			continue
		}
		u := p.user(name)
		for k := range list {
			if list[k].user == u {
				list[k].of += port
				continue ports
			}
		}
		list = append(list, share{u, port})
	}
	return list
}

func invalid(what string, value float64, want string) error {
	return qnet.Errorf(qnet.ErrInvalid, "%s is %g, want %s", what, value, want)
}

// jitter returns the standard deviation of the difference of two clicks.
func jitter(a, b User) float64 { return math.Hypot(a.JitterNS, b.JitterNS) }
