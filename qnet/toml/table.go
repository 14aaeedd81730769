package toml

import (
	"maps"
	"math"
	"slices"
	"strings"
)

// Table reads the keys of one table. A key that nobody read is unknown.
type Table struct {
	doc  *Document
	path string
	keys map[string]any
	read []string
}

// Path returns the key that t itself stands at, empty for the root.
func (t *Table) Path() string { return t.path }

// Has reports whether there is a key.
func (t *Table) Has(key string) bool { return t.keys[key] != nil }

// Keys returns the keys there are, sorted.
func (t *Table) Keys() []string { return slices.Sorted(maps.Keys(t.keys)) }

// Key returns the path of a key of t.
func (t *Table) Key(name string) string { return Subkey(t.path, name) }

// Get returns the value of key, nil when there is none.
func (t *Table) Get(key string) any {
	if !slices.Contains(t.read, key) {
		t.read = append(t.read, key)
	}
	return t.keys[key]
}

// Done reports the keys that were not read.
func (t *Table) Done() {
	for key := range t.keys { // problems are sorted by place
		if !slices.Contains(t.read, key) {
			at, written := t.doc.locate(t.Key(key))
			p, _ := at.place(written)
			t.doc.problems = append(t.doc.problems, &Error{
				File: at.file, Line: p.line, Column: p.key, Key: written,
				Text: "unknown key; the keys here are " + strings.Join(t.read, ", "),
			})
		}
	}
}

// Kind names the type of a TOML value.
func Kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a number"
	case bool:
		return "a truth value"
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}

// Text returns the string at key, def when there is none.
func (t *Table) Text(key, def string) string {
	switch v := t.Get(key).(type) {
	case nil:
		return def
	case string:
		return v
	default:
		t.doc.Problem(t.Key(key), "want a string in quotes, not %s", Kind(v))
		return def
	}
}

// Required returns the string at key, which must be there; hint says what to
// write.
func (t *Table) Required(key, hint string) string {
	if t.keys[key] == nil {
		t.Get(key)
		t.doc.Missing(t.path, key, "%s", hint)
		return ""
	}
	return t.Text(key, "")
}

// Integer returns the integer at key, def when there is none.
func (t *Table) Integer(key string, def, lo, hi int64) int64 {
	switch v := t.Get(key).(type) {
	case nil:
		return def
	case int64:
		if v < lo || v > hi {
			t.doc.Problem(t.Key(key), "must be from %d to %d", lo, hi)
			return def
		}
		return v
	default:
		t.doc.Problem(t.Key(key), "want an integer without quotes, not %s", Kind(v))
		return def
	}
}

// Number returns the number at key, def when there is none.
func (t *Table) Number(key string, def float64) float64 {
	switch v := t.Get(key).(type) {
	case nil:
		return def
	case int64:
		return float64(v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.doc.Problem(t.Key(key), "must be finite")
			return def
		}
		return v
	default:
		t.doc.Problem(t.Key(key), "want a number without quotes, not %s", Kind(v))
		return def
	}
}

// RequiredNumber returns the number at key, which must be there.
func (t *Table) RequiredNumber(key, hint string) float64 {
	if t.keys[key] == nil {
		t.Get(key)
		t.doc.Missing(t.path, key, "%s", hint)
		return 0
	}
	return t.Number(key, 0)
}

// Truth returns the truth value at key, false when there is none.
func (t *Table) Truth(key string) bool {
	switch v := t.Get(key).(type) {
	case nil:
		return false
	case bool:
		return v
	default:
		t.doc.Problem(t.Key(key), "want true or false, not %s", Kind(v))
		return false
	}
}

// Quantity returns the quantity at key in base units. ok is false when there is
// none, or a wrong one, which has been reported.
func (t *Table) Quantity(key string, d *Dimension) (value float64, ok bool) {
	switch v := t.Get(key).(type) {
	case nil:
		return 0, false
	case string:
		value, problem := d.Parse(v)
		if problem != "" {
			t.doc.Problem(t.Key(key), "%s", problem)
		}
		return value, problem == ""
	default:
		t.doc.Problem(t.Key(key), "want %s in quotes, with its unit: %s", d.Name, d.wanted())
		return 0, false
	}
}

// RequiredQuantity returns the quantity at key, which must be there.
func (t *Table) RequiredQuantity(key string, d *Dimension) float64 {
	if t.keys[key] == nil {
		t.Get(key)
		t.doc.Missing(t.path, key, "want %s, as in %s = %q", d.Name, key, d.Example)
		return 0
	}
	v, _ := t.Quantity(key, d)
	return v
}

// Sub returns the table at key, nil when there is none or something else, which
// is reported.
func (t *Table) Sub(key string) *Table {
	switch v := t.Get(key).(type) {
	case nil:
		return nil
	case map[string]any:
		return &Table{doc: t.doc, path: t.Key(key), keys: v}
	default:
		t.doc.Problem(t.Key(key), "want a table, as in [%s], not %s", t.Key(key), Kind(v))
		return nil
	}
}

// Sections returns the tables within t, sorted by name. The keys of t are names
// that the user chose.
func (t *Table) Sections() (names []string, subs []*Table) {
	if t == nil {
		return nil, nil
	}
	for name := range t.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		subs = append(subs, t.Sub(name))
	}
	return names, subs
}

// Array returns the tables of the array at key.
func (t *Table) Array(key string) []*Table {
	v := t.Get(key)
	if v == nil {
		return nil
	}
	elements, ok := v.([]any)
	if !ok {
		t.doc.Problem(t.Key(key), "want tables, each headed [[%s]], not %s", t.Key(key), Kind(v))
		return nil
	}
	subs := make([]*Table, 0, len(elements))
	for i, e := range elements {
		path := Element(t.Key(key), i)
		m, ok := e.(map[string]any)
		if !ok {
			t.doc.Problem(path, "want a table, headed [[%s]], not %s", t.Key(key), Kind(e))
			continue
		}
		subs = append(subs, &Table{doc: t.doc, path: path, keys: m})
	}
	return subs
}
