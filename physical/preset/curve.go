package preset

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"qstack/physical/optics"
)

// steps of a curve.
const curveSteps = 160

// assumed is the attenuation in dB/km beyond the length of a link that gives
// none (chosen: standard fibre at 1550 nm).
const assumed = 0.2

// Curve writes two plots of the link as SVG: its rate against its fidelity as the
// operating point changes, and its rate against distance, beside the repeaterless
// bound −log2(1−η) on pairs per attempt (see optics.Repeaterless), where η is the
// transmission of the fibre from end to end and every mode of an attempt counts.
// With distance the herald takes longer, and so do attempts that wait for it. The
// same preset gives the same bytes. The error, of code qnet.ErrUnsupported, says
// that p describes no link.
func (p *Preset) Curve(w io.Writer) error {
	results, err := p.Results()
	if err != nil {
		return err
	}
	var left, right plot
	quality, rate := "fidelity_delivered", "rate_hz"
	left = plot{title: "rate against fidelity", x: axis{name: "fidelity when both ends know"}, y: axis{name: "pairs per second", log: true}}
	if results.Fidelity == 0 { // nothing is kept
		quality, rate = "qber", "key_rate_hz"
		left = plot{title: "key rate against error rate", x: axis{name: "error rate"}, y: axis{name: "secret bits per second", log: true}}
	}
	right = plot{title: "rate against distance", x: axis{name: "fibre between the ends, km"}, y: left.y}
	ordinate, abscissa := quantityNamed(rate), quantityNamed(quality)
	left.curves = p.operatingCurve(abscissa, ordinate)
	right.curves, right.note = p.distanceCurves(ordinate)
	km := p.Distance() / 1e3
	left.marks = []mark{{name: "this preset", x: abscissa.of(&results), y: ordinate.of(&results), filled: true}}
	right.marks = []mark{{name: "this preset", x: km, y: ordinate.of(&results), filled: true}}
	if rate := p.published(ordinate); rate != nil {
		right.marks = append(right.marks, mark{name: "published", x: km, y: rate.Value})
		for _, q := range []string{quality, "fidelity"} {
			if f := p.published(quantityNamed(q)); f != nil {
				left.marks = append(left.marks, mark{name: "published", x: f.Value, y: rate.Value, std: f.Uncertainty})
				break
			}
		}
	}
	left.fit(0.03)
	right.fit(0)

	var b strings.Builder
	lines := []string{"model " + p.Model.Name + "; bound: S. Pirandola et al., Nature Communications 8, 15043 (2017)"}
	if len(right.curves) > 0 && right.note != "" {
		lines = append(lines, right.title+": "+right.note)
	}
	for _, s := range p.Sources {
		lines = append(lines, s.Cite)
	}
	const width, panel = 1000, 420
	height := 60 + panel + 16*len(lines) + 12
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="20" y="30" font-size="18">%s: %s</text>`+"\n", escape(p.Name), escape(p.Title))
	left.draw(&b, 80, 70, 400, panel-80)
	right.draw(&b, 580, 70, 400, panel-80)
	for i, line := range lines {
		fmt.Fprintf(&b, `<text x="20" y="%d" font-size="11" fill="#555">%s</text>`+"\n", 60+panel+16*i, escape(line))
	}
	b.WriteString("</svg>\n")
	_, err = io.WriteString(w, b.String())
	return err
}

// operatingCurve returns rate against fidelity over the operating points.
func (p *Preset) operatingCurve(abscissa, ordinate *Quantity) []curve {
	if p.Model.Operating == "" {
		return nil
	}
	param := find(p.Model.Params, p.Model.Operating)
	low, high := p.Model.Low, p.Model.High
	if low == 0 {
		now := given{p.Model.Params, p.Values}.number(param.Name)
		low, high = now/1e3, now*1e3
	}
	c := curve{name: "by " + param.Name, colour: "#1f77b4"}
	for i := range curveSteps + 1 {
		x := low * math.Pow(high/low, float64(i)/curveSteps)
		q := p.at(param, x)
		l, _, problem := q.validLink()
		if problem != "" {
			continue
		}
		if r, err := q.results(l); err == nil {
			c.points = append(c.points, point{abscissa.of(&r), ordinate.of(&r)})
		}
	}
	return []curve{c}
}

// distanceCurves returns the rate and the bound against the distance in
// kilometres, and what to say of them.
func (p *Preset) distanceCurves(ordinate *Quantity) (curves []curve, note string) {
	if find(p.Model.Params, "attenuation") == nil {
		return nil, "the model has no fibre"
	}
	g := given{p.Model.Params, p.Values}
	l, err := p.link()
	if err != nil {
		return nil, err.Error()
	}
	attenuation := l.Attenuation
	if attenuation == 0 {
		attenuation = assumed
		note = fmt.Sprintf("no attenuation is given: %g dB/km beyond its length", assumed)
	}
	own := p.Distance() / 1e3
	const span = 30 // dB
	longest := nice(max(span/attenuation, 2*own))
	model := curve{name: "this link", colour: "#1f77b4"}
	bound := curve{name: "repeaterless bound", colour: "#d62728", dashed: true}
	for i := range curveSteps + 1 {
		km := longest * float64(i) / curveSteps
		q := p.stretched(g, l, km*1e3)
		if l.Attenuation == 0 {
			extra := assumed * max(0, km-own)
			if km > 0 {
				extra /= km
			}
			q = q.at(find(p.Model.Params, "attenuation"), extra)
		}
		now, _, problem := q.validLink()
		if problem != "" {
			continue
		}
		r, err := q.results(now)
		if err != nil {
			continue
		}
		model.points = append(model.points, point{km, ordinate.of(&r)})
		gq := given{q.Model.Params, q.Values}
		lengthA, lengthB := gq.lengths()
		loss := lengthA*1e-3*gq.arm("attenuation", "a") + lengthB*1e-3*gq.arm("attenuation", "b") + gq.arm("insertion_loss", "a")
		if find(gq.params, "insertion_loss_b") != nil {
			loss += gq.arm("insertion_loss", "b")
		}
		if eta := optics.Transmission(loss); eta < 1 {
			uses := 1.0
			if find(gq.params, "modes") != nil {
				uses = gq.number("modes")
			}
			bound.points = append(bound.points, point{km, optics.Repeaterless(eta) * uses / r.AttemptS})
		}
	}
	return []curve{model, bound}, note
}

// stretched returns p at another distance in metres: both arms in the same
// proportion, and the time of an attempt longer or shorter by the herald's travel
// if it waits for that.
func (p *Preset) stretched(g given, l *Link, metres float64) *Preset {
	share := 0.5
	if total := l.LengthA + l.LengthB; total > 0 {
		share = l.LengthA / total
	}
	set := func(q *Preset, name string, x float64) *Preset {
		if param := find(p.Model.Params, name); param != nil {
			return q.at(param, x)
		}
		return q
	}
	if find(g.params, "length_a") == nil {
		return set(p, "length", metres)
	}
	q := set(p, "length_a", metres*share)
	q = set(q, "length_b", metres*(1-share))
	if find(g.params, "await_herald") != nil && g.truth("await_herald") {
		q = set(q, "local_time", max(0, l.period()/1e9-l.Herald))
	}
	return q
}

// nice rounds up to 1, 2 or 5 times a power of ten.
func nice(x float64) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if x <= m*scale*(1+1e-9) {
			return m * scale
		}
	}
	return 10 * scale
}

type point struct{ x, y float64 }

type curve struct {
	name, colour string
	dashed       bool
	points       []point
}

// mark is a point, as a disk if it is filled and as a ring, which leaves a disk
// on the same spot visible, if not.
type mark struct {
	name   string
	x, y   float64
	std    float64 // uncertainty of x, 0 for none
	filled bool
}

type axis struct {
	name     string
	log      bool
	min, max float64
}

// plot is one panel.
type plot struct {
	title, note string
	x, y        axis
	curves      []curve
	marks       []mark
}

// fit chooses the ranges of the axes. A probability x is given a margin, as a
// share of its range, to either side.
func (p *plot) fit(margin float64) {
	p.x.min, p.x.max = math.Inf(1), math.Inf(-1)
	p.y.min, p.y.max = math.Inf(1), math.Inf(-1)
	see := func(x, y float64, bound bool) {
		if y > 0 {
			if !bound {
				p.x.min, p.x.max = min(p.x.min, x), max(p.x.max, x)
				p.y.min = min(p.y.min, y)
			}
			p.y.max = max(p.y.max, y)
		}
	}
	for _, c := range p.curves {
		for _, q := range c.points {
			see(q.x, q.y, c.dashed)
		}
	}
	for _, m := range p.marks {
		see(m.x-m.std, m.y, false)
		see(m.x+m.std, m.y, false)
	}
	if margin *= p.x.max - p.x.min; margin > 0 {
		p.x.min, p.x.max = max(0, p.x.min-margin), min(1, p.x.max+margin)
	}
	p.y.max = math.Pow(10, math.Ceil(math.Log10(p.y.max)-1e-9))
	p.y.min = math.Pow(10, math.Floor(math.Log10(max(p.y.min, p.y.max*1e-12))+1e-9))
	if p.y.min == p.y.max {
		p.y.min /= 10
	}
	if step := p.x.step(); step > 0 {
		p.x.min, p.x.max = math.Floor(p.x.min/step+1e-9)*step, math.Ceil(p.x.max/step-1e-9)*step
	} else { // a single value
		p.x.min, p.x.max = max(0, p.x.min-0.1), p.x.max+0.1
	}
}

// step returns the distance between ticks of a linear axis, 0 when there is only
// one value.
func (a *axis) step() float64 {
	if !(a.max-a.min > 1e-9) {
		return 0
	}
	return nice((a.max - a.min) / 8)
}

// at returns where a value is, from 0 to 1.
func (a *axis) at(v float64) float64 {
	if a.log {
		return math.Log10(v/a.min) / math.Log10(a.max/a.min)
	}
	return (v - a.min) / (a.max - a.min)
}

// draw draws the panel with its upper left corner at x0, y0.
func (p *plot) draw(b *strings.Builder, x0, y0, width, height float64) {
	px := func(v float64) float64 { return x0 + width*p.x.at(v) }
	py := func(v float64) float64 { return y0 + height*(1-p.y.at(v)) }
	fmt.Fprintf(b, `<text x="%.2f" y="%.2f" font-size="14">%s</text>`+"\n", x0, y0-12, escape(p.title))
	if len(p.curves) == 0 && p.note != "" {
		fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="none" stroke="#333"/>`+"\n", x0, y0, width, height)
		fmt.Fprintf(b, `<text x="%.2f" y="%.2f" text-anchor="middle" fill="#555">%s</text>`+"\n", x0+width/2, y0+height/2, escape(p.note))
		return
	}
	step := p.x.step()
	for i := 0; step > 0 && i <= 20; i++ {
		v := p.x.min + float64(i)*step
		if v > p.x.max+step*1e-6 {
			break
		}
		fmt.Fprintf(b, `<line x1="%.2f" y1="%.2f" x2="%.2f" y2="%.2f" stroke="#ddd"/>`+"\n", px(v), y0, px(v), y0+height)
		fmt.Fprintf(b, `<text x="%.2f" y="%.2f" text-anchor="middle">%s</text>`+"\n", px(v), y0+height+16, number(math.Round(v*1e6)/1e6))
	}
	from, to := int(math.Round(math.Log10(p.y.min))), int(math.Round(math.Log10(p.y.max)))
	for e := from; e <= to; e++ {
		v := math.Pow(10, float64(e))
		fmt.Fprintf(b, `<line x1="%.2f" y1="%.2f" x2="%.2f" y2="%.2f" stroke="#ddd"/>`+"\n", x0, py(v), x0+width, py(v))
		fmt.Fprintf(b, `<text x="%.2f" y="%.2f" text-anchor="end">%s</text>`+"\n", x0-6, py(v)+4, power(e))
	}
	fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="none" stroke="#333"/>`+"\n", x0, y0, width, height)
	fmt.Fprintf(b, `<text x="%.2f" y="%.2f" text-anchor="middle">%s</text>`+"\n", x0+width/2, y0+height+36, escape(p.x.name))
	fmt.Fprintf(b, `<text transform="translate(%.2f,%.2f) rotate(-90)" text-anchor="middle">%s</text>`+"\n", x0-48, y0+height/2, escape(p.y.name))

	for _, c := range p.curves {
		var path strings.Builder
		pen := "M"
		for _, q := range c.points {
			if !p.inside(q) {
				pen = "M"
				continue
			}
			fmt.Fprintf(&path, "%s%.2f %.2f", pen, px(q.x), py(q.y))
			pen = "L"
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", path.String(), c.colour, c.dashes())
	}
	for _, m := range p.marks {
		if m.std > 0 {
			fmt.Fprintf(b, `<line x1="%.2f" y1="%.2f" x2="%.2f" y2="%.2f" stroke="#333"/>`+"\n", px(m.x-m.std), py(m.y), px(m.x+m.std), py(m.y))
		}
		m.draw(b, px(m.x), py(m.y))
	}
	p.legend(b, x0, y0, width, height)
}

// inside reports whether a point of a curve is within the range of y.
func (p *plot) inside(q point) bool {
	return q.y >= p.y.min*(1-1e-9) && q.y <= p.y.max*(1+1e-9)
}

// legend names curves and marks in the corner of the panel where the fewest of
// their points are.
func (p *plot) legend(b *strings.Builder, x0, y0, width, height float64) {
	const row, gap = 18, 8
	wide := 0.0 // about 7 a letter
	for _, c := range p.curves {
		wide = max(wide, 44+7*float64(len(c.name)))
	}
	for _, m := range p.marks {
		wide = max(wide, 44+7*float64(len(m.name)))
	}
	high := float64(row*(len(p.curves)+len(p.marks)) + 6)
	var x, y float64
	fewest := math.MaxInt
	for _, corner := range [][2]float64{{width - wide - gap, gap}, {gap, gap}, {width - wide - gap, height - high - gap}, {gap, height - high - gap}} {
		points := 0
		see := func(px, py float64) {
			dx, dy := width*p.x.at(px)-corner[0], height*(1-p.y.at(py))-corner[1]
			if dx > -gap && dx < wide+gap && dy > -gap && dy < high+gap {
				points++
			}
		}
		for _, c := range p.curves {
			for _, q := range c.points {
				if p.inside(q) {
					see(q.x, q.y)
				}
			}
		}
		for _, m := range p.marks {
			see(m.x, m.y)
		}
		if points < fewest {
			fewest, x, y = points, x0+corner[0], y0+corner[1]
		}
	}
	fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="white" fill-opacity="0.85"/>`+"\n", x, y, wide, high)
	y += 12
	name := func(name string) {
		fmt.Fprintf(b, `<text x="%.2f" y="%.2f">%s</text>`+"\n", x+38, y+4, escape(name))
		y += row
	}
	for _, c := range p.curves {
		fmt.Fprintf(b, `<line x1="%.2f" y1="%.2f" x2="%.2f" y2="%.2f" stroke="%s" stroke-width="2"%s/>`+"\n", x+6, y, x+32, y, c.colour, c.dashes())
		name(c.name)
	}
	for _, m := range p.marks {
		m.draw(b, x+19, y)
		name(m.name)
	}
}

// dashes returns the attribute of a dashed line.
func (c *curve) dashes() string {
	if c.dashed {
		return ` stroke-dasharray="6 4"`
	}
	return ""
}

// draw draws the mark at a place in the picture.
func (m *mark) draw(b *strings.Builder, x, y float64) {
	r, fill := 7.0, "none"
	if m.filled {
		r, fill = 4, "#1f77b4"
	}
	fmt.Fprintf(b, `<circle cx="%.2f" cy="%.2f" r="%g" fill="%s" stroke="#333" stroke-width="1.5"/>`+"\n", x, y, r, fill)
}

// power writes a power of ten as people do.
func power(exponent int) string {
	switch exponent {
	case 0:
		return "1"
	case 1:
		return "10"
	}
	const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹"
	var b strings.Builder
	b.WriteString("10")
	for _, c := range strconv.Itoa(exponent) {
		if c == '-' {
			b.WriteRune('⁻')
		} else {
			b.WriteRune([]rune(digits)[c-'0'])
		}
	}
	return b.String()
}

// escape makes text safe in SVG.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}
