package sweep

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"qstack/app/plot"
	"qstack/app/workload"
	"qstack/qnet"
)

// plotted are the figures that are drawn, with the names of their files.
var plotted = []struct{ file, axis, figure string }{
	{"throughput", "pairs per second", workload.FigureThroughput},
	{"latency", "scaled latency in seconds", workload.FigureScaled},
}

// WriteSVG draws, for each grid with an axis whose alternatives are numbers,
// throughput and scaled latency against it, each in a file of its own in the folder
// dir: GRID-throughput.svg and GRID-latency.svg. What the reference has for such a
// row is drawn too. The error, of code qnet.ErrUnsupported, says that there is no
// such grid.
func (r *Report) WriteSVG(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	drawn := false
	for _, g := range r.grids {
		along := g.along()
		if along < 0 {
			continue
		}
		for _, f := range plotted {
			p := plot.Plot{Title: g.Name, X: plot.Axis{Name: g.Axes[along].Name}, Y: plot.Axis{Name: f.axis, Log: true}}
			if p.Curves = r.curves(g, along, f.figure); len(p.Curves) == 0 {
				continue
			}
			drawn = true
			var b bytes.Buffer
			file := filepath.Join(dir, fmt.Sprintf("%s-%s.svg", g.Name, f.file))
			if err := errors.Join(p.WriteSVG(&b), os.WriteFile(file, b.Bytes(), 0o666)); err != nil {
				return err
			}
		}
	}
	if !drawn {
		return qnet.Errorf(qnet.ErrUnsupported, "no grid with results has an axis whose alternatives are numbers: there is nothing to draw against")
	}
	return nil
}

// Drawable returns an error, of code qnet.ErrUnsupported, if no grid with rows in the
// plan has an axis of numbers, so that WriteSVG would have nothing to draw.
func (p *Plan) Drawable() error {
	if !slices.ContainsFunc(p.Rows, func(r *Planned) bool { return r.Grid.along() >= 0 }) {
		return qnet.Errorf(qnet.ErrUnsupported, "no grid that is run has an axis whose alternatives are numbers: there is nothing to draw against")
	}
	return nil
}

// along returns the position of the axis that the grid is drawn along, the first of
// several alternatives that are all numbers; -1 if there is none.
func (g *Grid) along() int {
	return slices.IndexFunc(g.Axes, func(a Axis) bool {
		return len(a.Alternatives) > 1 && !slices.ContainsFunc(a.Alternatives, func(s string) bool { _, err := strconv.ParseFloat(s, 64); return err != nil })
	})
}

// curves returns a figure against an axis, for each choice of the others and type
// of request, and what the reference has of it.
func (r *Report) curves(g *Grid, along int, name string) []plot.Curve {
	var ours, wanted []plot.Curve
	add := func(to *[]plot.Curve, label string, x, y float64) {
		i := slices.IndexFunc(*to, func(c plot.Curve) bool { return c.Name == label })
		if i < 0 {
			i = len(*to)
			*to = append(*to, plot.Curve{Name: label})
		}
		(*to)[i].Points = append((*to)[i].Points, plot.Point{X: x, Y: y})
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		x, err := strconv.ParseFloat(row.Values[g.Axes[along].Name], 64)
		if row.Grid != g.Name || err != nil {
			continue
		}
		for _, typ := range types(row.Summary) {
			f, ok := figure(row.Summary, typ, originBoth, name)
			if !ok {
				continue
			}
			var label []string // what the axes of several alternatives are at
			for k, a := range g.Axes {
				if k != along && len(a.Alternatives) > 1 {
					label = append(label, row.Values[a.Name])
				}
			}
			text := strings.Join(append(label, typ), ", ")
			add(&ours, text, x, f.Mean)
			for _, c := range r.Checks {
				if c.Kind == "row" && c.Name == row.Row && c.Type == typ && c.Figure == name && c.Bound == "=" {
					add(&wanted, text+", reference", x, c.Want)
				}
			}
		}
	}
	all := append(ours, wanted...)
	for _, c := range all {
		slices.SortFunc(c.Points, func(a, b plot.Point) int { return cmp.Compare(a.X, b.X) })
	}
	return all
}
