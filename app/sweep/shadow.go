package sweep

import (
	"maps"
	"slices"
	"strings"

	"qstack/qnet/toml"
)

// layer is the keys that an axis of a grid, or the grid itself, sets in some row,
// with where each of them is written. In a row one layer lies over the other.
type layer struct {
	name string // for errors
	keys map[string]setting
}

// setting is a key of a layer.
type setting struct {
	key   string // in the file
	value any
}

// add adds the keys of t, which stands at path of a scenario. Of alternatives of an
// axis that set the same key one that sets a value counts before one that takes it
// away.
func (l *layer) add(t *toml.Table, path string) {
	for _, name := range t.Keys() {
		at, value := toml.Subkey(path, name), t.Get(name)
		if _, ok := value.(map[string]any); ok {
			l.add(t.Sub(name), at)
			continue
		}
		if old, ok := l.keys[at]; !ok || old.value == false {
			l.keys[at] = setting{t.Key(name), value}
		}
	}
}

// above returns the settings of tables that the key at path is in, with their paths.
func (l *layer) above(path string) (string, setting, bool) {
	for i := strings.LastIndexByte(path, '.'); i > 0; i = strings.LastIndexByte(path[:i], '.') {
		if s, ok := l.keys[path[:i]]; ok {
			return path[:i], s, true
		}
	}
	return "", setting{}, false
}

// shadows reports what two axes of a grid, or an axis and the grid itself, set both:
// rows would have the later value whatever the earlier one says. Nothing is hidden
// where a later layer takes a table away, or changes elements of an array of an
// earlier one. t is the table of the grid, nil if it has none.
func (r *reader) shadows(g *Grid, axes []chosen, t *toml.Table) {
	own := layer{"the grid itself", make(map[string]setting)}
	if t != nil {
		if set := t.Sub("set"); set != nil {
			own.add(set, "")
		}
		if t.Has("seeds") {
			own.keys["workload.seeds"] = setting{t.Key("seeds"), t.Get("seeds")}
		}
	}
	layers := []layer{own}
	for _, c := range axes {
		l := layer{"axis " + c.name, make(map[string]setting)}
		for _, name := range c.names {
			if t := c.from.keys[name]; t != nil {
				l.add(t, "")
			}
		}
		for i := range layers {
			r.shadow(g, &layers[i], &l)
		}
		layers = append(layers, l)
	}
}

// shadow reports the first key that two layers set both.
func (r *reader) shadow(g *Grid, under, over *layer) {
	report := func(path string, a, b setting) {
		r.doc.Problem(b.key, "grid %s has %s from %s too, at %s, and one would hide the other: leave one of both out", g.Name, path, under.name, a.key)
	}
	for _, path := range slices.Sorted(maps.Keys(over.keys)) {
		b := over.keys[path]
		if a, ok := under.keys[path]; ok {
			report(path, a, b)
			return
		}
		if at, a, ok := under.above(path); ok && a.value != false {
			if _, list := a.value.([]any); !list {
				report(at, a, b)
				return
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(under.keys)) {
		if _, b, ok := over.above(path); ok && b.value != false {
			report(path, under.keys[path], b)
			return
		}
	}
}
