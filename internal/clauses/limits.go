package clauses

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Limit is a number of the code that bounds what others can make us hold, as a
// page for people tells it.
type Limit struct {
	List   string
	Line   int
	Name   string // room and constant, "ike.maxChildren"; or a field that a Default function sets, "ike.Limits.Queue"
	Number int64
	Tests  []string // that it holds
}

// ParseLimits reads the tables whose first column is "limit". Their column
// "number" has commas between thousands, or a unit of memory.
func ParseLimits(name, text string) ([]Limit, error) {
	var limits []Limit
	err := tables(text, "limit", func(line int, _ []string, cell map[string]string) error {
		l := Limit{List: name, Line: line, Name: cell["limit"]}
		var err error
		if l.Number, err = number(cell["number"]); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", name, line, l.Name, err)
		}
		for test := range strings.SplitSeq(cell["test"], ",") {
			l.Tests = append(l.Tests, strings.TrimSpace(test))
		}
		limits = append(limits, l)
		return nil
	})
	return limits, err
}

// number reads "16,384" or "64 MiB".
func number(s string) (int64, error) {
	digits, unit, _ := strings.Cut(s, " ")
	n, err := strconv.ParseInt(strings.ReplaceAll(digits, ",", ""), 10, 64)
	shift, known := map[string]int{"": 0, "KiB": 10, "MiB": 20}[unit]
	if err != nil || !known {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return n << shift, nil
}

// limits compares each limit with the code.
func (r *Report) limits(tree fs.FS) error {
	rooms := map[string]numbers{}
	for _, l := range r.Limits {
		room, name, _ := strings.Cut(path.Base(l.Name), ".")
		dir := path.Join(path.Dir(l.Name), room)
		if dir == "blackswan" {
			dir = "."
		}
		if rooms[dir] == nil {
			read, err := readNumbers(tree, dir)
			if err != nil {
				return err
			}
			rooms[dir] = read
		}
		switch value, ok := rooms[dir].value(name); {
		case !ok:
			r.wrong(l.List, l.Line, "%s is no number of the code", l.Name)
		case value != l.Number:
			r.wrong(l.List, l.Line, "%s is %d, not %d", l.Name, value, l.Number)
		}
		for _, test := range l.Tests {
			r.test(l.List, l.Line, l.Name, test)
		}
	}
	return nil
}

// numbers are what the constants of a package, and the fields that its Default
// functions set, are made from.
type numbers map[string]ast.Expr

func readNumbers(tree fs.FS, dir string) (numbers, error) {
	files, err := fs.Glob(tree, path.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	n := numbers{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			n.add(d)
		}
	}
	return n, nil
}

func (n numbers) add(d ast.Decl) {
	switch d := d.(type) {
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if v, ok := s.(*ast.ValueSpec); ok && d.Tok == token.CONST && len(v.Values) == len(v.Names) {
				for i, name := range v.Names {
					n[name.Name] = v.Values[i]
				}
			}
		}
	case *ast.FuncDecl:
		if !strings.HasPrefix(d.Name.Name, "Default") || d.Recv != nil {
			return
		}
		ast.Inspect(d, func(x ast.Node) bool {
			if c, ok := x.(*ast.CompositeLit); ok {
				n.fields(c)
			}
			return true
		})
	}
}

func (n numbers) fields(c *ast.CompositeLit) {
	of, ok := c.Type.(*ast.Ident)
	if !ok {
		return
	}
	for _, e := range c.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if field, ok := kv.Key.(*ast.Ident); ok {
				n[of.Name+"."+field.Name] = kv.Value
			}
		}
	}
}

// value is a number by its name. It is false for what is none, or is made from
// another package.
func (n numbers) value(name string) (int64, bool) {
	x, ok := n[name]
	if !ok {
		return 0, false
	}
	v := constant.ToInt(n.eval(x))
	if v.Kind() != constant.Int {
		return 0, false
	}
	return constant.Int64Val(v)
}

func (n numbers) eval(x ast.Expr) constant.Value {
	switch x := x.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(x.Value, x.Kind, 0)
	case *ast.ParenExpr:
		return n.eval(x.X)
	case *ast.Ident:
		if of, ok := n[x.Name]; ok {
			return n.eval(of)
		}
	case *ast.BinaryExpr:
		a, b := n.eval(x.X), n.eval(x.Y)
		switch {
		case a.Kind() != constant.Int || b.Kind() != constant.Int:
		case x.Op == token.SHL:
			by, _ := constant.Uint64Val(b)
			return constant.Shift(a, x.Op, uint(by))
		case x.Op == token.QUO:
			return constant.BinaryOp(a, token.QUO_ASSIGN, b) // of integers
		default:
			return constant.BinaryOp(a, x.Op, b)
		}
	}
	return constant.MakeUnknown()
}
