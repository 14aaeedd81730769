package preset

import (
	"math"
	"slices"
)

// Description is a preset for people and for JSON.
type Description struct {
	Preset     string            `json:"preset"`
	Title      string            `json:"title"`
	File       string            `json:"file"`
	Extends    string            `json:"extends,omitempty"`
	Model      string            `json:"model,omitempty"`
	Parameters []Parameter       `json:"parameters"`
	Sources    map[string]Source `json:"sources"`
	Derived    *Results          `json:"derived,omitempty"` // nil when there is no link
}

// Parameter is a value of a preset, or the default of its model.
type Parameter struct {
	Section string `json:"section"` // link or device
	Name    string `json:"name"`
	Value   any    `json:"value"` // a number in Unit, a truth value or a word
	Unit    string `json:"unit,omitempty"`
	Source  string `json:"source"`
	Tag     Tag    `json:"tag,omitempty"`
	Note    string `json:"note,omitempty"`
	Meaning string `json:"meaning"`
}

// SourceDefault is the source of a parameter that was not given.
const SourceDefault = "default"

// Describe returns what there is to say about p. The error is that of Results.
func (p *Preset) Describe() (*Description, error) {
	d := &Description{
		Preset: p.Name, Title: p.Title, File: p.File, Extends: p.Extends,
		Parameters: []Parameter{}, Sources: make(map[string]Source),
	}
	for _, s := range p.Sources {
		d.Sources[s.Key] = s
	}
	if p.Model != nil {
		d.Model = p.Model.Name
		d.add("link", p.Model.Params, p.Values)
		r, err := p.Results()
		if err != nil {
			return nil, err
		}
		d.Derived = &r
	}
	if slices.ContainsFunc(deviceParams, func(q Param) bool { return p.Values.get(q.Name) != nil }) {
		d.add("device", deviceParams, p.Values)
	}
	return d, nil
}

// add appends the parameters of a section in the order of their table: those that
// are given, and the defaults that count. A device of which nothing is given has
// none.
func (d *Description) add(section string, params []Param, values Values) {
	g := given{params, values}
	for i := range params {
		q := &params[i]
		v := values.get(q.Name)
		if v == nil {
			if math.IsNaN(q.Default) || g.perArm(q) {
				continue // not given, and nothing stands for it
			}
			v = &Value{Param: q, Number: q.Default, Source: SourceDefault}
			if q.Kind == Choice {
				v.Text = q.Choices[0]
			}
		}
		d.Parameters = append(d.Parameters, Parameter{
			Section: section, Name: q.Name, Value: v.plain(), Unit: q.Unit(), Source: v.Source, Tag: v.Tag, Note: v.Note, Meaning: q.Meaning,
		})
	}
}

// perArm reports whether both arms have a value of their own.
func (g given) perArm(q *Param) bool {
	return g.values.get(q.Name+"_a") != nil && g.values.get(q.Name+"_b") != nil
}

// plain returns the value as JSON has it.
func (v *Value) plain() any {
	switch v.Param.Kind {
	case Truth:
		return v.Number != 0
	case Choice:
		return v.Text
	}
	return v.Number
}

// Distance returns the length of fibre between the ends in metres, 0 when there
// is no link.
func (p *Preset) Distance() float64 {
	if p.Model == nil {
		return 0
	}
	a, b := given{p.Model.Params, p.Values}.lengths()
	return a + b
}
