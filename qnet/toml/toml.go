// Package toml reads the TOML files of the project strictly: a key that nobody
// asked for, a wrong type, a quantity without its unit are errors that name
// file, line, column and key.
package toml

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	pelletier "github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"qstack/qnet"
)

// Error is something wrong with a file. It carries its code.
type Error struct {
	File         string
	Line, Column int       // counted from 1, the column in bytes; 0 when there is no file
	Key          string    // such as links[0].length; empty when the file is no TOML
	Value        string    // as written, quotes included; empty for a key that is missing or holds a table
	Text         string    // what is wrong, and what to do
	Code         qnet.Code // 0 stands for qnet.ErrInvalid
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
func (e *Error) Unwrap() error { return cmp.Or(e.Code, qnet.ErrInvalid) }

// maxProblems bounds how many errors are reported at once.
const maxProblems = 10

// Join returns the first problems in the order of the file as one error.
func Join(problems []*Error) error {
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

// Document is a TOML file that knows where each of its keys stands.
type Document struct {
	file     string
	data     []byte
	root     map[string]any
	places   map[string]place   // by key; nil until the first problem
	laid     map[string]written // where keys that were laid over others come from
	problems []*Error
}

// place is where a key stands, and what was written there.
type place struct {
	line, column int    // of the value, or of the key of a table
	key          int    // column of the key
	value        string // if it is neither table nor array
}

// maxDepth bounds the keys whose place is known; no key of the format is deeper.
const maxDepth = 12

// MaxFile bounds the size of a file in bytes.
const MaxFile = 64 << 20

// ReadFile reads the file at path. Errors are of type *Error.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	return data, nil
}

// unreadable returns err, of the file at path, without the name of the system
// call.
func unreadable(path string, err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &Error{File: path, Text: "can not be read: " + err.Error()}
}

// Parse parses data. file is the name of its file, for errors, which are of type
// *Error.
func Parse(file string, data []byte) (*Document, error) {
	if len(data) > MaxFile {
		return nil, &Error{File: file, Text: fmt.Sprintf("larger than %d MiB", MaxFile>>20)}
	}
	d := &Document{file: file, data: data}
	if err := pelletier.Unmarshal(data, &d.root); err != nil {
		e := &Error{File: file, Text: strings.TrimPrefix(err.Error(), "toml: ")}
		var de *pelletier.DecodeError
		if errors.As(err, &de) {
			e.Line, e.Column = de.Position()
		}
		return nil, e
	}
	return d, nil
}

// Root returns the table that is the whole document.
func (d *Document) Root() *Table { return &Table{doc: d, keys: d.root} }

// OK reports whether no problem was reported so far.
func (d *Document) OK() bool { return len(d.problems) == 0 }

// Err returns the problems that were reported, up to ten of type *Error, in the
// order of the file.
func (d *Document) Err() error { return Join(d.problems) }

// place returns where key stands.
func (d *Document) place(key string) (p place, ok bool) {
	if d.places == nil {
		d.places = make(map[string]place)
		d.index()
	}
	p, ok = d.places[key]
	return p, ok
}

// index finds the place of every key.
func (d *Document) index() {
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
			path = Subkey(path, string(key.Data))
			mark(path, key, key, "")
			if array && it.IsLast() {
				elements[path]++
			}
			if n := elements[path]; n > 0 {
				path = Element(path, n-1)
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
			path = Subkey(path, string(last.Data))
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
				value(Element(path, i), it.Node(), key, depth+1)
			}
		case unstable.InlineTable:
			mark(path, key, v, "")
			for it := v.Children(); it.Next(); {
				keyValue(path, it.Node(), depth+1)
			}
		default:
			mark(path, key, v, Shorten(string(p.Raw(v.Raw))))
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

// Shorten cuts a value for an error message.
func Shorten(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// Subkey returns the path of key in the table at path.
func Subkey(path, key string) string {
	if !isBare(key) {
		key = strconv.Quote(Shorten(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// Element returns the path of the i-th element of the array at path.
func Element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// isBare reports whether key needs no quotes.
func isBare(key string) bool {
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return key != ""
}

// Problem reports what is wrong with a key. The place of a key that was left
// out is that of its table.
func (d *Document) Problem(key, format string, args ...any) {
	d.problems = append(d.problems, d.problem(key, fmt.Sprintf(format, args...)))
}

// problem returns what is wrong with a key, with its place.
func (d *Document) problem(key, text string) *Error {
	at, key := d.locate(key)
	p, ok := at.place(key)
	for path := key; !ok && path != ""; {
		path = parent(path)
		p, ok = at.place(path)
		p.value = ""
	}
	return &Error{File: at.file, Line: p.line, Column: p.column, Key: key, Value: p.value, Text: text}
}

// Placed returns err, with the place of its key if it is an *Error without a file:
// what was found wrong after the document had been read.
func (d *Document) Placed(err error) error {
	e, ok := err.(*Error)
	if !ok || e.File != "" {
		return err
	}
	placed := d.problem(e.Key, e.Text)
	placed.Code = e.Code
	return placed
}

// Missing reports that the table at path lacks key.
func (d *Document) Missing(path, key, format string, args ...any) {
	at, path := d.locate(path)
	p, _ := at.place(path)
	if path == "" {
		p = place{line: 1, column: 1}
	}
	d.problems = append(d.problems, &Error{
		File: at.file, Line: p.line, Column: p.column, Key: Subkey(path, key),
		Text: "missing: " + fmt.Sprintf(format, args...),
	})
}
