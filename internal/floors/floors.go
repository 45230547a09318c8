// Package floors is the law of the house, kept as a test. A room (package)
// stands on one floor and imports only rooms on lower floors; the rooms where
// the protocol lives are pure: bytes and time go in, bytes come out.
//
// The plan is the table in plan.go. Check reads source with go/parser alone,
// so the law holds offline and for code that does not compile yet.
package floors

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Lengths in lines. Over the first figure is reported, over the second fails.
const (
	longFile, tooLongFile         = 400, 500
	longFunction, tooLongFunction = 60, 80
)

// Finding is one breach of the law, or a warning of one.
type Finding struct {
	File    string // slash-separated, relative to the root of the tree
	Line    int    // 0 when the whole file or package is meant
	Rule    string // short name of the rule: "floor", "pure", "listed", ...
	Text    string // what is wrong and what to do
	Warning bool   // reported, does not fail
}

func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", f.File, f.Rule, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Text)
}

// Check holds the Go files of tree, whose module path is module, against the
// plan. The error tells of a file that cannot be read or parsed.
func Check(tree fs.FS, module string, plan []Room) ([]Finding, error) {
	h := house{module: module, rooms: make(map[string]*Room), used: make(map[[2]string]bool)}
	for i := range plan {
		h.rooms[plan[i].Path] = &plan[i]
	}
	present := make(map[string]bool)
	err := Walk(tree, func(name string) error {
		present[path.Dir(name)] = true
		return h.file(tree, name)
	})
	if err != nil {
		return nil, err
	}
	for dir := range present {
		h.listed(dir)
	}
	h.unusedPermissions(present)
	slices.SortFunc(h.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
	return h.found, nil
}

// Walk calls f with the name of each Go file of the module that tree holds. It
// skips testdata, hidden folders and folders with a go.mod of their own.
func Walk(tree fs.FS, f func(name string) error) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skipFolder(tree, name)
		case path.Ext(name) != ".go":
			return nil
		}
		return f(name)
	})
}

// skipFolder returns fs.SkipDir for what the go command does not build as part
// of this module.
func skipFolder(tree fs.FS, name string) error {
	if name == "." {
		return nil
	}
	base := path.Base(name)
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	if _, err := fs.Stat(tree, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

type house struct {
	module string
	rooms  map[string]*Room
	used   map[[2]string]bool // permissions of Room.Beside that were needed
	found  []Finding
}

func (h *house) add(file string, line int, rule, format string, args ...any) {
	h.found = append(h.found, Finding{File: file, Line: line, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (h *house) warn(file string, line int, rule, format string, args ...any) {
	h.add(file, line, rule, format, args...)
	h.found[len(h.found)-1].Warning = true
}

// neverRooms are names that say nothing about the field.
var neverRooms = []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "pkg", "misc"}

func (h *house) listed(dir string) {
	if h.rooms[dir] == nil {
		h.add(dir, 0, "listed", "package is not on the plan: give it one floor in internal/floors/plan.go")
	}
	for part := range strings.SplitSeq(dir, "/") {
		if slices.Contains(neverRooms, part) {
			h.add(dir, 0, "name", "%q is never a room: use a word of the field", part)
		}
	}
}

func (h *house) unusedPermissions(present map[string]bool) {
	for _, r := range h.rooms {
		for _, beside := range r.Beside {
			if present[r.Path] && present[beside] && !h.used[[2]string{r.Path, beside}] {
				h.add(r.Path, 0, "unused", "may import %s beside it and does not: take the permission off the plan", beside)
			}
		}
	}
}

// source is one parsed file and where it stands.
type source struct {
	name  string
	test  bool
	room  *Room // nil: not on the plan
	fset  *token.FileSet
	file  *ast.File
	names map[string]string // local name of an import -> its path
}

func (s *source) line(p token.Pos) int { return s.fset.Position(p).Line }

func (h *house) file(tree fs.FS, name string) error {
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return err
	}
	s := &source{
		name:  name,
		test:  strings.HasSuffix(name, "_test.go"),
		room:  h.rooms[path.Dir(name)],
		fset:  token.NewFileSet(),
		names: make(map[string]string),
	}
	s.file, err = parser.ParseFile(s.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("floors: %w", err)
	}
	h.imports(s)
	if s.test {
		h.sleep(s)
		return nil
	}
	h.lengths(s)
	if s.room != nil && s.room.Pure {
		h.pure(s)
	}
	return nil
}

func (h *house) lengths(s *source) {
	switch n := s.fset.File(s.file.Pos()).LineCount(); {
	case n > tooLongFile:
		h.add(s.name, 0, "length", "%d lines: over %d, split it along the words of the field", n, tooLongFile)
	case n > longFile:
		h.warn(s.name, 0, "length", "%d lines: over %d", n, longFile)
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		what := "function literal"
		switch f := n.(type) {
		case *ast.FuncDecl:
			what = f.Name.Name
		case *ast.FuncLit:
		default:
			return true
		}
		line := s.line(n.Pos())
		switch lines := s.line(n.End()) - line + 1; {
		case lines > tooLongFunction:
			h.add(s.name, line, "length", "%s has %d lines: over %d", what, lines, tooLongFunction)
		case lines > longFunction:
			h.warn(s.name, line, "length", "%s has %d lines: over %d", what, lines, longFunction)
		}
		return false
	})
}
