package sweep

import (
	"path/filepath"
	"slices"
	"strings"

	"qstack/qnet/toml"
)

// version is that of the format.
const version = 1

// load reads one file: a scenario, a scenario with a table [sweep], or that table
// alone.
func (s *Sweep) load(src Source, file string) error {
	data, err := src.Read(file)
	if err != nil {
		return err
	}
	doc, err := toml.Parse(file, data)
	if err != nil {
		return err
	}
	root := doc.Root()
	if !root.Has("sweep") {
		g := &Grid{Name: title(file), doc: doc}
		r := reader{doc: doc, base: doc}
		g.Rows = []*Row{r.row(g, doc)}
		s.Grids = append(s.Grids, g)
		return doc.Err()
	}
	t := root.Sub("sweep")
	if t == nil {
		return doc.Err()
	}
	r := reader{doc: doc, base: doc.Without("sweep"), axes: make(map[string]*axis)}
	s.Title, s.About = t.Text("title", ""), t.Text("about", "")
	if name := t.Text("base", ""); name != "" {
		if root.Integer("version", version, version, version); !root.Has("version") {
			doc.Missing("", "version", "a sweep starts with version = %d", version)
		}
		root.Done() // nothing but the sweep
		path := beside(file, name)
		data, err := src.Read(path)
		if err != nil {
			doc.Problem(t.Key("base"), "%v", err)
			return doc.Err()
		}
		if r.base, err = toml.Parse(path, data); err != nil {
			return err
		}
	}
	reference := t.Text("reference", "")
	r.readAxes(t.Sub("axis"))
	grids := t.Array("grid")
	if !t.Has("grid") {
		g := &Grid{Name: title(file), doc: doc}
		if len(r.order) == 0 {
			doc.Missing("sweep", "axis", "a sweep wants axes, as in [sweep.axis.load]")
		}
		r.shadows(g, r.all(), nil)
		r.cross(g, r.all(), nil, 0)
		s.Grids = append(s.Grids, g)
	}
	for _, t := range grids {
		s.Grids = append(s.Grids, r.grid(t))
	}
	t.Done()
	if err := doc.Err(); err != nil {
		return err
	}
	if reference != "" {
		if s.Reference, err = LoadReference(src, beside(file, reference), s.names()); err != nil {
			return err
		}
	}
	return nil
}

// beside returns the path of a file that another one names.
func beside(file, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(file), name)
}

// reader turns the table of a sweep into grids.
type reader struct {
	doc, base *toml.Document
	axes      map[string]*axis
	order     []string // of the axes in the file
}

// axis has all alternatives of an axis.
type axis struct {
	names []string
	keys  map[string]*toml.Table
}

// chosen is an axis of a grid.
type chosen struct {
	name  string
	names []string
	from  *axis
}

func (r *reader) readAxes(t *toml.Table) {
	if t == nil {
		return
	}
	r.order = t.InOrder()
	for _, name := range r.order {
		at := t.Sub(name)
		if at == nil {
			continue
		}
		a := &axis{names: at.InOrder(), keys: make(map[string]*toml.Table)}
		r.checkName(t.Key(name), name)
		for _, alternative := range a.names {
			r.checkName(at.Key(alternative), alternative)
			if keys := at.Sub(alternative); keys != nil {
				a.keys[alternative] = keys
			}
		}
		if len(a.names) == 0 {
			r.doc.Problem(t.Key(name), "want alternatives, as in low = { workload.load = 0.7 }")
		}
		r.axes[name] = a
	}
}

// maxName bounds the names of grids, axes and alternatives.
const maxName = 40

// checkName reports a name that can not be part of that of a row.
func (r *reader) checkName(key, name string) {
	if name == "" || len(name) > maxName || strings.ContainsAny(name, "/,=\n\r\t") || strings.TrimSpace(name) != name {
		r.doc.Problem(key, "the name must be 1 to %d characters without / , = and tabs", maxName)
	}
}

// all returns all axes.
func (r *reader) all() []chosen {
	var out []chosen
	for _, name := range r.order {
		if a := r.axes[name]; a != nil {
			out = append(out, chosen{name, a.names, a})
		}
	}
	return out
}

