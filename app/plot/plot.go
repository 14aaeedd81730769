// Package plot draws curves as SVG.
package plot

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Point is a point of a curve.
type Point struct{ X, Y float64 }

// Curve is a line through points, in their order; points that are not finite, or
// that a logarithmic axis has no place for, break it.
type Curve struct {
	Name   string // in the legend
	Points []Point
	Steps  bool // the value of a point holds until the next
}

// Axis is one of the axes of a plot.
type Axis struct {
	Name string // with the unit
	Log  bool   // logarithmic
	// Min and Max bound what is shown, if Max is above Min; otherwise the curves
	// do.
	Min, Max float64
}

// Plot is a diagram with some curves.
type Plot struct {
	Title  string
	X, Y   Axis
	Curves []Curve
}

// Size of the picture.
const (
	width, height = 720, 420
	left, right   = 76, 24
	top, bottom   = 48, 56
)

// colours of curves, in turn: told apart by most people who see colours otherwise.
var colours = []string{"#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#444444"}

// WriteSVG draws the plot. The same plot gives the same bytes.
func (p *Plot) WriteSVG(w io.Writer) error {
	x, y := p.X.scale(p.Curves, func(q Point) float64 { return q.X }), p.Y.scale(p.Curves, func(q Point) float64 { return q.Y })
	px := func(v float64) float64 { return left + (width-left-right)*x.at(v) }
	py := func(v float64) float64 { return height - bottom - (height-top-bottom)*y.at(v) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="24" font-size="15">%s</text>`+"\n", left, escape(p.Title))
	for _, v := range x.ticks() {
		fmt.Fprintf(&b, `<line x1="%.2f" y1="%d" x2="%.2f" y2="%d" stroke="#ddd"/>`+"\n", px(v), top, px(v), height-bottom)
		fmt.Fprintf(&b, `<text x="%.2f" y="%d" text-anchor="middle">%s</text>`+"\n", px(v), height-bottom+16, number(v))
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(&b, `<line x1="%d" y1="%.2f" x2="%d" y2="%.2f" stroke="#ddd"/>`+"\n", left, py(v), width-right, py(v))
		fmt.Fprintf(&b, `<text x="%d" y="%.2f" text-anchor="end">%s</text>`+"\n", left-6, py(v)+4, number(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-16, escape(p.X.Name))
	fmt.Fprintf(&b, `<text transform="translate(18,%d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, escape(p.Y.Name))
	for i := range p.Curves {
		c := &p.Curves[i]
		if d := c.path(x, y, px, py); d != "" {
			fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", d, colours[i%len(colours)])
		}
	}
	fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#333"/>`+"\n", left, top, width-left-right, height-top-bottom)
	p.legend(&b)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// path returns the line of a curve.
func (c *Curve) path(x, y scale, px, py func(float64) float64) string {
	var b strings.Builder
	pen := "M"
	for i, q := range c.Points {
		if !x.shows(q.X) || !y.shows(q.Y) {
			pen = "M"
			continue
		}
		if c.Steps && pen == "L" {
			fmt.Fprintf(&b, "L%.2f %.2f", px(q.X), py(c.Points[i-1].Y))
		}
		fmt.Fprintf(&b, "%s%.2f %.2f", pen, px(q.X), py(q.Y))
		pen = "L"
	}
	return b.String()
}

// legend names the curves, above the frame at the right.
func (p *Plot) legend(b *strings.Builder) {
	x := float64(width - right)
	for i := len(p.Curves) - 1; i >= 0; i-- {
		name := p.Curves[i].Name
		if name == "" {
			continue
		}
		x -= 7*float64(len([]rune(name))) + 36 // about 7 a letter
		fmt.Fprintf(b, `<line x1="%.2f" y1="%d" x2="%.2f" y2="%d" stroke="%s" stroke-width="3"/>`+"\n", x, top-12, x+20, top-12, colours[i%len(colours)])
		fmt.Fprintf(b, `<text x="%.2f" y="%d">%s</text>`+"\n", x+24, top-8, escape(name))
	}
}

// scale is an axis with its range.
type scale struct {
	log      bool
	min, max float64
}

// scale chooses the range of an axis.
func (a *Axis) scale(curves []Curve, of func(Point) float64) scale {
	s := scale{log: a.Log, min: math.Inf(1), max: math.Inf(-1)}
	for i := range curves {
		for _, q := range curves[i].Points {
			if v := of(q); finite(v) && (!a.Log || v > 0) {
				s.min, s.max = min(s.min, v), max(s.max, v)
			}
		}
	}
	if a.Max > a.Min && (!a.Log || a.Min > 0) {
		s.min, s.max = a.Min, a.Max
	}
	switch {
	case !(s.min <= s.max): // nothing to show
		s.min, s.max = 0, 1
		if a.Log {
			s.min = 0.1
		}
	case a.Log:
		s.min, s.max = math.Pow(10, math.Floor(math.Log10(s.min)+1e-9)), math.Pow(10, math.Ceil(math.Log10(s.max)-1e-9))
		if s.min == s.max {
			s.max *= 10
		}
	default:
		if s.min > 0 && s.min < s.max/2 { // a ratio shows only beside 0
			s.min = 0
		}
		if s.max-s.min < 1e-12*math.Abs(s.max) || s.min == s.max {
			d := max(math.Abs(s.max)/2, 0.5)
			s.min, s.max = s.min-d, s.max+d
		}
		if step := s.step(); a.Max <= a.Min {
			s.min, s.max = math.Floor(s.min/step+1e-9)*step, math.Ceil(s.max/step-1e-9)*step
		}
	}
	return s
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// shows reports whether a value has a place.
func (s scale) shows(v float64) bool {
	margin := 1e-9 * (s.max - s.min)
	return finite(v) && v >= s.min-margin && v <= s.max+margin && (!s.log || v > 0)
}

// at returns where a value is, from 0 to 1.
func (s scale) at(v float64) float64 {
	if s.log {
		return math.Log10(v/s.min) / math.Log10(s.max/s.min)
	}
	return (v - s.min) / (s.max - s.min)
}

// step returns the distance between the ticks of a linear scale: 1, 2 or 5 times a
// power of ten.
func (s scale) step() float64 {
	x := (s.max - s.min) / 6
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if x <= m*power*(1+1e-9) {
			return m * power
		}
	}
	return 10 * power
}

func (s scale) ticks() (ticks []float64) {
	if s.log {
		from, to := math.Round(math.Log10(s.min)), math.Round(math.Log10(s.max))
		every := math.Ceil((to - from) / 10)
		for e := from; e <= to; e += max(1, every) {
			ticks = append(ticks, math.Pow(10, e))
		}
		return ticks
	}
	step := s.step()
	first := math.Ceil(s.min/step - 1e-9)
	for i := 0.0; i < 20; i++ {
		v := (first + i) * step
		if v > s.max+step*1e-6 {
			break
		}
		ticks = append(ticks, v)
	}
	return ticks
}

// number writes the value of a tick.
func number(v float64) string {
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// escape makes text safe in SVG.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}
