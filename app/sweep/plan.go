package sweep

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"

	"qstack/node/scenario"
	"qstack/physical/preset"
	"qstack/qnet"
)

// Options say which runs of a sweep to make.
type Options struct {
	Seeds int            // of each row; 0 for those of the row
	Only  *regexp.Regexp // names of rows; nil for all
	// Verify has the grids of verification run too.
	Verify bool
	// Shard is the part of the runs to make, counted from 1, of Shards; 0 for all.
	Shard, Shards int
}

// Plan is the runs that are to be made.
type Plan struct {
	Sweep *Sweep
	Rows  []*Planned // in the order of the sweep
	left  []string   // names of rows that match too, but are for verification, which was not asked for
	jobs  []Job      // longest first
}

// Planned is a row of a plan.
type Planned struct {
	*Row
	Grid     *Grid
	Scenario *scenario.Scenario
	Hash     string // of all in its files that its runs depend on
}

// Job is one run of a row.
type Job struct {
	Row    *Planned
	Number int    // of the run among those of its row, from 1
	Seed   uint64 // of its random streams
}

// Plan reads the scenarios of the rows, strictly, and lists their runs. The error is
// of code qnet.ErrUnknown if there is none.
func (s *Sweep) Plan(o Options) (*Plan, error) {
	if o.Shards < 0 || o.Shard < 0 || o.Shard > o.Shards || o.Shards > 0 && o.Shard == 0 {
		return nil, qnet.Errorf(qnet.ErrInvalid, "shard %d of %d: want 1 to the number of shards", o.Shard, o.Shards)
	}
	if o.Seeds < 0 || o.Seeds > MaxSeeds {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%d seeds: want 1 to %d", o.Seeds, MaxSeeds)
	}
	presets, err := preset.Open()
	if err != nil {
		return nil, err
	}
	p := &Plan{Sweep: s}
	for _, g := range s.Grids {
		for _, row := range g.Rows {
			if o.Only != nil && !o.Only.MatchString(row.Name) {
				continue
			}
			if g.Verify && !o.Verify {
				p.left = append(p.left, row.Name)
				continue
			}
			planned, err := prepare(g, row, o, presets)
			if err != nil {
				return nil, fmt.Errorf("%w (row %s)", err, row.Name)
			}
			p.Rows = append(p.Rows, planned)
		}
	}
	switch {
	case len(p.Rows) > 0:
	case len(p.left) > 0:
		return nil, qnet.Errorf(qnet.ErrUnknown, "%s: %s", s.Name, p.LeftOut())
	default:
		return nil, qnet.Errorf(qnet.ErrUnknown, "%s: no row is chosen; its first is %s", s.Name, s.first())
	}
	// Rows that are alike share their runs, which count where they are not for
	// verification alone.
	seen := make(map[id]bool)
	for _, verify := range []bool{false, true} {
		for _, row := range p.Rows {
			for n := 1; n <= row.Seeds && row.Grid.Verify == verify; n++ {
				if run := (id{row.Hash, n}); !seen[run] {
					seen[run] = true
					p.jobs = append(p.jobs, Job{row, n, seed(row.Hash, n)})
				}
			}
		}
	}
	slices.SortStableFunc(p.jobs, func(a, b Job) int { return cmp.Compare(b.Row.Simulated, a.Row.Simulated) })
	if o.Shards > 0 {
		var part []Job
		for i, j := range p.jobs {
			if i%o.Shards == o.Shard-1 {
				part = append(part, j)
			}
		}
		p.jobs = part
	}
	return p, nil
}

// LeftOut says which rows match and are not run for want of verification; nothing if
// there are none.
func (p *Plan) LeftOut() string {
	switch len(p.left) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("row %s runs with --verify only", p.left[0])
	}
	return fmt.Sprintf("%d rows run with --verify only, the first is %s", len(p.left), p.left[0])
}

// first returns the name of the first row, for an error message.
func (s *Sweep) first() string {
	for _, g := range s.Grids {
		for _, r := range g.Rows {
			return r.Name
		}
	}
	return "missing"
}

// Jobs returns the runs of the plan, longest first.
func (p *Plan) Jobs() []Job { return p.jobs }

// prepare reads the scenario of a row.
func prepare(g *Grid, row *Row, o Options, presets *preset.Library) (*Planned, error) {
	read := len(presets.Read())
	sc, err := scenario.ParseDocument(row.doc, presets)
	if err != nil {
		return nil, err
	}
	if sc.Workload == nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "scenario %s has no [workload], and so nothing to run", sc.Name)
	}
	planned := *row
	planned.Simulated = sc.Workload.Horizon.Seconds()
	if o.Seeds > 0 {
		planned.Seeds = o.Seeds
	}
	p := &Planned{Row: &planned, Grid: g, Scenario: sc}
	// The seed is that of the run, and how many there are changes none of them.
	data, err := row.doc.JSON("network.seed", "workload.seeds")
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	part := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	part(data)
	for _, f := range presets.Read()[read:] {
		part(f.Data)
	}
	p.Hash = hex.EncodeToString(h.Sum(nil)[:16])
	return p, nil
}

// seed returns the seed of a run: runs of different rows have nothing in common.
func seed(hash string, number int) uint64 {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(hash), uint64(number)))
	return binary.BigEndian.Uint64(sum[:8]) >> 1
}
