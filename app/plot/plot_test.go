package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func draw(t *testing.T, p *Plot) string {
	t.Helper()
	var b strings.Builder
	if err := p.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v\n%s", err, b.String())
		}
	}
	if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
		t.Errorf("a place is no number:\n%s", b.String())
	}
	return b.String()
}

var number2 = regexp.MustCompile(`([ML])([-0-9.]+) ([-0-9.]+)`)

// pens returns the places of the first path.
func pens(t *testing.T, svg string) (kinds string, places [][2]float64) {
	t.Helper()
	_, rest, ok := strings.Cut(svg, `<path d="`)
	if !ok {
		return "", nil
	}
	d, _, _ := strings.Cut(rest, `"`)
	for _, m := range number2.FindAllStringSubmatch(d, -1) {
		x, _ := strconv.ParseFloat(m[2], 64)
		y, _ := strconv.ParseFloat(m[3], 64)
		kinds += m[1]
		places = append(places, [2]float64{x, y})
	}
	return kinds, places
}

// TestPlaces: a point is where the axes say.
func TestPlaces(t *testing.T) {
	p := &Plot{Title: `a < b & "c"`, X: Axis{Name: "x", Min: 0, Max: 10}, Y: Axis{Name: "y", Log: true}, Curves: []Curve{
		{Name: "one", Points: []Point{{0, 1}, {5, 10}, {10, 100}}}}}
	svg := draw(t, p)
	kinds, places := pens(t, svg)
	if kinds != "MLL" {
		t.Fatalf("drawn as %q", kinds)
	}
	for i, share := range []float64{0, 0.5, 1} {
		x, y := left+(width-left-right)*share, height-bottom-(height-top-bottom)*share
		if math.Abs(places[i][0]-x) > 0.01 || math.Abs(places[i][1]-y) > 0.01 {
			t.Errorf("point %d at %v, want %g, %g", i, places[i], x, y)
		}
	}
	for _, want := range []string{"a &lt; b &amp; &quot;c&quot;", ">100</text>", ">one</text>"} {
		if !strings.Contains(svg, want) {
			t.Errorf("%s is missing", want)
		}
	}
	// Steps hold a value; what is not finite, or has no place, breaks the line.
	p.Curves[0].Steps = true
	if kinds, places := pens(t, draw(t, p)); kinds != "MLLLL" || places[1][1] != places[0][1] || places[1][0] != places[2][0] {
		t.Errorf("steps drawn as %q, %v", kinds, places)
	}
	p.Curves[0] = Curve{Points: []Point{{0, 1}, {1, 0}, {2, 3}, {3, math.NaN()}, {4, 5}, {11, 5}}}
	if kinds, _ := pens(t, draw(t, p)); kinds != "MMM" {
		t.Errorf("gaps drawn as %q", kinds)
	}
}

// TestAnything: no plot is malformed or leaves its frame.
func TestAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		p := &Plot{X: Axis{Log: rng.IntN(2) == 0}, Y: Axis{Log: rng.IntN(2) == 0}}
		for range rng.IntN(4) {
			c := Curve{Name: strings.Repeat("n", rng.IntN(9)), Steps: rng.IntN(2) == 0}
			scale := math.Pow(10, float64(rng.IntN(40)-20))
			for range rng.IntN(5) {
				q := Point{rng.NormFloat64() * scale, rng.Float64() * scale}
				switch rng.IntN(8) {
				case 0:
					q.X = 0
				case 1:
					q.Y = math.Inf(1)
				case 2:
					q.Y = math.NaN()
				case 3:
					q = Point{scale, scale}
				}
				c.Points = append(c.Points, q)
			}
			p.Curves = append(p.Curves, c)
		}
		_, places := pens(t, draw(t, p))
		for _, q := range places {
			if q[0] < left-0.01 || q[0] > width-right+0.01 || q[1] < top-0.01 || q[1] > height-bottom+0.01 {
				t.Fatalf("%+v: %v is outside", p, q)
			}
		}
	}
	draw(t, &Plot{})
}
