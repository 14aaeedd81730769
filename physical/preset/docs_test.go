package preset_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"qstack/physical/preset"
	"qstack/qnet/golden"
)

const (
	page       = "../../docs/physics.md"
	tableBegin = "<!-- hw check --markdown: begin -->\n"
	tableEnd   = "<!-- hw check --markdown: end -->\n"
)

// docs/physics.md has the table "published against emulated" that the program
// writes, and what it lists as predicted is.
func TestPageHasTheTable(t *testing.T) {
	l := open(t)
	var reports []*preset.Report
	for _, p := range l.Presets() {
		r, err := l.Check(p)
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	var table bytes.Buffer
	if err := preset.Markdown(&table, reports); err != nil {
		t.Fatal(err)
	}
	text := readPage(t)
	before, rest, ok := strings.Cut(text, tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended || strings.Contains(after, tableBegin) {
		t.Fatalf("%s: want one table between %q and %q", page, tableBegin, tableEnd)
	}
	now := before + tableBegin + table.String() + tableEnd + after
	golden.Compare(t, page, now)
	claims := preset.Claims(now)
	if !slices.Equal(claims, preset.Claims(table.String())) {
		t.Errorf("the page claims %v, the table %v", claims, preset.Claims(table.String()))
	}
	if unmet := preset.Unmet(claims, reports, true); unmet != nil {
		t.Errorf("unmet: %v", unmet)
	}
}

// The plots of docs/physics.md are those that the program draws of the presets
// that they are named after, but for the last digits, which are the processor's.
func TestPageHasThePlots(t *testing.T) {
	files, err := filepath.Glob("../../docs/physics-*.svg")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`!\[[^\]]+\]\((physics-([a-z0-9-]+)\.svg)\)`).FindAllStringSubmatch(readPage(t), -1)
	if len(shown) < 2 {
		t.Fatalf("%s shows %d plots, want 2 at least", page, len(shown))
	}
	for _, s := range shown {
		file := filepath.Join("../../docs", s[1])
		var b strings.Builder
		if err := load(t, s[2]).Curve(&b); err != nil {
			t.Fatal(err)
		}
		if drawn, err := os.ReadFile(file); err != nil || !samePicture(string(drawn), b.String()) {
			golden.Compare(t, file, b.String())
		}
		files = slices.DeleteFunc(files, func(f string) bool { return f == file })
	}
	if len(files) > 0 {
		t.Errorf("%s does not show %v", page, files)
	}
}

// samePicture reports whether two plots are the same text, with coordinates that
// are as far apart as rounding makes them at most.
func samePicture(a, b string) bool {
	coordinate := regexp.MustCompile(`[0-9]+\.[0-9]{2}\b`)
	if coordinate.ReplaceAllString(a, "") != coordinate.ReplaceAllString(b, "") {
		return false
	}
	of := coordinate.FindAllString(b, -1)
	for i, s := range coordinate.FindAllString(a, -1) {
		x, errX := strconv.ParseFloat(s, 64)
		y, errY := strconv.ParseFloat(of[i], 64)
		if errX != nil || errY != nil || math.Abs(x-y) > 0.011 {
			return false
		}
	}
	return true
}

func readPage(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
