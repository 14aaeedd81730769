package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"qstack/qnet"
)

// Error is something wrong with a scenario. It carries qnet.ErrInvalid.
type Error struct {
	File         string
	Line, Column int    // counted from 1, the column in bytes; 0 when there is no file
	Key          string // such as links[0].length; empty when the file is no TOML
	Value        string // as written, quotes included; empty for a key that is missing or holds a table
	Text         string // what is wrong, and what to do
}

// Error formats e as "ions3.toml:14:10: links[0].length: "-2 m": must not be negative".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
		if e.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", e.Line, e.Column)
		}
		b.WriteByte(' ')
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	if e.Value != "" {
		b.WriteString(e.Value + ": ")
	}
	b.WriteString(e.Text)
	return b.String()
}

// Unwrap returns the code.
func (e *Error) Unwrap() error { return qnet.ErrInvalid }

// maxProblems bounds how many errors are reported at once.
const maxProblems = 10

// join returns the first problems in the order of the file as one error.
func join(problems []*Error) error {
	slices.SortStableFunc(problems, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	var errs []error
	for i, p := range problems {
		if i == maxProblems {
			errs = append(errs, qnet.Errorf(qnet.ErrInvalid, "and %d more", len(problems)-i))
			break
		}
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// document is a TOML file that knows where each of its keys stands.
type document struct {
	file     string
	data     []byte
	root     map[string]any
	places   map[string]place // by key; nil until the first problem
	problems []*Error
}

// place is where a key stands, and what was written there.
type place struct {
	line, column int    // of the value, or of the key of a table
	key          int    // column of the key
	value        string // if it is neither table nor array
}

// maxDepth bounds the keys whose place is known; no key of the format is deeper.
const maxDepth = 6

// newDocument parses data.
func newDocument(file string, data []byte) (*document, error) {
	d := &document{file: file, data: data}
	if err := toml.Unmarshal(data, &d.root); err != nil {
		e := &Error{File: file, Text: strings.TrimPrefix(err.Error(), "toml: ")}
		var de *toml.DecodeError
		if errors.As(err, &de) {
			e.Line, e.Column = de.Position()
		}
		return nil, e
	}
	return d, nil
}

// place returns where key stands.
func (d *document) place(key string) (p place, ok bool) {
	if d.places == nil {
		d.places = make(map[string]place)
		d.index()
	}
	p, ok = d.places[key]
	return p, ok
}

// index finds the place of every key.
func (d *document) index() {
	var newlines []int // offsets
	for i, b := range d.data {
		if b == '\n' {
			newlines = append(newlines, i)
		}
	}
	var p unstable.Parser
	mark := func(path string, key, at *unstable.Node, value string) {
		if _, ok := d.places[path]; ok {
			return // a table that was implied earlier
		}
		offset := int(at.Raw.Offset)
		line := sort.SearchInts(newlines, offset) // newlines before offset
		start := 0
		if line > 0 {
			start = newlines[line-1] + 1
		}
		d.places[path] = place{line: line + 1, column: offset - start + 1, key: int(key.Raw.Offset) - start + 1, value: value}
	}
	elements := make(map[string]int) // of the arrays of tables so far

	// enter appends the keys of it to path.
	enter := func(path string, it unstable.Iterator, array bool) string {
		for depth := 0; it.Next() && depth < maxDepth; depth++ {
			key := it.Node()
			path = subkey(path, string(key.Data))
			mark(path, key, key, "")
			if array && it.IsLast() {
				elements[path]++
			}
			if n := elements[path]; n > 0 {
				path = element(path, n-1)
				mark(path, key, key, "")
			}
		}
		return path
	}
	var value func(path string, v, key *unstable.Node, depth int)
	keyValue := func(path string, kv *unstable.Node, depth int) {
		var last *unstable.Node
		it := kv.Key()
		for n := 0; it.Next() && n < maxDepth; n++ {
			if last != nil {
				mark(path, last, last, "")
			}
			last = it.Node()
			path = subkey(path, string(last.Data))
		}
		value(path, kv.Value(), last, depth)
	}
	value = func(path string, v, key *unstable.Node, depth int) {
		if depth > maxDepth {
			return
		}
		switch v.Kind {
		case unstable.Array:
			mark(path, key, key, "")
			it := v.Children()
			for i := 0; it.Next(); i++ {
				value(element(path, i), it.Node(), key, depth+1)
			}
		case unstable.InlineTable:
			mark(path, key, v, "")
			for it := v.Children(); it.Next(); {
				keyValue(path, it.Node(), depth+1)
			}
		default:
			mark(path, key, v, shorten(string(p.Raw(v.Raw))))
		}
	}

	table := ""
	for p.Reset(d.data); p.NextExpression(); {
		switch e := p.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = enter("", e.Key(), e.Kind == unstable.ArrayTable)
		case unstable.KeyValue:
			keyValue(table, e, 0)
		}
	}
}

// shorten cuts a value for an error message.
func shorten(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// subkey returns the path of key in the table at path.
func subkey(path, key string) string {
	if !isBare(key) {
		key = strconv.Quote(shorten(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// element returns the path of the i-th element of the array at path.
func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// isBare reports whether key needs no quotes.
func isBare(key string) bool {
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return key != ""
}

// problem reports what is wrong with a key. The place of a key that was left
// out is that of its table.
func (d *document) problem(key, format string, args ...any) {
	p, ok := d.place(key)
	for path := key; !ok && path != ""; {
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
		p, ok = d.place(path)
		p.value = ""
	}
	d.problems = append(d.problems, &Error{
		File: d.file, Line: p.line, Column: p.column, Key: key, Value: p.value,
		Text: fmt.Sprintf(format, args...),
	})
}

// missing reports that the table at path lacks key.
func (d *document) missing(path, key, format string, args ...any) {
	p, _ := d.place(path)
	if path == "" {
		p = place{line: 1, column: 1}
	}
	d.problems = append(d.problems, &Error{
		File: d.file, Line: p.line, Column: p.column, Key: subkey(path, key),
		Text: "missing: " + fmt.Sprintf(format, args...),
	})
}

// table reads the keys of one table. A key that nobody read is unknown.
type table struct {
	doc  *document
	path string
	keys map[string]any
	read []string
}

// key returns the path of a key of t.
func (t *table) key(name string) string { return subkey(t.path, name) }

// get returns the value of key, nil when there is none.
func (t *table) get(key string) any {
	if !slices.Contains(t.read, key) {
		t.read = append(t.read, key)
	}
	return t.keys[key]
}

// done reports the keys that were not read.
func (t *table) done() {
	for key := range t.keys { // problems are sorted by place
		if !slices.Contains(t.read, key) {
			p, _ := t.doc.place(t.key(key))
			t.doc.problems = append(t.doc.problems, &Error{
				File: t.doc.file, Line: p.line, Column: p.key, Key: t.key(key),
				Text: "unknown key; the keys here are " + strings.Join(t.read, ", "),
			})
		}
	}
}

// kind names the type of a TOML value.
func kind(v any) string {
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

// text returns the string at key, def when there is none.
func (t *table) text(key, def string) string {
	switch v := t.get(key).(type) {
	case nil:
		return def
	case string:
		return v
	default:
		t.doc.problem(t.key(key), "want a string in quotes, not %s", kind(v))
		return def
	}
}

// required returns the string at key, which must be there; hint says what to
// write.
func (t *table) required(key, hint string) string {
	if t.keys[key] == nil {
		t.get(key)
		t.doc.missing(t.path, key, "%s", hint)
		return ""
	}
	return t.text(key, "")
}

// integer returns the integer at key, def when there is none.
func (t *table) integer(key string, def, lo, hi int64) int64 {
	switch v := t.get(key).(type) {
	case nil:
		return def
	case int64:
		if v < lo || v > hi {
			t.doc.problem(t.key(key), "must be from %d to %d", lo, hi)
			return def
		}
		return v
	default:
		t.doc.problem(t.key(key), "want an integer without quotes, not %s", kind(v))
		return def
	}
}

// number returns the number at key, def when there is none.
func (t *table) number(key string, def float64) float64 {
	switch v := t.get(key).(type) {
	case nil:
		return def
	case int64:
		return float64(v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.doc.problem(t.key(key), "must be finite")
			return def
		}
		return v
	default:
		t.doc.problem(t.key(key), "want a number without quotes, not %s", kind(v))
		return def
	}
}

// requiredNumber returns the number at key, which must be there.
func (t *table) requiredNumber(key, hint string) float64 {
	if t.keys[key] == nil {
		t.get(key)
		t.doc.missing(t.path, key, "%s", hint)
		return 0
	}
	return t.number(key, 0)
}

// truth returns the truth value at key, false when there is none.
func (t *table) truth(key string) bool {
	switch v := t.get(key).(type) {
	case nil:
		return false
	case bool:
		return v
	default:
		t.doc.problem(t.key(key), "want true or false, not %s", kind(v))
		return false
	}
}

// quantity returns the quantity at key in base units. ok is false when there is
// none, or a wrong one, which has been reported.
func (t *table) quantity(key string, d *dimension) (value float64, ok bool) {
	switch v := t.get(key).(type) {
	case nil:
		return 0, false
	case string:
		value, problem := d.parse(v)
		if problem != "" {
			t.doc.problem(t.key(key), "%s", problem)
		}
		return value, problem == ""
	default:
		t.doc.problem(t.key(key), "want %s in quotes, with its unit: %s", d.name, d.wanted())
		return 0, false
	}
}

// requiredQuantity returns the quantity at key, which must be there.
func (t *table) requiredQuantity(key string, d *dimension) float64 {
	if t.keys[key] == nil {
		t.get(key)
		t.doc.missing(t.path, key, "want %s, as in %s = %q", d.name, key, d.example)
		return 0
	}
	v, _ := t.quantity(key, d)
	return v
}

// sub returns the table at key, nil when there is none or something else, which
// is reported.
func (t *table) sub(key string) *table {
	switch v := t.get(key).(type) {
	case nil:
		return nil
	case map[string]any:
		return &table{doc: t.doc, path: t.key(key), keys: v}
	default:
		t.doc.problem(t.key(key), "want a table, as in [%s], not %s", t.key(key), kind(v))
		return nil
	}
}

// sections returns the tables within t, sorted by name. The keys of t are names
// that the user chose.
func (t *table) sections() (names []string, subs []*table) {
	if t == nil {
		return nil, nil
	}
	for name := range t.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		subs = append(subs, t.sub(name))
	}
	return names, subs
}

// array returns the tables of the array at key.
func (t *table) array(key string) []*table {
	v := t.get(key)
	if v == nil {
		return nil
	}
	elements, ok := v.([]any)
	if !ok {
		t.doc.problem(t.key(key), "want tables, each headed [[%s]], not %s", t.key(key), kind(v))
		return nil
	}
	subs := make([]*table, 0, len(elements))
	for i, e := range elements {
		path := element(t.key(key), i)
		m, ok := e.(map[string]any)
		if !ok {
			t.doc.problem(path, "want a table, headed [[%s]], not %s", t.key(key), kind(e))
			continue
		}
		subs = append(subs, &table{doc: t.doc, path: path, keys: m})
	}
	return subs
}
