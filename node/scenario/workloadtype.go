package scenario

import (
	"math"

	"qstack/physical"
	"qstack/qnet"
	"qstack/qnet/toml"
)

// Bounds of the rate of a request, in pairs per second.
const (
	minRate = 1e-3
	maxRate = 1e9

	rateRange = "must be from %g Hz to %g Hz"
)

// purposes reads those that both ends listen to.
func (p *parser) purposes(t *toml.Table) (out []uint64) {
	const key = "listen"
	if t.Has(key) {
		out = []uint64{} // which refuses all
	}
	for i, v := range p.list(t, key) {
		n, ok := v.(int64)
		if !ok || n < 0 {
			p.doc.Problem(toml.Element(t.Key(key), i), "want a purpose, a number from 0 on")
		}
		out = append(out, uint64(n))
	}
	return out
}

// cancel reads which requests are cancelled.
func (p *parser) cancel(t *toml.Table, w *WorkloadType) {
	s := t.Sub("cancel")
	if s == nil {
		return
	}
	w.Cancel = s.RequiredNumber("share", "want the share of the requests, as in share = 0.1")
	w.CancelAfter, _ = p.duration(s, "after")
	s.Done()
}

// bases reads those of the end that asks and, if it measures too, of the other one.
func (p *parser) bases(t *toml.Table, typ RequestType) (creator, peer physical.BasisSource) {
	const key = "bases"
	switch v := t.Get(key).(type) {
	case nil:
	case map[string]any:
		s := t.Sub(key)
		creator.Bases, creator.Weights = p.axes(s.Key("creator"), s.Get("creator")), p.weights(s, "creator_weights")
		peer.Bases, peer.Weights = p.axes(s.Key("peer"), s.Get("peer")), p.weights(s, "peer_weights")
		s.Done()
	default:
		all := p.axes(t.Key(key), v)
		creator.Bases = all
		if v == "CHSH" {
			creator.Bases = []qnet.Basis{qnet.BasisZ, qnet.BasisX}
		}
		if typ == MeasurePairs {
			peer.Bases = all
		}
	}
	return creator, peer
}

// axes returns the bases that a value names, none for nil.
func (p *parser) axes(key string, v any) (out []qnet.Basis) {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		if v == "CHSH" {
			return []qnet.Basis{qnet.BasisXZ(math.Pi / 4), qnet.BasisXZ(-math.Pi / 4)}
		}
		for _, letter := range v {
			b, ok := pauli(string(letter))
			if !ok {
				break
			}
			out = append(out, b)
		}
		if len(out) == len(v) && len(out) > 0 {
			return out
		}
	case []any:
		for i, x := range v {
			b, ok := axis(x)
			if !ok {
				p.doc.Problem(toml.Element(key, i), `want "X", "Y" or "Z", or the angles of an axis to Z and around it, as in ["45 deg", "0 deg"]`)
			}
			out = append(out, b)
		}
		if len(out) > 0 {
			return out
		}
	}
	p.doc.Problem(key, `want letters X, Y and Z, as in "XZ", or "CHSH", or an array of bases`)
	return nil
}

func pauli(name string) (b qnet.Basis, ok bool) {
	switch name {
	case "X":
		return qnet.BasisX, true
	case "Y":
		return qnet.BasisY, true
	case "Z":
		return qnet.BasisZ, true
	}
	return b, false
}

// axis returns the basis that an element of an array names.
func axis(v any) (b qnet.Basis, ok bool) {
	switch v := v.(type) {
	case string:
		return pauli(v)
	case []any:
		if len(v) != 2 {
			return b, false
		}
		for i, angle := range []*float64{&b.Theta, &b.Phi} {
			text, ok := v[i].(string)
			a, problem := toml.Angles.Parse(text)
			if !ok || problem != "" {
				return b, false
			}
			*angle = a
		}
		return b, true
	}
	return b, false
}

// weights returns the numbers at key, nil when there are none.
func (p *parser) weights(t *toml.Table, key string) (out []float64) {
	for i, v := range p.list(t, key) {
		w, ok := number(v)
		if !ok {
			p.doc.Problem(toml.Element(t.Key(key), i), "want a number, not %s", toml.Kind(v))
		}
		out = append(out, w)
	}
	return out
}

// checkStream reports what is wrong with a stream.
func (t *WorkloadType) checkStream(key string, report reporter) {
	switch {
	case t.Lasts < 0 || t.Lasts > maxDuration:
		report(key+".lasts", "must be above 0 and at most 24 h")
	case t.Consecutive:
		report(key+".lasts", "pairs that are alive together have a number: set pairs")
	case t.Rate == 0:
		report(key+".lasts", "want the rate of a stream too, as in rate = %q: with lasts it is what the load is counted by", "20 Hz")
	case t.PairsMin != 0 || t.PairsMax != 0:
		report(key+".pairs", "must be 0 of a stream")
	}
}

// checkBases reports what is wrong with the bases.
func (t *WorkloadType) checkBases(key string, report reporter) {
	for _, s := range []struct {
		name   string
		source *physical.BasisSource
		wanted bool
	}{{"creator", &t.Bases, t.Type != KeepPairs}, {"peer", &t.PeerBases, t.Type == MeasurePairs}} {
		if len(s.source.Bases) == 0 && s.source.Weights == nil {
			continue
		}
		switch err := s.source.Validate(); {
		case !s.wanted && t.Type == KeepPairs:
			report(key, "pairs of type = %q are not measured", KeepPairs)
			return
		case !s.wanted:
			report(key+"."+s.name, "the peer of type = %q keeps its half", t.Type)
		case len(s.source.Bases) == 0:
			report(key+"."+s.name+"_weights", "want the bases too, as in %s = %q", s.name, "XZ")
		case err != nil:
			report(key, "%s: %v", s.name, err)
		}
	}
}
