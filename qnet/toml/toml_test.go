package toml_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"qstack/qnet"
	"qstack/qnet/toml"
)

func TestQuantity(t *testing.T) {
	for _, c := range []struct {
		d    toml.Dimension
		text string
		want float64
	}{
		{toml.Times, "10.12 us", 10.12e-6},
		{toml.Times, "3 μs", 3e-6},
		{toml.Times, "0.1 ns", 1e-10},
		{toml.Times, "2 min", 120},
		{toml.Times, "1.5h", 5400},
		{toml.Lengths, " 25 km ", 25e3},
		{toml.Lengths, "3 mm", 3e-3},
		{toml.Frequencies, "5.9 MHz", 5.9e6},
		{toml.Speeds, "206753.419 km/s", 206753419},
		{toml.Losses, "5.6 dB", 5.6},
		{toml.Attenuations, "0.22 dB/km", 0.22},
		{toml.Angles, "180 deg", math.Pi},
		{toml.Angles, "-1e-3 rad", -1e-3},
	} {
		if got, problem := c.d.Parse(c.text); got != c.want || problem != "" { // to the last digit
			t.Errorf("%q: %v %s, want %v", c.text, got, problem, c.want)
		}
	}
	for text, want := range map[string]string{
		"":          `want an angle: a number and one of rad, mrad, urad, deg, as in "15 deg"`,
		"3":         `no unit: want a number and one of rad, mrad, urad, deg, as in "15 deg"`,
		"3 grad":    `unknown unit "grad": want a number and one of rad, mrad, urad, deg, as in "15 deg"`,
		"1-2 deg":   `"1-2" is no number: want a number and one of rad, mrad, urad, deg, as in "15 deg"`,
		"9e999 deg": `"9e999" is no number: want a number and one of rad, mrad, urad, deg, as in "15 deg"`,
	} {
		if _, problem := toml.Angles.Parse(text); problem != want {
			t.Errorf("%q: got %s, want %s", text, problem, want)
		}
	}
	if _, problem := toml.Frequencies.Parse("1e305 GHz"); problem != "too large" {
		t.Errorf("got %s", problem)
	}
	if b := toml.Attenuations.Base(); b != "dB/km" {
		t.Errorf("base unit %s", b)
	}
}

// A program that reads a document hears of everything that is wrong with it, in
// the order of the file, with the place.
func TestTable(t *testing.T) {
	doc, err := toml.Parse("f.toml", []byte("b = 3\n[a]\nx = \"1 km\"\ny = \"2\"\nodd = 1\n[[list]]\nn = 1\n[[list]]\nn = \"one\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	root := doc.Root()
	if keys := root.Keys(); !slices.Equal(keys, []string{"a", "b", "list"}) || !root.Has("a") || root.Has("c") || root.Path() != "" {
		t.Errorf("keys %v", keys)
	}
	a := root.Sub("a")
	x, ok := a.Quantity("x", &toml.Lengths)
	if !ok || x != 1e3 || a.Path() != "a" || a.Key("x y") != `a."x y"` || !doc.OK() {
		t.Errorf("%v, %v, %v", x, ok, a)
	}
	a.Quantity("y", &toml.Lengths)
	a.Required("z", "want one")
	a.Done()
	root.Text("b", "")
	for _, e := range root.Array("list") {
		e.Integer("n", 0, 0, 9)
	}
	root.Done()
	want := `f.toml:1:5: b: 3: want a string in quotes, not an integer
f.toml:2:2: a.z: missing: want one
f.toml:4:5: a.y: "2": no unit: want a number and one of mm, cm, m, km, as in "2 m"
f.toml:5:1: a.odd: unknown key; the keys here are x, y, z
f.toml:9:5: list[1].n: "one": want an integer without quotes, not a string`
	if err := doc.Err(); doc.OK() || !errors.Is(err, qnet.ErrInvalid) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// What is found wrong later has its place too, and keeps its code.
func TestPlaced(t *testing.T) {
	doc, err := toml.Parse("f.toml", []byte("[a]\nx = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		e    error
		code qnet.Code
		want string
	}{
		{&toml.Error{Key: "a.x", Text: "too much", Code: qnet.ErrFidelity}, qnet.ErrFidelity, "f.toml:2:5: a.x: 1: too much"},
		{&toml.Error{Key: "a.y", Text: "too much"}, qnet.ErrInvalid, "f.toml:1:2: a.y: too much"},
		{&toml.Error{File: "g.toml", Key: "a.x", Text: "too much"}, qnet.ErrInvalid, "g.toml: a.x: too much"},
		{qnet.ErrNoMemory, qnet.ErrNoMemory, qnet.ErrNoMemory.Error()},
	} {
		if err := doc.Placed(tt.e); qnet.CodeOf(err) != tt.code || err.Error() != tt.want {
			t.Errorf("got %v of code %v, want %s", err, qnet.CodeOf(err), tt.want)
		}
	}
	if doc.Placed(nil) != nil || !doc.OK() {
		t.Error("nothing is wrong with the document")
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.toml")
	var e *toml.Error
	if _, err := toml.ReadFile(path); !errors.As(err, &e) || err.Error() != path+": can not be read: no such file or directory" {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte("a = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := toml.ReadFile(path); err != nil || string(data) != "a = 1\n" {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := toml.Parse(path, make([]byte, toml.MaxFile+1)); err == nil || err.Error() != path+": larger than 64 MiB" {
		t.Errorf("got %v", err)
	}
	if _, err := toml.Parse("f.toml", []byte("a = \n")); !errors.As(err, &e) || e.Line != 1 {
		t.Errorf("got %v", err)
	}
}
