package scenario

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"qstack/physical/preset"
	"qstack/qnet"
	"qstack/qnet/toml"
)

// Error is something wrong with a scenario. It carries its code.
type Error = toml.Error

// Load reads and parses the scenario in the file at path. Every error holds an
// *Error, also that of a file that can not be read.
func Load(path string) (*Scenario, error) {
	data, err := toml.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse parses a scenario. name is that of its file, for errors. The error
// holds up to ten of type *Error, in the order of the file.
func Parse(name string, data []byte) (*Scenario, error) {
	doc, err := toml.Parse(name, data)
	if err != nil {
		return nil, err
	}
	return ParseDocument(doc, nil)
}

// ParseDocument parses a scenario that has been read as TOML, and perhaps been
// changed. Presets are those of the library, which many scenarios may share, or,
// if it is nil, of one that is opened when needed. Errors are those of Parse.
func ParseDocument(doc *toml.Document, presets *preset.Library) (*Scenario, error) {
	p := parser{doc: doc, file: doc.File(), presets: presets}
	read := 0 // files before
	if presets != nil {
		read = len(presets.Read())
	}
	s := p.scenario()
	if doc.OK() { // only then do the values mean anything
		for i, h := range p.hardware {
			h.check(p.hardwarePaths[i], doc.Problem)
		}
		for i, h := range p.heralding {
			h.check(p.heraldingPaths[i], doc.Problem)
		}
		if doc.OK() {
			s.check(doc.Problem)
		}
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	if p.presets != nil {
		s.Files = beside(p.file, p.presets.Read()[read:])
	}
	return s, nil
}

// beside returns those of the files that lie beside or below the file called
// name, each once, by their paths relative to it.
func beside(name string, files []preset.File) (out []preset.File) {
	for _, f := range files {
		rel, err := filepath.Rel(filepath.Dir(name), f.Path)
		if err != nil || !filepath.IsLocal(rel) || filepath.IsAbs(f.Path) && !filepath.IsAbs(name) {
			continue
		}
		if !slices.ContainsFunc(out, func(o preset.File) bool { return o.Path == rel }) {
			out = append(out, preset.File{Path: rel, Data: f.Data})
		}
	}
	return out
}

// parser turns a document into a scenario.
type parser struct {
	doc     *toml.Document
	file    string
	presets *preset.Library // nil until one is needed

	// The sections, and the keys that they stand at.
	hardware       []*Hardware
	hardwarePaths  []string
	heralding      []*Heralding
	heraldingPaths []string
}

func (p *parser) scenario() *Scenario {
	root := p.doc.Root()
	if !root.Has("version") {
		root.Get("version")
		p.doc.Missing("", "version", "a scenario starts with version = %d", Version)
		return nil
	}
	switch v := root.Get("version").(type) {
	case int64:
		if v != Version {
			p.doc.Problem("version", "this program reads version %d", Version)
			return nil
		}
	default:
		p.doc.Problem("version", "want version = %d", Version)
		return nil
	}

	s := &Scenario{}
	if network := root.Sub("network"); network != nil {
		p.network(network, s)
	} else if !root.Has("network") {
		p.doc.Missing("", "network", "want a table [network] with a name")
	}
	hardware := p.hardwareSections(root.Sub("hardware"))
	heralding := p.heraldingSections(root.Sub("heralding"))
	nodes := root.Array("nodes")
	if !root.Has("nodes") {
		p.doc.Missing("", "nodes", "want a table [[nodes]] for each node")
	}
	positions := make(map[string]int, len(nodes))
	for i, t := range nodes {
		n := p.node(t, hardware)
		if _, ok := positions[n.Name]; !ok {
			positions[n.Name] = i
		}
		s.Nodes = append(s.Nodes, n)
	}
	for _, t := range root.Array("links") {
		s.Links = append(s.Links, p.link(t, s, positions, heralding))
	}
	if len(nodes) <= MaxNodes {
		s.checkDuplicates(p.doc.Problem) // beside links that refer to a name which one of them lost
	}
	s.LinkSettings = p.linkSettings(root.Sub("link"))
	s.Workload = p.workload(root.Sub("workload"), root.Sub("report"), s.Links)
	root.Done()
	return s
}

func (p *parser) network(t *toml.Table, s *Scenario) {
	const maxSeed = 1<<63 - 1
	s.Name = t.Required("name", `want a name, as in name = "demo"`)
	s.Realm = t.Text("realm", s.Name)
	s.Seed = uint64(t.Integer("seed", 1, 0, maxSeed))
	s.Dilation = t.Number("dilation", 1)
	s.FibreSpeed = qnet.FibreSpeed
	if v, ok := t.Quantity("fibre_speed", &toml.Speeds); ok {
		s.FibreSpeed = v
	}
	t.Done()
}

// duration returns the duration at key. ok is false when there is none, or a
// wrong one, which has been reported.
func (p *parser) duration(t *toml.Table, key string) (d time.Duration, ok bool) {
	v, ok := t.Quantity(key, &toml.Times)
	if !ok {
		return 0, false
	}
	d, problem := duration(v)
	if problem != "" {
		p.doc.Problem(t.Key(key), "%s", problem)
	}
	return d, problem == ""
}

// lifetime returns the time constant at key in seconds, 0 when there is none.
func (p *parser) lifetime(t *toml.Table, key string) float64 {
	v, ok := t.Quantity(key, &toml.Times)
	if ok && v <= 0 {
		p.doc.Problem(t.Key(key), "must be positive; leave it out for none")
	}
	return v
}

func (p *parser) hardwareSections(t *toml.Table) map[string]*Hardware {
	sections := make(map[string]*Hardware)
	names, tables := t.Sections()
	for i, t := range tables {
		if t == nil {
			continue
		}
		h := &Hardware{Name: names[i]}
		if t.Has("preset") {
			if h.Preset = p.preset(t); h.Preset != nil {
				sections[h.Name] = h
			}
			t.Done()
			continue
		}
		switch memory := t.Text("memory", "dephasing"); memory {
		case "dephasing":
			h.T1 = p.lifetime(t, "t1")
			h.T2 = p.lifetime(t, "t2")
		case "depolarising":
			if !t.Has("memory_time") {
				p.doc.Missing(t.Path(), "memory_time", "a depolarising memory wants its time constant, as in memory_time = %q", "1 s")
			}
			h.Depolarising = p.lifetime(t, "memory_time")
		default:
			p.doc.Problem(t.Key("memory"), `unknown memory: want "dephasing" (with t1 and t2) or "depolarising" (with memory_time)`)
		}
		h.Init, _ = p.duration(t, "init")
		h.Gate1, _ = p.duration(t, "gate1")
		h.Gate2, _ = p.duration(t, "gate2")
		h.Readout, _ = p.duration(t, "readout")
		h.Gate2Depolarising = t.Number("gate2_depolarising", 0)
		h.ReadoutError = t.Number("readout_error", 0)
		t.Done()
		sections[h.Name] = h
		p.hardware = append(p.hardware, h)
		p.hardwarePaths = append(p.hardwarePaths, t.Path())
	}
	return sections
}

func (p *parser) heraldingSections(t *toml.Table) map[string]*Heralding {
	sections := make(map[string]*Heralding)
	names, tables := t.Sections()
	for i, t := range tables {
		if t != nil {
			sections[names[i]] = p.readHeralding(names[i], t)
		}
	}
	return sections
}

// readHeralding reads a section, or the table in a link when name is empty.
func (p *parser) readHeralding(name string, t *toml.Table) *Heralding {
	h := &Heralding{Name: name}
	if t.Has("preset") {
		published := p.preset(t)
		p.alphas(t, h)
		t.Done()
		if published == nil {
			return h
		}
		if err := h.use(published); err != nil {
			p.doc.Problem(t.Key("preset"), "%v", err)
		} else if h.Alphas != nil {
			if err := h.best(); err != nil {
				p.doc.Problem(t.Key("alphas"), "%v", err)
				h.Alphas = nil
			}
		}
		return h
	}
	h.Model = Model(t.Required("model", fmt.Sprintf("want model = %q or %q", Ideal, DoubleClick)))
	h.AttemptRate = t.RequiredQuantity("attempt_rate", &toml.Frequencies)
	switch h.Model {
	case Ideal:
		h.Probability = t.RequiredNumber("probability", "want the probability that an attempt succeeds")
		h.Fidelity = t.RequiredNumber("fidelity", "want the fidelity of a heralded pair, as in fidelity = 1")
	case DoubleClick:
		h.Efficiency = t.RequiredNumber("efficiency", "want the probability that an emitted photon is detected")
		h.Visibility = t.RequiredNumber("visibility", "want the squared overlap of the two photons, as in visibility = 0.9")
		h.DarkCounts = t.Number("dark_counts", 0)
		h.NumberResolving = t.Truth("number_resolving")
	default:
		if t.Has("model") {
			p.doc.Problem(t.Key("model"), "unknown model: want %q or %q, or in its place a preset, which may have others", Ideal, DoubleClick)
		}
		return h // what the other keys mean depends on the model
	}
	t.Done()
	p.heralding = append(p.heralding, h)
	p.heraldingPaths = append(p.heraldingPaths, t.Path())
	return h
}

// alphas reads the operating points of a link with a preset. They are nil after
// anything wrong, which has been reported.
func (p *parser) alphas(t *toml.Table, h *Heralding) {
	list, ok := t.Get("alphas").([]any)
	key := t.Key("alphas")
	if !ok {
		if t.Has("alphas") {
			p.doc.Problem(key, "want a list of bright-state populations, as in [0.05, 0.1, 0.3]")
		}
		return
	}
	if set := t.Sub("set"); set != nil && (set.Has("alpha") || set.Has("alpha_a") || set.Has("alpha_b")) {
		p.doc.Problem(key, "set gives alpha too: want one of the two")
		return
	}
	problem := false
	alphas := make([]float64, 0, len(list)) // not nil, also when there are none
	for i, v := range list {
		switch v := v.(type) {
		case float64:
			alphas = append(alphas, v)
		case int64:
			alphas = append(alphas, float64(v))
		default:
			p.doc.Problem(toml.Element(key, i), "want a bright-state population, not %s", toml.Kind(v))
			problem = true
		}
	}
	if problem {
		return
	}
	checkAlphas(alphas, key, func(key, format string, args ...any) {
		p.doc.Problem(key, format, args...)
		problem = true
	})
	if !problem {
		h.Alphas = alphas
	}
}

func (p *parser) node(t *toml.Table, hardware map[string]*Hardware) Node {
	n := Node{Name: t.Required("name", `want a name, as in name = "alice"`)}
	if name := t.Required("hardware", "want the name of a section [hardware.NAME]"); name != "" {
		if h := hardware[name]; h != nil {
			n.Hardware = *h
		} else {
			p.doc.Problem(t.Key("hardware"), "no section [hardware.%s]; there are %s", toml.Shorten(name), sectionNames(hardware))
		}
	}
	storage := 0
	if h := n.Hardware.Preset; h != nil {
		storage = h.Device().Spec.Storage
	}
	n.Storage = int(t.Integer("storage", int64(storage), 0, MaxStorage))
	p.cutoff(t, &n)
	t.Done()
	return n
}

// cutoff reads the longest wait at a node: a time, or a number of attempts.
func (p *parser) cutoff(t *toml.Table, n *Node) {
	text, _ := t.Get("cutoff").(string)
	if number, ok := strings.CutSuffix(text, " attempts"); ok {
		v, err := strconv.ParseUint(number, 10, 32)
		if err != nil || v == 0 {
			p.doc.Problem(t.Key("cutoff"), "want a number of attempts from 1 to %d, as in \"1000 attempts\"", uint32(math.MaxUint32))
		}
		n.CutoffAttempts = v
		return
	}
	if d, ok := p.duration(t, "cutoff"); ok {
		if n.Cutoff = d; d == 0 {
			p.doc.Problem(t.Key("cutoff"), "must be positive; leave it out for none")
		}
	}
}

func (p *parser) link(t *toml.Table, s *Scenario, positions map[string]int, heralding map[string]*Heralding) Link {
	l := Link{A: -1, B: -1}
	l.A, l.B = p.ends(t, s, positions)
	name := ""
	if l.A >= 0 && l.B >= 0 {
		name = s.Nodes[l.A].Name + "-" + s.Nodes[l.B].Name
	}
	l.Name = t.Text("name", name)
	l.Lanes = int(t.Integer("lanes", 1, 1, MaxLanes))
	switch v := t.Get("heralding").(type) {
	case nil:
		p.doc.Missing(t.Path(), "heralding", "want the name of a section [heralding.NAME], or its keys in { }")
	case string:
		if h := heralding[v]; h != nil {
			l.Heralding = *h
		} else {
			p.doc.Problem(t.Key("heralding"), "no section [heralding.%s]; there are %s", toml.Shorten(v), sectionNames(heralding))
		}
	case map[string]any:
		l.Heralding = *p.readHeralding("", t.Sub("heralding"))
	default:
		p.doc.Problem(t.Key("heralding"), "want the name of a section [heralding.NAME], or its keys in { }, not %s", toml.Kind(v))
	}
	p.length(t, &l)
	t.Done()
	return l
}

// length reads the length of a link. That of a preset stands unless the link
// says otherwise.
func (p *parser) length(t *toml.Table, l *Link) {
	h := l.Heralding.Preset
	switch {
	case h == nil && l.Heralding.Model == "": // what is wrong with it has been said
		l.Length, _ = t.Quantity("length", &toml.Lengths)
		return
	case h == nil:
		l.Length = t.RequiredQuantity("length", &toml.Lengths)
		return
	}
	if length, ok := t.Quantity("length", &toml.Lengths); ok {
		other, err := h.With(fmt.Sprintf("length=%g m", length))
		if err != nil {
			p.doc.Problem(t.Key("length"), "%v", err)
			return
		}
		h = other
	}
	name, alphas := l.Heralding.Name, l.Heralding.Alphas
	var err error
	if l.Heralding, l.Length, err = FromPreset(h); err == nil && alphas != nil {
		l.Heralding.Alphas = alphas
		err = l.Heralding.best()
	}
	if err != nil {
		p.doc.Problem(t.Key("heralding"), "%v", err)
	}
	l.Heralding.Name = name
}

// preset reads the preset that a section names, with its other values; nil when
// something is wrong, which has been reported.
func (p *parser) preset(t *toml.Table) *preset.Preset {
	name := t.Text("preset", "")
	var settings []string
	if set := t.Sub("set"); set != nil {
		for _, key := range set.Keys() {
			settings = append(settings, fmt.Sprintf("%s=%v", key, set.Get(key)))
		}
	}
	if p.presets == nil {
		var err error
		if p.presets, err = preset.Open(); err != nil {
			p.doc.Problem(t.Key("preset"), "%v", err)
			return nil
		}
	}
	if preset.IsPath(name) && !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(p.file), name)
	}
	h, err := p.presets.Load(name)
	if err != nil {
		p.doc.Problem(t.Key("preset"), "%v", err)
		return nil
	}
	if len(settings) > 0 {
		if h, err = h.With(settings...); err != nil {
			p.doc.Problem(t.Key("set"), "%v", err)
			return nil
		}
	}
	return h
}

// ends reads the nodes that a link joins; -1 stands for one that is wrong and
// has been reported.
func (p *parser) ends(t *toml.Table, s *Scenario, positions map[string]int) (a, b int) {
	v := t.Get("nodes")
	if v == nil {
		p.doc.Missing(t.Path(), "nodes", `want the two nodes it joins, as in nodes = ["alice", "bob"]`)
		return -1, -1
	}
	names, ok := v.([]any)
	if !ok || len(names) != 2 {
		p.doc.Problem(t.Key("nodes"), `want two node names, as in ["alice", "bob"]`)
		return -1, -1
	}
	var ends [2]int
	for i, v := range names {
		key := toml.Element(t.Key("nodes"), i)
		ends[i] = -1
		if name, ok := v.(string); !ok {
			p.doc.Problem(key, "want the name of a node, not %s", toml.Kind(v))
		} else if n, ok := positions[name]; !ok {
			p.doc.Problem(key, "no node has this name; there are %s", s.nodeNames())
		} else {
			ends[i] = n
		}
	}
	return ends[0], ends[1]
}

// sectionNames lists the sections there are.
func sectionNames[T any](sections map[string]T) string {
	return list(slices.Sorted(maps.Keys(sections)))
}
