package clauses

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"

	"blackswan/internal/floors"
)

// Mark is one clause on one line of code.
type Mark struct {
	File   string // relative to the root, slash-separated
	Line   int
	Clause string
}

// Test is a test function: its room, its name, and the subtest below it.
type Test struct {
	Room string // folder relative to the root, "." for the root
	Func string // "TestOpen"
	Sub  string // "flipped/tag", "" for the whole function
}

// ParseTest reads "room.TestName/sub". The root package is "blackswan".
func ParseTest(s string) (Test, error) {
	dot := strings.Index(s, ".Test")
	if dot <= 0 {
		return Test{}, fmt.Errorf("%q does not name a test: write room.TestName", s)
	}
	t := Test{Room: s[:dot]}
	t.Func, t.Sub, _ = strings.Cut(s[dot+1:], "/")
	if t.Room == "blackswan" {
		t.Room = "."
	}
	return t, nil
}

func (t Test) String() string {
	s := t.Room + "." + t.Func
	if t.Room == "." {
		s = "blackswan." + t.Func
	}
	if t.Sub != "" {
		s += "/" + t.Sub
	}
	return s
}

// Source is what the lists are held against: the marks of the code and the
// names of its tests.
type Source struct {
	Marks []Mark
	Tests map[Test]bool // without Sub
}

// ReadSource reads the Go files of the module that tree holds. Marks count in
// files that are not tests.
func ReadSource(tree fs.FS) (*Source, error) {
	s := &Source{Tests: make(map[Test]bool)}
	err := floors.Walk(tree, func(name string) error { return s.file(tree, name) })
	return s, err
}

func (s *Source) file(tree fs.FS, name string) error {
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return err
	}
	test := strings.HasSuffix(name, "_test.go")
	if !test && !strings.Contains(string(text), markPrefix) {
		return nil
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	if test {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				s.Tests[Test{Room: path.Dir(name), Func: f.Name.Name}] = true
			}
		}
		return nil
	}
	s.Marks = append(s.Marks, FileMarks(name, fset, file)...)
	return nil
}

const markPrefix = "//rfc:"

// FileMarks returns the marks of one parsed file, in the order of its lines.
func FileMarks(name string, fset *token.FileSet, file *ast.File) []Mark {
	var marks []Mark
	for _, group := range file.Comments {
		for _, c := range group.List {
			at := strings.Index(c.Text, markPrefix)
			if at < 0 || !strings.HasPrefix(c.Text, "//") {
				continue
			}
			for _, clause := range strings.Fields(c.Text[at+len(markPrefix):]) {
				if strings.HasPrefix(clause, "//") {
					break // another mark or a word to the reader
				}
				marks = append(marks, Mark{File: name, Line: fset.Position(c.Pos()).Line, Clause: clause})
			}
		}
	}
	return marks
}
