package toml

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"qstack/qnet"
)

// written is where a key of a document that others were laid over was written.
type written struct {
	doc *Document
	key string
}

// locate returns the document in which key was written, and its key there.
func (d *Document) locate(key string) (*Document, string) {
	for path := key; path != "" && len(d.laid) > 0; path = parent(path) {
		if w, ok := d.laid[path]; ok {
			return w.doc, w.key + key[len(path):]
		}
	}
	return d, key
}

// parent returns the path of the table or array that the value at path is in.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// File returns the name of the document's file.
func (d *Document) File() string { return d.file }

// Data returns what is in the document's file.
func (d *Document) Data() []byte { return d.data }

// Without returns the document without some keys of its root, and without
// problems.
func (d *Document) Without(keys ...string) *Document {
	c := d.clone()
	c.root = maps.Clone(d.root)
	for _, key := range keys {
		delete(c.root, key)
	}
	return c
}

// clone returns a document of the same content, without problems.
func (d *Document) clone() *Document {
	d.place("") // so that the copies share the places
	return &Document{file: d.file, data: d.data, root: d.root, places: d.places, laid: maps.Clone(d.laid)}
}

// Overlay returns the document with the keys of tables laid over it, one table
// after the other:
//
//   - a table changes what it names and leaves the rest;
//   - a table over an array of tables changes those elements whose "name" is its
//     key, and an element that is not there is a problem of the result;
//   - false over a table, or in place of such an element, takes it away;
//   - anything else replaces what was there.
//
// What is wrong with a key from a table is reported where it stands, in the file
// of the table.
func (d *Document) Overlay(tables ...*Table) *Document {
	c := d.clone()
	if c.laid == nil {
		c.laid = make(map[string]written)
	}
	for _, t := range tables {
		if t != nil {
			c.root = c.lay("", c.root, t.doc, t.path, t.keys)
		}
	}
	return c
}

// lay returns the table at path of c with the keys of over, which stands at from
// in doc.
func (c *Document) lay(path string, base map[string]any, doc *Document, from string, over map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = make(map[string]any, len(over))
	}
	for _, key := range slices.Sorted(maps.Keys(over)) {
		at, origin := Subkey(path, key), Subkey(from, key)
		switch v := over[key].(type) {
		case map[string]any:
			switch old := out[key].(type) {
			case map[string]any:
				out[key] = c.lay(at, old, doc, origin, v)
				continue
			case []any:
				out[key] = c.layElements(at, old, doc, origin, v)
				continue
			}
		case bool:
			if _, ok := out[key].(map[string]any); ok && !v {
				delete(out, key)
				continue
			}
		}
		c.mark(at, doc, origin)
		out[key] = over[key]
	}
	return out
}

// layElements returns an array of tables with those that over names changed.
func (c *Document) layElements(path string, base []any, doc *Document, from string, over map[string]any) []any {
	out := slices.Clone(base)
	var gone []int
	for _, name := range slices.Sorted(maps.Keys(over)) {
		origin := Subkey(from, name)
		i := slices.IndexFunc(out, func(e any) bool {
			t, ok := e.(map[string]any)
			return ok && t["name"] == name
		})
		element, isTable := over[name].(map[string]any)
		switch {
		case i < 0:
			c.problemAt(doc, origin, "%s has no element of this name", path)
		case over[name] == false:
			gone = append(gone, i)
		case isTable:
			out[i] = c.lay(Element(path, i), out[i].(map[string]any), doc, origin, element)
		default:
			c.problemAt(doc, origin, "want the keys to change, or false to take the element away, not %s", Kind(over[name]))
		}
	}
	slices.Sort(gone)
	for n, i := range gone {
		c.shift(path, i-n, len(out))
		out = slices.Delete(out, i-n, i-n+1)
	}
	return out
}

// shift moves what is known of the places of the elements beyond i, which is
// taken away, of an array of so many.
func (c *Document) shift(path string, i, length int) {
	moved := make(map[string]written, len(c.laid))
	for key, w := range c.laid {
		if key != Element(path, i) && !strings.HasPrefix(key, Element(path, i)+".") {
			moved[key] = w
		}
	}
	for j := i + 1; j < length; j++ {
		was, is := Element(path, j), Element(path, j-1)
		for key, w := range c.laid {
			if key == was || strings.HasPrefix(key, was+".") {
				delete(moved, key)
				moved[is+key[len(was):]] = w
			}
		}
		if _, ok := moved[is]; !ok {
			doc, key := c.locate(was)
			if doc == c { // its places are those of the file, which does not change
				doc = &Document{file: c.file, data: c.data, places: c.places}
			}
			moved[is] = written{doc, key}
		}
	}
	c.laid = moved
}

// mark notes that the value at path of c was written at key of doc.
func (c *Document) mark(path string, doc *Document, key string) {
	for old := range c.laid {
		if old == path || strings.HasPrefix(old, path+".") || strings.HasPrefix(old, path+"[") {
			delete(c.laid, old)
		}
	}
	c.laid[path] = written{doc, key}
}

// problemAt reports what is wrong with a key of another document.
func (c *Document) problemAt(doc *Document, key, format string, args ...any) {
	other := doc.clone()
	other.Problem(key, format, args...)
	c.problems = append(c.problems, other.problems...)
}

// JSON returns the content of the document, some keys left out, as JSON of sorted
// keys: the same for documents that say the same.
func (d *Document) JSON(without ...string) ([]byte, error) {
	root := d.root
	for _, key := range without {
		root = leave(root, strings.Split(key, "."))
	}
	data, err := json.Marshal(root)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%s: %v", d.file, err)
	}
	return data, nil
}

// leave returns t without the value at path.
func leave(t map[string]any, path []string) map[string]any {
	v, ok := t[path[0]]
	if !ok {
		return t
	}
	t = maps.Clone(t)
	if len(path) == 1 {
		delete(t, path[0])
	} else if sub, ok := v.(map[string]any); ok {
		t[path[0]] = leave(sub, path[1:])
	}
	return t
}

// InOrder returns the keys of t in the order of the file.
func (t *Table) InOrder() []string {
	keys := t.Keys()
	at := func(key string) place {
		doc, key := t.doc.locate(t.Key(key))
		p, _ := doc.place(key)
		return p
	}
	slices.SortStableFunc(keys, func(a, b string) int {
		p, q := at(a), at(b)
		if p.line != q.line {
			return p.line - q.line
		}
		return p.key - q.key
	})
	return keys
}
