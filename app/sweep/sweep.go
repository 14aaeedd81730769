package sweep

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"qstack/qnet"
	"qstack/qnet/toml"
)

// Bounds of a sweep.
const (
	MaxRows  = 100_000 // of a grid
	MaxSeeds = 100_000 // of a row
)

// sweepFile is the file that stands for its folder.
const sweepFile = "sweep.toml"

// Sweep is a set of grids.
type Sweep struct {
	Name  string
	Title string
	About string // text for its page of documentation, Markdown
	Grids []*Grid
	// Reference is what the results are compared with; nil for nothing.
	Reference *Reference
}

// Grid is the product of axes.
type Grid struct {
	Name, Title string
	Axes        []Axis
	Verify      bool // is run only to be compared with the reference
	Rows        []*Row

	doc *toml.Document
	key string // of the name; empty where that is the file's
}

// Axis is a name and the alternatives that a grid takes of it.
type Axis struct {
	Name         string
	Alternatives []string
}

// Row is one scenario of a grid.
type Row struct {
	Name   string   // that of the grid and the values, with a slash in between
	Values []string // an alternative of each axis of the grid
	Seeds  int      // runs
	// Simulated is the time that a run takes in the emulated world, with warm-up, in
	// seconds; 0 if the scenario does not say, until it is planned.
	Simulated float64

	doc *toml.Document
}

// Source has files: those of a system, or embedded ones.
type Source interface {
	Read(name string) ([]byte, error)
	// List returns the names of the TOML files in a folder, in order; nil if name is
	// no folder.
	List(name string) []string
}

// Disk is the source of all files of the system.
type Disk struct{}

// Read reads a file. Errors are of type *toml.Error.
func (Disk) Read(name string) ([]byte, error) { return toml.ReadFile(name) }

// List returns the names of the TOML files in a folder.
func (Disk) List(name string) []string {
	if i, err := os.Stat(name); err != nil || !i.IsDir() {
		return nil
	}
	names, _ := filepath.Glob(filepath.Join(globQuote(name), "*.toml"))
	return names
}

// globQuote returns a pattern that matches the path alone.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// FS is the source of the files of a file system, such as an embedded one.
type FS struct{ FS fs.FS }

// Read reads a file.
func (f FS) Read(name string) ([]byte, error) {
	data, err := fs.ReadFile(f.FS, filepath.ToSlash(name))
	if err != nil {
		return nil, &toml.Error{File: name, Text: "can not be read: it does not come with the program"}
	}
	return data, nil
}

// List returns the names of the TOML files in a folder.
func (f FS) List(name string) []string {
	names, _ := fs.Glob(f.FS, filepath.ToSlash(filepath.Join(name, "*.toml")))
	return names
}

// Load reads the sweep in a file or folder.
func Load(src Source, name string) (*Sweep, error) {
	files := src.List(name)
	sweep := filepath.Join(name, sweepFile)
	switch {
	case slices.Contains(files, sweep) || slices.Contains(files, filepath.ToSlash(sweep)):
		files = []string{sweep}
	case files == nil:
		files = []string{name}
	}
	s := &Sweep{Name: title(name)}
	for _, file := range files {
		if err := s.load(src, file); err != nil {
			return nil, err
		}
	}
	return s, s.check()
}

// names returns the names of all rows.
func (s *Sweep) names() []string {
	var out []string
	for _, g := range s.Grids {
		for _, r := range g.Rows {
			out = append(out, r.Name)
		}
	}
	return out
}

// check returns an error if two rows or grids have one name.
func (s *Sweep) check() error {
	seen := make(map[string]*Grid)
	for _, g := range s.Grids {
		if first := seen[g.Name]; first != nil {
			text := fmt.Sprintf("there are two grids %s, the first in %s: give each a name of its own", g.Name, first.doc.File())
			return g.doc.Placed(&toml.Error{Key: g.key, Text: text})
		}
		seen[g.Name] = g
	}
	return nil
}

// Join returns the sweep of the grids of several, of which one at most has a
// reference.
func Join(all ...*Sweep) (*Sweep, error) {
	if len(all) == 1 {
		return all[0], nil
	}
	var names []string
	out := &Sweep{}
	for _, s := range all {
		names = append(names, s.Name)
		out.Grids = append(out.Grids, s.Grids...)
		if s.Reference != nil && out.Reference != nil {
			return nil, qnet.Errorf(qnet.ErrInvalid, "%s has a reference, and so has another: run them one by one", s.Name)
		}
		if s.Reference != nil {
			out.Reference = s.Reference
		}
	}
	out.Name = strings.Join(names, "+")
	return out, out.check()
}

// title returns the name of a file or folder without path and ending.
func title(name string) string {
	name = strings.TrimSuffix(filepath.Base(filepath.Clean(name)), ".toml")
	if name == "sweep" || name == "." {
		return "sweep"
	}
	return name
}