func (r *reader) grid(t *toml.Table) *Grid {
	g := &Grid{Name: t.Required("name", `want a name, as in name = "single"`), Title: t.Text("title", ""), Verify: t.Truth("verify"), doc: r.doc, key: t.Key("name")}
	if g.Name != "" {
		r.checkName(t.Key("name"), g.Name)
	}
	seeds := int(t.Integer("seeds", 0, 1, MaxSeeds))
	set := t.Sub("set")
	var axes []chosen
	if !t.Has("axes") {
		t.Get("axes")
		axes = r.all()
	} else {
		axes = r.choose(t)
	}
	t.Done()
	if r.doc.OK() {
		r.shadows(g, axes, t)
		r.cross(g, axes, set, seeds)
	}
	return g
}

// choose reads the axes of a grid: "load", or "load = low, high".
func (r *reader) choose(t *toml.Table) []chosen {
	list, ok := t.Get("axes").([]any)
	if !ok {
		r.doc.Problem(t.Key("axes"), `want the names of axes, as in ["kind", "load = low, high"]`)
		return nil
	}
	var out []chosen
	for i, v := range list {
		key := toml.Element(t.Key("axes"), i)
		text, ok := v.(string)
		if !ok {
			r.doc.Problem(key, "want the name of an axis, not %s", toml.Kind(v))
			continue
		}
		name, some, selected := strings.Cut(text, "=")
		name = strings.TrimSpace(name)
		a := r.axes[name]
		if a == nil {
			r.doc.Problem(key, "no axis [sweep.axis.%s]; there are %s", toml.Shorten(name), listed(r.order))
			continue
		}
		if slices.ContainsFunc(out, func(c chosen) bool { return c.name == name }) {
			r.doc.Problem(key, "the grid has this axis already")
			continue
		}
		c := chosen{name, a.names, a}
		if selected {
			c.names = nil
			for alternative := range strings.SplitSeq(some, ",") {
				alternative = strings.TrimSpace(alternative)
				switch {
				case !slices.Contains(a.names, alternative):
					r.doc.Problem(key, "axis %s has no alternative %q; it has %s", name, toml.Shorten(alternative), listed(a.names))
				case slices.Contains(c.names, alternative):
					r.doc.Problem(key, "%q is there twice", alternative)
				default:
					c.names = append(c.names, alternative)
				}
			}
		}
		out = append(out, c)
	}
	return out
}

// listed lists names for an error message.
func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// cross fills a grid with the product of the axes, the last of them the fastest.
func (r *reader) cross(g *Grid, axes []chosen, set *toml.Table, seeds int) {
	rows := 1
	for _, c := range axes {
		g.Axes = append(g.Axes, Axis{c.name, c.names})
		if rows *= len(c.names); rows > MaxRows {
			r.doc.Problem("sweep", "grid %s has more than %d rows", g.Name, MaxRows)
			return
		}
	}
	for i := range rows {
		values := make([]string, len(axes))
		over := make([]*toml.Table, len(axes)+1)
		over[0] = set
		for k, rest := len(axes)-1, i; k >= 0; k-- {
			n := len(axes[k].names)
			values[k] = axes[k].names[rest%n]
			over[k+1] = axes[k].from.keys[values[k]]
			rest /= n
		}
		row := r.row(g, r.base.Overlay(over...))
		row.Values = values
		row.Name = strings.Join(append([]string{g.Name}, values...), "/")
		if seeds > 0 {
			row.Seeds = seeds
		}
		g.Rows = append(g.Rows, row)
	}
}

// row returns the row of a scenario. What is wrong with that is found when it is
// read as such.
func (r *reader) row(g *Grid, doc *toml.Document) *Row {
	row := &Row{Name: g.Name, Seeds: 1, doc: doc}
	look := doc.Overlay() // a copy, which may have problems
	if w := look.Root().Sub("workload"); w != nil {
		row.Seeds = int(w.Integer("seeds", 1, 1, MaxSeeds))
		row.Simulated, _ = w.Quantity("horizon", &toml.Times)
	}
	return row
}
