package scenario

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"qstack/qnet"
)

// maxFile bounds the size of a scenario file in bytes.
const maxFile = 64 << 20

// Load reads and parses the scenario in the file at path. Every error holds an
// *Error, also that of a file that can not be read.
func Load(path string) (*Scenario, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	return Parse(path, data)
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

// Parse parses a scenario. name is that of its file, for errors. The error
// holds up to ten of type *Error, in the order of the file.
func Parse(name string, data []byte) (*Scenario, error) {
	if len(data) > maxFile {
		return nil, &Error{File: name, Text: fmt.Sprintf("larger than %d MiB", maxFile>>20)}
	}
	doc, err := newDocument(name, data)
	if err != nil {
		return nil, err
	}
	p := parser{doc: doc}
	s := p.scenario()
	if len(doc.problems) == 0 { // only then do the values mean anything
		for i, h := range p.hardware {
			h.check(p.hardwarePaths[i], doc.problem)
		}
		for i, h := range p.heralding {
			h.check(p.heraldingPaths[i], doc.problem)
		}
		if len(doc.problems) == 0 {
			s.check(doc.problem)
		}
	}
	if err := join(doc.problems); err != nil {
		return nil, err
	}
	return s, nil
}

// parser turns a document into a scenario.
type parser struct {
	doc *document

	// The sections, and the keys that they stand at.
	hardware       []*Hardware
	hardwarePaths  []string
	heralding      []*Heralding
	heraldingPaths []string
}

func (p *parser) scenario() *Scenario {
	root := &table{doc: p.doc, keys: p.doc.root}
	if root.keys["version"] == nil {
		root.get("version")
		p.doc.missing("", "version", "a scenario starts with version = %d", Version)
		return nil
	}
	switch v := root.get("version").(type) {
	case int64:
		if v != Version {
			p.doc.problem("version", "this program reads version %d", Version)
			return nil
		}
	default:
		p.doc.problem("version", "want version = %d", Version)
		return nil
	}

	s := &Scenario{}
	if network := root.sub("network"); network != nil {
		p.network(network, s)
	} else if root.keys["network"] == nil {
		p.doc.missing("", "network", "want a table [network] with a name")
	}
	hardware := p.hardwareSections(root.sub("hardware"))
	heralding := p.heraldingSections(root.sub("heralding"))
	nodes := root.array("nodes")
	if root.keys["nodes"] == nil {
		p.doc.missing("", "nodes", "want a table [[nodes]] for each node")
	}
	positions := make(map[string]int, len(nodes))
	for i, t := range nodes {
		n := p.node(t, hardware)
		if _, ok := positions[n.Name]; !ok {
			positions[n.Name] = i
		}
		s.Nodes = append(s.Nodes, n)
	}
	for _, t := range root.array("links") {
		s.Links = append(s.Links, p.link(t, s, positions, heralding))
	}
	if len(nodes) <= MaxNodes {
		s.checkDuplicates(p.doc.problem) // beside links that refer to a name which one of them lost
	}
	root.done()
	return s
}

func (p *parser) network(t *table, s *Scenario) {
	const maxSeed = 1<<63 - 1
	s.Name = t.required("name", `want a name, as in name = "demo"`)
	s.Realm = t.text("realm", s.Name)
	s.Seed = uint64(t.integer("seed", 1, 0, maxSeed))
	s.Dilation = t.number("dilation", 1)
	s.FibreSpeed = qnet.FibreSpeed
	if v, ok := t.quantity("fibre_speed", &speeds); ok {
		s.FibreSpeed = v
	}
	t.done()
}

// duration returns the duration at key. ok is false when there is none, or a
// wrong one, which has been reported.
func (t *table) duration(key string) (d time.Duration, ok bool) {
	v, ok := t.quantity(key, &times)
	if !ok {
		return 0, false
	}
	d, problem := duration(v)
	if problem != "" {
		t.doc.problem(t.key(key), "%s", problem)
	}
	return d, problem == ""
}

// lifetime returns the time constant at key in seconds, 0 when there is none.
func (t *table) lifetime(key string) float64 {
	v, ok := t.quantity(key, &times)
	if ok && v <= 0 {
		t.doc.problem(t.key(key), "must be positive; leave it out for none")
	}
	return v
}

func (p *parser) hardwareSections(t *table) map[string]*Hardware {
	sections := make(map[string]*Hardware)
	names, tables := t.sections()
	for i, t := range tables {
		if t == nil {
			continue
		}
		h := &Hardware{Name: names[i]}
		switch memory := t.text("memory", "dephasing"); memory {
		case "dephasing":
			h.T1 = t.lifetime("t1")
			h.T2 = t.lifetime("t2")
		case "depolarising":
			if t.keys["memory_time"] == nil {
				p.doc.missing(t.path, "memory_time", "a depolarising memory wants its time constant, as in memory_time = %q", "1 s")
			}
			h.Depolarising = t.lifetime("memory_time")
		default:
			p.doc.problem(t.key("memory"), `unknown memory: want "dephasing" (with t1 and t2) or "depolarising" (with memory_time)`)
		}
		h.Init, _ = t.duration("init")
		h.Gate1, _ = t.duration("gate1")
		h.Gate2, _ = t.duration("gate2")
		h.Readout, _ = t.duration("readout")
		h.Gate2Depolarising = t.number("gate2_depolarising", 0)
		h.ReadoutError = t.number("readout_error", 0)
		t.done()
		sections[h.Name] = h
		p.hardware = append(p.hardware, h)
		p.hardwarePaths = append(p.hardwarePaths, t.path)
	}
	return sections
}

func (p *parser) heraldingSections(t *table) map[string]*Heralding {
	sections := make(map[string]*Heralding)
	names, tables := t.sections()
	for i, t := range tables {
		if t != nil {
			sections[names[i]] = p.readHeralding(names[i], t)
		}
	}
	return sections
}

// readHeralding reads a section, or the table in a link when name is empty.
func (p *parser) readHeralding(name string, t *table) *Heralding {
	h := &Heralding{Name: name}
	h.Model = Model(t.required("model", fmt.Sprintf("want model = %q or %q", Ideal, DoubleClick)))
	h.AttemptRate = t.requiredQuantity("attempt_rate", &frequencies)
	switch h.Model {
	case Ideal:
		h.Probability = t.requiredNumber("probability", "want the probability that an attempt succeeds")
		h.Fidelity = t.requiredNumber("fidelity", "want the fidelity of a heralded pair, as in fidelity = 1")
	case DoubleClick:
		h.Efficiency = t.requiredNumber("efficiency", "want the probability that an emitted photon is detected")
		h.Visibility = t.requiredNumber("visibility", "want the squared overlap of the two photons, as in visibility = 0.9")
		h.DarkCounts = t.number("dark_counts", 0)
		h.NumberResolving = t.truth("number_resolving")
	default:
		if t.keys["model"] != nil {
			p.doc.problem(t.key("model"), "unknown model: want %q or %q", Ideal, DoubleClick)
		}
		return h // what the other keys mean depends on the model
	}
	t.done()
	p.heralding = append(p.heralding, h)
	p.heraldingPaths = append(p.heraldingPaths, t.path)
	return h
}

func (p *parser) node(t *table, hardware map[string]*Hardware) Node {
	n := Node{Name: t.required("name", `want a name, as in name = "alice"`)}
	if name := t.required("hardware", "want the name of a section [hardware.NAME]"); name != "" {
		if h := hardware[name]; h != nil {
			n.Hardware = *h
		} else {
			p.doc.problem(t.key("hardware"), "no section [hardware.%s]; there are %s", shorten(name), sectionNames(hardware))
		}
	}
	n.Storage = int(t.integer("storage", 0, 0, MaxStorage))
	if d, ok := t.duration("cutoff"); ok {
		if n.Cutoff = d; d == 0 {
			p.doc.problem(t.key("cutoff"), "must be positive; leave it out for none")
		}
	}
	t.done()
	return n
}

func (p *parser) link(t *table, s *Scenario, positions map[string]int, heralding map[string]*Heralding) Link {
	l := Link{A: -1, B: -1}
	l.A, l.B = p.ends(t, s, positions)
	name := ""
	if l.A >= 0 && l.B >= 0 {
		name = s.Nodes[l.A].Name + "-" + s.Nodes[l.B].Name
	}
	l.Name = t.text("name", name)
	l.Length = t.requiredQuantity("length", &lengths)
	l.Lanes = int(t.integer("lanes", 1, 1, MaxLanes))
	switch v := t.get("heralding").(type) {
	case nil:
		p.doc.missing(t.path, "heralding", "want the name of a section [heralding.NAME], or its keys in { }")
	case string:
		if h := heralding[v]; h != nil {
			l.Heralding = *h
		} else {
			p.doc.problem(t.key("heralding"), "no section [heralding.%s]; there are %s", shorten(v), sectionNames(heralding))
		}
	case map[string]any:
		l.Heralding = *p.readHeralding("", t.sub("heralding"))
	default:
		p.doc.problem(t.key("heralding"), "want the name of a section [heralding.NAME], or its keys in { }, not %s", kind(v))
	}
	t.done()
	return l
}

// ends reads the nodes that a link joins; -1 stands for one that is wrong and
// has been reported.
func (p *parser) ends(t *table, s *Scenario, positions map[string]int) (a, b int) {
	v := t.get("nodes")
	if v == nil {
		p.doc.missing(t.path, "nodes", `want the two nodes it joins, as in nodes = ["alice", "bob"]`)
		return -1, -1
	}
	names, ok := v.([]any)
	if !ok || len(names) != 2 {
		p.doc.problem(t.key("nodes"), `want two node names, as in ["alice", "bob"]`)
		return -1, -1
	}
	var ends [2]int
	for i, v := range names {
		key := element(t.key("nodes"), i)
		ends[i] = -1
		if name, ok := v.(string); !ok {
			p.doc.problem(key, "want the name of a node, not %s", kind(v))
		} else if n, ok := positions[name]; !ok {
			p.doc.problem(key, "no node has this name; there are %s", s.nodeNames())
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
