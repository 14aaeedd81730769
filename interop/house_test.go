package interop

import (
	"fmt"
	"go/ast"
	"go/types"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/go/packages"
)

const module = "qstack"

// floors lists the house from the top down: a package may import those of its
// own floor and of the floors below.
var floors = []string{"cmd", "interop", "examples", "app", "node", "qsocket", "transport", "network", "link", "physical", "qnet"}

// edges are the packages that hold sockets, and who may import them.
var edges = map[string][]string{
	"qnet/control/quic": {"node", "cmd", "interop", "app"},
	"physical/remote":   {"node", "cmd", "interop", "app"},
	"physical/oracle":   {"node", "cmd", "interop", "app"},
	"qsocket/local":     {"node", "cmd", "interop", "app", "qsocket", "examples"},
}

// protocols are the packages in which rule 1 holds: state machines on a loop,
// without I/O.
var protocols = []string{"link", "link/estimate", "network", "transport", "physical", "physical/fabric", "physical/herald", "physical/optics", "physical/prepare", "physical/satellite", "physical/spectrum", "physical/state", "physical/state/tableau"}

// load type-checks the module once for all tests.
var load = sync.OnceValues(func() ([]*packages.Package, error) {
	return packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedImports | packages.NeedDeps | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedFiles,
		Dir:  "..",
	}, "./...")
})

func house(t *testing.T) map[string]*packages.Package {
	t.Helper()
	list, err := load()
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string]*packages.Package)
	for _, p := range list {
		for _, e := range p.Errors {
			t.Fatal(e)
		}
		m[strings.TrimPrefix(p.PkgPath, module+"/")] = p
	}
	if m["qnet"] == nil || m["link"] == nil {
		t.Fatal("the module was not found")
	}
	return m
}

func floor(path string) int {
	top, _, _ := strings.Cut(path, "/")
	return slices.Index(floors, top)
}

// Imports go down the house only, the words import nothing of ours, and only
// the upper floors reach the packages that hold sockets.
func TestImportsGoDown(t *testing.T) {
	for path, p := range house(t) {
		if path == "scenarios" { // files, no code
			continue
		}
		at := floor(path)
		if at < 0 {
			t.Errorf("package %s has no place in the house", path)
			continue
		}
		for _, imported := range transitive(p) {
			below, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				if path == "qnet" && strings.Contains(strings.Split(imported, "/")[0], ".") {
					t.Errorf("qnet imports %s from outside the standard library", imported)
				}
				continue
			}
			if path == "qnet" {
				t.Errorf("qnet imports %s", below)
			}
			if below != "scenarios" && floor(below) < at {
				t.Errorf("%s imports %s, which is above it", path, below)
			}
			if who, ok := edges[below]; ok && !strings.HasPrefix(path+"/", below+"/") && !slices.ContainsFunc(who, func(top string) bool { return floors[at] == top }) {
				t.Errorf("%s reaches %s, which holds sockets", path, below)
			}
		}
	}
}

// The protocols are written on the standard library alone.
func TestProtocolsNeedNoLibrary(t *testing.T) {
	h := house(t)
	for _, path := range protocols {
		if h[path] == nil {
			t.Errorf("no package %s", path)
			continue
		}
		for _, imported := range transitive(h[path]) {
			if strings.Contains(strings.Split(imported, "/")[0], ".") && !strings.HasPrefix(imported, "vendor/") {
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
}

func transitive(p *packages.Package) []string {
	seen := make(map[string]bool)
	var walk func(p *packages.Package)
	walk = func(p *packages.Package) {
		for _, q := range p.Imports { // by package path: the key may hide "vendor/"
			if !seen[q.PkgPath] {
				seen[q.PkgPath] = true
				walk(q)
			}
		}
	}
	walk(p)
	var out []string
	for path := range seen {
		out = append(out, path)
	}
	slices.Sort(out)
	return out
}

// Rule 1: a protocol has no goroutine, channel, lock, clock, socket, global
// source of randomness, or iteration over a map in the order of the day.
func TestProtocolsDoNoIO(t *testing.T) {
	h := house(t)
	for _, path := range protocols {
		for _, breach := range breaches(h[path]) {
			t.Error(breach)
		}
	}
}

// The test above can fail: packages that do I/O for a living breach the rule.
func TestRuleSeesBreaches(t *testing.T) {
	h := house(t)
	found := strings.Join(append(breaches(h["qnet/control/quic"]), breaches(h["qnet/event"])...), "\n")
	for _, want := range []string{"goroutine", "channel", "imports sync", "imports net", "reads a clock", "iterates over a map"} {
		if !strings.Contains(found, want) {
			t.Errorf("no %q was found in the event loops and QUIC", want)
		}
	}
}

var forbiddenImports = []string{"sync", "sync/atomic", "net", "os", "syscall", "io/fs", "math/rand", "crypto/rand", "log", "log/slog", "net/http", "os/exec"}

func breaches(p *packages.Package) []string {
	var out []string
	for _, f := range p.Syntax {
		say := func(n ast.Node, format string, args ...any) {
			out = append(out, fmt.Sprintf("%v: %s", p.Fset.Position(n.Pos()), fmt.Sprintf(format, args...)))
		}
		for _, imp := range f.Imports {
			if path := strings.Trim(imp.Path.Value, `"`); slices.Contains(forbiddenImports, path) {
				say(imp, "imports %s", path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				say(n, "starts a goroutine")
			case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
				say(n, "uses a channel")
			case *ast.RangeStmt:
				if _, ok := p.TypesInfo.TypeOf(n.X).Underlying().(*types.Map); ok {
					say(n, "iterates over a map")
				}
			case *ast.SelectorExpr:
				fn, ok := p.TypesInfo.Uses[n.Sel].(*types.Func)
				if !ok || fn.Pkg() == nil || fn.Signature().Recv() != nil {
					break
				}
				switch name := fn.Pkg().Path() + "." + fn.Name(); name {
				case "time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.AfterFunc", "time.NewTimer", "time.NewTicker", "time.Tick":
					say(n, "reads a clock: %s", name)
				default:
					if fn.Pkg().Path() == "math/rand/v2" && !strings.HasPrefix(fn.Name(), "New") {
						say(n, "uses the global random source: %s", name)
					}
				}
			}
			return true
		})
	}
	return out
}
