package preset

import (
	"slices"
	"strings"

	"qstack/qnet/toml"
)

// maxName bounds the name of a preset.
const maxName = 64

// parse reads a preset. extend returns the preset that it extends, or a problem
// of it.
func parse(file string, data []byte, extend func(name string) (*Preset, error)) (*Preset, error) {
	doc, err := toml.Parse(file, data)
	if err != nil {
		return nil, err
	}
	r := reader{doc: doc, p: &Preset{File: file}}
	root := doc.Root()
	r.p.Name = root.Required("name", `want a name, as in name = "nv-lab"`)
	if r.p.Name != "" && !isName(r.p.Name) {
		doc.Problem("name", "must be 1 to %d of a-z, 0-9 and '-', and not start with '-'", maxName)
	}
	r.p.Title = root.Required("title", "want what it is, in a line")
	if r.p.Extends = root.Text("extends", ""); r.p.Extends != "" {
		base, err := extend(r.p.Extends)
		switch {
		case base != nil:
			r.base = base
			r.p.Model, r.p.Sources = base.Model, base.Sources
		case err != nil && r.foreign(err):
			return nil, err // another file's problems
		default:
			doc.Problem("extends", "%v", err)
			return nil, doc.Err()
		}
	}
	r.sources(root.Sub("sources"))
	r.section("link", root.Sub("link"))
	r.section("device", root.Sub("device"))
	r.merge()
	for _, t := range root.Array("published") {
		r.published(t)
	}
	for _, t := range root.Array("fit") {
		r.fit(t)
	}
	root.Done()
	if doc.OK() { // only then do the values mean anything
		r.check()
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	return r.p, nil
}

// reader turns a document into a preset.
type reader struct {
	doc   *toml.Document
	p     *Preset
	base  *Preset // that it extends, or nil
	given Values  // in this file
	fits  []Fit   // in this file

	unknown bool // the model, so that nothing is known of its parameters
}

// foreign reports whether err holds problems of a file, rather than of the word
// that names it.
func (r *reader) foreign(err error) bool {
	_, ok := err.(interface{ Unwrap() []error })
	_, one := err.(*toml.Error)
	return ok || one
}

func (r *reader) sources(t *toml.Table) {
	names, tables := t.Sections()
	for i, t := range tables {
		if t == nil {
			continue
		}
		s := Source{Key: names[i], Cite: t.Required("cite", "want the publication: authors, journal, year"), Tag: r.tag(t)}
		switch {
		case !t.Has("tag"):
			r.doc.Missing(t.Path(), "tag", "want one of %s", join(tags))
		case slices.Contains([]string{SourceChosen, SourceFitted, SourceDerived, SourceSet}, s.Key):
			r.doc.Problem(t.Path(), "no publication can be called that: give it another key")
		}
		t.Done()
		r.p.Sources = slices.DeleteFunc(slices.Clone(r.p.Sources), func(o Source) bool { return o.Key == s.Key })
		r.p.Sources = append(r.p.Sources, s)
	}
	slices.SortFunc(r.p.Sources, func(a, b Source) int { return strings.Compare(a.Key, b.Key) })
}

// tag reads the tag of a table, empty when there is none.
func (r *reader) tag(t *toml.Table) Tag {
	tag := Tag(t.Text("tag", ""))
	if tag != "" && !slices.Contains(tags, tag) {
		r.doc.Problem(t.Key("tag"), "unknown tag: want one of %s", join(tags))
	}
	return tag
}

// section reads [link] or [device].
func (r *reader) section(name string, t *toml.Table) {
	if t == nil {
		return
	}
	params := deviceParams
	what := "a device"
	if name == "link" {
		if t.Has("model") || r.p.Model == nil {
			text := t.Required("model", "want one of "+strings.Join(modelNames(), ", "))
			if r.p.Model = modelNamed(text); r.p.Model == nil {
				if t.Has("model") {
					r.doc.Problem(t.Key("model"), "unknown model: want one of %s", strings.Join(modelNames(), ", "))
				}
				r.unknown = true
				return // what the other keys mean depends on the model
			}
		}
		params = r.p.Model.Params
		what = "the model " + r.p.Model.Name
	}
	for _, key := range t.Keys() {
		if name == "link" && key == "model" {
			continue
		}
		p := find(params, key)
		if p == nil {
			r.doc.Problem(t.Key(key), "%s has no parameter of this name%s", what, hint(key, paramNames(params)))
			continue
		}
		r.value(t, p)
	}
}

// value reads a parameter.
func (r *reader) value(t *toml.Table, p *Param) {
	if p.Kind == Choice {
		v, problem := p.read(t.Get(p.Name))
		if problem != "" {
			r.doc.Problem(t.Key(p.Name), "%s", problem)
		}
		v.Source = SourceChosen
		r.given = append(r.given, v)
		return
	}
	if _, ok := t.Get(p.Name).(map[string]any); !ok {
		r.doc.Problem(t.Key(p.Name), `want a value and its source, as in { value = …, source = "chosen" }`)
		return
	}
	s := t.Sub(p.Name)
	if !s.Has("value") {
		s.Get("value")
		r.doc.Missing(s.Path(), "value", "want %s", p.Range())
	} else if v, problem := p.read(s.Get("value")); problem != "" {
		r.doc.Problem(s.Key("value"), "%s", problem)
	} else {
		v.Source, v.Tag = r.source(s)
		v.Note = s.Text("note", "")
		if v.Source == SourceDerived && v.Note == "" {
			r.doc.Missing(s.Path(), "note", "a derived number says how it was worked out")
		}
		r.given = append(r.given, v)
	}
	for _, key := range []string{"source", "tag", "note"} { // of a value that is wrong
		s.Get(key)
	}
	s.Done()
}

// source reads where a number is from, and how far that is to be trusted.
func (r *reader) source(t *toml.Table) (key string, tag Tag) {
	key = t.Required("source", "want the key of a section [sources.KEY], or chosen, fitted or derived")
	own := r.tag(t)
	switch key {
	case "":
		return "", ""
	case SourceDerived:
		tag = Derived
	case SourceChosen, SourceFitted:
	default:
		s, ok := r.p.Source(key)
		if !ok {
			var keys []string
			for _, s := range r.p.Sources {
				keys = append(keys, s.Key)
			}
			if len(keys) == 0 {
				keys = []string{"none"}
			}
			r.doc.Problem(t.Key("source"), "no section [sources.%s]; there are %s, and the words chosen, fitted and derived", toml.Shorten(key), strings.Join(keys, ", "))
			return key, ""
		}
		if own != "" {
			return key, own
		}
		return key, s.Tag
	}
	if own != "" {
		r.doc.Problem(t.Key("tag"), "a number that is %s has no publication to trust", key)
	}
	return key, tag
}

// merge puts the values of this file over those it extends.
func (r *reader) merge() {
	var inherited Values
	if r.base != nil {
		inherited = r.base.Values
		if r.base.Model != nil && r.p.Model != nil && r.base.Model != r.p.Model {
			inherited = inherited.without(func(name string) bool { return find(deviceParams, name) == nil })
		}
		r.p.Fits = r.base.Fits
	}
	for _, v := range r.given {
		inherited = inherited.without(func(name string) bool { return name == v.Param.Name || replaces(v.Param.Name, name) })
	}
	r.p.Values = slices.Concat(inherited, r.given)
	slices.SortFunc(r.p.Values, func(a, b Value) int { return strings.Compare(a.Param.Name, b.Param.Name) })
}

func (r *reader) published(t *toml.Table) {
	p := Published{
		Value:       t.RequiredNumber("value", "want the published number, in seconds, hertz or without a unit"),
		Uncertainty: t.Number("uncertainty", 0),
		Role:        Role(t.Required("role", "want one of "+join(roles))),
		Factor:      t.Number("factor", 0),
		Absolute:    t.Number("absolute", 0),
		Note:        t.Text("note", ""),
	}
	p.Source, p.Tag = r.source(t)
	p.Quantity = r.quantity(t)
	t.Done()
	problem := func(key, format string, args ...any) { r.doc.Problem(t.Key(key), format, args...) }
	switch {
	case t.Has("value") && !(p.Value > 0):
		problem("value", "must be above 0")
	case p.Uncertainty < 0:
		problem("uncertainty", "must not be negative")
	case p.Source == SourceChosen || p.Source == SourceFitted || p.Source == SourceDerived:
		problem("source", "a published number needs a publication")
	case t.Has("role") && !slices.Contains(roles, p.Role):
		problem("role", "unknown role: want one of %s", join(roles))
	case t.Has("factor") && t.Has("absolute"):
		problem("absolute", "want factor or absolute, not both")
	case t.Has("factor") && !(p.Factor > 1):
		problem("factor", "must be above 1: the emulated number may be so many times the published, or that part of it")
	case t.Has("absolute") && !(p.Absolute > 0):
		problem("absolute", "must be above 0: the emulated number may be that far from the published")
	case p.Role == Predicted && !t.Has("factor") && !t.Has("absolute"):
		r.doc.Missing(t.Path(), "factor", "a prediction wants its tolerance: factor = 1.3, or absolute = 0.03")
	case p.Role == Predicted && p.Tag != "" && !p.Tag.Gates():
		problem("role", "nothing is gated on a number that is %s: say role = %q", p.Tag, Informative)
	case p.Quantity != nil && r.p.published(p.Quantity) != nil:
		problem("quantity", "is published twice: keep one")
	}
	r.p.Published = append(r.p.Published, p)
}

func (r *reader) quantity(t *toml.Table) *Quantity {
	text := t.Required("quantity", "want one of "+strings.Join(quantityNames(), ", "))
	q := quantityNamed(text)
	if q == nil && text != "" {
		r.doc.Problem(t.Key("quantity"), "unknown quantity: want one of %s", strings.Join(quantityNames(), ", "))
	}
	return q
}

func (r *reader) fit(t *toml.Table) {
	f := Fit{
		Parameter: t.Required("parameter", "want the parameter that is fitted"),
		Preset:    t.Text("preset", r.p.Name),
		Quantity:  r.quantity(t),
	}
	for _, key := range []string{"low", "high"} {
		t.Get(key)
	}
	if f.Parameter != "" && !r.unknown {
		p, err := r.p.param(f.Parameter)
		switch {
		case err != nil:
			r.doc.Problem(t.Key("parameter"), "%v", err)
		case p.Kind == Choice || p.Kind == Truth || p.Kind == Count:
			r.doc.Problem(t.Key("parameter"), "can not be fitted: it is no continuous number")
		default:
			f.Low, f.High = p.Min, p.Max
			for _, end := range []struct {
				key string
				to  *float64
			}{{"low", &f.Low}, {"high", &f.High}} {
				if !t.Has(end.key) {
					continue
				}
				v, problem := p.read(t.Get(end.key))
				if problem != "" {
					r.doc.Problem(t.Key(end.key), "%s", problem)
				}
				*end.to = v.Number
			}
			if !(f.Low < f.High) {
				r.doc.Problem(t.Key("high"), "must be above low")
			}
		}
	}
	t.Done()
	r.fits = append(r.fits, f)
}

// check reports what is wrong with the preset as a whole.
func (r *reader) check() {
	fitted := func(name string) bool {
		v := r.p.Values.get(name)
		return v != nil && v.Source == SourceFitted
	}
	for i, f := range r.fits {
		if !fitted(f.Parameter) {
			r.doc.Problem(toml.Element("fit", i)+".parameter", "its value must say source = %q", SourceFitted)
		}
	}
	// A fit of what this file extends is void for a parameter that it gives anew.
	var fits []Fit
	for _, f := range r.p.Fits {
		if fitted(f.Parameter) && !slices.ContainsFunc(r.fits, func(o Fit) bool { return o.Parameter == f.Parameter }) {
			fits = append(fits, f)
		}
	}
	r.p.Fits = append(fits, r.fits...)
	for _, v := range r.given {
		if v.Source == SourceFitted && !slices.ContainsFunc(r.p.Fits, func(f Fit) bool { return f.Parameter == v.Param.Name }) {
			r.doc.Problem(r.key(v.Param)+".source", "no [[fit]] says which published number it was fitted to")
		}
	}
	for i := range r.p.Published {
		w := &r.p.Published[i]
		key := toml.Element("published", i)
		target := slices.ContainsFunc(r.p.Fits, func(f Fit) bool { return f.Preset == r.p.Name && f.Quantity == w.Quantity })
		switch {
		case r.p.Model == nil:
			r.doc.Problem(key, "there is no [link] to compare it with")
		case target && w.Role != Fitted:
			r.doc.Problem(key+".role", "a parameter is fitted to it: say role = %q", Fitted)
		case w.Role == Fitted && len(r.p.Fits) == 0:
			r.doc.Problem(key+".role", "nothing was fitted: there is no [[fit]]")
		}
	}
	if !r.doc.OK() {
		return
	}
	if key, problem := r.p.validate(); problem != "" {
		r.doc.Problem(key, "%s", problem)
	}
}

// key returns the key that a parameter stands at.
func (r *reader) key(p *Param) string {
	if find(deviceParams, p.Name) != nil {
		return "device." + p.Name
	}
	return "link." + p.Name
}

// alternatives are the ways to say the same: giving one replaces the others.
var alternatives = [][][]string{
	{{"attempt_time"}, {"attempt_rate"}, {"local_time"}},
	{{"length"}, {"length_a", "length_b"}},
	{{"dark_rate"}, {"dark_count"}},
	{{"attempts_1e"}, {"coupling_rate", "reset_std"}},
}

// replaces reports whether giving name voids an older value of other.
func replaces(name, other string) bool {
	if other == name+"_a" || other == name+"_b" {
		return true
	}
	for _, ways := range alternatives {
		mine := slices.IndexFunc(ways, func(w []string) bool { return slices.Contains(w, name) })
		theirs := slices.IndexFunc(ways, func(w []string) bool { return slices.Contains(w, other) })
		if mine >= 0 && theirs >= 0 && mine != theirs {
			return true
		}
	}
	return false
}

// isName reports whether s is 1 to maxName of a-z, 0-9 and '-', the first of
// them no '-'.
func isName(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// join lists words.
func join[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}
