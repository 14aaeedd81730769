package toml_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"qstack/qnet"
	"qstack/qnet/toml"
)

func parse(t *testing.T, file, text string) *toml.Document {
	t.Helper()
	d, err := toml.Parse(file, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func content(t *testing.T, d *toml.Document) string {
	t.Helper()
	data, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const under = `a = 1
[t]
x = 1
y = [1, 2]
[t.u]
z = "z"
[[e]]
name = "one"
v = 1
[[e]]
name = "two"
v = 2
[[e]]
name = "three"
v = 3
`

// A document with tables laid over it is the one that would have been written so,
// and the document itself stays as it is.
func TestOverlay(t *testing.T) {
	for _, tt := range []struct {
		over []string
		want string // the same written as a whole
	}{
		{nil, under},
		{[]string{"a = 2"}, strings.Replace(under, "a = 1", "a = 2", 1)},
		{[]string{"a = 2", "a = 3"}, strings.Replace(under, "a = 1", "a = 3", 1)},
		{[]string{"t.u.z = 5\nt.y = [3]\nt.w = true"}, strings.Replace(strings.Replace(under, `"z"`, "5", 1), "[1, 2]", "[3]\nw = true", 1)},
		{[]string{"t.u = false"}, strings.Replace(under, "[t.u]\nz = \"z\"\n", "", 1)},
		{[]string{"t = false", "t.x = 7"}, strings.Replace(under, "[t]\nx = 1\ny = [1, 2]\n[t.u]\nz = \"z\"\n", "[t]\nx = 7\n", 1)},
		{[]string{"a = { b = 1 }"}, strings.Replace(under, "a = 1", "a = { b = 1 }", 1)},
		{[]string{"n.m.o = 1"}, under + "[n.m]\no = 1\n"},
		{[]string{"e.two.v = 5"}, strings.Replace(under, "v = 2", "v = 5", 1)},
		{[]string{"e.two = { w = { k = 5 } }"}, strings.Replace(under, "v = 2", "v = 2\nw.k = 5", 1)},
		{[]string{"e.one = false\ne.three.v = 9"}, strings.Replace(strings.Replace(under, "[[e]]\nname = \"one\"\nv = 1\n", "", 1), "v = 3", "v = 9", 1)},
		{[]string{"e.one = false\ne.three = false"}, strings.Replace(strings.Replace(under, "[[e]]\nname = \"one\"\nv = 1\n", "", 1), "[[e]]\nname = \"three\"\nv = 3\n", "", 1)},
		{[]string{"e.one = false", "e.two = false", "e.three.v = 1"}, under[:strings.Index(under, "[[e]]")] + "[[e]]\nname = \"three\"\nv = 1\n"},
		{[]string{"e = [{ name = \"x\" }]"}, under[:strings.Index(under, "[[e]]")] + "[[e]]\nname = \"x\"\n"},
	} {
		d := parse(t, "under.toml", under)
		var tables []*toml.Table
		for _, text := range tt.over {
			tables = append(tables, parse(t, "over.toml", text).Root())
		}
		o := d.Overlay(tables...)
		if got, want := content(t, o), content(t, parse(t, "", tt.want)); got != want || !o.OK() {
			t.Errorf("%q:\ngot  %s, %v\nwant %s", tt.over, got, o.Err(), want)
		}
		if content(t, d) != content(t, parse(t, "", under)) {
			t.Errorf("%q changed what it was laid over", tt.over)
		}
	}
	d := parse(t, "under.toml", under)
	if got, want := content(t, d.Without("t", "e", "none")), `{"a":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if data, err := d.JSON("e", "t.u.z", "t.y", "t.q.r", "a.b"); err != nil || string(data) != `{"a":1,"t":{"u":{},"x":1}}` {
		t.Errorf("got %s, %v", data, err)
	}
	if keys := parse(t, "", "c = 1\na.b = 1\nb = 1\n").Root().InOrder(); !slices.Equal(keys, []string{"c", "a", "b"}) {
		t.Errorf("in order: %v", keys)
	}
}

// What is wrong is reported where it was written, whichever document that is, also
// in elements that moved because those before them were taken away.
func TestOverlayPlaces(t *testing.T) {
	d := parse(t, "under.toml", under)
	o := d.Overlay(
		parse(t, "first.toml", "# first\nt = { x = 10 }\ne.one = false\ne.three.v = 30\n").Root(),
		parse(t, "second.toml", "t.new.deep = 4\n[e.two]\nw = 5\n").Root())
	for _, key := range []string{"a", "t.x", "t.u.z", "t.new.deep", "t.gone", "e[0].v", "e[0].w", "e[1].v", "e[1].name"} {
		o.Problem(key, "wrong")
	}
	o.Missing("t.new", "more", "want it")
	wanted := []string{
		`under.toml:1:5: a: 1: wrong`,
		`first.toml:2:11: t.x: 10: wrong`,
		`under.toml:6:5: t.u.z: "z": wrong`,
		`second.toml:1:14: t.new.deep: 4: wrong`,
		`under.toml:2:2: t.gone: wrong`,
		`under.toml:12:5: e[1].v: 2: wrong`,
		`second.toml:3:5: e.two.w: 5: wrong`,
		`first.toml:4:13: e.three.v: 30: wrong`,
		`under.toml:14:8: e[2].name: "three": wrong`,
		`second.toml:1:3: t.new.more: missing: want it`,
	}
	err := o.Err()
	if !errors.Is(err, qnet.ErrInvalid) {
		t.Fatal(err)
	}
	got := strings.Split(err.Error(), "\n")
	for _, w := range wanted {
		if !slices.Contains(got, w) {
			t.Errorf("no %q in\n%s", w, err)
		}
	}
	if len(got) != len(wanted) {
		t.Errorf("%d problems, want %d:\n%s", len(got), len(wanted), err)
	}
	if !d.OK() {
		t.Errorf("what it was laid over has problems: %v", d.Err())
	}

	// An unknown key.
	o = d.Overlay(parse(t, "over.toml", "t.q = 1").Root())
	tab := o.Root().Sub("t")
	for _, key := range []string{"x", "y", "u"} {
		tab.Get(key)
	}
	tab.Done()
	if want := "over.toml:1:3: t.q: unknown key; the keys here are x, y, u"; o.Err() == nil || o.Err().Error() != want {
		t.Errorf("got %v, want %s", o.Err(), want)
	}
	// Elements that are not there.
	o = d.Overlay(parse(t, "over.toml", "e.four.v = 1\ne.two = 3").Root())
	want := "over.toml:1:3: e.four: e has no element of this name\n" +
		"over.toml:2:9: e.two: 3: want the keys to change, or false to take the element away, not an integer"
	if o.Err() == nil || o.Err().Error() != want {
		t.Errorf("got %v, want %s", o.Err(), want)
	}
}
