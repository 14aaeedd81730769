// Package golden compares what tests print with files, which are written again
// by go test -update.
package golden

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Update is the flag -update: golden files are written instead of compared. A
// test that compares with files in a way of its own uses this flag too, as a flag
// can be defined only once.
var Update = flag.Bool("update", false, "rewrite the golden files in testdata")

// Compare compares got with a file and shows the first line that differs.
func Compare(t *testing.T, file, got string) {
	t.Helper()
	if *Update {
		if err := Write(file, got); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (write it with go test -update)", err)
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		a, b := "(end of file)", "(end of file)"
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Fatalf("%s:%d:\n got %s\nwant %s", file, i+1, a, b)
		}
	}
}

// Write writes a golden file, and makes its folder.
func Write(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o666)
}

// Scripts runs the scripts testdata/*.txt, each as a test of its own. A script is
// a series of blocks: commands, a line of four dashes, and all that happens, up to
// an empty line. Empty lines and lines that start with # are no commands. After a
// change, run with -update and understand the difference.
//
// For each script start makes a world, which writes to out what happens in it, and
// returns what carries out a command, given as its words.
func Scripts(t *testing.T, start func(t *testing.T, out *bytes.Buffer) func(words []string) error) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			Compare(t, file, run(t, string(script), &out, start(t, &out)))
		})
	}
}

// run returns the script with the output that it has now.
func run(t *testing.T, script string, out *bytes.Buffer, do func(words []string) error) string {
	t.Helper()
	var result strings.Builder
	var commands []string
	old := false // in the output of before
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case old:
			old = line != ""
		case line == "----":
			for _, c := range commands {
				if err := do(strings.Fields(c)); err != nil {
					t.Fatalf("%s: %v", c, err)
				}
			}
			commands = nil
			fmt.Fprintf(&result, "----\n%s\n", out)
			out.Reset()
			old = true
		default:
			fmt.Fprintln(&result, line)
			if line != "" && !strings.HasPrefix(line, "#") {
				commands = append(commands, line)
			}
		}
	}
	return result.String()
}
