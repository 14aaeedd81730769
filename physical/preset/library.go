package preset

import (
	"embed"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"qstack/qnet"
	"qstack/qnet/toml"
)

//go:embed presets/*.toml
var files embed.FS

// Library holds the presets that come with the project.
type Library struct {
	presets []*Preset // sorted by name
	read    []File
}

// File is a file that a library has read.
type File struct {
	Path string
	Data []byte
}

// Read returns the files that Load has read, in the order in which it did.
func (l *Library) Read() []File { return l.read }

// Open reads the embedded presets.
func Open() (*Library, error) {
	entries, err := files.ReadDir("presets")
	if err != nil {
		return nil, err
	}
	l := &Library{}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".toml"))
	}
	for _, name := range names {
		if _, err := l.embedded(name, names, nil); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(l.presets, func(a, b *Preset) int { return strings.Compare(a.Name, b.Name) })
	return l, nil
}

// embedded reads one of the embedded presets called names, and those that it
// extends. trail has the ones that extend it.
func (l *Library) embedded(name string, names, trail []string) (*Preset, error) {
	if p := l.find(name); p != nil {
		return p, nil
	}
	if !slices.Contains(names, name) {
		return nil, unknown(name, names)
	}
	if slices.Contains(trail, name) {
		return nil, cycle(append(trail, name))
	}
	file := path.Join("presets", name+".toml")
	data, err := files.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p, err := parse(file, data, func(base string) (*Preset, error) { return l.embedded(base, names, append(trail, name)) })
	if err != nil {
		return nil, err
	}
	l.presets = append(l.presets, p)
	return p, nil
}

// Presets returns the embedded presets, sorted by name.
func (l *Library) Presets() []*Preset { return l.presets }

// Load returns the embedded preset of a name, or reads the file at a path: what
// has a separator or ends in .toml. An unknown name is an error of code
// qnet.ErrUnknown that lists names near it; what is wrong with a file is one or
// more errors of type *toml.Error. A file extends an embedded preset by its name,
// or another file by its path, relative to its own.
func (l *Library) Load(nameOrPath string) (*Preset, error) { return l.load(nameOrPath, nil) }

func (l *Library) load(name string, trail []string) (*Preset, error) {
	if !IsPath(name) {
		if p := l.find(name); p != nil {
			return p, nil
		}
		return nil, unknown(name, l.names())
	}
	if slices.Contains(trail, name) {
		return nil, cycle(append(trail, name))
	}
	data, err := toml.ReadFile(name)
	if err != nil {
		return nil, err
	}
	l.read = append(l.read, File{name, data})
	return l.parse(name, data, trail)
}

// Parse reads a preset from data, the content of the named file; see Load.
func (l *Library) Parse(file string, data []byte) (*Preset, error) { return l.parse(file, data, nil) }

func (l *Library) parse(file string, data []byte, trail []string) (*Preset, error) {
	return parse(file, data, func(base string) (*Preset, error) {
		if IsPath(base) && !filepath.IsAbs(base) {
			base = filepath.Join(filepath.Dir(file), base)
		}
		return l.load(base, append(trail, file))
	})
}

// IsPath reports whether Load takes name for the path of a file.
func IsPath(name string) bool {
	return strings.HasSuffix(name, ".toml") || strings.ContainsRune(name, filepath.Separator)
}

func (l *Library) find(name string) *Preset {
	for _, p := range l.presets {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (l *Library) names() []string {
	names := make([]string, len(l.presets))
	for i, p := range l.presets {
		names[i] = p.Name
	}
	return names
}

func unknown(name string, names []string) error {
	return qnet.Errorf(qnet.ErrUnknown, "no preset is called %q%s", toml.Shorten(name), hint(name, names))
}

func cycle(trail []string) error {
	return qnet.Errorf(qnet.ErrInvalid, "presets extend each other in a circle: %s", strings.Join(trail, " → "))
}
