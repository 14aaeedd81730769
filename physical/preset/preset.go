// Package preset describes published quantum hardware: links and devices, with
// the source of every number, what was measured on them, and what the models of
// package herald make of the same parameters.
//
// A preset is a TOML file. Those that come with the project are embedded; a
// file of a user's own is read by the same code:
//
//	name = "nv-2018-hf"
//	title = "two NV centres 2 m apart, high fidelity"
//	extends = "other"              # everything that is not given here; optional
//
//	[sources.humphreys2018]
//	cite = "P. C. Humphreys et al., Nature 558, 268 (2018)"
//	tag = "secondary"              # primary, secondary, recalled or derived
//
//	[link]
//	model = "single-click"         # see Models
//	alpha = { value = 0.05, source = "humphreys2018" }
//	length = { value = "2 m", source = "humphreys2018", tag = "recalled", note = "of fibre" }
//	extra_dephasing = { value = 0.2, source = "fitted" }
//
//	[device]
//	t2 = { value = "200 ms", source = "humphreys2018" }
//
//	[[published]]
//	quantity = "rate_hz"           # see Quantities
//	value = 6
//	source = "humphreys2018"
//	role = "predicted"             # or fitted, informative
//	factor = 1.3                   # tolerance, or absolute = 0.03
//
//	[[fit]]
//	parameter = "extra_dephasing"
//	preset = "nv-2018-hf"
//	quantity = "fidelity"
//
// A number without a published source says source = "chosen"; one that follows
// from others "derived", with a note of how; one that makes the model reproduce
// a published number "fitted", with a [[fit]] that says which, so that Check can
// do the fit again.
package preset

import (
	"slices"
	"strings"

	"qstack/qnet"
)

// Tag says how far a source is to be trusted.
type Tag string

// The tags of sources.
const (
	Primary   Tag = "primary"   // read in the publication itself
	Secondary Tag = "secondary" // read in another source that restates it
	Recalled  Tag = "recalled"  // from memory: nothing is gated on it
	Derived   Tag = "derived"   // worked out from other numbers
)

var tags = []Tag{Primary, Secondary, Recalled, Derived} // best first

// Gates reports whether a comparison with a number of this tag can fail.
func (t Tag) Gates() bool { return t == Primary || t == Secondary }

// What a number has for a source if it has no citation.
const (
	SourceChosen  = "chosen"
	SourceFitted  = "fitted"
	SourceDerived = "derived"
	SourceSet     = "set" // by Preset.Set
)

// Source is a publication.
type Source struct {
	Key  string `json:"-"`
	Cite string `json:"cite"`
	Tag  Tag    `json:"tag"`
}

// Value is a parameter as given.
type Value struct {
	Param  *Param
	Number float64 // in base units; 1 for true
	Text   string  // of a parameter that is a choice
	Source string  // key of a source, or one of the words above
	Tag    Tag     // of the source; empty unless it has a citation or is derived
	Note   string
}

// Role says what a comparison is worth.
type Role string

// The roles of published numbers.
const (
	Predicted   Role = "predicted"   // the model's inputs do not include it: agreement means something
	Fitted      Role = "fitted"      // the model was made to give it: agreement means nothing
	Informative Role = "informative" // inputs are missing, or the source is not to be trusted so far
)

var roles = []Role{Predicted, Fitted, Informative}

// Published is a number that was measured.
type Published struct {
	Quantity         *Quantity
	Value            float64
	Uncertainty      float64 // 0 if none was given
	Source           string
	Tag              Tag
	Role             Role
	Factor, Absolute float64 // tolerance: the one that is not 0
	Note             string
}

// Fit says which published number decides a parameter.
type Fit struct {
	Parameter string
	Preset    string // that has the published number
	Quantity  *Quantity
	Low, High float64 // where to look
}

// Preset describes a link, a device, or both.
type Preset struct {
	Name, Title string
	Extends     string // empty for none
	File        string // that it was read from
	Model       *Model // nil when there is no link
	Sources     []Source
	Values      Values // of link and device
	Published   []Published
	Fits        []Fit // those of what it extends included
}

// Source returns the source with the given key.
func (p *Preset) Source(key string) (Source, bool) {
	i := slices.IndexFunc(p.Sources, func(s Source) bool { return s.Key == key })
	if i < 0 {
		return Source{}, false
	}
	return p.Sources[i], true
}

// BestTag returns the best tag among the numbers that have a citation, empty
// when none has.
func (p *Preset) BestTag() Tag {
	best := len(tags)
	see := func(t Tag) {
		if i := slices.Index(tags, t); i >= 0 {
			best = min(best, i)
		}
	}
	for _, v := range p.Values {
		if v.Source != SourceDerived {
			see(v.Tag)
		}
	}
	for i := range p.Published {
		see(p.Published[i].Tag)
	}
	if best == len(tags) {
		return ""
	}
	return tags[best]
}

// published returns the published number of a quantity, nil when there is none.
func (p *Preset) published(q *Quantity) *Published {
	for i := range p.Published {
		if p.Published[i].Quantity == q {
			return &p.Published[i]
		}
	}
	return nil
}

// With returns a copy of p with other values, each given as name=value, written
// as in a file but without quotes; a value takes the place of those that it is
// another way to give. The error, of code qnet.ErrInvalid or qnet.ErrUnknown,
// names the parameter, the value and what is allowed.
func (p *Preset) With(settings ...string) (*Preset, error) {
	c := *p
	for _, s := range settings {
		name, text, ok := strings.Cut(s, "=")
		if !ok {
			return nil, qnet.Errorf(qnet.ErrInvalid, "%s: %s: want name=value, as in alpha=0.1", p.File, s)
		}
		param, err := p.param(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		v, problem := param.parseText(text)
		if problem != "" {
			return nil, qnet.Errorf(qnet.ErrInvalid, "%s: %s: %s", p.File, s, problem)
		}
		v.Source = SourceSet
		c.Values = c.Values.with(v)
	}
	if key, problem := c.validate(); problem != "" {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%s with %s: %s: %s", p.File, strings.Join(settings, ", "), key, problem)
	}
	return &c, nil
}

// at returns a copy of p with another number in a parameter, not validated.
func (p *Preset) at(param *Param, number float64) *Preset {
	c := *p
	c.Values = p.Values.with(Value{Param: param, Number: number, Source: SourceSet})
	return &c
}

// param returns the parameter called name of the model or the device.
func (p *Preset) param(name string) (*Param, error) {
	if p.Model != nil {
		if q := find(p.Model.Params, name); q != nil {
			return q, nil
		}
	}
	if q := find(deviceParams, name); q != nil {
		return q, nil
	}
	var names []string
	if p.Model != nil {
		names = paramNames(p.Model.Params)
	}
	names = append(names, paramNames(deviceParams)...)
	return nil, qnet.Errorf(qnet.ErrUnknown, "%s: no parameter is called %q%s", p.File, name, hint(name, names))
}
